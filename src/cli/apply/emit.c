/* YAML out. See emit.h. */
#include "cli/apply/emit.h"

#include "cli/apply/document.h"

#include "base/mem.h"
#include "json/write.h"

/* Simple keys end there in YAML; above it `? key` stands on a line of its own. */
#define KEY_BYTES_MAX 900U

/* ---- texts ---- */

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A text that needs no quotes, whoever reads it. */
static bool is_plain(mr_str text) {
    if (text.len == 0 || text.len > KEY_BYTES_MAX || !is_letter(text.ptr[0]) ||
        text.ptr[text.len - 1] == ' ' || document_is_doubtful(text)) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!is_letter(c) && !(c >= '0' && c <= '9') && strchr("_./- ", c) == NULL) {
            return false;
        }
    }
    return true;
}

/* The length of a character that YAML does not print or that ends a line, else 0; *ret_code: it. */
static size_t unprintable(mr_str text, size_t at, unsigned *ret_code) {
    const unsigned char *c = (const unsigned char *)text.ptr + at;
    size_t left = text.len - at;
    if (c[0] == 0x7f) {
        *ret_code = c[0];
        return 1;
    }
    if (left >= 2 && c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) {
        *ret_code = c[1];
        return 2;
    }
    if (left < 3 || (c[0] & 0xf0u) != 0xe0u) {
        return 0;
    }
    unsigned code = (c[0] & 0x0fu) << 12 | (c[1] & 0x3fu) << 6 | (c[2] & 0x3fu);
    *ret_code = code;
    bool is_one = code == 0x2028 || code == 0x2029 || code == 0xfeff || code >= 0xfffe;
    return is_one ? 3 : 0;
}

/* As a JSON string, which is one of YAML, but for what YAML cannot hold raw. */
static mr_err write_quoted(mr_str text, mr_buf *out) {
    MR_TRY(mr_buf_byte(out, '"'));
    size_t from = 0;
    for (size_t at = 0; at < text.len;) {
        unsigned code = 0;
        size_t len = unprintable(text, at, &code);
        if (len == 0) {
            at++;
            continue;
        }
        MR_TRY(json_string_write_inner(mr_str_slice(text, from, at), JSON_UTF8, out));
        MR_TRY(mr_buf_printf(out, "\\u%04x", code));
        at += len;
        from = at;
    }
    MR_TRY(json_string_write_inner(mr_str_slice(text, from, text.len), JSON_UTF8, out));
    return mr_buf_byte(out, '"');
}

static mr_err write_text(mr_str text, mr_buf *out) {
    return is_plain(text) ? mr_buf_str(out, text) : write_quoted(text, out);
}

static mr_err write_string(json_value string, mr_buf *out) {
    mr_buf decoded;
    mr_buf_init(&decoded, json_raw(string).len + 1);
    mr_err err = json_string_append(string, &decoded);
    if (mr_is_ok(err)) {
        err = write_text(mr_buf_view(&decoded), out);
    }
    mr_buf_done(&decoded);
    return err;
}

/* ---- values ---- */

static mr_err write_indent(mr_buf *out, size_t indent) {
    for (size_t i = 0; i < indent; i++) {
        MR_TRY(mr_buf_byte(out, ' '));
    }
    return MR_OK;
}

static bool is_dropped(json_value value, bool drops_null) {
    return drops_null && json_kind_of(value) == JSON_NULL;
}

/* Something stands in it. */
static bool is_open(json_value value, bool drops_null) {
    for (json_iter it = json_iter_of(value); json_next(&it);) {
        if (json_kind_of(value) == JSON_ARRAY || !is_dropped(it.value, drops_null)) {
            return true;
        }
    }
    return false;
}

static mr_err write_item(mr_buf *out, size_t indent, json_value item, bool drops_null);

