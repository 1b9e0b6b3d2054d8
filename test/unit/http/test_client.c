/* The HTTP client against servers that behave, misbehave and vanish. */
#include "http/client.h"

#include "base/mem.h"
#include "net/tls.h"
#include "os/clock.h"
#include "../net/support_certs.h"
#include "support_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

struct rig {
    struct loop *loop;
    mr_metrics metrics;
    struct net_guard *guard;
    struct net_names *names;
    struct http_client *client;
};

struct outcome {
    int n_done;
    int n_released;
    enum http_failure failure;
    enum http_step step;
    uint16_t status;
    bool is_reused, is_stale, is_body_cut;
    uint8_t sends;
    int64_t total_ns;
    struct http_step_report steps[HTTP_STEP_COUNT];
    char detail[400];
    char body[HTTP_CALL_BODY_KEPT_MAX + 1];
    size_t body_len;
    char x_field[64];
    char texts[HTTP_STEP_COUNT][400];
};

static void rig_start(struct rig *rig, const struct http_client_opts *opts, bool is_open) {
    memset(rig, 0, sizeof *rig);
    struct net_cidr loopback;
    assert_true(mr_is_ok(net_cidr_parse(MR_STR("127.0.0.0/8"), &loopback)));
    rig->loop = MR_NEW(struct loop);
    assert_true(mr_is_ok(loop_init(rig->loop, &rig->metrics)));
    assert_true(mr_is_ok(net_guard_new(&loopback, is_open ? 1 : 0, &rig->guard)));
    assert_true(mr_is_ok(net_names_new(rig->loop, NULL, &rig->names)));
    struct http_client_opts use = opts != NULL ? *opts : (struct http_client_opts){0};
    use.loop = rig->loop;
    use.guard = rig->guard;
    use.names = rig->names;
    use.metrics = &rig->metrics;
    assert_true(mr_is_ok(http_client_new(&use, &rig->client)));
}

static void rig_stop(struct rig *rig) {
    http_client_free(rig->client);
    net_names_free(rig->names);
    net_guard_free(rig->guard);
    loop_done(rig->loop);
    mr_free(rig->loop);
}

static void copy_text(mr_str from, char *out, size_t size) {
    if (!mr_str_to_c(mr_str_slice(from, 0, size - 1), out, size)) {
        out[0] = '\0';
    }
}

static void on_done(void *ctx, const struct http_result *result) {
    struct outcome *outcome = ctx;
    outcome->n_done++;
    outcome->failure = result->failure;
    outcome->step = result->step;
    outcome->status = result->status;
    outcome->is_reused = result->is_reused;
    outcome->is_stale = result->is_stale_reuse;
    outcome->is_body_cut = result->is_body_cut;
    outcome->sends = result->sends;
    outcome->total_ns = result->total_ns;
    memcpy(outcome->steps, result->steps, sizeof outcome->steps);
    copy_text(result->detail, outcome->detail, sizeof outcome->detail);
    outcome->body_len = result->body.len;
    copy_text(result->body, outcome->body, sizeof outcome->body);
    copy_text(mr_fields_find(result->fields, MR_STR("x-it")), outcome->x_field,
              sizeof outcome->x_field);
    for (int i = 0; i < HTTP_STEP_COUNT; i++) {
        mr_buf text;
        mr_buf_init(&text, 399);
        mr_ignore(http_result_step_text(result, (enum http_step)i, &text), "cut short");
        copy_text(mr_buf_view(&text), outcome->texts[i], sizeof outcome->texts[i]);
        mr_buf_done(&text);
    }
}

static void on_released(void *ctx) {
    struct outcome *outcome = ctx;
    assert_int_equal(outcome->n_done, 0);
    outcome->n_released++;
}

static void spin(struct rig *rig, const int *until, int at_least, int64_t ms) {
    mr_mono end = mr_mono_add_ms(os_mono_now(), ms);
    while (*until < at_least && mr_mono_before(os_mono_now(), end)) {
        loop_turn(rig->loop, 10);
    }
    assert_true(*until >= at_least);
}

static void spin_ms(struct rig *rig, int64_t ms) {
    mr_mono end = mr_mono_add_ms(os_mono_now(), ms);
    while (mr_mono_before(os_mono_now(), end)) {
        loop_turn(rig->loop, 5);
    }
}

struct post {
    char url_text[256];
    struct net_url url;
    struct iovec body;
    struct http_call_spec spec;
    struct http_call *call;
    struct outcome outcome;
};

static void post_set(struct post *post, const struct peer_server *server, const char *body) {
    memset(post, 0, sizeof *post);
    snprintf(post->url_text, sizeof post->url_text, "%s://127.0.0.1:%u/hook?a=1#f",
             server->tls != NULL ? "https" : "http", server->port);
    assert_int_equal(net_url_parse(mr_str_c(post->url_text), true, &post->url), NET_URL_OK);
    static const mr_field fields[] = {{{"x-ask", 5}, {"it", 2}}};
    static char text[64];
    snprintf(text, sizeof text, "%s", body);
    post->body = (struct iovec){text, strlen(text)};
    post->spec = (struct http_call_spec){.pool_key = 7,
                                         .url = &post->url,
                                         .method = MR_STR("POST"),
                                         .fields = {fields, 1},
                                         .body = &post->body,
                                         .n_body = 1,
                                         .total_ms = 3000,
                                         .on_done = on_done,
                                         .ctx = &post->outcome};
}

static void post_start(struct rig *rig, struct post *post) {
    post->outcome = (struct outcome){0};
    post->spec.url = &post->url;
    assert_true(mr_is_ok(http_call_start(rig->client, &post->spec, &post->call)));
    assert_int_equal(post->outcome.n_done, 0);
}

