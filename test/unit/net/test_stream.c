/* Streams over real loopback connections, plain and TLS: all bytes in order under tiny socket
 * buffers, partial use and pauses; the ways in which a connection ends. */
#include "base/mem.h"
#include "net/stream.h"
#include "net/tls.h"
#include "support_certs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <cmocka.h>

#define UNUSED_MAX 4096

struct end {
    struct stream stream;
    struct fixture *fixture;
    uint64_t to_send, sent; /* pattern bytes */
    uint64_t received;
    uint64_t random;
    bool is_fussy; /* leaves bytes, pauses */
    bool is_opened, is_ended, closes_in_data;
    enum stream_end how;
    int n_writable;
};

struct fixture {
    struct loop loop;
    mr_metrics metrics;
    struct stream_shared shared;
    struct end a, b;
    SSL_CTX *server_ctx, *client_ctx;
    struct loop_timer resume_timer;
};

static struct fixture *made;

static char pattern(uint64_t at) {
    return (char)(at * 2654435761u >> 13);
}

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void push(struct end *end) {
    char bytes[3][3000];
    while (end->sent < end->to_send) {
        struct iovec iov[3];
        uint64_t at = end->sent;
        size_t offered = 0;
        int n_iov = 0;
        for (; n_iov < 3 && at < end->to_send; n_iov++) {
            size_t n = 1 + next_random(&end->random) % sizeof bytes[0];
            n = n > end->to_send - at ? (size_t)(end->to_send - at) : n;
            for (size_t i = 0; i < n; i++) {
                bytes[n_iov][i] = pattern(at + i);
            }
            iov[n_iov] = (struct iovec){bytes[n_iov], n};
            at += n;
            offered += n;
        }
        size_t taken = 0;
        if (mr_is_err(stream_send(&end->stream, iov, n_iov, &taken))) {
            return;
        }
        end->sent += taken;
        memset(bytes, 0, sizeof bytes); /* what was taken may be forgotten */
        if (taken < offered) {
            return;
        }
    }
}

