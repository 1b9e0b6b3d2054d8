/* Rows of streaming rules as objects of the snapshot. */
#include "control/rules/parts.h"

#include "base/mem.h"

static mr_err fill_object(struct query *query, struct model_rule *rule) {
    mr_arena arena;
    mr_arena_init(&arena, RULE_DOCUMENT_MAX);
    const struct model_rule_type *read = NULL;
    size_t n = 0;
    mr_err err = rule_types_read(query_col_bytes(query, 6), &arena, &read, &n);
    struct model_rule_type *types = NULL;
    if (mr_is_ok(err)) {
        types = model_alloc(&rule->object, (n + 1) * sizeof *types);
        bool ok = types != NULL &&
                  model_text(&rule->object, query_col_bytes(query, 3), &rule->name) &&
                  model_text(&rule->object, query_col_bytes(query, 5), &rule->product_group);
        for (size_t i = 0; ok && i < n; i++) {
            types[i].schema_version = read[i].schema_version;
            ok = model_text(&rule->object, read[i].type, &types[i].type);
        }
        err = ok ? MR_OK : MR_ERR(MR_E_NOMEM);
    }
    rule->types = types;
    rule->n_types = n;
    rule->destination = (uint32_t)query_col_i64(query, 2);
    rule->is_enabled = query_col_i64(query, 4) != 0;
    rule->sampling = (uint32_t)query_col_i64(query, 7);
    mr_arena_done(&arena);
    return err;
}

/* A filter that this version refuses, though an earlier one took it: its rule matches nothing
 * rather than everything. */
static mr_err fill_filter(struct control *control, struct query *query, struct model_rule *rule) {
    if (query_col_is_null(query, 8)) {
        return MR_OK;
    }
    struct filter_fault fault;
    mr_err err =
        filter_pool_take(&control->filters, query_col_bytes(query, 8), &rule->filter, &fault);
    if (mr_err_is(err, FILTER_E_REFUSED)) {
        mr_error(control->options.log, "rule_filter_refused", mr_kv_c("rule", rule->object.id),
                 mr_kv_c("expected", fault.expected));
        rule->is_enabled = false;
        return MR_OK;
    }
    return err;
}

mr_err rule_load(struct control *control, uint32_t number, struct model_object **ret_object) {
    struct query query =
        query_begin(&control->store, "SELECT id, account, destination, name, enabled,"
                                     " product_group, event_types, sampling, filter FROM rules"
                                     " WHERE number = ?1 AND deleted_ms IS NULL");
    query_i64(&query, number);
    struct model_rule *rule = NULL;
    mr_err err = MR_OK;
    if (query_row(&query)) {
        rule =
            model_rule_new(number, query_col_bytes(&query, 0), (uint32_t)query_col_i64(&query, 1));
        err = rule == NULL ? MR_ERR(MR_E_NOMEM) : fill_object(&query, rule);
        if (mr_is_ok(err)) {
            err = fill_filter(control, &query, rule);
        }
    }
    mr_err ended = query_end(&query);
    if (mr_is_ok(err)) {
        err = ended;
    }
    if (mr_is_err(err)) {
        model_object_unref(rule == NULL ? NULL : &rule->object);
        return err;
    }
    *ret_object = rule == NULL ? NULL : &rule->object;
    return MR_OK;
}
