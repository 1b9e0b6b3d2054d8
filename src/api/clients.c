/* API clients over HTTP, as KORE's client document has them, and what Millrace adds: PATCH, DELETE,
 * a new secret, the end of all tokens. */
#include "api/call.h"

#include "crypto/secret.h"

#include <stdio.h>

/* What a list asks. */
struct list_ask {
    mr_str type;
    struct control_page page;
};

static mr_err list(struct control *control, struct api_call *call) {
    const struct list_ask *ask = call->ask;
    struct client_view *rows;
    size_t n;
    uint64_t count;
    MR_TRY(clients_list(control, call->account, ask->type, ask->page, &call->arena, &rows, &n,
                        &count, &call->job.refusal));
    return client_list_write_json(rows, n, &ask->page, count, api_list_url(call), &call->out);
}

/* Required here alone, as KORE has it. */
static const struct api_param list_params[] = {
    {"page_size", API_PARAM_NUMBER, 1, CONTROL_PAGE_SIZE_MAX, .is_needed = true,
     .what = "Rows of a page"},
    {"page_number", API_PARAM_NUMBER, 1, INT32_MAX, .is_needed = true, .what = "From 1"},
    {"client_type", API_PARAM_TEXT, .what = "standard or admin: only those"},
};
const struct api_doc api_doc_CLIENTS_LIST = {.summary = "List API clients",
                                             API_QUERY(list_params),
                                             .status = 200,
                                             .answer = &client_list_answer};

void api_clients_list(struct api_call *call) {
    mr_str values[3];
    if (!api_query_take(call, values)) {
        return;
    }
    struct list_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    if (ask == NULL) {
        api_refuse_memory(call);
        return;
    }
    call->ask = ask;
    ask->type = values[2];
    if (api_page_take(call, values[0], values[1], &ask->page)) {
        api_submit(call, list, NULL);
    }
}

/* The secret goes out once: an answer repeated by its Idempotency-Key leaves it out. */
static mr_err show_once(struct api_call *call, const struct client_view *view, mr_str secret,
                        mr_err (*write)(const struct client_view *view, mr_str secret,
                                        mr_buf *out)) {
    control_etag_format(view->version, call->etag);
    mr_err err = write(view, secret, &call->out);
    crypto_wipe((void *)(uintptr_t)secret.ptr, secret.len);
    MR_TRY(err);
    return write(view, MR_STR_NONE, &call->stored);
}

static mr_err create(struct control *control, struct api_call *call) {
    struct client_view view;
    mr_str secret;
    MR_TRY(clients_create_json(control, call->account, &call->scopes, call->body, &call->arena,
                               &view, &secret, &call->job.refusal));
    call->status = 201;
    MR_TRY(show_once(call, &view, secret, client_created_write_json));
    char location[512];
    int len = snprintf(location, sizeof location, "%.*s/v1/clients/%.*s",
                       MR_FMT(mr_str_slice(call->api->public_url, 0, 400)), MR_FMT(view.client_id));
    call->location = mr_arena_str(&call->arena, mr_str_of(location, (size_t)len));
    return mr_str_is_absent(call->location) ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

const struct api_doc api_doc_CLIENTS_CREATE = {.summary = "Create an API client",
                                               .what = "Its secret is shown this once.",
                                               .media = API_MEDIA_JSON,
                                               .body = &client_shape,
                                               .flags = API_DOC_ETAG | API_DOC_LOCATION,
                                               .status = 201,
                                               .answer = &client_created_answer};

void api_clients_create(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL)) {
        api_submit(call, create, NULL);
    }
}

static mr_err answer_client(struct api_call *call, const struct client_view *view) {
    control_etag_format(view->version, call->etag);
    return client_write_json(view, &call->out);
}

static mr_err get(struct control *control, struct api_call *call) {
    struct client_view view;
    MR_TRY(clients_get(control, call->account, call->params[0], &call->arena, &view,
                       &call->job.refusal));
    return answer_client(call, &view);
}

