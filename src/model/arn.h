/* Amazon Resource Names of the two things that a stream destination names: a Kinesis data stream
 * and an IAM role. Read once, at configuration; the sink reads them again to find the region.
 * AWS, "Amazon Resource Names (ARNs)"; pure, any thread, no allocation. */
#ifndef MR_MODEL_ARN_H
#define MR_MODEL_ARN_H

#include "base/str.h"

#define ARN_REGION_MAX  32
#define ARN_ACCOUNT_LEN 12
#define ARN_STREAM_MAX  128
#define ARN_ROLE_MAX    64  /* of the name; its path comes on top */
#define ARN_PATH_MAX    512 /* of a role, both slashes included */

#define ARN_EXTERNAL_ID_MIN 2
#define ARN_EXTERNAL_ID_MAX 1224

/* Worlds of their own: no name, no credential of one counts in another. */
enum arn_partition {
    ARN_AWS = 0,
    ARN_AWS_CN,
    ARN_AWS_US_GOV,
};

enum arn_problem {
    ARN_OK = 0,
    ARN_SHAPE,     /* not six parts between colons, the first one "arn" */
    ARN_PARTITION, /* not one of the three */
    ARN_SERVICE,   /* of another service than is wanted */
    ARN_REGION,    /* a stream's: not a region of that partition; a role's: not empty */
    ARN_ACCOUNT,   /* not twelve digits */
    ARN_RESOURCE,  /* not stream/NAME, not role/PATH/NAME */
    ARN_PROBLEM_COUNT,
};

/* Slices of the text that was read. */
struct arn {
    enum arn_partition partition;
    mr_str region; /* empty for a role */
    mr_str account;
    mr_str name; /* of the stream, or of the role without its path */
};

/* "arn:aws:kinesis:eu-central-1:111122223333:stream/events". *ret_arn is written for ARN_OK. */
enum arn_problem arn_parse_stream(mr_str text, struct arn *ret_arn);
/* "arn:aws:iam::111122223333:role/path/millrace". */
enum arn_problem arn_parse_role(mr_str text, struct arn *ret_arn);
/* What is wrong, to stand behind the setting's name: "must be …"; "" for ARN_OK. Static. */
const char *arn_stream_problem_text(enum arn_problem problem);
const char *arn_role_problem_text(enum arn_problem problem);

/* "eu-central-1": its letters and digits, and of which partition it is. */
bool arn_region_is_valid(mr_str region, enum arn_partition partition);
/* Of sts:ExternalId: 2 to 1,224 letters, digits and +=,.@:/-_. */
bool arn_external_id_is_valid(mr_str text);
/* "aws", "aws-cn", "aws-us-gov". */
mr_str arn_partition_name(enum arn_partition partition);

#endif
