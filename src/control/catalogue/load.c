/* The catalogue as the snapshot has it: what the program ships, with what the rows add.
 *
 * A row whose name the program ships now is left out, with a word in the log: what is shipped wins,
 * and nothing that the operator stored keeps the program from starting. So does a document that an
 * earlier version of the program took and this one refuses: it is served, but nothing can be
 * valid by it. */
#include "control/body.h"
#include "control/private.h"
#include "event/shipped.h"

#define ROW_BYTES_MAX ((size_t)8 << 20)
#define SHIPPED_MAX   64
_Static_assert(SHIPPED_TYPES_LEN <= SHIPPED_MAX, "there is room for a change of each");

/* ---- lists of a row ---- */

/* A JSON array of strings, or of values that are taken as text. */
static mr_err read_list(mr_str json, bool is_strings, mr_arena *arena, const mr_str **ret_list,
                        size_t *ret_n) {
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_MAX);
    mr_err err = json_tape_read(&tape, json, NULL);
    size_t n = 0;
    mr_str *list = mr_arena_calloc(arena, json_count(json_root(&tape)) + 1, sizeof *list);
    if (mr_is_ok(err) && list == NULL) {
        err = MR_ERR(MR_E_NOMEM);
    }
    for (json_iter it = json_iter_of(json_root(&tape)); mr_is_ok(err) && json_next(&it); n++) {
        mr_str text = json_raw(it.value);
        if (is_strings) {
            err = json_string(it.value, arena, &text);
        }
        if (mr_is_ok(err)) {
            list[n] = mr_arena_str(arena, text);
            err = mr_str_is_absent(list[n]) ? MR_ERR(MR_E_NOMEM) : MR_OK;
        }
    }
    json_tape_done(&tape);
    *ret_list = list;
    *ret_n = n;
    return err;
}

/* ---- schema versions ---- */

static mr_err read_version(struct query *query, mr_arena *arena,
                           struct catalogue_schema_spec *spec) {
    spec->document = query_col_text(query, 0, arena);
    spec->breaking = query_col_text(query, 3, arena);
    spec->published_ms = query_col_i64(query, 4);
    MR_TRY(read_list(query_col_bytes(query, 1), false, arena, &spec->examples, &spec->n_examples));
    MR_TRY(read_list(query_col_bytes(query, 2), true, arena, &spec->bases, &spec->n_bases));
    return spec->n_examples > 0 ? MR_OK : MR_ERR(MR_E_INVALID);
}

static mr_err add_version(struct control *control, struct catalogue_builder *builder,
                          int64_t number, mr_str name, uint32_t version) {
    mr_arena arena;
    mr_arena_init(&arena, ROW_BYTES_MAX);
    struct catalogue_schema_spec spec = {.name = name, .version = version};
    struct query query =
        query_begin(&control->store, "SELECT document, examples, bases, breaking, created_ms"
                                     " FROM schema_versions WHERE number = ?1");
    query_i64(&query, number);
    mr_err err = MR_ERR(MR_E_INVALID);
    if (query_row(&query)) {
        err = read_version(&query, &arena, &spec);
    }
    mr_err ended = query_end(&query);
    err = mr_is_err(ended) ? ended : err;
    if (mr_is_ok(err)) {
        err = catalogue_add_schema(builder, &spec);
    }
    mr_arena_done(&arena);
    return err;
}

static mr_err add_versions(struct control *control, struct catalogue_builder *builder) {
    struct query query =
        query_begin(&control->store, "SELECT v.number, s.name, v.version FROM schema_versions v"
                                     " JOIN schemas s ON s.number = v.schema"
                                     " ORDER BY s.number, v.version");
    mr_err err = MR_OK;
    while (mr_is_ok(err) && query_row(&query)) {
        mr_str name = query_col_bytes(&query, 1);
        uint32_t version = (uint32_t)query_col_i64(&query, 2);
        err = catalogue_share_schema(builder, name, version);
        if (mr_err_is(err, MR_E_NOT_FOUND)) {
            err = add_version(control, builder, query_col_i64(&query, 0), name, version);
        }
        if (mr_err_is(err, MR_E_EXISTS)) {
            mr_warn(control->options.log, "schema_left_out", mr_kv_str("schema", name),
                    mr_kv_i64("version", version),
                    mr_kv_c("reason", "the program ships a schema of this name"));
            err = MR_OK;
        }
    }
    mr_err ended = query_end(&query);
    return mr_is_err(err) ? err : ended;
}

