/* Credentials by name, fetched when asked for, kept until shortly before they end: one fetch in
 * flight per name, who asks meanwhile waits for it, who asks within the last minutes of the old
 * ones gets these and starts the fetch of the new. A pure state machine: time is given, fetching is
 * the owner's. One thread.
 *
 *            get                       fetched
 *   EMPTY ────────▶ FETCHING ───────────────────────▶ FRESH ◀─┐
 *     ▲  ▲              │ failed            renewal begins │   │ fetched
 *     │  └─ a while ─ FAILED                               ▼   │
 *     └──────────────── they ended ───────────────── RENEWING ─┘
 *
 * A failure is remembered for a short while, so that a role that cannot be assumed costs one call
 * per while and not one per request. A failed renewal leaves the old ones in use. */
#ifndef MR_SINK_AWS_CACHE_H
#define MR_SINK_AWS_CACHE_H

#include "base/list.h"
#include "base/time.h"
#include "sink/aws/credentials.h"

#define AWS_CACHE_ENTRIES_MAX 4096
#define AWS_CACHE_NAME_MAX    4096
#define AWS_CACHE_WAITING_MAX 65536
#define AWS_WHY_MAX           512
/* Left of their life when new ones are fetched: this, or a quarter of it where they live less. */
#define AWS_RENEW_MS   300000
#define AWS_MARGIN_MS  10000 /* with less left they count as ended */
#define AWS_REFUSED_MS 5000  /* how long a refusal is remembered */
#define AWS_TROUBLE_MS 1000  /* and any other failure */
#define AWS_IDLE_MS    7200000

enum aws_failure {
    AWS_FAILURE_NONE = 0,
    AWS_FAILURE_REFUSED,   /* the role cannot be assumed, or the caller is not known */
    AWS_FAILURE_THROTTLED, /* too many calls */
    AWS_FAILURE_TROUBLE,   /* no answer, or none that is understood */
    AWS_FAILURE_CANCELLED, /* this side is ending, or has no room */
};

struct aws_cache;

/* One name. Owned by the cache. */
struct aws_entry {
    mr_list node;
    struct aws_cache *cache;
    mr_str name;                         /* owned */
    struct aws_credentials *credentials; /* a reference; NULL */
    int64_t renew_ms;                    /* wall: from then on fetch new ones */
    bool is_fetching;
    enum aws_failure failure; /* of the last fetch, remembered until: */
    mr_mono failed_until;
    char why[AWS_WHY_MAX];
    mr_mono used;
    mr_list waiting; /* tickets */
};

/* The answer to who waited. credentials is a reference for the callee, or NULL: then failure and
 * why, which is valid during the call. */
struct aws_ticket {
    mr_list node;
    void (*on_done)(struct aws_ticket *ticket, struct aws_credentials *credentials,
                    enum aws_failure failure, const char *why);
};

struct aws_cache_hooks {
    void *ctx;
    /* Starts to fetch; aws_cache_fetched is called later, once. Anything but NONE, with *ret_why
     * (valid until the next call): nothing was started. */
    enum aws_failure (*fetch)(void *ctx, struct aws_entry *entry, const char **ret_why);
};

struct aws_cache {
    struct aws_cache_hooks hooks;
    mr_list entries; /* used last first */
    size_t n_entries;
    size_t n_waiting;
};

struct aws_now {
    mr_mono mono;
    int64_t wall_ms; /* of AWS's clock */
};

void aws_cache_init(struct aws_cache *cache, struct aws_cache_hooks hooks);
/* No ticket may wait and no fetch be under way. */
void aws_cache_done(struct aws_cache *cache);

enum aws_got {
    AWS_GOT_CREDENTIALS = 0, /* *ret_credentials, a reference for the caller */
    AWS_GOT_TICKET,          /* on_done comes later, once */
    AWS_GOT_FAILURE,         /* *ret_failure and *ret_why, valid until the next call */
};
/* ticket is the caller's memory until on_done or aws_ticket_cancel; its on_done is set. */
enum aws_got aws_cache_get(struct aws_cache *cache, mr_str name, struct aws_now now,
                           struct aws_ticket *ticket, struct aws_credentials **ret_credentials,
                           enum aws_failure *ret_failure, const char **ret_why);
/* Harmless where it does not wait. */
void aws_ticket_cancel(struct aws_cache *cache, struct aws_ticket *ticket);
/* How a fetch ended. Takes the reference of credentials; NULL: failure and why. Tells who waits. */
void aws_cache_fetched(struct aws_entry *entry, struct aws_credentials *credentials,
                       enum aws_failure failure, const char *why, struct aws_now now);
/* These are not taken any more by whom they are for: the next get fetches others, unless others are
 * there already. */
void aws_cache_reject(struct aws_cache *cache, mr_str name,
                      const struct aws_credentials *credentials);

#endif
