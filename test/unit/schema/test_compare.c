/* What breaks between two versions: tables of document pairs with the pointers and rules that are
 * listed. Every document is also compared with itself: nothing breaks. */
#include "base/mem.h"
#include "schema/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#define P(body)      "{\"properties\":{" body "}}"
#define D(ref, body) "{\"$ref\":\"#/definitions/" ref "\",\"definitions\":{" body "}}"

struct row {
    const char *older, *newer;
    const char *changes; /* "pointer rule" each, with ", " between them; "": none */
};

/* The changes as a row has them. */
static void sum_up(mr_str json, mr_buf *out) {
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    assert_true(mr_is_ok(json_tape_read(&tape, json, NULL)));
    for (json_iter it = json_iter_of(json_root(&tape)); json_next(&it);) {
        assert_true(json_count(json_find(it.value, MR_STR("message"))) == 0);
        assert_true(json_raw(json_find(it.value, MR_STR("message"))).len > 10);
        if (out->len > 0) {
            assert_true(mr_is_ok(mr_buf_str(out, MR_STR(", "))));
        }
        assert_true(mr_is_ok(json_string_append(json_find(it.value, MR_STR("pointer")), out)));
        assert_true(mr_is_ok(mr_buf_byte(out, ' ')));
        assert_true(mr_is_ok(json_string_append(json_find(it.value, MR_STR("rule")), out)));
    }
    assert_true(mr_is_ok(mr_buf_byte(out, '\0')));
    json_tape_done(&tape);
}

static void compare(const char *older, const char *newer, const char *changes) {
    mr_buf out;
    mr_buf sum;
    size_t n;
    mr_buf_init(&out, 1 << 20);
    mr_buf_init(&sum, 1 << 20);
    assert_int_equal(schema_compare(mr_str_c(older), mr_str_c(newer), &out, &n).code, 0);
    sum_up(mr_buf_view(&out), &sum);
    if (strcmp(sum.ptr, changes) != 0) {
        print_error("%s -> %s\n", older, newer);
    }
    assert_string_equal(sum.ptr, changes);
    assert_int_equal(n == 0, changes[0] == '\0');
    mr_buf_done(&out);
    mr_buf_done(&sum);
}

static void check_rows(const struct row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        compare(rows[i].older, rows[i].newer, rows[i].changes);
        compare(rows[i].older, rows[i].older, "");
        compare(rows[i].newer, rows[i].newer, "");
    }
}
#define CHECK(rows) check_rows(rows, sizeof(rows) / sizeof(rows)[0])

