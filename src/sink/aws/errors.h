/* What the error codes of AWS's services mean for us. AWS, "Common errors" and the errors of
 * PutRecords and AssumeRole. Pure. */
#ifndef MR_SINK_AWS_ERRORS_H
#define MR_SINK_AWS_ERRORS_H

#include "base/str.h"

enum aws_error {
    AWS_ERROR_UNKNOWN = 0,
    AWS_ERROR_THROTTLED,   /* a limit: later, and slower */
    AWS_ERROR_MISSING,     /* the stream is not there */
    AWS_ERROR_DENIED,      /* the role may not do this */
    AWS_ERROR_KMS,         /* the stream's key cannot be used */
    AWS_ERROR_EXPIRED,     /* the token has ended: new credentials help */
    AWS_ERROR_UNKNOWN_KEY, /* the credentials are not known: new ones may help */
    AWS_ERROR_SIGNATURE,   /* the signature is refused: a wrong clock, or a wrong secret */
    AWS_ERROR_INTERNAL,    /* the service's own failure */
    AWS_ERROR_BAD_REQUEST, /* the request as a whole is refused for what it holds */
};

/* Of a code such as "ExpiredTokenException", with or without "…#" before it and ":…" behind. */
enum aws_error aws_error_of(mr_str code);
/* Takes what is not the code off its ends. */
mr_str aws_error_code(mr_str text);

/* Copies text of others for people: printable ASCII, white space as one space, cut to size with its
 * NUL. */
void aws_text_copy(mr_str text, char *out, size_t size);

#endif
