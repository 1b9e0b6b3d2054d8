/* See support_lane.h. */
#include "support_lane.h"

#include "base/mem.h"

#include <string.h>

static void on_send(void *ctx, struct lane *lane, struct lane_request *request) {
    struct rig *rig = ctx;
    MR_ASSERT(rig->n_sent < RIG_MAX && lane == &rig->lane);
    struct rig_sent *sent = &rig->sent[rig->n_sent++];
    *sent = (struct rig_sent){.request = request,
                              .key = request->key,
                              .origin = request->origin,
                              .form = request->form,
                              .n = lane_request_count(request),
                              .attempt = request->attempt + 1u,
                              .is_retry = request->is_retry,
                              .is_probe = request->is_probe,
                              .is_part = request->is_part,
                              .is_early = request->is_early};
    memcpy(sent->positions, lane_request_positions(request), sent->n * sizeof(uint64_t));
}

static void on_record(void *ctx, struct lane *lane, const struct lane_record *record) {
    struct rig *rig = ctx;
    MR_ASSERT(rig->n_records < RIG_MAX && lane == &rig->lane);
    struct rig_record *kept = &rig->records[rig->n_records++];
    kept->record = *record;
    memcpy(kept->positions, record->positions, record->n_positions * sizeof(uint64_t));
    kept->record.positions = kept->positions;
    if (record->from_attempt) {
        rig->shared.credits++;
    }
}

static void on_notice(void *ctx, struct lane *lane, const struct lane_notice *notice) {
    struct rig *rig = ctx;
    MR_ASSERT(rig->n_notices < RIG_MAX && lane == &rig->lane);
    rig->notices[rig->n_notices++] = *notice;
}

static uint32_t on_random(void *ctx) {
    struct rig *rig = ctx;
    rig->random += rig->random_step;
    return rig->random;
}

struct rig *rig_new(void) {
    struct rig *rig = MR_NEW(struct rig);
    MR_ASSERT(rig != NULL);
    rig->shared.hooks = (struct lane_hooks){rig, on_send, on_record, on_notice, on_random};
    rig->shared.credits = 100000;
    rig->settings = (struct lane_settings){.enabled = true,
                                           .batch_max = 50,
                                           .batch_bytes_max = 1 << 20,
                                           .linger_ms = 50,
                                           .concurrency_max = 32,
                                           .form = 7};
    policy_init_kore(&rig->settings.policy);
    rig->now = (struct lane_now){{1000 * MR_NS_PER_S}, mr_wall_of_ms(INT64_C(1700000000000))};
    lane_init(&rig->lane, &rig->shared, 9, &rig->settings);
    return rig;
}

void rig_free(struct rig *rig) {
    while (rig->lane.flying > 0) {
        for (mr_list *node = rig->lane.open.next; node != &rig->lane.open; node = node->next) {
            struct lane_request *request = MR_CONTAINER(node, struct lane_request, all);
            if (request->state == LANE_REQUEST_FLYING) {
                rig_fail(rig, request, LANE_RESULT_CANCELLED);
                break;
            }
        }
    }
    lane_done(&rig->lane);
    MR_ASSERT(rig->shared.memory_bytes == 0 && rig->shared.backlog.bytes == 0);
    MR_ASSERT(rig->shared.open == 0 && rig->shared.bytes == 0 && rig->shared.flying == 0);
    MR_ASSERT(rig->shared.flying_failing == 0 && rig->shared.bytes_failing == 0);
    mr_free(rig);
}

void rig_apply(struct rig *rig) {
    lane_on_settings(&rig->lane, &rig->settings, rig->now);
    lane_assert_valid(&rig->lane);
}

void rig_event(struct rig *rig, uint64_t pos, uint64_t key) {
    struct backlog_entry entry = {
        .pos = pos, .key = key, .size = 100, .arrived_ms = rig->now.mono.ns / MR_NS_PER_MS};
    mr_err err = lane_on_event(&rig->lane, &entry);
    MR_ASSERT(mr_is_ok(err));
}

void rig_events(struct rig *rig, uint64_t first_pos, uint32_t n, uint64_t key) {
    for (uint32_t i = 0; i < n; i++) {
        rig_event(rig, first_pos + i, key);
    }
}

void rig_pass(struct rig *rig, int64_t ms) {
    rig->now.mono = mr_mono_add_ms(rig->now.mono, ms);
    rig->now.wall.ns += ms * MR_NS_PER_MS;
}

size_t rig_decide(struct rig *rig) {
    size_t before = rig->n_sent;
    rig->wait = lane_decide(&rig->lane, rig->now);
    lane_assert_valid(&rig->lane);
    return rig->n_sent - before;
}

static void result(struct rig *rig, struct lane_request *request, struct lane_result value) {
    lane_on_result(&rig->lane, request, rig->now, &value);
    lane_assert_valid(&rig->lane);
}

void rig_status(struct rig *rig, struct lane_request *request, uint16_t status) {
    rig_throttle(rig, request, status, -1);
}

void rig_throttle(struct rig *rig, struct lane_request *request, uint16_t status,
                  int64_t retry_after_ms) {
    result(rig, request,
           (struct lane_result){
               .kind = LANE_RESULT_STATUS, .status = status, .retry_after_ms = retry_after_ms});
}

void rig_fail(struct rig *rig, struct lane_request *request, enum lane_result_kind kind) {
    result(rig, request, (struct lane_result){.kind = (uint8_t)kind, .retry_after_ms = -1});
}

struct rig_sent *rig_last(struct rig *rig) {
    MR_ASSERT(rig->n_sent > 0);
    return &rig->sent[rig->n_sent - 1];
}

struct rig_record *rig_last_record(struct rig *rig) {
    MR_ASSERT(rig->n_records > 0);
    return &rig->records[rig->n_records - 1];
}

size_t rig_count_notices(const struct rig *rig, enum lane_notice_kind kind) {
    size_t n = 0;
    for (size_t i = 0; i < rig->n_notices; i++) {
        n += rig->notices[i].kind == kind ? 1 : 0;
    }
    return n;
}

size_t rig_count_records(const struct rig *rig, enum lane_record_kind kind) {
    size_t n = 0;
    for (size_t i = 0; i < rig->n_records; i++) {
        n += rig->records[i].record.kind == kind ? 1 : 0;
    }
    return n;
}
