/* JSON text out. See write.h.
 *
 * Minifying copies as much at once as it can. The reader has marked the values whose text is
 * already minified; with escaping off such a value is one memcpy, and a producer that sends
 * minified JSON, as nearly all do, costs one memcpy per event. Other values are walked: containers
 * by an explicit stack of what is still to be written (no recursion), scalars copied, strings with
 * escapes decoded and written anew.
 *
 * Writing strings scans for the bytes that cannot stand raw and copies what is between them. With
 * escaping of non-ASCII text the result is what Python's json.dumps(ensure_ascii=True) gives, which
 * escapes U+007F as well; without, what JSON.stringify gives. Strings here are valid UTF-8: the
 * reader checked them. */
#include "json/write.h"

#include "json/node.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#if defined(__SSE2__)
/* Skips 16 bytes at a time what stands raw in both spellings; may stop early. */
static inline const char *skip_raw_wide(const char *p, const char *end) {
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    const __m128i space = _mm_set1_epi8(' ');
    const __m128i del = _mm_set1_epi8(0x7F);
    while (end - p >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i_u *)(const void *)p);
        __m128i look = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)),
            _mm_or_si128(_mm_cmplt_epi8(bytes, space), _mm_cmpeq_epi8(bytes, del)));
        unsigned mask = (unsigned)_mm_movemask_epi8(look);
        if (mask != 0) {
            return p + __builtin_ctz(mask);
        }
        p += 16;
    }
    return p;
}
#else
static inline const char *skip_raw_wide(const char *p, const char *end) {
    (void)end;
    return p;
}
#endif

/* Texts up to here are first taken for plain ones. */
#define SHORT_BYTES 64

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

/* A high bit for a byte that is zero; perhaps also for those above it in the word. */
static inline uint64_t zeros_of(uint64_t word) {
    return (word - ONES) & ~word;
}

/* True where all eight bytes stand raw in both spellings. */
static inline bool is_raw_word(const char *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    uint64_t below_space = (word - ONES * 0x20) & ~word;
    uint64_t del_or_high = (word + ONES) | word;
    uint64_t quotes = zeros_of(word ^ ONES * '"') | zeros_of(word ^ ONES * '\\');
    return ((below_space | del_or_high | quotes) & HIGHS) == 0;
}

/* True only where all of it stands raw: what most texts are, decided without a look at each byte.
 */
static inline bool is_plain(const char *p, size_t n) {
    if (n < 8) {
        return false;
    }
    size_t at = 0;
    for (; n - at > 8; at += 8) {
        if (!is_raw_word(p + at)) {
            return false;
        }
    }
    return is_raw_word(p + n - 8);
}

static bool stands_raw(char c, enum json_escape escape) {
    unsigned char byte = (unsigned char)c;
    return byte >= 0x20 && byte != '"' && byte != '\\' && (byte < 0x7F || escape == JSON_UTF8);
}

static mr_err write_unit(uint32_t unit, mr_buf *out) {
    static const char digits[] = "0123456789abcdef";
    char text[6] = {'\\',
                    'u',
                    digits[unit >> 12 & 15],
                    digits[unit >> 8 & 15],
                    digits[unit >> 4 & 15],
                    digits[unit & 15]};
    return mr_buf_append(out, text, sizeof text);
}

/* The letter of a short escape, or NUL. */
static char short_escape(char c) {
    switch (c) {
    case '"':
    case '\\':
        return c;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return '\0';
    }
}

/* Writes the character at p, which cannot stand raw; returns its length in *ret_len. */
static mr_err write_escape(const char *p, const char *end, mr_buf *out, size_t *ret_len) {
    unsigned char lead = (unsigned char)*p;
    char letter = short_escape(*p);
    *ret_len = 1;
    if (letter != '\0') {
        char pair[2] = {'\\', letter};
        return mr_buf_append(out, pair, sizeof pair);
    }
    if (lead < 0x80) {
        return write_unit(lead, out);
    }
    size_t n = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if ((size_t)(end - p) < n) {
        return MR_ERR(MR_E_INVALID);
    }
    uint32_t point = lead & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        point = point << 6 | ((unsigned char)p[i] & 63u);
    }
    *ret_len = n;
    if (point < 0x10000) {
        return write_unit(point, out);
    }
    MR_TRY(write_unit(0xD800 + ((point - 0x10000) >> 10), out));
    return write_unit(0xDC00 + ((point - 0x10000) & 0x3FF), out);
}

static mr_err write_inner(mr_str s, enum json_escape escape, mr_buf *out) {
    const char *p = s.ptr;
    const char *end = p + s.len;
    const char *run = p;
    if (s.len <= SHORT_BYTES && is_plain(p, s.len)) {
        return mr_buf_append(out, p, s.len);
    }
    while (p < end) {
        p = skip_raw_wide(p, end);
        if (p == end) {
            break;
        }
        if (stands_raw(*p, escape)) {
            p++;
            continue;
        }
        size_t len;
        MR_TRY(mr_buf_append(out, run, (size_t)(p - run)));
        MR_TRY(write_escape(p, end, out, &len));
        p += len;
        run = p;
    }
    return mr_buf_append(out, run, (size_t)(end - run));
}

