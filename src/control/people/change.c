/* Changes of users: role, name, status, products, removal, handing over, passwords. See users.h.
 *
 * Which of them ends sessions: role, status and password. Products and name do not; the snapshot
 * carries the new rights to every worker before the change is answered. */
#include "control/people/users.h"

#include "control/audit.h"
#include "control/people/links.h"
#include "control/people/parts.h"
#include "control/people/sessions.h"
#include "control/people/totp.h"
#include "control/private.h"
#include "json/write.h"
#include "os/clock.h"

/* ---- PATCH ---- */

struct user_draft {
    mr_str name;
    enum auth_role role;
    enum user_status status;
    mr_str products;
};

static mr_err read_draft(mr_str body, mr_arena *arena, struct user_draft *draft,
                         struct refusal *ret_refusal) {
    json_tape tape;
    mr_err err = shape_read(&tape, body, &user_change_shape, SHAPE_CHANGE, ret_refusal);
    if (mr_is_ok(err)) {
        json_value root = json_root(&tape);
        if (!json_is_absent(shape_value(root, "role"))) {
            uint32_t role = 0;
            shape_enum(root, &user_change_shape, "role", &role);
            draft->role = (enum auth_role)(AUTH_ROLE_ADMIN + role);
        }
        if (!json_is_absent(shape_value(root, "status"))) {
            uint32_t status = 0;
            shape_enum(root, &user_change_shape, "status", &status);
            draft->status = status == 0 ? USER_ACTIVE : USER_DISABLED;
        }
        err = shape_text(root, "name", arena, &draft->name);
        if (mr_is_ok(err)) {
            err = user_products_read(root, arena, &draft->products);
        }
    }
    json_tape_done(&tape);
    return err;
}

static bool is_same(mr_str a, mr_str b) {
    return mr_str_is_absent(a) == mr_str_is_absent(b) && mr_str_eq(a, b);
}

/* Else whoever may only change users could make one that may do everything. */
static mr_err judge_grant(const struct user_editor *editor, const struct user_draft *draft,
                          struct refusal *ret_refusal) {
    struct auth_scopes wanted;
    MR_TRY(auth_role_scopes(draft->role, draft->products, &wanted));
    return editor->scopes == NULL || auth_scopes_within(&wanted, editor->scopes)
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_DENIED, "Nobody gives more rights than they hold.");
}

/* And a client that may only remove users could rid the account of its Admins. Users may by their
 * role: an Admin of some products changes everybody but the Owner. */
static mr_err judge_reach(const struct user_editor *editor, const struct user_view *view,
                          struct refusal *ret_refusal) {
    struct auth_scopes had;
    MR_TRY(auth_role_scopes(view->role, view->products, &had));
    return editor->user != 0 || editor->scopes == NULL || auth_scopes_within(&had, editor->scopes)
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_DENIED,
                        "No client changes or removes a user who has more rights than it holds.");
}

/* What no role allows. */
static mr_err judge_draft(const struct user_editor *editor, const struct user_view *view,
                          const struct user_draft *draft, struct refusal *ret_refusal) {
    bool role_changes = draft->role != view->role;
    bool status_changes = draft->status != view->status;
    bool rights_change =
        role_changes || status_changes || !is_same(draft->products, view->products);
    if (editor->user == view->number && rights_change) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "Nobody changes their own role, status or products.");
    }
    if (view->role == AUTH_ROLE_OWNER && rights_change) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "The account's Owner keeps role, status and products until the account is "
                      "handed over.");
    }
    if (status_changes && draft->status == USER_ACTIVE && !view->has_password) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "The user has set no password yet: invite them again.");
    }
    return rights_change ? judge_grant(editor, draft, ret_refusal) : MR_OK;
}

