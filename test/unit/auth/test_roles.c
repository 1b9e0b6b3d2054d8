/* The table of roles, as SPEC.md, section 10 tells it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/roles.h"

#define ALL  AUTH_ALL
#define NONE AUTH_NO_ACCESS
#define READ AUTH_READ

static struct auth_scopes scopes_of(enum auth_role role, mr_str products) {
    struct auth_scopes scopes;
    assert_true(mr_is_ok(auth_role_scopes(role, products, &scopes)));
    return scopes;
}

static void each_role_has_what_is_written_of_it(void **state) {
    (void)state;
    static const uint8_t wanted[AUTH_ROLE_COUNT][AUTH_RESOURCE_COUNT + 1] = {
        [AUTH_ROLE_OWNER] = {ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL},
        [AUTH_ROLE_ADMIN] = {ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL, ALL},
        [AUTH_ROLE_DEVELOPER] = {ALL, READ, READ, NONE, ALL, ALL, ALL, ALL, ALL, ALL, ALL},
        [AUTH_ROLE_DEFAULT] = {READ, READ, READ, NONE, READ, READ, READ, READ, READ, READ, ALL},
    };
    for (size_t role = 0; role < AUTH_ROLE_COUNT; role++) {
        struct auth_scopes scopes = scopes_of((enum auth_role)role, MR_STR_NONE);
        for (size_t i = 0; i <= AUTH_RESOURCE_COUNT; i++) {
            assert_int_equal(scopes.access[i], wanted[role][i]);
        }
    }
}

static void products_restrict_products_and_nothing_else(void **state) {
    (void)state;
    struct auth_scopes scopes = scopes_of(AUTH_ROLE_DEVELOPER, MR_STR("[\"Webhooks\"]"));
    assert_int_equal(scopes.access[AUTH_RES_WEBHOOKS], ALL);
    assert_int_equal(scopes.access[AUTH_RES_EVENT_STREAMS], NONE);
    assert_int_equal(scopes.access[AUTH_RES_EVENTS], NONE);
    assert_int_equal(scopes.access[AUTH_RES_API_CLIENTS], ALL);
    assert_int_equal(scopes.access[AUTH_RES_USERS], READ);
    assert_int_equal(scopes.access[AUTH_RES_SESSION], ALL);
    scopes = scopes_of(AUTH_ROLE_DEFAULT, MR_STR("[]"));
    assert_int_equal(scopes.access[AUTH_RES_SUPER_SIM], NONE);
}

static void a_kore_product_brings_the_streams_with_it(void **state) {
    (void)state;
    struct auth_scopes scopes = scopes_of(AUTH_ROLE_DEFAULT, MR_STR("[\"SuperSIM\"]"));
    assert_int_equal(scopes.access[AUTH_RES_SUPER_SIM], READ);
    assert_int_equal(scopes.access[AUTH_RES_PROGRAMMABLE_WIRELESS], NONE);
    assert_int_equal(scopes.access[AUTH_RES_EVENT_STREAMS], READ);
    assert_int_equal(scopes.access[AUTH_RES_WEBHOOKS], READ);
    assert_int_equal(scopes.access[AUTH_RES_EVENT_CATALOGUE], READ);
    assert_int_equal(scopes.access[AUTH_RES_EVENTS], NONE);
}

static void other_products_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "[\"Users\"]", "[\"supersim\"]", "[1]", "{}", "\"SuperSIM\"", "[", "null", ""};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct auth_scopes scopes;
        assert_true(mr_err_is(auth_role_scopes(AUTH_ROLE_OWNER, mr_str_c(wrong[i]), &scopes),
                              MR_E_INVALID));
    }
}

static void names_are_read_as_they_are_written(void **state) {
    (void)state;
    for (size_t i = 0; i < AUTH_ROLE_COUNT; i++) {
        enum auth_role role = AUTH_ROLE_COUNT;
        assert_true(auth_role_parse(auth_role_name((enum auth_role)i), &role));
        assert_int_equal(role, i);
    }
    enum auth_role role;
    assert_false(auth_role_parse(MR_STR("Owner"), &role));
    assert_false(auth_role_parse(MR_STR(""), &role));
}

/* No token holds it, whatever its scopes: it has no name there. */
static void everything_that_a_token_can_hold_has_no_session_in_it(void **state) {
    (void)state;
    struct auth_scopes all = auth_scopes_all();
    assert_int_equal(all.access[AUTH_RES_SESSION], NONE);
    assert_false(auth_route_allows(AUTH_ROUTE_SESSION_GET, &all));
    struct auth_scopes user = scopes_of(AUTH_ROLE_DEFAULT, MR_STR_NONE);
    assert_true(auth_route_allows(AUTH_ROUTE_SESSION_GET, &user));
    assert_true(auth_scopes_within(&all, &all));
    struct auth_scopes scopes;
    const char *why = NULL;
    assert_true(mr_is_err(auth_scopes_parse(
        MR_STR("{\"globalResources\":[{\"resourceName\":\"session\",\"access\":[\"Read\"]}]}"),
        &scopes, &why)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_role_has_what_is_written_of_it),
        cmocka_unit_test(products_restrict_products_and_nothing_else),
        cmocka_unit_test(a_kore_product_brings_the_streams_with_it),
        cmocka_unit_test(other_products_are_refused),
        cmocka_unit_test(names_are_read_as_they_are_written),
        cmocka_unit_test(everything_that_a_token_can_hold_has_no_session_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
