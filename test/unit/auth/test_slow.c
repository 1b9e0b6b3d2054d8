/* Wrong attempts are slowed: with a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/slow.h"
#include "base/mem.h"

#include <stdio.h>

#define MINUTE_MS 60000

static const mr_mono start = {INT64_C(1000) * MR_NS_PER_S};

static struct slow *slow_of_8(void) {
    struct slow *slow;
    assert_true(mr_is_ok(slow_new(8, &slow_policy_default, &slow)));
    return slow;
}

static void the_fifth_failure_waits_and_waits_double_up_to_five_minutes(void **state) {
    (void)state;
    static const int64_t waits_ms[] = {0,     0,     0,     0,      1000,   2000,   4000,  8000,
                                       16000, 32000, 64000, 128000, 256000, 300000, 300000};
    struct slow *slow = slow_of_8();
    mr_mono now = start;
    for (size_t i = 0; i < sizeof waits_ms / sizeof waits_ms[0]; i++) {
        assert_int_equal(slow_wait_ms(slow, 7, now), 0);
        slow_failed(slow, 7, now);
        int64_t wait_ms = slow_wait_ms(slow, 7, now);
        assert_in_range(wait_ms, waits_ms[i], waits_ms[i] + (waits_ms[i] > 0));
        if (wait_ms > 0) {
            assert_true(slow_wait_ms(slow, 7, mr_mono_add_ms(now, waits_ms[i] - 1)) > 0);
        }
        assert_int_equal(slow_wait_ms(slow, 8, now), 0); /* another key */
        now = mr_mono_add_ms(now, waits_ms[i]);
    }
    slow_free(slow);
}

static void success_and_time_forgive(void **state) {
    (void)state;
    struct slow *slow = slow_of_8();
    mr_mono now = start;
    for (int i = 0; i < 6; i++) {
        slow_failed(slow, 7, now);
    }
    slow_succeeded(slow, 7);
    assert_int_equal(slow_wait_ms(slow, 7, now), 0);
    assert_int_equal(slow_count(slow), 0);
    for (int i = 0; i < 4; i++) {
        slow_failed(slow, 7, now);
    }
    now = mr_mono_add_ms(now, 15 * MINUTE_MS + 1);
    slow_failed(slow, 7, now); /* the first of a new row */
    assert_int_equal(slow_wait_ms(slow, 7, now), 0);
    slow_succeeded(slow, 99); /* never heard of */
    slow_free(slow);
}

static void a_failure_taken_back_counts_no_more(void **state) {
    (void)state;
    struct slow *slow = slow_of_8();
    for (int i = 0; i < 5; i++) {
        slow_failed(slow, 7, start);
    }
    slow_take_back(slow, 7);
    assert_int_equal(slow_wait_ms(slow, 7, start), 0);
    slow_failed(slow, 7, start);
    assert_in_range(slow_wait_ms(slow, 7, start), 1000, 1001);
    for (int i = 0; i < 5; i++) {
        slow_take_back(slow, 7);
    }
    assert_int_equal(slow_count(slow), 0);
    slow_take_back(slow, 7);
    slow_free(slow);
}

static void memory_is_bounded_and_the_oldest_goes(void **state) {
    (void)state;
    struct slow *slow = slow_of_8();
    mr_mono now = start;
    for (uint64_t key = 0; key < 8; key++) {
        for (int i = 0; i < 5; i++) {
            now = mr_mono_add_ms(now, 1);
            slow_failed(slow, key, now);
        }
    }
    slow_failed(slow, 0, now); /* now key 1 is the oldest */
    slow_failed(slow, 100, now);
    assert_int_equal(slow_count(slow), 8);
    assert_int_equal(slow_wait_ms(slow, 1, now), 0);
    for (uint64_t key = 2; key < 8; key++) {
        assert_true(slow_wait_ms(slow, key, now) > 0);
    }
    assert_true(slow_wait_ms(slow, 0, now) > 1000);
    for (uint64_t key = 0; key < 10000; key++) {
        slow_failed(slow, key, now);
    }
    assert_int_equal(slow_count(slow), 8);
    slow_free(slow);
}

/* ---- the door ---- */

