/* The JSON of a destination. */
#include "control/destinations/parts.h"
#include "control/settings.h"
#include "json/write.h"

#define RULES_SCHEMA "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}"
#define LAST_TEST_SCHEMA                                                                           \
    "{\"type\":[\"object\",\"null\"],\"description\":\"What the last test event met\"}"

static const struct shape_member counter_members[] = {
    {"pending", .kind = SHAPE_NUMBER}, {"delivered", .kind = SHAPE_NUMBER},
    {"dead", .kind = SHAPE_NUMBER},    {"discarded", .kind = SHAPE_NUMBER},
    {"skipped", .kind = SHAPE_NUMBER}, {"failed_attempts", .kind = SHAPE_NUMBER},
};
const struct shape destination_counters_answer = {
    "Counters", counter_members, sizeof counter_members / sizeof counter_members[0]};

static const struct shape_member gap_members[] = {
    {"from", .kind = SHAPE_TIME},
    {"to", .kind = SHAPE_TIME},
    {"events", SHAPE_NUMBER, 0, .what = "Matches that were skipped while it was disabled"},
};
static const struct shape gap_answer = {"Gap", gap_members,
                                        sizeof gap_members / sizeof gap_members[0]};

static const struct shape_member members[] = {
    {"id", .kind = SHAPE_TEXT},
    {"account_id", .kind = SHAPE_TEXT},
    {"name", .kind = SHAPE_TEXT},
    {"description", .kind = SHAPE_LINES},
    {"kind", SHAPE_ENUM, 0, .names = destination_kind_names, .n_names = DESTINATION_KINDS},
    {"settings", SHAPE_CHOICE, 0, .n_names = DESTINATION_KINDS, .choices = settings_shapes,
     .by = "kind"},
    {"status", SHAPE_ENUM, 0, .names = destination_status_names, .n_names = DESTINATION_STATUSES},
    {"last_test", SHAPE_OWN, 0, .schema = LAST_TEST_SCHEMA},
    {"counters", SHAPE_INNER, 0, .inner = &destination_counters_answer},
    {"rules", SHAPE_OWN, 0, .schema = RULES_SCHEMA},
    {"metadata", .kind = SHAPE_OBJECT},
    {"date_created", .kind = SHAPE_TIME},
    {"date_updated", .kind = SHAPE_TIME},
    {"gap", SHAPE_INNER, SHAPE_OPTIONAL, .inner = &gap_answer,
     .what = "In the answer to the change that enables it"},
};
const struct shape destination_answer = {"Destination", members,
                                         sizeof members / sizeof members[0]};

void destination_write_counters(const struct destination_counters *counters, struct json_out *out) {
    if (counters == NULL) {
        json_out_member_null(out, "counters");
        return;
    }
    json_out_member_object(out, "counters");
    json_out_member_u64(out, "pending", counters->pending);
    json_out_member_u64(out, "delivered", counters->delivered);
    json_out_member_u64(out, "dead", counters->dead);
    json_out_member_u64(out, "discarded", counters->discarded);
    json_out_member_u64(out, "skipped", counters->skipped);
    json_out_member_u64(out, "failed_attempts", counters->failed_attempts);
    json_out_end(out);
}

void destination_write_members(const struct destination_view *view,
                               const struct destination_counters *counters, struct json_out *out) {
    char created[MR_TIME_TEXT_SIZE];
    char updated[MR_TIME_TEXT_SIZE];
    mr_time_format_ms(mr_wall_of_ms(view->created_ms), created);
    mr_time_format_ms(mr_wall_of_ms(view->updated_ms), updated);
    json_out_member_str(out, "id", view->id);
    json_out_member_str(out, "account_id", view->account_id);
    json_out_member_str(out, "name", view->name);
    json_out_member_str(out, "description", view->description);
    json_out_member_str(out, "kind", model_kind_name(view->kind));
    json_out_member_raw(out, "settings", view->settings_json);
    json_out_member_str(out, "status", model_status_name(view->status));
    json_out_member_raw(out, "last_test", view->last_test_json);
    destination_write_counters(counters, out);
    json_out_member_array(out, "rules");
    for (size_t i = 0; i < view->n_rules; i++) {
        json_out_str(out, view->rule_ids[i]);
    }
    json_out_end(out);
    json_out_member_raw(out, "metadata", view->metadata_json);
    json_out_member_c(out, "date_created", created);
    json_out_member_c(out, "date_updated", updated);
}

mr_err destination_write_json(const struct destination_view *view,
                              const struct destination_counters *counters, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    destination_write_members(view, counters, &writer);
    json_out_end(&writer);
    return json_out_finish(&writer);
}
