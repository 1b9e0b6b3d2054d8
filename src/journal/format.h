/* The bytes of a journal on disk: segment headers and frames (group headers, records). Encoding and
 * decoding only; the format is told in journal.c. Private to the room. */
#ifndef MR_JOURNAL_FORMAT_H
#define MR_JOURNAL_FORMAT_H

#include "base/err.h"
#include "base/str.h"

#define FORMAT_VERSION      1U
#define FORMAT_BLOCK        4096U /* header block; data begins behind it */
#define FORMAT_COPY         2048U /* second copy of the header, within the block */
#define FORMAT_HEADER_BYTES 128U
#define FORMAT_GRID         8U
#define FORMAT_FRAME_BYTES  16U
#define FORMAT_GROUP_BYTES  64U            /* a group header, its frame included */
#define FORMAT_FIRST_POS    UINT64_C(4096) /* of a new store */
#define FORMAT_BODY_MAX     (16U * 1024 * 1024)

enum format_segment_kind {
    FORMAT_SEGMENT_BAD = 0, /* neither copy is whole */
    FORMAT_SEGMENT_SPARE,   /* zero-filled, not in use */
    FORMAT_SEGMENT_USED,
    FORMAT_SEGMENT_NEWER, /* whole, of a later format */
};

struct format_segment {
    uint8_t store_id[16];
    uint8_t salt[16];
    uint64_t epoch;
    uint64_t sequence; /* order of opening */
    uint64_t first_pos;
    uint64_t bytes; /* of the file */
    int64_t wall_ms;
};

/* Writes both copies into a zeroed block. */
void format_segment_encode(const struct format_segment *segment, enum format_segment_kind kind,
                           uint8_t block[static FORMAT_BLOCK]);
/* *ret_damaged_copy: one copy is not whole (the other is what counts). ret_segment is set for SPARE
 * and USED. */
enum format_segment_kind format_segment_decode(const uint8_t *block, size_t n,
                                               struct format_segment *ret_segment,
                                               bool *ret_damaged_copy);
/* What the CRC of every frame of the segment starts from. */
uint32_t format_seed(const struct format_segment *segment);

enum format_frame_kind {
    FORMAT_FRAME_BAD = 0,
    FORMAT_FRAME_SHORT, /* more bytes are needed: frame.size */
    FORMAT_FRAME_GROUP,
    FORMAT_FRAME_RECORD,
};

struct format_group {
    uint64_t epoch;
    uint64_t number;
    uint64_t durable_pos;
    uint32_t bytes; /* of the group, this header included */
    uint32_t n_records;
    int64_t wall_ms;
};

struct format_frame {
    uint64_t size; /* on the grid, header and padding included */
    mr_str body;   /* RECORD */
    uint32_t unit_index;
    uint8_t type;
    uint8_t flags;
    bool is_last_of_unit;
    struct format_group group; /* GROUP */
};

static inline uint64_t format_frame_size(uint32_t len) {
    return ((uint64_t)FORMAT_FRAME_BYTES + len + (FORMAT_GRID - 1)) & ~(uint64_t)(FORMAT_GRID - 1);
}
/* Writes the frame of a record at `at` (format_frame_size(len) bytes) and returns its size. */
uint64_t format_record_encode(uint32_t seed, uint64_t pos, const struct format_frame *frame,
                              uint8_t *at);
void format_group_encode(uint32_t seed, uint64_t pos, const struct format_group *group,
                         uint8_t at[static FORMAT_GROUP_BYTES]);
/* Whether the first 16 bytes at `at` could begin a frame of at most `limit` bytes; *ret_size is its
 * size then. Cheap: no CRC. */
bool format_frame_is_plausible(const uint8_t *at, uint64_t limit, uint64_t *ret_size);
/* True where those bytes, being plausible, begin a group header. */
static inline bool format_frame_is_group(const uint8_t *at) {
    return at[8] == 'G';
}
/* What a search for the next frame may spend on checksums of candidates: beyond it only group
 * headers count, so that a payload made of candidates cannot make a damaged segment take hours. */
#define FORMAT_SEARCH_BYTES (INT64_C(4) << 30)
/* Judges the frame that should begin at `at`, n bytes of which are at hand; it may not be larger
 * than `limit` bytes. */
enum format_frame_kind format_frame_decode(uint32_t seed, uint64_t pos, const uint8_t *at, size_t n,
                                           uint64_t limit, struct format_frame *ret_frame);

#endif
