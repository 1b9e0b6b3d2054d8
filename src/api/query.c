/* Parameters of queries and forms (WHATWG URL, application/x-www-form-urlencoded). See call.h. */
#include "api/call.h"

#include "base/num.h"
#include "json/write.h"

#define UNKNOWN_MAX      400 /* of the names in a message */
#define FORM_MEMBERS_MAX 64

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Writes at most text.len bytes; false on a bad escape. */
static bool decode(mr_str text, bool is_form, char *out, size_t *ret_n) {
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            int high = -1;
            int low = -1;
            if (text.len - i > 2) {
                high = hex_digit(text.ptr[i + 1]);
                low = hex_digit(text.ptr[i + 2]);
            }
            if (high < 0 || low < 0) {
                return false;
            }
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && is_form) {
            c = ' ';
        }
        out[n++] = c;
    }
    *ret_n = n;
    return true;
}

mr_str api_percent_decode(mr_arena *arena, mr_str text, bool is_form) {
    char *out = mr_arena_alloc(arena, text.len + 1);
    size_t n = 0;
    if (out == NULL || !decode(text, is_form, out, &n)) {
        return MR_STR_NONE;
    }
    out[n] = '\0';
    mr_str decoded = mr_str_of(out, n);
    return mr_str_is_utf8(decoded) ? decoded : MR_STR_NONE;
}

/* Splits "name=value", both still encoded. */
static void split_pair(mr_str pair, mr_str *ret_name, mr_str *ret_value) {
    size_t at = mr_str_find_byte(pair, '=', 0);
    *ret_name = at == SIZE_MAX ? pair : mr_str_slice(pair, 0, at);
    *ret_value = at == SIZE_MAX ? MR_STR("") : mr_str_slice(pair, at + 1, pair.len);
}

mr_str api_form_find(mr_arena *arena, mr_str form, mr_str name, size_t *ret_count) {
    mr_str found = MR_STR_NONE;
    mr_str rest = form;
    mr_str pair;
    *ret_count = 0;
    while (mr_str_split(&rest, '&', &pair)) {
        mr_str raw_name;
        mr_str raw_value;
        split_pair(pair, &raw_name, &raw_value);
        mr_str decoded = api_percent_decode(arena, raw_name, true);
        if (mr_str_is_absent(decoded) || !mr_str_eq(decoded, name)) {
            continue;
        }
        if ((*ret_count)++ == 0) {
            found = api_percent_decode(arena, raw_value, true);
        }
    }
    return found;
}

static bool is_among_first(mr_str name, const mr_str *names, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (mr_str_eq(name, names[i])) {
            return true;
        }
    }
    return false;
}

/* Writes one pair as a member. False: refused. */
static bool form_member(struct api_call *call, mr_str pair, mr_str names[static FORM_MEMBERS_MAX],
                        size_t *n, json_out *out) {
    mr_str raw_name;
    mr_str raw_value;
    split_pair(pair, &raw_name, &raw_value);
    mr_str name = api_percent_decode(&call->arena, raw_name, true);
    mr_str value = api_percent_decode(&call->arena, raw_value, true);
    if (mr_str_is_absent(name) || mr_str_is_absent(value)) {
        api_refuse(call, 400, 20400, "the form holds a bad percent escape");
        return false;
    }
    if (is_among_first(name, names, *n)) {
        api_refuse(call, 400, 20400, "the member %.*s stands twice",
                   MR_FMT(mr_str_head(name, 100)));
        return false;
    }
    if (*n == FORM_MEMBERS_MAX) {
        api_refuse(call, 400, 20400, "the form has more than %d members", FORM_MEMBERS_MAX);
        return false;
    }
    names[(*n)++] = name;
    json_out_name(out, name);
    json_out_str(out, value);
    return true;
}

bool api_form_to_json(struct api_call *call, mr_str form, mr_str *ret_json) {
    mr_str names[FORM_MEMBERS_MAX];
    size_t n = 0;
    mr_buf json;
    json_out out;
    mr_str rest = form;
    mr_str pair;
    bool ok = true;
    mr_buf_init(&json, API_ARENA_MAX);
    json_out_init(&out, &json);
    json_out_object(&out);
    while (ok && mr_str_split(&rest, '&', &pair)) {
        ok = pair.len == 0 || form_member(call, pair, names, &n, &out);
    }
    json_out_end(&out);
    mr_err err = json_out_finish(&out);
    if (ok) {
        *ret_json = mr_is_ok(err) ? mr_arena_str(&call->arena, mr_buf_view(&json)) : MR_STR_NONE;
        ok = !mr_str_is_absent(*ret_json);
        if (!ok) {
            api_refuse_memory(call);
        }
    }
    mr_buf_done(&json);
    return ok;
}

