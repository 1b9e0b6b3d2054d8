/* Events out of any bytes. The input is a call in text: lines `name: value` up to an empty line,
 * then the body; without fields it is taken as application/json. What must hold: a call without
 * errors gives events whose envelope is JSON, reads back to the same parts, and renders in every
 * format; and any bytes at all may be handed to the reader of stored envelopes. */
#include "event/envelope.h"
#include "event/render.h"
#include "json/write.h"

#define FIELDS_MAX 100

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good) {
    MR_ASSERT(good);
}

static bool find_type(const void *ctx, mr_str type, mr_str *ret_schema, uint32_t *ret_latest) {
    (void)ctx;
    *ret_schema = MR_STR("S");
    *ret_latest = 2;
    return type.len % 2 == 0;
}

static enum event_schema_use use_schema(const void *ctx, mr_str schema, uint32_t version,
                                        mr_str type) {
    (void)ctx;
    (void)schema;
    return (enum event_schema_use)((version + type.len) % 4);
}

static const struct event_catalogue catalogue = {NULL, find_type, use_schema};

static size_t take_fields(mr_str *rest, mr_field fields[FIELDS_MAX]) {
    size_t n = 0;
    mr_str line;
    while (n < FIELDS_MAX && mr_str_find_byte(*rest, '\n', 0) != SIZE_MAX &&
           mr_str_find_byte(*rest, ':', 0) != SIZE_MAX && rest->ptr[0] != '{' &&
           rest->ptr[0] != '[' && mr_str_split(rest, '\n', &line) && line.len > 0) {
        size_t colon = mr_str_find_byte(line, ':', 0);
        fields[n].name = mr_str_slice(line, 0, colon);
        fields[n].value = mr_str_trim(mr_str_slice(line, colon + 1, line.len));
        n += colon != SIZE_MAX;
    }
    return n;
}

static void check_json(mr_str text) {
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT + 2);
    check(mr_is_ok(json_tape_read(&tape, text, NULL)));
    json_tape_done(&tape);
}

static void check_same(mr_str a, mr_str b) {
    check(mr_str_is_absent(a) == mr_str_is_absent(b) && a.len == b.len && a.ptr == b.ptr);
}

static void check_render(mr_str envelope, mr_arena *arena) {
    mr_buf body;
    mr_fields fields;
    mr_str two[2] = {envelope, envelope};
    mr_buf_init(&body, SIZE_MAX / 2);
    check(mr_is_ok(event_render(EVENT_FORMAT_KORE, JSON_ESCAPE_NON_ASCII, two, 2, &body)));
    check_json(mr_buf_view(&body));
    mr_buf_reset(&body);
    check(mr_is_ok(event_render_binary(JSON_UTF8, envelope, arena, &body, &fields)));
    for (size_t i = 0; i < fields.len; i++) {
        for (size_t at = 0; at < fields.ptr[i].value.len; at++) {
            char c = fields.ptr[i].value.ptr[at];
            check((c >= ' ' && c <= '~') || c == '\t');
        }
    }
    mr_buf_done(&body);
}

static void check_event(struct event_parser *parser, struct event_batch *batch, uint32_t index) {
    const mr_str alias = MR_STR("https://alias.example");
    struct event_place place = {.received = {INT64_C(1727291388584208700)},
                                .public_url = MR_STR("https://own.example"),
                                .aliases = &alias,
                                .aliases_len = 1,
                                .catalogue = &catalogue};
    struct event_resolution resolution;
    struct event_layout layout;
    struct event_view of;
    struct event_view read;
    mr_str id;
    mr_buf out;
    const struct event *event = &batch->ptr[index];
    check_json(event->content);
    if (!event_resolve(event, index, &place, &batch->errors, &resolution)) {
        check(batch->errors.found > 0);
        return;
    }
    mr_buf_init(&out, SIZE_MAX / 2);
    check(mr_is_ok(event_envelope_write(event, &resolution, &place, &out, &layout)));
    mr_str envelope = mr_buf_view(&out);
    check_json(envelope);
    check(mr_is_ok(event_view_of(envelope, &layout, &of)));
    check(mr_is_ok(event_view_read(envelope, &read)));
    check_same(of.data, read.data);
    check_same(of.id, read.id);
    check(mr_is_ok(event_view_id(envelope, &id)));
    check_same(id, read.id);
    check_same(of.dataschema, read.dataschema);
    check_same(of.rest, read.rest);
    check_render(envelope, event_parser_arena(parser));
    mr_buf_done(&out);
}

static void read_as_envelope(mr_str text) {
    struct event_view view;
    mr_str name;
    mr_str json;
    mr_str id;
    if (mr_is_ok(event_view_id(text, &id))) {
        check(id.ptr > text.ptr && id.ptr + id.len < text.ptr + text.len);
    }
    if (mr_is_ok(event_view_read(text, &view))) {
        mr_arena arena;
        mr_buf body;
        mr_fields fields;
        mr_arena_init(&arena, 1 << 24);
        mr_buf_init(&body, 1 << 24);
        while (event_view_next(&view.rest, &name, &json)) {
            check(json.len > 0);
        }
        mr_ignore(event_render_binary(JSON_UTF8, text, &arena, &body, &fields), "may be damaged");
        mr_arena_done(&arena);
        mr_buf_done(&body);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mr_str text = {(const char *)data, size};
    mr_str body = text;
    mr_field fields[FIELDS_MAX];
    struct event_parser parser;
    struct event_batch batch;
    read_as_envelope(text);
    size_t n = take_fields(&body, fields);
    if (n == 0) {
        fields[n++] = (mr_field){MR_STR("content-type"), MR_STR("application/json")};
    }
    event_parser_init(&parser, &event_limits_default);
    check(mr_is_ok(event_parse(&parser, (mr_fields){fields, n}, body, &batch)));
    check((batch.errors.found > 0) == (batch.errors.http_status != 0));
    for (uint32_t i = 0; batch.errors.found == 0 && i < batch.len; i++) {
        check_event(&parser, &batch, i);
    }
    mr_buf told;
    json_out out;
    mr_buf_init(&told, SIZE_MAX / 2);
    json_out_init(&out, &told);
    event_errors_write(&batch.errors, &out);
    check(mr_is_ok(json_out_finish(&out)));
    check_json(mr_buf_view(&told));
    mr_buf_done(&told);
    event_parser_done(&parser);
    return 0;
}
