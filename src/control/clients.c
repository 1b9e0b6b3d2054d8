/* API clients, their tokens, and the keys that sign them.
 *
 * A client's secret is 256 random bits, so it needs no slow hash: what is kept is an HMAC under a
 * pepper that lies sealed, which makes a copy of the database alone useless and a check cost a
 * microsecond. An unknown client costs the same HMAC and comparison as a wrong secret.
 *
 * A token carries the client's generation; disabling and revoking raise it, and workers compare at
 * each request, so both work the moment the new snapshot is adopted. Changed scopes, type or expiry
 * leave issued tokens alone, as KORE's do.
 *
 * Signing keys: rows that were never retired have no verify_until_s; the newest of them whose
 * sign_from_s has come signs. A retired key keeps its public half until its last token has
 * expired. */
#include "control/clients.h"

#include "base/mem.h"
#include "base/num.h"
#include "control/body.h"
#include "control/private.h"
#include "json/write.h"
#include "os/clock.h"

#define SECRET_RANDOM_BYTES 32
#define SCOPES_BYTES_MAX    4096
#define KEYS_MAX            16

/* Columns of a client_view, in the order of read_view. */
#define VIEW_COLUMNS                                                                               \
    "c.number, c.id, a.id, c.name, c.owner, c.type, c.locked, c.enabled, c.token_expiry_s,"        \
    " c.scopes, c.created_ms, c.version"

static mr_err read_view(struct query *query, mr_arena *arena, struct client_view *view) {
    *view = (struct client_view){
        .number = (uint32_t)query_col_i64(query, 0),
        .client_id = query_col_text(query, 1, arena),
        .account_id = query_col_text(query, 2, arena),
        .name = query_col_text(query, 3, arena),
        .client_owner = query_col_text(query, 4, arena),
        .type = (enum auth_client_type)query_col_i64(query, 5),
        .locked = query_col_is_null(query, 6) ? (int8_t)-1 : (int8_t)query_col_i64(query, 6),
        .is_enabled = query_col_i64(query, 7) != 0,
        .token_expiry_s = (uint32_t)query_col_i64(query, 8),
        .created_ms = query_col_i64(query, 10),
        .version = (uint32_t)query_col_i64(query, 11),
    };
    const char *why = NULL;
    mr_err err = auth_scopes_parse(query_col_bytes(query, 9), &view->scopes, &why);
    return mr_is_err(err) && !mr_err_is(err, MR_E_NOMEM) ? MR_ERR(MR_E_FAILED) : err;
}

static mr_err find_view(struct control *control, uint32_t account, mr_str id, mr_arena *arena,
                        struct client_view *view, struct refusal *ret_refusal) {
    struct query query =
        query_begin(&control->store,
                    "SELECT " VIEW_COLUMNS " FROM clients c JOIN accounts a ON a.number = c.account"
                    " WHERE c.id = ?1 AND c.account = ?2");
    query_text(&query, id);
    query_i64(&query, account);
    mr_err err = MR_ERR(MR_E_NOT_FOUND);
    while (query_row(&query)) {
        err = read_view(&query, arena, view);
    }
    mr_err ended = query_end(&query);
    if (mr_is_err(ended)) {
        return ended;
    }
    if (mr_err_is(err, MR_E_NOT_FOUND)) {
        return refuse(ret_refusal, REFUSAL_CLIENT_NOT_FOUND, "There is no API client %.*s.",
                      (int)(id.len < 64 ? id.len : 64), id.ptr != NULL ? id.ptr : "");
    }
    return err;
}

/* ---- creation ---- */

static mr_err check_spec(const struct client_spec *spec, struct refusal *ret_refusal) {
    if (spec->name.len == 0 || spec->name.len > 255 || !mr_str_is_utf8(spec->name)) {
        return refuse(ret_refusal, REFUSAL_CLIENT_MALFORMED, "name must have 1 to 255 bytes.");
    }
    uint32_t expiry = spec->token_expiry_s;
    if (expiry != CLIENT_EXPIRY_HOUR && expiry != CLIENT_EXPIRY_DAY &&
        expiry != CLIENT_EXPIRY_30_DAYS && expiry != CLIENT_EXPIRY_24_MONTHS) {
        return refuse(ret_refusal, REFUSAL_CLIENT_MALFORMED,
                      "The token expiry must be 1 hour, 1 day, 30 days or 24 months.");
    }
    for (size_t i = 0; i < AUTH_RESOURCE_COUNT; i++) {
        if (spec->type == AUTH_CLIENT_STANDARD && spec->scopes.access[i] != 0 &&
            auth_resource_is_global((enum auth_resource)i)) {
            return refuse(ret_refusal, REFUSAL_CLIENT_MALFORMED,
                          "A standard client cannot have global resources.");
        }
    }
    return MR_OK;
}

