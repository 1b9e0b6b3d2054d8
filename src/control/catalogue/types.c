/* Event types. POST and PATCH judge one whole document with one parser, as with rules. What is
 * changed of a shipped type lies in a row under its name without the prefix, so that it stays with
 * the type when the setting event_type_prefix changes. */
#include "control/catalogue/types.h"

#include "control/catalogue/publish.h"
#include "control/private.h"
#include "json/write.h"
#include "os/clock.h"

#define DOCUMENT_MAX    ((size_t)64 << 10)
#define PRODUCT_MAX     255
#define DESCRIPTION_MAX 2000

const char *const event_type_status_names[EVENT_TYPE_STATUSES] = {"available", "deprecated",
                                                                  "restricted", "discontinued"};

static const struct shape_member members[] = {
    {"name", SHAPE_TEXT, SHAPE_NEEDED, 1, EVENT_TYPE_NAME_MAX,
     .what = "As events name it: a letter or digit, then letters, digits, . _ -; never changes"},
    {"schema", SHAPE_TEXT, SHAPE_NEEDED, 1, SCHEMA_NAME_MAX,
     .what = "Name of its schema, which must be there; never changes"},
    {"product", SHAPE_TEXT, SHAPE_NEEDED, 1, PRODUCT_MAX, .what = "Product it belongs to"},
    {"product_group", SHAPE_TEXT, SHAPE_NULLABLE, 1, PRODUCT_MAX,
     .what = "Product group it belongs to"},
    {"description", SHAPE_LINES, 0, 0, DESCRIPTION_MAX, .what = "For people"},
    {"status", SHAPE_ENUM, 0, .names = event_type_status_names, .n_names = EVENT_TYPE_STATUSES,
     .what = "Whether it can be relied on; available unless told"},
};
const struct shape event_type_shape = {"EventType", members, sizeof members / sizeof members[0]};

/* ---- documents ---- */

static mr_err parse_document(json_value root, mr_arena *arena, struct catalogue_type *type,
                             struct refusal *ret_refusal) {
    static const struct body_place place = {.path = "", .wrong = REFUSAL_MALFORMED};
    uint32_t status = 0;
    type->description = MR_STR("");
    MR_TRY(shape_check(root, &event_type_shape, SHAPE_CREATE, &place, ret_refusal));
    MR_TRY(shape_text(root, "name", arena, &type->name));
    MR_TRY(shape_text(root, "schema", arena, &type->schema));
    MR_TRY(shape_text(root, "product", arena, &type->product));
    MR_TRY(shape_text(root, "product_group", arena, &type->product_group));
    MR_TRY(shape_text(root, "description", arena, &type->description));
    shape_enum(root, &event_type_shape, "status", &status);
    type->status = mr_str_c(event_type_status_names[status]);
    return MR_OK;
}

static mr_err write_document(const struct catalogue_type *type, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_str(&writer, "name", type->name);
    json_out_member_str(&writer, "schema", type->schema);
    json_out_member_str(&writer, "product", type->product);
    json_out_member_str(&writer, "product_group", type->product_group);
    json_out_member_str(&writer, "description", type->description);
    json_out_member_str(&writer, "status", type->status);
    json_out_end(&writer);
    return json_out_finish(&writer);
}

/* ---- rows ---- */

static mr_err find_own(struct control *control, mr_str name, mr_arena *arena, bool *ret_found,
                       struct catalogue_type *type) {
    struct query query =
        query_begin(&control->store, "SELECT name, product, product_group, description, status,"
                                     " schema, version, created_ms, updated_ms FROM event_types"
                                     " WHERE name = ?1");
    query_text(&query, name);
    *ret_found = query_row(&query);
    if (*ret_found) {
        *type = (struct catalogue_type){
            .name = query_col_text(&query, 0, arena),
            .product = query_col_text(&query, 1, arena),
            .product_group = query_col_text(&query, 2, arena),
            .description = query_col_text(&query, 3, arena),
            .status = query_col_text(&query, 4, arena),
            .schema = query_col_text(&query, 5, arena),
            .row_version = (uint32_t)query_col_i64(&query, 6),
            .created_ms = query_col_i64(&query, 7),
            .updated_ms = query_col_i64(&query, 8),
        };
    }
    return query_end(&query);
}

