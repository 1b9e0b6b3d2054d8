/* What users change of themselves. See profile.h. */
#include "control/people/profile.h"

#include "control/audit.h"
#include "control/people/passwords.h"
#include "control/private.h"
#include "os/clock.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))
#define PASSWORD_MEMBER(member, flag, least, text)                                                 \
    {                                                                                              \
        .name = (member), .kind = SHAPE_TEXT, .flags = SHAPE_NEEDED | (flag), .min = (least),      \
        .max = PASSWORD_BYTES_MAX, .what = (text)                                                  \
    }

static const struct shape_member profile_members[] = {
    {.name = "name", .kind = SHAPE_TEXT, .min = 0, .max = 255, .what = "Your name, for people"},
};
const struct shape profile_shape = {"Profile", profile_members, 1};

static const struct shape_member change_members[] = {
    PASSWORD_MEMBER("current_password", SHAPE_SECRET, 1, "The present password"),
    PASSWORD_MEMBER("new_password", SHAPE_SECRET, 1,
                    "12 to 128 characters, none of the common ones"),
};
const struct shape password_change_shape = {"PasswordChange", change_members,
                                            COUNT(change_members)};

static const struct shape_member again_members[] = {
    PASSWORD_MEMBER("password", SHAPE_SECRET, 1, "Your password"),
};
const struct shape password_again_shape = {"PasswordAgain", again_members, 1};

static const struct shape_member confirm_members[] = {
    {.name = "code",
     .kind = SHAPE_TEXT,
     .flags = SHAPE_NEEDED | SHAPE_SECRET,
     .min = 1,
     .max = 64,
     .what = "Six digits of the authenticator app"},
};
const struct shape totp_confirm_shape = {"SecondFactorConfirm", confirm_members, 1};

static mr_err audit(struct control *control, const struct user_view *view, const char *action) {
    return audit_add(control, &(struct audit_entry){
                                  .account = view->account, .action = action, .object = view->id});
}

/* ---- name ---- */

static mr_err read_name(mr_str body, mr_arena *arena, mr_str *name, struct refusal *ret_refusal) {
    json_tape tape;
    mr_err err = shape_read(&tape, body, &profile_shape, SHAPE_CHANGE, ret_refusal);
    if (mr_is_ok(err)) {
        err = shape_text(json_root(&tape), "name", arena, name);
    }
    json_tape_done(&tape);
    return err;
}

static mr_err patch_inner(struct control *control, uint32_t user, mr_str body, uint32_t if_version,
                          mr_arena *arena, struct user_view *view, struct refusal *ret_refusal) {
    MR_TRY(users_get_number(control, user, arena, view, ret_refusal));
    if (if_version != 0 && if_version != view->version) {
        return refuse(ret_refusal, REFUSAL_PRECONDITION, "The profile was changed meanwhile.");
    }
    mr_str name = view->name;
    MR_TRY(read_name(body, arena, &name, ret_refusal));
    if (mr_str_eq(name, view->name)) {
        return MR_OK;
    }
    struct query query =
        query_begin(&control->store, "UPDATE users SET name = ?1, version = version + 1,"
                                     " updated_ms = ?2 WHERE number = ?3");
    query_text(&query, name);
    query_i64(&query, mr_wall_ms(os_wall_now()));
    query_i64(&query, user);
    MR_TRY(query_run(&query));
    MR_TRY(audit(control, view, "profile.change"));
    return users_get_number(control, user, arena, view, ret_refusal);
}

mr_err profile_patch(struct control *control, uint32_t user, mr_str body, uint32_t if_version,
                     mr_arena *arena, struct user_view *ret_view, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control,
                      patch_inner(control, user, body, if_version, arena, ret_view, ret_refusal),
                      ret_refusal);
}

/* ---- password ---- */

static mr_err has_hash(struct control *control, uint32_t user, mr_str hash, bool *ret_has) {
    struct query query =
        query_begin(&control->store, "SELECT 1 FROM users WHERE number = ?1 AND password = ?2");
    query_i64(&query, user);
    query_text(&query, hash);
    *ret_has = false;
    while (query_row(&query)) {
        *ret_has = true;
    }
    return query_end(&query);
}

static mr_err set_inner(struct control *control, uint32_t user, mr_str old_hash, mr_str new_hash,
                        mr_str except_session, mr_arena *arena, struct refusal *ret_refusal) {
    struct user_view view;
    bool is_present = false;
    MR_TRY(has_hash(control, user, old_hash, &is_present));
    if (!is_present) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT, "The password was changed meanwhile.");
    }
    MR_TRY(users_set_password(control, user, new_hash, except_session));
    MR_TRY(users_get_number(control, user, arena, &view, ret_refusal));
    MR_TRY(audit(control, &view, "profile.password"));
    return user_changed_tell(control, &view, "Your password was changed.", ret_refusal);
}

mr_err profile_set_password(struct control *control, uint32_t user, mr_str old_hash,
                            mr_str new_hash, mr_str except_session, struct refusal *ret_refusal) {
    mr_arena arena;
    mr_arena_init_private(&arena, 65536);
    mr_err err = change_begin(control, ret_refusal);
    if (mr_is_ok(err)) {
        err = change_end(
            control,
            set_inner(control, user, old_hash, new_hash, except_session, &arena, ret_refusal),
            ret_refusal);
    }
    mr_arena_done(&arena);
    return err;
}
