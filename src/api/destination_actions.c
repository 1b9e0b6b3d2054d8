/* What is done to a destination beyond its row: a new signing secret, and the test event, whose
 * outcome goes into the store after the answer. */
#include "api/destinations.h"

#include "base/mem.h"
#include "crypto/secret.h"

/* ---- the signing secret ---- */

static mr_err signing_secret(struct control *control, struct api_call *call) {
    mr_str secret;
    mr_str public_key;
    MR_TRY(destinations_signing_secret(control, call->account, call->params[0], call->now,
                                       &call->arena, &secret, &public_key, &call->job.refusal));
    call->status = 201;
    mr_err err = mr_buf_printf(&call->out, "{\"secret\":\"%.*s\",\"public_key\":\"%.*s\"}",
                               MR_FMT(secret), MR_FMT(public_key));
    crypto_wipe((void *)(uintptr_t)secret.ptr, secret.len);
    MR_TRY(err);
    return mr_buf_printf(&call->stored, "{\"public_key\":\"%.*s\"}", MR_FMT(public_key));
}

/* No body, or an object without members. False: refused. */
static bool take_nothing(struct api_call *call) {
    json_tape tape;
    bool ok = api_body_take(call, api_body_or_object(call), &tape);
    json_tape_done(&tape);
    return ok;
}

static const struct shape_member secret_members[] = {
    {"secret", SHAPE_TEXT, SHAPE_OPTIONAL | SHAPE_SECRET,
     .what = "whsec_…, shown once: an answer repeated by its Idempotency-Key lacks it"},
    {"public_key", SHAPE_TEXT, 0, .what = "whpk_…"},
};
static const struct shape secret_answer = {"SigningSecret", secret_members,
                                           sizeof secret_members / sizeof secret_members[0]};
const struct api_doc api_doc_DESTINATION_SIGNING_SECRET = {
    .summary = "Make a new signing secret",
    .what = "For the Standard Webhooks signatures. The one before signs along for 24 hours.",
    .media = API_MEDIA_JSON,
    .body = &api_nothing_shape,
    .flags = API_DOC_BODY_OPTIONAL,
    .status = 201,
    .answer = &secret_answer};

void api_destination_signing_secret(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL) && take_nothing(call)) {
        api_submit(call, signing_secret, NULL);
    }
}

/* ---- the test event ---- */

/* What became of a test, on its way into the store. */
struct last_test {
    struct control_job job; /* first */
    uint32_t number;
    bool ok;
    size_t len;
    char json[];
};

static mr_err store_test(struct control *control, struct control_job *job) {
    struct last_test *test = (struct last_test *)(void *)job;
    MR_TRY(destinations_set_last_test(control, test->number, mr_str_of(test->json, test->len),
                                      &job->refusal));
    return destinations_set_status(control, test->number, test->ok ? MODEL_ACTIVE : MODEL_FAILED,
                                   MODEL_DISABLED_BY_NOBODY, &job->refusal);
}

static void test_stored(struct control_job *job) {
    mr_free(job);
}

static void keep_test(struct api *api, uint32_t number, bool ok, mr_str summary) {
    struct last_test *test = mr_alloc(sizeof *test + summary.len);
    if (test == NULL || summary.len == 0) {
        mr_free(test);
        return; /* the answer told it; only the list shows the older one */
    }
    *test = (struct last_test){
        .job = {.run = store_test, .done = test_stored, .reply_to = loop_mailbox(api->loop)},
        .number = number,
        .ok = ok,
        .len = summary.len};
    memcpy(test->json, summary.ptr, summary.len);
    control_submit(api->control, &test->job);
}

/* What a test asks, kept over the row of the audit log. */
struct test_ask {
    uint32_t number;
    mr_str type; /* absent: none */
};

static void on_tested(void *ctx, bool ok, mr_str json, mr_str summary) {
    struct api_call *call = ctx;
    const struct test_ask *ask = call->ask;
    keep_test(call->api, ask->number, ok, summary);
    if (json.len == 0 || mr_is_err(mr_buf_str(&call->out, json))) {
        api_refuse_memory(call);
    } else {
        api_answer(call);
    }
    api_call_release(call);
}

/* What dispatch/test_event.c writes. */
static const struct shape_member step_members[] = {
    {"step", SHAPE_TEXT, 0, .what = "name, address, connect, tls, request, response"},
    {"ok", .kind = SHAPE_BOOL},
    {"duration_ms", .kind = SHAPE_NUMBER},
    {"detail", .kind = SHAPE_TEXT},
};
static const struct shape step_answer = {"TestStep", step_members,
                                         sizeof step_members / sizeof step_members[0]};
#define BODY_MEMBERS                                                                               \
    {"body", SHAPE_TEXT, .flags = SHAPE_OPTIONAL}, {                                               \
        "body_base64", SHAPE_TEXT, SHAPE_OPTIONAL, .what = "In place of body where it is no UTF-8" \
    }
static const struct shape_member request_members[] = {
    {"method", .kind = SHAPE_TEXT},
    {"url", .kind = SHAPE_TEXT},
    {"kore-idempotency-token", .kind = SHAPE_TEXT},
    BODY_MEMBERS,
};
static const struct shape request_answer = {"TestRequest", request_members,
                                            sizeof request_members / sizeof request_members[0]};
