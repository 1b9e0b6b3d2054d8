/* Discarding: deliveries that are still owed are given up because someone asked for it. Each leaves
 * by a DISCARDED record that names its position, so that whoever folds the records needs no rule to
 * guess what was in flight at that moment.
 *
 * Open requests that wait lose the positions that match; those in flight remember the bound, or
 * where each position has a key of its own the positions, and lose them when the attempt fails (an
 * attempt that succeeds has delivered). In a FIFO of one key
 * whose positions ascend, what matches is a prefix and is taken off in slices; the shared FIFO, and
 * a redrive whose positions go back, are filtered whole. */
#include "deliver/lane_parts.h"

/* Positions gathered for one record: all of one origin. */
struct gather {
    struct lane *lane;
    struct lane_now now;
    uint64_t key;
    uint32_t origin;
    uint32_t n;
    uint64_t total;
    uint64_t positions[LANE_BATCH_MAX];
};

/* For backlog_filter: what goes is first put into gone, so that nothing is recorded that a failure
 * then keeps. */
struct filtering {
    const struct lane_discard_spec *spec;
    struct backlog_memory memory; /* of gone: never spilled, for a moment only */
    struct backlog gone;
    bool failed;
};

static bool type_matches(const struct lane_discard_spec *spec, uint64_t key) {
    for (size_t i = 0; i < spec->n_types; i++) {
        if (spec->types[i] == lane_key_type(key)) {
            return true;
        }
    }
    return spec->n_types == 0;
}

static bool position_matches(const struct lane_discard_spec *spec, uint64_t pos) {
    return spec->before == UINT64_MAX || pos < spec->before;
}

static void flush(struct gather *gather) {
    if (gather->n > 0) {
        lane_record_discarded(gather->lane, gather->now, gather->key, gather->origin,
                              gather->positions, gather->n, 0);
        gather->total += gather->n;
        gather->n = 0;
    }
}

/* Counts the entry as gone from the lane and names it in a record. */
static void take(struct gather *gather, const struct backlog_entry *entry) {
    if (gather->n == LANE_BATCH_MAX ||
        (gather->n > 0 && (gather->origin != entry->origin || gather->key != entry->key))) {
        flush(gather);
    }
    gather->key = entry->key;
    gather->origin = entry->origin;
    gather->positions[gather->n++] = entry->pos;
    gather->lane->backlog_count--;
    gather->lane->backlog_bytes -= entry->size;
}

/* Of one open request; adds to *n what left at once. */
static mr_err discard_request(struct lane *lane, struct lane_request *request,
                              const struct lane_discard_spec *spec, struct lane_now now,
                              uint64_t *n) {
    bool out[LANE_BATCH_MAX];
    bool any = false;
    for (uint16_t i = request->lo; i < request->n_positions; i++) {
        uint16_t at = (uint16_t)(i - request->lo);
        out[at] = type_matches(spec, lane_request_key(request, at)) &&
                  position_matches(spec, request->positions[i]);
        any = any || out[at];
    }
    if (!any) {
        return MR_OK;
    }
    if (request->state == LANE_REQUEST_WAITING) {
        *n += lane_request_discard(lane, request, out, now);
        return MR_OK;
    }
    if (request->has_keys) {
        return lane_request_mark(request, out, LANE_MARK_DISCARD);
    }
    request->discard_before =
        request->discard_before < spec->before ? spec->before : request->discard_before;
    return MR_OK;
}

static mr_err discard_requests(struct lane *lane, const struct lane_discard_spec *spec,
                               struct lane_now now, uint64_t *ret_n) {
    mr_err err = MR_OK;
    *ret_n = 0;
    for (mr_list *node = lane->open.next; node != &lane->open;) {
        mr_list *next = node->next;
        struct lane_request *request = MR_CONTAINER(node, struct lane_request, all);
        mr_err one = discard_request(lane, request, spec, now, ret_n);
        err = mr_is_ok(err) ? one : err;
        node = next;
    }
    return err;
}

/* Takes matching entries off the front; *left is how many may still be taken in this call. */
static mr_err discard_prefix(struct gather *gather, struct backlog *fifo,
                             const struct lane_discard_spec *spec, size_t *left) {
    struct backlog_memory *memory = &gather->lane->shared->backlog;
    struct backlog_entry entry;
    while (*left > 0 && fifo->count > 0) {
        MR_TRY(backlog_head(fifo, memory, &entry));
        if (!position_matches(spec, entry.pos)) {
            break;
        }
        take(gather, &entry);
        backlog_pop(fifo, memory);
        (*left)--;
    }
    return MR_OK;
}

static bool keep(void *arg, const struct backlog_entry *entry) {
    struct filtering *filtering = arg;
    if (filtering->failed || !type_matches(filtering->spec, entry->key) ||
        !position_matches(filtering->spec, entry->pos)) {
        return true;
    }
    if (mr_is_err(backlog_push(&filtering->gone, &filtering->memory, entry))) {
        filtering->failed = true;
        return true;
    }
    return false;
}

static mr_err discard_filtered(struct gather *gather, struct backlog *fifo,
                               const struct lane_discard_spec *spec) {
    struct filtering filtering = {.spec = spec};
    backlog_init_keyed(&filtering.gone);
    mr_err err = backlog_filter(fifo, &gather->lane->shared->backlog, keep, &filtering);
    struct backlog_entry entry;
    while (mr_is_ok(err) && mr_is_ok(backlog_head(&filtering.gone, &filtering.memory, &entry))) {
        take(gather, &entry);
        backlog_pop(&filtering.gone, &filtering.memory);
    }
    backlog_clear(&filtering.gone, &filtering.memory);
    return mr_is_ok(err) && filtering.failed ? MR_ERR(MR_E_NOMEM) : err;
}

mr_err lane_discard(struct lane *lane, const struct lane_discard_spec *spec, size_t max_entries,
                    struct lane_now now, uint64_t *ret_discarded, bool *ret_more) {
    struct gather gather;
    gather.lane = lane;
    gather.now = now;
    gather.n = 0;
    mr_err err = discard_requests(lane, spec, now, &gather.total);
    size_t left = max_entries;
    for (uint32_t i = 0; i < lane->n_fifos && mr_is_ok(err); i++) {
        struct backlog *fifo = &lane->fifos[i];
        if (fifo->count == 0 || (!fifo->keyed && !type_matches(spec, fifo->key))) {
            continue;
        }
        bool all = spec->before == UINT64_MAX && (!fifo->keyed || spec->n_types == 0);
        if (all || (fifo->ascending && !fifo->keyed)) {
            err = discard_prefix(&gather, fifo, spec, &left);
        } else {
            err = discard_filtered(&gather, fifo, spec);
        }
    }
    flush(&gather);
    *ret_discarded = gather.total;
    *ret_more = mr_is_err(err) || left == 0;
    return mr_is_err(err) && gather.total == 0 ? err : MR_OK;
}
