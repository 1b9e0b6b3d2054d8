/* API clients and the tokens they get. A client's secret has 256 random bits and is kept as an HMAC
 * under a sealed pepper; tokens are signed with a key of the store (control/access/keys.h). Source:
 * KORE's token and client documents; PATCH, DELETE, rotation and revocation are Millrace's own.
 *
 * Who may change what is judged here, by the job's actor: admin clients are made and changed by
 * Owner, Admins and admin clients alone; a locked client by those and by the user whose e-mail is
 * its client_owner; nobody gives rights that they do not hold (`held`: the caller's scopes; NULL:
 * all, for the program itself). Refusals of that kind are 40403. */
#ifndef MR_CONTROL_CLIENTS_H
#define MR_CONTROL_CLIENTS_H

#include "control/control.h"
#include "control/shape.h"

#define CLIENTS_PER_ACCOUNT_MAX 1000

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

/* {"name","locked","scopes"} needed; {"account_id","client_owner","client_type","token_expiry"},
 * and on a change {"enabled"}. */
extern const struct shape client_shape;
/* {"revoke_tokens"} */
extern const struct shape client_rotation_shape;
/* Answers. */
extern const struct shape client_answer;
extern const struct shape client_list_answer;
extern const struct shape client_created_answer;
extern const struct shape client_secret_answer;
/* What a caller may do, as auth_scopes_write writes it. */
extern const struct shape scopes_answer;

/* *ret_secret is the plain secret ([A-Za-z0-9_-]{43}), in arena, shown this once: the caller wipes
 * the arena's copy with crypto_wipe. Refused: a name that is empty or over 255 bytes, another
 * expiry, global scopes for a standard client (40400), an account with too many clients (20409). */
mr_err clients_create(struct control *control, uint32_t account, const struct client_spec *spec,
                      mr_arena *arena, struct client_view *ret_view, mr_str *ret_secret,
                      struct refusal *ret_refusal);
/* The same from the body of a call. A body's account_id names `account` or one below it (40404). */
mr_err clients_create_json(struct control *control, uint32_t account,
                           const struct auth_scopes *held, mr_str body, mr_arena *arena,
                           struct client_view *ret_view, mr_str *ret_secret,
                           struct refusal *ret_refusal);
mr_err clients_get(struct control *control, uint32_t account, mr_str client_id, mr_arena *arena,
                   struct client_view *ret_view, struct refusal *ret_refusal);
/* Newest last. type: "admin", "standard", or absent for both; another is 40400. *ret_count: of all
 * pages. */
mr_err clients_list(struct control *control, uint32_t account, mr_str type,
                    struct control_page page, mr_arena *arena, struct client_view **ret_rows,
                    size_t *ret_n, uint64_t *ret_count, struct refusal *ret_refusal);
/* JSON Merge Patch. Disabling ends issued tokens at once; changed scopes, type and expiry are those
 * of new tokens only. if_version: 0 or the version it must have (20412). */
mr_err clients_patch(struct control *control, uint32_t account, const struct auth_scopes *held,
                     mr_str client_id, mr_str body, uint32_t if_version, mr_arena *arena,
                     struct client_view *ret_view, struct refusal *ret_refusal);
/* Ends issued tokens at once. */
mr_err clients_delete(struct control *control, uint32_t account, const struct auth_scopes *held,
                      mr_str client_id, uint32_t if_version, struct refusal *ret_refusal);
/* A new secret, as from clients_create; the old one is wrong at once. The caller must hold what the
 * client may do, since it gets the client's credentials. Issued tokens stay, unless body says
 * {"revoke_tokens":true}. */
mr_err clients_rotate_secret(struct control *control, uint32_t account,
                             const struct auth_scopes *held, mr_str client_id, mr_str body,
                             mr_arena *arena, struct client_view *ret_view, mr_str *ret_secret,
                             struct refusal *ret_refusal);
/* Ends all issued tokens at once. */
mr_err clients_revoke_tokens(struct control *control, uint32_t account,
                             const struct auth_scopes *held, mr_str client_id, mr_arena *arena,
                             struct client_view *ret_view, struct refusal *ret_refusal);

/* {"client":{"client_id","account_id","name","client_owner","client_type","locked","date_created",
 * "enabled","token_expiry","scopes"}}; the date as in KORE's document: an HTTP date. */
mr_err client_write_json(const struct client_view *view, mr_buf *out);
/* {"meta":{…},"clients":[…]} */
mr_err client_list_write_json(const struct client_view *rows, size_t n,
                              const struct control_page *page, uint64_t count, mr_str url,
                              mr_buf *out);
/* KORE's answer to a creation: {"message","client_id","client_secret","client_type","account_id",
 * "name","date_created","client_owner","locked"}, the date in RFC 3339; without client_secret where
 * secret is absent. */
mr_err client_created_write_json(const struct client_view *view, mr_str secret, mr_buf *out);
/* {"client_id","client_secret"}, likewise. */
mr_err client_secret_write_json(const struct client_view *view, mr_str secret, mr_buf *out);

struct client_token {
    mr_str access_token; /* in arena */
    uint32_t expires_in_s;
    mr_str scope; /* names, in arena */
};
/* Credentials to a token. Wrong ones, unknown and disabled clients: 401 (code 20401, message as
 * KORE has it), in equal time; after many wrong ones 429 (20429) with how long to wait, counted per
 * client and address (auth/slow.h; the address is the job's actor's). now is wall time. The job
 * must be one of `in_order` (control/jobs.h). Some 3 ms. */
mr_err clients_issue_token(struct control *control, mr_str client_id, mr_str client_secret,
                           mr_wall now, mr_arena *arena, struct client_token *ret_token,
                           struct refusal *ret_refusal);
/* {"access_token","expires_in","token_type":"Bearer","scope"} */
mr_err client_token_write_json(const struct client_token *token, mr_buf *out);

#endif
