/* Accounts: the tree and its bounds, bodies, lists, mappings, what is logged of changes. */
#include "support_control.h"

#include "control/accounts.h"
#include "control/private.h"
#include "os/clock.h"

#include <stdio.h>
#include <string.h>

#define NAMED "{\"friendly_name\":\"A\"}"

static mr_err create(struct fixture *f, uint32_t parent, const char *body,
                     struct account_view *view) {
    return accounts_create(f->control, NULL, parent, mr_str_c(body),
                           MR_STR("https://m.example.com"), &f->arena, view, &f->refusal);
}

static struct account_view child(struct fixture *f, uint32_t parent) {
    struct account_view view;
    assert_ok(create(f, parent, NAMED, &view));
    return view;
}

static mr_err patch(struct fixture *f, uint32_t account, const char *body,
                    struct account_view *view) {
    return accounts_patch(f->control, account, mr_str_c(body), 0, &f->arena, view, &f->refusal);
}

static int64_t number_of(struct fixture *f, const char *sql) {
    struct query query = query_begin(&f->control->store, sql);
    int64_t n = query_row(&query) ? query_col_i64(&query, 0) : -1;
    assert_ok(query_end(&query));
    return n;
}

static void a_child_has_what_its_body_says(void **state) {
    struct fixture *f = *state;
    struct account_view view;
    assert_ok(create(f, f->account,
                     "{\"friendly_name\":\"Nord\\u00e9\",\"description\":\"two\\nlines\","
                     "\"owner_email\":\"o@example.com\",\"settings\":{\"validate\":\"warn\","
                     "\"unknown_types\":\"refuse\",\"events_per_second\":7,"
                     "\"second_factor\":\"required\"}}",
                     &view));
    assert_memory_equal(view.id.ptr, "acct_", 5);
    assert_text(view.parent_id, f->made.account_id);
    assert_text(view.friendly_name, "Nordé");
    assert_text(view.description, "two\nlines");
    assert_text(view.owner_email, "o@example.com");
    assert_text(view.status, "ACTIVE");
    assert_true(view.needs_second_factor && view.has_own_rate);
    struct snapshot *snapshot = control_snapshot(f->control);
    const struct model_account *account = snapshot_account_by_id(snapshot, view.id);
    assert_non_null(account);
    assert_int_equal(account->parent, f->account);
    assert_int_equal(account->validate, MODEL_VALIDATE_WARN);
    assert_int_equal(account->unknown_types, MODEL_UNKNOWN_REFUSE);
    assert_int_equal(account->events_per_second, 7);
    assert_true(snapshot_account_is_within(snapshot, account, f->account));
    snapshot_unref(snapshot);
    /* And the same after a restart. */
    fixture_reopen(f);
    struct account_view again;
    assert_ok(accounts_get(f->control, view.number, &f->arena, &again, &f->refusal));
    assert_text(again.description, "two\nlines");
    assert_int_equal(again.version, 1);
}

static void settings_are_not_inherited(void **state) {
    struct fixture *f = *state;
    struct account_view view;
    assert_ok(patch(f, f->account,
                    "{\"settings\":{\"validate\":\"off\",\"unknown_types\":\"refuse\","
                    "\"events_per_second\":3,\"second_factor\":\"required\"}}",
                    &view));
    view = child(f, f->account);
    assert_int_equal(view.validate, MODEL_VALIDATE_REJECT);
    assert_int_equal(view.unknown_types, MODEL_UNKNOWN_ACCEPT);
    assert_false(view.has_own_rate || view.needs_second_factor);
}

