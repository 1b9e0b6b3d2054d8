/* Inside of schema/, shared by its chapters: what a document compiles to, and the helpers on
 * numbers, values, patterns, formats and references. Nothing outside the room includes it. */
#ifndef MR_SCHEMA_PRIVATE_H
#define MR_SCHEMA_PRIVATE_H

#include "schema/schema.h"

#define NONE UINT32_MAX

/* Limits of a document; a refusal names them. */
#define DOCUMENT_DEPTH_MAX  64u
#define SCHEMAS_MAX         20000u /* subschemas of all documents that one reaches */
#define DOCUMENTS_MAX       32u
#define PATTERN_BYTES_MAX   4096u
#define MULTIPLE_DIGITS_MAX 18u
#define URI_BYTES_MAX       2048u

/* --- numbers: number.c --- */

/* A number's text taken apart: 0.d1d2…dn × 10^exponent, d1 and dn not 0. */
struct number {
    mr_str text;
    const char *first; /* d1; a point may stand between the digits */
    uint32_t digits;   /* n; 0: the number is zero */
    bool negative;
    int64_t exponent; /* saturated far beyond what a text can fill */
};
/* text is a JSON number and outlives the result. */
struct number number_of_text(mr_str text);
/* <0, 0, >0 by value. */
int number_compare(const struct number *a, const struct number *b);
static inline bool number_is_integer(const struct number *n) {
    return n->digits == 0 || n->exponent >= (int64_t)n->digits;
}
bool number_text_is_integer(mr_str text);
/* divisor > 0 with at most MULTIPLE_DIGITS_MAX digits. */
bool number_is_multiple(const struct number *n, const struct number *divisor);
uint64_t number_hash(const struct number *n);

/* --- values: equal.c --- */

/* Equal values have equal hashes: 1 and 1.0, members in any order, escapes or none. Each value
 * looked at takes one off *steps; below zero the answer means nothing. */
uint64_t value_hash(json_value value, int64_t *steps);
bool value_equal(json_value a, json_value b, int64_t *steps);
/* The first two equal items, found with the help of slots: a power of two of them, at least twice
 * the items. False: all differ. */
struct unique_slot {
    uint64_t hash;
    json_value value; /* absent: free */
    uint32_t index;
};
bool value_find_equal(json_value array, struct unique_slot *slots, size_t n_slots, int64_t *steps,
                      uint32_t *ret_first, uint32_t *ret_second);

/* --- patterns: ecma.c, pattern.c --- */

/* Appends the pattern as PCRE2 reads it. MR_E_INVALID with why (a literal) and the byte where. */
mr_err ecma_translate(mr_str ecma, mr_buf *out, const char **ret_why, size_t *ret_at);

struct pattern;
struct pattern_run; /* one thread's scratch of PCRE2 */
/* MR_E_INVALID with *ret_expected (text for people, static or in message). */
mr_err pattern_new(mr_str ecma, struct pattern **ret_pattern, char *message, size_t message_size);
void pattern_free(struct pattern *pattern);
size_t pattern_bytes(const struct pattern *pattern);
mr_err pattern_run_new(struct pattern_run **ret_run);
void pattern_run_free(struct pattern_run *run);
enum pattern_answer {
    PATTERN_NO = 0,
    PATTERN_YES,
    PATTERN_LIMIT, /* it backtracks too long */
};
/* text is UTF-8. What it took comes off *steps. */
enum pattern_answer pattern_match(const struct pattern *pattern, struct pattern_run *run,
                                  mr_str text, int64_t *steps);

/* --- formats: format.c --- */

/* Its row of the table of formats; NONE for one that is unknown. */
uint32_t format_find(mr_str name);
/* text is UTF-8. */
bool format_check(uint32_t row, mr_str text);
/* "a date and time as RFC 3339 writes it" */
const char *format_what(uint32_t row);
bool format_is_uri_reference(mr_str text);

/* --- references: uri.c --- */

/* Appends the reference resolved against the base (RFC 3986 §5.2), without its fragment;
 * *ret_fragment is a slice of the reference. The base may be relative or empty. */
mr_err uri_resolve(mr_str base, mr_str reference, mr_buf *out, mr_str *ret_fragment);
/* Appends with %XX decoded; false in *ret_good where one is broken or the result is no UTF-8. */
mr_err uri_decode(mr_str text, mr_buf *out, bool *ret_good);

/* --- the program --- */

enum op_code {
    OP_FALSE = 0,
    OP_REF,         /* a: node */
    OP_ENUM,        /* a: first of values and hashes, b: how many */
    OP_CONST,       /* as OP_ENUM, one value */
    OP_MULTIPLE_OF, /* a: number */
    OP_MAXIMUM,
    OP_EXCLUSIVE_MAXIMUM,
    OP_MINIMUM,
    OP_EXCLUSIVE_MINIMUM,
    OP_MAX_LENGTH, /* a: bound, clamped */
    OP_MIN_LENGTH,
    OP_PATTERN, /* a: pattern, b: value: its text */
    OP_FORMAT,  /* a: row of the table of formats */
    OP_MAX_ITEMS,
    OP_MIN_ITEMS,
    OP_UNIQUE,
    OP_ITEMS, /* a: shape of items */
    OP_CONTAINS,
    OP_MAX_PROPERTIES,
    OP_MIN_PROPERTIES,
    OP_OBJECT,         /* a: shape of members */
    OP_PROPERTY_NAMES, /* a: node */
    OP_DEPENDENCIES,   /* a: first dependency, b: how many */
    OP_ALL_OF,         /* a: first of lists, b: how many */
    OP_ANY_OF,
    OP_ONE_OF,
    OP_NOT, /* a: node */
    OP_IF,  /* a: if, b: then, c: else; NONE: absent */
};

