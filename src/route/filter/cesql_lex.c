/* Words of CloudEvents SQL. White space is space, tab, CR and LF; keywords ignore case.
 *
 * In a string a backslash and the character behind it belong together, so that `\'` does not end
 * it. A minus or plus never belongs to an integer here: which it is, sign or operator, the parser
 * knows. */
#include "route/filter/cesql.h"

static const struct {
    const char *word;
    enum cesql_token_kind kind;
} keywords[] = {
    {"TRUE", TOKEN_TRUE}, {"FALSE", TOKEN_FALSE}, {"NOT", TOKEN_NOT},
    {"AND", TOKEN_AND},   {"OR", TOKEN_OR},       {"XOR", TOKEN_XOR},
    {"LIKE", TOKEN_LIKE}, {"IN", TOKEN_IN},       {"EXISTS", TOKEN_EXISTS},
};

/* The longer ones first. */
static const struct {
    const char *sign;
    enum cesql_token_kind kind;
} signs[] = {
    {"!=", TOKEN_NOT_EQUAL},     {"<>", TOKEN_NOT_EQUAL}, {"<=", TOKEN_LESS_EQUAL},
    {">=", TOKEN_GREATER_EQUAL}, {"=", TOKEN_EQUAL},      {"<", TOKEN_LESS},
    {">", TOKEN_GREATER},        {"(", TOKEN_OPEN},       {")", TOKEN_CLOSE},
    {",", TOKEN_COMMA},          {"*", TOKEN_STAR},       {"/", TOKEN_SLASH},
    {"%", TOKEN_PERCENT},        {"+", TOKEN_PLUS},       {"-", TOKEN_MINUS},
};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_';
}

/* Goes n bytes on and keeps count of lines and characters. */
static void advance(struct cesql_lexer *lexer, size_t n) {
    for (size_t end = lexer->at + n; lexer->at < end; lexer->at++) {
        char c = lexer->text.ptr[lexer->at];
        if (c == '\n') {
            lexer->line++;
            lexer->column = 1;
        } else if (((unsigned char)c & 0xc0) != 0x80) {
            lexer->column++;
        }
    }
}

static void skip_space(struct cesql_lexer *lexer) {
    size_t end = lexer->at;
    while (end < lexer->text.len) {
        char c = lexer->text.ptr[end];
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
            break;
        }
        end++;
    }
    advance(lexer, end - lexer->at);
}

static enum cesql_token_kind kind_of_word(mr_str word) {
    bool digits = true;
    for (size_t i = 0; i < word.len; i++) {
        digits = digits && is_digit(word.ptr[i]);
    }
    if (digits) {
        return TOKEN_INTEGER;
    }
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++) {
        if (mr_str_eq_nocase(word, mr_str_c(keywords[i].word))) {
            return keywords[i].kind;
        }
    }
    return TOKEN_NAME;
}

/* The bytes of the string that begins the text, quotes included; 0: it does not end. */
static size_t string_len(mr_str text) {
    for (size_t i = 1; i < text.len; i++) {
        if (text.ptr[i] == '\\') {
            i++;
        } else if (text.ptr[i] == text.ptr[0]) {
            return i + 1;
        }
    }
    return 0;
}

bool cesql_next(struct cesql_lexer *lexer, struct cesql_token *ret_token,
                const char **ret_expected) {
    skip_space(lexer);
    mr_str rest = mr_str_slice(lexer->text, lexer->at, lexer->text.len);
    struct cesql_token token = {TOKEN_END, mr_str_slice(rest, 0, 0), lexer->line, lexer->column};
    *ret_token = token;
    if (rest.len == 0) {
        return true;
    }
    size_t len = 0;
    if (rest.ptr[0] == '\'' || rest.ptr[0] == '"') {
        len = string_len(rest);
        if (len == 0) {
            *ret_expected =
                rest.ptr[0] == '"' ? "the \" that ends this string" : "the ' that ends this string";
            return false;
        }
        token.kind = TOKEN_STRING;
    } else if (is_word(rest.ptr[0])) {
        while (len < rest.len && is_word(rest.ptr[len])) {
            len++;
        }
        token.kind = kind_of_word(mr_str_slice(rest, 0, len));
    } else {
        for (size_t i = 0; len == 0 && i < sizeof signs / sizeof signs[0]; i++) {
            if (mr_str_starts(rest, mr_str_c(signs[i].sign))) {
                token.kind = signs[i].kind;
                len = strlen(signs[i].sign);
            }
        }
        if (len == 0) {
            *ret_expected = "an operator, a value or an attribute's name";
            return false;
        }
    }
    token.text = mr_str_slice(rest, 0, len);
    advance(lexer, len);
    *ret_token = token;
    return true;
}
