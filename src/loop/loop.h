/* The event loop of a worker: descriptors (level-triggered epoll), timers (hierarchical wheel of
 * 1 ms), mail from other threads, tasks for later, hooks at the end of a turn. One thread owns a
 * loop; but for loop_mailbox every function here is for that thread alone.
 *
 * A turn: wait → read the clock, once → descriptors → timers → mail → deferred tasks → turn-end
 * hooks. Callbacks run from the loop only, never inside the call that registered them. Everything
 * registered is the caller's memory and may be freed by its own callback once it is removed. */
#ifndef MR_LOOP_LOOP_H
#define MR_LOOP_LOOP_H

#include "base/list.h"
#include "base/metrics.h"
#include "base/time.h"
#include "loop/mailbox.h"
#include "os/poll.h"

struct loop;

enum loop_ready {
    LOOP_READ = 1,
    LOOP_WRITE = 2,
    /* Error or hang-up: given together with those of READ and WRITE that are wanted; where neither
     * is wanted the descriptor is not watched at all. */
    LOOP_FAIL = 4,
};

/* A watched descriptor. */
struct loop_io {
    int fd; /* -1: not in a loop */
    /* ready: bits of loop_ready, only those wanted (and LOOP_FAIL). */
    void (*on_ready)(struct loop_io *io, unsigned ready);
    /* the loop's */
    unsigned want;  /* what the owner asked for */
    unsigned armed; /* what the kernel was told */
    bool is_added;
    mr_list change; /* in loop.changes while the kernel must be told of more */
    mr_list again;  /* in loop.again while on_ready was asked for without the kernel */
};

/* Something to be done at a time. */
struct loop_timer {
    mr_list node;
    uint64_t tick; /* ms of the monotonic clock, rounded up */
    int32_t slot;  /* of the wheel; -1 while not in it */
    void (*on_fire)(struct loop_timer *timer);
};

/* Something to be done once, after the inputs of this turn. */
struct loop_task {
    mr_list node;
    void (*run)(struct loop_task *task);
};

/* Something to be done at the end of each turn. */
struct loop_hook {
    mr_list node;
    void (*on_turn_end)(struct loop_hook *hook);
};

#define LOOP_WHEEL_LEVELS 7 /* of 6 bits: 2^42 ms */
#define LOOP_WHEEL_SLOTS  64

struct loop_wheel {
    uint64_t tick;    /* all earlier and this one have been fired */
    uint64_t horizon; /* new timers lie beyond it: where the advance under way will end */
    uint64_t occupied[LOOP_WHEEL_LEVELS];
    mr_list slots[LOOP_WHEEL_LEVELS * LOOP_WHEEL_SLOTS];
};

struct loop {
    struct mailbox mailbox; /* any thread */
    /* owner's thread only */
    int poll_fd;
    mr_mono now;
    mr_wall wall;
    bool has_wall; /* wall was read in this turn */
    bool is_stopping;
    mr_metrics *metrics;
    int64_t turn_us_max;
    size_t n_events, at_event; /* the batch being dispatched */
    mr_list changes, again, tasks, hooks;
    struct loop_wheel wheel;
    struct os_poll_event events[OS_POLL_EVENTS_MAX];
};

/* metrics: of this thread, may be NULL; must outlive the loop. MR_E_IO where the system refuses. */
mr_err loop_init(struct loop *loop, mr_metrics *metrics);
/* Everything must have been removed; mail still in the box is dropped unread. */
void loop_done(struct loop *loop);
/* Turns until loop_stop. */
void loop_run(struct loop *loop);
/* One turn, blocking at most timeout_ms (-1: as long as it takes; tests). */
void loop_turn(struct loop *loop, int timeout_ms);
/* loop_run returns after this turn. From another thread: send a mail that calls it. */
void loop_stop(struct loop *loop);

/* The time of this turn. */
static inline mr_mono loop_now(const struct loop *loop) {
    return loop->now;
}
/* Wall time, read at the first call of a turn. */
mr_wall loop_wall(struct loop *loop);
/* Where other threads send mail; drained once per turn. Any thread. */
static inline struct mailbox *loop_mailbox(struct loop *loop) {
    return &loop->mailbox;
}

/* Sets up the memory; no effect on any loop. */
void loop_io_init(struct loop_io *io, void (*on_ready)(struct loop_io *io, unsigned ready));
/* Watches fd (non-blocking, stays the caller's) for want. MR_E_IO; errno is set. */
mr_err loop_io_add(struct loop *loop, struct loop_io *io, int fd, unsigned want);
/* Changes what is wanted. Costs no system call now: more is told to the kernel before it is next
 * waited on, less only if an unwanted event comes in. */
void loop_io_want(struct loop *loop, struct loop_io *io, unsigned want);
/* Calls on_ready(LOOP_READ) in the next turn whatever the kernel says (there is more in a buffer);
 * nothing where READ is no longer wanted by then. */
void loop_io_again(struct loop *loop, struct loop_io *io);
/* No further callback. The descriptor stays open. Harmless when not added. */
void loop_io_remove(struct loop *loop, struct loop_io *io);
/* Removes and closes in one: saves a system call. */
void loop_io_close(struct loop *loop, struct loop_io *io);

/* Sets up the memory. */
void loop_timer_init(struct loop_timer *timer, void (*on_fire)(struct loop_timer *timer));
/* Fires once at or after `due`, never early, at the earliest in the next turn; a running timer is
 * moved. O(1). A timer of MR_MONO_NEVER never fires. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, mr_mono due);
/* Harmless when not running. O(1). */
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);
static inline bool loop_timer_is_set(const struct loop_timer *timer) {
    return timer->slot >= 0 || !mr_list_is_empty(&timer->node);
}

/* Sets up the memory. */
void loop_task_init(struct loop_task *task, void (*run)(struct loop_task *task));
/* Runs it once after this turn's inputs; when called from a deferred task or a hook, in the next
 * turn, which does not wait. No effect while it is queued. */
void loop_defer(struct loop *loop, struct loop_task *task);
/* Harmless when not queued. */
void loop_task_cancel(struct loop_task *task);

/* Calls hook->on_turn_end at the end of every turn from now on, in the order added. */
void loop_on_turn_end(struct loop *loop, struct loop_hook *hook,
                      void (*on_turn_end)(struct loop_hook *hook));
/* Not while hooks run, but for the running one. */
void loop_hook_remove(struct loop_hook *hook);

#endif
