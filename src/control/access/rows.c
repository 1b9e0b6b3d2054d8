/* Rows of API clients: read, listed, written, and as objects of the snapshot. */
#include "control/access/parts.h"

#include "os/clock.h"

/* Columns of a client_view, in the order of read_view. */
#define VIEW_SELECT                                                                                \
    "SELECT c.number, c.id, a.id, c.name, c.owner, c.type, c.locked, c.enabled, c.token_expiry_s," \
    " c.scopes, c.created_ms, c.version FROM clients c JOIN accounts a ON a.number = c.account "

static mr_err read_view(struct query *query, mr_arena *arena, struct client_view *view) {
    *view = (struct client_view){
        .number = (uint32_t)query_col_i64(query, 0),
        .client_id = query_col_text(query, 1, arena),
        .account_id = query_col_text(query, 2, arena),
        .name = query_col_text(query, 3, arena),
        .client_owner = query_col_text(query, 4, arena),
        .type = (enum auth_client_type)query_col_i64(query, 5),
        .locked = query_col_is_null(query, 6) ? (int8_t)-1 : (int8_t)query_col_i64(query, 6),
        .is_enabled = query_col_i64(query, 7) != 0,
        .token_expiry_s = (uint32_t)query_col_i64(query, 8),
        .created_ms = query_col_i64(query, 10),
        .version = (uint32_t)query_col_i64(query, 11),
    };
    const char *why = NULL;
    mr_err err = auth_scopes_parse(query_col_bytes(query, 9), &view->scopes, &why);
    return mr_is_err(err) && !mr_err_is(err, MR_E_NOMEM) ? MR_ERR(MR_E_FAILED) : err;
}

/* The one row of a query; MR_E_NOT_FOUND. */
static mr_err read_one(struct query *query, mr_arena *arena, struct client_view *view) {
    mr_err err = MR_ERR(MR_E_NOT_FOUND);
    while (query_row(query)) {
        err = read_view(query, arena, view);
    }
    mr_err ended = query_end(query);
    return mr_is_err(ended) ? ended : err;
}

mr_err client_find(struct control *control, uint32_t account, mr_str id, mr_arena *arena,
                   struct client_view *view, struct refusal *ret_refusal) {
    struct query query =
        query_begin(&control->store, VIEW_SELECT "WHERE c.id = ?1 AND c.account = ?2");
    query_text(&query, id);
    query_i64(&query, account);
    mr_err err = read_one(&query, arena, view);
    if (mr_err_is(err, MR_E_NOT_FOUND)) {
        return refuse(ret_refusal, REFUSAL_CLIENT_NOT_FOUND,
                      "There is no API client with this id.");
    }
    return err;
}

mr_err client_by_number(struct control *control, uint32_t number, mr_arena *arena,
                        struct client_view *view) {
    struct query query = query_begin(&control->store, VIEW_SELECT "WHERE c.number = ?1");
    query_i64(&query, number);
    return read_one(&query, arena, view);
}

mr_err clients_get(struct control *control, uint32_t account, mr_str client_id, mr_arena *arena,
                   struct client_view *ret_view, struct refusal *ret_refusal) {
    return refuse_error(control,
                        client_find(control, account, client_id, arena, ret_view, ret_refusal),
                        ret_refusal);
}

