/* Hashing with OpenSSL 3.
 *
 * EVP_sha256() and the one-shot HMAC() look their implementation up in the provider tables on every
 * call: for bodies of a few hundred bytes that costs as much as the hash. So each thread fetches
 * once and keeps the contexts. HMAC is built from the two digests of RFC 2104 rather than from
 * EVP_MAC: the key block is 64 bytes, and re-keying an EVP_MAC allocates.
 *
 * A context that failed half-way is initialised anew by the next begin; nothing needs undoing. */
#include "crypto/hash.h"

#include "base/mem.h"
#include "crypto/secret.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define SHA256_BLOCK 64

struct crypto_hasher {
    EVP_MD *sha256;
    EVP_MD_CTX *context;
};

mr_err crypto_hasher_new(struct crypto_hasher **ret_hasher) {
    struct crypto_hasher *hasher = MR_NEW(struct crypto_hasher);
    if (hasher == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    hasher->sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    hasher->context = EVP_MD_CTX_new();
    if (hasher->sha256 == NULL || hasher->context == NULL) {
        mr_err err = MR_ERR(hasher->sha256 == NULL ? MR_E_FAILED : MR_E_NOMEM);
        crypto_hasher_free(hasher);
        return err;
    }
    *ret_hasher = hasher;
    return MR_OK;
}

void crypto_hasher_free(struct crypto_hasher *hasher) {
    if (hasher != NULL) {
        EVP_MD_CTX_free(hasher->context);
        EVP_MD_free(hasher->sha256);
        mr_free(hasher);
    }
}

mr_err crypto_sha256_begin(struct crypto_hasher *hasher) {
    return EVP_DigestInit_ex2(hasher->context, hasher->sha256, NULL) == 1 ? MR_OK
                                                                          : MR_ERR(MR_E_FAILED);
}

mr_err crypto_sha256_update(struct crypto_hasher *hasher, mr_str bytes) {
    if (bytes.len == 0) {
        return MR_OK;
    }
    return EVP_DigestUpdate(hasher->context, bytes.ptr, bytes.len) == 1 ? MR_OK
                                                                        : MR_ERR(MR_E_FAILED);
}

mr_err crypto_sha256_end(struct crypto_hasher *hasher, uint8_t out[static CRYPTO_SHA256_BYTES]) {
    unsigned n = 0;
    if (EVP_DigestFinal_ex(hasher->context, out, &n) != 1 || n != CRYPTO_SHA256_BYTES) {
        return MR_ERR(MR_E_FAILED);
    }
    return MR_OK;
}

mr_err crypto_sha256(struct crypto_hasher *hasher, const mr_str *parts, size_t n,
                     uint8_t out[static CRYPTO_SHA256_BYTES]) {
    MR_TRY(crypto_sha256_begin(hasher));
    for (size_t i = 0; i < n; i++) {
        MR_TRY(crypto_sha256_update(hasher, parts[i]));
    }
    return crypto_sha256_end(hasher, out);
}

/* H((key ^ pad) || parts), the inner and the outer digest of RFC 2104. */
static mr_err digest_padded(struct crypto_hasher *hasher, const uint8_t key[static SHA256_BLOCK],
                            uint8_t pad, const mr_str *parts, size_t n,
                            uint8_t out[static CRYPTO_SHA256_BYTES]) {
    uint8_t block[SHA256_BLOCK];
    for (size_t i = 0; i < SHA256_BLOCK; i++) {
        block[i] = (uint8_t)(key[i] ^ pad);
    }
    mr_err err = crypto_sha256_begin(hasher);
    if (mr_is_ok(err)) {
        err = crypto_sha256_update(hasher, mr_str_of((const char *)block, sizeof block));
    }
    for (size_t i = 0; i < n && mr_is_ok(err); i++) {
        err = crypto_sha256_update(hasher, parts[i]);
    }
    if (mr_is_ok(err)) {
        err = crypto_sha256_end(hasher, out);
    }
    crypto_wipe(block, sizeof block);
    return err;
}

mr_err crypto_hmac_sha256(struct crypto_hasher *hasher, mr_str key, const mr_str *parts, size_t n,
                          uint8_t out[static CRYPTO_SHA256_BYTES]) {
    uint8_t block[SHA256_BLOCK] = {0};
    uint8_t inner[CRYPTO_SHA256_BYTES];
    mr_err err = MR_OK;
    if (key.len > SHA256_BLOCK) {
        err = crypto_sha256(hasher, &key, 1, block);
    } else if (key.len > 0) {
        memcpy(block, key.ptr, key.len);
    }
    if (mr_is_ok(err)) {
        err = digest_padded(hasher, block, 0x36, parts, n, inner);
    }
    if (mr_is_ok(err)) {
        mr_str part = mr_str_of((const char *)inner, sizeof inner);
        err = digest_padded(hasher, block, 0x5c, &part, 1, out);
    }
    crypto_wipe(block, sizeof block);
    crypto_wipe(inner, sizeof inner);
    return err;
}

mr_err crypto_hmac_sha1(mr_str key, mr_str message, uint8_t out[static CRYPTO_SHA1_BYTES]) {
    unsigned int len = CRYPTO_SHA1_BYTES;
    const unsigned char *made = HMAC(EVP_sha1(), key.ptr, (int)key.len,
                                     (const unsigned char *)message.ptr, message.len, out, &len);
    return made != NULL && len == CRYPTO_SHA1_BYTES ? MR_OK : MR_ERR(MR_E_FAILED);
}
