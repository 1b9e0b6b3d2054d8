/* The inside of ingest, shared by the files that answer, encode and commit calls. Private to them.
 * All on the worker's thread. */
#ifndef MR_API_INGEST_PARTS_H
#define MR_API_INGEST_PARTS_H

#include "api/errors.h"
#include "api/ingest.h"
#include "api/validate.h"
#include "route/content.h"
#include "route/route.h"

#define ANSWER_BYTES_MAX ((size_t)16 << 20)
/* What filters may take for all events of a call: some 70 ms at worst. Never too little for one
 * event, so a call that is refused can be sent in parts. */
#define FILTER_STEPS_CALL_MAX (4 * ROUTE_STEPS_MAX)

/* One call. */
struct ticket {
    struct ingest *ingest;    /* first: what ingest_owns looks at */
    struct http_exchange *ex; /* NULL: the client is gone */
    struct ticket *next;      /* free, or to be handed over */
    uint32_t account;
    char request_id[API_REQUEST_ID_MAX + 1];
    struct journal_unit unit;
    struct journal_slot *slots; /* owned, n_slots_max */
    size_t *offsets;            /* of the records in bytes */
    struct record_span *ids;    /* of the events' ids, from the record's begin */
    size_t n_slots_max;
    size_t n;
    uint64_t reader_mask; /* workers that own a destination of the events */
    mr_buf bytes;
};

struct ingest {
    struct api *api;
    struct event_parser parser;
    struct validator validator;
    struct route_result routes;
    struct route_content content; /* of the event being matched, for filters */
    struct filter_run *filter_run;
    struct record_target *targets; /* owned, n_targets_max, of the event being encoded */
    const uint32_t **rules;
    size_t n_targets_max;
    bool is_schema_fault;  /* the first error of the present call is one of a schema */
    uint32_t filter_steps; /* that the present call took */
    mr_buf answer;
    struct ticket *free;
    size_t n_free;
    size_t kept_bytes;    /* of those */
    struct ticket *first; /* to be handed over at the end of the turn */
    struct ticket **last;
    struct loop_hook hook;
    size_t n_waiting;
    uint64_t queued_bytes;
    uint64_t queued_events;
    bool is_paused;
};

/* ticket.c: tickets and what is answered by them. */

/* A free one, or a new one. NULL without memory. */
struct ticket *ticket_take(struct ingest *ingest);
void ticket_free(struct ticket *ticket);
/* Gives it back, to be used again. */
void ticket_release(struct ticket *ticket);
/* Room for n records. False without memory. */
bool ticket_reserve(struct ticket *ticket, size_t n);
/* Answers where the client is still there; the ticket stays the caller's. body: JSON, or absent;
 * retry_after_s 0: none. */
void ticket_answer(struct ticket *ticket, int status, mr_str body, int retry_after_s);
/* Refuse and give the ticket back. members: further JSON members, or absent. */
void ticket_refuse_with(struct ticket *ticket, int status, uint32_t code, mr_str message,
                        mr_str members, int retry_after_s);
void ticket_refuse(struct ticket *ticket, int status, uint32_t code, const char *message);
void ticket_refuse_errors(struct ticket *ticket, const struct event_errors *errors);

/* encode.c: resolves, validates, matches and encodes all events into the ticket. MR_E_INVALID:
 * errors are in batch->errors; MR_E_LIMIT, MR_E_NOMEM. */
mr_err ingest_encode(struct ticket *ticket, struct event_batch *batch,
                     const struct model_account *account);

/* commit.c: answers what was stored, and shows it to readers of the live view. */
void ticket_accept(struct ticket *ticket);
/* Refuses a call whose unit came back as a conflict. */
void ticket_refuse_conflict(struct ticket *ticket);

#endif
