/* CloudEvents SQL v1: tables for every operator, function, cast, error and limit. The rows named
 * after a section are the specification's own statements (version 1.0.0) and what its TCK asks. */
#include "base/mem.h"
#include "route/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stddef.h>
#include <cmocka.h>

static const struct filter_attribute attributes[] = {
    {{"specversion", 11}, {"1.0", 3}, FILTER_STRING},
    {{"id", 2}, {"myId", 4}, FILTER_STRING},
    {{"source", 6}, {"https://example.com", 19}, FILTER_STRING},
    {{"type", 4}, {"com.example.error", 17}, FILTER_STRING},
    {{"hop", 3}, {"5", 1}, FILTER_STRING},
    {{"ttl", 3}, {"10", 2}, FILTER_STRING},
    {{"n", 1}, {"10", 2}, FILTER_INTEGER},
    {{"big", 3}, {"3000000000", 10}, FILTER_INTEGER},
    {{"yes", 3}, {"true", 4}, FILTER_BOOLEAN},
    {{"myext", 5}, {"abc123123%456_dzf", 17}, FILTER_STRING},
    {{"empty", 5}, {"", 0}, FILTER_STRING},
};
static const struct filter_event event = {
    attributes, sizeof attributes / sizeof attributes[0], {NULL, 0}};

struct row {
    const char *expression;
    const char *result; /* JSON of the value, a space, and each error's kind with a space before */
};

/* The same form of what an expression comes to. */
static void evaluate(const char *expression, char *out, size_t out_size) {
    struct filter *filter = NULL;
    struct filter_run *run = NULL;
    struct filter_fault fault;
    json_tape tape;
    mr_buf told;
    mr_err err = filter_compile_cesql(mr_str_c(expression), &filter, &fault);
    if (mr_is_err(err)) {
        snprintf(out, out_size, "refused %u:%u %s", fault.line, fault.column, fault.expected);
        return;
    }
    assert_true(mr_is_ok(filter_run_new(&run)));
    mr_buf_init(&told, (size_t)16 << 20);
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    assert_true(mr_is_ok(filter_explain(filter, &event, run, &told)));
    assert_true(mr_is_ok(json_tape_read(&tape, mr_buf_view(&told), NULL)));
    json_value root = json_root(&tape);
    mr_str value = json_raw(json_find(root, MR_STR("value")));
    int len = snprintf(out, out_size, "%.*s", MR_FMT(value));
    for (json_iter it = json_iter_of(json_find(root, MR_STR("errors"))); json_next(&it);) {
        mr_str kind = json_raw(json_find(it.value, MR_STR("kind")));
        len += snprintf(out + len, out_size - (size_t)len, " %.*s",
                        MR_FMT(mr_str_slice(kind, 1, kind.len - 1)));
    }
    bool error;
    bool is_true = mr_str_eq(value, MR_STR("true"));
    bool has_errors = strchr(out, ' ') != NULL && json_count(json_find(root, MR_STR("errors"))) > 0;
    assert_int_equal(filter_matches(filter, &event, run, &error), is_true && !has_errors);
    bool is_boolean = is_true || mr_str_eq(value, MR_STR("false"));
    assert_int_equal(error, has_errors || !is_boolean);
    json_tape_done(&tape);
    mr_buf_done(&told);
    filter_run_free(run);
    filter_free(filter);
}

static void check_rows(const struct row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char result[1024];
        evaluate(rows[i].expression, result, sizeof result);
        if (strcmp(result, rows[i].result) != 0) {
            print_error("%s\n", rows[i].expression);
        }
        assert_string_equal(result, rows[i].result);
    }
}
#define CHECK(rows) check_rows(rows, sizeof(rows) / sizeof(rows)[0])

