/* Webhook secrets.
 *
 *            create (first)                     create (later)
 *   none ───────────────────▶ active            active ────────▶ active + pending
 *                                ▲                                  │      │ create: overwrites
 *                                └── activate: the old one goes ◀───┘      └─▶ active + pending
 *
 * The UNIQUE (account, status) of the table holds the invariant: one active, at most one pending.
 * Activating deletes the old row before it moves the new one up, in one transaction; the old value
 * is gone then, sealed box and all (secure_delete). Every change gives the account a new object in
 * the snapshot, and the answer waits until all workers sign with it. */
#include "control/secrets.h"

#include "base/num.h"
#include "control/private.h"
#include "json/write.h"
#include "os/clock.h"

const char *const secret_status_names[2] = {"active", "pending"};

static const struct shape_member members[] = {
    {"Name", SHAPE_TEXT, SHAPE_NEEDED, 1, SECRET_NAME_MAX, .what = "For people"},
    {"Status", SHAPE_ENUM, SHAPE_CHANGE_ONLY, .names = secret_status_names, .n_names = 2,
     .what = "active puts the pending secret in the place of the active one, at once"},
    {"Secret", SHAPE_TEXT, SHAPE_CREATE_ONLY | SHAPE_SECRET, SECRET_IMPORT_MIN, SECRET_IMPORT_MAX,
     .what = "A value to be taken over, for an Owner's session alone; else one is made"},
};
const struct shape secret_shape = {"Secret", members, sizeof members / sizeof members[0]};

static const struct shape_member answer_members[] = {
    {"id", .kind = SHAPE_TEXT},
    {"name", .kind = SHAPE_TEXT},
    {"secret", SHAPE_TEXT, SHAPE_OPTIONAL | SHAPE_SECRET,
     .what = "Shown once, in the answer that created it"},
    {"status", SHAPE_ENUM, 0, .names = secret_status_names, .n_names = 2},
    {"last_modified", .kind = SHAPE_TIME},
};
const struct shape secret_answer = {"Secret", answer_members,
                                    sizeof answer_members / sizeof answer_members[0]};

#define VIEW_COLUMNS "id, name, status, modified_ms, version"

static void read_view(struct query *query, mr_arena *arena, struct secret_view *view) {
    *view = (struct secret_view){
        .id = query_col_text(query, 0, arena),
        .name = query_col_text(query, 1, arena),
        .status = (enum secret_status)query_col_i64(query, 2),
        .modified_ms = query_col_i64(query, 3),
        .version = (uint32_t)query_col_i64(query, 4),
        .value = MR_STR_NONE,
    };
}

static mr_err find_view(struct control *control, uint32_t account, mr_str id, mr_arena *arena,
                        struct secret_view *view, struct refusal *ret_refusal) {
    struct query query = query_begin(&control->store, "SELECT " VIEW_COLUMNS " FROM secrets"
                                                      " WHERE id = ?1 AND account = ?2");
    query_text(&query, id);
    query_i64(&query, account);
    bool found = query_row(&query);
    if (found) {
        read_view(&query, arena, view);
    }
    MR_TRY(query_end(&query));
    return found ? MR_OK
                 : refuse(ret_refusal, REFUSAL_NOT_FOUND, "There is no such webhook secret.");
}

static mr_err check_name(mr_str name, struct refusal *ret_refusal) {
    if (mr_str_is_absent(name)) {
        return refuse(ret_refusal, REFUSAL_MISSING_PARAMETER, "Missing member: Name.");
    }
    bool is_fine = name.len >= 1 && name.len <= SECRET_NAME_MAX && mr_str_is_utf8(name);
    for (size_t i = 0; i < name.len; i++) {
        is_fine = is_fine && (unsigned char)name.ptr[i] >= 0x20 && name.ptr[i] != 0x7f;
    }
    return is_fine ? MR_OK
                   : refuse(ret_refusal, REFUSAL_MALFORMED,
                            "Name must have 1 to %d bytes without control characters.",
                            SECRET_NAME_MAX);
}

/* ---- creation ---- */

