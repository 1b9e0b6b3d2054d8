/* What becomes of a request when its attempt ends. The order of the questions is the rule:
 *
 *   2xx                                     DELIVERED
 *   410                                     DEAD (gone); the destination is disabled
 *   a probe before its time                 RETRY at its time, no attempt spent
 *   429, 503 with Retry-After               the lane is gated; RETRY at the gate's end, no attempt
 *                                           spent in the first 24 h of the request's life
 *   400, 413, 422 on several events         SPLIT, no attempt spent
 *   last attempt, answered, several events  SPLIT, no attempt spent: each part has one attempt left
 *   last attempt                            DEAD
 *   else                                    RETRY by the policy, one attempt spent
 *
 * A part that is to be retried becomes an object of its own, so that the parts behind it go on;
 * without memory for that it keeps its place and they wait.
 *
 * Each result gives exactly one record marked from_attempt, which the credit taken at the send
 * covers; where there is none (cancelled, or all of it was discarded or settled elsewhere) the lane
 * gives the credit back itself. */
#include "deliver/lane_parts.h"

#include "base/mem.h"

#define STATUS_GONE        410
#define STATUS_TOO_MANY    429
#define STATUS_UNAVAILABLE 503

void lane_record(struct lane *lane, const struct lane_request *request, struct lane_now now,
                 struct lane_record part) {
    part.key = request->key;
    part.origin = request->origin;
    part.form = request->form;
    part.first_attempt_ms = request->first_attempt_ms;
    part.now_ms = mr_wall_ms(now.wall);
    if (part.positions == NULL) {
        part.positions = lane_request_positions(request);
        part.n_positions = lane_request_count(request);
    }
    lane->shared->hooks.record(lane->shared->hooks.ctx, lane, &part);
}

void lane_record_discarded(struct lane *lane, struct lane_now now, uint64_t key, uint32_t origin,
                           const uint64_t *positions, uint32_t n, int64_t first_attempt_ms) {
    struct lane_record part = {.kind = LANE_RECORD_DISCARDED,
                               .positions = positions,
                               .n_positions = n,
                               .key = key,
                               .origin = origin,
                               .first_attempt_ms = first_attempt_ms,
                               .now_ms = mr_wall_ms(now.wall)};
    lane->shared->hooks.record(lane->shared->hooks.ctx, lane, &part);
}

/* Takes out those for which out[i] is set, and their items. */
static uint32_t take(struct lane *lane, struct lane_request *request, const bool *out,
                     struct lane_item *items, uint64_t *gone) {
    uint32_t n = lane_request_count(request);
    uint32_t to = 0;
    for (uint32_t i = 0; items != NULL && i < n; i++) {
        if (!out[i]) {
            items[to++] = items[i];
        }
    }
    return lane_request_remove(lane, request, out, gone, NULL);
}

static uint32_t discard(struct lane *lane, struct lane_request *request, const bool *out,
                        struct lane_item *items, struct lane_now now) {
    uint64_t gone[LANE_BATCH_MAX];
    uint64_t key = request->has_keys ? 0 : request->key;
    uint32_t n = take(lane, request, out, items, gone);
    if (n > 0) {
        lane_record_discarded(lane, now, key, request->origin, gone, n, request->first_attempt_ms);
    }
    return n;
}

static void shed_marked(struct lane *lane, struct lane_request *request, struct lane_now now,
                        struct lane_item *items) {
    bool out[LANE_BATCH_MAX];
    uint64_t gone[LANE_BATCH_MAX];
    for (uint16_t i = request->lo; i < request->n_positions; i++) {
        out[i - request->lo] = (request->marks[i] & LANE_MARK_SETTLED) != 0;
    }
    take(lane, request, out, items, gone);
    for (uint16_t i = request->lo; i < request->n_positions; i++) {
        out[i - request->lo] = (request->marks[i] & LANE_MARK_DISCARD) != 0;
    }
    discard(lane, request, out, items, now);
    mr_free(request->marks);
    request->marks = NULL;
}

void lane_request_shed(struct lane *lane, struct lane_request *request, struct lane_now now,
                       struct lane_item *items) {
    if (request->marks != NULL) {
        shed_marked(lane, request, now, items);
    }
    if (request->discard_before > 0) {
        bool out[LANE_BATCH_MAX];
        for (uint16_t i = request->lo; i < request->n_positions; i++) {
            out[i - request->lo] = request->discard_before == UINT64_MAX ||
                                   request->positions[i] < request->discard_before;
        }
        discard(lane, request, out, items, now);
        request->discard_before = 0;
    }
}

/* The request, landed and in no heap, waits for its part's next sending, or ends. */
static void resume(struct lane *lane, struct lane_request *request, struct lane_now now,
                   mr_mono due) {
    lane_request_shed(lane, request, now, NULL);
    if (request->lo == request->hi && !lane_request_advance(lane, request)) {
        lane_request_free(lane, request);
        return;
    }
    lane_request_wait(lane, request, due);
}

