/* Assuming a role: one signed call to STS, and once more where the caller's credentials had ended
 * or our clock stood wrong. */
#include "sink/aws/parts.h"

#include "base/mem.h"
#include "sink/aws/errors.h"
#include "sink/aws/sts.h"
#include "sink/aws/xml.h"

#include <stdio.h>

#define STS_TIMEOUT_MS 10000
#define FORM_MAX       16384

struct role_fetch {
    struct aws *aws;
    struct aws_entry *entry;
    struct aws_ticket caller;
    struct aws_credentials *credentials; /* the caller's; a reference */
    struct aws_endpoint endpoint;
    mr_buf form;
    struct http_call *call;
    mr_str region; /* of the entry's name */
    bool has_renewed;
    bool has_corrected;
    mr_str role_arn;
};

static void end(struct role_fetch *fetch, struct aws_credentials *credentials,
                enum aws_failure failure, const char *why) {
    struct aws *aws = fetch->aws;
    struct aws_entry *entry = fetch->entry;
    char text[AWS_WHY_MAX];
    snprintf(text, sizeof text, "%s", why);
    if (credentials == NULL && failure != AWS_FAILURE_CANCELLED) {
        mr_warn(aws->world.log, "assume_role_failed", mr_kv_str("role", fetch->role_arn),
                mr_kv_c("why", text));
    }
    aws_credentials_unref(fetch->credentials);
    mr_buf_done(&fetch->form);
    mr_free(fetch);
    aws_cache_fetched(entry, credentials, failure, text, aws_now(aws));
}

static void ask(struct role_fetch *fetch);

static void on_refused(struct role_fetch *fetch, const struct http_result *http) {
    struct aws *aws = fetch->aws;
    struct sts_problem problem;
    sts_problem_read(http->body, &problem);
    enum aws_failure failure = http->status >= 400 && http->status < 500 && problem.code[0] != '\0'
                                   ? AWS_FAILURE_REFUSED
                                   : AWS_FAILURE_TROUBLE;
    bool again = false;
    switch (aws_error_of(mr_str_c(problem.code))) {
    case AWS_ERROR_EXPIRED:
    case AWS_ERROR_UNKNOWN_KEY:
        again = !fetch->has_renewed && aws->fixed == NULL;
        fetch->has_renewed = true;
        aws_cache_reject(&aws->cache, AWS_CALLER_NAME, fetch->credentials);
        break;
    case AWS_ERROR_SIGNATURE:
        again = !fetch->has_corrected && aws_correct_clock(aws, http->fields);
        fetch->has_corrected = true;
        break;
    case AWS_ERROR_THROTTLED:
        failure = AWS_FAILURE_THROTTLED;
        break;
    case AWS_ERROR_INTERNAL:
        failure = AWS_FAILURE_TROUBLE;
        break;
    case AWS_ERROR_UNKNOWN:
    case AWS_ERROR_MISSING:
    case AWS_ERROR_DENIED:
    case AWS_ERROR_KMS:
    case AWS_ERROR_BAD_REQUEST:
        break;
    }
    if (again) {
        aws_credentials_unref(fetch->credentials);
        fetch->credentials = NULL;
        ask(fetch);
        return;
    }
    char why[AWS_WHY_MAX];
    if (problem.code[0] != '\0') {
        snprintf(why, sizeof why, "STS answered %s: %s", problem.code, problem.message);
    } else {
        snprintf(why, sizeof why, "STS answered %u without saying why", http->status);
    }
    end(fetch, NULL, failure, why);
}

static void on_answer(void *ctx, const struct http_result *http) {
    struct role_fetch *fetch = ctx;
    fetch->call = NULL;
    if (http->failure != HTTP_FAIL_NONE) {
        char why[AWS_WHY_MAX];
        snprintf(why, sizeof why, "STS could not be asked: %.*s", MR_FMT(http->detail));
        end(fetch, NULL,
            http->failure == HTTP_FAIL_CANCELLED ? AWS_FAILURE_CANCELLED : AWS_FAILURE_TROUBLE,
            why);
        return;
    }
    if (http->status != 200) {
        on_refused(fetch, http);
        return;
    }
    struct aws_credentials *credentials = NULL;
    mr_err err = http->is_body_cut
                     ? MR_ERR(MR_E_INVALID)
                     : sts_assume_role_read(fetch->aws->world.slab, http->body, &credentials);
    if (mr_is_err(err)) {
        end(fetch, NULL, AWS_FAILURE_TROUBLE,
            mr_err_is(err, MR_E_INVALID) ? "STS gave an answer that is not understood"
                                         : "there is no memory for credentials");
        return;
    }
    end(fetch, credentials, AWS_FAILURE_NONE, "");
}

