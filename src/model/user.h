/* Users and their sessions as workers read them. Immutable, but for a session's time of last use.
 */
#ifndef MR_MODEL_USER_H
#define MR_MODEL_USER_H

#include "auth/roles.h"
#include "model/object.h"

struct model_user {
    struct model_object object; /* id "user_…" */
    uint32_t account;           /* number */
    enum auth_role role;
    bool is_active;
    bool has_second_factor;    /* confirmed */
    struct auth_scopes scopes; /* of role and products */
};

struct model_session {
    struct model_object object; /* id: the start of the cookie's hash */
    uint32_t user;              /* number */
    int64_t expires_ms;         /* the absolute limit */
    /* Any worker; kept in the store at most once a minute. Shared by all snapshots that hold the
     * object, so that a session used on one worker is not idle on another. */
    _Atomic int64_t seen_ms;
    _Atomic int64_t stored_ms; /* the last one that was sent to the store */
};

/* As in model/account.h. */
struct model_user *model_user_new(uint32_t number, mr_str id, uint32_t account);
struct model_session *model_session_new(uint32_t number, mr_str id, uint32_t user);

#endif
