/* Sign-ins and refusals of rights on their way into the audit log. They are decided on workers, and
 * whoever asks may ask as often as they like: so each is noted here in memory, the first one of its
 * like is sent to the control thread at once, and those like it that follow become one further row
 * with their count: refusals after a minute, sign-ins after an hour. One per worker; the worker's
 * thread. */
#ifndef MR_API_ACCESS_H
#define MR_API_ACCESS_H

#include "auth/rights.h"
#include "control/jobs.h"
#include "loop/loop.h"

enum access_what {
    ACCESS_BAD_TOKEN = 0,   /* refused: no token of ours, or expired */
    ACCESS_REVOKED,         /* refused: the client or its tokens were disabled or revoked */
    ACCESS_NO_SCOPE,        /* refused: the scopes do not cover the route */
    ACCESS_NO_RIGHTS,       /* refused by finer rules of the work itself */
    ACCESS_BAD_CREDENTIALS, /* a sign-in with a wrong id or secret */
    ACCESS_SIGN_IN,         /* a token was issued */
    ACCESS_COUNT
};

struct access_log;

/* MR_E_NOMEM. */
mr_err access_log_new(struct loop *loop, struct control *control, struct access_log **ret_log);
/* Nothing may be on its way: the control thread has ended, its answers are read. NULL is fine. */
void access_log_free(struct access_log *log);

/* Notes one. Copies the actor's texts. Never blocks, never fails. */
void access_note(struct access_log *log, const struct control_actor *actor, enum auth_route route,
                 enum access_what what);
/* Sends all counts now, at a stop: nothing is noted any more. False: some are still on their way,
 * and the control thread must go on until they are answered; ask again in a later turn. */
bool access_log_flush(struct access_log *log);

#endif
