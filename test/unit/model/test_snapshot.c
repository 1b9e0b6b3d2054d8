/* Snapshots: what changes is copied, what does not is shared, look-ups find, nothing leaks. */
#include "model/snapshot.h"

#include "base/mem.h"
#include "model/catalogue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define assert_ok(err)       assert_int_equal((err).code, 0)
#define assert_code(err, is) assert_int_equal((err).code, (is))
#define assert_text(str, c)  assert_true(mr_str_eq((str), mr_str_c(c)))

static struct model_object *destination(uint32_t number, uint32_t version) {
    char id[MODEL_ID_SIZE];
    (void)snprintf(id, sizeof id, "dst_%u", number);
    struct model_destination *made = model_destination_new(number, mr_str_c(id), 1);
    assert_non_null(made);
    made->version = version;
    return &made->object;
}

static struct snapshot *with(struct snapshot *base, struct model_object *object) {
    struct snapshot_builder *builder = NULL;
    assert_ok(snapshot_build(base, &builder));
    assert_ok(snapshot_put(builder, object));
    return snapshot_finish(builder);
}

static struct snapshot *without(struct snapshot *base, uint32_t number) {
    struct snapshot_builder *builder = NULL;
    assert_ok(snapshot_build(base, &builder));
    assert_ok(snapshot_remove(builder, MODEL_DESTINATION, number));
    return snapshot_finish(builder);
}

static void one_after_the_other_all_are_found(void **state) {
    (void)state;
    struct snapshot *snapshot = NULL;
    for (uint32_t number = 1; number <= 3000; number++) {
        struct snapshot *next = with(snapshot, destination(number, 1));
        snapshot_unref(snapshot);
        snapshot = next;
    }
    assert_int_equal(snapshot_count(snapshot, MODEL_DESTINATION), 3000);
    assert_int_equal(snapshot_version(snapshot), 3000);
    for (uint32_t number = 1; number <= 3000; number++) {
        char id[MODEL_ID_SIZE];
        (void)snprintf(id, sizeof id, "dst_%u", number);
        const struct model_destination *found = snapshot_destination(snapshot, number);
        assert_string_equal(found->object.id, id);
        assert_ptr_equal(snapshot_destination_by_id(snapshot, mr_str_c(id)), found);
    }
    assert_null(snapshot_destination(snapshot, 0));
    assert_null(snapshot_destination(snapshot, 3001));
    assert_null(snapshot_destination(snapshot, UINT32_MAX));
    assert_null(snapshot_destination_by_id(snapshot, MR_STR("dst_")));
    assert_null(snapshot_account(snapshot, 1));
    uint32_t expected = 1;
    const struct model_object *object = NULL;
    for (uint32_t from = 0; (object = snapshot_next(snapshot, MODEL_DESTINATION, from)) != NULL;
         from = object->number + 1) {
        assert_int_equal(object->number, expected++);
    }
    assert_int_equal(expected, 3001);
    snapshot_unref(snapshot);
}

static void old_snapshots_stay_as_they_were(void **state) {
    (void)state;
    struct snapshot *first = with(NULL, destination(1, 1));
    struct snapshot *second = with(first, destination(2, 1));
    struct snapshot *third = with(second, destination(1, 2));
    struct snapshot *fourth = without(third, 2);
    assert_int_equal(snapshot_destination(first, 1)->version, 1);
    assert_null(snapshot_destination(first, 2));
    assert_int_equal(snapshot_destination(second, 1)->version, 1);
    assert_int_equal(snapshot_destination(third, 1)->version, 2);
    /* What did not change is shared. */
    assert_ptr_equal(snapshot_destination(second, 2), snapshot_destination(third, 2));
    assert_null(snapshot_destination(fourth, 2));
    assert_null(snapshot_destination_by_id(fourth, MR_STR("dst_2")));
    assert_non_null(snapshot_destination_by_id(third, MR_STR("dst_2")));
    assert_int_equal(snapshot_count(fourth, MODEL_DESTINATION), 1);
    snapshot_unref(third);
    snapshot_unref(first);
    assert_int_equal(snapshot_destination(fourth, 1)->version, 2);
    assert_int_equal(snapshot_destination(second, 1)->version, 1);
    snapshot_unref(second);
    snapshot_unref(fourth);
}

static void an_object_may_outlive_its_snapshot(void **state) {
    (void)state;
    struct snapshot *snapshot = with(NULL, destination(7, 3));
    const struct model_object *object = &snapshot_destination(snapshot, 7)->object;
    struct model_object *held = (struct model_object *)(uintptr_t)object;
    model_object_ref(held);
    snapshot_unref(snapshot);
    assert_int_equal(model_destination_of(held)->version, 3);
    model_object_unref(held);
}

