/* The inside of the HTTP server: what server.c, connection.c and exchange.c share. Nobody else
 * includes it. All on the thread of the server's loop.
 *
 * Ownership: server → connections → exchanges. Exchanges and buffers are recycled by the server, so
 * that a request on a kept connection allocates nothing and an idle connection holds nothing. */
#ifndef MR_HTTP_CONNECTION_H
#define MR_HTTP_CONNECTION_H

#include "http/server.h"

#define HTTP_PIPELINE_MAX      16
#define HTTP_DROPPED_BODY_MAX  ((size_t)65536)    /* of a body that nobody asked for */
#define HTTP_LINGER_BYTES_MAX  ((size_t)16 << 20) /* dropped after the last answer */
#define HTTP_LINGER_MS         2000
#define HTTP_UNSENT_SOFT_MAX   ((size_t)262144)  /* no new request while more than this is unsent */
#define HTTP_ANSWERS_BYTES_MAX ((size_t)1 << 28) /* of one connection */
#define HTTP_SPARE_BUFS        32
#define HTTP_SPARE_BUF_SIZE    ((size_t)16384)
#define HTTP_SPARE_EXCHANGES   64

/* Connections per address; open addressing, no deletion marks (see addresses.c). */
struct http_addresses {
    struct http_address *slots;
    size_t mask; /* number of slots - 1 */
    uint64_t seed;
};
/* For n_max different addresses. MR_E_NOMEM. */
mr_err http_addresses_init(struct http_addresses *addresses, size_t n_max, uint64_t seed);
void http_addresses_done(struct http_addresses *addresses);
/* Counts one more; false (nothing counted) where max are there already. */
bool http_addresses_enter(struct http_addresses *addresses, const os_addr *peer, size_t max);
void http_addresses_leave(struct http_addresses *addresses, const os_addr *peer);

struct http_server {
    struct loop *loop;
    struct stream_shared *shared;
    const struct http_handler *handler;
    void *ctx;
    const mr_log *log;
    struct http_server_options options;
    struct loop_io listener;
    struct loop_timer accept_timer; /* after descriptors ran out */
    struct loop_task stopped_task;
    void (*on_stopped)(void *ctx);
    void *stopped_ctx;
    struct http_addresses addresses;
    mr_list connections;
    size_t n_connections;
    size_t body_bytes; /* memory of bodies being read */
    bool is_paused, is_stopping, is_full, is_out_of_descriptors;
    int64_t date_second;
    size_t date_len;
    char date[MR_TIME_TEXT_SIZE];
    mr_list spare_exchanges;
    size_t n_spare_exchanges;
    mr_buf spare_bufs[HTTP_SPARE_BUFS];
    size_t n_spare_bufs;
    struct http_head head; /* of the request being parsed */
};

/* What a connection does with its input. */
enum http_phase {
    HTTP_PHASE_HEAD = 0, /* waits for a request, or has part of a head */
    HTTP_PHASE_BODY,     /* collects the body for `reading` */
    HTTP_PHASE_DROP,     /* reads over a body that nobody wants */
    HTTP_PHASE_LAST,     /* no further request; what comes is dropped */
    HTTP_PHASE_LINGER,   /* all is sent, FIN too; waits for the peer's end */
};

struct http_connection {
    struct stream stream;
    struct http_server *server;
    mr_list node;
    os_addr peer;
    enum http_phase phase;
    bool is_stalled; /* input paused: pipeline or output full, or the server pauses */
    bool is_broken;  /* to be closed by the next flush */
    bool is_dirty;   /* input was given up in the middle: linger before closing */
    bool peer_ended; /* no further input */
    bool has_partial_head;
    bool was_used; /* a request came before */
    struct http_scan scan;
    struct http_body body_reader;
    mr_buf body;
    struct exchange *reading; /* whose body is collected or dropped; NULL when it is answered */
    size_t dropped;
    uint64_t body_received; /* since read_since */
    mr_list exchanges;      /* in order of arrival */
    size_t n_exchanges;
    mr_buf out;
    size_t out_at;
    uint64_t sent;       /* since write_since */
    mr_mono read_since;  /* accept, last answer, first byte of the head, start of the body, or when
                            more of it had come than the least rate asks for */
    mr_mono write_since; /* when out became non-empty, or had last gone faster than it must */
    mr_mono timer_due;
    struct loop_timer timer;
    struct loop_task flush;
};

struct exchange {
    struct http_exchange pub; /* first */
    struct http_connection *conn;
    mr_list node;
    mr_buf out; /* answer bytes before its turn; empty while it is the first */
    size_t body_max;
    bool in_on_head; /* on_head runs */
    bool owes_end;   /* the handler knows it: on_end is due */
    bool wants_body;
    bool is_private; /* so is its body's memory */
    bool owes_continue;
    bool keep_alive;
    bool is_done;    /* the answer is complete */
    bool is_started; /* a streaming answer began */
    bool is_chunked;
    bool is_mute; /* no body goes out: HEAD, 204, 304 */
    bool wants_drain;
    bool closes; /* the connection ends after this answer */
};

/* connection.c */
void http_connection_open(struct http_server *server, int fd, const os_addr *peer);
/* Ends everything now: exchanges get on_end (is_lost). Frees. */
void http_connection_close(struct http_connection *conn);
/* No further request; closes when what is under way is answered, at once where nothing is. */
void http_connection_retire(struct http_connection *conn);
void http_connection_stall(struct http_connection *conn);
/* Reads on where nothing stands against it. */
void http_connection_unstall(struct http_connection *conn);
bool http_connection_is_between_requests(const struct http_connection *conn);
static inline size_t http_connection_unsent(const struct http_connection *conn) {
    return conn->out.len - conn->out_at + stream_pending(&conn->stream);
}

/* exchange.c */
/* At the end of the connection's list. NULL without memory. */
struct exchange *http_exchange_begin(struct http_connection *conn);
/* Fills it from a parsed head; MR_E_NOMEM. */
mr_err http_exchange_fill(struct exchange *ex, const struct http_head *head, mr_str head_bytes);
/* Off the list: on_end where it is owed, then recycled. */
void http_exchange_end(struct exchange *ex, bool is_lost);
/* Answers in the engine's name and closes after it; the handler's answer is ignored from now on. */
void http_exchange_refuse(struct exchange *ex, int status, const char *reason);
/* Appends an interim 100, now or when its turn comes. */
void http_exchange_continue(struct exchange *ex);
/* It became the first: what it holds goes out. */
void http_exchange_promote(struct exchange *ex);
void http_exchange_free_memory(struct exchange *ex);

/* server.c */
/* Memory for answers: a spare one or an empty one. */
mr_buf http_server_take_buf(struct http_server *server);
void http_server_give_buf(struct http_server *server, mr_buf *buf);
void http_server_on_closed(struct http_server *server, const os_addr *peer);
mr_str http_server_date(struct http_server *server);

#endif
