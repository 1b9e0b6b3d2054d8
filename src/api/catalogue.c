/* The event catalogue over HTTP. What is read comes from the worker's snapshot: a change is
 * answered when every worker has adopted it, so a caller reads what it wrote. */
#include "api/call.h"

#include "base/num.h"
#include "control/catalogue/publish.h"
#include "control/catalogue/shapes.h"
#include "control/catalogue/types.h"

#include <stdio.h>

static const struct catalogue *catalogue_of(const struct api_call *call) {
    return snapshot_catalogue(call->api->snapshot);
}

/* The first parameter of the path, decoded. False: refused. */
static bool take_name(struct api_call *call, mr_str *ret_name) {
    *ret_name = api_percent_decode(&call->arena, call->params[0], false);
    if (mr_str_is_absent(*ret_name)) {
        api_refuse(call, 400, 20400, "the path holds a bad percent escape");
        return false;
    }
    return true;
}

/* The schema of the path by its latest version. NULL: refused. */
static const struct catalogue_schema *take_schema(struct api_call *call) {
    mr_str name;
    if (!take_name(call, &name)) {
        return NULL;
    }
    const struct catalogue *catalogue = catalogue_of(call);
    const struct catalogue_schema *latest =
        catalogue_schema_find(catalogue, name, catalogue_latest(catalogue, name));
    if (latest == NULL) {
        api_refuse(call, 404, 20404, "there is no such schema");
    }
    return latest;
}

static void finish(struct api_call *call, json_out *out) {
    if (mr_is_err(json_out_finish(out))) {
        api_refuse_memory(call);
    } else {
        api_answer(call);
    }
}

static mr_err set_location(struct api_call *call, const char *family, mr_str name,
                           uint32_t version) {
    mr_buf url;
    mr_buf_init(&url, 8192);
    mr_err err =
        mr_buf_printf(&url, "%.*s/v1/%s/%.*s", MR_FMT(call->api->public_url), family, MR_FMT(name));
    if (mr_is_ok(err) && version > 0) {
        err = mr_buf_printf(&url, "/versions/%u", version);
    }
    if (mr_is_ok(err)) {
        call->location = mr_arena_str(&call->arena, mr_buf_view(&url));
        err = mr_str_is_absent(call->location) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    }
    mr_buf_done(&url);
    return err;
}

/* Opens a list's answer; rows [*from, *to) of count are due. */
static void list_begin(struct api_call *call, const struct control_page *page, size_t count,
                       size_t *ret_from, size_t *ret_to, json_out *out) {
    uint64_t from = (uint64_t)(page->number - 1) * page->size;
    *ret_from = from < count ? (size_t)from : count;
    *ret_to = count - *ret_from > page->size ? *ret_from + page->size : count;
    json_out_init(out, &call->out);
    json_out_object(out);
    json_out_member_array(out, "data");
}

static void list_end(struct api_call *call, const struct control_page *page, size_t count,
                     json_out *out) {
    json_out_end(out);
    json_out_member_object(out, "meta_data");
    control_page_write(page, count, api_list_url(call), out);
    json_out_end(out);
    json_out_end(out);
    finish(call, out);
}

static const struct api_param page_params[] = {API_PARAM_PAGE_SIZE, API_PARAM_PAGE_NUMBER};

/* Takes page_size and page_number, which are all there is. False: refused. */
static bool take_page(struct api_call *call, struct control_page *ret_page) {
    mr_str values[2];
    return api_query_take(call, values) && api_page_take(call, values[0], values[1], ret_page);
}

/* ---- schemas ---- */

const struct api_doc api_doc_SCHEMAS_LIST = {.summary = "List schemas",
                                             API_QUERY(page_params),
                                             .flags = API_DOC_LIST,
                                             .status = 200,
                                             .answer = &schema_answer};

