/* Load generator and receiver in one process and one thread, so that both ends share a clock.
 *
 * The sender keeps N connections busy (closed loop) or sends at a fixed rate (open loop), where
 * latency counts from the moment a request was meant to leave, not from when it could. Each event
 * carries its number in its id; the receiver finds the numbers in what is delivered to it, so that
 * every loss and every duplicate is seen exactly, and measures from the intended moment to arrival.
 * What is posted to / it answers as AWS does: AssumeRole of STS and PutRecords of Kinesis.
 *
 * It is led by lines on standard input and answers each with one line of JSON:
 *
 * - `send port=P path=/v1/events token=T events=N [connections=64] [batch=1] [size=1024] [rate=0]
 *   [window=0] [types=1] [type=0] [bad_types=0] [warmup=0] [tls=0] [keep=0]`: returns when all are
 *   answered. keep=1 goes on with the connections of the task before.
 *
 * - `drain seconds=S`: returns when all is delivered, or nothing that was owed came for S seconds.
 *
 * - `hold seconds=S`: the receiver answers 503 with Retry-After for that long, then 200.
 *
 * - `bad kind=none|hang|trickle|reset|fail|mixed`: what paths that begin with /bad/ meet; mixed:
 * the number behind that, modulo four, picks one of the kinds.
 *
 * - `reset`: begins the counts anew; what was sent before no longer counts. `quit`.
 *
 * With window=W no request leaves while W events are sent and not delivered: the closed loop then
 * goes round the whole path, and a queue that only grows cannot pass for throughput. An event's
 * type is bench.tNNNNN, NNNNN = type + number modulo types; events of the first bad_types are owed
 * to destinations that misbehave and are not waited for.
 *
 * bench_load [--listen PORT] [--cert FILE --key FILE] [--ca FILE] prints `ready port=…`.
 */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

_Noreturn void load_die(const char *what) {
    perror(what);
    _exit(1);
}

uint64_t load_clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

uint64_t load_number(const char *text) {
    uint64_t n = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        n = n * 10 + (uint64_t)(*text - '0');
    }
    return n;
}

struct peer *load_watch(struct load *l, int fd, enum role role) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (fd >= FD_MAX) {
        errno = EMFILE;
        load_die("connections");
    }
    if (role == ROLE_SENDER || role == ROLE_RECEIVER) {
        event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    }
    l->peers[fd] = calloc(1, sizeof *l->peers[fd]);
    if (l->peers[fd] == NULL || epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        load_die("watch");
    }
    l->peers[fd]->role = role;
    return l->peers[fd];
}

void load_drop(struct load *l, int fd) {
    wire_done(&l->peers[fd]->wire);
    free(l->peers[fd]);
    l->peers[fd] = NULL;
}

/* ---- results ----------------------------------------------------------------------------------
 */

static void report_latency(const char *name, const struct histogram *h) {
    printf(
        ",\"%s\":{\"count\":%llu,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f}",
        name, (unsigned long long)h->count, (double)histogram_at(h, 500) / 1e3,
        (double)histogram_at(h, 990) / 1e3, (double)histogram_at(h, 999) / 1e3,
        (double)h->max / 1e3);
}

static void report(struct load *l) {
    uint64_t lost = 0;
    for (uint64_t i = l->base; i < l->n_events; i++) {
        lost += (l->state[i] & (EVENT_ACCEPTED | EVENT_OWED)) == (EVENT_ACCEPTED | EVENT_OWED) &&
                l->seen[i] == 0;
    }
    double seconds = (double)(l->now - l->task.started) / 1e9;
    printf(
        "{\"seconds\":%.6f,\"accepted\":%llu,\"refused\":%llu,\"errors\":%llu,"
        "\"reported_duplicates\":%llu,\"delivered\":%llu,\"outstanding\":%llu,\"duplicates\":%llu,"
        "\"unknown\":%llu,\"requests\":%llu,\"held\":%llu,"
        "\"puts\":%llu,\"records\":%llu",
        seconds, (unsigned long long)l->accepted, (unsigned long long)l->refused,
        (unsigned long long)l->errors, (unsigned long long)l->reported,
        (unsigned long long)l->delivered, (unsigned long long)lost,
        (unsigned long long)l->duplicates, (unsigned long long)l->unknown,
        (unsigned long long)l->requests, (unsigned long long)l->held, (unsigned long long)l->puts,
        (unsigned long long)l->records);
    report_latency("answer", &l->answer);
    report_latency("delivery", &l->delivery);
    puts("}");
    fflush(stdout);
}

