/* The tables of a file of declarations, and the check by them. See kinds.h. */
#include "cli/apply/kinds.h"

#include <stdio.h>

#define TEXT        DECLARED_TEXT
#define NUMBER      DECLARED_NUMBER
#define BOOL        DECLARED_BOOL
#define NULLABLE    DECLARED_NULL
#define OBJECT      DECLARED_OBJECT
#define ARRAY       DECLARED_ARRAY
#define COUNT(a)    (sizeof(a) / sizeof(a)[0])
#define INNER(a)    static const struct declared_members a##_of = {a, COUNT(a)}
#define PATH_SIZE   256
#define OBJECTS_MAX 5000U

static const struct declared_member version[] = {
    {"version", NUMBER, true, DECLARED_OWN, NULL},
    {"document", DECLARED_ANY, true, DECLARED_OWN, NULL},
    {"examples", ARRAY, true, DECLARED_OWN, NULL},
    {"allow_breaking", BOOL, false, DECLARED_OWN, NULL},
};
INNER(version);
static const struct declared_member schema[] = {
    {"name", TEXT, true, DECLARED_OWN, NULL},
    {"versions", ARRAY, true, DECLARED_OWN, &version_of},
};
INNER(schema);

static const struct declared_member type[] = {
    {"name", TEXT, true, DECLARED_OWN, NULL},
    {"product", TEXT, true, DECLARED_WHOLE, NULL},
    {"product_group", TEXT | NULLABLE, false, DECLARED_WHOLE, NULL},
    {"schema", TEXT, true, DECLARED_WHOLE, NULL},
    {"status", TEXT, false, DECLARED_WHOLE, NULL},
    {"description", TEXT, false, DECLARED_WHOLE, NULL},
};
INNER(type);

static const struct declared_member delays[] = {
    {"delays_ms", ARRAY, true, DECLARED_WHOLE, NULL},
};
INNER(delays);
static const struct declared_member settings[] = {
    {"url", TEXT, true, DECLARED_WHOLE, NULL},
    {"method", TEXT, false, DECLARED_WHOLE, NULL},
    {"batch_max", NUMBER, false, DECLARED_WHOLE, NULL},
    {"batch_bytes_max", NUMBER, false, DECLARED_WHOLE, NULL},
    {"linger_ms", NUMBER, false, DECLARED_WHOLE, NULL},
    {"timeout_ms", NUMBER, false, DECLARED_WHOLE, NULL},
    {"retry_policy", TEXT | OBJECT, false, DECLARED_WHOLE, &delays_of},
    {"rate_per_second", NUMBER | NULLABLE, false, DECLARED_WHOLE, NULL},
    {"concurrency_max", NUMBER, false, DECLARED_WHOLE, NULL},
    {"headers", OBJECT, false, DECLARED_SECRETS, NULL},
    {"signatures", ARRAY, false, DECLARED_WHOLE, NULL},
    {"escape_non_ascii", BOOL, false, DECLARED_WHOLE, NULL},
    {"format", TEXT, false, DECLARED_WHOLE, NULL},
    {"client_cert_pem", TEXT | NULLABLE, false, DECLARED_WHOLE, NULL},
    {"client_key_pem", TEXT | NULLABLE, false, DECLARED_SECRET, NULL},
    {"ca_pem", TEXT | NULLABLE, false, DECLARED_WHOLE, NULL},
};
INNER(settings);
static const struct declared_member destination[] = {
    {"name", TEXT, true, DECLARED_OWN, NULL},
    {"description", TEXT, false, DECLARED_WHOLE, NULL},
    {"kind", TEXT, true, DECLARED_WHOLE, NULL},
    {"status", TEXT, false, DECLARED_WHOLE, NULL},
    {"settings", OBJECT, true, DECLARED_PARTS, &settings_of},
    {"metadata", OBJECT, false, DECLARED_MAP, NULL},
};
INNER(destination);

