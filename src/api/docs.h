/* What each route takes and answers, as data: /openapi.json, the reference and the checks of
 * queries and content types are made from it. Each description stands beside its handler as
 * `const struct api_doc api_doc_SYMBOL`; a route of AUTH_ROUTES without one does not link.
 *
 * What follows from the route itself is not said again: its parameters of the path, account_id
 * where a token is asked for, and the refusals that every route of its kind has (openapi.c). */
#ifndef MR_API_DOCS_H
#define MR_API_DOCS_H

#include "auth/rights.h"
#include "control/shape.h"

enum api_param_kind {
    API_PARAM_TEXT = 0,
    API_PARAM_NUMBER, /* a whole number from min to max */
    API_PARAM_ENUM,   /* one of names */
    API_PARAM_TIME,   /* an RFC 3339 date-time */
};
struct api_param {
    const char *name;
    enum api_param_kind kind;
    uint64_t min;
    uint64_t max;
    const char *const *names;
    size_t n_names;
    bool is_needed;
    const char *what; /* for people: one line, no full stop */
};
/* Of lists. */
#define API_PARAM_PAGE_SIZE                                                                        \
    { "page_size", API_PARAM_NUMBER, 1, CONTROL_PAGE_SIZE_MAX, .what = "Rows of a page; 50" }
#define API_PARAM_PAGE_NUMBER                                                                      \
    { "page_number", API_PARAM_NUMBER, 1, INT32_MAX, .what = "From 1, which it is unless told" }

/* Content types of bodies; bits. */
enum api_media {
    API_MEDIA_JSON = 1,
    API_MEDIA_MERGE = 2, /* application/merge-patch+json */
    API_MEDIA_FORM = 4,
    API_MEDIA_EVENTS = 8, /* CloudEvents, in all forms */
};

enum api_doc_flag {
    API_DOC_LIST = 1,          /* the answer's rows stand under data, a page under meta_data */
    API_DOC_ETAG = 2,          /* the answer has an ETag */
    API_DOC_LOCATION = 4,      /* and a Location */
    API_DOC_BODY_OPTIONAL = 8, /* the call may come without a body */
    API_DOC_ANY_QUERY = 16,    /* unknown parameters are ignored */
    API_DOC_OPEN_BODY = 32,    /* and unknown members */
    API_DOC_UNVERSIONED = 64,  /* a change of what has no ETag: If-Match is ignored */
    API_DOC_COOKIE = 128,      /* the answer may set the session's cookie */
    API_DOC_PAGE = 256,        /* for people: refusals may be pages, too */
};

struct api_doc {
    const char *summary; /* one line, no full stop */
    const char *what;    /* more; may be NULL */
    const struct api_param *query;
    size_t n_query;
    uint8_t media;                     /* of enum api_media; 0: no body */
    const struct shape *body;          /* NULL: bodies or body_schema */
    const struct shape *const *bodies; /* one of them, by what the path names */
    size_t n_bodies;
    enum shape_use use;
    const char *body_schema; /* JSON Schema, one line */
    uint16_t flags;          /* of enum api_doc_flag */
    int status;              /* of the answer */
    const struct shape *answer;
    const char *answer_schema; /* where no shape says it; NULL of both: no body */
    const char *answer_media;  /* NULL: application/json */
    int other_status;          /* of another answer that the call may have; 0 */
    const struct shape *other_answer;
    const int *refusals; /* statuses beside those that follow from the route; ends with 0 */
    const char *refused; /* members that refusals may have besides: JSON properties; NULL */
};
#define API_QUERY(params) .query = (params), .n_query = sizeof(params) / sizeof((params)[0])
#define API_REFUSALS(...)                                                                          \
    .refusals = (const int[]) {                                                                    \
        __VA_ARGS__, 0                                                                             \
    }

#define AUTH_ROUTE_DOC(symbol, method, path, resource, access, errors)                             \
    extern const struct api_doc api_doc_##symbol;
AUTH_ROUTES(AUTH_ROUTE_DOC)
#undef AUTH_ROUTE_DOC

/* Of calls whose body holds nothing. */
extern const struct shape api_nothing_shape;

const struct api_doc *api_doc_of(enum auth_route route);

/* Every shape that a route names, with the inner ones, each once per use. */
#define API_DOC_SHAPES_MAX 256
struct api_doc_shapes {
    struct {
        const struct shape *shape;
        enum shape_use use;
    } all[API_DOC_SHAPES_MAX];
    size_t n;
};
void api_doc_shapes(struct api_doc_shapes *ret_shapes);

/* A change that honours If-Match. */
bool api_doc_takes_match(enum auth_route route);
/* The statuses that a route may refuse with, in order, ends with 0. */
#define API_DOC_REFUSALS_MAX 24
void api_doc_refusals(enum auth_route route, int ret_statuses[static API_DOC_REFUSALS_MAX]);

/* The whole document of the API (OpenAPI 3.1). MR_E_NOMEM. */
mr_err api_openapi_write(mr_buf *out);
/* The reference in Markdown: routes, then each one's parameters, body and answer. */
mr_err api_reference(mr_buf *out);

#endif
