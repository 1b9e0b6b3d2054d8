/* How many callbacks may be pending: of an account and of all. One for all workers; any thread.
 *
 * Pending callbacks lie in memory and in checkpoints, whole, so they are bounded where they are
 * taken: what does not fit is refused before anything is stored (429). An account may hold as many
 * bytes as are still free for others: so those who fill it up share it, and somebody new finds
 * room. */
#ifndef MR_DISPATCH_CALLBACKS_LIMITS_H
#define MR_DISPATCH_CALLBACKS_LIMITS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CALLBACK_LIMITS_ACCOUNT       10000U
#define CALLBACK_LIMITS_ACCOUNT_BYTES (UINT64_C(16) * 1024 * 1024)
#define CALLBACK_LIMITS_BYTES         (UINT64_C(128) * 1024 * 1024)
/* What one costs beside its texts. */
#define CALLBACK_LIMITS_EACH_BYTES 512U

struct callback_limits;
mr_err callback_limits_new(struct callback_limits **ret_limits);
/* NULL is fine. */
void callback_limits_free(struct callback_limits *limits);

/* One more of that many bytes (of its record). False: there is no room, nothing was taken. */
bool callback_limits_take(struct callback_limits *limits, uint32_t account, size_t bytes);
/* The same whatever the bounds, at start: it is pending already. MR_E_NOMEM. */
mr_err callback_limits_restore(struct callback_limits *limits, uint32_t account, size_t bytes);
/* It is over, or was not stored. */
void callback_limits_give(struct callback_limits *limits, uint32_t account, size_t bytes);

#endif