/* Members, the first one behind prefix. */
static mr_err write_members(mr_buf *out, size_t indent, const char *prefix, json_value object,
                            bool drops_null) {
    mr_err err = MR_OK;
    mr_buf name;
    mr_buf_init(&name, SIZE_MAX / 2);
    for (json_iter it = json_iter_of(object); mr_is_ok(err) && json_next(&it);) {
        if (is_dropped(it.value, drops_null)) {
            continue;
        }
        mr_buf_reset(&name);
        err = json_string_append(it.name, &name);
        if (mr_is_ok(err)) {
            err = emit_member(out, indent, prefix, mr_buf_view(&name), it.value, drops_null);
        }
        prefix = "";
    }
    mr_buf_done(&name);
    return err;
}

/* What stands behind `key:` or `-`: scalars and empty containers on the same line. */
static mr_err write_inline(mr_buf *out, json_value value) {
    switch (json_kind_of(value)) {
    case JSON_STRING:
        return write_string(value, out);
    case JSON_ARRAY:
        return mr_buf_str(out, MR_STR("[]"));
    case JSON_OBJECT:
        return mr_buf_str(out, MR_STR("{}"));
    case JSON_ABSENT:
    case JSON_NULL:
        return mr_buf_str(out, MR_STR("null"));
    case JSON_FALSE:
    case JSON_TRUE:
    case JSON_NUMBER:
        return mr_buf_str(out, json_raw(value));
    }
    return MR_ERR(MR_E_INVALID);
}

static mr_err write_items(mr_buf *out, size_t indent, json_value array, bool drops_null) {
    for (json_iter it = json_iter_of(array); json_next(&it);) {
        MR_TRY(write_item(out, indent, it.value, drops_null));
    }
    return MR_OK;
}

static mr_err write_item(mr_buf *out, size_t indent, json_value item, bool drops_null) {
    if (!is_open(item, drops_null)) {
        MR_TRY(write_indent(out, indent));
        MR_TRY(mr_buf_str(out, MR_STR("- ")));
        MR_TRY(write_inline(out, item));
        return mr_buf_byte(out, '\n');
    }
    if (json_kind_of(item) == JSON_OBJECT) {
        return write_members(out, indent + 2, "- ", item, drops_null);
    }
    MR_TRY(write_indent(out, indent));
    MR_TRY(mr_buf_str(out, MR_STR("-\n")));
    return write_items(out, indent + 2, item, drops_null);
}

static mr_err write_key(mr_buf *out, size_t indent, const char *prefix, mr_str key) {
    size_t prefix_len = strlen(prefix);
    MR_TRY(write_indent(out, indent - prefix_len));
    MR_TRY(mr_buf_str(out, mr_str_c(prefix)));
    if (key.len <= KEY_BYTES_MAX / 6) {
        MR_TRY(write_text(key, out));
        return mr_buf_byte(out, ':');
    }
    MR_TRY(mr_buf_str(out, MR_STR("? ")));
    MR_TRY(write_text(key, out));
    MR_TRY(mr_buf_byte(out, '\n'));
    MR_TRY(write_indent(out, indent));
    return mr_buf_byte(out, ':');
}

mr_err emit_member(mr_buf *out, size_t indent, const char *prefix, mr_str key, json_value value,
                   bool drops_null) {
    MR_TRY(write_key(out, indent, prefix, key));
    if (!is_open(value, drops_null)) {
        MR_TRY(mr_buf_byte(out, ' '));
        MR_TRY(write_inline(out, value));
        return mr_buf_byte(out, '\n');
    }
    MR_TRY(mr_buf_byte(out, '\n'));
    return json_kind_of(value) == JSON_OBJECT
               ? write_members(out, indent + 2, "", value, drops_null)
               : write_items(out, indent + 2, value, drops_null);
}

mr_err emit_text_member(mr_buf *out, size_t indent, const char *prefix, mr_str key, mr_str text) {
    MR_TRY(write_key(out, indent, prefix, key));
    MR_TRY(mr_buf_byte(out, ' '));
    MR_TRY(write_text(text, out));
    return mr_buf_byte(out, '\n');
}
