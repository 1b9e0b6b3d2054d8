/* The database of the control plane.
 *
 * Why SQLite as it is set here: WAL with synchronous FULL has every commit on disk before COMMIT
 * returns, and leaves a readable database after a crash at any point; a single read-write
 * connection rules out the WAL faults that two of them can meet. A format number (user_version) is
 * checked before anything else is read: a newer one is refused, an older one is brought up to date
 * in one transaction.
 *
 * Failure policy: a full disk, a lock held by another, an I/O error end the transaction: everything
 * since BEGIN is rolled back and the caller is told once. SQLite may roll back by itself (it does
 * on SQLITE_FULL); store_rollback copes with both. Nothing here retries, but for the busy timeout.
 *
 * Numbers of objects come from the table `numbers`, not from rowids: a number is never used again,
 * also when the newest row was deleted. Deleted destinations and rules stay as tombstones
 * (deleted_ms) until no stored record names them.
 *
 * Sealed columns (`*_sealed`) hold boxes of crypto/seal.h whose place is (table, key, column). */
#include "control/store.h"

#include "control/refusal.h"

#define BUSY_TIMEOUT_MS 250
#define APPLICATION_ID  0x4d4c5243 /* "MLRC" */

/* Format 1: all but the catalogue. */
static const char schema_1[] =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE numbers(kind TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE accounts("
    " number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    " parent INTEGER REFERENCES accounts(number), friendly_name TEXT NOT NULL,"
    " owner_email TEXT NOT NULL, status TEXT NOT NULL, validate INTEGER NOT NULL,"
    " unknown_types INTEGER NOT NULL, events_per_second INTEGER, version INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE users("
    " number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    " account INTEGER NOT NULL REFERENCES accounts(number), email TEXT NOT NULL,"
    " role TEXT NOT NULL CHECK(role IN ('owner','admin','developer','default')),"
    " status TEXT NOT NULL, created_ms INTEGER NOT NULL, UNIQUE(account, email)) STRICT;"
    "CREATE TABLE clients("
    " number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    " account INTEGER NOT NULL REFERENCES accounts(number), name TEXT NOT NULL,"
    " owner TEXT NOT NULL, type INTEGER NOT NULL, locked INTEGER, enabled INTEGER NOT NULL,"
    " generation INTEGER NOT NULL, token_expiry_s INTEGER NOT NULL, scopes TEXT NOT NULL,"
    " secret_mac BLOB NOT NULL, version INTEGER NOT NULL, created_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE signing_keys("
    " kid TEXT PRIMARY KEY, public_der BLOB NOT NULL, private_sealed BLOB,"
    " sign_from_s INTEGER NOT NULL, verify_until_s INTEGER,"
    " created_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE secrets("
    " id TEXT PRIMARY KEY, account INTEGER NOT NULL REFERENCES accounts(number),"
    " name TEXT NOT NULL, status INTEGER NOT NULL CHECK(status IN (0, 1)),"
    " value_sealed BLOB NOT NULL, version INTEGER NOT NULL, modified_ms INTEGER NOT NULL,"
    " UNIQUE(account, status)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE destinations("
    " number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    " account INTEGER NOT NULL REFERENCES accounts(number), name TEXT NOT NULL,"
    " description TEXT NOT NULL, kind INTEGER NOT NULL, status INTEGER NOT NULL,"
    " disabled_by INTEGER NOT NULL, disabled_ms INTEGER NOT NULL, settings TEXT NOT NULL,"
    " private_sealed BLOB, signing_sealed BLOB, last_test TEXT, metadata TEXT NOT NULL,"
    " version INTEGER NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL,"
    " deleted_ms INTEGER) STRICT;"
    "CREATE INDEX destinations_of_account ON destinations(account, number)"
    " WHERE deleted_ms IS NULL;"
    "CREATE INDEX destinations_deleted ON destinations(number) WHERE deleted_ms IS NOT NULL;"
    "CREATE TABLE rules("
    " number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    " account INTEGER NOT NULL REFERENCES accounts(number), destination INTEGER NOT NULL,"
    " name TEXT NOT NULL, enabled INTEGER NOT NULL, product_group TEXT,"
    " event_types TEXT NOT NULL, sampling INTEGER NOT NULL, metadata TEXT NOT NULL,"
    " version INTEGER NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL,"
    " deleted_ms INTEGER) STRICT;"
    "CREATE INDEX rules_of_account ON rules(account, number) WHERE deleted_ms IS NULL;"
    "CREATE INDEX rules_of_destination ON rules(destination, number) WHERE deleted_ms IS NULL;"
    "CREATE INDEX rules_deleted ON rules(number) WHERE deleted_ms IS NOT NULL;"
    "CREATE TABLE idempotency("
    " account INTEGER NOT NULL, client INTEGER NOT NULL, route TEXT NOT NULL, key TEXT NOT NULL,"
    " request_hash BLOB NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL, location TEXT,"
    " expires_ms INTEGER NOT NULL, PRIMARY KEY(account, client, route, key))"
    " STRICT, WITHOUT ROWID;"
    "CREATE INDEX idempotency_by_expiry ON idempotency(expires_ms);"
    "CREATE TABLE audit("
    " number INTEGER PRIMARY KEY, account INTEGER NOT NULL, actor TEXT NOT NULL,"
    " action TEXT NOT NULL, object TEXT NOT NULL, at_ms INTEGER NOT NULL, origin TEXT NOT NULL)"
    " STRICT;";

/* Format 2: filters of rules; the event catalogue, beside what the program ships. A schema version
 * never changes: events that were accepted name it. */
static const char schema_2[] =
    "ALTER TABLE rules ADD COLUMN filter TEXT;"
    "CREATE TABLE schemas("
    " number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE schema_versions("
    " number INTEGER PRIMARY KEY, schema INTEGER NOT NULL REFERENCES schemas(number),"
    " version INTEGER NOT NULL CHECK(version > 0), bytes INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, bases TEXT NOT NULL, breaking TEXT NOT NULL,"
    " examples TEXT NOT NULL, document TEXT NOT NULL, UNIQUE(schema, version)) STRICT;"
    "CREATE TRIGGER schema_versions_stay BEFORE UPDATE ON schema_versions BEGIN"
    " SELECT RAISE(ABORT, 'a schema version never changes'); END;"
    "CREATE TABLE event_types("
    " number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, product TEXT NOT NULL,"
    " product_group TEXT, description TEXT NOT NULL, status TEXT NOT NULL"
    " CHECK(status IN ('available','deprecated','restricted','discontinued')),"
    " schema TEXT NOT NULL, version INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
    " updated_ms INTEGER NOT NULL) STRICT;"
    "CREATE TABLE shipped_types("
    " name TEXT PRIMARY KEY, description TEXT NOT NULL, status TEXT NOT NULL"
    " CHECK(status IN ('available','deprecated','restricted','discontinued')),"
    " version INTEGER NOT NULL, updated_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;";

/* Format 3: a tree of accounts, users with their passwords, sessions and links, and the audit log.
 *
 * What proves who somebody is lies here as a hash (passwords: argon2id; the rest has 128 bits of
 * chance or more: SHA-256 or HMAC) or sealed. A session's id is the start of its cookie's hash, so
 * that the cookie cannot be made from the row. The audit log's rows can only be added. */
static const char schema_3[] =
    "ALTER TABLE accounts ADD COLUMN description TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE accounts ADD COLUMN second_factor INTEGER NOT NULL DEFAULT 0"
    " CHECK(second_factor IN (0, 1));" /* 0: whoever wants it; 1: everybody */
    "CREATE INDEX accounts_of_parent ON accounts(parent, number);"
    "CREATE TABLE account_platforms("
    " account INTEGER NOT NULL REFERENCES accounts(number), platform TEXT NOT NULL,"
    " legacy_account_id TEXT NOT NULL, PRIMARY KEY(account, platform)) STRICT, WITHOUT ROWID;"
    "ALTER TABLE clients ADD COLUMN updated_ms INTEGER;"
    /* Life of the longest token it signed; of keys that are there already, any. Until when a key
     * verifies follows from it: verify_until_s is no longer written. */
    "ALTER TABLE signing_keys ADD COLUMN longest_expiry_s INTEGER NOT NULL DEFAULT 63072000;"
    "CREATE INDEX clients_of_account ON clients(account, number);"
    "ALTER TABLE users ADD COLUMN name TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE users ADD COLUMN products TEXT;" /* JSON array; NULL: all */
    "ALTER TABLE users ADD COLUMN password TEXT;" /* argon2id's own form; NULL: none yet */
    "ALTER TABLE users ADD COLUMN password_ms INTEGER;"
    "ALTER TABLE users ADD COLUMN totp_sealed BLOB;"
    "ALTER TABLE users ADD COLUMN totp_confirmed INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE users ADD COLUMN totp_step INTEGER NOT NULL DEFAULT 0;" /* last one used */
    "ALTER TABLE users ADD COLUMN generation INTEGER NOT NULL DEFAULT 1;"
    "ALTER TABLE users ADD COLUMN version INTEGER NOT NULL DEFAULT 1;"
    "ALTER TABLE users ADD COLUMN updated_ms INTEGER;"
    "ALTER TABLE users ADD COLUMN signed_in_ms INTEGER;"
    "CREATE INDEX users_by_email ON users(email);"
    "CREATE UNIQUE INDEX users_one_owner ON users(account) WHERE role = 'owner';"
    "CREATE TABLE recovery_codes("
    " user INTEGER NOT NULL REFERENCES users(number) ON DELETE CASCADE, code_hash BLOB NOT NULL,"
    " PRIMARY KEY(user, code_hash)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE sessions("
    " number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    " user INTEGER NOT NULL REFERENCES users(number) ON DELETE CASCADE,"
    " created_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,"
    " address TEXT NOT NULL, agent TEXT NOT NULL) STRICT;"
    "CREATE INDEX sessions_of_user ON sessions(user, number);"
    "CREATE INDEX sessions_by_expiry ON sessions(expires_ms);"
    "CREATE TABLE links("
    " token_hash BLOB PRIMARY KEY, kind TEXT NOT NULL"
    " CHECK(kind IN ('setup','invite','reset','portal')),"
    " account INTEGER REFERENCES accounts(number),"
    " user INTEGER REFERENCES users(number) ON DELETE CASCADE, created_ms INTEGER NOT NULL,"
    " expires_ms INTEGER NOT NULL, detail TEXT NOT NULL) STRICT, WITHOUT ROWID;" /* JSON */
    "CREATE INDEX links_of_user ON links(user);"
    "CREATE INDEX links_by_expiry ON links(expires_ms);"
    "CREATE TABLE mails("
    " number INTEGER PRIMARY KEY, recipient TEXT NOT NULL, text_sealed BLOB NOT NULL,"
    " attempts INTEGER NOT NULL, next_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL) STRICT;"
    "DROP TABLE audit;" /* nothing ever wrote to it */
    "CREATE TABLE audit("
    " number INTEGER PRIMARY KEY, account INTEGER NOT NULL, actor_kind TEXT NOT NULL,"
    " actor TEXT NOT NULL, action TEXT NOT NULL, object TEXT NOT NULL, detail TEXT NOT NULL,"
    " at_ms INTEGER NOT NULL, address TEXT NOT NULL, request_id TEXT NOT NULL,"
    " hash BLOB NOT NULL) STRICT;"
    "CREATE INDEX audit_of_account ON audit(account, number);"
    "CREATE TRIGGER audit_rows_stay BEFORE DELETE ON audit BEGIN"
    " SELECT RAISE(ABORT, 'the audit log is only added to'); END;"
    "CREATE TRIGGER audit_rows_never_change BEFORE UPDATE ON audit BEGIN"
    " SELECT RAISE(ABORT, 'the audit log is only added to'); END;";

/* Format 4: whose the external ids of streams are. */
static const char schema_4[] =
    "CREATE TABLE external_ids("
    " external_id TEXT PRIMARY KEY, account INTEGER NOT NULL REFERENCES accounts(number)"
    ") STRICT, WITHOUT ROWID;";

/* Format 5: the audit log may lose rows at its beginning, up to a base that it goes on from. */
static const char schema_5[] =
    "CREATE TABLE audit_base("
    " only INTEGER PRIMARY KEY CHECK(only = 1), number INTEGER NOT NULL, hash BLOB NOT NULL"
    ") STRICT;"
    "DROP TRIGGER audit_rows_stay;"
    "CREATE TRIGGER audit_rows_stay BEFORE DELETE ON audit"
    " WHEN OLD.number > coalesce((SELECT number FROM audit_base), 0) BEGIN"
    " SELECT RAISE(ABORT, 'the audit log is only added to'); END;";

/* steps[n] leads from format n to n + 1. */
static const char *const steps[STORE_FORMAT] = {schema_1, schema_2, schema_3, schema_4, schema_5};

static mr_err map_error(int rc) {
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return MR_OK;
    case SQLITE_FULL:
        return MR_ERR(MR_E_NO_SPACE);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return MR_ERR(MR_E_BUSY);
    case SQLITE_NOMEM:
        return MR_ERR(MR_E_NOMEM);
    case SQLITE_CONSTRAINT:
        return MR_ERR(MR_E_EXISTS);
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return MR_ERR(MR_E_IO);
    default:
        return MR_ERR(MR_E_FAILED);
    }
}

/* Logged where it happened: behind it only the refusal is seen. */
static mr_err fail(struct store *store, int rc, const char *what) {
    mr_err err = map_error(rc);
    if (mr_is_err(err) && !mr_err_is(err, MR_E_EXISTS)) {
        mr_error(store->log, "store_error", mr_kv_c("during", what),
                 mr_kv_c("reason", sqlite3_errstr(rc)), mr_kv_i64("code", rc));
    }
    return err;
}

static mr_err run_text(struct store *store, const char *sql, const char *what) {
    return fail(store, sqlite3_exec(store->db, sql, NULL, NULL, NULL), what);
}

static mr_err read_number(struct store *store, const char *sql, int64_t *ret_n) {
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
    }
    if (rc == SQLITE_ROW) {
        *ret_n = sqlite3_column_int64(stmt, 0);
    }
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW ? MR_OK : fail(store, rc, "reading the format");
}

