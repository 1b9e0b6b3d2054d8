/* The rules of a lane, one by one. */
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

/* --- when requests leave --- */

static void the_first_event_leaves_at_once(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_event(rig, 8, KEY_A);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->n, 1);
    assert_int_equal(rig_last(rig)->attempt, 1);
    assert_int_equal(rig_last(rig)->form, 7);
    assert_false(rig_last(rig)->is_retry);
    rig_free(rig);
}

static void events_of_one_turn_leave_together(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 8, 20, KEY_A);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->n, 20);
    rig_free(rig);
}

static void while_something_flies_events_wait_for_a_full_batch(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_event(rig, 1, KEY_A);
    rig_decide(rig);
    rig_events(rig, 2, 49, KEY_A);
    assert_int_equal(rig_decide(rig), 0);
    rig_event(rig, 51, KEY_A);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->n, 50);
    rig_free(rig);
}

static void the_oldest_waits_no_longer_than_linger(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_event(rig, 1, KEY_A);
    rig_decide(rig);
    rig_events(rig, 2, 3, KEY_A);
    assert_int_equal(rig_decide(rig), 0);
    assert_int_equal(mr_mono_diff_ms(lane_deadline(&rig->lane), rig->now.mono), 50);
    rig_pass(rig, 49);
    assert_int_equal(rig_decide(rig), 0);
    rig_pass(rig, 1);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->n, 3);
    rig_free(rig);
}

static void an_answer_lets_the_rest_leave(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_event(rig, 1, KEY_A);
    rig_decide(rig);
    rig_events(rig, 2, 3, KEY_A);
    rig_decide(rig);
    rig_status(rig, rig->sent[0].request, 200);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->n, 3);
    rig_free(rig);
}

static void bytes_fill_a_batch_too(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.batch_bytes_max = 1000;
    rig_apply(rig);
    rig_event(rig, 1, KEY_A);
    rig_decide(rig);
    rig_events(rig, 2, 9, KEY_A);
    assert_int_equal(rig_decide(rig), 0);
    rig_event(rig, 11, KEY_A);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->n, 9); /* 1 + 9 × 101 ≤ 1000 */
    rig_free(rig);
}

static void an_event_above_batch_bytes_goes_alone(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.batch_bytes_max = 50;
    rig_apply(rig);
    rig_events(rig, 1, 3, KEY_A);
    rig_decide(rig);
    assert_int_equal(rig->sent[0].n, 1);
    assert_int_equal(rig->sent[1].n, 1);
    rig_free(rig);
}

static void keys_and_origins_are_never_mixed(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.linger_ms = 0;
    rig_apply(rig);
    for (uint64_t i = 0; i < 40; i++) {
        struct backlog_entry entry = {.pos = i,
                                      .key = i % 2 == 0 ? KEY_A : KEY_B,
                                      .origin = (uint32_t)(i / 20),
                                      .arrived_ms = lane_deadline(&rig->lane).ns == 0,
                                      .size = 10};
        assert_true(mr_is_ok(lane_on_event(&rig->lane, &entry)));
    }
    size_t at = 0;
    size_t events = 0;
    do {
        for (; at < rig->n_sent; at++) {
            for (uint32_t i = 0; i < rig->sent[at].n; i++) {
                uint64_t pos = rig->sent[at].positions[i];
                assert_int_equal(rig->sent[at].key, pos % 2 == 0 ? KEY_A : KEY_B);
                assert_int_equal(rig->sent[at].origin, pos / 20);
            }
            events += rig->sent[at].n;
            rig_status(rig, rig->sent[at].request, 204);
        }
    } while (rig_decide(rig) > 0);
    assert_int_equal(events, 40);
    assert_int_equal(rig->n_sent, 4);
    rig_free(rig);
}

static void the_fifo_with_the_oldest_head_goes_first(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.concurrency_max = 1;
    rig_apply(rig);
    rig_event(rig, 1, KEY_B);
    rig_pass(rig, 5);
    rig_events(rig, 2, 3, KEY_A);
    rig_decide(rig);
    assert_int_equal(rig_last(rig)->key, KEY_B);
    rig_status(rig, rig_last(rig)->request, 200);
    rig_decide(rig);
    assert_int_equal(rig_last(rig)->key, KEY_A);
    rig_free(rig);
}

static void age_counts_before_position(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.concurrency_max = 1;
    rig_apply(rig);
    rig_event(rig, 1, KEY_A);
    rig_decide(rig);
    rig_event(rig, 500, KEY_B); /* waits longest, though it stands later in the journal */
    rig_pass(rig, 5);
    rig_event(rig, 2, KEY_A); /* an old event that is replayed */
    rig_status(rig, rig->sent[0].request, 200);
    rig_decide(rig);
    assert_int_equal(rig_last(rig)->key, KEY_B);
    rig_free(rig);
}

static void the_shared_fifo_does_not_mix_origins(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.enabled = false;
    rig_apply(rig);
    for (uint64_t i = 0; i < LANE_KEYS_MAX; i++) {
        rig_event(rig, 1 + i, (100 + i) << 16);
    }
    for (uint64_t i = 0; i < 20; i++) {
        struct backlog_entry entry = {
            .pos = 1000 + i, .key = KEY_A, .origin = (uint32_t)(i / 10), .size = 10};
        assert_true(mr_is_ok(lane_on_event(&rig->lane, &entry)));
    }
    uint64_t type = lane_key_type(KEY_A);
    struct lane_discard_spec spec = {1005, &type, 1};
    uint64_t n;
    bool more;
    assert_true(mr_is_ok(lane_discard(&rig->lane, &spec, 100, rig->now, &n, &more)));
    assert_int_equal(n, 5);
    rig->settings.enabled = true;
    rig_apply(rig);
    size_t mixed = 0;
    size_t at = 0;
    while (at < rig->n_sent || rig_decide(rig) > 0) {
        struct rig_sent *sent = &rig->sent[at++];
        for (uint32_t i = 0; sent->key == KEY_A && i < sent->n; i++) {
            assert_int_equal(sent->origin, (sent->positions[i] - 1000) / 10);
            mixed++;
        }
        rig_status(rig, sent->request, 200);
    }
    assert_int_equal(mixed, 15);
    rig_free(rig);
}

