/* The caller's credentials where they are not given: from the container's URI (one GET), or from
 * the instance's metadata, IMDSv2 alone:
 *
 *   PUT /latest/api/token ─▶ GET …/security-credentials/ (the role's name) ─▶ GET …/NAME
 *
 * AWS, "Container credential provider", "Use the Instance Metadata Service". Both addresses are the
 * operator's word, on loopback or link-local; no answer is trusted further than its form. */
#include "sink/aws/parts.h"

#include "base/mem.h"

#include <stdio.h>

#define CALL_MS       2000
#define ANSWER_MAX    (16 * 1024)
#define TOKEN_MAX     1024
#define ROLE_NAME_MAX 128
#define CREDENTIALS   "/latest/meta-data/iam/security-credentials/"

enum stage {
    STAGE_TOKEN = 0,
    STAGE_NAME,
    STAGE_CREDENTIALS,
};

struct caller_fetch {
    struct aws *aws;
    struct aws_entry *entry;
    struct http_call *call;
    enum stage stage;
    char token[TOKEN_MAX + 1]; /* of the metadata */
    char path[sizeof CREDENTIALS + ROLE_NAME_MAX];
};

static bool is_container(const struct caller_fetch *fetch) {
    return fetch->aws->options.source == AWS_SOURCE_CONTAINER;
}

static void free_fetch(struct caller_fetch *fetch) {
    crypto_wipe(fetch->token, sizeof fetch->token);
    mr_free(fetch);
}

static void end(struct caller_fetch *fetch, struct aws_credentials *credentials,
                enum aws_failure failure, const char *what) {
    struct aws *aws = fetch->aws;
    struct aws_entry *entry = fetch->entry;
    char why[AWS_WHY_MAX];
    snprintf(why, sizeof why, "%s: %s",
             is_container(fetch) ? "the container's credentials could not be read"
                                 : "the instance's credentials could not be read",
             what);
    free_fetch(fetch);
    if (credentials == NULL && failure != AWS_FAILURE_CANCELLED) {
        mr_warn(aws->world.log, "aws_credentials_failed", mr_kv_c("why", why));
    }
    aws_cache_fetched(entry, credentials, failure, why, aws_now(aws));
}

static void on_answer(void *ctx, const struct http_result *http);

static mr_err call(struct caller_fetch *fetch) {
    mr_str container_token = mr_secret_reveal(fetch->aws->options.container_token);
    mr_field field = {MR_STR("x-aws-ec2-metadata-token"), mr_str_c(fetch->token)};
    size_t n = 1;
    mr_str target = mr_str_c(fetch->path);
    if (is_container(fetch)) {
        field = (mr_field){MR_STR("authorization"), container_token};
        n = container_token.len > 0 ? 1 : 0;
        target = MR_STR_NONE;
    } else if (fetch->stage == STAGE_TOKEN) {
        field = (mr_field){MR_STR("x-aws-ec2-metadata-token-ttl-seconds"), MR_STR("300")};
    }
    const struct http_call_spec spec = {
        .pool_key = AWS_POOL_IDENTITY,
        .url = &fetch->aws->identity,
        .trust = fetch->aws->world.trust,
        .method =
            !is_container(fetch) && fetch->stage == STAGE_TOKEN ? MR_STR("PUT") : MR_STR("GET"),
        .target = target,
        .fields = {&field, n},
        .has_body = !is_container(fetch) && fetch->stage == STAGE_TOKEN,
        .is_operators = true,
        .body_kept_max = ANSWER_MAX,
        .total_ms = CALL_MS,
        .on_done = on_answer,
        .ctx = fetch};
    return http_call_start(fetch->aws->world.client, &spec, &fetch->call);
}

/* One line that can stand in a field or a path. */
static bool take_line(mr_str text, const char *more, char *out, size_t size) {
    mr_str line = mr_str_trim(mr_str_slice(text, 0, mr_str_find_byte(text, '\n', 0)));
    for (size_t i = 0; i < line.len; i++) {
        char c = line.ptr[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_plain && (c == '\0' || strchr(more, c) == NULL)) {
            return false;
        }
    }
    return line.len > 0 && mr_str_to_c(line, out, size);
}

/* False: the answer is not what this stage waits for. */
static bool next_stage(struct caller_fetch *fetch, mr_str body) {
    char name[ROLE_NAME_MAX + 1];
    switch (fetch->stage) {
    case STAGE_TOKEN:
        if (!take_line(body, "+/=_-.", fetch->token, sizeof fetch->token)) {
            return false;
        }
        fetch->stage = STAGE_NAME;
        snprintf(fetch->path, sizeof fetch->path, CREDENTIALS);
        return true;
    case STAGE_NAME:
        if (!take_line(body, "+=,.@_-", name, sizeof name)) {
            return false;
        }
        fetch->stage = STAGE_CREDENTIALS;
        snprintf(fetch->path, sizeof fetch->path, CREDENTIALS "%s", name);
        return true;
    case STAGE_CREDENTIALS:
        break;
    }
    return false;
}

static void on_answer(void *ctx, const struct http_result *http) {
    struct caller_fetch *fetch = ctx;
    char what[AWS_WHY_MAX / 2];
    if (http->failure != HTTP_FAIL_NONE) {
        snprintf(what, sizeof what, "%.*s", MR_FMT(http->detail));
        end(fetch, NULL,
            http->failure == HTTP_FAIL_CANCELLED ? AWS_FAILURE_CANCELLED : AWS_FAILURE_TROUBLE,
            what);
        return;
    }
    if (http->status != 200 || http->is_body_cut) {
        snprintf(what, sizeof what, "%.*s answered %u", MR_FMT(fetch->aws->identity.host),
                 http->status);
        end(fetch, NULL, AWS_FAILURE_TROUBLE, what);
        return;
    }
    if (fetch->stage != STAGE_CREDENTIALS) {
        if (!next_stage(fetch, http->body)) {
            end(fetch, NULL, AWS_FAILURE_TROUBLE, "an answer that is not understood");
        } else if (mr_is_err(call(fetch))) {
            end(fetch, NULL, AWS_FAILURE_CANCELLED, AWS_NO_ROOM);
        }
        return;
    }
    struct aws_credentials *credentials = NULL;
    mr_err err = aws_credentials_read(fetch->aws->world.slab, http->body, &credentials);
    end(fetch, credentials, mr_is_ok(err) ? AWS_FAILURE_NONE : AWS_FAILURE_TROUBLE,
        "an answer that is not understood");
}

enum aws_failure aws_fetch_caller(struct aws *aws, struct aws_entry *entry, const char **ret_why) {
    struct caller_fetch *fetch = MR_NEW(struct caller_fetch);
    *ret_why = AWS_NO_ROOM;
    if (fetch == NULL) {
        return AWS_FAILURE_CANCELLED;
    }
    fetch->aws = aws;
    fetch->entry = entry;
    fetch->stage = is_container(fetch) ? STAGE_CREDENTIALS : STAGE_TOKEN;
    snprintf(fetch->path, sizeof fetch->path, "/latest/api/token");
    if (mr_is_err(call(fetch))) {
        free_fetch(fetch);
        return AWS_FAILURE_CANCELLED;
    }
    return AWS_FAILURE_NONE;
}