static struct slow_door *door_new(void) {
    struct slow_door *door;
    assert_true(mr_is_ok(slow_door_new(&door)));
    return door;
}

/* Fails n times in a row, each as soon as it may; returns when the last one failed. */
static mr_mono guess(struct slow_door *door, const char *who, const char *address, int n,
                     mr_mono now) {
    for (int i = 0; i < n; i++) {
        int64_t wait_ms = slow_door_enter(door, mr_str_c(who), mr_str_c(address), now);
        while (wait_ms > 0) {
            now = mr_mono_add_ms(now, wait_ms);
            wait_ms = slow_door_enter(door, mr_str_c(who), mr_str_c(address), now);
        }
    }
    return now;
}

static int64_t enter(struct slow_door *door, const char *who, const char *address, mr_mono now) {
    return slow_door_enter(door, mr_str_c(who), mr_str_c(address), now);
}

static void a_name_is_slowed_at_its_address_only(void **state) {
    (void)state;
    struct slow_door *door = door_new();
    mr_mono now = guess(door, "a", "192.0.2.1", 5, start);
    assert_in_range(enter(door, "a", "192.0.2.1", now), 1000, 1001);
    assert_int_equal(enter(door, "a", "192.0.2.2", now), 0);
    assert_int_equal(enter(door, "b", "192.0.2.1", now), 0);
    assert_int_equal(enter(door, "a", "192.0.2.1", mr_mono_add_ms(now, 1001)), 0);
    slow_door_free(door);
}

static void being_kept_waiting_is_not_a_failure(void **state) {
    (void)state;
    struct slow_door *door = door_new();
    mr_mono now = guess(door, "a", "192.0.2.1", 5, start);
    for (int i = 0; i < 1000; i++) {
        assert_true(enter(door, "a", "192.0.2.1", now) > 0);
    }
    assert_in_range(enter(door, "a", "192.0.2.1", now), 1000, 1001);
    slow_door_free(door);
}

static void what_could_not_be_judged_counts_no_more(void **state) {
    (void)state;
    struct slow_door *door = door_new();
    mr_mono now = start;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(enter(door, "a", "192.0.2.1", now), 0);
        slow_door_take_back(door, MR_STR("a"), MR_STR("192.0.2.1"));
    }
    now = guess(door, "a", "192.0.2.1", 4, now);
    assert_int_equal(enter(door, "a", "192.0.2.1", now), 0);
    slow_door_take_back(door, MR_STR("a"), MR_STR("192.0.2.1")); /* the four stay */
    assert_int_equal(enter(door, "a", "192.0.2.1", now), 0);
    assert_in_range(enter(door, "a", "192.0.2.1", now), 1000, 1001);
    slow_door_free(door);
}

static void many_at_once_are_no_way_around(void **state) {
    (void)state;
    struct slow_door *door = door_new();
    int entered = 0;
    for (int i = 0; i < 100; i++) { /* none has been judged yet */
        entered += enter(door, "a", "192.0.2.1", start) == 0;
    }
    assert_int_equal(entered, 5);
    slow_door_free(door);
}

static void the_right_secret_forgives_its_name_at_its_address(void **state) {
    (void)state;
    struct slow_door *door = door_new();
    mr_mono now = start;
    for (int i = 0; i < 1000; i++) { /* right all the time: never slowed */
        assert_int_equal(enter(door, "a", "192.0.2.1", now), 0);
        slow_door_opened(door, MR_STR("a"), MR_STR("192.0.2.1"), now);
    }
    for (int i = 0; i < 40; i++) {
        assert_int_equal(guess(door, "a", "192.0.2.1", 4, now).ns, now.ns);
        assert_int_equal(enter(door, "a", "192.0.2.1", now), 0);
        slow_door_opened(door, MR_STR("a"), MR_STR("192.0.2.1"), now);
        now = mr_mono_add_ms(now, 16 * MINUTE_MS);
    }
    slow_door_free(door);
}

