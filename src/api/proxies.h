/* Whose call it is where a proxy stands in between: the setting `trusted_proxies`. Only what a
 * trusted peer says is believed, so a client cannot choose its address. Pure functions. */
#ifndef MR_API_PROXIES_H
#define MR_API_PROXIES_H

#include "http/exchange.h"
#include "net/address.h"

#define PROXIES_MAX 256 /* blocks of the setting */
/* Elements of X-Forwarded-For that are looked at: proxies in a row. */
#define PROXIES_HOPS_MAX 16

struct proxies {
    const struct net_cidr *ptr; /* not owned */
    size_t n;
};

struct proxies_origin {
    os_addr client; /* port 0 where a proxy told it; an IPv4 address in IPv6 stands as IPv4 */
    /* The client is on this machine, as far as anybody can know: client and peer are loopback, and
     * nothing was forwarded by a peer that is not trusted, nor in a way that was not understood. */
    bool is_local;
};
/* The client is the rightmost element of X-Forwarded-For that is not trusted, where the peer is;
 * the leftmost one where all are. At an element that is no address, and after PROXIES_HOPS_MAX, the
 * last proxy that was understood counts: no client can choose that, and those behind it share it.
 * An element is an address, or "address:port" with brackets around IPv6. */
struct proxies_origin proxies_origin_of(const struct proxies *proxies,
                                        const struct http_exchange *ex);

#endif
