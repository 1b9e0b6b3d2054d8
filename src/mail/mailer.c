/* The sender's thread. See mailer.h.
 *
 * It has one job at a time with the control thread and waits for it, so everything but the wake
 * mail and the stop flag belongs to this thread alone. libcurl is opened when the first mail is due
 * and closed with the thread. */
#include "mail/mailer.h"

#include "base/list.h"
#include "base/mem.h"
#include "control/jobs.h"
#include "control/people/mails.h"
#include "mail/message.h"
#include "os/clock.h"
#include "os/thread.h"

#include <stdio.h>

#define MESSAGE_MAX (4 * (MAIL_TEXT_MAX + MAIL_SUBJECT_MAX) + 4096)
#define ARENA_MAX   65536
#define TROUBLE_MS  5000 /* before the store is asked again after it failed */

struct mailer {
    struct mailer_options options;
    struct control *control;
    os_thread thread;
    bool is_started;
    struct mailbox mailbox; /* any thread */
    _Atomic bool is_stopping;
    _Atomic bool is_woken; /* the wake mail is in the box */
    struct mail wake_mail;
    struct mail stop_mail;
    /* sender's thread */
    struct smtp *smtp;
    struct control_job job;
    bool job_is_done;
    mr_arena arena; /* of the mail at hand */
    struct mail_due due;
    bool is_over;     /* of the mail at hand: sent, or never to be; else postponed */
    int64_t next_ms;  /* postponed to */
    uint32_t n_down;  /* attempts in a row that met no server */
    int64_t quiet_ms; /* wall time until which no mail is tried */
};

/* ---- jobs ---- */

static mr_err run_next(struct control *control, struct control_job *job) {
    struct mailer *mailer = MR_CONTAINER(job, struct mailer, job);
    return mails_next(control, os_wall_now(), &mailer->arena, &mailer->due, &job->refusal);
}

static mr_err run_settle(struct control *control, struct control_job *job) {
    const struct mailer *mailer = MR_CONTAINER(job, struct mailer, job);
    return mailer->is_over
               ? mails_remove(control, mailer->due.number, &job->refusal)
               : mails_postpone(control, mailer->due.number, mailer->next_ms, &job->refusal);
}

static void job_done(struct control_job *job) {
    MR_CONTAINER(job, struct mailer, job)->job_is_done = true;
}

/* Runs a job on the control thread and waits for it. */
static mr_err ask(struct mailer *mailer,
                  mr_err (*run)(struct control *control, struct control_job *job)) {
    mailer->job_is_done = false;
    mailer->job = (struct control_job){.run = run, .done = job_done, .reply_to = &mailer->mailbox};
    control_submit(mailer->control, &mailer->job);
    while (!mailer->job_is_done) {
        mailbox_run(mailbox_wait(&mailer->mailbox, MR_MONO_NEVER));
    }
    return mailer->job.err;
}

/* ---- one mail ---- */

static int64_t backoff_ms(uint32_t attempts) {
    int64_t ms = MAILER_FIRST_MS;
    while (attempts-- > 0 && ms < MAILER_LONGEST_MS) {
        ms *= 2;
    }
    return ms < MAILER_LONGEST_MS ? ms : MAILER_LONGEST_MS;
}

static void note_dropped(struct mailer *mailer, const char *why, int64_t number, long reply) {
    mr_metric_add(mailer->options.metrics, MR_METRIC_MAILS_DROPPED, 1);
    mr_warn(mailer->options.log, "mail_dropped", mr_kv_i64("mail", number), mr_kv_c("why", why),
            mr_kv_i64("reply", reply));
}

static mr_err write_message(struct mailer *mailer, mr_buf *out) {
    const struct mail_due *due = &mailer->due;
    mr_str content = mr_secret_reveal(due->content);
    size_t end = mr_str_find_byte(content, '\n', 0);
    mr_str install = control_installation_id(mailer->control);
    char id[96];
    snprintf(id, sizeof id, "%.*s.%lld", MR_FMT(install), (long long)due->number);
    const struct mail_message message = {
        .from = mr_str_c(mailer->options.server.from),
        .recipient = due->recipient,
        .subject = mr_str_slice(content, 0, end),
        .text = end == SIZE_MAX ? MR_STR("") : mr_str_slice(content, end + 1, content.len),
        .id = mr_str_c(id),
        .date = mr_wall_of_ms(due->created_ms),
    };
    return mail_message_write(&message, out);
}

static void take_result(struct mailer *mailer, const struct smtp_result *result) {
    const struct mail_due *due = &mailer->due;
    int64_t now_ms = mr_wall_ms(os_wall_now());
    mailer->is_over = result->outcome == SMTP_SENT || result->outcome == SMTP_REFUSED;
    mailer->next_ms = now_ms + backoff_ms(due->attempts);
    mailer->n_down = result->outcome == SMTP_DOWN ? mailer->n_down + 1 : 0;
    switch (result->outcome) {
    case SMTP_SENT:
        mr_metric_add(mailer->options.metrics, MR_METRIC_MAILS_SENT, 1);
        mr_info(mailer->options.log, "mail_sent", mr_kv_i64("mail", due->number));
        return;
    case SMTP_REFUSED:
        note_dropped(mailer, result->why, due->number, result->reply);
        return;
    case SMTP_DOWN:
        mailer->quiet_ms = now_ms + backoff_ms(mailer->n_down - 1);
        break;
    case SMTP_RETRY:
        break;
    }
    mr_metric_add(mailer->options.metrics, MR_METRIC_MAILS_RETRIED, 1);
    mr_warn(mailer->options.log, "mail_postponed", mr_kv_i64("mail", due->number),
            mr_kv_c("why", result->why), mr_kv_i64("reply", result->reply),
            mr_kv_i64("for_ms", mailer->next_ms - now_ms));
}

