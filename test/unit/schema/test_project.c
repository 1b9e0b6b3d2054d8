/* Taking `data` back to an older version: tables of document pairs with what goes in and comes out;
 * every row is also projected twice, unminified, and with each allocation failing in turn. */
#include "base/mem.h"
#include "json/write.h"
#include "schema/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#define P(body) "{\"properties\":{" body "}}"

struct row {
    const char *older, *newer;
    const char *in;
    const char *out; /* NULL: there is no projection, nothing is ever left out */
};

static void read(json_tape *tape, mr_str text) {
    json_tape_init(tape, JSON_DEPTH_MAX);
    assert_true(mr_is_ok(json_tape_read(tape, text, NULL)));
}

static void assert_text(mr_str got, const char *expected, const struct row *row) {
    if (!mr_str_eq(got, mr_str_c(expected))) {
        print_error("%s -> %s\n", row->newer, row->older);
    }
    char *copy = mr_strdup_n(got.ptr, got.len);
    assert_string_equal(copy, expected);
    mr_free(copy);
}

/* White space behind every structural character outside of strings. */
static void spread(const char *in, mr_buf *out) {
    bool inside = false;
    for (const char *p = in; *p != '\0'; p++) {
        assert_true(mr_is_ok(mr_buf_byte(out, *p)));
        if (inside && *p == '\\') {
            assert_true(mr_is_ok(mr_buf_byte(out, *++p)));
        } else if (*p == '"') {
            inside = !inside;
        } else if (!inside && strchr("{}[],:", *p) != NULL && p[1] != '\0') {
            assert_true(mr_is_ok(mr_buf_str(out, MR_STR(" \n"))));
        }
    }
}

static void project(const struct schema_projection *p, mr_str in, const struct row *row) {
    json_tape tape;
    mr_buf out;
    read(&tape, in);
    mr_buf_init(&out, 1 << 20);
    assert_true(mr_is_ok(mr_buf_str(&out, MR_STR("before:"))));
    assert_true(mr_is_ok(schema_project(p, json_root(&tape), &out)));
    assert_text(mr_str_slice(mr_buf_view(&out), 7, out.len), row->out, row);
    mr_buf_done(&out);
    json_tape_done(&tape);
}

static void check_row(const struct row *row) {
    struct schema_projection *p = NULL;
    mr_err err = schema_projection_new(mr_str_c(row->older), mr_str_c(row->newer), &p);
    assert_int_equal(err.code, 0);
    if ((p == NULL) != (row->out == NULL)) {
        print_error("%s -> %s\n", row->newer, row->older);
    }
    assert_true((p == NULL) == (row->out == NULL));
    if (p != NULL) {
        mr_buf wide;
        mr_buf_init(&wide, 1 << 20);
        spread(row->in, &wide);
        project(p, mr_str_c(row->in), row);
        project(p, mr_buf_view(&wide), row);
        project(p, mr_str_c(row->out), row);
        mr_buf_done(&wide);
    }
    schema_projection_free(p);
}