static const struct row breaking[] = {
    {"true", "false", " false"},
    {"{}", "false", " false"},
    {P("\"a\":{},\"b~/\":{}"), P("\"a\":{}"), "/properties/b~0~1 properties"},
    {P("\"a\":{}"), "true", "/properties/a properties"},
    {P("\"a\":{}"), P("\"a\":false"), "/properties/a properties, /properties/a false"},
    {P("\"a\":" P("\"b\":{}")), P("\"a\":{}"), "/properties/a/properties/b properties"},
    {"{\"patternProperties\":{\"^a\":{}}}", "{}", "/patternProperties/^a patternProperties"},
    {"{}", "{\"patternProperties\":{\"^a\":{\"type\":\"null\"}}}",
     "/patternProperties/^a/type type"},
    {"{\"required\":[\"a\"]}", "{\"required\":[\"b\",\"a\"]}", "/required/0 required"},
    {"{\"type\":\"number\"}", "{\"type\":\"integer\"}", "/type type"},
    {"{\"type\":[\"string\",\"null\"]}", "{\"type\":\"string\"}", "/type type"},
    {"{}", "{\"type\":\"object\"}", "/type type"},
    {"{\"enum\":[1,2,3]}", "{\"enum\":[3,1]}", "/enum enum"},
    {"{}", "{\"enum\":[1]}", "/enum enum"},
    {"{\"enum\":[1,2]}", "{\"const\":1}", "/const const"},
    {"{\"const\":1}", "{\"const\":2}", "/const const"},
    {"{\"minimum\":1}", "{\"minimum\":1.0000000000000000000001}", "/minimum minimum"},
    {"{\"minimum\":9007199254740992}", "{\"minimum\":9007199254740993}", "/minimum minimum"},
    {"{\"minimum\":-1}", "{\"minimum\":-0.5}", "/minimum minimum"},
    {"{\"minimum\":1}", "{\"exclusiveMinimum\":1}", "/exclusiveMinimum exclusiveMinimum"},
    {"{\"maximum\":1e400}", "{\"maximum\":1e399}", "/maximum maximum"},
    {"{\"exclusiveMaximum\":5}", "{\"exclusiveMaximum\":4}", "/exclusiveMaximum exclusiveMaximum"},
    {"{}", "{\"multipleOf\":1}", "/multipleOf multipleOf"},
    {"{\"multipleOf\":0.1}", "{\"multipleOf\":0.2}", "/multipleOf multipleOf"},
    {"{}", "{\"minLength\":1,\"maxLength\":5}", "/minLength minLength, /maxLength maxLength"},
    {"{}", "{\"minItems\":1,\"maxItems\":5,\"uniqueItems\":true}",
     "/minItems minItems, /maxItems maxItems, /uniqueItems uniqueItems"},
    {"{}", "{\"minProperties\":1,\"maxProperties\":5}",
     "/minProperties minProperties, /maxProperties maxProperties"},
    {"{}", "{\"pattern\":\"^a\"}", "/pattern pattern"},
    {"{\"pattern\":\"^a\"}", "{\"pattern\":\"^b\"}", "/pattern pattern"},
    {"{\"format\":\"date\"}", "{\"format\":\"date-time\"}", "/format format"},
    {"{}", "{\"additionalProperties\":false}", "/additionalProperties additionalProperties"},
    {"{}", "{\"additionalProperties\":{\"type\":\"string\"}}", "/additionalProperties/type type"},
    {"{\"additionalProperties\":{\"type\":\"string\"}}", P("\"a\":{\"type\":\"null\"}"),
     "/properties/a/type type"},
    {"{\"items\":[{}]}", "{\"items\":[{}],\"additionalItems\":false}",
     "/additionalItems additionalItems"},
    {"{\"items\":{}}", "{\"items\":{\"type\":\"null\"}}", "/items/type type"},
    {"{}", "{\"items\":[{},{\"type\":\"null\"}]}", "/items/1/type type"},
    {"{\"items\":[{\"type\":\"null\"},{}]}", "{\"items\":{\"type\":\"null\"}}", "/items/type type"},
    {"{}", "{\"contains\":{}}", "/contains contains"},
    {"{\"contains\":{}}", "{\"contains\":{\"type\":\"null\"}}", "/contains/type type"},
    {"{}", "{\"propertyNames\":{\"pattern\":\"a\"}}", "/propertyNames/pattern pattern"},
    {"{}", "{\"dependencies\":{\"a\":[\"b\"]}}", "/dependencies/a dependencies"},
    {"{\"dependencies\":{\"a\":[\"b\"]}}", "{\"dependencies\":{\"a\":[\"b\",\"c\"]}}",
     "/dependencies/a dependencies"},
    {"{}", "{\"not\":{\"type\":\"null\"}}", "/not not"},
    {"{}", "{\"if\":{},\"then\":{}}", "/if if, /then then"},
    {"{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"string\"}]}", "{\"anyOf\":[{\"type\":\"null\"}]}",
     "/anyOf anyOf"},
    {"{}", "{\"oneOf\":[{\"type\":\"null\"}]}", "/oneOf oneOf"},
    {"{\"oneOf\":[{\"type\":\"null\"}]}", "{\"oneOf\":[{\"type\":\"null\"},{\"minimum\":1}]}",
     "/oneOf oneOf"},
    {"{}", "{\"allOf\":[{\"minimum\":1}]}", "/allOf/0/minimum minimum"},
    {"{\"$ref\":\"/schemas/a/1\"}", "{\"$ref\":\"/schemas/a/2\"}", "/$ref $ref"},
    {D("a", "\"a\":{}"), D("b", "\"b\":{\"minimum\":1}"), "/definitions/b/minimum minimum"},
    {P("\"k\":{\"items\":{\"$ref\":\"#\"}},\"v\":{}"),
     P("\"k\":{\"items\":{\"$ref\":\"#\"}},\"v\":{\"type\":\"null\"}"), "/properties/v/type type"},
};

