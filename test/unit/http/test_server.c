/* The HTTP server over real loopback connections, driven turn by turn: what it answers, what it
 * refuses, how it bounds slow and greedy peers, how it stops. */
#include "base/mem.h"
#include "base/num.h"
#include "http/server.h"
#include "net/tls.h"
#include "os/clock.h"
#include "../net/support_certs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <openssl/ssl.h>
#include <cmocka.h>

#define LATER_MAX 32

struct fixture {
    struct loop loop;
    mr_metrics metrics;
    struct stream_shared shared;
    struct http_server_options options;
    struct http_server *server;
    os_addr bound;
    /* what the handler saw */
    int n_heads, n_bodies, n_ends, n_lost, n_drains, n_refused, last_refusal;
    size_t last_body;
    struct http_exchange *later[LATER_MAX];
    int n_later;
    bool pauses_in_head;
    bool has_stopped;
    mr_buf got; /* what the client received last */
};

static struct fixture *made;

/* The handler: the path says what it does. */

static void keep_for_later(struct http_exchange *ex) {
    assert_true(made->n_later < LATER_MAX);
    made->later[made->n_later++] = ex;
}

static void on_head(void *ctx, struct http_exchange *ex) {
    assert_ptr_equal(ctx, made);
    made->n_heads++;
    if (made->pauses_in_head) {
        http_server_pause(made->server);
    }
    mr_field type = {MR_STR("content-type"), MR_STR("text/plain")};
    if (mr_str_eq(ex->path, MR_STR("/ok"))) {
        http_exchange_answer(ex, 200, &type, 1, MR_STR("fine"));
    } else if (mr_str_eq(ex->path, MR_STR("/echo"))) {
        http_exchange_want_body(ex, 1000);
    } else if (mr_str_eq(ex->path, MR_STR("/big"))) {
        http_exchange_want_body(ex, (size_t)8 << 20);
    } else if (mr_str_eq(ex->path, MR_STR("/later"))) {
        keep_for_later(ex);
    } else if (mr_str_eq(ex->path, MR_STR("/close"))) {
        http_exchange_answer_and_close(ex, 200, NULL, 0, MR_STR("bye"));
    } else if (mr_str_eq(ex->path, MR_STR("/empty"))) {
        http_exchange_answer(ex, 204, NULL, 0, MR_STR(""));
    } else if (mr_str_eq(ex->path, MR_STR("/split"))) {
        mr_field bad[3] = {{MR_STR("x-bad"), MR_STR("a\r\nx-evil: b")},
                           {MR_STR("x bad"), MR_STR("a")},
                           {MR_STR("Content-Length"), MR_STR("99")}};
        http_exchange_answer(ex, 200, bad, 3, MR_STR("fine"));
    } else if (mr_str_eq(ex->path, MR_STR("/stream"))) {
        http_exchange_start(ex, 200, &type, 1);
        keep_for_later(ex);
    } else {
        http_exchange_answer(ex, 404, NULL, 0, ex->path);
    }
}

static void on_body(void *ctx, struct http_exchange *ex, mr_str body) {
    (void)ctx;
    made->n_bodies++;
    made->last_body = body.len;
    char text[40];
    int n = snprintf(text, sizeof text, "got %zu bytes", body.len);
    bool is_echo = mr_str_eq(ex->path, MR_STR("/echo"));
    http_exchange_answer(ex, 200, NULL, 0, is_echo ? body : mr_str_of(text, (size_t)n));
}

static void on_end(void *ctx, struct http_exchange *ex) {
    (void)ctx;
    made->n_ends++;
    made->n_lost += ex->is_lost ? 1 : 0;
    for (int i = 0; i < made->n_later; i++) {
        if (made->later[i] == ex) {
            made->later[i] = NULL;
        }
    }
}

static void on_drain(void *ctx, struct http_exchange *ex) {
    (void)ctx;
    (void)ex;
    made->n_drains++;
}

static mr_str refuse(void *ctx, struct http_exchange *ex, int status, const char *reason,
                     mr_buf *body, mr_field *ret_field) {
    (void)ctx;
    (void)ex;
    (void)ret_field;
    made->n_refused++;
    made->last_refusal = status;
    assert_true(mr_is_ok(mr_buf_printf(body, "refused: %s", reason)));
    return MR_STR("text/x-refusal");
}

static const struct http_handler handler = {.on_head = on_head,
                                            .on_body = on_body,
                                            .on_end = on_end,
                                            .on_drain = on_drain,
                                            .refuse = refuse};

/* The stage */

