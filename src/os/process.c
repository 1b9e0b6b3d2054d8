/* The process itself. See process.h. */
#include "os/process.h"

#include <stdio.h>
#include <stdlib.h>
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

bool os_error_is_terminal(void) {
    return isatty(STDERR_FILENO) == 1;
}

char *const *os_environment(void) {
    return environ;
}

const char *os_environment_get(const char *name) {
    return getenv(name);
}

mr_err os_environment_set(const char *name, const char *value) {
    return setenv(name, value, 1) == 0 ? MR_OK : MR_ERR(MR_E_NOMEM);
}