static const struct row fine[] = {
    {"false", "{\"type\":\"null\"}", ""},
    {"true", "{}", ""},
    {"{\"allOf\":[{\"$ref\":\"/schemas/a/1\"}]}",
     "{\"allOf\":[{\"minLength\":0},{\"$ref\":\"/schemas/a/1\"}]}", ""},
    {"{\"title\":\"a\",\"default\":1}",
     "{\"description\":\"b\",\"$comment\":\"c\",\"examples\":[]}", ""},
    {P("\"a\":{}"), P("\"b\":{\"type\":\"string\"},\"a\":{}"), ""},
    {"{\"required\":[\"a\",\"b\"]}", "{\"required\":[\"b\"]}", ""},
    {"{\"type\":\"integer\"}", "{\"type\":[\"null\",\"number\"]}", ""},
    {"{\"type\":\"string\"}", "{\"type\":[\"string\"]}", ""},
    {"{\"enum\":[1,{\"a\":1,\"b\":[]}]}", "{\"enum\":[{\"b\":[],\"a\":1.0},2,10e-1]}", ""},
    {"{\"const\":1}", "{\"enum\":[2,1.0]}", ""},
    {"{\"minimum\":1,\"maximum\":10}", "{\"minimum\":1.0,\"maximum\":1e1}", ""},
    {"{\"exclusiveMinimum\":1}", "{\"minimum\":1}", ""},
    {"{\"minimum\":0.05}", "{\"minimum\":5e-2}", ""},
    {"{\"multipleOf\":0.3}", "{\"multipleOf\":0.1}", ""},
    {"{\"multipleOf\":1e3}", "{\"multipleOf\":8}", ""},
    {"{}", "{\"minLength\":0,\"minItems\":0.0,\"minProperties\":0}", ""},
    {"{\"maxLength\":5}", "{\"maxLength\":6}", ""},
    {"{\"pattern\":\"a\",\"format\":\"date\"}", "{}", ""},
    {"{\"type\":\"string\"}", "{\"type\":\"string\",\"minimum\":1,\"required\":[\"a\"]}", ""},
    {"{\"additionalProperties\":false}", "{\"additionalProperties\":true}", ""},
    {"{\"items\":{\"type\":\"null\"}}", "{\"items\":[{\"type\":\"null\"}]}", ""},
    {"{\"uniqueItems\":true}", "{\"uniqueItems\":false}", ""},
    {"{\"dependencies\":{\"a\":[\"b\",\"c\"]}}", "{\"dependencies\":{\"a\":[\"c\"]}}", ""},
    {"{\"not\":{\"type\":\"null\",\"title\":\"x\"}}", "{\"not\":{\"type\":[\"null\"]}}", ""},
    {"{\"anyOf\":[{\"minimum\":1},{\"type\":\"null\"}]}",
     "{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"string\"},{\"minimum\":1.0}]}", ""},
    {"{\"oneOf\":[{\"minimum\":1},{\"type\":\"null\"}]}",
     "{\"oneOf\":[{\"type\":\"null\"},{\"minimum\":1}]}", ""},
    {"{\"type\":\"string\"}", "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", ""},
    {P("\"a\":{\"minimum\":1}"), "{\"allOf\":[" P("\"a\":{\"minimum\":1}") "]}", ""},
    {"{\"allOf\":[{\"properties\":{\"o\":{\"properties\":{\"x\":{}}}}},{\"properties\":{\"o\":{"
     "\"properties\":{\"y\":{}}}}}]}",
     "{\"allOf\":[{\"properties\":{\"o\":{\"properties\":{\"x\":{}}}}},{\"properties\":{\"o\":{"
     "\"properties\":{\"y\":{},\"z\":{}}}}}]}",
     ""},
    {"{\"allOf\":[{\"pattern\":\"a\"},{\"pattern\":\"b\"}]}",
     "{\"allOf\":[{\"pattern\":\"b\"},{\"pattern\":\"a\"}]}", ""},
    {D("a", "\"a\":" P("\"x\":{}")), D("b", "\"b\":" P("\"x\":{}")), ""},
    {D("a", "\"a\":" P("\"x\":{\"$ref\":\"#\"}")), P("\"x\":{\"$ref\":\"#\"}"), ""},
    {"{\"not\":" P("\"x\":{\"$ref\":\"#\"}") "}", "{\"not\":" P("\"x\":{\"$ref\":\"#\"}") "}", ""},
};