static int set_up(void **state) {
    (void)state;
    made = MR_NEW(struct fixture);
    assert_true(mr_is_ok(loop_init(&made->loop, &made->metrics)));
    assert_true(mr_is_ok(stream_shared_init(&made->shared, &made->loop, &made->metrics)));
    made->options = http_server_options_default();
    mr_buf_init(&made->got, (size_t)64 << 20);
    return 0;
}

static void start(void) {
    os_addr any;
    assert_true(mr_is_ok(os_addr_parse(MR_STR("127.0.0.1:0"), &any)));
    assert_true(mr_is_ok(http_server_new(&made->shared, &any, &made->options, &handler, made, NULL,
                                         &made->server, &made->bound)));
    assert_true(made->bound.port != 0);
}

static int tear_down(void **state) {
    (void)state;
    http_server_free(made->server);
    assert_int_equal(made->n_ends, made->n_heads); /* on_end exactly once, whatever happened */
    assert_int_equal(mr_metric_get(&made->metrics, MR_METRIC_HTTP_CONNECTIONS), 0);
    stream_shared_done(&made->shared);
    loop_done(&made->loop);
    mr_buf_done(&made->got);
    mr_free(made);
    return 0;
}

static int dial(void) {
    int fd;
    assert_true(mr_is_ok(os_connect_start(&made->bound, &fd)));
    return fd;
}

static void turn(void) {
    loop_turn(&made->loop, 1);
}

/* False where the server has had enough. */
static bool say_n(int fd, const char *text, size_t len) {
    while (len > 0) {
        struct iovec iov = {(void *)(uintptr_t)text, len};
        size_t n;
        mr_err err = os_send(fd, &iov, 1, &n);
        if (mr_is_ok(err)) {
            text += n;
            len -= n;
        } else if (!mr_err_is(err, MR_E_AGAIN)) {
            return false;
        }
        turn();
    }
    return true;
}

static void say(int fd, const char *text) {
    say_n(fd, text, strlen(text));
}

/* Receives what is there. False at the end of the connection. */
static bool hear(int fd) {
    char *at;
    assert_true(mr_is_ok(mr_buf_reserve(&made->got, 65536, &at)));
    size_t n;
    mr_err err = os_recv(fd, at, 65535, &n);
    if (mr_is_ok(err)) {
        mr_buf_commit(&made->got, n);
    }
    return mr_is_ok(err) || mr_err_is(err, MR_E_AGAIN);
}

static size_t count_of(const char *text) {
    mr_str rest = mr_buf_view(&made->got);
    size_t n = 0;
    size_t at;
    while ((at = mr_str_find(rest, mr_str_c(text))) != SIZE_MAX) {
        rest = mr_str_slice(rest, at + 1, rest.len);
        n++;
    }
    return n;
}

static bool has(const char *text) {
    return count_of(text) > 0;
}

static mr_mono limit(void) {
    return mr_mono_add_ms(os_mono_now(), 10000);
}

static void forget(void) {
    mr_buf_reset(&made->got);
}

/* Turns until the text was received n times. */
static void expect_n(int fd, const char *text, size_t n) {
    mr_mono end = limit();
    while (count_of(text) < n) {
        turn();
        bool is_open = hear(fd);
        if ((!is_open && count_of(text) < n) || mr_mono_before(end, os_mono_now())) {
            fail_msg("%s not received %zu times but: %.*s", text, n,
                     MR_FMT(mr_buf_view(&made->got)));
        }
    }
}

static void expect(int fd, const char *text) {
    expect_n(fd, text, 1);
}

/* Turns until the connection ends. */
static void expect_end(int fd) {
    mr_mono end = limit();
    while (hear(fd)) {
        turn();
        assert_true(mr_mono_before(os_mono_now(), end));
    }
}

static void turn_until(const int *counter, int n) {
    mr_mono end = limit();
    while (*counter < n) {
        turn();
        assert_true(mr_mono_before(os_mono_now(), end));
    }
}

static void until_connections(size_t n) {
    mr_mono end = limit();
    while (http_server_connections(made->server) != n) {
        turn();
        assert_true(mr_mono_before(os_mono_now(), end));
    }
}

#define GET(path) "GET " path " HTTP/1.1\r\nhost: a\r\n\r\n"

/* Answers */

static void a_request_is_answered_and_the_connection_kept(void **state) {
    (void)state;
    start();
    int fd = dial();
    for (int i = 0; i < 3; i++) {
        forget();
        say(fd, GET("/ok"));
        expect(fd, "\r\n\r\nfine");
        assert_true(mr_str_starts(mr_buf_view(&made->got), MR_STR("HTTP/1.1 200 OK\r\ndate: ")));
        assert_true(has("\r\ncontent-type: text/plain\r\n"));
        assert_true(has("\r\ncontent-length: 4\r\n"));
        assert_false(has("connection:"));
    }
    assert_int_equal(mr_metric_get(&made->metrics, MR_METRIC_HTTP_REQUESTS), 3);
    os_close(fd);
    until_connections(0);
}

