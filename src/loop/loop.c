/* The loop. See loop.h.
 *
 * System calls are what a turn costs, so few are made: interest in a descriptor that grows is told
 * to the kernel once, just before waiting; interest that shrinks is not told at all until an event
 * comes that nobody wants. A connection that answers each request within the turn thus lives with
 * one epoll_ctl in all. The wake-up descriptor is edge-triggered and never read.
 *
 * Dispatching is safe against removal: an io that is removed while a batch is dispatched is struck
 * from the rest of the batch, so that its memory may go at once.
 *
 * Fairness: nothing is repeated within a turn. What asks to be called again (loop_io_again, tasks
 * deferred by tasks, timers of now) comes in the next turn, which then does not wait. */
#include "loop/loop.h"

#include "loop/wheel.h"
#include "os/clock.h"
#include "os/socket.h"

#include <errno.h>

mr_err loop_init(struct loop *loop, mr_metrics *metrics) {
    *loop = (struct loop){.poll_fd = -1, .metrics = metrics, .now = os_mono_now()};
    mailbox_init(&loop->mailbox);
    mr_list_init(&loop->changes);
    mr_list_init(&loop->again);
    mr_list_init(&loop->tasks);
    mr_list_init(&loop->hooks);
    wheel_init(&loop->wheel, loop->now);
    MR_TRY(os_poll_new(&loop->poll_fd));
    mr_err err = os_event_new(&loop->mailbox.event_fd);
    if (mr_is_ok(err)) {
        err = os_poll_add(loop->poll_fd, loop->mailbox.event_fd, OS_POLL_READ | OS_POLL_EDGE, NULL);
    }
    if (mr_is_err(err)) {
        loop_done(loop);
    }
    return err;
}

void loop_done(struct loop *loop) {
    os_close(loop->mailbox.event_fd);
    os_close(loop->poll_fd);
    loop->mailbox.event_fd = -1;
    loop->poll_fd = -1;
}

mr_wall loop_wall(struct loop *loop) {
    if (!loop->has_wall) {
        loop->wall = os_wall_now();
        loop->has_wall = true;
    }
    return loop->wall;
}

void loop_stop(struct loop *loop) {
    loop->is_stopping = true;
}

/* Descriptors */

_Static_assert((int)LOOP_READ == (int)OS_POLL_READ && (int)LOOP_WRITE == (int)OS_POLL_WRITE &&
                   (int)LOOP_FAIL == (int)OS_POLL_FAIL,
               "readiness is passed through");

void loop_io_init(struct loop_io *io, void (*on_ready)(struct loop_io *io, unsigned ready)) {
    *io = (struct loop_io){.fd = -1, .on_ready = on_ready};
    mr_list_init(&io->change);
    mr_list_init(&io->again);
}

mr_err loop_io_add(struct loop *loop, struct loop_io *io, int fd, unsigned want) {
    MR_ASSERT(io->fd < 0 && fd >= 0);
    want &= LOOP_READ | LOOP_WRITE;
    if (want != 0) {
        MR_TRY(os_poll_add(loop->poll_fd, fd, want, io));
        io->is_added = true;
    }
    io->fd = fd;
    io->want = want;
    io->armed = want;
    return MR_OK;
}

void loop_io_want(struct loop *loop, struct loop_io *io, unsigned want) {
    MR_ASSERT(io->fd >= 0);
    io->want = want & (LOOP_READ | LOOP_WRITE);
    bool is_short = (io->want & ~io->armed) != 0;
    if (is_short && mr_list_is_empty(&io->change)) {
        mr_list_push_back(&loop->changes, &io->change);
    }
}

/* Makes the kernel's view equal to what is wanted. A descriptor of which nothing is wanted is taken
 * out, because errors and hang-ups would be reported for ever. */
static mr_err tell_kernel(struct loop *loop, struct loop_io *io) {
    mr_list_remove(&io->change);
    if (io->want == io->armed) {
        return MR_OK;
    }
    mr_err err;
    if (io->want == 0) {
        err = os_poll_remove(loop->poll_fd, io->fd);
        io->is_added = false;
    } else if (io->is_added) {
        err = os_poll_change(loop->poll_fd, io->fd, io->want, io);
    } else {
        err = os_poll_add(loop->poll_fd, io->fd, io->want, io);
        io->is_added = mr_is_ok(err);
    }
    io->armed = io->is_added ? io->want : 0;
    return err;
}

void loop_io_again(struct loop *loop, struct loop_io *io) {
    MR_ASSERT(io->fd >= 0);
    if (mr_list_is_empty(&io->again)) {
        mr_list_push_back(&loop->again, &io->again);
    }
}

static void forget(struct loop *loop, struct loop_io *io) {
    mr_list_remove(&io->change);
    mr_list_remove(&io->again);
    for (size_t i = loop->at_event; i < loop->n_events; i++) {
        if (loop->events[i].tag == io) {
            loop->events[i].tag = NULL;
        }
    }
    io->fd = -1;
    io->want = 0;
    io->armed = 0;
    io->is_added = false;
}

void loop_io_remove(struct loop *loop, struct loop_io *io) {
    if (io->fd < 0) {
        return;
    }
    if (io->is_added) {
        mr_ignore(os_poll_remove(loop->poll_fd, io->fd), "fails only where it is not watched");
    }
    forget(loop, io);
}

void loop_io_close(struct loop *loop, struct loop_io *io) {
    if (io->fd < 0) {
        return;
    }
    int fd = io->fd;
    forget(loop, io);
    os_close(fd);
}

/* Timers */

