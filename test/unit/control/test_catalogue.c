/* Publishing schemas and event types: what is refused and how, what a restart and workers see. */
#include "support_control.h"

#include "control/accounts.h"
#include "control/catalogue/publish.h"
#include "control/catalogue/types.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define V1                                                                                         \
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":"           \
    "\"string\"}},\"required\":[\"a\"]}"
#define V2                                                                                         \
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":"           \
    "\"string\"},\"c\":{\"type\":\"number\"}},\"required\":[\"a\"]}"
#define V3                                                                                         \
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":"            \
    "\"string\"}},\"required\":[\"a\"]}"

static const mr_str bases[] = {{"https://events.example.com", 26}};

/* A call with a body; its members go to a buffer of the test. */
struct call {
    struct publish_call publish;
    mr_buf members;
    struct catalogue_schema view;
};

static void call_init(struct call *call, struct fixture *f, const char *name, const char *body) {
    memset(call, 0, sizeof *call);
    mr_buf_init(&call->members, (size_t)1 << 20);
    call->publish = (struct publish_call){.account = f->account,
                                          .name = name == NULL ? MR_STR_NONE : mr_str_c(name),
                                          .body = mr_str_c(body),
                                          .bases = bases,
                                          .n_bases = 1,
                                          .arena = &f->arena,
                                          .members = &call->members};
}

static mr_err create(struct fixture *f, const char *body) {
    struct call call;
    call_init(&call, f, NULL, body);
    mr_err err = schemas_create(f->control, &call.publish, &call.view, &f->refusal);
    mr_buf_done(&call.members);
    return err;
}

static mr_err publish(struct fixture *f, const char *name, const char *body) {
    struct call call;
    call_init(&call, f, name, body);
    mr_err err = schemas_publish(f->control, &call.publish, &call.view, &f->refusal);
    mr_buf_done(&call.members);
    return err;
}

static void create_demo(struct fixture *f) {
    assert_ok(create(f, "{\"name\":\"Demo\",\"document\":" V1 ",\"examples\":[{\"a\":1}]}"));
}

static void a_published_version_is_in_the_next_snapshot_and_after_a_restart(void **state) {
    struct fixture *f = *state;
    create_demo(f);
    assert_ok(
        publish(f, "Demo", "{\"document\":" V2 ",\"examples\":[{\"a\":1},{\"a\":2,\"c\":3}]}"));
    for (int round = 0; round < 2; round++) {
        struct snapshot *snapshot = control_snapshot(f->control);
        const struct catalogue *catalogue = snapshot_catalogue(snapshot);
        const struct catalogue_schema *second = catalogue_schema_find(catalogue, MR_STR("Demo"), 2);
        assert_non_null(second);
        assert_text(second->document, V2);
        assert_int_equal(second->n_examples, 2);
        assert_text(second->examples[1], "{\"a\":2,\"c\":3}");
        assert_text(second->breaking, "[]");
        assert_non_null(second->compiled);
        assert_false(second->is_shipped);
        assert_true(second->published_ms > 0);
        assert_non_null(catalogue_projection(catalogue, MR_STR("Demo"), 2, 1));
        assert_null(catalogue_schema_find(catalogue, MR_STR("Demo"), 3));
        assert_int_equal(catalogue_latest(catalogue, MR_STR("SuperSim.ConnectionEvent")), 2);
        snapshot_unref(snapshot);
        fixture_reopen(f);
    }
}

static void an_unchanged_catalogue_is_shared_by_snapshots(void **state) {
    struct fixture *f = *state;
    struct snapshot *before = control_snapshot(f->control);
    (void)make_destination(f);
    struct snapshot *after = control_snapshot(f->control);
    assert_ptr_not_equal(before, after);
    assert_ptr_equal(snapshot_catalogue(before), snapshot_catalogue(after));
    snapshot_unref(before);
    snapshot_unref(after);
}

