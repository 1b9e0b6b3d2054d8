/* Reads a CloudEvents SQL expression and writes its program as it goes: a stack machine takes
 * operands before their operator, which is the order in which they are read. So there is no tree;
 * what is open lies in the calls, at most CESQL_DEPTH_MAX of them times the levels of precedence.
 *
 * Precedence (specification, 3.6): function calls; NOT and minus; LIKE, EXISTS, IN; * / %; + -;
 * comparisons; AND OR XOR. Within each of them from left to right, AND, OR and XOR too: `a AND b
 * OR c` is `(a AND b) OR c`, and `a OR b AND c` is `(a OR b) AND c`.
 *
 * Beside the code, every part tells what it is, for the index (cesql_key.h). */
#include "route/filter/cesql_key.h"

#include <stdarg.h>
#include <stdio.h>

#define ARENA_MAX ((size_t)1 << 20)

struct parser {
    struct cesql_lexer lexer;
    struct cesql_token token; /* not yet taken */
    struct program program;
    mr_arena arena; /* literals, key values */
    uint32_t depth, n_tokens;
    uint32_t n_stack; /* values on the stack at this point of the program */
    struct filter_fault *fault;
    mr_err err; /* no memory */
};

/* --- refusing ----------------------------------------------------------------------------------*/

__attribute__((format(printf, 3, 4))) static bool
refuse(struct parser *parser, const struct cesql_token *at, const char *format, ...) {
    va_list args;
    va_start(args, format);
    parser->fault->line = at->line;
    parser->fault->column = at->column;
    vsnprintf(parser->fault->expected, sizeof parser->fault->expected, format, args);
    va_end(args);
    return false;
}

static bool no_memory(struct parser *parser) {
    parser->err = MR_ERR(MR_E_NOMEM);
    return false;
}

static bool keyed(struct parser *parser, mr_err err) {
    return mr_is_ok(err) || no_memory(parser);
}

static bool next(struct parser *parser) {
    const char *expected = "";
    if (!cesql_next(&parser->lexer, &parser->token, &expected)) {
        return refuse(parser, &parser->token, "%s", expected);
    }
    if (++parser->n_tokens > CESQL_TOKENS_MAX) {
        return refuse(parser, &parser->token, "at most %u words and signs (cesql_tokens_max)",
                      CESQL_TOKENS_MAX);
    }
    return true;
}

static bool expect(struct parser *parser, enum cesql_token_kind kind, const char *expected) {
    return parser->token.kind == kind ? next(parser)
                                      : refuse(parser, &parser->token, "%s", expected);
}

static bool deeper(struct parser *parser, const struct cesql_token *at) {
    if (++parser->depth > CESQL_DEPTH_MAX) {
        return refuse(parser, at, "at most %u parts inside one another (cesql_depth_max)",
                      CESQL_DEPTH_MAX);
    }
    return true;
}

/* --- writing the program -----------------------------------------------------------------------*/

/* An instruction that takes `pops` values and gives one; *ret_number may be NULL. */
static bool emit(struct parser *parser, const struct cesql_token *at, struct insn insn,
                 uint32_t pops, uint32_t *ret_number) {
    char place[64];
    int len = snprintf(place, sizeof place, "line %u, column %u", at->line, at->column);
    insn.pointer = program_text(&parser->program, mr_str_of(place, (size_t)len));
    MR_ASSERT(parser->n_stack >= pops);
    parser->n_stack += 1 - pops;
    if (parser->n_stack > MACHINE_STACK_MAX) {
        return refuse(parser, at, "at most %u values at once (cesql_stack_max)", MACHINE_STACK_MAX);
    }
    if (parser->n_stack > parser->program.stack_max) {
        parser->program.stack_max = parser->n_stack;
    }
    uint32_t number = program_insn(&parser->program, insn);
    if (ret_number != NULL) {
        *ret_number = number;
    }
    return true;
}

static bool emit_op(struct parser *parser, const struct cesql_token *at, enum cesql_op op,
                    uint8_t flags, uint32_t pops) {
    return emit(parser, at, (struct insn){.op = (uint8_t)op, .flags = flags}, pops, NULL);
}

static bool emit_literal(struct parser *parser, const struct cesql_token *at, struct value value,
                         struct cesql_operand *ret_operand) {
    *ret_operand = (struct cesql_operand){.kind = OPERAND_LITERAL, .literal = value};
    uint16_t slot = program_value(&parser->program, value);
    return emit(parser, at, (struct insn){.op = OP_PUSH, .slot = slot}, 0, NULL);
}

/* --- values ------------------------------------------------------------------------------------*/

