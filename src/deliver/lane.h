/* A lane: all that is owed to one destination and how it is sent there. A pure state machine:
 * inputs are functions, actions are calls of the hooks, time and random numbers are given. It holds
 * backlog, batcher, open requests, window, health; it knows no sockets, no journal, no clock.
 *
 *                 lane_on_event            lane_decide                  lane_on_result
 *   (durable) ───────────────▶ backlog ──────────────▶ in flight ──────────────────▶ delivered
 *                                                        ▲    │                        dead
 *                                                lane_decide  ▼ failed, split, cancelled
 *                                                       waiting (due time)
 *
 * Conservation: each delivery given to lane_on_event or lane_restore_* is in exactly one place:
 * backlog, an open request (in flight or waiting), or it left by a record of kind DELIVERED, DEAD
 * or DISCARDED, or by lane_settle, because such a record of someone else's names it. Nothing else
 * removes it.
 *
 * One thread. Hooks are called inside the functions named and must not call the same lane. */
#ifndef MR_DELIVER_LANE_H
#define MR_DELIVER_LANE_H

#include "base/list.h"
#include "base/time.h"
#include "deliver/backlog.h"
#include "deliver/policy.h"

/* Limits. */
#define LANE_BATCH_MAX            512 /* events in a request, whatever the settings ask */
#define LANE_KEYS_MAX             64  /* FIFOs by (key, origin); further ones share one */
#define LANE_ISOLATION_PER_MINUTE 16  /* extra requests while a batch is taken apart */
#define LANE_GENERATIONS_TO_PROBE 10
#define LANE_PROBE_MS_MIN         1000
#define LANE_PROBE_MS_MAX         60000
#define LANE_GATE_MS_MIN          1000 /* Retry-After, clamped */
#define LANE_GATE_MS_MAX          3600000
#define LANE_FREE_RETRY_MS        86400000           /* Retry-After spends no attempt for so long */
#define LANE_SINGLE_MS            3600000            /* batch_max 1 after two refused pairs */
#define LANE_FAILING_MS           INT64_C(432000000) /* 5 days: disabled */
#define LANE_BYTES_IN_FLIGHT_MAX  (8u << 20)
#define LANE_BYTES_SMALL          (256u << 10) /* may render while memory is past half */
#define LANE_BYTES_PER_TURN       (64u << 10)

/* A key says what may share a request: by convention (event type's number << 16) | schema version;
 * lane_key_type() is what discard by types compares. A lane that mixes (settings.mixes) puts
 * deliveries of all keys into one request and keeps each one's own beside its position. */
static inline uint64_t lane_key_make(uint64_t type_number, uint16_t version) {
    return type_number << 16 | version;
}
static inline uint16_t lane_key_version(uint64_t key) {
    return (uint16_t)(key & 0xFFFF);
}
static inline uint64_t lane_key_type(uint64_t key) {
    return key >> 16;
}

/* Both clocks, read once per turn. */
struct lane_now {
    mr_mono mono;
    mr_wall wall;
};

/* What the destination's row says; copied. */
struct lane_settings {
    bool enabled;
    bool mixes; /* deliveries of different keys share a request */
    uint8_t zero_[2];
    uint32_t batch_max;       /* 1 to LANE_BATCH_MAX; 1 for forms that hold one event */
    uint32_t batch_bytes_max; /* of the body, estimated from the stored sizes */
    uint32_t linger_ms;
    uint32_t rate_per_second; /* requests, attempts all counted; 0 = no limit */
    uint32_t concurrency_max; /* ≥ 1 */
    uint32_t form;            /* method, format, escaping: opaque here, binds new requests */
    uint64_t enabled_epoch; /* rises with each enabling and with nothing else; a lane that disabled
                               itself goes on only when it has risen */
    struct policy policy;
};

