/* Requests whose events fare differently, and lanes that mix keys. */
#include "support_lane.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define KEY_A 0x10001
#define KEY_B 0x20003
#define HOUR  INT64_C(3600000)

/* "o" taken, "r" failed (internal), "t" throttled, "p" permanent (too large), "k" permanent (KMS).
 */
static void answer(struct rig *rig, struct lane_request *request, const char *fates) {
    static const struct lane_result ok = {.status = 200, .retry_after_ms = -1};
    struct lane_item items[LANE_BATCH_MAX];
    uint32_t n = (uint32_t)strlen(fates);
    for (uint32_t i = 0; i < n; i++) {
        items[i] = fates[i] == 'o'   ? (struct lane_item){LANE_ITEM_OK, LANE_REASON_NONE}
                   : fates[i] == 'r' ? (struct lane_item){LANE_ITEM_RETRY, LANE_REASON_INTERNAL}
                   : fates[i] == 't'
                       ? (struct lane_item){LANE_ITEM_THROTTLED, LANE_REASON_THROTTLED}
                   : fates[i] == 'p'
                       ? (struct lane_item){LANE_ITEM_PERMANENT, LANE_REASON_RECORD_TOO_LARGE}
                       : (struct lane_item){LANE_ITEM_PERMANENT, LANE_REASON_KMS};
    }
    lane_on_items(&rig->lane, request, rig->now, &ok, items, n);
    lane_assert_valid(&rig->lane);
}

static struct lane_record *find(struct rig *rig, size_t from, enum lane_record_kind kind,
                                enum lane_reason reason) {
    for (size_t i = from; i < rig->n_records; i++) {
        struct lane_record *record = &rig->records[i].record;
        if (record->kind == kind && record->reason == reason) {
            return record;
        }
    }
    MR_ASSERT(false && "there is no such record");
    return &rig->records[0].record;
}

static void assert_names(const struct lane_record *record, uint32_t n, const uint64_t *positions) {
    assert_int_equal(record->n_positions, n);
    assert_memory_equal(record->positions, positions, n * sizeof positions[0]);
}

static size_t n_ending(const struct rig *rig, size_t from) {
    size_t n = 0;
    for (size_t i = from; i < rig->n_records; i++) {
        n += rig->records[i].record.from_attempt ? 1 : 0;
    }
    return n;
}

static void each_event_goes_its_own_way(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    uint32_t credits = rig->shared.credits;
    rig_events(rig, 1, 8, KEY_A);
    assert_int_equal(rig_decide(rig), 1);
    answer(rig, rig_last(rig)->request, "otprokrt");
    const struct lane_record *delivered = find(rig, 0, LANE_RECORD_DELIVERED, LANE_REASON_NONE);
    assert_names(delivered, 2, (uint64_t[]){1, 5});
    assert_int_equal(delivered->attempt, 1);
    assert_int_equal(delivered->status, 200);
    assert_false(delivered->from_attempt);
    assert_ptr_equal(delivered, &rig_last_record(rig)->record); /* failures first */
    assert_names(find(rig, 0, LANE_RECORD_DEAD, LANE_REASON_RECORD_TOO_LARGE), 1, (uint64_t[]){3});
    assert_names(find(rig, 0, LANE_RECORD_DEAD, LANE_REASON_KMS), 1, (uint64_t[]){6});
    const struct lane_record *throttled = find(rig, 0, LANE_RECORD_RETRY, LANE_REASON_THROTTLED);
    assert_names(throttled, 2, (uint64_t[]){2, 8});
    assert_int_equal(throttled->attempt, 0);
    assert_int_equal(throttled->due_ms - throttled->now_ms, 100);
    const struct lane_record *failed = find(rig, 0, LANE_RECORD_RETRY, LANE_REASON_INTERNAL);
    assert_names(failed, 2, (uint64_t[]){4, 7});
    assert_int_equal(failed->attempt, 1);
    assert_int_equal(failed->due_ms - failed->now_ms, 800); /* the policy's first delay */
    assert_int_equal(rig->n_records, 5);
    assert_int_equal(n_ending(rig, 0), 1);
    assert_int_equal(rig->shared.credits, credits);
    assert_int_equal(rig->lane.n_open, 2);
    /* Each group leaves alone, when it is due. */
    rig_pass(rig, 100);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->n, 2);
    assert_int_equal(rig_last(rig)->positions[0], 2);
    assert_int_equal(rig_last(rig)->attempt, 1);
    answer(rig, rig_last(rig)->request, "oo");
    rig_pass(rig, 700);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->positions[0], 4);
    assert_int_equal(rig_last(rig)->positions[1], 7);
    assert_int_equal(rig_last(rig)->attempt, 2);
    answer(rig, rig_last(rig)->request, "oo");
    assert_true(lane_is_empty(&rig->lane));
    assert_int_equal(rig->shared.credits, credits);
    rig_free(rig);
}

