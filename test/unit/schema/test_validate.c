/* Each keyword of draft-07 at its edges, by hand. A row: schema, an instance, the verdict. */
#include "base/mem.h"
#include "schema/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>

struct row {
    const char *schema;
    const char *instance;
    bool valid;
};

static bool judge(const char *schema_text, const char *instance) {
    struct schema *schema;
    struct schema_run *run;
    struct schema_fault fault;
    json_tape tape;
    mr_err err = schema_compile(mr_str_c(schema_text), NULL, &schema, NULL, &fault);
    if (mr_is_err(err)) {
        print_error("%s refused at %s: %s\n", schema_text, fault.pointer, fault.expected);
    }
    assert_true(mr_is_ok(err));
    assert_true(mr_is_ok(schema_run_new(&run)));
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    assert_true(mr_is_ok(json_tape_read(&tape, mr_str_c(instance), NULL)));
    const struct schema_error *errors;
    size_t n = 0;
    bool quick = schema_validate(schema, json_root(&tape), run, NULL, NULL);
    bool valid = schema_validate(schema, json_root(&tape), run, &errors, &n);
    assert_int_equal(quick, valid);
    assert_int_equal(valid, n == 0);
    json_tape_done(&tape);
    schema_run_free(run);
    schema_free(schema);
    return valid;
}

static void judge_rows(const struct row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (judge(rows[i].schema, rows[i].instance) != rows[i].valid) {
            print_error("%s on %s must be %s\n", rows[i].schema, rows[i].instance,
                        rows[i].valid ? "valid" : "invalid");
            fail();
        }
    }
}
#define JUDGE(rows) judge_rows(rows, sizeof(rows) / sizeof((rows)[0]))

static void types_and_values(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"{}", "null", true},
        {"true", "[1]", true},
        {"false", "[1]", false},
        {"{\"type\":\"integer\"}", "1.0", true},
        {"{\"type\":\"integer\"}", "1.5", false},
        {"{\"type\":\"integer\"}", "1e400", true},
        {"{\"type\":\"integer\"}", "1e-1", false},
        {"{\"type\":\"integer\"}", "-0.0e99", true},
        {"{\"type\":\"integer\"}", "1e999999999", true},
        {"{\"type\":\"integer\"}", "10e-1", true},
        {"{\"type\":\"number\"}", "1", true},
        {"{\"type\":[\"integer\",\"null\"]}", "null", true},
        {"{\"type\":[\"integer\",\"null\"]}", "0.5", false},
        {"{\"type\":\"boolean\"}", "false", true},
        {"{\"type\":\"boolean\"}", "0", false},
        {"{\"const\":1}", "1.0", true},
        {"{\"const\":9007199254740993}", "9007199254740992", false},
        {"{\"const\":9007199254740993}", "9007199254740993.0", true},
        {"{\"const\":1e400}", "1e401", false},
        {"{\"const\":1e400}", "10e399", true},
        {"{\"const\":0}", "-0", true},
        {"{\"const\":false}", "0", false},
        {"{\"const\":\"a\"}", "\"\\u0061\"", true},
        {"{\"const\":{\"a\":1,\"b\":[2]}}", "{\"b\":[2.0],\"a\":1}", true},
        {"{\"const\":{\"a\":1}}", "{\"a\":1,\"b\":2}", false},
        {"{\"const\":null}", "null", true},
        {"{\"enum\":[1,\"1\",[1],{\"a\":1}]}", "\"1\"", true},
        {"{\"enum\":[1,\"1\",[1],{\"a\":1}]}", "{\"\\u0061\":1e0}", true},
        {"{\"enum\":[1,\"1\",[1],{\"a\":1}]}", "[\"1\"]", false},
        {"{\"enum\":[]}", "1", false},
    };
    JUDGE(rows);
}

