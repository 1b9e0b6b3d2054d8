/* Addresses as text, listening, and the errors of sockets. */
#include "os/socket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const struct {
    const char *text;
    const char *again; /* NULL: refused */
} rows[] = {
    {"127.0.0.1:80", "127.0.0.1:80"},
    {"0.0.0.0:0", "0.0.0.0:0"},
    {"[::1]:65535", "[::1]:65535"},
    {"[2001:DB8:0:0::1]:443", "[2001:db8::1]:443"},
    {"[::ffff:10.0.0.1]:1", "[::ffff:10.0.0.1]:1"},
    {"127.0.0.1", NULL},
    {"127.0.0.1:", NULL},
    {"127.0.0.1:65536", NULL},
    {"127.0.0.1:+1", NULL},
    {"127.0.0.1:1 ", NULL},
    {"127.1:80", NULL},
    {"0127.0.0.1:80", NULL},
    {"2130706433:80", NULL},
    {"::1:80", NULL},
    {"[127.0.0.1]:80", NULL},
    {"[::1%lo]:80", NULL},
    {"[::1:80", NULL},
    {"localhost:80", NULL},
    {":80", NULL},
    {"", NULL},
};

static void addresses_are_read_and_written(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        os_addr addr;
        mr_err err = os_addr_parse(mr_str_c(rows[i].text), &addr);
        if (rows[i].again == NULL) {
            assert_int_equal(err.code, MR_E_INVALID);
            continue;
        }
        assert_true(mr_is_ok(err));
        char text[OS_ADDR_TEXT_SIZE];
        assert_int_equal(os_addr_format(&addr, text), strlen(rows[i].again));
        assert_string_equal(text, rows[i].again);
        os_addr again;
        assert_true(mr_is_ok(os_addr_parse(mr_str_c(text), &again)));
        assert_true(os_addr_eq(&addr, &again));
    }
    os_addr none = {.family = OS_FAMILY_NONE};
    char text[OS_ADDR_TEXT_SIZE];
    assert_int_equal(os_addr_format(&none, text), 4);
    assert_string_equal(text, "none");
}

static void several_listeners_share_an_address(void **state) {
    (void)state;
    os_addr addr;
    os_addr bound;
    os_addr same;
    int one;
    int two;
    assert_true(mr_is_ok(os_addr_parse(MR_STR("127.0.0.1:0"), &addr)));
    assert_true(mr_is_ok(os_listen(&addr, 4, &one, &bound)));
    assert_int_not_equal(bound.port, 0);
    assert_true(mr_is_ok(os_listen(&bound, 4, &two, &same)));
    assert_true(os_addr_eq(&bound, &same));
    os_addr peer;
    int fd;
    assert_int_equal(os_accept(one, &fd, &peer).code, MR_E_AGAIN);
    os_close(one);
    os_close(two);
}

static void an_address_of_another_machine_cannot_be_listened_on(void **state) {
    (void)state;
    os_addr addr;
    os_addr bound;
    int fd;
    assert_true(mr_is_ok(os_addr_parse(MR_STR("192.0.2.1:0"), &addr)));
    assert_int_equal(os_listen(&addr, 4, &fd, &bound).code, MR_E_IO);
}

static void errors_of_a_connection_are_told_apart(void **state) {
    (void)state;
    os_addr addr;
    os_addr bound;
    os_addr peer;
    int listener;
    int client;
    int server;
    assert_true(mr_is_ok(os_addr_parse(MR_STR("127.0.0.1:0"), &addr)));
    assert_true(mr_is_ok(os_listen(&addr, 4, &listener, &bound)));
    assert_true(mr_is_ok(os_connect_start(&bound, &client)));
    mr_err err;
    do {
        err = os_accept(listener, &server, &peer);
    } while (mr_err_is(err, MR_E_AGAIN));
    assert_true(mr_is_ok(err) && mr_is_ok(os_connect_result(client)));
    os_addr local;
    assert_true(mr_is_ok(os_local_addr(client, &local)) && os_addr_eq(&local, &peer));
    char byte = 'x';
    size_t n;
    assert_int_equal(os_recv(server, &byte, 1, &n).code, MR_E_AGAIN);
    struct iovec iov[2] = {{&byte, 1}, {&byte, 1}};
    assert_true(mr_is_ok(os_send(client, iov, 2, &n)) && n == 2);
    os_shutdown_write(client);
    char got[4];
    do {
        err = os_recv(server, got, sizeof got, &n);
    } while (mr_err_is(err, MR_E_AGAIN));
    assert_true(mr_is_ok(err) && n == 2);
    do {
        err = os_recv(server, got, sizeof got, &n);
    } while (mr_err_is(err, MR_E_AGAIN));
    assert_int_equal(err.code, MR_E_CLOSED);
    os_close_reset(server);
    do {
        err = os_recv(client, got, sizeof got, &n);
    } while (mr_err_is(err, MR_E_AGAIN));
    assert_int_equal(err.code, MR_E_IO);
    assert_int_equal(os_send(client, iov, 1, &n).code, MR_E_CLOSED);
    os_close(client);
    os_close(listener);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read_and_written),
        cmocka_unit_test(several_listeners_share_an_address),
        cmocka_unit_test(an_address_of_another_machine_cannot_be_listened_on),
        cmocka_unit_test(errors_of_a_connection_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
