/* Password resets. See invites.h.
 *
 * Whoever asks for a reset by e-mail learns nothing: the answer is given before it is known whether
 * there is such a user. How often one is asked for an e-mail, or from an address, is slowed like
 * wrong passwords are (auth/slow.h): each counts as a failure, none is ever right. */
#include "control/people/invites.h"

#include "auth/slow.h"
#include "control/audit.h"
#include "control/people/mails.h"
#include "control/people/makers.h"
#include "control/private.h"
#include "os/clock.h"

#define RESET_USERS_MAX 8

static const struct shape_member reset_members[] = {
    {.name = "email",
     .kind = SHAPE_TEXT,
     .flags = SHAPE_NEEDED,
     .min = 3,
     .max = USER_EMAIL_MAX,
     .what = "Of the user whose password is forgotten"},
};
const struct shape reset_request_shape = {"PasswordReset", reset_members, 1};

/* ---- by those who may ---- */

static mr_err reset_inner(struct control *control, const struct link_maker *maker, mr_str id,
                          mr_arena *arena, struct link_made *made, struct refusal *ret_refusal) {
    MR_TRY(users_get(control, maker->account, id, arena, &made->user, ret_refusal));
    MR_TRY(maker_judge_user(maker, &made->user, ret_refusal));
    if (made->user.status != USER_ACTIVE ||
        mr_str_ends(made->user.email, MR_STR(USER_PORTAL_DOMAIN))) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "Only an active user, who is a person, has a password to be reset.");
    }
    MR_TRY(maker_audit(control, &made->user, "user.reset-link"));
    return maker_tell(control, maker, LINK_RESET, arena, made, ret_refusal);
}

mr_err resets_make(struct control *control, const struct link_maker *maker, mr_str id,
                   mr_arena *arena, struct link_made *ret_made, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control, reset_inner(control, maker, id, arena, ret_made, ret_refusal),
                      ret_refusal);
}

/* ---- by whoever forgot it ---- */

mr_err resets_enter(struct control *control, mr_str email, mr_str address,
                    struct refusal *ret_refusal) {
    mr_arena arena;
    mr_arena_init_private(&arena, 4096);
    mr_str folded = user_email_fold(&arena, email);
    mr_err err = mr_str_is_absent(folded) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    if (mr_is_ok(err) && control->reset_door == NULL) {
        err = slow_door_new(&control->reset_door);
    }
    int64_t wait_ms = 0;
    if (mr_is_ok(err)) {
        wait_ms = slow_door_enter(control->reset_door, folded, address, os_mono_now());
    }
    mr_arena_done(&arena);
    MR_TRY(refuse_error(control, err, ret_refusal));
    if (wait_ms == 0) {
        return MR_OK;
    }
    int wait_s = (int)((wait_ms + 999) / 1000);
    err = refuse(ret_refusal, REFUSAL_TOO_MANY, "Asked for too often: try again in %d s.", wait_s);
    ret_refusal->retry_after_s = wait_s;
    return err;
}

static mr_err request_inner(struct control *control, mr_str email, mr_str base_url, mr_wall now,
                            mr_arena *arena, struct refusal *ret_refusal) {
    struct user_view *rows;
    size_t n = 0;
    mr_str folded = user_email_fold(arena, email);
    if (mr_str_is_absent(folded)) {
        return MR_ERR(MR_E_NOMEM);
    }
    MR_TRY(users_find_email(control, 0, folded, arena, RESET_USERS_MAX, &rows, &n, ret_refusal));
    for (size_t i = 0; i < n; i++) {
        struct link_made made = {.user = rows[i]};
        const struct link_maker maker = {
            .account = rows[i].account, .base_url = base_url, .now = now};
        if (rows[i].status == USER_ACTIVE && !mr_str_ends(folded, MR_STR(USER_PORTAL_DOMAIN))) {
            MR_TRY(maker_audit(control, &rows[i], "user.reset-request"));
            MR_TRY(maker_tell(control, &maker, LINK_RESET, arena, &made, ret_refusal));
        }
    }
    return MR_OK;
}

mr_err resets_request(struct control *control, mr_str email, mr_str base_url, mr_wall now,
                      struct refusal *ret_refusal) {
    if (!mail_is_configured(control)) {
        return MR_OK;
    }
    mr_arena arena;
    mr_arena_init_private(&arena, 262144);
    mr_err err = change_begin(control, ret_refusal);
    if (mr_is_ok(err)) {
        err = change_end(control, request_inner(control, email, base_url, now, &arena, ret_refusal),
                         ret_refusal);
    }
    mr_arena_done(&arena);
    return err;
}