static void numbers_by_value(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"{\"multipleOf\":0.01}", "19.99", true},
        {"{\"multipleOf\":0.01}", "0.075", false},
        {"{\"multipleOf\":0.01}", "1e400", true},
        {"{\"multipleOf\":0.0001}", "0.0075", true},
        {"{\"multipleOf\":3}", "9007199254740993", true},
        {"{\"multipleOf\":3}", "9007199254740992", false},
        {"{\"multipleOf\":7}", "1e999999999", false},
        {"{\"multipleOf\":1e999999999}", "1", false},
        {"{\"multipleOf\":1e-999999999}", "1", true},
        {"{\"multipleOf\":1.5}", "-4.5", true},
        {"{\"multipleOf\":2}", "0", true},
        {"{\"multipleOf\":2.50}", "7.5", true},
        {"{\"maximum\":9007199254740992}", "9007199254740993", false},
        {"{\"maximum\":9007199254740993}", "9007199254740993", true},
        {"{\"maximum\":1e400}", "1e401", false},
        {"{\"maximum\":1e400}", "1e399", true},
        {"{\"maximum\":-0}", "0", true},
        {"{\"maximum\":3.0}", "3", true},
        {"{\"exclusiveMaximum\":3.0}", "3", false},
        {"{\"exclusiveMaximum\":3}", "2.99999999999999999999999", true},
        {"{\"minimum\":-1e400}", "-1e399", true},
        {"{\"minimum\":-1e400}", "-2e400", false},
        {"{\"minimum\":0.1}", "1e-1", true},
        {"{\"minimum\":-10}", "-9", true},
        {"{\"minimum\":1e-400}", "0", false},
        {"{\"exclusiveMinimum\":0}", "1e-999999999", true},
        {"{\"exclusiveMinimum\":0}", "-0.0", false},
        {"{\"exclusiveMinimum\":100}", "100.0001", true},
        {"{\"minimum\":5}", "\"4\"", true},
    };
    JUDGE(rows);
}

static void strings_by_code_points(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"{\"maxLength\":1}", "\"\xF0\x9F\x92\xA9\"", true},
        {"{\"maxLength\":1}", "\"\\ud83d\\udca9\"", true},
        {"{\"maxLength\":1}", "\"ab\"", false},
        {"{\"minLength\":2}", "\"\xF0\x9F\x92\xA9\"", false},
        {"{\"minLength\":2.0}", "\"\\u0000\\u0000\"", true},
        {"{\"maxLength\":1e99}", "\"abc\"", true},
        {"{\"minLength\":1e99}", "\"abc\"", false},
        {"{\"minLength\":2}", "1", true},
        {"{\"pattern\":\"b\"}", "\"abc\"", true},
        {"{\"pattern\":\"^b$\"}", "\"b\\n\"", false},
        {"{\"pattern\":\"^.$\"}", "\"\\r\"", false},
        {"{\"pattern\":\"^.$\"}", "\"\\u000b\"", true},
        {"{\"pattern\":\"^\\\\v$\"}", "\"\\n\"", false},
        {"{\"pattern\":\"^\\\\d$\"}", "\"\xD9\xA3\"", false},
        {"{\"pattern\":\"^\\\\w$\"}", "\"\xC3\xA9\"", false},
        {"{\"pattern\":\"^\\\\W$\"}", "\"\xC3\xA9\"", true},
        {"{\"pattern\":\"^\\\\s$\"}", "\"\xC2\xA0\"", true},
        {"{\"pattern\":\"^[\\\\S]$\"}", "\"\xC2\xA0\"", false},
        {"{\"pattern\":\"^\\\\S$\"}", "\"\xF0\x9F\x92\xA9\"", true},
        {"{\"pattern\":\"^[^\\\\d\\\\-x]$\"}", "\"-\"", false},
        {"{\"pattern\":\"^\\\\p{Lu}\\\\p{Script=Greek}$\"}", "\"A\xCE\xB1\"", true},
        {"{\"pattern\":\"^\\\\p{Letter}+$\"}", "\"\xC3\xA9t\"", true},
        {"{\"pattern\":\"^\\\\uD83D\\\\uDCA9$\"}", "\"\xF0\x9F\x92\xA9\"", true},
        {"{\"pattern\":\"^\\\\u{1F4A9}\\\\x41\\\\cJ\\\\/$\"}",
         "\"\xF0\x9F\x92\xA9"
         "A\\n/\"",
         true},
        {"{\"pattern\":\"^[[:alpha:]\\\\]$\"}", "\":]\"", true},
        {"{\"pattern\":\"^[[:alpha]+$\"}", "\"[:ph\"", true},
        {"{\"pattern\":\"^(a)?\\\\1b$\"}", "\"b\"", true},
        {"{\"pattern\":\"^[]\"}", "\"a\"", false},
        {"{\"pattern\":\"^[^]$\"}", "\"\\n\"", true},
        {"{\"pattern\":\"^a # b$\"}", "\"a # b\"", true},
        {"{\"pattern\":\"^(?<y>a)\\\\k<y>$\"}", "\"aa\"", true},
        {"{\"pattern\":\"\"}", "\"\"", true},
    };
    JUDGE(rows);
}

