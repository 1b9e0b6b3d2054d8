/* AssumeRole of AWS's Security Token Service over the query protocol: a form out, XML back.
 * AWS STS API reference, version 2011-06-15. No network here. */
#ifndef MR_SINK_AWS_STS_H
#define MR_SINK_AWS_STS_H

#include "sink/aws/credentials.h"

#define STS_SESSION_NAME "millrace"
#define STS_DURATION_S   3600
#define STS_CODE_MAX     64
#define STS_MESSAGE_MAX  256

/* Appends the form's body. MR_E_NOMEM, MR_E_LIMIT. */
mr_err sts_assume_role_write(mr_str role_arn, mr_str external_id, mr_buf *out);
/* The credentials of a 200. MR_E_INVALID for anything but such an answer, MR_E_NOMEM, MR_E_LIMIT.
 */
mr_err sts_assume_role_read(struct secret_slab *slab, mr_str xml,
                            struct aws_credentials **ret_credentials);

/* What STS says to a refusal; "" where the answer says nothing that is understood. */
struct sts_problem {
    char code[STS_CODE_MAX + 1];
    char message[STS_MESSAGE_MAX + 1]; /* one line of printable text, cut */
};
void sts_problem_read(mr_str xml, struct sts_problem *ret_problem);

#endif