static const struct row nothing_rows[] = {
    {"true", "true", "", NULL},
    {"true", "false", "", NULL},
    {"{}", "{}", "", NULL},
    {P("\"a\":{}"), "{}", "", NULL},
    {P("\"a\":{}"), P("\"a\":{\"type\":\"string\"}"), "", NULL},
    {"{}", P("\"a\":false"), "", NULL},
    {"{\"required\":[\"a\"]}", P("\"a\":{}"), "", NULL},
    {"{\"dependencies\":{\"b\":[\"a\"]}}", P("\"a\":{}"), "", NULL},
    {"{\"patternProperties\":{\"^a\":{}}}", P("\"a\":{},\"ab\":{}"), "", NULL},
    {"{\"additionalProperties\":{\"type\":\"string\"}}", P("\"a\":{}"), "", NULL},
    {"{}", "{\"not\":{\"properties\":{\"a\":{}}}}", "", NULL},
    {"{}", "{\"patternProperties\":{\"^a\":{}}}", "", NULL},
    {"{}", "{\"enum\":[{\"properties\":{\"a\":{}}}]}", "", NULL},
    {"{}", "{\"$ref\":\"/schemas/other/1\"}", "", NULL},
    {"{}", "{\"$ref\":\"#/definitions/none\"}", "", NULL},
    {"{}", "{\"$ref\":\"#\"}", "", NULL},
    {"{}", "{\"$ref\":\"#/allOf/0\",\"allOf\":[{\"$ref\":\"#\"}]}", "", NULL},
    /* Siblings of $ref mean nothing in draft-07. */
    {"{}", "{\"$ref\":\"#/definitions/d\",\"properties\":{\"a\":{}},\"definitions\":{\"d\":{}}}",
     "", NULL},
    /* A definition renamed. */
    {"{\"$ref\":\"#/definitions/x\",\"definitions\":{\"x\":" P("\"a\":{}") "}}",
     "{\"$ref\":\"#/definitions/y\",\"definitions\":{\"y\":" P("\"a\":{}") "}}", "", NULL},
    {"{\"then\":{}}", "{\"then\":{\"properties\":{\"a\":{}}}}", "", NULL},
};

static const struct row member_rows[] = {
    {"{}", P("\"a\":{}"), "{\"a\":1}", "{}"},
    {"true", P("\"a\":{}"), "{\"a\":1,\"b\":2}", "{\"b\":2}"},
    {P("\"a\":false"), P("\"a\":{}"), "{\"b\":2,\"a\":1}", "{\"b\":2}"},
    {"{\"additionalProperties\":true}", P("\"a\":true"), "{\"a\":1}", "{}"},
    {"{\"additionalProperties\":{}}", P("\"a\":true"), "{\"a\":1}", "{}"},
    {"{\"additionalProperties\":false}", P("\"a\":true"), "{\"a\":1}", "{}"},
    {P("\"a\":{}"), P("\"a\":{},\"b\":{},\"c\":{}"),
     "{\"x\":[{\"b\":1}],\"b\":1,\"a\":1e0,\"c\":2,\"y\":-0}",
     "{\"x\":[{\"b\":1}],\"a\":1e0,\"y\":-0}"},
    {P("\"a\":{}"), P("\"a\":{},\"b\":{}"), "{\"a\":1}", "{\"a\":1}"},
    {P("\"a\":{}"), P("\"a\":{},\"b\":{}"), "{}", "{}"},
    {P("\"a\":{}"), P("\"a\":{},\"b\":{}"), "[{\"b\":1}]", "[{\"b\":1}]"},
    {P("\"a\":{}"), P("\"a\":{},\"b\":{}"), "\"b\"", "\"b\""},
    {P("\"a\":{}"), P("\"a\":{},\"b\":{}"), "null", "null"},
    /* Names with escapes, on either side; an empty name. */
    {"{}", P("\"\\u0061\\n\":{}"), "{\"b\":1,\"\\u0061\\u000a\":2}", "{\"b\":1}"},
    {"{}", P("\"\":{}"), "{\"\":1,\" \":2}", "{\" \":2}"},
    {"{}", P("\"a\\\"\":{},\"b\":{}"), "{\"a\\\"\":1,\"c\\\"\":2}", "{\"c\\\"\":2}"},
    /* Same length, not the same name. */
    {"{}", P("\"abc\":{}"), "{\"abd\":1,\"abc\":2,\"cba\":3}", "{\"abd\":1,\"cba\":3}"},
    /* Patterns: search, not match; an older pattern of `false` declares nothing. */
    {"{\"patternProperties\":{\"b\":{}}}", P("\"abc\":{},\"ac\":{}"), "{\"abc\":1,\"ac\":2}",
     "{\"abc\":1}"},
    {"{\"patternProperties\":{\"^a\":false}}", P("\"a\":{}"), "{\"a\":1,\"ab\":2}", "{\"ab\":2}"},
    {"{\"patternProperties\":{\"^\\\\u00e4$\":{}}}", P("\"\xc3\xa4\":{},\"o\":{}"),
     "{\"\xc3\xa4\":1,\"o\":2}", "{\"\xc3\xa4\":1}"},
};