static void arrays(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"{\"items\":{\"type\":\"string\"}}", "[\"a\",1]", false},
        {"{\"items\":false}", "[]", true},
        {"{\"items\":[{\"type\":\"null\"},true],\"additionalItems\":false}", "[null,1]", true},
        {"{\"items\":[{\"type\":\"null\"}],\"additionalItems\":false}", "[null,1]", false},
        {"{\"items\":[{\"type\":\"null\"}],\"additionalItems\":{\"const\":1}}", "[null,1,1.0]",
         true},
        {"{\"items\":[{\"type\":\"null\"},true]}", "[]", true},
        {"{\"additionalItems\":false}", "[1]", true},
        {"{\"items\":{},\"additionalItems\":false}", "[1]", true},
        {"{\"maxItems\":2}", "[1,2,3]", false},
        {"{\"minItems\":1}", "[]", false},
        {"{\"minItems\":1}", "{}", true},
        {"{\"uniqueItems\":true}", "[1,1.0]", false},
        {"{\"uniqueItems\":true}", "[1,true]", true},
        {"{\"uniqueItems\":true}", "[9007199254740993,9007199254740992]", true},
        {"{\"uniqueItems\":true}", "[{\"a\":1,\"b\":2},{\"b\":2,\"a\":1}]", false},
        {"{\"uniqueItems\":true}", "[[1],[[1]],1,\"1\",null,false,0,{}]", true},
        {"{\"uniqueItems\":true}", "[\"a\",\"\\u0061\"]", false},
        {"{\"uniqueItems\":false}", "[1,1]", true},
        {"{\"contains\":{\"minimum\":5}}", "[1,5]", true},
        {"{\"contains\":{\"minimum\":5}}", "[1,4]", false},
        {"{\"contains\":true}", "[]", false},
        {"{\"contains\":false}", "[]", false},
        {"{\"contains\":false}", "1", true},
    };
    JUDGE(rows);
}

