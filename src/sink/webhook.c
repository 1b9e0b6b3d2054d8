/* Kore Webhook requests.
 *
 * A request is composed once per attempt from the stored envelopes and signed at the moment it is
 * sent: URL, extra headers, secret and timeout are the destination's present ones, while format,
 * escaping and method are those that the open request was begun with, so that a retry carries the
 * same bytes under the same token.
 *
 * The header list is built on the stack; names and values are slices of static text, of the request
 * or of the destination object, all of which outlive http_call_start, which copies them. */
#include "sink/webhook.h"

#include "sink/signature.h"

#define FIELDS_MAX         (64 + 16 + MODEL_HEADERS_MAX)
#define STANDARD_TEXT_MAX  1024
#define CONTENT_TYPE_NAMES MR_STR("content-type")

_Static_assert((int)MODEL_FORMAT_KORE == (int)EVENT_FORMAT_KORE &&
                   (int)MODEL_FORMAT_CE_BATCH == (int)EVENT_FORMAT_CE_BATCH &&
                   (int)MODEL_FORMAT_CE_STRUCTURED == (int)EVENT_FORMAT_CE_STRUCTURED &&
                   (int)MODEL_FORMAT_CE_BINARY == (int)EVENT_FORMAT_CE_BINARY,
               "the store's formats are those of the event room");

/* The form holds format, escaping and method: bits 0–1, 2, 3. */
static uint32_t webhook_form(const struct model_destination *destination) {
    const struct model_webhook *webhook = &destination->webhook;
    return (uint32_t)webhook->format | (webhook->escape_non_ascii ? 4u : 0u) |
           (webhook->method == MODEL_GET ? 8u : 0u);
}

static enum event_format form_format(uint32_t form) {
    return (enum event_format)(form & 3u);
}

static enum json_escape form_escape(uint32_t form) {
    return (form & 4u) != 0 ? JSON_ESCAPE_NON_ASCII : JSON_UTF8;
}

static enum model_method form_method(uint32_t form) {
    return (form & 8u) != 0 ? MODEL_GET : MODEL_POST;
}

static mr_str webhook_method(uint32_t form) {
    return model_method_name(form_method(form));
}

/* 1 for forms of one event. */
static uint32_t webhook_batch_max(const struct model_destination *destination) {
    uint32_t batch_max = destination->delivery.batch_max;
    size_t most = event_format_events_max((enum event_format)destination->webhook.format);
    return batch_max < most ? batch_max : (uint32_t)most;
}

static mr_err prepare_trust(const struct sink_env *env, struct sink_target *target) {
    const struct model_webhook *webhook = &target->destination->webhook;
    if (webhook->ca_pem.len == 0 && webhook->client_cert_pem.len == 0) {
        target->trust = net_trust_ref(env->trust);
        return MR_OK;
    }
    const struct net_trust_spec spec = {
        .ca_pem = webhook->ca_pem.len > 0 ? webhook->ca_pem : MR_STR_NONE,
        .cert_pem = webhook->client_cert_pem.len > 0 ? webhook->client_cert_pem : MR_STR_NONE,
        .key_pem = mr_secret_reveal(webhook->client_key_pem)};
    struct net_trust_problem problem;
    mr_err err = net_trust_new(env->roots, &spec, &target->trust, &problem);
    if (mr_err_is(err, MR_E_INVALID)) {
        sink_target_problem(target, problem.text);
        return MR_OK;
    }
    return err;
}

static mr_err webhook_prepare(const struct sink_env *env, struct sink_target *target) {
    enum net_url_problem problem =
        net_url_parse(target->destination->webhook.url, env->allow_http, &target->url);
    if (problem != NET_URL_OK) {
        sink_target_problem(target, net_url_problem_text(problem));
        return MR_OK;
    }
    return target->url.is_https ? prepare_trust(env, target) : MR_OK;
}

/* How many envelopes fit: a body is brackets and, per event, the envelope with a comma. Escaping
 * may make it longer than estimated; the limit binds what is stored. */
