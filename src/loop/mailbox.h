/* Messages between threads: many senders, one reader, no lock, never full. A message is memory that
 * the request already owns (struct mail inside it), so that sending cannot fail.
 *
 * The reader is woken only by the message that finds the box empty and the reader asleep. */
#ifndef MR_LOOP_MAILBOX_H
#define MR_LOOP_MAILBOX_H

#include "base/metrics.h"
#include "base/time.h"

/* Embedded in what is sent. Belongs to the mailbox from mailbox_post until it is drained. */
struct mail {
    struct mail *next;
    /* Called in the reader's thread; may free, re-use or forward the mail at once. */
    void (*run)(struct mail *mail);
};

/* Must outlive the last mailbox_post (a sender may still be waking the reader when the reader
 * already has the message): end or join the senders first. */
struct mailbox {
    /* any thread: newest first; or the mark that says "empty, reader asleep" */
    _Atomic(struct mail *) head;
    _Atomic uint32_t wake_word; /* what a plain thread sleeps on */
    int event_fd;               /* what wakes a loop; -1 for a plain thread */
};

/* For a plain thread, or for a reader that polls (the simulator). No system resources. */
void mailbox_init(struct mailbox *mailbox);
/* Sends. `mine` are the metrics of the sending thread (may be NULL): a wake is counted there. What
 * was written before the call is seen by the reader. Wait-free but for contention; any thread. */
void mailbox_post(struct mailbox *mailbox, struct mail *mail, mr_metrics *mine);
/* Takes everything, oldest first, linked by next; NULL when empty. Reader only, does not block.
 * Fetch next before running a mail. Messages of one sender keep their order. */
struct mail *mailbox_drain(struct mailbox *mailbox);
/* As drain, but sleeps until a message is there or the deadline passed (then NULL, also at times
 * early, never late by design). MR_MONO_NEVER: no deadline. Reader only; not for a loop's mailbox.
 */
struct mail *mailbox_wait(struct mailbox *mailbox, mr_mono deadline);
/* Runs a drained list in order; returns how many. */
size_t mailbox_run(struct mail *list);

/* For the loop: tells senders that the reader goes to sleep. False where a message is there: do not
 * sleep. mailbox_drain ends the sleep. */
bool mailbox_sleep(struct mailbox *mailbox);

#endif
