/* KORE's envelope: completed, written, read back, and rendered for receivers. */
#include "base/mem.h"
#include "event/render.h"
#include "event/shipped.h"
#include "support_event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#define HEAD(type) "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"" type "\""
#define FILLED     "\"time\":\"2024-09-25T19:09:48.5842087+00:00\""

static struct event_parser parser;
static mr_buf out;
static mr_arena arena;

static int set_up(void **state) {
    (void)state;
    event_parser_init(&parser, &event_limits_default);
    mr_buf_init(&out, 10000);
    mr_arena_init(&arena, 1 << 20);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    event_parser_done(&parser);
    mr_buf_done(&out);
    mr_arena_done(&arena);
    return 0;
}

/* The envelope of a JSON event, as the test place completes it. */
static mr_str envelope_of(const char *body, struct event_layout *ret_layout) {
    struct event_place place = support_place();
    struct event_resolution resolution;
    struct event_batch batch = support_parse(&parser, "application/json", body);
    assert_string_equal(support_rule(&batch), "");
    assert_true(event_resolve(&batch.ptr[0], 0, &place, &batch.errors, &resolution));
    mr_buf_reset(&out);
    assert_true(
        mr_is_ok(event_envelope_write(&batch.ptr[0], &resolution, &place, &out, ret_layout)));
    return mr_buf_view(&out);
}

static void a_dataschema_that_cannot_be_meant_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *type, *dataschema;
    } rows[] = {
        {"known", "/schemas/S/3"},
        {"known", "/schemas/S/0"},
        {"known", "/schemas/S/01"},
        {"known", "/schemas/S/"},
        {"known", "/schemas/S"},
        {"known", "/schemas//1"},
        {"known", "/schemas/S/1/"},
        {"known", "/schemas/S/99999999999"},
        {"known", "/schemas/X/1"},
        {"known", "/schemas/O/1"},
        {"known", "/schemas/F/1"},
        {"known", "elsewhere"},
        {"known", "?x"},
        {"known", "https://own.example/base/schemas/O/1"},
        {"known", "https://own.example/base/x"},
        {"known", "https://alias.example/schemas/S/7"},
        {"unknown", "/schemas/S/1"},
        {EVENT_TEST_TYPE, "/schemas/test/2"},
    };
    struct event_place place = support_place();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct event_batch batch = support_parse(&parser, "application/json", "[]");
        struct event event = {.type = mr_str_c(rows[i].type),
                              .dataschema = mr_str_c(rows[i].dataschema)};
        struct event_resolution resolution;
        if (event_resolve(&event, 4, &place, &batch.errors, &resolution)) {
            fail_msg("%s", rows[i].dataschema);
        }
        assert_string_equal(support_rule(&batch), "dataschema");
        assert_int_equal(batch.errors.ptr[0].index, 4);
        assert_true(mr_str_eq(batch.errors.ptr[0].pointer, MR_STR("/dataschema")));
    }
    struct event_batch batch = support_parse(&parser, "application/json", "[]");
    struct event event = {.type = MR_STR("unknown"), .dataschema = MR_STR_NONE};
    struct event_resolution resolution;
    place.refuse_unknown_types = true;
    assert_false(event_resolve(&event, 0, &place, &batch.errors, &resolution));
    assert_string_equal(support_rule(&batch), "unknown_type");
}

