/* Names to addresses without blocking: c-ares under the loop, /etc/hosts included, no search
 * domains, no sorting, a bounded cache (TTL 5 s to 300 s, failures 5 s), one query for all who ask
 * for the same name at once. Answers are raw: whoever connects has them judged first (net/guard.h).
 *
 * One per loop; used by that loop's thread alone. */
#ifndef MR_NET_NAMES_H
#define MR_NET_NAMES_H

#include "base/list.h"
#include "base/str.h"
#include "base/time.h"
#include "loop/loop.h"
#include "os/socket.h"

/* Addresses kept of one answer; a name with more is refused, since an address that was left out
 * could not be judged. */
#define NET_NAMES_ADDRS_MAX 32

enum net_names_problem {
    NET_NAMES_OK = 0,
    NET_NAMES_NOT_FOUND, /* the name does not exist, or has no address */
    NET_NAMES_SERVER,    /* the name server failed or refused */
    NET_NAMES_TIMEOUT,   /* no answer before the lookup's deadline */
    NET_NAMES_INVALID,   /* not a name, or an answer with more than NET_NAMES_ADDRS_MAX addresses */
    NET_NAMES_BUSY,      /* too many lookups under way, or no memory */
};

struct net_names_opts {
    uint32_t entries_max;  /* cached names; 0: 4096 */
    uint32_t lookups_max;  /* queries under way; 0: 1024 */
    uint32_t ttl_min_s;    /* 0: 5 */
    uint32_t ttl_max_s;    /* 0: 300 */
    uint32_t ttl_failed_s; /* 0: 5 */
    const char *servers;   /* "127.0.0.1:5353,…"; NULL: the system's (resolv.conf) */
};

struct net_names;
struct net_lookup;

struct net_names_answer {
    enum net_names_problem problem;
    const os_addr *addrs; /* valid during the callback; the lookup's port is filled in */
    size_t n_addrs;
    const char *text; /* a sentence without its full stop about the problem; "" when OK. Static */
    bool from_cache;  /* or a literal */
};

/* The caller's memory, from net_names_resolve until on_done has been entered, or it is cancelled.
 * Members are this chapter's. */
struct net_lookup {
    mr_list node; /* in its entry's waiting, or in names->ready */
    void (*on_done)(struct net_lookup *lookup, const struct net_names_answer *answer);
    struct net_names *names;       /* NULL: not under way */
    struct net_names_entry *entry; /* NULL: literal, or problem says why not */
    struct loop_timer deadline;
    os_addr literal;
    uint16_t port;
    uint8_t problem; /* enum net_names_problem */
    bool is_cached;  /* no query was made for it */
};

/* opts may be NULL. The resolver's settings (resolv.conf) are read here, once. MR_E_NOMEM; MR_E_IO
 * where they cannot be read; MR_E_INVALID for bad opts->servers. */
mr_err net_names_new(struct loop *loop, const struct net_names_opts *opts,
                     struct net_names **ret_names);
/* Lookups under way end without a callback. NULL is fine. Not inside on_done. */
void net_names_free(struct net_names *names);

/* Zero-initialise lookup before its first use. host is copied. A literal address answers itself.
 * on_done comes later, once, on the loop's thread, at the latest at deadline. */
void net_names_resolve(struct net_names *names, struct net_lookup *lookup, mr_str host,
                       uint16_t port, mr_mono deadline,
                       void (*on_done)(struct net_lookup *lookup,
                                       const struct net_names_answer *answer));
/* on_done is not called any more; harmless where no lookup is under way. */
void net_lookup_cancel(struct net_lookup *lookup);
/* Forgets all cached answers (settings or the resolver changed). */
void net_names_flush(struct net_names *names);

#endif
