/* Sealed boxes.
 *
 *   offset 0   format, 1
 *          1   key id, 8 bytes
 *          9   nonce, 24 random bytes
 *         33   ciphertext, as long as the value, then the tag of 16 bytes
 *
 * The nonce is random: with 192 bits two boxes of one key never share one in practice, so no
 * counter has to survive restarts and restored backups. The associated data is the format byte, the
 * key id and the three parts of the place, each behind its length: ("ab","c") and ("a","bc")
 * differ.
 *
 * The key id is a BLAKE2b of the master key with a personal context, cut to 8 bytes: it lets a
 * wrong key be told from a damaged box, which are different mistakes with different remedies. */
#include "crypto/seal.h"

#include "base/mem.h"
#include "crypto/ids.h"

#include <sodium.h>

#define FORMAT    1
#define NONCE_AT  (1 + SEAL_KEY_ID_BYTES)
#define CIPHER_AT (NONCE_AT + 24)
#define PLACE_MAX (1 + SEAL_KEY_ID_BYTES + 3 * 256)

_Static_assert(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES == 24, "the nonce of the format");
_Static_assert(crypto_aead_xchacha20poly1305_ietf_ABYTES == 16, "the tag of the format");
_Static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == SEAL_KEY_BYTES, "the key's length");

struct sealer {
    struct secret_slab *slab;
    mr_secret key;
    uint8_t key_id[SEAL_KEY_ID_BYTES];
};

mr_err sealer_new(struct secret_slab *slab, mr_str master_key, struct sealer **ret_sealer) {
    if (master_key.len != SEAL_KEY_BYTES) {
        return MR_ERR(MR_E_INVALID);
    }
    struct sealer *sealer = MR_NEW(struct sealer);
    if (sealer == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    sealer->slab = slab;
    mr_err err = mr_secret_new(slab, master_key, &sealer->key);
    if (mr_is_err(err)) {
        mr_free(sealer);
        return err;
    }
    static const char context[] = "millrace key id";
    uint8_t id[crypto_generichash_BYTES];
    crypto_generichash(id, sizeof id, (const uint8_t *)context, sizeof context - 1,
                       (const uint8_t *)master_key.ptr, master_key.len);
    memcpy(sealer->key_id, id, sizeof sealer->key_id);
    *ret_sealer = sealer;
    return MR_OK;
}

void sealer_free(struct sealer *sealer) {
    if (sealer != NULL) {
        mr_secret_unref(&sealer->key);
        mr_free(sealer);
    }
}

const uint8_t *sealer_key_id(const struct sealer *sealer) {
    return sealer->key_id;
}

bool seal_is_box(const struct sealer *sealer, mr_str bytes) {
    return bytes.len >= SEAL_OVERHEAD && bytes.ptr[0] == FORMAT &&
           memcmp(bytes.ptr + 1, sealer->key_id, SEAL_KEY_ID_BYTES) == 0;
}

static size_t place_encode(const struct sealer *sealer, const struct seal_place *place,
                           uint8_t out[static PLACE_MAX]) {
    const mr_str parts[3] = {place->table, place->row, place->column};
    size_t n = 0;
    out[n++] = FORMAT;
    memcpy(out + n, sealer->key_id, SEAL_KEY_ID_BYTES);
    n += SEAL_KEY_ID_BYTES;
    for (size_t i = 0; i < 3; i++) {
        MR_ASSERT(parts[i].len <= 255);
        out[n++] = (uint8_t)parts[i].len;
        if (parts[i].len > 0) {
            memcpy(out + n, parts[i].ptr, parts[i].len);
        }
        n += parts[i].len;
    }
    return n;
}

mr_err seal_close(const struct sealer *sealer, const struct seal_place *place, mr_str plain,
                  mr_buf *out) {
    uint8_t where[PLACE_MAX];
    size_t n_where = place_encode(sealer, place, where);
    char *at = NULL;
    MR_TRY(mr_buf_reserve(out, plain.len + SEAL_OVERHEAD, &at));
    uint8_t *box = (uint8_t *)at;
    box[0] = FORMAT;
    memcpy(box + 1, sealer->key_id, SEAL_KEY_ID_BYTES);
    crypto_random(box + NONCE_AT, CIPHER_AT - NONCE_AT);
    unsigned long long n_cipher = 0;
    int failed = crypto_aead_xchacha20poly1305_ietf_encrypt(
        box + CIPHER_AT, &n_cipher, (const uint8_t *)plain.ptr, plain.len, where, n_where, NULL,
        box + NONCE_AT, (const uint8_t *)mr_secret_reveal(sealer->key).ptr);
    MR_ASSERT(failed == 0 && n_cipher == plain.len + 16);
    mr_buf_commit(out, plain.len + SEAL_OVERHEAD);
    return MR_OK;
}

mr_err seal_open(const struct sealer *sealer, const struct seal_place *place, mr_str box,
                 mr_secret *ret_value) {
    const uint8_t *at = (const uint8_t *)box.ptr;
    if (box.len < SEAL_OVERHEAD || at[0] != FORMAT) {
        return MR_ERR(SEAL_E_TAMPERED);
    }
    if (memcmp(at + 1, sealer->key_id, SEAL_KEY_ID_BYTES) != 0) {
        return MR_ERR(SEAL_E_OTHER_KEY);
    }
    uint8_t where[PLACE_MAX];
    size_t n_where = place_encode(sealer, place, where);
    size_t n_plain = box.len - SEAL_OVERHEAD;
    /* One byte more, so that an empty value has memory too. */
    uint8_t *plain = mr_alloc(n_plain + 1);
    if (plain == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    unsigned long long n = 0;
    mr_err err = MR_ERR(SEAL_E_TAMPERED);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            plain, &n, NULL, at + CIPHER_AT, box.len - CIPHER_AT, where, n_where, at + NONCE_AT,
            (const uint8_t *)mr_secret_reveal(sealer->key).ptr) == 0) {
        MR_ASSERT(n == n_plain);
        err = mr_secret_new(sealer->slab, mr_str_of((const char *)plain, n_plain), ret_value);
    }
    crypto_wipe(plain, n_plain + 1);
    mr_free(plain);
    return err;
}

mr_err secret_random(struct secret_slab *slab, size_t n, mr_secret *ret_secret) {
    uint8_t bytes[64];
    MR_ASSERT(n <= sizeof bytes);
    crypto_random(bytes, n);
    mr_err err = mr_secret_new(slab, mr_str_of((const char *)bytes, n), ret_secret);
    crypto_wipe(bytes, sizeof bytes);
    return err;
}
