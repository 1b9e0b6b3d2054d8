/* Keys of a destination for Standard Webhooks: making them, their stored form, their texts. Source:
 * the Standard Webhooks specification (whsec_, whpk_). */
#ifndef MR_MODEL_SIGNING_H
#define MR_MODEL_SIGNING_H

#include "base/buf.h"
#include "model/destination.h"

#define SIGNING_KEY_BYTES 32
/* Format byte, HMAC key, Ed25519 seed, the previous two, until when these sign along. */
#define SIGNING_FORM_BYTES (1 + 4 * SIGNING_KEY_BYTES + 8)

/* New random keys as a stored form: a secret, wipe it. previous: the present stored form, whose
 * keys sign along until until_ms (wall), or absent. MR_E_INVALID where previous is not one. */
mr_err signing_form_make(mr_str previous, int64_t until_ms,
                         uint8_t form[static SIGNING_FORM_BYTES]);
/* The keys of a stored form. MR_E_INVALID, MR_E_NOMEM, MR_E_LIMIT: what was made by then stays in
 * out, whose owner releases it (model_webhook_release). */
mr_err signing_form_read(struct secret_slab *slab, mr_str form, struct model_signing *out);
/* Appends "whsec_" and the HMAC key in base64: a secret. */
mr_err signing_secret_text(const uint8_t form[static SIGNING_FORM_BYTES], mr_buf *out);
/* Appends "whpk_" and the public Ed25519 key in base64. */
mr_err signing_public_text(struct secret_slab *slab, const uint8_t form[static SIGNING_FORM_BYTES],
                           mr_buf *out);

#endif