void api_schemas_list(struct api_call *call) {
    struct control_page page;
    json_out out;
    size_t from;
    size_t to;
    if (!take_page(call, &page)) {
        return;
    }
    const struct catalogue *catalogue = catalogue_of(call);
    size_t count = catalogue_count_schemas(catalogue);
    list_begin(call, &page, count, &from, &to, &out);
    for (size_t i = from; i < to; i++) {
        schema_write(catalogue, catalogue_latest_at(catalogue, i), call->api->public_url, false,
                     &out);
    }
    list_end(call, &page, count, &out);
}

const struct api_doc api_doc_SCHEMA_OVERVIEW = {.summary = "Read a schema with its versions",
                                                .flags = API_DOC_ETAG,
                                                .status = 200,
                                                .answer = &schema_overview_answer};

void api_schema_overview(struct api_call *call) {
    const struct catalogue_schema *latest = NULL;
    if (!api_query_take(call, NULL) || (latest = take_schema(call)) == NULL) {
        return;
    }
    json_out out;
    json_out_init(&out, &call->out);
    schema_write(catalogue_of(call), latest, call->api->public_url, true, &out);
    control_etag_format(latest->version, call->etag);
    finish(call, &out);
}

const struct api_doc api_doc_SCHEMA_VERSIONS_LIST = {.summary = "List the versions of a schema",
                                                     API_QUERY(page_params),
                                                     .flags = API_DOC_LIST,
                                                     .status = 200,
                                                     .answer = &schema_version_answer};

void api_schema_versions_list(struct api_call *call) {
    struct control_page page;
    json_out out;
    size_t from;
    size_t to;
    const struct catalogue_schema *latest = NULL;
    if (!take_page(call, &page) || (latest = take_schema(call)) == NULL) {
        return;
    }
    list_begin(call, &page, latest->version, &from, &to, &out);
    for (size_t i = from; i < to; i++) {
        schema_version_write(
            catalogue_schema_find(catalogue_of(call), latest->name, (uint32_t)i + 1),
            call->api->public_url, false, &out);
    }
    list_end(call, &page, latest->version, &out);
}

const struct api_doc api_doc_SCHEMA_VERSION_GET = {
    .summary = "Read a schema version with document and examples",
    .flags = API_DOC_ETAG,
    .status = 200,
    .answer = &schema_whole_answer};

void api_schema_version_get(struct api_call *call) {
    uint64_t version = 0;
    const struct catalogue_schema *latest = NULL;
    const struct catalogue_schema *found = NULL;
    if (!api_query_take(call, NULL) || (latest = take_schema(call)) == NULL) {
        return;
    }
    if (!mr_str_starts(call->params[1], MR_STR("0")) &&
        mr_is_ok(mr_u64_parse(call->params[1], 1, UINT32_MAX, &version))) {
        found = catalogue_schema_find(catalogue_of(call), latest->name, (uint32_t)version);
    }
    if (found == NULL) {
        api_refuse(call, 404, 20404, "there is no such schema version");
        return;
    }
    json_out out;
    json_out_init(&out, &call->out);
    schema_version_write(found, call->api->public_url, true, &out);
    control_etag_format(found->version, call->etag);
    finish(call, &out);
}

/* ---- publishing ---- */