/* All or nothing: a file that was cut off has the format that it had. */
static mr_err bring_up_to_date(struct store *store, int64_t format) {
    MR_TRY(store_begin(store));
    mr_err err = MR_OK;
    for (int64_t i = format; i < STORE_FORMAT && mr_is_ok(err); i++) {
        err = run_text(store, steps[i], "making the tables");
    }
    if (mr_is_ok(err)) {
        char pragmas[128];
        (void)sqlite3_snprintf(sizeof pragmas, pragmas,
                               "PRAGMA user_version=%d;PRAGMA application_id=%d;", STORE_FORMAT,
                               APPLICATION_ID);
        err = run_text(store, pragmas, "setting the format");
    }
    if (mr_is_err(err)) {
        store_rollback(store);
        return err;
    }
    MR_TRY(store_commit(store));
    if (format > 0) {
        mr_info(store->log, "store_upgraded", mr_kv_i64("from", format),
                mr_kv_i64("to", STORE_FORMAT));
    }
    return MR_OK;
}

static mr_err check_format(struct store *store) {
    int64_t format = 0;
    int64_t n_tables = 0;
    MR_TRY(read_number(store, "PRAGMA user_version", &format));
    if (format > STORE_FORMAT) {
        return MR_ERR(CONTROL_E_NEWER);
    }
    if (format == STORE_FORMAT) {
        return MR_OK;
    }
    MR_TRY(read_number(store, "SELECT count(*) FROM sqlite_schema", &n_tables));
    /* Format 0 with tables is somebody else's database. */
    return (format == 0) == (n_tables == 0) ? bring_up_to_date(store, format)
                                            : MR_ERR(MR_E_INVALID);
}

