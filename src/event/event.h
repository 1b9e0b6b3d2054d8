/* CloudEvents 1.0 as they come over HTTP: binary, structured, batched, and plain application/json
 * with one event or an array. Everything about the wire is checked here, once; what comes out is
 * typed and needs no second look. Pure: no clock, no socket, no file. Not thread-safe. */
#ifndef MR_EVENT_EVENT_H
#define MR_EVENT_EVENT_H

#include "base/arena.h"
#include "base/fields.h"
#include "base/str.h"
#include "event/errors.h"
#include "json/tape.h"

/* One row per bound; see event_limits_default. */
struct event_limits {
    size_t body_bytes_max;      /* 8 MiB: the whole call */
    size_t event_bytes_max;     /* 256 KiB: one event's members, minified */
    size_t attribute_bytes_max; /* 8 KiB: one attribute's value, decoded */
    uint32_t extensions_max;    /* 64 extension attributes of one event */
    uint32_t name_bytes_max;    /* 64: an extension attribute's name */
    uint32_t events_max;        /* 1,000 events of one call */
    uint32_t depth_max;         /* 64 containers inside one another, counted from the event */
    uint32_t errors_max;        /* 20 errors told */
};
extern const struct event_limits event_limits_default;

enum event_data_kind {
    EVENT_DATA_NONE = 0, /* neither data nor data_base64 */
    EVENT_DATA_JSON,     /* `data`, any JSON value */
    EVENT_DATA_BASE64,   /* `data_base64` */
};

/* An extension attribute: name of [a-z0-9]; a string, boolean or integer. */
struct event_attribute {
    mr_str name;
    mr_str text; /* the value as CloudEvents' canonical text, decoded */
    mr_str json; /* the value as JSON text, minified: "\"a\"", "true", "42" */
};

/* One event as the producer sent it. All slices live as long as the body and until the parser's
 * next call. Attribute texts are decoded UTF-8 without control characters; absent = not sent (a
 * null member counts as not sent). specversion was "1.0". */
struct event {
    mr_str id;     /* required, not empty */
    mr_str source; /* required, a non-empty URI-reference */
    mr_str type;   /* required, not empty */
    mr_str subject;
    mr_str time;            /* RFC 3339, as it came */
    mr_str dataschema;      /* a URI-reference */
    mr_str datacontenttype; /* a media type */
    enum event_data_kind data_kind;
    mr_str data;           /* JSON: the value's minified text. BASE64: the base64 text, bare */
    json_value data_value; /* JSON that came as JSON: the same on a tape, for validation and
                              filters; absent for text/… bodies, BASE64 and NONE */
    const struct event_attribute *extensions; /* in the order received */
    size_t extensions_len;
    /* The producer's members as one minified JSON object, before anything was filled in: what two
     * sendings of one id are compared by. Structured forms: the members in the order received.
     * Binary form: specversion, id, source, type, time, datacontenttype, dataschema, subject,
     * extensions sorted by name, then data or data_base64 (header order is not the producer's). */
    mr_str content;
    int64_t offset; /* of the event in the body; EVENT_OFFSET_NONE in binary form */
};

/* Reusable between calls; one per worker. A warm parser allocates nothing for usual events. */
struct event_parser {
    const struct event_limits *limits;
    json_tape tape;
    mr_buf scratch;
    mr_arena arena; /* everything of the present call */
};

/* What one call brought. */
struct event_batch {
    struct event *ptr;
    size_t len;
    struct event_errors errors; /* any: the whole call is refused, ptr is not to be used */
};

/* limits is kept. */
void event_parser_init(struct event_parser *parser, const struct event_limits *limits);
void event_parser_done(struct event_parser *parser);
/* The arena of the present call: for texts that are to live as long as its events. */
mr_arena *event_parser_arena(struct event_parser *parser);

/* Reads one HTTP call. The form follows the content type and the fields (CloudEvents HTTP binding
 * 1.0.2 §3): application/cloudevents+json is structured, application/cloudevents-batch+json a
 * batch; else ce-specversion makes it binary; else application/json is one event or an array.
 * Anything else, or a charset other than utf-8: status 415.
 * Wrong events are no mr_err: they are in ret_batch->errors, whose http_status is then not 0.
 * MR_E_NOMEM only. body must live while the events are used. */
mr_err event_parse(struct event_parser *parser, mr_fields fields, mr_str body,
                   struct event_batch *ret_batch);

/* True for a media type whose data is JSON: …/json or …+json, parameters allowed. */
bool event_is_json_type(mr_str media_type);
/* True for [a-z0-9]+ other than `data`: what CloudEvents allows as an attribute's name. */
bool event_is_attribute_name(mr_str name);
/* A non-empty URI-reference by its characters (RFC 3986: no space, controls, quotes, <>\^`{|},
 * whole percent triplets); bytes above 0x7F are let pass (RFC 3987). */
bool event_is_uri_reference(mr_str text);

#endif
