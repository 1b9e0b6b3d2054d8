/* Makes a TCP connection to one of up to four judged addresses: families alternate, a further
 * attempt starts every 250 ms or when one fails, the first to connect wins, the others are closed
 * (RFC 8305). Takes nothing but what the guard let pass.
 *
 * Used by its loop's thread alone. */
#ifndef MR_NET_DIAL_H
#define MR_NET_DIAL_H

#include "base/time.h"
#include "loop/loop.h"
#include "net/guard.h"

#define NET_DIAL_ADDRS_MAX  4
#define NET_DIAL_STAGGER_MS 250

struct net_dial;

struct net_dial_result {
    int fd;                /* non-blocking, TCP_NODELAY; the callee's to close. -1 on failure */
    os_addr peer;          /* connected to, or the last that failed */
    bool is_timeout;       /* the deadline passed first */
    bool is_no_descriptor; /* the process or the system has no descriptor left */
    int error;             /* errno of the last failure; 0 on success and timeout */
    const char *text;   /* a sentence without its full stop; "" on success. Valid in the callback */
    int64_t connect_ns; /* since the start */
};

struct net_dial_try {
    struct loop_io io;
    os_addr addr;
    struct net_dial *dial;
    bool is_open;
};

/* The caller's memory, from net_dial_start until on_done has been entered or it is cancelled.
 * Members are this chapter's. */
struct net_dial {
    struct loop *loop;
    void (*on_done)(struct net_dial *dial, const struct net_dial_result *result);
    struct net_dial_try tries[NET_DIAL_ADDRS_MAX];
    uint32_t n_tries;   /* addresses to try, in order */
    uint32_t n_started; /* of these */
    uint32_t n_open;    /* attempts under way */
    struct loop_timer stagger;
    struct loop_timer deadline;
    struct loop_task task; /* a failure found at once is told later */
    mr_mono started;
    mr_mono due;
    os_addr last_peer;
    int last_error;
    uint8_t state;
    char text[224];
};

/* Zero-initialise dial before its first use. addrs (n ≥ 1) are copied; of more than four the first
 * of each family are taken in turn. on_done comes later, once. */
void net_dial_start(struct net_dial *dial, struct loop *loop, const struct net_judged_addr *addrs,
                    size_t n, mr_mono deadline,
                    void (*on_done)(struct net_dial *dial, const struct net_dial_result *result));
/* Closes what was opened; on_done is not called any more; harmless where nothing is under way. */
void net_dial_cancel(struct net_dial *dial);

/* "connection refused", "no route to the host"…: what errno means to the owner of a destination. */
const char *net_error_text(int error);

#endif
