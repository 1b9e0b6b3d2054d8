/* Publishing schema versions.
 *
 *   body ─▶ document, examples ─▶ compiled? ─▶ each example valid? ─▶ compared with the version
 *   before, as the store has it in this transaction ─▶ projected to each version? ─▶ row
 *
 * The number of a version is taken from the rows and not from the snapshot, which may be behind
 * while changes are waiting for it: of two calls at the same time the second one is judged against
 * the first one's document, and with If-Match it is refused. */
#include "control/catalogue/publish.h"

#include "control/private.h"
#include "json/write.h"
#include "os/clock.h"
#include "schema/schema.h"

#include <stdio.h>

#define EXAMPLES_BYTES_MAX (CATALOGUE_EXAMPLES_MAX * (CATALOGUE_EXAMPLE_BYTES_MAX + 1) + 16)

#define DOCUMENT_SCHEMA                                                                            \
    "{\"description\":\"JSON Schema, draft-07: the contract of an event's data\","                 \
    "\"type\":[\"object\",\"boolean\"]}"
#define EXAMPLES_SCHEMA                                                                            \
    "{\"description\":\"Values of data that are valid by the document\",\"type\":\"array\","       \
    "\"minItems\":1,\"maxItems\":" TEXT_OF(CATALOGUE_EXAMPLES_MAX) "}"
#define DOCUMENT_MEMBERS                                                                           \
    {"document", SHAPE_OWN, SHAPE_NEEDED, .schema = DOCUMENT_SCHEMA}, {                            \
        "examples", SHAPE_OWN, SHAPE_NEEDED, .schema = EXAMPLES_SCHEMA                             \
    }

static const struct shape_member schema_members[] = {
    DOCUMENT_MEMBERS,
    {"name", SHAPE_TEXT, SHAPE_NEEDED, 1, SCHEMA_NAME_MAX,
     .what = "A letter or digit, then letters, digits, . _ -"},
};
const struct shape schema_shape = {"Schema", schema_members,
                                   sizeof schema_members / sizeof schema_members[0]};
static const struct shape_member version_members[] = {
    DOCUMENT_MEMBERS,
    {"allow_breaking", SHAPE_BOOL, 0, .what = "Publish also what breaks the version before"},
};
const struct shape schema_version_shape = {"SchemaVersion", version_members,
                                           sizeof version_members / sizeof version_members[0]};

/* What is to be published; texts in the call's arena. */
struct draft {
    mr_str name;
    mr_str document; /* as it came */
    mr_str *examples;
    size_t n_examples;
    bool allow_breaking;
};

/* The schema as the rows have it. */
struct present {
    uint32_t number;
    uint32_t latest;
    mr_str document; /* of the latest version */
};

bool catalogue_name_is_valid(mr_str name, size_t max) {
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_word && (i == 0 || (c != '.' && c != '_' && c != '-'))) {
            return false;
        }
    }
    return name.len > 0 && name.len <= max;
}

mr_err catalogue_needs_root(const struct control *control, uint32_t account,
                            struct refusal *ret_refusal) {
    return account == control->root_account
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_DENIED,
                        "Only API clients of the root account change the event catalogue.");
}

/* ---- the body ---- */

