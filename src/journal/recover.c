/* Recovery: from a directory of files to a journal that may be served.
 *
 *   1. Every segment header is read. A newer format or another store's segment stops here, before
 * anything is changed. Files that read as neither header nor spare stamp are *lost* if they hold
 * anything, and removed if not (the power went while they were being opened).
 *   2. D, the mark below which everything is known to have been durable, is the largest of: the
 * first position of the newest segment (it is written only after all before it was synced), the
 * durable_pos of every whole group header in that segment, torn neighbours or not, and the caller's
 * hint.
 *   3. The newest segment is walked. Below D, damage is passed over by searching the grid for the
 * next whole frame. At or above D the walk ends at the first frame that is not whole, or does not
 * continue its unit: a torn tail. The end is behind the last complete unit, and never below D.
 *   4. What lies between D and the end was perhaps read from the page cache only (after a kill), or
 * from pages that a failed sync left clean. It is written again, the same bytes at the same place,
 * and synced.
 *   5. The directory is synced, so that what this start and earlier ones removed stays removed.
 *      A new segment is opened at the end, with a higher epoch. From its header on, whatever older
 *      segments hold at or beyond that position is void. A lost newest segment takes up the
 * positions that it could have held, so that none is used twice.
 *   6. Damage between replay_from and the end is reported, by the same walk that readers use. */
#include "journal/recover.h"

#include "base/mem.h"
#include "journal/reader.h"

#include <stdlib.h>

/* A file as found. */
struct found {
    uint64_t number;
    uint64_t size;
    enum format_segment_kind kind;
    bool has_damaged_copy;
    bool has_data; /* of a BAD one: anything but zeros behind the header block */
    struct format_segment header;
    os_file file;
};

struct listing {
    struct journal *journal;
    struct found *files;
    size_t n;
    size_t cap;
    mr_err err;
    uint64_t n_lost;          /* BAD with data */
    uint64_t n_lost_trailing; /* of them, possibly newer than every used one */
};

/* The newest segment in memory. */
struct tail {
    const struct segment *segment;
    uint8_t *bytes; /* data, without the header block */
    uint64_t n;
    uint64_t durable; /* D */
    uint64_t end;
    uint64_t cut_bytes;
};

static void list_one(void *arg, mr_str name) {
    struct listing *listing = arg;
    uint64_t number;
    if (mr_is_err(listing->err) || !segments_parse_name(name, &number)) {
        return;
    }
    if (listing->n == listing->cap) {
        size_t cap = listing->cap == 0 ? 16 : listing->cap * 2;
        struct found *grown = mr_realloc(listing->files, cap * sizeof *grown);
        if (grown == NULL) {
            listing->err = MR_ERR(MR_E_NOMEM);
            return;
        }
        listing->files = grown;
        listing->cap = cap;
    }
    listing->files[listing->n++] = (struct found){.number = number, .file = OS_FILE_NONE};
}

static void remove_one_temporary(void *arg, mr_str name) {
    struct journal *journal = arg;
    char text[SEGMENTS_NAME_SIZE];
    char path[SEGMENTS_PATH_SIZE];
    if (mr_str_starts(name, MR_STR("spare-")) && mr_str_ends(name, MR_STR(".tmp")) &&
        mr_str_to_c(name, text, sizeof text) && segments_path(journal, text, path)) {
        mr_ignore(journal->files->unlink(journal->files->ctx, path),
                  "tried again at the next start");
    }
}

static void listing_done(struct listing *listing) {
    const struct os_files *files = listing->journal->files;
    for (size_t i = 0; i < listing->n; i++) {
        if (listing->files[i].file.handle >= 0) {
            files->close(files->ctx, listing->files[i].file);
        }
    }
    mr_free(listing->files);
}

static bool is_zero(const uint8_t *at, size_t n) {
    return n == 0 || (at[0] == 0 && memcmp(at, at + 1, n - 1) == 0);
}

