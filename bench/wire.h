/* Connections of the load generator: non-blocking sockets on the loopback, plain or TLS, edge-
 * triggered, with growing buffers, and just enough HTTP/1.1 to frame messages of known length. */
#ifndef MR_BENCH_WIRE_H
#define MR_BENCH_WIRE_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire {
    int fd;
    bool closed; /* the peer ended it or it broke; nothing more is read or written */
    SSL *ssl;    /* NULL: plain */
    char *in;
    size_t in_len, in_size;
    char *out;
    size_t out_len, out_at, out_size;
};

/* One framed message at the start of what was read. */
struct wire_message {
    const char *head; /* request line or status line, ends with the empty line */
    size_t head_len;
    const char *body;
    size_t body_len;
    int status; /* of a response; 0 of a request */
};

/* Takes fd over; ctx NULL: plain. Client where connecting, else server. */
void wire_init(struct wire *w, int fd, SSL_CTX *ctx, bool client);
void wire_done(struct wire *w);
/* Reads what is there; afterwards closed may be set, with bytes still to take. */
void wire_read(struct wire *w);
/* Appends to what is to be written; wire_flush writes as much as the socket takes. */
void wire_put(struct wire *w, const void *bytes, size_t len);
void wire_flush(struct wire *w);
/* Finds a whole message; false: not there yet (or garbage: closed is set). */
bool wire_next(struct wire *w, struct wire_message *ret_message);
/* Drops that message, for the next to be found. */
void wire_drop(struct wire *w, const struct wire_message *message);

/* A socket that listens on 127.0.0.1; port 0: any. Exits with a message where it cannot. */
int wire_listen(int port, int *ret_port);
/* A non-blocking socket that connects to 127.0.0.1. */
int wire_connect(int port);

#endif