static void an_id_belongs_to_one_number(void **state) {
    (void)state;
    struct snapshot_builder *builder = NULL;
    struct model_destination *twin = model_destination_new(9, MR_STR("dst_1"), 1);
    assert_ok(snapshot_build(NULL, &builder));
    assert_ok(snapshot_put(builder, destination(1, 1)));
    assert_code(snapshot_put(builder, &twin->object), MR_E_EXISTS);
    assert_ok(snapshot_remove(builder, MODEL_RULE, 5));
    snapshot_abandon(builder);
    snapshot_abandon(NULL);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    struct snapshot *base = NULL;
    for (uint32_t number = 1; number <= 200; number++) {
        struct snapshot *next = with(base, destination(number, 1));
        snapshot_unref(base);
        base = next;
    }
    size_t failed = 0;
    for (uint64_t at = 1; at < 40; at++) {
        struct snapshot_builder *builder = NULL;
        struct model_object *object = destination(300, 1);
        mr_alloc_fail_at(at);
        mr_err err = snapshot_build(base, &builder);
        if (mr_is_ok(err)) {
            err = snapshot_put(builder, object);
        } else {
            model_object_unref(object);
        }
        if (mr_is_ok(err)) {
            err = snapshot_remove(builder, MODEL_DESTINATION, 3);
        }
        mr_alloc_fail_at(0);
        if (mr_is_err(err)) {
            failed++;
            assert_code(err, MR_E_NOMEM);
            snapshot_abandon(builder);
        } else {
            struct snapshot *next = snapshot_finish(builder);
            assert_non_null(snapshot_destination(next, 300));
            assert_null(snapshot_destination(next, 3));
            snapshot_unref(next);
        }
        assert_non_null(snapshot_destination(base, 3));
        assert_int_equal(snapshot_count(base, MODEL_DESTINATION), 200);
    }
    assert_true(failed > 5);
    snapshot_unref(base);
}

static struct snapshot *with_client(uint32_t generation, bool is_enabled) {
    struct snapshot_builder *builder = NULL;
    struct model_account *account = model_account_new(1, MR_STR("acct_1"), MR_STR("A"));
    struct model_client *client = model_client_new(1, MR_STR("apiclient_1"), 1);
    client->generation = generation;
    client->is_enabled = is_enabled;
    assert_ok(snapshot_build(NULL, &builder));
    assert_ok(snapshot_put(builder, &account->object));
    assert_ok(snapshot_put(builder, &client->object));
    return snapshot_finish(builder);
}

