/* The keywords of draft-07: what their values must be, and who makes code of them. Inside of
 * schema/. */
#ifndef MR_SCHEMA_KEYWORDS_H
#define MR_SCHEMA_KEYWORDS_H

#include "schema/private.h"

/* What the value of a keyword must be. */
enum shape {
    SHAPE_ANY = 0,
    SHAPE_STRING,
    SHAPE_BOOLEAN,
    SHAPE_URI_REFERENCE,
    SHAPE_DIALECT,
    SHAPE_NUMBER,
    SHAPE_POSITIVE,
    SHAPE_COUNT,
    SHAPE_LIST,
    SHAPE_NAMES,
    SHAPE_TYPE,
    SHAPE_SCHEMA,
    SHAPE_SCHEMA_LIST,
    SHAPE_SCHEMA_OR_LIST,
    SHAPE_SCHEMA_MAP,
    SHAPE_DEPENDENCIES,
};

/* What it says. */
enum key {
    KEY_NOTE = 0, /* nothing of its own */
    KEY_REF,
    KEY_TYPE,
    KEY_ENUM,
    KEY_CONST,
    KEY_MULTIPLE_OF,
    KEY_MAXIMUM,
    KEY_EXCLUSIVE_MAXIMUM,
    KEY_MINIMUM,
    KEY_EXCLUSIVE_MINIMUM,
    KEY_MAX_LENGTH,
    KEY_MIN_LENGTH,
    KEY_PATTERN,
    KEY_FORMAT,
    KEY_MAX_ITEMS,
    KEY_MIN_ITEMS,
    KEY_UNIQUE,
    KEY_ITEMS, /* items, additionalItems: one shape */
    KEY_CONTAINS,
    KEY_MAX_PROPERTIES,
    KEY_MIN_PROPERTIES,
    KEY_MEMBERS, /* properties, patternProperties, additionalProperties, required: one shape */
    KEY_PROPERTY_NAMES,
    KEY_DEPENDENCIES,
    KEY_ALL_OF,
    KEY_ANY_OF,
    KEY_ONE_OF,
    KEY_NOT,
    KEY_IF,
};

struct keyword {
    const char *name;
    enum shape shape;
    enum key key;
};
/* NULL: draft-07 has none of that name. */
const struct keyword *keyword_find(json_value name);
/* The bits of struct node's types; 0: no type of that name. */
uint8_t type_find(json_value name);
/* Holds what a reference leads to, where no keyword takes a schema, against the rules. */
mr_err document_check_below(struct compiler *c, uint32_t document, uint32_t node, uint32_t base);

#endif
