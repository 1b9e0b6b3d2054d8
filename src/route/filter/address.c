/* Internet addresses as text: RFC 4291 §2.2 for IPv6, four decimals for IPv4, networks behind a
 * slash. Written here because a pure room calls nothing of the system. See condition.h. */
#include "route/filter/condition.h"

/* Digits without leading zeros, up to max; moves *at behind them. */
static bool read_decimal(mr_str text, size_t *at, uint32_t max, uint32_t *ret_n) {
    size_t from = *at;
    uint32_t n = 0;
    while (*at < text.len && *at < from + 3 && text.ptr[*at] >= '0' && text.ptr[*at] <= '9') {
        n = n * 10 + (uint32_t)(text.ptr[(*at)++] - '0');
    }
    *ret_n = n;
    return *at > from && n <= max && (text.ptr[from] != '0' || *at == from + 1);
}

static bool read_ipv4(mr_str text, uint8_t address[static 4]) {
    size_t at = 0;
    for (size_t i = 0; i < 4; i++) {
        uint32_t n;
        if (i > 0 && (at == text.len || text.ptr[at++] != '.')) {
            return false;
        }
        if (!read_decimal(text, &at, 255, &n)) {
            return false;
        }
        address[i] = (uint8_t)n;
    }
    return at == text.len;
}

static int hex_of(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Up to four hexadecimal digits; moves *at behind them. */
static bool read_group(mr_str text, size_t *at, uint8_t group[static 2]) {
    size_t from = *at;
    uint32_t n = 0;
    while (*at < text.len && *at < from + 4 && hex_of(text.ptr[*at]) >= 0) {
        n = n << 4 | (uint32_t)hex_of(text.ptr[(*at)++]);
    }
    group[0] = (uint8_t)(n >> 8);
    group[1] = (uint8_t)n;
    return *at > from;
}

static bool read_ipv6(mr_str text, uint8_t address[static 16]) {
    size_t at = 0;
    size_t n = 0;          /* bytes read */
    size_t gap = SIZE_MAX; /* where "::" stands */
    memset(address, 0, 16);
    if (mr_str_starts(text, MR_STR("::"))) {
        gap = 0;
        at = 2;
    }
    while (at < text.len) {
        mr_str rest = mr_str_slice(text, at, text.len);
        size_t colon = mr_str_find_byte(rest, ':', 0);
        if (colon == SIZE_MAX && n <= 12 && read_ipv4(rest, address + n)) {
            n += 4;
            break;
        }
        if (n == 16 || !read_group(text, &at, address + n)) {
            return false;
        }
        n += 2;
        if (at == text.len) {
            break;
        }
        if (text.ptr[at++] != ':' || at == text.len) {
            return false;
        }
        if (text.ptr[at] == ':') {
            if (gap != SIZE_MAX) {
                return false;
            }
            gap = n;
            at++;
        }
    }
    if (gap == SIZE_MAX) {
        return n == 16;
    }
    if (n > 14) {
        return false;
    }
    memmove(address + 16 - (n - gap), address + gap, n - gap);
    memset(address + gap, 0, 16 - n);
    return true;
}

bool address_read(mr_str text, uint8_t address[static 16]) {
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    memcpy(address, mapped, sizeof mapped);
    return read_ipv4(text, address + 12) || read_ipv6(text, address);
}

bool condition_read_cidr(mr_str text, struct condition *ret_condition) {
    struct condition condition = {.kind = CONDITION_CIDR};
    size_t slash = mr_str_find_byte(text, '/', 0);
    uint32_t bits;
    size_t at = slash + 1;
    if (slash == SIZE_MAX || !address_read(mr_str_slice(text, 0, slash), condition.address)) {
        return false;
    }
    bool is_ipv4 = mr_str_find_byte(text, ':', 0) == SIZE_MAX;
    if (!read_decimal(text, &at, is_ipv4 ? 32 : 128, &bits) || at != text.len) {
        return false;
    }
    condition.prefix_bits = (uint8_t)(is_ipv4 ? 96 + bits : bits);
    *ret_condition = condition;
    return true;
}