void lane_request_finish_part(struct lane *lane, struct lane_request *request,
                              struct lane_now now) {
    if (lane_request_advance(lane, request)) {
        resume(lane, request, now, now.mono);
    } else {
        lane_request_free(lane, request);
    }
}

uint32_t lane_request_discard(struct lane *lane, struct lane_request *request, const bool *out,
                              struct lane_now now) {
    mr_mono due = request->due;
    lane_request_unwait(lane, request);
    uint32_t n = discard(lane, request, out, NULL, now);
    resume(lane, request, now, due);
    return n;
}

void lane_request_drop(struct lane *lane, struct lane_request *request, const bool *out,
                       struct lane_now now) {
    uint64_t gone[LANE_BATCH_MAX];
    mr_mono due = request->due;
    lane_request_unwait(lane, request);
    lane_request_remove(lane, request, out, gone, NULL);
    resume(lane, request, now, due);
}

/* Moves the part into a request of its own; false without memory. */
static bool detach(struct lane *lane, const struct lane_request *request, mr_mono due) {
    struct lane_request *own = lane_request_like(lane, request, lane_request_positions(request),
                                                 request->positions + request->cap + request->lo,
                                                 lane_request_count(request));
    if (own == NULL) {
        return false;
    }
    lane_request_wait(lane, own, due);
    return true;
}

void lane_request_retry(struct lane *lane, struct lane_request *request, struct lane_now now,
                        struct lane_record part, mr_mono due) {
    part.kind = LANE_RECORD_RETRY;
    part.due_ms = mr_wall_ms(now.wall) + mr_mono_diff_ms(due, now.mono);
    lane_record(lane, request, now, part);
    request->attempt = part.attempt;
    request->is_retry = true;
    request->paid = true;
    lane_isolate_failed(request);
    if (request->n_stack > 0 && detach(lane, request, due)) {
        lane_request_finish_part(lane, request, now);
    } else {
        if (request->n_stack == 0) {
            lane_isolate_release(lane, request);
        }
        resume(lane, request, now, due);
    }
}

static void split(struct lane *lane, struct lane_request *request, struct lane_now now,
                  struct lane_record part) {
    part.kind = LANE_RECORD_SPLIT;
    part.from_attempt = true;
    part.attempt = request->attempt;
    part.positions = lane_request_positions(request);
    part.n_positions = lane_request_count(request);
    part.due_ms = mr_wall_ms(now.wall);
    lane_isolate_split(lane, request, now);
    part.n_first = (uint16_t)lane_request_count(request);
    lane_record(lane, request, now, part);
    resume(lane, request, now, now.mono);
}

static void die(struct lane *lane, struct lane_request *request, struct lane_now now,
                struct lane_record part) {
    part.kind = LANE_RECORD_DEAD;
    part.from_attempt = true;
    lane_record(lane, request, now, part);
    lane_isolate_failed(request);
    lane_request_finish_part(lane, request, now);
}

static bool is_throttled(const struct lane_result *result) {
    return result->kind == LANE_RESULT_STATUS && result->retry_after_ms >= 0 &&
           (result->status == STATUS_TOO_MANY || result->status == STATUS_UNAVAILABLE);
}

/* A failed part of which something is left to decide about. */
static void decide_failed(struct lane *lane, struct lane_request *request, struct lane_now now,
                          const struct lane_result *result) {
    bool answered = result->kind == LANE_RESULT_STATUS && result->reason == LANE_REASON_NONE;
    uint32_t n = lane_request_count(request);
    uint32_t attempt = (uint32_t)request->attempt + 1;
    struct lane_record part = {.reason = (uint8_t)lane_reason_of(result),
                               .status = result->kind == LANE_RESULT_STATUS ? result->status : 0,
                               .attempt = (uint16_t)attempt,
                               .from_attempt = true};
    if (answered && result->status == STATUS_GONE) {
        part.reason = LANE_REASON_GONE;
        die(lane, request, now, part);
        return;
    }
    if (request->is_early) {
        part.attempt = request->attempt;
        lane_request_retry(lane, request, now, part, request->due);
        return;
    }
    bool throttled = is_throttled(result);
    if (throttled && mr_wall_ms(now.wall) - request->first_attempt_ms < LANE_FREE_RETRY_MS) {
        part.reason = LANE_REASON_THROTTLED;
        part.attempt = request->attempt;
        lane_request_retry(lane, request, now, part, lane->gate_until);
        return;
    }
    if (n > 1 && lane_judges_content(result)) {
        split(lane, request, now, part);
        return;
    }
    if (attempt >= policy_attempts_max(&lane->settings.policy)) {
        if (n > 1 && answered) {
            split(lane, request, now, part);
        } else {
            die(lane, request, now, part);
        }
        return;
    }
    struct lane_hooks *hooks = &lane->shared->hooks;
    mr_mono due = mr_mono_add_ms(now.mono, (int64_t)policy_delay_ms(&lane->settings.policy, attempt,
                                                                    hooks->random(hooks->ctx)));
    if (throttled && mr_mono_before(due, lane->gate_until)) {
        due = lane->gate_until;
    }
    lane_request_retry(lane, request, now, part, due);
}

