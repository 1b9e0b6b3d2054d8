/* Strings by value. */
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void utf8_refuses_overlong_surrogates_and_cut_off(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "\x80",
        "\xbf",
        "\xc0\xaf",
        "\xc1\xbf",
        "\xc3",
        "\xc3(",
        "\xe0\x80\xaf",
        "\xe2\x82",
        "\xe2(\xa1",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf0\x80\x80\x80",
        "\xf0\x9f\x98",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xfe",
        "\xff",
        "12345678\xc3",
        "1234567\xe2\x82",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(mr_str_is_utf8(mr_str_c(wrong[i])));
    }
}

static void utf8_takes_every_length(void **state) {
    (void)state;
    assert_true(mr_str_is_utf8(MR_STR("")));
    assert_true(mr_str_is_utf8(MR_STR_NONE));
    assert_true(mr_str_is_utf8(MR_STR("a\x7f\0b")));
    assert_true(mr_str_is_utf8(MR_STR("\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80")));
    assert_true(mr_str_is_utf8(MR_STR("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf 123456789 \xe6\x9d\xb1")));
}

static void absent_is_not_empty(void **state) {
    (void)state;
    assert_true(mr_str_is_absent(mr_str_c(NULL)));
    assert_false(mr_str_is_absent(MR_STR("")));
    assert_true(mr_str_eq(MR_STR_NONE, MR_STR("")));
    assert_true(mr_str_is_absent(mr_str_slice(MR_STR_NONE, 1, 2)));
}

static void heads_cut_no_character(void **state) {
    (void)state;
    assert_true(mr_str_eq(mr_str_head(MR_STR("abc"), 2), MR_STR("ab")));
    assert_true(mr_str_eq(mr_str_head(MR_STR("abc"), 9), MR_STR("abc")));
    assert_true(mr_str_eq(mr_str_head(MR_STR("a\xc3\xa9"), 3), MR_STR("a\xc3\xa9")));
    assert_true(mr_str_eq(mr_str_head(MR_STR("a\xc3\xa9"), 2), MR_STR("a")));
    assert_true(mr_str_eq(mr_str_head(MR_STR("\xf0\x9f\x98\x80"), 3), MR_STR("")));
    assert_true(mr_str_is_absent(mr_str_head(MR_STR_NONE, 3)));
}

static void slices_are_clamped(void **state) {
    (void)state;
    mr_str s = MR_STR("abcdef");
    assert_true(mr_str_eq(mr_str_slice(s, 2, 4), MR_STR("cd")));
    assert_true(mr_str_eq(mr_str_slice(s, 4, 99), MR_STR("ef")));
    assert_true(mr_str_eq(mr_str_slice(s, 9, 99), MR_STR("")));
    assert_true(mr_str_eq(mr_str_slice(s, 4, 2), MR_STR("")));
}

static void finding_tells_the_first_place(void **state) {
    (void)state;
    assert_int_equal(mr_str_find_byte(MR_STR("abca"), 'a', 1), 3);
    assert_true(mr_str_find_byte(MR_STR("abc"), 'd', 0) == SIZE_MAX);
    assert_true(mr_str_find_byte(MR_STR("abc"), 'a', 9) == SIZE_MAX);
    assert_int_equal(mr_str_find(MR_STR("xxabab"), MR_STR("ab")), 2);
    assert_true(mr_str_find(MR_STR("a"), MR_STR("ab")) == SIZE_MAX);
    assert_int_equal(mr_str_find(MR_STR("a"), MR_STR("")), 0);
}

static void order_is_by_bytes_and_a_prefix_comes_first(void **state) {
    (void)state;
    assert_true(mr_str_cmp(MR_STR("a"), MR_STR("b")) < 0);
    assert_true(mr_str_cmp(MR_STR("a"), MR_STR("ab")) < 0);
    assert_true(mr_str_cmp(MR_STR("\xff"), MR_STR("a")) > 0);
    assert_int_equal(mr_str_cmp(MR_STR("ab"), MR_STR("ab")), 0);
}

static void case_is_folded_in_ascii_only(void **state) {
    (void)state;
    assert_true(mr_str_eq_nocase(MR_STR("Content-TYPE"), MR_STR("content-type")));
    assert_false(mr_str_eq_nocase(MR_STR("a"), MR_STR("ab")));
    assert_false(mr_str_eq_nocase(MR_STR("\xc3\x84"), MR_STR("\xc3\xa4")));
    assert_false(mr_str_eq_nocase(MR_STR("@"), MR_STR("`")));
}

static void split_gives_empty_parts_and_ends(void **state) {
    (void)state;
    mr_str rest = MR_STR("a,,b,");
    mr_str part;
    const char *expected[] = {"a", "", "b", ""};
    for (size_t i = 0; i < 4; i++) {
        assert_true(mr_str_split(&rest, ',', &part));
        assert_true(mr_str_eq(part, mr_str_c(expected[i])));
    }
    assert_false(mr_str_split(&rest, ',', &part));
}

static void starts_ends_trim_to_c(void **state) {
    (void)state;
    char text[4];
    assert_true(mr_str_starts(MR_STR("abc"), MR_STR("ab")));
    assert_false(mr_str_starts(MR_STR("a"), MR_STR("ab")));
    assert_true(mr_str_ends(MR_STR("abc"), MR_STR("bc")));
    assert_false(mr_str_ends(MR_STR("c"), MR_STR("bc")));
    assert_true(mr_str_eq(mr_str_trim(MR_STR(" \t a b\t ")), MR_STR("a b")));
    assert_true(mr_str_eq(mr_str_trim(MR_STR("  ")), MR_STR("")));
    assert_false(mr_str_to_c(MR_STR("abcd"), text, sizeof text));
    assert_string_equal(text, "");
    assert_true(mr_str_to_c(MR_STR("abc"), text, sizeof text));
    assert_string_equal(text, "abc");
}

static void hash_depends_on_seed_length_and_every_byte(void **state) {
    (void)state;
    char text[24] = {0};
    uint64_t first = mr_str_hash(mr_str_of(text, 23), 1);
    assert_true(first != mr_str_hash(mr_str_of(text, 23), 2));
    assert_true(first != mr_str_hash(mr_str_of(text, 22), 1));
    for (size_t i = 0; i < 23; i++) {
        text[i] = 1;
        assert_true(first != mr_str_hash(mr_str_of(text, 23), 1));
        text[i] = 0;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_refuses_overlong_surrogates_and_cut_off),
        cmocka_unit_test(utf8_takes_every_length),
        cmocka_unit_test(absent_is_not_empty),
        cmocka_unit_test(heads_cut_no_character),
        cmocka_unit_test(slices_are_clamped),
        cmocka_unit_test(finding_tells_the_first_place),
        cmocka_unit_test(order_is_by_bytes_and_a_prefix_comes_first),
        cmocka_unit_test(case_is_folded_in_ascii_only),
        cmocka_unit_test(split_gives_empty_parts_and_ends),
        cmocka_unit_test(starts_ends_trim_to_c),
        cmocka_unit_test(hash_depends_on_seed_length_and_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
