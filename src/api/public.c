/* What is served without a token: schemas, the description of the API, ping, health, readiness,
 * metrics; and the live view. Pages of error codes: errors.c. */
#include "api/call.h"
#include "api/caller.h"

#include "base/num.h"
#include "crypto/secret.h"
#include "json/write.h"

#define TEXT_SCHEMA "{\"type\":\"string\"}"

/* A fixed answer to a call without parameters. */
static void answer_status(struct api_call *call, mr_str json) {
    if (!api_query_take(call, NULL)) {
        return;
    }
    if (mr_is_err(mr_buf_str(&call->out, json))) {
        api_refuse_memory(call);
        return;
    }
    api_answer(call);
}

#define STATUS_SCHEMA(word)                                                                        \
    "{\"type\":\"object\",\"properties\":{\"status\":{\"const\":\"" word                           \
    "\"}},\"required\":[\"status\"],\"additionalProperties\":false}"

const struct api_doc api_doc_PING = {
    .summary = "Is the API there?", .status = 200, .answer_schema = STATUS_SCHEMA("ok")};

void api_ping(struct api_call *call) {
    answer_status(call, MR_STR("{\"status\":\"ok\"}"));
}

const struct api_doc api_doc_SCHEMA_GET = {
    .summary = "Read a schema document",
    .what = "As dataschema of an event names it. It never changes.",
    .status = 200,
    .answer_schema = "{\"type\":[\"object\",\"boolean\"]}",
    .answer_media = "application/schema+json"};

void api_schema_get(struct api_call *call) {
    if (!api_query_take(call, NULL)) {
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

const struct api_doc api_doc_OPENAPI = {
    .summary = "Read this description",
    .what = "OpenAPI 3.1.",
    .status = 200,
    .answer_schema = "{\"type\":\"object\",\"required\":[\"openapi\",\"info\",\"paths\"]}"};

void api_openapi(struct api_call *call) {
    mr_buf *document = &call->api->openapi;
    if (!api_query_take(call, NULL)) {
        return;
    }
    if (document->len == 0 && mr_is_err(api_openapi_write(document))) {
        mr_buf_reset(document);
    }
    if (document->len == 0 || mr_is_err(mr_buf_str(&call->out, mr_buf_view(document)))) {
        api_refuse_memory(call);
        return;
    }
    const mr_field cache = {MR_STR("cache-control"), MR_STR("public, max-age=300")};
    api_answer_as(call, MR_STR("application/json"), &cache, 1);
}

const struct api_doc api_doc_HEALTHZ = {
    .summary = "Is the program alive?", .status = 200, .answer_schema = STATUS_SCHEMA("ok")};

void api_healthz(struct api_call *call) {
    answer_status(call, MR_STR("{\"status\":\"ok\"}"));
}

const struct api_doc api_doc_READYZ = {.summary = "Does the program take calls?",
                                       .status = 200,
                                       .answer_schema = STATUS_SCHEMA("ready")};

void api_readyz(struct api_call *call) {
    const char *why = call->api->program.not_ready(call->api->program.ctx);
    if (why != NULL) {
        api_refuse(call, 503, 20503, "not ready: %s", why);
        return;
    }
    answer_status(call, MR_STR("{\"status\":\"ready\"}"));
}

const struct api_doc api_doc_METRICS = {
    .summary = "Read metrics",
    .what = "In Prometheus' text form. With the setting metrics_token as the bearer token; without "
            "that setting it is not here.",
    .status = 200,
    .answer_schema = TEXT_SCHEMA,
    .answer_media = "text/plain",
    API_REFUSALS(401, 403, 404)};

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
    if (!api_query_take(call, NULL)) {
        return;
    }
    if (mr_is_err(api->program.metrics(api->program.ctx, &call->out))) {
        api_refuse_memory(call);
        return;
    }
    api_answer_as(call, MR_STR("text/plain; version=0.0.4; charset=utf-8"), NULL, 0);
}

static const struct api_param tail_params[] = {
    {"destination_id", API_PARAM_TEXT, .what = "Only what concerns this destination"},
    {"type", API_PARAM_TEXT, .what = "Only events of this type"},
};
const struct api_doc api_doc_TAIL = {
    .summary = "Watch events and attempts as they happen",
    .what = "Server-sent events: accepted, attempt, state, missed. The answer does not end.",
    API_QUERY(tail_params),
    .status = 200,
    .answer_schema = TEXT_SCHEMA,
    .answer_media = "text/event-stream"};

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
    mr_str values[2];
    if (!api_query_take(call, values)) {
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