static const struct declared_member rule_type[] = {
    {"type", TEXT, true, DECLARED_WHOLE, NULL},
    {"schema_version", NUMBER | NULLABLE, false, DECLARED_WHOLE, NULL},
};
INNER(rule_type);
static const struct declared_member filter[] = {
    {"pattern", OBJECT, false, DECLARED_WHOLE, NULL},
    {"cesql", TEXT, false, DECLARED_WHOLE, NULL},
};
INNER(filter);
static const struct declared_member rule[] = {
    {"name", TEXT, true, DECLARED_WHOLE, NULL},
    {"id", TEXT, false, DECLARED_OWN, NULL},
    {"status", TEXT, false, DECLARED_WHOLE, NULL},
    {"destination", TEXT, true, DECLARED_LINK, NULL},
    {"product_group", TEXT | NULLABLE, false, DECLARED_WHOLE, NULL},
    {"event_types", ARRAY, true, DECLARED_WHOLE, &rule_type_of},
    {"filter", OBJECT | NULLABLE, false, DECLARED_WHOLE, &filter_of},
    {"sampling", NUMBER, false, DECLARED_WHOLE, NULL},
    {"metadata", OBJECT, false, DECLARED_MAP, NULL},
};
INNER(rule);

static const struct declared_member scopes[] = {
    {"globalResources", ARRAY, false, DECLARED_WHOLE, NULL},
    {"products", ARRAY, false, DECLARED_WHOLE, NULL},
};
INNER(scopes);
static const struct declared_member client[] = {
    {"name", TEXT, true, DECLARED_WHOLE, NULL},
    {"client_id", TEXT, false, DECLARED_OWN, NULL},
    {"client_owner", TEXT | NULLABLE, false, DECLARED_WHOLE, NULL},
    {"client_type", TEXT, false, DECLARED_WHOLE, NULL},
    {"locked", BOOL | NULLABLE, true, DECLARED_WHOLE, NULL},
    {"enabled", BOOL, false, DECLARED_WHOLE, NULL},
    {"token_expiry", TEXT | NULLABLE, false, DECLARED_WHOLE, NULL},
    {"scopes", OBJECT, true, DECLARED_SCOPES, &scopes_of},
};
INNER(client);

static const struct declared_kind_info kinds[DECLARED_KINDS] = {
    [DECLARED_SCHEMA] = {"schemas", "schema", "schemas", "/v1/schemas", "data", "meta_data", "name",
                         NULL, false, true, false, &schema_of},
    [DECLARED_TYPE] = {"event_types", "event type", "event types", "/v1/event-types", "data",
                       "meta_data", "name", NULL, false, true, false, &type_of},
    [DECLARED_DESTINATION] = {"destinations", "destination", "destinations", "/v1/destinations",
                              "data", "meta_data", "id", NULL, true, false, false, &destination_of},
    [DECLARED_RULE] = {"rules", "rule", "rules", "/v1/streaming-rules", "data", "meta_data", "id",
                       NULL, true, false, true, &rule_of},
    [DECLARED_CLIENT] = {"clients", "client", "clients", "/v1/clients", "clients", "meta",
                         "client_id", "client", true, false, true, &client_of},
};

const struct declared_kind_info *declared_kind_info(enum declared_kind kind) {
    return &kinds[kind];
}

json_value declared_id(enum declared_kind kind, json_value object) {
    return kinds[kind].shares_names ? json_find(object, mr_str_c(kinds[kind].id)) : JSON_NONE;
}

json_value declared_section(const struct document *document, enum declared_kind kind) {
    return json_find(json_root(&document->tape), mr_str_c(kinds[kind].section));
}

/* ---- the check ---- */

