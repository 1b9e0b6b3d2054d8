/* Finding an account's last events. See stored.h.
 *
 * The journal can only be walked forward, but its segments can be taken from the newest back. Of
 * each the last positions are kept in a ring; what the ring holds at the segment's end goes behind
 * what newer segments gave. */
#include "api/stored.h"

#include "base/mem.h"
#include "ledger/record.h"

mr_err stored_search_init(struct stored_search *search, struct journal *journal, uint32_t account) {
    *search = (struct stored_search){.journal = journal, .account = account};
    size_t n_max = journal_segments(journal, NULL, 0) + 1;
    search->segments = mr_calloc(n_max, sizeof *search->segments);
    if (search->segments == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    size_t n = journal_segments(journal, search->segments, n_max);
    search->n_segments = n < n_max ? n : n_max;
    return MR_OK;
}

static void leave_segment(struct stored_search *search) {
    if (search->is_inside) {
        journal_iter_done(&search->iter);
        search->is_inside = false;
    }
}

void stored_search_done(struct stored_search *search) {
    leave_segment(search);
    mr_free(search->segments);
    search->segments = NULL;
}

static void take_record(struct stored_search *search, const struct journal_record *record) {
    struct record_event event;
    if (record->type == RECORD_EVENT && mr_is_ok(record_event_decode(record->body, &event)) &&
        event.account == search->account) {
        search->ring[search->n_ring++ % STORED_EVENTS_MAX] = record->pos;
    }
}

/* The present segment is read: its last events go behind the newer ones. */
static void end_segment(struct stored_search *search) {
    leave_segment(search);
    search->n_segments--;
    uint64_t kept = search->n_ring < STORED_EVENTS_MAX ? search->n_ring : STORED_EVENTS_MAX;
    for (uint64_t i = 0; i < kept && search->n < STORED_EVENTS_MAX; i++) {
        search->positions[search->n++] = search->ring[(search->n_ring - 1 - i) % STORED_EVENTS_MAX];
    }
    search->n_ring = 0;
}

mr_err stored_search_step(struct stored_search *search, bool *ret_done) {
    uint64_t step_bytes = 0;
    *ret_done = false;
    while (step_bytes < STORED_STEP_BYTES) {
        if (search->n == STORED_EVENTS_MAX || search->n_segments == 0) {
            search->is_complete = true;
            *ret_done = true;
            return MR_OK;
        }
        const struct journal_segment_info *segment = &search->segments[search->n_segments - 1];
        if (!search->is_inside) {
            if (search->bytes >= STORED_BYTES_MAX) {
                *ret_done = true;
                return MR_OK;
            }
            journal_iter_init(&search->iter, search->journal, segment->first_pos);
            search->is_inside = true;
        }
        uint64_t before = search->iter.pos;
        struct journal_item item;
        mr_err err = journal_iter_next(&search->iter, segment->end_pos, &item);
        if (mr_err_is(err, JOURNAL_E_TRIMMED)) {
            /* It and all older ones are gone. */
            end_segment(search);
            search->n_segments = 0;
            continue;
        }
        MR_TRY(err);
        if (item.kind == JOURNAL_ITEM_END) {
            end_segment(search);
        } else if (item.kind == JOURNAL_ITEM_RECORD) {
            take_record(search, &item.record);
        }
        if (search->is_inside) {
            step_bytes += search->iter.pos - before;
            search->bytes += search->iter.pos - before;
        }
    }
    return MR_OK;
}