mr_err client_account_find(struct control *control, uint32_t account, mr_str id,
                           uint32_t *ret_account, struct refusal *ret_refusal) {
    struct query query = query_begin(
        &control->store,
        "WITH RECURSIVE up(number, parent) AS ("
        " SELECT number, parent FROM accounts WHERE id = ?1"
        " UNION SELECT a.number, a.parent FROM accounts a JOIN up ON a.number = up.parent)"
        " SELECT number FROM accounts WHERE id = ?1 AND ?2 IN (SELECT number FROM up)");
    query_text(&query, id);
    query_i64(&query, account);
    uint32_t number = 0;
    while (query_row(&query)) {
        number = (uint32_t)query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    if (number == 0) {
        return refuse(ret_refusal, REFUSAL_CLIENT_NOT_FOUND, "There is no such account here.");
    }
    *ret_account = number;
    return MR_OK;
}

/* ---- lists ---- */

static mr_err count_rows(struct control *control, uint32_t account, int64_t type,
                         uint64_t *ret_count) {
    struct query query =
        query_begin(&control->store, "SELECT count(*) FROM clients WHERE account = ?1"
                                     " AND (?2 < 0 OR type = ?2)");
    query_i64(&query, account);
    query_i64(&query, type);
    while (query_row(&query)) {
        *ret_count = (uint64_t)query_col_i64(&query, 0);
    }
    return query_end(&query);
}

static mr_err list_inner(struct control *control, uint32_t account, mr_str type_name,
                         struct control_page page, mr_arena *arena, struct client_view **ret_rows,
                         size_t *ret_n, uint64_t *ret_count, struct refusal *ret_refusal) {
    int64_t type = -1;
    if (mr_str_eq(type_name, auth_client_type_name(AUTH_CLIENT_ADMIN))) {
        type = AUTH_CLIENT_ADMIN;
    } else if (mr_str_eq(type_name, auth_client_type_name(AUTH_CLIENT_STANDARD))) {
        type = AUTH_CLIENT_STANDARD;
    } else if (!mr_str_is_absent(type_name)) {
        return refuse(ret_refusal, REFUSAL_CLIENT_MALFORMED,
                      "client_type must be admin or standard.");
    }
    MR_TRY(count_rows(control, account, type, ret_count));
    struct client_view *rows = mr_arena_calloc(arena, page.size, sizeof *rows);
    if (rows == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    struct query query =
        query_begin(&control->store, VIEW_SELECT "WHERE c.account = ?1 AND (?2 < 0 OR c.type = ?2)"
                                                 " ORDER BY c.number LIMIT ?3 OFFSET ?4");
    query_i64(&query, account);
    query_i64(&query, type);
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

mr_err clients_list(struct control *control, uint32_t account, mr_str type,
                    struct control_page page, mr_arena *arena, struct client_view **ret_rows,
                    size_t *ret_n, uint64_t *ret_count, struct refusal *ret_refusal) {
    return refuse_error(
        control,
        list_inner(control, account, type, page, arena, ret_rows, ret_n, ret_count, ret_refusal),
        ret_refusal);
}

/* ---- writing ---- */

static void bind_locked(struct query *query, int8_t locked) {
    if (locked < 0) {
        query_null(query);
    } else {
        query_i64(query, locked);
    }
}

mr_err client_insert(struct control *control, uint32_t account, const struct client_spec *spec,
                     mr_str id, const uint8_t mac[static CRYPTO_SHA256_BYTES], uint32_t number) {
    mr_buf scopes;
    mr_buf_init(&scopes, CLIENT_SCOPES_BYTES_MAX);
    mr_err err = auth_scopes_write(&spec->scopes, &scopes);
    if (mr_is_ok(err)) {
        struct query query = query_begin(
            &control->store,
            "INSERT INTO clients(number, id, account, name, owner, type, locked, enabled,"
            " generation, token_expiry_s, scopes, secret_mac, version, created_ms, updated_ms)"
            " SELECT ?1, ?2, number, ?3, coalesce(?4, owner_email), ?5, ?6, 1, 1, ?7, ?8, ?9, 1,"
            " ?10, ?10 FROM accounts WHERE number = ?11");
        query_i64(&query, number);
        query_text(&query, id);
        query_text(&query, spec->name);
        query_text(&query, spec->client_owner);
        query_i64(&query, (int64_t)spec->type);
        bind_locked(&query, spec->locked);
        query_i64(&query, spec->token_expiry_s);
        query_text(&query, mr_buf_view(&scopes));
        query_blob(&query, mr_str_of((const char *)mac, CRYPTO_SHA256_BYTES));
        query_i64(&query, mr_wall_ms(os_wall_now()));
        query_i64(&query, account);
        err = query_run(&query);
    }
    mr_buf_done(&scopes);
    return err;
}

mr_err client_update(struct control *control, const struct client_view *view, bool ends_tokens) {
    mr_buf scopes;
    mr_buf_init(&scopes, CLIENT_SCOPES_BYTES_MAX);
    mr_err err = auth_scopes_write(&view->scopes, &scopes);
    if (mr_is_ok(err)) {
        struct query query = query_begin(
            &control->store,
            "UPDATE clients SET name = ?1, owner = coalesce(?2, (SELECT owner_email FROM accounts"
            " WHERE number = clients.account)), type = ?3, locked = ?4, enabled = ?5,"
            " token_expiry_s = ?6, scopes = ?7, generation = generation + ?8,"
            " version = version + 1, updated_ms = ?9 WHERE number = ?10");
        query_text(&query, view->name);
        query_text(&query, view->client_owner);
        query_i64(&query, (int64_t)view->type);
        bind_locked(&query, view->locked);
        query_i64(&query, view->is_enabled);
        query_i64(&query, view->token_expiry_s);
        query_text(&query, mr_buf_view(&scopes));
        query_i64(&query, ends_tokens);
        query_i64(&query, mr_wall_ms(os_wall_now()));
        query_i64(&query, view->number);
        err = query_run(&query);
    }
    mr_buf_done(&scopes);
    return err;
}

/* ---- the snapshot ---- */

mr_err client_load(struct control *control, uint32_t number, struct model_object **ret_object) {
    struct query query = query_begin(&control->store, "SELECT id, account, enabled, type,"
                                                      " generation FROM clients WHERE number = ?1");
    query_i64(&query, number);
    struct model_client *client = NULL;
    bool found = query_row(&query);
    if (found) {
        client = model_client_new(number, query_col_bytes(&query, 0),
                                  (uint32_t)query_col_i64(&query, 1));
    }
    if (client != NULL) {
        client->is_enabled = query_col_i64(&query, 2) != 0;
        client->type = (enum auth_client_type)query_col_i64(&query, 3);
        client->generation = (uint32_t)query_col_i64(&query, 4);
    }
    mr_err err = query_end(&query);
    if (mr_is_ok(err) && found && client == NULL) {
        err = MR_ERR(MR_E_NOMEM);
    }
    *ret_object = client == NULL ? NULL : &client->object;
    return err;
}
