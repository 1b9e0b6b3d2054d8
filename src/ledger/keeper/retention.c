/* Retention: the oldest segment goes when it is too old or there are too many bytes. Before that,
 * in this order, one piece of work at a time:
 *
 *   1. two checkpoints lie at or behind its end, so that a start never needs it;
 *   2. a full set of totals does, so that a recount has a base;
 *   3. the ids in it are in files;
 *   4. its events that are still needed are copied to the archive and synced, or are given up where
 *      the archive has no room: dead letters expire early first, then the oldest pending deliveries
 *      of the destination that holds too much, or most, become dead letters without content;
 *   5. it is removed, and the archive forgets what nobody needs any more.
 *
 * Each piece leaves a state from which the next look goes on, also after a crash. No delivery holds
 * a segment back for ever; an archive that cannot be written does, and raises the alarm. */
#include "ledger/keeper.h"

#include "base/mem.h"
#include "ledger/keeper/parts.h"

#include <stdlib.h>

#define SEGMENTS_MAX   4096U
#define RETENTION_MS   5000
#define BODY_BYTES_MAX (16U * 1024 * 1024)

/* What one destination holds of what lies before the end of the segment. */
struct share {
    uint32_t destination;
    uint64_t bytes;
    uint64_t letters; /* thereof dead letters */
};

struct needed {
    uint64_t *positions; /* sorted, each once, after `finish` */
    size_t n, capacity;
    struct share *shares;
    size_t n_shares, shares_capacity;
    uint32_t *slots; /* index + 1 by destination */
    size_t n_slots;
    uint64_t bytes; /* upper bound of all: shared events count for each destination */
};

static void needed_done(struct needed *needed) {
    mr_free(needed->positions);
    mr_free(needed->shares);
    mr_free(needed->slots);
}

