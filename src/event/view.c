/* Reading stored envelopes back. See envelope.h.
 *
 * What is read was written by event_envelope_write, so its members stand in one order and without
 * white space: a cursor that expects `,"time":"` and the like is enough, and far cheaper than the
 * strict reader. The bytes may still be damaged in ways a checksum lets through, or come from
 * another version: every step is bounded and anything unexpected is MR_E_INVALID. */
#include "event/envelope.h"

#include "json/tape.h"

/* A cursor over the envelope. */
struct scan {
    const char *at;
    const char *end;
};

static bool take(struct scan *s, mr_str text) {
    if ((size_t)(s->end - s->at) < text.len || memcmp(s->at, text.ptr, text.len) != 0) {
        return false;
    }
    s->at += text.len;
    return true;
}

/* Moves from behind an opening quote to behind the closing one. */
static bool skip_string(struct scan *s) {
    while (s->at < s->end) {
        const char *quote = memchr(s->at, '"', (size_t)(s->end - s->at));
        if (quote == NULL) {
            return false;
        }
        size_t slashes = 0;
        for (const char *p = quote; p > s->at && p[-1] == '\\'; p--) {
            slashes++;
        }
        s->at = quote + 1;
        if (slashes % 2 == 0) {
            return true;
        }
    }
    return false;
}

/* The inside of the string whose opening quote was taken. */
static bool take_inner(struct scan *s, mr_str *ret_inner) {
    const char *from = s->at;
    if (!skip_string(s)) {
        return false;
    }
    *ret_inner = mr_str_of(from, (size_t)(s->at - 1 - from));
    return true;
}

static bool skip_container(struct scan *s) {
    size_t depth = 0;
    while (s->at < s->end) {
        char c = *s->at++;
        if (c == '"') {
            if (!skip_string(s)) {
                return false;
            }
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (--depth == 0) {
                return true;
            }
        }
    }
    return false;
}

/* One minified JSON value. */
static bool take_value(struct scan *s, mr_str *ret_json) {
    const char *from = s->at;
    if (s->at == s->end) {
        return false;
    }
    if (*s->at == '{' || *s->at == '[') {
        if (!skip_container(s)) {
            return false;
        }
    } else if (*s->at == '"') {
        s->at++;
        if (!skip_string(s)) {
            return false;
        }
    } else {
        while (s->at < s->end && *s->at != ',' && *s->at != '}' && *s->at != ']') {
            s->at++;
        }
    }
    *ret_json = mr_str_of(from, (size_t)(s->at - from));
    return s->at > from;
}

mr_err event_view_read(mr_str envelope, struct event_view *ret_view) {
    if (envelope.len == 0) {
        return MR_ERR(MR_E_INVALID);
    }
    struct event_view view = {.envelope = envelope};
    struct scan s = {envelope.ptr, envelope.ptr + envelope.len};
    bool good = take(&s, MR_STR("{"));
    if (good && take(&s, MR_STR("\"data\":"))) {
        good = take_value(&s, &view.data) && take(&s, MR_STR(","));
    } else if (good && take(&s, MR_STR("\"data_base64\":\""))) {
        view.data_is_base64 = true;
        good = take_inner(&s, &view.data) && take(&s, MR_STR(","));
    }
    good = good && take(&s, MR_STR("\"id\":\"")) && take_inner(&s, &view.id) &&
           take(&s, MR_STR(",\"time\":\"")) && take_inner(&s, &view.time) &&
           take(&s, MR_STR(",\"type\":\"")) && take_inner(&s, &view.type) &&
           take(&s, MR_STR(",\"source\":\"")) && take_inner(&s, &view.source);
    if (good && take(&s, MR_STR(",\"dataschema\":\""))) {
        good = take_inner(&s, &view.dataschema);
    }
    good = good && take(&s, MR_STR(",\"specversion\":\"1.0\",\"datacontenttype\":\"")) &&
           take_inner(&s, &view.datacontenttype);
    if (!good || s.at == s.end || s.end[-1] != '}') {
        return MR_ERR(MR_E_INVALID);
    }
    view.rest = mr_str_of(s.at, (size_t)(s.end - 1 - s.at));
    *ret_view = view;
    return MR_OK;
}

