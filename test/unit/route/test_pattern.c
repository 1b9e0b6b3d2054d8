/* The pattern language: what each operator matches, where a wrong pattern is refused. */
#include "support_filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

struct vector {
    const char *pattern;
    const char *event;
    bool matches;
};

static void check_vectors(const struct vector *vectors, size_t n) {
    struct fixture fixture;
    fixture_init(&fixture);
    for (size_t i = 0; i < n; i++) {
        bool error = true;
        struct filter *filter = pattern_of(vectors[i].pattern);
        fixture_event(&fixture, vectors[i].event);
        bool matches = filter_matches(filter, &fixture.event, fixture.run, &error);
        if (matches != vectors[i].matches) {
            print_error("%s on %s\n", vectors[i].pattern, vectors[i].event);
        }
        assert_int_equal(matches, vectors[i].matches);
        assert_false(error);
        filter_free(filter);
    }
    fixture_done(&fixture);
}
#define CHECK(vectors) check_vectors(vectors, sizeof(vectors) / sizeof((vectors)[0]))

static void exact_values_compare_by_type_and_value(void **state) {
    (void)state;
    static const struct vector vectors[] = {
        {"{\"subject\":[\"a\"]}", "{\"subject\":\"a\"}", true},
        {"{\"subject\":[\"a\"]}", "{\"subject\":\"A\"}", false},
        {"{\"subject\":[\"a\"]}", "{\"source\":\"a\"}", false},
        {"{\"subject\":[\"\"]}", "{\"subject\":\"\"}", true},
        {"{\"count\":[5]}", "{\"count\":5}", true},
        {"{\"count\":[5]}", "{\"count\":\"5\"}", false},
        {"{\"count\":[\"5\"]}", "{\"count\":5}", false},
        {"{\"flag\":[true]}", "{\"flag\":true}", true},
        {"{\"flag\":[true]}", "{\"flag\":false}", false},
        {"{\"flag\":[false]}", "{\"flag\":false}", true},
        {"{\"data\":{\"n\":[null]}}", "{\"data\":{\"n\":null}}", true},
        {"{\"data\":{\"n\":[null]}}", "{\"data\":{}}", false},
        {"{\"data\":{\"n\":[null]}}", "{\"data\":{\"n\":\"null\"}}", false},
        {"{\"data\":{\"n\":[\"\\u0061\\n\"]}}", "{\"data\":{\"n\":\"a\\u000a\"}}", true},
        {"{\"data\":[\"a\"]}", "{\"data\":\"a\"}", true},
        {"{\"data\":[\"a\"]}", "{\"data\":{\"a\":\"a\"}}", false},
        {"{\"data\":{\"a\\u0000b\":[1]}}", "{\"data\":{\"a\\u0000b\":1}}", true},
    };
    CHECK(vectors);
}

static void numbers_compare_exactly(void **state) {
    (void)state;
    static const struct vector vectors[] = {
        {"{\"data\":{\"n\":[300]}}", "{\"data\":{\"n\":3.00e2}}", true},
        {"{\"data\":{\"n\":[300]}}", "{\"data\":{\"n\":3000e-1}}", true},
        {"{\"data\":{\"n\":[0]}}", "{\"data\":{\"n\":-0.0e9}}", true},
        {"{\"data\":{\"n\":[0.05]}}", "{\"data\":{\"n\":5e-2}}", true},
        {"{\"data\":{\"n\":[9007199254740993]}}", "{\"data\":{\"n\":9007199254740992}}", false},
        {"{\"data\":{\"n\":[9007199254740993]}}", "{\"data\":{\"n\":9007199254740993.0}}", true},
        {"{\"data\":{\"n\":[1e400]}}", "{\"data\":{\"n\":10e399}}", true},
        {"{\"data\":{\"n\":[1e400]}}", "{\"data\":{\"n\":1e401}}", false},
        {"{\"data\":{\"n\":[{\"numeric\":[\">\",0.1]}]}}",
         "{\"data\":{\"n\":0.10000000000000000000000000000001}}", true},
        {"{\"data\":{\"n\":[{\"numeric\":[\">\",-2,\"<=\",-1.5]}]}}", "{\"data\":{\"n\":-15e-1}}",
         true},
        {"{\"data\":{\"n\":[{\"numeric\":[\">\",-2,\"<=\",-1.5]}]}}", "{\"data\":{\"n\":-2}}",
         false},
        {"{\"data\":{\"n\":[{\"numeric\":[\">=\",-2,\"<\",5]}]}}", "{\"data\":{\"n\":-2}}", true},
        {"{\"data\":{\"n\":[{\"numeric\":[\">=\",-2,\"<\",5]}]}}", "{\"data\":{\"n\":5.0}}", false},
        {"{\"data\":{\"n\":[{\"numeric\":[\"=\",5]}]}}", "{\"data\":{\"n\":0.5e1}}", true},
        {"{\"data\":{\"n\":[{\"numeric\":[\"<\",5]}]}}", "{\"data\":{\"n\":\"4\"}}", false},
        {"{\"data\":{\"n\":[{\"numeric\":[\"<\",1e99999999999999999999]}]}}",
         "{\"data\":{\"n\":1}}", true},
    };
    CHECK(vectors);
}