static bool parse_binary(struct parser *parser, unsigned level, struct cesql_operand *ret_operand);

static bool parse_expression(struct parser *parser, struct cesql_operand *ret_operand) {
    return parse_binary(parser, 0, ret_operand);
}

/* The text of a string token: \' stands for ' in '…', \" for " in "…"; every other backslash for
 * itself. */
static bool text_of_string(struct parser *parser, mr_str token, mr_str *ret_text) {
    char *out = mr_arena_alloc(&parser->arena, token.len);
    if (out == NULL) {
        return no_memory(parser);
    }
    size_t len = 0;
    for (size_t i = 1; i + 1 < token.len; i++) {
        if (token.ptr[i] == '\\') {
            if (token.ptr[i + 1] != token.ptr[0]) {
                out[len++] = '\\';
            }
            i++;
        }
        out[len++] = token.ptr[i];
    }
    *ret_text = mr_str_of(out, len);
    return true;
}

static bool parse_string(struct parser *parser, struct cesql_operand *ret_operand) {
    struct cesql_token token = parser->token;
    struct value value = {.type = VALUE_STRING};
    return text_of_string(parser, token.text, &value.string) && next(parser) &&
           emit_literal(parser, &token, value, ret_operand);
}

/* digits: the present token; sign: a token directly before it, or NULL. */
static bool parse_integer(struct parser *parser, const struct cesql_token *sign,
                          struct cesql_operand *ret_operand) {
    struct cesql_token token = parser->token;
    mr_str text = token.text;
    if (sign != NULL) {
        text = mr_str_of(sign->text.ptr, text.len + 1);
        token.line = sign->line;
        token.column = sign->column;
    }
    struct value value = {.type = VALUE_INTEGER};
    if (!cesql_text_to_integer(text, &value.integer)) {
        return refuse(parser, &token, "an integer from -2147483648 to 2147483647");
    }
    return next(parser) && emit_literal(parser, &token, value, ret_operand);
}

static bool check_attribute(struct parser *parser, const struct cesql_token *name) {
    for (size_t i = 0; i < name->text.len; i++) {
        char c = name->text.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) {
            return refuse(parser, name,
                          "an attribute's name: lower-case letters and digits; or ( after a "
                          "function's name");
        }
    }
    return true;
}

static bool emit_attribute(struct parser *parser, const struct cesql_token *name,
                           struct cesql_operand *ret_operand) {
    *ret_operand = (struct cesql_operand){.kind = OPERAND_ATTRIBUTE, .name = name->text};
    uint16_t slot = program_text(&parser->program, name->text);
    return emit(parser, name, (struct insn){.op = CESQL_ATTRIBUTE, .slot = slot}, 0, NULL);
}

/* Expressions with commas between, up to the parenthesis that closes them. */
static bool parse_arguments(struct parser *parser, const struct cesql_token *name) {
    struct cesql_operand ignored;
    uint32_t n = 0;
    if (!deeper(parser, name)) {
        return false;
    }
    while (parser->token.kind != TOKEN_CLOSE) {
        if ((n > 0 && !expect(parser, TOKEN_COMMA, "a comma or )")) ||
            !parse_expression(parser, &ignored)) {
            return false;
        }
        n++;
    }
    parser->depth--;
    uint16_t function = cesql_function_find(name->text, n);
    if (function == UINT16_MAX) {
        mr_buf hint;
        mr_buf_init(&hint, sizeof parser->fault->expected - 1);
        mr_ignore(cesql_function_hint(name->text, &hint), "a hint cut short is one all the same");
        bool refused = refuse(parser, name, "%.*s", MR_FMT(mr_buf_view(&hint)));
        mr_buf_done(&hint);
        return refused;
    }
    return next(parser) &&
           emit(parser, name, (struct insn){.op = CESQL_CALL, .slot = function, .n = n}, n, NULL);
}

static bool parse_name(struct parser *parser, struct cesql_operand *ret_operand) {
    struct cesql_token name = parser->token;
    if (!next(parser)) {
        return false;
    }
    if (parser->token.kind != TOKEN_OPEN) {
        return check_attribute(parser, &name) && emit_attribute(parser, &name, ret_operand);
    }
    *ret_operand = (struct cesql_operand){.kind = OPERAND_OTHER};
    return next(parser) && parse_arguments(parser, &name);
}

