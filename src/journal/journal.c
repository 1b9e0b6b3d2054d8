/* The journal of one store on one machine.
 *
 * Why our own: an append-only log that is synced for every group of requests, where each byte is
 * written once, into files that were zero-filled and synced before, so that a sync has no metadata
 * to write. General stores do more and cost two to four times as much per event.
 *
 * ── Files
 *
 *   lock                     held by the one process that writes
 *   000000000012.seg         a segment: open, closed or spare (its header says which)
 *   spare-13.tmp             a spare being filled; removed at the start
 *   000000000009.seg.lost    set aside by recovery: its header was destroyed
 *
 * ── Segment
 *
 *   [0, 4096)   header block: the header at 0, and again at 2048
 *       0  magic "MILLRACE"           8  format version u32, 1
 *      12  1 spare, 2 used (u32)     16  store id (16 bytes)
 *      32  epoch u64                 40  first position u64
 *      48  salt (16 random bytes)    64  size of the file u64
 *      72  opened, wall ms i64       80  sequence of opening u64
 *      88  zeros                    124  CRC32C of bytes 0–123
 *   [4096, …)   frames, one behind the other, each on the 8-byte grid; position p lies at offset
 *               4096 + (p − first position)
 *
 * In every version of the format the magic, the version and the CRC keep their places, so that an
 * older program can tell a newer file from a damaged one.
 *
 * ── Frame
 *
 *       0  CRC32C u32                 4  length of the body u32
 *       8  'G' or 'R'                 9  type, 10 flags (the caller's)
 *      11  1: last of its unit       12  number in its unit u32
 *      16  body, zeros up to the grid
 *
 * The CRC runs over salt, position (8 bytes) and all bytes behind the CRC, padding included. So no
 * payload can pose as a frame (the salt is not known outside), and no frame is whole at any place
 * but its own: an old tail cannot come back in a segment of another salt.
 *
 * 'G' is a group header; its body: epoch u64, group number u64, own position u64, bytes of the
 * group u32, records u32, durable position when it was written u64, wall ms i64. 'R' is a record.
 *
 * ── Words
 *
 *   unit               the records of one request: records 0 … n, the last one marked; all or
 *                      nothing
 *   group              a header and the units of one write; never spans segments
 *   durable position   everything below it was covered by a sync that succeeded
 *   witness            a group of no records: its header says that what is before it is durable.
 *                      Written within a second when the writer is idle, and at a clean stop, so
 *                      that data at rest lies below D.
 *
 * ── Invariants
 *
 *   1. A unit is answered OK only when the durable position is behind its last record.
 *   2. A segment's header is synced before its first group; and it is written only after everything
 * before its first position was synced. So the first position of the newest segment is durable.
 *   3. What a segment holds at or beyond the first position of the next one is void.
 *   4. Each run has an epoch of its own and appends only to segments that it opened.
 *   5. Positions ascend over the whole life of the store and are never used twice for different
 * records that anybody was told of.
 *   6. In order of opening, segments cover the positions without gaps; a gap is damage.
 *   7. Once a header that names position p may have reached the disk, nothing at or beyond p is
 * written to an older segment; and a run opens its first one only after the directory was synced.
 * So an empty segment does no harm when a power loss undoes its removal.
 *
 * Recovery is told in recover.c, the policy for errors in append.c, the life of a segment file in
 * segments.c. */
#include "journal/journal.h"

#include "base/mem.h"
#include "journal/append.h"
#include "journal/recover.h"
#include "journal/segments.h"

#include <errno.h>
#include <stdio.h>

static mr_err check_options(const struct journal_options *options) {
    uint64_t bytes = options->segment_bytes;
    bool sound = options->dir != NULL && options->random != NULL &&
                 strlen(options->dir) + SEGMENTS_NAME_SIZE + 8 < SEGMENTS_PATH_SIZE &&
                 (bytes == 0 ||
                  (bytes >= JOURNAL_SEGMENT_BYTES_MIN && bytes % 4096 == 0 && bytes <= UINT32_MAX));
    return sound ? MR_OK : MR_ERR(MR_E_INVALID);
}

