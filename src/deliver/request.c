/* Open requests: those in flight, and those waiting for their next attempt.
 *
 * A request is one block: header and positions. All are in lane.open; those waiting are also in
 * lane.heap, a binary heap by (due, first position). Room in the heap is made when a request is
 * born, so putting one back after a failure never needs memory: an outcome can always be taken in.
 *
 * Counted here, and only here: lane.n_open, open_events, flying…, shared.open, flying…, bytes…,
 * credits at the send. Each sum is added to and taken from by the same two functions, which is what
 * lane_assert_valid checks. */
#include "deliver/lane_parts.h"

#include "base/mem.h"

#include <string.h>

static size_t request_size(uint32_t cap, bool has_keys) {
    return sizeof(struct lane_request) + (size_t)cap * (has_keys ? 2 : 1) * sizeof(uint64_t);
}

static bool heap_reserve(struct lane *lane, uint32_t n) {
    if (n <= lane->cap_heap) {
        return true;
    }
    uint32_t cap = lane->cap_heap == 0 ? 4 : lane->cap_heap * 2;
    cap = cap < n ? n : cap;
    struct lane_request **heap = mr_realloc(lane->heap, cap * sizeof(struct lane_request *));
    if (heap == NULL) {
        return false;
    }
    lane->shared->memory_bytes += (cap - lane->cap_heap) * sizeof(struct lane_request *);
    lane->heap = heap;
    lane->cap_heap = cap;
    return true;
}

static bool is_before(const struct lane_request *a, const struct lane_request *b) {
    if (a->due.ns != b->due.ns) {
        return a->due.ns < b->due.ns;
    }
    return a->positions[a->lo] < b->positions[b->lo];
}

static void heap_put(struct lane *lane, struct lane_request *request, uint32_t at) {
    lane->heap[at] = request;
    request->heap_at = at;
}

