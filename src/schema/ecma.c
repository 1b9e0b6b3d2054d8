/* Regular expressions of ECMA-262 (with the flag u, as JSON Schema advises) said to PCRE2, as far
 * as the two agree. A pattern is translated character by character to one that PCRE2 reads the same
 * way:
 *
 *   .          not \n \r U+2028 U+2029
 *   $          the very end (DOLLAR_ENDONLY), never before a last newline
 *   \d \w \b   ASCII in both
 *   \s \S      ECMA's white space, written out
 *   \v \0 \cX \xHH \uHHHH \u{H…} and pairs of surrogates: the code point
 *   [ in a class, { as text: escaped or refused
 *   \p{…}      general categories, scripts and the binary properties that both know
 *
 * Everything else that PCRE2 would read (\A \Z \z \Q \K \h, (?>, (?i), (?#, (*VERB), possessive
 * quantifiers, POSIX classes) is refused or text, as ECMA has it. */
#include "schema/private.h"

struct translator {
    mr_str in;
    size_t at;
    mr_buf *out;
    uint32_t groups;     /* in the whole pattern */
    const char *refused; /* why */
};

static const char space_class[] = "\\x{9}-\\x{d}\\x{20}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}"
                                  "\\x{2029}\\x{202f}\\x{205f}\\x{3000}\\x{feff}";
static const char other_class[] = "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{9f}\\x{a1}-\\x{167f}\\x{"
                                  "1681}-\\x{1fff}\\x{200b}-\\x{2027}"
                                  "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{"
                                  "3001}-\\x{fefe}\\x{ff00}-\\x{10ffff}";

static mr_err fail(struct translator *t, const char *why) {
    t->refused = why;
    return MR_ERR(MR_E_INVALID);
}

static char peek(const struct translator *t, size_t ahead) {
    return t->at + ahead < t->in.len ? t->in.ptr[t->at + ahead] : '\0';
}

static bool at_end(const struct translator *t) {
    return t->at >= t->in.len;
}

static mr_err put(struct translator *t, const char *text) {
    return mr_buf_str(t->out, mr_str_c(text));
}

static mr_err put_point(struct translator *t, uint32_t point) {
    return mr_buf_printf(t->out, "\\x{%x}", point);
}

static uint32_t hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return (uint32_t)(c - '0');
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10 : 16;
}

/* n hex digits at `from`. */
static bool read_hex(const struct translator *t, size_t from, size_t n, uint32_t *ret_value) {
    uint32_t value = 0;
    if (from + n > t->in.len) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t digit = hex_digit(t->in.ptr[from + i]);
        if (digit > 15) {
            return false;
        }
        value = value << 4 | digit;
    }
    *ret_value = value;
    return true;
}

/* \uHHHH, \uHHHH\uHHHH or \u{H…}; `at` stands behind the u. */
static mr_err read_unicode(struct translator *t, uint32_t *ret_point) {
    uint32_t point = 0;
    uint32_t low;
    if (peek(t, 0) == '{') {
        size_t close = mr_str_find_byte(t->in, '}', t->at);
        size_t digits = close == SIZE_MAX ? 0 : close - t->at - 1;
        while (digits > 6 && t->in.ptr[t->at + 1] == '0') {
            t->at++;
            digits--;
        }
        if (digits == 0 || digits > 6 || !read_hex(t, t->at + 1, digits, &point) ||
            point > 0x10FFFF) {
            return fail(t, "a code point behind \\u{");
        }
        t->at = close + 1;
    } else {
        if (!read_hex(t, t->at, 4, &point)) {
            return fail(t, "four hex digits behind \\u");
        }
        t->at += 4;
        if (point >= 0xD800 && point <= 0xDBFF && peek(t, 0) == '\\' && peek(t, 1) == 'u' &&
            read_hex(t, t->at + 2, 4, &low) && low >= 0xDC00 && low <= 0xDFFF) {
            point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
            t->at += 6;
        }
    }
    if (point >= 0xD800 && point <= 0xDFFF) {
        return fail(t, "no surrogate without its other half");
    }
    *ret_point = point;
    return MR_OK;
}

