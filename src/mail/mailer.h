/* The sender of mail: a thread of its own, for handing a mail over can take a minute. It asks the
 * control thread for what is due, sends, and tells it what became of it:
 *
 *   control thread ──mail_wanted──▶ sender: job "next" ──▶ SMTP ──▶ job "sent, later or never" ─┐
 *                                     ▲     none due: sleeps until one is, or mail_wanted       │
 *                                     └─────────────────────────────────────────────────────────┘
 *
 * A mail that the server does not take now is tried again after 2 s, then after twice as long each
 * time, up to 10 minutes, until its time is over; one that it refuses for good (5xx) is dropped.
 * Both leave a line in the log, without recipient and text, and count in millrace_mails_total. */
#ifndef MR_MAIL_MAILER_H
#define MR_MAIL_MAILER_H

#include "base/log.h"
#include "base/metrics.h"
#include "control/control.h"
#include "mail/smtp.h"

#define MAILER_FIRST_MS   2000
#define MAILER_LONGEST_MS 600000

struct mailer_options {
    struct smtp_server server; /* the texts outlive the mailer; it takes the password's reference */
    const struct mr_log *log;
    mr_metrics *metrics; /* slots of the sender's thread; may be NULL */
};

struct mailer;

/* MR_E_NOMEM; on error the password is still the caller's. */
mr_err mailer_new(const struct mailer_options *options, struct mailer **ret_mailer);
/* After mailer_stop and after the control thread has ended. NULL is fine. */
void mailer_free(struct mailer *mailer);
/* For control_options.mail_wanted; ctx is the mailer. Any thread, before the start as well. */
void mailer_wanted(void *ctx);
/* Starts the thread; the control thread runs. MR_E_IO. */
mr_err mailer_start(struct mailer *mailer, struct control *control);
/* Ends an attempt under way, waits for the thread's end; the control thread still runs. What waits
 * stays queued. Nothing where it was not started. */
void mailer_stop(struct mailer *mailer);

#endif