static void a_discard_record_names_one_origin(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.enabled = false;
    rig_apply(rig);
    for (uint64_t i = 0; i < LANE_KEYS_MAX; i++) {
        rig_event(rig, 1 + i, (100 + i) << 16);
    }
    for (uint64_t i = 0; i < 20; i++) {
        struct backlog_entry entry = {
            .pos = 1000 + i, .key = KEY_A, .origin = (uint32_t)(i / 10), .size = 10};
        assert_true(mr_is_ok(lane_on_event(&rig->lane, &entry)));
    }
    struct lane_discard_spec spec = {UINT64_MAX, NULL, 0};
    uint64_t n;
    bool more;
    assert_true(mr_is_ok(lane_discard(&rig->lane, &spec, 1000, rig->now, &n, &more)));
    assert_int_equal(n, LANE_KEYS_MAX + 20);
    for (size_t i = 0; i < rig->n_records; i++) {
        const struct rig_record *record = &rig->records[i];
        for (uint32_t k = 0; k < record->record.n_positions; k++) {
            uint64_t pos = record->positions[k];
            assert_int_equal(record->record.origin, pos < 1000 ? 0 : (pos - 1000) / 10);
        }
    }
    rig_free(rig);
}

static void beyond_64_keys_the_rest_share_a_fifo_and_still_do_not_mix(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.concurrency_max = 1;
    rig_apply(rig);
    for (uint64_t i = 0; i < 400; i++) {
        rig_event(rig, 1 + i, (i % 100) << 16 | 1);
    }
    lane_assert_valid(&rig->lane);
    assert_int_equal(rig->lane.n_fifos, LANE_KEYS_MAX + 1);
    size_t at = 0;
    size_t events = 0;
    while (rig_decide(rig) > 0) {
        struct rig_sent *sent = &rig->sent[at++];
        for (uint32_t i = 0; i < sent->n; i++) {
            assert_int_equal(sent->key, ((sent->positions[i] - 1) % 100) << 16 | 1);
        }
        events += sent->n;
        rig_status(rig, sent->request, 200);
    }
    assert_int_equal(events, 400);
    lane_trim(&rig->lane);
    assert_int_equal(rig->shared.memory_bytes, 0);
    assert_int_equal(rig->shared.backlog.bytes, 0);
    rig_free(rig);
}

static void a_disabled_lane_sends_nothing_and_goes_on_when_enabled(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.enabled = false;
    rig_apply(rig);
    rig_events(rig, 1, 10, KEY_A);
    assert_int_equal(rig_decide(rig), 0);
    assert_int_equal(lane_deadline(&rig->lane).ns, INT64_MAX);
    rig->settings.enabled = true;
    rig_apply(rig);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->n, 10);
    rig_free(rig);
}

static void rate_spaces_requests(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.rate_per_second = 4;
    rig->settings.batch_max = 1;
    rig_apply(rig);
    rig_events(rig, 1, 9, KEY_A);
    uint32_t sent = 0;
    for (int64_t ms = 0; ms < 2000; ms += 10) {
        size_t n = rig_decide(rig);
        assert_true(n <= 1);
        if (n == 1) {
            assert_int_equal(ms % 250, 0);
            rig_status(rig, rig_last(rig)->request, 200);
            sent++;
        } else if (sent < 9) {
            assert_true(lane_deadline(&rig->lane).ns > rig->now.mono.ns);
        }
        rig_pass(rig, 10);
    }
    assert_int_equal(sent, 8);
    rig_free(rig);
}

static void a_turn_renders_64_kib(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.batch_max = 1;
    rig_apply(rig);
    rig->lane.window = 32 * 256;
    for (uint64_t i = 0; i < 10; i++) {
        struct backlog_entry entry = {.pos = 1 + i, .key = KEY_A, .size = 20000};
        assert_true(mr_is_ok(lane_on_event(&rig->lane, &entry)));
    }
    assert_int_equal(rig_decide(rig), 4);
    assert_int_equal(rig->wait, LANE_WAIT_TURN);
    assert_int_equal(rig_decide(rig), 4);
    rig_free(rig);
}

/* --- bounds shared by lanes --- */

static void without_a_credit_nothing_leaves(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->shared.credits = 1;
    rig->settings.batch_max = 1;
    rig_apply(rig);
    rig_events(rig, 1, 3, KEY_A);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig->wait, LANE_WAIT_SHARED);
    assert_int_equal(rig->shared.credits, 0);
    rig_fail(rig, rig_last(rig)->request, LANE_RESULT_CANCELLED);
    assert_int_equal(rig->shared.credits, 1);
    assert_int_equal(rig->n_records, 0);
    rig_free(rig);
}

static void connections_are_shared_and_a_failing_lane_gets_half(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.batch_max = 1;
    rig_apply(rig);
    rig->lane.window = 32 * 256;
    rig->shared.flying_max = 8;
    rig_events(rig, 1, 100, KEY_A);
    assert_int_equal(rig_decide(rig), 6); /* beyond three quarters only lanes with none in flight */
    assert_int_equal(rig->wait, LANE_WAIT_SHARED);
    for (size_t i = 0; i < 6; i++) {
        rig_fail(rig, rig->sent[i].request, LANE_RESULT_CONNECT);
    }
    assert_true(rig->lane.window_failed);
    assert_int_equal(rig_decide(rig), 4);
    assert_int_equal(rig->shared.flying_failing, 4);
    rig->shared.flying += 8; /* others have all */
    for (size_t i = 6; i < 10; i++) {
        rig_status(rig, rig->sent[i].request, 200);
    }
    assert_int_equal(rig_decide(rig), 0);
    rig->shared.flying -= 8;
    rig_free(rig);
}

