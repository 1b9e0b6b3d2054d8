/* The compiler of the pattern language: what its chapters share. Private to route/filter/. */
#ifndef MR_ROUTE_FILTER_PATTERN_H
#define MR_ROUTE_FILTER_PATTERN_H

#include "route/filter/machine.h"

/* Limits by name. */
#define PATTERN_DEPTH_MAX        32u   /* objects and $or inside one another */
#define PATTERN_ALTERNATIVES_MAX 2048u /* values and operators, all together */
#define PATTERN_BRANCHES_MAX     256u  /* of all $or together */
#define PATTERN_WILDCARDS_MAX    64u   /* wildcards, all together */
#define PATTERN_STARS_MAX        32u   /* of one wildcard */

struct pattern {
    struct program program;
    struct filter_fault *fault;
    json_tape tape;
    mr_buf pointer; /* to what is being read */
    mr_buf path;    /* of the present member: steps joined by NUL */
    mr_buf scratch; /* decoded texts of one operator */
    mr_arena arena; /* decoded texts of the pattern */
    uint32_t n_alternatives, n_branches, n_wildcards, depth;
    uint32_t n_unkeyed; /* $or around the present member, and names that no path can hold: no key */
    uint32_t n_leaves, n_absent, n_may_be_absent; /* so far: leaves, those that ask for absence
                                                     alone, those that are content with it */
    /* the best key so far; texts in the arena */
    struct filter_key key;
    uint32_t key_rank;
};

/* Notes where and why; FILTER_E_REFUSED. */
mr_err pattern_refuse(struct pattern *pattern, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* For a limit: the same, naming it. */
mr_err pattern_refuse_limit(struct pattern *pattern, const char *name, unsigned max);

/* Compiles the alternatives of a leaf into conditions; counts leaves. */
struct leaf {
    uint32_t first; /* condition */
    uint32_t n;
    bool is_absent;     /* [{"exists": false}] and nothing else */
    bool may_be_absent; /* some alternative is {"exists": false} */
};
mr_err pattern_leaf(struct pattern *pattern, json_value alternatives, struct leaf *ret_leaf);

/* Takes the leaf that was just compiled as the pattern's key where it is a better one. */
mr_err pattern_offer_key(struct pattern *pattern, json_value alternatives);

#endif