static void a_request_may_come_byte_by_byte(void **state) {
    (void)state;
    start();
    int fd = dial();
    static const char text[] =
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
        "3\r\nwor\r\n2;x=y\r\nld\r\n0\r\nt: v\r\n\r\n";
    for (size_t i = 0; i < sizeof text - 1; i++) {
        say_n(fd, text + i, 1);
    }
    expect(fd, "hello");
    expect(fd, "world");
    assert_int_equal(made->n_bodies, 2);
    os_close(fd);
}

/* RFC 9112 §2.2; in one piece and in two. */
static void one_empty_line_before_a_request_is_passed_over(void **state) {
    (void)state;
    start();
    int fd = dial();
    say(fd, "\r\n" GET("/ok"));
    expect(fd, "\r\n\r\nfine");
    forget();
    say_n(fd, "\r", 1);
    say_n(fd, "\n", 1);
    say(fd, GET("/ok"));
    expect(fd, "\r\n\r\nfine");
    os_close(fd);
}

static void a_body_of_megabytes_arrives_whole(void **state) {
    (void)state;
    start();
    int fd = dial();
    size_t size = (size_t)8 << 20;
    char *body = mr_alloc(size);
    memset(body, 'b', size);
    say(fd, "POST /big HTTP/1.1\r\nhost: a\r\ncontent-length: 8388608\r\n\r\n");
    say_n(fd, body, size);
    expect(fd, "got 8388608 bytes");
    assert_int_equal(made->last_body, size);
    mr_free(body);
    os_close(fd);
}

static void pipelined_requests_are_answered_in_order(void **state) {
    (void)state;
    start();
    int fd = dial();
    say(fd, GET("/later") GET("/ok") GET("/later") GET("/nope"));
    turn_until(&made->n_heads, 4);
    http_exchange_answer(made->later[1], 200, NULL, 0, MR_STR("second"));
    for (int i = 0; i < 5; i++) {
        turn();
    }
    assert_true(hear(fd));
    assert_int_equal(made->got.len, 0);
    http_exchange_answer(made->later[0], 200, NULL, 0, MR_STR("first"));
    expect(fd, "/nope");
    mr_str got = mr_buf_view(&made->got);
    size_t first = mr_str_find(got, MR_STR("first"));
    size_t fine = mr_str_find(got, MR_STR("fine"));
    size_t second = mr_str_find(got, MR_STR("second"));
    assert_true(first < fine && fine < second && second < mr_str_find(got, MR_STR("/nope")));
    os_close(fd);
}

static void no_more_than_sixteen_requests_of_a_connection_are_open(void **state) {
    (void)state;
    start();
    int fd = dial();
    for (int i = 0; i < 30; i++) {
        say(fd, GET("/later"));
    }
    for (int i = 0; i < 20; i++) {
        turn();
    }
    assert_int_equal(made->n_heads, 16);
    for (int i = 0; i < 30; i++) {
        turn_until(&made->n_heads, i + 1);
        http_exchange_answer(made->later[i], 200, NULL, 0, MR_STR("x"));
    }
    expect_n(fd, "HTTP/1.1 200 OK", 30);
    os_close(fd);
}

static void head_requests_get_the_length_without_the_body(void **state) {
    (void)state;
    start();
    int fd = dial();
    say(fd, "HEAD /ok HTTP/1.1\r\nhost: a\r\n\r\n" GET("/empty") GET("/ok"));
    expect(fd, "fine");
    assert_int_equal(count_of("content-length: 4"), 2);
    assert_int_equal(count_of("content-length:"), 2); /* none with 204 */
    assert_int_equal(count_of("fine"), 1);
    os_close(fd);
}