static mr_err take_document(json_value root, mr_arena *arena, struct draft *draft,
                            struct refusal *ret_refusal) {
    json_value document = json_find(root, MR_STR("document"));
    mr_str text = json_raw(document);
    if (text.len > SCHEMA_DOCUMENT_BYTES_MAX) {
        return refuse(ret_refusal, REFUSAL_SCHEMA_REFUSED,
                      "document: it has %zu bytes; a schema document has at most %zu.", text.len,
                      SCHEMA_DOCUMENT_BYTES_MAX);
    }
    draft->document = mr_arena_str(arena, text);
    return mr_str_is_absent(draft->document) ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

static mr_err take_example(json_value value, size_t index, mr_buf *scratch, mr_arena *arena,
                           struct draft *draft, struct refusal *ret_refusal) {
    mr_buf_reset(scratch);
    mr_err err = json_minify(value, JSON_UTF8, scratch);
    if (mr_err_is(err, MR_E_LIMIT)) {
        return refuse(ret_refusal, REFUSAL_SCHEMA_REFUSED,
                      "examples: number %zu is larger than the %zu bytes that an example may have.",
                      index, CATALOGUE_EXAMPLE_BYTES_MAX);
    }
    MR_TRY(err);
    draft->examples[index] = mr_arena_str(arena, mr_buf_view(scratch));
    return mr_str_is_absent(draft->examples[index]) ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

static mr_err take_examples(json_value list, mr_arena *arena, struct draft *draft,
                            struct refusal *ret_refusal) {
    size_t n = json_count(list);
    if (json_kind_of(list) != JSON_ARRAY || n == 0 || n > CATALOGUE_EXAMPLES_MAX) {
        return refuse(ret_refusal, REFUSAL_SCHEMA_REFUSED,
                      "examples must be an array of 1 to %d values of data that are valid by the "
                      "document.",
                      CATALOGUE_EXAMPLES_MAX);
    }
    draft->examples = mr_arena_calloc(arena, n, sizeof *draft->examples);
    if (draft->examples == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_buf scratch;
    mr_buf_init(&scratch, CATALOGUE_EXAMPLE_BYTES_MAX);
    mr_err err = MR_OK;
    for (json_iter it = json_iter_of(list); mr_is_ok(err) && json_next(&it);) {
        err = take_example(it.value, draft->n_examples, &scratch, arena, draft, ret_refusal);
        draft->n_examples++;
    }
    mr_buf_done(&scratch);
    return err;
}

static mr_err take_name(json_value root, mr_arena *arena, struct draft *draft,
                        struct refusal *ret_refusal) {
    MR_TRY(shape_text(root, "name", arena, &draft->name));
    return catalogue_name_is_valid(draft->name, SCHEMA_NAME_MAX)
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_MALFORMED,
                        "name: a letter or digit, then letters, digits, dots, underscores and "
                        "hyphens.");
}

/* is_new: with a name, and nothing to break. */
static mr_err read_body(mr_str body, bool is_new, mr_arena *arena, struct draft *draft,
                        struct refusal *ret_refusal) {
    json_tape tape;
    mr_err err = shape_read(&tape, body, is_new ? &schema_shape : &schema_version_shape,
                            SHAPE_CREATE, ret_refusal);
    json_value root = json_root(&tape);
    if (mr_is_ok(err) && is_new) {
        err = take_name(root, arena, draft, ret_refusal);
    }
    if (mr_is_ok(err)) {
        shape_bool(root, "allow_breaking", &draft->allow_breaking);
        err = take_document(root, arena, draft, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = take_examples(json_find(root, MR_STR("examples")), arena, draft, ret_refusal);
    }
    json_tape_done(&tape);
    return err;
}

/* ---- judging ---- */

static mr_err refuse_document(const struct schema_fault *fault, mr_buf *members,
                              struct refusal *ret_refusal) {
    json_out writer;
    MR_TRY(mr_buf_str(members, MR_STR("\"errors\":")));
    json_out_init(&writer, members);
    json_out_array(&writer);
    json_out_object(&writer);
    json_out_member_c(&writer, "pointer", fault->pointer);
    json_out_member_c(&writer, "expected", fault->expected);
    json_out_end(&writer);
    json_out_end(&writer);
    MR_TRY(json_out_finish(&writer));
    return refuse(ret_refusal, REFUSAL_SCHEMA_REFUSED, "document: refused at \"%s\": expected %s",
                  fault->pointer, fault->expected);
}

static mr_str find_document(const void *ctx, mr_str path) {
    return catalogue_document_by_path(ctx, path);
}

static mr_err compile(struct control *control, const struct publish_call *call,
                      const struct draft *draft, struct schema **ret_schema, mr_str *ret_ignored,
                      struct refusal *ret_refusal) {
    const struct schema_library library = {.ctx = snapshot_catalogue(control->snapshot),
                                           .find = find_document,
                                           .bases = call->bases,
                                           .n_bases = call->n_bases};
    struct schema_fault fault = {{0}, {0}, -1};
    mr_buf ignored;
    mr_buf_init(&ignored, CATALOGUE_LIST_BYTES_MAX);
    mr_err err = schema_compile(draft->document, &library, ret_schema, &ignored, &fault);
    if (mr_is_ok(err)) {
        *ret_ignored = mr_arena_str(call->arena, mr_buf_view(&ignored));
        err = mr_str_is_absent(*ret_ignored) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    } else if (mr_err_is(err, SCHEMA_E_REFUSED)) {
        err = refuse_document(&fault, call->members, ret_refusal);
    } else if (mr_err_is(err, MR_E_LIMIT)) {
        err = refuse(ret_refusal, REFUSAL_SCHEMA_REFUSED,
                     "document: the list of its unknown keywords is longer than %zu bytes.",
                     CATALOGUE_LIST_BYTES_MAX);
    }
    mr_buf_done(&ignored);
    return err;
}

static mr_err refuse_example(size_t index, const struct schema_error *errors, size_t n,
                             mr_buf *members, struct refusal *ret_refusal) {
    json_out writer;
    MR_TRY(mr_buf_str(members, MR_STR("\"errors\":")));
    json_out_init(&writer, members);
    json_out_array(&writer);
    for (size_t i = 0; i < n; i++) {
        json_out_object(&writer);
        json_out_member_u64(&writer, "example", index);
        json_out_member_str(&writer, "instance", errors[i].instance);
        json_out_member_str(&writer, "schema", errors[i].schema);
        json_out_member_c(&writer, "rule", errors[i].rule);
        json_out_member_str(&writer, "message", errors[i].message);
        json_out_end(&writer);
    }
    json_out_end(&writer);
    MR_TRY(json_out_finish(&writer));
    return refuse(ret_refusal, REFUSAL_SCHEMA_REFUSED,
                  "examples: number %zu is not valid by the document: at \"%.*s\": %.*s", index,
                  MR_FMT(errors[0].instance), MR_FMT(errors[0].message));
}

static mr_err judge_examples(const struct schema *schema, const struct draft *draft,
                             mr_buf *members, struct refusal *ret_refusal) {
    struct schema_run *run = NULL;
    json_tape tape;
    MR_TRY(schema_run_new(&run));
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    mr_err err = MR_OK;
    for (size_t i = 0; i < draft->n_examples && mr_is_ok(err); i++) {
        const struct schema_error *errors = NULL;
        size_t n = 0;
        err = json_tape_read(&tape, draft->examples[i], NULL);
        if (mr_is_ok(err) && !schema_validate(schema, json_root(&tape), run, &errors, &n)) {
            err = refuse_example(i, errors, n, members, ret_refusal);
        }
    }
    json_tape_done(&tape);
    schema_run_free(run);
    return err;
}

/* What breaks the version before: allowed, or refused with the whole list. */
static mr_err judge_change(const struct publish_call *call, const struct draft *draft,
                           const struct present *present, mr_str *ret_breaking,
                           struct refusal *ret_refusal) {
    size_t n = 0;
    mr_buf list;
    mr_buf_init(&list, CATALOGUE_LIST_BYTES_MAX);
    mr_err err = schema_compare(present->document, draft->document, &list, &n);
    if (mr_is_ok(err)) {
        *ret_breaking = mr_arena_str(call->arena, mr_buf_view(&list));
        err = mr_str_is_absent(*ret_breaking) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    } else if (mr_err_is(err, MR_E_LIMIT)) {
        err = refuse(ret_refusal, REFUSAL_SCHEMA_REFUSED,
                     "document: the list of what breaks version %u is longer than %zu bytes; "
                     "publish it as a schema of another name.",
                     present->latest, CATALOGUE_LIST_BYTES_MAX);
    }
    mr_buf_done(&list);
    MR_TRY(err);
    if (n == 0 || draft->allow_breaking) {
        return MR_OK;
    }
    MR_TRY(mr_buf_printf(call->members, "\"breaking\":%.*s", MR_FMT(*ret_breaking)));
    return refuse(ret_refusal, REFUSAL_SCHEMA_REFUSED,
                  "document: %zu change%s break%s what version %u promised (breaking lists them); "
                  "set allow_breaking to true to publish it all the same.",
                  n, n == 1 ? "" : "s", n == 1 ? "s" : "", present->latest);
}

static mr_err minified_equal(mr_str a, mr_str b, bool *ret_equal) {
    mr_str texts[2] = {a, b};
    mr_buf bufs[2];
    json_tape tape;
    mr_err err = MR_OK;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    for (size_t i = 0; i < 2; i++) {
        mr_buf_init(&bufs[i], SCHEMA_DOCUMENT_BYTES_MAX);
        err = mr_is_ok(err) ? json_tape_read(&tape, texts[i], NULL) : err;
        err = mr_is_ok(err) ? json_minify(json_root(&tape), JSON_UTF8, &bufs[i]) : err;
    }
    *ret_equal = mr_is_ok(err) && mr_str_eq(mr_buf_view(&bufs[0]), mr_buf_view(&bufs[1]));
    mr_buf_done(&bufs[0]);
    mr_buf_done(&bufs[1]);
    json_tape_done(&tape);
    return err;
}

/* Can data be taken back to each version there is? The snapshot relies on it: once stored, a
 * version that it could not be built with would hold up every change after it. */
static mr_err judge_projections(struct control *control, const struct draft *draft,
                                const struct present *present, struct refusal *ret_refusal) {
    mr_arena arena;
    mr_arena_init(&arena, 2 * SCHEMA_DOCUMENT_BYTES_MAX);
    struct query query =
        query_begin(&control->store, "SELECT version, document FROM schema_versions"
                                     " WHERE schema = ?1 ORDER BY version DESC");
    query_i64(&query, present->number);
    mr_err err = MR_OK;
    while (mr_is_ok(err) && query_row(&query)) {
        struct schema_projection *projection = NULL;
        mr_arena_reset(&arena);
        err =
            schema_projection_new(query_col_text(&query, 1, &arena), draft->document, &projection);
        schema_projection_free(projection);
        if (mr_err_is(err, MR_E_LIMIT)) {
            err = refuse(ret_refusal, REFUSAL_SCHEMA_REFUSED,
                         "document: its references are too entangled to take data back to version "
                         "%lld (projection_steps_max).",
                         (long long)query_col_i64(&query, 0));
        }
    }
    mr_err ended = query_end(&query);
    mr_arena_done(&arena);
    return mr_is_err(err) ? err : ended;
}

/* present NULL: version 1. */
static mr_err judge(struct control *control, const struct publish_call *call,
                    const struct draft *draft, const struct present *present,
                    struct catalogue_schema *view, struct refusal *ret_refusal) {
    struct schema *schema = NULL;
    mr_err err = compile(control, call, draft, &schema, &view->ignored, ret_refusal);
    if (mr_is_ok(err)) {
        err = judge_examples(schema, draft, call->members, ret_refusal);
    }
    schema_free(schema);
    view->breaking = MR_STR("[]");
    if (mr_is_ok(err) && present != NULL) {
        err = judge_change(call, draft, present, &view->breaking, ret_refusal);
    }
    if (mr_is_ok(err) && present != NULL) {
        err = judge_projections(control, draft, present, ret_refusal);
    }
    return err;
}

/* ---- rows ---- */

static bool is_shipped(struct control *control, mr_str name) {
    const struct catalogue_schema *first =
        catalogue_schema_find(snapshot_catalogue(control->snapshot), name, 1);
    return first != NULL && first->is_shipped;
}

/* *ret_present: number 0 where there is none. */
static mr_err find_present(struct control *control, mr_str name, mr_arena *arena,
                           struct present *ret_present) {
    struct query query =
        query_begin(&control->store, "SELECT s.number, v.version, v.document FROM schemas s"
                                     " JOIN schema_versions v ON v.schema = s.number"
                                     " WHERE s.name = ?1 ORDER BY v.version DESC LIMIT 1");
    query_text(&query, name);
    *ret_present = (struct present){0};
    if (query_row(&query)) {
        *ret_present = (struct present){.number = (uint32_t)query_col_i64(&query, 0),
                                        .latest = (uint32_t)query_col_i64(&query, 1),
                                        .document = query_col_text(&query, 2, arena)};
    }
    return query_end(&query);
}

static mr_err check_room(struct control *control, bool is_new, uint32_t latest, size_t bytes,
                         struct refusal *ret_refusal) {
    int64_t n = 0;
    int64_t sum = 0;
    struct query query =
        query_begin(&control->store, "SELECT (SELECT count(*) FROM schemas),"
                                     " (SELECT coalesce(sum(bytes), 0) FROM schema_versions)");
    while (query_row(&query)) {
        n = query_col_i64(&query, 0);
        sum = query_col_i64(&query, 1);
    }
    MR_TRY(query_end(&query));
    if (is_new && n >= CATALOGUE_SCHEMAS_MAX) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "The catalogue holds %d schemas; it may hold no more.",
                      CATALOGUE_SCHEMAS_MAX);
    }
    if (latest >= CATALOGUE_VERSIONS_MAX) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "The schema has %d versions; it may have no more. Publish it under another "
                      "name.",
                      CATALOGUE_VERSIONS_MAX);
    }
    if ((uint64_t)sum + bytes > CATALOGUE_BYTES_SUM) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "Documents and examples of the catalogue may have %zu bytes together.",
                      CATALOGUE_BYTES_SUM);
    }
    return MR_OK;
}

