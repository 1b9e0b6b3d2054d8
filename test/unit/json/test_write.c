/* Minifying, strings as JSON.stringify and json.dumps write them, the writer of answers. The
 * expected texts were made with node (JSON.stringify) and Python (json.dumps). */
#include "base/mem.h"
#include "json/write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const struct {
    const char *text, *minified, *escaped; /* escaped NULL: the same */
} rows[] = {
    {" { \"b\" : [ 1 , 2.50 , -0 , 1E+2 ] ,\n\"a\" : null } ",
     "{\"b\":[1,2.50,-0,1E+2],\"a\":null}", NULL},
    {"[]", "[]", NULL},
    {"[ ]", "[]", NULL},
    {"{ }", "{}", NULL},
    {"[ [ ] , { } , [ { \"a\" : { } } ] ]", "[[],{},[{\"a\":{}}]]", NULL},
    {"[[1, 2],[3,4],5]", "[[1,2],[3,4],5]", NULL},
    {" true ", "true", NULL},
    {"\"\\/\\u0041\\u005c\\u0022\"", "\"/A\\\\\\\"\"", NULL},
    {"\"\\u0008\\u000c\\u000a\\u000d\\u0009\"", "\"\\b\\f\\n\\r\\t\"", NULL},
    {"\"\\u0000\\u001F\\u000B\"", "\"\\u0000\\u001f\\u000b\"", NULL},
    {"\"\\u007f\"", "\"\x7f\"", "\"\\u007f\""},
    {"\"\x7f\"", "\"\x7f\"", "\"\\u007f\""},
    {"\"\\u2028\xe2\x80\xa9\"", "\"\xe2\x80\xa8\xe2\x80\xa9\"", "\"\\u2028\\u2029\""},
    {"\"Z\xc3\xa4hler \xe6\x9d\xb1\"", "\"Z\xc3\xa4hler \xe6\x9d\xb1\"",
     "\"Z\\u00e4hler \\u6771\""},
    {"\"\\uD83D\\uDE00\xf4\x8f\xbf\xbf\"", "\"\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\"",
     "\"\\ud83d\\ude00\\udbff\\udfff\""},
    {"{\"\\u00e4\":{\"\xc3\xb6 0123456789abcdef\":\"\\\\\"}}",
     "{\"\xc3\xa4\":{\"\xc3\xb6 0123456789abcdef\":\"\\\\\"}}",
     "{\"\\u00e4\":{\"\\u00f6 0123456789abcdef\":\"\\\\\"}}"},
};

static void values_are_minified(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_tape tape;
        mr_buf out;
        const char *escaped = rows[i].escaped != NULL ? rows[i].escaped : rows[i].minified;
        json_tape_init(&tape, JSON_DEPTH_DEFAULT);
        mr_buf_init(&out, 1000);
        assert_true(mr_is_ok(json_tape_read(&tape, mr_str_c(rows[i].text), NULL)));
        json_value root = json_root(&tape);
        assert_true(mr_is_ok(json_minify(root, JSON_UTF8, &out)));
        assert_true(mr_str_eq(mr_buf_view(&out), mr_str_c(rows[i].minified)));
        mr_buf_reset(&out);
        assert_true(mr_is_ok(json_minify(root, JSON_ESCAPE_NON_ASCII, &out)));
        assert_true(mr_str_eq(mr_buf_view(&out), mr_str_c(escaped)));
        mr_buf_reset(&out);
        assert_true(
            mr_is_ok(json_text_write(mr_str_c(rows[i].minified), JSON_ESCAPE_NON_ASCII, &out)));
        assert_true(mr_str_eq(mr_buf_view(&out), mr_str_c(escaped)));
        mr_buf_done(&out);
        json_tape_done(&tape);
    }
}

