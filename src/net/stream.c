/* One connection. See stream.h. TLS lies in stream_tls.c behind the functions of stream_tls.h.
 *
 * Bytes come into memory that all streams of the thread share and go from there to the owner, so a
 * request that arrives whole is parsed where the kernel put it and costs neither a copy nor an
 * allocation. Only what the owner leaves is copied, into `unused`, which is given back as soon as
 * it is empty: ten thousand idle connections hold no buffers.
 *
 * One recv per turn and stream: a fast sender cannot keep the others waiting.
 *
 * A callback may close the stream and free it. So around each callback stands a flag on the stack
 * to which stream->gone points; nothing of the stream is touched once it is up.
 *
 * A failed send does not end the input: a server may have answered and closed before it read all,
 * and its answer is worth reading. The stream is then `broken`: it is read until there is nothing
 * more, and ends. */
#include "net/stream.h"

#include "base/mem.h"
#include "net/stream_tls.h"

#include <errno.h>

mr_err stream_shared_init(struct stream_shared *shared, struct loop *loop, mr_metrics *metrics) {
    *shared = (struct stream_shared){.loop = loop, .metrics = metrics};
    shared->raw = mr_alloc(STREAM_RAW_SIZE);
    shared->plain = mr_alloc(STREAM_RAW_SIZE);
    mr_err err = stream_tls_shared_init(shared);
    if (shared->raw == NULL || shared->plain == NULL || mr_is_err(err)) {
        stream_shared_done(shared);
        return MR_ERR(MR_E_NOMEM);
    }
    return MR_OK;
}

void stream_shared_done(struct stream_shared *shared) {
    mr_free(shared->raw);
    mr_free(shared->plain);
    stream_tls_shared_done(shared);
    *shared = (struct stream_shared){.loop = shared->loop};
}

/* Interest follows from the state alone. */
static void update_want(struct stream *stream) {
    unsigned want = 0;
    bool is_choked = stream->tls != NULL && stream_tls_is_choked(stream);
    if (!stream->is_paused && !stream->is_ended && !is_choked) {
        want |= LOOP_READ;
    }
    if (!stream->is_broken && (stream->wants_write || stream_pending(stream) > 0)) {
        /* Before the handshake is done there is nothing to write but what is pending. */
        if (stream->is_open || stream_pending(stream) > 0) {
            want |= LOOP_WRITE;
        }
    }
    if (want != stream->io.want) {
        loop_io_want(stream->shared->loop, &stream->io, want);
    }
}

/* False when the callback closed the stream. */
bool stream_call_open(struct stream *stream) {
    if (stream->events->on_open == NULL) {
        return true;
    }
    bool gone = false;
    stream->gone = &gone;
    stream->events->on_open(stream);
    if (!gone) {
        stream->gone = NULL;
    }
    return !gone;
}

static bool call_data(struct stream *stream, mr_str bytes, size_t *ret_used) {
    bool gone = false;
    stream->gone = &gone;
    size_t used = stream->events->on_data(stream, bytes);
    if (gone) {
        return false;
    }
    stream->gone = NULL;
    MR_ASSERT(used <= bytes.len);
    *ret_used = used;
    return true;
}

static bool call_writable(struct stream *stream) {
    bool gone = false;
    stream->gone = &gone;
    stream->events->on_writable(stream);
    if (!gone) {
        stream->gone = NULL;
    }
    return !gone;
}

void stream_end_input(struct stream *stream, enum stream_end how) {
    if (stream->is_ended) {
        return;
    }
    stream->is_ended = true;
    update_want(stream);
    bool gone = false;
    stream->gone = &gone;
    stream->events->on_end(stream, how);
    if (!gone) {
        stream->gone = NULL;
        mr_buf_done(&stream->unused);
    }
}

void stream_break(struct stream *stream) {
    stream->is_broken = true;
    stream->error = errno;
    update_want(stream);
    loop_io_again(stream->shared->loop, &stream->io);
}

