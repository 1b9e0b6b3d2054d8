/* Sessions of users: a random cookie, of which the store keeps the start of its hash. Control
 * thread only, but for session_id_of and session_csrf_of. SPEC.md, section 10; OWASP ASVS 5.0,
 * chapter 7.
 *
 * A session ends by signing out, by the idle or the absolute limit, or because its user's role,
 * status or password changed; workers see it as an object of the snapshot, so an ended one is ended
 * on all of them before the call that ended it is answered. */
#ifndef MR_CONTROL_PEOPLE_SESSIONS_H
#define MR_CONTROL_PEOPLE_SESSIONS_H

#include "control/control.h"
#include "control/shape.h"
#include "crypto/hash.h"

#define SESSION_COOKIE_NAME      "__Host-millrace"
#define SESSION_COOKIE_CHARS     43 /* 32 random bytes in base64url */
#define SESSION_ID_SIZE          41 /* 20 bytes of its SHA-256 in hex, and a NUL */
#define SESSION_CSRF_SIZE        44 /* 32 bytes in base64url, and a NUL */
#define SESSIONS_OF_USER_MAX     50 /* the one seen longest ago goes */
#define SESSION_AGENT_MAX        256
#define SESSION_IDLE_MS_DEFAULT  (INT64_C(12) * 3600 * 1000)
#define SESSION_MAX_DAYS_DEFAULT 30

/* A new cookie value: 256 random bits. Any thread. MR_E_NOMEM. */
mr_err session_cookie_make(char ret_cookie[static SESSION_COOKIE_CHARS + 1]);
/* The id of the session that a cookie's value names. Any thread. MR_E_INVALID: not of its form. */
mr_err session_id_of(struct crypto_hasher *hasher, mr_str cookie,
                     char ret_id[static SESSION_ID_SIZE]);
/* What X-CSRF-Token must hold in this session. Any thread. */
mr_err session_csrf_of(struct crypto_hasher *hasher, mr_str cookie,
                       char ret_token[static SESSION_CSRF_SIZE]);

extern const struct shape own_session_answer; /* of a list's rows */

struct session_view {
    mr_str id;
    int64_t created_ms;
    int64_t seen_ms;
    int64_t expires_ms;
    mr_str address;
    mr_str agent;
};

/* Opens a session; inside a change. ret_cookie: its value, shown to nobody else; the caller wipes
 * it. `agent` is cut at SESSION_AGENT_MAX. Sessions past their limits are swept on the way. Audit
 * row "session.create". */
mr_err sessions_open(struct control *control, uint32_t user, mr_str address, mr_str agent,
                     mr_wall now, char ret_cookie[static SESSION_COOKIE_CHARS + 1],
                     char ret_id[static SESSION_ID_SIZE]);
/* Ends all sessions of a user but one (its id; absent: all); inside a change. */
mr_err sessions_end_all(struct control *control, uint32_t user, mr_str except_id);
/* Ends one of a user's own. 20404. Audit row "session.delete". */
mr_err sessions_end(struct control *control, uint32_t user, mr_str id, struct refusal *ret_refusal);
/* Keeps when it was last used; nothing where it is gone. */
mr_err sessions_seen(struct control *control, uint32_t number, int64_t seen_ms,
                     struct refusal *ret_refusal);
/* Live ones of a user, the newest first. */
mr_err sessions_list(struct control *control, uint32_t user, mr_wall now, struct control_page page,
                     mr_arena *arena, struct session_view **ret_rows, size_t *ret_n,
                     uint64_t *ret_count, struct refusal *ret_refusal);
/* {"data":[{"id","current","date_created","date_seen","date_expires","address","agent"}],
 * "meta_data":{…}} */
mr_err session_list_write_json(const struct session_view *rows, size_t n, mr_str current_id,
                               const struct control_page *page, uint64_t count, mr_str url,
                               mr_buf *out);

#endif
