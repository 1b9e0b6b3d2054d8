/* Strings by value. See str.h. */
#include "base/str.h"

static char fold(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

int mr_str_cmp(mr_str a, mr_str b) {
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n == 0 ? 0 : memcmp(a.ptr, b.ptr, n);
    if (order != 0) {
        return order;
    }
    return a.len < b.len ? -1 : a.len > b.len ? 1 : 0;
}

bool mr_str_eq_nocase(mr_str a, mr_str b) {
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (fold(a.ptr[i]) != fold(b.ptr[i])) {
            return false;
        }
    }
    return true;
}

bool mr_str_starts(mr_str s, mr_str prefix) {
    return s.len >= prefix.len && mr_str_eq(mr_str_slice(s, 0, prefix.len), prefix);
}

bool mr_str_ends(mr_str s, mr_str suffix) {
    return s.len >= suffix.len && mr_str_eq(mr_str_slice(s, s.len - suffix.len, s.len), suffix);
}

size_t mr_str_find_byte(mr_str s, char c, size_t from) {
    if (from >= s.len) {
        return SIZE_MAX;
    }
    const char *at = memchr(s.ptr + from, c, s.len - from);
    return at == NULL ? SIZE_MAX : (size_t)(at - s.ptr);
}

size_t mr_str_find(mr_str s, mr_str needle) {
    if (needle.len == 0) {
        return 0;
    }
    if (s.len < needle.len) {
        return SIZE_MAX;
    }
    const char *at = memmem(s.ptr, s.len, needle.ptr, needle.len);
    return at == NULL ? SIZE_MAX : (size_t)(at - s.ptr);
}

mr_str mr_str_head(mr_str s, size_t max) {
    size_t end = max;
    while (end > 0 && end < s.len && ((unsigned char)s.ptr[end] & 0xc0) == 0x80) {
        end--;
    }
    return mr_str_slice(s, 0, end);
}

mr_str mr_str_slice(mr_str s, size_t from, size_t to) {
    if (s.ptr == NULL) {
        return s;
    }
    if (to > s.len) {
        to = s.len;
    }
    if (from > to) {
        from = to;
    }
    return (mr_str){s.ptr + from, to - from};
}

mr_str mr_str_trim(mr_str s) {
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

bool mr_str_split(mr_str *rest, char sep, mr_str *ret_part) {
    if (rest->ptr == NULL) {
        return false;
    }
    size_t at = mr_str_find_byte(*rest, sep, 0);
    if (at == SIZE_MAX) {
        *ret_part = *rest;
        *rest = MR_STR_NONE;
        return true;
    }
    *ret_part = mr_str_slice(*rest, 0, at);
    *rest = mr_str_slice(*rest, at + 1, rest->len);
    return true;
}

/* Length of the valid sequence at p (1 to 4), or 0. */
static size_t utf8_sequence(const unsigned char *p, size_t left) {
    unsigned char c = p[0];
    size_t n;
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (c < 0x80) {
        return 1;
    } else if (c >= 0xC2 && c <= 0xDF) {
        n = 2;
    } else if (c >= 0xE0 && c <= 0xEF) {
        n = 3;
        low = c == 0xE0 ? 0xA0 : 0x80;
        high = c == 0xED ? 0x9F : 0xBF;
    } else if (c >= 0xF0 && c <= 0xF4) {
        n = 4;
        low = c == 0xF0 ? 0x90 : 0x80;
        high = c == 0xF4 ? 0x8F : 0xBF;
    } else {
        return 0;
    }
    if (left < n || p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < n; i++) {
        if (p[i] < 0x80 || p[i] > 0xBF) {
            return 0;
        }
    }
    return n;
}

bool mr_str_is_utf8(mr_str s) {
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t i = 0;
    while (i < s.len) {
        uint64_t word;
        if (s.len - i >= sizeof word) {
            memcpy(&word, p + i, sizeof word);
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof word;
                continue;
            }
        }
        size_t n = utf8_sequence(p + i, s.len - i);
        if (n == 0) {
            return false;
        }
        i += n;
    }
    return true;
}

bool mr_str_to_c(mr_str s, char *buf, size_t buf_size) {
    if (s.len >= buf_size) {
        if (buf_size > 0) {
            buf[0] = '\0';
        }
        return false;
    }
    if (s.len > 0) {
        memcpy(buf, s.ptr, s.len);
    }
    buf[s.len] = '\0';
    return true;
}

/* Mixes by multiplication and xor-shift, eight bytes at a time (the construction of murmur2-64). */
uint64_t mr_str_hash(mr_str s, uint64_t seed) {
    const uint64_t m = UINT64_C(0xc6a4a7935bd1e995);
    uint64_t h = seed ^ (s.len * m);
    size_t i = 0;
    for (; s.len - i >= 8; i += 8) {
        uint64_t k;
        memcpy(&k, s.ptr + i, 8);
        k *= m;
        k ^= k >> 47;
        k *= m;
        h ^= k;
        h *= m;
    }
    uint64_t tail = 0;
    if (i < s.len) {
        memcpy(&tail, s.ptr + i, s.len - i);
        h ^= tail;
        h *= m;
    }
    h ^= h >> 47;
    h *= m;
    h ^= h >> 47;
    return h;
}