static mr_err store_draft(struct control *control, const struct user_view *view,
                          const struct user_draft *draft, bool ends_sessions) {
    struct query query = query_begin(
        &control->store, "UPDATE users SET name = ?1, role = ?2, status = ?3, products = ?4,"
                         " generation = generation + ?5, version = version + 1, updated_ms = ?6"
                         " WHERE number = ?7");
    query_text(&query, draft->name);
    query_text(&query, auth_role_name(draft->role));
    query_text(&query, user_status_name(draft->status));
    query_text(&query, draft->products);
    query_i64(&query, ends_sessions);
    query_i64(&query, mr_wall_ms(os_wall_now()));
    query_i64(&query, view->number);
    MR_TRY(query_run(&query));
    MR_TRY(change_mark(control, MODEL_USER, view->number));
    return ends_sessions ? sessions_end_all(control, view->number, MR_STR_NONE) : MR_OK;
}

static void write_changed(json_out *out, const char *name, mr_str before, mr_str after) {
    if (!is_same(before, after)) {
        json_out_member_array(out, name);
        json_out_str(out, mr_str_is_absent(before) ? MR_STR("all") : before);
        json_out_str(out, mr_str_is_absent(after) ? MR_STR("all") : after);
        json_out_end(out);
    }
}

/* The audit row names what became of what. */
static mr_err audit_draft(struct control *control, const struct user_view *view,
                          const struct user_draft *draft) {
    mr_buf detail;
    mr_buf_init(&detail, 16384);
    json_out out;
    json_out_init(&out, &detail);
    json_out_object(&out);
    write_changed(&out, "name", view->name, draft->name);
    write_changed(&out, "role", auth_role_name(view->role), auth_role_name(draft->role));
    write_changed(&out, "status", user_status_name(view->status), user_status_name(draft->status));
    write_changed(&out, "products", view->products, draft->products);
    json_out_end(&out);
    mr_err err = json_out_finish(&out);
    if (mr_is_ok(err)) {
        err = audit_add(control, &(struct audit_entry){.account = view->account,
                                                       .action = "user.change",
                                                       .object = view->id,
                                                       .detail = mr_buf_view(&detail)});
    }
    mr_buf_done(&detail);
    return err;
}

static mr_err check_version(const struct user_view *view, uint32_t if_version,
                            struct refusal *ret_refusal) {
    return if_version != 0 && if_version != view->version
               ? refuse(ret_refusal, REFUSAL_PRECONDITION, "The user was changed meanwhile.")
               : MR_OK;
}

static mr_err patch_inner(struct control *control, const struct user_editor *editor,
                          uint32_t account, mr_str id, mr_str body, uint32_t if_version,
                          mr_arena *arena, struct user_view *view, struct refusal *ret_refusal) {
    MR_TRY(users_get(control, account, id, arena, view, ret_refusal));
    MR_TRY(judge_reach(editor, view, ret_refusal));
    MR_TRY(check_version(view, if_version, ret_refusal));
    struct user_draft draft = {view->name, view->role, view->status, view->products};
    MR_TRY(read_draft(body, arena, &draft, ret_refusal));
    MR_TRY(judge_draft(editor, view, &draft, ret_refusal));
    bool ends_sessions = draft.role != view->role || draft.status != view->status;
    bool is_changed = ends_sessions || !is_same(draft.name, view->name) ||
                      !is_same(draft.products, view->products);
    if (!is_changed) {
        return MR_OK;
    }
    MR_TRY(store_draft(control, view, &draft, ends_sessions));
    MR_TRY(audit_draft(control, view, &draft));
    MR_TRY(users_get(control, account, id, arena, view, ret_refusal));
    return user_changed_tell(control, view, "Your name or your rights in the account were changed.",
                             ret_refusal);
}

mr_err users_patch(struct control *control, const struct user_editor *editor, uint32_t account,
                   mr_str id, mr_str body, uint32_t if_version, mr_arena *arena,
                   struct user_view *ret_view, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(
        control,
        patch_inner(control, editor, account, id, body, if_version, arena, ret_view, ret_refusal),
        ret_refusal);
}

/* ---- removal ---- */

