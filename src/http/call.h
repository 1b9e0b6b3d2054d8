/* Inside the HTTP client: one call and its connection. client.c decides when a call may have a
 * connection; call.c drives it over that connection to its end. Not for other rooms. */
#ifndef MR_HTTP_CALL_H
#define MR_HTTP_CALL_H

#include "http/client.h"
#include "http/message.h"
#include "http/pool.h"
#include "http/tunnel.h"
#include "net/dial.h"
#include "net/stream.h"

#define HTTP_CONN_IDLE_MS    4000 /* node's servers close after five seconds */
#define HTTP_CALL_IOV_INLINE 6
#define HTTP_CALL_ADDRS_KEPT 4 /* for the report */

/* The life of a call. → on_done leads from every state but FREE to ENDED.
 *
 *   FREE ─start─▶ WAITING ─slot─▶ NAME ─▶ CONNECT ─▶ (TUNNEL) ─▶ (TLS) ─▶ SEND ─▶ HEAD ─▶ BODY ─▶
 * ENDED │  ▲                                                  ▲  │ │  └── a re-used connection died
 * without a byte ──────┼──┘ └───────────── idle connection ──────────────────────┘
 */
enum http_call_state {
    HTTP_CALL_FREE = 0, /* on the client's free list */
    HTTP_CALL_WAITING,  /* in key->waiting; no connection */
    HTTP_CALL_NAME,     /* connecting != NULL: a name is being looked up */
    HTTP_CALL_CONNECT,  /* connecting != NULL: dialling */
    HTTP_CALL_TUNNEL,   /* connecting != NULL: the proxy is asked */
    HTTP_CALL_TLS,      /* conn != NULL, in these four */
    HTTP_CALL_SEND,     /* not all of the request is with the kernel */
    HTTP_CALL_HEAD,     /* it is; the response's head is not whole */
    HTTP_CALL_BODY,
    HTTP_CALL_ENDED, /* on_done is running, or is about to: in client->ending */
};

/* What is needed only while a connection is made. */
struct http_connecting {
    struct http_call *call;
    struct net_lookup lookup;
    struct net_dial dial;
    struct http_tunnel *tunnel; /* owned; NULL where no proxy is asked */
    os_addr target;             /* behind a proxy: asked of it */
    size_t n_judged;
    struct net_judged_addr judged[NET_NAMES_ADDRS_MAX];
};

struct http_conn {
    struct http_pool_conn pooled;
    struct stream stream;
    struct http_client *client;
    struct http_call *call;  /* NULL: idle or doomed */
    struct net_trust *trust; /* a reference; NULL: plain */
    struct net_trust_keeper keeper;
    struct loop_timer idle_timer; /* fires at or before idle_until */
    mr_mono idle_until;
    int64_t idle_ms; /* how long the peer lets it be idle */
    mr_list doomed;  /* in client->doomed */
    os_addr peer;
    bool is_doomed;  /* to be closed in this turn's task; hears nothing */
    bool is_aborted; /* with a reset, then */
    bool has_served; /* a response came over it */
};

struct http_call {
    mr_list node;  /* in client->calls or client->free_calls */
    mr_list queue; /* in key->waiting, or client->ending */
    struct http_client *client;
    struct http_key *key;
    struct http_conn *conn;
    struct http_connecting *connecting; /* owned */
    enum http_call_state state;
    /* the spec */
    void (*on_done)(void *ctx, const struct http_result *result);
    void (*on_body_released)(void *ctx); /* NULL once it was called, or never to be */
    void *ctx;
    struct net_trust *trust; /* a reference; NULL for http */
    mr_buf text;             /* the URL's text, then the request's head */
    size_t url_len;
    struct net_url url; /* slices of text */
    struct iovec body_inline[HTTP_CALL_IOV_INLINE];
    struct iovec *body; /* body_inline, or owned */
    size_t n_body;
    uint32_t total_ms, connect_ms, read_ms;
    bool is_fresh;
    bool is_operators;
    bool is_to_head;
    /* the attempt */
    uint64_t peer;
    struct loop_timer timer;
    mr_mono started;
    mr_mono total_due, phase_due, release_due;
    mr_mono step_started;
    size_t size;  /* bytes of head and body */
    size_t taken; /* of these, by the stream */
    uint8_t sends;
    bool has_begun; /* total_due holds, and stays */
    bool is_reused;
    bool is_body_gone; /* released: the request cannot be sent again */
    bool must_connect; /* no pooled connection any more */
    /* the response */
    bool has_bytes;
    bool is_body_cut;
    bool keep_alive;
    uint8_t n_interim;
    uint16_t status;
    struct http_scan scan;
    struct http_body reader;
    size_t body_read;
    mr_buf head_copy; /* where the body did not come with the head */
    mr_buf kept;      /* of the body */
    /* the report */
    struct http_step_report steps[HTTP_STEP_COUNT];
    int64_t queue_ns;
    size_t n_addrs;
    os_addr addrs[HTTP_CALL_ADDRS_KEPT];
    os_addr peer_addr;                  /* OS_FAMILY_NONE: none yet */
    struct net_trust_problem *tls_text; /* owned; of fresh calls only */
    enum http_failure failure;
    enum http_step step;
    char detail[320];
};

