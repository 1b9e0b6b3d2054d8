/* Accounts over HTTP. What a call can reach is its account and all below it: any other account is
 * 404, as if it were not there. */
#include "api/call.h"

#include "control/accounts.h"
#include "crypto/secret.h"

static mr_err answer_account(struct api_call *call, const struct account_view *view) {
    control_etag_format(view->version, call->etag);
    return account_write_json(view, &call->out);
}

/* The account that the path names, by number; false: refused. Accounts are never deleted, so it is
 * there also when the work runs. */
static bool take_target(struct api_call *call) {
    const struct snapshot *snapshot = call->api->snapshot;
    const struct model_account *account = snapshot_account_by_id(snapshot, call->params[0]);
    if (!snapshot_account_is_within(snapshot, account, call->account)) {
        api_refuse(call, 404, 20404, "there is no such account");
        return false;
    }
    uint32_t *target = mr_arena_alloc(&call->arena, sizeof *target);
    if (target == NULL) {
        api_refuse_memory(call);
        return false;
    }
    *target = account->object.number;
    call->ask = target;
    return true;
}

/* ---- all ---- */

/* KORE's filter: the account that ?account_id= names, alone. */
static mr_err list(struct control *control, struct api_call *call) {
    return accounts_write_list(control, call->account, call->is_account_named, &call->out,
                               &call->job.refusal);
}

const struct api_doc api_doc_ACCOUNTS_LIST = {.summary = "List accounts",
                                              .what =
                                                  "The caller's and all below it; with account_id "
                                                  "that one alone. Not in pages, as in KORE; there "
                                                  "are 10,000 at most.",
                                              .status = 200,
                                              .answer = &account_list_answer};

void api_accounts_list(struct api_call *call) {
    if (api_query_take(call, NULL)) {
        api_submit(call, list, NULL);
    }
}

static mr_err list_mappings(struct control *control, struct api_call *call) {
    return accounts_write_mappings(control, call->account, call->is_account_named, &call->out,
                                   &call->job.refusal);
}

const struct api_doc api_doc_PLATFORM_MAPPINGS = {
    .summary = "List the accounts' ids at other platforms",
    .what = "Of the caller's account and all below it; with account_id of that one alone.",
    .status = 200,
    .answer = &platform_list_answer};

void api_platform_mappings(struct api_call *call) {
    if (api_query_take(call, NULL)) {
        api_submit(call, list_mappings, NULL);
    }
}

static mr_err create(struct control *control, struct api_call *call) {
    struct account_view view;
    MR_TRY(accounts_create(control, &call->scopes, call->account, call->body, call->api->public_url,
                           &call->arena, &view, &call->job.refusal));
    call->status = 200; /* as KORE has it */
    mr_err err = answer_account(call, &view);
    if (view.owner_url.len > 0) {
        crypto_wipe((void *)(uintptr_t)view.owner_url.ptr, view.owner_url.len);
    }
    MR_TRY(err);
    /* A repeated answer leaves the Owner's link out. */
    view.owner_url = MR_STR_NONE;
    return account_write_json(&view, &call->stored);
}

const struct api_doc api_doc_ACCOUNTS_CREATE = {
    .summary = "Create an account",
    .what =
        "Below the caller's; owner_email is invited as its Owner, which takes Write on Users too.",
    .media = API_MEDIA_JSON,
    .body = &account_shape,
    .flags = API_DOC_ETAG,
    .status = 200,
    .answer = &account_answer};

void api_accounts_create(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL)) {
        api_submit(call, create, NULL);
    }
}

/* ---- one ---- */

static mr_err get(struct control *control, struct api_call *call) {
    const uint32_t *target = call->ask;
    struct account_view view;
    MR_TRY(accounts_get(control, *target, &call->arena, &view, &call->job.refusal));
    return answer_account(call, &view);
}

const struct api_doc api_doc_ACCOUNT_GET = {
    .summary = "Read an account", .flags = API_DOC_ETAG, .status = 200, .answer = &account_answer};

void api_account_get(struct api_call *call) {
    if (api_query_take(call, NULL) && take_target(call)) {
        api_submit(call, get, NULL);
    }
}

static mr_err patch(struct control *control, struct api_call *call) {
    const uint32_t *target = call->ask;
    struct account_view view;
    MR_TRY(accounts_patch(control, *target, call->body, control_etag_parse(call->if_match),
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
    if (api_require_json(call) && api_query_take(call, NULL) && take_target(call)) {
        api_submit(call, patch, NULL);
    }
}
