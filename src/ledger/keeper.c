/* The keeper. See keeper.h; what it has journaled is in keeper/job.c, retention in
 * keeper/retention.c.
 *
 * A step: drain the mailbox; look at the unit that came back; follow the journal to its durable
 * end; answer; then one piece of upkeep, the most urgent first: spare segments, files of ids,
 * checkpoint, totals, unreadable deliveries, expiry, retention. So a question waits for one piece
 * at the most.
 *
 * Why a book of its own and not the lanes' state: workers never stop to write themselves down, the
 * code that recovers is the code that runs all day, and counters are exact at a position.
 *
 * Failure policy: a file that cannot be written raises the alarm and is tried again ten seconds
 * later; nothing that was kept is lost by it. Without memory the book is dropped and loaded again
 * from the newest checkpoint; questions are answered "again" meanwhile. */
#include "ledger/keeper.h"

#include "base/mem.h"
#include "ledger/keeper/parts.h"
#include "os/clock.h"
#include "os/thread.h"

#define FOLLOW_MS     200
#define IDLE_MS       1000
#define EXPIRY_MS     10000
#define KEYS_RELOAD   65536U /* names that producers once sent: dropped by loading anew */
#define JOB_BYTES_MAX (8U * 1024 * 1024)

static void set_defaults(struct keeper_options *options) {
    if (options->checkpoint_bytes == 0) {
        options->checkpoint_bytes = KEEPER_CHECKPOINT_BYTES;
    }
    if (options->checkpoint_records == 0) {
        options->checkpoint_records = KEEPER_CHECKPOINT_RECORDS;
    }
    if (options->retention_ms == 0) {
        options->retention_ms = KEEPER_RETENTION_MS;
    }
    if (options->retention_bytes == 0) {
        options->retention_bytes = KEEPER_RETENTION_BYTES;
    }
    if (options->letters_ms == 0) {
        options->letters_ms = KEEPER_LETTERS_MS;
    }
    if (options->archive_bytes_max == 0) {
        options->archive_bytes_max = ARCHIVE_BYTES_MAX;
    }
    if (options->archive_share_percent == 0) {
        options->archive_share_percent = ARCHIVE_SHARE_PERCENT;
    }
}

mr_err keeper_new(const struct keeper_options *options, struct keeper **ret_keeper) {
    struct keeper *keeper = MR_NEW(struct keeper);
    char *dir = mr_strdup_n(options->checkpoint_dir, strlen(options->checkpoint_dir));
    mr_err err = keeper == NULL || dir == NULL ? MR_ERR(MR_E_NOMEM) : MR_OK;
    uint64_t floor = 0;
    if (mr_is_ok(err)) {
        err = book_saved_floor(options->files, dir, &floor);
    }
    if (mr_is_err(err)) {
        mr_free(keeper);
        mr_free(dir);
        return err;
    }
    keeper->options = *options;
    set_defaults(&keeper->options);
    keeper->dir = dir;
    keeper->options.checkpoint_dir = dir;
    keeper->book = options->book;
    keeper->floor = floor;
    keeper->queries_end = &keeper->queries;
    keeper->job.keeper = keeper;
    mr_buf_init(&keeper->job.bytes, JOB_BYTES_MAX);
    mr_buf_init(&keeper->job.pending, SIZE_MAX / 2);
    mailbox_init(&keeper->mailbox);
    os_mutex_init(&keeper->mu);
    *ret_keeper = keeper;
    return MR_OK;
}

void keeper_free(struct keeper *keeper) {
    if (keeper == NULL) {
        return;
    }
    if (keeper->iter_open) {
        journal_iter_done(&keeper->iter);
    }
    book_free(keeper->book);
    mr_buf_done(&keeper->job.bytes);
    mr_buf_done(&keeper->job.pending);
    os_mutex_done(&keeper->mu);
    mr_free(keeper->dir);
    mr_free(keeper);
}

struct mailbox *keeper_mailbox(struct keeper *keeper) {
    return &keeper->mailbox;
}

/* --- alarms and state
 * ----------------------------------------------------------------------------- */