static mr_err secret_mac(struct control *control, mr_str secret,
                         uint8_t out[static CRYPTO_SHA256_BYTES]) {
    return crypto_hmac_sha256(control->hasher, mr_secret_reveal(control->pepper), &secret, 1, out);
}

/* 32 random bytes in base64url. */
static mr_err make_secret(mr_arena *arena, mr_str *ret_secret) {
    uint8_t random[SECRET_RANDOM_BYTES];
    crypto_random(random, sizeof random);
    mr_buf text;
    mr_buf_init(&text, 64);
    mr_err err = mr_base64url_encode(mr_str_of((const char *)random, sizeof random), &text);
    if (mr_is_ok(err)) {
        *ret_secret = mr_arena_str(arena, mr_buf_view(&text));
        err = mr_str_is_absent(*ret_secret) ? MR_ERR(MR_E_NOMEM) : MR_OK;
        crypto_wipe(text.ptr, text.len);
    }
    mr_buf_done(&text);
    crypto_wipe(random, sizeof random);
    return err;
}

static mr_err insert_client(struct control *control, uint32_t account,
                            const struct client_spec *spec, mr_str id, mr_str secret,
                            uint32_t number) {
    uint8_t mac[CRYPTO_SHA256_BYTES];
    mr_buf scopes;
    mr_buf_init(&scopes, SCOPES_BYTES_MAX);
    mr_err err = secret_mac(control, secret, mac);
    if (mr_is_ok(err)) {
        err = auth_scopes_write(&spec->scopes, &scopes);
    }
    if (mr_is_ok(err)) {
        struct query query = query_begin(
            &control->store,
            "INSERT INTO clients(number, id, account, name, owner, type, locked, enabled,"
            " generation, token_expiry_s, scopes, secret_mac, version, created_ms)"
            " SELECT ?1, ?2, number, ?3, coalesce(?4, owner_email), ?5, ?6, 1, 1, ?7, ?8, ?9, 1,"
            " ?10 FROM accounts WHERE number = ?11");
        query_i64(&query, number);
        query_text(&query, id);
        query_text(&query, spec->name);
        query_text(&query, spec->client_owner);
        query_i64(&query, (int64_t)spec->type);
        if (spec->locked < 0) {
            query_null(&query);
        } else {
            query_i64(&query, spec->locked);
        }
        query_i64(&query, spec->token_expiry_s);
        query_text(&query, mr_buf_view(&scopes));
        query_blob(&query, mr_str_of((const char *)mac, sizeof mac));
        query_i64(&query, mr_wall_ms(os_wall_now()));
        query_i64(&query, account);
        err = query_run(&query);
    }
    mr_buf_done(&scopes);
    return err;
}

static mr_err create_inner(struct control *control, uint32_t account,
                           const struct client_spec *spec, mr_arena *arena,
                           struct client_view *ret_view, mr_str *ret_secret,
                           struct refusal *ret_refusal) {
    uint32_t number = 0;
    char id[CRYPTO_ID_SIZE];
    mr_str secret = MR_STR_NONE;
    MR_TRY(check_spec(spec, ret_refusal));
    MR_TRY(number_take(control, "client", &number));
    crypto_id_make(MR_STR("apiclient_"), os_wall_now(), id);
    MR_TRY(make_secret(arena, &secret));
    MR_TRY(insert_client(control, account, spec, mr_str_c(id), secret, number));
    MR_TRY(change_mark(control, MODEL_CLIENT, number));
    MR_TRY(find_view(control, account, mr_str_c(id), arena, ret_view, ret_refusal));
    MR_TRY(audit_add(control, &(struct audit_entry){.account = account,
                                                    .action = "client.create",
                                                    .object = ret_view->client_id,
                                                    .detail = MR_STR(AUDIT_SECRET_SHOWN)}));
    *ret_secret = secret;
    return MR_OK;
}

