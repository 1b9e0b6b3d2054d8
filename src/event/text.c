/* Rules for the texts of attributes. See text.h and event.h.
 *
 * Every event passes here with each of its attributes, so the usual case, printable ASCII, is
 * decided eight bytes at a time; only other text is looked at character by character. */
#include "event/text.h"

#include "base/num.h"
#include "event/event.h"

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

/* Bit n of word c / 64: the character may stand in a token (RFC 9110 §5.6.2):
 * A–Z a–z 0–9 ! # $ % & ' * + - . ^ _ ` | ~ */
static const uint64_t token_chars[2] = {UINT64_C(0x03ff6cfa00000000), UINT64_C(0x57ffffffc7fffffe)};

static bool is_token_char(char c) {
    unsigned char byte = (unsigned char)c;
    return byte < 0x80 && (token_chars[byte >> 6] >> (byte & 63) & 1) != 0;
}

static bool take_token(mr_str *rest, mr_str *ret_token) {
    size_t n = 0;
    while (n < rest->len && is_token_char(rest->ptr[n])) {
        n++;
    }
    *ret_token = mr_str_slice(*rest, 0, n);
    *rest = mr_str_slice(*rest, n, rest->len);
    return n > 0;
}

static bool take_byte(mr_str *rest, char c) {
    if (rest->len == 0 || rest->ptr[0] != c) {
        return false;
    }
    *rest = mr_str_slice(*rest, 1, rest->len);
    return true;
}

/* The inside of a quoted string in printable ASCII; escapes are stepped over, not undone. */
static bool take_quoted(mr_str *rest, mr_str *ret_inside) {
    if (!take_byte(rest, '"')) {
        return false;
    }
    for (size_t i = 0; i < rest->len; i++) {
        char c = rest->ptr[i];
        if (c == '"') {
            *ret_inside = mr_str_slice(*rest, 0, i);
            *rest = mr_str_slice(*rest, i + 1, rest->len);
            return true;
        }
        i += c == '\\' && i + 1 < rest->len;
        if (rest->ptr[i] < ' ' || rest->ptr[i] > '~') {
            return false;
        }
    }
    return false;
}

bool event_media_parse(mr_str text, struct event_media *ret_media) {
    struct event_media media = {.charset = MR_STR_NONE};
    mr_str rest = mr_str_trim(text);
    if (!take_token(&rest, &media.type) || !take_byte(&rest, '/') ||
        !take_token(&rest, &media.subtype)) {
        return false;
    }
    for (rest = mr_str_trim(rest); rest.len > 0; rest = mr_str_trim(rest)) {
        mr_str name;
        mr_str value;
        if (!take_byte(&rest, ';')) {
            return false;
        }
        rest = mr_str_trim(rest);
        if (rest.len == 0 || rest.ptr[0] == ';') {
            continue; /* RFC 9110 §5.6.6 lets parameters be empty */
        }
        if (!take_token(&rest, &name) || !take_byte(&rest, '=') ||
            !(take_token(&rest, &value) || take_quoted(&rest, &value))) {
            return false;
        }
        if (mr_str_eq_nocase(name, MR_STR("charset"))) {
            media.charset = value;
        }
    }
    *ret_media = media;
    return true;
}

bool event_media_is(const struct event_media *media, const char *type, const char *subtype) {
    return mr_str_eq_nocase(media->subtype, mr_str_c(subtype)) &&
           mr_str_eq_nocase(media->type, mr_str_c(type));
}

bool event_media_is_json(const struct event_media *media) {
    mr_str end = mr_str_slice(media->subtype, media->subtype.len - (media->subtype.len < 5 ? 0 : 5),
                              media->subtype.len);
    return mr_str_eq_nocase(media->subtype, MR_STR("json")) ||
           mr_str_eq_nocase(end, MR_STR("+json"));
}

bool event_media_is_utf8(const struct event_media *media) {
    return mr_str_is_absent(media->charset) || mr_str_eq_nocase(media->charset, MR_STR("utf-8")) ||
           mr_str_eq_nocase(media->charset, MR_STR("utf8")) ||
           mr_str_eq_nocase(media->charset, MR_STR("us-ascii"));
}

bool event_is_json_type(mr_str media_type) {
    struct event_media media;
    return event_media_parse(media_type, &media) && event_media_is_json(&media);
}

bool event_is_attribute_name(mr_str name) {
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) {
            return false;
        }
    }
    return name.len > 0 && !mr_str_eq(name, MR_STR("data"));
}

/* True where all eight bytes are U+0020–U+007E. */
static bool is_printable_ascii(uint64_t word) {
    uint64_t below_space = (word - ONES * 0x20) & ~word;
    uint64_t del_or_high = (word + ONES) | word;
    return ((below_space | del_or_high) & HIGHS) == 0;
}

/* The code point of the sequence at p, whose length is put in *ret_len. */
static uint32_t code_point(const char *p, size_t left, size_t *ret_len) {
    unsigned char lead = (unsigned char)*p;
    size_t n = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    MR_ASSERT(n <= left);
    uint32_t point = n == 1 ? lead : lead & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        point = point << 6 | ((unsigned char)p[i] & 63u);
    }
    *ret_len = n;
    return point;
}

static bool is_allowed(uint32_t point) {
    bool control = point < 0x20 || (point >= 0x7F && point <= 0x9F);
    bool noncharacter = (point >= 0xFDD0 && point <= 0xFDEF) || (point & 0xFFFE) == 0xFFFE;
    return !control && !noncharacter;
}

bool event_text_has_only_allowed(mr_str text) {
    size_t i = 0;
    while (i < text.len) {
        uint64_t word;
        if (text.len - i >= sizeof word) {
            memcpy(&word, text.ptr + i, sizeof word);
            if (is_printable_ascii(word)) {
                i += sizeof word;
                continue;
            }
        }
        size_t len;
        if (!is_allowed(code_point(text.ptr + i, text.len - i, &len))) {
            return false;
        }
        i += len;
    }
    return true;
}

static bool is_hex(char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* Bit n of word c / 64: the character is reserved or unreserved in RFC 3986 §2.2, §2.3:
 * A–Z a–z 0–9 - . _ ~ : / ? # [ ] @ ! $ & ' ( ) * + , ; = */
static const uint64_t uri_chars[2] = {UINT64_C(0xafffffda00000000), UINT64_C(0x47fffffeafffffff)};

static bool is_uri_char(unsigned char c) {
    return c >= 0x80 || (uri_chars[c >> 6] >> (c & 63) & 1) != 0;
}

bool event_is_uri_reference(mr_str text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '%') {
            if (text.len - i < 3 || !is_hex(text.ptr[i + 1]) || !is_hex(text.ptr[i + 2])) {
                return false;
            }
        } else if (!is_uri_char((unsigned char)text.ptr[i])) {
            return false;
        }
    }
    return text.len > 0;
}

bool event_text_is_base64(mr_str text) {
    /* The digits are checked in short pieces: whole groups first, then the last with its padding.
     */
    char memory[64];
    mr_buf piece = {.ptr = memory, .cap = sizeof memory, .max = sizeof memory};
    for (size_t at = 0; at < text.len; at += 64) {
        mr_buf_reset(&piece);
        mr_str part = mr_str_slice(text, at, at + 64);
        bool last = text.len - at <= 64;
        if (!last && mr_str_find_byte(part, '=', 0) != SIZE_MAX) {
            return false;
        }
        if (mr_is_err(mr_base64_decode(part, &piece))) {
            return false;
        }
    }
    return text.len % 4 == 0;
}
