/* The token endpoint (KORE's token document; RFC 6749 §4.4).
 *
 * Alone in the API, a token call may carry parameters that are not known: RFC 6749 §3.2 wants them
 * ignored, for libraries send their own. */
#include "api/call.h"

#include "crypto/secret.h"
#include "json/write.h"

#include <stdio.h>

/* What a token call asks. */
struct token_ask {
    mr_str client_id;
    mr_str client_secret;
};

/* {"error","error_description"} for wrong credentials, {"code","message","error"} for the rest. */
static void refuse_token(struct api_call *call, int status, const char *error, const char *message,
                         int retry_after_s) {
    mr_buf_reset(&call->out);
    json_out o;
    json_out_init(&o, &call->out);
    json_out_object(&o);
    if (status == 401) {
        json_out_member_c(&o, "error", error);
        json_out_member_c(&o, "error_description", message);
    } else {
        json_out_member_i64(&o, "code", status);
        json_out_member_c(&o, "message", message);
        json_out_member_c(&o, "error", error);
    }
    json_out_end(&o);
    if (mr_is_err(json_out_finish(&o))) {
        mr_buf_reset(&call->out);
    }
    call->status = status;
    char seconds[16];
    int len = snprintf(seconds, sizeof seconds, "%d", retry_after_s);
    const mr_field fields[] = {{MR_STR("cache-control"), MR_STR("no-store")},
                               {MR_STR("retry-after"), mr_str_of(seconds, (size_t)len)}};
    api_answer_as(call, MR_STR("application/json"), fields, retry_after_s > 0 ? 2 : 1);
}

static mr_err issue(struct control *control, struct api_call *call) {
    struct token_ask *ask = call->ask;
    struct client_token token;
    MR_TRY(clients_issue_token(control, ask->client_id, ask->client_secret, call->now, &call->arena,
                               &token, &call->job.refusal));
    return client_token_write_json(&token, &call->out);
}

/* The client is named where there is one of that id: what else was sent may be anything. */
static void note(struct api_call *call, mr_str client_id, enum access_what what) {
    const struct model_client *client = snapshot_client_by_id(call->api->snapshot, client_id);
    struct control_actor actor = api_actor(call);
    if (client != NULL) {
        actor.id = mr_str_c(client->object.id);
        actor.account = client->account;
        actor.kind = what == ACCESS_SIGN_IN ? CONTROL_ACTOR_CLIENT : actor.kind;
    }
    access_note(call->api->access, &actor, call->route, what);
}

static void token_done(struct control_job *job) {
    struct api_call *call = MR_CONTAINER(job, struct api_call, job);
    struct token_ask *ask = call->ask;
    crypto_wipe((void *)(uintptr_t)ask->client_secret.ptr, ask->client_secret.len);
    if (mr_is_ok(job->err)) {
        note(call, ask->client_id, ACCESS_SIGN_IN);
        mr_metric_add(call->api->metrics, MR_METRIC_TOKENS_ISSUED, 1);
        const mr_field fields[] = {{MR_STR("cache-control"), MR_STR("no-store")},
                                   {MR_STR("pragma"), MR_STR("no-cache")}};
        api_answer_as(call, MR_STR("application/json"), fields, 2);
    } else if (job->refusal.status == 401) {
        note(call, ask->client_id, ACCESS_BAD_CREDENTIALS);
        refuse_token(call, 401, "unauthorized_client",
                     "Invalid client or Invalid client credentials", 0);
    } else if (job->refusal.status == 429) {
        refuse_token(call, 429, "temporarily_unavailable", job->refusal.message,
                     job->refusal.retry_after_s);
    } else {
        bool is_for_now = job->refusal.status == 503;
        refuse_token(call, is_for_now ? 503 : 500, "server_error",
                     "could not issue a token; try again", is_for_now);
    }
    api_call_release(call);
}

static mr_err run_token(struct control *control, struct control_job *job) {
    return issue(control, MR_CONTAINER(job, struct api_call, job));
}

static bool is_form(mr_str type) {
    size_t at = mr_str_find_byte(type, ';', 0);
    mr_str media = mr_str_trim(at == SIZE_MAX ? type : mr_str_slice(type, 0, at));
    return mr_str_eq_nocase(media, MR_STR("application/x-www-form-urlencoded"));
}

static const char *const grant_names[] = {"client_credentials"};
static const struct shape_member form_members[] = {
    {"grant_type", SHAPE_ENUM, SHAPE_NEEDED, .names = grant_names, .n_names = 1},
    {"client_id", SHAPE_TEXT, SHAPE_NEEDED, .max = 1024},
    {"client_secret", SHAPE_TEXT, SHAPE_NEEDED | SHAPE_SECRET, .max = 1024},
};
static const struct shape form_shape = {"TokenForm", form_members,
                                        sizeof form_members / sizeof form_members[0]};
static const struct shape_member token_members[] = {
    {"access_token", SHAPE_TEXT, .flags = SHAPE_SECRET},
    {"expires_in", SHAPE_NUMBER, 0, .what = "Seconds"},
    {"token_type", SHAPE_TEXT, 0, .what = "Bearer"},
    {"scope", .kind = SHAPE_TEXT},
};
static const struct shape token_answer = {"Token", token_members,
                                          sizeof token_members / sizeof token_members[0]};
const struct api_doc api_doc_TOKEN = {.summary = "Get an access token",
                                      .what = "Unknown members are ignored (RFC 6749, 3.2).",
                                      .media = API_MEDIA_FORM,
                                      .body = &form_shape,
                                      .flags = API_DOC_ANY_QUERY | API_DOC_OPEN_BODY,
                                      .status = 200,
                                      .answer = &token_answer,
                                      API_REFUSALS(401, 429)};

void api_token(struct api_call *call) {
    if (!is_form(call->content_type)) {
        refuse_token(call, 400, "invalid_request",
                     "the content type must be application/x-www-form-urlencoded", 0);
        return;
    }
    mr_str values[3];
    for (size_t i = 0; i < 3; i++) {
        size_t count;
        values[i] = api_form_find(&call->arena, call->body, mr_str_c(form_members[i].name), &count);
        if (count != 1 || mr_str_is_absent(values[i])) {
            refuse_token(call, 400, "invalid_request",
                         "grant_type, client_id and client_secret must each stand once", 0);
            return;
        }
    }
    if (!mr_str_eq(values[0], mr_str_c(grant_names[0]))) {
        refuse_token(call, 400, "unsupported_grant_type", "grant_type must be client_credentials",
                     0);
        return;
    }
    struct token_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    if (ask == NULL) {
        refuse_token(call, 503, "server_error", "could not issue a token; try again", 1);
        return;
    }
    *ask = (struct token_ask){values[1], values[2]};
    call->ask = ask;
    call->now = loop_wall(call->api->loop);
    call->job = (struct control_job){.run = run_token,
                                     .done = token_done,
                                     .reply_to = loop_mailbox(call->api->loop),
                                     .in_order = true,
                                     .only_reads = true,
                                     .actor = api_actor(call)};
    api_call_hold(call);
    control_submit(call->api->control, &call->job);
}

const struct api_doc api_doc_TOKEN_OPTIONS = {
    .summary = "Ask what the token endpoint takes", .flags = API_DOC_ANY_QUERY, .status = 200};