static size_t on_data(struct stream *stream, mr_str bytes) {
    struct end *end = MR_CONTAINER(stream, struct end, stream);
    if (end->closes_in_data) {
        stream_close(stream);
        memset(stream, 0xee, sizeof *stream); /* the memory is the owner's again */
        *stream = (struct stream){.io.fd = -1};
        end->is_ended = true;
        return bytes.len;
    }
    size_t n = bytes.len;
    if (end->is_fussy && next_random(&end->random) % 4 == 0) {
        n -= n < UNUSED_MAX ? n / 2 : UNUSED_MAX / 2;
        if (next_random(&end->random) % 8 == 0) {
            stream_pause(stream);
            loop_timer_set(&made->loop, &made->resume_timer, loop_now(&made->loop));
        } else {
            stream_again(stream);
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (bytes.ptr[i] != pattern(end->received + i)) {
            fail_msg("byte %llu is wrong", (unsigned long long)(end->received + i));
        }
    }
    end->received += n;
    return n;
}

static void on_end(struct stream *stream, enum stream_end how) {
    struct end *end = MR_CONTAINER(stream, struct end, stream);
    assert_false(end->is_ended);
    end->is_ended = true;
    end->how = how;
}

static void on_open(struct stream *stream) {
    MR_CONTAINER(stream, struct end, stream)->is_opened = true;
}

static void on_writable(struct stream *stream) {
    struct end *end = MR_CONTAINER(stream, struct end, stream);
    end->n_writable++;
    push(end);
}

static const struct stream_events events = {
    .on_open = on_open, .on_data = on_data, .on_end = on_end, .on_writable = on_writable};

static void on_resume(struct loop_timer *timer) {
    (void)timer;
    stream_resume(&made->a.stream);
    stream_resume(&made->b.stream);
}

/* Two connected descriptors. */
static void connect_pair(int *ret_a, int *ret_b) {
    os_addr addr;
    os_addr peer;
    int listener;
    assert_true(mr_is_ok(os_addr_parse(MR_STR("127.0.0.1:0"), &addr)));
    assert_true(mr_is_ok(os_listen(&addr, 4, &listener, &addr)));
    assert_true(mr_is_ok(os_connect_start(&addr, ret_a)));
    mr_err err;
    do {
        err = os_accept(listener, ret_b, &peer);
    } while (mr_err_is(err, MR_E_AGAIN));
    assert_true(mr_is_ok(err));
    assert_true(mr_is_ok(os_connect_result(*ret_a)));
    os_close(listener);
}

static int set_up(void **state) {
    (void)state;
    made = MR_NEW(struct fixture);
    assert_true(mr_is_ok(loop_init(&made->loop, &made->metrics)));
    assert_true(mr_is_ok(stream_shared_init(&made->shared, &made->loop, &made->metrics)));
    loop_timer_init(&made->resume_timer, on_resume);
    made->a.random = 88172645463325252u;
    made->b.random = 1234567890123457u;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    stream_close(&made->a.stream);
    stream_close(&made->b.stream);
    loop_timer_cancel(&made->loop, &made->resume_timer);
    stream_shared_done(&made->shared);
    loop_done(&made->loop);
    SSL_CTX_free(made->server_ctx);
    SSL_CTX_free(made->client_ctx);
    mr_free(made);
    return 0;
}

static void open_ends(int fd_a, int fd_b) {
    assert_true(mr_is_ok(stream_init(&made->a.stream, &made->shared, fd_a, &events, UNUSED_MAX)));
    assert_true(mr_is_ok(stream_init(&made->b.stream, &made->shared, fd_b, &events, UNUSED_MAX)));
}

/* a becomes the client, b the server. name: what the client expects. */
static void make_tls(const char *name, bool trusts) {
    struct cert *cert = MR_NEW(struct cert);
    struct cert *ca = MR_NEW(struct cert);
    struct cert_spec ca_spec = {.cn = "ca", .from_s = -60, .to_s = 3600, .is_ca = true};
    cert_make(&ca_spec, ca);
    struct cert_spec spec = {.cn = "test",
                             .alt_names = "DNS:localhost,IP:127.0.0.1",
                             .issuer = trusts ? ca : NULL,
                             .from_s = -60,
                             .to_s = 3600};
    cert_make(&spec, cert);
    mr_str pem = mr_str_c(cert->cert_pem);
    assert_true(
        mr_is_ok(tls_server_context(pem, mr_str_c(cert->key_pem), NULL, &made->server_ctx)));
    assert_true(mr_is_ok(tls_client_context(&made->client_ctx)));
    if (trusts) {
        BIO *bio = BIO_new_mem_buf(ca->cert_pem, -1);
        X509 *x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(made->client_ctx), x509), 1);
        X509_free(x509);
        BIO_free(bio);
    }
    SSL *client = tls_connect_new(made->client_ctx, mr_str_c(name));
    SSL *server = tls_accept_new(made->server_ctx);
    assert_non_null(client);
    assert_non_null(server);
    assert_true(mr_is_ok(stream_start_tls(&made->a.stream, client)));
    assert_true(mr_is_ok(stream_start_tls(&made->b.stream, server)));
    mr_free(cert);
    mr_free(ca);
}

/* Turns until done; fails after ten seconds without. */
static void run_until(bool (*is_done)(void)) {
    mr_mono limit = mr_mono_add_ms(loop_now(&made->loop), 10000);
    while (!is_done()) {
        loop_turn(&made->loop, 100);
        if (!mr_mono_before(loop_now(&made->loop), limit)) {
            mr_str problem = stream_tls_problem(&made->a.stream);
            fail_msg("a: sent %llu of %llu received %llu, end %d; b: sent %llu received %llu, end "
                     "%d; %.*s",
                     (unsigned long long)made->a.sent, (unsigned long long)made->a.to_send,
                     (unsigned long long)made->a.received, made->a.is_ended ? (int)made->a.how : -1,
                     (unsigned long long)made->b.sent, (unsigned long long)made->b.received,
                     made->b.is_ended ? (int)made->b.how : -1, MR_FMT(problem));
        }
    }
}

static bool all_received(void) {
    return made->a.received == made->b.to_send && made->b.received == made->a.to_send;
}

