/* Bodies judged by tables. See shape.h. */
#include "control/shape.h"

#include "base/mem.h"

#include <stdio.h>

#define PATH_SIZE       192
#define LIST_TEXT_MAX   512
#define MEMBERS_AT_ONCE 64

static bool is_of_use(const struct shape_member *member, enum shape_use use) {
    uint8_t other = use == SHAPE_CREATE ? SHAPE_CHANGE_ONLY : SHAPE_CREATE_ONLY;
    return (member->flags & other) == 0;
}

static mr_err check_names(json_value object, const struct shape *shape, enum shape_use use,
                          const struct body_place *place, struct refusal *ret_refusal) {
    const char *known[MEMBERS_AT_ONCE];
    const char *needed[MEMBERS_AT_ONCE];
    size_t n_known = 0;
    size_t n_needed = 0;
    MR_ASSERT(shape->n <= MEMBERS_AT_ONCE);
    for (size_t i = 0; i < shape->n; i++) {
        const struct shape_member *member = &shape->members[i];
        if (!is_of_use(member, use)) {
            continue;
        }
        known[n_known++] = member->name;
        bool is_given = (member->flags & SHAPE_NULLABLE) != 0 && shape_has(object, member->name);
        if (use == SHAPE_CREATE && (member->flags & SHAPE_NEEDED) != 0 && !is_given) {
            needed[n_needed++] = member->name;
        }
    }
    MR_TRY(body_only(object, place, known, n_known, ret_refusal));
    return body_needs(object, place, needed, n_needed, ret_refusal);
}

static mr_err refuse_value(const struct shape_member *member, const struct body_place *place,
                           struct refusal *ret_refusal, const char *must) {
    return refuse(ret_refusal, place->wrong, "%s%s must %s.", place->path, member->name, must);
}

static mr_err check_texts(json_value list, const struct shape_member *member,
                          const struct body_place *place, mr_arena *arena,
                          struct refusal *ret_refusal) {
    for (json_iter it = json_iter_of(list); json_next(&it);) {
        bool is_one = member->n_names == 0;
        for (size_t i = 0; i < member->n_names && !is_one; i++) {
            is_one = json_string_eq(it.value, mr_str_c(member->names[i]));
        }
        mr_str text = MR_STR_NONE;
        if (json_kind_of(it.value) == JSON_STRING) {
            MR_TRY(json_string(it.value, arena, &text));
        }
        if (!is_one || text.len == 0 || text.len > LIST_TEXT_MAX) {
            return refuse_value(member, place, ret_refusal,
                                member->n_names > 0 ? "hold known names alone"
                                                    : "hold texts of 1 to 512 bytes");
        }
    }
    return MR_OK;
}

static mr_err check_inner(json_value value, const struct shape_member *member, enum shape_use use,
                          const struct body_place *place, struct refusal *ret_refusal) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s%s.", place->path, member->name);
    const struct body_place inside = {.path = path, .wrong = place->wrong};
    if (json_kind_of(value) != JSON_OBJECT) {
        return refuse_value(member, place, ret_refusal,
                            member->kind == SHAPE_INNERS ? "hold objects" : "be an object");
    }
    return shape_check(value, member->inner, use, &inside, ret_refusal);
}

static mr_err check_list(json_value list, const struct shape_member *member,
                         const struct body_place *place, mr_arena *arena,
                         struct refusal *ret_refusal) {
    size_t count = json_kind_of(list) == JSON_ARRAY ? json_count(list) : SIZE_MAX;
    if (count < member->min || count > member->max) {
        char must[64];
        snprintf(must, sizeof must, "be an array of %u to %u", member->min, member->max);
        return refuse_value(member, place, ret_refusal, must);
    }
    if (member->kind == SHAPE_TEXTS) {
        return check_texts(list, member, place, arena, ret_refusal);
    }
    for (json_iter it = json_iter_of(list); json_next(&it);) {
        MR_TRY(check_inner(it.value, member, SHAPE_CREATE, place, ret_refusal));
    }
    return MR_OK;
}

