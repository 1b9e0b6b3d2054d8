/* TLS contexts. See tls.h.
 *
 * Everything comes from memory as PEM; nothing here opens files. A key with a pass phrase is
 * refused instead of prompted for. What trust means (authorities, names) is set on top by
 * net/trust. */
#include "net/tls.h"

#include "os/socket.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static const unsigned char alpn_http11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

void tls_problem_take(mr_buf *out) {
    unsigned long code = ERR_get_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    mr_str text = reason == NULL ? MR_STR("unknown error") : mr_str_c(reason);
    mr_ignore(mr_buf_str(out, text), "a reason that does not fit is left out");
    ERR_clear_error();
}

static mr_err fail(mr_buf *problem, uint32_t code) {
    if (problem != NULL) {
        tls_problem_take(problem);
    }
    ERR_clear_error();
    return MR_ERR(code);
}

static int refuse_pass_phrase(char *buf, int size, int rwflag, void *ctx) {
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)ctx;
    return -1;
}

static BIO *bio_of(mr_str pem) {
    if (pem.len > INT_MAX || mr_str_is_absent(pem)) {
        return NULL;
    }
    return BIO_new_mem_buf(pem.ptr, (int)pem.len);
}

static mr_err use_chain(SSL_CTX *ctx, BIO *bio) {
    X509 *cert = PEM_read_bio_X509_AUX(bio, NULL, refuse_pass_phrase, NULL);
    if (cert == NULL) {
        return MR_ERR(NET_E_TLS_CERT);
    }
    int is_used = SSL_CTX_use_certificate(ctx, cert);
    X509_free(cert);
    if (is_used != 1) {
        return MR_ERR(NET_E_TLS_CERT);
    }
    SSL_CTX_clear_chain_certs(ctx);
    while ((cert = PEM_read_bio_X509(bio, NULL, refuse_pass_phrase, NULL)) != NULL) {
        if (SSL_CTX_add0_chain_cert(ctx, cert) != 1) {
            X509_free(cert);
            return MR_ERR(NET_E_TLS_CERT);
        }
    }
    unsigned long code = ERR_peek_last_error();
    if (ERR_GET_LIB(code) != ERR_LIB_PEM || ERR_GET_REASON(code) != PEM_R_NO_START_LINE) {
        return MR_ERR(NET_E_TLS_CERT);
    }
    ERR_clear_error(); /* the end of the chain, told as an error */
    return MR_OK;
}

static mr_err use_key(SSL_CTX *ctx, BIO *bio) {
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, refuse_pass_phrase, NULL);
    if (key == NULL) {
        return MR_ERR(NET_E_TLS_KEY);
    }
    int is_used = SSL_CTX_use_PrivateKey(ctx, key);
    EVP_PKEY_free(key);
    if (is_used != 1 || SSL_CTX_check_private_key(ctx) != 1) {
        return MR_ERR(NET_E_TLS_KEY);
    }
    return MR_OK;
}

mr_err tls_use_identity(SSL_CTX *ctx, mr_str chain_pem, mr_str key_pem, mr_buf *problem) {
    ERR_clear_error();
    BIO *bio = bio_of(chain_pem);
    if (bio == NULL) {
        return fail(problem, NET_E_TLS_CERT);
    }
    mr_err err = use_chain(ctx, bio);
    BIO_free(bio);
    if (mr_is_err(err)) {
        return fail(problem, err.code);
    }
    bio = bio_of(key_pem);
    if (bio == NULL) {
        return fail(problem, NET_E_TLS_KEY);
    }
    err = use_key(ctx, bio);
    BIO_free(bio);
    return mr_is_err(err) ? fail(problem, err.code) : MR_OK;
}

static SSL_CTX *new_context(const SSL_METHOD *method) {
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (ctx == NULL) {
        ERR_clear_error();
        return NULL;
    }
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1) {
        SSL_CTX_free(ctx);
        ERR_clear_error();
        return NULL;
    }
    SSL_CTX_set_options(ctx,
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_max_early_data(ctx, 0);
    return ctx;
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg) {
    (void)ssl;
    (void)arg;
    for (unsigned at = 0; at < in_len; at += 1U + in[at]) {
        unsigned len = in[at];
        if (len > in_len - at - 1) {
            break;
        }
        if (len == alpn_http11[0] && memcmp(in + at + 1, alpn_http11 + 1, len) == 0) {
            *out = in + at + 1;
            *out_len = (unsigned char)len;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 §3.2: no protocol in common */
}

mr_err tls_server_context(mr_str chain_pem, mr_str key_pem, mr_buf *problem, SSL_CTX **ret_ctx) {
    SSL_CTX *ctx = new_context(TLS_server_method());
    if (ctx == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_err err = tls_use_identity(ctx, chain_pem, key_pem, problem);
    if (mr_is_err(err)) {
        SSL_CTX_free(ctx);
        return err;
    }
    static const unsigned char id_context[] = "millrace";
    if (SSL_CTX_set_session_id_context(ctx, id_context, sizeof id_context - 1) != 1 ||
        SSL_CTX_set_num_tickets(ctx, 1) != 1) {
        SSL_CTX_free(ctx);
        return fail(problem, NET_E_TLS_SETUP);
    }
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* Tickets carry the sessions: nothing grows on this side. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);
    *ret_ctx = ctx;
    return MR_OK;
}

mr_err tls_client_context(SSL_CTX **ret_ctx) {
    SSL_CTX *ctx = new_context(TLS_client_method());
    if (ctx == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    *ret_ctx = ctx;
    return MR_OK;
}

SSL *tls_accept_new(SSL_CTX *ctx) {
    SSL *ssl = SSL_new(ctx);
    if (ssl != NULL) {
        SSL_set_accept_state(ssl);
    } else {
        ERR_clear_error();
    }
    return ssl;
}

static bool expect_peer(SSL *ssl, mr_str server_name) {
    char name[256];
    os_addr ip;
    if (server_name.len == 0 || !mr_str_to_c(server_name, name, sizeof name)) {
        return false;
    }
    if (SSL_set_alpn_protos(ssl, alpn_http11, sizeof alpn_http11) != 0) {
        return false;
    }
    if (mr_is_ok(os_addr_parse_ip(server_name, &ip))) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

SSL *tls_connect_new(SSL_CTX *ctx, mr_str server_name) {
    SSL *ssl = SSL_new(ctx);
    if (ssl != NULL) {
        SSL_set_connect_state(ssl);
        if (!expect_peer(ssl, server_name)) {
            SSL_free(ssl);
            ssl = NULL;
        }
    }
    ERR_clear_error();
    return ssl;
}
