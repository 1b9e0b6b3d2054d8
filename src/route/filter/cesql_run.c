/* The operators of CloudEvents SQL on the machine's stack. "Every operator and function is total":
 * each gives a value, errors are noted beside it and evaluation goes on (specification, 3.3). It
 * stops only where the machine's own limits are reached.
 *
 * A missing attribute lies on the stack as a missing value. The operator that takes it gives the
 * zero value of its own type and does nothing else: `1 / missing` is no division by zero. From then
 * on it is a value like any other.
 *
 * Integers have 32 bits. The specification leaves open what `+`, `-`, `*`, `/` and unary minus do
 * beyond them; here as in ABS it is a MathError, and the value is zero. */
#include "route/filter/cesql.h"

#include <stdio.h>

#define LIKE_STEPS 64u /* between two charges */

/* --- errors ------------------------------------------------------------------------------------*/

static char *put(char *at, mr_str text) {
    memcpy(at, text.ptr != NULL ? text.ptr : "", text.len);
    return at + text.len;
}

/* Where the text would be cut inside a character, before it. */
static mr_str shorten(mr_str text, size_t len) {
    if (text.len <= len) {
        return text;
    }
    while (len > 0 && ((unsigned char)text.ptr[len] & 0xc0) == 0x80) {
        len--;
    }
    return mr_str_of(text.ptr, len);
}

void cesql_error(struct filter_run *run, const struct insn *insn, enum machine_error_kind kind,
                 const char *message, mr_str subject) {
    mr_str place = run->filter->texts[insn->pointer];
    mr_str text = mr_str_c(message);
    if (run->n_errors >= MACHINE_ERRORS_MAX) {
        machine_error(run, kind, text); /* counted only */
        return;
    }
    subject = shorten(subject, 64);
    size_t len = place.len + 2 + text.len + subject.len;
    char *at = mr_arena_alloc(&run->arena, len);
    if (at == NULL) {
        machine_error(run, kind, text);
        return;
    }
    mr_str whole = mr_str_of(at, len);
    at = put(put(at, place), MR_STR(": "));
    put(put(at, text), subject);
    machine_error(run, kind, whole);
}

/* --- values and casts --------------------------------------------------------------------------*/

struct value cesql_zero(enum value_type type) {
    return (struct value){.type = type, .string = MR_STR("")};
}

static struct value boolean(bool b) {
    return (struct value){.type = VALUE_BOOLEAN, .boolean = b};
}

static struct value integer(int32_t n) {
    return (struct value){.type = VALUE_INTEGER, .integer = n};
}

static struct value string(mr_str text) {
    return (struct value){.type = VALUE_STRING, .string = text};
}

bool cesql_equal(const struct value *a, const struct value *b) {
    switch (a->type) {
    case VALUE_STRING:
        return mr_str_eq(a->string, b->string);
    case VALUE_INTEGER:
        return a->integer == b->integer;
    case VALUE_BOOLEAN:
        return a->boolean == b->boolean;
    }
    return false;
}

bool cesql_text_to_integer(mr_str text, int32_t *ret_n) {
    size_t at = text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+');
    bool is_negative = at == 1 && text.ptr[0] == '-';
    int64_t n = 0;
    if (at == text.len) {
        return false;
    }
    for (; at < text.len; at++) {
        if (text.ptr[at] < '0' || text.ptr[at] > '9') {
            return false;
        }
        n = n * 10 + (text.ptr[at] - '0');
        if (n > -(int64_t)INT32_MIN) {
            return false;
        }
    }
    n = is_negative ? -n : n;
    if (n > INT32_MAX) {
        return false;
    }
    *ret_n = (int32_t)n;
    return true;
}

bool cesql_text_to_boolean(mr_str text, bool *ret_b) {
    bool is_true = mr_str_eq_nocase(text, MR_STR("true"));
    if (!is_true && !mr_str_eq_nocase(text, MR_STR("false"))) {
        return false;
    }
    *ret_b = is_true;
    return true;
}

