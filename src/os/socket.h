/* Sockets: addresses as plain values, and the calls on non-blocking TCP descriptors.
 * Nothing here blocks. Every descriptor made is non-blocking, close-on-exec and sends without delay
 * (TCP_NODELAY). MR_E_IO leaves the cause in errno. Any thread. */
#ifndef MR_OS_SOCKET_H
#define MR_OS_SOCKET_H

#include "base/err.h"
#include "base/str.h"

#include <sys/uio.h>

enum os_family {
    OS_FAMILY_NONE = 0, /* no address */
    OS_FAMILY_V4,
    OS_FAMILY_V6,
};

/* An IP address and a port, comparable by its fields. */
typedef struct os_addr {
    uint8_t ip[16];    /* network order; IPv4 uses the first four, the rest is zero */
    uint32_t scope_id; /* link-local IPv6 only, else 0 */
    uint16_t port;     /* host order */
    uint8_t family;    /* enum os_family */
} os_addr;

/* "127.0.0.1:80", "[::1]:80": literals only, no names, no scopes. MR_E_INVALID otherwise. */
mr_err os_addr_parse(mr_str text, os_addr *ret_addr);
/* The literal alone, without port or brackets: "127.0.0.1", "::1" (no scope). */
mr_err os_addr_parse_ip(mr_str text, os_addr *ret_addr);
#define OS_ADDR_TEXT_SIZE 64
/* As os_addr_parse reads it, with a NUL; returns the length. "none" without an address. */
size_t os_addr_format(const os_addr *addr, char out[static OS_ADDR_TEXT_SIZE]);
/* Without port and brackets. */
size_t os_addr_format_ip(const os_addr *addr, char out[static OS_ADDR_TEXT_SIZE]);
bool os_addr_eq(const os_addr *a, const os_addr *b);

/* Listens with SO_REUSEADDR and SO_REUSEPORT (several listeners of one process, one per worker,
 * share an address). Port 0: the system chooses. *ret_bound names the port.
 * MR_E_BUSY where the address is taken, MR_E_DENIED without the right to it, else MR_E_IO. */
mr_err os_listen(const os_addr *addr, int backlog, int *ret_fd, os_addr *ret_bound);
/* The next waiting connection. MR_E_AGAIN where none waits, MR_E_CLOSED where one was given up
 * before it was taken (try again), MR_E_LIMIT without descriptors or memory, else MR_E_IO. */
mr_err os_accept(int listen_fd, int *ret_fd, os_addr *ret_peer);

/* Begins to connect. *ret_fd becomes writable when the outcome is known: os_connect_result.
 * MR_E_IO where it failed at once (no descriptor is left). */
mr_err os_connect_start(const os_addr *addr, int *ret_fd);
/* MR_OK: connected. MR_E_IO: refused, unreachable, …; errno is set. */
mr_err os_connect_result(int fd);
/* The address of this side. */
mr_err os_local_addr(int fd, os_addr *ret_addr);

/* Receives at most size bytes. MR_OK: *ret_n > 0. MR_E_AGAIN: none now. MR_E_CLOSED: the peer ended
 * its side. MR_E_IO: the connection is lost. */
mr_err os_recv(int fd, void *out, size_t size, size_t *ret_n);
/* Sends what the kernel takes (0 < *ret_n ≤ sum), never raising SIGPIPE. MR_E_AGAIN: nothing now.
 * MR_E_CLOSED: the peer is gone. MR_E_IO otherwise. n_iov is cut at 64. */
mr_err os_send(int fd, const struct iovec *iov, int n_iov, size_t *ret_n);
/* Ends this side's half (FIN). */
void os_shutdown_write(int fd);
/* Closes; a descriptor < 0 is fine. */
void os_close(int fd);
/* Closes with a reset: what is unsent is dropped, no TIME_WAIT is left. */
void os_close_reset(int fd);
/* Shrinks or grows the kernel's buffers of a socket (tests of partial writes); best effort. */
void os_socket_buffers(int fd, int send_bytes, int recv_bytes);

/* Raises the limit of open descriptors to what is allowed; returns the number that holds now. */
uint64_t os_descriptors_raise(void);

#endif
