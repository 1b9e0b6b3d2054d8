/* Ed25519 by libsodium: half the time of OpenSSL 3.0 for a signature, and deterministic, so that
 * nothing depends on a nonce. The secret half is libsodium's 64 bytes: seed, then public key. */
#include "crypto/ed25519.h"

#include <sodium.h>

_Static_assert(crypto_sign_SEEDBYTES == ED25519_SEED_BYTES, "RFC 8032");
_Static_assert(crypto_sign_SECRETKEYBYTES == ED25519_SECRET_BYTES, "RFC 8032");
_Static_assert(crypto_sign_PUBLICKEYBYTES == ED25519_PUBLIC_BYTES, "RFC 8032");
_Static_assert(crypto_sign_BYTES == ED25519_SIGNATURE_BYTES, "RFC 8032");

mr_err ed25519_key_of_seed(struct secret_slab *slab, mr_str seed, mr_secret *ret_secret,
                           uint8_t public_key[static ED25519_PUBLIC_BYTES]) {
    if (seed.len != ED25519_SEED_BYTES) {
        return MR_ERR(MR_E_INVALID);
    }
    uint8_t secret[ED25519_SECRET_BYTES];
    uint8_t public_half[ED25519_PUBLIC_BYTES];
    int failed = crypto_sign_seed_keypair(public_half, secret, (const uint8_t *)seed.ptr);
    MR_ASSERT(failed == 0);
    mr_err err = mr_secret_new(slab, mr_str_of((const char *)secret, sizeof secret), ret_secret);
    crypto_wipe(secret, sizeof secret);
    if (mr_is_ok(err)) {
        memcpy(public_key, public_half, sizeof public_half);
    }
    return err;
}

mr_err ed25519_sign(mr_secret key, mr_str message, uint8_t out[static ED25519_SIGNATURE_BYTES]) {
    mr_str secret = mr_secret_reveal(key);
    if (secret.len != ED25519_SECRET_BYTES) {
        return MR_ERR(MR_E_INVALID);
    }
    int failed = crypto_sign_detached(out, NULL, (const uint8_t *)message.ptr, message.len,
                                      (const uint8_t *)secret.ptr);
    MR_ASSERT(failed == 0);
    return MR_OK;
}

bool ed25519_verify(const uint8_t public_key[static ED25519_PUBLIC_BYTES], mr_str message,
                    const uint8_t signature[static ED25519_SIGNATURE_BYTES]) {
    return crypto_sign_verify_detached(signature, (const uint8_t *)message.ptr, message.len,
                                       public_key) == 0;
}
