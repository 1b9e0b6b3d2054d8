/* Keys of CloudEvents SQL expressions. See cesql_key.h.
 *
 * Casts make a key wider than its literal: IN casts its items to the type of what stands before it,
 * so `x IN ('1')` is true for the string "1", the integer 1 and, were it '10', for 10 however it is
 * written in JSON. All of them are values of the key; one too many costs a look, one too few a
 * match. */
#include "route/filter/cesql_key.h"

#include <stdio.h>

#define VALUES_OF_LITERAL 3u

/* A growing array of values in an arena. */
struct values {
    mr_arena *arena;
    mr_str *items;
    size_t n;
};

static mr_err add(struct values *values, mr_str text) {
    mr_str copy = mr_arena_str(values->arena, text);
    if (mr_str_is_absent(copy)) {
        return MR_ERR(MR_E_NOMEM);
    }
    values->items[values->n++] = copy;
    return MR_OK;
}

/* `"` and the text. */
static mr_err add_string(struct values *values, mr_str text) {
    char *at = mr_arena_alloc(values->arena, text.len + 1);
    if (at == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    at[0] = '"';
    memcpy(at + 1, text.ptr != NULL ? text.ptr : "", text.len);
    values->items[values->n++] = mr_str_of(at, text.len + 1);
    return MR_OK;
}

static bool is_integer(mr_str text) {
    size_t at = text.len > 0 && text.ptr[0] == '-';
    for (size_t i = at; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
    }
    return at < text.len;
}

/* By the decimal's canonical form; of any size, for an attribute may be larger than CloudEvents SQL
 * can count, and is a string to it then. */
static mr_err add_integer(struct values *values, mr_str text) {
    if (text.len > 0 && text.ptr[0] == '+') {
        text = mr_str_slice(text, 1, text.len);
    }
    if (!is_integer(text)) {
        return MR_OK;
    }
    struct decimal number = decimal_of(text);
    mr_buf form;
    mr_buf_init(&form, text.len + 32);
    mr_err err = decimal_append(&number, &form);
    err = mr_is_ok(err) ? add(values, mr_buf_view(&form)) : err;
    mr_buf_done(&form);
    return err;
}

static mr_err add_boolean(struct values *values, bool b) {
    return add(values, b ? MR_STR("true") : MR_STR("false"));
}

/* Every value, of whichever type, to which the literal is equal once it was cast to its type. */
static mr_err add_literal(struct values *values, const struct value *literal) {
    char digits[16];
    bool b;
    mr_str text;
    switch (literal->type) {
    case VALUE_STRING:
        MR_TRY(add_string(values, literal->string));
        MR_TRY(add_integer(values, literal->string));
        return cesql_text_to_boolean(literal->string, &b) ? add_boolean(values, b) : MR_OK;
    case VALUE_INTEGER:
        text = mr_str_of(digits, (size_t)snprintf(digits, sizeof digits, "%d", literal->integer));
        MR_TRY(add_string(values, text));
        MR_TRY(add_integer(values, text));
        return add_boolean(values, literal->integer != 0);
    case VALUE_BOOLEAN:
        MR_TRY(add_string(values, literal->boolean ? MR_STR("true") : MR_STR("false")));
        MR_TRY(add_integer(values, literal->boolean ? MR_STR("1") : MR_STR("0")));
        return add_boolean(values, literal->boolean);
    }
    return MR_OK;
}

mr_err cesql_key_of_literals(mr_arena *arena, mr_str name, const struct value *literals, size_t n,
                             struct cesql_operand *ret_operand) {
    struct values values = {.arena = arena};
    values.items = mr_arena_calloc(arena, n * VALUES_OF_LITERAL, sizeof *values.items);
    if (values.items == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    for (size_t i = 0; i < n; i++) {
        MR_TRY(add_literal(&values, &literals[i]));
    }
    *ret_operand = (struct cesql_operand){
        .kind = OPERAND_KEY, .name = name, .values = values.items, .n_values = values.n};
    return MR_OK;
}

/* `=` casts its left side to the type of its right. Literals cast to an attribute are as in IN. An
 * attribute is cast to a literal only beside a string with an end of values: '010' = 10 is true,
 * and so are endlessly many. */
mr_err cesql_key_of_equal(mr_arena *arena, const struct cesql_operand *left,
                          const struct cesql_operand *right, struct cesql_operand *ret_operand) {
    *ret_operand = (struct cesql_operand){.kind = OPERAND_OTHER};
    if (left->kind == OPERAND_LITERAL && right->kind == OPERAND_ATTRIBUTE) {
        return cesql_key_of_literals(arena, right->name, &left->literal, 1, ret_operand);
    }
    if (left->kind == OPERAND_ATTRIBUTE && right->kind == OPERAND_LITERAL &&
        right->literal.type == VALUE_STRING) {
        return cesql_key_of_literals(arena, left->name, &right->literal, 1, ret_operand);
    }
    return MR_OK;
}

/* Both must hold: either serves. The type is the worse one, rules are found by type already. */
void cesql_key_of_and(struct cesql_operand *left, const struct cesql_operand *right) {
    bool left_serves = left->kind == OPERAND_KEY && !mr_str_eq(left->name, MR_STR("type"));
    if (!left_serves && right->kind == OPERAND_KEY) {
        *left = *right;
    } else if (left->kind != OPERAND_KEY) {
        *left = (struct cesql_operand){.kind = OPERAND_OTHER};
    }
}
