/* Changes and snapshots.
 *
 * A function that changes something runs between change_begin and change_end and marks each object
 * that will differ for workers. Marks of a transaction that is rolled back are dropped with it:
 * `pending` is one list, of which the first `committed` entries are safe and the rest belong to the
 * open transaction.
 *
 * A snapshot is made from the rows, never from what the change had in its hands: what workers see
 * is what a restart would load. Destinations, rules and clients are replaced one by one; an account
 * is rebuilt, with its route index, once per snapshot however many of its rules changed; so is the
 * catalogue, which shares with the one before all schema versions that were there.
 *
 * When memory runs out while building, the old snapshot stays and the list is kept: the commit is
 * on disk, and the next try publishes it. */
#include "control/private.h"

#include "base/mem.h"
#include "control/accounts.h"
#include "os/clock.h"
#include "route/route.h"

/* ---- changes ---- */

mr_err refuse_error(struct control *control, mr_err err, struct refusal *ret_refusal) {
    if (mr_is_ok(err) || mr_err_is(err, CONTROL_E_REFUSED)) {
        return err;
    }
    if (mr_err_is(err, MR_E_NO_SPACE)) {
        return refuse(ret_refusal, REFUSAL_UNAVAILABLE,
                      "Could not store the change: the disk is full. Nothing was changed.");
    }
    if (mr_err_is(err, MR_E_BUSY) || mr_err_is(err, MR_E_IO)) {
        return refuse(ret_refusal, REFUSAL_UNAVAILABLE,
                      "Could not reach the store: the disk is busy or failing. Nothing was "
                      "changed.");
    }
    if (mr_err_is(err, MR_E_NOMEM) || mr_err_is(err, MR_E_LIMIT)) {
        return refuse(ret_refusal, REFUSAL_UNAVAILABLE,
                      "Could not do this: the server is out of memory. Nothing was changed.");
    }
    mr_error(control->options.log, "control_failed", mr_kv_i64("code", err.code));
    return refuse(ret_refusal, REFUSAL_INTERNAL, "The server failed on this request.");
}

mr_err change_begin(struct control *control, struct refusal *ret_refusal) {
    if (control->store.depth == 0) {
        control->pending.len = control->committed;
    }
    return refuse_error(control, store_begin(&control->store), ret_refusal);
}

mr_err change_begin_reading(struct control *control, struct refusal *ret_refusal) {
    if (control->store.depth == 0) {
        control->pending.len = control->committed;
    }
    return refuse_error(control, store_begin_reading(&control->store), ret_refusal);
}

mr_err change_end(struct control *control, mr_err err, struct refusal *ret_refusal) {
    if (mr_is_ok(err)) {
        err = store_commit(&control->store);
        if (mr_is_ok(err) && control->store.depth == 0) {
            control->committed = control->pending.len;
            audit_committed(control);
        }
    } else {
        store_rollback(&control->store);
    }
    if (mr_is_err(err)) {
        audit_rolled_back(control);
    }
    if (control->store.depth == 0) {
        control->pending.len = control->committed;
    }
    /* Marks of an inner change that failed may stay until the outer one ends: they only cause an
     * object to be read again. */
    return refuse_error(control, err, ret_refusal);
}