static void claims_are_checked_against_the_client(void **state) {
    (void)state;
    static const struct {
        const char *client, *account;
        uint32_t generation;
        bool is_enabled;
        uint32_t code;
    } rows[] = {
        {"apiclient_1", "acct_1", 2, true, 0},
        {"apiclient_1", "acct_1", 3, true, AUTH_E_REVOKED},
        {"apiclient_1", "acct_1", 2, false, AUTH_E_REVOKED},
        {"apiclient_1", "acct_2", 2, true, AUTH_E_REVOKED},
        {"apiclient_2", "acct_1", 2, true, AUTH_E_REVOKED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct snapshot *snapshot = with_client(rows[i].generation, rows[i].is_enabled);
        struct auth_claims claims = {.generation = 2};
        const struct model_account *account = NULL;
        const struct model_client *client = NULL;
        (void)snprintf(claims.client_id, AUTH_ID_SIZE, "%s", rows[i].client);
        (void)snprintf(claims.account_id, AUTH_ID_SIZE, "%s", rows[i].account);
        assert_code(snapshot_check_claims(snapshot, &claims, &account, &client), rows[i].code);
        snapshot_unref(snapshot);
    }
}

static void put_account(struct snapshot_builder *builder, uint32_t number, uint32_t parent) {
    char id[MODEL_ID_SIZE];
    int n = snprintf(id, sizeof id, "acct_%u", number);
    struct model_account *account =
        model_account_new(number, mr_str_of(id, (size_t)n), MR_STR("A"));
    account->parent = parent;
    assert_ok(snapshot_put(builder, &account->object));
}

static void an_account_is_within_itself_and_those_above(void **state) {
    (void)state;
    struct snapshot_builder *builder = NULL;
    assert_ok(snapshot_build(NULL, &builder));
    for (uint32_t level = 1; level <= MODEL_ACCOUNT_LEVELS_MAX; level++) {
        put_account(builder, level, level - 1);
    }
    put_account(builder, 100, 1);
    put_account(builder, 200, 201); /* a circle, which the store cannot hold */
    put_account(builder, 201, 200);
    struct snapshot *snapshot = snapshot_finish(builder);
    for (uint32_t a = 1; a <= MODEL_ACCOUNT_LEVELS_MAX; a++) {
        for (uint32_t b = 1; b <= MODEL_ACCOUNT_LEVELS_MAX; b++) {
            const struct model_account *account = snapshot_account(snapshot, a);
            assert_int_equal(snapshot_account_is_within(snapshot, account, b), b <= a);
        }
        assert_false(snapshot_account_is_within(snapshot, snapshot_account(snapshot, a), 100));
    }
    const struct model_account *beside = snapshot_account(snapshot, 100);
    assert_true(snapshot_account_is_within(snapshot, beside, 1));
    assert_false(snapshot_account_is_within(snapshot, beside, 2));
    assert_false(snapshot_account_is_within(snapshot, beside, 0));
    assert_false(snapshot_account_is_within(snapshot, NULL, 0));
    assert_false(snapshot_account_is_within(snapshot, snapshot_account(snapshot, 200), 1));
    snapshot_unref(snapshot);
}

static void settings_are_copied_with_their_secrets(void **state) {
    (void)state;
    struct secret_slab *slab = NULL;
    assert_ok(secret_slab_new((size_t)1 << 20, &slab));
    char url[] = "https://x.test/";
    struct model_header headers[1] = {{.name = MR_STR("X-A")}};
    struct model_settings settings;
    model_settings_init(&settings, MODEL_KIND_WEBHOOK);
    struct model_webhook *webhook = &settings.webhook;
    webhook->url = mr_str_of(url, sizeof url - 1);
    assert_ok(mr_secret_new(slab, MR_STR("v"), &headers[0].value));
    assert_ok(mr_secret_new(slab, MR_STR("k"), &webhook->signing.hmac_key));
    webhook->headers = headers;
    webhook->n_headers = 1;
    for (uint64_t at = 0; at < 8; at++) {
        struct model_destination *made = model_destination_new(1, MR_STR("dst_1"), 1);
        mr_alloc_fail_at(at);
        mr_err err = model_destination_set(made, &settings);
        mr_alloc_fail_at(0);
        if (mr_is_ok(err)) {
            url[0] = 'X';
            assert_text(made->webhook.url, "https://x.test/");
            url[0] = 'h';
            assert_text(mr_secret_reveal(made->webhook.headers[0].value), "v");
        }
        model_object_unref(&made->object);
    }
    model_settings_release(&settings);
    secret_slab_free(slab); /* asserts that none is left */
}

static void the_catalogue_knows_the_shipped_types(void **state) {
    (void)state;
    struct catalogue *catalogue = NULL;
    mr_str schema;
    uint32_t latest = 0;
    assert_ok(catalogue_new(MR_STR("org.example"), &catalogue));
    size_t n = 0;
    for (; catalogue_type_at(catalogue, n) != NULL; n++) {
        const struct catalogue_type *type = catalogue_type_at(catalogue, n);
        assert_ptr_equal(catalogue_type_find(catalogue, type->name), type);
        assert_non_null(catalogue_schema_find(catalogue, type->schema, type->latest));
        assert_true(mr_str_find(type->example, MR_STR("com.kore.iot")) == SIZE_MAX);
    }
    assert_int_equal(n, 8);
    const char *started = "org.example.supersim.connection.data-session.started";
    const struct catalogue_type *type = catalogue_type_find(catalogue, mr_str_c(started));
    assert_non_null(type);
    assert_text(type->product_group, "Connectivity");
    assert_int_equal(type->latest, 2);
    assert_null(catalogue_type_find(
        catalogue, MR_STR("com.kore.iot.supersim.connection.data-session.started")));
    assert_true(catalogue_has_product_group(catalogue, MR_STR("Connectivity")));
    assert_false(catalogue_has_product_group(catalogue, MR_STR("Nothing")));
    struct event_catalogue table = catalogue_for_events(catalogue);
    assert_true(table.type_find(table.ctx, mr_str_c(started), &schema, &latest));
    assert_text(schema, "SuperSim.ConnectionEvent");
    assert_false(table.type_find(table.ctx, MR_STR("x"), &schema, &latest));
    mr_str super = MR_STR("SuperSim.ConnectionEvent");
    mr_str test_type = MR_STR("com.kore.eventstreams.test.event");
    assert_int_equal(table.schema_use(table.ctx, super, 1, mr_str_c(started)),
                     EVENT_SCHEMA_OF_TYPE);
    assert_int_equal(table.schema_use(table.ctx, super, 3, mr_str_c(started)),
                     EVENT_SCHEMA_UNKNOWN);
    assert_int_equal(table.schema_use(table.ctx, super, 2, test_type), EVENT_SCHEMA_OF_OTHER);
    assert_int_equal(table.schema_use(table.ctx, MR_STR("x"), 1, test_type), EVENT_SCHEMA_UNKNOWN);
    catalogue_unref(catalogue);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_after_the_other_all_are_found),
        cmocka_unit_test(old_snapshots_stay_as_they_were),
        cmocka_unit_test(an_object_may_outlive_its_snapshot),
        cmocka_unit_test(an_id_belongs_to_one_number),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(claims_are_checked_against_the_client),
        cmocka_unit_test(an_account_is_within_itself_and_those_above),
        cmocka_unit_test(settings_are_copied_with_their_secrets),
        cmocka_unit_test(the_catalogue_knows_the_shipped_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
