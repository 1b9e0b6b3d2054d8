/* Sockets. See socket.h.
 *
 * Addresses are converted at this edge only: the rest of the program compares and stores os_addr,
 * never a sockaddr. TCP_NODELAY is set once on the listener, accepted sockets inherit it (Linux),
 * so that an accepted connection costs one system call.
 *
 * The errors are folded to what a caller can act on: nothing now, the peer is gone, no descriptors,
 * or "the system refused" with errno left for the log. */
#include "os/socket.h"

#include "base/num.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define IOV_COUNT_MAX 64

union any_sockaddr {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t to_system(const os_addr *addr, union any_sockaddr *out) {
    memset(out, 0, sizeof *out);
    if (addr->family == OS_FAMILY_V4) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(addr->port);
        memcpy(&out->v4.sin_addr, addr->ip, 4);
        return sizeof out->v4;
    }
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = htons(addr->port);
    out->v6.sin6_scope_id = addr->scope_id;
    memcpy(&out->v6.sin6_addr, addr->ip, 16);
    return sizeof out->v6;
}

static os_addr from_system(const union any_sockaddr *in) {
    os_addr addr = {.family = OS_FAMILY_NONE};
    if (in->any.sa_family == AF_INET) {
        addr.family = OS_FAMILY_V4;
        addr.port = ntohs(in->v4.sin_port);
        memcpy(addr.ip, &in->v4.sin_addr, 4);
    } else if (in->any.sa_family == AF_INET6) {
        addr.family = OS_FAMILY_V6;
        addr.port = ntohs(in->v6.sin6_port);
        addr.scope_id = in->v6.sin6_scope_id;
        memcpy(addr.ip, &in->v6.sin6_addr, 16);
    }
    return addr;
}

mr_err os_addr_parse_ip(mr_str text, os_addr *ret_addr) {
    char literal[INET6_ADDRSTRLEN];
    os_addr addr = {.family = OS_FAMILY_V4};
    if (!mr_str_to_c(text, literal, sizeof literal)) {
        return MR_ERR(MR_E_INVALID);
    }
    if (inet_pton(AF_INET, literal, addr.ip) != 1) {
        addr.family = OS_FAMILY_V6;
        if (inet_pton(AF_INET6, literal, addr.ip) != 1) {
            return MR_ERR(MR_E_INVALID);
        }
    }
    *ret_addr = addr;
    return MR_OK;
}

mr_err os_addr_parse(mr_str text, os_addr *ret_addr) {
    size_t colon = text.len;
    while (colon > 0 && text.ptr[colon - 1] != ':') {
        colon--;
    }
    if (colon < 2) {
        return MR_ERR(MR_E_INVALID);
    }
    mr_str host = mr_str_slice(text, 0, colon - 1);
    mr_str port_text = mr_str_slice(text, colon, text.len);
    uint64_t port;
    if (mr_is_err(mr_u64_parse(port_text, 0, 65535, &port))) {
        return MR_ERR(MR_E_INVALID);
    }
    bool has_brackets = host.ptr[0] == '[' && host.len >= 2 && host.ptr[host.len - 1] == ']';
    if (has_brackets) {
        host = mr_str_slice(host, 1, host.len - 1);
    }
    os_addr addr;
    MR_TRY(os_addr_parse_ip(host, &addr));
    if (has_brackets != (addr.family == OS_FAMILY_V6)) {
        return MR_ERR(MR_E_INVALID);
    }
    addr.port = (uint16_t)port;
    *ret_addr = addr;
    return MR_OK;
}

size_t os_addr_format_ip(const os_addr *addr, char out[static OS_ADDR_TEXT_SIZE]) {
    if (addr->family == OS_FAMILY_NONE) {
        memcpy(out, "none", 5);
        return 4;
    }
    int family = addr->family == OS_FAMILY_V4 ? AF_INET : AF_INET6;
    MR_ASSERT(inet_ntop(family, addr->ip, out, OS_ADDR_TEXT_SIZE) != NULL);
    return strlen(out);
}

size_t os_addr_format(const os_addr *addr, char out[static OS_ADDR_TEXT_SIZE]) {
    char ip[OS_ADDR_TEXT_SIZE];
    os_addr_format_ip(addr, ip);
    int n;
    if (addr->family == OS_FAMILY_V4) {
        n = snprintf(out, OS_ADDR_TEXT_SIZE, "%s:%u", ip, (unsigned)addr->port);
    } else if (addr->family == OS_FAMILY_V6) {
        n = snprintf(out, OS_ADDR_TEXT_SIZE, "[%s]:%u", ip, (unsigned)addr->port);
    } else {
        n = snprintf(out, OS_ADDR_TEXT_SIZE, "%s", ip);
    }
    MR_ASSERT(n > 0 && n < OS_ADDR_TEXT_SIZE);
    return (size_t)n;
}

bool os_addr_eq(const os_addr *a, const os_addr *b) {
    return a->family == b->family && a->port == b->port && a->scope_id == b->scope_id &&
           memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

static mr_err set_flag(int fd, int level, int name) {
    int one = 1;
    return setsockopt(fd, level, name, &one, sizeof one) == 0 ? MR_OK : MR_ERR(MR_E_IO);
}

static mr_err new_socket(const os_addr *addr, int *ret_fd) {
    int family = addr->family == OS_FAMILY_V4 ? AF_INET : AF_INET6;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0) {
        return MR_ERR(MR_E_IO);
    }
    if (mr_is_err(set_flag(fd, IPPROTO_TCP, TCP_NODELAY))) {
        os_close(fd);
        return MR_ERR(MR_E_IO);
    }
    *ret_fd = fd;
    return MR_OK;
}

