/* The append side: room, writing, syncing, and the policy for errors.
 *
 *   a group's write: no space, or short
 *       What was written before it is synced; the segment is sealed there; nothing of the group is
 *       stored; the next try opens a new segment.
 *   a header's write: no space
 *       That spare is given up, and the segment before it takes no more: the header may be on the
 *       disk all the same, and what lies behind its first position elsewhere is void then.
 *   making a spare: any error
 *       That file is given up; starved until one can be made.
 *   any other error of a write
 *       FAILED, for good.
 *   any error of fdatasync
 *       FAILED, for good: the kernel may have dropped the pages and marked them clean, so no later
 *       success means anything.
 *
 * While starved, events leave the last two spares alone, so that outcomes can still be recorded and
 * deliveries go on while the disk is full. */
#include "journal/append.h"

#include "base/metrics.h"
#include "journal/segments.h"

static mr_err sticky(const struct journal *journal) {
    int state = atomic_load_explicit(&journal->state, memory_order_relaxed);
    if (state == (int)JOURNAL_STATE_FENCED) {
        return MR_ERR(JOURNAL_E_FENCED);
    }
    return state == (int)JOURNAL_STATE_FAILED ? MR_ERR(MR_E_FAILED) : MR_OK;
}

static mr_err fail(struct journal *journal, const char *what) {
    segments_set_failed(journal, JOURNAL_STATE_FAILED, what);
    return MR_ERR(MR_E_FAILED);
}

uint64_t journal_append_bytes_max(const struct journal *journal) {
    return journal->segment_bytes - FORMAT_BLOCK;
}

bool journal_append_is_dirty(const struct journal *journal) {
    return journal->has_unsynced;
}

mr_err journal_append_sync(struct journal *journal) {
    MR_TRY(sticky(journal));
    if (!journal->has_unsynced) {
        return MR_OK;
    }
    const struct os_files *files = journal->files;
    if (mr_is_err(files->sync(files->ctx, journal->open_segment->file))) {
        return fail(journal, "sync");
    }
    mr_metric_add(journal->metrics, MR_METRIC_JOURNAL_SYNCS, 1);
    journal->has_unsynced = false;
    atomic_store_explicit(&journal->durable, journal->write_pos, memory_order_release);
    return MR_OK;
}

/* True where the open segment cannot take `bytes` more. */
static bool needs_segment(const struct journal *journal, uint64_t bytes) {
    const struct segment *open = journal->open_segment;
    uint64_t used = open == NULL ? 0 : journal->write_pos - open->header.first_pos;
    return open == NULL || segment_capacity(open) - used < bytes;
}

struct supply {
    size_t n_spares;
    bool is_starved;
};

static struct supply look(struct journal *journal) {
    os_mutex_lock(&journal->mu);
    struct supply supply = {journal->n_spares, journal->is_starved};
    os_mutex_unlock(&journal->mu);
    return supply;
}

/* The open segment takes no more, whatever room it has. */
static void leave_segment(struct journal *journal) {
    struct segment *open = journal->open_segment;
    journal->open_segment = NULL;
    os_mutex_lock(&journal->mu);
    if (open != NULL) {
        open->end_pos = journal->write_pos;
    }
    os_mutex_unlock(&journal->mu);
}

/* Whether a group of this kind may be appended now; makes a spare here and now where maintenance is
 * late, or waits for the one it is filling. */
static mr_err admit(struct journal *journal, bool new_segment, enum append_reserve reserve) {
    struct supply supply = look(journal);
    size_t enough = reserve == APPEND_EVENTS ? 2 : 1;
    if (new_segment && !supply.is_starved && supply.n_spares < enough) {
        /* An event takes the last spare only with the proof that another can be made. */
        mr_err err = segments_ensure_spares(journal, enough);
        if (mr_err_is(err, JOURNAL_E_FENCED)) {
            return err;
        }
        supply = look(journal);
    }
    bool room = !new_segment || supply.n_spares > 0;
    if (reserve == APPEND_EVENTS && supply.is_starved) {
        room = supply.n_spares >= (new_segment ? JOURNAL_SPARES + 1 : JOURNAL_SPARES);
    }
    if (room) {
        return MR_OK;
    }
    segments_set_full(journal, true);
    mr_metric_set(journal->metrics, MR_METRIC_JOURNAL_FULL, 1);
    return MR_ERR(MR_E_NO_SPACE);
}

