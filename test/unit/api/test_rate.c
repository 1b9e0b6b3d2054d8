/* Events per second of an account. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/rate.h"

static void a_seconds_worth_comes_at_once_then_the_rate_holds(void **state) {
    (void)state;
    struct rate_table *table;
    assert_true(mr_is_ok(rate_table_new(&table)));
    mr_mono now = {INT64_C(5) * MR_NS_PER_S};
    int64_t wait_ms = 0;
    for (int i = 0; i < 10; i++) {
        assert_true(rate_take(table, 1, 10, 1, now, &wait_ms));
    }
    assert_false(rate_take(table, 1, 10, 1, now, &wait_ms));
    assert_in_range(wait_ms, 1, 101);
    assert_true(rate_take(table, 2, 10, 1, now, &wait_ms)); /* another account */
    now = mr_mono_add_ms(now, 100);
    assert_true(rate_take(table, 1, 10, 1, now, &wait_ms));
    assert_false(rate_take(table, 1, 10, 1, now, &wait_ms));
    rate_table_free(table);
}

static void no_rate_allows_all_and_a_large_call_passes_when_idle(void **state) {
    (void)state;
    struct rate_table *table;
    assert_true(mr_is_ok(rate_table_new(&table)));
    mr_mono now = {INT64_C(5) * MR_NS_PER_S};
    int64_t wait_ms = 0;
    assert_true(rate_take(table, 1, 0, 1000000, now, &wait_ms));
    assert_true(rate_take(table, 1, 10, 1000, now, &wait_ms));
    assert_false(rate_take(table, 1, 10, 1, now, &wait_ms));
    assert_in_range(wait_ms, 90000, 100000);
    rate_table_free(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seconds_worth_comes_at_once_then_the_rate_holds),
        cmocka_unit_test(no_rate_allows_all_and_a_large_call_passes_when_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