static void bytes_in_flight_are_bounded(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.batch_max = 1;
    rig_apply(rig);
    rig->lane.window = 32 * 256;
    rig->shared.bytes_max = 1000;
    for (uint64_t i = 0; i < 10; i++) {
        struct backlog_entry entry = {.pos = 1 + i, .key = KEY_A, .size = 300};
        assert_true(mr_is_ok(lane_on_event(&rig->lane, &entry)));
    }
    assert_int_equal(rig_decide(rig), 3);
    assert_int_equal(rig->wait, LANE_WAIT_SHARED);
    lane_on_body_sent(&rig->lane, rig->sent[0].request);
    assert_int_equal(rig_decide(rig), 1);
    rig->lane.window_failed = true; /* a failing lane: a quarter */
    lane_on_body_sent(&rig->lane, rig->sent[1].request);
    lane_on_body_sent(&rig->lane, rig->sent[2].request);
    lane_on_body_sent(&rig->lane, rig->sent[3].request);
    assert_int_equal(rig->shared.bytes, 0);
    assert_int_equal(rig_decide(rig), 1);
    rig_free(rig);
}

static void past_half_only_lanes_with_little_in_flight_render(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.batch_max = 1;
    rig_apply(rig);
    rig->lane.window = 32 * 256;
    rig->shared.bytes_max = 4 << 20;
    rig->shared.bytes = 3 << 20; /* of others */
    for (uint64_t i = 0; i < 10; i++) {
        struct backlog_entry entry = {.pos = 1 + i, .key = KEY_A, .size = 100 << 10};
        assert_true(mr_is_ok(lane_on_event(&rig->lane, &entry)));
    }
    size_t n = 0;
    do {
        n += rig_decide(rig);
    } while (rig->wait == LANE_WAIT_TURN);
    assert_int_equal(n, 3); /* 300 KiB: at or above 256 KiB it stops */
    rig->shared.bytes -= 3 << 20;
    rig_free(rig);
}

static void at_the_bound_of_open_requests_first_attempts_wait(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.batch_max = 1;
    rig->settings.concurrency_max = 1;
    rig_apply(rig);
    rig_events(rig, 1, 10, KEY_A);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(rig_decide(rig), 1);
        rig_fail(rig, rig_last(rig)->request, LANE_RESULT_CONNECT);
    }
    assert_int_equal(rig_decide(rig),
                     0); /* two open = twice the window; both wait for their time */
    assert_int_equal(rig->lane.backlog_count, 8);
    rig->shared.open_max = 2;
    rig->lane.window = 4 * 256;
    rig->settings.concurrency_max = 4;
    rig_apply(rig);
    rig->lane.window = 4 * 256;
    assert_int_equal(rig_decide(rig), 0);
    assert_int_equal(rig->wait, LANE_WAIT_SHARED);
    rig->shared.open_max = 3;
    assert_int_equal(rig_decide(rig), 1);
    rig_free(rig);
}

/* --- retries --- */

static void kore_policy_makes_four_attempts_then_a_dead_letter(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 3, KEY_A);
    static const int64_t waits[] = {800, 1600, 3200};
    for (uint32_t attempt = 1; attempt <= 4; attempt++) {
        assert_int_equal(rig_decide(rig), 1);
        assert_int_equal(rig_last(rig)->attempt, attempt);
        assert_int_equal(rig_last(rig)->n, 3);
        assert_int_equal(rig_last(rig)->is_retry, attempt > 1);
        rig_fail(rig, rig_last(rig)->request, LANE_RESULT_TIMEOUT);
        if (attempt < 4) {
            struct lane_record *record = &rig_last_record(rig)->record;
            assert_int_equal(record->kind, LANE_RECORD_RETRY);
            assert_int_equal(record->attempt, attempt);
            assert_int_equal(record->due_ms - record->now_ms, waits[attempt - 1]);
            assert_int_equal(rig_decide(rig), 0);
            assert_int_equal(mr_mono_diff_ms(lane_deadline(&rig->lane), rig->now.mono),
                             waits[attempt - 1]);
            rig_pass(rig, waits[attempt - 1] - 1);
            assert_int_equal(rig_decide(rig), 0);
            rig_pass(rig, 1);
        }
    }
    struct rig_record *dead = rig_last_record(rig);
    assert_int_equal(dead->record.kind, LANE_RECORD_DEAD);
    assert_int_equal(dead->record.reason, LANE_REASON_TIMEOUT);
    assert_int_equal(dead->record.attempt, 4);
    assert_int_equal(dead->record.n_positions, 3);
    assert_int_equal(dead->positions[2], 3);
    assert_true(dead->record.from_attempt);
    assert_true(lane_is_empty(&rig->lane));
    rig_free(rig);
}

static void every_failure_has_its_reason(void **state) {
    (void)state;
    static const struct {
        enum lane_result_kind kind;
        enum lane_reason reason;
        const char *name;
    } rows[] = {
        {LANE_RESULT_TIMEOUT, LANE_REASON_TIMEOUT, "timeout"},
        {LANE_RESULT_NAME, LANE_REASON_NAME, "name"},
        {LANE_RESULT_ADDRESS, LANE_REASON_ADDRESS, "address_refused"},
        {LANE_RESULT_CONNECT, LANE_REASON_CONNECT, "connect"},
        {LANE_RESULT_TLS, LANE_REASON_TLS, "tls"},
        {LANE_RESULT_RESET, LANE_REASON_RESET, "reset"},
        {LANE_RESULT_RESPONSE, LANE_REASON_RESPONSE, "response"},
        {LANE_RESULT_REQUEST, LANE_REASON_REQUEST, "request"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig *rig = rig_new();
        assert_true(mr_is_ok(policy_init_explicit(&rig->settings.policy, NULL, 0)));
        rig_apply(rig);
        rig_events(rig, 1, 2, KEY_A);
        rig_decide(rig);
        rig_fail(rig, rig_last(rig)->request, rows[i].kind);
        assert_int_equal(rig_last_record(rig)->record.kind, LANE_RECORD_DEAD);
        assert_int_equal(rig_last_record(rig)->record.reason, rows[i].reason);
        assert_string_equal(lane_reason_name(rows[i].reason), rows[i].name);
        rig_free(rig);
    }
}

static void a_request_keeps_its_form_and_events_when_settings_change(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 3, KEY_A);
    rig_decide(rig);
    rig_status(rig, rig_last(rig)->request, 500);
    rig->settings.form = 99;
    rig->settings.batch_max = 1;
    rig_apply(rig);
    rig_pass(rig, 1200);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->form, 7);
    assert_int_equal(rig_last(rig)->n, 3);
    rig_event(rig, 4, KEY_A);
    rig_pass(rig, 60);
    rig_decide(rig);
    rig_free(rig);
}