bool stream_deliver(struct stream *stream, mr_str bytes) {
    bool is_direct = stream->unused.len == 0;
    if (!is_direct) {
        if (mr_is_err(mr_buf_append(&stream->unused, bytes.ptr, bytes.len))) {
            stream_end_input(stream, STREAM_END_MEMORY);
            return false;
        }
        bytes = mr_buf_view(&stream->unused);
    }
    size_t used;
    if (!call_data(stream, bytes, &used)) {
        return false;
    }
    if (is_direct) {
        if (mr_is_err(mr_buf_append(&stream->unused, bytes.ptr + used, bytes.len - used))) {
            stream_end_input(stream, STREAM_END_MEMORY);
            return false;
        }
    } else {
        mr_buf_consume(&stream->unused, used);
        if (stream->unused.len == 0) {
            mr_buf_done(&stream->unused);
        }
    }
    size_t unused_max = stream->unused.max - STREAM_RAW_SIZE;
    if (stream->unused.len > unused_max && !stream->is_paused && !stream->wants_again) {
        stream_end_input(stream, STREAM_END_MEMORY);
        return false;
    }
    return true;
}

mr_err stream_receive(struct stream *stream, mr_str *ret_bytes) {
    size_t n;
    MR_TRY(os_recv(stream->io.fd, stream->shared->raw, STREAM_RAW_SIZE, &n));
    *ret_bytes = mr_str_of(stream->shared->raw, n);
    return MR_OK;
}

static void read_plain(struct stream *stream) {
    mr_str bytes = MR_STR_NONE;
    mr_err err = stream_receive(stream, &bytes);
    if (mr_is_ok(err)) {
        struct stream_shared *shared = stream->shared; /* the stream may be gone behind the call */
        (void)stream_deliver(stream, bytes);
        mr_wipe(shared->raw, bytes.len);
    } else if (mr_err_is(err, MR_E_CLOSED)) {
        stream_end_input(stream, STREAM_END_EOF);
    } else if (mr_err_is(err, MR_E_IO)) {
        stream->error = errno;
        stream_end_input(stream, STREAM_END_LOST);
    } else if (stream->is_broken) {
        stream_end_input(stream, STREAM_END_LOST);
    }
}

static void handle_read(struct stream *stream) {
    if (stream->wants_again) {
        stream->wants_again = false;
        if (stream->unused.len > 0) {
            if (stream_deliver(stream, MR_STR("")) && stream->tls != NULL) {
                stream_tls_again(stream);
            }
            return;
        }
    }
    if (stream->tls != NULL) {
        stream_tls_read(stream);
    } else {
        read_plain(stream);
    }
}

/* False when the stream is gone. */
static bool handle_write(struct stream *stream) {
    if (stream->tls != NULL && mr_is_err(stream_tls_flush(stream))) {
        stream_break(stream);
        return true;
    }
    if (stream->is_finishing && stream_pending(stream) == 0) {
        stream->is_finishing = false;
        os_shutdown_write(stream->io.fd);
    }
    if (stream_pending(stream) == 0 && stream->wants_write && stream->is_open) {
        stream->wants_write = false;
        if (!call_writable(stream)) {
            return false;
        }
    }
    update_want(stream);
    return true;
}

static void on_ready(struct loop_io *io, unsigned ready) {
    struct stream *stream = MR_CONTAINER(io, struct stream, io);
    bool is_failed = (ready & LOOP_FAIL) != 0;
    if ((ready & LOOP_WRITE) != 0 || (is_failed && (io->want & LOOP_WRITE) != 0)) {
        if (!handle_write(stream)) {
            return;
        }
    }
    if (((ready & LOOP_READ) != 0 || is_failed) && (io->want & LOOP_READ) != 0) {
        handle_read(stream);
    }
}

mr_err stream_init(struct stream *stream, struct stream_shared *shared, int fd,
                   const struct stream_events *events, size_t unused_max) {
    *stream = (struct stream){.shared = shared, .events = events, .is_open = true};
    mr_buf_init_private(&stream->unused, unused_max + STREAM_RAW_SIZE);
    loop_io_init(&stream->io, on_ready);
    mr_err err = loop_io_add(shared->loop, &stream->io, fd, LOOP_READ);
    if (mr_is_err(err)) {
        os_close(fd);
    }
    return err;
}

