/* A disk that fails on request: loaded before libc (LD_PRELOAD), led through a shared file.
 *
 * FAULT_STATE names a file of at least one page that both sides map, so that a test can change the
 * disk while the program runs and read what happened after kill -9. FAULT_PATH is a part of the
 * path of the files that are meant. The words of the state are listed in enum word; the shim writes
 * the counts, the test writes the wishes.
 *
 * KILL_AT ends the program as kill -9 does, before the change of a file with that number (write,
 * truncation, sync, renaming, removal), or with KILL_TEARS after half of a write: so a test can die
 * between any two steps of a flow.
 *
 * A full disk is told as a real one tells it: writes into blocks that a file already has succeed,
 * writes and allocations that make it grow fail with ENOSPC, and statvfs sees nothing free.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum word {
    SYNC_CALLS = 0,  /* fdatasync and fsync calls so far */
    SYNC_MAX_NS = 1, /* the longest of them since the test last set it to 0 */
    SYNC_FAIL_AT =
        2,    /* wish: the call with this number, and all later ones, fail with EIO; 0: none */
    FULL = 3, /* wish: 1 while the disk is full */
    FULL_FAILURES = 4,  /* calls that failed with ENOSPC */
    SYNC_FAILURES = 5,  /* calls that failed with EIO */
    SYNC_DELAY_US = 6,  /* wish: each sync takes this much longer */
    SYNC_SKIP = 7,      /* wish: 1: a sync does nothing and says it did */
    SYNC_LATE = 8,      /* wish: 1: a sync says it did at once, and does it 300 ms later */
    SYNC_UNDER_WAY = 9, /* monotonic times at which syncs began that have not returned; 0: free */
    SYNC_UNDER_WAY_END = 17,
    READ_ONLY = 17,  /* wish: 1: every change of a file fails with EROFS */
    CHANGES = 18,    /* changes of files so far */
    KILL_AT = 19,    /* wish: the change with this number kills the program; 0: none */
    KILL_TEARS = 20, /* wish: 1: a write that kills writes its first half */
    WORDS = 21
};

static _Atomic uint64_t *state;
static const char *wanted_path;

__attribute__((constructor)) static void shim_open(void) {
    const char *name = getenv("FAULT_STATE");
    int fd = name == NULL ? -1 : open(name, O_RDWR | O_CLOEXEC);
    wanted_path = getenv("FAULT_PATH");
    if (fd >= 0) {
        void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        state = memory == MAP_FAILED ? NULL : memory;
        close(fd);
    }
}

static uint64_t word(enum word which) {
    return state == NULL ? 0 : atomic_load(&state[which]);
}

static void count(enum word which) {
    if (state != NULL) {
        atomic_fetch_add(&state[which], 1);
    }
}

static bool is_meant(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) {
        return false;
    }
    path[n] = '\0';
    return wanted_path == NULL || strstr(path, wanted_path) != NULL;
}

static void die(void) {
    (void)kill(getpid(), SIGKILL);
    for (;;) {
        (void)pause();
    }
}

/* Before each change of a file. False: it fails. *tears: it is to write half, then call die. */
static bool may_change(int fd, bool *tears) {
    if (state == NULL || !is_meant(fd)) {
        return true;
    }
    if (word(READ_ONLY) != 0) {
        errno = EROFS;
        return false;
    }
    uint64_t change = atomic_fetch_add(&state[CHANGES], 1) + 1;
    if (word(KILL_AT) != 0 && change >= word(KILL_AT)) {
        if (tears != NULL && word(KILL_TEARS) != 0) {
            *tears = true;
            return true;
        }
        die();
    }
    return true;
}

/* Before a name is given or taken away. */
static bool may_rename(const char *path) {
    if (state == NULL || (wanted_path != NULL && strstr(path, wanted_path) == NULL)) {
        return true;
    }
    if (word(READ_ONLY) != 0) {
        errno = EROFS;
        return false;
    }
    uint64_t change = atomic_fetch_add(&state[CHANGES], 1) + 1;
    if (word(KILL_AT) != 0 && change >= word(KILL_AT)) {
        die();
    }
    return true;
}

/* True when a write up to `end` makes the file grow while the disk is full. */
static bool is_full_for(int fd, int64_t end) {
    struct stat status;
    if (word(FULL) == 0 || !is_meant(fd) || fstat(fd, &status) != 0 || end <= status.st_size) {
        return false;
    }
    count(FULL_FAILURES);
    errno = ENOSPC;
    return true;
}

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

struct late_sync {
    int fd;
    int (*real)(int);
};

static void *sync_late(void *arg) {
    struct late_sync *late = arg;
    struct timespec delay = {.tv_nsec = 300000000};
    nanosleep(&delay, NULL);
    late->real(late->fd);
    free(late);
    return NULL;
}

static int begin_late_sync(int fd, int (*real)(int)) {
    struct late_sync *late = malloc(sizeof *late);
    pthread_t thread;
    if (late == NULL) {
        return -1;
    }
    *late = (struct late_sync){fd, real};
    if (pthread_create(&thread, NULL, sync_late, late) != 0) {
        free(late);
        return -1;
    }
    pthread_detach(thread);
    return 0;
}

/* A place that says since when this sync runs, for whoever kills the program during it; NULL where
 * more run than have places. */
static _Atomic uint64_t *begin_sync(uint64_t began) {
    for (int i = SYNC_UNDER_WAY; i < SYNC_UNDER_WAY_END; i++) {
        uint64_t none = 0;
        if (atomic_compare_exchange_strong(&state[i], &none, began)) {
            return &state[i];
        }
    }
    return NULL;
}

