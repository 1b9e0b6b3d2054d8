/* The database looked over without changing it, for `millrace check`: SQLite's own integrity check
 * (pages, trees, indexes against tables, types of STRICT columns, constraints) and the foreign
 * keys. Pages of SQLite carry no checksums: a flipped bit inside a value that no index and no
 * constraint covers is not found; sealed values find it when they are opened. */
#include "control/control.h"

#include "base/num.h"
#include "control/store.h"

#include <sqlite3.h>
#include <stdio.h>

#define FINDINGS_MAX "100"

struct looked {
    void (*on_finding)(void *ctx, const char *what);
    void *ctx;
};

static int on_integrity(void *arg, int n, char **values, char **names) {
    const struct looked *looked = arg;
    (void)names;
    if (n > 0 && values[0] != NULL && strcmp(values[0], "ok") != 0) {
        looked->on_finding(looked->ctx, values[0]);
    }
    return 0;
}

static int on_foreign_key(void *arg, int n, char **values, char **names) {
    const struct looked *looked = arg;
    char text[256];
    (void)names;
    if (n >= 3) {
        (void)snprintf(text, sizeof text, "row %s of %s names a row of %s that is not there",
                       values[1] != NULL ? values[1] : "?", values[0], values[2]);
        looked->on_finding(looked->ctx, text);
    }
    return 0;
}

/* What SQLite refuses to read is a finding; that it cannot be opened at all is an error. */
static mr_err tell(const struct looked *looked, sqlite3 *db, int rc) {
    switch (rc & 0xff) {
    case SQLITE_OK:
        return MR_OK;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR: /* no such table and the like: the schema is damaged */
        looked->on_finding(looked->ctx, sqlite3_errmsg(db));
        return MR_OK;
    case SQLITE_NOMEM:
        return MR_ERR(MR_E_NOMEM);
    case SQLITE_BUSY:
        return MR_ERR(MR_E_BUSY);
    default:
        return MR_ERR(MR_E_IO);
    }
}

static int on_format(void *arg, int n, char **values, char **names) {
    uint64_t *format = arg;
    (void)names;
    if (n > 0 && values[0] != NULL) {
        mr_ignore(mr_u64_parse(mr_str_c(values[0]), 0, INT32_MAX, format),
                  "a negative one is no newer format; opening the store refuses it");
    }
    return 0;
}

mr_err control_check(const char *path, void (*on_finding)(void *ctx, const char *what), void *ctx) {
    struct looked looked = {on_finding, ctx};
    sqlite3 *db = NULL;
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    int rc = sqlite3_open_v2(path, &db, flags, NULL);
    uint64_t format = 0;
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(db, "PRAGMA user_version", on_format, &format, NULL);
    }
    if (rc == SQLITE_OK && format > STORE_FORMAT) {
        (void)sqlite3_close(db);
        return MR_ERR(CONTROL_E_NEWER);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(db, "PRAGMA integrity_check(" FINDINGS_MAX ")", on_integrity, &looked,
                          NULL);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(db, "PRAGMA foreign_key_check", on_foreign_key, &looked, NULL);
    }
    mr_err err = tell(&looked, db, rc);
    (void)sqlite3_close(db);
    return err;
}
