/* A compiled projection: a flat graph of places, built by project_build.c and walked by project.c.
 * A place is a spot in `data`, as both versions see it. Private to schema/; immutable once made. */
#ifndef MR_SCHEMA_VERSIONS_PROJECT_H
#define MR_SCHEMA_VERSIONS_PROJECT_H

#include "schema/schema.h"

/* What becomes of a value, where it is no place to go into. */
#define PROJECT_KEEP      UINT32_MAX       /* copied as it is */
#define PROJECT_LEAVE_OUT (UINT32_MAX - 1) /* the member is left out */

struct project_member {
    mr_str name;    /* decoded; absent: an empty slot */
    uint64_t hash;  /* project_hash(name) */
    uint32_t place; /* or one of the two above */
    uint32_t pad_;
};

struct project_place {
    uint64_t lengths;    /* bit n: a listed name has n bytes, modulo 64 */
    uint32_t members;    /* its first slot in the projection's table */
    uint32_t mask;       /* slots - 1; slots are a power of two, at most half of them full */
    uint32_t rest;       /* of members that are not listed: a place, or PROJECT_KEEP */
    uint32_t items;      /* its first in the projection's items, by index in the array */
    uint32_t n_items;    /* how many of them */
    uint32_t items_rest; /* of items behind those: a place, or PROJECT_KEEP */
};

struct schema_projection {
    struct project_place *places;   /* owned; the first is the root */
    struct project_member *members; /* owned: hash tables, one behind the other */
    uint32_t *items;                /* owned */
    char *names;                    /* owned: what members[].name points to */
};

static inline uint64_t project_hash(mr_str name) {
    return mr_str_hash(name, 0);
}
static inline uint64_t project_length_bit(mr_str name) {
    return UINT64_C(1) << (name.len & 63);
}

#endif
