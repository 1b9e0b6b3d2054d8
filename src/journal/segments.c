/* Segments: their table, their files, spares, and how the next one is opened.
 *
 * Life of a segment file:
 *
 *   spare-N.tmp ──zero-filled, stamped, synced──▶ N.seg (spare) ──header synced──▶ N.seg (open)
 *        │ any error: removed, tried again            │ start: used again              │ next
 * opened ▼ removed ◀──trim, oldest first── N.seg (closed, immutable)
 *
 * A spare has the stamp of one, so a file whose header reads as neither stamp nor header was
 * damaged or was being opened when the power went; it held nothing then, because the header is
 * synced before the first group. The name is given by link(2), which fails where the name exists:
 * numbers are given once by the one process that holds the lock, so a name that is taken means that
 * another process works in this folder. Then this one is fenced and stops.
 *
 * The table is guarded by one mutex, held for look-ups and changes but never during reading or
 * writing. Readers hold a segment by count while they read; a trimmed segment lives on, unlinked,
 * until its last holder lets go. Files of closed segments are opened when needed and closed again
 * when many are open. */
#include "journal/segments.h"

#include "base/mem.h"
#include "base/num.h"

#include <errno.h>
#include <stdio.h>

#define ZERO_CHUNK      (256U * 1024)
#define FILL_SYNC_BYTES (1024U * 1024) /* a multiple of ZERO_CHUNK */

bool segments_path(const struct journal *journal, const char *name, char *path) {
    int n = snprintf(path, SEGMENTS_PATH_SIZE, "%s/%s", journal->dir, name);
    return n > 0 && (size_t)n < SEGMENTS_PATH_SIZE;
}

void segments_name(uint64_t number, char name[static SEGMENTS_NAME_SIZE]) {
    int n = snprintf(name, SEGMENTS_NAME_SIZE, "%012llu.seg", (unsigned long long)number);
    MR_ASSERT(n > 0 && (size_t)n < SEGMENTS_NAME_SIZE);
}

bool segments_parse_name(mr_str name, uint64_t *ret_number) {
    mr_str suffix = MR_STR(".seg");
    if (!mr_str_ends(name, suffix) || name.len < 12 + suffix.len) {
        return false;
    }
    char again[SEGMENTS_NAME_SIZE];
    mr_str digits = mr_str_slice(name, 0, name.len - suffix.len);
    uint64_t number;
    if (mr_is_err(mr_u64_parse(digits, 0, UINT64_MAX / 2, &number))) {
        return false;
    }
    segments_name(number, again);
    if (!mr_str_eq(name, mr_str_c(again))) {
        return false;
    }
    *ret_number = number;
    return true;
}

void segments_set_failed(struct journal *journal, enum journal_state state, const char *what) {
    int saved = errno;
    int before = atomic_exchange(&journal->state, (int)state);
    if (before == (int)JOURNAL_STATE_FAILED || before == (int)JOURNAL_STATE_FENCED) {
        atomic_store(&journal->state, before);
        return;
    }
    mr_metric_set(journal->metrics, MR_METRIC_JOURNAL_FAILED, 1);
    char reason[128];
    mr_error(journal->log, state == JOURNAL_STATE_FENCED ? "journal.fenced" : "journal.failed",
             mr_kv_c("what", what), mr_kv_c("error", strerror_r(saved, reason, sizeof reason)),
             mr_kv_i64("durable", (int64_t)atomic_load(&journal->durable)));
}

void segments_set_full(struct journal *journal, bool full) {
    int from = full ? JOURNAL_STATE_OK : JOURNAL_STATE_FULL;
    int to = full ? JOURNAL_STATE_FULL : JOURNAL_STATE_OK;
    if (atomic_compare_exchange_strong(&journal->state, &from, to)) {
        mr_log_line(journal->log, full ? MR_LOG_ERROR : MR_LOG_INFO,
                    full ? "journal.full" : "journal.has_space", 0, NULL);
    }
}

static void segment_free(struct journal *journal, struct segment *segment) {
    if (segment->file.handle >= 0) {
        journal->files->close(journal->files->ctx, segment->file);
        journal->n_open--;
    }
    mr_free(segment);
}

