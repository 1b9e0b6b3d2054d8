/* The delivery side of one worker: the lanes of the destinations that fall to it, fed by committed
 * slabs, asking payloads, sinks and the journal. Lanes decide, the shard does.
 *
 * A destination belongs to the worker that shard_owner names. Everything runs in that worker's loop
 * thread, but what is said to be for any thread. */
#ifndef MR_DISPATCH_SHARD_H
#define MR_DISPATCH_SHARD_H

#include "deliver/lane.h"
#include "dispatch/outcome.h"
#include "dispatch/payload.h"
#include "dispatch/tail.h"
#include "journal/writer.h"
#include "dispatch/types.h"
#include "ledger/book.h"
#include "ledger/spill.h"
#include "loop/loop.h"
#include "model/snapshot.h"
#include "sink/sink.h"

#define SHARD_VIRTUAL 256 /* virtual shards; workers take them in turn */

/* Which of n workers has the destination. Any thread. */
size_t shard_owner(uint32_t destination, size_t n_workers);

struct shard_options {
    size_t index, n_workers;
    struct loop *loop;
    struct writer *writer;
    struct journal *journal;
    struct payload_readers *readers;
    struct sink_env sink; /* copied; what it points to outlives the shard */
    struct tail *tail;
    struct siphash_key store_key; /* of tokens */
    uint64_t bytes_in_flight_max; /* this worker's share */
    uint32_t requests_in_flight_max;
    uint64_t backlog_bytes_max; /* of backlogs in memory; 0: no bound */
    struct spill *spill;        /* where longer ones go; NULL: they stay in memory */
    size_t slab_bytes_max;      /* of recent groups kept for rendering */
    /* A lane wants its destination's status changed in the store (410, days of failure, probing and
     * back): hand it to the control thread. */
    void (*on_status)(void *ctx, uint32_t destination, enum model_destination_status status,
                      enum model_disabled_by by);
    void *status_ctx;
    const mr_log *log;
    struct callback_limits *callback_limits; /* of all workers; NULL: none */
    mr_metrics *metrics;
};

struct shard_lane;
struct shard_callbacks;
struct attempt;

struct shard {
    struct shard_options options;
    struct snapshot *snapshot; /* a reference */
    struct lane_shared shared;
    struct shard_lane **lanes; /* by destination number; owned */
    size_t n_lanes;            /* length of that array */
    uint32_t number_max;       /* highest destination number ever adopted */
    mr_list dirty;             /* lanes to decide this turn */
    mr_list later;             /* lanes to decide next turn */
    mr_list starved;           /* lanes waiting for shared means */
    mr_list attempts_new;      /* to be composed and sent */
    mr_list attempts_flying;   /* loading or sent */
    mr_list attempts_free;
    size_t n_attempts_free;
    size_t attempts_free_bytes; /* of their bodies */
    size_t n_attempts;          /* under way */
    struct slab_cache slabs;
    mr_buf scratch;  /* for payload_load_now */
    mr_arena arena;  /* of the request that is being composed */
    mr_list refills; /* chunks of backlogs that came back, or are being read */
    size_t n_refills, n_refilling;
    struct shard_lane *at_work; /* whose backlog is being read now; NULL: none */
    struct payload_projector projector;
    struct outcome_out outcomes;
    struct shard_callbacks *callbacks;
    struct loop_hook hook;
    struct loop_task again;
    struct type_table *types;
    uint64_t random_state;
    uint8_t last_record;         /* enum lane_record_kind of the last outcome */
    void (*on_quiet)(void *ctx); /* when closing: nothing is under way any more */
    void *quiet_ctx;
};

/* Copies options. Takes a reference of snapshot. MR_E_NOMEM. */
mr_err shard_new(const struct shard_options *options, struct snapshot *snapshot,
                 struct shard **ret_shard);
/* Nothing may be under way. NULL is fine. */
void shard_free(struct shard *shard);

/* For writer_subscribe, with the shard as ctx. */
void shard_on_slab(struct mail *mail);

/* At start, before anything is served: takes what the book holds for destinations of this shard.
 * Any thread, as long as no other uses the shard. MR_E_NOMEM. */
mr_err shard_restore(struct shard *shard, const struct book *book, mr_mono now, mr_wall wall);

/* A new snapshot: takes a reference; lanes of changed destinations get their settings, those of
 * deleted ones are discarded. */
void shard_adopt(struct shard *shard, struct snapshot *snapshot, const uint32_t *destinations,
                 size_t n, bool secrets_changed);

/* Gives up what waits for the destination: positions below `before`, of these types (none: all).
 * Returns how many were discarded at once; the rest follows within the next turns. */
uint64_t shard_discard(struct shard *shard, uint32_t destination, uint64_t before,
                       const mr_str *types, size_t n_types);

/* What the lane knows; false where there is none (nothing was ever owed). */
bool shard_lane_stats(const struct shard *shard, uint32_t destination,
                      struct lane_stats *ret_stats);

/* Stops sending: no new attempts; those under way run to their own end. */
void shard_stop(struct shard *shard);
/* As shard_stop; then on_quiet, once, when nothing is under way any more and every outcome is
 * durable. Nothing may be asked of the shard from now on. */
void shard_close(struct shard *shard, void (*on_quiet)(void *ctx), void *ctx);
/* The journal failed: nothing new is sent, nothing is awaited. */
void shard_fail(struct shard *shard);

#endif
