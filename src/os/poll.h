/* Waiting for descriptors (epoll), wake-ups between threads (eventfd) and sleeping on a word of
 * memory (futex). The loop and the mailbox stand on this; nobody else needs it. MR_E_IO leaves the
 * cause in errno. */
#ifndef MR_OS_POLL_H
#define MR_OS_POLL_H

#include "base/err.h"
#include "base/time.h"

#include <stdatomic.h>

enum os_poll_bits {
    OS_POLL_READ = 1,
    OS_POLL_WRITE = 2,
    OS_POLL_FAIL = 4, /* error or hang-up; reported, never asked for */
    OS_POLL_EDGE = 8, /* asked for only: tell of changes, not of states */
};

struct os_poll_event {
    void *tag;
    unsigned bits;
};

#define OS_POLL_EVENTS_MAX 256

mr_err os_poll_new(int *ret_poll_fd);
/* Watches fd; level-triggered but for OS_POLL_EDGE. */
mr_err os_poll_add(int poll_fd, int fd, unsigned bits, void *tag);
mr_err os_poll_change(int poll_fd, int fd, unsigned bits, void *tag);
mr_err os_poll_remove(int poll_fd, int fd);
/* Blocks until something is ready, at most timeout_ms (0: not at all, -1: for ever). An interrupt
 * by a signal counts as nothing ready. Returns the number of events, at most n_max and
 * OS_POLL_EVENTS_MAX. */
size_t os_poll_wait(int poll_fd, struct os_poll_event *events, size_t n_max, int timeout_ms);

/* An event counter: non-blocking, close-on-exec. */
mr_err os_event_new(int *ret_fd);
/* Makes it readable; any thread. */
void os_event_raise(int fd);

/* Sleeps while *word is expected, until os_word_wake or the deadline (MR_MONO_NEVER: none). May
 * return early for no reason. */
void os_word_wait(_Atomic uint32_t *word, uint32_t expected, mr_mono deadline);
/* Wakes one sleeper. */
void os_word_wake(_Atomic uint32_t *word);

#endif
