/* What all destination kinds share: the table of kinds, targets, outcomes. See sink.h. */
#include "sink/sink.h"

#include "base/mem.h"
#include "base/num.h"
#include "sink/kinesis.h"
#include "sink/webhook.h"

#include <stdio.h>

#define RETRY_AFTER_S_MAX UINT64_C(1000000000)

static const struct sink_kind *kind_of(const struct model_destination *destination) {
    static const struct sink_kind *const kinds[] = {
        [MODEL_KIND_WEBHOOK] = &webhook_kind, [MODEL_KIND_KINESIS] = &kinesis_kind};
    return kinds[destination->kind];
}

uint32_t sink_form_of(const struct model_destination *destination) {
    return kind_of(destination)->form(destination);
}

mr_str sink_method(const struct sink_target *target, uint32_t form) {
    return target->kind->method(form);
}

uint32_t sink_batch_max(const struct model_destination *destination) {
    return kind_of(destination)->batch_max(destination);
}

bool sink_mixes_types(const struct model_destination *destination) {
    return kind_of(destination)->mixes_types;
}

/* ---- targets ---- */

mr_err sink_target_new(const struct sink_env *env, struct model_destination *destination,
                       struct sink_target **ret_target) {
    struct sink_target *target = MR_NEW(struct sink_target);
    if (target == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    target->refs = 1;
    target->kind = kind_of(destination);
    model_object_ref(&destination->object);
    target->destination = destination;
    mr_err err = target->kind->prepare(env, target);
    if (mr_is_err(err)) {
        sink_target_unref(target);
        return err;
    }
    *ret_target = target;
    return MR_OK;
}

void sink_target_ref(struct sink_target *target) {
    target->refs++;
}

void sink_target_unref(struct sink_target *target) {
    if (target == NULL || --target->refs > 0) {
        return;
    }
    if (target->kind->release != NULL) {
        target->kind->release(target);
    }
    net_trust_unref(target->trust);
    model_object_unref(&target->destination->object);
    mr_free(target);
}

void sink_target_problem(struct sink_target *target, const char *text) {
    snprintf(target->problem, sizeof target->problem, "%s", text);
}

/* ---- requests ---- */

mr_err sink_compose(struct sink_request *request, const mr_str *envelopes, size_t n,
                    size_t bytes_max, mr_arena *arena, size_t *ret_used) {
    return request->target->kind->compose(request, envelopes, n, bytes_max, arena, ret_used);
}

mr_err sink_send(const struct sink_env *env, struct sink_request *request, const char **ret_why) {
    if (request->target->problem[0] != '\0') {
        *ret_why = request->target->problem;
        return MR_ERR(MR_E_INVALID);
    }
    return request->target->kind->send(env, request);
}

void sink_cancel(struct sink_request *request) {
    request->target->kind->cancel(request);
}

void sink_recall(struct sink_request *request) {
    request->target->kind->recall(request);
}

void sink_clear(struct sink_request *request) {
    if (request->own != NULL) {
        request->target->kind->clear(request);
        request->own = NULL;
    }
}

void sink_call_cancel(struct sink_request *request) {
    if (request->call != NULL) {
        http_call_cancel(request->call);
    }
}

void sink_call_recall(struct sink_request *request) {
    if (request->call != NULL && !http_call_is_sent(request->call)) {
        http_call_cancel(request->call);
    }
}

/* ---- outcomes ---- */

enum sink_outcome sink_outcome_of(const struct http_result *http) {
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

int64_t sink_retry_after_parse(mr_str value, mr_wall now) {
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

int64_t sink_retry_after_ms(const struct http_result *http, mr_wall now) {
    if (http->failure != HTTP_FAIL_NONE || (http->status != 429 && http->status != 503)) {
        return -1;
    }
    mr_str value = mr_fields_find(http->fields, MR_STR("retry-after"));
    return mr_str_is_absent(value) ? -1 : sink_retry_after_parse(value, now);
}