static void cancelled_spends_nothing_and_records_nothing(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 3, KEY_A);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(rig_decide(rig), 1);
        assert_int_equal(rig_last(rig)->attempt, 1);
        rig_fail(rig, rig_last(rig)->request, LANE_RESULT_CANCELLED);
    }
    assert_int_equal(rig->n_records, 0);
    rig_free(rig);
}

static void gone_kills_and_disables(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 3, KEY_A);
    rig_decide(rig);
    rig_events(rig, 4, 60, KEY_A);
    rig_decide(rig);
    rig_status(rig, rig->sent[0].request, 410);
    assert_int_equal(rig_last_record(rig)->record.kind, LANE_RECORD_DEAD);
    assert_int_equal(rig_last_record(rig)->record.reason, LANE_REASON_GONE);
    assert_int_equal(rig_last_record(rig)->record.status, 410);
    assert_int_equal(rig_count_notices(rig, LANE_NOTICE_DISABLE_GONE), 1);
    assert_int_equal(rig->lane.health, LANE_DISABLED);
    rig_status(rig, rig->sent[1].request, 410);
    assert_int_equal(rig_count_notices(rig, LANE_NOTICE_DISABLE_GONE), 1);
    rig_pass(rig, 100000);
    assert_int_equal(rig_decide(rig), 0);
    assert_int_equal(rig->lane.backlog_count, 10); /* what was not sent stays pending */
    rig_apply(rig);                                /* a settings change that is no enabling */
    assert_int_equal(rig_decide(rig), 0);
    rig->settings.enabled_epoch++;
    rig_apply(rig);
    assert_int_equal(rig->lane.health, LANE_ACTIVE);
    assert_int_equal(rig_decide(rig), 1);
    rig_free(rig);
}

static void due_retries_and_first_attempts_share_the_window(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.batch_max = 1;
    rig->settings.concurrency_max = 8;
    rig_apply(rig);
    rig->lane.window = 8 * 256;
    rig_events(rig, 1, 8, KEY_A);
    assert_int_equal(rig_decide(rig), 8);
    for (size_t i = 0; i < 8; i++) {
        rig_fail(rig, rig->sent[i].request, LANE_RESULT_CONNECT);
    }
    rig_pass(rig, 1200);
    rig_events(rig, 100, 20, KEY_A);
    assert_int_equal(rig_decide(rig), 8);
    uint32_t retries = 0;
    for (size_t i = 8; i < 16; i++) {
        retries += rig->sent[i].is_retry ? 1 : 0;
    }
    assert_int_equal(retries, 4);
    rig_free(rig);
}

static void at_a_window_of_one_they_alternate(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.batch_max = 1;
    rig->settings.concurrency_max = 1;
    static const uint32_t delays[] = {1, 1, 1, 1, 1, 1};
    assert_true(mr_is_ok(policy_init_explicit(&rig->settings.policy, delays, 6)));
    rig_apply(rig);
    rig_events(rig, 1, 40, KEY_A);
    rig_decide(rig);
    rig_status(rig, rig_last(rig)->request, 404);
    bool last = false;
    for (int i = 0; i < 8; i++) {
        rig_pass(rig, 5);
        assert_int_equal(rig_decide(rig), 1);
        if (i > 0) {
            assert_int_not_equal(rig_last(rig)->is_retry, last);
        }
        last = rig_last(rig)->is_retry;
        rig_status(rig, rig_last(rig)->request, last ? 404 : 200);
        if (rig->lane.n_open == 0) {
            break;
        }
    }
    rig_free(rig);
}

/* --- Retry-After --- */

static void retry_after_gates_the_lane_and_spends_no_attempt_for_a_day(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 2, KEY_A);
    int64_t waited = 0;
    uint32_t rounds = 0;
    while (waited < 2 * LANE_FREE_RETRY_MS) {
        assert_int_equal(rig_decide(rig), 1);
        uint32_t attempt = rig_last(rig)->attempt;
        rig_throttle(rig, rig_last(rig)->request, 429, 7200 * 1000);
        if (waited < LANE_FREE_RETRY_MS) {
            assert_int_equal(attempt, 1);
            assert_int_equal(rig_last_record(rig)->record.reason, LANE_REASON_THROTTLED);
            assert_int_equal(rig_last_record(rig)->record.attempt, 0);
        } else if (lane_is_empty(&rig->lane) || rig_last(rig)->is_part) {
            break;
        }
        rig_event(rig, 1000 + rounds, KEY_B);
        assert_int_equal(rig_decide(rig), 0);
        int64_t wait = mr_mono_diff_ms(lane_deadline(&rig->lane), rig->now.mono);
        assert_int_equal(wait, LANE_GATE_MS_MAX); /* clamped to an hour */
        uint64_t types[] = {lane_key_type(KEY_B)};
        struct lane_discard_spec spec = {UINT64_MAX, types, 1};
        uint64_t n;
        bool more;
        assert_true(mr_is_ok(lane_discard(&rig->lane, &spec, 10, rig->now, &n, &more)));
        assert_int_equal(n, 1);
        rig_pass(rig, wait);
        waited += wait;
        rounds++;
    }
    assert_true(rounds >= 24 && rounds < 32);
    rig_free(rig);
}

static void retry_after_is_at_least_a_second(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_event(rig, 1, KEY_A);
    rig_decide(rig);
    rig_throttle(rig, rig_last(rig)->request, 503, 0);
    rig_decide(rig);
    assert_int_equal(mr_mono_diff_ms(lane_deadline(&rig->lane), rig->now.mono), 1000);
    rig_free(rig);
}

static void retry_after_counts_on_429_and_503_only(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_event(rig, 1, KEY_A);
    rig_decide(rig);
    rig_throttle(rig, rig_last(rig)->request, 500, 60000);
    assert_int_equal(rig_last_record(rig)->record.attempt, 1);
    rig_event(rig, 2, KEY_A);
    assert_int_equal(rig_decide(rig), 1);
    rig_free(rig);
}

/* --- window --- */

