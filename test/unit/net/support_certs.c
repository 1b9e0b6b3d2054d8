/* See support_certs.h. Asserts instead of errors: a test that cannot make its certificates is
 * broken. */
#include "support_certs.h"

#include "base/err.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

static void to_text(BIO *bio, char out[CERT_PEM_SIZE]) {
    int n = BIO_read(bio, out, CERT_PEM_SIZE - 1);
    MR_ASSERT(n > 0);
    out[n] = '\0';
    BIO_free(bio);
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    MR_ASSERT(extension != NULL && X509_add_ext(cert, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

void cert_make(const struct cert_spec *spec, struct cert *ret_cert) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    MR_ASSERT(key != NULL && cert != NULL);
    X509 *issuer = cert;
    EVP_PKEY *issuer_key = key;
    if (spec->issuer != NULL) {
        BIO *bio = BIO_new_mem_buf(spec->issuer->cert_pem, -1);
        issuer = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        BIO_free(bio);
        bio = BIO_new_mem_buf(spec->issuer->key_pem, -1);
        issuer_key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
        BIO_free(bio);
        MR_ASSERT(issuer != NULL && issuer_key != NULL);
    }
    static long serial = 1;
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(cert), spec->from_s);
    X509_gmtime_adj(X509_getm_notAfter(cert), spec->to_s);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)spec->cn, -1, -1,
                               0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer));
    X509_set_pubkey(cert, key);
    if (spec->is_ca) {
        add_extension(cert, issuer, NID_basic_constraints, "critical,CA:TRUE");
        add_extension(cert, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
    }
    if (spec->alt_names != NULL) {
        add_extension(cert, issuer, NID_subject_alt_name, spec->alt_names);
    }
    MR_ASSERT(X509_sign(cert, issuer_key, EVP_sha256()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, cert);
    to_text(bio, ret_cert->cert_pem);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    to_text(bio, ret_cert->key_pem);
    if (spec->issuer != NULL) {
        X509_free(issuer);
        EVP_PKEY_free(issuer_key);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
}
