/* Clocks and random bytes. See clock.h. */
#include "os/clock.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

static int64_t read_clock(clockid_t which) {
    struct timespec t;
    MR_ASSERT(clock_gettime(which, &t) == 0);
    return (int64_t)t.tv_sec * MR_NS_PER_S + t.tv_nsec;
}

mr_mono os_mono_now(void) {
    return (mr_mono){read_clock(CLOCK_MONOTONIC)};
}

mr_wall os_wall_now(void) {
    return (mr_wall){read_clock(CLOCK_REALTIME)};
}

void os_random(void *out, size_t n) {
    char *at = out;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0) {
            MR_ASSERT(errno == EINTR);
            continue;
        }
        at += got;
        n -= (size_t)got;
    }
}

void os_pause_ns(int64_t ns) {
    struct timespec t = {.tv_sec = ns / MR_NS_PER_S, .tv_nsec = ns % MR_NS_PER_S};
    while (nanosleep(&t, &t) != 0 && errno == EINTR) {
    }
}

void os_pause_ms(int64_t ms) {
    os_pause_ns(ms * MR_NS_PER_MS);
}
