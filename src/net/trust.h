/* Whom a TLS client believes and who it says it is: profiles shared by all connections of a
 * destination. Chain and name are always verified, TLS ≥ 1.2, self-signed certificates refused
 * (unless the very certificate authority was configured). RFC 5280, RFC 6125 (subject alternative
 * names only), RFC 8446.
 *
 * A profile is immutable and reference-counted; any thread. */
#ifndef MR_NET_TRUST_H
#define MR_NET_TRUST_H

#include "base/err.h"
#include "base/str.h"

#include <openssl/ssl.h>

/* PEM text of one profile. */
#define NET_TRUST_PEM_BYTES_MAX (256 * 1024)

struct net_trust_roots; /* system store and extra_ca_file, loaded once per process */
struct net_trust;       /* a profile */

struct net_trust_problem {
    char text[256]; /* a sentence without its full stop */
};

/* Loads the system's certificate authorities and, where extra_ca_pem is present, those. Slow (some
 * 10 ms); at start. MR_E_INVALID with *ret_problem when the PEM cannot be used, MR_E_NOMEM. */
mr_err net_trust_roots_new(mr_str extra_ca_pem, struct net_trust_roots **ret_roots,
                           struct net_trust_problem *ret_problem);
void net_trust_roots_free(struct net_trust_roots *roots);

struct net_trust_spec {
    mr_str ca_pem;   /* present: only these authorities are believed, not the roots */
    mr_str cert_pem; /* client certificate and its chain; absent: none */
    mr_str key_pem;  /* its private key, unencrypted; with cert_pem only */
};

/* A profile. spec may be NULL: the roots, no client certificate. Keeps what it needs of roots and
 * spec. The caller gets one reference. MR_E_INVALID with *ret_problem (what is wrong with which
 * PEM), MR_E_NOMEM. */
mr_err net_trust_new(struct net_trust_roots *roots, const struct net_trust_spec *spec,
                     struct net_trust **ret_trust, struct net_trust_problem *ret_problem);
struct net_trust *net_trust_ref(struct net_trust *trust);
/* NULL is fine. */
void net_trust_unref(struct net_trust *trust);
/* Unique in this process: part of the pool key, so that changed settings never meet an old
 * connection or session. */
uint64_t net_trust_id(const struct net_trust *trust);

/* Who wants to keep the sessions that a server offers. */
struct net_trust_keeper {
    /* The callee takes the reference. TLS 1.3: some time after the handshake; perhaps twice. */
    void (*on_session)(struct net_trust_keeper *keeper, SSL_SESSION *session);
};

/* A client-side SSL that verifies host, a name (also sent as SNI) or a literal address without
 * brackets. session (may be NULL) is tried. keeper (may be NULL) and the profile must outlive the
 * SSL, which the caller frees. NULL without memory. */
SSL *net_trust_ssl_new(const struct net_trust *trust, mr_str host, SSL_SESSION *session,
                       struct net_trust_keeper *keeper);

/* After a failed handshake: says why in words for the owner of the destination, from what the
 * verification found, else from library_text (the reason that OpenSSL gave; may be absent). host as
 * in the URL. */
void net_trust_explain(const SSL *ssl, mr_str host, mr_str library_text,
                       struct net_trust_problem *ret_problem);
/* After a successful one: "TLSv1.3, TLS_AES_256_GCM_SHA384, certificate for a.example, valid until
 * 2026-01-31". */
void net_trust_describe(const SSL *ssl, struct net_trust_problem *ret_text);

#endif