static int shimmed_sync(int fd, int (*real)(int)) {
    if (state == NULL || !is_meant(fd)) {
        return real(fd);
    }
    if (!may_change(fd, NULL)) {
        return -1;
    }
    uint64_t call = atomic_fetch_add(&state[SYNC_CALLS], 1) + 1;
    uint64_t fail_at = word(SYNC_FAIL_AT);
    if (fail_at != 0 && call >= fail_at) {
        count(SYNC_FAILURES);
        errno = EIO;
        return -1;
    }
    if (word(SYNC_LATE) != 0) {
        return begin_late_sync(fd, real);
    }
    uint64_t began = clock_ns();
    _Atomic uint64_t *slot = begin_sync(began);
    if (word(SYNC_DELAY_US) > 0) {
        struct timespec delay = {.tv_nsec = (long)word(SYNC_DELAY_US) * 1000};
        nanosleep(&delay, NULL);
    }
    int result = word(SYNC_SKIP) != 0 ? 0 : real(fd);
    if (slot != NULL) {
        atomic_store(slot, 0);
    }
    uint64_t took = clock_ns() - began;
    if (took > atomic_load(&state[SYNC_MAX_NS])) {
        atomic_store(&state[SYNC_MAX_NS], took);
    }
    return result;
}

#define REAL(name)                                                                                 \
    static __typeof__(&name) real;                                                                 \
    if (real == NULL) {                                                                            \
        *(void **)&real = dlsym(RTLD_NEXT, #name);                                                 \
    }

int fdatasync(int fd) {
    REAL(fdatasync)
    return shimmed_sync(fd, real);
}

int fsync(int fd) {
    REAL(fsync)
    return shimmed_sync(fd, real);
}

static ssize_t write_at(int fd, const void *bytes, size_t n, off_t at,
                        ssize_t (*real)(int, const void *, size_t, off_t)) {
    bool tears = false;
    if (is_full_for(fd, at + (off_t)n) || !may_change(fd, &tears)) {
        return -1;
    }
    if (tears) {
        (void)!real(fd, bytes, n / 2, at);
        die();
    }
    return real(fd, bytes, n, at);
}

int ftruncate(int fd, off_t size) {
    REAL(ftruncate)
    return may_change(fd, NULL) ? real(fd, size) : -1;
}

int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64)
    return may_change(fd, NULL) ? real(fd, size) : -1;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) {
    REAL(pwrite)
    return write_at(fd, bytes, n, at, real);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) {
    REAL(pwrite64)
    return write_at(fd, bytes, n, at, real);
}

int rename(const char *from, const char *to) {
    REAL(rename)
    return may_rename(to) ? real(from, to) : -1;
}

int unlink(const char *path) {
    REAL(unlink)
    return may_rename(path) ? real(path) : -1;
}

static int64_t sum(const struct iovec *iov, int n) {
    int64_t total = 0;
    for (int i = 0; i < n; i++) {
        total += (int64_t)iov[i].iov_len;
    }
    return total;
}

/* Torn: half of the first piece. */
ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t at) {
    REAL(pwritev)
    bool tears = false;
    if (is_full_for(fd, at + sum(iov, n)) || !may_change(fd, &tears)) {
        return -1;
    }
    if (tears) {
        struct iovec half = {.iov_base = iov[0].iov_base, .iov_len = iov[0].iov_len / 2};
        (void)!real(fd, &half, 1, at);
        die();
    }
    return real(fd, iov, n, at);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int n, off64_t at) {
    return pwritev(fd, iov, n, at);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t at, int flags) {
    REAL(pwritev2)
    return is_full_for(fd, at + sum(iov, n)) ? -1 : real(fd, iov, n, at, flags);
}

ssize_t pwritev64v2(int fd, const struct iovec *iov, int n, off64_t at, int flags) {
    REAL(pwritev64v2)
    return is_full_for(fd, at + sum(iov, n)) ? -1 : real(fd, iov, n, at, flags);
}

ssize_t write(int fd, const void *bytes, size_t n) {
    REAL(write)
    return is_full_for(fd, INT64_MAX) ? -1 : real(fd, bytes, n);
}

int fallocate(int fd, int mode, off_t at, off_t n) {
    REAL(fallocate)
    return is_full_for(fd, at + n) ? -1 : real(fd, mode, at, n);
}

int fallocate64(int fd, int mode, off64_t at, off64_t n) {
    REAL(fallocate64)
    return is_full_for(fd, at + n) ? -1 : real(fd, mode, at, n);
}

int posix_fallocate(int fd, off_t at, off_t n) {
    REAL(posix_fallocate)
    return is_full_for(fd, at + n) ? ENOSPC : real(fd, at, n);
}

int posix_fallocate64(int fd, off64_t at, off64_t n) {
    REAL(posix_fallocate64)
    return is_full_for(fd, at + n) ? ENOSPC : real(fd, at, n);
}

int statvfs(const char *path, struct statvfs *out) {
    REAL(statvfs)
    int result = real(path, out);
    if (result == 0 && word(FULL) != 0) {
        out->f_bfree = out->f_bavail = 0;
    }
    return result;
}

int statvfs64(const char *path, struct statvfs64 *out) {
    REAL(statvfs64)
    int result = real(path, out);
    if (result == 0 && word(FULL) != 0) {
        out->f_bfree = out->f_bavail = 0;
    }
    return result;
}

int statfs(const char *path, struct statfs *out) {
    REAL(statfs)
    int result = real(path, out);
    if (result == 0 && word(FULL) != 0) {
        out->f_bfree = out->f_bavail = 0;
    }
    return result;
}