static void post_run(struct rig *rig, struct post *post) {
    post_start(rig, post);
    spin(rig, &post->outcome.n_done, 1, 8000);
    assert_int_equal(post->outcome.n_done, 1);
}

/* One call against one script. */
static void try_script(void (*serve)(struct peer_conn *conn), uint32_t total_ms,
                       struct outcome *ret_outcome) {
    struct rig rig;
    struct peer_server server;
    struct post post;
    peer_start(&server, serve, NULL);
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "hello");
    post.spec.total_ms = total_ms;
    post_run(&rig, &post);
    *ret_outcome = post.outcome;
    rig_stop(&rig);
    peer_stop(&server);
}

/* ---- scripts ---- */

static void serve_echo(struct peer_conn *conn) {
    while (peer_read(conn)) {
        char head[256];
        size_t len = conn->body_len;
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nx-it: works\r\ncontent-length: %zu\r\n\r\n",
                 len);
        peer_say(conn, head);
        peer_write(conn, conn->request + conn->head_len, len);
    }
}

static void serve_first_only(struct peer_conn *conn) {
    if (peer_read(conn)) {
        peer_say(conn, "HTTP/1.1 204 No Content\r\n\r\n");
    }
    if (conn->nth == 0) {
        peer_read(conn); /* and close without a word */
    } else {
        serve_echo(conn);
    }
}

static void serve_close(struct peer_conn *conn) {
    peer_read(conn);
}

static void serve_hang(struct peer_conn *conn) {
    peer_wait_end(conn);
}

static void serve_reset(struct peer_conn *conn) {
    peer_read(conn);
    peer_reset(conn);
}

static void serve_trickle(struct peer_conn *conn) {
    peer_read(conn);
    while (peer_say(conn, "H")) {
        peer_say(conn, "TTP/1.1 200 OK\r\nx: ");
        while (peer_say(conn, "a")) {
            os_pause_ms(5);
        }
    }
}

static void serve_garbage(struct peer_conn *conn) {
    peer_read(conn);
    peer_say(conn, "SSH-2.0-OpenSSH_9.2\r\n");
    peer_wait_end(conn);
}

static void serve_endless_head(struct peer_conn *conn) {
    peer_read(conn);
    peer_say(conn, "HTTP/1.1 200 OK\r\n");
    while (peer_say(conn, "x-filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")) {
    }
}

static void serve_interim(struct peer_conn *conn) {
    peer_read(conn);
    for (int i = 0; i < conn->server->arg; i++) {
        peer_say(conn, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
    }
    peer_say(conn, "HTTP/1.1 204 No Content\r\nx-it: end\r\n\r\n");
    peer_wait_end(conn);
}

static void serve_huge_body(struct peer_conn *conn) {
    char chunk[4096];
    memset(chunk, 'z', sizeof chunk);
    peer_read(conn);
    peer_say(conn, "HTTP/1.1 200 OK\r\nx-it: huge\r\ncontent-length: 10737418240\r\n\r\n");
    while (peer_write(conn, chunk, sizeof chunk)) {
    }
}

static void serve_cut_body(struct peer_conn *conn) {
    peer_read(conn);
    peer_say(conn, "HTTP/1.1 202 Accepted\r\nx-it: cut\r\ncontent-length: 100\r\n\r\nabc");
    os_pause_ms(20);
    peer_reset(conn);
}

static void serve_slow_body(struct peer_conn *conn) {
    peer_read(conn);
    peer_say(conn, "HTTP/1.1 200 OK\r\nx-it: slow\r\ncontent-length: 100000\r\n\r\nabc");
    while (peer_say(conn, "d")) {
        os_pause_ms(5);
    }
}

static void serve_chunked(struct peer_conn *conn) {
    while (peer_read(conn)) {
        peer_say(conn, "HTTP/1.1 400 Bad Request\r\nx-it: chunks\r\ntransfer-encoding: chunked\r\n"
                       "\r\n3\r\nabc\r\n");
        os_pause_ms(20);
        peer_say(conn, "4;x=y\r\ndefg\r\n0\r\n\r\n");
    }
}

static void serve_until_close(struct peer_conn *conn) {
    peer_read(conn);
    peer_say(conn, "HTTP/1.1 500 Oops\r\n\r\nwhy");
}

static void serve_keep_alive_1(struct peer_conn *conn) {
    while (peer_read(conn)) {
        peer_say(conn, "HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 0\r\n\r\n");
    }
}

static void serve_closes_when_idle(struct peer_conn *conn) {
    peer_read(conn);
    peer_say(conn, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    os_pause_ms(30);
}

static void serve_extra(struct peer_conn *conn) {
    peer_read(conn);
    peer_say(conn, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    peer_wait_end(conn);
}

/* ---- tests ---- */

static void a_post_is_answered_and_its_connection_used_again(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    struct post post;
    peer_start(&server, serve_echo, NULL);
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "hello");
    post_run(&rig, &post);
    assert_int_equal(post.outcome.failure, HTTP_FAIL_NONE);
    assert_int_equal(post.outcome.status, 200);
    assert_string_equal(post.outcome.body, "hello");
    assert_string_equal(post.outcome.x_field, "works");
    assert_false(post.outcome.is_reused);
    assert_int_equal(post.outcome.steps[HTTP_STEP_NAME].state, HTTP_STEP_SKIPPED);
    assert_int_equal(post.outcome.steps[HTTP_STEP_ADDRESS].state, HTTP_STEP_OK);
    assert_int_equal(post.outcome.steps[HTTP_STEP_CONNECT].state, HTTP_STEP_OK);
    assert_int_equal(post.outcome.steps[HTTP_STEP_TLS].state, HTTP_STEP_SKIPPED);
    assert_int_equal(post.outcome.steps[HTTP_STEP_RESPONSE].state, HTTP_STEP_OK);
    assert_string_equal(post.outcome.texts[HTTP_STEP_RESPONSE], "200 OK");
    assert_string_equal(post.outcome.texts[HTTP_STEP_ADDRESS], "127.0.0.1 may be reached");
    for (int i = 0; i < 5; i++) {
        post_run(&rig, &post);
        assert_true(post.outcome.is_reused);
        assert_int_equal(post.outcome.sends, 1);
        assert_int_equal(post.outcome.steps[HTTP_STEP_CONNECT].state, HTTP_STEP_SKIPPED);
    }
    assert_int_equal(atomic_load(&server.n_conns), 1);
    assert_int_equal(http_client_counts(rig.client).idle, 1);
    post.spec.is_fresh = true;
    post_run(&rig, &post);
    assert_false(post.outcome.is_reused);
    post.spec.is_fresh = false;
    post.spec.pool_key = 8; /* another destination never shares */
    post_run(&rig, &post);
    assert_false(post.outcome.is_reused);
    rig_stop(&rig);
    peer_stop(&server);
}

static void the_request_is_as_the_spec_says(void **state) {
    (void)state;
    static char seen[1024];
    struct rig rig;
    struct peer_server server;
    struct post post;
    peer_start(&server, serve_echo, NULL);
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "hello");
    post_run(&rig, &post);
    snprintf(seen, sizeof seen,
             "POST /hook?a=1 HTTP/1.1\r\nhost: 127.0.0.1:%u\r\nx-ask: it\r\ncontent-length: "
             "5\r\n\r\nhello",
             server.port);
    assert_string_equal(server.last, seen);
    rig_stop(&rig);
    peer_stop(&server);
}

static void a_stale_connection_is_replaced_and_the_request_sent_again(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    struct post post;
    peer_start(&server, serve_first_only, NULL);
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "again");
    post.spec.on_body_released = on_released;
    post_run(&rig, &post);
    assert_int_equal(post.outcome.status, 204);
    assert_int_equal(post.outcome.n_released, 1);
    post_run(&rig, &post);
    assert_int_equal(post.outcome.failure, HTTP_FAIL_NONE);
    assert_int_equal(post.outcome.sends, 2);
    assert_false(post.outcome.is_reused);
    assert_int_equal(post.outcome.n_released, 1);
    assert_int_equal(atomic_load(&server.n_conns), 2);
    rig_stop(&rig);
    peer_stop(&server);
}

