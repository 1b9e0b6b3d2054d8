/* Credentials to access tokens.
 *
 * A client's secret is 256 random bits, so it needs no slow hash: what is kept is an HMAC under a
 * pepper that lies sealed, which makes a copy of the database alone useless and a check cost a
 * microsecond. An unknown or disabled client costs the same HMAC, look-up and comparison as a wrong
 * secret; only what is right leads further.
 *
 * A token carries the client's generation; disabling and revoking raise it, and workers compare at
 * each request, so both work the moment the new snapshot is adopted. Changed scopes, type or expiry
 * leave issued tokens alone, as KORE's do.
 *
 * Wrong attempts are counted before they are judged (auth/slow.h) and leave no row in the audit
 * log: it is written to disk, which would tell a known client from an unknown one by its time, and
 * strangers could fill it. */
#include "control/access/keys.h"
#include "control/access/parts.h"

#include "base/mem.h"
#include "json/write.h"
#include "os/clock.h"

mr_err client_secret_mac(struct control *control, mr_str secret,
                         uint8_t out[static CRYPTO_SHA256_BYTES]) {
    return crypto_hmac_sha256(control->hasher, mr_secret_reveal(control->pepper), &secret, 1, out);
}

struct credentials {
    bool is_right;
    uint32_t number;
    uint32_t generation;
};

static mr_err check_credentials(struct control *control, mr_str client_id, mr_str secret,
                                struct credentials *ret_found) {
    uint8_t given[CRYPTO_SHA256_BYTES];
    uint8_t kept[CRYPTO_SHA256_BYTES] = {0};
    struct credentials found = {0};
    MR_TRY(client_secret_mac(control, secret, given));
    struct query query =
        query_begin(&control->store, "SELECT number, generation, secret_mac FROM clients"
                                     " WHERE id = ?1 AND enabled = 1");
    query_text(&query, client_id);
    while (query_row(&query)) {
        mr_str mac = query_col_bytes(&query, 2);
        if (mac.len == sizeof kept) {
            memcpy(kept, mac.ptr, sizeof kept);
            found.number = (uint32_t)query_col_i64(&query, 0);
            found.generation = (uint32_t)query_col_i64(&query, 1);
        }
    }
    MR_TRY(query_end(&query));
    bool is_equal = crypto_equal(given, kept, sizeof kept);
    found.is_right = is_equal && found.number != 0;
    *ret_found = found;
    return MR_OK;
}

static mr_err sign_token(struct control *control, const struct client_view *view,
                         uint32_t generation, mr_wall now, mr_arena *arena,
                         struct client_token *token) {
    struct auth_claims claims;
    struct auth_signer *signer = NULL;
    memset(&claims, 0, sizeof claims);
    bool fits = mr_str_to_c(view->account_id, claims.account_id, sizeof claims.account_id) &&
                mr_str_to_c(view->client_id, claims.client_id, sizeof claims.client_id);
    MR_ASSERT(fits);
    _Static_assert(sizeof claims.jti >= CRYPTO_ID_SIZE, "an id fits");
    crypto_id_make(MR_STR("tok_"), now, claims.jti);
    claims.client_type = view->type;
    claims.generation = generation;
    claims.issued_s = now.ns / MR_NS_PER_S;
    claims.expires_s = claims.issued_s + view->token_expiry_s;
    claims.scopes = view->scopes;
    MR_TRY(signing_key_take(control, now, view->token_expiry_s, &signer));
    mr_buf text;
    mr_buf scope;
    mr_buf_init_private(&text, AUTH_TOKEN_BYTES_MAX);
    mr_buf_init(&scope, CLIENT_SCOPES_BYTES_MAX);
    mr_err err = auth_token_sign(signer, mr_str_c(control->issuer), mr_str_c(control->audience),
                                 &claims, &text);
    if (mr_is_ok(err)) {
        err = auth_scopes_format_names(&view->scopes, &scope);
    }
    if (mr_is_ok(err)) {
        token->access_token = mr_arena_str(arena, mr_buf_view(&text));
        token->scope = mr_arena_str(arena, mr_buf_view(&scope));
        token->expires_in_s = view->token_expiry_s;
        bool is_full = mr_str_is_absent(token->access_token) || mr_str_is_absent(token->scope);
        err = is_full ? MR_ERR(MR_E_NOMEM) : MR_OK;
    }
    mr_buf_done(&text);
    mr_buf_done(&scope);
    return err;
}

static mr_err refuse_slowed(struct control *control, int64_t wait_ms, struct refusal *ret_refusal) {
    mr_err err = refuse(ret_refusal, REFUSAL_TOO_MANY,
                        "Too many attempts with wrong credentials. Wait as long as Retry-After "
                        "says.");
    ret_refusal->retry_after_s = (int)((wait_ms + 999) / 1000);
    mr_metric_add(control->options.metrics, MR_METRIC_CREDENTIALS_SLOWED, 1);
    return err;
}

static mr_err issue(struct control *control, mr_str client_id, mr_str client_secret, mr_wall now,
                    mr_arena *arena, struct client_token *token, struct refusal *ret_refusal) {
    struct credentials found;
    struct client_view view;
    const mr_mono at = os_mono_now();
    int64_t wait_ms = slow_door_enter(control->token_door, client_id, control->actor.address, at);
    if (wait_ms > 0) {
        return refuse_slowed(control, wait_ms, ret_refusal);
    }
    mr_err err = check_credentials(control, client_id, client_secret, &found);
    if (mr_is_ok(err) && !found.is_right) {
        mr_metric_add(control->options.metrics, MR_METRIC_CREDENTIALS_WRONG, 1);
        return refuse(ret_refusal, REFUSAL_NO_TOKEN,
                      "Invalid client or Invalid client credentials");
    }
    if (mr_is_err(err)) {
        slow_door_take_back(control->token_door, client_id, control->actor.address);
        return err;
    }
    slow_door_opened(control->token_door, client_id, control->actor.address, at);
    MR_TRY(client_by_number(control, found.number, arena, &view));
    return sign_token(control, &view, found.generation, now, arena, token);
}

mr_err clients_issue_token(struct control *control, mr_str client_id, mr_str client_secret,
                           mr_wall now, mr_arena *arena, struct client_token *ret_token,
                           struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control,
                      issue(control, client_id, client_secret, now, arena, ret_token, ret_refusal),
                      ret_refusal);
}

mr_err client_token_write_json(const struct client_token *token, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_str(&writer, "access_token", token->access_token);
    json_out_member_u64(&writer, "expires_in", token->expires_in_s);
    json_out_member_c(&writer, "token_type", "Bearer");
    json_out_member_str(&writer, "scope", token->scope);
    json_out_end(&writer);
    return json_out_finish(&writer);
}