/* The row's word on what the operator changed of a shipped type, over what the snapshot says, which
 * may be behind. */
static mr_err find_change(struct control *control, mr_arena *arena, struct catalogue_type *type) {
    struct query query =
        query_begin(&control->store, "SELECT description, status, version, updated_ms"
                                     " FROM shipped_types WHERE name = ?1");
    query_text(&query, type->shipped_name);
    while (query_row(&query)) {
        type->description = query_col_text(&query, 0, arena);
        type->status = query_col_text(&query, 1, arena);
        type->row_version = (uint32_t)query_col_i64(&query, 2);
        type->updated_ms = query_col_i64(&query, 3);
    }
    return query_end(&query);
}

/* A shipped type wins over a row of the same name. */
static mr_err find_type(struct control *control, mr_str name, mr_arena *arena, bool *ret_found,
                        struct catalogue_type *type) {
    const struct catalogue_type *known =
        catalogue_type_find(snapshot_catalogue(control->snapshot), name);
    if (known == NULL || mr_str_is_absent(known->shipped_name)) {
        return find_own(control, name, arena, ret_found, type);
    }
    *ret_found = true;
    *type = *known; /* its texts live as long as the snapshot; copied where they are kept */
    return find_change(control, arena, type);
}

static mr_err first_example(mr_str examples, mr_arena *arena, mr_str *ret_example) {
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_MAX);
    mr_err err = json_tape_read(&tape, examples, NULL);
    if (mr_is_ok(err)) {
        *ret_example = mr_arena_str(arena, json_raw(json_item(json_root(&tape), 0)));
        err = mr_str_is_absent(*ret_example) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    }
    json_tape_done(&tape);
    return err;
}

/* Fills in what the schema gives: latest version, and an example where there is none. *ret_found
 * false: there is no such schema. */
static mr_err find_schema(struct control *control, mr_arena *arena, bool *ret_found,
                          struct catalogue_type *type) {
    const struct catalogue *catalogue = snapshot_catalogue(control->snapshot);
    uint32_t latest = catalogue_latest(catalogue, type->schema);
    const struct catalogue_schema *schema = catalogue_schema_find(catalogue, type->schema, latest);
    if (schema != NULL && schema->is_shipped) {
        *ret_found = true;
        type->latest = latest;
        type->example = mr_str_is_absent(type->example) ? schema->example : type->example;
        return MR_OK;
    }
    struct query query =
        query_begin(&control->store, "SELECT v.version, v.examples FROM schemas s"
                                     " JOIN schema_versions v ON v.schema = s.number"
                                     " WHERE s.name = ?1 ORDER BY v.version DESC LIMIT 1");
    query_text(&query, type->schema);
    mr_err err = MR_OK;
    *ret_found = query_row(&query);
    if (*ret_found) {
        type->latest = (uint32_t)query_col_i64(&query, 0);
        err = first_example(query_col_bytes(&query, 1), arena, &type->example);
    }
    mr_err ended = query_end(&query);
    return mr_is_err(ended) ? ended : err;
}

static mr_err check_room(struct control *control, struct refusal *ret_refusal) {
    int64_t n = 0;
    struct query query = query_begin(&control->store, "SELECT count(*) FROM event_types");
    while (query_row(&query)) {
        n = query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    return n < CATALOGUE_TYPES_MAX
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                        "The catalogue holds %d event types; it may hold no more.",
                        CATALOGUE_TYPES_MAX);
}

/* A row of the audit log; before NULL for a new type. */
static mr_err tell(struct control *control, const char *action, const struct catalogue_type *before,
                   const struct catalogue_type *after) {
    struct audit_change change;
    audit_change_begin(&change);
    mr_err err = before == NULL ? MR_OK : write_document(before, &change.before);
    if (mr_is_ok(err)) {
        err = write_document(after, &change.after);
    }
    return audit_change_end(control, &change, err, control->root_account, action, after->name);
}

