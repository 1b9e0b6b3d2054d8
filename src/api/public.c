/* What is served without a token: schemas, pages of error codes, ping, health, readiness, metrics;
 * and the live view. */
#include "api/call.h"
#include "api/caller.h"

#include "base/num.h"
#include "crypto/secret.h"
#include "json/write.h"

/* A fixed answer to a call without parameters. */
static void answer_status(struct api_call *call, mr_str json) {
    if (!api_query_take(call, NULL, NULL, 0)) {
        return;
    }
    if (mr_is_err(mr_buf_str(&call->out, json))) {
        api_refuse_memory(call);
        return;
    }
    api_answer(call);
}

void api_ping(struct api_call *call) {
    answer_status(call, MR_STR("{\"status\":\"ok\"}"));
}

void api_schema_get(struct api_call *call) {
    if (!api_query_take(call, NULL, NULL, 0)) {
        return;
    }
    uint64_t version = 0;
    mr_str name = api_percent_decode(&call->arena, call->params[0], false);
    const struct catalogue_schema *schema = NULL;
    if (!mr_str_is_absent(name) && !mr_str_starts(call->params[1], MR_STR("0")) &&
        mr_is_ok(mr_u64_parse(call->params[1], 1, UINT32_MAX, &version))) {
        schema =
            catalogue_schema_find(snapshot_catalogue(call->api->snapshot), name, (uint32_t)version);
    }
    if (schema == NULL) {
        api_refuse(call, 404, 20404, "there is no such schema version");
        return;
    }
    if (mr_is_err(mr_buf_str(&call->out, schema->document))) {
        api_refuse_memory(call);
        return;
    }
    const mr_field cache = {MR_STR("cache-control"), MR_STR("public, max-age=31536000, immutable")};
    api_answer_as(call, MR_STR("application/schema+json"), &cache, 1);
}

void api_error_page_get(struct api_call *call) {
    if (!api_query_take(call, NULL, NULL, 0)) {
        return;
    }
    uint64_t code;
    if (mr_is_err(mr_u64_parse(call->params[0], 1, 99999, &code)) ||
        mr_is_err(api_error_page((uint32_t)code, &call->out))) {
        api_refuse(call, 404, 20404, "there is no such error code");
        return;
    }
    const mr_field fields[] = {{MR_STR("cache-control"), MR_STR("public, max-age=3600")},
                               {MR_STR("content-security-policy"), MR_STR("default-src 'none'")},
                               {MR_STR("x-content-type-options"), MR_STR("nosniff")}};
    api_answer_as(call, MR_STR("text/html; charset=utf-8"), fields, 3);
}

void api_healthz(struct api_call *call) {
    answer_status(call, MR_STR("{\"status\":\"ok\"}"));
}

void api_readyz(struct api_call *call) {
    const char *why = call->api->program.not_ready(call->api->program.ctx);
    if (why != NULL) {
        api_refuse(call, 503, 20503, "not ready: %s", why);
        return;
    }
    answer_status(call, MR_STR("{\"status\":\"ready\"}"));
}

void api_metrics(struct api_call *call) {
    const struct api *api = call->api;
    if (!api->metrics_open) {
        if (mr_str_is_absent(api->metrics_token)) {
            api_refuse(call, 404, 20404, "there is no such address here");
            return;
        }
        mr_str token = auth_bearer_of(mr_fields_find(call->ex->fields, MR_STR("authorization")));
        if (mr_str_is_absent(token)) {
            api_refuse(call, 401, 20401, "the metrics token is required: Authorization: Bearer …");
            return;
        }
        if (token.len != api->metrics_token.len ||
            !crypto_equal(token.ptr, api->metrics_token.ptr, token.len)) {
            api_refuse(call, 403, 20006, "this is not the metrics token");
            return;
        }
    }
    if (!api_query_take(call, NULL, NULL, 0)) {
        return;
    }
    if (mr_is_err(api->program.metrics(api->program.ctx, &call->out))) {
        api_refuse_memory(call);
        return;
    }
    api_answer_as(call, MR_STR("text/plain; version=0.0.4; charset=utf-8"), NULL, 0);
}

/* Who reads, as it was found a moment ago. */
static struct tail_caller reader_of(struct api_call *call) {
    struct api_caller caller;
    struct tail_caller reader = {.is_user = call->user != 0};
    enum api_verdict verdict = api_check_caller(call->api, call->ex, call->route, &caller);
    MR_ASSERT(verdict == API_ALLOWED);
    if (reader.is_user) {
        bool fits = mr_str_to_c(call->session_id, reader.session_id, sizeof reader.session_id);
        MR_ASSERT(fits);
    } else {
        reader.claims = *caller.claims;
    }
    return reader;
}

void api_tail(struct api_call *call) {
    static const char *const names[] = {"destination_id", "type"};
    mr_str values[2];
    if (!api_query_take(call, names, values, 2)) {
        return;
    }
    struct tail_filter filter = {.account = call->account, .type = values[1]};
    if (!mr_str_is_absent(values[0])) {
        const struct model_destination *destination =
            snapshot_destination_by_id(call->api->snapshot, values[0]);
        if (destination == NULL || destination->account != call->account) {
            api_refuse(call, 404, 20404, "there is no such destination");
            return;
        }
        filter.destination = destination->object.number;
    }
    if (call->ex->method == HTTP_HEAD) { /* a stream without a body would never end */
        const mr_field fields[] = {{MR_STR("content-type"), MR_STR("text/event-stream")},
                                   {MR_STR("cache-control"), MR_STR("no-store")}};
        api_answer_as(call, MR_STR_NONE, fields, 2);
        return;
    }
    filter.caller = reader_of(call);
    filter.may_read = api_may_still_read;
    filter.ctx = call->api;
    struct http_exchange *ex = call->ex;
    call->ex = NULL;
    ex->user = NULL;
    if (mr_is_err(tail_open(call->api->tail, ex, &filter))) {
        call->ex = ex;
        ex->user = call;
        api_refuse(call, 503, 20503, "too many live views are open; close one");
        return;
    }
    api_call_release(call);
}
