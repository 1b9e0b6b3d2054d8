/* The document /openapi.json (OpenAPI 3.1), written from the tables that routes and validators
 * read: auth/rights.h, the descriptions beside the handlers (docs.h) and the shapes of bodies.
 * Nothing is said here about a single route. */
#include "api/call.h"
#include "api/docs.h"
#include "control/people/sessions.h"
#include "json/write.h"

#include <ctype.h>
#include <stdio.h>

#define TEXT_MAX 1024
#define VERSION  "1"

static void write_header_ref(json_out *o, const char *name, const char *component) {
    char ref[96];
    json_out_member_object(o, name);
    snprintf(ref, sizeof ref, "#/components/headers/%s", component);
    json_out_member_c(o, "$ref", ref);
    json_out_end(o);
}

static void write_ref(json_out *o, const struct shape *shape, enum shape_use use) {
    char name[SHAPE_NAME_SIZE];
    char ref[SHAPE_NAME_SIZE + 32];
    shape_schema_name(shape, use, name);
    snprintf(ref, sizeof ref, "#/components/schemas/%s", name);
    json_out_object(o);
    json_out_member_c(o, "$ref", ref);
    json_out_end(o);
}

/* ---- parameters ---- */

static void write_param_schema(json_out *o, const struct api_param *param) {
    json_out_member_object(o, "schema");
    switch (param->kind) {
    case API_PARAM_TEXT:
        json_out_member_c(o, "type", "string");
        break;
    case API_PARAM_NUMBER:
        json_out_member_c(o, "type", "integer");
        json_out_member_u64(o, "minimum", param->min);
        json_out_member_u64(o, "maximum", param->max);
        break;
    case API_PARAM_ENUM:
        json_out_member_c(o, "type", "string");
        json_out_member_array(o, "enum");
        for (size_t i = 0; i < param->n_names; i++) {
            json_out_str(o, mr_str_c(param->names[i]));
        }
        json_out_end(o);
        break;
    case API_PARAM_TIME:
        json_out_member_c(o, "type", "string");
        json_out_member_c(o, "format", "date-time");
        break;
    }
    json_out_end(o);
}

static void write_param(json_out *o, const char *in, const struct api_param *param) {
    json_out_object(o);
    json_out_member_c(o, "name", param->name);
    json_out_member_c(o, "in", in);
    json_out_member_bool(o, "required", param->is_needed);
    json_out_member_c(o, "description", param->what);
    write_param_schema(o, param);
    json_out_end(o);
}

static void write_path_params(json_out *o, mr_str path) {
    for (size_t at = 0; (at = mr_str_find_byte(path, '{', at)) != SIZE_MAX; at++) {
        size_t end = mr_str_find_byte(path, '}', at);
        MR_ASSERT(end != SIZE_MAX);
        json_out_object(o);
        json_out_member_str(o, "name", mr_str_slice(path, at + 1, end));
        json_out_member_c(o, "in", "path");
        json_out_member_bool(o, "required", true);
        json_out_member_raw(o, "schema", MR_STR("{\"type\":\"string\",\"minLength\":1}"));
        json_out_end(o);
    }
}

static void write_params(json_out *o, enum auth_route route) {
    static const struct api_param account = {
        "account_id", API_PARAM_TEXT,
        .what = "The account that the call is about: the caller's own, or one below it"};
    static const struct api_param match = {
        "If-Match", API_PARAM_TEXT,
        .what = "ETag of the state that the change is meant for; else 412"};
    static const struct api_param key = {
        "Idempotency-Key", API_PARAM_TEXT,
        .what = "1 to 255 printable ASCII characters: the same call again gets the first answer"};
    const struct auth_route_info *info = auth_route_info(route);
    const struct api_doc *doc = api_doc_of(route);
    json_out_member_array(o, "parameters");
    write_path_params(o, info->path);
    for (size_t i = 0; i < doc->n_query; i++) {
        write_param(o, "query", &doc->query[i]);
    }
    if (info->resource != AUTH_RES_NONE) {
        write_param(o, "query", &account);
    }
    if (api_doc_takes_match(route)) {
        write_param(o, "header", &match);
    }
    if (api_handlers[route].key_rule != API_KEY_IGNORED) {
        write_param(o, "header", &key);
    }
    json_out_end(o);
}

/* ---- bodies ---- */

