/* Retry policies. */
#include "deliver/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void kore_waits_one_two_four_seconds_within_a_fifth(void **state) {
    (void)state;
    struct policy policy;
    policy_init_kore(&policy);
    assert_int_equal(policy_attempts_max(&policy), 4);
    static const uint32_t base[] = {1000, 2000, 4000};
    for (uint32_t failed = 1; failed <= 3; failed++) {
        uint32_t low = UINT32_MAX;
        uint32_t high = 0;
        for (uint32_t random = 0; random < 20000; random++) {
            uint32_t delay = policy_delay_ms(&policy, failed, random * 2654435761u);
            low = delay < low ? delay : low;
            high = delay > high ? delay : high;
        }
        assert_int_equal(low, base[failed - 1] * 8 / 10);
        assert_int_equal(high, base[failed - 1] * 12 / 10);
        assert_int_equal(policy_delay_ms_max(&policy, failed), high);
    }
}

static void standard_makes_ten_attempts_over_75_h_35_min_5_s(void **state) {
    (void)state;
    struct policy policy;
    policy_init_standard(&policy);
    assert_int_equal(policy_attempts_max(&policy), 10);
    uint64_t sum = 0;
    for (uint32_t failed = 1; failed < 10; failed++) {
        uint64_t spread = policy.delays_ms[failed - 1] / 5;
        sum += policy_delay_ms(&policy, failed, (uint32_t)spread);
    }
    assert_int_equal(sum, ((75 * 60 + 35) * 60 + 5) * UINT64_C(1000));
    assert_int_equal(policy_delay_ms_max(&policy, 0), 86400000 * 12 / 10);
}

static void explicit_delays_are_kept_exactly(void **state) {
    (void)state;
    static const uint32_t delays[] = {0, 10, POLICY_DELAY_MS_MAX};
    struct policy policy;
    assert_true(mr_is_ok(policy_init_explicit(&policy, delays, 3)));
    assert_int_equal(policy_attempts_max(&policy), 4);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(policy_delay_ms(&policy, i + 1, 123456789), delays[i]);
        assert_int_equal(policy_delay_ms_max(&policy, i + 1), delays[i]);
    }
    assert_true(mr_is_ok(policy_init_explicit(&policy, NULL, 0)));
    assert_int_equal(policy_attempts_max(&policy), 1);
    assert_int_equal(policy_delay_ms_max(&policy, 1), 0);
}

static void explicit_delays_out_of_range_are_refused(void **state) {
    (void)state;
    uint32_t delays[POLICY_DELAYS_MAX + 1] = {0};
    struct policy policy;
    assert_true(
        mr_err_is(policy_init_explicit(&policy, delays, POLICY_DELAYS_MAX + 1), MR_E_LIMIT));
    delays[2] = POLICY_DELAY_MS_MAX + 1;
    assert_true(mr_err_is(policy_init_explicit(&policy, delays, 3), MR_E_RANGE));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kore_waits_one_two_four_seconds_within_a_fifth),
        cmocka_unit_test(standard_makes_ten_attempts_over_75_h_35_min_5_s),
        cmocka_unit_test(explicit_delays_are_kept_exactly),
        cmocka_unit_test(explicit_delays_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