static bool cast_to_string(struct filter_run *run, struct value *value) {
    if (value->type == VALUE_BOOLEAN) {
        *value = string(value->boolean ? MR_STR("true") : MR_STR("false"));
        return true;
    }
    char digits[16];
    int len = snprintf(digits, sizeof digits, "%d", value->integer);
    char *text = machine_text(run, (size_t)len);
    if (text == NULL) {
        return false;
    }
    memcpy(text, digits, (size_t)len);
    *value = string(mr_str_of(text, (size_t)len));
    return true;
}

bool cesql_cast(struct filter_run *run, const struct insn *insn, enum value_type type,
                struct value *value) {
    struct value from = *value;
    if (from.type == type) {
        return true;
    }
    *value = cesql_zero(type);
    switch (type) {
    case VALUE_STRING:
        *value = from;
        return cast_to_string(run, value);
    case VALUE_INTEGER:
        if (from.type == VALUE_BOOLEAN) {
            value->integer = from.boolean;
        } else if (!cesql_text_to_integer(from.string, &value->integer)) {
            cesql_error(run, insn, MACHINE_CAST, "this string is no Integer: ", from.string);
        }
        return true;
    case VALUE_BOOLEAN:
        if (from.type == VALUE_INTEGER) {
            value->boolean = from.integer != 0;
        } else if (!cesql_text_to_boolean(from.string, &value->boolean)) {
            cesql_error(run, insn, MACHINE_CAST, "this string is no Boolean: ", from.string);
        }
        return true;
    }
    return true;
}

/* Takes n operands off the stack; where one is missing, pushes the zero value and says so. */
static bool takes_missing(struct filter_run *run, size_t n, enum value_type type,
                          struct value *operands) {
    bool missing = false;
    for (size_t i = n; i > 0; i--) {
        operands[i - 1] = machine_pop(run);
        missing = missing || operands[i - 1].is_missing;
    }
    if (missing) {
        machine_push(run, cesql_zero(type));
    }
    return missing;
}

/* --- attributes --------------------------------------------------------------------------------*/

static void push_attribute(struct filter_run *run, const struct insn *insn) {
    mr_str name = run->filter->texts[insn->slot];
    const struct filter_attribute *attribute = machine_attribute(run, name);
    if (attribute == NULL) {
        struct value missing = boolean(false);
        missing.is_missing = true;
        cesql_error(run, insn, MACHINE_MISSING_ATTRIBUTE, "the event has no attribute ", name);
        machine_push(run, missing);
        return;
    }
    struct value value = string(attribute->text);
    int32_t n;
    bool b;
    if (attribute->type == FILTER_INTEGER && cesql_text_to_integer(attribute->text, &n)) {
        value = integer(n);
    } else if (attribute->type == FILTER_BOOLEAN && cesql_text_to_boolean(attribute->text, &b)) {
        value = boolean(b);
    }
    machine_push(run, value);
}

/* --- operators ---------------------------------------------------------------------------------*/

static bool step_unary(struct filter_run *run, const struct insn *insn) {
    struct value x;
    bool is_not = insn->op == CESQL_NOT;
    enum value_type type = is_not ? VALUE_BOOLEAN : VALUE_INTEGER;
    if (takes_missing(run, 1, type, &x)) {
        return true;
    }
    if (!cesql_cast(run, insn, type, &x)) {
        return false;
    }
    if (is_not) {
        x.boolean = !x.boolean;
    } else if (__builtin_sub_overflow(0, x.integer, &x.integer)) {
        x.integer = 0;
        cesql_error(run, insn, MACHINE_MATH, "the result is beyond 32 bits", MR_STR(""));
    }
    machine_push(run, x);
    return true;
}

/* NULL, or why not. */
static const char *calculate(unsigned op, int32_t x, int32_t y, int32_t *ret_n) {
    bool over = false;
    if (op == CESQL_ADD) {
        over = __builtin_add_overflow(x, y, ret_n);
    } else if (op == CESQL_SUBTRACT) {
        over = __builtin_sub_overflow(x, y, ret_n);
    } else if (op == CESQL_MULTIPLY) {
        over = __builtin_mul_overflow(x, y, ret_n);
    } else if (y == 0) {
        return "division by zero";
    } else if (op == CESQL_MODULO) {
        *ret_n = y == -1 ? 0 : x % y; /* INT32_MIN % -1 would trap */
    } else {
        over = x == INT32_MIN && y == -1;
        *ret_n = over ? 0 : x / y;
    }
    return over ? "the result is beyond 32 bits" : NULL;
}

