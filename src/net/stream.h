/* One connection, plain or TLS, either role: bytes in, bytes out, never blocking, on a loop's
 * thread. The stream owns its descriptor and its SSL; the struct is the caller's memory.
 *
 * Input is pushed: at most one recv per turn, into memory shared by all streams of the thread; what
 * the owner does not use is kept and comes again. An idle stream holds no buffer. Output is
 * offered: stream_send takes what goes now, the rest stays with the caller until on_writable.
 *
 * A callback may call stream_close and may then free the stream's memory before it returns. No
 * callback is called inside a stream_… function, but for those of the loop. */
#ifndef MR_NET_STREAM_H
#define MR_NET_STREAM_H

#include "base/buf.h"
#include "loop/loop.h"
#include "os/socket.h"

#include <openssl/types.h>

/* Of one thread: where bytes pass through. */
struct stream_shared {
    struct loop *loop;
    mr_metrics *metrics;
    char *raw;                        /* STREAM_RAW_SIZE: what recv gave */
    char *plain;                      /* STREAM_RAW_SIZE: what TLS made of it */
    char *record;                     /* plaintext of one record, where it lay in pieces */
    mr_buf queue_spare;               /* empty: memory for the next ciphertext queue */
    struct bio_method_st *bio_method; /* OpenSSL's BIO_METHOD */
    mr_mono handshakes_turn;          /* the turn in which handshakes were counted */
    int handshakes; /* steps made in it; bounded, because each costs half a millisecond */
};
#define STREAM_RAW_SIZE ((size_t)65536)

/* MR_E_NOMEM. loop and metrics (may be NULL) must outlive it. */
mr_err stream_shared_init(struct stream_shared *shared, struct loop *loop, mr_metrics *metrics);
void stream_shared_done(struct stream_shared *shared);

/* How a stream's input ended. */
enum stream_end {
    STREAM_END_EOF = 0,   /* the peer said that it is done: FIN, or close_notify under TLS */
    STREAM_END_TRUNCATED, /* TLS: FIN without close_notify; a body framed by EOF is not whole */
    STREAM_END_LOST,      /* reset or another error of the connection: stream->error is errno */
    STREAM_END_TLS,       /* the handshake or a record failed: stream_tls_problem */
    STREAM_END_MEMORY,    /* no memory, or more unused input than allowed */
};

struct stream;

/* What the owner is told; the table is static. */
struct stream_events {
    /* TLS only: the handshake is done. May be NULL. */
    void (*on_open)(struct stream *stream);
    /* bytes: everything unused so far, contiguous, valid during the call (stream_close inside it
     * ends that). Returns how many of them were used, from the front. The rest is kept (at most
     * unused_max) and comes again together with the next bytes, or alone after stream_again or a
     * resume. */
    size_t (*on_data)(struct stream *stream, mr_str bytes);
    /* Once, after all data that could be given. No further on_data. Sending may go on after EOF.
     * The owner calls stream_close, now or later. Bytes that on_data left unused are gone. */
    void (*on_end)(struct stream *stream, enum stream_end how);
    /* After a stream_send that took less than offered: more would go now. */
    void (*on_writable)(struct stream *stream);
};

struct stream_tls; /* SSL and its two byte queues */

struct stream {
    struct loop_io io;
    struct stream_shared *shared;
    const struct stream_events *events;
    struct stream_tls *tls; /* NULL: plain */
    mr_buf unused;          /* input that on_data left */
    bool *gone;             /* set by stream_close while a callback runs */
    int error;              /* errno of STREAM_END_LOST */
    bool is_open;           /* plain: always; TLS: handshake done */
    bool is_ended;          /* on_end was called */
    bool is_broken;         /* sending failed; what came before it is still read */
    bool is_paused;
    bool is_finishing; /* FIN is to be sent when nothing is pending */
    bool wants_write;  /* on_writable is owed */
    bool wants_again;  /* unused input is to be given again */
};

/* Takes over a connected fd. unused_max: most input that on_data may leave unused (it must be at
 * least the largest unit that the owner waits to have whole). Reads at once unless paused.
 * On error (MR_E_IO) the fd is closed. */
mr_err stream_init(struct stream *stream, struct stream_shared *shared, int fd,
                   const struct stream_events *events, size_t unused_max);
/* Makes it TLS, directly after stream_init, before anything was sent or received. ssl: role,
 * verification, server name, session are set; its BIO is not. Takes over ssl, also on error
 * (MR_E_NOMEM). A client's handshake begins in the next turn. */
mr_err stream_start_tls(struct stream *stream, SSL *ssl);
/* Closes the descriptor and frees what the stream holds; under TLS a close_notify is tried, once.
 * No further callback. Harmless when closed already. */
void stream_close(struct stream *stream);
/* The same with a TCP reset and without close_notify. */
void stream_abort(struct stream *stream);
/* False after stream_close and before stream_init (of zeroed memory too). */
bool stream_is_usable(const struct stream *stream);

/* Offers bytes. *ret_n: how many were taken (0 is possible); the caller may forget those. Less than
 * offered: on_writable will come. Under TLS taken means encrypted; at most STREAM_TLS_OUT_MAX of
 * that waits for the kernel, and stream_pending tells how much.
 * MR_E_CLOSED: the connection is lost; on_end comes or came. Before the handshake is done nothing
 * is taken, and on_writable follows it. n_iov ≤ 64 are looked at. */
mr_err stream_send(struct stream *stream, const struct iovec *iov, int n_iov, size_t *ret_n);
#define STREAM_TLS_OUT_MAX ((size_t)262144)
/* Bytes taken by stream_send that the kernel does not have yet (0 when plain). on_writable comes
 * when it is 0 again, if stream_want_writable was called. */
size_t stream_pending(const struct stream *stream);
/* Asks for on_writable when the kernel takes more and stream_pending is 0. */
void stream_want_writable(struct stream *stream);
/* Ends this side: close_notify under TLS, then FIN. Bytes pending go first or are lost; call it
 * with stream_pending() == 0 to be sure. Input goes on. */
void stream_finish(struct stream *stream);

/* No on_data and no recv until resumed; costs no system call while the peer is silent. on_end too
 * waits. */
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);
/* Gives the unused input again in the next turn. */
void stream_again(struct stream *stream);

/* NULL when plain. For reading facts off it (session, verification result, version) only. */
SSL *stream_ssl(const struct stream *stream);
/* Why STREAM_END_TLS happened, for people: "certificate has expired", "wrong version number", …
 * Valid until stream_close; "" when nothing is known. */
mr_str stream_tls_problem(const struct stream *stream);

#endif
