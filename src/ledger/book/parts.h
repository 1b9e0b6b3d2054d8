/* The inside of a book, shared by the files that fold, ask and save it. Private to them. */
#ifndef MR_LEDGER_BOOK_PARTS_H
#define MR_LEDGER_BOOK_PARTS_H

#include "base/arena.h"
#include "ledger/book.h"
#include "ledger/book/callbacks.h"
#include "ledger/book/letters.h"
#include "ledger/book/queue.h"

/* Bounds of what one book may hold by names. */
#define BOOK_KEYS_BYTES_MAX   (UINT64_C(256) * 1024 * 1024)
#define BOOK_REQUEST_SIZE_MAX RECORD_POSITIONS_MAX

/* Waiting deliveries of one origin. */
struct dest_queue {
    uint32_t origin;
    struct queue queue;
};

/* An open request; positions and items are parallel. */
struct request {
    struct book_request head; /* head.positions = positions */
    uint64_t *positions;      /* both in this block */
    struct queue_entry *entries;
};

/* One destination. counters.pending = sum of queues' n + sum of requests' n. */
struct dest {
    uint32_t number;
    uint32_t account;
    struct record_counters counters;
    struct queue live;         /* origin 0 */
    struct dest_queue *others; /* owned */
    uint32_t n_others;
    uint32_t n_requests, requests_capacity;
    struct request **requests; /* owned, oldest first */
    uint32_t dead_letters;
    int64_t singles_until_ms, failing_since_ms, last_delivered_ms;
    int64_t gap_from_ms, gap_to_ms;
    uint64_t gap_events;
};

struct key {
    mr_str type;
    uint16_t version;
};

struct damage_range {
    uint64_t pos, end_pos;
};

struct book {
    struct book_options options;
    uint64_t position;
    bool is_broken; /* out of memory in the middle of something */
    bool has_store_id;
    uint8_t store_id[16];
    uint32_t origin_max;
    struct record_counters totals; /* sums over all */
    uint64_t late;                 /* deliveries named by a record after their end */
    struct record_audit audit;     /* number 0: none yet */
    /* destinations, in the order met; index table by number */
    struct dest **dests; /* owned, and what they point to */
    uint32_t n_dests, dests_capacity;
    uint32_t *dest_slots; /* index + 1 */
    uint32_t n_dest_slots;
    /* keys */
    struct mr_arena key_texts;
    struct key *keys;
    uint32_t n_keys, keys_capacity;
    uint32_t *key_slots; /* index + 1 */
    uint32_t n_key_slots;
    uint32_t last_key; /* met last: most events are of one type */
    struct letters letters;
    struct callbacks callbacks;
    /* damage that recovery told of */
    struct damage_range *damage;
    uint32_t n_damage, damage_capacity;
    uint32_t damage_dest; /* destinations before this one are clear of it */
    /* what one record takes out; kept for the next */
    struct queue_entry *taken;
    uint32_t taken_capacity;
};

/* Folds a record in without a place in the journal: as book_apply, but for the position. */
mr_err book_fold(struct book *book, uint64_t pos, uint8_t type, mr_str body);
/* NULL without memory. */
struct dest *book_dest_ensure(struct book *book, uint32_t number);
/* NULL: never met. */
struct dest *book_dest_find(const struct book *book, uint32_t number);
mr_err book_key_ensure(struct book *book, mr_str type, uint16_t version, uint32_t *ret_key);
/* The queue of that origin; NULL without memory. */
struct queue *book_queue_ensure(struct dest *dest, uint32_t origin);
/* A request of n positions with room for them, in no list yet. NULL without memory. */
struct request *book_request_new(uint32_t n);
/* Makes room for n more in dest->requests. */
mr_err book_requests_reserve(struct dest *dest, uint32_t n);
/* Frees the i-th and closes the gap. */
void book_requests_drop(struct dest *dest, uint32_t i);
/* The open request of exactly that composition; n_requests where there is none. */
uint32_t book_request_find(const struct dest *dest, uint32_t origin,
                           struct record_positions positions);
/* Takes a pending delivery out of the queue or request that holds it. False: it is not pending. The
 * counters are the caller's. */
bool book_take(struct dest *dest, uint32_t origin, uint64_t pos, struct queue_entry *ret_entry);
void book_counters_add(struct record_counters *sum, const struct record_counters *more);
/* Adds to a destination's counters and to the book's sums. Unsigned wrap-around makes a difference
 * of -1 work; the law is checked after the record by book_dest_check. */
void book_count(struct book *book, struct dest *dest, struct record_counters by);
/* Without memory in the middle of something: MR_E_NOMEM from now on. */
mr_err book_broken(struct book *book);
/* Room for n in book->taken. */
mr_err book_taken_reserve(struct book *book, uint32_t n);
mr_err book_apply_discard(struct book *book, mr_str body);
mr_err book_apply_erased(struct book *book, mr_str body);
/* callbacks.c */
mr_err book_apply_callback(struct book *book, uint64_t pos, mr_str body);
mr_err book_apply_callback_outcome(struct book *book, mr_str body);
static inline void book_dest_check(const struct dest *dest) {
    const struct record_counters *c = &dest->counters;
    MR_ASSERT(c->created == c->pending + c->delivered + c->dead + c->discarded);
}

#endif
