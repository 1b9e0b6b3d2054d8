/* TLS over a stream's bytes. See stream_tls.h.
 *
 * OpenSSL sees no socket: its BIO reads from the ciphertext that one recv gave and writes to a
 * queue of ours, so that a turn costs one recv and one send whatever the records are. The queue
 * always takes what OpenSSL must say (handshake, alerts, key updates) up to a hard bound; the
 * owner's bytes are encrypted only while less than STREAM_TLS_OUT_MAX waits. At the hard bound (a
 * peer that asks for key updates and reads nothing) reading stops until the kernel took some:
 * `is_choked`.
 *
 *   recv → in ─BIO─▶ SSL ─▶ shared plain ─▶ on_data         kept: ciphertext left by a full turn
 *   stream_send ─▶ SSL ─BIO─▶ out ─▶ send
 *
 * What a record costs is mostly its being one, whatever its length: pieces are gathered into one,
 * and SSL is not asked for a further one where nothing is left. The queue's memory passes from
 * stream to stream of the thread (`queue_spare`), so that it is allocated once and warm.
 *
 * The error queue is per thread and sticky, so it is empty before each call. A connection that
 * ends without close_notify is told apart, because a body framed by the end may then be cut. */
#include "net/stream_tls.h"

#include "base/mem.h"
#include "net/tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>

#define OUT_HARD_MAX    (STREAM_TLS_OUT_MAX + 131072)
#define ENCRYPT_STEP    ((size_t)16384) /* a full record */
#define QUEUE_SPARE_MAX ((size_t)65536)
#define PROBLEM_SIZE    200
#define HANDSHAKES_MAX  4 /* steps per turn */

struct stream_tls {
    SSL *ssl;
    struct stream_shared *shared;
    mr_str in;   /* ciphertext of this turn; into kept or the shared memory */
    mr_buf kept; /* ciphertext of earlier turns that SSL did not take yet */
    mr_buf out;  /* ciphertext for the kernel, from out_at on */
    size_t out_at;
    bool is_failed;    /* no call into SSL but free any more */
    bool said_goodbye; /* close_notify was queued */
    bool is_choked;
    char problem[PROBLEM_SIZE];
};

/* Looking costs a fifth of clearing. */
static void clear_errors(void) {
    if (ERR_peek_error() != 0) {
        ERR_clear_error();
    }
}

static int bio_read(BIO *bio, char *out, int size) {
    struct stream_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (size <= 0) {
        return 0;
    }
    if (tls->in.len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t n = tls->in.len < (size_t)size ? tls->in.len : (size_t)size;
    memcpy(out, tls->in.ptr, n);
    tls->in = mr_str_of(tls->in.ptr + n, tls->in.len - n);
    return (int)n;
}

static int bio_write(BIO *bio, const char *bytes, int n) {
    struct stream_tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (n <= 0) {
        return 0;
    }
    if (tls->out.cap == 0) {
        tls->out = tls->shared->queue_spare;
        mr_buf_init(&tls->shared->queue_spare, OUT_HARD_MAX);
    }
    if (mr_is_err(mr_buf_append(&tls->out, bytes, (size_t)n))) {
        BIO_set_retry_write(bio);
        return -1;
    }
    return n;
}

static long bio_control(BIO *bio, int command, long number, void *ptr) {
    (void)bio;
    (void)number;
    (void)ptr;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *new_bio_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "stream");
    if (method == NULL || BIO_meth_set_read(method, bio_read) != 1 ||
        BIO_meth_set_write(method, bio_write) != 1 || BIO_meth_set_ctrl(method, bio_control) != 1) {
        BIO_meth_free(method);
        ERR_clear_error();
        return NULL;
    }
    return method;
}

mr_err stream_tls_shared_init(struct stream_shared *shared) {
    mr_buf_init(&shared->queue_spare, OUT_HARD_MAX);
    shared->record = mr_alloc(ENCRYPT_STEP);
    shared->bio_method = new_bio_method();
    bool is_made = shared->record != NULL && shared->bio_method != NULL;
    return is_made ? MR_OK : MR_ERR(MR_E_NOMEM);
}

void stream_tls_shared_done(struct stream_shared *shared) {
    BIO_meth_free(shared->bio_method);
    mr_free(shared->record);
    mr_buf_done(&shared->queue_spare);
}

