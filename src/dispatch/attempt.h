/* One attempt of a request: payloads gathered, body composed, sent, result given back to the lane.
 * The room's own header. Worker only. */
#ifndef MR_DISPATCH_ATTEMPT_H
#define MR_DISPATCH_ATTEMPT_H

#include "dispatch/shard.h"
#include "dispatch/token.h"

struct shard_lane {
    struct lane lane;
    struct shard *shard;
    struct model_destination *destination; /* a reference; NULL: not adopted yet, or deleted */
    struct sink_target *target;            /* NULL until the first send */
    struct loop_timer timer;
    mr_mono timer_due;
    mr_list dirty; /* in one of the shard's lists, or in none */
    bool is_deleted;
    bool asked_active; /* the store was asked to end `failed`; until the row is adopted again */
    uint64_t enabled_epoch; /* rises with each enabling, and with nothing else */
    /* discarding goes on over turns */
    bool has_discard;
    uint64_t discard_before;
    uint64_t *discard_types; /* owned */
    size_t n_discard_types;
};

struct attempt {
    mr_list node; /* in the shard's attempts_new, flying or free */
    struct shard *shard;
    struct shard_lane *owner;
    struct lane_request *request;
    struct sink_request sink;
    struct sink_target *target; /* a reference while it flies */
    struct payload_load load;
    char token[TOKEN_SIZE];
    mr_buf ids; /* JSON array of event ids, for the live view; empty where nobody reads */
    bool is_loading;
};

/* Takes up a request that a lane wants sent: attempt_run is called for it after the lane decided.
 * Without memory the request is given back as cancelled at that time. */
void attempt_begin(struct shard *shard, struct shard_lane *owner, struct lane_request *request);
/* Gathers, composes, sends; or starts loading. May call the lane. */
void attempt_run(struct attempt *attempt);
/* Frees what is kept for re-use. */
void attempts_done(struct shard *shard);

/* Of shard.c: marks the lane to be decided in this turn. */
void shard_mark(struct shard_lane *owner);
/* Of shard.c: marks it in a short while: nothing could be sent now. */
void shard_mark_soon(struct shard_lane *owner);
/* Of shard.c: an attempt ended: means are free again. */
void shard_attempt_over(struct shard *shard);
struct lane_now shard_now(const struct shard *shard);

#endif
