/* Signing keys: rotated, listed, shown. See keys.h. */
#include "control/access/key_rows.h"

#include "json/write.h"

static const struct shape_member rotation_members[] = {
    {.name = "now",
     .kind = SHAPE_BOOL,
     .what = "true: the new key signs at once, though others may not have read it yet"},
    {.name = "revoke",
     .kind = SHAPE_BOOL,
     .what = "true: every other key ends at once, and with them all tokens"},
};
const struct shape signing_key_rotation_shape = {
    .name = "SigningKeyRotation", .members = rotation_members, .n = 2};

/* Takes away what is over: keys whose tokens have all expired, pending ones that never signed, and
 * with `all` the rest. *ret_left: keys that stay. */
static mr_err sweep(struct control *control, mr_wall now, bool all, mr_arena *arena,
                    size_t *ret_left) {
    struct key_rows *keys;
    int64_t now_s = now.ns / MR_NS_PER_S;
    MR_TRY(key_rows_read(control, now, arena, &keys));
    *ret_left = 0;
    for (size_t i = 0; i < keys->n; i++) {
        const struct key_row *row = &keys->rows[i];
        bool is_pending = i > keys->signing && row->longest_s == 0;
        if (all || is_pending || row->verify_until_s < now_s) {
            MR_TRY(key_run(control, "DELETE FROM signing_keys WHERE kid = ?1", mr_str_c(row->kid)));
        } else {
            (*ret_left)++;
        }
    }
    return MR_OK;
}

static mr_err check_actor(struct control *control, struct refusal *ret_refusal) {
    if (control->actor.kind != CONTROL_ACTOR_USER) {
        return MR_OK;
    }
    struct query query = query_begin(
        &control->store, "SELECT 1 FROM users WHERE id = ?1 AND role IN ('owner', 'admin')");
    query_text(&query, control->actor.id);
    bool is_admin = query_row(&query);
    MR_TRY(query_end(&query));
    return is_admin ? MR_OK
                    : refuse(ret_refusal, REFUSAL_CLIENT_DENIED,
                             "Only the Owner, Admins and admin clients rotate signing keys.");
}

static mr_err find_row(struct control *control, mr_str kid, mr_wall now, mr_arena *arena,
                       struct signing_key_view *ret_view) {
    struct signing_key_view *rows = NULL;
    size_t n = 0;
    struct refusal unused;
    MR_TRY(signing_keys_list(control, now, arena, &rows, &n, &unused));
    for (size_t i = 0; i < n; i++) {
        if (mr_str_eq(rows[i].kid, kid)) {
            *ret_view = rows[i];
            return MR_OK;
        }
    }
    return MR_ERR(MR_E_FAILED);
}

static mr_err rotate_inner(struct control *control, bool at_once, bool revoke, mr_wall now,
                           mr_arena *arena, struct signing_key_view *view,
                           struct refusal *ret_refusal) {
    char kid[CRYPTO_ID_SIZE];
    size_t left = 0;
    int64_t lead_s = at_once || revoke ? 0 : SIGNING_KEY_LEAD_S;
    MR_TRY(check_actor(control, ret_refusal));
    MR_TRY(sweep(control, now, revoke, arena, &left));
    if (left >= SIGNING_KEYS_MAX) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "%d keys verify tokens that have not expired, which is the most. Wait, or "
                      "end all tokens with {\"revoke\":true}.",
                      SIGNING_KEYS_MAX);
    }
    MR_TRY(key_make(control, now.ns / MR_NS_PER_S + lead_s, now, kid));
    control->keys_are_stale = true;
    MR_TRY(change_mark(control, MODEL_KEYS, 0));
    MR_TRY(audit_add(control, &(struct audit_entry){.account = control->root_account,
                                                    .action = "signing-key.rotate",
                                                    .object = mr_str_c(kid),
                                                    .detail = revoke ? MR_STR("{\"revoke\":true}")
                                                              : at_once ? MR_STR("{\"now\":true}")
                                                                        : MR_STR_NONE}));
    return find_row(control, mr_str_c(kid), now, arena, view);
}

