/* Deliveries that ended without the lane leave it, wherever they are: without an attempt, without a
 * record. */
#include "support_lane.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define KEY_A UINT64_C(0x10001)
#define KEY_B UINT64_C(0x20001)

static mr_err settle_of(struct rig *rig, uint32_t origin, const uint64_t *positions, size_t n) {
    const struct lane_settled settled = {origin, n, positions};
    size_t records = rig->n_records;
    mr_err err = lane_settle(&rig->lane, &settled, rig->now);
    lane_assert_valid(&rig->lane);
    assert_int_equal(rig->n_records, records);
    return err;
}

/* Positions first, first + step, … */
static void settle(struct rig *rig, uint64_t first, uint64_t step, size_t n) {
    uint64_t positions[64];
    for (size_t i = 0; i < n; i++) {
        positions[i] = first + i * step;
    }
    assert_true(mr_is_ok(settle_of(rig, 0, positions, n)));
}

static void what_waits_leaves_and_the_rest_is_sent(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    for (uint64_t pos = 1; pos <= 40; pos++) {
        rig_event(rig, pos, pos % 2 == 0 ? KEY_A : KEY_B);
    }
    settle(rig, 1, 1, 10); /* the oldest: a prefix of both FIFOs */
    assert_int_equal(rig->lane.backlog_count, 30);
    assert_int_equal(rig->lane.backlog_bytes, 3000);
    settle(rig, 21, 5, 3); /* 21, 26, 31: in the middle */
    assert_int_equal(rig->lane.backlog_count, 27);
    settle(rig, 1, 1, 10); /* known already, or never heard of */
    settle(rig, 1000, 1, 3);
    assert_int_equal(rig->lane.backlog_count, 27);
    rig_decide(rig);
    rig_pass(rig, 100);
    rig_decide(rig);
    assert_int_equal(rig->n_sent, 2);
    assert_int_equal(rig->sent[0].n + rig->sent[1].n, 27);
    for (size_t s = 0; s < 2; s++) {
        for (uint32_t i = 0; i < rig->sent[s].n; i++) {
            uint64_t pos = rig->sent[s].positions[i];
            assert_true(pos > 10 && pos != 21 && pos != 26 && pos != 31);
        }
    }
    rig_free(rig);
}

static void only_the_origin_named_is_meant(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 5, KEY_A);
    for (uint64_t pos = 5; pos > 0; pos--) { /* a redrive, backwards */
        struct backlog_entry entry = {.pos = pos, .key = KEY_A, .origin = 4, .size = 10};
        assert_true(mr_is_ok(lane_on_event(&rig->lane, &entry)));
    }
    const uint64_t positions[] = {2, 4};
    assert_true(mr_is_ok(settle_of(rig, 4, positions, 2)));
    assert_int_equal(rig->lane.backlog_count, 8);
    assert_int_equal(rig->lane.backlog_bytes, 530);
    assert_true(mr_is_ok(settle_of(rig, 9, positions, 2)));
    assert_int_equal(rig->lane.backlog_count, 8);
    rig_free(rig);
}

static void the_shared_fifo_is_searched(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.enabled = false;
    rig_apply(rig);
    for (uint64_t i = 1; i <= 200; i++) {
        rig_event(rig, i, (i % 100) << 16);
    }
    settle(rig, 70, 2, 20); /* half of them behind the 64 keys */
    assert_int_equal(rig->lane.backlog_count, 180);
    rig_free(rig);
}

static void a_waiting_retry_goes_on_without_it(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 10, KEY_A);
    rig_decide(rig);
    rig_status(rig, rig_last(rig)->request, 500);
    settle(rig, 1, 1, 4);
    assert_int_equal(rig->lane.open_events, 6);
    rig_pass(rig, 2000);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->n, 6);
    assert_int_equal(rig_last(rig)->positions[0], 5);
    assert_int_equal(rig_last(rig)->attempt, 2);
    rig_status(rig, rig_last(rig)->request, 500);
    settle(rig, 5, 1, 6); /* all that is left of it */
    assert_true(lane_is_empty(&rig->lane));
    assert_int_equal(rig->shared.credits, 100000);
    rig_free(rig);
}

