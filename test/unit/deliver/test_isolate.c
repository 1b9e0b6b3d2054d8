/* Batches taken apart: receivers that refuse some events, or every batch. */
#include "support_lane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define KEY UINT64_C(0x10001)

/* How a receiver answers a request. */
typedef uint16_t (*receiver)(const struct rig_sent *sent);

static uint16_t refuse_event_17(const struct rig_sent *sent) {
    for (uint32_t i = 0; i < sent->n; i++) {
        if (sent->positions[i] == 17) {
            return 400;
        }
    }
    return 200;
}

static uint16_t refuse_every_pair(const struct rig_sent *sent) {
    return sent->n > 1 ? 413 : 200;
}

static uint16_t fail_event_17_with_500(const struct rig_sent *sent) {
    return refuse_event_17(sent) == 400 ? 500 : 200;
}

static uint16_t refuse_every_tenth(const struct rig_sent *sent) {
    for (uint32_t i = 0; i < sent->n; i++) {
        if (sent->positions[i] % 10 == 0) {
            return 422;
        }
    }
    return 200;
}

/* Answers everything sent from *at on, deciding and passing time in between, until nothing is left
 * or ms_max passed. */
static void serve(struct rig *rig, receiver answer, size_t *at, int64_t ms_max) {
    for (int64_t ms = 0; ms < ms_max && !lane_is_empty(&rig->lane); ms += 50) {
        for (int i = 0; i < 200; i++) {
            if (*at == rig->n_sent && rig_decide(rig) == 0) {
                break;
            }
            struct rig_sent *sent = &rig->sent[(*at)++];
            rig_status(rig, sent->request, answer(sent));
        }
        rig_pass(rig, 50);
    }
}

static uint64_t count_positions(const struct rig *rig, enum lane_record_kind kind) {
    uint64_t n = 0;
    for (size_t i = 0; i < rig->n_records; i++) {
        n += rig->records[i].record.kind == kind ? rig->records[i].record.n_positions : 0;
    }
    return n;
}

static void one_bad_event_among_fifty_costs_itself_only(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 50, KEY);
    size_t at = 0;
    serve(rig, refuse_event_17, &at, 60000);
    assert_true(lane_is_empty(&rig->lane));
    assert_int_equal(count_positions(rig, LANE_RECORD_DELIVERED), 49);
    assert_int_equal(count_positions(rig, LANE_RECORD_DEAD), 1);
    assert_int_equal(rig_last_record(rig)->positions[0], 17);
    assert_int_equal(rig_last_record(rig)->record.attempt, 4);
    uint32_t parts = 0;
    for (size_t i = 0; i < rig->n_sent; i++) {
        parts += rig->sent[i].is_part && !(rig->sent[i].n == 1 && rig->sent[i].attempt > 1) ? 1 : 0;
    }
    assert_true(parts <= LANE_ISOLATION_PER_MINUTE);
    assert_int_equal(rig->n_sent, 1 + parts + 3);
    rig_free(rig);
}

static void halves_go_depth_first_with_no_attempt_spent(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 8, KEY);
    rig_decide(rig);
    static const struct {
        uint64_t first;
        uint32_t n;
        uint16_t answer;
    } steps[] = {{1, 8, 400}, {1, 4, 400}, {1, 2, 200}, {3, 2, 400},
                 {3, 1, 200}, {4, 1, 200}, {5, 4, 200}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        assert_int_equal(rig_last(rig)->positions[0], steps[i].first);
        assert_int_equal(rig_last(rig)->n, steps[i].n);
        assert_int_equal(rig_last(rig)->attempt, 1);
        assert_int_equal(rig_last(rig)->is_part, i > 0);
        rig_status(rig, rig_last(rig)->request, steps[i].answer);
        if (steps[i].answer == 400) {
            struct lane_record *record = &rig_last_record(rig)->record;
            assert_int_equal(record->kind, LANE_RECORD_SPLIT);
            assert_int_equal(record->n_positions, steps[i].n);
            assert_int_equal(record->n_first, steps[i].n / 2);
            assert_int_equal(record->attempt, 0);
        }
        assert_int_equal(rig_decide(rig), lane_is_empty(&rig->lane) ? 0 : 1);
    }
    assert_true(lane_is_empty(&rig->lane));
    rig_free(rig);
}