static void heap_up(struct lane *lane, struct lane_request *request, uint32_t at) {
    while (at > 0 && is_before(request, lane->heap[(at - 1) / 2])) {
        heap_put(lane, lane->heap[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    heap_put(lane, request, at);
}

static void heap_down(struct lane *lane, struct lane_request *request, uint32_t at) {
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= lane->n_heap) {
            break;
        }
        if (child + 1 < lane->n_heap && is_before(lane->heap[child + 1], lane->heap[child])) {
            child++;
        }
        if (!is_before(lane->heap[child], request)) {
            break;
        }
        heap_put(lane, lane->heap[child], at);
        at = child;
    }
    heap_put(lane, request, at);
}

struct lane_request *lane_request_new(struct lane *lane, uint32_t cap, bool has_keys) {
    MR_ASSERT(cap >= 1 && cap <= LANE_BATCH_MAX);
    if (!heap_reserve(lane, lane->n_open + 1)) {
        return NULL;
    }
    struct lane_request *request = mr_alloc(request_size(cap, has_keys));
    if (request == NULL) {
        return NULL;
    }
    *request = (struct lane_request){.cap = (uint16_t)cap,
                                     .state = LANE_REQUEST_WAITING,
                                     .pair_at = LANE_PAIR_NONE,
                                     .has_keys = has_keys};
    mr_list_push_back(&lane->open, &request->all);
    lane->n_open++;
    lane->shared->open++;
    lane->shared->memory_bytes += request_size(cap, has_keys);
    request->heap_at = UINT32_MAX;
    return request;
}

void lane_request_free(struct lane *lane, struct lane_request *request) {
    MR_ASSERT(request->state == LANE_REQUEST_WAITING && request->heap_at == UINT32_MAX);
    lane_isolate_release(lane, request);
    mr_list_remove(&request->all);
    lane->n_open--;
    lane->open_events -= request->n_positions - request->lo;
    lane->shared->open--;
    lane->shared->memory_bytes -= request_size(request->cap, request->has_keys);
    mr_free(request->marks);
    mr_free(request);
}

struct lane_request *lane_request_like(struct lane *lane, const struct lane_request *from,
                                       const uint64_t *positions, const uint64_t *keys,
                                       uint32_t n) {
    struct lane_request *own = lane_request_new(lane, n, from->has_keys);
    if (own == NULL) {
        return NULL;
    }
    memcpy(own->positions, positions, n * sizeof own->positions[0]);
    if (from->has_keys) {
        memcpy(own->positions + own->cap, keys, n * sizeof own->positions[0]);
    }
    own->key = from->has_keys ? keys[0] : from->key;
    own->origin = from->origin;
    own->form = from->form;
    own->attempt = from->attempt;
    own->is_retry = from->is_retry;
    own->is_part = from->is_part;
    own->paid = from->paid;
    own->first_attempt_ms = from->first_attempt_ms;
    own->discard_before = from->discard_before;
    lane_request_fill(lane, own, n, (uint64_t)from->bytes_each * n);
    return own;
}

void lane_request_fill(struct lane *lane, struct lane_request *request, uint32_t n,
                       uint64_t bytes) {
    MR_ASSERT(n >= 1 && n <= request->cap && request->n_positions == 0);
    request->n_positions = (uint16_t)n;
    request->hi = (uint16_t)n;
    request->bytes = bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
    request->bytes_each = (request->bytes + n - 1) / n;
    lane->open_events += n;
}

void lane_request_wait(struct lane *lane, struct lane_request *request, mr_mono due) {
    MR_ASSERT(request->state == LANE_REQUEST_WAITING && request->heap_at == UINT32_MAX);
    MR_ASSERT(lane->n_heap < lane->cap_heap && request->lo < request->hi);
    request->due = due;
    lane->n_heap++;
    heap_up(lane, request, lane->n_heap - 1);
}

void lane_request_unwait(struct lane *lane, struct lane_request *request) {
    uint32_t at = request->heap_at;
    MR_ASSERT(at < lane->n_heap && lane->heap[at] == request);
    struct lane_request *last = lane->heap[--lane->n_heap];
    request->heap_at = UINT32_MAX;
    if (last == request) {
        return;
    }
    if (at > 0 && is_before(last, lane->heap[(at - 1) / 2])) {
        heap_up(lane, last, at);
    } else {
        heap_down(lane, last, at);
    }
}

struct lane_request *lane_request_first(const struct lane *lane) {
    return lane->n_heap == 0 ? NULL : lane->heap[0];
}

void lane_request_fly(struct lane *lane, struct lane_request *request, struct lane_now now,
                      bool is_probe) {
    struct lane_shared *shared = lane->shared;
    MR_ASSERT(request->state == LANE_REQUEST_WAITING && request->heap_at == UINT32_MAX);
    MR_ASSERT(shared->credits > 0);
    request->state = LANE_REQUEST_FLYING;
    request->user = NULL;
    request->is_probe = is_probe;
    request->is_early = mr_mono_before(now.mono, request->due);
    request->generation = lane->generation;
    request->counted_failing = lane->window_failed;
    request->body_held = true;
    if (request->first_attempt_ms == 0) {
        request->first_attempt_ms = mr_wall_ms(now.wall);
    }
    lane->flying++;
    lane->flying_retries += request->is_retry ? 1 : 0;
    lane->flying_bytes += request->bytes;
    request->window_used = lane->flying >= lane_window(lane);
    lane->last_was_retry = request->is_retry;
    shared->credits--;
    shared->flying++;
    shared->bytes += request->bytes;
    if (request->counted_failing) {
        shared->flying_failing++;
        shared->bytes_failing += request->bytes;
    }
    lane_rate_take(lane, now);
    shared->hooks.send(shared->hooks.ctx, lane, request);
}

void lane_on_body_sent(struct lane *lane, struct lane_request *request) {
    MR_ASSERT(request->state == LANE_REQUEST_FLYING);
    if (request->body_held) {
        request->body_held = false;
        lane->flying_bytes -= request->bytes;
        lane->shared->bytes -= request->bytes;
        if (request->counted_failing) {
            lane->shared->bytes_failing -= request->bytes;
        }
    }
}

void lane_request_land(struct lane *lane, struct lane_request *request) {
    lane_on_body_sent(lane, request);
    request->state = LANE_REQUEST_WAITING;
    lane->flying--;
    lane->flying_retries -= request->is_retry ? 1 : 0;
    lane->shared->flying--;
    if (request->counted_failing) {
        lane->shared->flying_failing--;
    }
}

bool lane_request_advance(struct lane *lane, struct lane_request *request) {
    do {
        lane->open_events -= lane_request_count(request);
        request->lo = request->hi;
        request->paid = false;
        if (request->n_stack == 0) {
            return false;
        }
        request->hi = request->stack[--request->n_stack];
    } while (request->lo == request->hi);
    request->attempt = request->part_attempt;
    request->is_part = true;
    request->is_retry = true;
    request->bytes = request->bytes_each * lane_request_count(request);
    request->key = lane_request_key(request, 0);
    return true;
}

mr_err lane_request_mark(struct lane_request *request, const bool *out, uint8_t mark) {
    if (request->marks == NULL) {
        request->marks = mr_calloc(request->cap, sizeof *request->marks);
        if (request->marks == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
    }
    for (uint16_t i = request->lo; i < request->n_positions; i++) {
        if (out[i - request->lo]) {
            request->marks[i] |= mark;
        }
    }
    return MR_OK;
}

/* Moves what belongs to one position. */
static void move(struct lane_request *request, uint16_t from, uint16_t to) {
    request->positions[to] = request->positions[from];
    if (request->has_keys) {
        request->positions[request->cap + to] = request->positions[request->cap + from];
    }
    if (request->marks != NULL) {
        request->marks[to] = request->marks[from];
    }
}

uint32_t lane_request_remove(struct lane *lane, struct lane_request *request, const bool *out,
                             uint64_t *gone, uint64_t *gone_keys) {
    uint16_t lo = request->lo;
    uint32_t n_gone = 0;
    uint16_t to = lo;
    /* Ends of the parts in order: hi, then the stack from its top. */
    uint8_t parts_left = request->n_stack;
    uint16_t *end = &request->hi;
    for (uint16_t from = lo; from < request->n_positions; from++) {
        while (from == *end) {
            MR_ASSERT(parts_left > 0);
            *end = to;
            end = &request->stack[--parts_left];
        }
        if (out[from - lo]) {
            if (gone_keys != NULL) {
                gone_keys[n_gone] = lane_request_key(request, (uint32_t)(from - lo));
            }
            gone[n_gone++] = request->positions[from];
        } else {
            move(request, from, to++);
        }
    }
    *end = to;
    while (parts_left > 0) {
        request->stack[--parts_left] = to;
    }
    request->n_positions = to;
    lane->open_events -= n_gone;
    if (n_gone > 0) {
        request->pair_at = LANE_PAIR_NONE;
        request->key =
            request->has_keys && to > lo ? request->positions[request->cap + lo] : request->key;
    }
    return n_gone;
}
