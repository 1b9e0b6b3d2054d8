/* Destinations.
 *
 * A row holds the public settings as JSON, the write-only ones and the signing keys as sealed
 * boxes. Creation and change go the same way: a whole document is made (for a change by applying
 * the merge patch to the present one), parsed and ranged by one parser, and written; so nothing can
 * be reached by PATCH that POST would refuse. Objects of the snapshot are made from the row by the
 * same parser.
 *
 * Signing keys lie sealed in the form of model/signing.
 *
 * Deleting leaves the row with deleted_ms set: its number and id stay known to whatever names them
 * in the journal. The sealed columns go at once. */
#include "control/destinations.h"

#include "base/mem.h"
#include "base/num.h"
#include "control/body.h"
#include "control/private.h"
#include "control/settings.h"
#include "json/write.h"
#include "model/signing.h"
#include "os/clock.h"

#define DOCUMENT_MAX  ((size_t)1 << 20)
#define LAST_TEST_MAX 16384
#define OVERLAP_MS    (INT64_C(24) * 3600 * 1000)

static const char *const kind_names[] = {"webhook", "kinesis"};
static const char *const status_names[] = {"active", "failed", "disabled"};
static const char *const member_names[] = {"name",     "description", "kind",
                                           "settings", "status",      "metadata"};
#define MEMBERS (sizeof member_names / sizeof member_names[0])

static const struct body_place place = {.path = "", .wrong = REFUSAL_MALFORMED};

/* A row while it is made or changed. */
struct draft {
    mr_str name;
    mr_str description;
    mr_str metadata;
    enum model_destination_status status;
    struct model_webhook webhook; /* holds secrets: draft_done */
};

static void draft_done(struct draft *draft) {
    model_webhook_release(&draft->webhook);
}

/* ---- reading rows ---- */

#define VIEW_COLUMNS                                                                               \
    "d.number, d.id, a.id, d.name, d.description, d.kind, d.settings, d.status, d.disabled_by,"    \
    " d.last_test, d.metadata, d.created_ms, d.updated_ms, d.disabled_ms, d.version"
#define VIEW_FROM " FROM destinations d JOIN accounts a ON a.number = d.account"

static void read_view(struct query *query, mr_arena *arena, struct destination_view *view) {
    *view = (struct destination_view){
        .number = (uint32_t)query_col_i64(query, 0),
        .id = query_col_text(query, 1, arena),
        .account_id = query_col_text(query, 2, arena),
        .name = query_col_text(query, 3, arena),
        .description = query_col_text(query, 4, arena),
        .kind = (enum model_destination_kind)query_col_i64(query, 5),
        .settings_json = query_col_text(query, 6, arena),
        .status = (enum model_destination_status)query_col_i64(query, 7),
        .disabled_by = (enum model_disabled_by)query_col_i64(query, 8),
        .last_test_json = query_col_text(query, 9, arena),
        .metadata_json = query_col_text(query, 10, arena),
        .created_ms = query_col_i64(query, 11),
        .updated_ms = query_col_i64(query, 12),
        .disabled_ms = query_col_i64(query, 13),
        .version = (uint32_t)query_col_i64(query, 14),
    };
}

