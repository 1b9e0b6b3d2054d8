/* Events out of an HTTP call: which form it is, and the forms that are JSON. See event.h; the
 * binary form is in binary.c, the rules of attributes in intake.c.
 *
 * The body becomes one tape; each event's attributes are slices of it (or decoded copies in the
 * call's arena, where they were written with escapes), its data and its content are slices too
 * where the producer sent minified JSON. Nothing is copied then, and a warm parser allocates
 * nothing.
 *
 * A call is refused whole, but all its events are looked at, so that the answer tells up to
 * errors_max errors. A body that is no JSON is one error: there are no events to look at. */
#include "event/event.h"

#include "event/intake.h"
#include "event/text.h"
#include "json/write.h"

/* Memory that is kept from call to call. */
#define TAPE_KEEP_BYTES    ((size_t)4 << 20)
#define SCRATCH_KEEP_BYTES ((size_t)1 << 20)
/* Beside the copies of the body that a call may need: lists of events, errors. */
#define ARENA_BASE_BYTES ((size_t)8 << 20)
/* Minified text is never longer than what came; a body may be kept as content, as data and as
 * attributes. */
#define COPIES_MAX 4u

const struct event_limits event_limits_default = {
    .body_bytes_max = (size_t)8 << 20,
    .event_bytes_max = (size_t)256 << 10,
    .attribute_bytes_max = (size_t)8 << 10,
    .extensions_max = 64,
    .name_bytes_max = 64,
    .events_max = 1000,
    .depth_max = 64,
    .errors_max = 20,
};

void event_parser_init(struct event_parser *parser, const struct event_limits *limits) {
    *parser = (struct event_parser){.limits = limits};
    size_t most = limits->body_bytes_max * COPIES_MAX + ARENA_BASE_BYTES;
    json_tape_init(&parser->tape, limits->depth_max);
    mr_buf_init(&parser->scratch, most);
    mr_arena_init(&parser->arena, most);
}

void event_parser_done(struct event_parser *parser) {
    json_tape_done(&parser->tape);
    mr_buf_done(&parser->scratch);
    mr_arena_done(&parser->arena);
}

mr_arena *event_parser_arena(struct event_parser *parser) {
    return &parser->arena;
}