mr_err store_open(struct store *store, const char *path, bool must_exist, uint32_t page_count_max,
                  const struct mr_log *log) {
    *store = (struct store){.log = log};
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW |
                (must_exist ? 0 : SQLITE_OPEN_CREATE) | SQLITE_OPEN_EXRESCODE;
    int rc = sqlite3_open_v2(path, &store->db, flags, NULL);
    if (rc != SQLITE_OK) {
        store_close(store);
        return (rc & 0xff) == SQLITE_CANTOPEN && must_exist ? MR_ERR(MR_E_NOT_FOUND)
                                                            : map_error(rc);
    }
    sqlite3_busy_timeout(store->db, BUSY_TIMEOUT_MS);
    mr_err err = run_text(store,
                          "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA foreign_keys=ON;"
                          "PRAGMA trusted_schema=OFF;PRAGMA secure_delete=ON;",
                          "opening");
    if (mr_is_ok(err)) {
        err = check_format(store);
    }
    if (mr_is_ok(err) && page_count_max > 0) {
        char pragma[64];
        (void)sqlite3_snprintf(sizeof pragma, pragma, "PRAGMA max_page_count=%u", page_count_max);
        err = run_text(store, pragma, "limiting the size");
    }
    if (mr_is_err(err)) {
        store_close(store);
    }
    return err;
}

