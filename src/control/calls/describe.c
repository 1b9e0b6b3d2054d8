/* Shapes as JSON Schema. See shape.h.
 *
 * The validator counts bytes, JSON Schema counts characters: a text within the bound of bytes is
 * always within that of characters, so what the server takes is valid by the schema. */
#include "control/shape.h"

#include "json/write.h"

#include <stdio.h>

#define ONE_LINE "^[^\\u0000-\\u001f\\u007f]*$"
#define LINES    "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f]*$"

void shape_schema_name(const struct shape *shape, enum shape_use use,
                       char out[static SHAPE_NAME_SIZE]) {
    const char *suffix = use == SHAPE_CHANGE ? "Change" : use == SHAPE_CREATE ? "Body" : "";
    snprintf(out, SHAPE_NAME_SIZE, "%s%s", shape->name, suffix);
}

enum shape_use shape_inner_use(const struct shape_member *member, enum shape_use use) {
    return member->kind == SHAPE_INNERS && use == SHAPE_CHANGE ? SHAPE_CREATE : use;
}

/* In a body null is as if absent, but for what a creation needs; a merge patch removes by it. */
static bool is_nullable(const struct shape_member *member, enum shape_use use) {
    return (member->flags & SHAPE_NULLABLE) != 0 || use == SHAPE_CHANGE ||
           (use == SHAPE_CREATE && (member->flags & SHAPE_NEEDED) == 0);
}

static void write_type(json_out *out, const char *type, bool nullable) {
    if (!nullable) {
        json_out_member_c(out, "type", type);
        return;
    }
    json_out_member_array(out, "type");
    json_out_str(out, mr_str_c(type));
    json_out_str(out, MR_STR("null"));
    json_out_end(out);
}

static void write_names(json_out *out, const struct shape_member *member, bool nullable) {
    json_out_member_array(out, "enum");
    for (size_t i = 0; i < member->n_names; i++) {
        json_out_str(out, mr_str_c(member->names[i]));
    }
    if (nullable) {
        json_out_null(out);
    }
    json_out_end(out);
}

static void write_ref_to(json_out *out, const struct shape *shape, enum shape_use use) {
    char name[SHAPE_NAME_SIZE];
    char ref[SHAPE_NAME_SIZE + 32];
    shape_schema_name(shape, use, name);
    snprintf(ref, sizeof ref, "#/components/schemas/%s", name);
    json_out_member_c(out, "$ref", ref);
}

static void write_ref(json_out *out, const struct shape_member *member, enum shape_use use) {
    write_ref_to(out, member->inner, shape_inner_use(member, use));
}

static void write_choices(json_out *out, const struct shape_member *member, enum shape_use use) {
    json_out_member_array(out, "anyOf");
    for (size_t i = 0; i < member->n_names; i++) {
        json_out_object(out);
        write_ref_to(out, member->choices[i], use);
        json_out_end(out);
    }
    if (is_nullable(member, use)) {
        json_out_object(out);
        json_out_member_c(out, "type", "null");
        json_out_end(out);
    }
    json_out_end(out);
}

static void write_text(json_out *out, const struct shape_member *member, enum shape_use use) {
    write_type(out, "string", is_nullable(member, use));
    if (use == SHAPE_ANSWER) {
        return;
    }
    json_out_member_u64(out, "minLength", member->min);
    json_out_member_u64(out, "maxLength", member->max);
    json_out_member_c(out, "pattern", member->kind == SHAPE_TEXT ? ONE_LINE : LINES);
}

static void write_number(json_out *out, const struct shape_member *member, enum shape_use use) {
    write_type(out, "integer", is_nullable(member, use));
    json_out_member_u64(out, "minimum", member->min);
    if (use != SHAPE_ANSWER || member->max > 0) {
        json_out_member_u64(out, "maximum", member->max);
    }
}

static void write_inner(json_out *out, const struct shape_member *member, enum shape_use use) {
    if (!is_nullable(member, use)) {
        write_ref(out, member, use);
        return;
    }
    json_out_member_array(out, "anyOf");
    json_out_object(out);
    write_ref(out, member, use);
    json_out_end(out);
    json_out_object(out);
    json_out_member_c(out, "type", "null");
    json_out_end(out);
    json_out_end(out);
}

static void write_list(json_out *out, const struct shape_member *member, enum shape_use use) {
    write_type(out, "array", is_nullable(member, use));
    if (use != SHAPE_ANSWER) {
        json_out_member_u64(out, "minItems", member->min);
        json_out_member_u64(out, "maxItems", member->max);
    }
    json_out_member_object(out, "items");
    if (member->kind == SHAPE_INNERS) {
        write_ref(out, member, use);
    } else {
        json_out_member_c(out, "type", "string");
        if (member->n_names > 0) {
            write_names(out, member, false);
        } else if (use != SHAPE_ANSWER) {
            json_out_member_u64(out, "minLength", 1);
            json_out_member_u64(out, "maxLength", 512);
        }
    }
    json_out_end(out);
}

static void write_kind(json_out *out, const struct shape_member *member, enum shape_use use) {
    bool nullable = is_nullable(member, use);
    switch (member->kind) {
    case SHAPE_TEXT:
    case SHAPE_LINES:
        write_text(out, member, use);
        return;
    case SHAPE_NUMBER:
        write_number(out, member, use);
        return;
    case SHAPE_BOOL:
        write_type(out, "boolean", nullable);
        return;
    case SHAPE_ENUM:
        write_names(out, member, nullable);
        return;
    case SHAPE_OBJECT:
        write_type(out, "object", nullable);
        return;
    case SHAPE_INNER:
        write_inner(out, member, use);
        return;
    case SHAPE_CHOICE:
        write_choices(out, member, use);
        return;
    case SHAPE_TEXTS:
    case SHAPE_INNERS:
        write_list(out, member, use);
        return;
    case SHAPE_TIME:
        write_type(out, "string", nullable);
        json_out_member_c(out, "format", "date-time");
        return;
    case SHAPE_OWN:
        break;
    }
}

static void write_member(json_out *out, const struct shape_member *member, enum shape_use use) {
    json_out_name(out, mr_str_c(member->name));
    if (member->kind == SHAPE_OWN) {
        json_out_raw(out, mr_str_c(member->schema));
        return;
    }
    json_out_object(out);
    write_kind(out, member, use);
    if (member->what != NULL) {
        json_out_member_c(out, "description", member->what);
    }
    json_out_end(out);
}

static bool is_required(const struct shape_member *member, enum shape_use use) {
    return use == SHAPE_ANSWER   ? (member->flags & SHAPE_OPTIONAL) == 0
           : use == SHAPE_CREATE ? (member->flags & SHAPE_NEEDED) != 0
                                 : false;
}

void shape_write_schema(const struct shape *shape, enum shape_use use, bool is_open,
                        struct json_out *out) {
    json_out_object(out);
    json_out_member_c(out, "type", "object");
    json_out_member_object(out, "properties");
    for (size_t i = 0; i < shape->n; i++) {
        if (shape_is_of_use(&shape->members[i], use)) {
            write_member(out, &shape->members[i], use);
        }
    }
    json_out_end(out);
    json_out_member_array(out, "required");
    for (size_t i = 0; i < shape->n; i++) {
        if (shape_is_of_use(&shape->members[i], use) && is_required(&shape->members[i], use)) {
            json_out_str(out, mr_str_c(shape->members[i].name));
        }
    }
    json_out_end(out);
    json_out_member_bool(out, "additionalProperties", is_open);
    json_out_end(out);
}
