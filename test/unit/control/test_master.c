/* The master key rotated: everything that is sealed is in the table, and is sealed anew. Being cut
 * off is tested with the program itself: test/fault/master.test.mjs. */
#include "support_control.h"

#include "control/destinations.h"
#include "control/private.h"
#include "control/secrets.h"
#include "control/store/sealed.h"

#include <stdio.h>
#include <string.h>

/* "table.column" for each column of the database that is named as a sealed one. */
static void every_sealed_column_of_the_database_is_in_the_table(void **state) {
    struct fixture *f = *state;
    size_t n = 0;
    size_t n_found = 0;
    bool has_meta = false;
    const struct sealed_column *columns = sealed_columns(&n);
    struct query query =
        query_begin(&f->control->store,
                    "SELECT s.name, c.name FROM sqlite_schema s, pragma_table_info(s.name) c"
                    " WHERE s.type = 'table' AND c.name LIKE '%sealed%'");
    while (query_row(&query)) {
        bool found = false;
        for (size_t i = 0; i < n; i++) {
            found = found || (mr_str_eq(query_col_bytes(&query, 0), mr_str_c(columns[i].table)) &&
                              mr_str_eq(query_col_bytes(&query, 1), mr_str_c(columns[i].column)));
        }
        if (!found) {
            print_error("not in the table: %.*s.%.*s\n", MR_FMT(query_col_bytes(&query, 0)),
                        MR_FMT(query_col_bytes(&query, 1)));
        }
        assert_true(found);
        n_found++;
    }
    assert_ok(query_end(&query));
    for (size_t i = 0; i < n; i++) {
        has_meta = has_meta || strcmp(columns[i].table, "meta") == 0;
    }
    assert_true(has_meta);
    assert_int_equal(n_found, n - 1); /* the values of meta are sealed here and there */
}

/* Each column of the table with a value in it, but for those that creations fill. */
static const struct filled {
    const char *table, *place, *key, *update, *select; /* key NULL: the Owner's id */
} fills[] = {
    {"destinations", "private_sealed", "1", "UPDATE destinations SET private_sealed = ?1",
     "SELECT private_sealed FROM destinations"},
    {"destinations", "signing_sealed", "1", "UPDATE destinations SET signing_sealed = ?1",
     "SELECT signing_sealed FROM destinations"},
    {"users", "totp_sealed", NULL, "UPDATE users SET totp_sealed = ?1",
     "SELECT totp_sealed FROM users"},
    {"mails", "text", "7",
     "INSERT INTO mails(number, recipient, text_sealed, attempts, next_ms, expires_ms,"
     " created_ms) VALUES(7, 'a@b.example', ?1, 0, 0, 0, 0)",
     "SELECT text_sealed FROM mails"},
};

static mr_str key_of(struct fixture *f, const struct filled *fill) {
    mr_str key = mr_str_c(fill->key);
    if (fill->key == NULL) {
        struct query query = query_begin(&f->control->store, "SELECT id FROM users");
        assert_true(query_row(&query));
        key = query_col_text(&query, 0, &f->arena);
        assert_ok(query_end(&query));
    }
    return key;
}

static void fill(struct fixture *f) {
    struct control *control = f->control;
    struct secret_view secret;
    assert_ok(secrets_create(control, f->account, MR_STR("s"), &f->arena, &secret, &f->refusal));
    make_destination(f);
    for (size_t i = 0; i < sizeof fills / sizeof fills[0]; i++) {
        mr_buf box;
        mr_buf_init(&box, 4096);
        assert_ok(control_seal(control, fills[i].table, key_of(f, &fills[i]), fills[i].place,
                               mr_str_c(fills[i].place), &box));
        struct query query = query_begin(&control->store, fills[i].update);
        query_blob(&query, mr_buf_view(&box));
        assert_ok(query_run(&query));
        mr_buf_done(&box);
    }
}

static void assert_filled(struct fixture *f) {
    for (size_t i = 0; i < sizeof fills / sizeof fills[0]; i++) {
        mr_secret value = MR_SECRET_NONE;
        mr_str key = key_of(f, &fills[i]);
        struct query query = query_begin(&f->control->store, fills[i].select);
        assert_true(query_row(&query));
        assert_ok(control_unseal(f->control, fills[i].table, key, fills[i].place,
                                 query_col_bytes(&query, 0), &value));
        assert_true(mr_secret_eq(value, mr_str_c(fills[i].place)));
        mr_secret_unref(&value);
        assert_ok(query_end(&query));
    }
}

static void a_rotation_seals_everything_anew(void **state) {
    struct fixture *f = *state;
    uint8_t old_id[SEAL_KEY_ID_BYTES];
    struct control_rotated rotated;
    size_t n = 0;
    memcpy(old_id, sealer_key_id(f->control->sealer), sizeof old_id);
    mr_str old = mr_str_of((const char *)old_id, sizeof old_id);
    fill(f);
    assert_true(folder_holds(f, old));
    assert_ok(control_rotate_master_key(f->control, NULL, &rotated, &f->refusal));
    sealed_columns(&n);
    assert_int_equal(rotated.n_values, 3 + n - 1); /* of meta three, of the others one each */
    assert_memory_not_equal(sealer_key_id(f->control->sealer), old_id, sizeof old_id);
    assert_false(folder_holds(f, old));
    assert_filled(f);
    struct query query =
        query_begin(&f->control->store, "SELECT count(*) FROM audit WHERE action ="
                                        " 'master-key.rotate' AND actor_kind = 'system'");
    assert_true(query_row(&query));
    assert_int_equal(query_col_i64(&query, 0), 1);
    assert_ok(query_end(&query));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_sealed_column_of_the_database_is_in_the_table,
                                        fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_rotation_seals_everything_anew, fixture_setup,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
