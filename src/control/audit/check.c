/* See control/audit/check.h.
 *
 * A row is compared with what its own hash says, computed over the hash stored in the row before:
 * so one changed row is one finding, not one for each row behind it. Numbers must go up by one.
 * What this cannot see, a tail that was cut off or made anew with right hashes, the heads in the
 * journal show: each of them must be a row of the log, or have left it by retention.c. */
#include "control/audit/check.h"

#include "base/mem.h"
#include "control/audit/chain.h"
#include "control/store.h"

#include <stdio.h>

#define TEXT_SIZE 256

struct lost {
    uint64_t n; /* heads */
    uint64_t number;
    uint64_t pos;
};

struct audit_check {
    sqlite3 *db;
    sqlite3_stmt *find; /* NULL: the log has no chain */
    struct crypto_hasher *hasher;
    struct record_audit base; /* the last row that retention removed; number 0: none */
    struct lost missing;      /* the highest number of which no row is there */
    struct lost other;        /* the lowest number of which the row has another hash */
};

static bool has_chain(sqlite3 *db) {
    sqlite3_stmt *stmt = NULL;
    bool has =
        sqlite3_prepare_v2(db, "SELECT 1 FROM pragma_table_info('audit') WHERE name = 'hash'", -1,
                           &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW;
    sqlite3_finalize(stmt);
    return has;
}

/* Formats before 5 have no such table: nothing was removed. */
static void read_base(struct audit_check *check) {
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(check->db, "SELECT number, hash FROM audit_base", -1, &stmt, NULL) ==
            SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW &&
        sqlite3_column_bytes(stmt, 1) == sizeof check->base.hash) {
        check->base.number = (uint64_t)sqlite3_column_int64(stmt, 0);
        memcpy(check->base.hash, sqlite3_column_blob(stmt, 1), sizeof check->base.hash);
    }
    sqlite3_finalize(stmt);
}

