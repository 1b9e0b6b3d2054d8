/* Connects to one of several judged addresses.
 *
 * A host with two families may have one that does not work from here, and a black hole answers
 * nothing: so a further address is begun every 250 ms while the others still run, and at once when
 * one fails (RFC 8305 §5). The order alternates the families, beginning with that of the first
 * address, as the name server gave them.
 *
 *   idle ──start──▶ running ──connected / all failed / deadline──▶ idle (on_done)
 *                     └────────────── cancel ─────────────────────▶ idle
 *
 * Invariants: in `idle` no descriptor, timer or task of this dial exists; on_done comes from the
 * loop only, never inside net_dial_start, also where every connect failed at once. The winner's
 * descriptor leaves the loop before it is handed over. */
#include "net/dial.h"

#include "os/socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum dial_state {
    DIAL_IDLE = 0,
    DIAL_RUNNING,
};

/* What errno means to the owner of a destination. */
const char *net_error_text(int error) {
    switch (error) {
    case ECONNREFUSED:
        return "connection refused: nothing listens on this port";
    case ECONNRESET:
        return "connection reset by the peer";
    case EPIPE:
        return "connection closed by the peer";
    case ETIMEDOUT:
        return "no answer from the host";
    case EHOSTUNREACH:
        return "no route to the host";
    case ENETUNREACH:
        return "no route to the network (this machine may have no IPv6)";
    case EADDRNOTAVAIL:
        return "no local address or port is left to connect from";
    case EMFILE:
    case ENFILE:
        return "no descriptor is left on this machine";
    case EACCES:
    case EPERM:
        return "the connection was forbidden by this machine's firewall";
    }
    const char *text = strerrordesc_np(error);
    return text != NULL ? text : "unknown error";
}

static void close_try(struct net_dial *dial, struct net_dial_try *attempt) {
    if (attempt->is_open) {
        loop_io_close(dial->loop, &attempt->io);
        attempt->is_open = false;
        dial->n_open--;
    }
}

/* Back to idle; whatever is still open is closed. */
static void stop(struct net_dial *dial) {
    for (uint32_t i = 0; i < dial->n_started; i++) {
        close_try(dial, &dial->tries[i]);
    }
    MR_ASSERT(dial->n_open == 0);
    loop_timer_cancel(dial->loop, &dial->stagger);
    loop_timer_cancel(dial->loop, &dial->deadline);
    loop_task_cancel(&dial->task);
    dial->state = DIAL_IDLE;
}

static void finish(struct net_dial *dial, struct net_dial_result *result) {
    result->connect_ns = mr_mono_diff_ns(loop_now(dial->loop), dial->started);
    result->text = dial->text;
    stop(dial);
    dial->on_done(dial, result);
}

static void finish_failed(struct net_dial *dial) {
    char peer[OS_ADDR_TEXT_SIZE];
    os_addr_format(&dial->last_peer, peer);
    int n = snprintf(dial->text, sizeof dial->text, "could not connect to %s: %s", peer,
                     net_error_text(dial->last_error));
    if (dial->n_tries > 1 && n > 0 && (size_t)n < sizeof dial->text) {
        snprintf(dial->text + n, sizeof dial->text - (size_t)n, " (%u addresses tried)",
                 dial->n_tries);
    }
    struct net_dial_result result = {.fd = -1,
                                     .peer = dial->last_peer,
                                     .error = dial->last_error,
                                     .is_no_descriptor =
                                         dial->last_error == EMFILE || dial->last_error == ENFILE};
    finish(dial, &result);
}

static void note_failure(struct net_dial *dial, const struct net_dial_try *attempt, int error) {
    dial->last_peer = attempt->addr;
    dial->last_error = error;
}

/* Begins the next connect; those that fail at once are passed over. False where none is under way
 * and none is left. */
static bool begin_next(struct net_dial *dial) {
    while (dial->n_started < dial->n_tries) {
        struct net_dial_try *attempt = &dial->tries[dial->n_started++];
        int fd;
        if (mr_is_err(os_connect_start(&attempt->addr, &fd))) {
            note_failure(dial, attempt, errno);
            continue;
        }
        if (mr_is_err(loop_io_add(dial->loop, &attempt->io, fd, LOOP_WRITE))) {
            note_failure(dial, attempt, errno);
            os_close(fd);
            continue;
        }
        attempt->is_open = true;
        dial->n_open++;
        if (dial->n_started < dial->n_tries) {
            loop_timer_set(dial->loop, &dial->stagger,
                           mr_mono_add_ms(loop_now(dial->loop), NET_DIAL_STAGGER_MS));
        }
        return true;
    }
    return dial->n_open > 0;
}

