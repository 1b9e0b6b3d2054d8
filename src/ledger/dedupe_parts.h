/* The inside of the memory of ids, shared by its two files. Private to them. */
#ifndef MR_LEDGER_DEDUPE_PARTS_H
#define MR_LEDGER_DEDUPE_PARTS_H

#include "ledger/dedupe.h"
#include "ledger/record.h"
#include "os/thread.h"

#include <stdatomic.h>

#define DEDUPE_BLOCK      4096U
#define DEDUPE_HEAD_BYTES 64U

/* As it stands in files. */
struct dedupe_entry {
    struct siphash_128 tag;
    uint64_t pos;
    uint64_t digest;
};
_Static_assert(sizeof(struct dedupe_entry) == 32, "an id is 32 bytes on disk");

struct generation {
    /* writer only; unchanged once sealed */
    uint64_t first_number;
    struct dedupe_entry **blocks; /* owned; NULL: in the file only */
    uint32_t n_blocks, blocks_capacity;
    uint32_t n;
    uint32_t n_cleared;          /* retired: slots gone so far */
    bool is_retired;             /* set with mu held */
    uint64_t first_pos, end_pos; /* all its positions lie in [first, end) */
    int64_t first_ms, newest_ms;
    /* guarded by mu */
    bool is_sealed;
    bool is_busy; /* being written by maintenance */
    bool is_stored;
    os_file file; /* open while stored */
};

/* Slots by home with linear probing; 0 is free. */
struct dedupe_table {
    uint64_t *slots; /* owned */
    size_t n;
};

struct dedupe {
    struct dedupe_options options;
    char *dir;
    uint8_t store_id[16];
    uint32_t generation_ids;
    /* writer only */
    struct dedupe_table table; /* new slots go here */
    struct dedupe_table old;   /* being left after a growth; n = 0: none */
    size_t n_moved;            /* slots of old looked at so far */
    uint64_t n_used;           /* in both */
    uint64_t n_ids;            /* of generations not retired */
    uint64_t durable;
    int64_t now_ms;
    uint64_t replay_from;
    uint64_t stored_end; /* of the newest file found at open */
    uint64_t file_reads;
    uint32_t *scratch; /* the unit being judged: index + 1 by tag */
    uint32_t n_scratch, scratch_capacity;
    struct dedupe_conflict conflict;
    /* changed by the writer with mu held, read by it without */
    struct generation **generations; /* oldest first; the last is the open one */
    uint32_t n_generations, generations_capacity;
    os_mutex mu;
    _Atomic uint64_t floor;
};

mr_err dedupe_index_reserve(struct dedupe *dedupe, uint64_t n);
/* Seals the open generation (which holds something, all of it durable) and opens the next.
 * MR_E_NOMEM: nothing changed. */
mr_err dedupe_begin_generation(struct dedupe *dedupe);
void dedupe_drop_oldest(struct dedupe *dedupe);
/* Frees the memory of those that are in files now. */
void dedupe_free_stored(struct dedupe *dedupe);
/* Marks it retired; false while maintenance is busy with it. */
bool dedupe_retire(struct dedupe *dedupe, struct generation *generation);
/* For loading: puts an entry's slot into the index, which has room. */
void dedupe_index_add(struct dedupe *dedupe, struct siphash_128 tag, uint64_t number);
void dedupe_update_floor(struct dedupe *dedupe);

#endif
