/* The machine behind both languages: bounds, keys, values as an index spells them, and what people
 * are told. */
#include "base/mem.h"
#include "route/filter/condition.h"
#include "support_filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void decimals_compare_by_value(void **state) {
    (void)state;
    /* ascending; within a row equal */
    static const char *const rows[][4] = {
        {"-1e100", "-10e99"},
        {"-300", "-3e2", "-300.00", "-0.003E+5"},
        {"-299.999999999999999"},
        {"-1e-400"},
        {"0", "-0", "0.00", "0e99"},
        {"1e-400", "0.1e-399"},
        {"0.05", "5e-2"},
        {"0.050000000000000001"},
        {"1", "1.0", "10e-1"},
        {"9007199254740992"},
        {"9007199254740993", "9007199254740993.0"},
        {"1e18"},
    };
    size_t n = sizeof rows / sizeof rows[0];
    for (size_t i = 0; i < n * 4; i++) {
        for (size_t j = 0; j < n * 4; j++) {
            if (rows[i / 4][i % 4] != NULL && rows[j / 4][j % 4] != NULL) {
                struct decimal a = decimal_of(mr_str_c(rows[i / 4][i % 4]));
                struct decimal b = decimal_of(mr_str_c(rows[j / 4][j % 4]));
                int order = decimal_cmp(&a, &b);
                assert_int_equal((order > 0) - (order < 0), (i / 4 > j / 4) - (i / 4 < j / 4));
            }
        }
    }
}

static void values_are_spelled_by_value_and_type(void **state) {
    (void)state;
    static const char *const vectors[][2] = {
        {"300", "3e2"},           {"300.0", "3e2"},     {"3.0e2", "3e2"},
        {"-0.50", "-5e-1"},       {"12", "12"},         {"-0", "0"},
        {"1.25e1", "125e-1"},     {"100.5", "1005e-1"}, {"\"300\"", "\"300"},
        {"\"a\\u0062\"", "\"ab"}, {"\"\"", "\""},       {"null", "null"},
        {"true", "true"},         {"false", "false"},   {"\"null\"", "\"null"},
    };
    json_tape tape;
    mr_buf out;
    json_tape_init(&tape, 4);
    mr_buf_init(&out, 100);
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        mr_buf_reset(&out);
        assert_true(mr_is_ok(json_tape_read(&tape, mr_str_c(vectors[i][0]), NULL)));
        assert_true(mr_is_ok(filter_value_text(json_root(&tape), &out)));
        assert_true(mr_str_eq(mr_buf_view(&out), mr_str_c(vectors[i][1])));
    }
    assert_true(mr_is_ok(json_tape_read(&tape, MR_STR("[1]"), NULL)));
    assert_int_equal(filter_value_text(json_root(&tape), &out).code, MR_E_INVALID);
    struct filter_attribute attributes[] = {{{"a", 1}, {"5", 1}, FILTER_STRING},
                                            {{"a", 1}, {"50", 2}, FILTER_INTEGER},
                                            {{"a", 1}, {"true", 4}, FILTER_BOOLEAN}};
    mr_buf_reset(&out);
    for (size_t i = 0; i < 3; i++) {
        assert_true(mr_is_ok(filter_attribute_text(&attributes[i], &out)));
    }
    assert_true(mr_str_eq(mr_buf_view(&out), MR_STR("\"55e1true")));
    json_tape_done(&tape);
    mr_buf_done(&out);
}

