/* XML. See xml.h.
 *
 * One pass over the bytes with a cursor. The path of the open elements is kept as text; an
 * element's name is pushed at its start tag and compared with its end tag. Text is looked at only
 * to find that it is well-formed, and decoded where the element is wanted. */
#include "sink/aws/xml.h"

struct reader {
    mr_str rest;
    char path[XML_PATH_MAX];
    size_t path_len;
    size_t starts[XML_DEPTH_MAX]; /* of each open element's name in path */
    size_t depth;
    struct xml_want *wants;
    size_t n_wants;
    struct xml_want *want; /* the element that is open, where it is wanted */
    size_t text_at;        /* in its buffer */
};

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == ':' || (unsigned char)c >= 0x80;
}

static void skip(struct reader *reader, size_t n) {
    reader->rest = mr_str_slice(reader->rest, n, reader->rest.len);
}

static bool take(struct reader *reader, mr_str literal) {
    if (!mr_str_starts(reader->rest, literal)) {
        return false;
    }
    skip(reader, literal.len);
    return true;
}

static void skip_space(struct reader *reader) {
    size_t n = 0;
    while (n < reader->rest.len && is_space(reader->rest.ptr[n])) {
        n++;
    }
    skip(reader, n);
}

/* Takes everything before the byte, and the byte. */
static bool take_until(struct reader *reader, char c, mr_str *ret_part) {
    size_t at = mr_str_find_byte(reader->rest, c, 0);
    if (at == SIZE_MAX) {
        return false;
    }
    *ret_part = mr_str_slice(reader->rest, 0, at);
    skip(reader, at + 1);
    return true;
}

static mr_str take_name(struct reader *reader) {
    size_t n = 0;
    while (n < reader->rest.len && is_name_byte(reader->rest.ptr[n])) {
        n++;
    }
    mr_str name = mr_str_slice(reader->rest, 0, n);
    skip(reader, n);
    bool is_bad = n > 0 && ((name.ptr[0] >= '0' && name.ptr[0] <= '9') || name.ptr[0] == '-' ||
                            name.ptr[0] == '.');
    return is_bad ? mr_str_slice(name, 0, 0) : name;
}

/* ---- texts ---- */

static mr_err put_utf8(uint32_t c, mr_buf *out) {
    if (c < 0x20 ? (c != '\t' && c != '\n' && c != '\r')
                 : c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF) || c == 0xFFFE || c == 0xFFFF) {
        return MR_ERR(MR_E_INVALID);
    }
    char bytes[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t heads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n; i-- > 1; c >>= 6) {
        bytes[i] = (char)(0x80 | (c & 0x3F));
    }
    bytes[0] = (char)(heads[n] | c);
    return mr_buf_append(out, bytes, n);
}

/* "amp", "#38", "#x26": what stands between & and ;. */
static mr_err put_reference(mr_str reference, mr_buf *out) {
    static const struct {
        mr_str name;
        char c;
    } names[] = {{{"amp", 3}, '&'},
                 {{"lt", 2}, '<'},
                 {{"gt", 2}, '>'},
                 {{"quot", 4}, '"'},
                 {{"apos", 4}, '\''}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (mr_str_eq(reference, names[i].name)) {
            return mr_buf_byte(out, names[i].c);
        }
    }
    bool is_hex = reference.len > 1 && reference.ptr[1] == 'x';
    size_t first = is_hex ? 2 : 1;
    if (reference.len <= first || reference.len > 10 || reference.ptr[0] != '#') {
        return MR_ERR(MR_E_INVALID);
    }
    uint32_t c = 0;
    for (size_t i = first; i < reference.len; i++) {
        char digit = reference.ptr[i];
        char lower = (char)(digit | 0x20);
        bool is_digit = digit >= '0' && digit <= '9';
        if (!is_digit && !(is_hex && lower >= 'a' && lower <= 'f')) {
            return MR_ERR(MR_E_INVALID);
        }
        c = c * (is_hex ? 16 : 10) + (uint32_t)(is_digit ? digit - '0' : lower - 'a' + 10);
        if (c > 0x10FFFF) {
            return MR_ERR(MR_E_INVALID);
        }
    }
    return put_utf8(c, out);
}

