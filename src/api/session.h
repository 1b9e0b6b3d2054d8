/* For the API's own files: answers that open or end a session, and calls that show a password. */
#ifndef MR_API_SESSION_H
#define MR_API_SESSION_H

#include "api/call.h"
#include "control/people/signin.h"

/* Answers with call->status, call->out as JSON and the session's cookie; wipes outcome. For
 * every call that signs somebody in (also by a link). */
void api_answer_with_cookie(struct api_call *call, struct signin_outcome *outcome);
/* The Set-Cookie field of a session whose cookie has that value; the caller wipes it. */
#define API_COOKIE_SIZE 256
void api_cookie_format(const struct api *api, const char *value, char out[static API_COOKIE_SIZE]);
/* False: refused, the call is answered: a session is given over HTTPS or loopback only, and to no
 * other site. */
bool api_may_sign_in(struct api_call *call);
/* Appends what GET /v1/session shows, of a user with that session in the present snapshot; cookie:
 * its value. MR_E_NOMEM; MR_E_NOT_FOUND where session or user are gone. */
mr_err api_session_write(struct api_call *call, const struct user_view *view, mr_str session_id,
                         mr_str cookie, mr_buf *out);
/* Reads the call's JSON body, whose shape holds texts alone: in the order of its members, in arena,
 * absent where not sent; wipes the body, and values are the handler's to wipe. False: refused. */
bool api_texts_take(struct api_call *call, mr_str *values);
/* Overwrites a value of api_texts_take. */
void api_text_wipe(mr_str *value);

/* A password on its way through argon2id. Zeroed, in the call's arena. */
struct api_password {
    struct password_task task;
    /* Control thread, where it could not be computed: the attempt was none. NULL: nothing to do. */
    void (*give_up)(struct control *control, struct api_call *call);
    struct api_call *call;
    void (*then)(struct api_call *call); /* on the worker, when computed */
};
/* Submits it; refuses the call with 503 where too many wait. */
void api_password_compute(struct api_call *call, struct api_password *password,
                          void (*then)(struct api_call *call));

#endif
