/* The body of a callback's call: judged, and turned into what will be sent.
 *
 * Parameters are rendered here, once, so that what is stored is what goes over the wire: a retry
 * after a restart sends the same bytes. A number stays as it was written, true and false are words:
 * nothing here knows what they mean to the receiver. */
#include "api/callbacks.h"

#include "json/write.h"
#include "net/judge.h"
#include "sink/callback.h"

const char *const api_callback_methods[2] = {"POST", "GET"};
const char *const api_callback_contents[2] = {"form", "json"};

#define PARAMETERS_SCHEMA                                                                          \
    "{\"description\":\"What the form, the JSON object or, of a GET, the query holds\","           \
    "\"type\":[\"object\",\"null\"],\"maxProperties\":" TEXT_OF(                                   \
        CALLBACK_PARAMETERS_MAX) ","                                                               \
                                 "\"additionalProperties\":{\"type\":[\"string\",\"number\","      \
                                 "\"boolean\"]}}"
#define BODY_SCHEMA                                                                                \
    "{\"description\":\"Any JSON value, sent as it is, minified; with content_type json, in "      \
    "place of parameters\"}"

static const struct shape_member callback_members[] = {
    {"url", SHAPE_TEXT, SHAPE_NEEDED, 1, RECORD_CALLBACK_URL_MAX,
     .what = "Where the request goes: https"},
    {"method", SHAPE_ENUM, 0, .names = api_callback_methods, .n_names = 2,
     .what = "POST unless told"},
    {"content_type", SHAPE_ENUM, 0, .names = api_callback_contents, .n_names = 2,
     .what = "How a POST is written: form unless told"},
    {"parameters", SHAPE_OWN, 0, .schema = PARAMETERS_SCHEMA},
    {"body", SHAPE_OWN, 0, .schema = BODY_SCHEMA},
    {"reference", SHAPE_TEXT, 0, 1, RECORD_CALLBACK_REFERENCE_MAX,
     .what = "Your own name for it, to find it by; not sent"},
};
const struct shape api_callback_shape = {"Callback", callback_members,
                                         sizeof callback_members / sizeof callback_members[0]};

/* ---- url ---- */

static bool take_url(struct api_call *call, mr_str url) {
    struct net_url parsed;
    char reason[NET_REASON_SIZE] = "";
    switch (net_judge_url(call->api->guard, call->api->sink->allow_http, url, &parsed, reason)) {
    case NET_VERDICT_OK:
        return true;
    case NET_VERDICT_MALFORMED:
        api_refuse(call, 400, 20400, "url is not valid: %s.", reason);
        return false;
    case NET_VERDICT_REFUSED:
        break;
    }
    api_refuse(call, 400, 31010, "url is refused: %s.", reason);
    return false;
}

/* ---- parameters ---- */

/* The value as text; false: refused. */
static bool take_value(struct api_call *call, mr_str name, json_value value, mr_str *ret_text) {
    switch (json_kind_of(value)) {
    case JSON_STRING:
        if (mr_is_err(json_string(value, &call->arena, ret_text))) {
            api_refuse_memory(call);
            return false;
        }
        return true;
    case JSON_NUMBER:
    case JSON_TRUE:
    case JSON_FALSE:
        *ret_text = json_raw(value);
        return true;
    case JSON_ARRAY:
    case JSON_OBJECT:
        api_refuse(call, 400, 20001,
                   "parameters.%.*s holds further members; a parameter is a text, a number, true "
                   "or false",
                   MR_FMT(mr_str_head(name, 64)));
        return false;
    case JSON_NULL:
    case JSON_ABSENT:
        break;
    }
    api_refuse(call, 400, 20400, "parameters.%.*s must be a text, a number, true or false",
               MR_FMT(mr_str_head(name, 64)));
    return false;
}

