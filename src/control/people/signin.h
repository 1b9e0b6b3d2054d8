/* Signing in: e-mail and password, then a code of the second factor where the user has one. Control
 * thread only; between signin_begin and signin_finish the caller has the password computed
 * (passwords.h). SPEC.md, section 10; OWASP ASVS 5.0, 6.3.
 *
 *   signin_begin ──candidates──▶ argon2id ──▶ signin_finish ──┬──▶ session
 *                                                             ├──▶ ticket ──signin_second──▶
 * session └──▶ wrong (and counted)
 *
 * An unknown e-mail, a wrong password, a user who may not sign in: one answer, and one time. Also
 * where an e-mail is a user of several accounts: the one that is named is looked at, else the one
 * that had the e-mail first, so that one password is computed always. To try them all would tell by
 * the clock how many there are; to take the one used last would let whoever makes an account with
 * somebody's e-mail in it stand in their way.
 *
 * What ends with 503 was no attempt: nothing is counted. */
#ifndef MR_CONTROL_PEOPLE_SIGNIN_H
#define MR_CONTROL_PEOPLE_SIGNIN_H

#include "control/people/passwords.h"
#include "control/people/sessions.h"
#include "control/people/users.h"

#define SIGNIN_TICKET_S     300 /* how long a ticket is good */
#define SIGNIN_TICKET_TRIES 5   /* wrong codes that end it */

extern const struct shape signin_shape;        /* {email, password, account_id?} */
extern const struct shape second_factor_shape; /* {ticket, code} */

struct signin_candidates {
    size_t n; /* 0 or 1 */
    uint32_t user;
    mr_str hash; /* in arena, NUL-terminated */
};

enum signin_kind {
    SIGNIN_WRONG = 0,
    SIGNIN_TICKET, /* the second factor is asked */
    SIGNIN_DONE,
};
struct signin_outcome {
    enum signin_kind kind;
    uint32_t user;
    char cookie[SESSION_COOKIE_CHARS + 1]; /* SIGNIN_DONE; the caller wipes the outcome */
    char session_id[SESSION_ID_SIZE];
    char ticket[SESSION_COOKIE_CHARS + 1]; /* SIGNIN_TICKET */
};

struct signin_caller {
    mr_str address;
    mr_str agent;
    mr_wall now;
};

/* Who it may be. 429 with Retry-After where too many attempts failed; the attempt counts as failed
 * until signin_finish. account_id: absent, or the one account that is meant. */
mr_err signin_begin(struct control *control, mr_str email, mr_str account_id, mr_str address,
                    mr_arena *arena, struct signin_candidates *ret_candidates,
                    struct refusal *ret_refusal);
/* Instead of it, where the password could not be computed: the attempt counts no more. */
void signin_give_up(struct control *control, mr_str email, mr_str address);
/* matched, new_hash: of the password's task. SIGNIN_WRONG is no error: the attempt is in the audit
 * log. */
mr_err signin_finish(struct control *control, mr_str email,
                     const struct signin_candidates *candidates, int matched, mr_str new_hash,
                     const struct signin_caller *caller, struct signin_outcome *ret_outcome,
                     struct refusal *ret_refusal);
/* A ticket is good for one session: it ends when that is stored, so that a store that fails costs
 * nobody the way back to the password. 429 as above. */
mr_err signin_second(struct control *control, mr_str ticket, mr_str code,
                     const struct signin_caller *caller, struct signin_outcome *ret_outcome,
                     struct refusal *ret_refusal);

/* A signed-in user shows the password once more, before what must not be done by whoever found an
 * open session: begin gives its hash (429 as above), finish tells whether it was right. */
mr_err signin_again_begin(struct control *control, uint32_t user, mr_str address, mr_arena *arena,
                          struct user_view *ret_view, mr_str *ret_account_name, mr_str *ret_hash,
                          struct refusal *ret_refusal);
/* As signin_give_up. */
void signin_again_give_up(struct control *control, uint32_t user, mr_str address);
/* Writes the audit row of a wrong one. */
mr_err signin_again_finish(struct control *control, uint32_t user, mr_str address, bool is_right,
                           struct refusal *ret_refusal);

/* private: behind each job's transaction, before anything else runs: what its attempt has come to
 * counts where that is stored. */
void signin_settle(struct control *control, bool is_stored);
/* private: freed with the store. NULL is fine. */
struct signin;
void signin_free(struct signin *signin);

#endif
