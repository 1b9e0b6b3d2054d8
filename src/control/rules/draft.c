/* Judging a rule's body. Creation and change judge one whole document with one parser; a draft that
 * is only tried out may lack name and destination.
 *
 * A filter is stored as the JSON text of the call, minified, and compiled when the object is made.
 * A PATCH replaces it as a whole: merging two patterns member by member, as RFC 7396 would, gives
 * one that nobody wrote, and nobody sees from the patch what it says. */
#include "control/rules/parts.h"

#define TYPE_BYTES_MAX 512

static const struct body_place place = {.path = "", .wrong = REFUSAL_RULE};

static const struct shape_member type_members[] = {
    {"type", SHAPE_TEXT, SHAPE_NEEDED, 1, TYPE_BYTES_MAX,
     .what = "An event type, or * for all of the product group"},
    {"schema_version", SHAPE_NUMBER, SHAPE_NULLABLE, 1, RULE_VERSION_MAX,
     .what = "Version that data is delivered as; null: the latest"},
};
static const struct shape type_shape = {"RuleType", type_members,
                                        sizeof type_members / sizeof type_members[0]};

#define RULE_MEMBERS(needed)                                                                       \
    {"name", SHAPE_TEXT, needed, 1, RULE_NAME_MAX, .what = "For people"},                          \
        {"destination_id", SHAPE_TEXT, needed, 1, 64, .what = "Where events go"},                  \
        {"event_types",                                                                            \
         SHAPE_INNERS,                                                                             \
         SHAPE_NEEDED,                                                                             \
         1,                                                                                        \
         MODEL_RULE_TYPES_MAX,                                                                     \
         .inner = &type_shape,                                                                     \
         .what = "Which events, each type once"},                                                  \
        {"status",                                                                                 \
         SHAPE_ENUM,                                                                               \
         0,                                                                                        \
         .names = rule_status_names,                                                               \
         .n_names = 2,                                                                             \
         .what = "enabled unless told"},                                                           \
        {"product_group",                                                                          \
         SHAPE_TEXT,                                                                               \
         SHAPE_NULLABLE,                                                                           \
         1,                                                                                        \
         255,                                                                                      \
         .what = "Of the catalogue; needed where a type is *"},                                    \
        {"filter", SHAPE_OWN, SHAPE_NULLABLE, .schema = RULE_FILTER_SCHEMA},                       \
        {"sampling", SHAPE_NUMBER, 0, 1, RULE_SAMPLING_MAX, .what = "One event in so many"}, {     \
        "metadata", SHAPE_OBJECT, 0, .max = METADATA_BYTES_MAX, .what = "The caller's own"         \
    }

static const struct shape_member members[] = {RULE_MEMBERS(SHAPE_NEEDED)};
const struct shape rule_shape = {"Rule", members, sizeof members / sizeof members[0]};
static const struct shape_member draft_members[] = {RULE_MEMBERS(0)};
static const struct shape draft_shape = {"RuleDraft", draft_members,
                                         sizeof draft_members / sizeof draft_members[0]};
static const struct shape_member preview_members[] = {
    {"rule", SHAPE_INNER, SHAPE_NEEDED, .inner = &draft_shape, .what = "The draft"},
    {"events", SHAPE_OWN, 0,
     .schema = "{\"description\":\"Events to try it on; else the last stored ones\","
               "\"type\":[\"array\",\"null\"]}"},
};
const struct shape rule_preview_shape = {"RulePreview", preview_members,
                                         sizeof preview_members / sizeof preview_members[0]};

/* ---- event types ---- */

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

static bool is_star(mr_str type) {
    return mr_str_eq(type, MR_STR("*"));
}

