/* What becomes of a request whose receiver answered for each event. Each event goes its own way:
 *
 *   OK                          DELIVERED
 *   PERMANENT                   DEAD with its reason
 *   RETRY, its last attempt     DEAD with its reason
 *   RETRY                       RETRY by the policy, an attempt spent
 *   THROTTLED                   RETRY when the lane goes on; no attempt spent in the first 24 h of
 *                               the request's life, after that as RETRY
 *   a probe before its time     what is not over waits for its time, no attempt spent
 *
 * Those of one way stay together: at most two requests go on, the throttled and the failed, and
 * neither holds an event that is over. Without memory for the second both go on as one, an attempt
 * spent.
 *
 * Records are written failures first, DELIVERED last: so it names what is left of the composition,
 * which whoever folds the records finds at once, and a crash between two of them leaves an event
 * that was delivered to be sent again and none that was not called delivered. The first failure's
 * record is the one that ends the attempt.
 *
 * Where some were taken the destination is well. Throttling makes the lane slower all the same:
 * half the window and a pace between requests, see window.c. */
#include "deliver/lane_parts.h"

#include <string.h>

#define THROTTLED_WAIT_MS 100
#define SHARE_TO_CUT      8 /* where one event in so many was throttled, the window is cut */

struct sorting {
    struct lane *lane;
    struct lane_request *request;
    struct lane_now now;
    const struct lane_result *result;
    bool is_recorded; /* a record ended the attempt */
    bool was_current; /* of the lane's generation when it landed */
    uint32_t n_ok;
    uint64_t ok[LANE_BATCH_MAX];
    struct lane_item items[LANE_BATCH_MAX]; /* of the request's part, as it shrinks */
};

/* The positions of a group, out of the request. */
struct group {
    uint32_t n;
    uint64_t positions[LANE_BATCH_MAX];
    uint64_t keys[LANE_BATCH_MAX];
};

static uint32_t count(const struct sorting *sorting, enum lane_item_kind kind) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < lane_request_count(sorting->request); i++) {
        n += sorting->items[i].kind == kind ? 1 : 0;
    }
    return n;
}

/* Takes the events of that kind, and of that reason unless it is LANE_REASON_NONE. */
static void take(struct sorting *sorting, enum lane_item_kind kind, uint8_t reason,
                 struct group *group) {
    struct lane_request *request = sorting->request;
    bool out[LANE_BATCH_MAX] = {false};
    uint32_t n = lane_request_count(request);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct lane_item item = sorting->items[i];
        out[i] = item.kind == kind && (reason == LANE_REASON_NONE || item.reason == reason);
        if (!out[i]) {
            sorting->items[kept++] = item;
        }
    }
    group->n = lane_request_remove(sorting->lane, request, out, group->positions, group->keys);
}

static uint8_t reason_of(const struct sorting *sorting, enum lane_item_kind kind) {
    for (uint32_t i = 0; i < lane_request_count(sorting->request); i++) {
        if (sorting->items[i].kind == kind && sorting->items[i].reason != LANE_REASON_NONE) {
            return sorting->items[i].reason;
        }
    }
    return LANE_REASON_REJECTED;
}

/* Gives a failed event without a reason one, so that groups by reason end. */
static void name_reasons(struct sorting *sorting) {
    for (uint32_t i = 0; i < lane_request_count(sorting->request); i++) {
        struct lane_item *item = &sorting->items[i];
        if (item->kind == LANE_ITEM_THROTTLED) {
            item->reason = LANE_REASON_THROTTLED;
        } else if (item->reason == LANE_REASON_NONE) {
            item->reason = LANE_REASON_REJECTED;
        }
    }
}

/* Throttled too long, or at the end of the attempts: it goes the harder way. */
static void harden(struct sorting *sorting, enum lane_item_kind from, enum lane_item_kind to) {
    for (uint32_t i = 0; i < lane_request_count(sorting->request); i++) {
        if (sorting->items[i].kind == from) {
            sorting->items[i].kind = (uint8_t)to;
        }
    }
}

