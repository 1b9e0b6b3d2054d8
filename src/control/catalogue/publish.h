/* Publishing schema versions. A version is judged whole before it is stored: the document must
 * compile, each example must be valid by it, and what breaks the version before must have been
 * allowed. Versions of a schema are numbered without gaps; the program's own schemas take none from
 * outside. Only the root account changes the catalogue. */
#ifndef MR_CONTROL_CATALOGUE_PUBLISH_H
#define MR_CONTROL_CATALOGUE_PUBLISH_H

#include "control/control.h"
#include "control/shape.h"

/* The bodies of a new schema and of a further version. */
extern const struct shape schema_shape;
extern const struct shape schema_version_shape;

struct publish_call {
    uint32_t account; /* of the caller: 20006 where it is not the root */
    mr_str name;      /* of the schema; of publish alone */
    mr_str body;
    uint32_t if_version; /* of publish: 0, or the latest version that there must be (20412) */
    const mr_str *bases; /* absolute bases under which this installation's schemas are reached; */
    size_t n_bases;      /* kept with the version, so that its references go on being understood */
    mr_arena *arena;
    mr_buf *members; /* with 31021: members of the answer, "errors":[…] or "breaking":[…] */
};

#define SCHEMA_NAME_MAX     128
#define EVENT_TYPE_NAME_MAX 255

/* Names of schemas and types: a letter or digit, then letters, digits, `.`, `_`, `-`. */
bool catalogue_name_is_valid(mr_str name, size_t max);
/* 20006 for an account that is not the root. */
mr_err catalogue_needs_root(const struct control *control, uint32_t account,
                            struct refusal *ret_refusal);

/* A new schema with its version 1. body: of schema_shape. Refusals: 20400,
 * 20001, 20002, 20409 (the name is taken; the limit of schemas or bytes), 31021. The view's texts
 * lie in arena; it is not compiled. */
mr_err schemas_create(struct control *control, const struct publish_call *call,
                      struct catalogue_schema *ret_view, struct refusal *ret_refusal);
/* The next version. body: of schema_version_shape. As schemas_create, and
 * 20404; 20409 also for a document that is the latest version's, and for shipped schemas. */
mr_err schemas_publish(struct control *control, const struct publish_call *call,
                       struct catalogue_schema *ret_view, struct refusal *ret_refusal);

#endif