static uint32_t window_of(const struct rig *rig) {
    struct lane_stats stats;
    lane_stats_get(&rig->lane, rig->now, &stats);
    return stats.window;
}

static void the_window_starts_at_two_and_grows_when_used(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.batch_max = 1;
    rig_apply(rig);
    assert_int_equal(window_of(rig), 2);
    for (uint64_t i = 1; i < 20; i++) { /* one at a time never fills it */
        rig_event(rig, i, KEY_A);
        rig_decide(rig);
        rig_status(rig, rig_last(rig)->request, 200);
    }
    assert_int_equal(window_of(rig), 2);
    rig_events(rig, 100, 300, KEY_A);
    size_t at = rig->n_sent;
    rig_decide(rig);
    while (at < rig->n_sent) {
        rig_status(rig, rig->sent[at++].request, 200);
        rig_decide(rig);
    }
    assert_int_equal(window_of(rig), 32);
    rig_free(rig);
}

static void a_burst_of_failures_halves_the_window_once(void **state) {
    (void)state;
    static const uint16_t statuses[] = {429, 500, 503, 599, 0};
    for (size_t row = 0; row < 5; row++) {
        struct rig *rig = rig_new();
        rig->settings.batch_max = 1;
        rig_apply(rig);
        rig->lane.window = 16 * 256;
        rig_events(rig, 1, 16, KEY_A);
        assert_int_equal(rig_decide(rig), 16);
        for (size_t i = 0; i < 16; i++) {
            if (statuses[row] == 0) {
                rig_fail(rig, rig->sent[i].request, LANE_RESULT_TIMEOUT);
            } else {
                rig_status(rig, rig->sent[i].request, statuses[row]);
            }
        }
        assert_int_equal(window_of(rig), 8);
        assert_int_equal(rig->lane.failed_generations, 1);
        rig_free(rig);
    }
}

static void refusals_and_lost_connections_do_not_halve_it(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.batch_max = 1;
    rig_apply(rig);
    rig->lane.window = 16 * 256;
    rig_events(rig, 1, 16, KEY_A);
    rig_decide(rig);
    for (size_t i = 0; i < 16; i++) {
        switch (i % 3) {
        case 0:
            rig_status(rig, rig->sent[i].request, 404);
            break;
        case 1:
            rig_fail(rig, rig->sent[i].request, LANE_RESULT_CONNECT);
            break;
        default:
            rig_status(rig, rig->sent[i].request, 422);
            break;
        }
    }
    assert_int_equal(window_of(rig), 16);
    rig_free(rig);
}

static void after_a_cut_it_grows_by_one_per_window(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.batch_max = 1;
    rig_apply(rig);
    rig->lane.window = 16 * 256;
    rig_events(rig, 1, 16, KEY_A);
    rig_decide(rig);
    rig_status(rig, rig->sent[0].request, 500);
    for (size_t i = 1; i < 16; i++) {
        rig_status(rig, rig->sent[i].request, 200);
    }
    uint32_t before = rig->lane.window;
    assert_true(before >= 8 * 256 && before < 11 * 256);
    rig_events(rig, 100, 50, KEY_A);
    rig_pass(rig, 100);
    size_t at = rig->n_sent;
    size_t n = rig_decide(rig);
    for (size_t i = 0; i < n; i++) {
        rig_status(rig, rig->sent[at + i].request, 200);
    }
    assert_true(rig->lane.window > before && rig->lane.window <= before + 256);
    rig_free(rig);
}

static void fail_until_probing(struct rig *rig) {
    uint64_t pos = 100000;
    while (!rig->lane.probing) {
        rig_event(rig, pos++, KEY_A);
        rig_pass(rig, 20000);
        size_t at = rig->n_sent;
        rig_decide(rig);
        for (; at < rig->n_sent; at++) {
            rig_status(rig, rig->sent[at].request, 500);
        }
    }
}

