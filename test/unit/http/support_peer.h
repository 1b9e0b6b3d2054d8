/* A server in threads that does what a script says, for tests of the client: plain or TLS, on
 * loopback, any free port. */
#ifndef MR_TEST_SUPPORT_PEER_H
#define MR_TEST_SUPPORT_PEER_H

#include "base/str.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

struct peer_conn {
    int fd;
    SSL *ssl; /* NULL: plain */
    int nth;  /* connection of this server, from 0 */
    struct peer_server *server;
    char request[65536]; /* the last one read, with a NUL */
    size_t head_len, body_len;
};

struct peer_server {
    int fd;
    uint16_t port;
    SSL_CTX *tls;
    void (*serve)(struct peer_conn *conn);
    pthread_t acceptor;
    pthread_t threads[256];
    _Atomic int n_conns;
    _Atomic int n_requests;
    _Atomic int n_resumed;
    int arg;
    char last[2048]; /* the start of the last request; look when it was answered */
};

/* tls may be NULL; freed by peer_stop. */
void peer_start(struct peer_server *server, void (*serve)(struct peer_conn *conn), SSL_CTX *tls);
/* The client must have closed its connections, or the script must end by itself. */
void peer_stop(struct peer_server *server);

/* Reads a request with its content-length's body; false at the end of the connection. */
bool peer_read(struct peer_conn *conn);
/* False where the other side is gone. */
bool peer_write(struct peer_conn *conn, const char *text, size_t len);
bool peer_say(struct peer_conn *conn, const char *text);
/* Waits until the other side closes. */
void peer_wait_end(struct peer_conn *conn);
/* The connection ends with a reset. */
void peer_reset(struct peer_conn *conn);

#endif
