/* The pages of links (/links/{token}): plain HTML with a form, without script, readable on a phone,
 * light and dark. The style stands in the page and is named by its hash in the policy, so that
 * nothing else can be styled or run. */
#ifndef MR_API_LINK_PAGE_H
#define MR_API_LINK_PAGE_H

#include "api/call.h"
#include "control/people/entry.h"

/* Answers with the form of this link. filled: what was typed before, or NULL; problem: why it was
 * not taken (then the status is `status`), or absent. */
void link_page_form(struct api_call *call, const struct entry_view *view,
                    const struct entry_form *filled, int status, mr_str problem);
/* Answers that it is done, and what comes next. cookie: the value of a Set-Cookie field, or absent.
 */
void link_page_done(struct api_call *call, const struct entry_view *view, mr_str cookie);
/* Answers with a problem alone. */
void link_page_problem(struct api_call *call, int status, mr_str problem, int retry_after_s);

#endif
