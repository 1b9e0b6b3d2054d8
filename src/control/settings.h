/* The settings of a destination: JSON to the parsed, ranged struct of model/, and back. One shape
 * for each kind serves validation, storage and answers. Write-only values (values of headers, the
 * client key) are left out of the public form, which shows "[redacted]" in their place, and are
 * kept apart for sealing. */
#ifndef MR_CONTROL_SETTINGS_H
#define MR_CONTROL_SETTINGS_H

#include "control/control.h"
#include "control/shape.h"

#define SETTINGS_REDACTED "[redacted]"

/* What judges and bounds settings. */
struct settings_context {
    const struct control_options *options;
    bool
        has_signing; /* a signing secret was made: the Standard Webhooks signatures may be chosen */
    bool is_trusted; /* read from the store: the URL and certificates are not judged again */
    /* Where a write-only value given as "[redacted]" comes from: what was written by
     * settings_write_private, or absent: then "[redacted]" is refused. */
    json_value stored;
    enum model_destination_kind kind; /* whose settings they are */
};

/* Of bodies and of the public form, by enum model_destination_kind. */
#define SETTINGS_KINDS 2
extern const struct shape *const settings_shapes[SETTINGS_KINDS];
/* Parses the object, which the kind's shape was asked about, into out, whose memory arena is
 * (texts, headers): 20400 or 31010, naming the member. Secrets are taken from the slab: on error
 * none is left behind; on success release them with model_settings_release. */
mr_err settings_parse(const struct settings_context *context, json_value settings, mr_arena *arena,
                      struct model_settings *out, struct refusal *ret_refusal);
/* Appends the public form: all members with their present values. */
mr_err settings_write_public(const struct model_settings *settings, mr_buf *out);
/* Appends the write-only members: {"headers":{…},"client_key_pem":"…"}; a secret text: wipe it.
 * *ret_has false: there are none. */
mr_err settings_write_private(const struct model_settings *settings, mr_buf *out, bool *ret_has);

#endif
