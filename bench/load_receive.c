/* The receiver: counts by the numbers in the ids what arrives, and misbehaves where it is told to.
 * An id's first arrival is a delivery, each further one a duplicate. */
#include "load.h"

#include <string.h>
#include <stdio.h>
#include <sys/socket.h>

/* ---- receiving --------------------------------------------------------------------------------
 */

void load_count(struct load *l, uint64_t event, uint64_t now) {
    if (event >= l->n_events || event < l->base) {
        l->unknown++;
        return;
    }
    if ((l->state[event] & EVENT_OWED) == 0) {
        return; /* of a destination that may misbehave: arrives when it can */
    }
    if (l->seen[event]++ > 0) {
        l->duplicates++;
        return;
    }
    l->delivered++;
    l->last_arrival = now;
    if (event - l->task.begin >= l->task.warmup || event < l->task.begin) {
        histogram_record(&l->delivery, now - l->intended[event]);
    }
}

static void count_events(struct load *l, const struct wire_message *m, uint64_t now) {
    const char *at = m->body, *end = m->body + m->body_len;
    size_t needle = strlen(l->needle);
    for (;;) {
        at = memmem(at, (size_t)(end - at), l->needle, needle);
        if (at == NULL) {
            return;
        }
        at += needle;
        load_count(l, load_number(at), now);
    }
}

/* What this path meets now; mixed: the number in /bad/NUMBER, modulo four, picks the kind. */
static enum badness badness_of(const struct load *l, const struct wire_message *m) {
    const char *path = memchr(m->head, ' ', m->head_len);
    if (l->badness == BAD_NONE || path == NULL || m->head_len <= 16 ||
        memcmp(path, " /bad/", 6) != 0) {
        return BAD_NONE;
    }
    return l->badness != BAD_MIXED ? l->badness
                                   : (enum badness)(BAD_HANG + load_number(path + 6) % 4);
}

/* False when the connection is to be reset. */
static bool on_delivery(struct load *l, struct peer *p, const struct wire_message *m) {
    static const char ok[] = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    static const char failed[] = "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n";
    uint64_t now = load_clock_ns();
    l->requests++;
    if (load_on_stream(l, p, m, now)) {
        return true;
    }
    if (l->hold_until > now) {
        char held[128];
        int n = snprintf(held, sizeof held,
                         "HTTP/1.1 503 Held\r\nretry-after: %llu\r\ncontent-length: 0\r\n\r\n",
                         (unsigned long long)((l->hold_until - now) / 1000000000U + 1));
        l->held++;
        wire_put(&p->wire, held, (size_t)n);
        return true;
    }
    enum badness badness = badness_of(l, m);
    if (badness != BAD_NONE) {
        if (badness == BAD_FAIL) {
            wire_put(&p->wire, failed, sizeof failed - 1);
        } else if (badness == BAD_TRICKLE) {
            wire_put(&p->wire, ok, 9); /* a beginning; what follows never ends */
            p->trickling = true;
        }
        return badness != BAD_RESET;
    }
    count_events(l, m, now);
    wire_put(&p->wire, ok, sizeof ok - 1);
    return true;
}

void load_on_receiver(struct load *l, int fd) {
    struct peer *p = l->peers[fd];
    struct wire_message m;
    bool keep = true;
    wire_read(&p->wire);
    while (keep && wire_next(&p->wire, &m)) {
        keep = on_delivery(l, p, &m);
        wire_drop(&p->wire, &m);
    }
    wire_flush(&p->wire);
    if (!keep) {
        struct linger hard = {.l_onoff = 1};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    if (!keep || p->wire.closed) {
        load_drop(l, fd);
    }
}

void load_on_listen(struct load *l, int listener) {
    for (int i = 0; i < 64; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            return;
        }
        struct peer *p = load_watch(l, fd, ROLE_RECEIVER);
        wire_init(&p->wire, fd, l->server, false);
    }
}

void load_trickle(struct load *l) {
    if ((l->badness != BAD_TRICKLE && l->badness != BAD_MIXED) || l->now < l->trickle_at) {
        return;
    }
    l->trickle_at = l->now + TRICKLE_NS / TRICKLE_TURNS;
    l->trickle_turn = (l->trickle_turn + 1) % TRICKLE_TURNS;
    for (int fd = l->trickle_turn; fd < FD_MAX; fd += TRICKLE_TURNS) {
        struct peer *p = l->peers[fd];
        if (p != NULL && p->role == ROLE_RECEIVER && p->trickling) {
            wire_put(&p->wire, "2", 1);
            wire_flush(&p->wire);
        }
    }
}
