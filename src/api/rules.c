/* Streaming rules over HTTP. */
#include "api/call.h"

#include "control/rules.h"
#include "json/write.h"

#include <stdio.h>

static mr_err answer_rule(struct api_call *call, const struct rule_view *view) {
    control_etag_format(view->version, call->etag);
    return rule_write_json(view, &call->out);
}

/* What a list asks. */
struct rules_ask {
    mr_str status;
    mr_str destination_id;
    struct control_page page;
};

static mr_err list(struct control *control, struct api_call *call) {
    const struct rules_ask *ask = call->ask;
    struct rule_view *rows;
    size_t n;
    uint64_t count;
    MR_TRY(rules_list(control, call->account, ask->status, ask->destination_id, ask->page,
                      &call->arena, &rows, &n, &count, &call->job.refusal));
    mr_buf row;
    mr_buf_init(&row, API_BODY_MAX);
    json_out o;
    json_out_init(&o, &call->out);
    json_out_object(&o);
    json_out_member_array(&o, "data");
    mr_err err = MR_OK;
    for (size_t i = 0; i < n && mr_is_ok(err); i++) {
        mr_buf_reset(&row);
        err = rule_write_json(&rows[i], &row);
        json_out_raw(&o, mr_buf_view(&row));
    }
    json_out_end(&o);
    json_out_member_object(&o, "meta_data");
    control_page_write(&ask->page, count, api_list_url(call), &o);
    json_out_end(&o);
    json_out_end(&o);
    mr_buf_done(&row);
    MR_TRY(err);
    return json_out_finish(&o);
}

static const struct api_param list_params[] = {
    {"status", API_PARAM_ENUM, .names = rule_status_names, .n_names = 2,
     .what = "Only those in this state"},
    {"destination_id", API_PARAM_TEXT, .what = "Only those that lead there"},
    API_PARAM_PAGE_SIZE,
    API_PARAM_PAGE_NUMBER,
};
const struct api_doc api_doc_RULES_LIST = {.summary = "List streaming rules",
                                           API_QUERY(list_params),
                                           .flags = API_DOC_LIST,
                                           .status = 200,
                                           .answer = &rule_answer};

void api_rules_list(struct api_call *call) {
    mr_str values[4];
    if (!api_query_take(call, values)) {
        return;
    }
    struct rules_ask *ask = mr_arena_calloc(&call->arena, 1, sizeof *ask);
    if (ask == NULL) {
        api_refuse_memory(call);
        return;
    }
    ask->status = values[0];
    ask->destination_id = values[1];
    if (api_page_take(call, values[2], values[3], &ask->page)) {
        call->ask = ask;
        api_submit(call, list, NULL);
    }
}

static mr_err create(struct control *control, struct api_call *call) {
    struct rule_view view;
    MR_TRY(
        rules_create(control, call->account, call->body, &call->arena, &view, &call->job.refusal));
    call->status = 201;
    char location[512];
    int len = snprintf(location, sizeof location, "%.*s/v1/streaming-rules/%.*s",
                       MR_FMT(mr_str_slice(call->api->public_url, 0, 400)), MR_FMT(view.id));
    call->location = mr_arena_str(&call->arena, mr_str_of(location, (size_t)len));
    return answer_rule(call, &view);
}

const struct api_doc api_doc_RULES_CREATE = {.summary = "Create a streaming rule",
                                             .media = API_MEDIA_JSON,
                                             .body = &rule_shape,
                                             .flags = API_DOC_ETAG | API_DOC_LOCATION,
                                             .status = 201,
                                             .answer = &rule_answer};

void api_rules_create(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL)) {
        api_submit(call, create, NULL);
    }
}

static mr_err get(struct control *control, struct api_call *call) {
    struct rule_view view;
    MR_TRY(rules_get(control, call->account, call->params[0], &call->arena, &view,
                     &call->job.refusal));
    return answer_rule(call, &view);
}

const struct api_doc api_doc_RULE_GET = {.summary = "Read a streaming rule",
                                         .flags = API_DOC_ETAG,
                                         .status = 200,
                                         .answer = &rule_answer};

void api_rule_get(struct api_call *call) {
    if (api_query_take(call, NULL)) {
        api_submit(call, get, NULL);
    }
}

static mr_err patch(struct control *control, struct api_call *call) {
    struct rule_view view;
    MR_TRY(rules_patch(control, call->account, call->params[0], call->body,
                       control_etag_parse(call->if_match), &call->arena, &view,
                       &call->job.refusal));
    return answer_rule(call, &view);
}

const struct api_doc api_doc_RULE_PATCH = {.summary = "Change a streaming rule",
                                           .what = "A filter is replaced as a whole.",
                                           .media = API_MEDIA_JSON | API_MEDIA_MERGE,
                                           .body = &rule_shape,
                                           .use = SHAPE_CHANGE,
                                           .flags = API_DOC_ETAG,
                                           .status = 200,
                                           .answer = &rule_answer};

void api_rule_patch(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL)) {
        api_submit(call, patch, NULL);
    }
}

static mr_err delete_rule(struct control *control, struct api_call *call) {
    MR_TRY(rules_delete(control, call->account, call->params[0], control_etag_parse(call->if_match),
                        &call->job.refusal));
    call->status = 204;
    return MR_OK;
}

const struct api_doc api_doc_RULE_DELETE = {.summary = "Delete a streaming rule", .status = 204};

void api_rule_delete(struct api_call *call) {
    if (api_query_take(call, NULL)) {
        api_submit(call, delete_rule, NULL);
    }
}
