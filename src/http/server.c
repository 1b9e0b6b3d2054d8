/* The HTTP server: listening, limits on connections, pausing, stopping. See server.h; what happens
 * on a connection stands in connection.c, what a request becomes in exchange.c.
 *
 * A full server stops accepting and leaves newcomers in the kernel's queue, where they cost
 * nothing; it goes on when one closes. Without descriptors it waits a moment, because nothing tells
 * when there are some again. An address over its share is accepted and closed: it must not block
 * the others' places in the queue. */
#include "http/connection.h"

#include "base/mem.h"
#include "os/clock.h"

#include <openssl/ssl.h>

#define ACCEPTS_PER_TURN 32
#define ACCEPT_RETRY_MS  100
#define LISTEN_BACKLOG   4096

struct http_server_options http_server_options_default(void) {
    return (struct http_server_options){
        .connections_max = 10000,
        .connections_per_address_max = 1000,
        .body_bytes_total_max = (size_t)64 << 20,
        .head_ms = 10000,
        .idle_ms = 75000,
        .grace_ms = 10000,
        .bytes_per_second_min = 1024,
    };
}

/* Shared memory */

mr_buf http_server_take_buf(struct http_server *server) {
    if (server->n_spare_bufs > 0) {
        return server->spare_bufs[--server->n_spare_bufs];
    }
    mr_buf buf;
    mr_buf_init_private(&buf, HTTP_ANSWERS_BYTES_MAX);
    return buf;
}

void http_server_give_buf(struct http_server *server, mr_buf *buf) {
    if (buf->ptr == NULL) {
        return;
    }
    if (buf->cap <= HTTP_SPARE_BUF_SIZE && server->n_spare_bufs < HTTP_SPARE_BUFS) {
        mr_buf_reset(buf);
        server->spare_bufs[server->n_spare_bufs++] = *buf;
        *buf = (mr_buf){0};
    } else {
        mr_buf_done(buf);
    }
}

mr_str http_server_date(struct http_server *server) {
    mr_wall now = loop_wall(server->loop);
    int64_t second = now.ns / MR_NS_PER_S;
    if (second != server->date_second) {
        server->date_second = second;
        server->date_len = mr_time_format_http(now, server->date);
    }
    return mr_str_of(server->date, server->date_len);
}

/* Accepting */

static void update_listener(struct http_server *server) {
    if (server->listener.fd >= 0) {
        bool accepts = !server->is_full && !server->is_out_of_descriptors;
        loop_io_want(server->loop, &server->listener, accepts ? LOOP_READ : 0);
    }
}

static void admit(struct http_server *server, int fd, const os_addr *peer) {
    size_t max = server->options.connections_per_address_max;
    if (!http_addresses_enter(&server->addresses, peer, max)) {
        os_close_reset(fd);
        return;
    }
    server->n_connections++;
    mr_metric_add(server->shared->metrics, MR_METRIC_HTTP_CONNECTIONS, 1);
    if (server->n_connections >= server->options.connections_max) {
        server->is_full = true;
        update_listener(server);
    }
    http_connection_open(server, fd, peer);
}

static void on_waiting(struct loop_io *io, unsigned ready) {
    (void)ready;
    struct http_server *server = MR_CONTAINER(io, struct http_server, listener);
    for (int i = 0; i < ACCEPTS_PER_TURN && !server->is_full; i++) {
        int fd;
        os_addr peer;
        mr_err err = os_accept(io->fd, &fd, &peer);
        if (mr_err_is(err, MR_E_AGAIN)) {
            return;
        }
        if (mr_err_is(err, MR_E_CLOSED)) {
            continue;
        }
        if (mr_is_err(err)) {
            if (!server->is_out_of_descriptors) {
                mr_warn(server->log, "http_accept_failed",
                        mr_kv_i64("connections", (int64_t)server->n_connections));
            }
            server->is_out_of_descriptors = true;
            update_listener(server);
            loop_timer_set(server->loop, &server->accept_timer,
                           mr_mono_add_ms(loop_now(server->loop), ACCEPT_RETRY_MS));
            return;
        }
        admit(server, fd, &peer);
    }
}

static void on_accept_timer(struct loop_timer *timer) {
    struct http_server *server = MR_CONTAINER(timer, struct http_server, accept_timer);
    server->is_out_of_descriptors = false;
    update_listener(server);
}

void http_server_on_closed(struct http_server *server, const os_addr *peer) {
    http_addresses_leave(&server->addresses, peer);
    server->n_connections--;
    mr_metric_add(server->shared->metrics, MR_METRIC_HTTP_CONNECTIONS, -1);
    if (server->is_full) {
        server->is_full = false;
        update_listener(server);
    }
    if (server->is_stopping && server->n_connections == 0) {
        loop_defer(server->loop, &server->stopped_task);
    }
}

