/* What the body of a call may hold, as a table: the one place that the validator, /openapi.json and
 * the reference read, so that they cannot disagree. A chapter of control/ describes each of its
 * bodies once, judges a call's body with shape_check, then reads the values with the functions
 * below, which cannot meet a wrong one any more. What a table cannot say (an address that is
 * refused, members that exclude each other) the chapter judges itself, after it. */
#ifndef MR_CONTROL_SHAPE_H
#define MR_CONTROL_SHAPE_H

#include "base/arena.h"
#include "control/body.h"

/* A number's macro as text, for `schema`. */
#define TEXT_OF_INNER(x) #x
#define TEXT_OF(x)       TEXT_OF_INNER(x)

enum shape_kind {
    SHAPE_TEXT = 0, /* one line of min to max bytes, UTF-8, no control characters */
    SHAPE_LINES,    /* the same, lines may break */
    SHAPE_NUMBER,   /* a whole number from min to max */
    SHAPE_BOOL,
    SHAPE_ENUM,   /* one of names */
    SHAPE_OBJECT, /* any object of at most max bytes, minified */
    SHAPE_INNER,  /* an object of the shape `inner` */
    SHAPE_TEXTS,  /* an array of min to max texts of 1 to 512 bytes, or of names where given */
    SHAPE_INNERS, /* an array of min to max objects of the shape `inner` */
    SHAPE_OWN,    /* judged by the chapter; `schema` says it to others */
    SHAPE_TIME,   /* an RFC 3339 date-time */
    SHAPE_CHOICE, /* an object of one of `choices`, as many as n_names: that of the place which the
                     value of `by`, a SHAPE_ENUM before it, has among its names */
};

enum shape_flag {
    SHAPE_NEEDED = 1,      /* on create: 20002 where it is absent (or null, unless nullable) */
    SHAPE_NULLABLE = 2,    /* null is a value of its own; else null is as if absent */
    SHAPE_CREATE_ONLY = 4, /* a change may not hold it: 20001 */
    SHAPE_CHANGE_ONLY = 8, /* a create may not hold it: 20001 */
    SHAPE_SECRET = 16,     /* never shown, logged or echoed in a message */
    SHAPE_OPTIONAL = 32,   /* an answer may lack it */
};

struct shape;
struct shape_member {
    const char *name;
    enum shape_kind kind;
    uint8_t flags; /* of enum shape_flag */
    uint32_t min;
    uint32_t max;
    const char *const *names; /* SHAPE_ENUM, SHAPE_TEXTS */
    size_t n_names;           /* of names, or of choices */
    const struct shape *inner;
    const char *schema; /* of SHAPE_OWN: JSON Schema (2020-12), one line; else NULL */
    const char *what;   /* for people: one line, no full stop */
    const struct shape *const *choices; /* SHAPE_CHOICE */
    const char *by;
};

struct shape {
    const char *name; /* in /openapi.json: "ClientCreate" */
    const struct shape_member *members;
    size_t n;
};

/* SHAPE_ANSWER only describes: what the server writes. There every member stands unless it is
 * SHAPE_OPTIONAL, null stands only for SHAPE_NULLABLE ones, and a number whose max is 0 has no
 * bound. */
enum shape_use { SHAPE_CREATE = 0, SHAPE_CHANGE, SHAPE_ANSWER };

/* Judges object against shape: 20001 naming every unknown member with its path, 20002 naming the
 * first that is missing (of a creation), place->wrong for a wrong value.
 * Inner shapes are judged as for create where they stand in an array, else as `use`. */
mr_err shape_check(json_value object, const struct shape *shape, enum shape_use use,
                   const struct body_place *place, struct refusal *ret_refusal);
/* body_read and shape_check of its root at once, with wrong values as 20400. The tape is
 * initialised here; done by the caller, also after an error. */
mr_err shape_read(json_tape *tape, mr_str text, const struct shape *shape, enum shape_use use,
                  struct refusal *ret_refusal);

/* Appends the document `present` with the merge patch `body` (RFC 7396) applied. Of the patch only
 * form and names are judged, inner shapes included (20400, 20001): the values are judged with the
 * whole document, as a creation's. */
mr_err shape_merge(mr_str present, mr_str body, const struct shape *shape, mr_buf *out,
                   struct refusal *ret_refusal);

/* The shape as JSON Schema (2020-12), one object; inner shapes are references to
 * "#/components/schemas/" and their name. is_open: other members may stand there. */
struct json_out;
void shape_write_schema(const struct shape *shape, enum shape_use use, bool is_open,
                        struct json_out *out);
/* Its name there: "Destination" of an answer, "DestinationBody" and "DestinationChange" of bodies.
 */
#define SHAPE_NAME_SIZE 96
void shape_schema_name(const struct shape *shape, enum shape_use use,
                       char out[static SHAPE_NAME_SIZE]);
/* May a body of that use hold the member? */
bool shape_is_of_use(const struct shape_member *member, enum shape_use use);
/* The use in which an inner shape of this member is described. */
enum shape_use shape_inner_use(const struct shape_member *member, enum shape_use use);

/* Values of a judged object. Absent or null leaves *out as it is. */
/* MR_E_NOMEM. */
mr_err shape_text(json_value object, const char *name, mr_arena *arena, mr_str *out);
/* Minified, at most as long as it came. MR_E_NOMEM. */
mr_err shape_object(json_value object, const char *name, mr_arena *arena, mr_str *out);
void shape_number(json_value object, const char *name, uint32_t *out);
void shape_bool(json_value object, const char *name, bool *out);
/* Index of a SHAPE_ENUM member among its names. */
void shape_enum(json_value object, const struct shape *shape, const char *name, uint32_t *out);
/* The member itself: absent where it is absent or null. */
json_value shape_value(json_value object, const char *name);
bool shape_has(json_value object, const char *name);     /* there, null included */
bool shape_is_null(json_value object, const char *name); /* there, as null */

#endif
