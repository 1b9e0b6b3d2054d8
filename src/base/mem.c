/* The malloc family. See mem.h. The countdown is thread-local and only ever set by tests. */
#include "base/mem.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A test hook, not state of the program: zero outside unit tests. */
static _Thread_local uint64_t fail_countdown;

static bool must_fail(void) {
    return __builtin_expect(fail_countdown != 0, 0) && --fail_countdown == 0;
}

void mr_alloc_fail_at(uint64_t n) {
    fail_countdown = n;
}

void *mr_alloc(size_t size) {
    return must_fail() ? NULL : malloc(size);
}

void *mr_calloc(size_t n, size_t size) {
    return must_fail() ? NULL : calloc(n, size);
}

void *mr_realloc(void *ptr, size_t size) {
    return must_fail() ? NULL : realloc(ptr, size);
}

void *mr_alloc_aligned(size_t alignment, size_t size) {
    void *ptr = NULL;
    if (must_fail() || posix_memalign(&ptr, alignment, size) != 0) {
        return NULL;
    }
    return ptr;
}

void mr_free(void *ptr) {
    free(ptr);
}

void mr_wipe(void *at, size_t n) {
    if (n > 0) {
        explicit_bzero(at, n);
    }
}

#define SMALL_BYTES_MAX 16384u

void *mr_wiping_alloc(size_t size) {
    return malloc(size);
}

void *mr_wiping_calloc(size_t n, size_t size) {
    return calloc(n, size);
}

char *mr_wiping_strdup(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

void mr_wiping_free(void *ptr) {
    mr_wipe(ptr, malloc_usable_size(ptr));
    free(ptr);
}

void mr_wiping_free_small(void *ptr) {
    size_t size = malloc_usable_size(ptr);
    if (size < SMALL_BYTES_MAX) {
        mr_wipe(ptr, size);
    }
    free(ptr);
}

void *mr_wiping_realloc(void *ptr, size_t size) {
    size_t held = malloc_usable_size(ptr);
    if (ptr == NULL || size <= held) {
        return ptr == NULL ? malloc(size) : ptr;
    }
    void *moved = malloc(size);
    if (moved != NULL) {
        memcpy(moved, ptr, held);
        mr_wiping_free(ptr);
    }
    return moved;
}

char *mr_strdup_n(const char *ptr, size_t len) {
    char *copy = mr_alloc(len + 1);
    if (copy != NULL) {
        if (len > 0) {
            memcpy(copy, ptr, len);
        }
        copy[len] = '\0';
    }
    return copy;
}

void mr_free_cleanup(void *ptr_to_ptr) {
    void *ptr;
    memcpy(&ptr, ptr_to_ptr, sizeof ptr);
    mr_free(ptr);
}
