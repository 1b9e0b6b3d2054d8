/* The reference of the API in Markdown, from the same tables as /openapi.json. */
#include "api/docs.h"

#include "api/call.h"

#include <stdio.h>

static const char *access_name(enum auth_access access) {
    static const char *const names[] = {[AUTH_NO_ACCESS] = "",
                                        [AUTH_READ] = "Read",
                                        [AUTH_WRITE] = "Write",
                                        [AUTH_MODIFY] = "Modify",
                                        [AUTH_DELETE] = "Delete"};
    return names[access];
}

static mr_err write_overview(mr_buf *out) {
    MR_TRY(mr_buf_printf(out, "| method | path | scope | access | |\n|---|---|---|---|---|\n"));
    for (int i = 0; i < AUTH_ROUTE_COUNT; i++) {
        const struct auth_route_info *info = auth_route_info((enum auth_route)i);
        mr_str scope =
            info->resource == AUTH_RES_NONE ? MR_STR("none") : auth_resource_name(info->resource);
        MR_TRY(mr_buf_printf(out, "| %.*s | `%.*s` | %.*s | %s | %s |\n", MR_FMT(info->method),
                             MR_FMT(info->path), MR_FMT(scope), access_name(info->access),
                             api_doc_of((enum auth_route)i)->summary));
    }
    return MR_OK;
}

static mr_err write_names(mr_buf *out, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++) {
        MR_TRY(mr_buf_printf(out, "%s`%s`", i > 0 ? ", " : "", names[i]));
    }
    return MR_OK;
}

/* ---- routes ---- */

static mr_err write_param(mr_buf *out, const struct api_param *param) {
    MR_TRY(mr_buf_printf(out, "| `%s`%s | ", param->name, param->is_needed ? " (needed)" : ""));
    switch (param->kind) {
    case API_PARAM_TEXT:
        MR_TRY(mr_buf_printf(out, "text"));
        break;
    case API_PARAM_NUMBER:
        MR_TRY(mr_buf_printf(out, "%llu to %llu", (unsigned long long)param->min,
                             (unsigned long long)param->max));
        break;
    case API_PARAM_ENUM:
        MR_TRY(write_names(out, param->names, param->n_names));
        break;
    case API_PARAM_TIME:
        MR_TRY(mr_buf_printf(out, "RFC 3339 date-time"));
        break;
    }
    return mr_buf_printf(out, " | %s |\n", param->what);
}

static mr_err write_shape_link(mr_buf *out, const struct shape *shape, enum shape_use use) {
    char name[SHAPE_NAME_SIZE];
    shape_schema_name(shape, use, name);
    return mr_buf_printf(out, "[%s](#%s)", name, name);
}

static mr_err write_body(mr_buf *out, const struct api_doc *doc) {
    size_t n = doc->body != NULL ? 1 : doc->n_bodies;
    if (n == 0) {
        return MR_OK;
    }
    MR_TRY(mr_buf_printf(out, "Body: "));
    for (size_t i = 0; i < n; i++) {
        MR_TRY(mr_buf_printf(out, i > 0 ? " or " : ""));
        MR_TRY(write_shape_link(out, doc->body != NULL ? doc->body : doc->bodies[i], doc->use));
    }
    return mr_buf_printf(out, "%s%s.\n\n",
                         (doc->media & API_MEDIA_FORM) == 0   ? ""
                         : (doc->media & API_MEDIA_JSON) == 0 ? ", as a form"
                                                              : ", as JSON or a form",
                         (doc->flags & API_DOC_BODY_OPTIONAL) != 0 ? ", or none" : "");
}

static mr_err write_answer(mr_buf *out, enum auth_route route) {
    const struct api_doc *doc = api_doc_of(route);
    int statuses[API_DOC_REFUSALS_MAX];
    MR_TRY(mr_buf_printf(out, "Answer: %d", doc->status));
    if (doc->answer != NULL) {
        MR_TRY(mr_buf_printf(out, (doc->flags & API_DOC_LIST) != 0 ? ", a list of " : ", "));
        MR_TRY(write_shape_link(out, doc->answer, SHAPE_ANSWER));
    } else if (doc->answer_schema != NULL) {
        MR_TRY(mr_buf_printf(out, ", %s",
                             doc->answer_media == NULL ? "application/json" : doc->answer_media));
    }
    if ((doc->flags & API_DOC_ETAG) != 0) {
        MR_TRY(mr_buf_printf(out, ", with `ETag`"));
    }
    if (doc->other_status != 0) {
        MR_TRY(mr_buf_printf(out, "; or %d, ", doc->other_status));
        MR_TRY(write_shape_link(out, doc->other_answer, SHAPE_ANSWER));
    }
    MR_TRY(mr_buf_printf(out, ". Refusals:"));
    api_doc_refusals(route, statuses);
    for (size_t i = 0; statuses[i] != 0; i++) {
        MR_TRY(mr_buf_printf(out, "%s%d", i > 0 ? ", " : " ", statuses[i]));
    }
    return mr_buf_printf(out, ".\n");
}

