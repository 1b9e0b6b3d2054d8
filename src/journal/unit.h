/* A unit: what one request appends to the journal, all or nothing. It is memory of the one who asks
 * (usually its request arena), handed to the writer as a message and handed back as its answer; in
 * between only the writer touches it. */
#ifndef MR_JOURNAL_UNIT_H
#define MR_JOURNAL_UNIT_H

#include "base/err.h"
#include "base/str.h"
#include "loop/mailbox.h"

/* A position: 64 bits, ordered, opaque, not dense. 0 is no position. Positions are never used twice
 * in the life of a store. Only the segment engine knows that they lie on a grid. */
#define JOURNAL_POS_NONE UINT64_C(0)

/* Bounds of what one unit may be (framing included in the bytes). */
#define JOURNAL_UNIT_BYTES_MAX   (16U * 1024 * 1024)
#define JOURNAL_UNIT_RECORDS_MAX 65536U

enum journal_class {
    JOURNAL_INGEST = 0, /* synced at once; refused (FULL) when the disk has no room for events */
    JOURNAL_OUTCOME,    /* written at once, synced with the next group or after 20 ms; never refused
                           for    want of space: it waits in the writer until there is some */
    JOURNAL_CONTROL,    /* synced at once; may use the reserve that INGEST may not */
};

enum journal_result {
    JOURNAL_RESULT_NONE = 0, /* not answered yet */
    JOURNAL_RESULT_OK,       /* durable; positions are set */
    JOURNAL_RESULT_CONFLICT, /* the admit hook refused the unit; nothing of it is stored */
    JOURNAL_RESULT_FULL,     /* no space; nothing of it is stored; may be handed in again later */
    JOURNAL_RESULT_FENCED,   /* another process took the store over; sticky */
    JOURNAL_RESULT_FAILED,   /* a write or sync failed: *unknown* whether it is stored; sticky */
    JOURNAL_RESULT_LIMIT,    /* no record, or larger than the engine takes; nothing is stored */
};

enum journal_verdict {
    JOURNAL_KEEP = 0,  /* append it */
    JOURNAL_DUPLICATE, /* do not append; it was stored before: original or original_index is set */
    JOURNAL_DROP,      /* do not append, it has no position (belongs to a duplicate) */
};

#define JOURNAL_INDEX_NONE UINT32_MAX

/* One record of a unit. */
struct journal_slot {
    /* given by the asker */
    const void *body; /* len bytes, valid until the answer; may be NULL when len is 0 */
    uint32_t len;
    uint8_t type;  /* meaning is the caller's; kept with the record */
    uint8_t flags; /* likewise */
    /* given by the admit hook (INGEST only; starts as KEEP) */
    enum journal_verdict verdict;
    uint32_t original_index; /* DUPLICATE of an earlier slot of this unit, or JOURNAL_INDEX_NONE */
    /* out. KEEP: where it stands. DUPLICATE: where its original stands (set by the hook, or by the
     * writer where original_index is given). DROP: 0. Valid with result OK only. */
    uint64_t pos;
};

struct journal_unit {
    struct mail mail; /* first: to the writer and back; the writer sets `run` to on_done */
    enum journal_class klass;
    enum journal_result result;   /* out */
    uint32_t n_records;           /* 1 … JOURNAL_UNIT_RECORDS_MAX */
    struct journal_slot *records; /* array of the asker, valid until the answer */
    uint64_t
        reader_mask; /* subscribers (bits of writer_subscribe) that must see the group's slab */
    struct mailbox *reply; /* where the answer is posted */
    /* Runs in the thread of `reply`; the unit is its owner's again. After an OK of a group that the
     * same mailbox subscribes to, the slab's mail arrives first. */
    void (*on_done)(struct mail *mail);
    void *user; /* the asker's */

    /* writer only */
    uint64_t bytes; /* framed size, set when posted */
    struct journal_unit *next;
    uint64_t end_pos; /* durable position that answers it */
};

/* Zeroes the unit and fills in what every unit needs. */
static inline void journal_unit_init(struct journal_unit *unit, enum journal_class klass,
                                     struct journal_slot *records, uint32_t n_records,
                                     struct mailbox *reply, void (*on_done)(struct mail *mail),
                                     void *user) {
    *unit = (struct journal_unit){.klass = klass,
                                  .n_records = n_records,
                                  .records = records,
                                  .reply = reply,
                                  .on_done = on_done,
                                  .user = user};
}
static inline struct journal_slot journal_slot_of(uint8_t type, uint8_t flags, mr_str body) {
    return (struct journal_slot){.body = body.ptr,
                                 .len = (uint32_t)body.len,
                                 .type = type,
                                 .flags = flags,
                                 .original_index = JOURNAL_INDEX_NONE};
}

#endif
