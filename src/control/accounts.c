/* Accounts. There is the root account only; the table holds a tree. Settings are columns, not JSON:
 * workers read two of them for every event. */
#include "control/accounts.h"

#include "control/private.h"
#include "json/write.h"
#include "os/clock.h"

#define EVENTS_PER_SECOND_MAX 100000000

static const char *const validate_names[] = {"reject", "warn", "off"};
static const char *const unknown_names[] = {"accept", "refuse"};

static const struct shape_member settings_members[] = {
    {"validate", SHAPE_ENUM, 0, .names = validate_names, .n_names = 3,
     .what = "What becomes of events whose data breaks their schema"},
    {"unknown_types", SHAPE_ENUM, 0, .names = unknown_names, .n_names = 2,
     .what = "What becomes of events of types that the catalogue lacks"},
    {"events_per_second", SHAPE_NUMBER, 0, 0, EVENTS_PER_SECOND_MAX,
     .what = "Events a second at most, 0: no bound; null: as the installation has it"},
};
static const struct shape settings_shape = {"AccountSettings", settings_members,
                                            sizeof settings_members / sizeof settings_members[0]};
static const struct shape_member members[] = {
    {"friendly_name", SHAPE_TEXT, 0, 1, 255, .what = "For people"},
    {"settings", SHAPE_INNER, 0, .inner = &settings_shape},
};
const struct shape account_shape = {"Account", members, sizeof members / sizeof members[0]};

static const struct shape_member answer_members[] = {
    {"id", .kind = SHAPE_TEXT},           {"parent_id", SHAPE_TEXT, .flags = SHAPE_NULLABLE},
    {"date_created", .kind = SHAPE_TIME}, {"friendly_name", .kind = SHAPE_TEXT},
    {"status", .kind = SHAPE_TEXT},       {"settings", SHAPE_INNER, 0, .inner = &settings_shape},
};
const struct shape account_answer = {"Account", answer_members,
                                     sizeof answer_members / sizeof answer_members[0]};

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

static void read_settings(json_value settings, struct account_view *view) {
    uint32_t validate = (uint32_t)view->validate;
    uint32_t unknown = (uint32_t)view->unknown_types;
    shape_enum(settings, &settings_shape, "validate", &validate);
    shape_enum(settings, &settings_shape, "unknown_types", &unknown);
    view->validate = (enum model_validate)validate;
    view->unknown_types = (enum model_unknown_types)unknown;
    if (shape_has(settings, "events_per_second")) {
        /* null: back to the installation's */
        view->has_own_rate = !shape_is_null(settings, "events_per_second");
        shape_number(settings, "events_per_second", &view->events_per_second);
    }
}

static mr_err read_patch(mr_str body, mr_arena *arena, struct account_view *view,
                         struct refusal *ret_refusal) {
    json_tape tape;
    mr_err err = shape_read(&tape, body, &account_shape, SHAPE_CHANGE, ret_refusal);
    if (mr_is_ok(err)) {
        json_value root = json_root(&tape);
        read_settings(shape_value(root, "settings"), view);
        err = shape_text(root, "friendly_name", arena, &view->friendly_name);
    }
    json_tape_done(&tape);
    return err;
}

static mr_err patch_inner(struct control *control, uint32_t account, mr_str body,
                          uint32_t if_version, mr_arena *arena, struct account_view *view,
                          struct refusal *ret_refusal) {
    MR_TRY(find_view(control, account, arena, view, ret_refusal));
    if (if_version != 0 && if_version != view->version) {
        return refuse(ret_refusal, REFUSAL_PRECONDITION, "The account was changed meanwhile.");
    }
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
    return find_view(control, account, arena, view, ret_refusal);
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
