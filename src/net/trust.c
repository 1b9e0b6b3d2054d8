/* Trust profiles of TLS clients.
 *
 * A profile is an SSL_CTX: what is believed (an X509_STORE), who we are (a client certificate), and
 * the callbacks. The store of the system's authorities is large, so it is made once and shared by
 * all profiles that have no authorities of their own. A destination with `ca_pem` believes that
 * alone: whoever names its own authority does not want a public one to vouch for the endpoint too.
 * Its authorities may be intermediate ones (X509_V_FLAG_PARTIAL_CHAIN), but each certificate given
 * must be an authority's: otherwise a leaf would be pinned by mistake and fail at its next renewal.
 *
 * Names: subject alternative names only, no partial wildcards (f*.example), as browsers do.
 *
 * Why a verification failed is known only while it fails: OpenSSL does not keep the peer's
 * certificate of a refused handshake. So each SSL carries a small record (struct peer, as ex_data,
 * freed with the SSL) in which the verify callback notes error, depth and certificate. Its index
 * and those of the contexts are process-wide in OpenSSL; they are taken once, with the roots, and
 * remembered by each profile instead of in a file-scope variable.
 *
 * Sessions: OpenSSL keeps none (its cache could hand one to another destination). The callback
 * gives each to the keeper of that SSL, which is the pool key's. */
#include "net/trust.h"

#include "base/mem.h"
#include "base/time.h"
#include "net/tls.h"
#include "os/socket.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct net_trust_roots {
    X509_STORE *store; /* owned */
    int peer_index;
    _Atomic uint64_t next_id;
};

struct net_trust {
    _Atomic uint32_t refs;
    uint64_t id;
    int peer_index;
    SSL_CTX *ctx; /* owned; its app data is this struct */
};

/* What one SSL remembers. Owned by it. */
struct peer {
    struct net_trust_keeper *keeper; /* NULL: nobody */
    X509 *failed;                    /* the certificate that failed; owned; NULL */
    int error;                       /* X509_V_… of it */
    int depth;                       /* 0: the server's own */
};

static void peer_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index, long argl,
                      void *argp) {
    (void)parent;
    (void)ad;
    (void)index;
    (void)argl;
    (void)argp;
    struct peer *peer = ptr;
    if (peer != NULL) {
        X509_free(peer->failed);
        mr_free(peer);
    }
}

static void problem_set(struct net_trust_problem *problem, const char *what, const char *why) {
    snprintf(problem->text, sizeof problem->text, "%s: %s", what, why);
}

