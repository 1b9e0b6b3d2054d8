/* Inside of schema_compare, shared by compare.c (which walks the two documents) and
 * compare_rules.c (which judges one keyword). Private to schema/. */
#ifndef MR_SCHEMA_VERSIONS_COMPARE_H
#define MR_SCHEMA_VERSIONS_COMPARE_H

#include "json/write.h"
#include "schema/versions/versions.h"

#define COMPARE_STEPS_MAX   UINT64_C(4000000)
#define COMPARE_CHANGES_MAX 1000 /* listed; those behind it are counted only */
#define COMPARE_CLOSURE_MAX 64   /* schemas that speak of one place: itself, $ref, allOf */

enum { OLDER = 0, NEWER = 1 };

/* Two schemas of the same place. An absent one is `true`: it takes everything. */
struct compare_pair {
    json_value older;
    json_value newer;
    bool narrow_only; /* only what is taken counts, not which members are declared */
};

/* Pairs that were met, by their nodes. */
struct compare_met {
    uint64_t *keys; /* owned; 0: free */
    uint32_t len;
    uint32_t cap;
};

struct compare {
    struct version_doc docs[2];
    uint64_t steps;
    mr_err err;                 /* the first; sticks */
    struct compare_pair *queue; /* owned */
    uint32_t n_queue;
    uint32_t cap_queue;
    struct compare_met met;    /* what stood in the queue */
    struct compare_met same;   /* what is taken to be the same while one question is answered */
    struct compare_met listed; /* hashes of what was reported */
    json_out *out;
    size_t n_changes;
};

/* The schemas of the older document that speak of a place: all of them hold. */
struct compare_closure {
    json_value at[COMPARE_CLOSURE_MAX];
    uint32_t n;
    bool forbids; /* one of them is `false` */
};

/* Lists a change. at: what it is about, in the document of that side. */
void compare_report(struct compare *c, uint32_t side, json_value at, const char *rule,
                    const char *format, ...) __attribute__((format(printf, 5, 6)));
void compare_queue(struct compare *c, json_value older, json_value newer, bool narrow_only);
/* False where no work is left, or after an error. */
bool compare_spend(struct compare *c, uint64_t steps);
/* False when the pair was in it already. */
bool compare_meet(struct compare *c, struct compare_met *met, json_value older, json_value newer);
json_value compare_follow(struct compare *c, uint32_t side, json_value schema);

/* The keywords that speak of the value itself: type, enum, ranges, lengths, … */
void compare_values(struct compare *c, const struct compare_closure *older, json_value newer);
/* Whether both schemas mean the same: annotations aside, references followed, order of lists that
 * are sets and spelling of numbers aside. */
bool compare_same(struct compare *c, json_value older, json_value newer);
/* Bits of enum json_kind that a schema's `type` takes (bit 0: numbers that are no integers). */
uint32_t compare_types(json_value schema);
#define COMPARE_TYPES_ALL 0xFFu

#endif
