/* Header fields of HTTP messages as slices: names as they came, compared without case. */
#ifndef MR_BASE_FIELDS_H
#define MR_BASE_FIELDS_H

#include "base/str.h"

typedef struct mr_field {
    mr_str name;
    mr_str value; /* without the white space around it */
} mr_field;

typedef struct mr_fields {
    const mr_field *ptr; /* not owned */
    size_t len;
} mr_fields;

/* Value of the first field of that name; absent when there is none. */
mr_str mr_fields_find(mr_fields fields, mr_str name);
/* How many fields have that name. */
size_t mr_fields_count(mr_fields fields, mr_str name);

#endif