/* How an attempt ended. */
enum lane_result_kind {
    LANE_RESULT_STATUS = 0, /* an HTTP answer's head arrived in time: see status */
    LANE_RESULT_TIMEOUT = 1,
    LANE_RESULT_NAME = 2,    /* the name did not resolve */
    LANE_RESULT_ADDRESS = 3, /* refused address */
    LANE_RESULT_CONNECT = 4,
    LANE_RESULT_TLS = 5,
    LANE_RESULT_RESET = 6,     /* the connection died before an answer */
    LANE_RESULT_RESPONSE = 7,  /* the answer was not HTTP */
    LANE_RESULT_REQUEST = 8,   /* it could not be rendered or sent from here */
    LANE_RESULT_CANCELLED = 9, /* not one byte of it was sent: no attempt; nothing is recorded */
};

struct lane_result {
    uint8_t kind;    /* enum lane_result_kind */
    uint8_t reason;  /* enum lane_reason, where the sink knows better than kind and status; then the
                        failure is the destination's and says nothing of what was sent */
    uint16_t status; /* with STATUS: 100–599 */
    uint32_t zero2_;
    int64_t retry_after_ms; /* from the answer, unclamped; -1 = none */
};

/* How one event of an answered request fared. */
enum lane_item_kind {
    LANE_ITEM_OK = 0,
    LANE_ITEM_RETRY = 1,     /* failed: again, an attempt is spent */
    LANE_ITEM_THROTTLED = 2, /* too much at once: again, more slowly, no attempt spent for 24 h */
    LANE_ITEM_PERMANENT = 3, /* refused for good */
};
struct lane_item {
    uint8_t kind;
    uint8_t reason; /* enum lane_reason; NONE for OK */
};

/* Why an attempt failed or a delivery died. The numbers are those that the ledger stores. */
enum lane_reason {
    LANE_REASON_NONE = 0,
    LANE_REASON_STATUS = 1, /* an answer other than 2xx */
    LANE_REASON_TIMEOUT = 2,
    LANE_REASON_NAME = 3,
    LANE_REASON_ADDRESS = 4,
    LANE_REASON_CONNECT = 5,
    LANE_REASON_TLS = 6,
    LANE_REASON_REQUEST = 7,
    LANE_REASON_RESPONSE = 8,
    LANE_REASON_GONE = 9,        /* 410 */
    LANE_REASON_UNREADABLE = 11, /* its bytes are lost */
    LANE_REASON_RESET = 13,
    LANE_REASON_THROTTLED = 14, /* Retry-After, or a stream's limit: no attempt spent */
    LANE_REASON_REJECTED = 15,  /* one event of a batch refused */
    LANE_REASON_STREAM_MISSING = 16,
    LANE_REASON_ACCESS_DENIED = 17,
    LANE_REASON_KMS = 18,
    LANE_REASON_CREDENTIALS = 19,
    LANE_REASON_RECORD_TOO_LARGE = 20,
    LANE_REASON_INTERNAL = 21, /* the receiving service failed */
    LANE_REASON_COUNT
};
/* "status", "timeout", … as shown in dead letters. */
const char *lane_reason_name(enum lane_reason reason);

enum lane_request_state {
    LANE_REQUEST_WAITING = 0,
    LANE_REQUEST_FLYING = 1,
};

/* Depth of halving: 2^9 = LANE_BATCH_MAX, and the whole. */
#define LANE_HALVINGS_MAX 10

/* One open request: the handle the dispatcher holds from `send` until its result is given back.
 * While it flies the dispatcher may read what stands under "read"; the rest is the lane's.
 *
 * A request under isolation is one object that works through its positions depth first: [lo, hi) is
 * the part to send now, stack holds the ends of the parts still to come. Each part is a request of
 * its own to the outside: own token, own records. */