static bool a_ended(void) {
    return made->a.is_ended;
}

static bool b_ended(void) {
    return made->b.is_ended;
}

static bool a_opened(void) {
    return made->a.is_opened;
}

static bool b_opened(void) {
    return made->b.is_opened;
}

static void torture(bool is_tls) {
    int fd_a;
    int fd_b;
    connect_pair(&fd_a, &fd_b);
    os_socket_buffers(fd_a, 16384, 65536);
    os_socket_buffers(fd_b, 16384, 65536);
    open_ends(fd_a, fd_b);
    made->a.is_fussy = true;
    made->b.is_fussy = true;
    made->a.to_send = 1000000;
    made->b.to_send = 700000;
    if (is_tls) {
        make_tls("localhost", true);
    }
    push(&made->a);
    push(&made->b);
    run_until(all_received);
    assert_true(made->a.n_writable > 1); /* the back-pressure was felt */
    stream_finish(&made->a.stream);
    run_until(b_ended);
    assert_int_equal(made->b.how, STREAM_END_EOF);
    assert_int_equal(made->b.stream.unused.cap, 0);
}

static void plain_bytes_arrive_in_order_through_tiny_buffers(void **state) {
    (void)state;
    torture(false);
}

static void tls_bytes_arrive_in_order_through_tiny_buffers(void **state) {
    (void)state;
    torture(true);
    assert_true(made->a.is_opened && made->b.is_opened);
    assert_int_equal(SSL_version(stream_ssl(&made->a.stream)), TLS1_3_VERSION);
}

/* Of OpenSSL, for each record header among others. */
static void count_records(int is_written, int version, int type, const void *bytes, size_t len,
                          SSL *ssl, void *arg) {
    (void)version;
    (void)ssl;
    bool is_header = type == SSL3_RT_HEADER && len > 0;
    if (is_written && is_header && *(const char *)bytes == SSL3_RT_APPLICATION_DATA) {
        ++*(int *)arg;
    }
}

/* Offers pieces of the pattern; returns how many records they became. */
static int send_pieces(const size_t *sizes, int n) {
    static char bytes[65536];
    struct iovec iov[8];
    int n_records = 0;
    size_t at = 0;
    struct end *a = &made->a;
    for (int i = 0; i < n; i++) {
        iov[i] = (struct iovec){bytes + at, sizes[i]};
        for (size_t k = 0; k < sizes[i]; k++, at++) {
            bytes[at] = pattern(a->to_send + at);
        }
    }
    SSL_set_msg_callback(stream_ssl(&a->stream), count_records);
    SSL_set_msg_callback_arg(stream_ssl(&a->stream), &n_records);
    size_t taken = 0;
    assert_true(mr_is_ok(stream_send(&a->stream, iov, n, &taken)));
    assert_int_equal(taken, at);
    SSL_set_msg_callback(stream_ssl(&a->stream), NULL);
    a->to_send += at;
    a->sent = a->to_send;
    return n_records;
}

static void pieces_offered_together_share_full_records(void **state) {
    (void)state;
    int a;
    int b;
    connect_pair(&a, &b);
    open_ends(a, b);
    make_tls("localhost", true);
    run_until(a_opened);
    run_until(b_opened);

    assert_int_equal(send_pieces((size_t[]){100, 0, 1400}, 3), 1);
    assert_int_equal(send_pieces((size_t[]){0, 16384, 0}, 3), 1);
    assert_int_equal(send_pieces((size_t[]){10, 20000, 300, 40000}, 4), 4);
    assert_int_equal(send_pieces((size_t[]){0, 0}, 2), 0);
    run_until(all_received);
}

static void a_tls_end_without_close_notify_is_told_apart(void **state) {
    (void)state;
    int fd_a;
    int fd_b;
    connect_pair(&fd_a, &fd_b);
    open_ends(fd_a, fd_b);
    make_tls("127.0.0.1", true);
    run_until(b_opened);
    os_shutdown_write(fd_a); /* FIN behind the stream's back */
    run_until(b_ended);
    assert_int_equal(made->b.how, STREAM_END_TRUNCATED);
}

