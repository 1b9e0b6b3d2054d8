/* Links for people, made and told: invites, password resets, portal links. Where mail is
 * configured, invites and resets go to the person's mailbox and nobody else sees the link; else it
 * is given to whoever asked, to be handed on. Control thread only. SPEC.md, section 10. */
#ifndef MR_CONTROL_PEOPLE_INVITES_H
#define MR_CONTROL_PEOPLE_INVITES_H

#include "control/people/users.h"

/* Who asks for a link, and what for. */
struct link_maker {
    struct user_editor editor;
    struct auth_scopes scopes; /* nobody lets others in with more rights than their own */
    uint32_t account;          /* that the link is for */
    mr_str base_url;           /* without a slash at its end */
    mr_wall now;
};

struct link_made {
    struct user_view user;
    mr_str url;         /* in arena, shown this once: the caller wipes it; absent: it was mailed */
    int64_t expires_ms; /* of the link */
};

/* POST /v1/users: adds the user, INVITED, with an invite. 20006: a role with more rights than the
 * maker's; 20409: the e-mail is a user of the account already. Audit row "user.invite". */
mr_err invites_create(struct control *control, const struct link_maker *maker, mr_str body,
                      mr_arena *arena, struct link_made *ret_made, struct refusal *ret_refusal);
/* POST /v1/users/{id}/invite: another link in place of the old one. 20404; 20409 where the user has
 * accepted already. */
mr_err invites_again(struct control *control, const struct link_maker *maker, mr_str id,
                     mr_arena *arena, struct link_made *ret_made, struct refusal *ret_refusal);
/* Inside a change: invites the Owner of an account that has none yet (owner_email of POST
 * /v1/accounts). The e-mail is plausible. */
mr_err invites_make_owner(struct control *control, uint32_t account, mr_str email, mr_str base_url,
                          mr_wall now, mr_arena *arena, struct link_made *ret_made,
                          struct refusal *ret_refusal);

/* POST /v1/users/{id}/reset-link. 20404; 20006: the user has more rights than the maker, or is the
 * Owner of the maker's own account; 20409: the user is not active. Audit row "user.reset-link". */
mr_err resets_make(struct control *control, const struct link_maker *maker, mr_str id,
                   mr_arena *arena, struct link_made *ret_made, struct refusal *ret_refusal);
/* {"email"} */
extern const struct shape reset_request_shape;
/* 429 with Retry-After where resets were asked for too often, for this e-mail or from there. */
mr_err resets_enter(struct control *control, mr_str email, mr_str address,
                    struct refusal *ret_refusal);
/* POST /v1/password-resets: mails a link to each active user with that e-mail; without mail, or
 * such a user, nothing happens. The caller has answered already. */
mr_err resets_request(struct control *control, mr_str email, mr_str base_url, mr_wall now,
                      struct refusal *ret_refusal);

/* {"role","return_url"} */
extern const struct shape portal_link_shape;
extern const struct shape portal_link_answer;
/* POST /v1/portal-links: a link that opens a session of the account's portal user of that role
 * (Developer where none is named), which is made when it is first needed. 20006; 20409 where that
 * user was disabled or given another role. Audit row "portal-link.create". */
mr_err portal_links_create(struct control *control, const struct link_maker *maker, mr_str body,
                           mr_arena *arena, struct link_made *ret_made,
                           struct refusal *ret_refusal);

/* The user, and "date_expires" and, where it is shown, the link under `name` ("invite_url"). */
mr_err link_made_write_json(const struct link_made *made, const char *name, mr_buf *out);
/* {"url","account_id","role","date_expires"} */
mr_err portal_link_write_json(const struct link_made *made, mr_buf *out);

#endif
