/* Callbacks on their way: for one worker, all that its accounts have pending, in lanes by account
 * and host. A pure state machine like a destination's lane: inputs are functions, actions are calls
 * of the hooks, time is given.
 *
 *   callback_add ──▶ waiting ──callback_decide──▶ in flight ──callback_on_result──▶ over
 *       │               ▲                             │
 *       ▼               │ due                         ▼ failed, may be sent once more
 *    backlog ──lane──▶──┴───────────────────────── resting
 *
 * A lane belongs to (account, scheme, host, port). It is made when the first callback comes and
 * reclaimed when none is left. An account has at most CALLBACK_LANES_MAX of them; callbacks of
 * further hosts wait in the account's backlog until one is reclaimed.
 *
 * A lane is trusted when its host's last answer was one, of whatever status but those that are
 * tried again; a new one is not yet. What is not trusted has one request in flight and shares
 * bounds (callback_flying_…), so hanging hosts cost those that answer nothing.
 *
 * Conservation: each callback given to callback_add or callback_restore is in exactly one place:
 * waiting, resting, in flight, in a backlog; it leaves by a record that ends it and by nothing
 * else.
 *
 * One thread. Hooks are called inside the functions named and must not call the same set. */
#ifndef MR_DELIVER_CALLBACK_H
#define MR_DELIVER_CALLBACK_H

#include "base/list.h"
#include "deliver/lane.h"

#define CALLBACK_ATTEMPTS_MAX 2
#define CALLBACK_PAUSE_MS     1000 /* between them */
#define CALLBACK_AGAIN_MS     20   /* after nothing could be sent */
#define CALLBACK_WINDOW_MAX   8    /* in flight to one host */
#define CALLBACK_LANES_MAX    64   /* of one account */
#define CALLBACK_KEY_MAX      272  /* "https://" and 253 bytes of host, ":65535" */

struct callback_lane;
struct callback_account;

/* Where a callback is. */
enum callback_place {
    CALLBACK_BACKLOG = 0, /* of its account: there is no lane for it */
    CALLBACK_WAITING,     /* in its lane */
    CALLBACK_RESTING,     /* until due */
    CALLBACK_FLYING,
};

/* A pending callback; one block with its texts. Read only for others. */
struct callback {
    mr_list node;
    struct callback_account *account;
    struct callback_lane *lane; /* NULL in the backlog */
    enum callback_place place;
    uint8_t attempts; /* spent */
    uint8_t method, content;
    bool is_untrusted; /* it flies as such */
    uint32_t account_number;
    uint32_t size; /* the caller's */
    uint64_t pos;
    uint8_t id[16];
    mr_mono due;  /* RESTING */
    mr_mono sent; /* FLYING */
    int64_t sent_ms;
    mr_str key; /* of its lane: scheme, host, port, as the caller spells them */
    mr_str url, body;
    void *user; /* the caller's */
};

/* What callback_add copies. */
struct callback_spec {
    uint32_t account;
    uint64_t pos;
    const uint8_t *id; /* 16 bytes */
    uint32_t size;     /* kept with it */
    uint8_t method, content;
    mr_str key; /* ≤ CALLBACK_KEY_MAX */
    mr_str url, body;
};

/* What an attempt came to; the callback is over unless it is a RETRY. */
enum callback_record_kind {
    CALLBACK_DELIVERED = 0,
    CALLBACK_RETRY,
    CALLBACK_FAILED,
};
struct callback_record {
    uint8_t kind;   /* enum callback_record_kind */
    uint8_t reason; /* enum lane_reason; NONE where delivered */
    uint8_t attempt;
    uint16_t status;
    uint32_t duration_ms;
    int64_t at_ms;  /* wall: when the attempt began */
    int64_t due_ms; /* wall; RETRY */
};

struct callback_hooks {
    void *ctx;
    /* From callback_decide: send it. Later, not from inside, callback_on_result. */
    void (*send)(void *ctx, struct callback *callback);
    /* From callback_on_result: to be journaled. */
    void (*record)(void *ctx, const struct callback *callback,
                   const struct callback_record *record);
};

#define CALLBACK_SLOTS 256

/* All of one worker. Memory of the caller's. */
struct callback_set {
    struct callback_hooks hooks;
    uint32_t *credits; /* outcomes that may still be promised; one is taken by each request */
    uint32_t flying_max;
    bool closed; /* nothing is sent any more */
    /* the set's own */
    mr_list ready;   /* lanes that may send, oldest first */
    mr_list held;    /* lanes that wait for the share of those not trusted */
    mr_list resting; /* callbacks by due time */
    struct callback_account *accounts[CALLBACK_SLOTS]; /* chains by number */
    uint32_t n;                                        /* callbacks */
    uint32_t n_lanes, n_accounts;
    uint32_t flying;
    uint32_t untrusted; /* of flying */
};

/* flying_max: requests in flight, ≥ 1. */
void callback_set_init(struct callback_set *set, const struct callback_hooks *hooks,
                       uint32_t *credits, uint32_t flying_max);
/* Frees everything. None may be in flight. */
void callback_set_done(struct callback_set *set);

/* Shares of flying_max: of one account, of lanes that are not trusted, and of both at once. */
static inline uint32_t callback_flying_account(const struct callback_set *set) {
    return set->flying_max / 2 + 1;
}
static inline uint32_t callback_flying_untrusted(const struct callback_set *set) {
    return set->flying_max - set->flying_max / 4;
}
static inline uint32_t callback_flying_account_untrusted(const struct callback_set *set) {
    return set->flying_max / 4 + 1;
}

/* A callback became durable. MR_E_NOMEM: nothing changed. */
mr_err callback_add(struct callback_set *set, const struct callback_spec *spec);
/* At start: one with `attempts` (below CALLBACK_ATTEMPTS_MAX) spent and, where there are any, due
 * at due_ms (wall; no later than the pause from now). MR_E_NOMEM. */
mr_err callback_restore(struct callback_set *set, const struct callback_spec *spec,
                        uint8_t attempts, int64_t due_ms, struct lane_now now);
/* Sends what may be sent now. */
void callback_decide(struct callback_set *set, struct lane_now now);
/* When to decide again at the latest. */
mr_mono callback_deadline(const struct callback_set *set);
/* The request ended. CANCELLED: nothing was sent, no attempt is spent. The callback is gone
 * afterwards where its record ended it. */
void callback_on_result(struct callback_set *set, struct callback *callback, struct lane_now now,
                        const struct lane_result *result);
/* Counts everything and asserts the invariants. O(all). */
void callback_assert_valid(const struct callback_set *set);

#endif
