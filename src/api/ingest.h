/* POST /v1/events: the hot path from a request's body to a unit for the journal, and from the
 * commit to the 202. One per worker. */
#ifndef MR_API_INGEST_H
#define MR_API_INGEST_H

#include "api/api.h"

/* How the admit hook tells which record is the reason for a CONFLICT: its slot's flags. */
#define INGEST_FLAG_CONFLICT 0xffu /* an id used with other content */
#define INGEST_FLAG_NOMEM    0xfeu /* no memory to remember ids */

/* MR_E_NOMEM. */
mr_err ingest_new(struct api *api, struct ingest **ret_ingest);
/* No call may be under way. NULL is fine. */
void ingest_free(struct ingest *ingest);

void ingest_on_head(struct ingest *ingest, struct http_exchange *ex);
void ingest_on_body(struct ingest *ingest, struct http_exchange *ex, mr_str body);
void ingest_on_end(struct ingest *ingest, struct http_exchange *ex);
/* Is it an exchange of ingest's? */
bool ingest_owns(const struct ingest *ingest, const struct http_exchange *ex);
/* Units handed to the writer and not answered yet. */
size_t ingest_waiting(const struct ingest *ingest);

#endif
