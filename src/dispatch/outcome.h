/* What happened to deliveries, on its way into the journal: records of one turn are gathered into
 * one unit, handed to the writer at the end of the turn, and give back their credits when durable.
 * Worker only. */
#ifndef MR_DISPATCH_OUTCOME_H
#define MR_DISPATCH_OUTCOME_H

#include "deliver/lane.h"
#include "journal/writer.h"
#include "ledger/record.h"

struct outcome_unit;

struct outcome_out {
    struct writer *writer;
    struct mailbox *reply;
    mr_metrics *metrics;
    struct lane_shared *shared; /* credits go back here */
    struct outcome_unit *open;  /* being filled in this turn */
    struct outcome_unit *free;
    size_t n_waiting; /* units handed over and not answered */
    /* After units were answered: credits are back. May be NULL. */
    void (*on_durable)(void *ctx);
    void *ctx;
};

void outcome_init(struct outcome_out *out, struct writer *writer, struct mailbox *reply,
                  struct lane_shared *shared, mr_metrics *metrics);
/* No unit may be waiting. */
void outcome_done(struct outcome_out *out);
/* Adds what a lane recorded. A record that finds no memory is an allocation failure of the journal:
 * the program stops rather than forget an outcome. random: 10 random bytes for dead letters' ids.
 */
void outcome_add(struct outcome_out *out, uint32_t destination, const struct lane_record *record,
                 void (*random)(void *ctx, void *bytes, size_t n), void *random_ctx);
/* The destination refuses batches: its lane sends singly until then (wall), also after a restart.
 */
void outcome_add_singles(struct outcome_out *out, uint32_t destination, int64_t now_ms,
                         int64_t until_ms);
/* What an attempt of a callback came to; the credit that it took comes back when it is durable. */
void outcome_add_callback(struct outcome_out *out, const struct record_callback_outcome *outcome);
/* End of turn: hands over what was gathered. */
void outcome_flush(struct outcome_out *out);

#endif
