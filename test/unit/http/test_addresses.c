/* The table of connections per address against a plain array. */
#include "http/connection.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define N_ADDRESSES 40
#define N_MAX       32 /* connections in all: the table's bound */
#define PER_ADDRESS 3

static os_addr address(int which) {
    os_addr addr = {.family = which % 2 == 0 ? OS_FAMILY_V4 : OS_FAMILY_V6};
    addr.ip[3] = (uint8_t)which;
    addr.port = (uint16_t)(1000 + which);
    return addr;
}

static void counts_are_those_of_the_model(void **state) {
    (void)state;
    struct http_addresses table;
    assert_true(mr_is_ok(http_addresses_init(&table, N_MAX, 7)));
    int counts[N_ADDRESSES] = {0};
    int all = 0;
    int n_refused = 0;
    uint64_t random = 88172645463325252u;
    for (int step = 0; step < 50000; step++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        int which = (int)(random >> 33) % N_ADDRESSES;
        os_addr addr = address(which);
        addr.port = (uint16_t)random; /* does not count */
        if ((random & 1) != 0 && all < N_MAX) {
            bool is_entered = http_addresses_enter(&table, &addr, PER_ADDRESS);
            assert_int_equal(is_entered, counts[which] < PER_ADDRESS);
            counts[which] += is_entered ? 1 : 0;
            all += is_entered ? 1 : 0;
            n_refused += is_entered ? 0 : 1;
        } else if (counts[which] > 0) {
            http_addresses_leave(&table, &addr);
            counts[which]--;
            all--;
        }
    }
    assert_true(n_refused > 100);
    http_addresses_done(&table);
}

static void a_64_of_ipv6_is_one_peer(void **state) {
    (void)state;
    struct http_addresses table;
    assert_true(mr_is_ok(http_addresses_init(&table, 10, 7)));
    os_addr one = address(1);
    os_addr two = address(1);
    os_addr three = address(1);
    two.ip[15] = 99;
    three.ip[7] = 99;
    assert_true(http_addresses_enter(&table, &one, 1));
    assert_false(http_addresses_enter(&table, &two, 1));
    assert_true(http_addresses_enter(&table, &three, 1));
    http_addresses_done(&table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_those_of_the_model),
        cmocka_unit_test(a_64_of_ipv6_is_one_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
