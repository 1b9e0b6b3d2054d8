/* The lane's life: start, events, settings, restoring, discarding, invariants. The other chapters:
 * decide.c (what leaves now), result.c (what becomes of it), request.c (open requests and sums),
 * window.c (window, health, rate), isolate.c (batches taken apart), discard.c (given up by those
 * who asked), settle.c (ended elsewhere), backlog.c (FIFOs), policy.c.
 *
 * FIFOs. Deliveries that may share a request have the same key and origin (a token names one
 * origin), so each pair has a FIFO of its own, up to 64. A FIFO that ran empty gives its place to
 * the next new pair; what comes when 64 are in use goes to a last, keyed FIFO, from whose head runs
 * of one key leave. Few lanes see more than a handful of keys: a linear search with the last hit
 * tried first is the fastest table. A lane that mixes keys has a FIFO for each origin, whose
 * entries carry their keys.
 *
 * Memory. An idle lane is this struct and nothing else after lane_trim. Every input that brings
 * something in may fail for want of memory and then changes nothing; every input that reports
 * something (a result, a settings change) cannot fail. */
#include "deliver/lane_parts.h"

#include "base/mem.h"

#define FIFOS_BEFORE_REUSE 8
#define FIFOS_MAX          (LANE_KEYS_MAX + 1)

static void adopt_settings(struct lane *lane, const struct lane_settings *settings) {
    struct lane_settings *own = &lane->settings;
    *own = *settings;
    own->batch_max = own->batch_max < 1                ? 1
                     : own->batch_max > LANE_BATCH_MAX ? LANE_BATCH_MAX
                                                       : own->batch_max;
    own->batch_bytes_max = own->batch_bytes_max < 1 ? 1 : own->batch_bytes_max;
    own->concurrency_max = own->concurrency_max < 1            ? 1
                           : own->concurrency_max > UINT16_MAX ? UINT16_MAX
                                                               : own->concurrency_max;
}

void lane_init(struct lane *lane, struct lane_shared *shared, uint32_t destination,
               const struct lane_settings *settings) {
    *lane = (struct lane){.shared = shared, .destination = destination, .deadline = MR_MONO_NEVER};
    mr_list_init(&lane->open);
    adopt_settings(lane, settings);
    lane_window_reset(lane);
    lane_health_set(lane);
}

static void free_tables(struct lane *lane) {
    lane->shared->memory_bytes -=
        lane->cap_fifos * sizeof(struct backlog) + lane->cap_heap * sizeof(struct lane_request *);
    mr_free(lane->fifos);
    mr_free(lane->heap);
    lane->fifos = NULL;
    lane->heap = NULL;
    lane->n_fifos = 0;
    lane->cap_fifos = 0;
    lane->cap_heap = 0;
    lane->fifo_hint = 0;
    lane->has_overflow = false;
}

void lane_done(struct lane *lane) {
    MR_ASSERT(lane->flying == 0);
    while (lane->n_heap > 0) {
        struct lane_request *request = lane->heap[lane->n_heap - 1];
        lane_request_unwait(lane, request);
        lane_request_free(lane, request);
    }
    MR_ASSERT(lane->n_open == 0 && lane->open_events == 0);
    for (uint32_t i = 0; i < lane->n_fifos; i++) {
        backlog_clear(&lane->fifos[i], &lane->shared->backlog);
    }
    free_tables(lane);
    lane->backlog_count = 0;
    lane->backlog_bytes = 0;
}

void lane_trim(struct lane *lane) {
    if (!lane_is_empty(lane)) {
        return;
    }
    for (uint32_t i = 0; i < lane->n_fifos; i++) {
        backlog_trim(&lane->fifos[i], &lane->shared->backlog);
    }
    free_tables(lane);
}

static struct backlog *add_fifo(struct lane *lane) {
    if (lane->n_fifos == lane->cap_fifos) {
        uint32_t cap = lane->cap_fifos == 0 ? 1 : (uint32_t)lane->cap_fifos * 2;
        cap = cap > FIFOS_MAX || lane->cap_fifos == LANE_KEYS_MAX ? FIFOS_MAX : cap;
        struct backlog *fifos = mr_realloc(lane->fifos, cap * sizeof(struct backlog));
        if (fifos == NULL) {
            return NULL;
        }
        lane->shared->memory_bytes += (cap - lane->cap_fifos) * sizeof(struct backlog);
        lane->fifos = fifos;
        lane->cap_fifos = (uint16_t)cap;
    }
    return &lane->fifos[lane->n_fifos++];
}

static bool is_of(const struct backlog *fifo, const struct backlog_entry *entry) {
    return fifo->origin == entry->origin &&
           (fifo->mixed || (!fifo->keyed && fifo->key == entry->key));
}