static void write_body_schema(json_out *o, const struct api_doc *doc) {
    if (doc->n_bodies > 0) {
        json_out_object(o);
        json_out_member_array(o, "anyOf");
        for (size_t i = 0; i < doc->n_bodies; i++) {
            write_ref(o, doc->bodies[i], doc->use);
        }
        json_out_end(o);
        json_out_end(o);
    } else if (doc->body == NULL) {
        json_out_raw(o, mr_str_c(doc->body_schema));
    } else if ((doc->flags & API_DOC_OPEN_BODY) != 0) {
        shape_write_schema(doc->body, doc->use, true, o);
    } else {
        write_ref(o, doc->body, doc->use);
    }
}

/* One, or a list of them. */
static void write_events_media(json_out *o, const struct api_doc *doc, const char *media, bool one,
                               bool many) {
    json_out_member_object(o, media);
    json_out_member_object(o, "schema");
    json_out_member_array(o, "anyOf");
    if (one) {
        write_body_schema(o, doc);
    }
    if (many) {
        json_out_object(o);
        json_out_member_c(o, "type", "array");
        json_out_name(o, MR_STR("items"));
        write_body_schema(o, doc);
        json_out_end(o);
    }
    json_out_end(o);
    json_out_end(o);
    json_out_end(o);
}

static void write_body(json_out *o, const struct api_doc *doc) {
    static const struct {
        uint8_t bit;
        const char *name;
    } media[] = {{API_MEDIA_JSON, "application/json"},
                 {API_MEDIA_MERGE, "application/merge-patch+json"},
                 {API_MEDIA_FORM, "application/x-www-form-urlencoded"}};
    if (doc->media == 0) {
        return;
    }
    json_out_member_object(o, "requestBody");
    json_out_member_bool(o, "required", (doc->flags & API_DOC_BODY_OPTIONAL) == 0);
    json_out_member_object(o, "content");
    for (size_t i = 0; i < sizeof media / sizeof media[0]; i++) {
        if ((doc->media & media[i].bit) != 0) {
            json_out_member_object(o, media[i].name);
            json_out_name(o, MR_STR("schema"));
            write_body_schema(o, doc);
            json_out_end(o);
        }
    }
    if ((doc->media & API_MEDIA_EVENTS) != 0) {
        write_events_media(o, doc, "application/cloudevents+json", true, false);
        write_events_media(o, doc, "application/cloudevents-batch+json", false, true);
        write_events_media(o, doc, "application/json", true, true);
    }
    json_out_end(o);
    json_out_end(o);
}

/* ---- answers ---- */

static void write_list_schema(json_out *o, const struct shape *row) {
    json_out_object(o);
    json_out_member_c(o, "type", "object");
    json_out_member_object(o, "properties");
    json_out_member_object(o, "data");
    json_out_member_c(o, "type", "array");
    json_out_name(o, MR_STR("items"));
    write_ref(o, row, SHAPE_ANSWER);
    json_out_end(o);
    json_out_name(o, MR_STR("meta_data"));
    write_ref(o, &control_page_answer, SHAPE_ANSWER);
    json_out_end(o);
    json_out_member_raw(o, "required", MR_STR("[\"data\",\"meta_data\"]"));
    json_out_member_bool(o, "additionalProperties", false);
    json_out_end(o);
}

static void write_answer_schema(json_out *o, const struct api_doc *doc) {
    if (doc->answer == NULL) {
        json_out_raw(o, mr_str_c(doc->answer_schema));
    } else if ((doc->flags & API_DOC_LIST) != 0) {
        write_list_schema(o, doc->answer);
    } else {
        write_ref(o, doc->answer, SHAPE_ANSWER);
    }
}

static void write_other_answer(json_out *o, const struct api_doc *doc) {
    char status[16];
    snprintf(status, sizeof status, "%d", doc->other_status);
    json_out_member_object(o, status);
    json_out_member_c(o, "description", doc->summary);
    json_out_member_object(o, "headers");
    write_header_ref(o, "X-Request-ID", "RequestId");
    json_out_end(o);
    json_out_member_object(o, "content");
    json_out_member_object(o, "application/json");
    json_out_name(o, MR_STR("schema"));
    write_ref(o, doc->other_answer, SHAPE_ANSWER);
    json_out_end(o);
    json_out_end(o);
    json_out_end(o);
}

