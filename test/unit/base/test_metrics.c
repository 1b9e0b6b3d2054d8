/* Metrics as text. */
#include "base/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static bool has_line(const mr_buf *text, const char *line) {
    return mr_str_find(mr_buf_view(text), mr_str_c(line)) != SIZE_MAX;
}

static size_t count_of(const mr_buf *text, mr_str what) {
    mr_str rest = mr_buf_view(text);
    size_t n = 0;
    for (size_t at = mr_str_find(rest, what); at != SIZE_MAX; at = mr_str_find(rest, what)) {
        rest = mr_str_slice(rest, at + what.len, rest.len);
        n++;
    }
    return n;
}

static void sums_over_threads_with_help_and_type_once_per_name(void **state) {
    (void)state;
    static mr_metrics a;
    static mr_metrics b;
    const mr_metrics *const arrays[] = {&a, &b};
    mr_buf text;
    mr_metric_add(&a, MR_METRIC_EVENTS_ACCEPTED, 3);
    mr_metric_add(&b, MR_METRIC_EVENTS_ACCEPTED, 4);
    mr_metric_set(&b, MR_METRIC_JOURNAL_FULL, 1);
    mr_metric_add(&a, MR_METRIC_ATTEMPTS_DEAD, 2);
    mr_metric_add(NULL, MR_METRIC_ATTEMPTS_DEAD, 2);
    mr_metric_set(&a, MR_METRIC_LOOP_TURN_US_MAX, 5);
    mr_metric_set(&b, MR_METRIC_LOOP_TURN_US_MAX, 9);
    mr_buf_init(&text, 100000);
    assert_true(mr_is_ok(mr_metrics_format(arrays, 2, &text)));
    assert_true(has_line(&text, "\nmillrace_events_accepted_total 7\n"));
    assert_true(has_line(&text, "\nmillrace_journal_full 1\n"));
    assert_true(has_line(&text, "\nmillrace_loop_turn_us_max 9\n"));
    assert_true(has_line(&text, "\nmillrace_attempts_total{outcome=\"dead\"} 2\n"));
    assert_int_equal(count_of(&text, MR_STR("# TYPE millrace_attempts_total counter\n")), 1);
    assert_int_equal(count_of(&text, MR_STR("# HELP millrace_deliveries ")), 1);
    mr_buf_done(&text);
}

static void a_buffer_too_small_is_an_error(void **state) {
    (void)state;
    mr_buf text;
    mr_buf_init(&text, 50);
    assert_int_equal(mr_metrics_format(NULL, 0, &text).code, MR_E_LIMIT);
    mr_buf_done(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_over_threads_with_help_and_type_once_per_name),
        cmocka_unit_test(a_buffer_too_small_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