static void serve_late_close(struct peer_conn *conn) {
    peer_read(conn);
    peer_say(conn, "HTTP/1.1 204 No Content\r\n\r\n");
    peer_read(conn);
    os_pause_ms(1300);
}

static void a_body_once_released_is_not_sent_again(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    struct post post;
    peer_start(&server, serve_late_close, NULL);
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "again");
    post.spec.on_body_released = on_released;
    post_run(&rig, &post);
    post_run(&rig, &post);
    assert_int_equal(post.outcome.failure, HTTP_FAIL_RESPONSE);
    assert_true(post.outcome.is_stale);
    assert_int_equal(post.outcome.sends, 1);
    assert_int_equal(post.outcome.n_released, 1);
    rig_stop(&rig);
    peer_stop(&server);
}

static void a_new_connection_that_dies_is_a_failure(void **state) {
    (void)state;
    struct outcome outcome;
    try_script(serve_close, 3000, &outcome);
    assert_int_equal(outcome.failure, HTTP_FAIL_RESPONSE);
    assert_int_equal(outcome.sends, 1);
    assert_string_equal(outcome.detail, "no response came: the server closed the connection");
    try_script(serve_reset, 3000, &outcome);
    assert_int_equal(outcome.failure, HTTP_FAIL_RESPONSE);
    assert_non_null(strstr(outcome.detail, "reset"));
}

static void silence_and_trickles_time_out(void **state) {
    (void)state;
    struct outcome outcome;
    try_script(serve_hang, 120, &outcome);
    assert_int_equal(outcome.failure, HTTP_FAIL_TIMEOUT);
    assert_int_equal(outcome.step, HTTP_STEP_RESPONSE);
    assert_int_equal(outcome.steps[HTTP_STEP_REQUEST].state, HTTP_STEP_OK);
    assert_true(outcome.total_ns >= 120 * MR_NS_PER_MS && outcome.total_ns < MR_NS_PER_S);
    assert_string_equal(outcome.detail, "no response came within 120 ms");
    try_script(serve_trickle, 150, &outcome);
    assert_int_equal(outcome.failure, HTTP_FAIL_TIMEOUT);
    assert_true(outcome.total_ns < MR_NS_PER_S);
}

static void what_is_not_http_is_refused(void **state) {
    (void)state;
    struct outcome outcome;
    try_script(serve_garbage, 3000, &outcome);
    assert_int_equal(outcome.failure, HTTP_FAIL_RESPONSE);
    assert_non_null(strstr(outcome.detail, "not valid HTTP/1.1"));
    try_script(serve_endless_head, 3000, &outcome);
    assert_int_equal(outcome.failure, HTTP_FAIL_RESPONSE);
    assert_int_equal(outcome.status, 0);
}