static void literals_are_read_with_their_escapes(void **state) {
    static const struct row rows[] = {
        {"TRUE", "true"},
        {"fAlSe", "false"},
        {"0", "0"},
        {"+5", "5"},
        {"-2147483648", "-2147483648"},
        {"2147483647", "2147483647"},
        {"007", "7"},
        {"'abc'", "\"abc\""},
        {"\"AbC\"", "\"AbC\""},
        {"''", "\"\""},
        {"'a\"b\\'c'", "\"a\\\"b'c\""},
        {"\"a'b\\\"c\"", "\"a'b\\\"c\""},
        {"'a\\\\b\\n\\\"'",
         "\"a\\\\\\\\b\\\\n\\\\\\\"\""}, /* other backslashes stand for themselves */
        {" \t\r\n'ä' ", "\"ä\""},
    };
    (void)state;
    CHECK(rows);
}

static void attributes_keep_their_types(void **state) {
    static const struct row rows[] = {
        {"id", "\"myId\""},
        {"n", "10"},
        {"yes", "true"},
        {"big", "\"3000000000\""}, /* no Integer of CloudEvents SQL */
        {"specversion = '1.0'", "true"},
        {"missing", "false missing_attribute"},
        {"length", "false missing_attribute"}, /* no function without its parenthesis */
        {"EXISTS id", "true"},
        {"exists missing", "false"},
        {"NOT EXISTS missing", "true"},
        {"EXISTS data", "false"},
    };
    (void)state;
    CHECK(rows);
}

static void arithmetic_is_of_32_bits(void **state) {
    static const struct row rows[] = {
        {"4 * 2 + 4 / 2", "10"},
        {"4 * (2 + 4) / 2", "12"},
        {"10 - 2 - 3", "5"},
        {"5 / 3", "1"},
        {"-5 / 3", "-1"},
        {"5 % 2", "1"},
        {"-5 % 3", "-2"},
        {"5 % -3", "2"},
        {"5 / 0", "0 math"},
        {"5 % 0", "0 math"},
        {"-2147483648 % -1", "0"},
        {"4-1", "3"},
        {"4 + -1", "3"},
        {"-4 + -1", "-5"},
        {"--10", "10"},
        {"-'10'", "-10"},
        {"-TRUE", "-1"},
        {"-n", "-10"},
        {"'5' + '3'", "8"},
        {"5 + TRUE", "6"},
        {"'abc' + 3", "3 cast"},
        {"2147483647 + 1", "0 math"},
        {"-2147483648 - 1", "0 math"},
        {"65536 * 65536", "0 math"},
        {"-2147483648 / -1", "0 math"},
        {"-(-2147483648)", "0 math"},
        {"missing / 0", "0 missing_attribute"},
        {"missing % 0", "0 missing_attribute"},
        {"1 / missing", "0 missing_attribute"},
        {"missing * 5", "0 missing_attribute"},
        {"-missing", "0 missing_attribute"},
        {"(missing + 1) + 2", "2 missing_attribute"},
    };
    (void)state;
    CHECK(rows);
}

static void comparisons_cast_the_left_side_to_the_right(void **state) {
    static const struct row rows[] = {
        {"2 <= 2", "true"},
        {"3 <= 2", "false"},
        {"1 < 2", "true"},
        {"2 < 2", "false"},
        {"2 >= 3", "false"},
        {"2 >= 2", "true"},
        {"2 > 1", "true"},
        {"hop < ttl", "true"},
        {"int(hop) < int(ttl) and int(hop) < 1000", "true"},
        {"'x' < 1", "true cast"},
        {"missing <= 2", "false missing_attribute"},
        {"1 = 2", "false"},
        {"'abc' = 'abc'", "true"},
        {"'abc' = 'ABC'", "false"},
        {"true = 'TRUE'", "false"},
        {"'TRUE' = true", "true"},
        {"TRUE = \"true\" AND FALSE = \"false\"", "true"},
        {"TRUE = \"TRUE\" OR FALSE = \"FALSE\"", "false"},
        {"'010' = 10", "true"},
        {"10 = '010'", "false"},
        {"2 = true", "true"},
        {"true = 2", "false"},
        {"'abc' = 0", "true cast"},
        {"1 != 2", "true"},
        {"2 <> 2", "false"},
        {"'a' <> 'b'", "true"},
        {"1 = 1 = 1", "true"},
        {"missing = 2", "false missing_attribute"},
        {"missing != 2", "false missing_attribute"},
        {"2 <> missing", "false missing_attribute"},
        {"true AND (missing = \"\")", "false missing_attribute"},
    };
    (void)state;
    CHECK(rows);
}

