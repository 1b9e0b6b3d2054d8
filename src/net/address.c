/* Blocks of addresses.
 *
 * Text is read strictly: an address has exactly one spelling per family here, because every second
 * spelling (octal, hexadecimal, short) is a way to say one address to the judge and another to the
 * dialler. A block whose host bits are set is refused: `10.1.0.0/8` is a slip of the hand, and a
 * guess would open either too much or too little.
 *
 * Invariant: bytes behind the family's size are zero, and so are the host bits of a block, so
 * values compare with memcmp. */
#include "net/address.h"

#include "base/num.h"

#include <string.h>

bool net_addr_same_host(const os_addr *a, const os_addr *b) {
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

/* True where the first n bits agree. */
static bool same_bits(const uint8_t *a, const uint8_t *b, size_t n) {
    if (memcmp(a, b, n / 8) != 0) {
        return false;
    }
    unsigned rest = (unsigned)(n % 8);
    return rest == 0 || ((a[n / 8] ^ b[n / 8]) >> (8 - rest)) == 0;
}

mr_err net_cidr_parse(mr_str text, struct net_cidr *ret_cidr) {
    mr_str rest = text;
    mr_str host;
    os_addr addr;
    if (!mr_str_split(&rest, '/', &host) || mr_is_err(os_addr_parse_ip(host, &addr))) {
        return MR_ERR(MR_E_INVALID);
    }
    uint64_t bits = addr.family == OS_FAMILY_V4 ? 32 : 128;
    if (!mr_str_is_absent(rest)) {
        bool has_zero = rest.len > 1 && rest.ptr[0] == '0';
        if (has_zero || mr_is_err(mr_u64_parse(rest, 0, bits, &bits))) {
            return MR_ERR(MR_E_INVALID);
        }
    }
    struct net_cidr cidr = {.family = addr.family, .prefix_len = (uint8_t)bits};
    for (size_t i = 0; i < sizeof cidr.ip; i++) {
        size_t first = i * 8;
        unsigned keep = first >= bits ? 0 : (bits - first >= 8 ? 8 : (unsigned)(bits - first));
        cidr.ip[i] = (uint8_t)(addr.ip[i] & (0xff00U >> keep));
    }
    if (memcmp(cidr.ip, addr.ip, sizeof cidr.ip) != 0) {
        return MR_ERR(MR_E_INVALID);
    }
    *ret_cidr = cidr;
    return MR_OK;
}

bool net_cidr_contains(const struct net_cidr *cidr, const os_addr *addr) {
    return cidr->family == addr->family && same_bits(cidr->ip, addr->ip, cidr->prefix_len);
}
