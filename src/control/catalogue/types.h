/* Event types of the catalogue. The operator's are made and changed; of those that the program
 * ships, description and status can be changed, the rest comes with the program. A type's name and
 * schema never change: rules and stored events rely on them. Types are never deleted: one that is
 * no longer sent is discontinued. Only the root account changes the catalogue. */
#ifndef MR_CONTROL_CATALOGUE_TYPES_H
#define MR_CONTROL_CATALOGUE_TYPES_H

#include "control/control.h"
#include "control/shape.h"

#define EVENT_TYPE_STATUSES 4
extern const char *const event_type_status_names[EVENT_TYPE_STATUSES];
/* Of bodies; of answers: event_type_answer (shapes.h). */
extern const struct shape event_type_shape;

/* body: of event_type_shape. Refusals: 20006,
 * 20400, 20001, 20002, 20409 (the name is taken, the limit of types). The view's texts lie in
 * arena. */
mr_err event_types_create(struct control *control, uint32_t account, mr_str body, mr_arena *arena,
                          struct catalogue_type *ret_view, struct refusal *ret_refusal);
/* JSON Merge Patch (RFC 7396) of {"product","product_group","description","status"}; of a shipped
 * type the last two alone (20400). if_version: 0 or the version it must have (20412). 20404. */
mr_err event_types_patch(struct control *control, uint32_t account, mr_str name, mr_str body,
                         uint32_t if_version, mr_arena *arena, struct catalogue_type *ret_view,
                         struct refusal *ret_refusal);

#endif
