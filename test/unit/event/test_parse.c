/* Events out of HTTP calls: what is refused and how, and what comes out of each form. */
#include "base/mem.h"
#include "support_event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define CE   "application/cloudevents+json"
#define CEB  "application/cloudevents-batch+json"
#define JSON "application/json"
#define HEAD "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\""

static struct event_parser parser;

static int set_up(void **state) {
    (void)state;
    event_parser_init(&parser, &event_limits_default);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    event_parser_done(&parser);
    return 0;
}

struct refused_row {
    const char *type, *body, *rule;
    uint16_t status;
    const char *pointer;
    int64_t offset;
};

static const struct refused_row refused[] = {
    {NULL, HEAD "}", "content-type", 415, "", -1},
    {"application/xml", HEAD "}", "content-type", 415, "", -1},
    {"text/plain", HEAD "}", "content-type", 415, "", -1},
    {"application/cloudevents+xml", HEAD "}", "content-type", 415, "", -1},
    {"application/vnd.x+json", HEAD "}", "content-type", 415, "", -1},
    {"application", HEAD "}", "content-type", 415, "", -1},
    {CE "; charset=iso-8859-1", HEAD "}", "content-type", 415, "", -1},
    {JSON "; charset", HEAD "}", "content-type", 415, "", -1},
    {JSON ";charset=\"utf-16\"", HEAD "}", "content-type", 415, "", -1},
    {JSON, "", "syntax", 400, "", 0},
    {JSON, "{", "syntax", 400, "", 1},
    {JSON, HEAD ",\"id\":\"2\"}", "duplicate", 400, "", 55},
    {JSON, HEAD ",\"data\":\"\xff\"}", "utf8", 400, "", 63},
    {JSON, HEAD ",\"data\":\"\\ud800\"}", "surrogate", 400, "", 63},
    {JSON, "5", "type", 400, "", 0},
    {JSON, "[ 5]", "type", 400, "", 2},
    {CE, "[" HEAD "}]", "type", 400, "", 0},
    {CEB, HEAD "}", "type", 400, "", 0},
    {JSON, "{\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"}", "required", 400, "/specversion", 0},
    {JSON, "{\"specversion\":\"1.0\",\"source\":\"/s\",\"type\":\"t\"}", "required", 400, "/id", 0},
    {JSON, "{\"specversion\":\"1.0\",\"id\":\"1\",\"type\":\"t\"}", "required", 400, "/source", 0},
    {JSON, "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":null}", "required",
     400, "/type", 0},
    {JSON, "{\"specversion\":\"0.3\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"}", "specversion",
     400, "/specversion", 0},
    {JSON, "{\"specversion\":1.0,\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"}", "several", 400,
     NULL, 0},
    {JSON, "{\"specversion\":\"1.0\",\"id\":\"\",\"source\":\"/s\",\"type\":\"t\"}", "empty", 400,
     "/id", 26},
    {JSON, "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"\",\"type\":\"t\"}", "uri-reference",
     400, "/source", 39},
    {JSON, "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"a b\",\"type\":\"t\"}",
     "uri-reference", 400, "/source", 39},
    {JSON, HEAD ",\"time\":\"yesterday\"}", "time", 400, "/time", 62},
    {JSON, HEAD ",\"dataschema\":\"%zz\"}", "uri-reference", 400, "/dataschema", 68},
    {JSON, HEAD ",\"subject\":\"\"}", "empty", 400, "/subject", 65},
    {JSON, HEAD ",\"datacontenttype\":\"json\"}", "media-type", 400, "/datacontenttype", 73},
    {JSON, HEAD ",\"Ext\":\"a\"}", "name", 400, "/Ext", 61},
    {JSON, HEAD ",\"my_ext\":\"a\"}", "name", 400, "/my_ext", 64},
    {JSON, HEAD ",\"\":\"a\"}", "name", 400, "", 58},
    {JSON, HEAD ",\"a/b\":\"a\"}", "name", 400, "/a~1b", 61},
    {JSON, HEAD ",\"ext\":{}}", "type", 400, "/ext", 61},
    {JSON, HEAD ",\"ext\":[1]}", "type", 400, "/ext", 61},
    {JSON, HEAD ",\"ext\":1.5}", "type", 400, "/ext", 61},
    {JSON, HEAD ",\"ext\":2147483648}", "type", 400, "/ext", 61},
    {JSON, HEAD ",\"ext\":\"a\\nb\"}", "characters", 400, "/ext", 61},
    {JSON, HEAD ",\"ext\":\"\x7f\"}", "characters", 400, "/ext", 61},
    {JSON, HEAD ",\"ext\":\"\\u0085\"}", "characters", 400, "/ext", 61},
    {JSON, HEAD ",\"ext\":\"\\uFFFE\"}", "characters", 400, "/ext", 61},
    {JSON, HEAD ",\"ext\":\"12345678\\uFDD0\"}", "characters", 400, "/ext", 61},
    {JSON, HEAD ",\"data\":null,\"data_base64\":\"AA==\"}", "data", 400, "/data_base64", 81},
    {JSON, HEAD ",\"data_base64\":\"AA=\"}", "base64", 400, "/data_base64", 69},
    {JSON, HEAD ",\"data_base64\":5}", "base64", 400, "/data_base64", 69},
};