static mr_err delete_inner(struct control *control, const struct user_editor *editor,
                           uint32_t account, mr_str id, uint32_t if_version, mr_arena *arena,
                           struct refusal *ret_refusal) {
    struct user_view view;
    MR_TRY(users_get(control, account, id, arena, &view, ret_refusal));
    MR_TRY(judge_reach(editor, &view, ret_refusal));
    MR_TRY(check_version(&view, if_version, ret_refusal));
    if (view.role == AUTH_ROLE_OWNER) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "The account's Owner cannot be removed: hand the account over first.");
    }
    if (view.number == editor->user) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT, "Nobody removes themselves.");
    }
    MR_TRY(sessions_end_all(control, view.number, MR_STR_NONE));
    MR_TRY(user_changed_tell(control, &view, "You were removed from the account.", ret_refusal));
    struct query query = query_begin(&control->store, "DELETE FROM users WHERE number = ?1");
    query_i64(&query, view.number);
    MR_TRY(query_run(&query));
    MR_TRY(change_mark(control, MODEL_USER, view.number));
    return audit_add(
        control,
        &(struct audit_entry){.account = view.account, .action = "user.delete", .object = view.id});
}

mr_err users_delete(struct control *control, const struct user_editor *editor, uint32_t account,
                    mr_str id, uint32_t if_version, struct refusal *ret_refusal) {
    mr_arena arena;
    mr_arena_init(&arena, 65536);
    mr_err err = change_begin(control, ret_refusal);
    if (mr_is_ok(err)) {
        err = change_end(
            control, delete_inner(control, editor, account, id, if_version, &arena, ret_refusal),
            ret_refusal);
    }
    mr_arena_done(&arena);
    return err;
}

/* ---- handing over ---- */

static mr_err set_role(struct control *control, uint32_t number, enum auth_role role,
                       mr_str except_session) {
    struct query query =
        query_begin(&control->store, "UPDATE users SET role = ?1, products = NULL,"
                                     " generation = generation + 1, version = version + 1,"
                                     " updated_ms = ?2 WHERE number = ?3");
    query_text(&query, auth_role_name(role));
    query_i64(&query, mr_wall_ms(os_wall_now()));
    query_i64(&query, number);
    MR_TRY(query_run(&query));
    MR_TRY(change_mark(control, MODEL_USER, number));
    return sessions_end_all(control, number, except_session);
}

/* The account's Owner; number 0: it has none. */
static mr_err find_owner(struct control *control, uint32_t account, mr_arena *arena,
                         struct user_view *ret_owner, struct refusal *ret_refusal) {
    uint32_t number = 0;
    struct query query = query_begin(
        &control->store, "SELECT number FROM users WHERE account = ?1 AND role = 'owner'");
    query_i64(&query, account);
    while (query_row(&query)) {
        number = (uint32_t)query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    *ret_owner = (struct user_view){.number = number};
    return number == 0 ? MR_OK : users_get_number(control, number, arena, ret_owner, ret_refusal);
}

/* The Owner alone hands the account over. Where nobody is it yet, because none was named or the one
 * invited never came, an Owner of an account above does: nobody else could. */
static mr_err judge_transfer(struct control *control, const struct user_editor *editor,
                             const struct user_view *owner, mr_arena *arena,
                             struct refusal *ret_refusal) {
    bool is_vacant = owner->number == 0 || owner->status == USER_INVITED;
    struct user_view caller = {.role = AUTH_ROLE_DEFAULT};
    if (editor->user != 0 && editor->user != owner->number && is_vacant) {
        MR_TRY(users_get_number(control, editor->user, arena, &caller, ret_refusal));
    }
    return (editor->user != 0 && editor->user == owner->number) || caller.role == AUTH_ROLE_OWNER
               ? MR_OK
               : refuse(ret_refusal, REFUSAL_DENIED, "Only the account's Owner hands it over.");
}

/* From whom it goes: an Admin from now on; who never came has no link to come by any more. */
static mr_err step_down(struct control *control, const struct user_view *owner,
                        mr_str except_session) {
    if (owner->number == 0) {
        return MR_OK;
    }
    if (owner->status == USER_INVITED) {
        MR_TRY(links_end(control, LINK_INVITE, owner->number));
    }
    return set_role(control, owner->number, AUTH_ROLE_ADMIN, except_session);
}

static mr_err transfer_inner(struct control *control, const struct user_editor *editor,
                             uint32_t account, mr_str user_id, mr_str except_session,
                             mr_arena *arena, struct user_view *next, struct refusal *ret_refusal) {
    struct user_view owner;
    MR_TRY(find_owner(control, account, arena, &owner, ret_refusal));
    MR_TRY(judge_transfer(control, editor, &owner, arena, ret_refusal));
    MR_TRY(users_get(control, account, user_id, arena, next, ret_refusal));
    if (next->number == owner.number || next->status != USER_ACTIVE || !next->has_password) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "The next Owner must be another user of the account, and active.");
    }
    /* In this order: there is never more than one. */
    MR_TRY(step_down(control, &owner, except_session));
    MR_TRY(set_role(control, next->number, AUTH_ROLE_OWNER, except_session));
    struct query query =
        query_begin(&control->store, "UPDATE accounts SET owner_email = ?1, version = version + 1,"
                                     " updated_ms = ?2 WHERE number = ?3");
    query_text(&query, next->email);
    query_i64(&query, mr_wall_ms(os_wall_now()));
    query_i64(&query, account);
    MR_TRY(query_run(&query));
    MR_TRY(audit_add(control, &(struct audit_entry){.account = account,
                                                    .action = "account.transfer-ownership",
                                                    .object = next->id}));
    MR_TRY(users_get_number(control, next->number, arena, next, ret_refusal));
    if (owner.number != 0 && owner.status != USER_INVITED) {
        MR_TRY(user_changed_tell(control, &owner,
                                 "The account was handed over; you are one of its Admins now.",
                                 ret_refusal));
    }
    return user_changed_tell(control, next, "You are the account's Owner now.", ret_refusal);
}

