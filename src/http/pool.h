/* What the client keeps per destination and how it shares what is scarce: idle connections,
 * connection slots, TLS handshakes, sessions. Knows neither calls nor bytes: connections and
 * waiting calls are list nodes of their owners. One per client; that loop's thread alone. */
#ifndef MR_HTTP_POOL_H
#define MR_HTTP_POOL_H

#include "base/err.h"
#include "base/list.h"
#include "base/time.h"

#include <openssl/ssl.h>

#define HTTP_POOL_BUCKETS      4096 /* a power of two */
#define HTTP_POOL_SESSIONS_MAX 1024 /* TLS sessions kept; some KiB each */

struct http_pool;

/* A destination. Exists while it has connections, waiting calls, a session or spent budget. */
struct http_key {
    mr_list chain; /* of its bucket */
    struct http_pool *pool;
    uint64_t id;
    mr_list idle;     /* http_pool_conn.node, latest used first */
    mr_list waiting;  /* calls, oldest first; the client's */
    mr_list starving; /* in one of the client's lists while waiting for a slot or for time */
    uint32_t n_open;  /* connections, those being opened included */
    uint32_t n_idle;
    uint32_t n_waiting;
    uint32_t generation;    /* of http_pool_forget: older connections are not pooled again */
    int64_t handshake_next; /* when its bucket is full again, ns of the monotonic clock */
    SSL_SESSION *session;   /* owned; NULL */
    uint64_t session_of;    /* the peer it belongs to */
    mr_list session_age;
    bool is_suspect;
};

/* The part of a connection that the pool sees. */
struct http_pool_conn {
    mr_list node; /* in key->idle */
    mr_list age;  /* in pool->idle: longest idle first */
    struct http_key *key;
    uint64_t peer; /* host, port, scheme, trust, guard epoch in one number: http_pool_peer */
    uint32_t generation;
    bool is_idle;
};

struct http_pool_limits {
    uint32_t connections_max;
    uint32_t idle_per_key_min;
    uint32_t handshakes_per_second;
    uint32_t handshake_percent;
};

struct http_pool {
    struct http_pool_limits limits;
    uint64_t seed;
    uint32_t n_open;
    uint32_t n_idle;
    uint32_t n_suspect; /* open connections of suspect keys */
    uint32_t n_sessions;
    int64_t time_next; /* when all of the handshake time has been paid back */
    mr_list idle;
    mr_list sessions; /* oldest first */
    mr_list *buckets; /* owned */
};

mr_err http_pool_init(struct http_pool *pool, const struct http_pool_limits *limits);
/* No connection may be open and no call waiting. */
void http_pool_done(struct http_pool *pool);

/* Finds or makes the key; NULL without memory. */
struct http_key *http_pool_key(struct http_pool *pool, uint64_t id);
struct http_key *http_pool_key_find(struct http_pool *pool, uint64_t id);
/* Destinations whose last window failed share half of the slots. */
void http_pool_set_suspect(struct http_key *key, bool is_suspect);
/* Frees keys that hold nothing any more. */
void http_pool_sweep(struct http_pool *pool, mr_mono now);

/* Whom a connection leads to, as one number: two connections with the same are interchangeable for
 * one key. */
uint64_t http_pool_peer(const struct http_pool *pool, mr_str host, uint16_t port, bool is_https,
                        uint64_t trust_id, uint64_t guard_epoch);

enum http_admission {
    HTTP_ADMITTED = 0, /* the slot and the handshake are taken */
    HTTP_NO_SLOT,      /* wait until a connection closes */
    HTTP_NO_HANDSHAKE, /* wait until *ret_again: this destination has had its share */
    HTTP_NO_TIME,      /* wait until *ret_again: this thread has spent its share on handshakes */
};
/* Takes a slot for a new connection of the key, and the budget of a handshake where is_tls. The
 * last eighth of the slots is for keys without any connection. An idle connection may have to go
 * first: *ret_evict, to be closed by the caller before its slot counts as free (then ask again). */
enum http_admission http_pool_admit(struct http_key *key, bool is_tls, mr_mono now,
                                    struct http_pool_conn **ret_evict, mr_mono *ret_again);
/* Gives the slot back: the connection is closed, or was never made. */
void http_pool_leave(struct http_key *key);

/* The latest used idle connection to that peer; NULL. It is no longer idle. */
struct http_pool_conn *http_pool_take(struct http_key *key, uint64_t peer);
/* Makes it idle. False: it must be closed instead (the key was forgotten meanwhile). */
bool http_pool_put(struct http_pool_conn *conn);
/* Takes an idle connection out (to be closed); harmless when not idle. */
void http_pool_remove_idle(struct http_pool_conn *conn);
/* The longest idle connection of any key; NULL. Still idle. */
struct http_pool_conn *http_pool_oldest_idle(struct http_pool *pool);
/* Drops the session, and makes all connections of today unfit for http_pool_put. */
void http_pool_forget(struct http_key *key);

/* The session for that peer; NULL. Owned by the key. */
SSL_SESSION *http_pool_session(const struct http_key *key, uint64_t peer);
/* Takes over the reference. */
void http_pool_session_put(struct http_key *key, uint64_t peer, SSL_SESSION *session);

#endif
