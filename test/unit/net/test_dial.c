/* Dialling: the first to connect wins, failures move on, black holes are overtaken, deadlines hold.
 */
#include "net/dial.h"

#include "base/mem.h"
#include "os/clock.h"
#include "os/socket.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

struct rig {
    struct loop *loop;
    struct net_guard *guard;
    struct net_dial dial;
    int n_done;
    struct net_dial_result result;
    char text[224];
};

static void rig_start(struct rig *rig) {
    memset(rig, 0, sizeof *rig);
    rig->loop = MR_NEW(struct loop);
    assert_true(mr_is_ok(loop_init(rig->loop, NULL)));
    struct net_cidr all[2] = {{.family = OS_FAMILY_V4}, {.family = OS_FAMILY_V6}};
    assert_true(mr_is_ok(net_guard_new(all, 2, &rig->guard)));
}

static void rig_stop(struct rig *rig) {
    net_guard_free(rig->guard);
    loop_done(rig->loop);
    mr_free(rig->loop);
}

static void on_done(struct net_dial *dial, const struct net_dial_result *result) {
    struct rig *rig = MR_CONTAINER(dial, struct rig, dial);
    rig->n_done++;
    rig->result = *result;
    assert_true(mr_str_to_c(mr_str_c(result->text), rig->text, sizeof rig->text));
}

static struct net_judged_addr judged(struct rig *rig, const char *ip, uint16_t port) {
    os_addr addr;
    struct net_judged_addr out;
    assert_true(mr_is_ok(os_addr_parse_ip(mr_str_c(ip), &addr)));
    addr.port = port;
    assert_true(mr_is_ok(net_guard_judge(rig->guard, &addr, &out, NULL)));
    return out;
}

/* A port on which nothing listens. */
static uint16_t closed_port(void) {
    os_addr at = {.family = OS_FAMILY_V4, .ip = {127, 0, 0, 1}};
    os_addr bound;
    int fd;
    assert_true(mr_is_ok(os_listen(&at, 1, &fd, &bound)));
    os_close(fd);
    return bound.port;
}

/* Listens and lets its queue fill, so that further connects hang. */
static int full_listener(uint16_t *ret_port, int fillers[static 8]) {
    os_addr at = {.family = OS_FAMILY_V4, .ip = {127, 0, 0, 1}};
    os_addr bound;
    int fd;
    assert_true(mr_is_ok(os_listen(&at, 1, &fd, &bound)));
    assert_int_equal(listen(fd, 0), 0);
    for (int i = 0; i < 8; i++) {
        assert_true(mr_is_ok(os_connect_start(&bound, &fillers[i])));
    }
    *ret_port = bound.port;
    return fd;
}

static void dial(struct rig *rig, const struct net_judged_addr *addrs, size_t n, int64_t ms) {
    loop_turn(rig->loop, 0);
    rig->n_done = 0;
    net_dial_start(&rig->dial, rig->loop, addrs, n, mr_mono_add_ms(loop_now(rig->loop), ms),
                   on_done);
    assert_int_equal(rig->n_done, 0);
    mr_mono end = mr_mono_add_ms(os_mono_now(), 5000);
    while (rig->n_done == 0 && mr_mono_before(os_mono_now(), end)) {
        loop_turn(rig->loop, 10);
    }
    assert_int_equal(rig->n_done, 1);
}

static void it_connects_and_passes_over_refusals(void **state) {
    (void)state;
    struct rig rig;
    rig_start(&rig);
    os_addr at = {.family = OS_FAMILY_V4, .ip = {127, 0, 0, 1}};
    os_addr bound;
    int listener;
    assert_true(mr_is_ok(os_listen(&at, 8, &listener, &bound)));
    struct net_judged_addr addrs[3] = {judged(&rig, "127.0.0.1", closed_port()),
                                       judged(&rig, "::1", closed_port()),
                                       judged(&rig, "127.0.0.1", bound.port)};
    dial(&rig, addrs, 3, 2000);
    assert_true(rig.result.fd >= 0);
    assert_int_equal(rig.result.peer.port, bound.port);
    assert_true(rig.result.connect_ns < 200 * MR_NS_PER_MS); /* refusals do not wait 250 ms */
    assert_string_equal(rig.text, "");
    os_close(rig.result.fd);
    os_close(listener);
    rig_stop(&rig);
}