static mr_err has_active(struct control *control, uint32_t account, bool *ret_has) {
    struct query query =
        query_begin(&control->store, "SELECT 1 FROM secrets WHERE account = ?1 AND status = 0");
    query_i64(&query, account);
    *ret_has = query_row(&query);
    return query_end(&query);
}

static mr_err insert_secret(struct control *control, uint32_t account, mr_str id, mr_str name,
                            enum secret_status status, mr_str value) {
    struct query query = query_begin(
        &control->store, "DELETE FROM secrets WHERE account = ?1 AND status = 1 AND ?2 = 1");
    query_i64(&query, account);
    query_i64(&query, (int64_t)status);
    MR_TRY(query_run(&query));
    mr_buf box;
    mr_buf_init(&box, SECRET_IMPORT_MAX + SEAL_OVERHEAD);
    mr_err err = control_seal(control, "secrets", id, "value_sealed", value, &box);
    if (mr_is_ok(err)) {
        query = query_begin(&control->store,
                            "INSERT INTO secrets(id, account, name, status, value_sealed, version,"
                            " modified_ms) VALUES(?1, ?2, ?3, ?4, ?5, 1, ?6)");
        query_text(&query, id);
        query_i64(&query, account);
        query_text(&query, name);
        query_i64(&query, (int64_t)status);
        query_blob(&query, mr_buf_view(&box));
        query_i64(&query, mr_wall_ms(os_wall_now()));
        err = query_run(&query);
    }
    mr_buf_done(&box);
    return err;
}

/* A row of the audit log; before NULL for a new secret. */
static mr_err tell(struct control *control, uint32_t account, const char *action,
                   const struct secret_view *before, const struct secret_view *after,
                   const char *note) {
    struct audit_change change;
    audit_change_begin(&change);
    change.note = note;
    mr_err err = before == NULL ? MR_OK : secret_write_json(before, &change.before);
    if (mr_is_ok(err)) {
        err = secret_write_json(after, &change.after);
    }
    return audit_change_end(control, &change, err, account, action, after->id);
}

/* note: of the audit log's row. */
static mr_err put_secret(struct control *control, uint32_t account, mr_str name, mr_str value,
                         const char *note, mr_arena *arena, struct secret_view *view,
                         struct refusal *ret_refusal) {
    bool is_later = false;
    char id[CRYPTO_ID_SIZE];
    MR_TRY(check_name(name, ret_refusal));
    MR_TRY(has_active(control, account, &is_later));
    crypto_id_make(MR_STR("whs_"), os_wall_now(), id);
    MR_TRY(insert_secret(control, account, mr_str_c(id), name,
                         is_later ? SECRET_PENDING : SECRET_ACTIVE, value));
    MR_TRY(change_mark(control, MODEL_ACCOUNT, account));
    MR_TRY(find_view(control, account, mr_str_c(id), arena, view, ret_refusal));
    return tell(control, account, "secret.create", NULL, view, note);
}

mr_err secrets_create(struct control *control, uint32_t account, mr_str name, mr_arena *arena,
                      struct secret_view *ret_view, struct refusal *ret_refusal) {
    uint8_t random[SECRET_VALUE_BYTES];
    char *hex = mr_arena_alloc(arena, sizeof random * 2);
    if (hex == NULL) {
        return refuse_error(control, MR_ERR(MR_E_NOMEM), ret_refusal);
    }
    crypto_random(random, sizeof random);
    mr_hex_encode(random, sizeof random, hex);
    crypto_wipe(random, sizeof random);
    mr_str value = mr_str_of(hex, sizeof random * 2);
    mr_err err = change_begin(control, ret_refusal);
    if (mr_is_ok(err)) {
        err = change_end(control,
                         put_secret(control, account, name, value, "\"secret_shown\":true", arena,
                                    ret_view, ret_refusal),
                         ret_refusal);
    }
    if (mr_is_ok(err)) {
        ret_view->value = value;
    } else {
        crypto_wipe(hex, value.len);
    }
    return err;
}

