/* Documents that are refused, each with its pointer and what was expected; what is ignored; other
 * documents of a catalogue; limits. */
#include "base/mem.h"
#include "schema/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void refused_documents_say_where_and_what(void **state) {
    (void)state;
    static const struct {
        const char *document, *pointer, *expected;
    } rows[] = {
        {"", "", "JSON: a value"},
        {"{\"a\":}", "", "JSON"},
        {"1", "", "a schema: an object, true or false"},
        {"{\"properties\":{\"a/b\":1}}", "/properties/a~1b", "a schema"},
        {"{\"type\":\"text\"}", "/type", "null, boolean"},
        {"{\"type\":[]}", "/type", "at least one type"},
        {"{\"type\":[\"null\",\"null\"]}", "/type/1", "each string once"},
        {"{\"type\":1}", "/type", "null, boolean"},
        {"{\"minLength\":-1}", "/minLength", "a whole number, 0 or more"},
        {"{\"maxItems\":1.5}", "/maxItems", "a whole number, 0 or more"},
        {"{\"minProperties\":\"1\"}", "/minProperties", "a whole number, 0 or more"},
        {"{\"maximum\":\"1\"}", "/maximum", "a number"},
        {"{\"multipleOf\":0}", "/multipleOf", "a number above 0"},
        {"{\"multipleOf\":-1}", "/multipleOf", "a number above 0"},
        {"{\"multipleOf\":1234567890123456789}", "/multipleOf", "multiple_digits_max"},
        {"{\"required\":\"a\"}", "/required", "an array of member names"},
        {"{\"required\":[\"a\",1]}", "/required/1", "an array of member names"},
        {"{\"required\":[\"a\",\"\\u0061\"]}", "/required/1", "each string once"},
        {"{\"enum\":1}", "/enum", "an array"},
        {"{\"allOf\":[]}", "/allOf", "at least one schema"},
        {"{\"anyOf\":{}}", "/anyOf", "an array of schemas"},
        {"{\"oneOf\":[{},2]}", "/oneOf/1", "a schema"},
        {"{\"items\":[]}", "/items", "at least one schema"},
        {"{\"not\":null}", "/not", "a schema"},
        {"{\"definitions\":{\"a\":{\"type\":\"x\"}}}", "/definitions/a/type", "null"},
        {"{\"dependencies\":{\"a\":1}}", "/dependencies/a", "a schema"},
        {"{\"dependencies\":{\"a\":[1]}}", "/dependencies/a/0", "member names"},
        {"{\"patternProperties\":{\"(\":true}}", "/patternProperties/(", "a closing parenthesis"},
        {"{\"uniqueItems\":1}", "/uniqueItems", "true or false"},
        {"{\"title\":1}", "/title", "a string"},
        {"{\"$ref\":\"#\",\"minLength\":-1}", "/minLength", "a whole number"},
        {"{\"$schema\":\"http://json-schema.org/draft-04/schema#\"}", "/$schema", "draft-07"},
        {"{\"$id\":\"a b\"}", "/$id", "a URI reference"},
        {"{\"$ref\":\"#/definitions/none\"}", "/$ref", "a reference that leads somewhere"},
        {"{\"$ref\":\"#none\"}", "/$ref", "a reference that leads somewhere"},
        {"{\"$ref\":\"#/%FF\"}", "/$ref", "a reference that leads somewhere"},
        {"{\"$ref\":\"#/title\",\"title\":\"x\"}", "/title", "a schema"},
        {"{\"not\":{\"$ref\":\"http://example.com/a\"}}", "/not/$ref", "nothing is fetched"},
        {"{\"$ref\":\"/schemas/a/1\"}", "/$ref", "nothing is fetched"},
        {"{\"$ref\":\"#\"}", "", "do not lead back"},
        {"{\"allOf\":[{\"$ref\":\"#/definitions/a\"}],\"definitions\":{\"a\":{\"not\":{\"$ref\":"
         "\"#\"}}}}",
         "", "do not lead back"},
        {"{\"dependencies\":{\"a\":{\"$ref\":\"#\"}}}", "", "do not lead back"},
        {"{\"definitions\":{\"a\":{\"$id\":\"#x\"},\"b\":{\"$id\":\"#x\"}}}", "/definitions/b",
         "an identifier that no other schema has"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct schema *schema = NULL;
        struct schema_fault fault;
        mr_err err = schema_compile(mr_str_c(rows[i].document), NULL, &schema, NULL, &fault);
        print_message("%s: %s: %s\n", rows[i].document, fault.pointer, fault.expected);
        assert_int_equal(err.code, SCHEMA_E_REFUSED);
        assert_string_equal(fault.pointer, rows[i].pointer);
        assert_non_null(strstr(fault.expected, rows[i].expected));
    }
}

