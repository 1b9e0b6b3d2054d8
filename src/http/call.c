/* One call over one connection, from the name to the end of the response.
 *
 * The states are drawn in call.h. Steps are timed as they pass: each begins where the one before
 * ended. Every wait has a deadline, all in one timer: the total, the phase's (connecting, or
 * waiting for the head), and the moment at which the body of a re-used connection's request is
 * released.
 *
 * A request sent over a connection that had served before may meet a peer that was just closing it
 * (RFC 9112 §9.3.1). When such a connection ends without a single byte of response, the request
 * goes out once more over a new one. For that its body must still be there, so it is released only
 * when a byte has come, or after a second: a reset by a peer that had closed comes within a round
 * trip.
 *
 * What a response may cost is bounded: head by the parser's limits, eight interim responses, 64 KiB
 * of body read of which 4 KiB are kept (unless the caller wants more), the total deadline over all
 * of it. Once the head is there the call has succeeded: whatever goes wrong after it only cuts the
 * body short and the connection off. A connection is used again only when request and response both
 * ended exactly where they should.
 *
 * Failure policy: http_call_fail notes the reason and hands the call to the client's task; the
 * connection is closed in the same task, so no callback here ever frees what its caller stands on.
 */
#include "http/call.h"

#include "base/mem.h"
#include "base/num.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RELEASE_MS 1000

/* ---- connections ---- */

void http_conn_doom(struct http_conn *conn, bool is_aborted) {
    if (conn->is_doomed) {
        return;
    }
    http_pool_remove_idle(&conn->pooled);
    conn->is_doomed = true;
    conn->is_aborted = is_aborted;
    conn->call = NULL;
    stream_pause(&conn->stream);
    mr_list_push_back(&conn->client->doomed, &conn->doomed);
    http_client_later(conn->client);
}

void http_conn_on_idle_timer(struct loop_timer *timer) {
    struct http_conn *conn = MR_CONTAINER(timer, struct http_conn, idle_timer);
    if (!conn->pooled.is_idle) {
        return; /* in use; becoming idle sets it again */
    }
    if (mr_mono_before(loop_now(conn->client->loop), conn->idle_until)) {
        loop_timer_set(conn->client->loop, timer, conn->idle_until);
        return;
    }
    http_conn_doom(conn, false);
}

/* Back to the pool. The timer is left where it stands: it looks again when it fires. */
static void conn_release(struct http_conn *conn) {
    struct http_client *client = conn->client;
    conn->call = NULL;
    conn->has_served = true;
    if (conn->idle_ms <= 0 || !http_pool_put(&conn->pooled)) {
        http_conn_doom(conn, false);
        return;
    }
    conn->idle_until = mr_mono_add_ms(loop_now(client->loop), conn->idle_ms);
    if (!loop_timer_is_set(&conn->idle_timer)) {
        loop_timer_set(client->loop, &conn->idle_timer, conn->idle_until);
    }
    http_client_idle(client, conn->pooled.key);
}

/* ---- deadlines, steps, ends ---- */

void http_call_arm(struct http_call *call) {
    mr_mono due = mr_mono_min(call->total_due, call->phase_due);
    loop_timer_set(call->client->loop, &call->timer, mr_mono_min(due, call->release_due));
}

void http_call_step(struct http_call *call, enum http_step step, enum http_step_state state) {
    mr_mono now = loop_now(call->client->loop);
    call->step = step;
    call->steps[step].state = state;
    call->steps[step].duration_ns = mr_mono_diff_ns(now, call->step_started);
    call->step_started = now;
}

void http_call_detach(struct http_call *call) {
    if (call->state == HTTP_CALL_WAITING) {
        http_client_unqueue(call);
    }
    if (call->connecting != NULL) {
        http_connecting_free(call);
        http_pool_leave(call->key);
        http_client_later(call->client);
    }
    if (call->conn != NULL) {
        http_conn_doom(call->conn, true);
        call->conn = NULL;
    }
    loop_timer_cancel(call->client->loop, &call->timer);
}

