/* How a call with a cookie may come: what no test over loopback can show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/caller.h"

static struct http_exchange from(const char *address, bool is_tls) {
    struct http_exchange ex = {.is_tls = is_tls, .host = MR_STR("me.example:8443")};
    assert_true(mr_is_ok(os_addr_parse(mr_str_c(address), &ex.peer)));
    return ex;
}

static void a_session_needs_tls_or_this_very_machine(void **state) {
    (void)state;
    static const struct {
        const char *peer;
        const char *public_url;
        bool is_tls;
        bool is_private;
    } cases[] = {
        {"127.0.0.1:9", "http://a.example", false, true},
        {"127.8.8.8:9", "http://a.example", false, true},
        {"[::1]:9", "http://a.example", false, true},
        {"[::ffff:127.0.0.1]:9", "http://a.example", false, true},
        {"192.0.2.1:9", "http://a.example", false, false},
        {"128.0.0.1:9", "http://127.0.0.1", false, false},
        {"[2001:db8::1]:9", "http://a.example", false, false},
        {"[::2]:9", "http://a.example", false, false},
        {"192.0.2.1:9", "http://a.example", true, true},
        {"192.0.2.1:9", "https://a.example", false, true}, /* behind a proxy that ends TLS */
        {"192.0.2.1:9", "httpsx://a.example", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct api api = {.public_url = mr_str_c(cases[i].public_url)};
        struct http_exchange ex = from(cases[i].peer, cases[i].is_tls);
        if (api_way_is_private(&api, &ex) != cases[i].is_private) {
            fail_msg("%s %s", cases[i].peer, cases[i].public_url);
        }
    }
}

static void origins_are_compared_whole(void **state) {
    (void)state;
    static const struct {
        const char *origin;
        bool is_own;
    } cases[] = {
        {"https://portal.example", true},
        {"HTTPS://Portal.Example", true},
        {"https://me.example:8443", true}, /* by the Host field */
        {"http://me.example:8443", false},
        {"https://me.example", false},
        {"https://portal.example:443", false},
        {"https://portal.example.evil.example", false},
        {"https://xportal.example", false},
        {"https://portal.example/", false},
        {"null", false},
        {"", false},
    };
    struct api api = {.public_url = MR_STR("https://portal.example/below")};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_exchange ex = from("192.0.2.1:9", true);
        const mr_field field = {MR_STR("Origin"), mr_str_c(cases[i].origin)};
        ex.fields = (mr_fields){&field, 1};
        if (api_way_is_own(&api, &ex) != cases[i].is_own) {
            fail_msg("%s", cases[i].origin);
        }
    }
}

static void fields_that_stand_twice_are_not_believed(void **state) {
    (void)state;
    struct api api = {.public_url = MR_STR("https://portal.example")};
    struct http_exchange ex = from("192.0.2.1:9", true);
    const mr_field origins[] = {{MR_STR("origin"), MR_STR("https://portal.example")},
                                {MR_STR("origin"), MR_STR("https://portal.example")}};
    const mr_field sites[] = {{MR_STR("sec-fetch-site"), MR_STR("same-origin")},
                              {MR_STR("sec-fetch-site"), MR_STR("none")}};
    ex.fields = (mr_fields){origins, 1};
    assert_true(api_way_is_own(&api, &ex));
    ex.fields = (mr_fields){origins, 2};
    assert_false(api_way_is_own(&api, &ex));
    ex.fields = (mr_fields){sites, 1};
    assert_true(api_way_is_own(&api, &ex));
    ex.fields = (mr_fields){sites, 2};
    assert_false(api_way_is_own(&api, &ex));
    ex.fields = (mr_fields){NULL, 0};
    assert_true(api_way_is_own(&api, &ex));
}

static void cookies_are_found_in_any_field_and_counted(void **state) {
    (void)state;
    const mr_field fields[] = {
        {MR_STR("Cookie"), MR_STR("a=b;__Host-millrace=one ; c=d")},
        {MR_STR("x"), MR_STR("__Host-millrace=none")},
        {MR_STR("cookie"), MR_STR("x__Host-millrace=no; __Host-millrace=two")}};
    struct http_exchange ex = from("127.0.0.1:9", false);
    mr_str value = MR_STR_NONE;
    ex.fields = (mr_fields){fields, 2};
    assert_int_equal(api_cookie_find(&ex, &value), 1);
    assert_true(mr_str_eq(value, MR_STR("one")));
    ex.fields = (mr_fields){fields, 3};
    assert_int_equal(api_cookie_find(&ex, &value), 2);
    ex.fields = (mr_fields){fields + 1, 1};
    assert_int_equal(api_cookie_find(&ex, &value), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_needs_tls_or_this_very_machine),
        cmocka_unit_test(origins_are_compared_whole),
        cmocka_unit_test(fields_that_stand_twice_are_not_believed),
        cmocka_unit_test(cookies_are_found_in_any_field_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
