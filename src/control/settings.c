/* Settings of destinations, and those of webhooks; settings/kinesis.c has those of streams,
 * settings/delivery.c what both have.
 *
 * The public form is what the API shows, what the store keeps and what a merge patch is applied to:
 * every member with its present value, "[redacted]" for write-only ones. So a caller may read a
 * destination, change one member and send the whole back: "[redacted]" means "as it is". The values
 * themselves are in the private form, which lies sealed.
 *
 * Extra headers may not take the place of what makes a request: names that HTTP itself uses for
 * framing and connections, and those that Millrace sends (kore-*, webhook-*, ce-*, content-*, date,
 * user-agent), are refused. Values are visible ASCII with spaces inside, so no value can end a
 * line. */
#include "control/settings.h"

#include "control/body.h"
#include "control/private.h"
#include "control/settings/parts.h"
#include "control/shape.h"
#include "crypto/pem.h"
#include "json/write.h"

#define SIGNATURES_MAX 8

static const char *const method_names[] = {"POST", "GET"};
static const char *const format_names[] = {"kore", "ce-batch", "ce-structured", "ce-binary"};
static const char *const signature_names[] = {"kore", "standard-webhooks",
                                              "standard-webhooks-ed25519"};

#define HEADERS_SCHEMA                                                                             \
    "{\"description\":\"Fields of each request beside the usual; values are write-only\","         \
    "\"type\":[\"object\",\"null\"],\"maxProperties\":" TEXT_OF(                                   \
        MODEL_HEADERS_MAX) ","                                                                     \
                           "\"propertyNames\":{\"pattern\":\"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$\"},"    \
                           "\"additionalProperties\":{\"type\":[\"string\",\"null\"],\"pattern\":" \
                           "\"^([!-~]([ -~\\\\t]*[!-~])?)?$\"}}"
#define KEY_SCHEMA                                                                                 \
    "{\"description\":\"Private key of the client certificate; write-only\","                      \
    "\"type\":[\"string\",\"null\"]}"

static const struct shape_member settings_members[] = {
    {"url", SHAPE_TEXT, SHAPE_NEEDED, 1, MODEL_URL_BYTES_MAX, .what = "Where requests go: https"},
    {"method", SHAPE_ENUM, 0, .names = method_names, .n_names = 2, .what = "POST unless told"},
    SETTINGS_DELIVERY(MODEL_BATCH_MAX, MODEL_BATCH_BYTES_MAX),
    {"headers", SHAPE_OWN, 0, .schema = HEADERS_SCHEMA},
    {"signatures", SHAPE_TEXTS, 0, 1, SIGNATURES_MAX, .names = signature_names, .n_names = 3,
     .what = "How requests are signed"},
    {"escape_non_ascii", SHAPE_BOOL, 0, .what = "Write other characters than ASCII as \\u escapes"},
    {"format", SHAPE_ENUM, 0, .names = format_names, .n_names = 4, .what = "Form of the body"},
    {"client_cert_pem", SHAPE_LINES, SHAPE_NULLABLE, 1, MODEL_PEM_BYTES_MAX,
     .what = "Certificate that Millrace shows, in PEM form"},
    {"client_key_pem", SHAPE_OWN, SHAPE_SECRET, .schema = KEY_SCHEMA},
    {"ca_pem", SHAPE_LINES, SHAPE_NULLABLE, 1, MODEL_PEM_BYTES_MAX,
     .what = "Certificates that the receiver's is trusted by, in PEM form"},
};
static const struct shape webhook_shape = {"WebhookSettings", settings_members,
                                           sizeof settings_members / sizeof settings_members[0]};
const struct shape *const settings_shapes[SETTINGS_KINDS] = {&webhook_shape,
                                                             &settings_kinesis_shape};

/* What parse functions share. */
struct parser {
    const struct settings_context *context;
    json_value settings;
    mr_arena *arena;
    struct model_webhook *out;
    struct refusal *refusal;
};

static bool is_redacted(json_value value) {
    return json_string_eq(value, MR_STR(SETTINGS_REDACTED));
}

/* ---- url ---- */

static mr_err parse_url(const struct parser *parser) {
    MR_TRY(shape_text(parser->settings, "url", parser->arena, &parser->out->url));
    const struct control_options *options = parser->context->options;
    if (parser->context->is_trusted || options->judge_url == NULL) {
        return MR_OK;
    }
    char reason[CONTROL_REASON_SIZE] = "";
    switch (options->judge_url(options->judge_ctx, parser->out->url, reason)) {
    case CONTROL_URL_OK:
        return MR_OK;
    case CONTROL_URL_MALFORMED:
        return refuse(parser->refusal, REFUSAL_MALFORMED, "settings.url is not valid: %s.", reason);
    case CONTROL_URL_REFUSED:
        return refuse(parser->refusal, REFUSAL_ADDRESS_REFUSED, "settings.url is refused: %s.",
                      reason);
    }
    return MR_ERR(MR_E_FAILED);
}

