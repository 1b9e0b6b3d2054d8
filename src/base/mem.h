/* The malloc family, in one place, so that tests can make every allocation fail in turn.
 * Every function may return NULL; callers answer with MR_E_NOMEM. */
#ifndef MR_BASE_MEM_H
#define MR_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

/* Uninitialised memory of size bytes (size > 0). Release with mr_free. */
void *mr_alloc(size_t size) __attribute__((malloc, alloc_size(1)));
/* Zeroed array of n elements; NULL on overflow too. */
void *mr_calloc(size_t n, size_t size) __attribute__((malloc, alloc_size(1, 2)));
/* As realloc: on failure the old block stays valid. */
void *mr_realloc(void *ptr, size_t size) __attribute__((alloc_size(2)));
/* Aligned to a power of two; release with mr_free. */
void *mr_alloc_aligned(size_t alignment, size_t size);
/* NULL is fine. */
void mr_free(void *ptr);
/* Overwrites n bytes with zeroes; the compiler does not take it away. */
void mr_wipe(void *at, size_t n);
/* malloc, realloc and free for libraries that may hold secrets: what is given back is overwritten.
 */
void *mr_wiping_alloc(size_t size);
void *mr_wiping_realloc(void *ptr, size_t size);
void *mr_wiping_calloc(size_t n, size_t size);
char *mr_wiping_strdup(const char *text);
void mr_wiping_free(void *ptr);
/* The same for OpenSSL: not the memory of TLS records (16 KiB and more), which it cleans itself. */
void mr_wiping_free_small(void *ptr);
/* A copy of len bytes plus a NUL. */
char *mr_strdup_n(const char *ptr, size_t len);

#define MR_NEW(type) ((type *)mr_calloc(1, sizeof(type)))

/* Tests only: the n-th allocation of this thread from now on fails, once (0: none). */
void mr_alloc_fail_at(uint64_t n);

/* For `__attribute__((cleanup))`. */
void mr_free_cleanup(void *ptr_to_ptr);
#define MR_AUTO_FREE __attribute__((cleanup(mr_free_cleanup)))

#endif
