/* Reading single records, alone or many at once. See reader.h.
 *
 * A segment is held by count during a read, so that a trim meanwhile neither closes nor re-uses its
 * file. Positions come from others (the ledger's books, which are files too), so every one is
 * checked: it must lie between the start and the durable mark, and a whole frame of a record must
 * stand there. */
#include "journal/reader.h"

#include "journal/segments.h"

#define GUESS_BYTES 1024U

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static void fill_record(uint64_t pos, const struct format_frame *frame,
                        struct journal_record *ret_record) {
    *ret_record = (struct journal_record){.pos = pos,
                                          .next_pos = pos + frame->size,
                                          .body = frame->body,
                                          .unit_index = frame->unit_index,
                                          .type = frame->type,
                                          .flags = frame->flags,
                                          .is_last_of_unit = frame->is_last_of_unit};
}

/* Fills scratch[from …] up to `want` bytes of the record at pos; *ret_n is what is there. */
static mr_err read_more(struct journal *journal, const struct segment *segment, uint64_t pos,
                        uint64_t have, uint64_t want, int flags, mr_buf *scratch, uint64_t *ret_n) {
    char *at;
    MR_TRY(mr_buf_reserve(scratch, (size_t)want, &at));
    size_t n;
    MR_TRY(journal->files->read(journal->files->ctx, segment->file, at + have,
                                (size_t)(want - have), segment_offset(segment, pos) + have, flags,
                                &n));
    *ret_n = have + n;
    return MR_OK;
}

static mr_err read_held(struct journal *journal, const struct segment *segment, uint64_t pos,
                        uint64_t limit, uint32_t size_hint, int flags, mr_buf *scratch,
                        struct journal_record *ret_record) {
    uint64_t want =
        least(format_frame_size(size_hint == 0 ? GUESS_BYTES
                                               : (uint32_t)least(size_hint, FORMAT_BODY_MAX)),
              limit);
    uint64_t have = 0;
    /* Twice at most: the first read tells the size. */
    for (int round = 0; round < 2; round++) {
        uint64_t n;
        MR_TRY(read_more(journal, segment, pos, have, want, flags, scratch, &n));
        struct format_frame frame;
        const uint8_t *at = (const uint8_t *)scratch->ptr + scratch->len;
        enum format_frame_kind kind =
            format_frame_decode(segment->seed, pos, at, (size_t)n, limit, &frame);
        if (kind == FORMAT_FRAME_RECORD) {
            fill_record(pos, &frame, ret_record);
            mr_buf_commit(scratch, (size_t)frame.size);
            return MR_OK;
        }
        if (kind != FORMAT_FRAME_SHORT) {
            return MR_ERR(JOURNAL_E_CORRUPT);
        }
        if (n < want) {
            break;
        }
        have = n;
        want = frame.size;
    }
    return MR_ERR((flags & OS_READ_NOWAIT) != 0 ? (uint32_t)MR_E_AGAIN
                                                : (uint32_t)JOURNAL_E_CORRUPT);
}

mr_err journal_read(struct journal *journal, uint64_t pos, uint32_t size_hint, int flags,
                    mr_buf *scratch, struct journal_record *ret_record) {
    if (pos % FORMAT_GRID != 0) {
        return MR_ERR(JOURNAL_E_CORRUPT);
    }
    if (pos >= journal_durable(journal)) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    struct segment *segment;
    MR_TRY(segments_hold(journal, pos, &segment));
    uint64_t limit = segments_end(journal, segment) - pos;
    mr_err err = read_held(journal, segment, pos, limit, size_hint, flags, scratch, ret_record);
    segments_release(journal, segment);
    return err;
}

/* One read for several records. */
struct run {
    struct journal *journal;
    const struct journal_want *wants;
    size_t n;
    int flags;
    mr_buf *scratch;
    void (*each)(void *ctx, size_t i, mr_err err, const struct journal_record *record);
    void *ctx;
};

static uint64_t want_bytes(const struct journal_want *want) {
    return format_frame_size(
        want->size_hint == 0 ? GUESS_BYTES : (uint32_t)least(want->size_hint, FORMAT_BODY_MAX));
}