mr_err stream_tls_new(struct stream *stream, SSL *ssl) {
    struct stream_tls *tls = MR_NEW(struct stream_tls);
    BIO *bio = tls == NULL ? NULL : BIO_new(stream->shared->bio_method);
    if (bio == NULL) {
        mr_free(tls);
        SSL_free(ssl);
        ERR_clear_error();
        return MR_ERR(MR_E_NOMEM);
    }
    tls->ssl = ssl;
    tls->shared = stream->shared;
    mr_buf_init(&tls->kept, 2 * STREAM_RAW_SIZE);
    mr_buf_init(&tls->out, OUT_HARD_MAX);
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    stream->tls = tls;
    return MR_OK;
}

void stream_tls_free(struct stream *stream) {
    struct stream_tls *tls = stream->tls;
    if (tls != NULL) {
        stream->tls = NULL;
        SSL_free(tls->ssl);
        mr_buf_done(&tls->kept);
        mr_buf_done(&tls->out);
        mr_free(tls);
    }
}

bool stream_tls_is_client(const struct stream *stream) {
    return SSL_is_server(stream->tls->ssl) == 0;
}

size_t stream_tls_pending(const struct stream *stream) {
    return stream->tls->out.len - stream->tls->out_at;
}

bool stream_tls_is_choked(const struct stream *stream) {
    return stream->tls->is_choked;
}

SSL *stream_tls_ssl(const struct stream *stream) {
    return stream->tls->ssl;
}

mr_str stream_tls_problem_text(const struct stream *stream) {
    return mr_str_c(stream->tls->problem);
}

/* Gives the memory of the empty queue to the next stream that needs one, or back. */
static void give_queue(struct stream_tls *tls) {
    struct stream_shared *shared = tls->shared;
    tls->out_at = 0;
    if (shared->queue_spare.cap == 0 && tls->out.cap <= QUEUE_SPARE_MAX) {
        mr_buf_reset(&tls->out);
        shared->queue_spare = tls->out;
        mr_buf_init(&tls->out, OUT_HARD_MAX);
    } else {
        mr_buf_done(&tls->out);
    }
}

mr_err stream_tls_flush(struct stream *stream) {
    struct stream_tls *tls = stream->tls;
    while (tls->out_at < tls->out.len) {
        struct iovec iov = {.iov_base = tls->out.ptr + tls->out_at,
                            .iov_len = tls->out.len - tls->out_at};
        size_t n = 0;
        mr_err err = os_send(stream->io.fd, &iov, 1, &n);
        if (mr_err_is(err, MR_E_AGAIN)) {
            break;
        }
        MR_TRY(err);
        tls->out_at += n;
    }
    if (tls->out_at == tls->out.len) {
        give_queue(tls);
    } else if (tls->out_at > tls->out.len / 2) {
        mr_buf_consume(&tls->out, tls->out_at);
        tls->out_at = 0;
    }
    if (tls->is_choked && tls->out.len < STREAM_TLS_OUT_MAX) {
        tls->is_choked = false;
        loop_io_again(stream->shared->loop, &stream->io);
    }
    return MR_OK;
}

/* Remembers why; the peer's certificate is the more telling reason where it was refused. */
static void note_problem(struct stream_tls *tls, const char *otherwise) {
    tls->is_failed = true;
    unsigned long code = ERR_peek_error();
    long verified = SSL_get_verify_result(tls->ssl);
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    if (verified != X509_V_OK) {
        reason = X509_verify_cert_error_string(verified);
    }
    (void)snprintf(tls->problem, sizeof tls->problem, "%s", reason == NULL ? otherwise : reason);
    ERR_clear_error();
}

/* What a call into SSL came to. */
enum outcome {
    OUTCOME_DONE = 0,
    OUTCOME_WAIT,   /* for more ciphertext, or for room */
    OUTCOME_CLOSED, /* close_notify */
    OUTCOME_FAILED,
};

static enum outcome judge(struct stream_tls *tls, int result) {
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_NONE:
        return OUTCOME_DONE;
    case SSL_ERROR_WANT_READ:
        return OUTCOME_WAIT;
    case SSL_ERROR_WANT_WRITE:
        tls->is_choked = true;
        return OUTCOME_WAIT;
    case SSL_ERROR_ZERO_RETURN:
        return OUTCOME_CLOSED;
    default:
        note_problem(tls, "protocol error");
        return OUTCOME_FAILED;
    }
}

