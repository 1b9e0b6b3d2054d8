/* Private to api/: what the chapters about destinations share (destinations.c,
 * destination_actions.c, destination_lane.c). On the worker's thread. */
#ifndef MR_API_DESTINATIONS_H
#define MR_API_DESTINATIONS_H

#include "api/call.h"
#include "control/destinations.h"

/* The counters of a row of the ledger. */
struct destination_counters api_counters_of(const struct book_destination *row);
/* The destination of the call's path, by the snapshot: valid until the worker's next turn. NULL:
 * refused, the call is answered (20404). */
const struct model_destination *api_destination_find(struct api_call *call);

#endif
