/* The process itself. See process.h. */
#include "os/process.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

void os_process_protect(void) {
    const struct rlimit none = {0, 0};
    (void)!prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)!setrlimit(RLIMIT_CORE, &none);
}

_Noreturn void os_process_end_now(int code) {
    fflush(NULL);
    _exit(code);
}

char *const *os_environment(void) {
    return environ;
}

const char *os_environment_get(const char *name) {
    return getenv(name);
}

void os_process_huge_pages(void *memory, size_t bytes) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)memory + page - 1) / page * page;
    uintptr_t to = ((uintptr_t)memory + bytes) / page * page;
    if (to > from) {
        (void)madvise((char *)memory + (from - (uintptr_t)memory), to - from, MADV_HUGEPAGE);
    }
}