/* Properties of one value or two that ECMA-262 and PCRE2 call the same; the long names of general
 * categories, which PCRE2 lacks, with their short ones. */
static const char *const categories[][2] = {
    {"L", "Letter"},
    {"Lu", "Uppercase_Letter"},
    {"Ll", "Lowercase_Letter"},
    {"Lt", "Titlecase_Letter"},
    {"Lm", "Modifier_Letter"},
    {"Lo", "Other_Letter"},
    {"L&", "LC"},
    {"L&", "Cased_Letter"},
    {"M", "Mark"},
    {"M", "Combining_Mark"},
    {"Mn", "Nonspacing_Mark"},
    {"Mc", "Spacing_Mark"},
    {"Me", "Enclosing_Mark"},
    {"N", "Number"},
    {"Nd", "Decimal_Number"},
    {"Nd", "digit"},
    {"Nl", "Letter_Number"},
    {"No", "Other_Number"},
    {"P", "Punctuation"},
    {"P", "punct"},
    {"Pc", "Connector_Punctuation"},
    {"Pd", "Dash_Punctuation"},
    {"Ps", "Open_Punctuation"},
    {"Pe", "Close_Punctuation"},
    {"Pi", "Initial_Punctuation"},
    {"Pf", "Final_Punctuation"},
    {"Po", "Other_Punctuation"},
    {"S", "Symbol"},
    {"Sm", "Math_Symbol"},
    {"Sc", "Currency_Symbol"},
    {"Sk", "Modifier_Symbol"},
    {"So", "Other_Symbol"},
    {"Z", "Separator"},
    {"Zs", "Space_Separator"},
    {"Zl", "Line_Separator"},
    {"Zp", "Paragraph_Separator"},
    {"C", "Other"},
    {"Cc", "Control"},
    {"Cc", "cntrl"},
    {"Cf", "Format"},
    {"Co", "Private_Use"},
    {"Cn", "Unassigned"},
};
static const char *const binaries[] = {
    "ASCII",
    "Alphabetic",
    "Alpha",
    "Any",
    "Cased",
    "Dash",
    "Emoji",
    "Emoji_Presentation",
    "Extended_Pictographic",
    "Hex_Digit",
    "ID_Continue",
    "ID_Start",
    "Ideographic",
    "Lowercase",
    "Math",
    "Uppercase",
    "White_Space",
    "XID_Continue",
    "XID_Start",
};

static const char *find_category(mr_str name) {
    for (size_t i = 0; i < sizeof categories / sizeof categories[0]; i++) {
        bool is_short = categories[i][0][1] != '&' && mr_str_eq(name, mr_str_c(categories[i][0]));
        if (is_short || mr_str_eq(name, mr_str_c(categories[i][1]))) {
            return categories[i][0];
        }
    }
    return NULL;
}

/* \p{…} or \P{…}; `at` stands behind the letter. */
static mr_err put_property(struct translator *t, char letter) {
    size_t close = mr_str_find_byte(t->in, '}', t->at);
    if (peek(t, 0) != '{' || close == SIZE_MAX) {
        return fail(t, "a property in braces behind \\p");
    }
    mr_str name = mr_str_slice(t->in, t->at + 1, close);
    size_t equals = mr_str_find_byte(name, '=', 0);
    mr_str key = mr_str_slice(name, 0, equals == SIZE_MAX ? 0 : equals);
    mr_str value = equals == SIZE_MAX ? name : mr_str_slice(name, equals + 1, name.len);
    t->at = close + 1;
    bool is_gc = mr_str_eq(key, MR_STR("gc")) || mr_str_eq(key, MR_STR("General_Category"));
    const char *category = equals == SIZE_MAX || is_gc ? find_category(value) : NULL;
    if (category != NULL) {
        return mr_buf_printf(t->out, "\\%c{%s}", letter, category);
    }
    bool is_extended = mr_str_eq(key, MR_STR("scx")) || mr_str_eq(key, MR_STR("Script_Extensions"));
    if (is_extended || mr_str_eq(key, MR_STR("sc")) || mr_str_eq(key, MR_STR("Script"))) {
        return mr_buf_printf(t->out, "\\%c{%s:%.*s}", letter, is_extended ? "scx" : "sc",
                             MR_FMT(value));
    }
    for (size_t i = 0; equals == SIZE_MAX && i < sizeof binaries / sizeof binaries[0]; i++) {
        if (mr_str_eq(name, mr_str_c(binaries[i]))) {
            return mr_buf_printf(t->out, "\\%c{%s}", letter, binaries[i]);
        }
    }
    return fail(t, "a Unicode property that is known here");
}

