/* The sealed columns, and sealing them anew. See sealed.h. */
#include "control/store/sealed.h"

#include "control/private.h"

#include <stdio.h>

/* A mail's text with its subject and all else of it is far below; SQLite's rows are not bounded. */
#define BOX_BYTES_MAX  ((size_t)1 << 20)
#define FIRST_NUMBER   INT64_MIN
#define ROW_TEXT_BYTES 256

/* X(table, its key, whether that is a number, column, its name in the boxes' places, whether other
 * values stand there too) */
#define COLUMNS(X)                                                                                 \
    X("meta", "key", false, "value", "value", true)                                                \
    X("signing_keys", "kid", false, "private_sealed", "private_sealed", false)                     \
    X("secrets", "id", false, "value_sealed", "value_sealed", false)                               \
    X("destinations", "number", true, "private_sealed", "private_sealed", false)                   \
    X("destinations", "number", true, "signing_sealed", "signing_sealed", false)                   \
    X("users", "id", false, "totp_sealed", "totp_sealed", false)                                   \
    X("mails", "number", true, "text_sealed", "text", false)

#define COLUMN(table, key, has_numbers, column, place, has_plain)                                  \
    {table,                                                                                        \
     column,                                                                                       \
     place,                                                                                        \
     has_numbers,                                                                                  \
     has_plain,                                                                                    \
     "SELECT " key ", " column " FROM " table " WHERE " column " IS NOT NULL AND " key             \
     " > ?1 ORDER BY " key " LIMIT 1",                                                             \
     "UPDATE " table " SET " column " = ?1 WHERE " key " = ?2"},

static const struct sealed_column columns[] = {COLUMNS(COLUMN)};

const struct sealed_column *sealed_columns(size_t *ret_n) {
    *ret_n = sizeof columns / sizeof columns[0];
    return columns;
}

/* The row that is at hand, and its box. */
struct row {
    int64_t number;           /* where the key is one */
    char key[ROW_TEXT_BYTES]; /* as text, NUL-terminated */
    mr_buf box;
};

/* The row behind *row, into it. */
static mr_err next_row(struct control *control, const struct sealed_column *column, struct row *row,
                       bool *ret_found) {
    struct query query = query_begin(&control->store, column->select);
    char before[ROW_TEXT_BYTES];
    memcpy(before, row->key, sizeof before);
    if (column->has_numbers) {
        query_i64(&query, row->number);
    } else {
        query_text(&query, mr_str_c(before));
    }
    mr_err err = MR_OK;
    *ret_found = false;
    while (mr_is_ok(err) && query_row(&query)) {
        row->number = column->has_numbers ? query_col_i64(&query, 0) : 0;
        mr_buf_reset(&row->box);
        err = mr_buf_str(&row->box, query_col_bytes(&query, 1));
        if (!mr_str_to_c(query_col_bytes(&query, 0), row->key, sizeof row->key)) {
            err = MR_ERR(MR_E_INVALID);
        }
        *ret_found = true;
    }
    mr_err ended = query_end(&query);
    return mr_is_err(ended) ? ended : err;
}

static mr_err renew_row(struct control *control, const struct sealer *to,
                        const struct sealed_column *column, const struct row *row, mr_buf *box,
                        struct refusal *ret_refusal) {
    struct seal_place place = {.table = mr_str_c(column->table),
                               .row = mr_str_c(row->key),
                               .column = mr_str_c(column->place)};
    mr_secret value = MR_SECRET_NONE;
    mr_err err = seal_open(control->sealer, &place, mr_buf_view(&row->box), &value);
    if (mr_err_is(err, SEAL_E_OTHER_KEY) || mr_err_is(err, SEAL_E_TAMPERED)) {
        return refuse(
            ret_refusal, REFUSAL_UNAVAILABLE,
            "The value %s.%s of %s does not open with the present master key: it was "
            "changed, or comes from elsewhere. Nothing was rotated; delete the object, or "
            "bring a backup back.",
            column->table, column->column, row->key);
    }
    MR_TRY(err);
    mr_buf_reset(box);
    err = seal_close(to, &place, mr_secret_reveal(value), box);
    mr_secret_unref(&value);
    MR_TRY(err);
    struct query query = query_begin(&control->store, column->update);
    query_blob(&query, mr_buf_view(box));
    if (column->has_numbers) {
        query_i64(&query, row->number);
    } else {
        query_text(&query, mr_str_c(row->key));
    }
    return query_run(&query);
}

static mr_err renew_column(struct control *control, const struct sealer *to,
                           const struct sealed_column *column, uint32_t *n,
                           struct refusal *ret_refusal) {
    struct row row = {.number = FIRST_NUMBER};
    mr_buf box;
    bool found = true;
    mr_err err = MR_OK;
    mr_buf_init(&row.box, BOX_BYTES_MAX);
    mr_buf_init(&box, BOX_BYTES_MAX);
    while (mr_is_ok(err) && found) {
        err = next_row(control, column, &row, &found);
        bool is_plain = column->has_plain && !seal_is_box(control->sealer, mr_buf_view(&row.box));
        if (mr_is_ok(err) && found && !is_plain) {
            err = renew_row(control, to, column, &row, &box, ret_refusal);
            *n += mr_is_ok(err);
        }
    }
    mr_buf_done(&row.box);
    mr_buf_done(&box);
    return err;
}

mr_err sealed_renew(struct control *control, const struct sealer *to, uint32_t *ret_n,
                    struct refusal *ret_refusal) {
    uint32_t n = 0;
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        MR_TRY(renew_column(control, to, &columns[i], &n, ret_refusal));
    }
    *ret_n = n;
    return MR_OK;
}
