/* Bodies judged by tables, and the tables as JSON Schema. */
#include "support_control.h"

#include "control/shape.h"
#include "json/write.h"

static const char *const colours[] = {"red", "green"};
static const struct shape_member inner_members[] = {
    {"port", SHAPE_NUMBER, SHAPE_NEEDED, .min = 1, .max = 65535},
    {"host", SHAPE_TEXT, 0, .min = 1, .max = 8},
};
static const struct shape inner = {"Inner", inner_members, 2};
static const struct shape_member members[] = {
    {"name", SHAPE_TEXT, SHAPE_NEEDED, .min = 1, .max = 4, .what = "For people"},
    {"note", SHAPE_LINES, 0, .max = 8},
    {"colour", SHAPE_ENUM, 0, .names = colours, .n_names = 2},
    {"on", .kind = SHAPE_BOOL},
    {"at", .kind = SHAPE_TIME},
    {"inner", SHAPE_INNER, 0, .inner = &inner},
    {"list", SHAPE_INNERS, 0, .min = 1, .max = 2, .inner = &inner},
    {"texts", SHAPE_TEXTS, 0, .max = 2},
    {"rate", SHAPE_NUMBER, SHAPE_NULLABLE, .max = 9},
    {"born", SHAPE_TEXT, SHAPE_CREATE_ONLY, .max = 9},
    {"gone", SHAPE_BOOL, .flags = SHAPE_CHANGE_ONLY},
    {"must", SHAPE_NUMBER, SHAPE_NEEDED | SHAPE_NULLABLE, .max = 9},
};
static const struct shape shape = {"Thing", members, sizeof members / sizeof members[0]};

struct verdict {
    const char *body;
    int code; /* 0: fine */
    const char *part;
};

static void judge(const struct verdict *verdict, enum shape_use use) {
    struct refusal refusal = {0};
    json_tape tape;
    mr_err err = shape_read(&tape, mr_str_c(verdict->body), &shape, use, &refusal);
    json_tape_done(&tape);
    if (verdict->code == 0) {
        if (mr_is_err(err)) {
            print_message("%s: %s\n", verdict->body, refusal.message);
        }
        assert_ok(err);
        return;
    }
    assert_int_equal(err.code, CONTROL_E_REFUSED);
    if (refusal.code != verdict->code || strstr(refusal.message, verdict->part) == NULL) {
        print_message("%s: %d %s\n", verdict->body, refusal.code, refusal.message);
    }
    assert_int_equal(refusal.code, verdict->code);
    assert_non_null(strstr(refusal.message, verdict->part));
}

static void a_creation_is_judged_by_its_table(void **state) {
    (void)state;
    static const struct verdict verdicts[] = {
        {"{\"name\":\"a\",\"must\":null}", 0, NULL},
        {"{\"name\":\"a\",\"must\":1,\"note\":null,\"rate\":null,\"inner\":null}", 0, NULL},
        {"{\"name\":\"a\",\"must\":1,\"note\":\"a\\nb\",\"colour\":\"green\",\"on\":true}", 0,
         NULL},
        {"{\"name\":\"a\",\"must\":1,\"at\":\"2026-01-02T03:04:05.6Z\",\"born\":\"x\"}", 0, NULL},
        {"{\"name\":\"a\",\"must\":1,\"list\":[{\"port\":1}],\"texts\":[]}", 0, NULL},
        {"[]", 20400, "object"},
        {"{\"name\":\"a\"}", 20002, "must"},
        {"{\"must\":1}", 20002, "name"},
        {"{\"name\":null,\"must\":1}", 20002, "name"},
        {"{\"nome\":1,\"mast\":2}", 20001, "nome, mast"},
        {"{\"name\":\"a\",\"must\":1,\"gone\":true}", 20001, "gone"},
        {"{\"name\":\"aaaaa\",\"must\":1}", 20400, "name must have 1 to 4 bytes"},
        {"{\"name\":\"a\\nb\",\"must\":1}", 20400, "control"},
        {"{\"name\":7,\"must\":1}", 20400, "name must be a string"},
        {"{\"name\":\"a\",\"must\":10}", 20400, "must must be a whole number from 0 to 9"},
        {"{\"name\":\"a\",\"must\":1,\"colour\":\"blue\"}", 20400, "red, green"},
        {"{\"name\":\"a\",\"must\":1,\"on\":1}", 20400, "on must be true or false"},
        {"{\"name\":\"a\",\"must\":1,\"at\":\"yesterday\"}", 20400, "at must be an RFC 3339"},
        {"{\"name\":\"a\",\"must\":1,\"at\":5}", 20400, "at must be an RFC 3339"},
        {"{\"name\":\"a\",\"must\":1,\"inner\":[]}", 20400, "inner must be an object"},
        {"{\"name\":\"a\",\"must\":1,\"inner\":{}}", 20002, "inner.port"},
        {"{\"name\":\"a\",\"must\":1,\"inner\":{\"port\":0}}", 20400, "inner.port must be"},
        {"{\"name\":\"a\",\"must\":1,\"inner\":{\"prot\":1}}", 20001, "inner.prot"},
        {"{\"name\":\"a\",\"must\":1,\"list\":[]}", 20400, "list must be an array of 1 to 2"},
        {"{\"name\":\"a\",\"must\":1,\"list\":[7]}", 20400, "list must hold objects"},
        {"{\"name\":\"a\",\"must\":1,\"list\":[{\"host\":\"h\"}]}", 20002, "list.port"},
        {"{\"name\":\"a\",\"must\":1,\"texts\":[\"\"]}", 20400, "texts must hold texts"},
        {"{\"name\":\"a\",\"must\":1,\"texts\":[1]}", 20400, "texts must hold texts"},
        {"{\"name\":\"a\",\"must\":1,\"texts\":[\"a\",\"b\",\"c\"]}", 20400, "0 to 2"},
    };
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        judge(&verdicts[i], SHAPE_CREATE);
    }
}

