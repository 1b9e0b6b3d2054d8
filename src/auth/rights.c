/* Rights: the tables of the header as data, the route finder, scopes as JSON.
 *
 * A route is found by walking the table and comparing segment by segment: some thirty rows, most of
 * which differ in the second segment, so a tree would save nothing that can be measured; the hot
 * route stands first. Segments are compared as they came: a percent-encoded letter in a fixed
 * segment is another path (404), never a way around a check.
 *
 * Scopes are kept as four bits per resource. What KORE's documents let a product mean (a string
 * grants all four; its own products include Event Streams and Webhooks) is worked out here, once,
 * when scopes are read; behind it only bits are compared. */
#include "auth/rights.h"

#include "json/write.h"

static const struct {
    mr_str name;
    bool is_global;
} resources[AUTH_RESOURCE_COUNT] = {
#define AUTH_RESOURCE_ROW(symbol, text, global)                                                    \
    [AUTH_RES_##symbol] = {.name = {text, sizeof(text) - 1}, .is_global = (global)},
    AUTH_RESOURCES(AUTH_RESOURCE_ROW)
#undef AUTH_RESOURCE_ROW
};

#define LITERAL(text)                                                                              \
    { (text), sizeof(text) - 1 }
static const struct auth_route_info routes[AUTH_ROUTE_COUNT] = {
#define AUTH_ROUTE_ROW(name, verb, where, res, acc, family)                                        \
    [AUTH_ROUTE_##name] = {.symbol = LITERAL(#name),                                               \
                           .method = LITERAL(verb),                                                \
                           .path = LITERAL(where),                                                 \
                           .resource = AUTH_RES_##res,                                             \
                           .access = AUTH_##acc,                                                   \
                           .errors = AUTH_ERRORS_##family},
    AUTH_ROUTES(AUTH_ROUTE_ROW)
#undef AUTH_ROUTE_ROW
};

static const struct {
    enum auth_access bit;
    mr_str name;
} accesses[] = {
    {AUTH_READ, LITERAL("Read")},
    {AUTH_WRITE, LITERAL("Write")},
    {AUTH_MODIFY, LITERAL("Modify")},
    {AUTH_DELETE, LITERAL("Delete")},
};
#define ACCESS_COUNT (sizeof accesses / sizeof accesses[0])

mr_str auth_resource_name(enum auth_resource resource) {
    return resource < AUTH_RESOURCE_COUNT ? resources[resource].name
           : resource == AUTH_RES_SESSION ? MR_STR("Session")
                                          : MR_STR("none");
}

bool auth_resource_is_global(enum auth_resource resource) {
    return resource < AUTH_RESOURCE_COUNT && resources[resource].is_global;
}

struct auth_scopes auth_scopes_all(void) {
    struct auth_scopes scopes = {{0}};
    memset(scopes.access, AUTH_ALL, AUTH_RESOURCE_COUNT);
    return scopes;
}

bool auth_scopes_within(const struct auth_scopes *inner, const struct auth_scopes *outer) {
    for (size_t i = 0; i < AUTH_RESOURCE_COUNT; i++) {
        if ((inner->access[i] & ~outer->access[i]) != 0) {
            return false;
        }
    }
    return true;
}

/* ---- scopes as JSON ---- */

static void write_list(const struct auth_scopes *scopes, bool global, json_out *out) {
    json_out_member_array(out, global ? "globalResources" : "products");
    for (size_t i = 0; i < AUTH_RESOURCE_COUNT; i++) {
        if (resources[i].is_global != global || scopes->access[i] == 0) {
            continue;
        }
        json_out_object(out);
        json_out_member_str(out, "resourceName", resources[i].name);
        json_out_member_array(out, "access");
        for (size_t k = 0; k < ACCESS_COUNT; k++) {
            if ((scopes->access[i] & (uint8_t)accesses[k].bit) != 0) {
                json_out_str(out, accesses[k].name);
            }
        }
        json_out_end(out);
        json_out_end(out);
    }
    json_out_end(out);
}

mr_err auth_scopes_write(const struct auth_scopes *scopes, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    write_list(scopes, true, &writer);
    write_list(scopes, false, &writer);
    json_out_end(&writer);
    return json_out_finish(&writer);
}

static mr_err parse_access(json_value list, uint8_t *ret_access, const char **ret_why) {
    if (json_kind_of(list) != JSON_ARRAY) {
        *ret_why = "access must be an array";
        return MR_ERR(MR_E_INVALID);
    }
    uint8_t access = 0;
    for (json_iter it = json_iter_of(list); json_next(&it);) {
        size_t k = 0;
        while (k < ACCESS_COUNT && !json_string_eq(it.value, accesses[k].name)) {
            k++;
        }
        if (k == ACCESS_COUNT) {
            *ret_why = "access must name Read, Write, Modify or Delete";
            return MR_ERR(MR_E_INVALID);
        }
        access = (uint8_t)(access | (uint8_t)accesses[k].bit);
    }
    *ret_access = access;
    return MR_OK;
}

static mr_err find_resource(json_value name, bool global, size_t *ret_at, const char **ret_why) {
    for (size_t i = 0; i < AUTH_RESOURCE_COUNT; i++) {
        if (resources[i].is_global == global && json_string_eq(name, resources[i].name)) {
            *ret_at = i;
            return MR_OK;
        }
    }
    *ret_why = global ? "unknown global resource" : "unknown product";
    return MR_ERR(MR_E_INVALID);
}

static mr_err parse_entry(json_value entry, bool global, struct auth_scopes *scopes,
                          const char **ret_why) {
    size_t at = 0;
    uint8_t access = AUTH_ALL;
    if (json_kind_of(entry) == JSON_STRING && !global) {
        MR_TRY(find_resource(entry, global, &at, ret_why));
    } else if (json_kind_of(entry) == JSON_OBJECT) {
        for (json_iter it = json_iter_of(entry); json_next(&it);) {
            if (!json_string_eq(it.name, MR_STR("resourceName")) &&
                !json_string_eq(it.name, MR_STR("access"))) {
                *ret_why = "unknown member beside resourceName and access";
                return MR_ERR(MR_E_INVALID);
            }
        }
        MR_TRY(find_resource(json_find(entry, MR_STR("resourceName")), global, &at, ret_why));
        MR_TRY(parse_access(json_find(entry, MR_STR("access")), &access, ret_why));
    } else {
        *ret_why = global ? "a global resource must be an object"
                          : "a product must be a string or an object";
        return MR_ERR(MR_E_INVALID);
    }
    scopes->access[at] = (uint8_t)(scopes->access[at] | access);
    if (at == AUTH_RES_SUPER_SIM || at == AUTH_RES_PROGRAMMABLE_WIRELESS) {
        uint8_t *streams = &scopes->access[AUTH_RES_EVENT_STREAMS];
        uint8_t *webhooks = &scopes->access[AUTH_RES_WEBHOOKS];
        *streams = (uint8_t)(*streams | access);
        *webhooks = (uint8_t)(*webhooks | access);
    }
    return MR_OK;
}

static mr_err parse_list(json_value list, bool global, struct auth_scopes *scopes,
                         const char **ret_why) {
    if (json_kind_of(list) != JSON_ARRAY) {
        *ret_why = global ? "globalResources must be an array" : "products must be an array";
        return MR_ERR(MR_E_INVALID);
    }
    for (json_iter it = json_iter_of(list); json_next(&it);) {
        MR_TRY(parse_entry(it.value, global, scopes, ret_why));
    }
    return MR_OK;
}

mr_err auth_scopes_of_json(json_value value, struct auth_scopes *ret_scopes, const char **ret_why) {
    struct auth_scopes scopes = {{0}};
    if (json_kind_of(value) != JSON_OBJECT) {
        *ret_why = "scopes must be an object";
        return MR_ERR(MR_E_INVALID);
    }
    for (json_iter it = json_iter_of(value); json_next(&it);) {
        if (json_string_eq(it.name, MR_STR("globalResources"))) {
            MR_TRY(parse_list(it.value, true, &scopes, ret_why));
        } else if (json_string_eq(it.name, MR_STR("products"))) {
            MR_TRY(parse_list(it.value, false, &scopes, ret_why));
        } else {
            *ret_why = "unknown member beside globalResources and products";
            return MR_ERR(MR_E_INVALID);
        }
    }
    *ret_scopes = scopes;
    return MR_OK;
}

mr_err auth_scopes_parse(mr_str json, struct auth_scopes *ret_scopes, const char **ret_why) {
    json_tape tape;
    json_tape_init(&tape, 8);
    mr_err err = json_tape_read(&tape, json, NULL);
    if (mr_is_ok(err)) {
        err = auth_scopes_of_json(json_root(&tape), ret_scopes, ret_why);
    } else {
        *ret_why = "not JSON";
    }
    json_tape_done(&tape);
    return err;
}

mr_err auth_scopes_format_names(const struct auth_scopes *scopes, mr_buf *out) {
    bool is_first = true;
    for (size_t i = 0; i < AUTH_RESOURCE_COUNT; i++) {
        if (scopes->access[i] == 0) {
            continue;
        }
        if (!is_first) {
            MR_TRY(mr_buf_byte(out, ' '));
        }
        is_first = false;
        for (size_t k = 0; k < resources[i].name.len; k++) {
            if (resources[i].name.ptr[k] != ' ') {
                MR_TRY(mr_buf_byte(out, resources[i].name.ptr[k]));
            }
        }
    }
    return MR_OK;
}

/* ---- routes ---- */

const struct auth_route_info *auth_route_info(enum auth_route route) {
    MR_ASSERT(route < AUTH_ROUTE_COUNT);
    return &routes[route];
}

/* Whether path is the pattern's; the segments of {…} go to params. */
static bool path_matches(mr_str pattern, mr_str path, mr_str params[AUTH_ROUTE_PARAMS_MAX],
                         size_t *ret_n) {
    size_t n = 0;
    mr_str left = pattern;
    mr_str right = path;
    mr_str want;
    mr_str have;
    while (mr_str_split(&left, '/', &want)) {
        if (!mr_str_split(&right, '/', &have)) {
            return false;
        }
        if (want.len > 0 && want.ptr[0] == '{') {
            MR_ASSERT(n < AUTH_ROUTE_PARAMS_MAX);
            if (have.len == 0) {
                return false;
            }
            params[n++] = have;
        } else if (!mr_str_eq(want, have)) {
            return false;
        }
    }
    *ret_n = n;
    return mr_str_is_absent(right);
}

/* The first two segments, for the family of errors: "/v1/secrets". */
static mr_str family_of(mr_str path) {
    size_t second = mr_str_find_byte(path, '/', 1);
    return second == SIZE_MAX ? path
                              : mr_str_slice(path, 0, mr_str_find_byte(path, '/', second + 1));
}

/* Is the path one of the table as it stands? Then only its rows count: /v1/streaming-rules/preview
 * is no rule named preview. */
static bool is_of_table(mr_str path) {
    for (size_t i = 0; i < AUTH_ROUTE_COUNT; i++) {
        if (mr_str_eq(routes[i].path, path)) {
            return true;
        }
    }
    return false;
}

struct auth_route_match auth_route_find(mr_str method, mr_str path) {
    struct auth_route_match match = {.found = false};
    bool is_literal = is_of_table(path);
    if (mr_str_eq(method, MR_STR("HEAD"))) {
        method = MR_STR("GET");
    }
    for (size_t i = 0; i < AUTH_ROUTE_COUNT; i++) {
        mr_str params[AUTH_ROUTE_PARAMS_MAX] = {MR_STR_NONE, MR_STR_NONE};
        size_t n = 0;
        if ((is_literal && !mr_str_eq(routes[i].path, path)) ||
            !path_matches(routes[i].path, path, params, &n)) {
            continue;
        }
        match.path_known = true;
        match.errors = routes[i].errors;
        if (mr_str_eq(routes[i].method, method)) {
            match.found = true;
            match.route = (enum auth_route)i;
            memcpy(match.params, params, sizeof params);
            match.n_params = n;
            return match;
        }
    }
    if (!match.path_known) {
        mr_str family = family_of(path);
        for (size_t i = 0; i < AUTH_ROUTE_COUNT; i++) {
            if (mr_str_eq(family_of(routes[i].path), family)) {
                match.errors = routes[i].errors;
                break;
            }
        }
    }
    return match;
}

mr_err auth_route_methods(mr_str path, mr_buf *out) {
    bool is_first = true;
    bool is_literal = is_of_table(path);
    for (size_t i = 0; i < AUTH_ROUTE_COUNT; i++) {
        mr_str params[AUTH_ROUTE_PARAMS_MAX];
        size_t n = 0;
        if ((is_literal && !mr_str_eq(routes[i].path, path)) ||
            !path_matches(routes[i].path, path, params, &n)) {
            continue;
        }
        if (!is_first) {
            MR_TRY(mr_buf_str(out, MR_STR(", ")));
        }
        is_first = false;
        MR_TRY(mr_buf_str(out, routes[i].method));
        if (mr_str_eq(routes[i].method, MR_STR("GET"))) {
            MR_TRY(mr_buf_str(out, MR_STR(", HEAD")));
        }
    }
    return MR_OK;
}

bool auth_route_allows(enum auth_route route, const struct auth_scopes *scopes) {
    const struct auth_route_info *info = auth_route_info(route);
    return info->resource == AUTH_RES_NONE ||
           auth_scopes_allow(scopes, info->resource, info->access);
}
