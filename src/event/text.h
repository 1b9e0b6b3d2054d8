/* Rules for the texts of attributes: media types, characters, base64. Inside of event/.
 * Nothing allocates. */
#ifndef MR_EVENT_TEXT_H
#define MR_EVENT_TEXT_H

#include "base/str.h"

/* A media type taken apart (RFC 9110 §8.3.1); slices of the text. */
struct event_media {
    mr_str type;    /* "application" */
    mr_str subtype; /* "json" */
    mr_str charset; /* value of the parameter, without quotes; absent when there is none */
};

/* False where text is no media type: type/subtype, then parameters with token or quoted values, all
 * in printable ASCII. */
bool event_media_parse(mr_str text, struct event_media *ret_media);
bool event_media_is(const struct event_media *media, const char *type, const char *subtype);
/* …/json or …+json. */
bool event_media_is_json(const struct event_media *media);
/* No charset, or one that UTF-8 text satisfies: utf-8, utf8, us-ascii. */
bool event_media_is_utf8(const struct event_media *media);

/* CloudEvents §3.1's String: valid UTF-8 without U+0000–U+001F, U+007F–U+009F, and without
 * code points that Unicode reserves as noncharacters. text must be valid UTF-8. */
bool event_text_has_only_allowed(mr_str text);
/* RFC 4648 with padding, as mr_base64_decode accepts it. */
bool event_text_is_base64(mr_str text);

#endif