/* Path (NUL as /) and values, joined by a space; "" where there is no key. */
static void check_key(const char *pattern, const char *expected) {
    struct filter *filter = pattern_of(pattern);
    struct filter_key key;
    mr_buf text;
    mr_buf_init(&text, 1000);
    if (filter_key_of(filter, &key)) {
        assert_true(mr_is_ok(mr_buf_str(&text, key.path)));
        for (size_t i = 0; i < text.len; i++) {
            text.ptr[i] = text.ptr[i] == '\0' ? '/' : text.ptr[i];
        }
        for (size_t i = 0; i < key.n_values; i++) {
            assert_true(mr_is_ok(mr_buf_byte(&text, ' ')));
            assert_true(mr_is_ok(mr_buf_str(&text, key.values[i])));
        }
    }
    if (!mr_str_eq(mr_buf_view(&text), mr_str_c(expected))) {
        print_error("%s gives %.*s\n", pattern, MR_FMT(mr_buf_view(&text)));
    }
    assert_true(mr_str_eq(mr_buf_view(&text), mr_str_c(expected)));
    mr_buf_done(&text);
    filter_free(filter);
}

static void the_key_is_the_best_necessary_equality(void **state) {
    (void)state;
    check_key("{\"data\":{\"sim_sid\":[\"X\"]}}", "data/sim_sid \"X");
    check_key("{\"subject\":[\"b\",300.0,null,true]}", "subject \"b 3e2 null true");
    check_key("{\"type\":[\"t\"],\"data\":{\"a\":{\"b\":[1,2]}}}", "data/a/b 1 2");
    check_key("{\"subject\":[\"a\",\"b\"],\"data\":{\"a\":[1]}}", "data/a 1");
    check_key("{\"type\":[\"t\"]}", "type \"t");
    check_key("{\"subject\":[\"a\",{\"prefix\":\"b\"}]}", "");
    check_key("{\"subject\":[{\"anything-but\":\"a\"}]}", "");
    check_key("{\"$or\":[{\"subject\":[\"a\"]},{\"data\":{\"b\":[1]}}]}", "");
    check_key("{\"id\":[\"i\",\"j\"],\"$or\":[{\"subject\":[\"a\"]},{\"data\":{\"b\":[1]}}]}",
              "id \"i \"j");
    check_key("{\"data\":[\"a\"]}", "data \"a");
    check_key("{\"data\":{\"a\\u0000b\":[1]}}", "");
}

static void people_are_told_why_not(void **state) {
    (void)state;
    static const char *const vectors[][3] = {
        {"{\"subject\":[\"a\"]}", "{\"subject\":\"b\"}",
         "at /subject the event has \"b\", the pattern asks for [\"a\"]"},
        {"{\"subject\":[\"a\"]}", "{\"id\":\"b\"}",
         "at /subject the event has nothing, the pattern asks for [\"a\"]"},
        {"{\"id\":[\"i\"],\"data\":{\"a\":{\"b\":[{\"numeric\":[\">\",1]}]}}}",
         "{\"id\":\"i\",\"data\":{\"a\":{\"b\":[0,1]}}}",
         "at /data/a/b the event has [0,1], the pattern asks for [{\"numeric\":[\">\",1]}]"},
        {"{\"data\":{\"a\":{\"b\":[1]}}}", "{\"data\":{\"a\":5}}",
         "at /data/a the event has 5, the pattern asks for an object"},
        {"{\"$or\":[{\"id\":[1]},{\"id\":[2]}],\"subject\":[\"a\"]}",
         "{\"id\":1,\"subject\":\"b\"}",
         "at /subject the event has \"b\", the pattern asks for [\"a\"]"},
        {"{\"$or\":[{\"id\":[1]},{\"id\":[2]}]}", "{\"id\":3}",
         "at /$or/1/id the event has 3, the pattern asks for [2]"},
        {"{\"id\":[1]}", "{\"id\":1}", "the event matches"},
    };
    struct fixture fixture;
    mr_buf out;
    fixture_init(&fixture);
    mr_buf_init(&out, 1000);
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct filter *filter = pattern_of(vectors[i][0]);
        mr_buf_reset(&out);
        fixture_event(&fixture, vectors[i][1]);
        assert_true(mr_is_ok(filter_why_not(filter, &fixture.event, fixture.run, &out)));
        if (!mr_str_eq(mr_buf_view(&out), mr_str_c(vectors[i][2]))) {
            print_error("%.*s\n", MR_FMT(mr_buf_view(&out)));
        }
        assert_true(mr_str_eq(mr_buf_view(&out), mr_str_c(vectors[i][2])));
        filter_free(filter);
    }
    mr_buf_done(&out);
    fixture_done(&fixture);
}

