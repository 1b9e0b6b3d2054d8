/* JSON text out: tape values minified as they came, strings as JSON.stringify writes them
 * (ECMA-262 §25.5.2.3), and a small writer that sets commas itself, for answers of the API.
 * Everything appends to a mr_buf; a failed call of the first part leaves the buffer as it was. */
#ifndef MR_JSON_WRITE_H
#define MR_JSON_WRITE_H

#include "json/tape.h"

enum json_escape {
    JSON_UTF8 = 0,         /* as JSON.stringify: all but ", \ and U+0000–U+001F stands raw */
    JSON_ESCAPE_NON_ASCII, /* as Python's json.dumps: U+007F and above as lower-case \uXXXX */
};

/* Appends value without white space: member order and number text kept, strings re-written:
 * `\/` becomes `/`, `\u0041` becomes `A`, controls \b \t \n \f \r or lower-case \u00xx.
 * MR_E_INVALID for an absent value, MR_E_LIMIT, MR_E_NOMEM. */
mr_err json_minify(json_value value, enum json_escape escape, mr_buf *out);
/* The same bytes as a slice of the text where it is minified already, else a copy in arena that
 * was built in scratch (which is emptied first). */
mr_err json_minify_slice(json_value value, mr_buf *scratch, mr_arena *arena, mr_str *ret_text);
/* Appends s, which is valid UTF-8, as a JSON string with its quotes. */
mr_err json_string_write(mr_str s, enum json_escape escape, mr_buf *out);
/* Appends s as the inside of a JSON string: without quotes. */
mr_err json_string_write_inner(mr_str s, enum json_escape escape, mr_buf *out);
/* Copies JSON text that is minified already, U+007F and above written as \uXXXX where asked. */
mr_err json_text_write(mr_str json, enum json_escape escape, mr_buf *out);

/* A writer of one JSON value. Commas, colons and quotes are its own; the first error sticks and is
 * told by json_out_finish. Using it out of order (a member without a name, an end too many) is a
 * programmer's mistake. Nesting ≤ 64.
 *
 *   json_out o;
 *   json_out_init(&o, buf);
 *   json_out_object(&o);
 *   json_out_member_u64(&o, "accepted", n);
 *   json_out_name(&o, MR_STR("events"));
 *   json_out_array(&o); … json_out_end(&o);
 *   json_out_end(&o);
 *   MR_TRY(json_out_finish(&o)); */
typedef struct json_out {
    mr_buf *buf; /* not owned */
    mr_err err;
    uint64_t objects; /* bit n: the n-th open container is an object */
    uint32_t depth;
    bool comma; /* something stands before in this container */
    bool named; /* a name was written, its value is due */
} json_out;

void json_out_init(json_out *out, mr_buf *buf);
/* The first error; asserts that everything opened was closed. On error the buffer holds a part. */
mr_err json_out_finish(json_out *out);
void json_out_object(json_out *out);
void json_out_array(json_out *out);
/* Closes the innermost container. */
void json_out_end(json_out *out);
void json_out_name(json_out *out, mr_str name);
/* s must be valid UTF-8; absent writes null. */
void json_out_str(json_out *out, mr_str s);
void json_out_u64(json_out *out, uint64_t n);
void json_out_i64(json_out *out, int64_t n);
void json_out_bool(json_out *out, bool b);
void json_out_null(json_out *out);
/* json is one JSON value already; absent writes null. */
void json_out_raw(json_out *out, mr_str json);
/* A tape value, minified; absent writes null. */
void json_out_value(json_out *out, json_value value);

/* name and value at once; name is a C string. */
void json_out_member_str(json_out *out, const char *name, mr_str s);
void json_out_member_c(json_out *out, const char *name, const char *s);
void json_out_member_u64(json_out *out, const char *name, uint64_t n);
void json_out_member_i64(json_out *out, const char *name, int64_t n);
void json_out_member_bool(json_out *out, const char *name, bool b);
void json_out_member_null(json_out *out, const char *name);
void json_out_member_raw(json_out *out, const char *name, mr_str json);
/* The name and an opened container. */
void json_out_member_object(json_out *out, const char *name);
void json_out_member_array(json_out *out, const char *name);

#endif
