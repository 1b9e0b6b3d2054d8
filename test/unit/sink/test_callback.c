/* Callbacks on the wire: names of hosts and forms. Sending is judged by node, in test/e2e. */
#include "sink/callback.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void a_host_has_one_name_however_it_is_written(void **state) {
    (void)state;
    static const struct {
        const char *url, *key; /* NULL: it may not be reached */
    } cases[] = {
        {"https://A.Example/x?y#z", "https://a.example:443"},
        {"HTTPS://a.example:443", "https://a.example:443"},
        {"https://a.example:8443/", "https://a.example:8443"},
        {"http://a.example/", "http://a.example:80"},
        {"https://[2001:DB8::1]/", "https://2001:db8::1:443"},
        {"https://192.0.2.1/", "https://192.0.2.1:443"},
        {"https://user@a.example/", NULL},
        {"ftp://a.example/", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char key[SINK_CALLBACK_KEY_SIZE];
        size_t len = sink_callback_key(mr_str_c(cases[i].url), true, key);
        mr_str expected = cases[i].key == NULL ? MR_STR("") : mr_str_c(cases[i].key);
        assert_true(mr_str_eq(mr_str_of(key, len), expected));
    }
    char key[SINK_CALLBACK_KEY_SIZE];
    assert_int_equal(sink_callback_key(MR_STR("http://a.example/"), false, key), 0);
}

static void the_longest_host_fits(void **state) {
    (void)state;
    char url[400] = "https://";
    size_t at = 8;
    for (int label = 0; label < 4; label++) {
        size_t len = label < 3 ? 63 : 61;
        memset(url + at, 'A', len);
        at += len;
        url[at++] = label < 3 ? '.' : ':';
    }
    memcpy(url + at, "65535/", 7);
    char key[SINK_CALLBACK_KEY_SIZE];
    assert_int_equal(sink_callback_key(mr_str_c(url), false, key), 8 + NET_HOST_BYTES_MAX + 6);
}

static void a_form_is_written_as_browsers_write_it(void **state) {
    (void)state;
    char bytes[256];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char)i;
    }
    mr_buf out;
    mr_buf_init(&out, 2000);
    assert_true(mr_is_ok(sink_callback_form_add(&out, MR_STR("a b"), MR_STR("c&d=\xc3\xa4"))));
    assert_true(mr_is_ok(sink_callback_form_add(&out, MR_STR(""), MR_STR("*-._~"))));
    assert_true(mr_str_eq(mr_buf_view(&out), MR_STR("a+b=c%26d%3D%C3%A4&=*-._%7E")));
    mr_buf_reset(&out);
    assert_true(mr_is_ok(sink_callback_form_add(&out, MR_STR("x"), mr_str_of(bytes, 256))));
    size_t plain = 62 + 4 + 1; /* letters and digits, *-._, the space */
    assert_int_equal(out.len, 2 + plain + 3 * (256 - plain));
    mr_buf_done(&out);
    mr_buf_init(&out, 5);
    assert_true(
        mr_err_is(sink_callback_form_add(&out, MR_STR("name"), MR_STR("value")), MR_E_LIMIT));
    mr_buf_done(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_has_one_name_however_it_is_written),
        cmocka_unit_test(the_longest_host_fits),
        cmocka_unit_test(a_form_is_written_as_browsers_write_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