/* The ids of the rules that lead to it. */
static mr_err read_rule_ids(struct control *control, mr_arena *arena,
                            struct destination_view *view) {
    struct query query =
        query_begin(&control->store, "SELECT count(*) FROM rules WHERE destination = ?1"
                                     " AND deleted_ms IS NULL");
    size_t n = 0;
    query_i64(&query, view->number);
    while (query_row(&query)) {
        n = (size_t)query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    mr_str *ids = mr_arena_calloc(arena, n + 1, sizeof *ids);
    if (ids == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    query = query_begin(&control->store, "SELECT id FROM rules WHERE destination = ?1"
                                         " AND deleted_ms IS NULL ORDER BY number");
    query_i64(&query, view->number);
    size_t at = 0;
    while (at < n && query_row(&query)) {
        ids[at++] = query_col_text(&query, 0, arena);
    }
    view->rule_ids = ids;
    view->n_rules = at;
    return query_end(&query);
}

static mr_err find_view(struct control *control, uint32_t account, mr_str id, mr_arena *arena,
                        struct destination_view *view, struct refusal *ret_refusal) {
    struct query query = query_begin(
        &control->store, "SELECT " VIEW_COLUMNS VIEW_FROM
                         " WHERE d.id = ?1 AND d.account = ?2 AND d.deleted_ms IS NULL");
    query_text(&query, id);
    query_i64(&query, account);
    bool found = query_row(&query);
    if (found) {
        read_view(&query, arena, view);
    }
    MR_TRY(query_end(&query));
    if (!found) {
        return refuse(ret_refusal, REFUSAL_NOT_FOUND, "There is no such destination.");
    }
    return read_rule_ids(control, arena, view);
}

/* ---- sealed columns ---- */

/* One sealed column of a row; {NULL} where it is NULL. row is the number as text. */
static mr_err read_box(struct control *control, struct query *query, int column, uint32_t number,
                       const char *name, mr_secret *ret_value) {
    mr_str box = query_col_bytes(query, column);
    if (mr_str_is_absent(box)) {
        *ret_value = MR_SECRET_NONE;
        return MR_OK;
    }
    char row[24];
    mr_buf text;
    mr_buf_init(&text, sizeof row);
    mr_err err = mr_buf_u64(&text, number);
    if (mr_is_ok(err)) {
        err = control_unseal(control, "destinations", mr_buf_view(&text), name, box, ret_value);
    }
    mr_buf_done(&text);
    return err;
}

static mr_err make_box(struct control *control, uint32_t number, const char *name, mr_str plain,
                       mr_buf *out) {
    mr_buf row;
    mr_buf_init(&row, 24);
    mr_err err = mr_buf_u64(&row, number);
    if (mr_is_ok(err)) {
        err = control_seal(control, "destinations", mr_buf_view(&row), name, plain, out);
    }
    mr_buf_done(&row);
    return err;
}

/* ---- rows to objects ---- */

/* Reads settings text with the private form (absent: none) into webhook. */
static mr_err parse_stored(struct control *control, mr_str settings, mr_secret private_form,
                           mr_arena *arena, struct model_webhook *ret_webhook) {
    json_tape tape;
    json_tape stored;
    struct refusal refusal;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    json_tape_init(&stored, JSON_DEPTH_DEFAULT);
    mr_err err = json_tape_read(&tape, settings, NULL);
    if (mr_is_ok(err) && !mr_secret_is_none(private_form)) {
        err = json_tape_read(&stored, mr_secret_reveal(private_form), NULL);
    }
    if (mr_is_ok(err)) {
        struct settings_context context = {
            .options = &control->options,
            .has_signing = true,
            .is_trusted = true,
            .stored = json_root(&stored),
        };
        err = settings_parse(&context, json_root(&tape), arena, ret_webhook, &refusal);
        if (mr_err_is(err, CONTROL_E_REFUSED)) {
            mr_error(control->options.log, "stored_settings_invalid",
                     mr_kv_c("reason", refusal.message));
            err = MR_ERR(MR_E_INVALID);
        }
    }
    json_tape_done(&tape);
    json_tape_done(&stored);
    return err;
}

/* The settings of the row under query's columns (settings, private, signing), secrets included. */
static mr_err read_webhook(struct control *control, struct query *query, int first, uint32_t number,
                           mr_arena *arena, struct model_webhook *ret_webhook) {
    mr_secret private_form = MR_SECRET_NONE;
    mr_secret signing = MR_SECRET_NONE;
    mr_err err = read_box(control, query, first + 1, number, "private_sealed", &private_form);
    if (mr_is_ok(err)) {
        err = read_box(control, query, first + 2, number, "signing_sealed", &signing);
    }
    if (mr_is_ok(err)) {
        err =
            parse_stored(control, query_col_bytes(query, first), private_form, arena, ret_webhook);
        if (mr_is_ok(err)) {
            err = mr_secret_is_none(signing)
                      ? MR_OK
                      : signing_form_read(control->options.slab, mr_secret_reveal(signing),
                                          &ret_webhook->signing);
            if (mr_is_err(err)) {
                model_webhook_release(ret_webhook);
            }
        }
    }
    mr_secret_unref(&private_form);
    mr_secret_unref(&signing);
    return err;
}

static mr_err make_object(struct control *control, struct query *query, uint32_t number,
                          struct model_object **ret_object) {
    mr_arena arena;
    mr_arena_init(&arena, DOCUMENT_MAX);
    struct model_webhook webhook;
    mr_err err = read_webhook(control, query, 6, number, &arena, &webhook);
    if (mr_is_err(err)) {
        mr_arena_done(&arena);
        return err;
    }
    struct model_destination *destination =
        model_destination_new(number, query_col_bytes(query, 0), (uint32_t)query_col_i64(query, 1));
    err = MR_ERR(MR_E_NOMEM);
    if (destination != NULL &&
        model_text(&destination->object, query_col_bytes(query, 2), &destination->name)) {
        destination->status = (enum model_destination_status)query_col_i64(query, 3);
        destination->disabled_by = (enum model_disabled_by)query_col_i64(query, 4);
        destination->version = (uint32_t)query_col_i64(query, 5);
        destination->kind = MODEL_KIND_WEBHOOK;
        err = model_destination_set_webhook(destination, &webhook);
    }
    model_webhook_release(&webhook);
    mr_arena_done(&arena);
    if (mr_is_err(err)) {
        model_object_unref(destination == NULL ? NULL : &destination->object);
        return err;
    }
    *ret_object = &destination->object;
    return MR_OK;
}

mr_err destination_load(struct control *control, uint32_t number,
                        struct model_object **ret_object) {
    struct query query = query_begin(
        &control->store,
        "SELECT id, account, name, status, disabled_by, version, settings, private_sealed,"
        " signing_sealed FROM destinations WHERE number = ?1 AND deleted_ms IS NULL");
    query_i64(&query, number);
    mr_err err = MR_OK;
    *ret_object = NULL;
    if (query_row(&query)) {
        err = make_object(control, &query, number, ret_object);
    }
    mr_err ended = query_end(&query);
    return mr_is_err(err) ? err : ended;
}

/* ---- documents ---- */

/* status in a call: active or disabled; failed stays what it is when it is sent back unchanged. */
static mr_err parse_status(json_value root, enum model_destination_status before,
                           struct draft *draft, struct refusal *ret_refusal) {
    uint32_t status = (uint32_t)before;
    MR_TRY(body_enum(root, &place, "status", status_names, 3, &status, ret_refusal));
    if (status == (uint32_t)MODEL_FAILED && before != MODEL_FAILED) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "status must be one of: active, disabled (failed is set by tests and "
                      "attempts).");
    }
    draft->status = (enum model_destination_status)status;
    return MR_OK;
}

