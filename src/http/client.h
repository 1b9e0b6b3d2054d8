/* The HTTP/1.1 client (RFC 9110, RFC 9112) that delivers requests: pooled connections, names judged
 * before each connect, deadlines on everything, every way to fail told apart and explained.
 *
 * One client per loop; used by that loop's thread alone; nothing blocks. */
#ifndef MR_HTTP_CLIENT_H
#define MR_HTTP_CLIENT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/fields.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/str.h"
#include "base/time.h"
#include "loop/loop.h"
#include "net/guard.h"
#include "net/names.h"
#include "net/trust.h"
#include "net/url.h"

#include <sys/uio.h>

#define HTTP_CALL_BODY_KEPT_MAX (4 * 1024)  /* of a response's body, unless more is asked for */
#define HTTP_CALL_BODY_READ_MAX (64 * 1024) /* read at most; then the connection is closed */
#define HTTP_CALL_INTERIM_MAX   8           /* 1xx responses before the final one */
#define HTTP_CALL_IOV_MAX       63          /* pieces of a request body */

struct http_client;
struct http_call;

struct http_client_opts {
    struct loop *loop;       /* these three outlive the client */
    struct net_guard *guard; /* refreshed by the client every 30 s */
    struct net_names *names;
    mr_metrics *metrics;            /* may be NULL */
    const mr_log *log;              /* may be NULL */
    uint32_t connections_max;       /* open and being opened, this client's share; 0: 4096 */
    uint32_t idle_per_key_min;      /* idle connections a key keeps when others need room; 0: 2 */
    uint32_t handshakes_per_second; /* TLS, per pool key; 0: 50 */
    uint32_t handshake_percent;     /* of this thread's time, all keys; 0: 20 */
    uint32_t queue_max;             /* calls waiting for a connection; 0: 65536 */
    mr_str proxy; /* "http://host:port" or "host:port" of the egress proxy (CONNECT); absent: none.
                     Copied. The proxy's own address is the operator's word and is not judged; the
                     destination's is. */
};

/* What failed, in the order of the steps. */
enum http_failure {
    HTTP_FAIL_NONE = 0,
    HTTP_FAIL_NAME,      /* the name has no address or the name server failed */
    HTTP_FAIL_ADDRESS,   /* the guard refused the address */
    HTTP_FAIL_CONNECT,   /* no connection, or no room for one */
    HTTP_FAIL_TLS,       /* handshake or certificate */
    HTTP_FAIL_REQUEST,   /* the request could not be written: reset, closed */
    HTTP_FAIL_RESPONSE,  /* no response, or one that is not HTTP/1.1 */
    HTTP_FAIL_TIMEOUT,   /* result.step says which step it struck */
    HTTP_FAIL_CANCELLED, /* http_call_cancel, or the client was freed */
};

/* Steps of a call; Test Event lists them by these names. */
enum http_step {
    HTTP_STEP_NAME = 0,
    HTTP_STEP_ADDRESS,
    HTTP_STEP_CONNECT,
    HTTP_STEP_TLS,
    HTTP_STEP_REQUEST,
    HTTP_STEP_RESPONSE,
    HTTP_STEP_COUNT,
};

enum http_step_state {
    HTTP_STEP_SKIPPED = 0, /* does not apply (literal: no name; http: no tls; re-used connection:
                              none of the first four) or was not reached */
    HTTP_STEP_OK,
    HTTP_STEP_FAILED,
};

struct http_step_report {
    enum http_step_state state;
    int64_t duration_ns;
};

/* Everything in it is valid during on_done only. */
struct http_result {
    enum http_failure failure;
    enum http_step step; /* the last one reached: the failed one where failure != NONE */
    mr_str detail;       /* why, a sentence without its full stop; absent on success */
    uint16_t status;     /* of the final response's head; 0: there was none. With failure NONE any
                            status is possible */
    mr_fields fields;    /* of that head */
    mr_str body;      /* its first bytes, as many as the call keeps, decoded from chunks; may be cut
                         short by the peer or the deadline without making the call fail */
    bool is_body_cut; /* there was, or may have been, more than body holds */
    bool is_reused;   /* sent (the last time) over a connection that had served before */
    bool is_stale_reuse; /* that connection died before a response byte, and the body had already
                            been released: sending it again would have spent no attempt */
    bool is_unanswered;  /* the connection ended before a byte of a response came */
    uint8_t sends; /* times the request was sent: 0, 1, or 2 after a stale re-used connection */
    bool has_peer;
    os_addr peer; /* connected to (behind a proxy: asked for) */
    struct http_step_report steps[HTTP_STEP_COUNT];
    int64_t queue_ns;       /* waited for a connection slot or handshake budget */
    int64_t total_ns;       /* since http_call_start */
    struct http_call *call; /* for http_result_step_text */
};