static bool parse_exists(struct parser *parser, struct cesql_operand *ret_operand) {
    struct cesql_token exists = parser->token;
    if (!next(parser)) {
        return false;
    }
    struct cesql_token name = parser->token;
    *ret_operand = (struct cesql_operand){.kind = OPERAND_OTHER};
    if (name.kind != TOKEN_NAME) {
        return refuse(parser, &name, "the name of an attribute behind EXISTS");
    }
    uint16_t slot = program_text(&parser->program, name.text);
    return check_attribute(parser, &name) && next(parser) &&
           emit(parser, &exists, (struct insn){.op = CESQL_EXISTS, .slot = slot}, 0, NULL);
}

static bool parse_primary(struct parser *parser, struct cesql_operand *ret_operand) {
    struct cesql_token token = parser->token;
    if (token.kind == TOKEN_STRING) {
        return parse_string(parser, ret_operand);
    }
    if (token.kind == TOKEN_INTEGER) {
        return parse_integer(parser, NULL, ret_operand);
    }
    if (token.kind == TOKEN_TRUE || token.kind == TOKEN_FALSE) {
        struct value value = {.type = VALUE_BOOLEAN, .boolean = token.kind == TOKEN_TRUE};
        return next(parser) && emit_literal(parser, &token, value, ret_operand);
    }
    if (token.kind == TOKEN_NAME) {
        return parse_name(parser, ret_operand);
    }
    if (token.kind == TOKEN_EXISTS) {
        return parse_exists(parser, ret_operand);
    }
    if (token.kind == TOKEN_OPEN) {
        if (!deeper(parser, &token) || !next(parser) || !parse_expression(parser, ret_operand) ||
            !expect(parser, TOKEN_CLOSE, "an operator or )")) {
            return false;
        }
        parser->depth--;
        return true;
    }
    return refuse(parser, &token, "a value, an attribute, a function, NOT, -, EXISTS or (");
}

/* --- operators ---------------------------------------------------------------------------------*/

static bool parse_unary(struct parser *parser, struct cesql_operand *ret_operand) {
    struct cesql_token token = parser->token;
    bool is_sign = token.kind == TOKEN_MINUS || token.kind == TOKEN_PLUS;
    if (!is_sign && token.kind != TOKEN_NOT) {
        return parse_primary(parser, ret_operand);
    }
    if (!deeper(parser, &token) || !next(parser)) {
        return false;
    }
    bool ok;
    if (is_sign && parser->token.kind == TOKEN_INTEGER &&
        parser->token.text.ptr == token.text.ptr + 1) {
        ok = parse_integer(parser, &token, ret_operand);
    } else if (token.kind == TOKEN_PLUS) {
        ok = refuse(parser, &token, "a value, an attribute, a function, NOT, -, EXISTS or (");
    } else {
        ok = parse_unary(parser, ret_operand) &&
             emit_op(parser, &token, token.kind == TOKEN_NOT ? CESQL_NOT : CESQL_NEGATE, 0, 1);
        *ret_operand = (struct cesql_operand){.kind = OPERAND_OTHER};
    }
    parser->depth--;
    return ok;
}

/* % and _ become bytes of their own; \% and \_ the plain characters. */
static mr_str like_pattern(mr_str text, char *out) {
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\\' && i + 1 < text.len && (text.ptr[i + 1] == '%' || text.ptr[i + 1] == '_')) {
            out[len++] = text.ptr[++i];
        } else {
            out[len++] = c == '%' ? CESQL_ANY : c == '_' ? CESQL_ANY_CHAR : c;
        }
    }
    return mr_str_of(out, len);
}

static bool parse_like(struct parser *parser, const struct cesql_token *at, uint8_t flags) {
    mr_str text;
    if (!next(parser)) {
        return false;
    }
    if (parser->token.kind != TOKEN_STRING) {
        return refuse(parser, &parser->token, "a string behind LIKE");
    }
    if (!text_of_string(parser, parser->token.text, &text)) {
        return false;
    }
    char *out = mr_arena_alloc(&parser->arena, text.len + 1);
    if (out == NULL) {
        return no_memory(parser);
    }
    uint16_t slot = program_text(&parser->program, like_pattern(text, out));
    return next(parser) &&
           emit(parser, at, (struct insn){.op = CESQL_LIKE, .flags = flags, .slot = slot}, 1, NULL);
}

/* The items of IN, each followed by its test. literals has room for CESQL_KEY_LITERALS_MAX; *ret_n
 * counts items, UINT32_MAX where one was no literal or there were more. */
