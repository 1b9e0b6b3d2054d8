/* Users: who may sign in to an account, in which role. Control thread only. SPEC.md, section 10;
 * KORE, "Users and roles".
 *
 *   (none) ──users_insert──▶ INVITED ──a password is set──▶ ACTIVE ◀──PATCH status──▶ DISABLED
 *
 * An account has exactly one Owner, who is neither removed, disabled nor demoted, only followed by
 * another (users_transfer). An e-mail is a user once per account; case does not tell e-mails apart,
 * and they are kept in lower case. */
#ifndef MR_CONTROL_PEOPLE_USERS_H
#define MR_CONTROL_PEOPLE_USERS_H

#include "auth/roles.h"
#include "control/control.h"
#include "control/shape.h"

#define USER_EMAIL_MAX 254
/* End of the addresses of portal users (invites.h): nobody's mailbox (RFC 6761). */
#define USER_PORTAL_DOMAIN ".portal.invalid"

enum user_status {
    USER_ACTIVE = 0,
    USER_INVITED, /* has set no password yet */
    USER_DISABLED,
    USER_STATUS_COUNT,
};
mr_str user_status_name(enum user_status status); /* "ACTIVE" */

/* Texts in the arena of whoever asked. */
struct user_view {
    uint32_t number;
    mr_str id;
    uint32_t account;
    mr_str account_id;
    mr_str email;
    mr_str name;
    enum auth_role role;
    enum user_status status;
    mr_str products; /* JSON array of product names; absent: all */
    bool has_password;
    bool has_second_factor; /* confirmed */
    uint32_t generation;    /* rises when role, status or password change */
    uint32_t version;
    int64_t created_ms;
    int64_t updated_ms;
    int64_t signed_in_ms; /* 0: never */
};

/* Members of POST /v1/users (an invite) and of PATCH /v1/users/{id}. */
extern const struct shape user_create_shape;
extern const struct shape user_change_shape;
extern const struct shape user_answer;
extern const struct shape user_invited_answer; /* beside them the link */
extern const struct shape user_reset_answer;
/* {"user_id"} */
extern const struct shape ownership_shape;

/* Whether it may be an e-mail address: one @, printable ASCII without spaces and without what could
 * end an address in a mail (<>()[],;:\"), at most 254 bytes. */
bool user_email_is_plausible(mr_str email);
/* In lower case, in arena; absent without memory. */
mr_str user_email_fold(mr_arena *arena, mr_str email);

struct user_spec {
    mr_str email; /* plausible */
    mr_str name;  /* may be empty */
    enum auth_role role;
    mr_str products; /* as in the view */
};
/* Reads and judges the body of an invite. The role must not be Owner (20400). */
mr_err users_read_spec(struct control *control, mr_str body, mr_arena *arena,
                       struct user_spec *ret_spec, struct refusal *ret_refusal);
/* Adds a user without a password; inside a change. `status` is USER_INVITED but for set-up.
 * 20409 where the e-mail is a user of the account already. No audit row: the caller knows what it
 * does. */
mr_err users_insert(struct control *control, uint32_t account, const struct user_spec *spec,
                    enum user_status status, uint32_t *ret_number, struct refusal *ret_refusal);

/* 20404 where the account has no such user. account 0: any. */
mr_err users_get(struct control *control, uint32_t account, mr_str id, mr_arena *arena,
                 struct user_view *ret_view, struct refusal *ret_refusal);
mr_err users_get_number(struct control *control, uint32_t number, mr_arena *arena,
                        struct user_view *ret_view, struct refusal *ret_refusal);
/* The users with this e-mail, in order of numbers, at most max of them. account 0: any. */
mr_err users_find_email(struct control *control, uint32_t account, mr_str email, mr_arena *arena,
                        size_t max, struct user_view **ret_rows, size_t *ret_n,
                        struct refusal *ret_refusal);
mr_err users_list(struct control *control, uint32_t account, struct control_page page,
                  mr_arena *arena, struct user_view **ret_rows, size_t *ret_n, uint64_t *ret_count,
                  struct refusal *ret_refusal);

/* Who changes: nobody changes their own role or status, and no Admin an Owner's. `user` is 0 for a
 * client. */
struct user_editor {
    uint32_t account; /* of its own */
    uint32_t user;
    const struct auth_scopes *scopes; /* nobody gives more than they hold; NULL: no bound */
};
/* JSON Merge Patch of {"name","role","status","products"}. if_version: 0 or the version it must
 * have (20412). 20006: more rights than the editor's; of a client also before the change. Ends the
 * user's sessions where role or status change. Audit row, e-mail. */
mr_err users_patch(struct control *control, const struct user_editor *editor, uint32_t account,
                   mr_str id, mr_str body, uint32_t if_version, mr_arena *arena,
                   struct user_view *ret_view, struct refusal *ret_refusal);
/* Removes user, sessions, links, codes. 20409 for the Owner and for oneself; 20006: more
 * rights than those of a client. Audit row, e-mail. */
mr_err users_delete(struct control *control, const struct user_editor *editor, uint32_t account,
                    mr_str id, uint32_t if_version, struct refusal *ret_refusal);
/* The Owner's session hands the account over; the old Owner becomes Admin. Both users' sessions
 * end, but for except_session (its id; may be absent). Where no Owner has come yet, one of an
 * account above does it (the caller has judged that the editor reaches the account). 20006 for
 * others, 20404, 20409 (not active, or oneself). */
mr_err users_transfer(struct control *control, const struct user_editor *editor, uint32_t account,
                      mr_str user_id, mr_str except_session, mr_arena *arena,
                      struct user_view *ret_view, struct refusal *ret_refusal);

/* Sets the password (argon2id's own form, made by passwords.h); inside a change. An INVITED user
 * becomes ACTIVE; reset links and all sessions end but except_session (its id; absent: all). No
 * audit row, no e-mail. MR_E_NOT_FOUND. */
mr_err users_set_password(struct control *control, uint32_t number, mr_str hash,
                          mr_str except_session);
/* An operator's way back in (`millrace users set-password`): the same in a change of its own, and
 * the second factor is removed, for it may be what was lost. Audit row "user.set-password".
 * 20404.
 */
mr_err users_reset_password(struct control *control, uint32_t number, mr_str hash,
                            struct refusal *ret_refusal);
/* Tells a user by e-mail that something about them was changed; inside the change. what: one
 * sentence. Where no mail is set up nothing happens. */
mr_err user_changed_tell(struct control *control, const struct user_view *user, const char *what,
                         struct refusal *ret_refusal);

/* {"id","account_id","email","name","role","status","products","second_factor","date_created",
 * "date_updated","date_signed_in"} */
mr_err user_write_json(const struct user_view *view, mr_buf *out);
/* {"data":[…],"meta_data":{…}} */
mr_err user_list_write_json(const struct user_view *rows, size_t n, const struct control_page *page,
                            uint64_t count, mr_str url, mr_buf *out);

#endif
