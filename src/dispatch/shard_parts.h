/* What the chapters of the shard share with each other and with attempts; the room's own header.
 * Worker only. */
#ifndef MR_DISPATCH_SHARD_PARTS_H
#define MR_DISPATCH_SHARD_PARTS_H

#include "dispatch/shard.h"

/* Positions that the keeper settled and that are not out of the lane yet. */
struct shard_settled {
    struct shard_settled *next;
    uint32_t origin;
    size_t n;
    uint64_t positions[]; /* ascending */
};

/* What someone wants given up. */
struct shard_discard {
    struct shard_discard *next;
    uint64_t before;
    size_t n_types;
    uint64_t types[];
};

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
    struct shard_settled *settled; /* owned; what a chunk that is away kept in the lane */
    /* discarding goes on over turns */
    bool discards_all;              /* everything: the destination is deleted */
    struct shard_discard *discards; /* owned; what was asked for and is not over yet */
};

/* shard.c: turns and marks. */
/* Marks the lane to be decided in this turn. */
void shard_mark(struct shard_lane *owner);
/* Marks it in a short while: nothing could be done now. */
void shard_mark_soon(struct shard_lane *owner);
/* Of a lane's timer: marks the lane. */
void shard_on_timer(struct loop_timer *timer);
/* An attempt ended: means are free again. */
void shard_attempt_over(struct shard *shard);
struct lane_now shard_now(const struct shard *shard);

/* lanes.c: */
/* NULL: nothing was ever owed to it. */
struct shard_lane *shard_find_lane(const struct shard *shard, uint32_t number);
/* The lane of that number, made where there is none. NULL without memory. */
struct shard_lane *shard_lane_of(struct shard *shard, uint32_t number);
void shard_free_lane(struct shard_lane *owner);
/* The destination is deleted: gives up all that is owed to it. */
void shard_discard_all(struct shard_lane *owner);
/* Takes what the keeper settled out of the lane, as far as it is at hand; the list is the shard's
 * from now on. */
void shard_settle(struct shard_lane *owner, struct shard_settled *settled);
/* Goes on with what is left of settling and discarding, before the lane decides. */
enum shard_leaving {
    SHARD_LEAVING_NOTHING = 0, /* it is over, or waits for a chunk, which marks the lane */
    SHARD_LEAVING_ON,          /* it goes on in the next turn */
    SHARD_LEAVING_SOON,        /* it could not be done: again in a short while */
};
enum shard_leaving shard_go_on_leaving(struct shard_lane *owner);
uint32_t shard_highest_number(struct snapshot *snapshot);
/* What is rendered but not written yet is given back, to be signed again. */
void shard_recall_unsent(struct shard *shard);

/* hooks.c: of the lanes; ctx is the shard. */
void shard_on_send(void *ctx, struct lane *lane, struct lane_request *request);
void shard_on_record(void *ctx, struct lane *lane, const struct lane_record *record);
void shard_on_notice(void *ctx, struct lane *lane, const struct lane_notice *notice);
uint32_t shard_random(void *ctx);

/* refill.c: chunks of long backlogs. */
struct backlog_spill shard_spill(struct shard *shard);
/* Frees what was read and not asked for. None may be under way. */
void shard_refills_done(struct shard *shard);

#endif
