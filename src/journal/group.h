/* What the writer and the forming of its groups share: the writer's state, lists of units. Private
 * to the room. */
#ifndef MR_JOURNAL_GROUP_H
#define MR_JOURNAL_GROUP_H

#include "journal/append.h"
#include "journal/pace.h"
#include "journal/writer.h"

/* After a group found no space, the next is tried so much later. */
#define GROUP_SPACE_RETRY_MS 1000

/* Units in order, linked by next. */
struct unit_list {
    struct journal_unit *head;
    struct journal_unit *tail;
};

struct subscriber {
    struct mailbox *mailbox;
    void (*on_slab)(struct mail *mail);
    void *ctx;
};

struct writer {
    /* any thread */
    struct mailbox mailbox;
    _Atomic uint64_t queued_bytes, queued_records;
    _Atomic bool must_stop;
    struct mail stop_mail;
    /* written by the writer, read by any thread */
    _Atomic uint64_t n_groups, n_records, n_bytes, n_syncs, sync_ns_total, sync_ns_max;
    _Atomic uint64_t n_duplicates, n_conflicts;

    /* writer only */
    struct writer_options options;
    struct journal *journal;
    struct slab_pool *pool;
    struct subscriber subscribers[SLAB_SUBSCRIBERS_MAX];
    uint64_t subscribed; /* bits in use */
    uint64_t unit_bytes_max;
    struct unit_list queue;    /* taken from the mailbox, in no group yet */
    struct unit_list waiting;  /* for their end_pos to become durable */
    struct slab *written_head; /* groups of `waiting`, in order */
    struct slab *written_tail;
    uint64_t committed; /* durable position that was told */
    mr_mono sync_due;   /* of outcomes that are written */
    mr_mono witness_due;
    mr_mono retry_at; /* no group before this: there is no space */
    struct pace pace;
    uint64_t units_arrived, records_arrived; /* of ingest, since pace was told */
    bool needs_witness;                      /* something was appended since the last one */
    bool is_failed;
};

static inline void list_push(struct unit_list *list, struct journal_unit *unit) {
    unit->next = NULL;
    if (list->head == NULL) {
        list->head = unit;
    } else {
        list->tail->next = unit;
    }
    list->tail = unit;
}

static inline void list_push_front(struct unit_list *list, struct journal_unit *unit) {
    unit->next = list->head;
    list->head = unit;
    if (unit->next == NULL) {
        list->tail = unit;
    }
}

static inline struct journal_unit *list_pop(struct unit_list *list) {
    struct journal_unit *unit = list->head;
    if (unit != NULL) {
        list->head = unit->next;
    }
    return unit;
}

static inline void count(_Atomic uint64_t *counter, uint64_t n) {
    uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, before + n, memory_order_relaxed);
}

enum progress {
    PROGRESS_MADE = 0,
    PROGRESS_NO_SPACE, /* wait until retry_at */
    PROGRESS_NO_SLAB,  /* wait for subscribers */
    PROGRESS_FAILED,
};

/* Forms and writes one group from the head of the queue (which is not empty). */
enum progress group_step(struct writer *writer, mr_mono now, mr_wall wall);
/* No space: answers what is in the queue, but for outcomes and, with keep_control, control units.
 */
void group_refuse_queue(struct writer *writer, bool keep_control);

/* Of writer.c. */

/* The unit is its owner's from here on. */
void writer_answer(struct writer *writer, struct journal_unit *unit, enum journal_result result);
/* Tells everyone what has become durable since the last time. */
void writer_settle(struct writer *writer);
/* Syncs what is written and settles; on an error writer_has_failed. */
void writer_commit(struct writer *writer);
bool writer_has_failed(const struct writer *writer);

#endif
