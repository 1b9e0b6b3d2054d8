/* KORE's envelope: a parsed event completed (time, dataschema, datacontenttype) and written in the
 * member order that KORE's receivers see: data, id, time, type, source, dataschema, specversion,
 * datacontenttype, then subject and extensions in the order received. And read back, cheaply. */
#ifndef MR_EVENT_ENVELOPE_H
#define MR_EVENT_ENVELOPE_H

#include "base/buf.h"
#include "base/time.h"
#include "event/catalogue.h"
#include "event/event.h"

/* The type and schema of the test event, whose dataschema stays relative. */
#define EVENT_TEST_TYPE   "com.kore.eventstreams.test.event"
#define EVENT_TEST_SCHEMA "test"

/* Where events are completed: the moment's settings and catalogue. */
struct event_place {
    mr_wall received;
    mr_str public_url;     /* without a slash at its end: "https://events.example" */
    const mr_str *aliases; /* further bases whose /schemas/{name}/{version} are the own ones */
    size_t aliases_len;
    const struct event_catalogue *catalogue;
    bool refuse_unknown_types;
};

enum event_schema_form {
    EVENT_SCHEMA_NONE = 0, /* no dataschema: the envelope has none */
    EVENT_SCHEMA_FOREIGN,  /* the producer's text is kept; nothing to validate by */
    EVENT_SCHEMA_OWN,      /* name and version of the catalogue, written absolute */
};

/* What completing found out. */
struct event_resolution {
    bool type_known;
    enum event_schema_form form;
    mr_str schema;    /* OWN: its name; lives as long as the event and the catalogue */
    uint32_t version; /* OWN: ≥ 1, else 0 */
};

/* Finds the schema version that an event speaks by: its dataschema (relative, under public_url or
 * an alias → the catalogue), else the latest of its type. Adds to errors (rule "dataschema" or
 * "unknown_type") and returns false when the schema or version does not exist, belongs to another
 * type, or the type is unknown and those are refused. Allocates in the errors' arena only. */
bool event_resolve(const struct event *event, uint32_t index, const struct event_place *place,
                   struct event_errors *errors, struct event_resolution *ret_resolution);

/* Appends the dataschema that the envelope gets, as plain text; nothing where it has none.
 * MR_E_LIMIT, MR_E_NOMEM. */
mr_err event_dataschema_write(const struct event *event, const struct event_resolution *resolution,
                              const struct event_place *place, mr_buf *out);

/* A part of an envelope. */
struct event_span {
    uint32_t at;
    uint32_t len;
};

/* Where things lie in a written envelope, from its first byte. Strings without their quotes, as
 * they stand in JSON (perhaps with escapes). An absent part has at = 0 (no part can start there).
 */
struct event_layout {
    struct event_span data; /* the JSON value, or the base64 text */
    struct event_span id;
    struct event_span time;
    struct event_span type;
    struct event_span source;
    struct event_span dataschema;
    struct event_span datacontenttype;
    bool data_is_base64;
};

/* Appends the envelope, minified. *ret_layout (may be NULL) counts from the place where the
 * envelope starts. MR_E_LIMIT, MR_E_NOMEM; the buffer is left as it was then. */
mr_err event_envelope_write(const struct event *event, const struct event_resolution *resolution,
                            const struct event_place *place, mr_buf *out,
                            struct event_layout *ret_layout);

/* A stored envelope read back: slices of its text. Strings are without quotes and as they stand in
 * JSON; event_text decodes them. Absent where the envelope has no such member. */
struct event_view {
    mr_str envelope;
    mr_str data; /* a JSON value, or base64 text */
    mr_str id;
    mr_str time;
    mr_str type;
    mr_str source;
    mr_str dataschema;
    mr_str datacontenttype;
    mr_str rest; /* from behind datacontenttype to before the last brace: subject, extensions */
    bool data_is_base64;
};

/* Reads what event_envelope_write wrote (order and minified form are relied on, memory safety is
 * not). MR_E_INVALID where it is something else. Allocates nothing. */
mr_err event_view_read(mr_str envelope, struct event_view *ret_view);
/* The id alone, as event_view_read gives it, without going through the data: for those who need no
 * more of an envelope as event_envelope_write wrote it. MR_E_INVALID where it finds none. */
mr_err event_view_id(mr_str envelope, mr_str *ret_id);
/* The view from a known layout, without looking at the bytes. */
mr_err event_view_of(mr_str envelope, const struct event_layout *layout,
                     struct event_view *ret_view);
/* Takes subject and extensions off one after another; start with *rest = view.rest. name is bare,
 * json is the value's text (a string with its quotes). False at the end or where it is damaged. */
bool event_view_next(mr_str *rest, mr_str *ret_name, mr_str *ret_json);
/* Decodes the inside of a JSON string: the slice itself where it has no escapes, else a copy.
 * MR_E_NOMEM, MR_E_INVALID for a bad escape. */
mr_err event_text(mr_str inner, mr_arena *arena, mr_str *ret_text);

#endif
