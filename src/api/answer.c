/* What calls are answered with: the fields that every answer has, and the one shape of refusals. A
 * call is answered once; after it only the memory is there, for those who hold it. */
#include "api/call.h"

#include <stdarg.h>
#include <stdio.h>

#define FIELDS_MAX 20
#define EXPOSED    "etag, link, location, retry-after, x-request-id"

static size_t common_fields(const struct api_call *call, mr_field *fields) {
    size_t n = 0;
    fields[n++] = (mr_field){MR_STR("access-control-allow-origin"), MR_STR("*")};
    fields[n++] = (mr_field){MR_STR("access-control-expose-headers"), MR_STR(EXPOSED)};
    fields[n++] = (mr_field){MR_STR("x-request-id"), mr_str_c(call->request_id)};
    if (call->etag[0] != '\0') {
        fields[n++] = (mr_field){MR_STR("etag"), mr_str_c(call->etag)};
    }
    if (!mr_str_is_absent(call->location)) {
        fields[n++] = (mr_field){MR_STR("location"), call->location};
    }
    return n;
}

void api_answer_as(struct api_call *call, mr_str content_type, const mr_field *extra, size_t n) {
    if (call->ex == NULL) {
        return;
    }
    mr_field fields[FIELDS_MAX];
    size_t n_fields = common_fields(call, fields);
    if (call->out.len > 0) {
        fields[n_fields++] = (mr_field){MR_STR("content-type"), content_type};
    }
    MR_ASSERT(n_fields + n + API_PROTECTION_FIELDS <= FIELDS_MAX);
    for (size_t i = 0; i < n; i++) {
        fields[n_fields++] = extra[i];
    }
    n_fields += api_protect(call, extra, n, fields + n_fields);
    struct http_exchange *ex = call->ex;
    call->ex = NULL;
    ex->user = NULL;
    http_exchange_answer(ex, call->status, fields, n_fields, mr_buf_view(&call->out));
    api_call_release(call);
}

void api_answer(struct api_call *call) {
    if (call->is_claimed) {
        api_key_settle(call);
        return;
    }
    const mr_field no_store = {MR_STR("cache-control"), MR_STR("no-store")};
    api_answer_as(call, MR_STR("application/json"), &no_store, 1);
}

static void refuse_text(struct api_call *call, int status, uint32_t code, mr_str message,
                        mr_str members, int retry_after_s) {
    if (call->is_claimed) {
        api_key_release(call);
    }
    if (call->ex == NULL) {
        return;
    }
    mr_buf_reset(&call->out);
    call->status = status;
    call->etag[0] = '\0';
    call->location = MR_STR_NONE;
    code = api_error_code_in(auth_route_info(call->route)->errors, code);
    if (mr_is_err(
            api_error_write(call->api->public_url, status, code, message, members, &call->out))) {
        mr_buf_reset(&call->out);
    }
    mr_field extra[4];
    size_t n = 0;
    extra[n++] = (mr_field){MR_STR("cache-control"), MR_STR("no-store")};
    char seconds[16];
    if (retry_after_s > 0 || status == 503 || status == 429) {
        int len = snprintf(seconds, sizeof seconds, "%d", retry_after_s > 0 ? retry_after_s : 1);
        extra[n++] = (mr_field){MR_STR("retry-after"), mr_str_of(seconds, (size_t)len)};
    }
    if (status == 401) {
        extra[n++] = (mr_field){MR_STR("www-authenticate"), MR_STR("Bearer")};
    }
    api_answer_as(call, MR_STR("application/json"), extra, n);
}

void api_refuse(struct api_call *call, int status, uint32_t code, const char *format, ...) {
    char message[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    bool is_cut = n >= (int)sizeof message;
    size_t end = is_cut ? sizeof message - 1 : strlen(message);
    while (is_cut && end > 0 && !mr_str_is_utf8(mr_str_of(message, end))) {
        end--; /* in the middle of a character */
    }
    refuse_text(call, status, code, mr_str_of(message, end), MR_STR_NONE, 0);
}

void api_refuse_members(struct api_call *call, int status, uint32_t code, const char *message,
                        mr_str members) {
    refuse_text(call, status, code, mr_str_c(message), members, 0);
}

void api_refuse_with(struct api_call *call, const struct refusal *refusal) {
    /* A copy: giving a claimed key back uses the call's job, in which it may lie. */
    const struct refusal copy = *refusal;
    refuse_text(call, copy.status, (uint32_t)copy.code, mr_str_c(copy.message),
                mr_buf_view(&call->members), copy.retry_after_s);
}

void api_refuse_memory(struct api_call *call) {
    api_refuse(call, 503, 20503, "could not answer: out of memory; try again");
}