/* A whole document to a draft. */
static mr_err parse_document(const struct settings_context *context, json_value root,
                             enum model_destination_status before, mr_arena *arena,
                             struct draft *draft, struct refusal *ret_refusal) {
    static const char *const needed[] = {"name", "kind", "settings"};
    uint32_t kind = 0;
    MR_TRY(body_only(root, &place, member_names, MEMBERS, ret_refusal));
    MR_TRY(body_needs(root, &place, needed, 3, ret_refusal));
    MR_TRY(body_text(root, &place, "name", 1, DESTINATION_NAME_MAX, false, arena, &draft->name,
                     ret_refusal));
    MR_TRY(body_enum(root, &place, "kind", kind_names, 2, &kind, ret_refusal));
    if (kind != MODEL_KIND_WEBHOOK) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "kind: destinations of kind kinesis are not available in this version.");
    }
    draft->description = MR_STR("");
    draft->metadata = MR_STR("{}");
    MR_TRY(body_text(root, &place, "description", 0, DESTINATION_DESCRIPTION_MAX, true, arena,
                     &draft->description, ret_refusal));
    MR_TRY(body_object(root, &place, "metadata", METADATA_BYTES_MAX, arena, &draft->metadata,
                       ret_refusal));
    MR_TRY(parse_status(root, before, draft, ret_refusal));
    return settings_parse(context, json_find(root, MR_STR("settings")), arena, &draft->webhook,
                          ret_refusal);
}

/* Settings of a draft as the two stored forms; box stays empty where nothing is write-only. */
static mr_err encode_settings(struct control *control, uint32_t number, const struct draft *draft,
                              mr_buf *public_form, mr_buf *box) {
    mr_buf plain;
    mr_buf_init(&plain, DOCUMENT_MAX);
    bool has = false;
    mr_err err = settings_write_public(&draft->webhook, public_form);
    if (mr_is_ok(err)) {
        err = settings_write_private(&draft->webhook, &plain, &has);
    }
    if (mr_is_ok(err) && has) {
        err = make_box(control, number, "private_sealed", mr_buf_view(&plain), box);
    }
    if (plain.ptr != NULL) {
        crypto_wipe(plain.ptr, plain.cap);
    }
    mr_buf_done(&plain);
    return err;
}

/* ---- create ---- */

static mr_err insert_row(struct control *control, uint32_t account, uint32_t number, mr_str id,
                         const struct draft *draft, mr_str settings, mr_str box) {
    struct query query = query_begin(
        &control->store,
        "INSERT INTO destinations(number, id, account, name, description, kind, status,"
        " disabled_by, disabled_ms, settings, private_sealed, metadata, version, created_ms,"
        " updated_ms) VALUES(?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?9, ?10, ?11, 1, ?12, ?12)");
    bool is_disabled = draft->status == MODEL_DISABLED;
    int64_t now_ms = mr_wall_ms(os_wall_now());
    query_i64(&query, number);
    query_text(&query, id);
    query_i64(&query, account);
    query_text(&query, draft->name);
    query_text(&query, draft->description);
    query_i64(&query, (int64_t)draft->status);
    query_i64(&query, is_disabled ? MODEL_DISABLED_BY_CALL : MODEL_DISABLED_BY_NOBODY);
    query_i64(&query, is_disabled ? now_ms : 0);
    query_text(&query, settings);
    query_blob(&query, box.len == 0 ? MR_STR_NONE : box);
    query_text(&query, draft->metadata);
    query_i64(&query, now_ms);
    return query_run(&query);
}

