/* The control thread.
 *
 * A turn: take all mail; run each job in a transaction of its own; build one snapshot of everything
 * that was committed; send it to every subscriber; sleep. A job that changed something is answered
 * when all of them have adopted that snapshot: from then on no worker judges by the old state,
 * which is what makes "revoked" and "deleted" in an answer true.
 *
 * A job that is `in_order` changed nothing, but must not be answered before what others changed: it
 * waits for the newest publication under way.
 *
 * The mail of a job is the job's own, that of a publication the publication's, so nothing here can
 * fail between commit and answer but building the snapshot for want of memory: then the jobs go on
 * waiting and it is tried again every 100 ms. The commit is on disk and cannot be taken back, so an
 * answer "failed" would be a lie.
 *
 * Stopping: the stop mail is handled like a job, so what came before it is done. The thread ends
 * when no job and no publication is left. */
#include "control/jobs.h"

#include "base/list.h"
#include "base/mem.h"
#include "control/people/signin.h"
#include "control/private.h"
#include "os/clock.h"

#define RETRY_MS 100

struct delivery {
    struct mail mail;
    struct control_subscriber *subscriber;
    struct publication *publication;
};

/* A snapshot on its way. */
struct publication {
    struct mail adopted; /* to the control thread, from the last subscriber */
    struct control *control;
    struct publication *next;
    struct snapshot *snapshot;
    struct changes changes;
    struct control_job *jobs; /* to be answered when all have adopted */
    _Atomic size_t left;      /* subscribers that have not */
    struct delivery deliveries[];
};

void jobs_init(struct control *control) {
    mailbox_init(&control->mailbox);
    atomic_init(&control->is_stopping, false);
    control->retry_at = MR_MONO_NEVER;
}

/* ---- answering ---- */

static void job_done(struct mail *mail) {
    struct control_job *job = MR_CONTAINER(mail, struct control_job, mail);
    job->done(job);
}

static void answer(struct control *control, struct control_job *job) {
    job->next = NULL;
    job->mail.run = job_done;
    if (job->reply_to != NULL) {
        mailbox_post(job->reply_to, &job->mail, control->options.metrics);
    } else {
        job->done(job);
    }
}

static void answer_all(struct control *control, struct control_job *jobs) {
    while (jobs != NULL) {
        struct control_job *next = jobs->next; /* the job may be gone once it is answered */
        answer(control, jobs);
        jobs = next;
    }
}

static void refuse_stopping(struct control_job *job) {
    job->err = refuse(&job->refusal, REFUSAL_UNAVAILABLE, "The server is stopping.");
}

/* ---- running ---- */

/* True where the job committed something that workers must see. */
static bool execute(struct control *control, struct control_job *job) {
    size_t before = control->committed;
    control->actor = job->actor;
    job->err = job->only_reads ? change_begin_reading(control, &job->refusal)
                               : change_begin(control, &job->refusal);
    if (mr_is_ok(job->err)) {
        job->err = change_end(control, job->run(control, job), &job->refusal);
    }
    signin_settle(control, mr_is_ok(job->err));
    control->actor = (struct control_actor){.kind = CONTROL_ACTOR_SYSTEM};
    return control->committed > before;
}

static void job_arrived(struct mail *mail) {
    struct control_job *job = MR_CONTAINER(mail, struct control_job, mail);
    struct control *control = job->control;
    if (atomic_load_explicit(&control->is_stopping, memory_order_acquire)) {
        refuse_stopping(job);
        answer(control, job);
        return;
    }
    if (!execute(control, job) && !job->in_order) {
        answer(control, job);
        return;
    }
    job->next = NULL;
    if (control->waiting_last == NULL) {
        control->waiting_first = job;
    } else {
        control->waiting_last->next = job;
    }
    control->waiting_last = job;
}

void control_submit(struct control *control, struct control_job *job) {
    job->control = control;
    job->next = NULL;
    job->err = MR_OK;
    job->mail.run = job_arrived;
    mailbox_post(&control->mailbox, &job->mail, NULL);
}

void control_run_here(struct control *control, struct control_job *job) {
    MR_ASSERT(!control->is_started);
    job->control = control;
    if (execute(control, job)) {
        mr_err err = snapshot_refresh(control, NULL);
        if (mr_is_err(err)) {
            mr_warn(control->options.log, "snapshot_postponed", mr_kv_i64("code", err.code));
        }
    }
    job->done(job);
}

/* ---- publishing ---- */

static void publication_free(struct publication *publication) {
    snapshot_unref(publication->snapshot);
    mr_free(publication->changes.list);
    mr_free(publication);
}

/* Out of the list, its jobs answered. */
static void publication_end(struct control *control, struct publication *publication) {
    struct publication **link = &control->publications;
    while (*link != publication) {
        MR_ASSERT(*link != NULL);
        link = &(*link)->next;
    }
    *link = publication->next;
    answer_all(control, publication->jobs);
    publication_free(publication);
}

static void publication_adopted(struct mail *mail) {
    struct publication *publication = MR_CONTAINER(mail, struct publication, adopted);
    publication_end(publication->control, publication);
}

/* In the subscriber's thread. */
static void delivery_arrived(struct mail *mail) {
    struct delivery *delivery = MR_CONTAINER(mail, struct delivery, mail);
    struct publication *publication = delivery->publication;
    struct control_subscriber *subscriber = delivery->subscriber;
    struct control_changes changes = {
        .list = publication->changes.list,
        .len = publication->changes.len,
    };
    subscriber->adopt(subscriber->ctx, snapshot_ref(publication->snapshot), changes);
    if (atomic_fetch_sub_explicit(&publication->left, 1, memory_order_acq_rel) == 1) {
        mailbox_post(&publication->control->mailbox, &publication->adopted, NULL);
    }
}

