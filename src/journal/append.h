/* The append side of a journal, for its one writer: room for a group, writing, syncing. Private to
 * the room. */
#ifndef MR_JOURNAL_APPEND_H
#define MR_JOURNAL_APPEND_H

#include "journal/journal.h"

/* What a group may use when the disk is short of space. */
enum append_reserve {
    APPEND_EVENTS = 0, /* leaves the last two spares alone */
    APPEND_RESERVE,    /* may use them */
};

struct append_place {
    uint64_t pos;  /* of the group header */
    uint32_t seed; /* of its segment */
    uint64_t group_number;
};

/* Finds room for a group of `bytes`, going to a new segment where this one is too small (what was
 * written is synced first: journal_durable may move). MR_E_NO_SPACE: no room for this kind now;
 * MR_E_FAILED, JOURNAL_E_FENCED: sticky. */
mr_err journal_append_prepare(struct journal *journal, uint64_t bytes, enum append_reserve reserve,
                              mr_wall now, struct append_place *ret_place);
/* Writes the group that was prepared. MR_E_NO_SPACE: nothing of it is stored, the segment is sealed
 * behind what was written before it (which is durable now); the caller waits before it tries again.
 * MR_E_FAILED: sticky. */
mr_err journal_append_write(struct journal *journal, const uint8_t *bytes, uint64_t n);
/* Makes all that was written durable. MR_E_FAILED: sticky, and it is unknown what is stored. */
mr_err journal_append_sync(struct journal *journal);
/* True while something is written and not synced. */
bool journal_append_is_dirty(const struct journal *journal);
/* Largest group that fits into an empty segment. */
uint64_t journal_append_bytes_max(const struct journal *journal);

#endif