static void http_1_0_closes_unless_asked(void **state) {
    (void)state;
    start();
    int fd = dial();
    say(fd, "GET /ok HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    expect(fd, "fine");
    assert_true(has("connection: keep-alive"));
    forget();
    say(fd, "GET /ok HTTP/1.0\r\n\r\n");
    expect_end(fd);
    assert_true(has("connection: close") && has("fine"));
    os_close(fd);
}

static void connection_close_is_honoured_both_ways(void **state) {
    (void)state;
    start();
    int fd = dial();
    say(fd, "GET /ok HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" GET("/ok"));
    expect_end(fd);
    assert_int_equal(count_of("fine"), 1);
    assert_true(has("connection: close"));
    os_close(fd);
    forget();
    fd = dial();
    say(fd, GET("/close") GET("/later") GET("/ok"));
    expect_end(fd);
    assert_true(has("bye"));
    assert_false(has("fine"));
    os_close(fd);
}

static void answer_fields_cannot_be_split(void **state) {
    (void)state;
    start();
    int fd = dial();
    say(fd, GET("/split"));
    expect(fd, "fine");
    assert_false(has("evil") || has("x bad") || has("99"));
    os_close(fd);
}

static void a_client_that_waits_gets_100_when_the_head_was_accepted(void **state) {
    (void)state;
    start();
    int fd = dial();
    say(fd, "POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    expect(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_int_equal(made->n_bodies, 0);
    say(fd, "body");
    expect(fd, "\r\n\r\nbody");
    os_close(fd);
    forget();
    fd = dial();
    say(fd, "POST /ok HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    expect_end(fd);
    assert_true(has("fine") && has("connection: close") && !has("100 Continue"));
    os_close(fd);
    forget();
    fd = dial();
    say(fd,
        "POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1001\r\n\r\n");
    expect(fd, "413 Content Too Large");
    assert_false(has("100 Continue"));
    os_close(fd);
}

static void hundred_continue_waits_for_its_turn(void **state) {
    (void)state;
    start();
    int fd = dial();
    say(fd, GET("/later") "POST /echo HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n"
                          "content-length: 4\r\n\r\n");
    turn_until(&made->n_heads, 2);
    turn();
    assert_true(hear(fd));
    assert_int_equal(made->got.len, 0);
    http_exchange_answer(made->later[0], 200, NULL, 0, MR_STR("first"));
    expect(fd, "firstHTTP/1.1 100 Continue\r\n\r\n");
    say(fd, "body");
    expect(fd, "\r\n\r\nbody");
    os_close(fd);
}

static void a_body_nobody_wants_is_dropped_when_small(void **state) {
    (void)state;
    start();
    int fd = dial();
    say(fd, "POST /ok HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello" GET("/nope"));
    expect(fd, "/nope");
    assert_int_equal(made->n_bodies, 0);
    os_close(fd);
    forget();
    fd = dial();
    say(fd, "POST /ok HTTP/1.1\r\nhost: a\r\ncontent-length: 70000\r\n\r\nhello");
    expect(fd, "fine");
    assert_true(has("connection: close"));
    expect_end(fd); /* after the linger at the latest */
    os_close(fd);
}

static void a_half_closed_client_gets_its_answer(void **state) {
    (void)state;
    start();
    int fd = dial();
    say(fd, GET("/later"));
    turn_until(&made->n_heads, 1);
    os_shutdown_write(fd);
    for (int i = 0; i < 5; i++) {
        turn();
    }
    assert_non_null(made->later[0]);
    http_exchange_answer(made->later[0], 200, NULL, 0, MR_STR("late"));
    expect_end(fd);
    assert_true(has("late"));
    assert_int_equal(made->n_lost, 0);
    os_close(fd);
}

static void a_lost_connection_ends_its_exchanges(void **state) {
    (void)state;
    start();
    int fd = dial();
    say(fd, GET("/later") GET("/later"));
    turn_until(&made->n_heads, 2);
    os_close_reset(fd);
    turn_until(&made->n_ends, 2);
    assert_int_equal(made->n_lost, 2);
}

/* Streaming */

static void a_streaming_answer_goes_out_in_chunks_with_back_pressure(void **state) {
    (void)state;
    start();
    int fd = dial();
    say(fd, GET("/stream"));
    turn_until(&made->n_heads, 1);
    struct http_exchange *ex = made->later[0];
    assert_true(mr_is_ok(http_exchange_chunk(ex, MR_STR("hello"))));
    expect(fd, "\r\n\r\n5\r\nhello\r\n");
    assert_true(has("transfer-encoding: chunked"));
    char *piece = mr_alloc(HTTP_STREAM_BUFFERED_MAX + 1);
    memset(piece, 'p', HTTP_STREAM_BUFFERED_MAX + 1);
    assert_int_equal(http_exchange_chunk(ex, mr_str_of(piece, HTTP_STREAM_BUFFERED_MAX + 1)).code,
                     MR_E_LIMIT);
    int n_taken = 0;
    mr_err err = MR_OK;
    for (int i = 0; i < 100000 && mr_is_ok(err); i++) {
        err = http_exchange_chunk(ex, mr_str_of(piece, 10000));
        n_taken += mr_is_ok(err) ? 1 : 0;
        turn();
    }
    assert_int_equal(err.code, MR_E_AGAIN);
    assert_true(http_exchange_buffered(ex) <= HTTP_STREAM_BUFFERED_MAX + 64);
    assert_int_equal(made->n_drains, 0);
    mr_mono end = limit();
    while (made->n_drains == 0) {
        hear(fd);
        turn();
        assert_true(mr_mono_before(os_mono_now(), end));
    }
    http_exchange_finish(ex);
    expect(fd, "\r\n0\r\n\r\n");
    assert_int_equal(count_of("2710\r\npp"), n_taken);
    forget();
    say(fd, GET("/ok"));
    expect(fd, "fine");
    mr_free(piece);
    os_close(fd);
}

static void a_stream_whose_reader_leaves_ends(void **state) {
    (void)state;
    start();
    int fd = dial();
    say(fd, GET("/stream"));
    turn_until(&made->n_heads, 1);
    os_close(fd);
    turn_until(&made->n_ends, 1);
    assert_int_equal(made->n_lost, 1);
}

static void a_stream_to_http_1_0_ends_with_the_connection(void **state) {
    (void)state;
    start();
    int fd = dial();
    say(fd, "GET /stream HTTP/1.0\r\n\r\n");
    turn_until(&made->n_heads, 1);
    assert_true(mr_is_ok(http_exchange_chunk(made->later[0], MR_STR("hello"))));
    http_exchange_finish(made->later[0]);
    expect_end(fd);
    assert_true(has("\r\n\r\nhello") && !has("chunked"));
    os_close(fd);
}

/* Refusals */

static const struct {
    const char *text;
    int status;
} refusals[] = {
    {"GET / HTTP/1.1\r\n\r\n", 400},
    {"GET /ok HTTP/1.1\nhost: a\n\n", 400},
    {"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
     400},
    {"GET /\r\n", 400},
    {"\r\n\r\nGET /ok HTTP/1.1\r\nhost: a\r\n\r\n", 400},
    {"\rGET /ok HTTP/1.1\r\nhost: a\r\n\r\n", 400},
    {"\x16\x03\x01", 400},
    {"GET /ok HTTP/2.0\r\nhost: a\r\n\r\n", 505},
    {"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", 501},
    {"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1001\r\n\r\n", 413},
    {"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400},
};

static void what_is_refused_is_told_and_the_connection_closed(void **state) {
    (void)state;
    start();
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        forget();
        int fd = dial();
        char line[80];
        snprintf(line, sizeof line, "HTTP/1.1 %d %s\r\n", refusals[i].status,
                 http_reason(refusals[i].status));
        say(fd, GET("/ok"));
        say(fd, refusals[i].text);
        expect(fd, "refused: ");
        assert_true(has(line) && has("fine")); /* what came before is answered */
        assert_true(has("connection: close") && has("content-type: text/x-refusal"));
        assert_int_equal(made->last_refusal, refusals[i].status);
        os_shutdown_write(fd);
        expect_end(fd);
        os_close(fd);
        until_connections(0);
    }
    assert_int_equal(mr_metric_get(&made->metrics, MR_METRIC_HTTP_REFUSED),
                     sizeof refusals / sizeof refusals[0]);
}

static void a_chunked_body_over_the_maximum_is_refused_when_it_gets_there(void **state) {
    (void)state;
    start();
    int fd = dial();
    char piece[600];
    memset(piece, 'x', sizeof piece);
    say(fd, "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n258\r\n");
    say_n(fd, piece, 600);
    say(fd, "\r\n258\r\n");
    say_n(fd, piece, 600);
    expect(fd, "413 Content Too Large");
    assert_int_equal(made->n_bodies, 0);
    os_close(fd);
}

static void a_too_long_head_is_refused_and_its_answer_survives_the_rest(void **state) {
    (void)state;
    start();
    int fd = dial();
    char filler[1024];
    memset(filler, 'f', sizeof filler);
    say(fd, "GET /ok HTTP/1.1\r\nhost: a\r\nx: ");
    for (int i = 0; i < 200; i++) {
        assert_true(say_n(fd, filler, sizeof filler)); /* a reset could overtake the answer */
    }
    expect(fd, "431 Request Header Fields Too Large");
    expect(fd, "refused");
    assert_true(say_n(fd, filler, sizeof filler)); /* goes on although it was told */
    os_shutdown_write(fd);
    char byte;
    size_t n;
    mr_err err;
    do {
        turn();
        err = os_recv(fd, &byte, 1, &n);
    } while (mr_is_ok(err) || mr_err_is(err, MR_E_AGAIN));
    assert_int_equal(err.code, MR_E_CLOSED);
    os_close(fd);
    until_connections(0);
}

static void bodies_in_all_are_bounded(void **state) {
    (void)state;
    made->options.body_bytes_total_max = 100000;
    start();
    char *piece = mr_alloc(60000);
    memset(piece, 'x', 60000);
    int one = dial();
    int two = dial();
    say(one, "POST /big HTTP/1.1\r\nhost: a\r\ncontent-length: 70000\r\n\r\n");
    say_n(one, piece, 60000);
    say(two, "POST /big HTTP/1.1\r\nhost: a\r\ncontent-length: 70000\r\n\r\n");
    say_n(two, piece, 60000);
    expect(two, "503 Service Unavailable");
    assert_true(has("retry-after: 1"));
    say_n(one, piece, 10000);
    expect(one, "got 70000 bytes");
    mr_free(piece);
    os_close(one);
    os_close(two);
}

/* Slow peers */

static void a_head_that_trickles_is_ended_by_408(void **state) {
    (void)state;
    made->options.head_ms = 150;
    start();
    int fd = dial();
    say(fd, GET("/ok"));
    expect(fd, "fine");
    mr_mono begun = os_mono_now();
    mr_mono end = limit();
    say(fd, "GET /ok HTTP/1.1\r\n");
    while (!has("408 Request Timeout")) {
        say(fd, "x: y\r\n");
        hear(fd);
        os_pause_ms(5);
        assert_true(mr_mono_before(os_mono_now(), end));
    }
    assert_true(mr_mono_diff_ms(os_mono_now(), begun) >= 150);
    os_close(fd);
}

static void a_silent_connection_is_closed_without_a_word(void **state) {
    (void)state;
    made->options.head_ms = 50;
    made->options.idle_ms = 100;
    start();
    int fd = dial();
    expect_end(fd);
    assert_int_equal(made->got.len, 0);
    os_close(fd);
    fd = dial();
    say(fd, GET("/ok"));
    expect(fd, "fine");
    forget();
    expect_end(fd);
    assert_int_equal(made->got.len, 0);
    os_close(fd);
}

static void a_body_below_the_minimum_rate_is_ended_by_408(void **state) {
    (void)state;
    made->options.grace_ms = 100;
    made->options.bytes_per_second_min = 100000;
    start();
    int fd = dial();
    say(fd, "POST /big HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n");
    mr_mono end = limit();
    while (!has("408 Request Timeout")) {
        say(fd, "x");
        hear(fd);
        os_pause_ms(2);
        assert_true(mr_mono_before(os_mono_now(), end));
    }
    assert_int_equal(made->n_bodies, 0);
    os_close(fd);
}

static void a_reader_below_the_minimum_rate_is_cut(void **state) {
    (void)state;
    made->options.grace_ms = 100;
    made->options.bytes_per_second_min = INT64_C(1) << 30;
    start();
    int fd = dial();
    os_socket_buffers(fd, 4096, 4096);
    say(fd, GET("/later"));
    turn_until(&made->n_heads, 1);
    size_t size = (size_t)16 << 20;
    char *body = mr_alloc(size);
    memset(body, 'b', size);
    http_exchange_answer(made->later[0], 200, NULL, 0, mr_str_of(body, size));
    mr_free(body);
    until_connections(0); /* nothing is read here */
    expect_end(fd);
    assert_true(made->got.len < size);
    os_close(fd);
}

static void an_idle_answerer_is_not_cut_by_the_idle_limit(void **state) {
    (void)state;
    made->options.head_ms = 50;
    made->options.idle_ms = 50;
    start();
    int fd = dial();
    say(fd, GET("/later"));
    turn_until(&made->n_heads, 1);
    mr_mono end = mr_mono_add_ms(os_mono_now(), 150);
    while (mr_mono_before(os_mono_now(), end)) {
        turn();
    }
    http_exchange_answer(made->later[0], 200, NULL, 0, MR_STR("late"));
    expect(fd, "late");
    os_close(fd);
}

/* Limits on connections */

static void connections_of_one_address_are_bounded(void **state) {
    (void)state;
    made->options.connections_per_address_max = 3;
    start();
    int fds[4];
    for (int i = 0; i < 3; i++) {
        fds[i] = dial();
    }
    until_connections(3);
    fds[3] = dial();
    expect_end(fds[3]);
    say(fds[0], GET("/ok"));
    expect(fds[0], "fine");
    os_close(fds[0]);
    until_connections(2);
    forget();
    fds[0] = dial();
    say(fds[0], GET("/ok"));
    expect(fds[0], "fine");
    for (int i = 0; i < 4; i++) {
        os_close(fds[i]);
    }
}

static void connections_in_all_are_bounded_and_newcomers_wait(void **state) {
    (void)state;
    made->options.connections_max = 2;
    start();
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = dial();
        say(fds[i], GET("/ok"));
    }
    expect(fds[0], "fine");
    for (int i = 0; i < 10; i++) {
        turn();
    }
    assert_int_equal(http_server_connections(made->server), 2);
    os_close(fds[1]);
    forget();
    expect(fds[2], "fine");
    os_close(fds[0]);
    os_close(fds[2]);
}

static void hundreds_of_connections_come_and_go(void **state) {
    (void)state;
    start();
    int fds[400];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 400; i++) {
            fds[i] = dial();
        }
        for (int i = 0; i < 400; i++) {
            say(fds[i], GET("/ok"));
        }
        for (int i = 0; i < 400; i++) {
            forget();
            expect(fds[i], "fine");
            os_close(fds[i]);
        }
        until_connections(0);
    }
}