/* Life */

static void on_stopped_task(struct loop_task *task) {
    struct http_server *server = MR_CONTAINER(task, struct http_server, stopped_task);
    void (*on_stopped)(void *ctx) = server->on_stopped;
    server->on_stopped = NULL;
    if (on_stopped != NULL) {
        on_stopped(server->stopped_ctx);
    }
}

mr_err http_server_new(struct stream_shared *shared, const os_addr *addr,
                       const struct http_server_options *options,
                       const struct http_handler *handler, void *ctx, const mr_log *log,
                       struct http_server **ret_server, os_addr *ret_bound) {
    MR_ASSERT(options->bytes_per_second_min > 0 && options->connections_max > 0);
    struct http_server *server = MR_NEW(struct http_server);
    if (server == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    server->loop = shared->loop;
    server->shared = shared;
    server->handler = handler;
    server->ctx = ctx;
    server->log = log;
    server->options = *options;
    server->date_second = INT64_MIN;
    mr_list_init(&server->connections);
    mr_list_init(&server->spare_exchanges);
    loop_io_init(&server->listener, on_waiting);
    loop_timer_init(&server->accept_timer, on_accept_timer);
    loop_task_init(&server->stopped_task, on_stopped_task);
    if (options->tls != NULL) {
        MR_ASSERT(SSL_CTX_up_ref(options->tls) == 1);
    }
    uint64_t seed;
    os_random(&seed, sizeof seed);
    int fd = -1;
    os_addr bound = {.family = OS_FAMILY_NONE};
    mr_err err = http_addresses_init(&server->addresses, options->connections_max, seed);
    if (mr_is_ok(err)) {
        err = os_listen(addr, LISTEN_BACKLOG, &fd, &bound);
    }
    if (mr_is_ok(err)) {
        err = loop_io_add(server->loop, &server->listener, fd, LOOP_READ);
        if (mr_is_err(err)) {
            os_close(fd);
        }
    }
    if (mr_is_err(err)) {
        http_server_free(server);
        return err;
    }
    if (ret_bound != NULL) {
        *ret_bound = bound;
    }
    *ret_server = server;
    return MR_OK;
}

void http_server_free(struct http_server *server) {
    if (server == NULL) {
        return;
    }
    loop_io_close(server->loop, &server->listener);
    while (!mr_list_is_empty(&server->connections)) {
        http_connection_close(MR_CONTAINER(server->connections.next, struct http_connection, node));
    }
    loop_timer_cancel(server->loop, &server->accept_timer);
    loop_task_cancel(&server->stopped_task);
    mr_list *node;
    while ((node = mr_list_pop_front(&server->spare_exchanges)) != NULL) {
        http_exchange_free_memory(MR_CONTAINER(node, struct exchange, node));
    }
    while (server->n_spare_bufs > 0) {
        mr_buf_done(&server->spare_bufs[--server->n_spare_bufs]);
    }
    http_addresses_done(&server->addresses);
    SSL_CTX_free(server->options.tls);
    mr_free(server);
}

void http_server_stop(struct http_server *server, void (*on_stopped)(void *ctx), void *ctx) {
    MR_ASSERT(!server->is_stopping);
    server->is_stopping = true;
    server->on_stopped = on_stopped;
    server->stopped_ctx = ctx;
    loop_io_close(server->loop, &server->listener);
    for (mr_list *node = server->connections.next; node != &server->connections;
         node = node->next) {
        http_connection_retire(MR_CONTAINER(node, struct http_connection, node));
    }
    if (server->n_connections == 0) {
        loop_defer(server->loop, &server->stopped_task);
    }
}

void http_server_pause(struct http_server *server) {
    if (server->is_paused) {
        return;
    }
    server->is_paused = true;
    for (mr_list *node = server->connections.next; node != &server->connections;
         node = node->next) {
        struct http_connection *conn = MR_CONTAINER(node, struct http_connection, node);
        if (conn->phase == HTTP_PHASE_HEAD) {
            http_connection_stall(conn);
        }
    }
}

void http_server_resume(struct http_server *server) {
    if (!server->is_paused) {
        return;
    }
    server->is_paused = false;
    for (mr_list *node = server->connections.next; node != &server->connections;
         node = node->next) {
        http_connection_unstall(MR_CONTAINER(node, struct http_connection, node));
    }
}

bool http_server_is_paused(const struct http_server *server) {
    return server->is_paused;
}

size_t http_server_connections(const struct http_server *server) {
    return server->n_connections;
}
