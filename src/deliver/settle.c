/* Deliveries that ended without this lane. The keeper makes dead letters of what a full archive has
 * no room for, and of what damage took; the journal tells, and here they leave. No record is made:
 * the one that ended them is in the journal, and the first that ends a delivery counts.
 *
 * The oldest go, so in a FIFO whose positions ascend they are a prefix, taken off one by one. What
 * stands further back (a redrive, the shared FIFO, damage) costs one pass over that FIFO. A FIFO
 * that can hold none of them by its range is not looked at, also where its head is away.
 *
 * Of a request that flies nothing can be taken: its composition is with the receiver. It remembers
 * which positions are settled; they leave when it lands (result.c). */
#include "deliver/lane_parts.h"

/* How many of the positions lie below pos. */
static size_t count_below(const struct lane_settled *settled, uint64_t pos) {
    size_t low = 0;
    size_t high = settled->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (settled->positions[middle] < pos) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_settled(const struct lane_settled *settled, uint32_t origin, uint64_t pos) {
    size_t at = count_below(settled, pos);
    return origin == settled->origin && at < settled->n && settled->positions[at] == pos;
}

/* False where the FIFO holds none of them for sure. */
static bool may_hold(const struct backlog *fifo, const struct lane_settled *settled) {
    if (fifo->count == 0) {
        return false;
    }
    if (fifo->keyed || !fifo->ascending) {
        return fifo->keyed || fifo->origin == settled->origin;
    }
    /* Where the head is away, head_pos is that of the entry before it. */
    size_t at = count_below(settled, fifo->head_here ? fifo->head_pos : fifo->head_pos + 1);
    return fifo->origin == settled->origin && at < settled->n &&
           settled->positions[at] <= fifo->tail_pos;
}

/* For backlog_filter: counts what goes, so that a pass that fails changes nothing. */
struct passing {
    const struct lane_settled *settled;
    uint64_t n;
    uint64_t bytes;
};

static bool keep(void *arg, const struct backlog_entry *entry) {
    struct passing *passing = arg;
    if (!is_settled(passing->settled, entry->origin, entry->pos)) {
        return true;
    }
    passing->n++;
    passing->bytes += entry->size;
    return false;
}

static mr_err settle_fifo(struct lane *lane, struct backlog *fifo,
                          const struct lane_settled *settled) {
    struct backlog_memory *memory = &lane->shared->backlog;
    while (may_hold(fifo, settled)) {
        struct backlog_entry entry;
        MR_TRY(backlog_head(fifo, memory, &entry));
        if (!is_settled(settled, entry.origin, entry.pos)) {
            break;
        }
        lane->backlog_count--;
        lane->backlog_bytes -= entry.size;
        backlog_pop(fifo, memory);
    }
    if (!may_hold(fifo, settled)) {
        return MR_OK;
    }
    struct passing passing = {.settled = settled};
    MR_TRY(backlog_filter(fifo, memory, keep, &passing));
    lane->backlog_count -= passing.n;
    lane->backlog_bytes -= passing.bytes;
    return MR_OK;
}

static mr_err settle_request(struct lane *lane, struct lane_request *request,
                             const struct lane_settled *settled, struct lane_now now) {
    bool out[LANE_BATCH_MAX];
    bool any = false;
    for (uint16_t i = request->lo; i < request->n_positions; i++) {
        out[i - request->lo] = is_settled(settled, request->origin, request->positions[i]);
        any = any || out[i - request->lo];
    }
    if (any && request->state == LANE_REQUEST_FLYING) {
        return lane_request_mark(request, out, LANE_MARK_SETTLED);
    }
    if (any) {
        lane_request_drop(lane, request, out, now);
    }
    return MR_OK;
}

mr_err lane_settle(struct lane *lane, const struct lane_settled *settled, struct lane_now now) {
    mr_err err = MR_OK;
    for (mr_list *node = lane->open.next; node != &lane->open;) {
        mr_list *next = node->next;
        mr_err one =
            settle_request(lane, MR_CONTAINER(node, struct lane_request, all), settled, now);
        err = mr_is_ok(err) ? one : err;
        node = next;
    }
    for (uint32_t i = 0; i < lane->n_fifos; i++) {
        mr_err one = settle_fifo(lane, &lane->fifos[i], settled);
        err = mr_is_ok(err) ? one : err;
    }
    return err;
}
