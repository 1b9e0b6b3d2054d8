/* The yardstick: a bare gateway that does the least a durable one can do, as cheaply as C can.
 *
 * It receives POST requests, appends their bodies, answers 202 after fdatasync, sends each body on
 * as a signed POST over kept connections, and appends a mark when it was delivered. It parses no
 * JSON, has no rules, no TLS, no retries, no recovery. What the product costs is told as a ratio to
 * this program in the same run, because machines differ.
 *
 * One thread, one epoll. A turn reads every ready connection, appends what came to a group, writes
 * and syncs the group once, then answers all of it: groups form by themselves while a sync runs. An
 * event costs four system calls (recv, send, send, recv), a group three more (wait, write, sync).
 * Memory is taken at the start: one buffer per connection and a ring that is the image of the file,
 * zero-filled and synced before use; a body stays in the ring until it is delivered. Bodies are
 * opaque, so a batch goes through as it came. A full ring answers 503.
 *
 *   bench_floor FILE RECEIVER_PORT URL_PATH [CONNECTIONS]    prints `ready port=…`; SIGTERM ends it
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    RING_BYTES = 64 << 20,
    BODY_MAX = 256 << 10,
    HEAD_MAX = 4 << 10,
    FD_MAX = 4096,
    OUT_MAX = 1024,
    QUEUE = 1 << 16, /* records that wait for delivery; a power of two */
    OUTCOME_DELAY_MS = 20,
};

enum role { ROLE_NONE = 0, ROLE_LISTEN, ROLE_STOP, ROLE_IN, ROLE_OUT };

struct record {
    uint64_t at; /* position in the ring, ever growing */
    uint32_t len;
    bool done;
};

struct conn {
    enum role role;
    uint32_t have;
    uint64_t sending; /* ROLE_OUT: the record under way, by its number in the queue */
    char *buf;
};

struct floor {
    int epoll, file, idle[OUT_MAX];
    unsigned n_idle, n_waiting;
    struct conn conn[FD_MAX];
    int waiting[FD_MAX]; /* connections that this group answers */
    char *ring;
    uint64_t head, tail, synced; /* ring positions: appended, released, on disk */
    /* numbers in the queue: oldest not delivered, next to send, end of what is on disk, next free
     */
    uint64_t oldest, first, ready, last;
    struct record queue[QUEUE];
    uint64_t events, groups, refused, delivered;
    EVP_MD *sha;
    EVP_MD_CTX *digest;
    char out_head[512], date[24];
    const char *sign_head;
    time_t second;
};

static void die(const char *what) {
    perror(what);
    _exit(1);
}

static int number(const char *text) {
    int n = 0;
    for (; *text >= '0' && *text <= '9' && n < 1000000; text++) {
        n = n * 10 + (*text - '0');
    }
    return n;
}

static void check(int result, const char *what) {
    if (result < 0) {
        die(what);
    }
}

