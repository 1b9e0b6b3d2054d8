/* Private to control/: filters of rules. One that many rules share is compiled once. */
#ifndef MR_CONTROL_RULES_FILTERS_H
#define MR_CONTROL_RULES_FILTERS_H

#include "control/refusal.h"
#include "json/tape.h"
#include "route/rule_filter.h"

/* Every compiled filter by its text; control thread only. Filters that nobody else holds leave when
 * the table grows. */
struct filter_pool {
    struct route_filter **slots; /* a reference each; NULL: empty; at most half full */
    size_t n_slots;              /* a power of two, or 0 */
    size_t n;
};
void filter_pool_done(struct filter_pool *pool);
/* The compiled filter of that text: the pool's, or a new one. The caller gets a reference.
 * FILTER_E_REFUSED with *ret_fault; MR_E_NOMEM. */
mr_err filter_pool_take(struct filter_pool *pool, mr_str json, struct route_filter **ret_filter,
                        struct filter_fault *ret_fault);

/* Judges a rule's `filter` as a call gives it: absent or null is none (NULL). Else compiled, with a
 * reference for the caller. Refusals: 31020 with line and column (CESQL) or the pointer (pattern)
 * and what was expected there; 20001 for an unknown member. */
mr_err filter_parse(struct filter_pool *pool, json_value value, struct route_filter **ret_filter,
                    struct refusal *ret_refusal);

#endif
