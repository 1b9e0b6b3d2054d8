/* An event as filters see it: complete, as it is stored and, but for the projection to older schema
 * versions, delivered. So a filter judges a stored event as it judged it when it came in. */
#ifndef MR_ROUTE_CONTENT_H
#define MR_ROUTE_CONTENT_H

#include "event/envelope.h"
#include "route/filter.h"

/* Memory of one thread, kept from event to event. */
struct route_content {
    struct filter_event event; /* valid until the next fill; the event must live as long */
    /* own */
    struct filter_attribute *attributes;
    size_t cap_attributes;
    char time[MR_TIME_TEXT_SIZE];
    mr_buf dataschema;
    json_tape tape; /* of data that did not come as JSON text */
};
void route_content_init(struct route_content *content);
void route_content_done(struct route_content *content);

/* Attributes: specversion, id, source, type, time (of receipt where the producer sent none),
 * datacontenttype (application/json where none was sent), dataschema (absolute, or the latest
 * version's of the type), subject, extensions. data: the envelope's `data`; a text/… body is a
 * string; absent where the envelope has data_base64 or nothing. MR_E_NOMEM, MR_E_LIMIT. */
mr_err route_content_fill(struct route_content *content, const struct event *event,
                          const struct event_resolution *resolution,
                          const struct event_place *place);

#endif
