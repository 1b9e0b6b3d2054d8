/* Signals as a descriptor: the program blocks the ones it answers to and reads them in its loop, so
 * that no code ever runs in a signal handler. */
#ifndef MR_OS_SIGNALS_H
#define MR_OS_SIGNALS_H

#include "base/err.h"

enum os_signal {
    OS_SIGNAL_NONE = 0,
    OS_SIGNAL_STOP,   /* SIGTERM, SIGINT */
    OS_SIGNAL_RELOAD, /* SIGHUP */
};

/* Blocks SIGTERM, SIGINT and SIGHUP in this thread and those it starts, ignores SIGPIPE. Called
 * first in main, before any thread. */
void os_signals_block(void);
/* A non-blocking descriptor that is readable while a signal waits. MR_E_IO. */
mr_err os_signals_open(int *ret_fd);
/* The next waiting signal, OS_SIGNAL_NONE when there is none. */
enum os_signal os_signals_read(int fd);

#endif
