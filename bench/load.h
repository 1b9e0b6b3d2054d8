/* What the parts of the load generator share: its state, and who calls whom. load.c owns the loop
 * and the commands, load_send.c the sender, load_receive.c the receiver, load_stream.c
 * the receiver of streams; one thread runs all. */
#ifndef MR_BENCH_LOAD_H
#define MR_BENCH_LOAD_H

#include "histogram.h"
#include "wire.h"

enum {
    EVENTS_MAX = 1 << 26,
    FD_MAX = 1 << 16,
    CONNECTIONS_MAX = 4096,
    BATCH_MAX = 1000,
    TRICKLE_NS = 200000000, /* between two bytes on one connection */
    TRICKLE_TURNS = 200,    /* connections take turns: not all bytes leave at once */
    PAUSE_NS = 5000000,     /* before a refused request is sent again */
};

enum role { ROLE_NONE = 0, ROLE_LISTEN, ROLE_COMMAND, ROLE_SENDER, ROLE_RECEIVER };
enum badness { BAD_NONE = 0, BAD_HANG, BAD_TRICKLE, BAD_RESET, BAD_FAIL, BAD_MIXED };
enum { EVENT_OWED = 1, EVENT_SENT = 2, EVENT_ACCEPTED = 4 };

struct peer {
    struct wire wire;
    enum role role;
    /* sender: the request under way */
    bool busy, paused;
    bool trickling;    /* receiver: a response goes out byte by byte */
    uint64_t first;    /* number of its first event */
    uint64_t intended; /* ns */
    uint64_t resume;   /* ns, when paused */
};

/* One `send` command and what has become of it. */
struct task {
    bool active;
    int port;
    char path[128], token[4096];
    uint64_t events, connections, batch, size, rate, window, types, type, bad_types, warmup;
    bool tls, keep;
    uint64_t begin; /* number of its first event */
    uint64_t next;  /* number of the next one to send */
    uint64_t left;  /* requests not yet answered for good */
    uint64_t started;
    char *template;
    size_t id_at, type_at;
};

struct load {
    int epoll;
    struct peer *peers[FD_MAX];
    SSL_CTX *server, *client;
    char run[9], needle[24];
    uint64_t *intended; /* by event number */
    uint8_t *state, *seen;
    uint64_t n_events, base; /* numbers below base no longer count */
    int idle[CONNECTIONS_MAX], senders[CONNECTIONS_MAX];
    uint64_t n_idle, n_senders, n_paused;
    int senders_port; /* where the senders lead; one that is lost between tasks is -1 */
    bool senders_tls;
    struct task task;
    bool draining;
    uint64_t drain_ns, now, hold_until, last_arrival;
    enum badness badness;
    uint64_t trickle_at; /* when the next turn's bytes are due */
    int trickle_turn;
    uint64_t accepted, owed, delivered, duplicates, unknown, refused, errors, requests, held,
        reported, puts, records;
    struct histogram answer, delivery;
    char line[8192];
    size_t line_len;
};

/* load.c: the end of the process where the system refuses; the clock; digits; connections. */
_Noreturn void load_die(const char *what);
uint64_t load_clock_ns(void);
uint64_t load_number(const char *text);
/* Makes fd a watched peer; FD_MAX bounds their number. */
struct peer *load_watch(struct load *l, int fd, enum role role);
void load_drop(struct load *l, int fd);

/* load_send.c: opens the task's connections; what is due leaves at each turn. */
void load_send_begin(struct load *l);
void load_send_due(struct load *l);
void load_send_resume(struct load *l);
void load_on_sender(struct load *l, int fd);

/* load_receive.c; load_count: the event of that number arrived. */
void load_count(struct load *l, uint64_t event, uint64_t now);
void load_on_listen(struct load *l, int listener);
void load_on_receiver(struct load *l, int fd);
/* Sends the bytes that are due on trickling connections. */
void load_trickle(struct load *l);

/* load_stream.c: answers what AWS would; false: the request is for no stream. */
bool load_on_stream(struct load *l, struct peer *p, const struct wire_message *m, uint64_t now);

#endif
