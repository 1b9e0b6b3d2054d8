/* Streaming rules: validation, change, and what matching sees of them. */
#include "support_control.h"

#include "control/destinations.h"
#include "control/private.h"
#include "control/rules.h"
#include "route/route.h"

#include <stdio.h>
#include <string.h>

#define TEST_TYPE "com.kore.eventstreams.test.event"

static mr_err create(struct fixture *f, const char *format, mr_str destination,
                     struct rule_view *view) {
    static char body[65536];
    size_t at = 0;
    for (const char *c = format; *c != '\0'; c++) {
        if (*c == '@') {
            memcpy(body + at, destination.ptr, destination.len);
            at += destination.len;
        } else {
            body[at++] = *c;
        }
    }
    return rules_create(f->control, f->account, mr_str_of(body, at), &f->arena, view, &f->refusal);
}

static mr_err patch(struct fixture *f, mr_str id, const char *body, struct rule_view *view) {
    return rules_patch(f->control, f->account, id, mr_str_c(body), 0, &f->arena, view, &f->refusal);
}

/* How many destinations get an event of that type now, whose subject is "s" and n is 7. */
static size_t matches(struct fixture *f, const char *type, const char *group) {
    static const struct filter_attribute attributes[] = {
        {.name = {"subject", 7}, .text = {"s", 1}},
        {.name = {"n", 1}, .text = {"7", 1}, .type = FILTER_INTEGER}};
    const struct filter_event content = {.attributes = attributes, .n_attributes = 2};
    struct filter_run *run;
    assert_ok(filter_run_new(&run));
    struct snapshot *snapshot = control_snapshot(f->control);
    const struct model_account *account = snapshot_account(snapshot, f->account);
    struct route_result result;
    size_t n = 0;
    route_result_init(&result);
    if (account->routes != NULL) {
        struct route_event event = {
            .account = f->account,
            .version = 1,
            .type = mr_str_c(type),
            .product_group = mr_str_c(group),
            .id_hash = route_id_hash(MR_STR("id")),
            .content = &content,
            .run = run,
        };
        assert_ok(route_match(account->routes, &event, &result));
        n = result.n_targets;
    }
    route_result_done(&result);
    snapshot_unref(snapshot);
    filter_run_free(run);
    return n;
}

static void creation_gives_defaults_and_streams_at_once(void **state) {
    struct fixture *f = *state;
    struct rule_view view;
    mr_buf json;
    assert_int_equal(matches(f, TEST_TYPE, NULL), 0);
    assert_ok(create(
        f,
        "{\"name\":\"R\",\"destination_id\":\"@\",\"event_types\":[{\"type\":\"" TEST_TYPE "\"}]}",
        make_destination(f), &view));
    assert_true(view.is_enabled);
    assert_int_equal(view.sampling, 1);
    assert_memory_equal(view.id.ptr, "rul_", 4);
    assert_int_equal(matches(f, TEST_TYPE, NULL), 1);
    assert_int_equal(matches(f, "other", NULL), 0);
    mr_buf_init(&json, 65536);
    assert_ok(rule_write_json(&view, &json));
    assert_true(mr_str_find(mr_buf_view(&json),
                            MR_STR("\"status\":\"enabled\",\"destination_id\":\"dst_")) !=
                SIZE_MAX);
    assert_true(mr_str_find(mr_buf_view(&json),
                            MR_STR("\"product_group\":null,\"event_types\":[{\"type\":\"" TEST_TYPE
                                   "\",\"schema_version\":null}],\"filter\":null,\"sampling\":1,"
                                   "\"metadata\":{}")) != SIZE_MAX);
    mr_buf_done(&json);
    fixture_reopen(f);
    assert_int_equal(matches(f, TEST_TYPE, NULL), 1);
}

