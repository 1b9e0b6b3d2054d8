/* API clients and the tokens they get. A client's secret has 256 random bits and is kept as an HMAC
 * under a sealed pepper; tokens are signed with the store's newest key. Source: KORE's token and
 * client documents. */
#ifndef MR_CONTROL_CLIENTS_H
#define MR_CONTROL_CLIENTS_H

#include "control/control.h"

struct client_view {
    uint32_t number;
    mr_str client_id;
    mr_str account_id;
    mr_str name;
    mr_str client_owner; /* e-mail */
    enum auth_client_type type;
    int8_t locked; /* 1 true, 0 false, -1 null */
    bool is_enabled;
    uint32_t token_expiry_s;
    struct auth_scopes scopes;
    int64_t created_ms;
    uint32_t version;
};

struct client_spec {
    mr_str name;
    mr_str client_owner; /* absent: the account owner's */
    enum auth_client_type type;
    int8_t locked;
    uint32_t token_expiry_s; /* 3600, 86400, 2592000 or 63072000 */
    struct auth_scopes scopes;
};
#define CLIENT_EXPIRY_HOUR      3600
#define CLIENT_EXPIRY_DAY       86400
#define CLIENT_EXPIRY_30_DAYS   2592000
#define CLIENT_EXPIRY_24_MONTHS 63072000

/* *ret_secret is the plain secret ([A-Za-z0-9_-]{43}), in arena, shown this once: the caller wipes
 * the arena's copy with crypto_wipe. Refused: a name that is empty or over 255 bytes, another
 * expiry, global scopes for a standard client. */
mr_err clients_create(struct control *control, uint32_t account, const struct client_spec *spec,
                      mr_arena *arena, struct client_view *ret_view, mr_str *ret_secret,
                      struct refusal *ret_refusal);
mr_err clients_get(struct control *control, uint32_t account, mr_str client_id, mr_arena *arena,
                   struct client_view *ret_view, struct refusal *ret_refusal);
/* Newest last. *ret_count: of all pages. */
mr_err clients_list(struct control *control, uint32_t account, struct control_page page,
                    mr_arena *arena, struct client_view **ret_rows, size_t *ret_n,
                    uint64_t *ret_count, struct refusal *ret_refusal);
/* Disabling ends issued tokens at once. */
mr_err clients_set_enabled(struct control *control, uint32_t account, mr_str client_id,
                           bool is_enabled, struct refusal *ret_refusal);
/* Ends all issued tokens at once. */
mr_err clients_revoke_tokens(struct control *control, uint32_t account, mr_str client_id,
                             struct refusal *ret_refusal);
/* {"client_id","account_id","name","client_owner","client_type","locked","date_created"}; the date
 * as in KORE's document: an HTTP date. */
mr_err client_write_json(const struct client_view *view, mr_buf *out);

struct client_token {
    mr_str access_token; /* in arena */
    uint32_t expires_in_s;
    mr_str scope; /* names, in arena */
};
/* Credentials to a token. Wrong ones, unknown and disabled clients: 401 (code 20401, message as
 * KORE has it), in equal time. now is wall time. About 1 ms. */
mr_err clients_issue_token(struct control *control, mr_str client_id, mr_str client_secret,
                           mr_wall now, mr_arena *arena, struct client_token *ret_token,
                           struct refusal *ret_refusal);
/* {"access_token","expires_in","token_type":"Bearer","scope"} */
mr_err client_token_write_json(const struct client_token *token, mr_buf *out);

#endif
