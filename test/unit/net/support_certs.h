/* Certificates made on the spot: an authority, and leaves with what a test wants to be wrong. */
#ifndef MR_TEST_SUPPORT_CERTS_H
#define MR_TEST_SUPPORT_CERTS_H

#include "base/str.h"

#define CERT_PEM_SIZE 4096

struct cert {
    char cert_pem[CERT_PEM_SIZE];
    char key_pem[CERT_PEM_SIZE];
};

struct cert_spec {
    const char *cn;
    const char *alt_names;     /* "DNS:a.example,IP:127.0.0.1"; NULL: none */
    const struct cert *issuer; /* NULL: self-signed */
    long from_s, to_s;         /* validity, seconds from now */
    bool is_ca;
};

void cert_make(const struct cert_spec *spec, struct cert *ret_cert);

#endif