/* ---- types ---- */

static mr_err add_types(struct control *control, struct catalogue_builder *builder) {
    struct query query =
        query_begin(&control->store, "SELECT name, product, product_group, description, status,"
                                     " schema, version, created_ms, updated_ms FROM event_types"
                                     " ORDER BY number");
    mr_err err = MR_OK;
    while (mr_is_ok(err) && query_row(&query)) {
        const struct catalogue_type type = {
            .name = query_col_bytes(&query, 0),
            .product = query_col_bytes(&query, 1),
            .product_group = query_col_bytes(&query, 2),
            .description = query_col_bytes(&query, 3),
            .status = query_col_bytes(&query, 4),
            .schema = query_col_bytes(&query, 5),
            .row_version = (uint32_t)query_col_i64(&query, 6),
            .created_ms = query_col_i64(&query, 7),
            .updated_ms = query_col_i64(&query, 8),
        };
        err = catalogue_add_type(builder, &type);
        if (mr_err_is(err, MR_E_EXISTS)) {
            mr_warn(control->options.log, "event_type_left_out", mr_kv_str("type", type.name),
                    mr_kv_c("reason", "the program ships a type of this name"));
            err = MR_OK;
        } else if (mr_err_is(err, MR_E_NOT_FOUND)) {
            err = MR_ERR(MR_E_INVALID); /* the row names a schema that no row has */
        }
    }
    mr_err ended = query_end(&query);
    return mr_is_err(err) ? err : ended;
}

static mr_err read_changes(struct control *control, mr_arena *arena,
                           struct catalogue_change changes[static SHIPPED_MAX], size_t *ret_n) {
    struct query query = query_begin(
        &control->store, "SELECT name, description, status, version, updated_ms FROM shipped_types"
                         " ORDER BY name");
    size_t n = 0;
    while (n < SHIPPED_MAX && query_row(&query)) {
        changes[n++] = (struct catalogue_change){
            .shipped_name = query_col_text(&query, 0, arena),
            .description = query_col_text(&query, 1, arena),
            .status = query_col_text(&query, 2, arena),
            .row_version = (uint32_t)query_col_i64(&query, 3),
            .updated_ms = query_col_i64(&query, 4),
        };
    }
    *ret_n = n;
    return query_end(&query);
}

/* ---- all of it ---- */

static mr_err add_shipped(struct control *control, struct catalogue_builder *builder) {
    struct catalogue_change changes[SHIPPED_MAX];
    size_t n = 0;
    mr_arena arena;
    mr_arena_init(&arena, ROW_BYTES_MAX);
    mr_str prefix = control->options.event_type_prefix;
    mr_err err = read_changes(control, &arena, changes, &n);
    if (mr_is_ok(err)) {
        err = catalogue_add_shipped(
            builder, mr_str_is_absent(prefix) ? MR_STR(SHIPPED_PREFIX_DEFAULT) : prefix, changes,
            n);
    }
    mr_arena_done(&arena);
    return err;
}

/* Once per version: one that base has was told of when base was made. */
static void tell_refused(const struct control *control, const struct catalogue *base,
                         const struct catalogue *catalogue) {
    const struct catalogue_schema *schema = NULL;
    for (size_t i = 0; (schema = catalogue_schema_at(catalogue, i)) != NULL; i++) {
        if (schema->compiled == NULL &&
            catalogue_schema_find(base, schema->name, schema->version) != schema) {
            mr_error(control->options.log, "schema_unusable", mr_kv_str("schema", schema->name),
                     mr_kv_i64("version", schema->version), mr_kv_str("reason", schema->fault));
        }
    }
}

mr_err catalogue_load(struct control *control, struct catalogue *base,
                      struct catalogue **ret_catalogue) {
    struct catalogue_builder *builder = NULL;
    MR_TRY(catalogue_build(base, &builder));
    mr_err err = add_shipped(control, builder);
    if (mr_is_ok(err)) {
        err = add_versions(control, builder);
    }
    if (mr_is_ok(err)) {
        err = add_types(control, builder);
    }
    if (mr_is_err(err)) {
        catalogue_abandon(builder);
        return err;
    }
    MR_TRY(catalogue_finish(builder, ret_catalogue));
    tell_refused(control, base, *ret_catalogue);
    return MR_OK;
}
