/* The writer actor. See writer.h; how a group is formed is told in group.c.
 *
 *   mailbox ─▶ queue ─▶ group (admit, place, encode, write) ─▶ waiting + written ─▶ sync ─▶ commit:
 *                                                                    committed hook, slabs, answers
 *
 * One group at a time; a group with anything but outcomes in it is synced at once, and what is
 * posted while that sync runs forms the next group. A group of outcomes alone is written at once,
 * so that a kill loses nothing, and synced with the next group or after 20 ms.
 *
 * After FAILED or FENCED everything that is there or still comes is answered so; nothing is
 * published. */
#include "journal/writer.h"

#include "base/list.h"
#include "base/mem.h"
#include "journal/append.h"
#include "journal/format.h"
#include "journal/group.h"
#include "os/clock.h"
#include "os/thread.h"

#define GROUP_BYTES_DEFAULT (1024U * 1024)
#define SLAB_BYTES_DEFAULT  (32U * 1024 * 1024)
#define WITNESS_MS_DEFAULT  1000
#define OUTCOME_MS_DEFAULT  20
#define SLAB_RETRY_MS       1
#define STOP_TRIES          2000
/* At a stop want of space is not waited for: the open segment is tried, then both spares. */
#define FINISH_TRIES (1 + (int)JOURNAL_SPARES)

/* --- lists and answers ------------------------------------------------------------------------ */

/* The unit is its owner's from here on. */
void writer_answer(struct writer *writer, struct journal_unit *unit, enum journal_result result) {
    unit->result = result;
    unit->mail.run = unit->on_done;
    atomic_fetch_sub_explicit(&writer->queued_bytes, unit->bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&writer->queued_records, unit->n_records, memory_order_relaxed);
    mailbox_post(unit->reply, &unit->mail, writer->options.metrics);
}

/* --- construction ----------------------------------------------------------------------------- */

static void on_stop_mail(struct mail *mail) {
    (void)mail; /* it only ends the sleep */
}

mr_err writer_new(const struct writer_options *options, struct writer **ret_writer) {
    struct writer *writer = MR_NEW(struct writer);
    if (writer == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    writer->options = *options;
    writer->journal = options->journal;
    struct writer_options *own = &writer->options;
    uint64_t group_max = journal_append_bytes_max(writer->journal) - FORMAT_GROUP_BYTES;
    own->group_bytes_max = own->group_bytes_max == 0 ? GROUP_BYTES_DEFAULT : own->group_bytes_max;
    own->group_bytes_max =
        own->group_bytes_max < group_max ? own->group_bytes_max : (size_t)group_max;
    own->slab_bytes_max = own->slab_bytes_max == 0 ? SLAB_BYTES_DEFAULT : own->slab_bytes_max;
    own->witness_ms = own->witness_ms == 0 ? WITNESS_MS_DEFAULT : own->witness_ms;
    own->outcome_sync_ms = own->outcome_sync_ms == 0 ? OUTCOME_MS_DEFAULT : own->outcome_sync_ms;
    mr_err err = slab_pool_new(own->group_bytes_max + FORMAT_GROUP_BYTES, own->slab_bytes_max,
                               &writer->pool);
    if (mr_is_err(err)) {
        mr_free(writer);
        return err;
    }
    mailbox_init(&writer->mailbox);
    writer->stop_mail.run = on_stop_mail;
    writer->unit_bytes_max = journal_capabilities(writer->journal).unit_bytes_max;
    writer->committed = journal_durable(writer->journal);
    writer->sync_due = MR_MONO_NEVER;
    writer->witness_due = MR_MONO_NEVER;
    writer->retry_at = (mr_mono){INT64_MIN};
    *ret_writer = writer;
    return MR_OK;
}

void writer_free(struct writer *writer) {
    if (writer == NULL) {
        return;
    }
    MR_ASSERT(writer->queue.head == NULL && writer->waiting.head == NULL);
    slab_pool_free(writer->pool);
    mr_free(writer);
}

void writer_subscribe(struct writer *writer, unsigned bit, struct mailbox *mailbox,
                      void (*on_slab)(struct mail *mail), void *ctx) {
    MR_ASSERT(bit < SLAB_SUBSCRIBERS_MAX && (writer->subscribed >> bit & 1) == 0);
    writer->subscribers[bit] = (struct subscriber){mailbox, on_slab, ctx};
    writer->subscribed |= UINT64_C(1) << bit;
}

void writer_post(struct writer *writer, struct journal_unit *unit, mr_metrics *mine) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < unit->n_records; i++) {
        bytes +=
            (((uint64_t)unit->records[i].len + (FORMAT_GRID - 1)) & ~(uint64_t)(FORMAT_GRID - 1)) +
            FORMAT_FRAME_BYTES;
    }
    unit->bytes = bytes;
    unit->result = JOURNAL_RESULT_NONE;
    atomic_fetch_add_explicit(&writer->queued_bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&writer->queued_records, unit->n_records, memory_order_relaxed);
    mailbox_post(&writer->mailbox, &unit->mail, mine);
}