static mr_err put_text(mr_str text, mr_buf *out) {
    mr_str rest = text;
    while (rest.len > 0) {
        size_t at = mr_str_find_byte(rest, '&', 0);
        MR_TRY(mr_buf_str(out, mr_str_slice(rest, 0, at)));
        if (at == SIZE_MAX) {
            break;
        }
        size_t end = mr_str_find_byte(rest, ';', at);
        if (end == SIZE_MAX) {
            return MR_ERR(MR_E_INVALID);
        }
        MR_TRY(put_reference(mr_str_slice(rest, at + 1, end), out));
        rest = mr_str_slice(rest, end + 1, rest.len);
    }
    return MR_OK;
}

/* Text outside of what is wanted is decoded too, into nothing that stays. */
static mr_err read_text(struct reader *reader, mr_str text) {
    if (reader->depth == 0) {
        for (size_t i = 0; i < text.len; i++) {
            if (!is_space(text.ptr[i])) {
                return MR_ERR(MR_E_INVALID);
            }
        }
        return MR_OK;
    }
    if (mr_str_find(text, MR_STR("]]>")) != SIZE_MAX) {
        return MR_ERR(MR_E_INVALID);
    }
    if (reader->want != NULL) {
        return put_text(text, reader->want->out);
    }
    mr_buf scratch;
    mr_buf_init(&scratch, XML_BYTES_MAX);
    mr_err err = put_text(text, &scratch);
    mr_buf_done(&scratch);
    return err;
}

/* ---- tags ---- */

static mr_err open_element(struct reader *reader, mr_str name) {
    size_t colon = mr_str_find_byte(name, ':', 0);
    mr_str local = colon == SIZE_MAX ? name : mr_str_slice(name, colon + 1, name.len);
    if (name.len == 0 || local.len == 0 || reader->want != NULL) {
        return MR_ERR(MR_E_INVALID);
    }
    if (reader->depth == XML_DEPTH_MAX || local.len + 1 > sizeof reader->path - reader->path_len) {
        return MR_ERR(MR_E_LIMIT);
    }
    reader->starts[reader->depth] = reader->path_len;
    if (reader->depth++ > 0) {
        reader->path[reader->path_len++] = '/';
    }
    memcpy(reader->path + reader->path_len, local.ptr, local.len);
    reader->path_len += local.len;
    for (size_t i = 0; i < reader->n_wants; i++) {
        struct xml_want *want = &reader->wants[i];
        if (mr_str_eq(mr_str_c(want->path), mr_str_of(reader->path, reader->path_len))) {
            if (want->is_found) {
                return MR_ERR(MR_E_INVALID);
            }
            want->is_found = true;
            reader->want = want;
            reader->text_at = want->out->len;
        }
    }
    return MR_OK;
}

/* White space off both ends of the text that was read. */
static void trim(struct reader *reader) {
    mr_buf *out = reader->want->out;
    while (out->len > reader->text_at && is_space(out->ptr[out->len - 1])) {
        mr_buf_truncate(out, out->len - 1);
    }
    size_t lead = 0;
    while (reader->text_at + lead < out->len && is_space(out->ptr[reader->text_at + lead])) {
        lead++;
    }
    if (lead > 0) {
        memmove(out->ptr + reader->text_at, out->ptr + reader->text_at + lead,
                out->len - reader->text_at - lead);
        mr_buf_truncate(out, out->len - lead);
    }
}

