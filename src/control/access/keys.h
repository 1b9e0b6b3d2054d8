/* The keys that sign access tokens. All in the order of their start:
 *
 *   rotate ──▶ pending ──sign_from──▶ signing ──the next one's sign_from──▶ retired ──▶ gone
 *              published,             one at any time                       verifies until the last
 *              verifies                                                     token it signed expires
 *
 * A new key is published in the JWKS at once and signs from SIGNING_KEY_LEAD_S later on, so that
 * those who keep the JWKS as long as its Cache-Control allows know it in time. `at_once` leaves
 * that out; `revoke` also ends every other key, and with it every token, at once. A pending key
 * that has not signed gives way to the next rotation. */
#ifndef MR_CONTROL_ACCESS_KEYS_H
#define MR_CONTROL_ACCESS_KEYS_H

#include "control/control.h"
#include "control/shape.h"

#define SIGNING_KEY_LEAD_S 360 /* above the JWKS's max-age of 300 s */
#define SIGNING_KEYS_MAX   16  /* that verify at one time */

enum signing_key_status { SIGNING_KEY_PENDING = 0, SIGNING_KEY_SIGNING, SIGNING_KEY_RETIRED };

struct signing_key_view {
    mr_str kid;
    enum signing_key_status status;
    int64_t sign_from_s;
    int64_t verify_until_s; /* INT64_MAX: not known yet, no other key follows */
    int64_t created_ms;
};

/* {"now","revoke"} */
extern const struct shape signing_key_rotation_shape;
extern const struct shape signing_key_answer;

/* Oldest first, those that verify; texts in arena. *ret_rows has SIGNING_KEYS_MAX places. */
mr_err signing_keys_list(struct control *control, mr_wall now, mr_arena *arena,
                         struct signing_key_view **ret_rows, size_t *ret_n,
                         struct refusal *ret_refusal);
/* Makes a key (tens to hundreds of milliseconds, on the control thread). body: the call's, {} for
 * nothing. 40403: the actor is a user who is neither Owner nor Admin; 20409: SIGNING_KEYS_MAX keys
 * still verify. */
mr_err signing_keys_rotate(struct control *control, mr_str body, mr_wall now, mr_arena *arena,
                           struct signing_key_view *ret_view, struct refusal *ret_refusal);
/* {"kid","status","algorithm","sign_from","verify_until","date_created"} */
mr_err signing_key_write_json(const struct signing_key_view *view, mr_buf *out);
mr_err signing_key_list_write_json(const struct signing_key_view *rows, size_t n,
                                   const struct control_page *page, mr_str url, mr_buf *out);

/* For tokens.c: the key that signs at now, borrowed until the next call; notes in the open change
 * how long a token of it lives. */
struct auth_signer;
mr_err signing_key_take(struct control *control, mr_wall now, uint32_t expiry_s,
                        struct auth_signer **ret_signer);

#endif