/* Pausing and stopping */

static void a_paused_server_begins_no_request_until_resumed(void **state) {
    (void)state;
    start();
    int fd = dial();
    say(fd, GET("/ok"));
    expect(fd, "fine");
    http_server_pause(made->server);
    forget();
    say(fd, GET("/ok"));
    int other = dial();
    say(other, GET("/ok"));
    for (int i = 0; i < 10; i++) {
        turn();
    }
    assert_int_equal(made->n_heads, 1);
    http_server_resume(made->server);
    expect(fd, "fine");
    forget();
    expect(other, "fine");
    os_close(fd);
    os_close(other);
}

static void a_handler_may_pause_and_its_body_still_comes(void **state) {
    (void)state;
    start();
    int fd = dial();
    made->pauses_in_head = true;
    say(fd, "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n");
    say(fd, "hello");
    expect(fd, "hello");
    say(fd, GET("/ok"));
    for (int i = 0; i < 10; i++) {
        turn();
    }
    assert_int_equal(made->n_heads, 1);
    made->pauses_in_head = false;
    http_server_resume(made->server);
    expect(fd, "fine");
    os_close(fd);
}

static void on_stopped(void *ctx) {
    assert_ptr_equal(ctx, made);
    made->has_stopped = true;
}

static void a_stop_finishes_what_is_under_way(void **state) {
    (void)state;
    start();
    int idle = dial();
    int busy = dial();
    say(idle, GET("/ok"));
    expect(idle, "fine");
    say(busy, GET("/later"));
    turn_until(&made->n_heads, 2);
    http_server_stop(made->server, on_stopped, made);
    forget();
    expect_end(idle);
    assert_int_equal(made->got.len, 0);
    assert_false(made->has_stopped);
    int late = dial();
    expect_end(late);
    http_exchange_answer(made->later[0], 200, NULL, 0, MR_STR("last words"));
    expect_end(busy);
    assert_true(has("last words") && has("connection: close"));
    for (int i = 0; i < 3; i++) {
        turn();
    }
    assert_true(made->has_stopped);
    os_close(idle);
    os_close(busy);
    os_close(late);
}