static void watch(struct floor *f, int fd, enum role role) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (fd >= FD_MAX) {
        errno = EMFILE;
        die("connections");
    }
    f->conn[fd].role = role;
    f->conn[fd].have = 0;
    if (f->conn[fd].buf == NULL) {
        f->conn[fd].buf = malloc(BODY_MAX + HEAD_MAX);
    }
    check(epoll_ctl(f->epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

/* Appends bytes to the group that is open; a record never wraps. False when the ring is full. */
static bool append(struct floor *f, const void *bytes, uint32_t len, uint64_t *ret_at) {
    uint64_t left = RING_BYTES - f->head % RING_BYTES;
    uint64_t at = len > left ? f->head + left : f->head;
    if (at + len - f->tail > RING_BYTES) {
        return false;
    }
    memcpy(f->ring + at % RING_BYTES, bytes, len);
    f->head = at + len;
    *ret_at = at;
    return true;
}

static void answer(int fd, const char *text, size_t len) {
    if (send(fd, text, len, MSG_NOSIGNAL) != (ssize_t)len) {
        die("answer");
    }
}

static void sign(struct floor *f, const struct record *r, char ret_hex[64]) {
    unsigned char hash[32];
    EVP_DigestInit_ex2(f->digest, f->sha, NULL);
    EVP_DigestUpdate(f->digest, f->sign_head, strlen(f->sign_head));
    EVP_DigestUpdate(f->digest, f->ring + r->at % RING_BYTES, r->len);
    EVP_DigestFinal_ex(f->digest, hash, NULL);
    for (int i = 0; i < 32; i++) {
        ret_hex[2 * i] = "0123456789abcdef"[hash[i] >> 4];
        ret_hex[2 * i + 1] = "0123456789abcdef"[hash[i] & 15];
    }
}

/* Sends what is on disk over the connections that are idle. */
static void deliver(struct floor *f) {
    while (f->first < f->ready && f->n_idle > 0) {
        int fd = f->idle[--f->n_idle];
        const struct record *r = &f->queue[f->first % QUEUE];
        char hex[64], tail[256];
        sign(f, r, hex);
        int n = snprintf(tail, sizeof tail,
                         "%.64s\r\nkore-idempotency-token: 00000000-0000-8000-8000-%012llx\r\n"
                         "date: %s\r\ncontent-length: %u\r\n\r\n",
                         hex, (unsigned long long)f->first, f->date, r->len);
        struct iovec iov[3] = {{f->out_head, strlen(f->out_head)},
                               {tail, (size_t)n},
                               {f->ring + r->at % RING_BYTES, r->len}};
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = 3};
        f->conn[fd].sending = f->first++;
        if (sendmsg(fd, &message, MSG_NOSIGNAL) < (ssize_t)r->len + n) {
            die("send"); /* a blocking socket takes all of it or is broken */
        }
    }
}

static void on_response(struct floor *f, int fd) {
    struct conn *c = &f->conn[fd];
    ssize_t n = recv(fd, c->buf, HEAD_MAX, 0);
    if (n < 12 || memcmp(c->buf, "HTTP/1.1 2", 10) != 0) {
        die("the receiver's response");
    }
    uint64_t at;
    append(f, &c->sending, sizeof c->sending, &at); /* the mark: delivered */
    f->queue[c->sending % QUEUE].done = true;
    f->delivered++;
    f->idle[f->n_idle++] = fd;
    while (f->oldest < f->first && f->queue[f->oldest % QUEUE].done) {
        f->oldest++;
    }
    uint64_t owed = f->oldest < f->last ? f->queue[f->oldest % QUEUE].at : f->synced;
    f->tail = owed < f->synced ? owed : f->synced;
}

/* Takes the whole requests that a connection holds; the rest stays for the next turn. */
static void on_request(struct floor *f, int fd) {
    struct conn *c = &f->conn[fd];
    ssize_t n = recv(fd, c->buf + c->have, BODY_MAX + HEAD_MAX - c->have, 0);
    if (n <= 0) {
        c->role = ROLE_NONE;
        close(fd);
        return;
    }
    c->have += (uint32_t)n;
    char *end = memmem(c->buf, c->have, "\r\n\r\n", 4);
    char *length =
        end != NULL ? memmem(c->buf, (size_t)(end - c->buf), "content-length: ", 16) : NULL;
    if (length == NULL) {
        return;
    }
    uint32_t body = 0;
    for (const char *p = length + 16; *p >= '0' && *p <= '9'; p++) {
        body = body * 10 + (uint32_t)(*p - '0');
    }
    end += 4;
    if (body > BODY_MAX || c->have < (uint32_t)(end - c->buf) + body) {
        return;
    }
    c->have = 0; /* these peers do not pipeline */
    struct record *r = &f->queue[f->last % QUEUE];
    if (f->last - f->oldest == QUEUE || !append(f, end, body, &r->at)) {
        static const char full[] =
            "HTTP/1.1 503 Full\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
        answer(fd, full, sizeof full - 1);
        f->refused++;
        return;
    }
    r->len = body;
    r->done = false;
    f->last++;
    f->waiting[f->n_waiting++] = fd;
    f->events++;
}

/* Writes and syncs what was appended, then answers those who wait for it. */
static void commit(struct floor *f) {
    static const char done[] = "HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\n"
                               "content-length: 43\r\n\r\n"
                               "{\"accepted\":1,\"duplicates\":0,\"events\":[{}]}";
    uint64_t from = f->synced % RING_BYTES, len = f->head - f->synced;
    if (from + len > RING_BYTES) {
        if (pwrite(f->file, f->ring, from + len - RING_BYTES, 0) < 0) {
            die("write");
        }
        len = RING_BYTES - from;
    }
    if (len > 0 && pwrite(f->file, f->ring + from, len, (off_t)from) != (ssize_t)len) {
        die("write");
    }
    check(fdatasync(f->file), "fdatasync");
    f->groups++;
    f->synced = f->head;
    f->ready = f->last;
    for (unsigned i = 0; i < f->n_waiting; i++) {
        answer(f->waiting[i], done, sizeof done - 1);
    }
    f->n_waiting = 0;
}

static void turn(struct floor *f, const struct epoll_event *events, int n) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != f->second) {
        struct tm tm;
        f->second = now.tv_sec;
        strftime(f->date, sizeof f->date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&f->second, &tm));
    }
    for (int i = 0; i < n; i++) {
        int fd = events[i].data.fd, one = 1, other;
        switch (f->conn[fd].role) {
        case ROLE_LISTEN:
            other = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
            check(other, "accept");
            setsockopt(other, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            watch(f, other, ROLE_IN);
            break;
        case ROLE_STOP:
            printf("events=%llu groups=%llu refused=%llu delivered=%llu\n",
                   (unsigned long long)f->events, (unsigned long long)f->groups,
                   (unsigned long long)f->refused, (unsigned long long)f->delivered);
            fflush(stdout);
            _exit(0);
        case ROLE_IN:
            on_request(f, fd);
            break;
        case ROLE_OUT:
            on_response(f, fd);
            break;
        case ROLE_NONE:
            break;
        }
    }
    if (f->n_waiting > 0 || (n == 0 && f->head > f->synced)) {
        commit(f);
    }
    deliver(f);
}

