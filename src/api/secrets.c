/* Webhook secrets over HTTP, as KORE's webhook document has them: JSON and forms, names of members
 * with capitals. */
#include "api/call.h"

#include "control/people/users.h"
#include "control/secrets.h"
#include "crypto/secret.h"

/* What a call asks. */
struct secret_ask {
    struct secret_body body;
    mr_str status; /* of a list */
    struct control_page page;
};

/* The members of the body. False: refused. */
static bool take_body(struct api_call *call, enum shape_use use, struct secret_ask *ask) {
    struct refusal refusal;
    mr_str json = call->body;
    if (!api_require_json(call) ||
        (api_is_form(call) && !api_form_to_json(call, call->body, &json))) {
        return false;
    }
    if (mr_is_err(secrets_body_parse(json, use, &call->arena, &ask->body, &refusal))) {
        api_refuse_with(call, &refusal);
        return false;
    }
    return true;
}

static struct secret_ask *ask_new(struct api_call *call) {
    struct secret_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    if (ask == NULL) {
        api_refuse_memory(call);
    }
    call->ask = ask;
    return ask;
}

static mr_err list(struct control *control, struct api_call *call) {
    const struct secret_ask *ask = call->ask;
    struct secret_view *rows;
    size_t n;
    uint64_t count;
    MR_TRY(secrets_list(control, call->account, ask->status, ask->page, &call->arena, &rows, &n,
                        &count, &call->job.refusal));
    return secret_list_write_json(rows, n, &ask->page, count, api_list_url(call), &call->out);
}

static const struct api_param list_params[] = {
    {"status", API_PARAM_ENUM, .names = secret_status_names, .n_names = 2,
     .what = "Only those in this state"},
    API_PARAM_PAGE_SIZE,
    API_PARAM_PAGE_NUMBER,
};
const struct api_doc api_doc_SECRETS_LIST = {.summary = "List webhook secrets",
                                             API_QUERY(list_params),
                                             .flags = API_DOC_LIST,
                                             .status = 200,
                                             .answer = &secret_answer};

void api_secrets_list(struct api_call *call) {
    mr_str values[3];
    struct secret_ask *ask = ask_new(call);
    if (ask == NULL || !api_query_take(call, values)) {
        return;
    }
    ask->status = values[0];
    if (api_page_take(call, values[1], values[2], &ask->page)) {
        api_submit(call, list, NULL);
    }
}

/* A given value is an Owner's to bring, who is signed in; not a client's, whoever made it. */
static mr_err import(struct control *control, struct api_call *call, struct secret_view *view) {
    const struct secret_ask *ask = call->ask;
    struct user_view user = {.role = AUTH_ROLE_DEFAULT};
    mr_err err = MR_OK;
    if (call->user != 0) {
        err = users_get_number(control, call->user, &call->arena, &user, &call->job.refusal);
    }
    if (mr_is_ok(err) && user.role != AUTH_ROLE_OWNER) {
        err = refuse(&call->job.refusal, REFUSAL_DENIED,
                     "Only an Owner, signed in, brings a secret of their own; leave Secret out, "
                     "and one is made.");
    }
    if (mr_is_ok(err)) {
        err = secrets_import(control, call->account, ask->body.name, ask->body.value, &call->arena,
                             view, &call->job.refusal);
    }
    return err;
}

static mr_err create(struct control *control, struct api_call *call) {
    const struct secret_ask *ask = call->ask;
    struct secret_view view;
    MR_TRY(mr_str_is_absent(ask->body.value)
               ? secrets_create(control, call->account, ask->body.name, &call->arena, &view,
                                &call->job.refusal)
               : import(control, call, &view));
    call->status = 201;
    control_etag_format(view.version, call->etag);
    mr_err err = secret_write_json(&view, &call->out);
    if (!mr_str_is_absent(view.value)) {
        crypto_wipe((void *)(uintptr_t)view.value.ptr, view.value.len);
    }
    MR_TRY(err);
    /* A repeated answer leaves the value out. */
    view.value = MR_STR_NONE;
    return secret_write_json(&view, &call->stored);
}

const struct api_doc api_doc_SECRETS_CREATE = {
    .summary = "Create a webhook secret",
    .what = "The first one is active at once, later ones are pending; a pending one is replaced. An"
            " Owner's session may bring a value of its own; it is not shown again.",
    .media = API_MEDIA_JSON | API_MEDIA_FORM,
    .body = &secret_shape,
    .flags = API_DOC_ETAG,
    .status = 201,
    .answer = &secret_answer};

void api_secrets_create(struct api_call *call) {
    struct secret_ask *ask = ask_new(call);
    if (ask != NULL && api_query_take(call, NULL) && take_body(call, SHAPE_CREATE, ask)) {
        api_submit(call, create, NULL);
    }
}

static mr_err patch(struct control *control, struct api_call *call) {
    const struct secret_ask *ask = call->ask;
    struct secret_view view;
    MR_TRY(secrets_patch(control, call->account, call->params[0], ask->body.name, ask->body.status,
                         control_etag_parse(call->if_match), &call->arena, &view,
                         &call->job.refusal));
    control_etag_format(view.version, call->etag);
    return secret_write_json(&view, &call->out);
}

const struct api_doc api_doc_SECRET_PATCH = {.summary = "Rename or activate a webhook secret",
                                             .media =
                                                 API_MEDIA_JSON | API_MEDIA_MERGE | API_MEDIA_FORM,
                                             .body = &secret_shape,
                                             .use = SHAPE_CHANGE,
                                             .flags = API_DOC_ETAG,
                                             .status = 200,
                                             .answer = &secret_answer};

void api_secret_patch(struct api_call *call) {
    struct secret_ask *ask = ask_new(call);
    if (ask != NULL && api_query_take(call, NULL) && take_body(call, SHAPE_CHANGE, ask)) {
        api_submit(call, patch, NULL);
    }
}