static mr_err read_types(struct control *control, json_value list, mr_arena *arena,
                         struct rule_row *row, struct refusal *ret_refusal) {
    row->types = mr_arena_calloc(arena, json_count(list), sizeof *row->types);
    if (row->types == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    for (json_iter it = json_iter_of(list); json_next(&it);) {
        struct model_rule_type *type = &row->types[row->n_types];
        MR_TRY(shape_text(it.value, "type", arena, &type->type));
        shape_number(it.value, "schema_version", &type->schema_version);
        MR_TRY(judge_type(control, type, ret_refusal));
        for (size_t i = 0; i < row->n_types; i++) {
            if (mr_str_eq(row->types[i].type, type->type)) {
                return refuse(ret_refusal, REFUSAL_RULE, "event_types names %.*s twice.",
                              MR_FMT(type->type));
            }
        }
        if (is_star(type->type) && mr_str_is_absent(row->product_group)) {
            return refuse(ret_refusal, REFUSAL_RULE,
                          "The type \"*\" stands for all types of a product group: product_group "
                          "must be given.");
        }
        row->n_types++;
    }
    return MR_OK;
}

/* ---- documents ---- */

static mr_err find_destination(struct control *control, uint32_t account, struct rule_row *row,
                               struct refusal *ret_refusal) {
    struct query query =
        query_begin(&control->store, "SELECT number FROM destinations WHERE id = ?1"
                                     " AND account = ?2 AND deleted_ms IS NULL");
    query_text(&query, row->destination_id);
    query_i64(&query, account);
    while (query_row(&query)) {
        row->destination = (uint32_t)query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    return row->destination != 0
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_RULE,
                        "destination_id: there is no destination %.*s in this account.",
                        MR_FMT(row->destination_id));
}

static mr_err judge_group(struct control *control, const struct rule_row *row,
                          struct refusal *ret_refusal) {
    const struct catalogue *catalogue = snapshot_catalogue(control->snapshot);
    return mr_str_is_absent(row->product_group) ||
                   catalogue_has_product_group(catalogue, row->product_group)
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_RULE,
                        "product_group: the catalogue has no product group %.*s.",
                        MR_FMT(row->product_group));
}

