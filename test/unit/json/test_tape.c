/* The strict reader: what it refuses and where, what it accepts, and its memory. The vectors follow
 * the naming of public JSON test suites: n_ must be refused, y_ accepted. */
#include "base/mem.h"
#include "json/tape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

struct row {
    const char *name;
    mr_str text;
    uint32_t code;
    size_t offset;
};

#define N(name, text, code, offset)                                                                \
    { "n_" name, {"" text, sizeof text - 1}, code, offset }
#define Y(name, text)                                                                              \
    { "y_" name, {"" text, sizeof text - 1}, 0, 0 }

static const struct row refused[] = {
    N("empty", "", JSON_E_SYNTAX, 0),
    N("space_only", " \n", JSON_E_SYNTAX, 2),
    N("bom", "\xef\xbb\xbf{}", JSON_E_SYNTAX, 0),
    N("nul", "\0", JSON_E_SYNTAX, 0),
    N("nul_behind", "1\0", JSON_E_SYNTAX, 1),
    N("two_values", "1 2", JSON_E_SYNTAX, 2),
    N("form_feed_is_no_space", "\f1", JSON_E_SYNTAX, 0),
    N("comment", "/**/1", JSON_E_SYNTAX, 0),
    N("word_short", "tru", JSON_E_SYNTAX, 0),
    N("word_upper", "True", JSON_E_SYNTAX, 0),
    N("word_long", "nulll", JSON_E_SYNTAX, 4),
    N("nan", "NaN", JSON_E_SYNTAX, 0),
    N("infinity", "-Infinity", JSON_E_SYNTAX, 1),
    N("single_quote", "'a'", JSON_E_SYNTAX, 0),
    N("number_plus", "+1", JSON_E_SYNTAX, 0),
    N("number_minus", "-", JSON_E_SYNTAX, 1),
    N("number_leading_zero", "[01]", JSON_E_SYNTAX, 2),
    N("number_minus_leading_zero", "-012", JSON_E_SYNTAX, 2),
    N("number_dot", "1.", JSON_E_SYNTAX, 2),
    N("number_leading_dot", ".5", JSON_E_SYNTAX, 0),
    N("number_exponent", "1e", JSON_E_SYNTAX, 2),
    N("number_exponent_sign", "1e+", JSON_E_SYNTAX, 3),
    N("number_dot_exponent", "1.e5", JSON_E_SYNTAX, 2),
    N("number_hex", "0x1", JSON_E_SYNTAX, 1),
    N("number_underscore", "1_000", JSON_E_SYNTAX, 1),
    N("string_open", "\"abc", JSON_E_SYNTAX, 4),
    N("string_escape_open", "\"abc\\", JSON_E_SYNTAX, 5),
    N("string_escape_quote_open", "\"\\\"", JSON_E_SYNTAX, 3),
    N("string_escape_unknown", "\"\\x41\"", JSON_E_SYNTAX, 2),
    N("string_escape_nul", "\"\\\0\"", JSON_E_SYNTAX, 2),
    N("string_escape_single_quote", "\"\\'\"", JSON_E_SYNTAX, 2),
    N("string_unit_short", "\"\\u12\"", JSON_E_SYNTAX, 1),
    N("string_unit_digit", "\"\\u12g4\"", JSON_E_SYNTAX, 1),
    N("string_newline", "\"a\nb\"", JSON_E_SYNTAX, 2),
    N("string_tab", "\"a\tb\"", JSON_E_SYNTAX, 2),
    N("string_nul", "\"a\0b\"", JSON_E_SYNTAX, 2),
    N("string_control_late", "\"0123456789abcdef0123456789\x1f\"", JSON_E_SYNTAX, 27),
    N("high_surrogate_alone", "\"\\ud800\"", JSON_E_SURROGATE, 1),
    N("high_surrogate_twice", "\"\\ud800\\ud800\"", JSON_E_SURROGATE, 1),
    N("high_surrogate_then_char", "\"\\uDBFFx\"", JSON_E_SURROGATE, 1),
    N("high_surrogate_then_escape", "\"\\ud83d\\n\"", JSON_E_SURROGATE, 1),
    N("high_surrogate_then_above", "\"\\ud800\\ue000\"", JSON_E_SURROGATE, 1),
    N("high_surrogate_then_below", "\"\\ud800\\u0041\"", JSON_E_SURROGATE, 1),
    N("low_surrogate_alone", "\"a\\udc00\"", JSON_E_SURROGATE, 2),
    N("surrogates_reversed", "\"\\udc00\\ud800\"", JSON_E_SURROGATE, 1),
    N("surrogate_in_name", "{\"\\ud800\":1}", JSON_E_SURROGATE, 2),
    N("utf8_lone_continuation", "\"\x80\"", JSON_E_UTF8, 1),
    N("utf8_overlong_slash", "\"\xc0\xaf\"", JSON_E_UTF8, 1),
    N("utf8_overlong_three", "\"\xe0\x80\xaf\"", JSON_E_UTF8, 1),
    N("utf8_surrogate", "\"\xed\xa0\x80\"", JSON_E_UTF8, 1),
    N("utf8_above", "\"\xf4\x90\x80\x80\"", JSON_E_UTF8, 1),
    N("utf8_cut_off_by_quote", "\"\xe2\x82\"", JSON_E_UTF8, 1),
    N("utf8_cut_off_by_end", "\"\xe2\x82", JSON_E_UTF8, 1),
    N("utf8_latin1", "\"caf\xe9 au lait, long enough\"", JSON_E_UTF8, 4),
    N("utf8_outside_string", "\xc3\xa4", JSON_E_SYNTAX, 0),
    N("array_open", "[1", JSON_E_SYNTAX, 2),
    N("array_comma", "[1,]", JSON_E_SYNTAX, 3),
    N("array_leading_comma", "[,1]", JSON_E_SYNTAX, 1),
    N("array_two_commas", "[1,,2]", JSON_E_SYNTAX, 3),
    N("array_no_comma", "[1 2]", JSON_E_SYNTAX, 3),
    N("array_wrong_bracket", "[1}", JSON_E_SYNTAX, 2),
    N("array_close_only", "]", JSON_E_SYNTAX, 0),
    N("array_close_twice", "[1]]", JSON_E_SYNTAX, 3),
    N("object_open", "{", JSON_E_SYNTAX, 1),
    N("object_comma", "{\"a\":1,}", JSON_E_SYNTAX, 7),
    N("object_no_colon", "{\"a\" 1}", JSON_E_SYNTAX, 5),
    N("object_no_value", "{\"a\":}", JSON_E_SYNTAX, 5),
    N("object_bare_name", "{a:1}", JSON_E_SYNTAX, 1),
    N("object_number_name", "{1:1}", JSON_E_SYNTAX, 1),
    N("object_name_only", "{\"a\"}", JSON_E_SYNTAX, 4),
    N("object_wrong_bracket", "{\"a\":1]", JSON_E_SYNTAX, 6),
    N("duplicate", "{\"a\":1,\"a\":1}", JSON_E_DUPLICATE, 7),
    N("duplicate_by_escape", "{\"a\":1,\"\\u0061\":2}", JSON_E_DUPLICATE, 7),
    N("duplicate_empty", "{\"\":1,\"b\":{},\"\":2}", JSON_E_DUPLICATE, 13),
    N("duplicate_surrogates", "{\"\xf0\x9f\x98\x80\":1,\"\\ud83d\\ude00\":2}", JSON_E_DUPLICATE,
      10),
    N("duplicate_inside", "[{\"b\":{\"c\":1,\"d\":[],\"c\":2}}]", JSON_E_DUPLICATE, 20),
    N("duplicate_behind_nested", "{\"x\":{\"y\":1},\"x\":2}", JSON_E_DUPLICATE, 13),
};

