/* The sender: keeps its connections busy in the closed loop, or sends what is due in the open one.
 * A request that is refused (429, 503) leaves again a moment later, one whose connection broke
 * leaves again on a new one; both keep the moment at which they were meant to leave. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_digits(char *at, uint64_t value, int digits) {
    for (int i = digits - 1; i >= 0; i--, value /= 10) {
        at[i] = (char)('0' + value % 10);
    }
}

/* ---- sending ----------------------------------------------------------------------------------
 */

/* The event that all others are copied from; number and type are patched into the copy. */
static void make_template(struct load *l, struct task *t) {
    char head[512], data[512];
    int n =
        snprintf(head, sizeof head,
                 "{\"specversion\":\"1.0\",\"id\":\"b%s-0000000000\",\"source\":\"/bench/load\","
                 "\"type\":\"bench.t00000\",\"time\":\"2026-01-01T00:00:00.0000000+00:00\","
                 "\"datacontenttype\":\"application/json\",",
                 l->run);
    int m = snprintf(data, sizeof data,
                     "\"data\":{\"account_sid\":\"AC0123456789abcdef0123456789abcdef\","
                     "\"sim_iccid\":\"89883070000004542345\",\"imsi\":\"732123202678945\","
                     "\"network\":{\"plmn\":\"310410\",\"name\":\"Example\",\"country\":\"US\"},"
                     "\"data_session_data_upload\":1285,\"data_session_data_download\":90813,"
                     "\"roaming\":true,\"note\":\"");
    size_t fixed = (size_t)(n + m) + 3;
    size_t fill = t->size > fixed ? t->size - fixed : 0;
    free(t->template);
    t->template = malloc(fixed + fill + 1);
    if (t->template == NULL) {
        load_die("memory");
    }
    memcpy(t->template, head, (size_t)n);
    memcpy(t->template + n, data, (size_t)m);
    memset(t->template + n + m, 'x', fill);
    memcpy(t->template + (size_t)(n + m) + fill, "\"}}", 4);
    t->size = fixed + fill;
    t->id_at = (size_t)(strstr(t->template, "-0000000000") + 1 - t->template);
    t->type_at = (size_t)(strstr(t->template, "bench.t") + 7 - t->template);
}

static void send_request(struct load *l, int fd, uint64_t first, uint64_t intended) {
    struct peer *p = l->peers[fd];
    const struct task *t = &l->task;
    char head[5120];
    uint64_t end = t->begin + t->events;
    uint64_t count = end - first < t->batch ? end - first : t->batch;
    size_t length = t->batch == 1 ? t->size : count * (t->size + 1) + 1;
    int n = snprintf(head, sizeof head,
                     "POST %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nauthorization: Bearer %s\r\n"
                     "content-type: application/cloudevents%s+json\r\ncontent-length: %zu\r\n\r\n",
                     t->path, t->port, t->token, t->batch == 1 ? "" : "-batch", length);
    wire_put(&p->wire, head, (size_t)n);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t event = first + i, type = (event - t->begin) % t->types;
        put_digits(t->template + t->id_at, event, 10);
        put_digits(t->template + t->type_at, t->type + type, 5);
        if (t->batch > 1) {
            wire_put(&p->wire, i == 0 ? "[" : ",", 1);
        }
        wire_put(&p->wire, t->template, t->size);
        if ((l->state[event] & EVENT_SENT) == 0) {
            l->intended[event] = intended;
            l->state[event] = (uint8_t)(EVENT_SENT | (type >= t->bad_types ? EVENT_OWED : 0));
        }
    }
    if (t->batch > 1) {
        wire_put(&p->wire, "]", 1);
    }
    p->busy = true;
    p->first = first;
    p->intended = intended;
    wire_flush(&p->wire);
}

/* Gives work to idle connections: at once in the closed loop, else what is due by now. */
void load_send_due(struct load *l) {
    struct task *t = &l->task;
    while (t->active && t->next < t->begin + t->events && l->n_idle > 0) {
        uint64_t intended = l->now;
        if (t->window > 0 && t->next - l->base >= l->delivered + t->window) {
            return;
        }
        if (t->rate > 0) {
            intended = t->started + (t->next - t->begin) * 1000000000U / t->rate;
            if (intended > l->now) {
                return;
            }
        }
        int fd = l->idle[--l->n_idle];
        uint64_t first = t->next;
        t->next += t->batch;
        send_request(l, fd, first, intended);
    }
}

