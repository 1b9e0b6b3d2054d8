/* Libraries opened late: what is found, what is not, and that nothing is half done. */
#include "os/library.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void a_function_that_is_there_can_be_called(void **state) {
    (void)state;
    double (*root)(double) = NULL;
    const struct os_library_want want = {&root, "sqrt"};
    assert_true(mr_is_ok(os_library_open("libm.so.6", &want, 1)));
    assert_true(root(9.0) == 3.0);
}

static void a_library_that_is_not_there_is_not_found(void **state) {
    (void)state;
    double (*root)(double) = NULL;
    const struct os_library_want want = {&root, "sqrt"};
    assert_true(mr_err_is(os_library_open("libmillrace-none.so.1", &want, 1), MR_E_NOT_FOUND));
    assert_null(root);
}

static void where_one_function_is_missing_none_is_filled(void **state) {
    (void)state;
    double (*root)(double) = NULL;
    double (*other)(double) = NULL;
    const struct os_library_want wants[] = {{&root, "sqrt"}, {&other, "no_such_function"}};
    assert_true(mr_err_is(os_library_open("libm.so.6", wants, 2), MR_E_NOT_FOUND));
    assert_null(root);
    assert_null(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_function_that_is_there_can_be_called),
        cmocka_unit_test(a_library_that_is_not_there_is_not_found),
        cmocka_unit_test(where_one_function_is_missing_none_is_filled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