static void reset(struct load *l) {
    l->base = l->n_events;
    l->accepted = l->owed = l->delivered = l->duplicates = l->unknown = l->refused = 0;
    l->errors = l->requests = l->held = l->reported = l->puts = l->records = 0;
    histogram_reset(&l->answer);
    histogram_reset(&l->delivery);
}

/* ---- commands ---------------------------------------------------------------------------------
 */

/* The value of key= in a line, up to the next blank; text where it is absent. */
static const char *word(const char *line, const char *key, const char *otherwise, char *out,
                        size_t size) {
    char wanted[32];
    snprintf(wanted, sizeof wanted, " %s=", key);
    const char *at = strstr(line, wanted);
    snprintf(out, size, "%s", otherwise);
    if (at != NULL) {
        at += strlen(wanted);
        size_t len = strcspn(at, " ");
        snprintf(out, size, "%.*s", (int)(len < size ? len : size - 1), at);
    }
    return out;
}

static uint64_t value(const char *line, const char *key, uint64_t otherwise) {
    char text[32];
    word(line, key, "", text, sizeof text);
    return text[0] == '\0' ? otherwise : load_number(text);
}

static void begin_send(struct load *l, const char *line) {
    struct task *t = &l->task;
    word(line, "path", "/v1/events", t->path, sizeof t->path);
    word(line, "token", "none", t->token, sizeof t->token);
    t->port = (int)value(line, "port", 0);
    t->events = value(line, "events", 1000);
    t->connections = value(line, "connections", 64);
    t->batch = value(line, "batch", 1);
    t->size = value(line, "size", 1024);
    t->rate = value(line, "rate", 0);
    t->window = value(line, "window", 0);
    t->types = value(line, "types", 1);
    t->type = value(line, "type", 0);
    t->bad_types = value(line, "bad_types", 0);
    t->warmup = value(line, "warmup", 0);
    t->tls = value(line, "tls", 0) != 0;
    t->keep = value(line, "keep", 0) != 0;
    if (t->connections > CONNECTIONS_MAX || t->connections == 0 || t->batch == 0 ||
        t->batch > BATCH_MAX || t->types == 0 || l->n_events + t->events > EVENTS_MAX) {
        fputs("load: a value of send is out of range\n", stderr);
        _exit(2);
    }
    t->begin = t->next = l->n_events;
    t->left = (t->events + t->batch - 1) / t->batch;
    l->n_events += t->events;
    load_send_begin(l);
    t->active = true;
    t->started = load_clock_ns();
}

static void command(struct load *l, const char *line) {
    char kind[16];
    if (strncmp(line, "send ", 5) == 0) {
        begin_send(l, line);
        return;
    }
    if (strncmp(line, "drain", 5) == 0) {
        l->draining = true;
        l->drain_ns = value(line, "seconds", 5) * 1000000000U;
        l->last_arrival = load_clock_ns();
        return;
    }
    if (strncmp(line, "hold", 4) == 0) {
        l->hold_until = load_clock_ns() + value(line, "seconds", 0) * 1000000000U;
    } else if (strncmp(line, "bad", 3) == 0) {
        word(line, "kind", "none", kind, sizeof kind);
        l->badness = strcmp(kind, "hang") == 0      ? BAD_HANG
                     : strcmp(kind, "trickle") == 0 ? BAD_TRICKLE
                     : strcmp(kind, "reset") == 0   ? BAD_RESET
                     : strcmp(kind, "fail") == 0    ? BAD_FAIL
                     : strcmp(kind, "mixed") == 0   ? BAD_MIXED
                                                    : BAD_NONE;
    } else if (strcmp(line, "reset") == 0) {
        reset(l);
    } else if (strcmp(line, "quit") == 0) {
        _exit(0);
    } else {
        fprintf(stderr, "load: unknown command: %s\n", line);
        _exit(2);
    }
    report(l);
}

static void on_command(struct load *l) {
    ssize_t n = read(0, l->line + l->line_len, sizeof l->line - l->line_len - 1);
    if (n <= 0) {
        _exit(0);
    }
    l->line_len += (size_t)n;
    for (;;) {
        char *end = memchr(l->line, '\n', l->line_len);
        if (end == NULL) {
            return;
        }
        *end = '\0';
        command(l, l->line);
        size_t used = (size_t)(end + 1 - l->line);
        memmove(l->line, end + 1, l->line_len - used);
        l->line_len -= used;
    }
}