static enum outcome handshake(struct stream *stream) {
    struct stream_tls *tls = stream->tls;
    clear_errors();
    int result = SSL_do_handshake(tls->ssl);
    if (result == 1) {
        stream->is_open = true;
        return OUTCOME_DONE;
    }
    return judge(tls, result);
}

/* Decrypts what is there into the shared memory. SSL holds no record that it was not asked for (it
 * does not read ahead), so once it gave some it is done when `in` and its own plaintext are. */
static enum outcome decrypt(struct stream *stream, size_t *ret_n) {
    struct stream_tls *tls = stream->tls;
    size_t n = 0;
    enum outcome outcome = OUTCOME_DONE;
    while (n < STREAM_RAW_SIZE) {
        clear_errors();
        size_t got = 0;
        int result = SSL_read_ex(tls->ssl, stream->shared->plain + n, STREAM_RAW_SIZE - n, &got);
        if (result != 1) {
            outcome = judge(tls, result);
            break;
        }
        n += got;
        if (tls->in.len == 0 && SSL_pending(tls->ssl) == 0) {
            break;
        }
    }
    *ret_n = n;
    return outcome;
}

/* close_notify was read. */
static bool is_closed(const struct stream_tls *tls) {
    return (SSL_get_shutdown(tls->ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
}

/* Before the owner may close the stream: moves what is left of `in` to memory of the stream. */
static bool keep_rest(struct stream_tls *tls) {
    bool is_kept = tls->kept.len > 0;
    mr_str rest = tls->in;
    tls->in = MR_STR_NONE;
    if (is_kept) {
        mr_buf_consume(&tls->kept, tls->kept.len - rest.len);
    } else if (mr_is_err(mr_buf_append(&tls->kept, rest.ptr, rest.len))) {
        return false;
    }
    if (tls->kept.len == 0) {
        mr_buf_done(&tls->kept);
    }
    return true;
}

static bool may_shake_hands(struct stream_shared *shared) {
    if (shared->handshakes_turn.ns != loop_now(shared->loop).ns) {
        shared->handshakes_turn = loop_now(shared->loop);
        shared->handshakes = 0;
    }
    return shared->handshakes++ < HANDSHAKES_MAX;
}

/* Pumps tls->in through SSL and gives the owner what came out. False: ended or gone. */
static bool pump(struct stream *stream) {
    struct stream_tls *tls = stream->tls;
    enum outcome outcome = OUTCOME_DONE;
    size_t n = 0;
    bool was_open = stream->is_open;
    if (!was_open) {
        outcome = handshake(stream);
    }
    if (outcome == OUTCOME_DONE) {
        outcome = decrypt(stream, &n);
    }
    bool is_short = !keep_rest(tls);
    if (mr_is_err(stream_tls_flush(stream))) {
        stream_break(stream);
    }
    stream_update_want(stream);
    if (is_short) {
        stream_end_input(stream, STREAM_END_MEMORY);
        return false;
    }
    if (!was_open && stream->is_open && !stream_call_open(stream)) {
        return false;
    }
    if (n > 0) {
        struct stream_shared *shared = stream->shared; /* the stream may be gone behind the call */
        bool goes_on = stream_deliver(stream, mr_str_of(shared->plain, n));
        mr_wipe(shared->plain, n);
        if (!goes_on) {
            return false;
        }
    }
    if (outcome == OUTCOME_FAILED) {
        stream_end_input(stream, STREAM_END_TLS);
        return false;
    }
    if (outcome == OUTCOME_CLOSED && !stream->is_paused && !stream->wants_again) {
        stream_end_input(stream, STREAM_END_EOF);
        return false;
    }
    return true; /* an end that has to wait for the owner is found again: SSL remembers it */
}

static void end_of_connection(struct stream *stream) {
    if (stream->is_open) {
        stream_end_input(stream, STREAM_END_TRUNCATED);
        return;
    }
    ERR_clear_error();
    note_problem(stream->tls, "the peer closed the connection during the handshake");
    stream_end_input(stream, STREAM_END_TLS);
}

void stream_tls_read(struct stream *stream) {
    struct stream_tls *tls = stream->tls;
    if (tls->is_choked || tls->is_failed) {
        return;
    }
    if (!stream->is_open && !may_shake_hands(stream->shared)) {
        loop_io_again(stream->shared->loop, &stream->io);
        return;
    }
    bool is_hello =
        !stream->is_open && SSL_in_before(tls->ssl) == 1 && stream_tls_is_client(stream);
    if (tls->kept.len > 0) {
        tls->in = mr_buf_view(&tls->kept);
    } else if (!is_hello && !is_closed(tls) && SSL_pending(tls->ssl) == 0) {
        /* Not SSL_has_pending: that counts the part of a record too, which only recv completes. */
        mr_err err = stream_receive(stream, &tls->in);
        if (mr_err_is(err, MR_E_CLOSED)) {
            end_of_connection(stream);
            return;
        }
        if (mr_err_is(err, MR_E_IO) || (mr_is_err(err) && stream->is_broken)) {
            stream->error = mr_err_is(err, MR_E_IO) ? errno : stream->error;
            stream_end_input(stream, STREAM_END_LOST);
            return;
        }
        if (mr_is_err(err)) {
            return;
        }
    }
    if (pump(stream)) {
        if (!stream->is_open && stream->wants_write) {
            stream_update_want(stream);
        }
        stream_tls_again(stream);
    }
}

void stream_tls_again(struct stream *stream) {
    struct stream_tls *tls = stream->tls;
    if (tls->kept.len > 0 || is_closed(tls) || (stream->is_open && SSL_pending(tls->ssl) > 0)) {
        loop_io_again(stream->shared->loop, &stream->io);
    }
}

/* What was offered and not taken yet. */
struct rest {
    const struct iovec *iov;
    int n_iov;
    size_t at; /* in the first piece */
};

static void skip(struct rest *rest, size_t n) {
    rest->at += n;
    while (rest->n_iov > 0 && rest->at >= rest->iov->iov_len) {
        rest->at -= rest->iov->iov_len;
        rest->iov++;
        rest->n_iov--;
    }
}

/* The plaintext of the next record: a piece where it lies, or several copied together. */
static mr_str next_record(const struct rest *rest, char *record) {
    mr_str first =
        mr_str_of((const char *)rest->iov->iov_base + rest->at, rest->iov->iov_len - rest->at);
    if (rest->n_iov == 1 || first.len >= ENCRYPT_STEP) {
        return mr_str_slice(first, 0, ENCRYPT_STEP);
    }
    memcpy(record, first.ptr, first.len);
    size_t len = first.len;
    for (int i = 1; i < rest->n_iov && len < ENCRYPT_STEP; i++) {
        size_t room = ENCRYPT_STEP - len;
        size_t n = rest->iov[i].iov_len < room ? rest->iov[i].iov_len : room;
        if (n > 0) {
            memcpy(record + len, rest->iov[i].iov_base, n);
            len += n;
        }
    }
    return mr_str_of(record, len);
}

mr_err stream_tls_send(struct stream *stream, const struct iovec *iov, int n_iov, size_t *ret_n) {
    struct stream_tls *tls = stream->tls;
    if (tls->is_failed || tls->said_goodbye) {
        return MR_ERR(MR_E_CLOSED);
    }
    size_t taken = 0;
    struct rest rest = {.iov = iov, .n_iov = n_iov};
    skip(&rest, 0);
    while (rest.n_iov > 0) {
        if (stream_tls_pending(stream) >= STREAM_TLS_OUT_MAX / 2) {
            MR_TRY(stream_tls_flush(stream));
            if (stream_tls_pending(stream) >= STREAM_TLS_OUT_MAX / 2) {
                break;
            }
        }
        mr_str record = next_record(&rest, tls->shared->record);
        size_t n = 0;
        clear_errors();
        int result = SSL_write_ex(tls->ssl, record.ptr, record.len, &n);
        if (record.ptr == tls->shared->record) {
            mr_wipe(tls->shared->record, record.len);
        }
        if (result != 1) {
            /* The queue had room, so only a failure or a lack of memory stops it here. */
            if (judge(tls, result) != OUTCOME_WAIT) {
                return MR_ERR(MR_E_CLOSED);
            }
            break;
        }
        skip(&rest, n);
        taken += n;
    }
    MR_TRY(stream_tls_flush(stream));
    *ret_n = taken;
    return MR_OK;
}

void stream_tls_say_goodbye(struct stream *stream) {
    struct stream_tls *tls = stream->tls;
    if (tls->said_goodbye || tls->is_failed || !stream->is_open) {
        return;
    }
    tls->said_goodbye = true;
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl);
    ERR_clear_error();
    mr_ignore(stream_tls_flush(stream), "a courtesy: the connection ends anyway");
}
