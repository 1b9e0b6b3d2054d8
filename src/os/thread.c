/* Threads. See thread.h.
 *
 * The number of cores granted decides how many workers run. A container's quota is often smaller
 * than its affinity mask: both are asked, the quota rounded up, so that 1.5 cores get two workers
 * and 0.5 gets one. The process's own cgroup is looked up in /proc/self/cgroup and its parents are
 * asked too, because a quota binds from any level. */
#include "os/thread.h"

#include "base/mem.h"
#include "base/num.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

struct start {
    void (*fn)(void *arg);
    void *arg;
    char name[16];
};

static void *run(void *start_ptr) {
    struct start start = *(struct start *)start_ptr;
    mr_free(start_ptr);
    (void)pthread_setname_np(pthread_self(), start.name);
    start.fn(start.arg);
    return NULL;
}

mr_err os_thread_start(os_thread *ret_thread, const char *name, void (*fn)(void *arg), void *arg) {
    struct start *start = MR_NEW(struct start);
    if (start == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    *start = (struct start){.fn = fn, .arg = arg};
    MR_ASSERT(mr_str_to_c(mr_str_c(name), start->name, sizeof start->name));
    /* A thread inherits the mask of its maker. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    MR_ASSERT(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    pthread_t id;
    int error = pthread_create(&id, NULL, run, start);
    MR_ASSERT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (error != 0) {
        mr_free(start);
        return MR_ERR(MR_E_IO);
    }
    ret_thread->id = id;
    return MR_OK;
}

void os_thread_join(os_thread *thread) {
    MR_ASSERT(pthread_join(thread->id, NULL) == 0);
}

void os_thread_lower_priority(void) {
    /* On Linux the nice value belongs to the thread. */
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
}

void os_thread_exact_timers(void) {
    (void)prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
}

void os_mutex_init(os_mutex *mutex) {
    MR_ASSERT(pthread_mutex_init(&mutex->mu, NULL) == 0);
}

void os_mutex_done(os_mutex *mutex) {
    MR_ASSERT(pthread_mutex_destroy(&mutex->mu) == 0);
}

void os_mutex_lock(os_mutex *mutex) {
    MR_ASSERT(pthread_mutex_lock(&mutex->mu) == 0);
}

void os_mutex_unlock(os_mutex *mutex) {
    MR_ASSERT(pthread_mutex_unlock(&mutex->mu) == 0);
}

/* Text of a small file; empty where it cannot be read. */
static mr_str slurp(const char *path, char *buf, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return MR_STR("");
    }
    ssize_t n = read(fd, buf, size);
    (void)close(fd);
    return mr_str_of(buf, n > 0 ? (size_t)n : 0);
}

/* quota / period rounded up; UINT_MAX where there is none. */
static unsigned cores_of_quota(mr_str quota, mr_str period) {
    uint64_t q;
    uint64_t p;
    if (mr_is_err(mr_u64_parse(quota, 1, INT64_MAX / 2, &q)) ||
        mr_is_err(mr_u64_parse(period, 1, INT32_MAX, &p))) {
        return UINT32_MAX;
    }
    uint64_t cores = (q + p - 1) / p;
    return cores > UINT32_MAX ? UINT32_MAX : (unsigned)cores;
}

static unsigned cores_of_group(const char *root, mr_str group, bool is_v2) {
    char path[512];
    char text_a[64];
    char text_b[64];
    const char *file = is_v2 ? "cpu.max" : "cpu.cfs_quota_us";
    int n = snprintf(path, sizeof path, "%s%.*s/%s", root, MR_FMT(group), file);
    if (n <= 0 || (size_t)n >= sizeof path) {
        return UINT32_MAX;
    }
    mr_str quota = mr_str_trim(slurp(path, text_a, sizeof text_a));
    size_t line_end = mr_str_find_byte(quota, '\n', 0);
    mr_str rest = mr_str_slice(quota, 0, line_end);
    if (is_v2) {
        mr_str part;
        if (!mr_str_split(&rest, ' ', &part)) {
            return UINT32_MAX;
        }
        return cores_of_quota(part, rest);
    }
    n = snprintf(path, sizeof path, "%s%.*s/cpu.cfs_period_us", root, MR_FMT(group));
    if (n <= 0 || (size_t)n >= sizeof path) {
        return UINT32_MAX;
    }
    mr_str period = slurp(path, text_b, sizeof text_b);
    return cores_of_quota(rest, mr_str_slice(period, 0, mr_str_find_byte(period, '\n', 0)));
}

/* The least quota from the group up to the root of the hierarchy. */
static unsigned cores_of_path(const char *root, mr_str group, bool is_v2) {
    unsigned least = UINT32_MAX;
    for (;;) {
        while (group.len > 0 && group.ptr[group.len - 1] == '/') {
            group.len--;
        }
        unsigned cores = cores_of_group(root, group, is_v2);
        least = cores < least ? cores : least;
        if (group.len == 0) {
            return least;
        }
        while (group.len > 0 && group.ptr[group.len - 1] != '/') {
            group.len--;
        }
    }
}

static unsigned cores_of_cgroups(void) {
    char text[4096];
    mr_str rest = slurp("/proc/self/cgroup", text, sizeof text);
    mr_str line;
    unsigned least = UINT32_MAX;
    /* Lines are id:controllers:path; version 2 has an empty list of controllers. */
    while (mr_str_split(&rest, '\n', &line)) {
        mr_str id;
        mr_str controllers;
        if (!mr_str_split(&line, ':', &id) || !mr_str_split(&line, ':', &controllers) ||
            mr_str_is_absent(line)) {
            continue;
        }
        unsigned cores = UINT32_MAX;
        if (controllers.len == 0) {
            cores = cores_of_path("/sys/fs/cgroup", line, true);
        } else if (mr_str_find(controllers, MR_STR("cpu")) != SIZE_MAX) {
            cores = cores_of_path("/sys/fs/cgroup/cpu", line, false);
        }
        least = cores < least ? cores : least;
    }
    return least;
}

unsigned os_cores_granted(void) {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    unsigned cores = 1;
    if (sched_getaffinity(0, sizeof mask, &mask) == 0 && CPU_COUNT(&mask) > 0) {
        cores = (unsigned)CPU_COUNT(&mask);
    }
    unsigned quota = cores_of_cgroups();
    cores = quota < cores ? quota : cores;
    return cores == 0 ? 1 : cores;
}
