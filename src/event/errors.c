/* Errors of a call. See errors.h. The list must work when memory is short: an error that cannot be
 * kept is still counted, and the status is set, so that a wrong call is never taken for a good
 * one. */
#include "event/errors.h"

#include "base/buf.h"

#include <stdarg.h>

#define MESSAGE_BYTES_MAX 1024

void event_errors_init(struct event_errors *errors, mr_arena *arena, uint32_t max) {
    *errors = (struct event_errors){.arena = arena, .max = max};
}

static int gravity(uint16_t http_status) {
    return http_status == 415 ? 3 : http_status == 413 ? 2 : http_status == 0 ? 0 : 1;
}

void event_errors_add(struct event_errors *errors, uint16_t http_status, uint32_t index,
                      mr_str pointer, int64_t offset, const char *rule, const char *format, ...) {
    errors->found++;
    if (gravity(http_status) > gravity(errors->http_status)) {
        errors->http_status = http_status;
    }
    if (errors->len == errors->max) {
        return;
    }
    if (errors->ptr == NULL) {
        errors->ptr = mr_arena_calloc(errors->arena, errors->max, sizeof *errors->ptr);
    }
    mr_buf text;
    va_list args;
    mr_buf_init(&text, MESSAGE_BYTES_MAX);
    va_start(args, format);
    mr_err err = mr_buf_vprintf(&text, format, args);
    va_end(args);
    mr_str message = mr_is_ok(err) ? mr_arena_str(errors->arena, mr_buf_view(&text)) : MR_STR_NONE;
    mr_buf_done(&text);
    mr_str place = mr_arena_str(errors->arena, pointer);
    if (errors->ptr == NULL || mr_str_is_absent(message) || mr_str_is_absent(place)) {
        return;
    }
    errors->ptr[errors->len++] = (struct event_error){
        .index = index, .pointer = place, .offset = offset, .rule = rule, .message = message};
}

void event_errors_write(const struct event_errors *errors, json_out *out) {
    json_out_array(out);
    for (uint32_t i = 0; i < errors->len; i++) {
        const struct event_error *error = &errors->ptr[i];
        json_out_object(out);
        json_out_member_u64(out, "index", error->index);
        json_out_member_str(out, "pointer", error->pointer);
        if (error->offset == EVENT_OFFSET_NONE) {
            json_out_member_null(out, "offset");
        } else {
            json_out_member_i64(out, "offset", error->offset);
        }
        json_out_member_c(out, "rule", error->rule);
        json_out_member_str(out, "message", error->message);
        json_out_end(out);
    }
    json_out_end(out);
}
