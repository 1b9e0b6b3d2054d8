/* Completing and writing KORE's envelope. See envelope.h; reading it back is in view.c.
 *
 * The order of the members is what KORE's receivers know; a receiver that hashes the body hashes
 * these bytes, so they are written once, at acceptance, stored, and sent as they are for as long as
 * the delivery takes.
 *
 * A dataschema is the catalogue's own where its text is relative (no scheme, no authority), or
 * begins with public_url or an alias, and /schemas/{name}/{version} follows. It is then written
 * anew, absolute under public_url, so that receivers can fetch it whatever the producer wrote; the
 * test event's stays relative, as KORE documents it. Under an own base anything else is an error:
 * it can only be a mistake. */
#include "event/envelope.h"

#include "base/num.h"
#include "json/write.h"

#define SCHEMAS_PATH "/schemas/"

/* True for a reference with a scheme or an authority: it names another place by itself. */
static bool is_absolute(mr_str reference) {
    if (mr_str_starts(reference, MR_STR("//"))) {
        return true;
    }
    for (size_t i = 0; i < reference.len; i++) {
        char c = reference.ptr[i];
        if (c == ':') {
            return true;
        }
        if (c == '/' || c == '?' || c == '#') {
            return false;
        }
    }
    return false;
}

/* What follows the base in reference; absent where it does not begin with it. The base is compared
 * without case, as scheme and host are. */
static mr_str strip_base(mr_str reference, mr_str base) {
    while (base.len > 0 && base.ptr[base.len - 1] == '/') {
        base.len--;
    }
    if (base.len == 0 || reference.len <= base.len || reference.ptr[base.len] != '/' ||
        !mr_str_eq_nocase(mr_str_slice(reference, 0, base.len), base)) {
        return MR_STR_NONE;
    }
    return mr_str_slice(reference, base.len, reference.len);
}

/* The path that is to be looked up in the own catalogue; absent for a foreign reference. */
static mr_str own_path(mr_str reference, const struct event_place *place) {
    if (!is_absolute(reference)) {
        return reference;
    }
    mr_str path = strip_base(reference, place->public_url);
    for (size_t i = 0; i < place->aliases_len && mr_str_is_absent(path); i++) {
        path = strip_base(reference, place->aliases[i]);
    }
    return path;
}

/* /schemas/{name}/{version}, the first slash perhaps absent. */
static bool split_path(mr_str path, mr_str *ret_schema, uint32_t *ret_version) {
    mr_str head = MR_STR(SCHEMAS_PATH);
    uint64_t version;
    if (path.len > 0 && path.ptr[0] != '/') {
        head = mr_str_slice(head, 1, head.len);
    }
    if (!mr_str_starts(path, head)) {
        return false;
    }
    mr_str rest = mr_str_slice(path, head.len, path.len);
    size_t slash = mr_str_find_byte(rest, '/', 0);
    if (slash == SIZE_MAX || slash == 0) {
        return false;
    }
    mr_str digits = mr_str_slice(rest, slash + 1, rest.len);
    if (mr_str_starts(digits, MR_STR("0")) ||
        mr_is_err(mr_u64_parse(digits, 1, UINT32_MAX, &version))) {
        return false;
    }
    *ret_schema = mr_str_slice(rest, 0, slash);
    *ret_version = (uint32_t)version;
    return true;
}

static bool refuse(struct event_errors *errors, uint32_t index, const struct event *event,
                   const char *pointer, const char *rule, const char *message) {
    event_errors_add(errors, 400, index, mr_str_c(pointer), event->offset, rule, "%s", message);
    return false;
}

