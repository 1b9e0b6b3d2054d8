/* The last stored events of an account, found in the journal from its end back, in steps that block
 * on the disk for a bounded time each. */
#ifndef MR_API_STORED_H
#define MR_API_STORED_H

#include "journal/reader.h"

#define STORED_EVENTS_MAX 1000U
#define STORED_BYTES_MAX  ((uint64_t)512 << 20) /* of the journal looked at */
#define STORED_STEP_BYTES ((uint64_t)8 << 20)   /* in one step */

struct stored_search {
    uint64_t positions[STORED_EVENTS_MAX]; /* newest first */
    size_t n;
    bool is_complete; /* the whole journal was looked at, or as many as wanted were found */
    /* own */
    struct journal *journal;
    uint32_t account;
    struct journal_segment_info *segments;
    size_t n_segments; /* left to look at; the last one is the present */
    struct journal_iter iter;
    bool is_inside;                   /* iter stands in the present segment */
    uint64_t ring[STORED_EVENTS_MAX]; /* of the present segment: its last ones */
    uint64_t n_ring;                  /* found in it */
    uint64_t bytes;
};

/* MR_E_NOMEM. */
mr_err stored_search_init(struct stored_search *search, struct journal *journal, uint32_t account);
void stored_search_done(struct stored_search *search);
/* One step; *ret_done: nothing is left to do. Blocks. What cannot be read is passed over, as is
 * what was trimmed meanwhile. MR_E_NOMEM, MR_E_IO. */
mr_err stored_search_step(struct stored_search *search, bool *ret_done);

#endif
