/* Invites, password resets, portal links over HTTP: what makes links. Their use stands in links.c.
 *
 * A link is in the answer alone: the answer that is kept under an Idempotency-Key leaves it out. */
#include "api/call.h"

#include "control/people/invites.h"
#include "crypto/secret.h"

static struct link_maker maker_of(const struct api_call *call) {
    return (struct link_maker){.editor = {.account = call->home, .user = call->user},
                               .scopes = call->scopes,
                               .account = call->account,
                               .base_url = call->api->public_url,
                               .now = call->now};
}

static void wipe(struct link_made *made) {
    if (made->url.len > 0) {
        crypto_wipe((void *)(uintptr_t)made->url.ptr, made->url.len);
    }
    made->url = MR_STR_NONE;
}

/* The answer with the link, and the one without it to be kept. */
static mr_err answer_made(struct api_call *call, struct link_made *made, const char *name,
                          int status) {
    mr_err err = link_made_write_json(made, name, &call->out);
    wipe(made);
    MR_TRY(err);
    call->status = status;
    control_etag_format(made->user.version, call->etag);
    return link_made_write_json(made, name, &call->stored);
}

static mr_err invite(struct control *control, struct api_call *call) {
    const struct link_maker maker = maker_of(call);
    struct link_made made;
    MR_TRY(invites_create(control, &maker, call->body, &call->arena, &made, &call->job.refusal));
    return answer_made(call, &made, "invite_url", 201);
}

const struct api_doc api_doc_USERS_INVITE = {
    .summary = "Invite a user",
    .what = "The link goes out by mail; where no mail is set up it is in the answer.",
    .media = API_MEDIA_JSON,
    .body = &user_create_shape,
    .flags = API_DOC_ETAG,
    .status = 201,
    .answer = &user_invited_answer,
    API_REFUSALS(429)};

void api_users_invite(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL)) {
        api_submit(call, invite, NULL);
    }
}

static mr_err invite_again(struct control *control, struct api_call *call) {
    const struct link_maker maker = maker_of(call);
    struct link_made made;
    MR_TRY(
        invites_again(control, &maker, call->params[0], &call->arena, &made, &call->job.refusal));
    return answer_made(call, &made, "invite_url", 200);
}

/* False: refused. Bodies of calls that take none may be an empty object. */
static bool has_no_members(struct api_call *call) {
    json_tape tape;
    bool ok = api_body_take(call, api_body_or_object(call), &tape);
    json_tape_done(&tape);
    return ok;
}

const struct api_doc api_doc_USER_INVITE = {.summary = "Invite a user again",
                                            .what = "The former link is void.",
                                            .media = API_MEDIA_JSON,
                                            .body = &api_nothing_shape,
                                            .flags = API_DOC_ETAG | API_DOC_BODY_OPTIONAL,
                                            .status = 200,
                                            .answer = &user_invited_answer,
                                            API_REFUSALS(429)};

void api_user_invite(struct api_call *call) {
    if (api_require_json(call) && has_no_members(call) && api_query_take(call, NULL)) {
        api_submit(call, invite_again, NULL);
    }
}

static mr_err reset_link(struct control *control, struct api_call *call) {
    const struct link_maker maker = maker_of(call);
    struct link_made made;
    MR_TRY(resets_make(control, &maker, call->params[0], &call->arena, &made, &call->job.refusal));
    return answer_made(call, &made, "reset_url", 200);
}

const struct api_doc api_doc_USER_RESET_LINK = {.summary = "Make a link that sets a new password",
                                                .media = API_MEDIA_JSON,
                                                .body = &api_nothing_shape,
                                                .flags = API_DOC_ETAG | API_DOC_BODY_OPTIONAL,
                                                .status = 200,
                                                .answer = &user_reset_answer,
                                                API_REFUSALS(429)};