static const struct row accepted[] = {
    Y("scalar_string", "\"a\""),
    Y("scalar_number", "-0.0e-0"),
    Y("scalar_null", " null "),
    Y("space_everywhere", "\t{ \"a\" :\n[ 1 ,\r2 ] } "),
    Y("empty_containers", "[[],{}]"),
    Y("same_name_in_other_objects", "{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":2}}"),
    Y("names_equal_but_for_length",
      "{\"\":1,\"a\":2,\"aa\":3,\"aaa\":4,\"aaaa\":5,\"aaaaaaaa\":6}"),
    Y("names_with_equal_ends", "{\"abcdefgh1abcdefgh\":1,\"abcdefgh2abcdefgh\":2}"),
    Y("escapes", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uD83D\\uDE00\\uFFFF\""),
    Y("utf8_lengths", "\"\xc2\x80 \xe0\xa0\x80 \xed\x9f\xbf \xf0\x90\x80\x80 \xf4\x8f\xbf\xbf\""),
    Y("del_and_separators", "\"\x7f\xe2\x80\xa8\xe2\x80\xa9\""),
    Y("big_number", "123456789012345678901234567890e999999999999"),
    Y("surrogate_text_in_words", "\"\\\\ud800\""),
};

static void what_is_not_json_is_refused_at_its_place(void **state) {
    (void)state;
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        json_error error = {0};
        mr_err err = json_tape_read(&tape, refused[i].text, &error);
        if (err.code != refused[i].code || error.offset != refused[i].offset) {
            fail_msg("%s: code %u at %zu", refused[i].name, err.code, error.offset);
        }
        assert_non_null(error.expected);
        assert_non_null(error.rule);
        assert_true(json_is_absent(json_root(&tape)));
    }
    json_tape_done(&tape);
}

