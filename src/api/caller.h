/* For the API's own files: how a call came, beside what api_check_caller (api.h) says of it. */
#ifndef MR_API_CALLER_H
#define MR_API_CALLER_H

#include "api/api.h"

/* What the refusal tells people. */
const char *api_verdict_text(enum api_verdict verdict);
/* Where the client is, beyond the proxies that are trusted (proxies.h): the address by which
 * attempts are slowed, and that sessions and the audit log tell. */
void api_client_address(const struct api *api, const struct http_exchange *ex,
                        char out[static OS_ADDR_TEXT_SIZE]);
/* Over HTTPS (also where a proxy in front of us ends it: public_url says so) or from this machine:
 * the only ways on which a session's cookie is given or taken. */
bool api_way_is_private(const struct api *api, const struct http_exchange *ex);
/* Origin and Sec-Fetch-Site, where sent, do not tell of another site. */
bool api_way_is_own(const struct api *api, const struct http_exchange *ex);
/* How many session cookies came; the value of the last one. */
size_t api_cookie_find(const struct http_exchange *ex, mr_str *ret_value);

/* For the live view (tail.h), which outlasts the check of its call; ctx is the api. */
bool api_may_still_read(void *ctx, const struct tail_caller *caller);

#endif
