/* The table of descriptions, and what follows from it. See docs.h. */
#include "api/docs.h"

#include "api/call.h"
#include "control/control.h"

static const struct api_doc *const docs[AUTH_ROUTE_COUNT] = {
#define DOC_ROW(symbol, method, path, resource, access, errors)                                    \
    [AUTH_ROUTE_##symbol] = &api_doc_##symbol,
    AUTH_ROUTES(DOC_ROW)
#undef DOC_ROW
};

const struct shape api_nothing_shape = {"Nothing", NULL, 0};

const struct api_doc *api_doc_of(enum auth_route route) {
    return docs[route];
}

/* ---- shapes ---- */

static void add_shape(struct api_doc_shapes *shapes, const struct shape *shape,
                      enum shape_use use) {
    char name[SHAPE_NAME_SIZE];
    char other[SHAPE_NAME_SIZE];
    shape_schema_name(shape, use, name);
    for (size_t i = 0; i < shapes->n; i++) {
        shape_schema_name(shapes->all[i].shape, shapes->all[i].use, other);
        if (strcmp(name, other) == 0) {
            MR_ASSERT(shapes->all[i].shape == shape && shapes->all[i].use == use);
            return;
        }
    }
    MR_ASSERT(shapes->n < API_DOC_SHAPES_MAX);
    shapes->all[shapes->n].shape = shape;
    shapes->all[shapes->n++].use = use;
    for (size_t i = 0; i < shape->n; i++) {
        const struct shape_member *member = &shape->members[i];
        if (member->inner != NULL && shape_is_of_use(member, use)) {
            add_shape(shapes, member->inner, shape_inner_use(member, use));
        }
        for (size_t k = 0; member->choices != NULL && k < member->n_names; k++) {
            if (shape_is_of_use(member, use)) {
                add_shape(shapes, member->choices[k], use);
            }
        }
    }
}

void api_doc_shapes(struct api_doc_shapes *ret_shapes) {
    ret_shapes->n = 0;
    add_shape(ret_shapes, &control_page_answer, SHAPE_ANSWER);
    for (size_t i = 0; i < AUTH_ROUTE_COUNT; i++) {
        const struct api_doc *doc = docs[i];
        if (doc->body != NULL) {
            add_shape(ret_shapes, doc->body, doc->use);
        }
        for (size_t k = 0; k < doc->n_bodies; k++) {
            add_shape(ret_shapes, doc->bodies[k], doc->use);
        }
        if (doc->answer != NULL) {
            add_shape(ret_shapes, doc->answer, SHAPE_ANSWER);
        }
        if (doc->other_answer != NULL) {
            add_shape(ret_shapes, doc->other_answer, SHAPE_ANSWER);
        }
    }
}

/* ---- refusals ---- */

bool api_doc_takes_match(enum auth_route route) {
    mr_str method = auth_route_info(route)->method;
    return (mr_str_eq(method, MR_STR("PATCH")) || mr_str_eq(method, MR_STR("DELETE"))) &&
           (docs[route]->flags & API_DOC_UNVERSIONED) == 0;
}

static void add_status(int *statuses, size_t *n, int status) {
    size_t at = *n;
    for (size_t i = 0; i < *n; i++) {
        if (statuses[i] == status) {
            return;
        }
    }
    MR_ASSERT(*n + 1 < API_DOC_REFUSALS_MAX);
    for (; at > 0 && statuses[at - 1] > status; at--) {
        statuses[at] = statuses[at - 1];
    }
    statuses[at] = status;
    statuses[++*n] = 0;
}

void api_doc_refusals(enum auth_route route, int ret_statuses[static API_DOC_REFUSALS_MAX]) {
    static const int of_all[] = {400, 431, 500, 503};
    static const int of_bodies[] = {408, 413, 415};
    static const int of_tokens[] = {401, 403, 404}; /* 404: account_id */
    const struct auth_route_info *info = auth_route_info(route);
    const struct api_doc *doc = docs[route];
    size_t n = 0;
    ret_statuses[0] = 0;
    for (size_t i = 0; i < sizeof of_all / sizeof of_all[0]; i++) {
        add_status(ret_statuses, &n, of_all[i]);
    }
    for (size_t i = 0; doc->media != 0 && i < sizeof of_bodies / sizeof of_bodies[0]; i++) {
        add_status(ret_statuses, &n, of_bodies[i]);
    }
    for (size_t i = 0; info->resource != AUTH_RES_NONE && i < 3; i++) {
        add_status(ret_statuses, &n, of_tokens[i]);
    }
    if (mr_str_find_byte(info->path, '{', 0) != SIZE_MAX) {
        add_status(ret_statuses, &n, 404);
    }
    if (api_doc_takes_match(route)) {
        add_status(ret_statuses, &n, 412);
    }
    if (api_handlers[route].key_rule != API_KEY_IGNORED) {
        add_status(ret_statuses, &n, 409);
    }
    for (size_t i = 0; doc->refusals != NULL && doc->refusals[i] != 0; i++) {
        add_status(ret_statuses, &n, doc->refusals[i]);
    }
}
