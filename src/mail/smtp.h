/* Handing one mail to the operator's SMTP server, by libcurl. Blocks for up to a minute, so it is
 * called by the sender's own thread alone.
 *
 * smtps:// speaks TLS from the first byte; smtp:// must offer STARTTLS, except on loopback, where
 * it is used if it is offered. The certificate is checked in any case. The address guard of
 * destinations does not apply: the server is the operator's own. */
#ifndef MR_MAIL_SMTP_H
#define MR_MAIL_SMTP_H

#include "base/str.h"
#include "crypto/secret.h"

#include <stdatomic.h>

struct smtp_server {
    const char *url;     /* smtp://host:port or smtps://host:port */
    const char *user;    /* "": no AUTH */
    mr_secret password;  /* of user */
    const char *from;    /* envelope sender, an address alone */
    const char *ca_file; /* "": the system's authorities */
    bool is_loopback;
};

enum smtp_outcome {
    SMTP_SENT = 0,
    SMTP_RETRY,  /* this mail later: the server said so (4xx) */
    SMTP_DOWN,   /* any mail later: no connection, no TLS, not signed in */
    SMTP_REFUSED /* never: 5xx on this mail */
};
struct smtp_result {
    enum smtp_outcome outcome;
    long reply;      /* the server's last code; 0: none */
    const char *why; /* static text: libcurl's */
};

/* Whether the URL's host is this machine by its own spelling: 127.0.0.0/8, ::1, localhost. */
bool smtp_url_is_loopback(mr_str url);

/* Opaque; holds the opened library. */
struct smtp;
/* MR_E_NOMEM; MR_E_NOT_FOUND: libcurl is not installed. */
mr_err smtp_new(struct smtp **ret_smtp);
/* NULL is fine. */
void smtp_free(struct smtp *smtp);
/* message: the whole mail. is_stopping: ends the attempt early (SMTP_DOWN) once it is true. */
struct smtp_result smtp_send(struct smtp *smtp, const struct smtp_server *server,
                             const char *recipient, mr_str message,
                             const _Atomic bool *is_stopping);

#endif
