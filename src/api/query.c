/* Parameters of queries and forms (WHATWG URL, application/x-www-form-urlencoded). See call.h. */
#include "api/call.h"

#include "base/num.h"
#include "control/body.h"

#define UNKNOWN_MAX 400 /* of the names in a message */

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

static bool take_one(struct api_call *call, mr_str pair, const char *const *names, mr_str *values,
                     size_t n, mr_buf *unknown) {
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
    for (size_t i = 0; i < n; i++) {
        if (!mr_str_eq(name, mr_str_c(names[i]))) {
            continue;
        }
        if (!mr_str_is_absent(values[i])) {
            api_refuse(call, 400, malformed_code(call), "the parameter %s stands twice", names[i]);
            return false;
        }
        values[i] = value;
        return true;
    }
    size_t before = unknown->len;
    if (mr_is_err(mr_buf_printf(unknown, "%s%.*s", before > 0 ? ", " : "",
                                MR_FMT(mr_str_slice(name, 0, 100))))) {
        mr_buf_truncate(unknown, before); /* there are more than can be named */
    }
    return true;
}

bool api_query_take(struct api_call *call, const char *const *names, mr_str *values, size_t n) {
    for (size_t i = 0; i < n; i++) {
        values[i] = MR_STR_NONE;
    }
    if (call->query.len == 0) {
        return true;
    }
    mr_str rest = call->query;
    mr_str pair;
    mr_buf unknown;
    mr_buf_init(&unknown, UNKNOWN_MAX);
    bool ok = true;
    while (ok && mr_str_split(&rest, '&', &pair)) {
        ok = pair.len == 0 || take_one(call, pair, names, values, n, &unknown);
    }
    if (ok && unknown.len > 0) {
        ok = false;
        api_refuse(call, 400, 20001, "unknown parameter%s: %.*s",
                   mr_str_find_byte(mr_buf_view(&unknown), ',', 0) == SIZE_MAX ? "" : "s",
                   MR_FMT(mr_buf_view(&unknown)));
    }
    mr_buf_done(&unknown);
    return ok;
}

bool api_body_take(struct api_call *call, mr_str body, const char *const *names, size_t n,
                   json_tape *tape) {
    static const struct body_place place = {.path = "", .wrong = REFUSAL_MALFORMED};
    struct refusal refusal;
    mr_err err = body_read(tape, body, &refusal);
    if (mr_is_ok(err)) {
        err = body_only(json_root(tape), &place, names, n, &refusal);
    }
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
            !mr_str_eq(name, MR_STR("page_number"))) {
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

bool api_require_json(struct api_call *call) {
    mr_str type = call->content_type;
    if (mr_str_is_absent(type)) {
        return true;
    }
    size_t at = mr_str_find_byte(type, ';', 0);
    mr_str media = mr_str_trim(at == SIZE_MAX ? type : mr_str_slice(type, 0, at));
    if (mr_str_eq_nocase(media, MR_STR("application/json")) ||
        mr_str_eq_nocase(media, MR_STR("application/merge-patch+json"))) {
        return true;
    }
    const struct auth_route_info *info = auth_route_info(call->route);
    api_refuse(call, 415, api_error_code_of(info->errors, 415),
               "the content type must be application/json");
    return false;
}
