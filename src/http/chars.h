/* Which bytes may stand where in a head (RFC 9110 §5.5, §5.6.2; RFC 3986): one table of bits. For
 * the chapters of http/ that parse; pure. A byte without a bit it needs is refused, never skipped.
 */
#ifndef MR_HTTP_CHARS_H
#define MR_HTTP_CHARS_H

#include "base/str.h"

enum http_char {
    HTTP_CHAR_TOKEN = 1,  /* names of fields and methods */
    HTTP_CHAR_FIELD = 2,  /* values: visible, space, tab, bytes above 127 */
    HTTP_CHAR_TARGET = 4, /* request targets: visible ASCII but '#' */
    HTTP_CHAR_HOST = 8,   /* hosts with a port */
};

extern const uint8_t http_chars[256];

static inline bool http_char_is(char c, enum http_char kind) {
    return (http_chars[(uint8_t)c] & (unsigned)kind) != 0;
}
/* True where every byte has the bit; true for an empty text. */
static inline bool http_chars_are(mr_str s, enum http_char kind) {
    unsigned all = (unsigned)kind;
    for (size_t i = 0; i < s.len; i++) {
        all &= http_chars[(uint8_t)s.ptr[i]];
    }
    return all != 0;
}

#endif