struct lane_request {
    /* read */
    uint64_t key;
    uint32_t origin;
    uint32_t form;
    uint16_t attempt;     /* spent so far; the attempt being made is attempt + 1 */
    uint16_t n_positions; /* of the whole object: the part is [lo, hi) */
    uint16_t lo, hi;
    bool is_probe;
    bool is_retry;  /* it was answered or failed before: composition and token are fixed */
    bool is_early;  /* a probe before its time: its failure spends no attempt */
    bool is_part;   /* a part of a batch that is being taken apart */
    uint8_t state;  /* enum lane_request_state */
    uint32_t bytes; /* of the body, estimated, then as told by lane_on_composed */
    int64_t first_attempt_ms; /* wall; 0 before the first */
    void *user;               /* the dispatcher's, NULL at each send */
    /* the lane's */
    mr_list all;
    mr_mono due;
    uint32_t heap_at;    /* index while waiting */
    uint32_t generation; /* stamp of the window */
    uint16_t stack[LANE_HALVINGS_MAX];
    uint8_t n_stack;
    bool counted_failing;  /* its bytes and connection count as a failing lane's */
    uint16_t part_attempt; /* attempt number of the parts to come */
    uint16_t pair_at;      /* first of a refused pair whose singles are being tried */
    bool pair_first_ok;
    bool body_held;          /* bytes still counted */
    bool window_used;        /* the window was full when it left */
    bool paid;               /* the part has taken from the isolation budget */
    uint16_t cap;            /* of positions */
    uint32_t bytes_each;     /* mean of an event's share of the body */
    uint64_t discard_before; /* positions below leave at the next failure */
    uint8_t *marks;          /* owned; by position, what shall leave when it lands; NULL: none */
    bool has_keys;           /* each position has a key of its own, behind the positions */
    uint64_t positions[];
};
static inline uint32_t lane_request_count(const struct lane_request *request) {
    return (uint32_t)(request->hi - request->lo);
}
static inline const uint64_t *lane_request_positions(const struct lane_request *request) {
    return request->positions + request->lo;
}

/* The key of the part's i-th position. */
static inline uint64_t lane_request_key(const struct lane_request *request, uint32_t i) {
    return request->has_keys ? request->positions[request->cap + request->lo + i] : request->key;
}

enum lane_record_kind {
    LANE_RECORD_DELIVERED = 0,
    /* The composition is now an open request: attempt spent so far, next one due at due. Written
     * for each failure, also where no attempt was spent. Replaces any open request that holds the
     * same positions. */
    LANE_RECORD_RETRY = 1,
    /* The composition is now two open requests: its first n_first positions and the rest, both with
     * `attempt` spent, due at once. Either may be sent in smaller parts still. */
    LANE_RECORD_SPLIT = 2,
    LANE_RECORD_DEAD = 3,
    LANE_RECORD_DISCARDED = 4,
};

/* What happened to a composition, to be journaled. DELIVERED, DEAD, RETRY and DISCARDED may name a
 * part of it (of a SPLIT, or of a request whose events fared differently): what they do not name
 * stays open as it was. Pointers hold during the call only. */
struct lane_record {
    uint8_t kind;      /* enum lane_record_kind */
    uint8_t reason;    /* enum lane_reason of the last failure; NONE for DELIVERED */
    uint16_t status;   /* of the last answer; 0 = none */
    uint16_t attempt;  /* attempts spent, this one included where it was spent */
    uint16_t n_first;  /* SPLIT */
    bool from_attempt; /* ends an attempt, one record for each: it is covered by the credit that the
                          attempt took. Where some events failed it is a record of those */
    uint8_t zero_[3];
    uint32_t n_positions;
    const uint64_t *positions;
    uint64_t key; /* of the request; 0 for a DISCARDED of mixed keys */
    uint32_t origin;
    uint32_t form;
    int64_t due_ms;           /* wall; RETRY, SPLIT */
    int64_t first_attempt_ms; /* wall; 0 = never attempted */
    int64_t now_ms;           /* wall */
};

enum lane_health {
    LANE_ACTIVE = 0,
    LANE_FAILED = 1,   /* probing; informs only */
    LANE_DISABLED = 2, /* by itself (410, 5 days) or by settings */
};