static void a_pattern_explains_itself_as_a_boolean(void **state) {
    (void)state;
    struct fixture fixture;
    struct filter *filter = pattern_of("{\"id\":[\"a\"]}");
    mr_buf out;
    fixture_init(&fixture);
    mr_buf_init(&out, 1000);
    fixture_event(&fixture, "{\"id\":\"a\"}");
    assert_true(mr_is_ok(filter_explain(filter, &fixture.event, fixture.run, &out)));
    assert_true(mr_str_eq(mr_buf_view(&out),
                          MR_STR("{\"value\":true,\"type\":\"Boolean\",\"errors\":[]}")));
    filter_free(filter);
    mr_buf_done(&out);
    fixture_done(&fixture);
}

/* --- bounds ------------------------------------------------------------------------------------*/

/* 60 wildcards that all but match, over a string of 200 KiB. */
static void too_much_work_is_an_error_and_no_match(void **state) {
    (void)state;
    struct fixture fixture;
    mr_buf pattern;
    mr_buf event;
    bool error = false;
    fixture_init(&fixture);
    mr_buf_init(&pattern, (size_t)1 << 14);
    mr_buf_init(&event, (size_t)1 << 20);
    assert_true(mr_is_ok(mr_buf_str(&pattern, MR_STR("{\"data\":[0"))));
    for (size_t i = 0; i < 60; i++) {
        assert_true(mr_is_ok(mr_buf_str(
            &pattern, MR_STR(",{\"wildcard\":\"*aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab*\"}"))));
    }
    assert_true(mr_is_ok(mr_buf_str(&pattern, MR_STR("]}"))));
    assert_true(mr_is_ok(mr_buf_byte(&pattern, '\0')));
    assert_true(mr_is_ok(mr_buf_str(&event, MR_STR("{\"data\":\""))));
    for (size_t i = 0; i < 200000; i++) {
        assert_true(mr_is_ok(mr_buf_byte(&event, 'a')));
    }
    assert_true(mr_is_ok(mr_buf_append(&event, "\"}", 3)));
    struct filter *filter = pattern_of(pattern.ptr);
    fixture_event(&fixture, event.ptr);
    assert_false(filter_matches(filter, &fixture.event, fixture.run, &error));
    assert_true(error);
    mr_buf_reset(&event);
    assert_true(mr_is_ok(filter_explain(filter, &fixture.event, fixture.run, &event)));
    assert_int_not_equal(mr_str_find(mr_buf_view(&event), MR_STR("`steps`")), SIZE_MAX);
    /* the run is as good as new */
    fixture_event(&fixture, "{\"data\":0}");
    assert_true(filter_matches(filter, &fixture.event, fixture.run, &error));
    assert_false(error);
    filter_free(filter);
    mr_buf_done(&pattern);
    mr_buf_done(&event);
    fixture_done(&fixture);
}

/* 8 KiB of one letter over 200 KiB of it: 1.6 billion comparisons, were they made. */
static void one_wildcard_is_given_up_at_the_limit(void **state) {
    (void)state;
    static char pattern[8194];
    static char text[200000];
    size_t work = 0;
    memset(pattern, 'a', sizeof pattern);
    memset(text, 'a', sizeof text);
    pattern[0] = '*';
    pattern[sizeof pattern - 1] = 'b';
    const struct condition condition = {.kind = CONDITION_WILDCARD,
                                        .type = JSON_STRING,
                                        .text = mr_str_of(pattern, sizeof pattern)};
    const struct scalar scalar = {.kind = JSON_STRING, .text = mr_str_of(text, sizeof text)};
    assert_false(condition_holds(&condition, NULL, &scalar, 1000, &work));
    assert_int_equal(work, 1001);
}

