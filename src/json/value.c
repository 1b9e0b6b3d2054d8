/* Walking a tape: kinds, members, items, strings and numbers. See tape.h.
 *
 * The text was accepted by the reader, so nothing here can meet a broken escape or a number that is
 * none; lengths are followed all the same. Functions take absent values and wrong kinds without
 * complaint, so that `json_u64(json_find(json_find(root, a), b), …)` needs one check at its end.
 *
 * Numbers are read by value and exactly. A number is digits times a power of ten; it is an integer
 * where every digit behind the decimal point is zero. The digits are gone through once, with the
 * point's place known from the exponent, so that 1e400 is out of range and not infinity, and
 * 9007199254740993 is itself. */
#include "json/tape.h"

#include "base/num.h"
#include "json/node.h"

/* An exponent beyond it changes nothing any more: the text is shorter than that. */
#define EXPONENT_MAX INT64_C(1000000000)

json_value json_root(const json_tape *tape) {
    return tape->len == 0 ? JSON_NONE : (json_value){tape, 0};
}

enum json_kind json_kind_of(json_value value) {
    return json_is_absent(value) ? JSON_ABSENT : node_kind(node_of(value));
}

size_t json_count(json_value value) {
    enum json_kind kind = json_kind_of(value);
    return kind == JSON_ARRAY || kind == JSON_OBJECT ? node_of(value)->info >> NODE_COUNT_SHIFT : 0;
}

json_iter json_iter_of(json_value container) {
    json_iter iter = {.at = container.node + 1, .left = (uint32_t)json_count(container)};
    iter.is_object = json_kind_of(container) == JSON_OBJECT;
    iter.value.tape = container.tape;
    return iter;
}

bool json_next(json_iter *iter) {
    if (iter->left == 0) {
        return false;
    }
    const json_tape *tape = iter->value.tape;
    iter->left--;
    if (iter->is_object) {
        iter->name = (json_value){tape, iter->at};
        iter->at++;
    }
    iter->value.node = iter->at;
    iter->at = tape->nodes[iter->at].next;
    return true;
}

json_value json_find(json_value object, mr_str name) {
    if (json_kind_of(object) != JSON_OBJECT) {
        return JSON_NONE;
    }
    for (json_iter it = json_iter_of(object); json_next(&it);) {
        if (json_string_eq(it.name, name)) {
            return it.value;
        }
    }
    return JSON_NONE;
}

json_value json_item(json_value array, size_t index) {
    if (json_kind_of(array) != JSON_ARRAY || index >= json_count(array)) {
        return JSON_NONE;
    }
    json_iter it = json_iter_of(array);
    for (size_t i = 0; json_next(&it) && i < index; i++) {
    }
    return it.value;
}

mr_str json_raw(json_value value) {
    if (json_is_absent(value)) {
        return MR_STR_NONE;
    }
    mr_str text = node_text(value.tape, node_of(value));
    if (node_kind(node_of(value)) == JSON_STRING) {
        text = (mr_str){text.ptr - 1, text.len + 2};
    }
    return text;
}

size_t json_offset(json_value value) {
    return json_is_absent(value) ? 0 : (size_t)(json_raw(value).ptr - value.tape->text.ptr);
}

bool json_is_minified(json_value value) {
    return !json_is_absent(value) && (node_of(value)->info & NODE_MINIFIED) != 0;
}

/* 0–15, or 16. */
static uint32_t hex_value(char c) {
    if (c >= '0' && c <= '9') {
        return (uint32_t)(c - '0');
    }
    char folded = (char)(c | 0x20);
    return folded >= 'a' && folded <= 'f' ? (uint32_t)(folded - 'a') + 10 : 16;
}

bool node_unit(const char *p, const char *end, uint32_t *ret_unit) {
    if (end - p < 6 || p[0] != '\\' || p[1] != 'u') {
        return false;
    }
    uint32_t unit = 0;
    for (int i = 2; i < 6; i++) {
        uint32_t digit = hex_value(p[i]);
        if (digit > 15) {
            return false;
        }
        unit = unit << 4 | digit;
    }
    *ret_unit = unit;
    return true;
}

static size_t put_utf8(uint32_t point, char out[static 4]) {
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(uint8_t)(0xC0 | point >> 6);
        out[1] = (char)(uint8_t)(0x80 | (point & 63));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(uint8_t)(0xE0 | point >> 12);
        out[1] = (char)(uint8_t)(0x80 | (point >> 6 & 63));
        out[2] = (char)(uint8_t)(0x80 | (point & 63));
        return 3;
    }
    out[0] = (char)(uint8_t)(0xF0 | point >> 18);
    out[1] = (char)(uint8_t)(0x80 | (point >> 12 & 63));
    out[2] = (char)(uint8_t)(0x80 | (point >> 6 & 63));
    out[3] = (char)(uint8_t)(0x80 | (point & 63));
    return 4;
}

/* What a simple escape stands for. */
static char simple_escape(char c) {
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c;
    }
}