static void eight_interim_responses_pass_and_nine_do_not(void **state) {
    (void)state;
    for (int n = 8; n <= 9; n++) {
        struct rig rig;
        struct peer_server server;
        struct post post;
        peer_start(&server, serve_interim, NULL);
        server.arg = n;
        rig_start(&rig, NULL, true);
        post_set(&post, &server, "x");
        post_run(&rig, &post);
        assert_int_equal(post.outcome.failure, n == 8 ? HTTP_FAIL_NONE : HTTP_FAIL_RESPONSE);
        assert_int_equal(post.outcome.status, n == 8 ? 204 : 0);
        rig_stop(&rig);
        peer_stop(&server);
    }
}

static void a_response_succeeds_with_its_head_whatever_its_body_does(void **state) {
    (void)state;
    struct outcome outcome;
    try_script(serve_huge_body, 3000, &outcome);
    assert_int_equal(outcome.failure, HTTP_FAIL_NONE);
    assert_int_equal(outcome.status, 200);
    assert_true(outcome.is_body_cut);
    assert_int_equal(outcome.body_len, HTTP_CALL_BODY_KEPT_MAX);
    assert_string_equal(outcome.x_field, "huge");
    try_script(serve_cut_body, 3000, &outcome);
    assert_int_equal(outcome.failure, HTTP_FAIL_NONE);
    assert_int_equal(outcome.status, 202);
    assert_true(outcome.is_body_cut);
    assert_string_equal(outcome.x_field, "cut");
    try_script(serve_slow_body, 150, &outcome);
    assert_int_equal(outcome.failure, HTTP_FAIL_NONE);
    assert_int_equal(outcome.status, 200);
    assert_true(outcome.is_body_cut);
    assert_true(outcome.total_ns < MR_NS_PER_S);
    try_script(serve_until_close, 3000, &outcome);
    assert_int_equal(outcome.failure, HTTP_FAIL_NONE);
    assert_int_equal(outcome.status, 500);
    assert_false(outcome.is_body_cut);
    assert_string_equal(outcome.body, "why");
}

static void chunks_are_joined_and_the_connection_kept(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    struct post post;
    peer_start(&server, serve_chunked, NULL);
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "x");
    post_run(&rig, &post);
    assert_int_equal(post.outcome.status, 400);
    assert_string_equal(post.outcome.body, "abcdefg");
    assert_string_equal(post.outcome.x_field, "chunks");
    assert_false(post.outcome.is_body_cut);
    post_run(&rig, &post);
    assert_true(post.outcome.is_reused);
    rig_stop(&rig);
    peer_stop(&server);
}

static void serve_head(struct peer_conn *conn) {
    while (peer_read(conn)) {
        peer_say(conn, "HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n");
    }
}

static void a_response_to_head_has_no_body(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    struct post post;
    peer_start(&server, serve_head, NULL);
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "");
    post.spec.method = MR_STR("HEAD");
    post.spec.n_body = 0;
    post_run(&rig, &post);
    post_run(&rig, &post);
    assert_int_equal(post.outcome.status, 200);
    assert_true(post.outcome.is_reused);
    rig_stop(&rig);
    peer_stop(&server);
}

static void idle_connections_end_when_they_should(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    struct post post;
    peer_start(&server, serve_closes_when_idle, NULL);
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "x");
    post_run(&rig, &post);
    assert_int_equal(http_client_counts(rig.client).idle, 1);
    mr_mono end = mr_mono_add_ms(os_mono_now(), 3000);
    while (http_client_counts(rig.client).open > 0 && mr_mono_before(os_mono_now(), end)) {
        loop_turn(rig.loop, 10);
    }
    assert_int_equal(http_client_counts(rig.client).open, 0);
    rig_stop(&rig);
    peer_stop(&server);

    peer_start(&server, serve_keep_alive_1, NULL); /* a second less than one is none */
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "x");
    post_run(&rig, &post);
    assert_int_equal(http_client_counts(rig.client).idle, 0);
    rig_stop(&rig);
    peer_stop(&server);

    peer_start(&server, serve_extra, NULL); /* bytes nobody asked for */
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "x");
    post_run(&rig, &post);
    assert_int_equal(post.outcome.status, 200);
    assert_int_equal(http_client_counts(rig.client).idle, 0);
    rig_stop(&rig);
    peer_stop(&server);
}

static void four_idle_seconds_are_the_limit(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    struct post post;
    peer_start(&server, serve_echo, NULL);
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "x");
    post_run(&rig, &post);
    spin_ms(&rig, 3500);
    assert_int_equal(http_client_counts(rig.client).idle, 1);
    spin_ms(&rig, 700);
    assert_int_equal(http_client_counts(rig.client).open, 0);
    rig_stop(&rig);
    peer_stop(&server);
}

static void serve_never_read(struct peer_conn *conn) {
    int ended = 0;
    while (ended == 0) { /* until the client resets, without reading */
        os_pause_ms(20);
        ended = atomic_load(&conn->server->n_requests);
    }
}

static void a_receiver_that_never_reads_times_out_at_the_request(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    struct post post;
    peer_start(&server, serve_never_read, NULL);
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "");
    size_t size = 16 << 20;
    char *big = mr_calloc(1, size);
    post.body = (struct iovec){big, size};
    post.spec.total_ms = 300;
    post.spec.on_body_released = on_released;
    post_run(&rig, &post);
    assert_int_equal(post.outcome.failure, HTTP_FAIL_TIMEOUT);
    assert_int_equal(post.outcome.step, HTTP_STEP_REQUEST);
    assert_int_equal(post.outcome.n_released, 0);
    mr_free(big);
    rig_stop(&rig);
    atomic_store(&server.n_requests, 1);
    peer_stop(&server);
}