static void logic_is_short_circuit_and_left_to_right(void **state) {
    static const struct row rows[] = {
        {"NOT TRUE", "false"},
        {"NOT 'FALSE'", "true"},
        {"NOT 10", "false"},
        {"NOT 'x'", "true cast"},
        {"NOT missing", "false missing_attribute"},
        {"NOT 1 = 2", "false"}, /* (NOT 1) = 2 */
        {"FALSE AND TRUE", "false"},
        {"TRUE AND TRUE", "true"},
        {"false and (1 != 1 / 0)", "false"},
        {"true and (1 != 1 / 0)", "true math"},
        {"true or (1 != 1 / 0)", "true"},
        {"false or (1 != 1 / 0)", "true math"},
        {"FALSE OR FALSE", "false"},
        {"TRUE XOR TRUE", "false"},
        {"FALSE XOR TRUE", "true"},
        {"false XOR (1 = 1 / 0)", "false math"},
        {"false AND true OR true", "true"},
        {"true OR false AND false", "false"},
        {"1 AND 'true'", "true"},
        {"'x' OR true", "true cast"},
        {"missing AND true", "false missing_attribute"},
        {"missing OR true", "false missing_attribute"},
        {"true XOR missing", "false missing_attribute"},
        {"(true AND missing) + 1", "1 missing_attribute"},
    };
    (void)state;
    CHECK(rows);
}

static void like_matches_characters(void **state) {
    static const struct row rows[] = {
        {"'abc' LIKE 'abc'", "true"},
        {"'ab\\c' LIKE 'ab\\c'", "true"},
        {"'abc' NOT LIKE 'abc'", "false"},
        {"'azzzbzzzc' LIKE 'a%b%c'", "true"},
        {"'ac' LIKE 'abc'", "false"},
        {"'' LIKE 'abc'", "false"},
        {"'' LIKE '%'", "true"},
        {"'' LIKE ''", "true"},
        {"'ab.cde' LIKE '.%.%.'", "false"},
        {"'abc' LIKE 'a_b_c'", "false"},
        {"'azbzc' LIKE 'a_b_c'", "true"},
        {"'a_b_c' LIKE 'a\\_b\\_c'", "true"},
        {"'azbzc' LIKE 'a\\_b\\_c'", "false"},
        {"'a%b%c' LIKE 'a\\%b\\%c'", "true"},
        {"'azbzc' LIKE 'a\\%b\\%c'", "false"},
        {"myext LIKE 'abc%123\\%456\\_d_f'", "true"},
        {"myext NOT LIKE 'abc%123\\%456\\_d_f'", "false"},
        {"'ä' LIKE '_'", "true"},
        {"'日本語' LIKE '_本_'", "true"},
        {"'aä' LIKE '%_'", "true"},
        {"'ABC' LIKE 'abc'", "false"},
        {"'a\nb' LIKE 'a%'", "true"},
        {"'a.c' LIKE 'abc'", "false"},
        {"234 LIKE '23_'", "true"},
        {"2344 LIKE '23_'", "false"},
        {"TRUE LIKE 'tr%'", "true"},
        {"missing LIKE '%'", "false missing_attribute"},
        {"missing NOT LIKE 'a'", "false missing_attribute"},
        {"-5 LIKE '-_'", "true"}, /* unary operators bind tighter */
        {"1 + 1 LIKE '1'", "2"},  /* 1 + (1 LIKE '1') */
    };
    (void)state;
    CHECK(rows);
}

