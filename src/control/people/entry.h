/* What the user of a link does with it: sets the installation up, accepts an invite, sets a new
 * password, opens a portal. SPEC.md, sections 10 and 11.
 *
 *   entry_look ──▶ entry_judge (any thread) ──▶ argon2id (passwords.h) ──▶ entry_use
 *
 * Only entry_use changes anything, in one change: of several at once the first wins, the others are
 * told that the link is not valid. */
#ifndef MR_CONTROL_PEOPLE_ENTRY_H
#define MR_CONTROL_PEOPLE_ENTRY_H

#include "control/people/links.h"
#include "control/people/sessions.h"
#include "control/people/users.h"

/* Bodies, by kind of link; portal links take an empty object. */
extern const struct shape *const entry_shapes[LINK_KIND_COUNT];
extern const struct shape link_answer; /* of entry_view_write_json */

struct entry_view {
    enum link_kind kind;
    int64_t expires_ms;
    mr_str account_id;
    mr_str account_name;
    struct user_view user; /* number 0: of setup */
    mr_str return_url;     /* of a portal link; absent: none */
};
/* Texts in arena. 20404, also where the user is no longer one whom the link is for. */
mr_err entry_look(struct control *control, mr_str token, mr_wall now, mr_arena *arena,
                  struct entry_view *ret_view, struct refusal *ret_refusal);

struct entry_form {
    mr_str account_name; /* setup */
    mr_str email;        /* setup; folded */
    mr_str name;         /* setup, invite; absent: stays */
    mr_str password;     /* in arena: the caller wipes it; absent for portal links */
};
/* Judges a body (JSON) for this link. 20001, 20002, 20400. Any thread; blocks nobody. */
mr_err entry_judge(const struct entry_view *view, mr_str body, mr_arena *arena,
                   struct entry_form *ret_form, struct refusal *ret_refusal);

/* Where the call comes from, for the session of a portal link. */
struct entry_caller {
    mr_str address;
    mr_str agent;
};
struct entry_outcome {
    struct entry_view view;                /* as it is after */
    char cookie[SESSION_COOKIE_CHARS + 1]; /* of a portal link, else ""; the caller wipes it */
};
/* Uses the link up. hash: of the password, argon2id's own form. 20404. Audit rows
 * "installation.setup", "user.join", "user.password-reset", "portal-link.open". */
mr_err entry_use(struct control *control, mr_str token, const struct entry_form *form, mr_str hash,
                 const struct entry_caller *caller, mr_wall now, mr_arena *arena,
                 struct entry_outcome *ret_outcome, struct refusal *ret_refusal);
/* After the use of a set-up link was committed: takes options.setup_file away. */
void entry_forget_setup_file(struct control *control);

/* {"kind","account_id","account_name","email","name","role","date_expires","members":[…]}; members
 * are the names that a body may hold. */
mr_err entry_view_write_json(const struct entry_view *view, mr_buf *out);

#endif
