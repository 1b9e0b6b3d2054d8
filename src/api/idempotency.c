/* Idempotency-Key: what one means for a route stands in the table of handlers (handlers.c), and
 * nothing of it in the handlers.
 *
 * A change of the store keeps its answer in its own transaction (API_KEY_IN_JOB). An effect outside
 * the store cannot, so its key is claimed first, in a commit of its own, and settled after:
 *
 *     claim ──first time──▶ handler ──api_answer──▶ answer kept ──▶ answered
 *       │                      └──api_refuse──▶ claim given back ─▶ refused
 *       ├──answer there──▶ answered with it
 *       └──claimed, no answer yet, or another body──▶ 409
 *
 * So of calls at the same time one takes effect, also over a crash: then the claim stays without an
 * answer, and a repeated call is told that nobody knows. Giving back is not waited for: the job
 * lies in the control thread's mailbox before the refusal is sent, and so before any call that it
 * may call forth. */
#include "api/call.h"

static struct idempotency_call key_of(const struct api_call *call) {
    /* Users and clients are numbered apart; no client reaches the upper half. */
    uint32_t caller = call->client != 0 ? call->client : UINT32_C(0x80000000) | call->user;
    return (struct idempotency_call){.account = call->account,
                                     .client = caller,
                                     .route = call->path,
                                     .key = call->idempotency_key,
                                     .request_body = call->body};
}

enum api_key_rule api_key_rule(const struct api_call *call) {
    return mr_str_is_absent(call->idempotency_key) ? API_KEY_IGNORED
                                                   : api_handlers[call->route].key_rule;
}

void api_key_assert_table(void) {
    for (size_t i = 0; i < AUTH_ROUTE_COUNT; i++) {
        const struct auth_route_info *info = auth_route_info((enum auth_route)i);
        bool is_keyed = mr_str_eq(info->method, MR_STR("POST")) &&
                        info->resource != AUTH_RES_NONE && info->resource != AUTH_RES_SESSION &&
                        i != AUTH_ROUTE_EVENTS_PUBLISH && i != AUTH_ROUTE_DESTINATION_TEST &&
                        i != AUTH_ROUTE_RULES_PREVIEW && i != AUTH_ROUTE_CALLBACK_TEST;
        MR_ASSERT(is_keyed == (api_handlers[i].key_rule != API_KEY_IGNORED));
    }
}

/* ---- control thread ---- */

static mr_err take_found(struct api_call *call, const struct idempotency_answer *answer) {
    call->is_repeated = true;
    call->status = answer->status;
    call->location = answer->location;
    return mr_buf_str(&call->out, answer->body);
}

static mr_err keep(struct control *control, struct api_call *call) {
    const struct idempotency_call key = key_of(call);
    const mr_buf *kept = call->stored.len > 0 ? &call->stored : &call->out;
    const struct idempotency_answer answer = {
        .status = call->status, .body = mr_buf_view(kept), .location = call->location};
    return idempotency_store(control, &key, call->now, &answer, &call->job.refusal);
}

mr_err api_key_work(struct control *control, struct api_call *call) {
    const struct idempotency_call key = key_of(call);
    struct idempotency_answer answer;
    bool is_found;
    MR_TRY(idempotency_find(control, &key, call->now, &call->arena, &is_found, &answer,
                            &call->job.refusal));
    if (is_found) {
        return take_found(call, &answer);
    }
    MR_TRY(call->work(control, call));
    return keep(control, call);
}

static mr_err claim_work(struct control *control, struct api_call *call) {
    const struct idempotency_call key = key_of(call);
    struct idempotency_answer answer;
    bool is_found;
    MR_TRY(idempotency_claim(control, &key, call->now, &call->arena, &is_found, &answer,
                             &call->job.refusal));
    return is_found ? take_found(call, &answer) : MR_OK;
}

static mr_err settle_work(struct control *control, struct control_job *job) {
    return keep(control, MR_CONTAINER(job, struct api_call, job));
}

static mr_err release_work(struct control *control, struct control_job *job) {
    struct api_call *call = MR_CONTAINER(job, struct api_call, job);
    const struct idempotency_call key = key_of(call);
    return idempotency_release(control, &key, &job->refusal);
}

/* ---- worker ---- */

static void on_claimed(struct api_call *call) {
    call->is_claimed = true;
    api_handlers[call->route].run(call);
}

void api_key_claim(struct api_call *call) {
    api_submit(call, claim_work, on_claimed);
}

static void log_left(const struct api_call *call) {
    if (mr_is_err(call->job.err)) {
        mr_warn(call->api->log, "idempotency_key_left_claimed",
                mr_kv_str("request_id", mr_str_c(call->request_id)),
                mr_kv_i64("code", call->job.err.code));
    }
}

static void on_settled(struct control_job *job) {
    struct api_call *call = MR_CONTAINER(job, struct api_call, job);
    log_left(call);
    api_answer(call);
    api_call_release(call);
}

static void on_released(struct control_job *job) {
    struct api_call *call = MR_CONTAINER(job, struct api_call, job);
    log_left(call);
    api_call_release(call);
}

static void submit(struct api_call *call,
                   mr_err (*run)(struct control *control, struct control_job *job),
                   void (*done)(struct control_job *job)) {
    MR_ASSERT(call->is_claimed);
    call->is_claimed = false;
    call->now = loop_wall(call->api->loop);
    call->job =
        (struct control_job){.run = run, .done = done, .reply_to = loop_mailbox(call->api->loop)};
    api_call_hold(call);
    control_submit(call->api->control, &call->job);
}

void api_key_settle(struct api_call *call) {
    submit(call, settle_work, on_settled);
}

void api_key_release(struct api_call *call) {
    submit(call, release_work, on_released);
}
