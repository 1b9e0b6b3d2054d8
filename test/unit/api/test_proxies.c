/* Whose call it is behind proxies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/proxies.h"

#include <stdio.h>

#define N_BLOCKS 3

static void set_up(struct net_cidr blocks[static N_BLOCKS]) {
    static const char *const texts[N_BLOCKS] = {"127.0.0.0/8", "10.0.0.0/8", "fd00::/8"};
    for (size_t i = 0; i < N_BLOCKS; i++) {
        assert_true(mr_is_ok(net_cidr_parse(mr_str_c(texts[i]), &blocks[i])));
    }
}

struct origin_case {
    const char *peer;
    const char *forwarded[3]; /* fields, in their order */
    const char *client;
    bool is_local;
};

static void check(const struct proxies *proxies, const struct origin_case *c) {
    mr_field fields[4] = {{MR_STR("host"), MR_STR("a.example")}};
    size_t n = 1;
    for (size_t i = 0; i < 3 && c->forwarded[i] != NULL; i++) {
        fields[n++] = (mr_field){MR_STR("X-Forwarded-For"), mr_str_c(c->forwarded[i])};
    }
    struct http_exchange ex = {.fields = {fields, n}};
    assert_true(mr_is_ok(os_addr_parse_ip(mr_str_c(c->peer), &ex.peer)));
    struct proxies_origin origin = proxies_origin_of(proxies, &ex);
    char text[OS_ADDR_TEXT_SIZE];
    os_addr_format_ip(&origin.client, text);
    if (strcmp(text, c->client) != 0 || origin.is_local != c->is_local) {
        fail_msg("%s with %s: %s, local %d", c->peer, c->forwarded[0], text, origin.is_local);
    }
}

static void only_what_a_trusted_peer_wrote_is_believed(void **state) {
    (void)state;
    static const struct origin_case cases[] = {
        /* Nobody may say who they are. */
        {"203.0.113.9", {"198.51.100.1"}, "203.0.113.9", false},
        {"2001:db8::9", {"127.0.0.1"}, "2001:db8::9", false},
        {"11.0.0.1", {"198.51.100.1"}, "11.0.0.1", false},
        /* The peer's word, whatever stands left of it. */
        {"127.0.0.1", {"198.51.100.1"}, "198.51.100.1", false},
        {"10.9.8.7", {"198.51.100.1"}, "198.51.100.1", false},
        {"fd00::5", {"2001:DB8:0::1"}, "2001:db8::1", false},
        {"::ffff:10.0.0.1", {"198.51.100.1"}, "198.51.100.1", false},
        {"127.0.0.1", {"127.0.0.1, 198.51.100.1"}, "198.51.100.1", false},
        {"127.0.0.1", {"invented, 198.51.100.1"}, "198.51.100.1", false},
        {"127.0.0.1", {"203.0.113.5 ,\t198.51.100.1"}, "198.51.100.1", false},
        {"127.0.0.1", {"203.0.113.5", "198.51.100.1"}, "198.51.100.1", false},
        /* Through several. */
        {"127.0.0.1", {"203.0.113.5, 198.51.100.1, 10.0.0.1"}, "198.51.100.1", false},
        {"127.0.0.1", {"203.0.113.5, 198.51.100.1", "10.0.0.1", "fd00::2"}, "198.51.100.1", false},
        {"127.0.0.1", {"10.0.0.3, 10.0.0.2"}, "10.0.0.3", false},
        /* Other spellings. */
        {"127.0.0.1", {"198.51.100.1:4711"}, "198.51.100.1", false},
        {"127.0.0.1", {"[2001:db8::1]:4711"}, "2001:db8::1", false},
        {"127.0.0.1", {"[2001:db8::1]"}, "2001:db8::1", false},
        {"127.0.0.1", {"::ffff:198.51.100.1"}, "198.51.100.1", false},
        /* Without the field the peer is who calls. */
        {"10.0.0.1", {NULL}, "10.0.0.1", false},
        {"::ffff:203.0.113.9", {NULL}, "203.0.113.9", false},
    };
    struct net_cidr blocks[N_BLOCKS];
    set_up(blocks);
    const struct proxies proxies = {blocks, N_BLOCKS};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check(&proxies, &cases[i]);
    }
}

