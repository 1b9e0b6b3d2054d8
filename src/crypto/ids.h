/* Identifiers: a prefix and a ULID in lower case, random UUIDs, random text for credentials.
 * Randomness is the kernel's. Any thread. */
#ifndef MR_CRYPTO_IDS_H
#define MR_CRYPTO_IDS_H

#include "base/num.h"

/* Room for the longest prefix, a ULID and a NUL. */
#define CRYPTO_ID_SIZE   48
#define CRYPTO_UUID_SIZE 37

/* `prefix` + 26 characters, NUL-terminated: "dst_01jf8c4889ehtbzt0n9mzk1prc". prefix is ≤ 21 bytes.
 * Returns its length. */
size_t crypto_id_make(mr_str prefix, mr_wall now, char out[static CRYPTO_ID_SIZE]);
/* True for exactly that form. */
bool crypto_id_is_valid(mr_str id, mr_str prefix);
/* A random UUID (RFC 9562 version 4) in lower case, NUL-terminated. */
void crypto_uuid4_make(char out[static CRYPTO_UUID_SIZE]);
/* Random bytes of the kernel, as os_random, for rooms that may not see os/. */
void crypto_random(void *out, size_t n);

#endif
