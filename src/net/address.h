/* Blocks of addresses (CIDR) and what else the address guard asks of an os_addr. Values only:
 * nothing here is owned. Pure functions, any thread. */
#ifndef MR_NET_ADDRESS_H
#define MR_NET_ADDRESS_H

#include "base/err.h"
#include "base/str.h"
#include "os/socket.h"

/* Addresses whose first prefix_len bits are those of ip; the bits behind are zero. */
struct net_cidr {
    uint8_t family;     /* enum os_family */
    uint8_t prefix_len; /* 0–32 or 0–128 */
    uint8_t ip[16];
};

/* Same family and address; port and scope do not count. */
bool net_addr_same_host(const os_addr *a, const os_addr *b);

/* "10.0.0.0/8", "fd00::/8", or a single address. Bits set behind the prefix: MR_E_INVALID, so that
 * a mistyped block is not silently another one. */
mr_err net_cidr_parse(mr_str text, struct net_cidr *ret_cidr);
bool net_cidr_contains(const struct net_cidr *cidr, const os_addr *addr);

#endif
