/* Bodies judged by tables. See shape.h. */
#include "control/shape.h"

#include "base/mem.h"
#include "base/time.h"
#include "json/merge.h"
#include "json/write.h"

#include <stdio.h>

#define PATH_SIZE       192
#define LIST_TEXT_MAX   512
#define MEMBERS_AT_ONCE 64
#define OBJECT_MAX      ((size_t)8 << 20)

bool shape_is_of_use(const struct shape_member *member, enum shape_use use) {
    uint8_t not_here[] = {
        [SHAPE_CREATE] = SHAPE_CHANGE_ONLY, [SHAPE_CHANGE] = SHAPE_CREATE_ONLY, [SHAPE_ANSWER] = 0};
    return (member->flags & not_here[use]) == 0;
}

static mr_err check_known(json_value object, const struct shape *shape, enum shape_use use,
                          const struct body_place *place, struct refusal *ret_refusal) {
    const char *known[MEMBERS_AT_ONCE];
    size_t n = 0;
    MR_ASSERT(shape->n <= MEMBERS_AT_ONCE);
    for (size_t i = 0; i < shape->n; i++) {
        if (shape_is_of_use(&shape->members[i], use)) {
            known[n++] = shape->members[i].name;
        }
    }
    return body_only(object, place, known, n, ret_refusal);
}

static mr_err check_needed(json_value object, const struct shape *shape,
                           const struct body_place *place, struct refusal *ret_refusal) {
    for (size_t i = 0; i < shape->n; i++) {
        const struct shape_member *member = &shape->members[i];
        bool is_given = (member->flags & SHAPE_NULLABLE) != 0 && shape_has(object, member->name);
        if ((member->flags & SHAPE_NEEDED) != 0 && shape_is_of_use(member, SHAPE_CREATE) &&
            !is_given) {
            MR_TRY(body_needs(object, place, &member->name, 1, ret_refusal));
        }
    }
    return MR_OK;
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

static mr_err check_inner(json_value value, const struct shape_member *member,
                          const struct shape *inner, enum shape_use use,
                          const struct body_place *place, struct refusal *ret_refusal) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s%s.", place->path, member->name);
    const struct body_place inside = {.path = path, .wrong = place->wrong};
    if (json_kind_of(value) != JSON_OBJECT) {
        return refuse_value(member, place, ret_refusal,
                            member->kind == SHAPE_INNERS ? "hold objects" : "be an object");
    }
    return shape_check(value, inner, use, &inside, ret_refusal);
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
        MR_TRY(check_inner(it.value, member, member->inner, SHAPE_CREATE, place, ret_refusal));
    }
    return MR_OK;
}

static mr_err check_time(json_value value, const struct shape_member *member,
                         const struct body_place *place, mr_arena *arena,
                         struct refusal *ret_refusal) {
    mr_str text = MR_STR_NONE;
    mr_wall at;
    if (json_kind_of(value) == JSON_STRING) {
        MR_TRY(json_string(value, arena, &text));
    }
    return !mr_str_is_absent(text) && mr_is_ok(mr_time_parse_rfc3339(text, &at))
               ? MR_OK
               : refuse_value(member, place, ret_refusal, "be an RFC 3339 date-time");
}

/* The shape that the sibling chooses, which was judged before. */
static const struct shape *chosen(json_value object, const struct shape *shape,
                                  const struct shape_member *member) {
    uint32_t i = 0;
    shape_enum(object, shape, member->by, &i);
    MR_ASSERT(i < member->n_names);
    return member->choices[i];
}

static mr_err check_value(json_value object, const struct shape *shape,
                          const struct shape_member *member, enum shape_use use,
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
        return body_bool(object, place, member->name, (member->flags & SHAPE_NULLABLE) != 0, &truth,
                         ret_refusal);
    case SHAPE_ENUM:
        return body_enum(object, place, member->name, member->names, member->n_names, &number,
                         ret_refusal);
    case SHAPE_OBJECT:
        return body_object(object, place, member->name, member->max, arena, &text, ret_refusal);
    case SHAPE_INNER:
        return check_inner(value, member, member->inner, use, place, ret_refusal);
    case SHAPE_CHOICE:
        return check_inner(value, member, chosen(object, shape, member), use, place, ret_refusal);
    case SHAPE_TEXTS:
    case SHAPE_INNERS:
        return check_list(value, member, place, arena, ret_refusal);
    case SHAPE_TIME:
        return check_time(value, member, place, arena, ret_refusal);
    case SHAPE_OWN:
        return MR_OK;
    }
    return MR_ERR(MR_E_FAILED);
}