static bool is_punctuation(char c) {
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
}

/* An escape that stands for one code point. `at` stands at the character behind the backslash.
 * False in *ret_is: it is another kind of escape, and nothing was taken. */
static mr_err read_point_escape(struct translator *t, bool *ret_is, uint32_t *ret_point) {
    static const char letters[] = "tnvfr";
    static const uint8_t points[] = {9, 10, 11, 12, 13};
    char c = peek(t, 0);
    const char *letter = c == '\0' ? NULL : strchr(letters, c);
    *ret_is = true;
    if (letter != NULL) {
        *ret_point = points[letter - letters];
        t->at++;
    } else if (c == 'u') {
        t->at++;
        MR_TRY(read_unicode(t, ret_point));
    } else if (c == 'x') {
        if (!read_hex(t, t->at + 1, 2, ret_point)) {
            return fail(t, "two hex digits behind \\x");
        }
        t->at += 3;
    } else if (c == 'c') {
        char control = (char)(peek(t, 1) | 0x20);
        if (control < 'a' || control > 'z') {
            return fail(t, "a letter behind \\c");
        }
        *ret_point = (uint32_t)(control - 'a') + 1;
        t->at += 2;
    } else if (c == '0' && !(peek(t, 1) >= '0' && peek(t, 1) <= '9')) {
        *ret_point = 0;
        t->at++;
    } else if (is_punctuation(c)) {
        *ret_point = (uint32_t)c;
        t->at++;
    } else {
        *ret_is = false;
    }
    return MR_OK;
}

/* \d \D \w \W \s \S \p \P; false in *ret_is: none of them. `at` as above. */
static mr_err put_class_escape(struct translator *t, bool in_class, bool *ret_is) {
    char c = peek(t, 0);
    *ret_is = c != '\0' && strchr("dDwWsSpP", c) != NULL;
    if (!*ret_is) {
        return MR_OK;
    }
    t->at++;
    if (c == 'p' || c == 'P') {
        return put_property(t, c);
    }
    if (c == 's' || c == 'S') {
        const char *inner = c == 's' ? space_class : other_class;
        return in_class ? put(t, inner) : mr_buf_printf(t->out, "[%s]", inner);
    }
    return mr_buf_printf(t->out, "\\%c", c);
}

static mr_err put_back_reference(struct translator *t) {
    uint32_t n = 0;
    while (peek(t, 0) >= '0' && peek(t, 0) <= '9' && n < 100000) {
        n = n * 10 + (uint32_t)(t->in.ptr[t->at++] - '0');
    }
    return n <= t->groups ? mr_buf_printf(t->out, "\\g{%u}", n)
                          : fail(t, "a back reference to a group that is there");
}

static mr_err put_named_reference(struct translator *t) {
    size_t close = mr_str_find_byte(t->in, '>', t->at);
    if (peek(t, 1) != '<' || close == SIZE_MAX) {
        return fail(t, "a group's name in <> behind \\k");
    }
    mr_str name = mr_str_slice(t->in, t->at + 2, close);
    t->at = close + 1;
    return mr_buf_printf(t->out, "\\k<%.*s>", MR_FMT(name));
}

