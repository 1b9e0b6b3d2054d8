/* Streaming rules: rows, lists, changes. What judges bodies is rules/draft.c.
 *
 * A rule's row holds its event types as JSON, which is parsed once when the object for the snapshot
 * is made; matching reads the route index that is compiled from those objects.
 *
 * A change of a rule marks the rule and its account (whose route index changes) for the next
 * snapshot. Queued deliveries are not touched: they name rule and destination by number. */
#include "control/rules/parts.h"

#include "os/clock.h"

/* ---- rows ---- */

#define VIEW_COLUMNS                                                                               \
    "r.number, r.id, a.id, r.name, r.enabled, d.id, r.product_group, r.event_types, r.sampling,"   \
    " r.metadata, r.created_ms, r.updated_ms, r.version, r.filter"
#define VIEW_FROM                                                                                  \
    " FROM rules r JOIN accounts a ON a.number = r.account"                                        \
    " JOIN destinations d ON d.number = r.destination"

static mr_err read_view(struct query *query, mr_arena *arena, struct rule_view *view) {
    *view = (struct rule_view){
        .number = (uint32_t)query_col_i64(query, 0),
        .id = query_col_text(query, 1, arena),
        .account_id = query_col_text(query, 2, arena),
        .name = query_col_text(query, 3, arena),
        .is_enabled = query_col_i64(query, 4) != 0,
        .destination_id = query_col_text(query, 5, arena),
        .product_group = query_col_text(query, 6, arena),
        .sampling = (uint32_t)query_col_i64(query, 8),
        .metadata_json = query_col_text(query, 9, arena),
        .created_ms = query_col_i64(query, 10),
        .updated_ms = query_col_i64(query, 11),
        .version = (uint32_t)query_col_i64(query, 12),
        .filter_json = query_col_text(query, 13, arena),
    };
    return rule_types_read(query_col_bytes(query, 7), arena, &view->types, &view->n_types);
}

static mr_err find_view(struct control *control, uint32_t account, mr_str id, mr_arena *arena,
                        struct rule_view *view, struct refusal *ret_refusal) {
    struct query query = query_begin(
        &control->store, "SELECT " VIEW_COLUMNS VIEW_FROM
                         " WHERE r.id = ?1 AND r.account = ?2 AND r.deleted_ms IS NULL");
    query_text(&query, id);
    query_i64(&query, account);
    mr_err err = MR_OK;
    bool found = query_row(&query);
    if (found) {
        err = read_view(&query, arena, view);
    }
    MR_TRY(query_end(&query));
    return found ? err : refuse(ret_refusal, REFUSAL_NOT_FOUND, "There is no such streaming rule.");
}

/* Binds what INSERT and UPDATE share: name, enabled, destination, product_group, event_types,
 * sampling, metadata, now, filter. */
static void bind_draft(struct query *query, const struct rule_row *draft, mr_str types) {
    query_text(query, draft->name);
    query_i64(query, draft->is_enabled ? 1 : 0);
    query_i64(query, draft->destination);
    query_text(query, draft->product_group);
    query_text(query, types);
    query_i64(query, draft->sampling);
    query_text(query, draft->metadata);
    query_i64(query, mr_wall_ms(os_wall_now()));
    query_text(query, draft->filter);
}

/* Writes the row: a new one where number was just taken, else the change of it. */
static mr_err store_draft(struct control *control, const char *sql, uint32_t account,
                          uint32_t number, mr_str id, const struct rule_row *draft) {
    mr_buf types;
    json_out writer;
    mr_buf_init(&types, RULE_DOCUMENT_MAX);
    json_out_init(&writer, &types);
    rule_types_write(draft->types, draft->n_types, &writer);
    mr_err err = json_out_finish(&writer);
    if (mr_is_ok(err)) {
        struct query query = query_begin(&control->store, sql);
        bind_draft(&query, draft, mr_buf_view(&types));
        query_i64(&query, number);
        if (!mr_str_is_absent(id)) {
            query_text(&query, id);
            query_i64(&query, account);
        }
        err = query_run(&query);
    }
    mr_buf_done(&types);
    MR_TRY(err);
    MR_TRY(change_mark(control, MODEL_RULE, number));
    return change_mark(control, MODEL_ACCOUNT, account);
}