void api_user_reset_link(struct api_call *call) {
    if (api_require_json(call) && has_no_members(call) && api_query_take(call, NULL)) {
        api_submit(call, reset_link, NULL);
    }
}

static mr_err portal_link(struct control *control, struct api_call *call) {
    const struct link_maker maker = maker_of(call);
    struct link_made made;
    MR_TRY(portal_links_create(control, &maker, api_body_or_object(call), &call->arena, &made,
                               &call->job.refusal));
    mr_err err = portal_link_write_json(&made, &call->out);
    wipe(&made);
    MR_TRY(err);
    call->status = 201;
    return portal_link_write_json(&made, &call->stored);
}

const struct api_doc api_doc_PORTAL_LINKS_CREATE = {
    .summary = "Make a link that signs in to the portal",
    .what = "Once, within minutes, in the account of the call.",
    .media = API_MEDIA_JSON,
    .body = &portal_link_shape,
    .flags = API_DOC_BODY_OPTIONAL,
    .status = 201,
    .answer = &portal_link_answer,
    API_REFUSALS(429)};

void api_portal_links_create(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL)) {
        api_submit(call, portal_link, NULL);
    }
}

/* ---- resets that anybody may ask for ---- */

static mr_err reset_enter(struct control *control, struct api_call *call) {
    return resets_enter(control, *(const mr_str *)call->ask, mr_str_c(call->address),
                        &call->job.refusal);
}

static mr_err run_reset(struct control *control, struct control_job *job) {
    struct api_call *call = MR_CONTAINER(job, struct api_call, job);
    return resets_request(control, *(const mr_str *)call->ask, call->api->public_url, call->now,
                          &job->refusal);
}

static void reset_done(struct control_job *job) {
    struct api_call *call = MR_CONTAINER(job, struct api_call, job);
    if (mr_is_err(job->err)) {
        mr_warn(call->api->log, "password_reset_failed",
                mr_kv_str("request_id", mr_str_c(call->request_id)),
                mr_kv_i64("code", job->refusal.code));
    }
    api_call_release(call);
}

/* Answered before it is looked whether there is such a user: no clock can tell. */
static void reset_entered(struct api_call *call) {
    api_call_hold(call);
    call->status = 202;
    if (mr_is_err(mr_buf_str(&call->out, MR_STR("{\"status\":\"accepted\"}")))) {
        api_refuse_memory(call);
    } else {
        api_answer(call);
    }
    call->job = (struct control_job){.run = run_reset,
                                     .done = reset_done,
                                     .reply_to = loop_mailbox(call->api->loop),
                                     .actor = api_actor(call)};
    control_submit(call->api->control, &call->job);
}

static const struct shape_member reset_members[] = {{"status", SHAPE_TEXT, 0, .what = "accepted"}};
static const struct shape reset_answer = {"PasswordResetAccepted", reset_members, 1};
const struct api_doc api_doc_PASSWORD_RESETS = {
    .summary = "Ask for a link that sets a new password",
    .what = "By mail. The answer is the same whether there is such a user or not.",
    .media = API_MEDIA_JSON,
    .body = &reset_request_shape,
    .status = 202,
    .answer = &reset_answer,
    API_REFUSALS(429)};

void api_password_resets(struct api_call *call) {
    json_tape tape;
    mr_str *email = mr_arena_calloc(&call->arena, 1, sizeof *email);
    if (email == NULL) {
        api_refuse_memory(call);
        return;
    }
    call->ask = email;
    if (!api_require_json(call) || !api_query_take(call, NULL)) {
        return;
    }
    bool is_judged = api_body_take(call, call->body, &tape);
    mr_err err = is_judged ? shape_text(json_root(&tape), "email", &call->arena, email) : MR_OK;
    json_tape_done(&tape);
    if (is_judged && mr_is_err(err)) {
        api_refuse_memory(call);
    } else if (is_judged) {
        api_submit(call, reset_enter, reset_entered);
    }
}
