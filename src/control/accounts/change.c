/* Accounts as they are made and changed.
 *
 * A body is judged by its shape, then read over the account as it is (a new one: over the
 * defaults). All runs on the one control thread, so that what a creation counted is still true when
 * its row is written: of two that meet the last free place one is refused. */
#include "control/accounts.h"

#include "base/mem.h"
#include "control/accounts/parts.h"
#include "control/people/invites.h"
#include "control/private.h"
#include "json/write.h"
#include "os/clock.h"

#define NAME_BYTES_MAX        255
#define DESCRIPTION_BYTES_MAX 512
#define EMAIL_BYTES_MAX       254
#define RATE_MAX              100000000

/* ---- the body ---- */

static const char *const platform_names[] = {"twilio"};

static const struct shape_member settings_members[] = {
    {.name = "validate",
     .kind = SHAPE_ENUM,
     .names = account_validate_names,
     .n_names = 3,
     .what = "what becomes of events that break their schema"},
    {.name = "unknown_types",
     .kind = SHAPE_ENUM,
     .names = account_unknown_names,
     .n_names = 2,
     .what = "what becomes of events whose type the catalogue lacks"},
    {.name = "events_per_second",
     .kind = SHAPE_NUMBER,
     .flags = SHAPE_NULLABLE,
     .max = RATE_MAX,
     .what =
         "the most that the account may publish; 0: no limit; null: the installation's default"},
    {.name = "second_factor",
     .kind = SHAPE_ENUM,
     .names = account_factor_names,
     .n_names = 2,
     .what = "whether every user of the account needs one"},
};
const struct shape account_settings_shape = {"AccountSettings", settings_members, 4};

static const struct shape_member platform_members[] = {
    {.name = "platform",
     .kind = SHAPE_ENUM,
     .flags = SHAPE_NEEDED,
     .names = platform_names,
     .n_names = 1,
     .what = "the platform"},
    {.name = "legacy_account_id",
     .kind = SHAPE_TEXT,
     .flags = SHAPE_NEEDED,
     .min = 1,
     .max = NAME_BYTES_MAX,
     .what = "the account's id there"},
};
static const struct shape platform_shape = {"AccountPlatform", platform_members, 2};

static const struct shape_member account_members[] = {
    {.name = "friendly_name",
     .kind = SHAPE_TEXT,
     .flags = SHAPE_NEEDED,
     .min = 1,
     .max = NAME_BYTES_MAX,
     .what = "its name, for people"},
    {.name = "description",
     .kind = SHAPE_LINES,
     .flags = SHAPE_NULLABLE,
     .max = DESCRIPTION_BYTES_MAX,
     .what = "what it is for"},
    {.name = "owner_email",
     .kind = SHAPE_TEXT,
     .flags = SHAPE_CREATE_ONLY,
     .min = 3,
     .max = EMAIL_BYTES_MAX,
     .what = "who shall own it: is invited"},
    {.name = "settings",
     .kind = SHAPE_INNER,
     .inner = &account_settings_shape,
     .what = "its settings"},
    {.name = "platforms",
     .kind = SHAPE_INNERS,
     .flags = SHAPE_CHANGE_ONLY | SHAPE_NULLABLE,
     .max = sizeof platform_names / sizeof platform_names[0],
     .inner = &platform_shape,
     .what = "its ids at other platforms; replaced as a whole"},
};
const struct shape account_shape = {"Account", account_members, 5};

static void read_settings(json_value settings, struct account_view *view) {
    uint32_t validate = (uint32_t)view->validate;
    uint32_t unknown = (uint32_t)view->unknown_types;
    uint32_t factor = view->needs_second_factor;
    shape_enum(settings, &account_settings_shape, "validate", &validate);
    shape_enum(settings, &account_settings_shape, "unknown_types", &unknown);
    shape_enum(settings, &account_settings_shape, "second_factor", &factor);
    view->validate = (enum model_validate)validate;
    view->unknown_types = (enum model_unknown_types)unknown;
    view->needs_second_factor = factor != 0;
    if (shape_has(settings, "events_per_second")) {
        view->has_own_rate = !shape_is_null(settings, "events_per_second");
        shape_number(settings, "events_per_second", &view->events_per_second);
    }
}

