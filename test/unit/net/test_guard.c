/* The address guard: every row of the registries at its edges, embedded addresses, allowed blocks,
 * own addresses, whole answers. */
#include "net/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static os_addr addr_of(const char *text) {
    os_addr addr;
    if (mr_is_err(os_addr_parse_ip(mr_str_c(text), &addr))) {
        fail_msg("bad address in the test: %s", text);
    }
    return addr;
}

static struct net_guard *guard_of(const char *const *allow, size_t n) {
    struct net_cidr blocks[8];
    struct net_guard *guard;
    for (size_t i = 0; i < n; i++) {
        assert_true(mr_is_ok(net_cidr_parse(mr_str_c(allow[i]), &blocks[i])));
    }
    assert_true(mr_is_ok(net_guard_new(blocks, n, &guard)));
    assert_true(mr_is_ok(net_guard_set_own(guard, NULL, 0)));
    return guard;
}

static bool passes(const struct net_guard *guard, const char *text) {
    os_addr addr = addr_of(text);
    struct net_judged_addr judged;
    return mr_is_ok(net_guard_judge(guard, &addr, &judged, NULL));
}

static void every_row_refuses_from_its_first_to_its_last_address(void **state) {
    (void)state;
    static const char *const refused[] = {
        "0.0.0.0",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.0",
        "127.0.0.1",
        "127.255.255.255",
        "168.63.129.16",
        "169.254.0.0",
        "169.254.169.254",
        "169.254.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.0",
        "192.0.0.7",
        "192.0.0.8",
        "192.0.0.11",
        "192.0.0.170",
        "192.0.0.171",
        "192.0.0.255",
        "192.0.2.0",
        "192.0.2.255",
        "192.88.99.0",
        "192.88.99.255",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.0",
        "198.51.100.255",
        "203.0.113.0",
        "203.0.113.255",
        "224.0.0.0",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.254",
        "255.255.255.255",
        "::",
        "::1",
        "::2",
        "::ffff:0.0.0.0",
        "::ffff:8.8.8.8",
        "::8.8.8.8",
        "64:ff9b:1::",
        "64:ff9b:1::808:808",
        "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
        "64:ff9b:2::1",
        "64:ff9c::1",
        "100::",
        "100::ffff:ffff:ffff:ffff",
        "100:0:0:1::",
        "100:0:0:2::",
        "1fff:ffff::1",
        "2001:1::",
        "2001:1::4",
        "2001:2::",
        "2001:2:0:ffff::1",
        "2001:5::1",
        "2001:10::1",
        "2001:1f:ffff::1",
        "2001:40::1",
        "2001:1ff:ffff::1",
        "2001:db8::",
        "2001:db8:ffff::1",
        "3fff::1",
        "3fff:fff:ffff::1",
        "4000::1",
        "5f00::1",
        "8000::1",
        "fbff::1",
        "fc00::1",
        "fdff:ffff::1",
        "fe00::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff00::1",
        "ff02::1",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    };
    static const char *const global[] = {
        "1.0.0.0",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "168.63.129.17",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.0.9",
        "192.0.0.10",
        "192.0.1.0",
        "192.0.3.0",
        "192.31.196.1",
        "192.52.193.1",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "192.175.48.1",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "2000::1",
        "2000:ffff::1",
        "2001:1::1",
        "2001:1::2",
        "2001:1::3",
        "2001:3::1",
        "2001:4:112::1",
        "2001:20::1",
        "2001:2f:ffff::1",
        "2001:30::1",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2001:db7:ffff::1",
        "2001:db9::1",
        "2003::1",
        "2606:4700:4700::1111",
        "2620:4f:8000::1",
        "3ffe::1",
        "3fff:1000::1",
    };
    struct net_guard *guard = guard_of(NULL, 0);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (passes(guard, refused[i])) {
            fail_msg("%s passed", refused[i]);
        }
    }
    for (size_t i = 0; i < sizeof global / sizeof *global; i++) {
        if (!passes(guard, global[i])) {
            fail_msg("%s was refused", global[i]);
        }
    }
    net_guard_free(guard);
}

