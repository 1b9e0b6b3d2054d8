/* Walking a tape: lookups, strings, numbers by value. */
#include "base/mem.h"
#include "json/tape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static json_value read_text(json_tape *tape, const char *text) {
    json_tape_init(tape, JSON_DEPTH_DEFAULT);
    assert_true(mr_is_ok(json_tape_read(tape, mr_str_c(text), NULL)));
    return json_root(tape);
}

static void absent_and_wrong_kinds_answer_with_nothing(void **state) {
    (void)state;
    json_tape tape;
    json_value root = read_text(&tape, "[1,\"a\",{\"b\":2}]");
    uint64_t n;
    int64_t i;
    bool b;
    mr_buf buf;
    mr_buf_init(&buf, 10);
    const json_value wrong[] = {JSON_NONE, json_find(root, MR_STR("a")), json_item(root, 3),
                                json_find(json_item(root, 2), MR_STR("c")),
                                json_item(json_item(root, 2), 0)};
    for (size_t k = 0; k < sizeof wrong / sizeof wrong[0]; k++) {
        assert_int_equal(json_kind_of(wrong[k]), JSON_ABSENT);
        assert_int_equal(json_count(wrong[k]), 0);
        assert_true(mr_str_is_absent(json_raw(wrong[k])));
        assert_false(json_string_eq(wrong[k], MR_STR("")));
        assert_false(json_is_minified(wrong[k]));
        assert_int_equal(json_u64(wrong[k], 0, 9, &n).code, MR_E_INVALID);
        assert_int_equal(json_i64(wrong[k], 0, 9, &i).code, MR_E_INVALID);
        assert_int_equal(json_bool(wrong[k], &b).code, MR_E_INVALID);
        assert_int_equal(json_string_append(wrong[k], &buf).code, MR_E_INVALID);
        json_iter it = json_iter_of(wrong[k]);
        assert_false(json_next(&it));
    }
    assert_int_equal(json_u64(json_item(root, 1), 0, 9, &n).code, MR_E_INVALID);
    assert_int_equal(json_bool(json_item(root, 0), &b).code, MR_E_INVALID);
    mr_buf_done(&buf);
    json_tape_done(&tape);
}

static void members_and_items_are_found_behind_nested_ones(void **state) {
    (void)state;
    json_tape tape;
    json_value root = read_text(&tape, " {\"a\":{\"z\":[1,[2]]},\"\\u0062\":[[],{},3],\"c\":true}");
    bool b = false;
    assert_int_equal(json_count(root), 3);
    assert_true(mr_is_ok(json_bool(json_find(root, MR_STR("c")), &b)) && b);
    json_value array = json_find(root, MR_STR("b"));
    assert_int_equal(json_count(array), 3);
    assert_true(mr_str_eq(json_raw(json_item(array, 2)), MR_STR("3")));
    assert_true(mr_str_eq(json_raw(json_find(root, MR_STR("a"))), MR_STR("{\"z\":[1,[2]]}")));
    assert_int_equal(json_offset(root), 1);
    assert_true(json_is_absent(json_find(root, MR_STR("z"))));
    json_tape_done(&tape);
}

static void strings_are_decoded_and_compared(void **state) {
    (void)state;
    static const struct {
        const char *text;
        mr_str decoded;
    } rows[] = {
        {"\"\"", {"", 0}},
        {"\"plain\"", {"plain", 5}},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", {"\"\\/\b\f\n\r\t", 8}},
        {"\"a\\u0000b\"", {"a\0b", 3}},
        {"\"\\u00e4\\u20AC\\ud83d\\ude00x\"", {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80x", 10}},
        {"\"\xc3\xa4\\n\xe6\x9d\xb1\"", {"\xc3\xa4\n\xe6\x9d\xb1", 6}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_tape tape;
        mr_arena arena;
        mr_buf buf;
        mr_str s;
        json_value value = read_text(&tape, rows[i].text);
        mr_arena_init(&arena, 4096);
        mr_buf_init(&buf, 4096);
        assert_true(mr_is_ok(json_string(value, &arena, &s)));
        assert_true(mr_str_eq(s, rows[i].decoded));
        assert_true(mr_is_ok(json_string_append(value, &buf)));
        assert_true(mr_str_eq(mr_buf_view(&buf), rows[i].decoded));
        assert_true(json_string_eq(value, rows[i].decoded));
        assert_false(json_string_eq(value, MR_STR("other")));
        if (s.len > 0) {
            assert_false(json_string_eq(value, mr_str_slice(s, 0, s.len - 1)));
        }
        mr_str raw = json_raw(value);
        assert_true(mr_is_ok(json_inner_decode(mr_str_slice(raw, 1, raw.len - 1), &arena, &s)));
        assert_true(mr_str_eq(s, rows[i].decoded));
        mr_buf_done(&buf);
        mr_arena_done(&arena);
        json_tape_done(&tape);
    }
}

static void strings_written_differently_are_equal(void **state) {
    (void)state;
    json_tape tape;
    json_value root = read_text(&tape, "[\"aA\",\"a\\u0041\",\"\\u0061A\",\"aB\",\"a\",1]");
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 3; j++) {
            assert_true(json_strings_equal(json_item(root, i), json_item(root, j)));
        }
        assert_false(json_strings_equal(json_item(root, i), json_item(root, 3)));
        assert_false(json_strings_equal(json_item(root, 4), json_item(root, i)));
        assert_false(json_strings_equal(json_item(root, i), json_item(root, 5)));
    }
    json_tape_done(&tape);
}