void http_call_fail(struct http_call *call, enum http_failure failure, enum http_step step,
                    const char *format, ...) {
    MR_ASSERT(call->state != HTTP_CALL_FREE && call->state != HTTP_CALL_ENDED);
    va_list args;
    va_start(args, format);
    vsnprintf(call->detail, sizeof call->detail, format, args);
    va_end(args);
    http_call_step(call, step, HTTP_STEP_FAILED);
    call->failure = failure;
    http_call_detach(call);
    call->state = HTTP_CALL_ENDED;
    mr_list_push_back(&call->client->ending, &call->queue);
    http_client_later(call->client);
}

static void release_body(struct http_call *call) {
    call->is_body_gone = true;
    call->release_due = MR_MONO_NEVER;
    void (*on_body_released)(void *ctx) = call->on_body_released;
    call->on_body_released = NULL;
    if (on_body_released != NULL) {
        on_body_released(call->ctx);
    }
}

/* The response is there. fields are told as they are, or read again from the copy of the head; the
 * connection is given back before the call is told, so that on_done may use it at once. */
static void finish(struct http_call *call, bool is_reusable, const mr_fields *fields) {
    struct http_client *client = call->client;
    struct http_conn *conn = call->conn;
    mr_fields found = {NULL, 0};
    loop_timer_cancel(client->loop, &call->timer);
    call->conn = NULL;
    call->state = HTTP_CALL_ENDED;
    if (is_reusable) {
        conn_release(conn);
    } else {
        http_conn_doom(conn, call->taken < call->size);
    }
    if (fields != NULL) {
        found = *fields;
    } else {
        struct http_scan scan = {0};
        size_t used;
        mr_err err = http_response_parse(&scan, mr_buf_view(&call->head_copy), call->is_to_head,
                                         &client->head, &used);
        MR_ASSERT(mr_is_ok(err)); /* it was parsed before */
        found = http_head_fields(&client->head);
    }
    http_client_tell(call, found);
}

static const char *waiting_for(const struct http_call *call) {
    switch (call->step) {
    case HTTP_STEP_NAME:
        return "the name was not found";
    case HTTP_STEP_ADDRESS:
    case HTTP_STEP_CONNECT:
        return "no connection was made";
    case HTTP_STEP_TLS:
        return "the TLS handshake did not end";
    case HTTP_STEP_REQUEST:
        return "the server did not take the whole request";
    case HTTP_STEP_RESPONSE:
        return call->has_bytes ? "the head of the response did not end" : "no response came";
    case HTTP_STEP_COUNT:
        break;
    }
    return "nothing happened";
}

void http_call_on_timer(struct loop_timer *timer) {
    struct http_call *call = MR_CONTAINER(timer, struct http_call, timer);
    mr_mono now = loop_now(call->client->loop);
    mr_mono due = mr_mono_min(call->total_due, call->phase_due);
    if (mr_mono_before(now, due)) {
        release_body(call);
        if (call->state != HTTP_CALL_ENDED) {
            http_call_arm(call);
        }
        return;
    }
    switch (call->state) {
    case HTTP_CALL_WAITING:
        http_call_fail(call, HTTP_FAIL_CONNECT, HTTP_STEP_CONNECT,
                       "no connection could be opened within %u ms: too many are open or being "
                       "opened",
                       call->total_ms);
        return;
    case HTTP_CALL_BODY:
        call->is_body_cut = true;
        finish(call, false, NULL);
        return;
    case HTTP_CALL_NAME:
        call->step = HTTP_STEP_NAME;
        break;
    case HTTP_CALL_CONNECT:
    case HTTP_CALL_TUNNEL:
        call->step = HTTP_STEP_CONNECT;
        break;
    case HTTP_CALL_TLS:
        call->step = HTTP_STEP_TLS;
        break;
    case HTTP_CALL_SEND:
        call->step = HTTP_STEP_REQUEST;
        break;
    case HTTP_CALL_HEAD:
        call->step = HTTP_STEP_RESPONSE;
        break;
    case HTTP_CALL_FREE:
    case HTTP_CALL_ENDED:
        return;
    }
    http_call_fail(call, HTTP_FAIL_TIMEOUT, call->step, "%s within %lld ms", waiting_for(call),
                   (long long)call->total_ms - mr_mono_diff_ms(call->total_due, due));
}

