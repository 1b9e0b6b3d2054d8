/* The JSON of a streaming rule: as the API shows it, and its event types as a row keeps them. */
#include "control/rules/parts.h"

const char *const rule_status_names[2] = {"enabled", "disabled"};

static const struct shape_member type_members[] = {
    {"type", .kind = SHAPE_TEXT},
    {"schema_version", SHAPE_NUMBER, SHAPE_NULLABLE, 1, 0, .what = "null: the latest"},
};
static const struct shape type_answer = {"RuleType", type_members,
                                         sizeof type_members / sizeof type_members[0]};

static const struct shape_member members[] = {
    {"id", .kind = SHAPE_TEXT},
    {"account_id", .kind = SHAPE_TEXT},
    {"name", .kind = SHAPE_TEXT},
    {"status", SHAPE_ENUM, 0, .names = rule_status_names, .n_names = 2},
    {"destination_id", .kind = SHAPE_TEXT},
    {"product_group", SHAPE_TEXT, .flags = SHAPE_NULLABLE},
    {"event_types", SHAPE_INNERS, 0, .inner = &type_answer},
    {"filter", SHAPE_OWN, 0, .schema = RULE_FILTER_SCHEMA},
    {"sampling", SHAPE_NUMBER, .min = 1, .max = RULE_SAMPLING_MAX},
    {"metadata", .kind = SHAPE_OBJECT},
    {"date_created", .kind = SHAPE_TIME},
    {"date_updated", .kind = SHAPE_TIME},
};
const struct shape rule_answer = {"Rule", members, sizeof members / sizeof members[0]};

void rule_types_write(const struct model_rule_type *types, size_t n, json_out *out) {
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

mr_err rule_types_read(mr_str json, mr_arena *arena, const struct model_rule_type **ret_types,
                       size_t *ret_n) {
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
        mr_ignore(
            json_u64(json_find(it.value, MR_STR("schema_version")), 1, RULE_VERSION_MAX, &version),
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
    json_out_member_c(&writer, "status", rule_status_names[view->is_enabled ? 0 : 1]);
    json_out_member_str(&writer, "destination_id", view->destination_id);
    json_out_member_str(&writer, "product_group", view->product_group);
    json_out_name(&writer, MR_STR("event_types"));
    rule_types_write(view->types, view->n_types, &writer);
    json_out_member_raw(&writer, "filter", view->filter_json);
    json_out_member_u64(&writer, "sampling", view->sampling);
    json_out_member_raw(&writer, "metadata", view->metadata_json);
    json_out_member_c(&writer, "date_created", created);
    json_out_member_c(&writer, "date_updated", updated);
    json_out_end(&writer);
    return json_out_finish(&writer);
}