/* Decodes the escape at chars->at. */
static void take_escape(struct node_chars *chars) {
    uint32_t unit;
    uint32_t low;
    if (!node_unit(chars->at, chars->end, &unit)) {
        chars->bytes[0] = chars->end - chars->at > 1 ? simple_escape(chars->at[1]) : '\\';
        chars->len = 1;
        chars->at += chars->end - chars->at > 1 ? 2 : 1;
        return;
    }
    chars->at += 6;
    if (unit >= 0xD800 && unit <= 0xDBFF && node_unit(chars->at, chars->end, &low)) {
        unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
        chars->at += 6;
    }
    chars->len = put_utf8(unit, chars->bytes);
}

bool node_chars_next(struct node_chars *chars) {
    if (chars->at == chars->end) {
        return false;
    }
    if (*chars->at == '\\') {
        take_escape(chars);
        return true;
    }
    unsigned char lead = (unsigned char)*chars->at;
    size_t n = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (n > (size_t)(chars->end - chars->at)) {
        n = (size_t)(chars->end - chars->at);
    }
    memcpy(chars->bytes, chars->at, n);
    chars->len = n;
    chars->at += n;
    return true;
}

mr_err node_decode(mr_str inner, mr_buf *out) {
    struct node_chars chars = {.at = inner.ptr, .end = inner.ptr + inner.len};
    char *to;
    /* Decoding never makes a string longer. */
    MR_TRY(mr_buf_reserve(out, inner.len, &to));
    size_t len = 0;
    while (chars.at < chars.end) {
        const char *escape = memchr(chars.at, '\\', (size_t)(chars.end - chars.at));
        const char *stop = escape == NULL ? chars.end : escape;
        size_t run = (size_t)(stop - chars.at);
        memcpy(to + len, chars.at, run);
        len += run;
        chars.at = stop;
        if (escape != NULL) {
            take_escape(&chars);
            memcpy(to + len, chars.bytes, chars.len);
            len += chars.len;
        }
    }
    mr_buf_commit(out, len);
    return MR_OK;
}

/* Compares decoded bytes; a and b are the insides of strings, of which either may have escapes. */
static int compare_escaped(mr_str a, mr_str b) {
    struct node_chars x = {.at = a.ptr, .end = a.ptr + a.len};
    struct node_chars y = {.at = b.ptr, .end = b.ptr + b.len};
    for (;;) {
        bool more_x = node_chars_next(&x);
        bool more_y = node_chars_next(&y);
        if (!more_x || !more_y) {
            return (int)more_x - (int)more_y;
        }
        int order = mr_str_cmp((mr_str){x.bytes, x.len}, (mr_str){y.bytes, y.len});
        if (order != 0) {
            return order;
        }
    }
}

int node_compare(const json_tape *tape, const json_node *a, const json_node *b) {
    mr_str x = node_text(tape, a);
    mr_str y = node_text(tape, b);
    return ((a->info | b->info) & NODE_ESCAPED) == 0 ? mr_str_cmp(x, y) : compare_escaped(x, y);
}

bool json_string_is_plain(json_value string) {
    return json_kind_of(string) == JSON_STRING && (node_of(string)->info & NODE_ESCAPED) == 0;
}

bool json_string_eq(json_value string, mr_str s) {
    if (json_kind_of(string) != JSON_STRING) {
        return false;
    }
    const json_node *node = node_of(string);
    mr_str text = node_text(string.tape, node);
    if ((node->info & NODE_ESCAPED) == 0) {
        return mr_str_eq(text, s);
    }
    struct node_chars chars = {.at = text.ptr, .end = text.ptr + text.len};
    size_t at = 0;
    while (node_chars_next(&chars)) {
        if (s.len - at < chars.len || memcmp(s.ptr + at, chars.bytes, chars.len) != 0) {
            return false;
        }
        at += chars.len;
    }
    return at == s.len;
}

bool json_strings_equal(json_value a, json_value b) {
    if (json_kind_of(a) != JSON_STRING || json_kind_of(b) != JSON_STRING) {
        return false;
    }
    if (json_string_is_plain(a)) {
        return json_string_eq(b, node_text(a.tape, node_of(a)));
    }
    return compare_escaped(node_text(a.tape, node_of(a)), node_text(b.tape, node_of(b))) == 0;
}

mr_err json_string_append(json_value string, mr_buf *out) {
    if (json_kind_of(string) != JSON_STRING) {
        return MR_ERR(MR_E_INVALID);
    }
    mr_str text = node_text(string.tape, node_of(string));
    return json_string_is_plain(string) ? mr_buf_str(out, text) : node_decode(text, out);
}