mr_err clients_create(struct control *control, uint32_t account, const struct client_spec *spec,
                      mr_arena *arena, struct client_view *ret_view, mr_str *ret_secret,
                      struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(
        control, create_inner(control, account, spec, arena, ret_view, ret_secret, ret_refusal),
        ret_refusal);
}

/* ---- reading and changing ---- */

mr_err clients_get(struct control *control, uint32_t account, mr_str client_id, mr_arena *arena,
                   struct client_view *ret_view, struct refusal *ret_refusal) {
    return refuse_error(
        control, find_view(control, account, client_id, arena, ret_view, ret_refusal), ret_refusal);
}

static mr_err list_inner(struct control *control, uint32_t account, struct control_page page,
                         mr_arena *arena, struct client_view **ret_rows, size_t *ret_n,
                         uint64_t *ret_count) {
    struct query query =
        query_begin(&control->store, "SELECT count(*) FROM clients WHERE account = ?1");
    query_i64(&query, account);
    while (query_row(&query)) {
        *ret_count = (uint64_t)query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    struct client_view *rows = mr_arena_calloc(arena, page.size, sizeof *rows);
    if (rows == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    query =
        query_begin(&control->store,
                    "SELECT " VIEW_COLUMNS " FROM clients c JOIN accounts a ON a.number = c.account"
                    " WHERE c.account = ?1 ORDER BY c.number LIMIT ?2 OFFSET ?3");
    query_i64(&query, account);
    query_i64(&query, page.size);
    query_i64(&query, (int64_t)(page.number - 1) * page.size);
    size_t n = 0;
    mr_err err = MR_OK;
    while (mr_is_ok(err) && n < page.size && query_row(&query)) {
        err = read_view(&query, arena, &rows[n++]);
    }
    mr_err ended = query_end(&query);
    *ret_rows = rows;
    *ret_n = n;
    return mr_is_err(err) ? err : ended;
}

mr_err clients_list(struct control *control, uint32_t account, struct control_page page,
                    mr_arena *arena, struct client_view **ret_rows, size_t *ret_n,
                    uint64_t *ret_count, struct refusal *ret_refusal) {
    return refuse_error(control,
                        list_inner(control, account, page, arena, ret_rows, ret_n, ret_count),
                        ret_refusal);
}

/* sql changes a client named by ?1 (id) and ?2 (account), and returns its number. */
static mr_err change_client(struct control *control, uint32_t account, mr_str id,
                            const char *action, const char *sql, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    struct query query = query_begin(&control->store, sql);
    query_text(&query, id);
    query_i64(&query, account);
    uint32_t number = 0;
    while (query_row(&query)) {
        number = (uint32_t)query_col_i64(&query, 0);
    }
    mr_err err = query_end(&query);
    if (mr_is_ok(err)) {
        err = number == 0 ? refuse(ret_refusal, REFUSAL_CLIENT_NOT_FOUND,
                                   "There is no such API client in this account.")
                          : change_mark(control, MODEL_CLIENT, number);
    }
    if (mr_is_ok(err)) {
        err = audit_add(control,
                        &(struct audit_entry){.account = account, .action = action, .object = id});
    }
    return change_end(control, err, ret_refusal);
}

mr_err clients_set_enabled(struct control *control, uint32_t account, mr_str client_id,
                           bool is_enabled, struct refusal *ret_refusal) {
    const char *sql = is_enabled ? "UPDATE clients SET enabled = 1, version = version + 1"
                                   " WHERE id = ?1 AND account = ?2 RETURNING number"
                                 : "UPDATE clients SET enabled = 0, generation = generation + 1,"
                                   " version = version + 1 WHERE id = ?1 AND account = ?2"
                                   " RETURNING number";
    return change_client(control, account, client_id,
                         is_enabled ? "client.enable" : "client.disable", sql, ret_refusal);
}

mr_err clients_revoke_tokens(struct control *control, uint32_t account, mr_str client_id,
                             struct refusal *ret_refusal) {
    return change_client(control, account, client_id, "client.revoke-tokens",
                         "UPDATE clients SET generation = generation + 1, version = version + 1"
                         " WHERE id = ?1 AND account = ?2 RETURNING number",
                         ret_refusal);
}

mr_err client_load(struct control *control, uint32_t number, struct model_object **ret_object) {
    struct query query =
        query_begin(&control->store, "SELECT id, account, enabled, type, generation FROM clients"
                                     " WHERE number = ?1");
    query_i64(&query, number);
    struct model_client *client = NULL;
    bool found = query_row(&query);
    if (found) {
        client = model_client_new(number, query_col_bytes(&query, 0),
                                  (uint32_t)query_col_i64(&query, 1));
    }
    if (client != NULL) {
        client->is_enabled = query_col_i64(&query, 2) != 0;
        client->type = (enum auth_client_type)query_col_i64(&query, 3);
        client->generation = (uint32_t)query_col_i64(&query, 4);
    }
    mr_err err = query_end(&query);
    if (mr_is_ok(err) && found && client == NULL) {
        err = MR_ERR(MR_E_NOMEM);
    }
    *ret_object = client == NULL ? NULL : &client->object;
    return err;
}

mr_err client_write_json(const struct client_view *view, mr_buf *out) {
    char date[MR_TIME_TEXT_SIZE];
    mr_time_format_http(mr_wall_of_ms(view->created_ms), date);
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_str(&writer, "client_id", view->client_id);
    json_out_member_str(&writer, "account_id", view->account_id);
    json_out_member_str(&writer, "name", view->name);
    json_out_member_str(&writer, "client_owner", view->client_owner);
    json_out_member_str(&writer, "client_type", auth_client_type_name(view->type));
    if (view->locked < 0) {
        json_out_member_null(&writer, "locked");
    } else {
        json_out_member_bool(&writer, "locked", view->locked != 0);
    }
    json_out_member_c(&writer, "date_created", date);
    json_out_end(&writer);
    return json_out_finish(&writer);
}

/* ---- tokens ---- */

static mr_err find_credentials(struct control *control, mr_str client_id, mr_str secret,
                               mr_arena *arena, struct client_view *view, uint32_t *ret_generation,
                               bool *ret_right) {
    uint8_t given[CRYPTO_SHA256_BYTES];
    uint8_t kept[CRYPTO_SHA256_BYTES] = {0};
    bool found = false;
    MR_TRY(secret_mac(control, secret, given));
    struct query query =
        query_begin(&control->store, "SELECT " VIEW_COLUMNS ", c.secret_mac, c.generation"
                                     " FROM clients c JOIN accounts a ON a.number = c.account"
                                     " WHERE c.id = ?1 AND c.enabled = 1");
    query_text(&query, client_id);
    mr_err err = MR_OK;
    while (mr_is_ok(err) && query_row(&query)) {
        mr_str mac = query_col_bytes(&query, 12);
        if (mac.len == sizeof kept) {
            memcpy(kept, mac.ptr, sizeof kept);
            found = true;
        }
        *ret_generation = (uint32_t)query_col_i64(&query, 13);
        err = read_view(&query, arena, view);
    }
    mr_err ended = query_end(&query);
    bool is_equal = crypto_equal(given, kept, sizeof kept);
    *ret_right = found && is_equal;
    return mr_is_err(err) ? err : ended;
}

static mr_err sign_token(struct control *control, const struct client_view *view,
                         uint32_t generation, mr_wall now, mr_arena *arena,
                         struct client_token *token) {
    struct auth_claims claims;
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
    mr_buf text;
    mr_buf scope;
    mr_buf_init(&text, AUTH_TOKEN_BYTES_MAX);
    mr_buf_init(&scope, SCOPES_BYTES_MAX);
    mr_err err = auth_token_sign(control->signer, mr_str_c(control->issuer),
                                 mr_str_c(control->audience), &claims, &text);
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

mr_err clients_issue_token(struct control *control, mr_str client_id, mr_str client_secret,
                           mr_wall now, mr_arena *arena, struct client_token *ret_token,
                           struct refusal *ret_refusal) {
    struct client_view view;
    uint32_t generation = 0;
    bool is_right = false;
    mr_err err =
        find_credentials(control, client_id, client_secret, arena, &view, &generation, &is_right);
    if (mr_is_ok(err) && !is_right) {
        err = refuse(ret_refusal, REFUSAL_NO_TOKEN, "Invalid client or Invalid client credentials");
    }
    if (mr_is_ok(err)) {
        err = sign_token(control, &view, generation, now, arena, ret_token);
    }
    return refuse_error(control, err, ret_refusal);
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

/* ---- signing keys ---- */

static mr_err insert_key(struct control *control, mr_str kid, mr_str public_der,
                         mr_secret private_der, mr_wall now) {
    mr_buf box;
    mr_buf_init(&box, 8192);
    mr_err err = control_seal(control, "signing_keys", kid, "private_sealed",
                              mr_secret_reveal(private_der), &box);
    if (mr_is_ok(err)) {
        struct query query =
            query_begin(&control->store,
                        "INSERT INTO signing_keys(kid, public_der, private_sealed, sign_from_s,"
                        " verify_until_s, created_ms) VALUES(?1, ?2, ?3, ?4, NULL, ?5)");
        query_text(&query, kid);
        query_blob(&query, public_der);
        query_blob(&query, mr_buf_view(&box));
        query_i64(&query, now.ns / MR_NS_PER_S);
        query_i64(&query, mr_wall_ms(now));
        err = query_run(&query);
    }
    mr_buf_done(&box);
    MR_TRY(err);
    return audit_add(control, &(struct audit_entry){.action = "signing-key.create", .object = kid});
}

mr_err signing_key_make(struct control *control, mr_wall now) {
    char kid[CRYPTO_ID_SIZE];
    crypto_id_make(MR_STR("key_"), now, kid);
    mr_secret private_der = MR_SECRET_NONE;
    mr_buf public_der;
    mr_buf_init(&public_der, 4096);
    mr_err err = auth_key_generate(control->options.slab, &private_der, &public_der);
    if (mr_is_ok(err)) {
        err = insert_key(control, mr_str_c(kid), mr_buf_view(&public_der), private_der, now);
    }
    mr_secret_unref(&private_der);
    mr_buf_done(&public_der);
    return err;
}

static mr_err read_signer(struct control *control, mr_str kid, mr_str box) {
    mr_secret private_der = MR_SECRET_NONE;
    MR_TRY(control_unseal(control, "signing_keys", kid, "private_sealed", box, &private_der));
    struct auth_signer *signer = NULL;
    mr_err err = auth_signer_new(private_der, kid, &signer);
    mr_secret_unref(&private_der);
    if (mr_is_ok(err)) {
        auth_signer_free(control->signer);
        control->signer = signer;
    }
    return err;
}

static mr_err read_key_rows(struct control *control, mr_wall now, mr_arena *arena,
                            struct auth_key keys[static KEYS_MAX], size_t *ret_n) {
    struct query query =
        query_begin(&control->store, "SELECT kid, public_der, private_sealed, sign_from_s,"
                                     " coalesce(verify_until_s, 9223372036854775807)"
                                     " FROM signing_keys WHERE verify_until_s IS NULL"
                                     " OR verify_until_s >= ?1 ORDER BY sign_from_s, kid");
    int64_t now_s = now.ns / MR_NS_PER_S;
    query_i64(&query, now_s);
    size_t n = 0;
    mr_err err = MR_OK;
    while (mr_is_ok(err) && n < KEYS_MAX && query_row(&query)) {
        struct auth_key *key = &keys[n++];
        mr_str kid = query_col_bytes(&query, 0);
        if (!mr_str_to_c(kid, key->kid, sizeof key->kid)) {
            err = MR_ERR(MR_E_INVALID);
            break;
        }
        key->public_der = query_col_text(&query, 1, arena);
        key->sign_from_s = query_col_i64(&query, 3);
        key->verify_until_s = query_col_i64(&query, 4);
        /* In order of age: the last one whose time has come stays. */
        if (key->verify_until_s == INT64_MAX && (key->sign_from_s <= now_s || n == 1)) {
            err = read_signer(control, kid, query_col_bytes(&query, 2));
        }
    }
    mr_err ended = query_end(&query);
    *ret_n = n;
    return mr_is_err(err) ? err : ended;
}

mr_err signing_keys_load(struct control *control, mr_wall now) {
    struct auth_key keys[KEYS_MAX];
    size_t n = 0;
    mr_arena arena;
    mr_arena_init(&arena, 65536);
    struct auth_keyring *keyring = NULL;
    mr_err err = read_key_rows(control, now, &arena, keys, &n);
    if (mr_is_ok(err)) {
        err = auth_keyring_new(keys, n, mr_str_c(control->issuer), mr_str_c(control->audience),
                               &keyring);
    }
    mr_arena_done(&arena);
    if (mr_is_ok(err) && control->signer == NULL) {
        auth_keyring_unref(keyring);
        err = MR_ERR(MR_E_INVALID);
    }
    if (mr_is_ok(err)) {
        auth_keyring_unref(control->keyring);
        control->keyring = keyring;
    }
    return err;
}