/* ---- create ---- */

static mr_err insert_type(struct control *control, struct catalogue_type *type) {
    uint32_t number = 0;
    MR_TRY(number_take(control, "event_type", &number));
    type->row_version = 1;
    type->created_ms = mr_wall_ms(os_wall_now());
    type->updated_ms = type->created_ms;
    struct query query = query_begin(
        &control->store, "INSERT INTO event_types(number, name, product, product_group,"
                         " description, status, schema, version, created_ms, updated_ms)"
                         " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, ?8, ?8)");
    query_i64(&query, number);
    query_text(&query, type->name);
    query_text(&query, type->product);
    query_text(&query, type->product_group);
    query_text(&query, type->description);
    query_text(&query, type->status);
    query_text(&query, type->schema);
    query_i64(&query, type->created_ms);
    MR_TRY(query_run(&query));
    MR_TRY(tell(control, "event-type.create", NULL, type));
    return change_mark(control, MODEL_CATALOGUE, 0);
}

static mr_err create_inner(struct control *control, uint32_t account, mr_str body, mr_arena *arena,
                           struct catalogue_type *type, struct refusal *ret_refusal) {
    json_tape tape;
    struct catalogue_type other;
    bool is_found = false;
    MR_TRY(catalogue_needs_root(control, account, ret_refusal));
    mr_err err = body_read(&tape, body, ret_refusal);
    if (mr_is_ok(err)) {
        err = parse_document(json_root(&tape), arena, type, ret_refusal);
    }
    json_tape_done(&tape);
    MR_TRY(err);
    if (!catalogue_name_is_valid(type->name, EVENT_TYPE_NAME_MAX)) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "name: a letter or digit, then letters, digits, dots, underscores and "
                      "hyphens.");
    }
    MR_TRY(find_type(control, type->name, arena, &is_found, &other));
    if (is_found) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT, "There is an event type %.*s already.",
                      MR_FMT(type->name));
    }
    MR_TRY(find_schema(control, arena, &is_found, type));
    if (!is_found) {
        return refuse(ret_refusal, REFUSAL_MALFORMED, "schema: the catalogue has no schema %.*s.",
                      MR_FMT(type->schema));
    }
    MR_TRY(check_room(control, ret_refusal));
    return insert_type(control, type);
}

mr_err event_types_create(struct control *control, uint32_t account, mr_str body, mr_arena *arena,
                          struct catalogue_type *ret_view, struct refusal *ret_refusal) {
    struct catalogue_type type = {0};
    MR_TRY(change_begin(control, ret_refusal));
    MR_TRY(change_end(control, create_inner(control, account, body, arena, &type, ret_refusal),
                      ret_refusal));
    *ret_view = type;
    return MR_OK;
}

/* ---- change ---- */

static mr_err same_or_refuse(mr_str before, mr_str after, const char *member, const char *why,
                             struct refusal *ret_refusal) {
    bool is_same = mr_str_is_absent(before) == mr_str_is_absent(after) && mr_str_eq(before, after);
    return is_same
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_MALFORMED, "%s cannot be changed: %s.", member, why);
}

static mr_err judge_change(const struct catalogue_type *before, const struct catalogue_type *after,
                           struct refusal *ret_refusal) {
    static const char relied_on[] = "rules and stored events rely on it";
    static const char shipped[] = "it comes with the program";
    MR_TRY(same_or_refuse(before->name, after->name, "name", relied_on, ret_refusal));
    MR_TRY(same_or_refuse(before->schema, after->schema, "schema", relied_on, ret_refusal));
    if (mr_str_is_absent(before->shipped_name)) {
        return MR_OK;
    }
    MR_TRY(same_or_refuse(before->product, after->product, "product", shipped, ret_refusal));
    return same_or_refuse(before->product_group, after->product_group, "product_group", shipped,
                          ret_refusal);
}