static void a_server_freed_in_the_middle_ends_all_exchanges(void **state) {
    (void)state;
    start();
    int fd = dial();
    say(fd, GET("/later") "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe");
    turn_until(&made->n_heads, 2);
    http_server_free(made->server);
    made->server = NULL;
    assert_int_equal(made->n_lost, 2);
    os_close(fd);
}

/* Memory that fails at any allocation costs a connection at most. */
static void every_allocation_may_fail(void **state) {
    (void)state;
    start();
    for (uint64_t nth = 1; nth < 25; nth++) {
        int fd = dial();
        mr_alloc_fail_at(nth);
        static const char text[] = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe";
        struct iovec iov = {(void *)(uintptr_t)text, sizeof text - 1};
        size_t n;
        mr_ignore(os_send(fd, &iov, 1, &n), "the connection may be refused");
        for (int i = 0; i < 5; i++) {
            turn();
        }
        iov = (struct iovec){(void *)(uintptr_t) "llo", 3};
        mr_ignore(os_send(fd, &iov, 1, &n), "the connection may be lost");
        for (int i = 0; i < 5; i++) {
            turn();
        }
        mr_alloc_fail_at(0);
        os_close(fd);
        until_connections(0);
    }
    int fd = dial();
    say(fd, GET("/ok"));
    expect(fd, "fine");
    os_close(fd);
}

