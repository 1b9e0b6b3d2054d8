/* Clocks and random bytes: the only place that asks the system for them. */
#ifndef MR_OS_CLOCK_H
#define MR_OS_CLOCK_H

#include "base/time.h"

/* CLOCK_MONOTONIC. */
mr_mono os_mono_now(void);
/* CLOCK_REALTIME. */
mr_wall os_wall_now(void);
/* getrandom(2); aborts where the kernel cannot give any. */
void os_random(void *out, size_t n);
/* Blocks this thread (command line and tests only). */
void os_pause_ms(int64_t ms);
/* Blocks this thread; for the journal's writer, which shares a sync that way. */
void os_pause_ns(int64_t ns);

#endif