static void what_is_json_is_accepted(void **state) {
    (void)state;
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
        if (mr_is_err(json_tape_read(&tape, accepted[i].text, NULL))) {
            fail_msg("%s", accepted[i].name);
        }
        assert_false(json_is_absent(json_root(&tape)));
    }
    json_tape_done(&tape);
}

static void absent_text_and_too_long_text_are_refused(void **state) {
    (void)state;
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    assert_int_equal(json_tape_read(&tape, MR_STR_NONE, NULL).code, JSON_E_SYNTAX);
    assert_int_equal(json_tape_read(&tape, mr_str_of("[]", (size_t)1 << 40), NULL).code,
                     MR_E_LIMIT);
    json_tape_done(&tape);
}

static void every_prefix_of_a_text_is_refused(void **state) {
    (void)state;
    static const char text[] =
        "{\"a\":[1.5e3,true,{\"b\\u00e4\":\"\xc3\xa4\\ud83d\\ude00\"}],\"c\":null}";
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    for (size_t len = 0; len < sizeof text - 1; len++) {
        char *copy = mr_strdup_n(text, len); /* exact size: reading past it is seen */
        char *exact = mr_realloc(copy, len == 0 ? 1 : len);
        assert_true(mr_is_err(json_tape_read(&tape, mr_str_of(exact, len), NULL)));
        mr_free(exact);
    }
    assert_true(mr_is_ok(json_tape_read(&tape, mr_str_c(text), NULL)));
    json_tape_done(&tape);
}

static void depth_is_bounded_exactly(void **state) {
    (void)state;
    char text[200];
    json_tape tape;
    json_error error;
    json_tape_init(&tape, 64);
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    assert_int_equal(json_tape_read(&tape, mr_str_of(text, 130), &error).code, JSON_E_DEPTH);
    assert_int_equal(error.offset, 64);
    assert_true(mr_is_ok(json_tape_read(&tape, mr_str_of(text + 1, 128), NULL)));
    json_tape_done(&tape);
}

/* {"k0":0,…} of n members; the last named again where twin < n. */
static mr_str many_members(mr_buf *buf, size_t n, size_t twin) {
    mr_buf_reset(buf);
    mr_err err = mr_buf_byte(buf, '{');
    for (size_t i = 0; i < n && mr_is_ok(err); i++) {
        err = mr_buf_printf(buf, "%s\"k%zu\":[%zu]", i > 0 ? "," : "", i, i);
    }
    if (twin < n && mr_is_ok(err)) {
        err = mr_buf_printf(buf, ",\"\\u006b%zu\":0", twin);
    }
    err = mr_is_ok(err) ? mr_buf_byte(buf, '}') : err;
    assert_true(mr_is_ok(err));
    return mr_buf_view(buf);
}