static struct lane_record record_of(struct sorting *sorting, uint8_t reason, bool is_spent) {
    bool is_first = !sorting->is_recorded;
    sorting->is_recorded = true;
    return (struct lane_record){.reason = reason,
                                .status = sorting->result->status,
                                .attempt =
                                    (uint16_t)(sorting->request->attempt + (is_spent ? 1 : 0)),
                                .from_attempt = is_first};
}

static void bury(struct sorting *sorting) {
    while (count(sorting, LANE_ITEM_PERMANENT) > 0) {
        struct group group;
        uint8_t reason = reason_of(sorting, LANE_ITEM_PERMANENT);
        take(sorting, LANE_ITEM_PERMANENT, reason, &group);
        struct lane_record part = record_of(sorting, reason, true);
        part.kind = LANE_RECORD_DEAD;
        part.positions = group.positions;
        part.n_positions = group.n;
        lane_record(sorting->lane, sorting->request, sorting->now, part);
    }
}

static mr_mono due_by_policy(const struct sorting *sorting) {
    struct lane *lane = sorting->lane;
    struct lane_hooks *hooks = &lane->shared->hooks;
    int64_t delay = (int64_t)policy_delay_ms(
        &lane->settings.policy, (uint32_t)sorting->request->attempt + 1, hooks->random(hooks->ctx));
    return mr_mono_add_ms(sorting->now.mono, delay);
}

static mr_mono later(mr_mono a, mr_mono b) {
    return mr_mono_before(a, b) ? b : a;
}

/* When throttled events go again. */
static mr_mono due_throttled(const struct sorting *sorting) {
    return later(sorting->lane->gate_until, mr_mono_add_ms(sorting->now.mono, THROTTLED_WAIT_MS));
}

/* The throttled ones become a request of their own. False without memory: nothing changed. */
static bool part_throttled(struct sorting *sorting) {
    struct lane_request *request = sorting->request;
    struct group group = {.n = 0};
    for (uint32_t i = 0; i < lane_request_count(request); i++) {
        if (sorting->items[i].kind == LANE_ITEM_THROTTLED) {
            group.positions[group.n] = lane_request_positions(request)[i];
            group.keys[group.n++] = lane_request_key(request, i);
        }
    }
    struct lane_request *own =
        lane_request_like(sorting->lane, request, group.positions, group.keys, group.n);
    if (own == NULL) {
        return false;
    }
    take(sorting, LANE_ITEM_THROTTLED, LANE_REASON_NONE, &group);
    lane_request_retry(sorting->lane, own, sorting->now,
                       record_of(sorting, LANE_REASON_THROTTLED, false), due_throttled(sorting));
    return true;
}

/* What is left is to be tried again: throttled, failed, or both. */
static void try_again(struct sorting *sorting) {
    struct lane *lane = sorting->lane;
    struct lane_request *request = sorting->request;
    if (lane_request_count(request) == 0) {
        lane_request_finish_part(lane, request, sorting->now);
        return;
    }
    if (request->is_early) {
        uint8_t reason = sorting->items[0].reason;
        lane_request_retry(lane, request, sorting->now, record_of(sorting, reason, false),
                           later(request->due, sorting->now.mono));
        return;
    }
    uint32_t n_throttled = count(sorting, LANE_ITEM_THROTTLED);
    if (n_throttled == lane_request_count(request)) {
        lane_request_retry(lane, request, sorting->now,
                           record_of(sorting, LANE_REASON_THROTTLED, false),
                           due_throttled(sorting));
        return;
    }
    mr_mono due = due_by_policy(sorting);
    uint8_t reason = reason_of(sorting, LANE_ITEM_RETRY);
    if (n_throttled > 0 && !part_throttled(sorting)) {
        due = later(due, due_throttled(sorting));
    }
    if (reason == LANE_REASON_THROTTLED) {
        due = later(due, due_throttled(sorting));
    }
    lane_request_retry(lane, request, sorting->now, record_of(sorting, reason, true), due);
}