/* A judged body over the view. */
static mr_err read_body(json_value root, mr_arena *arena, struct account_view *view,
                        struct refusal *ret_refusal) {
    MR_TRY(shape_text(root, "friendly_name", arena, &view->friendly_name));
    MR_TRY(shape_text(root, "description", arena, &view->description));
    MR_TRY(shape_text(root, "owner_email", arena, &view->owner_email));
    if (view->owner_email.len > 0 && !user_email_is_plausible(view->owner_email)) {
        return refuse(ret_refusal, REFUSAL_MALFORMED, "owner_email must be an e-mail address.");
    }
    if (shape_is_null(root, "description")) {
        view->description = MR_STR("");
    }
    json_value settings = shape_value(root, "settings");
    if (!json_is_absent(settings)) {
        read_settings(settings, view);
    }
    if (shape_has(root, "platforms")) {
        view->twilio_id = MR_STR_NONE;
        json_value platforms = shape_value(root, "platforms");
        if (!json_is_absent(platforms) && json_count(platforms) > 0) {
            MR_TRY(
                shape_text(json_item(platforms, 0), "legacy_account_id", arena, &view->twilio_id));
        }
    }
    return MR_OK;
}

/* ---- rows ---- */

/* The columns that a body sets, from ?1 on: name, description, validate, unknown_types,
 * events_per_second, second_factor. */
static void bind_view(struct query *query, const struct account_view *view) {
    query_text(query, view->friendly_name);
    query_text(query, view->description);
    query_i64(query, (int64_t)view->validate);
    query_i64(query, (int64_t)view->unknown_types);
    if (view->has_own_rate) {
        query_i64(query, view->events_per_second);
    } else {
        query_null(query);
    }
    query_i64(query, view->needs_second_factor);
}

static mr_err tell(struct control *control, uint32_t account, const char *action,
                   const struct account_view *before, const struct account_view *after) {
    struct audit_change change;
    audit_change_begin(&change);
    mr_err err = before == NULL ? MR_OK : account_write_json(before, &change.before);
    if (mr_is_ok(err)) {
        err = account_write_json(after, &change.after);
    }
    return audit_change_end(control, &change, err, account, action, after->id);
}

/* ---- creation ---- */

static mr_err check_room(struct control *control, uint32_t parent, struct refusal *ret_refusal) {
    struct query query = query_begin(
        &control->store,
        "WITH RECURSIVE up(number, parent) AS (SELECT number, parent FROM accounts"
        " WHERE number = ?1 UNION ALL SELECT a.number, a.parent FROM accounts a"
        " JOIN up ON a.number = up.parent)"
        " SELECT (SELECT count(*) FROM up), (SELECT count(*) FROM accounts WHERE parent = ?1),"
        " (SELECT count(*) FROM accounts)");
    query_i64(&query, parent);
    int64_t levels = 0;
    int64_t children = 0;
    int64_t all = 0;
    while (query_row(&query)) {
        levels = query_col_i64(&query, 0);
        children = query_col_i64(&query, 1);
        all = query_col_i64(&query, 2);
    }
    MR_TRY(query_end(&query));
    if (levels == 0) {
        return refuse(ret_refusal, REFUSAL_NOT_FOUND, "There is no such account.");
    }
    if (levels >= MODEL_ACCOUNT_LEVELS_MAX) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "An account on level %d cannot have children.", MODEL_ACCOUNT_LEVELS_MAX);
    }
    if (children >= ACCOUNT_CHILDREN_MAX) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "An account cannot have more than %d children.", ACCOUNT_CHILDREN_MAX);
    }
    return all < ACCOUNTS_MAX
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                        "An installation cannot have more than %d accounts.", ACCOUNTS_MAX);
}

static mr_err insert(struct control *control, uint32_t parent, const struct account_view *view) {
    struct query query = query_begin(
        &control->store,
        "INSERT INTO accounts(friendly_name, description, validate, unknown_types,"
        " events_per_second, second_factor, number, id, parent, owner_email, status, version,"
        " created_ms, updated_ms)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'ACTIVE', 1, ?11, ?11)");
    bind_view(&query, view);
    query_i64(&query, view->number);
    query_text(&query, view->id);
    query_i64(&query, parent);
    query_text(&query, view->owner_email);
    query_i64(&query, view->created_ms);
    return query_run(&query);
}