static void patterns_of_other_dialects_are_refused(void **state) {
    (void)state;
    static const char *const patterns[] = {
        "\\\\A",
        "\\\\Z",
        "\\\\z",
        "\\\\Qa\\\\E",
        "a++",
        "a*+",
        "(?>a)",
        "(?#x)",
        "(?i)a",
        "(*FAIL)",
        "\\\\h",
        "\\\\R",
        "\\\\K",
        "\\\\G",
        "\\\\X",
        "\\\\N",
        "(?P<n>a)",
        "(?|a)",
        "a{2",
        "{",
        "}",
        "]",
        "[b-a]",
        "[\\\\w-z]",
        "\\\\1",
        "\\\\k<n>",
        "\\\\u12",
        "\\\\xg1",
        "\\\\uD800",
        "\\\\p{Greek}",
        "\\\\p{Xan}",
        "\\\\pL",
        "(",
        ")",
        "[a",
        "\\\\",
        "*",
        "^*",
        "a**",
        "(?=a)*",
        "\\\\u{110000}",
        "\\\\01",
        "\\\\cé",
        "\\\\a",
        "\\\\e",
        "(?R)",
        "(?1)",
        "a|*",
    };
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        struct schema *schema = NULL;
        struct schema_fault fault;
        mr_buf document;
        mr_buf_init(&document, 1000);
        mr_err built = mr_buf_printf(&document, "{\"pattern\":\"%s\"}", patterns[i]);
        assert_true(mr_is_ok(built));
        mr_err err = schema_compile(mr_buf_view(&document), NULL, &schema, NULL, &fault);
        if (!mr_err_is(err, SCHEMA_E_REFUSED)) {
            print_error("%s was taken\n", patterns[i]);
        }
        assert_int_equal(err.code, SCHEMA_E_REFUSED);
        assert_string_equal(fault.pointer, "/pattern");
        mr_buf_done(&document);
    }
}

static void what_is_unknown_is_ignored_and_listed(void **state) {
    (void)state;
    struct schema *schema;
    struct schema_fault fault;
    mr_buf ignored;
    mr_buf_init(&ignored, 1000);
    mr_err err = schema_compile(
        MR_STR("{\"title\":\"t\",\"x\":1,\"properties\":{\"a\":{\"format\":\"idn-email\","
               "\"nullable\":true}},\"examples\":[],\"format\":\"date\"}"),
        NULL, &schema, &ignored, &fault);
    assert_true(mr_is_ok(err));
    mr_str list = mr_buf_view(&ignored);
    assert_true(list.ptr[0] == '[' && list.ptr[list.len - 1] == ']');
    assert_true(mr_str_find(list, MR_STR("\"/x\"")) != SIZE_MAX);
    assert_true(mr_str_find(list, MR_STR("\"/properties/a/nullable\"")) != SIZE_MAX);
    assert_true(mr_str_find(list, MR_STR("\"/properties/a/format\"")) != SIZE_MAX);
    assert_true(mr_str_find(list, MR_STR("\"/format\"")) == SIZE_MAX);
    mr_buf_done(&ignored);
    schema_free(schema);
}

