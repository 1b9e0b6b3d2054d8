/* epoll, eventfd, futex. See poll.h.
 *
 * A futex serves the plain threads (journal writer, control, keeper) because sleeping and being
 * woken then cost one system call each, with deadlines in nanoseconds; an eventfd would cost poll
 * and read. */
#include "os/poll.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

mr_err os_poll_new(int *ret_poll_fd) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0) {
        return MR_ERR(MR_E_IO);
    }
    *ret_poll_fd = fd;
    return MR_OK;
}

static mr_err control(int poll_fd, int operation, int fd, unsigned bits, void *tag) {
    struct epoll_event event = {.data.ptr = tag};
    event.events = ((bits & OS_POLL_READ) != 0 ? EPOLLIN : 0U) |
                   ((bits & OS_POLL_WRITE) != 0 ? EPOLLOUT : 0U) |
                   ((bits & OS_POLL_EDGE) != 0 ? EPOLLET : 0U);
    return epoll_ctl(poll_fd, operation, fd, &event) == 0 ? MR_OK : MR_ERR(MR_E_IO);
}

mr_err os_poll_add(int poll_fd, int fd, unsigned bits, void *tag) {
    return control(poll_fd, EPOLL_CTL_ADD, fd, bits, tag);
}

mr_err os_poll_change(int poll_fd, int fd, unsigned bits, void *tag) {
    return control(poll_fd, EPOLL_CTL_MOD, fd, bits, tag);
}

mr_err os_poll_remove(int poll_fd, int fd) {
    return control(poll_fd, EPOLL_CTL_DEL, fd, 0, NULL);
}

size_t os_poll_wait(int poll_fd, struct os_poll_event *events, size_t n_max, int timeout_ms) {
    struct epoll_event raw[OS_POLL_EVENTS_MAX];
    int limit = n_max > OS_POLL_EVENTS_MAX ? OS_POLL_EVENTS_MAX : (int)n_max;
    int n = epoll_wait(poll_fd, raw, limit, timeout_ms);
    if (n < 0) {
        MR_ASSERT(errno == EINTR);
        return 0;
    }
    for (int i = 0; i < n; i++) {
        uint32_t got = raw[i].events;
        events[i].tag = raw[i].data.ptr;
        events[i].bits = ((got & EPOLLIN) != 0 ? OS_POLL_READ : 0U) |
                         ((got & EPOLLOUT) != 0 ? OS_POLL_WRITE : 0U) |
                         ((got & (EPOLLERR | EPOLLHUP)) != 0 ? OS_POLL_FAIL : 0U);
    }
    return (size_t)n;
}

mr_err os_event_new(int *ret_fd) {
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) {
        return MR_ERR(MR_E_IO);
    }
    *ret_fd = fd;
    return MR_OK;
}

void os_event_raise(int fd) {
    uint64_t one = 1;
    ssize_t n;
    do {
        n = write(fd, &one, sizeof one);
    } while (n < 0 && errno == EINTR);
    /* It could only fail after 2^64 - 2 writes without a read. */
    MR_ASSERT(n == (ssize_t)sizeof one);
}

void os_word_wait(_Atomic uint32_t *word, uint32_t expected, mr_mono deadline) {
    struct timespec until = {.tv_sec = deadline.ns / MR_NS_PER_S,
                             .tv_nsec = deadline.ns % MR_NS_PER_S};
    struct timespec *limit = deadline.ns == MR_MONO_NEVER.ns ? NULL : &until;
    /* WAIT_BITSET takes an absolute time of CLOCK_MONOTONIC. EAGAIN, EINTR and ETIMEDOUT are all
     * "look again". */
    (void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, limit, NULL,
                  FUTEX_BITSET_MATCH_ANY);
}

void os_word_wake(_Atomic uint32_t *word) {
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
