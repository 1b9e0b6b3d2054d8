/* AWS for one worker. See aws.h.
 *
 * The caller's credentials and those of the roles live in one cache: the caller's name is empty, a
 * role's is "partition region arn external-id" (none of the parts holds a space), so that it says
 * all that a fetch needs to know and two destinations with the same role share its credentials.
 *
 * The clock: signatures carry the time, and AWS refuses those that are more than five minutes off.
 * When it does, its Date tells how far our clock is off; from then on the difference is added to
 * every signature's time and to the reading of every expiry. */
#include "sink/aws/aws.h"

#include "base/mem.h"
#include "sink/aws/parts.h"

#include <stdio.h>

#define SKEW_MIN_NS (INT64_C(30) * MR_NS_PER_S)
#define METADATA    "http://169.254.169.254"

static enum aws_failure fetch(void *ctx, struct aws_entry *entry, const char **ret_why) {
    struct aws *aws = ctx;
    return entry->name.len == 0 ? aws_fetch_caller(aws, entry, ret_why)
                                : aws_fetch_role(aws, entry, ret_why);
}

/* The metadata's address is below the ports that destinations may name, and http: it is not a
 * destination's URL, so only its form is judged here. */
static mr_err read_identity(struct aws *aws) {
    const struct aws_options *options = &aws->options;
    mr_str text = options->source == AWS_SOURCE_CONTAINER ? options->container_uri
                  : options->metadata_endpoint.len > 0    ? options->metadata_endpoint
                                                          : MR_STR(METADATA);
    return net_url_parse(text, true, &aws->identity) == NET_URL_OK ? MR_OK : MR_ERR(MR_E_INVALID);
}

static mr_err read_source(struct aws *aws) {
    const struct aws_options *options = &aws->options;
    switch (options->source) {
    case AWS_SOURCE_NONE:
        return MR_OK;
    case AWS_SOURCE_FIXED:
        return aws_credentials_new(
            aws->world.slab, options->access_key, mr_secret_reveal(options->secret_key),
            mr_secret_reveal(options->session_token), AWS_NEVER_MS, &aws->fixed);
    case AWS_SOURCE_CONTAINER:
    case AWS_SOURCE_INSTANCE:
        return read_identity(aws);
    }
    return MR_ERR(MR_E_INVALID);
}