static void each_bad_body_is_refused_by_name(void **state) {
#define HEAD  "{\"name\":\"R\",\"destination_id\":\"@\""
#define TYPES ",\"event_types\":[{\"type\":\"a.b\"}]"
    static const struct {
        const char *body;
        int code;
        const char *part;
    } rows[] = {
        {"nonsense", 20400, "not valid JSON"},
        {"{\"destination_id\":\"@\"" TYPES "}", 20002, "name"},
        {"{\"name\":\"R\"" TYPES "}", 20002, "destination_id"},
        {HEAD "}", 20002, "event_types"},
        {HEAD TYPES ",\"colour\":1}", 20001, "colour"},
        {"{\"name\":\"\",\"destination_id\":\"@\"" TYPES "}", 31020, "name"},
        {"{\"name\":\"R\",\"destination_id\":\"dst_none\"" TYPES "}", 31020, "dst_none"},
        {"{\"name\":\"R\",\"destination_id\":7" TYPES "}", 31020, "destination_id"},
        {HEAD ",\"event_types\":[]}", 31020, "event_types"},
        {HEAD ",\"event_types\":{}}", 31020, "event_types"},
        {HEAD ",\"event_types\":[\"a\"]}", 31020, "objects"},
        {HEAD ",\"event_types\":[{}]}", 20002, "event_types.type"},
        {HEAD ",\"event_types\":[{\"type\":\"\"}]}", 31020, "event_types.type"},
        {HEAD ",\"event_types\":[{\"type\":\"a\",\"x\":1}]}", 20001, "event_types.x"},
        {HEAD ",\"event_types\":[{\"type\":\"a\"},{\"type\":\"a\"}]}", 31020, "twice"},
        {HEAD ",\"event_types\":[{\"type\":\"a\",\"schema_version\":0}]}", 31020, "schema_version"},
        {HEAD ",\"event_types\":[{\"type\":\"a\",\"schema_version\":65536}]}", 31020,
         "schema_version"},
        {HEAD ",\"event_types\":[{\"type\":\"" TEST_TYPE "\",\"schema_version\":2}]}", 31020,
         "no version 2; the latest is 1"},
        {HEAD ",\"event_types\":[{\"type\":\"*\"}]}", 31020, "product_group"},
        {HEAD ",\"product_group\":\"Nowhere\",\"event_types\":[{\"type\":\"*\"}]}", 31020,
         "Nowhere"},
        {HEAD TYPES ",\"status\":\"on\"}", 31020, "status"},
        {HEAD TYPES ",\"sampling\":0}", 31020, "sampling"},
        {HEAD TYPES ",\"sampling\":1000001}", 31020, "sampling"},
        {HEAD TYPES ",\"metadata\":1}", 31020, "metadata"},
        {HEAD TYPES ",\"filter\":7}", 31020, "filter must be"},
        {HEAD TYPES ",\"filter\":{}}", 31020, "one of the members pattern and cesql"},
        {HEAD TYPES ",\"filter\":{\"sql\":\"true\"}}", 20001, "filter.sql"},
        {HEAD TYPES ",\"filter\":{\"cesql\":7}}", 31020, "filter.cesql must be a string"},
        {HEAD TYPES ",\"filter\":{\"pattern\":[]}}", 31020, "filter.pattern must be an object"},
        {HEAD TYPES ",\"filter\":{\"cesql\":\"a =\"}}", 31020,
         "filter.cesql: line 1, column 4: expected"},
        {HEAD TYPES ",\"filter\":{\"pattern\":{\"data\":{\"a\":7}}}}", 31020,
         "filter.pattern: at \"/data/a\": expected"},
    };
    struct fixture *f = *state;
    mr_str destination = make_destination(f);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rule_view view;
        assert_refused(f, create(f, rows[i].body, destination, &view), rows[i].code, rows[i].part);
    }
    struct snapshot *snapshot = control_snapshot(f->control);
    assert_int_equal(snapshot_count(snapshot, MODEL_RULE), 0);
    snapshot_unref(snapshot);
}

static void a_star_takes_the_whole_group(void **state) {
    struct fixture *f = *state;
    struct rule_view view;
    assert_ok(create(f,
                     "{\"name\":\"R\",\"destination_id\":\"@\",\"product_group\":\"Connectivity\","
                     "\"event_types\":[{\"type\":\"*\",\"schema_version\":1}],\"filter\":null}",
                     make_destination(f), &view));
    assert_int_equal(matches(f, "anything.new", "Connectivity"), 1);
    assert_int_equal(matches(f, "anything.new", "Other"), 0);
}

static void changes_take_hold(void **state) {
    struct fixture *f = *state;
    struct rule_view view;
    mr_str id = make_rule(f, make_destination(f));
    assert_ok(patch(f, id, "{\"status\":\"disabled\"}", &view));
    assert_int_equal(matches(f, TEST_TYPE, NULL), 0);
    assert_ok(patch(f, id,
                    "{\"status\":\"enabled\",\"event_types\":[{\"type\":\"x.y\"}],\"name\":\"N\","
                    "\"metadata\":{\"k\":\"v\"},\"sampling\":null}",
                    &view));
    assert_int_equal(matches(f, TEST_TYPE, NULL), 0);
    assert_int_equal(matches(f, "x.y", NULL), 1);
    assert_text(view.name, "N");
    assert_text(view.metadata_json, "{\"k\":\"v\"}");
    assert_int_equal(view.version, 3);
    mr_str other = make_destination(f);
    char body[128];
    (void)snprintf(body, sizeof body, "{\"destination_id\":\"%.*s\"}", MR_FMT(other));
    assert_ok(patch(f, id, body, &view));
    assert_true(mr_str_eq(view.destination_id, other));
    assert_refused(f, patch(f, id, "{\"event_types\":null}", &view), 20002, "event_types");
    assert_refused(f, patch(f, id, "{\"date_created\":1}", &view), 20001, "date_created");
    assert_refused(f, patch(f, MR_STR("rul_x"), "{}", &view), 20404, "no such");
    assert_refused(
        f, rules_patch(f->control, f->account, id, MR_STR("{}"), 1, &f->arena, &view, &f->refusal),
        20412, "meanwhile");
    assert_refused(f, rules_get(f->control, f->account + 1, id, &f->arena, &view, &f->refusal),
                   20404, "no such");
}

