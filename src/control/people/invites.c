/* Invites, and what all makers of links share. See invites.h; resets.c, portal_links.c.
 *
 * The link is made and the mail queued in one change: a link that nobody was told of, or a mail
 * with a link that is not there, cannot be. */
#include "control/people/invites.h"

#include "control/audit.h"
#include "control/people/links.h"
#include "control/people/mails.h"
#include "control/people/makers.h"
#include "control/private.h"
#include "json/write.h"

#define TEXT_MAX 4096

/* ---- rights ---- */

mr_err maker_judge(const struct link_maker *maker, enum auth_role role, mr_str products,
                   struct refusal *ret_refusal) {
    struct auth_scopes wanted;
    MR_TRY(auth_role_scopes(role, products, &wanted));
    wanted.access[AUTH_RES_SESSION] = 0; /* everybody's own, and no client's */
    if (!auth_scopes_within(&wanted, &maker->scopes)) {
        return refuse(ret_refusal, REFUSAL_DENIED,
                      "Nobody gives others more rights than they have themselves.");
    }
    return MR_OK;
}

/* A link of the Owner's in the hands of an Admin of that account would make an Owner of them, and
 * so would one in the hands of a client, which an Admin can make. Those who reach the account from
 * above are trusted with it. */
mr_err maker_judge_user(const struct link_maker *maker, const struct user_view *user,
                        struct refusal *ret_refusal) {
    if (user->role == AUTH_ROLE_OWNER && maker->editor.account == maker->account) {
        return refuse(ret_refusal, REFUSAL_DENIED,
                      "Nobody makes a link for the Owner of their own account.");
    }
    return maker_judge(maker, user->role, user->products, ret_refusal);
}

/* ---- making and telling ---- */

