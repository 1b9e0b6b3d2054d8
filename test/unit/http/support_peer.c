/* See support_peer.h. Blocking sockets, one thread per connection. */
#include "support_peer.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"

#include <arpa/inet.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void *run_conn(void *arg) {
    struct peer_conn *conn = arg;
    if (conn->server->tls != NULL) {
        conn->ssl = SSL_new(conn->server->tls);
        SSL_set_fd(conn->ssl, conn->fd);
        if (SSL_accept(conn->ssl) == 1) {
            atomic_fetch_add(&conn->server->n_resumed, SSL_session_reused(conn->ssl));
            conn->server->serve(conn);
            SSL_shutdown(conn->ssl);
        }
        SSL_free(conn->ssl);
    } else {
        conn->server->serve(conn);
    }
    close(conn->fd);
    mr_free(conn);
    return NULL;
}

static void *run_accept(void *arg) {
    struct peer_server *server = arg;
    for (;;) {
        int fd = accept(server->fd, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        struct peer_conn *conn = MR_NEW(struct peer_conn);
        int nth = atomic_load(&server->n_conns);
        MR_ASSERT(conn != NULL && nth < 256);
        conn->fd = fd;
        conn->nth = nth;
        conn->server = server;
        MR_ASSERT(pthread_create(&server->threads[nth], NULL, run_conn, conn) == 0);
        atomic_store(&server->n_conns, nth + 1);
    }
}

void peer_start(struct peer_server *server, void (*serve)(struct peer_conn *conn), SSL_CTX *tls) {
    memset(server, 0, sizeof *server);
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, NULL);
    server->serve = serve;
    server->tls = tls;
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    union {
        struct sockaddr any;
        struct sockaddr_in in;
    } at = {.in = in};
    socklen_t len = sizeof at;
    MR_ASSERT(bind(server->fd, &at.any, sizeof at.in) == 0 && listen(server->fd, 64) == 0);
    MR_ASSERT(getsockname(server->fd, &at.any, &len) == 0);
    server->port = ntohs(at.in.sin_port);
    MR_ASSERT(pthread_create(&server->acceptor, NULL, run_accept, server) == 0);
}

void peer_stop(struct peer_server *server) {
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->acceptor, NULL);
    for (int i = 0; i < atomic_load(&server->n_conns); i++) {
        pthread_join(server->threads[i], NULL);
    }
    close(server->fd);
    SSL_CTX_free(server->tls);
}

static long read_some(struct peer_conn *conn, char *out, size_t size) {
    return conn->ssl != NULL ? SSL_read(conn->ssl, out, (int)size) : read(conn->fd, out, size);
}

bool peer_read(struct peer_conn *conn) {
    size_t have = 0;
    size_t want = 0;
    for (;;) {
        mr_str got = mr_str_of(conn->request, have);
        size_t end = mr_str_find(got, MR_STR("\r\n\r\n"));
        if (end != SIZE_MAX && want == 0) {
            uint64_t length = 0;
            size_t at = mr_str_find(got, MR_STR("content-length: "));
            if (at != SIZE_MAX) {
                size_t stop = mr_str_find_byte(got, '\r', at);
                MR_ASSERT(
                    mr_is_ok(mr_u64_parse(mr_str_slice(got, at + 16, stop), 0, 60000, &length)));
            }
            conn->head_len = end + 4;
            conn->body_len = length;
            want = conn->head_len + length;
        }
        if (want > 0 && have >= want) {
            conn->request[have] = '\0';
            mr_str last = mr_str_slice(mr_str_of(conn->request, have), 0, 2047);
            memcpy(conn->server->last, last.ptr, last.len);
            conn->server->last[last.len] = '\0';
            atomic_fetch_add(&conn->server->n_requests, 1);
            return true;
        }
        long n = read_some(conn, conn->request + have, sizeof conn->request - 1 - have);
        if (n <= 0) {
            return false;
        }
        have += (size_t)n;
    }
}

bool peer_write(struct peer_conn *conn, const char *text, size_t len) {
    while (len > 0) {
        long n = conn->ssl != NULL ? SSL_write(conn->ssl, text, (int)len)
                                   : send(conn->fd, text, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        text += n;
        len -= (size_t)n;
    }
    return true;
}

bool peer_say(struct peer_conn *conn, const char *text) {
    return peer_write(conn, text, strlen(text));
}

void peer_wait_end(struct peer_conn *conn) {
    char sink[4096];
    while (read_some(conn, sink, sizeof sink) > 0) {
    }
}

void peer_reset(struct peer_conn *conn) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}