static void write_list(const mr_str *texts, size_t n, bool is_strings, json_out *out) {
    json_out_array(out);
    for (size_t i = 0; i < n; i++) {
        if (is_strings) {
            json_out_str(out, texts[i]);
        } else {
            json_out_raw(out, texts[i]);
        }
    }
    json_out_end(out);
}

static mr_err insert_schema(struct control *control, mr_str name, int64_t now_ms,
                            uint32_t *ret_number) {
    MR_TRY(number_take(control, "schema", ret_number));
    struct query query = query_begin(
        &control->store, "INSERT INTO schemas(number, name, created_ms) VALUES(?1, ?2, ?3)");
    query_i64(&query, *ret_number);
    query_text(&query, name);
    query_i64(&query, now_ms);
    return query_run(&query);
}

/* Name and version alone: the document stays readable for ever. */
static mr_err tell_version(struct control *control, mr_str name, uint32_t version) {
    char detail[64];
    int n = snprintf(detail, sizeof detail, "{\"version\":%u}", version);
    return audit_add(control, &(struct audit_entry){.account = control->root_account,
                                                    .action = "schema.publish",
                                                    .object = name,
                                                    .detail = mr_str_of(detail, (size_t)n)});
}

static mr_err insert_version(struct control *control, const struct draft *draft, uint32_t schema,
                             const struct catalogue_schema *view, mr_str examples, mr_str bases) {
    uint32_t number = 0;
    MR_TRY(number_take(control, "schema_version", &number));
    struct query query = query_begin(
        &control->store, "INSERT INTO schema_versions(number, schema, version, bytes, created_ms,"
                         " bases, breaking, examples, document)"
                         " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
    query_i64(&query, number);
    query_i64(&query, schema);
    query_i64(&query, view->version);
    query_i64(&query, (int64_t)(draft->document.len + examples.len));
    query_i64(&query, view->published_ms);
    query_text(&query, bases);
    query_text(&query, view->breaking);
    query_text(&query, examples);
    query_text(&query, draft->document);
    MR_TRY(query_run(&query));
    MR_TRY(tell_version(control, draft->name, view->version));
    return change_mark(control, MODEL_CATALOGUE, 0);
}

/* Stores the judged version; schema 0: of a new schema. */
static mr_err store_version(struct control *control, const struct publish_call *call,
                            const struct draft *draft, uint32_t schema,
                            struct catalogue_schema *view, struct refusal *ret_refusal) {
    mr_buf examples;
    mr_buf bases;
    json_out writers[2];
    mr_buf_init(&examples, EXAMPLES_BYTES_MAX);
    mr_buf_init(&bases, CATALOGUE_LIST_BYTES_MAX);
    json_out_init(&writers[0], &examples);
    json_out_init(&writers[1], &bases);
    write_list(draft->examples, draft->n_examples, false, &writers[0]);
    write_list(call->bases, call->n_bases, true, &writers[1]);
    mr_err err = json_out_finish(&writers[0]);
    mr_err second = json_out_finish(&writers[1]);
    err = mr_is_ok(err) ? second : err;
    if (mr_is_ok(err)) {
        err = check_room(control, schema == 0, view->version - 1,
                         draft->document.len + examples.len, ret_refusal);
    }
    if (mr_is_ok(err) && schema == 0) {
        err = insert_schema(control, draft->name, view->published_ms, &schema);
    }
    if (mr_is_ok(err)) {
        err = insert_version(control, draft, schema, view, mr_buf_view(&examples),
                             mr_buf_view(&bases));
    }
    mr_buf_done(&examples);
    mr_buf_done(&bases);
    return err;
}

/* What is shown of the version that was judged. */
static void fill_view(const struct draft *draft, uint32_t version, struct catalogue_schema *view) {
    view->name = draft->name;
    view->version = version;
    view->document = draft->document;
    view->examples = draft->examples;
    view->n_examples = draft->n_examples;
    view->example = draft->examples[0];
    view->published_ms = mr_wall_ms(os_wall_now());
}

static mr_err create_inner(struct control *control, const struct publish_call *call,
                           struct catalogue_schema *view, struct refusal *ret_refusal) {
    struct draft draft = {0};
    struct present present;
    MR_TRY(catalogue_needs_root(control, call->account, ret_refusal));
    MR_TRY(read_body(call->body, true, call->arena, &draft, ret_refusal));
    MR_TRY(find_present(control, draft.name, call->arena, &present));
    if (present.number != 0 || is_shipped(control, draft.name)) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "There is a schema %.*s already; publish another version of it.",
                      MR_FMT(draft.name));
    }
    MR_TRY(judge(control, call, &draft, NULL, view, ret_refusal));
    fill_view(&draft, 1, view);
    return store_version(control, call, &draft, 0, view, ret_refusal);
}