/* A row of the audit log: before NULL for a new rule, after NULL for a deleted one. */
static mr_err tell(struct control *control, uint32_t account, const char *action,
                   const struct rule_view *before, const struct rule_view *after) {
    const struct rule_view *shown = after != NULL ? after : before;
    struct audit_change change;
    MR_ASSERT(shown != NULL);
    audit_change_begin(&change);
    mr_err err = before == NULL ? MR_OK : rule_write_json(before, &change.before);
    if (mr_is_ok(err) && after != NULL) {
        err = rule_write_json(after, &change.after);
    }
    return audit_change_end(control, &change, err, account, action, shown->id);
}

static mr_err create_inner(struct control *control, uint32_t account, mr_str body, mr_arena *arena,
                           struct rule_view *ret_view, struct refusal *ret_refusal) {
    struct rule_row draft = {0};
    uint32_t number = 0;
    char id[CRYPTO_ID_SIZE];
    crypto_id_make(MR_STR("rul_"), os_wall_now(), id);
    MR_TRY(rule_row_read(control, account, body, arena, &draft, ret_refusal));
    MR_TRY(number_take(control, "rule", &number));
    MR_TRY(store_draft(control,
                       "INSERT INTO rules(name, enabled, destination, product_group, event_types,"
                       " sampling, metadata, version, created_ms, updated_ms, filter, number, id,"
                       " account)"
                       " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, ?8, ?8, ?9, ?10, ?11, ?12)",
                       account, number, mr_str_c(id), &draft));
    MR_TRY(find_view(control, account, mr_str_c(id), arena, ret_view, ret_refusal));
    return tell(control, account, "rule.create", NULL, ret_view);
}

mr_err rules_create(struct control *control, uint32_t account, mr_str body, mr_arena *arena,
                    struct rule_view *ret_view, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control, create_inner(control, account, body, arena, ret_view, ret_refusal),
                      ret_refusal);
}

mr_err rules_get(struct control *control, uint32_t account, mr_str id, mr_arena *arena,
                 struct rule_view *ret_view, struct refusal *ret_refusal) {
    return refuse_error(control, find_view(control, account, id, arena, ret_view, ret_refusal),
                        ret_refusal);
}

/* ---- list ---- */

#define LIST_WHERE                                                                                 \
    " WHERE r.account = ?1 AND r.deleted_ms IS NULL AND (?2 < 0 OR r.enabled = ?2)"                \
    " AND (?3 IS NULL OR d.id = ?3)"

static void bind_list(struct query *query, uint32_t account, int64_t enabled, mr_str destination) {
    query_i64(query, account);
    query_i64(query, enabled);
    query_text(query, destination);
}