static void start(struct floor *f, const char *path, const char *url_path, int port, int n_out) {
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in peer = any;
    socklen_t size = sizeof any;
    int one = 1, buffer = 4 << 20, listener = socket(AF_INET, SOCK_STREAM, 0);
    sigset_t stop;
    static char url[256];

    peer.sin_port = htons((uint16_t)port);
    snprintf(url, sizeof url, "0123456789abcdef0123456789abcdefPOSThttp://127.0.0.1:%d%s", port,
             url_path);
    f->sign_head = url;
    snprintf(f->out_head, sizeof f->out_head,
             "POST %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nuser-agent: KoreProxy/1.1\r\n"
             "content-type: application/json; charset=utf-8\r\nkore-signature: ",
             url_path, port);
    f->sha = EVP_MD_fetch(NULL, "SHA256", NULL);
    f->digest = EVP_MD_CTX_new();
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    f->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    f->ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(f->file, path);
    if (f->ring == MAP_FAILED || pwrite(f->file, f->ring, RING_BYTES, 0) != RING_BYTES ||
        fdatasync(f->file) != 0) {
        die("zero-fill");
    }
    for (int i = 0; i < n_out; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        check(connect(fd, (struct sockaddr *)&peer, sizeof peer), "connect to the receiver");
        watch(f, fd, ROLE_OUT);
        f->idle[f->n_idle++] = fd;
    }
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    check(bind(listener, (struct sockaddr *)&any, sizeof any), "bind");
    check(listen(listener, 1024), "listen");
    check(getsockname(listener, (struct sockaddr *)&any, &size), "getsockname");
    watch(f, listener, ROLE_LISTEN);
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    watch(f, signalfd(-1, &stop, SFD_CLOEXEC), ROLE_STOP);
    printf("ready port=%d\n", ntohs(any.sin_port));
    fflush(stdout);
}

int main(int argc, char **argv) {
    static struct floor f;
    static struct epoll_event events[256];
    if (argc < 4) {
        fputs("usage: bench_floor FILE RECEIVER_PORT URL_PATH [CONNECTIONS]\n", stderr);
        return 2;
    }
    int n_out = argc > 4 ? number(argv[4]) : 64;
    start(&f, argv[1], argv[3], number(argv[2]), n_out > OUT_MAX ? OUT_MAX : n_out);
    for (;;) {
        int n = epoll_wait(f.epoll, events, 256, f.head > f.synced ? OUTCOME_DELAY_MS : -1);
        if (n >= 0 || errno != EINTR) {
            check(n, "epoll_wait");
            turn(&f, events, n);
        }
    }
}