static void all_refused_is_a_failure_with_its_reason(void **state) {
    (void)state;
    struct rig rig;
    rig_start(&rig);
    uint16_t port = closed_port();
    struct net_judged_addr addrs[2] = {judged(&rig, "127.0.0.1", port),
                                       judged(&rig, "127.0.0.2", port)};
    dial(&rig, addrs, 2, 2000);
    assert_int_equal(rig.result.fd, -1);
    assert_int_equal(rig.result.error, ECONNREFUSED);
    assert_false(rig.result.is_timeout);
    assert_non_null(strstr(rig.text, "could not connect to 127.0.0.2:"));
    assert_non_null(strstr(rig.text, "connection refused"));
    assert_non_null(strstr(rig.text, "2 addresses tried"));
    rig_stop(&rig);
}

static void a_black_hole_is_overtaken_after_250_ms(void **state) {
    (void)state;
    struct rig rig;
    rig_start(&rig);
    int fillers[8];
    uint16_t hole;
    int full = full_listener(&hole, fillers);
    os_addr at = {.family = OS_FAMILY_V4, .ip = {127, 0, 0, 1}};
    os_addr bound;
    int listener;
    assert_true(mr_is_ok(os_listen(&at, 8, &listener, &bound)));
    struct net_judged_addr addrs[2] = {judged(&rig, "127.0.0.1", hole),
                                       judged(&rig, "127.0.0.1", bound.port)};
    dial(&rig, addrs, 2, 3000);
    assert_true(rig.result.fd >= 0);
    assert_int_equal(rig.result.peer.port, bound.port);
    assert_true(rig.result.connect_ns >= 250 * MR_NS_PER_MS);
    assert_true(rig.result.connect_ns < 900 * MR_NS_PER_MS);
    os_close(rig.result.fd);
    dial(&rig, addrs, 1, 120);
    assert_true(rig.result.is_timeout);
    assert_int_equal(rig.result.fd, -1);
    assert_non_null(strstr(rig.text, "within 120 ms"));
    /* Cancelled: nothing is told, nothing leaks. */
    rig.n_done = 0;
    net_dial_start(&rig.dial, rig.loop, addrs, 1, mr_mono_add_ms(loop_now(rig.loop), 50), on_done);
    net_dial_cancel(&rig.dial);
    net_dial_cancel(&rig.dial);
    loop_turn(rig.loop, 80);
    assert_int_equal(rig.n_done, 0);
    for (int i = 0; i < 8; i++) {
        os_close(fillers[i]);
    }
    os_close(full);
    os_close(listener);
    rig_stop(&rig);
}

static void of_many_addresses_four_are_tried_in_turn_of_families(void **state) {
    (void)state;
    struct rig rig;
    rig_start(&rig);
    uint16_t port = closed_port();
    struct net_judged_addr addrs[6] = {
        judged(&rig, "127.0.0.1", port), judged(&rig, "127.0.0.2", port),
        judged(&rig, "127.0.0.3", port), judged(&rig, "127.0.0.4", port),
        judged(&rig, "::1", port),       judged(&rig, "::1", port)};
    dial(&rig, addrs, 6, 2000);
    assert_int_equal(rig.dial.n_tries, 4);
    static const uint8_t families[] = {OS_FAMILY_V4, OS_FAMILY_V6, OS_FAMILY_V4, OS_FAMILY_V6};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(rig.dial.tries[i].addr.family, families[i]);
    }
    assert_int_equal(rig.dial.tries[2].addr.ip[3], 2);
    dial(&rig, addrs, 4, 2000);
    assert_int_equal(rig.dial.n_tries, 4);
    assert_int_equal(rig.result.fd, -1);
    rig_stop(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_connects_and_passes_over_refusals),
        cmocka_unit_test(all_refused_is_a_failure_with_its_reason),
        cmocka_unit_test(a_black_hole_is_overtaken_after_250_ms),
        cmocka_unit_test(of_many_addresses_four_are_tried_in_turn_of_families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
