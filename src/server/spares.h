/* The thread that fills spare segments of the journal as soon as the writer has taken one. The
 * keeper fills them too, but at the lowest priority: under load it would come too late, and the
 * writer would have to stop and fill them itself. */
#ifndef MR_SERVER_SPARES_H
#define MR_SERVER_SPARES_H

#include "journal/journal.h"
#include "loop/mailbox.h"
#include "os/thread.h"

struct spares {
    struct journal *journal;
    struct os_thread thread;
    bool is_started;
    struct mailbox mailbox;
    struct mail mail;
    _Atomic bool is_posted; /* mail is in the mailbox */
    _Atomic bool must_stop;
};

/* Before the journal is opened. */
void spares_init(struct spares *spares);
/* journal outlives the thread. MR_E_IO when the system refuses. */
mr_err spares_start(struct spares *spares, struct journal *journal);
/* For journal_options.on_spare_taken, with the spares as ctx. Any thread; never blocks. */
void spares_wanted(void *ctx);
/* Ends the thread, where it runs; waits for a segment under way. */
void spares_stop(struct spares *spares);

#endif
