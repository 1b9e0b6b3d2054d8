/* Private to control/people/: what invites, resets and portal links share. */
#ifndef MR_CONTROL_PEOPLE_MAKERS_H
#define MR_CONTROL_PEOPLE_MAKERS_H

#include "control/people/invites.h"
#include "control/people/links.h"

/* 20006 where the role, so restricted, has rights that the maker lacks. */
mr_err maker_judge(const struct link_maker *maker, enum auth_role role, mr_str products,
                   struct refusal *ret_refusal);
/* The same for a link that makes whoever has it this user: also where it is the Owner of the
 * maker's own account. */
mr_err maker_judge_user(const struct link_maker *maker, const struct user_view *user,
                        struct refusal *ret_refusal);
/* Adds the audit row, with the user's e-mail and role. */
mr_err maker_audit(struct control *control, const struct user_view *user, const char *action);
/* Inside a change: maker_link; then mails the link to made->user, where mail is configured, and
 * nobody else gets it: made->url is absent then. */
mr_err maker_tell(struct control *control, const struct link_maker *maker, enum link_kind kind,
                  mr_arena *arena, struct link_made *made, struct refusal *ret_refusal);
/* Inside a change: makes the link for made->user, its URL in arena. */
mr_err maker_link(struct control *control, const struct link_maker *maker, enum link_kind kind,
                  mr_str detail, mr_arena *arena, struct link_made *made);

#endif