static void text_operators_match_strings_only(void **state) {
    (void)state;
    static const struct vector vectors[] = {
        {"{\"subject\":[{\"prefix\":\"ab\"}]}", "{\"subject\":\"abc\"}", true},
        {"{\"subject\":[{\"prefix\":\"ab\"}]}", "{\"subject\":\"a\"}", false},
        {"{\"subject\":[{\"prefix\":\"5\"}]}", "{\"subject\":55}", false},
        {"{\"subject\":[{\"prefix\":\"\"}]}", "{\"subject\":\"\"}", true},
        {"{\"subject\":[{\"prefix\":{\"equals-ignore-case\":\"aB\"}}]}", "{\"subject\":\"Abc\"}",
         true},
        {"{\"subject\":[{\"suffix\":\"bc\"}]}", "{\"subject\":\"abc\"}", true},
        {"{\"subject\":[{\"suffix\":\"bc\"}]}", "{\"subject\":\"abC\"}", false},
        {"{\"subject\":[{\"suffix\":{\"equals-ignore-case\":\"bc\"}}]}", "{\"subject\":\"abC\"}",
         true},
        {"{\"subject\":[{\"equals-ignore-case\":\"aBc\"}]}", "{\"subject\":\"AbC\"}", true},
        {"{\"subject\":[{\"equals-ignore-case\":\"aBc\"}]}", "{\"subject\":\"AbCd\"}", false},
        {"{\"subject\":[{\"wildcard\":\"*\"}]}", "{\"subject\":\"\"}", true},
        {"{\"subject\":[{\"wildcard\":\"a*\"}]}", "{\"subject\":\"a\"}", true},
        {"{\"subject\":[{\"wildcard\":\"*ab*ab\"}]}", "{\"subject\":\"abab\"}", true},
        {"{\"subject\":[{\"wildcard\":\"*ab*ab\"}]}", "{\"subject\":\"ab\"}", false},
        {"{\"subject\":[{\"wildcard\":\"a*bc\"}]}", "{\"subject\":\"abcbcbc\"}", true},
        {"{\"subject\":[{\"wildcard\":\"a*bc\"}]}", "{\"subject\":\"abcb\"}", false},
        {"{\"subject\":[{\"wildcard\":\"a\\\\*b\\\\\\\\\"}]}", "{\"subject\":\"a*b\\\\\"}", true},
        {"{\"subject\":[{\"wildcard\":\"a\\\\*b\"}]}", "{\"subject\":\"axb\"}", false},
        {"{\"subject\":[{\"wildcard\":\"\"}]}", "{\"subject\":\"\"}", true},
        {"{\"subject\":[{\"wildcard\":\"\"}]}", "{\"subject\":\"a\"}", false},
    };
    CHECK(vectors);
}

