/* POST /v1/callbacks/test: the callback is sent at once and what was met is the answer. Its row in
 * the audit log names the address, not the parameters: they may hold what is nobody else's. */
#include "api/callbacks.h"

#include "dispatch/testing/callback.h"
#include "json/write.h"

/* What dispatch/testing/callback.c writes. */
static const struct shape_member step_members[] = {
    {"step", SHAPE_TEXT, 0, .what = "name, address, connect, tls, request, response"},
    {"ok", .kind = SHAPE_BOOL},
    {"duration_ms", .kind = SHAPE_NUMBER},
    {"detail", .kind = SHAPE_TEXT},
};
static const struct shape step_answer = {"CallbackTestStep", step_members,
                                         sizeof step_members / sizeof step_members[0]};
static const struct shape_member request_members[] = {
    {"method", .kind = SHAPE_TEXT},
    {"url", .kind = SHAPE_TEXT},
    {"kore-idempotency-token", .kind = SHAPE_TEXT},
    {"body", SHAPE_TEXT, SHAPE_OPTIONAL, .what = "Of a POST"},
    {"query", SHAPE_TEXT, SHAPE_OPTIONAL, .what = "Of a GET: what the URL's own query got"},
};
static const struct shape request_answer = {"CallbackTestRequest", request_members,
                                            sizeof request_members / sizeof request_members[0]};
static const struct shape_member field_members[] = {
    {"name", .kind = SHAPE_TEXT},
    {"value", .kind = SHAPE_TEXT},
};
static const struct shape field_answer = {"CallbackTestField", field_members,
                                          sizeof field_members / sizeof field_members[0]};
static const struct shape_member response_members[] = {
    {"status", .kind = SHAPE_NUMBER},
    {"headers", SHAPE_INNERS, 0, .inner = &field_answer},
    {"body", SHAPE_TEXT, .flags = SHAPE_OPTIONAL},
    {"body_base64", SHAPE_TEXT, SHAPE_OPTIONAL, .what = "In place of body where it is no UTF-8"},
};
static const struct shape response_answer = {"CallbackTestResponse", response_members,
                                             sizeof response_members / sizeof response_members[0]};
static const struct shape_member tested_members[] = {
    {"ok", .kind = SHAPE_BOOL},
    {"steps", SHAPE_INNERS, 0, .inner = &step_answer},
    {"request", SHAPE_INNER, 0, .inner = &request_answer},
    {"response", SHAPE_INNER, SHAPE_NULLABLE, .inner = &response_answer},
};
static const struct shape test_answer = {"CallbackTest", tested_members,
                                         sizeof tested_members / sizeof tested_members[0]};

const struct api_doc api_doc_CALLBACK_TEST = {
    .summary = "Test a callback",
    .what = "Sends it at once, once, and tells what it met, ok false included. Nothing of it is "
            "kept. Ten a minute at most.",
    .media = API_MEDIA_JSON,
    .body = &api_callback_shape,
    .status = 200,
    .answer = &test_answer,
    API_REFUSALS(413, 429)};

static void on_tested(void *ctx, mr_str json) {
    struct api_call *call = ctx;
    if (json.len == 0 || mr_is_err(mr_buf_str(&call->out, json))) {
        api_refuse_memory(call);
    } else {
        api_answer(call);
    }
    api_call_release(call);
}

/* The row is stored. */
static void start_test(struct api_call *call) {
    struct api *api = call->api;
    const struct record_callback *callback = call->ask;
    const struct model_account *account = snapshot_account(api->snapshot, call->account);
    if (account == NULL) {
        api_refuse_memory(call);
        return;
    }
    const struct callback_test_spec spec = {.env = api->sink,
                                            .loop = api->loop,
                                            .url = callback->url,
                                            .body = callback->body,
                                            .is_get = callback->method == RECORD_CALLBACK_GET,
                                            .is_json = callback->content == RECORD_CALLBACK_JSON,
                                            .pool_key = UINT64_MAX - call->account,
                                            .secret = account->webhook_secret,
                                            .on_done = on_tested,
                                            .ctx = call};
    api_call_hold(call);
    if (mr_is_err(callback_test_start(&spec))) {
        api_refuse_memory(call);
        api_call_release(call);
    }
}

/* {"method","url"}, the URL without its query; absent: no memory. */
static mr_str detail_of(struct api_call *call, const struct record_callback *callback) {
    size_t end = mr_str_find_byte(callback->url, '?', 0);
    mr_buf text;
    json_out o;
    mr_buf_init(&text, AUDIT_DETAIL_MAX);
    json_out_init(&o, &text);
    json_out_object(&o);
    json_out_member_c(&o, "method", api_callback_methods[callback->method]);
    json_out_member_str(&o, "url",
                        mr_str_slice(callback->url, 0, end == SIZE_MAX ? callback->url.len : end));
    json_out_end(&o);
    mr_str detail = mr_is_ok(json_out_finish(&o)) ? mr_arena_str(&call->arena, mr_buf_view(&text))
                                                  : MR_STR_NONE;
    mr_buf_done(&text);
    return detail;
}

void api_callback_test(struct api_call *call) {
    if (!api_require_json(call) || !api_query_take(call, NULL)) {
        return;
    }
    struct record_callback *callback = mr_arena_calloc(&call->arena, 1, sizeof *callback);
    if (callback == NULL) {
        api_refuse_memory(call);
        return;
    }
    if (!api_callback_take(call, callback)) {
        return;
    }
    struct api *api = call->api;
    int64_t wait_ms = 0;
    if (!test_limits_take(api->callback_test_limits, call->account, loop_now(api->loop),
                          &wait_ms)) {
        struct refusal refusal;
        mr_ignore(refuse(&refusal, REFUSAL_TOO_MANY,
                         "an account tests callbacks ten times a minute at most"),
                  "the refusal is what is wanted");
        refusal.retry_after_s = (int)(wait_ms / 1000) + 1;
        api_refuse_with(call, &refusal);
        return;
    }
    call->ask = callback;
    api_audit_told_then(call, "callback.test", MR_STR_NONE, detail_of(call, callback), start_test);
}