static bool step_arithmetic(struct filter_run *run, const struct insn *insn) {
    struct value xy[2];
    if (takes_missing(run, 2, VALUE_INTEGER, xy)) {
        return true;
    }
    if (!cesql_cast(run, insn, VALUE_INTEGER, &xy[0]) ||
        !cesql_cast(run, insn, VALUE_INTEGER, &xy[1])) {
        return false;
    }
    int32_t n = 0;
    const char *problem = calculate(insn->op, xy[0].integer, xy[1].integer, &n);
    if (problem != NULL) {
        n = 0;
        cesql_error(run, insn, MACHINE_MATH, problem, MR_STR(""));
    }
    machine_push(run, integer(n));
    return true;
}

static bool step_order(struct filter_run *run, const struct insn *insn) {
    struct value xy[2];
    if (takes_missing(run, 2, VALUE_BOOLEAN, xy)) {
        return true;
    }
    if (!cesql_cast(run, insn, VALUE_INTEGER, &xy[0]) ||
        !cesql_cast(run, insn, VALUE_INTEGER, &xy[1])) {
        return false;
    }
    int32_t x = xy[0].integer, y = xy[1].integer;
    bool holds = insn->op == CESQL_LESS         ? x < y
                 : insn->op == CESQL_LESS_EQUAL ? x <= y
                 : insn->op == CESQL_GREATER    ? x > y
                                                : x >= y;
    machine_push(run, boolean(holds));
    return true;
}

static bool step_equal(struct filter_run *run, const struct insn *insn) {
    struct value xy[2];
    if (takes_missing(run, 2, VALUE_BOOLEAN, xy)) {
        return true;
    }
    if (!cesql_cast(run, insn, xy[1].type, &xy[0]) ||
        !machine_charge(run, xy[1].type == VALUE_STRING ? xy[1].string.len / 16 : 0)) {
        return false;
    }
    machine_push(run, boolean(cesql_equal(&xy[0], &xy[1]) != ((insn->flags & CESQL_NEGATED) != 0)));
    return true;
}

/* Casts the operand on top; a missing one is false. */
static bool top_to_boolean(struct filter_run *run, const struct insn *insn, bool *ret_missing) {
    struct value *top = &run->stack[run->n_stack - 1];
    *ret_missing = top->is_missing;
    if (top->is_missing) {
        *top = boolean(false);
    }
    return cesql_cast(run, insn, VALUE_BOOLEAN, top);
}

/* Behind the left operand. A missing one decides too: the whole is false then. */
static bool step_left(struct filter_run *run, const struct insn *insn) {
    bool missing;
    if (!top_to_boolean(run, insn, &missing)) {
        return false;
    }
    if (missing || run->stack[run->n_stack - 1].boolean == (insn->op == CESQL_OR)) {
        run->at = insn->to;
    } else {
        (void)machine_pop(run);
    }
    return true;
}

static bool step_xor(struct filter_run *run, const struct insn *insn) {
    struct value xy[2];
    if (takes_missing(run, 2, VALUE_BOOLEAN, xy)) {
        return true;
    }
    if (!cesql_cast(run, insn, VALUE_BOOLEAN, &xy[0]) ||
        !cesql_cast(run, insn, VALUE_BOOLEAN, &xy[1])) {
        return false;
    }
    machine_push(run, boolean(xy[0].boolean != xy[1].boolean));
    return true;
}

/* --- LIKE --------------------------------------------------------------------------------------*/

static bool is_inside_char(mr_str text, size_t at) {
    return at < text.len && ((unsigned char)text.ptr[at] & 0xc0) == 0x80;
}

/* From left to right; where it fails behind a %, that % takes one byte more. Only the last % is
 * ever asked again: what an earlier one took is never better. False: the budget is used up. */
