/* Signals as a descriptor. See signals.h. signalfd needs them blocked in every thread; os_thread
 * starts threads with all signals blocked, and main calls os_signals_block first. */
#include "os/signals.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static sigset_t answered(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    return set;
}

void os_signals_block(void) {
    sigset_t set = answered();
    MR_ASSERT(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    MR_ASSERT(sigaction(SIGPIPE, &ignore, NULL) == 0);
}

mr_err os_signals_open(int *ret_fd) {
    sigset_t set = answered();
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) {
        return MR_ERR(MR_E_IO);
    }
    *ret_fd = fd;
    return MR_OK;
}

enum os_signal os_signals_read(int fd) {
    struct signalfd_siginfo info;
    if (read(fd, &info, sizeof info) != (ssize_t)sizeof info) {
        return OS_SIGNAL_NONE;
    }
    return info.ssi_signo == SIGHUP ? OS_SIGNAL_RELOAD : OS_SIGNAL_STOP;
}
