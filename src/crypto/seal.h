/* Sealed boxes: values encrypted at rest with the master key (XChaCha20-Poly1305, IETF
 * construction, draft-irtf-cfrg-xchacha), bound by associated data to the very place they are
 * stored in, so that a box copied to another row or column does not open. */
#ifndef MR_CRYPTO_SEAL_H
#define MR_CRYPTO_SEAL_H

#include "base/buf.h"
#include "crypto/secret.h"

#define SEAL_KEY_BYTES 32
/* Names a master key without telling it: derived from it by a one-way function. */
#define SEAL_KEY_ID_BYTES 8
/* What a box is longer than its value: format byte, key id, nonce, tag. */
#define SEAL_OVERHEAD (1 + SEAL_KEY_ID_BYTES + 24 + 16)

enum seal_error {
    SEAL_E_OTHER_KEY = MR_ERR_CODE(MR_ROOM_CRYPTO, 1), /* sealed with another master key */
    SEAL_E_TAMPERED = MR_ERR_CODE(MR_ROOM_CRYPTO, 2),  /* not a box, changed, or of another place */
};

/* Where a value is stored. Each part ≤ 255 bytes. */
struct seal_place {
    mr_str table;
    mr_str row; /* the row's key as text */
    mr_str column;
};

/* Holds the master key. Immutable: any thread may use it at once. */
struct sealer;

/* master_key is SEAL_KEY_BYTES long and is copied into the slab. MR_E_INVALID for another length,
 * MR_E_NOMEM, MR_E_LIMIT. Free with sealer_free. */
mr_err sealer_new(struct secret_slab *slab, mr_str master_key, struct sealer **ret_sealer);
/* NULL is fine. */
void sealer_free(struct sealer *sealer);
const uint8_t *sealer_key_id(const struct sealer *sealer);
/* Whether the bytes begin as a box of this key; opening it may fail all the same. */
bool seal_is_box(const struct sealer *sealer, mr_str bytes);

/* Appends the box of plain to out (MR_E_LIMIT past out's maximum, MR_E_NOMEM). */
mr_err seal_close(const struct sealer *sealer, const struct seal_place *place, mr_str plain,
                  mr_buf *out);
/* The value of a box, in the sealer's slab. SEAL_E_OTHER_KEY, SEAL_E_TAMPERED, MR_E_NOMEM,
 * MR_E_LIMIT. Release with mr_secret_unref. */
mr_err seal_open(const struct sealer *sealer, const struct seal_place *place, mr_str box,
                 mr_secret *ret_value);

/* n ≤ 64 random bytes as a secret: keys, tokens. MR_E_LIMIT. */
mr_err secret_random(struct secret_slab *slab, size_t n, mr_secret *ret_secret);

#endif