static mr_err decode_copy(mr_str inner, mr_arena *arena, mr_str *ret_s) {
    char *copy = mr_arena_alloc(arena, inner.len + 1);
    if (copy == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    /* Decoding never makes a string longer, so this never grows. */
    mr_buf fixed = {.ptr = copy, .cap = inner.len + 1, .max = inner.len + 1};
    MR_TRY(node_decode(inner, &fixed));
    copy[fixed.len] = '\0';
    *ret_s = (mr_str){copy, fixed.len};
    return MR_OK;
}

mr_err json_string(json_value string, mr_arena *arena, mr_str *ret_s) {
    if (json_kind_of(string) != JSON_STRING) {
        return MR_ERR(MR_E_INVALID);
    }
    mr_str text = node_text(string.tape, node_of(string));
    if (json_string_is_plain(string)) {
        *ret_s = text;
        return MR_OK;
    }
    return decode_copy(text, arena, ret_s);
}

mr_err json_inner_decode(mr_str inner, mr_arena *arena, mr_str *ret_s) {
    if (mr_str_find_byte(inner, '\\', 0) == SIZE_MAX) {
        *ret_s = inner;
        return MR_OK;
    }
    return decode_copy(inner, arena, ret_s);
}

/* A number taken apart: digits with a decimal point in them, times ten to the exponent. */
struct number {
    bool negative;
    mr_str whole;    /* digits before the point */
    mr_str fraction; /* digits behind it */
    int64_t exponent;
};

static struct number number_of(mr_str text) {
    struct number n = {.fraction = MR_STR("")};
    n.negative = text.len > 0 && text.ptr[0] == '-';
    text = mr_str_slice(text, n.negative ? 1 : 0, text.len);
    size_t e = 0;
    while (e < text.len && text.ptr[e] != 'e' && text.ptr[e] != 'E') {
        e++;
    }
    mr_str digits = mr_str_slice(text, 0, e);
    mr_str exponent = mr_str_slice(text, e + 1, text.len);
    size_t point = mr_str_find_byte(digits, '.', 0);
    n.whole = mr_str_slice(digits, 0, point);
    if (point != SIZE_MAX) {
        n.fraction = mr_str_slice(digits, point + 1, digits.len);
    }
    if (exponent.len > 0) {
        bool minus = exponent.ptr[0] == '-';
        if (minus || exponent.ptr[0] == '+') {
            exponent = mr_str_slice(exponent, 1, exponent.len);
        }
        uint64_t magnitude;
        if (mr_is_err(mr_u64_parse(exponent, 0, EXPONENT_MAX, &magnitude))) {
            magnitude = EXPONENT_MAX;
        }
        n.exponent = minus ? -(int64_t)magnitude : (int64_t)magnitude;
    }
    return n;
}

/* The integer that the number's magnitude is. MR_E_INVALID for a fraction, MR_E_RANGE past 64
 * bits. */
static mr_err magnitude_of(const struct number *number, uint64_t *ret_n) {
    size_t digits = number->whole.len + number->fraction.len;
    int64_t places = (int64_t)number->whole.len + number->exponent; /* digits before the point */
    uint64_t n = 0;
    bool over = false;
    for (size_t i = 0; i < digits; i++) {
        char c = i < number->whole.len ? number->whole.ptr[i]
                                       : number->fraction.ptr[i - number->whole.len];
        if ((int64_t)i >= places) {
            if (c != '0') {
                return MR_ERR(MR_E_INVALID);
            }
            continue;
        }
        over = over || __builtin_mul_overflow(n, 10, &n) ||
               __builtin_add_overflow(n, (uint64_t)(c - '0'), &n);
    }
    /* Zeros that the exponent adds; twenty of them overflow all but zero. */
    for (int64_t i = (int64_t)digits; i < places && n != 0 && !over; i++) {
        over = __builtin_mul_overflow(n, 10, &n);
    }
    if (over) {
        return MR_ERR(MR_E_RANGE);
    }
    *ret_n = n;
    return MR_OK;
}

mr_err json_u64(json_value number, uint64_t min, uint64_t max, uint64_t *ret_n) {
    if (json_kind_of(number) != JSON_NUMBER) {
        return MR_ERR(MR_E_INVALID);
    }
    struct number parts = number_of(json_raw(number));
    uint64_t n;
    MR_TRY(magnitude_of(&parts, &n));
    if ((parts.negative && n != 0) || n < min || n > max) {
        return MR_ERR(MR_E_RANGE);
    }
    *ret_n = n;
    return MR_OK;
}

mr_err json_i64(json_value number, int64_t min, int64_t max, int64_t *ret_n) {
    if (json_kind_of(number) != JSON_NUMBER) {
        return MR_ERR(MR_E_INVALID);
    }
    struct number parts = number_of(json_raw(number));
    uint64_t magnitude;
    MR_TRY(magnitude_of(&parts, &magnitude));
    if (magnitude > (uint64_t)INT64_MAX + (parts.negative ? 1 : 0)) {
        return MR_ERR(MR_E_RANGE);
    }
    int64_t n = (int64_t)(parts.negative ? 0 - magnitude : magnitude);
    if (n < min || n > max) {
        return MR_ERR(MR_E_RANGE);
    }
    *ret_n = n;
    return MR_OK;
}

mr_err json_bool(json_value value, bool *ret_b) {
    enum json_kind kind = json_kind_of(value);
    if (kind != JSON_TRUE && kind != JSON_FALSE) {
        return MR_ERR(MR_E_INVALID);
    }
    *ret_b = kind == JSON_TRUE;
    return MR_OK;
}