struct writer_queue writer_queue(const struct writer *writer) {
    return (struct writer_queue){
        .bytes = atomic_load_explicit(&writer->queued_bytes, memory_order_relaxed),
        .records = atomic_load_explicit(&writer->queued_records, memory_order_relaxed)};
}

struct writer_stats writer_stats(const struct writer *writer) {
    return (struct writer_stats){
        .groups = atomic_load_explicit(&writer->n_groups, memory_order_relaxed),
        .records = atomic_load_explicit(&writer->n_records, memory_order_relaxed),
        .bytes = atomic_load_explicit(&writer->n_bytes, memory_order_relaxed),
        .syncs = atomic_load_explicit(&writer->n_syncs, memory_order_relaxed),
        .sync_ns_total = atomic_load_explicit(&writer->sync_ns_total, memory_order_relaxed),
        .sync_ns_max = atomic_load_explicit(&writer->sync_ns_max, memory_order_relaxed),
        .duplicates = atomic_load_explicit(&writer->n_duplicates, memory_order_relaxed),
        .conflicts = atomic_load_explicit(&writer->n_conflicts, memory_order_relaxed)};
}

/* --- commit ----------------------------------------------------------------------------------- */

static void publish(struct writer *writer, struct slab *slab) {
    uint64_t mask = slab->mask & writer->subscribed;
    while (mask != 0) {
        unsigned bit = (unsigned)__builtin_ctzll(mask);
        mask &= mask - 1;
        const struct subscriber *subscriber = &writer->subscribers[bit];
        struct slab_mail *mail = &slab->mails[bit];
        mail->mail.run = subscriber->on_slab;
        mail->slab = slab;
        mail->ctx = subscriber->ctx;
        slab_ref(slab);
        mailbox_post(subscriber->mailbox, &mail->mail, writer->options.metrics);
    }
    slab_unref(slab);
}

/* Tells everyone what has become durable since the last time. */
void writer_settle(struct writer *writer) {
    uint64_t durable = journal_durable(writer->journal);
    if (durable == writer->committed) {
        return;
    }
    MR_ASSERT(durable > writer->committed);
    writer->committed = durable;
    const struct writer_hooks *hooks = &writer->options.hooks;
    if (hooks->committed != NULL) {
        hooks->committed(hooks->ctx, durable);
    }
    while (writer->written_head != NULL && writer->written_head->end_pos <= durable) {
        struct slab *slab = writer->written_head;
        writer->written_head = slab->next;
        slab->next = NULL;
        publish(writer, slab);
    }
    while (writer->waiting.head != NULL && writer->waiting.head->end_pos <= durable) {
        writer_answer(writer, list_pop(&writer->waiting), JOURNAL_RESULT_OK);
    }
    if (!journal_append_is_dirty(writer->journal)) {
        MR_ASSERT(writer->written_head == NULL && writer->waiting.head == NULL);
        writer->sync_due = MR_MONO_NEVER;
    }
}

