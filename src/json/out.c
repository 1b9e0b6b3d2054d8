/* The writer that sets commas itself. See write.h.
 *
 * Its state is three bits and a depth: whether something stands before (a comma is due), whether a
 * name was written (its value is due), and per open container whether it is an object. The first
 * failed append sticks; everything later does nothing, so that callers check once, at the end.
 * Wrong order is a mistake of the program, not of the world, and asserts. */
#include "json/write.h"

#define NESTING_MAX 64u

void json_out_init(json_out *out, mr_buf *buf) {
    *out = (json_out){.buf = buf};
}

mr_err json_out_finish(json_out *out) {
    MR_ASSERT(out->depth == 0 && !out->named);
    return out->err;
}

static void put(json_out *out, mr_str text) {
    if (mr_is_ok(out->err)) {
        out->err = mr_buf_str(out->buf, text);
    }
}

static bool in_object(const json_out *out) {
    return out->depth > 0 && (out->objects >> (out->depth - 1) & 1) != 0;
}

/* Before every value. */
static void begin(json_out *out) {
    MR_ASSERT(in_object(out) == out->named);
    if (out->comma && !out->named) {
        put(out, MR_STR(","));
    }
    out->named = false;
    out->comma = true;
}

static void open(json_out *out, bool object) {
    begin(out);
    MR_ASSERT(out->depth < NESTING_MAX);
    uint64_t bit = UINT64_C(1) << out->depth;
    out->objects = object ? out->objects | bit : out->objects & ~bit;
    out->depth++;
    out->comma = false;
    put(out, object ? MR_STR("{") : MR_STR("["));
}

void json_out_object(json_out *out) {
    open(out, true);
}

void json_out_array(json_out *out) {
    open(out, false);
}

void json_out_end(json_out *out) {
    MR_ASSERT(out->depth > 0 && !out->named);
    put(out, in_object(out) ? MR_STR("}") : MR_STR("]"));
    out->depth--;
    out->comma = true;
}

static void put_string(json_out *out, mr_str s) {
    if (mr_is_ok(out->err)) {
        out->err = json_string_write(s, JSON_UTF8, out->buf);
    }
}

void json_out_name(json_out *out, mr_str name) {
    MR_ASSERT(in_object(out) && !out->named);
    if (out->comma) {
        put(out, MR_STR(","));
    }
    put_string(out, name);
    put(out, MR_STR(":"));
    out->named = true;
}

void json_out_null(json_out *out) {
    begin(out);
    put(out, MR_STR("null"));
}

void json_out_str(json_out *out, mr_str s) {
    if (mr_str_is_absent(s)) {
        json_out_null(out);
        return;
    }
    begin(out);
    put_string(out, s);
}

void json_out_u64(json_out *out, uint64_t n) {
    begin(out);
    if (mr_is_ok(out->err)) {
        out->err = mr_buf_u64(out->buf, n);
    }
}

void json_out_i64(json_out *out, int64_t n) {
    begin(out);
    if (mr_is_ok(out->err)) {
        out->err = mr_buf_i64(out->buf, n);
    }
}

void json_out_bool(json_out *out, bool b) {
    begin(out);
    put(out, b ? MR_STR("true") : MR_STR("false"));
}

void json_out_raw(json_out *out, mr_str json) {
    begin(out);
    put(out, mr_str_is_absent(json) ? MR_STR("null") : json);
}

void json_out_value(json_out *out, json_value value) {
    begin(out);
    if (json_is_absent(value)) {
        put(out, MR_STR("null"));
    } else if (mr_is_ok(out->err)) {
        out->err = json_minify(value, JSON_UTF8, out->buf);
    }
}

void json_out_member_str(json_out *out, const char *name, mr_str s) {
    json_out_name(out, mr_str_c(name));
    json_out_str(out, s);
}

void json_out_member_c(json_out *out, const char *name, const char *s) {
    json_out_member_str(out, name, mr_str_c(s));
}

void json_out_member_u64(json_out *out, const char *name, uint64_t n) {
    json_out_name(out, mr_str_c(name));
    json_out_u64(out, n);
}

void json_out_member_i64(json_out *out, const char *name, int64_t n) {
    json_out_name(out, mr_str_c(name));
    json_out_i64(out, n);
}

void json_out_member_bool(json_out *out, const char *name, bool b) {
    json_out_name(out, mr_str_c(name));
    json_out_bool(out, b);
}

void json_out_member_null(json_out *out, const char *name) {
    json_out_name(out, mr_str_c(name));
    json_out_null(out);
}

void json_out_member_raw(json_out *out, const char *name, mr_str json) {
    json_out_name(out, mr_str_c(name));
    json_out_raw(out, json);
}

void json_out_member_object(json_out *out, const char *name) {
    json_out_name(out, mr_str_c(name));
    json_out_object(out);
}

void json_out_member_array(json_out *out, const char *name) {
    json_out_name(out, mr_str_c(name));
    json_out_array(out);
}