static const struct row deep_rows[] = {
    {P("\"n\":" P("\"a\":{}")), P("\"n\":" P("\"a\":{},\"b\":{}")),
     "{\"b\":0,\"n\":{\"b\":1,\"a\":{\"b\":2}},\"z\":0}",
     "{\"b\":0,\"n\":{\"a\":{\"b\":2}},\"z\":0}"},
    {P("\"n\":{}"), P("\"n\":" P("\"b\":{}")), "{\"n\":null,\"m\":[]}", "{\"n\":null,\"m\":[]}"},
    {P("\"n\":{}"), P("\"n\":" P("\"b\":{}")), "{\"n\":{},\"m\":{}}", "{\"n\":{},\"m\":{}}"},
    {"{\"items\":{}}", "{\"items\":" P("\"b\":{}") "}", "[{\"b\":1},2,{\"c\":3,\"b\":4},[]]",
     "[{},2,{\"c\":3},[]]"},
    {"{\"items\":[{},{}]}",
     "{\"items\":[{}," P("\"b\":{}") "],\"additionalItems\":" P("\"c\":{}") "}",
     "[{\"b\":1,\"c\":1},{\"b\":1,\"c\":1},{\"b\":1,\"c\":1}]",
     "[{\"b\":1,\"c\":1},{\"c\":1},{\"b\":1}]"},
    /* A list form against a single form. */
    {"{\"items\":[" P("\"b\":{}") "]}", "{\"items\":" P("\"b\":{}") "}", "[{\"b\":1},{\"b\":2}]",
     "[{\"b\":1},{}]"},
    {"{\"items\":[{}]}", "{\"items\":[{}],\"additionalItems\":" P("\"c\":{}") "}",
     "[{\"c\":1},{\"c\":1}]", "[{\"c\":1},{}]"},
    {"{\"items\":{\"items\":{}}}", "{\"items\":{\"items\":" P("\"b\":{}") "}}",
     "[[{\"b\":1},{\"a\":1}],{\"b\":1}]", "[[{},{\"a\":1}],{\"b\":1}]"},
    {"{\"contains\":{}}", "{\"contains\":" P("\"b\":{}") "}", "[{\"b\":1},1]", "[{},1]"},
    /* Maps: through additionalProperties and patternProperties. */
    {"{\"additionalProperties\":" P("\"a\":{}") "}",
     "{\"additionalProperties\":" P("\"a\":{},\"b\":{}") "}", "{\"x\":{\"a\":1,\"b\":2},\"b\":3}",
     "{\"x\":{\"a\":1},\"b\":3}"},
    {"{\"patternProperties\":{\"^x\":" P("\"a\":{}") "}}",
     "{\"patternProperties\":{\"^x\":" P("\"a\":{},\"b\":{}") "}}", "{\"x1\":{\"a\":1,\"b\":2}}",
     "{\"x1\":{\"a\":1}}"},
    {"{\"properties\":{\"p\":{}},\"additionalProperties\":{\"type\":\"object\"}}",
     "{\"properties\":{\"p\":{}},\"additionalProperties\":" P("\"b\":{}") "}",
     "{\"p\":{\"b\":1},\"q\":{\"b\":1}}", "{\"p\":{\"b\":1},\"q\":{}}"},
};