void keeper_alarm(struct keeper *keeper, const char *event, mr_err err, mr_mono now) {
    keeper->retry_at = mr_mono_add_ms(now, KEEPER_RETRY_MS);
    os_mutex_lock(&keeper->mu);
    bool is_new = !keeper->status.alarm;
    keeper->status.alarm = true;
    os_mutex_unlock(&keeper->mu);
    if (is_new) {
        mr_error(keeper->options.log, event, mr_kv_i64("error", err.code));
    }
}

void keeper_calm(struct keeper *keeper) {
    os_mutex_lock(&keeper->mu);
    keeper->status.alarm = false;
    os_mutex_unlock(&keeper->mu);
}

static void publish(struct keeper *keeper) {
    struct record_counters totals;
    struct record_counters callbacks;
    uint64_t letters = book_n_letters(keeper->book);
    book_totals(keeper->book, &totals);
    book_callback_totals(keeper->book, &callbacks);
    os_mutex_lock(&keeper->mu);
    keeper->status.totals = totals;
    keeper->status.position = book_position(keeper->book);
    keeper->status.checkpoint_pos = keeper->checkpoint_pos;
    keeper->status.letters = letters;
    os_mutex_unlock(&keeper->mu);
    mr_metrics *metrics = keeper->options.metrics;
    mr_metric_set(metrics, MR_METRIC_DELIVERIES_PENDING, (int64_t)totals.pending);
    mr_metric_set(metrics, MR_METRIC_DELIVERIES_DELIVERED, (int64_t)totals.delivered);
    mr_metric_set(metrics, MR_METRIC_DELIVERIES_DEAD, (int64_t)totals.dead);
    mr_metric_set(metrics, MR_METRIC_DELIVERIES_DISCARDED, (int64_t)totals.discarded);
    mr_metric_set(metrics, MR_METRIC_DELIVERIES_SKIPPED, (int64_t)totals.skipped);
    mr_metric_set(metrics, MR_METRIC_CALLBACKS_PENDING, (int64_t)callbacks.pending);
    mr_metric_set(metrics, MR_METRIC_CALLBACKS_DELIVERED, (int64_t)callbacks.delivered);
    mr_metric_set(metrics, MR_METRIC_CALLBACKS_FAILED, (int64_t)callbacks.dead);
}

struct keeper_status keeper_status(const struct keeper *keeper) {
    struct keeper *shared = (struct keeper *)(uintptr_t)keeper; /* for the lock alone */
    os_mutex_lock(&shared->mu);
    struct keeper_status status = keeper->status;
    os_mutex_unlock(&shared->mu);
    return status;
}

/* A wall clock that went another way than the monotonic one by more than an hour. */
static void watch_clock(struct keeper *keeper, mr_mono now, mr_wall wall) {
    bool is_resumed = atomic_exchange(&keeper->resume, false);
    int64_t apart_ms = 0;
    if (keeper->has_last) {
        apart_ms = (wall.ns - keeper->last_wall.ns) / MR_NS_PER_MS -
                   mr_mono_diff_ms(now, keeper->last_mono);
    }
    keeper->has_last = true;
    keeper->last_wall = wall;
    keeper->last_mono = now;
    bool has_stepped = apart_ms > KEEPER_STEP_MS || apart_ms < -KEEPER_STEP_MS;
    if (has_stepped || is_resumed) {
        os_mutex_lock(&keeper->mu);
        keeper->status.ages_suspended = has_stepped;
        os_mutex_unlock(&keeper->mu);
    }
    if (has_stepped) {
        mr_error(keeper->options.log, "wall_clock_stepped", mr_kv_i64("by_ms", apart_ms));
    }
}

void keeper_resume_ages(struct keeper *keeper) {
    atomic_store(&keeper->resume, true);
}

/* --- following
 * ------------------------------------------------------------------------------------ */

static void close_iter(struct keeper *keeper) {
    if (keeper->iter_open) {
        journal_iter_done(&keeper->iter);
        keeper->iter_open = false;
    }
}