static mr_err listen_on(int fd, const os_addr *addr, int backlog, os_addr *ret_bound) {
    MR_TRY(set_flag(fd, SOL_SOCKET, SO_REUSEADDR));
    MR_TRY(set_flag(fd, SOL_SOCKET, SO_REUSEPORT));
    union any_sockaddr system;
    socklen_t len = to_system(addr, &system);
    if (bind(fd, &system.any, len) != 0 || listen(fd, backlog) != 0) {
        if (errno == EADDRINUSE) {
            return MR_ERR(MR_E_BUSY);
        }
        return MR_ERR(errno == EACCES ? MR_E_DENIED : MR_E_IO);
    }
    return os_local_addr(fd, ret_bound);
}

mr_err os_listen(const os_addr *addr, int backlog, int *ret_fd, os_addr *ret_bound) {
    MR_ASSERT(addr->family != OS_FAMILY_NONE);
    int fd;
    MR_TRY(new_socket(addr, &fd));
    mr_err err = listen_on(fd, addr, backlog, ret_bound);
    if (mr_is_err(err)) {
        os_close(fd);
        return err;
    }
    *ret_fd = fd;
    return MR_OK;
}

mr_err os_accept(int listen_fd, int *ret_fd, os_addr *ret_peer) {
    union any_sockaddr system = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t len = sizeof system;
    int fd = accept4(listen_fd, &system.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        *ret_fd = fd;
        *ret_peer = from_system(&system);
        return MR_OK;
    }
    switch (errno) {
    case EAGAIN:
        return MR_ERR(MR_E_AGAIN);
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return MR_ERR(MR_E_LIMIT);
    /* accept(2): errors of the new connection itself. */
    case EINTR:
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM:
        return MR_ERR(MR_E_CLOSED);
    default:
        return MR_ERR(MR_E_IO);
    }
}

mr_err os_connect_start(const os_addr *addr, int *ret_fd) {
    MR_ASSERT(addr->family != OS_FAMILY_NONE);
    int fd;
    MR_TRY(new_socket(addr, &fd));
    union any_sockaddr system;
    socklen_t len = to_system(addr, &system);
    if (connect(fd, &system.any, len) != 0 && errno != EINPROGRESS && errno != EINTR) {
        os_close(fd);
        return MR_ERR(MR_E_IO);
    }
    *ret_fd = fd;
    return MR_OK;
}

mr_err os_connect_result(int fd) {
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        return MR_ERR(MR_E_IO);
    }
    errno = error;
    return error == 0 ? MR_OK : MR_ERR(MR_E_IO);
}

mr_err os_local_addr(int fd, os_addr *ret_addr) {
    union any_sockaddr system = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t len = sizeof system;
    if (getsockname(fd, &system.any, &len) != 0) {
        return MR_ERR(MR_E_IO);
    }
    *ret_addr = from_system(&system);
    return MR_OK;
}

mr_err os_recv(int fd, void *out, size_t size, size_t *ret_n) {
    ssize_t n;
    do {
        n = recv(fd, out, size, 0);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        *ret_n = (size_t)n;
        return MR_OK;
    }
    if (n == 0) {
        return MR_ERR(MR_E_CLOSED);
    }
    return MR_ERR(errno == EAGAIN ? MR_E_AGAIN : MR_E_IO);
}

mr_err os_send(int fd, const struct iovec *iov, int n_iov, size_t *ret_n) {
    /* The kernel does not write through msg_iov; the type only says so for recvmsg. */
    union {
        const struct iovec *in;
        struct iovec *out;
    } same = {.in = iov};
    struct msghdr message = {
        .msg_iov = same.out,
        .msg_iovlen = (size_t)(n_iov > IOV_COUNT_MAX ? IOV_COUNT_MAX : n_iov),
    };
    ssize_t n;
    do {
        n = n_iov == 1 ? send(fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                       : sendmsg(fd, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n >= 0) {
        *ret_n = (size_t)n;
        return MR_OK;
    }
    if (errno == EAGAIN) {
        return MR_ERR(MR_E_AGAIN);
    }
    return MR_ERR(errno == EPIPE || errno == ECONNRESET ? MR_E_CLOSED : MR_E_IO);
}

void os_shutdown_write(int fd) {
    /* It fails only where the connection is gone already. */
    (void)shutdown(fd, SHUT_WR);
}

void os_close(int fd) {
    if (fd >= 0) {
        int saved = errno;
        (void)close(fd);
        errno = saved;
    }
}

void os_close_reset(int fd) {
    if (fd >= 0) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        os_close(fd);
    }
}

void os_socket_buffers(int fd, int send_bytes, int recv_bytes) {
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof send_bytes);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &recv_bytes, sizeof recv_bytes);
}

uint64_t os_descriptors_raise(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 1024;
    }
    struct rlimit wanted = limit;
    wanted.rlim_cur = wanted.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &wanted) == 0) {
        limit = wanted;
    }
    return limit.rlim_cur;
}
