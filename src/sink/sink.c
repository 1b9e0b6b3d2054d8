/* What all destination kinds share: targets, forms, composing. See sink.h. */
#include "sink/sink.h"

#include "base/mem.h"
#include "sink/webhook.h"

#include <stdio.h>

_Static_assert((int)MODEL_FORMAT_KORE == (int)EVENT_FORMAT_KORE &&
                   (int)MODEL_FORMAT_CE_BATCH == (int)EVENT_FORMAT_CE_BATCH &&
                   (int)MODEL_FORMAT_CE_STRUCTURED == (int)EVENT_FORMAT_CE_STRUCTURED &&
                   (int)MODEL_FORMAT_CE_BINARY == (int)EVENT_FORMAT_CE_BINARY,
               "the store's formats are those of the event room");

uint32_t sink_form_of(const struct model_destination *destination) {
    const struct model_webhook *webhook = &destination->webhook;
    return (uint32_t)webhook->format | (webhook->escape_non_ascii ? 4u : 0u) |
           (webhook->method == MODEL_GET ? 8u : 0u);
}

enum event_format sink_form_format(uint32_t form) {
    return (enum event_format)(form & 3u);
}

enum json_escape sink_form_escape(uint32_t form) {
    return (form & 4u) != 0 ? JSON_ESCAPE_NON_ASCII : JSON_UTF8;
}

enum model_method sink_form_method(uint32_t form) {
    return (form & 8u) != 0 ? MODEL_GET : MODEL_POST;
}

uint32_t sink_batch_max(const struct model_destination *destination) {
    uint32_t batch_max = destination->delivery.batch_max;
    if (destination->kind != MODEL_KIND_WEBHOOK) {
        return batch_max;
    }
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
        snprintf(target->trust_problem, sizeof target->trust_problem, "%s", problem.text);
        return MR_OK;
    }
    return err;
}

mr_err sink_target_new(const struct sink_env *env, struct model_destination *destination,
                       struct sink_target **ret_target) {
    struct sink_target *target = MR_NEW(struct sink_target);
    if (target == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    target->refs = 1;
    model_object_ref(&destination->object);
    target->destination = destination;
    target->url_problem = net_url_parse(destination->webhook.url, env->allow_http, &target->url);
    if (target->url_problem == NET_URL_OK && target->url.is_https) {
        mr_err err = prepare_trust(env, target);
        if (mr_is_err(err)) {
            sink_target_unref(target);
            return err;
        }
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
    net_trust_unref(target->trust);
    model_object_unref(&target->destination->object);
    mr_free(target);
}

mr_err sink_compose(struct sink_request *request, const mr_str *envelopes, size_t n,
                    size_t bytes_max, mr_arena *arena, size_t *ret_used) {
    return webhook_compose(request, envelopes, n, bytes_max, arena, ret_used);
}

mr_err sink_send(const struct sink_env *env, struct sink_request *request, const char **ret_why) {
    if (request->target->url_problem != NET_URL_OK) {
        *ret_why = net_url_problem_text(request->target->url_problem);
        return MR_ERR(MR_E_INVALID);
    }
    if (request->target->trust_problem[0] != '\0') {
        *ret_why = request->target->trust_problem;
        return MR_ERR(MR_E_INVALID);
    }
    return webhook_send(env, request);
}

void sink_cancel(struct sink_request *request) {
    if (request->call != NULL) {
        http_call_cancel(request->call);
    }
}

void sink_recall(struct sink_request *request) {
    if (request->call != NULL && !http_call_is_sent(request->call)) {
        http_call_cancel(request->call);
    }
}
