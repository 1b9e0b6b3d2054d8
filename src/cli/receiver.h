/* A receiver of webhooks for trying out and for tests: HTTP/1.1, plain or TLS, that answers every
 * request alike, or misbehaves on request. On a loop's thread. */
#ifndef MR_CLI_RECEIVER_H
#define MR_CLI_RECEIVER_H

#include "cli/inspect.h"
#include "net/stream.h"

struct receiver;

/* What becomes of a request that was read to its end. */
enum receiver_manner {
    RECEIVER_ANSWERS = 0,
    RECEIVER_HANGS,  /* no answer, the connection stays */
    RECEIVER_RESETS, /* no answer, TCP reset */
    RECEIVER_CLOSES, /* no answer, the connection is closed */
};

struct receiver_options {
    os_addr addr;
    SSL_CTX *tls;     /* NULL: plain; referenced, from tls_server_context */
    int status;       /* 200–599 */
    int64_t delay_ms; /* before the answer or the misbehaviour */
    enum receiver_manner manner;
    struct inspector *inspector; /* must outlive the receiver */
    /* One line of JSON with its end, for each request. */
    void (*on_line)(void *ctx, mr_str line);
    void *ctx;
};

/* Largest body taken; beyond it 413. */
#define RECEIVER_BODY_MAX ((size_t)64 << 20)

/* Listens at once. Errors of os_listen; MR_E_NOMEM. *ret_bound: the address with its port. */
mr_err receiver_new(struct stream_shared *shared, const struct receiver_options *options,
                    struct receiver **ret_receiver, os_addr *ret_bound);
/* Closes every connection. Not from on_line. NULL is fine. */
void receiver_free(struct receiver *receiver);

#endif