mr_err journal_append_prepare(struct journal *journal, uint64_t bytes, enum append_reserve reserve,
                              mr_wall now, struct append_place *ret_place) {
    MR_TRY(sticky(journal));
    MR_ASSERT(bytes <= journal_append_bytes_max(journal) && bytes % FORMAT_GRID == 0);
    bool new_segment = needs_segment(journal, bytes);
    MR_TRY(admit(journal, new_segment, reserve));
    if (atomic_load_explicit(&journal->state, memory_order_relaxed) == (int)JOURNAL_STATE_OK) {
        mr_metric_set(journal->metrics, MR_METRIC_JOURNAL_FULL, 0);
    }
    if (new_segment) {
        /* The next header says that all before it is durable. */
        MR_TRY(journal_append_sync(journal));
        mr_err err = segments_open_next(journal, journal->write_pos, now);
        if (mr_err_is(err, MR_E_NO_SPACE)) {
            leave_segment(journal);
            return err;
        }
        if (mr_is_err(err)) {
            return fail(journal, "opening a segment");
        }
    }
    *ret_place = (struct append_place){.pos = journal->write_pos,
                                       .seed = journal->open_segment->seed,
                                       .group_number = journal->group_number};
    return MR_OK;
}

/* After a write that found no space: the open segment ends where the group would have begun. */
static mr_err seal(struct journal *journal) {
    const struct os_files *files = journal->files;
    MR_TRY(journal_append_sync(journal));
    struct segment *open = journal->open_segment;
    journal->open_segment = NULL;
    uint64_t kept = segment_offset(open, journal->write_pos);
    mr_warn(journal->log, "journal.sealed", mr_kv_i64("segment", (int64_t)open->number),
            mr_kv_i64("position", (int64_t)journal->write_pos));
    /* The pieces of the group that were written must never be found: its units are about to be
     * refused. */
    if (mr_is_err(files->truncate(files->ctx, open->file, kept)) ||
        mr_is_err(files->sync(files->ctx, open->file))) {
        return fail(journal, "sealing a segment");
    }
    os_mutex_lock(&journal->mu);
    open->end_pos = journal->write_pos;
    open->file_bytes = kept;
    os_mutex_unlock(&journal->mu);
    if (kept == FORMAT_BLOCK) {
        mr_ignore(segments_remove(journal, open), "an empty segment does no harm");
    }
    os_mutex_lock(&journal->mu);
    journal->is_starved = true;
    os_mutex_unlock(&journal->mu);
    return MR_OK;
}

mr_err journal_append_write(struct journal *journal, const uint8_t *bytes, uint64_t n) {
    MR_TRY(sticky(journal));
    const struct os_files *files = journal->files;
    struct segment *open = journal->open_segment;
    MR_ASSERT(open != NULL && !needs_segment(journal, n));
    uint8_t *source;
    memcpy(&source, &bytes, sizeof source); /* iovec lacks the const that a write keeps */
    struct iovec iov = {.iov_base = source, .iov_len = (size_t)n};
    mr_err err =
        files->write(files->ctx, open->file, &iov, 1, segment_offset(open, journal->write_pos));
    if (mr_is_ok(err)) {
        journal->write_pos += n;
        journal->group_number++;
        journal->has_unsynced = true;
        mr_metric_add(journal->metrics, MR_METRIC_JOURNAL_GROUPS, 1);
        mr_metric_add(journal->metrics, MR_METRIC_JOURNAL_BYTES, (int64_t)n);
        return MR_OK;
    }
    if (!mr_err_is(err, MR_E_NO_SPACE)) {
        return fail(journal, "write");
    }
    MR_TRY(seal(journal));
    return MR_ERR(MR_E_NO_SPACE);
}