/* TLS */

static void say_tls(SSL *ssl, const char *text) {
    int n;
    do {
        n = SSL_write(ssl, text, (int)strlen(text));
        turn();
    } while (n <= 0 && SSL_get_error(ssl, n) != SSL_ERROR_SSL);
}

static void requests_are_served_over_tls(void **state) {
    (void)state;
    struct cert *cert = MR_NEW(struct cert);
    struct cert_spec spec = {.cn = "localhost", .from_s = -60, .to_s = 3600};
    cert_make(&spec, cert);
    assert_true(mr_is_ok(tls_server_context(mr_str_c(cert->cert_pem), mr_str_c(cert->key_pem), NULL,
                                            &made->options.tls)));
    start();
    SSL_CTX_free(made->options.tls); /* the server has its own reference */
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(ctx);
    int fd = dial();
    SSL_set_fd(ssl, fd);
    SSL_set_connect_state(ssl);
    for (int i = 0; i < 3; i++) {
        forget();
        say_tls(ssl, "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello");
        mr_mono end = limit();
        while (!has("\r\n\r\nhello")) {
            turn();
            char text[1000];
            int n = SSL_read(ssl, text, sizeof text);
            if (n > 0) {
                assert_true(mr_is_ok(mr_buf_append(&made->got, text, (size_t)n)));
            }
            assert_true(mr_mono_before(os_mono_now(), end));
        }
    }
    SSL_shutdown(ssl);
    until_connections(0);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    os_close(fd);
    mr_free(cert);
}