static void what_flies_leaves_when_it_lands(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 10, KEY_A);
    rig_decide(rig);
    settle(rig, 2, 2, 3); /* 2, 4, 6 */
    settle(rig, 7, 1, 1);
    assert_int_equal(rig->lane.open_events, 10);
    rig_status(rig, rig_last(rig)->request, 500);
    assert_int_equal(rig_last_record(rig)->record.kind, LANE_RECORD_RETRY);
    assert_int_equal(rig_last_record(rig)->record.n_positions, 6);
    assert_int_equal(rig_last_record(rig)->positions[0], 1);
    assert_int_equal(rig_last_record(rig)->positions[1], 3);
    assert_int_equal(rig->lane.open_events, 6);
    rig_pass(rig, 5000);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->n, 6);
    settle(rig, 1, 2, 1);
    rig_status(rig, rig_last(rig)->request, 200); /* the receiver has it: the record says so */
    assert_int_equal(rig_last_record(rig)->record.kind, LANE_RECORD_DELIVERED);
    assert_int_equal(rig_last_record(rig)->record.n_positions, 6);
    assert_true(lane_is_empty(&rig->lane));
    assert_int_equal(rig->shared.credits, 100000);
    rig_free(rig);
}

static void a_flying_request_settled_whole_gives_its_credit_back(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 10, KEY_A);
    rig_decide(rig);
    settle(rig, 1, 1, 10);
    rig_fail(rig, rig_last(rig)->request, LANE_RESULT_TIMEOUT);
    assert_int_equal(rig->n_records, 0);
    assert_true(lane_is_empty(&rig->lane));
    assert_int_equal(rig->shared.credits, 100000);
    rig_free(rig);
}

/* Its payload is being loaded meanwhile. */
static void what_is_settled_before_it_is_composed_is_not_sent(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 10, KEY_A);
    rig_decide(rig);
    struct lane_request *request = rig_last(rig)->request;
    assert_int_equal(lane_on_begin(&rig->lane, request, rig->now), 10);
    settle(rig, 1, 1, 3);
    assert_int_equal(lane_on_begin(&rig->lane, request, rig->now), 7);
    assert_int_equal(lane_request_positions(request)[0], 4);
    lane_assert_valid(&rig->lane);
    settle(rig, 4, 1, 7);
    assert_int_equal(lane_on_begin(&rig->lane, request, rig->now), 0);
    lane_assert_valid(&rig->lane);
    assert_int_equal(rig->n_records, 0);
    assert_true(lane_is_empty(&rig->lane));
    assert_int_equal(rig->shared.credits, 100000);
    rig_free(rig);
}

static void parts_of_a_batch_taken_apart_leave_too(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 8, KEY_A);
    rig_decide(rig);
    rig_status(rig, rig_last(rig)->request, 400); /* halves: 1–4, then 5–8 */
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->n, 4);
    settle(rig, 3, 1, 4); /* 3–6: of the part that flies and of the next */
    rig_status(rig, rig_last(rig)->request, 200);
    assert_int_equal(rig->lane.open_events, 2);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->n, 2);
    assert_int_equal(rig_last(rig)->positions[0], 7);
    rig_status(rig, rig_last(rig)->request, 200);
    assert_true(lane_is_empty(&rig->lane));
    rig_free(rig);
}

static void without_memory_it_is_told_again(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    const uint64_t positions[] = {2, 3};
    rig_events(rig, 1, 10, KEY_A);
    rig_decide(rig);
    rig_events(rig, 11, 10, KEY_A);
    mr_alloc_fail_at(1);
    mr_err err = settle_of(rig, 0, positions, 2);
    mr_alloc_fail_at(0);
    assert_true(mr_err_is(err, MR_E_NOMEM));
    assert_true(mr_is_ok(settle_of(rig, 0, positions, 2)));
    rig_status(rig, rig_last(rig)->request, 500);
    assert_int_equal(rig_last_record(rig)->record.n_positions, 8);
    rig_free(rig);
}