mr_err maker_link(struct control *control, const struct link_maker *maker, enum link_kind kind,
                  mr_str detail, mr_arena *arena, struct link_made *made) {
    char token[LINK_TOKEN_SIZE];
    MR_TRY(links_make(control, kind, made->user.account, made->user.number, detail, maker->now,
                      token, &made->expires_ms));
    made->url = link_url(maker->base_url, token, arena);
    crypto_wipe(token, sizeof token);
    return mr_str_is_absent(made->url) ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

static mr_err account_name(struct control *control, uint32_t account, mr_arena *arena,
                           mr_str *ret_name) {
    struct query query =
        query_begin(&control->store, "SELECT friendly_name FROM accounts WHERE number = ?1");
    query_i64(&query, account);
    *ret_name = MR_STR("");
    while (query_row(&query)) {
        *ret_name = query_col_text(&query, 0, arena);
    }
    return query_end(&query);
}

static mr_err write_invite(const struct link_made *made, mr_str account, mr_buf *out) {
    mr_str role = auth_role_name(made->user.role);
    return mr_buf_printf(out,
                         "You are invited to the account \"%.*s\" on Millrace, in the role "
                         "\"%.*s\".\n\nOpen this link within 7 days to set your password:\n\n"
                         "%.*s\n\nIf you did not expect this, do nothing.\n",
                         MR_FMT(account), MR_FMT(role), MR_FMT(made->url));
}

static mr_err write_reset(const struct link_made *made, mr_str account, mr_buf *out) {
    return mr_buf_printf(out,
                         "A new password was asked for %.*s in the account \"%.*s\" on Millrace."
                         "\n\nOpen this link within an hour to set one:\n\n%.*s\n\n"
                         "If it was not you, do nothing: your password stays as it is.\n",
                         MR_FMT(made->user.email), MR_FMT(account), MR_FMT(made->url));
}

/* Mails the link where mail is configured; then nobody else gets it. */
static mr_err tell(struct control *control, enum link_kind kind, mr_arena *arena,
                   struct link_made *made, struct refusal *ret_refusal) {
    if (!mail_is_configured(control)) {
        return MR_OK;
    }
    mr_str account;
    MR_TRY(account_name(control, made->user.account, arena, &account));
    mr_buf text;
    mr_buf_init_private(&text, TEXT_MAX);
    mr_err err = mr_buf_reserve(&text, TEXT_MAX, NULL); /* no copies left behind */
    if (mr_is_ok(err)) {
        err = kind == LINK_INVITE ? write_invite(made, account, &text)
                                  : write_reset(made, account, &text);
    }
    if (mr_is_ok(err)) {
        err = mail_queue_until(control, made->user.email,
                               kind == LINK_INVITE ? MR_STR("You are invited to Millrace")
                                                   : MR_STR("Set a new password on Millrace"),
                               mr_buf_view(&text), made->expires_ms, ret_refusal);
    }
    if (text.len > 0) {
        crypto_wipe(text.ptr, text.len);
    }
    mr_buf_done(&text);
    crypto_wipe((void *)(uintptr_t)made->url.ptr, made->url.len);
    made->url = MR_STR_NONE;
    return err;
}

mr_err maker_tell(struct control *control, const struct link_maker *maker, enum link_kind kind,
                  mr_arena *arena, struct link_made *made, struct refusal *ret_refusal) {
    MR_TRY(maker_link(control, maker, kind, MR_STR_NONE, arena, made));
    return tell(control, kind, arena, made, ret_refusal);
}

/* ---- invites ---- */

mr_err maker_audit(struct control *control, const struct user_view *user, const char *action) {
    mr_buf detail;
    mr_buf_init(&detail, 1024);
    json_out out;
    json_out_init(&out, &detail);
    json_out_object(&out);
    json_out_member_str(&out, "email", user->email);
    json_out_member_str(&out, "role", auth_role_name(user->role));
    json_out_end(&out);
    mr_err err = json_out_finish(&out);
    if (mr_is_ok(err)) {
        err = audit_add(control, &(struct audit_entry){.account = user->account,
                                                       .action = action,
                                                       .object = user->id,
                                                       .detail = mr_buf_view(&detail)});
    }
    mr_buf_done(&detail);
    return err;
}

static mr_err add_and_invite(struct control *control, const struct link_maker *maker,
                             const struct user_spec *spec, mr_arena *arena, struct link_made *made,
                             struct refusal *ret_refusal) {
    uint32_t number = 0;
    if (mr_str_ends(spec->email, MR_STR(USER_PORTAL_DOMAIN))) {
        return refuse(ret_refusal, REFUSAL_MALFORMED, "email must be somebody's address.");
    }
    MR_TRY(users_insert(control, maker->account, spec, USER_INVITED, &number, ret_refusal));
    MR_TRY(users_get_number(control, number, arena, &made->user, ret_refusal));
    MR_TRY(maker_audit(control, &made->user, "user.invite"));
    return maker_tell(control, maker, LINK_INVITE, arena, made, ret_refusal);
}

mr_err invites_create(struct control *control, const struct link_maker *maker, mr_str body,
                      mr_arena *arena, struct link_made *ret_made, struct refusal *ret_refusal) {
    struct user_spec spec;
    MR_TRY(users_read_spec(control, body, arena, &spec, ret_refusal));
    MR_TRY(change_begin(control, ret_refusal));
    mr_err err = maker_judge(maker, spec.role, spec.products, ret_refusal);
    if (mr_is_ok(err)) {
        err = add_and_invite(control, maker, &spec, arena, ret_made, ret_refusal);
    }
    return change_end(control, err, ret_refusal);
}

static mr_err again_inner(struct control *control, const struct link_maker *maker, mr_str id,
                          mr_arena *arena, struct link_made *made, struct refusal *ret_refusal) {
    MR_TRY(users_get(control, maker->account, id, arena, &made->user, ret_refusal));
    if (made->user.status != USER_INVITED) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "The user has accepted the invite already.");
    }
    MR_TRY(maker_judge_user(maker, &made->user, ret_refusal));
    MR_TRY(maker_audit(control, &made->user, "user.invite-again"));
    return maker_tell(control, maker, LINK_INVITE, arena, made, ret_refusal);
}

mr_err invites_again(struct control *control, const struct link_maker *maker, mr_str id,
                     mr_arena *arena, struct link_made *ret_made, struct refusal *ret_refusal) {
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control, again_inner(control, maker, id, arena, ret_made, ret_refusal),
                      ret_refusal);
}

mr_err invites_make_owner(struct control *control, uint32_t account, mr_str email, mr_str base_url,
                          mr_wall now, mr_arena *arena, struct link_made *ret_made,
                          struct refusal *ret_refusal) {
    MR_ASSERT(control->store.depth > 0);
    const struct link_maker maker = {.account = account, .base_url = base_url, .now = now};
    const struct user_spec spec = {
        .email = email, .name = MR_STR(""), .role = AUTH_ROLE_OWNER, .products = MR_STR_NONE};
    return add_and_invite(control, &maker, &spec, arena, ret_made, ret_refusal);
}

/* ---- answers ---- */

mr_err link_made_write_json(const struct link_made *made, const char *name, mr_buf *out) {
    char date[MR_TIME_TEXT_SIZE];
    mr_time_format_ms(mr_wall_of_ms(made->expires_ms), date);
    MR_TRY(user_write_json(&made->user, out));
    MR_ASSERT(out->len > 0 && out->ptr[out->len - 1] == '}');
    mr_buf_truncate(out, out->len - 1);
    MR_TRY(mr_buf_printf(out, ",\"date_link_expires\":\"%s\"", date));
    if (!mr_str_is_absent(made->url)) {
        MR_TRY(mr_buf_printf(out, ",\"%s\":", name));
        MR_TRY(json_string_write(made->url, JSON_UTF8, out));
    }
    return mr_buf_byte(out, '}');
}