void load_send_resume(struct load *l) {
    for (uint64_t i = 0; l->n_paused > 0 && i < l->n_senders; i++) {
        struct peer *p = l->peers[l->senders[i]];
        if (p != NULL && p->paused && p->resume <= l->now) {
            p->paused = false;
            l->n_paused--;
            send_request(l, l->senders[i], p->first, p->intended);
        }
    }
}

static void open_sender(struct load *l, uint64_t slot) {
    int fd = wire_connect(l->task.port);
    struct peer *p = load_watch(l, fd, ROLE_SENDER);
    wire_init(&p->wire, fd, l->task.tls ? l->client : NULL, true);
    l->senders[slot] = fd;
}

static void on_answer(struct load *l, struct peer *p, const struct wire_message *m) {
    const struct task *t = &l->task;
    uint64_t end = t->begin + t->events;
    uint64_t count = end - p->first < t->batch ? end - p->first : t->batch;
    p->busy = false;
    if (m->status == 503 || m->status == 429) {
        l->refused++;
        p->paused = true;
        p->resume = l->now + PAUSE_NS;
        l->n_paused++;
        return;
    }
    l->idle[l->n_idle++] = p->wire.fd;
    l->task.left--;
    if (m->status != 202) {
        if (l->errors++ == 0) {
            fprintf(stderr, "load: refused: %.*s\n", (int)(m->head_len + m->body_len), m->head);
        }
        return;
    }
    const char *reported = memmem(m->body, m->body_len, "\"duplicates\":", 13);
    l->reported += reported != NULL ? load_number(reported + 13) : 0;
    l->accepted += count;
    for (uint64_t i = p->first; i < p->first + count; i++) {
        l->state[i] |= EVENT_ACCEPTED;
        l->owed += (l->state[i] & EVENT_OWED) != 0;
    }
    if (p->first - t->begin >= t->warmup) {
        histogram_record(&l->answer, load_clock_ns() - p->intended);
    }
}

/* A connection that breaks with a request under way: the request is sent again on a new one. */
static void on_sender_lost(struct load *l, int fd) {
    struct peer *p = l->peers[fd];
    bool busy = p->busy || p->paused, active = l->task.active;
    uint64_t first = p->first, intended = p->intended, slot = 0;
    l->n_paused -= p->paused;
    for (uint64_t i = 0; i < l->n_idle; i++) {
        if (l->idle[i] == fd) {
            l->idle[i--] = l->idle[--l->n_idle];
        }
    }
    while (slot < l->n_senders && l->senders[slot] != fd) {
        slot++;
    }
    load_drop(l, fd);
    if (slot < l->n_senders) {
        l->senders[slot] = -1;
    }
    if (active && slot < l->n_senders) {
        l->errors += busy;
        open_sender(l, slot);
        p = l->peers[l->senders[slot]];
        p->first = first;
        p->intended = intended;
        p->paused = busy;
        p->resume = l->now + 50 * (uint64_t)PAUSE_NS;
        l->n_paused += busy;
        if (!busy) {
            l->idle[l->n_idle++] = l->senders[slot];
        }
    }
}

void load_on_sender(struct load *l, int fd) {
    struct peer *p = l->peers[fd];
    struct wire_message m;
    wire_flush(&p->wire);
    wire_read(&p->wire);
    while (wire_next(&p->wire, &m)) {
        on_answer(l, p, &m);
        wire_drop(&p->wire, &m);
    }
    if (p->wire.closed) {
        on_sender_lost(l, fd);
    }
}

void load_send_begin(struct load *l) {
    struct task *t = &l->task;
    bool keep = t->keep && l->senders_port == t->port && l->senders_tls == t->tls;
    uint64_t kept = keep && l->n_senders <= t->connections ? l->n_senders : 0;
    for (uint64_t i = kept; i < l->n_senders; i++) {
        if (l->senders[i] >= 0) {
            load_drop(l, l->senders[i]);
        }
    }
    make_template(l, t);
    l->n_paused = 0;
    l->n_senders = l->n_idle = t->connections;
    l->senders_port = t->port;
    l->senders_tls = t->tls;
    for (uint64_t i = 0; i < t->connections; i++) {
        if (i >= kept || l->senders[i] < 0) {
            open_sender(l, i);
        }
        l->idle[i] = l->senders[i];
    }
}
