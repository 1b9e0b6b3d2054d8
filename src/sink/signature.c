/* Signatures of webhook requests. See signature.h.
 *
 * KORE hashes secret, method, URL and body one after the other without separators; the URL is the
 * configured text, not a normalised one, because receivers hash the text that they were given. The
 * body is hashed as it is sent, so a receiver that hashes the raw bytes always agrees. */
#include "sink/signature.h"

#include "base/num.h"

#define BODY_PARTS_MAX 8

mr_str signature_url_part(mr_str url) {
    for (size_t i = 0; i < url.len; i++) {
        if (url.ptr[i] == '?' || url.ptr[i] == '#') {
            return mr_str_slice(url, 0, i);
        }
    }
    return url;
}

mr_err signature_kore(struct crypto_hasher *hasher, mr_str secret, mr_str method, mr_str url,
                      const mr_str *body, size_t n_body, char out[static SIGNATURE_HEX_LEN]) {
    MR_ASSERT(n_body <= BODY_PARTS_MAX);
    mr_str parts[3 + BODY_PARTS_MAX] = {secret, method, signature_url_part(url)};
    for (size_t i = 0; i < n_body; i++) {
        parts[3 + i] = body[i];
    }
    uint8_t digest[CRYPTO_SHA256_BYTES];
    MR_TRY(crypto_sha256(hasher, parts, 3 + n_body, digest));
    mr_hex_encode(digest, sizeof digest, out);
    return MR_OK;
}

mr_err signature_standard_hmac(struct crypto_hasher *hasher, mr_str key, mr_str id,
                               mr_str timestamp, mr_str body, mr_buf *out) {
    const mr_str parts[] = {id, MR_STR("."), timestamp, MR_STR("."), body};
    uint8_t digest[CRYPTO_SHA256_BYTES];
    MR_TRY(crypto_hmac_sha256(hasher, key, parts, sizeof parts / sizeof parts[0], digest));
    MR_TRY(mr_buf_str(out, MR_STR("v1,")));
    return mr_base64_encode(mr_str_of((const char *)digest, sizeof digest), out);
}

mr_err signature_standard_ed25519(mr_secret key, mr_str id, mr_str timestamp, mr_str body,
                                  mr_buf *scratch, mr_buf *out) {
    mr_buf_reset(scratch);
    MR_TRY(mr_buf_str(scratch, id));
    MR_TRY(mr_buf_byte(scratch, '.'));
    MR_TRY(mr_buf_str(scratch, timestamp));
    MR_TRY(mr_buf_byte(scratch, '.'));
    MR_TRY(mr_buf_str(scratch, body));
    uint8_t signature[ED25519_SIGNATURE_BYTES];
    MR_TRY(ed25519_sign(key, mr_buf_view(scratch), signature));
    MR_TRY(mr_buf_str(out, MR_STR("v1a,")));
    return mr_base64_encode(mr_str_of((const char *)signature, sizeof signature), out);
}
