/* Rates of accounts. See rate.h. The number kept per account is the time at which its bucket is
 * empty again (theoretical arrival time); accounts whose numbers are equal modulo the table's
 * length share one, which makes them stricter, never laxer. */
#include "api/rate.h"

#include "base/mem.h"

#include <stdatomic.h>

#define SLOTS 65536u

struct rate_table {
    _Atomic int64_t empty_ns[SLOTS];
};

mr_err rate_table_new(struct rate_table **ret_table) {
    *ret_table = MR_NEW(struct rate_table);
    return *ret_table == NULL ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

void rate_table_free(struct rate_table *table) {
    mr_free(table);
}

bool rate_take(struct rate_table *table, uint32_t account, uint32_t per_second, uint32_t n,
               mr_mono now, int64_t *ret_wait_ms) {
    if (per_second == 0 || n == 0) {
        return true;
    }
    _Atomic int64_t *slot = &table->empty_ns[account % SLOTS];
    int64_t cost = MR_NS_PER_S / per_second * n;
    int64_t old = atomic_load_explicit(slot, memory_order_relaxed);
    for (;;) {
        int64_t from = old > now.ns ? old : now.ns;
        bool fits = from + cost - now.ns <= MR_NS_PER_S || from == now.ns;
        if (!fits) {
            *ret_wait_ms = (from + cost - now.ns - MR_NS_PER_S) / MR_NS_PER_MS + 1;
            return false;
        }
        if (atomic_compare_exchange_weak_explicit(slot, &old, from + cost, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return true;
        }
    }
}
