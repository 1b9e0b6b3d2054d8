/* What leaves now. Asked once per turn after all inputs, so that events which arrive together leave
 * together: at low load a request has one event, at high load it is full, without a setting.
 *
 * The questions, in this order, before each request: is the lane open (enabled, no gate); is there
 * room in the window; does the rate allow; is there a due retry or a first attempt that is ready;
 * do the sums shared by all lanes allow. A first attempt is ready when its FIFO holds batch_max
 * events, or batch_bytes_max bytes, or its oldest waited linger_ms, or nothing of the lane is in
 * flight. Of ready FIFOs the one with the oldest head goes first.
 *
 * While retries are due and first attempts ready, each kind gets half the window; at a window of 1
 * they alternate. Open requests are at most twice the window: beyond it first attempts stay in the
 * backlog, where waiting spends nothing.
 *
 * The deadline is the earliest time at which one of the answers changes by itself. */
#include "deliver/lane_parts.h"

#define NOMEM_RETRY_MS 100
#define SPILL_RETRY_MS 1000
#define FIFO_NONE      UINT32_MAX

struct choice {
    struct lane_request *retry; /* due, allowed to leave; NULL: none */
    uint32_t fifo;              /* ready; FIFO_NONE: none */
};

static void wake_at(struct lane *lane, mr_mono at) {
    lane->deadline = mr_mono_min(lane->deadline, at);
}

static uint32_t batch_max(const struct lane *lane, struct lane_now now, bool is_probe) {
    return is_probe || lane_is_single(lane, now) ? 1 : lane->settings.batch_max;
}

/* The first due request that may leave. Parts for which there is no budget are put off until there
 * is, so that they do not stand before others. */
static struct lane_request *find_due(struct lane *lane, struct lane_now now) {
    for (;;) {
        struct lane_request *request = lane_request_first(lane);
        if (request == NULL) {
            return NULL;
        }
        if (mr_mono_before(now.mono, request->due)) {
            wake_at(lane, request->due);
            return NULL;
        }
        mr_mono at;
        if (lane_isolate_allows(lane, request, now, &at)) {
            return request;
        }
        lane_request_unwait(lane, request);
        lane_request_wait(lane, request, at);
    }
}

/* Where all open requests are due only in minutes or hours, the next of them may probe before its
 * time, so that a destination that is well again does not wait for a timer. NULL: not now. */
static struct lane_request *find_early(struct lane *lane, struct lane_now now) {
    struct lane_request *request = lane_request_first(lane);
    if (request == NULL || mr_mono_diff_ms(request->due, now.mono) <= LANE_PROBE_MS_MAX) {
        return NULL;
    }
    return request;
}

/* A lane at its bound of open requests, none of which is due for minutes, may probe so too, though
 * too little has failed to be in probe mode. NULL: no, or not now. */
static struct lane_request *find_stuck(struct lane *lane, struct lane_now now) {
    if (lane->flying > 0 || lane->backlog_count == 0 || lane->n_open < 2 * lane_window(lane)) {
        return NULL;
    }
    struct lane_request *request = find_early(lane, now);
    if (request != NULL && mr_mono_before(now.mono, lane->probe_at)) {
        wake_at(lane, lane->probe_at);
        return NULL;
    }
    return request;
}

/* True where the FIFO's head can be read now. */
static bool head_is_here(struct lane *lane, struct backlog *fifo, struct lane_now now) {
    if (fifo->head_here) {
        return true;
    }
    struct backlog_entry head;
    mr_err err = backlog_head(fifo, &lane->shared->backlog, &head);
    if (mr_is_err(err)) {
        wake_at(lane, mr_mono_add_ms(now.mono, SPILL_RETRY_MS));
        return false;
    }
    return true;
}

static uint32_t find_ready(struct lane *lane, struct lane_now now) {
    uint32_t found = FIFO_NONE;
    int64_t now_ms = lane_ms(now.mono);
    uint32_t count_max = batch_max(lane, now, false);
    for (uint32_t i = 0; i < lane->n_fifos; i++) {
        struct backlog *fifo = &lane->fifos[i];
        if (fifo->count == 0) {
            continue;
        }
        int64_t linger_until = backlog_oldest_ms(fifo) + lane->settings.linger_ms;
        bool ready = lane->flying == 0 || fifo->count >= count_max || now_ms >= linger_until ||
                     fifo->bytes + fifo->count + 1 >= lane->settings.batch_bytes_max;
        if (!ready) {
            wake_at(lane, (mr_mono){linger_until * MR_NS_PER_MS});
            continue;
        }
        if (!head_is_here(lane, fifo, now)) {
            continue;
        }
        const struct backlog *best = found == FIFO_NONE ? NULL : &lane->fifos[found];
        if (best == NULL || fifo->head_arrived_ms < best->head_arrived_ms ||
            (fifo->head_arrived_ms == best->head_arrived_ms && fifo->head_pos < best->head_pos)) {
            found = i;
        }
    }
    return found;
}

