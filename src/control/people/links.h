/* Links that are shown to one person once: to set the installation up, to accept an invite, to set
 * a new password, to open an account's portal. Whoever has the link has the right, so its secret
 * has 256 random bits and is kept as a hash only.
 *
 *   links_make ──▶ there ──links_take (one winner)──▶ gone
 *                    └── expired, or another of its kind for its user was made ──▶ gone
 *
 * Used, expired, ended and unknown links are answered alike. Looking a link up uses nothing up:
 * scanners of mail open every link. Control thread only. */
#ifndef MR_CONTROL_PEOPLE_LINKS_H
#define MR_CONTROL_PEOPLE_LINKS_H

#include "control/control.h"

#define LINK_TOKEN_CHARS 43 /* 32 bytes in base64url */
#define LINK_TOKEN_SIZE  (LINK_TOKEN_CHARS + 1)
#define LINK_URL_MAX     512

enum link_kind {
    LINK_SETUP = 0, /* until it was used */
    LINK_INVITE,    /* 7 days */
    LINK_RESET,     /* 1 hour */
    LINK_PORTAL,    /* 5 minutes; several at a time */
    LINK_KIND_COUNT,
};
extern const char *const link_kind_names[LINK_KIND_COUNT];
const char *link_kind_name(enum link_kind kind); /* "invite" */

struct link_view {
    enum link_kind kind;
    uint32_t account;
    uint32_t user;      /* 0: of setup */
    int64_t expires_ms; /* INT64_MAX: until it was used */
    mr_str detail;      /* JSON object of its maker's; in arena */
};

/* Inside a change: a new link; those of the same kind for the same user end, but for portal links.
 * detail: a JSON object without secrets, or absent. The token is the caller's to wipe. */
mr_err links_make(struct control *control, enum link_kind kind, uint32_t account, uint32_t user,
                  mr_str detail, mr_wall now, char ret_token[static LINK_TOKEN_SIZE],
                  int64_t *ret_expires_ms);
/* 20404 for one that is not there, whatever the reason. */
mr_err links_find(struct control *control, mr_str token, mr_wall now, mr_arena *arena,
                  struct link_view *ret_link, struct refusal *ret_refusal);
/* The same, inside a change, which is what uses the link up: it is gone when the change commits. */
mr_err links_take(struct control *control, mr_str token, mr_wall now, mr_arena *arena,
                  struct link_view *ret_link, struct refusal *ret_refusal);
/* Inside a change: ends the user's links of this kind. */
mr_err links_end(struct control *control, enum link_kind kind, uint32_t user);
/* Whether the installation still waits to be set up. */
mr_err links_setup_waits(struct control *control, bool *ret_waits);

/* base_url + "/links/" + token, in arena; absent without memory. */
mr_str link_url(mr_str base_url, const char *token, mr_arena *arena);

#endif
