/* A way through the egress proxy: CONNECT to an address that was judged here (RFC 9110 §9.3.6),
 * over a connection to the proxy that exists already. Used by its loop's thread alone. */
#ifndef MR_HTTP_TUNNEL_H
#define MR_HTTP_TUNNEL_H

#include "http/message.h"
#include "loop/loop.h"
#include "os/socket.h"

#define HTTP_TUNNEL_HEAD_MAX 4096 /* of the proxy's answer */

/* The caller's memory, from start until on_done has been entered or it is cancelled. */
struct http_tunnel {
    struct loop *loop;
    struct loop_io io;
    /* is_open: fd leads to the address, and is the callee's. Otherwise it is closed, and text says
     * why: a sentence without its full stop, valid in the callback. */
    void (*on_done)(struct http_tunnel *tunnel, bool is_open, int fd, const char *text);
    char request[256];
    size_t request_len;
    size_t sent;
    char answer[HTTP_TUNNEL_HEAD_MAX];
    size_t answer_len;
    struct http_scan scan;
    char text[160];
    bool is_running;
    void *user; /* the caller's */
};

/* Takes over fd (connected). on_done comes later, once; MR_E_IO: the loop cannot watch fd, which is
 * closed. Zero-initialise before first use. No deadline of its own. */
mr_err http_tunnel_start(struct http_tunnel *tunnel, struct loop *loop, int fd,
                         const os_addr *target,
                         void (*on_done)(struct http_tunnel *tunnel, bool is_open, int fd,
                                         const char *text));
/* Closes; no callback any more; harmless where nothing runs. */
void http_tunnel_cancel(struct http_tunnel *tunnel);

#endif
