/* Attributes of one event, whatever form they came in. See intake.h and CloudEvents 1.0.2 §3.
 *
 * One table names the attributes that CloudEvents itself defines, where each is kept and which rule
 * its text obeys; everything else is an extension. An attribute that breaks its rule is told and
 * not kept, and reading goes on, so that a producer sees all its errors at once. */
#include "event/intake.h"

#include "base/time.h"
#include "event/text.h"
#include "json/pointer.h"

#include <stddef.h>

#define POINTER_BYTES_MAX 512u

enum attribute_rule {
    RULE_NOT_EMPTY = 0,
    RULE_URI,
    RULE_TIME,
    RULE_MEDIA,
    RULE_VERSION, /* specversion: judged by intake_check */
};

struct own_attribute {
    mr_str name;
    enum attribute_rule rule;
    size_t member; /* offset in struct event */
};

#define OWN(name, rule)                                                                            \
    { {#name, sizeof #name - 1}, rule, offsetof(struct event, name) }
static const struct own_attribute own_attributes[] = {
    OWN(id, RULE_NOT_EMPTY),
    OWN(type, RULE_NOT_EMPTY),
    OWN(time, RULE_TIME),
    OWN(source, RULE_URI),
    OWN(subject, RULE_NOT_EMPTY),
    OWN(dataschema, RULE_URI),
    {{"specversion", 11}, RULE_VERSION, 0},
    OWN(datacontenttype, RULE_MEDIA),
};
#undef OWN
_Static_assert(sizeof own_attributes / sizeof own_attributes[0] == INTAKE_OWN, "one text each");

#define OWN_BYTES_MAX 15
/* Where attributes with names of so many bytes begin in the table, which is in this order; 0 and
 * beyond 15 there are none. */
static const uint8_t own_by_length[OWN_BYTES_MAX + 2] = {0, 0, 0, 1, 1, 3, 3, 4, 5,
                                                         5, 5, 6, 7, 7, 7, 7, 8};

static const struct own_attribute *find_own(mr_str name) {
    if (name.len > OWN_BYTES_MAX) {
        return NULL;
    }
    for (size_t i = own_by_length[name.len]; i < own_by_length[name.len + 1]; i++) {
        if (memcmp(own_attributes[i].name.ptr, name.ptr, name.len) == 0) {
            return &own_attributes[i];
        }
    }
    return NULL;
}

bool intake_is_own(mr_str name) {
    return find_own(name) != NULL;
}

void intake_refuse(struct intake *in, struct intake_place place, mr_str name, const char *rule,
                   const char *message) {
    char memory[POINTER_BYTES_MAX];
    mr_buf pointer = {.ptr = memory, .cap = sizeof memory, .max = sizeof memory};
    /* A name that cannot be told whole stands for the event itself. */
    mr_ignore(name.len > 0 && mr_str_is_utf8(name) ? json_pointer_push(&pointer, name) : MR_OK,
              "the pointer stays empty");
    event_errors_add(in->errors, 400, place.index, mr_buf_view(&pointer), place.offset, rule, "%s",
                     message);
}

/* Events of one call mostly have one source, schema and media type: what passed its rules is not
 * looked at again while it stays the same. */
static bool was_good(const struct intake *in, const struct own_attribute *own, mr_str text) {
    return text.len > 0 && mr_str_eq(in->good[own - own_attributes], text);
}

/* What the text breaks, or NULL. */
static const char *broken_rule(enum attribute_rule rule, mr_str text, const char **ret_message) {
    struct event_media media;
    mr_wall t;
    switch (rule) {
    case RULE_NOT_EMPTY:
        *ret_message = "The attribute must not be empty.";
        return text.len == 0 ? "empty" : NULL;
    case RULE_URI:
        *ret_message = "The attribute must be a non-empty URI-reference (RFC 3986).";
        return event_is_uri_reference(text) ? NULL : "uri-reference";
    case RULE_TIME:
        *ret_message = "The attribute must be a date-time of RFC 3339.";
        return mr_is_ok(mr_time_parse_rfc3339(text, &t)) ? NULL : "time";
    case RULE_MEDIA:
        *ret_message = "The attribute must be a media type (RFC 2046).";
        return event_media_parse(text, &media) ? NULL : "media-type";
    case RULE_VERSION:
        break;
    }
    return NULL;
}

static mr_err add_extension(struct intake *in, struct event *event,
                            const struct event_attribute *attribute, struct intake_place place) {
    const struct event_limits *limits = in->parser->limits;
    if (event->extensions_len == limits->extensions_max) {
        event_errors_add(in->errors, 400, place.index, MR_STR(""), place.offset, "limit",
                         "An event has at most %u extension attributes.", limits->extensions_max);
        return MR_OK;
    }
    /* Written here only; readers of the event see it as constant. */
    struct event_attribute *list;
    if (event->extensions == NULL) {
        list = mr_arena_calloc(in->arena, limits->extensions_max, sizeof *list);
        if (list == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        event->extensions = list;
    }
    memcpy(&list, &event->extensions, sizeof list);
    list[event->extensions_len++] = *attribute;
    return MR_OK;
}

mr_err intake_attribute(struct intake *in, struct event *event, mr_str *specversion,
                        const struct event_attribute *attribute, struct intake_place place) {
    const struct event_limits *limits = in->parser->limits;
    const struct own_attribute *own = find_own(attribute->name);
    if (attribute->text.len > limits->attribute_bytes_max) {
        intake_refuse(in, place, attribute->name, "limit", "The attribute's value is too long.");
        return MR_OK;
    }
    if (own != NULL && was_good(in, own, attribute->text)) {
        memcpy((char *)event + own->member, &attribute->text, sizeof attribute->text);
        return MR_OK;
    }
    if (!event_text_has_only_allowed(attribute->text)) {
        intake_refuse(in, place, attribute->name, "characters",
                      "An attribute holds no control characters and no noncharacters.");
        return MR_OK;
    }
    if (own == NULL) {
        return add_extension(in, event, attribute, place);
    }
    if (own->rule == RULE_VERSION) {
        *specversion = attribute->text;
        return MR_OK;
    }
    const char *message;
    const char *rule = broken_rule(own->rule, attribute->text, &message);
    if (rule != NULL) {
        intake_refuse(in, place, attribute->name, rule, message);
    } else if (own->rule == RULE_URI || own->rule == RULE_MEDIA) {
        in->good[own - own_attributes] = attribute->text;
    }
    /* Kept all the same, so that it is not told as missing too. */
    memcpy((char *)event + own->member, &attribute->text, sizeof attribute->text);
    return MR_OK;
}

void intake_check(struct intake *in, const struct event *event, mr_str specversion,
                  struct intake_place place) {
    const char *missing = "A required attribute is missing.";
    if (mr_str_is_absent(event->id)) {
        intake_refuse(in, place, MR_STR("id"), "required", missing);
    }
    if (mr_str_is_absent(event->source)) {
        intake_refuse(in, place, MR_STR("source"), "required", missing);
    }
    if (mr_str_is_absent(event->type)) {
        intake_refuse(in, place, MR_STR("type"), "required", missing);
    }
    if (mr_str_is_absent(specversion)) {
        intake_refuse(in, place, MR_STR("specversion"), "required", missing);
    } else if (!mr_str_eq(specversion, MR_STR("1.0"))) {
        intake_refuse(in, place, MR_STR("specversion"), "specversion",
                      "The attribute must be \"1.0\".");
    }
}

void intake_check_size(struct intake *in, const struct event *event, struct intake_place place) {
    size_t max = in->parser->limits->event_bytes_max;
    if (event->content.len > max) {
        event_errors_add(in->errors, 413, place.index, MR_STR(""), place.offset, "limit",
                         "The event has more than %zu bytes.", max);
    }
}