static void objects(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"{\"maxProperties\":1}", "{\"a\":1,\"b\":2}", false},
        {"{\"minProperties\":1}", "{}", false},
        {"{\"required\":[\"a\"]}", "{\"\\u0061\":1}", true},
        {"{\"required\":[\"a\"]}", "{\"b\":1}", false},
        {"{\"required\":[\"a\"]}", "[]", true},
        {"{\"required\":[]}", "{}", true},
        {"{\"properties\":{\"a\\\"b\":false}}", "{\"a\\u0022b\":1}", false},
        {"{\"properties\":{\"a\":{\"type\":\"null\"}},\"additionalProperties\":false}",
         "{\"a\":null}", true},
        {"{\"properties\":{\"a\":true},\"additionalProperties\":false}", "{\"b\":null}", false},
        {"{\"properties\":{\"a\":true},\"patternProperties\":{\"^b\":{\"const\":1}},"
         "\"additionalProperties\":{\"const\":2}}",
         "{\"a\":0,\"bb\":1,\"c\":2}", true},
        {"{\"properties\":{\"ab\":true},\"patternProperties\":{\"^a\":{\"const\":1}}}",
         "{\"ab\":2}", false},
        {"{\"patternProperties\":{\"a\":{\"minimum\":2},\"b\":{\"maximum\":3}}}", "{\"ab\":4}",
         false},
        {"{\"required\":[\"b\"],\"additionalProperties\":false}", "{\"b\":1}", false},
        {"{\"propertyNames\":{\"maxLength\":1}}", "{\"a\":1,\"bb\":1}", false},
        {"{\"propertyNames\":{\"enum\":[\"a\"]}}", "{\"\\u0061\":1}", true},
        {"{\"propertyNames\":{\"type\":\"string\"}}", "{\"a\":1}", true},
        {"{\"propertyNames\":false}", "{}", true},
        {"{\"dependencies\":{\"a\":[\"b\",\"c\"]}}", "{\"a\":1,\"b\":1}", false},
        {"{\"dependencies\":{\"a\":[\"b\",\"c\"]}}", "{\"b\":1}", true},
        {"{\"dependencies\":{\"a\":[]}}", "{\"a\":1}", true},
        {"{\"dependencies\":{\"a\":{\"required\":[\"b\"]}}}", "{\"a\":1}", false},
        {"{\"dependencies\":{\"a\":false}}", "{\"a\":1}", false},
        {"{\"dependencies\":{\"a\":false}}", "{\"b\":1}", true},
    };
    JUDGE(rows);
}

static void combinations(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"{\"allOf\":[{\"minimum\":1},{\"maximum\":2}]}", "3", false},
        {"{\"allOf\":[true,true]}", "3", true},
        {"{\"anyOf\":[{\"minimum\":3},{\"type\":\"string\"}]}", "\"a\"", true},
        {"{\"anyOf\":[{\"minimum\":3},{\"type\":\"string\"}]}", "2", false},
        {"{\"oneOf\":[{\"minimum\":3},{\"minimum\":5}]}", "5", false},
        {"{\"oneOf\":[{\"minimum\":3},{\"minimum\":5}]}", "4", true},
        {"{\"oneOf\":[false,false]}", "4", false},
        {"{\"not\":{\"type\":\"integer\"}}", "1", false},
        {"{\"not\":{\"type\":\"integer\"}}", "1.5", true},
        {"{\"not\":{}}", "1", false},
        {"{\"if\":{\"minimum\":5},\"then\":{\"multipleOf\":2},\"else\":{\"multipleOf\":3}}", "7",
         false},
        {"{\"if\":{\"minimum\":5},\"then\":{\"multipleOf\":2},\"else\":{\"multipleOf\":3}}", "3",
         true},
        {"{\"if\":{\"minimum\":5},\"then\":false}", "4", true},
        {"{\"if\":false,\"else\":false}", "4", false},
        {"{\"then\":false,\"else\":false}", "4", true},
    };
    JUDGE(rows);
}

