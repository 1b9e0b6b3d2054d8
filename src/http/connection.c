/* One connection of the server. See connection.h.
 *
 *            ┌────────────── next request ───────────────┐
 *            ▼                                           │
 *   HEAD ─ head whole ─┬─ body wanted ──▶ BODY ─ whole ──┤
 *            │         └─ body unwanted ▶ DROP ─ over ───┘
 *            │ refused, Connection: close, peer ended, too much to drop (from any of the three)
 *            ▼
 *          LAST ─ all answered and sent ─┬─ input was clean ─▶ closed
 *                                        └─ is_dirty ─ FIN ─▶ LINGER ─ peer's end, 2 s ─▶ closed
 *
 * Input is taken apart in on_input; it only queues answers. One flush task per turn and connection
 * ends exchanges in order, sends, and decides whether the connection goes on; it alone closes, with
 * the timer and the stream's end. So nothing is freed under a handler's feet.
 *
 * Lingering: closing a socket with unread input resets it, and the reset may overtake the answer
 * that says why. So after a refusal the rest is read and dropped for a moment.
 *
 * One timer serves all deadlines. It is not moved when a deadline moves away, only when one comes
 * nearer; when it fires too early it is set again. A request on a kept connection touches it never.
 */
#include "http/connection.h"

#include "base/mem.h"
#include "net/tls.h"

static mr_mono now_of(const struct http_connection *conn) {
    return loop_now(conn->server->loop);
}

static struct exchange *first_of(const struct http_connection *conn) {
    return MR_CONTAINER(conn->exchanges.next, struct exchange, node);
}

bool http_connection_is_between_requests(const struct http_connection *conn) {
    return conn->phase == HTTP_PHASE_HEAD && !conn->has_partial_head;
}

/* Deadlines */

static mr_mono earned_until(const struct http_connection *conn, mr_mono since, uint64_t n) {
    uint64_t rate = (uint64_t)conn->server->options.bytes_per_second_min;
    return mr_mono_add_ms(since, (int64_t)(n / rate) * 1000);
}

/* When a transfer that began at since and moved n bytes is too slow. */
static mr_mono too_slow_at(const struct http_connection *conn, mr_mono since, uint64_t n) {
    return mr_mono_add_ms(earned_until(conn, since, n), conn->server->options.grace_ms);
}

/* Bytes that came fast earn no right to pause for long, with a large body held: what is earned
 * beyond now is forgotten, so that grace_ms is the longest silence at any time. */
static void forget_credit(const struct http_connection *conn, mr_mono *since, uint64_t *n) {
    mr_mono now = now_of(conn);
    if (mr_mono_before(now, earned_until(conn, *since, *n))) {
        *since = now;
        *n = 0;
    }
}

static mr_mono input_deadline(const struct http_connection *conn) {
    const struct http_server_options *options = &conn->server->options;
    if (conn->is_stalled) {
        return MR_MONO_NEVER;
    }
    switch (conn->phase) {
    case HTTP_PHASE_HEAD:
        if (conn->has_partial_head || !conn->was_used || !conn->stream.is_open) {
            return mr_mono_add_ms(conn->read_since, options->head_ms);
        }
        return conn->n_exchanges > 0 || conn->out.len > 0
                   ? MR_MONO_NEVER
                   : mr_mono_add_ms(conn->read_since, options->idle_ms);
    case HTTP_PHASE_BODY:
    case HTTP_PHASE_DROP:
        return too_slow_at(conn, conn->read_since, conn->body_received);
    case HTTP_PHASE_LINGER:
        return mr_mono_add_ms(conn->read_since, HTTP_LINGER_MS);
    case HTTP_PHASE_LAST:
        break;
    }
    return MR_MONO_NEVER;
}

static mr_mono output_deadline(const struct http_connection *conn) {
    return http_connection_unsent(conn) == 0 ? MR_MONO_NEVER
                                             : too_slow_at(conn, conn->write_since, conn->sent);
}

static void watch_deadlines(struct http_connection *conn) {
    mr_mono due = mr_mono_min(input_deadline(conn), output_deadline(conn));
    if (due.ns != MR_MONO_NEVER.ns &&
        (!loop_timer_is_set(&conn->timer) || mr_mono_before(due, conn->timer_due))) {
        conn->timer_due = due;
        loop_timer_set(conn->server->loop, &conn->timer, due);
    }
}

/* Stopping input */