/* "/schemas/a/1" and its like. */
static mr_str find_document(const void *ctx, mr_str path) {
    (void)ctx;
    if (mr_str_eq(path, MR_STR("/schemas/a/1"))) {
        return MR_STR("{\"$id\":\"/schemas/a/1\",\"$ref\":\"/schemas/b/1#/definitions/text\"}");
    }
    if (mr_str_eq(path, MR_STR("/schemas/b/1"))) {
        return MR_STR("{\"$id\":\"https://events.example.com/schemas/b/1\",\"definitions\":{"
                      "\"text\":{\"$id\":\"#text\",\"type\":\"string\"}},"
                      "\"properties\":{\"a\":{\"$ref\":\"/schemas/a/1\"}}}");
    }
    if (mr_str_eq(path, MR_STR("/schemas/bad/1"))) {
        return MR_STR("{\"type\":\"bad\"}");
    }
    return MR_STR_NONE;
}

static bool compile_in_catalogue(const char *document, struct schema **ret_schema,
                                 struct schema_fault *ret_fault) {
    static const mr_str bases[] = {{"https://events.example.com", 26},
                                   {"http://old.example/x/", 21}};
    static const struct schema_library library = {NULL, find_document, bases, 2};
    return mr_is_ok(schema_compile(mr_str_c(document), &library, ret_schema, NULL, ret_fault));
}

static bool judge(const struct schema *schema, const char *instance) {
    struct schema_run *run;
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    assert_true(mr_is_ok(json_tape_read(&tape, mr_str_c(instance), NULL)));
    assert_true(mr_is_ok(schema_run_new(&run)));
    bool good = schema_validate(schema, json_root(&tape), run, NULL, NULL);
    schema_run_free(run);
    json_tape_done(&tape);
    return good;
}

static void references_reach_into_the_catalogue(void **state) {
    (void)state;
    static const char *const documents[] = {
        "{\"$ref\":\"/schemas/a/1\"}",
        "{\"$ref\":\"https://events.example.com/schemas/a/1#\"}",
        "{\"$ref\":\"http://old.example/x/schemas/b/1#text\"}",
        "{\"$id\":\"/schemas/c/3\",\"allOf\":[{\"$ref\":\"../a/1\"},{\"$ref\":\"../b/1#text\"},"
        "{\"$ref\":\"https://events.example.com/schemas/b/1\"}]}",
        "{\"$id\":\"/schemas/c/3\",\"allOf\":[{\"$ref\":\"https://events.example.com/schemas/c/3#"
        "/definitions/x\"}],\"definitions\":{\"x\":{\"$ref\":\"/schemas/b/1#/definitions/text\"}}}",
    };
    struct schema *schema = NULL;
    struct schema_fault fault;
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
        if (!compile_in_catalogue(documents[i], &schema, &fault)) {
            print_error("%s: %s: %s\n", documents[i], fault.pointer, fault.expected);
            fail();
        }
        assert_true(judge(schema, "\"text\""));
        assert_false(judge(schema, "1"));
        assert_true(schema_bytes(schema) > 100);
        schema_free(schema);
    }
    assert_false(compile_in_catalogue("{\"not\":{\"$ref\":\"/schemas/no/1\"}}", &schema, &fault));
    assert_string_equal(fault.pointer, "/not/$ref");
    assert_false(compile_in_catalogue("{\"not\":{\"$ref\":\"/schemas/bad/1\"}}", &schema, &fault));
    assert_string_equal(fault.pointer, "/not/$ref");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_documents_say_where_and_what),
        cmocka_unit_test(patterns_of_other_dialects_are_refused),
        cmocka_unit_test(what_is_unknown_is_ignored_and_listed),
        cmocka_unit_test(references_reach_into_the_catalogue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
