/* Callbacks on their way: the rules one by one, then by chance against a naive count. */
#include "deliver/callback.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define FLYING_MAX 16
#define SENT_MAX   8192

struct world {
    struct callback_set set;
    struct lane_now now;
    uint32_t credits;
    uint64_t next_pos;
    struct callback *sent[SENT_MAX]; /* in flight, oldest first */
    size_t n_sent;
    struct callback_record last;
    uint32_t n_delivered, n_failed, n_retries;
};

static void on_send(void *ctx, struct callback *callback) {
    struct world *world = ctx;
    assert_true(world->n_sent < SENT_MAX);
    world->sent[world->n_sent++] = callback;
}

static void on_record(void *ctx, const struct callback *callback,
                      const struct callback_record *record) {
    struct world *world = ctx;
    (void)callback;
    world->last = *record;
    world->n_delivered += record->kind == CALLBACK_DELIVERED;
    world->n_failed += record->kind == CALLBACK_FAILED;
    world->n_retries += record->kind == CALLBACK_RETRY;
}

static struct world *world_new(void) {
    struct world *world = MR_NEW(struct world);
    assert_non_null(world);
    const struct callback_hooks hooks = {world, on_send, on_record};
    world->credits = 100000;
    world->now = (struct lane_now){{INT64_C(1000) * MR_NS_PER_S}, mr_wall_of_ms(1700000000000)};
    callback_set_init(&world->set, &hooks, &world->credits, FLYING_MAX);
    return world;
}

static void world_free(struct world *world) {
    callback_set_done(&world->set);
    mr_free(world);
}

static void pass(struct world *world, int64_t ms) {
    world->now.mono = mr_mono_add_ms(world->now.mono, ms);
    world->now.wall.ns += ms * MR_NS_PER_MS;
}

static struct callback_spec spec_of(struct world *world, uint32_t account, const char *key) {
    static const uint8_t id[16] = {7};
    return (struct callback_spec){.account = account,
                                  .pos = ++world->next_pos,
                                  .id = id,
                                  .key = mr_str_c(key),
                                  .url = MR_STR("https://a/"),
                                  .body = MR_STR("a=b")};
}

static void add(struct world *world, uint32_t account, const char *key) {
    struct callback_spec spec = spec_of(world, account, key);
    assert_true(mr_is_ok(callback_add(&world->set, &spec)));
}

static void decide(struct world *world) {
    callback_decide(&world->set, world->now);
    callback_assert_valid(&world->set);
}

static struct callback *take_sent(struct world *world, size_t i) {
    assert_true(i < world->n_sent);
    struct callback *callback = world->sent[i];
    memmove(world->sent + i, world->sent + i + 1,
            (world->n_sent - i - 1) * sizeof(struct callback *));
    world->n_sent--;
    return callback;
}

static void answer(struct world *world, size_t i, enum lane_result_kind kind, uint16_t status) {
    const struct lane_result result = {
        .kind = (uint8_t)kind, .status = status, .retry_after_ms = -1};
    callback_on_result(&world->set, take_sent(world, i), world->now, &result);
    callback_assert_valid(&world->set);
}

