/* Ed25519 signatures (RFC 8032) by libsodium, for the asymmetric form of Standard Webhooks (`v1a`).
 * All functions are pure; any thread may call them. */
#ifndef MR_CRYPTO_ED25519_H
#define MR_CRYPTO_ED25519_H

#include "crypto/secret.h"

#define ED25519_SEED_BYTES      32
#define ED25519_SECRET_BYTES    64 /* seed and public key */
#define ED25519_PUBLIC_BYTES    32
#define ED25519_SIGNATURE_BYTES 64

/* A key pair from a seed of ED25519_SEED_BYTES (MR_E_INVALID for another length); the secret half
 * goes to the slab. MR_E_NOMEM, MR_E_LIMIT. */
mr_err ed25519_key_of_seed(struct secret_slab *slab, mr_str seed, mr_secret *ret_secret,
                           uint8_t public_key[static ED25519_PUBLIC_BYTES]);
/* Signs the message; key is the secret half. MR_E_INVALID where it is not one. */
mr_err ed25519_sign(mr_secret key, mr_str message, uint8_t out[static ED25519_SIGNATURE_BYTES]);
/* True where the signature is the key's over the message. */
bool ed25519_verify(const uint8_t public_key[static ED25519_PUBLIC_BYTES], mr_str message,
                    const uint8_t signature[static ED25519_SIGNATURE_BYTES]);

#endif