/* ---- the account ---- */

#define ACCOUNT_TEXT_MAX 256 /* of name and value, each; longer ones name no account */

/* Whether it is account_id, however its letters are escaped. */
static bool is_account_id(mr_str name) {
    char text[ACCOUNT_TEXT_MAX];
    size_t n = 0;
    return name.len <= sizeof text && decode(name, true, text, &n) &&
           mr_str_eq(mr_str_of(text, n), MR_STR("account_id"));
}

enum api_account_verdict api_account_of_query(const struct snapshot *snapshot,
                                              const struct model_account *home, mr_str query,
                                              struct api_account_query *ret) {
    *ret = (struct api_account_query){.account = home};
    mr_str pair;
    while (query.len > 0 && mr_str_split(&query, '&', &pair)) {
        mr_str name;
        mr_str value;
        split_pair(pair, &name, &value);
        if (!is_account_id(name)) {
            ret->has_others = ret->has_others || pair.len > 0;
            continue;
        }
        char id[ACCOUNT_TEXT_MAX];
        size_t n = 0;
        bool is_short = value.len <= sizeof id;
        if (ret->is_named || (is_short && !decode(value, true, id, &n))) {
            return API_ACCOUNT_MALFORMED;
        }
        ret->is_named = true;
        ret->account = snapshot_account_by_id(snapshot, mr_str_of(id, n));
    }
    return snapshot_account_is_within(snapshot, ret->account, home->object.number)
               ? API_ACCOUNT_FOUND
               : API_ACCOUNT_UNKNOWN;
}

/* ---- queries ---- */

static uint32_t malformed_code(const struct api_call *call) {
    return api_error_code_of(auth_route_info(call->route)->errors, 400);
}

static bool is_among(mr_str value, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (mr_str_eq(value, mr_str_c(names[i]))) {
            return true;
        }
    }
    return false;
}

static bool refuse_names(struct api_call *call, const struct api_param *param) {
    mr_buf list;
    mr_buf_init(&list, 256);
    for (size_t i = 0; i < param->n_names; i++) {
        mr_ignore(mr_buf_printf(&list, "%s%s", i > 0 ? ", " : "", param->names[i]),
                  "a shorter message");
    }
    api_refuse(call, 400, malformed_code(call), "%s must be one of: %.*s", param->name,
               MR_FMT(mr_buf_view(&list)));
    mr_buf_done(&list);
    return false;
}

/* False: refused. */
static bool judge(struct api_call *call, const struct api_param *param, mr_str value) {
    uint64_t number;
    mr_wall time;
    switch (param->kind) {
    case API_PARAM_TEXT:
        return true;
    case API_PARAM_NUMBER:
        if (mr_is_ok(mr_u64_parse(value, param->min, param->max, &number))) {
            return true;
        }
        api_refuse(call, 400, malformed_code(call), "%s must be a whole number from %llu to %llu",
                   param->name, (unsigned long long)param->min, (unsigned long long)param->max);
        return false;
    case API_PARAM_ENUM:
        return is_among(value, param->names, param->n_names) || refuse_names(call, param);
    case API_PARAM_TIME:
        if (mr_is_ok(mr_time_parse_rfc3339(value, &time))) {
            return true;
        }
        api_refuse(call, 400, malformed_code(call), "%s must be an RFC 3339 date-time",
                   param->name);
        return false;
    }
    return false;
}

static bool take_one(struct api_call *call, mr_str pair, const struct api_doc *doc, mr_str *values,
                     mr_buf *unknown) {
    mr_str raw_name;
    mr_str raw_value;
    split_pair(pair, &raw_name, &raw_value);
    mr_str name = api_percent_decode(&call->arena, raw_name, true);
    mr_str value = api_percent_decode(&call->arena, raw_value, true);
    if (mr_str_is_absent(name) || mr_str_is_absent(value)) {
        api_refuse(call, 400, malformed_code(call), "the query holds a bad percent escape");
        return false;
    }
    if (mr_str_eq(name, MR_STR("account_id")) && !mr_str_is_absent(call->account_id)) {
        return true; /* the call's account is that one already */
    }
    for (size_t i = 0; i < doc->n_query; i++) {
        if (!mr_str_eq(name, mr_str_c(doc->query[i].name))) {
            continue;
        }
        if (!mr_str_is_absent(values[i])) {
            api_refuse(call, 400, malformed_code(call), "the parameter %s stands twice",
                       doc->query[i].name);
            return false;
        }
        values[i] = value;
        return judge(call, &doc->query[i], value);
    }
    size_t before = unknown->len;
    if (mr_is_err(mr_buf_printf(unknown, "%s%.*s", before > 0 ? ", " : "",
                                MR_FMT(mr_str_head(name, 100))))) {
        mr_buf_truncate(unknown, before); /* there are more than can be named */
    }
    return true;
}