static void serve_slow_reader(struct peer_conn *conn) {
    static char sink[65536];
    size_t left = 4 << 20;
    size_t head = 0;
    while (left > 0) {
        long n = recv(conn->fd, sink, sizeof sink, 0);
        if (n <= 0) {
            return;
        }
        size_t got = (size_t)n;
        if (head == 0) {
            head = mr_str_find(mr_str_of(sink, got), MR_STR("\r\n\r\n")) + 4;
            got -= head;
        }
        left -= got < left ? got : left;
    }
    peer_say(conn, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    peer_wait_end(conn);
}

static void a_large_body_goes_out_in_parts_and_is_released_once(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    struct post post;
    peer_start(&server, serve_slow_reader, NULL);
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "");
    char *big = mr_calloc(1, 4 << 20);
    struct iovec parts[40];
    size_t at = 0;
    for (size_t i = 0; i < 40; i++) {
        size_t n = i < 39 ? 100000 : (4 << 20) - at;
        parts[i] = (struct iovec){big + at, n};
        at += n;
    }
    post.spec.body = parts;
    post.spec.n_body = 40;
    post.spec.on_body_released = on_released;
    post_run(&rig, &post);
    assert_int_equal(post.outcome.failure, HTTP_FAIL_NONE);
    assert_int_equal(post.outcome.n_released, 1);
    mr_free(big);
    rig_stop(&rig);
    peer_stop(&server);
}

static void refused_addresses_and_ports_are_told_apart(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    struct post post;
    peer_start(&server, serve_echo, NULL);
    rig_start(&rig, NULL, false);
    post_set(&post, &server, "x");
    post_run(&rig, &post);
    assert_int_equal(post.outcome.failure, HTTP_FAIL_ADDRESS);
    assert_int_equal(post.outcome.step, HTTP_STEP_ADDRESS);
    assert_non_null(strstr(post.outcome.detail, "127.0.0.1 is an address of this machine"));
    assert_int_equal(atomic_load(&server.n_conns), 0);
    rig_stop(&rig);
    peer_stop(&server); /* nothing listens there now */
    rig_start(&rig, NULL, true);
    post_run(&rig, &post);
    assert_int_equal(post.outcome.failure, HTTP_FAIL_CONNECT);
    assert_non_null(strstr(post.outcome.detail, "connection refused"));
    rig_stop(&rig);
}

/* What the operator named passes the guard and no proxy; everything else of the same client does
 * not, not even over the connection that is there. */
static void an_operators_address_is_neither_judged_nor_proxied(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    struct post post;
    peer_start(&server, serve_echo, NULL);
    struct http_client_opts opts = {.proxy = MR_STR("127.0.0.1:1")};
    rig_start(&rig, &opts, false);
    post_set(&post, &server, "own");
    post.spec.is_operators = true;
    post_run(&rig, &post);
    assert_int_equal(post.outcome.status, 200);
    assert_string_equal(post.outcome.body, "own");
    post_run(&rig, &post);
    assert_true(post.outcome.is_reused);
    post.spec.is_operators = false;
    post_run(&rig, &post);
    assert_int_equal(post.outcome.failure, HTTP_FAIL_ADDRESS);
    rig_stop(&rig);
    peer_stop(&server);
}

static void as_much_of_a_body_is_kept_as_was_asked_for(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    struct post post;
    peer_start(&server, serve_huge_body, NULL);
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "x");
    post.spec.body_kept_max = 300000;
    post_run(&rig, &post);
    assert_int_equal(post.outcome.body_len, 300000);
    assert_true(post.outcome.is_body_cut);
    post.spec.body_kept_max = 0;
    post_run(&rig, &post);
    assert_int_equal(post.outcome.body_len, HTTP_CALL_BODY_KEPT_MAX);
    rig_stop(&rig);
    peer_stop(&server);
}

static void a_changed_guard_ends_pooled_connections(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    struct post post;
    peer_start(&server, serve_echo, NULL);
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "x");
    post_run(&rig, &post);
    assert_true(mr_is_ok(net_guard_set_allow(rig.guard, NULL, 0)));
    post_run(&rig, &post);
    assert_int_equal(post.outcome.failure, HTTP_FAIL_ADDRESS);
    rig_stop(&rig);
    peer_stop(&server);
}

static void a_destination_whose_url_changed_is_connected_anew(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server before;
    struct peer_server after;
    struct post post;
    peer_start(&before, serve_echo, NULL);
    peer_start(&after, serve_echo, NULL);
    rig_start(&rig, NULL, true);
    post_set(&post, &before, "x");
    post_run(&rig, &post);
    post_set(&post, &after, "x"); /* the same key */
    post_run(&rig, &post);
    assert_false(post.outcome.is_reused);
    assert_int_equal(atomic_load(&before.n_requests), 1);
    assert_int_equal(atomic_load(&after.n_requests), 1);
    rig_stop(&rig);
    peer_stop(&before);
    peer_stop(&after);
}

static void a_cancelled_call_is_told_once_and_later(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    struct post post;
    peer_start(&server, serve_hang, NULL);
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "x");
    post_start(&rig, &post);
    http_call_cancel(post.call);
    http_call_cancel(post.call);
    assert_int_equal(post.outcome.n_done, 0);
    spin(&rig, &post.outcome.n_done, 1, 1000);
    assert_int_equal(post.outcome.failure, HTTP_FAIL_CANCELLED);
    post_start(&rig, &post);
    spin_ms(&rig, 50);
    http_call_cancel(post.call);
    spin(&rig, &post.outcome.n_done, 1, 1000);
    assert_int_equal(http_client_counts(rig.client).calls, 0);
    post_start(&rig, &post);
    spin_ms(&rig, 20);
    rig_stop(&rig); /* ends it */
    assert_int_equal(post.outcome.n_done, 1);
    assert_int_equal(post.outcome.failure, HTTP_FAIL_CANCELLED);
    peer_stop(&server);
}

