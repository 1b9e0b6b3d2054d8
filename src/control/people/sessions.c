/* Sessions. See sessions.h.
 *
 * The cookie holds 256 random bits and lies nowhere: a session's id is the first 160 bits of its
 * SHA-256, so neither a row, a list of sessions nor a log lets anyone make the cookie. The token
 * against forged requests is an HMAC keyed with the cookie: whoever cannot read the cookie cannot
 * make it, and it needs no state. */
#include "control/people/sessions.h"

#include "base/num.h"
#include "control/audit.h"
#include "control/private.h"
#include "json/write.h"

#define SWEEP_MAX           100 /* at one sign-in */
#define SESSION_ADDRESS_MAX 64
#define DAY_MS              (INT64_C(86400) * 1000)

/* ---- cookies ---- */

mr_err session_id_of(struct crypto_hasher *hasher, mr_str cookie,
                     char ret_id[static SESSION_ID_SIZE]) {
    uint8_t hash[CRYPTO_SHA256_BYTES];
    if (cookie.len != SESSION_COOKIE_CHARS) {
        return MR_ERR(MR_E_INVALID);
    }
    MR_TRY(crypto_sha256(hasher, &cookie, 1, hash));
    mr_hex_encode(hash, (SESSION_ID_SIZE - 1) / 2, ret_id);
    ret_id[SESSION_ID_SIZE - 1] = '\0';
    return MR_OK;
}

/* 32 bytes in base64url with a NUL. */
static mr_err encode_32(const uint8_t bytes[static 32], char out[static SESSION_COOKIE_CHARS + 1]) {
    mr_buf text;
    mr_buf_init_private(&text, 64);
    mr_err err = mr_base64url_encode(mr_str_of((const char *)bytes, 32), &text);
    if (mr_is_ok(err)) {
        bool fits = mr_str_to_c(mr_buf_view(&text), out, SESSION_COOKIE_CHARS + 1);
        MR_ASSERT(fits);
        crypto_wipe(text.ptr, text.len);
    }
    mr_buf_done(&text);
    return err;
}

mr_err session_cookie_make(char ret_cookie[static SESSION_COOKIE_CHARS + 1]) {
    uint8_t random[32];
    crypto_random(random, sizeof random);
    mr_err err = encode_32(random, ret_cookie);
    crypto_wipe(random, sizeof random);
    return err;
}

mr_err session_csrf_of(struct crypto_hasher *hasher, mr_str cookie,
                       char ret_token[static SESSION_CSRF_SIZE]) {
    _Static_assert(SESSION_CSRF_SIZE == SESSION_COOKIE_CHARS + 1, "both are 32 bytes");
    static const mr_str purpose = {"millrace csrf 1", 15};
    uint8_t mac[CRYPTO_SHA256_BYTES];
    MR_TRY(crypto_hmac_sha256(hasher, cookie, &purpose, 1, mac));
    return encode_32(mac, ret_token);
}

/* ---- ending ---- */

/* Deletes the sessions that `query` returns the numbers of, and marks them. */
static mr_err mark_ended(struct control *control, struct query *query) {
    mr_err err = MR_OK;
    while (mr_is_ok(err) && query_row(query)) {
        err = change_mark(control, MODEL_SESSION, (uint32_t)query_col_i64(query, 0));
    }
    mr_err ended = query_end(query);
    return mr_is_err(err) ? err : ended;
}

mr_err sessions_end_all(struct control *control, uint32_t user, mr_str except_id) {
    struct query query = query_begin(&control->store, "DELETE FROM sessions WHERE user = ?1 AND"
                                                      " (?2 IS NULL OR id <> ?2) RETURNING number");
    query_i64(&query, user);
    query_text(&query, except_id);
    return mark_ended(control, &query);
}

/* What is past its limits, oldest first; and of this user all but the newest. */
static mr_err sweep(struct control *control, uint32_t user, int64_t now_ms) {
    struct query query = query_begin(
        &control->store,
        "DELETE FROM sessions WHERE number IN (SELECT number FROM sessions"
        " WHERE expires_ms <= ?1 OR seen_ms < ?2 ORDER BY expires_ms LIMIT ?3) RETURNING number");
    query_i64(&query, now_ms);
    query_i64(&query, now_ms - control->options.session_idle_ms);
    query_i64(&query, SWEEP_MAX);
    MR_TRY(mark_ended(control, &query));
    query = query_begin(&control->store,
                        "DELETE FROM sessions WHERE number IN (SELECT number FROM sessions"
                        " WHERE user = ?1 ORDER BY seen_ms DESC, number DESC LIMIT -1 OFFSET ?2)"
                        " RETURNING number");
    query_i64(&query, user);
    query_i64(&query, SESSIONS_OF_USER_MAX - 1);
    return mark_ended(control, &query);
}

/* The row of a user's session. Who signs in was nobody when the call came: the row names the user,
 * so that the log tells who it was, and finds it by actor. */