static void bodies_that_are_wrong_are_refused_by_name(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *body;
        int code;
        const char *part;
    } cases[] = {
        {"[]", 20400, "object"},
        {"{", 20400, "JSON"},
        {"{\"name\":\"x\",\"document\":true}", 20002, "examples"},
        {"{\"document\":true,\"examples\":[1]}", 20002, "name"},
        {"{\"name\":\"x\",\"examples\":[1]}", 20002, "document"},
        {"{\"name\":\"x\",\"document\":true,\"examples\":[1],\"extra\":1}", 20001, "extra"},
        {"{\"name\":\"x\",\"document\":true,\"examples\":[1],\"allow_breaking\":true}", 20001,
         "allow_breaking"},
        {"{\"name\":\"-x\",\"document\":true,\"examples\":[1]}", 20400, "name"},
        {"{\"name\":\"a/b\",\"document\":true,\"examples\":[1]}", 20400, "name"},
        {"{\"name\":\"\",\"document\":true,\"examples\":[1]}", 20400, "name"},
        {"{\"name\":\"x\",\"document\":true,\"examples\":[]}", 31021, "examples"},
        {"{\"name\":\"x\",\"document\":true,\"examples\":{}}", 31021, "examples"},
        {"{\"name\":\"test\",\"document\":true,\"examples\":[1]}", 20409, "already"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_refused(f, create(f, cases[i].body), cases[i].code, cases[i].part);
    }
    assert_refused(f, publish(f, "Absent", "{\"document\":true,\"examples\":[1]}"), 20404,
                   "no such");
    assert_refused(f, publish(f, "test", "{\"document\":true,\"examples\":[1]}"), 20409, "program");
    create_demo(f);
    assert_refused(f, publish(f, "Demo", "{\"document\":" V2 "}"), 20002, "examples");
    assert_refused(f, publish(f, "Demo", "{\"name\":\"Demo\",\"document\":" V2 ",\"examples\":[]}"),
                   20001, "name");
    assert_refused(
        f,
        publish(f, "Demo", "{\"document\":" V2 ",\"examples\":[{\"a\":1}],\"allow_breaking\":1}"),
        20400, "allow_breaking");
}

static void another_account_than_the_root_changes_nothing(void **state) {
    struct fixture *f = *state;
    f->account++;
    assert_refused(f, create(f, "{}"), 20006, "root account");
    assert_refused(f, publish(f, "Demo", "{}"), 20006, "root account");
    struct catalogue_type type;
    assert_refused(
        f, event_types_create(f->control, f->account, MR_STR("{}"), &f->arena, &type, &f->refusal),
        20006, "root account");
    assert_refused(f,
                   event_types_patch(f->control, f->account, MR_STR("x"), MR_STR("{}"), 0,
                                     &f->arena, &type, &f->refusal),
                   20006, "root account");
}

static void a_document_that_does_not_compile_is_refused_with_its_place(void **state) {
    struct fixture *f = *state;
    struct call call;
    call_init(&call, f, NULL,
              "{\"name\":\"x\",\"document\":{\"properties\":{\"a\":{\"type\":\"int\"}}},"
              "\"examples\":[{}]}");
    mr_err err = schemas_create(f->control, &call.publish, &call.view, &f->refusal);
    assert_refused(f, err, 31021, "/properties/a/type");
    assert_true(mr_str_starts(mr_buf_view(&call.members),
                              MR_STR("\"errors\":[{\"pointer\":\"/properties/a/type\"")));
    mr_buf_done(&call.members);
}

static void an_example_that_is_not_valid_is_refused_with_its_errors(void **state) {
    struct fixture *f = *state;
    struct call call;
    call_init(&call, f, NULL,
              "{\"name\":\"x\",\"document\":" V1 ",\"examples\":[{\"a\":1},{\"a\":\"1\"}]}");
    mr_err err = schemas_create(f->control, &call.publish, &call.view, &f->refusal);
    assert_refused(f, err, 31021, "number 1");
    assert_true(mr_str_find(mr_buf_view(&call.members),
                            MR_STR("\"example\":1,\"instance\":\"/a\"")) != SIZE_MAX);
    mr_buf_done(&call.members);
}

static void ignored_keywords_are_named(void **state) {
    struct fixture *f = *state;
    struct call call;
    call_init(&call, f, NULL, "{\"name\":\"x\",\"document\":{\"x-unit\":\"s\"},\"examples\":[{}]}");
    assert_ok(schemas_create(f->control, &call.publish, &call.view, &f->refusal));
    assert_text(call.view.ignored, "[\"/x-unit\"]");
    mr_buf_done(&call.members);
    struct snapshot *snapshot = control_snapshot(f->control);
    assert_text(catalogue_schema_find(snapshot_catalogue(snapshot), MR_STR("x"), 1)->ignored,
                "[\"/x-unit\"]");
    snapshot_unref(snapshot);
}

