/* Filling spare segments. See spares.h.
 *
 * One message is enough: it says that something may be missing, not what. It is marked as taken
 * before the journal is looked at, so a wish that comes during the work is posted again. */
#include "server/spares.h"

#include "base/list.h"

void spares_init(struct spares *spares) {
    mailbox_init(&spares->mailbox);
    atomic_init(&spares->is_posted, false);
    atomic_init(&spares->must_stop, false);
}

static void on_wish(struct mail *mail) {
    struct spares *spares = MR_CONTAINER(mail, struct spares, mail);
    atomic_store(&spares->is_posted, false);
}

static void spares_main(void *arg) {
    struct spares *spares = arg;
    while (!atomic_load(&spares->must_stop)) {
        mailbox_run(mailbox_wait(&spares->mailbox, MR_MONO_NEVER));
        while (!atomic_load(&spares->must_stop) && journal_spare_hurry(spares->journal)) {
        }
    }
}

mr_err spares_start(struct spares *spares, struct journal *journal) {
    spares->journal = journal;
    MR_TRY(os_thread_start(&spares->thread, "mr-spares", spares_main, spares));
    spares->is_started = true;
    return MR_OK;
}

void spares_wanted(void *ctx) {
    struct spares *spares = ctx;
    if (!atomic_exchange(&spares->is_posted, true)) {
        spares->mail.run = on_wish;
        mailbox_post(&spares->mailbox, &spares->mail, NULL);
    }
}

void spares_stop(struct spares *spares) {
    if (spares->is_started) {
        atomic_store(&spares->must_stop, true);
        spares_wanted(spares);
        os_thread_join(&spares->thread);
        spares->is_started = false;
    }
}