mr_err change_mark(struct control *control, enum model_kind kind, uint32_t number) {
    MR_ASSERT(control->store.depth > 0);
    struct changes *changes = &control->pending;
    if (changes->len == changes->cap) {
        size_t cap = changes->cap == 0 ? 16 : changes->cap * 2;
        struct control_change *list = mr_realloc(changes->list, cap * sizeof *list);
        if (list == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        changes->list = list;
        changes->cap = cap;
    }
    changes->list[changes->len++] = (struct control_change){.kind = kind, .number = number};
    return MR_OK;
}

mr_err change_mark_enabling(struct control *control, uint32_t number) {
    MR_TRY(change_mark(control, MODEL_DESTINATION, number));
    control->pending.list[control->pending.len - 1].is_enabling = true;
    return MR_OK;
}

mr_err number_take(struct control *control, const char *kind, uint32_t *ret_number) {
    MR_ASSERT(control->store.depth > 0);
    struct query query =
        query_begin(&control->store, "INSERT INTO numbers(kind, next) VALUES(?1, 2)"
                                     " ON CONFLICT(kind) DO UPDATE SET next = next + 1"
                                     " RETURNING next - 1");
    query_text(&query, mr_str_c(kind));
    int64_t number = 0;
    while (query_row(&query)) {
        number = query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    if (number < 1 || number >= UINT32_MAX) {
        return MR_ERR(MR_E_FAILED);
    }
    *ret_number = (uint32_t)number;
    return MR_OK;
}

/* ---- accounts ---- */

/* The account's enabled rules as route/ takes them. The arrays are one piece of memory. */
struct route_input {
    struct route_rule *rules;
    struct route_type *types;
    size_t n_rules;
    size_t n_types;
};

static void count_rules(const struct snapshot *view, uint32_t account, struct route_input *out) {
    const struct model_object *object = NULL;
    for (uint32_t from = 1; (object = snapshot_next(view, MODEL_RULE, from)) != NULL;
         from = object->number + 1) {
        const struct model_rule *rule = (const void *)object;
        if (rule->account == account && rule->is_enabled) {
            out->n_rules++;
            out->n_types += rule->n_types;
        }
    }
}

static void fill_rules(const struct snapshot *view, uint32_t account, struct route_input *out) {
    size_t n_rules = 0;
    size_t n_types = 0;
    const struct model_object *object = NULL;
    for (uint32_t from = 1; (object = snapshot_next(view, MODEL_RULE, from)) != NULL;
         from = object->number + 1) {
        const struct model_rule *rule = (const void *)object;
        if (rule->account != account || !rule->is_enabled) {
            continue;
        }
        for (size_t i = 0; i < rule->n_types; i++) {
            out->types[n_types + i] = (struct route_type){
                .type = rule->types[i].type,
                .version = (uint16_t)rule->types[i].schema_version,
            };
        }
        out->rules[n_rules++] = (struct route_rule){
            .number = object->number,
            .account = account,
            .destination = rule->destination,
            .sampling = rule->sampling,
            .enabled = true,
            .product_group = rule->product_group,
            .types = out->types + n_types,
            .n_types = rule->n_types,
            .filter = rule->filter,
        };
        n_types += rule->n_types;
    }
    MR_ASSERT(n_rules == out->n_rules && n_types == out->n_types);
}

/* The account's index, from the rules of the snapshot being built. NULL where it has none. */
static mr_err index_build(const struct snapshot *view, uint32_t account,
                          struct route_index **ret_index) {
    struct route_input input = {0};
    count_rules(view, account, &input);
    if (input.n_rules == 0) {
        *ret_index = NULL;
        return MR_OK;
    }
    input.rules = mr_calloc(input.n_rules, sizeof *input.rules);
    input.types = mr_calloc(input.n_types + 1, sizeof *input.types);
    mr_err err = MR_ERR(MR_E_NOMEM);
    if (input.rules != NULL && input.types != NULL) {
        fill_rules(view, account, &input);
        err = route_index_new(input.rules, input.n_rules, ret_index);
    }
    mr_free(input.rules);
    mr_free(input.types);
    return err;
}

static mr_err read_secret(struct control *control, struct model_account *account) {
    struct query query = query_begin(
        &control->store, "SELECT id, value_sealed FROM secrets WHERE account = ?1 AND status = 0");
    query_i64(&query, account->object.number);
    mr_err err = MR_OK;
    while (query_row(&query)) {
        mr_str id = query_col_bytes(&query, 0);
        bool fits = mr_str_to_c(id, account->webhook_secret_id, sizeof account->webhook_secret_id);
        MR_ASSERT(fits);
        err = control_unseal(control, "secrets", id, "value_sealed", query_col_bytes(&query, 1),
                             &account->webhook_secret);
    }
    mr_err ended = query_end(&query);
    return mr_is_err(err) ? err : ended;
}

static mr_err read_account(struct control *control, uint32_t number,
                           struct model_account **ret_account) {
    struct query query =
        query_begin(&control->store, "SELECT id, coalesce(parent, 0), friendly_name, validate,"
                                     " unknown_types, events_per_second, second_factor"
                                     " FROM accounts WHERE number = ?1");
    query_i64(&query, number);
    struct model_account *account = NULL;
    bool found = query_row(&query);
    if (found) {
        account = model_account_new(number, query_col_bytes(&query, 0), query_col_bytes(&query, 2));
    }
    if (account != NULL) {
        account->parent = (uint32_t)query_col_i64(&query, 1);
        account->validate = (enum model_validate)query_col_i64(&query, 3);
        account->unknown_types = (enum model_unknown_types)query_col_i64(&query, 4);
        account->events_per_second = query_col_is_null(&query, 5)
                                         ? control->options.account_events_per_second
                                         : (uint32_t)query_col_i64(&query, 5);
        account->needs_second_factor = query_col_i64(&query, 6) != 0;
    }
    mr_err err = query_end(&query);
    if (mr_is_ok(err) && found && account == NULL) {
        err = MR_ERR(MR_E_NOMEM);
    }
    if (mr_is_err(err)) {
        model_object_unref(account == NULL ? NULL : &account->object);
        return err;
    }
    *ret_account = account;
    return MR_OK;
}

static mr_err put_account(struct control *control, struct snapshot_builder *builder,
                          uint32_t number) {
    struct model_account *account = NULL;
    MR_TRY(read_account(control, number, &account));
    if (account == NULL) {
        return snapshot_remove(builder, MODEL_ACCOUNT, number);
    }
    mr_err err = read_secret(control, account);
    if (mr_is_ok(err)) {
        err = index_build(snapshot_of_builder(builder), number, &account->routes);
    }
    if (mr_is_err(err)) {
        model_object_unref(&account->object);
        return err;
    }
    return snapshot_put(builder, &account->object);
}

/* ---- snapshots ---- */

static mr_err load_object(struct control *control, enum model_kind kind, uint32_t number,
                          struct model_object **ret_object) {
    switch (kind) {
    case MODEL_DESTINATION:
        return destination_load(control, number, ret_object);
    case MODEL_RULE:
        return rule_load(control, number, ret_object);
    case MODEL_CLIENT:
        return client_load(control, number, ret_object);
    case MODEL_USER:
        return user_load(control, number, ret_object);
    case MODEL_SESSION:
        return session_load(control, number, ret_object);
    case MODEL_ACCOUNT:
    case MODEL_CATALOGUE:
    case MODEL_KEYS:
    case MODEL_KIND_COUNT:
        break;
    }
    MR_ASSERT(false && "accounts, catalogue and keys are rebuilt, not loaded");
}

/* Counted here and not in the row: it is compared within one run of the program only. */
static void count_enabling(struct control *control, struct control_change change,
                           struct model_object *object) {
    struct model_destination *made = (struct model_destination *)(void *)object;
    const struct model_destination *before =
        control->snapshot == NULL ? NULL : snapshot_destination(control->snapshot, change.number);
    made->enabled_epoch = before == NULL ? 0 : before->enabled_epoch;
    made->enabled_epoch += change.is_enabling && made->status != MODEL_DISABLED;
}

static mr_err put_object(struct control *control, struct snapshot_builder *builder,
                         struct control_change change) {
    struct model_object *object = NULL;
    MR_TRY(load_object(control, change.kind, change.number, &object));
    if (change.kind == MODEL_DESTINATION && object != NULL) {
        count_enabling(control, change, object);
    }
    return object == NULL ? snapshot_remove(builder, change.kind, change.number)
                          : snapshot_put(builder, object);
}

/* The change of the same object among the first n; NULL: none. */
static struct control_change *find_change(const struct changes *changes, size_t n,
                                          struct control_change change) {
    /* A transaction marks a handful; a page of jobs some hundreds. */
    for (size_t i = 0; i < n; i++) {
        if (changes->list[i].kind == change.kind && changes->list[i].number == change.number) {
            return &changes->list[i];
        }
    }
    return NULL;
}

static void remove_repeats(struct changes *changes) {
    size_t kept = 0;
    for (size_t i = 0; i < changes->len; i++) {
        struct control_change change = changes->list[i];
        struct control_change *first = find_change(changes, kept, change);
        if (first == NULL) {
            changes->list[kept++] = change;
        } else {
            first->is_enabling = first->is_enabling || change.is_enabling;
        }
    }
    changes->len = kept;
}

static mr_err put_catalogue(struct control *control, struct snapshot_builder *builder) {
    struct catalogue *catalogue = NULL;
    MR_TRY(catalogue_load(control, snapshot_catalogue(snapshot_of_builder(builder)), &catalogue));
    snapshot_set_catalogue(builder, catalogue);
    catalogue_unref(catalogue);
    return MR_OK;
}

/* Objects first, then the accounts, whose indexes are made of the new rules. */
static mr_err apply(struct control *control, struct snapshot_builder *builder,
                    const struct changes *changes) {
    for (size_t i = 0; i < changes->len; i++) {
        if (changes->list[i].kind == MODEL_CATALOGUE) {
            MR_TRY(put_catalogue(control, builder));
        } else if (changes->list[i].kind == MODEL_KEYS) {
            MR_TRY(signing_keys_load(control, os_wall_now()));
            snapshot_set_keyring(builder, control->keyring);
        } else if (changes->list[i].kind != MODEL_ACCOUNT) {
            MR_TRY(put_object(control, builder, changes->list[i]));
        }
    }
    for (size_t i = 0; i < changes->len; i++) {
        if (changes->list[i].kind == MODEL_ACCOUNT) {
            MR_TRY(put_account(control, builder, changes->list[i].number));
        }
    }
    return MR_OK;
}

mr_err snapshot_refresh(struct control *control, struct changes *ret_changes) {
    MR_ASSERT(control->store.depth == 0);
    struct changes *changes = &control->pending;
    changes->len = control->committed;
    if (changes->len == 0) {
        return MR_OK;
    }
    remove_repeats(changes);
    control->committed = changes->len;
    struct snapshot_builder *builder = NULL;
    MR_TRY(snapshot_build(control->snapshot, &builder));
    snapshot_set_keyring(builder, control->keyring);
    mr_err err = apply(control, builder, changes);
    if (mr_is_err(err)) {
        snapshot_abandon(builder);
        return err;
    }
    snapshot_unref(control->snapshot);
    control->snapshot = snapshot_finish(builder);
    control->committed = 0;
    if (ret_changes != NULL) {
        *ret_changes = *changes;
        *changes = (struct changes){0};
    }
    changes->len = 0;
    return MR_OK;
}

static mr_err mark_all(struct control *control, const char *sql, enum model_kind kind) {
    struct query query = query_begin(&control->store, sql);
    mr_err err = MR_OK;
    while (mr_is_ok(err) && query_row(&query)) {
        err = change_mark(control, kind, (uint32_t)query_col_i64(&query, 0));
    }
    mr_err ended = query_end(&query);
    return mr_is_err(err) ? err : ended;
}

mr_err snapshot_load(struct control *control) {
    struct snapshot_builder *builder = NULL;
    MR_TRY(snapshot_build(NULL, &builder));
    snapshot_set_keyring(builder, control->keyring);
    /* A transaction, so that all are read from one state. */
    mr_err err = store_begin_reading(&control->store);
    if (mr_is_err(err)) {
        snapshot_abandon(builder);
        return err;
    }
    control->pending.len = 0;
    err = change_mark(control, MODEL_CATALOGUE, 0);
    if (mr_is_ok(err)) {
        err = mark_all(control, "SELECT number FROM clients", MODEL_CLIENT);
    }
    if (mr_is_ok(err)) {
        err = mark_all(control, "SELECT number FROM users", MODEL_USER);
    }
    if (mr_is_ok(err)) {
        err = mark_all(control, "SELECT number FROM sessions", MODEL_SESSION);
    }
    if (mr_is_ok(err)) {
        err = mark_all(control, "SELECT number FROM destinations WHERE deleted_ms IS NULL",
                       MODEL_DESTINATION);
    }
    if (mr_is_ok(err)) {
        err = mark_all(control, "SELECT number FROM rules WHERE deleted_ms IS NULL", MODEL_RULE);
    }
    if (mr_is_ok(err)) {
        err = mark_all(control, "SELECT number FROM accounts", MODEL_ACCOUNT);
    }
    if (mr_is_ok(err)) {
        err = apply(control, builder, &control->pending);
    }
    control->pending.len = 0;
    control->committed = 0;
    store_rollback(&control->store);
    if (mr_is_err(err)) {
        snapshot_abandon(builder);
        return err;
    }
    snapshot_unref(control->snapshot);
    control->snapshot = snapshot_finish(builder);
    return MR_OK;
}
