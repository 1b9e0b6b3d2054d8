/* Accounts as they are read: one, the tree below one, their mappings. Changes: accounts/change.c.
 *
 * Settings are columns, not JSON: workers read some of them for every event. Lists are not paged,
 * as KORE's are not; ACCOUNTS_MAX bounds them, and each row is written as it is read. Numbers rise,
 * so that the order of numbers puts a parent before its children. */
#include "control/accounts.h"

#include "control/accounts/parts.h"
#include "control/private.h"
#include "json/write.h"

#define ROW_BYTES_MAX 65536

/* Of accounts a, its parent p, its mapping t. */
#define COLUMNS                                                                                    \
    "a.number, a.id, p.id, a.friendly_name, a.description, a.owner_email, a.status, a.validate,"   \
    " a.unknown_types, a.events_per_second, a.second_factor, t.legacy_account_id, a.created_ms,"   \
    " a.version"
#define JOINS                                                                                      \
    " LEFT JOIN accounts p ON p.number = a.parent"                                                 \
    " LEFT JOIN account_platforms t ON t.account = a.number AND t.platform = 'twilio'"
/* The numbers of account ?1 and, unless ?2, of all below it. */
#define TREE                                                                                       \
    "WITH RECURSIVE tree(number) AS (SELECT ?1 UNION ALL SELECT c.number FROM accounts c"          \
    " JOIN tree ON c.parent = tree.number WHERE NOT ?2) "

const char *const account_validate_names[3] = {"reject", "warn", "off"};
const char *const account_unknown_names[2] = {"accept", "refuse"};
const char *const account_factor_names[2] = {"optional", "required"};

static struct account_view view_of_row(const struct control *control, struct query *query,
                                       mr_arena *arena) {
    bool has_own_rate = !query_col_is_null(query, 9);
    return (struct account_view){
        .number = (uint32_t)query_col_i64(query, 0),
        .id = query_col_text(query, 1, arena),
        .parent_id = query_col_text(query, 2, arena),
        .friendly_name = query_col_text(query, 3, arena),
        .description = query_col_text(query, 4, arena),
        .owner_email = query_col_text(query, 5, arena),
        .status = query_col_text(query, 6, arena),
        .validate = (enum model_validate)query_col_i64(query, 7),
        .unknown_types = (enum model_unknown_types)query_col_i64(query, 8),
        .has_own_rate = has_own_rate,
        .events_per_second = has_own_rate ? (uint32_t)query_col_i64(query, 9)
                                          : control->options.account_events_per_second,
        .needs_second_factor = query_col_i64(query, 10) != 0,
        .twilio_id = query_col_text(query, 11, arena),
        .created_ms = query_col_i64(query, 12),
        .version = (uint32_t)query_col_i64(query, 13),
    };
}

mr_err account_find(struct control *control, uint32_t account, mr_arena *arena,
                    struct account_view *ret_view, struct refusal *ret_refusal) {
    struct query query = query_begin(&control->store, "SELECT " COLUMNS " FROM accounts a" JOINS
                                                      " WHERE a.number = ?1");
    query_i64(&query, account);
    bool found = query_row(&query);
    struct account_view view = {0};
    if (found) {
        view = view_of_row(control, &query, arena);
    }
    MR_TRY(query_end(&query));
    if (!found) {
        return refuse(ret_refusal, REFUSAL_NOT_FOUND, "There is no such account.");
    }
    *ret_view = view;
    return MR_OK;
}

mr_err accounts_get(struct control *control, uint32_t account, mr_arena *arena,
                    struct account_view *ret_view, struct refusal *ret_refusal) {
    return refuse_error(control, account_find(control, account, arena, ret_view, ret_refusal),
                        ret_refusal);
}

static mr_err find_within(struct control *control, uint32_t home, mr_str id, uint32_t *ret_number,
                          struct refusal *ret_refusal) {
    struct query query = query_begin(
        &control->store, "WITH RECURSIVE up(start, number, parent) AS"
                         " (SELECT number, number, parent FROM accounts WHERE id = ?1"
                         " UNION ALL SELECT up.start, a.number, a.parent FROM accounts a"
                         " JOIN up ON a.number = up.parent)"
                         " SELECT start FROM up WHERE number = ?2");
    query_text(&query, id);
    query_i64(&query, home);
    bool found = query_row(&query);
    uint32_t number = found ? (uint32_t)query_col_i64(&query, 0) : 0;
    MR_TRY(query_end(&query));
    if (!found) {
        return refuse(ret_refusal, REFUSAL_NOT_FOUND, "There is no such account.");
    }
    *ret_number = number;
    return MR_OK;
}

mr_err accounts_find_within(struct control *control, uint32_t home, mr_str id, uint32_t *ret_number,
                            struct refusal *ret_refusal) {
    return refuse_error(control, find_within(control, home, id, ret_number, ret_refusal),
                        ret_refusal);
}

/* ---- JSON ---- */

static const struct shape_member platform_answer_members[] = {
    {"id", .kind = SHAPE_TEXT},
    {"legacy_account_id", .kind = SHAPE_TEXT},
    {"platform", .kind = SHAPE_TEXT},
};
static const struct shape platform_answer = {"PlatformMapping", platform_answer_members,
                                             sizeof platform_answer_members /
                                                 sizeof platform_answer_members[0]};
