/* SHA-256 and HMAC-SHA256 with the fetched OpenSSL objects kept, because fetching them on every
 * call costs more than hashing a small body. A hasher belongs to one thread; every thread makes its
 * own at start. */
#ifndef MR_CRYPTO_HASH_H
#define MR_CRYPTO_HASH_H

#include "base/err.h"
#include "base/str.h"

#define CRYPTO_SHA256_BYTES 32

/* What one thread needs for hashing. One digest can be in progress at a time (begin … end);
 * crypto_sha256 and crypto_hmac_sha256 must not be called in between. */
struct crypto_hasher;

/* MR_E_NOMEM, or MR_E_FAILED where OpenSSL lacks an algorithm. Free with crypto_hasher_free. */
mr_err crypto_hasher_new(struct crypto_hasher **ret_hasher);
/* NULL is fine. */
void crypto_hasher_free(struct crypto_hasher *hasher);

/* Streaming: begin, any number of updates, end. MR_E_FAILED where OpenSSL gives up (no memory);
 * the digest then counts as not begun. */
mr_err crypto_sha256_begin(struct crypto_hasher *hasher);
mr_err crypto_sha256_update(struct crypto_hasher *hasher, mr_str bytes);
mr_err crypto_sha256_end(struct crypto_hasher *hasher, uint8_t out[static CRYPTO_SHA256_BYTES]);

/* One call: the digest of the n parts one after the other. Absent and empty parts are fine. */
mr_err crypto_sha256(struct crypto_hasher *hasher, const mr_str *parts, size_t n,
                     uint8_t out[static CRYPTO_SHA256_BYTES]);
/* RFC 2104 with SHA-256 over the n parts one after the other. Any key length, 0 included. */
mr_err crypto_hmac_sha256(struct crypto_hasher *hasher, mr_str key, const mr_str *parts, size_t n,
                          uint8_t out[static CRYPTO_SHA256_BYTES]);

/* HMAC-SHA-1, for one-time codes alone (RFC 4226), where its weakness does not matter. One call,
 * no hasher; any thread. MR_E_FAILED. */
#define CRYPTO_SHA1_BYTES 20
mr_err crypto_hmac_sha1(mr_str key, mr_str message, uint8_t out[static CRYPTO_SHA1_BYTES]);

#endif