enum lane_notice_kind {
    LANE_NOTICE_ACTIVE = 0,          /* health: FAILED → ACTIVE */
    LANE_NOTICE_FAILED = 1,          /* ten failed generations: probing */
    LANE_NOTICE_DISABLE_GONE = 2,    /* 410: the store is to disable the destination */
    LANE_NOTICE_DISABLE_FAILING = 3, /* 5 days of failure: likewise */
    LANE_NOTICE_WARN = 4,            /* percent of the way there: 50, 70, 90 */
    LANE_NOTICE_SINGLE = 5,          /* refuses batches: one event per request for an hour */
    LANE_NOTICE_SINGLE_OVER = 6,
};

struct lane_notice {
    uint8_t kind; /* enum lane_notice_kind */
    uint8_t percent;
    uint16_t status;
    uint8_t reason; /* enum lane_reason */
    uint8_t zero_[3];
    int64_t failing_since_ms; /* wall; 0 = not failing */
};

struct lane;

/* What lanes ask of their surroundings. Called inside lane_decide (send), lane_on_result,
 * lane_on_items, lane_on_begin, lane_on_unreadable, lane_discard (record), any of them (notice). */
struct lane_hooks {
    void *ctx;
    /* Send the part [lo, hi) of the request; its token is computed from (destination, origin,
     * positions). Answer later, never inside the call, with lane_on_result exactly once. */
    void (*send)(void *ctx, struct lane *lane, struct lane_request *request);
    void (*record)(void *ctx, struct lane *lane, const struct lane_record *record);
    void (*notice)(void *ctx, struct lane *lane, const struct lane_notice *notice);
    /* 32 random bits from a seeded source. */
    uint32_t (*random)(void *ctx);
};

/* What the lanes of one worker share. Zero it, fill hooks and maxima, keep it while lanes live. The
 * sums are kept by the lanes; credits are taken by lanes at each send and given back by the owner
 * when the outcome's record is safely on its way (by the lane where nothing was recorded). */
struct lane_shared {
    struct lane_hooks hooks;
    struct backlog_memory backlog;
    uint32_t credits; /* outcomes that may still be promised */
    bool closed;      /* stopping, or the journal failed: nothing is sent */
    uint8_t zero_[3];
    uint64_t bytes;          /* bodies not yet with the kernel */
    uint64_t bytes_max;      /* 0: no bound */
    uint64_t bytes_failing;  /* thereof of lanes whose last window failed: ≤ a quarter */
    uint32_t flying;         /* requests in flight = connections in use */
    uint32_t flying_max;     /* 0: no bound */
    uint32_t flying_failing; /* ≤ half */
    uint32_t open;           /* open requests of all lanes */
    uint32_t open_max;       /* 65,536; at it no first attempts; 0: no bound */
    uint32_t zero2_;
    uint64_t memory_bytes; /* lanes' tables and open requests, without backlogs */
};

/* One destination. Memory of the caller's, or lane_new; the fields are the lane's own. */
struct lane {
    void *user; /* the caller's */
    struct lane_shared *shared;
    uint32_t destination;
    uint8_t health; /* enum lane_health */
    bool probing;
    bool self_disabled;
    bool last_was_retry;
    struct lane_settings settings;
    uint64_t disabled_epoch;
    /* backlog */
    struct backlog *fifos; /* owned; the first LANE_KEYS_MAX by key, then perhaps the shared one */
    uint16_t n_fifos;
    uint16_t cap_fifos;
    uint16_t fifo_hint;
    bool has_overflow; /* the last of fifos is keyed */
    uint64_t backlog_count;
    uint64_t backlog_bytes;
    /* open requests */
    struct lane_request **heap; /* those waiting, by due time */
    mr_list open;
    const struct lane_request *isolating; /* whose parts take from the budget now; NULL: none */
    uint32_t n_open;
    uint32_t n_heap;
    uint32_t cap_heap;
    uint32_t flying;
    uint32_t flying_retries;
    uint32_t open_events;
    uint64_t flying_bytes;
    /* window, in 1/256 */
    uint32_t window;
    uint32_t threshold;
    uint32_t generation;
    uint16_t failed_generations;
    uint8_t warned_percent;
    bool window_failed; /* the last generation ended in a failure */
    /* time */
    mr_mono deadline;
    mr_mono gate_until;
    mr_mono probe_at;
    mr_mono rate_at; /* theoretical arrival of the next request */
    mr_mono single_until;
    mr_mono failing_since; /* valid while failures > 0 */
    int64_t failing_since_ms;
    uint32_t failures; /* in a row, no success between */
    uint32_t probe_ms;
    uint32_t pace_ms; /* between requests, while a stream throttles; 0: as fast as it takes them */
    uint8_t pairs;    /* refused pairs whose singles were accepted */
    uint8_t n_isolation;
    uint8_t isolation_at;
    uint8_t zero_;
    int64_t isolation_ms[LANE_ISOLATION_PER_MINUTE]; /* when the last extra requests left */
};
_Static_assert(sizeof(struct lane) <= 640, "an idle lane is small");