static void evaluations_draw_on_the_steps_they_are_given(void **state) {
    (void)state;
    struct fixture fixture;
    struct filter *filter = pattern_of("{\"data\":{\"a\":[\"\\u0078\"],\"b\":[1]}}");
    uint32_t steps = 100;
    bool error = true;
    fixture_init(&fixture);
    fixture_event(&fixture, "{\"data\":{\"a\":\"x\",\"b\":1}}");
    assert_true(filter_matches_within(filter, &fixture.event, fixture.run, &steps, &error));
    assert_false(error);
    assert_in_range(steps, 80, 98);
    steps = 3;
    assert_false(filter_matches_within(filter, &fixture.event, fixture.run, &steps, &error));
    assert_true(error);
    assert_int_equal(steps, 0);
    filter_free(filter);
    fixture_done(&fixture);
}

#define EVERYTHING                                                                                 \
    "{\"id\":[\"i\",\"j\"],\"data\":{\"s\":[{\"wildcard\":\"a*\"},{\"anything-but\":[1,2]}],"      \
    "\"$or\":[{\"n\":[{\"numeric\":[\">\",1,\"<\",3]}]},{\"c\":[{\"cidr\":\"::/8\"}]}]}}"

static void a_warm_run_allocates_nothing(void **state) {
    (void)state;
    struct fixture fixture;
    struct filter *filter = pattern_of(EVERYTHING);
    fixture_init(&fixture);
    fixture_event(&fixture, "{\"id\":\"j\",\"data\":{\"s\":\"\\u0061b\",\"n\":2.5}}");
    assert_true(filter_matches(filter, &fixture.event, fixture.run, NULL));
    mr_alloc_fail_at(1);
    assert_true(filter_matches(filter, &fixture.event, fixture.run, NULL));
    void *refused = mr_alloc(1); /* the failure is still to come */
    assert_null(refused);
    mr_alloc_fail_at(0);
    filter_free(filter);
    fixture_done(&fixture);
}

static void every_failed_allocation_is_told(void **state) {
    (void)state;
    bool done = false;
    uint64_t n = 1;
    for (; !done && n < 1000; n++) {
        struct filter *filter = NULL;
        struct filter_fault fault;
        mr_alloc_fail_at(n);
        mr_err err = filter_compile_pattern(MR_STR(EVERYTHING), &filter, &fault);
        mr_alloc_fail_at(0);
        done = mr_is_ok(err);
        if (!done) {
            assert_int_equal(err.code, MR_E_NOMEM);
            assert_null(filter);
        }
        filter_free(filter);
    }
    assert_true(done);
    assert_true(n > 5);
}

static void a_string_without_memory_is_an_error_and_no_match(void **state) {
    (void)state;
    struct fixture fixture;
    bool error = false;
    struct filter *filter = pattern_of("{\"data\":[{\"anything-but\":\"x\"}]}");
    fixture_init(&fixture);
    fixture_event(&fixture, "{\"data\":\"\\u0061\"}");
    mr_alloc_fail_at(1);
    assert_false(filter_matches(filter, &fixture.event, fixture.run, &error));
    mr_alloc_fail_at(0);
    assert_true(error);
    assert_true(filter_matches(filter, &fixture.event, fixture.run, &error));
    filter_free(filter);
    fixture_done(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decimals_compare_by_value),
        cmocka_unit_test(values_are_spelled_by_value_and_type),
        cmocka_unit_test(the_key_is_the_best_necessary_equality),
        cmocka_unit_test(people_are_told_why_not),
        cmocka_unit_test(a_pattern_explains_itself_as_a_boolean),
        cmocka_unit_test(too_much_work_is_an_error_and_no_match),
        cmocka_unit_test(one_wildcard_is_given_up_at_the_limit),
        cmocka_unit_test(evaluations_draw_on_the_steps_they_are_given),
        cmocka_unit_test(a_warm_run_allocates_nothing),
        cmocka_unit_test(every_failed_allocation_is_told),
        cmocka_unit_test(a_string_without_memory_is_an_error_and_no_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
