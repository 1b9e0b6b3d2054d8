/* Numbers from text, hex, base64 in, ULIDs, varints. See num.h.
 *
 * Everything here reads text that strangers wrote, so each reader accepts one spelling only: no
 * sign where none is stated, no white space, no second way to pad. A result is written only when
 * the whole text was good; buffers that are appended to are left as they were on failure. */
#include "base/num.h"

#define BASE64_NOT_ONE 0xFFu

mr_err mr_u64_parse(mr_str text, uint64_t min, uint64_t max, uint64_t *ret_n) {
    uint64_t n = 0;
    bool over = false;
    if (text.len == 0) {
        return MR_ERR(MR_E_INVALID);
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c < '0' || c > '9') {
            return MR_ERR(MR_E_INVALID);
        }
        over = over || __builtin_mul_overflow(n, 10, &n) ||
               __builtin_add_overflow(n, (uint64_t)(c - '0'), &n);
    }
    if (over || n < min || n > max) {
        return MR_ERR(MR_E_RANGE);
    }
    *ret_n = n;
    return MR_OK;
}

mr_err mr_i64_parse(mr_str text, int64_t min, int64_t max, int64_t *ret_n) {
    bool negative = text.len > 0 && text.ptr[0] == '-';
    uint64_t magnitude;
    MR_TRY(mr_u64_parse(negative ? mr_str_slice(text, 1, text.len) : text, 0,
                        (uint64_t)INT64_MAX + (negative ? 1 : 0), &magnitude));
    /* Conversion of the two's complement is what gcc and clang both define. */
    int64_t n = (int64_t)(negative ? 0 - magnitude : magnitude);
    if (n < min || n > max) {
        return MR_ERR(MR_E_RANGE);
    }
    *ret_n = n;
    return MR_OK;
}

static const char hex_digits[] = "0123456789abcdef";

void mr_hex_encode(const void *bytes, size_t n, char *out) {
    const uint8_t *from = bytes;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = hex_digits[from[i] >> 4];
        out[2 * i + 1] = hex_digits[from[i] & 15];
    }
}

/* 0–15, or 16 for what is no hex digit. */
static unsigned hex_value(char c) {
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    if (c >= 'a' && c <= 'f') {
        return (unsigned)(c - 'a') + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return (unsigned)(c - 'A') + 10;
    }
    return 16;
}

mr_err mr_hex_decode(mr_str text, void *out, size_t n) {
    uint8_t *to = out;
    if (text.len % 2 != 0 || text.len / 2 != n) {
        return MR_ERR(MR_E_INVALID);
    }
    for (size_t i = 0; i < text.len; i++) {
        if (hex_value(text.ptr[i]) > 15) {
            return MR_ERR(MR_E_INVALID);
        }
    }
    for (size_t i = 0; i < n; i++) {
        to[i] = (uint8_t)(hex_value(text.ptr[2 * i]) << 4 | hex_value(text.ptr[2 * i + 1]));
    }
    return MR_OK;
}

static unsigned base64_value(char c, char digit_62, char digit_63) {
    if (c >= 'A' && c <= 'Z') {
        return (unsigned)(c - 'A');
    }
    if (c >= 'a' && c <= 'z') {
        return (unsigned)(c - 'a') + 26;
    }
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0') + 52;
    }
    return c == digit_62 ? 62 : c == digit_63 ? 63 : BASE64_NOT_ONE;
}

/* Decodes digits without padding into out. */
static mr_err base64_decode(mr_str digits, char digit_62, char digit_63, mr_buf *out) {
    size_t rest = digits.len % 4;
    if (rest == 1) {
        return MR_ERR(MR_E_INVALID);
    }
    size_t size = digits.len / 4 * 3 + (rest == 0 ? 0 : rest - 1);
    char *to;
    if (size == 0) {
        return MR_OK;
    }
    MR_TRY(mr_buf_reserve(out, size, &to));
    uint32_t group = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < digits.len; i++) {
        unsigned value = base64_value(digits.ptr[i], digit_62, digit_63);
        if (value == BASE64_NOT_ONE) {
            return MR_ERR(MR_E_INVALID);
        }
        group = group << 6 | value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            *to++ = (char)(uint8_t)(group >> bits);
        }
    }
    if ((group & ((1u << bits) - 1)) != 0) {
        return MR_ERR(MR_E_INVALID);
    }
    mr_buf_commit(out, size);
    return MR_OK;
}

mr_err mr_base64_decode(mr_str text, mr_buf *out) {
    if (text.len % 4 != 0) {
        return MR_ERR(MR_E_INVALID);
    }
    for (int i = 0; i < 2 && text.len > 0 && text.ptr[text.len - 1] == '='; i++) {
        text.len--;
    }
    return base64_decode(text, '+', '/', out);
}

mr_err mr_base64url_decode(mr_str text, mr_buf *out) {
    return base64_decode(text, '-', '_', out);
}

/* Crockford's alphabet: no i, l, o, u. */
static const char ulid_digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

void mr_ulid_format(mr_wall now, const uint8_t random[static 10], char out[static MR_ULID_LEN]) {
    uint64_t ms = (uint64_t)mr_wall_ms(now);
    for (size_t i = 10; i-- > 0;) {
        out[i] = ulid_digits[ms & 31];
        ms >>= 5;
    }
    /* The first digit has 3 bits, as 48 bits fill 10 digits of 5 from the right. */
    out[0] = ulid_digits[(uint64_t)mr_wall_ms(now) >> 45 & 7];
    for (size_t half = 0; half < 2; half++) {
        uint64_t bits = 0;
        for (size_t i = 0; i < 5; i++) {
            bits = bits << 8 | random[half * 5 + i];
        }
        for (size_t i = 8; i-- > 0;) {
            out[10 + half * 8 + i] = ulid_digits[bits & 31];
            bits >>= 5;
        }
    }
}

bool mr_ulid_is_valid(mr_str text) {
    if (text.len != MR_ULID_LEN || text.ptr[0] < '0' || text.ptr[0] > '7') {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool letter = c >= 'a' && c <= 'z' && c != 'i' && c != 'l' && c != 'o' && c != 'u';
        if (!letter && (c < '0' || c > '9')) {
            return false;
        }
    }
    return true;
}

size_t mr_varint_put(uint8_t *at, uint64_t n) {
    size_t len = 0;
    while (n >= 0x80) {
        at[len++] = (uint8_t)(n | 0x80);
        n >>= 7;
    }
    at[len++] = (uint8_t)n;
    return len;
}

mr_err mr_varint_get(const uint8_t **at, const uint8_t *end, uint64_t *ret_n) {
    const uint8_t *p = *at;
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (p == end) {
            return MR_ERR(MR_E_INVALID);
        }
        uint64_t bits = *p & 0x7F;
        if (shift == 63 && bits > 1) {
            return MR_ERR(MR_E_INVALID);
        }
        n |= bits << shift;
        if ((*p++ & 0x80) == 0) {
            *at = p;
            *ret_n = n;
            return MR_OK;
        }
    }
    return MR_ERR(MR_E_INVALID);
}