static void decoding_without_memory_is_told(void **state) {
    (void)state;
    json_tape tape;
    mr_arena arena;
    mr_str s;
    json_value value = read_text(&tape, "\"a\\n\"");
    mr_arena_init(&arena, 4096);
    mr_alloc_fail_at(1);
    assert_int_equal(json_string(value, &arena, &s).code, MR_E_NOMEM);
    mr_alloc_fail_at(1);
    assert_int_equal(json_inner_decode(MR_STR("a\\n"), &arena, &s).code, MR_E_NOMEM);
    mr_alloc_fail_at(0);
    mr_arena_done(&arena);
    json_tape_done(&tape);
}

static void damaged_escapes_stay_within_bounds(void **state) {
    (void)state;
    static const char *const damaged[] = {
        "\\", "a\\", "\\u", "\\u12", "\\uzzzz", "\\ud800\\u0041", "\\udfff", "\\ud83d"};
    mr_arena arena;
    mr_arena_init(&arena, 1 << 16);
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        mr_str s;
        mr_str inner = mr_str_c(damaged[i]);
        assert_true(mr_is_ok(json_inner_decode(inner, &arena, &s)));
        assert_true(s.len <= inner.len);
    }
    mr_arena_done(&arena);
}

static void numbers_that_are_no_integer_in_range_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint32_t u64, i64;
    } rows[] = {
        {"1.5", MR_E_INVALID, MR_E_INVALID},
        {"1e-1", MR_E_INVALID, MR_E_INVALID},
        {"15e-1", MR_E_INVALID, MR_E_INVALID},
        {"1e-999999999999999999999", MR_E_INVALID, MR_E_INVALID},
        {"0.0000000000000000000000000000001", MR_E_INVALID, MR_E_INVALID},
        {"18446744073709551616", MR_E_RANGE, MR_E_RANGE},
        {"1e20", MR_E_RANGE, MR_E_RANGE},
        {"1e999999999999999999999", MR_E_RANGE, MR_E_RANGE},
        {"-9223372036854775809", MR_E_RANGE, MR_E_RANGE},
        {"-1", MR_E_RANGE, 0},
        {"9223372036854775808", 0, MR_E_RANGE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_tape tape;
        uint64_t u;
        int64_t n;
        json_value value = read_text(&tape, rows[i].text);
        assert_int_equal(json_u64(value, 0, UINT64_MAX, &u).code, rows[i].u64);
        assert_int_equal(json_i64(value, INT64_MIN, INT64_MAX, &n).code, rows[i].i64);
        json_tape_done(&tape);
    }
}

static void integers_are_read_by_value(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t n;
    } rows[] = {
        {"0", 0},
        {"-0", 0},
        {"-0.000e99999999999999999999", 0},
        {"0e-5", 0},
        {"10", 10},
        {"10.0", 10},
        {"1e1", 10},
        {"1E+1", 10},
        {"100e-1", 10},
        {"0.001e4", 10},
        {"1.50e1", 15},
        {"-12.5e1", -125},
        {"9007199254740993", INT64_C(9007199254740993)},
        {"9007199254740993.000", INT64_C(9007199254740993)},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"-922337203685477580.8e1", INT64_MIN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_tape tape;
        int64_t n = 77;
        json_value value = read_text(&tape, rows[i].text);
        assert_true(mr_is_ok(json_i64(value, INT64_MIN, INT64_MAX, &n)));
        assert_true(n == rows[i].n);
        assert_int_equal(json_i64(value, n == INT64_MAX ? n : n + 1, INT64_MAX, &n).code,
                         n == INT64_MAX ? 0 : MR_E_RANGE);
        json_tape_done(&tape);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_and_wrong_kinds_answer_with_nothing),
        cmocka_unit_test(members_and_items_are_found_behind_nested_ones),
        cmocka_unit_test(strings_are_decoded_and_compared),
        cmocka_unit_test(strings_written_differently_are_equal),
        cmocka_unit_test(decoding_without_memory_is_told),
        cmocka_unit_test(damaged_escapes_stay_within_bounds),
        cmocka_unit_test(numbers_that_are_no_integer_in_range_are_refused),
        cmocka_unit_test(integers_are_read_by_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
