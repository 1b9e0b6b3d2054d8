/* Signatures of webhook requests. KORE's: lower-case hex SHA-256 of secret + METHOD + URL + body
 * (KORE, "Validate webhook signatures"). Standard Webhooks: HMAC-SHA256 (`v1,`) and Ed25519
 * (`v1a,`) of id.timestamp.body (standard-webhooks specification 1.0). */
#ifndef MR_SINK_SIGNATURE_H
#define MR_SINK_SIGNATURE_H

#include "base/buf.h"
#include "crypto/ed25519.h"
#include "crypto/hash.h"
#include "crypto/secret.h"

#define SIGNATURE_HEX_LEN 64

/* The part of a configured URL that is signed: up to the first '?' or '#', unchanged. */
mr_str signature_url_part(mr_str url);

/* KORE's signature over the n_body parts one after the other; writes 64 characters, no NUL.
 * An absent secret is an error of the caller (the header is then sent empty). MR_E_FAILED where
 * hashing fails. */
mr_err signature_kore(struct crypto_hasher *hasher, mr_str secret, mr_str method, mr_str url,
                      const mr_str *body, size_t n_body, char out[static SIGNATURE_HEX_LEN]);

/* Appends `v1,` + base64 of HMAC-SHA256 with the raw key (the bytes that whsec_… encodes). */
mr_err signature_standard_hmac(struct crypto_hasher *hasher, mr_str key, mr_str id,
                               mr_str timestamp, mr_str body, mr_buf *out);
/* Appends `v1a,` + base64 of the Ed25519 signature. scratch is overwritten. */
mr_err signature_standard_ed25519(mr_secret key, mr_str id, mr_str timestamp, mr_str body,
                                  mr_buf *scratch, mr_buf *out);

#endif