static mr_err list_inner(struct control *control, uint32_t account, mr_str status,
                         mr_str destination_id, struct control_page page, mr_arena *arena,
                         struct rule_view **ret_rows, size_t *ret_n, uint64_t *ret_count,
                         struct refusal *ret_refusal) {
    int64_t enabled = -1;
    if (mr_str_eq(status, MR_STR("enabled"))) {
        enabled = 1;
    } else if (mr_str_eq(status, MR_STR("disabled"))) {
        enabled = 0;
    } else if (!mr_str_is_absent(status)) {
        return refuse(ret_refusal, REFUSAL_MALFORMED, "status must be enabled or disabled.");
    }
    struct query query = query_begin(&control->store, "SELECT count(*)" VIEW_FROM LIST_WHERE);
    bind_list(&query, account, enabled, destination_id);
    while (query_row(&query)) {
        *ret_count = (uint64_t)query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    struct rule_view *rows = mr_arena_calloc(arena, page.size, sizeof *rows);
    if (rows == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    query = query_begin(&control->store, "SELECT " VIEW_COLUMNS VIEW_FROM LIST_WHERE
                                         " ORDER BY r.number LIMIT ?4 OFFSET ?5");
    bind_list(&query, account, enabled, destination_id);
    query_i64(&query, page.size);
    query_i64(&query, (int64_t)(page.number - 1) * page.size);
    size_t n = 0;
    mr_err err = MR_OK;
    while (mr_is_ok(err) && n < page.size && query_row(&query)) {
        err = read_view(&query, arena, &rows[n++]);
    }
    mr_err ended = query_end(&query);
    *ret_rows = rows;
    *ret_n = n;
    return mr_is_err(err) ? err : ended;
}

mr_err rules_list(struct control *control, uint32_t account, mr_str status, mr_str destination_id,
                  struct control_page page, mr_arena *arena, struct rule_view **ret_rows,
                  size_t *ret_n, uint64_t *ret_count, struct refusal *ret_refusal) {
    return refuse_error(control,
                        list_inner(control, account, status, destination_id, page, arena, ret_rows,
                                   ret_n, ret_count, ret_refusal),
                        ret_refusal);
}

/* ---- change ---- */

static mr_err check_version(uint32_t if_version, uint32_t version, struct refusal *ret_refusal) {
    return if_version == 0 || if_version == version
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_PRECONDITION,
                        "The streaming rule was changed meanwhile.");
}

static mr_err patch_inner(struct control *control, uint32_t account, mr_str id, mr_str body,
                          uint32_t if_version, mr_arena *arena, struct rule_view *ret_view,
                          struct refusal *ret_refusal) {
    struct rule_view before;
    struct rule_row draft = {0};
    MR_TRY(find_view(control, account, id, arena, &before, ret_refusal));
    MR_TRY(check_version(if_version, before.version, ret_refusal));
    MR_TRY(rule_row_patch(control, account, &before, body, arena, &draft, ret_refusal));
    MR_TRY(store_draft(control,
                       "UPDATE rules SET name = ?1, enabled = ?2, destination = ?3,"
                       " product_group = ?4, event_types = ?5, sampling = ?6, metadata = ?7,"
                       " updated_ms = ?8, filter = ?9, version = version + 1 WHERE number = ?10",
                       account, before.number, MR_STR_NONE, &draft));
    MR_TRY(find_view(control, account, id, arena, ret_view, ret_refusal));
    return tell(control, account, "rule.change", &before, ret_view);
}

mr_err rules_patch(struct control *control, uint32_t account, mr_str id, mr_str body,
                   uint32_t if_version, mr_arena *arena, struct rule_view *ret_view,
                   struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(
        control, patch_inner(control, account, id, body, if_version, arena, ret_view, ret_refusal),
        ret_refusal);
}

/* ---- delete ---- */

static mr_err delete_inner(struct control *control, uint32_t account, mr_str id,
                           uint32_t if_version, mr_arena *arena, struct refusal *ret_refusal) {
    struct rule_view view;
    MR_TRY(find_view(control, account, id, arena, &view, ret_refusal));
    MR_TRY(check_version(if_version, view.version, ret_refusal));
    struct query query =
        query_begin(&control->store,
                    "UPDATE rules SET deleted_ms = ?1, event_types = '[]',"
                    " metadata = '{}', filter = NULL, version = version + 1 WHERE number = ?2");
    query_i64(&query, mr_wall_ms(os_wall_now()));
    query_i64(&query, view.number);
    MR_TRY(query_run(&query));
    MR_TRY(tell(control, account, "rule.delete", &view, NULL));
    MR_TRY(change_mark(control, MODEL_RULE, view.number));
    return change_mark(control, MODEL_ACCOUNT, account);
}

mr_err rules_delete(struct control *control, uint32_t account, mr_str id, uint32_t if_version,
                    struct refusal *ret_refusal) {
    mr_arena arena;
    mr_arena_init(&arena, RULE_DOCUMENT_MAX);
    mr_err err = change_begin(control, ret_refusal);
    if (mr_is_ok(err)) {
        err =
            change_end(control, delete_inner(control, account, id, if_version, &arena, ret_refusal),
                       ret_refusal);
    }
    mr_arena_done(&arena);
    return err;
}

mr_err rules_forget(struct control *control, uint32_t below, int64_t deleted_before_ms,
                    struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    struct query query = query_begin(
        &control->store,
        "DELETE FROM rules WHERE deleted_ms IS NOT NULL AND number < ?1 AND deleted_ms < ?2");
    query_i64(&query, below);
    query_i64(&query, deleted_before_ms);
    return change_end(control, query_run(&query), ret_refusal);
}

mr_err rules_ids_of(struct control *control, const uint32_t *numbers, size_t n, mr_arena *arena,
                    mr_str *ret_ids, struct refusal *ret_refusal) {
    for (size_t i = 0; i < n; i++) {
        struct query query = query_begin(&control->store, "SELECT id FROM rules WHERE number = ?1");
        query_i64(&query, numbers[i]);
        ret_ids[i] = MR_STR_NONE;
        while (query_row(&query)) {
            ret_ids[i] = query_col_text(&query, 0, arena);
        }
        MR_TRY(refuse_error(control, query_end(&query), ret_refusal));
    }
    return MR_OK;
}