/* Of a due retry and a ready FIFO, which one; both or neither may be there. */
static void share_window(const struct lane *lane, struct choice *choice) {
    if (choice->retry == NULL || choice->fifo == FIFO_NONE) {
        return;
    }
    uint32_t window = lane_window(lane);
    bool retry_may;
    if (window == 1) {
        retry_may = !lane->last_was_retry;
    } else {
        retry_may = lane->flying_retries < window / 2;
        if (!retry_may && lane->flying - lane->flying_retries >= window - window / 2) {
            choice->fifo = FIFO_NONE;
        }
    }
    if (retry_may) {
        choice->fifo = FIFO_NONE;
    } else {
        choice->retry = NULL;
    }
}

/* True where sums of this lane and of all lanes let a body of about so many bytes leave. */
static bool shared_allows(const struct lane *lane, uint64_t bytes) {
    const struct lane_shared *shared = lane->shared;
    if (shared->credits == 0) {
        return false;
    }
    if (shared->flying_max != 0) {
        uint32_t max = shared->flying_max;
        if (shared->flying >= max || (lane->window_failed && shared->flying_failing >= max / 2) ||
            (lane->flying > 0 && shared->flying >= max - max / 4)) {
            return false;
        }
    }
    if (shared->bytes_max != 0) {
        uint64_t max = shared->bytes_max;
        if ((shared->bytes > 0 && shared->bytes + bytes > max) ||
            (shared->bytes > max / 2 && lane->flying_bytes >= LANE_BYTES_SMALL) ||
            (lane->window_failed && shared->bytes_failing > 0 &&
             shared->bytes_failing + bytes > max / 4)) {
            return false;
        }
    }
    return true;
}

/* What a request of this FIFO may have at most. */
static uint64_t estimate(const struct lane *lane, const struct backlog *fifo, uint32_t count_max) {
    if (count_max == 1) {
        return (uint64_t)fifo->head_size + 2;
    }
    uint64_t bytes = fifo->bytes + fifo->count + 1;
    return bytes < lane->settings.batch_bytes_max ? bytes : lane->settings.batch_bytes_max;
}

/* Takes entries of one origin, and of one key unless the lane mixes them, from the FIFO's head;
 * NULL without memory. */
static struct lane_request *compose(struct lane *lane, struct backlog *fifo, uint32_t count_max) {
    struct backlog_memory *memory = &lane->shared->backlog;
    uint32_t cap = fifo->count < count_max ? fifo->count : count_max;
    struct lane_request *request = lane_request_new(lane, cap, lane->settings.mixes);
    if (request == NULL) {
        return NULL;
    }
    uint32_t n = 0;
    uint64_t bytes = 1;
    struct backlog_entry entry;
    while (n < cap && mr_is_ok(backlog_head(fifo, memory, &entry))) {
        if (n == 0) {
            request->key = entry.key;
            request->origin = entry.origin;
            request->form = lane->settings.form;
        } else if ((entry.key != request->key && !request->has_keys) ||
                   entry.origin != request->origin ||
                   bytes + entry.size + 1 > lane->settings.batch_bytes_max) {
            break;
        }
        if (request->has_keys) {
            request->positions[cap + n] = entry.key;
        }
        request->positions[n++] = entry.pos;
        bytes += (uint64_t)entry.size + 1;
        lane->backlog_count--;
        lane->backlog_bytes -= entry.size;
        backlog_pop(fifo, memory);
    }
    lane_request_fill(lane, request, n, bytes);
    return request;
}

static void send_waiting(struct lane *lane, struct lane_request *request, struct lane_now now,
                         bool is_probe) {
    lane_request_unwait(lane, request);
    lane_isolate_narrow(lane, request, now);
    lane_isolate_take(lane, request, now);
    lane_request_fly(lane, request, now, is_probe);
}

/* One probe at a time, the oldest due request; where none is open, one event from the backlog. */
static enum lane_wait probe(struct lane *lane, struct lane_now now) {
    if (lane->flying > 0) {
        return LANE_WAIT_NOTHING;
    }
    if (mr_mono_before(now.mono, lane->probe_at)) {
        wake_at(lane, lane->probe_at);
        return LANE_WAIT_NOTHING;
    }
    struct lane_request *request = find_due(lane, now);
    if (request == NULL && lane->n_open > 0) {
        request = find_early(lane, now);
        if (request == NULL) {
            return LANE_WAIT_NOTHING;
        }
    }
    uint32_t fifo = request == NULL ? find_ready(lane, now) : FIFO_NONE;
    if (request == NULL && fifo == FIFO_NONE) {
        return LANE_WAIT_NOTHING;
    }
    if (!shared_allows(lane,
                       request != NULL ? request->bytes : estimate(lane, &lane->fifos[fifo], 1))) {
        return LANE_WAIT_SHARED;
    }
    if (request != NULL) {
        send_waiting(lane, request, now, true);
        return LANE_WAIT_NOTHING;
    }
    request = compose(lane, &lane->fifos[fifo], 1);
    if (request == NULL) {
        wake_at(lane, mr_mono_add_ms(now.mono, NOMEM_RETRY_MS));
        return LANE_WAIT_NOTHING;
    }
    lane_request_fly(lane, request, now, true);
    return LANE_WAIT_NOTHING;
}