static void what_is_no_event_is_refused_at_its_place(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const struct refused_row *row = &refused[i];
        struct event_batch batch = support_parse(&parser, row->type, row->body);
        if (strcmp(support_rule(&batch), row->rule) != 0 ||
            batch.errors.http_status != row->status) {
            fail_msg("%s: %s %u", row->body, support_rule(&batch), batch.errors.http_status);
        }
        if (row->pointer != NULL) {
            const struct event_error *error = &batch.errors.ptr[0];
            assert_true(mr_str_eq(error->pointer, mr_str_c(row->pointer)));
            assert_int_equal(error->offset, row->offset);
            assert_int_equal(error->index, 0);
            assert_true(error->message.len > 10);
        }
    }
}

static void every_event_of_a_call_is_looked_at_and_errors_are_capped(void **state) {
    (void)state;
    struct event_batch batch = support_parse(&parser, CEB, "[{},{\"id\":\"1\"}," HEAD "}]");
    assert_int_equal(batch.errors.found, 7);
    assert_int_equal(batch.errors.ptr[4].index, 1);
    char body[200] = "[";
    for (int i = 0; i < 30; i++) {
        memcpy(body + 1 + 2 * i, i < 29 ? "5," : "5]", 3);
    }
    batch = support_parse(&parser, JSON, body);
    assert_int_equal(batch.errors.found, 30);
    assert_int_equal(batch.errors.len, 20);
}

static void what_is_too_large_is_refused(void **state) {
    (void)state;
    struct event_limits limits = event_limits_default;
    struct event_parser small;
    limits.body_bytes_max = 1000;
    limits.event_bytes_max = 100;
    limits.attribute_bytes_max = 10;
    limits.extensions_max = 2;
    limits.name_bytes_max = 5;
    limits.events_max = 2;
    limits.depth_max = 3;
    static char big[2000];
    memset(big, ' ', sizeof big - 1);
    static const struct {
        const char *body, *rule;
        uint16_t status;
    } rows[] = {
        {big, "limit", 413},
        {HEAD ",\"data\":\"0123456789012345678901234567890123456789\"}", "limit", 413},
        {"[" HEAD "}," HEAD "}," HEAD "}]", "limit", 413},
        {HEAD ",\"a\":\"01234567890\"}", "limit", 400},
        {HEAD ",\"a\":1,\"b\":2,\"c\":3}", "limit", 400},
        {HEAD ",\"abcdef\":1}", "name", 400},
        {HEAD ",\"data\":[[[]]]}", "depth", 400},
        {"[" HEAD ",\"data\":[[[]]]}]", "depth", 400},
        {HEAD ",\"data\":[[]]}", "", 0},
        {"[" HEAD ",\"data\":[[]]}]", "", 0},
        {HEAD "   ,   \"data\"   :   5  ,\"abcde\":1,\"b\":\"0123456789\"}", "", 0},
    };
    event_parser_init(&small, &limits);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct event_batch batch = support_parse(&small, JSON, rows[i].body);
        if (strcmp(support_rule(&batch), rows[i].rule) != 0) {
            fail_msg("%s: %s", rows[i].body, support_rule(&batch));
        }
        assert_int_equal(batch.errors.http_status, rows[i].status);
    }
    event_parser_done(&small);
}

