/* What every answer tells browsers, whatever it holds: that it is what its content type says, that
 * it loads nothing, stands in no frame, and gives no address away; over HTTPS, that it shall be
 * asked for by HTTPS (ASVS 5.0, V3.4). An answer that has a field of that name already, a page with
 * a style, keeps its own. */
#include "api/call.h"

#define LITERAL(text)                                                                              \
    { (text), sizeof(text) - 1 }

static const mr_field always[] = {
    {LITERAL("x-content-type-options"), LITERAL("nosniff")},
    {LITERAL("content-security-policy"),
     LITERAL("default-src 'none'; base-uri 'none'; frame-ancestors 'none'")},
    {LITERAL("referrer-policy"), LITERAL("no-referrer")},
};
static const mr_field over_tls = {LITERAL("strict-transport-security"),
                                  LITERAL("max-age=63072000; includeSubDomains")};

_Static_assert(sizeof always / sizeof always[0] + 1 == API_PROTECTION_FIELDS, "as many as told");

size_t api_protect(const struct api_call *call, const mr_field *own, size_t n_own,
                   mr_field *fields) {
    const mr_fields present = {own, n_own};
    size_t n = 0;
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++) {
        if (mr_fields_count(present, always[i].name) == 0) {
            fields[n++] = always[i];
        }
    }
    if (call->ex->is_tls || mr_str_starts(call->api->public_url, MR_STR("https://"))) {
        fields[n++] = over_tls;
    }
    return n;
}