mr_err audit_check_open(const char *path, struct audit_check **ret_check) {
    struct audit_check *check = MR_NEW(struct audit_check);
    if (check == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    mr_err err = crypto_hasher_new(&check->hasher);
    if (mr_is_ok(err) && sqlite3_open_v2(path, &check->db, flags, NULL) != SQLITE_OK) {
        err = MR_ERR(MR_E_IO);
    }
    if (mr_is_ok(err) && has_chain(check->db) &&
        sqlite3_prepare_v2(check->db, "SELECT hash FROM audit WHERE number = ?1", -1, &check->find,
                           NULL) != SQLITE_OK) {
        err = MR_ERR(MR_E_IO);
    }
    if (mr_is_err(err)) {
        audit_check_close(check);
        return err;
    }
    read_base(check);
    *ret_check = check;
    return MR_OK;
}

void audit_check_close(struct audit_check *check) {
    if (check == NULL) {
        return;
    }
    sqlite3_finalize(check->find);
    (void)sqlite3_close(check->db);
    crypto_hasher_free(check->hasher);
    mr_free(check);
}

/* ---- the chain ---- */

static mr_str text_of(sqlite3_stmt *stmt, int column) {
    const void *at = sqlite3_column_blob(stmt, column);
    return mr_str_of(at != NULL ? at : "", (size_t)sqlite3_column_bytes(stmt, column));
}

static void say_gap(int64_t expected, int64_t number, char text[static TEXT_SIZE]) {
    if (number == expected + 1) {
        (void)snprintf(text, TEXT_SIZE, "row %lld of the audit log is missing",
                       (long long)expected);
    } else {
        (void)snprintf(text, TEXT_SIZE, "rows %lld to %lld of the audit log are missing",
                       (long long)expected, (long long)number - 1);
    }
}

/* What is wrong with the row, or an empty text. hash: of the row before, in; of this one, out. */
static mr_err judge_row(struct audit_check *check, sqlite3_stmt *stmt, int64_t expected,
                        uint8_t hash[static CRYPTO_SHA256_BYTES], char text[static TEXT_SIZE]) {
    const struct audit_row row = {
        .number = sqlite3_column_int64(stmt, 0),
        .at_ms = sqlite3_column_int64(stmt, 1),
        .account = sqlite3_column_int64(stmt, 2),
        .actor_kind = text_of(stmt, 3),
        .actor = text_of(stmt, 4),
        .action = text_of(stmt, 5),
        .object = text_of(stmt, 6),
        .detail = text_of(stmt, 7),
        .address = text_of(stmt, 8),
        .request_id = text_of(stmt, 9),
    };
    mr_str stored = text_of(stmt, 10);
    text[0] = '\0';
    MR_TRY(audit_chain(check->hasher, &row, hash));
    if (row.number != expected) {
        say_gap(expected, row.number, text);
    } else if (stored.len != CRYPTO_SHA256_BYTES ||
               memcmp(stored.ptr, hash, CRYPTO_SHA256_BYTES) != 0) {
        (void)snprintf(text, TEXT_SIZE,
                       "row %lld of the audit log is not what its hash says: it, or the row before "
                       "it, was changed, put in or taken out",
                       (long long)row.number);
    }
    if (stored.len == CRYPTO_SHA256_BYTES) {
        memcpy(hash, stored.ptr, CRYPTO_SHA256_BYTES);
    }
    return MR_OK;
}

/* The newest row that tells of a removal must name the base: what else was cut off at the beginning
 * was cut off by somebody. */
static void judge_base(struct audit_check *check, void (*on_finding)(void *ctx, const char *what),
                       void *ctx) {
    static const char newest[] = "SELECT detail FROM audit WHERE action = '" AUDIT_TRIM_ACTION
                                 "' AND actor_kind = 'system' ORDER BY number DESC LIMIT 1";
    char expected[AUDIT_TRIM_SIZE] = "";
    char text[TEXT_SIZE];
    sqlite3_stmt *stmt = NULL;
    if (check->base.number > 0) {
        (void)audit_trim_detail(&check->base, expected);
    }
    mr_str told = MR_STR("");
    if (sqlite3_prepare_v2(check->db, newest, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        told = text_of(stmt, 0);
    }
    if (!mr_str_eq(told, mr_str_c(expected))) {
        (void)snprintf(text, sizeof text,
                       "the audit log begins behind row %llu, which is not what its last %s row "
                       "tells: rows were cut off at its beginning",
                       (unsigned long long)check->base.number, AUDIT_TRIM_ACTION);
        on_finding(ctx, text);
    }
    sqlite3_finalize(stmt);
}

mr_err audit_check_chain(struct audit_check *check, void (*on_finding)(void *ctx, const char *what),
                         void *ctx, uint64_t *ret_rows) {
    uint8_t hash[CRYPTO_SHA256_BYTES];
    char text[TEXT_SIZE];
    int64_t expected = (int64_t)check->base.number + 1;
    memcpy(hash, check->base.hash, sizeof hash);
    sqlite3_stmt *stmt = NULL;
    *ret_rows = 0;
    if (check->find == NULL) {
        return MR_OK;
    }
    judge_base(check, on_finding, ctx);
    int rc = sqlite3_prepare_v2(
        check->db,
        "SELECT number, at_ms, account, actor_kind, actor, action, object, detail, address,"
        " request_id, hash FROM audit ORDER BY number",
        -1, &stmt, NULL);
    mr_err err = rc == SQLITE_OK ? MR_OK : MR_ERR(MR_E_IO);
    while (mr_is_ok(err) && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        err = judge_row(check, stmt, expected, hash, text);
        if (mr_is_ok(err) && text[0] != '\0') {
            on_finding(ctx, text);
        }
        expected = sqlite3_column_int64(stmt, 0) + 1;
        (*ret_rows)++;
    }
    if (mr_is_ok(err) && (rc & 0xff) == SQLITE_CORRUPT) {
        on_finding(ctx, "the audit log cannot be read to its end");
    } else if (mr_is_ok(err) && rc != SQLITE_DONE) {
        err = MR_ERR(MR_E_IO);
    }
    sqlite3_finalize(stmt);
    return err;
}

/* ---- heads ---- */

enum head_verdict { HEAD_THERE = 0, HEAD_MISSING, HEAD_OTHER };

static enum head_verdict look_up(struct audit_check *check, const struct record_audit *head) {
    if (check->find == NULL) {
        return HEAD_MISSING;
    }
    if (head->number < check->base.number) {
        return HEAD_THERE; /* it left; what came after it vouches for the base */
    }
    if (head->number == check->base.number) {
        return memcmp(head->hash, check->base.hash, sizeof head->hash) == 0 ? HEAD_THERE
                                                                            : HEAD_OTHER;
    }
    enum head_verdict verdict = HEAD_MISSING;
    (void)sqlite3_bind_int64(check->find, 1, (int64_t)head->number);
    if (sqlite3_step(check->find) == SQLITE_ROW) {
        mr_str hash = text_of(check->find, 0);
        verdict = hash.len == sizeof head->hash && memcmp(hash.ptr, head->hash, hash.len) == 0
                      ? HEAD_THERE
                      : HEAD_OTHER;
    }
    (void)sqlite3_reset(check->find);
    return verdict;
}

void audit_check_head(struct audit_check *check, uint64_t pos, const struct record_audit *head) {
    switch (look_up(check, head)) {
    case HEAD_THERE:
        break;
    case HEAD_MISSING:
        if (check->missing.n++ == 0 || head->number > check->missing.number) {
            check->missing.number = head->number;
            check->missing.pos = pos;
        }
        break;
    case HEAD_OTHER:
        if (check->other.n++ == 0 || head->number < check->other.number) {
            check->other.number = head->number;
            check->other.pos = pos;
        }
        break;
    }
}

void audit_check_heads(struct audit_check *check, void (*on_finding)(void *ctx, const char *what),
                       void *ctx) {
    char text[TEXT_SIZE];
    if (check->missing.n > 0) {
        (void)snprintf(text, sizeof text,
                       "the audit log lacks its row %llu, which the journal names at position "
                       "%llu: rows were cut off, or an older copy was put in its place",
                       (unsigned long long)check->missing.number,
                       (unsigned long long)check->missing.pos);
        on_finding(ctx, text);
    }
    if (check->other.n > 0) {
        (void)snprintf(text, sizeof text,
                       "row %llu of the audit log is another than the journal names at position "
                       "%llu: the log was written anew, or an older copy went on from there",
                       (unsigned long long)check->other.number,
                       (unsigned long long)check->other.pos);
        on_finding(ctx, text);
    }
}