static void write_answer(json_out *o, enum auth_route route) {
    const struct api_doc *doc = api_doc_of(route);
    bool is_repeatable = api_handlers[route].key_rule != API_KEY_IGNORED;
    char status[16];
    snprintf(status, sizeof status, "%d", doc->status);
    json_out_member_object(o, status);
    json_out_member_c(o, "description", doc->summary);
    json_out_member_object(o, "headers");
    write_header_ref(o, "X-Request-ID", "RequestId");
    if ((doc->flags & API_DOC_ETAG) != 0) {
        write_header_ref(o, "ETag", is_repeatable ? "ETagOfNew" : "ETag");
    }
    if ((doc->flags & API_DOC_LOCATION) != 0) {
        write_header_ref(o, "Location", "Location");
    }
    if ((doc->flags & API_DOC_COOKIE) != 0) {
        write_header_ref(o, "Set-Cookie", "SetCookie");
    }
    json_out_end(o);
    if (doc->answer != NULL || doc->answer_schema != NULL) {
        json_out_member_object(o, "content");
        json_out_member_object(o,
                               doc->answer_media == NULL ? "application/json" : doc->answer_media);
        json_out_name(o, MR_STR("schema"));
        write_answer_schema(o, doc);
        json_out_end(o);
        json_out_end(o);
    }
    json_out_end(o);
}

/* ---- refusals ---- */

/* The codes that go with a status. A combination of members that is not allowed is 20004 with 400.
 */
static void write_codes(json_out *o, int status) {
    const struct refusal_info *row;
    json_out_array(o);
    for (size_t i = 0; (row = refusal_row(i)) != NULL; i++) {
        if (row->status == status ||
            (status == 400 && row->code == (int)REFUSAL_METHOD_NOT_ALLOWED)) {
            json_out_u64(o, (uint64_t)row->code);
        }
    }
    json_out_end(o);
}

/* more: members that it may have besides; NULL. */
static void write_refusal_schema(json_out *o, int status, const char *more) {
    char text[TEXT_MAX];
    json_out_object(o);
    json_out_member_c(o, "type", "object");
    json_out_member_object(o, "properties");
    json_out_member_object(o, "status");
    json_out_member_i64(o, "const", status);
    json_out_end(o);
    json_out_member_raw(o, "message", MR_STR("{\"type\":\"string\"}"));
    json_out_member_object(o, "code");
    json_out_name(o, MR_STR("enum"));
    write_codes(o, status);
    json_out_end(o);
    json_out_member_raw(o, "info", MR_STR("{\"type\":\"string\"}"));
    json_out_member_raw(o, "more_info", MR_STR("{\"type\":\"string\"}"));
    if (status == 403) {
        json_out_member_raw(o, "error", MR_STR("{\"type\":\"string\"}"));
    }
    json_out_end(o);
    json_out_member_raw(o, "required",
                        MR_STR("[\"status\",\"message\",\"code\",\"info\",\"more_info\"]"));
    if (more == NULL) {
        json_out_member_bool(o, "additionalProperties", false);
    } else {
        int n = snprintf(text, sizeof text, "{\"properties\":{%s}}", more);
        MR_ASSERT(n > 0 && (size_t)n < sizeof text);
        json_out_member_array(o, "allOf");
        json_out_raw(o, mr_str_c(text));
        json_out_end(o);
        json_out_member_bool(o, "unevaluatedProperties", false);
    }
    json_out_end(o);
}

static void write_refusal_body(json_out *o, enum auth_route route, int status) {
    const struct api_doc *doc = api_doc_of(route);
    char ref[64];
    snprintf(ref, sizeof ref, "#/components/schemas/Refusal%d", status);
    if (doc->refused != NULL && status < 500) {
        write_refusal_schema(o, status, doc->refused);
        return;
    }
    json_out_object(o);
    if (auth_route_info(route)->errors == AUTH_ERRORS_TOKEN) {
        json_out_member_array(o, "anyOf");
        json_out_raw(o, MR_STR("{\"$ref\":\"#/components/schemas/TokenRefusal\"}"));
        json_out_object(o);
        json_out_member_c(o, "$ref", ref);
        json_out_end(o);
        json_out_end(o);
    } else {
        json_out_member_c(o, "$ref", ref);
    }
    json_out_end(o);
}

