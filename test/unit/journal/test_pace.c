/* Pacing: at once while little comes, a bounded wait under load, none where enough is there. */
#include "journal/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static mr_mono at_us(int64_t us) {
    return (mr_mono){us * 1000};
}

/* `units` calls of `each` records every millisecond, for 20 ms. */
static struct pace after_load(uint64_t units, uint64_t each) {
    struct pace pace = {0};
    for (int64_t ms = 1; ms <= 20; ms++) {
        pace_on_arrivals(&pace, units, units * each, at_us(ms * 1000));
    }
    return pace;
}

static void the_first_records_never_wait(void **state) {
    (void)state;
    struct pace pace = {0};
    pace_on_arrivals(&pace, 40, 400, at_us(1));
    assert_int_equal(pace_wait_ns(&pace, 1, 1000), 0);
}

static void low_load_never_waits(void **state) {
    (void)state;
    struct pace pace = after_load(15, 1);
    assert_int_equal(pace_wait_ns(&pace, 1, 1000), 0);
    pace = after_load(3, 33);
    assert_int_equal(pace_wait_ns(&pace, 1, 1000), 0);
}

static void load_waits_half_a_millisecond_at_most(void **state) {
    (void)state;
    struct pace pace = after_load(16, 1);
    assert_int_equal(pace_wait_ns(&pace, 1, 1000), 500000);
    pace = after_load(40, 50); /* 512 records in a quarter of a millisecond */
    assert_in_range(pace_wait_ns(&pace, 1, 1000), 200000, 300000);
    pace = after_load(4, 50);
    assert_int_equal(pace_wait_ns(&pace, 1, 1000), 500000);
}

static void enough_is_not_waited_upon(void **state) {
    (void)state;
    struct pace pace = after_load(40, 1);
    assert_int_equal(pace_wait_ns(&pace, 512, 1000), 0);
    assert_int_equal(pace_wait_ns(&pace, 1, 512 * 1024), 0);
    assert_true(pace_wait_ns(&pace, 511, 512 * 1024 - 1) > 0);
}

static void a_quiet_spell_ends_the_waiting(void **state) {
    (void)state;
    struct pace pace = after_load(40, 1);
    pace_on_arrivals(&pace, 40, 40, at_us(60000));
    assert_int_equal(pace_wait_ns(&pace, 1, 1000), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_records_never_wait),
        cmocka_unit_test(low_load_never_waits),
        cmocka_unit_test(load_waits_half_a_millisecond_at_most),
        cmocka_unit_test(enough_is_not_waited_upon),
        cmocka_unit_test(a_quiet_spell_ends_the_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
