/* The table of segments of an open journal, its spares, and how segments come and go. Private to
 * the room. */
#ifndef MR_JOURNAL_SEGMENTS_H
#define MR_JOURNAL_SEGMENTS_H

#include "journal/format.h"
#include "journal/journal.h"
#include "os/thread.h"

#include <stdatomic.h>

#define SEGMENTS_NAME_SIZE 32U
#define SEGMENTS_PATH_SIZE 4096U
#define SEGMENTS_OPEN_MAX  128U /* files kept open for readers beyond those in use */
#define SEGMENTS_END_OPEN  UINT64_MAX

/* One segment in use. Lives while it is in the table or a reader holds it. */
struct segment {
    struct format_segment header; /* immutable */
    uint64_t number;              /* of the file name; immutable */
    uint32_t seed;                /* immutable */
    /* guarded by mu */
    uint64_t end_pos; /* what it holds at or beyond this is void; SEGMENTS_END_OPEN: the open one */
    uint64_t file_bytes;
    int64_t newest_wall_ms;
    uint32_t holders;
    bool is_forgotten; /* by journal_forget */
    bool is_removed;   /* out of the table: freed with the last holder */
    os_file file;      /* OS_FILE_NONE: opened when needed */
};

struct spare {
    uint64_t number;
    os_file file;
};

struct journal {
    /* immutable after journal_open */
    const struct os_files *files;
    char *dir;
    uint64_t segment_bytes;
    uint64_t epoch;
    uint8_t store_id[16];
    bool is_read_only;
    os_file lock;
    const mr_log *log;
    mr_metrics *metrics;
    void (*random)(void *ctx, void *out, size_t n);
    void *random_ctx;
    void (*on_spare_taken)(void *ctx);
    void *spare_ctx;

    _Atomic uint64_t durable; /* written by the writer */
    _Atomic int state;        /* enum journal_state, sticky part and FULL */
    _Atomic uint64_t spare_failures;
    _Atomic uint64_t disk_free, disk_total;

    os_mutex filling; /* held while a spare is made: two at once would only halve the disk */
    os_mutex mu;      /* may be taken while filling is held, not the other way */
    /* guarded by mu */
    struct segment **table; /* by order of opening = by first_pos */
    size_t n_segments;
    size_t table_cap;
    struct spare spares[JOURNAL_SPARES + 2];
    size_t n_spares;
    size_t n_making; /* spares that maintenance is filling */
    uint64_t next_number;
    uint64_t next_sequence;
    size_t n_open;   /* files open for readers */
    bool is_starved; /* the last try to make a segment failed: the last two spares are reserved */

    /* writer only */
    struct segment *open_segment; /* also in the table; its file is always open */
    uint64_t write_pos;           /* where the next group goes */
    uint64_t group_number;
    bool has_unsynced; /* [durable, write_pos) was written and not synced */

    /* maintenance only */
    bool has_unsynced_trim; /* a segment was removed and the directory not synced since */
    int space_level;        /* 0: enough, 1: below 20 %, 2: below 10 % */
};

/* `dir/name` into path[SEGMENTS_PATH_SIZE]; false when it does not fit. */
bool segments_path(const struct journal *journal, const char *name, char *path);
/* `000000000012.seg`. */
void segments_name(uint64_t number, char name[static SEGMENTS_NAME_SIZE]);
/* False for names that are not of that form. */
bool segments_parse_name(mr_str name, uint64_t *ret_number);

/* Adds a segment (with file or OS_FILE_NONE) at the end of the table; the one before it ends at its
 * first_pos. Owns nothing on failure (MR_E_NOMEM). */
mr_err segments_add(struct journal *journal, const struct format_segment *header, uint64_t number,
                    os_file file, uint64_t file_bytes, struct segment **ret_segment);
/* Unlinks the file and takes the segment out of the table; on errors of unlink it stays. */
mr_err segments_remove(struct journal *journal, struct segment *segment);
/* The segment that holds pos, held and with an open file. JOURNAL_E_TRIMMED, MR_E_NOT_FOUND beyond
 * the last, or errors of opening. */
mr_err segments_hold(struct journal *journal, uint64_t pos, struct segment **ret_segment);
void segments_release(struct journal *journal, struct segment *segment);
/* End of what may be read in it: its end, or the durable position. */
uint64_t segments_end(struct journal *journal, const struct segment *segment);

/* Makes one spare: zero-filled, stamped, synced, named. Any thread; waits for another that is at
 * it. */
mr_err segments_make_spare(struct journal *journal);
/* Makes one where fewer than `enough` are there once nobody is filling one. */
mr_err segments_ensure_spares(struct journal *journal, size_t enough);
/* Puts an existing spare file on the list; false when the list is full. */
bool segments_add_spare(struct journal *journal, uint64_t number, os_file file);
/* Turns the oldest spare into the open segment, its header synced. The former open segment ends at
 * first_pos. MR_E_NO_SPACE (also: no spare is there), MR_E_IO, JOURNAL_E_FENCED, MR_E_NOMEM. Writer
 * only. */
mr_err segments_open_next(struct journal *journal, uint64_t first_pos, mr_wall now);

/* Sticky states, logged once. */
void segments_set_failed(struct journal *journal, enum journal_state state, const char *what);
void segments_set_full(struct journal *journal, bool full);

static inline uint64_t segment_offset(const struct segment *segment, uint64_t pos) {
    return FORMAT_BLOCK + (pos - segment->header.first_pos);
}
static inline uint64_t segment_capacity(const struct segment *segment) {
    return segment->header.bytes - FORMAT_BLOCK;
}

#endif