static void a_dataschema_is_resolved_and_written_absolute(void **state) {
    (void)state;
    static const struct {
        const char *type, *sent, *written;
        enum event_schema_form form;
        uint32_t version;
    } rows[] = {
        {"known", NULL, "https://own.example/base/schemas/S/2", EVENT_SCHEMA_OWN, 2},
        {"known", "/schemas/S/1", "https://own.example/base/schemas/S/1", EVENT_SCHEMA_OWN, 1},
        {"known", "schemas/S/1", "https://own.example/base/schemas/S/1", EVENT_SCHEMA_OWN, 1},
        {"known", "HTTPS://OWN.example/base/schemas/S/1", "https://own.example/base/schemas/S/1",
         EVENT_SCHEMA_OWN, 1},
        {"known", "https://alias.example/schemas/S/2", "https://own.example/base/schemas/S/2",
         EVENT_SCHEMA_OWN, 2},
        {"unknown", "/schemas/F/1", "https://own.example/base/schemas/F/1", EVENT_SCHEMA_OWN, 1},
        {"unknown", NULL, NULL, EVENT_SCHEMA_NONE, 0},
        {"known", "https://else.example/schemas/S/1", "https://else.example/schemas/S/1",
         EVENT_SCHEMA_FOREIGN, 0},
        {"known", "//own.example/base/schemas/S/1", "//own.example/base/schemas/S/1",
         EVENT_SCHEMA_FOREIGN, 0},
        {"known", "https://own.example/basement/schemas/S/1",
         "https://own.example/basement/schemas/S/1", EVENT_SCHEMA_FOREIGN, 0},
        {"known", "urn:x", "urn:x", EVENT_SCHEMA_FOREIGN, 0},
        {EVENT_TEST_TYPE, NULL, "/schemas/test/1", EVENT_SCHEMA_OWN, 1},
        {EVENT_TEST_TYPE, "/schemas/test/1", "/schemas/test/1", EVENT_SCHEMA_OWN, 1},
    };
    struct event_place place = support_place();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct event_batch batch = support_parse(&parser, "application/json", "[]");
        struct event event = {.id = MR_STR("1"),
                              .source = MR_STR("/s"),
                              .type = mr_str_c(rows[i].type),
                              .dataschema = mr_str_c(rows[i].sent)};
        struct event_resolution resolution;
        struct event_view view;
        assert_true(event_resolve(&event, 0, &place, &batch.errors, &resolution));
        assert_int_equal(resolution.form, rows[i].form);
        assert_int_equal(resolution.version, rows[i].version);
        mr_buf_reset(&out);
        assert_true(mr_is_ok(event_envelope_write(&event, &resolution, &place, &out, NULL)));
        assert_true(mr_is_ok(event_view_read(mr_buf_view(&out), &view)));
        assert_true(mr_str_eq(view.dataschema, mr_str_c(rows[i].written)));
        assert_int_equal(mr_str_is_absent(view.dataschema), rows[i].written == NULL);
    }
}

static void members_stand_in_kores_order(void **state) {
    (void)state;
    mr_str envelope = envelope_of(HEAD("known") ",\"zext\":true,\"subject\":\"s\\\"\",\"aext\":5,"
                                                "\"datacontenttype\":\"text/plain\","
                                                "\"data\":\"\\u00e4\"}",
                                  NULL);
    assert_true(mr_str_eq(
        envelope,
        MR_STR(
            "{\"data\":\"\xc3\xa4\",\"id\":\"1\"," FILLED ",\"type\":\"known\",\"source\":\"/s\","
            "\"dataschema\":\"https://own.example/base/schemas/S/2\",\"specversion\":\"1.0\","
            "\"datacontenttype\":\"text/plain\",\"subject\":\"s\\\"\",\"zext\":true,\"aext\":5}")));
    envelope =
        envelope_of(HEAD("u") ",\"time\":\"2025-11-26T09:05:41z\",\"data_base64\":\"AQID\"}", NULL);
    assert_true(mr_str_eq(
        envelope, MR_STR("{\"data_base64\":\"AQID\",\"id\":\"1\",\"time\":\"2025-11-26T09:05:41z\","
                         "\"type\":\"u\",\"source\":\"/s\",\"specversion\":\"1.0\","
                         "\"datacontenttype\":\"application/json\"}")));
    envelope = envelope_of(HEAD("u") "}", NULL);
    assert_true(mr_str_eq(envelope, MR_STR("{\"id\":\"1\"," FILLED
                                           ",\"type\":\"u\",\"source\":\"/s\",\"specversion\":"
                                           "\"1.0\",\"datacontenttype\":\"application/json\"}")));
}

static void a_layout_tells_where_the_parts_lie(void **state) {
    (void)state;
    struct event_layout layout;
    struct event_view read;
    struct event_view of;
    mr_str name;
    mr_str json;
    mr_str envelope = envelope_of(
        HEAD("known") ",\"x\":\"\\\"}\",\"data\":{\"a\":[\"}\\\\\",\"]\\\"\"]}}", &layout);
    assert_true(mr_is_ok(event_view_read(envelope, &read)));
    assert_true(mr_is_ok(event_view_of(envelope, &layout, &of)));
    assert_memory_equal(&read, &of, sizeof read);
    assert_true(mr_str_eq(read.data, MR_STR("{\"a\":[\"}\\\\\",\"]\\\"\"]}")));
    assert_true(event_view_next(&read.rest, &name, &json));
    assert_true(mr_str_eq(name, MR_STR("x")) && mr_str_eq(json, MR_STR("\"\\\"}\"")));
    assert_false(event_view_next(&read.rest, &name, &json));
    layout.id.len = (uint32_t)envelope.len;
    assert_true(mr_is_err(event_view_of(envelope, &layout, &of)));
}

