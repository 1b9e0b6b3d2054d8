/* A simulated disk behind struct os_files. It keeps two images of every file: what a reader sees
 * (the page cache) and what is on the platter. A write changes the first; a sync moves it to the
 * second. At a crash, each sector that was written and not synced is by chance kept, dropped, or
 * torn (part new, part old or noise); names that were made, renamed or removed without a directory
 * sync may be as before. After a crash every operation returns MR_E_IO until disk_restart.
 *
 * A process kill without power loss is disk_kill: the page cache stays.
 * A failed sync is as on Linux: the pages read as written, are marked clean and never reach the
 * platter.
 *
 * All chance comes from the seed. Not thread-safe. */
#ifndef MR_TEST_SIM_DISK_H
#define MR_TEST_SIM_DISK_H

#include "os/files.h"

#define DISK_SECTOR 512U

enum disk_fault {
    DISK_FAULT_NONE = 0,
    DISK_FAULT_NO_SPACE,    /* a write, mkdir, link or making open says ENOSPC */
    DISK_FAULT_SHORT_WRITE, /* a part of a write is done, then ENOSPC */
    DISK_FAULT_WRITE_IO,    /* a write says EIO, part of it done */
    DISK_FAULT_SYNC_IO,     /* a sync says EIO; its pages are lost at the next crash */
    DISK_FAULT_READ_IO,     /* a read says EIO */
    DISK_FAULT_READ_AGAIN,  /* a NOWAIT read says EAGAIN */
    DISK_FAULT_CRASH,       /* power is lost during the operation */
    DISK_FAULT_KILL,        /* the process dies during the operation, the page cache lives */
    DISK_FAULT_COUNT
};

struct disk;

/* NULL without memory. */
struct disk *disk_new(uint64_t seed);
void disk_free(struct disk *disk);
/* The table to hand to the code under test; valid as long as the disk. */
const struct os_files *disk_files(struct disk *disk);

/* --- faults ----------------------------------------------------------------------------------- */

/* The n-th operation from now on (1 = next) that this fault can strike gets it. 0 calls it off. */
void disk_fault_at(struct disk *disk, enum disk_fault fault, uint64_t n);
/* Every operation that this fault can strike gets it with a chance of one in `one_in` (0: never).
 */
void disk_fault_chance(struct disk *disk, enum disk_fault fault, uint32_t one_in);
/* Bytes that all files together may hold (UINT64_MAX: no bound). Beyond it: ENOSPC. */
void disk_set_capacity(struct disk *disk, uint64_t bytes);
bool disk_is_bounded(const struct disk *disk);
/* Chances in a thousand for an unsynced sector at a crash; what is left of 1,000 is torn.
 * Default: 400 kept, 400 dropped. */
void disk_crash_odds(struct disk *disk, uint32_t kept, uint32_t dropped);

/* Power loss now. */
void disk_crash(struct disk *disk);
/* Death of the process now: handles are gone, the page cache stays. */
void disk_kill(struct disk *disk);
/* True after a crash or kill, until disk_restart. */
bool disk_is_down(const struct disk *disk);
/* The machine is up again: no open handles, no locks, page cache = platter after a crash. Faults by
 * chance and counters stay, those of disk_fault_at are gone. */
void disk_restart(struct disk *disk);

/* --- what happened ---------------------------------------------------------------------------- */

struct disk_counts {
    uint64_t operations, writes, syncs, reads;
    uint64_t faults[DISK_FAULT_COUNT]; /* how often each kind struck */
    uint64_t sectors_kept, sectors_dropped, sectors_torn;
    uint64_t names_undone;
    uint64_t forgotten; /* files of which what is synced was not wanted in memory */
};
struct disk_counts disk_counts(const struct disk *disk);
/* A hash of all operations and their outcomes so far: equal for equal runs. */
uint64_t disk_trace(const struct disk *disk);
uint64_t disk_used_bytes(const struct disk *disk);

/* --- tampering by tests ----------------------------------------------------------------------- */

/* The page cache's bytes of a file (valid until the next operation), or absent. */
mr_str disk_peek(const struct disk *disk, const char *path);
/* Changes page cache and platter alike. False where the file is absent or shorter. */
bool disk_poke(struct disk *disk, const char *path, uint64_t offset, const void *bytes, size_t n);
/* Same content, now in all respects synced. */
void disk_settle(struct disk *disk);
/* Calls each(arg, path, size) for all files in byte order. */
void disk_each(const struct disk *disk, void (*each)(void *arg, const char *path, uint64_t size),
               void *arg);
/* A copy of the whole disk, its chance included. NULL without memory. */
struct disk *disk_clone(const struct disk *disk);

#endif
