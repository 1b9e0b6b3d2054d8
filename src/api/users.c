/* Users of an account over HTTP: reading, changing, removing, and handing the account over. Invites
 * stand in a file of their own. */
#include "api/call.h"

#include "control/people/users.h"

static struct user_editor editor_of(const struct api_call *call) {
    return (struct user_editor){.account = call->home, .user = call->user, .scopes = &call->scopes};
}

static mr_err answer_user(struct api_call *call, const struct user_view *view) {
    control_etag_format(view->version, call->etag);
    return user_write_json(view, &call->out);
}

static mr_err list(struct control *control, struct api_call *call) {
    const struct control_page *page = call->ask;
    struct user_view *rows;
    size_t n;
    uint64_t count = 0;
    MR_TRY(users_list(control, call->account, *page, &call->arena, &rows, &n, &count,
                      &call->job.refusal));
    return user_list_write_json(rows, n, page, count, api_list_url(call), &call->out);
}

static const struct api_param list_params[] = {API_PARAM_PAGE_SIZE, API_PARAM_PAGE_NUMBER};
const struct api_doc api_doc_USERS_LIST = {.summary = "List users",
                                           API_QUERY(list_params),
                                           .flags = API_DOC_LIST,
                                           .status = 200,
                                           .answer = &user_answer};

void api_users_list(struct api_call *call) {
    mr_str values[2];
    struct control_page *page = mr_arena_calloc(&call->arena, 1, sizeof *page);
    if (page == NULL) {
        api_refuse_memory(call);
        return;
    }
    call->ask = page;
    if (api_query_take(call, values) && api_page_take(call, values[0], values[1], page)) {
        api_submit(call, list, NULL);
    }
}

static mr_err get(struct control *control, struct api_call *call) {
    struct user_view view;
    MR_TRY(users_get(control, call->account, call->params[0], &call->arena, &view,
                     &call->job.refusal));
    return answer_user(call, &view);
}

const struct api_doc api_doc_USER_GET = {
    .summary = "Read a user", .flags = API_DOC_ETAG, .status = 200, .answer = &user_answer};

void api_user_get(struct api_call *call) {
    if (api_query_take(call, NULL)) {
        api_submit(call, get, NULL);
    }
}

static mr_err patch(struct control *control, struct api_call *call) {
    struct user_view view;
    const struct user_editor editor = editor_of(call);
    MR_TRY(users_patch(control, &editor, call->account, call->params[0], call->body,
                       control_etag_parse(call->if_match), &call->arena, &view,
                       &call->job.refusal));
    return answer_user(call, &view);
}

const struct api_doc api_doc_USER_PATCH = {
    .summary = "Change a user",
    .what = "Nobody changes their own role or status, and nobody the Owner's.",
    .media = API_MEDIA_JSON | API_MEDIA_MERGE,
    .body = &user_change_shape,
    .use = SHAPE_CHANGE,
    .flags = API_DOC_ETAG,
    .status = 200,
    .answer = &user_answer,
    API_REFUSALS(409)};

void api_user_patch(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL)) {
        api_submit(call, patch, NULL);
    }
}

static mr_err delete_work(struct control *control, struct api_call *call) {
    const struct user_editor editor = editor_of(call);
    call->status = 204;
    return users_delete(control, &editor, call->account, call->params[0],
                        control_etag_parse(call->if_match), &call->job.refusal);
}

const struct api_doc api_doc_USER_DELETE = {.summary = "Remove a user",
                                            .what = "The user's sessions end at once.",
                                            .status = 204,
                                            API_REFUSALS(409)};

void api_user_delete(struct api_call *call) {
    if (api_query_take(call, NULL)) {
        api_submit(call, delete_work, NULL);
    }
}

/* ---- handing over ---- */

struct transfer_ask {
    uint32_t account; /* that the path names */
    mr_str user_id;
};

static mr_err transfer(struct control *control, struct api_call *call) {
    const struct transfer_ask *ask = call->ask;
    const struct user_editor editor = editor_of(call);
    struct user_view view;
    MR_TRY(users_transfer(control, &editor, ask->account, ask->user_id, call->session_id,
                          &call->arena, &view, &call->job.refusal));
    return user_write_json(&view, &call->out);
}

const struct api_doc api_doc_OWNERSHIP_TRANSFER = {.summary = "Hand the account over",
                                                   .what =
                                                       "For the Owner alone, who becomes an admin; "
                                                       "where none has come yet, for an Owner of "
                                                       "an account above.",
                                                   .media = API_MEDIA_JSON,
                                                   .body = &ownership_shape,
                                                   .status = 200,
                                                   .answer = &user_answer,
                                                   API_REFUSALS(409)};

void api_ownership_transfer(struct api_call *call) {
    if (!api_require_json(call) || !api_query_take(call, NULL)) {
        return;
    }
    const struct model_account *account =
        snapshot_account_by_id(call->api->snapshot, call->params[0]);
    if (!snapshot_account_is_within(call->api->snapshot, account, call->account)) {
        api_refuse(call, 404, 20404, "there is no such account");
        return;
    }
    json_tape tape;
    struct transfer_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    bool is_judged = api_body_take(call, call->body, &tape);
    mr_err err = ask == NULL ? MR_ERR(MR_E_NOMEM) : MR_OK;
    if (is_judged && mr_is_ok(err)) {
        err = shape_text(json_root(&tape), "user_id", &call->arena, &ask->user_id);
    }
    json_tape_done(&tape);
    if (is_judged && mr_is_err(err)) {
        api_refuse_memory(call);
    } else if (is_judged) {
        ask->account = account->object.number;
        call->ask = ask;
        api_submit(call, transfer, NULL);
    }
}