/* The FIFO for an entry, made where there is none yet; NULL without memory. */
static struct backlog *fifo_for(struct lane *lane, const struct backlog_entry *entry) {
    if (lane->fifo_hint < lane->n_fifos && is_of(&lane->fifos[lane->fifo_hint], entry)) {
        return &lane->fifos[lane->fifo_hint];
    }
    struct backlog *empty = NULL;
    uint32_t n_keyed = lane->has_overflow ? LANE_KEYS_MAX : lane->n_fifos;
    for (uint32_t i = 0; i < n_keyed; i++) {
        struct backlog *fifo = &lane->fifos[i];
        if (is_of(fifo, entry)) {
            lane->fifo_hint = (uint16_t)i;
            return fifo;
        }
        if (fifo->count == 0 && empty == NULL) {
            empty = fifo;
        }
    }
    struct backlog *fifo = empty;
    if (fifo == NULL || lane->n_fifos < FIFOS_BEFORE_REUSE) {
        if (lane->has_overflow) {
            return &lane->fifos[LANE_KEYS_MAX];
        }
        fifo = add_fifo(lane);
        if (fifo == NULL) {
            return NULL;
        }
        lane->has_overflow = lane->n_fifos > LANE_KEYS_MAX;
        if (lane->has_overflow) {
            backlog_init_keyed(fifo);
            return fifo;
        }
    } else {
        backlog_clear(fifo, &lane->shared->backlog);
    }
    if (lane->settings.mixes) {
        backlog_init_mixed(fifo, entry->origin);
    } else {
        backlog_init(fifo, entry->key, entry->origin);
    }
    lane->fifo_hint = (uint16_t)(fifo - lane->fifos);
    return fifo;
}

