/* The loop: descriptors, timers, tasks, hooks, and what may be removed when. */
#include "loop/loop.h"
#include "os/clock.h"
#include "os/signals.h"
#include "os/socket.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>
#include <cmocka.h>

struct fixture {
    struct loop loop;
    mr_metrics metrics;
    int pipe[2];
    struct loop_io io;
    struct loop_io other;
    int n_ready, n_other;
    unsigned last_ready;
};

static struct fixture *made; /* of the running test */

static void on_ready(struct loop_io *io, unsigned ready) {
    (void)io;
    made->n_ready++;
    made->last_ready = ready;
}

static void on_other(struct loop_io *io, unsigned ready) {
    (void)io;
    (void)ready;
    made->n_other++;
}

static int set_up(void **state) {
    static struct fixture fixture;
    fixture = (struct fixture){.n_ready = 0};
    made = &fixture;
    *state = made;
    assert_true(mr_is_ok(loop_init(&made->loop, &made->metrics)));
    assert_int_equal(pipe(made->pipe), 0);
    loop_io_init(&made->io, on_ready);
    loop_io_init(&made->other, on_other);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    loop_io_remove(&made->loop, &made->io);
    loop_io_remove(&made->loop, &made->other);
    loop_done(&made->loop);
    os_close(made->pipe[0]);
    os_close(made->pipe[1]);
    return 0;
}

static void put_byte(void) {
    assert_int_equal(write(made->pipe[1], "x", 1), 1);
}

static void a_readable_descriptor_is_told_every_turn_until_read(void **state) {
    (void)state;
    assert_true(mr_is_ok(loop_io_add(&made->loop, &made->io, made->pipe[0], LOOP_READ)));
    loop_turn(&made->loop, 0);
    assert_int_equal(made->n_ready, 0);
    put_byte();
    loop_turn(&made->loop, -1);
    loop_turn(&made->loop, -1);
    assert_int_equal(made->n_ready, 2);
    assert_int_equal(made->last_ready, LOOP_READ);
}

static void what_is_not_wanted_is_not_told_and_comes_back_when_wanted(void **state) {
    (void)state;
    assert_true(mr_is_ok(loop_io_add(&made->loop, &made->io, made->pipe[0], LOOP_READ)));
    put_byte();
    loop_io_want(&made->loop, &made->io, 0);
    for (int i = 0; i < 3; i++) {
        loop_turn(&made->loop, 0);
    }
    assert_int_equal(made->n_ready, 0);
    assert_int_equal(made->io.armed, 0); /* the kernel was told at the first unwanted event */
    loop_io_want(&made->loop, &made->io, LOOP_READ);
    loop_turn(&made->loop, 0);
    assert_int_equal(made->n_ready, 1);
}

static void wanting_less_costs_nothing_while_nothing_happens(void **state) {
    (void)state;
    assert_true(mr_is_ok(loop_io_add(&made->loop, &made->io, made->pipe[0], LOOP_READ)));
    loop_io_want(&made->loop, &made->io, 0);
    loop_turn(&made->loop, 0);
    assert_int_equal(made->io.armed, LOOP_READ);
    loop_io_want(&made->loop, &made->io, LOOP_READ);
    put_byte();
    loop_turn(&made->loop, 0);
    assert_int_equal(made->n_ready, 1);
}

static void a_hang_up_is_not_repeated_where_nothing_is_wanted(void **state) {
    (void)state;
    assert_true(mr_is_ok(loop_io_add(&made->loop, &made->io, made->pipe[0], LOOP_READ)));
    loop_io_want(&made->loop, &made->io, 0);
    os_close(made->pipe[1]);
    made->pipe[1] = -1;
    loop_turn(&made->loop, 0);
    assert_int_equal(made->n_ready, 0);
    assert_false(made->io.is_added);
    loop_io_want(&made->loop, &made->io, LOOP_READ);
    loop_turn(&made->loop, 0);
    assert_int_equal(made->n_ready, 1);
    assert_true((made->last_ready & LOOP_FAIL) != 0);
}

static void remove_other(struct loop_io *io, unsigned ready) {
    (void)ready;
    made->n_ready++;
    loop_io_remove(&made->loop, io);
    loop_io_remove(&made->loop, io == &made->io ? &made->other : &made->io);
}

static void one_removed_by_another_in_the_same_turn_is_not_called(void **state) {
    (void)state;
    loop_io_init(&made->io, remove_other);
    loop_io_init(&made->other, remove_other);
    int copy = dup(made->pipe[0]);
    assert_true(mr_is_ok(loop_io_add(&made->loop, &made->io, made->pipe[0], LOOP_READ)));
    assert_true(mr_is_ok(loop_io_add(&made->loop, &made->other, copy, LOOP_READ)));
    put_byte();
    loop_turn(&made->loop, -1);
    assert_int_equal(made->n_ready, 1);
    loop_turn(&made->loop, 0);
    assert_int_equal(made->n_ready, 1);
    os_close(copy);
}

