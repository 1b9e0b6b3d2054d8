/* The keys that sign access tokens, over HTTP: for callers of the root account alone, since they
 * are the installation's. And the document that others verify tokens with. */
#include "api/call.h"

#include "control/access/keys.h"

/* False: refused. */
static bool is_of_root(struct api_call *call) {
    if (call->home != control_root_account(call->api->control) || call->account != call->home) {
        api_refuse(call, 403, 40403,
                   "only callers of the root account see and rotate signing keys");
        return false;
    }
    return true;
}

static mr_err list(struct control *control, struct api_call *call) {
    const struct control_page *page = call->ask;
    struct signing_key_view *rows;
    size_t n;
    MR_TRY(signing_keys_list(control, call->now, &call->arena, &rows, &n, &call->job.refusal));
    return signing_key_list_write_json(rows, n, page, api_list_url(call), &call->out);
}

static const struct api_param list_params[] = {API_PARAM_PAGE_SIZE, API_PARAM_PAGE_NUMBER};
const struct api_doc api_doc_SIGNING_KEYS_LIST = {.summary = "List the keys that sign tokens",
                                                  .what = "For the root account alone.",
                                                  API_QUERY(list_params),
                                                  .flags = API_DOC_LIST,
                                                  .status = 200,
                                                  .answer = &signing_key_answer};

void api_signing_keys_list(struct api_call *call) {
    mr_str values[2];
    if (!api_query_take(call, values) || !is_of_root(call)) {
        return;
    }
    struct control_page *page = mr_arena_calloc(&call->arena, 1, sizeof *page);
    if (page == NULL) {
        api_refuse_memory(call);
        return;
    }
    call->ask = page;
    if (api_page_take(call, values[0], values[1], page)) {
        api_submit(call, list, NULL);
    }
}

static mr_err rotate(struct control *control, struct api_call *call) {
    struct signing_key_view view;
    MR_TRY(signing_keys_rotate(control, api_body_or_object(call), call->now, &call->arena, &view,
                               &call->job.refusal));
    call->status = 201;
    return signing_key_write_json(&view, &call->out);
}

const struct api_doc api_doc_SIGNING_KEYS_ROTATE = {.summary = "Make a new key that signs tokens",
                                                    .what = "For the root account alone.",
                                                    .media = API_MEDIA_JSON,
                                                    .body = &signing_key_rotation_shape,
                                                    .flags = API_DOC_BODY_OPTIONAL,
                                                    .status = 201,
                                                    .answer = &signing_key_answer};

void api_signing_keys_rotate(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL) && is_of_root(call)) {
        api_submit(call, rotate, NULL);
    }
}

const struct api_doc api_doc_JWKS = {
    .summary = "Read the keys that verify tokens",
    .status = 200,
    .answer_schema = "{\"type\":\"object\",\"properties\":{\"keys\":{\"type\":\"array\",\"items\":"
                     "{\"type\":\"object\"}}},\"required\":[\"keys\"],"
                     "\"additionalProperties\":false}"};

void api_jwks(struct api_call *call) {
    if (!api_query_take(call, NULL)) {
        return;
    }
    int64_t now_s = loop_wall(call->api->loop).ns / MR_NS_PER_S;
    if (mr_is_err(
            auth_keyring_write_jwks(snapshot_keyring(call->api->snapshot), now_s, &call->out))) {
        api_refuse_memory(call);
        return;
    }
    const mr_field cache = {MR_STR("cache-control"), MR_STR("public, max-age=300")};
    api_answer_as(call, MR_STR("application/json"), &cache, 1);
}