const struct api_doc api_doc_CLIENT_GET = {.summary = "Read an API client",
                                           .flags = API_DOC_ETAG,
                                           .status = 200,
                                           .answer = &client_answer};

void api_client_get(struct api_call *call) {
    if (api_query_take(call, NULL)) {
        api_submit(call, get, NULL);
    }
}

static mr_err patch(struct control *control, struct api_call *call) {
    struct client_view view;
    MR_TRY(clients_patch(control, call->account, &call->scopes, call->params[0], call->body,
                         control_etag_parse(call->if_match), &call->arena, &view,
                         &call->job.refusal));
    return answer_client(call, &view);
}

const struct api_doc api_doc_CLIENT_PATCH = {.summary = "Change an API client",
                                             .what =
                                                 "Tokens of a disabled client are refused at once.",
                                             .media = API_MEDIA_JSON | API_MEDIA_MERGE,
                                             .body = &client_shape,
                                             .use = SHAPE_CHANGE,
                                             .flags = API_DOC_ETAG,
                                             .status = 200,
                                             .answer = &client_answer,
                                             API_REFUSALS(409)};

void api_client_patch(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL)) {
        api_submit(call, patch, NULL);
    }
}

static mr_err delete_client(struct control *control, struct api_call *call) {
    call->status = 204;
    return clients_delete(control, call->account, &call->scopes, call->params[0],
                          control_etag_parse(call->if_match), &call->job.refusal);
}

const struct api_doc api_doc_CLIENT_DELETE = {.summary = "Delete an API client",
                                              .what = "Its tokens are refused at once.",
                                              .status = 204,
                                              API_REFUSALS(409)};

void api_client_delete(struct api_call *call) {
    if (api_query_take(call, NULL)) {
        api_submit(call, delete_client, NULL);
    }
}

static mr_err rotate_secret(struct control *control, struct api_call *call) {
    struct client_view view;
    mr_str secret;
    MR_TRY(clients_rotate_secret(control, call->account, &call->scopes, call->params[0],
                                 api_body_or_object(call), &call->arena, &view, &secret,
                                 &call->job.refusal));
    return show_once(call, &view, secret, client_secret_write_json);
}

const struct api_doc api_doc_CLIENT_ROTATE_SECRET = {
    .summary = "Give an API client a new secret",
    .what = "The old one is refused at once; tokens stay, unless revoke_tokens ends them.",
    .media = API_MEDIA_JSON,
    .body = &client_rotation_shape,
    .flags = API_DOC_ETAG | API_DOC_BODY_OPTIONAL,
    .status = 200,
    .answer = &client_secret_answer};

void api_client_rotate_secret(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL)) {
        api_submit(call, rotate_secret, NULL);
    }
}

static mr_err revoke_tokens(struct control *control, struct api_call *call) {
    struct client_view view;
    MR_TRY(clients_revoke_tokens(control, call->account, &call->scopes, call->params[0],
                                 &call->arena, &view, &call->job.refusal));
    return answer_client(call, &view);
}

const struct api_doc api_doc_CLIENT_REVOKE_TOKENS = {.summary = "Revoke an API client's tokens",
                                                     .what = "All that it got so far, at once.",
                                                     .media = API_MEDIA_JSON,
                                                     .body = &api_nothing_shape,
                                                     .flags = API_DOC_ETAG | API_DOC_BODY_OPTIONAL,
                                                     .status = 200,
                                                     .answer = &client_answer};

void api_client_revoke_tokens(struct api_call *call) {
    json_tape tape;
    if (!api_require_json(call) || !api_query_take(call, NULL)) {
        return;
    }
    bool is_empty = api_body_take(call, api_body_or_object(call), &tape);
    json_tape_done(&tape);
    if (is_empty) {
        api_submit(call, revoke_tokens, NULL);
    }
}
