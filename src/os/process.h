/* The process itself: what others may see of it. */
#ifndef MR_OS_PROCESS_H
#define MR_OS_PROCESS_H

#include "base/err.h"

/* No core dumps, no debugger of another process: memory holds secrets. Best effort. */
void os_process_protect(void);
/* Ends the process this moment: no handlers, no waiting for threads, which may be anywhere. What
 * was printed is flushed. For endings that must not be clean. */
_Noreturn void os_process_end_now(int code);
/* Whether standard error is a terminal that a person looks at. */
bool os_error_is_terminal(void);
/* The environment: NAME=value, ended by NULL. */
char *const *os_environment(void);
/* Value of a variable, NULL where it is not set. Before threads that might change it. */
const char *os_environment_get(const char *name);
/* Sets a variable, its old value overwritten. Before threads. MR_E_NOMEM. */
mr_err os_environment_set(const char *name, const char *value);

#endif