static void a_structured_event_is_taken_apart(void **state) {
    (void)state;
    const char *body =
        " {\"specversion\":\"1.0\",\"id\":\"\\u0041\",\"source\":\"/"
        "s\",\"type\":\"t\",\"ext\":\"\\u00e4\\/\","
        "\"flag\":true,\"num\":-7,\"subject\":null,\"time\":\"2025-11-26T09:05:41Z\","
        "\"data\": { \"a\" : 1.50 },\"data_base64\":null}";
    struct event_batch batch = support_parse(&parser, CE "; charset=UTF-8", body);
    assert_string_equal(support_rule(&batch), "");
    assert_int_equal(batch.len, 1);
    const struct event *event = &batch.ptr[0];
    assert_true(mr_str_eq(event->id, MR_STR("A")));
    assert_true(mr_str_is_absent(event->subject));
    assert_true(mr_str_is_absent(event->datacontenttype));
    assert_true(mr_str_eq(event->time, MR_STR("2025-11-26T09:05:41Z")));
    assert_int_equal(event->data_kind, EVENT_DATA_JSON);
    assert_true(mr_str_eq(event->data, MR_STR("{\"a\":1.50}")));
    assert_int_equal(json_kind_of(event->data_value), JSON_OBJECT);
    assert_int_equal(event->extensions_len, 3);
    assert_true(mr_str_eq(event->extensions[0].name, MR_STR("ext")));
    assert_true(mr_str_eq(event->extensions[0].text, MR_STR("\xc3\xa4/")));
    assert_true(mr_str_eq(event->extensions[0].json, MR_STR("\"\xc3\xa4/\"")));
    assert_true(mr_str_eq(event->extensions[1].json, MR_STR("true")));
    assert_true(mr_str_eq(event->extensions[2].text, MR_STR("-7")));
    assert_true(mr_str_eq(
        event->content,
        MR_STR("{\"specversion\":\"1.0\",\"id\":\"A\",\"source\":\"/"
               "s\",\"type\":\"t\",\"ext\":\"\xc3\xa4/\","
               "\"flag\":true,\"num\":-7,\"subject\":null,\"time\":\"2025-11-26T09:05:41Z\","
               "\"data\":{\"a\":1.50},\"data_base64\":null}")));
    assert_int_equal(event->offset, 1);
}

static void arrays_and_batches_and_empty_ones(void **state) {
    (void)state;
    struct event_batch batch =
        support_parse(&parser, CEB, "[" HEAD ",\"data_base64\":\"AQID\"}, " HEAD "}]");
    assert_string_equal(support_rule(&batch), "");
    assert_int_equal(batch.len, 2);
    assert_int_equal(batch.ptr[0].data_kind, EVENT_DATA_BASE64);
    assert_true(mr_str_eq(batch.ptr[0].data, MR_STR("AQID")));
    assert_int_equal(batch.ptr[1].data_kind, EVENT_DATA_NONE);
    batch = support_parse(&parser, JSON, "[" HEAD "}]");
    assert_int_equal(batch.len, 1);
    batch = support_parse(&parser, CEB, "[]");
    assert_int_equal(batch.len, 0);
    assert_int_equal(batch.errors.found, 0);
}