/* The book is gone for want of memory: takes it from the newest checkpoint. */
static mr_err load_again(struct keeper *keeper) {
    struct book_loaded loaded;
    struct book_options options = {.log = keeper->options.log};
    close_iter(keeper);
    book_free(keeper->book);
    keeper->book = NULL;
    mr_err err = book_load(&options, keeper->options.files, keeper->dir,
                           journal_store_id(keeper->options.journal), &keeper->book, &loaded);
    return mr_err_is(err, MR_E_NOT_FOUND) ? book_new(&options, &keeper->book) : err;
}

static mr_err follow(struct keeper *keeper) {
    uint64_t end = journal_durable(keeper->options.journal);
    if (book_position(keeper->book) >= end) {
        return MR_OK;
    }
    if (!keeper->iter_open) {
        journal_iter_init(&keeper->iter, keeper->options.journal, book_position(keeper->book));
        keeper->iter_open = true;
    }
    for (;;) {
        struct journal_item item;
        MR_TRY(journal_iter_next(&keeper->iter, end, &item));
        if (item.kind == JOURNAL_ITEM_END) {
            break;
        }
        if (item.kind == JOURNAL_ITEM_DAMAGE) {
            MR_TRY(book_damage(keeper->book, item.damage.pos, item.damage.end_pos));
            continue;
        }
        const struct journal_record *record = &item.record;
        mr_err err =
            book_apply(keeper->book, record->pos, record->next_pos, record->type, record->body);
        if (mr_is_err(err) && !mr_err_is(err, LEDGER_E_RECORD) && !mr_err_is(err, LEDGER_E_NEWER)) {
            return err;
        }
        keeper->records_since++;
    }
    book_advance(keeper->book, end);
    keeper->progressed = true;
    return MR_OK;
}

/* --- questions
 * ------------------------------------------------------------------------------------ */

void keeper_answer(struct keeper *keeper, struct keeper_query *query, mr_err result) {
    query->result = result;
    query->as_of = keeper->book == NULL ? 0 : book_position(keeper->book);
    query->mail.run = query->on_done;
    mailbox_post(query->reply, &query->mail, keeper->options.metrics);
}

void keeper_queue(struct keeper *keeper, struct keeper_query *query) {
    query->next = NULL;
    *keeper->queries_end = query;
    keeper->queries_end = &query->next;
}

static void on_query(struct mail *mail) {
    struct keeper_query *query = (struct keeper_query *)(void *)mail;
    keeper_queue(query->keeper, query);
}

void keeper_ask(struct keeper *keeper, struct keeper_query *query, mr_metrics *mine) {
    query->keeper = keeper;
    query->mail.run = on_query;
    query->n_letters = 0;
    query->n_total = 0;
    query->redriven = 0;
    query->done = 0;
    query->wanted = 0;
    query->origin = 0;
    mailbox_post(&keeper->mailbox, &query->mail, mine);
}

/* The letters' types, as text of the asker's. */
static mr_err give_types(const struct keeper *keeper, struct keeper_query *query) {
    size_t base = query->type_text->len;
    for (size_t i = 0; i < query->n_letters; i++) {
        if (query->letters[i].key != BOOK_KEY_NONE) {
            MR_TRY(
                mr_buf_str(query->type_text, book_key(keeper->book, query->letters[i].key).type));
        }
    }
    for (size_t i = 0; i < query->n_letters; i++) {
        query->types[i] = MR_STR_NONE;
        if (query->letters[i].key != BOOK_KEY_NONE) {
            size_t len = book_key(keeper->book, query->letters[i].key).type.len;
            query->types[i] = len == 0 ? MR_STR("") : (mr_str){query->type_text->ptr + base, len};
            base += len;
        }
    }
    return MR_OK;
}

static mr_err tell_letters(const struct keeper *keeper, struct keeper_query *query) {
    if (query->ask == KEEPER_ASK_LETTER) {
        MR_TRY(book_letter_find(keeper->book, &query->letter_id, &query->letters[0]));
        if (query->filter.account != NULL && query->letters[0].account != *query->filter.account) {
            return MR_ERR(MR_E_NOT_FOUND);
        }
        query->n_letters = 1;
        query->n_total = 1;
    } else {
        const struct book_letter_page page = {query->is_behind ? &query->letter_id : NULL,
                                              query->skip};
        MR_TRY(book_letters_list(keeper->book, &query->filter, page, query->letters, query->n_max,
                                 &query->n_letters, &query->n_total, &query->has_more));
    }
    return query->types == NULL || query->type_text == NULL ? MR_OK : give_types(keeper, query);
}

