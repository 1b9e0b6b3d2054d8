/* Portal links. See invites.h.
 *
 * A company embeds its customer's portal: its backend asks for a link, its page leads there, and
 * the browser gets a session that reaches this one account. A session belongs to a user, so an
 * account has at most one *portal user* per role: without a password and with an address that is
 * nobody's, shown in the list of users. Disabling or removing it ends all sessions that came by
 * links, as with any user. */
#include "control/people/invites.h"

#include "control/audit.h"
#include "control/people/makers.h"
#include "control/private.h"
#include "json/write.h"

#include <stdio.h>

#define RETURN_URL_MAX 2000

static const char *const role_names[] = {"admin", "developer", "default"};

static const struct shape_member members[] = {
    {.name = "role",
     .kind = SHAPE_ENUM,
     .names = role_names,
     .n_names = 3,
     .what = "What the session may do; developer where it is absent"},
    {.name = "return_url",
     .kind = SHAPE_TEXT,
     .min = 1,
     .max = RETURN_URL_MAX,
     .what = "Where the way back leads: a URL that begins with https://"},
};
const struct shape portal_link_shape = {"PortalLink", members, 2};

struct portal_ask {
    enum auth_role role;
    mr_str return_url; /* absent: none */
};

static bool is_https(mr_str url) {
    if (!mr_str_starts(url, MR_STR("https://")) || url.len < 9) {
        return false;
    }
    for (size_t i = 0; i < url.len; i++) {
        if (url.ptr[i] <= ' ' || url.ptr[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}

static mr_err read_ask(mr_str body, mr_arena *arena, struct portal_ask *ask,
                       struct refusal *ret_refusal) {
    json_tape tape;
    uint32_t role = 1;
    mr_err err = shape_read(&tape, body, &portal_link_shape, SHAPE_CREATE, ret_refusal);
    if (mr_is_ok(err)) {
        shape_enum(json_root(&tape), &portal_link_shape, "role", &role);
        err = shape_text(json_root(&tape), "return_url", arena, &ask->return_url);
    }
    json_tape_done(&tape);
    MR_TRY(err);
    ask->role = (enum auth_role)(AUTH_ROLE_ADMIN + role);
    if (!mr_str_is_absent(ask->return_url) && !is_https(ask->return_url)) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "return_url must be a URL that begins with https://.");
    }
    return MR_OK;
}

/* Finds or makes the account's portal user of that role. */
static mr_err take_user(struct control *control, uint32_t account, enum auth_role role,
                        mr_arena *arena, struct user_view *ret_user, struct refusal *ret_refusal) {
    mr_str name = auth_role_name(role);
    char email[64];
    int len = snprintf(email, sizeof email, "%.*s@account" USER_PORTAL_DOMAIN, MR_FMT(name));
    struct user_view *rows;
    size_t n = 0;
    MR_TRY(users_find_email(control, account, mr_str_of(email, (size_t)len), arena, 1, &rows, &n,
                            ret_refusal));
    if (n == 0) {
        const struct user_spec spec = {.email = mr_str_of(email, (size_t)len),
                                       .name = MR_STR("Portal"),
                                       .role = role,
                                       .products = MR_STR_NONE};
        uint32_t number = 0;
        MR_TRY(users_insert(control, account, &spec, USER_ACTIVE, &number, ret_refusal));
        return users_get_number(control, number, arena, ret_user, ret_refusal);
    }
    if (rows[0].status != USER_ACTIVE || rows[0].role != role) {
        return refuse(ret_refusal, REFUSAL_INVALID_ACCOUNT,
                      "The account's portal user %.*s was disabled or given another role.",
                      MR_FMT(rows[0].id));
    }
    *ret_user = rows[0];
    return MR_OK;
}

static mr_err create_inner(struct control *control, const struct link_maker *maker,
                           const struct portal_ask *ask, mr_arena *arena, struct link_made *made,
                           struct refusal *ret_refusal) {
    MR_TRY(take_user(control, maker->account, ask->role, arena, &made->user, ret_refusal));
    MR_TRY(maker_judge(maker, made->user.role, made->user.products, ret_refusal));
    char told[64];
    int n =
        snprintf(told, sizeof told, "{\"role\":\"%.*s\"}", MR_FMT(auth_role_name(made->user.role)));
    MR_TRY(audit_add(control, &(struct audit_entry){.account = maker->account,
                                                    .action = "portal-link.create",
                                                    .object = made->user.id,
                                                    .detail = mr_str_of(told, (size_t)n)}));
    mr_buf detail;
    mr_buf_init(&detail, RETURN_URL_MAX + 64);
    json_out out;
    json_out_init(&out, &detail);
    json_out_object(&out);
    if (!mr_str_is_absent(ask->return_url)) {
        json_out_member_str(&out, "return_url", ask->return_url);
    }
    json_out_end(&out);
    mr_err err = json_out_finish(&out);
    if (mr_is_ok(err)) {
        err = maker_link(control, maker, LINK_PORTAL, mr_buf_view(&detail), arena, made);
    }
    mr_buf_done(&detail);
    return err;
}

mr_err portal_links_create(struct control *control, const struct link_maker *maker, mr_str body,
                           mr_arena *arena, struct link_made *ret_made,
                           struct refusal *ret_refusal) {
    struct portal_ask ask = {.return_url = MR_STR_NONE};
    MR_TRY(refuse_error(control, read_ask(body, arena, &ask, ret_refusal), ret_refusal));
    MR_TRY(change_begin(control, ret_refusal));
    return change_end(control, create_inner(control, maker, &ask, arena, ret_made, ret_refusal),
                      ret_refusal);
}

static const struct shape_member portal_link_answer_members[] = {
    {"url", SHAPE_TEXT, SHAPE_OPTIONAL | SHAPE_SECRET,
     .what = "Not in an answer repeated by its Idempotency-Key"},
    {"account_id", .kind = SHAPE_TEXT},
    {"role", .kind = SHAPE_TEXT},
    {"date_expires", .kind = SHAPE_TIME},
};
const struct shape portal_link_answer = {"PortalLink", portal_link_answer_members,
                                         sizeof portal_link_answer_members /
                                             sizeof portal_link_answer_members[0]};

mr_err portal_link_write_json(const struct link_made *made, mr_buf *out) {
    char date[MR_TIME_TEXT_SIZE];
    mr_time_format_ms(mr_wall_of_ms(made->expires_ms), date);
    json_out writer;
    json_out_init(&writer, out);
    json_out_object(&writer);
    if (!mr_str_is_absent(made->url)) {
        json_out_member_str(&writer, "url", made->url);
    }
    json_out_member_str(&writer, "account_id", made->user.account_id);
    json_out_member_str(&writer, "role", auth_role_name(made->user.role));
    json_out_member_c(&writer, "date_expires", date);
    json_out_end(&writer);
    return json_out_finish(&writer);
}
