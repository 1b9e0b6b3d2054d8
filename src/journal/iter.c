/* Walking the journal in order. See reader.h.
 *
 * The iterator holds the segment it is in and reads ahead in pieces of 256 KiB. Where no whole
 * frame stands, it searches the grid up to the end of the segment and gives the range as one piece
 * of damage: by the invariants of the journal nothing but whole frames lies below the durable mark.
 * A gap between segments (a file that is gone or too short) looks the same: no bytes where there
 * should be some. */
#include "journal/reader.h"

#include "journal/segments.h"

#define WINDOW_BYTES     (256U * 1024)
#define WINDOW_BYTES_MAX (FORMAT_BODY_MAX + 2 * WINDOW_BYTES)

void journal_iter_init(struct journal_iter *iter, struct journal *journal, uint64_t from) {
    uint64_t pos = from == JOURNAL_POS_NONE ? journal_start(journal) : from;
    *iter = (struct journal_iter){.journal = journal, .pos = pos};
    mr_buf_init(&iter->window, WINDOW_BYTES_MAX);
}

static void let_go(struct journal_iter *iter) {
    if (iter->segment != NULL) {
        segments_release(iter->journal, iter->segment);
        iter->segment = NULL;
    }
    mr_buf_reset(&iter->window);
}

void journal_iter_done(struct journal_iter *iter) {
    let_go(iter);
    mr_buf_done(&iter->window);
}

/* Makes sure that the segment of iter->pos is held and limit_pos is behind it. */
static mr_err enter(struct journal_iter *iter) {
    if (iter->segment != NULL && iter->pos < iter->limit_pos) {
        return MR_OK;
    }
    if (iter->segment != NULL) {
        iter->limit_pos = segments_end(iter->journal, iter->segment);
        if (iter->pos < iter->limit_pos) {
            return MR_OK;
        }
        let_go(iter);
    }
    MR_TRY(segments_hold(iter->journal, iter->pos, &iter->segment));
    iter->limit_pos = segments_end(iter->journal, iter->segment);
    return MR_OK;
}

/* The bytes at pos: at least `need` of them unless the file ends. *ret_n: how many are there. */
static mr_err look_at(struct journal_iter *iter, uint64_t pos, uint64_t need,
                      const uint8_t **ret_at, size_t *ret_n) {
    bool inside = pos >= iter->window_pos && pos < iter->window_pos + iter->window.len;
    if (!inside || iter->window_pos + iter->window.len - pos < need) {
        uint64_t size = need > WINDOW_BYTES ? need : WINDOW_BYTES;
        size = size < iter->limit_pos - pos ? size : iter->limit_pos - pos;
        char *out;
        size_t n;
        mr_buf_reset(&iter->window);
        MR_TRY(mr_buf_reserve(&iter->window, (size_t)size, &out));
        MR_TRY(iter->journal->files->read(iter->journal->files->ctx, iter->segment->file, out,
                                          (size_t)size, segment_offset(iter->segment, pos),
                                          OS_READ_WAIT, &n));
        iter->window_pos = pos;
        mr_buf_commit(&iter->window, n);
    }
    *ret_at = (const uint8_t *)iter->window.ptr + (pos - iter->window_pos);
    *ret_n = (size_t)(iter->window_pos + iter->window.len - pos);
    return MR_OK;
}

/* Judges the frame at pos, reading what it needs. */
static mr_err frame_at(struct journal_iter *iter, uint64_t pos, struct format_frame *ret_frame,
                       enum format_frame_kind *ret_kind) {
    uint64_t limit = iter->limit_pos - pos;
    uint64_t need = FORMAT_FRAME_BYTES < limit ? FORMAT_FRAME_BYTES : limit;
    enum format_frame_kind kind = FORMAT_FRAME_SHORT;
    for (int round = 0; round < 2 && kind == FORMAT_FRAME_SHORT; round++) {
        const uint8_t *at;
        size_t n;
        MR_TRY(look_at(iter, pos, need, &at, &n));
        kind = format_frame_decode(iter->segment->seed, pos, at, n, limit, ret_frame);
        if (n < need) {
            break;
        }
        need = ret_frame->size;
    }
    *ret_kind = kind == FORMAT_FRAME_SHORT ? FORMAT_FRAME_BAD : kind;
    return MR_OK;
}

/* The next whole frame behind pos, or the end of what may be read in this segment. */
static mr_err search(struct journal_iter *iter, uint64_t pos, uint64_t *ret_pos) {
    int64_t budget = FORMAT_SEARCH_BYTES;
    for (; iter->limit_pos - pos >= FORMAT_FRAME_BYTES; pos += FORMAT_GRID) {
        const uint8_t *at;
        size_t n;
        uint64_t size;
        MR_TRY(look_at(iter, pos, FORMAT_FRAME_BYTES, &at, &n));
        if (n < FORMAT_FRAME_BYTES) {
            break;
        }
        if (!format_frame_is_plausible(at, iter->limit_pos - pos, &size) ||
            (budget <= 0 && !format_frame_is_group(at))) {
            continue;
        }
        budget -= (int64_t)size;
        struct format_frame frame;
        enum format_frame_kind kind;
        MR_TRY(frame_at(iter, pos, &frame, &kind));
        if (kind != FORMAT_FRAME_BAD) {
            *ret_pos = pos;
            return MR_OK;
        }
    }
    *ret_pos = iter->limit_pos;
    return MR_OK;
}

static mr_err find_damage(struct journal_iter *iter, struct journal_item *ret_item) {
    uint64_t next = iter->limit_pos;
    if (iter->limit_pos - iter->pos > FORMAT_GRID) {
        MR_TRY(search(iter, iter->pos + FORMAT_GRID, &next));
    }
    ret_item->kind = JOURNAL_ITEM_DAMAGE;
    ret_item->damage = (struct journal_damage){
        .pos = iter->pos, .end_pos = next, .offset = segment_offset(iter->segment, iter->pos)};
    segments_name(iter->segment->number, ret_item->damage.segment);
    iter->pos = next;
    return MR_OK;
}

mr_err journal_iter_next(struct journal_iter *iter, uint64_t end, struct journal_item *ret_item) {
    uint64_t durable = journal_durable(iter->journal);
    end = end < durable ? end : durable;
    while (iter->pos < end) {
        MR_TRY(enter(iter));
        struct format_frame frame;
        enum format_frame_kind kind;
        MR_TRY(frame_at(iter, iter->pos, &frame, &kind));
        if (kind == FORMAT_FRAME_BAD) {
            return find_damage(iter, ret_item);
        }
        uint64_t pos = iter->pos;
        iter->pos += frame.size;
        if (kind == FORMAT_FRAME_GROUP) {
            iter->wall_ms = frame.group.wall_ms;
            continue;
        }
        ret_item->kind = JOURNAL_ITEM_RECORD;
        ret_item->record = (struct journal_record){.pos = pos,
                                                   .next_pos = iter->pos,
                                                   .body = frame.body,
                                                   .unit_index = frame.unit_index,
                                                   .type = frame.type,
                                                   .flags = frame.flags,
                                                   .is_last_of_unit = frame.is_last_of_unit};
        return MR_OK;
    }
    ret_item->kind = JOURNAL_ITEM_END;
    return MR_OK;
}