static void wrong_bodies_are_named_and_leave_nothing(void **state) {
    static const struct {
        const char *body;
        int code;
        const char *part;
    } rows[] = {
        {"", 20400, "JSON"},
        {"[]", 20400, "object"},
        {"{}", 20002, "friendly_name"},
        {"{\"friendly_name\":null}", 20002, "friendly_name"},
        {"{\"friendly_name\":\"\"}", 20400, "friendly_name"},
        {"{\"friendly_name\":7}", 20400, "friendly_name"},
        {"{\"friendly_name\":\"a\\nb\"}", 20400, "friendly_name"},
        {"{\"friendly_name\":\"A\",\"friendlyName\":\"B\",\"x\":1}", 20001, "friendlyName, x"},
        {"{\"friendly_name\":\"A\",\"platforms\":[]}", 20001, "platforms"},
        {"{\"friendly_name\":\"A\",\"status\":\"ACTIVE\"}", 20001, "status"},
        {"{\"friendly_name\":\"A\",\"owner_email\":\"nobody\"}", 20400, "owner_email"},
        {"{\"friendly_name\":\"A\",\"owner_email\":\"a@b@c\"}", 20400, "owner_email"},
        {"{\"friendly_name\":\"A\",\"settings\":[]}", 20400, "settings must be an object"},
        {"{\"friendly_name\":\"A\",\"settings\":{\"mode\":1}}", 20001, "settings.mode"},
        {"{\"friendly_name\":\"A\",\"settings\":{\"validate\":\"no\"}}", 20400,
         "settings.validate"},
        {"{\"friendly_name\":\"A\",\"settings\":{\"events_per_second\":-1}}", 20400,
         "settings.events_per_second"},
        {"{\"friendly_name\":\"A\",\"settings\":{\"second_factor\":true}}", 20400,
         "settings.second_factor"},
    };
    struct fixture *f = *state;
    int64_t before = number_of(f, "SELECT count(*) FROM audit");
    struct account_view view;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_refused(f, create(f, f->account, rows[i].body, &view), rows[i].code, rows[i].part);
    }
    char long_name[400];
    (void)snprintf(long_name, sizeof long_name, "{\"friendly_name\":\"%0256d\"}", 1);
    assert_refused(f, create(f, f->account, long_name, &view), 20400, "friendly_name");
    (void)snprintf(long_name, sizeof long_name, "{\"friendly_name\":\"%0255d\"}", 1);
    assert_refused(f, create(f, 4711, NAMED, &view), 20404, "no such account");
    assert_int_equal(number_of(f, "SELECT count(*) FROM accounts"), 1);
    assert_int_equal(number_of(f, "SELECT count(*) FROM audit"), before);
    assert_ok(create(f, f->account, long_name, &view));
}

static void the_tree_has_bounds(void **state) {
    struct fixture *f = *state;
    struct account_view view = {.number = f->account};
    for (int level = 1; level < MODEL_ACCOUNT_LEVELS_MAX; level++) {
        view = child(f, view.number);
    }
    assert_refused(f, create(f, view.number, NAMED, &view), 20409, "level 8");
    struct query query = query_begin(
        &f->control->store,
        "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)"
        " INSERT INTO accounts(number, id, parent, friendly_name, owner_email, status, validate,"
        " unknown_types, version, created_ms, updated_ms) SELECT i, 'acct_' || i, ?1, 'n', '',"
        " 'ACTIVE', 0, 0, 1, 0, 0 FROM n");
    query_i64(&query, f->account);
    query_i64(&query, 99 + ACCOUNT_CHILDREN_MAX - 2); /* one is there, one has room */
    assert_ok(query_run(&query));
    (void)child(f, f->account);
    assert_refused(f, create(f, f->account, NAMED, &view), 20409, "more than 5000 children");
    (void)child(f, 100);
    query = query_begin(&f->control->store, "UPDATE accounts SET parent = 200 WHERE number > 200");
    assert_ok(query_run(&query));
    query = query_begin(
        &f->control->store,
        "WITH RECURSIVE n(i) AS (SELECT 10000 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)"
        " INSERT INTO accounts(number, id, parent, friendly_name, owner_email, status, validate,"
        " unknown_types, version, created_ms, updated_ms) SELECT i, 'acct_' || i, 150, 'n', '',"
        " 'ACTIVE', 0, 0, 1, 0, 0 FROM n");
    query_i64(&query, 9999 + ACCOUNTS_MAX - number_of(f, "SELECT count(*) FROM accounts"));
    assert_ok(query_run(&query));
    assert_refused(f, create(f, f->account, NAMED, &view), 20409, "more than 10000 accounts");
    /* All of them fit into a list. */
    mr_buf out;
    mr_buf_init(&out, (size_t)32 << 20);
    assert_ok(accounts_write_list(f->control, f->account, false, &out, &f->refusal));
    assert_true(out.len > (size_t)ACCOUNTS_MAX * 200);
    mr_buf_done(&out);
}