/* Whether a file holds anything behind its header block. */
static mr_err look_for_data(const struct os_files *files, struct found *found) {
    const size_t chunk = 65536;
    uint8_t *bytes = mr_alloc(chunk);
    if (bytes == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_err err = MR_OK;
    for (uint64_t at = FORMAT_BLOCK; at < found->size && !found->has_data; at += chunk) {
        size_t n;
        err = files->read(files->ctx, found->file, bytes, chunk, at, OS_READ_WAIT, &n);
        if (mr_is_err(err)) {
            break;
        }
        found->has_data = !is_zero(bytes, n);
    }
    mr_free(bytes);
    return err;
}

static mr_err read_header(struct journal *journal, struct found *found) {
    const struct os_files *files = journal->files;
    char name[SEGMENTS_NAME_SIZE];
    char path[SEGMENTS_PATH_SIZE];
    segments_name(found->number, name);
    if (!segments_path(journal, name, path)) {
        return MR_ERR(MR_E_INVALID);
    }
    MR_TRY(files->open(files->ctx, path, journal->is_read_only ? OS_OPEN_READ : OS_OPEN_WRITE,
                       &found->file));
    MR_TRY(files->size(files->ctx, found->file, &found->size));
    uint8_t block[FORMAT_BLOCK];
    size_t n;
    MR_TRY(files->read(files->ctx, found->file, block, sizeof block, 0, OS_READ_WAIT, &n));
    found->kind = format_segment_decode(block, n, &found->header, &found->has_damaged_copy);
    return found->kind == FORMAT_SEGMENT_BAD ? look_for_data(files, found) : MR_OK;
}

/* Used ones first, in order of opening; the others by number. */
static int by_sequence(const void *a, const void *b) {
    const struct found *left = a;
    const struct found *right = b;
    bool left_used = left->kind == FORMAT_SEGMENT_USED;
    bool right_used = right->kind == FORMAT_SEGMENT_USED;
    if (left_used != right_used) {
        return left_used ? -1 : 1;
    }
    uint64_t x = left_used ? left->header.sequence : left->number;
    uint64_t y = left_used ? right->header.sequence : right->number;
    return x < y ? -1 : x > y;
}

/* Step 1. */
static mr_err read_listing(struct listing *listing) {
    struct journal *journal = listing->journal;
    MR_TRY(journal->files->list(journal->files->ctx, journal->dir, list_one, listing));
    MR_TRY(listing->err);
    for (size_t i = 0; i < listing->n; i++) {
        MR_TRY(read_header(journal, &listing->files[i]));
        if (listing->files[i].kind == FORMAT_SEGMENT_NEWER) {
            return MR_ERR(JOURNAL_E_NEWER);
        }
    }
    if (listing->n > 1) {
        qsort(listing->files, listing->n, sizeof *listing->files, by_sequence);
    }
    uint64_t newest_number = 0;
    for (size_t i = 0; i < listing->n; i++) {
        const struct found *found = &listing->files[i];
        if (found->kind == FORMAT_SEGMENT_USED || found->kind == FORMAT_SEGMENT_SPARE) {
            if (memcmp(found->header.store_id, listing->files[0].header.store_id, 16) != 0) {
                return MR_ERR(JOURNAL_E_FOREIGN);
            }
        }
        if (found->kind == FORMAT_SEGMENT_USED) {
            bool in_order =
                i == 0 || listing->files[i - 1].header.first_pos <= found->header.first_pos;
            if (!in_order) {
                return MR_ERR(JOURNAL_E_FOREIGN);
            }
            newest_number = found->number > newest_number ? found->number : newest_number;
        }
        if (found->kind == FORMAT_SEGMENT_BAD && found->has_data) {
            listing->n_lost++;
            listing->n_lost_trailing += found->number > newest_number ? 1 : 0;
        }
    }
    return MR_OK;
}

static void report(struct journal *journal, const struct journal_options *options,
                   struct journal_recovery *recovery, const struct journal_damage *damage) {
    recovery->damaged_ranges++;
    mr_error(journal->log, "journal.damaged", mr_kv_c("segment", damage->segment),
             mr_kv_i64("offset", (int64_t)damage->offset),
             mr_kv_i64("position", (int64_t)damage->pos),
             mr_kv_i64("end", (int64_t)damage->end_pos));
    if (options->on_damage != NULL) {
        options->on_damage(options->damage_ctx, damage);
    }
}

/* A file whose header cannot be read. */
static void take_bad(struct journal *journal, struct found *found) {
    char name[SEGMENTS_NAME_SIZE];
    char path[SEGMENTS_PATH_SIZE];
    char aside[SEGMENTS_PATH_SIZE];
    segments_name(found->number, name);
    mr_warn(journal->log, found->has_data ? "journal.segment_lost" : "journal.segment_unused",
            mr_kv_c("segment", name));
    if (journal->is_read_only || !segments_path(journal, name, path)) {
        return;
    }
    const struct os_files *files = journal->files;
    if (!found->has_data) {
        mr_ignore(files->unlink(files->ctx, path), "judged again at the next start");
        return;
    }
    /* Kept for whoever can make something of it, under a name that is not read again. */
    char lost[SEGMENTS_NAME_SIZE + 8];
    size_t n = strlen(name);
    memcpy(lost, name, n);
    memcpy(lost + n, ".lost", sizeof ".lost");
    if (segments_path(journal, lost, aside)) {
        mr_ignore(files->rename(files->ctx, path, aside), "judged again at the next start");
    }
}

static void take_spare_file(struct journal *journal, struct found *found) {
    if (journal->is_read_only) {
        return;
    }
    if (found->size == journal->segment_bytes && found->header.bytes == found->size &&
        segments_add_spare(journal, found->number, found->file)) {
        found->file = OS_FILE_NONE;
        return;
    }
    char name[SEGMENTS_NAME_SIZE];
    char path[SEGMENTS_PATH_SIZE];
    segments_name(found->number, name);
    if (segments_path(journal, name, path)) {
        mr_ignore(journal->files->unlink(journal->files->ctx, path),
                  "tried again at the next start");
    }
}

/* Step 1, second half: the table. Files go over to it. */
static mr_err take_listing(struct listing *listing) {
    struct journal *journal = listing->journal;
    for (size_t i = 0; i < listing->n; i++) {
        struct found *found = &listing->files[i];
        if (found->number >= journal->next_number) {
            journal->next_number = found->number + 1;
        }
        if (found->kind == FORMAT_SEGMENT_USED) {
            /* Only the newest stays open; readers open the others when they need them. */
            bool newest = i + 1 == listing->n || found[1].kind != FORMAT_SEGMENT_USED;
            struct segment *segment;
            MR_TRY(segments_add(journal, &found->header, found->number,
                                newest ? found->file : OS_FILE_NONE, found->size, &segment));
            found->file = newest ? OS_FILE_NONE : found->file;
            journal->epoch =
                found->header.epoch > journal->epoch ? found->header.epoch : journal->epoch;
            journal->next_sequence = found->header.sequence + 1;
        } else if (found->kind == FORMAT_SEGMENT_SPARE) {
            take_spare_file(journal, found);
        } else {
            take_bad(journal, found);
        }
    }
    return MR_OK;
}

/* --- the newest segment ----------------------------------------------------------------------- */

static mr_err tail_load(struct journal *journal, struct tail *tail) {
    struct segment *segment = journal->table[journal->n_segments - 1];
    tail->segment = segment;
    uint64_t size = segment->file_bytes > FORMAT_BLOCK ? segment->file_bytes - FORMAT_BLOCK : 0;
    tail->n = 0;
    tail->bytes = mr_alloc((size_t)size + FORMAT_GRID);
    if (tail->bytes == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    size_t n = 0;
    MR_TRY(journal->files->read(journal->files->ctx, segment->file, tail->bytes, (size_t)size,
                                FORMAT_BLOCK, OS_READ_WAIT, &n));
    tail->n = n;
    return MR_OK;
}

static uint64_t tail_first(const struct tail *tail) {
    return tail->segment->header.first_pos;
}

static enum format_frame_kind frame_at(const struct tail *tail, uint64_t pos,
                                       struct format_frame *ret_frame) {
    uint64_t at = pos - tail_first(tail);
    if (at >= tail->n) {
        return FORMAT_FRAME_BAD;
    }
    uint64_t left = tail->n - at;
    return format_frame_decode(tail->segment->seed, pos, tail->bytes + at, (size_t)left, left,
                               ret_frame);
}

/* Step 2. */
static void find_durable(struct tail *tail) {
    struct format_frame frame;
    uint64_t pos = tail_first(tail);
    uint64_t stop = pos + tail->n;
    while (pos < stop) {
        uint64_t at = pos - tail_first(tail);
        bool candidate =
            tail->n - at >= FORMAT_FRAME_BYTES && format_frame_is_group(tail->bytes + at);
        if (!candidate || frame_at(tail, pos, &frame) != FORMAT_FRAME_GROUP) {
            pos += FORMAT_GRID;
            continue;
        }
        if (frame.group.durable_pos > tail->durable) {
            tail->durable = frame.group.durable_pos;
        }
        pos += FORMAT_GROUP_BYTES;
    }
}

/* The next whole frame at or behind pos, at the latest D. */
static uint64_t pass_over(const struct tail *tail, uint64_t pos) {
    int64_t budget = FORMAT_SEARCH_BYTES;
    for (; pos < tail->durable; pos += FORMAT_GRID) {
        uint64_t at = pos - tail_first(tail);
        uint64_t size;
        if (at >= tail->n || tail->n - at < FORMAT_FRAME_BYTES) {
            return tail->durable;
        }
        if (!format_frame_is_plausible(tail->bytes + at, tail->n - at, &size) ||
            (budget <= 0 && !format_frame_is_group(tail->bytes + at))) {
            continue;
        }
        budget -= (int64_t)size;
        struct format_frame frame;
        if (frame_at(tail, pos, &frame) != FORMAT_FRAME_BAD) {
            return pos;
        }
    }
    return tail->durable;
}

/* Step 3. */
static void find_end(struct tail *tail, struct journal_recovery *recovery) {
    uint64_t pos = tail_first(tail);
    uint64_t stop = pos + tail->n;
    uint32_t next_index = 0; /* of the unit that is open; 0: none is */
    tail->end = pos;
    while (pos < stop) {
        struct format_frame frame;
        bool known = pos < tail->durable;
        enum format_frame_kind kind = frame_at(tail, pos, &frame);
        if (kind == FORMAT_FRAME_GROUP) {
            if (!known && next_index != 0) {
                break;
            }
            next_index = 0;
            pos += frame.size;
            tail->end = known || frame.group.n_records == 0 ? pos : tail->end;
        } else if (kind == FORMAT_FRAME_RECORD) {
            if (!known && frame.unit_index != next_index) {
                break;
            }
            next_index = frame.is_last_of_unit ? 0 : frame.unit_index + 1;
            pos += frame.size;
            tail->end = known || next_index == 0 ? pos : tail->end;
            recovery->records++;
        } else if (known) {
            pos = pass_over(tail, pos + FORMAT_GRID);
            next_index = 0;
            tail->end = pos;
        } else {
            break;
        }
    }
    tail->end = tail->end > tail->durable ? tail->end : tail->durable;
    uint64_t kept = tail->end - tail_first(tail);
    uint64_t last = tail->n;
    while (last > kept && tail->bytes[last - 1] == 0) {
        last--;
    }
    tail->cut_bytes = last > kept ? last - kept : 0;
}

/* Step 4. */
static mr_err make_tail_durable(struct journal *journal, struct tail *tail) {
    const struct os_files *files = journal->files;
    os_file file = tail->segment->file;
    uint64_t from = tail->durable - tail_first(tail);
    uint64_t to = tail->end - tail_first(tail);
    if (from < to && from < tail->n) {
        struct iovec iov = {.iov_base = tail->bytes + from,
                            .iov_len = (size_t)((to < tail->n ? to : tail->n) - from)};
        MR_TRY(files->write(files->ctx, file, &iov, 1, FORMAT_BLOCK + from));
        mr_err err = files->sync(files->ctx, file);
        if (mr_is_err(err)) {
            return MR_ERR(MR_E_IO);
        }
    }
    if (to < tail->n) {
        /* Gives back the zeros, and the torn tail, which step 5 makes void. */
        mr_ignore(files->truncate(files->ctx, file, FORMAT_BLOCK + to), "space only");
        struct segment *segment = journal->table[journal->n_segments - 1];
        segment->file_bytes = FORMAT_BLOCK + to;
    }
    return MR_OK;
}

/* Steps 2 to 4: sets where this run begins. */
static mr_err recover_tail(struct journal *journal, const struct journal_options *options,
                           struct journal_recovery *recovery) {
    uint64_t hint = (options->durable_hint + (FORMAT_GRID - 1)) & ~(uint64_t)(FORMAT_GRID - 1);
    if (journal->n_segments == 0) {
        recovery->durable_known = hint > FORMAT_FIRST_POS ? hint : FORMAT_FIRST_POS;
        recovery->end = recovery->durable_known;
        return MR_OK;
    }
    struct tail tail = {0};
    mr_err err = tail_load(journal, &tail);
    if (mr_is_ok(err)) {
        tail.durable = hint > tail_first(&tail) ? hint : tail_first(&tail);
        find_durable(&tail);
        find_end(&tail, recovery);
        recovery->durable_known = tail.durable;
        recovery->end = tail.end;
        recovery->tail_bytes = tail.end - tail.durable;
        recovery->cut_bytes = tail.cut_bytes;
        if (!journal->is_read_only) {
            err = make_tail_durable(journal, &tail);
        }
    }
    mr_free(tail.bytes);
    return err;
}

/* Step 5. */
static mr_err open_segment(struct journal *journal, const struct journal_options *options,
                           uint64_t first_pos) {
    if (journal->n_spares == 0) {
        MR_TRY(segments_make_spare(journal));
    }
    /* What an earlier run removed is gone for good before this one can be mistaken for it: a file
     * that nobody sees any more may carry the very epoch and sequence that are given now. */
    MR_TRY(journal->files->sync_dir(journal->files->ctx, journal->dir));
    journal->epoch++;
    MR_TRY(segments_open_next(journal, first_pos, options->now));
    /* Empty ones; were one to come back, it would lie before the new segment and be empty still. */
    size_t i = 0;
    while (i < journal->n_segments) {
        struct segment *segment = journal->table[i];
        bool is_empty = segment->end_pos == segment->header.first_pos;
        if (!is_empty || mr_is_err(segments_remove(journal, segment))) {
            i++;
        }
    }
    return MR_OK;
}

/* Step 6. */
static mr_err report_damage(struct journal *journal, const struct journal_options *options,
                            struct journal_recovery *recovery) {
    uint64_t from = journal->table[0]->header.first_pos;
    for (size_t i = 0; i < journal->n_segments; i++) {
        if (journal->table[i]->header.first_pos <= options->replay_from) {
            from = journal->table[i]->header.first_pos;
        }
    }
    struct journal_iter iter;
    struct journal_item item;
    journal_iter_init(&iter, journal, from);
    recovery->records = 0;
    mr_err err;
    for (;;) {
        err = journal_iter_next(&iter, atomic_load(&journal->durable), &item);
        if (mr_is_err(err) || item.kind == JOURNAL_ITEM_END) {
            break;
        }
        if (item.kind == JOURNAL_ITEM_DAMAGE) {
            report(journal, options, recovery, &item.damage);
        } else {
            recovery->records++;
        }
    }
    journal_iter_done(&iter);
    return err;
}

/* One copy of a header is not whole. In a segment that is empty that is an opening which was
 * interrupted, and no damage. */
static void report_headers(const struct listing *listing, const struct journal_options *options,
                           struct journal_recovery *recovery) {
    for (size_t i = 0; i < listing->n && listing->files[i].kind == FORMAT_SEGMENT_USED; i++) {
        const struct found *found = &listing->files[i];
        bool newest = i + 1 == listing->n || found[1].kind != FORMAT_SEGMENT_USED;
        uint64_t end = newest ? recovery->end : found[1].header.first_pos;
        if (found->has_damaged_copy && found->header.first_pos < end) {
            struct journal_damage damage = {.pos = found->header.first_pos,
                                            .end_pos = found->header.first_pos};
            segments_name(found->number, damage.segment);
            report(listing->journal, options, recovery, &damage);
        }
    }
}

static mr_err run(struct listing *listing, const struct journal_options *options,
                  struct journal_recovery *recovery) {
    struct journal *journal = listing->journal;
    MR_TRY(read_listing(listing));
    recovery->created = listing->n == 0;
    bool known = listing->n > 0 && (listing->files[0].kind == FORMAT_SEGMENT_USED ||
                                    listing->files[0].kind == FORMAT_SEGMENT_SPARE);
    if (known) {
        memcpy(journal->store_id, listing->files[0].header.store_id, sizeof journal->store_id);
    } else {
        journal->random(journal->random_ctx, journal->store_id, sizeof journal->store_id);
    }
    if (!journal->is_read_only) {
        MR_TRY(
            journal->files->list(journal->files->ctx, journal->dir, remove_one_temporary, journal));
    }
    MR_TRY(take_listing(listing));
    recovery->segments = journal->n_segments;
    MR_TRY(recover_tail(journal, options, recovery));
    report_headers(listing, options, recovery);
    /* Positions that a lost newest segment may have given away are not given again. */
    recovery->end += listing->n_lost_trailing * journal->segment_bytes;
    atomic_store(&journal->durable, recovery->end);
    if (listing->n_lost_trailing > 0 && journal->n_segments == 0) {
        struct journal_damage damage = {.end_pos = recovery->end};
        report(journal, options, recovery, &damage);
    }
    if (!journal->is_read_only) {
        MR_TRY(open_segment(journal, options, recovery->end));
    }
    return journal->n_segments == 0 ? MR_OK : report_damage(journal, options, recovery);
}

mr_err recover_run(struct journal *journal, const struct journal_options *options,
                   struct journal_recovery *ret_recovery) {
    struct listing listing = {.journal = journal};
    struct journal_recovery recovery = {0};
    mr_err err = run(&listing, options, &recovery);
    listing_done(&listing);
    MR_TRY(err);
    mr_info(journal->log, "journal.opened", mr_kv_i64("epoch", (int64_t)journal->epoch),
            mr_kv_i64("end", (int64_t)recovery.end),
            mr_kv_i64("tail_bytes", (int64_t)recovery.tail_bytes),
            mr_kv_i64("cut_bytes", (int64_t)recovery.cut_bytes),
            mr_kv_i64("damaged", (int64_t)recovery.damaged_ranges));
    *ret_recovery = recovery;
    return MR_OK;
}