static void tell_destinations(const struct keeper *keeper, struct keeper_query *query) {
    for (size_t i = 0; i < query->n; i++) {
        if (mr_is_err(
                book_destination_get(keeper->book, query->destinations[i], &query->rows[i]))) {
            query->rows[i] = (struct book_destination){.number = query->destinations[i]};
        }
    }
}

struct before {
    int64_t before_ms;
    uint64_t position;
};

static mr_err look_before(void *ctx, const struct book_waiting *waiting) {
    struct before *before = ctx;
    if (waiting->origin == 0 && waiting->accepted_ms >= before->before_ms &&
        waiting->pos < before->position) {
        before->position = waiting->pos;
    }
    return MR_OK;
}

static mr_err tell(struct keeper *keeper, struct keeper_query *query, mr_mono now, mr_wall wall) {
    switch (query->ask) {
    case KEEPER_ASK_DESTINATION:
        tell_destinations(keeper, query);
        break;
    case KEEPER_ASK_TOTALS:
        book_totals(keeper->book, &query->totals);
        query->letters_kept = keeper_status(keeper).letters;
        break;
    case KEEPER_ASK_LETTERS:
    case KEEPER_ASK_LETTER:
        return tell_letters(keeper, query);
    case KEEPER_ASK_DISCARD_BEFORE: {
        struct before before = {.before_ms = query->filter.to_ms,
                                .position = book_position(keeper->book)};
        MR_TRY(book_each_waiting(keeper->book, query->destinations[0], 0, UINT64_MAX, look_before,
                                 &before));
        query->position = before.position;
        break;
    }
    case KEEPER_ASK_CHECKPOINT:
        return keeper_checkpoint(keeper, now, wall);
    case KEEPER_ASK_CALLBACK:
    case KEEPER_ASK_CALLBACKS:
        return keeper_tell_callbacks(keeper, query);
    case KEEPER_ASK_REDRIVE:
        break; /* in answer_all */
    }
    return MR_OK;
}

static struct keeper_query *take_query(struct keeper *keeper) {
    struct keeper_query *query = keeper->queries;
    if (query != NULL) {
        keeper->queries = query->next;
        if (keeper->queries == NULL) {
            keeper->queries_end = &keeper->queries;
        }
    }
    return query;
}

static void answer_all(struct keeper *keeper, mr_mono now, mr_wall wall) {
    struct keeper_query *later = NULL;
    struct keeper_query **later_end = &later;
    struct keeper_query *query;
    while ((query = take_query(keeper)) != NULL) {
        if (query->ask != KEEPER_ASK_REDRIVE) {
            keeper_answer(keeper, query, tell(keeper, query, now, wall));
        } else {
            query->next = NULL;
            *later_end = query;
            later_end = &query->next;
        }
    }
    /* Redrives take their turn with the one unit that the keeper has with the writer. */
    if (later != NULL && !keeper->finishing && !keeper->job.is_posted &&
        keeper->job.pending_at == keeper->job.pending.len) {
        query = later;
        later = later->next;
        job_redrive(keeper, query);
    }
    for (query = later; query != NULL; query = query->next) {
        keeper->queries_end = &query->next;
    }
    keeper->queries = later;
    if (later == NULL) {
        keeper->queries_end = &keeper->queries;
    }
}

static void refuse_all(struct keeper *keeper, mr_err err) {
    struct keeper_query *query;
    while ((query = take_query(keeper)) != NULL) {
        keeper_answer(keeper, query, err);
    }
}

/* --- upkeep
 * --------------------------------------------------------------------------------------- */

