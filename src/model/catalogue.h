/* The event catalogue as workers read it: event types with their schema, schemas with versions,
 * documents and examples. Immutable once made; any thread. It holds what the program ships, with
 * the installation's event_type_prefix. */
#ifndef MR_MODEL_CATALOGUE_H
#define MR_MODEL_CATALOGUE_H

#include "base/arena.h"
#include "event/catalogue.h"

struct catalogue_schema {
    mr_str name;
    uint32_t version;
    mr_str document; /* JSON Schema draft-07 */
    mr_str example;  /* a valid `data`, minified */
};

struct catalogue_type {
    mr_str name; /* full, with the prefix */
    mr_str product;
    mr_str product_group;
    mr_str description;
    mr_str status;
    mr_str schema;
    uint32_t latest;
    mr_str example; /* a `data` of this type by the latest version, minified */
};

struct catalogue;

/* Builds it from what is shipped. MR_E_NOMEM. */
mr_err catalogue_new(mr_str prefix, struct catalogue **ret_catalogue);
/* NULL is fine. */
void catalogue_free(struct catalogue *catalogue);

/* NULL where there is none. */
const struct catalogue_type *catalogue_type_find(const struct catalogue *catalogue, mr_str name);
const struct catalogue_schema *catalogue_schema_find(const struct catalogue *catalogue, mr_str name,
                                                     uint32_t version);
/* In a stable order; NULL past the end. */
const struct catalogue_type *catalogue_type_at(const struct catalogue *catalogue, size_t index);
const struct catalogue_schema *catalogue_schema_at(const struct catalogue *catalogue, size_t index);
bool catalogue_has_product_group(const struct catalogue *catalogue, mr_str name);
/* As the event room asks it; valid as long as the catalogue. */
struct event_catalogue catalogue_for_events(const struct catalogue *catalogue);

#endif