static void in_casts_its_items(void **state) {
    static const struct row rows[] = {
        {"id IN ('a', 'myId')", "true"},
        {"id NOT IN ('a', 'myId')", "false"},
        {"n IN ('010')", "true"},
        {"'010' IN (10)", "false"},
        {"1 IN (2, true)", "true"},
        {"n IN ('abc', 10)", "true cast"},
        {"0 IN ('abc')", "true cast"},
        {"'a' IN ('a', 1 / 0)", "true"},
        {"missing IN ('a')", "false missing_attribute"},
        {"missing NOT IN ('a')", "false missing_attribute"},
        {"'a' IN (missing, 'a')", "false missing_attribute"},
        {"1 IN (1) IN (true)", "true"},
    };
    (void)state;
    CHECK(rows);
}

static void casts_follow_the_table(void **state) {
    static const struct row rows[] = {
        {"INT('1')", "1"},
        {"INT('+1')", "1"},
        {"INT('-1')", "-1"},
        {"INT(TRUE)", "1"},
        {"INT('ABC')", "0 cast"},
        {"INT('')", "0 cast"},
        {"INT('-')", "0 cast"},
        {"INT(' 1')", "0 cast"},
        {"INT('2147483648')", "0 cast"},
        {"INT('-2147483648')", "-2147483648"},
        {"BOOL('TRUE')", "true"},
        {"BOOL('ABC')", "false cast"},
        {"BOOL('1')", "false cast"},
        {"BOOL(0)", "false"},
        {"BOOL(-50)", "true"},
        {"STRING(TRUE)", "\"true\""},
        {"STRING(-1)", "\"-1\""},
        {"STRING(missing)", "\"\" missing_attribute"},
        {"IS_INT('10')", "true"},
        {"is_int('x')", "false"},
        {"IS_INT(TRUE)", "false"},
        {"IS_BOOL('False')", "true"},
        {"IS_BOOL(1)", "false"},
        {"IS_BOOL(missing)", "false missing_attribute"},
    };
    (void)state;
    CHECK(rows);
}

static void functions_count_characters(void **state) {
    static const struct row rows[] = {
        {"LENGTH('abc')", "3"},
        {"LENGTH(TRUE)", "4"},
        {"LENGTH('ä😀')", "2"},
        {"length ( '' )", "0"},
        {"LENGTH(missing)", "0 missing_attribute"},
        {"CONCAT('a', 1, TRUE)", "\"a1true\""},
        {"CONCAT()", "\"\""},
        {"CONCAT('a', missing)", "\"\" missing_attribute"},
        {"CONCAT_WS(',', 'a', 'b', 'c')", "\"a,b,c\""},
        {"CONCAT_WS(',')", "\"\""},
        {"CONCAT_WS(',', '', '')", "\",\""},
        {"LOWER('AbCÄ')", "\"abcä\""},
        {"UPPER('Straße')", "\"STRASSE\""},
        {"UPPER('ŉЖя')", "\"ʼNЖЯ\""},
        {"LOWER('İ')", "\"i̇\""},
        {"TRIM('   a b c   ')", "\"a b c\""},
        {"TRIM('\xc2\xa0 a\xe3\x80\x80')", "\"a\""},
        {"TRIM('\x01"
         "a ')",
         "\"\\u0001a\""},
        {"TRIM('  ')", "\"\""},
        {"LEFT('abc', 2)", "\"ab\""},
        {"LEFT('äbc', 1)", "\"ä\""},
        {"LEFT('abc', 10)", "\"abc\""},
        {"LEFT('', 0)", "\"\""},
        {"LEFT('abc', -2)", "\"abc\" function_evaluation"},
        {"RIGHT('abc', 2)", "\"bc\""},
        {"RIGHT('abc', 10)", "\"abc\""},
        {"RIGHT('abc', -2)", "\"abc\" function_evaluation"},
        {"SUBSTRING('abcdef', 1)", "\"abcdef\""},
        {"SUBSTRING('Quadratically', 5)", "\"ratically\""},
        {"SUBSTRING('Sakila', -3)", "\"ila\""},
        {"SUBSTRING('abcdef', 2, 4)", "\"bcde\""},
        {"SUBSTRING('Sakila', -5, 3)", "\"aki\""},
        {"SUBSTRING('abc', 2, 2147483647)", "\"bc\""},
        {"SUBSTRING('Quadratically', 0)", "\"\""},
        {"SUBSTRING('abcdef', 10)", "\"\" function_evaluation"},
        {"SUBSTRING('abcdef', -10, 10)", "\"\" function_evaluation"},
        {"SUBSTRING('abc', 1, -1)", "\"\" function_evaluation"},
        {"ABS(-10)", "10"},
        {"ABS(0)", "0"},
        {"ABS(-2147483648)", "2147483647 math"},
        {"ABS('x')", "0 cast"},
        {"LEFT('abc', 'x')", "\"\" cast"},
    };
    (void)state;
    CHECK(rows);
}