static void anything_but_wants_the_member_to_be_there(void **state) {
    (void)state;
    static const struct vector vectors[] = {
        {"{\"subject\":[{\"anything-but\":\"a\"}]}", "{\"subject\":\"b\"}", true},
        {"{\"subject\":[{\"anything-but\":\"a\"}]}", "{\"subject\":\"a\"}", false},
        {"{\"subject\":[{\"anything-but\":\"a\"}]}", "{\"id\":\"a\"}", false},
        {"{\"subject\":[{\"anything-but\":5}]}", "{\"subject\":\"5\"}", true},
        {"{\"subject\":[{\"anything-but\":5}]}", "{\"subject\":5}", false},
        {"{\"subject\":[{\"anything-but\":[1,2]}]}", "{\"subject\":2}", false},
        {"{\"subject\":[{\"anything-but\":[1,2]}]}", "{\"subject\":3}", true},
        {"{\"subject\":[{\"anything-but\":[\"a\",\"b\"]}]}", "{\"subject\":\"b\"}", false},
        {"{\"subject\":[{\"anything-but\":{\"prefix\":[\"a\",\"b\"]}}]}", "{\"subject\":\"bx\"}",
         false},
        {"{\"subject\":[{\"anything-but\":{\"prefix\":[\"a\",\"b\"]}}]}", "{\"subject\":\"cx\"}",
         true},
        {"{\"subject\":[{\"anything-but\":{\"suffix\":\"x\"}},\"bx\"]}", "{\"subject\":\"bx\"}",
         true},
        {"{\"subject\":[{\"anything-but\":{\"equals-ignore-case\":[\"a\",\"B\"]}}]}",
         "{\"subject\":\"b\"}", false},
        {"{\"subject\":[{\"anything-but\":{\"wildcard\":\"a*b\"}}]}", "{\"subject\":\"axb\"}",
         false},
        {"{\"data\":{\"a\":[{\"anything-but\":\"a\"}]}}", "{\"data\":{\"a\":[\"a\",\"b\"]}}", true},
        {"{\"data\":{\"a\":[{\"anything-but\":\"a\"}]}}", "{\"data\":{\"a\":[\"a\"]}}", false},
    };
    CHECK(vectors);
}

static void addresses_lie_in_their_network(void **state) {
    (void)state;
    static const struct vector vectors[] = {
        {"{\"ip\":[{\"cidr\":\"10.0.0.0/24\"}]}", "{\"ip\":\"10.0.0.255\"}", true},
        {"{\"ip\":[{\"cidr\":\"10.0.0.0/24\"}]}", "{\"ip\":\"10.0.1.0\"}", false},
        {"{\"ip\":[{\"cidr\":\"10.0.0.0/24\"}]}", "{\"ip\":\"10.0.0.01\"}", false},
        {"{\"ip\":[{\"cidr\":\"10.0.0.0/24\"}]}", "{\"ip\":\"10.0.0\"}", false},
        {"{\"ip\":[{\"cidr\":\"10.0.0.0/24\"}]}", "{\"ip\":\"10.0.0.1.\"}", false},
        {"{\"ip\":[{\"cidr\":\"10.0.0.0/24\"}]}", "{\"ip\":\"::ffff:10.0.0.7\"}", true},
        {"{\"ip\":[{\"cidr\":\"10.0.0.4/31\"}]}", "{\"ip\":\"10.0.0.6\"}", false},
        {"{\"ip\":[{\"cidr\":\"10.0.0.4/32\"}]}", "{\"ip\":\"10.0.0.4\"}", true},
        {"{\"ip\":[{\"cidr\":\"0.0.0.0/0\"}]}", "{\"ip\":\"255.1.2.3\"}", true},
        {"{\"ip\":[{\"cidr\":\"0.0.0.0/0\"}]}", "{\"ip\":\"::1\"}", false},
        {"{\"ip\":[{\"cidr\":\"2001:db8::/33\"}]}", "{\"ip\":\"2001:DB8:7fff:1:2:3:4:5\"}", true},
        {"{\"ip\":[{\"cidr\":\"2001:db8::/33\"}]}", "{\"ip\":\"2001:db8:8000::\"}", false},
        {"{\"ip\":[{\"cidr\":\"::/0\"}]}", "{\"ip\":\"1:2:3:4:5:6:7:8\"}", true},
        {"{\"ip\":[{\"cidr\":\"::/0\"}]}", "{\"ip\":\"1:2:3:4:5:6:7:8:9\"}", false},
        {"{\"ip\":[{\"cidr\":\"::/0\"}]}", "{\"ip\":\"1:2:3:4:5:6:7\"}", false},
        {"{\"ip\":[{\"cidr\":\"::/0\"}]}", "{\"ip\":\"1::2::3\"}", false},
        {"{\"ip\":[{\"cidr\":\"::/0\"}]}", "{\"ip\":\"1:\"}", false},
        {"{\"ip\":[{\"cidr\":\"::/0\"}]}", "{\"ip\":\"1:2:3:4:5:6:7::8\"}", false},
        {"{\"ip\":[{\"cidr\":\"::/0\"}]}", "{\"ip\":\"1:2:3:4:5:6:7::\"}", true},
        {"{\"ip\":[{\"cidr\":\"::/0\"}]}", "{\"ip\":\"12345::\"}", false},
        {"{\"ip\":[{\"cidr\":\"::/0\"}]}", "{\"ip\":\"\"}", false},
        {"{\"ip\":[{\"cidr\":\"64:ff9b::1.2.3.4/128\"}]}", "{\"ip\":\"64:ff9b::102:304\"}", true},
    };
    CHECK(vectors);
}