/* ---- signatures ---- */

static mr_err parse_signatures(const struct parser *parser) {
    json_value list = shape_value(parser->settings, "signatures");
    if (json_is_absent(list)) {
        return MR_OK;
    }
    uint8_t bits = 0;
    for (json_iter it = json_iter_of(list); json_next(&it);) {
        size_t i = 0;
        while (i < 2 && !json_string_eq(it.value, mr_str_c(signature_names[i]))) {
            i++;
        }
        bits = (uint8_t)(bits | (1u << i));
    }
    if ((bits & (MODEL_SIGN_STANDARD | MODEL_SIGN_STANDARD_ED25519)) != 0 &&
        !parser->context->has_signing) {
        return refuse(parser->refusal, REFUSAL_MALFORMED,
                      "settings.signatures: make a signing secret first (POST "
                      "/v1/destinations/{id}/signing-secret), then choose this signature.");
    }
    parser->out->signatures = bits;
    return MR_OK;
}

/* ---- headers ---- */

static bool is_token(mr_str name) {
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        bool is_alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!is_alnum && (c == 0 || strchr("!#$%&'*+-.^_`|~", c) == NULL)) {
            return false;
        }
    }
    return name.len > 0 && name.len <= MODEL_HEADER_NAME_MAX;
}

static bool is_reserved(mr_str name) {
    static const char *const names[] = {
        "host", "connection", "transfer-encoding", "keep-alive", "upgrade",   "expect",
        "te",   "trailer",    "proxy-connection",  "date",       "user-agent"};
    static const char *const prefixes[] = {"content-", "kore-", "webhook-", "ce-"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (mr_str_eq_nocase(name, mr_str_c(names[i]))) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        mr_str prefix = mr_str_c(prefixes[i]);
        if (mr_str_eq_nocase(mr_str_slice(name, 0, prefix.len), prefix)) {
            return true;
        }
    }
    return false;
}

static bool is_field_value(mr_str value) {
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c != '\t' && (c < ' ' || c >= 0x7f)) {
            return false;
        }
    }
    return value.len <= MODEL_HEADER_VALUE_MAX && mr_str_eq(mr_str_trim(value), value);
}

/* Names are compared without case, as HTTP does. */
static json_value stored_header(const struct settings_context *context, mr_str name,
                                mr_arena *arena) {
    json_value headers = json_find(context->stored, MR_STR("headers"));
    for (json_iter it = json_iter_of(headers); json_next(&it);) {
        mr_str stored = MR_STR_NONE;
        if (mr_is_ok(json_string(it.name, arena, &stored)) && mr_str_eq_nocase(stored, name)) {
            return it.value;
        }
    }
    return JSON_NONE;
}

static mr_err secret_of(const struct parser *parser, json_value value, mr_secret *ret_secret) {
    mr_buf text;
    mr_buf_init_private(&text, MODEL_PEM_BYTES_MAX);
    mr_err err = json_string_append(value, &text);
    if (mr_is_ok(err)) {
        err = mr_secret_new(parser->context->options->slab, mr_buf_view(&text), ret_secret);
    }
    if (text.ptr != NULL) {
        crypto_wipe(text.ptr, text.cap);
    }
    mr_buf_done(&text);
    return err;
}

static mr_err parse_header(const struct parser *parser, json_iter *it, struct model_header *headers,
                           size_t n) {
    mr_str name;
    MR_TRY(json_string(it->name, parser->arena, &name));
    if (!is_token(name) || is_reserved(name)) {
        return refuse(parser->refusal, REFUSAL_MALFORMED,
                      "settings.headers: the name \"%.*s\" is not allowed (not a header name, or "
                      "one that Millrace or HTTP itself sets).",
                      (int)(name.len < 100 ? name.len : 100), name.ptr);
    }
    for (size_t i = 0; i < n; i++) {
        if (mr_str_eq_nocase(headers[i].name, name)) {
            return refuse(parser->refusal, REFUSAL_MALFORMED,
                          "settings.headers names \"%.*s\" twice.", MR_FMT(name));
        }
    }
    json_value value = it->value;
    if (is_redacted(value)) {
        value = stored_header(parser->context, name, parser->arena);
        if (json_is_absent(value)) {
            return refuse(parser->refusal, REFUSAL_MALFORMED,
                          "settings.headers: \"%.*s\" has no stored value that \"" SETTINGS_REDACTED
                          "\" could stand for.",
                          MR_FMT(name));
        }
    }
    headers[n].name = mr_arena_str(parser->arena, name);
    if (mr_str_is_absent(headers[n].name)) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_err err = json_kind_of(value) == JSON_STRING ? secret_of(parser, value, &headers[n].value)
                                                    : MR_ERR(MR_E_INVALID);
    if (mr_err_is(err, MR_E_NOMEM) ||
        (mr_is_ok(err) && is_field_value(mr_secret_reveal(headers[n].value)))) {
        return err;
    }
    mr_secret_unref(&headers[n].value);
    return refuse(parser->refusal, REFUSAL_MALFORMED,
                  "settings.headers: the value of \"%.*s\" must be a string of at most %d visible "
                  "ASCII characters.",
                  MR_FMT(name), MODEL_HEADER_VALUE_MAX);
}