static void on_ready(struct loop_io *io, unsigned ready) {
    (void)ready;
    struct net_dial_try *attempt = MR_CONTAINER(io, struct net_dial_try, io);
    struct net_dial *dial = attempt->dial;
    if (mr_is_err(os_connect_result(io->fd))) {
        note_failure(dial, attempt, errno);
        close_try(dial, attempt);
        if (!begin_next(dial)) {
            finish_failed(dial);
        }
        return;
    }
    struct net_dial_result result = {.fd = io->fd, .peer = attempt->addr};
    loop_io_remove(dial->loop, io);
    attempt->is_open = false;
    dial->n_open--;
    dial->text[0] = '\0';
    finish(dial, &result);
}

static void on_stagger(struct loop_timer *timer) {
    struct net_dial *dial = MR_CONTAINER(timer, struct net_dial, stagger);
    if (!begin_next(dial)) {
        finish_failed(dial);
    }
}

static void on_deadline(struct loop_timer *timer) {
    struct net_dial *dial = MR_CONTAINER(timer, struct net_dial, deadline);
    char peer[OS_ADDR_TEXT_SIZE];
    os_addr addr = dial->tries[0].addr;
    os_addr_format(&addr, peer);
    snprintf(dial->text, sizeof dial->text, "no connection to %s within %lld ms", peer,
             (long long)mr_mono_diff_ms(dial->due, dial->started));
    struct net_dial_result result = {.fd = -1, .peer = addr, .is_timeout = true};
    finish(dial, &result);
}

static void on_task(struct loop_task *task) {
    finish_failed(MR_CONTAINER(task, struct net_dial, task));
}

/* Fills tries: at most four, families in turn, beginning with the first address's. */
static void choose(struct net_dial *dial, const struct net_judged_addr *addrs, size_t n) {
    uint8_t family = net_judged_addr_get(&addrs[0]).family;
    size_t at[2] = {0, 0}; /* next index to look at: of the first family, of the other */
    unsigned turn = 0;
    unsigned misses = 0;
    dial->n_tries = 0;
    while (dial->n_tries < NET_DIAL_ADDRS_MAX && misses < 2) {
        bool is_found = false;
        while (at[turn] < n && !is_found) {
            os_addr addr = net_judged_addr_get(&addrs[at[turn]++]);
            if ((addr.family == family) == (turn == 0)) {
                dial->tries[dial->n_tries++].addr = addr;
                is_found = true;
            }
        }
        misses = is_found ? 0 : misses + 1;
        turn = 1 - turn;
    }
}

void net_dial_start(struct net_dial *dial, struct loop *loop, const struct net_judged_addr *addrs,
                    size_t n, mr_mono deadline,
                    void (*on_done)(struct net_dial *dial, const struct net_dial_result *result)) {
    MR_ASSERT(dial->state == DIAL_IDLE && n >= 1);
    dial->loop = loop;
    dial->on_done = on_done;
    dial->n_started = 0;
    dial->n_open = 0;
    dial->last_error = 0;
    dial->started = loop_now(loop);
    dial->due = deadline;
    dial->text[0] = '\0';
    dial->state = DIAL_RUNNING;
    choose(dial, addrs, n);
    for (size_t i = 0; i < NET_DIAL_ADDRS_MAX; i++) {
        dial->tries[i].dial = dial;
        dial->tries[i].is_open = false;
        loop_io_init(&dial->tries[i].io, on_ready);
    }
    loop_timer_init(&dial->stagger, on_stagger);
    loop_timer_init(&dial->deadline, on_deadline);
    loop_task_init(&dial->task, on_task);
    loop_timer_set(loop, &dial->deadline, deadline);
    if (!begin_next(dial)) {
        loop_defer(loop, &dial->task);
    }
}

void net_dial_cancel(struct net_dial *dial) {
    if (dial->state == DIAL_RUNNING) {
        stop(dial);
    }
}
