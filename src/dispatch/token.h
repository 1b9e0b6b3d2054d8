/* The idempotency token of a request: a UUID of version 8 (RFC 9562) computed from what the request
 * is, so that it is the same over all retries and after a crash, and never stored. */
#ifndef MR_DISPATCH_TOKEN_H
#define MR_DISPATCH_TOKEN_H

#include "crypto/siphash.h"

#define TOKEN_SIZE 37 /* 36 characters and a NUL */

/* SipHash-128 under the store's key of destination, origin and the positions in their order. */
void token_make(struct siphash_key store_key, uint32_t destination, uint32_t origin,
                const uint64_t *positions, uint32_t n, char out[static TOKEN_SIZE]);

#endif
