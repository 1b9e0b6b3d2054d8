/* Events for filters. See content.h. */
#include "route/content.h"

#include "base/mem.h"

#define OWN_ATTRIBUTES   8 /* CloudEvents' own */
#define DATASCHEMA_BYTES ((size_t)64 << 10)

void route_content_init(struct route_content *content) {
    *content = (struct route_content){.cap_attributes = 0};
    mr_buf_init(&content->dataschema, DATASCHEMA_BYTES);
    json_tape_init(&content->tape, JSON_DEPTH_DEFAULT);
}

void route_content_done(struct route_content *content) {
    mr_free(content->attributes);
    mr_buf_done(&content->dataschema);
    json_tape_done(&content->tape);
}

static mr_err reserve(struct route_content *content, size_t n) {
    if (n <= content->cap_attributes) {
        return MR_OK;
    }
    struct filter_attribute *larger =
        mr_realloc(content->attributes, n * sizeof *content->attributes);
    if (larger == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    content->attributes = larger;
    content->cap_attributes = n;
    return MR_OK;
}

static void add_text(struct route_content *content, mr_str name, mr_str text) {
    if (!mr_str_is_absent(text)) {
        content->attributes[content->event.n_attributes++] =
            (struct filter_attribute){.name = name, .text = text, .type = FILTER_STRING};
    }
}

/* Extensions are strings, booleans and integers; their JSON text tells which. */
static void add_extension(struct route_content *content, const struct event_attribute *extension) {
    struct filter_attribute attribute = {
        .name = extension->name, .text = extension->text, .type = FILTER_INTEGER};
    char first = extension->json.len > 0 ? extension->json.ptr[0] : '"';
    if (first == '"') {
        attribute.type = FILTER_STRING;
    } else if (first == 't' || first == 'f') {
        attribute.type = FILTER_BOOLEAN;
    }
    content->attributes[content->event.n_attributes++] = attribute;
}

static mr_err data_of(struct route_content *content, const struct event *event,
                      json_value *ret_data) {
    *ret_data = JSON_NONE;
    if (event->data_kind != EVENT_DATA_JSON) {
        return MR_OK;
    }
    if (!json_is_absent(event->data_value)) {
        *ret_data = event->data_value;
        return MR_OK;
    }
    MR_TRY(json_tape_read(&content->tape, event->data, NULL));
    *ret_data = json_root(&content->tape);
    return MR_OK;
}

mr_err route_content_fill(struct route_content *content, const struct event *event,
                          const struct event_resolution *resolution,
                          const struct event_place *place) {
    content->event = (struct filter_event){.n_attributes = 0};
    MR_TRY(reserve(content, OWN_ATTRIBUTES + event->extensions_len));
    mr_buf_reset(&content->dataschema);
    MR_TRY(event_dataschema_write(event, resolution, place, &content->dataschema));
    MR_TRY(data_of(content, event, &content->event.data));
    mr_str time = event->time;
    if (mr_str_is_absent(time)) {
        time = mr_str_of(content->time, mr_time_format_kore(place->received, content->time));
    }
    bool has_media = !mr_str_is_absent(event->datacontenttype);
    add_text(content, MR_STR("specversion"), MR_STR("1.0"));
    add_text(content, MR_STR("id"), event->id);
    add_text(content, MR_STR("source"), event->source);
    add_text(content, MR_STR("type"), event->type);
    add_text(content, MR_STR("time"), time);
    add_text(content, MR_STR("datacontenttype"),
             has_media ? event->datacontenttype : MR_STR("application/json"));
    add_text(content, MR_STR("dataschema"),
             content->dataschema.len > 0 ? mr_buf_view(&content->dataschema) : MR_STR_NONE);
    add_text(content, MR_STR("subject"), event->subject);
    for (size_t i = 0; i < event->extensions_len; i++) {
        add_extension(content, &event->extensions[i]);
    }
    content->event.attributes = content->attributes;
    return MR_OK;
}
