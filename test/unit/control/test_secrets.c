/* Webhook secrets: first active, later pending, activation, import; the answer's form. */
#include "support_control.h"

#include "control/secrets.h"

#include <stdio.h>
#include <string.h>

static struct secret_view create(struct fixture *f, const char *name) {
    struct secret_view view;
    assert_ok(
        secrets_create(f->control, f->account, mr_str_c(name), &f->arena, &view, &f->refusal));
    return view;
}

static mr_err patch(struct fixture *f, mr_str id, mr_str name, mr_str status,
                    struct secret_view *view) {
    return secrets_patch(f->control, f->account, id, name, status, 0, &f->arena, view, &f->refusal);
}

static void assert_signs_with(struct fixture *f, mr_str value) {
    struct snapshot *snapshot = control_snapshot(f->control);
    const struct model_account *account = snapshot_account(snapshot, f->account);
    assert_true(mr_secret_eq(account->webhook_secret, value));
    snapshot_unref(snapshot);
}

static void list(struct fixture *f, mr_str status, struct secret_view **rows, size_t *n) {
    uint64_t count = 0;
    struct control_page page = {.size = 50, .number = 1};
    assert_ok(secrets_list(f->control, f->account, status, page, &f->arena, rows, n, &count,
                           &f->refusal));
    assert_int_equal(count, *n);
}

static void the_first_is_active_the_next_pending(void **state) {
    struct fixture *f = *state;
    struct secret_view *rows = NULL;
    size_t n = 0;
    struct secret_view first = create(f, "one");
    assert_int_equal(first.status, SECRET_ACTIVE);
    assert_int_equal(first.id.len, 30);
    assert_memory_equal(first.id.ptr, "whs_", 4);
    assert_int_equal(first.value.len, 64);
    for (size_t i = 0; i < first.value.len; i++) {
        assert_non_null(strchr("0123456789abcdef", first.value.ptr[i]));
    }
    assert_signs_with(f, first.value);
    struct secret_view second = create(f, "two");
    assert_int_equal(second.status, SECRET_PENDING);
    assert_signs_with(f, first.value);
    struct secret_view third = create(f, "three");
    list(f, MR_STR_NONE, &rows, &n);
    assert_int_equal(n, 2);
    assert_true(mr_str_eq(rows[0].id, first.id));
    assert_true(mr_str_eq(rows[1].id, third.id));
    assert_true(mr_str_is_absent(rows[0].value));
    list(f, MR_STR("pending"), &rows, &n);
    assert_int_equal(n, 1);
    assert_true(mr_str_eq(rows[0].id, third.id));
    struct secret_view view;
    assert_refused(f, patch(f, second.id, MR_STR_NONE, MR_STR_NONE, &view), 20404, "no such");
}

static void activation_ends_the_old_one_for_good(void **state) {
    struct fixture *f = *state;
    struct secret_view view;
    struct secret_view *rows = NULL;
    size_t n = 0;
    struct secret_view old = create(f, "old");
    struct secret_view new_one = create(f, "new");
    assert_ok(patch(f, new_one.id, MR_STR_NONE, MR_STR("active"), &view));
    assert_int_equal(view.status, SECRET_ACTIVE);
    assert_signs_with(f, new_one.value);
    list(f, MR_STR_NONE, &rows, &n);
    assert_int_equal(n, 1);
    assert_refused(f, patch(f, old.id, MR_STR_NONE, MR_STR("active"), &view), 20404, "no such");
    assert_refused(f, patch(f, new_one.id, MR_STR_NONE, MR_STR("pending"), &view), 20400,
                   "cannot become pending");
    uint32_t version = 0;
    assert_ok(patch(f, new_one.id, MR_STR_NONE, MR_STR("active"), &view));
    version = view.version;
    assert_ok(patch(f, new_one.id, MR_STR("new"), MR_STR("active"), &view));
    assert_int_equal(view.version, version);
    fixture_reopen(f);
    assert_signs_with(f, new_one.value);
}

static void names_and_statuses_are_judged(void **state) {
    struct fixture *f = *state;
    struct secret_view view;
    static char long_name[300];
    memset(long_name, 'x', sizeof long_name - 1);
    assert_refused(
        f, secrets_create(f->control, f->account, MR_STR_NONE, &f->arena, &view, &f->refusal),
        20002, "Name");
    const char *const bad[] = {"", long_name, "a\nb", "\xff"};
    for (size_t i = 0; i < 4; i++) {
        assert_refused(
            f,
            secrets_create(f->control, f->account, mr_str_c(bad[i]), &f->arena, &view, &f->refusal),
            20400, "Name");
    }
    view = create(f, "one");
    mr_str id = view.id;
    assert_refused(f, patch(f, id, MR_STR_NONE, MR_STR("retired"), &view), 20400, "Status");
    assert_ok(patch(f, id, MR_STR("renamed"), MR_STR_NONE, &view));
    assert_text(view.name, "renamed");
    struct secret_view *rows = NULL;
    size_t n = 0;
    uint64_t count = 0;
    struct control_page page = {.size = 1, .number = 2};
    assert_refused(f,
                   secrets_list(f->control, f->account, MR_STR("old"), page, &f->arena, &rows, &n,
                                &count, &f->refusal),
                   20400, "Status");
    assert_ok(secrets_list(f->control, f->account, MR_STR_NONE, page, &f->arena, &rows, &n, &count,
                           &f->refusal));
    assert_int_equal(n, 0);
    assert_int_equal(count, 1);
}