/* Ends the command under way when its time has come. */
static void settle(struct load *l) {
    if (l->task.active && l->task.left == 0) {
        l->task.active = false;
        report(l);
    }
    if (l->draining && (l->delivered >= l->owed || l->now > l->last_arrival + l->drain_ns)) {
        l->draining = false;
        report(l);
    }
}

/* ---- the loop ---------------------------------------------------------------------------------
 */

static void dispatch(struct load *l, int fd) {
    struct peer *p = l->peers[fd];
    switch (p == NULL ? ROLE_NONE : p->role) {
    case ROLE_LISTEN:
        load_on_listen(l, fd);
        break;
    case ROLE_COMMAND:
        on_command(l);
        break;
    case ROLE_SENDER:
        load_on_sender(l, fd);
        break;
    case ROLE_RECEIVER:
        load_on_receiver(l, fd);
        break;
    case ROLE_NONE:
        break;
    }
}

static void run(struct load *l) {
    static struct epoll_event events[512];
    for (;;) {
        bool ticking =
            l->draining || l->n_paused > 0 || l->badness == BAD_TRICKLE || l->badness == BAD_MIXED;
        struct timespec wait = {.tv_nsec = 1000000};
        l->now = load_clock_ns();
        load_send_resume(l);
        load_trickle(l);
        load_send_due(l);
        settle(l);
        if (l->task.active && l->task.rate > 0 && l->n_idle > 0 &&
            l->task.next < l->task.begin + l->task.events) {
            uint64_t due =
                l->task.started + (l->task.next - l->task.begin) * 1000000000U / l->task.rate;
            wait.tv_nsec = due > l->now ? (long)(due - l->now) : 0;
            wait.tv_nsec = wait.tv_nsec > 1000000 ? 1000000 : wait.tv_nsec;
            ticking = true;
        }
        int n = epoll_pwait2(l->epoll, events, 512, ticking ? &wait : NULL, NULL);
        if (n < 0 && errno != EINTR) {
            load_die("epoll");
        }
        l->now = load_clock_ns();
        for (int i = 0; i < n; i++) {
            dispatch(l, events[i].data.fd);
        }
    }
}

static SSL_CTX *tls(bool client, const char *cert, const char *key, const char *ca) {
    SSL_CTX *ctx = SSL_CTX_new(client ? TLS_client_method() : TLS_server_method());
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1); /* one recv for a message, not one for each part of a record */
    if (client && SSL_CTX_load_verify_locations(ctx, ca, NULL) == 1) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        return ctx;
    }
    if (!client && SSL_CTX_use_certificate_chain_file(ctx, cert) == 1 &&
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) == 1) {
        return ctx;
    }
    fputs("load: cannot read the certificate, key or CA file\n", stderr);
    _exit(2);
}

static void *table(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        load_die("memory");
    }
    return memory;
}

int main(int argc, char **argv) {
    static struct load l;
    const char *cert = NULL, *key = NULL, *ca = NULL;
    struct rlimit files;
    uint32_t salt;
    int port = 0;

    for (int i = 1; i + 1 < argc; i += 2) {
        cert = strcmp(argv[i], "--cert") == 0 ? argv[i + 1] : cert;
        key = strcmp(argv[i], "--key") == 0 ? argv[i + 1] : key;
        ca = strcmp(argv[i], "--ca") == 0 ? argv[i + 1] : ca;
        port = strcmp(argv[i], "--listen") == 0 ? (int)load_number(argv[i + 1]) : port;
    }
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < FD_MAX ? files.rlim_max : FD_MAX;
    setrlimit(RLIMIT_NOFILE, &files);
    if (getrandom(&salt, sizeof salt, 0) != sizeof salt) {
        load_die("random");
    }
    snprintf(l.run, sizeof l.run, "%08x", salt);
    snprintf(l.needle, sizeof l.needle, "\"id\":\"b%s-", l.run);
    l.intended = table(EVENTS_MAX * sizeof *l.intended);
    l.state = table(EVENTS_MAX);
    l.seen = table(EVENTS_MAX);
    l.server = cert != NULL && key != NULL ? tls(false, cert, key, NULL) : NULL;
    l.client = ca != NULL ? tls(true, NULL, NULL, ca) : NULL;
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    load_watch(&l, wire_listen(port, &port), ROLE_LISTEN);
    load_watch(&l, 0, ROLE_COMMAND);
    printf("ready port=%d\n", port);
    fflush(stdout);
    run(&l);
}
