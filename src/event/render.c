/* Request bodies from stored envelopes. See render.h.
 *
 * The stored envelope is already what goes out, so the three JSON formats are joins of bytes. Only
 * the binary form takes an envelope apart again: attributes become ce- fields, percent-encoded as
 * the HTTP binding (1.0.2 §3.1.3.2) says: space, double quote, percent and all outside
 * U+0021–U+007E; the data becomes the body. */
#include "event/render.h"

#include "base/num.h"
#include "event/envelope.h"
#include "event/text.h"

/* Own attributes that become fields, content-type among them; and extensions. */
#define FIELDS_MAX 80u

struct format_row {
    mr_str name;
    mr_str content_type;
    size_t events_max;
};

#define ROW(name, type, max)                                                                       \
    { {name, sizeof name - 1}, {type, sizeof type - 1}, max }
static const struct format_row rows[] = {
    [EVENT_FORMAT_KORE] = ROW("kore", "application/json; charset=utf-8", 50),
    [EVENT_FORMAT_CE_BATCH] =
        ROW("ce-batch", "application/cloudevents-batch+json; charset=utf-8", 50),
    [EVENT_FORMAT_CE_STRUCTURED] =
        ROW("ce-structured", "application/cloudevents+json; charset=utf-8", 1),
    [EVENT_FORMAT_CE_BINARY] = {{"ce-binary", 9}, {NULL, 0}, 1},
};
#undef ROW

mr_err event_format_parse(mr_str name, enum event_format *ret_format) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (mr_str_eq(rows[i].name, name)) {
            *ret_format = (enum event_format)i;
            return MR_OK;
        }
    }
    return MR_ERR(MR_E_INVALID);
}

mr_str event_format_name(enum event_format format) {
    return rows[format].name;
}

size_t event_format_events_max(enum event_format format) {
    return rows[format].events_max;
}

mr_str event_format_content_type(enum event_format format) {
    return rows[format].content_type;
}

static mr_err render_array(enum json_escape escape, const mr_str *envelopes, size_t n,
                           mr_buf *out) {
    size_t total = n + 1;
    for (size_t i = 0; i < n; i++) {
        total += envelopes[i].len;
    }
    MR_TRY(mr_buf_reserve(out, total, NULL));
    MR_TRY(mr_buf_byte(out, '['));
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            MR_TRY(mr_buf_byte(out, ','));
        }
        MR_TRY(json_text_write(envelopes[i], escape, out));
    }
    return mr_buf_byte(out, ']');
}

mr_err event_render(enum event_format format, enum json_escape escape, const mr_str *envelopes,
                    size_t n, mr_buf *out) {
    MR_ASSERT(format != EVENT_FORMAT_CE_BINARY);
    if (format == EVENT_FORMAT_CE_STRUCTURED) {
        MR_ASSERT(n == 1);
        return json_text_write(envelopes[0], escape, out);
    }
    size_t before = out->len;
    mr_err err = render_array(escape, envelopes, n, out);
    if (mr_is_err(err)) {
        mr_buf_truncate(out, before);
    }
    return err;
}

/* The fields of one binary request while they are made. */
struct field_list {
    mr_arena *arena;
    mr_field *ptr;
    size_t len;
};

static bool stands_in_field(char c) {
    return c > ' ' && c <= '~' && c != '"' && c != '%';
}

/* A decoded text percent-encoded; the text itself where nothing needs it. */
static mr_err encode_value(mr_arena *arena, mr_str text, mr_str *ret_value) {
    static const char digits[] = "0123456789ABCDEF";
    size_t extra = 0;
    for (size_t i = 0; i < text.len; i++) {
        extra += stands_in_field(text.ptr[i]) ? 0 : 2;
    }
    if (extra == 0) {
        *ret_value = text;
        return MR_OK;
    }
    char *copy = mr_arena_alloc(arena, text.len + extra);
    if (copy == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    char *at = copy;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (stands_in_field((char)c)) {
            *at++ = (char)c;
        } else {
            *at++ = '%';
            *at++ = digits[c >> 4];
            *at++ = digits[c & 15];
        }
    }
    *ret_value = mr_str_of(copy, (size_t)(at - copy));
    return MR_OK;
}

/* inner: of a JSON string, or the bare text of a boolean or an integer. Absent: no field. */
static mr_err add_field(struct field_list *list, mr_str name, mr_str inner) {
    if (mr_str_is_absent(inner)) {
        return MR_OK;
    }
    if (list->len == FIELDS_MAX) {
        return MR_ERR(MR_E_INVALID);
    }
    mr_str text;
    mr_field field = {.name = name};
    MR_TRY(event_text(inner, list->arena, &text));
    MR_TRY(encode_value(list->arena, text, &field.value));
    list->ptr[list->len++] = field;
    return MR_OK;
}

static mr_err add_rest(struct field_list *list, mr_str rest) {
    mr_str name;
    mr_str json;
    while (event_view_next(&rest, &name, &json)) {
        char *field = mr_arena_alloc(list->arena, name.len + 3);
        if (field == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        memcpy(field, "ce-", 3);
        memcpy(field + 3, name.ptr, name.len);
        mr_str inner = json.ptr[0] == '"' ? mr_str_slice(json, 1, json.len - 1) : json;
        MR_TRY(add_field(list, mr_str_of(field, name.len + 3), inner));
    }
    return rest.len == 0 ? MR_OK : MR_ERR(MR_E_INVALID);
}

/* The data's bytes. media_type is decoded. */
static mr_err put_body(enum json_escape escape, const struct event_view *view, mr_str media_type,
                       mr_arena *arena, mr_buf *body) {
    if (mr_str_is_absent(view->data)) {
        return MR_OK;
    }
    if (view->data_is_base64) {
        return mr_base64_decode(view->data, body);
    }
    bool is_string = view->data.len >= 2 && view->data.ptr[0] == '"';
    if (!is_string || event_is_json_type(media_type)) {
        return json_text_write(view->data, escape, body);
    }
    mr_str text;
    MR_TRY(event_text(mr_str_slice(view->data, 1, view->data.len - 1), arena, &text));
    return mr_buf_str(body, text);
}

mr_err event_render_binary(enum json_escape escape, mr_str envelope, mr_arena *arena, mr_buf *body,
                           mr_fields *ret_fields) {
    struct event_view view;
    mr_str media_type;
    MR_TRY(event_view_read(envelope, &view));
    MR_TRY(event_text(view.datacontenttype, arena, &media_type));
    struct event_media media;
    if (!event_media_parse(media_type, &media)) {
        return MR_ERR(MR_E_INVALID);
    }
    struct field_list list = {.arena = arena};
    list.ptr = mr_arena_calloc(arena, FIELDS_MAX, sizeof *list.ptr);
    if (list.ptr == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    list.ptr[list.len++] = (mr_field){MR_STR("content-type"), media_type};
    MR_TRY(add_field(&list, MR_STR("ce-id"), view.id));
    MR_TRY(add_field(&list, MR_STR("ce-time"), view.time));
    MR_TRY(add_field(&list, MR_STR("ce-type"), view.type));
    MR_TRY(add_field(&list, MR_STR("ce-source"), view.source));
    MR_TRY(add_field(&list, MR_STR("ce-dataschema"), view.dataschema));
    MR_TRY(add_field(&list, MR_STR("ce-specversion"), MR_STR("1.0")));
    MR_TRY(add_rest(&list, view.rest));
    MR_TRY(put_body(escape, &view, media_type, arena, body));
    *ret_fields = (mr_fields){list.ptr, list.len};
    return MR_OK;
}