mr_err signing_keys_rotate(struct control *control, mr_str body, mr_wall now, mr_arena *arena,
                           struct signing_key_view *ret_view, struct refusal *ret_refusal) {
    static const struct body_place place = {.path = "", .wrong = REFUSAL_CLIENT_MALFORMED};
    json_tape tape;
    MR_TRY(change_begin(control, ret_refusal));
    mr_err err = body_read(&tape, body, ret_refusal);
    if (mr_is_ok(err)) {
        err = shape_check(json_root(&tape), &signing_key_rotation_shape, SHAPE_CREATE, &place,
                          ret_refusal);
    }
    if (mr_is_ok(err)) {
        bool at_once = false;
        bool revoke = false;
        shape_bool(json_root(&tape), "now", &at_once);
        shape_bool(json_root(&tape), "revoke", &revoke);
        err = rotate_inner(control, at_once, revoke, now, arena, ret_view, ret_refusal);
    }
    json_tape_done(&tape);
    return change_end(control, err, ret_refusal);
}

/* ---- showing ---- */

static mr_err list_inner(struct control *control, mr_wall now, mr_arena *arena,
                         struct signing_key_view **ret_rows, size_t *ret_n) {
    struct key_rows *keys;
    int64_t now_s = now.ns / MR_NS_PER_S;
    MR_TRY(key_rows_read(control, now, arena, &keys));
    struct signing_key_view *rows = mr_arena_calloc(arena, KEY_ROWS_MAX, sizeof *rows);
    if (rows == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    size_t n = 0;
    for (size_t i = 0; i < keys->n; i++) {
        const struct key_row *row = &keys->rows[i];
        if (row->verify_until_s >= now_s) {
            rows[n++] = (struct signing_key_view){
                .kid = mr_str_c(row->kid),
                .status = i < keys->signing    ? SIGNING_KEY_RETIRED
                          : i == keys->signing ? SIGNING_KEY_SIGNING
                                               : SIGNING_KEY_PENDING,
                .sign_from_s = row->sign_from_s,
                .verify_until_s = row->verify_until_s,
                .created_ms = row->created_ms,
            };
        }
    }
    *ret_rows = rows;
    *ret_n = n;
    return MR_OK;
}

mr_err signing_keys_list(struct control *control, mr_wall now, mr_arena *arena,
                         struct signing_key_view **ret_rows, size_t *ret_n,
                         struct refusal *ret_refusal) {
    return refuse_error(control, list_inner(control, now, arena, ret_rows, ret_n), ret_refusal);
}

static const char *const status_names[] = {"pending", "signing", "retired"};
static const struct shape_member signing_key_answer_members[] = {
    {"kid", .kind = SHAPE_TEXT},
    {"status", SHAPE_ENUM, 0, .names = status_names, .n_names = 3},
    {"algorithm", .kind = SHAPE_TEXT},
    {"sign_from", .kind = SHAPE_TIME},
    {"verify_until", SHAPE_TIME, .flags = SHAPE_NULLABLE},
    {"date_created", .kind = SHAPE_TIME},
};
const struct shape signing_key_answer = {"SigningKey", signing_key_answer_members,
                                         sizeof signing_key_answer_members /
                                             sizeof signing_key_answer_members[0]};

static void write_key(const struct signing_key_view *view, json_out *out) {
    char date[MR_TIME_TEXT_SIZE];
    json_out_object(out);
    json_out_member_str(out, "kid", view->kid);
    json_out_member_c(out, "status", status_names[view->status]);
    json_out_member_c(out, "algorithm", "RS256");
    mr_time_format_ms((mr_wall){view->sign_from_s * MR_NS_PER_S}, date);
    json_out_member_c(out, "sign_from", date);
    if (view->verify_until_s == INT64_MAX) {
        json_out_member_null(out, "verify_until");
    } else {
        mr_time_format_ms((mr_wall){view->verify_until_s * MR_NS_PER_S}, date);
        json_out_member_c(out, "verify_until", date);
    }
    mr_time_format_ms(mr_wall_of_ms(view->created_ms), date);
    json_out_member_c(out, "date_created", date);
    json_out_end(out);
}

mr_err signing_key_write_json(const struct signing_key_view *view, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    write_key(view, &writer);
    return json_out_finish(&writer);
}

mr_err signing_key_list_write_json(const struct signing_key_view *rows, size_t n,
                                   const struct control_page *page, mr_str url, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_object(&writer, "meta_data");
    control_page_write(page, n, url, &writer);
    json_out_end(&writer);
    json_out_member_array(&writer, "data");
    uint64_t from = (uint64_t)(page->number - 1) * page->size;
    for (uint64_t i = from; i < n && i < from + page->size; i++) {
        write_key(&rows[i], &writer);
    }
    json_out_end(&writer);
    json_out_end(&writer);
    return json_out_finish(&writer);
}