/* A spill whose chunks come back only when they are told to. */
struct away {
    uint8_t bytes[64][BACKLOG_CHUNK_MAX];
    size_t n;
    bool is_slow;
    size_t n_asked;
};

static mr_err put(void *ctx, const void *bytes, size_t size, uint64_t *ret_ref) {
    struct away *away = ctx;
    if (away->n == 64) {
        return MR_ERR(MR_E_LIMIT);
    }
    memcpy(away->bytes[away->n], bytes, size);
    *ret_ref = away->n++;
    return MR_OK;
}

static mr_err get(void *ctx, uint64_t ref, void *bytes, size_t size) {
    struct away *away = ctx;
    away->n_asked++;
    if (away->is_slow) {
        return MR_ERR(MR_E_AGAIN);
    }
    memcpy(bytes, away->bytes[ref], size);
    return MR_OK;
}

static void drop(void *ctx, uint64_t ref) {
    (void)ctx;
    (void)ref;
}

static void chunks_that_are_away_are_waited_for(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    static struct away away;
    rig->shared.backlog.bytes_max = 1;
    rig->shared.backlog.spill = (struct backlog_spill){&away, put, get, drop};
    rig->settings.enabled = false;
    rig_apply(rig);
    rig_events(rig, 1, 20000, KEY_A);
    assert_true(rig->shared.backlog.chunks_spilled > 3);
    away.is_slow = true;
    const uint64_t far[] = {30000};
    assert_true(mr_is_ok(settle_of(rig, 0, far, 1)));
    assert_int_equal(away.n_asked, 0); /* by its range it cannot be there */
    static uint64_t oldest[6000];
    for (size_t i = 0; i < 6000; i++) {
        oldest[i] = i + 1;
    }
    assert_true(mr_err_is(settle_of(rig, 0, oldest, 6000), MR_E_AGAIN));
    away.is_slow = false;
    assert_true(mr_is_ok(settle_of(rig, 0, oldest, 6000)));
    assert_int_equal(rig->lane.backlog_count, 14000);
    const uint64_t middle[] = {9000, 15000};
    assert_true(mr_is_ok(settle_of(rig, 0, middle, 2)));
    assert_int_equal(rig->lane.backlog_count, 13998);
    rig_free(rig);
}

/* One snapshot may tell of a disabling and an enabling at once. */
static void a_lane_that_disabled_itself_goes_on_when_the_epoch_rises(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_event(rig, 1, KEY_A);
    rig_decide(rig);
    rig_status(rig, rig_last(rig)->request, 410);
    assert_int_equal(rig->lane.health, LANE_DISABLED);
    rig_event(rig, 2, KEY_A);
    rig_apply(rig); /* another change */
    assert_int_equal(rig_decide(rig), 0);
    rig->settings.enabled_epoch++;
    rig_apply(rig);
    assert_int_equal(rig_decide(rig), 1);
    rig_free(rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_leaves_and_the_rest_is_sent),
        cmocka_unit_test(only_the_origin_named_is_meant),
        cmocka_unit_test(the_shared_fifo_is_searched),
        cmocka_unit_test(a_waiting_retry_goes_on_without_it),
        cmocka_unit_test(what_flies_leaves_when_it_lands),
        cmocka_unit_test(a_flying_request_settled_whole_gives_its_credit_back),
        cmocka_unit_test(what_is_settled_before_it_is_composed_is_not_sent),
        cmocka_unit_test(parts_of_a_batch_taken_apart_leave_too),
        cmocka_unit_test(without_memory_it_is_told_again),
        cmocka_unit_test(chunks_that_are_away_are_waited_for),
        cmocka_unit_test(a_lane_that_disabled_itself_goes_on_when_the_epoch_rises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