static void an_event_that_fails_each_time_dies_alone(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 4, KEY_A);
    static const char *const fates[] = {"orrr", "rro", "or", "r"};
    for (uint32_t attempt = 1; attempt <= 4; attempt++) {
        assert_int_equal(rig_decide(rig), 1);
        assert_int_equal(rig_last(rig)->attempt, attempt);
        assert_int_equal(rig_last(rig)->n, strlen(fates[attempt - 1]));
        answer(rig, rig_last(rig)->request, fates[attempt - 1]);
        rig_pass(rig, 10000);
    }
    const struct lane_record *dead = find(rig, 0, LANE_RECORD_DEAD, LANE_REASON_INTERNAL);
    assert_names(dead, 1, (uint64_t[]){3});
    assert_int_equal(dead->attempt, 4);
    assert_true(dead->from_attempt);
    assert_int_equal(rig_count_records(rig, LANE_RECORD_DELIVERED), 3);
    assert_true(lane_is_empty(&rig->lane));
    rig_free(rig);
}

static void throttling_spends_no_attempt_for_a_day(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 2, KEY_A);
    uint32_t free_rounds = 0;
    for (int64_t age = 0; age < 24 * HOUR; age += HOUR) {
        assert_int_equal(rig_decide(rig), 1);
        uint32_t n = rig_last(rig)->n;
        answer(rig, rig_last(rig)->request, n == 2 ? "tt" : "t");
        assert_int_equal(rig_last_record(rig)->record.attempt, 0);
        assert_int_equal(rig_last_record(rig)->record.reason, LANE_REASON_THROTTLED);
        free_rounds++;
        rig_pass(rig, HOUR);
        if (rig->lane.probing) {
            break;
        }
    }
    assert_true(free_rounds >= LANE_GENERATIONS_TO_PROBE);
    assert_int_equal(rig_count_records(rig, LANE_RECORD_DEAD), 0);
    rig_pass(rig, 24 * HOUR);
    for (uint32_t attempt = 1; attempt <= 4; attempt++) {
        assert_int_equal(rig_decide(rig), 1);
        uint32_t n = rig_last(rig)->n;
        answer(rig, rig_last(rig)->request, n == 2 ? "tt" : "t");
        assert_int_equal(rig_last_record(rig)->record.attempt, attempt);
        rig_pass(rig, HOUR);
    }
    assert_names(find(rig, 0, LANE_RECORD_DEAD, LANE_REASON_THROTTLED), 2, (uint64_t[]){1, 2});
    rig_free(rig);
}

/* A stream takes 100 events in each 100 ms, and the producer has more than that. */
static void a_throttled_lane_slows_down_and_grows_again(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.batch_max = 50;
    rig_apply(rig);
    uint64_t next = 1;
    uint32_t taken = 0;
    uint32_t requests = 0;
    for (uint32_t tick = 0; tick < 600; tick++) { /* a minute */
        uint32_t room = 100;
        while (rig->lane.backlog_count < 500) {
            rig_events(rig, next, 50, KEY_A);
            next += 50;
        }
        for (uint32_t step = 0; step < 10; step++) {
            size_t before = rig->n_sent;
            rig_decide(rig);
            for (size_t i = before; i < rig->n_sent; i++) {
                char fates[LANE_BATCH_MAX + 1] = "";
                for (uint32_t k = 0; k < rig->sent[i].n; k++) {
                    fates[k] = room > 0 ? 'o' : 't';
                    taken += room > 0 ? 1 : 0;
                    room -= room > 0 ? 1 : 0;
                }
                requests++;
                answer(rig, rig->sent[i].request, fates);
            }
            rig_pass(rig, 10);
        }
        rig->n_sent = 0;
        rig->n_records = 0;
    }
    /* More than a third of what it can take, with few requests in vain. */
    assert_true(taken > 20000);
    assert_true(requests < 3000);
    assert_int_equal(rig_count_notices(rig, LANE_NOTICE_FAILED), 0);
    /* The stream was given more shards: as fast as before in a few requests. */
    for (uint32_t i = 0; i < 100; i++) {
        size_t before = rig->n_sent;
        rig_events(rig, next, 50, KEY_A);
        next += 50;
        rig_decide(rig);
        for (size_t k = before; k < rig->n_sent; k++) {
            char fates[LANE_BATCH_MAX + 1] = "";
            memset(fates, 'o', rig->sent[k].n);
            answer(rig, rig->sent[k].request, fates);
        }
        rig_pass(rig, 100);
    }
    assert_int_equal(rig->lane.pace_ms, 0);
    rig_free(rig);
}

