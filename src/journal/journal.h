/* The journal of one store: an append-only log of records in units that are all or nothing, on one
 * machine: segments, groups, recovery, spares, trimming. Bytes only: what a record means is its
 * caller's. The format and the failure policy are told in journal.c.
 *
 * Threads: journal_open and journal_close by the thread that composes the program; the append side
 * (append.h) by the writer only; journal_spare_step and journal_trim by one maintenance thread;
 * reading (reader.h) and the functions that say so by any thread. */
#ifndef MR_JOURNAL_JOURNAL_H
#define MR_JOURNAL_JOURNAL_H

#include "base/log.h"
#include "base/metrics.h"
#include "journal/unit.h"
#include "os/files.h"

enum journal_err {
    JOURNAL_E_TRIMMED = MR_ERR_CODE(MR_ROOM_JOURNAL, 1), /* before the start of the journal */
    JOURNAL_E_CORRUPT = MR_ERR_CODE(MR_ROOM_JOURNAL, 2), /* bytes that were durable are damaged */
    JOURNAL_E_NEWER =
        MR_ERR_CODE(MR_ROOM_JOURNAL, 3), /* made by a newer Millrace: leave untouched */
    JOURNAL_E_FOREIGN = MR_ERR_CODE(MR_ROOM_JOURNAL, 4), /* a segment of another store */
    JOURNAL_E_FENCED = MR_ERR_CODE(MR_ROOM_JOURNAL, 5),  /* another process took the store over */
};

#define JOURNAL_SEGMENT_BYTES     (64U * 1024 * 1024)
#define JOURNAL_SEGMENT_BYTES_MIN (32U * 1024)
#define JOURNAL_SPARES            2U

struct journal;

/* A damaged range of what was durable. */
struct journal_damage {
    uint64_t pos;     /* first damaged position */
    uint64_t end_pos; /* reading goes on here */
    char segment[32]; /* file that holds it, or the last one before a gap; "" without any */
    uint64_t offset;  /* of pos in that file */
};

struct journal_options {
    const char *dir;        /* of the segments; made when absent. Copied. */
    uint64_t segment_bytes; /* 0: JOURNAL_SEGMENT_BYTES; a multiple of 4096 */
    uint64_t replay_from;   /* scan for damage from the segment that holds this (0: all). Older
                               segments   are trusted until read. */
    uint64_t durable_hint;  /* durable position that a checkpoint knew (0: none) */
    mr_wall now;            /* stamped into the new segment */
    bool read_only; /* for `check`: nothing is changed; no append, no lock of the writer's */
    void (*random)(void *ctx, void *out, size_t n); /* salts and the id of a new store */
    void *random_ctx;
    const mr_log *log;   /* NULL: silent */
    mr_metrics *metrics; /* the writer thread's; NULL: none */
    /* Each damaged range found by recovery, in order of position; NULL: only logged. */
    void (*on_damage)(void *ctx, const struct journal_damage *damage);
    void *damage_ctx;
    /* A spare was taken: journal_spare_hurry is wanted. Writer's thread; must not block. NULL: the
     * maintenance thread is quick enough. */
    void (*on_spare_taken)(void *ctx);
    void *spare_ctx;
};

/* What recovery found. */
struct journal_recovery {
    uint64_t durable_known; /* D: below it damage is corruption */
    uint64_t end;           /* end of the last complete unit: where this run begins */
    uint64_t tail_bytes;    /* [D, end): rewritten in place and synced */
    uint64_t cut_bytes;     /* of the torn tail that were not zero, up to the last such byte */
    uint64_t damaged_ranges;
    uint64_t segments;
    uint64_t records; /* valid ones in the scanned segments */
    bool created;     /* the store was empty */
};

/* What an engine can do (stated, so that callers need not know which engine it is). */
struct journal_capabilities {
    uint64_t unit_bytes_max;
    uint32_t groups_in_flight_max;
    bool survives_power_loss; /* an acknowledged unit does */
    bool survives_machine_loss;
};