/* A connection is there, or is being made: the total deadline runs from here. */
void http_call_begin(struct http_call *call) {
    mr_mono now = loop_now(call->client->loop);
    if (!call->has_begun) {
        call->has_begun = true;
        call->queue_ns = mr_mono_diff_ns(now, call->started);
        call->total_due = mr_mono_add_ms(now, call->total_ms);
    }
}

/* ---- sending ---- */

static void call_sent(struct http_call *call) {
    mr_mono now = loop_now(call->client->loop);
    if (call->state == HTTP_CALL_SEND) {
        call->state = HTTP_CALL_HEAD;
        http_call_step(call, HTTP_STEP_REQUEST, HTTP_STEP_OK);
        call->step = HTTP_STEP_RESPONSE;
        call->phase_due = call->read_ms > 0 ? mr_mono_add_ms(now, call->read_ms) : MR_MONO_NEVER;
    }
    if (call->on_body_released != NULL) {
        if (!call->is_reused) {
            release_body(call);
        } else {
            call->release_due = mr_mono_add_ms(now, RELEASE_MS);
        }
    }
    /* The body's owner may have ended the call. */
    if (call->state != HTTP_CALL_ENDED &&
        (call->read_ms > 0 || call->release_due.ns != MR_MONO_NEVER.ns)) {
        http_call_arm(call);
    }
}

/* Offers what is left. A connection that is lost is told by on_end. */
static void call_send(struct http_call *call) {
    struct stream *stream = &call->conn->stream;
    if (call->taken < call->size) {
        struct iovec iov[HTTP_CALL_IOV_MAX + 1];
        int n = 0;
        size_t skip = call->taken;
        struct iovec piece = {call->text.ptr + call->url_len, call->text.len - call->url_len};
        for (size_t i = 0; i <= call->n_body; i++) {
            if (skip < piece.iov_len) {
                iov[n++] = (struct iovec){(char *)piece.iov_base + skip, piece.iov_len - skip};
                skip = 0;
            } else {
                skip -= piece.iov_len;
            }
            if (i < call->n_body) {
                piece = call->body[i];
            }
        }
        size_t taken = 0;
        if (mr_is_err(stream_send(stream, iov, n, &taken))) {
            return;
        }
        call->taken += taken;
        if (call->taken < call->size) {
            return;
        }
    }
    if (stream_pending(stream) > 0) {
        stream_want_writable(stream);
        return;
    }
    call_sent(call);
}

void http_call_send(struct http_call *call) {
    call->state = HTTP_CALL_SEND;
    call->step = HTTP_STEP_REQUEST;
    call->step_started = loop_now(call->client->loop);
    call->phase_due = MR_MONO_NEVER;
    call->taken = 0;
    call->sends++;
    http_call_arm(call);
    call_send(call);
}

void http_call_use(struct http_call *call, struct http_conn *conn) {
    call->conn = conn;
    conn->call = call;
    call->is_reused = true;
    call->peer_addr = conn->peer;
    http_call_begin(call);
    http_call_send(call);
}

/* ---- the stream's events ---- */

static void on_open(struct stream *stream) {
    struct http_conn *conn = MR_CONTAINER(stream, struct http_conn, stream);
    struct http_call *call = conn->call;
    if (conn->is_doomed || call == NULL) {
        return;
    }
    http_call_step(call, HTTP_STEP_TLS, HTTP_STEP_OK);
    if (call->is_fresh) {
        call->tls_text = MR_NEW(struct net_trust_problem);
        if (call->tls_text != NULL) {
            net_trust_describe(stream_ssl(stream), call->tls_text);
        }
    }
    http_call_send(call);
}

static void on_writable(struct stream *stream) {
    struct http_conn *conn = MR_CONTAINER(stream, struct http_conn, stream);
    if (!conn->is_doomed && conn->call != NULL && conn->call->state == HTTP_CALL_SEND) {
        call_send(conn->call);
    }
}

/* The peer's "Keep-Alive: timeout=5", less a second for the way. */
static void read_keep_alive(struct http_conn *conn, const struct http_head *head) {
    mr_str rest = mr_fields_find(http_head_fields(head), MR_STR("keep-alive"));
    mr_str part;
    while (mr_str_split(&rest, ',', &part)) {
        mr_str name;
        mr_str value = mr_str_trim(part);
        uint64_t seconds;
        if (mr_str_split(&value, '=', &name) &&
            mr_str_eq_nocase(mr_str_trim(name), MR_STR("timeout")) &&
            mr_is_ok(mr_u64_parse(mr_str_trim(value), 0, 86400, &seconds))) {
            int64_t ms = ((int64_t)seconds - 1) * 1000;
            conn->idle_ms = ms < HTTP_CONN_IDLE_MS ? ms : HTTP_CONN_IDLE_MS;
        }
    }
}