static mr_err publish_inner(struct control *control, const struct publish_call *call,
                            struct catalogue_schema *view, struct refusal *ret_refusal) {
    struct draft draft = {.name = call->name};
    struct present present;
    bool is_same = false;
    MR_TRY(catalogue_needs_root(control, call->account, ret_refusal));
    if (is_shipped(control, call->name)) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "The schema %.*s comes with the program, and so do its versions.",
                      MR_FMT(call->name));
    }
    MR_TRY(find_present(control, call->name, call->arena, &present));
    if (present.number == 0) {
        return refuse(ret_refusal, REFUSAL_NOT_FOUND, "There is no such schema.");
    }
    if (call->if_version != 0 && call->if_version != present.latest) {
        return refuse(ret_refusal, REFUSAL_PRECONDITION,
                      "The schema's latest version is %u: another one was published meanwhile.",
                      present.latest);
    }
    MR_TRY(read_body(call->body, false, call->arena, &draft, ret_refusal));
    MR_TRY(minified_equal(present.document, draft.document, &is_same));
    if (is_same) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "The document is that of version %u already.", present.latest);
    }
    MR_TRY(judge(control, call, &draft, &present, view, ret_refusal));
    fill_view(&draft, present.latest + 1, view);
    return store_version(control, call, &draft, present.number, view, ret_refusal);
}

mr_err schemas_create(struct control *control, const struct publish_call *call,
                      struct catalogue_schema *ret_view, struct refusal *ret_refusal) {
    struct catalogue_schema view = {0};
    MR_TRY(change_begin(control, ret_refusal));
    MR_TRY(change_end(control, create_inner(control, call, &view, ret_refusal), ret_refusal));
    *ret_view = view;
    return MR_OK;
}

mr_err schemas_publish(struct control *control, const struct publish_call *call,
                       struct catalogue_schema *ret_view, struct refusal *ret_refusal) {
    struct catalogue_schema view = {0};
    MR_TRY(change_begin(control, ret_refusal));
    MR_TRY(change_end(control, publish_inner(control, call, &view, ret_refusal), ret_refusal));
    *ret_view = view;
    return MR_OK;
}
