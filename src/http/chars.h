/* Which bytes may stand where in a head (RFC 9110 §5.5, §5.6.2; RFC 3986): one table of bits. For
 * the chapters of http/ that parse; pure. A byte without a bit it needs is refused, never skipped.
 */
#ifndef MR_HTTP_CHARS_H
#define MR_HTTP_CHARS_H

#include "base/str.h"

#include <string.h>

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

/* The same for HTTP_CHAR_FIELD, eight bytes at a time where all are printable ASCII: values are
 * long, tokens above all. */
static inline bool http_field_text_is(mr_str s) {
    const uint64_t ones = UINT64_C(0x0101010101010101);
    size_t i = 0;
    for (; s.len - i >= 8; i += 8) {
        uint64_t word;
        memcpy(&word, s.ptr + i, 8);
        uint64_t controls = (word - 0x20 * ones) & ~word;
        uint64_t deletes = ((word ^ 0x7f * ones) - ones) & ~(word ^ 0x7f * ones);
        if (((controls | deletes | word) & 0x80 * ones) != 0 &&
            !http_chars_are(mr_str_of(s.ptr + i, 8), HTTP_CHAR_FIELD)) {
            return false;
        }
    }
    return http_chars_are(mr_str_of(s.ptr + i, s.len - i), HTTP_CHAR_FIELD);
}

#endif