/* The escape whose backslash stands at `at`, outside of classes. */
static mr_err put_escape(struct translator *t, bool *ret_can_repeat) {
    bool is;
    uint32_t point;
    t->at++;
    char c = peek(t, 0);
    *ret_can_repeat = true;
    if (c == 'b' || c == 'B') {
        *ret_can_repeat = false;
        t->at++;
        return mr_buf_printf(t->out, "\\%c", c);
    }
    if (c >= '1' && c <= '9') {
        return put_back_reference(t);
    }
    if (c == 'k') {
        return put_named_reference(t);
    }
    MR_TRY(put_class_escape(t, false, &is));
    if (is) {
        return MR_OK;
    }
    MR_TRY(read_point_escape(t, &is, &point));
    return is ? put_point(t, point) : fail(t, "an escape of ECMA-262 (\\A, \\Z, \\Q are none)");
}

/* One member of a class. *ret_is_point: it is one code point, *ret_point, not yet written. */
static mr_err take_class_atom(struct translator *t, bool *ret_is_point, uint32_t *ret_point) {
    bool is;
    *ret_is_point = true;
    if (peek(t, 0) != '\\') {
        uint8_t lead = (uint8_t)peek(t, 0);
        size_t n = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        uint32_t point = n == 1 ? lead : lead & (0x7Fu >> n);
        for (size_t i = 1; i < n; i++) {
            point = point << 6 | ((uint8_t)peek(t, i) & 0x3Fu);
        }
        *ret_point = point;
        t->at += n;
        return MR_OK;
    }
    t->at++;
    if (peek(t, 0) == 'b') {
        *ret_point = 8;
        t->at++;
        return MR_OK;
    }
    MR_TRY(put_class_escape(t, true, &is));
    if (is) {
        *ret_is_point = false;
        return MR_OK;
    }
    MR_TRY(read_point_escape(t, &is, ret_point));
    return is ? MR_OK : fail(t, "an escape of ECMA-262 in a class");
}

static mr_err put_class(struct translator *t) {
    t->at++;
    MR_TRY(put(t, "["));
    if (peek(t, 0) == '^') {
        t->at++;
        MR_TRY(put(t, "^"));
    }
    while (peek(t, 0) != ']' || at_end(t)) {
        bool is_point;
        uint32_t from = 0;
        uint32_t to = 0;
        if (at_end(t)) {
            return fail(t, "a closing ]");
        }
        MR_TRY(take_class_atom(t, &is_point, &from));
        bool is_range = peek(t, 0) == '-' && peek(t, 1) != ']' && t->at + 1 < t->in.len;
        if (is_point) {
            MR_TRY(put_point(t, from));
        }
        if (!is_range) {
            continue;
        }
        t->at++;
        bool to_is_point;
        MR_TRY(take_class_atom(t, &to_is_point, &to));
        if (!is_point || !to_is_point || to < from) {
            return fail(t, "a range from one character up to another");
        }
        MR_TRY(put(t, "-"));
        MR_TRY(put_point(t, to));
    }
    t->at++;
    return put(t, "]");
}

/* What opens a group. *ret_can_repeat: whether its whole may be repeated. */
static mr_err put_open(struct translator *t, bool *ret_can_repeat) {
    static const struct {
        const char *text;
        bool can_repeat;
    } forms[] = {{"(?:", true}, {"(?=", false}, {"(?!", false}, {"(?<=", false}, {"(?<!", false}};
    mr_str rest = mr_str_slice(t->in, t->at, t->in.len);
    *ret_can_repeat = true;
    if (peek(t, 1) != '?') {
        t->at++;
        return peek(t, 0) == '*' ? fail(t, "something to repeat before *") : put(t, "(");
    }
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (mr_str_starts(rest, mr_str_c(forms[i].text))) {
            *ret_can_repeat = forms[i].can_repeat;
            t->at += strlen(forms[i].text);
            return put(t, forms[i].text);
        }
    }
    size_t close = mr_str_find_byte(rest, '>', 0);
    if (!mr_str_starts(rest, MR_STR("(?<")) || close == SIZE_MAX) {
        return fail(t, "(?:, (?=, (?!, (?<=, (?<! or (?<name>");
    }
    t->at += close + 1;
    return mr_buf_str(t->out, mr_str_slice(rest, 0, close + 1));
}

