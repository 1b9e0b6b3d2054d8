/* Certificates and keys that customers configure for their destinations. They are read here once,
 * so that a typing error is told when it is made and not at the next delivery; the TLS profile
 * reads them again when it is built.
 *
 * An encrypted key is refused: there is nobody to ask for its passphrase, and OpenSSL would ask on
 * the terminal, which is why every call gets a callback that answers with none. */
#include "crypto/pem.h"

#include "crypto/secret.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#define CERTIFICATES_MAX 64

static int no_passphrase(char *buf, int size, int rwflag, void *ctx) {
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)ctx;
    return -1;
}

static BIO *bio_of(mr_str pem) {
    if (pem.len == 0 || pem.len > INT32_MAX) {
        return NULL;
    }
    return BIO_new_mem_buf(pem.ptr, (int)pem.len);
}

/* The first certificate goes to *ret_first (may be NULL). */
static mr_err read_certificates(mr_str pem, size_t *ret_n, X509 **ret_first) {
    BIO *bio = bio_of(pem);
    if (bio == NULL) {
        return MR_ERR(MR_E_INVALID);
    }
    size_t n = 0;
    X509 *first = NULL;
    mr_err err = MR_OK;
    for (;;) {
        X509 *certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
        if (certificate == NULL) {
            break;
        }
        n++;
        if (first == NULL) {
            first = certificate;
        } else {
            X509_free(certificate);
        }
        if (n > CERTIFICATES_MAX) {
            err = MR_ERR(MR_E_LIMIT);
            break;
        }
    }
    /* The end is told by "no start line"; any other error is a damaged certificate. */
    unsigned long last = ERR_peek_last_error();
    bool at_end = ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    BIO_free(bio);
    if (mr_is_ok(err) && (n == 0 || !at_end)) {
        err = MR_ERR(MR_E_INVALID);
    }
    if (mr_is_ok(err) && ret_first != NULL) {
        *ret_first = first;
    } else {
        X509_free(first);
    }
    if (mr_is_ok(err)) {
        *ret_n = n;
    }
    return err;
}

static EVP_PKEY *read_key(mr_str pem) {
    BIO *bio = bio_of(pem);
    if (bio == NULL) {
        return NULL;
    }
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    ERR_clear_error();
    BIO_free(bio);
    return key;
}

mr_err pem_check_certificates(mr_str pem, size_t *ret_n) {
    return read_certificates(pem, ret_n, NULL);
}

mr_err pem_check_private_key(mr_str pem) {
    EVP_PKEY *key = read_key(pem);
    if (key == NULL) {
        return MR_ERR(MR_E_INVALID);
    }
    EVP_PKEY_free(key);
    return MR_OK;
}

mr_err pem_check_pair(mr_str certificates_pem, mr_str key_pem) {
    X509 *certificate = NULL;
    size_t n = 0;
    MR_TRY(read_certificates(certificates_pem, &n, &certificate));
    EVP_PKEY *key = read_key(key_pem);
    bool is_pair = key != NULL && X509_check_private_key(certificate, key) == 1;
    ERR_clear_error();
    EVP_PKEY_free(key);
    X509_free(certificate);
    return is_pair ? MR_OK : MR_ERR(MR_E_INVALID);
}