static const struct shape_member field_members[] = {
    {"name", .kind = SHAPE_TEXT},
    {"value", .kind = SHAPE_TEXT},
};
static const struct shape field_answer = {"Field", field_members,
                                          sizeof field_members / sizeof field_members[0]};
static const struct shape_member response_members[] = {
    {"status", .kind = SHAPE_NUMBER},
    {"headers", SHAPE_INNERS, 0, .inner = &field_answer},
    BODY_MEMBERS,
};
static const struct shape response_answer = {"TestResponse", response_members,
                                             sizeof response_members / sizeof response_members[0]};
static const struct shape_member tested_members[] = {
    {"ok", .kind = SHAPE_BOOL},
    {"steps", SHAPE_INNERS, 0, .inner = &step_answer},
    {"request", SHAPE_INNER, 0, .inner = &request_answer},
    {"response", SHAPE_INNER, SHAPE_NULLABLE, .inner = &response_answer},
    {"event_id", .kind = SHAPE_TEXT},
};
static const struct shape test_answer = {"TestResult", tested_members,
                                         sizeof tested_members / sizeof tested_members[0]};

static const struct shape_member test_members[] = {
    {"event_type", SHAPE_TEXT, 0, 1, 255, .what = "Send this type's example in place of the test"},
};
static const struct shape test_shape = {"Test", test_members,
                                        sizeof test_members / sizeof test_members[0]};
const struct api_doc api_doc_DESTINATION_TEST = {
    .summary = "Send the test event",
    .what = "Once, to this destination alone, also where it is disabled. What it met is the "
            "answer, ok false included. Ten a minute at most.",
    .media = API_MEDIA_JSON,
    .body = &test_shape,
    .flags = API_DOC_BODY_OPTIONAL,
    .status = 200,
    .answer = &test_answer,
    API_REFUSALS(429)};

/* {"event_type"} of the body, or none. False: refused. */
static bool take_test_type(struct api_call *call, const struct catalogue_type **ret_type) {
    *ret_type = NULL;
    json_tape tape;
    bool ok = api_body_take(call, api_body_or_object(call), &tape);
    mr_str name = MR_STR_NONE;
    if (ok && mr_is_err(shape_text(json_root(&tape), "event_type", &call->arena, &name))) {
        api_refuse_memory(call);
        ok = false;
    }
    if (ok && !mr_str_is_absent(name)) {
        *ret_type = catalogue_type_find(snapshot_catalogue(call->api->snapshot), name);
        ok = *ret_type != NULL;
        if (!ok) {
            api_refuse(call, 400, 31003, "event_type is not in the catalogue");
        }
    }
    json_tape_done(&tape);
    return ok;
}

/* The row is stored. Looks everything up again: the snapshot may be another one by now. */
static void start_test(struct api_call *call) {
    struct api *api = call->api;
    const struct test_ask *ask = call->ask;
    const struct model_destination *destination = api_destination_find(call);
    if (destination == NULL) {
        return;
    }
    const struct model_account *account = snapshot_account(api->snapshot, call->account);
    const struct catalogue_type *type =
        mr_str_is_absent(ask->type)
            ? NULL
            : catalogue_type_find(snapshot_catalogue(api->snapshot), ask->type);
    if (account == NULL) {
        api_refuse_memory(call);
        return;
    }
    const struct test_spec spec = {.env = api->sink,
                                   .loop = api->loop,
                                   .destination =
                                       (struct model_destination *)(uintptr_t)destination,
                                   .secret = account->webhook_secret,
                                   .type = type,
                                   .public_url = api->public_url,
                                   .on_done = on_tested,
                                   .ctx = call};
    api_call_hold(call);
    if (mr_is_err(test_event_start(&spec))) {
        api_refuse_memory(call);
        api_call_release(call);
    }
}

void api_destination_test(struct api_call *call) {
    const struct catalogue_type *type;
    if (!api_require_json(call) || !api_query_take(call, NULL) || !take_test_type(call, &type)) {
        return;
    }
    const struct model_destination *destination = api_destination_find(call);
    if (destination == NULL) {
        return;
    }
    struct api *api = call->api;
    int64_t wait_ms = 0;
    if (!test_limits_take(api->test_limits, destination->object.number, loop_now(api->loop),
                          &wait_ms)) {
        struct refusal refusal;
        mr_ignore(refuse(&refusal, REFUSAL_TOO_MANY,
                         "a destination is tested ten times a minute "
                         "at most"),
                  "the refusal is what is wanted");
        refusal.retry_after_s = (int)(wait_ms / 1000) + 1;
        api_refuse_with(call, &refusal);
        return;
    }
    struct test_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    if (ask == NULL) {
        api_refuse_memory(call);
        return;
    }
    ask->number = destination->object.number;
    ask->type = type == NULL ? MR_STR_NONE : mr_arena_str(&call->arena, type->name);
    call->ask = ask;
    api_audit_then(call, "destination.test", call->params[0], start_test);
}
