/* Reading the journal back, from any thread: one record, many at once, or all from a position to a
 * mark. The CRC of every record is checked on every read. */
#ifndef MR_JOURNAL_READER_H
#define MR_JOURNAL_READER_H

#include "base/buf.h"
#include "journal/journal.h"

struct journal_record {
    uint64_t pos;
    uint64_t next_pos; /* where the iteration goes on */
    mr_str body;
    uint32_t unit_index; /* number within its unit, 0 first */
    uint8_t type;
    uint8_t flags;
    bool is_last_of_unit;
};

/* Reads the record at pos. Its body is put at the end of `scratch` (which may hold earlier ones;
 * grown by what is needed, so earlier views into it may move) and *ret_record points into it.
 * size_hint: expected body length (0: unknown); a good one saves a system call. flags: OS_READ_WAIT
 * blocks, OS_READ_NOWAIT does not touch the disk. MR_E_AGAIN: not in memory (NOWAIT);
 * JOURNAL_E_TRIMMED: before the start; MR_E_NOT_FOUND: at or beyond the durable mark;
 * JOURNAL_E_CORRUPT: damaged, or pos is not a record's; MR_E_LIMIT: larger than scratch allows;
 * MR_E_NOMEM; MR_E_IO. */
mr_err journal_read(struct journal *journal, uint64_t pos, uint32_t size_hint, int flags,
                    mr_buf *scratch, struct journal_record *ret_record);

/* One of many to read. */
struct journal_want {
    uint64_t pos;
    uint32_t size_hint; /* expected body length; 0: unknown */
};
#define JOURNAL_MERGE_BYTES (256U * 1024)
/* Reads n records, positions ascending; neighbours are merged to reads of up to 256 KiB. each()
 * gets every one in order with its own error (as journal_read); the record's body is valid during
 * that call only. scratch is overwritten; its maximum must be at least JOURNAL_MERGE_BYTES. Returns
 * MR_E_NOMEM without memory, else ok. */
mr_err journal_read_many(
    struct journal *journal, const struct journal_want *wants, size_t n, int flags, mr_buf *scratch,
    void (*each)(void *ctx, size_t i, mr_err err, const struct journal_record *record), void *ctx);

enum journal_item_kind {
    JOURNAL_ITEM_END = 0, /* the mark is reached; call again with a later one */
    JOURNAL_ITEM_RECORD,
    JOURNAL_ITEM_DAMAGE, /* a damaged range; the next call goes on behind it */
};
struct journal_item {
    enum journal_item_kind kind;
    struct journal_record record; /* body valid until the next call */
    struct journal_damage damage;
};

/* Walks records in order, over segment borders. One thread at a time. */
struct journal_iter {
    struct journal *journal;
    uint64_t pos;    /* where it stands: give this to journal_iter_init to go on from here */
    int64_t wall_ms; /* time of the group last entered; 0: none yet */
    /* private */
    struct segment *segment; /* held; NULL: none */
    uint64_t limit_pos;      /* how far it may be read, as far as known */
    mr_buf window;           /* bytes read ahead */
    uint64_t window_pos;     /* position of its first byte */
};

/* from: a position that a record, next_pos, journal_durable or an iterator's pos gave, or 0 for the
 * start of the journal. Takes no memory before the first step. */
void journal_iter_init(struct journal_iter *iter, struct journal *journal, uint64_t from);
void journal_iter_done(struct journal_iter *iter);
/* The next item before `end` (a mark: journal_durable() or less). Blocks on the disk.
 * JOURNAL_E_TRIMMED: the place it stands at was trimmed; MR_E_IO; MR_E_NOMEM. */
mr_err journal_iter_next(struct journal_iter *iter, uint64_t end, struct journal_item *ret_item);

#endif