/* The document of the type with the patch applied. */
static mr_err merge(const struct catalogue_type *before, mr_str body, mr_arena *arena,
                    struct catalogue_type *after, struct refusal *ret_refusal) {
    mr_buf present;
    mr_buf document;
    json_tape tape;
    mr_buf_init(&present, DOCUMENT_MAX);
    mr_buf_init(&document, DOCUMENT_MAX);
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    mr_err err = write_document(before, &present);
    if (mr_is_ok(err)) {
        err = shape_merge(mr_buf_view(&present), body, &event_type_shape, &document, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = json_tape_read(&tape, mr_buf_view(&document), NULL);
    }
    if (mr_is_ok(err)) {
        err = parse_document(json_root(&tape), arena, after, ret_refusal);
    }
    json_tape_done(&tape);
    mr_buf_done(&document);
    mr_buf_done(&present);
    return err;
}

static mr_err update_own(struct control *control, const struct catalogue_type *type) {
    struct query query =
        query_begin(&control->store, "UPDATE event_types SET product = ?1, product_group = ?2,"
                                     " description = ?3, status = ?4, version = ?5, updated_ms = ?6"
                                     " WHERE name = ?7");
    query_text(&query, type->product);
    query_text(&query, type->product_group);
    query_text(&query, type->description);
    query_text(&query, type->status);
    query_i64(&query, type->row_version);
    query_i64(&query, type->updated_ms);
    query_text(&query, type->name);
    return query_run(&query);
}

static mr_err update_shipped(struct control *control, const struct catalogue_type *type) {
    struct query query = query_begin(
        &control->store, "INSERT INTO shipped_types(name, description, status, version, updated_ms)"
                         " VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(name) DO UPDATE SET"
                         " description = ?2, status = ?3, version = ?4, updated_ms = ?5");
    query_text(&query, type->shipped_name);
    query_text(&query, type->description);
    query_text(&query, type->status);
    query_i64(&query, type->row_version);
    query_i64(&query, type->updated_ms);
    return query_run(&query);
}

static mr_err patch_inner(struct control *control, uint32_t account, mr_str name, mr_str body,
                          uint32_t if_version, mr_arena *arena, struct catalogue_type *type,
                          struct refusal *ret_refusal) {
    struct catalogue_type before;
    bool is_found = false;
    MR_TRY(catalogue_needs_root(control, account, ret_refusal));
    MR_TRY(find_type(control, name, arena, &is_found, &before));
    if (!is_found) {
        return refuse(ret_refusal, REFUSAL_NOT_FOUND, "There is no such event type.");
    }
    if (if_version != 0 && if_version != before.row_version) {
        return refuse(ret_refusal, REFUSAL_PRECONDITION, "The event type was changed meanwhile.");
    }
    MR_TRY(merge(&before, body, arena, type, ret_refusal));
    MR_TRY(judge_change(&before, type, ret_refusal));
    type->shipped_name = before.shipped_name;
    type->example = before.example;
    type->row_version = before.row_version + 1;
    type->created_ms = before.created_ms;
    type->updated_ms = mr_wall_ms(os_wall_now());
    MR_TRY(find_schema(control, arena, &is_found, type));
    MR_TRY(mr_str_is_absent(type->shipped_name) ? update_own(control, type)
                                                : update_shipped(control, type));
    MR_TRY(tell(control, "event-type.change", &before, type));
    return change_mark(control, MODEL_CATALOGUE, 0);
}

mr_err event_types_patch(struct control *control, uint32_t account, mr_str name, mr_str body,
                         uint32_t if_version, mr_arena *arena, struct catalogue_type *ret_view,
                         struct refusal *ret_refusal) {
    struct catalogue_type type = {0};
    MR_TRY(change_begin(control, ret_refusal));
    MR_TRY(change_end(
        control, patch_inner(control, account, name, body, if_version, arena, &type, ret_refusal),
        ret_refusal));
    *ret_view = type;
    return MR_OK;
}
