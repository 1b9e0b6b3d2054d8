/* Events judged by the contract of their schema version, as the account asks for it. One per
 * worker. */
#ifndef MR_API_VALIDATE_H
#define MR_API_VALIDATE_H

#include "event/envelope.h"
#include "model/snapshot.h"
#include "schema/schema.h"

/* Zero it to begin. */
struct validator {
    struct schema_run *run; /* owned; made when first needed */
    json_tape tape;         /* of `data` that came as text */
    bool has_tape;
};
void validator_done(struct validator *validator);

/* Judges the event's data by the schema version it resolved to; events without one of the own
 * catalogue are not judged. *ret_valid false: what is wrong stands in errors (may be NULL: not
 * told), with pointers from the event on. MR_E_NOMEM. */
mr_err validate_event(struct validator *validator, const struct catalogue *catalogue,
                      const struct event *event, const struct event_resolution *resolution,
                      uint32_t index, struct event_errors *errors, bool *ret_valid);

#endif