static void answer_all(struct writer *writer, struct unit_list *list, enum journal_result result) {
    struct journal_unit *unit;
    while ((unit = list_pop(list)) != NULL) {
        writer_answer(writer, unit, result);
    }
}

/* After FAILED or FENCED. */
static void fail_all(struct writer *writer) {
    enum journal_state state = journal_state(writer->journal);
    enum journal_result result =
        state == JOURNAL_STATE_FENCED ? JOURNAL_RESULT_FENCED : JOURNAL_RESULT_FAILED;
    const struct writer_hooks *hooks = &writer->options.hooks;
    if (!writer->is_failed) {
        writer->is_failed = true;
        if (hooks->failed != NULL) {
            hooks->failed(hooks->ctx, state);
        }
    }
    while (writer->written_head != NULL) {
        struct slab *slab = writer->written_head;
        writer->written_head = slab->next;
        slab_unref(slab);
    }
    answer_all(writer, &writer->waiting, result);
    answer_all(writer, &writer->queue, result);
}

bool writer_has_failed(const struct writer *writer) {
    enum journal_state state = journal_state(writer->journal);
    return state == JOURNAL_STATE_FAILED || state == JOURNAL_STATE_FENCED;
}

static mr_mono read_clock(const struct writer *writer) {
    return writer->options.clock != NULL ? writer->options.clock(writer->options.clock_ctx)
                                         : (mr_mono){0};
}

void writer_commit(struct writer *writer) {
    if (!journal_append_is_dirty(writer->journal)) {
        return;
    }
    mr_mono before = read_clock(writer);
    if (mr_is_err(journal_append_sync(writer->journal))) {
        return; /* sticky: the caller sees writer_has_failed() */
    }
    uint64_t took = (uint64_t)mr_mono_diff_ns(read_clock(writer), before);
    count(&writer->n_syncs, 1);
    count(&writer->sync_ns_total, took);
    if (took > atomic_load_explicit(&writer->sync_ns_max, memory_order_relaxed)) {
        atomic_store_explicit(&writer->sync_ns_max, took, memory_order_relaxed);
    }
    writer_settle(writer);
}

/* A group of no records that says where the end is. */
static void step_witness(struct writer *writer, mr_mono now, mr_wall wall) {
    struct append_place place;
    uint8_t bytes[FORMAT_GROUP_BYTES];
    writer->witness_due = mr_mono_add_ms(now, writer->options.witness_ms);
    mr_err err = journal_append_prepare(writer->journal, sizeof bytes, APPEND_EVENTS, wall, &place);
    if (mr_is_err(err)) {
        return; /* no space: again in a second; sticky: seen by the caller */
    }
    struct format_group header = {.epoch = journal_epoch(writer->journal),
                                  .number = place.group_number,
                                  .durable_pos = journal_durable(writer->journal),
                                  .bytes = sizeof bytes,
                                  .wall_ms = mr_wall_ms(wall)};
    format_group_encode(place.seed, place.pos, &header, bytes);
    if (mr_is_ok(journal_append_write(writer->journal, bytes, sizeof bytes))) {
        writer_commit(writer);
        writer->needs_witness = false;
        writer->witness_due = MR_MONO_NEVER;
    }
    writer_settle(writer);
}

/* --- steps ------------------------------------------------------------------------------------ */

static void take_in(struct writer *writer, struct mail *mail) {
    while (mail != NULL) {
        struct mail *next = mail->next;
        if (mail != &writer->stop_mail) {
            struct journal_unit *unit = MR_CONTAINER(mail, struct journal_unit, mail);
            bool sound = unit->n_records > 0 && unit->n_records <= JOURNAL_UNIT_RECORDS_MAX &&
                         unit->bytes <= writer->unit_bytes_max;
            if (sound) {
                bool is_ingest = unit->klass == JOURNAL_INGEST;
                writer->units_arrived += is_ingest;
                writer->records_arrived += is_ingest ? unit->n_records : 0;
                list_push(&writer->queue, unit);
            } else {
                writer_answer(writer, unit, JOURNAL_RESULT_LIMIT);
            }
        }
        mail = next;
    }
}

