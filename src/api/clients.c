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

void api_clients_list(struct api_call *call) {
    static const char *const names[] = {"page_size", "page_number", "client_type"};
    mr_str values[3];
    if (!api_query_take(call, names, values, 3)) {
        return;
    }
    for (size_t i = 0; i < 2; i++) { /* required here alone, as KORE has it */
        if (mr_str_is_absent(values[i])) {
            api_refuse(call, 400, 20002, "the parameter %s is required", names[i]);
            return;
        }
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

void api_clients_create(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL, NULL, 0)) {
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

void api_client_get(struct api_call *call) {
    if (api_query_take(call, NULL, NULL, 0)) {
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

void api_client_patch(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL, NULL, 0)) {
        api_submit(call, patch, NULL);
    }
}

static mr_err delete_client(struct control *control, struct api_call *call) {
    call->status = 204;
    return clients_delete(control, call->account, call->params[0],
                          control_etag_parse(call->if_match), &call->job.refusal);
}

void api_client_delete(struct api_call *call) {
    if (api_query_take(call, NULL, NULL, 0)) {
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

void api_client_rotate_secret(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL, NULL, 0)) {
        api_submit(call, rotate_secret, NULL);
    }
}

static mr_err revoke_tokens(struct control *control, struct api_call *call) {
    struct client_view view;
    MR_TRY(clients_revoke_tokens(control, call->account, call->params[0], &call->arena, &view,
                                 &call->job.refusal));
    return answer_client(call, &view);
}

void api_client_revoke_tokens(struct api_call *call) {
    json_tape tape;
    if (!api_require_json(call) || !api_query_take(call, NULL, NULL, 0)) {
        return;
    }
    bool is_empty = api_body_take(call, api_body_or_object(call), NULL, 0, &tape);
    json_tape_done(&tape);
    if (is_empty) {
        api_submit(call, revoke_tokens, NULL);
    }
}
