/* The use of links. See entry.h. */
#include "control/people/entry.h"

#include "control/audit.h"
#include "control/people/mails.h"
#include "control/people/passwords.h"
#include "control/private.h"
#include "json/write.h"
#include "os/clock.h"
#include "os/files.h"

#define NAME_MEMBER(needed)                                                                        \
    {                                                                                              \
        .name = "name", .kind = SHAPE_TEXT, .flags = (needed), .min = 1, .max = 255,               \
        .what = "Your name, as others see it"                                                      \
    }
#define PASSWORD_MEMBER                                                                            \
    {                                                                                              \
        .name = "password", .kind = SHAPE_TEXT, .flags = SHAPE_NEEDED | SHAPE_SECRET, .min = 1,    \
        .max = PASSWORD_BYTES_MAX, .what = "At least 12 characters, none of the common ones"       \
    }

static const struct shape_member setup_members[] = {
    {.name = "account_name",
     .kind = SHAPE_TEXT,
     .flags = SHAPE_NEEDED,
     .min = 1,
     .max = 255,
     .what = "The name of your company or installation"},
    {.name = "email",
     .kind = SHAPE_TEXT,
     .flags = SHAPE_NEEDED,
     .min = 3,
     .max = USER_EMAIL_MAX,
     .what = "The e-mail address that you sign in with"},
    NAME_MEMBER(SHAPE_NEEDED),
    PASSWORD_MEMBER,
};
static const struct shape_member invite_members[] = {NAME_MEMBER(0), PASSWORD_MEMBER};
static const struct shape_member reset_members[] = {PASSWORD_MEMBER};

static const struct shape setup_shape = {"LinkSetup", setup_members, 4};
static const struct shape invite_shape = {"LinkInvite", invite_members, 2};
static const struct shape reset_shape = {"LinkReset", reset_members, 1};
static const struct shape portal_shape = {"LinkPortal", NULL, 0};

const struct shape *const entry_shapes[LINK_KIND_COUNT] = {
    [LINK_SETUP] = &setup_shape,
    [LINK_INVITE] = &invite_shape,
    [LINK_RESET] = &reset_shape,
    [LINK_PORTAL] = &portal_shape,
};

/* ---- looking ---- */

/* A link outlives what it was made for where the user was changed meanwhile. */
static bool is_for(enum link_kind kind, const struct user_view *user) {
    switch (kind) {
    case LINK_SETUP:
        return user->number == 0;
    case LINK_INVITE:
        return user->status == USER_INVITED;
    case LINK_RESET:
    case LINK_PORTAL:
        return user->status == USER_ACTIVE;
    case LINK_KIND_COUNT:
        break;
    }
    return false;
}

static mr_err read_return_url(mr_str detail, mr_arena *arena, mr_str *ret_url) {
    json_tape tape;
    json_tape_init(&tape, 8);
    mr_err err = json_tape_read(&tape, detail, NULL);
    if (mr_is_ok(err)) {
        err = shape_text(json_root(&tape), "return_url", arena, ret_url);
    }
    json_tape_done(&tape);
    return err;
}

static mr_err read_account(struct control *control, uint32_t number, mr_arena *arena,
                           struct entry_view *view) {
    struct query query =
        query_begin(&control->store, "SELECT id, friendly_name FROM accounts WHERE number = ?1");
    query_i64(&query, number);
    while (query_row(&query)) {
        view->account_id = query_col_text(&query, 0, arena);
        view->account_name = query_col_text(&query, 1, arena);
    }
    return query_end(&query);
}

static mr_err fill(struct control *control, const struct link_view *link, mr_arena *arena,
                   struct entry_view *ret_view, struct refusal *ret_refusal) {
    struct entry_view view = {.kind = link->kind, .expires_ms = link->expires_ms};
    MR_TRY(read_account(control, link->account, arena, &view));
    MR_TRY(read_return_url(link->detail, arena, &view.return_url));
    if (link->user != 0) {
        MR_TRY(users_get_number(control, link->user, arena, &view.user, ret_refusal));
    }
    *ret_view = view;
    return MR_OK;
}

static mr_err refuse_user(struct refusal *ret_refusal) {
    return refuse(ret_refusal, REFUSAL_NOT_FOUND,
                  "This link is not valid: it was used, has expired, or never was one. Ask for a "
                  "new one.");
}

mr_err entry_look(struct control *control, mr_str token, mr_wall now, mr_arena *arena,
                  struct entry_view *ret_view, struct refusal *ret_refusal) {
    struct link_view link;
    struct entry_view view;
    MR_TRY(links_find(control, token, now, arena, &link, ret_refusal));
    MR_TRY(refuse_error(control, fill(control, &link, arena, &view, ret_refusal), ret_refusal));
    if (!is_for(view.kind, &view.user)) {
        return refuse_user(ret_refusal);
    }
    *ret_view = view;
    return MR_OK;
}

