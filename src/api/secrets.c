/* Webhook secrets over HTTP, as KORE's webhook document has them: JSON and forms, names of members
 * with capitals. */
#include "api/call.h"

#include "control/secrets.h"
#include "crypto/secret.h"

/* What a call asks. */
struct secret_ask {
    mr_str name;
    mr_str status;
    struct control_page page;
};

enum body_kind { BODY_JSON = 0, BODY_FORM, BODY_OTHER };

/* A change may come as a merge patch by name (RFC 7396), as on the other resources. */
static enum body_kind body_kind_of(mr_str type, bool is_change) {
    size_t at = mr_str_find_byte(type, ';', 0);
    mr_str media = mr_str_trim(at == SIZE_MAX ? type : mr_str_slice(type, 0, at));
    if (mr_str_eq_nocase(media, MR_STR("application/x-www-form-urlencoded"))) {
        return BODY_FORM;
    }
    if (is_change && mr_str_eq_nocase(media, MR_STR("application/merge-patch+json"))) {
        return BODY_JSON;
    }
    return mr_str_is_absent(type) || mr_str_eq_nocase(media, MR_STR("application/json"))
               ? BODY_JSON
               : BODY_OTHER;
}

static bool take_form_member(struct api_call *call, mr_str pair, bool with_status,
                             struct secret_ask *ask) {
    size_t at = mr_str_find_byte(pair, '=', 0);
    mr_str name =
        api_percent_decode(&call->arena, at == SIZE_MAX ? pair : mr_str_slice(pair, 0, at), true);
    mr_str value = at == SIZE_MAX ? MR_STR("")
                                  : api_percent_decode(&call->arena,
                                                       mr_str_slice(pair, at + 1, pair.len), true);
    if (mr_str_is_absent(name) || mr_str_is_absent(value)) {
        api_refuse(call, 400, 20400, "the form holds a bad percent escape");
        return false;
    }
    mr_str *to = NULL;
    if (mr_str_eq(name, MR_STR("Name"))) {
        to = &ask->name;
    } else if (with_status && mr_str_eq(name, MR_STR("Status"))) {
        to = &ask->status;
    }
    if (to == NULL) {
        api_refuse(call, 400, 20001, "unknown member: %.*s", MR_FMT(mr_str_slice(name, 0, 100)));
        return false;
    }
    if (!mr_str_is_absent(*to)) {
        api_refuse(call, 400, 20400, "the member %.*s stands twice", MR_FMT(name));
        return false;
    }
    *to = value;
    return true;
}

/* Name and, of a change, Status of the body. False: refused. */
static bool take_body(struct api_call *call, bool is_change, struct secret_ask *ask) {
    struct refusal refusal;
    mr_str rest = call->body;
    mr_str pair;
    switch (body_kind_of(call->content_type, is_change)) {
    case BODY_FORM:
        while (mr_str_split(&rest, '&', &pair)) {
            if (pair.len > 0 && !take_form_member(call, pair, is_change, ask)) {
                return false;
            }
        }
        return true;
    case BODY_JSON:
        if (mr_is_err(secrets_body_parse(call->body, is_change, &call->arena, &ask->name,
                                         &ask->status, &refusal))) {
            api_refuse_with(call, &refusal);
            return false;
        }
        return true;
    case BODY_OTHER:
        break;
    }
    api_refuse(call, 415, 20415,
               "the content type must be application/json or application/x-www-form-urlencoded");
    return false;
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

void api_secrets_list(struct api_call *call) {
    static const char *const names[] = {"status", "page_size", "page_number"};
    mr_str values[3];
    struct secret_ask *ask = ask_new(call);
    if (ask == NULL || !api_query_take(call, names, values, 3)) {
        return;
    }
    ask->status = values[0];
    if (api_page_take(call, values[1], values[2], &ask->page)) {
        api_submit(call, list, NULL);
    }
}

static mr_err create(struct control *control, struct api_call *call) {
    const struct secret_ask *ask = call->ask;
    struct secret_view view;
    MR_TRY(
        secrets_create(control, call->account, ask->name, &call->arena, &view, &call->job.refusal));
    call->status = 201;
    control_etag_format(view.version, call->etag);
    mr_err err = secret_write_json(&view, &call->out);
    crypto_wipe((void *)(uintptr_t)view.value.ptr, view.value.len);
    MR_TRY(err);
    /* A repeated answer leaves the value out. */
    view.value = MR_STR_NONE;
    return secret_write_json(&view, &call->stored);
}

void api_secrets_create(struct api_call *call) {
    struct secret_ask *ask = ask_new(call);
    if (ask != NULL && take_body(call, false, ask) && api_query_take(call, NULL, NULL, 0)) {
        api_submit(call, create, NULL);
    }
}

static mr_err patch(struct control *control, struct api_call *call) {
    const struct secret_ask *ask = call->ask;
    struct secret_view view;
    MR_TRY(secrets_patch(control, call->account, call->params[0], ask->name, ask->status,
                         control_etag_parse(call->if_match), &call->arena, &view,
                         &call->job.refusal));
    control_etag_format(view.version, call->etag);
    return secret_write_json(&view, &call->out);
}

void api_secret_patch(struct api_call *call) {
    struct secret_ask *ask = ask_new(call);
    if (ask != NULL && take_body(call, true, ask) && api_query_take(call, NULL, NULL, 0)) {
        api_submit(call, patch, NULL);
    }
}
