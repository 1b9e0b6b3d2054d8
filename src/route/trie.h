/* Which filters of a bucket may match an event: a tree of the paths that filters look at, with the
 * values they ask for as its leaves. However many filters share a path, an event's value there is
 * looked up once. Private to route/. */
#ifndef MR_ROUTE_TRIE_H
#define MR_ROUTE_TRIE_H

#include "base/arena.h"
#include "route/filter.h"

#define TRIE_NONE 0U /* number of no node and no cell */

enum trie_kind {
    TRIE_ROOT = 0,
    TRIE_NAME,    /* a member's or an attribute's name */
    TRIE_STRING,  /* a leaf: a string */
    TRIE_LITERAL, /* a leaf: a number as its canonical text, true, false, null */
};

struct trie_node {
    uint64_t hash; /* of parent, kind and text */
    mr_str text;   /* in a filter, or in the arena */
    uint32_t parent;
    uint32_t kind;       /* enum trie_kind */
    uint32_t first_name; /* children by name, chained by next_name */
    uint32_t next_name;
    uint32_t n_names;
    uint32_t n_values;
    uint32_t first_cell; /* of a leaf: who asks for it; of a root: who has no key */
};

struct trie_cell {
    uint32_t run; /* the caller's number */
    uint32_t next;
};

/* All buckets of an index. Immutable once built. */
struct trie {
    struct trie_node *nodes; /* [0] is none */
    struct trie_cell *cells; /* [0] is none */
    uint32_t *slots;         /* node number, or 0; at most half full */
    size_t n_nodes, cap_nodes;
    size_t n_cells, cap_cells;
    size_t n_slots; /* a power of two, or 0 */
    mr_arena texts; /* canonical texts that filters do not hold */
};

void trie_init(struct trie *trie);
void trie_done(struct trie *trie);
size_t trie_bytes(const struct trie *trie);
/* A new root. MR_E_NOMEM, MR_E_LIMIT. */
mr_err trie_root(struct trie *trie, uint32_t *ret_root);
/* Hangs `run` where its filter's key leads, or at the root. The filter must outlive the trie. */
mr_err trie_add(struct trie *trie, uint32_t root, const struct filter *filter, uint32_t run);

/* One thread's memory for looking up; kept from event to event. */
struct trie_search {
    uint32_t *runs; /* found */
    size_t n_runs, cap_runs;
    mr_buf scratch;
    uint64_t *seen; /* leaves, one bit each; only used where the event has arrays */
    size_t n_seen;  /* words */
    bool has_arrays;
};
void trie_search_init(struct trie_search *search);
void trie_search_done(struct trie_search *search);
/* search->runs: the runs without a key, and those one of whose values stands at their path; each
 * once, in no order. Work is bounded by the event's size and the runs found. MR_E_NOMEM. */
mr_err trie_find(const struct trie *trie, uint32_t root, const struct filter_event *event,
                 struct trie_search *search);

#endif