static void exists_looks_at_leaves(void **state) {
    (void)state;
    static const struct vector vectors[] = {
        {"{\"subject\":[{\"exists\":true}]}", "{\"subject\":\"\"}", true},
        {"{\"subject\":[{\"exists\":true}]}", "{\"id\":\"a\"}", false},
        {"{\"subject\":[{\"exists\":false}]}", "{\"id\":\"a\"}", true},
        {"{\"subject\":[{\"exists\":false},\"a\"]}", "{\"subject\":\"a\"}", true},
        {"{\"subject\":[{\"exists\":false},\"a\"]}", "{\"subject\":\"b\"}", false},
        {"{\"data\":{\"a\":[{\"exists\":true}]}}", "{\"data\":{\"a\":null}}", true},
        {"{\"data\":{\"a\":[{\"exists\":true}]}}", "{\"data\":{\"a\":{\"b\":1}}}", false},
        {"{\"data\":{\"a\":[{\"exists\":true}]}}", "{\"data\":{\"a\":[[],[]]}}", false},
        {"{\"data\":{\"a\":[{\"exists\":true}]}}", "{\"data\":{\"a\":[[],[1]]}}", true},
        {"{\"data\":{\"a\":{\"b\":[{\"exists\":false}]}}}", "{\"id\":\"a\"}", true},
        {"{\"data\":{\"a\":{\"b\":[{\"exists\":false}]}}}", "{\"data\":{\"a\":5}}", true},
        {"{\"data\":{\"a\":{\"b\":[{\"exists\":false}]}}}", "{\"data\":{\"a\":{\"b\":5}}}", false},
        /* alone: for every item; with others: for the item that they hold for */
        {"{\"data\":{\"a\":{\"b\":[{\"exists\":false}]}}}",
         "{\"data\":{\"a\":[{\"c\":1},{\"b\":1}]}}", false},
        {"{\"data\":{\"a\":{\"b\":[{\"exists\":false}]}}}",
         "{\"data\":{\"a\":[{\"c\":1},{\"c\":1}]}}", true},
        {"{\"data\":{\"a\":{\"b\":[{\"exists\":false}],\"c\":[1]}}}",
         "{\"data\":{\"a\":[{\"c\":1},{\"b\":1}]}}", true},
        {"{\"data\":{\"a\":{\"b\":[{\"exists\":false}],\"c\":[1]}}}",
         "{\"data\":{\"a\":[{\"c\":1,\"b\":2},{\"b\":1}]}}", false},
    };
    CHECK(vectors);
}

static void one_item_of_an_array_holds_all_of_an_object(void **state) {
    (void)state;
    static const struct vector vectors[] = {
        {"{\"data\":{\"a\":[1]}}", "{\"data\":{\"a\":[0,[2,[1]]]}}", true},
        {"{\"data\":{\"a\":[1]}}", "{\"data\":{\"a\":[{\"a\":1}]}}", false},
        {"{\"data\":{\"a\":{\"b\":[1],\"c\":[2]}}}",
         "{\"data\":{\"a\":[{\"b\":1,\"c\":1},{\"b\":2,\"c\":2}]}}", false},
        {"{\"data\":{\"a\":{\"b\":[1],\"c\":[2]}}}",
         "{\"data\":{\"a\":[{\"b\":1,\"c\":1},5,[{\"b\":1,\"c\":2}]]}}", true},
        {"{\"data\":{\"a\":{\"b\":{\"c\":[1],\"d\":[2]},\"e\":[3]}}}",
         "{\"data\":{\"a\":[{\"b\":[{\"c\":1,\"d\":2}],\"e\":4},{\"b\":[{\"c\":1},{\"d\":2}],"
         "\"e\":3}]}}",
         false},
        {"{\"data\":{\"a\":{\"b\":{\"c\":[1],\"d\":[2]},\"e\":[3]}}}",
         "{\"data\":{\"a\":[{\"b\":5,\"e\":3},{\"b\":[{\"c\":1},{\"d\":2,\"c\":1}],\"e\":3}]}}",
         true},
        {"{\"data\":{\"x\":[1]}}", "{\"data\":[{\"x\":0},{\"x\":1}]}", true},
        {"{\"data\":{\"a\":{\"$or\":[{\"b\":[1]},{\"c\":[1]}],\"d\":[2]}}}",
         "{\"data\":{\"a\":[{\"b\":1,\"d\":1},{\"c\":1,\"d\":2}]}}", true},
        {"{\"data\":{\"a\":{\"$or\":[{\"b\":[1]},{\"c\":[1]}],\"d\":[2]}}}",
         "{\"data\":{\"a\":[{\"b\":1,\"d\":1},{\"c\":2,\"d\":2}]}}", false},
    };
    CHECK(vectors);
}