/* {n}, {n,} or {n,m} at `at`. 0: none of them. */
static size_t braces_len(const struct translator *t) {
    size_t n = 1;
    size_t from = n;
    while (peek(t, n) >= '0' && peek(t, n) <= '9') {
        n++;
    }
    if (n == from) {
        return 0;
    }
    if (peek(t, n) == ',') {
        n++;
        while (peek(t, n) >= '0' && peek(t, n) <= '9') {
            n++;
        }
    }
    return peek(t, n) == '}' ? n + 1 : 0;
}

static mr_err put_quantifier(struct translator *t, bool can_repeat) {
    size_t n = peek(t, 0) == '{' ? braces_len(t) : 1;
    if (n == 0) {
        return fail(t, "{n}, {n,} or {n,m}, or \\{ for the character");
    }
    if (!can_repeat) {
        return fail(t, "something to repeat before a quantifier");
    }
    MR_TRY(mr_buf_str(t->out, mr_str_slice(t->in, t->at, t->at + n)));
    t->at += n;
    if (peek(t, 0) == '?') {
        t->at++;
        MR_TRY(put(t, "?"));
    }
    return MR_OK;
}

#define GROUPS_DEEP_MAX 128u

static mr_err translate_next(struct translator *t, uint8_t *open, uint32_t *depth,
                             bool *can_repeat) {
    char c = t->in.ptr[t->at];
    bool was = *can_repeat;
    *can_repeat = false;
    switch (c) {
    case '\\':
        return put_escape(t, can_repeat);
    case '[':
        *can_repeat = true;
        return put_class(t);
    case '(':
        if (*depth == GROUPS_DEEP_MAX) {
            return fail(t, "at most 128 groups inside one another");
        }
        bool group_can_repeat;
        MR_TRY(put_open(t, &group_can_repeat));
        open[(*depth)++] = group_can_repeat;
        return MR_OK;
    case ')':
        if (*depth == 0) {
            return fail(t, "an opening parenthesis");
        }
        *can_repeat = open[--*depth];
        t->at++;
        return put(t, ")");
    case '*':
    case '+':
    case '?':
    case '{':
        return put_quantifier(t, was);
    case '}':
    case ']':
        return fail(t, "a backslash before } or ]");
    case '.':
        *can_repeat = true;
        t->at++;
        return put(t, "[^\\n\\r\\x{2028}\\x{2029}]");
    case '^':
    case '$':
    case '|':
        t->at++;
        return mr_buf_byte(t->out, c);
    default:
        *can_repeat = true;
        t->at++;
        while (((uint8_t)peek(t, 0) & 0xC0) == 0x80) { /* the rest of the character */
            MR_TRY(mr_buf_byte(t->out, c));
            c = t->in.ptr[t->at++];
        }
        return mr_buf_byte(t->out, c);
    }
}

static uint32_t count_groups(mr_str in) {
    uint32_t n = 0;
    bool in_class = false;
    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        if (c == '\\') {
            i++;
        } else if (c == '[' || c == ']') {
            in_class = c == '[' || (in_class && c != ']');
        } else if (c == '(' && !in_class) {
            mr_str rest = mr_str_slice(in, i, i + 4);
            bool is_named = mr_str_starts(rest, MR_STR("(?<")) && rest.len == 4 &&
                            rest.ptr[3] != '=' && rest.ptr[3] != '!';
            n += !mr_str_starts(rest, MR_STR("(?")) || is_named;
        }
    }
    return n;
}

static mr_err translate(struct translator *t) {
    uint8_t open[GROUPS_DEEP_MAX];
    uint32_t depth = 0;
    bool can_repeat = false;
    t->groups = count_groups(t->in);
    while (!at_end(t)) {
        MR_TRY(translate_next(t, open, &depth, &can_repeat));
    }
    return depth == 0 ? MR_OK : fail(t, "a closing parenthesis");
}

mr_err ecma_translate(mr_str ecma, mr_buf *out, const char **ret_why, size_t *ret_at) {
    struct translator t = {.in = ecma, .out = out};
    mr_err err = translate(&t);
    *ret_why = t.refused;
    *ret_at = t.at;
    return err;
}