static void embedded_addresses_are_judged(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool passes;
    } rows[] = {
        {"64:ff9b::8.8.8.8", true},
        {"64:ff9b::10.0.0.1", false},
        {"64:ff9b::127.0.0.1", false},
        {"64:ff9b::169.254.169.254", false},
        {"64:ff9b::192.88.99.1", false},
        {"64:ff9b::168.63.129.16", false},
        {"64:ff9b::1:808:808", false}, /* outside the /96 */
        {"2002:808:808::1", true},
        {"2002:a00:1::1", false},
        {"2002:7f00:1::1", false},
        {"2002:c0a8:101::", false},
        {"2002:e000:1::", false},
        /* Teredo: server 8.8.8.8, client inverted 8.8.4.4 */
        {"2001:0:808:808::f7f7:fbfb", true},
        {"2001:0:a00:1::f7f7:fbfb", false},   /* server 10.0.0.1 */
        {"2001:0:808:808::f5ff:fffe", false}, /* client 10.0.0.1 */
        {"2001:0:808:808::80ff:fffe", false}, /* client 127.0.0.1 */
        {"2001:0:808:808::808:808", false},   /* client 247.247.247.247, reserved */
    };
    struct net_guard *guard = guard_of(NULL, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (passes(guard, rows[i].text) != rows[i].passes) {
            fail_msg("%s: want %s", rows[i].text, rows[i].passes ? "pass" : "refusal");
        }
    }
    net_guard_free(guard);
}

static void allowed_blocks_open_and_only_they(void **state) {
    (void)state;
    static const char *const allow[] = {"127.0.0.0/8", "::1/128", "10.1.2.3"};
    struct net_guard *guard = guard_of(allow, 3);
    assert_true(passes(guard, "127.0.0.1"));
    assert_true(passes(guard, "::1"));
    assert_true(passes(guard, "10.1.2.3"));
    assert_true(passes(guard, "64:ff9b::10.1.2.3"));
    assert_false(passes(guard, "10.1.2.4"));
    assert_false(passes(guard, "::2"));
    assert_false(passes(guard, "::ffff:127.0.0.1"));
    assert_true(passes(guard, "8.8.8.8"));
    net_guard_free(guard);
}

static void own_addresses_are_refused_in_every_spelling(void **state) {
    (void)state;
    struct net_guard *guard = guard_of(NULL, 0);
    os_addr own[] = {addr_of("8.8.8.8"), addr_of("2606:4700::1")};
    uint64_t before = net_guard_epoch(guard);
    assert_true(mr_is_ok(net_guard_set_own(guard, own, 2)));
    assert_true(net_guard_epoch(guard) > before);
    assert_false(passes(guard, "8.8.8.8"));
    assert_false(passes(guard, "2606:4700::1"));
    assert_false(passes(guard, "64:ff9b::8.8.8.8"));
    assert_false(passes(guard, "2002:808:808::1"));
    assert_true(passes(guard, "8.8.4.4"));
    before = net_guard_epoch(guard);
    assert_true(mr_is_ok(net_guard_set_own(guard, own, 2)));
    assert_int_equal(net_guard_epoch(guard), before);
    net_guard_free(guard);
}

static void the_machines_interfaces_are_listed(void **state) {
    (void)state;
    struct net_guard *guard;
    assert_true(mr_is_ok(net_guard_new(NULL, 0, &guard)));
    struct net_refusal refusal;
    struct net_judged_addr judged;
    os_addr loopback = addr_of("127.0.0.1");
    assert_true(mr_err_is(net_guard_judge(guard, &loopback, &judged, &refusal), MR_E_DENIED));
    assert_string_equal(refusal.text, "127.0.0.1 is an address of this machine");
    uint64_t before = net_guard_epoch(guard);
    assert_true(mr_is_ok(net_guard_refresh(guard)));
    assert_int_equal(net_guard_epoch(guard), before);
    net_guard_free(guard);
}

static void reasons_name_the_row(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"10.1.2.3", "10.1.2.3 is in 10.0.0.0/8 (Private-Use, RFC 1918)"},
        {"168.63.129.16", "168.63.129.16 is in 168.63.129.16/32 (Azure's platform address)"},
        {"4000::1", "4000::1 is outside 2000::/3 (not Global Unicast, RFC 4291)"},
        {"64:ff9b::7f00:1",
         "64:ff9b::7f00:1 is NAT64 for 127.0.0.1, in 127.0.0.0/8 (Loopback, RFC 1122)"},
        {"::ffff:1.2.3.4",
         "::ffff:1.2.3.4 is in ::ffff:0.0.0.0/96 (IPv4-mapped Address, RFC 4291)"},
    };
    struct net_guard *guard = guard_of(NULL, 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct net_refusal refusal;
        struct net_judged_addr judged;
        os_addr addr = addr_of(rows[i][0]);
        assert_true(mr_is_err(net_guard_judge(guard, &addr, &judged, &refusal)));
        assert_string_equal(refusal.text, rows[i][1]);
    }
    os_addr none = {.family = OS_FAMILY_NONE};
    struct net_judged_addr judged;
    assert_true(mr_is_err(net_guard_judge(guard, &none, &judged, NULL)));
    net_guard_free(guard);
}