void http_connection_stall(struct http_connection *conn) {
    conn->is_stalled = true;
    stream_pause(&conn->stream);
}

static bool may_begin(const struct http_connection *conn) {
    return !conn->server->is_paused && conn->n_exchanges < HTTP_PIPELINE_MAX &&
           http_connection_unsent(conn) < HTTP_UNSENT_SOFT_MAX;
}

void http_connection_unstall(struct http_connection *conn) {
    if (conn->is_stalled && (conn->phase != HTTP_PHASE_HEAD || may_begin(conn))) {
        conn->is_stalled = false;
        conn->read_since = now_of(conn);
        stream_resume(&conn->stream);
        watch_deadlines(conn);
    }
}

static void free_body(struct http_connection *conn) {
    conn->server->body_bytes -= conn->body.cap;
    mr_buf_done(&conn->body);
}

/* No further request. */
static void enter_last(struct http_connection *conn, bool is_dirty) {
    conn->phase = HTTP_PHASE_LAST;
    conn->is_dirty |= is_dirty;
    conn->reading = NULL;
    conn->has_partial_head = false;
    free_body(conn);
    loop_defer(conn->server->loop, &conn->flush);
}

void http_connection_retire(struct http_connection *conn) {
    if (http_connection_is_between_requests(conn)) {
        enter_last(conn, false);
    }
}

/* Refusals */

/* Answers in the engine's name, after what is owed for earlier requests. */
static void refuse(struct http_connection *conn, int status, const char *reason) {
    struct exchange *ex = conn->reading;
    if (ex == NULL) {
        bool is_answered = conn->phase == HTTP_PHASE_DROP;
        ex = is_answered ? NULL : http_exchange_begin(conn);
        if (ex == NULL) {
            /* Nobody to tell: the answer is on its way, or there is no memory. */
            conn->is_broken = !is_answered;
            enter_last(conn, true);
            return;
        }
    }
    if (!ex->is_done && !ex->is_started) {
        http_exchange_refuse(ex, status, reason);
    } else {
        ex->closes = true;
    }
    enter_last(conn, true);
}

/* Bodies */

static void end_message(struct http_connection *conn) {
    bool keeps = conn->reading == NULL || conn->reading->keep_alive;
    conn->reading = NULL;
    conn->phase = HTTP_PHASE_HEAD;
    conn->scan = (struct http_scan){0};
    conn->read_since = now_of(conn);
    if (!keeps || conn->server->is_stopping) {
        enter_last(conn, false);
    }
}

/* The whole body is there. */
static void give_body(struct http_connection *conn, mr_str body) {
    struct exchange *ex = conn->reading;
    struct http_server *server = conn->server;
    ex->owes_continue = false;
    end_message(conn);
    if (!ex->is_done && !ex->is_started) {
        server->handler->on_body(server->ctx, &ex->pub, body);
    }
}

static bool collect(struct http_connection *conn, mr_str piece) {
    struct http_server *server = conn->server;
    if (piece.len > conn->body.max - conn->body.len) {
        refuse(conn, 413, "The body is larger than what is accepted here.");
        return false;
    }
    if (server->body_bytes + piece.len > server->options.body_bytes_total_max) {
        refuse(conn, 503, "Too many request bodies are being received; try again.");
        return false;
    }
    size_t before = conn->body.cap;
    mr_err err = mr_buf_str(&conn->body, piece);
    server->body_bytes += conn->body.cap - before;
    if (mr_is_err(err)) {
        refuse(conn, 503, "There is no memory for the request body; try again.");
        return false;
    }
    return true;
}

/* Takes body bytes off *in until it is over, used up, or refused. */
static void read_body(struct http_connection *conn, mr_str *in) {
    while (conn->phase == HTTP_PHASE_BODY || conn->phase == HTTP_PHASE_DROP) {
        size_t before = in->len;
        mr_str piece = MR_STR("");
        mr_err err = http_body_next(&conn->body_reader, in, &piece);
        conn->body_received += before - in->len;
        forget_credit(conn, &conn->read_since, &conn->body_received);
        if (mr_err_is(err, MR_E_AGAIN)) {
            return;
        }
        if (mr_is_err(err)) {
            refuse(conn, http_err_status(err), conn->body_reader.problem);
            return;
        }
        bool is_done = conn->body_reader.is_done;
        if (conn->phase == HTTP_PHASE_DROP) {
            conn->dropped += piece.len;
            if (is_done) {
                end_message(conn);
            } else if (conn->dropped > HTTP_DROPPED_BODY_MAX) {
                if (conn->reading != NULL) {
                    conn->reading->closes = true;
                }
                enter_last(conn, true);
            }
            continue;
        }
        if (is_done && conn->body.len == 0 && piece.len <= conn->reading->body_max) {
            give_body(conn, piece); /* in one piece: no copy */
        } else if (collect(conn, piece) && is_done) {
            /* Taken out of the connection, so that the handler's calls find it consistent. */
            mr_buf body = conn->body;
            mr_buf_init(&conn->body, 0);
            give_body(conn, mr_buf_view(&body));
            conn->server->body_bytes -= body.cap;
            mr_buf_done(&body);
        }
    }
}

