/* Destinations of kind kinesis: their settings, and whose external ids are. */
#include "support_control.h"

#include "control/accounts.h"
#include "control/destinations.h"

#include <stdio.h>
#include <string.h>

#define STREAM "arn:aws:kinesis:eu-central-1:111122223333:stream/events"
#define ROLE   "arn:aws:iam::111122223333:role/millrace"
#define ARNS   "\"stream_arn\":\"" STREAM "\",\"role_arn\":\"" ROLE "\""

static mr_err create_for(struct fixture *f, uint32_t account, const char *settings,
                         struct destination_view *view) {
    static char body[20000];
    (void)snprintf(body, sizeof body, "{\"name\":\"S\",\"kind\":\"kinesis\",\"settings\":{%s}}",
                   settings);
    return destinations_create(f->control, account, mr_str_c(body), &f->arena, view, &f->refusal);
}

static mr_err create(struct fixture *f, const char *settings, struct destination_view *view) {
    return create_for(f, f->account, settings, view);
}

static mr_err patch(struct fixture *f, mr_str id, const char *body, struct destination_view *view) {
    return destinations_patch(f->control, f->account, id, mr_str_c(body), 0, &f->arena, view, NULL,
                              NULL, &f->refusal);
}

static uint32_t other_account(struct fixture *f) {
    struct account_view view;
    assert_ok(accounts_create(f->control, NULL, f->account, MR_STR("{\"friendly_name\":\"Other\"}"),
                              MR_STR("https://m.example.com"), &f->arena, &view, &f->refusal));
    return view.number;
}

static void defaults_and_a_random_external_id(void **state) {
    struct fixture *f = *state;
    struct destination_view one;
    struct destination_view two;
    assert_ok(create(f, ARNS, &one));
    assert_ok(create(f, ARNS, &two));
    mr_str start = MR_STR("{" ARNS ",\"external_id\":\"");
    mr_str end = MR_STR("\",\"partition_key\":\"id\",\"batch_max\":500,\"batch_bytes_max\":5242880,"
                        "\"linger_ms\":50,\"timeout_ms\":5000,\"retry_policy\":\"kore\","
                        "\"rate_per_second\":null,\"concurrency_max\":32}");
    assert_true(mr_str_starts(one.settings_json, start));
    mr_str id = mr_str_slice(one.settings_json, start.len, start.len + 80);
    assert_int_equal(one.settings_json.len, start.len + 80 + end.len);
    assert_memory_equal(one.settings_json.ptr + start.len + 80, end.ptr, end.len);
    for (size_t i = 0; i < id.len; i++) {
        assert_non_null(strchr("0123456789abcdef", id.ptr[i]));
    }
    assert_false(mr_str_eq(one.settings_json, two.settings_json));
    assert_int_equal(one.kind, MODEL_KIND_KINESIS);
}

static void all_settings_reach_the_snapshot_and_survive_a_restart(void **state) {
    struct fixture *f = *state;
    struct destination_view view;
    assert_ok(create(f,
                     ARNS ",\"external_id\":\"our/id=1\",\"partition_key\":\"/data/iccid\","
                          "\"batch_max\":7,\"batch_bytes_max\":2048,\"linger_ms\":0,\"timeout_ms\":"
                          "30000,\"retry_policy\":\"standard\",\"rate_per_second\":9,"
                          "\"concurrency_max\":4",
                     &view));
    for (int i = 0; i < 2; i++) {
        struct snapshot *snapshot = control_snapshot(f->control);
        const struct model_destination *d = snapshot_destination(snapshot, view.number);
        assert_int_equal(d->kind, MODEL_KIND_KINESIS);
        assert_text(d->kinesis.stream_arn, STREAM);
        assert_text(d->kinesis.role_arn, ROLE);
        assert_text(d->kinesis.external_id, "our/id=1");
        assert_text(d->kinesis.partition_key, "/data/iccid");
        assert_int_equal(d->delivery.batch_max, 7);
        assert_int_equal(d->delivery.batch_bytes_max, 2048);
        assert_int_equal(d->delivery.linger_ms, 0);
        assert_int_equal(d->delivery.timeout_ms, 30000);
        assert_int_equal(d->delivery.retry.kind, MODEL_RETRY_STANDARD);
        assert_int_equal(d->delivery.rate_per_second, 9);
        assert_int_equal(d->delivery.concurrency_max, 4);
        snapshot_unref(snapshot);
        fixture_reopen(f);
    }
}