static void suspect_destinations_share_half_and_a_healthy_one_gets_through(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server hanging;
    struct peer_server good;
    static struct post posts[8];
    struct post healthy;
    peer_start(&hanging, serve_hang, NULL);
    peer_start(&good, serve_echo, NULL);
    struct http_client_opts opts = {.connections_max = 8};
    rig_start(&rig, &opts, true);
    for (size_t i = 0; i < 8; i++) {
        post_set(&posts[i], &hanging, "x");
        posts[i].spec.pool_key = 100 + i;
        posts[i].spec.is_suspect = true;
        posts[i].spec.total_ms = 400;
        post_start(&rig, &posts[i]);
    }
    assert_int_equal(http_client_counts(rig.client).open, 4);
    assert_int_equal(http_client_counts(rig.client).waiting, 4);
    post_set(&healthy, &good, "x");
    post_run(&rig, &healthy);
    assert_int_equal(healthy.outcome.status, 200);
    assert_true(healthy.outcome.total_ns < 300 * MR_NS_PER_MS);
    for (size_t i = 0; i < 8; i++) {
        spin(&rig, &posts[i].outcome.n_done, 1, 3000);
    }
    /* The first four met a silent server, the others waited for a slot in vain or got one. */
    assert_int_equal(posts[0].outcome.failure, HTTP_FAIL_TIMEOUT);
    rig_stop(&rig);
    peer_stop(&hanging);
    peer_stop(&good);
}

static void idle_connections_make_room_and_calls_wait_for_it(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    static struct post posts[24];
    peer_start(&server, serve_echo, NULL);
    struct http_client_opts opts = {.connections_max = 2};
    rig_start(&rig, &opts, true);
    for (size_t i = 0; i < 24; i++) {
        post_set(&posts[i], &server, "x");
        posts[i].spec.pool_key = i / 2; /* twelve destinations on two connections */
        post_start(&rig, &posts[i]);
        assert_true(http_client_counts(rig.client).open <= 2);
    }
    for (size_t i = 0; i < 24; i++) {
        spin(&rig, &posts[i].outcome.n_done, 1, 5000);
        assert_int_equal(posts[i].outcome.failure, HTTP_FAIL_NONE);
    }
    rig_stop(&rig);
    peer_stop(&server);
}

static void a_bad_spec_starts_nothing(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    struct post post;
    peer_start(&server, serve_echo, NULL);
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "x");
    const mr_field bad[] = {{MR_STR("x"), MR_STR("a\r\nhost: b")}};
    post.spec.fields = (mr_fields){bad, 1};
    assert_true(mr_err_is(http_call_start(rig.client, &post.spec, &post.call), MR_E_INVALID));
    post_set(&post, &server, "x");
    post.spec.target = MR_STR("/a b");
    assert_true(mr_err_is(http_call_start(rig.client, &post.spec, &post.call), MR_E_INVALID));
    assert_int_equal(http_client_counts(rig.client).calls, 0);
    rig_stop(&rig);
    peer_stop(&server);
}

static void every_failed_allocation_is_survived(void **state) {
    (void)state;
    struct peer_server server;
    peer_start(&server, serve_echo, NULL);
    for (uint64_t n = 1; n <= 30; n++) {
        struct rig rig;
        struct post post;
        rig_start(&rig, NULL, true);
        post_set(&post, &server, "x");
        mr_alloc_fail_at(n);
        mr_err err = http_call_start(rig.client, &post.spec, &post.call);
        if (mr_is_ok(err)) {
            spin(&rig, &post.outcome.n_done, 1, 5000);
            assert_true(post.outcome.failure == HTTP_FAIL_NONE ||
                        post.outcome.failure == HTTP_FAIL_CONNECT ||
                        post.outcome.failure == HTTP_FAIL_RESPONSE);
        } else {
            assert_true(mr_err_is(err, MR_E_NOMEM));
        }
        mr_alloc_fail_at(0);
        post_run(&rig, &post);
        assert_int_equal(post.outcome.failure, HTTP_FAIL_NONE);
        rig_stop(&rig);
    }
    peer_stop(&server);
}

