/* Notices to users by e-mail. See users.h. They hold no link and ask for nothing, so that nobody
 * learns to follow links in such mail. */
#include "control/people/mails.h"
#include "control/people/users.h"
#include "control/private.h"

#define TEXT_MAX 4096

static mr_err write_text(struct control *control, const struct user_view *user, const char *what,
                         mr_arena *arena, mr_buf *out) {
    mr_str account = MR_STR("");
    struct query query =
        query_begin(&control->store, "SELECT friendly_name FROM accounts WHERE number = ?1");
    query_i64(&query, user->account);
    while (query_row(&query)) {
        account = query_col_text(&query, 0, arena);
    }
    MR_TRY(query_end(&query));
    return mr_buf_printf(out,
                         "%s\n\nUser: %.*s\nRole: %.*s\nAccount: %.*s (%.*s)\n\n"
                         "If you did not expect this, ask the account's Owner or an Admin.\n",
                         what, MR_FMT(user->email), MR_FMT(auth_role_name(user->role)),
                         MR_FMT(account), MR_FMT(user->account_id));
}

mr_err user_changed_tell(struct control *control, const struct user_view *user, const char *what,
                         struct refusal *ret_refusal) {
    if (!mail_is_configured(control)) {
        return MR_OK;
    }
    mr_buf text;
    mr_arena arena;
    mr_buf_init_private(&text, TEXT_MAX);
    mr_arena_init_private(&arena, TEXT_MAX);
    mr_err err = write_text(control, user, what, &arena, &text);
    if (mr_is_ok(err)) {
        err = mail_queue(control, user->email, MR_STR("Your Millrace user was changed"),
                         mr_buf_view(&text), ret_refusal);
    }
    mr_arena_done(&arena);
    mr_buf_done(&text);
    return err;
}
