/* Events per second of each account, over all workers: a leaky bucket of one atomic number per
 * account (generic cell rate algorithm), so that counting takes no lock. */
#ifndef MR_API_RATE_H
#define MR_API_RATE_H

#include "base/err.h"
#include "base/time.h"

struct rate_table;

/* MR_E_NOMEM. */
mr_err rate_table_new(struct rate_table **ret_table);
/* NULL is fine. */
void rate_table_free(struct rate_table *table);

/* Takes n events of the account's rate. True: allowed. False: nothing was taken; *ret_wait_ms tells
 * when it would be. One second's worth may come at once; a call with more than that is allowed when
 * the account was idle before. per_second 0 allows all. Any thread. */
bool rate_take(struct rate_table *table, uint32_t account, uint32_t per_second, uint32_t n,
               mr_mono now, int64_t *ret_wait_ms);

#endif
