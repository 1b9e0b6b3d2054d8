/* The catalogue: building one upon another, look-ups among many, names that are taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/catalogue.h"
#include "model/snapshot.h"
#include "schema/schema.h"

#include <stdio.h>

#define assert_ok(err)      assert_int_equal((err).code, 0)
#define assert_text(str, c) assert_true(mr_str_eq((str), mr_str_c(c)))

static const mr_str example = {"{\"a\":1}", 7};

/* Version n of a schema with the members a … of its n first letters. */
static mr_err add(struct catalogue_builder *builder, const char *name, uint32_t version) {
    char document[512];
    int n = snprintf(document, sizeof document, "{\"type\":\"object\",\"properties\":{");
    for (uint32_t i = 0; i < version; i++) {
        n += snprintf(document + n, sizeof document - (size_t)n, "%s\"%c\":{\"type\":\"integer\"}",
                      i == 0 ? "" : ",", 'a' + (int)i);
    }
    n += snprintf(document + n, sizeof document - (size_t)n, "}}");
    const struct catalogue_schema_spec spec = {.name = mr_str_c(name),
                                               .version = version,
                                               .document = mr_str_of(document, (size_t)n),
                                               .examples = &example,
                                               .n_examples = 1,
                                               .published_ms = 7};
    return catalogue_add_schema(builder, &spec);
}

static mr_err add_type(struct catalogue_builder *builder, const char *name, const char *schema) {
    const struct catalogue_type type = {.name = mr_str_c(name),
                                        .product = MR_STR("P"),
                                        .description = MR_STR(""),
                                        .status = MR_STR("available"),
                                        .schema = mr_str_c(schema),
                                        .row_version = 1};
    return catalogue_add_type(builder, &type);
}

static struct catalogue *two_versions(void) {
    struct catalogue_builder *builder = NULL;
    struct catalogue *catalogue = NULL;
    assert_ok(catalogue_build(NULL, &builder));
    assert_ok(add(builder, "s", 1));
    assert_ok(add(builder, "s", 2));
    assert_ok(add_type(builder, "com.x", "s"));
    assert_ok(catalogue_finish(builder, &catalogue));
    return catalogue;
}

static void nothing_is_in_an_absent_catalogue(void **state) {
    (void)state;
    assert_null(catalogue_type_find(NULL, MR_STR("x")));
    assert_null(catalogue_schema_find(NULL, MR_STR("x"), 1));
    assert_null(catalogue_type_at(NULL, 0));
    assert_null(catalogue_schema_at(NULL, 0));
    assert_null(catalogue_latest_at(NULL, 0));
    assert_null(catalogue_projection(NULL, MR_STR("x"), 2, 1));
    assert_int_equal(catalogue_latest(NULL, MR_STR("x")), 0);
    assert_false(catalogue_has_product_group(NULL, MR_STR("x")));
}

static void a_version_is_compiled_and_leads_back_to_the_older_ones(void **state) {
    (void)state;
    struct catalogue *catalogue = two_versions();
    const struct catalogue_schema *second = catalogue_schema_find(catalogue, MR_STR("s"), 2);
    assert_non_null(second->compiled);
    assert_true(mr_str_is_absent(second->fault));
    assert_int_equal(catalogue_latest(catalogue, MR_STR("s")), 2);
    assert_null(catalogue_schema_find(catalogue, MR_STR("s"), 3));
    assert_null(catalogue_schema_find(catalogue, MR_STR("s"), 0));
    const struct schema_projection *back = catalogue_projection(catalogue, MR_STR("s"), 2, 1);
    assert_non_null(back);
    assert_null(catalogue_projection(catalogue, MR_STR("s"), 1, 1));
    assert_null(catalogue_projection(catalogue, MR_STR("s"), 1, 2));
    assert_null(catalogue_projection(catalogue, MR_STR("s"), 2, 0));
    assert_null(catalogue_projection(catalogue, MR_STR("s"), 3, 1));
    json_tape tape;
    mr_buf out;
    json_tape_init(&tape, 8);
    mr_buf_init(&out, 100);
    assert_ok(json_tape_read(&tape, MR_STR("{\"b\":2,\"a\":1}"), NULL));
    assert_ok(schema_project(back, json_root(&tape), &out));
    assert_text(mr_buf_view(&out), "{\"a\":1}");
    mr_buf_done(&out);
    json_tape_done(&tape);
    assert_int_equal(catalogue_type_find(catalogue, MR_STR("com.x"))->latest, 2);
    catalogue_unref(catalogue);
}

