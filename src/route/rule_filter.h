/* A rule's filter as the store has it, {"pattern":{…}} or {"cesql":"…"}, compiled. Immutable and
 * shared: by all rules that say the same, by snapshots, by indexes. */
#ifndef MR_ROUTE_RULE_FILTER_H
#define MR_ROUTE_RULE_FILTER_H

#include "route/filter.h"

#include <stdatomic.h>

struct route_filter {
    _Atomic uint32_t refs;
    struct filter *filter;
    mr_str json; /* as it was given; behind this struct, in its memory */
};

/* Compiles json, whose form must be one of the two. One reference. FILTER_E_REFUSED with
 * *ret_fault: what does not compile, or another form (then without a place). MR_E_NOMEM. */
mr_err route_filter_new(mr_str json, struct route_filter **ret_filter,
                        struct filter_fault *ret_fault);
/* Another reference; any thread. */
struct route_filter *route_filter_ref(struct route_filter *filter);
/* The last one frees. NULL is fine. Any thread. */
void route_filter_unref(struct route_filter *filter);

#endif