void loop_timer_init(struct loop_timer *timer, void (*on_fire)(struct loop_timer *timer)) {
    *timer = (struct loop_timer){.slot = -1, .on_fire = on_fire};
    mr_list_init(&timer->node);
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, mr_mono due) {
    wheel_remove(&loop->wheel, timer);
    if (due.ns != MR_MONO_NEVER.ns) {
        wheel_add(&loop->wheel, timer, due);
    }
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer) {
    wheel_remove(&loop->wheel, timer);
}

/* Tasks and hooks */

void loop_task_init(struct loop_task *task, void (*run)(struct loop_task *task)) {
    *task = (struct loop_task){.run = run};
    mr_list_init(&task->node);
}

void loop_defer(struct loop *loop, struct loop_task *task) {
    if (mr_list_is_empty(&task->node)) {
        mr_list_push_back(&loop->tasks, &task->node);
    }
}

void loop_task_cancel(struct loop_task *task) {
    mr_list_remove(&task->node);
}

void loop_on_turn_end(struct loop *loop, struct loop_hook *hook,
                      void (*on_turn_end)(struct loop_hook *hook)) {
    hook->on_turn_end = on_turn_end;
    mr_list_push_back(&loop->hooks, &hook->node);
}

void loop_hook_remove(struct loop_hook *hook) {
    mr_list_remove(&hook->node);
}

/* The turn */

/* Moves all of from to the empty list to. */
static void move_list(mr_list *from, mr_list *to) {
    mr_list_init(to);
    if (!mr_list_is_empty(from)) {
        *to = *from;
        to->next->prev = to;
        to->prev->next = to;
        mr_list_init(from);
    }
}

static int choose_timeout(struct loop *loop, int limit_ms) {
    if (loop->is_stopping || !mr_list_is_empty(&loop->again) || !mr_list_is_empty(&loop->tasks)) {
        return 0;
    }
    /* Some time has passed since loop->now, so this is late by the length of the turn at worst;
     * waiting a little longer than that is not noticed at 1 ms ticks. */
    int timeout = wheel_wait_ms(&loop->wheel, loop->now);
    if (limit_ms >= 0 && (timeout < 0 || limit_ms < timeout)) {
        timeout = limit_ms;
    }
    return timeout;
}

static void tell_changes(struct loop *loop) {
    mr_list changes;
    move_list(&loop->changes, &changes);
    mr_list *node;
    while ((node = changes.next) != &changes) {
        struct loop_io *io = MR_CONTAINER(node, struct loop_io, change);
        if (mr_is_err(tell_kernel(loop, io))) {
            /* Out of kernel memory or watches. The owner learns it as a failure of the descriptor;
             * its next read or write shows what is the matter. */
            io->on_ready(io, LOOP_FAIL | io->want);
        }
    }
}

static void dispatch(struct loop *loop) {
    while (loop->at_event < loop->n_events) {
        struct os_poll_event event = loop->events[loop->at_event++];
        struct loop_io *io = event.tag;
        if (io == NULL) {
            continue; /* the wake-up, or removed in this turn */
        }
        unsigned ready = event.bits & (io->want | LOOP_FAIL);
        bool is_unwanted = (event.bits & ~io->want & (LOOP_READ | LOOP_WRITE)) != 0;
        if (is_unwanted || io->want == 0) {
            mr_ignore(tell_kernel(loop, io), "wanting less: at worst the event comes again");
        }
        if (ready != 0 && io->want != 0) {
            io->on_ready(io, ready);
        }
    }
    loop->n_events = 0;
    loop->at_event = 0;
}

static void run_again(mr_list *again) {
    mr_list *node;
    while ((node = mr_list_pop_front(again)) != NULL) {
        struct loop_io *io = MR_CONTAINER(node, struct loop_io, again);
        if ((io->want & LOOP_READ) != 0) {
            io->on_ready(io, LOOP_READ);
        }
    }
}

static void run_tasks(struct loop *loop) {
    mr_list tasks;
    move_list(&loop->tasks, &tasks);
    mr_list *node;
    while ((node = mr_list_pop_front(&tasks)) != NULL) {
        struct loop_task *task = MR_CONTAINER(node, struct loop_task, node);
        task->run(task);
    }
}

static void run_hooks(struct loop *loop) {
    mr_list *node = loop->hooks.next;
    while (node != &loop->hooks) {
        struct loop_hook *hook = MR_CONTAINER(node, struct loop_hook, node);
        node = node->next;
        hook->on_turn_end(hook);
    }
}

void loop_turn(struct loop *loop, int timeout_ms) {
    if (!mr_list_is_empty(&loop->changes)) {
        tell_changes(loop);
    }
    /* What is to be called again is fixed here, so that no callback of this turn is repeated. */
    int timeout = choose_timeout(loop, timeout_ms);
    mr_list again;
    move_list(&loop->again, &again);
    if (timeout != 0 && !mailbox_sleep(&loop->mailbox)) {
        timeout = 0;
    }
    loop->n_events = os_poll_wait(loop->poll_fd, loop->events, OS_POLL_EVENTS_MAX, timeout);
    loop->at_event = 0;
    loop->now = os_mono_now();
    loop->has_wall = false;

    dispatch(loop);
    run_again(&again);
    wheel_advance(&loop->wheel, loop->now);
    mailbox_run(mailbox_drain(&loop->mailbox));
    run_tasks(loop);
    run_hooks(loop);

    mr_metric_add(loop->metrics, MR_METRIC_LOOP_TURNS, 1);
    int64_t turn_us = mr_mono_diff_ns(os_mono_now(), loop->now) / MR_NS_PER_US;
    if (turn_us > loop->turn_us_max) {
        loop->turn_us_max = turn_us;
        mr_metric_set(loop->metrics, MR_METRIC_LOOP_TURN_US_MAX, turn_us);
    }
}

void loop_run(struct loop *loop) {
    loop->is_stopping = false;
    while (!loop->is_stopping) {
        loop_turn(loop, -1);
    }
}