/* Heads */

/* What comes after on_head. */
static void after_head(struct http_connection *conn, struct exchange *ex,
                       const struct http_head *head, bool expects) {
    struct http_server *server = conn->server;
    bool is_over = ex->is_done || ex->is_started;
    conn->reading = ex;
    conn->body_received = 0;
    conn->dropped = 0;
    conn->read_since = now_of(conn);
    http_body_init(&conn->body_reader, head);
    if (head->framing == HTTP_FRAMING_NONE) {
        end_message(conn);
        if (ex->wants_body && !is_over) {
            server->handler->on_body(server->ctx, &ex->pub, MR_STR(""));
        }
        return;
    }
    if (ex->wants_body && !is_over) {
        conn->phase = HTTP_PHASE_BODY;
        http_connection_unstall(conn); /* a handler may have paused the server meanwhile */
        if (ex->is_private) {
            mr_buf_init_private(&conn->body, ex->body_max);
        } else {
            mr_buf_init(&conn->body, ex->body_max);
        }
        if (head->framing == HTTP_FRAMING_LENGTH && head->content_length > ex->body_max) {
            refuse(conn, 413, "The body is larger than what is accepted here.");
        } else {
            http_exchange_continue(ex);
        }
        return;
    }
    ex->owes_continue = false;
    conn->phase = HTTP_PHASE_DROP;
    http_connection_unstall(conn);
    bool is_large =
        head->framing == HTTP_FRAMING_LENGTH && head->content_length > HTTP_DROPPED_BODY_MAX;
    if (expects || is_large) {
        ex->keep_alive = false;
        ex->closes = true;
        enter_last(conn, true);
    }
}

static void begin_request(struct http_connection *conn, mr_str head_bytes) {
    struct http_server *server = conn->server;
    struct http_head *head = &server->head;
    conn->was_used = true;
    conn->has_partial_head = false;
    struct exchange *ex = http_exchange_begin(conn);
    if (ex == NULL || mr_is_err(http_exchange_fill(ex, head, head_bytes))) {
        conn->is_broken = true;
        enter_last(conn, true);
        return;
    }
    mr_metric_add(server->shared->metrics, MR_METRIC_HTTP_REQUESTS, 1);
    bool expects = ex->owes_continue;
    /* The head is the server's and holds until the next parse; handlers do not parse. */
    ex->owes_end = true;
    ex->in_on_head = true;
    server->handler->on_head(server->ctx, &ex->pub);
    ex->in_on_head = false;
    after_head(conn, ex, head, expects);
}

/* Takes the next head off *in. False: nothing more can be done with this input now. */
static bool read_head(struct http_connection *conn, mr_str *in) {
    if (!may_begin(conn)) {
        http_connection_stall(conn);
        return false;
    }
    struct http_head *head = &conn->server->head;
    size_t used;
    mr_err err = http_request_parse(&conn->scan, *in, head, &used);
    if (mr_err_is(err, MR_E_AGAIN)) {
        if (!conn->has_partial_head) {
            conn->has_partial_head = true;
            conn->read_since = conn->was_used ? now_of(conn) : conn->read_since;
        }
        return false;
    }
    if (mr_is_err(err)) {
        refuse(conn, http_err_status(err), head->problem);
        return true;
    }
    mr_str head_bytes = mr_str_slice(*in, 0, used);
    *in = mr_str_slice(*in, used, in->len);
    begin_request(conn, head_bytes);
    return true;
}

