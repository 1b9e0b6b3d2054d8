/* The callbacks of a worker: those of the accounts that fall to it, fed by committed slabs, sent by
 * the worker's client, their outcomes journaled with those of deliveries. What is sent when is
 * decided in deliver/callback; one of these belongs to each shard. Worker only. */
#ifndef MR_DISPATCH_CALLBACKS_CALLBACKS_H
#define MR_DISPATCH_CALLBACKS_CALLBACKS_H

#include "dispatch/shard.h"

struct shard_callbacks;

/* The worker that has an account's callbacks. Any thread. */
static inline size_t callbacks_owner(uint32_t account, size_t n_workers) {
    return shard_owner(RECORD_CALLBACKS_OF | account, n_workers);
}

/* MR_E_NOMEM. */
mr_err callbacks_new(struct shard *shard, struct shard_callbacks **ret_callbacks);
/* None may be in flight. NULL is fine. */
void callbacks_free(struct shard_callbacks *callbacks);

/* A CALLBACK record became durable. Other workers' are passed over. */
void callbacks_take(struct shard_callbacks *callbacks, uint64_t pos, mr_str body);
/* At start: takes what the book holds. MR_E_NOMEM. */
mr_err callbacks_restore(struct shard_callbacks *callbacks, const struct book *book,
                         struct lane_now now);
/* At the end of a turn: sends what may be sent. */
void callbacks_turn(struct shard_callbacks *callbacks);
/* Requests under way. */
size_t callbacks_flying(const struct shard_callbacks *callbacks);
/* What was signed and not written yet is given back, to be signed again. */
void callbacks_recall_unsent(struct shard_callbacks *callbacks);
/* Nothing new is sent. */
void callbacks_close(struct shard_callbacks *callbacks);

#endif
