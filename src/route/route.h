/* Streaming rules compiled for matching: an immutable index, looked up by (account, event type)
 * and (account, product group of a `*` rule), so that rules which cannot match cost nothing. Built
 * from plain arrays, per account or for all; matching gives each destination once, with all the
 * rules that name it and the schema version to deliver. */
#ifndef MR_ROUTE_ROUTE_H
#define MR_ROUTE_ROUTE_H

#include "route/rule_filter.h"
#include "route/trie.h"

/* "Latest", and also "the event has no known version". */
#define ROUTE_VERSION_LATEST 0

/* One line of a rule: a type with the version asked for. The type "*" is every type of the rule's
 * product group, later ones too. */
struct route_type {
    mr_str type;
    uint16_t version; /* ROUTE_VERSION_LATEST, or 1… */
};

/* A streaming rule as the store has it. */
struct route_rule {
    uint32_t number; /* never re-used; what the journal names */
    uint32_t account;
    uint32_t destination; /* number */
    uint32_t sampling;    /* 1 in N by hash of the event's id; 0 and 1: every one */
    bool enabled;
    mr_str product_group; /* absent where no line is "*" */
    const struct route_type *types;
    size_t n_types;
    struct route_filter *filter; /* NULL: none; the index takes a reference of its own */
};

struct route_index;

/* Compiles; copies what it needs. Disabled rules are left out. A type named twice by one rule
 * counts with its newest version. MR_E_NOMEM; MR_E_INVALID for a "*" without product group. */
mr_err route_index_new(const struct route_rule *rules, size_t n_rules,
                       struct route_index **ret_index);
/* NULL is fine. */
void route_index_free(struct route_index *index);
/* Bytes held, those of compiled filters not counted: they are shared. */
size_t route_index_bytes(const struct route_index *index);

/* Has any rule in it a filter? Without, matching looks at no content. */
bool route_index_has_filters(const struct route_index *index);
/* One of its filters, for an index of one rule; NULL: it has none. */
const struct route_filter *route_index_filter(const struct route_index *index);

/* What matching needs to know of an event. */
struct route_event {
    uint32_t account;
    uint16_t version; /* of its schema; ROUTE_VERSION_LATEST where it has none that is known */
    mr_str type;
    mr_str product_group; /* of its type by the catalogue; absent: no `*` rule matches */
    uint64_t id_hash;     /* route_id_hash of its id */
    const struct filter_event *content; /* of an index without filters not read */
    struct filter_run *run;             /* the same */
};
/* The hash that sampling goes by: the same for all rules, processes and times. */
uint64_t route_id_hash(mr_str id);

/* Entries of an index that stand in a row; private. */
struct route_slice {
    uint32_t first;
    uint32_t n;
};

/* One destination that is owed the event. */
struct route_target {
    uint32_t destination;
    uint16_t version; /* to deliver: never newer than the event's; the event's own where it goes as
                         it is */
    uint16_t zero_;
    uint32_t rules_at; /* its rules: result.rules[rules_at … + n_rules), ascending, each once */
    uint32_t n_rules;
};

/* What the filters of all rules together may take for one event: those behind are no match, and
 * counted as errors. So no set of rules makes one event hold up others for long. */
#define ROUTE_STEPS_MAX (UINT32_C(4) << 20)

/* Filled by route_match, re-used from event to event. Targets ascend by destination. */
struct route_result {
    struct route_target *targets;
    size_t n_targets;
    uint32_t *rules;
    size_t n_rules;
    uint32_t n_filter_errors; /* filters whose evaluation failed: no match */
    uint32_t n_steps;         /* that filters took, ≤ ROUTE_STEPS_MAX */
    /* own */
    size_t cap_targets;
    size_t cap_rules;
    struct route_slice *slices; /* of entries that match */
    size_t n_slices, cap_slices;
    size_t n_entries; /* in them */
    uint32_t *order;  /* entries by destination and rule, and as much room again */
    size_t cap_order;
    struct trie_search search;
};
void route_result_init(struct route_result *result);
void route_result_done(struct route_result *result);

/* Replaces *result by the targets of the event; none is a fine answer. Reads the index only: any
 * number of threads at once, each with its own result and run. MR_E_NOMEM. */
mr_err route_match(const struct route_index *index, const struct route_event *event,
                   struct route_result *result);

#endif
