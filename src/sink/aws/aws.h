/* What the AWS destinations of one worker share: who we are (the caller's credentials), whom we act
 * as (roles, assumed when needed and kept until shortly before they end), what AWS's clock says,
 * and signed calls. Everything runs on the worker's loop through its HTTP client; nothing blocks.
 */
#ifndef MR_SINK_AWS_AWS_H
#define MR_SINK_AWS_AWS_H

#include "http/client.h"
#include "sink/aws/cache.h"
#include "sink/aws/endpoint.h"

struct aws;

/* Where the caller's credentials come from. */
enum aws_source {
    AWS_SOURCE_NONE = 0,
    AWS_SOURCE_FIXED,     /* given at start: settings or environment */
    AWS_SOURCE_CONTAINER, /* a URI of the operator's, on loopback or link-local */
    AWS_SOURCE_INSTANCE,  /* the instance's metadata, IMDSv2 alone */
};

/* What it points to outlives the struct aws. Absent texts: by default. */
struct aws_options {
    enum aws_source source;
    mr_str access_key; /* AWS_SOURCE_FIXED */
    mr_secret secret_key;
    mr_secret session_token;   /* none: long-term */
    mr_str container_uri;      /* AWS_SOURCE_CONTAINER */
    mr_secret container_token; /* sent as Authorization; none: no such field */
    mr_str metadata_endpoint;  /* AWS_SOURCE_INSTANCE; default http://169.254.169.254 */
    mr_str region;             /* of STS; default: the stream's */
    mr_str kinesis_endpoint;   /* URLs in place of AWS's own */
    mr_str sts_endpoint;
};

struct aws_world {
    struct loop *loop;
    struct http_client *client;
    struct crypto_hasher *hasher;
    struct net_trust *trust;
    struct secret_slab *slab;
    const mr_log *log; /* may be NULL */
};

/* MR_E_INVALID: a URL or a credential of the options cannot be used; MR_E_NOMEM, MR_E_LIMIT. */
mr_err aws_new(const struct aws_world *world, const struct aws_options *options,
               struct aws **ret_aws);
/* When the HTTP client has ended: no call may be under way. NULL is fine. */
void aws_free(struct aws *aws);

const struct aws_world *aws_world(const struct aws *aws);
/* Override of the endpoint; absent: none. */
mr_str aws_kinesis_endpoint(const struct aws *aws);

/* A role to act as. Slices. */
struct aws_role {
    mr_str arn;
    mr_str external_id;
    mr_str region; /* of the stream */
    enum arn_partition partition;
};
/* Writes the role's name in the cache; its maximum is AWS_CACHE_NAME_MAX. MR_E_LIMIT, MR_E_NOMEM.
 */
mr_err aws_role_name(const struct aws *aws, const struct aws_role *role, mr_buf *out);
/* Credentials of the role of that name. See aws_cache_get. */
enum aws_got aws_assume(struct aws *aws, mr_str name, struct aws_ticket *ticket,
                        struct aws_credentials **ret_credentials, enum aws_failure *ret_failure,
                        const char **ret_why);
void aws_assume_cancel(struct aws *aws, struct aws_ticket *ticket);
/* The service did not take them. */
void aws_reject(struct aws *aws, mr_str name, const struct aws_credentials *credentials);

/* AWS's time, as far as it is known to differ from ours. */
mr_wall aws_wall(const struct aws *aws);
/* An answer that refused a signature: takes the server's clock from its Date. True where ours was
 * wrong, so that the same request may pass when it is signed again. */
bool aws_correct_clock(struct aws *aws, mr_fields fields);

/* One signed POST of a service. As http_call_spec; the fields of the signature are added. */
struct aws_post {
    const struct aws_endpoint *endpoint;
    mr_str service;
    mr_str region;
    mr_str content_type;
    mr_str target; /* x-amz-target; absent: none */
    mr_str body;   /* stays until on_done */
    uint64_t pool_key;
    uint32_t total_ms;
    uint32_t body_kept_max;
    bool is_suspect;
    bool is_fresh;
    void (*on_done)(void *ctx, const struct http_result *result);
    void *ctx;
};
/* MR_E_INVALID, MR_E_NOMEM, MR_E_LIMIT, MR_E_FAILED: nothing was started. */
mr_err aws_post_start(struct aws *aws, struct aws_credentials *credentials,
                      const struct aws_post *post, struct http_call **ret_call);

#endif