mr_err aws_new(const struct aws_world *world, const struct aws_options *options,
               struct aws **ret_aws) {
    struct aws *aws = MR_NEW(struct aws);
    if (aws == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    aws->world = *world;
    aws->options = *options;
    aws_cache_init(&aws->cache, (struct aws_cache_hooks){aws, fetch});
    mr_err err = read_source(aws);
    if (mr_is_err(err)) {
        aws_free(aws);
        return err;
    }
    *ret_aws = aws;
    return MR_OK;
}

void aws_free(struct aws *aws) {
    if (aws == NULL) {
        return;
    }
    aws_cache_done(&aws->cache);
    aws_credentials_unref(aws->fixed);
    mr_free(aws);
}

const struct aws_world *aws_world(const struct aws *aws) {
    return &aws->world;
}

mr_str aws_kinesis_endpoint(const struct aws *aws) {
    return aws->options.kinesis_endpoint;
}

/* ---- clock ---- */

mr_wall aws_wall(const struct aws *aws) {
    return (mr_wall){loop_wall(aws->world.loop).ns + aws->skew_ns};
}

struct aws_now aws_now(const struct aws *aws) {
    return (struct aws_now){loop_now(aws->world.loop), mr_wall_ms(aws_wall(aws))};
}

bool aws_correct_clock(struct aws *aws, mr_fields fields) {
    mr_wall here = loop_wall(aws->world.loop);
    mr_wall there;
    if (mr_is_err(mr_time_parse_http(mr_fields_find(fields, MR_STR("date")), here, &there))) {
        return false;
    }
    int64_t skew = there.ns - here.ns;
    int64_t change = skew - aws->skew_ns;
    if (change > -SKEW_MIN_NS && change < SKEW_MIN_NS) {
        return false;
    }
    aws->skew_ns = skew;
    mr_warn(aws->world.log, "clock_differs", mr_kv_c("from", "AWS"),
            mr_kv_i64("seconds", skew / MR_NS_PER_S));
    return true;
}

/* ---- credentials ---- */

enum aws_got aws_caller(struct aws *aws, struct aws_ticket *ticket,
                        struct aws_credentials **ret_credentials, enum aws_failure *ret_failure,
                        const char **ret_why) {
    if (aws->options.source == AWS_SOURCE_NONE) {
        *ret_failure = AWS_FAILURE_REFUSED;
        *ret_why = "the server has no AWS credentials: set aws_access_key_id and "
                   "aws_secret_access_key_file, or their variables";
        return AWS_GOT_FAILURE;
    }
    if (aws->fixed != NULL) {
        *ret_credentials = aws_credentials_ref(aws->fixed);
        return AWS_GOT_CREDENTIALS;
    }
    return aws_cache_get(&aws->cache, AWS_CALLER_NAME, aws_now(aws), ticket, ret_credentials,
                         ret_failure, ret_why);
}

mr_err aws_role_name(const struct aws *aws, const struct aws_role *role, mr_buf *out) {
    mr_str own = aws->options.region;
    mr_str region = arn_region_is_valid(own, role->partition) ? own : role->region;
    return mr_buf_printf(out, "%.*s %.*s %.*s %.*s", MR_FMT(arn_partition_name(role->partition)),
                         MR_FMT(region), MR_FMT(role->arn), MR_FMT(role->external_id));
}

enum aws_got aws_assume(struct aws *aws, mr_str name, struct aws_ticket *ticket,
                        struct aws_credentials **ret_credentials, enum aws_failure *ret_failure,
                        const char **ret_why) {
    return aws_cache_get(&aws->cache, name, aws_now(aws), ticket, ret_credentials, ret_failure,
                         ret_why);
}

void aws_assume_cancel(struct aws *aws, struct aws_ticket *ticket) {
    aws_ticket_cancel(&aws->cache, ticket);
}

void aws_reject(struct aws *aws, mr_str name, const struct aws_credentials *credentials) {
    aws_cache_reject(&aws->cache, name, credentials);
}

/* ---- signed calls ---- */

static mr_err start_signed(struct aws *aws, const struct aws_post *post,
                           const struct sigv4_signer *signer, const struct sigv4_result *result,
                           mr_field *fields, size_t n, struct http_call **ret_call) {
    const struct iovec piece = {(void *)(uintptr_t)post->body.ptr, post->body.len};
    fields[n++] = (mr_field){MR_STR("x-amz-date"), mr_str_c(result->date)};
    if (!mr_str_is_absent(signer->session_token)) {
        fields[n++] = (mr_field){MR_STR("x-amz-security-token"), signer->session_token};
    }
    fields[n++] = (mr_field){MR_STR("authorization"), mr_buf_view(&result->authorization)};
    fields[n++] = (mr_field){MR_STR("user-agent"), MR_STR("KoreProxy/1.1")};
    const struct http_call_spec spec = {.pool_key = post->pool_key,
                                        .url = &post->endpoint->url,
                                        .trust = aws->world.trust,
                                        .method = MR_STR("POST"),
                                        .fields = {fields, n},
                                        .body = &piece,
                                        .n_body = 1,
                                        .has_body = true,
                                        .is_suspect = post->is_suspect,
                                        .is_fresh = post->is_fresh,
                                        .is_operators = post->endpoint->is_operators,
                                        .body_kept_max = post->body_kept_max,
                                        .total_ms = post->total_ms,
                                        .on_done = post->on_done,
                                        .ctx = post->ctx};
    return http_call_start(aws->world.client, &spec, ret_call);
}

mr_err aws_post_start(struct aws *aws, struct aws_credentials *credentials,
                      const struct aws_post *post, struct http_call **ret_call) {
    const struct net_url *url = &post->endpoint->url;
    const struct sigv4_signer signer = {.access_key = mr_str_c(credentials->access_key),
                                        .secret_key = mr_secret_reveal(credentials->secret_key),
                                        .session_token =
                                            mr_secret_reveal(credentials->session_token),
                                        .region = post->region,
                                        .service = post->service};
    mr_field fields[8] = {{MR_STR("host"), url->host_header},
                          {MR_STR("content-type"), post->content_type}};
    size_t n = 2;
    if (!mr_str_is_absent(post->target)) {
        fields[n++] = (mr_field){MR_STR("x-amz-target"), post->target};
    }
    const struct sigv4_request request = {.method = MR_STR("POST"),
                                          .path = url->path,
                                          .query = url->query,
                                          .fields = {fields, n},
                                          .body = post->body};
    struct sigv4_result result;
    sigv4_result_init(&result);
    mr_err err =
        sigv4_sign(aws->world.hasher, &credentials->key, &signer, &request, aws_wall(aws), &result);
    if (mr_is_ok(err)) {
        fields[0] = fields[n - 1]; /* host is the client's to send */
        err = start_signed(aws, post, &signer, &result, fields, n - 1, ret_call);
    }
    sigv4_result_done(&result);
    return err;
}
