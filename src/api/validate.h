/* Events judged by the contract of their schema version, as the account asks for it. One per
 * worker. */
#ifndef MR_API_VALIDATE_H
#define MR_API_VALIDATE_H

#include "event/envelope.h"
#include "model/snapshot.h"
#include "schema/schema.h"

/* What the events of one call may take together; one event never takes as much. */
#define VALIDATE_STEPS_CALL_MAX (UINT64_C(8) << 20)

/* Zero it to begin. */
struct validator {
    struct schema_run *run; /* owned; made when first needed */
    json_tape tape;         /* of `data` that came as text */
    bool has_tape;
    uint64_t n_steps; /* taken; the caller sets it to 0 for each call */
};
void validator_done(struct validator *validator);

/* Judges the event's data by the schema version it resolved to; events without one of the own
 * catalogue are not judged. *ret_valid false: what is wrong stands in errors (may be NULL: not
 * told), with pointers from the event on. MR_E_NOMEM; MR_E_LIMIT where the call's events before
 * took too many steps: it can be sent in parts. */
mr_err validate_event(struct validator *validator, const struct catalogue *catalogue,
                      const struct event *event, const struct event_resolution *resolution,
                      uint32_t index, struct event_errors *errors, bool *ret_valid);

#endif
