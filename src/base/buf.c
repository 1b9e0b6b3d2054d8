/* A growable buffer with a maximum. See buf.h. */
#include "base/buf.h"

#include "base/mem.h"

#include <stdio.h>

void mr_buf_init(mr_buf *buf, size_t max) {
    *buf = (mr_buf){.max = max};
}

void mr_buf_init_private(mr_buf *buf, size_t max) {
    *buf = (mr_buf){.max = max, .is_private = true};
}

static void wipe(const mr_buf *buf, size_t from, size_t to) {
    if (buf->is_private && to > from) {
        mr_wipe(buf->ptr + from, to - from);
    }
}

void mr_buf_done(mr_buf *buf) {
    wipe(buf, 0, buf->cap);
    mr_free(buf->ptr);
    *buf = (mr_buf){.max = buf->max, .is_private = buf->is_private};
}

void mr_buf_reset(mr_buf *buf) {
    wipe(buf, 0, buf->len);
    buf->len = 0;
}

/* As mr_realloc; of a private buffer nothing stays behind. */
static char *grow(const mr_buf *buf, size_t cap) {
    if (!buf->is_private) {
        return mr_realloc(buf->ptr, cap);
    }
    char *ptr = mr_alloc(cap);
    if (ptr != NULL && buf->ptr != NULL) {
        memcpy(ptr, buf->ptr, buf->len);
        wipe(buf, 0, buf->cap);
        mr_free(buf->ptr);
    }
    return ptr;
}

mr_err mr_buf_reserve(mr_buf *buf, size_t extra, char **ret_at) {
    if (extra > buf->max - buf->len) {
        return MR_ERR(MR_E_LIMIT);
    }
    size_t need = buf->len + extra;
    if (need > buf->cap) {
        size_t cap = buf->cap < 64 ? 64 : buf->cap * 2;
        if (cap < need) {
            cap = need;
        }
        if (cap > buf->max) {
            cap = buf->max;
        }
        char *ptr = grow(buf, cap);
        if (ptr == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        buf->ptr = ptr;
        buf->cap = cap;
    }
    if (ret_at != NULL) {
        *ret_at = buf->ptr + buf->len;
    }
    return MR_OK;
}

void mr_buf_commit(mr_buf *buf, size_t n) {
    MR_ASSERT(n <= buf->cap - buf->len);
    buf->len += n;
}

mr_err mr_buf_append(mr_buf *buf, const void *bytes, size_t n) {
    if (n == 0) {
        return MR_OK;
    }
    char *at;
    MR_TRY(mr_buf_reserve(buf, n, &at));
    memcpy(at, bytes, n);
    buf->len += n;
    return MR_OK;
}

mr_err mr_buf_str(mr_buf *buf, mr_str s) {
    return mr_buf_append(buf, s.ptr, s.len);
}

mr_err mr_buf_byte(mr_buf *buf, char c) {
    return mr_buf_append(buf, &c, 1);
}

mr_err mr_buf_u64(mr_buf *buf, uint64_t n) {
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    return mr_buf_append(buf, digits + at, sizeof digits - at);
}

mr_err mr_buf_i64(mr_buf *buf, int64_t n) {
    size_t before = buf->len;
    uint64_t magnitude = (uint64_t)n;
    if (n < 0) {
        MR_TRY(mr_buf_byte(buf, '-'));
        magnitude = 0 - magnitude;
    }
    mr_err err = mr_buf_u64(buf, magnitude);
    if (mr_is_err(err)) {
        buf->len = before;
    }
    return err;
}

mr_err mr_buf_vprintf(mr_buf *buf, const char *format, va_list args) {
    char small[256];
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, format, args);
    MR_ASSERT(n >= 0);
    char *at = small;
    mr_err err = MR_OK;
    if ((size_t)n >= sizeof small) {
        /* One byte more for the NUL that vsnprintf writes; it is not counted. */
        at = (size_t)n > buf->max - buf->len ? NULL : mr_alloc((size_t)n + 1);
        if (at == NULL) {
            err = MR_ERR((size_t)n > buf->max - buf->len ? MR_E_LIMIT : MR_E_NOMEM);
        } else {
            vsnprintf(at, (size_t)n + 1, format, again);
        }
    }
    va_end(again);
    if (mr_is_ok(err)) {
        err = mr_buf_append(buf, at, (size_t)n);
    }
    if (buf->is_private) {
        mr_wipe(small, sizeof small);
        mr_wipe(at, at == NULL ? 0 : (size_t)n);
    }
    if (at != small) {
        mr_free(at);
    }
    return err;
}

mr_err mr_buf_printf(mr_buf *buf, const char *format, ...) {
    va_list args;
    va_start(args, format);
    mr_err err = mr_buf_vprintf(buf, format, args);
    va_end(args);
    return err;
}

void mr_buf_consume(mr_buf *buf, size_t n) {
    MR_ASSERT(n <= buf->len);
    if (n == 0) {
        return;
    }
    buf->len -= n;
    memmove(buf->ptr, buf->ptr + n, buf->len);
    wipe(buf, buf->len, buf->len + n);
}

void mr_buf_truncate(mr_buf *buf, size_t len) {
    MR_ASSERT(len <= buf->len);
    wipe(buf, len, buf->len);
    buf->len = len;
}