/* Opens and recovers: raises the epoch, finds the end, rewrites and syncs what may be in memory
 * only, opens a new segment (all synced before it returns). Blocks. `files` must outlive the
 * journal. MR_E_BUSY (locked by another process), JOURNAL_E_NEWER, JOURNAL_E_FOREIGN, MR_E_IO,
 * MR_E_NO_SPACE, MR_E_NOMEM, MR_E_INVALID (options). Damage is not an error. ret_recovery may be
 * NULL. */
mr_err journal_open(const struct os_files *files, const struct journal_options *options,
                    struct journal **ret_journal, struct journal_recovery *ret_recovery);
/* Closes files and frees; syncs nothing (the writer's clean stop does). No reader may be at work.
 * NULL is fine. */
void journal_close(struct journal *journal);

/* Any thread. */
struct journal_capabilities journal_capabilities(const struct journal *journal);
uint64_t journal_epoch(const struct journal *journal);
/* 16 random bytes given to the store when it was made. */
const uint8_t *journal_store_id(const struct journal *journal);
/* Oldest position kept. */
uint64_t journal_start(struct journal *journal);
/* Everything below is durable; the mark at which reading ends. Never moves back. */
uint64_t journal_durable(const struct journal *journal);

enum journal_state {
    JOURNAL_STATE_OK = 0,
    JOURNAL_STATE_FULL,   /* takes no events for want of space; outcomes while the reserve lasts */
    JOURNAL_STATE_FAILED, /* sticky: acknowledge nothing, send nothing new, exit */
    JOURNAL_STATE_FENCED, /* sticky */
};
/* OK ──no further segment, two spares left──▶ FULL ──a segment was made──▶ OK
 * any ──write or sync error──▶ FAILED        any ──segment name taken──▶ FENCED */
enum journal_state journal_state(const struct journal *journal);

/* Any thread; a consistent copy. */
struct journal_status {
    enum journal_state state;
    uint64_t start, durable;
    uint64_t bytes; /* of all segment files, spares too */
    uint32_t segments, spares;
    uint64_t disk_free_bytes, disk_total_bytes; /* at the last spare step; 0: unknown */
    uint64_t spare_failures;                    /* since the start */
};
void journal_status(struct journal *journal, struct journal_status *ret_status);

/* Maintenance thread: makes at most one spare segment (zero-filled, synced) when fewer than two are
 * ready (three after a want of space, as the proof that there is some, and with on_spare_taken),
 * and looks at the free space of the disk: warns at 20 % and 10 %. Blocks for as long as writing a
 * segment takes. True: call again at once, more is to be made; false: call again in about a second.
 * Failures are logged, counted and tried again by the next call. */
bool journal_spare_step(struct journal *journal);
/* The same without the look at the disk's space, for a thread beside the maintenance thread. */
bool journal_spare_hurry(struct journal *journal);

/* One segment as retention sees it. */
struct journal_segment_info {
    uint64_t first_pos, end_pos; /* [first, end); the end of the open one is the durable position */
    uint64_t bytes;              /* of the file */
    int64_t first_wall_ms;       /* when it was opened */
    int64_t newest_wall_ms;      /* no record in it is younger */
    bool is_open;                /* the writer appends to it */
};
/* Copies up to n_max, oldest first; returns how many there are. Any thread. */
size_t journal_segments(struct journal *journal, struct journal_segment_info *out, size_t n_max);

/* A hint: records before that position are not wanted in memory any more. What the page cache holds
 * of closed segments that lie before it whole is given back, for the next spares to take: the pages
 * of a machine that were used a moment ago cost a fraction of fresh ones. Maintenance thread. */
void journal_forget(struct journal *journal, uint64_t before);
/* The end of the oldest closed segment that journal_forget has not given back; 0: there is none. */
uint64_t journal_remembered(struct journal *journal);

/* A hint: removes the oldest segments whose records all lie before that position, oldest first;
 * never the open one. Readers at work keep what they hold. Maintenance thread; blocks. Errors of
 * the file system (MR_E_IO) leave a journal that is whole. */
mr_err journal_trim(struct journal *journal, uint64_t before);

#endif