/* Undoes a half-done append. */
static mr_err settle(mr_err err, mr_buf *out, size_t before) {
    if (mr_is_err(err)) {
        mr_buf_truncate(out, before);
    }
    return err;
}

mr_err json_string_write_inner(mr_str s, enum json_escape escape, mr_buf *out) {
    if (s.len == 0) {
        return MR_OK;
    }
    size_t before = out->len;
    return settle(write_inner(s, escape, out), out, before);
}

static mr_err write_quoted(mr_str s, enum json_escape escape, mr_buf *out) {
    MR_TRY(mr_buf_byte(out, '"'));
    MR_TRY(json_string_write_inner(s, escape, out));
    return mr_buf_byte(out, '"');
}

mr_err json_string_write(mr_str s, enum json_escape escape, mr_buf *out) {
    size_t before = out->len;
    return settle(write_quoted(s, escape, out), out, before);
}

static mr_err copy_ascii(mr_str json, mr_buf *out) {
    const char *p = json.ptr;
    const char *end = p + json.len;
    const char *run = p;
    while (p < end) {
        if ((unsigned char)*p < 0x7F) {
            p++;
            continue;
        }
        size_t len;
        MR_TRY(mr_buf_append(out, run, (size_t)(p - run)));
        MR_TRY(write_escape(p, end, out, &len));
        p += len;
        run = p;
    }
    return mr_buf_append(out, run, (size_t)(end - run));
}

mr_err json_text_write(mr_str json, enum json_escape escape, mr_buf *out) {
    if (json.len == 0) {
        return MR_OK;
    }
    size_t before = out->len;
    return escape == JSON_UTF8 ? mr_buf_str(out, json) : settle(copy_ascii(json, out), out, before);
}

/* A string of the tape, with its quotes. */
static mr_err minify_string(json_value string, enum json_escape escape, mr_buf *out) {
    if (json_is_minified(string)) {
        return json_text_write(json_raw(string), escape, out);
    }
    mr_str inner = node_text(string.tape, node_of(string));
    struct node_chars chars = {.at = inner.ptr, .end = inner.ptr + inner.len};
    MR_TRY(mr_buf_byte(out, '"'));
    while (node_chars_next(&chars)) {
        if (stands_raw(chars.bytes[0], escape)) {
            MR_TRY(mr_buf_append(out, chars.bytes, chars.len));
        } else {
            size_t len;
            MR_TRY(write_escape(chars.bytes, chars.bytes + chars.len, out, &len));
        }
    }
    return mr_buf_byte(out, '"');
}

/* Begins a value: scalars and minified values are written whole, of a container its bracket.
 * *ret_open tells whether there is more to come. */
static mr_err begin_value(json_value value, enum json_escape escape, mr_buf *out, bool *ret_open) {
    *ret_open = false;
    if (json_is_minified(value)) {
        return json_text_write(json_raw(value), escape, out);
    }
    enum json_kind kind = json_kind_of(value);
    if (kind != JSON_ARRAY && kind != JSON_OBJECT) {
        return kind == JSON_STRING ? minify_string(value, escape, out)
                                   : mr_buf_str(out, json_raw(value));
    }
    *ret_open = true;
    return mr_buf_byte(out, kind == JSON_OBJECT ? '{' : '[');
}

static mr_err minify(json_value value, enum json_escape escape, mr_buf *out) {
    json_iter stack[JSON_DEPTH_MAX];
    uint32_t depth = 0;
    bool open;
    bool first = true;
    MR_TRY(begin_value(value, escape, out, &open));
    if (open) {
        stack[depth++] = json_iter_of(value);
    }
    while (depth > 0) {
        json_iter *it = &stack[depth - 1];
        if (!json_next(it)) {
            MR_TRY(mr_buf_byte(out, it->is_object ? '}' : ']'));
            depth--;
            first = false;
            continue;
        }
        if (!first) {
            MR_TRY(mr_buf_byte(out, ','));
        }
        if (it->is_object) {
            MR_TRY(minify_string(it->name, escape, out));
            MR_TRY(mr_buf_byte(out, ':'));
        }
        MR_TRY(begin_value(it->value, escape, out, &open));
        first = open;
        if (open) {
            stack[depth++] = json_iter_of(it->value);
        }
    }
    return MR_OK;
}

mr_err json_minify(json_value value, enum json_escape escape, mr_buf *out) {
    if (json_is_absent(value)) {
        return MR_ERR(MR_E_INVALID);
    }
    size_t before = out->len;
    return settle(minify(value, escape, out), out, before);
}

mr_err json_minify_slice(json_value value, mr_buf *scratch, mr_arena *arena, mr_str *ret_text) {
    if (json_is_minified(value)) {
        *ret_text = json_raw(value);
        return MR_OK;
    }
    mr_buf_reset(scratch);
    MR_TRY(json_minify(value, JSON_UTF8, scratch));
    mr_str copy = mr_arena_str(arena, mr_buf_view(scratch));
    if (mr_str_is_absent(copy)) {
        return MR_ERR(MR_E_NOMEM);
    }
    *ret_text = copy;
    return MR_OK;
}
