/* An HTTP/1.1 server on one loop: listens, reads requests strictly and by deadlines, hands them to
 * a handler as exchanges, sends the answers in order. One server per worker; several share an
 * address (SO_REUSEPORT). All functions on the loop's thread. */
#ifndef MR_HTTP_SERVER_H
#define MR_HTTP_SERVER_H

#include "base/log.h"
#include "http/exchange.h"
#include "net/stream.h"

struct http_server; /* opaque; holds its connections */

/* Bounds; http_server_options_default gives the stated ones. Each applies per server. */
struct http_server_options {
    size_t connections_max; /* 10,000; further ones wait in the kernel's queue */
    size_t
        connections_per_address_max; /* 1,000; an IPv6 /64 counts as one; further ones are closed */
    size_t body_bytes_total_max;     /* 64 MiB: bodies being read, in all; then 503 */
    int64_t head_ms;  /* 10,000: from the first byte of a head (or the accept) to its end */
    int64_t idle_ms;  /* 75,000: between an answer and the next request */
    int64_t grace_ms; /* 10,000: before bytes_per_second_min is asked for */
    int64_t bytes_per_second_min; /* 1,024: of a body coming in and of answers going out */
    SSL_CTX *tls;                 /* NULL: plain; referenced, from tls_server_context */
};
struct http_server_options http_server_options_default(void);

/* Listens on addr at once. handler and ctx must outlive the server; shared: of this thread. log may
 * be NULL. *ret_bound (may be NULL) is the address with its port. Errors of os_listen, MR_E_NOMEM.
 */
mr_err http_server_new(struct stream_shared *shared, const os_addr *addr,
                       const struct http_server_options *options,
                       const struct http_handler *handler, void *ctx, const mr_log *log,
                       struct http_server **ret_server, os_addr *ret_bound);
/* Closes everything at once: each open exchange gets its on_end (is_lost) inside this call. Not to
 * be called from a handler. NULL is fine. */
void http_server_free(struct http_server *server);

/* Graceful: no new connections, idle ones close, requests under way are answered (with
 * `Connection: close`); then on_stopped, once, from the loop. Deadlines go on to bind; an answer
 * that never comes keeps the server from stopping: free it after a time of your own. */
void http_server_stop(struct http_server *server, void (*on_stopped)(void *ctx), void *ctx);

/* Back-pressure: no new request is begun (accepted connections and bodies under way go on). */
void http_server_pause(struct http_server *server);
void http_server_resume(struct http_server *server);
bool http_server_is_paused(const struct http_server *server);

size_t http_server_connections(const struct http_server *server);

#endif