static void write_refusals(json_out *o, enum auth_route route) {
    int statuses[API_DOC_REFUSALS_MAX];
    api_doc_refusals(route, statuses);
    for (size_t i = 0; statuses[i] != 0; i++) {
        char status[16];
        snprintf(status, sizeof status, "%d", statuses[i]);
        json_out_member_object(o, status);
        json_out_member_c(o, "description", "Refused: the message tells why, info leads to a page");
        json_out_member_object(o, "headers");
        write_header_ref(o, "X-Request-ID", "RequestId");
        if (statuses[i] == 429 || statuses[i] == 503) {
            write_header_ref(o, "Retry-After", "RetryAfter");
        }
        json_out_end(o);
        json_out_member_object(o, "content");
        json_out_member_object(o, "application/json");
        json_out_name(o, MR_STR("schema"));
        write_refusal_body(o, route, statuses[i]);
        json_out_end(o);
        if ((api_doc_of(route)->flags & API_DOC_PAGE) != 0) {
            json_out_member_raw(o, "text/html", MR_STR("{\"schema\":{\"type\":\"string\"}}"));
        }
        json_out_end(o);
        json_out_end(o);
    }
}

/* ---- operations ---- */

/* "DESTINATION_GET" as "destinationGet". */
static void write_operation_id(json_out *o, mr_str symbol) {
    char id[64];
    size_t n = 0;
    bool upper = false;
    for (size_t i = 0; i < symbol.len && n + 1 < sizeof id; i++) {
        char c = symbol.ptr[i];
        if (c == '_') {
            upper = true;
            continue;
        }
        id[n++] = upper ? c : (char)tolower((unsigned char)c);
        upper = false;
    }
    json_out_member_str(o, "operationId", mr_str_of(id, n));
}

static void write_description(json_out *o, enum auth_route route) {
    static const char *const accesses[] = {[AUTH_NO_ACCESS] = "",
                                           [AUTH_READ] = "Read",
                                           [AUTH_WRITE] = "Write",
                                           [AUTH_MODIFY] = "Modify",
                                           [AUTH_DELETE] = "Delete"};
    const struct auth_route_info *info = auth_route_info(route);
    const struct api_doc *doc = api_doc_of(route);
    const char *what = doc->what == NULL ? "" : doc->what;
    char text[TEXT_MAX];
    if (info->resource == AUTH_RES_NONE) {
        snprintf(text, sizeof text, "%s%sNeeds no token.", what, what[0] == '\0' ? "" : " ");
    } else if (info->resource == AUTH_RES_SESSION) {
        snprintf(text, sizeof text, "%s%sFor signed-in users.", what, what[0] == '\0' ? "" : " ");
    } else {
        snprintf(text, sizeof text, "%s%sNeeds %s on %.*s.", what, what[0] == '\0' ? "" : " ",
                 accesses[info->access], MR_FMT(auth_resource_name(info->resource)));
    }
    json_out_member_c(o, "description", text);
}

/* A token, or a user's session: its cookie and, where something is changed, the token that
 * GET /v1/session gives. What is a user's own is for sessions alone. */
static void write_security(json_out *o, enum auth_route route) {
    const struct auth_route_info *info = auth_route_info(route);
    json_out_member_array(o, "security");
    if (info->resource != AUTH_RES_NONE && info->resource != AUTH_RES_SESSION) {
        json_out_raw(o, MR_STR("{\"bearer\":[]}"));
    }
    if (info->resource != AUTH_RES_NONE) {
        json_out_raw(o, mr_str_eq(info->method, MR_STR("GET"))
                            ? MR_STR("{\"session\":[]}")
                            : MR_STR("{\"session\":[],\"csrf\":[]}"));
    }
    json_out_end(o);
}

static void write_operation(json_out *o, enum auth_route route) {
    const struct auth_route_info *info = auth_route_info(route);
    const struct api_doc *doc = api_doc_of(route);
    bool is_open = info->resource == AUTH_RES_NONE;
    char method[16];
    size_t n = 0;
    for (; n < info->method.len && n + 1 < sizeof method; n++) {
        method[n] = (char)tolower((unsigned char)info->method.ptr[n]);
    }
    method[n] = '\0';
    json_out_member_object(o, method);
    write_operation_id(o, info->symbol);
    json_out_member_c(o, "summary", doc->summary);
    write_description(o, route);
    json_out_member_array(o, "tags");
    json_out_str(o, is_open ? MR_STR("Open") : auth_resource_name(info->resource));
    json_out_end(o);
    write_security(o, route);
    write_params(o, route);
    write_body(o, doc);
    json_out_member_object(o, "responses");
    write_answer(o, route);
    if (doc->other_status != 0) {
        write_other_answer(o, doc);
    }
    write_refusals(o, route);
    json_out_end(o);
    json_out_end(o);
}

static bool is_first_of_path(size_t route) {
    mr_str path = auth_route_info((enum auth_route)route)->path;
    for (size_t i = 0; i < route; i++) {
        if (mr_str_eq(auth_route_info((enum auth_route)i)->path, path)) {
            return false;
        }
    }
    return true;
}