static const struct row composed_rows[] = {
    {"{\"allOf\":[" P("\"a\":{}") "," P("\"b\":{}") "]}", P("\"a\":{},\"b\":{},\"c\":{}"),
     "{\"a\":1,\"b\":2,\"c\":3}", "{\"a\":1,\"b\":2}"},
    {P("\"a\":{}"), "{\"allOf\":[" P("\"a\":{}") "," P("\"b\":{}") "]}", "{\"a\":1,\"b\":2}",
     "{\"a\":1}"},
    {"{\"anyOf\":[" P("\"a\":{}") "]}", "{\"oneOf\":[" P("\"a\":{}") "," P("\"b\":{}") "]}",
     "{\"a\":1,\"b\":2}", "{\"a\":1}"},
    {"{}", "{\"if\":{},\"then\":" P("\"a\":{}") ",\"else\":" P("\"b\":{}") "}",
     "{\"a\":1,\"b\":2,\"c\":3}", "{\"c\":3}"},
    {"{}", "{\"dependencies\":{\"x\":" P("\"a\":{}") "}}", "{\"a\":1,\"x\":2}", "{\"x\":2}"},
    {"{\"allOf\":[" P("\"n\":" P("\"a\":{}")) "]}",
     "{\"allOf\":[" P("\"n\":" P("\"a\":{}")) "," P("\"n\":" P("\"b\":{}")) "]}",
     "{\"n\":{\"a\":1,\"b\":2}}", "{\"n\":{\"a\":1}}"},
    {"{\"$ref\":\"#/definitions/x\",\"definitions\":{\"x\":" P("\"a\":{}") "}}",
     "{\"$ref\":\"#/definitions/x~1y%25\",\"definitions\":{\"x/y%\":" P("\"a\":{},\"b\":{}") "}}",
     "{\"a\":1,\"b\":2}", "{\"a\":1}"},
    {"{}",
     "{\"$id\":\"/s/2\",\"allOf\":[{\"$ref\":\"/s/2#/definitions/d\"}],\"definitions\":{\"d\":" P(
         "\"a\":{}") "}}",
     "{\"a\":1}", "{}"},
    {"{}",
     "{\"allOf\":[{\"$ref\":\"#d\"}],\"definitions\":{\"d\":{\"$id\":\"#d\",\"properties\":"
     "{\"a\":{}}}}}",
     "{\"a\":1}", "{}"},
    /* "#/…" is seen from the innermost part with an $id. */
    {"{}",
     "{\"allOf\":[{\"$ref\":\"#/definitions/in\"}],\"definitions\":{\"d\":" P(
         "\"no\":{}") ",\"in\":{\"$id\":\"/in\",\"allOf\":[{\"$ref\":\"#/definitions/"
                      "d\"}],\"definitions\":"
                      "{\"d\":" P("\"a\":{}") "}}}}",
     "{\"a\":1,\"no\":2}", "{\"no\":2}"},
    /* Recursive: a tree of nodes. */
    {P("\"v\":{},\"kids\":{\"items\":{\"$ref\":\"#\"}}"),
     P("\"v\":{},\"w\":{},\"kids\":{\"items\":{\"$ref\":\"#\"}}"),
     "{\"v\":1,\"w\":2,\"kids\":[{\"w\":3,\"kids\":[{\"v\":4,\"w\":5},{\"kids\":[]}]}]}",
     "{\"v\":1,\"kids\":[{\"kids\":[{\"v\":4},{\"kids\":[]}]}]}"},
    /* The older one turns every second time, the newer every time. */
    {P("\"n\":" P("\"x\":{},\"n\":{\"$ref\":\"#\"}")), P("\"x\":{},\"n\":{\"$ref\":\"#\"}"),
     "{\"x\":1,\"n\":{\"x\":2,\"n\":{\"x\":3,\"n\":{\"x\":4}}}}",
     "{\"n\":{\"x\":2,\"n\":{\"n\":{\"x\":4}}}}"},
};

static void check_rows(const struct row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        check_row(&rows[i]);
    }
}
#define CHECK(rows) check_rows(rows, sizeof(rows) / sizeof(rows)[0])

static void no_projection_where_nothing_is_left_out(void **state) {
    (void)state;
    CHECK(nothing_rows);
}

static void members_that_only_the_newer_declares_are_left_out(void **state) {
    (void)state;
    CHECK(member_rows);
}

static void it_goes_through_members_and_items(void **state) {
    (void)state;
    CHECK(deep_rows);
}

static void it_goes_through_references_and_branches(void **state) {
    (void)state;
    CHECK(composed_rows);
}