/* Adds every certificate of a PEM text. Each must be an authority's. */
static mr_err add_authorities(X509_STORE *store, mr_str pem, const char *what,
                              struct net_trust_problem *problem) {
    if (pem.len > NET_TRUST_PEM_BYTES_MAX) {
        problem_set(problem, what, "it is longer than 256 KiB");
        return MR_ERR(MR_E_INVALID);
    }
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    if (bio == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_err err = MR_OK;
    size_t n = 0;
    X509 *cert;
    ERR_clear_error();
    while (mr_is_ok(err) && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        n++;
        if (X509_check_ca(cert) == 0) {
            problem_set(problem, what, "it holds a certificate that is not an authority's");
            err = MR_ERR(MR_E_INVALID);
        } else if (X509_STORE_add_cert(store, cert) != 1) {
            err = MR_ERR(MR_E_NOMEM);
        }
        X509_free(cert);
    }
    unsigned long last = ERR_peek_last_error();
    bool is_end = ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
    if (mr_is_ok(err) && (n == 0 || !is_end)) {
        problem_set(problem, what, n == 0 ? "it holds no PEM certificate" : "it is damaged");
        err = MR_ERR(MR_E_INVALID);
    }
    ERR_clear_error();
    BIO_free(bio);
    return err;
}

mr_err net_trust_roots_new(mr_str extra_ca_pem, struct net_trust_roots **ret_roots,
                           struct net_trust_problem *ret_problem) {
    struct net_trust_roots *roots = MR_NEW(struct net_trust_roots);
    if (roots == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    atomic_init(&roots->next_id, 1);
    roots->store = X509_STORE_new();
    roots->peer_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, peer_free);
    mr_err err = MR_OK;
    if (roots->store == NULL || roots->peer_index < 0 ||
        X509_STORE_set_default_paths(roots->store) != 1) {
        err = MR_ERR(MR_E_NOMEM);
    } else if (!mr_str_is_absent(extra_ca_pem)) {
        err = add_authorities(roots->store, extra_ca_pem, "extra_ca_file", ret_problem);
    }
    if (mr_is_err(err)) {
        net_trust_roots_free(roots);
        return err;
    }
    *ret_roots = roots;
    return MR_OK;
}

void net_trust_roots_free(struct net_trust_roots *roots) {
    if (roots != NULL) {
        X509_STORE_free(roots->store);
        mr_free(roots);
    }
}

static struct peer *peer_of(const SSL *ssl) {
    const struct net_trust *trust = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    return SSL_get_ex_data(ssl, trust->peer_index);
}

/* Notes the first failure. Never overrules OpenSSL's judgement. */
static int on_verify(int is_ok, X509_STORE_CTX *ctx) {
    if (is_ok) {
        return is_ok;
    }
    const SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct peer *peer = peer_of(ssl);
    if (peer != NULL && peer->error == X509_V_OK) {
        peer->error = X509_STORE_CTX_get_error(ctx);
        peer->depth = X509_STORE_CTX_get_error_depth(ctx);
        X509 *cert = X509_STORE_CTX_get_current_cert(ctx);
        if (cert != NULL && X509_up_ref(cert) == 1) {
            peer->failed = cert;
        }
    }
    return is_ok;
}

/* 1: the reference was taken. */
static int on_session(SSL *ssl, SSL_SESSION *session) {
    struct peer *peer = peer_of(ssl);
    if (peer == NULL || peer->keeper == NULL || SSL_SESSION_is_resumable(session) != 1) {
        return 0;
    }
    peer->keeper->on_session(peer->keeper, session);
    return 1;
}

static mr_err use_store(struct net_trust *trust, const struct net_trust_roots *roots, mr_str ca_pem,
                        struct net_trust_problem *problem) {
    if (mr_str_is_absent(ca_pem)) {
        SSL_CTX_set1_cert_store(trust->ctx, roots->store);
        return MR_OK;
    }
    X509_STORE *store = X509_STORE_new();
    if (store == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    SSL_CTX_set_cert_store(trust->ctx, store); /* takes it */
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    return add_authorities(store, ca_pem, "ca_pem", problem);
}

static mr_err use_identity(struct net_trust *trust, const struct net_trust_spec *spec,
                           struct net_trust_problem *problem) {
    if (mr_str_is_absent(spec->cert_pem) != mr_str_is_absent(spec->key_pem)) {
        problem_set(problem, "client_cert_pem and client_key_pem",
                    "one is given without the other");
        return MR_ERR(MR_E_INVALID);
    }
    if (mr_str_is_absent(spec->cert_pem)) {
        return MR_OK;
    }
    mr_buf why;
    mr_buf_init(&why, 160);
    mr_err err = tls_use_identity(trust->ctx, spec->cert_pem, spec->key_pem, &why);
    if (mr_is_err(err) && !mr_err_is(err, MR_E_NOMEM)) {
        snprintf(problem->text, sizeof problem->text, "%s: %.*s",
                 mr_err_is(err, NET_E_TLS_KEY) ? "client_key_pem" : "client_cert_pem",
                 MR_FMT(mr_buf_view(&why)));
        err = MR_ERR(MR_E_INVALID);
    }
    mr_buf_done(&why);
    return err;
}

mr_err net_trust_new(struct net_trust_roots *roots, const struct net_trust_spec *spec,
                     struct net_trust **ret_trust, struct net_trust_problem *ret_problem) {
    static const struct net_trust_spec none = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    const struct net_trust_spec *use = spec != NULL ? spec : &none;
    struct net_trust *trust = MR_NEW(struct net_trust);
    if (trust == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    atomic_init(&trust->refs, 1);
    trust->peer_index = roots->peer_index;
    trust->id = atomic_fetch_add(&roots->next_id, 1);
    mr_err err = tls_client_context(&trust->ctx);
    if (mr_is_ok(err)) {
        SSL_CTX_set_app_data(trust->ctx, trust);
        SSL_CTX_set_verify(trust->ctx, SSL_VERIFY_PEER, on_verify);
        SSL_CTX_set_session_cache_mode(trust->ctx,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(trust->ctx, on_session);
        err = use_store(trust, roots, use->ca_pem, ret_problem);
    }
    if (mr_is_ok(err)) {
        err = use_identity(trust, use, ret_problem);
    }
    if (mr_is_err(err)) {
        net_trust_unref(trust);
        return err;
    }
    *ret_trust = trust;
    return MR_OK;
}

struct net_trust *net_trust_ref(struct net_trust *trust) {
    uint32_t before = atomic_fetch_add_explicit(&trust->refs, 1, memory_order_relaxed);
    MR_ASSERT(before > 0 && before < UINT32_MAX);
    return trust;
}

void net_trust_unref(struct net_trust *trust) {
    if (trust == NULL || atomic_fetch_sub_explicit(&trust->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    SSL_CTX_free(trust->ctx);
    mr_free(trust);
}

uint64_t net_trust_id(const struct net_trust *trust) {
    return trust->id;
}

SSL *net_trust_ssl_new(const struct net_trust *trust, mr_str host, SSL_SESSION *session,
                       struct net_trust_keeper *keeper) {
    SSL *ssl = tls_connect_new(trust->ctx, host);
    if (ssl == NULL) {
        return NULL;
    }
    struct peer *peer = MR_NEW(struct peer);
    if (peer == NULL || SSL_set_ex_data(ssl, trust->peer_index, peer) != 1) {
        mr_free(peer);
        SSL_free(ssl);
        return NULL;
    }
    peer->keeper = keeper;
    SSL_set_hostflags(ssl,
                      X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (session != NULL && SSL_set_session(ssl, session) != 1) {
        /* A session that does not fit: a full handshake is made. */
        ERR_clear_error();
    }
    return ssl;
}

/* 2026-01-31; "?" where the certificate holds nonsense. */
static void format_day(const ASN1_TIME *at, char *out, size_t out_size) {
    struct tm tm;
    if (at == NULL || ASN1_TIME_to_tm(at, &tm) != 1) {
        snprintf(out, out_size, "?");
        return;
    }
    snprintf(out, out_size, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
}

/* Copies what may stand in a log or on a page: a certificate's text is the peer's word. */
static void copy_printable(mr_str from, char *out, size_t out_size) {
    size_t n = from.len < out_size - 1 ? from.len : out_size - 1;
    for (size_t i = 0; i < n; i++) {
        out[i] = from.ptr[i] > ' ' && from.ptr[i] < 0x7f ? from.ptr[i] : '_';
    }
    out[n] = '\0';
}

/* Organisation or common name of the issuer or subject. */
static void format_name(const X509_NAME *name, char *out, size_t out_size) {
    snprintf(out, out_size, "an unnamed authority");
    static const int nids[] = {NID_commonName, NID_organizationName};
    for (size_t i = 0; i < sizeof nids / sizeof *nids; i++) {
        int at = name != NULL ? X509_NAME_get_index_by_NID(name, nids[i], -1) : -1;
        if (at < 0) {
            continue;
        }
        const ASN1_STRING *text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
        mr_str raw =
            mr_str_of((const char *)ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
        size_t n = raw.len < out_size - 1 ? raw.len : out_size - 1;
        for (size_t k = 0; k < n; k++) {
            out[k] = raw.ptr[k] >= ' ' && raw.ptr[k] < 0x7f ? raw.ptr[k] : '_';
        }
        out[n] = '\0';
        return;
    }
}

/* "a.example, *.b.example and 3 more": the names that a certificate is for. */
static void format_alt_names(const X509 *cert, char *out, size_t out_size) {
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int total = names != NULL ? sk_GENERAL_NAME_num(names) : 0;
    int shown = 0;
    size_t len = 0;
    out[0] = '\0';
    for (int i = 0; i < total && shown < 3; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        char one[72] = "";
        if (name->type == GEN_DNS) {
            const ASN1_STRING *text = name->d.dNSName;
            copy_printable(mr_str_of((const char *)ASN1_STRING_get0_data(text),
                                     (size_t)ASN1_STRING_length(text)),
                           one, sizeof one - 8);
        } else if (name->type == GEN_IPADD) {
            const ASN1_OCTET_STRING *ip = name->d.iPAddress;
            int n = ASN1_STRING_length(ip);
            os_addr addr = {.family = n == 4 ? OS_FAMILY_V4 : OS_FAMILY_V6};
            char text[OS_ADDR_TEXT_SIZE];
            if (n == 4 || n == 16) {
                memcpy(addr.ip, ASN1_STRING_get0_data(ip), (size_t)n);
                os_addr_format_ip(&addr, text);
                snprintf(one, sizeof one, "%.60s", text);
            }
        }
        size_t one_len = strlen(one);
        if (one_len > 0 && len + one_len + 3 < out_size) {
            len += (size_t)snprintf(out + len, out_size - len, "%s%s", shown > 0 ? ", " : "", one);
            shown++;
        }
    }
    if (shown == 0) {
        snprintf(out, out_size, "no name at all");
    } else if (total > shown && len + 16 < out_size) {
        snprintf(out + len, out_size - len, " and %d more", total - shown);
    }
    GENERAL_NAMES_free(names);
}

/* Failures that speak of a date. */
static void explain_date(const struct peer *peer, bool is_expired, char *out, size_t out_size) {
    char day[40] = "?";
    char name[96] = "";
    if (peer->failed != NULL) {
        format_day(is_expired ? X509_get0_notAfter(peer->failed)
                              : X509_get0_notBefore(peer->failed),
                   day, sizeof day);
        format_name(X509_get_subject_name(peer->failed), name, sizeof name);
    }
    if (peer->depth == 0) {
        snprintf(out, out_size, "the certificate %s %s",
                 is_expired ? "expired on" : "is not valid before", day);
    } else {
        snprintf(out, out_size, "the certificate of the authority %s %s %s", name,
                 is_expired ? "expired on" : "is not valid before", day);
    }
}

static void explain_issuer(const struct peer *peer, char *out, size_t out_size) {
    char issuer[96];
    format_name(peer->failed != NULL ? X509_get_issuer_name(peer->failed) : NULL, issuer,
                sizeof issuer);
    snprintf(out, out_size,
             "the certificate was issued by %s, which is not trusted here, or the server does not "
             "send its intermediate certificates",
             issuer);
}

static void explain_mismatch(const struct peer *peer, mr_str host, char *out, size_t out_size) {
    char names[144] = "another name";
    if (peer->failed != NULL) {
        format_alt_names(peer->failed, names, sizeof names);
    }
    mr_str shown = mr_str_slice(host, 0, 80);
    snprintf(out, out_size, "the certificate is for %s, the URL says %.*s", names, MR_FMT(shown));
}

static void explain_verification(const struct peer *peer, mr_str host, char *out, size_t out_size) {
    switch (peer->error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        explain_date(peer, true, out, out_size);
        return;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        explain_date(peer, false, out, out_size);
        return;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        snprintf(out, out_size, "the certificate is self-signed");
        return;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        explain_issuer(peer, out, out_size);
        return;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        explain_mismatch(peer, host, out, out_size);
        return;
    case X509_V_ERR_INVALID_PURPOSE:
        snprintf(out, out_size, "the certificate is not meant for a server");
        return;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
        snprintf(out, out_size,
                 "a certificate of the chain has a key or signature that is too weak");
        return;
    }
    snprintf(out, out_size, "the certificate cannot be verified: %.120s",
             X509_verify_cert_error_string(peer->error));
}

/* What the library's reasons mean to the owner of a server. */
static const struct {
    const char *reason; /* part of OpenSSL's text */
    const char *text;
} library_reasons[] = {
    {"wrong version number", "the server does not speak TLS on this port"},
    {"http request", "the server does not speak TLS on this port"},
    {"packet length too long", "the server does not speak TLS on this port"},
    {"unsupported protocol", "the server offers no TLS version from 1.2 on"},
    {"alert protocol version", "the server offers no TLS version from 1.2 on"},
    {"alert handshake failure",
     "the server refused the handshake: no cipher in common, or it asks for a client certificate"},
    {"certificate required", "the server asks for a client certificate; set client_cert_pem"},
    {"alert unknown ca", "the server does not trust the client certificate's authority"},
    {"alert bad certificate", "the server refused the client certificate"},
    {"alert certificate", "the server refused the client certificate"},
    {"unrecognized name", "the server does not know this host name"},
    {"unexpected eof", "the server closed the connection during the handshake"},
    {"dh key too small", "the server's Diffie-Hellman key is too small"},
    {"wrong signature type", "the server signs in a way that is too weak"},
};

void net_trust_explain(const SSL *ssl, mr_str host, mr_str library_text,
                       struct net_trust_problem *ret_problem) {
    char *out = ret_problem->text;
    size_t out_size = sizeof ret_problem->text;
    const struct peer *peer = ssl != NULL ? peer_of(ssl) : NULL;
    if (peer != NULL && peer->error != X509_V_OK) {
        explain_verification(peer, host, out, out_size);
        return;
    }
    for (size_t i = 0; i < sizeof library_reasons / sizeof *library_reasons; i++) {
        if (mr_str_find(library_text, mr_str_c(library_reasons[i].reason)) != SIZE_MAX) {
            snprintf(out, out_size, "%s", library_reasons[i].text);
            return;
        }
    }
    if (library_text.len > 0) {
        snprintf(out, out_size, "the TLS handshake failed: %.*s",
                 (int)(library_text.len < 160 ? library_text.len : 160), library_text.ptr);
    } else {
        snprintf(out, out_size, "the server ended the TLS handshake without a reason");
    }
}

void net_trust_describe(const SSL *ssl, struct net_trust_problem *ret_text) {
    char day[40] = "?";
    char names[112] = "an unknown name";
    const X509 *cert = SSL_get0_peer_certificate(ssl);
    if (cert != NULL) {
        format_day(X509_get0_notAfter(cert), day, sizeof day);
        format_alt_names(cert, names, sizeof names);
    }
    snprintf(ret_text->text, sizeof ret_text->text,
             "%.12s, %.40s, certificate for %s, valid until %s%s", SSL_get_version(ssl),
             SSL_get_cipher_name(ssl), names, day,
             SSL_session_reused(ssl) == 1 ? ", session resumed" : "");
}