static void attempt(struct mailer *mailer) {
    struct smtp_result result = {SMTP_DOWN, 0, "libcurl is not installed"};
    mr_buf message;
    mr_buf_init_private(&message, MESSAGE_MAX);
    mr_err err = mr_secret_is_none(mailer->due.content) ? MR_ERR(MR_E_INVALID) : MR_OK;
    if (mr_is_ok(err)) {
        err = mr_buf_reserve(&message, MESSAGE_MAX, NULL); /* no copies left behind */
    }
    if (mr_is_ok(err)) {
        err = write_message(mailer, &message);
    }
    if (mr_is_ok(err) && mailer->smtp == NULL) {
        err = smtp_new(&mailer->smtp);
    }
    if (mr_is_ok(err)) {
        result = smtp_send(mailer->smtp, &mailer->options.server, mailer->due.recipient.ptr,
                           mr_buf_view(&message), &mailer->is_stopping);
    } else if (mr_err_is(err, MR_E_INVALID)) {
        result = (struct smtp_result){SMTP_REFUSED, 0, "the mail cannot be written"};
    }
    if (message.len > 0) {
        crypto_wipe(message.ptr, message.len);
    }
    mr_buf_done(&message);
    if (result.outcome == SMTP_DOWN && atomic_load(&mailer->is_stopping)) {
        return; /* it stays as it is */
    }
    take_result(mailer, &result);
    if (mr_is_err(ask(mailer, run_settle))) {
        mailer->quiet_ms = mr_wall_ms(os_wall_now()) + TROUBLE_MS;
    }
}

/* ---- the thread ---- */

/* Looks what is due and tries it. When to look again (wall time); now where there may be more. */
static int64_t turn(struct mailer *mailer) {
    int64_t now_ms = mr_wall_ms(os_wall_now());
    if (now_ms < mailer->quiet_ms) {
        return mailer->quiet_ms;
    }
    mr_arena_reset(&mailer->arena);
    if (mr_is_err(ask(mailer, run_next))) {
        return now_ms + TROUBLE_MS;
    }
    for (uint32_t i = 0; i < mailer->due.expired; i++) {
        note_dropped(mailer, "its time was over", 0, 0);
    }
    if (mailer->due.number == 0) {
        return mailer->due.next_ms;
    }
    if (!atomic_load(&mailer->is_stopping)) {
        attempt(mailer);
    }
    mr_secret_unref(&mailer->due.content);
    return now_ms;
}

static void thread_main(void *arg) {
    struct mailer *mailer = arg;
    while (!atomic_load(&mailer->is_stopping)) {
        int64_t next_ms = turn(mailer);
        mr_mono deadline = MR_MONO_NEVER;
        int64_t wait_ms = next_ms - mr_wall_ms(os_wall_now());
        if (next_ms != INT64_MAX) {
            deadline = mr_mono_add_ms(os_mono_now(), wait_ms > 0 ? wait_ms : 0);
        }
        if (next_ms == INT64_MAX || wait_ms > 0) {
            mailbox_run(mailbox_wait(&mailer->mailbox, deadline));
        }
    }
    smtp_free(mailer->smtp);
    mailer->smtp = NULL;
}

static void on_wake(struct mail *mail) {
    atomic_store(&MR_CONTAINER(mail, struct mailer, wake_mail)->is_woken, false);
}

static void on_stop(struct mail *mail) {
    (void)mail; /* it only wakes: the flag is set */
}

void mailer_wanted(void *ctx) {
    struct mailer *mailer = ctx;
    if (!atomic_exchange(&mailer->is_woken, true)) {
        mailer->wake_mail.run = on_wake;
        mailbox_post(&mailer->mailbox, &mailer->wake_mail, NULL);
    }
}

mr_err mailer_new(const struct mailer_options *options, struct mailer **ret_mailer) {
    struct mailer *mailer = MR_NEW(struct mailer);
    if (mailer == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mailer->options = *options;
    mailbox_init(&mailer->mailbox);
    atomic_init(&mailer->is_stopping, false);
    atomic_init(&mailer->is_woken, false);
    mr_arena_init_private(&mailer->arena, ARENA_MAX);
    *ret_mailer = mailer;
    return MR_OK;
}

void mailer_free(struct mailer *mailer) {
    if (mailer == NULL) {
        return;
    }
    MR_ASSERT(!mailer->is_started);
    mr_secret_unref(&mailer->options.server.password);
    mr_arena_done(&mailer->arena);
    mr_free(mailer);
}

mr_err mailer_start(struct mailer *mailer, struct control *control) {
    mailer->control = control;
    MR_TRY(os_thread_start(&mailer->thread, "mr-mailer", thread_main, mailer));
    mailer->is_started = true;
    return MR_OK;
}

void mailer_stop(struct mailer *mailer) {
    if (mailer == NULL || !mailer->is_started) {
        return;
    }
    atomic_store(&mailer->is_stopping, true);
    mailer->stop_mail.run = on_stop;
    mailbox_post(&mailer->mailbox, &mailer->stop_mail, NULL);
    os_thread_join(&mailer->thread);
    mailer->is_started = false;
}