static uint8_t value_of(json_value value) {
    switch (json_kind_of(value)) {
    case JSON_NULL:
        return DECLARED_NULL;
    case JSON_FALSE:
    case JSON_TRUE:
        return DECLARED_BOOL;
    case JSON_NUMBER:
        return DECLARED_NUMBER;
    case JSON_STRING:
        return DECLARED_TEXT;
    case JSON_ARRAY:
        return DECLARED_ARRAY;
    case JSON_OBJECT:
        return DECLARED_OBJECT;
    case JSON_ABSENT:
        return 0;
    }
    return 0;
}

/* "a text or a number" */
static void name_values(uint8_t values, char out[static PATH_SIZE]) {
    static const char *const names[] = {"a text", "a number",  "true or false",
                                        "null",   "a mapping", "a list"};
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < COUNT(names); i++) {
        if ((values & (1u << i)) != 0) {
            len += (size_t)snprintf(out + len, PATH_SIZE - len, "%s%s", len == 0 ? "" : " or ",
                                    names[i]);
        }
    }
}

static const struct declared_member *find_member(const struct declared_members *members,
                                                 json_value name) {
    for (size_t i = 0; i < members->n; i++) {
        if (json_string_eq(name, mr_str_c(members->members[i].name))) {
            return &members->members[i];
        }
    }
    return NULL;
}

static bool check_object(const struct document *document, json_value object,
                         const struct declared_members *members, const char *what);

/* RFC 7396, by which changes are made, cannot set a null inside a map. */
static bool check_map(const struct document *document, json_value map, const char *what) {
    for (json_iter it = json_iter_of(map); json_next(&it);) {
        if (json_kind_of(it.value) == JSON_NULL) {
            return document_problem(document, it.value, "%s cannot hold null: leave the member out",
                                    what);
        }
        if (json_kind_of(it.value) == JSON_OBJECT && !check_map(document, it.value, what)) {
            return false;
        }
    }
    return true;
}

static bool check_value(const struct document *document, json_value value,
                        const struct declared_member *member, const char *what) {
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof path, "%s%s%s", what, what[0] == '\0' ? "" : ".", member->name);
    if ((value_of(value) & member->values) == 0) {
        char names[PATH_SIZE];
        name_values(member->values, names);
        return document_problem(document, value, "%s must be %s", path, names);
    }
    if (json_kind_of(value) == JSON_OBJECT &&
        (member->manner == DECLARED_MAP || member->manner == DECLARED_SECRETS)) {
        for (json_iter it = json_iter_of(value);
             member->manner == DECLARED_SECRETS && json_next(&it);) {
            if (json_kind_of(it.value) != JSON_STRING) {
                return document_problem(document, it.value, "the values of %s must be texts", path);
            }
        }
        return check_map(document, value, path);
    }
    if (member->inner == NULL) {
        return true;
    }
    if (json_kind_of(value) == JSON_OBJECT) {
        return check_object(document, value, member->inner, path);
    }
    for (json_iter it = json_iter_of(value); json_kind_of(value) == JSON_ARRAY && json_next(&it);) {
        if (json_kind_of(it.value) != JSON_OBJECT) {
            return document_problem(document, it.value, "%s must hold mappings", path);
        }
        if (!check_object(document, it.value, member->inner, path)) {
            return false;
        }
    }
    return true;
}

static bool check_object(const struct document *document, json_value object,
                         const struct declared_members *members, const char *what) {
    for (json_iter it = json_iter_of(object); json_next(&it);) {
        const struct declared_member *member = find_member(members, it.name);
        if (member == NULL) {
            return document_problem(document, it.name, "unknown key %.*s in %s",
                                    MR_FMT(mr_str_slice(json_raw(it.name), 0, 100)), what);
        }
        if (!check_value(document, it.value, member, what)) {
            return false;
        }
    }
    for (size_t i = 0; i < members->n; i++) {
        if (members->members[i].is_needed &&
            json_is_absent(json_find(object, mr_str_c(members->members[i].name)))) {
            return document_problem(document, object, "%s needs the key \"%s\"", what,
                                    members->members[i].name);
        }
    }
    return true;
}