/* What the members hold may look like the members. */
static void the_id_alone_is_the_one_that_the_view_gives(void **state) {
    (void)state;
    static const char *const sent[] = {
        HEAD("known") "}",
        HEAD("known") ",\"data\":{\"id\":\"no\",\"time\":\"no\",\"x\":[{\"id\":\"a\",\"time\":"
                      "\"b\"}]}}",
        HEAD("known") ",\"data\":\",\\\"id\\\":\\\"no\\\",\\\"time\\\":\\\"no\\\"\"}",
        HEAD("known") ",\"data_base64\":\"AQID\",\"time\":\"2025-11-26T09:05:41z\"}",
        HEAD("a,\\\"id\\\":\\\"x\\\",\\\"time\\\":\\\"\\\"") ",\"data\":1}",
        HEAD(
            "known") ",\"subject\":\",\\\"time\\\":\\\"\",\"ext\":\"\\\"id\\\":\\\"\",\"timer\":5}",
        "{\"specversion\":\"1.0\",\"id\":\"\\\",\\\"time\\\":\\\"{\\\"id\\\":\\\"\\\\\",\"source\":"
        "\"/s\","
        "\"type\":\"t\",\"data\":{\"id\":\"\"}}"};
    for (size_t i = 0; i < sizeof sent / sizeof sent[0]; i++) {
        struct event_view view;
        mr_str id;
        mr_str envelope = envelope_of(sent[i], NULL);
        assert_true(mr_is_ok(event_view_read(envelope, &view)));
        assert_true(mr_is_ok(event_view_id(envelope, &id)));
        assert_ptr_equal(id.ptr, view.id.ptr);
        assert_int_equal(id.len, view.id.len);
    }
}

static void what_is_no_envelope_has_no_id(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "{\"id\":\"1\",\"x\":5,\"time\":\"2025-11-26T09:05:41z\"}",
        "{}",
        "{\"id\":\"1\",\"type\":\"a long type, but no time at all\"}",
        ",\"time\":\"2025-11-26T09:05:41z\",\"type\":\"t\"}",
        "\",\"time\":\"2025-11-26T09:05:41z\",\"type\":\"t\"}",
        "{\"id\":\",\"time\":\"2025-11-26T09:05:41z\",\"type\":\"\"}",
        "\"id\":\"1\",\"time\":\"2025-11-26T09:05:41z\",\"type\":\"\"}",
        "_\"id\":\"1\",\"time\":\"2025-11-26T09:05:41z\",\"type\":\"\"}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        mr_str id;
        size_t len = strlen(texts[i]);
        char *copy = mr_alloc(len == 0 ? 1 : len);
        memcpy(copy, texts[i], len);
        assert_true(mr_is_err(event_view_id(mr_str_of(copy, len), &id)));
        mr_free(copy);
    }
    mr_str id;
    assert_true(mr_is_err(event_view_id(MR_STR_NONE, &id)));
}

static void no_prefix_of_an_envelope_is_one(void **state) {
    (void)state;
    struct event_view view;
    mr_str envelope = envelope_of(HEAD("known") ",\"x\":1,\"data\":{\"a\":\"b\"}}", NULL);
    for (size_t len = 0; len < envelope.len; len++) {
        char *copy = mr_alloc(len == 0 ? 1 : len);
        memcpy(copy, envelope.ptr, len);
        assert_true(mr_is_err(event_view_read(mr_str_of(copy, len), &view)));
        mr_free(copy);
    }
    assert_true(mr_is_err(event_view_read(MR_STR_NONE, &view)));
}