static void what_is_tried_again_is_told_by_the_answer(void **state) {
    (void)state;
    static const struct {
        enum lane_result_kind kind;
        uint16_t status;
        enum callback_record_kind expected;
        enum lane_reason reason;
    } cases[] = {
        {LANE_RESULT_STATUS, 200, CALLBACK_DELIVERED, LANE_REASON_NONE},
        {LANE_RESULT_STATUS, 299, CALLBACK_DELIVERED, LANE_REASON_NONE},
        {LANE_RESULT_STATUS, 199, CALLBACK_FAILED, LANE_REASON_STATUS},
        {LANE_RESULT_STATUS, 302, CALLBACK_FAILED, LANE_REASON_STATUS},
        {LANE_RESULT_STATUS, 404, CALLBACK_FAILED, LANE_REASON_STATUS},
        {LANE_RESULT_STATUS, 407, CALLBACK_FAILED, LANE_REASON_STATUS},
        {LANE_RESULT_STATUS, 408, CALLBACK_RETRY, LANE_REASON_STATUS},
        {LANE_RESULT_STATUS, 423, CALLBACK_RETRY, LANE_REASON_STATUS},
        {LANE_RESULT_STATUS, 429, CALLBACK_FAILED, LANE_REASON_STATUS},
        {LANE_RESULT_STATUS, 499, CALLBACK_FAILED, LANE_REASON_STATUS},
        {LANE_RESULT_STATUS, 500, CALLBACK_RETRY, LANE_REASON_STATUS},
        {LANE_RESULT_STATUS, 599, CALLBACK_RETRY, LANE_REASON_STATUS},
        {LANE_RESULT_TIMEOUT, 0, CALLBACK_RETRY, LANE_REASON_TIMEOUT},
        {LANE_RESULT_NAME, 0, CALLBACK_RETRY, LANE_REASON_NAME},
        {LANE_RESULT_ADDRESS, 0, CALLBACK_FAILED, LANE_REASON_ADDRESS},
        {LANE_RESULT_CONNECT, 0, CALLBACK_RETRY, LANE_REASON_CONNECT},
        {LANE_RESULT_TLS, 0, CALLBACK_RETRY, LANE_REASON_TLS},
        {LANE_RESULT_RESET, 0, CALLBACK_RETRY, LANE_REASON_RESET},
        {LANE_RESULT_RESPONSE, 0, CALLBACK_FAILED, LANE_REASON_RESPONSE},
        {LANE_RESULT_REQUEST, 0, CALLBACK_FAILED, LANE_REASON_REQUEST},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world *world = world_new();
        add(world, 1, "k");
        decide(world);
        pass(world, 120);
        answer(world, 0, cases[i].kind, cases[i].status);
        assert_int_equal(world->last.kind, cases[i].expected);
        assert_int_equal(world->last.reason, cases[i].reason);
        assert_int_equal(world->last.attempt, 1);
        assert_int_equal(world->last.duration_ms, 120);
        assert_int_equal(world->last.at_ms, 1700000000000);
        assert_int_equal(world->last.status, cases[i].status);
        bool is_retry = cases[i].expected == CALLBACK_RETRY;
        assert_int_equal(world->last.due_ms,
                         is_retry ? 1700000000120 + CALLBACK_PAUSE_MS : INT64_C(0));
        assert_int_equal(world->set.n, is_retry ? 1 : 0);
        assert_int_equal(world->set.n_lanes, world->set.n);
        assert_int_equal(world->set.n_accounts, world->set.n);
        world_free(world);
    }
}

static void the_second_attempt_comes_a_second_later_and_is_the_last(void **state) {
    (void)state;
    struct world *world = world_new();
    add(world, 1, "k");
    decide(world);
    answer(world, 0, LANE_RESULT_STATUS, 500);
    decide(world);
    assert_int_equal(world->n_sent, 0);
    assert_int_equal(callback_deadline(&world->set).ns,
                     mr_mono_add_ms(world->now.mono, CALLBACK_PAUSE_MS).ns);
    pass(world, CALLBACK_PAUSE_MS - 1);
    decide(world);
    assert_int_equal(world->n_sent, 0);
    pass(world, 1);
    decide(world);
    assert_int_equal(world->n_sent, 1);
    answer(world, 0, LANE_RESULT_TIMEOUT, 0);
    assert_int_equal(world->last.kind, CALLBACK_FAILED);
    assert_int_equal(world->last.attempt, 2);
    assert_int_equal(world->set.n, 0);
    assert_int_equal(callback_deadline(&world->set).ns, MR_MONO_NEVER.ns);
    world_free(world);
}

static void what_was_not_sent_spends_nothing(void **state) {
    (void)state;
    struct world *world = world_new();
    add(world, 1, "k");
    decide(world);
    assert_int_equal(world->credits, 99999);
    answer(world, 0, LANE_RESULT_CANCELLED, 0);
    assert_int_equal(world->credits, 100000);
    assert_int_equal(world->n_delivered + world->n_failed + world->n_retries, 0);
    pass(world, CALLBACK_AGAIN_MS);
    decide(world);
    answer(world, 0, LANE_RESULT_STATUS, 204);
    assert_int_equal(world->last.attempt, 1);
    world_free(world);
}