static void a_plain_client_of_a_tls_server_is_ended_by_the_deadline_or_at_once(void **state) {
    (void)state;
    struct cert *cert = MR_NEW(struct cert);
    struct cert_spec spec = {.cn = "localhost", .from_s = -60, .to_s = 3600};
    cert_make(&spec, cert);
    assert_true(mr_is_ok(tls_server_context(mr_str_c(cert->cert_pem), mr_str_c(cert->key_pem), NULL,
                                            &made->options.tls)));
    made->options.head_ms = 100;
    start();
    SSL_CTX_free(made->options.tls);
    int fd = dial();
    say(fd, GET("/ok"));
    expect_end(fd);
    os_close(fd);
    fd = dial(); /* says nothing at all */
    expect_end(fd);
    os_close(fd);
    assert_int_equal(made->n_heads, 0);
    mr_free(cert);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_answered_and_the_connection_kept),
        TEST(a_request_may_come_byte_by_byte),
        TEST(one_empty_line_before_a_request_is_passed_over),
        TEST(a_body_of_megabytes_arrives_whole),
        TEST(pipelined_requests_are_answered_in_order),
        TEST(no_more_than_sixteen_requests_of_a_connection_are_open),
        TEST(head_requests_get_the_length_without_the_body),
        TEST(http_1_0_closes_unless_asked),
        TEST(connection_close_is_honoured_both_ways),
        TEST(answer_fields_cannot_be_split),
        TEST(a_client_that_waits_gets_100_when_the_head_was_accepted),
        TEST(hundred_continue_waits_for_its_turn),
        TEST(a_body_nobody_wants_is_dropped_when_small),
        TEST(a_half_closed_client_gets_its_answer),
        TEST(a_lost_connection_ends_its_exchanges),
        TEST(a_streaming_answer_goes_out_in_chunks_with_back_pressure),
        TEST(a_stream_whose_reader_leaves_ends),
        TEST(a_stream_to_http_1_0_ends_with_the_connection),
        TEST(what_is_refused_is_told_and_the_connection_closed),
        TEST(a_chunked_body_over_the_maximum_is_refused_when_it_gets_there),
        TEST(a_too_long_head_is_refused_and_its_answer_survives_the_rest),
        TEST(bodies_in_all_are_bounded),
        TEST(a_head_that_trickles_is_ended_by_408),
        TEST(a_silent_connection_is_closed_without_a_word),
        TEST(a_body_below_the_minimum_rate_is_ended_by_408),
        TEST(a_reader_below_the_minimum_rate_is_cut),
        TEST(an_idle_answerer_is_not_cut_by_the_idle_limit),
        TEST(connections_of_one_address_are_bounded),
        TEST(connections_in_all_are_bounded_and_newcomers_wait),
        TEST(hundreds_of_connections_come_and_go),
        TEST(a_paused_server_begins_no_request_until_resumed),
        TEST(a_handler_may_pause_and_its_body_still_comes),
        TEST(a_stop_finishes_what_is_under_way),
        TEST(a_server_freed_in_the_middle_ends_all_exchanges),
        TEST(every_allocation_may_fail),
        TEST(requests_are_served_over_tls),
        TEST(a_plain_client_of_a_tls_server_is_ended_by_the_deadline_or_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