static const struct shape_member account_answer_members[] = {
    {"id", .kind = SHAPE_TEXT},
    {"parent_id", SHAPE_TEXT, SHAPE_OPTIONAL, .what = "The root has none"},
    {"date_created", .kind = SHAPE_TIME},
    {"friendly_name", .kind = SHAPE_TEXT},
    {"status", .kind = SHAPE_TEXT},
    {"description", SHAPE_LINES, .flags = SHAPE_NULLABLE},
    {"owner_email", SHAPE_TEXT, .flags = SHAPE_NULLABLE},
    {"settings", SHAPE_INNER, .inner = &account_settings_shape},
    {"platforms", SHAPE_INNERS, .inner = &platform_answer},
    {"owner_invite_url", SHAPE_TEXT, SHAPE_OPTIONAL | SHAPE_SECRET,
     .what = "Of a creation, where it was not mailed"},
};
const struct shape account_answer = {"Account", account_answer_members,
                                     sizeof account_answer_members /
                                         sizeof account_answer_members[0]};
static const struct shape_member account_list_answer_members[] = {
    {"accounts", SHAPE_INNERS, .inner = &account_answer},
};
const struct shape account_list_answer = {"AccountList", account_list_answer_members,
                                          sizeof account_list_answer_members /
                                              sizeof account_list_answer_members[0]};
static const struct shape_member platform_list_answer_members[] = {
    {"platforms", SHAPE_INNERS, .inner = &platform_answer},
};
const struct shape platform_list_answer = {"PlatformMappingList", platform_list_answer_members,
                                           sizeof platform_list_answer_members /
                                               sizeof platform_list_answer_members[0]};

static void write_text(json_out *out, const char *name, mr_str text) {
    json_out_member_str(out, name, text.len == 0 ? MR_STR_NONE : text);
}

static void write_platform(json_out *out, mr_str account_id, mr_str legacy_id) {
    json_out_object(out);
    json_out_member_str(out, "id", account_id);
    json_out_member_str(out, "legacy_account_id", legacy_id);
    json_out_member_c(out, "platform", "twilio");
    json_out_end(out);
}

static void write_view(json_out *out, const struct account_view *view) {
    char date[MR_TIME_TEXT_SIZE];
    mr_time_format_ms(mr_wall_of_ms(view->created_ms), date);
    json_out_object(out);
    json_out_member_str(out, "id", view->id);
    if (!mr_str_is_absent(view->parent_id)) { /* KORE's is a string wherever it stands */
        json_out_member_str(out, "parent_id", view->parent_id);
    }
    json_out_member_c(out, "date_created", date);
    json_out_member_str(out, "friendly_name", view->friendly_name);
    json_out_member_str(out, "status", view->status);
    write_text(out, "description", view->description);
    write_text(out, "owner_email", view->owner_email);
    json_out_member_object(out, "settings");
    json_out_member_c(out, "validate", account_validate_names[view->validate]);
    json_out_member_c(out, "unknown_types", account_unknown_names[view->unknown_types]);
    json_out_member_u64(out, "events_per_second", view->events_per_second);
    json_out_member_c(out, "second_factor", account_factor_names[view->needs_second_factor]);
    json_out_end(out);
    json_out_member_array(out, "platforms");
    if (!mr_str_is_absent(view->twilio_id)) {
        write_platform(out, view->id, view->twilio_id);
    }
    json_out_end(out);
    if (view->owner_url.len > 0) {
        json_out_member_str(out, "owner_invite_url", view->owner_url);
    }
    json_out_end(out);
}

mr_err account_write_json(const struct account_view *view, mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    write_view(&writer, view);
    return json_out_finish(&writer);
}

static mr_err write_list(struct control *control, uint32_t account, bool is_alone, mr_buf *out) {
    mr_arena row;
    json_out writer;
    mr_arena_init(&row, ROW_BYTES_MAX);
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_array(&writer, "accounts");
    struct query query =
        query_begin(&control->store, TREE "SELECT " COLUMNS " FROM accounts a" JOINS
                                          " WHERE a.number IN (SELECT number FROM tree)"
                                          " ORDER BY a.number");
    query_i64(&query, account);
    query_i64(&query, is_alone);
    while (query_row(&query)) {
        struct account_view view = view_of_row(control, &query, &row);
        write_view(&writer, &view);
        mr_arena_reset(&row);
    }
    mr_err err = query_end(&query);
    json_out_end(&writer);
    json_out_end(&writer);
    mr_err written = json_out_finish(&writer);
    mr_arena_done(&row);
    return mr_is_err(err) ? err : written;
}

mr_err accounts_write_list(struct control *control, uint32_t account, bool is_alone, mr_buf *out,
                           struct refusal *ret_refusal) {
    return refuse_error(control, write_list(control, account, is_alone, out), ret_refusal);
}

static mr_err write_mappings(struct control *control, uint32_t account, bool is_alone,
                             mr_buf *out) {
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_array(&writer, "platforms");
    struct query query = query_begin(&control->store, TREE
                                     "SELECT a.id, t.legacy_account_id FROM account_platforms t"
                                     " JOIN accounts a ON a.number = t.account"
                                     " WHERE t.account IN (SELECT number FROM tree)"
                                     " ORDER BY t.account, t.platform");
    query_i64(&query, account);
    query_i64(&query, is_alone);
    while (query_row(&query)) {
        write_platform(&writer, query_col_bytes(&query, 0), query_col_bytes(&query, 1));
    }
    mr_err err = query_end(&query);
    json_out_end(&writer);
    json_out_end(&writer);
    mr_err written = json_out_finish(&writer);
    return mr_is_err(err) ? err : written;
}

mr_err accounts_write_mappings(struct control *control, uint32_t account, bool is_alone,
                               mr_buf *out, struct refusal *ret_refusal) {
    return refuse_error(control, write_mappings(control, account, is_alone, out), ret_refusal);
}