static void a_change_needs_nothing_and_has_members_of_its_own(void **state) {
    (void)state;
    static const struct verdict verdicts[] = {
        {"{}", 0, NULL},
        {"{\"gone\":true,\"inner\":{\"host\":\"h\"}}", 0, NULL},
        {"{\"name\":null}", 0, NULL},
        {"{\"born\":\"x\"}", 20001, "born"},
        {"{\"inner\":{\"hots\":1}}", 20001, "inner.hots"},
        {"{\"list\":[{}]}", 20002, "list.port"},
    };
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        judge(&verdicts[i], SHAPE_CHANGE);
    }
}

static void a_patch_is_merged_and_its_names_are_judged_at_every_level(void **state) {
    (void)state;
    struct refusal refusal = {0};
    mr_buf out;
    mr_buf_init(&out, 4096);
    assert_ok(shape_merge(MR_STR("{\"name\":\"a\",\"inner\":{\"port\":1,\"host\":\"h\"}}"),
                          MR_STR("{\"name\":null,\"inner\":{\"host\":null,\"port\":2}}"), &shape,
                          &out, &refusal));
    assert_true(mr_str_eq(mr_buf_view(&out), MR_STR("{\"inner\":{\"port\":2}}")));
    mr_buf_reset(&out);
    static const char *const bad[] = {"{\"nome\":null}", "{\"inner\":{\"hots\":null}}",
                                      "{\"born\":1}"};
    for (size_t i = 0; i < 3; i++) {
        mr_err err = shape_merge(MR_STR("{}"), mr_str_c(bad[i]), &shape, &out, &refusal);
        assert_int_equal(err.code, CONTROL_E_REFUSED);
        assert_int_equal(refusal.code, 20001);
    }
    mr_buf_done(&out);
}

static void values_are_read_of_a_judged_object(void **state) {
    (void)state;
    struct refusal refusal = {0};
    json_tape tape;
    mr_arena arena;
    mr_arena_init(&arena, 65536);
    assert_ok(shape_read(&tape,
                         MR_STR("{\"name\":\"ab\",\"must\":null,\"colour\":\"green\",\"on\":true,"
                                "\"rate\":7,\"inner\":{\"port\": 5}}"),
                         &shape, SHAPE_CREATE, &refusal));
    json_value root = json_root(&tape);
    mr_str name = MR_STR_NONE;
    mr_str note = MR_STR("kept");
    mr_str object = MR_STR_NONE;
    uint32_t colour = 0;
    uint32_t rate = 0;
    bool on = false;
    assert_ok(shape_text(root, "name", &arena, &name));
    assert_ok(shape_text(root, "note", &arena, &note));
    assert_ok(shape_object(root, "inner", &arena, &object));
    shape_enum(root, &shape, "colour", &colour);
    shape_number(root, "rate", &rate);
    shape_bool(root, "on", &on);
    assert_true(mr_str_eq(name, MR_STR("ab")) && mr_str_eq(note, MR_STR("kept")));
    assert_true(mr_str_eq(object, MR_STR("{\"port\":5}")));
    assert_true(colour == 1 && rate == 7 && on);
    assert_true(shape_has(root, "must") && shape_is_null(root, "must"));
    assert_false(shape_has(root, "note") || shape_is_null(root, "note"));
    json_tape_done(&tape);
    mr_arena_done(&arena);
}

static void assert_schema(const struct shape *of, enum shape_use use, const char *expected) {
    mr_buf out;
    json_out o;
    mr_buf_init(&out, 16384);
    json_out_init(&o, &out);
    shape_write_schema(of, use, false, &o);
    assert_ok(json_out_finish(&o));
    assert_int_equal(out.len, strlen(expected));
    assert_memory_equal(out.ptr, expected, out.len);
    mr_buf_done(&out);
}

static void a_table_is_json_schema(void **state) {
    (void)state;
    assert_schema(
        &inner, SHAPE_CREATE,
        "{\"type\":\"object\",\"properties\":{\"port\":{\"type\":\"integer\",\"minimum\":1,"
        "\"maximum\":65535},\"host\":{\"type\":[\"string\",\"null\"],\"minLength\":1,"
        "\"maxLength\":8,\"pattern\":\"^[^\\\\u0000-\\\\u001f\\\\u007f]*$\"}},"
        "\"required\":[\"port\"],\"additionalProperties\":false}");
    assert_schema(
        &inner, SHAPE_ANSWER,
        "{\"type\":\"object\",\"properties\":{\"port\":{\"type\":\"integer\",\"minimum\":1,"
        "\"maximum\":65535},\"host\":{\"type\":\"string\"}},\"required\":[\"port\",\"host\"],"
        "\"additionalProperties\":false}");
    char name[SHAPE_NAME_SIZE];
    shape_schema_name(&inner, SHAPE_CHANGE, name);
    assert_string_equal(name, "InnerChange");
    assert_int_equal(shape_inner_use(&members[6], SHAPE_CHANGE), SHAPE_CREATE);
    assert_int_equal(shape_inner_use(&members[5], SHAPE_CHANGE), SHAPE_CHANGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_creation_is_judged_by_its_table),
        cmocka_unit_test(a_change_needs_nothing_and_has_members_of_its_own),
        cmocka_unit_test(a_patch_is_merged_and_its_names_are_judged_at_every_level),
        cmocka_unit_test(values_are_read_of_a_judged_object),
        cmocka_unit_test(a_table_is_json_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
