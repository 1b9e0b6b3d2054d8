/* Destination URLs: what passes, what is refused and why, what is signed and sent. */
#include "net/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void assert_str(mr_str got, const char *want) {
    if (!mr_str_eq(got, mr_str_c(want))) {
        fail_msg("got \"%.*s\", want \"%s\"", MR_FMT(got), want);
    }
}

static void refused_urls_say_why(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum net_url_problem problem;
    } rows[] = {
        {"", NET_URL_EMPTY},
        {"hooks.acme.com", NET_URL_NOT_ABSOLUTE},
        {"https:hooks.acme.com", NET_URL_NOT_ABSOLUTE},
        {"https:/hooks.acme.com", NET_URL_NOT_ABSOLUTE},
        {"//hooks.acme.com/", NET_URL_NOT_ABSOLUTE},
        {"/a?u=https://a.example", NET_URL_NOT_ABSOLUTE},
        {"ftp://a.example/", NET_URL_SCHEME},
        {"javascript://a.example/", NET_URL_SCHEME},
        {"http://a.example/", NET_URL_HTTP},
        {"https://", NET_URL_NO_HOST},
        {"https:///path", NET_URL_NO_HOST},
        {"https://:443/", NET_URL_NO_HOST},
        {"https://?a", NET_URL_NO_HOST},
        {"https://user@a.example/", NET_URL_USERINFO},
        {"https://user:pw@a.example/", NET_URL_USERINFO},
        {"https://a.example@10.0.0.1/", NET_URL_USERINFO},
        {"https://a.example\\@10.0.0.1/", NET_URL_BAD_BYTE},
        {"https://a.example/a b", NET_URL_BAD_BYTE},
        {"https://a.example/\t", NET_URL_BAD_BYTE},
        {" https://a.example/", NET_URL_BAD_BYTE},
        {"https://a.example/\r\nx: y", NET_URL_BAD_BYTE},
        {"https://b\xc3\xbc"
         "cher.example/",
         NET_URL_BAD_BYTE},
        {"https://a.example/\x7f", NET_URL_BAD_BYTE},
        {"https://a%2eexample/", NET_URL_HOST_PERCENT},
        {"https://[fe80::1%25eth0]/", NET_URL_HOST_PERCENT},
        {"https://a.example./", NET_URL_HOST_DOT},
        {"https://./", NET_URL_HOST_DOT},
        {"https://a..example/", NET_URL_HOST_DOT},
        {"https://.a.example/", NET_URL_HOST_DOT},
        {"https://1.2.3.4./", NET_URL_HOST_DOT},
        {"https://-a.example/", NET_URL_HOST_BYTE},
        {"https://a-.example/", NET_URL_HOST_BYTE},
        {"https://a!b.example/", NET_URL_HOST_BYTE},
        {"https://a,b.example/", NET_URL_HOST_BYTE},
        {"https://2130706433/", NET_URL_HOST_NUMERIC},
        {"https://0x7f000001/", NET_URL_HOST_NUMERIC},
        {"https://0x7f.1/", NET_URL_HOST_NUMERIC},
        {"https://127.1/", NET_URL_HOST_NUMERIC},
        {"https://127.0.1/", NET_URL_HOST_NUMERIC},
        {"https://0177.0.0.1/", NET_URL_HOST_NUMERIC},
        {"https://127.0.0.01/", NET_URL_HOST_NUMERIC},
        {"https://127.0.0.0x1/", NET_URL_HOST_NUMERIC},
        {"https://1.2.3.256/", NET_URL_HOST_NUMERIC},
        {"https://1.2.3.4.5/", NET_URL_HOST_NUMERIC},
        {"https://a.example.0x/", NET_URL_HOST_NUMERIC},
        {"https://017700000001/", NET_URL_HOST_NUMERIC},
        {"https://[::1/", NET_URL_HOST_IPV6},
        {"https://[::1]a/", NET_URL_HOST_IPV6},
        {"https://[127.0.0.1]/", NET_URL_HOST_IPV6},
        {"https://[]/", NET_URL_HOST_IPV6},
        {"https://[::g]/", NET_URL_HOST_IPV6},
        {"https://[1::2::3]/", NET_URL_HOST_IPV6},
        {"https://::1/", NET_URL_NO_HOST},
        {"https://a.example:/", NET_URL_PORT},
        {"https://a.example:0/", NET_URL_PORT},
        {"https://a.example:65536/", NET_URL_PORT},
        {"https://a.example:0443/", NET_URL_PORT},
        {"https://a.example:+443/", NET_URL_PORT},
        {"https://a.example:443:1/", NET_URL_PORT},
        {"https://a.example:99999999999999999999/", NET_URL_PORT},
        {"https://a.example:22/", NET_URL_PORT_REFUSED},
        {"https://a.example:80/", NET_URL_PORT_REFUSED},
        {"https://a.example:1023/", NET_URL_PORT_REFUSED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct net_url url;
        enum net_url_problem got = net_url_parse(mr_str_c(rows[i].text), false, &url);
        if (got != rows[i].problem) {
            fail_msg("%s: got %d, want %d", rows[i].text, got, rows[i].problem);
        }
        assert_true(strlen(net_url_problem_text(got)) > 10);
    }
    assert_string_equal(net_url_problem_text(NET_URL_OK), "");
}