static void a_part_that_fails_does_not_hold_up_the_others(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 8, KEY);
    rig_decide(rig);
    rig_status(rig, rig_last(rig)->request, 422);
    rig_decide(rig);
    rig_fail(rig, rig_last(rig)->request, LANE_RESULT_TIMEOUT); /* [1, 4] waits a second */
    assert_int_equal(rig_last_record(rig)->record.kind, LANE_RECORD_RETRY);
    assert_int_equal(rig_last_record(rig)->record.n_positions, 4);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->positions[0], 5);
    assert_int_equal(rig_last(rig)->attempt, 1);
    rig_status(rig, rig_last(rig)->request, 200);
    assert_int_equal(rig_decide(rig), 0);
    rig_pass(rig, 1200);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->positions[0], 1);
    assert_int_equal(rig_last(rig)->attempt, 2);
    rig_free(rig);
}

static void the_last_attempt_of_an_answered_batch_is_halved(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 20, KEY);
    size_t at = 0;
    serve(rig, fail_event_17_with_500, &at, 120000);
    assert_true(lane_is_empty(&rig->lane));
    assert_int_equal(count_positions(rig, LANE_RECORD_DELIVERED), 19);
    assert_int_equal(count_positions(rig, LANE_RECORD_DEAD), 1);
    assert_int_equal(rig_last_record(rig)->record.attempt, 4);
    rig_free(rig);
}

static void the_last_attempt_without_an_answer_is_not_halved(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    assert_true(mr_is_ok(policy_init_explicit(&rig->settings.policy, NULL, 0)));
    rig_apply(rig);
    rig_events(rig, 1, 20, KEY);
    rig_decide(rig);
    rig_fail(rig, rig_last(rig)->request, LANE_RESULT_RESET);
    assert_int_equal(count_positions(rig, LANE_RECORD_DEAD), 20);
    rig_free(rig);
}

static void extra_requests_are_sixteen_in_any_minute_and_the_rest_waits(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 50, KEY);
    int64_t extra_at[512];
    size_t n_extra = 0;
    size_t at = 0;
    for (int64_t ms = 0; ms < 900000 && !lane_is_empty(&rig->lane); ms += 100) {
        while (at < rig->n_sent || rig_decide(rig) > 0) {
            struct rig_sent *sent = &rig->sent[at++];
            if (sent->is_part && sent->attempt == 1) {
                extra_at[n_extra++] = rig->now.mono.ns;
            }
            rig_status(rig, sent->request, refuse_every_tenth(sent));
        }
        rig_pass(rig, 100);
    }
    assert_true(lane_is_empty(&rig->lane));
    assert_int_equal(count_positions(rig, LANE_RECORD_DELIVERED), 45);
    assert_int_equal(count_positions(rig, LANE_RECORD_DEAD), 5);
    assert_true(n_extra > LANE_ISOLATION_PER_MINUTE);
    for (size_t i = LANE_ISOLATION_PER_MINUTE; i < n_extra; i++) {
        assert_true(extra_at[i] - extra_at[i - LANE_ISOLATION_PER_MINUTE] >= 60 * MR_NS_PER_S);
    }
    rig_free(rig);
}

static void a_part_without_budget_does_not_stand_before_others(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 50, KEY);
    size_t at = 0;
    serve(rig, refuse_every_tenth, &at, 20000);
    assert_false(lane_is_empty(&rig->lane));
    size_t delivered = count_positions(rig, LANE_RECORD_DELIVERED);
    rig_events(rig, 101, 9, KEY);
    serve(rig, refuse_every_tenth, &at, 1000);
    assert_int_equal(count_positions(rig, LANE_RECORD_DELIVERED), delivered + 9);
    rig_free(rig);
}