static void on_failure(struct lane *lane, struct lane_request *request, struct lane_now now,
                       const struct lane_result *result) {
    bool gone = result->kind == LANE_RESULT_STATUS && result->reason == LANE_REASON_NONE &&
                result->status == STATUS_GONE;
    lane_health_failure(lane, request, now, result);
    if (is_throttled(result)) {
        lane_gate(lane, now, result->retry_after_ms);
    }
    lane_request_shed(lane, request, now, NULL);
    if (request->lo == request->hi) {
        lane->shared->credits++;
        resume(lane, request, now, now.mono);
    } else {
        decide_failed(lane, request, now, result);
    }
    if (gone) {
        lane_health_disable(lane, LANE_NOTICE_DISABLE_GONE, result);
    }
}

void lane_on_result(struct lane *lane, struct lane_request *request, struct lane_now now,
                    const struct lane_result *result) {
    MR_ASSERT(request->state == LANE_REQUEST_FLYING && request->lo < request->hi);
    lane_request_land(lane, request);
    if (result->kind == LANE_RESULT_CANCELLED) {
        if (!request->is_retry) {
            request->first_attempt_ms = 0;
        }
        lane->shared->credits++;
        resume(lane, request, now, now.mono);
    } else if (result->kind == LANE_RESULT_STATUS && result->reason == LANE_REASON_NONE &&
               result->status >= 200 && result->status <= 299) {
        lane_record(lane, request, now,
                    (struct lane_record){.kind = LANE_RECORD_DELIVERED,
                                         .status = result->status,
                                         .attempt = (uint16_t)(request->attempt + 1),
                                         .from_attempt = true});
        lane_health_success(lane, request, now);
        lane_pace(lane, lane_request_count(request), 0, now);
        lane_isolate_accepted(lane, request, now);
        lane_request_finish_part(lane, request, now);
    } else {
        on_failure(lane, request, now, result);
    }
}

/* Nothing of the part is left to be sent. */
static void end_unsent(struct lane *lane, struct lane_request *request, struct lane_now now) {
    lane_request_land(lane, request);
    lane->shared->credits++;
    resume(lane, request, now, now.mono);
}

uint32_t lane_on_begin(struct lane *lane, struct lane_request *request, struct lane_now now) {
    MR_ASSERT(request->state == LANE_REQUEST_FLYING);
    lane_request_shed(lane, request, now, NULL);
    uint32_t left = lane_request_count(request);
    if (left == 0) {
        end_unsent(lane, request, now);
    }
    return left;
}

mr_err lane_on_composed(struct lane *lane, struct lane_request *request, uint32_t n_used,
                        uint32_t bytes, struct lane_now now) {
    uint32_t n = lane_request_count(request);
    MR_ASSERT(request->state == LANE_REQUEST_FLYING && n_used >= 1 && n_used <= n);
    MR_ASSERT(request->marks == NULL);
    if (n_used < n) {
        MR_ASSERT(!request->is_retry && request->n_stack == 0 && request->lo == 0);
        struct lane_request *rest =
            lane_request_like(lane, request, request->positions + n_used,
                              request->positions + request->cap + n_used, n - n_used);
        if (rest == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        rest->first_attempt_ms = 0;
        request->n_positions = (uint16_t)n_used;
        request->hi = (uint16_t)n_used;
        lane->open_events -= n - n_used;
        resume(lane, rest, now, now.mono);
    }
    if (request->body_held) {
        lane->flying_bytes += (uint64_t)bytes - request->bytes;
        lane->shared->bytes += (uint64_t)bytes - request->bytes;
        if (request->counted_failing) {
            lane->shared->bytes_failing += (uint64_t)bytes - request->bytes;
        }
    }
    request->bytes = bytes;
    return MR_OK;
}

uint32_t lane_on_unreadable(struct lane *lane, struct lane_request *request, uint32_t i,
                            struct lane_now now) {
    MR_ASSERT(request->state == LANE_REQUEST_FLYING && i < lane_request_count(request));
    MR_ASSERT(request->marks == NULL);
    bool out[LANE_BATCH_MAX] = {false};
    uint64_t gone[LANE_BATCH_MAX];
    out[i] = true;
    uint32_t n = lane_request_remove(lane, request, out, gone, NULL);
    lane_record(lane, request, now,
                (struct lane_record){.kind = LANE_RECORD_DEAD,
                                     .reason = LANE_REASON_UNREADABLE,
                                     .attempt = request->attempt,
                                     .positions = gone,
                                     .n_positions = n});
    uint32_t left = lane_request_count(request);
    if (left == 0) {
        end_unsent(lane, request, now);
    }
    return left;
}