static void a_restored_one_goes_on_where_it_was(void **state) {
    (void)state;
    static const struct {
        uint8_t attempts;
        int64_t due_in_ms, waits_ms;
    } cases[] = {{0, 0, 0}, {1, 700, 700}, {1, -5000, 0}, {1, 90000, CALLBACK_PAUSE_MS}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world *world = world_new();
        struct callback_spec spec = spec_of(world, 1, "k");
        int64_t due_ms = cases[i].attempts == 0 ? 0 : 1700000000000 + cases[i].due_in_ms;
        assert_true(
            mr_is_ok(callback_restore(&world->set, &spec, cases[i].attempts, due_ms, world->now)));
        if (cases[i].waits_ms > 0) {
            pass(world, cases[i].waits_ms - 1);
            decide(world);
            assert_int_equal(world->n_sent, 0);
            pass(world, 1);
        }
        decide(world);
        answer(world, 0, LANE_RESULT_STATUS, 500);
        assert_int_equal(world->last.attempt, cases[i].attempts + 1);
        assert_int_equal(world->last.kind,
                         cases[i].attempts == 0 ? CALLBACK_RETRY : CALLBACK_FAILED);
        world_free(world);
    }
}

static void a_host_gets_more_in_flight_as_it_answers(void **state) {
    (void)state;
    struct world *world = world_new();
    for (int i = 0; i < 100; i++) {
        add(world, 1, "k");
    }
    decide(world);
    assert_int_equal(world->n_sent, 1);
    for (uint32_t n = 2; n <= CALLBACK_WINDOW_MAX; n++) {
        answer(world, 0, LANE_RESULT_STATUS, n % 2 == 0 ? 200 : 404);
        decide(world);
        assert_int_equal(world->n_sent, n);
    }
    answer(world, 0, LANE_RESULT_STATUS, 200);
    decide(world);
    assert_int_equal(world->n_sent, CALLBACK_WINDOW_MAX);
    /* One failure, and it is nobody that is known any more. */
    answer(world, 0, LANE_RESULT_TIMEOUT, 0);
    while (world->n_sent > 0) {
        decide(world);
        assert_true(world->n_sent < CALLBACK_WINDOW_MAX);
        answer(world, 0, LANE_RESULT_TIMEOUT, 0);
    }
    decide(world);
    assert_int_equal(world->n_sent, 1);
    answer(world, 0, LANE_RESULT_CANCELLED, 0);
    world_free(world);
}

static void hosts_that_hang_leave_room_for_those_that_answer(void **state) {
    (void)state;
    struct world *world = world_new();
    /* One host has shown that it answers. */
    add(world, 9, "good");
    add(world, 9, "good");
    decide(world);
    answer(world, 0, LANE_RESULT_STATUS, 200);
    decide(world);
    struct callback *good = take_sent(world, 0);
    /* Ten accounts with thirty hanging hosts each. */
    char key[16];
    for (uint32_t account = 10; account < 20; account++) {
        for (int host = 0; host < 30; host++) {
            snprintf(key, sizeof key, "h%d", host);
            add(world, account, key);
        }
    }
    decide(world);
    assert_int_equal(world->n_sent, callback_flying_untrusted(&world->set));
    const struct lane_result ok = {.status = 200, .retry_after_ms = -1};
    for (int i = 0; i < 50; i++) {
        add(world, 9, "good");
        callback_on_result(&world->set, good, world->now, &ok);
        size_t before = world->n_sent;
        decide(world);
        assert_int_equal(world->n_sent, before + 1);
        good = take_sent(world, before);
        assert_int_equal(good->account_number, 9);
    }
    callback_on_result(&world->set, good, world->now, &ok);
    while (world->n_sent > 0) {
        answer(world, 0, LANE_RESULT_CANCELLED, 0);
    }
    world_free(world);
}

static void no_account_takes_all(void **state) {
    (void)state;
    struct world *world = world_new();
    char key[16];
    for (int host = 0; host < 40; host++) {
        snprintf(key, sizeof key, "h%d", host);
        add(world, 1, key);
    }
    decide(world);
    assert_int_equal(world->n_sent, callback_flying_account_untrusted(&world->set));
    add(world, 2, "other");
    decide(world);
    assert_int_equal(world->sent[world->n_sent - 1]->account_number, 2);
    /* Those who were put aside come when a share is free again. */
    for (int i = 0; i < 41; i++) {
        answer(world, 0, LANE_RESULT_STATUS, 200);
        decide(world);
    }
    assert_int_equal(world->n_delivered, 41);
    assert_int_equal(world->set.n, 0);
    world_free(world);
}