static void or_takes_any_branch(void **state) {
    (void)state;
    static const struct vector vectors[] = {
        {"{\"$or\":[{\"id\":[\"a\"]},{\"subject\":[\"b\"]}]}", "{\"id\":\"x\",\"subject\":\"b\"}",
         true},
        {"{\"$or\":[{\"id\":[\"a\"]},{\"subject\":[\"b\"]}]}", "{\"id\":\"x\",\"subject\":\"y\"}",
         false},
        {"{\"id\":[\"z\"],\"$or\":[{\"id\":[\"z\"]},{\"subject\":[\"b\"]}]}", "{\"id\":\"z\"}",
         true},
        {"{\"data\":{\"$or\":[{\"a\":{\"b\":[1]},\"c\":[1]},{\"a\":{\"b\":[2]},\"$or\":[{\"c\":[3]"
         "},{\"c\":[4]}]}]}}",
         "{\"data\":{\"a\":[{\"b\":1},{\"b\":2}],\"c\":4}}", true},
        {"{\"data\":{\"$or\":[{\"a\":{\"b\":[1]},\"c\":[1]},{\"a\":{\"b\":[2]},\"$or\":[{\"c\":[3]"
         "},{\"c\":[4]}]}]}}",
         "{\"data\":{\"a\":[{\"b\":1},{\"b\":2}],\"c\":5}}", false},
    };
    CHECK(vectors);
}

/* --- refusals ----------------------------------------------------------------------------------
 */

