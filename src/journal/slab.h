/* A slab: the bytes of one committed group in memory, with an index of its records, counted by
 * reference, so that those who must act on new records need not read them from disk. Immutable once
 * published. References may be taken and dropped in any thread. */
#ifndef MR_JOURNAL_SLAB_H
#define MR_JOURNAL_SLAB_H

#include "base/err.h"
#include "base/str.h"
#include "loop/mailbox.h"

#include <stdatomic.h>

/* Subscribers are numbered 0 … 63: bits of journal_unit.reader_mask. */
#define SLAB_SUBSCRIBERS_MAX 64

struct slab_entry {
    uint64_t pos;
    uint32_t offset; /* of the body in `bytes` */
    uint32_t len;    /* of the body */
    uint8_t type;
    uint8_t flags;
    uint8_t is_last_of_unit;
    uint8_t klass;       /* enum journal_class of its unit */
    uint32_t unit_index; /* number of the record within its unit, 0 first */
};

struct slab_pool;
struct slab;

/* The message by which a subscriber gets a slab. Its handler owns one reference: slab_unref when
 * it has stepped. */
struct slab_mail {
    struct mail mail; /* first */
    struct slab *slab;
    void *ctx; /* as given to writer_subscribe */
};

struct slab {
    /* immutable once published */
    const uint8_t *bytes; /* the group as it lies on disk */
    uint32_t n_bytes;
    uint32_t n_records;
    const struct slab_entry *records; /* ascending positions */
    uint64_t first_pos;               /* of the group; below every record's */
    uint64_t end_pos;                 /* durable position after this group */
    uint64_t mask;                    /* union of the units' reader_mask */
    int64_t wall_ms;                  /* of the group */
    /* private */
    _Atomic uint32_t refs;
    struct slab_pool *pool;
    struct slab *next;
    uint8_t *memory;
    size_t capacity;
    struct slab_entry *index;
    uint32_t index_capacity;
    struct slab_mail mails[SLAB_SUBSCRIBERS_MAX];
};

/* One more reference. */
void slab_ref(struct slab *slab);
/* Drops one; with the last the memory goes back to its pool. NULL is fine. */
void slab_unref(struct slab *slab);
/* The record at that position, or NULL. Binary search. */
const struct slab_entry *slab_record_at(const struct slab *slab, uint64_t pos);
static inline mr_str slab_body(const struct slab *slab, const struct slab_entry *entry) {
    return (mr_str){(const char *)slab->bytes + entry->offset, entry->len};
}

/* --- the writer's side ------------------------------------------------------------------------ */

/* Some slabs of slab_bytes, a quarter and a sixteenth of it are kept for re-use; at most bytes_max
 * are out at a time. */
mr_err slab_pool_new(size_t slab_bytes, size_t bytes_max, struct slab_pool **ret_pool);
/* All slabs must be back. NULL is fine. */
void slab_pool_free(struct slab_pool *pool);
/* An empty slab of at least `bytes` with one reference. MR_E_AGAIN while bytes_max is out (one
 * slab is always given when none is out), MR_E_NOMEM. Pool owner's thread. */
mr_err slab_pool_take(struct slab_pool *pool, size_t bytes, struct slab **ret_slab);
/* Bytes of memory that are out. */
size_t slab_pool_out(const struct slab_pool *pool);
/* Bytes of memory that are kept for re-use. */
size_t slab_pool_kept(const struct slab_pool *pool);
/* Makes room for n records in the index of an unpublished slab. */
mr_err slab_reserve_records(struct slab *slab, uint32_t n);

#endif