static bool request_is_out(const struct http_call *call) {
    return call->taken == call->size && call->state != HTTP_CALL_SEND;
}

static size_t body_read_max(const struct http_call *call) {
    return call->kept.max > HTTP_CALL_BODY_READ_MAX ? call->kept.max : HTTP_CALL_BODY_READ_MAX;
}

/* Reads on in the body. True: the call is over (and told). fields: of a head in the same bytes. */
static bool read_body(struct http_call *call, mr_str *in, bool was_sent, const mr_fields *fields) {
    while (!call->reader.is_done) {
        mr_str piece;
        mr_err err = http_body_next(&call->reader, in, &piece);
        if (mr_err_is(err, MR_E_AGAIN)) {
            return false;
        }
        if (mr_is_err(err)) {
            call->is_body_cut = true;
            finish(call, false, fields);
            return true;
        }
        call->body_read += piece.len;
        size_t room = call->kept.max - call->kept.len;
        mr_str keep = mr_str_slice(piece, 0, room);
        bool is_kept = mr_is_ok(mr_buf_str(&call->kept, keep));
        call->is_body_cut = call->is_body_cut || !is_kept || keep.len < piece.len;
        if (call->body_read > body_read_max(call) && !call->reader.is_done) {
            call->is_body_cut = true;
            finish(call, false, fields);
            return true;
        }
    }
    finish(call, call->keep_alive && was_sent && in->len == 0, fields);
    return true;
}

/* A final head: used bytes from the front of bytes. Returns as on_data. */
static size_t on_final_head(struct http_call *call, mr_str bytes, size_t used) {
    struct http_head *head = &call->client->head;
    bool was_sent = request_is_out(call);
    call->status = (uint16_t)head->status;
    call->keep_alive = head->keep_alive;
    if (!was_sent) {
        http_call_step(call, HTTP_STEP_REQUEST, HTTP_STEP_OK);
    }
    http_call_step(call, HTTP_STEP_RESPONSE, HTTP_STEP_OK);
    read_keep_alive(call->conn, head);
    http_body_init(&call->reader, head);
    mr_fields fields = http_head_fields(head);
    mr_str in = mr_str_slice(bytes, used, bytes.len);
    call->state = HTTP_CALL_BODY;
    if (read_body(call, &in, was_sent, &fields)) {
        return bytes.len;
    }
    /* The body is still coming: the head's bytes will not stay. A connection whose request was cut
     * off by an early answer is not used again. */
    call->keep_alive = call->keep_alive && was_sent;
    mr_buf_reset(&call->head_copy);
    if (mr_is_err(mr_buf_append(&call->head_copy, bytes.ptr, used))) {
        http_call_fail(call, HTTP_FAIL_RESPONSE, HTTP_STEP_RESPONSE,
                       "there is no memory for the response");
        return bytes.len;
    }
    call->phase_due = MR_MONO_NEVER;
    if (call->on_body_released != NULL) {
        release_body(call);
    }
    if (call->state != HTTP_CALL_ENDED) {
        http_call_arm(call);
    }
    return bytes.len;
}

static size_t on_head_bytes(struct http_call *call, mr_str bytes) {
    struct http_head *head = &call->client->head;
    size_t at = 0;
    for (;;) {
        size_t used = 0;
        mr_str rest = mr_str_slice(bytes, at, bytes.len);
        mr_err err = http_response_parse(&call->scan, rest, call->is_to_head, head, &used);
        if (mr_err_is(err, MR_E_AGAIN)) {
            break;
        }
        if (mr_is_err(err)) {
            http_call_fail(call, HTTP_FAIL_RESPONSE, HTTP_STEP_RESPONSE,
                           "the response is not valid HTTP/1.1: %s",
                           head->problem != NULL ? head->problem : "malformed");
            return bytes.len;
        }
        call->scan = (struct http_scan){0};
        if (head->status >= 200) {
            return on_final_head(call, rest, used) + at;
        }
        at += used;
        if (++call->n_interim > HTTP_CALL_INTERIM_MAX) {
            http_call_fail(call, HTTP_FAIL_RESPONSE, HTTP_STEP_RESPONSE,
                           "the server sent more than %d interim responses", HTTP_CALL_INTERIM_MAX);
            return bytes.len;
        }
    }
    if (request_is_out(call) && call->on_body_released != NULL) {
        release_body(call);
    }
    return at;
}