/* Of two objects with one name, or one id. */
static bool check_pair(const struct document *document, json_value before, json_value object,
                       const struct declared_kind_info *info) {
    json_value name = json_find(object, MR_STR("name"));
    json_value id = info->shares_names ? json_find(object, mr_str_c(info->id)) : JSON_NONE;
    json_value other = info->shares_names ? json_find(before, mr_str_c(info->id)) : JSON_NONE;
    bool have_ids = !json_is_absent(id) && !json_is_absent(other);
    if (have_ids && json_strings_equal(other, id)) {
        return document_problem(document, id, "two %s have the %s %.*s", info->plural, info->id,
                                MR_FMT(mr_str_slice(json_raw(id), 0, 100)));
    }
    if (have_ids || !json_strings_equal(json_find(before, MR_STR("name")), name)) {
        return true;
    }
    return document_problem(document, name, "two %s are named %.*s: names must differ%s%s",
                            info->plural, MR_FMT(mr_str_slice(json_raw(name), 0, 100)),
                            info->shares_names ? ", or each have its own " : "",
                            info->shares_names ? info->id : "");
}

static bool check_names(const struct document *document, json_value section,
                        const struct declared_kind_info *info) {
    for (json_iter it = json_iter_of(section); json_next(&it);) {
        for (json_iter before = json_iter_of(section);
             json_next(&before) && before.value.node != it.value.node;) {
            if (!check_pair(document, before.value, it.value, info)) {
                return false;
            }
        }
        json_value name = json_find(it.value, MR_STR("name"));
        if (json_string_eq(name, MR_STR(""))) {
            return document_problem(document, name, "the name must not be empty");
        }
    }
    return true;
}

static bool check_section(const struct document *document, const struct declared_kind_info *info) {
    json_value section = json_find(json_root(&document->tape), mr_str_c(info->section));
    if (json_is_absent(section)) {
        return true;
    }
    if (json_kind_of(section) != JSON_ARRAY) {
        return document_problem(document, section, "%s must be a list ([] where there are none)",
                                info->section);
    }
    if (json_count(section) > OBJECTS_MAX) {
        return document_problem(document, section, "%s must hold at most %u %s", info->section,
                                OBJECTS_MAX, info->plural);
    }
    for (json_iter it = json_iter_of(section); json_next(&it);) {
        if (json_kind_of(it.value) != JSON_OBJECT) {
            return document_problem(document, it.value, "%s must hold mappings", info->section);
        }
        if (!check_object(document, it.value, info->members, info->singular)) {
            return false;
        }
    }
    return check_names(document, section, info);
}

bool declared_check(const struct document *document) {
    json_value root = json_root(&document->tape);
    uint64_t format = 0;
    if (json_kind_of(root) != JSON_OBJECT) {
        return document_problem(document, root, "the file must hold one mapping");
    }
    for (json_iter it = json_iter_of(root); json_next(&it);) {
        bool is_known = json_string_eq(it.name, MR_STR("millrace"));
        for (size_t i = 0; i < DECLARED_KINDS; i++) {
            is_known = is_known || json_string_eq(it.name, mr_str_c(kinds[i].section));
        }
        if (!is_known) {
            return document_problem(document, it.name,
                                    "unknown key %.*s: known are millrace, "
                                    "schemas, event_types, destinations, rules, "
                                    "clients",
                                    MR_FMT(mr_str_slice(json_raw(it.name), 0, 100)));
        }
    }
    json_value given = json_find(root, MR_STR("millrace"));
    if (mr_is_err(json_u64(given, DECLARED_FORMAT, DECLARED_FORMAT, &format))) {
        return document_problem(document, json_is_absent(given) ? root : given,
                                "the file needs \"millrace: %d\", its format", DECLARED_FORMAT);
    }
    for (size_t i = 0; i < DECLARED_KINDS; i++) {
        if (!check_section(document, &kinds[i])) {
            return false;
        }
    }
    return true;
}