mr_err shape_check(json_value object, const struct shape *shape, enum shape_use use,
                   const struct body_place *place, struct refusal *ret_refusal) {
    MR_ASSERT(use != SHAPE_ANSWER);
    MR_TRY(check_known(object, shape, use, place, ret_refusal));
    if (use == SHAPE_CREATE) {
        MR_TRY(check_needed(object, shape, place, ret_refusal));
    }
    mr_arena arena;
    mr_arena_init(&arena, (size_t)8 << 20);
    mr_err err = MR_OK;
    for (size_t i = 0; i < shape->n && mr_is_ok(err); i++) {
        err = check_value(object, shape, &shape->members[i], use, place, &arena, ret_refusal);
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

/* ---- merge patches ---- */

/* Names that any of the choices has: which of them it is, the whole document tells. */
static mr_err check_choices(json_value patch, const struct shape_member *member,
                            const struct body_place *place, struct refusal *ret_refusal) {
    const char *known[MEMBERS_AT_ONCE];
    size_t n = 0;
    for (size_t i = 0; i < member->n_names; i++) {
        const struct shape *choice = member->choices[i];
        MR_ASSERT(n + choice->n <= MEMBERS_AT_ONCE);
        for (size_t k = 0; k < choice->n; k++) {
            known[n++] = choice->members[k].name;
        }
    }
    return body_only(patch, place, known, n, ret_refusal);
}

/* Names alone, at every level that has a shape. */
static mr_err check_patch(json_value patch, const struct shape *shape,
                          const struct body_place *place, struct refusal *ret_refusal) {
    MR_TRY(check_known(patch, shape, SHAPE_CHANGE, place, ret_refusal));
    for (size_t i = 0; i < shape->n; i++) {
        const struct shape_member *member = &shape->members[i];
        json_value value = shape_value(patch, member->name);
        bool is_choice = member->kind == SHAPE_CHOICE;
        if ((is_choice || member->kind == SHAPE_INNER) && json_kind_of(value) == JSON_OBJECT) {
            char path[PATH_SIZE];
            snprintf(path, sizeof path, "%s%s.", place->path, member->name);
            const struct body_place inside = {.path = path, .wrong = place->wrong};
            MR_TRY(is_choice ? check_choices(value, member, &inside, ret_refusal)
                             : check_patch(value, member->inner, &inside, ret_refusal));
        }
    }
    return MR_OK;
}

mr_err shape_merge(mr_str present, mr_str body, const struct shape *shape, mr_buf *out,
                   struct refusal *ret_refusal) {
    static const struct body_place place = {.path = "", .wrong = REFUSAL_MALFORMED};
    json_tape target;
    json_tape patch;
    json_tape_init(&target, JSON_DEPTH_DEFAULT);
    mr_err err = body_read(&patch, body, ret_refusal);
    if (mr_is_ok(err)) {
        err = check_patch(json_root(&patch), shape, &place, ret_refusal);
    }
    if (mr_is_ok(err)) {
        err = json_tape_read(&target, present, NULL);
    }
    if (mr_is_ok(err)) {
        err = json_merge(json_root(&target), json_root(&patch), out);
    }
    json_tape_done(&target);
    json_tape_done(&patch);
    return err;
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

mr_err shape_object(json_value object, const char *name, mr_arena *arena, mr_str *out) {
    json_value value = shape_value(object, name);
    if (json_is_absent(value)) {
        return MR_OK;
    }
    mr_buf text;
    mr_buf_init(&text, OBJECT_MAX);
    mr_err err = json_minify(value, JSON_UTF8, &text);
    if (mr_is_ok(err)) {
        *out = mr_arena_str(arena, mr_buf_view(&text));
        err = mr_str_is_absent(*out) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    }
    mr_buf_done(&text);
    return err;
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