/* How many wants from i on one read covers: [wants[i].pos, + *ret_bytes). */
static size_t run_length(const struct run *run, size_t i, uint64_t limit, uint64_t *ret_bytes) {
    uint64_t from = run->wants[i].pos;
    uint64_t bytes = least(want_bytes(&run->wants[i]), limit);
    size_t k = i + 1;
    for (; k < run->n; k++) {
        MR_ASSERT(run->wants[k].pos >= run->wants[k - 1].pos);
        uint64_t end = run->wants[k].pos - from + want_bytes(&run->wants[k]);
        if (end > JOURNAL_MERGE_BYTES || run->wants[k].pos - from >= limit) {
            break;
        }
        bytes = end > bytes ? least(end, limit) : bytes;
    }
    *ret_bytes = bytes;
    return k - i;
}

/* One record alone, in memory of its own behind nothing. */
static void read_alone(const struct run *run, size_t i) {
    struct journal_record record;
    mr_buf_reset(run->scratch);
    mr_err err = journal_read(run->journal, run->wants[i].pos, run->wants[i].size_hint, run->flags,
                              run->scratch, &record);
    run->each(run->ctx, i, err, mr_is_ok(err) ? &record : NULL);
}

/* Serves wants i … i + k - 1 from one read of the held segment; returns how many were served (at
 * least one). */
static size_t serve_run(const struct run *run, const struct segment *segment, size_t i, size_t k,
                        uint64_t bytes, uint64_t limit) {
    uint64_t from = run->wants[i].pos;
    uint64_t n = 0;
    mr_buf_reset(run->scratch);
    mr_err err = read_more(run->journal, segment, from, 0, bytes, run->flags, run->scratch, &n);
    if (mr_is_err(err)) {
        for (size_t a = 0; a < k; a++) {
            run->each(run->ctx, i + a, err, NULL);
        }
        return k;
    }
    for (size_t a = 0; a < k; a++) {
        uint64_t pos = run->wants[i + a].pos;
        uint64_t at = pos - from;
        struct format_frame frame;
        struct journal_record record;
        enum format_frame_kind kind =
            at >= n || pos % FORMAT_GRID != 0
                ? FORMAT_FRAME_SHORT
                : format_frame_decode(segment->seed, pos, (const uint8_t *)run->scratch->ptr + at,
                                      (size_t)(n - at), limit - at, &frame);
        if (kind == FORMAT_FRAME_SHORT) {
            /* Larger than it was said to be, or not in memory: alone. The rest is a new run,
             * because scratch is overwritten. */
            read_alone(run, i + a);
            return a + 1;
        }
        bool whole = kind == FORMAT_FRAME_RECORD;
        if (whole) {
            fill_record(pos, &frame, &record);
        }
        run->each(run->ctx, i + a, whole ? MR_OK : MR_ERR(JOURNAL_E_CORRUPT),
                  whole ? &record : NULL);
    }
    return k;
}

mr_err journal_read_many(
    struct journal *journal, const struct journal_want *wants, size_t n, int flags, mr_buf *scratch,
    void (*each)(void *ctx, size_t i, mr_err err, const struct journal_record *record), void *ctx) {
    MR_ASSERT(scratch->max >= JOURNAL_MERGE_BYTES);
    mr_buf_reset(scratch);
    char *at;
    MR_TRY(mr_buf_reserve(scratch, n > 1 ? JOURNAL_MERGE_BYTES : FORMAT_FRAME_BYTES, &at));
    struct run run = {journal, wants, n, flags, scratch, each, ctx};
    size_t i = 0;
    while (i < n) {
        struct segment *segment;
        uint64_t limit = 0;
        bool alone = wants[i].pos >= journal_durable(journal) || wants[i].pos % FORMAT_GRID != 0 ||
                     mr_is_err(segments_hold(journal, wants[i].pos, &segment));
        if (alone) {
            read_alone(&run, i);
            i++;
            continue;
        }
        limit = segments_end(journal, segment) - wants[i].pos;
        uint64_t bytes;
        size_t k = run_length(&run, i, limit, &bytes);
        if (k == 1) {
            read_alone(&run, i);
        } else {
            k = serve_run(&run, segment, i, k, bytes, limit);
        }
        segments_release(journal, segment);
        i += k;
    }
    return MR_OK;
}