static void a_reset_is_told_as_lost(void **state) {
    (void)state;
    int fd_a;
    int fd_b;
    connect_pair(&fd_a, &fd_b);
    open_ends(fd_a, fd_b);
    stream_abort(&made->a.stream);
    run_until(b_ended);
    assert_int_equal(made->b.how, STREAM_END_LOST);
    assert_int_not_equal(made->b.stream.error, 0);
    size_t n;
    char byte = 'x';
    struct iovec iov = {&byte, 1};
    mr_ignore(stream_send(&made->b.stream, &iov, 1, &n), "may be taken by the kernel once");
    assert_false(stream_is_usable(&made->a.stream));
    assert_int_equal(stream_send(&made->a.stream, &iov, 1, &n).code, MR_E_CLOSED);
}

static void an_untrusted_certificate_ends_both_sides_with_its_reason(void **state) {
    (void)state;
    int fd_a;
    int fd_b;
    connect_pair(&fd_a, &fd_b);
    open_ends(fd_a, fd_b);
    make_tls("localhost", false);
    run_until(a_ended);
    run_until(b_ended);
    assert_int_equal(made->a.how, STREAM_END_TLS);
    assert_int_equal(made->b.how, STREAM_END_TLS);
    mr_str problem = stream_tls_problem(&made->a.stream);
    assert_true(mr_str_find(problem, MR_STR("self-signed")) != SIZE_MAX);
    assert_false(made->a.is_opened);
}

static void a_certificate_of_another_name_is_refused(void **state) {
    (void)state;
    int fd_a;
    int fd_b;
    connect_pair(&fd_a, &fd_b);
    open_ends(fd_a, fd_b);
    make_tls("other.example", true);
    run_until(a_ended);
    assert_int_equal(made->a.how, STREAM_END_TLS);
    assert_true(mr_str_find(stream_tls_problem(&made->a.stream), MR_STR("ostname")) != SIZE_MAX);
}

static void bytes_that_are_no_tls_end_the_handshake(void **state) {
    (void)state;
    int fd_a;
    int fd_b;
    connect_pair(&fd_a, &fd_b);
    open_ends(fd_a, fd_b);
    make_tls("localhost", true);
    static const char text[] = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    assert_int_equal(send(fd_a, text, sizeof text - 1, 0), sizeof text - 1);
    run_until(b_ended);
    assert_int_equal(made->b.how, STREAM_END_TLS);
    assert_true(stream_tls_problem(&made->b.stream).len > 0);
}

static void a_close_inside_the_callback_is_safe(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        int fd_a;
        int fd_b;
        connect_pair(&fd_a, &fd_b);
        made->a = (struct end){.random = 5};
        made->b = (struct end){.random = 7, .closes_in_data = true};
        open_ends(fd_a, fd_b);
        made->a.to_send = 100;
        if (i == 1) {
            make_tls("localhost", true);
        }
        push(&made->a);
        run_until(b_ended);
        run_until(a_ended);
        stream_close(&made->a.stream);
    }
}

static void a_paused_stream_leaves_its_bytes_in_the_kernel(void **state) {
    (void)state;
    int fd_a;
    int fd_b;
    connect_pair(&fd_a, &fd_b);
    open_ends(fd_a, fd_b);
    made->b.is_fussy = false;
    stream_pause(&made->b.stream);
    made->a.to_send = 500000;
    push(&made->a);
    for (int i = 0; i < 20; i++) {
        loop_turn(&made->loop, 1);
    }
    assert_int_equal(made->b.received, 0);
    assert_int_equal(made->b.stream.unused.len, 0);
    stream_resume(&made->b.stream);
    run_until(all_received);
}

static size_t pause_with_nothing_used(struct stream *stream, mr_str bytes) {
    struct end *end = MR_CONTAINER(stream, struct end, stream);
    if (end->received++ == 0) {
        stream_pause(stream);
        return 0;
    }
    end->sent = bytes.len;
    return bytes.len;
}