static void a_receiver_that_refuses_every_pair_gets_all_singly_within_the_minute(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 200, KEY);
    size_t at = 0;
    serve(rig, refuse_every_pair, &at, 5000);
    assert_true(lane_is_empty(&rig->lane));
    assert_int_equal(count_positions(rig, LANE_RECORD_DELIVERED), 200);
    assert_int_equal(count_positions(rig, LANE_RECORD_DEAD), 0);
    assert_int_equal(rig_count_notices(rig, LANE_NOTICE_SINGLE), 1);
    size_t before = rig->n_sent;
    rig_events(rig, 1000, 30, KEY);
    serve(rig, refuse_every_pair, &at, 1000);
    assert_int_equal(rig->n_sent - before, 30);
    rig_pass(rig, LANE_SINGLE_MS);
    rig_events(rig, 2000, 30, KEY);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->n, 30);
    assert_int_equal(rig_count_notices(rig, LANE_NOTICE_SINGLE_OVER), 1);
    rig_free(rig);
}

static void an_accepted_batch_clears_the_suspicion(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    for (uint64_t round = 0; round < 6; round++) {
        rig_events(rig, 1 + 10 * round, 2, KEY);
        rig_decide(rig);
        rig_status(rig, rig_last(rig)->request, 400);
        for (int i = 0; i < 2; i++) {
            rig_decide(rig);
            assert_int_equal(rig_last(rig)->n, 1);
            rig_status(rig, rig_last(rig)->request, 200);
        }
        rig_events(rig, 5 + 10 * round, 2, KEY);
        rig_decide(rig);
        rig_status(rig, rig_last(rig)->request, 200);
        rig_pass(rig, 60000);
    }
    assert_int_equal(rig_count_notices(rig, LANE_NOTICE_SINGLE), 0);
    rig_free(rig);
}

static void restored_single_mode_holds_until_its_end(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    lane_restore_single(&rig->lane, rig->now, mr_wall_ms(rig->now.wall) + 5000);
    rig_events(rig, 1, 4, KEY);
    rig_decide(rig);
    assert_int_equal(rig->sent[0].n, 1);
    rig_status(rig, rig->sent[0].request, 200);
    rig_pass(rig, 5000);
    rig_decide(rig);
    assert_true(rig_last(rig)->n > 1);
    rig_free(rig);
}

static void restored_parts_take_from_the_budget(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    uint64_t positions[2] = {0, 1};
    for (uint64_t i = 0; i < 20; i++) {
        positions[0] += 2;
        positions[1] += 2;
        struct lane_open_request open = {.positions = positions,
                                         .n_positions = 2,
                                         .key = KEY,
                                         .is_part = true,
                                         .first_attempt_ms = 1};
        assert_true(mr_is_ok(lane_restore_request(&rig->lane, rig->now, &open)));
    }
    rig->lane.window = 32 * 256;
    assert_int_equal(rig_decide(rig), LANE_ISOLATION_PER_MINUTE);
    rig_pass(rig, 60000);
    assert_int_equal(rig_decide(rig), 4);
    rig_free(rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_bad_event_among_fifty_costs_itself_only),
        cmocka_unit_test(halves_go_depth_first_with_no_attempt_spent),
        cmocka_unit_test(a_part_that_fails_does_not_hold_up_the_others),
        cmocka_unit_test(the_last_attempt_of_an_answered_batch_is_halved),
        cmocka_unit_test(the_last_attempt_without_an_answer_is_not_halved),
        cmocka_unit_test(extra_requests_are_sixteen_in_any_minute_and_the_rest_waits),
        cmocka_unit_test(a_part_without_budget_does_not_stand_before_others),
        cmocka_unit_test(a_receiver_that_refuses_every_pair_gets_all_singly_within_the_minute),
        cmocka_unit_test(an_accepted_batch_clears_the_suspicion),
        cmocka_unit_test(restored_single_mode_holds_until_its_end),
        cmocka_unit_test(restored_parts_take_from_the_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
