/* Edge-triggered: a reader goes on until the socket is dry, a writer until it is full. A message
 * must state its length; chunked bodies are not read, for the peers measured here send none. */
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char *what) {
    perror(what);
    _exit(1);
}

static void room_for(char **buffer, size_t *size, size_t wanted) {
    if (wanted > *size) {
        size_t larger = *size == 0 ? 4096 : *size;
        while (larger < wanted) {
            larger *= 2;
        }
        *buffer = realloc(*buffer, larger);
        if (*buffer == NULL) {
            die("memory");
        }
        *size = larger;
    }
}

void wire_init(struct wire *w, int fd, SSL_CTX *ctx, bool client) {
    int one = 1;
    memset(w, 0, sizeof *w);
    w->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (ctx != NULL) {
        w->ssl = SSL_new(ctx);
        if (w->ssl == NULL || SSL_set_fd(w->ssl, fd) != 1) {
            die("TLS");
        }
        if (client) {
            SSL_set_connect_state(w->ssl);
        } else {
            SSL_set_accept_state(w->ssl);
        }
    }
}

void wire_done(struct wire *w) {
    SSL_free(w->ssl);
    close(w->fd);
    free(w->in);
    free(w->out);
    memset(w, 0, sizeof *w);
    w->fd = -1;
}

/* > 0: bytes; 0: not now; -1: over. */
static ssize_t judged(struct wire *w, ssize_t n) {
    if (n > 0) {
        return n;
    }
    if (w->ssl != NULL) {
        int error = SSL_get_error(w->ssl, (int)n);
        return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN) ? 0 : -1;
}

/* Whether a read that gave n of space emptied the socket. SSL reads ahead into a buffer of more
 * than 16 KiB: where it holds nothing more and gave little, its last recv was not cut by its room.
 */
static bool is_dry(const struct wire *w, size_t n, size_t space) {
    if (n == space) {
        return false;
    }
    return w->ssl == NULL || (n < 8192 && SSL_has_pending(w->ssl) == 0);
}

void wire_read(struct wire *w) {
    while (!w->closed) {
        room_for(&w->in, &w->in_size, w->in_len + 2048);
        size_t space = w->in_size - w->in_len;
        ssize_t n = judged(w, w->ssl != NULL ? SSL_read(w->ssl, w->in + w->in_len, (int)space)
                                             : recv(w->fd, w->in + w->in_len, space, 0));
        if (n < 0) {
            w->closed = true;
        } else {
            w->in_len += (size_t)n;
        }
        if (n <= 0 || is_dry(w, (size_t)n, space)) {
            return;
        }
    }
}

void wire_put(struct wire *w, const void *bytes, size_t len) {
    room_for(&w->out, &w->out_size, w->out_len + len);
    memcpy(w->out + w->out_len, bytes, len);
    w->out_len += len;
}

void wire_flush(struct wire *w) {
    while (!w->closed && w->out_at < w->out_len) {
        size_t left = w->out_len - w->out_at;
        ssize_t n = judged(w, w->ssl != NULL ? SSL_write(w->ssl, w->out + w->out_at, (int)left)
                                             : send(w->fd, w->out + w->out_at, left, MSG_NOSIGNAL));
        if (n < 0) {
            w->closed = true;
        }
        if (n <= 0) {
            return;
        }
        w->out_at += (size_t)n;
    }
    w->out_at = w->out_len = 0;
}

/* The value of content-length in a head, 0 where there is none. */
static size_t length_of(const char *head, size_t len) {
    const char *end = head + len;
    for (const char *line = head; line != NULL && end - line > 16;) {
        if (strncasecmp(line, "content-length:", 15) == 0) {
            size_t n = 0;
            for (line += 15; *line == ' ';) {
                line++;
            }
            for (; *line >= '0' && *line <= '9' && n < 100000000; line++) {
                n = n * 10 + (size_t)(*line - '0');
            }
            return n;
        }
        line = memchr(line, '\n', (size_t)(end - line));
        line = line == NULL ? NULL : line + 1;
    }
    return 0;
}

bool wire_next(struct wire *w, struct wire_message *ret_message) {
    const char *end = w->in_len > 0 ? memmem(w->in, w->in_len, "\r\n\r\n", 4) : NULL;
    if (end == NULL) {
        return false;
    }
    struct wire_message m = {.head = w->in, .head_len = (size_t)(end + 4 - w->in), .body = end + 4};
    if (m.head_len > 12 && memcmp(m.head, "HTTP/1.1 ", 9) == 0) {
        m.status = (m.head[9] - '0') * 100 + (m.head[10] - '0') * 10 + (m.head[11] - '0');
    }
    m.body_len = length_of(m.head, m.head_len);
    if (w->in_len - m.head_len < m.body_len) {
        return false;
    }
    *ret_message = m;
    return true;
}

void wire_drop(struct wire *w, const struct wire_message *message) {
    size_t used = message->head_len + message->body_len;
    memmove(w->in, w->in + used, w->in_len - used);
    w->in_len -= used;
}

int wire_listen(int port, int *ret_port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        die("listen");
    }
    *ret_port = ntohs(address.sin_port);
    return fd;
}

int wire_connect(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 ||
        (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS)) {
        die("connect");
    }
    return fd;
}