static void what_does_not_compile_is_refused_with_its_place(void **state) {
#define VALUE "a value, an attribute, a function, NOT, -, EXISTS or ("
    static const struct row rows[] = {
        {"", "refused 1:1 " VALUE},
        {"1 +", "refused 1:4 " VALUE},
        {"'äöü' =\n  )", "refused 2:3 " VALUE},
        {"id = 'ä' 'x'", "refused 1:10 an operator or the end"},
        {"(1", "refused 1:3 an operator or )"},
        {"'abc", "refused 1:1 the ' that ends this string"},
        {"id = \"abc\\\"", "refused 1:6 the \" that ends this string"},
        {"id # 1", "refused 1:4 an operator, a value or an attribute's name"},
        {"2147483648", "refused 1:1 an integer from -2147483648 to 2147483647"},
        {"1 + -2147483649", "refused 1:5 an integer from -2147483648 to 2147483647"},
        {"mySubject = 1",
         "refused 1:1 an attribute's name: lower-case letters and digits; or ( after "
         "a function's name"},
        {"EXISTS 'a'", "refused 1:8 the name of an attribute behind EXISTS"},
        {"id LIKE subject", "refused 1:9 a string behind LIKE"},
        {"id NOT 1", "refused 1:8 LIKE or IN behind NOT"},
        {"id IN 1", "refused 1:7 ( behind IN"},
        {"id IN ()", "refused 1:8 " VALUE},
        {"id IN (1 2)", "refused 1:10 an operator, a comma or )"},
        {"LENGTH('a' 'b')", "refused 1:12 a comma or )"},
        {"true AND LENGTH()", "refused 1:10 LENGTH with 1 argument"},
        {"SUBSTRING('a')", "refused 1:1 SUBSTRING with 2 arguments or SUBSTRING with 3 arguments"},
        {"CONCAT_WS()", "refused 1:1 CONCAT_WS with 1 or more argument"},
        {"NOSUCH(1)",
         "refused 1:1 one of the functions ABS, BOOL, CONCAT, CONCAT_WS, INT, IS_BOOL, "
         "IS_INT, LEFT, LENGTH, LOWER, RIGHT, STRING, SUBSTRING, TRIM, UPPER"},
        {"+ 5", "refused 1:1 " VALUE},
        {"\xff", "refused 1:1 valid UTF-8"},
    };
    (void)state;
    CHECK(rows);
}

/* text, n times another, and a last one; freed with mr_free. */
static char *repeated(const char *before, const char *piece, size_t n, const char *behind) {
    mr_buf text;
    mr_buf_init(&text, (size_t)1 << 20);
    assert_true(mr_is_ok(mr_buf_str(&text, mr_str_c(before))));
    for (size_t i = 0; i < n; i++) {
        assert_true(mr_is_ok(mr_buf_str(&text, mr_str_c(piece))));
    }
    assert_true(mr_is_ok(mr_buf_append(&text, behind, strlen(behind) + 1)));
    return text.ptr;
}

