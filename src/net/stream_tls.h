/* The TLS half of a stream, and what it needs of the other half. Only stream.c and stream_tls.c
 * include this; on the loop's thread, never blocking. See stream.h for what the owner sees.
 * Functions that return false say: the stream is gone or ended, touch nothing. */
#ifndef MR_NET_STREAM_TLS_H
#define MR_NET_STREAM_TLS_H

#include "net/stream.h"

/* Of stream.c. */
/* Gives bytes (and what was unused before them) to the owner, keeps the rest. False: ended, gone.
 */
bool stream_deliver(struct stream *stream, mr_str bytes);
/* One recv into the shared memory; errors of os_recv. */
mr_err stream_receive(struct stream *stream, mr_str *ret_bytes);
/* Ends the input, once. The stream may be gone afterwards. */
void stream_end_input(struct stream *stream, enum stream_end how);
/* Sending failed; errno says why. */
void stream_break(struct stream *stream);
bool stream_call_open(struct stream *stream);
void stream_update_want(struct stream *stream);

/* Of stream_tls.c. */
/* TLS' part of what a thread's streams share. MR_E_NOMEM; done is due then too. */
mr_err stream_tls_shared_init(struct stream_shared *shared);
void stream_tls_shared_done(struct stream_shared *shared);
/* Sets stream->tls. Takes over ssl, also on error (MR_E_NOMEM). */
mr_err stream_tls_new(struct stream *stream, SSL *ssl);
/* Harmless without TLS. */
void stream_tls_free(struct stream *stream);
bool stream_tls_is_client(const struct stream *stream);
/* One turn of input. The stream may be gone afterwards. */
void stream_tls_read(struct stream *stream);
/* Reads on in the next turn where ciphertext or plaintext waits inside. */
void stream_tls_again(struct stream *stream);
/* Nothing is read until the kernel took some of what waits. */
bool stream_tls_is_choked(const struct stream *stream);
/* Encrypts and sends; MR_E_CLOSED when the connection is lost, MR_E_NOMEM. */
mr_err stream_tls_send(struct stream *stream, const struct iovec *iov, int n_iov, size_t *ret_n);
/* Sends what is encrypted, as far as the kernel takes it. */
mr_err stream_tls_flush(struct stream *stream);
size_t stream_tls_pending(const struct stream *stream);
/* close_notify, once, as far as the kernel takes it now. */
void stream_tls_say_goodbye(struct stream *stream);
SSL *stream_tls_ssl(const struct stream *stream);
mr_str stream_tls_problem_text(const struct stream *stream);

#endif