static void the_next_catalogue_shares_versions_and_outlives_the_one_before(void **state) {
    (void)state;
    struct catalogue *before = two_versions();
    struct catalogue_builder *builder = NULL;
    struct catalogue *after = NULL;
    assert_ok(catalogue_build(before, &builder));
    assert_ok(catalogue_share_schema(builder, MR_STR("s"), 1));
    assert_ok(catalogue_share_schema(builder, MR_STR("s"), 2));
    assert_int_equal(catalogue_share_schema(builder, MR_STR("s"), 3).code, MR_E_NOT_FOUND);
    assert_int_equal(catalogue_share_schema(builder, MR_STR("t"), 1).code, MR_E_NOT_FOUND);
    assert_ok(add(builder, "s", 3));
    assert_ok(add_type(builder, "com.x", "s"));
    assert_ok(catalogue_finish(builder, &after));
    const struct catalogue_schema *second = catalogue_schema_find(before, MR_STR("s"), 2);
    assert_ptr_equal(catalogue_schema_find(after, MR_STR("s"), 2), second);
    assert_null(catalogue_schema_find(before, MR_STR("s"), 3));
    catalogue_unref(before);
    assert_int_equal(second->version, 2);
    assert_non_null(catalogue_projection(after, MR_STR("s"), 3, 1));
    assert_non_null(catalogue_projection(after, MR_STR("s"), 3, 2));
    assert_int_equal(catalogue_type_find(after, MR_STR("com.x"))->latest, 3);
    catalogue_unref(after);
}

static void names_that_are_taken_and_gaps_are_told(void **state) {
    (void)state;
    struct catalogue_builder *builder = NULL;
    struct catalogue *catalogue = NULL;
    assert_ok(catalogue_build(NULL, &builder));
    assert_ok(catalogue_add_shipped(builder, MR_STR("com.y"), NULL, 0));
    assert_int_equal(add(builder, "test", 1).code, MR_E_EXISTS);
    assert_int_equal(add(builder, "test", 2).code, MR_E_EXISTS);
    assert_int_equal(add(builder, "new", 2).code, MR_E_EXISTS);
    assert_ok(add(builder, "new", 1));
    assert_int_equal(add(builder, "new", 3).code, MR_E_EXISTS);
    assert_int_equal(add_type(builder, "com.kore.eventstreams.test.event", "new").code,
                     MR_E_EXISTS);
    assert_int_equal(add_type(builder, "com.z", "absent").code, MR_E_NOT_FOUND);
    assert_ok(catalogue_finish(builder, &catalogue));
    assert_int_equal(catalogue_count_schemas(catalogue), 3);
    assert_int_equal(catalogue_count_types(catalogue), 8);
    assert_int_equal(catalogue_latest(catalogue, MR_STR("test")), 1);
    assert_text(catalogue_latest_at(catalogue, 2)->name, "new");
    catalogue_unref(catalogue);
}

static void each_of_many_is_found(void **state) {
    (void)state;
    struct catalogue_builder *builder = NULL;
    struct catalogue *catalogue = NULL;
    char name[32];
    assert_ok(catalogue_build(NULL, &builder));
    for (int i = 0; i < 500; i++) {
        (void)snprintf(name, sizeof name, "s%d", i);
        assert_ok(add(builder, name, 1));
        assert_ok(add(builder, name, 2));
    }
    for (int i = 0; i < 3000; i++) {
        char schema[32];
        (void)snprintf(schema, sizeof schema, "s%d", i % 500);
        (void)snprintf(name, sizeof name, "com.t%d", i);
        assert_ok(add_type(builder, name, schema));
    }
    assert_ok(catalogue_finish(builder, &catalogue));
    for (int i = 0; i < 3000; i++) {
        char schema[32];
        (void)snprintf(schema, sizeof schema, "s%d", i % 500);
        (void)snprintf(name, sizeof name, "com.t%d", i);
        const struct catalogue_type *type = catalogue_type_find(catalogue, mr_str_c(name));
        assert_text(type->name, name);
        assert_text(type->schema, schema);
        assert_text(catalogue_schema_find(catalogue, type->schema, 2)->name, schema);
    }
    assert_null(catalogue_type_find(catalogue, MR_STR("com.t3000")));
    assert_null(catalogue_schema_find(catalogue, MR_STR("s500"), 1));
    catalogue_unref(catalogue);
}

