/* Refusals: the table of codes as data, making a message, and the helpers that read bodies and
 * refuse what is wrong with them.
 *
 * Messages are sentences for people and name the member; they are made with a bounded printf, then
 * made valid UTF-8 (a member's name comes from the caller and is cut anywhere). */
#include "control/refusal.h"

#include "control/body.h"
#include "json/write.h"

#include <stdarg.h>
#include <stdio.h>

#define LITERAL(text)                                                                              \
    { (text), sizeof(text) - 1 }

static const struct refusal_info rows[] = {
#define REFUSAL_ROW(symbol, number, http, name, why, remedy, message)                              \
    {.code = (number),                                                                             \
     .status = (http),                                                                             \
     .title = LITERAL(name),                                                                       \
     .cause = LITERAL(why),                                                                        \
     .todo = LITERAL(remedy),                                                                      \
     .example = LITERAL(message)},
    REFUSAL_CODES(REFUSAL_ROW)
#undef REFUSAL_ROW
};
#define ROWS (sizeof rows / sizeof rows[0])

const struct refusal_info *refusal_info(int code) {
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].code == code) {
            return &rows[i];
        }
    }
    return NULL;
}

const struct refusal_info *refusal_row(size_t index) {
    return index < ROWS ? &rows[index] : NULL;
}

/* Cuts a broken last character where the text was cut, replaces what else is not UTF-8 or is a
 * control character. */
static void make_printable(char *text, size_t n, bool was_cut) {
    size_t end = n;
    while (was_cut && end > 0 && n - end < 4 && !mr_str_is_utf8(mr_str_of(text, end))) {
        end--;
    }
    bool is_sound = mr_str_is_utf8(mr_str_of(text, end));
    size_t keep = is_sound ? end : n;
    for (size_t i = 0; i < keep; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f || (!is_sound && c >= 0x80)) {
            text[i] = '?';
        }
    }
    text[keep] = '\0';
}

mr_err refuse(struct refusal *ret_refusal, enum refusal_code code, const char *format, ...) {
    const struct refusal_info *info = refusal_info((int)code);
    MR_ASSERT(info != NULL);
    ret_refusal->status = info->status;
    ret_refusal->code = info->code;
    ret_refusal->retry_after_s = info->status == 503 ? 1 : 0;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(ret_refusal->message, sizeof ret_refusal->message, format, args);
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n;
    bool was_cut = len >= sizeof ret_refusal->message;
    if (was_cut) {
        len = sizeof ret_refusal->message - 1;
    }
    make_printable(ret_refusal->message, len, was_cut);
    return MR_ERR(CONTROL_E_REFUSED);
}

/* ---- bodies ---- */

mr_err body_read(json_tape *tape, mr_str text, struct refusal *ret_refusal) {
    json_tape_init(tape, JSON_DEPTH_DEFAULT);
    json_error error = {0};
    mr_err err = json_tape_read(tape, text, &error);
    if (mr_err_is(err, MR_E_NOMEM)) {
        return err;
    }
    if (mr_is_err(err)) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "The body is not valid JSON: at byte %zu, %s was expected (%s).",
                      error.offset, error.expected != NULL ? error.expected : "something else",
                      error.rule != NULL ? error.rule : "syntax");
    }
    if (json_kind_of(json_root(tape)) != JSON_OBJECT) {
        return refuse(ret_refusal, REFUSAL_MALFORMED, "The body must be a JSON object.");
    }
    return MR_OK;
}

static bool is_one_of(json_value name, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (json_string_eq(name, mr_str_c(names[i]))) {
            return true;
        }
    }
    return false;
}

mr_err body_only(json_value object, const struct body_place *place, const char *const *names,
                 size_t n, struct refusal *ret_refusal) {
    mr_buf list;
    mr_buf_init(&list, 512);
    size_t unknown = 0;
    for (json_iter it = json_iter_of(object); json_next(&it);) {
        if (is_one_of(it.name, names, n)) {
            continue;
        }
        unknown++;
        mr_str raw = json_raw(it.name);
        size_t before = list.len;
        mr_err err = mr_buf_printf(&list, "%s%s%.*s", unknown > 1 ? ", " : "", place->path,
                                   (int)(raw.len < 130 ? raw.len - 2 : 128), raw.ptr + 1);
        if (mr_is_err(err)) {
            mr_buf_truncate(&list, before);
        }
    }
    mr_err err = MR_OK;
    if (unknown > 0) {
        err = refuse(ret_refusal, REFUSAL_UNKNOWN_PARAMETER, "Unknown member%s: %.*s.",
                     unknown > 1 ? "s" : "", MR_FMT(mr_buf_view(&list)));
    }
    mr_buf_done(&list);
    return err;
}