static bool like(struct filter_run *run, mr_str text, mr_str pattern, bool *ret_holds) {
    size_t t = 0, p = 0, any_p = SIZE_MAX, any_t = 0;
    for (size_t steps = 1;; steps++) {
        if (steps % LIKE_STEPS == 0 && !machine_charge(run, LIKE_STEPS / 4)) {
            return false;
        }
        if (p < pattern.len && pattern.ptr[p] == CESQL_ANY) {
            any_p = ++p;
            any_t = t;
        } else if (p < pattern.len && t < text.len && pattern.ptr[p] == CESQL_ANY_CHAR &&
                   !is_inside_char(text, t)) {
            p++;
            do {
                t++;
            } while (is_inside_char(text, t));
        } else if (p < pattern.len && t < text.len && pattern.ptr[p] == text.ptr[t]) {
            p++;
            t++;
        } else if (p == pattern.len && t == text.len) {
            *ret_holds = true;
            return true;
        } else if (any_p != SIZE_MAX && any_t < text.len) {
            p = any_p;
            t = ++any_t;
        } else {
            *ret_holds = false;
            return true;
        }
    }
}

static bool step_like(struct filter_run *run, const struct insn *insn) {
    struct value x;
    bool holds;
    if (takes_missing(run, 1, VALUE_BOOLEAN, &x)) {
        return true;
    }
    if (!cesql_cast(run, insn, VALUE_STRING, &x) ||
        !like(run, x.string, run->filter->texts[insn->slot], &holds)) {
        return false;
    }
    machine_push(run, boolean(holds != ((insn->flags & CESQL_NEGATED) != 0)));
    return true;
}

/* --- IN ----------------------------------------------------------------------------------------*/

static void decide(struct filter_run *run, const struct insn *insn, bool is_in) {
    struct value result = boolean(is_in != ((insn->flags & CESQL_NEGATED) != 0));
    run->stack[run->n_stack - 1] = result;
}

/* The left operand lies below its items. A missing item makes the whole false as a missing left
 * operand does; items behind one that is equal are not looked at. */
static bool step_in(struct filter_run *run, const struct insn *insn) {
    if (insn->op == CESQL_IN_LEFT) {
        if (run->stack[run->n_stack - 1].is_missing) {
            run->stack[run->n_stack - 1] = boolean(false);
            run->at = insn->to;
        }
        return true;
    }
    if (insn->op == CESQL_IN_END) {
        decide(run, insn, false);
        return true;
    }
    struct value item = machine_pop(run);
    struct value *left = &run->stack[run->n_stack - 1];
    if (item.is_missing) {
        *left = boolean(false);
        run->at = insn->to;
        return true;
    }
    if (!cesql_cast(run, insn, left->type, &item) ||
        !machine_charge(run, left->type == VALUE_STRING ? left->string.len / 16 : 0)) {
        return false;
    }
    if (cesql_equal(left, &item)) {
        decide(run, insn, true);
        run->at = insn->to;
    }
    return true;
}

bool cesql_step(struct filter_run *run, const struct insn *insn) {
    bool ignored;
    switch ((enum cesql_op)insn->op) {
    case CESQL_ATTRIBUTE:
        push_attribute(run, insn);
        return true;
    case CESQL_EXISTS:
        machine_push(run, boolean(machine_attribute(run, run->filter->texts[insn->slot]) != NULL));
        return true;
    case CESQL_NOT:
    case CESQL_NEGATE:
        return step_unary(run, insn);
    case CESQL_ADD:
    case CESQL_SUBTRACT:
    case CESQL_MULTIPLY:
    case CESQL_DIVIDE:
    case CESQL_MODULO:
        return step_arithmetic(run, insn);
    case CESQL_LESS:
    case CESQL_LESS_EQUAL:
    case CESQL_GREATER:
    case CESQL_GREATER_EQUAL:
        return step_order(run, insn);
    case CESQL_EQUAL:
        return step_equal(run, insn);
    case CESQL_AND:
    case CESQL_OR:
        return step_left(run, insn);
    case CESQL_BOOLEAN:
        return top_to_boolean(run, insn, &ignored);
    case CESQL_XOR:
        return step_xor(run, insn);
    case CESQL_LIKE:
        return step_like(run, insn);
    case CESQL_IN_LEFT:
    case CESQL_IN_ITEM:
    case CESQL_IN_END:
        return step_in(run, insn);
    case CESQL_CALL:
        return cesql_call(run, insn);
    }
    return false;
}