static void each_bad_setting_is_refused_by_name(void **state) {
    static const struct {
        const char *settings;
        int code;
        const char *part;
    } rows[] = {
        {"", 20002, "settings.stream_arn"},
        {"\"stream_arn\":\"" STREAM "\"", 20002, "settings.role_arn"},
        {ARNS ",\"url\":\"https://x.test/\"", 20001, "settings.url"},
        {ARNS ",\"headers\":{}", 20001, "settings.headers"},
        {"\"stream_arn\":7,\"role_arn\":\"" ROLE "\"", 20400, "settings.stream_arn"},
        {"\"stream_arn\":\"events\",\"role_arn\":\"" ROLE "\"", 20400, "settings.stream_arn"},
        {"\"stream_arn\":\"arn:aws:sqs:eu-central-1:111122223333:stream/e\",\"role_arn\":\"" ROLE
         "\"",
         20400, "settings.stream_arn"},
        {"\"stream_arn\":\"arn:aws:kinesis:nowhere:111122223333:stream/e\",\"role_arn\":\"" ROLE
         "\"",
         20400, "settings.stream_arn"},
        {"\"stream_arn\":\"" STREAM "\",\"role_arn\":\"" STREAM "\"", 20400, "settings.role_arn"},
        {"\"stream_arn\":\"" STREAM
         "\",\"role_arn\":\"arn:aws-cn:iam::111122223333:role/millrace\"",
         20400, "partition"},
        {ARNS ",\"external_id\":\"a\"", 20400, "settings.external_id"},
        {ARNS ",\"external_id\":\"\"", 20400, "settings.external_id"},
        {ARNS ",\"external_id\":\"a b\"", 20400, "settings.external_id"},
        {ARNS ",\"external_id\":\"a\\u00e9\"", 20400, "settings.external_id"},
        {ARNS ",\"external_id\":7", 20400, "settings.external_id"},
        {ARNS ",\"partition_key\":\"data/iccid\"", 20400, "settings.partition_key"},
        {ARNS ",\"partition_key\":\"/a~2\"", 20400, "settings.partition_key"},
        {ARNS ",\"partition_key\":\"\"", 20400, "settings.partition_key"},
        {ARNS ",\"batch_max\":501", 20400, "settings.batch_max"},
        {ARNS ",\"batch_max\":0", 20400, "settings.batch_max"},
        {ARNS ",\"batch_bytes_max\":5242881", 20400, "settings.batch_bytes_max"},
        {ARNS ",\"retry_policy\":\"never\"", 20400, "settings.retry_policy"},
        {ARNS ",\"timeout_ms\":30001", 20400, "settings.timeout_ms"},
    };
    struct fixture *f = *state;
    struct destination_view view;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_refused(f, create(f, rows[i].settings, &view), rows[i].code, rows[i].part);
    }
    char settings[4000];
    char id[1300];
    memset(id, 'x', sizeof id);
    for (int n = 1224; n <= 1225; n++) {
        (void)snprintf(settings, sizeof settings, ARNS ",\"external_id\":\"%.*s\"", n, id);
        mr_err err = create(f, settings, &view);
        if (n == 1224) {
            assert_ok(err);
        } else {
            assert_refused(f, err, 20400, "settings.external_id");
        }
    }
}

static void a_change_keeps_the_rest_and_never_the_kind(void **state) {
    struct fixture *f = *state;
    struct destination_view view;
    struct destination_view changed;
    assert_ok(create(f, ARNS ",\"external_id\":\"ours\"", &view));
    assert_ok(patch(f, view.id, "{\"settings\":{\"batch_max\":10}}", &changed));
    assert_true(mr_str_find(changed.settings_json, MR_STR("\"external_id\":\"ours\"")) != SIZE_MAX);
    assert_refused(f, patch(f, view.id, "{\"kind\":\"webhook\"}", &changed), 20400,
                   "kind cannot be changed");
    assert_refused(f, patch(f, view.id, "{\"settings\":{\"stream_arn\":null}}", &changed), 20002,
                   "settings.stream_arn");
    /* null stands for a new one. */
    assert_ok(patch(f, view.id, "{\"settings\":{\"external_id\":null}}", &changed));
    assert_true(mr_str_find(changed.settings_json, MR_STR("\"external_id\":\"ours\"")) == SIZE_MAX);
    mr_str secret;
    mr_str public_key;
    assert_refused(f,
                   destinations_signing_secret(f->control, f->account, view.id, mr_wall_of_ms(1),
                                               &f->arena, &secret, &public_key, &f->refusal),
                   20400, "kinesis");
}

static void an_external_id_is_one_accounts_for_good(void **state) {
    struct fixture *f = *state;
    struct destination_view view;
    struct destination_view other;
    uint32_t number;
    uint32_t child = other_account(f);
    assert_ok(create(f, ARNS ",\"external_id\":\"ours\"", &view));
    assert_ok(create(f, ARNS ",\"external_id\":\"ours\"", &other)); /* the same account: fine */
    assert_refused(f, create_for(f, child, ARNS ",\"external_id\":\"ours\"", &other), 20409,
                   "another account");
    assert_ok(create_for(f, child, ARNS ",\"external_id\":\"theirs\"", &other));
    assert_refused(f, patch(f, view.id, "{\"settings\":{\"external_id\":\"theirs\"}}", &view),
                   20409, "another account");
    /* Also after a change, a deletion and a restart: the role may trust it still. */
    assert_ok(patch(f, view.id, "{\"settings\":{\"external_id\":\"newer\"}}", &view));
    assert_ok(destinations_delete(f->control, f->account, view.id, 0, &number, &f->refusal));
    fixture_reopen(f);
    assert_refused(f, create_for(f, child, ARNS ",\"external_id\":\"ours\"", &other), 20409,
                   "another account");
    assert_refused(f, create_for(f, child, ARNS ",\"external_id\":\"newer\"", &other), 20409,
                   "another account");
    assert_ok(create(f, ARNS ",\"external_id\":\"newer\"", &view));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(defaults_and_a_random_external_id),
        TEST(all_settings_reach_the_snapshot_and_survive_a_restart),
        TEST(each_bad_setting_is_refused_by_name),
        TEST(a_change_keeps_the_rest_and_never_the_kind),
        TEST(an_external_id_is_one_accounts_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