static struct publication *publication_new(struct control *control) {
    struct publication *publication =
        mr_calloc(1, sizeof *publication + control->n_subscribers * sizeof(struct delivery));
    if (publication == NULL) {
        return NULL;
    }
    publication->control = control;
    publication->adopted.run = publication_adopted;
    atomic_init(&publication->left, control->n_subscribers);
    size_t i = 0;
    for (struct control_subscriber *at = control->subscribers; at != NULL; at = at->next) {
        publication->deliveries[i++] = (struct delivery){
            .mail = {.run = delivery_arrived},
            .subscriber = at,
            .publication = publication,
        };
    }
    return publication;
}

static void send(struct control *control, struct publication *publication) {
    publication->next = control->publications;
    control->publications = publication;
    for (size_t i = 0; i < control->n_subscribers; i++) {
        struct delivery *delivery = &publication->deliveries[i];
        mailbox_post(delivery->subscriber->mailbox, &delivery->mail, control->options.metrics);
    }
}

/* Nothing was committed: what waits is in order behind what is under way. The newest publication
 * is the first of the list, and is adopted last. */
static void answer_in_order(struct control *control) {
    struct publication *newest = control->publications;
    struct control_job *jobs = control->waiting_first;
    control->waiting_first = NULL;
    control->waiting_last = NULL;
    if (newest == NULL) {
        answer_all(control, jobs);
        return;
    }
    struct control_job **link = &newest->jobs;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = jobs;
}

/* One snapshot of what was committed, for the jobs that wait for it. */
static void publish(struct control *control, mr_mono now) {
    if (control->committed == 0) {
        answer_in_order(control);
        return;
    }
    struct publication *publication = publication_new(control);
    mr_err err =
        publication == NULL ? MR_ERR(MR_E_NOMEM) : snapshot_refresh(control, &publication->changes);
    if (mr_is_err(err)) {
        mr_free(publication);
        control->retry_at = mr_mono_add_ms(now, RETRY_MS);
        mr_warn(control->options.log, "snapshot_postponed", mr_kv_i64("code", err.code));
        return;
    }
    control->retry_at = MR_MONO_NEVER;
    publication->snapshot = snapshot_ref(control->snapshot);
    publication->jobs = control->waiting_first;
    control->waiting_first = NULL;
    control->waiting_last = NULL;
    if (control->n_subscribers == 0 || control->nobody_adopts) {
        answer_all(control, publication->jobs);
        publication_free(publication);
    } else {
        send(control, publication);
    }
}

void control_subscribe(struct control *control, struct control_subscriber *subscriber) {
    MR_ASSERT(!control->is_started);
    subscriber->next = control->subscribers;
    control->subscribers = subscriber;
    control->n_subscribers++;
}

/* ---- the actor and its thread ---- */

static mr_mono handle(struct control *control, struct mail *list, mr_mono now) {
    bool is_ending = atomic_load_explicit(&control->is_stopping, memory_order_acquire);
    mailbox_run(list);
    publish(control, now);
    mr_mono trim_at = is_ending ? MR_MONO_NEVER : audit_retention_step(control, now);
    mr_mono next = audit_journal_step(control, now, is_ending);
    return mr_mono_min(mr_mono_min(next, trim_at), control->retry_at);
}

mr_mono control_step(struct control *control, mr_mono now) {
    return handle(control, mailbox_drain(&control->mailbox), now);
}

struct mailbox *control_mailbox(struct control *control) {
    return &control->mailbox;
}

static bool is_at_end(const struct control *control) {
    return atomic_load_explicit(&control->is_stopping, memory_order_acquire) &&
           control->waiting_first == NULL && control->publications == NULL &&
           control->committed == 0 && !audit_journal_is_busy(control);
}

static void thread_main(void *arg) {
    struct control *control = arg;
    mr_mono deadline = handle(control, NULL, os_mono_now());
    while (!is_at_end(control)) {
        struct mail *list = mailbox_wait(&control->mailbox, deadline);
        deadline = handle(control, list, os_mono_now());
    }
}

mr_err control_start(struct control *control) {
    MR_ASSERT(!control->is_started);
    MR_TRY(os_thread_start(&control->thread, "control", thread_main, control));
    control->is_started = true;
    return MR_OK;
}

static void stop_arrived(struct mail *mail) {
    struct control *control = MR_CONTAINER(mail, struct control, stop_mail);
    atomic_store_explicit(&control->is_stopping, true, memory_order_release);
}

void control_stop(struct control *control) {
    control->stop_mail.run = stop_arrived;
    mailbox_post(&control->mailbox, &control->stop_mail, NULL);
}

static void unsubscribe_arrived(struct mail *mail) {
    struct control *control = MR_CONTAINER(mail, struct control, unsubscribe_mail);
    control->nobody_adopts = true;
    struct publication *publication = control->publications;
    while (publication != NULL) {
        struct publication *next = publication->next;
        /* One that all have adopted has its mail in our box: that mail ends it. */
        if (atomic_load_explicit(&publication->left, memory_order_acquire) > 0) {
            publication_end(control, publication);
        }
        publication = next;
    }
}

void control_unsubscribe_all(struct control *control) {
    control->unsubscribe_mail.run = unsubscribe_arrived;
    mailbox_post(&control->mailbox, &control->unsubscribe_mail, NULL);
}

void control_join(struct control *control) {
    if (!control->is_started) {
        return;
    }
    os_thread_join(&control->thread);
    control->is_started = false;
    /* Jobs that came after the thread's last look. */
    mailbox_run(mailbox_drain(&control->mailbox));
}