static void duplicates_are_found_in_objects_of_every_size(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 31, 32, 33, 34, 100, 5000};
    json_tape tape;
    mr_buf buf;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    mr_buf_init(&buf, 1 << 20);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t n = sizes[i];
        assert_true(mr_is_ok(json_tape_read(&tape, many_members(&buf, n, n), NULL)));
        assert_int_equal(json_count(json_root(&tape)), n);
        size_t twins[] = {0, n / 2, n - 1};
        for (size_t t = 0; t < 3; t++) {
            json_error error;
            mr_str text = many_members(&buf, n, twins[t]);
            assert_int_equal(json_tape_read(&tape, text, &error).code, JSON_E_DUPLICATE);
            assert_int_equal(error.offset, mr_str_find(text, MR_STR("\"\\u006b")));
        }
    }
    mr_buf_done(&buf);
    json_tape_done(&tape);
}

static void names_of_equal_hash_cost_no_more_than_sorting(void **state) {
    (void)state;
    /* Same length, same first and last eight bytes: all hashes are equal. */
    json_tape tape;
    mr_buf buf;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    mr_buf_init(&buf, 1 << 21);
    mr_err err = mr_buf_byte(&buf, '{');
    for (unsigned i = 0; i < 30000 && mr_is_ok(err); i++) {
        err = mr_buf_printf(&buf, "%s\"aaaaaaaa%05ubbbbbbbb\":0", i > 0 ? "," : "", i);
    }
    assert_true(mr_is_ok(err) && mr_is_ok(mr_buf_byte(&buf, '}')));
    assert_true(mr_is_ok(json_tape_read(&tape, mr_buf_view(&buf), NULL)));
    mr_buf_done(&buf);
    json_tape_done(&tape);
}

static void a_warm_tape_allocates_nothing(void **state) {
    (void)state;
    json_tape tape;
    mr_buf buf;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    mr_buf_init(&buf, 1 << 20);
    mr_str text = many_members(&buf, 400, 400);
    mr_str escaped = MR_STR("[{\"a\":1,\"\\u0062\":2}]");
    assert_true(mr_is_ok(json_tape_read(&tape, escaped, NULL)));
    assert_true(mr_is_ok(json_tape_read(&tape, text, NULL)));
    mr_alloc_fail_at(1);
    assert_true(mr_is_ok(json_tape_read(&tape, text, NULL)));
    assert_true(mr_is_ok(json_tape_read(&tape, escaped, NULL)));
    mr_alloc_fail_at(0);
    json_tape_trim(&tape, 1 << 20);
    assert_true(tape.cap > 0);
    json_tape_trim(&tape, 100);
    assert_true(tape.cap == 0 && tape.order_cap == 0 && tape.scratch.cap == 0);
    mr_buf_done(&buf);
    json_tape_done(&tape);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    mr_buf buf;
    mr_buf_init(&buf, 1 << 20);
    mr_str text = many_members(&buf, 600, 599);
    uint64_t failures = 0;
    for (uint64_t n = 1;; n++) {
        json_tape tape;
        json_tape_init(&tape, JSON_DEPTH_DEFAULT);
        mr_alloc_fail_at(n);
        mr_err err = json_tape_read(&tape, text, NULL);
        mr_alloc_fail_at(0);
        json_tape_done(&tape);
        if (mr_err_is(err, JSON_E_DUPLICATE)) {
            break;
        }
        assert_int_equal(err.code, MR_E_NOMEM);
        failures++;
    }
    assert_true(failures >= 3);
    mr_buf_done(&buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_json_is_refused_at_its_place),
        cmocka_unit_test(what_is_json_is_accepted),
        cmocka_unit_test(absent_text_and_too_long_text_are_refused),
        cmocka_unit_test(every_prefix_of_a_text_is_refused),
        cmocka_unit_test(depth_is_bounded_exactly),
        cmocka_unit_test(duplicates_are_found_in_objects_of_every_size),
        cmocka_unit_test(names_of_equal_hash_cost_no_more_than_sorting),
        cmocka_unit_test(a_warm_tape_allocates_nothing),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
