/* The binary form of CloudEvents over HTTP (HTTP binding 1.0.2 §3.1): attributes in ce- fields, the
 * data as the body, its type as the content type. See event.h.
 *
 * Values of fields are decoded as §3.1.3.2 says: a quoted string is unquoted, then percent triplets
 * become bytes, and the result must be UTF-8. A triplet that is none is refused, as the sender
 * meant something that cannot be known. Field names are compared without case, so names come out in
 * lower case.
 *
 * The content that re-sendings are compared by is composed in a fixed order, because proxies may
 * re-order fields: own attributes in the order of the table below, extensions by name, then data.
 */
#include "event/intake.h"

#include "base/num.h"
#include "event/text.h"
#include "json/write.h"

#define PREFIX "ce-"

static bool is_ce_field(mr_str name) {
    return name.len > 3 && mr_str_eq_nocase(mr_str_slice(name, 0, 3), MR_STR(PREFIX));
}

/* What follows ce-, in lower case. */
static mr_err take_name(struct intake *in, mr_str field, mr_str *ret_name) {
    mr_str name = mr_str_slice(field, 3, field.len);
    char *copy = mr_arena_alloc(in->arena, name.len);
    if (copy == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        copy[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    *ret_name = (mr_str){copy, name.len};
    return MR_OK;
}

/* Decodes into out, which has room for value.len bytes. False: a quote or a triplet is not whole.
 */
static bool decode_value(mr_str value, char *out, size_t *ret_len) {
    bool quoted = value.len > 0 && value.ptr[0] == '"';
    size_t end = value.len;
    size_t len = 0;
    if (quoted) {
        if (value.len < 2 || value.ptr[value.len - 1] != '"') {
            return false;
        }
        end--;
    }
    for (size_t i = quoted ? 1 : 0; i < end; i++) {
        char c = value.ptr[i];
        if (quoted && c == '"') {
            return false;
        }
        if (quoted && c == '\\') {
            if (++i == end) {
                return false;
            }
            c = value.ptr[i];
        }
        if (c == '%') {
            uint8_t byte;
            if (end - i < 3 ||
                mr_is_err(mr_hex_decode(mr_str_slice(value, i + 1, i + 3), &byte, 1))) {
                return false;
            }
            c = (char)byte;
            i += 2;
        }
        out[len++] = c;
    }
    *ret_len = len;
    return true;
}

static bool is_there(const struct event *event, mr_str specversion, mr_str name) {
    for (size_t i = 0; i < event->extensions_len; i++) {
        if (mr_str_eq(event->extensions[i].name, name)) {
            return true;
        }
    }
    return mr_str_eq(name, MR_STR("id"))        ? !mr_str_is_absent(event->id)
           : mr_str_eq(name, MR_STR("source"))  ? !mr_str_is_absent(event->source)
           : mr_str_eq(name, MR_STR("type"))    ? !mr_str_is_absent(event->type)
           : mr_str_eq(name, MR_STR("time"))    ? !mr_str_is_absent(event->time)
           : mr_str_eq(name, MR_STR("subject")) ? !mr_str_is_absent(event->subject)
           : mr_str_eq(name, MR_STR("dataschema"))
               ? !mr_str_is_absent(event->dataschema)
               : mr_str_eq(name, MR_STR("specversion")) && !mr_str_is_absent(specversion);
}

/* The value's JSON text. */
static mr_err text_as_json(struct intake *in, mr_str text, mr_str *ret_json) {
    mr_buf *scratch = &in->parser->scratch;
    mr_buf_reset(scratch);
    MR_TRY(json_string_write(text, JSON_UTF8, scratch));
    *ret_json = mr_arena_str(in->arena, mr_buf_view(scratch));
    return mr_str_is_absent(*ret_json) ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

static mr_err read_field(struct intake *in, const mr_field *field, struct event *event,
                         mr_str *specversion, struct intake_place place) {
    struct event_attribute attribute = {.name = MR_STR("")};
    MR_TRY(take_name(in, field->name, &attribute.name));
    bool own = intake_is_own(attribute.name);
    if (!event_is_attribute_name(attribute.name) ||
        (!own && attribute.name.len > in->parser->limits->name_bytes_max) ||
        mr_str_eq(attribute.name, MR_STR("datacontenttype"))) {
        intake_refuse(in, place, attribute.name, "name",
                      "A ce- field names an attribute of a-z and 0-9, 1 to 64 characters, and not "
                      "data or datacontenttype.");
        return MR_OK;
    }
    if (is_there(event, *specversion, attribute.name)) {
        intake_refuse(in, place, attribute.name, "duplicate", "The attribute was sent twice.");
        return MR_OK;
    }
    char *decoded = mr_arena_alloc(in->arena, field->value.len + 1);
    size_t len;
    if (decoded == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    if (!decode_value(field->value, decoded, &len)) {
        intake_refuse(in, place, attribute.name, "encoding",
                      "The field's value is not whole: a quote or a percent triplet.");
        return MR_OK;
    }
    attribute.text = (mr_str){decoded, len};
    if (!mr_str_is_utf8(attribute.text)) {
        intake_refuse(in, place, attribute.name, "utf8", "The attribute is not UTF-8.");
        return MR_OK;
    }
    if (!own) {
        MR_TRY(text_as_json(in, attribute.text, &attribute.json));
    }
    return intake_attribute(in, event, specversion, &attribute, place);
}

/* A body that is JSON by its type. */
static mr_err read_json_body(struct intake *in, mr_str body, struct event *event) {
    json_tape *tape = &in->parser->tape;
    json_error error = {.rule = "syntax", .expected = "JSON"};
    /* The data of an event is one level below it. */
    uint32_t depth_max = in->parser->limits->depth_max;
    tape->depth_max = depth_max > 1 ? depth_max - 1 : 1;
    mr_err err = json_tape_read(tape, body, &error);
    if (mr_err_is(err, MR_E_NOMEM)) {
        return err;
    }
    if (mr_is_err(err)) {
        event_errors_add(in->errors, 400, 0, MR_STR("/data"), (int64_t)error.offset, error.rule,
                         "The body is not JSON, as its content type says: byte %zu should be %s.",
                         error.offset, error.expected);
        return MR_OK;
    }
    event->data_kind = EVENT_DATA_JSON;
    event->data_value = json_root(tape);
    return json_minify_slice(event->data_value, &in->parser->scratch, in->arena, &event->data);
}

static mr_err read_body(struct intake *in, const struct event_media *media, mr_str body,
                        struct event *event) {
    if (body.len == 0) {
        return MR_OK;
    }
    if (media == NULL || event_media_is_json(media)) {
        return read_json_body(in, body, event);
    }
    if (mr_str_eq_nocase(media->type, MR_STR("text")) && event_media_is_utf8(media) &&
        mr_str_is_utf8(body)) {
        event->data_kind = EVENT_DATA_JSON;
        return text_as_json(in, body, &event->data);
    }
    mr_buf *scratch = &in->parser->scratch;
    mr_buf_reset(scratch);
    MR_TRY(mr_base64_encode(body, scratch));
    event->data_kind = EVENT_DATA_BASE64;
    event->data = mr_arena_str(in->arena, mr_buf_view(scratch));
    return mr_str_is_absent(event->data) ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

static void put_member(json_out *out, const char *name, mr_str text) {
    if (!mr_str_is_absent(text)) {
        json_out_member_str(out, name, text);
    }
}

/* The extension whose name is the smallest above `above`; NULL when there is none. At most 64 are
 * there, so that looking again for each is no matter. */
static const struct event_attribute *next_by_name(const struct event *event, mr_str above) {
    const struct event_attribute *best = NULL;
    for (size_t i = 0; i < event->extensions_len; i++) {
        const struct event_attribute *one = &event->extensions[i];
        if (mr_str_cmp(one->name, above) > 0 &&
            (best == NULL || mr_str_cmp(one->name, best->name) < 0)) {
            best = one;
        }
    }
    return best;
}

/* The event as the structured form would have it, in the order that event.h states. */
static mr_err compose_content(struct intake *in, struct event *event, mr_str specversion) {
    mr_buf *scratch = &in->parser->scratch;
    json_out out;
    mr_buf_reset(scratch);
    json_out_init(&out, scratch);
    json_out_object(&out);
    put_member(&out, "specversion", specversion);
    put_member(&out, "id", event->id);
    put_member(&out, "source", event->source);
    put_member(&out, "type", event->type);
    put_member(&out, "time", event->time);
    put_member(&out, "datacontenttype", event->datacontenttype);
    put_member(&out, "dataschema", event->dataschema);
    put_member(&out, "subject", event->subject);
    const struct event_attribute *one = next_by_name(event, MR_STR(""));
    for (; one != NULL; one = next_by_name(event, one->name)) {
        json_out_name(&out, one->name);
        json_out_raw(&out, one->json);
    }
    if (event->data_kind == EVENT_DATA_JSON) {
        json_out_member_raw(&out, "data", event->data);
    } else if (event->data_kind == EVENT_DATA_BASE64) {
        json_out_member_str(&out, "data_base64", event->data);
    }
    json_out_end(&out);
    MR_TRY(json_out_finish(&out));
    event->content = mr_arena_str(in->arena, mr_buf_view(scratch));
    return mr_str_is_absent(event->content) ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

mr_err binary_read(struct intake *in, mr_fields fields, mr_str content_type,
                   const struct event_media *media, mr_str body, struct event *ret_event) {
    struct intake_place place = {0, EVENT_OFFSET_NONE};
    mr_str specversion = MR_STR_NONE;
    ret_event->offset = EVENT_OFFSET_NONE;
    if (body.len > in->parser->limits->event_bytes_max) {
        event_errors_add(in->errors, 413, 0, MR_STR(""), EVENT_OFFSET_NONE, "limit",
                         "The event has more than %zu bytes.", in->parser->limits->event_bytes_max);
        return MR_OK;
    }
    for (size_t i = 0; i < fields.len; i++) {
        if (is_ce_field(fields.ptr[i].name)) {
            MR_TRY(read_field(in, &fields.ptr[i], ret_event, &specversion, place));
        }
    }
    if (media != NULL) {
        struct event_attribute type = {.name = MR_STR("datacontenttype"),
                                       .text = mr_str_trim(content_type)};
        MR_TRY(intake_attribute(in, ret_event, &specversion, &type, place));
    }
    intake_check(in, ret_event, specversion, place);
    MR_TRY(read_body(in, media, body, ret_event));
    MR_TRY(compose_content(in, ret_event, specversion));
    intake_check_size(in, ret_event, place);
    return MR_OK;
}