static void references(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"{\"properties\":{\"a\":{\"$ref\":\"#\"}},\"additionalProperties\":false}",
         "{\"a\":{\"a\":{\"b\":1}}}", false},
        {"{\"$ref\":\"#/definitions/a~1b~0c%25%22\",\"type\":\"null\","
         "\"definitions\":{\"a/b~c%\\\"\":{\"type\":\"string\"}}}",
         "\"x\"", true},
        {"{\"items\":[true,{\"$ref\":\"#/items/2\"},{\"const\":1}]}", "[0,2]", false},
        {"{\"definitions\":{\"a\":{\"$id\":\"#foo\",\"type\":\"null\"}},\"allOf\":[{\"$ref\":"
         "\"#foo\"}]}",
         "1", false},
        {"{\"$id\":\"http://x.y/root.json\",\"definitions\":{\"a\":{\"$id\":\"sub/b.json\","
         "\"definitions\":{\"c\":{\"$id\":\"#in\",\"type\":\"string\"},\"d\":{\"type\":\"null\"}},"
         "\"properties\":{\"p\":{\"$ref\":\"#/definitions/d\"}}}},\"properties\":{"
         "\"x\":{\"$ref\":\"sub/b.json#in\"},\"y\":{\"$ref\":\"http://x.y/sub/b.json\"}}}",
         "{\"x\":\"s\",\"y\":{\"p\":null}}", true},
        {"{\"$id\":\"http://x.y/root.json\",\"definitions\":{\"a\":{\"$id\":\"sub/b.json\","
         "\"definitions\":{\"c\":{\"$id\":\"#in\",\"type\":\"string\"},\"d\":{\"type\":\"null\"}},"
         "\"properties\":{\"p\":{\"$ref\":\"#/definitions/d\"}}}},\"properties\":{"
         "\"x\":{\"$ref\":\"sub/b.json#in\"},\"y\":{\"$ref\":\"http://x.y/sub/b.json\"}}}",
         "{\"x\":\"s\",\"y\":{\"p\":1}}", false},
        {"{\"properties\":{\"$ref\":{\"type\":\"string\"}}}", "{\"$ref\":1}", false},
        {"{\"enum\":[{\"$id\":\"#e\",\"type\":\"null\"}]}", "{\"type\":\"null\",\"$id\":\"#e\"}",
         true},
        {"{\"$ref\":\"http://json-schema.org/draft-07/schema#\"}", "{\"minLength\":-1}", false},
        {"{\"$ref\":\"http://json-schema.org/draft-07/schema#/definitions/simpleTypes\"}",
         "\"null\"", true},
        {"{\"unknown\":{\"deep\":[{\"type\":\"null\"}]},\"not\":{\"$ref\":\"#/unknown/deep/0\"}}",
         "null", false},
        {"{\"$ref\":\"#/definitions/a\",\"definitions\":{\"a\":{\"$ref\":\"#/definitions/b\"},"
         "\"b\":{\"type\":\"null\"}}}",
         "null", true},
    };
    JUDGE(rows);
}

/* What validating `instance` says first. */
static void expect_error(const char *schema_text, const char *instance, const char *where,
                         const char *schema_where, const char *rule) {
    struct schema *schema;
    struct schema_run *run;
    struct schema_fault fault;
    json_tape tape;
    const struct schema_error *errors;
    size_t n = 0;
    assert_true(mr_is_ok(schema_compile(mr_str_c(schema_text), NULL, &schema, NULL, &fault)));
    assert_true(mr_is_ok(schema_run_new(&run)));
    json_tape_init(&tape, JSON_DEPTH_MAX);
    assert_true(mr_is_ok(json_tape_read(&tape, mr_str_c(instance), NULL)));
    assert_false(schema_validate(schema, json_root(&tape), run, &errors, &n));
    assert_true(n > 0 && n <= SCHEMA_ERRORS_MAX);
    print_message("%.*s | %.*s | %s | %.*s\n", MR_FMT(errors[0].instance), MR_FMT(errors[0].schema),
                  errors[0].rule, MR_FMT(errors[0].message));
    assert_true(mr_str_eq(errors[0].instance, mr_str_c(where)));
    assert_true(mr_str_eq(errors[0].schema, mr_str_c(schema_where)));
    assert_string_equal(errors[0].rule, rule);
    assert_true(errors[0].message.len > 0);
    json_tape_done(&tape);
    schema_run_free(run);
    schema_free(schema);
}