static void a_full_buffer_is_left_as_it_was(void **state) {
    (void)state;
    struct event_place place = support_place();
    struct event_batch batch =
        support_parse(&parser, "application/json", HEAD("known") ",\"x\":\"y\",\"data\":1}");
    struct event_resolution resolution;
    assert_true(event_resolve(&batch.ptr[0], 0, &place, &batch.errors, &resolution));
    mr_buf_reset(&out);
    assert_true(mr_is_ok(event_envelope_write(&batch.ptr[0], &resolution, &place, &out, NULL)));
    for (size_t max = 1; max < out.len + 1; max++) {
        mr_buf small;
        mr_buf_init(&small, max);
        assert_true(mr_is_ok(mr_buf_byte(&small, 'k')));
        assert_int_equal(
            event_envelope_write(&batch.ptr[0], &resolution, &place, &small, NULL).code,
            MR_E_LIMIT);
        assert_int_equal(small.len, 1);
        mr_buf_done(&small);
    }
}

static void bodies_are_joined_in_each_format(void **state) {
    (void)state;
    const mr_str two[] = {MR_STR("{\"a\":\"\xc3\xa4\"}"), MR_STR("{\"b\":\"\x7f\"}")};
    mr_buf body;
    mr_buf_init(&body, 100);
    assert_true(mr_is_ok(event_render(EVENT_FORMAT_KORE, JSON_UTF8, two, 2, &body)));
    assert_true(mr_str_eq(mr_buf_view(&body), MR_STR("[{\"a\":\"\xc3\xa4\"},{\"b\":\"\x7f\"}]")));
    mr_buf_reset(&body);
    assert_true(
        mr_is_ok(event_render(EVENT_FORMAT_CE_BATCH, JSON_ESCAPE_NON_ASCII, two, 2, &body)));
    assert_true(mr_str_eq(mr_buf_view(&body), MR_STR("[{\"a\":\"\\u00e4\"},{\"b\":\"\\u007f\"}]")));
    mr_buf_reset(&body);
    assert_true(mr_is_ok(event_render(EVENT_FORMAT_CE_STRUCTURED, JSON_UTF8, two, 1, &body)));
    assert_true(mr_str_eq(mr_buf_view(&body), two[0]));
    mr_buf_done(&body);
    mr_buf_init(&body, 20);
    assert_int_equal(event_render(EVENT_FORMAT_KORE, JSON_UTF8, two, 2, &body).code, MR_E_LIMIT);
    assert_int_equal(body.len, 0);
    mr_buf_done(&body);
}

static void formats_have_names_and_content_types(void **state) {
    (void)state;
    enum event_format format;
    assert_true(mr_is_err(event_format_parse(MR_STR("KORE"), &format)));
    assert_true(mr_is_err(event_format_parse(MR_STR(""), &format)));
    for (int i = 0; i < 4; i++) {
        mr_str name = event_format_name((enum event_format)i);
        assert_true(mr_is_ok(event_format_parse(name, &format)));
        assert_int_equal(format, i);
    }
    assert_true(mr_str_eq(event_format_content_type(EVENT_FORMAT_KORE),
                          MR_STR("application/json; charset=utf-8")));
    assert_int_equal(event_format_events_max(EVENT_FORMAT_CE_BATCH), 50);
    assert_int_equal(event_format_events_max(EVENT_FORMAT_CE_BINARY), 1);
}