/* Only its text is kept here; compiled, it waits in the pool for rule_load. */
static mr_err read_filter(struct control *control, json_value value, mr_arena *arena,
                          struct rule_row *row, struct refusal *ret_refusal) {
    struct route_filter *filter = NULL;
    MR_TRY(filter_parse(&control->filters, value, &filter, ret_refusal));
    if (filter == NULL) {
        row->filter = MR_STR_NONE;
        return MR_OK;
    }
    row->filter = mr_arena_str(arena, filter->json);
    route_filter_unref(filter);
    return mr_str_is_absent(row->filter) ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

/* The members of a judged document but its filter, and what they say of others. */
static mr_err read_members(struct control *control, json_value root, mr_arena *arena,
                           struct rule_row *row, struct refusal *ret_refusal) {
    uint32_t status = 0;
    row->metadata = MR_STR("{}");
    row->sampling = 1;
    MR_TRY(shape_text(root, "name", arena, &row->name));
    MR_TRY(shape_text(root, "destination_id", arena, &row->destination_id));
    MR_TRY(shape_text(root, "product_group", arena, &row->product_group));
    MR_TRY(shape_object(root, "metadata", arena, &row->metadata));
    shape_number(root, "sampling", &row->sampling);
    shape_enum(root, &rule_shape, "status", &status);
    row->is_enabled = status == 0;
    MR_TRY(judge_group(control, row, ret_refusal));
    return read_types(control, json_find(root, MR_STR("event_types")), arena, row, ret_refusal);
}

static mr_err read_document(struct control *control, uint32_t account, json_value root,
                            mr_arena *arena, struct rule_row *row, struct refusal *ret_refusal) {
    MR_TRY(shape_check(root, &rule_shape, SHAPE_CREATE, &place, ret_refusal));
    MR_TRY(read_members(control, root, arena, row, ret_refusal));
    return find_destination(control, account, row, ret_refusal);
}

mr_err rule_row_read(struct control *control, uint32_t account, mr_str body, mr_arena *arena,
                     struct rule_row *row, struct refusal *ret_refusal) {
    json_tape tape;
    mr_err err = body_read(&tape, body, ret_refusal);
    if (mr_is_ok(err)) {
        err = read_document(control, account, json_root(&tape), arena, row, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = read_filter(control, json_find(json_root(&tape), MR_STR("filter")), arena, row,
                          ret_refusal);
    }
    json_tape_done(&tape);
    return err;
}

/* ---- a change ---- */

static mr_err write_document(const struct rule_view *view, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_str(&writer, "name", view->name);
    json_out_member_c(&writer, "status", rule_status_names[view->is_enabled ? 0 : 1]);
    json_out_member_str(&writer, "destination_id", view->destination_id);
    json_out_member_str(&writer, "product_group", view->product_group);
    json_out_name(&writer, MR_STR("event_types"));
    rule_types_write(view->types, view->n_types, &writer);
    json_out_member_u64(&writer, "sampling", view->sampling);
    json_out_member_raw(&writer, "metadata", view->metadata_json);
    json_out_end(&writer);
    return json_out_finish(&writer);
}

/* The patch's filter as it stands there, or, where it names none, the one before. */
static mr_err patch_filter(struct control *control, mr_str body, const struct rule_view *before,
                           mr_arena *arena, struct rule_row *row, struct refusal *ret_refusal) {
    json_tape tape;
    mr_err err = body_read(&tape, body, ret_refusal);
    json_value filter = json_find(json_root(&tape), MR_STR("filter"));
    row->filter = before->filter_json;
    if (mr_is_ok(err) && !json_is_absent(filter)) {
        err = read_filter(control, filter, arena, row, ret_refusal);
    }
    json_tape_done(&tape);
    return err;
}

mr_err rule_row_patch(struct control *control, uint32_t account, const struct rule_view *before,
                      mr_str body, mr_arena *arena, struct rule_row *row,
                      struct refusal *ret_refusal) {
    mr_buf document;
    mr_buf present;
    json_tape tape;
    mr_buf_init(&document, RULE_DOCUMENT_MAX);
    mr_buf_init(&present, RULE_DOCUMENT_MAX);
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    mr_err err = write_document(before, &present);
    if (mr_is_ok(err)) {
        err = shape_merge(mr_buf_view(&present), body, &rule_shape, &document, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = json_tape_read(&tape, mr_buf_view(&document), NULL);
    }
    if (mr_is_ok(err)) {
        err = read_document(control, account, json_root(&tape), arena, row, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = patch_filter(control, body, before, arena, row, ret_refusal);
    }
    json_tape_done(&tape);
    mr_buf_done(&present);
    mr_buf_done(&document);
    return err;
}

/* ---- a draft to try out ---- */

static mr_err read_draft(struct control *control, uint32_t account, json_value root,
                         mr_arena *arena, struct rule_draft *ret_draft,
                         struct refusal *ret_refusal) {
    struct rule_row row = {.destination = 0};
    json_value rule = json_find(root, MR_STR("rule"));
    json_value events = shape_value(root, "events");
    if (!json_is_absent(shape_value(root, "rule")) && json_kind_of(rule) != JSON_OBJECT) {
        return refuse(ret_refusal, REFUSAL_MALFORMED, "rule must be an object.");
    }
    MR_TRY(shape_check(root, &rule_preview_shape, SHAPE_CREATE, &place, ret_refusal));
    if (!json_is_absent(events) && json_kind_of(events) != JSON_ARRAY) {
        return refuse(ret_refusal, REFUSAL_MALFORMED, "events must be an array of events.");
    }
    MR_TRY(read_members(control, rule, arena, &row, ret_refusal));
    if (!mr_str_is_absent(row.destination_id)) {
        MR_TRY(find_destination(control, account, &row, ret_refusal));
    }
    MR_TRY(read_filter(control, json_find(rule, MR_STR("filter")), arena, &row, ret_refusal));
    *ret_draft =
        (struct rule_draft){.is_enabled = row.is_enabled,
                            .product_group = row.product_group,
                            .types = row.types,
                            .n_types = row.n_types,
                            .sampling = row.sampling,
                            .filter_json = row.filter,
                            .events = json_is_absent(events) ? MR_STR_NONE : json_raw(events)};
    return MR_OK;
}

mr_err rules_draft(struct control *control, uint32_t account, mr_str body, mr_arena *arena,
                   struct rule_draft *ret_draft, struct refusal *ret_refusal) {
    json_tape tape;
    mr_err err = body_read(&tape, body, ret_refusal);
    if (mr_is_ok(err)) {
        err = read_draft(control, account, json_root(&tape), arena, ret_draft, ret_refusal);
    }
    json_tape_done(&tape);
    return refuse_error(control, err, ret_refusal);
}