static mr_err store_new(struct control *control, uint32_t account, const struct draft *draft,
                        mr_arena *arena, struct destination_view *ret_view,
                        struct refusal *ret_refusal) {
    uint32_t number = 0;
    char id[CRYPTO_ID_SIZE];
    mr_buf settings;
    mr_buf box;
    MR_TRY(number_take(control, "destination", &number));
    crypto_id_make(MR_STR("dst_"), os_wall_now(), id);
    mr_buf_init(&settings, DOCUMENT_MAX);
    mr_buf_init(&box, DOCUMENT_MAX);
    mr_err err = encode_settings(control, number, draft, &settings, &box);
    if (mr_is_ok(err)) {
        err = insert_row(control, account, number, mr_str_c(id), draft, mr_buf_view(&settings),
                         mr_buf_view(&box));
    }
    mr_buf_done(&settings);
    mr_buf_done(&box);
    MR_TRY(err);
    MR_TRY(change_mark(control, MODEL_DESTINATION, number));
    return find_view(control, account, mr_str_c(id), arena, ret_view, ret_refusal);
}

static mr_err create_inner(struct control *control, uint32_t account, mr_str body, mr_arena *arena,
                           struct destination_view *ret_view, struct refusal *ret_refusal) {
    json_tape tape;
    struct draft draft = {0};
    struct settings_context context = {.options = &control->options};
    mr_err err = body_read(&tape, body, ret_refusal);
    if (mr_is_ok(err)) {
        err = parse_document(&context, json_root(&tape), MODEL_ACTIVE, arena, &draft, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = store_new(control, account, &draft, arena, ret_view, ret_refusal);
    }
    draft_done(&draft);
    json_tape_done(&tape);
    return err;
}

mr_err destinations_create(struct control *control, uint32_t account, mr_str body, mr_arena *arena,
                           struct destination_view *ret_view, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control, create_inner(control, account, body, arena, ret_view, ret_refusal),
                      ret_refusal);
}

/* ---- get and list ---- */

mr_err destinations_get(struct control *control, uint32_t account, mr_str id, mr_arena *arena,
                        struct destination_view *ret_view, struct refusal *ret_refusal) {
    return refuse_error(control, find_view(control, account, id, arena, ret_view, ret_refusal),
                        ret_refusal);
}

static mr_err choose(mr_str text, const char *what, const char *const *names, int64_t n,
                     int64_t *ret_index, struct refusal *ret_refusal) {
    *ret_index = -1;
    if (mr_str_is_absent(text)) {
        return MR_OK;
    }
    for (int64_t i = 0; i < n; i++) {
        if (mr_str_eq(text, mr_str_c(names[i]))) {
            *ret_index = i;
            return MR_OK;
        }
    }
    return refuse(ret_refusal, REFUSAL_MALFORMED, "There is no destination %s \"%.*s\".", what,
                  (int)(text.len < 64 ? text.len : 64), text.ptr);
}

#define LIST_WHERE                                                                                 \
    " WHERE d.account = ?1 AND d.deleted_ms IS NULL AND (?2 < 0 OR d.status = ?2)"                 \
    " AND (?3 < 0 OR d.kind = ?3)"

static void bind_list(struct query *query, uint32_t account, int64_t status, int64_t kind) {
    query_i64(query, account);
    query_i64(query, status);
    query_i64(query, kind);
}