/* Looks a catalogue path up. */
static bool resolve_own(const struct event *event, uint32_t index, mr_str path,
                        const struct event_place *place, struct event_errors *errors,
                        struct event_resolution *resolution) {
    const struct event_catalogue *catalogue = place->catalogue;
    mr_str schema;
    uint32_t version;
    if (!split_path(path, &schema, &version)) {
        return refuse(errors, index, event, "/dataschema", "dataschema",
                      "A dataschema of the own catalogue is /schemas/{name}/{version}.");
    }
    switch (catalogue->schema_use(catalogue->ctx, schema, version, event->type)) {
    case EVENT_SCHEMA_UNKNOWN:
        return refuse(errors, index, event, "/dataschema", "dataschema",
                      "The catalogue has no such schema version.");
    case EVENT_SCHEMA_OF_OTHER:
        return refuse(errors, index, event, "/dataschema", "dataschema",
                      "The schema is that of another event type.");
    case EVENT_SCHEMA_FREE:
        if (resolution->type_known) {
            return refuse(errors, index, event, "/dataschema", "dataschema",
                          "The schema is not that of the event's type.");
        }
        break;
    case EVENT_SCHEMA_OF_TYPE:
        break;
    }
    resolution->form = EVENT_SCHEMA_OWN;
    resolution->schema = schema;
    resolution->version = version;
    return true;
}

bool event_resolve(const struct event *event, uint32_t index, const struct event_place *place,
                   struct event_errors *errors, struct event_resolution *ret_resolution) {
    const struct event_catalogue *catalogue = place->catalogue;
    struct event_resolution resolution = {.schema = MR_STR_NONE};
    mr_str schema = MR_STR_NONE;
    uint32_t latest = 0;
    resolution.type_known = catalogue->type_find(catalogue->ctx, event->type, &schema, &latest);
    if (!resolution.type_known && place->refuse_unknown_types) {
        return refuse(errors, index, event, "/type", "unknown_type",
                      "The catalogue has no such event type.");
    }
    if (mr_str_is_absent(event->dataschema)) {
        if (resolution.type_known) {
            MR_ASSERT(latest >= 1);
            resolution.form = EVENT_SCHEMA_OWN;
            resolution.schema = schema;
            resolution.version = latest;
        }
    } else {
        mr_str path = own_path(event->dataschema, place);
        if (mr_str_is_absent(path)) {
            resolution.form = EVENT_SCHEMA_FOREIGN;
        } else if (!resolve_own(event, index, path, place, errors, &resolution)) {
            return false;
        }
    }
    *ret_resolution = resolution;
    return true;
}

/* An envelope while it is written: spans count from `start`. */
struct writer {
    mr_buf *out;
    size_t start;
};

static uint32_t offset_of(const struct writer *w) {
    return (uint32_t)(w->out->len - w->start);
}

/* `,"name":"text"`, the text as it is. lead is `,"name":"`. */
static mr_err put_raw(struct writer *w, mr_str lead, mr_str text, struct event_span *ret_span) {
    MR_TRY(mr_buf_str(w->out, lead));
    *ret_span = (struct event_span){offset_of(w), (uint32_t)text.len};
    MR_TRY(mr_buf_str(w->out, text));
    return mr_buf_byte(w->out, '"');
}

/* The same with the text escaped as JSON wants it. */
static mr_err put_text(struct writer *w, mr_str lead, mr_str text, struct event_span *ret_span) {
    MR_TRY(mr_buf_str(w->out, lead));
    uint32_t at = offset_of(w);
    MR_TRY(json_string_write_inner(text, JSON_UTF8, w->out));
    *ret_span = (struct event_span){at, offset_of(w) - at};
    return mr_buf_byte(w->out, '"');
}

static mr_err put_data(struct writer *w, const struct event *event, struct event_layout *layout) {
    switch (event->data_kind) {
    case EVENT_DATA_NONE:
        return mr_buf_byte(w->out, '{');
    case EVENT_DATA_JSON:
        MR_TRY(mr_buf_str(w->out, MR_STR("{\"data\":")));
        layout->data = (struct event_span){offset_of(w), (uint32_t)event->data.len};
        MR_TRY(mr_buf_str(w->out, event->data));
        return mr_buf_byte(w->out, ',');
    case EVENT_DATA_BASE64:
        layout->data_is_base64 = true;
        MR_TRY(put_raw(w, MR_STR("{\"data_base64\":\""), event->data, &layout->data));
        return mr_buf_byte(w->out, ',');
    }
    return MR_OK;
}