mr_err secrets_import(struct control *control, uint32_t account, mr_str name, mr_str value,
                      mr_arena *arena, struct secret_view *ret_view, struct refusal *ret_refusal) {
    bool is_fine = value.len >= SECRET_IMPORT_MIN && value.len <= SECRET_IMPORT_MAX;
    for (size_t i = 0; i < value.len; i++) {
        is_fine = is_fine && value.ptr[i] > ' ' && value.ptr[i] < 0x7f;
    }
    if (!is_fine) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "The secret must have %d to %d printable ASCII characters without spaces.",
                      SECRET_IMPORT_MIN, SECRET_IMPORT_MAX);
    }
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control,
                      put_secret(control, account, name, value, NULL, arena, ret_view, ret_refusal),
                      ret_refusal);
}

/* ---- lists ---- */

static mr_err status_of(mr_str text, uint32_t *ret_status, struct refusal *ret_refusal) {
    for (uint32_t i = 0; i < 2; i++) {
        if (mr_str_eq(text, mr_str_c(secret_status_names[i]))) {
            *ret_status = i;
            return MR_OK;
        }
    }
    return refuse(ret_refusal, REFUSAL_MALFORMED, "Status must be active or pending.");
}

static mr_err list_inner(struct control *control, uint32_t account, mr_str status,
                         struct control_page page, mr_arena *arena, struct secret_view **ret_rows,
                         size_t *ret_n, uint64_t *ret_count, struct refusal *ret_refusal) {
    uint32_t only = UINT32_MAX;
    if (!mr_str_is_absent(status)) {
        MR_TRY(status_of(status, &only, ret_refusal));
    }
    /* Two rows at most: one query, the page taken from it. */
    struct secret_view all[2];
    size_t n = 0;
    struct query query = query_begin(
        &control->store, "SELECT " VIEW_COLUMNS " FROM secrets WHERE account = ?1 ORDER BY status");
    query_i64(&query, account);
    while (n < 2 && query_row(&query)) {
        read_view(&query, arena, &all[n]);
        if (only == UINT32_MAX || (uint32_t)all[n].status == only) {
            n++;
        }
    }
    MR_TRY(query_end(&query));
    size_t from = (size_t)(page.number - 1) * page.size;
    size_t left = from < n ? n - from : 0;
    size_t take = left < page.size ? left : page.size;
    struct secret_view *rows = mr_arena_calloc(arena, take + 1, sizeof *rows);
    if (rows == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    for (size_t i = 0; i < take; i++) {
        rows[i] = all[from + i];
    }
    *ret_rows = rows;
    *ret_n = take;
    *ret_count = n;
    return MR_OK;
}

mr_err secrets_list(struct control *control, uint32_t account, mr_str status,
                    struct control_page page, mr_arena *arena, struct secret_view **ret_rows,
                    size_t *ret_n, uint64_t *ret_count, struct refusal *ret_refusal) {
    return refuse_error(
        control,
        list_inner(control, account, status, page, arena, ret_rows, ret_n, ret_count, ret_refusal),
        ret_refusal);
}

/* ---- changes ---- */

static mr_err activate(struct control *control, uint32_t account, mr_str id) {
    struct query query =
        query_begin(&control->store, "DELETE FROM secrets WHERE account = ?1 AND status = 0");
    query_i64(&query, account);
    MR_TRY(query_run(&query));
    query = query_begin(&control->store,
                        "UPDATE secrets SET status = 0, version = version + 1, modified_ms = ?1"
                        " WHERE id = ?2");
    query_i64(&query, mr_wall_ms(os_wall_now()));
    query_text(&query, id);
    MR_TRY(query_run(&query));
    return change_mark(control, MODEL_ACCOUNT, account);
}

static mr_err rename_secret(struct control *control, mr_str id, mr_str name) {
    struct query query = query_begin(
        &control->store,
        "UPDATE secrets SET name = ?1, version = version + 1, modified_ms = ?2 WHERE id = ?3");
    query_text(&query, name);
    query_i64(&query, mr_wall_ms(os_wall_now()));
    query_text(&query, id);
    return query_run(&query);
}

static mr_err patch_inner(struct control *control, uint32_t account, mr_str id, mr_str name,
                          mr_str status, uint32_t if_version, mr_arena *arena,
                          struct secret_view *view, struct refusal *ret_refusal) {
    MR_TRY(find_view(control, account, id, arena, view, ret_refusal));
    if (if_version != 0 && if_version != view->version) {
        return refuse(ret_refusal, REFUSAL_PRECONDITION, "The secret was changed meanwhile.");
    }
    uint32_t wanted = (uint32_t)view->status;
    if (!mr_str_is_absent(status)) {
        MR_TRY(status_of(status, &wanted, ret_refusal));
    }
    if (view->status == SECRET_ACTIVE && wanted == SECRET_PENDING) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "The active secret cannot become pending; create another one and activate "
                      "it.");
    }
    if (!mr_str_is_absent(name)) {
        MR_TRY(check_name(name, ret_refusal));
        if (!mr_str_eq(name, view->name)) {
            MR_TRY(rename_secret(control, id, name));
        }
    }
    bool is_activated = wanted != (uint32_t)view->status;
    if (is_activated) {
        MR_TRY(activate(control, account, id));
    }
    const struct secret_view before = *view;
    MR_TRY(find_view(control, account, id, arena, view, ret_refusal));
    return tell(control, account, is_activated ? "secret.activate" : "secret.change", &before, view,
                NULL);
}