mr_err keeper_checkpoint(struct keeper *keeper, mr_mono now, mr_wall wall) {
    mr_err err = book_save(keeper->book, keeper->options.files, keeper->dir,
                           journal_store_id(keeper->options.journal), wall);
    if (mr_is_err(err)) {
        keeper_alarm(keeper, "checkpoint_failed", err, now);
        return err;
    }
    keeper_calm(keeper);
    keeper->checkpoint_pos = book_position(keeper->book);
    keeper->records_since = 0;
    keeper->totals_wanted = true;
    keeper->progressed = true;
    mr_ignore(book_saved_floor(keeper->options.files, keeper->dir, &keeper->floor),
              "the old floor is lower, which keeps more");
    os_mutex_lock(&keeper->mu);
    keeper->status.checkpoints++;
    os_mutex_unlock(&keeper->mu);
    mr_metric_add(keeper->options.metrics, MR_METRIC_CHECKPOINTS, 1);
    mr_info(keeper->options.log, "checkpoint", mr_kv_i64("pos", (int64_t)keeper->checkpoint_pos));
    return book_n_keys(keeper->book) > KEYS_RELOAD ? load_again(keeper) : MR_OK;
}

static bool is_checkpoint_due(const struct keeper *keeper) {
    uint64_t position = book_position(keeper->book);
    uint64_t last = keeper->checkpoint_pos > keeper->floor ? keeper->checkpoint_pos : keeper->floor;
    return keeper->records_since > 0 &&
           (keeper->records_since >= keeper->options.checkpoint_records ||
            position - last >= keeper->options.checkpoint_bytes);
}

/* True: something was posted. */
static bool post_unreadable(struct keeper *keeper, mr_wall wall) {
    struct job *job = &keeper->job;
    size_t size = RECORD_DEAD_BYTES(BOOK_UNREADABLE_MAX);
    uint8_t *at;
    size_t len;
    if (mr_is_err(job_begin_record(job, size, &at)) ||
        mr_is_err(book_unreadable_next(keeper->book, mr_wall_ms(wall), keeper->options.random,
                                       keeper->options.random_ctx, at, size, &len))) {
        return false;
    }
    job_end_record(job, RECORD_DEAD, len);
    job->count = (len - RECORD_DEAD_HEAD_BYTES) / 24;
    job_post(keeper, JOB_UNREADABLE, JOURNAL_CONTROL, keeper->options.reader_mask);
    return true;
}

static bool post_expiry(struct keeper *keeper, mr_mono now, mr_wall wall) {
    struct record_letter_id ids[KEEPER_BATCH];
    uint32_t destination;
    size_t n = 0;
    uint8_t cause = RECORD_EXPIRE_AGE;
    if (mr_mono_before(now, keeper->next_expiry)) {
        return false;
    }
    if (!keeper->status.ages_suspended && keeper->options.letters_ms > 0) {
        n = book_letters_older(keeper->book, mr_wall_ms(wall) - keeper->options.letters_ms, ids,
                               KEEPER_BATCH);
    }
    if (n == 0) {
        uint64_t over = book_letters_over(keeper->book, &destination);
        cause = RECORD_EXPIRE_SPACE;
        if (over > 0) {
            n = book_letters_oldest(keeper->book, destination, ids,
                                    over < KEEPER_BATCH ? (size_t)over : KEEPER_BATCH);
        }
    }
    if (n == 0 || mr_is_err(job_expire(keeper, cause, ids, n))) {
        keeper->next_expiry = mr_mono_add_ms(now, EXPIRY_MS);
        return false;
    }
    return true;
}

/* Gives back the memory of segments that are folded in and that nothing pending stands in. */
static void forget(const struct keeper *keeper) {
    uint64_t end = journal_remembered(keeper->options.journal);
    if (end != 0 && end <= book_position(keeper->book)) {
        journal_forget(keeper->options.journal, book_pending_from(keeper->book));
    }
}

/* One piece. Those that need the writer wait while a unit is with it. */
static void upkeep(struct keeper *keeper, mr_mono now, mr_wall wall) {
    struct journal *journal = keeper->options.journal;
    forget(keeper);
    if (journal_spare_step(journal) ||
        (keeper->options.dedupe != NULL && dedupe_store_step(keeper->options.dedupe))) {
        keeper->progressed = true;
        return;
    }
    if (mr_mono_before(now, keeper->retry_at)) {
        return;
    }
    if (is_checkpoint_due(keeper)) {
        mr_ignore(keeper_checkpoint(keeper, now, wall), "the alarm says it");
        return;
    }
    enum journal_state state = journal_state(journal);
    if (keeper->job.is_posted || state == JOURNAL_STATE_FAILED || state == JOURNAL_STATE_FENCED ||
        job_totals_next(keeper)) {
        return;
    }
    if (keeper->totals_wanted) {
        keeper->totals_wanted = false;
        mr_ignore(job_totals(keeper, false), "without memory the next checkpoint brings them");
        return;
    }
    if (!post_unreadable(keeper, wall) && !post_expiry(keeper, now, wall)) {
        keeper_retain(keeper, now, wall);
    }
}