static void what_is_no_address_leaves_the_last_proxy(void **state) {
    (void)state;
    static const char *const wrong[] = {"",
                                        "unknown",
                                        "_hidden",
                                        "198.51.100",
                                        "198.51.100.01",
                                        "0xc6336401",
                                        "198.51.100.1:",
                                        "198.51.100.1:x",
                                        "198.51.100.1 x",
                                        "[198.51.100.1]",
                                        "[]",
                                        "[2001:db8::1",
                                        "[2001:db8::1]:",
                                        "fe80::1%eth0",
                                        "198.51.100.1:65536",
                                        "a.example",
                                        "\"198.51.100.1\"",
                                        "198.51.100.1/32",
                                        "[",
                                        ":"};
    struct net_cidr blocks[N_BLOCKS];
    set_up(blocks);
    const struct proxies proxies = {blocks, N_BLOCKS};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char more[128];
        const struct origin_case alone = {"127.0.0.1", {wrong[i]}, "127.0.0.1", false};
        check(&proxies, &alone);
        snprintf(more, sizeof more, "198.51.100.1,%s,10.0.0.2", wrong[i]);
        const struct origin_case between = {"127.0.0.1", {more}, "10.0.0.2", false};
        check(&proxies, &between);
    }
}

static void a_chain_without_end_is_not_walked(void **state) {
    (void)state;
    char list[1024] = "198.51.100.1";
    for (int i = 1; i < PROXIES_HOPS_MAX; i++) {
        size_t len = strlen(list);
        snprintf(list + len, sizeof list - len, ",10.0.0.%d", i);
    }
    struct net_cidr blocks[N_BLOCKS];
    set_up(blocks);
    const struct proxies proxies = {blocks, N_BLOCKS};
    const struct origin_case longest = {"127.0.0.1", {list}, "198.51.100.1", false};
    check(&proxies, &longest);
    const struct origin_case longer = {"127.0.0.1", {list, "10.0.0.99"}, "10.0.0.1", false};
    check(&proxies, &longer);
}

static void only_who_is_on_this_machine_is_local(void **state) {
    (void)state;
    static const struct origin_case cases[] = {
        {"127.0.0.1", {NULL}, "127.0.0.1", true},
        {"::1", {NULL}, "::1", true},
        {"127.0.0.1", {"127.0.0.1"}, "127.0.0.1", true},
        {"127.0.0.1", {"::1"}, "::1", true},
        {"10.0.0.1", {"127.0.0.1"}, "127.0.0.1", false}, /* on the proxy's machine */
        {"127.0.0.1", {"127.0.0.1, 198.51.100.1"}, "198.51.100.1", false},
        {"::1", {"127.0.0.1"}, "::1", false}, /* a proxy that is not trusted: anybody's call */
    };
    struct net_cidr blocks[N_BLOCKS];
    set_up(blocks);
    const struct proxies proxies = {blocks, N_BLOCKS};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check(&proxies, &cases[i]);
    }
    const mr_field newer = {MR_STR("Forwarded"), MR_STR("for=198.51.100.1")};
    struct http_exchange ex = {.fields = {&newer, 1}};
    assert_true(mr_is_ok(os_addr_parse_ip(MR_STR("127.0.0.1"), &ex.peer)));
    assert_false(proxies_origin_of(&proxies, &ex).is_local);
    const struct proxies none = {NULL, 0};
    assert_false(proxies_origin_of(&none, &ex).is_local);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_a_trusted_peer_wrote_is_believed),
        cmocka_unit_test(what_is_no_address_leaves_the_last_proxy),
        cmocka_unit_test(a_chain_without_end_is_not_walked),
        cmocka_unit_test(only_who_is_on_this_machine_is_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
