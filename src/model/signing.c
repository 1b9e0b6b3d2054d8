/* Signing keys in one fixed form, so that one sealed column holds them:
 *
 *   offset 0   format, 1
 *          1   HMAC key, 32 bytes
 *         33   Ed25519 seed, 32
 *         65   the previous HMAC key and seed, 64; zeroes where there are none
 *        129   until when these sign along, wall ms, 8, little-endian
 *
 * Random keys are never all zeroes, so zeroes can stand for "none". */
#include "model/signing.h"

#include "base/num.h"
#include "crypto/ids.h"

#define FORMAT      1
#define PAIR_BYTES  ((size_t)2 * SIGNING_KEY_BYTES)
#define PRESENT_AT  1
#define SEED_AT     (PRESENT_AT + SIGNING_KEY_BYTES)
#define PREVIOUS_AT (PRESENT_AT + PAIR_BYTES)
#define UNTIL_AT    (PREVIOUS_AT + PAIR_BYTES)
_Static_assert(UNTIL_AT + 8 == SIGNING_FORM_BYTES, "the form above");

static bool is_form(mr_str form) {
    return form.len == SIGNING_FORM_BYTES && form.ptr[0] == FORMAT;
}

mr_err signing_form_make(mr_str previous, int64_t until_ms,
                         uint8_t form[static SIGNING_FORM_BYTES]) {
    if (!mr_str_is_absent(previous) && !is_form(previous)) {
        return MR_ERR(MR_E_INVALID);
    }
    memset(form, 0, SIGNING_FORM_BYTES);
    form[0] = FORMAT;
    crypto_random(form + PRESENT_AT, PAIR_BYTES);
    if (!mr_str_is_absent(previous)) {
        memcpy(form + PREVIOUS_AT, previous.ptr + PRESENT_AT, PAIR_BYTES);
        mr_put_u64(form + UNTIL_AT, (uint64_t)until_ms);
    }
    return MR_OK;
}

static mr_err read_pair(struct secret_slab *slab, const char *at, mr_secret *ret_hmac,
                        mr_secret *ret_ed25519) {
    uint8_t public_key[ED25519_PUBLIC_BYTES];
    MR_TRY(mr_secret_new(slab, mr_str_of(at, SIGNING_KEY_BYTES), ret_hmac));
    return ed25519_key_of_seed(slab, mr_str_of(at + SIGNING_KEY_BYTES, SIGNING_KEY_BYTES),
                               ret_ed25519, public_key);
}

static bool has_previous(mr_str form) {
    char any = 0;
    for (size_t i = 0; i < PAIR_BYTES; i++) {
        any = (char)(any | form.ptr[PREVIOUS_AT + i]);
    }
    return any != 0;
}

mr_err signing_form_read(struct secret_slab *slab, mr_str form, struct model_signing *out) {
    if (!is_form(form)) {
        return MR_ERR(MR_E_INVALID);
    }
    MR_TRY(read_pair(slab, form.ptr + PRESENT_AT, &out->hmac_key, &out->ed25519_key));
    if (has_previous(form)) {
        MR_TRY(read_pair(slab, form.ptr + PREVIOUS_AT, &out->previous_hmac_key,
                         &out->previous_ed25519_key));
        out->previous_until_ms = (int64_t)mr_get_u64(form.ptr + UNTIL_AT);
    }
    return MR_OK;
}

mr_err signing_secret_text(const uint8_t form[static SIGNING_FORM_BYTES], mr_buf *out) {
    MR_TRY(mr_buf_str(out, MR_STR("whsec_")));
    return mr_base64_encode(mr_str_of((const char *)form + PRESENT_AT, SIGNING_KEY_BYTES), out);
}

mr_err signing_public_text(struct secret_slab *slab, const uint8_t form[static SIGNING_FORM_BYTES],
                           mr_buf *out) {
    mr_secret key = MR_SECRET_NONE;
    uint8_t public_key[ED25519_PUBLIC_BYTES];
    MR_TRY(ed25519_key_of_seed(slab, mr_str_of((const char *)form + SEED_AT, SIGNING_KEY_BYTES),
                               &key, public_key));
    mr_secret_unref(&key);
    MR_TRY(mr_buf_str(out, MR_STR("whpk_")));
    return mr_base64_encode(mr_str_of((const char *)public_key, sizeof public_key), out);
}