static void wrong_patterns_are_refused_with_their_place(void **state) {
    (void)state;
    static const struct {
        const char *pattern;
        const char *pointer;
        const char *expected; /* a part of it */
    } vectors[] = {
        {"", "", "JSON: "},
        {"{\"a\":[1}", "", "byte 7"},
        {"{\"a\":[1],\"a\":[2]}", "", "JSON: "},
        {"[]", "", "an object"},
        {"{}", "", "at least one member"},
        {"{\"Subject\":[\"a\"]}", "/Subject", "attribute"},
        {"{\"subject\":\"a\"}", "/subject", "array of alternatives"},
        {"{\"subject\":{\"a\":[1]}}", "/subject", "array of alternatives"},
        {"{\"subject\":[]}", "/subject", "at least one alternative"},
        {"{\"subject\":[\"a\",[1]]}", "/subject/1", "string"},
        {"{\"subject\":[{}]}", "/subject/0", "one operator"},
        {"{\"subject\":[{\"prefix\":\"a\",\"suffix\":\"b\"}]}", "/subject/0", "one operator"},
        {"{\"subject\":[{\"like\":\"a\"}]}", "/subject/0", "wildcard"},
        {"{\"subject\":[{\"prefix\":5}]}", "/subject/0/prefix", "a string"},
        {"{\"subject\":[{\"suffix\":{\"prefix\":\"a\"}}]}", "/subject/0/suffix",
         "equals-ignore-case"},
        {"{\"subject\":[{\"equals-ignore-case\":[\"a\"]}]}", "/subject/0/equals-ignore-case",
         "a string"},
        {"{\"subject\":[{\"anything-but\":true}]}", "/subject/0/anything-but", "a string"},
        {"{\"subject\":[{\"anything-but\":[1,\"a\"]}]}", "/subject/0/anything-but", "strings only"},
        {"{\"subject\":[{\"anything-but\":{\"cidr\":\"a\"}}]}", "/subject/0/anything-but",
         "prefix, suffix"},
        {"{\"subject\":[{\"anything-but\":{\"prefix\":[\"a\",\"\"]}}]}",
         "/subject/0/anything-but/prefix/1", "not empty"},
        {"{\"subject\":[{\"anything-but\":{\"prefix\":[]}}]}", "/subject/0/anything-but/prefix",
         "at least one"},
        {"{\"subject\":[{\"numeric\":5}]}", "/subject/0/numeric", "operator, number"},
        {"{\"subject\":[{\"numeric\":[\"!\",5]}]}", "/subject/0/numeric/0", "="},
        {"{\"subject\":[{\"numeric\":[\">\",\"5\"]}]}", "/subject/0/numeric/1", "a number"},
        {"{\"subject\":[{\"numeric\":[\">\",5,\">\",6]}]}", "/subject/0/numeric/2", "<"},
        {"{\"subject\":[{\"numeric\":[\"<\",5,\"<\",6]}]}", "/subject/0/numeric", "first"},
        {"{\"subject\":[{\"numeric\":[\">\",5,\"<\",5]}]}", "/subject/0/numeric", "below"},
        {"{\"subject\":[{\"exists\":1}]}", "/subject/0/exists", "true or false"},
        {"{\"subject\":[{\"cidr\":\"10.0.0.0/33\"}]}", "/subject/0/cidr", "a network"},
        {"{\"subject\":[{\"cidr\":\"10.0.0.0\"}]}", "/subject/0/cidr", "a network"},
        {"{\"subject\":[{\"cidr\":\"::/129\"}]}", "/subject/0/cidr", "a network"},
        {"{\"subject\":[{\"cidr\":\"::/08\"}]}", "/subject/0/cidr", "a network"},
        {"{\"subject\":[{\"wildcard\":\"a**\"}]}", "/subject/0/wildcard", "stars"},
        {"{\"subject\":[{\"wildcard\":\"a\\\\b\"}]}", "/subject/0/wildcard", "backslash"},
        {"{\"subject\":[{\"wildcard\":\"a\\\\\"}]}", "/subject/0/wildcard", "backslash"},
        {"{\"data\":5}", "/data", "object of members"},
        {"{\"data\":{}}", "/data", "at least one member"},
        {"{\"data\":{\"a/b~\":{\"c\":null}}}", "/data/a~1b~0/c", "array of alternatives"},
        {"{\"$or\":[{\"id\":[1]}]}", "/$or", "two or more"},
        {"{\"$or\":{\"id\":[1]}}", "/$or", "two or more"},
        {"{\"data\":{\"$or\":[{\"id\":[1]},5]}}", "/data/$or/1", "an object"},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct filter *filter = NULL;
        struct filter_fault fault;
        mr_err err = filter_compile_pattern(mr_str_c(vectors[i].pattern), &filter, &fault);
        if (!mr_err_is(err, FILTER_E_REFUSED) || strcmp(fault.pointer, vectors[i].pointer) != 0 ||
            strstr(fault.expected, vectors[i].expected) == NULL) {
            print_error("%s: %u at %s: %s\n", vectors[i].pattern, err.code, fault.pointer,
                        fault.expected);
        }
        assert_int_equal(err.code, FILTER_E_REFUSED);
        assert_string_equal(fault.pointer, vectors[i].pointer);
        assert_non_null(strstr(fault.expected, vectors[i].expected));
        assert_null(filter);
    }
}

/* `head`, then `item` n times with commas, then `tail`. */
static void build(mr_buf *out, const char *head, const char *item, size_t n, const char *comma,
                  const char *tail) {
    mr_buf_reset(out);
    assert_true(mr_is_ok(mr_buf_str(out, mr_str_c(head))));
    for (size_t i = 0; i < n; i++) {
        assert_true(mr_is_ok(mr_buf_str(out, mr_str_c(i == 0 ? "" : comma))));
        assert_true(mr_is_ok(mr_buf_str(out, mr_str_c(item))));
    }
    assert_true(mr_is_ok(mr_buf_str(out, mr_str_c(tail))));
}

