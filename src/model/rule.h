/* A streaming rule as workers read it: who it is and where it leads. What it matches lives compiled
 * in the account's route index. Immutable. */
#ifndef MR_MODEL_RULE_H
#define MR_MODEL_RULE_H

#include "model/object.h"
#include "route/rule_filter.h"

/* An event type that a rule takes, or "*" for its product group's all. */
struct model_rule_type {
    mr_str type;
    uint32_t schema_version; /* 0: the latest */
};

#define MODEL_RULE_TYPES_MAX 256

struct model_rule {
    struct model_object object; /* id "rul_…" */
    uint32_t account;
    uint32_t destination; /* number */
    bool is_enabled;
    mr_str name;
    mr_str product_group; /* absent: none */
    const struct model_rule_type *types;
    size_t n_types;
    uint32_t sampling;           /* 1 in N; 1: all */
    struct route_filter *filter; /* a reference; NULL: none */
};

/* A new object with one reference. NULL without memory. */
struct model_rule *model_rule_new(uint32_t number, mr_str id, uint32_t account);

#endif
