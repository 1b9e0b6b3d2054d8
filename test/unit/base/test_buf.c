/* The growable buffer. */
#include "base/buf.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void append_past_the_maximum_leaves_it_as_it_was(void **state) {
    (void)state;
    mr_buf buf;
    mr_buf_init(&buf, 10);
    assert_true(mr_is_ok(mr_buf_str(&buf, MR_STR("12345678"))));
    assert_int_equal(mr_buf_str(&buf, MR_STR("abc")).code, MR_E_LIMIT);
    assert_int_equal(mr_buf_printf(&buf, "%d", 123).code, MR_E_LIMIT);
    assert_int_equal(mr_buf_i64(&buf, -10).code, MR_E_LIMIT);
    assert_true(mr_str_eq(mr_buf_view(&buf), MR_STR("12345678")));
    assert_true(mr_is_ok(mr_buf_str(&buf, MR_STR("90"))));
    assert_int_equal(mr_buf_byte(&buf, 'x').code, MR_E_LIMIT);
    mr_buf_done(&buf);
}

static void append_without_memory_leaves_it_as_it_was(void **state) {
    (void)state;
    char long_text[300];
    memset(long_text, 'a', sizeof long_text);
    mr_buf buf;
    mr_buf_init(&buf, 1000);
    assert_true(mr_is_ok(mr_buf_str(&buf, MR_STR("kept"))));
    mr_alloc_fail_at(1);
    assert_int_equal(mr_buf_append(&buf, long_text, sizeof long_text).code, MR_E_NOMEM);
    mr_alloc_fail_at(1);
    assert_int_equal(mr_buf_printf(&buf, "%.*s", 300, long_text).code, MR_E_NOMEM);
    mr_alloc_fail_at(2);
    assert_int_equal(mr_buf_printf(&buf, "%.*s", 300, long_text).code, MR_E_NOMEM);
    mr_alloc_fail_at(0);
    assert_true(mr_str_eq(mr_buf_view(&buf), MR_STR("kept")));
    mr_buf_done(&buf);
}

static void numbers_and_formats_are_written(void **state) {
    (void)state;
    mr_buf buf;
    mr_buf_init(&buf, 1000);
    assert_true(mr_is_ok(mr_buf_u64(&buf, UINT64_MAX)));
    assert_true(mr_is_ok(mr_buf_byte(&buf, ' ')));
    assert_true(mr_is_ok(mr_buf_i64(&buf, INT64_MIN)));
    assert_true(mr_is_ok(mr_buf_printf(&buf, " %s=%d", "x", 0)));
    assert_true(
        mr_str_eq(mr_buf_view(&buf), MR_STR("18446744073709551615 -9223372036854775808 x=0")));
    mr_buf_done(&buf);
}

static void consume_and_truncate_keep_the_rest(void **state) {
    (void)state;
    mr_buf buf;
    char *at;
    mr_buf_init(&buf, 100);
    assert_true(mr_str_eq(mr_buf_view(&buf), MR_STR("")));
    mr_buf_consume(&buf, 0);
    assert_true(mr_is_ok(mr_buf_reserve(&buf, 6, &at)));
    memcpy(at, "abcdef", 6);
    assert_int_equal(buf.len, 0);
    mr_buf_commit(&buf, 6);
    mr_buf_consume(&buf, 2);
    mr_buf_truncate(&buf, 3);
    assert_true(mr_str_eq(mr_buf_view(&buf), MR_STR("cde")));
    mr_buf_reset(&buf);
    assert_int_equal(buf.len, 0);
    mr_buf_done(&buf);
    assert_null(buf.ptr);
}

static bool is_zero(const char *at, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (at[i] != 0) {
            return false;
        }
    }
    return true;
}

static void what_a_private_buffer_drops_is_overwritten(void **state) {
    (void)state;
    mr_buf buf;
    static const char zeroes[900];
    mr_buf_init_private(&buf, 4000);
    for (size_t i = 0; i < 100; i++) {
        assert_true(mr_is_ok(mr_buf_str(&buf, MR_STR("secret"))));
    }
    mr_buf_consume(&buf, 6);
    assert_int_equal(buf.len, 594);
    assert_true(is_zero(buf.ptr + 594, 6));
    mr_buf_truncate(&buf, 300);
    assert_true(is_zero(buf.ptr + 300, 294));
    assert_memory_equal(buf.ptr, "secretsecret", 12);
    mr_alloc_fail_at(1);
    assert_int_equal(mr_buf_append(&buf, zeroes, sizeof zeroes).code, MR_E_NOMEM);
    mr_alloc_fail_at(0);
    assert_int_equal(buf.len, 300);
    mr_buf_reset(&buf);
    assert_true(is_zero(buf.ptr, 300));
    mr_buf_done(&buf);
    assert_true(buf.is_private);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append_past_the_maximum_leaves_it_as_it_was),
        cmocka_unit_test(append_without_memory_leaves_it_as_it_was),
        cmocka_unit_test(numbers_and_formats_are_written),
        cmocka_unit_test(consume_and_truncate_keep_the_rest),
        cmocka_unit_test(what_a_private_buffer_drops_is_overwritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
