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

#include "base/num.h"
#include "sink/signature.h"

#define FIELDS_MAX         (64 + 16 + MODEL_HEADERS_MAX)
#define RETRY_AFTER_S_MAX  UINT64_C(1000000000)
#define STANDARD_TEXT_MAX  1024
#define CONTENT_TYPE_NAMES MR_STR("content-type")

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

mr_err webhook_compose(struct sink_request *request, const mr_str *envelopes, size_t n,
                       size_t bytes_max, mr_arena *arena, size_t *ret_used) {
    enum event_format format = sink_form_format(request->form);
    enum json_escape escape = sink_form_escape(request->form);
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

static enum sink_outcome outcome_of(const struct http_result *http) {
    switch (http->failure) {
    case HTTP_FAIL_NONE:
        return SINK_ANSWERED;
    case HTTP_FAIL_NAME:
        return SINK_NAME;
    case HTTP_FAIL_ADDRESS:
        return SINK_ADDRESS;
    case HTTP_FAIL_CONNECT:
        return SINK_CONNECT;
    case HTTP_FAIL_TLS:
        return SINK_TLS;
    case HTTP_FAIL_REQUEST:
        return SINK_RESET;
    case HTTP_FAIL_RESPONSE:
        return http->is_stale_reuse ? SINK_RESET : SINK_RESPONSE;
    case HTTP_FAIL_TIMEOUT:
        return SINK_TIMEOUT;
    case HTTP_FAIL_CANCELLED:
        return http->sends > 0 ? SINK_RESET : SINK_CANCELLED;
    }
    return SINK_RESPONSE;
}

int64_t webhook_retry_after_ms(mr_str value, mr_wall now) {
    uint64_t seconds;
    mr_wall at;
    if (mr_is_ok(mr_u64_parse(value, 0, RETRY_AFTER_S_MAX, &seconds))) {
        return (int64_t)seconds * 1000;
    }
    if (mr_is_ok(mr_time_parse_http(value, now, &at))) {
        return at.ns > now.ns ? (at.ns - now.ns) / MR_NS_PER_MS : 0;
    }
    return -1;
}

static void on_call_done(void *ctx, const struct http_result *http) {
    struct sink_request *request = ctx;
    request->call = NULL;
    struct sink_result result = {.outcome = outcome_of(http),
                                 .status = http->status,
                                 .retry_after_ms = -1,
                                 .duration_ns = http->total_ns,
                                 .detail = http->detail,
                                 .http = http};
    if (result.outcome == SINK_ANSWERED && (http->status == 429 || http->status == 503)) {
        mr_str value = mr_fields_find(http->fields, MR_STR("retry-after"));
        mr_wall now = {request->now.ns + http->total_ns};
        result.retry_after_ms = mr_str_is_absent(value) ? -1 : webhook_retry_after_ms(value, now);
    }
    request->on_done(request, &result);
}

static void on_body_released(void *ctx) {
    struct sink_request *request = ctx;
    request->on_body_sent(request);
}

mr_err webhook_send(const struct sink_env *env, struct sink_request *request) {
    const struct model_destination *destination = request->target->destination;
    const struct model_webhook *webhook = &destination->webhook;
    struct field_list list = {.len = 0};
    MR_ASSERT(request->fields.len <= 64 + 8);
    for (size_t i = 0; i < request->fields.len; i++) {
        add_field(&list, request->fields.ptr[i].name, request->fields.ptr[i].value);
    }
    mr_str method = model_method_name(sink_form_method(request->form));
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