static void a_recursive_schema_follows_the_deepest_value(void **state) {
    (void)state;
    struct schema_projection *p;
    mr_buf in;
    mr_buf out;
    json_tape tape;
    mr_buf_init(&in, 1 << 20);
    mr_buf_init(&out, 1 << 20);
    assert_true(mr_is_ok(schema_projection_new(MR_STR(P("\"n\":{\"$ref\":\"#\"}")),
                                               MR_STR(P("\"n\":{\"$ref\":\"#\"},\"b\":{}")), &p)));
    for (uint32_t i = 0; i < JSON_DEPTH_MAX; i++) {
        assert_true(mr_is_ok(mr_buf_str(&in, MR_STR("{\"b\":[],\"n\":"))));
    }
    assert_true(mr_is_ok(mr_buf_byte(&in, '1')));
    for (uint32_t i = 0; i < JSON_DEPTH_MAX; i++) {
        assert_true(mr_is_ok(mr_buf_byte(&in, '}')));
    }
    json_tape_init(&tape, JSON_DEPTH_MAX);
    /* [] inside the innermost object would be one too deep. */
    in.ptr[(JSON_DEPTH_MAX - 1) * 12 + 5] = '2';
    in.ptr[(JSON_DEPTH_MAX - 1) * 12 + 6] = '3';
    assert_true(mr_is_ok(json_tape_read(&tape, mr_buf_view(&in), NULL)));
    assert_true(mr_is_ok(schema_project(p, json_root(&tape), &out)));
    assert_int_equal(out.len, JSON_DEPTH_MAX * 6 + 1);
    assert_int_equal(mr_str_find(mr_buf_view(&out), MR_STR("b")), SIZE_MAX);
    json_tape_done(&tape);
    mr_buf_done(&in);
    mr_buf_done(&out);
    schema_projection_free(p);
}