static mr_err post(struct role_fetch *fetch) {
    const struct aws_post post = {.endpoint = &fetch->endpoint,
                                  .service = MR_STR("sts"),
                                  .region = fetch->region,
                                  .content_type =
                                      MR_STR("application/x-www-form-urlencoded; charset=utf-8"),
                                  .body = mr_buf_view(&fetch->form),
                                  .pool_key = AWS_POOL_STS,
                                  .total_ms = STS_TIMEOUT_MS,
                                  .body_kept_max = XML_BYTES_MAX,
                                  .on_done = on_answer,
                                  .ctx = fetch};
    return aws_post_start(fetch->aws, fetch->credentials, &post, &fetch->call);
}

static void on_caller(struct aws_ticket *ticket, struct aws_credentials *credentials,
                      enum aws_failure failure, const char *why) {
    struct role_fetch *fetch = MR_CONTAINER(ticket, struct role_fetch, caller);
    fetch->credentials = credentials;
    if (credentials == NULL) {
        end(fetch, NULL, failure, why);
    } else if (mr_is_err(post(fetch))) {
        end(fetch, NULL, AWS_FAILURE_CANCELLED, AWS_NO_ROOM);
    }
}

/* Once more, inside a callback: it may end at once. */
static void ask(struct role_fetch *fetch) {
    enum aws_failure failure = AWS_FAILURE_NONE;
    const char *why = "";
    struct aws_credentials *credentials = NULL;
    if (aws_caller(fetch->aws, &fetch->caller, &credentials, &failure, &why) != AWS_GOT_TICKET) {
        on_caller(&fetch->caller, credentials, failure, why);
    }
}

/* "partition region arn external-id" */
static mr_err read_name(struct role_fetch *fetch) {
    mr_str rest = fetch->entry->name;
    mr_str partition;
    MR_ASSERT(mr_str_split(&rest, ' ', &partition) && mr_str_split(&rest, ' ', &fetch->region) &&
              mr_str_split(&rest, ' ', &fetch->role_arn));
    struct arn arn;
    MR_ASSERT(arn_parse_role(fetch->role_arn, &arn) == ARN_OK);
    MR_TRY(aws_endpoint_init(&fetch->endpoint, MR_STR("sts"), fetch->region, arn.partition,
                             fetch->aws->options.sts_endpoint));
    mr_buf_init(&fetch->form, FORM_MAX);
    return sts_assume_role_write(fetch->role_arn, rest, &fetch->form);
}

/* Not in a callback: what fails at once is told by what is returned. */
static enum aws_failure start(struct role_fetch *fetch, const char **ret_why) {
    enum aws_failure failure = AWS_FAILURE_CANCELLED;
    *ret_why = AWS_NO_ROOM;
    if (mr_is_err(read_name(fetch))) {
        return failure;
    }
    switch (aws_caller(fetch->aws, &fetch->caller, &fetch->credentials, &failure, ret_why)) {
    case AWS_GOT_CREDENTIALS:
        return mr_is_ok(post(fetch)) ? AWS_FAILURE_NONE : AWS_FAILURE_CANCELLED;
    case AWS_GOT_TICKET:
        return AWS_FAILURE_NONE;
    case AWS_GOT_FAILURE:
        break;
    }
    return failure;
}

enum aws_failure aws_fetch_role(struct aws *aws, struct aws_entry *entry, const char **ret_why) {
    struct role_fetch *fetch = MR_NEW(struct role_fetch);
    if (fetch == NULL) {
        *ret_why = AWS_NO_ROOM;
        return AWS_FAILURE_CANCELLED;
    }
    fetch->aws = aws;
    fetch->entry = entry;
    mr_list_init(&fetch->caller.node);
    fetch->caller.on_done = on_caller;
    enum aws_failure failure = start(fetch, ret_why);
    if (failure != AWS_FAILURE_NONE) {
        aws_credentials_unref(fetch->credentials);
        mr_buf_done(&fetch->form);
        mr_free(fetch);
    }
    return failure;
}
