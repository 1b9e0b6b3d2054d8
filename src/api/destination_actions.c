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
    bool ok = api_body_take(call, api_body_or_object(call), NULL, 0, &tape);
    json_tape_done(&tape);
    return ok;
}

void api_destination_signing_secret(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL, NULL, 0) && take_nothing(call)) {
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

/* {"event_type"} of the body, or none. False: refused. */
static bool take_test_type(struct api_call *call, const struct catalogue_type **ret_type) {
    static const char *const names[] = {"event_type"};
    *ret_type = NULL;
    json_tape tape;
    bool ok = api_body_take(call, api_body_or_object(call), names, 1, &tape);
    json_value type = ok ? json_find(json_root(&tape), MR_STR("event_type")) : (json_value){0};
    if (ok && !json_is_absent(type)) {
        mr_str name;
        ok = mr_is_ok(json_string(type, &call->arena, &name));
        *ret_type = ok ? catalogue_type_find(snapshot_catalogue(call->api->snapshot), name) : NULL;
        if (!ok) {
            api_refuse(call, 400, 20400, "event_type must be a string");
        } else if (*ret_type == NULL) {
            ok = false;
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
    if (!api_require_json(call) || !api_query_take(call, NULL, NULL, 0) ||
        !take_test_type(call, &type)) {
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