static bool parse_items(struct parser *parser, const struct cesql_token *at, uint8_t flags,
                        mr_buf *jumps, struct value *literals, uint32_t *ret_n) {
    *ret_n = 0;
    do {
        struct cesql_operand item;
        uint32_t jump;
        if (!next(parser) || !parse_expression(parser, &item) ||
            !emit(parser, at, (struct insn){.op = CESQL_IN_ITEM, .flags = flags}, 2, &jump)) {
            return false;
        }
        if (mr_is_err(mr_buf_append(jumps, &jump, sizeof jump))) {
            return no_memory(parser);
        }
        if (item.kind != OPERAND_LITERAL || *ret_n >= CESQL_KEY_LITERALS_MAX) { /* or MAX already */
            *ret_n = UINT32_MAX;
        } else {
            literals[(*ret_n)++] = item.literal;
        }
    } while (parser->token.kind == TOKEN_COMMA);
    return expect(parser, TOKEN_CLOSE, "an operator, a comma or )");
}

static bool parse_in(struct parser *parser, const struct cesql_token *at, uint8_t flags,
                     struct cesql_operand *operand) {
    struct value literals[CESQL_KEY_LITERALS_MAX];
    uint32_t n = 0, left = 0;
    if (!next(parser) || !deeper(parser, at)) {
        return false;
    }
    if (parser->token.kind != TOKEN_OPEN) {
        return refuse(parser, &parser->token, "( behind IN");
    }
    mr_buf jumps;
    mr_buf_init(&jumps, CESQL_TOKENS_MAX * sizeof(uint32_t));
    bool ok = emit(parser, at, (struct insn){.op = CESQL_IN_LEFT}, 1, &left) &&
              parse_items(parser, at, flags, &jumps, literals, &n) &&
              emit_op(parser, at, CESQL_IN_END, flags, 1);
    if (ok) {
        program_patch(&parser->program, left);
        for (size_t i = 0; i < jumps.len; i += sizeof(uint32_t)) {
            uint32_t jump;
            memcpy(&jump, jumps.ptr + i, sizeof jump);
            program_patch(&parser->program, jump);
        }
    }
    mr_buf_done(&jumps);
    parser->depth--;
    mr_str name = operand->name;
    bool is_key = operand->kind == OPERAND_ATTRIBUTE && n != UINT32_MAX && flags == 0;
    *operand = (struct cesql_operand){.kind = OPERAND_OTHER};
    return ok && (!is_key ||
                  keyed(parser, cesql_key_of_literals(&parser->arena, name, literals, n, operand)));
}

/* LIKE and IN stand behind their left operand and bind tighter than any operator of two. */
static bool parse_postfix(struct parser *parser, struct cesql_operand *ret_operand) {
    if (!parse_unary(parser, ret_operand)) {
        return false;
    }
    for (;;) {
        struct cesql_token at = parser->token;
        uint8_t flags = 0;
        if (at.kind == TOKEN_NOT) {
            flags = CESQL_NEGATED;
            if (!next(parser)) {
                return false;
            }
        }
        if (parser->token.kind == TOKEN_LIKE) {
            *ret_operand = (struct cesql_operand){.kind = OPERAND_OTHER};
            if (!parse_like(parser, &at, flags)) {
                return false;
            }
        } else if (parser->token.kind == TOKEN_IN) {
            if (!parse_in(parser, &at, flags, ret_operand)) {
                return false;
            }
        } else if (flags != 0) {
            return refuse(parser, &parser->token, "LIKE or IN behind NOT");
        } else {
            return true;
        }
    }
}

static const struct binary {
    enum cesql_token_kind token;
    unsigned level;
    enum cesql_op op;
    uint8_t flags;
} binaries[] = {
    {TOKEN_AND, 0, CESQL_AND, 0},
    {TOKEN_OR, 0, CESQL_OR, 0},
    {TOKEN_XOR, 0, CESQL_XOR, 0},
    {TOKEN_EQUAL, 1, CESQL_EQUAL, 0},
    {TOKEN_NOT_EQUAL, 1, CESQL_EQUAL, CESQL_NEGATED},
    {TOKEN_LESS, 1, CESQL_LESS, 0},
    {TOKEN_LESS_EQUAL, 1, CESQL_LESS_EQUAL, 0},
    {TOKEN_GREATER, 1, CESQL_GREATER, 0},
    {TOKEN_GREATER_EQUAL, 1, CESQL_GREATER_EQUAL, 0},
    {TOKEN_PLUS, 2, CESQL_ADD, 0},
    {TOKEN_MINUS, 2, CESQL_SUBTRACT, 0},
    {TOKEN_STAR, 3, CESQL_MULTIPLY, 0},
    {TOKEN_SLASH, 3, CESQL_DIVIDE, 0},
    {TOKEN_PERCENT, 3, CESQL_MODULO, 0},
};
#define LEVELS 4u

