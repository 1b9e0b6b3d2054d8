/* Accounts. There is the root account only; the table holds a tree. Settings are columns, not JSON:
 * workers read two of them for every event. */
#include "control/accounts.h"

#include "control/body.h"
#include "control/private.h"
#include "json/write.h"
#include "os/clock.h"

static const char *const validate_names[] = {"reject", "warn", "off"};
static const char *const unknown_names[] = {"accept", "refuse"};

static mr_err find_view(struct control *control, uint32_t account, mr_arena *arena,
                        struct account_view *view, struct refusal *ret_refusal) {
    struct query query = query_begin(
        &control->store,
        "SELECT a.number, a.id, p.id, a.friendly_name, a.owner_email, a.status, a.validate,"
        " a.unknown_types, a.events_per_second, a.created_ms, a.version FROM accounts a"
        " LEFT JOIN accounts p ON p.number = a.parent WHERE a.number = ?1");
    query_i64(&query, account);
    bool found = query_row(&query);
    if (found) {
        *view = (struct account_view){
            .number = (uint32_t)query_col_i64(&query, 0),
            .id = query_col_text(&query, 1, arena),
            .parent_id = query_col_text(&query, 2, arena),
            .friendly_name = query_col_text(&query, 3, arena),
            .owner_email = query_col_text(&query, 4, arena),
            .status = query_col_text(&query, 5, arena),
            .validate = (enum model_validate)query_col_i64(&query, 6),
            .unknown_types = (enum model_unknown_types)query_col_i64(&query, 7),
            .has_own_rate = !query_col_is_null(&query, 8),
            .events_per_second = query_col_is_null(&query, 8)
                                     ? control->options.account_events_per_second
                                     : (uint32_t)query_col_i64(&query, 8),
            .created_ms = query_col_i64(&query, 9),
            .version = (uint32_t)query_col_i64(&query, 10),
        };
    }
    MR_TRY(query_end(&query));
    return found ? MR_OK : refuse(ret_refusal, REFUSAL_NOT_FOUND, "There is no such account.");
}

mr_err accounts_get(struct control *control, uint32_t account, mr_arena *arena,
                    struct account_view *ret_view, struct refusal *ret_refusal) {
    return refuse_error(control, find_view(control, account, arena, ret_view, ret_refusal),
                        ret_refusal);
}

static mr_err read_settings(json_value settings, struct account_view *view,
                            struct refusal *ret_refusal) {
    static const char *const members[] = {"validate", "unknown_types", "events_per_second"};
    static const struct body_place place = {.path = "settings.", .wrong = REFUSAL_MALFORMED};
    if (json_kind_of(settings) != JSON_OBJECT) {
        return refuse(ret_refusal, REFUSAL_MALFORMED, "settings must be an object.");
    }
    uint32_t validate = (uint32_t)view->validate;
    uint32_t unknown = (uint32_t)view->unknown_types;
    MR_TRY(body_only(settings, &place, members, 3, ret_refusal));
    MR_TRY(body_enum(settings, &place, "validate", validate_names, 3, &validate, ret_refusal));
    MR_TRY(body_enum(settings, &place, "unknown_types", unknown_names, 2, &unknown, ret_refusal));
    view->validate = (enum model_validate)validate;
    view->unknown_types = (enum model_unknown_types)unknown;
    json_value rate = json_find(settings, MR_STR("events_per_second"));
    if (json_kind_of(rate) == JSON_NULL) {
        view->has_own_rate = false; /* back to the installation's */
    } else if (!json_is_absent(rate)) {
        MR_TRY(body_u32(settings, &place, "events_per_second", 0, 100000000,
                        &view->events_per_second, ret_refusal));
        view->has_own_rate = true;
    }
    return MR_OK;
}

static mr_err read_patch(mr_str body, mr_arena *arena, struct account_view *view,
                         struct refusal *ret_refusal) {
    static const char *const members[] = {"friendly_name", "settings"};
    static const struct body_place place = {.path = "", .wrong = REFUSAL_MALFORMED};
    json_tape tape;
    mr_err err = body_read(&tape, body, ret_refusal);
    if (mr_is_ok(err)) {
        json_value root = json_root(&tape);
        json_value settings = json_find(root, MR_STR("settings"));
        err = body_only(root, &place, members, 2, ret_refusal);
        if (mr_is_ok(err)) {
            err = body_text(root, &place, "friendly_name", 1, 255, false, arena,
                            &view->friendly_name, ret_refusal);
        }
        if (mr_is_ok(err) && !json_is_absent(settings)) {
            err = read_settings(settings, view, ret_refusal);
        }
    }
    json_tape_done(&tape);
    return err;
}

static mr_err tell_changed(struct control *control, uint32_t account,
                           const struct account_view *before, const struct account_view *after) {
    struct audit_change change;
    audit_change_begin(&change);
    mr_err err = account_write_json(before, &change.before);
    if (mr_is_ok(err)) {
        err = account_write_json(after, &change.after);
    }
    return audit_change_end(control, &change, err, account, "account.change", after->id);
}

static mr_err patch_inner(struct control *control, uint32_t account, mr_str body,
                          uint32_t if_version, mr_arena *arena, struct account_view *view,
                          struct refusal *ret_refusal) {
    MR_TRY(find_view(control, account, arena, view, ret_refusal));
    if (if_version != 0 && if_version != view->version) {
        return refuse(ret_refusal, REFUSAL_PRECONDITION, "The account was changed meanwhile.");
    }
    const struct account_view before = *view;
    MR_TRY(read_patch(body, arena, view, ret_refusal));
    struct query query =
        query_begin(&control->store, "UPDATE accounts SET friendly_name = ?1, validate = ?2,"
                                     " unknown_types = ?3, events_per_second = ?4,"
                                     " version = version + 1, updated_ms = ?5 WHERE number = ?6");
    query_text(&query, view->friendly_name);
    query_i64(&query, (int64_t)view->validate);
    query_i64(&query, (int64_t)view->unknown_types);
    if (view->has_own_rate) {
        query_i64(&query, view->events_per_second);
    } else {
        query_null(&query);
    }
    query_i64(&query, mr_wall_ms(os_wall_now()));
    query_i64(&query, account);
    MR_TRY(query_run(&query));
    MR_TRY(change_mark(control, MODEL_ACCOUNT, account));
    MR_TRY(find_view(control, account, arena, view, ret_refusal));
    return tell_changed(control, account, &before, view);
}

mr_err accounts_patch(struct control *control, uint32_t account, mr_str body, uint32_t if_version,
                      mr_arena *arena, struct account_view *ret_view, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control,
                      patch_inner(control, account, body, if_version, arena, ret_view, ret_refusal),
                      ret_refusal);
}

mr_err account_write_json(const struct account_view *view, mr_buf *out) {
    char date[MR_TIME_TEXT_SIZE];
    mr_time_format_ms(mr_wall_of_ms(view->created_ms), date);
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_str(&writer, "id", view->id);
    json_out_member_str(&writer, "parent_id", view->parent_id);
    json_out_member_c(&writer, "date_created", date);
    json_out_member_str(&writer, "friendly_name", view->friendly_name);
    json_out_member_str(&writer, "status", view->status);
    json_out_member_object(&writer, "settings");
    json_out_member_c(&writer, "validate", validate_names[view->validate]);
    json_out_member_c(&writer, "unknown_types", unknown_names[view->unknown_types]);
    json_out_member_u64(&writer, "events_per_second", view->events_per_second);
    json_out_end(&writer);
    json_out_end(&writer);
    return json_out_finish(&writer);
}