/* False: refused. form: NULL: only judged. */
static bool take_parameters(struct api_call *call, json_value parameters, mr_buf *form) {
    if (json_kind_of(parameters) != JSON_OBJECT) {
        api_refuse(call, 400, 20400, "parameters must be an object");
        return false;
    }
    if (json_count(parameters) > CALLBACK_PARAMETERS_MAX) {
        api_refuse(call, 400, 20400, "parameters must be at most %d", CALLBACK_PARAMETERS_MAX);
        return false;
    }
    for (json_iter it = json_iter_of(parameters); json_next(&it);) {
        mr_str name = MR_STR_NONE;
        mr_str text = MR_STR_NONE;
        if (mr_is_err(json_string(it.name, &call->arena, &name))) {
            api_refuse_memory(call);
            return false;
        }
        if (!take_value(call, name, it.value, &text)) {
            return false;
        }
        mr_err err = form == NULL ? MR_OK : sink_callback_form_add(form, name, text);
        if (mr_err_is(err, MR_E_LIMIT)) {
            api_refuse(call, 413, 20413, "the parameters are larger than %zu bytes when encoded",
                       form->max);
            return false;
        }
        if (mr_is_err(err)) {
            api_refuse_memory(call);
            return false;
        }
    }
    return true;
}

/* ---- the whole ---- */

/* Members that exclude each other. False: refused. */
static bool judge_members(struct api_call *call, json_value root,
                          const struct record_callback *callback) {
    bool has_body = !json_is_absent(shape_value(root, "body"));
    bool has_parameters = !json_is_absent(shape_value(root, "parameters"));
    bool is_json = callback->content == RECORD_CALLBACK_JSON;
    const char *why = NULL;
    if (callback->method == RECORD_CALLBACK_GET && is_json) {
        why = "a GET has no body, and so no content_type json: give parameters";
    } else if (has_body && callback->method == RECORD_CALLBACK_GET) {
        why = "a GET has no body: give parameters";
    } else if (has_body && has_parameters) {
        why = "give either parameters or body, not both";
    } else if (has_body && !is_json) {
        why = "body goes with content_type json: give parameters, or content_type json";
    }
    if (why != NULL) {
        api_refuse(call, 400, 20004, "%s", why);
        return false;
    }
    if (is_json && !has_body && !has_parameters) {
        api_refuse(call, 400, 20002, "Missing member: body, or parameters.");
        return false;
    }
    return true;
}

/* Renders what will be sent into out. False: refused. */
static bool render(struct api_call *call, json_value root, const struct record_callback *callback,
                   mr_buf *out) {
    json_value parameters = shape_value(root, "parameters");
    bool is_json = callback->content == RECORD_CALLBACK_JSON;
    if (!json_is_absent(parameters) && !take_parameters(call, parameters, is_json ? NULL : out)) {
        return false;
    }
    if (!is_json) {
        return true;
    }
    json_value body = shape_value(root, "body");
    mr_err err = json_minify(json_is_absent(body) ? parameters : body, JSON_UTF8, out);
    if (mr_err_is(err, MR_E_LIMIT)) {
        api_refuse(call, 413, 20413, "the body is larger than %zu bytes", out->max);
    } else if (mr_is_err(err)) {
        api_refuse_memory(call);
    }
    return mr_is_ok(err);
}

static bool take(struct api_call *call, json_value root, struct record_callback *callback) {
    uint32_t method = RECORD_CALLBACK_POST;
    uint32_t content = RECORD_CALLBACK_FORM;
    callback->reference = MR_STR("");
    shape_enum(root, &api_callback_shape, "method", &method);
    shape_enum(root, &api_callback_shape, "content_type", &content);
    callback->method = (uint8_t)method;
    callback->content = (uint8_t)content;
    if (mr_is_err(shape_text(root, "url", &call->arena, &callback->url)) ||
        mr_is_err(shape_text(root, "reference", &call->arena, &callback->reference))) {
        api_refuse_memory(call);
        return false;
    }
    if (!take_url(call, callback->url) || !judge_members(call, root, callback)) {
        return false;
    }
    mr_buf out;
    mr_buf_init(&out,
                method == RECORD_CALLBACK_GET ? SINK_CALLBACK_QUERY_MAX : RECORD_CALLBACK_BODY_MAX);
    bool ok = render(call, root, callback, &out);
    callback->body = ok ? mr_arena_str(&call->arena, mr_buf_view(&out)) : MR_STR_NONE;
    if (ok && mr_str_is_absent(callback->body) && out.len > 0) {
        api_refuse_memory(call);
        ok = false;
    }
    mr_buf_done(&out);
    return ok;
}

bool api_callback_take(struct api_call *call, struct record_callback *ret_callback) {
    json_tape tape;
    bool ok = api_body_take(call, call->body, &tape) && take(call, json_root(&tape), ret_callback);
    json_tape_done(&tape);
    return ok;
}