static void the_binary_form_has_encoded_fields_and_bare_data(void **state) {
    (void)state;
    static const struct {
        const char *members, *type, *body;
    } rows[] = {
        {",\"data\":{\"a\":1}", "application/json", "{\"a\":1}"},
        {",\"data\":\"x\"", "application/json", "\"x\""},
        {",\"datacontenttype\":\"text/plain\",\"data\":\"x\\n\\u00e4\"", "text/plain",
         "x\n\xc3\xa4"},
        {",\"datacontenttype\":\"image/png\",\"data_base64\":\"AQID\"", "image/png",
         "\x01\x02\x03"},
        {"", "application/json", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char event[300];
        mr_buf body;
        mr_fields fields;
        snprintf(event, sizeof event,
                 "%s%s,\"subject\":\"a b%%\\\"\xe2\x82\xac\",\"n\":-5,\"f\":true}", HEAD("u"),
                 rows[i].members);
        mr_str envelope = envelope_of(event, NULL);
        mr_buf_init(&body, 1000);
        assert_true(mr_is_ok(event_render_binary(JSON_UTF8, envelope, &arena, &body, &fields)));
        assert_true(mr_str_eq(mr_buf_view(&body), mr_str_c(rows[i].body)));
        assert_true(mr_str_eq(fields.ptr[0].name, MR_STR("content-type")));
        assert_true(mr_str_eq(fields.ptr[0].value, mr_str_c(rows[i].type)));
        assert_true(mr_str_eq(mr_fields_find(fields, MR_STR("ce-subject")),
                              MR_STR("a%20b%25%22%E2%82%AC")));
        assert_true(mr_str_eq(mr_fields_find(fields, MR_STR("ce-n")), MR_STR("-5")));
        assert_true(mr_str_eq(mr_fields_find(fields, MR_STR("ce-f")), MR_STR("true")));
        assert_true(mr_str_eq(mr_fields_find(fields, MR_STR("ce-specversion")), MR_STR("1.0")));
        assert_int_equal(fields.len, 9);
        /* It comes back in as the same event. */
        struct event_batch batch;
        assert_true(mr_is_ok(event_parse(&parser, fields, mr_buf_view(&body), &batch)));
        assert_string_equal(support_rule(&batch), "");
        assert_true(mr_str_eq(batch.ptr[0].subject, MR_STR("a b%\"\xe2\x82\xac")));
        mr_buf_done(&body);
    }
    mr_buf body;
    mr_fields fields;
    mr_buf_init(&body, 100);
    assert_true(mr_is_err(event_render_binary(JSON_UTF8, MR_STR("{}"), &arena, &body, &fields)));
    mr_buf_done(&body);
}

static void the_shipped_catalogue_is_whole(void **state) {
    (void)state;
    json_tape tape;
    mr_buf text;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    mr_buf_init(&text, 100000);
    for (size_t i = 0; i < SHIPPED_SCHEMAS_LEN; i++) {
        const struct shipped_schema *schema = shipped_schema_at(i);
        assert_true(mr_is_ok(json_tape_read(&tape, schema->document, NULL)));
        assert_true(json_string_eq(json_find(json_root(&tape), MR_STR("$schema")),
                                   MR_STR("http://json-schema.org/draft-07/schema#")));
        mr_buf_reset(&text);
        assert_true(mr_is_ok(
            mr_buf_printf(&text, "/schemas/%.*s/%u", MR_FMT(schema->name), schema->version)));
        assert_true(json_string_eq(json_find(json_root(&tape), MR_STR("$id")), mr_buf_view(&text)));
        assert_true(mr_is_ok(json_tape_read(&tape, schema->example, NULL)));
    }
    for (size_t i = 0; i < SHIPPED_TYPES_LEN; i++) {
        const struct shipped_type *type = shipped_type_at(i);
        mr_buf name;
        mr_buf_init(&name, 200);
        assert_true(mr_is_ok(shipped_type_name(type, MR_STR("org.example"), &name)));
        assert_int_equal(mr_str_starts(mr_buf_view(&name), MR_STR("org.example.supersim.")),
                         type->prefixed);
        mr_buf_reset(&text);
        assert_true(mr_is_ok(shipped_example(type->example, MR_STR("org.example"), &text)));
        assert_true(mr_is_ok(json_tape_read(&tape, mr_buf_view(&text), NULL)));
        assert_true(json_is_minified(json_root(&tape)));
        json_value event_type = json_find(json_root(&tape), MR_STR("event_type"));
        assert_true(type->prefixed ? json_string_eq(event_type, mr_buf_view(&name))
                                   : json_is_absent(event_type));
        mr_buf_done(&name);
    }
    mr_buf_done(&text);
    json_tape_done(&tape);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(a_dataschema_that_cannot_be_meant_is_refused),
        T(a_dataschema_is_resolved_and_written_absolute),
        T(members_stand_in_kores_order),
        T(a_layout_tells_where_the_parts_lie),
        T(the_id_alone_is_the_one_that_the_view_gives),
        T(what_is_no_envelope_has_no_id),
        T(no_prefix_of_an_envelope_is_one),
        T(a_full_buffer_is_left_as_it_was),
        T(bodies_are_joined_in_each_format),
        T(formats_have_names_and_content_types),
        T(the_binary_form_has_encoded_fields_and_bare_data),
        T(the_shipped_catalogue_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