static void limits_are_refused_by_name(void **state) {
    static const struct {
        const char *before, *piece, *behind;
        size_t most; /* so many pieces compile, one more is refused */
        const char *name;
    } rows[] = {
        {"", "(", "1", 64, "cesql_depth_max"},
        {"", "-", "n", 64, "cesql_depth_max"},
        {"1", " + 1", "", 1023, "cesql_tokens_max"},
        {"CONCAT(id", ",id", ")", 255, "cesql_stack_max"},
        {"'", "a", "'", 8190, "cesql_bytes_max"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t more = 0; more < 2; more++) {
            struct filter *filter = NULL;
            struct filter_fault fault;
            size_t n = rows[i].most + more;
            bool closes = rows[i].piece[0] == '(';
            char *open = repeated(rows[i].before, rows[i].piece, n, rows[i].behind);
            char *text = repeated(open, ")", closes ? n : 0, "");
            mr_err err = filter_compile_cesql(mr_str_c(text), &filter, &fault);
            assert_int_equal(err.code, more == 0 ? 0 : FILTER_E_REFUSED);
            assert_true(more == 0 || strstr(fault.expected, rows[i].name) != NULL);
            filter_free(filter);
            mr_free(open);
            mr_free(text);
        }
    }
}

/* Evaluates on an event of one attribute `a` of so many bytes. */
static void evaluate_large(const char *expression, size_t bytes, char *out, size_t out_size) {
    struct filter *filter = NULL;
    struct filter_run *run = NULL;
    struct filter_fault fault;
    char *text = repeated("", "a", bytes, "");
    mr_buf told;
    const struct filter_attribute a = {MR_STR("a"), mr_str_c(text), FILTER_STRING};
    const struct filter_event large = {&a, 1, {NULL, 0}};
    mr_buf_init(&told, (size_t)16 << 20);
    assert_true(mr_is_ok(filter_compile_cesql(mr_str_c(expression), &filter, &fault)));
    assert_true(mr_is_ok(filter_run_new(&run)));
    assert_true(mr_is_ok(filter_explain(filter, &large, run, &told)));
    snprintf(out, out_size, "%.*s", MR_FMT(mr_buf_view(&told)));
    mr_buf_done(&told);
    filter_run_free(run);
    filter_free(filter);
    mr_free(text);
}

static void work_and_memory_of_an_evaluation_are_bounded(void **state) {
    char out[1024];
    (void)state;
    char *bomb = repeated("LENGTH(CONCAT(a", ",a", 200, "))");
    evaluate_large(bomb, 8192, out, sizeof out);
    assert_non_null(strstr(out, "\"kind\":\"generic\""));
    assert_non_null(strstr(out, "limit"));
    evaluate_large(bomb, 100, out, sizeof out);
    assert_string_equal(out, "{\"value\":20100,\"type\":\"Integer\",\"errors\":[]}");
    mr_free(bomb);
    char *pattern = repeated("a LIKE '%", "a", 4000, "b%'");
    evaluate_large(pattern, 8192, out, sizeof out);
    assert_non_null(strstr(out, "the limit `steps`"));
    evaluate_large(pattern, 100, out, sizeof out);
    assert_string_equal(out, "{\"value\":false,\"type\":\"Boolean\",\"errors\":[]}");
    mr_free(pattern);
}