/* A call. Slices and pieces are the caller's; what must outlive http_call_start is marked *. */
struct http_call_spec {
    uint64_t pool_key;         /* the destination: connections are never shared between keys */
    const struct net_url *url; /* copied with its text */
    struct net_trust *trust;   /* required for https; a reference is taken */
    mr_str method;
    mr_str target;            /* absent: the URL's path and query */
    mr_fields fields;         /* as they are to be sent; host, content-length, connection and
                                 transfer-encoding are the client's. No CR, LF or NUL inside */
    const struct iovec *body; /* the array is copied; * what it points to stays until
                                 on_body_released or on_done, whichever is first */
    size_t n_body;            /* 0: no body; ≤ HTTP_CALL_IOV_MAX */
    bool has_body;            /* send content-length even when it is 0 */
    bool is_suspect;   /* the destination's last window failed: shares half of all connections with
                          its kind */
    bool is_fresh;     /* use no pooled connection (Test Event) */
    bool is_operators; /* the URL is the operator's word: its addresses are not judged, and it is
                          reached without the egress proxy */
    uint32_t body_kept_max; /* bytes of the response's body that result.body may hold; 0:
                               HTTP_CALL_BODY_KEPT_MAX. As many are read, if they are more than
                               HTTP_CALL_BODY_READ_MAX */
    uint32_t total_ms;   /* to the end of the response's head, from the moment a connection is there
                            or begun; > 0. The wait for a slot before it lasts as long at most, then
                            the call fails with HTTP_FAIL_CONNECT */
    uint32_t connect_ms; /* name, connect and TLS together; 0: total_ms */
    uint32_t read_ms;    /* sent to head; 0: total_ms */
    /* Once, always after http_call_start has returned; the call is gone when it returns. May start
     * and cancel other calls, not free the client. */
    void (*on_done)(void *ctx, const struct http_result *result);
    /* May be NULL (then the body must stay until on_done). At most once, before on_done: the client
     * will not touch the body again. On a new connection: when the kernel has all of it; on a
     * re-used one: when a response byte has come, or a second later, since until then it may have
     * to be sent again. */
    void (*on_body_released)(void *ctx);
    void *ctx;
};

/* MR_E_NOMEM; MR_E_INVALID where opts.proxy cannot be read. */
mr_err http_client_new(const struct http_client_opts *opts, struct http_client **ret_client);
/* Ends every call with HTTP_FAIL_CANCELLED (on_done runs inside) and closes all connections. NULL
 * is fine. */
void http_client_free(struct http_client *client);

/* Starts a call; *ret_call is valid until on_done. MR_E_LIMIT when queue_max calls wait,
 * MR_E_NOMEM, MR_E_INVALID for a spec that breaks the rules above: then nothing was started and no
 * callback comes. */
mr_err http_call_start(struct http_client *client, const struct http_call_spec *spec,
                       struct http_call **ret_call);
/* Ends the call: the body is not touched again after this returns; on_done comes later in this turn
 * with HTTP_FAIL_CANCELLED, unless the call has ended already. */
void http_call_cancel(struct http_call *call);
/* Has any byte of the request been handed to the kernel or to TLS? */
bool http_call_is_sent(const struct http_call *call);

/* Closes idle connections of the key and forgets its TLS sessions; those in use close when their
 * call ends. For a destination that was changed or deleted. */
void http_client_forget(struct http_client *client, uint64_t pool_key);
/* Closes all idle connections (memory or descriptors run short). */
void http_client_close_idle(struct http_client *client);

struct http_client_counts {
    uint32_t open;    /* connections, those being opened included */
    uint32_t idle;    /* of these */
    uint32_t suspect; /* of these, used by suspect destinations */
    uint32_t calls;   /* calls not ended */
    uint32_t waiting; /* of these, waiting for a connection or handshake budget */
};
struct http_client_counts http_client_counts(const struct http_client *client);

/* The name of the step in Test Event's report: "name", "address", … Static. */
const char *http_step_name(enum http_step step);
/* "name", "address_refused", "connect", "tls", "request", "response", "timeout", "cancelled"; ""
 * for NONE. Static. */
const char *http_failure_name(enum http_failure failure);
/* Appends what the step found, for people, without a full stop: "hooks.acme.com has 2 addresses:
 * 203.0.113.7, 203.0.113.8"; for the failed step the result's detail; nothing for a skipped one.
 * Within on_done only. */
mr_err http_result_step_text(const struct http_result *result, enum http_step step, mr_buf *out);

#endif