void store_close(struct store *store) {
    for (size_t i = 0; i < store->n_statements; i++) {
        sqlite3_finalize(store->statements[i].stmt);
    }
    store->n_statements = 0;
    int rc = sqlite3_close(store->db);
    MR_ASSERT(rc == SQLITE_OK);
    store->db = NULL;
}

/* ---- transactions ---- */

static mr_err begin(struct store *store, const char *outermost) {
    if (store->depth > 0 && sqlite3_get_autocommit(store->db)) {
        return MR_ERR(MR_E_IO); /* SQLite gave the transaction up */
    }
    mr_err err = store->depth == 0 ? run_text(store, outermost, "begin")
                                   : run_text(store, "SAVEPOINT inner", "savepoint");
    if (mr_is_ok(err)) {
        store->depth++;
    }
    return err;
}

mr_err store_begin(struct store *store) {
    return begin(store, "BEGIN IMMEDIATE");
}

mr_err store_begin_reading(struct store *store) {
    return begin(store, "BEGIN");
}

mr_err store_commit(struct store *store) {
    MR_ASSERT(store->depth > 0);
    if (store->depth > 1) {
        mr_err err = run_text(store, "RELEASE inner", "release");
        if (mr_is_ok(err)) {
            store->depth--;
        } else {
            store_rollback(store);
        }
        return err;
    }
    mr_err err =
        sqlite3_get_autocommit(store->db) ? MR_ERR(MR_E_IO) : run_text(store, "COMMIT", "commit");
    if (mr_is_err(err)) {
        store_rollback(store);
        return err;
    }
    store->depth = 0;
    return MR_OK;
}

