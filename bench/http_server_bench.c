/* What a request costs the HTTP server: one loop thread serves, client threads send keep-alive
 * requests in a closed loop over loopback. Prints CPU microseconds per request of the server's
 * thread, kernel included, the requests served per turn of the loop, and its longest turn.
 *
 *   http_server_bench [requests] [connections] [body bytes]
 *
 * The client is blunt on purpose (one thread that sends on all connections, then reads on all): it
 * is not measured. */
#include "base/mem.h"
#include "base/num.h"
#include "http/server.h"
#include "os/clock.h"
#include "os/thread.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define CLIENT_THREADS  1
#define CONNECTIONS_MAX 256

struct bench {
    struct loop loop;
    struct stream_shared shared;
    struct http_server *server;
    mr_metrics metrics;
    os_addr bound;
    struct mail stop;
    uint64_t n_requests;
    size_t n_connections;
    size_t body_size;
};

static void on_head(void *ctx, struct http_exchange *ex) {
    (void)ctx;
    http_exchange_want_body(ex, 65536);
}

static void on_body(void *ctx, struct http_exchange *ex, mr_str body) {
    (void)ctx;
    (void)body;
    mr_field type = {MR_STR("content-type"), MR_STR("application/json")};
    http_exchange_answer(ex, 202, &type, 1,
                         MR_STR("{\"accepted\":1,\"duplicates\":0,\"events\":[]}"));
}

static void on_end(void *ctx, struct http_exchange *ex) {
    (void)ctx;
    (void)ex;
}

static mr_str refuse(void *ctx, struct http_exchange *ex, int status, const char *reason,
                     mr_buf *body, mr_field *ret_field) {
    (void)ctx;
    (void)ex;
    (void)ret_field;
    (void)status;
    mr_ignore(mr_buf_str(body, mr_str_c(reason)), "a bench");
    return MR_STR("text/plain");
}

static const struct http_handler handler = {
    .on_head = on_head, .on_body = on_body, .on_end = on_end, .refuse = refuse};

static void on_stop(struct mail *mail) {
    loop_stop(&MR_CONTAINER(mail, struct bench, stop)->loop);
}

static void must(bool is_true, const char *what) {
    if (!is_true) {
        perror(what);
        abort();
    }
}

static void wait_for(int fd, short events) {
    struct pollfd p = {.fd = fd, .events = events};
    must(poll(&p, 1, 10000) == 1, "poll");
}

static size_t make_request(const struct bench *bench, mr_buf *out) {
    mr_buf_init(out, 1 << 20);
    mr_err err = mr_buf_printf(
        out,
        "POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer %0200d\r\n"
        "user-agent: bench\r\ncontent-type: application/cloudevents+json\r\n"
        "content-length: %zu\r\n\r\n",
        1, bench->body_size);
    char *at = NULL;
    must(mr_is_ok(err) && mr_is_ok(mr_buf_reserve(out, bench->body_size, &at)), "memory");
    memset(at, 'x', bench->body_size);
    mr_buf_commit(out, bench->body_size);
    return out->len;
}

/* Sends on all connections, then reads on all: a window of one per connection. */
static void client(void *bench_ptr) {
    struct bench *bench = bench_ptr;
    int fds[CONNECTIONS_MAX];
    mr_buf request;
    make_request(bench, &request);
    for (size_t i = 0; i < bench->n_connections; i++) {
        must(mr_is_ok(os_connect_start(&bench->bound, &fds[i])), "connect");
        wait_for(fds[i], POLLOUT);
    }
    char answer[4096];
    for (uint64_t done = 0; done < bench->n_requests; done += bench->n_connections) {
        for (size_t i = 0; i < bench->n_connections; i++) {
            struct iovec iov = {.iov_base = request.ptr, .iov_len = request.len};
            size_t n;
            must(mr_is_ok(os_send(fds[i], &iov, 1, &n)) && n == request.len, "send");
        }
        for (size_t i = 0; i < bench->n_connections; i++) {
            size_t n;
            mr_err err = os_recv(fds[i], answer, sizeof answer, &n);
            while (mr_err_is(err, MR_E_AGAIN)) {
                wait_for(fds[i], POLLIN);
                err = os_recv(fds[i], answer, sizeof answer, &n);
            }
            must(mr_is_ok(err) && memcmp(answer, "HTTP/1.1 202", 12) == 0, "answer");
        }
    }
    for (size_t i = 0; i < bench->n_connections; i++) {
        os_close(fds[i]);
    }
    mr_buf_done(&request);
    mailbox_post(loop_mailbox(&bench->loop), &bench->stop, NULL);
}

static double thread_cpu_us(void) {
    struct rusage usage;
    must(getrusage(RUSAGE_THREAD, &usage) == 0, "getrusage");
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static uint64_t argument(int argc, char **argv, int which, uint64_t otherwise) {
    uint64_t n = otherwise;
    if (argc > which) {
        must(mr_is_ok(mr_u64_parse(mr_str_c(argv[which]), 0, 100000000, &n)), "argument");
    }
    return n;
}

int main(int argc, char **argv) {
    struct bench *bench = MR_NEW(struct bench);
    must(bench != NULL, "memory");
    bench->n_requests = argument(argc, argv, 1, 300000);
    bench->n_connections = argument(argc, argv, 2, 16);
    bench->body_size = argument(argc, argv, 3, 1024);
    must(bench->n_connections >= 1 && bench->n_connections <= CONNECTIONS_MAX, "connections");
    bench->stop.run = on_stop;
    os_addr any;
    struct http_server_options options = http_server_options_default();
    must(mr_is_ok(loop_init(&bench->loop, &bench->metrics)) &&
             mr_is_ok(stream_shared_init(&bench->shared, &bench->loop, &bench->metrics)) &&
             mr_is_ok(os_addr_parse(MR_STR("127.0.0.1:0"), &any)) &&
             mr_is_ok(http_server_new(&bench->shared, &any, &options, &handler, NULL, NULL,
                                      &bench->server, &bench->bound)),
         "server");
    os_thread thread;
    must(mr_is_ok(os_thread_start(&thread, "client", client, bench)), "thread");
    double cpu = thread_cpu_us();
    mr_mono start = os_mono_now();
    loop_run(&bench->loop);
    cpu = thread_cpu_us() - cpu;
    double wall_s = (double)mr_mono_diff_ns(os_mono_now(), start) / 1e9;
    os_thread_join(&thread);
    double n = (double)mr_metric_get(&bench->metrics, MR_METRIC_HTTP_REQUESTS);
    printf("requests=%.0f connections=%zu body=%zu cpu_us_per_request=%.2f requests_per_s=%.0f "
           "requests_per_turn=%.1f turn_us_max=%lld\n",
           n, bench->n_connections, bench->body_size, cpu / n, n / wall_s,
           n / (double)mr_metric_get(&bench->metrics, MR_METRIC_LOOP_TURNS),
           (long long)bench->loop.turn_us_max);
    http_server_free(bench->server);
    stream_shared_done(&bench->shared);
    loop_done(&bench->loop);
    mr_free(bench);
    return 0;
}
