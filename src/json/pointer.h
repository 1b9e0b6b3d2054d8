/* JSON Pointer (RFC 6901): finding values, and building pointers token by token for error lists.
 * Only the plain string form, not the URI fragment form. Nothing here blocks or keeps state. */
#ifndef MR_JSON_POINTER_H
#define MR_JSON_POINTER_H

#include "json/tape.h"

/* True for "" and for "/" tokens in which ~ is followed by 0 or 1. */
bool json_pointer_is_valid(mr_str pointer);
/* The value that pointer names below root. MR_E_INVALID where it is no pointer (or an array index
 * is none: leading zeros, "-"), MR_E_NOT_FOUND where nothing stands there. */
mr_err json_pointer_find(json_value root, mr_str pointer, json_value *ret_value);
/* Appends "/" and the token, ~ and / written as ~0 and ~1. */
mr_err json_pointer_push(mr_buf *pointer, mr_str token);
mr_err json_pointer_push_index(mr_buf *pointer, size_t index);
/* Takes the first token off *rest into out (decoded, emptied first); false when *rest is "". The
 * pointer must be valid; *ret_err tells MR_E_NOMEM or MR_E_LIMIT, with which false is given too. */
bool json_pointer_next(mr_str *rest, mr_buf *out, mr_err *ret_err);

#endif