static void what_lies_below_is_found_and_nothing_else(void **state) {
    struct fixture *f = *state;
    struct account_view north = child(f, f->account);
    struct account_view south = child(f, f->account);
    struct account_view below = child(f, north.number);
    mr_str root = mr_str_c(f->made.account_id);
    const struct {
        uint32_t home;
        mr_str id;
        uint32_t found; /* 0: refused */
    } rows[] = {
        {f->account, root, f->account},
        {f->account, north.id, north.number},
        {f->account, below.id, below.number},
        {north.number, below.id, below.number},
        {north.number, north.id, north.number},
        {north.number, root, 0},
        {north.number, south.id, 0},
        {below.number, north.id, 0},
        {south.number, below.id, 0},
        {f->account, MR_STR("acct_x"), 0},
        {f->account, MR_STR(""), 0},
    };
    struct snapshot *snapshot = control_snapshot(f->control);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t number = 0;
        mr_err err =
            accounts_find_within(f->control, rows[i].home, rows[i].id, &number, &f->refusal);
        const struct model_account *account = snapshot_account_by_id(snapshot, rows[i].id);
        assert_int_equal(snapshot_account_is_within(snapshot, account, rows[i].home),
                         rows[i].found != 0);
        if (rows[i].found == 0) {
            assert_refused(f, err, 20404, "no such account");
        } else {
            assert_ok(err);
            assert_int_equal(number, rows[i].found);
        }
    }
    snapshot_unref(snapshot);
}

static void a_patch_changes_what_it_names(void **state) {
    struct fixture *f = *state;
    struct account_view view = child(f, f->account);
    uint32_t account = view.number;
    assert_ok(patch(f, account,
                    "{\"description\":\"d\",\"settings\":{\"second_factor\":\"required\"},"
                    "\"platforms\":[{\"platform\":\"twilio\",\"legacy_account_id\":\"AC1\"}]}",
                    &view));
    assert_text(view.friendly_name, "A");
    assert_text(view.twilio_id, "AC1");
    assert_int_equal(view.version, 2);
    assert_ok(
        patch(f, account, "{\"friendly_name\":\"B\",\"settings\":{\"validate\":\"off\"}}", &view));
    assert_text(view.description, "d");
    assert_text(view.twilio_id, "AC1");
    assert_true(view.needs_second_factor);
    assert_int_equal(view.validate, MODEL_VALIDATE_OFF);
    assert_ok(patch(f, account, "{\"description\":null,\"platforms\":null}", &view));
    assert_int_equal(view.description.len, 0);
    assert_true(mr_str_is_absent(view.twilio_id));
    static const char *const wrong[] = {
        "{\"platforms\":{}}",
        "{\"platforms\":[1]}",
        "{\"platforms\":[{\"platform\":\"x\",\"legacy_account_id\":\"AC1\"}]}",
        "{\"platforms\":[{\"platform\":\"twilio\",\"legacy_account_id\":\"\"}]}",
        "{\"platforms\":[{\"platform\":\"twilio\",\"legacy_account_id\":\"1\"},"
        "{\"platform\":\"twilio\",\"legacy_account_id\":\"2\"}]}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_refused(f, patch(f, account, wrong[i], &view), 20400, "platforms");
    }
    assert_refused(f, patch(f, account, "{\"platforms\":[{\"platform\":\"twilio\"}]}", &view),
                   20002, "platforms.legacy_account_id");
    assert_refused(f, patch(f, account, "{\"owner_email\":\"a@b\"}", &view), 20001, "owner_email");
    assert_ok(accounts_get(f->control, account, &f->arena, &view, &f->refusal));
    assert_int_equal(view.version, 4);
}

