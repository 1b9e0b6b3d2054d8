/* A journal on a simulated disk with its writer, stepped by hand. */
#ifndef MR_TEST_JOURNAL_RIG_H
#define MR_TEST_JOURNAL_RIG_H

#include "../../sim/disk.h"
#include "journal/reader.h"
#include "journal/writer.h"

#define RIG_RECORDS_MAX 64

/* A unit with its memory and its answer. */
struct rig_unit {
    struct journal_unit unit; /* first */
    struct journal_slot slots[RIG_RECORDS_MAX];
    bool is_done;
};

struct rig {
    struct disk *disk;
    struct os_files files; /* the disk's; a test may change it before opening */
    struct journal *journal;
    struct writer *writer;
    struct journal_recovery recovery;
    struct journal_options options;
    struct writer_options writer_options;
    struct mailbox replies;
    mr_mono now;
    uint64_t random;
    size_t n_damage;
    struct journal_damage damage[64];
};

/* A new disk, nothing opened. segment_bytes 0: 64 KiB. */
void rig_init(struct rig *rig, uint64_t seed);
/* Closes what is open (a crash is not cleaned up after) and frees the disk. */
void rig_done(struct rig *rig);
mr_err rig_try_open(struct rig *rig);
/* Opens journal and writer; must succeed. Two spares are made. */
void rig_open(struct rig *rig);
/* Drops journal and writer, as the death of the process does: nothing is finished. */
void rig_drop(struct rig *rig);
/* A clean stop. */
void rig_stop(struct rig *rig);
/* Steps the writer at its time and runs the answers. */
mr_mono rig_step(struct rig *rig);

/* Hands in a unit of n records of len bytes each, filled from `tag`. */
void rig_post(struct rig *rig, struct rig_unit *unit, enum journal_class klass, uint32_t n,
              uint32_t len, uint8_t tag);
/* Posts one unit, steps, returns its result. */
enum journal_result rig_append(struct rig *rig, uint32_t n, uint32_t len, uint8_t tag,
                               uint64_t *ret_pos);
/* Frees the bodies of a unit that rig_post made. */
void rig_unit_done(struct rig_unit *unit);
/* Walks from the start to the durable mark: `tags` gets the first byte of each record. Returns the
 * number of records; damage is put into rig->damage. */
size_t rig_tags(struct rig *rig, uint8_t *tags, size_t max);
/* The path of the segment that was opened as the i-th of those on disk. */
const char *rig_segment_path(const struct rig *rig, size_t i);

#endif