static void an_end_waits_for_an_owner_that_paused(void **state) {
    (void)state;
    static const struct stream_events pauser = {
        .on_data = pause_with_nothing_used, .on_end = on_end, .on_writable = on_writable};
    for (int i = 0; i < 2; i++) {
        int fd_a;
        int fd_b;
        connect_pair(&fd_a, &fd_b);
        made->a = (struct end){.random = 5};
        made->b = (struct end){.random = 7};
        open_ends(fd_a, fd_b);
        if (i == 1) {
            make_tls("localhost", true);
            run_until(b_opened);
            run_until(a_opened);
        }
        made->b.stream.events = &pauser;
        made->a.to_send = 100;
        push(&made->a);
        stream_finish(&made->a.stream); /* data, end: at once */
        for (int turns = 0; turns < 20; turns++) {
            loop_turn(&made->loop, 1);
        }
        assert_int_equal(made->b.received, 1);
        assert_false(made->b.is_ended);
        stream_resume(&made->b.stream);
        run_until(b_ended);
        assert_int_equal(made->b.how, STREAM_END_EOF);
        assert_int_equal(made->b.sent, 100);
        stream_close(&made->a.stream);
        stream_close(&made->b.stream);
        SSL_CTX_free(made->server_ctx);
        SSL_CTX_free(made->client_ctx);
        made->server_ctx = NULL;
        made->client_ctx = NULL;
    }
}

static size_t use_nothing(struct stream *stream, mr_str bytes) {
    (void)stream;
    (void)bytes;
    return 0;
}

static void an_owner_that_uses_nothing_is_ended_at_its_bound(void **state) {
    (void)state;
    static const struct stream_events hoarder = {
        .on_data = use_nothing, .on_end = on_end, .on_writable = on_writable};
    int fd_a;
    int fd_b;
    connect_pair(&fd_a, &fd_b);
    open_ends(fd_a, fd_b);
    made->b.stream.events = &hoarder;
    made->a.to_send = 500000;
    push(&made->a);
    run_until(b_ended);
    assert_int_equal(made->b.how, STREAM_END_MEMORY);
    assert_int_equal(made->b.stream.unused.cap, 0);
}

static void contexts_say_what_is_wrong_with_an_identity(void **state) {
    (void)state;
    struct cert *one = MR_NEW(struct cert);
    struct cert *two = MR_NEW(struct cert);
    struct cert_spec spec = {.cn = "test", .from_s = -60, .to_s = 3600};
    cert_make(&spec, one);
    cert_make(&spec, two);
    mr_str cert = mr_str_c(one->cert_pem);
    mr_str key = mr_str_c(one->key_pem);
    SSL_CTX *ctx = NULL;
    mr_buf problem;
    mr_buf_init(&problem, 500);
    assert_int_equal(tls_server_context(MR_STR("x"), key, &problem, &ctx).code, NET_E_TLS_CERT);
    assert_true(problem.len > 0);
    assert_int_equal(tls_server_context(cert, MR_STR(""), NULL, &ctx).code, NET_E_TLS_KEY);
    assert_int_equal(tls_server_context(cert, mr_str_c(two->key_pem), NULL, &ctx).code,
                     NET_E_TLS_KEY);
    assert_null(ctx);
    assert_true(mr_is_ok(tls_server_context(cert, key, NULL, &ctx)));
    SSL_CTX_free(ctx);
    mr_buf_done(&problem);
    mr_free(one);
    mr_free(two);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(plain_bytes_arrive_in_order_through_tiny_buffers),
        TEST(tls_bytes_arrive_in_order_through_tiny_buffers),
        TEST(pieces_offered_together_share_full_records),
        TEST(a_tls_end_without_close_notify_is_told_apart),
        TEST(a_reset_is_told_as_lost),
        TEST(an_untrusted_certificate_ends_both_sides_with_its_reason),
        TEST(a_certificate_of_another_name_is_refused),
        TEST(bytes_that_are_no_tls_end_the_handshake),
        TEST(a_close_inside_the_callback_is_safe),
        TEST(a_paused_stream_leaves_its_bytes_in_the_kernel),
        TEST(an_end_waits_for_an_owner_that_paused),
        TEST(an_owner_that_uses_nothing_is_ended_at_its_bound),
        TEST(contexts_say_what_is_wrong_with_an_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