/* An extension attribute of the JSON format (§2.2): string, boolean or integer. False: refused. */
static bool read_extension_value(struct intake *in, json_value value, struct intake_place place,
                                 struct event_attribute *attribute) {
    int64_t n;
    switch (json_kind_of(value)) {
    case JSON_TRUE:
    case JSON_FALSE:
        attribute->text = json_raw(value);
        return true;
    case JSON_NUMBER:
        attribute->text = json_raw(value);
        if (mr_is_ok(json_i64(value, INT32_MIN, INT32_MAX, &n))) {
            return true;
        }
        intake_refuse(in, place, attribute->name, "type",
                      "A number in an attribute must be an integer of 32 bits.");
        return false;
    case JSON_ABSENT:
    case JSON_NULL:
    case JSON_STRING:
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    intake_refuse(in, place, attribute->name, "type",
                  "An attribute must be a string, a boolean or an integer.");
    return false;
}

/* One member of an event other than data and data_base64. */
static mr_err read_member(struct intake *in, json_value value, mr_str name, struct event *event,
                          mr_str *specversion, struct intake_place place) {
    struct event_attribute attribute = {.name = name};
    bool own = intake_is_own(name);
    if (!own && (!event_is_attribute_name(name) || name.len > in->parser->limits->name_bytes_max)) {
        intake_refuse(in, place, name, "name",
                      "An attribute's name has 1 to 64 characters of a-z and 0-9.");
        return MR_OK;
    }
    if (json_kind_of(value) == JSON_STRING) {
        MR_TRY(json_string(value, in->arena, &attribute.text));
    } else if (own) {
        intake_refuse(in, place, name, "type", "The attribute must be a string.");
        return MR_OK;
    } else if (!read_extension_value(in, value, place, &attribute)) {
        return MR_OK;
    }
    if (!own) {
        MR_TRY(json_minify_slice(value, &in->parser->scratch, in->arena, &attribute.json));
    }
    return intake_attribute(in, event, specversion, &attribute, place);
}

static mr_err read_data(struct intake *in, json_value data, json_value base64, struct event *event,
                        struct intake_place place) {
    if (!json_is_absent(base64) && json_kind_of(base64) != JSON_NULL) {
        place.offset = (int64_t)json_offset(base64);
        if (!json_is_absent(data)) {
            intake_refuse(in, place, MR_STR("data_base64"), "data",
                          "An event has either data or data_base64.");
            return MR_OK;
        }
        mr_str text = MR_STR("!");
        if (json_kind_of(base64) == JSON_STRING) {
            MR_TRY(json_string(base64, in->arena, &text));
        }
        if (!event_text_is_base64(text)) {
            intake_refuse(in, place, MR_STR("data_base64"), "base64",
                          "The member must be a string in base64 (RFC 4648 section 4).");
        }
        event->data_kind = EVENT_DATA_BASE64;
        event->data = text;
        return MR_OK;
    }
    if (!json_is_absent(data)) {
        event->data_kind = EVENT_DATA_JSON;
        event->data_value = data;
        return json_minify_slice(data, &in->parser->scratch, in->arena, &event->data);
    }
    return MR_OK;
}

/* One event of the JSON format. */
static mr_err read_event(struct intake *in, json_value value, uint32_t index, struct event *event) {
    struct intake_place whole = {index, (int64_t)json_offset(value)};
    mr_str specversion = MR_STR_NONE;
    json_value data = JSON_NONE;
    json_value base64 = JSON_NONE;
    event->offset = whole.offset;
    if (json_kind_of(value) != JSON_OBJECT) {
        intake_refuse(in, whole, MR_STR(""), "type", "An event must be a JSON object.");
        return MR_OK;
    }
    for (json_iter it = json_iter_of(value); json_next(&it);) {
        mr_str name;
        MR_TRY(json_string(it.name, in->arena, &name));
        if (mr_str_eq(name, MR_STR("data"))) {
            data = it.value;
        } else if (mr_str_eq(name, MR_STR("data_base64"))) {
            base64 = it.value;
        } else if (json_kind_of(it.value) != JSON_NULL) {
            struct intake_place place = {index, (int64_t)json_offset(it.value)};
            MR_TRY(read_member(in, it.value, name, event, &specversion, place));
        }
    }
    MR_TRY(read_data(in, data, base64, event, whole));
    intake_check(in, event, specversion, whole);
    MR_TRY(json_minify_slice(value, &in->parser->scratch, in->arena, &event->content));
    intake_check_size(in, event, whole);
    return MR_OK;
}

/* Reads the body into the tape. False: it is no JSON, which is told. */
static mr_err read_json(struct intake *in, mr_str body, bool is_array, bool *ret_good) {
    json_tape *tape = &in->parser->tape;
    json_error error = {.rule = "syntax", .expected = "JSON"};
    /* Depth counts from the event: the array around a batch is not part of it. */
    tape->depth_max = in->parser->limits->depth_max + (is_array ? 1 : 0);
    mr_err err = json_tape_read(tape, body, &error);
    if (mr_err_is(err, MR_E_NOMEM)) {
        return err;
    }
    *ret_good = mr_is_ok(err);
    if (mr_is_err(err)) {
        event_errors_add(in->errors, 400, 0, MR_STR(""), (int64_t)error.offset, error.rule,
                         "The body is not the JSON expected here: byte %zu should be %s.",
                         error.offset, error.expected);
    }
    return MR_OK;
}

/* What an application/json body may be. */
enum json_form {
    FORM_EITHER = 0, /* application/json */
    FORM_ONE,        /* application/cloudevents+json */
    FORM_BATCH,      /* application/cloudevents-batch+json */
};

static bool begins_array(mr_str body) {
    size_t i = 0;
    while (i < body.len && (body.ptr[i] == ' ' || body.ptr[i] == '\t' || body.ptr[i] == '\n' ||
                            body.ptr[i] == '\r')) {
        i++;
    }
    return i < body.len && body.ptr[i] == '[';
}

static mr_err parse_json(struct intake *in, mr_str body, enum json_form form,
                         struct event_batch *batch) {
    const struct event_limits *limits = in->parser->limits;
    bool is_array = begins_array(body);
    bool good;
    MR_TRY(read_json(in, body, is_array, &good));
    if (!good) {
        return MR_OK;
    }
    json_value root = json_root(&in->parser->tape);
    size_t n = is_array ? json_count(root) : 1;
    if (form != FORM_EITHER && is_array != (form == FORM_BATCH)) {
        event_errors_add(in->errors, 400, 0, MR_STR(""), (int64_t)json_offset(root), "type",
                         form == FORM_BATCH ? "A batch must be a JSON array."
                                            : "The structured form has one event, a JSON object.");
        return MR_OK;
    }
    if (n > limits->events_max) {
        event_errors_add(in->errors, 413, limits->events_max, MR_STR(""), EVENT_OFFSET_NONE,
                         "limit", "A call has at most %u events.", limits->events_max);
        return MR_OK;
    }
    batch->ptr = mr_arena_calloc(in->arena, n == 0 ? 1 : n, sizeof *batch->ptr);
    if (batch->ptr == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    batch->len = n;
    if (!is_array) {
        return read_event(in, root, 0, &batch->ptr[0]);
    }
    uint32_t index = 0;
    for (json_iter it = json_iter_of(root); json_next(&it); index++) {
        MR_TRY(read_event(in, it.value, index, &batch->ptr[index]));
    }
    return MR_OK;
}

static mr_err parse_binary(struct intake *in, mr_fields fields, mr_str content_type,
                           const struct event_media *media, mr_str body,
                           struct event_batch *batch) {
    batch->ptr = mr_arena_calloc(in->arena, 1, sizeof *batch->ptr);
    if (batch->ptr == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    batch->len = 1;
    return binary_read(in, fields, content_type, media, body, &batch->ptr[0]);
}

static void refuse_type(struct intake *in, const char *message) {
    event_errors_add(in->errors, 415, 0, MR_STR(""), EVENT_OFFSET_NONE, "content-type", "%s",
                     message);
}

/* Chooses the form; see event_parse. */
static mr_err parse_call(struct intake *in, mr_fields fields, mr_str body,
                         struct event_batch *batch) {
    mr_str content_type = mr_fields_find(fields, MR_STR("content-type"));
    struct event_media media = {.type = MR_STR("")};
    bool has_type = !mr_str_is_absent(content_type);
    if (mr_fields_count(fields, MR_STR("content-type")) > 1 ||
        (has_type && !event_media_parse(content_type, &media))) {
        refuse_type(in, "The content type must be one media type.");
        return MR_OK;
    }
    bool structured = has_type && event_media_is(&media, "application", "cloudevents+json");
    bool batched = has_type && event_media_is(&media, "application", "cloudevents-batch+json");
    bool plain = has_type && event_media_is(&media, "application", "json");
    bool binary = !structured && !batched &&
                  !mr_str_is_absent(mr_fields_find(fields, MR_STR("ce-specversion")));
    bool json = structured || batched || plain || (binary && event_media_is_json(&media));
    if (!binary && !json) {
        refuse_type(in, "Events come as application/cloudevents+json, "
                        "application/cloudevents-batch+json, application/json, or in binary form "
                        "with ce-specversion.");
        return MR_OK;
    }
    if (json && !event_media_is_utf8(&media)) {
        refuse_type(in, "JSON must be sent as UTF-8.");
        return MR_OK;
    }
    if (binary) {
        return parse_binary(in, fields, content_type, has_type ? &media : NULL, body, batch);
    }
    return parse_json(in, body, structured ? FORM_ONE : batched ? FORM_BATCH : FORM_EITHER, batch);
}

mr_err event_parse(struct event_parser *parser, mr_fields fields, mr_str body,
                   struct event_batch *ret_batch) {
    json_tape_trim(&parser->tape, TAPE_KEEP_BYTES);
    if (parser->scratch.cap > SCRATCH_KEEP_BYTES) {
        mr_buf_done(&parser->scratch);
    }
    mr_arena_reset(&parser->arena);
    struct event_batch batch = {.len = 0};
    event_errors_init(&batch.errors, &parser->arena, parser->limits->errors_max);
    struct intake in = {.parser = parser, .errors = &batch.errors, .arena = &parser->arena};
    if (mr_str_is_absent(body)) {
        body = MR_STR("");
    }
    if (body.len > parser->limits->body_bytes_max) {
        event_errors_add(&batch.errors, 413, 0, MR_STR(""), EVENT_OFFSET_NONE, "limit",
                         "The body has more than %zu bytes.", parser->limits->body_bytes_max);
    } else {
        MR_TRY(parse_call(&in, fields, body, &batch));
    }
    *ret_batch = batch;
    return MR_OK;
}
