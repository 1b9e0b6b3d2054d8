/* One attempt of a request: payloads gathered, body composed, sent, result given back to the lane.
 * Worker only. */
#ifndef MR_DISPATCH_ATTEMPT_H
#define MR_DISPATCH_ATTEMPT_H

#include "dispatch/shard_parts.h"
#include "dispatch/token.h"

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
/* How a lane names it: an enum lane_result_kind. */
uint8_t attempt_result_kind(enum sink_outcome outcome);

#endif
