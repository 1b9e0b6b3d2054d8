/* Destinations: names of their enums, defaults, and copying settings into an object. */
#include "model/destination.h"

mr_str model_kind_name(enum model_destination_kind kind) {
    return kind == MODEL_KIND_KINESIS ? MR_STR("kinesis") : MR_STR("webhook");
}

mr_str model_status_name(enum model_destination_status status) {
    switch (status) {
    case MODEL_ACTIVE:
        return MR_STR("active");
    case MODEL_FAILED:
        return MR_STR("failed");
    case MODEL_DISABLED:
        return MR_STR("disabled");
    }
    return MR_STR_NONE;
}

mr_str model_method_name(enum model_method method) {
    return method == MODEL_GET ? MR_STR("GET") : MR_STR("POST");
}

mr_str model_format_name(enum model_format format) {
    switch (format) {
    case MODEL_FORMAT_KORE:
        return MR_STR("kore");
    case MODEL_FORMAT_CE_BATCH:
        return MR_STR("ce-batch");
    case MODEL_FORMAT_CE_STRUCTURED:
        return MR_STR("ce-structured");
    case MODEL_FORMAT_CE_BINARY:
        return MR_STR("ce-binary");
    }
    return MR_STR_NONE;
}

void model_webhook_init(struct model_webhook *webhook) {
    *webhook = (struct model_webhook){
        .url = MR_STR_NONE,
        .method = MODEL_POST,
        .format = MODEL_FORMAT_KORE,
        .signatures = MODEL_SIGN_KORE,
    };
}

void model_settings_init(struct model_settings *settings, enum model_destination_kind kind) {
    bool is_stream = kind == MODEL_KIND_KINESIS;
    *settings = (struct model_settings){
        .kind = kind,
        .delivery =
            {
                .batch_max = is_stream ? MODEL_STREAM_BATCH_MAX : MODEL_BATCH_MAX,
                .batch_bytes_max = is_stream ? MODEL_STREAM_BYTES_MAX : MODEL_BATCH_BYTES_MAX,
                .linger_ms = MODEL_LINGER_MS_DEFAULT,
                .timeout_ms = MODEL_TIMEOUT_MS_DEFAULT,
                .concurrency_max = MODEL_CONCURRENCY_DEFAULT,
                .retry = {.kind = MODEL_RETRY_KORE},
            },
        .kinesis =
            {
                .stream_arn = MR_STR_NONE,
                .role_arn = MR_STR_NONE,
                .external_id = MR_STR_NONE,
                .partition_key = MR_STR_NONE,
            },
    };
    model_webhook_init(&settings->webhook);
}

void model_webhook_release(struct model_webhook *webhook) {
    for (size_t i = 0; i < webhook->n_headers; i++) {
        /* The array is ours; it is const only for readers. */
        mr_secret value = webhook->headers[i].value;
        mr_secret_unref(&value);
    }
    webhook->headers = NULL;
    webhook->n_headers = 0;
    mr_secret_unref(&webhook->client_key_pem);
    mr_secret_unref(&webhook->signing.hmac_key);
    mr_secret_unref(&webhook->signing.ed25519_key);
    mr_secret_unref(&webhook->signing.previous_hmac_key);
    mr_secret_unref(&webhook->signing.previous_ed25519_key);
}

void model_settings_release(struct model_settings *settings) {
    model_webhook_release(&settings->webhook);
}

static mr_err set_webhook(struct model_destination *destination,
                          const struct model_webhook *webhook) {
    struct model_object *object = &destination->object;
    struct model_webhook *own = &destination->webhook;
    MR_ASSERT(own->n_headers == 0 && mr_str_is_absent(own->url));
    struct model_header *headers = NULL;
    if (webhook->n_headers > 0) {
        headers = model_alloc(object, webhook->n_headers * sizeof *headers);
        if (headers == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
    }
    mr_str url;
    mr_str cert;
    mr_str ca;
    if (!model_text(object, webhook->url, &url) ||
        !model_text(object, webhook->client_cert_pem, &cert) ||
        !model_text(object, webhook->ca_pem, &ca)) {
        return MR_ERR(MR_E_NOMEM);
    }
    for (size_t i = 0; i < webhook->n_headers; i++) {
        if (!model_text(object, webhook->headers[i].name, &headers[i].name)) {
            return MR_ERR(MR_E_NOMEM);
        }
    }
    /* Nothing can fail from here on: only now references are taken. */
    *own = *webhook;
    own->url = url;
    own->client_cert_pem = cert;
    own->ca_pem = ca;
    for (size_t i = 0; i < webhook->n_headers; i++) {
        headers[i].value = mr_secret_ref(webhook->headers[i].value);
    }
    own->headers = headers;
    (void)mr_secret_ref(own->client_key_pem);
    (void)mr_secret_ref(own->signing.hmac_key);
    (void)mr_secret_ref(own->signing.ed25519_key);
    (void)mr_secret_ref(own->signing.previous_hmac_key);
    (void)mr_secret_ref(own->signing.previous_ed25519_key);
    return MR_OK;
}

static mr_err set_kinesis(struct model_destination *destination,
                          const struct model_kinesis *kinesis) {
    struct model_object *object = &destination->object;
    struct model_kinesis *own = &destination->kinesis;
    MR_ASSERT(mr_str_is_absent(own->stream_arn));
    struct model_kinesis copy;
    if (!model_text(object, kinesis->stream_arn, &copy.stream_arn) ||
        !model_text(object, kinesis->role_arn, &copy.role_arn) ||
        !model_text(object, kinesis->external_id, &copy.external_id) ||
        !model_text(object, kinesis->partition_key, &copy.partition_key)) {
        return MR_ERR(MR_E_NOMEM);
    }
    *own = copy;
    return MR_OK;
}

mr_err model_destination_set(struct model_destination *destination,
                             const struct model_settings *settings) {
    destination->kind = settings->kind;
    destination->delivery = settings->delivery;
    switch (settings->kind) {
    case MODEL_KIND_WEBHOOK:
        return set_webhook(destination, &settings->webhook);
    case MODEL_KIND_KINESIS:
        return set_kinesis(destination, &settings->kinesis);
    }
    return MR_ERR(MR_E_INVALID);
}
