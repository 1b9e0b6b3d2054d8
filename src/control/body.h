/* For control/ and the handlers of api/: reading bodies of calls. Every helper refuses with the
 * member's whole path in the message ("settings.timeout_ms"), so that a caller of the API finds the
 * place at once. */
#ifndef MR_CONTROL_BODY_H
#define MR_CONTROL_BODY_H

#include "control/refusal.h"
#include "json/tape.h"

/* Where in the body an object lies, and which code its wrong values get. */
struct body_place {
    const char *path;        /* "" or "settings." */
    enum refusal_code wrong; /* 20400, or 31020 for rules */
};

/* Reads text as one JSON object (20400). The tape is initialised here; done by the caller, also
 * after an error. */
mr_err body_read(json_tape *tape, mr_str text, struct refusal *ret_refusal);
/* 20001 naming the members of object that are not in names. */
mr_err body_only(json_value object, const struct body_place *place, const char *const *names,
                 size_t n, struct refusal *ret_refusal);
/* 20002 naming the first of names that is absent or null. */
mr_err body_needs(json_value object, const struct body_place *place, const char *const *names,
                  size_t n, struct refusal *ret_refusal);
/* A member that is absent or null leaves *out as it is; *out is the default. */
mr_err body_u32(json_value object, const struct body_place *place, const char *name, uint32_t min,
                uint32_t max, uint32_t *out, struct refusal *ret_refusal);
mr_err body_bool(json_value object, const struct body_place *place, const char *name,
                 bool is_nullable, bool *out, struct refusal *ret_refusal);
/* min to max bytes of UTF-8; control characters only where lines may break (text). */
mr_err body_text(json_value object, const struct body_place *place, const char *name, size_t min,
                 size_t max, bool is_multiline, mr_arena *arena, mr_str *out,
                 struct refusal *ret_refusal);
/* One of the names; *out is its index. */
mr_err body_enum(json_value object, const struct body_place *place, const char *name,
                 const char *const *names, size_t n, uint32_t *out, struct refusal *ret_refusal);
/* An object of at most max bytes, minified into arena. */
mr_err body_object(json_value object, const struct body_place *place, const char *name, size_t max,
                   mr_arena *arena, mr_str *out, struct refusal *ret_refusal);
#endif