static void what_narrows_or_vanishes_is_listed(void **state) {
    (void)state;
    CHECK(breaking);
}

static void what_widens_or_is_spelled_otherwise_is_not(void **state) {
    (void)state;
    CHECK(fine);
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
    assert_true(mr_is_ok(mr_buf_byte(out, '\0')));
    fclose(file);
}

static void shipped_versions_add_and_never_break(void **state) {
    (void)state;
    mr_buf v1;
    mr_buf v2;
    read_file("SuperSim.ConnectionEvent.1.schema.json", &v1);
    read_file("SuperSim.ConnectionEvent.2.schema.json", &v2);
    compare(v1.ptr, v2.ptr, "");
    compare(v2.ptr, v1.ptr,
            "/properties/data_session_data_upload properties, "
            "/properties/data_session_data_download properties, "
            "/properties/data_session_data_total properties");
    mr_buf_done(&v1);
    mr_buf_done(&v2);
}

static void every_failed_allocation_is_told(void **state) {
    (void)state;
    size_t found;
    uint64_t n = 1;
    for (;; n++) {
        mr_buf out;
        mr_buf_init(&out, 1 << 20);
        mr_alloc_fail_at(n);
        mr_err err = schema_compare(MR_STR(P("\"a\":{\"not\":{\"$ref\":\"#\"}},\"b\":{}")),
                                    MR_STR(P("\"a\":{\"not\":{\"$ref\":\"#\"}}")), &out, &found);
        mr_alloc_fail_at(0);
        size_t len = out.len;
        mr_buf_done(&out);
        if (mr_is_ok(err)) {
            break;
        }
        assert_int_equal(err.code, MR_E_NOMEM);
        assert_int_equal(len, 0);
    }
    assert_true(n > 8);
}

static void too_much_work_and_bad_text_are_refused(void **state) {
    (void)state;
    mr_buf text;
    mr_buf out;
    size_t n;
    mr_buf_init(&text, 1 << 20);
    mr_buf_init(&out, 1 << 20);
    assert_int_equal(schema_compare(MR_STR("{"), MR_STR("{}"), &out, &n).code, JSON_E_SYNTAX);
    assert_true(mr_is_ok(mr_buf_str(&text, MR_STR("{\"enum\":[0"))));
    for (unsigned i = 1; i < 9000; i++) {
        assert_true(mr_is_ok(mr_buf_printf(&text, ",%u", i)));
    }
    assert_true(mr_is_ok(mr_buf_str(&text, MR_STR("]}"))));
    mr_err err = schema_compare(mr_buf_view(&text), mr_buf_view(&text), &out, &n);
    assert_int_equal(err.code, MR_E_LIMIT);
    assert_int_equal(out.len, 0);
    mr_buf_done(&text);
    mr_buf_done(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_narrows_or_vanishes_is_listed),
        cmocka_unit_test(what_widens_or_is_spelled_otherwise_is_not),
        cmocka_unit_test(shipped_versions_add_and_never_break),
        cmocka_unit_test(every_failed_allocation_is_told),
        cmocka_unit_test(too_much_work_and_bad_text_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
