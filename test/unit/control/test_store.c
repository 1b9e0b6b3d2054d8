/* Making, opening and refusing stores; the master key; full and busy disks; what stays in the
 * clear. */
#include "support_control.h"

#include "control/private.h"

#include "control/accounts.h"
#include "control/clients.h"
#include "control/destinations.h"
#include "control/idempotency.h"
#include "control/rules.h"
#include "control/secrets.h"
#include "control/store.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void open_without_init_says_there_is_no_store(void **state) {
    (void)state;
    struct fixture f;
    fixture_bare(&f);
    mr_err err = control_open(&f.options, &f.control, &f.refusal);
    assert_int_equal(err.code, CONTROL_E_NO_STORE);
    assert_non_null(strstr(f.refusal.message, "millrace init"));
    fixture_done(&f);
}

static void init_refuses_a_second_time_and_bad_emails(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct control_init_result again;
    control_close(f.control);
    f.control = NULL;
    mr_err err = control_init(&f.options, MR_STR("ops@example.com"), &again, &f.refusal);
    assert_int_equal(err.code, CONTROL_E_EXISTS);
    static const char *const bad[] = {"", "ops", "@x", "ops@", "a@b@c", "o ps@x.test", "ö@x.test"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err = control_init(&f.options, mr_str_c(bad[i]), &again, &f.refusal);
        assert_refused(&f, err, 20400, "e-mail");
    }
    fixture_done(&f);
}

static void init_gives_an_account_and_a_client_that_gets_a_token(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct client_token token;
    assert_ok(clients_issue_token(f.control, mr_str_c(f.made.client_id),
                                  mr_str_c(f.made.client_secret), (mr_wall){1000 * MR_NS_PER_S},
                                  &f.arena, &token, &f.refusal));
    assert_int_equal(strlen(f.made.client_secret), 43);
    assert_memory_equal(f.made.account_id, "acct_", 5);
    struct snapshot *snapshot = control_snapshot(f.control);
    const struct model_account *account = snapshot_account(snapshot, f.account);
    assert_string_equal(account->object.id, f.made.account_id);
    assert_non_null(snapshot_client_by_id(snapshot, mr_str_c(f.made.client_id)));
    snapshot_unref(snapshot);
    fixture_done(&f);
}

static void a_second_open_is_busy(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct control *other = NULL;
    assert_int_equal(control_open(&f.options, &other, &f.refusal).code, MR_E_BUSY);
    fixture_done(&f);
}

static void key_path(const struct fixture *f, char out[256]) {
    (void)snprintf(out, 256, "%s.key", f->dir);
}