static void an_address_that_tries_many_names_is_slowed(void **state) {
    (void)state;
    struct slow_door *door = door_new();
    char name[16];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof name, "n%d", i);
        assert_int_equal(enter(door, name, "192.0.2.1", start), 0);
    }
    assert_in_range(enter(door, "other", "192.0.2.1", start), 1000, 1001);
    assert_int_equal(enter(door, "other", "192.0.2.2", start), 0);
    /* Its own right credentials between two wrong ones do not help it. */
    mr_mono now = mr_mono_add_ms(start, 1001);
    assert_int_equal(enter(door, "own", "192.0.2.1", now), 0);
    slow_door_opened(door, MR_STR("own"), MR_STR("192.0.2.1"), now);
    assert_int_equal(enter(door, "x", "192.0.2.1", now), 0);
    assert_in_range(enter(door, "own", "192.0.2.1", now), 2000, 2001);
    slow_door_free(door);
}

static void an_ipv6_network_counts_as_one(void **state) {
    (void)state;
    struct slow_door *door = door_new();
    char name[16];
    char address[64];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof name, "n%d", i);
        (void)snprintf(address, sizeof address, "2001:db8:0:1::%x", (unsigned)i);
        assert_int_equal(enter(door, name, address, start), 0);
    }
    assert_true(enter(door, "x", "2001:db8:0:1:ffff::1", start) > 0);
    assert_int_equal(enter(door, "x", "2001:db8:0:2::1", start), 0);
    mr_mono now = guess(door, "m", "::ffff:192.0.2.1", 5, start);
    assert_true(enter(door, "m", "192.0.2.1", now) > 0);
    assert_int_equal(enter(door, "m", "::ffff:192.0.2.2", now), 0);
    slow_door_free(door);
}

static void many_addresses_slow_a_name_but_not_where_it_was_right_before(void **state) {
    (void)state;
    struct slow_door *door = door_new();
    assert_int_equal(enter(door, "a", "198.51.100.7", start), 0);
    slow_door_opened(door, MR_STR("a"), MR_STR("198.51.100.7"), start);
    char address[32];
    for (int i = 0; i < 200; i++) {
        (void)snprintf(address, sizeof address, "192.0.2.%d", i);
        assert_int_equal(enter(door, "a", address, start), 0);
    }
    assert_in_range(enter(door, "a", "203.0.113.9", start), 1000, 1001);
    assert_int_equal(enter(door, "a", "198.51.100.7", start), 0);
    assert_int_equal(enter(door, "b", "203.0.113.9", start), 0);
    mr_mono now = start;
    for (int i = 0; i < 50; i++) { /* as long as half a minute, never more */
        (void)snprintf(address, sizeof address, "203.0.113.%d", i);
        int64_t wait_ms = enter(door, "a", address, now);
        assert_true(wait_ms <= 30001);
        now = mr_mono_add_ms(now, wait_ms);
        assert_int_equal(enter(door, "a", address, now), 0);
    }
    slow_door_free(door);
}

static void without_memory_there_is_no_door(void **state) {
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct slow_door *door = NULL;
        mr_alloc_fail_at(n);
        mr_err err = slow_door_new(&door);
        mr_alloc_fail_at(0);
        if (mr_is_ok(err)) {
            assert_true(n > 8);
            slow_door_free(door);
            return;
        }
        assert_true(mr_err_is(err, MR_E_NOMEM));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fifth_failure_waits_and_waits_double_up_to_five_minutes),
        cmocka_unit_test(success_and_time_forgive),
        cmocka_unit_test(a_failure_taken_back_counts_no_more),
        cmocka_unit_test(memory_is_bounded_and_the_oldest_goes),
        cmocka_unit_test(a_name_is_slowed_at_its_address_only),
        cmocka_unit_test(being_kept_waiting_is_not_a_failure),
        cmocka_unit_test(what_could_not_be_judged_counts_no_more),
        cmocka_unit_test(many_at_once_are_no_way_around),
        cmocka_unit_test(the_right_secret_forgives_its_name_at_its_address),
        cmocka_unit_test(an_address_that_tries_many_names_is_slowed),
        cmocka_unit_test(an_ipv6_network_counts_as_one),
        cmocka_unit_test(many_addresses_slow_a_name_but_not_where_it_was_right_before),
        cmocka_unit_test(without_memory_there_is_no_door),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
