/* What the index may know of a CloudEvents SQL expression: an attribute's values outside of which
 * it cannot be true without an error. Found while it is parsed: each part tells what it is. Private
 * to route/filter/. */
#ifndef MR_ROUTE_FILTER_CESQL_KEY_H
#define MR_ROUTE_FILTER_CESQL_KEY_H

#include "route/filter/cesql.h"

#define CESQL_KEY_LITERALS_MAX 64u /* an IN with more has no key */

enum cesql_operand_kind {
    OPERAND_OTHER = 0,
    OPERAND_ATTRIBUTE, /* `name` */
    OPERAND_LITERAL,   /* `literal` */
    OPERAND_KEY,       /* true only where attribute `name` is one of `values` */
};
/* Slices of the expression, or in the arena. */
struct cesql_operand {
    enum cesql_operand_kind kind;
    mr_str name;
    struct value literal;
    const mr_str *values; /* as filter_key has them */
    size_t n_values;
};

/* `name IN (literals)`. MR_E_NOMEM. */
mr_err cesql_key_of_literals(mr_arena *arena, mr_str name, const struct value *literals, size_t n,
                             struct cesql_operand *ret_operand);
/* `left = right`; OPERAND_OTHER where that gives no key. MR_E_NOMEM. */
mr_err cesql_key_of_equal(mr_arena *arena, const struct cesql_operand *left,
                          const struct cesql_operand *right, struct cesql_operand *ret_operand);
/* `*left AND right`, into *left. Under every other operator a key is none any more. */
void cesql_key_of_and(struct cesql_operand *left, const struct cesql_operand *right);

#endif