struct http_client {
    struct loop *loop;
    struct net_guard *guard;
    struct net_guard *proxy_guard; /* lets everything pass: the proxy is the operator's word; NULL
                                      without a proxy */
    struct net_names *names;
    mr_metrics *metrics;
    const mr_log *log;
    struct http_pool pool;
    struct stream_shared shared;
    struct http_head head; /* of the response at hand */
    uint64_t guard_epoch;  /* of the idle connections */
    char proxy_host[256];
    uint16_t proxy_port;
    uint32_t queue_max;
    uint32_t n_calls, n_waiting;
    uint32_t n_free_calls, n_free_conns;
    mr_list calls;
    mr_list free_calls;
    mr_list free_conns;        /* http_conn.doomed */
    mr_list doomed;            /* connections to be closed */
    mr_list ending;            /* calls to be told */
    mr_list short_of_slots[2]; /* keys, healthy ones first */
    mr_list short_of_budget;   /* keys that wait for handshake budget */
    struct loop_task task;
    struct loop_timer budget_timer;
    struct loop_timer keeper_timer; /* every 30 s */
    bool is_guard_stale;            /* the last refresh failed; said once */
    bool is_closing;
};

/* client/make.c */

/* What can be sent as it is. */
bool http_spec_is_valid(const struct http_call_spec *spec);
/* Copies what the spec names; the call is on no list yet. */
mr_err http_call_fill(struct http_call *call, const struct http_call_spec *spec);

/* client.c */

/* The call has no connection (any more) and wants one. at_front: it has waited before. */
void http_client_enqueue(struct http_call *call, bool at_front);
/* Takes a waiting call out of its queue. */
void http_client_unqueue(struct http_call *call);
/* A connection of the key became idle: someone may be waiting for it, or for its slot. */
void http_client_idle(struct http_client *client, struct http_key *key);
/* on_done, then back to the free list. The call has neither connection nor connecting. */
void http_client_tell(struct http_call *call, mr_fields fields);
/* Later in this turn: closes doomed connections, tells ended calls, gives free slots away. */
void http_client_later(struct http_client *client);
/* From the free list; NULL without memory. */
struct http_conn *http_client_conn_new(struct http_client *client);

/* call.c */

extern const struct stream_events http_conn_events;

/* Starts on a connection that was idle. */
void http_call_use(struct http_call *call, struct http_conn *conn);
/* Sets the timer to the next deadline. */
void http_call_arm(struct http_call *call);
void http_call_on_timer(struct loop_timer *timer);
void http_conn_on_idle_timer(struct loop_timer *timer);
/* Ends it with failure, now; on_done comes with the client's task. */
void http_call_fail(struct http_call *call, enum http_failure failure, enum http_step step,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Lets go of connection and connecting. */
void http_call_detach(struct http_call *call);
/* Notes how a step ended; the next one begins. */
void http_call_step(struct http_call *call, enum http_step step, enum http_step_state state);
/* A connection is there, or is being made: the total deadline runs from here. */
void http_call_begin(struct http_call *call);
/* Sends the request over the call's connection. */
void http_call_send(struct http_call *call);
/* To be closed in the client's task; its call, if any, is forgotten. */
void http_conn_doom(struct http_conn *conn, bool is_aborted);

/* client/connect.c */

/* Starts to make a connection; the slot is taken. */
void http_call_connect(struct http_call *call);
/* Gives up what is under way; NULL is fine. */
void http_connecting_free(struct http_call *call);

#endif