mr_err lane_on_event(struct lane *lane, const struct backlog_entry *entry) {
    struct backlog *fifo = fifo_for(lane, entry);
    if (fifo == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    MR_TRY(backlog_push(fifo, &lane->shared->backlog, entry));
    lane->backlog_count++;
    lane->backlog_bytes += entry->size;
    return MR_OK;
}

mr_err lane_restore_request(struct lane *lane, struct lane_now now,
                            const struct lane_open_request *open) {
    if (open->n_positions < 1 || open->n_positions > LANE_BATCH_MAX) {
        return MR_ERR(MR_E_RANGE);
    }
    struct lane_request *request = lane_request_new(lane, open->n_positions, open->keys != NULL);
    if (request == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    memcpy(request->positions, open->positions, open->n_positions * sizeof open->positions[0]);
    if (open->keys != NULL) {
        memcpy(request->positions + request->cap, open->keys,
               open->n_positions * sizeof open->keys[0]);
    }
    request->key = open->keys != NULL ? open->keys[0] : open->key;
    request->origin = open->origin;
    request->form = open->form;
    request->attempt = open->attempt;
    request->is_part = open->is_part;
    request->is_retry = true;
    request->first_attempt_ms = open->first_attempt_ms;
    lane_request_fill(lane, request, open->n_positions,
                      (uint64_t)open->bytes + open->n_positions + 1);
    /* The wall clock may have stepped while we were away: never wait longer than a failure now
     * could make it wait. */
    int64_t wait_max = policy_delay_ms_max(&lane->settings.policy, open->attempt);
    wait_max = wait_max < LANE_GATE_MS_MAX ? LANE_GATE_MS_MAX : wait_max;
    int64_t now_ms = mr_wall_ms(now.wall);
    int64_t wait = open->due_ms <= now_ms ? 0 : open->due_ms - now_ms;
    wait = wait > wait_max ? wait_max : wait;
    lane_request_wait(lane, request, mr_mono_add_ms(now.mono, wait));
    return MR_OK;
}

void lane_restore_failing(struct lane *lane, struct lane_now now, int64_t failing_since_ms) {
    int64_t now_ms = mr_wall_ms(now.wall);
    if (failing_since_ms <= 0 || failing_since_ms > now_ms) {
        return;
    }
    int64_t age_ms = now_ms - failing_since_ms;
    age_ms = age_ms > LANE_FAILING_MS ? LANE_FAILING_MS : age_ms;
    lane->failures = 1;
    lane->failing_since = mr_mono_add_ms(now.mono, -age_ms);
    lane->failing_since_ms = failing_since_ms;
}

void lane_restore_single(struct lane *lane, struct lane_now now, int64_t until_ms) {
    int64_t left_ms = until_ms - mr_wall_ms(now.wall);
    if (left_ms > 0) {
        left_ms = left_ms > LANE_SINGLE_MS ? LANE_SINGLE_MS : left_ms;
        lane->single_until = mr_mono_add_ms(now.mono, left_ms);
    }
}

void lane_on_settings(struct lane *lane, const struct lane_settings *settings,
                      struct lane_now now) {
    bool was_enabled = lane_is_enabled(lane);
    uint32_t old_max = lane->settings.concurrency_max;
    adopt_settings(lane, settings);
    if (lane->self_disabled && lane->settings.enabled_epoch > lane->disabled_epoch) {
        lane->self_disabled = false;
    }
    if (!was_enabled && lane_is_enabled(lane)) {
        lane_window_reset(lane);
    } else if (lane->threshold == old_max * LANE_ONE) {
        /* Never cut so far: the way up ends where it now may. */
        lane->threshold = lane->settings.concurrency_max * LANE_ONE;
    }
    lane_window_limit(lane);
    if (lane->rate_at.ns > now.mono.ns + MR_NS_PER_S) {
        lane->rate_at = now.mono;
    }
    lane_health_set(lane);
}

void lane_stats_get(const struct lane *lane, struct lane_now now, struct lane_stats *ret_stats) {
    *ret_stats = (struct lane_stats){
        .backlog = lane->backlog_count,
        .backlog_bytes = lane->backlog_bytes,
        .open = lane->n_open,
        .open_events = lane->open_events,
        .flying = lane->flying,
        .window = lane_window(lane),
        .health = lane->health,
        .probing = lane->probing,
        .single = lane_is_single(lane, now),
        .failing_since_ms = lane->failures > 0 ? lane->failing_since_ms : 0,
    };
}

void lane_each_open(const struct lane *lane,
                    void (*each)(void *arg, const struct lane_request *request), void *arg) {
    for (mr_list *node = lane->open.next; node != &lane->open;) {
        mr_list *next = node->next;
        each(arg, MR_CONTAINER(node, struct lane_request, all));
        node = next;
    }
}

static void assert_request_valid(const struct lane *lane, const struct lane_request *request) {
    MR_ASSERT(request->lo < request->hi && request->hi <= request->n_positions);
    MR_ASSERT(request->n_positions <= request->cap && request->cap <= LANE_BATCH_MAX);
    MR_ASSERT(request->n_stack <= LANE_HALVINGS_MAX);
    uint16_t end = request->hi;
    for (uint8_t i = request->n_stack; i-- > 0;) {
        MR_ASSERT(request->stack[i] >= end);
        end = request->stack[i];
    }
    MR_ASSERT(end == request->n_positions);
    MR_ASSERT(request->n_stack == 0 || request->is_part);
    MR_ASSERT(request->key == lane_request_key(request, 0));
    if (request->state == LANE_REQUEST_WAITING) {
        MR_ASSERT(request->heap_at < lane->n_heap && lane->heap[request->heap_at] == request);
        MR_ASSERT(request->heap_at == 0 ||
                  lane->heap[(request->heap_at - 1) / 2]->due.ns <= request->due.ns);
    } else {
        MR_ASSERT(request->heap_at == UINT32_MAX && request->first_attempt_ms != 0);
    }
}

static void assert_requests_valid(const struct lane *lane) {
    uint32_t n_open = 0;
    uint32_t events = 0;
    uint32_t flying = 0;
    uint32_t flying_retries = 0;
    uint64_t bytes = 0;
    for (const mr_list *node = lane->open.next; node != &lane->open; node = node->next) {
        const struct lane_request *request =
            (const struct lane_request *)(const void *)((const char *)node -
                                                        offsetof(struct lane_request, all));
        assert_request_valid(lane, request);
        n_open++;
        events += (uint32_t)(request->n_positions - request->lo);
        if (request->state == LANE_REQUEST_FLYING) {
            flying++;
            flying_retries += request->is_retry ? 1 : 0;
            bytes += request->body_held ? request->bytes : 0;
        }
    }
    MR_ASSERT(n_open == lane->n_open && n_open == flying + lane->n_heap);
    MR_ASSERT(events == lane->open_events);
    MR_ASSERT(flying == lane->flying && flying_retries == lane->flying_retries);
    MR_ASSERT(bytes == lane->flying_bytes);
    MR_ASSERT(lane->n_heap <= lane->cap_heap && lane->n_open <= lane->cap_heap);
}

void lane_assert_valid(const struct lane *lane) {
    const struct lane_shared *shared = lane->shared;
    uint64_t count = 0;
    uint64_t bytes = 0;
    MR_ASSERT(lane->n_fifos <= lane->cap_fifos && lane->cap_fifos <= FIFOS_MAX);
    for (uint32_t i = 0; i < lane->n_fifos; i++) {
        const struct backlog *fifo = &lane->fifos[i];
        backlog_assert_valid(fifo, &shared->backlog);
        MR_ASSERT((fifo->keyed && !fifo->mixed) == (i == LANE_KEYS_MAX));
        count += fifo->count;
        bytes += fifo->bytes;
    }
    MR_ASSERT(count == lane->backlog_count && bytes == lane->backlog_bytes);
    MR_ASSERT(lane->has_overflow == (lane->n_fifos > LANE_KEYS_MAX));
    assert_requests_valid(lane);
    MR_ASSERT(lane->window >= LANE_ONE &&
              lane->window <= lane->settings.concurrency_max * LANE_ONE);
    MR_ASSERT(shared->open >= lane->n_open && shared->flying >= lane->flying);
    MR_ASSERT(shared->bytes >= lane->flying_bytes && shared->bytes >= shared->bytes_failing);
    MR_ASSERT(shared->flying >= shared->flying_failing);
    MR_ASSERT(lane->n_isolation <= LANE_ISOLATION_PER_MINUTE);
    MR_ASSERT((lane->health == LANE_DISABLED) == !lane_is_enabled(lane));
}
