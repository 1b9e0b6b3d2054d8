/* SSL_CTX objects with what holds for every use of TLS here: version 1.2 or newer, no compression,
 * no renegotiation, no early data, buffers released when idle, partial and moving writes. What is
 * trusted is not decided here (net/trust). Contexts may be shared by threads once set up. */
#ifndef MR_NET_TLS_H
#define MR_NET_TLS_H

#include "base/err.h"
#include "base/buf.h"
#include "base/str.h"

#include <openssl/types.h>

enum net_tls_err {
    NET_E_TLS_CERT = MR_ERR_CODE(MR_ROOM_NET, 64), /* certificate chain unreadable */
    NET_E_TLS_KEY,                                 /* key unreadable, or not of the certificate */
    NET_E_TLS_SETUP,                               /* the library refused a setting */
};

/* A server's context from a PEM chain (own certificate first) and its PEM key, not encrypted. ALPN
 * http/1.1 is chosen where offered. Session tickets on. problem (may be NULL) gets the library's
 * reason. Freed with SSL_CTX_free. MR_E_NOMEM, NET_E_TLS_…. */
mr_err tls_server_context(mr_str chain_pem, mr_str key_pem, mr_buf *problem, SSL_CTX **ret_ctx);
/* A client's context that trusts nobody yet and verifies the peer (SSL_VERIFY_PEER). Session cache
 * off (the caller keeps sessions). MR_E_NOMEM. */
mr_err tls_client_context(SSL_CTX **ret_ctx);
/* Uses a certificate chain and key in either kind of context. */
mr_err tls_use_identity(SSL_CTX *ctx, mr_str chain_pem, mr_str key_pem, mr_buf *problem);
/* SSL in accept state for a stream. NULL without memory. */
SSL *tls_accept_new(SSL_CTX *ctx);
/* SSL in connect state that asks for server_name (SNI, unless it is an IP literal) and verifies the
 * certificate against it (name or IP). ALPN http/1.1 offered. NULL without memory. */
SSL *tls_connect_new(SSL_CTX *ctx, mr_str server_name);
/* Appends the oldest reason in this thread's OpenSSL error queue ("unknown error" when empty) and
 * empties the queue. */
void tls_problem_take(mr_buf *out);

#endif