static size_t on_input(struct stream *stream, mr_str bytes) {
    struct http_connection *conn = MR_CONTAINER(stream, struct http_connection, stream);
    mr_str in = bytes;
    bool goes_on = true;
    while (goes_on && in.len > 0 && !conn->is_broken) {
        switch (conn->phase) {
        case HTTP_PHASE_HEAD:
            goes_on = read_head(conn, &in);
            break;
        case HTTP_PHASE_BODY:
        case HTTP_PHASE_DROP:
            read_body(conn, &in);
            break;
        case HTTP_PHASE_LAST:
        case HTTP_PHASE_LINGER:
            conn->dropped += in.len;
            in = mr_str_slice(in, in.len, in.len);
            conn->is_dirty |= conn->phase == HTTP_PHASE_LAST;
            if (conn->dropped > HTTP_LINGER_BYTES_MAX) {
                /* Enough courtesy. What is still owed goes out; then the connection is reset. */
                http_connection_stall(conn);
                loop_defer(conn->server->loop, &conn->flush);
            }
            break;
        }
    }
    watch_deadlines(conn);
    return conn->is_broken ? bytes.len : bytes.len - in.len;
}

static void on_input_end(struct stream *stream, enum stream_end how) {
    struct http_connection *conn = MR_CONTAINER(stream, struct http_connection, stream);
    conn->peer_ended = true;
    bool is_streaming = conn->n_exchanges > 0 && first_of(conn)->is_started;
    bool is_cut = conn->phase == HTTP_PHASE_BODY || conn->phase == HTTP_PHASE_LINGER;
    bool owes = conn->n_exchanges > 0 || http_connection_unsent(conn) > 0;
    if (how != STREAM_END_EOF || is_streaming || is_cut || !owes) {
        http_connection_close(conn);
        return;
    }
    /* Half closed: it has asked all it wants and waits for the answers. */
    enter_last(conn, false);
    conn->is_dirty = false;
    watch_deadlines(conn);
}

/* Output */

/* Ends the exchanges whose answers are complete, in order. */
static void end_answered(struct http_connection *conn) {
    while (conn->n_exchanges > 0) {
        struct exchange *ex = first_of(conn);
        http_exchange_promote(ex);
        if (!ex->is_done) {
            return;
        }
        if (conn->reading == ex) {
            /* Answered before its body was over. */
            conn->reading = NULL;
            if (conn->phase == HTTP_PHASE_BODY) {
                free_body(conn);
                conn->phase = HTTP_PHASE_DROP;
            }
        }
        bool closes = ex->closes;
        http_exchange_end(ex, false);
        if (closes) {
            if (conn->phase != HTTP_PHASE_LAST) {
                enter_last(conn, !http_connection_is_between_requests(conn) || conn->is_stalled);
            }
            while (conn->n_exchanges > 0) {
                http_exchange_end(first_of(conn), true);
            }
        }
    }
}

/* False when the connection is lost. */
static bool send_out(struct http_connection *conn) {
    size_t size = conn->out.len - conn->out_at;
    if (size > 0) {
        struct iovec iov = {.iov_base = conn->out.ptr + conn->out_at, .iov_len = size};
        size_t n = 0;
        if (mr_is_err(stream_send(&conn->stream, &iov, 1, &n))) {
            return false;
        }
        conn->out_at += n;
        conn->sent += n;
        forget_credit(conn, &conn->write_since, &conn->sent);
    }
    if (conn->out_at == conn->out.len) {
        http_server_give_buf(conn->server, &conn->out);
        conn->out_at = 0;
        conn->read_since = size > 0 && conn->phase == HTTP_PHASE_HEAD && !conn->has_partial_head
                               ? now_of(conn)
                               : conn->read_since;
    } else if (conn->out_at > conn->out.len / 2) {
        mr_buf_consume(&conn->out, conn->out_at);
        conn->out_at = 0;
    }
    return true;
}

static void tell_drained(struct http_connection *conn) {
    struct http_server *server = conn->server;
    if (conn->n_exchanges == 0) {
        return;
    }
    struct exchange *ex = first_of(conn);
    if (ex->wants_drain && http_connection_unsent(conn) < HTTP_STREAM_BUFFERED_MAX / 2) {
        ex->wants_drain = false;
        if (server->handler->on_drain != NULL && !ex->is_done) {
            server->handler->on_drain(server->ctx, &ex->pub);
        }
    }
}

/* All is answered and sent, and no further request comes. */
static void finish(struct http_connection *conn) {
    if (!conn->is_dirty || conn->peer_ended || conn->dropped > HTTP_LINGER_BYTES_MAX) {
        http_connection_close(conn);
        return;
    }
    stream_finish(&conn->stream);
    conn->phase = HTTP_PHASE_LINGER;
    conn->read_since = now_of(conn);
    http_connection_unstall(conn);
    watch_deadlines(conn);
}