static void minified_is_marked_only_where_it_is(void **state) {
    (void)state;
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    assert_true(mr_is_ok(
        json_tape_read(&tape, MR_STR("[{\"a\":1}, {\"b\": 2},{\"c\":\"\\n\"},[[]],\"x\"]"), NULL)));
    static const bool expected[] = {true, false, false, true, true};
    assert_false(json_is_minified(json_root(&tape)));
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(json_is_minified(json_item(json_root(&tape), i)), expected[i]);
    }
    assert_true(mr_is_ok(json_tape_read(&tape, MR_STR(" [1] "), NULL)));
    assert_true(json_is_minified(json_root(&tape)));
    assert_true(mr_is_ok(json_tape_read(&tape, MR_STR("{\"a\\u0062\":1}"), NULL)));
    assert_false(json_is_minified(json_root(&tape)));
    json_tape_done(&tape);
}

static void slices_are_copied_only_where_they_must(void **state) {
    (void)state;
    json_tape tape;
    mr_buf scratch;
    mr_arena arena;
    mr_str text;
    mr_str body = MR_STR("[[1,2],[3, 4]]");
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    mr_buf_init(&scratch, 100);
    mr_arena_init(&arena, 1000);
    assert_true(mr_is_ok(json_tape_read(&tape, body, NULL)));
    json_value root = json_root(&tape);
    assert_true(mr_is_ok(json_minify_slice(json_item(root, 0), &scratch, &arena, &text)));
    assert_true(text.ptr == body.ptr + 1 && text.len == 5);
    assert_true(mr_is_ok(json_minify_slice(json_item(root, 1), &scratch, &arena, &text)));
    assert_true(mr_str_eq(text, MR_STR("[3,4]")));
    mr_alloc_fail_at(1);
    mr_arena_done(&arena);
    assert_int_equal(json_minify_slice(json_item(root, 1), &scratch, &arena, &text).code,
                     MR_E_NOMEM);
    mr_alloc_fail_at(0);
    mr_buf_done(&scratch);
    mr_arena_done(&arena);
    json_tape_done(&tape);
}

/* text is written as it is but for its byte at `at`, which becomes `instead`. */
static void expect_written(mr_str text, size_t at, enum json_escape escape, const char *instead) {
    char expected[100];
    size_t more = strlen(instead);
    memset(expected, 'a', sizeof expected);
    memcpy(expected + at, instead, more);
    char *copy = mr_alloc(text.len); /* so that a read beyond it is seen */
    memcpy(copy, text.ptr, text.len);
    mr_buf out;
    mr_buf_init(&out, 100);
    assert_true(mr_is_ok(json_string_write_inner(mr_str_of(copy, text.len), escape, &out)));
    assert_true(mr_str_eq(mr_buf_view(&out), mr_str_of(expected, text.len - 1 + more)));
    mr_buf_done(&out);
    mr_free(copy);
}

static void strings_are_written_at_every_alignment(void **state) {
    (void)state;
    static const struct {
        char byte;
        const char *utf8;
        const char *ascii;
    } bytes[] = {{'\n', "\\n", "\\n"},
                 {'"', "\\\"", "\\\""},
                 {'\\', "\\\\", "\\\\"},
                 {'\0', "\\u0000", "\\u0000"},
                 {0x1f, "\\u001f", "\\u001f"},
                 {0x7f, "\x7f", "\\u007f"},
                 {' ', " ", " "},
                 {'!', "!", "!"},
                 {'#', "#", "#"},
                 {'[', "[", "["},
                 {']', "]", "]"},
                 {'~', "~", "~"}};
    /* The byte that is looked at stands at each place of a short and of a longer text. */
    for (size_t row = 0; row < sizeof bytes / sizeof bytes[0]; row++) {
        for (size_t len = 1; len < 80; len++) {
            for (size_t at = 0; at < len; at++) {
                char text[80];
                memset(text, 'a', sizeof text);
                text[at] = bytes[row].byte;
                expect_written(mr_str_of(text, len), at, JSON_UTF8, bytes[row].utf8);
                expect_written(mr_str_of(text, len), at, JSON_ESCAPE_NON_ASCII, bytes[row].ascii);
            }
        }
    }
}