static void write_paths(json_out *o) {
    json_out_member_object(o, "paths");
    for (size_t i = 0; i < AUTH_ROUTE_COUNT; i++) {
        if (!is_first_of_path(i)) {
            continue;
        }
        mr_str path = auth_route_info((enum auth_route)i)->path;
        json_out_name(o, path);
        json_out_object(o);
        for (size_t k = i; k < AUTH_ROUTE_COUNT; k++) {
            if (mr_str_eq(auth_route_info((enum auth_route)k)->path, path)) {
                write_operation(o, (enum auth_route)k);
            }
        }
        json_out_end(o);
    }
    json_out_end(o);
}

/* ---- components ---- */

static void write_schemas(json_out *o) {
    struct api_doc_shapes shapes;
    const struct refusal_info *row;
    bool seen[600] = {false};
    api_doc_shapes(&shapes);
    json_out_member_object(o, "schemas");
    for (size_t i = 0; i < shapes.n; i++) {
        char name[SHAPE_NAME_SIZE];
        shape_schema_name(shapes.all[i].shape, shapes.all[i].use, name);
        json_out_name(o, mr_str_c(name));
        shape_write_schema(shapes.all[i].shape, shapes.all[i].use, false, o);
    }
    for (size_t i = 0; (row = refusal_row(i)) != NULL; i++) {
        char name[32];
        if (seen[row->status]) {
            continue;
        }
        seen[row->status] = true;
        snprintf(name, sizeof name, "Refusal%d", row->status);
        json_out_name(o, mr_str_c(name));
        write_refusal_schema(o, row->status, NULL);
    }
    json_out_member_raw(
        o, "TokenRefusal",
        MR_STR("{\"type\":\"object\",\"properties\":{\"error\":{\"type\":\"string\"},"
               "\"error_description\":{\"type\":\"string\"},\"code\":{\"type\":\"integer\"},"
               "\"message\":{\"type\":\"string\"}},\"required\":[\"error\"],"
               "\"additionalProperties\":false}"));
    json_out_end(o);
}

static void write_header(json_out *o, const char *name, bool is_needed, const char *what) {
    json_out_member_object(o, name);
    json_out_member_bool(o, "required", is_needed);
    json_out_member_c(o, "description", what);
    json_out_member_raw(o, "schema", MR_STR("{\"type\":\"string\"}"));
    json_out_end(o);
}

static void write_components(json_out *o) {
    json_out_member_object(o, "components");
    json_out_member_raw(o, "securitySchemes",
                        MR_STR("{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\","
                               "\"bearerFormat\":\"JWT\"},\"session\":{\"type\":\"apiKey\","
                               "\"in\":\"cookie\",\"name\":\"" SESSION_COOKIE_NAME "\"},"
                               "\"csrf\":{\"type\":\"apiKey\",\"in\":\"header\","
                               "\"name\":\"X-CSRF-Token\",\"description\":"
                               "\"csrf_token of GET /v1/session\"}}"));
    json_out_member_object(o, "headers");
    write_header(o, "RequestId", true, "The request's X-Request-ID, or one made for it");
    write_header(o, "ETag", true, "State of the object, for If-Match");
    write_header(o, "ETagOfNew", false,
                 "State of the object, for If-Match; an answer repeated by its Idempotency-Key "
                 "lacks it");
    write_header(o, "Location", true, "URL of what was created");
    write_header(o, "SetCookie", false, "The session: __Host-, Secure, HttpOnly, SameSite=Strict");
    write_header(o, "RetryAfter", true, "Seconds after which to send again");
    json_out_end(o);
    write_schemas(o);
    json_out_end(o);
}

mr_err api_openapi_write(mr_buf *out) {
    json_out o;
    json_out_init(&o, out);
    json_out_object(&o);
    json_out_member_c(&o, "openapi", "3.1.0");
    json_out_member_object(&o, "info");
    json_out_member_c(&o, "title", "Millrace");
    json_out_member_c(&o, "version", VERSION);
    json_out_member_c(&o, "description",
                      "Unknown parameters and members are refused and named (20001). Every answer "
                      "has X-Request-ID. Codes: /errors.");
    json_out_end(&o);
    json_out_member_raw(&o, "servers", MR_STR("[{\"url\":\"/\"}]"));
    write_paths(&o);
    write_components(&o);
    json_out_end(&o);
    return json_out_finish(&o);
}
