/* Streaming rules.
 *
 * A rule's row holds its event types as JSON, which is parsed once when the object for the snapshot
 * is made; matching reads the route index that is compiled from those objects. As with
 * destinations, POST and PATCH judge one whole document with one parser.
 *
 * A filter is stored as the JSON text of the call, minified, and compiled when the object is made.
 * A PATCH replaces it as a whole: merging two patterns member by member, as RFC 7396 would, gives
 * one that nobody wrote, and nobody sees from the patch what it says.
 *
 * A change of a rule marks the rule and its account (whose route index changes) for the next
 * snapshot. Queued deliveries are not touched: they name rule and destination by number. */
#include "control/rules.h"

#include "base/mem.h"
#include "control/body.h"
#include "control/destinations.h"
#include "control/private.h"
#include "json/write.h"
#include "os/clock.h"

#define DOCUMENT_MAX   ((size_t)1 << 20)
#define TYPE_BYTES_MAX 512
#define VERSION_MAX    65535

static const char *const status_names[] = {"enabled", "disabled"};
static const char *const member_names[] = {"name",          "status",      "destination_id",
                                           "product_group", "event_types", "filter",
                                           "sampling",      "metadata"};
#define MEMBERS (sizeof member_names / sizeof member_names[0])

static const struct body_place place = {.path = "", .wrong = REFUSAL_RULE};

/* A rule while it is made or changed; texts in the call's arena. */
struct draft {
    mr_str name;
    bool is_enabled;
    mr_str destination_id;
    uint32_t destination;
    mr_str product_group;
    struct model_rule_type *types;
    size_t n_types;
    uint32_t sampling;
    mr_str metadata;
    mr_str filter; /* JSON; absent: none */
};

/* ---- event types ---- */

/* [{"type","schema_version"}] of a stored row or a call that was judged. */
static void write_types(const struct model_rule_type *types, size_t n, json_out *out) {
    json_out_array(out);
    for (size_t i = 0; i < n; i++) {
        json_out_object(out);
        json_out_member_str(out, "type", types[i].type);
        if (types[i].schema_version == 0) {
            json_out_member_null(out, "schema_version");
        } else {
            json_out_member_u64(out, "schema_version", types[i].schema_version);
        }
        json_out_end(out);
    }
    json_out_end(out);
}

static mr_err read_stored_types(mr_str json, mr_arena *arena,
                                const struct model_rule_type **ret_types, size_t *ret_n) {
    json_tape tape;
    json_tape_init(&tape, 8);
    mr_err err = json_tape_read(&tape, json, NULL);
    json_value list = json_root(&tape);
    size_t count = json_count(list);
    struct model_rule_type *types = mr_arena_calloc(arena, count + 1, sizeof *types);
    if (mr_is_ok(err) && types == NULL) {
        err = MR_ERR(MR_E_NOMEM);
    }
    size_t n = 0;
    for (json_iter it = json_iter_of(list); mr_is_ok(err) && json_next(&it);) {
        uint64_t version = 0;
        mr_str type = MR_STR_NONE;
        mr_ignore(json_u64(json_find(it.value, MR_STR("schema_version")), 1, VERSION_MAX, &version),
                  "null: the latest");
        err = json_string(json_find(it.value, MR_STR("type")), arena, &type);
        if (mr_is_ok(err)) {
            types[n].schema_version = (uint32_t)version;
            types[n].type = mr_arena_str(arena, type);
            err = mr_str_is_absent(types[n].type) ? MR_ERR(MR_E_NOMEM) : MR_OK;
            n++;
        }
    }
    json_tape_done(&tape);
    *ret_types = types;
    *ret_n = n;
    return err;
}

/* The catalogue's word on a type that it has. */
static mr_err judge_type(struct control *control, const struct model_rule_type *type,
                         struct refusal *ret_refusal) {
    const struct catalogue_type *known =
        catalogue_type_find(snapshot_catalogue(control->snapshot), type->type);
    if (known != NULL && type->schema_version > known->latest) {
        return refuse(ret_refusal, REFUSAL_RULE,
                      "event_types: the schema of %.*s has no version %u; the latest is %u.",
                      MR_FMT(type->type), type->schema_version, known->latest);
    }
    return MR_OK;
}

static mr_err parse_type(struct control *control, json_value value, mr_arena *arena,
                         struct model_rule_type *out, struct refusal *ret_refusal) {
    static const struct body_place inside = {.path = "event_types.", .wrong = REFUSAL_RULE};
    static const char *const members[] = {"type", "schema_version"};
    if (json_kind_of(value) != JSON_OBJECT) {
        return refuse(ret_refusal, REFUSAL_RULE,
                      "event_types must hold objects like {\"type\":\"…\",\"schema_version\":2}.");
    }
    MR_TRY(body_only(value, &inside, members, 2, ret_refusal));
    MR_TRY(body_needs(value, &inside, members, 1, ret_refusal));
    MR_TRY(body_text(value, &inside, "type", 1, TYPE_BYTES_MAX, false, arena, &out->type,
                     ret_refusal));
    MR_TRY(body_u32(value, &inside, "schema_version", 1, VERSION_MAX, &out->schema_version,
                    ret_refusal));
    return judge_type(control, out, ret_refusal);
}