static mr_err add_audit(struct control *control, uint32_t user, const char *action, mr_str id) {
    char user_id[CRYPTO_ID_SIZE + 1] = "";
    struct query query =
        query_begin(&control->store, "SELECT account, id FROM users WHERE number = ?1");
    query_i64(&query, user);
    uint32_t account = 0;
    while (query_row(&query)) {
        account = (uint32_t)query_col_i64(&query, 0);
        bool fits = mr_str_to_c(query_col_bytes(&query, 1), user_id, sizeof user_id);
        MR_ASSERT(fits);
    }
    MR_TRY(query_end(&query));
    const struct control_actor caller = control->actor;
    control->actor.kind = CONTROL_ACTOR_USER;
    control->actor.account = account;
    control->actor.id = mr_str_c(user_id);
    mr_err err = audit_add(
        control, &(struct audit_entry){.account = account, .action = action, .object = id});
    control->actor = caller;
    return err;
}

static mr_err end_inner(struct control *control, uint32_t user, mr_str id,
                        struct refusal *ret_refusal) {
    struct query query =
        query_begin(&control->store, "DELETE FROM sessions WHERE user = ?1 AND id = ?2"
                                     " RETURNING number");
    query_i64(&query, user);
    query_text(&query, id);
    uint32_t number = 0;
    while (query_row(&query)) {
        number = (uint32_t)query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    if (number == 0) {
        return refuse(ret_refusal, REFUSAL_NOT_FOUND, "You have no such session.");
    }
    MR_TRY(change_mark(control, MODEL_SESSION, number));
    return add_audit(control, user, "session.delete", id);
}

mr_err sessions_end(struct control *control, uint32_t user, mr_str id,
                    struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control, end_inner(control, user, id, ret_refusal), ret_refusal);
}

/* ---- opening ---- */

/* At most max bytes, not within a character; what is not UTF-8 is left out. */
static mr_str cut(mr_str text, size_t max) {
    if (mr_str_is_absent(text) || !mr_str_is_utf8(text)) {
        return MR_STR("");
    }
    size_t len = text.len < max ? text.len : max;
    while (len > 0 && len < text.len && ((unsigned char)text.ptr[len] & 0xc0) == 0x80) {
        len--;
    }
    return mr_str_slice(text, 0, len);
}

static mr_err insert(struct control *control, uint32_t user, mr_str id, mr_str address,
                     mr_str agent, int64_t now_ms) {
    uint32_t number = 0;
    MR_TRY(number_take(control, "session", &number));
    struct query query = query_begin(
        &control->store, "INSERT INTO sessions(number, id, user, created_ms, seen_ms, expires_ms,"
                         " address, agent) VALUES(?1, ?2, ?3, ?4, ?4, ?5, ?6, ?7)");
    query_i64(&query, number);
    query_text(&query, id);
    query_i64(&query, user);
    query_i64(&query, now_ms);
    query_i64(&query, now_ms + control->options.session_max_days * DAY_MS);
    query_text(&query, cut(address, SESSION_ADDRESS_MAX));
    query_text(&query, cut(agent, SESSION_AGENT_MAX));
    MR_TRY(query_run(&query));
    query = query_begin(&control->store, "UPDATE users SET signed_in_ms = ?1 WHERE number = ?2");
    query_i64(&query, now_ms);
    query_i64(&query, user);
    MR_TRY(query_run(&query));
    return change_mark(control, MODEL_SESSION, number);
}

mr_err sessions_open(struct control *control, uint32_t user, mr_str address, mr_str agent,
                     mr_wall now, char ret_cookie[static SESSION_COOKIE_CHARS + 1],
                     char ret_id[static SESSION_ID_SIZE]) {
    MR_TRY(session_cookie_make(ret_cookie));
    MR_TRY(session_id_of(control->hasher, mr_str_c(ret_cookie), ret_id));
    MR_TRY(sweep(control, user, mr_wall_ms(now)));
    MR_TRY(insert(control, user, mr_str_c(ret_id), address, agent, mr_wall_ms(now)));
    return add_audit(control, user, "session.create", mr_str_c(ret_id));
}

/* ---- use ---- */

mr_err sessions_seen(struct control *control, uint32_t number, int64_t seen_ms,
                     struct refusal *ret_refusal) {
    struct query query = query_begin(
        &control->store, "UPDATE sessions SET seen_ms = max(seen_ms, ?1) WHERE number = ?2");
    query_i64(&query, seen_ms);
    query_i64(&query, number);
    return refuse_error(control, query_run(&query), ret_refusal);
}

