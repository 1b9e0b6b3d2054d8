/* A destination as workers read it: every setting parsed and in range, secrets in the slab.
 * Immutable; a change makes a new object of the same number. Source: KORE's Event Streams pages on
 * webhook destinations; the options beyond them are Millrace's own. */
#ifndef MR_MODEL_DESTINATION_H
#define MR_MODEL_DESTINATION_H

#include "base/fields.h"
#include "crypto/ed25519.h"
#include "crypto/secret.h"
#include "model/object.h"

enum model_destination_kind {
    MODEL_KIND_WEBHOOK = 0,
    MODEL_KIND_KINESIS,
};
/* active ─▶ failed informs, sending goes on; disabled: nothing is sent, new matches are skipped. */
enum model_destination_status {
    MODEL_ACTIVE = 0,
    MODEL_FAILED,
    MODEL_DISABLED,
};
enum model_disabled_by {
    MODEL_DISABLED_BY_NOBODY = 0, /* it is not disabled */
    MODEL_DISABLED_BY_CALL,       /* PATCH, or chosen at creation */
    MODEL_DISABLED_BY_GONE,       /* the receiver answered 410 */
    MODEL_DISABLED_BY_FAILURE,    /* five days without a success */
};
enum model_method {
    MODEL_POST = 0,
    MODEL_GET,
};
enum model_format {
    MODEL_FORMAT_KORE = 0,
    MODEL_FORMAT_CE_BATCH,
    MODEL_FORMAT_CE_STRUCTURED,
    MODEL_FORMAT_CE_BINARY,
};
/* Bits. */
enum model_signatures {
    MODEL_SIGN_KORE = 1,
    MODEL_SIGN_STANDARD = 2,         /* Standard Webhooks, HMAC-SHA256: v1 */
    MODEL_SIGN_STANDARD_ED25519 = 4, /* Standard Webhooks, Ed25519: v1a */
};
enum model_retry_kind {
    MODEL_RETRY_KORE = 0,
    MODEL_RETRY_STANDARD,
    MODEL_RETRY_DELAYS,
};

#define MODEL_BATCH_MAX           50 /* webhooks */
#define MODEL_BATCH_BYTES_MAX     (1024 * 1024)
#define MODEL_STREAM_BATCH_MAX    500 /* streams: as many records as one call may hold */
#define MODEL_STREAM_BYTES_MAX    (5 * 1024 * 1024)
#define MODEL_BATCH_BYTES_MIN     1024
#define MODEL_LINGER_MS_DEFAULT   50
#define MODEL_LINGER_MS_MAX       60000
#define MODEL_TIMEOUT_MS_DEFAULT  5000
#define MODEL_TIMEOUT_MS_MIN      100
#define MODEL_TIMEOUT_MS_MAX      30000
#define MODEL_CONCURRENCY_DEFAULT 32
#define MODEL_CONCURRENCY_MAX     256
#define MODEL_RATE_MAX            100000
#define MODEL_RETRY_DELAYS_MAX    16
#define MODEL_RETRY_DELAY_MS_MAX  86400000
#define MODEL_HEADERS_MAX         32
#define MODEL_HEADER_NAME_MAX     128
#define MODEL_HEADER_VALUE_MAX    4096
#define MODEL_URL_BYTES_MAX       2048
#define MODEL_PEM_BYTES_MAX       65535
#define MODEL_ARN_BYTES_MAX       2048
#define MODEL_EXTERNAL_ID_MIN     2
#define MODEL_EXTERNAL_ID_MAX     1224
#define MODEL_POINTER_BYTES_MAX   1024

struct model_retry {
    enum model_retry_kind kind;
    uint32_t n_delays; /* resends after the first attempt; for MODEL_RETRY_DELAYS only */
    uint32_t delays_ms[MODEL_RETRY_DELAYS_MAX];
};

/* An extra header of each request. */
struct model_header {
    mr_str name; /* as configured */
    mr_secret value;
};

/* Keys for Standard Webhooks. A value beside its previous one while both sign (rotation). */
struct model_signing {
    mr_secret hmac_key;          /* raw bytes; none: no signing secret was made */
    mr_secret ed25519_key;       /* ED25519_SECRET_BYTES */
    mr_secret previous_hmac_key; /* sign with both until previous_until_ms (wall) */
    mr_secret previous_ed25519_key;
    int64_t previous_until_ms;
};

/* How requests are made and sent, whatever the kind. */
struct model_delivery {
    uint32_t batch_max;       /* 1 to the kind's maximum */
    uint32_t batch_bytes_max; /* likewise */
    uint32_t linger_ms;
    uint32_t timeout_ms;
    uint32_t rate_per_second; /* requests; 0: unlimited */
    uint32_t concurrency_max;
    struct model_retry retry;
};

struct model_webhook {
    mr_str url; /* the customer's text, unchanged; judged syntactically at configuration */
    enum model_method method;
    enum model_format format;
    uint8_t signatures; /* of enum model_signatures */
    bool escape_non_ascii;
    const struct model_header *headers;
    size_t n_headers;
    mr_str client_cert_pem; /* absent: none */
    mr_secret client_key_pem;
    mr_str ca_pem; /* absent: the installation's trust */
    struct model_signing signing;
};

/* An AWS Kinesis data stream. Both ARNs are well-formed. */
struct model_kinesis {
    mr_str stream_arn;
    mr_str role_arn;
    mr_str external_id;
    mr_str partition_key; /* a JSON Pointer into the event; absent: the event's id */
};

/* Every option of a destination of some kind. */
struct model_settings {
    enum model_destination_kind kind;
    struct model_delivery delivery;
    struct model_webhook webhook; /* where kind is MODEL_KIND_WEBHOOK */
    struct model_kinesis kinesis; /* where kind is MODEL_KIND_KINESIS */
};

struct model_destination {
    struct model_object object; /* id "dst_…" */
    uint32_t account;           /* number */
    uint32_t version;           /* rises with every change; pools and lanes compare it */
    enum model_destination_kind kind;
    enum model_destination_status status;
    enum model_disabled_by disabled_by;
    uint64_t enabled_epoch; /* rises with each enabling of a disabled one; of this run alone */
    mr_str name;
    struct model_delivery delivery;
    struct model_webhook webhook; /* where kind is MODEL_KIND_WEBHOOK */
    struct model_kinesis kinesis; /* where kind is MODEL_KIND_KINESIS */
};

mr_str model_kind_name(enum model_destination_kind kind);       /* webhook, kinesis */
mr_str model_status_name(enum model_destination_status status); /* active, failed, disabled */
mr_str model_method_name(enum model_method method);             /* POST, GET */
mr_str model_format_name(enum model_format format);             /* kore, ce-batch, … */

/* A new object with one reference and every option at a webhook's default. NULL without memory. */
struct model_destination *model_destination_new(uint32_t number, mr_str id, uint32_t account);
/* Copies kind and settings into the object: texts into its memory, secrets as references of its
 * own. Once per object. MR_E_NOMEM. */
mr_err model_destination_set(struct model_destination *destination,
                             const struct model_settings *settings);
/* Every option at its kind's default; no URL, no ARNs. */
void model_settings_init(struct model_settings *settings, enum model_destination_kind kind);
/* Lets the secrets go. */
void model_settings_release(struct model_settings *settings);
/* The same of a webhook's part alone. */
void model_webhook_init(struct model_webhook *webhook);
void model_webhook_release(struct model_webhook *webhook);
static inline const struct model_destination *model_destination_of(const struct model_object *o) {
    return (const struct model_destination *)(const void *)o;
}

#endif