static mr_mono work(struct writer *writer, mr_mono now, mr_wall wall) {
    mr_mono slab_retry = MR_MONO_NEVER;
    if (mr_mono_before(now, writer->retry_at)) {
        group_refuse_queue(writer, false);
    }
    while (writer->queue.head != NULL && !writer_has_failed(writer) &&
           !mr_mono_before(now, writer->retry_at)) {
        enum progress progress = group_step(writer, now, wall);
        if (progress == PROGRESS_NO_SLAB) {
            slab_retry = mr_mono_add_ms(now, SLAB_RETRY_MS);
            break;
        }
    }
    if (!writer_has_failed(writer) && !mr_mono_before(now, writer->sync_due)) {
        writer_commit(writer);
    }
    bool is_idle = writer->queue.head == NULL && !journal_append_is_dirty(writer->journal);
    if (!writer_has_failed(writer) && writer->needs_witness && is_idle &&
        !mr_mono_before(now, writer->witness_due)) {
        step_witness(writer, now, wall);
    }
    if (writer_has_failed(writer)) {
        fail_all(writer);
        return MR_MONO_NEVER;
    }
    mr_mono deadline = mr_mono_min(writer->sync_due, slab_retry);
    if (writer->queue.head != NULL && mr_mono_before(now, writer->retry_at)) {
        deadline = mr_mono_min(deadline, writer->retry_at);
    }
    return writer->needs_witness ? mr_mono_min(deadline, writer->witness_due) : deadline;
}

mr_mono writer_step(struct writer *writer, mr_mono now, mr_wall wall) {
    take_in(writer, mailbox_drain(&writer->mailbox));
    return work(writer, now, wall);
}

void writer_finish(struct writer *writer, mr_mono now, mr_wall wall) {
    int tries = 0;
    do {
        writer->retry_at = (mr_mono){INT64_MIN};
        (void)writer_step(writer, now, wall);
    } while (++tries < FINISH_TRIES && writer->queue.head != NULL);
    if (!writer_has_failed(writer)) {
        writer_commit(writer);
    }
    if (!writer_has_failed(writer)) {
        answer_all(writer, &writer->queue, JOURNAL_RESULT_FULL);
        if (writer->needs_witness) {
            step_witness(writer, now, wall);
        }
    }
    if (writer_has_failed(writer)) {
        fail_all(writer);
    }
}

/* Under load, lets more come before the next sync: asleep without being woken by each. */
static void hold(struct writer *writer) {
    if (writer->queue.head == NULL) {
        return;
    }
    struct writer_queue queued = writer_queue(writer);
    pace_on_arrivals(&writer->pace, writer->units_arrived, writer->records_arrived, os_mono_now());
    writer->units_arrived = 0;
    writer->records_arrived = 0;
    int64_t wait_ns = pace_wait_ns(&writer->pace, queued.records, queued.bytes);
    if (wait_ns > 0) {
        os_pause_ns(wait_ns);
    }
}

void writer_thread_main(void *arg) {
    struct writer *writer = arg;
    os_thread_exact_timers();
    while (!atomic_load(&writer->must_stop)) {
        hold(writer);
        mr_mono deadline = writer_step(writer, os_mono_now(), os_wall_now());
        take_in(writer, mailbox_wait(&writer->mailbox, deadline));
    }
    /* Subscribers that still hold every slab get a moment to give one back. */
    for (int i = 0; i < STOP_TRIES && writer->queue.head != NULL && !writer_has_failed(writer);
         i++) {
        mr_mono now = os_mono_now();
        take_in(writer, mailbox_wait(&writer->mailbox, mr_mono_add_ms(now, SLAB_RETRY_MS)));
        (void)writer_step(writer, os_mono_now(), os_wall_now());
    }
    writer_finish(writer, os_mono_now(), os_wall_now());
}

void writer_request_stop(struct writer *writer) {
    if (!atomic_exchange(&writer->must_stop, true)) {
        mailbox_post(&writer->mailbox, &writer->stop_mail, NULL);
    }
}
