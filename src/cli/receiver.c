/* Connections of the receiver. See receiver.h.
 *
 * It stands on streams and the strict parser of messages, not on the HTTP server, since that one
 * cannot break off a connection on purpose, as this one must: reset, close and hang come after the
 * whole request was read, when the sender can only wonder whether it was taken.
 *
 * A connection gathers one request after another in one buffer; what comes meanwhile waits there
 * too, so that pipelined requests are answered in their order:
 *
 *   HEAD ─whole─▶ BODY ─whole─▶ WAIT (delay) ─▶ answered ─▶ HEAD, or LAST
 *                                     ├─ hang: WAIT for ever
 *                                     └─ reset, close: freed
 *   a refused head or chunk: the refusal's status is answered ─▶ LAST (what comes is dropped)
 *
 * There are no deadlines: a slow sender harms nobody here but itself. */
#include "cli/receiver.h"

#include "base/mem.h"
#include "http/message.h"
#include "net/tls.h"

#include <openssl/ssl.h>

#define INPUT_MAX        (RECEIVER_BODY_MAX * 2) /* a chunked body has its frames beside it */
#define LINE_BYTES_MAX   ((size_t)256 << 20)
#define ANSWER_BYTES_MAX ((size_t)4096)
#define BACKLOG          1024
#define ACCEPTS_MAX      64
#define ACCEPT_AGAIN_MS  100

enum phase { PHASE_HEAD = 0, PHASE_BODY, PHASE_WAIT, PHASE_LAST };

struct receiver {
    struct receiver_options options;
    struct stream_shared *shared;
    struct loop_io listener;
    struct loop_timer accept_timer; /* after descriptors ran out */
    mr_list connections;
    mr_buf line;
    struct http_head head; /* of the request at hand */
};

struct connection {
    struct stream stream; /* first */
    struct receiver *receiver;
    mr_list node;
    struct loop_timer delay;
    enum phase phase;
    bool keep_alive;
    bool peer_ended;
    struct http_scan scan;
    struct http_body reader;
    mr_buf in; /* the request at hand and what came behind it */
    size_t head_len, body_at;
    mr_buf body;
    mr_buf out;
};

static void connection_free(struct connection *conn) {
    loop_timer_cancel(conn->receiver->shared->loop, &conn->delay);
    mr_list_remove(&conn->node);
    mr_buf_done(&conn->in);
    mr_buf_done(&conn->body);
    mr_buf_done(&conn->out);
    mr_free(conn);
}

static void connection_close(struct connection *conn) {
    stream_close(&conn->stream);
    connection_free(conn);
}

/* ---- answers ---- */

/* Sends what waits; after the last answer this side ends. False: the connection is gone. */
static bool flush(struct connection *conn) {
    struct iovec iov = {conn->out.ptr, conn->out.len};
    size_t n = 0;
    if (conn->out.len > 0) {
        if (mr_is_err(stream_send(&conn->stream, &iov, 1, &n))) {
            return !conn->peer_ended; /* else on_end tells */
        }
        mr_buf_consume(&conn->out, n);
    }
    if (conn->out.len > 0 || conn->phase != PHASE_LAST) {
        return true;
    }
    if (stream_pending(&conn->stream) > 0) {
        stream_want_writable(&conn->stream);
        return true;
    }
    stream_finish(&conn->stream);
    return !conn->peer_ended;
}

/* Appends an answer without a body. False: no memory. */
static bool put_answer(struct connection *conn, int status) {
    const char *close = conn->keep_alive ? "" : "connection: close\r\n";
    const char *length = status == 204 || status == 304 ? "" : "content-length: 0\r\n";
    return mr_is_ok(mr_buf_printf(&conn->out, "HTTP/1.1 %d %s\r\n%s%s\r\n", status,
                                  http_reason(status), length, close));
}

/* The request at hand is done with. */
static void next_request(struct connection *conn) {
    mr_buf_consume(&conn->in, conn->body_at);
    conn->scan = (struct http_scan){0};
    conn->head_len = 0;
    conn->body_at = 0;
    if (conn->body.cap > ((size_t)1 << 20)) {
        mr_buf_done(&conn->body);
        mr_buf_init(&conn->body, RECEIVER_BODY_MAX);
    }
    mr_buf_reset(&conn->body);
    conn->phase = conn->keep_alive ? PHASE_HEAD : PHASE_LAST;
}

static const char *manner_name(enum receiver_manner manner) {
    switch (manner) {
    case RECEIVER_ANSWERS:
        break;
    case RECEIVER_HANGS:
        return "hang";
    case RECEIVER_RESETS:
        return "reset";
    case RECEIVER_CLOSES:
        return "close";
    }
    return NULL;
}

/* Tells of the request that was read to its end. Its head is parsed again, since the bytes may have
 * moved. */
