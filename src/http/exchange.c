/* Exchanges and the bytes of their answers. See exchange.h, connection.h.
 *
 * An answer is written where it is needed next: into the connection's output when the exchange is
 * the first in line, else into a buffer of its own that is moved when its turn comes. Nothing is
 * sent here; the connection's flush task does it once per turn, so that all answers of a turn leave
 * in one system call, and on_end never runs inside a handler's call. */
#include "http/connection.h"

#include "base/mem.h"

#include <stdio.h>

/* Room for the status line and the fields that the engine adds. */
#define HEAD_OWN_SIZE 256

static struct exchange *inside(struct http_exchange *ex) {
    return MR_CONTAINER(ex, struct exchange, pub);
}

/* Recycling */

struct exchange *http_exchange_begin(struct http_connection *conn) {
    struct http_server *server = conn->server;
    mr_list *node = mr_list_pop_front(&server->spare_exchanges);
    struct exchange *ex;
    mr_arena arena;
    if (node != NULL) {
        server->n_spare_exchanges--;
        ex = MR_CONTAINER(node, struct exchange, node);
        arena = ex->pub.arena;
    } else {
        ex = MR_NEW(struct exchange);
        if (ex == NULL) {
            return NULL;
        }
        mr_arena_init_private(&arena, HTTP_EXCHANGE_ARENA_MAX);
    }
    *ex = (struct exchange){.conn = conn, .pub.arena = arena};
    mr_list_push_back(&conn->exchanges, &ex->node);
    conn->n_exchanges++;
    return ex;
}

void http_exchange_free_memory(struct exchange *ex) {
    mr_arena_done(&ex->pub.arena);
    mr_free(ex);
}

void http_exchange_end(struct exchange *ex, bool is_lost) {
    struct http_connection *conn = ex->conn;
    struct http_server *server = conn->server;
    mr_list_remove(&ex->node);
    conn->n_exchanges--;
    if (conn->reading == ex) {
        conn->reading = NULL;
    }
    if (ex->owes_end) {
        ex->owes_end = false;
        ex->pub.is_lost |= is_lost;
        server->handler->on_end(server->ctx, &ex->pub);
    }
    mr_buf_done(&ex->out);
    if (server->n_spare_exchanges == HTTP_SPARE_EXCHANGES) {
        http_exchange_free_memory(ex);
        return;
    }
    if (ex->pub.arena.used > HTTP_SPARE_BUF_SIZE) {
        mr_arena_done(&ex->pub.arena);
    } else {
        mr_arena_reset(&ex->pub.arena);
    }
    server->n_spare_exchanges++;
    mr_list_push_front(&server->spare_exchanges, &ex->node);
}

/* The request */

/* A slice of the head's bytes becomes the same slice of their copy. */
static mr_str moved(mr_str s, mr_str from, const char *to) {
    bool is_inside = s.ptr >= from.ptr && s.ptr <= from.ptr + from.len;
    return is_inside ? mr_str_of(to + (s.ptr - from.ptr), s.len) : s;
}

