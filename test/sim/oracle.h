/* What the world outside may expect of a store, told only by what the world outside can see: units
 * handed to the journal, their answers, requests as they leave and how they were answered, and the
 * moments of crash. It knows nothing of lanes, books or segments.
 *
 * Promises checked (docs/architecture.md):
 *   1  what was acknowledged, or sent, is delivered or ends as a dead letter for cause, crashes or
 *      not; an id sent twice is stored once, an id with other content is refused
 *   2  at the end created = delivered + dead + discarded, and created is what was stored
 *   3  no delivery is repeated once its outcome was durable, or while the process that knew lives
 *   4  bytes at the sink are the producer's; a request that was answered keeps token and events */
#ifndef MR_TEST_SIM_ORACLE_H
#define MR_TEST_SIM_ORACLE_H

#include "base/str.h"
#include "base/time.h"

#define SIM_DESTINATIONS 5
#define SIM_EVENTS_MAX   3000

struct oracle_delivery {
    uint64_t bound;         /* hash of the token that it must go under; 0: free */
    uint64_t bound_durable; /* the same, as far as durable */
    uint32_t unsettled;     /* outcomes handed in and not yet durable */
    uint32_t failures;      /* failed answers, throttling excepted */
    uint32_t received;      /* requests with 2xx at the sink */
    uint32_t known_run;     /* run of the process that knows of a 2xx; 0: none */
    bool done;              /* delivered, dead or discarded, durably */
    bool dead;
    bool refused; /* the sink said that it will never take it */
};

struct oracle_event {
    uint32_t targets; /* bits of destinations */
    uint32_t size;    /* of padding, to make envelopes of many lengths */
    uint8_t type;
    uint8_t account;
    bool acknowledged;
    bool sent;
    bool refused; /* every try so far was refused for sure: nothing is stored */
    uint64_t pos; /* as acknowledged */
    struct oracle_delivery deliveries[SIM_DESTINATIONS];
};

enum oracle_kind {
    ORACLE_DELIVERED = 0,
    ORACLE_RETRY,
    ORACLE_SPLIT,
    ORACLE_DEAD,
};

struct oracle {
    uint64_t seed;
    uint32_t run; /* of the process, from 1 */
    uint32_t n_events;
    uint32_t attempts_max;
    bool failed;
    char why[240]; /* the first violation */
    struct oracle_event events[SIM_EVENTS_MAX];
};

/* Notes a violation; only the first is kept. */
void oracle_fail(struct oracle *oracle, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The envelope that the producer of event i sends, into out; returns its length. */
#define ORACLE_ENVELOPE_MAX 4096
size_t oracle_envelope(const struct oracle *oracle, uint32_t i,
                       char out[static ORACLE_ENVELOPE_MAX]);

/* The answer to a unit: event i is stored at pos. was_known: it had been acknowledged before this
 * unit was handed in. */
void oracle_on_stored(struct oracle *oracle, uint32_t i, uint64_t pos, bool duplicate,
                      bool was_known);
/* Refused for sure. */
void oracle_on_refused(struct oracle *oracle, uint32_t i);

/* A request leaves the process. envelopes[k] are the bytes of its k-th event; returns in
 * ret_events which events they are. False after a violation. */
bool oracle_on_send(struct oracle *oracle, uint32_t destination, uint64_t token,
                    const mr_str *envelopes, uint32_t n, uint32_t *ret_events);
/* It arrived at the sink, which answered 2xx. */
void oracle_on_received(struct oracle *oracle, uint32_t destination, const uint32_t *events,
                        uint32_t n);
/* The process took in an answer of that kind. */
void oracle_on_answer(struct oracle *oracle, uint32_t destination, const uint32_t *events,
                      uint32_t n, bool success, bool counts);
/* It took in what the sink said of one event: an enum lane_item_kind. */
void oracle_on_item(struct oracle *oracle, uint32_t destination, uint32_t event, uint8_t kind);
/* An outcome was handed to the journal for these events; token: of the composition kept (RETRY). */
void oracle_on_outcome(struct oracle *oracle, enum oracle_kind kind, uint32_t destination,
                       const uint32_t *events, uint32_t n, uint64_t token);
/* That outcome is durable. */
void oracle_on_outcome_durable(struct oracle *oracle, enum oracle_kind kind, uint32_t destination,
                               const uint32_t *events, uint32_t n, uint64_t token);
/* The process is gone; the outcomes not yet durable may or may not have survived. */
void oracle_on_death(struct oracle *oracle);
/* At the end, when nothing is pending: counters of each destination as the store has them. */
struct oracle_counters {
    uint64_t created, pending, delivered, dead, discarded;
};
void oracle_finish(struct oracle *oracle, const struct oracle_counters counters[SIM_DESTINATIONS]);

#endif
