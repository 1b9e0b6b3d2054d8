/* Log lines. */
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void keep_line(void *ctx, mr_str line) {
    mr_buf *lines = ctx;
    mr_ignore(mr_buf_str(lines, line), "the test looks at what is there");
}

static mr_wall fixed_now(void *ctx) {
    (void)ctx;
    return (mr_wall){INT64_C(1727291388584208700)};
}

static mr_log log_to(mr_buf *lines) {
    return (mr_log){.level = MR_LOG_INFO, .write = keep_line, .now = fixed_now, .ctx = lines};
}

static void values_that_could_forge_a_line_are_quoted(void **state) {
    (void)state;
    mr_buf lines;
    mr_buf_init(&lines, 10000);
    mr_log log = log_to(&lines);
    mr_warn(&log, "a.b", mr_kv_c("x", "1\n2024 info forged \"q\" \\"),
            mr_kv_str("empty", MR_STR("")), mr_kv_str("high", MR_STR("\xc3\xa4\x7f")));
    assert_true(mr_str_eq(
        mr_buf_view(&lines),
        MR_STR("2024-09-25T19:09:48.584Z warn a.b x=\"1\\x0a2024 info forged \\\"q\\\" \\\\\" "
               "empty=\"\" high=\"\\xc3\\xa4\\x7f\"\n")));
    mr_buf_done(&lines);
}

static void plain_values_and_numbers_stand_bare(void **state) {
    (void)state;
    mr_buf lines;
    mr_buf_init(&lines, 10000);
    mr_log log = log_to(&lines);
    mr_info(&log, "start", mr_kv_c("addr", "127.0.0.1:80"), mr_kv_i64("n", -5));
    assert_true(mr_str_eq(mr_buf_view(&lines),
                          MR_STR("2024-09-25T19:09:48.584Z info start addr=127.0.0.1:80 n=-5\n")));
    mr_buf_done(&lines);
}

static void lines_below_the_level_and_without_a_log_are_dropped(void **state) {
    (void)state;
    mr_buf lines;
    mr_buf_init(&lines, 10000);
    mr_log log = log_to(&lines);
    mr_log_at(&log, MR_LOG_DEBUG, "x", mr_kv_i64("n", 1));
    mr_error(NULL, "x", mr_kv_i64("n", 1));
    assert_int_equal(lines.len, 0);
    mr_buf_done(&lines);
}

static void a_value_too_long_is_left_out_and_the_line_still_ends(void **state) {
    (void)state;
    static char text[10000];
    memset(text, 'a', sizeof text);
    mr_buf lines;
    mr_buf_init(&lines, 20000);
    mr_log log = log_to(&lines);
    mr_info(&log, "x", mr_kv_i64("n", 1), mr_kv_str("long", mr_str_of(text, sizeof text)),
            mr_kv_i64("m", 2));
    assert_true(mr_str_ends(mr_buf_view(&lines), MR_STR("x n=1\n")));
    mr_buf_done(&lines);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_that_could_forge_a_line_are_quoted),
        cmocka_unit_test(plain_values_and_numbers_stand_bare),
        cmocka_unit_test(lines_below_the_level_and_without_a_log_are_dropped),
        cmocka_unit_test(a_value_too_long_is_left_out_and_the_line_still_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
