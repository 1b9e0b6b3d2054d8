/* JSON text as a tape of small nodes that point into the text: read once, strictly (RFC 8259 and
 * more), then walked without copying. A tape's memory is the caller's and is used again from one
 * text to the next: a warm tape allocates nothing. Not thread-safe. */
#ifndef MR_JSON_TAPE_H
#define MR_JSON_TAPE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum json_err {
    JSON_E_SYNTAX = MR_ERR_CODE(MR_ROOM_JSON, 1),    /* not the grammar of RFC 8259 */
    JSON_E_UTF8 = MR_ERR_CODE(MR_ROOM_JSON, 2),      /* bytes that are not UTF-8 (RFC 3629) */
    JSON_E_SURROGATE = MR_ERR_CODE(MR_ROOM_JSON, 3), /* \uD800–\uDFFF without its other half */
    JSON_E_DUPLICATE = MR_ERR_CODE(MR_ROOM_JSON, 4), /* a member name twice in one object */
    JSON_E_DEPTH = MR_ERR_CODE(MR_ROOM_JSON, 5),     /* nested deeper than allowed */
};

enum json_kind {
    JSON_ABSENT = 0, /* no value: what a lookup without result gives */
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

/* One value, or one member name (a string node directly before its value). Private to json/. */
typedef struct json_node {
    uint32_t at;   /* offset of the first byte: of a string the one behind its quote */
    uint32_t len;  /* bytes of the value; of a string without its quotes */
    uint32_t next; /* index of the node behind this one and all inside it; of a name, its hash */
    uint32_t info; /* kind, flags, number of items or members */
} json_node;
_Static_assert(sizeof(json_node) == 16, "nodes are small");

#define JSON_DEPTH_DEFAULT 64u  /* containers inside one another */
#define JSON_DEPTH_MAX     128u /* the most that may be asked for */

typedef struct json_tape {
    mr_str text;      /* what was read; the caller keeps it while the tape is walked */
    json_node *nodes; /* owned */
    uint32_t len;
    uint32_t cap;
    uint32_t depth_max;
    uint32_t *order;    /* owned scratch: names of one large object while they are sorted */
    uint32_t order_cap; /* entries */
    mr_buf scratch;     /* decoded names that were written with escapes */
} json_tape;

/* What is wrong with a text, for people. */
typedef struct json_error {
    size_t offset;        /* of the byte where reading stopped */
    const char *rule;     /* "syntax", "utf8", "surrogate", "duplicate", "depth" */
    const char *expected; /* what should have stood there: "a value", "a comma or }", … */
} json_error;

/* A value of a tape, by value; valid until the tape reads again and while the text lives. */
typedef struct json_value {
    const json_tape *tape; /* NULL: absent */
    uint32_t node;
} json_value;

#define JSON_NONE ((json_value){NULL, 0})

/* depth_max: 1 to JSON_DEPTH_MAX; a scalar has depth 0, `[]` 1. Allocates nothing. */
void json_tape_init(json_tape *tape, uint32_t depth_max);
void json_tape_done(json_tape *tape);
/* Gives memory above keep_bytes back, after an unusually large text. The tape is empty then. */
void json_tape_trim(json_tape *tape, size_t keep_bytes);

/* Reads one JSON text, white space around it allowed, nothing else behind it; no byte order mark.
 * Members keep their order, numbers their text. Errors: the json_err above with *ret_error
 * (may be NULL) told; MR_E_NOMEM; MR_E_LIMIT for texts over 128 MiB. After an error the tape is
 * empty. The text may be any bytes. */
mr_err json_tape_read(json_tape *tape, mr_str text, json_error *ret_error);
/* The whole text's value; absent for an empty tape. */
json_value json_root(const json_tape *tape);

/* Everything below accepts absent values and values of the wrong kind, and answers with absent,
 * 0, false or MR_E_INVALID. */
enum json_kind json_kind_of(json_value value);
static inline bool json_is_absent(json_value value) {
    return value.tape == NULL;
}
/* Items of an array, members of an object. */
size_t json_count(json_value value);
/* The member of that (decoded) name. Looks at one name after another: O(members). */
json_value json_find(json_value object, mr_str name);
/* The index-th item: O(index). */
json_value json_item(json_value array, size_t index);
/* The value's text as it came; a string with its quotes. */
mr_str json_raw(json_value value);
/* Offset of json_raw in the text. */
size_t json_offset(json_value value);
/* True where json_raw is already what json_minify (write.h) would write. */
bool json_is_minified(json_value value);

/* Walks items or members in their order:
 *   for (json_iter it = json_iter_of(v); json_next(&it);) { … it.name … it.value … } */
typedef struct json_iter {
    json_value name;  /* of a member: the name as a string value; absent for items */
    json_value value; /* the present item or member */
    uint32_t at;
    uint32_t left;
    bool is_object;
} json_iter;
json_iter json_iter_of(json_value container);
bool json_next(json_iter *iter);

/* For loops that look at every member, as a compiled schema does: no call, no check. The value must
 * be present and of the kind that is told. */
static inline enum json_kind json_peek_kind(json_value present) {
    return (enum json_kind)(present.tape->nodes[present.node].info & 7u);
}
/* A string's inside as it stands in the text, escapes and all; any other value's text. */
static inline mr_str json_peek_text(json_value present) {
    const json_node *node = &present.tape->nodes[present.node];
    return (mr_str){present.tape->text.ptr + node->at, node->len};
}
static inline bool json_peek_is_plain(json_value string) {
    return (string.tape->nodes[string.node].info & (1u << 3)) == 0;
}
/* Of a member name: json_name_hash of its decoded bytes. */
static inline uint32_t json_peek_name_hash(json_value name) {
    return name.tape->nodes[name.node].next;
}
/* The value of a member, by its name. */
static inline json_value json_peek_member(json_value name) {
    return (json_value){name.tape, name.node + 1};
}
/* The node behind a value and all inside it: the next item, or the next member's name. */
static inline uint32_t json_peek_next(json_value present) {
    return present.tape->nodes[present.node].next;
}
uint32_t json_name_hash(mr_str name);

/* Strings. A string without escapes is given as a slice of the text, no copy. */
bool json_string_is_plain(json_value string);
/* Whether the decoded string equals s. Allocates nothing. */
bool json_string_eq(json_value string, mr_str s);
/* Whether two strings decode to the same. */
bool json_strings_equal(json_value a, json_value b);
/* Appends the decoded bytes (UTF-8, may hold NUL). MR_E_INVALID when it is no string. */
mr_err json_string_append(json_value string, mr_buf *out);
/* The decoded bytes: a slice of the text, or a copy in arena. MR_E_INVALID, MR_E_NOMEM. */
mr_err json_string(json_value string, mr_arena *arena, mr_str *ret_s);

/* The same for the inside of a JSON string that was cut out of stored minified text: a slice of it
 * where it has no escapes, else a copy in arena. Damaged escapes decode to something, within
 * bounds. MR_E_NOMEM. */
mr_err json_inner_decode(mr_str inner, mr_arena *arena, mr_str *ret_s);

/* Numbers by value, never through floating point: 10, 10.0, 1e1 and 100e-1 are all ten; -0 is 0.
 * MR_E_INVALID when it is no number or has a fraction, MR_E_RANGE outside [min, max]. */
mr_err json_u64(json_value number, uint64_t min, uint64_t max, uint64_t *ret_n);
mr_err json_i64(json_value number, int64_t min, int64_t max, int64_t *ret_n);
/* MR_E_INVALID when it is neither true nor false. */
mr_err json_bool(json_value value, bool *ret_b);

#endif
