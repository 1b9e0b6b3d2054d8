/* Private to control/access/: rows of API clients and what is made of them. Control thread. */
#ifndef MR_CONTROL_ACCESS_PARTS_H
#define MR_CONTROL_ACCESS_PARTS_H

#include "control/clients.h"
#include "control/private.h"

#define CLIENT_SCOPES_BYTES_MAX 4096

/* ---- rows.c ---- */

/* The client of that id in that account; 40404. */
mr_err client_find(struct control *control, uint32_t account, mr_str id, mr_arena *arena,
                   struct client_view *view, struct refusal *ret_refusal);
/* The same by number alone. MR_E_NOT_FOUND. */
mr_err client_by_number(struct control *control, uint32_t number, mr_arena *arena,
                        struct client_view *view);
/* The account of that id, where it is `account` or lies below it; 40404. */
mr_err client_account_find(struct control *control, uint32_t account, mr_str id,
                           uint32_t *ret_account, struct refusal *ret_refusal);
mr_err client_insert(struct control *control, uint32_t account, const struct client_spec *spec,
                     mr_str id, const uint8_t mac[static CRYPTO_SHA256_BYTES], uint32_t number);
/* Writes what a PATCH can change, and a new version. ends_tokens: a new generation too. */
mr_err client_update(struct control *control, const struct client_view *view, bool ends_tokens);

/* ---- body.c ---- */

/* What a client must be, whoever makes it (40400). */
mr_err client_check(const struct client_spec *spec, struct refusal *ret_refusal);
/* A judged create body. *ret_account_id: absent where it names none. Texts in arena. */
mr_err client_body_read(json_value body, mr_arena *arena, struct client_spec *ret_spec,
                        mr_str *ret_account_id, struct refusal *ret_refusal);
/* Applies a merge patch to view; takes_default: client_owner goes back to the account's owner. */
mr_err client_body_apply(mr_str body, mr_arena *arena, struct client_view *view,
                         bool *ret_takes_default, struct refusal *ret_refusal);

/* ---- tokens.c ---- */

mr_err client_secret_mac(struct control *control, mr_str secret,
                         uint8_t out[static CRYPTO_SHA256_BYTES]);

/* Adds the row of the audit log (told.c): before NULL for a new client, after for a deleted one;
 * remark: further members of its detail, a literal; NULL: none. */
mr_err client_tell(struct control *control, uint32_t account, const char *action,
                   const struct client_view *before, const struct client_view *after,
                   const char *remark);

#endif