static void one_refused_address_refuses_the_answer(void **state) {
    (void)state;
    struct net_guard *guard = guard_of(NULL, 0);
    os_addr answer[] = {addr_of("8.8.8.8"), addr_of("2606:4700::1"), addr_of("10.0.0.1")};
    struct net_judged_addr judged[3];
    struct net_refusal refusal;
    assert_true(mr_err_is(net_guard_judge_all(guard, answer, 3, judged, &refusal), MR_E_DENIED));
    assert_non_null(strstr(refusal.text, "10.0.0.1"));
    assert_true(mr_err_is(net_guard_judge_all(guard, answer, 0, judged, NULL), MR_E_NOT_FOUND));
    answer[0].port = 8443;
    assert_true(mr_is_ok(net_guard_judge_all(guard, answer, 2, judged, NULL)));
    os_addr back = net_judged_addr_get(&judged[0]);
    assert_true(os_addr_eq(&back, &answer[0]));
    net_guard_free(guard);
}

static void changed_settings_change_the_epoch(void **state) {
    (void)state;
    struct net_guard *guard = guard_of(NULL, 0);
    uint64_t first = net_guard_epoch(guard);
    struct net_cidr block;
    assert_true(mr_is_ok(net_cidr_parse(MR_STR("10.0.0.0/8"), &block)));
    assert_true(mr_is_ok(net_guard_set_allow(guard, &block, 1)));
    assert_int_equal(net_guard_epoch(guard), first + 1);
    assert_true(passes(guard, "10.0.0.1"));
    assert_true(mr_err_is(net_guard_set_allow(guard, &block, NET_GUARD_ALLOW_MAX + 1), MR_E_LIMIT));
    assert_int_equal(net_guard_epoch(guard), first + 1);
    net_guard_free(guard);
}

static void blocks_are_read_strictly(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",       "/8",        "10.0.0.0/",   "10.0.0.0/33",  "10.0.0.0/08", "10.0.0.1/8",
        "::/129", "fd00::1/8", "010.0.0.0/8", "10.0.0.0/8/8", "10.0.0.0/-1", "a.example/8",
        "10/8"};
    struct net_cidr cidr;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (!mr_err_is(net_cidr_parse(mr_str_c(bad[i]), &cidr), MR_E_INVALID)) {
            fail_msg("%s was taken", bad[i]);
        }
    }
    assert_true(mr_is_ok(net_cidr_parse(MR_STR("0.0.0.0/0"), &cidr)));
    os_addr v6 = addr_of("::1");
    os_addr v4 = addr_of("9.9.9.9");
    assert_false(net_cidr_contains(&cidr, &v6));
    assert_true(net_cidr_contains(&cidr, &v4));
    assert_true(mr_is_ok(net_cidr_parse(MR_STR("128.0.0.0/1"), &cidr)));
    assert_false(net_cidr_contains(&cidr, &v4));
}

/* What the operator named needs no guard at all, and is sealed like any other. */
static void named_addresses_are_admitted_unjudged(void **state) {
    (void)state;
    struct net_judged_addr judged;
    os_addr metadata = addr_of("169.254.169.254");
    assert_true(mr_is_ok(net_guard_admit(&metadata, &judged)));
    os_addr got = net_judged_addr_get(&judged);
    assert_true(os_addr_eq(&got, &metadata));
    os_addr none = {.family = OS_FAMILY_NONE};
    assert_true(mr_err_is(net_guard_admit(&none, &judged), MR_E_DENIED));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_refuses_from_its_first_to_its_last_address),
        cmocka_unit_test(embedded_addresses_are_judged),
        cmocka_unit_test(allowed_blocks_open_and_only_they),
        cmocka_unit_test(own_addresses_are_refused_in_every_spelling),
        cmocka_unit_test(the_machines_interfaces_are_listed),
        cmocka_unit_test(reasons_name_the_row),
        cmocka_unit_test(one_refused_address_refuses_the_answer),
        cmocka_unit_test(changed_settings_change_the_epoch),
        cmocka_unit_test(blocks_are_read_strictly),
        cmocka_unit_test(named_addresses_are_admitted_unjudged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
