/* Inside of the tape, shared by the chapters of json/ and by nobody else: the bits of a node, and
 * reading strings that stand in the text with escapes. Everything here relies on text that the
 * reader has accepted. */
#ifndef MR_JSON_NODE_H
#define MR_JSON_NODE_H

#include "json/tape.h"

#define NODE_KIND        7u        /* enum json_kind */
#define NODE_ESCAPED     (1u << 3) /* a string with at least one escape */
#define NODE_MINIFIED    (1u << 4) /* the text is what json_minify would write */
#define NODE_NAME        (1u << 5) /* a member name: `next` is its hash */
#define NODE_COUNT_SHIFT 6u        /* items or members; 26 bits */
#define NODE_NONE        UINT32_MAX

/* Reads `\uXXXX` at p; false when it is something else. */
bool node_unit(const char *p, const char *end, uint32_t *ret_unit);

/* Walks the code points of a string's inside: escapes decoded, the rest as UTF-8 bytes. */
struct node_chars {
    const char *at;
    const char *end;
    char bytes[4]; /* what the last step decoded */
    size_t len;    /* of bytes; 0 before the first step */
};
/* The next character's UTF-8 bytes; false at the end. */
bool node_chars_next(struct node_chars *chars);

/* Appends the decoded inside of a string. MR_E_NOMEM, MR_E_LIMIT. */
mr_err node_decode(mr_str inner, mr_buf *out);
/* Orders two string nodes of one tape by their decoded bytes. */
int node_compare(const json_tape *tape, const json_node *a, const json_node *b);

static inline const json_node *node_of(json_value value) {
    return &value.tape->nodes[value.node];
}
static inline mr_str node_text(const json_tape *tape, const json_node *node) {
    return (mr_str){tape->text.ptr + node->at, node->len};
}
static inline enum json_kind node_kind(const json_node *node) {
    return (enum json_kind)(node->info & NODE_KIND);
}

#endif
