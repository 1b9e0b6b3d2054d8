/* Private to api/: what the chapters about callbacks share (callbacks.c, callback_body.c,
 * callback_test.c). On the worker's thread. */
#ifndef MR_API_CALLBACKS_H
#define MR_API_CALLBACKS_H

#include "api/call.h"

#define CALLBACK_PARAMETERS_MAX 256

/* The body of POST /v1/callbacks and of its test. */
extern const struct shape api_callback_shape;
extern const char *const api_callback_methods[2];  /* by enum record_callback_method */
extern const char *const api_callback_contents[2]; /* by enum record_callback_content */

/* Reads and judges the call's body: fills method, content, url, reference and body (as it will be
 * sent), in arena. False: refused. */
bool api_callback_take(struct api_call *call, struct record_callback *ret_callback);

#endif