/* Where references of this installation's schemas may lead: its URL and its aliases. */
static mr_err publish_call_of(struct api_call *call, struct publish_call *out) {
    const struct api *api = call->api;
    mr_str *bases = mr_arena_calloc(&call->arena, api->n_aliases + 1, sizeof *bases);
    if (bases == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    bases[0] = api->public_url;
    for (size_t i = 0; i < api->n_aliases; i++) {
        bases[i + 1] = api->aliases[i];
    }
    const mr_str *name = call->ask;
    *out = (struct publish_call){.account = call->account,
                                 .name = name == NULL ? MR_STR_NONE : *name,
                                 .body = call->body,
                                 .if_version = control_etag_parse(call->if_match),
                                 .bases = bases,
                                 .n_bases = api->n_aliases + 1,
                                 .arena = &call->arena,
                                 .members = &call->members};
    return MR_OK;
}

static mr_err answer_published(struct api_call *call, const struct catalogue_schema *view) {
    json_out out;
    json_out_init(&out, &call->out);
    schema_version_write(view, call->api->public_url, false, &out);
    control_etag_format(view->version, call->etag);
    call->status = 201;
    MR_TRY(json_out_finish(&out));
    return set_location(call, "schemas", view->name, view->version);
}

static mr_err create_schema(struct control *control, struct api_call *call) {
    struct publish_call publish;
    struct catalogue_schema view;
    MR_TRY(publish_call_of(call, &publish));
    MR_TRY(schemas_create(control, &publish, &view, &call->job.refusal));
    return answer_published(call, &view);
}

#define SCHEMA_REFUSED                                                                             \
    "\"errors\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}},"                             \
    "\"breaking\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}}"

const struct api_doc api_doc_SCHEMAS_CREATE = {.summary = "Create a schema with its first version",
                                               .what = "For the root account alone.",
                                               .media = API_MEDIA_JSON,
                                               .body = &schema_shape,
                                               .flags = API_DOC_ETAG | API_DOC_LOCATION,
                                               .status = 201,
                                               .answer = &schema_version_answer,
                                               .refused = SCHEMA_REFUSED};

void api_schemas_create(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL)) {
        api_submit(call, create_schema, NULL);
    }
}

static mr_err publish_version(struct control *control, struct api_call *call) {
    struct publish_call publish;
    struct catalogue_schema view;
    MR_TRY(publish_call_of(call, &publish));
    MR_TRY(schemas_publish(control, &publish, &view, &call->job.refusal));
    return answer_published(call, &view);
}

/* Keeps the path's name for the work. False: refused. */
static bool keep_name(struct api_call *call) {
    mr_str *name = mr_arena_calloc(&call->arena, 1, sizeof *name);
    if (name == NULL) {
        api_refuse_memory(call);
        return false;
    }
    call->ask = name;
    return take_name(call, name);
}

const struct api_doc api_doc_SCHEMA_VERSIONS_CREATE = {
    .summary = "Publish the next version of a schema",
    .what = "For the root account alone. If-Match names the latest version there must be.",
    .media = API_MEDIA_JSON,
    .body = &schema_version_shape,
    .flags = API_DOC_ETAG | API_DOC_LOCATION,
    .status = 201,
    .answer = &schema_version_answer,
    .refused = SCHEMA_REFUSED,
    API_REFUSALS(412)};

void api_schema_versions_create(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL) && keep_name(call)) {
        api_submit(call, publish_version, NULL);
    }
}

/* ---- event types ---- */

/* What a list of types asks; absent: all. */
struct type_filter {
    mr_str product_group;
    mr_str product;
    mr_str status;
    mr_str schema;
};

static bool is_or_absent(mr_str wanted, mr_str value) {
    return mr_str_is_absent(wanted) || (!mr_str_is_absent(value) && mr_str_eq(wanted, value));
}

static bool type_passes(const struct type_filter *filter, const struct catalogue_type *type) {
    return is_or_absent(filter->product_group, type->product_group) &&
           is_or_absent(filter->product, type->product) &&
           is_or_absent(filter->status, type->status) && is_or_absent(filter->schema, type->schema);
}

static void answer_types(struct api_call *call, const struct type_filter *filter,
                         const struct control_page *page) {
    const struct catalogue *catalogue = catalogue_of(call);
    const struct catalogue_type *type = NULL;
    json_out out;
    size_t count = 0;
    size_t from;
    size_t to;
    for (size_t i = 0; (type = catalogue_type_at(catalogue, i)) != NULL; i++) {
        count += type_passes(filter, type);
    }
    list_begin(call, page, count, &from, &to, &out);
    size_t n = 0;
    for (size_t i = 0; n < to && (type = catalogue_type_at(catalogue, i)) != NULL; i++) {
        if (!type_passes(filter, type)) {
            continue;
        }
        if (n >= from) {
            event_type_write(type, call->api->public_url, &out);
        }
        n++;
    }
    list_end(call, page, count, &out);
}