static size_t count_fitting(const mr_str *envelopes, size_t n, size_t bytes_max) {
    size_t bytes = EVENT_RENDER_OVERHEAD;
    size_t used = 0;
    while (used < n) {
        bytes += envelopes[used].len + 1;
        if (used > 0 && bytes > bytes_max) {
            break;
        }
        used++;
    }
    return used;
}

static mr_err webhook_compose(struct sink_request *request, const mr_str *envelopes, size_t n,
                              size_t bytes_max, mr_arena *arena, size_t *ret_used) {
    enum event_format format = form_format(request->form);
    enum json_escape escape = form_escape(request->form);
    size_t most = event_format_events_max(format);
    size_t used = count_fitting(envelopes, n < most ? n : most, bytes_max);
    if (format == EVENT_FORMAT_CE_BINARY) {
        MR_TRY(event_render_binary(escape, envelopes[0], arena, &request->body, &request->fields));
    } else {
        mr_field *field = mr_arena_alloc(arena, sizeof *field);
        if (field == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        *field = (mr_field){CONTENT_TYPE_NAMES, event_format_content_type(format)};
        MR_TRY(event_render(format, escape, envelopes, used, &request->body));
        request->fields = (mr_fields){field, 1};
    }
    *ret_used = used;
    return MR_OK;
}

/* The header list under construction. */
struct field_list {
    mr_field ptr[FIELDS_MAX];
    size_t len;
};

static void add_field(struct field_list *list, mr_str name, mr_str value) {
    MR_ASSERT(list->len < FIELDS_MAX);
    list->ptr[list->len++] = (mr_field){name, value};
}

/* Signs by Standard Webhooks where the destination asks for it; during a rotation with both keys.
 */
static mr_err add_standard(const struct sink_env *env, const struct sink_request *request,
                           mr_buf *text, struct field_list *list) {
    const struct model_webhook *webhook = &request->target->destination->webhook;
    const struct model_signing *keys = &webhook->signing;
    bool overlap = mr_wall_ms(request->now) < keys->previous_until_ms;
    mr_str id = mr_str_c(request->token);
    mr_str body = mr_buf_view(&request->body);
    MR_TRY(mr_buf_i64(text, request->now.ns / MR_NS_PER_S));
    size_t stamp_len = text->len;
    char stamp_text[24];
    MR_ASSERT(mr_str_to_c(mr_buf_view(text), stamp_text, sizeof stamp_text));
    mr_str stamp = mr_str_of(stamp_text, stamp_len);
    mr_buf scratch;
    mr_buf_init(&scratch, body.len + 256);
    const mr_secret hmac[] = {keys->hmac_key, overlap ? keys->previous_hmac_key : MR_SECRET_NONE};
    const mr_secret ed25519[] = {keys->ed25519_key,
                                 overlap ? keys->previous_ed25519_key : MR_SECRET_NONE};
    mr_err err = MR_OK;
    for (size_t i = 0; i < 2 && mr_is_ok(err); i++) {
        if ((webhook->signatures & MODEL_SIGN_STANDARD) != 0 && !mr_secret_is_none(hmac[i])) {
            err = text->len > stamp_len ? mr_buf_byte(text, ' ') : MR_OK;
            err = mr_is_ok(err) ? signature_standard_hmac(env->hasher, mr_secret_reveal(hmac[i]),
                                                          id, stamp, body, text)
                                : err;
        }
        if (mr_is_ok(err) && (webhook->signatures & MODEL_SIGN_STANDARD_ED25519) != 0 &&
            !mr_secret_is_none(ed25519[i])) {
            err = text->len > stamp_len ? mr_buf_byte(text, ' ') : MR_OK;
            err = mr_is_ok(err)
                      ? signature_standard_ed25519(ed25519[i], id, stamp, body, &scratch, text)
                      : err;
        }
    }
    mr_buf_done(&scratch);
    MR_TRY(err);
    mr_str all = mr_buf_view(text);
    add_field(list, MR_STR("webhook-id"), id);
    add_field(list, MR_STR("webhook-timestamp"), mr_str_slice(all, 0, stamp_len));
    add_field(list, MR_STR("webhook-signature"), mr_str_slice(all, stamp_len, all.len));
    return MR_OK;
}

static void on_call_done(void *ctx, const struct http_result *http) {
    struct sink_request *request = ctx;
    request->call = NULL;
    mr_wall now = {request->now.ns + http->total_ns};
    struct sink_result result = {.outcome = sink_outcome_of(http),
                                 .status = http->status,
                                 .retry_after_ms = sink_retry_after_ms(http, now),
                                 .duration_ns = http->total_ns,
                                 .detail = http->detail,
                                 .http = http};
    request->on_done(request, &result);
}

static void on_body_released(void *ctx) {
    struct sink_request *request = ctx;
    request->on_body_sent(request);
}

static mr_err webhook_send(const struct sink_env *env, struct sink_request *request) {
    const struct model_destination *destination = request->target->destination;
    const struct model_webhook *webhook = &destination->webhook;
    struct field_list list = {.len = 0};
    MR_ASSERT(request->fields.len <= 64 + 8);
    for (size_t i = 0; i < request->fields.len; i++) {
        add_field(&list, request->fields.ptr[i].name, request->fields.ptr[i].value);
    }
    mr_str method = model_method_name(form_method(request->form));
    mr_str body = mr_buf_view(&request->body);
    char signature[SIGNATURE_HEX_LEN];
    size_t signature_len = 0;
    if (!mr_secret_is_none(*request->secret)) {
        MR_TRY(signature_kore(env->hasher, mr_secret_reveal(*request->secret), method,
                              request->target->url.text, &body, 1, signature));
        signature_len = sizeof signature;
    }
    char date[MR_TIME_TEXT_SIZE];
    size_t date_len = env->strict_date ? mr_time_format_http(request->now, date)
                                       : mr_time_format_s(request->now, date);
    add_field(&list, MR_STR("kore-signature"), mr_str_of(signature, signature_len));
    add_field(&list, MR_STR("kore-idempotency-token"), mr_str_c(request->token));
    add_field(&list, MR_STR("user-agent"), MR_STR("KoreProxy/1.1"));
    add_field(&list, MR_STR("date"), mr_str_of(date, date_len));
    for (size_t i = 0; i < webhook->n_headers; i++) {
        add_field(&list, webhook->headers[i].name, mr_secret_reveal(webhook->headers[i].value));
    }
    mr_buf text;
    mr_buf_init(&text, STANDARD_TEXT_MAX);
    mr_err err = MR_OK;
    if ((webhook->signatures & (MODEL_SIGN_STANDARD | MODEL_SIGN_STANDARD_ED25519)) != 0) {
        err = add_standard(env, request, &text, &list);
    }
    if (mr_is_ok(err)) {
        const struct iovec piece = {request->body.ptr, request->body.len};
        const struct http_call_spec spec = {
            .pool_key = destination->object.number,
            .url = &request->target->url,
            .trust = request->target->trust,
            .method = method,
            .fields = {list.ptr, list.len},
            .body = &piece,
            .n_body = request->body.len > 0 ? 1 : 0,
            .has_body = true,
            .is_suspect = request->is_suspect,
            .is_fresh = request->is_fresh,
            .total_ms = request->timeout_ms,
            .on_done = on_call_done,
            .on_body_released = request->on_body_sent != NULL ? on_body_released : NULL,
            .ctx = request};
        err = http_call_start(env->client, &spec, &request->call);
    }
    mr_buf_done(&text);
    return err;
}

const struct sink_kind webhook_kind = {
    .prepare = webhook_prepare,
    .compose = webhook_compose,
    .send = webhook_send,
    .cancel = sink_call_cancel,
    .recall = sink_call_recall,
    .form = webhook_form,
    .method = webhook_method,
    .batch_max = webhook_batch_max,
};