/* Prepares a lane of a destination. shared must outlive it. Settings are checked by the store;
 * values out of range are clamped. */
void lane_init(struct lane *lane, struct lane_shared *shared, uint32_t destination,
               const struct lane_settings *settings);
/* Frees everything. No request may be in flight. */
void lane_done(struct lane *lane);

/* A delivery became durable. arrived_ms: monotonic, of its arrival. MR_E_NOMEM: nothing changed,
 * give it again later. */
mr_err lane_on_event(struct lane *lane, const struct backlog_entry *entry);

/* At start: an open request as journaled. */
struct lane_open_request {
    const uint64_t *positions;
    uint32_t n_positions; /* 1 to LANE_BATCH_MAX */
    uint32_t origin;
    uint64_t key;
    const uint64_t *keys; /* of each position, where the lane mixes; NULL: all have `key` */
    uint32_t form;
    uint32_t bytes; /* sum of the stored sizes, where known */
    uint16_t attempt;
    bool is_part; /* made by SPLIT, and no RETRY since */
    uint8_t zero_;
    int64_t due_ms; /* wall; clamped to what the policy or Retry-After may give from now on */
    int64_t first_attempt_ms;
};
/* MR_E_NOMEM; MR_E_RANGE for a count out of range. */
mr_err lane_restore_request(struct lane *lane, struct lane_now now,
                            const struct lane_open_request *request);
/* At start: failing without a success since (wall), so that a restart does not begin the five days
 * again. 0 = not failing. */
void lane_restore_failing(struct lane *lane, struct lane_now now, int64_t failing_since_ms);
/* At start: single events until then (wall), as LANE_NOTICE_SINGLE said before; at most an hour. */
void lane_restore_single(struct lane *lane, struct lane_now now, int64_t until_ms);

/* The result of a request in flight; the handle is not to be used afterwards. Calls `record` once
 * (not for CANCELLED; before it once more where positions are discarded), perhaps `notice`. */
void lane_on_result(struct lane *lane, struct lane_request *request, struct lane_now now,
                    const struct lane_result *result);
/* The same where the receiver answered for each event: items[i] is that of the part's i-th
 * position, n of them; result: STATUS, with the answer's status. Each event ends or waits by its
 * own item; those to be tried again do so without the others. Calls `record` once for each group of
 * events that fared alike, so that one of them is from_attempt. */
void lane_on_items(struct lane *lane, struct lane_request *request, struct lane_now now,
                   const struct lane_result *result, const struct lane_item *items, uint32_t n);
/* Only the first n_used of the part were rendered, bytes long in all: the rest becomes a request of
 * its own, due at once. n_used < count is allowed only where !is_retry. Called before anything is
 * sent. MR_E_NOMEM: nothing changed (send it whole, or give CANCELLED). */
mr_err lane_on_composed(struct lane *lane, struct lane_request *request, uint32_t n_used,
                        uint32_t bytes, struct lane_now now);
/* The bytes of the part's i-th position cannot be read: it leaves as DEAD, reason UNREADABLE. The
 * rest still flies under the same handle; returns what is left of the part: at 0 the request is
 * over for this time and its handle not to be used. */