static void again_calls_in_the_next_turn_without_the_kernel(void **state) {
    (void)state;
    assert_true(mr_is_ok(loop_io_add(&made->loop, &made->io, made->pipe[0], LOOP_READ)));
    loop_io_again(&made->loop, &made->io);
    loop_turn(&made->loop, -1);
    assert_int_equal(made->n_ready, 1);
    loop_io_again(&made->loop, &made->io);
    loop_io_want(&made->loop, &made->io, 0);
    loop_turn(&made->loop, 0);
    assert_int_equal(made->n_ready, 1);
}

struct task {
    struct loop_task task;
    int n_run;
    int again;
};

static void run_task(struct loop_task *task_ptr) {
    struct task *task = MR_CONTAINER(task_ptr, struct task, task);
    task->n_run++;
    if (task->again > 0) {
        task->again--;
        loop_defer(&made->loop, task_ptr);
    }
}

static void a_task_runs_once_and_one_deferred_by_a_task_in_the_next_turn(void **state) {
    (void)state;
    struct task task = {.again = 1};
    loop_task_init(&task.task, run_task);
    loop_defer(&made->loop, &task.task);
    loop_defer(&made->loop, &task.task);
    loop_turn(&made->loop, -1);
    assert_int_equal(task.n_run, 1);
    loop_turn(&made->loop, -1); /* does not wait */
    assert_int_equal(task.n_run, 2);
    loop_defer(&made->loop, &task.task);
    loop_task_cancel(&task.task);
    loop_turn(&made->loop, 0);
    assert_int_equal(task.n_run, 2);
}

struct timed {
    struct loop_timer timer;
    mr_mono fired;
};

static void on_fire(struct loop_timer *timer) {
    MR_CONTAINER(timer, struct timed, timer)->fired = loop_now(&made->loop);
    loop_stop(&made->loop);
}

static void a_timer_ends_the_wait_at_its_time_never_early(void **state) {
    (void)state;
    struct timed timed = {.fired = {0}};
    loop_timer_init(&timed.timer, on_fire);
    mr_mono due = mr_mono_add_ms(os_mono_now(), 20);
    loop_timer_set(&made->loop, &timed.timer, due);
    loop_run(&made->loop);
    assert_true(timed.fired.ns >= due.ns);
    assert_false(loop_timer_is_set(&timed.timer));
    loop_timer_set(&made->loop, &timed.timer, MR_MONO_NEVER);
    assert_false(loop_timer_is_set(&timed.timer));
}

struct order {
    struct loop_hook hook;
    struct task *task;
    int task_runs_seen;
};

static void on_turn_end(struct loop_hook *hook) {
    struct order *order = MR_CONTAINER(hook, struct order, hook);
    order->task_runs_seen = order->task->n_run;
}

static void hooks_run_after_the_tasks_of_the_turn(void **state) {
    (void)state;
    struct task task = {0};
    struct order order = {.task = &task};
    loop_task_init(&task.task, run_task);
    loop_on_turn_end(&made->loop, &order.hook, on_turn_end);
    loop_defer(&made->loop, &task.task);
    loop_turn(&made->loop, -1);
    assert_int_equal(order.task_runs_seen, 1);
    loop_hook_remove(&order.hook);
    loop_defer(&made->loop, &task.task);
    loop_turn(&made->loop, -1);
    assert_int_equal(order.task_runs_seen, 1);
    assert_int_equal(mr_metric_get(&made->metrics, MR_METRIC_LOOP_TURNS), 2);
}

static void a_signal_is_read_from_its_descriptor(void **state) {
    (void)state;
    os_signals_block();
    int fd;
    assert_true(mr_is_ok(os_signals_open(&fd)));
    assert_int_equal(os_signals_read(fd), OS_SIGNAL_NONE);
    assert_true(mr_is_ok(loop_io_add(&made->loop, &made->io, fd, LOOP_READ)));
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    loop_turn(&made->loop, -1);
    assert_int_equal(made->n_ready, 1);
    assert_int_equal(os_signals_read(fd), OS_SIGNAL_STOP);
    assert_int_equal(kill(getpid(), SIGHUP), 0);
    assert_int_equal(os_signals_read(fd), OS_SIGNAL_RELOAD);
    loop_io_close(&made->loop, &made->io);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_readable_descriptor_is_told_every_turn_until_read, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_wanted_is_not_told_and_comes_back_when_wanted,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(wanting_less_costs_nothing_while_nothing_happens, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_hang_up_is_not_repeated_where_nothing_is_wanted, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_removed_by_another_in_the_same_turn_is_not_called,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(again_calls_in_the_next_turn_without_the_kernel, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_task_runs_once_and_one_deferred_by_a_task_in_the_next_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_timer_ends_the_wait_at_its_time_never_early, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(hooks_run_after_the_tasks_of_the_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_signal_is_read_from_its_descriptor, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