static void ten_failed_generations_begin_probing_and_a_success_ends_it(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    static const uint32_t delays[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    assert_true(mr_is_ok(policy_init_explicit(&rig->settings.policy, delays, 16)));
    rig_apply(rig);
    fail_until_probing(rig);
    assert_int_equal(rig->lane.failed_generations, 10);
    assert_int_equal(rig_count_notices(rig, LANE_NOTICE_FAILED), 1);
    assert_int_equal(rig->lane.health, LANE_FAILED);
    uint64_t waiting = rig->lane.backlog_count;
    int64_t wait = 1000;
    for (int i = 0; i < 5; i++) {
        rig_events(rig, 500000 + (uint64_t)i * 100, 60, KEY_B);
        rig_pass(rig, wait - 1);
        assert_int_equal(rig_decide(rig), 0);
        assert_int_equal(mr_mono_diff_ms(lane_deadline(&rig->lane), rig->now.mono), 1);
        rig_pass(rig, 1);
        assert_int_equal(rig_decide(rig), 1);
        assert_true(rig_last(rig)->is_probe && rig_last(rig)->is_retry);
        assert_int_equal(rig_decide(rig), 0);
        rig_status(rig, rig_last(rig)->request, 500);
        wait *= 2;
        waiting += 60;
        assert_int_equal(rig->lane.backlog_count, waiting); /* unspent */
    }
    rig_pass(rig, wait);
    assert_int_equal(rig_decide(rig), 1);
    rig_status(rig, rig_last(rig)->request, 200);
    assert_false(rig->lane.probing);
    assert_int_equal(rig_count_notices(rig, LANE_NOTICE_ACTIVE), 1);
    assert_int_equal(window_of(rig), 2);
    rig_free(rig);
}

static void probes_come_at_least_once_a_minute_and_take_one_event_of_the_backlog(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    assert_true(mr_is_ok(policy_init_explicit(&rig->settings.policy, NULL, 0)));
    rig_apply(rig);
    rig->lane.window = 256;
    fail_until_probing(rig);
    rig_events(rig, 1, 200, KEY_A);
    for (int i = 0; i < 12; i++) {
        int64_t wait = mr_mono_diff_ms(rig->lane.probe_at, rig->now.mono);
        assert_true(wait <= LANE_PROBE_MS_MAX);
        rig_pass(rig, wait);
        assert_int_equal(rig_decide(rig), 1);
        assert_int_equal(rig_last(rig)->n, 1);
        rig_fail(rig, rig_last(rig)->request, LANE_RESULT_CONNECT);
    }
    assert_int_equal(rig->lane.probe_ms, LANE_PROBE_MS_MAX);
    rig_free(rig);
}

static void where_retries_are_hours_away_one_probes_early_and_spends_nothing(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    static const uint32_t delays[] = {36000000, 36000000};
    assert_true(mr_is_ok(policy_init_explicit(&rig->settings.policy, delays, 2)));
    rig_apply(rig);
    fail_until_probing(rig);
    int64_t due = rig->lane.heap[0]->due.ns;
    uint32_t attempt = rig->lane.heap[0]->attempt;
    for (int i = 0; i < 5; i++) {
        rig_pass(rig, rig->lane.probe_ms);
        assert_int_equal(rig_decide(rig), 1);
        assert_true(rig_last(rig)->is_probe);
        assert_int_equal(rig_last(rig)->attempt, attempt + 1);
        rig_status(rig, rig_last(rig)->request, 500);
        assert_int_equal(rig_last_record(rig)->record.kind, LANE_RECORD_RETRY);
        assert_int_equal(rig_last_record(rig)->record.attempt, attempt);
        assert_int_equal(rig->lane.heap[0]->due.ns, due);
    }
    rig_free(rig);
}

static void a_lane_at_its_bound_probes_once_a_minute(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    static const uint32_t delays[] = {36000000, 36000000};
    assert_true(mr_is_ok(policy_init_explicit(&rig->settings.policy, delays, 2)));
    rig->settings.concurrency_max = 1;
    rig->settings.batch_max = 1;
    rig_apply(rig);
    rig_events(rig, 1, 10, KEY_A);
    for (int i = 0; i < 2; i++) {
        rig_decide(rig);
        rig_status(rig, rig_last(rig)->request, 500);
    }
    assert_int_equal(rig_decide(rig), 1);
    assert_true(rig_last(rig)->is_early);
    rig_status(rig, rig_last(rig)->request, 500);
    assert_int_equal(rig_last_record(rig)->record.attempt, 1);
    assert_int_equal(rig_decide(rig), 0);
    assert_int_equal(mr_mono_diff_ms(lane_deadline(&rig->lane), rig->now.mono), LANE_PROBE_MS_MAX);
    rig_pass(rig, LANE_PROBE_MS_MAX);
    assert_int_equal(rig_decide(rig), 1);
    rig_status(rig, rig_last(rig)->request, 200);
    assert_int_equal(rig_decide(rig), 1);
    assert_false(rig_last(rig)->is_retry); /* the backlog moves again */
    rig_free(rig);
}

static void five_days_of_failure_warn_thrice_then_disable(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    policy_init_standard(&rig->settings.policy);
    rig->settings.batch_max = 1;
    rig_apply(rig);
    uint64_t pos = 1;
    int64_t start = rig->now.mono.ns;
    int64_t when[4] = {0};
    size_t seen = 0;
    while (rig->lane.health != LANE_DISABLED && pos < 4000) {
        rig_event(rig, pos++, KEY_A);
        rig_pass(rig, 600000);
        size_t at = rig->n_sent;
        rig_decide(rig);
        for (; at < rig->n_sent; at++) {
            rig_status(rig, rig->sent[at].request, 500);
        }
        size_t warned = rig_count_notices(rig, LANE_NOTICE_WARN);
        if (warned > seen) {
            assert_int_equal(warned, seen + 1);
            when[seen++] = (rig->now.mono.ns - start) / MR_NS_PER_MS;
        }
    }
    assert_int_equal(seen, 3);
    static const int64_t percent[] = {50, 70, 90};
    for (size_t i = 0; i < 3; i++) {
        int64_t want = LANE_FAILING_MS * percent[i] / 100;
        assert_true(when[i] >= want && when[i] < want + 2 * 600000);
    }
    int64_t end = (rig->now.mono.ns - start) / MR_NS_PER_MS;
    assert_true(end >= LANE_FAILING_MS && end < LANE_FAILING_MS + 2 * 600000 + 60000);
    assert_int_equal(rig_count_notices(rig, LANE_NOTICE_DISABLE_FAILING), 1);
    rig_free(rig);
}

static void two_bad_events_in_a_quiet_week_disable_nothing(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    assert_true(mr_is_ok(policy_init_explicit(&rig->settings.policy, NULL, 0)));
    rig_apply(rig);
    for (uint64_t i = 1; i <= 4; i++) {
        rig_event(rig, i, KEY_A);
        rig_decide(rig);
        rig_status(rig, rig_last(rig)->request, 500);
        rig_pass(rig, LANE_FAILING_MS / 2 + 1);
    }
    assert_int_not_equal(rig->lane.health, LANE_DISABLED);
    rig_free(rig);
}

static void a_restart_does_not_begin_the_five_days_again(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    lane_restore_failing(&rig->lane, rig->now, mr_wall_ms(rig->now.wall) - LANE_FAILING_MS);
    rig->settings.batch_max = 1;
    rig_apply(rig);
    rig_events(rig, 1, 50, KEY_A);
    for (int i = 0; i < 40 && rig->lane.health != LANE_DISABLED; i++) {
        size_t at = rig->n_sent;
        rig_decide(rig);
        for (; at < rig->n_sent; at++) {
            rig_status(rig, rig->sent[at].request, 500);
        }
        rig_pass(rig, 61000);
    }
    assert_int_equal(rig->lane.health, LANE_DISABLED);
    rig_free(rig);
}

/* --- restoring --- */

static void restored_requests_keep_attempt_form_and_due_time(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    uint64_t positions[] = {16, 24, 80};
    int64_t now_ms = mr_wall_ms(rig->now.wall);
    struct lane_open_request open = {.positions = positions,
                                     .n_positions = 3,
                                     .key = KEY_B,
                                     .form = 3,
                                     .bytes = 600,
                                     .attempt = 2,
                                     .due_ms = now_ms + 1500,
                                     .first_attempt_ms = now_ms - 3000};
    assert_true(mr_is_ok(lane_restore_request(&rig->lane, rig->now, &open)));
    lane_assert_valid(&rig->lane);
    assert_int_equal(rig_decide(rig), 0);
    rig_pass(rig, 1500);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->attempt, 3);
    assert_int_equal(rig_last(rig)->form, 3);
    assert_memory_equal(rig_last(rig)->positions, positions, sizeof positions);
    rig_fail(rig, rig_last(rig)->request, LANE_RESULT_TIMEOUT);
    assert_int_equal(rig_last_record(rig)->record.first_attempt_ms, now_ms - 3000);
    rig_free(rig);
}

