/* Checks on certificates and keys in PEM form that customers configure. Any thread; does not
 * block, except that OpenSSL allocates. */
#ifndef MR_CRYPTO_PEM_H
#define MR_CRYPTO_PEM_H

#include "base/err.h"
#include "base/str.h"

/* One or more X.509 certificates and nothing else but comments; *ret_n how many. MR_E_INVALID;
 * MR_E_LIMIT above 64. */
mr_err pem_check_certificates(mr_str pem, size_t *ret_n);
/* One unencrypted private key. MR_E_INVALID. */
mr_err pem_check_private_key(mr_str pem);
/* The key is that of the first certificate. MR_E_INVALID where it is not. */
mr_err pem_check_pair(mr_str certificates_pem, mr_str key_pem);

#endif
