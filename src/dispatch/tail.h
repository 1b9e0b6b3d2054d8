/* The live view: what is accepted, attempted and changes state, to readers of GET /v1/tail as
 * server-sent events. A reader that is too slow loses events and is told how many (`missed`); it
 * never slows anything down.
 *
 * One hub for the program, one tail per worker. A reader belongs to the worker that has its
 * connection; events of other workers reach it as mail, copied only while somebody reads. */
#ifndef MR_DISPATCH_TAIL_H
#define MR_DISPATCH_TAIL_H

#include "http/exchange.h"
#include "loop/loop.h"
#include "model/snapshot.h"

struct tail_hub;
struct tail;

/* MR_E_NOMEM. n_workers ≤ 64. */
mr_err tail_hub_new(size_t n_workers, struct tail_hub **ret_hub);
/* All tails must be gone. NULL is fine. */
void tail_hub_free(struct tail_hub *hub);

/* The tail of one worker. MR_E_NOMEM. */
mr_err tail_new(struct tail_hub *hub, size_t worker, struct loop *loop, struct tail **ret_tail);
/* No reader may be open. */
void tail_free(struct tail *tail);

/* Cheap: is anyone reading, anywhere? Ask before building an event's text. */
bool tail_is_read(const struct tail *tail);

/* Who reads: by a token, or by a session. */
struct tail_caller {
    bool is_user;
    struct auth_claims claims;      /* of a client */
    char session_id[MODEL_ID_SIZE]; /* of a user */
};
/* What a reader wants; slices live during the call. */
struct tail_filter {
    uint32_t account;
    uint32_t destination; /* 0: all */
    mr_str type;          /* absent: all */
    struct tail_caller caller;
    /* Does the caller still have the right? Asked at each sign of life and in tail_recheck: where
     * not, the stream ends. */
    bool (*may_read)(void *ctx, const struct tail_caller *caller);
    void *ctx;
};
/* Starts streaming to the exchange, which is the tail's from now on. MR_E_NOMEM, MR_E_LIMIT (too
 * many readers, of all or of the account): nothing was done. */
mr_err tail_open(struct tail *tail, struct http_exchange *ex, const struct tail_filter *filter);
bool tail_owns(const struct tail *tail, const struct http_exchange *ex);
void tail_on_end(struct tail *tail, struct http_exchange *ex);
void tail_on_drain(struct tail *tail, struct http_exchange *ex);
/* Ends the streams whose callers lost their right: rights have changed. */
void tail_recheck(struct tail *tail);
/* Ends all streams (the program stops). */
void tail_close_all(struct tail *tail);

/* An event for readers. destinations: those concerned. json: the object of the `data:` line. */
struct tail_event {
    const char *name; /* "accepted", "attempt", "state"; static */
    uint32_t account;
    const uint32_t *destinations;
    size_t n_destinations;
    mr_str type; /* absent: of no one type */
    mr_str json;
};
void tail_publish(struct tail *tail, const struct tail_event *event);

#endif
