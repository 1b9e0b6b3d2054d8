/* The JSON of a destination. */
#include "control/destinations.h"

#include "json/write.h"

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