mr_err secrets_patch(struct control *control, uint32_t account, mr_str id, mr_str name,
                     mr_str status, uint32_t if_version, mr_arena *arena,
                     struct secret_view *ret_view, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(
        control,
        patch_inner(control, account, id, name, status, if_version, arena, ret_view, ret_refusal),
        ret_refusal);
}

/* ---- bodies ---- */

mr_err secrets_body_parse(mr_str json, enum shape_use use, mr_arena *arena,
                          struct secret_body *ret_body, struct refusal *ret_refusal) {
    struct secret_body body = {MR_STR_NONE, MR_STR_NONE, MR_STR_NONE};
    json_tape tape;
    mr_err err = shape_read(&tape, json, &secret_shape, use, ret_refusal);
    json_value root = json_root(&tape);
    if (mr_is_ok(err)) {
        err = shape_text(root, "Name", arena, &body.name);
    }
    if (mr_is_ok(err)) {
        err = shape_text(root, "Status", arena, &body.status);
    }
    if (mr_is_ok(err)) {
        err = shape_text(root, "Secret", arena, &body.value);
    }
    json_tape_done(&tape);
    if (mr_is_ok(err)) {
        *ret_body = body;
    } else if (!mr_err_is(err, CONTROL_E_REFUSED)) {
        err = refuse(ret_refusal, REFUSAL_UNAVAILABLE, "The server is out of memory.");
    }
    return err;
}

static void write_members(const struct secret_view *view, json_out *out) {
    char date[MR_TIME_TEXT_SIZE];
    mr_time_format_ms(mr_wall_of_ms(view->modified_ms), date);
    json_out_object(out);
    json_out_member_str(out, "id", view->id);
    json_out_member_str(out, "name", view->name);
    if (!mr_str_is_absent(view->value)) {
        json_out_member_str(out, "secret", view->value);
    }
    json_out_member_c(out, "status", secret_status_names[view->status]);
    json_out_member_c(out, "last_modified", date);
    json_out_end(out);
}

mr_err secret_write_json(const struct secret_view *view, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    write_members(view, &writer);
    return json_out_finish(&writer);
}

mr_err secret_list_write_json(const struct secret_view *rows, size_t n,
                              const struct control_page *page, uint64_t count, mr_str url,
                              mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_array(&writer, "data");
    for (size_t i = 0; i < n; i++) {
        write_members(&rows[i], &writer);
    }
    json_out_end(&writer);
    json_out_member_object(&writer, "meta_data");
    control_page_write(page, count, url, &writer);
    json_out_end(&writer);
    json_out_end(&writer);
    return json_out_finish(&writer);
}