static mr_err create_judged(struct control *control, const struct auth_scopes *held,
                            uint32_t parent, json_value root, mr_str base_url, mr_arena *arena,
                            struct account_view *ret_view, struct refusal *ret_refusal) {
    char id[CRYPTO_ID_SIZE];
    struct link_made made = {.url = MR_STR_NONE};
    mr_wall now = os_wall_now();
    struct account_view view = {.description = MR_STR(""),
                                .owner_email = MR_STR(""),
                                .validate = MODEL_VALIDATE_REJECT,
                                .unknown_types = MODEL_UNKNOWN_ACCEPT,
                                .created_ms = mr_wall_ms(now)};
    MR_TRY(read_body(root, arena, &view, ret_refusal));
    if (view.owner_email.len > 0 && held != NULL &&
        !auth_scopes_allow(held, AUTH_RES_USERS, AUTH_WRITE)) {
        return refuse(ret_refusal, REFUSAL_DENIED,
                      "owner_email invites a user, which takes Write on Users too.");
    }
    MR_TRY(check_room(control, parent, ret_refusal));
    MR_TRY(number_take(control, "account", &view.number));
    view.id = mr_str_of(id, crypto_id_make(MR_STR("acct_"), now, id));
    MR_TRY(insert(control, parent, &view));
    MR_TRY(change_mark(control, MODEL_ACCOUNT, view.number));
    if (view.owner_email.len > 0) {
        MR_TRY(invites_make_owner(control, view.number, view.owner_email, base_url, now, arena,
                                  &made, ret_refusal));
    }
    MR_TRY(account_find(control, view.number, arena, ret_view, ret_refusal));
    MR_TRY(tell(control, parent, "account.create", NULL, ret_view));
    ret_view->owner_url = made.url;
    return MR_OK;
}

mr_err accounts_create(struct control *control, const struct auth_scopes *held, uint32_t parent,
                       mr_str body, mr_str base_url, mr_arena *arena, struct account_view *ret_view,
                       struct refusal *ret_refusal) {
    json_tape tape;
    MR_TRY(change_begin(control, ret_refusal));
    mr_err err = shape_read(&tape, body, &account_shape, SHAPE_CREATE, ret_refusal);
    if (mr_is_ok(err)) {
        err = create_judged(control, held, parent, json_root(&tape), base_url, arena, ret_view,
                            ret_refusal);
    }
    json_tape_done(&tape);
    return change_end(control, err, ret_refusal);
}

/* ---- change ---- */

static mr_err update(struct control *control, uint32_t account, const struct account_view *view) {
    struct query query =
        query_begin(&control->store, "UPDATE accounts SET friendly_name = ?1, description = ?2,"
                                     " validate = ?3, unknown_types = ?4, events_per_second = ?5,"
                                     " second_factor = ?6, version = version + 1, updated_ms = ?7"
                                     " WHERE number = ?8");
    bind_view(&query, view);
    query_i64(&query, mr_wall_ms(os_wall_now()));
    query_i64(&query, account);
    return query_run(&query);
}

static mr_err put_platform(struct control *control, uint32_t account, mr_str legacy_id) {
    bool is_mapped = !mr_str_is_absent(legacy_id);
    struct query query =
        is_mapped
            ? query_begin(&control->store, "INSERT OR REPLACE INTO account_platforms(account,"
                                           " platform, legacy_account_id) VALUES(?1, 'twilio', ?2)")
            : query_begin(&control->store, "DELETE FROM account_platforms WHERE account = ?1");
    query_i64(&query, account);
    if (is_mapped) {
        query_text(&query, legacy_id);
    }
    return query_run(&query);
}

static mr_err patch_judged(struct control *control, uint32_t account, json_value root,
                           uint32_t if_version, mr_arena *arena, struct account_view *ret_view,
                           struct refusal *ret_refusal) {
    struct account_view view;
    MR_TRY(account_find(control, account, arena, &view, ret_refusal));
    const struct account_view before = view;
    if (if_version != 0 && if_version != view.version) {
        return refuse(ret_refusal, REFUSAL_PRECONDITION, "The account was changed meanwhile.");
    }
    MR_TRY(read_body(root, arena, &view, ret_refusal));
    MR_TRY(update(control, account, &view));
    MR_TRY(put_platform(control, account, view.twilio_id));
    MR_TRY(change_mark(control, MODEL_ACCOUNT, account));
    MR_TRY(account_find(control, account, arena, ret_view, ret_refusal));
    return tell(control, account, "account.change", &before, ret_view);
}

mr_err accounts_patch(struct control *control, uint32_t account, mr_str body, uint32_t if_version,
                      mr_arena *arena, struct account_view *ret_view, struct refusal *ret_refusal) {
    json_tape tape;
    MR_TRY(change_begin(control, ret_refusal));
    mr_err err = shape_read(&tape, body, &account_shape, SHAPE_CHANGE, ret_refusal);
    if (mr_is_ok(err)) {
        err = patch_judged(control, account, json_root(&tape), if_version, arena, ret_view,
                           ret_refusal);
    }
    json_tape_done(&tape);
    return change_end(control, err, ret_refusal);
}
