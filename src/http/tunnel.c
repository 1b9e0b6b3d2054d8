/* CONNECT through the egress proxy. It is spoken on the bare descriptor, before any stream is made
 * of it: the peer of a tunnel says nothing unasked (TLS and HTTP servers wait for the client), so
 * bytes behind the proxy's head are a fault, and whatever is received belongs to the proxy. The
 * head is bounded; the caller has the deadline. */
#include "http/tunnel.h"

#include "net/dial.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void finish(struct http_tunnel *tunnel, bool is_open) {
    int fd = tunnel->io.fd;
    tunnel->is_running = false;
    if (is_open) {
        loop_io_remove(tunnel->loop, &tunnel->io);
    } else {
        loop_io_close(tunnel->loop, &tunnel->io);
        fd = -1;
    }
    tunnel->on_done(tunnel, is_open, fd, tunnel->text);
}

static void fail(struct http_tunnel *tunnel, const char *why) {
    snprintf(tunnel->text, sizeof tunnel->text, "the egress proxy did not open the way: %s", why);
    finish(tunnel, false);
}

static void send_more(struct http_tunnel *tunnel) {
    struct iovec iov = {tunnel->request + tunnel->sent, tunnel->request_len - tunnel->sent};
    size_t n = 0;
    mr_err err = os_send(tunnel->io.fd, &iov, 1, &n);
    if (mr_err_is(err, MR_E_AGAIN)) {
        return;
    }
    if (mr_is_err(err)) {
        fail(tunnel, net_error_text(errno));
        return;
    }
    tunnel->sent += n;
    if (tunnel->sent == tunnel->request_len) {
        loop_io_want(tunnel->loop, &tunnel->io, LOOP_READ);
    }
}

/* Looks at what came; true: a final answer is there, or it failed. */
static void judge_answer(struct http_tunnel *tunnel) {
    struct http_head head;
    size_t used;
    mr_str bytes = mr_str_of(tunnel->answer, tunnel->answer_len);
    mr_err err = http_response_parse(&tunnel->scan, bytes, true, &head, &used);
    if (mr_err_is(err, MR_E_AGAIN)) {
        if (tunnel->answer_len == sizeof tunnel->answer) {
            fail(tunnel, "its answer is too long");
        }
        return;
    }
    if (mr_is_err(err)) {
        fail(tunnel, head.problem != NULL ? head.problem : "its answer is not HTTP");
        return;
    }
    if (head.status < 200 || head.status > 299) {
        char why[40];
        snprintf(why, sizeof why, "it answered %d", head.status);
        fail(tunnel, why);
        return;
    }
    if (used != tunnel->answer_len) {
        fail(tunnel, "it sent more than its answer");
        return;
    }
    finish(tunnel, true);
}

static void on_ready(struct loop_io *io, unsigned ready) {
    struct http_tunnel *tunnel = MR_CONTAINER(io, struct http_tunnel, io);
    if (tunnel->sent < tunnel->request_len) {
        send_more(tunnel);
        return;
    }
    (void)ready;
    size_t n = 0;
    mr_err err = os_recv(io->fd, tunnel->answer + tunnel->answer_len,
                         sizeof tunnel->answer - tunnel->answer_len, &n);
    if (mr_err_is(err, MR_E_AGAIN)) {
        return;
    }
    if (mr_is_err(err)) {
        fail(tunnel,
             mr_err_is(err, MR_E_CLOSED) ? "it closed the connection" : net_error_text(errno));
        return;
    }
    tunnel->answer_len += n;
    judge_answer(tunnel);
}

mr_err http_tunnel_start(struct http_tunnel *tunnel, struct loop *loop, int fd,
                         const os_addr *target,
                         void (*on_done)(struct http_tunnel *tunnel, bool is_open, int fd,
                                         const char *text)) {
    MR_ASSERT(!tunnel->is_running);
    char address[OS_ADDR_TEXT_SIZE];
    os_addr_format(target, address);
    int n = snprintf(tunnel->request, sizeof tunnel->request,
                     "CONNECT %s HTTP/1.1\r\nhost: %s\r\n\r\n", address, address);
    MR_ASSERT(n > 0 && (size_t)n < sizeof tunnel->request);
    tunnel->request_len = (size_t)n;
    tunnel->sent = 0;
    tunnel->answer_len = 0;
    tunnel->scan = (struct http_scan){0};
    tunnel->loop = loop;
    tunnel->on_done = on_done;
    tunnel->text[0] = '\0';
    loop_io_init(&tunnel->io, on_ready);
    mr_err err = loop_io_add(loop, &tunnel->io, fd, LOOP_WRITE);
    if (mr_is_err(err)) {
        os_close(fd);
        return err;
    }
    tunnel->is_running = true;
    return MR_OK;
}

void http_tunnel_cancel(struct http_tunnel *tunnel) {
    if (tunnel->is_running) {
        tunnel->is_running = false;
        loop_io_close(tunnel->loop, &tunnel->io);
    }
}