/* ---- judging ---- */

static mr_err read_form(json_value root, mr_arena *arena, struct entry_form *form) {
    MR_TRY(shape_text(root, "account_name", arena, &form->account_name));
    MR_TRY(shape_text(root, "email", arena, &form->email));
    MR_TRY(shape_text(root, "name", arena, &form->name));
    MR_TRY(shape_text(root, "password", arena, &form->password));
    if (!mr_str_is_absent(form->email)) {
        form->email = user_email_fold(arena, form->email);
        return mr_str_is_absent(form->email) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    }
    return MR_OK;
}

static mr_err judge_form(const struct entry_view *view, const struct entry_form *form,
                         struct refusal *ret_refusal) {
    bool is_setup = view->kind == LINK_SETUP;
    if (is_setup && !user_email_is_plausible(form->email)) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "email must be an e-mail address, like ops@example.com.");
    }
    if (mr_str_is_absent(form->password)) {
        return MR_OK;
    }
    const struct password_context context = {
        .email = is_setup ? form->email : view->user.email,
        .name = mr_str_is_absent(form->name) ? view->user.name : form->name,
        .account_name = is_setup ? form->account_name : view->account_name};
    return password_judge(form->password, &context, ret_refusal);
}

mr_err entry_judge(const struct entry_view *view, mr_str body, mr_arena *arena,
                   struct entry_form *ret_form, struct refusal *ret_refusal) {
    struct entry_form form = {.password = MR_STR_NONE};
    json_tape tape;
    mr_err err = shape_read(&tape, body, entry_shapes[view->kind], SHAPE_CREATE, ret_refusal);
    if (mr_is_ok(err)) {
        err = read_form(json_root(&tape), arena, &form);
    }
    json_tape_done(&tape);
    if (mr_is_ok(err)) {
        err = judge_form(view, &form, ret_refusal);
    }
    *ret_form = form; /* also where it is refused: the caller wipes the password */
    return err;
}

/* ---- using ---- */

/* Nobody was signed in when the call came: whoever holds a user's link acts as that user. */
static mr_err audit_use(struct control *control, const struct entry_view *view,
                        const char *action) {
    const struct control_actor caller = control->actor;
    control->actor.kind = CONTROL_ACTOR_USER;
    control->actor.account = view->user.account;
    control->actor.id = view->user.id;
    mr_err err = audit_add(control, &(struct audit_entry){.account = view->user.account,
                                                          .action = action,
                                                          .object = view->user.id,
                                                          .detail = MR_STR("{\"by\":\"link\"}")});
    control->actor = caller;
    return err;
}

static mr_err set_name(struct control *control, uint32_t user, mr_str name) {
    if (mr_str_is_absent(name)) {
        return MR_OK;
    }
    struct query query =
        query_begin(&control->store, "UPDATE users SET name = ?1 WHERE number = ?2");
    query_text(&query, name);
    query_i64(&query, user);
    return query_run(&query);
}

static mr_err name_account(struct control *control, uint32_t account, const struct entry_form *form,
                           mr_wall now) {
    struct query query =
        query_begin(&control->store, "UPDATE accounts SET friendly_name = ?1, owner_email = ?2,"
                                     " version = version + 1, updated_ms = ?3 WHERE number = ?4");
    query_text(&query, form->account_name);
    query_text(&query, form->email);
    query_i64(&query, mr_wall_ms(now));
    query_i64(&query, account);
    MR_TRY(query_run(&query));
    return change_mark(control, MODEL_ACCOUNT, account);
}

static mr_err set_up(struct control *control, const struct link_view *link,
                     const struct entry_form *form, mr_str hash, mr_wall now, mr_arena *arena,
                     struct entry_view *view, struct refusal *ret_refusal) {
    const struct user_spec owner = {
        .email = form->email, .name = form->name, .role = AUTH_ROLE_OWNER, .products = MR_STR_NONE};
    uint32_t user = 0;
    MR_TRY(name_account(control, link->account, form, now));
    MR_TRY(users_insert(control, link->account, &owner, USER_ACTIVE, &user, ret_refusal));
    MR_TRY(users_set_password(control, user, hash, MR_STR_NONE));
    MR_TRY(users_get_number(control, user, arena, &view->user, ret_refusal));
    MR_TRY(read_account(control, link->account, arena, view));
    return audit_use(control, view, "installation.setup");
}

static mr_err set_password(struct control *control, const struct entry_form *form, mr_str hash,
                           mr_arena *arena, struct entry_view *view, struct refusal *ret_refusal) {
    bool is_invite = view->kind == LINK_INVITE;
    MR_TRY(set_name(control, view->user.number, form->name));
    MR_TRY(users_set_password(control, view->user.number, hash, MR_STR_NONE));
    MR_TRY(audit_use(control, view, is_invite ? "user.join" : "user.password-reset"));
    if (!is_invite) {
        MR_TRY(user_changed_tell(control, &view->user,
                                 "Your password was changed, by a link that "
                                 "was sent for that.",
                                 ret_refusal));
    }
    return users_get_number(control, view->user.number, arena, &view->user, ret_refusal);
}