static void serve_proxy(struct peer_conn *conn) {
    if (!peer_read(conn)) {
        return;
    }
    if (strncmp(conn->request, "CONNECT 127.0.0.1:", 18) != 0 || conn->server->arg == 1) {
        peer_say(conn, "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
        return;
    }
    peer_say(conn, "HTTP/1.1 200 Connection established\r\n\r\n");
    serve_echo(conn); /* plays the destination itself */
}

static void the_egress_proxy_is_asked_for_a_judged_address(void **state) {
    (void)state;
    for (int refuse = 0; refuse < 2; refuse++) {
        struct rig rig;
        struct peer_server proxy;
        struct post post;
        peer_start(&proxy, serve_proxy, NULL);
        proxy.arg = refuse;
        char at[32];
        snprintf(at, sizeof at, refuse == 0 ? "http://127.0.0.1:%u/" : "127.0.0.1:%u", proxy.port);
        struct http_client_opts opts = {.proxy = mr_str_c(at)};
        rig_start(&rig, &opts, true);
        post_set(&post, &proxy, "through");
        post_run(&rig, &post);
        if (refuse == 0) {
            assert_int_equal(post.outcome.status, 200);
            assert_string_equal(post.outcome.body, "through");
            post_run(&rig, &post);
            assert_true(post.outcome.is_reused);
        } else {
            assert_int_equal(post.outcome.failure, HTTP_FAIL_CONNECT);
            assert_non_null(strstr(post.outcome.detail, "it answered 403"));
        }
        rig_stop(&rig);
        peer_stop(&proxy);
    }
}

/* ---- TLS ---- */

#define DAY (24L * 3600)

static SSL_CTX *server_tls(const struct cert *cert) {
    SSL_CTX *ctx;
    assert_true(mr_is_ok(
        tls_server_context(mr_str_c(cert->cert_pem), mr_str_c(cert->key_pem), NULL, &ctx)));
    return ctx;
}

/* One TLS call against a server with that certificate, trusting ca. */
static void try_tls(const struct cert *cert, const struct cert *ca, struct outcome *ret_outcome) {
    struct rig rig;
    struct peer_server server;
    struct post post;
    struct net_trust_roots *roots;
    struct net_trust *trust;
    struct net_trust_problem problem;
    assert_true(mr_is_ok(net_trust_roots_new(mr_str_c(ca->cert_pem), &roots, &problem)));
    assert_true(mr_is_ok(net_trust_new(roots, NULL, &trust, &problem)));
    peer_start(&server, serve_echo, server_tls(cert));
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "secret");
    post.spec.trust = trust;
    post.spec.is_fresh = true;
    post_run(&rig, &post);
    *ret_outcome = post.outcome;
    rig_stop(&rig);
    peer_stop(&server);
    net_trust_unref(trust);
    net_trust_roots_free(roots);
}

static void certificates_are_verified_and_failures_explained(void **state) {
    (void)state;
    struct cert ca;
    struct cert leaf;
    struct outcome outcome;
    cert_make(&(struct cert_spec){.cn = "Test CA", .from_s = -60, .to_s = DAY, .is_ca = true}, &ca);
    cert_make(
        &(struct cert_spec){
            .cn = "good", .alt_names = "IP:127.0.0.1", .issuer = &ca, .from_s = -60, .to_s = DAY},
        &leaf);
    try_tls(&leaf, &ca, &outcome);
    assert_string_equal(outcome.detail, "");
    assert_int_equal(outcome.status, 200);
    assert_string_equal(outcome.body, "secret");
    assert_non_null(strstr(outcome.texts[HTTP_STEP_TLS], "TLSv1.3, "));
    assert_non_null(strstr(outcome.texts[HTTP_STEP_TLS], "certificate for 127.0.0.1, valid until"));

    cert_make(&(struct cert_spec){.cn = "127.0.0.1",
                                  .alt_names = "DNS:*.acme.dev,DNS:acme.dev",
                                  .issuer = &ca,
                                  .from_s = -60,
                                  .to_s = DAY},
              &leaf);
    try_tls(&leaf, &ca, &outcome);
    assert_int_equal(outcome.failure, HTTP_FAIL_TLS);
    assert_int_equal(outcome.step, HTTP_STEP_TLS);
    assert_string_equal(outcome.detail,
                        "the certificate is for *.acme.dev, acme.dev, the URL says 127.0.0.1");

    cert_make(&(struct cert_spec){.cn = "old",
                                  .alt_names = "IP:127.0.0.1",
                                  .issuer = &ca,
                                  .from_s = -9 * DAY,
                                  .to_s = -2 * DAY},
              &leaf);
    try_tls(&leaf, &ca, &outcome);
    assert_int_equal(outcome.failure, HTTP_FAIL_TLS);
    assert_non_null(strstr(outcome.detail, "the certificate expired on 20"));

    cert_make(
        &(struct cert_spec){.cn = "self", .alt_names = "IP:127.0.0.1", .from_s = -60, .to_s = DAY},
        &leaf);
    try_tls(&leaf, &ca, &outcome);
    assert_int_equal(outcome.failure, HTTP_FAIL_TLS);
    assert_string_equal(outcome.detail, "the certificate is self-signed");
}

static void tls_to_a_plain_port_is_explained(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    struct post post;
    struct net_trust_roots *roots;
    struct net_trust *trust;
    struct net_trust_problem problem;
    assert_true(mr_is_ok(net_trust_roots_new(MR_STR_NONE, &roots, &problem)));
    assert_true(mr_is_ok(net_trust_new(roots, NULL, &trust, &problem)));
    peer_start(&server, serve_garbage, NULL);
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "x");
    snprintf(post.url_text, sizeof post.url_text, "https://127.0.0.1:%u/", server.port);
    assert_int_equal(net_url_parse(mr_str_c(post.url_text), true, &post.url), NET_URL_OK);
    post.spec.trust = trust;
    post.spec.total_ms = 1000;
    post_run(&rig, &post);
    assert_true(post.outcome.failure == HTTP_FAIL_TLS || post.outcome.failure == HTTP_FAIL_TIMEOUT);
    assert_int_equal(post.outcome.step, HTTP_STEP_TLS);
    rig_stop(&rig);
    peer_stop(&server);
    net_trust_unref(trust);
    net_trust_roots_free(roots);
}

