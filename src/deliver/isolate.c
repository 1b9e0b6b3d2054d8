/* Batches taken apart, so that one event that a receiver refuses costs only itself.
 *
 * A refused batch of n is split into halves, depth first: the left half goes next, the end of the
 * right one is put on the request's stack (at most one per halving). A part of one that fails is
 * retried by the policy like any request, as an object of its own, so the others do not wait for
 * it.
 *
 *      [0 ............ 50)          refused: stack {50}, send [0, 25)
 *      [0 ... 25)                   accepted: send [25, 50)
 *      [25 ... 38) | 50             refused: stack {50, 38}, send [25, 32) …
 *
 * Each part's first sending is an extra request and takes from a budget of 16 in any 60 seconds
 * (their times stand in a ring); beyond it parts wait and nothing is given up. One batch is taken
 * apart at a time: many at once would all run out of budget half-way, and two refused pairs (below)
 * would be found later.
 *
 * A known receiver of KORE's refuses every array of two. Two refused pairs whose single events were
 * then all accepted are proof enough: for an hour the lane sends single events, parts of several
 * are sent one by one outside the budget, and a notice says so. A batch that is accepted clears the
 * suspicion. */
#include "deliver/lane_parts.h"

#define PAIRS_TO_SINGLE 2
#define MINUTE_MS       60000
#define TURN_MS         250

void lane_isolate_split(struct lane *lane, struct lane_request *request, struct lane_now now) {
    uint32_t n = lane_request_count(request);
    MR_ASSERT(n >= 2 && request->n_stack < LANE_HALVINGS_MAX);
    uint32_t n_first = lane_is_single(lane, now) ? 1 : (n + 1) / 2;
    request->pair_at = n == 2 ? request->lo : LANE_PAIR_NONE;
    request->pair_first_ok = false;
    request->stack[request->n_stack++] = request->hi;
    request->hi = (uint16_t)(request->lo + n_first);
    request->part_attempt = request->attempt;
    request->is_part = true;
    request->is_retry = true;
    request->paid = false;
    request->bytes = request->bytes_each * n_first;
}

static void enter_single(struct lane *lane, struct lane_now now) {
    lane->pairs = 0;
    lane->single_until = mr_mono_add_ms(now.mono, LANE_SINGLE_MS);
    lane_notify(lane, (struct lane_notice){.kind = LANE_NOTICE_SINGLE});
}

void lane_isolate_accepted(struct lane *lane, struct lane_request *request, struct lane_now now) {
    if (lane_request_count(request) >= 2) {
        lane->pairs = 0;
        return;
    }
    if (request->pair_at == LANE_PAIR_NONE) {
        return;
    }
    if (request->lo == request->pair_at) {
        request->pair_first_ok = true;
        return;
    }
    if (request->lo == request->pair_at + 1 && request->pair_first_ok &&
        !lane_is_single(lane, now)) {
        lane->pairs++;
        if (lane->pairs >= PAIRS_TO_SINGLE) {
            enter_single(lane, now);
        }
    }
    request->pair_at = LANE_PAIR_NONE;
}

void lane_isolate_failed(struct lane_request *request) {
    request->pair_at = LANE_PAIR_NONE;
}

void lane_isolate_narrow(const struct lane *lane, struct lane_request *request,
                         struct lane_now now) {
    uint32_t n = lane_request_count(request);
    if (request->is_part && !request->paid && n > 1 && lane_is_single(lane, now) &&
        request->n_stack < LANE_HALVINGS_MAX) {
        request->stack[request->n_stack++] = request->hi;
        request->hi = (uint16_t)(request->lo + 1);
        request->part_attempt = request->attempt;
        request->bytes = request->bytes_each;
    }
}

bool lane_isolate_allows(const struct lane *lane, const struct lane_request *request,
                         struct lane_now now, mr_mono *ret_at) {
    if (!request->is_part || request->paid || lane_is_single(lane, now)) {
        return true;
    }
    if (request->n_stack > 0 && lane->isolating != NULL && lane->isolating != request) {
        *ret_at = mr_mono_add_ms(now.mono, TURN_MS);
        return false;
    }
    if (lane->n_isolation < LANE_ISOLATION_PER_MINUTE) {
        return true;
    }
    int64_t free_ms = lane->isolation_ms[lane->isolation_at] + MINUTE_MS;
    if (lane_ms(now.mono) >= free_ms) {
        return true;
    }
    *ret_at = (mr_mono){free_ms * MR_NS_PER_MS};
    return false;
}

void lane_isolate_take(struct lane *lane, struct lane_request *request, struct lane_now now) {
    if (!request->is_part || request->paid) {
        return;
    }
    request->paid = true;
    if (lane_is_single(lane, now)) {
        return;
    }
    if (request->n_stack > 0 && lane->isolating == NULL) {
        lane->isolating = request;
    }
    lane->isolation_ms[lane->isolation_at] = lane_ms(now.mono);
    lane->isolation_at = (uint8_t)((lane->isolation_at + 1) % LANE_ISOLATION_PER_MINUTE);
    if (lane->n_isolation < LANE_ISOLATION_PER_MINUTE) {
        lane->n_isolation++;
    }
}

void lane_isolate_release(struct lane *lane, const struct lane_request *request) {
    if (lane->isolating == request) {
        lane->isolating = NULL;
    }
}
