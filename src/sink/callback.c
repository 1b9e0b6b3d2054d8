/* Callbacks on the wire. See callback.h.
 *
 * Like a webhook's request, a callback is signed at the moment at which it is sent. What is hashed
 * is secret, method, URL without query, and the bytes of the body: of a GET none, for it has no
 * body and the query is sent, not signed. */
#include "sink/callback.h"

#include "sink/signature.h"

#include <stdio.h>

#define TARGET_MAX (NET_URL_BYTES_MAX + SINK_CALLBACK_QUERY_MAX + 2)

size_t sink_callback_key(mr_str url, bool allow_http, char out[static SINK_CALLBACK_KEY_SIZE]) {
    struct net_url parsed;
    if (net_url_parse(url, allow_http, &parsed) != NET_URL_OK) {
        return 0;
    }
    int len = snprintf(out, SINK_CALLBACK_KEY_SIZE, "%s://%.*s:%u",
                       parsed.is_https ? "https" : "http", MR_FMT(parsed.host), parsed.port);
    MR_ASSERT(len > 0 && (size_t)len < SINK_CALLBACK_KEY_SIZE);
    for (int i = 0; i < len; i++) {
        out[i] = (char)(out[i] >= 'A' && out[i] <= 'Z' ? out[i] + ('a' - 'A') : out[i]);
    }
    return (size_t)len;
}

/* ---- the form ---- */

static bool stands_for_itself(unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '*' ||
           c == '-' || c == '.' || c == '_';
}

static mr_err add_encoded(mr_buf *out, mr_str text) {
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (stands_for_itself(c) || c == ' ') {
            MR_TRY(mr_buf_byte(out, c == ' ' ? '+' : (char)c));
        } else {
            const char coded[3] = {'%', digits[c >> 4], digits[c & 15]};
            MR_TRY(mr_buf_append(out, coded, sizeof coded));
        }
    }
    return MR_OK;
}

mr_err sink_callback_form_add(mr_buf *out, mr_str name, mr_str value) {
    if (out->len > 0) {
        MR_TRY(mr_buf_byte(out, '&'));
    }
    MR_TRY(add_encoded(out, name));
    MR_TRY(mr_buf_byte(out, '='));
    return add_encoded(out, value);
}

/* ---- sending ---- */

static mr_err write_target(const struct sink_callback *callback, const struct net_url *url,
                           mr_buf *out) {
    MR_TRY(net_url_target(url, out));
    if (!callback->is_get || callback->body.len == 0) {
        return MR_OK;
    }
    if (mr_str_is_absent(url->query)) {
        MR_TRY(mr_buf_byte(out, '?'));
    } else if (url->query.len > 0) {
        MR_TRY(mr_buf_byte(out, '&'));
    }
    return mr_buf_str(out, callback->body);
}

static void on_call_done(void *ctx, const struct http_result *result) {
    struct sink_callback *callback = ctx;
    callback->call = NULL;
    callback->on_done(callback, result);
}

static mr_err start(const struct sink_env *env, struct sink_callback *callback,
                    const struct net_url *url, mr_str target) {
    mr_str method = callback->is_get ? MR_STR("GET") : MR_STR("POST");
    mr_str body = callback->is_get ? MR_STR("") : callback->body;
    char signature[SIGNATURE_HEX_LEN];
    size_t signature_len = 0;
    if (!mr_secret_is_none(*callback->secret)) {
        MR_TRY(signature_kore(env->hasher, mr_secret_reveal(*callback->secret), method,
                              callback->url, &body, 1, signature));
        signature_len = sizeof signature;
    }
    char date[MR_TIME_TEXT_SIZE];
    size_t date_len = env->strict_date ? mr_time_format_http(callback->now, date)
                                       : mr_time_format_s(callback->now, date);
    mr_field fields[5] = {
        {MR_STR("kore-signature"), mr_str_of(signature, signature_len)},
        {MR_STR("kore-idempotency-token"), mr_str_c(callback->token)},
        {MR_STR("user-agent"), MR_STR("KoreProxy/1.1")},
        {MR_STR("date"), mr_str_of(date, date_len)},
        {MR_STR("content-type"), callback->is_json ? MR_STR("application/json; charset=utf-8")
                                                   : MR_STR("application/x-www-form-urlencoded")}};
    const struct iovec piece = {(void *)(uintptr_t)body.ptr, body.len};
    const struct http_call_spec spec = {.pool_key = callback->pool_key,
                                        .url = url,
                                        .trust = env->trust,
                                        .method = method,
                                        .target = target,
                                        .fields = {fields, callback->is_get ? 4 : 5},
                                        .body = &piece,
                                        .n_body = body.len > 0 ? 1 : 0,
                                        .has_body = !callback->is_get,
                                        .is_suspect = callback->is_suspect,
                                        .is_fresh = callback->is_fresh,
                                        .total_ms = SINK_CALLBACK_TOTAL_MS,
                                        .connect_ms = SINK_CALLBACK_CONNECT_MS,
                                        .read_ms = SINK_CALLBACK_READ_MS,
                                        .on_done = on_call_done,
                                        .ctx = callback};
    return http_call_start(env->client, &spec, &callback->call);
}

mr_err sink_callback_send(const struct sink_env *env, struct sink_callback *callback,
                          const char **ret_why) {
    struct net_url url;
    enum net_url_problem problem = net_url_parse(callback->url, env->allow_http, &url);
    if (problem != NET_URL_OK) {
        *ret_why = net_url_problem_text(problem);
        return MR_ERR(MR_E_INVALID);
    }
    mr_buf target;
    mr_buf_init(&target, TARGET_MAX);
    mr_err err = write_target(callback, &url, &target);
    if (mr_is_ok(err)) {
        err = start(env, callback, &url, mr_buf_view(&target));
    }
    mr_buf_done(&target);
    /* A spec that the client refuses is one of a URL that no check here found wrong. */
    if (mr_err_is(err, MR_E_INVALID)) {
        *ret_why = "the request cannot be written";
    }
    return err;
}

void sink_callback_recall(struct sink_callback *callback) {
    if (callback->call != NULL && !http_call_is_sent(callback->call)) {
        http_call_cancel(callback->call);
    }
}
