/* JSON Pointer (RFC 6901) and JSON Merge Patch (RFC 7396): the vectors of both RFCs. */
#include "base/mem.h"
#include "json/merge.h"
#include "json/pointer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const char document[] =
    "{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,\"g|h\":4,\"i\\\\j\":5,"
    "\"k\\\"l\":6,\" \":7,\"m~n\":8,\"\\u00e4\":9}";

static void pointers_that_are_none_or_lead_nowhere(void **state) {
    (void)state;
    static const struct {
        const char *pointer;
        uint32_t code;
    } rows[] = {
        {"foo", MR_E_INVALID},        {"/~", MR_E_INVALID},
        {"/~2", MR_E_INVALID},        {"/m~n", MR_E_INVALID},
        {"/foo/00", MR_E_INVALID},    {"/foo/01", MR_E_INVALID},
        {"/foo/+1", MR_E_INVALID},    {"/foo/a", MR_E_INVALID},
        {"/foo/", MR_E_INVALID},      {"/foo/-", MR_E_NOT_FOUND},
        {"/foo/2", MR_E_NOT_FOUND},   {"/foo/99999999999999999999", MR_E_NOT_FOUND},
        {"/fo", MR_E_NOT_FOUND},      {"/fooo", MR_E_NOT_FOUND},
        {"/foo/0/0", MR_E_NOT_FOUND}, {"//", MR_E_NOT_FOUND},
    };
    json_tape tape;
    json_value value;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    assert_true(mr_is_ok(json_tape_read(&tape, mr_str_c(document), NULL)));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(
            json_pointer_find(json_root(&tape), mr_str_c(rows[i].pointer), &value).code,
            rows[i].code);
    }
    assert_int_equal(json_pointer_find(JSON_NONE, MR_STR(""), &value).code, MR_E_NOT_FOUND);
    json_tape_done(&tape);
}

static void pointers_of_the_rfc_are_found(void **state) {
    (void)state;
    static const struct {
        const char *pointer, *raw;
    } rows[] = {
        {"", document},
        {"/foo", "[\"bar\",\"baz\"]"},
        {"/foo/0", "\"bar\""},
        {"/foo/1", "\"baz\""},
        {"/", "0"},
        {"/a~1b", "1"},
        {"/c%d", "2"},
        {"/e^f", "3"},
        {"/g|h", "4"},
        {"/i\\j", "5"},
        {"/k\"l", "6"},
        {"/ ", "7"},
        {"/m~0n", "8"},
        {"/\xc3\xa4", "9"},
    };
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    assert_true(mr_is_ok(json_tape_read(&tape, mr_str_c(document), NULL)));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_value value = JSON_NONE;
        assert_true(
            mr_is_ok(json_pointer_find(json_root(&tape), mr_str_c(rows[i].pointer), &value)));
        assert_true(mr_str_eq(json_raw(value), mr_str_c(rows[i].raw)));
    }
    json_tape_done(&tape);
}

static void pointers_are_built_and_taken_apart(void **state) {
    (void)state;
    mr_buf pointer;
    mr_buf token;
    mr_err err;
    mr_buf_init(&pointer, 30);
    mr_buf_init(&token, 30);
    assert_true(mr_is_ok(json_pointer_push(&pointer, MR_STR("a/b~c"))));
    assert_true(mr_is_ok(json_pointer_push_index(&pointer, 12)));
    assert_true(mr_is_ok(json_pointer_push(&pointer, MR_STR(""))));
    assert_true(mr_str_eq(mr_buf_view(&pointer), MR_STR("/a~1b~0c/12/")));
    assert_int_equal(json_pointer_push(&pointer, MR_STR("~~~~~~~~~~~~~~~~~~~~")).code, MR_E_LIMIT);
    assert_int_equal(pointer.len, 12);
    mr_str rest = mr_buf_view(&pointer);
    assert_true(json_pointer_next(&rest, &token, &err));
    assert_true(mr_str_eq(mr_buf_view(&token), MR_STR("a/b~c")));
    assert_true(json_pointer_next(&rest, &token, &err));
    assert_true(mr_str_eq(mr_buf_view(&token), MR_STR("12")));
    assert_true(json_pointer_next(&rest, &token, &err));
    assert_int_equal(token.len, 0);
    assert_false(json_pointer_next(&rest, &token, &err));
    assert_true(mr_is_ok(err));
    mr_buf_done(&token);
    mr_buf_init(&token, 2);
    rest = MR_STR("/abc");
    assert_false(json_pointer_next(&rest, &token, &err));
    assert_int_equal(err.code, MR_E_LIMIT);
    mr_buf_done(&token);
    mr_buf_done(&pointer);
}

static const struct {
    const char *target, *patch, *result;
} merges[] = {
    {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
    {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
    {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
    {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
    {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
    {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
    {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
    {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
    {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
    {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
    {"{\"a\":\"foo\"}", "null", "null"},
    {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
    {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
    {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
    {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    {"{ \"a\" : 1.50 , \"\\u0062\":[ ] }", "{ \"b\" : { \"c\" : [ null ] } }",
     "{\"a\":1.50,\"b\":{\"c\":[null]}}"},
};

static void merge_patches_of_the_rfc(void **state) {
    (void)state;
    json_tape target;
    json_tape patch;
    mr_buf out;
    json_tape_init(&target, JSON_DEPTH_DEFAULT);
    json_tape_init(&patch, JSON_DEPTH_DEFAULT);
    for (size_t i = 0; i < sizeof merges / sizeof merges[0]; i++) {
        mr_buf_init(&out, 1000);
        assert_true(mr_is_ok(json_tape_read(&target, mr_str_c(merges[i].target), NULL)));
        assert_true(mr_is_ok(json_tape_read(&patch, mr_str_c(merges[i].patch), NULL)));
        assert_true(mr_is_ok(json_merge(json_root(&target), json_root(&patch), &out)));
        assert_true(mr_str_eq(mr_buf_view(&out), mr_str_c(merges[i].result)));
        mr_buf_done(&out);
        mr_buf_init(&out, strlen(merges[i].result) - 1);
        assert_int_equal(json_merge(json_root(&target), json_root(&patch), &out).code, MR_E_LIMIT);
        assert_int_equal(out.len, 0);
        mr_buf_done(&out);
    }
    mr_buf_init(&out, 1000);
    assert_int_equal(json_merge(json_root(&target), JSON_NONE, &out).code, MR_E_INVALID);
    assert_true(mr_is_ok(json_merge(JSON_NONE, json_root(&patch), &out)));
    assert_true(mr_str_eq(mr_buf_view(&out), MR_STR("{\"b\":{\"c\":[null]}}")));
    mr_buf_done(&out);
    json_tape_done(&target);
    json_tape_done(&patch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pointers_that_are_none_or_lead_nowhere),
        cmocka_unit_test(pointers_of_the_rfc_are_found),
        cmocka_unit_test(pointers_are_built_and_taken_apart),
        cmocka_unit_test(merge_patches_of_the_rfc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
