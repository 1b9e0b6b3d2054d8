/* The end of a program that found its own mistake. See err.h. */
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void mr_assert_failed(const char *expr, const char *file, int line) {
    fprintf(stderr, "assertion failed: %s (%s:%d)\n", expr, file, line);
    abort();
}
