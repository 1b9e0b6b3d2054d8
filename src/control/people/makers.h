/* Private to control/people/: what invites, resets and portal links share. */
#ifndef MR_CONTROL_PEOPLE_MAKERS_H
#define MR_CONTROL_PEOPLE_MAKERS_H

#include "control/people/invites.h"
#include "control/people/links.h"

/* 20006 where the role, so restricted, has rights that the maker lacks. */
mr_err maker_judge(const struct link_maker *maker, enum auth_role role, mr_str products,
                   struct refusal *ret_refusal);
/* Inside a change: makes the link for made->user, its URL in arena. */
mr_err maker_link(struct control *control, const struct link_maker *maker, enum link_kind kind,
                  mr_str detail, mr_arena *arena, struct link_made *made);

#endif
