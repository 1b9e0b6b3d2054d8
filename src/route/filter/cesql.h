/* CloudEvents SQL v1 (github.com/cloudevents/spec, cesql/spec.md, version 1.0.0) for the filter
 * machine: its words, its instructions, its functions, its casts. Private to route/filter/. */
#ifndef MR_ROUTE_FILTER_CESQL_H
#define MR_ROUTE_FILTER_CESQL_H

#include "route/filter/machine.h"

/* Limits of one expression; a refusal names them as here, in lower case. */
#define CESQL_TOKENS_MAX 2048u
#define CESQL_DEPTH_MAX  64u /* parentheses, arguments and unary operators inside one another */

/* --- tokens ------------------------------------------------------------------------------------*/

enum cesql_token_kind {
    TOKEN_END = 0,
    TOKEN_NAME,    /* letters, digits, underscores: an attribute, a function */
    TOKEN_INTEGER, /* digits, without a sign */
    TOKEN_STRING,  /* with its quotes */
    TOKEN_TRUE,
    TOKEN_FALSE,
    TOKEN_NOT,
    TOKEN_AND,
    TOKEN_OR,
    TOKEN_XOR,
    TOKEN_LIKE,
    TOKEN_EXISTS,
    TOKEN_IN,
    TOKEN_OPEN,
    TOKEN_CLOSE,
    TOKEN_COMMA,
    TOKEN_STAR,
    TOKEN_SLASH,
    TOKEN_PERCENT,
    TOKEN_PLUS,
    TOKEN_MINUS,
    TOKEN_EQUAL,
    TOKEN_NOT_EQUAL,
    TOKEN_LESS,
    TOKEN_LESS_EQUAL,
    TOKEN_GREATER,
    TOKEN_GREATER_EQUAL,
};
struct cesql_token {
    enum cesql_token_kind kind;
    mr_str text;     /* a slice of the expression; of END empty, at its end */
    uint32_t line;   /* from 1 */
    uint32_t column; /* from 1, in characters */
};

/* Reads tokens off an expression one by one. */
struct cesql_lexer {
    mr_str text; /* valid UTF-8 */
    size_t at;
    uint32_t line, column; /* of `at` */
};
/* Takes the next token. On false *ret_token is the place and *ret_expected what is missing there.
 */
bool cesql_next(struct cesql_lexer *lexer, struct cesql_token *ret_token,
                const char **ret_expected);

/* --- instructions ------------------------------------------------------------------------------
 * Every one that may fail has in `pointer` the text "line 1, column 2". An operator that takes a
 * missing attribute gives the zero value of its type and does nothing else (specification, 3.2). */

enum cesql_op {
    CESQL_ATTRIBUTE = OP_CESQL, /* slot: name; pushes its value, or a missing one and an error */
    CESQL_EXISTS,               /* slot: name */
    CESQL_NOT,
    CESQL_NEGATE,
    CESQL_ADD,
    CESQL_SUBTRACT,
    CESQL_MULTIPLY,
    CESQL_DIVIDE,
    CESQL_MODULO,
    CESQL_LESS,
    CESQL_LESS_EQUAL,
    CESQL_GREATER,
    CESQL_GREATER_EQUAL,
    CESQL_EQUAL,   /* NEGATED: != */
    CESQL_AND,     /* behind the left operand: false stays and jumps `to`, true is dropped */
    CESQL_OR,      /* the other way round */
    CESQL_BOOLEAN, /* behind the right operand of both */
    CESQL_XOR,
    CESQL_LIKE,    /* slot: pattern; NEGATED */
    CESQL_IN_LEFT, /* a missing left operand jumps `to` */
    CESQL_IN_ITEM, /* drops an item; one that is equal decides and jumps `to`; NEGATED */
    CESQL_IN_END,  /* none was; NEGATED */
    CESQL_CALL,    /* slot: function, n: arguments */
};
#define CESQL_NEGATED 1u

/* In a pattern of LIKE as CESQL_LIKE has it: bytes that no UTF-8 has. */
#define CESQL_ANY      '\xff' /* % */
#define CESQL_ANY_CHAR '\xfe' /* _ */

/* --- functions ---------------------------------------------------------------------------------*/

/* The function of that name (case ignored) and number of arguments, or UINT16_MAX. */
uint16_t cesql_function_find(mr_str name, size_t n_args);
/* For a refusal: what there is of that name, or all names. */
mr_err cesql_function_hint(mr_str name, mr_buf *out);
/* Executes CESQL_CALL. False: stop. */
bool cesql_call(struct filter_run *run, const struct insn *insn);

/* --- values ------------------------------------------------------------------------------------*/

/* Casts (specification, 3.7). False where the text is none. */
bool cesql_text_to_integer(mr_str text, int32_t *ret_n);
bool cesql_text_to_boolean(mr_str text, bool *ret_b);
/* Casts *value in place; where it cannot, it becomes the type's zero value and a CastError is
 * noted. False: no room for its text, stop. */
bool cesql_cast(struct filter_run *run, const struct insn *insn, enum value_type type,
                struct value *value);
/* Notes an error with the instruction's place before the message. */
void cesql_error(struct filter_run *run, const struct insn *insn, enum machine_error_kind kind,
                 const char *message, mr_str subject);
/* The type's zero value. */
struct value cesql_zero(enum value_type type);
/* Whether two values of one type are equal. */
bool cesql_equal(const struct value *a, const struct value *b);

/* --- characters --------------------------------------------------------------------------------*/

/* Characters of valid UTF-8. */
size_t cesql_length(mr_str text);
/* The byte where the n-th character (from 0) begins; text.len behind the last. */
size_t cesql_offset(mr_str text, size_t n);
/* Without Unicode's white space (property White_Space) at both ends. */
mr_str cesql_trim(mr_str text);
/* Upper or lower case by Unicode's mappings that need no context; writes to out unless it is NULL;
 * returns the bytes. */
size_t cesql_change_case(mr_str text, bool to_upper, char *out);

#endif
