/* What the event room asks of the event catalogue: a table of functions that the model gives, so
 * that this room needs no other. Functions neither block nor allocate; names live as long as the
 * catalogue that is asked. */
#ifndef MR_EVENT_CATALOGUE_H
#define MR_EVENT_CATALOGUE_H

#include "base/str.h"

enum event_schema_use {
    EVENT_SCHEMA_UNKNOWN = 0, /* no such schema, or no such version of it */
    EVENT_SCHEMA_OF_TYPE,     /* the version exists and the type names this schema */
    EVENT_SCHEMA_OF_OTHER,    /* it exists, but only other types name it */
    EVENT_SCHEMA_FREE,        /* it exists and no type names it */
};

struct event_catalogue {
    const void *ctx;
    /* The schema that the type names, and its latest version (≥ 1). False: the type is unknown. */
    bool (*type_find)(const void *ctx, mr_str type, mr_str *ret_schema, uint32_t *ret_latest);
    enum event_schema_use (*schema_use)(const void *ctx, mr_str schema, uint32_t version,
                                        mr_str type);
};

#endif
