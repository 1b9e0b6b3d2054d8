/* How many callbacks may be pending. */
#include "dispatch/callbacks/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define SIZE (64U * 1024 - CALLBACK_LIMITS_EACH_BYTES) /* 64 KiB with what each costs */

static struct callback_limits *limits_new(void) {
    struct callback_limits *limits;
    assert_true(mr_is_ok(callback_limits_new(&limits)));
    return limits;
}

static uint32_t fill(struct callback_limits *limits, uint32_t account, size_t size) {
    uint32_t n = 0;
    while (callback_limits_take(limits, account, size)) {
        n++;
    }
    return n;
}

static void an_account_is_bounded_by_bytes_and_by_number(void **state) {
    (void)state;
    struct callback_limits *limits = limits_new();
    assert_int_equal(fill(limits, 1, SIZE), CALLBACK_LIMITS_ACCOUNT_BYTES / (64 * 1024));
    assert_int_equal(fill(limits, 2, 0), CALLBACK_LIMITS_ACCOUNT);
    assert_false(callback_limits_take(limits, 2, 0));
    callback_limits_give(limits, 2, 0);
    assert_true(callback_limits_take(limits, 2, 0));
    callback_limits_free(limits);
}

static void those_who_fill_it_up_leave_room_for_somebody_new(void **state) {
    (void)state;
    struct callback_limits *limits = limits_new();
    uint32_t least = UINT32_MAX;
    for (uint32_t account = 1; account <= 40; account++) {
        uint32_t n = fill(limits, account, SIZE);
        least = account <= 10 && n < least ? n : least;
    }
    assert_true(least > 0);
    /* Sixteen full shares were all; who came later still got something. */
    assert_true(least >= 8);
    callback_limits_free(limits);
}

static void what_was_pending_at_the_start_counts_but_is_never_refused(void **state) {
    (void)state;
    struct callback_limits *limits = limits_new();
    for (int i = 0; i < 300; i++) {
        assert_true(mr_is_ok(callback_limits_restore(limits, 7, SIZE)));
    }
    assert_false(callback_limits_take(limits, 7, 0));
    for (int i = 0; i < 300; i++) {
        callback_limits_give(limits, 7, SIZE);
    }
    assert_int_equal(fill(limits, 7, SIZE), CALLBACK_LIMITS_ACCOUNT_BYTES / (64 * 1024));
    callback_limits_free(limits);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_account_is_bounded_by_bytes_and_by_number),
        cmocka_unit_test(those_who_fill_it_up_leave_room_for_somebody_new),
        cmocka_unit_test(what_was_pending_at_the_start_counts_but_is_never_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