static void limits_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *head, *item, *comma, *tail;
        size_t good, bad;
        const char *limit;
    } vectors[] = {
        {"{\"subject\":[", "1", ",", "]}", 2048, 2049, "`alternatives`"},
        {"{\"subject\":[{\"anything-but\":[", "1", ",", "]}]}", 2047, 2048, "`alternatives`"},
        {"{\"$or\":[", "{\"a\":[1]}", ",", "]}", 256, 257, "`$or branches`"},
        {"{\"subject\":[", "{\"wildcard\":\"a*\"}", ",", "]}", 64, 65, "`wildcards`"},
        {"{\"subject\":[{\"wildcard\":\"", "*", "a", "\"}]}", 32, 33, "`stars`"},
        {"{\"subject\":[\"", "aaaaaaaaaaaaaaaa", "", "\"]}", 1023, 1024, "`bytes`"},
    };
    mr_buf text;
    mr_buf_init(&text, (size_t)1 << 20);
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct filter *filter;
        struct filter_fault fault;
        build(&text, vectors[i].head, vectors[i].item, vectors[i].good, vectors[i].comma,
              vectors[i].tail);
        assert_true(mr_is_ok(filter_compile_pattern(mr_buf_view(&text), &filter, &fault)));
        filter_free(filter);
        build(&text, vectors[i].head, vectors[i].item, vectors[i].bad, vectors[i].comma,
              vectors[i].tail);
        mr_err err = filter_compile_pattern(mr_buf_view(&text), &filter, &fault);
        assert_int_equal(err.code, FILTER_E_REFUSED);
        assert_non_null(strstr(fault.expected, vectors[i].limit));
    }
    mr_buf_done(&text);
}

static void depth_is_refused_by_name(void **state) {
    (void)state;
    for (size_t depth = 31; depth <= 200; depth += depth == 31 ? 1 : 168) {
        struct filter *filter;
        struct filter_fault fault;
        mr_buf text;
        mr_buf_init(&text, (size_t)1 << 20);
        build(&text, "{\"data\":", "{\"a\":", depth, "", "[1]");
        for (size_t i = 0; i <= depth; i++) {
            assert_true(mr_is_ok(mr_buf_byte(&text, '}')));
        }
        mr_err err = filter_compile_pattern(mr_buf_view(&text), &filter, &fault);
        if (depth == 31) {
            assert_true(mr_is_ok(err));
            filter_free(filter);
        } else {
            assert_int_equal(err.code, FILTER_E_REFUSED);
            assert_non_null(strstr(fault.expected, "`depth`"));
        }
        mr_buf_done(&text);
    }
}

static void a_long_name_is_told_by_the_object_around(void **state) {
    (void)state;
    struct filter *filter;
    struct filter_fault fault;
    mr_buf text;
    mr_buf_init(&text, (size_t)1 << 20);
    build(&text, "{\"data\":{\"a\":{\"", "x", 8000, "", "\":5}}}");
    mr_err err = filter_compile_pattern(mr_buf_view(&text), &filter, &fault);
    assert_int_equal(err.code, FILTER_E_REFUSED);
    assert_string_equal(fault.pointer, "/data/a");
    /* and such names cost no more memory than they are long */
    build(&text, "{\"data\":{\"", "x", 8000, "", "\":{\"$or\":[");
    for (size_t i = 0; i < 256; i++) {
        assert_true(mr_is_ok(mr_buf_printf(&text, "%s{\"a%zu\":[1]}", i == 0 ? "" : ",", i)));
    }
    assert_true(mr_is_ok(mr_buf_str(&text, MR_STR("]}}}"))));
    assert_true(mr_is_ok(filter_compile_pattern(mr_buf_view(&text), &filter, &fault)));
    assert_in_range(filter_bytes(filter), text.len, 16 * text.len);
    filter_free(filter);
    mr_buf_done(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_values_compare_by_type_and_value),
        cmocka_unit_test(numbers_compare_exactly),
        cmocka_unit_test(text_operators_match_strings_only),
        cmocka_unit_test(anything_but_wants_the_member_to_be_there),
        cmocka_unit_test(addresses_lie_in_their_network),
        cmocka_unit_test(exists_looks_at_leaves),
        cmocka_unit_test(one_item_of_an_array_holds_all_of_an_object),
        cmocka_unit_test(or_takes_any_branch),
        cmocka_unit_test(wrong_patterns_are_refused_with_their_place),
        cmocka_unit_test(limits_are_refused_by_name),
        cmocka_unit_test(depth_is_refused_by_name),
        cmocka_unit_test(a_long_name_is_told_by_the_object_around),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