static void what_breaks_is_refused_and_listed_unless_it_is_allowed(void **state) {
    struct fixture *f = *state;
    struct call call;
    create_demo(f);
    call_init(&call, f, "Demo", "{\"document\":" V3 ",\"examples\":[{\"a\":\"1\"}]}");
    mr_err err = schemas_publish(f->control, &call.publish, &call.view, &f->refusal);
    assert_refused(f, err, 31021, "allow_breaking");
    assert_true(
        mr_str_starts(mr_buf_view(&call.members), MR_STR("\"breaking\":[{\"pointer\":\"/")));
    assert_true(mr_str_find(mr_buf_view(&call.members), MR_STR("/properties/a")) != SIZE_MAX);
    mr_buf_done(&call.members);
    call_init(&call, f, "Demo",
              "{\"document\":" V3 ",\"examples\":[{\"a\":\"1\"}],\"allow_breaking\":true}");
    assert_ok(schemas_publish(f->control, &call.publish, &call.view, &f->refusal));
    assert_int_equal(call.view.version, 2);
    assert_true(mr_str_find(call.view.breaking, MR_STR("/properties/a")) != SIZE_MAX);
    fixture_reopen(f);
    struct snapshot *snapshot = control_snapshot(f->control);
    assert_true(
        mr_str_eq(catalogue_schema_find(snapshot_catalogue(snapshot), MR_STR("Demo"), 2)->breaking,
                  call.view.breaking));
    snapshot_unref(snapshot);
    mr_buf_done(&call.members);
}

static void versions_have_no_gaps_and_no_twins(void **state) {
    struct fixture *f = *state;
    create_demo(f);
    assert_refused(f, create(f, "{\"name\":\"Demo\",\"document\":" V2 ",\"examples\":[{\"a\":1}]}"),
                   20409, "already");
    assert_refused(f, publish(f, "Demo", "{\"document\":" V1 " ,\"examples\":[{\"a\":1}]}"), 20409,
                   "version 1 already");
    assert_refused(f, publish(f, "Demo", "{\"document\":" V2 ",\"examples\":[{\"a\":\"\"}]}"),
                   31021, "examples");
    struct call call;
    call_init(&call, f, "Demo", "{\"document\":" V2 ",\"examples\":[{\"a\":1}]}");
    call.publish.if_version = 2;
    assert_refused(f, schemas_publish(f->control, &call.publish, &call.view, &f->refusal), 20412,
                   "meanwhile");
    call.publish.if_version = 1;
    assert_ok(schemas_publish(f->control, &call.publish, &call.view, &f->refusal));
    assert_int_equal(call.view.version, 2);
    assert_refused(f, schemas_publish(f->control, &call.publish, &call.view, &f->refusal), 20412,
                   "meanwhile");
    mr_buf_done(&call.members);
}

static void the_limit_of_versions_is_named(void **state) {
    struct fixture *f = *state;
    char body[512];
    assert_ok(
        create(f, "{\"name\":\"Many\",\"document\":{\"maxProperties\":1},\"examples\":[{}]}"));
    for (int i = 2; i <= CATALOGUE_VERSIONS_MAX + 1; i++) {
        (void)snprintf(body, sizeof body, "{\"document\":{\"maxProperties\":%d},\"examples\":[{}]}",
                       i);
        mr_err err = publish(f, "Many", body);
        if (i <= CATALOGUE_VERSIONS_MAX) {
            assert_ok(err);
        } else {
            assert_refused(f, err, 20409, "100 versions");
        }
    }
}

static void a_reference_of_the_catalogue_is_followed_also_after_a_restart(void **state) {
    struct fixture *f = *state;
    create_demo(f);
    struct snapshot *snapshot = control_snapshot(f->control);
    snapshot_unref(snapshot);
    assert_ok(create(f, "{\"name\":\"Uses\",\"document\":{\"properties\":{\"demo\":{\"$ref\":"
                        "\"https://events.example.com/schemas/Demo/1\"}}},"
                        "\"examples\":[{\"demo\":{\"a\":1}}]}"));
    assert_refused(f,
                   create(f, "{\"name\":\"Lost\",\"document\":{\"$ref\":"
                             "\"https://elsewhere.example.com/schemas/Demo/1\"},\"examples\":[1]}"),
                   31021, "$ref");
    fixture_reopen(f);
    snapshot = control_snapshot(f->control);
    assert_non_null(
        catalogue_schema_find(snapshot_catalogue(snapshot), MR_STR("Uses"), 1)->compiled);
    snapshot_unref(snapshot);
}