static const struct binary *find_binary(enum cesql_token_kind kind, unsigned level) {
    for (size_t i = 0; i < sizeof binaries / sizeof binaries[0]; i++) {
        if (binaries[i].token == kind) {
            return binaries[i].level == level ? &binaries[i] : NULL;
        }
    }
    return NULL;
}

/* The right operand of AND or OR, jumped over where the left one decides. */
static bool parse_logic(struct parser *parser, const struct cesql_token *at, enum cesql_op op,
                        struct cesql_operand *left) {
    uint32_t jump;
    struct cesql_operand right;
    if (!emit(parser, at, (struct insn){.op = (uint8_t)op}, 1, &jump)) {
        return false;
    }
    parser->n_stack--; /* where it does not jump, it drops the left operand */
    if (!parse_binary(parser, 1, &right) || !emit_op(parser, at, CESQL_BOOLEAN, 0, 1)) {
        return false;
    }
    program_patch(&parser->program, jump);
    if (op == CESQL_AND) {
        cesql_key_of_and(left, &right);
    } else {
        *left = (struct cesql_operand){.kind = OPERAND_OTHER};
    }
    return true;
}

static bool parse_binary(struct parser *parser, unsigned level, struct cesql_operand *ret_operand) {
    if (level == LEVELS) {
        return parse_postfix(parser, ret_operand);
    }
    if (!parse_binary(parser, level + 1, ret_operand)) {
        return false;
    }
    const struct binary *binary;
    while ((binary = find_binary(parser->token.kind, level)) != NULL) {
        struct cesql_token at = parser->token;
        struct cesql_operand right;
        if (!next(parser)) {
            return false;
        }
        if (binary->op == CESQL_AND || binary->op == CESQL_OR) {
            if (!parse_logic(parser, &at, binary->op, ret_operand)) {
                return false;
            }
            continue;
        }
        if (!parse_binary(parser, level + 1, &right) ||
            !emit_op(parser, &at, binary->op, binary->flags, 2)) {
            return false;
        }
        struct cesql_operand left = *ret_operand;
        *ret_operand = (struct cesql_operand){.kind = OPERAND_OTHER};
        if (binary->op == CESQL_EQUAL && binary->flags == 0 &&
            !keyed(parser, cesql_key_of_equal(&parser->arena, &left, &right, ret_operand))) {
            return false;
        }
    }
    return true;
}

/* --- the whole ---------------------------------------------------------------------------------*/

static bool parse_all(struct parser *parser, struct cesql_operand *ret_operand) {
    return next(parser) && parse_expression(parser, ret_operand) &&
           (parser->token.kind == TOKEN_END ||
            refuse(parser, &parser->token, "an operator or the end")) &&
           emit(parser, &parser->token, (struct insn){.op = OP_RESULT}, 1, NULL);
}

static mr_err refuse_whole(struct filter_fault *fault, const char *expected) {
    fault->line = fault->column = 1;
    snprintf(fault->expected, sizeof fault->expected, "%s", expected);
    return MR_ERR(FILTER_E_REFUSED);
}

mr_err filter_compile_cesql(mr_str text, struct filter **ret_filter,
                            struct filter_fault *ret_fault) {
    *ret_fault = (struct filter_fault){0};
    if (text.len > FILTER_CESQL_BYTES_MAX) {
        return refuse_whole(ret_fault, "at most 8192 bytes (cesql_bytes_max)");
    }
    if (!mr_str_is_utf8(text)) {
        return refuse_whole(ret_fault, "valid UTF-8");
    }
    struct parser parser = {.lexer = {text, 0, 1, 1}, .fault = ret_fault};
    struct cesql_operand whole = {.kind = OPERAND_OTHER};
    mr_arena_init(&parser.arena, ARENA_MAX);
    program_init(&parser.program, FORM_CESQL);
    mr_err err = MR_OK;
    if (!parse_all(&parser, &whole)) {
        err = mr_is_err(parser.err) ? parser.err : MR_ERR(FILTER_E_REFUSED);
    } else {
        struct filter_key key = {.path = MR_STR_NONE};
        if (whole.kind == OPERAND_KEY) {
            key = (struct filter_key){whole.name, whole.values, whole.n_values};
        }
        err = program_finish(&parser.program, &key, ret_filter);
        if (mr_err_is(err, MR_E_LIMIT)) {
            err = refuse_whole(ret_fault, "a smaller program (cesql_program_max)");
        }
    }
    program_done(&parser.program);
    mr_arena_done(&parser.arena);
    return err;
}
_Static_assert(FILTER_CESQL_BYTES_MAX == 8192, "the refusal names it");
