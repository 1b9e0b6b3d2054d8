/* How a projection is built, shared by project_build.c (members and items of a place),
 * project_states.c (sets of schemas, places as pairs of them) and project_emit.c (what is left of
 * the places). Private to schema/. */
#ifndef MR_SCHEMA_VERSIONS_PROJECT_BUILD_H
#define MR_SCHEMA_VERSIONS_PROJECT_BUILD_H

#include "schema/versions/project.h"
#include "schema/versions/versions.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define OLDER 0
#define NEWER 1

/* A growing set of schemas of one side. */
struct set {
    json_value *at;
    uint32_t n;
    uint32_t cap;
    uint32_t *marks; /* per node of the tape: the round in which it came into the set */
};

struct edge {
    mr_str name;
    uint32_t to;
};

/* A place while it is built. */
struct state {
    const json_value *schemas[2];
    uint32_t n[2];
    uint64_t hash;
    struct edge *members;
    uint32_t n_members;
    uint32_t rest;
    uint32_t *items;
    uint32_t n_items;
    uint32_t items_rest;
    uint32_t live; /* what it is numbered among those something is left out of; or PROJECT_KEEP */
};

/* A name that a schema of the place declares. */
struct entry {
    mr_str name;
    json_value value; /* its schema; absent for NAMES_LIST */
    uint32_t side;
    uint32_t schema; /* which of the set */
};

/* A schema of the place that speaks of names it does not list. */
struct open_end {
    uint32_t side;
    uint32_t schema;
    json_value additional; /* a schema with something in it, or absent */
    bool covered;          /* scratch: the name at hand is matched by a pattern of it */
};

struct pattern {
    pcre2_code *code; /* owned; NULL: takes every name */
    json_value value;
    uint32_t open;
};

struct project_build {
    struct version_doc docs[2];
    mr_arena arena;
    uint64_t steps;
    uint32_t round;
    struct set sets[2];
    struct state *states; /* owned */
    uint32_t n_states;
    uint32_t cap_states;
    uint32_t *table; /* owned: open addressing, state + 1 */
    uint32_t table_size;
    /* of the place at hand, in the arena */
    struct entry *entries;
    uint32_t n_entries;
    struct open_end *opens;
    uint32_t n_opens;
    struct pattern *patterns;
    uint32_t n_patterns;
    pcre2_match_data *match;
    pcre2_match_context *match_context;
};

/* MR_E_LIMIT when no work is left. */
mr_err project_spend(struct project_build *b, uint64_t steps);
/* Zeroed, in the arena. */
mr_err project_allocate(struct project_build *b, size_t n, size_t size, void **ret);
/* Heap sort: in place, without recursion. order as memcmp's. Elements of up to 64 bytes. */
void project_sort(void *at, size_t n, size_t size, int (*order)(const void *, const void *));

/* A place: both sets emptied, schemas added, and the number that the pair has: PROJECT_KEEP where
 * the newer declares nothing. */
void project_set_begin(struct project_build *b);
mr_err project_set_add(struct project_build *b, uint32_t side, json_value schema);
mr_err project_set_end(struct project_build *b, uint32_t *ret_state);

/* Marks the places in or below which something is left out. */
mr_err project_mark_live(struct project_build *b);
/* Writes the marked places. On error the projection is half made. */
mr_err project_emit(struct project_build *b, struct schema_projection *p);

#endif