static void lanes_are_bounded_and_reclaimed(void **state) {
    (void)state;
    struct world *world = world_new();
    char key[16];
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "h%d", i % 150);
        add(world, 1, key);
    }
    callback_assert_valid(&world->set);
    assert_int_equal(world->set.n_lanes, CALLBACK_LANES_MAX);
    for (int i = 0; world->set.n > 0 && i < 1000; i++) {
        decide(world);
        answer(world, 0, LANE_RESULT_STATUS, 200);
        assert_true(world->set.n_lanes <= CALLBACK_LANES_MAX);
    }
    assert_int_equal(world->n_delivered, 300);
    assert_int_equal(world->set.n_lanes + world->set.n_accounts, 0);
    world_free(world);
}

static void what_is_closed_sends_nothing(void **state) {
    (void)state;
    struct world *world = world_new();
    add(world, 1, "a");
    decide(world);
    add(world, 1, "b");
    world->set.closed = true;
    decide(world);
    assert_int_equal(world->n_sent, 1);
    answer(world, 0, LANE_RESULT_STATUS, 500);
    pass(world, 5000);
    decide(world);
    assert_int_equal(world->n_sent, 0);
    assert_int_equal(world->set.n, 2);
    world_free(world);
}

static void without_credits_nothing_is_promised(void **state) {
    (void)state;
    struct world *world = world_new();
    world->credits = 1;
    add(world, 1, "a");
    add(world, 1, "b");
    decide(world);
    assert_int_equal(world->n_sent, 1);
    assert_int_equal(world->credits, 0);
    world->credits = 1;
    decide(world);
    assert_int_equal(world->n_sent, 2);
    answer(world, 0, LANE_RESULT_STATUS, 200);
    answer(world, 0, LANE_RESULT_STATUS, 200);
    world_free(world);
}

static void want_of_memory_changes_nothing(void **state) {
    (void)state;
    for (uint64_t n = 1; n <= 3; n++) {
        struct world *world = world_new();
        struct callback_spec spec = spec_of(world, 1, "k");
        mr_alloc_fail_at(n);
        assert_true(mr_err_is(callback_add(&world->set, &spec), MR_E_NOMEM));
        mr_alloc_fail_at(0);
        callback_assert_valid(&world->set);
        assert_int_equal(world->set.n + world->set.n_lanes + world->set.n_accounts, 0);
        assert_true(mr_is_ok(callback_add(&world->set, &spec)));
        world_free(world);
    }
}

static uint64_t chance(uint64_t *random, uint64_t n) {
    *random = *random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (*random >> 33) % n;
}

static void by_chance_nothing_is_lost_and_no_bound_broken(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t random = seed;
        struct world *world = world_new();
        uint32_t added = 0;
        char key[16];
        for (int i = 0; i < 4000; i++) {
            uint64_t dice = chance(&random, 100);
            if (dice < 30 && i < 3000) {
                uint32_t account = (uint32_t)(1 + chance(&random, 4) * CALLBACK_SLOTS);
                snprintf(key, sizeof key, "h%d", (int)chance(&random, 100));
                add(world, account, key);
                added++;
            } else if (dice < 60 && world->n_sent > 0) {
                answer(world, chance(&random, world->n_sent),
                       (enum lane_result_kind)chance(&random, LANE_RESULT_CANCELLED + 1),
                       (uint16_t)(100 + chance(&random, 500)));
            } else if (dice < 85) {
                decide(world);
            } else {
                pass(world, (int64_t)chance(&random, 400));
            }
        }
        for (int i = 0; world->set.n > 0; i++) {
            assert_true(i < 100000);
            pass(world, 100);
            decide(world);
            while (world->n_sent > 0) {
                answer(world, 0, LANE_RESULT_STATUS, 200);
            }
        }
        assert_int_equal(added, world->n_delivered + world->n_failed);
        assert_int_equal(100000 - world->credits, added + world->n_retries);
        world_free(world);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_tried_again_is_told_by_the_answer),
        cmocka_unit_test(the_second_attempt_comes_a_second_later_and_is_the_last),
        cmocka_unit_test(what_was_not_sent_spends_nothing),
        cmocka_unit_test(a_restored_one_goes_on_where_it_was),
        cmocka_unit_test(a_host_gets_more_in_flight_as_it_answers),
        cmocka_unit_test(hosts_that_hang_leave_room_for_those_that_answer),
        cmocka_unit_test(no_account_takes_all),
        cmocka_unit_test(lanes_are_bounded_and_reclaimed),
        cmocka_unit_test(what_is_closed_sends_nothing),
        cmocka_unit_test(without_credits_nothing_is_promised),
        cmocka_unit_test(want_of_memory_changes_nothing),
        cmocka_unit_test(by_chance_nothing_is_lost_and_no_bound_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