static void what_is_missing_is_named_in_the_order_of_the_document(void **state) {
    (void)state;
    static const char *const names[] = {"zeta", "alpha", "mid", "beta", "omega"};
    struct schema *schema;
    struct schema_run *run;
    struct schema_fault fault;
    json_tape tape;
    const struct schema_error *errors;
    size_t n = 0;
    assert_true(mr_is_ok(
        schema_compile(MR_STR("{\"required\":[\"zeta\",\"alpha\",\"mid\",\"beta\",\"omega\"]}"),
                       NULL, &schema, NULL, &fault)));
    assert_true(mr_is_ok(schema_run_new(&run)));
    json_tape_init(&tape, JSON_DEPTH_MAX);
    assert_true(mr_is_ok(json_tape_read(&tape, MR_STR("{}"), NULL)));
    assert_false(schema_validate(schema, json_root(&tape), run, &errors, &n));
    assert_int_equal(n, 5);
    for (size_t i = 0; i < n; i++) {
        assert_true(mr_str_find(errors[i].message, mr_str_c(names[i])) != SIZE_MAX);
    }
    json_tape_done(&tape);
    schema_run_free(run);
    schema_free(schema);
}

static void errors_name_both_paths_and_the_rule(void **state) {
    (void)state;
    expect_error("{\"properties\":{\"a/b\":{\"items\":{\"$ref\":\"#/definitions/x\"}}},"
                 "\"definitions\":{\"x\":{\"allOf\":[{\"maximum\":3}]}}}",
                 "{\"a\\u002fb\":[1,4]}", "/a~1b/1", "/properties/a~1b/items/$ref/allOf/0/maximum",
                 "maximum");
    expect_error("{\"patternProperties\":{\"^a\":{\"type\":\"null\"}}}", "{\"a~\":1}", "/a~0",
                 "/patternProperties/^a/type", "type");
    expect_error("{\"additionalProperties\":false}", "{\"x\":1}", "/x", "/additionalProperties",
                 "false");
    expect_error("{\"dependencies\":{\"x\":[\"y\"]}}", "{\"x\":1}", "", "/dependencies",
                 "dependencies");
    expect_error("{\"if\":{},\"then\":{\"enum\":[2]}}", "1", "", "/then/enum", "enum");
}

/* A string of n times c, between before and behind. */
static char *long_text(const char *before, char c, size_t n, const char *behind) {
    size_t head = strlen(before);
    char *text = mr_alloc(head + n + strlen(behind) + 1);
    memcpy(text, before, head);
    memset(text + head, c, n);
    memcpy(text + head + n, behind, strlen(behind) + 1);
    return text;
}

static void patterns_that_take_too_long_are_errors(void **state) {
    (void)state;
    static const struct {
        const char *schema;
        const char *where;
        size_t n;
    } rows[] = {
        {"{\"pattern\":\"^(a+)+$\"}", "/pattern", 40},
        {"{\"pattern\":\"^(a+)+$\"}", "/pattern", 100000},
        {"{\"pattern\":\"(a|aa)+$\"}", "/pattern", 60},
        {"{\"pattern\":\"a*a*a*a*c\"}", "/pattern", 5000},
        {"{\"pattern\":\"[ab]*c\"}", "/pattern", 200000},
        {"{\"pattern\":\"[ab]*[cd]\"}", "/pattern", 200000},
        {"{\"not\":{\"pattern\":\"^(a+)+$\"}}", "/not/pattern", 40},
        {"{\"anyOf\":[{\"pattern\":\"^(a+)+$\"},true]}", "/anyOf/0/pattern", 40},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *text = long_text("\"", 'a', rows[i].n, "b\"");
        expect_error(rows[i].schema, text, "", rows[i].where, "pattern");
        mr_free(text);
    }
}