static void a_restored_due_time_far_ahead_is_clamped(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    uint64_t position = 16;
    struct lane_open_request open = {.positions = &position,
                                     .n_positions = 1,
                                     .attempt = 1,
                                     .due_ms = INT64_MAX / 4,
                                     .first_attempt_ms = 1};
    assert_true(mr_is_ok(lane_restore_request(&rig->lane, rig->now, &open)));
    rig_decide(rig);
    assert_int_equal(mr_mono_diff_ms(lane_deadline(&rig->lane), rig->now.mono), LANE_GATE_MS_MAX);
    open.n_positions = 0;
    assert_true(mr_err_is(lane_restore_request(&rig->lane, rig->now, &open), MR_E_RANGE));
    rig_free(rig);
}

/* --- composing --- */

static void what_did_not_fit_becomes_a_request_of_its_own(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 10, KEY_A);
    rig_decide(rig);
    assert_true(mr_is_ok(lane_on_composed(&rig->lane, rig_last(rig)->request, 4, 5000, rig->now)));
    lane_assert_valid(&rig->lane);
    assert_int_equal(rig->shared.bytes, 5000);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->n, 6);
    assert_int_equal(rig_last(rig)->positions[0], 5);
    assert_int_equal(rig_last(rig)->attempt, 1);
    assert_false(rig_last(rig)->is_retry);
    rig_status(rig, rig->sent[0].request, 200);
    assert_int_equal(rig_last_record(rig)->record.n_positions, 4);
    rig_free(rig);
}

static void an_unreadable_event_dies_and_the_rest_goes_on(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 3, KEY_A);
    rig_decide(rig);
    struct lane_request *request = rig_last(rig)->request;
    assert_int_equal(lane_on_unreadable(&rig->lane, request, 1, rig->now), 2);
    lane_assert_valid(&rig->lane);
    assert_int_equal(rig_last_record(rig)->record.reason, LANE_REASON_UNREADABLE);
    assert_int_equal(rig_last_record(rig)->positions[0], 2);
    assert_false(rig_last_record(rig)->record.from_attempt);
    assert_int_equal(lane_request_positions(request)[1], 3);
    assert_int_equal(lane_on_unreadable(&rig->lane, request, 0, rig->now), 1);
    assert_int_equal(lane_on_unreadable(&rig->lane, request, 0, rig->now), 0);
    assert_true(lane_is_empty(&rig->lane));
    assert_int_equal(rig->shared.credits, 100000);
    rig_free(rig);
}

/* --- discarding --- */

static uint64_t discard(struct rig *rig, uint64_t before, const uint64_t *types, size_t n_types,
                        size_t max, bool *more) {
    struct lane_discard_spec spec = {before, types, n_types};
    uint64_t n;
    bool own;
    assert_true(
        mr_is_ok(lane_discard(&rig->lane, &spec, max, rig->now, &n, more == NULL ? &own : more)));
    lane_assert_valid(&rig->lane);
    return n;
}

static void discard_takes_by_position_and_type(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.enabled = false;
    rig_apply(rig);
    for (uint64_t i = 0; i < 100; i++) {
        rig_event(rig, i + 1, i % 2 == 0 ? KEY_A : KEY_B);
    }
    uint64_t type = lane_key_type(KEY_A);
    assert_int_equal(discard(rig, 51, &type, 1, 1000, NULL), 25);
    assert_int_equal(rig->lane.backlog_count, 75);
    assert_int_equal(rig_last_record(rig)->record.kind, LANE_RECORD_DISCARDED);
    assert_int_equal(rig_last_record(rig)->record.n_positions, 25);
    assert_int_equal(rig_last_record(rig)->positions[24], 49);
    bool more;
    assert_int_equal(discard(rig, UINT64_MAX, NULL, 0, 10, &more), 10);
    assert_true(more);
    assert_int_equal(discard(rig, UINT64_MAX, NULL, 0, 1000, &more), 65);
    assert_false(more);
    assert_true(lane_is_empty(&rig->lane));
    rig_free(rig);
}

static void discard_reaches_the_shared_fifo_and_redrives(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig->settings.enabled = false;
    rig_apply(rig);
    for (uint64_t i = 0; i < 200; i++) {
        rig_event(rig, i + 1, (i % 100) << 16);
    }
    for (uint64_t i = 100; i > 0; i--) { /* a redrive, backwards, in a FIFO of the shared one */
        struct backlog_entry entry = {.pos = i, .key = 5 << 16, .origin = 4, .size = 10};
        assert_true(mr_is_ok(lane_on_event(&rig->lane, &entry)));
    }
    uint64_t types[] = {5, 99};
    assert_int_equal(discard(rig, 51, types, 2, 1000, NULL), 1 + 50);
    assert_int_equal(rig->lane.backlog_count, 300 - 51);
    rig_free(rig);
}

static void discard_takes_waiting_retries_and_marks_what_flies(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 10, KEY_A);
    rig_decide(rig);
    rig_status(rig, rig_last(rig)->request, 500);
    assert_int_equal(discard(rig, 5, NULL, 0, 100, NULL), 4);
    rig_pass(rig, 2000);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(rig_last(rig)->n, 6);
    assert_int_equal(discard(rig, 8, NULL, 0, 100, NULL), 0); /* it flies */
    rig_status(rig, rig_last(rig)->request, 500);
    assert_int_equal(rig_last_record(rig)->record.kind, LANE_RECORD_RETRY);
    assert_int_equal(rig_last_record(rig)->record.n_positions, 3);
    assert_int_equal(rig->records[rig->n_records - 2].record.kind, LANE_RECORD_DISCARDED);
    rig_pass(rig, 5000);
    assert_int_equal(rig_decide(rig), 1);
    assert_int_equal(discard(rig, UINT64_MAX, NULL, 0, 100, NULL), 0);
    rig_status(rig, rig_last(rig)->request, 200); /* delivered is delivered */
    assert_int_equal(rig_last_record(rig)->record.kind, LANE_RECORD_DELIVERED);
    assert_true(lane_is_empty(&rig->lane));
    assert_int_equal(rig->shared.credits, 100000);
    rig_free(rig);
}