static mr_err read_rows(struct control *control, struct query *query, struct control_page page,
                        mr_arena *arena, struct destination_view **ret_rows, size_t *ret_n) {
    struct destination_view *rows = mr_arena_calloc(arena, page.size, sizeof *rows);
    size_t n = 0;
    while (rows != NULL && n < page.size && query_row(query)) {
        read_view(query, arena, &rows[n++]);
    }
    MR_TRY(query_end(query));
    if (rows == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    for (size_t i = 0; i < n; i++) {
        MR_TRY(read_rule_ids(control, arena, &rows[i]));
    }
    *ret_rows = rows;
    *ret_n = n;
    return MR_OK;
}

static mr_err list_inner(struct control *control, uint32_t account, mr_str status, mr_str kind,
                         struct control_page page, mr_arena *arena,
                         struct destination_view **ret_rows, size_t *ret_n, uint64_t *ret_count,
                         struct refusal *ret_refusal) {
    int64_t only_status = -1;
    int64_t only_kind = -1;
    MR_TRY(choose(status, "status", status_names, 3, &only_status, ret_refusal));
    MR_TRY(choose(kind, "kind", kind_names, 2, &only_kind, ret_refusal));
    struct query query =
        query_begin(&control->store, "SELECT count(*) FROM destinations d" LIST_WHERE);
    bind_list(&query, account, only_status, only_kind);
    while (query_row(&query)) {
        *ret_count = (uint64_t)query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    query = query_begin(&control->store, "SELECT " VIEW_COLUMNS VIEW_FROM LIST_WHERE
                                         " ORDER BY d.number LIMIT ?4 OFFSET ?5");
    bind_list(&query, account, only_status, only_kind);
    query_i64(&query, page.size);
    query_i64(&query, (int64_t)(page.number - 1) * page.size);
    return read_rows(control, &query, page, arena, ret_rows, ret_n);
}

mr_err destinations_list(struct control *control, uint32_t account, mr_str status, mr_str kind,
                         struct control_page page, mr_arena *arena,
                         struct destination_view **ret_rows, size_t *ret_n, uint64_t *ret_count,
                         struct refusal *ret_refusal) {
    return refuse_error(control,
                        list_inner(control, account, status, kind, page, arena, ret_rows, ret_n,
                                   ret_count, ret_refusal),
                        ret_refusal);
}

/* ---- change ---- */

/* The present row as the document that a merge patch is applied to. */
static mr_err write_document(const struct destination_view *view, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_str(&writer, "name", view->name);
    json_out_member_str(&writer, "description", view->description);
    json_out_member_str(&writer, "kind", model_kind_name(view->kind));
    json_out_member_raw(&writer, "settings", view->settings_json);
    json_out_member_str(&writer, "status", model_status_name(view->status));
    json_out_member_raw(&writer, "metadata", view->metadata_json);
    json_out_end(&writer);
    return json_out_finish(&writer);
}

/* The private form and whether signing keys are there, for judging the changed document. */
static mr_err read_stored(struct control *control, uint32_t number, mr_secret *ret_private,
                          bool *ret_has_signing) {
    struct query query =
        query_begin(&control->store, "SELECT private_sealed, signing_sealed IS NOT NULL"
                                     " FROM destinations WHERE number = ?1");
    query_i64(&query, number);
    mr_err err = MR_OK;
    while (mr_is_ok(err) && query_row(&query)) {
        *ret_has_signing = query_col_i64(&query, 1) != 0;
        err = read_box(control, &query, 0, number, "private_sealed", ret_private);
    }
    mr_err ended = query_end(&query);
    return mr_is_err(err) ? err : ended;
}

/* The merged document to a draft. */
static mr_err parse_changed(struct control *control, const struct destination_view *view,
                            mr_str document, mr_arena *arena, struct draft *draft,
                            struct refusal *ret_refusal) {
    mr_secret private_form = MR_SECRET_NONE;
    struct settings_context context = {.options = &control->options};
    json_tape tape;
    json_tape stored;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    json_tape_init(&stored, JSON_DEPTH_DEFAULT);
    mr_err err = read_stored(control, view->number, &private_form, &context.has_signing);
    if (mr_is_ok(err) && !mr_secret_is_none(private_form)) {
        err = json_tape_read(&stored, mr_secret_reveal(private_form), NULL);
        context.stored = json_root(&stored);
    }
    if (mr_is_ok(err)) {
        err = json_tape_read(&tape, document, NULL);
    }
    if (mr_is_ok(err)) {
        err = parse_document(&context, json_root(&tape), view->status, arena, draft, ret_refusal);
    }
    json_tape_done(&tape);
    json_tape_done(&stored);
    mr_secret_unref(&private_form);
    return err;
}

static mr_err update_row(struct control *control, const struct destination_view *view,
                         const struct draft *draft, mr_str settings, mr_str box) {
    struct query query = query_begin(
        &control->store,
        "UPDATE destinations SET name = ?1, description = ?2, status = ?3, disabled_by = ?4,"
        " disabled_ms = ?5, settings = ?6, private_sealed = ?7, metadata = ?8,"
        " version = version + 1, updated_ms = ?9 WHERE number = ?10");
    int64_t now_ms = mr_wall_ms(os_wall_now());
    enum model_disabled_by by = MODEL_DISABLED_BY_NOBODY;
    int64_t disabled_ms = 0;
    if (draft->status == MODEL_DISABLED) {
        bool was = view->status == MODEL_DISABLED;
        by = was ? view->disabled_by : MODEL_DISABLED_BY_CALL;
        disabled_ms = was ? view->disabled_ms : now_ms;
    }
    query_text(&query, draft->name);
    query_text(&query, draft->description);
    query_i64(&query, (int64_t)draft->status);
    query_i64(&query, (int64_t)by);
    query_i64(&query, disabled_ms);
    query_text(&query, settings);
    query_blob(&query, box.len == 0 ? MR_STR_NONE : box);
    query_text(&query, draft->metadata);
    query_i64(&query, now_ms);
    query_i64(&query, view->number);
    return query_run(&query);
}

static mr_err store_changed(struct control *control, const struct destination_view *view,
                            const struct draft *draft) {
    mr_buf settings;
    mr_buf box;
    mr_buf_init(&settings, DOCUMENT_MAX);
    mr_buf_init(&box, DOCUMENT_MAX);
    mr_err err = encode_settings(control, view->number, draft, &settings, &box);
    if (mr_is_ok(err)) {
        err = update_row(control, view, draft, mr_buf_view(&settings), mr_buf_view(&box));
    }
    mr_buf_done(&settings);
    mr_buf_done(&box);
    MR_TRY(err);
    return view->status == MODEL_DISABLED && draft->status != MODEL_DISABLED
               ? change_mark_enabling(control, view->number)
               : change_mark(control, MODEL_DESTINATION, view->number);
}

static mr_err check_version(uint32_t if_version, uint32_t version, struct refusal *ret_refusal) {
    return if_version == 0 || if_version == version
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_PRECONDITION,
                        "The destination was changed meanwhile.");
}

static mr_err patch_inner(struct control *control, const struct destination_view *before,
                          mr_str body, mr_arena *arena, struct refusal *ret_refusal) {
    mr_buf document;
    struct draft draft = {0};
    mr_buf_init(&document, DOCUMENT_MAX);
    mr_buf present;
    mr_buf_init(&present, DOCUMENT_MAX);
    mr_err err = write_document(before, &present);
    if (mr_is_ok(err)) {
        err = body_merge(mr_buf_view(&present), body, &place, member_names, MEMBERS, &document,
                         ret_refusal);
    }
    mr_buf_done(&present);
    if (mr_is_ok(err)) {
        err = parse_changed(control, before, mr_buf_view(&document), arena, &draft, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = store_changed(control, before, &draft);
    }
    draft_done(&draft);
    /* A patch may carry header values and keys. */
    if (document.ptr != NULL) {
        crypto_wipe(document.ptr, document.cap);
    }
    mr_buf_done(&document);
    return err;
}

mr_err destinations_patch(struct control *control, uint32_t account, mr_str id, mr_str body,
                          uint32_t if_version, mr_arena *arena, struct destination_view *ret_view,
                          enum model_destination_status *ret_before, int64_t *ret_disabled_ms,
                          struct refusal *ret_refusal) {
    struct destination_view before;
    MR_TRY(change_begin(control, ret_refusal));
    mr_err err = find_view(control, account, id, arena, &before, ret_refusal);
    if (mr_is_ok(err)) {
        err = check_version(if_version, before.version, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = patch_inner(control, &before, body, arena, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = find_view(control, account, id, arena, ret_view, ret_refusal);
    }
    err = change_end(control, err, ret_refusal);
    if (mr_is_ok(err) && ret_before != NULL) {
        *ret_before = before.status;
    }
    if (mr_is_ok(err) && ret_disabled_ms != NULL) {
        *ret_disabled_ms = before.disabled_ms;
    }
    return err;
}

/* ---- delete ---- */

static mr_err refuse_in_use(const struct destination_view *view, struct refusal *ret_refusal) {
    mr_buf list;
    mr_buf_init(&list, REFUSAL_MESSAGE_SIZE - 200);
    for (size_t i = 0; i < view->n_rules; i++) {
        size_t before = list.len;
        if (mr_is_err(
                mr_buf_printf(&list, "%s%.*s", i > 0 ? ", " : "", MR_FMT(view->rule_ids[i])))) {
            mr_buf_truncate(&list, before);
            break;
        }
    }
    mr_err err = refuse(ret_refusal, REFUSAL_DESTINATION_IN_USE,
                        "%zu streaming rule%s to this destination: %.*s.", view->n_rules,
                        view->n_rules == 1 ? " leads" : "s lead", MR_FMT(mr_buf_view(&list)));
    mr_buf_done(&list);
    return err;
}

static mr_err delete_inner(struct control *control, uint32_t account, mr_str id,
                           uint32_t if_version, mr_arena *arena, uint32_t *ret_number,
                           struct refusal *ret_refusal) {
    struct destination_view view;
    MR_TRY(find_view(control, account, id, arena, &view, ret_refusal));
    MR_TRY(check_version(if_version, view.version, ret_refusal));
    if (view.n_rules > 0) {
        return refuse_in_use(&view, ret_refusal);
    }
    struct query query =
        query_begin(&control->store, "UPDATE destinations SET deleted_ms = ?1, settings = '{}',"
                                     " private_sealed = NULL, signing_sealed = NULL,"
                                     " last_test = NULL, metadata = '{}', version = version + 1"
                                     " WHERE number = ?2");
    query_i64(&query, mr_wall_ms(os_wall_now()));
    query_i64(&query, view.number);
    MR_TRY(query_run(&query));
    *ret_number = view.number;
    return change_mark(control, MODEL_DESTINATION, view.number);
}

mr_err destinations_delete(struct control *control, uint32_t account, mr_str id,
                           uint32_t if_version, uint32_t *ret_number, struct refusal *ret_refusal) {
    mr_arena arena;
    mr_arena_init(&arena, DOCUMENT_MAX * 4);
    mr_err err = change_begin(control, ret_refusal);
    if (mr_is_ok(err)) {
        err = change_end(
            control,
            delete_inner(control, account, id, if_version, &arena, ret_number, ret_refusal),
            ret_refusal);
    }
    mr_arena_done(&arena);
    return err;
}

/* ---- signing secret ---- */

/* Moves text into arena and wipes it. */
static mr_err keep_text(mr_err err, mr_buf *text, mr_arena *arena, mr_str *ret_text) {
    if (mr_is_ok(err)) {
        *ret_text = mr_arena_str(arena, mr_buf_view(text));
        err = mr_str_is_absent(*ret_text) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    }
    if (text->ptr != NULL) {
        crypto_wipe(text->ptr, text->cap);
    }
    mr_buf_reset(text);
    return err;
}

/* New keys, with the present ones of the row to sign along. */
static mr_err make_form(struct control *control, uint32_t number, mr_wall now,
                        uint8_t form[static SIGNING_FORM_BYTES]) {
    mr_secret present = MR_SECRET_NONE;
    struct query query =
        query_begin(&control->store, "SELECT signing_sealed FROM destinations WHERE number = ?1");
    query_i64(&query, number);
    mr_err err = MR_OK;
    while (mr_is_ok(err) && query_row(&query)) {
        err = read_box(control, &query, 0, number, "signing_sealed", &present);
    }
    mr_err ended = query_end(&query);
    if (mr_is_ok(err)) {
        err = mr_is_err(ended) ? ended
                               : signing_form_make(mr_secret_reveal(present),
                                                   mr_wall_ms(now) + OVERLAP_MS, form);
    }
    mr_secret_unref(&present);
    return err;
}

static mr_err store_signing(struct control *control, uint32_t number, mr_str form, mr_wall now) {
    mr_buf box;
    mr_buf_init(&box, SIGNING_FORM_BYTES + SEAL_OVERHEAD);
    mr_err err = make_box(control, number, "signing_sealed", form, &box);
    if (mr_is_ok(err)) {
        struct query query =
            query_begin(&control->store, "UPDATE destinations SET signing_sealed = ?1,"
                                         " version = version + 1, updated_ms = ?2"
                                         " WHERE number = ?3");
        query_blob(&query, mr_buf_view(&box));
        query_i64(&query, mr_wall_ms(now));
        query_i64(&query, number);
        err = query_run(&query);
    }
    mr_buf_done(&box);
    MR_TRY(err);
    return change_mark(control, MODEL_DESTINATION, number);
}

static mr_err signing_inner(struct control *control, uint32_t account, mr_str id, mr_wall now,
                            mr_arena *arena, uint8_t form[static SIGNING_FORM_BYTES],
                            mr_str *ret_secret, mr_str *ret_public_key,
                            struct refusal *ret_refusal) {
    struct destination_view view;
    MR_TRY(find_view(control, account, id, arena, &view, ret_refusal));
    MR_TRY(make_form(control, view.number, now, form));
    MR_TRY(store_signing(control, view.number, mr_str_of((const char *)form, SIGNING_FORM_BYTES),
                         now));
    mr_buf text;
    mr_buf_init(&text, 128);
    mr_err err = keep_text(signing_secret_text(form, &text), &text, arena, ret_secret);
    if (mr_is_ok(err)) {
        err = keep_text(signing_public_text(control->options.slab, form, &text), &text, arena,
                        ret_public_key);
    }
    mr_buf_done(&text);
    return err;
}

mr_err destinations_signing_secret(struct control *control, uint32_t account, mr_str id,
                                   mr_wall now, mr_arena *arena, mr_str *ret_secret,
                                   mr_str *ret_public_key, struct refusal *ret_refusal) {
    uint8_t form[SIGNING_FORM_BYTES] = {0};
    mr_err err = change_begin(control, ret_refusal);
    if (mr_is_ok(err)) {
        err = change_end(control,
                         signing_inner(control, account, id, now, arena, form, ret_secret,
                                       ret_public_key, ret_refusal),
                         ret_refusal);
    }
    crypto_wipe(form, sizeof form);
    return err;
}

/* ---- what dispatch tells ---- */

/* sql: ?1 status, ?2 by, ?3 now, ?4 number; returns the number where a row changed. */
static mr_err status_inner(struct control *control, uint32_t number,
                           enum model_destination_status status, enum model_disabled_by by) {
    struct query query =
        query_begin(&control->store,
                    "UPDATE destinations SET status = ?1, disabled_by = ?2,"
                    " disabled_ms = CASE WHEN ?1 = 2 THEN ?3 ELSE 0 END, version = version + 1,"
                    " updated_ms = ?3 WHERE number = ?4 AND deleted_ms IS NULL AND status <> 2"
                    " AND status <> ?1");
    query_i64(&query, (int64_t)status);
    query_i64(&query, (int64_t)(status == MODEL_DISABLED ? by : MODEL_DISABLED_BY_NOBODY));
    query_i64(&query, mr_wall_ms(os_wall_now()));
    query_i64(&query, number);
    MR_TRY(query_run(&query));
    return store_changes(&control->store) == 0 ? MR_OK
                                               : change_mark(control, MODEL_DESTINATION, number);
}

mr_err destinations_set_status(struct control *control, uint32_t number,
                               enum model_destination_status status, enum model_disabled_by by,
                               struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control, status_inner(control, number, status, by), ret_refusal);
}

mr_err destinations_set_last_test(struct control *control, uint32_t number, mr_str json,
                                  struct refusal *ret_refusal) {
    if (json.len > LAST_TEST_MAX) {
        return refuse_error(control, MR_ERR(MR_E_FAILED), ret_refusal);
    }
    /* Workers do not read it: no new object. */
    MR_TRY(change_begin(control, ret_refusal));
    struct query query =
        query_begin(&control->store, "UPDATE destinations SET last_test = ?1 WHERE number = ?2"
                                     " AND deleted_ms IS NULL");
    query_text(&query, json);
    query_i64(&query, number);
    return change_end(control, query_run(&query), ret_refusal);
}

mr_err destinations_tombstones(struct control *control, uint32_t *numbers, size_t numbers_max,
                               size_t *ret_n, struct refusal *ret_refusal) {
    struct query query =
        query_begin(&control->store, "SELECT number FROM destinations WHERE deleted_ms IS NOT NULL"
                                     " ORDER BY number LIMIT ?1");
    query_i64(&query, (int64_t)numbers_max);
    size_t n = 0;
    while (n < numbers_max && query_row(&query)) {
        numbers[n++] = (uint32_t)query_col_i64(&query, 0);
    }
    *ret_n = n;
    return refuse_error(control, query_end(&query), ret_refusal);
}

mr_err destinations_forget(struct control *control, uint32_t number, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    struct query query = query_begin(
        &control->store, "DELETE FROM destinations WHERE number = ?1 AND deleted_ms IS NOT NULL");
    query_i64(&query, number);
    return change_end(control, query_run(&query), ret_refusal);
}

mr_err destinations_id_of(struct control *control, uint32_t number, mr_arena *arena, mr_str *ret_id,
                          struct refusal *ret_refusal) {
    struct query query =
        query_begin(&control->store, "SELECT id FROM destinations WHERE number = ?1");
    query_i64(&query, number);
    *ret_id = MR_STR_NONE;
    while (query_row(&query)) {
        *ret_id = query_col_text(&query, 0, arena);
    }
    return refuse_error(control, query_end(&query), ret_refusal);
}

/* ---- shape ---- */

static void write_counters(const struct destination_counters *counters, json_out *out) {
    if (counters == NULL) {
        json_out_member_null(out, "counters");
        return;
    }
    json_out_member_object(out, "counters");
    json_out_member_u64(out, "pending", counters->pending);
    json_out_member_u64(out, "delivered", counters->delivered);
    json_out_member_u64(out, "dead", counters->dead);
    json_out_member_u64(out, "discarded", counters->discarded);
    json_out_member_u64(out, "skipped", counters->skipped);
    json_out_member_u64(out, "failed_attempts", counters->failed_attempts);
    json_out_end(out);
}

void destination_write_members(const struct destination_view *view,
                               const struct destination_counters *counters, struct json_out *out) {
    char created[MR_TIME_TEXT_SIZE];
    char updated[MR_TIME_TEXT_SIZE];
    mr_time_format_ms(mr_wall_of_ms(view->created_ms), created);
    mr_time_format_ms(mr_wall_of_ms(view->updated_ms), updated);
    json_out_member_str(out, "id", view->id);
    json_out_member_str(out, "account_id", view->account_id);
    json_out_member_str(out, "name", view->name);
    json_out_member_str(out, "description", view->description);
    json_out_member_str(out, "kind", model_kind_name(view->kind));
    json_out_member_raw(out, "settings", view->settings_json);
    json_out_member_str(out, "status", model_status_name(view->status));
    json_out_member_raw(out, "last_test", view->last_test_json);
    write_counters(counters, out);
    json_out_member_array(out, "rules");
    for (size_t i = 0; i < view->n_rules; i++) {
        json_out_str(out, view->rule_ids[i]);
    }
    json_out_end(out);
    json_out_member_raw(out, "metadata", view->metadata_json);
    json_out_member_c(out, "date_created", created);
    json_out_member_c(out, "date_updated", updated);
}

mr_err destination_write_json(const struct destination_view *view,
                              const struct destination_counters *counters, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    destination_write_members(view, counters, &writer);
    json_out_end(&writer);
    return json_out_finish(&writer);
}
