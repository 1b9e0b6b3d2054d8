/* Mail that waits to be sent. It is queued in the transaction of what it tells of, so that neither
 * is there without the other; src/mail sends it, again and again until its time is over. The text
 * is sealed: it may hold the secret of a link.
 *
 * Where no SMTP server is configured nothing is queued. */
#ifndef MR_CONTROL_PEOPLE_MAILS_H
#define MR_CONTROL_PEOPLE_MAILS_H

#include "control/control.h"
#include "crypto/secret.h"

#define MAIL_TEXT_MAX    16384
#define MAIL_SUBJECT_MAX 512
#define MAIL_QUEUE_MAX   10000 /* mails that wait */
#define MAIL_NOTICE_MS   (INT64_C(3) * 24 * 3600 * 1000)

/* Whether mail is sent at all. */
bool mail_is_configured(const struct control *control);

/* Inside a change: queues a notice, which is tried for three days. subject: one line; text: lines
 * ended by \n; both UTF-8. Control characters of the subject become spaces when it is sent, so what
 * people wrote may stand in it. 20503 where too many wait. */
mr_err mail_queue(struct control *control, mr_str recipient, mr_str subject, mr_str text,
                  struct refusal *ret_refusal);
/* The same until expires_ms, for a mail with a link that ends then. */
mr_err mail_queue_until(struct control *control, mr_str recipient, mr_str subject, mr_str text,
                        int64_t expires_ms, struct refusal *ret_refusal);

/* ---- for the sender ---- */

struct mail_due {
    int64_t number;  /* 0: none is due */
    int64_t next_ms; /* where none is due: when to look again; INT64_MAX: when one is queued */
    mr_str recipient;
    mr_secret content; /* subject, \n, text; the caller's to unref; none where it cannot be read */
    uint32_t attempts;
    int64_t created_ms;
    uint32_t expired; /* mails whose time was over, dropped by this call */
};
/* The mail that is due for the longest time. Drops what is expired. Texts in arena. */
mr_err mails_next(struct control *control, mr_wall now, mr_arena *arena, struct mail_due *ret_due,
                  struct refusal *ret_refusal);
/* It was sent, or never will be. */
mr_err mails_remove(struct control *control, int64_t number, struct refusal *ret_refusal);
/* It is tried again at next_ms. */
mr_err mails_postpone(struct control *control, int64_t number, int64_t next_ms,
                      struct refusal *ret_refusal);

#endif
