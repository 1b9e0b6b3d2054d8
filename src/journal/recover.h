/* Recovery: what journal_open does before anything is served. Private to the room. */
#ifndef MR_JOURNAL_RECOVER_H
#define MR_JOURNAL_RECOVER_H

#include "journal/segments.h"

/* Fills the table from the directory, finds the end, makes the tail durable, opens the next
 * segment. Errors as journal_open. */
mr_err recover_run(struct journal *journal, const struct journal_options *options,
                   struct journal_recovery *ret_recovery);

#endif