static size_t on_data(struct stream *stream, mr_str bytes) {
    struct http_conn *conn = MR_CONTAINER(stream, struct http_conn, stream);
    struct http_call *call = conn->call;
    if (conn->is_doomed) {
        return bytes.len;
    }
    if (call == NULL) { /* idle: nobody asked */
        http_conn_doom(conn, true);
        return bytes.len;
    }
    call->has_bytes = true;
    if (call->state == HTTP_CALL_BODY) {
        mr_str in = bytes;
        read_body(call, &in, true, NULL);
        return bytes.len;
    }
    return on_head_bytes(call, bytes);
}

/* A re-used connection died without a byte: once again, on a new one. */
static void send_again(struct http_call *call) {
    http_call_detach(call);
    call->must_connect = true;
    call->is_reused = false;
    call->release_due = MR_MONO_NEVER;
    call->scan = (struct http_scan){0};
    memset(call->steps, 0, sizeof call->steps);
    http_client_enqueue(call, true);
}

static void explain_tls(struct http_call *call, struct stream *stream) {
    struct net_trust_problem problem;
    net_trust_explain(stream_ssl(stream), call->url.host, stream_tls_problem(stream), &problem);
    http_call_fail(call, HTTP_FAIL_TLS, HTTP_STEP_TLS, "%s", problem.text);
}

static void on_lost(struct http_call *call, struct stream *stream, enum stream_end how) {
    if (call->is_reused && !call->has_bytes && !call->is_body_gone && call->sends < 2) {
        send_again(call);
        return;
    }
    if (how == STREAM_END_TLS) {
        explain_tls(call, stream);
        return;
    }
    bool is_out = request_is_out(call);
    const char *why = how == STREAM_END_LOST     ? net_error_text(stream->error)
                      : how == STREAM_END_MEMORY ? "there is no memory for the response"
                                                 : "the server closed the connection";
    http_call_fail(call, is_out ? HTTP_FAIL_RESPONSE : HTTP_FAIL_REQUEST,
                   is_out ? HTTP_STEP_RESPONSE : HTTP_STEP_REQUEST, "%s: %s",
                   !is_out           ? "the request could not be sent"
                   : call->has_bytes ? "the response ended within its head"
                                     : "no response came",
                   why);
}

static void on_end(struct stream *stream, enum stream_end how) {
    struct http_conn *conn = MR_CONTAINER(stream, struct http_conn, stream);
    struct http_call *call = conn->call;
    if (conn->is_doomed) {
        return;
    }
    if (call == NULL) {
        http_conn_doom(conn, false);
        return;
    }
    switch (call->state) {
    case HTTP_CALL_TLS:
        if (how == STREAM_END_LOST) {
            http_call_fail(call, HTTP_FAIL_TLS, HTTP_STEP_TLS, "the TLS handshake broke off: %s",
                           net_error_text(stream->error));
        } else {
            explain_tls(call, stream);
        }
        return;
    case HTTP_CALL_SEND:
    case HTTP_CALL_HEAD:
        on_lost(call, stream, how);
        return;
    case HTTP_CALL_BODY:
        call->is_body_cut = call->is_body_cut || call->reader.framing != HTTP_FRAMING_CLOSE ||
                            how != STREAM_END_EOF;
        finish(call, false, NULL);
        return;
    case HTTP_CALL_FREE:
    case HTTP_CALL_WAITING:
    case HTTP_CALL_NAME:
    case HTTP_CALL_CONNECT:
    case HTTP_CALL_TUNNEL:
    case HTTP_CALL_ENDED:
        break;
    }
    http_conn_doom(conn, true);
}

const struct stream_events http_conn_events = {
    .on_open = on_open,
    .on_data = on_data,
    .on_end = on_end,
    .on_writable = on_writable,
};