mr_err users_transfer(struct control *control, const struct user_editor *editor, uint32_t account,
                      mr_str user_id, mr_str except_session, mr_arena *arena,
                      struct user_view *ret_view, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control,
                      transfer_inner(control, editor, account, user_id, except_session, arena,
                                     ret_view, ret_refusal),
                      ret_refusal);
}

/* ---- passwords ---- */

mr_err users_set_password(struct control *control, uint32_t number, mr_str hash,
                          mr_str except_session) {
    struct query query = query_begin(
        &control->store,
        "UPDATE users SET password = ?1, password_ms = ?2, updated_ms = ?2,"
        " status = CASE status WHEN 'INVITED' THEN 'ACTIVE' ELSE status END,"
        " generation = generation + 1, version = version + 1 WHERE number = ?3 RETURNING number");
    query_text(&query, hash);
    query_i64(&query, mr_wall_ms(os_wall_now()));
    query_i64(&query, number);
    uint32_t found = 0;
    while (query_row(&query)) {
        found = (uint32_t)query_col_i64(&query, 0);
    }
    MR_TRY(query_end(&query));
    if (found == 0) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    MR_TRY(change_mark(control, MODEL_USER, number));
    MR_TRY(links_end(control, LINK_RESET, number));
    return sessions_end_all(control, number, except_session);
}

static mr_err reset_inner(struct control *control, uint32_t number, mr_str hash, mr_arena *arena,
                          struct refusal *ret_refusal) {
    struct user_view view;
    MR_TRY(users_get_number(control, number, arena, &view, ret_refusal));
    MR_TRY(users_set_password(control, number, hash, MR_STR_NONE));
    MR_TRY(totp_forget(control, number));
    MR_TRY(audit_add(control, &(struct audit_entry){.account = view.account,
                                                    .action = "user.set-password",
                                                    .object = view.id}));
    return user_changed_tell(control, &view, "Your password was set by the operator.", ret_refusal);
}

mr_err users_reset_password(struct control *control, uint32_t number, mr_str hash,
                            struct refusal *ret_refusal) {
    mr_arena arena;
    mr_arena_init(&arena, 65536);
    mr_err err = change_begin(control, ret_refusal);
    if (mr_is_ok(err)) {
        err = change_end(control, reset_inner(control, number, hash, &arena, ret_refusal),
                         ret_refusal);
    }
    mr_arena_done(&arena);
    return err;
}
