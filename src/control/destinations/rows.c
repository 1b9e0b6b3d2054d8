/* Rows of destinations as the API shows them, one and in lists, and their sealed columns.
 *
 * A box is bound to table, row and column, so that none opens in another's place. */
#include "control/destinations/parts.h"

#include "base/num.h"

/* ---- reading rows ---- */

#define VIEW_COLUMNS                                                                               \
    "d.number, d.id, a.id, d.name, d.description, d.kind, d.settings, d.status, d.disabled_by,"    \
    " d.last_test, d.metadata, d.created_ms, d.updated_ms, d.disabled_ms, d.version"
#define VIEW_FROM " FROM destinations d JOIN accounts a ON a.number = d.account"

static void read_view(struct query *query, mr_arena *arena, struct destination_view *view) {
    *view = (struct destination_view){
        .number = (uint32_t)query_col_i64(query, 0),
        .id = query_col_text(query, 1, arena),
        .account_id = query_col_text(query, 2, arena),
        .name = query_col_text(query, 3, arena),
        .description = query_col_text(query, 4, arena),
        .kind = (enum model_destination_kind)query_col_i64(query, 5),
        .settings_json = query_col_text(query, 6, arena),
        .status = (enum model_destination_status)query_col_i64(query, 7),
        .disabled_by = (enum model_disabled_by)query_col_i64(query, 8),
        .last_test_json = query_col_text(query, 9, arena),
        .metadata_json = query_col_text(query, 10, arena),
        .created_ms = query_col_i64(query, 11),
        .updated_ms = query_col_i64(query, 12),
        .disabled_ms = query_col_i64(query, 13),
        .version = (uint32_t)query_col_i64(query, 14),
    };
}