uint32_t lane_on_unreadable(struct lane *lane, struct lane_request *request, uint32_t i,
                            struct lane_now now);
/* The kernel has all of the body: it no longer counts. At most once per send; optional. */
void lane_on_body_sent(struct lane *lane, struct lane_request *request);

/* New settings; bind new requests, except window limit, rate, policy and enabled, which bind at
 * once. */
void lane_on_settings(struct lane *lane, const struct lane_settings *settings, struct lane_now now);

/* What to discard: positions below before (UINT64_MAX: all), of these types (none given: all). */
struct lane_discard_spec {
    uint64_t before;
    const uint64_t *types; /* lane_key_type numbers */
    size_t n_types;
};
/* Discards what waits, each by a DISCARDED record of at most LANE_BATCH_MAX positions; what is in
 * flight leaves so when its attempt fails. Does at most about max_entries of the backlog per call:
 * *ret_more tells to call again (same spec; after spilled chunks are back where the result is
 * MR_E_AGAIN). */
mr_err lane_discard(struct lane *lane, const struct lane_discard_spec *spec, size_t max_entries,
                    struct lane_now now, uint64_t *ret_discarded, bool *ret_more);

/* Deliveries of one origin that were settled without this lane: whoever keeps the journal made dead
 * letters of them. */
struct lane_settled {
    uint32_t origin;
    size_t n;
    const uint64_t *positions; /* ascending */
};
/* Takes them out without an attempt and without a record: what waits at once, what flies when its
 * attempt ends (one that succeeds says so all the same; whoever folds the records knows better) or
 * at lane_on_begin. Positions that the lane does not hold are ignored. On an error (MR_E_NOMEM, or
 * the spill's: MR_E_AGAIN while chunks are away) some may have left: call again with the same list.
 */
mr_err lane_settle(struct lane *lane, const struct lane_settled *settled, struct lane_now now);
/* A request in flight is about to be composed, perhaps some time after `send`: what was settled or
 * discarded meanwhile leaves it. Returns what is left of the part: at 0 the request is over for
 * this time and its handle not to be used. Before lane_on_composed and lane_on_unreadable. */
uint32_t lane_on_begin(struct lane *lane, struct lane_request *request, struct lane_now now);

/* What a lane waits for after lane_decide. */
enum lane_wait {
    LANE_WAIT_NOTHING = 0, /* for an event, a result, settings; or until the deadline */
    LANE_WAIT_SHARED = 1,  /* shared bytes, connections, credits, open requests: decide again when
                              some were given back */
    LANE_WAIT_TURN = 2,    /* it rendered enough for this turn: decide again in the next */
};
/* Decides, once per turn after all inputs and when the deadline passed: calls `send` for each
 * request that may leave now. */
enum lane_wait lane_decide(struct lane *lane, struct lane_now now);
/* When to call lane_decide at the latest, as of the last lane_decide; MR_MONO_NEVER: no timer. */
static inline mr_mono lane_deadline(const struct lane *lane) {
    return lane->deadline;
}

struct lane_stats {
    uint64_t backlog; /* deliveries never attempted, or not known to be */
    uint64_t backlog_bytes;
    uint32_t open; /* requests in flight or waiting */
    uint32_t open_events;
    uint32_t flying;
    uint32_t window; /* whole requests */
    uint8_t health;
    bool probing;
    bool single;
    int64_t failing_since_ms;
};
void lane_stats_get(const struct lane *lane, struct lane_now now, struct lane_stats *ret_stats);
/* True where nothing is pending, waiting or in flight. */
static inline bool lane_is_empty(const struct lane *lane) {
    return lane->backlog_count == 0 && lane->n_open == 0;
}
/* Calls each(arg, request) for the open requests, in no promised order. */
void lane_each_open(const struct lane *lane,
                    void (*each)(void *arg, const struct lane_request *request), void *arg);
/* Gives back memory kept for speed while the lane is empty. */
void lane_trim(struct lane *lane);
/* Asserts every invariant; for tests. O(all). */
void lane_assert_valid(const struct lane *lane);

#endif