static mr_err parse_headers(const struct parser *parser) {
    json_value object = shape_value(parser->settings, "headers");
    size_t count = json_count(object);
    if (json_is_absent(object)) {
        return MR_OK;
    }
    if (json_kind_of(object) != JSON_OBJECT || count > MODEL_HEADERS_MAX) {
        return refuse(parser->refusal, REFUSAL_MALFORMED,
                      "settings.headers must be an object of at most %d members.",
                      MODEL_HEADERS_MAX);
    }
    if (count == 0) {
        return MR_OK;
    }
    struct model_header *headers = mr_arena_calloc(parser->arena, count, sizeof *headers);
    if (headers == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    parser->out->headers = headers;
    for (json_iter it = json_iter_of(object); json_next(&it);) {
        MR_TRY(parse_header(parser, &it, headers, parser->out->n_headers));
        parser->out->n_headers++; /* counted only when whole: release walks these */
    }
    return MR_OK;
}

/* ---- certificates ---- */

static mr_err parse_client_key(const struct parser *parser) {
    json_value value = shape_value(parser->settings, "client_key_pem");
    if (json_is_absent(value)) {
        return MR_OK;
    }
    if (is_redacted(value)) {
        value = json_find(parser->context->stored, MR_STR("client_key_pem"));
    }
    mr_err err = json_kind_of(value) == JSON_STRING
                     ? secret_of(parser, value, &parser->out->client_key_pem)
                     : MR_ERR(MR_E_INVALID);
    if (mr_err_is(err, MR_E_INVALID) || mr_err_is(err, MR_E_LIMIT)) {
        return refuse(parser->refusal, REFUSAL_MALFORMED,
                      "settings.client_key_pem must be a string of at most %d bytes.",
                      MODEL_PEM_BYTES_MAX);
    }
    return err;
}

static mr_err judge_certificates(const struct parser *parser) {
    const struct model_webhook *out = parser->out;
    mr_str key = mr_secret_reveal(out->client_key_pem);
    size_t n = 0;
    if (mr_str_is_absent(out->client_cert_pem) != mr_str_is_absent(key)) {
        return refuse(parser->refusal, REFUSAL_MISSING_PARAMETER,
                      "Missing member: %s (a client certificate needs its key, and the reverse).",
                      mr_str_is_absent(key) ? "settings.client_key_pem"
                                            : "settings.client_cert_pem");
    }
    if (parser->context->is_trusted) {
        return MR_OK;
    }
    if (!mr_str_is_absent(out->ca_pem) && mr_is_err(pem_check_certificates(out->ca_pem, &n))) {
        return refuse(parser->refusal, REFUSAL_MALFORMED,
                      "settings.ca_pem must hold one or more certificates in PEM form.");
    }
    if (mr_str_is_absent(key)) {
        return MR_OK;
    }
    if (mr_is_err(pem_check_certificates(out->client_cert_pem, &n))) {
        return refuse(parser->refusal, REFUSAL_MALFORMED,
                      "settings.client_cert_pem must hold one or more certificates in PEM form.");
    }
    if (mr_is_err(pem_check_private_key(key))) {
        return refuse(parser->refusal, REFUSAL_MALFORMED,
                      "settings.client_key_pem must hold a private key in PEM form without a "
                      "passphrase.");
    }
    if (mr_is_err(pem_check_pair(out->client_cert_pem, key))) {
        return refuse(parser->refusal, REFUSAL_MALFORMED,
                      "settings.client_key_pem is not the key of the first certificate of "
                      "settings.client_cert_pem.");
    }
    return MR_OK;
}

static mr_err parse_certificates(const struct parser *parser) {
    struct model_webhook *out = parser->out;
    MR_TRY(shape_text(parser->settings, "client_cert_pem", parser->arena, &out->client_cert_pem));
    MR_TRY(shape_text(parser->settings, "ca_pem", parser->arena, &out->ca_pem));
    MR_TRY(parse_client_key(parser));
    return judge_certificates(parser);
}

/* ---- all ---- */

static void take_plain(json_value s, struct model_webhook *out) {
    uint32_t method = 0;
    uint32_t format = 0;
    shape_enum(s, &webhook_shape, "method", &method);
    shape_enum(s, &webhook_shape, "format", &format);
    shape_bool(s, "escape_non_ascii", &out->escape_non_ascii);
    out->method = (enum model_method)method;
    out->format = (enum model_format)format;
}

static mr_err parse_webhook(const struct settings_context *context, json_value settings,
                            mr_arena *arena, struct model_settings *out,
                            struct refusal *ret_refusal) {
    struct model_settings parsed;
    model_settings_init(&parsed, MODEL_KIND_WEBHOOK);
    struct parser parser = {
        .context = context,
        .settings = settings,
        .arena = arena,
        .out = &parsed.webhook,
        .refusal = ret_refusal,
    };
    mr_err err = parse_url(&parser);
    take_plain(settings, &parsed.webhook);
    if (mr_is_ok(err)) {
        err = settings_parse_delivery(settings, &parsed.delivery, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = parse_signatures(&parser);
    }
    if (mr_is_ok(err)) {
        err = parse_headers(&parser);
    }
    if (mr_is_ok(err)) {
        err = parse_certificates(&parser);
    }
    if (mr_is_err(err)) {
        model_settings_release(&parsed);
        return err;
    }
    *out = parsed;
    return MR_OK;
}

mr_err settings_parse(const struct settings_context *context, json_value settings, mr_arena *arena,
                      struct model_settings *out, struct refusal *ret_refusal) {
    switch (context->kind) {
    case MODEL_KIND_WEBHOOK:
        return parse_webhook(context, settings, arena, out, ret_refusal);
    case MODEL_KIND_KINESIS:
        return settings_parse_kinesis(settings, arena, out, ret_refusal);
    }
    return MR_ERR(MR_E_INVALID);
}

/* ---- writing ---- */

static void write_headers(const struct model_webhook *webhook, bool reveal, json_out *out) {
    json_out_member_object(out, "headers");
    for (size_t i = 0; i < webhook->n_headers; i++) {
        json_out_name(out, webhook->headers[i].name);
        json_out_str(out, reveal ? mr_secret_reveal(webhook->headers[i].value)
                                 : MR_STR(SETTINGS_REDACTED));
    }
    json_out_end(out);
}

static void write_webhook(const struct model_settings *settings, json_out *w) {
    const struct model_webhook *webhook = &settings->webhook;
    json_out_member_str(w, "url", webhook->url);
    json_out_member_c(w, "method", method_names[webhook->method]);
    settings_write_delivery(&settings->delivery, w);
    write_headers(webhook, false, w);
    json_out_member_array(w, "signatures");
    for (size_t i = 0; i < 3; i++) {
        if ((webhook->signatures & (1u << i)) != 0) {
            json_out_str(w, mr_str_c(signature_names[i]));
        }
    }
    json_out_end(w);
    json_out_member_bool(w, "escape_non_ascii", webhook->escape_non_ascii);
    json_out_member_c(w, "format", format_names[webhook->format]);
    json_out_member_str(w, "client_cert_pem", webhook->client_cert_pem);
    json_out_member_str(w, "client_key_pem",
                        mr_secret_is_none(webhook->client_key_pem) ? MR_STR_NONE
                                                                   : MR_STR(SETTINGS_REDACTED));
    json_out_member_str(w, "ca_pem", webhook->ca_pem);
}

mr_err settings_write_public(const struct model_settings *settings, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    switch (settings->kind) {
    case MODEL_KIND_WEBHOOK:
        write_webhook(settings, &writer);
        break;
    case MODEL_KIND_KINESIS:
        settings_write_kinesis(settings, &writer);
        break;
    }
    json_out_end(&writer);
    return json_out_finish(&writer);
}

mr_err settings_write_private(const struct model_settings *settings, mr_buf *out, bool *ret_has) {
    const struct model_webhook *webhook = &settings->webhook;
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    write_headers(webhook, true, &writer);
    if (!mr_secret_is_none(webhook->client_key_pem)) {
        json_out_member_str(&writer, "client_key_pem", mr_secret_reveal(webhook->client_key_pem));
    }
    json_out_end(&writer);
    *ret_has = webhook->n_headers > 0 || !mr_secret_is_none(webhook->client_key_pem);
    return json_out_finish(&writer);
}
