/* Events into calls of POST /v1/events: batches of at most 1,000 events and 8 MiB, tried again when
 * the server asks to wait (429, 503). Publishing is repeatable without harm, because the server
 * knows an event again by its source and id. Blocks. One thread. */
#ifndef MR_CLI_PUBLISHER_H
#define MR_CLI_PUBLISHER_H

#include "base/time.h"
#include "cli/client.h"

#define PUBLISHER_EVENTS_MAX 1000U
#define PUBLISHER_BYTES_MAX  ((size_t)8 << 20)

struct publisher {
    struct cli_client *client; /* owned */
    mr_buf batch;              /* "[" and the envelopes so far, with their commas */
    size_t n;                  /* events in it */
    mr_mono since;             /* when the first of them came */
    bool prints_answers;
    struct cli_answer answer;
    /* Of all calls so far. */
    uint64_t accepted, duplicates, calls, waits;
    /* What the last failed call gives as exit code. */
    int code;
    mr_mono told; /* when progress was last shown */
    bool was_told;
};

/* False: printed (usually a variable of the environment is missing). */
bool publisher_init(struct publisher *publisher, bool prints_answers);
void publisher_done(struct publisher *publisher);
/* Adds one envelope (JSON text, copied); sends first what would grow past a bound. False: a call
 * failed or memory lacks; printed, publisher->code is the exit code. */
bool publisher_add(struct publisher *publisher, mr_str envelope);
/* Sends what waits; nothing where nothing waits. False as with add. */
bool publisher_flush(struct publisher *publisher);
/* Sends `[]`, which the server answers too. */
bool publisher_send_empty(struct publisher *publisher);
/* Tells on standard error how far it is, at most once in two seconds, the first time after two.
 * total 0: unknown. */
void publisher_progress(struct publisher *publisher, uint64_t total);

#endif
