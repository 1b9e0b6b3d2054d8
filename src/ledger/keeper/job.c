/* What the keeper has journaled: expiries, overflow, unreadable deliveries, redrives, totals. One
 * unit at a time is with the writer; when it comes back the keeper follows the journal over it, so
 * that the next one is made from a book that knows it.
 *
 * A unit that was refused for want of space is not repeated here: what called for it will call
 * again. After FAILED nothing more is posted; the process is about to end. */
#include "ledger/keeper.h"

#include "base/mem.h"
#include "ledger/keeper/parts.h"
#include "ledger/recover.h"

#include <stdlib.h>

#define TOTALS_RECORD_BYTES (256U * 1024)
#define TOTALS_LIST         4096U
#define UNIT_BYTES          (4U * 1024 * 1024)

static void on_unit(struct mail *mail) {
    struct job *job = (struct job *)(void *)mail;
    job->is_done = true;
}

mr_err job_begin_record(struct job *job, size_t size, uint8_t **ret_at) {
    char *at;
    if (job->n_slots == KEEPER_SLOTS_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    MR_TRY(mr_buf_reserve(&job->bytes, size, &at));
    *ret_at = (uint8_t *)at;
    return MR_OK;
}

void job_end_record(struct job *job, uint8_t type, size_t len) {
    /* The body's place is known only when the buffer grows no more: job_post sets it. */
    job->slots[job->n_slots] = journal_slot_of(type, 0, (mr_str){NULL, len});
    job->n_slots++;
    mr_buf_commit(&job->bytes, len);
}

static void job_reset(struct job *job) {
    job->kind = JOB_NONE;
    job->n_slots = 0;
    job->count = 0;
    job->query = NULL;
    mr_buf_reset(&job->bytes);
}

void job_post(struct keeper *keeper, enum job_kind kind, enum journal_class klass, uint64_t mask) {
    struct job *job = &keeper->job;
    size_t at = 0;
    MR_ASSERT(!job->is_posted && job->n_slots > 0);
    for (uint32_t i = 0; i < job->n_slots; i++) {
        job->slots[i].body = job->bytes.ptr + at;
        at += job->slots[i].len;
    }
    job->kind = kind;
    job->is_posted = true;
    job->is_done = false;
    journal_unit_init(&job->unit, klass, job->slots, job->n_slots, &keeper->mailbox, on_unit,
                      keeper);
    job->unit.reader_mask = mask;
    keeper->progressed = true;
    keeper->options.post(keeper->options.post_ctx, &job->unit);
}

static mr_err err_of_result(enum journal_result result) {
    switch (result) {
    case JOURNAL_RESULT_OK:
        return MR_OK;
    case JOURNAL_RESULT_FULL:
        return MR_ERR(MR_E_AGAIN);
    case JOURNAL_RESULT_NONE:
    case JOURNAL_RESULT_CONFLICT:
    case JOURNAL_RESULT_LIMIT:
    case JOURNAL_RESULT_FENCED:
    case JOURNAL_RESULT_FAILED:
        break;
    }
    return MR_ERR(MR_E_FAILED);
}

static void count_done(struct keeper *keeper, const struct job *job) {
    os_mutex_lock(&keeper->mu);
    if (job->kind == JOB_OVERFLOW) {
        keeper->status.overflowed += job->count;
    }
    os_mutex_unlock(&keeper->mu);
    if (job->kind == JOB_UNREADABLE) {
        mr_metric_add(keeper->options.metrics, MR_METRIC_UNREADABLE, (int64_t)job->count);
    }
}

void job_finish(struct keeper *keeper, mr_mono now) {
    struct job *job = &keeper->job;
    mr_err err = err_of_result(job->unit.result);
    job->is_posted = false;
    if (mr_is_ok(err)) {
        count_done(keeper, job);
        if (job->query != NULL) {
            job->query->redriven += job->count;
            keeper_queue(keeper, job->query); /* for its next batch */
        }
        if (job->kind == JOB_TOTALS && job->pending_at == job->pending.len && job->is_full) {
            keeper->totals_full_as_of = job->as_of;
        }
    } else {
        keeper->retry_at = mr_mono_add_ms(now, KEEPER_RETRY_MS);
        mr_buf_reset(&job->pending);
        job->pending_at = 0;
        if (job->query != NULL) {
            keeper_answer(keeper, job->query, err);
        }
    }
    job_reset(job);
}

mr_err job_expire(struct keeper *keeper, uint8_t cause, const struct record_letter_id *ids,
                  size_t n) {
    struct job *job = &keeper->job;
    uint8_t *at;
    size_t len;
    job_reset(job);
    MR_TRY(job_begin_record(job, RECORD_EXPIRE_BYTES(n), &at));
    MR_TRY(record_expire_encode(cause, ids, (uint32_t)n, at, RECORD_EXPIRE_BYTES(n), &len));
    job_end_record(job, RECORD_EXPIRE, len);
    job->count = n;
    if (cause == RECORD_EXPIRE_SPACE) {
        os_mutex_lock(&keeper->mu);
        keeper->status.expired_early += n;
        os_mutex_unlock(&keeper->mu);
    }
    job_post(keeper, JOB_EXPIRE, JOURNAL_CONTROL, 0);
    return MR_OK;
}

/* --- totals -------------------------------------------------------------------------------------
 */

/* Builds the records of a set into job->pending. */
struct totals_maker {
    struct keeper *keeper;
    struct record_totals_builder builder;
    struct record_totals head;
    uint8_t *record; /* TOTALS_RECORD_BYTES */
    uint32_t number; /* whose entry is being made */
    const struct record_counters *counters;
    uint32_t origin;
    uint32_t n; /* gathered of the present list */
    uint64_t list[TOTALS_LIST];
};

static mr_err flush_record(struct totals_maker *maker, bool is_last) {
    mr_buf *out = &maker->keeper->job.pending;
    size_t len = record_totals_end(&maker->builder, is_last);
    uint8_t size[4];
    mr_put_u32(size, (uint32_t)len);
    MR_TRY(mr_buf_append(out, size, sizeof size));
    MR_TRY(mr_buf_append(out, maker->record, len));
    return record_totals_begin(&maker->builder, &maker->head, maker->record, TOTALS_RECORD_BYTES);
}

static mr_err flush_list(struct totals_maker *maker) {
    mr_err err = record_totals_add(&maker->builder, maker->number, maker->origin, maker->counters,
                                   maker->list, maker->n);
    if (mr_err_is(err, MR_E_LIMIT)) {
        MR_TRY(flush_record(maker, false));
        err = record_totals_add(&maker->builder, maker->number, maker->origin, maker->counters,
                                maker->list, maker->n);
    }
    maker->n = 0;
    return err;
}

static mr_err list_one(struct totals_maker *maker, uint32_t origin, uint64_t pos) {
    if (maker->n == TOTALS_LIST || (maker->n > 0 && maker->origin != origin)) {
        MR_TRY(flush_list(maker));
    }
    maker->origin = origin;
    maker->list[maker->n] = pos;
    maker->n++;
    return MR_OK;
}

static mr_err list_waiting(void *ctx, const struct book_waiting *waiting) {
    return list_one(ctx, waiting->origin, waiting->pos);
}

static mr_err list_request(void *ctx, const struct book_request *request) {
    for (uint32_t i = 0; i < request->n; i++) {
        MR_TRY(list_one(ctx, request->origin, request->positions[i]));
    }
    return MR_OK;
}

static mr_err list_destination(void *ctx, const struct book_destination *destination) {
    struct totals_maker *maker = ctx;
    const struct book *book = maker->keeper->book;
    maker->number = destination->number;
    maker->counters = &destination->counters;
    maker->origin = 0;
    maker->n = 0;
    if ((maker->head.flags & RECORD_TOTALS_FULL) != 0) {
        MR_TRY(book_each_waiting(book, destination->number, 0, UINT64_MAX, list_waiting, maker));
        MR_TRY(book_each_request(book, destination->number, list_request, maker));
    }
    return flush_list(maker);
}

static mr_err list_callback(void *ctx, const struct book_callback *callback) {
    struct totals_maker *maker = ctx;
    bool is_of = maker->number == (RECORD_CALLBACKS_OF | callback->record.account);
    return is_of ? list_one(maker, 0, callback->pos) : MR_OK;
}

/* Those who have open callbacks are few: one walk over all of them for each. */
static mr_err list_callbacks(void *ctx, uint32_t account, const struct record_counters *counters) {
    struct totals_maker *maker = ctx;
    maker->number = RECORD_CALLBACKS_OF | account;
    maker->counters = counters;
    maker->origin = 0;
    maker->n = 0;
    if ((maker->head.flags & RECORD_TOTALS_FULL) != 0 && counters->pending > 0) {
        MR_TRY(book_each_open_callback(maker->keeper->book, list_callback, maker));
    }
    return flush_list(maker);
}

static mr_err make_totals(struct totals_maker *maker) {
    MR_TRY(record_totals_begin(&maker->builder, &maker->head, maker->record, TOTALS_RECORD_BYTES));
    MR_TRY(book_each_destination(maker->keeper->book, list_destination, maker));
    MR_TRY(book_each_callback_account(maker->keeper->book, list_callbacks, maker));
    return flush_record(maker, true);
}

mr_err job_totals(struct keeper *keeper, bool is_full) {
    struct job *job = &keeper->job;
    struct totals_maker *maker = mr_calloc(1, sizeof *maker);
    uint8_t *record = mr_alloc(TOTALS_RECORD_BYTES);
    mr_err err = MR_ERR(MR_E_NOMEM);
    mr_buf_reset(&job->pending);
    job->pending_at = 0;
    if (maker != NULL && record != NULL) {
        bool is_whole = ledger_journal_is_whole(keeper->options.journal);
        maker->keeper = keeper;
        maker->record = record;
        maker->head = (struct record_totals){
            .as_of = book_position(keeper->book),
            .journal_start = journal_start(keeper->options.journal),
            .flags = (uint8_t)((is_full ? RECORD_TOTALS_FULL : 0) |
                               (is_whole ? RECORD_TOTALS_WHOLE : 0)),
        };
        job->as_of = maker->head.as_of;
        job->is_full = is_full;
        err = make_totals(maker);
    }
    mr_free(record);
    mr_free(maker);
    if (mr_is_err(err)) {
        mr_buf_reset(&job->pending);
        return err;
    }
    bool has_posted = job_totals_next(keeper);
    MR_ASSERT(has_posted);
    return MR_OK;
}

bool job_totals_next(struct keeper *keeper) {
    struct job *job = &keeper->job;
    if (job->pending_at == job->pending.len) {
        return false;
    }
    job_reset(job);
    while (job->pending_at < job->pending.len && job->bytes.len < UNIT_BYTES) {
        const char *from = job->pending.ptr + job->pending_at;
        uint32_t len = mr_get_u32(from);
        uint8_t *at;
        if (mr_is_err(job_begin_record(job, len, &at))) {
            break;
        }
        memcpy(at, from + 4, len);
        job_end_record(job, RECORD_TOTALS, len);
        job->pending_at += 4 + len;
    }
    if (job->n_slots == 0) {
        /* Without memory the set is given up; it is begun again when it is wanted. */
        mr_buf_reset(&job->pending);
        job->pending_at = 0;
        return false;
    }
    job_post(keeper, JOB_TOTALS, JOURNAL_CONTROL, 0);
    return true;
}

/* --- redrive ------------------------------------------------------------------------------------
 */

static int by_place(const void *a, const void *b) {
    const struct book_letter *x = a;
    const struct book_letter *y = b;
    if (x->destination != y->destination) {
        return x->destination < y->destination ? -1 : 1;
    }
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return x->pos < y->pos ? -1 : x->pos > y->pos;
}

/* The next letters of the query: at most KEEPER_BATCH. */
static size_t choose(const struct keeper *keeper, struct keeper_query *query,
                     struct book_letter *out) {
    if (query->n_ids == 0) {
        uint64_t left = query->wanted - query->done;
        size_t n_max = left < KEEPER_BATCH ? (size_t)left : KEEPER_BATCH;
        uint64_t n = n_max == 0 ? 0 : book_letters_ready(keeper->book, &query->filter, out, n_max);
        n = n < n_max ? n : n_max;
        query->done += n;
        return (size_t)n;
    }
    size_t n = 0;
    while (query->done < query->n_ids && n < KEEPER_BATCH) {
        const struct record_letter_id *id = &query->letter_ids[query->done];
        query->done++;
        bool is_there = mr_is_ok(book_letter_find(keeper->book, id, &out[n])) &&
                        out[n].has_payload && out[n].key != BOOK_KEY_NONE &&
                        (query->filter.account == NULL || out[n].account == *query->filter.account);
        for (size_t i = 0; is_there && i < n; i++) {
            is_there = memcmp(&out[i].id, id, sizeof *id) != 0;
        }
        n += is_there;
    }
    return n;
}

/* One ADD record for letters of one destination and key. */
static mr_err add_record(struct keeper *keeper, uint32_t origin, const struct book_letter *letters,
                         size_t n) {
    struct job *job = &keeper->job;
    struct book_key key = book_key(keeper->book, letters[0].key);
    struct record_add add = {.kind = RECORD_ADD_REDRIVE,
                             .version = key.version,
                             .account = letters[0].account,
                             .destination = letters[0].destination,
                             .origin = origin,
                             .type = key.type,
                             .n = (uint32_t)n};
    size_t size = RECORD_ADD_BYTES(key.type.len, n);
    struct record_add_item *items = mr_calloc(n, sizeof *items);
    if (items == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    for (size_t i = 0; i < n; i++) {
        items[i] = (struct record_add_item){.pos = letters[i].pos,
                                            .accepted_ms = letters[i].accepted_ms,
                                            .size = letters[i].size,
                                            .letter = letters[i].id};
    }
    uint8_t *at;
    size_t len;
    mr_err err = job_begin_record(job, size, &at);
    if (mr_is_ok(err)) {
        err = record_add_encode(&add, items, at, size, &len);
    }
    mr_free(items);
    MR_TRY(err);
    job_end_record(job, RECORD_ADD, len);
    job->count += n;
    return MR_OK;
}

/* Puts the letters into records; those that do not fit into this unit are left for a later one. */
static mr_err add_records(struct keeper *keeper, struct keeper_query *query,
                          struct book_letter *letters, size_t n) {
    size_t at = 0;
    job_reset(&keeper->job);
    qsort(letters, n, sizeof *letters, by_place);
    while (at < n) {
        size_t end = at + 1;
        while (end < n && letters[end].destination == letters[at].destination &&
               letters[end].key == letters[at].key) {
            end++;
        }
        mr_err err = add_record(keeper, query->origin, letters + at, end - at);
        if (mr_err_is(err, MR_E_LIMIT) && at > 0) {
            break;
        }
        MR_TRY(err);
        at = end;
    }
    return MR_OK;
}

void job_redrive(struct keeper *keeper, struct keeper_query *query) {
    if (query->origin == 0) {
        query->origin = book_next_origin(keeper->book);
        query->wanted = book_letters_ready(keeper->book, &query->filter, NULL, 0);
    }
    struct book_letter *letters = mr_calloc(KEEPER_BATCH, sizeof *letters);
    if (letters == NULL) {
        keeper_answer(keeper, query, MR_ERR(MR_E_NOMEM));
        return;
    }
    uint64_t begun = query->done;
    size_t n = choose(keeper, query, letters);
    while (query->dry_run && n > 0 && query->n_ids > 0) {
        query->redriven += n;
        n = choose(keeper, query, letters);
    }
    if (query->dry_run || n == 0) {
        query->redriven = query->dry_run && query->n_ids == 0 ? query->wanted : query->redriven;
        mr_free(letters);
        keeper_answer(keeper, query, MR_OK);
        return;
    }
    mr_err err = add_records(keeper, query, letters, n);
    mr_free(letters);
    if (mr_is_err(err)) {
        keeper_answer(keeper, query, err);
        return;
    }
    if (keeper->job.count < n) {
        /* Not all fitted: the rest is looked at again; ids already redriven are found gone. */
        query->done = query->n_ids == 0 ? begun + keeper->job.count : begun;
    }
    keeper->job.query = query;
    job_post(keeper, JOB_REDRIVE, JOURNAL_CONTROL, keeper->options.reader_mask);
}
