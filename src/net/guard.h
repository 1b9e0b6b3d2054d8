/* The address guard: says of every address whether a destination may be reached there. Only this
 * chapter makes net_judged_addr, and only that can be dialled, so that no path leads around it but
 * the one that is named: net_guard_admit.
 * IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190), RFC 6052, 3056, 4380.
 *
 * One guard per loop; used by that loop's thread alone. */
#ifndef MR_NET_GUARD_H
#define MR_NET_GUARD_H

#include "base/err.h"
#include "base/str.h"
#include "net/address.h"

/* Blocks of `allow_networks` that a guard takes. */
#define NET_GUARD_ALLOW_MAX 256
/* Own interface addresses that a guard takes. With more it cannot be made, since an address that
 * was left out could be reached. */
#define NET_GUARD_OWN_MAX 1024

struct net_guard;

/* An address that the guard let pass. The content is the guard's: read it with the functions below.
 * A value not made here fails their assertion (it carries a seal over its bytes). */
struct net_judged_addr {
    uint64_t opaque_[4];
};

/* Why an address was refused: a sentence without its full stop that names the address and the
 * row of the registry. */
struct net_refusal {
    char text[256];
};

/* allow is copied. Reads the machine's own addresses (does not block for long: a netlink query).
 * MR_E_LIMIT where n_allow > NET_GUARD_ALLOW_MAX or the machine has more than NET_GUARD_OWN_MAX
 * addresses, MR_E_NOMEM, MR_E_IO when the interfaces cannot be
 * listed. */
mr_err net_guard_new(const struct net_cidr *allow, size_t n_allow, struct net_guard **ret_guard);
void net_guard_free(struct net_guard *guard);

/* Replaces the allowed blocks. The epoch changes. Errors as net_guard_new; on error nothing
 * changed. */
mr_err net_guard_set_allow(struct net_guard *guard, const struct net_cidr *allow, size_t n_allow);
/* Lists the interfaces again; the epoch changes when the addresses differ. On an error
 * the old list stays. */
mr_err net_guard_refresh(struct net_guard *guard);
/* For tests and command line: uses these addresses as the machine's own; no refresh is made any
 * more. */
mr_err net_guard_set_own(struct net_guard *guard, const os_addr *own, size_t n_own);

/* Changes whenever a judgement could come out otherwise than before; connections made under another
 * epoch are not used again. Starts at 1. */
uint64_t net_guard_epoch(const struct net_guard *guard);

/* Judges one address. MR_OK fills *ret_judged; MR_E_DENIED fills *ret_refusal (may be NULL). */
mr_err net_guard_judge(const struct net_guard *guard, const os_addr *addr,
                       struct net_judged_addr *ret_judged, struct net_refusal *ret_refusal);
/* Judges a whole answer: one refused address refuses all of it (MR_E_DENIED). MR_E_NOT_FOUND for
 * n == 0. ret_judged holds n places, in the same order. */
mr_err net_guard_judge_all(const struct net_guard *guard, const os_addr *addrs, size_t n,
                           struct net_judged_addr *ret_judged, struct net_refusal *ret_refusal);

/* Lets an address pass unjudged, because the operator named it: an endpoint of the configuration,
 * never anything that a customer can choose. MR_E_DENIED where it is no address. */
mr_err net_guard_admit(const os_addr *addr, struct net_judged_addr *ret_judged);

/* The address inside. Asserts the seal. */
os_addr net_judged_addr_get(const struct net_judged_addr *judged);

#endif
