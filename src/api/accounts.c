/* The caller's own account over HTTP: its name and its settings. Any other account is 404, as if it
 * were not there. */
#include "api/call.h"

#include "control/accounts.h"

static mr_err answer_account(struct api_call *call, const struct account_view *view) {
    control_etag_format(view->version, call->etag);
    return account_write_json(view, &call->out);
}

/* False: refused. */
static bool is_own(struct api_call *call) {
    if (!mr_str_eq(call->params[0], call->account_id)) {
        api_refuse(call, 404, 20404, "there is no such account here");
        return false;
    }
    return true;
}

static mr_err get(struct control *control, struct api_call *call) {
    struct account_view view;
    MR_TRY(accounts_get(control, call->account, &call->arena, &view, &call->job.refusal));
    return answer_account(call, &view);
}

const struct api_doc api_doc_ACCOUNT_GET = {
    .summary = "Read an account", .flags = API_DOC_ETAG, .status = 200, .answer = &account_answer};

void api_account_get(struct api_call *call) {
    if (api_query_take(call, NULL) && is_own(call)) {
        api_submit(call, get, NULL);
    }
}

static mr_err patch(struct control *control, struct api_call *call) {
    struct account_view view;
    MR_TRY(accounts_patch(control, call->account, call->body, control_etag_parse(call->if_match),
                          &call->arena, &view, &call->job.refusal));
    return answer_account(call, &view);
}

const struct api_doc api_doc_ACCOUNT_PATCH = {.summary = "Change an account",
                                              .media = API_MEDIA_JSON | API_MEDIA_MERGE,
                                              .body = &account_shape,
                                              .use = SHAPE_CHANGE,
                                              .flags = API_DOC_ETAG,
                                              .status = 200,
                                              .answer = &account_answer};

void api_account_patch(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL) && is_own(call)) {
        api_submit(call, patch, NULL);
    }
}