static void the_key_lies_beside_the_folder_and_is_private(void **state) {
    (void)state;
    struct fixture f;
    char path[256];
    struct stat info;
    fixture_open(&f);
    key_path(&f, path);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(stat(f.dir, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    fixture_done(&f);
}

static void a_missing_or_wrong_key_is_told_at_open(void **state) {
    (void)state;
    struct fixture f;
    char path[256];
    fixture_open(&f);
    control_close(f.control);
    f.control = NULL;
    key_path(&f, path);
    assert_int_equal(unlink(path), 0);
    mr_err err = control_open(&f.options, &f.control, &f.refusal);
    assert_int_equal(err.code, CONTROL_E_MASTER_KEY);
    assert_non_null(strstr(f.refusal.message, "missing"));

    FILE *file = fopen(path, "w");
    fputs("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", file);
    fclose(file);
    err = control_open(&f.options, &f.control, &f.refusal);
    assert_int_equal(err.code, CONTROL_E_MASTER_KEY);
    assert_non_null(strstr(f.refusal.message, "not the one"));

    file = fopen(path, "w");
    fputs("not a key\n", file);
    fclose(file);
    err = control_open(&f.options, &f.control, &f.refusal);
    assert_int_equal(err.code, CONTROL_E_MASTER_KEY);
    fixture_done(&f);
}

static void exec(const struct fixture *f, const char *sql) {
    char path[256];
    sqlite3 *db = NULL;
    (void)snprintf(path, sizeof path, "%s/control.db", f->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void a_newer_format_is_refused(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    control_close(f.control);
    f.control = NULL;
    exec(&f, "PRAGMA user_version=99");
    mr_err err = control_open(&f.options, &f.control, &f.refusal);
    assert_int_equal(err.code, CONTROL_E_NEWER);
    assert_non_null(strstr(f.refusal.message, "newer"));
    fixture_done(&f);
}

/* A folder as format 1 left it: what came later is gone. */
static void make_format_1(struct fixture *f) {
    control_close(f->control);
    f->control = NULL;
    exec(f, "DROP TABLE external_ids; DROP TABLE audit_base;"
            " DROP TABLE account_platforms; DROP TABLE recovery_codes; DROP TABLE sessions;"
            " DROP TABLE links; DROP TABLE mails; DROP TABLE audit;"
            " DROP INDEX accounts_of_parent; DROP INDEX clients_of_account;"
            " DROP INDEX users_by_email; DROP INDEX users_one_owner;"
            " ALTER TABLE accounts DROP COLUMN description;"
            " ALTER TABLE accounts DROP COLUMN second_factor;"
            " ALTER TABLE clients DROP COLUMN updated_ms;"
            " ALTER TABLE signing_keys DROP COLUMN longest_expiry_s;"
            " ALTER TABLE users DROP COLUMN name; ALTER TABLE users DROP COLUMN products;"
            " ALTER TABLE users DROP COLUMN password; ALTER TABLE users DROP COLUMN password_ms;"
            " ALTER TABLE users DROP COLUMN totp_sealed;"
            " ALTER TABLE users DROP COLUMN totp_confirmed;"
            " ALTER TABLE users DROP COLUMN totp_step; ALTER TABLE users DROP COLUMN generation;"
            " ALTER TABLE users DROP COLUMN version; ALTER TABLE users DROP COLUMN updated_ms;"
            " ALTER TABLE users DROP COLUMN signed_in_ms;"
            " CREATE TABLE audit("
            " number INTEGER PRIMARY KEY, account INTEGER NOT NULL, actor TEXT NOT NULL,"
            " action TEXT NOT NULL, object TEXT NOT NULL, at_ms INTEGER NOT NULL,"
            " origin TEXT NOT NULL) STRICT;"
            " PRAGMA user_version=2;");
    exec(f, "DROP TABLE schema_versions; DROP TABLE schemas; DROP TABLE event_types;"
            " DROP TABLE shipped_types; ALTER TABLE rules DROP COLUMN filter;"
            " PRAGMA user_version=1;");
}

static int64_t count_of(const struct fixture *f, const char *sql) {
    char path[256];
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    (void)snprintf(path, sizeof path, "%s/control.db", f->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return n;
}

/* A rule of format 1 has no filter, and can be given one. */
static void an_older_format_is_brought_up_to_date(void **state) {
    (void)state;
    struct fixture f;
    struct rule_view view;
    fixture_open(&f);
    mr_str id = make_rule(&f, make_destination(&f));
    make_format_1(&f);
    fixture_reopen(&f);
    assert_ok(rules_get(f.control, f.account, id, &f.arena, &view, &f.refusal));
    assert_true(mr_str_is_absent(view.filter_json));
    assert_ok(rules_patch(f.control, f.account, id, MR_STR("{\"filter\":{\"cesql\":\"true\"}}"), 0,
                          &f.arena, &view, &f.refusal));
    assert_text(view.filter_json, "{\"cesql\":\"true\"}");
    fixture_done(&f);
}

/* A folder of format 4: the audit log stays, and still loses no row by another's hand. */
static void an_audit_log_of_format_4_is_kept(void **state) {
    (void)state;
    struct fixture f;
    bool has_more;
    fixture_open(&f);
    int64_t rows = count_of(&f, "SELECT count(*) FROM audit");
    assert_true(rows >= 3);
    control_close(f.control);
    f.control = NULL;
    exec(&f, "DROP TRIGGER audit_rows_stay; DROP TABLE audit_base;"
             " CREATE TRIGGER audit_rows_stay BEFORE DELETE ON audit BEGIN"
             " SELECT RAISE(ABORT, 'the audit log is only added to'); END;"
             " PRAGMA user_version=4;");
    fixture_reopen(&f);
    assert_int_equal(count_of(&f, "PRAGMA user_version"), STORE_FORMAT);
    assert_int_equal(count_of(&f, "SELECT count(*) FROM audit"), rows);
    assert_int_equal(count_of(&f, "SELECT count(*) FROM audit_base"), 0);
    assert_ok(audit_trim(f.control, INT64_MAX, &has_more));
    assert_int_equal(count_of(&f, "SELECT count(*) FROM audit"), 2);
    assert_int_equal(count_of(&f, "SELECT number FROM audit_base"), rows - 1);
    fixture_done(&f);
}

static void an_older_folder_is_upgraded_and_keeps_what_it_has(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    mr_str destination = make_destination(&f);
    mr_str rule = make_rule(&f, destination);
    make_format_1(&f);
    assert_ok(control_open(&f.options, &f.control, &f.refusal));
    struct snapshot *snapshot = control_snapshot(f.control);
    assert_non_null(snapshot_destination_by_id(snapshot, destination));
    assert_int_equal(snapshot_count(snapshot, MODEL_RULE), 1);
    assert_string_equal(snapshot_next(snapshot, MODEL_RULE, 1)->id, rule.ptr);
    assert_int_equal(catalogue_count_types(snapshot_catalogue(snapshot)), 8);
    snapshot_unref(snapshot);
    control_close(f.control);
    f.control = NULL;
    assert_int_equal(count_of(&f, "PRAGMA user_version"), STORE_FORMAT);
    assert_int_equal(count_of(&f, "SELECT count(*) FROM schema_versions"), 0);
    assert_int_equal(count_of(&f, "SELECT count(*) FROM users WHERE generation = 1"), 1);
    /* Its key may have signed tokens of any expiry. */
    assert_int_equal(count_of(&f, "SELECT longest_expiry_s FROM signing_keys"), 63072000);
    fixture_done(&f);
}

static void an_upgrade_that_fails_leaves_the_folder_as_it_was(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    make_format_1(&f);
    /* The last table of the step is in the way: the ones before it must not stay. */
    exec(&f, "CREATE TABLE shipped_types(x)");
    assert_int_not_equal(control_open(&f.options, &f.control, &f.refusal).code, 0);
    assert_int_equal(count_of(&f, "PRAGMA user_version"), 1);
    assert_int_equal(count_of(&f, "SELECT count(*) FROM sqlite_schema WHERE name = 'schemas'"), 0);
    exec(&f, "DROP TABLE shipped_types");
    assert_ok(control_open(&f.options, &f.control, &f.refusal));
    fixture_done(&f);
}

static void a_cut_off_init_is_completed_by_the_next(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    control_close(f.control);
    f.control = NULL;
    exec(&f, "DELETE FROM meta WHERE key='installation_id'");
    assert_int_equal(control_open(&f.options, &f.control, &f.refusal).code, CONTROL_E_NO_STORE);
    fixture_done(&f);

    fixture_bare(&f);
    assert_int_equal(mkdir(f.dir, 0700), 0);
    f.options.page_count_max = 30; /* the tables fit, the rows may or may not */
    mr_err err = MR_OK;
    for (uint32_t pages = 2; pages < 60; pages++) {
        f.options.page_count_max = pages;
        err = control_init(&f.options, MR_STR("ops@example.com"), &f.made, &f.refusal);
        if (mr_is_ok(err)) {
            break;
        }
        assert_int_equal(err.code, MR_E_NO_SPACE);
    }
    assert_ok(err);
    f.options.page_count_max = 0;
    assert_ok(control_open(&f.options, &f.control, &f.refusal));
    fixture_done(&f);
}

static void a_full_disk_refuses_and_leaves_nothing_half_done(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    control_close(f.control);
    f.options.page_count_max = 64;
    assert_ok(control_open(&f.options, &f.control, &f.refusal));
    static char body[20000];
    size_t n = (size_t)snprintf(body, sizeof body,
                                "{\"name\":\"D\",\"kind\":\"webhook\",\"settings\":{\"url\":"
                                "\"https://x.test/\"},\"metadata\":{\"fill\":\"");
    memset(body + n, 'x', 12000);
    n += 12000;
    n += (size_t)snprintf(body + n, sizeof body - n, "\"}}");
    mr_err err = MR_OK;
    size_t made = 0;
    for (int i = 0; i < 100 && mr_is_ok(err); i++) {
        struct destination_view view;
        err = destinations_create(f.control, f.account, mr_str_of(body, n), &f.arena, &view,
                                  &f.refusal);
        made += mr_is_ok(err) ? 1 : 0;
    }
    assert_refused(&f, err, 20503, "full");
    assert_int_equal(f.refusal.status, 503);
    assert_true(f.refusal.retry_after_s > 0);
    assert_true(made > 0);

    struct snapshot *snapshot = control_snapshot(f.control);
    assert_int_equal(snapshot_count(snapshot, MODEL_DESTINATION), made);
    snapshot_unref(snapshot);

    /* There is space again: it goes on by itself. */
    f.options.page_count_max = 0;
    fixture_reopen(&f);
    struct destination_view view;
    assert_ok(
        destinations_create(f.control, f.account, mr_str_of(body, n), &f.arena, &view, &f.refusal));
    snapshot = control_snapshot(f.control);
    assert_int_equal(snapshot_count(snapshot, MODEL_DESTINATION), made + 1);
    snapshot_unref(snapshot);
    fixture_done(&f);
}

/* The write-ahead log is written at COMMIT: where it may not grow, COMMIT itself fails. */
static void a_commit_that_fails_leaves_nothing(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    mr_str first = make_destination(&f);
    struct rlimit before;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction old;
    struct stat info;
    char wal[256];
    struct destination_view view;
    (void)snprintf(wal, sizeof wal, "%s/control.db-wal", f.dir);
    assert_int_equal(stat(wal, &info), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit tight = {.rlim_cur = (rlim_t)info.st_size, .rlim_max = before.rlim_max};
    sigaction(SIGXFSZ, &ignore, &old);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    mr_err err = destinations_patch(f.control, f.account, first, MR_STR("{\"name\":\"E\"}"), 0,
                                    &f.arena, &view, NULL, NULL, &f.refusal);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    sigaction(SIGXFSZ, &old, NULL);
    assert_refused(&f, err, 20503, "Nothing was changed");
    assert_ok(destinations_get(f.control, f.account, first, &f.arena, &view, &f.refusal));
    assert_text(view.name, "D");
    assert_int_equal(view.version, 1);
    struct snapshot *snapshot = control_snapshot(f.control);
    assert_text(snapshot_destination(snapshot, view.number)->name, "D");
    snapshot_unref(snapshot);
    /* It goes on by itself. */
    assert_ok(destinations_patch(f.control, f.account, first, MR_STR("{\"name\":\"E\"}"), 0,
                                 &f.arena, &view, NULL, NULL, &f.refusal));
    assert_int_equal(view.version, 2);
    fixture_done(&f);
}

static void a_lock_of_another_is_503_and_passes(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    char path[256];
    sqlite3 *db = NULL;
    struct secret_view view;
    (void)snprintf(path, sizeof path, "%s/control.db", f.dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    mr_err err = secrets_create(f.control, f.account, MR_STR("s"), &f.arena, &view, &f.refusal);
    assert_refused(&f, err, 20503, "busy");
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(db);
    assert_ok(secrets_create(f.control, f.account, MR_STR("s"), &f.arena, &view, &f.refusal));
    fixture_done(&f);
}

static void no_secret_is_in_the_clear_on_disk(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct secret_view secret;
    struct destination_view view;
    mr_str signing;
    mr_str public_key;
    assert_ok(
        secrets_create(f.control, f.account, MR_STR("marker-name"), &f.arena, &secret, &f.refusal));
    assert_ok(destinations_create(
        f.control, f.account,
        MR_STR("{\"name\":\"D\",\"kind\":\"webhook\",\"settings\":{\"url\":\"https://x.test/a\","
               "\"headers\":{\"X-Api-Key\":\"extra-header-value\"}}}"),
        &f.arena, &view, &f.refusal));
    assert_ok(destinations_signing_secret(f.control, f.account, view.id,
                                          (mr_wall){1000 * MR_NS_PER_S}, &f.arena, &signing,
                                          &public_key, &f.refusal));
    assert_true(folder_holds(&f, MR_STR("marker-name")));
    assert_false(folder_holds(&f, secret.value));
    assert_false(folder_holds(&f, MR_STR("extra-header-value")));
    assert_false(folder_holds(&f, mr_str_slice(signing, 6, signing.len)));
    assert_false(folder_holds(&f, mr_str_c(f.made.client_secret)));
    control_close(f.control);
    f.control = NULL;
    assert_true(folder_holds(&f, MR_STR("marker-name")));
    assert_false(folder_holds(&f, secret.value));
    assert_false(folder_holds(&f, MR_STR("extra-header-value")));
    fixture_done(&f);
}

static void pages_and_etags_are_read_and_written(void **state) {
    (void)state;
    struct fixture f;
    fixture_bare(&f);
    struct control_page page;
    assert_ok(control_page_parse(MR_STR_NONE, MR_STR_NONE, &page, &f.refusal));
    assert_int_equal(page.size, 50);
    assert_int_equal(page.number, 1);
    static const char *const bad[] = {"0", "1001", "-1", "x", "", "1.0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_refused(&f, control_page_parse(mr_str_c(bad[i]), MR_STR_NONE, &page, &f.refusal),
                       20400, "page_size");
    }
    assert_refused(&f, control_page_parse(MR_STR_NONE, MR_STR("0"), &page, &f.refusal), 20400,
                   "page_number");
    char etag[CONTROL_ETAG_SIZE];
    control_etag_format(12, etag);
    assert_string_equal(etag, "\"v12\"");
    assert_int_equal(control_etag_parse(mr_str_c(etag)), 12);
    assert_int_equal(control_etag_parse(MR_STR_NONE), 0);
    assert_int_equal(control_etag_parse(MR_STR("*")), 0);
    assert_int_equal(control_etag_parse(MR_STR("\"v\"")), UINT32_MAX);
    assert_int_equal(control_etag_parse(MR_STR("W/\"v1\"")), UINT32_MAX);
    fixture_done(&f);
}

static void account_settings_reach_the_snapshot(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct account_view view;
    assert_ok(accounts_patch(f.control, f.account,
                             MR_STR("{\"settings\":{\"validate\":\"warn\",\"unknown_types\":"
                                    "\"refuse\",\"events_per_second\":7}}"),
                             0, &f.arena, &view, &f.refusal));
    struct snapshot *snapshot = control_snapshot(f.control);
    const struct model_account *account = snapshot_account(snapshot, f.account);
    assert_int_equal(account->validate, MODEL_VALIDATE_WARN);
    assert_int_equal(account->unknown_types, MODEL_UNKNOWN_REFUSE);
    assert_int_equal(account->events_per_second, 7);
    snapshot_unref(snapshot);
    assert_refused(&f,
                   accounts_patch(f.control, f.account, MR_STR("{\"settings\":{\"x\":1}}"), 0,
                                  &f.arena, &view, &f.refusal),
                   20001, "settings.x");
    assert_refused(
        &f, accounts_patch(f.control, f.account, MR_STR("{}"), 1, &f.arena, &view, &f.refusal),
        20412, "meanwhile");
    fixture_done(&f);
}

static void a_repeated_key_gets_the_first_answer(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct idempotency_call call = {
        .account = f.account,
        .client = 1,
        .route = MR_STR("/v1/destinations"),
        .key = MR_STR("k1"),
        .request_body = MR_STR("{}"),
    };
    struct idempotency_answer answer = {.status = 201, .body = MR_STR("{\"id\":1}")};
    struct idempotency_answer found;
    bool is_found = true;
    mr_wall now = {1000 * MR_NS_PER_S};
    assert_ok(idempotency_find(f.control, &call, now, &f.arena, &is_found, &found, &f.refusal));
    assert_false(is_found);
    assert_ok(idempotency_store(f.control, &call, now, &answer, &f.refusal));
    assert_ok(idempotency_find(f.control, &call, now, &f.arena, &is_found, &found, &f.refusal));
    assert_true(is_found);
    assert_int_equal(found.status, 201);
    assert_text(found.body, "{\"id\":1}");
    assert_true(mr_str_is_absent(found.location));
    call.request_body = MR_STR("{\"other\":1}");
    assert_refused(&f,
                   idempotency_find(f.control, &call, now, &f.arena, &is_found, &found, &f.refusal),
                   20409, "another request body");
    call.client = 2;
    assert_ok(idempotency_find(f.control, &call, now, &f.arena, &is_found, &found, &f.refusal));
    assert_false(is_found);
    call.client = 1;
    mr_wall later = {now.ns + (IDEMPOTENCY_TTL_MS + 1) * MR_NS_PER_MS};
    assert_ok(idempotency_find(f.control, &call, later, &f.arena, &is_found, &found, &f.refusal));
    assert_false(is_found);
    call.key = MR_STR("");
    assert_refused(&f,
                   idempotency_find(f.control, &call, now, &f.arena, &is_found, &found, &f.refusal),
                   20400, "Idempotency-Key");
    fixture_done(&f);
}

static void a_claimed_key_is_refused_until_it_is_answered_or_released(void **state) {
    (void)state;
    struct fixture f;
    fixture_open(&f);
    const struct idempotency_call call = {
        .account = f.account,
        .client = 1,
        .route = MR_STR("/v1/dead-letters/redrive"),
        .key = MR_STR("k1"),
        .request_body = MR_STR("{}"),
    };
    struct idempotency_answer found;
    bool is_found = true;
    mr_wall now = {1000 * MR_NS_PER_S};
    assert_ok(idempotency_claim(f.control, &call, now, &f.arena, &is_found, &found, &f.refusal));
    assert_false(is_found);
    assert_refused(
        &f, idempotency_claim(f.control, &call, now, &f.arena, &is_found, &found, &f.refusal),
        20409, "has begun");
    assert_int_equal(f.refusal.retry_after_s, 1);
    assert_ok(idempotency_release(f.control, &call, &f.refusal));
    assert_ok(idempotency_claim(f.control, &call, now, &f.arena, &is_found, &found, &f.refusal));
    assert_false(is_found);
    const struct idempotency_answer answer = {.status = 202, .body = MR_STR("{\"redriven\":1}")};
    assert_ok(idempotency_store(f.control, &call, now, &answer, &f.refusal));
    assert_ok(idempotency_release(f.control, &call, &f.refusal)); /* an answer is no claim */
    assert_ok(idempotency_claim(f.control, &call, now, &f.arena, &is_found, &found, &f.refusal));
    assert_true(is_found);
    assert_int_equal(found.status, 202);
    assert_text(found.body, "{\"redriven\":1}");
    fixture_done(&f);
}

static void messages_are_cut_at_characters_and_printable(void **state) {
    (void)state;
    struct refusal refusal;
    char long_text[REFUSAL_MESSAGE_SIZE + 10];
    for (size_t i = 0; i + 2 < sizeof long_text; i += 2) {
        long_text[i] = (char)0xc3;
        long_text[i + 1] = (char)0xa4;
    }
    long_text[sizeof long_text - 2] = '\0';
    mr_ignore(refuse(&refusal, REFUSAL_RULE, "x%s", long_text), "a refusal");
    assert_true(mr_str_is_utf8(mr_str_c(refusal.message)));
    assert_true(strlen(refusal.message) >= REFUSAL_MESSAGE_SIZE - 3);
    mr_ignore(refuse(&refusal, REFUSAL_RULE, "a\x01\xff%c", 'b'), "a refusal");
    assert_string_equal(refusal.message, "a??b");
    for (size_t i = 0; refusal_row(i) != NULL; i++) {
        assert_true(refusal_info(refusal_row(i)->code) == refusal_row(i));
        assert_true(refusal_row(i)->cause.len > 10);
        assert_true(refusal_row(i)->todo.len > 5);
        assert_true(refusal_row(i)->example.len > 5);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_without_init_says_there_is_no_store),
        cmocka_unit_test(init_refuses_a_second_time_and_bad_emails),
        cmocka_unit_test(init_gives_an_account_and_a_client_that_gets_a_token),
        cmocka_unit_test(a_second_open_is_busy),
        cmocka_unit_test(the_key_lies_beside_the_folder_and_is_private),
        cmocka_unit_test(a_missing_or_wrong_key_is_told_at_open),
        cmocka_unit_test(an_older_format_is_brought_up_to_date),
        cmocka_unit_test(a_newer_format_is_refused),
        cmocka_unit_test(an_older_folder_is_upgraded_and_keeps_what_it_has),
        cmocka_unit_test(an_audit_log_of_format_4_is_kept),
        cmocka_unit_test(an_upgrade_that_fails_leaves_the_folder_as_it_was),
        cmocka_unit_test(a_cut_off_init_is_completed_by_the_next),
        cmocka_unit_test(a_full_disk_refuses_and_leaves_nothing_half_done),
        cmocka_unit_test(a_commit_that_fails_leaves_nothing),
        cmocka_unit_test(a_lock_of_another_is_503_and_passes),
        cmocka_unit_test(no_secret_is_in_the_clear_on_disk),
        cmocka_unit_test(pages_and_etags_are_read_and_written),
        cmocka_unit_test(account_settings_reach_the_snapshot),
        cmocka_unit_test(a_repeated_key_gets_the_first_answer),
        cmocka_unit_test(a_claimed_key_is_refused_until_it_is_answered_or_released),
        cmocka_unit_test(messages_are_cut_at_characters_and_printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