mr_err segments_add(struct journal *journal, const struct format_segment *header, uint64_t number,
                    os_file file, uint64_t file_bytes, struct segment **ret_segment) {
    struct segment *segment = MR_NEW(struct segment);
    if (segment == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    os_mutex_lock(&journal->mu);
    if (journal->n_segments == journal->table_cap) {
        size_t cap = journal->table_cap == 0 ? 16 : journal->table_cap * 2;
        struct segment **grown = mr_realloc(journal->table, cap * sizeof *grown);
        if (grown == NULL) {
            os_mutex_unlock(&journal->mu);
            mr_free(segment);
            return MR_ERR(MR_E_NOMEM);
        }
        journal->table = grown;
        journal->table_cap = cap;
    }
    *segment = (struct segment){.header = *header,
                                .number = number,
                                .seed = format_seed(header),
                                .end_pos = SEGMENTS_END_OPEN,
                                .file_bytes = file_bytes,
                                .newest_wall_ms = header->wall_ms,
                                .file = file};
    journal->n_open += file.handle >= 0 ? 1 : 0;
    if (journal->n_segments > 0) {
        struct segment *last = journal->table[journal->n_segments - 1];
        MR_ASSERT(last->header.first_pos <= header->first_pos);
        last->end_pos = header->first_pos;
        last->newest_wall_ms = header->wall_ms;
    }
    journal->table[journal->n_segments++] = segment;
    mr_metric_set(journal->metrics, MR_METRIC_JOURNAL_SEGMENTS, (int64_t)journal->n_segments);
    os_mutex_unlock(&journal->mu);
    *ret_segment = segment;
    return MR_OK;
}

mr_err segments_remove(struct journal *journal, struct segment *segment) {
    char name[SEGMENTS_NAME_SIZE];
    char path[SEGMENTS_PATH_SIZE];
    segments_name(segment->number, name);
    if (!segments_path(journal, name, path)) {
        return MR_ERR(MR_E_INVALID);
    }
    mr_err err = journal->files->unlink(journal->files->ctx, path);
    if (mr_is_err(err) && !mr_err_is(err, MR_E_NOT_FOUND)) {
        return err;
    }
    os_mutex_lock(&journal->mu);
    size_t at = 0;
    while (at < journal->n_segments && journal->table[at] != segment) {
        at++;
    }
    MR_ASSERT(at < journal->n_segments);
    journal->n_segments--;
    memmove(&journal->table[at], &journal->table[at + 1],
            (journal->n_segments - at) * sizeof(journal->table[0]));
    segment->is_removed = true;
    if (segment->holders == 0) {
        segment_free(journal, segment);
    }
    os_mutex_unlock(&journal->mu);
    return MR_OK;
}

/* The last segment that begins at or before pos; NULL before the first. mu is held. */
static struct segment *find(const struct journal *journal, uint64_t pos) {
    size_t low = 0;
    size_t high = journal->n_segments;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (journal->table[middle]->header.first_pos <= pos) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? NULL : journal->table[low - 1];
}

static mr_err open_file(struct journal *journal, struct segment *segment) {
    if (segment->file.handle >= 0) {
        return MR_OK;
    }
    char name[SEGMENTS_NAME_SIZE];
    char path[SEGMENTS_PATH_SIZE];
    segments_name(segment->number, name);
    if (!segments_path(journal, name, path)) {
        return MR_ERR(MR_E_INVALID);
    }
    mr_err err = journal->files->open(journal->files->ctx, path, OS_OPEN_READ, &segment->file);
    if (mr_is_ok(err)) {
        journal->n_open++;
    }
    /* A file that vanished under us is a damaged disk, not an absent record. */
    return mr_err_is(err, MR_E_NOT_FOUND) ? MR_ERR(MR_E_IO) : err;
}

mr_err segments_hold(struct journal *journal, uint64_t pos, struct segment **ret_segment) {
    os_mutex_lock(&journal->mu);
    struct segment *segment = find(journal, pos);
    mr_err err = MR_ERR(JOURNAL_E_TRIMMED);
    if (segment != NULL) {
        err = pos < segment->end_pos ? open_file(journal, segment) : MR_ERR(MR_E_NOT_FOUND);
    }
    if (mr_is_ok(err)) {
        segment->holders++;
        *ret_segment = segment;
    }
    os_mutex_unlock(&journal->mu);
    return err;
}

void segments_release(struct journal *journal, struct segment *segment) {
    os_mutex_lock(&journal->mu);
    MR_ASSERT(segment->holders > 0);
    segment->holders--;
    if (segment->holders == 0) {
        if (segment->is_removed) {
            segment_free(journal, segment);
        } else if (journal->n_open > SEGMENTS_OPEN_MAX && segment->end_pos != SEGMENTS_END_OPEN) {
            journal->files->close(journal->files->ctx, segment->file);
            segment->file = OS_FILE_NONE;
            journal->n_open--;
        }
    }
    os_mutex_unlock(&journal->mu);
}

uint64_t segments_end(struct journal *journal, const struct segment *segment) {
    os_mutex_lock(&journal->mu);
    uint64_t end = segment->end_pos;
    os_mutex_unlock(&journal->mu);
    uint64_t durable = atomic_load_explicit(&journal->durable, memory_order_acquire);
    return end < durable ? end : durable;
}

/* --- spares ----------------------------------------------------------------------------------- */

/* Synced in pieces: a whole segment at once would hold the device for tens of milliseconds, and the
 * journal's own syncs behind it. */
static mr_err fill_spare(struct journal *journal, os_file file, uint8_t *zeros) {
    const struct os_files *files = journal->files;
    uint64_t at = 0;
    while (at < journal->segment_bytes) {
        if (at > 0 && at % FILL_SYNC_BYTES == 0) {
            MR_TRY(files->sync(files->ctx, file));
        }
        uint64_t left = journal->segment_bytes - at;
        struct iovec iov = {.iov_base = zeros,
                            .iov_len = left < ZERO_CHUNK ? (size_t)left : ZERO_CHUNK};
        MR_TRY(files->write(files->ctx, file, &iov, 1, at));
        at += iov.iov_len;
    }
    struct format_segment stamp = {.bytes = journal->segment_bytes};
    memcpy(stamp.store_id, journal->store_id, sizeof stamp.store_id);
    uint8_t block[FORMAT_BLOCK];
    format_segment_encode(&stamp, FORMAT_SEGMENT_SPARE, block);
    struct iovec iov = {.iov_base = block, .iov_len = sizeof block};
    MR_TRY(files->write(files->ctx, file, &iov, 1, 0));
    return files->sync(files->ctx, file);
}

static mr_err name_spare(struct journal *journal, const char *from, const char *to) {
    const struct os_files *files = journal->files;
    mr_err err = files->link(files->ctx, from, to);
    if (mr_err_is(err, MR_E_EXISTS)) {
        return MR_ERR(JOURNAL_E_FENCED);
    }
    MR_TRY(err);
    MR_TRY(files->unlink(files->ctx, from));
    return files->sync_dir(files->ctx, journal->dir);
}

static mr_err build_spare(struct journal *journal, uint64_t number, os_file *ret_file) {
    const struct os_files *files = journal->files;
    char temporary[SEGMENTS_NAME_SIZE];
    char name[SEGMENTS_NAME_SIZE];
    char from[SEGMENTS_PATH_SIZE];
    char to[SEGMENTS_PATH_SIZE];
    (void)snprintf(temporary, sizeof temporary, "spare-%llu.tmp", (unsigned long long)number);
    segments_name(number, name);
    if (!segments_path(journal, temporary, from) || !segments_path(journal, name, to)) {
        return MR_ERR(MR_E_INVALID);
    }
    uint8_t *zeros = mr_calloc(1, ZERO_CHUNK);
    if (zeros == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    os_file file = OS_FILE_NONE;
    mr_err err =
        files->open(files->ctx, from, OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_EXCLUSIVE, &file);
    if (mr_err_is(err, MR_E_EXISTS)) {
        err = MR_ERR(JOURNAL_E_FENCED);
    } else if (mr_is_ok(err)) {
        err = fill_spare(journal, file, zeros);
        bool named = false;
        if (mr_is_ok(err)) {
            err = name_spare(journal, from, to);
            named = !mr_err_is(err, JOURNAL_E_FENCED);
        }
        if (mr_is_err(err)) {
            int saved = errno;
            files->close(files->ctx, file);
            mr_ignore(files->unlink(files->ctx, from), "removed at the next start");
            if (named) {
                mr_ignore(files->unlink(files->ctx, to), "found as a spare at the next start");
            }
            errno = saved;
        }
    }
    mr_free(zeros);
    if (mr_is_ok(err)) {
        *ret_file = file;
    }
    return err;
}

static mr_err make_spare(struct journal *journal) {
    os_mutex_lock(&journal->mu);
    uint64_t number = journal->next_number++;
    os_mutex_unlock(&journal->mu);
    os_file file;
    mr_err err = build_spare(journal, number, &file);
    if (mr_is_ok(err)) {
        if (!segments_add_spare(journal, number, file)) {
            /* The writer and maintenance made one each: one too many is left for the next start. */
            journal->files->close(journal->files->ctx, file);
        }
        return MR_OK;
    }
    if (mr_err_is(err, JOURNAL_E_FENCED)) {
        segments_set_failed(journal, JOURNAL_STATE_FENCED, "segment name taken");
        return err;
    }
    char reason[128];
    mr_error(journal->log, "journal.spare_failed", mr_kv_i64("segment", (int64_t)number),
             mr_kv_c("error", strerror_r(errno, reason, sizeof reason)));
    atomic_fetch_add(&journal->spare_failures, 1);
    os_mutex_lock(&journal->mu);
    journal->is_starved = true;
    os_mutex_unlock(&journal->mu);
    return err;
}

mr_err segments_make_spare(struct journal *journal) {
    os_mutex_lock(&journal->filling);
    mr_err err = make_spare(journal);
    os_mutex_unlock(&journal->filling);
    return err;
}

mr_err segments_ensure_spares(struct journal *journal, size_t enough) {
    os_mutex_lock(&journal->filling);
    os_mutex_lock(&journal->mu);
    bool is_enough = journal->n_spares >= enough;
    os_mutex_unlock(&journal->mu);
    mr_err err = is_enough ? MR_OK : make_spare(journal);
    os_mutex_unlock(&journal->filling);
    return err;
}

bool segments_add_spare(struct journal *journal, uint64_t number, os_file file) {
    os_mutex_lock(&journal->mu);
    bool room = journal->n_spares < sizeof journal->spares / sizeof journal->spares[0];
    if (room) {
        journal->spares[journal->n_spares++] = (struct spare){number, file};
    }
    os_mutex_unlock(&journal->mu);
    return room;
}

static bool take_spare(struct journal *journal, struct spare *ret_spare, uint64_t *ret_sequence) {
    os_mutex_lock(&journal->mu);
    bool found = journal->n_spares > 0;
    if (found) {
        *ret_spare = journal->spares[0];
        journal->n_spares--;
        memmove(&journal->spares[0], &journal->spares[1],
                journal->n_spares * sizeof journal->spares[0]);
        *ret_sequence = journal->next_sequence++;
    }
    os_mutex_unlock(&journal->mu);
    if (found && journal->on_spare_taken != NULL) {
        journal->on_spare_taken(journal->spare_ctx);
    }
    return found;
}

mr_err segments_open_next(struct journal *journal, uint64_t first_pos, mr_wall now) {
    const struct os_files *files = journal->files;
    struct spare spare;
    struct format_segment header = {
        .first_pos = first_pos, .epoch = journal->epoch, .bytes = journal->segment_bytes};
    if (!take_spare(journal, &spare, &header.sequence)) {
        return MR_ERR(MR_E_NO_SPACE);
    }
    header.wall_ms = mr_wall_ms(now);
    memcpy(header.store_id, journal->store_id, sizeof header.store_id);
    journal->random(journal->random_ctx, header.salt, sizeof header.salt);
    uint8_t block[FORMAT_BLOCK];
    format_segment_encode(&header, FORMAT_SEGMENT_USED, block);
    struct iovec iov = {.iov_base = block, .iov_len = sizeof block};
    mr_err err = files->write(files->ctx, spare.file, &iov, 1, 0);
    if (mr_is_ok(err)) {
        err = files->sync(files->ctx, spare.file);
        /* A sync that says "no space" is a failed sync all the same. */
        err = mr_is_err(err) ? MR_ERR(MR_E_IO) : err;
    }
    struct segment *segment = NULL;
    if (mr_is_ok(err)) {
        err = segments_add(journal, &header, spare.number, spare.file, journal->segment_bytes,
                           &segment);
    }
    if (mr_is_err(err)) {
        int saved = errno;
        char name[SEGMENTS_NAME_SIZE];
        char path[SEGMENTS_PATH_SIZE];
        files->close(files->ctx, spare.file);
        segments_name(spare.number, name);
        if (segments_path(journal, name, path)) {
            mr_ignore(files->unlink(files->ctx, path), "empty: removed at the next start");
        }
        errno = saved;
        return err;
    }
    journal->open_segment = segment;
    journal->write_pos = first_pos;
    return MR_OK;
}