static void a_flying_request_discarded_whole_gives_its_credit_back(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    rig_events(rig, 1, 10, KEY_A);
    rig_decide(rig);
    discard(rig, UINT64_MAX, NULL, 0, 100, NULL);
    rig_fail(rig, rig_last(rig)->request, LANE_RESULT_TIMEOUT);
    assert_int_equal(rig_last_record(rig)->record.kind, LANE_RECORD_DISCARDED);
    assert_int_equal(rig_last_record(rig)->record.n_positions, 10);
    assert_int_equal(rig->shared.credits, 100000);
    assert_true(lane_is_empty(&rig->lane));
    rig_free(rig);
}

static void out_of_memory_keeps_every_event(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    uint64_t pos = 1;
    for (uint64_t fail = 1; fail < 200; fail++) {
        struct backlog_entry entry = {.pos = pos, .key = (pos % 70) << 16, .size = 10};
        mr_alloc_fail_at(1 + fail % 3);
        mr_err err = lane_on_event(&rig->lane, &entry);
        (void)rig_decide(rig);
        mr_alloc_fail_at(0);
        lane_assert_valid(&rig->lane);
        if (mr_is_ok(err)) {
            pos++;
        }
    }
    uint64_t events = 0;
    for (size_t at = 0;; at++) {
        if (at == rig->n_sent && rig_decide(rig) == 0) {
            rig_pass(rig, 1000);
            if (rig_decide(rig) == 0) {
                break;
            }
        }
        mr_alloc_fail_at(1);
        rig_status(rig, rig->sent[at].request, 200); /* a result cannot fail */
        mr_alloc_fail_at(0);
        events += rig->sent[at].n;
    }
    assert_int_equal(events, pos - 1);
    assert_true(lane_is_empty(&rig->lane));
    rig_free(rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_event_leaves_at_once),
        cmocka_unit_test(events_of_one_turn_leave_together),
        cmocka_unit_test(while_something_flies_events_wait_for_a_full_batch),
        cmocka_unit_test(the_oldest_waits_no_longer_than_linger),
        cmocka_unit_test(an_answer_lets_the_rest_leave),
        cmocka_unit_test(bytes_fill_a_batch_too),
        cmocka_unit_test(an_event_above_batch_bytes_goes_alone),
        cmocka_unit_test(keys_and_origins_are_never_mixed),
        cmocka_unit_test(the_fifo_with_the_oldest_head_goes_first),
        cmocka_unit_test(age_counts_before_position),
        cmocka_unit_test(the_shared_fifo_does_not_mix_origins),
        cmocka_unit_test(a_discard_record_names_one_origin),
        cmocka_unit_test(beyond_64_keys_the_rest_share_a_fifo_and_still_do_not_mix),
        cmocka_unit_test(a_disabled_lane_sends_nothing_and_goes_on_when_enabled),
        cmocka_unit_test(rate_spaces_requests),
        cmocka_unit_test(a_turn_renders_64_kib),
        cmocka_unit_test(without_a_credit_nothing_leaves),
        cmocka_unit_test(connections_are_shared_and_a_failing_lane_gets_half),
        cmocka_unit_test(bytes_in_flight_are_bounded),
        cmocka_unit_test(past_half_only_lanes_with_little_in_flight_render),
        cmocka_unit_test(at_the_bound_of_open_requests_first_attempts_wait),
        cmocka_unit_test(kore_policy_makes_four_attempts_then_a_dead_letter),
        cmocka_unit_test(every_failure_has_its_reason),
        cmocka_unit_test(a_request_keeps_its_form_and_events_when_settings_change),
        cmocka_unit_test(cancelled_spends_nothing_and_records_nothing),
        cmocka_unit_test(gone_kills_and_disables),
        cmocka_unit_test(due_retries_and_first_attempts_share_the_window),
        cmocka_unit_test(at_a_window_of_one_they_alternate),
        cmocka_unit_test(retry_after_gates_the_lane_and_spends_no_attempt_for_a_day),
        cmocka_unit_test(retry_after_is_at_least_a_second),
        cmocka_unit_test(retry_after_counts_on_429_and_503_only),
        cmocka_unit_test(the_window_starts_at_two_and_grows_when_used),
        cmocka_unit_test(a_burst_of_failures_halves_the_window_once),
        cmocka_unit_test(refusals_and_lost_connections_do_not_halve_it),
        cmocka_unit_test(after_a_cut_it_grows_by_one_per_window),
        cmocka_unit_test(ten_failed_generations_begin_probing_and_a_success_ends_it),
        cmocka_unit_test(probes_come_at_least_once_a_minute_and_take_one_event_of_the_backlog),
        cmocka_unit_test(where_retries_are_hours_away_one_probes_early_and_spends_nothing),
        cmocka_unit_test(a_lane_at_its_bound_probes_once_a_minute),
        cmocka_unit_test(five_days_of_failure_warn_thrice_then_disable),
        cmocka_unit_test(two_bad_events_in_a_quiet_week_disable_nothing),
        cmocka_unit_test(a_restart_does_not_begin_the_five_days_again),
        cmocka_unit_test(restored_requests_keep_attempt_form_and_due_time),
        cmocka_unit_test(a_restored_due_time_far_ahead_is_clamped),
        cmocka_unit_test(what_did_not_fit_becomes_a_request_of_its_own),
        cmocka_unit_test(an_unreadable_event_dies_and_the_rest_goes_on),
        cmocka_unit_test(discard_takes_by_position_and_type),
        cmocka_unit_test(discard_reaches_the_shared_fifo_and_redrives),
        cmocka_unit_test(discard_takes_waiting_retries_and_marks_what_flies),
        cmocka_unit_test(a_flying_request_discarded_whole_gives_its_credit_back),
        cmocka_unit_test(out_of_memory_keeps_every_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
