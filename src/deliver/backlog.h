/* A FIFO of deliveries never attempted: position, size, arrival, as varint deltas in chunks that
 * grow from 128 bytes to 4 KiB, so that a short queue is small and a long one cheap. Chunks between
 * head and tail go to a spill file through hooks when memory is short. Append at the tail, take at
 * the head; nothing leaves from the middle but by rebuilding (backlog_filter). */
#ifndef MR_DELIVER_BACKLOG_H
#define MR_DELIVER_BACKLOG_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BACKLOG_CHUNK_MIN 128
#define BACKLOG_CHUNK_MAX 4096

/* One delivery. */
struct backlog_entry {
    uint64_t pos;
    uint64_t key;       /* what may share a request: see lane.h */
    int64_t arrived_ms; /* monotonic; never smaller than the one before (raised to it if so) */
    uint32_t size;      /* bytes of the stored envelope */
    uint32_t origin;    /* 0 = live, else a replay or redrive job */
};

/* Where full chunks go when memory is short. All three are called inside backlog calls, in the
 * owner's thread; they must not call back. */
struct backlog_spill {
    void *ctx;
    /* Keeps size bytes (≤ BACKLOG_CHUNK_MAX) and names them by *ret_ref. Any error: the chunk stays
     * in memory. NULL: there is no spill. */
    mr_err (*put)(void *ctx, const void *bytes, size_t size, uint64_t *ret_ref);
    /* Brings them back. MR_E_AGAIN: being read; ask again when it is here. Other errors: ask again
     * later; the entries stay counted. */
    mr_err (*get)(void *ctx, uint64_t ref, void *bytes, size_t size);
    /* They are not needed any more. */
    void (*drop)(void *ctx, uint64_t ref);
};

/* Memory of all the backlogs of one owner (a worker). Zero it, set max and spill. */
struct backlog_memory {
    uint64_t bytes;          /* held now, headers included */
    uint64_t bytes_max;      /* above it full chunks are spilled; 0: no bound */
    uint64_t chunks_spilled; /* now away */
    struct backlog_spill spill;
};

struct backlog_chunk;

/* Invariants: count = 0 ⇔ there is no head entry; head_here ⇒ head is the decoded first entry. */
struct backlog {
    struct backlog_chunk *first; /* owned */
    struct backlog_chunk *last;
    uint32_t count;
    uint16_t read_at; /* next byte to decode in first, behind the head entry */
    bool keyed;       /* entries carry key and origin of their own */
    bool mixed;       /* keyed, and all of one origin */
    bool ascending;   /* positions never fell so far */
    bool head_here;   /* false: the next chunk is away */
    uint8_t zero_[6];
    uint64_t bytes; /* sum of the sizes */
    uint64_t key;   /* of all the entries, where not keyed */
    uint32_t origin;
    uint32_t head_size;
    uint64_t head_pos;
    int64_t head_arrived_ms;
    uint64_t head_key;
    uint32_t head_origin;
    uint32_t zero2_;
    uint64_t tail_pos;
    int64_t tail_arrived_ms;
};

/* A backlog of one (key, origin), of one origin and any keys (mixed), or of any (keyed). Holds no
 * memory while never used. */
void backlog_init(struct backlog *backlog, uint64_t key, uint32_t origin);
void backlog_init_mixed(struct backlog *backlog, uint32_t origin);
void backlog_init_keyed(struct backlog *backlog);
/* Frees chunks, drops spilled ones; the entries are gone. The backlog may be used again. */
void backlog_clear(struct backlog *backlog, struct backlog_memory *memory);
/* MR_E_NOMEM: nothing changed. */
mr_err backlog_push(struct backlog *backlog, struct backlog_memory *memory,
                    const struct backlog_entry *entry);
/* The oldest entry. MR_E_NOT_FOUND when empty; MR_E_AGAIN and others of spill.get while its chunk
 * is away (ask again later). */
mr_err backlog_head(struct backlog *backlog, struct backlog_memory *memory,
                    struct backlog_entry *ret_entry);
/* Removes the entry that backlog_head just gave. */
void backlog_pop(struct backlog *backlog, struct backlog_memory *memory);
/* Arrival of the oldest entry, spilled or not (then: of the last one taken, so never later than
 * the truth); INT64_MAX when empty. */
static inline int64_t backlog_oldest_ms(const struct backlog *backlog) {
    return backlog->count == 0 ? INT64_MAX : backlog->head_arrived_ms;
}
/* Keeps the entries for which keep(arg, entry) is true, in order. Reads spilled chunks back. On
 * error (MR_E_NOMEM or the spill's) the backlog is as it was; keep may have been called. */
mr_err backlog_filter(struct backlog *backlog, struct backlog_memory *memory,
                      bool (*keep)(void *arg, const struct backlog_entry *entry), void *arg);
/* Gives back memory that an empty backlog keeps for its next entry. */
void backlog_trim(struct backlog *backlog, struct backlog_memory *memory);
/* Walks the chunks that are in memory and asserts the invariants. For tests. */
void backlog_assert_valid(const struct backlog *backlog, const struct backlog_memory *memory);

#endif