static void flush(struct http_connection *conn) {
    end_answered(conn);
    if (conn->is_broken || !send_out(conn)) {
        http_connection_close(conn);
        return;
    }
    bool is_empty = conn->n_exchanges == 0 && http_connection_unsent(conn) == 0;
    if (conn->phase == HTTP_PHASE_LAST && is_empty) {
        finish(conn);
        return;
    }
    if (conn->phase == HTTP_PHASE_LINGER) {
        if (conn->dropped > HTTP_LINGER_BYTES_MAX) {
            http_connection_close(conn);
        }
        return;
    }
    if (http_connection_unsent(conn) > 0) {
        stream_want_writable(&conn->stream);
    }
    tell_drained(conn);
    if (conn->is_stalled && conn->phase == HTTP_PHASE_HEAD) {
        http_connection_unstall(conn);
    }
    watch_deadlines(conn);
}

static void on_flush(struct loop_task *task) {
    flush(MR_CONTAINER(task, struct http_connection, flush));
}

static void on_writable(struct stream *stream) {
    flush(MR_CONTAINER(stream, struct http_connection, stream));
}

/* Time */

static void on_timer(struct loop_timer *timer) {
    struct http_connection *conn = MR_CONTAINER(timer, struct http_connection, timer);
    mr_mono now = now_of(conn);
    if (!mr_mono_before(now, output_deadline(conn))) {
        conn->is_broken = true; /* the peer does not read */
        http_connection_close(conn);
        return;
    }
    if (mr_mono_before(now, input_deadline(conn))) {
        watch_deadlines(conn);
        return;
    }
    bool is_silent = http_connection_is_between_requests(conn) && conn->n_exchanges == 0;
    if (is_silent || conn->phase == HTTP_PHASE_LINGER || !conn->stream.is_open) {
        http_connection_close(conn);
        return;
    }
    refuse(conn, 408,
           conn->phase == HTTP_PHASE_HEAD ? "The head of the request did not come in time."
                                          : "The body of the request comes too slowly.");
    watch_deadlines(conn);
}

/* Life */

static const struct stream_events connection_events = {
    .on_data = on_input,
    .on_end = on_input_end,
    .on_writable = on_writable,
};

static mr_err start(struct http_connection *conn, int fd) {
    struct http_server *server = conn->server;
    MR_TRY(stream_init(&conn->stream, server->shared, fd, &connection_events, HTTP_HEAD_BYTES_MAX));
    if (server->options.tls == NULL) {
        return MR_OK;
    }
    SSL *ssl = tls_accept_new(server->options.tls);
    mr_err err = ssl == NULL ? MR_ERR(MR_E_NOMEM) : stream_start_tls(&conn->stream, ssl);
    if (mr_is_err(err)) {
        stream_close(&conn->stream);
    }
    return err;
}

void http_connection_open(struct http_server *server, int fd, const os_addr *peer) {
    struct http_connection *conn = MR_NEW(struct http_connection);
    if (conn == NULL) {
        os_close(fd);
        http_server_on_closed(server, peer);
        return;
    }
    conn->server = server;
    conn->peer = *peer;
    if (mr_is_err(start(conn, fd))) {
        mr_free(conn);
        http_server_on_closed(server, peer);
        return;
    }
    mr_list_push_back(&server->connections, &conn->node);
    mr_list_init(&conn->exchanges);
    mr_buf_init(&conn->body, 0);
    loop_timer_init(&conn->timer, on_timer);
    loop_task_init(&conn->flush, on_flush);
    conn->read_since = now_of(conn);
    if (server->is_paused) {
        http_connection_stall(conn);
    }
    watch_deadlines(conn);
}

void http_connection_close(struct http_connection *conn) {
    struct http_server *server = conn->server;
    conn->is_broken = true;
    while (conn->n_exchanges > 0) {
        http_exchange_end(first_of(conn), true);
    }
    if (conn->stream.is_broken || http_connection_unsent(conn) > 0) {
        stream_abort(&conn->stream);
    } else {
        stream_close(&conn->stream);
    }
    loop_timer_cancel(server->loop, &conn->timer);
    loop_task_cancel(&conn->flush);
    mr_list_remove(&conn->node);
    free_body(conn);
    http_server_give_buf(server, &conn->out);
    os_addr peer = conn->peer;
    mr_free(conn);
    http_server_on_closed(server, &peer);
}
