/* Credentials of AWS: an access key with its secret, and where they are temporary a session token
 * and an end. Immutable but for the signing key kept beside them; reference-counted; one thread. */
#ifndef MR_SINK_AWS_CREDENTIALS_H
#define MR_SINK_AWS_CREDENTIALS_H

#include "crypto/secret.h"
#include "sink/aws/sigv4.h"

#define AWS_ACCESS_KEY_MAX 128
#define AWS_NEVER_MS       INT64_MAX

struct aws_credentials {
    uint32_t refs;
    char access_key[AWS_ACCESS_KEY_MAX + 1];
    mr_secret secret_key;
    mr_secret session_token; /* none: long-term */
    int64_t expires_ms;      /* wall, of AWS's clock; AWS_NEVER_MS: long-term */
    struct sigv4_key key;    /* of the last region and service signed for */
};

/* MR_E_INVALID: empty or too long, or a byte that cannot stand in a header; MR_E_NOMEM, MR_E_LIMIT.
 */
mr_err aws_credentials_new(struct secret_slab *slab, mr_str access_key, mr_str secret_key,
                           mr_str session_token, int64_t expires_ms,
                           struct aws_credentials **ret_credentials);
struct aws_credentials *aws_credentials_ref(struct aws_credentials *credentials);
/* Wipes them with the last reference. NULL is fine. */
void aws_credentials_unref(struct aws_credentials *credentials);

/* As a container's URI and an instance's metadata give them: {"AccessKeyId", "SecretAccessKey",
 * "Token", "Expiration", "Code"}. MR_E_INVALID for anything else, MR_E_NOMEM, MR_E_LIMIT. */
mr_err aws_credentials_read(struct secret_slab *slab, mr_str json,
                            struct aws_credentials **ret_credentials);

#endif
