/* Encoding and decoding of segment headers and frames. See format.h, and journal.c for the format.
 *
 * Everything read is hostile until its CRC is right, and afterwards still bounded: a frame says how
 * long it is before its CRC can be checked, so that length is compared with what is left of the
 * segment first. The CRC covers the padding too, so that no byte of a journal may change unseen. */
#include "journal/format.h"

#include "base/num.h"
#include "crypto/crc32c.h"

enum {
    MARK_SPARE = 1,
    MARK_USED = 2,
    KIND_GROUP = 'G',
    KIND_RECORD = 'R',
    FLAG_LAST_OF_UNIT = 1,
    GROUP_BODY = FORMAT_GROUP_BYTES - FORMAT_FRAME_BYTES,
    HEADER_CRC_AT = FORMAT_HEADER_BYTES - 4,
};

static const char magic[8] = {'M', 'I', 'L', 'L', 'R', 'A', 'C', 'E'};

void format_segment_encode(const struct format_segment *segment, enum format_segment_kind kind,
                           uint8_t block[static FORMAT_BLOCK]) {
    MR_ASSERT(kind == FORMAT_SEGMENT_SPARE || kind == FORMAT_SEGMENT_USED);
    memset(block, 0, FORMAT_BLOCK);
    memcpy(block, magic, sizeof magic);
    mr_put_u32(block + 8, FORMAT_VERSION);
    mr_put_u32(block + 12, kind == FORMAT_SEGMENT_USED ? MARK_USED : MARK_SPARE);
    memcpy(block + 16, segment->store_id, 16);
    mr_put_u64(block + 32, segment->epoch);
    mr_put_u64(block + 40, segment->first_pos);
    memcpy(block + 48, segment->salt, 16);
    mr_put_u64(block + 64, segment->bytes);
    mr_put_u64(block + 72, (uint64_t)segment->wall_ms);
    mr_put_u64(block + 80, segment->sequence);
    mr_put_u32(block + HEADER_CRC_AT, crc32c(0, block, HEADER_CRC_AT));
    memcpy(block + FORMAT_COPY, block, FORMAT_HEADER_BYTES);
}

static enum format_segment_kind decode_copy(const uint8_t *at, struct format_segment *out) {
    if (memcmp(at, magic, sizeof magic) != 0 ||
        mr_get_u32(at + HEADER_CRC_AT) != crc32c(0, at, HEADER_CRC_AT)) {
        return FORMAT_SEGMENT_BAD;
    }
    uint32_t version = mr_get_u32(at + 8);
    if (version > FORMAT_VERSION) {
        return FORMAT_SEGMENT_NEWER;
    }
    uint32_t mark = mr_get_u32(at + 12);
    memcpy(out->store_id, at + 16, 16);
    out->epoch = mr_get_u64(at + 32);
    out->first_pos = mr_get_u64(at + 40);
    memcpy(out->salt, at + 48, 16);
    out->bytes = mr_get_u64(at + 64);
    out->wall_ms = (int64_t)mr_get_u64(at + 72);
    out->sequence = mr_get_u64(at + 80);
    if (version == 0 || out->first_pos % FORMAT_GRID != 0 || out->first_pos > UINT64_MAX / 2) {
        return FORMAT_SEGMENT_BAD;
    }
    if (mark == MARK_USED) {
        return FORMAT_SEGMENT_USED;
    }
    return mark == MARK_SPARE ? FORMAT_SEGMENT_SPARE : FORMAT_SEGMENT_BAD;
}

enum format_segment_kind format_segment_decode(const uint8_t *block, size_t n,
                                               struct format_segment *ret_segment,
                                               bool *ret_damaged_copy) {
    struct format_segment copies[2];
    enum format_segment_kind kinds[2] = {FORMAT_SEGMENT_BAD, FORMAT_SEGMENT_BAD};
    *ret_damaged_copy = false;
    if (n < FORMAT_BLOCK) {
        return FORMAT_SEGMENT_BAD;
    }
    kinds[0] = decode_copy(block, &copies[0]);
    kinds[1] = decode_copy(block + FORMAT_COPY, &copies[1]);
    /* The larger kind counts: used over spare, because both stand there only while a segment is
     * being opened, and then a used header names what the opening meant to do. */
    int best = kinds[1] > kinds[0] ? 1 : 0;
    *ret_damaged_copy = kinds[0] != kinds[1];
    if (kinds[best] == FORMAT_SEGMENT_USED || kinds[best] == FORMAT_SEGMENT_SPARE) {
        *ret_segment = copies[best];
    }
    return kinds[best];
}

uint32_t format_seed(const struct format_segment *segment) {
    return crc32c(0, segment->salt, sizeof segment->salt);
}

