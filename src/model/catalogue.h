/* The event catalogue as workers read it: event types with their schema, schemas with versions,
 * documents and examples. Part of the snapshot (snapshot_catalogue): immutable, reference-counted,
 * replaced only when the catalogue changes. It holds what the program ships, with the
 * installation's event_type_prefix, and what the operator published.
 *
 * Functions that look something up take NULL for a catalogue without anything in it; what they
 * return lives as long as the catalogue. Any thread. */
#ifndef MR_MODEL_CATALOGUE_H
#define MR_MODEL_CATALOGUE_H

#include "base/arena.h"
#include "event/catalogue.h"

struct schema;            /* schema/schema.h */
struct schema_library;    /* schema/schema.h */
struct schema_projection; /* schema/schema.h */

/* One version of a schema. Never changes: catalogues that follow one another share it. */
struct catalogue_schema {
    mr_str name;
    uint32_t version;       /* from 1, without gaps */
    bool is_shipped;        /* came with the program */
    mr_str document;        /* JSON Schema draft-07, as published */
    mr_str example;         /* the first of examples */
    const mr_str *examples; /* each a valid `data`, minified; at least one */
    size_t n_examples;
    mr_str ignored;       /* JSON array of pointers: keywords and formats that are ignored */
    mr_str breaking;      /* JSON array: what it broke of the version before, as schema_compare */
    int64_t published_ms; /* 0: shipped */
    /* The document compiled. NULL: this version of the program refuses a document that an earlier
     * one took (told in the log at start), for the reason in fault; no data can be said to be valid
     * by it. */
    const struct schema *compiled;
    mr_str fault; /* absent where it is compiled */
};

struct catalogue_type {
    mr_str name;         /* full, with the prefix */
    mr_str shipped_name; /* as event/shipped.h has it, without the prefix; absent: the operator's */
    mr_str product;
    mr_str product_group; /* absent: none */
    mr_str description;
    mr_str status; /* "available", "deprecated", "restricted", "discontinued" */
    mr_str schema;
    uint32_t latest;      /* version of the schema */
    mr_str example;       /* a `data` of this type by the latest version, minified */
    uint32_t row_version; /* rises with each change of the type, from 1: its ETag */
    int64_t created_ms;   /* 0: shipped */
    int64_t updated_ms;   /* 0: never changed */
};

struct catalogue;

/* What the program ships and nothing else; one reference. MR_E_NOMEM. */
mr_err catalogue_new(mr_str prefix, struct catalogue **ret_catalogue);
struct catalogue *catalogue_ref(struct catalogue *catalogue);
/* NULL is fine; the last one frees it, and the schema versions that no other catalogue shares. */
void catalogue_unref(struct catalogue *catalogue);

/* NULL where there is none. O(1). */
const struct catalogue_type *catalogue_type_find(const struct catalogue *catalogue, mr_str name);
const struct catalogue_schema *catalogue_schema_find(const struct catalogue *catalogue, mr_str name,
                                                     uint32_t version);
/* Latest version of a schema; 0: there is no such schema. O(1). */
uint32_t catalogue_latest(const struct catalogue *catalogue, mr_str schema);
/* What takes `data` of version from back to version to (to ≤ from). NULL where nothing is left
 * out, or a version is not there. O(1). */
const struct schema_projection *catalogue_projection(const struct catalogue *catalogue,
                                                     mr_str schema, uint32_t from, uint32_t to);
/* In a stable order, shipped ones first; NULL past the end. Versions of a schema ascend. */
const struct catalogue_type *catalogue_type_at(const struct catalogue *catalogue, size_t index);
const struct catalogue_schema *catalogue_schema_at(const struct catalogue *catalogue, size_t index);
/* The index-th schema, by its latest version; NULL past the end. */
const struct catalogue_schema *catalogue_latest_at(const struct catalogue *catalogue, size_t index);
size_t catalogue_count_types(const struct catalogue *catalogue);
size_t catalogue_count_schemas(const struct catalogue *catalogue); /* not their versions */
bool catalogue_has_product_group(const struct catalogue *catalogue, mr_str name);
/* As the event room asks it; valid as long as the catalogue. */
struct event_catalogue catalogue_for_events(const struct catalogue *catalogue);
/* As a schema that is compiled asks it for the documents that it names. */
mr_str catalogue_document_by_path(const struct catalogue *catalogue, mr_str path);

/* --- building: one thread ----------------------------------------------------------------------
 */

/* Bounds of what the operator may add, beside what is shipped. */
#define CATALOGUE_SCHEMAS_MAX       1000
#define CATALOGUE_VERSIONS_MAX      100 /* of one schema */
#define CATALOGUE_TYPES_MAX         10000
#define CATALOGUE_EXAMPLES_MAX      20 /* of one version */
#define CATALOGUE_EXAMPLE_BYTES_MAX ((size_t)64 << 10)
#define CATALOGUE_BYTES_SUM         ((size_t)64 << 20) /* documents and examples of all schemas */
#define CATALOGUE_LIST_BYTES_MAX    ((size_t)96 << 10) /* of ignored, and of breaking */

struct catalogue_builder;

/* Begins with nothing; schema versions that base (may be NULL) has too are shared with it instead
 * of being compiled again. MR_E_NOMEM. */
mr_err catalogue_build(struct catalogue *base, struct catalogue_builder **ret_builder);

/* Texts are copied. */
struct catalogue_schema_spec {
    mr_str name;
    uint32_t version;
    bool is_shipped;
    mr_str document;
    const mr_str *examples;
    size_t n_examples;
    mr_str breaking; /* absent: [] */
    int64_t published_ms;
    const mr_str *bases; /* absolute bases that references may be written with */
    size_t n_bases;
};
/* Versions of one schema are added from 1 on, one directly after the other, before any type that
 * names it. MR_E_EXISTS: the name was used before, as of an operator's schema that the program
 * ships now. MR_E_NOMEM. */
mr_err catalogue_add_schema(struct catalogue_builder *builder,
                            const struct catalogue_schema_spec *spec);
/* The same of a version that base has; MR_E_NOT_FOUND where it does not. */
mr_err catalogue_share_schema(struct catalogue_builder *builder, mr_str name, uint32_t version);
/* latest and, where it is absent, example are filled in. MR_E_EXISTS: the name is taken;
 * MR_E_NOT_FOUND: no such schema; MR_E_NOMEM. */
mr_err catalogue_add_type(struct catalogue_builder *builder, const struct catalogue_type *spec);

/* What the operator changed of a shipped type. */
struct catalogue_change {
    mr_str shipped_name;
    mr_str description;
    mr_str status;
    uint32_t row_version;
    int64_t updated_ms;
};
/* All that is shipped; first of all that is added. */
mr_err catalogue_add_shipped(struct catalogue_builder *builder, mr_str prefix,
                             const struct catalogue_change *changes, size_t n_changes);
/* Compiles what is new, documents that name one another included; frees the builder, also after an
 * error; one reference. MR_E_NOMEM. */
mr_err catalogue_finish(struct catalogue_builder *builder, struct catalogue **ret_catalogue);
/* NULL is fine. */
void catalogue_abandon(struct catalogue_builder *builder);

#endif
