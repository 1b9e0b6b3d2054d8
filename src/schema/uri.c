/* References resolved against a base as RFC 3986 §5.2 says, on texts: a base may be relative or
 * empty ("/schemas/a/1" is one), as a catalogue's documents name themselves by path. */
#include "schema/private.h"

struct parts {
    mr_str scheme; /* absent where there is none; the same for the others */
    mr_str authority;
    mr_str path;
    mr_str query;
};

static size_t scheme_len(mr_str text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        bool is_other = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
        if (c == ':') {
            return i;
        }
        if (!is_letter && (i == 0 || !is_other)) {
            return 0;
        }
    }
    return 0;
}

/* text has no fragment. */
static struct parts split(mr_str text) {
    struct parts parts = {.scheme = MR_STR_NONE};
    size_t n = scheme_len(text);
    if (n > 0) {
        parts.scheme = mr_str_slice(text, 0, n);
        text = mr_str_slice(text, n + 1, text.len);
    }
    size_t question = mr_str_find_byte(text, '?', 0);
    if (question != SIZE_MAX) {
        parts.query = mr_str_slice(text, question + 1, text.len);
        text = mr_str_slice(text, 0, question);
    }
    if (mr_str_starts(text, MR_STR("//"))) {
        size_t slash = mr_str_find_byte(text, '/', 2);
        slash = slash == SIZE_MAX ? text.len : slash;
        parts.authority = mr_str_slice(text, 2, slash);
        text = mr_str_slice(text, slash, text.len);
    }
    parts.path = text;
    return parts;
}

/* Takes "." and ".." out of the path that begins at `from` (§5.2.4). */
static void remove_dots(mr_buf *out, size_t from) {
    mr_str rest = mr_str_slice(mr_buf_view(out), from, out->len);
    size_t to = from; /* what is kept only ever gets shorter */
    while (rest.len > 0) {
        size_t end = mr_str_find_byte(rest, '/', 1);
        mr_str segment = mr_str_slice(rest, 0, end);
        rest = mr_str_slice(rest, end, rest.len);
        if (mr_str_eq(segment, MR_STR("/.")) || mr_str_eq(segment, MR_STR("/.."))) {
            if (segment.len == 3) {
                while (to > from && out->ptr[--to] != '/') {
                }
            }
            if (rest.len == 0) {
                out->ptr[to++] = '/';
            }
            continue;
        }
        memmove(out->ptr + to, segment.ptr, segment.len);
        to += segment.len;
    }
    mr_buf_truncate(out, to);
}

static mr_err put_path(const struct parts *base, const struct parts *reference, mr_buf *out) {
    size_t from = out->len;
    if (reference->path.len == 0 && mr_str_is_absent(reference->scheme) &&
        mr_str_is_absent(reference->authority)) {
        return mr_buf_str(out, base->path);
    }
    bool is_own = !mr_str_is_absent(reference->scheme) || !mr_str_is_absent(reference->authority) ||
                  mr_str_starts(reference->path, MR_STR("/"));
    if (!is_own) {
        size_t keep = base->path.len;
        while (keep > 0 && base->path.ptr[keep - 1] != '/') {
            keep--;
        }
        MR_TRY(mr_buf_str(out, mr_str_slice(base->path, 0, keep)));
        if (keep == 0 && !mr_str_is_absent(base->authority)) {
            MR_TRY(mr_buf_byte(out, '/'));
        }
    }
    MR_TRY(mr_buf_str(out, reference->path));
    if (out->len > from && out->ptr[from] == '/') {
        remove_dots(out, from);
    }
    return MR_OK;
}

mr_err uri_resolve(mr_str base, mr_str reference, mr_buf *out, mr_str *ret_fragment) {
    size_t hash = mr_str_find_byte(reference, '#', 0);
    mr_str fragment = MR_STR_NONE;
    if (hash != SIZE_MAX) {
        fragment = mr_str_slice(reference, hash + 1, reference.len);
        reference = mr_str_slice(reference, 0, hash);
    }
    struct parts b = split(base);
    struct parts r = split(reference);
    bool has_scheme = !mr_str_is_absent(r.scheme);
    bool has_authority = has_scheme || !mr_str_is_absent(r.authority);
    mr_str scheme = has_scheme ? r.scheme : b.scheme;
    mr_str authority = has_authority ? r.authority : b.authority;
    mr_str query =
        !has_authority && r.path.len == 0 && mr_str_is_absent(r.query) ? b.query : r.query;
    if (!mr_str_is_absent(scheme)) {
        MR_TRY(mr_buf_str(out, scheme));
        MR_TRY(mr_buf_byte(out, ':'));
    }
    if (!mr_str_is_absent(authority)) {
        MR_TRY(mr_buf_str(out, MR_STR("//")));
        MR_TRY(mr_buf_str(out, authority));
    }
    MR_TRY(put_path(&b, &r, out));
    if (!mr_str_is_absent(query)) {
        MR_TRY(mr_buf_byte(out, '?'));
        MR_TRY(mr_buf_str(out, query));
    }
    *ret_fragment = fragment;
    return MR_OK;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

mr_err uri_decode(mr_str text, mr_buf *out, bool *ret_good) {
    size_t from = out->len;
    *ret_good = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_digit(text.ptr[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return MR_OK;
            }
            c = (char)(uint8_t)(high << 4 | low);
            i += 2;
        }
        MR_TRY(mr_buf_byte(out, c));
    }
    *ret_good = mr_str_is_utf8(mr_str_slice(mr_buf_view(out), from, out->len));
    return MR_OK;
}
