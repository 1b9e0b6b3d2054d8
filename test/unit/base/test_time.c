/* Calendar and the text forms of time. Expected seconds are from other implementations' tables. */
#include "base/time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void rfc3339_refuses_what_is_none(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",
        "2024",
        "2024-09-25",
        "2024-09-25T19:09:48",
        "2024-09-25 19:09:48Z",
        "2024-9-25T19:09:48Z",
        "2024-13-01T00:00:00Z",
        "2024-00-01T00:00:00Z",
        "2024-02-30T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2024-01-32T00:00:00Z",
        "2024-01-00T00:00:00Z",
        "2024-09-25T24:00:00Z",
        "2024-09-25T19:60:00Z",
        "2024-09-25T19:09:61Z",
        "2024-09-25T19:09:60Z",
        "2024-09-25T23:59:60+01:00",
        "2024-09-25T19:09:48.Z",
        "2024-09-25T19:09:48,5Z",
        "2024-09-25T19:09:48+0100",
        "2024-09-25T19:09:48+24:00",
        "2024-09-25T19:09:48+01:60",
        "2024-09-25T19:09:48Z ",
        "+2024-09-25T19:09:48Z",
        "02024-09-25T19:09:48Z",
        "2263-01-01T00:00:00Z",
        "1600-01-01T00:00:00Z",
        "yesterday",
    };
    mr_wall t = {5};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(mr_time_parse_rfc3339(mr_str_c(wrong[i]), &t).code, MR_E_INVALID);
        assert_true(t.ns == 5);
    }
    assert_true(mr_is_err(mr_time_parse_rfc3339(MR_STR_NONE, &t)));
}

static void rfc3339_reads_every_spelling(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
        int64_t ns;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0, 0},
        {"1969-12-31T23:59:59.5Z", -1, 500000000},
        {"2024-09-25T19:09:48Z", 1727291388, 0},
        {"2024-09-25t19:09:48z", 1727291388, 0},
        {"2024-09-25T19:09:48.5842087+00:00", 1727291388, 584208700},
        {"2024-09-25T19:09:48.123456789987654321Z", 1727291388, 123456789},
        {"2024-09-25T21:09:48+02:00", 1727291388, 0},
        {"2024-09-25T14:39:48-04:30", 1727291388, 0},
        {"2024-09-25T19:09:48-00:00", 1727291388, 0},
        {"2000-02-29T12:00:00Z", 951825600, 0},
        {"2016-12-31T23:59:60Z", 1483228800, 0},
        {"1990-12-31T15:59:60-08:00", 662688000, 0},
        {"2038-01-19T03:14:08Z", INT64_C(2147483648), 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mr_wall t;
        assert_true(mr_is_ok(mr_time_parse_rfc3339(mr_str_c(rows[i].text), &t)));
        assert_true(t.ns == rows[i].seconds * MR_NS_PER_S + rows[i].ns);
    }
}

static void http_dates_refuse_what_is_none(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",
        "120",
        "Wed, 25 Sep 2024 19:09:48",
        "Wed, 25 Sep 2024 19:09:48 UTC",
        "Wed,25 Sep 2024 19:09:48 GMT",
        "Wed, 31 Sep 2024 19:09:48 GMT",
        "Wed, 25 Foo 2024 19:09:48 GMT",
        "Wed, 5 Sep 2024 19:09:48 GMT",
        "Wednesday, 25 Sep 2024 19:09:48 GMT",
        "Wed, 25-Sep-24 19:09:48 GMT",
        "Wed Sep 25 19:09:48 2024 GMT",
        "Wednesday Sep 25 19:09:48 2024",
    };
    mr_wall t = {5};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(mr_time_parse_http(mr_str_c(wrong[i]), (mr_wall){0}, &t).code,
                         MR_E_INVALID);
        assert_true(t.ns == 5);
    }
}

static void http_dates_read_in_all_three_forms(void **state) {
    (void)state;
    const mr_wall now = {INT64_C(1727291388) * MR_NS_PER_S};
    static const struct {
        const char *text;
        int64_t seconds;
    } rows[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"Wed Sep 25 19:09:48 2024", 1727291388},
        {"Wednesday, 25-Sep-24 19:09:48 GMT", 1727291388},
        {"Monday, 01-Jan-74 00:00:00 GMT", INT64_C(3281990400)}, /* 50 years ahead: 2074 */
        {"Wednesday, 01-Jan-75 00:00:00 GMT", 157766400},        /* 51 ahead: 1975 */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mr_wall t = {0};
        assert_true(mr_is_ok(mr_time_parse_http(mr_str_c(rows[i].text), now, &t)));
        assert_int_equal(t.ns / MR_NS_PER_S, rows[i].seconds);
    }
}

static void formats_are_those_of_the_wire(void **state) {
    (void)state;
    const mr_wall t = {INT64_C(1727291388584208799)};
    char out[MR_TIME_TEXT_SIZE];
    assert_int_equal(mr_time_format_kore(t, out), 33);
    assert_string_equal(out, "2024-09-25T19:09:48.5842087+00:00");
    assert_int_equal(mr_time_format_ms(t, out), 24);
    assert_string_equal(out, "2024-09-25T19:09:48.584Z");
    assert_int_equal(mr_time_format_s(t, out), 20);
    assert_string_equal(out, "2024-09-25T19:09:48Z");
    assert_int_equal(mr_time_format_http(t, out), 29);
    assert_string_equal(out, "Wed, 25 Sep 2024 19:09:48 GMT");
    mr_time_format_kore((mr_wall){-1}, out);
    assert_string_equal(out, "1969-12-31T23:59:59.9999999+00:00");
}

static void calendar_round_trips_every_third_day_of_six_centuries(void **state) {
    (void)state;
    int32_t weekday = -1;
    for (int64_t day = -100000; day < 100000; day += 3) {
        mr_wall t = {day * INT64_C(86400) * MR_NS_PER_S + 12345};
        mr_civil civil = mr_civil_of_wall(t);
        assert_true(mr_wall_of_civil(&civil).ns == t.ns);
        assert_true(weekday < 0 || civil.weekday == (weekday + 3) % 7);
        weekday = civil.weekday;
    }
    assert_int_equal(mr_civil_of_wall((mr_wall){0}).weekday, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc3339_refuses_what_is_none),
        cmocka_unit_test(rfc3339_reads_every_spelling),
        cmocka_unit_test(http_dates_refuse_what_is_none),
        cmocka_unit_test(http_dates_read_in_all_three_forms),
        cmocka_unit_test(formats_are_those_of_the_wire),
        cmocka_unit_test(calendar_round_trips_every_third_day_of_six_centuries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
