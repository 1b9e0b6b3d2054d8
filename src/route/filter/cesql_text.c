/* Characters for CloudEvents SQL: counted, cut, trimmed and changed in case. A character is a code
 * point ("String: Sequence of Unicode characters"), a text is valid UTF-8; bytes that are not do no
 * harm.
 *
 * LOWER and UPPER follow Unicode's full mappings without those that need a language or what stands
 * around (a final sigma becomes σ). */
#include "route/filter/cesql.h"
#include "route/filter/cesql_case.h"

static size_t char_bytes(mr_str text, size_t at) {
    size_t end = at + 1;
    while (end < text.len && ((unsigned char)text.ptr[end] & 0xc0) == 0x80) {
        end++;
    }
    return end - at;
}

size_t cesql_length(mr_str text) {
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        n += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    }
    return n;
}

size_t cesql_offset(mr_str text, size_t n) {
    size_t at = 0;
    while (n > 0 && at < text.len) {
        at += char_bytes(text, at);
        n--;
    }
    return at;
}

/* The character of `bytes` bytes there; damaged: U+FFFD. */
static uint32_t decode(const char *ptr, size_t bytes) {
    static const uint8_t first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    if (bytes > 4) {
        return 0xfffd;
    }
    uint32_t c = (unsigned char)ptr[0] & first_bits[bytes];
    for (size_t i = 1; i < bytes; i++) {
        c = c << 6 | ((unsigned char)ptr[i] & 0x3f);
    }
    return c;
}

static size_t encode(uint32_t c, char out[4]) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t marks[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    out[0] = (char)(marks[n] | c);
    return n;
}

/* Property White_Space. */
static bool is_space(uint32_t c) {
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

mr_str cesql_trim(mr_str text) {
    size_t from = 0, to = text.len;
    while (from < to) {
        size_t n = char_bytes(text, from);
        if (!is_space(decode(text.ptr + from, n))) {
            break;
        }
        from += n;
    }
    while (to > from) {
        size_t at = to - 1;
        while (at > from && ((unsigned char)text.ptr[at] & 0xc0) == 0x80) {
            at--;
        }
        if (!is_space(decode(text.ptr + at, to - at))) {
            break;
        }
        to = at;
    }
    return mr_str_slice(text, from, to);
}

static uint32_t other_case(const struct case_range *ranges, size_t n, uint32_t c) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > ranges[middle].last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == n || c < ranges[low].first || (c - ranges[low].first) % ranges[low].stride != 0) {
        return c;
    }
    return (uint32_t)((int64_t)c + ranges[low].delta);
}

static const struct case_special *special_case(const struct case_special *specials, size_t n,
                                               uint32_t c) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > specials[middle].from) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < n && specials[low].from == c ? &specials[low] : NULL;
}

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* What one character becomes; up to 12 bytes. */
static size_t change_char(uint32_t c, bool to_upper, char out[12]) {
    const struct case_special *special =
        to_upper ? special_case(upper_specials, COUNT(upper_specials), c)
                 : special_case(lower_specials, COUNT(lower_specials), c);
    if (special == NULL) {
        return encode(to_upper ? other_case(upper_ranges, COUNT(upper_ranges), c)
                               : other_case(lower_ranges, COUNT(lower_ranges), c),
                      out);
    }
    size_t len = 0;
    for (size_t i = 0; i < COUNT(special->to) && special->to[i] != 0; i++) {
        len += encode(special->to[i], out + len);
    }
    return len;
}

size_t cesql_change_case(mr_str text, bool to_upper, char *out) {
    size_t len = 0;
    for (size_t at = 0; at < text.len;) {
        char changed[12];
        char c = text.ptr[at];
        size_t n = 1, bytes = char_bytes(text, at);
        if (((unsigned char)c & 0x80) == 0) {
            bool other = to_upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z';
            changed[0] = (char)(other ? c ^ 0x20 : c);
            bytes = 1;
        } else {
            n = change_char(decode(text.ptr + at, bytes), to_upper, changed);
        }
        if (out != NULL) {
            memcpy(out + len, changed, n);
        }
        len += n;
        at += bytes;
    }
    return len;
}
