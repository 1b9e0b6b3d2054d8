/* Names: literals, /etc/hosts, a name server that answers, fails, is silent; cache and coalescing.
 */
#include "net/names.h"

#include "base/mem.h"
#include "os/clock.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* A name server of one thread. The first label decides: "two" has two v4 addresses and a v6 one,
 * "many" 40, "fail" SERVFAIL, "mute" no answer, anything else NXDOMAIN. TTL 60; of "zero" 0. */
struct dns {
    int fd;
    char at[32];
    pthread_t thread;
    _Atomic int n_queries;
};

static size_t put_answer(uint8_t *out, size_t at, uint16_t type, uint32_t ttl, const void *ip,
                         size_t ip_len) {
    const uint8_t head[] = {
        0xc0, 0x0c,           0, (uint8_t)type, 0, 1, 0, 0, (uint8_t)(ttl >> 8), (uint8_t)ttl,
        0,    (uint8_t)ip_len};
    memcpy(out + at, head, sizeof head);
    memcpy(out + at + sizeof head, ip, ip_len);
    return at + sizeof head + ip_len;
}

static size_t answer_query(uint8_t *out, size_t len, bool *ret_mute) {
    size_t at = 12;
    while (at < len && out[at] != 0) {
        at += (size_t)out[at] + 1;
    }
    uint16_t type = out[at + 2];
    at += 5;
    const char *label = (const char *)out + 13;
    uint8_t count = 0;
    uint8_t code = 3;
    uint32_t ttl = 60;
    *ret_mute = strncmp(label, "mute", 4) == 0;
    if (strncmp(label, "two", 3) == 0 || strncmp(label, "zero", 4) == 0) {
        code = 0;
        ttl = label[0] == 'z' ? 0 : 60;
        if (type == 1) {
            at = put_answer(out, at, 1, ttl, "\xc0\x00\x02\x01", 4);
            at = put_answer(out, at, 1, ttl, "\xc0\x00\x02\x02", 4);
            count = 2;
        } else {
            at = put_answer(out, at, 28, ttl, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09", 16);
            count = 1;
        }
    } else if (strncmp(label, "many", 4) == 0) {
        code = 0;
        for (uint8_t i = 0; type == 1 && i < 28; i++, count++) {
            uint8_t ip[4] = {192, 0, 2, i};
            at = put_answer(out, at, 1, ttl, ip, 4);
        }
        for (uint8_t i = 0; type == 28 && i < 12; i++, count++) {
            uint8_t ip[16] = {0x20, 1, 0xd, 0xb8, [15] = i};
            at = put_answer(out, at, 28, ttl, ip, 16);
        }
    } else if (strncmp(label, "fail", 4) == 0) {
        code = 2;
    }
    out[2] = 0x81;
    out[3] = (uint8_t)(0x80 | code);
    out[7] = count;
    out[9] = out[11] = 0;
    return at;
}

static void *run_dns(void *arg) {
    struct dns *dns = arg;
    uint8_t packet[2048];
    for (;;) {
        struct sockaddr_in from;
        socklen_t from_len = sizeof from;
        ssize_t n = recvfrom(dns->fd, packet, 512, 0, (struct sockaddr *)(void *)&from, &from_len);
        if (n < 13) {
            return NULL;
        }
        bool is_mute;
        atomic_fetch_add(&dns->n_queries, 1);
        size_t len = answer_query(packet, (size_t)n, &is_mute);
        if (!is_mute) {
            sendto(dns->fd, packet, len, 0, (struct sockaddr *)(void *)&from, from_len);
        }
    }
}

static void dns_start(struct dns *dns) {
    memset(dns, 0, sizeof *dns);
    dns->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    MR_ASSERT(bind(dns->fd, (struct sockaddr *)(void *)&in, sizeof in) == 0);
    MR_ASSERT(getsockname(dns->fd, (struct sockaddr *)(void *)&in, &len) == 0);
    snprintf(dns->at, sizeof dns->at, "127.0.0.1:%u", ntohs(in.sin_port));
    MR_ASSERT(pthread_create(&dns->thread, NULL, run_dns, dns) == 0);
}

static void dns_stop(struct dns *dns) {
    /* A packet too short to be a query ends the thread. */
    struct sockaddr_in in;
    socklen_t len = sizeof in;
    MR_ASSERT(getsockname(dns->fd, (struct sockaddr *)(void *)&in, &len) == 0);
    sendto(dns->fd, "x", 1, 0, (struct sockaddr *)(void *)&in, len);
    pthread_join(dns->thread, NULL);
    close(dns->fd);
}

struct rig {
    struct loop *loop;
    struct net_names *names;
    struct dns dns;
};

static void rig_start(struct rig *rig, const struct net_names_opts *opts) {
    dns_start(&rig->dns);
    struct net_names_opts use = opts != NULL ? *opts : (struct net_names_opts){0};
    use.servers = rig->dns.at;
    rig->loop = MR_NEW(struct loop);
    assert_true(mr_is_ok(loop_init(rig->loop, NULL)));
    assert_true(mr_is_ok(net_names_new(rig->loop, &use, &rig->names)));
}

static void rig_stop(struct rig *rig) {
    net_names_free(rig->names);
    loop_done(rig->loop);
    mr_free(rig->loop);
    dns_stop(&rig->dns);
}

struct ask {
    struct net_lookup lookup;
    int n_done;
    enum net_names_problem problem;
    size_t n_addrs;
    os_addr addrs[NET_NAMES_ADDRS_MAX];
    bool from_cache;
};

static void on_done(struct net_lookup *lookup, const struct net_names_answer *answer) {
    struct ask *ask = MR_CONTAINER(lookup, struct ask, lookup);
    ask->n_done++;
    ask->problem = answer->problem;
    ask->n_addrs = answer->n_addrs;
    ask->from_cache = answer->from_cache;
    memcpy(ask->addrs, answer->addrs, answer->n_addrs * sizeof *ask->addrs);
    assert_true((answer->problem == NET_NAMES_OK) == (answer->text[0] == '\0'));
}

static void start(struct rig *rig, struct ask *ask, const char *name, int64_t ms) {
    memset(ask, 0, sizeof *ask);
    net_names_resolve(rig->names, &ask->lookup, mr_str_c(name), 8443,
                      mr_mono_add_ms(loop_now(rig->loop), ms), on_done);
    assert_int_equal(ask->n_done, 0);
}

static void wait_for(struct rig *rig, struct ask *ask) {
    mr_mono end = mr_mono_add_ms(os_mono_now(), 8000);
    while (ask->n_done == 0 && mr_mono_before(os_mono_now(), end)) {
        loop_turn(rig->loop, 10);
    }
    assert_int_equal(ask->n_done, 1);
}

static void look_up(struct rig *rig, struct ask *ask, const char *name) {
    loop_turn(rig->loop, 0);
    start(rig, ask, name, 5000);
    wait_for(rig, ask);
}

static void literals_and_localhost_need_no_server(void **state) {
    (void)state;
    struct rig rig;
    struct ask ask;
    rig_start(&rig, NULL);
    look_up(&rig, &ask, "192.0.2.9");
    assert_int_equal(ask.problem, NET_NAMES_OK);
    assert_int_equal(ask.n_addrs, 1);
    assert_int_equal(ask.addrs[0].port, 8443);
    look_up(&rig, &ask, "2001:db8::7");
    assert_int_equal(ask.addrs[0].family, OS_FAMILY_V6);
    look_up(&rig, &ask, "LocalHost");
    assert_int_equal(ask.problem, NET_NAMES_OK);
    bool has_loopback = false;
    for (size_t i = 0; i < ask.n_addrs; i++) {
        has_loopback = has_loopback || memcmp(ask.addrs[i].ip, "\x7f\0\0\x01", 4) == 0;
    }
    assert_true(has_loopback);
    assert_int_equal(atomic_load(&rig.dns.n_queries), 0);
    rig_stop(&rig);
}

static void an_answer_has_both_families_and_is_kept(void **state) {
    (void)state;
    struct rig rig;
    struct ask ask;
    rig_start(&rig, NULL);
    look_up(&rig, &ask, "two.example");
    assert_int_equal(ask.problem, NET_NAMES_OK);
    assert_int_equal(ask.n_addrs, 3);
    assert_false(ask.from_cache);
    int n = atomic_load(&rig.dns.n_queries);
    assert_int_equal(n, 2);
    look_up(&rig, &ask, "TWO.example");
    assert_true(ask.from_cache);
    assert_int_equal(ask.n_addrs, 3);
    assert_int_equal(atomic_load(&rig.dns.n_queries), n);
    net_names_flush(rig.names);
    look_up(&rig, &ask, "two.example");
    assert_int_equal(atomic_load(&rig.dns.n_queries), 2 * n);
    rig_stop(&rig);
}

static void all_who_ask_at_once_share_one_query(void **state) {
    (void)state;
    struct rig rig;
    static struct ask asks[50];
    rig_start(&rig, NULL);
    for (size_t i = 0; i < 50; i++) {
        start(&rig, &asks[i], "two.example", 5000);
    }
    net_lookup_cancel(&asks[7].lookup);
    net_lookup_cancel(&asks[7].lookup);
    for (size_t i = 0; i < 50; i++) {
        if (i != 7) {
            wait_for(&rig, &asks[i]);
            assert_int_equal(asks[i].n_addrs, 3);
        }
    }
    assert_int_equal(asks[7].n_done, 0);
    assert_int_equal(atomic_load(&rig.dns.n_queries), 2);
    rig_stop(&rig);
}

static void failures_are_told_apart_and_kept_briefly(void **state) {
    (void)state;
    struct rig rig;
    struct ask ask;
    rig_start(&rig, &(struct net_names_opts){.ttl_failed_s = 1});
    look_up(&rig, &ask, "nothing.example");
    assert_int_equal(ask.problem, NET_NAMES_NOT_FOUND);
    int n = atomic_load(&rig.dns.n_queries);
    look_up(&rig, &ask, "nothing.example");
    assert_int_equal(ask.problem, NET_NAMES_NOT_FOUND);
    assert_true(ask.from_cache);
    assert_int_equal(atomic_load(&rig.dns.n_queries), n);
    mr_mono end = mr_mono_add_ms(os_mono_now(), 1100);
    while (mr_mono_before(os_mono_now(), end)) {
        loop_turn(rig.loop, 20);
    }
    look_up(&rig, &ask, "nothing.example");
    assert_true(atomic_load(&rig.dns.n_queries) > n);
    look_up(&rig, &ask, "fail.example");
    assert_int_equal(ask.problem, NET_NAMES_SERVER);
    look_up(&rig, &ask, "many.example");
    assert_int_equal(ask.problem, NET_NAMES_INVALID);
    char longest[300];
    memset(longest, 'a', sizeof longest);
    longest[299] = '\0';
    look_up(&rig, &ask, longest);
    assert_int_equal(ask.problem, NET_NAMES_INVALID);
    look_up(&rig, &ask, "");
    assert_int_equal(ask.problem, NET_NAMES_INVALID);
    rig_stop(&rig);
}

static void a_zero_ttl_is_lifted_to_the_least(void **state) {
    (void)state;
    struct rig rig;
    struct ask ask;
    rig_start(&rig, NULL);
    look_up(&rig, &ask, "zero.example");
    look_up(&rig, &ask, "zero.example");
    assert_true(ask.from_cache);
    rig_stop(&rig);
}

static void a_silent_server_ends_the_lookup_at_its_deadline(void **state) {
    (void)state;
    struct rig rig;
    struct ask ask;
    rig_start(&rig, NULL);
    loop_turn(rig.loop, 0);
    mr_mono begin = os_mono_now();
    start(&rig, &ask, "mute.example", 150);
    wait_for(&rig, &ask);
    assert_int_equal(ask.problem, NET_NAMES_TIMEOUT);
    assert_true(mr_mono_diff_ms(os_mono_now(), begin) < 1000);
    start(&rig, &ask, "mute.example", 5000); /* ended by net_names_free, untold */
    struct ask stays = ask;
    rig_stop(&rig);
    assert_int_equal(stays.n_done, 0);
}

static void bounds_hold(void **state) {
    (void)state;
    struct rig rig;
    static struct ask asks[4];
    rig_start(&rig, &(struct net_names_opts){.entries_max = 2, .lookups_max = 2});
    start(&rig, &asks[0], "mute.a.example", 100);
    start(&rig, &asks[1], "mute.b.example", 100);
    start(&rig, &asks[2], "two.c.example", 5000);
    wait_for(&rig, &asks[2]);
    assert_int_equal(asks[2].problem, NET_NAMES_BUSY);
    wait_for(&rig, &asks[0]);
    wait_for(&rig, &asks[1]);
    rig_stop(&rig);
    rig_start(&rig, &(struct net_names_opts){.entries_max = 2});
    for (int i = 0; i < 6; i++) { /* old answers make room */
        char name[32];
        snprintf(name, sizeof name, "two%d.example", i);
        look_up(&rig, &asks[0], name);
        assert_int_equal(asks[0].problem, NET_NAMES_OK);
    }
    rig_stop(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_and_localhost_need_no_server),
        cmocka_unit_test(an_answer_has_both_families_and_is_kept),
        cmocka_unit_test(all_who_ask_at_once_share_one_query),
        cmocka_unit_test(failures_are_told_apart_and_kept_briefly),
        cmocka_unit_test(a_zero_ttl_is_lifted_to_the_least),
        cmocka_unit_test(a_silent_server_ends_the_lookup_at_its_deadline),
        cmocka_unit_test(bounds_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