mr_err session_load(struct control *control, uint32_t number, struct model_object **ret_object) {
    struct query query = query_begin(
        &control->store, "SELECT id, user, expires_ms, seen_ms FROM sessions WHERE number = ?1");
    query_i64(&query, number);
    struct model_session *session = NULL;
    bool is_found = query_row(&query);
    if (is_found) {
        session = model_session_new(number, query_col_bytes(&query, 0),
                                    (uint32_t)query_col_i64(&query, 1));
    }
    if (session != NULL) {
        session->expires_ms = query_col_i64(&query, 2);
        atomic_init(&session->seen_ms, query_col_i64(&query, 3));
        atomic_init(&session->stored_ms, query_col_i64(&query, 3));
    }
    mr_err err = query_end(&query);
    if (mr_is_ok(err) && is_found && session == NULL) {
        err = MR_ERR(MR_E_NOMEM);
    }
    if (mr_is_err(err)) {
        model_object_unref(session == NULL ? NULL : &session->object);
        return err;
    }
    *ret_object = session == NULL ? NULL : &session->object;
    return MR_OK;
}

/* ---- listing ---- */

static mr_err list_inner(struct control *control, uint32_t user, mr_wall now,
                         struct control_page page, mr_arena *arena, struct session_view **ret_rows,
                         size_t *ret_n, uint64_t *ret_count) {
    int64_t now_ms = mr_wall_ms(now);
    struct query query =
        query_begin(&control->store, "SELECT count(*) FROM sessions WHERE user = ?1 AND"
                                     " expires_ms > ?2 AND seen_ms >= ?3");
    query_i64(&query, user);
    query_i64(&query, now_ms);
    query_i64(&query, now_ms - control->options.session_idle_ms);
    while (query_row(&query)) {
        *ret_count = (uint64_t)query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    struct session_view *rows = mr_arena_calloc(arena, page.size, sizeof *rows);
    if (rows == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    query = query_begin(&control->store,
                        "SELECT id, created_ms, seen_ms, expires_ms, address, agent FROM sessions"
                        " WHERE user = ?1 AND expires_ms > ?2 AND seen_ms >= ?3"
                        " ORDER BY number DESC LIMIT ?4 OFFSET ?5");
    query_i64(&query, user);
    query_i64(&query, now_ms);
    query_i64(&query, now_ms - control->options.session_idle_ms);
    query_i64(&query, page.size);
    query_i64(&query, (int64_t)(page.number - 1) * page.size);
    size_t n = 0;
    while (n < page.size && query_row(&query)) {
        rows[n++] = (struct session_view){
            .id = query_col_text(&query, 0, arena),
            .created_ms = query_col_i64(&query, 1),
            .seen_ms = query_col_i64(&query, 2),
            .expires_ms = query_col_i64(&query, 3),
            .address = query_col_text(&query, 4, arena),
            .agent = query_col_text(&query, 5, arena),
        };
    }
    *ret_rows = rows;
    *ret_n = n;
    return query_end(&query);
}

mr_err sessions_list(struct control *control, uint32_t user, mr_wall now, struct control_page page,
                     mr_arena *arena, struct session_view **ret_rows, size_t *ret_n,
                     uint64_t *ret_count, struct refusal *ret_refusal) {
    return refuse_error(control,
                        list_inner(control, user, now, page, arena, ret_rows, ret_n, ret_count),
                        ret_refusal);
}

static void write_date(json_out *out, const char *name, int64_t ms) {
    char date[MR_TIME_TEXT_SIZE];
    mr_time_format_ms(mr_wall_of_ms(ms), date);
    json_out_member_c(out, name, date);
}

static const struct shape_member own_session_answer_members[] = {
    {"id", .kind = SHAPE_TEXT},
    {"current", SHAPE_BOOL, 0, .what = "The one that this call came with"},
    {"date_created", .kind = SHAPE_TIME},
    {"date_seen", .kind = SHAPE_TIME},
    {"date_expires", .kind = SHAPE_TIME},
    {"address", .kind = SHAPE_TEXT},
    {"agent", .kind = SHAPE_TEXT},
};
const struct shape own_session_answer = {"OwnSession", own_session_answer_members,
                                         sizeof own_session_answer_members /
                                             sizeof own_session_answer_members[0]};

mr_err session_list_write_json(const struct session_view *rows, size_t n, mr_str current_id,
                               const struct control_page *page, uint64_t count, mr_str url,
                               mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_array(&writer, "data");
    for (size_t i = 0; i < n; i++) {
        json_out_object(&writer);
        json_out_member_str(&writer, "id", rows[i].id);
        json_out_member_bool(&writer, "current", mr_str_eq(rows[i].id, current_id));
        write_date(&writer, "date_created", rows[i].created_ms);
        write_date(&writer, "date_seen", rows[i].seen_ms);
        write_date(&writer, "date_expires", rows[i].expires_ms);
        json_out_member_str(&writer, "address", rows[i].address);
        json_out_member_str(&writer, "agent", rows[i].agent);
        json_out_end(&writer);
    }
    json_out_end(&writer);
    json_out_member_object(&writer, "meta_data");
    control_page_write(page, count, url, &writer);
    json_out_end(&writer);
    json_out_end(&writer);
    return json_out_finish(&writer);
}