static void parts_are_slices_of_the_text(void **state) {
    (void)state;
    struct net_url url;
    mr_str text = MR_STR("https://Hooks.ACME.com:8443/a/b?x=1&y=#cbs=kore?z");
    assert_int_equal(net_url_parse(text, false, &url), NET_URL_OK);
    assert_str(url.text, "https://Hooks.ACME.com:8443/a/b?x=1&y=#cbs=kore?z");
    assert_str(url.signing, "https://Hooks.ACME.com:8443/a/b");
    assert_str(url.host, "Hooks.ACME.com");
    assert_str(url.host_header, "Hooks.ACME.com:8443");
    assert_str(url.path, "/a/b");
    assert_str(url.query, "x=1&y=");
    assert_str(url.fragment, "cbs=kore?z");
    assert_int_equal(url.port, 8443);
    assert_true(url.is_https);
    assert_int_equal(url.host_kind, NET_HOST_NAME);
}

static void what_is_signed_ends_at_query_or_fragment(void **state) {
    (void)state;
    static const struct {
        const char *text, *signing, *target, *host_header;
        uint16_t port;
    } rows[] = {
        {"https://a.example", "https://a.example", "/", "a.example", 443},
        {"https://a.example?q", "https://a.example", "/?q", "a.example", 443},
        {"https://a.example#f?q", "https://a.example", "/", "a.example", 443},
        {"https://a.example/p?", "https://a.example/p", "/p?", "a.example", 443},
        {"https://a.example:443/p", "https://a.example:443/p", "/p", "a.example", 443},
        {"HTTPS://a.example/P%20x", "HTTPS://a.example/P%20x", "/P%20x", "a.example", 443},
        {"http://a.example:80/p", "http://a.example:80/p", "/p", "a.example", 80},
        {"http://a.example:443/p", "http://a.example:443/p", "/p", "a.example:443", 443},
        {"https://a.example:80/p", "https://a.example:80/p", "/p", "a.example:80", 80},
        {"http://a.example:1024/", "http://a.example:1024/", "/", "a.example:1024", 1024},
        {"https://a_b.x--y.example/@:?@", "https://a_b.x--y.example/@:", "/@:?@",
         "a_b.x--y.example", 443},
        {"https://1a.example.4d/", "https://1a.example.4d/", "/", "1a.example.4d", 443},
        {"https://[2606:4700::1111]:65535/", "https://[2606:4700::1111]:65535/", "/",
         "[2606:4700::1111]:65535", 65535},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct net_url url;
        assert_int_equal(net_url_parse(mr_str_c(rows[i].text), true, &url), NET_URL_OK);
        assert_str(url.signing, rows[i].signing);
        assert_str(url.host_header, rows[i].host_header);
        assert_int_equal(url.port, rows[i].port);
        mr_buf target;
        mr_buf_init(&target, 100);
        assert_true(mr_is_ok(net_url_target(&url, &target)));
        assert_str(mr_buf_view(&target), rows[i].target);
        mr_buf_done(&target);
    }
}

static void literals_hold_their_address(void **state) {
    (void)state;
    struct net_url url;
    assert_int_equal(net_url_parse(MR_STR("https://192.0.2.7:8443/"), false, &url), NET_URL_OK);
    assert_int_equal(url.host_kind, NET_HOST_LITERAL);
    assert_int_equal(url.addr.family, OS_FAMILY_V4);
    assert_int_equal(url.addr.port, 8443);
    assert_memory_equal(url.addr.ip, "\xc0\x00\x02\x07", 4);
    assert_int_equal(net_url_parse(MR_STR("https://[::ffff:10.0.0.1]/"), false, &url), NET_URL_OK);
    assert_int_equal(url.addr.family, OS_FAMILY_V6);
    assert_str(url.host, "::ffff:10.0.0.1");
    assert_int_equal(url.addr.ip[12], 10);
}

static void lengths_are_bounded(void **state) {
    (void)state;
    char text[NET_URL_BYTES_MAX + 2];
    struct net_url url;
    memset(text, 'a', sizeof text);
    memcpy(text, "https://a.example/", 18);
    assert_int_equal(net_url_parse(mr_str_of(text, NET_URL_BYTES_MAX), false, &url), NET_URL_OK);
    assert_int_equal(net_url_parse(mr_str_of(text, NET_URL_BYTES_MAX + 1), false, &url),
                     NET_URL_TOO_LONG);
    char host[300];
    memset(host, 'a', sizeof host);
    memcpy(host, "https://", 8);
    assert_int_equal(net_url_parse(mr_str_of(host, 8 + 63), false, &url), NET_URL_OK);
    assert_int_equal(net_url_parse(mr_str_of(host, 8 + 64), false, &url), NET_URL_HOST_TOO_LONG);
    for (size_t i = 8 + 50; i < sizeof host; i += 50) {
        host[i] = '.';
    }
    assert_int_equal(net_url_parse(mr_str_of(host, 8 + 253), false, &url), NET_URL_OK);
    assert_int_equal(net_url_parse(mr_str_of(host, 8 + 254), false, &url), NET_URL_HOST_TOO_LONG);
}

static void a_target_that_does_not_fit_leaves_the_buffer_as_it_was(void **state) {
    (void)state;
    struct net_url url;
    assert_int_equal(net_url_parse(MR_STR("https://a.example/path?query"), false, &url),
                     NET_URL_OK);
    mr_buf out;
    mr_buf_init(&out, 8);
    assert_true(mr_err_is(net_url_target(&url, &out), MR_E_LIMIT));
    assert_int_equal(out.len, 0);
    mr_buf_done(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_urls_say_why),
        cmocka_unit_test(parts_are_slices_of_the_text),
        cmocka_unit_test(what_is_signed_ends_at_query_or_fragment),
        cmocka_unit_test(literals_hold_their_address),
        cmocka_unit_test(lengths_are_bounded),
        cmocka_unit_test(a_target_that_does_not_fit_leaves_the_buffer_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