/* What the answer says of the destination. */
static void judge(struct sorting *sorting) {
    struct lane *lane = sorting->lane;
    uint32_t n = lane_request_count(sorting->request);
    uint32_t n_throttled = count(sorting, LANE_ITEM_THROTTLED);
    bool is_content = count(sorting, LANE_ITEM_PERMANENT) == n;
    if (sorting->n_ok > 0) {
        lane_health_success(lane, sorting->request, sorting->now);
        if (sorting->was_current && n_throttled * SHARE_TO_CUT >= n + sorting->n_ok) {
            lane_window_cut(lane);
        }
    } else {
        struct lane_result failed = *sorting->result;
        failed.reason =
            n_throttled > 0 ? (uint8_t)LANE_REASON_THROTTLED : reason_of(sorting, LANE_ITEM_RETRY);
        if (is_content) { /* as a webhook's 400 */
            failed.reason = LANE_REASON_NONE;
            failed.status = 400;
        }
        lane_health_failure(lane, sorting->request, sorting->now, &failed);
    }
    lane_pace(lane, n + sorting->n_ok, n_throttled, sorting->now);
}

/* The record of those that were taken; left is what was copied of the request before it went on. */
static void record_delivered(struct sorting *sorting, const struct lane_request *left,
                             const struct group *ok) {
    if (ok->n == 0) {
        return;
    }
    lane_record(sorting->lane, left, sorting->now,
                (struct lane_record){.kind = LANE_RECORD_DELIVERED,
                                     .status = sorting->result->status,
                                     .attempt = (uint16_t)(left->attempt + 1),
                                     .positions = ok->positions,
                                     .n_positions = ok->n,
                                     .from_attempt = !sorting->is_recorded});
    sorting->is_recorded = true;
}

static void sort(struct sorting *sorting) {
    struct lane *lane = sorting->lane;
    struct lane_request *request = sorting->request;
    struct group ok;
    struct lane_request left = *request;
    take(sorting, LANE_ITEM_OK, LANE_REASON_NONE, &ok);
    sorting->n_ok = ok.n;
    name_reasons(sorting);
    judge(sorting);
    lane_request_shed(lane, request, sorting->now, sorting->items);
    if (mr_wall_ms(sorting->now.wall) - request->first_attempt_ms >= LANE_FREE_RETRY_MS) {
        harden(sorting, LANE_ITEM_THROTTLED, LANE_ITEM_RETRY);
    }
    if (!request->is_early &&
        request->attempt + 1u >= policy_attempts_max(&lane->settings.policy)) {
        harden(sorting, LANE_ITEM_RETRY, LANE_ITEM_PERMANENT);
    }
    bury(sorting);
    try_again(sorting);
    record_delivered(sorting, &left, &ok);
    if (!sorting->is_recorded) {
        lane->shared->credits++; /* all of it was settled or discarded meanwhile */
    }
}

void lane_on_items(struct lane *lane, struct lane_request *request, struct lane_now now,
                   const struct lane_result *result, const struct lane_item *items, uint32_t n) {
    MR_ASSERT(request->state == LANE_REQUEST_FLYING && n == lane_request_count(request));
    struct sorting sorting = {.lane = lane,
                              .request = request,
                              .now = now,
                              .result = result,
                              .was_current = request->generation == lane->generation};
    memcpy(sorting.items, items, n * sizeof items[0]);
    if (count(&sorting, LANE_ITEM_OK) == n) {
        struct lane_result taken = {.status = result->status, .retry_after_ms = -1};
        taken.status = taken.status >= 200 && taken.status <= 299 ? taken.status : 200;
        lane_on_result(lane, request, now, &taken);
        return;
    }
    lane_request_land(lane, request);
    lane_isolate_failed(request);
    sort(&sorting);
}