/* The ids of the rules that lead to it. */
static mr_err read_rule_ids(struct control *control, mr_arena *arena,
                            struct destination_view *view) {
    struct query query =
        query_begin(&control->store, "SELECT count(*) FROM rules WHERE destination = ?1"
                                     " AND deleted_ms IS NULL");
    size_t n = 0;
    query_i64(&query, view->number);
    while (query_row(&query)) {
        n = (size_t)query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    mr_str *ids = mr_arena_calloc(arena, n + 1, sizeof *ids);
    if (ids == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    query = query_begin(&control->store, "SELECT id FROM rules WHERE destination = ?1"
                                         " AND deleted_ms IS NULL ORDER BY number");
    query_i64(&query, view->number);
    size_t at = 0;
    while (at < n && query_row(&query)) {
        ids[at++] = query_col_text(&query, 0, arena);
    }
    view->rule_ids = ids;
    view->n_rules = at;
    return query_end(&query);
}

mr_err destination_find(struct control *control, uint32_t account, mr_str id, mr_arena *arena,
                        struct destination_view *view, struct refusal *ret_refusal) {
    struct query query = query_begin(
        &control->store, "SELECT " VIEW_COLUMNS VIEW_FROM
                         " WHERE d.id = ?1 AND d.account = ?2 AND d.deleted_ms IS NULL");
    query_text(&query, id);
    query_i64(&query, account);
    bool found = query_row(&query);
    if (found) {
        read_view(&query, arena, view);
    }
    MR_TRY(query_end(&query));
    if (!found) {
        return refuse(ret_refusal, REFUSAL_NOT_FOUND, "There is no such destination.");
    }
    return read_rule_ids(control, arena, view);
}

/* ---- sealed columns ---- */

/* One sealed column of a row; {NULL} where it is NULL. row is the number as text. */
mr_err destination_box_open(struct control *control, struct query *query, int column,
                            uint32_t number, const char *name, mr_secret *ret_value) {
    mr_str box = query_col_bytes(query, column);
    if (mr_str_is_absent(box)) {
        *ret_value = MR_SECRET_NONE;
        return MR_OK;
    }
    char row[24];
    mr_buf text;
    mr_buf_init(&text, sizeof row);
    mr_err err = mr_buf_u64(&text, number);
    if (mr_is_ok(err)) {
        err = control_unseal(control, "destinations", mr_buf_view(&text), name, box, ret_value);
    }
    mr_buf_done(&text);
    return err;
}

mr_err destination_box_make(struct control *control, uint32_t number, const char *name,
                            mr_str plain, mr_buf *out) {
    mr_buf row;
    mr_buf_init(&row, 24);
    mr_err err = mr_buf_u64(&row, number);
    if (mr_is_ok(err)) {
        err = control_seal(control, "destinations", mr_buf_view(&row), name, plain, out);
    }
    mr_buf_done(&row);
    return err;
}

/* ---- get and list ---- */

mr_err destinations_get(struct control *control, uint32_t account, mr_str id, mr_arena *arena,
                        struct destination_view *ret_view, struct refusal *ret_refusal) {
    return refuse_error(
        control, destination_find(control, account, id, arena, ret_view, ret_refusal), ret_refusal);
}

static mr_err choose(mr_str text, const char *what, const char *const *names, int64_t n,
                     int64_t *ret_index, struct refusal *ret_refusal) {
    *ret_index = -1;
    if (mr_str_is_absent(text)) {
        return MR_OK;
    }
    for (int64_t i = 0; i < n; i++) {
        if (mr_str_eq(text, mr_str_c(names[i]))) {
            *ret_index = i;
            return MR_OK;
        }
    }
    return refuse(ret_refusal, REFUSAL_MALFORMED, "There is no destination %s \"%.*s\".", what,
                  (int)(text.len < 64 ? text.len : 64), text.ptr);
}

#define LIST_WHERE                                                                                 \
    " WHERE d.account = ?1 AND d.deleted_ms IS NULL AND (?2 < 0 OR d.status = ?2)"                 \
    " AND (?3 < 0 OR d.kind = ?3)"

static void bind_list(struct query *query, uint32_t account, int64_t status, int64_t kind) {
    query_i64(query, account);
    query_i64(query, status);
    query_i64(query, kind);
}

static mr_err read_rows(struct control *control, struct query *query, struct control_page page,
                        mr_arena *arena, struct destination_view **ret_rows, size_t *ret_n) {
    struct destination_view *rows = mr_arena_calloc(arena, page.size, sizeof *rows);
    size_t n = 0;
    while (rows != NULL && n < page.size && query_row(query)) {
        read_view(query, arena, &rows[n++]);
    }
    MR_TRY(query_end(query));
    if (rows == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    for (size_t i = 0; i < n; i++) {
        MR_TRY(read_rule_ids(control, arena, &rows[i]));
    }
    *ret_rows = rows;
    *ret_n = n;
    return MR_OK;
}

static mr_err list_inner(struct control *control, uint32_t account, mr_str status, mr_str kind,
                         struct control_page page, mr_arena *arena,
                         struct destination_view **ret_rows, size_t *ret_n, uint64_t *ret_count,
                         struct refusal *ret_refusal) {
    int64_t only_status = -1;
    int64_t only_kind = -1;
    MR_TRY(choose(status, "status", destination_status_names, DESTINATION_STATUSES, &only_status,
                  ret_refusal));
    MR_TRY(
        choose(kind, "kind", destination_kind_names, DESTINATION_KINDS, &only_kind, ret_refusal));
    struct query query =
        query_begin(&control->store, "SELECT count(*) FROM destinations d" LIST_WHERE);
    bind_list(&query, account, only_status, only_kind);
    while (query_row(&query)) {
        *ret_count = (uint64_t)query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    query = query_begin(&control->store, "SELECT " VIEW_COLUMNS VIEW_FROM LIST_WHERE
                                         " ORDER BY d.number LIMIT ?4 OFFSET ?5");
    bind_list(&query, account, only_status, only_kind);
    query_i64(&query, page.size);
    query_i64(&query, (int64_t)(page.number - 1) * page.size);
    return read_rows(control, &query, page, arena, ret_rows, ret_n);
}

mr_err destinations_list(struct control *control, uint32_t account, mr_str status, mr_str kind,
                         struct control_page page, mr_arena *arena,
                         struct destination_view **ret_rows, size_t *ret_n, uint64_t *ret_count,
                         struct refusal *ret_refusal) {
    return refuse_error(control,
                        list_inner(control, account, status, kind, page, arena, ret_rows, ret_n,
                                   ret_count, ret_refusal),
                        ret_refusal);
}