static void documents_may_name_later_ones_and_a_refused_one_stays_readable(void **state) {
    (void)state;
    struct catalogue_builder *builder = NULL;
    struct catalogue *catalogue = NULL;
    const mr_str base = MR_STR("https://old.example.com");
    struct catalogue_schema_spec spec = {
        .name = MR_STR("first"),
        .version = 1,
        .document = MR_STR("{\"$ref\":\"https://old.example.com/schemas/second/1\"}"),
        .examples = &example,
        .n_examples = 1,
        .bases = &base,
        .n_bases = 1};
    assert_ok(catalogue_build(NULL, &builder));
    assert_ok(catalogue_add_schema(builder, &spec));
    assert_ok(add(builder, "second", 1));
    spec.name = MR_STR("lost");
    spec.n_bases = 0;
    assert_ok(catalogue_add_schema(builder, &spec));
    assert_ok(catalogue_finish(builder, &catalogue));
    assert_non_null(catalogue_schema_find(catalogue, MR_STR("first"), 1)->compiled);
    const struct catalogue_schema *lost = catalogue_schema_find(catalogue, MR_STR("lost"), 1);
    assert_null(lost->compiled);
    assert_false(mr_str_is_absent(lost->fault));
    assert_true(mr_str_eq(lost->document, spec.document));
    assert_text(catalogue_document_by_path(catalogue, MR_STR("/schemas/lost/1")),
                "{\"$ref\":\"https://old.example.com/schemas/second/1\"}");
    static const char *const none[] = {"/schemas/lost/2", "/schemas/lost/01", "/schemas/lost",
                                       "/schemas/lost/1/", "schemas/lost/1"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_true(mr_str_is_absent(catalogue_document_by_path(catalogue, mr_str_c(none[i]))));
    }
    catalogue_unref(catalogue);
}

static void every_failed_allocation_is_told_and_nothing_leaks(void **state) {
    (void)state;
    struct catalogue *base = two_versions();
    bool whole = false;
    for (uint64_t n = 1; !whole; n++) {
        struct catalogue_builder *builder = NULL;
        struct catalogue *catalogue = NULL;
        mr_alloc_fail_at(n);
        mr_err err = catalogue_build(base, &builder);
        err = mr_is_ok(err) ? catalogue_share_schema(builder, MR_STR("s"), 1) : err;
        err = mr_is_ok(err) ? add(builder, "t", 1) : err;
        err = mr_is_ok(err) ? add(builder, "t", 2) : err;
        err = mr_is_ok(err) ? add_type(builder, "com.t", "t") : err;
        if (mr_is_ok(err)) {
            err = catalogue_finish(builder, &catalogue);
        } else {
            catalogue_abandon(builder);
        }
        mr_alloc_fail_at(0);
        whole = mr_is_ok(err);
        assert_true(whole || mr_err_is(err, MR_E_NOMEM));
        catalogue_unref(catalogue);
        assert_true(n < 10000);
    }
    catalogue_unref(base);
}

static void a_snapshot_holds_its_catalogue(void **state) {
    (void)state;
    struct catalogue *catalogue = two_versions();
    struct snapshot_builder *builder = NULL;
    assert_ok(snapshot_build(NULL, &builder));
    assert_null(snapshot_catalogue(snapshot_of_builder(builder)));
    snapshot_set_catalogue(builder, catalogue);
    catalogue_unref(catalogue);
    struct snapshot *first = snapshot_finish(builder);
    assert_ok(snapshot_build(first, &builder));
    struct snapshot *second = snapshot_finish(builder);
    snapshot_unref(first);
    assert_non_null(catalogue_type_find(snapshot_catalogue(second), MR_STR("com.x")));
    snapshot_unref(second);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_in_an_absent_catalogue),
        cmocka_unit_test(a_version_is_compiled_and_leads_back_to_the_older_ones),
        cmocka_unit_test(the_next_catalogue_shares_versions_and_outlives_the_one_before),
        cmocka_unit_test(names_that_are_taken_and_gaps_are_told),
        cmocka_unit_test(each_of_many_is_found),
        cmocka_unit_test(documents_may_name_later_ones_and_a_refused_one_stays_readable),
        cmocka_unit_test(every_failed_allocation_is_told_and_nothing_leaks),
        cmocka_unit_test(a_snapshot_holds_its_catalogue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