static void read_file(const char *name, mr_buf *out) {
    char path[512];
    char piece[4096];
    snprintf(path, sizeof path, "%s/data/schemas/%s", MR_SOURCE_DIR, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    mr_buf_init(out, 1 << 20);
    for (size_t n; (n = fread(piece, 1, sizeof piece, file)) > 0;) {
        assert_true(mr_is_ok(mr_buf_append(out, piece, n)));
    }
    fclose(file);
}

static const struct {
    const char *name;
    size_t left_out;
} shipped[] = {
    {"SuperSim.ConnectionEvent.1.example.json", 0},
    {"supersim.connection.attachment.accepted.example.json", 0},
    {"supersim.connection.attachment.failed.example.json", 0},
    {"supersim.connection.attachment.rejected.example.json", 0},
    {"supersim.connection.data-session.started.example.json", 0},
    {"supersim.connection.data-session.updated.example.json", 3},
    {"supersim.connection.data-session.ended.example.json", 3},
    {"supersim.connection.data-session.failed.example.json", 0},
};

static void check_shipped(const struct schema_projection *p, const char *name, size_t left_out) {
    mr_buf text;
    mr_buf out;
    json_tape before;
    json_tape after;
    read_file(name, &text);
    read(&before, mr_buf_view(&text));
    mr_buf_init(&out, 1 << 20);
    assert_true(mr_is_ok(schema_project(p, json_root(&before), &out)));
    read(&after, mr_buf_view(&out));
    assert_true(json_is_minified(json_root(&after)));
    assert_int_equal(json_count(json_root(&before)) - json_count(json_root(&after)), left_out);
    for (json_iter it = json_iter_of(json_root(&after)); json_next(&it);) {
        mr_str key = json_raw(it.name);
        assert_false(mr_str_starts(key, MR_STR("\"data_session_data_")));
        assert_false(
            json_is_absent(json_find(json_root(&before), mr_str_slice(key, 1, key.len - 1))));
    }
    json_tape_done(&before);
    json_tape_done(&after);
    mr_buf_done(&text);
    mr_buf_done(&out);
}

static void shipped_connection_events_go_back_to_version_1(void **state) {
    (void)state;
    struct schema_projection *p;
    mr_buf v1;
    mr_buf v2;
    read_file("SuperSim.ConnectionEvent.1.schema.json", &v1);
    read_file("SuperSim.ConnectionEvent.2.schema.json", &v2);
    assert_true(mr_is_ok(schema_projection_new(mr_buf_view(&v1), mr_buf_view(&v2), &p)));
    assert_non_null(p);
    for (size_t i = 0; i < sizeof shipped / sizeof shipped[0]; i++) {
        check_shipped(p, shipped[i].name, shipped[i].left_out);
    }
    schema_projection_free(p);
    assert_true(mr_is_ok(schema_projection_new(mr_buf_view(&v2), mr_buf_view(&v1), &p)));
    assert_null(p);
    mr_buf_done(&v1);
    mr_buf_done(&v2);
}

static void every_failed_allocation_is_told(void **state) {
    (void)state;
    const struct row *row = &composed_rows[sizeof composed_rows / sizeof composed_rows[0] - 2];
    struct schema_projection *p = NULL;
    uint64_t n = 1;
    for (;; n++) {
        mr_alloc_fail_at(n);
        mr_err err = schema_projection_new(mr_str_c(row->older), mr_str_c(row->newer), &p);
        mr_alloc_fail_at(0);
        if (mr_is_ok(err)) {
            break;
        }
        assert_int_equal(err.code, MR_E_NOMEM);
    }
    assert_true(n > 10);
    schema_projection_free(p);
}

static void a_full_buffer_is_left_as_it_was(void **state) {
    (void)state;
    const struct row *row = &deep_rows[0];
    struct schema_projection *p;
    json_tape tape;
    assert_true(mr_is_ok(schema_projection_new(mr_str_c(row->older), mr_str_c(row->newer), &p)));
    read(&tape, mr_str_c(row->in));
    for (size_t max = 1; max < strlen(row->out) + 1; max++) {
        mr_buf out;
        mr_buf_init(&out, max);
        assert_true(mr_is_ok(mr_buf_byte(&out, 'x')));
        assert_int_equal(schema_project(p, json_root(&tape), &out).code, MR_E_LIMIT);
        assert_int_equal(out.len, 1);
        mr_buf_done(&out);
    }
    json_tape_done(&tape);
    schema_projection_free(p);
}

static void what_takes_too_much_work_is_refused(void **state) {
    (void)state;
    struct schema_projection *p;
    mr_buf text;
    mr_buf_init(&text, 1 << 20);
    /* The n-th member from the end decides: sets of sets, 2^24 of them. */
    assert_true(mr_is_ok(mr_buf_str(
        &text,
        MR_STR("{\"definitions\":{\"s0\":{\"properties\":{\"a\":"
               "{\"anyOf\":[{\"$ref\":\"#/definitions/s0\"},{\"$ref\":\"#/definitions/s1\"}]},"
               "\"b\":{\"$ref\":\"#/definitions/s0\"}}}"))));
    for (unsigned i = 1; i < 25; i++) {
        assert_true(mr_is_ok(mr_buf_printf(&text,
                                           ",\"s%u\":{\"properties\":{\"a\":{\"$ref\":"
                                           "\"#/definitions/s%u\"},\"b\":{\"$ref\":"
                                           "\"#/definitions/s%u\"}}}",
                                           i, i + 1, i + 1)));
    }
    assert_true(
        mr_is_ok(mr_buf_str(&text, MR_STR(",\"s25\":{\"properties\":{\"z\":{}}}},"
                                          "\"allOf\":[{\"$ref\":\"#/definitions/s0\"}]}"))));
    mr_err err = schema_projection_new(mr_buf_view(&text), mr_buf_view(&text), &p);
    assert_int_equal(err.code, MR_E_LIMIT);
    mr_buf_done(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_projection_where_nothing_is_left_out),
        cmocka_unit_test(members_that_only_the_newer_declares_are_left_out),
        cmocka_unit_test(it_goes_through_members_and_items),
        cmocka_unit_test(it_goes_through_references_and_branches),
        cmocka_unit_test(a_recursive_schema_follows_the_deepest_value),
        cmocka_unit_test(shipped_connection_events_go_back_to_version_1),
        cmocka_unit_test(every_failed_allocation_is_told),
        cmocka_unit_test(a_full_buffer_is_left_as_it_was),
        cmocka_unit_test(what_takes_too_much_work_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
