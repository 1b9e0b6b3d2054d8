/* When to sync: what waits a little under load shares a sync with more. A sync costs some 60 us of
 * CPU however little it covers, so the writer that syncs at once pays for it with every few events;
 * at low load that is right, because nobody else is waiting. Private to the room; writer's thread;
 * no clock of its own. */
#ifndef MR_JOURNAL_PACE_H
#define MR_JOURNAL_PACE_H

#include "base/time.h"

#include <stdint.h>

/* Zero it to begin. */
struct pace {
    mr_mono since;           /* begin of the window being counted */
    uint64_t n;              /* ingest records that came in it */
    uint64_t per_second;     /* in the last whole window; 0: not busy */
    uint64_t units, records; /* of ingest that came since the group before was begun */
};

/* So much of ingest came since the last call. */
void pace_on_arrivals(struct pace *pace, uint64_t units, uint64_t records, mr_mono now);
/* How long the next sync may wait for more, with so much queued already: 0 while little comes
 * during a sync (fewer than 16 calls and fewer than 100 records), or where enough is there; at most
 * 500 us. */
int64_t pace_wait_ns(const struct pace *pace, uint64_t queued_records, uint64_t queued_bytes);

#endif