static mr_err close_element(struct reader *reader, mr_str name) {
    if (reader->depth == 0) {
        return MR_ERR(MR_E_INVALID);
    }
    size_t colon = mr_str_find_byte(name, ':', 0);
    mr_str local = colon == SIZE_MAX ? name : mr_str_slice(name, colon + 1, name.len);
    size_t start = reader->starts[reader->depth - 1];
    size_t at = start + (reader->depth > 1 ? 1 : 0);
    if (!mr_str_eq(local, mr_str_of(reader->path + at, reader->path_len - at))) {
        return MR_ERR(MR_E_INVALID);
    }
    if (reader->want != NULL) {
        trim(reader);
        reader->want = NULL;
    }
    reader->path_len = start;
    reader->depth--;
    return MR_OK;
}

/* name="value", as many as there are, up to the end of the tag. */
static mr_err skip_attributes(struct reader *reader, bool *ret_is_empty) {
    for (;;) {
        size_t before = reader->rest.len;
        skip_space(reader);
        if (take(reader, MR_STR(">"))) {
            *ret_is_empty = false;
            return MR_OK;
        }
        if (take(reader, MR_STR("/>"))) {
            *ret_is_empty = true;
            return MR_OK;
        }
        mr_str name = take_name(reader);
        if (name.len == 0 || reader->rest.len + name.len == before) {
            return MR_ERR(MR_E_INVALID); /* no name, or no space before it */
        }
        skip_space(reader);
        if (!take(reader, MR_STR("="))) {
            return MR_ERR(MR_E_INVALID);
        }
        skip_space(reader);
        char quote = reader->rest.len > 0 ? reader->rest.ptr[0] : '\0';
        mr_str value;
        if (quote != '"' && quote != '\'') {
            return MR_ERR(MR_E_INVALID);
        }
        skip(reader, 1);
        if (!take_until(reader, quote, &value) || mr_str_find_byte(value, '<', 0) != SIZE_MAX) {
            return MR_ERR(MR_E_INVALID);
        }
    }
}

/* Behind a '<'. */
static mr_err read_tag(struct reader *reader) {
    if (take(reader, MR_STR("/"))) {
        mr_str name = take_name(reader);
        skip_space(reader);
        return take(reader, MR_STR(">")) ? close_element(reader, name) : MR_ERR(MR_E_INVALID);
    }
    mr_str name = take_name(reader);
    bool is_empty = false;
    MR_TRY(open_element(reader, name));
    MR_TRY(skip_attributes(reader, &is_empty));
    return is_empty ? close_element(reader, name) : MR_OK;
}

/* <?xml version="1.0" encoding="UTF-8"?> */
static mr_err skip_declaration(struct reader *reader) {
    if (!take(reader, MR_STR("<?xml "))) {
        return MR_OK;
    }
    mr_str declaration;
    if (!take_until(reader, '>', &declaration) || !mr_str_ends(declaration, MR_STR("?")) ||
        mr_str_find_byte(declaration, '<', 0) != SIZE_MAX) {
        return MR_ERR(MR_E_INVALID);
    }
    return MR_OK;
}

mr_err xml_read(mr_str document, struct xml_want *wants, size_t n_wants) {
    if (document.len > XML_BYTES_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    if (!mr_str_is_utf8(document) || mr_str_find_byte(document, '\0', 0) != SIZE_MAX) {
        return MR_ERR(MR_E_INVALID);
    }
    struct reader reader = {.rest = document, .wants = wants, .n_wants = n_wants};
    for (size_t i = 0; i < n_wants; i++) {
        wants[i].is_found = false;
    }
    MR_TRY(skip_declaration(&reader));
    bool has_root = false;
    mr_str text;
    while (take_until(&reader, '<', &text)) {
        MR_TRY(read_text(&reader, text));
        if (has_root && reader.depth == 0) {
            return MR_ERR(MR_E_INVALID);
        }
        has_root = true;
        MR_TRY(read_tag(&reader));
    }
    MR_TRY(read_text(&reader, reader.rest));
    return has_root && reader.depth == 0 ? MR_OK : MR_ERR(MR_E_INVALID);
}