static mr_err check_value(json_value object, const struct shape_member *member, enum shape_use use,
                          const struct body_place *place, mr_arena *arena,
                          struct refusal *ret_refusal) {
    uint32_t number = 0;
    bool truth = false;
    mr_str text = MR_STR_NONE;
    json_value value = shape_value(object, member->name);
    if (json_is_absent(value)) {
        return MR_OK;
    }
    switch (member->kind) {
    case SHAPE_TEXT:
    case SHAPE_LINES:
        return body_text(object, place, member->name, member->min, member->max,
                         member->kind == SHAPE_LINES, arena, &text, ret_refusal);
    case SHAPE_NUMBER:
        return body_u32(object, place, member->name, member->min, member->max, &number,
                        ret_refusal);
    case SHAPE_BOOL:
        return body_bool(object, place, member->name, &truth, ret_refusal);
    case SHAPE_ENUM:
        return body_enum(object, place, member->name, member->names, member->n_names, &number,
                         ret_refusal);
    case SHAPE_OBJECT:
        return body_object(object, place, member->name, member->max, arena, &text, ret_refusal);
    case SHAPE_INNER:
        return check_inner(value, member, use, place, ret_refusal);
    case SHAPE_TEXTS:
    case SHAPE_INNERS:
        return check_list(value, member, place, arena, ret_refusal);
    case SHAPE_OWN:
        return MR_OK;
    }
    return MR_ERR(MR_E_FAILED);
}

mr_err shape_check(json_value object, const struct shape *shape, enum shape_use use,
                   const struct body_place *place, struct refusal *ret_refusal) {
    MR_TRY(check_names(object, shape, use, place, ret_refusal));
    mr_arena arena;
    mr_arena_init(&arena, (size_t)8 << 20);
    mr_err err = MR_OK;
    for (size_t i = 0; i < shape->n && mr_is_ok(err); i++) {
        err = check_value(object, &shape->members[i], use, place, &arena, ret_refusal);
    }
    mr_arena_done(&arena);
    return err;
}

mr_err shape_read(json_tape *tape, mr_str text, const struct shape *shape, enum shape_use use,
                  struct refusal *ret_refusal) {
    static const struct body_place place = {.path = "", .wrong = REFUSAL_MALFORMED};
    MR_TRY(body_read(tape, text, ret_refusal));
    return shape_check(json_root(tape), shape, use, &place, ret_refusal);
}

/* ---- values ---- */

json_value shape_value(json_value object, const char *name) {
    json_value value = json_find(object, mr_str_c(name));
    return json_kind_of(value) == JSON_NULL ? JSON_NONE : value;
}

bool shape_has(json_value object, const char *name) {
    return !json_is_absent(json_find(object, mr_str_c(name)));
}

bool shape_is_null(json_value object, const char *name) {
    return json_kind_of(json_find(object, mr_str_c(name))) == JSON_NULL;
}

mr_err shape_text(json_value object, const char *name, mr_arena *arena, mr_str *out) {
    json_value value = shape_value(object, name);
    if (json_is_absent(value)) {
        return MR_OK;
    }
    mr_str text;
    MR_TRY(json_string(value, arena, &text));
    *out = mr_arena_str(arena, text);
    return mr_str_is_absent(*out) ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

void shape_number(json_value object, const char *name, uint32_t *out) {
    uint64_t n = 0;
    if (mr_is_ok(json_u64(shape_value(object, name), 0, UINT32_MAX, &n))) {
        *out = (uint32_t)n;
    }
}

void shape_bool(json_value object, const char *name, bool *out) {
    bool truth = false;
    if (mr_is_ok(json_bool(shape_value(object, name), &truth))) {
        *out = truth;
    }
}

void shape_enum(json_value object, const struct shape *shape, const char *name, uint32_t *out) {
    json_value value = shape_value(object, name);
    for (size_t i = 0; i < shape->n; i++) {
        const struct shape_member *member = &shape->members[i];
        for (size_t k = 0; strcmp(member->name, name) == 0 && k < member->n_names; k++) {
            if (json_string_eq(value, mr_str_c(member->names[k]))) {
                *out = (uint32_t)k;
            }
        }
    }
}
