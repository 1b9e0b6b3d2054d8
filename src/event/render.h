/* Request bodies from stored envelopes: KORE's array, and CloudEvents' batched, structured and
 * binary forms for other receivers. Bytes are copied, not re-made, but where asked all characters
 * above U+007E are escaped. No state. */
#ifndef MR_EVENT_RENDER_H
#define MR_EVENT_RENDER_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fields.h"
#include "json/write.h"

enum event_format {
    EVENT_FORMAT_KORE = 0,      /* always an array, even of one */
    EVENT_FORMAT_CE_BATCH,      /* the same bytes under CloudEvents' content type */
    EVENT_FORMAT_CE_STRUCTURED, /* one event a request */
    EVENT_FORMAT_CE_BINARY,     /* one event a request, attributes in ce- fields */
};

/* "kore", "ce-batch", "ce-structured", "ce-binary"; MR_E_INVALID for other names. */
mr_err event_format_parse(mr_str name, enum event_format *ret_format);
mr_str event_format_name(enum event_format format);
/* How many events a request of that form can hold: 50 or 1. */
size_t event_format_events_max(enum event_format format);
/* The content-type field; absent for CE_BINARY, whose fields hold it. */
mr_str event_format_content_type(enum event_format format);
/* Bytes that a body adds per event to the envelope's own (commas, brackets). */
#define EVENT_RENDER_OVERHEAD 2u

/* Appends the body of KORE, CE_BATCH or CE_STRUCTURED from n envelopes (CE_STRUCTURED: n = 1).
 * MR_E_LIMIT, MR_E_NOMEM: the buffer is left as it was. */
mr_err event_render(enum event_format format, enum json_escape escape, const mr_str *envelopes,
                    size_t n, mr_buf *out);
/* CE_BINARY: appends the data's bytes to body (a `data` of a type that is not JSON: the string's
 * text; data_base64: decoded; none: nothing) and gives the fields, content-type first, then ce-…,
 * percent-encoded as the binding says (§3.1.3.2); all in arena. MR_E_INVALID for text that is no
 * envelope, MR_E_NOMEM, MR_E_LIMIT. */
mr_err event_render_binary(enum json_escape escape, mr_str envelope, mr_arena *arena, mr_buf *body,
                           mr_fields *ret_fields);

#endif
