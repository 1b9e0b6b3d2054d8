/* What the chapters of sink/aws share; not for others. */
#ifndef MR_SINK_AWS_PARTS_H
#define MR_SINK_AWS_PARTS_H

#include "sink/aws/aws.h"

/* Pool keys of our own calls: numbers that no destination has. */
#define AWS_POOL_STS      (UINT64_MAX - 1)
#define AWS_POOL_IDENTITY (UINT64_MAX - 2)

/* Of the caller's credentials in the cache; no role's name is empty. */
#define AWS_CALLER_NAME MR_STR("")

struct aws {
    struct aws_world world;
    struct aws_options options;
    struct aws_cache cache;
    struct aws_credentials *fixed; /* AWS_SOURCE_FIXED */
    struct net_url identity;       /* of the container's URI or the metadata's root */
    int64_t skew_ns;               /* AWS's clock less ours */
};

struct aws_now aws_now(const struct aws *aws);
enum aws_got aws_caller(struct aws *aws, struct aws_ticket *ticket,
                        struct aws_credentials **ret_credentials, enum aws_failure *ret_failure,
                        const char **ret_why);

#define AWS_NO_ROOM "there is no room for another call"

/* Fetches of the cache, see aws_cache_hooks. */
/* role.c: STS AssumeRole for the entry's name. */
enum aws_failure aws_fetch_role(struct aws *aws, struct aws_entry *entry, const char **ret_why);
/* caller.c: the container's URI or the instance's metadata. */
enum aws_failure aws_fetch_caller(struct aws *aws, struct aws_entry *entry, const char **ret_why);

#endif