static void a_request_refused_whole_counts_against_the_destination(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    static const uint32_t delays[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    assert_true(mr_is_ok(policy_init_explicit(&rig->settings.policy, delays, 16)));
    rig_apply(rig);
    rig_events(rig, 1, 2, KEY_A);
    for (uint32_t i = 0; i < LANE_GENERATIONS_TO_PROBE; i++) {
        assert_int_equal(rig_decide(rig), 1);
        assert_int_equal(rig_last(rig)->n, 2); /* never taken apart */
        answer(rig, rig_last(rig)->request, "rr");
    }
    assert_int_equal(rig_count_notices(rig, LANE_NOTICE_FAILED), 1);
    assert_int_equal(rig->notices[rig->n_notices - 1].reason, LANE_REASON_INTERNAL);
    rig_pass(rig, 60000);
    assert_int_equal(rig_decide(rig), 1);
    assert_true(rig_last(rig)->is_probe);
    answer(rig, rig_last(rig)->request, "or"); /* one was taken: it is well */
    assert_int_equal(rig_count_notices(rig, LANE_NOTICE_ACTIVE), 1);
    assert_int_equal(rig->lane.failures, 0);
    rig_free(rig);
}

static void a_reason_of_the_whole_request_takes_no_batch_apart(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 3, KEY_A);
    for (uint32_t attempt = 1; attempt <= 4; attempt++) {
        assert_int_equal(rig_decide(rig), 1);
        assert_int_equal(rig_last(rig)->n, 3);
        lane_on_result(&rig->lane, rig_last(rig)->request, rig->now,
                       &(struct lane_result){.status = 400,
                                             .reason = LANE_REASON_ACCESS_DENIED,
                                             .retry_after_ms = -1});
        rig_pass(rig, 10000);
    }
    assert_names(find(rig, 0, LANE_RECORD_DEAD, LANE_REASON_ACCESS_DENIED), 3,
                 (uint64_t[]){1, 2, 3});
    assert_int_equal(rig_count_records(rig, LANE_RECORD_SPLIT), 0);
    rig_free(rig);
}

static void what_was_settled_or_discarded_meanwhile_is_not_tried_again(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.mixes = true;
    rig_apply(rig);
    uint32_t credits = rig->shared.credits;
    for (uint64_t pos = 1; pos <= 8; pos++) {
        rig_event(rig, pos, pos % 2 == 1 ? KEY_A : KEY_B);
    }
    assert_int_equal(rig_decide(rig), 1);
    const struct lane_settled settled = {0, 2, (uint64_t[]){1, 2}};
    assert_true(mr_is_ok(lane_settle(&rig->lane, &settled, rig->now)));
    uint64_t types[] = {lane_key_type(KEY_B)};
    struct lane_discard_spec spec = {7, types, 1}; /* 2, 4 and 6 */
    uint64_t n;
    bool more;
    assert_true(mr_is_ok(lane_discard(&rig->lane, &spec, 10, rig->now, &n, &more)));
    assert_int_equal(n, 0);
    answer(rig, rig_last(rig)->request, "trotrrro");
    assert_names(find(rig, 0, LANE_RECORD_DELIVERED, LANE_REASON_NONE), 2, (uint64_t[]){3, 8});
    assert_names(find(rig, 0, LANE_RECORD_DISCARDED, LANE_REASON_NONE), 2, (uint64_t[]){4, 6});
    assert_names(find(rig, 0, LANE_RECORD_RETRY, LANE_REASON_INTERNAL), 2, (uint64_t[]){5, 7});
    assert_int_equal(rig->n_records, 3);
    assert_int_equal(rig->shared.credits, credits);
    assert_int_equal(n_ending(rig, 0), 1);
    rig_free(rig);
}

static void where_all_was_settled_the_credit_comes_back(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    uint32_t credits = rig->shared.credits;
    rig_events(rig, 1, 2, KEY_A);
    assert_int_equal(rig_decide(rig), 1);
    const struct lane_settled settled = {0, 2, (uint64_t[]){1, 2}};
    assert_true(mr_is_ok(lane_settle(&rig->lane, &settled, rig->now)));
    answer(rig, rig_last(rig)->request, "rt");
    assert_int_equal(rig->n_records, 0);
    assert_int_equal(rig->shared.credits, credits);
    assert_true(lane_is_empty(&rig->lane));
    rig_free(rig);
}

