/* Messages between threads. See mailbox.h.
 *
 * The box is one word: a stack of messages, newest first. Senders push with compare-and-swap; the
 * reader takes the whole stack with one exchange and turns it round, so there is no pop and no ABA.
 *
 *   NULL ──post──▶ message … ──drain──▶ NULL      (reader awake: nobody is woken)
 *    │ sleep                                        (only from NULL: else there is work)
 *    ▼
 *   ASLEEP ──post──▶ message: this sender wakes the reader, later ones see a message
 *
 * "Empty and asleep" is a value of the same word, so that a sender learns in its own exchange
 * whether it must wake, and no message can fall between the reader's last look and its sleep. Both
 * exchanges order acquire and release, because wake_word is cleared before the announcement and set
 * after it was seen: the clearing must never overtake the setting. */
#include "loop/mailbox.h"

#include "os/poll.h"

/* An address that no message has. It is never followed or written. */
static struct mail *asleep(struct mailbox *mailbox) {
    return (struct mail *)(void *)mailbox;
}

void mailbox_init(struct mailbox *mailbox) {
    atomic_init(&mailbox->head, NULL);
    atomic_init(&mailbox->wake_word, 0);
    mailbox->event_fd = -1;
}

void mailbox_post(struct mailbox *mailbox, struct mail *mail, mr_metrics *mine) {
    struct mail *mark = asleep(mailbox);
    struct mail *old = atomic_load_explicit(&mailbox->head, memory_order_relaxed);
    do {
        mail->next = old == mark ? NULL : old;
    } while (!atomic_compare_exchange_weak_explicit(&mailbox->head, &old, mail,
                                                    memory_order_acq_rel, memory_order_relaxed));
    if (old != mark) {
        return;
    }
    mr_metric_add(mine, MR_METRIC_WAKES, 1);
    if (mailbox->event_fd >= 0) {
        os_event_raise(mailbox->event_fd);
    } else {
        atomic_store_explicit(&mailbox->wake_word, 1, memory_order_release);
        os_word_wake(&mailbox->wake_word);
    }
}

struct mail *mailbox_drain(struct mailbox *mailbox) {
    if (atomic_load_explicit(&mailbox->head, memory_order_relaxed) == NULL) {
        return NULL;
    }
    struct mail *newest = atomic_exchange_explicit(&mailbox->head, NULL, memory_order_acquire);
    if (newest == asleep(mailbox)) {
        return NULL;
    }
    struct mail *oldest = NULL;
    while (newest != NULL) {
        struct mail *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

bool mailbox_sleep(struct mailbox *mailbox) {
    struct mail *expected = NULL;
    return atomic_compare_exchange_strong_explicit(&mailbox->head, &expected, asleep(mailbox),
                                                   memory_order_acq_rel, memory_order_relaxed);
}

struct mail *mailbox_wait(struct mailbox *mailbox, mr_mono deadline) {
    MR_ASSERT(mailbox->event_fd < 0);
    /* Before sleep is announced: what an earlier wake left there is stale. A sender that saw the
     * earlier announcement may store 1 after this; that costs one early return. */
    atomic_store_explicit(&mailbox->wake_word, 0, memory_order_relaxed);
    if (mailbox_sleep(mailbox)) {
        os_word_wait(&mailbox->wake_word, 0, deadline);
    }
    return mailbox_drain(mailbox);
}

size_t mailbox_run(struct mail *list) {
    size_t n = 0;
    while (list != NULL) {
        struct mail *next = list->next;
        list->run(list);
        list = next;
        n++;
    }
    return n;
}
