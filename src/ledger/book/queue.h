/* Deliveries of one destination and origin that were never attempted: a set ordered by position, as
 * varints in chunks of at most 256 entries, some 7 bytes each. Appending and taking from the front
 * cost nothing to speak of; taking from the middle costs a walk through one chunk. Private to the
 * book. */
#ifndef MR_LEDGER_BOOK_QUEUE_H
#define MR_LEDGER_BOOK_QUEUE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue_entry {
    uint64_t pos;
    int64_t accepted_ms;
    uint32_t key;
    uint32_t size;
};

struct queue_chunk;

/* Chunks ascend, none is empty, none overlap. Zero it to begin. */
struct queue {
    struct queue_chunk **chunks; /* owned; [first, first + n_chunks) are in use */
    uint32_t first;
    uint32_t n_chunks;
    uint32_t capacity;
    uint32_t zero_;
    uint64_t n;     /* entries */
    uint64_t bytes; /* sum of their sizes */
};

void queue_done(struct queue *queue);
/* *ret_added false: the position is there already. Any order, cheap when ascending. MR_E_NOMEM:
 * nothing changed. */
mr_err queue_add(struct queue *queue, const struct queue_entry *entry, bool *ret_added);
/* Takes the entry of that position out. False: not there. */
bool queue_take(struct queue *queue, uint64_t pos, struct queue_entry *ret_entry);

/* The lowest position; UINT64_MAX where it is empty. */
uint64_t queue_first(const struct queue *queue);

/* Walks entries with position ≥ from. The queue must not change meanwhile. */
struct queue_walk {
    const struct queue *queue;
    uint32_t chunk;
    uint32_t left; /* in the chunk */
    const uint8_t *at;
    struct queue_entry last;
    uint64_t from;
};
void queue_walk_init(struct queue_walk *walk, const struct queue *queue, uint64_t from);
bool queue_walk_next(struct queue_walk *walk, struct queue_entry *ret_entry);

size_t queue_memory_bytes(const struct queue *queue);
void queue_assert_valid(const struct queue *queue);

#endif