#define RULE_S "\"event_types\":[{\"type\":\"x.y\"}],\"filter\":"

/* The compiled filter of a rule in the present snapshot. */
static const struct route_filter *filter_in_snapshot(struct fixture *f, uint32_t number) {
    struct snapshot *snapshot = control_snapshot(f->control);
    const struct route_filter *filter = snapshot_rule(snapshot, number)->filter;
    snapshot_unref(snapshot);
    return filter;
}

static void a_filter_is_replaced_whole_and_outlives_a_reopen(void **state) {
    struct fixture *f = *state;
    struct rule_view view;
    assert_ok(create(f,
                     "{\"name\":\"R\",\"destination_id\":\"@\"," RULE_S
                     "{\"pattern\": {\"subject\": [\"s\"], \"n\": [8]}}}",
                     make_destination(f), &view));
    assert_text(view.filter_json, "{\"pattern\":{\"subject\":[\"s\"],\"n\":[8]}}");
    assert_int_equal(matches(f, "x.y", NULL), 0);
    mr_str id = view.id;
    assert_ok(patch(f, id, "{\"filter\":{\"pattern\":{\"n\":[7]}}}", &view));
    assert_text(view.filter_json, "{\"pattern\":{\"n\":[7]}}");
    assert_int_equal(matches(f, "x.y", NULL), 1);
    assert_ok(patch(f, id, "{\"filter\":{\"cesql\":\"n = 8\"}}", &view));
    assert_int_equal(matches(f, "x.y", NULL), 0);
    fixture_reopen(f);
    assert_int_equal(matches(f, "x.y", NULL), 0);
    assert_ok(patch(f, id, "{\"name\":\"S\"}", &view));
    assert_text(view.filter_json, "{\"cesql\":\"n = 8\"}");
    /* A null inside is the patch's text, not a command to leave something out. */
    assert_refused(f, patch(f, id, "{\"filter\":{\"pattern\":{\"n\":null}}}", &view), 31020, "/n");
    assert_ok(patch(f, id, "{\"filter\":null}", &view));
    assert_true(mr_str_is_absent(view.filter_json));
    assert_int_equal(matches(f, "x.y", NULL), 1);
}

static void one_text_is_compiled_once_and_kept_by_changes_of_others(void **state) {
    struct fixture *f = *state;
    struct rule_view views[3];
    mr_str destination = make_destination(f);
    static const char *const bodies[] = {
        "{\"name\":\"A\",\"destination_id\":\"@\"," RULE_S "{\"cesql\":\"n = 7\"}}",
        "{\"name\":\"B\",\"destination_id\":\"@\"," RULE_S "{ \"cesql\" : \"n = 7\" }}",
        "{\"name\":\"C\",\"destination_id\":\"@\"," RULE_S "{\"cesql\":\"n = 70\"}}"};
    for (size_t i = 0; i < 3; i++) {
        assert_ok(create(f, bodies[i], destination, &views[i]));
    }
    const struct route_filter *shared = filter_in_snapshot(f, views[0].number);
    assert_ptr_equal(filter_in_snapshot(f, views[1].number), shared);
    assert_ptr_not_equal(filter_in_snapshot(f, views[2].number), shared);
    assert_ok(patch(f, views[2].id, "{\"filter\":{\"cesql\":\"n = 7\"}}", &views[2]));
    assert_ptr_equal(filter_in_snapshot(f, views[0].number), shared);
    assert_ptr_equal(filter_in_snapshot(f, views[2].number), shared);
    /* Many that come and go leave the shared one, and no more than are used. */
    for (int i = 0; i < 300; i++) {
        char change[64];
        (void)snprintf(change, sizeof change, "{\"filter\":{\"cesql\":\"n = %d\"}}", 1000 + i);
        assert_ok(patch(f, views[2].id, change, &views[2]));
    }
    assert_ok(patch(f, views[2].id, "{\"filter\":{\"cesql\":\"n = 7\"}}", &views[2]));
    assert_ptr_equal(filter_in_snapshot(f, views[2].number), shared);
    assert_true(((const struct control *)f->control)->filters.n < 100);
}

