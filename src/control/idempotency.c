/* Answers kept under Idempotency-Key.
 *
 * The row is written in the transaction of the change whose answer it is, so either both are there
 * after a crash or neither. A key belongs to one client and one route; the body that came with it
 * is known by its SHA-256, and the same key with another body is refused rather than answered with
 * something the caller did not ask for. A row without an answer (status 0) is a claim: its call is
 * running, or broke off where nobody knows how far it came. Expired rows go a few at a time with
 * each new one, by the index on their time. */
#include "control/idempotency.h"

#include "control/private.h"

#define EXPIRED_PER_CALL 32
#define STATUS_CLAIMED   0

static mr_err check_key(mr_str key, struct refusal *ret_refusal) {
    bool is_fine = key.len >= 1 && key.len <= IDEMPOTENCY_KEY_MAX;
    for (size_t i = 0; is_fine && i < key.len; i++) {
        is_fine = key.ptr[i] >= ' ' && key.ptr[i] < 0x7f;
    }
    return is_fine ? MR_OK
                   : refuse(ret_refusal, REFUSAL_MALFORMED,
                            "Idempotency-Key must have 1 to %d printable ASCII characters.",
                            IDEMPOTENCY_KEY_MAX);
}

static void bind_call(struct query *query, const struct idempotency_call *call) {
    query_i64(query, call->account);
    query_i64(query, call->client);
    query_text(query, call->route);
    query_text(query, call->key);
}

/* Keyed, because a body may hold a secret that somebody chose: it shall not be guessed from a copy
 * of the database. */
static mr_err hash_body(struct control *control, const struct idempotency_call *call,
                        uint8_t hash[static CRYPTO_SHA256_BYTES]) {
    const mr_str parts[] = {MR_STR("millrace idempotency 1\n"), call->request_body};
    return crypto_hmac_sha256(control->hasher, mr_secret_reveal(control->pepper), parts, 2, hash);
}

static mr_err find_inner(struct control *control, const struct idempotency_call *call, mr_wall now,
                         mr_arena *arena, bool *ret_found, struct idempotency_answer *answer,
                         struct refusal *ret_refusal) {
    uint8_t hash[CRYPTO_SHA256_BYTES];
    bool is_same = false;
    *ret_found = false;
    MR_TRY(check_key(call->key, ret_refusal));
    MR_TRY(hash_body(control, call, hash));
    struct query query = query_begin(
        &control->store, "SELECT request_hash, status, body, location FROM idempotency"
                         " WHERE account = ?1 AND client = ?2 AND route = ?3 AND key = ?4"
                         " AND expires_ms > ?5");
    bind_call(&query, call);
    query_i64(&query, mr_wall_ms(now));
    while (query_row(&query)) {
        *ret_found = true;
        is_same = mr_str_eq(query_col_bytes(&query, 0), mr_str_of((const char *)hash, sizeof hash));
        *answer = (struct idempotency_answer){
            .status = (int)query_col_i64(&query, 1),
            .body = query_col_text(&query, 2, arena),
            .location = query_col_text(&query, 3, arena),
        };
    }
    MR_TRY(query_end(&query));
    if (*ret_found && !is_same) {
        *ret_found = false;
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "This Idempotency-Key was used with another request body.");
    }
    if (*ret_found && answer->status == STATUS_CLAIMED) {
        *ret_found = false;
        mr_err err = refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                            "The first call with this Idempotency-Key has begun and not ended. Ask "
                            "again in a moment; if this stays, the server stopped meanwhile: look "
                            "what became of it, and use another key.");
        ret_refusal->retry_after_s = 1;
        return err;
    }
    return MR_OK;
}

mr_err idempotency_find(struct control *control, const struct idempotency_call *call, mr_wall now,
                        mr_arena *arena, bool *ret_found, struct idempotency_answer *ret_answer,
                        struct refusal *ret_refusal) {
    return refuse_error(control,
                        find_inner(control, call, now, arena, ret_found, ret_answer, ret_refusal),
                        ret_refusal);
}

static mr_err store_inner(struct control *control, const struct idempotency_call *call, mr_wall now,
                          const struct idempotency_answer *answer, struct refusal *ret_refusal) {
    uint8_t hash[CRYPTO_SHA256_BYTES];
    MR_TRY(check_key(call->key, ret_refusal));
    if (answer->body.len > IDEMPOTENCY_BODY_MAX) {
        return MR_ERR(MR_E_FAILED);
    }
    MR_TRY(hash_body(control, call, hash));
    struct query query = query_begin(
        &control->store, "DELETE FROM idempotency WHERE (account, client, route, key) IN"
                         " (SELECT account, client, route, key FROM idempotency"
                         " WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)");
    query_i64(&query, mr_wall_ms(now));
    query_i64(&query, EXPIRED_PER_CALL);
    MR_TRY(query_run(&query));
    query = query_begin(&control->store,
                        "INSERT OR REPLACE INTO idempotency(account, client, route, key,"
                        " request_hash, status, body, location, expires_ms)"
                        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
    bind_call(&query, call);
    query_blob(&query, mr_str_of((const char *)hash, sizeof hash));
    query_i64(&query, answer->status);
    query_text(&query, answer->body);
    query_text(&query, answer->location);
    query_i64(&query, mr_wall_ms(now) + IDEMPOTENCY_TTL_MS);
    return query_run(&query);
}

static mr_err claim_inner(struct control *control, const struct idempotency_call *call, mr_wall now,
                          mr_arena *arena, bool *ret_found, struct idempotency_answer *answer,
                          struct refusal *ret_refusal) {
    static const struct idempotency_answer none = {.status = STATUS_CLAIMED, .body = {"", 0}};
    MR_TRY(find_inner(control, call, now, arena, ret_found, answer, ret_refusal));
    return *ret_found ? MR_OK : store_inner(control, call, now, &none, ret_refusal);
}

mr_err idempotency_claim(struct control *control, const struct idempotency_call *call, mr_wall now,
                         mr_arena *arena, bool *ret_found, struct idempotency_answer *ret_answer,
                         struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control,
                      claim_inner(control, call, now, arena, ret_found, ret_answer, ret_refusal),
                      ret_refusal);
}

static mr_err release_inner(struct control *control, const struct idempotency_call *call) {
    struct query query =
        query_begin(&control->store, "DELETE FROM idempotency WHERE account = ?1 AND client = ?2"
                                     " AND route = ?3 AND key = ?4 AND status = ?5");
    bind_call(&query, call);
    query_i64(&query, STATUS_CLAIMED);
    return query_run(&query);
}

mr_err idempotency_release(struct control *control, const struct idempotency_call *call,
                           struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control, release_inner(control, call), ret_refusal);
}

mr_err idempotency_store(struct control *control, const struct idempotency_call *call, mr_wall now,
                         const struct idempotency_answer *answer, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control, store_inner(control, call, now, answer, ret_refusal), ret_refusal);
}