static void lists_hold_the_tree_or_one(void **state) {
    struct fixture *f = *state;
    struct account_view north = child(f, f->account);
    struct account_view below = child(f, north.number);
    struct account_view south = child(f, f->account);
    struct account_view view;
    assert_ok(patch(f, below.number,
                    "{\"platforms\":[{\"platform\":\"twilio\",\"legacy_account_id\":\"AC9\"}]}",
                    &view));
    mr_buf out;
    mr_buf_init(&out, 65536);
    assert_ok(accounts_write_list(f->control, north.number, false, &out, &f->refusal));
    size_t at_north = mr_str_find(mr_buf_view(&out), north.id);
    size_t at_below = mr_str_find(mr_buf_view(&out), below.id);
    assert_true(at_north < at_below && at_below != SIZE_MAX);
    assert_true(mr_str_find(mr_buf_view(&out), south.id) == SIZE_MAX);
    mr_buf_reset(&out);
    assert_ok(accounts_write_list(f->control, north.number, true, &out, &f->refusal));
    assert_true(mr_str_find(mr_buf_view(&out), below.id) == SIZE_MAX);
    mr_buf_reset(&out);
    char expected[160];
    (void)snprintf(expected, sizeof expected,
                   "{\"platforms\":[{\"id\":\"%s\",\"legacy_account_id\":\"AC9\","
                   "\"platform\":\"twilio\"}]}",
                   below.id.ptr);
    assert_ok(accounts_write_mappings(f->control, f->account, false, &out, &f->refusal));
    assert_text(mr_buf_view(&out), expected);
    mr_buf_reset(&out);
    assert_ok(accounts_write_mappings(f->control, north.number, true, &out, &f->refusal));
    assert_text(mr_buf_view(&out), "{\"platforms\":[]}");
    mr_buf_done(&out);
}

static void answers_have_the_documented_members(void **state) {
    (void)state;
    struct account_view view = {
        .id = MR_STR("acct_1"),
        .friendly_name = MR_STR("N"),
        .description = MR_STR(""),
        .owner_email = MR_STR("o@x"),
        .status = MR_STR("ACTIVE"),
        .created_ms = INT64_C(1727291388584),
    };
    mr_buf out;
    mr_buf_init(&out, 4096);
    assert_ok(account_write_json(&view, &out));
    assert_text(mr_buf_view(&out),
                "{\"id\":\"acct_1\",\"date_created\":\"2024-09-25T19:09:48.584Z\","
                "\"friendly_name\":\"N\",\"status\":\"ACTIVE\",\"description\":null,"
                "\"owner_email\":\"o@x\",\"settings\":{\"validate\":\"reject\","
                "\"unknown_types\":\"accept\",\"events_per_second\":0,"
                "\"second_factor\":\"optional\"},\"platforms\":[]}");
    mr_buf_reset(&out);
    view.parent_id = MR_STR("acct_0");
    view.twilio_id = MR_STR("AC1");
    assert_ok(account_write_json(&view, &out));
    assert_true(mr_str_find(mr_buf_view(&out), MR_STR("\"parent_id\":\"acct_0\"")) != SIZE_MAX);
    assert_true(mr_str_find(mr_buf_view(&out),
                            MR_STR("\"platforms\":[{\"id\":\"acct_1\",\"legacy_account_id\":"
                                   "\"AC1\",\"platform\":\"twilio\"}]")) != SIZE_MAX);
    mr_buf_done(&out);
}

static void changes_are_logged_where_they_belong(void **state) {
    struct fixture *f = *state;
    int64_t before = number_of(f, "SELECT count(*) FROM audit");
    struct account_view view = child(f, f->account);
    assert_int_equal(
        number_of(f, "SELECT account FROM audit WHERE action = 'account.create'"
                     " AND detail LIKE '{\"changed\":{%\"friendly_name\":{\"to\":\"A\"}%'"),
        f->account);
    assert_ok(patch(f, view.number, "{\"friendly_name\":\"B\"}", &view));
    assert_int_equal(
        number_of(
            f, "SELECT account FROM audit WHERE action = 'account.change'"
               " AND detail = '{\"changed\":{\"friendly_name\":{\"from\":\"A\",\"to\":\"B\"}}}'"),
        view.number);
    assert_int_equal(number_of(f, "SELECT count(*) FROM audit"), before + 2);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_child_has_what_its_body_says),
        TEST(settings_are_not_inherited),
        TEST(wrong_bodies_are_named_and_leave_nothing),
        TEST(the_tree_has_bounds),
        TEST(what_lies_below_is_found_and_nothing_else),
        TEST(a_patch_changes_what_it_names),
        TEST(lists_hold_the_tree_or_one),
        TEST(changes_are_logged_where_they_belong),
        cmocka_unit_test(answers_have_the_documented_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
