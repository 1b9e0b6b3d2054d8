/* Shared libraries that are opened when they are first needed, because most runs never need them.
 */
#ifndef MR_OS_LIBRARY_H
#define MR_OS_LIBRARY_H

#include "base/err.h"

#include <stddef.h>

/* A function that is wanted: where its address goes (a function pointer), and its name. */
struct os_library_want {
    void *ret_function;
    const char *name;
};

/* Opens the library, for the rest of the process, and fills all that is wanted. MR_E_NOT_FOUND: it
 * is not there, or lacks one of them; nothing was filled. */
mr_err os_library_open(const char *file, const struct os_library_want *wants, size_t n);

#endif
