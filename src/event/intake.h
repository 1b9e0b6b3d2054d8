/* The work on one call, shared by the chapters of event/ that read events. Inside of event/. */
#ifndef MR_EVENT_INTAKE_H
#define MR_EVENT_INTAKE_H

#include "event/event.h"

#define INTAKE_OWN 8 /* attributes of CloudEvents' own */

/* One call while it is read. Errors of the events go to `errors`; mr_err is for want of memory. */
struct intake {
    struct event_parser *parser;
    struct event_errors *errors;
    mr_arena *arena;
    mr_str good[INTAKE_OWN]; /* of CloudEvents' own attributes: texts that passed their rules */
};

/* Where an attribute came from: for errors. */
struct intake_place {
    uint32_t index;
    int64_t offset;
};

/* Keeps an attribute of the event that `name` (a valid name, not data) stands for: one of
 * CloudEvents' own into its member, others as an extension (json is its JSON text). Rules of each
 * are checked. specversion goes to *specversion. MR_E_NOMEM. */
mr_err intake_attribute(struct intake *in, struct event *event, mr_str *specversion,
                        const struct event_attribute *attribute, struct intake_place place);
/* True for names of CloudEvents' own attributes: their values are strings. */
bool intake_is_own(mr_str name);
/* Checks what can be told only when all attributes are known: required ones, the version. */
void intake_check(struct intake *in, const struct event *event, mr_str specversion,
                  struct intake_place place);
/* Checks the size of event->content. */
void intake_check_size(struct intake *in, const struct event *event, struct intake_place place);
/* Adds an error about one attribute; status 400. */
void intake_refuse(struct intake *in, struct intake_place place, mr_str name, const char *rule,
                   const char *message);

/* Reads the binary form's one event. media is the body's type, NULL where none was sent. */
struct event_media;
mr_err binary_read(struct intake *in, mr_fields fields, mr_str content_type,
                   const struct event_media *media, mr_str body, struct event *ret_event);

#endif