static void serve_one_tls(struct peer_conn *conn) {
    peer_read(conn);
    peer_say(conn, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
}

static void sessions_are_resumed_within_a_key_until_it_is_forgotten(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    struct post post;
    struct cert ca;
    struct cert leaf;
    struct net_trust_roots *roots;
    struct net_trust *trust;
    struct net_trust_problem problem;
    cert_make(&(struct cert_spec){.cn = "Test CA", .from_s = -60, .to_s = DAY, .is_ca = true}, &ca);
    cert_make(
        &(struct cert_spec){
            .cn = "good", .alt_names = "IP:127.0.0.1", .issuer = &ca, .from_s = -60, .to_s = DAY},
        &leaf);
    assert_true(mr_is_ok(net_trust_roots_new(MR_STR_NONE, &roots, &problem)));
    struct net_trust_spec own = {.ca_pem = mr_str_c(ca.cert_pem)};
    assert_true(mr_is_ok(net_trust_new(roots, &own, &trust, &problem)));
    peer_start(&server, serve_one_tls, server_tls(&leaf));
    rig_start(&rig, NULL, true);
    post_set(&post, &server, "x");
    post.spec.trust = trust;
    static const int resumed_after[] = {0, 1, 2, 2, 3};
    for (size_t i = 0; i < 5; i++) {
        if (i == 3) {
            http_client_forget(rig.client, post.spec.pool_key);
        }
        post_run(&rig, &post);
        assert_int_equal(post.outcome.status, 200);
        assert_int_equal(atomic_load(&server.n_resumed), resumed_after[i]);
    }
    post.spec.pool_key = 99;
    post_run(&rig, &post);
    assert_int_equal(atomic_load(&server.n_resumed), 3);
    rig_stop(&rig);
    peer_stop(&server);
    net_trust_unref(trust);
    net_trust_roots_free(roots);
}

static void handshakes_are_rationed_per_destination(void **state) {
    (void)state;
    struct rig rig;
    struct peer_server server;
    static struct post posts[8];
    struct cert ca;
    struct cert leaf;
    struct net_trust_roots *roots;
    struct net_trust *trust;
    struct net_trust_problem problem;
    cert_make(&(struct cert_spec){.cn = "Test CA", .from_s = -60, .to_s = DAY, .is_ca = true}, &ca);
    cert_make(
        &(struct cert_spec){
            .cn = "good", .alt_names = "IP:127.0.0.1", .issuer = &ca, .from_s = -60, .to_s = DAY},
        &leaf);
    assert_true(mr_is_ok(net_trust_roots_new(mr_str_c(ca.cert_pem), &roots, &problem)));
    assert_true(mr_is_ok(net_trust_new(roots, NULL, &trust, &problem)));
    peer_start(&server, serve_one_tls, server_tls(&leaf));
    struct http_client_opts opts = {.handshakes_per_second = 4};
    rig_start(&rig, &opts, true);
    mr_mono start = os_mono_now();
    for (size_t i = 0; i < 6; i++) {
        post_set(&posts[i], &server, "x");
        posts[i].spec.trust = trust;
        post_start(&rig, &posts[i]);
    }
    assert_int_equal(http_client_counts(rig.client).waiting, 2);
    for (size_t i = 0; i < 6; i++) {
        spin(&rig, &posts[i].outcome.n_done, 1, 3000);
        assert_int_equal(posts[i].outcome.status, 200);
    }
    assert_true(mr_mono_diff_ms(os_mono_now(), start) >= 450);
    rig_stop(&rig);
    peer_stop(&server);
    net_trust_unref(trust);
    net_trust_roots_free(roots);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_post_is_answered_and_its_connection_used_again),
        cmocka_unit_test(the_request_is_as_the_spec_says),
        cmocka_unit_test(a_stale_connection_is_replaced_and_the_request_sent_again),
        cmocka_unit_test(a_body_once_released_is_not_sent_again),
        cmocka_unit_test(a_new_connection_that_dies_is_a_failure),
        cmocka_unit_test(silence_and_trickles_time_out),
        cmocka_unit_test(what_is_not_http_is_refused),
        cmocka_unit_test(eight_interim_responses_pass_and_nine_do_not),
        cmocka_unit_test(a_response_succeeds_with_its_head_whatever_its_body_does),
        cmocka_unit_test(chunks_are_joined_and_the_connection_kept),
        cmocka_unit_test(a_response_to_head_has_no_body),
        cmocka_unit_test(idle_connections_end_when_they_should),
        cmocka_unit_test(four_idle_seconds_are_the_limit),
        cmocka_unit_test(a_receiver_that_never_reads_times_out_at_the_request),
        cmocka_unit_test(a_large_body_goes_out_in_parts_and_is_released_once),
        cmocka_unit_test(refused_addresses_and_ports_are_told_apart),
        cmocka_unit_test(an_operators_address_is_neither_judged_nor_proxied),
        cmocka_unit_test(as_much_of_a_body_is_kept_as_was_asked_for),
        cmocka_unit_test(a_changed_guard_ends_pooled_connections),
        cmocka_unit_test(a_destination_whose_url_changed_is_connected_anew),
        cmocka_unit_test(a_cancelled_call_is_told_once_and_later),
        cmocka_unit_test(suspect_destinations_share_half_and_a_healthy_one_gets_through),
        cmocka_unit_test(idle_connections_make_room_and_calls_wait_for_it),
        cmocka_unit_test(a_bad_spec_starts_nothing),
        cmocka_unit_test(every_failed_allocation_is_survived),
        cmocka_unit_test(the_egress_proxy_is_asked_for_a_judged_address),
        cmocka_unit_test(certificates_are_verified_and_failures_explained),
        cmocka_unit_test(tls_to_a_plain_port_is_explained),
        cmocka_unit_test(sessions_are_resumed_within_a_key_until_it_is_forgotten),
        cmocka_unit_test(handshakes_are_rationed_per_destination),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
