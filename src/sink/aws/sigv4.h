/* AWS Signature Version 4: a request's canonical form, the string that is signed, the Authorization
 * field. Source: AWS, "Create a signed AWS API request" (IAM user guide); services but S3, whose
 * paths are encoded once more than they are sent. */
#ifndef MR_SINK_AWS_SIGV4_H
#define MR_SINK_AWS_SIGV4_H

#include "base/buf.h"
#include "base/fields.h"
#include "base/time.h"
#include "crypto/hash.h"

#define SIGV4_DATE_SIZE  17 /* "20150830T123600Z" with its NUL */
#define SIGV4_FIELDS_MAX 128
#define SIGV4_PARAMS_MAX 128
#define SIGV4_REGION_MAX 64
#define SIGV4_KEY_BYTES  CRYPTO_SHA256_BYTES

/* Who signs, and where it counts. Slices; the secret is only read during a call. */
struct sigv4_signer {
    mr_str access_key;
    mr_str secret_key;
    mr_str session_token; /* absent: long-term credentials */
    mr_str region;
    mr_str service;
};

struct sigv4_request {
    mr_str method;
    mr_str path;  /* as it is sent, from its slash on */
    mr_str query; /* as it is sent, without '?'; absent: none */
    /* All that is to be signed, host included. x-amz-date, x-amz-security-token and
     * x-amz-content-sha256 are the signer's: not among them. Fields that others on the way may
     * change (connection, user-agent, expect …) are left out of the signature. */
    mr_fields fields;
    mr_str body;
    bool keeps_path; /* dot segments and repeated slashes stay as they are */
    bool signs_body; /* x-amz-content-sha256 is sent and signed */
};

/* The key of one day, region and service, derived anew only where one of them changed. */
struct sigv4_key {
    char scope[8 + 1 + SIGV4_REGION_MAX + 1 + SIGV4_REGION_MAX + sizeof "/aws4_request"];
    uint8_t secret_hash[CRYPTO_SHA256_BYTES]; /* of the secret it was derived from */
    uint8_t key[SIGV4_KEY_BYTES];
    bool is_derived;
};
/* Overwrites it. */
void sigv4_key_wipe(struct sigv4_key *key);

/* What is added to the request. Slices of the caller's buffers. */
struct sigv4_result {
    char date[SIGV4_DATE_SIZE]; /* x-amz-date */
    char body_hash[2 * CRYPTO_SHA256_BYTES + 1];
    mr_buf canonical;     /* for people and tests; owned */
    mr_buf to_sign;       /* owned */
    mr_buf authorization; /* owned */
};
void sigv4_result_init(struct sigv4_result *result);
void sigv4_result_done(struct sigv4_result *result);

/* MR_E_INVALID: more fields or parameters than are signed, a region or service that is too long;
 * MR_E_NOMEM, MR_E_FAILED. */
mr_err sigv4_sign(struct crypto_hasher *hasher, struct sigv4_key *key,
                  const struct sigv4_signer *signer, const struct sigv4_request *request,
                  mr_wall now, struct sigv4_result *ret_result);

#endif