static const struct api_param type_params[] = {
    {"product_group", API_PARAM_TEXT, .what = "Only those of this product group"},
    {"product", API_PARAM_TEXT, .what = "Only those of this product"},
    {"status", API_PARAM_ENUM, .names = event_type_status_names, .n_names = EVENT_TYPE_STATUSES,
     .what = "Only those in this state"},
    {"schema", API_PARAM_TEXT, .what = "Only those of this schema"},
    API_PARAM_PAGE_SIZE,
    API_PARAM_PAGE_NUMBER,
};
const struct api_doc api_doc_EVENT_TYPES_LIST = {.summary = "List event types",
                                                 API_QUERY(type_params),
                                                 .flags = API_DOC_LIST,
                                                 .status = 200,
                                                 .answer = &event_type_answer};

void api_event_types_list(struct api_call *call) {
    mr_str values[6];
    struct control_page page;
    if (!api_query_take(call, values) || !api_page_take(call, values[4], values[5], &page)) {
        return;
    }
    const struct type_filter filter = {
        .product_group = values[0], .product = values[1], .status = values[2], .schema = values[3]};
    answer_types(call, &filter, &page);
}

const struct api_doc api_doc_EVENT_TYPE_GET = {.summary = "Read an event type",
                                               .flags = API_DOC_ETAG,
                                               .status = 200,
                                               .answer = &event_type_answer};

void api_event_type_get(struct api_call *call) {
    mr_str name;
    if (!api_query_take(call, NULL) || !take_name(call, &name)) {
        return;
    }
    const struct catalogue_type *type = catalogue_type_find(catalogue_of(call), name);
    if (type == NULL) {
        api_refuse(call, 404, 20404, "there is no such event type");
        return;
    }
    json_out out;
    json_out_init(&out, &call->out);
    event_type_write(type, call->api->public_url, &out);
    control_etag_format(type->row_version, call->etag);
    finish(call, &out);
}

static mr_err answer_type(struct api_call *call, const struct catalogue_type *view) {
    json_out out;
    json_out_init(&out, &call->out);
    event_type_write(view, call->api->public_url, &out);
    control_etag_format(view->row_version, call->etag);
    return json_out_finish(&out);
}

static mr_err create_type(struct control *control, struct api_call *call) {
    struct catalogue_type view;
    MR_TRY(event_types_create(control, call->account, call->body, &call->arena, &view,
                              &call->job.refusal));
    call->status = 201;
    MR_TRY(set_location(call, "event-types", view.name, 0));
    return answer_type(call, &view);
}

const struct api_doc api_doc_EVENT_TYPES_CREATE = {.summary = "Create an event type",
                                                   .what = "For the root account alone.",
                                                   .media = API_MEDIA_JSON,
                                                   .body = &event_type_shape,
                                                   .flags = API_DOC_ETAG | API_DOC_LOCATION,
                                                   .status = 201,
                                                   .answer = &event_type_answer};

void api_event_types_create(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL)) {
        api_submit(call, create_type, NULL);
    }
}

static mr_err patch_type(struct control *control, struct api_call *call) {
    struct catalogue_type view;
    const mr_str *name = call->ask;
    MR_TRY(event_types_patch(control, call->account, *name, call->body,
                             control_etag_parse(call->if_match), &call->arena, &view,
                             &call->job.refusal));
    return answer_type(call, &view);
}

const struct api_doc api_doc_EVENT_TYPE_PATCH = {
    .summary = "Change an event type",
    .what = "For the root account alone; of a type that comes with the program only description "
            "and status.",
    .media = API_MEDIA_JSON | API_MEDIA_MERGE,
    .body = &event_type_shape,
    .use = SHAPE_CHANGE,
    .flags = API_DOC_ETAG,
    .status = 200,
    .answer = &event_type_answer};

void api_event_type_patch(struct api_call *call) {
    if (api_require_json(call) && api_query_take(call, NULL) && keep_name(call)) {
        api_submit(call, patch_type, NULL);
    }
}