/* Good texts are remembered within a call; each attribute's only, and wrong ones never. */
static void what_an_earlier_event_had_excuses_nothing(void **state) {
    (void)state;
#define EVENT(source, schema, media)                                                               \
    "{\"specversion\":\"1.0\",\"id\":\"1\",\"type\":\"t\",\"source\":\"" source                    \
    "\",\"dataschema\":\"" schema "\",\"datacontenttype\":\"" media "\"}"
    struct event_batch batch = support_parse(
        &parser, CEB,
        "[" EVENT("/s", "/a", "a/b") "," EVENT("/s", "/a", "a/b") "," EVENT(
            "/ ", "/a", "a/b") "," EVENT("/ ", "/ ", "a/b") "," EVENT("/s", "a/b",
                                                                      "/s") "," EVENT("/s", "/a",
                                                                                      "a/ ") "]");
    const uint32_t wrong[] = {2, 3, 3, 4, 5};
    assert_int_equal(batch.errors.found, sizeof wrong / sizeof wrong[0]);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(batch.errors.ptr[i].index, wrong[i]);
    }
    batch =
        support_parse(&parser, CEB, "[" EVENT("/s", "/a", "a/b") "," EVENT("/s", "/b", "a/b") "]");
    assert_int_equal(batch.errors.found, 0);
    assert_true(mr_str_eq(batch.ptr[1].source, MR_STR("/s")));
    assert_true(mr_str_eq(batch.ptr[1].dataschema, MR_STR("/b")));
    assert_true(mr_str_eq(batch.ptr[1].datacontenttype, MR_STR("a/b")));
#undef EVENT
}

static struct event_batch parse_binary(const mr_field *fields, size_t n, mr_str body) {
    struct event_batch batch;
    assert_true(mr_is_ok(event_parse(&parser, (mr_fields){fields, n}, body, &batch)));
    return batch;
}

#define F(name, value)                                                                             \
    {                                                                                              \
        {name, sizeof name - 1}, {                                                                 \
            value, sizeof value - 1                                                                \
        }                                                                                          \
    }