static void a_given_value_is_imported_unchanged(void **state) {
    struct fixture *f = *state;
    struct secret_view view;
    mr_str value = MR_STR("a35974bdf1c769b8bb");
    assert_ok(secrets_import(f->control, f->account, MR_STR("imported"), value, &f->arena, &view,
                             &f->refusal));
    assert_true(mr_str_is_absent(view.value));
    assert_signs_with(f, value);
    const char *const bad[] = {"short", "with a space in it", "tabs\tare not allowed"};
    for (size_t i = 0; i < 3; i++) {
        assert_refused(f,
                       secrets_import(f->control, f->account, MR_STR("x"), mr_str_c(bad[i]),
                                      &f->arena, &view, &f->refusal),
                       20400, "16 to 1024");
    }
}

static void bodies_are_strict(void **state) {
    struct fixture *f = *state;
    struct secret_body body;
    assert_ok(secrets_body_parse(MR_STR("{\"Name\":\"n\",\"Status\":\"active\"}"), true, &f->arena,
                                 &body, &f->refusal));
    assert_text(body.name, "n");
    assert_text(body.status, "active");
    assert_refused(f,
                   secrets_body_parse(MR_STR("{\"Name\":\"n\",\"Status\":\"active\"}"), false,
                                      &f->arena, &body, &f->refusal),
                   20001, "Status");
    assert_refused(
        f, secrets_body_parse(MR_STR("{\"name\":\"n\"}"), true, &f->arena, &body, &f->refusal),
        20001, "name");
    assert_refused(f,
                   secrets_body_parse(MR_STR("{\"Name\":1}"), true, &f->arena, &body, &f->refusal),
                   20400, "Name");
    assert_refused(f, secrets_body_parse(MR_STR("["), true, &f->arena, &body, &f->refusal), 20400,
                   "JSON");
}

static void answers_have_the_documented_members(void **state) {
    struct fixture *f = *state;
    (void)f;
    mr_buf out;
    mr_buf_init(&out, 4096);
    struct secret_view view = {
        .id = MR_STR("whs_1"),
        .name = MR_STR("n"),
        .status = SECRET_PENDING,
        .modified_ms = INT64_C(1727291388584),
        .value = MR_STR("ab"),
    };
    assert_ok(secret_write_json(&view, &out));
    assert_text(mr_buf_view(&out),
                "{\"id\":\"whs_1\",\"name\":\"n\",\"secret\":\"ab\",\"status\":\"pending\","
                "\"last_modified\":\"2024-09-25T19:09:48.584Z\"}");
    mr_buf_reset(&out);
    view.value = MR_STR_NONE;
    struct control_page page = {.size = 1, .number = 2};
    assert_ok(
        secret_list_write_json(&view, 1, &page, 3, MR_STR("https://h/v1/secrets?status=x"), &out));
    assert_text(mr_buf_view(&out),
                "{\"data\":[{\"id\":\"whs_1\",\"name\":\"n\",\"status\":\"pending\","
                "\"last_modified\":\"2024-09-25T19:09:48.584Z\"}],\"meta_data\":{\"count\":3,"
                "\"page_size\":1,\"page_number\":2,\"previous_page_url\":"
                "\"https://h/v1/secrets?status=x&page_size=1&page_number=1\",\"next_page_url\":"
                "\"https://h/v1/secrets?status=x&page_size=1&page_number=3\"}}");
    mr_buf_reset(&out);
    page = (struct control_page){.size = 50, .number = 1};
    assert_ok(secret_list_write_json(&view, 0, &page, 0, MR_STR("https://h/v1/secrets"), &out));
    assert_text(mr_buf_view(&out), "{\"data\":[],\"meta_data\":{\"count\":0,\"page_size\":50,"
                                   "\"page_number\":1,\"previous_page_url\":\"\","
                                   "\"next_page_url\":\"\"}}");
    mr_buf_done(&out);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_first_is_active_the_next_pending),
        TEST(activation_ends_the_old_one_for_good),
        TEST(names_and_statuses_are_judged),
        TEST(a_given_value_is_imported_unchanged),
        TEST(bodies_are_strict),
        TEST(answers_have_the_documented_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
