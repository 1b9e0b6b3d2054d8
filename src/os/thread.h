/* Threads, mutexes and the number of cores that are granted to this process. */
#ifndef MR_OS_THREAD_H
#define MR_OS_THREAD_H

#include "base/err.h"

#include <pthread.h>

typedef struct os_thread {
    pthread_t id;
} os_thread;

/* Starts fn(arg) in a thread of that name (≤ 15 characters), all signals blocked.
 * MR_E_IO when the system refuses. */
mr_err os_thread_start(os_thread *ret_thread, const char *name, void (*fn)(void *arg), void *arg);
void os_thread_join(os_thread *thread);
/* Least scheduling priority for this thread (nice 19); best effort. */
void os_thread_lower_priority(void);
/* Short sleeps of this thread end when they are due, not up to 50 us later; best effort. */
void os_thread_exact_timers(void);

typedef struct os_mutex {
    pthread_mutex_t mu;
} os_mutex;
void os_mutex_init(os_mutex *mutex);
void os_mutex_done(os_mutex *mutex);
void os_mutex_lock(os_mutex *mutex);
void os_mutex_unlock(os_mutex *mutex);

/* Cores granted: affinity mask ∩ cgroup CPU quota (v2 cpu.max, v1 cfs_quota), at least 1. */
unsigned os_cores_granted(void);

#endif