static void errors_tell_where(void **state) {
    static const struct row rows[] = {
        {"id = 'x' OR\n 'ä' = 5", "line 2, column 6: this string is no Integer: ä"},
        {"missing = 1", "line 1, column 1: the event has no attribute missing"},
        {"true AND 1 / 0 = 1", "line 1, column 12: division by zero"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct filter *filter = NULL;
        struct filter_run *run = NULL;
        struct filter_fault fault;
        mr_buf why;
        mr_buf_init(&why, 4096);
        assert_true(mr_is_ok(filter_compile_cesql(mr_str_c(rows[i].expression), &filter, &fault)));
        assert_true(mr_is_ok(filter_run_new(&run)));
        assert_true(mr_is_ok(filter_why_not(filter, &event, run, &why)));
        assert_true(mr_is_ok(mr_buf_byte(&why, '\0')));
        assert_string_equal(why.ptr, rows[i].result);
        mr_buf_done(&why);
        filter_run_free(run);
        filter_free(filter);
    }
}

static void keys_hold_every_value_that_may_match(void **state) {
    static const struct row rows[] = {
        /* the key: path, and each value behind a space */
        {"id = 'myId'", "id \"myId"},
        {"('myId' = id)", "id \"myId"},
        {"id = '10'", "id \"10 1e1"},
        {"id = 'TRUE'", "id \"TRUE true"},
        {"id IN ('a', 5, false)", "id \"a \"5 5 true \"false 0 false"},
        {"type = 'a' AND n > 1 AND id = 'x'", "id \"x"},
        {"n > 1 AND type = 'a'", "type \"a"},
        {"id = 'a' OR id = 'b' AND type = 'c'", "type \"c"}, /* (… OR …) AND … */
        {"id = 10", ""},
        {"id != 'a'", ""},
        {"id NOT IN ('a')", ""},
        {"id IN ('a', type)", ""},
        {"id = 'a' OR id = 'b'", ""},
        {"NOT (id = 'a')", ""},
        {"(id = 'a') = true", ""},
        {"id = type", ""},
        {"LOWER(id) = 'a'", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct filter *filter = NULL;
        struct filter_fault fault;
        struct filter_key key;
        char told[512] = "";
        assert_true(mr_is_ok(filter_compile_cesql(mr_str_c(rows[i].expression), &filter, &fault)));
        if (filter_key_of(filter, &key)) {
            int len = snprintf(told, sizeof told, "%.*s", MR_FMT(key.path));
            for (size_t k = 0; k < key.n_values; k++) {
                len +=
                    snprintf(told + len, sizeof told - (size_t)len, " %.*s", MR_FMT(key.values[k]));
            }
        }
        assert_string_equal(told, rows[i].result);
        filter_free(filter);
    }
}

static void compiling_survives_every_failed_allocation(void **state) {
    mr_err err = MR_ERR(MR_E_NOMEM);
    (void)state;
    for (uint64_t n = 1; mr_is_err(err); n++) {
        struct filter *filter = NULL;
        struct filter_fault fault;
        mr_alloc_fail_at(n);
        err = filter_compile_cesql(MR_STR("id IN ('a', 'b') AND CONCAT(n, 'x') LIKE '1%'"), &filter,
                                   &fault);
        mr_alloc_fail_at(0);
        assert_true(mr_is_ok(err) || mr_err_is(err, MR_E_NOMEM));
        assert_true(n < 1000);
        filter_free(filter);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_are_read_with_their_escapes),
        cmocka_unit_test(attributes_keep_their_types),
        cmocka_unit_test(arithmetic_is_of_32_bits),
        cmocka_unit_test(comparisons_cast_the_left_side_to_the_right),
        cmocka_unit_test(logic_is_short_circuit_and_left_to_right),
        cmocka_unit_test(like_matches_characters),
        cmocka_unit_test(in_casts_its_items),
        cmocka_unit_test(casts_follow_the_table),
        cmocka_unit_test(functions_count_characters),
        cmocka_unit_test(what_does_not_compile_is_refused_with_its_place),
        cmocka_unit_test(limits_are_refused_by_name),
        cmocka_unit_test(work_and_memory_of_an_evaluation_are_bounded),
        cmocka_unit_test(errors_tell_where),
        cmocka_unit_test(keys_hold_every_value_that_may_match),
        cmocka_unit_test(compiling_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