static mr_err take_folder(struct journal *journal) {
    const struct os_files *files = journal->files;
    if (journal->is_read_only) {
        return MR_OK;
    }
    mr_err err = files->mkdir(files->ctx, journal->dir);
    if (mr_is_err(err) && !mr_err_is(err, MR_E_EXISTS)) {
        return err;
    }
    char path[SEGMENTS_PATH_SIZE];
    if (!segments_path(journal, "lock", path)) {
        return MR_ERR(MR_E_INVALID);
    }
    MR_TRY(files->open(files->ctx, path, OS_OPEN_WRITE | OS_OPEN_CREATE, &journal->lock));
    return files->lock(files->ctx, journal->lock);
}

mr_err journal_open(const struct os_files *files, const struct journal_options *options,
                    struct journal **ret_journal, struct journal_recovery *ret_recovery) {
    MR_TRY(check_options(options));
    struct journal *journal = MR_NEW(struct journal);
    if (journal == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    journal->files = files;
    journal->segment_bytes =
        options->segment_bytes == 0 ? JOURNAL_SEGMENT_BYTES : options->segment_bytes;
    journal->is_read_only = options->read_only;
    journal->lock = OS_FILE_NONE;
    journal->log = options->log;
    journal->metrics = options->metrics;
    journal->random = options->random;
    journal->random_ctx = options->random_ctx;
    journal->on_spare_taken = options->on_spare_taken;
    journal->spare_ctx = options->spare_ctx;
    journal->next_number = 1;
    journal->next_sequence = 1;
    os_mutex_init(&journal->mu);
    os_mutex_init(&journal->filling);
    journal->dir = mr_strdup_n(options->dir, strlen(options->dir));
    struct journal_recovery recovery = {0};
    mr_err err = journal->dir == NULL ? MR_ERR(MR_E_NOMEM) : take_folder(journal);
    if (mr_is_ok(err)) {
        err = recover_run(journal, options, &recovery);
    }
    if (mr_is_err(err)) {
        int saved = errno;
        journal_close(journal);
        errno = saved;
        return err;
    }
    *ret_journal = journal;
    if (ret_recovery != NULL) {
        *ret_recovery = recovery;
    }
    return MR_OK;
}

void journal_close(struct journal *journal) {
    if (journal == NULL) {
        return;
    }
    const struct os_files *files = journal->files;
    for (size_t i = 0; i < journal->n_segments; i++) {
        struct segment *segment = journal->table[i];
        MR_ASSERT(segment->holders == 0);
        if (segment->file.handle >= 0) {
            files->close(files->ctx, segment->file);
        }
        mr_free(segment);
    }
    for (size_t i = 0; i < journal->n_spares; i++) {
        files->close(files->ctx, journal->spares[i].file);
    }
    if (journal->lock.handle >= 0) {
        files->close(files->ctx, journal->lock);
    }
    os_mutex_done(&journal->mu);
    os_mutex_done(&journal->filling);
    mr_free(journal->table);
    mr_free(journal->dir);
    mr_free(journal);
}

struct journal_capabilities journal_capabilities(const struct journal *journal) {
    uint64_t room = journal_append_bytes_max(journal) - FORMAT_GROUP_BYTES;
    return (struct journal_capabilities){
        .unit_bytes_max = room < JOURNAL_UNIT_BYTES_MAX ? room : JOURNAL_UNIT_BYTES_MAX,
        .groups_in_flight_max = 1,
        .survives_power_loss = true,
        .survives_machine_loss = false};
}

uint64_t journal_epoch(const struct journal *journal) {
    return journal->epoch;
}

const uint8_t *journal_store_id(const struct journal *journal) {
    return journal->store_id;
}

uint64_t journal_durable(const struct journal *journal) {
    return atomic_load_explicit(&journal->durable, memory_order_acquire);
}

enum journal_state journal_state(const struct journal *journal) {
    return (enum journal_state)atomic_load_explicit(&journal->state, memory_order_acquire);
}

/* mu is held. */
static uint64_t start_of(const struct journal *journal) {
    return journal->n_segments > 0 ? journal->table[0]->header.first_pos : journal_durable(journal);
}

uint64_t journal_start(struct journal *journal) {
    os_mutex_lock(&journal->mu);
    uint64_t start = start_of(journal);
    os_mutex_unlock(&journal->mu);
    return start;
}

void journal_status(struct journal *journal, struct journal_status *ret_status) {
    struct journal_status status = {
        .state = journal_state(journal),
        .durable = journal_durable(journal),
        .disk_free_bytes = atomic_load(&journal->disk_free),
        .disk_total_bytes = atomic_load(&journal->disk_total),
        .spare_failures = atomic_load(&journal->spare_failures),
    };
    os_mutex_lock(&journal->mu);
    status.start = start_of(journal);
    status.segments = (uint32_t)journal->n_segments;
    status.spares = (uint32_t)journal->n_spares;
    status.bytes = journal->n_spares * journal->segment_bytes;
    for (size_t i = 0; i < journal->n_segments; i++) {
        status.bytes += journal->table[i]->file_bytes;
    }
    os_mutex_unlock(&journal->mu);
    *ret_status = status;
}

size_t journal_segments(struct journal *journal, struct journal_segment_info *out, size_t n_max) {
    uint64_t durable = journal_durable(journal);
    os_mutex_lock(&journal->mu);
    size_t n = journal->n_segments;
    for (size_t i = 0; i < n && i < n_max; i++) {
        const struct segment *segment = journal->table[i];
        bool is_open = segment->end_pos == SEGMENTS_END_OPEN;
        out[i] = (struct journal_segment_info){.first_pos = segment->header.first_pos,
                                               .end_pos = is_open ? durable : segment->end_pos,
                                               .bytes = segment->file_bytes,
                                               .first_wall_ms = segment->header.wall_ms,
                                               .newest_wall_ms = segment->newest_wall_ms,
                                               .is_open = is_open};
    }
    os_mutex_unlock(&journal->mu);
    return n;
}

/* --- maintenance ------------------------------------------------------------------------------ */

/* Warns once per step down. */
static void watch_space(struct journal *journal) {
    struct os_space space;
    if (mr_is_err(journal->files->space(journal->files->ctx, journal->dir, &space)) ||
        space.total_bytes == 0) {
        return;
    }
    atomic_store(&journal->disk_free, space.free_bytes);
    atomic_store(&journal->disk_total, space.total_bytes);
    uint64_t tenth = space.total_bytes / 10;
    int level = space.free_bytes < tenth ? 2 : (space.free_bytes < 2 * tenth ? 1 : 0);
    if (level > journal->space_level) {
        mr_log_at(journal->log, level == 2 ? MR_LOG_ERROR : MR_LOG_WARN, "journal.disk_low",
                  mr_kv_i64("free_bytes", (int64_t)space.free_bytes),
                  mr_kv_i64("total_bytes", (int64_t)space.total_bytes),
                  mr_kv_i64("below_percent", level == 2 ? 10 : 20));
    }
    journal->space_level = level;
}

/* Takes on to make a spare, where more are missing than are being made. *ret_recovered: none is
 * missing any more, and starving ends. */
static bool begin_spare(struct journal *journal, bool *ret_recovered) {
    os_mutex_lock(&journal->mu);
    /* One more than must be there: after a want of space, as the proof that there is some; and
     * where a thread makes them in a hurry, for the writer to take while the next is filled. */
    bool one_more = journal->is_starved || journal->on_spare_taken != NULL;
    size_t want = one_more ? JOURNAL_SPARES + 1 : JOURNAL_SPARES;
    bool begins = journal->n_spares + journal->n_making < want;
    journal->n_making += begins ? 1 : 0;
    *ret_recovered = journal->is_starved && journal->n_spares >= want;
    if (*ret_recovered) {
        journal->is_starved = false;
    }
    os_mutex_unlock(&journal->mu);
    return begins;
}

static void end_spare(struct journal *journal) {
    os_mutex_lock(&journal->mu);
    journal->n_making--;
    os_mutex_unlock(&journal->mu);
}

bool journal_spare_hurry(struct journal *journal) {
    enum journal_state state = journal_state(journal);
    if (journal->is_read_only || state == JOURNAL_STATE_FAILED || state == JOURNAL_STATE_FENCED) {
        return false;
    }
    bool recovered;
    bool more = false;
    if (begin_spare(journal, &recovered)) {
        mr_err err = segments_make_spare(journal);
        end_spare(journal);
        if (mr_is_err(err)) {
            return false;
        }
        more = begin_spare(journal, &recovered);
        if (more) {
            end_spare(journal); /* the next call's */
        }
    }
    if (recovered) {
        segments_set_full(journal, false);
    }
    return more;
}

static bool is_starved(struct journal *journal) {
    os_mutex_lock(&journal->mu);
    bool starved = journal->is_starved;
    os_mutex_unlock(&journal->mu);
    return starved;
}

bool journal_spare_step(struct journal *journal) {
    if (!journal->is_read_only && journal_state(journal) < JOURNAL_STATE_FAILED) {
        watch_space(journal);
    }
    if (journal->on_spare_taken != NULL && !is_starved(journal)) {
        return false; /* the thread in a hurry does it, and was told */
    }
    return journal_spare_hurry(journal);
}

/* The oldest closed segment that is not forgotten, or NULL. mu is held. */
static struct segment *oldest_remembered(const struct journal *journal) {
    for (size_t i = 0; i + 1 < journal->n_segments; i++) {
        if (!journal->table[i]->is_forgotten) {
            return journal->table[i];
        }
    }
    return NULL;
}

uint64_t journal_remembered(struct journal *journal) {
    os_mutex_lock(&journal->mu);
    const struct segment *segment = oldest_remembered(journal);
    uint64_t end = segment != NULL ? segment->end_pos : 0;
    os_mutex_unlock(&journal->mu);
    return end;
}

/* Marks the oldest one that lies before that position; a position in it. False: there is none. */
static bool forget_next(struct journal *journal, uint64_t before, uint64_t *ret_pos) {
    os_mutex_lock(&journal->mu);
    struct segment *segment = oldest_remembered(journal);
    bool found = segment != NULL && segment->end_pos <= before;
    if (found) {
        segment->is_forgotten = true;
        *ret_pos = segment->header.first_pos;
    }
    os_mutex_unlock(&journal->mu);
    return found;
}

void journal_forget(struct journal *journal, uint64_t before) {
    const struct os_files *files = journal->files;
    uint64_t pos;
    while (forget_next(journal, before, &pos)) {
        struct segment *segment;
        if (files->forget != NULL && mr_is_ok(segments_hold(journal, pos, &segment))) {
            files->forget(files->ctx, segment->file);
            segments_release(journal, segment);
        }
    }
}

/* The oldest segment, where it lies wholly before that position. */
static struct segment *oldest_before(struct journal *journal, uint64_t before) {
    os_mutex_lock(&journal->mu);
    struct segment *oldest = journal->n_segments > 1 ? journal->table[0] : NULL;
    if (oldest != NULL && oldest->end_pos > before) {
        oldest = NULL;
    }
    os_mutex_unlock(&journal->mu);
    return oldest;
}

mr_err journal_trim(struct journal *journal, uint64_t before) {
    if (journal->is_read_only) {
        return MR_ERR(MR_E_INVALID);
    }
    for (;;) {
        /* Before the next one goes: were a younger one to vanish alone, that would look like
         * damage. */
        if (journal->has_unsynced_trim) {
            MR_TRY(journal->files->sync_dir(journal->files->ctx, journal->dir));
            journal->has_unsynced_trim = false;
        }
        struct segment *oldest = oldest_before(journal, before);
        if (oldest == NULL) {
            return MR_OK;
        }
        mr_info(journal->log, "journal.trimmed", mr_kv_i64("segment", (int64_t)oldest->number),
                mr_kv_i64("position", (int64_t)oldest->header.first_pos));
        MR_TRY(segments_remove(journal, oldest));
        journal->has_unsynced_trim = true;
    }
}