struct op {
    uint8_t code;
    uint8_t kinds; /* bits of the kinds of instance that it says something about */
    uint32_t a;
    uint32_t b;
    uint32_t c;
};

#define KIND_BIT(kind) (1u << (kind))
#define KIND_INTEGER   1u /* in `types` only: numbers without a fraction */
#define KINDS_ALL      0xFEu

/* One subschema. */
struct node {
    uint32_t first; /* of ops */
    uint32_t n;
    uint8_t types; /* KIND_BITs, or KIND_INTEGER */
};

/* A name of properties or required, in a table found by the name's hash. */
struct member {
    mr_str name; /* ptr NULL: a free slot */
    uint32_t hash;
    uint32_t node; /* NONE: no properties */
    bool is_required;
};
struct member_shape {
    uint32_t first; /* of members: mask + 1 slots */
    uint32_t mask;
    uint32_t first_required; /* of lists: slots of the required members, in the document's order */
    uint32_t n_required;
    uint32_t additional;    /* node, or NONE */
    uint32_t first_pattern; /* of lists: pairs of pattern and node */
    uint32_t n_patterns;
    uint32_t first_name; /* of names: texts of the patterns */
};
struct item_shape {
    uint32_t each;  /* node for all, or NONE */
    uint32_t first; /* of lists: node of each place */
    uint32_t n;
    uint32_t additional; /* behind those, or NONE */
    bool is_tuple;
};
struct dependency {
    mr_str name;
    uint32_t node;  /* NONE: names follow */
    uint32_t first; /* of names */
    uint32_t n;
};

/* A document with its own text; its tape serves enum and const afterwards. */
struct document {
    mr_str text; /* owned */
    json_tape tape;
    mr_str uri;      /* absolute or relative, without fragment; in the arena */
    uint32_t *nodes; /* while compiling: by tape node, index of its struct node, or NONE */
    uint32_t *bases; /* while compiling: by tape node, index of its base, or NONE */
};

#define VEC(type)                                                                                  \
    struct {                                                                                       \
        type *ptr;                                                                                 \
        uint32_t n;                                                                                \
        uint32_t cap;                                                                              \
    }

struct schema {
    mr_arena arena; /* names */
    VEC(struct document *) documents;
    VEC(struct node) nodes;
    VEC(struct op) ops;
    VEC(struct member) members;
    VEC(struct member_shape) member_shapes;
    VEC(struct item_shape) item_shapes;
    VEC(struct dependency) dependencies;
    VEC(struct number) numbers;
    VEC(json_value) values;
    VEC(uint64_t) hashes; /* of values, same index */
    VEC(struct pattern *) patterns;
    VEC(mr_str) names;
    VEC(uint32_t) lists;
    uint32_t root;
};

/* Room for `more` elements behind n. */
mr_err schema_vec_reserve(void *ptr_to_ptr, uint32_t *cap, uint32_t n, uint32_t more, size_t size);
#define VEC_PUSH(vec, value)                                                                       \
    do {                                                                                           \
        MR_TRY(schema_vec_reserve(&(vec)->ptr, &(vec)->cap, (vec)->n, 1, sizeof *(vec)->ptr));     \
        (vec)->ptr[(vec)->n++] = (value);                                                          \
    } while (0)

/* --- compiling: compile.c, document.c, emit.c --- */

/* Something a reference can name: a document or subschema by URI, or a `#name` within one. */
struct target {
    uint32_t base; /* of bases */
    mr_str name;   /* absent: the URI itself */
    uint32_t document;
    uint32_t node; /* of its tape */
};
/* A subschema that waits for its program. */
struct job {
    uint32_t document;
    uint32_t tape_node;
    uint32_t node;
};

struct compiler {
    struct schema *schema;
    const struct schema_library *library;
    struct schema_fault *fault;
    mr_buf *ignored; /* the list, or NULL */
    bool has_ignored;
    mr_buf scratch;
    VEC(mr_str) bases; /* URIs, in the schema's arena */
    VEC(struct target) targets;
    VEC(struct job) jobs; /* worked off from the end */
    uint32_t schemas;     /* met so far */
};

/* Fills the fault with the pointer of tape node `at` below the document's root. */
mr_err schema_refuse(struct compiler *c, uint32_t document, uint32_t at, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Appends the pointer of tape node `target` below root; of a member name, as of its value. */
mr_err schema_put_pointer(json_value root, uint32_t target, mr_buf *out);
/* Reads, checks against draft-07's rules and registers its identifiers. */
mr_err document_add(struct compiler *c, mr_str text, mr_str uri, uint32_t *ret_document);
/* The built-in meta-schema. */
#define META_URI MR_STR("http://json-schema.org/draft-07/schema")
/* The node of the subschema at a place of a document, made when it is met first. */
mr_err schema_node_at(struct compiler *c, uint32_t document, uint32_t tape_node,
                      uint32_t *ret_node);
/* Where the reference at tape node `ref` leads. */
mr_err reference_find(struct compiler *c, uint32_t document, uint32_t base, json_value ref,
                      uint32_t *ret_document, uint32_t *ret_tape_node);
mr_err emit_schema(struct compiler *c, const struct job *job);
/* A string's decoded bytes that live with the schema. */
mr_err schema_keep_string(struct compiler *c, json_value string, mr_str *ret_s);

#endif