static void report(struct connection *conn) {
    struct receiver *receiver = conn->receiver;
    const struct receiver_options *options = &receiver->options;
    struct http_head *head = &receiver->head;
    struct http_scan scan = {0};
    size_t used;
    MR_ASSERT(mr_is_ok(http_request_parse(
        &scan, mr_str_slice(mr_buf_view(&conn->in), 0, conn->head_len), head, &used)));
    const struct inspect_request request = {
        .method = head->method_text,
        .host = head->host,
        .path = head->path,
        .query = head->query,
        .fields = http_head_fields(head),
        .body = mr_buf_view(&conn->body),
        .now = loop_wall(receiver->shared->loop),
        .status = options->manner == RECEIVER_ANSWERS ? options->status : 0,
        .misbehaviour = manner_name(options->manner)};
    mr_buf_reset(&receiver->line);
    if (mr_is_ok(inspector_take(options->inspector, &request, &receiver->line))) {
        options->on_line(options->ctx, mr_buf_view(&receiver->line));
    }
}

/* After the delay. False: the connection is freed. */
static bool act(struct connection *conn) {
    switch (conn->receiver->options.manner) {
    case RECEIVER_ANSWERS:
        if (!put_answer(conn, conn->receiver->options.status)) {
            connection_close(conn);
            return false;
        }
        next_request(conn);
        if (!flush(conn)) {
            connection_close(conn);
            return false;
        }
        return true;
    case RECEIVER_HANGS:
        return true;
    case RECEIVER_RESETS:
        stream_abort(&conn->stream);
        connection_free(conn);
        return false;
    case RECEIVER_CLOSES:
        connection_close(conn);
        return false;
    }
    return true;
}

/* ---- requests ---- */

/* Answers a request that cannot be read on. False: the connection is freed. */
static bool refuse(struct connection *conn, int status) {
    conn->keep_alive = false;
    conn->phase = PHASE_LAST;
    mr_buf_reset(&conn->in);
    if (!put_answer(conn, status) || !flush(conn)) {
        connection_close(conn);
        return false;
    }
    return true;
}

/* Each step of reading says how it went. */
enum step { STEP_ON = 0, STEP_WAIT, STEP_FREED };

static enum step step_head(struct connection *conn) {
    struct http_head *head = &conn->receiver->head;
    mr_err err = http_request_parse(&conn->scan, mr_buf_view(&conn->in), head, &conn->head_len);
    if (mr_err_is(err, MR_E_AGAIN)) {
        return STEP_WAIT;
    }
    if (mr_is_err(err)) {
        return refuse(conn, http_err_status(err)) ? STEP_WAIT : STEP_FREED;
    }
    conn->keep_alive = head->keep_alive;
    conn->body_at = conn->head_len;
    conn->phase = PHASE_BODY;
    http_body_init(&conn->reader, head);
    if (head->framing == HTTP_FRAMING_LENGTH && head->content_length > RECEIVER_BODY_MAX) {
        return refuse(conn, 413) ? STEP_WAIT : STEP_FREED;
    }
    if (head->expects_continue && head->framing != HTTP_FRAMING_NONE &&
        (mr_is_err(mr_buf_str(&conn->out, MR_STR("HTTP/1.1 100 Continue\r\n\r\n"))) ||
         !flush(conn))) {
        connection_close(conn);
        return STEP_FREED;
    }
    return STEP_ON;
}

static enum step step_body(struct connection *conn) {
    mr_str all = mr_buf_view(&conn->in);
    mr_str in = mr_str_slice(all, conn->body_at, all.len);
    while (!conn->reader.is_done) {
        mr_str piece;
        mr_err err = http_body_next(&conn->reader, &in, &piece);
        if (mr_err_is(err, MR_E_AGAIN)) {
            conn->body_at = all.len - in.len;
            return STEP_WAIT;
        }
        if (mr_is_err(err)) {
            return refuse(conn, http_err_status(err)) ? STEP_WAIT : STEP_FREED;
        }
        if (mr_is_err(mr_buf_str(&conn->body, piece))) {
            return refuse(conn, 413) ? STEP_WAIT : STEP_FREED;
        }
    }
    conn->body_at = all.len - in.len;
    conn->phase = PHASE_WAIT;
    report(conn);
    struct loop *loop = conn->receiver->shared->loop;
    if (conn->receiver->options.delay_ms > 0) {
        loop_timer_set(loop, &conn->delay,
                       mr_mono_add_ms(loop_now(loop), conn->receiver->options.delay_ms));
        return STEP_WAIT;
    }
    return act(conn) ? STEP_ON : STEP_FREED;
}

/* As far as the input goes. False: the connection is freed. */
static bool read_on(struct connection *conn) {
    for (;;) {
        enum step step = STEP_WAIT;
        switch (conn->phase) {
        case PHASE_HEAD:
            step = conn->in.len == 0 ? STEP_WAIT : step_head(conn);
            break;
        case PHASE_BODY:
            step = step_body(conn);
            break;
        case PHASE_WAIT:
            break;
        case PHASE_LAST:
            mr_buf_reset(&conn->in);
            break;
        }
        if (step != STEP_ON) {
            return step == STEP_WAIT;
        }
    }
}

static void on_delay(struct loop_timer *timer) {
    struct connection *conn = MR_CONTAINER(timer, struct connection, delay);
    if (act(conn) && read_on(conn) && conn->peer_ended && conn->phase != PHASE_WAIT) {
        connection_close(conn);
    }
}