static void validation_of_too_many_steps_is_an_error(void **state) {
    (void)state;
    struct schema *schema;
    struct schema_run *run;
    struct schema_fault fault;
    json_tape tape;
    const struct schema_error *errors;
    size_t n = 0;
    /* Each level doubles the visits twice. */
    mr_err err = schema_compile(
        MR_STR("{\"definitions\":{"
               "\"a\":{\"allOf\":[{\"$ref\":\"#/definitions/b\"},{\"$ref\":\"#/definitions/b\"}]},"
               "\"b\":{\"allOf\":[{\"$ref\":\"#/definitions/c\"},{\"$ref\":\"#/definitions/c\"}]},"
               "\"c\":{\"items\":{\"$ref\":\"#/definitions/a\"}}},"
               "\"not\":{\"allOf\":[{\"$ref\":\"#/definitions/a\"},false]}}"),
        NULL, &schema, NULL, &fault);
    assert_true(mr_is_ok(err));
    assert_true(mr_is_ok(schema_run_new(&run)));
    json_tape_init(&tape, JSON_DEPTH_MAX);
    mr_str text = MR_STR("[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]");
    assert_true(mr_is_ok(json_tape_read(&tape, text, NULL)));
    assert_false(schema_validate(schema, json_root(&tape), run, &errors, &n));
    assert_int_equal(n, 1);
    assert_string_equal(errors[0].rule, "limit");
    json_tape_done(&tape);
    schema_run_free(run);
    schema_free(schema);
}

/* {"before0":value,…}: n members. */
static void add_members(mr_buf *out, const char *before, size_t n, const char *value) {
    assert_true(mr_is_ok(mr_buf_byte(out, '{')));
    for (size_t i = 0; i < n; i++) {
        assert_true(
            mr_is_ok(mr_buf_printf(out, "%s\"%s%zu\":%s", i == 0 ? "" : ",", before, i, value)));
    }
    assert_true(mr_is_ok(mr_buf_byte(out, '}')));
}

/* One object whose members are held against all that one keyword lists. */
static void the_bound_holds_within_one_object(void **state) {
    (void)state;
    static const struct {
        const char *keyword;
        const char *name;
        size_t n;
        const char *value;
    } rows[] = {
        {"patternProperties", "x.*y", 2000, "true"},
        {"dependencies", "z", 1000, "[\"z2\"]"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct schema *schema;
        struct schema_run *run;
        struct schema_fault fault;
        json_tape tape;
        const struct schema_error *errors;
        size_t n = 0;
        mr_buf document;
        mr_buf instance;
        mr_buf_init(&document, (size_t)1 << 20);
        mr_buf_init(&instance, (size_t)1 << 20);
        assert_true(mr_is_ok(mr_buf_printf(&document, "{\"%s\":", rows[i].keyword)));
        add_members(&document, rows[i].name, rows[i].n, rows[i].value);
        assert_true(mr_is_ok(mr_buf_byte(&document, '}')));
        add_members(&instance, "z", 20000, "1");
        assert_true(mr_is_ok(schema_compile(mr_buf_view(&document), NULL, &schema, NULL, &fault)));
        assert_true(mr_is_ok(schema_run_new(&run)));
        json_tape_init(&tape, JSON_DEPTH_DEFAULT);
        assert_true(mr_is_ok(json_tape_read(&tape, mr_buf_view(&instance), NULL)));
        assert_false(schema_validate(schema, json_root(&tape), run, &errors, &n));
        assert_true(n >= 1);
        assert_string_equal(errors[n - 1].rule, "limit");
        /* 500,000 and 8 for each byte, in each of two runs. */
        assert_true(schema_run_steps(run) > 500000);
        assert_true(schema_run_steps(run) < 2 * (500000 + 8 * instance.len) + 100000);
        json_tape_done(&tape);
        schema_run_free(run);
        schema_free(schema);
        mr_buf_done(&document);
        mr_buf_done(&instance);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_and_values),
        cmocka_unit_test(numbers_by_value),
        cmocka_unit_test(strings_by_code_points),
        cmocka_unit_test(arrays),
        cmocka_unit_test(objects),
        cmocka_unit_test(combinations),
        cmocka_unit_test(references),
        cmocka_unit_test(what_is_missing_is_named_in_the_order_of_the_document),
        cmocka_unit_test(errors_name_both_paths_and_the_rule),
        cmocka_unit_test(patterns_that_take_too_long_are_errors),
        cmocka_unit_test(validation_of_too_many_steps_is_an_error),
        cmocka_unit_test(the_bound_holds_within_one_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
