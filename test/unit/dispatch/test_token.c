/* Idempotency tokens: the same for the same request, another for any other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "dispatch/shard.h"
#include "dispatch/token.h"
#include "dispatch/types.h"

#include <stdio.h>

static const struct siphash_key key = {1, 2};

static void a_token_is_a_uuid_of_version_8(void **state) {
    (void)state;
    const uint64_t positions[] = {4096, 8192};
    char token[TOKEN_SIZE];
    token_make(key, 7, 0, positions, 2, token);
    assert_int_equal(strlen(token), 36);
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        assert_true(dash ? token[i] == '-' : strchr("0123456789abcdef", token[i]) != NULL);
    }
    assert_int_equal(token[14], '8');
    assert_non_null(strchr("89ab", token[19]));
}

static void a_token_depends_on_all_that_a_request_is(void **state) {
    (void)state;
    const uint64_t positions[] = {4096, 8192};
    const uint64_t swapped[] = {8192, 4096};
    char tokens[6][TOKEN_SIZE];
    token_make(key, 7, 0, positions, 2, tokens[0]);
    token_make(key, 8, 0, positions, 2, tokens[1]);
    token_make(key, 7, 1, positions, 2, tokens[2]);
    token_make(key, 7, 0, positions, 1, tokens[3]);
    token_make(key, 7, 0, swapped, 2, tokens[4]);
    token_make((struct siphash_key){1, 3}, 7, 0, positions, 2, tokens[5]);
    for (size_t a = 0; a < 6; a++) {
        for (size_t b = a + 1; b < 6; b++) {
            assert_string_not_equal(tokens[a], tokens[b]);
        }
    }
    char again[TOKEN_SIZE];
    token_make(key, 7, 0, positions, 2, again);
    assert_string_equal(again, tokens[0]);
}

static void type_names_get_lasting_numbers(void **state) {
    (void)state;
    struct type_table *table;
    assert_true(mr_is_ok(type_table_new(&table)));
    char name[32];
    uint64_t numbers[1000];
    for (int i = 0; i < 1000; i++) {
        int n = snprintf(name, sizeof name, "com.example.%d", i);
        assert_int_equal(type_table_find(table, mr_str_of(name, (size_t)n)), 0);
        assert_true(mr_is_ok(type_table_number(table, mr_str_of(name, (size_t)n), &numbers[i])));
    }
    for (int i = 0; i < 1000; i++) {
        int n = snprintf(name, sizeof name, "com.example.%d", i);
        assert_int_equal(type_table_find(table, mr_str_of(name, (size_t)n)), numbers[i]);
        assert_true(mr_str_eq(type_table_name(table, numbers[i]), mr_str_of(name, (size_t)n)));
    }
    assert_true(mr_str_is_absent(type_table_name(table, 5000)));
    type_table_free(table);
}

static void destinations_spread_over_workers(void **state) {
    (void)state;
    size_t counts[4] = {0};
    for (uint32_t number = 1; number <= 4000; number++) {
        size_t owner = shard_owner(number, 4);
        assert_in_range(owner, 0, 3);
        counts[owner]++;
    }
    for (size_t i = 0; i < 4; i++) {
        assert_in_range(counts[i], 800, 1200);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_a_uuid_of_version_8),
        cmocka_unit_test(a_token_depends_on_all_that_a_request_is),
        cmocka_unit_test(type_names_get_lasting_numbers),
        cmocka_unit_test(destinations_spread_over_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