mr_err http_exchange_fill(struct exchange *ex, const struct http_head *head, mr_str head_bytes) {
    struct http_exchange *pub = &ex->pub;
    char *copy = mr_arena_alloc(&pub->arena, head_bytes.len);
    mr_field *fields = mr_arena_alloc(&pub->arena, head->n_fields * sizeof *fields);
    if (copy == NULL || fields == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    memcpy(copy, head_bytes.ptr, head_bytes.len);
    for (size_t i = 0; i < head->n_fields; i++) {
        fields[i].name = moved(head->fields[i].name, head_bytes, copy);
        fields[i].value = moved(head->fields[i].value, head_bytes, copy);
    }
    pub->method = head->method;
    pub->method_text = moved(head->method_text, head_bytes, copy);
    pub->path = moved(head->path, head_bytes, copy);
    pub->query = moved(head->query, head_bytes, copy);
    pub->host = moved(head->host, head_bytes, copy);
    pub->fields = (mr_fields){fields, head->n_fields};
    pub->minor = head->minor;
    pub->peer = ex->conn->peer;
    pub->is_tls = ex->conn->stream.tls != NULL;
    pub->has_body = head->framing != HTTP_FRAMING_NONE;
    pub->content_length = head->framing == HTTP_FRAMING_LENGTH ? head->content_length : 0;
    pub->started = loop_now(ex->conn->server->loop);
    ex->keep_alive = head->keep_alive;
    ex->owes_continue = head->expects_continue && pub->has_body;
    return MR_OK;
}

void http_exchange_want_body(struct http_exchange *pub, size_t max) {
    struct exchange *ex = inside(pub);
    MR_ASSERT(ex->in_on_head && !ex->wants_body);
    ex->wants_body = true;
    ex->body_max = max;
}

void http_exchange_want_private_body(struct http_exchange *pub, size_t max) {
    http_exchange_want_body(pub, max);
    inside(pub)->is_private = true;
}

/* The answer */

static bool is_first(const struct exchange *ex) {
    return ex->conn->exchanges.next == &ex->node;
}

/* Where the next bytes of this answer go. */
static mr_buf *outlet(struct exchange *ex) {
    struct http_connection *conn = ex->conn;
    mr_buf *out = is_first(ex) ? &conn->out : &ex->out;
    if (out->ptr == NULL) {
        *out = http_server_take_buf(conn->server);
    }
    if (out == &conn->out && out->len == 0) {
        conn->write_since = loop_now(conn->server->loop);
        conn->sent = 0;
    }
    return out;
}

/* The answer cannot be written whole: the connection is lost. */
static void give_up(struct exchange *ex) {
    ex->conn->is_broken = true;
    ex->is_done = true;
    ex->pub.is_lost = true;
    loop_defer(ex->conn->server->loop, &ex->conn->flush);
}

static char *put(char *at, mr_str s) {
    if (s.len > 0) {
        memcpy(at, s.ptr, s.len);
    }
    return at + s.len;
}

static char *put_u64(char *at, uint64_t n) {
    char digits[20];
    size_t from = sizeof digits;
    do {
        digits[--from] = (char)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    return put(at, mr_str_of(digits + from, sizeof digits - from));
}

/* A field of the handler's that may go out: valid, and not one that the engine writes. */
static bool is_sendable(mr_field field) {
    static const mr_str own[] = {
        {"connection", 10}, {"content-length", 14}, {"date", 4}, {"transfer-encoding", 17}};
    if (!http_is_token(field.name) || !http_is_field_value(field.value)) {
        return false;
    }
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (field.name.len == own[i].len && mr_str_eq_nocase(field.name, own[i])) {
            return false;
        }
    }
    return true;
}

static bool has_no_body(int status) {
    return status < 200 || status == 204 || status == 304;
}

struct answer {
    int status;
    const mr_field *fields;
    size_t n_fields;
    mr_str body;
    bool is_stream;
};

/* Head and body in one piece. */
static mr_err write_answer(struct exchange *ex, const struct answer *answer) {
    size_t size = HEAD_OWN_SIZE + answer->body.len;
    for (size_t i = 0; i < answer->n_fields; i++) {
        size += answer->fields[i].name.len + answer->fields[i].value.len + 4;
    }
    mr_buf *out = outlet(ex);
    char *start;
    MR_TRY(mr_buf_reserve(out, size, &start));
    char *at = put(start, MR_STR("HTTP/1.1 "));
    at = put_u64(at, (uint64_t)answer->status);
    *at++ = ' ';
    at = put(at, mr_str_c(http_reason(answer->status)));
    at = put(at, MR_STR("\r\ndate: "));
    at = put(at, http_server_date(ex->conn->server));
    for (size_t i = 0; i < answer->n_fields; i++) {
        if (is_sendable(answer->fields[i])) {
            at = put(at, MR_STR("\r\n"));
            at = put(at, answer->fields[i].name);
            at = put(at, MR_STR(": "));
            at = put(at, answer->fields[i].value);
        }
    }
    bool is_without = has_no_body(answer->status);
    if (answer->is_stream && ex->is_chunked) {
        at = put(at, MR_STR("\r\ntransfer-encoding: chunked"));
    } else if (!answer->is_stream && !is_without) {
        at = put(at, MR_STR("\r\ncontent-length: "));
        at = put_u64(at, answer->body.len);
    }
    if (ex->closes) {
        at = put(at, MR_STR("\r\nconnection: close"));
    } else if (ex->pub.minor == 0) {
        at = put(at, MR_STR("\r\nconnection: keep-alive"));
    }
    at = put(at, MR_STR("\r\n\r\n"));
    if (!is_without && ex->pub.method != HTTP_HEAD) {
        at = put(at, answer->body);
    }
    mr_buf_commit(out, (size_t)(at - start));
    return MR_OK;
}

/* Before the answer's head is written, because that announces it. */
static void decide_close(struct exchange *ex) {
    const struct http_exchange *pub = &ex->pub;
    /* A client that waits for 100 may never send the body, and a large one is not worth reading. */
    bool skips_body = pub->has_body && !ex->wants_body &&
                      (ex->owes_continue || pub->content_length > HTTP_DROPPED_BODY_MAX);
    ex->closes |= skips_body || !ex->keep_alive || ex->conn->server->is_stopping;
}

static void answer(struct exchange *ex, int status, const mr_field *fields, size_t n_fields,
                   mr_str body) {
    MR_ASSERT(status >= 200 && status <= 599);
    decide_close(ex);
    struct answer whole = {.status = status, .fields = fields, .n_fields = n_fields, .body = body};
    if (mr_is_err(write_answer(ex, &whole))) {
        give_up(ex);
        return;
    }
    ex->is_done = true;
    loop_defer(ex->conn->server->loop, &ex->conn->flush);
}

void http_exchange_answer(struct http_exchange *pub, int status, const mr_field *fields,
                          size_t n_fields, mr_str body) {
    struct exchange *ex = inside(pub);
    if (!pub->is_lost) {
        MR_ASSERT(!ex->is_done && !ex->is_started);
        answer(ex, status, fields, n_fields, body);
    }
}

void http_exchange_answer_and_close(struct http_exchange *pub, int status, const mr_field *fields,
                                    size_t n_fields, mr_str body) {
    struct exchange *ex = inside(pub);
    if (!pub->is_lost) {
        MR_ASSERT(!ex->is_done && !ex->is_started);
        ex->closes = true;
        answer(ex, status, fields, n_fields, body);
    }
}

void http_exchange_refuse(struct exchange *ex, int status, const char *reason) {
    struct http_server *server = ex->conn->server;
    mr_metric_add(server->shared->metrics, MR_METRIC_HTTP_REFUSED, 1);
    ex->pub.is_lost = true; /* whatever the handler would say, it is not handed over */
    ex->closes = true;
    mr_buf body;
    mr_buf_init(&body, HTTP_SPARE_BUF_SIZE);
    mr_field more = {MR_STR_NONE, MR_STR_NONE};
    mr_field fields[5] = {{MR_STR("content-type"), MR_STR_NONE},
                          {MR_STR("x-content-type-options"), MR_STR("nosniff")},
                          {MR_STR("access-control-allow-origin"), MR_STR("*")},
                          {MR_STR("retry-after"), MR_STR("1")}};
    size_t n = status == 503 ? 4 : 3;
    fields[0].value = server->handler->refuse(server->ctx, &ex->pub, status, reason, &body, &more);
    if (!mr_str_is_absent(more.name)) {
        fields[n++] = more;
    }
    answer(ex, status, fields, n, mr_buf_view(&body));
    mr_buf_done(&body);
}

void http_exchange_continue(struct exchange *ex) {
    if (!ex->owes_continue || !is_first(ex)) {
        return;
    }
    ex->owes_continue = false;
    if (mr_is_err(mr_buf_str(outlet(ex), MR_STR("HTTP/1.1 100 Continue\r\n\r\n")))) {
        give_up(ex);
    }
    loop_defer(ex->conn->server->loop, &ex->conn->flush);
}

void http_exchange_promote(struct exchange *ex) {
    struct http_connection *conn = ex->conn;
    if (ex->wants_body && conn->reading == ex && !ex->is_done) {
        http_exchange_continue(ex);
    }
    if (ex->out.len == 0) {
        return;
    }
    if (conn->out.len == 0) {
        http_server_give_buf(conn->server, &conn->out);
        conn->out = ex->out;
        conn->out_at = 0;
        conn->sent = 0;
        conn->write_since = loop_now(conn->server->loop);
        ex->out = (mr_buf){0};
        return;
    }
    if (mr_is_err(mr_buf_append(&conn->out, ex->out.ptr, ex->out.len))) {
        give_up(ex);
    }
    http_server_give_buf(conn->server, &ex->out);
}

/* Streaming answers */

void http_exchange_start(struct http_exchange *pub, int status, const mr_field *fields,
                         size_t n_fields) {
    struct exchange *ex = inside(pub);
    if (pub->is_lost) {
        return;
    }
    MR_ASSERT(!ex->is_done && !ex->is_started && status >= 200 && status <= 599);
    ex->is_started = true;
    ex->is_chunked = pub->minor == 1 && !has_no_body(status);
    ex->is_mute = pub->method == HTTP_HEAD || has_no_body(status);
    ex->closes |= pub->minor == 0 && !ex->is_mute;
    decide_close(ex);
    struct answer begun = {
        .status = status, .fields = fields, .n_fields = n_fields, .is_stream = true};
    if (mr_is_err(write_answer(ex, &begun))) {
        give_up(ex);
        return;
    }
    loop_defer(ex->conn->server->loop, &ex->conn->flush);
}

size_t http_exchange_buffered(const struct http_exchange *pub) {
    const struct exchange *ex = (const struct exchange *)(const void *)pub;
    return is_first(ex) ? http_connection_unsent(ex->conn) : ex->out.len;
}

static mr_err append_chunk(struct exchange *ex, mr_str bytes) {
    char size_line[24];
    int n = snprintf(size_line, sizeof size_line, "%zx\r\n", bytes.len);
    mr_buf *out = outlet(ex);
    MR_TRY(mr_buf_reserve(out, bytes.len + (size_t)n + 2, NULL));
    if (ex->is_chunked) {
        MR_TRY(mr_buf_append(out, size_line, (size_t)n));
    }
    MR_TRY(mr_buf_str(out, bytes));
    return ex->is_chunked ? mr_buf_str(out, MR_STR("\r\n")) : MR_OK;
}

mr_err http_exchange_chunk(struct http_exchange *pub, mr_str bytes) {
    struct exchange *ex = inside(pub);
    if (ex->conn->is_broken || pub->is_lost) {
        return MR_ERR(MR_E_CLOSED);
    }
    MR_ASSERT(ex->is_started && !ex->is_done);
    if (bytes.len > HTTP_STREAM_BUFFERED_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    if (bytes.len == 0 || ex->is_mute) {
        return MR_OK;
    }
    if (http_exchange_buffered(pub) + bytes.len > HTTP_STREAM_BUFFERED_MAX) {
        ex->wants_drain = true;
        return MR_ERR(MR_E_AGAIN);
    }
    MR_TRY(append_chunk(ex, bytes));
    loop_defer(ex->conn->server->loop, &ex->conn->flush);
    return MR_OK;
}

void http_exchange_finish(struct http_exchange *pub) {
    struct exchange *ex = inside(pub);
    if (ex->is_done) {
        return; /* lost meanwhile; on_end is on its way */
    }
    MR_ASSERT(ex->is_started);
    if (ex->is_chunked && !ex->is_mute && mr_is_err(mr_buf_str(outlet(ex), MR_STR("0\r\n\r\n")))) {
        give_up(ex);
        return;
    }
    ex->is_done = true;
    loop_defer(ex->conn->server->loop, &ex->conn->flush);
}