/* Where `text` begins last before `end`; NULL: nowhere. Looked for by one byte of it that is rare
 * in envelopes. */
static const char *find_last(mr_str envelope, const char *end, mr_str text, size_t rare) {
    const char *from = envelope.ptr + rare;
    const char *to = end;
    while (to > from) {
        const char *hit = memrchr(from, text.ptr[rare], (size_t)(to - from));
        if (hit == NULL) {
            return NULL;
        }
        const char *at = hit - rare;
        if ((size_t)(end - at) >= text.len && memcmp(at, text.ptr, text.len) == 0) {
            return at;
        }
        to = hit;
    }
    return NULL;
}

/* From behind. A quote inside of a string stands behind a backslash, so that `,"time":"` is never
 * part of one; behind the envelope's own time there are strings, numbers, true and false alone, of
 * other names. The data, where both may stand, lies before. */
mr_err event_view_id(mr_str envelope, mr_str *ret_id) {
    if (envelope.len < sizeof "{\"id\":\"\",\"time\":\"\"}" - 1) {
        return MR_ERR(MR_E_INVALID);
    }
    const char *end = envelope.ptr + envelope.len;
    const char *time = find_last(envelope, end, MR_STR(",\"time\":\""), 7);
    if (time == NULL || time == envelope.ptr || time[-1] != '"') {
        return MR_ERR(MR_E_INVALID);
    }
    const char *id = find_last(envelope, time, MR_STR("\"id\":\""), 4);
    if (id == NULL || id == envelope.ptr || (id[-1] != ',' && id[-1] != '{') || time - id < 7) {
        return MR_ERR(MR_E_INVALID);
    }
    *ret_id = mr_str_of(id + 6, (size_t)(time - 1 - (id + 6)));
    return MR_OK;
}

/* False where the span lies outside. */
static bool span_of(mr_str envelope, struct event_span span, mr_str *ret_s) {
    if (span.at > envelope.len || span.len > envelope.len - span.at) {
        return false;
    }
    *ret_s = span.at == 0 ? MR_STR_NONE : mr_str_slice(envelope, span.at, span.at + span.len);
    return true;
}

mr_err event_view_of(mr_str envelope, const struct event_layout *layout,
                     struct event_view *ret_view) {
    struct event_view view = {.envelope = envelope, .data_is_base64 = layout->data_is_base64};
    bool good = span_of(envelope, layout->data, &view.data) &&
                span_of(envelope, layout->id, &view.id) &&
                span_of(envelope, layout->time, &view.time) &&
                span_of(envelope, layout->type, &view.type) &&
                span_of(envelope, layout->source, &view.source) &&
                span_of(envelope, layout->dataschema, &view.dataschema) &&
                span_of(envelope, layout->datacontenttype, &view.datacontenttype);
    size_t rest = (size_t)layout->datacontenttype.at + layout->datacontenttype.len + 1;
    if (!good || mr_str_is_absent(view.id) || mr_str_is_absent(view.datacontenttype) ||
        rest >= envelope.len) {
        return MR_ERR(MR_E_INVALID);
    }
    view.rest = mr_str_slice(envelope, rest, envelope.len - 1);
    *ret_view = view;
    return MR_OK;
}

bool event_view_next(mr_str *rest, mr_str *ret_name, mr_str *ret_json) {
    if (rest->len == 0) {
        return false;
    }
    struct scan s = {rest->ptr, rest->ptr + rest->len};
    mr_str name;
    mr_str json;
    if (!take(&s, MR_STR(",\"")) || !take_inner(&s, &name) || !take(&s, MR_STR(":")) ||
        !take_value(&s, &json)) {
        return false;
    }
    *ret_name = name;
    *ret_json = json;
    *rest = mr_str_of(s.at, (size_t)(s.end - s.at));
    return true;
}

mr_err event_text(mr_str inner, mr_arena *arena, mr_str *ret_text) {
    return json_inner_decode(inner, arena, ret_text);
}