static void a_failed_write_leaves_the_buffer_as_it_was(void **state) {
    (void)state;
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    assert_true(mr_is_ok(json_tape_read(&tape, MR_STR("{ \"a\":[1,2,\"\xc3\xa4\\n\"]}"), NULL)));
    for (size_t max = 4; max < 21; max++) {
        mr_buf out;
        mr_buf_init(&out, max);
        assert_true(mr_is_ok(mr_buf_str(&out, MR_STR("kept"))));
        assert_int_equal(json_minify(json_root(&tape), JSON_UTF8, &out).code, MR_E_LIMIT);
        assert_int_equal(
            json_string_write(MR_STR("\x01\x02\x03 long enough"), JSON_UTF8, &out).code,
            MR_E_LIMIT);
        assert_int_equal(json_text_write(MR_STR("\"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\""),
                                         JSON_ESCAPE_NON_ASCII, &out)
                             .code,
                         MR_E_LIMIT);
        assert_true(mr_str_eq(mr_buf_view(&out), MR_STR("kept")));
        mr_buf_done(&out);
    }
    mr_buf out;
    mr_buf_init(&out, 100);
    assert_int_equal(json_minify(JSON_NONE, JSON_UTF8, &out).code, MR_E_INVALID);
    mr_buf_done(&out);
    json_tape_done(&tape);
}

static void write_answer(json_out *o) {
    json_out_object(o);
    json_out_member_u64(o, "accepted", 2);
    json_out_member_i64(o, "n", -1);
    json_out_member_array(o, "events");
    json_out_object(o);
    json_out_member_str(o, "id", MR_STR("a\"b"));
    json_out_member_bool(o, "duplicate", false);
    json_out_end(o);
    json_out_object(o);
    json_out_end(o);
    json_out_str(o, MR_STR("x"));
    json_out_array(o);
    json_out_end(o);
    json_out_u64(o, 7);
    json_out_i64(o, -7);
    json_out_bool(o, true);
    json_out_null(o);
    json_out_raw(o, MR_STR("[1]"));
    json_out_raw(o, MR_STR_NONE);
    json_out_value(o, JSON_NONE);
    json_out_end(o);
    json_out_member_object(o, "m");
    json_out_member_null(o, "z");
    json_out_member_c(o, "c", NULL);
    json_out_member_raw(o, "r", MR_STR("{}"));
    json_out_end(o);
    json_out_end(o);
}

static void the_writer_sets_commas_itself(void **state) {
    (void)state;
    mr_buf out;
    json_out o;
    mr_buf_init(&out, 1000);
    json_out_init(&o, &out);
    write_answer(&o);
    assert_true(mr_is_ok(json_out_finish(&o)));
    assert_true(mr_str_eq(
        mr_buf_view(&out),
        MR_STR("{\"accepted\":2,\"n\":-1,\"events\":[{\"id\":\"a\\\"b\",\"duplicate\":false},{},"
               "\"x\",[],7,-7,true,null,[1],null,null],\"m\":{\"z\":null,\"c\":null,\"r\":{}}}")));
    mr_buf_done(&out);
}

static void the_writers_first_error_sticks(void **state) {
    (void)state;
    for (size_t max = 0; max < 100; max++) {
        mr_buf out;
        json_out o;
        mr_buf_init(&out, max);
        json_out_init(&o, &out);
        write_answer(&o);
        assert_int_equal(json_out_finish(&o).code, MR_E_LIMIT);
        mr_buf_done(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_minified),
        cmocka_unit_test(minified_is_marked_only_where_it_is),
        cmocka_unit_test(slices_are_copied_only_where_they_must),
        cmocka_unit_test(strings_are_written_at_every_alignment),
        cmocka_unit_test(a_failed_write_leaves_the_buffer_as_it_was),
        cmocka_unit_test(the_writer_sets_commas_itself),
        cmocka_unit_test(the_writers_first_error_sticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