static void binary_fields_that_break_a_rule_are_refused(void **state) {
    (void)state;
    static const struct {
        mr_field field;
        const char *rule;
    } rows[] = {
        {F("ce-ext", "%2"), "encoding"},
        {F("ce-ext", "%zz"), "encoding"},
        {F("ce-ext", "\"open"), "encoding"},
        {F("ce-ext", "\""), "encoding"},
        {F("ce-ext", "\"a\"b\""), "encoding"},
        {F("ce-ext", "\"a\\\""), "encoding"},
        {F("ce-ext", "%ff"), "utf8"},
        {F("ce-ext", "%ED%A0%80"), "utf8"},
        {F("ce-ext", "a%0Ab"), "characters"},
        {F("ce-my-ext", "a"), "name"},
        {F("ce-data", "a"), "name"},
        {F("ce-datacontenttype", "text/plain"), "name"},
        {F("CE-ID", "2"), "duplicate"},
        {F("ce-time", "now"), "time"},
        {F("content-type", "text"), "content-type"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mr_field fields[] = {F("ce-specversion", "1.0"), F("ce-id", "1"), F("ce-source", "/s"),
                             F("ce-type", "t"), rows[i].field};
        struct event_batch batch = parse_binary(fields, 5, MR_STR(""));
        if (strcmp(support_rule(&batch), rows[i].rule) != 0) {
            fail_msg("%.*s: %s", MR_FMT(rows[i].field.value), support_rule(&batch));
        }
    }
    mr_field twice[] = {F("ce-specversion", "1.0"), F("ce-id", "1"), F("ce-source", "/s"),
                        F("ce-type", "t"),          F("ce-a", "x"),  F("ce-a", "x")};
    struct event_batch batch = parse_binary(twice, 6, MR_STR(""));
    assert_string_equal(support_rule(&batch), "duplicate");
    batch = parse_binary(twice, 3, MR_STR(""));
    assert_string_equal(support_rule(&batch), "required");
    batch = parse_binary(twice, 5, MR_STR("{\"a\":}"));
    assert_string_equal(support_rule(&batch), "syntax");
    assert_int_equal(batch.errors.ptr[0].offset, 5);
}

static void a_binary_event_has_decoded_attributes_and_ordered_content(void **state) {
    (void)state;
    mr_field fields[] = {F("Ce-Zz", "\"a \\\" b\""),
                         F("ce-SOURCE", "/s"),
                         F("ce-type", "t"),
                         F("ce-aa", "%E2%82%AC%20x"),
                         F("ce-id", "1"),
                         F("ce-specversion", "1.0"),
                         F("content-type", "application/json; charset=utf-8"),
                         F("x-other", "%")};
    struct event_batch batch = parse_binary(fields, 8, MR_STR("{ \"a\" : \"\\/\" }"));
    assert_string_equal(support_rule(&batch), "");
    const struct event *event = &batch.ptr[0];
    assert_true(mr_str_eq(event->extensions[0].text, MR_STR("a \" b")));
    assert_true(mr_str_eq(event->extensions[1].text, MR_STR("\xe2\x82\xac x")));
    assert_true(mr_str_eq(event->data, MR_STR("{\"a\":\"/\"}")));
    assert_true(mr_str_eq(
        event->content,
        MR_STR("{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/"
               "s\",\"type\":\"t\",\"datacontenttype\":"
               "\"application/json; charset=utf-8\",\"aa\":\"\xe2\x82\xac x\",\"zz\":\"a \\\" b\","
               "\"data\":{\"a\":\"/\"}}")));
    assert_int_equal(event->offset, EVENT_OFFSET_NONE);
}

static void binary_bodies_become_data_by_their_type(void **state) {
    (void)state;
    static const struct {
        mr_field type;
        mr_str body;
        enum event_data_kind kind;
        const char *data;
    } rows[] = {
        {F("content-type", "application/json"), {"", 0}, EVENT_DATA_NONE, ""},
        {F("x-none", ""), {" 5 ", 3}, EVENT_DATA_JSON, "5"},
        {F("content-type", "application/vnd.x+json"), {"[ ]", 3}, EVENT_DATA_JSON, "[]"},
        {F("content-type", "text/plain"),
         {"a\"\n\xc3\xa4", 5},
         EVENT_DATA_JSON,
         "\"a\\\"\\n\xc3\xa4\""},
        {F("content-type", "text/plain"), {"\xff", 1}, EVENT_DATA_BASE64, "/w=="},
        {F("content-type", "text/plain; charset=latin1"), {"a", 1}, EVENT_DATA_BASE64, "YQ=="},
        {F("content-type", "image/png"), {"\x89PNG", 4}, EVENT_DATA_BASE64, "iVBORw=="},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mr_field fields[] = {F("ce-specversion", "1.0"), F("ce-id", "1"), F("ce-source", "/s"),
                             F("ce-type", "t"), rows[i].type};
        struct event_batch batch = parse_binary(fields, 5, rows[i].body);
        assert_string_equal(support_rule(&batch), "");
        assert_int_equal(batch.ptr[0].data_kind, rows[i].kind);
        assert_true(mr_str_eq(batch.ptr[0].data, mr_str_c(rows[i].data)));
    }
}

static void ce_fields_beside_a_structured_event_do_not_make_it_binary(void **state) {
    (void)state;
    mr_field fields[] = {F("ce-specversion", "1.0"), F("content-type", CE)};
    struct event_batch batch = parse_binary(fields, 2, mr_str_c(HEAD ",\"data\":1}"));
    assert_string_equal(support_rule(&batch), "");
    assert_true(mr_str_eq(batch.ptr[0].id, MR_STR("1")));
}

static void a_warm_parser_allocates_nothing(void **state) {
    (void)state;
    const char *body = HEAD ",\"ext\":\"x\",\"data\":{\"a\":[1,2,3]}}";
    support_parse(&parser, CE, body);
    mr_alloc_fail_at(1);
    struct event_batch batch = support_parse(&parser, CE, body);
    mr_alloc_fail_at(0);
    assert_int_equal(batch.len, 1);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    static char body[9000];
    memset(body, 'x', sizeof body - 1);
    memcpy(body, HEAD ",\"a\":\"\\u0041\",\"data\": {\"b\":\"\\u0042",
           sizeof(HEAD ",\"a\":\"\\u0041\",\"data\": {\"b\":\"\\u0042") - 1);
    memcpy(body + sizeof body - 5, "\"}}", 4);
    mr_field field = {MR_STR("content-type"), MR_STR(CE)};
    uint64_t failures = 0;
    for (uint64_t n = 1;; n++) {
        struct event_parser cold;
        struct event_batch batch;
        event_parser_init(&cold, &event_limits_default);
        mr_alloc_fail_at(n);
        mr_err err = event_parse(&cold, (mr_fields){&field, 1}, mr_str_c(body), &batch);
        mr_alloc_fail_at(0);
        bool good = mr_is_ok(err) && batch.errors.found == 0;
        event_parser_done(&cold);
        if (good) {
            break;
        }
        assert_int_equal(err.code, MR_E_NOMEM);
        failures++;
    }
    assert_true(failures > 5);
}

static void errors_are_written_as_the_api_answers_them(void **state) {
    (void)state;
    struct event_errors errors;
    mr_arena arena;
    mr_buf out;
    json_out writer;
    mr_arena_init(&arena, 10000);
    mr_buf_init(&out, 1000);
    event_errors_init(&errors, &arena, 2);
    event_errors_add(&errors, 400, 3, MR_STR("/a"), 17, "type", "It is %s.", "wrong");
    event_errors_add(&errors, 413, 0, MR_STR(""), EVENT_OFFSET_NONE, "limit", "Too \"large\".");
    event_errors_add(&errors, 400, 0, MR_STR(""), 0, "limit", "Left out.");
    json_out_init(&writer, &out);
    event_errors_write(&errors, &writer);
    assert_true(mr_is_ok(json_out_finish(&writer)));
    assert_true(mr_str_eq(
        mr_buf_view(&out),
        MR_STR("[{\"index\":3,\"pointer\":\"/a\",\"offset\":17,\"rule\":\"type\",\"message\":\"It "
               "is wrong.\"},"
               "{\"index\":0,\"pointer\":\"\",\"offset\":null,\"rule\":\"limit\",\"message\":\"Too "
               "\\\"large\\\".\"}]")));
    assert_int_equal(errors.found, 3);
    assert_int_equal(errors.http_status, 413);
    mr_alloc_fail_at(1);
    event_errors_init(&errors, &arena, 1000);
    event_errors_add(&errors, 415, 0, MR_STR(""), 0, "limit", "No memory for it.");
    mr_alloc_fail_at(0);
    assert_int_equal(errors.len, 0);
    assert_int_equal(errors.http_status, 415);
    mr_buf_done(&out);
    mr_arena_done(&arena);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(what_is_no_event_is_refused_at_its_place),
        T(every_event_of_a_call_is_looked_at_and_errors_are_capped),
        T(what_is_too_large_is_refused),
        T(a_structured_event_is_taken_apart),
        T(arrays_and_batches_and_empty_ones),
        T(what_an_earlier_event_had_excuses_nothing),
        T(binary_fields_that_break_a_rule_are_refused),
        T(a_binary_event_has_decoded_attributes_and_ordered_content),
        T(binary_bodies_become_data_by_their_type),
        T(ce_fields_beside_a_structured_event_do_not_make_it_binary),
        T(a_warm_parser_allocates_nothing),
        T(every_allocation_may_fail),
        T(errors_are_written_as_the_api_answers_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