static mr_err put_time(struct writer *w, const struct event *event, const struct event_place *place,
                       struct event_layout *layout) {
    mr_str lead = MR_STR(",\"time\":\"");
    if (!mr_str_is_absent(event->time)) {
        return put_text(w, lead, event->time, &layout->time);
    }
    char now[MR_TIME_TEXT_SIZE];
    size_t len = mr_time_format_kore(place->received, now);
    return put_raw(w, lead, mr_str_of(now, len), &layout->time);
}

static mr_err put_dataschema(struct writer *w, const struct event *event,
                             const struct event_resolution *resolution,
                             const struct event_place *place, struct event_layout *layout) {
    mr_str lead = MR_STR(",\"dataschema\":\"");
    switch (resolution->form) {
    case EVENT_SCHEMA_NONE:
        return MR_OK;
    case EVENT_SCHEMA_FOREIGN:
        return put_text(w, lead, event->dataschema, &layout->dataschema);
    case EVENT_SCHEMA_OWN:
        break;
    }
    MR_TRY(mr_buf_str(w->out, lead));
    uint32_t at = offset_of(w);
    if (!mr_str_eq(resolution->schema, MR_STR(EVENT_TEST_SCHEMA))) {
        MR_TRY(json_string_write_inner(place->public_url, JSON_UTF8, w->out));
    }
    MR_TRY(mr_buf_str(w->out, MR_STR(SCHEMAS_PATH)));
    MR_TRY(json_string_write_inner(resolution->schema, JSON_UTF8, w->out));
    MR_TRY(mr_buf_byte(w->out, '/'));
    MR_TRY(mr_buf_u64(w->out, resolution->version));
    layout->dataschema = (struct event_span){at, offset_of(w) - at};
    return mr_buf_byte(w->out, '"');
}

static mr_err put_rest(struct writer *w, const struct event *event) {
    struct event_span unused;
    if (!mr_str_is_absent(event->subject)) {
        MR_TRY(put_text(w, MR_STR(",\"subject\":\""), event->subject, &unused));
    }
    for (size_t i = 0; i < event->extensions_len; i++) {
        MR_TRY(mr_buf_str(w->out, MR_STR(",\"")));
        MR_TRY(mr_buf_str(w->out, event->extensions[i].name));
        MR_TRY(mr_buf_str(w->out, MR_STR("\":")));
        MR_TRY(mr_buf_str(w->out, event->extensions[i].json));
    }
    return mr_buf_byte(w->out, '}');
}

static mr_err write_envelope(struct writer *w, const struct event *event,
                             const struct event_resolution *resolution,
                             const struct event_place *place, struct event_layout *layout) {
    mr_str media = event->datacontenttype;
    MR_TRY(put_data(w, event, layout));
    MR_TRY(put_text(w, MR_STR("\"id\":\""), event->id, &layout->id));
    MR_TRY(put_time(w, event, place, layout));
    MR_TRY(put_text(w, MR_STR(",\"type\":\""), event->type, &layout->type));
    MR_TRY(put_text(w, MR_STR(",\"source\":\""), event->source, &layout->source));
    MR_TRY(put_dataschema(w, event, resolution, place, layout));
    MR_TRY(mr_buf_str(w->out, MR_STR(",\"specversion\":\"1.0\"")));
    MR_TRY(put_text(w, MR_STR(",\"datacontenttype\":\""),
                    mr_str_is_absent(media) ? MR_STR("application/json") : media,
                    &layout->datacontenttype));
    return put_rest(w, event);
}

mr_err event_envelope_write(const struct event *event, const struct event_resolution *resolution,
                            const struct event_place *place, mr_buf *out,
                            struct event_layout *ret_layout) {
    struct writer w = {out, out->len};
    struct event_layout layout = {.data_is_base64 = false};
    /* Room for the usual envelope at once; what is longer grows the buffer by itself. */
    mr_ignore(mr_buf_reserve(out, event->data.len + 1024, NULL), "the appends below tell");
    mr_err err = write_envelope(&w, event, resolution, place, &layout);
    if (mr_is_err(err)) {
        mr_buf_truncate(out, w.start);
        return err;
    }
    if (ret_layout != NULL) {
        *ret_layout = layout;
    }
    return MR_OK;
}