static void without_memory_throttled_and_failed_go_on_together(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 3, KEY_A);
    assert_int_equal(rig_decide(rig), 1);
    mr_alloc_fail_at(1);
    answer(rig, rig_last(rig)->request, "tro");
    mr_alloc_fail_at(0);
    const struct lane_record *retry = find(rig, 0, LANE_RECORD_RETRY, LANE_REASON_INTERNAL);
    assert_names(retry, 2, (uint64_t[]){1, 2});
    assert_int_equal(retry->attempt, 1);
    assert_int_equal(n_ending(rig, 0), 1);
    rig_free(rig);
}

static void a_lane_that_mixes_sends_all_keys_together(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.mixes = true;
    rig->settings.batch_max = 500;
    rig_apply(rig);
    for (uint64_t pos = 1; pos <= 600; pos++) {
        rig_event(rig, pos, pos << 16 | pos % 5); /* 600 types */
    }
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->n, 500);
    for (uint32_t i = 0; i < 500; i++) {
        assert_int_equal(rig_last(rig)->positions[i], i + 1);
        assert_int_equal(lane_request_key(rig_last(rig)->request, i), (i + 1) << 16 | (i + 1) % 5);
    }
    /* What failed keeps its own. */
    char fates[501] = "";
    memset(fates, 'o', 500);
    fates[7] = fates[300] = 'r';
    answer(rig, rig_last(rig)->request, fates);
    rig_pass(rig, 900);
    assert_int_equal(rig_decide(rig), 2);
    const struct rig_sent *again = rig_last(rig)->n == 2 ? rig_last(rig) : rig_last(rig) - 1;
    assert_int_equal(again->n, 2);
    assert_int_equal(lane_request_key(again->request, 0), 8 << 16 | 3);
    assert_int_equal(lane_request_key(again->request, 1), 301 << 16 | 1);
    rig_free(rig);
}

static void discarding_by_type_finds_it_in_mixed_requests_and_backlogs(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.mixes = true;
    rig->settings.batch_max = 4;
    rig->settings.concurrency_max = 1;
    rig_apply(rig);
    for (uint64_t pos = 1; pos <= 10; pos++) {
        rig_event(rig, pos, pos % 2 == 1 ? KEY_A : KEY_B);
    }
    assert_int_equal(rig_decide(rig), 1);
    answer(rig, rig_last(rig)->request, "rrrr");
    uint64_t types[] = {lane_key_type(KEY_A)};
    struct lane_discard_spec spec = {UINT64_MAX, types, 1};
    uint64_t n;
    bool more;
    assert_true(mr_is_ok(lane_discard(&rig->lane, &spec, 100, rig->now, &n, &more)));
    lane_assert_valid(&rig->lane);
    assert_int_equal(n, 5);
    assert_false(more);
    assert_int_equal(rig->lane.backlog_count, 3);
    assert_int_equal(rig->lane.open_events, 2);
    rig_free(rig);
}

static void restored_keys_are_kept(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.mixes = true;
    rig_apply(rig);
    const struct lane_open_request open = {.positions = (uint64_t[]){4, 9},
                                           .n_positions = 2,
                                           .keys = (uint64_t[]){KEY_B, KEY_A},
                                           .key = KEY_B,
                                           .attempt = 1,
                                           .first_attempt_ms = 5};
    assert_true(mr_is_ok(lane_restore_request(&rig->lane, rig->now, &open)));
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(lane_request_key(rig_last(rig)->request, 0), KEY_B);
    assert_int_equal(lane_request_key(rig_last(rig)->request, 1), KEY_A);
    rig_free(rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_goes_its_own_way),
        cmocka_unit_test(an_event_that_fails_each_time_dies_alone),
        cmocka_unit_test(throttling_spends_no_attempt_for_a_day),
        cmocka_unit_test(a_throttled_lane_slows_down_and_grows_again),
        cmocka_unit_test(a_request_refused_whole_counts_against_the_destination),
        cmocka_unit_test(a_reason_of_the_whole_request_takes_no_batch_apart),
        cmocka_unit_test(what_was_settled_or_discarded_meanwhile_is_not_tried_again),
        cmocka_unit_test(where_all_was_settled_the_credit_comes_back),
        cmocka_unit_test(without_memory_throttled_and_failed_go_on_together),
        cmocka_unit_test(a_lane_that_mixes_sends_all_keys_together),
        cmocka_unit_test(discarding_by_type_finds_it_in_mixed_requests_and_backlogs),
        cmocka_unit_test(restored_keys_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
