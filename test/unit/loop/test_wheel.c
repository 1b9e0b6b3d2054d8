/* The timer wheel against a plain sorted model, on a clock of its own. */
#include "base/mem.h"
#include "loop/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define N_TIMERS 300

struct world {
    struct loop_wheel wheel;
    int64_t now_ms;
    int n_fired;
    struct probe *rearm; /* set again by its own firing */
};

struct probe {
    struct loop_timer timer;
    struct world *world;
    int64_t due_ms; /* -1: not running */
};

static mr_mono at_ms(int64_t ms) {
    return (mr_mono){ms * MR_NS_PER_MS};
}

static void on_fire(struct loop_timer *timer) {
    struct probe *probe = MR_CONTAINER(timer, struct probe, timer);
    struct world *world = probe->world;
    assert_true(probe->due_ms >= 0);
    assert_true(probe->due_ms <= world->now_ms);
    probe->due_ms = -1;
    world->n_fired++;
    if (world->rearm == probe) {
        probe->due_ms = 0;
        wheel_add(&world->wheel, timer, at_ms(0));
    }
}

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void timers_fire_when_the_model_says(void **state) {
    (void)state;
    struct world *world = MR_NEW(struct world);
    struct probe *probes = mr_calloc(N_TIMERS, sizeof *probes);
    uint64_t random = 0x9e3779b97f4a7c15u;
    world->now_ms = 123456789;
    wheel_init(&world->wheel, at_ms(world->now_ms));
    for (int i = 0; i < N_TIMERS; i++) {
        loop_timer_init(&probes[i].timer, on_fire);
        probes[i].world = world;
        probes[i].due_ms = -1;
    }
    for (int step = 0; step < 20000; step++) {
        struct probe *probe = &probes[next_random(&random) % N_TIMERS];
        uint64_t what = next_random(&random) % 8;
        if (what == 0) {
            wheel_remove(&world->wheel, &probe->timer);
            probe->due_ms = -1;
        } else if (what < 6) {
            int64_t ahead = (int64_t)(next_random(&random) % (UINT64_C(1) << (what * 5)));
            wheel_remove(&world->wheel, &probe->timer);
            probe->due_ms = world->now_ms + 1 + ahead;
            wheel_add(&world->wheel, &probe->timer, at_ms(probe->due_ms));
        } else {
            int wait = wheel_wait_ms(&world->wheel, at_ms(world->now_ms));
            int64_t earliest = INT64_MAX;
            for (int i = 0; i < N_TIMERS; i++) {
                if (probes[i].due_ms >= 0 && probes[i].due_ms < earliest) {
                    earliest = probes[i].due_ms;
                }
            }
            assert_int_equal(wait < 0, earliest == INT64_MAX);
            assert_true(wait < 0 || world->now_ms + wait <= earliest);
            world->now_ms +=
                what == 6 ? (wait < 0 ? 0 : wait) : (int64_t)(next_random(&random) % 100000);
            wheel_advance(&world->wheel, at_ms(world->now_ms));
            for (int i = 0; i < N_TIMERS; i++) {
                assert_true(probes[i].due_ms < 0 || probes[i].due_ms > world->now_ms);
                assert_int_equal(probes[i].due_ms >= 0, loop_timer_is_set(&probes[i].timer));
            }
        }
    }
    assert_true(world->n_fired > 1000);
    mr_free(probes);
    mr_free(world);
}

static void a_timer_set_while_firing_waits_for_the_next_advance(void **state) {
    (void)state;
    struct world *world = MR_NEW(struct world);
    struct probe probe = {.world = world, .due_ms = 10};
    wheel_init(&world->wheel, at_ms(0));
    loop_timer_init(&probe.timer, on_fire);
    wheel_add(&world->wheel, &probe.timer, at_ms(10));
    world->rearm = &probe;
    world->now_ms = 1000;
    wheel_advance(&world->wheel, at_ms(1000));
    assert_int_equal(world->n_fired, 1);
    assert_int_equal(wheel_wait_ms(&world->wheel, at_ms(1000)), 1);
    wheel_remove(&world->wheel, &probe.timer);
    assert_int_equal(wheel_wait_ms(&world->wheel, at_ms(1000)), -1);
    mr_free(world);
}

static void a_timer_never_fires_early_by_rounding(void **state) {
    (void)state;
    struct world *world = MR_NEW(struct world);
    struct probe probe = {.world = world, .due_ms = 6};
    wheel_init(&world->wheel, at_ms(0));
    loop_timer_init(&probe.timer, on_fire);
    wheel_add(&world->wheel, &probe.timer, (mr_mono){5 * MR_NS_PER_MS + 1});
    wheel_advance(&world->wheel, (mr_mono){6 * MR_NS_PER_MS - 1});
    assert_int_equal(world->n_fired, 0);
    world->now_ms = 6;
    wheel_advance(&world->wheel, at_ms(6));
    assert_int_equal(world->n_fired, 1);
    mr_free(world);
}

static void a_deadline_beyond_all_levels_does_not_fire(void **state) {
    (void)state;
    struct world *world = MR_NEW(struct world);
    struct probe probe = {.world = world, .due_ms = INT64_MAX};
    wheel_init(&world->wheel, at_ms(0));
    loop_timer_init(&probe.timer, on_fire);
    wheel_add(&world->wheel, &probe.timer, (mr_mono){INT64_MAX - 5});
    wheel_advance(&world->wheel, at_ms(INT64_C(1) << 40));
    assert_int_equal(world->n_fired, 0);
    assert_true(loop_timer_is_set(&probe.timer));
    mr_free(world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_when_the_model_says),
        cmocka_unit_test(a_timer_set_while_firing_waits_for_the_next_advance),
        cmocka_unit_test(a_timer_never_fires_early_by_rounding),
        cmocka_unit_test(a_deadline_beyond_all_levels_does_not_fire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
