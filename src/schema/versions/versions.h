/* What comparing (compare.c) and projecting (project.c) share: two documents on tapes, references
 * within a document, values compared by meaning. Private to schema/. Not thread-safe. */
#ifndef MR_SCHEMA_VERSIONS_VERSIONS_H
#define MR_SCHEMA_VERSIONS_VERSIONS_H

#include "json/tape.h"

/* A part of a document with a name of its own: the document, or what has a "$id". */
struct version_resource {
    json_value schema;
    json_value id; /* absent: the document has none */
    size_t begin;  /* bytes of the text */
    size_t end;
};
#define VERSION_RESOURCES_MAX 256

struct version_doc {
    json_tape tape; /* owned; the text is the caller's and must live as long */
    json_value root;
    struct version_resource *resources; /* owned; the document itself is the first */
    uint32_t n_resources;
    json_value *targets; /* owned: what the `$ref` of a node leads to, once looked up */
    mr_buf scratch;
};

/* The errors of json_tape_read; MR_E_NOMEM; MR_E_LIMIT past VERSION_RESOURCES_MAX. After any
 * outcome version_doc_done is due. */
mr_err version_doc_init(struct version_doc *doc, mr_str text);
void version_doc_done(struct version_doc *doc);

/* Follows `$ref` for as long as there is one. *ret_schema is absent where the reference leaves the
 * document, leads nowhere or in a circle. MR_E_NOMEM. */
mr_err version_follow(struct version_doc *doc, json_value schema, json_value *ret_schema);

/* Orders two JSON numbers by value, exactly, from their text: 1, 1.0 and 10e-1 are equal. */
int version_number_cmp(json_value a, json_value b);
/* Whether number is a whole multiple of divisor (> 0), exactly; false where it takes more than a
 * few thousand digits to tell. */
bool version_number_divides(json_value number, json_value divisor);
/* Whether two values are the same by JSON Schema's equality: members in any order, numbers by
 * value. Spends *steps (down to 0, where everything differs). */
bool version_equal(json_value a, json_value b, uint64_t *steps);

#endif