static bool is_star(mr_str type) {
    return mr_str_eq(type, MR_STR("*"));
}

static mr_err parse_types(struct control *control, json_value list, mr_arena *arena,
                          struct draft *draft, struct refusal *ret_refusal) {
    size_t count = json_count(list);
    if (json_kind_of(list) != JSON_ARRAY || count == 0 || count > MODEL_RULE_TYPES_MAX) {
        return refuse(ret_refusal, REFUSAL_RULE, "event_types must be an array of 1 to %d objects.",
                      MODEL_RULE_TYPES_MAX);
    }
    draft->types = mr_arena_calloc(arena, count, sizeof *draft->types);
    if (draft->types == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    for (json_iter it = json_iter_of(list); json_next(&it);) {
        struct model_rule_type *type = &draft->types[draft->n_types];
        MR_TRY(parse_type(control, it.value, arena, type, ret_refusal));
        for (size_t i = 0; i < draft->n_types; i++) {
            if (mr_str_eq(draft->types[i].type, type->type)) {
                return refuse(ret_refusal, REFUSAL_RULE, "event_types names %.*s twice.",
                              MR_FMT(type->type));
            }
        }
        if (is_star(type->type) && mr_str_is_absent(draft->product_group)) {
            return refuse(ret_refusal, REFUSAL_RULE,
                          "The type \"*\" stands for all types of a product group: product_group "
                          "must be given.");
        }
        draft->n_types++;
    }
    return MR_OK;
}

/* ---- documents ---- */

static mr_err find_destination(struct control *control, uint32_t account, struct draft *draft,
                               struct refusal *ret_refusal) {
    struct query query =
        query_begin(&control->store, "SELECT number FROM destinations WHERE id = ?1"
                                     " AND account = ?2 AND deleted_ms IS NULL");
    query_text(&query, draft->destination_id);
    query_i64(&query, account);
    while (query_row(&query)) {
        draft->destination = (uint32_t)query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    return draft->destination != 0
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_RULE,
                        "destination_id: there is no destination %.*s in this account.",
                        MR_FMT(draft->destination_id));
}

static mr_err parse_group(struct control *control, json_value root, mr_arena *arena,
                          struct draft *draft, struct refusal *ret_refusal) {
    const struct catalogue *catalogue = snapshot_catalogue(control->snapshot);
    MR_TRY(body_text(root, &place, "product_group", 1, 255, false, arena, &draft->product_group,
                     ret_refusal));
    if (!mr_str_is_absent(draft->product_group) &&
        !catalogue_has_product_group(catalogue, draft->product_group)) {
        return refuse(ret_refusal, REFUSAL_RULE,
                      "product_group: the catalogue has no product group %.*s.",
                      MR_FMT(draft->product_group));
    }
    return MR_OK;
}

/* Only its text is kept here; compiled, it waits in the pool for rule_load. */
static mr_err parse_filter(struct control *control, json_value value, mr_arena *arena,
                           struct draft *draft, struct refusal *ret_refusal) {
    struct route_filter *filter = NULL;
    MR_TRY(filter_parse(&control->filters, value, &filter, ret_refusal));
    if (filter == NULL) {
        draft->filter = MR_STR_NONE;
        return MR_OK;
    }
    draft->filter = mr_arena_str(arena, filter->json);
    route_filter_unref(filter);
    return mr_str_is_absent(draft->filter) ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

/* All members but the filter, and what they say of others. */
static mr_err parse_members(struct control *control, json_value root, mr_arena *arena,
                            struct draft *draft, struct refusal *ret_refusal) {
    uint32_t status = 0;
    draft->metadata = MR_STR("{}");
    draft->sampling = 1;
    MR_TRY(
        body_text(root, &place, "name", 1, RULE_NAME_MAX, false, arena, &draft->name, ret_refusal));
    MR_TRY(body_text(root, &place, "destination_id", 1, 64, false, arena, &draft->destination_id,
                     ret_refusal));
    MR_TRY(body_enum(root, &place, "status", status_names, 2, &status, ret_refusal));
    MR_TRY(body_u32(root, &place, "sampling", 1, RULE_SAMPLING_MAX, &draft->sampling, ret_refusal));
    MR_TRY(body_object(root, &place, "metadata", METADATA_BYTES_MAX, arena, &draft->metadata,
                       ret_refusal));
    draft->is_enabled = status == 0;
    MR_TRY(parse_group(control, root, arena, draft, ret_refusal));
    return parse_types(control, json_find(root, MR_STR("event_types")), arena, draft, ret_refusal);
}

static mr_err parse_document(struct control *control, uint32_t account, json_value root,
                             mr_arena *arena, struct draft *draft, struct refusal *ret_refusal) {
    static const char *const needed[] = {"name", "destination_id", "event_types"};
    MR_TRY(body_only(root, &place, member_names, MEMBERS, ret_refusal));
    MR_TRY(body_needs(root, &place, needed, 3, ret_refusal));
    MR_TRY(parse_members(control, root, arena, draft, ret_refusal));
    return find_destination(control, account, draft, ret_refusal);
}

static mr_err parse_draft(struct control *control, uint32_t account, json_value root,
                          mr_arena *arena, struct rule_draft *ret_draft,
                          struct refusal *ret_refusal) {
    static const struct body_place inside = {.path = "rule.", .wrong = REFUSAL_RULE};
    static const char *const outer[] = {"rule", "events"};
    static const char *const needed[] = {"event_types"};
    struct draft draft = {.destination = 0};
    json_value rule = json_find(root, MR_STR("rule"));
    json_value events = json_find(root, MR_STR("events"));
    MR_TRY(body_only(root, &place, outer, 2, ret_refusal));
    MR_TRY(body_needs(root, &place, outer, 1, ret_refusal));
    if (json_kind_of(rule) != JSON_OBJECT) {
        return refuse(ret_refusal, REFUSAL_MALFORMED, "rule must be an object.");
    }
    bool has_events = !json_is_absent(events) && json_kind_of(events) != JSON_NULL;
    if (has_events && json_kind_of(events) != JSON_ARRAY) {
        return refuse(ret_refusal, REFUSAL_MALFORMED, "events must be an array of events.");
    }
    MR_TRY(body_only(rule, &inside, member_names, MEMBERS, ret_refusal));
    MR_TRY(body_needs(rule, &inside, needed, 1, ret_refusal));
    MR_TRY(parse_members(control, rule, arena, &draft, ret_refusal));
    if (!mr_str_is_absent(draft.destination_id)) {
        MR_TRY(find_destination(control, account, &draft, ret_refusal));
    }
    MR_TRY(parse_filter(control, json_find(rule, MR_STR("filter")), arena, &draft, ret_refusal));
    *ret_draft = (struct rule_draft){.is_enabled = draft.is_enabled,
                                     .product_group = draft.product_group,
                                     .types = draft.types,
                                     .n_types = draft.n_types,
                                     .sampling = draft.sampling,
                                     .filter_json = draft.filter,
                                     .events = has_events ? json_raw(events) : MR_STR_NONE};
    return MR_OK;
}

mr_err rules_draft(struct control *control, uint32_t account, mr_str body, mr_arena *arena,
                   struct rule_draft *ret_draft, struct refusal *ret_refusal) {
    json_tape tape;
    mr_err err = body_read(&tape, body, ret_refusal);
    if (mr_is_ok(err)) {
        err = parse_draft(control, account, json_root(&tape), arena, ret_draft, ret_refusal);
    }
    json_tape_done(&tape);
    return refuse_error(control, err, ret_refusal);
}

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
    return read_stored_types(query_col_bytes(query, 7), arena, &view->types, &view->n_types);
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
static void bind_draft(struct query *query, const struct draft *draft, mr_str types) {
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
                          uint32_t number, mr_str id, const struct draft *draft) {
    mr_buf types;
    json_out writer;
    mr_buf_init(&types, DOCUMENT_MAX);
    json_out_init(&writer, &types);
    write_types(draft->types, draft->n_types, &writer);
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
    struct audit_change change;
    audit_change_begin(&change);
    mr_err err = before == NULL ? MR_OK : rule_write_json(before, &change.before);
    if (mr_is_ok(err) && after != NULL) {
        err = rule_write_json(after, &change.after);
    }
    return audit_change_end(control, &change, err, account, action,
                            after != NULL ? after->id : before->id);
}

static mr_err create_inner(struct control *control, uint32_t account, mr_str body, mr_arena *arena,
                           struct rule_view *ret_view, struct refusal *ret_refusal) {
    json_tape tape;
    struct draft draft = {0};
    uint32_t number = 0;
    char id[CRYPTO_ID_SIZE];
    crypto_id_make(MR_STR("rul_"), os_wall_now(), id);
    mr_err err = body_read(&tape, body, ret_refusal);
    if (mr_is_ok(err)) {
        err = parse_document(control, account, json_root(&tape), arena, &draft, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = parse_filter(control, json_find(json_root(&tape), MR_STR("filter")), arena, &draft,
                           ret_refusal);
    }
    json_tape_done(&tape);
    MR_TRY(err);
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

static mr_err write_document(const struct rule_view *view, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_str(&writer, "name", view->name);
    json_out_member_c(&writer, "status", status_names[view->is_enabled ? 0 : 1]);
    json_out_member_str(&writer, "destination_id", view->destination_id);
    json_out_member_str(&writer, "product_group", view->product_group);
    json_out_name(&writer, MR_STR("event_types"));
    write_types(view->types, view->n_types, &writer);
    json_out_member_u64(&writer, "sampling", view->sampling);
    json_out_member_raw(&writer, "metadata", view->metadata_json);
    json_out_end(&writer);
    return json_out_finish(&writer);
}

static mr_err check_version(uint32_t if_version, uint32_t version, struct refusal *ret_refusal) {
    return if_version == 0 || if_version == version
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_PRECONDITION,
                        "The streaming rule was changed meanwhile.");
}

/* The patch's filter as it stands there, or, where it names none, the one before. */
static mr_err patch_filter(struct control *control, mr_str body, const struct rule_view *before,
                           mr_arena *arena, struct draft *draft, struct refusal *ret_refusal) {
    json_tape tape;
    mr_err err = body_read(&tape, body, ret_refusal);
    json_value filter = json_find(json_root(&tape), MR_STR("filter"));
    draft->filter = before->filter_json;
    if (mr_is_ok(err) && !json_is_absent(filter)) {
        err = parse_filter(control, filter, arena, draft, ret_refusal);
    }
    json_tape_done(&tape);
    return err;
}

static mr_err patch_inner(struct control *control, uint32_t account, mr_str id, mr_str body,
                          uint32_t if_version, mr_arena *arena, struct rule_view *ret_view,
                          struct refusal *ret_refusal) {
    struct rule_view before;
    struct draft draft = {0};
    MR_TRY(find_view(control, account, id, arena, &before, ret_refusal));
    MR_TRY(check_version(if_version, before.version, ret_refusal));
    mr_buf document;
    json_tape tape;
    mr_buf_init(&document, DOCUMENT_MAX);
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    mr_buf present;
    mr_buf_init(&present, DOCUMENT_MAX);
    mr_err err = write_document(&before, &present);
    if (mr_is_ok(err)) {
        err = body_merge(mr_buf_view(&present), body, &place, member_names, MEMBERS, &document,
                         ret_refusal);
    }
    mr_buf_done(&present);
    if (mr_is_ok(err)) {
        err = json_tape_read(&tape, mr_buf_view(&document), NULL);
    }
    if (mr_is_ok(err)) {
        err = parse_document(control, account, json_root(&tape), arena, &draft, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = patch_filter(control, body, &before, arena, &draft, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = store_draft(control,
                          "UPDATE rules SET name = ?1, enabled = ?2, destination = ?3,"
                          " product_group = ?4, event_types = ?5, sampling = ?6, metadata = ?7,"
                          " updated_ms = ?8, filter = ?9, version = version + 1 WHERE number = ?10",
                          account, before.number, MR_STR_NONE, &draft);
    }
    json_tape_done(&tape);
    mr_buf_done(&document);
    MR_TRY(err);
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
    mr_arena_init(&arena, DOCUMENT_MAX);
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

/* ---- the snapshot's object ---- */

static mr_err fill_object(struct query *query, struct model_rule *rule) {
    mr_arena arena;
    mr_arena_init(&arena, DOCUMENT_MAX);
    const struct model_rule_type *read = NULL;
    size_t n = 0;
    mr_err err = read_stored_types(query_col_bytes(query, 6), &arena, &read, &n);
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

/* ---- shape ---- */

mr_err rule_write_json(const struct rule_view *view, mr_buf *out) {
    char created[MR_TIME_TEXT_SIZE];
    char updated[MR_TIME_TEXT_SIZE];
    mr_time_format_ms(mr_wall_of_ms(view->created_ms), created);
    mr_time_format_ms(mr_wall_of_ms(view->updated_ms), updated);
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_str(&writer, "id", view->id);
    json_out_member_str(&writer, "account_id", view->account_id);
    json_out_member_str(&writer, "name", view->name);
    json_out_member_c(&writer, "status", status_names[view->is_enabled ? 0 : 1]);
    json_out_member_str(&writer, "destination_id", view->destination_id);
    json_out_member_str(&writer, "product_group", view->product_group);
    json_out_name(&writer, MR_STR("event_types"));
    write_types(view->types, view->n_types, &writer);
    json_out_member_raw(&writer, "filter", view->filter_json);
    json_out_member_u64(&writer, "sampling", view->sampling);
    json_out_member_raw(&writer, "metadata", view->metadata_json);
    json_out_member_c(&writer, "date_created", created);
    json_out_member_c(&writer, "date_updated", updated);
    json_out_end(&writer);
    return json_out_finish(&writer);
}
