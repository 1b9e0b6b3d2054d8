/* One request to the server and its answer. Handlers see exchanges, never connections. All on the
 * thread of the server's loop.
 *
 *   on_head ─┬─ http_exchange_answer ──────────────────────────────┐
 *            ├─ http_exchange_want_body ─▶ on_body ─┬─ answer ─────┤
 *            └─ neither: answers later ─────────────┴─ later … ────┴─▶ on_end, exactly once
 *
 * An answer may be given inside on_head or on_body, or at any later time until on_end. on_end is
 * never called inside another function of this header; it comes once the answer was handed over for
 * sending, or the connection was lost or the engine had to refuse the request itself (is_lost; what
 * the handler answers from then on is ignored). After on_end the exchange is another's. */
#ifndef MR_HTTP_EXCHANGE_H
#define MR_HTTP_EXCHANGE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fields.h"
#include "base/time.h"
#include "http/message.h"
#include "os/socket.h"

#define HTTP_EXCHANGE_ARENA_MAX  ((size_t)1 << 20) /* the head's copy included */
#define HTTP_STREAM_BUFFERED_MAX ((size_t)65536)   /* of a streaming answer, not yet sent */

struct http_exchange {
    /* Read by the handler; slices live until on_end. */
    enum http_method method;
    mr_str method_text;
    mr_str path;  /* raw: percent-encoding as it came; begins with '/', or "*" */
    mr_str query; /* absent without '?' */
    mr_str host;
    mr_fields fields; /* of the request */
    int minor;        /* of HTTP/1 */
    os_addr peer;
    bool is_tls;
    bool is_lost;            /* in on_end: the answer was not (wholly) handed over */
    bool has_body;           /* the request announces one */
    uint64_t content_length; /* 0 where unknown (chunked) or none */
    mr_mono started;         /* when the head was whole */
    /* The handler's. */
    mr_arena arena; /* freed after on_end */
    void *user;     /* NULL at first */
};

/* What serves the requests of a server; the table is static, ctx is given with it. */
struct http_handler {
    /* The head is whole. Answers at once, or asks for the body (http_exchange_want_body), or does
     * neither and answers later without it. */
    void (*on_head)(void *ctx, struct http_exchange *ex);
    /* The whole body, after http_exchange_want_body (empty where the request has none). It is valid
     * during the call only: copy what is needed longer (ex->arena). */
    void (*on_body)(void *ctx, struct http_exchange *ex, mr_str body);
    /* The last call for this exchange. Drop every reference to it. */
    void (*on_end)(void *ctx, struct http_exchange *ex);
    /* Less than half of HTTP_STREAM_BUFFERED_MAX is unsent, after a chunk was refused. May be NULL
     * where nothing is streamed. */
    void (*on_drain)(void *ctx, struct http_exchange *ex);
    /* The engine refuses a request by itself (400, 408, 413, 414, 431, 500, 501, 503, 505): appends
     * the body of the answer and returns its content type. reason: a constant sentence for people.
     * *ret_field may be set to a field more, in ex->arena. ex is empty where the head was refused.
     * Other exchanges of the connection are not touched. */
    mr_str (*refuse)(void *ctx, struct http_exchange *ex, int status, const char *reason,
                     mr_buf *body, mr_field *ret_field);
};

/* In on_head only: the body is to be read, at most max bytes; a larger one is refused with 413 and
 * the connection closed (no on_body; on_end comes). A client that waits for 100 (Continue) gets it
 * now. */
void http_exchange_want_body(struct http_exchange *ex, size_t max);
/* The same for a body that may hold a secret: its memory is overwritten when it is given back.
 * Heads and answers always are. */
void http_exchange_want_private_body(struct http_exchange *ex, size_t max);
/* Answers: status (200–599), fields (date, content-length, connection and transfer-encoding are the
 * engine's; a field that is no valid one is left out), body (not sent to HEAD, nor with 204 and
 * 304; HEAD gets its length). All is copied. Once per exchange. Without memory the connection is
 * lost. A body that was never asked for is read and dropped up to 64 KiB, else the connection
 * closes. */
void http_exchange_answer(struct http_exchange *ex, int status, const mr_field *fields,
                          size_t n_fields, mr_str body);
/* As answer, and the connection closes after it. */
void http_exchange_answer_and_close(struct http_exchange *ex, int status, const mr_field *fields,
                                    size_t n_fields, mr_str body);

/* Begins an answer of unknown length (chunked; until close for HTTP/1.0). */
void http_exchange_start(struct http_exchange *ex, int status, const mr_field *fields,
                         size_t n_fields);
/* Appends to it (copied, sent at the end of the turn). MR_E_AGAIN: HTTP_STREAM_BUFFERED_MAX is
 * unsent; nothing was taken; on_drain will come. A piece above that bound is MR_E_LIMIT.
 * MR_E_NOMEM. MR_E_CLOSED: the connection is lost; on_end comes. An empty piece is nothing. */
mr_err http_exchange_chunk(struct http_exchange *ex, mr_str bytes);
/* Ends it. on_end follows. */
void http_exchange_finish(struct http_exchange *ex);
/* Bytes of the answer that are not sent yet. */
size_t http_exchange_buffered(const struct http_exchange *ex);

#endif