static bool has_needed(struct api_call *call, const struct api_doc *doc, const mr_str *values) {
    for (size_t i = 0; i < doc->n_query; i++) {
        if (doc->query[i].is_needed && mr_str_is_absent(values[i])) {
            api_refuse(call, 400, 20002, "missing parameter: %s", doc->query[i].name);
            return false;
        }
    }
    return true;
}

bool api_query_take(struct api_call *call, mr_str *values) {
    const struct api_doc *doc = api_doc_of(call->route);
    MR_ASSERT((doc->n_query > 0) == (values != NULL));
    for (size_t i = 0; i < doc->n_query; i++) {
        values[i] = MR_STR_NONE;
    }
    mr_str rest = call->query;
    mr_str pair;
    mr_buf unknown;
    mr_buf_init(&unknown, UNKNOWN_MAX);
    bool ok = true;
    while (ok && call->query.len > 0 && mr_str_split(&rest, '&', &pair)) {
        ok = pair.len == 0 || take_one(call, pair, doc, values, &unknown);
    }
    if (ok && unknown.len > 0) {
        ok = false;
        api_refuse(call, 400, 20001, "unknown parameter%s: %.*s",
                   mr_str_find_byte(mr_buf_view(&unknown), ',', 0) == SIZE_MAX ? "" : "s",
                   MR_FMT(mr_buf_view(&unknown)));
    }
    mr_buf_done(&unknown);
    return ok && has_needed(call, doc, values);
}

bool api_body_take(struct api_call *call, mr_str body, json_tape *tape) {
    const struct api_doc *doc = api_doc_of(call->route);
    struct refusal refusal;
    mr_err err = shape_read(tape, body, doc->body, doc->use, &refusal);
    if (mr_err_is(err, CONTROL_E_REFUSED)) {
        api_refuse_with(call, &refusal);
    } else if (mr_is_err(err)) {
        api_refuse_memory(call);
    }
    return mr_is_ok(err);
}

mr_str api_list_url(struct api_call *call) {
    mr_buf url;
    mr_buf_init(&url, 8192);
    mr_err err = mr_buf_printf(&url, "%.*s%.*s", MR_FMT(call->api->public_url), MR_FMT(call->path));
    mr_str rest = call->query;
    mr_str pair;
    char sep = '?';
    while (mr_is_ok(err) && mr_str_split(&rest, '&', &pair)) {
        mr_str name;
        mr_str value;
        split_pair(pair, &name, &value);
        if (pair.len > 0 && !mr_str_eq(name, MR_STR("page_size")) &&
            !mr_str_eq(name, MR_STR("page_number")) && !mr_str_eq(name, MR_STR("cursor"))) {
            err = mr_buf_printf(&url, "%c%.*s", sep, MR_FMT(pair));
            sep = '&';
        }
    }
    mr_str copy = mr_arena_str(&call->arena,
                               mr_is_ok(err) && url.len <= 4000 ? mr_buf_view(&url) : MR_STR(""));
    mr_buf_done(&url);
    return mr_str_is_absent(copy) ? MR_STR("") : copy;
}

bool api_page_take(struct api_call *call, mr_str size, mr_str number, struct control_page *ret) {
    struct refusal refusal;
    if (mr_is_err(control_page_parse(size, number, ret, &refusal))) {
        api_refuse_with(call, &refusal);
        return false;
    }
    return true;
}

static mr_str media_of(const struct api_call *call) {
    mr_str type = call->content_type;
    size_t at = mr_str_find_byte(type, ';', 0);
    return mr_str_trim(at == SIZE_MAX ? type : mr_str_slice(type, 0, at));
}

bool api_is_form(const struct api_call *call) {
    return (api_doc_of(call->route)->media & API_MEDIA_FORM) != 0 &&
           mr_str_eq_nocase(media_of(call), MR_STR("application/x-www-form-urlencoded"));
}

bool api_require_json(struct api_call *call) {
    uint8_t known = api_doc_of(call->route)->media;
    mr_str media = media_of(call);
    if (mr_str_is_absent(call->content_type) ||
        mr_str_eq_nocase(media, MR_STR("application/json")) || api_is_form(call) ||
        ((known & API_MEDIA_MERGE) != 0 &&
         mr_str_eq_nocase(media, MR_STR("application/merge-patch+json")))) {
        return true;
    }
    const struct auth_route_info *info = auth_route_info(call->route);
    api_refuse(call, 415, api_error_code_of(info->errors, 415), "the content type must be %s%s",
               "application/json",
               (known & API_MEDIA_FORM) != 0 ? " or application/x-www-form-urlencoded" : "");
    return false;
}
