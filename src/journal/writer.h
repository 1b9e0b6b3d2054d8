/* The writer: the one actor that appends to a journal. It takes units from its mailbox, lets the
 * admit hook judge them, forms groups, writes and syncs them, then answers and publishes slabs.
 * Groups form by themselves: what arrives while a sync runs is the next group. */
#ifndef MR_JOURNAL_WRITER_H
#define MR_JOURNAL_WRITER_H

#include "journal/journal.h"
#include "journal/slab.h"
#include "journal/unit.h"

struct writer;

/* What the ledger adds. All run in the writer's thread, within a step; any may be NULL. They must
 * neither block nor hand units in. */
struct writer_hooks {
    void *ctx;
    /* Judges an INGEST unit before it gets positions: sets slot verdicts. False: the unit is
     * answered CONFLICT and nothing of it is stored. Duplicates within the unit: original_index. */
    bool (*admit)(void *ctx, struct journal_unit *unit);
    /* The unit (of any class) got its positions (slots' pos); it is not durable yet. */
    void (*placed)(void *ctx, const struct journal_unit *unit);
    /* A placed unit was not stored after all (FULL): forget its positions. Called in the reverse
     * order of placed. Not called on FAILED: then nothing is remembered any more. An OUTCOME unit
     * is placed again later. */
    void (*undone)(void *ctx, const struct journal_unit *unit);
    /* Everything below is durable. Called before the answers are posted. */
    void (*committed)(void *ctx, uint64_t durable);
    /* The journal went FAILED or FENCED: once. The process must stop sending and exit. */
    void (*failed)(void *ctx, enum journal_state state);
};

struct writer_options {
    struct journal *journal; /* outlives the writer; its append side is the writer's alone */
    struct writer_hooks hooks;
    size_t group_bytes_max;      /* 0: 1 MiB; a larger unit is a group of its own */
    size_t slab_bytes_max;       /* 0: 32 MiB of slabs out at a time */
    int64_t witness_ms;          /* 0: 1,000: an idle journal witnesses its end after this */
    int64_t outcome_sync_ms;     /* 0: 20: outcomes are durable after this at the latest */
    mr_mono (*clock)(void *ctx); /* measures syncs; NULL: not measured */
    void *clock_ctx;
    const mr_log *log;
    mr_metrics *metrics; /* of the writer's thread */
};

mr_err writer_new(const struct writer_options *options, struct writer **ret_writer);
/* After writer_finish, and with all slabs back. NULL is fine. */
void writer_free(struct writer *writer);

/* Before the first step: mailbox gets the slabs whose units' reader_mask has that bit, as struct
 * slab_mail; on_slab runs in the mailbox's thread, owns a reference and drops it with slab_unref.
 */
void writer_subscribe(struct writer *writer, unsigned bit, struct mailbox *mailbox,
                      void (*on_slab)(struct mail *mail), void *ctx);

/* Any thread: hands a unit in. It is answered exactly once, also after a failure. Takes no lock,
 * never fails. `mine`: metrics of the calling thread (may be NULL). */
void writer_post(struct writer *writer, struct journal_unit *unit, mr_metrics *mine);

/* Any thread: what was posted and is not answered yet (relaxed reads, for back-pressure). */
struct writer_queue {
    uint64_t bytes;
    uint64_t records;
};
struct writer_queue writer_queue(const struct writer *writer);

/* Writer's thread: one step: takes what is posted, writes, syncs, answers. Returns when to step
 * again at the latest; earlier when something is posted. Blocks on the disk. */
mr_mono writer_step(struct writer *writer, mr_mono now, mr_wall wall);
/* Writer's thread, at a clean stop: steps until everything posted is answered, syncs, and leaves a
 * witness of the end. After want of space it does not wait but tries again at once, a few times;
 * OUTCOME units for which there still is none are answered FULL. */
void writer_finish(struct writer *writer, mr_mono now, mr_wall wall);

/* Production: steps until writer_request_stop, then finishes. arg is the writer. */
void writer_thread_main(void *arg);
/* Any thread. */
void writer_request_stop(struct writer *writer);

/* Any thread (relaxed reads). */
struct writer_stats {
    uint64_t groups, records, bytes, syncs;
    uint64_t sync_ns_total, sync_ns_max;
    uint64_t duplicates, conflicts;
};
struct writer_stats writer_stats(const struct writer *writer);

#endif