static void a_draft_needs_types_alone_and_stores_nothing(void **state) {
    struct fixture *f = *state;
    struct rule_draft draft;
    assert_ok(rules_draft(f->control, f->account,
                          MR_STR("{\"rule\":{\"event_types\":[{\"type\":\"a\"}],"
                                 "\"filter\":{\"cesql\":\"true\"}},\"events\":[ 1 ]}"),
                          &f->arena, &draft, &f->refusal));
    assert_text(draft.filter_json, "{\"cesql\":\"true\"}");
    assert_text(draft.events, "[ 1 ]");
    assert_true(draft.is_enabled && draft.sampling == 1 && draft.n_types == 1);
    struct snapshot *snapshot = control_snapshot(f->control);
    assert_int_equal(snapshot_count(snapshot, MODEL_RULE), 0);
    snapshot_unref(snapshot);
    assert_refused(f,
                   rules_draft(f->control, f->account, MR_STR("{\"rule\":{}}"), &f->arena, &draft,
                               &f->refusal),
                   20002, "rule.event_types");
}

static void a_deleted_rule_stops_matching_and_stays_named(void **state) {
    struct fixture *f = *state;
    struct rule_view view;
    mr_str id = make_rule(f, make_destination(f));
    mr_str known[2];
    assert_ok(rules_get(f->control, f->account, id, &f->arena, &view, &f->refusal));
    assert_ok(rules_delete(f->control, f->account, id, 0, &f->refusal));
    assert_int_equal(matches(f, TEST_TYPE, NULL), 0);
    assert_refused(f, rules_get(f->control, f->account, id, &f->arena, &view, &f->refusal), 20404,
                   "no such");
    assert_refused(f, rules_delete(f->control, f->account, id, 0, &f->refusal), 20404, "no such");
    uint32_t numbers[2] = {view.number, 500};
    assert_ok(rules_ids_of(f->control, numbers, 2, &f->arena, known, &f->refusal));
    assert_true(mr_str_eq(known[0], id));
    assert_true(mr_str_is_absent(known[1]));
    assert_ok(rules_forget(f->control, UINT32_MAX, INT64_MAX, &f->refusal));
    assert_ok(rules_ids_of(f->control, numbers, 1, &f->arena, known, &f->refusal));
    assert_true(mr_str_is_absent(known[0]));
}

static void lists_select_by_status_and_destination(void **state) {
    struct fixture *f = *state;
    struct rule_view view;
    struct rule_view *rows = NULL;
    size_t n = 0;
    uint64_t count = 0;
    struct control_page page = {.size = 2, .number = 1};
    mr_str a = make_destination(f);
    mr_str b = make_destination(f);
    make_rule(f, a);
    make_rule(f, a);
    mr_str last = make_rule(f, b);
    assert_ok(patch(f, last, "{\"status\":\"disabled\"}", &view));
    assert_ok(rules_list(f->control, f->account, MR_STR_NONE, MR_STR_NONE, page, &f->arena, &rows,
                         &n, &count, &f->refusal));
    assert_int_equal(n, 2);
    assert_int_equal(count, 3);
    assert_ok(rules_list(f->control, f->account, MR_STR("disabled"), MR_STR_NONE, page, &f->arena,
                         &rows, &n, &count, &f->refusal));
    assert_int_equal(count, 1);
    assert_true(mr_str_eq(rows[0].id, last));
    assert_ok(rules_list(f->control, f->account, MR_STR_NONE, a, page, &f->arena, &rows, &n, &count,
                         &f->refusal));
    assert_int_equal(count, 2);
    assert_refused(f,
                   rules_list(f->control, f->account, MR_STR("on"), MR_STR_NONE, page, &f->arena,
                              &rows, &n, &count, &f->refusal),
                   20400, "status");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(creation_gives_defaults_and_streams_at_once),
        TEST(each_bad_body_is_refused_by_name),
        TEST(a_star_takes_the_whole_group),
        TEST(changes_take_hold),
        TEST(a_filter_is_replaced_whole_and_outlives_a_reopen),
        TEST(one_text_is_compiled_once_and_kept_by_changes_of_others),
        TEST(a_draft_needs_types_alone_and_stores_nothing),
        TEST(a_deleted_rule_stops_matching_and_stays_named),
        TEST(lists_select_by_status_and_destination),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