static void exec(struct fixture *f, const char *sql, int expected) {
    char path[256];
    sqlite3 *db = NULL;
    (void)snprintf(path, sizeof path, "%s/control.db", f->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), expected);
    sqlite3_close(db);
}

static void a_stored_version_cannot_be_changed(void **state) {
    struct fixture *f = *state;
    create_demo(f);
    control_close(f->control);
    f->control = NULL;
    exec(f, "UPDATE schema_versions SET document = 'true'", SQLITE_CONSTRAINT);
    assert_ok(control_open(&f->options, &f->control, &f->refusal));
}

static void names_that_the_program_ships_win_over_stored_ones(void **state) {
    struct fixture *f = *state;
    struct catalogue_type type;
    create_demo(f);
    assert_ok(event_types_create(
        f->control, f->account,
        MR_STR("{\"name\":\"org.example.supersim.connection.data-session.ended\",\"product\":\"P\","
               "\"schema\":\"Demo\"}"),
        &f->arena, &type, &f->refusal));
    control_close(f->control);
    f->control = NULL;
    exec(f, "UPDATE schemas SET name = 'test'; UPDATE event_types SET schema = 'test'", SQLITE_OK);
    f->options.event_type_prefix = MR_STR("org.example");
    assert_ok(control_open(&f->options, &f->control, &f->refusal));
    struct snapshot *snapshot = control_snapshot(f->control);
    const struct catalogue *catalogue = snapshot_catalogue(snapshot);
    assert_true(catalogue_schema_find(catalogue, MR_STR("test"), 1)->is_shipped);
    const struct catalogue_type *found = catalogue_type_find(
        catalogue, MR_STR("org.example.supersim.connection.data-session.ended"));
    assert_text(found->product, "Super SIM");
    snapshot_unref(snapshot);
}

/* ---- event types ---- */

static mr_err make_type(struct fixture *f, const char *body, struct catalogue_type *ret_type) {
    return event_types_create(f->control, f->account, mr_str_c(body), &f->arena, ret_type,
                              &f->refusal);
}

static mr_err change_type(struct fixture *f, const char *name, const char *body, uint32_t version,
                          struct catalogue_type *ret_type) {
    return event_types_patch(f->control, f->account, mr_str_c(name), mr_str_c(body), version,
                             &f->arena, ret_type, &f->refusal);
}

static void a_type_is_made_changed_and_found_again(void **state) {
    struct fixture *f = *state;
    struct catalogue_type type;
    create_demo(f);
    assert_ok(make_type(f,
                        "{\"name\":\"com.x.y\",\"product\":\"P\",\"product_group\":\"G\","
                        "\"schema\":\"Demo\",\"description\":\"Something.\"}",
                        &type));
    assert_text(type.status, "available");
    assert_int_equal(type.latest, 1);
    assert_text(type.example, "{\"a\":1}");
    assert_ok(
        change_type(f, "com.x.y", "{\"status\":\"deprecated\",\"product_group\":null}", 1, &type));
    assert_int_equal(type.row_version, 2);
    assert_refused(f, change_type(f, "com.x.y", "{}", 1, &type), 20412, "meanwhile");
    assert_ok(publish(f, "Demo", "{\"document\":" V2 ",\"examples\":[{\"a\":5}]}"));
    fixture_reopen(f);
    struct snapshot *snapshot = control_snapshot(f->control);
    const struct catalogue_type *found =
        catalogue_type_find(snapshot_catalogue(snapshot), MR_STR("com.x.y"));
    assert_text(found->status, "deprecated");
    assert_text(found->description, "Something.");
    assert_true(mr_str_is_absent(found->product_group));
    assert_int_equal(found->latest, 2);
    assert_text(found->example, "{\"a\":5}");
    assert_int_equal(found->row_version, 2);
    snapshot_unref(snapshot);
}