/* Chooses what goes next; *ret_shared: only the bound on all open requests holds it back. */
static struct choice choose(struct lane *lane, struct lane_now now, bool *ret_shared) {
    struct choice choice = {.retry = find_due(lane, now), .fifo = FIFO_NONE};
    *ret_shared = false;
    if (lane->backlog_count > 0 && lane->n_open < 2 * lane_window(lane)) {
        if (lane->shared->open_max != 0 && lane->shared->open >= lane->shared->open_max) {
            *ret_shared = true;
        } else {
            choice.fifo = find_ready(lane, now);
        }
    }
    share_window(lane, &choice);
    if (choice.retry == NULL && choice.fifo == FIFO_NONE) {
        choice.retry = find_stuck(lane, now);
    }
    return choice;
}

/* Sends one request; false: nothing more can leave, *ret_wait says for what it waits. */
static bool send_next(struct lane *lane, struct lane_now now, uint64_t *turn_bytes,
                      enum lane_wait *ret_wait) {
    bool shared_wait;
    struct choice choice = choose(lane, now, &shared_wait);
    if (choice.retry == NULL && choice.fifo == FIFO_NONE) {
        *ret_wait = shared_wait ? LANE_WAIT_SHARED : LANE_WAIT_NOTHING;
        return false;
    }
    uint32_t count_max = batch_max(lane, now, false);
    uint64_t bytes = choice.retry != NULL ? choice.retry->bytes
                                          : estimate(lane, &lane->fifos[choice.fifo], count_max);
    if (lane->flying_bytes > 0 && lane->flying_bytes + bytes > LANE_BYTES_IN_FLIGHT_MAX) {
        *ret_wait = LANE_WAIT_NOTHING;
        return false;
    }
    if (!shared_allows(lane, bytes)) {
        *ret_wait = LANE_WAIT_SHARED;
        return false;
    }
    if (*turn_bytes >= LANE_BYTES_PER_TURN) {
        *ret_wait = LANE_WAIT_TURN;
        return false;
    }
    struct lane_request *request = choice.retry;
    if (request != NULL) {
        bool early = mr_mono_before(now.mono, request->due);
        if (early) {
            lane->probe_at = mr_mono_add_ms(now.mono, LANE_PROBE_MS_MAX);
        }
        *turn_bytes += request->bytes;
        send_waiting(lane, request, now, early);
        return true;
    }
    request = compose(lane, &lane->fifos[choice.fifo], count_max);
    if (request == NULL) {
        wake_at(lane, mr_mono_add_ms(now.mono, NOMEM_RETRY_MS));
        *ret_wait = LANE_WAIT_NOTHING;
        return false;
    }
    *turn_bytes += request->bytes;
    lane_request_fly(lane, request, now, false);
    return true;
}

enum lane_wait lane_decide(struct lane *lane, struct lane_now now) {
    lane->deadline = MR_MONO_NEVER;
    if (lane->single_until.ns != 0 && !lane_is_single(lane, now)) {
        lane->single_until = (mr_mono){0};
        lane_notify(lane, (struct lane_notice){.kind = LANE_NOTICE_SINGLE_OVER});
    }
    if (lane->shared->closed || !lane_is_enabled(lane)) {
        return LANE_WAIT_NOTHING;
    }
    uint64_t turn_bytes = 0;
    for (;;) {
        if (lane->backlog_count == 0 && lane->n_heap == 0) {
            return LANE_WAIT_NOTHING;
        }
        if (mr_mono_before(now.mono, lane->gate_until)) {
            wake_at(lane, lane->gate_until);
            return LANE_WAIT_NOTHING;
        }
        if (!lane->probing && lane->flying >= lane_window(lane)) {
            return LANE_WAIT_NOTHING;
        }
        mr_mono at;
        if (!lane_rate_allows(lane, now, &at)) {
            wake_at(lane, at);
            return LANE_WAIT_NOTHING;
        }
        if (lane->probing) {
            return probe(lane, now);
        }
        enum lane_wait wait;
        if (!send_next(lane, now, &turn_bytes, &wait)) {
            return wait;
        }
    }
}
