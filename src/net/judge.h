/* Judges a URL that a customer gave, without any network: its form, its port, and where its host is
 * an address that address. What a name leads to is judged before each connect, by the client. */
#ifndef MR_NET_JUDGE_H
#define MR_NET_JUDGE_H

#include "net/guard.h"
#include "net/url.h"

enum net_verdict {
    NET_VERDICT_OK = 0,
    NET_VERDICT_MALFORMED, /* not a URL of the form that is taken */
    NET_VERDICT_REFUSED,   /* one that may not be reached */
};
#define NET_REASON_SIZE 256

/* NET_VERDICT_OK fills *ret_url (slices of text); else reason says why, without a full stop. The
 * guard's thread. */
enum net_verdict net_judge_url(const struct net_guard *guard, bool allow_http, mr_str text,
                               struct net_url *ret_url, char reason[static NET_REASON_SIZE]);

#endif
