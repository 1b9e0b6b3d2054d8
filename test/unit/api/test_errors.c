/* Codes of errors by families of routes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/errors.h"

static void api_clients_have_codes_of_their_own(void **state) {
    (void)state;
    static const struct {
        uint32_t plain;
        uint32_t clients;
    } rows[] = {{20400, 40400}, {20401, 40401}, {20006, 40403}, {20404, 40404}, {20004, 40405},
                {20500, 40500}, {20503, 40503}, {20001, 20001}, {20002, 20002}, {20409, 20409},
                {20412, 20412}, {20413, 20413}, {20415, 20415}, {20429, 20429}, {40403, 40403},
                {30010, 30010}, {31001, 31001}, {1, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(api_error_code_in(AUTH_ERRORS_CLIENTS, rows[i].plain), rows[i].clients);
        assert_int_equal(api_error_code_in(AUTH_ERRORS_PLAIN, rows[i].plain), rows[i].plain);
        uint32_t secrets = rows[i].plain == 20006 ? 30010 : rows[i].plain;
        assert_int_equal(api_error_code_in(AUTH_ERRORS_SECRETS, rows[i].plain), secrets);
    }
}

static void a_status_has_its_familys_code(void **state) {
    (void)state;
    assert_int_equal(api_error_code_of(AUTH_ERRORS_CLIENTS, 502), 40502);
    assert_int_equal(api_error_code_of(AUTH_ERRORS_CLIENTS, 504), 40504);
    assert_int_equal(api_error_code_of(AUTH_ERRORS_CLIENTS, 413), 20413);
    assert_int_equal(api_error_code_of(AUTH_ERRORS_SECRETS, 403), 30010);
    assert_int_equal(api_error_code_of(AUTH_ERRORS_PLAIN, 403), 20006);
    assert_int_equal(api_error_code_of(AUTH_ERRORS_PLAIN, 418), 20400);
    assert_int_equal(api_error_code_of(AUTH_ERRORS_PLAIN, 599), 20500);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(api_clients_have_codes_of_their_own),
        cmocka_unit_test(a_status_has_its_familys_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