mr_err stream_start_tls(struct stream *stream, SSL *ssl) {
    stream->is_open = false;
    mr_err err = stream_tls_new(stream, ssl);
    if (mr_is_ok(err) && stream_tls_is_client(stream)) {
        loop_io_again(stream->shared->loop, &stream->io);
    }
    return err;
}

static void release(struct stream *stream) {
    if (stream->gone != NULL) {
        *stream->gone = true;
        stream->gone = NULL;
    }
    stream_tls_free(stream);
    mr_buf_done(&stream->unused);
}

void stream_close(struct stream *stream) {
    if (!stream_is_usable(stream)) {
        return;
    }
    if (stream->tls != NULL && !stream->is_broken) {
        stream_tls_say_goodbye(stream);
    }
    loop_io_close(stream->shared->loop, &stream->io);
    release(stream);
}

void stream_abort(struct stream *stream) {
    if (!stream_is_usable(stream)) {
        return;
    }
    int fd = stream->io.fd;
    loop_io_remove(stream->shared->loop, &stream->io);
    os_close_reset(fd);
    release(stream);
}

bool stream_is_usable(const struct stream *stream) {
    return stream->shared != NULL && stream->io.fd >= 0;
}

static size_t iov_sum(const struct iovec *iov, int n_iov) {
    size_t sum = 0;
    for (int i = 0; i < n_iov; i++) {
        sum += iov[i].iov_len;
    }
    return sum;
}

mr_err stream_send(struct stream *stream, const struct iovec *iov, int n_iov, size_t *ret_n) {
    if (stream->is_broken || !stream_is_usable(stream)) {
        return MR_ERR(MR_E_CLOSED);
    }
    size_t taken = 0;
    if (stream->is_open) {
        mr_err err = stream->tls != NULL ? stream_tls_send(stream, iov, n_iov, &taken)
                                         : os_send(stream->io.fd, iov, n_iov, &taken);
        if (mr_is_err(err) && !mr_err_is(err, MR_E_AGAIN)) {
            stream_break(stream);
            return MR_ERR(MR_E_CLOSED);
        }
    }
    if (taken < iov_sum(iov, n_iov)) {
        stream->wants_write = true;
    }
    update_want(stream);
    *ret_n = taken;
    return MR_OK;
}

size_t stream_pending(const struct stream *stream) {
    return stream->tls == NULL ? 0 : stream_tls_pending(stream);
}

void stream_want_writable(struct stream *stream) {
    stream->wants_write = true;
    update_want(stream);
}

void stream_finish(struct stream *stream) {
    if (!stream_is_usable(stream) || stream->is_broken) {
        return;
    }
    if (stream->tls != NULL) {
        stream_tls_say_goodbye(stream);
        if (stream_pending(stream) > 0) {
            stream->is_finishing = true; /* the FIN follows the last byte */
            update_want(stream);
            return;
        }
    }
    os_shutdown_write(stream->io.fd);
}

void stream_pause(struct stream *stream) {
    stream->is_paused = true;
    update_want(stream);
}

void stream_resume(struct stream *stream) {
    if (!stream->is_paused) {
        return;
    }
    stream->is_paused = false;
    update_want(stream);
    if (stream->unused.len > 0) {
        stream_again(stream);
    } else if (stream->tls != NULL) {
        stream_tls_again(stream);
    }
}

void stream_again(struct stream *stream) {
    if (stream->unused.len > 0 || stream->gone != NULL) {
        stream->wants_again = true;
        loop_io_again(stream->shared->loop, &stream->io);
    }
}

SSL *stream_ssl(const struct stream *stream) {
    return stream->tls == NULL ? NULL : stream_tls_ssl(stream);
}

mr_str stream_tls_problem(const struct stream *stream) {
    return stream->tls == NULL ? MR_STR("") : stream_tls_problem_text(stream);
}

void stream_update_want(struct stream *stream) {
    update_want(stream);
}
