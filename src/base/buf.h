/* A growable buffer with a maximum given at birth. A failed append leaves it as it was (MR_E_LIMIT
 * past the maximum, MR_E_NOMEM). No pointer into it survives an append. Not thread-safe. */
#ifndef MR_BASE_BUF_H
#define MR_BASE_BUF_H

#include "base/err.h"
#include "base/str.h"

#include <stdarg.h>
#include <stdbool.h>

typedef struct mr_buf {
    char *ptr; /* owned; NULL while nothing was reserved */
    size_t len;
    size_t cap;
    size_t max;
    bool is_private;
} mr_buf;

void mr_buf_init(mr_buf *buf, size_t max);
/* For bytes that are or may hold a secret: whatever is dropped, moved or freed is overwritten. */
void mr_buf_init_private(mr_buf *buf, size_t max);
/* Frees the memory; the buffer may be used again after mr_buf_init. */
void mr_buf_done(mr_buf *buf);
/* Empties it, keeps the memory. */
void mr_buf_reset(mr_buf *buf);
/* Makes room for extra more bytes; *ret_at (may be NULL) is where they go. Does not change len. */
mr_err mr_buf_reserve(mr_buf *buf, size_t extra, char **ret_at);
/* Counts n reserved bytes as written. */
void mr_buf_commit(mr_buf *buf, size_t n);
mr_err mr_buf_append(mr_buf *buf, const void *bytes, size_t n);
mr_err mr_buf_str(mr_buf *buf, mr_str s);
mr_err mr_buf_byte(mr_buf *buf, char c);
mr_err mr_buf_u64(mr_buf *buf, uint64_t n);
mr_err mr_buf_i64(mr_buf *buf, int64_t n);
mr_err mr_buf_printf(mr_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
mr_err mr_buf_vprintf(mr_buf *buf, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
/* Drops n bytes from the front (moves the rest). */
void mr_buf_consume(mr_buf *buf, size_t n);
/* Shortens to len bytes (len ≤ buf->len). */
void mr_buf_truncate(mr_buf *buf, size_t len);
static inline mr_str mr_buf_view(const mr_buf *buf) {
    return (mr_str){buf->ptr != NULL ? buf->ptr : "", buf->len};
}

#endif
