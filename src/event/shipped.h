/* The catalogue that every installation starts with: KORE's test event, and the product Super SIM
 * (product group Connectivity) with its seven connection event types in two schema versions. The
 * documents are read-only data compiled into the program. */
#ifndef MR_EVENT_SHIPPED_H
#define MR_EVENT_SHIPPED_H

#include "base/buf.h"
#include "base/str.h"

/* The default of the setting event_type_prefix, and what the documents' examples are written in. */
#define SHIPPED_PREFIX_DEFAULT "com.kore.iot"

struct shipped_schema {
    mr_str name; /* "test", "SuperSim.ConnectionEvent" */
    uint32_t version;
    mr_str document; /* JSON Schema draft-07, as served */
    mr_str example;  /* a `data` that is valid by it; JSON text with the default prefix */
};

struct shipped_type {
    bool prefixed; /* the name begins with the setting event_type_prefix and a dot */
    mr_str name;   /* what follows the prefix; whole where prefixed is false */
    mr_str product;
    mr_str product_group;
    mr_str description;
    mr_str status;  /* "available" */
    mr_str schema;  /* name */
    mr_str example; /* a `data` of this type, by the latest version */
};

#define SHIPPED_TYPES_LEN   8u
#define SHIPPED_SCHEMAS_LEN 3u

/* Rows in a stable order; index < the length above. Versions of one schema ascend. */
const struct shipped_type *shipped_type_at(size_t index);
const struct shipped_schema *shipped_schema_at(size_t index);
/* Appends the type's full name. */
mr_err shipped_type_name(const struct shipped_type *type, mr_str prefix, mr_buf *out);
/* Appends an example, its type names written with the prefix, minified. */
mr_err shipped_example(mr_str example, mr_str prefix, mr_buf *out);

#endif