static mr_err write_route(mr_buf *out, enum auth_route route) {
    const struct auth_route_info *info = auth_route_info(route);
    const struct api_doc *doc = api_doc_of(route);
    MR_TRY(mr_buf_printf(out, "\n### %.*s %.*s\n\n%s.%s%s\n\n", MR_FMT(info->method),
                         MR_FMT(info->path), doc->summary, doc->what == NULL ? "" : " ",
                         doc->what == NULL ? "" : doc->what));
    if (doc->n_query > 0) {
        MR_TRY(mr_buf_printf(out, "| parameter | values | |\n|---|---|---|\n"));
        for (size_t i = 0; i < doc->n_query; i++) {
            MR_TRY(write_param(out, &doc->query[i]));
        }
        MR_TRY(mr_buf_printf(out, "\n"));
    }
    MR_TRY(write_body(out, doc));
    return write_answer(out, route);
}

/* ---- shapes ---- */

static mr_err write_kind(mr_buf *out, const struct shape_member *member, enum shape_use use) {
    bool is_bounded = use != SHAPE_ANSWER;
    switch (member->kind) {
    case SHAPE_TEXT:
    case SHAPE_LINES:
        return is_bounded ? mr_buf_printf(out, "text, %u to %u bytes", member->min, member->max)
                          : mr_buf_printf(out, "text");
    case SHAPE_NUMBER:
        return is_bounded ? mr_buf_printf(out, "number, %u to %u", member->min, member->max)
                          : mr_buf_printf(out, "number");
    case SHAPE_BOOL:
        return mr_buf_printf(out, "true or false");
    case SHAPE_ENUM:
        return write_names(out, member->names, member->n_names);
    case SHAPE_OBJECT:
        return is_bounded ? mr_buf_printf(out, "object, at most %u bytes", member->max)
                          : mr_buf_printf(out, "object");
    case SHAPE_INNER:
        return write_shape_link(out, member->inner, shape_inner_use(member, use));
    case SHAPE_CHOICE:
        for (size_t i = 0; i < member->n_names; i++) {
            MR_TRY(i == 0 ? MR_OK : mr_buf_printf(out, " or "));
            MR_TRY(write_shape_link(out, member->choices[i], use));
        }
        return mr_buf_printf(out, ", as `%s` says", member->by);
    case SHAPE_TEXTS:
        MR_TRY(mr_buf_printf(out, "list of "));
        return member->n_names > 0 ? write_names(out, member->names, member->n_names)
                                   : mr_buf_printf(out, "texts");
    case SHAPE_INNERS:
        MR_TRY(mr_buf_printf(out, "list of "));
        return write_shape_link(out, member->inner, shape_inner_use(member, use));
    case SHAPE_TIME:
        return mr_buf_printf(out, "RFC 3339 date-time");
    case SHAPE_OWN:
        return mr_buf_printf(out, "see /openapi.json");
    }
    return MR_OK;
}

static mr_err write_shape(mr_buf *out, const struct shape *shape, enum shape_use use) {
    char name[SHAPE_NAME_SIZE];
    shape_schema_name(shape, use, name);
    MR_TRY(mr_buf_printf(out, "\n### %s\n\n", name));
    if (shape->n == 0) {
        return mr_buf_printf(out, "An object without members.\n");
    }
    MR_TRY(mr_buf_printf(out, "| member | values | |\n|---|---|---|\n"));
    for (size_t i = 0; i < shape->n; i++) {
        const struct shape_member *member = &shape->members[i];
        if (!shape_is_of_use(member, use)) {
            continue;
        }
        bool is_needed = use == SHAPE_CREATE && (member->flags & SHAPE_NEEDED) != 0;
        MR_TRY(mr_buf_printf(out, "| `%s`%s | ", member->name, is_needed ? " (needed)" : ""));
        MR_TRY(write_kind(out, member, use));
        MR_TRY(mr_buf_printf(out, "%s | %s |\n",
                             (member->flags & SHAPE_NULLABLE) != 0 ? ", or null" : "",
                             member->what == NULL ? "" : member->what));
    }
    return MR_OK;
}

mr_err api_reference(mr_buf *out) {
    struct api_doc_shapes shapes;
    api_doc_shapes(&shapes);
    MR_TRY(write_overview(out));
    MR_TRY(mr_buf_printf(out, "\n## Calls\n"));
    for (int i = 0; i < AUTH_ROUTE_COUNT; i++) {
        MR_TRY(write_route(out, (enum auth_route)i));
    }
    MR_TRY(mr_buf_printf(out, "\n## Bodies and answers\n\nWhat a body may hold and an answer "
                              "holds. In a change every member may be left out.\n"));
    for (size_t i = 0; i < shapes.n; i++) {
        MR_TRY(write_shape(out, shapes.all[i].shape, shapes.all[i].use));
    }
    return MR_OK;
}