/* --- the actor
 * ------------------------------------------------------------------------------------ */

/* Follows, answers. False: there is no book to work with now. */
static bool catch_up(struct keeper *keeper, mr_mono now, mr_wall wall) {
    mr_err err = keeper->book == NULL ? load_again(keeper) : MR_OK;
    if (mr_is_ok(err)) {
        err = follow(keeper);
    }
    if (mr_err_is(err, MR_E_NOMEM)) {
        mr_ignore(load_again(keeper), "tried again by the next step");
    }
    if (mr_is_err(err)) {
        close_iter(keeper);
        keeper_alarm(keeper, "keeper_cannot_follow", err, now);
        refuse_all(keeper, MR_ERR(MR_E_AGAIN));
        return false;
    }
    publish(keeper);
    answer_all(keeper, now, wall);
    return keeper->book != NULL;
}

mr_mono keeper_step(struct keeper *keeper, mr_mono now, mr_wall wall) {
    keeper->progressed = false;
    mailbox_run(mailbox_drain(&keeper->mailbox));
    watch_clock(keeper, now, wall);
    if (keeper->job.is_posted && keeper->job.is_done) {
        job_finish(keeper, now);
        keeper->progressed = true;
    }
    bool has_followed = false;
    if (!mr_mono_before(now, keeper->retry_at) || keeper->book != NULL) {
        has_followed = catch_up(keeper, now, wall);
    }
    bool has_moved = keeper->progressed;
    keeper->progressed = false;
    if (has_followed) {
        upkeep(keeper, now, wall);
    } else {
        (void)journal_spare_step(keeper->options.journal); /* whatever else cannot be done */
    }
    struct journal_status status;
    journal_status(keeper->options.journal, &status);
    mr_metric_set(keeper->options.metrics, MR_METRIC_JOURNAL_SEGMENTS, status.segments);
    if (keeper->progressed && !keeper->job.is_posted) {
        return now;
    }
    return mr_mono_add_ms(now, has_moved ? FOLLOW_MS : IDLE_MS);
}

mr_err keeper_finish(struct keeper *keeper, mr_mono now, mr_wall wall) {
    keeper->finishing = true;
    mailbox_run(mailbox_drain(&keeper->mailbox));
    if (keeper->job.is_posted && keeper->job.is_done) {
        job_finish(keeper, now);
    }
    if (keeper->book == NULL) {
        MR_TRY(load_again(keeper));
    }
    mr_err err = follow(keeper);
    if (mr_is_ok(err)) {
        publish(keeper);
        answer_all(keeper, now, wall);
        err = keeper_checkpoint(keeper, now, wall);
    }
    refuse_all(keeper, MR_ERR(MR_E_CLOSED));
    return err;
}

static void on_nudge(struct mail *mail) {
    mr_free(mail);
}

void keeper_request_stop(struct keeper *keeper) {
    atomic_store(&keeper->stop, true);
    struct mail *nudge = mr_alloc(sizeof *nudge);
    if (nudge != NULL) { /* else it is seen within a second */
        nudge->run = on_nudge;
        mailbox_post(&keeper->mailbox, nudge, NULL);
    }
}

void keeper_thread_main(void *arg) {
    struct keeper *keeper = arg;
    os_thread_lower_priority();
    while (!atomic_load(&keeper->stop)) {
        mr_mono deadline = keeper_step(keeper, os_mono_now(), os_wall_now());
        mailbox_run(mailbox_wait(&keeper->mailbox, deadline));
    }
    mr_err err = keeper_finish(keeper, os_mono_now(), os_wall_now());
    if (mr_is_err(err)) {
        mr_error(keeper->options.log, "last_checkpoint_failed", mr_kv_i64("error", err.code));
    }
}