/* Of the frame whose bytes behind the CRC are `size - 4`. */
static uint32_t frame_crc(uint32_t seed, uint64_t pos, const uint8_t *at, uint64_t size) {
    uint8_t place[8];
    mr_put_u64(place, pos);
    return crc32c(crc32c(seed, place, sizeof place), at + 4, (size_t)size - 4);
}

uint64_t format_record_encode(uint32_t seed, uint64_t pos, const struct format_frame *frame,
                              uint8_t *at) {
    uint32_t len = (uint32_t)frame->body.len;
    uint64_t size = format_frame_size(len);
    MR_ASSERT(frame->body.len <= FORMAT_BODY_MAX && pos % FORMAT_GRID == 0);
    memset(at + size - FORMAT_GRID, 0, FORMAT_GRID);
    mr_put_u32(at + 4, len);
    at[8] = KIND_RECORD;
    at[9] = frame->type;
    at[10] = frame->flags;
    at[11] = frame->is_last_of_unit ? FLAG_LAST_OF_UNIT : 0;
    mr_put_u32(at + 12, frame->unit_index);
    if (len > 0) {
        memcpy(at + FORMAT_FRAME_BYTES, frame->body.ptr, len);
    }
    mr_put_u32(at, frame_crc(seed, pos, at, size));
    return size;
}

void format_group_encode(uint32_t seed, uint64_t pos, const struct format_group *group,
                         uint8_t at[static FORMAT_GROUP_BYTES]) {
    memset(at, 0, FORMAT_GROUP_BYTES);
    mr_put_u32(at + 4, GROUP_BODY);
    at[8] = KIND_GROUP;
    mr_put_u64(at + 16, group->epoch);
    mr_put_u64(at + 24, group->number);
    mr_put_u64(at + 32, pos);
    mr_put_u32(at + 40, group->bytes);
    mr_put_u32(at + 44, group->n_records);
    mr_put_u64(at + 48, group->durable_pos);
    mr_put_u64(at + 56, (uint64_t)group->wall_ms);
    mr_put_u32(at, frame_crc(seed, pos, at, FORMAT_GROUP_BYTES));
}

static enum format_frame_kind decode_group(uint64_t pos, const uint8_t *at,
                                           struct format_frame *out) {
    out->group.epoch = mr_get_u64(at + 16);
    out->group.number = mr_get_u64(at + 24);
    out->group.bytes = mr_get_u32(at + 40);
    out->group.n_records = mr_get_u32(at + 44);
    out->group.durable_pos = mr_get_u64(at + 48);
    out->group.wall_ms = (int64_t)mr_get_u64(at + 56);
    bool sane = mr_get_u64(at + 32) == pos && out->group.durable_pos <= pos &&
                out->group.durable_pos % FORMAT_GRID == 0;
    return sane ? FORMAT_FRAME_GROUP : FORMAT_FRAME_BAD;
}

bool format_frame_is_plausible(const uint8_t *at, uint64_t limit, uint64_t *ret_size) {
    uint32_t len = mr_get_u32(at + 4);
    uint8_t kind = at[8];
    if ((kind != KIND_RECORD && kind != KIND_GROUP) || len > FORMAT_BODY_MAX ||
        (at[11] & ~FLAG_LAST_OF_UNIT) != 0 || (kind == KIND_GROUP && len != GROUP_BODY)) {
        return false;
    }
    *ret_size = format_frame_size(len);
    return *ret_size <= limit;
}

enum format_frame_kind format_frame_decode(uint32_t seed, uint64_t pos, const uint8_t *at, size_t n,
                                           uint64_t limit, struct format_frame *ret_frame) {
    if (limit < FORMAT_FRAME_BYTES) {
        return FORMAT_FRAME_BAD;
    }
    if (n < FORMAT_FRAME_BYTES) {
        ret_frame->size = FORMAT_FRAME_BYTES;
        return FORMAT_FRAME_SHORT;
    }
    uint64_t size;
    if (!format_frame_is_plausible(at, limit, &size)) {
        return FORMAT_FRAME_BAD;
    }
    ret_frame->size = size;
    if (n < size) {
        return FORMAT_FRAME_SHORT;
    }
    if (mr_get_u32(at) != frame_crc(seed, pos, at, size)) {
        return FORMAT_FRAME_BAD;
    }
    if (format_frame_is_group(at)) {
        return decode_group(pos, at, ret_frame);
    }
    ret_frame->body = (mr_str){(const char *)at + FORMAT_FRAME_BYTES, mr_get_u32(at + 4)};
    ret_frame->type = at[9];
    ret_frame->flags = at[10];
    ret_frame->is_last_of_unit = (at[11] & FLAG_LAST_OF_UNIT) != 0;
    ret_frame->unit_index = mr_get_u32(at + 12);
    return FORMAT_FRAME_RECORD;
}
