/* Private to control/: the SQLite database. One connection, one thread; statements are prepared
 * once and kept. Errors come as mr_err and stick to a query until query_end, so that the code
 * between reads straight on. */
#ifndef MR_CONTROL_STORE_H
#define MR_CONTROL_STORE_H

#include "base/arena.h"
#include "base/log.h"
#include "base/str.h"

#include <sqlite3.h>

#define STORE_STATEMENTS_MAX 384
#define STORE_FORMAT         5 /* user_version of the database: the number of steps in store.c */

struct store_statement {
    const char *sql; /* the literal's address is its name */
    sqlite3_stmt *stmt;
};

struct store {
    sqlite3 *db;
    const struct mr_log *log;
    uint32_t depth; /* of open transactions and savepoints */
    size_t n_statements;
    struct store_statement statements[STORE_STATEMENTS_MAX];
};

/* Opens path; must_exist: MR_E_NOT_FOUND where it is missing. WAL, synchronous FULL, foreign keys
 * on. page_count_max 0: SQLite's. MR_E_BUSY, MR_E_IO, MR_E_NO_SPACE, MR_E_NOMEM; CONTROL_E_NEWER.
 * Tables are made where the file is new, and brought up to date where its format is older. */
mr_err store_open(struct store *store, const char *path, bool must_exist, uint32_t page_count_max,
                  const struct mr_log *log);
void store_close(struct store *store);

/* Nested: the outermost is a transaction, inner ones are savepoints. */
mr_err store_begin(struct store *store);
/* For what only reads: waits for nobody, and goes on where the store cannot be written. A write in
 * it does not wait for another process's lock. */
mr_err store_begin_reading(struct store *store);
/* MR_E_NO_SPACE, MR_E_BUSY, MR_E_IO; then everything is rolled back. */
mr_err store_commit(struct store *store);
void store_rollback(struct store *store);

/* One run of a statement. */
struct query {
    struct store *store;
    sqlite3_stmt *stmt;
    int bound; /* parameters so far */
    mr_err err;
};

/* sql is a literal. */
struct query query_begin(struct store *store, const char *sql);
/* Bind the next parameter. Texts and blobs must live until query_end. */
void query_i64(struct query *query, int64_t n);
void query_text(struct query *query, mr_str text);  /* absent: NULL */
void query_blob(struct query *query, mr_str bytes); /* absent: NULL */
void query_null(struct query *query);
/* True: a row. False: no more, or an error that query_end tells. */
bool query_row(struct query *query);
/* Columns of the row, from 0. */
int64_t query_col_i64(struct query *query, int column);
bool query_col_is_null(struct query *query, int column);
/* Valid until the next query_row or query_end; absent for NULL. */
mr_str query_col_bytes(struct query *query, int column);
/* A copy in arena; out of memory sticks to the query. */
mr_str query_col_text(struct query *query, int column, mr_arena *arena);
/* Gives the statement back. The first error. MR_E_EXISTS for a broken UNIQUE. */
mr_err query_end(struct query *query);
/* Runs to the end without rows, then query_end. */
mr_err query_run(struct query *query);

/* Rows changed by the last statement. */
int64_t store_changes(struct store *store);

#endif