static void types_that_are_wrong_are_refused_by_name(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *body;
        int code;
        const char *part;
    } cases[] = {
        {"{}", 20002, "name"},
        {"{\"name\":\"x\",\"product\":\"P\"}", 20002, "schema"},
        {"{\"name\":\"x\",\"schema\":\"test\"}", 20002, "product"},
        {"{\"name\":\"x\",\"product\":\"P\",\"schema\":\"test\",\"more\":1}", 20001, "more"},
        {"{\"name\":\"*\",\"product\":\"P\",\"schema\":\"test\"}", 20400, "name"},
        {"{\"name\":\"x\",\"product\":\"P\",\"schema\":\"none\"}", 20400, "no schema none"},
        {"{\"name\":\"x\",\"product\":\"P\",\"schema\":\"test\",\"status\":\"new\"}", 20400,
         "status"},
        {"{\"name\":\"com.kore.eventstreams.test.event\",\"product\":\"P\",\"schema\":\"test\"}",
         20409, "already"},
    };
    struct catalogue_type type;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_refused(f, make_type(f, cases[i].body, &type), cases[i].code, cases[i].part);
    }
    assert_ok(make_type(f, "{\"name\":\"x\",\"product\":\"P\",\"schema\":\"test\"}", &type));
    assert_refused(f, make_type(f, "{\"name\":\"x\",\"product\":\"P\",\"schema\":\"test\"}", &type),
                   20409, "already");
    assert_refused(f, change_type(f, "y", "{}", 0, &type), 20404, "no such");
    assert_refused(f, change_type(f, "x", "{\"schema\":\"Demo\"}", 0, &type), 20400, "schema");
    assert_refused(f, change_type(f, "x", "{\"name\":\"z\"}", 0, &type), 20400, "name");
    assert_refused(f, change_type(f, "x", "{\"product\":null}", 0, &type), 20002, "product");
    assert_refused(f, change_type(f, "x", "{\"zzz\":null}", 0, &type), 20001, "zzz");
}

static void a_shipped_type_keeps_its_change_under_another_prefix(void **state) {
    struct fixture *f = *state;
    struct catalogue_type type;
    const char *ended = "com.kore.iot.supersim.connection.data-session.ended";
    assert_refused(f, change_type(f, ended, "{\"product\":\"Mine\"}", 0, &type), 20400, "program");
    assert_refused(f, change_type(f, ended, "{\"product_group\":null}", 0, &type), 20400,
                   "program");
    assert_ok(change_type(f, ended, "{\"status\":\"restricted\"}", 1, &type));
    assert_ok(change_type(f, ended, "{\"description\":\"Over.\"}", 2, &type));
    f->options.event_type_prefix = MR_STR("org.example");
    fixture_reopen(f);
    struct snapshot *snapshot = control_snapshot(f->control);
    const struct catalogue_type *found = catalogue_type_find(
        snapshot_catalogue(snapshot), MR_STR("org.example.supersim.connection.data-session.ended"));
    assert_text(found->status, "restricted");
    assert_text(found->description, "Over.");
    assert_int_equal(found->row_version, 3);
    assert_int_equal(found->latest, 2);
    snapshot_unref(snapshot);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_published_version_is_in_the_next_snapshot_and_after_a_restart),
        TEST(an_unchanged_catalogue_is_shared_by_snapshots),
        TEST(bodies_that_are_wrong_are_refused_by_name),
        TEST(another_account_than_the_root_changes_nothing),
        TEST(a_document_that_does_not_compile_is_refused_with_its_place),
        TEST(an_example_that_is_not_valid_is_refused_with_its_errors),
        TEST(ignored_keywords_are_named),
        TEST(what_breaks_is_refused_and_listed_unless_it_is_allowed),
        TEST(versions_have_no_gaps_and_no_twins),
        TEST(the_limit_of_versions_is_named),
        TEST(a_reference_of_the_catalogue_is_followed_also_after_a_restart),
        TEST(a_stored_version_cannot_be_changed),
        TEST(names_that_the_program_ships_win_over_stored_ones),
        TEST(a_type_is_made_changed_and_found_again),
        TEST(types_that_are_wrong_are_refused_by_name),
        TEST(a_shipped_type_keeps_its_change_under_another_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
