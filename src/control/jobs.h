/* The control thread: jobs sent to it by mail, each in one transaction, answered by mail when what
 * they changed is on disk, published, and adopted by every worker.
 *
 *   worker ──control_submit──▶ control thread: run(job) in a transaction ─▶ commit ─▶ snapshot
 *      ▲                                                                        │ one mail each
 *      │                                  every subscriber: adopt(snapshot) ◀───┘
 *      └── job->done, by mail ◀── when the last one has adopted ◀───┘
 *
 * Jobs that are waiting together share one publication. A job that changed nothing is answered at
 * once. */
#ifndef MR_CONTROL_JOBS_H
#define MR_CONTROL_JOBS_H

#include "control/audit.h"
#include "control/control.h"
#include "loop/mailbox.h"

/* A job: memory of the caller's, which must stay until done has been called. */
struct control_job {
    struct mail mail; /* private: control's from submit until done */
    /* On the control thread, inside a transaction: calls functions of this room. An error rolls
     * everything back. */
    mr_err (*run)(struct control *control, struct control_job *job);
    /* In the reader's thread of reply_to; on the control thread where reply_to is NULL. Called
     * exactly once. The job is the caller's again. */
    void (*done)(struct control_job *job);
    struct mailbox *reply_to;
    /* Answered only when everything that was committed before it is adopted by every worker, also
     * where it changed nothing itself: for answers that hold only behind an earlier change, such as
     * a token of a client that has just been enabled. */
    bool in_order;
    bool only_reads;            /* so it goes on while the store cannot be written */
    struct control_actor actor; /* for the audit log; zeroed: the program itself */
    mr_err err;                 /* at done: what run returned, or CONTROL_E_REFUSED with 20503 where
                                 * the commit failed */
    struct refusal refusal;     /* filled where err is set: run passes &job->refusal on */
    struct control *control;    /* private */
    struct control_job *next;   /* private */
};

/* Any thread; never blocks, never fails. After control_stop it is answered with 20503. */
void control_submit(struct control *control, struct control_job *job);

/* Runs a job in the calling thread, transaction included, snapshot rebuilt but not sent to anyone:
 * for the command line and tests, where no control thread was started. Calls done. */
void control_run_here(struct control *control, struct control_job *job);

/* What changed between two snapshots. */
struct control_change {
    enum model_kind kind;
    uint32_t number;  /* absent from the new snapshot: deleted */
    bool is_enabling; /* a destination that was disabled was enabled by it */
};
struct control_changes {
    const struct control_change *list;
    size_t len;
};

/* A worker that reads snapshots. Memory of the caller's, which must stay until control_join. */
struct control_subscriber {
    struct mailbox *mailbox;
    /* In the reader's thread of mailbox: swap to this snapshot (the reference is the callee's) and
     * act on what changed. When it returns, the version counts as adopted. The changes are valid
     * during the call. */
    void (*adopt)(void *ctx, struct snapshot *snapshot, struct control_changes changes);
    void *ctx;
    struct control_subscriber *next; /* private */
};
/* Before control_start. The subscriber begins with control_snapshot. */
void control_subscribe(struct control *control, struct control_subscriber *subscriber);

/* Starts the thread. MR_E_IO. */
mr_err control_start(struct control *control);
/* Asks the thread to finish the jobs it has and end; any thread. Jobs that come later are answered
 * with 20503. Until control_join has returned, subscribers must go on reading their mailboxes,
 * unless control_unsubscribe_all was called. */
void control_stop(struct control *control);
/* Any thread, once, when no subscriber reads its mailbox any more (the workers have ended):
 * publications no longer wait for anyone, and those under way are taken back. */
void control_unsubscribe_all(struct control *control);
/* Waits for the end of the thread after control_stop. */
void control_join(struct control *control);

/* One step of the actor, for tests and for composition without a thread: takes what is in the
 * mailbox, runs it, publishes. Returns when it wants to run again at the latest. */
mr_mono control_step(struct control *control, mr_mono now);
/* The mailbox that control_submit posts to. */
struct mailbox *control_mailbox(struct control *control);

#endif