static mr_err open_portal(struct control *control, const struct entry_caller *caller, mr_wall now,
                          struct entry_outcome *outcome) {
    char id[SESSION_ID_SIZE];
    MR_TRY(audit_use(control, &outcome->view, "portal-link.open"));
    return sessions_open(control, outcome->view.user.number, caller->address, caller->agent, now,
                         outcome->cookie, id);
}

static mr_err use_inner(struct control *control, mr_str token, const struct entry_form *form,
                        mr_str hash, const struct entry_caller *caller, mr_wall now,
                        mr_arena *arena, struct entry_outcome *outcome,
                        struct refusal *ret_refusal) {
    struct link_view link;
    MR_TRY(links_take(control, token, now, arena, &link, ret_refusal));
    MR_TRY(fill(control, &link, arena, &outcome->view, ret_refusal));
    if (!is_for(link.kind, &outcome->view.user)) {
        return refuse_user(ret_refusal);
    }
    switch (link.kind) {
    case LINK_SETUP:
        return set_up(control, &link, form, hash, now, arena, &outcome->view, ret_refusal);
    case LINK_INVITE:
    case LINK_RESET:
        return set_password(control, form, hash, arena, &outcome->view, ret_refusal);
    case LINK_PORTAL:
        return open_portal(control, caller, now, outcome);
    case LINK_KIND_COUNT:
        break;
    }
    return MR_ERR(MR_E_FAILED);
}

mr_err entry_use(struct control *control, mr_str token, const struct entry_form *form, mr_str hash,
                 const struct entry_caller *caller, mr_wall now, mr_arena *arena,
                 struct entry_outcome *ret_outcome, struct refusal *ret_refusal) {
    struct entry_outcome outcome = {.cookie = ""};
    MR_TRY(change_begin(control, ret_refusal));
    mr_err err = change_end(
        control, use_inner(control, token, form, hash, caller, now, arena, &outcome, ret_refusal),
        ret_refusal);
    if (mr_is_ok(err)) {
        *ret_outcome = outcome;
    }
    crypto_wipe(outcome.cookie, sizeof outcome.cookie);
    return err;
}

void entry_forget_setup_file(struct control *control) {
    const char *path = control->options.setup_file;
    if (path == NULL) {
        return;
    }
    mr_err err = os_files_system.unlink(os_files_system.ctx, path);
    if (mr_is_err(err) && !mr_err_is(err, MR_E_NOT_FOUND)) {
        mr_warn(control->options.log, "setup_file_left", mr_kv_c("path", path),
                mr_kv_c("what", "its link is used up; remove the file"));
    }
}

/* ---- JSON ---- */

static const struct shape_member link_answer_members[] = {
    {"kind", SHAPE_ENUM, 0, .names = link_kind_names, .n_names = LINK_KIND_COUNT},
    {"account_id", .kind = SHAPE_TEXT},
    {"account_name", .kind = SHAPE_TEXT},
    {"email", SHAPE_TEXT, .flags = SHAPE_OPTIONAL},
    {"name", SHAPE_TEXT, .flags = SHAPE_OPTIONAL},
    {"role", SHAPE_TEXT, .flags = SHAPE_OPTIONAL},
    {"date_expires", SHAPE_TIME, .flags = SHAPE_NULLABLE},
    {"members", SHAPE_TEXTS, .what = "Of the body that its use takes"},
};
const struct shape link_answer = {"Link", link_answer_members,
                                  sizeof link_answer_members / sizeof link_answer_members[0]};

mr_err entry_view_write_json(const struct entry_view *view, mr_buf *out) {
    char date[MR_TIME_TEXT_SIZE];
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    json_out_member_c(&writer, "kind", link_kind_name(view->kind));
    json_out_member_str(&writer, "account_id", view->account_id);
    json_out_member_str(&writer, "account_name", view->account_name);
    if (view->user.number != 0) {
        json_out_member_str(&writer, "email", view->user.email);
        json_out_member_str(&writer, "name", view->user.name);
        json_out_member_str(&writer, "role", auth_role_name(view->user.role));
    }
    if (view->expires_ms == INT64_MAX) {
        json_out_member_null(&writer, "date_expires");
    } else {
        mr_time_format_ms(mr_wall_of_ms(view->expires_ms), date);
        json_out_member_c(&writer, "date_expires", date);
    }
    json_out_member_array(&writer, "members");
    for (size_t i = 0; i < entry_shapes[view->kind]->n; i++) {
        json_out_str(&writer, mr_str_c(entry_shapes[view->kind]->members[i].name));
    }
    json_out_end(&writer);
    json_out_end(&writer);
    return json_out_finish(&writer);
}