static bool grow_slots(struct needed *needed) {
    size_t n_slots = needed->n_slots == 0 ? 64 : needed->n_slots * 2;
    uint32_t *slots = mr_calloc(n_slots, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    for (size_t i = 0; i < needed->n_shares; i++) {
        size_t at = needed->shares[i].destination * (size_t)2654435761U & (n_slots - 1);
        while (slots[at] != 0) {
            at = (at + 1) & (n_slots - 1);
        }
        slots[at] = (uint32_t)(i + 1);
    }
    mr_free(needed->slots);
    needed->slots = slots;
    needed->n_slots = n_slots;
    return true;
}

static struct share *share_of(struct needed *needed, uint32_t destination) {
    if (2 * (needed->n_shares + 1) > needed->n_slots && !grow_slots(needed)) {
        return NULL;
    }
    size_t at = destination * (size_t)2654435761U & (needed->n_slots - 1);
    while (needed->slots[at] != 0) {
        struct share *share = &needed->shares[needed->slots[at] - 1];
        if (share->destination == destination) {
            return share;
        }
        at = (at + 1) & (needed->n_slots - 1);
    }
    if (needed->n_shares == needed->shares_capacity) {
        size_t capacity = needed->shares_capacity * 2 + 16;
        struct share *shares = mr_realloc(needed->shares, capacity * sizeof *shares);
        if (shares == NULL) {
            return NULL;
        }
        needed->shares = shares;
        needed->shares_capacity = capacity;
    }
    needed->shares[needed->n_shares] = (struct share){.destination = destination};
    needed->n_shares++;
    needed->slots[at] = (uint32_t)needed->n_shares;
    return &needed->shares[needed->n_shares - 1];
}

static mr_err need(void *ctx, uint32_t destination, uint32_t origin, uint64_t pos, uint32_t size,
                   enum book_need kind) {
    struct needed *needed = ctx;
    (void)origin;
    struct share *share = share_of(needed, destination);
    if (share == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    share->bytes += size;
    share->letters += kind == BOOK_NEED_LETTER;
    if (needed->n == needed->capacity) {
        size_t capacity = needed->capacity * 2 + 256;
        uint64_t *positions = mr_realloc(needed->positions, capacity * sizeof *positions);
        if (positions == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        needed->positions = positions;
        needed->capacity = capacity;
    }
    needed->positions[needed->n] = pos;
    needed->n++;
    needed->bytes += size;
    return MR_OK;
}

static int by_number(const void *a, const void *b) {
    uint64_t x;
    uint64_t y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static mr_err gather(const struct keeper *keeper, uint64_t end_pos, struct needed *needed) {
    MR_TRY(book_each_needed(keeper->book, end_pos, need, needed));
    if (needed->n == 0) {
        return MR_OK;
    }
    qsort(needed->positions, needed->n, sizeof *needed->positions, by_number);
    size_t n = 1;
    for (size_t i = 1; i < needed->n; i++) {
        if (needed->positions[i] != needed->positions[n - 1]) {
            needed->positions[n++] = needed->positions[i];
        }
    }
    /* With fan-out, events that several destinations share: scale the sum to what is stored. */
    needed->bytes = n == needed->n ? needed->bytes : needed->bytes / needed->n * n;
    needed->n = n;
    return MR_OK;
}

/* --- giving up what does not fit
 * ------------------------------------------------------------------ */

/* Who has to give: the one over its share that holds most, else, when all is full, who holds
 * most. NULL: it all fits. */
static const struct share *who_gives(const struct keeper *keeper, const struct needed *needed) {
    uint64_t max = keeper->options.archive_bytes_max;
    uint64_t share_max = max / 100 * keeper->options.archive_share_percent;
    const struct share *most = NULL;
    for (size_t i = 0; i < needed->n_shares; i++) {
        if (most == NULL || needed->shares[i].bytes > most->bytes) {
            most = &needed->shares[i];
        }
    }
    return most != NULL && (most->bytes > share_max || needed->bytes > max) ? most : NULL;
}

struct victims {
    uint64_t positions[KEEPER_BATCH];
    uint32_t n;
    uint32_t origin;
    uint32_t attempts;
    uint64_t end_pos;
};

static mr_err take_waiting(void *ctx, const struct book_waiting *waiting) {
    struct victims *victims = ctx;
    if (victims->n == KEEPER_BATCH || (victims->n > 0 && waiting->origin != victims->origin)) {
        return MR_ERR(MR_E_LIMIT);
    }
    victims->origin = waiting->origin;
    victims->positions[victims->n++] = waiting->pos;
    return MR_OK;
}

static mr_err take_request(void *ctx, const struct book_request *request) {
    struct victims *victims = ctx;
    victims->origin = request->origin;
    victims->attempts = request->attempt;
    for (uint32_t i = 0; i < request->n && victims->n < KEEPER_BATCH; i++) {
        if (request->positions[i] < victims->end_pos) {
            victims->positions[victims->n++] = request->positions[i];
        }
    }
    return victims->n > 0 ? MR_ERR(MR_E_LIMIT) : MR_OK;
}

static mr_err overflow(struct keeper *keeper, uint32_t destination, uint64_t end_pos,
                       mr_wall wall) {
    struct victims victims = {.end_pos = end_pos};
    mr_ignore(book_each_waiting(keeper->book, destination, 0, end_pos, take_waiting, &victims),
              "it only says that the batch is full");
    if (victims.n == 0) {
        mr_ignore(book_each_request(keeper->book, destination, take_request, &victims),
                  "it only says that the batch is full");
    }
    if (victims.n == 0) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    struct record_dead dead = {.reason = RECORD_REASON_OVERFLOW,
                               .flags = RECORD_DEAD_NO_PAYLOAD,
                               .destination = destination,
                               .origin = victims.origin,
                               .attempts = victims.attempts,
                               .n = victims.n};
    struct record_dead_item items[KEEPER_BATCH];
    uint8_t bits[10];
    keeper->options.random(keeper->options.random_ctx, bits, sizeof bits);
    struct record_letter_id id = record_letter_id_make(mr_wall_ms(wall), bits);
    for (uint32_t i = 0; i < victims.n; i++) {
        items[i] = (struct record_dead_item){.pos = victims.positions[i], .id = id};
        id = record_letter_id_next(&id);
    }
    struct job *job = &keeper->job;
    uint8_t *at;
    size_t len;
    size_t size = RECORD_DEAD_BYTES(victims.n);
    MR_ASSERT(job->n_slots == 0);
    MR_TRY(job_begin_record(job, size, &at));
    MR_TRY(record_dead_encode(&dead, items, at, size, &len));
    job_end_record(job, RECORD_DEAD, len);
    job->count = victims.n;
    mr_warn(keeper->options.log, "archive_overflow", mr_kv_i64("destination", (int64_t)destination),
            mr_kv_i64("deliveries", (int64_t)victims.n));
    job_post(keeper, JOB_OVERFLOW, JOURNAL_CONTROL, keeper->options.reader_mask);
    return MR_OK;
}

static mr_err give_up_some(struct keeper *keeper, const struct share *share, uint64_t end_pos,
                           mr_wall wall) {
    if (share->letters > 0) {
        struct record_letter_id ids[KEEPER_BATCH];
        size_t n =
            book_letters_holding(keeper->book, share->destination, end_pos, ids, KEEPER_BATCH);
        if (n > 0) {
            mr_warn(keeper->options.log, "dead_letters_expired_early",
                    mr_kv_i64("destination", (int64_t)share->destination),
                    mr_kv_i64("letters", (int64_t)n));
            return job_expire(keeper, RECORD_EXPIRE_SPACE, ids, n);
        }
    }
    return overflow(keeper, share->destination, end_pos, wall);
}

/* --- copying and removing
 * ------------------------------------------------------------------------- */

static mr_err copy_one(struct keeper *keeper, uint64_t pos, mr_buf *scratch) {
    struct journal_record record;
    mr_buf_reset(scratch);
    mr_err err = journal_read(keeper->options.journal, pos, 0, OS_READ_WAIT, scratch, &record);
    if (mr_err_is(err, JOURNAL_E_CORRUPT) || mr_err_is(err, JOURNAL_E_TRIMMED)) {
        mr_error(keeper->options.log, "event_unreadable", mr_kv_i64("pos", (int64_t)pos));
        return book_damage(keeper->book, pos, pos + 1);
    }
    MR_TRY(err);
    return archive_put(keeper->options.archive, pos, record.body);
}

static mr_err copy_needed(struct keeper *keeper, const struct needed *needed) {
    mr_buf scratch;
    mr_err err = MR_OK;
    mr_buf_init(&scratch, BODY_BYTES_MAX);
    for (size_t i = 0; i < needed->n && mr_is_ok(err); i++) {
        if (!archive_has(keeper->options.archive, needed->positions[i]) &&
            needed->positions[i] >= journal_start(keeper->options.journal)) {
            err = copy_one(keeper, needed->positions[i], &scratch);
        }
    }
    mr_buf_done(&scratch);
    return mr_is_ok(err) ? archive_sync(keeper->options.archive) : err;
}

static mr_err remove_segment(struct keeper *keeper, const struct journal_segment_info *segment,
                             mr_wall wall) {
    struct needed needed = {0};
    mr_err err = gather(keeper, segment->end_pos, &needed);
    const struct share *share = mr_is_ok(err) ? who_gives(keeper, &needed) : NULL;
    if (share != NULL) {
        err = give_up_some(keeper, share, segment->end_pos, wall);
    } else {
        if (mr_is_ok(err)) {
            err = copy_needed(keeper, &needed);
        }
        if (mr_is_ok(err)) {
            err = journal_trim(keeper->options.journal, segment->end_pos);
        }
        if (mr_is_ok(err)) {
            err = archive_sweep(keeper->options.archive, needed.positions, needed.n);
            mr_info(keeper->options.log, "segment_removed",
                    mr_kv_i64("end", (int64_t)segment->end_pos),
                    mr_kv_i64("archived", (int64_t)needed.n));
        }
    }
    needed_done(&needed);
    return err;
}

/* Steps 1 and 2. True: the segment may go as far as they are concerned. */
static bool is_covered(struct keeper *keeper, uint64_t end_pos, mr_mono now, mr_wall wall,
                       mr_err *ret_err) {
    uint64_t position = book_position(keeper->book);
    if (keeper->checkpoint_pos < end_pos) {
        *ret_err = keeper_checkpoint(keeper, now, wall);
        return false;
    }
    if (keeper->totals_full_as_of < end_pos) {
        *ret_err = job_totals(keeper, true);
        return false;
    }
    if (keeper->floor < end_pos) {
        /* The totals have moved the position: a second checkpoint gets a name of its own. */
        *ret_err = position > keeper->checkpoint_pos ? keeper_checkpoint(keeper, now, wall)
                                                     : job_totals(keeper, true);
        return false;
    }
    return keeper->options.dedupe == NULL || dedupe_floor(keeper->options.dedupe) >= end_pos;
}

/* The oldest segment, where it is to go. */
static bool find_victim(const struct keeper *keeper, const struct journal_segment_info *segments,
                        size_t n, mr_wall wall) {
    const struct keeper_options *options = &keeper->options;
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += segments[i].bytes;
    }
    if (n == 0 || segments[0].is_open) {
        return false;
    }
    bool is_old = options->retention_ms > 0 && !keeper->status.ages_suspended &&
                  segments[0].newest_wall_ms < mr_wall_ms(wall) - options->retention_ms;
    return is_old || bytes > options->retention_bytes;
}

void keeper_retain(struct keeper *keeper, mr_mono now, mr_wall wall) {
    if (keeper->options.archive == NULL || mr_mono_before(now, keeper->next_retention)) {
        return;
    }
    struct journal_segment_info *segments = mr_calloc(SEGMENTS_MAX, sizeof *segments);
    if (segments == NULL) {
        return;
    }
    size_t n = journal_segments(keeper->options.journal, segments, SEGMENTS_MAX);
    n = n < SEGMENTS_MAX ? n : SEGMENTS_MAX;
    if (!find_victim(keeper, segments, n, wall)) {
        keeper->next_retention = mr_mono_add_ms(now, RETENTION_MS);
    } else {
        mr_err err = MR_OK;
        bool is_covered_now = is_covered(keeper, segments[0].end_pos, now, wall, &err);
        if (is_covered_now) {
            err = remove_segment(keeper, &segments[0], wall);
        }
        keeper->progressed = keeper->progressed || is_covered_now;
        if (mr_is_err(err)) {
            keeper_alarm(keeper, "retention_failed", err, now);
        } else if (!is_covered_now && !keeper->progressed) {
            keeper->next_retention = mr_mono_add_ms(now, 1000);
        }
    }
    mr_free(segments);
}