void store_rollback(struct store *store) {
    MR_ASSERT(store->depth > 0);
    store->depth--;
    if (sqlite3_get_autocommit(store->db)) {
        return; /* SQLite rolled back by itself */
    }
    const char *sql = store->depth == 0 ? "ROLLBACK" : "ROLLBACK TO inner;RELEASE inner";
    mr_ignore(run_text(store, sql, "rollback"), "the connection rolls back when it is used again");
}

/* ---- queries ---- */

static mr_err prepare(struct store *store, const char *sql, sqlite3_stmt **ret_stmt) {
    for (size_t i = 0; i < store->n_statements; i++) {
        if (store->statements[i].sql == sql) {
            *ret_stmt = store->statements[i].stmt;
            return MR_OK;
        }
    }
    MR_ASSERT(store->n_statements < STORE_STATEMENTS_MAX);
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    if (rc != SQLITE_OK) {
        return fail(store, rc, sql);
    }
    store->statements[store->n_statements++] = (struct store_statement){.sql = sql, .stmt = stmt};
    *ret_stmt = stmt;
    return MR_OK;
}

struct query query_begin(struct store *store, const char *sql) {
    struct query query = {.store = store};
    /* Inside a transaction that SQLite gave up, nothing may run: it would commit by itself. */
    if (store->depth > 0 && sqlite3_get_autocommit(store->db)) {
        query.err = MR_ERR(MR_E_IO);
    } else {
        query.err = prepare(store, sql, &query.stmt);
    }
    return query;
}