/* Absent for absent and null. */
static json_value member(json_value object, const char *name) {
    json_value value = json_find(object, mr_str_c(name));
    return json_kind_of(value) == JSON_NULL ? JSON_NONE : value;
}

mr_err body_needs(json_value object, const struct body_place *place, const char *const *names,
                  size_t n, struct refusal *ret_refusal) {
    for (size_t i = 0; i < n; i++) {
        if (json_is_absent(member(object, names[i]))) {
            return refuse(ret_refusal, REFUSAL_MISSING_PARAMETER, "Missing member: %s%s.",
                          place->path, names[i]);
        }
    }
    return MR_OK;
}

mr_err body_u32(json_value object, const struct body_place *place, const char *name, uint32_t min,
                uint32_t max, uint32_t *out, struct refusal *ret_refusal) {
    json_value value = member(object, name);
    if (json_is_absent(value)) {
        return MR_OK;
    }
    uint64_t n = 0;
    if (mr_is_err(json_u64(value, min, max, &n))) {
        return refuse(ret_refusal, place->wrong, "%s%s must be a whole number from %u to %u.",
                      place->path, name, min, max);
    }
    *out = (uint32_t)n;
    return MR_OK;
}

mr_err body_bool(json_value object, const struct body_place *place, const char *name,
                 bool is_nullable, bool *out, struct refusal *ret_refusal) {
    json_value value = member(object, name);
    if (json_is_absent(value)) {
        return MR_OK;
    }
    if (mr_is_err(json_bool(value, out))) {
        return refuse(ret_refusal, place->wrong, "%s%s must be true%s.", place->path, name,
                      is_nullable ? ", false or null" : " or false");
    }
    return MR_OK;
}

static bool has_controls(mr_str text, bool is_multiline) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool is_break = c == '\n' || c == '\r' || c == '\t';
        if ((c < 0x20 && !(is_multiline && is_break)) || c == 0x7f) {
            return true;
        }
    }
    return false;
}

mr_err body_text(json_value object, const struct body_place *place, const char *name, size_t min,
                 size_t max, bool is_multiline, mr_arena *arena, mr_str *out,
                 struct refusal *ret_refusal) {
    json_value value = member(object, name);
    if (json_is_absent(value)) {
        return MR_OK;
    }
    if (json_kind_of(value) != JSON_STRING) {
        return refuse(ret_refusal, place->wrong, "%s%s must be a string.", place->path, name);
    }
    mr_str text;
    MR_TRY(json_string(value, arena, &text));
    if (text.len < min || text.len > max) {
        return refuse(ret_refusal, place->wrong, "%s%s must have %zu to %zu bytes.", place->path,
                      name, min, max);
    }
    if (has_controls(text, is_multiline)) {
        return refuse(ret_refusal, place->wrong, "%s%s must not hold control characters.",
                      place->path, name);
    }
    *out = mr_arena_str(arena, text);
    return mr_str_is_absent(*out) ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

mr_err body_enum(json_value object, const struct body_place *place, const char *name,
                 const char *const *names, size_t n, uint32_t *out, struct refusal *ret_refusal) {
    json_value value = member(object, name);
    if (json_is_absent(value)) {
        return MR_OK;
    }
    for (size_t i = 0; i < n; i++) {
        if (json_string_eq(value, mr_str_c(names[i]))) {
            *out = (uint32_t)i;
            return MR_OK;
        }
    }
    mr_buf list;
    mr_buf_init(&list, 256);
    for (size_t i = 0; i < n; i++) {
        mr_ignore(mr_buf_printf(&list, "%s%s", i > 0 ? ", " : "", names[i]), "a shorter message");
    }
    mr_err err = refuse(ret_refusal, place->wrong, "%s%s must be one of: %.*s.", place->path, name,
                        MR_FMT(mr_buf_view(&list)));
    mr_buf_done(&list);
    return err;
}

mr_err body_object(json_value object, const struct body_place *place, const char *name, size_t max,
                   mr_arena *arena, mr_str *out, struct refusal *ret_refusal) {
    json_value value = member(object, name);
    if (json_is_absent(value)) {
        return MR_OK;
    }
    if (json_kind_of(value) != JSON_OBJECT) {
        return refuse(ret_refusal, place->wrong, "%s%s must be an object.", place->path, name);
    }
    mr_buf text;
    mr_buf_init(&text, max);
    mr_err err = json_minify(value, JSON_UTF8, &text);
    if (mr_err_is(err, MR_E_LIMIT)) {
        err = refuse(ret_refusal, place->wrong, "%s%s must have at most %zu bytes.", place->path,
                     name, max);
    } else if (mr_is_ok(err)) {
        *out = mr_arena_str(arena, mr_buf_view(&text));
        err = mr_str_is_absent(*out) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    }
    mr_buf_done(&text);
    return err;
}