static size_t on_data(struct stream *stream, mr_str bytes) {
    struct connection *conn = (struct connection *)(void *)stream;
    size_t n = bytes.len;
    if (conn->phase != PHASE_LAST && mr_is_err(mr_buf_str(&conn->in, bytes))) {
        connection_close(conn);
        return n;
    }
    read_on(conn);
    return n;
}

/* A sender that ended its side may still wait for an answer. */
static void on_end(struct stream *stream, enum stream_end how) {
    struct connection *conn = (struct connection *)(void *)stream;
    conn->peer_ended = true;
    bool is_answer_due =
        how == STREAM_END_EOF && conn->phase == PHASE_WAIT && loop_timer_is_set(&conn->delay);
    if (!is_answer_due && (how != STREAM_END_EOF || conn->out.len == 0)) {
        connection_close(conn);
    }
}

static void on_writable(struct stream *stream) {
    struct connection *conn = (struct connection *)(void *)stream;
    if (!flush(conn) || (conn->peer_ended && conn->out.len == 0 && conn->phase != PHASE_WAIT)) {
        connection_close(conn);
    }
}

static const struct stream_events connection_events = {
    .on_data = on_data, .on_end = on_end, .on_writable = on_writable};

/* ---- the listener ---- */

static void open_connection(struct receiver *receiver, int fd) {
    struct connection *conn = MR_NEW(struct connection);
    if (conn == NULL) {
        os_close(fd);
        return;
    }
    conn->receiver = receiver;
    mr_buf_init(&conn->in, INPUT_MAX);
    mr_buf_init(&conn->body, RECEIVER_BODY_MAX);
    mr_buf_init(&conn->out, ANSWER_BYTES_MAX);
    loop_timer_init(&conn->delay, on_delay);
    mr_list_init(&conn->node);
    if (mr_is_err(stream_init(&conn->stream, receiver->shared, fd, &connection_events,
                              HTTP_HEAD_BYTES_MAX))) {
        connection_free(conn);
        return;
    }
    if (receiver->options.tls != NULL) {
        SSL *ssl = tls_accept_new(receiver->options.tls);
        if (ssl == NULL || mr_is_err(stream_start_tls(&conn->stream, ssl))) {
            connection_close(conn);
            return;
        }
    }
    mr_list_push_back(&receiver->connections, &conn->node);
}

static void on_accept(struct loop_io *io, unsigned ready) {
    (void)ready;
    struct receiver *receiver = MR_CONTAINER(io, struct receiver, listener);
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd;
        os_addr peer;
        mr_err err = os_accept(io->fd, &fd, &peer);
        if (mr_is_ok(err)) {
            open_connection(receiver, fd);
        } else if (mr_err_is(err, MR_E_AGAIN)) {
            return;
        } else if (!mr_err_is(err, MR_E_CLOSED)) {
            struct loop *loop = receiver->shared->loop;
            loop_io_want(loop, &receiver->listener, 0);
            loop_timer_set(loop, &receiver->accept_timer,
                           mr_mono_add_ms(loop_now(loop), ACCEPT_AGAIN_MS));
            return;
        }
    }
}

static void on_accept_timer(struct loop_timer *timer) {
    struct receiver *receiver = MR_CONTAINER(timer, struct receiver, accept_timer);
    loop_io_want(receiver->shared->loop, &receiver->listener, LOOP_READ);
}

mr_err receiver_new(struct stream_shared *shared, const struct receiver_options *options,
                    struct receiver **ret_receiver, os_addr *ret_bound) {
    MR_ASSERT(options->status >= 200 && options->status <= 599);
    struct receiver *receiver = MR_NEW(struct receiver);
    if (receiver == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    receiver->options = *options;
    receiver->shared = shared;
    mr_list_init(&receiver->connections);
    mr_buf_init(&receiver->line, LINE_BYTES_MAX);
    loop_io_init(&receiver->listener, on_accept);
    loop_timer_init(&receiver->accept_timer, on_accept_timer);
    int fd;
    mr_err err = os_listen(&options->addr, BACKLOG, &fd, ret_bound);
    if (mr_is_ok(err)) {
        err = loop_io_add(shared->loop, &receiver->listener, fd, LOOP_READ);
        if (mr_is_err(err)) {
            os_close(fd);
        }
    }
    if (mr_is_err(err)) {
        mr_free(receiver);
        return err;
    }
    if (options->tls != NULL) {
        MR_ASSERT(SSL_CTX_up_ref(options->tls) == 1);
    }
    *ret_receiver = receiver;
    return MR_OK;
}

void receiver_free(struct receiver *receiver) {
    if (receiver == NULL) {
        return;
    }
    while (!mr_list_is_empty(&receiver->connections)) {
        connection_close(MR_CONTAINER(receiver->connections.next, struct connection, node));
    }
    loop_timer_cancel(receiver->shared->loop, &receiver->accept_timer);
    loop_io_close(receiver->shared->loop, &receiver->listener);
    SSL_CTX_free(receiver->options.tls);
    mr_buf_done(&receiver->line);
    mr_free(receiver);
}