static bool is_sound(const struct query *query) {
    return mr_is_ok(query->err);
}

static void bound(struct query *query, int rc) {
    if (rc != SQLITE_OK) {
        query->err = fail(query->store, rc, "bind");
    }
}

void query_i64(struct query *query, int64_t n) {
    if (is_sound(query)) {
        bound(query, sqlite3_bind_int64(query->stmt, ++query->bound, n));
    }
}

void query_text(struct query *query, mr_str text) {
    if (is_sound(query)) {
        bound(query, sqlite3_bind_text64(query->stmt, ++query->bound, text.ptr, text.len,
                                         SQLITE_STATIC, SQLITE_UTF8));
    }
}

void query_blob(struct query *query, mr_str bytes) {
    if (is_sound(query)) {
        bound(query, sqlite3_bind_blob64(query->stmt, ++query->bound, bytes.ptr, bytes.len,
                                         SQLITE_STATIC));
    }
}

void query_null(struct query *query) {
    if (is_sound(query)) {
        bound(query, sqlite3_bind_null(query->stmt, ++query->bound));
    }
}

bool query_row(struct query *query) {
    if (!is_sound(query)) {
        return false;
    }
    int rc = sqlite3_step(query->stmt);
    if (rc == SQLITE_ROW) {
        return true;
    }
    if (rc != SQLITE_DONE) {
        query->err = fail(query->store, rc, sqlite3_sql(query->stmt));
    }
    return false;
}

int64_t query_col_i64(struct query *query, int column) {
    return sqlite3_column_int64(query->stmt, column);
}

bool query_col_is_null(struct query *query, int column) {
    return sqlite3_column_type(query->stmt, column) == SQLITE_NULL;
}

mr_str query_col_bytes(struct query *query, int column) {
    if (query_col_is_null(query, column)) {
        return MR_STR_NONE;
    }
    const char *at = sqlite3_column_blob(query->stmt, column);
    int n = sqlite3_column_bytes(query->stmt, column);
    return mr_str_of(at != NULL ? at : "", (size_t)n);
}

mr_str query_col_text(struct query *query, int column, mr_arena *arena) {
    mr_str text = query_col_bytes(query, column);
    if (mr_str_is_absent(text)) {
        return MR_STR_NONE;
    }
    mr_str copy = mr_arena_str(arena, text);
    if (mr_str_is_absent(copy)) {
        query->err = MR_ERR(MR_E_NOMEM);
    }
    return copy;
}

mr_err query_end(struct query *query) {
    if (query->stmt != NULL) {
        /* Its error is the one that step has told already. */
        (void)sqlite3_reset(query->stmt);
        (void)sqlite3_clear_bindings(query->stmt);
        query->stmt = NULL;
    }
    return query->err;
}

mr_err query_run(struct query *query) {
    while (query_row(query)) {
    }
    return query_end(query);
}

int64_t store_changes(struct store *store) {
    return sqlite3_changes64(store->db);
}
