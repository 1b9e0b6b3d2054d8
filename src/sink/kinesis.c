/* PutRecords requests.
 *
 *   send ─▶ WAIT for credentials ─▶ FLY ─▶ answer ─┬─ per record, or an error for all ─▶ told
 *    │            │ none in time               ▲   ├─ no sense, or none at all ─▶ unknown, told
 *    │            ▼                            │   └─ token ended, key unknown, clock wrong
 *    │          told                           └──────── mended: once more each, at no attempt
 *    └─ nothing that could be sent ─▶ TELL (later in this turn)
 *
 * The body must stay until the answer, since it may have to be signed again; it counts as in flight
 * as long. A request's time is its timeout, whatever it is spent on; a second send gets what is
 * left of it, at least a second.
 *
 * An error of the whole call is told as the same outcome of every event, so that the lane needs to
 * know one form alone. What stays without items: an outcome that nobody knows (no answer, or one
 * that does not fit), which is retried whole, and a request that is refused for what it holds,
 * which the lane takes apart. */
#include "sink/kinesis.h"

#include "base/mem.h"
#include "deliver/lane.h"
#include "sink/aws/aws.h"
#include "sink/aws/errors.h"
#include "sink/kinesis/answer.h"
#include "sink/kinesis/body.h"

#include <stdio.h>

#define ANSWER_MAX   ((uint32_t)1 << 20)
#define SECOND_MS    1000 /* of a second send, at least */
#define DETAIL_MAX   640
#define ROLE_ARN_MAX 4096

/* Of a target. */
struct stream {
    struct aws *aws;
    struct aws_endpoint endpoint;
    struct arn arn;
    mr_buf role; /* its name in the cache */
    json_tape tape;
};

enum state {
    STATE_IDLE = 0,
    STATE_WAIT, /* for credentials */
    STATE_FLY,
    STATE_TELL, /* the task will tell the result */
};

/* Of a request. */
struct put {
    struct sink_request *request;
    struct aws *aws;
    enum state state;
    struct aws_ticket ticket;
    struct aws_credentials *credentials; /* of the send under way; a reference */
    struct loop_timer timer;             /* of WAIT */
    struct loop_task task;               /* of TELL */
    mr_mono begun;
    mr_mono flown;
    int64_t assume_ns;
    bool has_renewed;
    bool has_corrected;
    size_t n;                  /* events */
    size_t n_sent;             /* records in the body */
    enum sink_outcome outcome; /* of TELL */
    char detail[DETAIL_MAX];
    struct sink_item items[];
};

static struct stream *stream_of(const struct sink_request *request) {
    return request->target->own;
}

/* ---- targets ---- */

static mr_err fill_stream(const struct sink_env *env, struct sink_target *target,
                          struct stream *stream) {
    const struct model_kinesis *kinesis = &target->destination->kinesis;
    const struct aws_role role = {kinesis->role_arn, kinesis->external_id, stream->arn.region,
                                  stream->arn.partition};
    mr_buf_init(&stream->role, ROLE_ARN_MAX);
    json_tape_init(&stream->tape, JSON_DEPTH_MAX);
    stream->aws = env->aws;
    MR_TRY(aws_role_name(env->aws, &role, &stream->role));
    MR_TRY(aws_endpoint_init(&stream->endpoint, MR_STR("kinesis"), stream->arn.region,
                             stream->arn.partition, aws_kinesis_endpoint(env->aws)));
    target->url = stream->endpoint.url;
    target->trust = target->url.is_https ? net_trust_ref(env->trust) : NULL;
    return MR_OK;
}

static void free_stream(struct stream *stream) {
    mr_buf_done(&stream->role);
    json_tape_done(&stream->tape);
    mr_free(stream);
}

static mr_err kinesis_prepare(const struct sink_env *env, struct sink_target *target) {
    const struct model_kinesis *kinesis = &target->destination->kinesis;
    struct arn stream_arn;
    struct arn role_arn;
    enum arn_problem problem = arn_parse_stream(kinesis->stream_arn, &stream_arn);
    enum arn_problem role_problem = arn_parse_role(kinesis->role_arn, &role_arn);
    if (env->aws == NULL || problem != ARN_OK || role_problem != ARN_OK) {
        sink_target_problem(target, env->aws == NULL    ? "streams on AWS are not set up here"
                                    : problem != ARN_OK ? arn_stream_problem_text(problem)
                                                        : arn_role_problem_text(role_problem));
        return MR_OK;
    }
    struct stream *stream = MR_NEW(struct stream);
    if (stream == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    stream->arn = stream_arn;
    mr_err err = fill_stream(env, target, stream);
    if (mr_is_err(err)) {
        free_stream(stream);
        return MR_ERR(MR_E_NOMEM);
    }
    target->own = stream;
    return MR_OK;
}

static void kinesis_release(struct sink_target *target) {
    if (target->own != NULL) {
        free_stream(target->own);
    }
}

/* ---- composing ---- */

static void on_task(struct loop_task *task);
static void on_timer(struct loop_timer *timer);
static void on_credentials(struct aws_ticket *ticket, struct aws_credentials *credentials,
                           enum aws_failure failure, const char *why);

static struct put *new_put(struct sink_request *request, size_t n) {
    struct put *put = mr_calloc(1, sizeof *put + n * sizeof put->items[0]);
    if (put != NULL) {
        put->request = request;
        put->aws = stream_of(request)->aws;
        put->n = n;
        mr_list_init(&put->ticket.node);
        put->ticket.on_done = on_credentials;
        loop_timer_init(&put->timer, on_timer);
        loop_task_init(&put->task, on_task);
    }
    return put;
}

static void kinesis_clear(struct sink_request *request) {
    struct put *put = request->own;
    MR_ASSERT(put->state == STATE_IDLE);
    aws_credentials_unref(put->credentials);
    mr_free(put);
}

static mr_err kinesis_compose(struct sink_request *request, const mr_str *envelopes, size_t n,
                              size_t bytes_max, mr_arena *arena, size_t *ret_used) {
    sink_clear(request);
    struct stream *stream = stream_of(request);
    if (stream == NULL) { /* the target has a problem, which the send tells */
        *ret_used = n;
        return MR_OK;
    }
    struct put *put = new_put(request, n);
    if (put == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    request->own = put;
    const struct model_kinesis *kinesis = &request->target->destination->kinesis;
    const struct kinesis_format format = {.stream_arn = kinesis->stream_arn,
                                          .partition_key = kinesis->partition_key,
                                          .hasher = aws_world(stream->aws)->hasher,
                                          .tape = &stream->tape,
                                          .arena = arena};
    mr_err err = kinesis_body(&format, envelopes, n, bytes_max, bytes_max == SIZE_MAX,
                              &request->body, put->items, &put->n, &put->n_sent);
    if (mr_is_err(err)) {
        sink_clear(request);
        return err;
    }
    request->fields = (mr_fields){NULL, 0};
    *ret_used = put->n;
    return MR_OK;
}

/* ---- telling ---- */

static void tell(struct put *put, enum sink_outcome outcome, bool has_items,
                 const struct http_result *http) {
    struct sink_request *request = put->request;
    mr_mono now = loop_now(aws_world(put->aws)->loop);
    bool was_sent = put->flown.ns != 0;
    bool is_put = http != NULL && outcome == SINK_ANSWERED && http->status == 200;
    for (size_t i = 0; is_put && i < put->n; i++) {
        is_put = put->items[i].kind == SINK_ITEM_OK;
    }
    mr_str detail = put->detail[0] != '\0' ? mr_str_c(put->detail) : MR_STR_NONE;
    struct sink_step steps[2] = {
        {"assume_role", put->credentials != NULL, put->assume_ns,
         put->credentials != NULL ? MR_STR("The role was assumed") : detail},
        {"put_record", is_put, was_sent ? mr_mono_diff_ns(now, put->flown) : 0,
         is_put ? MR_STR("The record is in the stream") : detail}};
    mr_wall wall = loop_wall(aws_world(put->aws)->loop);
    struct sink_result result = {.outcome = outcome,
                                 .status = http != NULL ? http->status : 0,
                                 .retry_after_ms =
                                     http != NULL ? sink_retry_after_ms(http, wall) : -1,
                                 .duration_ns = mr_mono_diff_ns(now, put->begun),
                                 .detail = detail,
                                 .http = http,
                                 .items = has_items ? put->items : NULL,
                                 .n_items = has_items ? put->n : 0,
                                 .steps = steps,
                                 .n_steps = was_sent ? 2 : 1};
    put->state = STATE_IDLE;
    request->on_done(request, &result);
}

/* The same for every event that has a record in the body. */
static void set_items(struct put *put, struct sink_item item) {
    for (size_t i = 0; i < put->n; i++) {
        if (put->items[i].kind == SINK_ITEM_OK) {
            put->items[i] = item;
        }
    }
}

static void on_task(struct loop_task *task) {
    struct put *put = MR_CONTAINER(task, struct put, task);
    bool has_items = put->outcome != SINK_CANCELLED;
    tell(put, put->outcome, has_items, NULL);
}

static void tell_later(struct put *put, enum sink_outcome outcome) {
    put->state = STATE_TELL;
    put->outcome = outcome;
    loop_defer(aws_world(put->aws)->loop, &put->task);
}

/* ---- credentials ---- */

static uint32_t time_left_ms(const struct put *put) {
    int64_t spent = mr_mono_diff_ms(loop_now(aws_world(put->aws)->loop), put->begun);
    int64_t left = (int64_t)put->request->timeout_ms - spent;
    return left > SECOND_MS ? (uint32_t)left : SECOND_MS;
}

/* Nothing will be sent: why there are no credentials. */
static void tell_no_credentials(struct put *put, enum aws_failure failure, const char *why) {
    snprintf(put->detail, sizeof put->detail, "%s", why);
    aws_credentials_unref(put->credentials);
    put->credentials = NULL;
    put->flown = (mr_mono){0};
    put->assume_ns = mr_mono_diff_ns(loop_now(aws_world(put->aws)->loop), put->begun);
    if (failure == AWS_FAILURE_CANCELLED) {
        put->outcome = SINK_CANCELLED;
    } else {
        put->outcome = SINK_ANSWERED;
        set_items(put, failure == AWS_FAILURE_THROTTLED
                           ? (struct sink_item){SINK_ITEM_THROTTLED, LANE_REASON_THROTTLED}
                           : (struct sink_item){SINK_ITEM_RETRY, LANE_REASON_CREDENTIALS});
    }
}

static void on_answer(void *ctx, const struct http_result *http);

static mr_err fly(struct put *put, struct aws_credentials *credentials) {
    struct sink_request *request = put->request;
    const struct stream *stream = stream_of(request);
    aws_credentials_unref(put->credentials);
    put->credentials = credentials;
    mr_mono now = loop_now(aws_world(put->aws)->loop);
    put->assume_ns = put->flown.ns == 0 ? mr_mono_diff_ns(now, put->begun) : put->assume_ns;
    put->flown = now;
    const struct aws_post post = {.endpoint = &stream->endpoint,
                                  .service = MR_STR("kinesis"),
                                  .region = stream->arn.region,
                                  .content_type = MR_STR("application/x-amz-json-1.1"),
                                  .target = MR_STR("Kinesis_20131202.PutRecords"),
                                  .body = mr_buf_view(&request->body),
                                  .pool_key = request->target->destination->object.number,
                                  .total_ms = time_left_ms(put),
                                  .body_kept_max = ANSWER_MAX,
                                  .is_suspect = request->is_suspect,
                                  .is_fresh = request->is_fresh,
                                  .on_done = on_answer,
                                  .ctx = put};
    mr_err err = aws_post_start(put->aws, credentials, &post, &request->call);
    put->state = mr_is_ok(err) ? STATE_FLY : STATE_IDLE;
    return err;
}

/* Not in a callback: on_done comes later where this is OK. */
static mr_err begin(struct put *put) {
    struct loop *loop = aws_world(put->aws)->loop;
    struct aws_credentials *credentials = NULL;
    enum aws_failure failure;
    const char *why;
    mr_str role = mr_buf_view(&stream_of(put->request)->role);
    switch (aws_assume(put->aws, role, &put->ticket, &credentials, &failure, &why)) {
    case AWS_GOT_CREDENTIALS:
        return fly(put, credentials);
    case AWS_GOT_TICKET:
        put->state = STATE_WAIT;
        loop_timer_set(loop, &put->timer, mr_mono_add_ms(loop_now(loop), time_left_ms(put)));
        return MR_OK;
    case AWS_GOT_FAILURE:
        tell_no_credentials(put, failure, why);
        tell_later(put, put->outcome);
        return MR_OK;
    }
    return MR_ERR(MR_E_INVALID);
}

static void on_credentials(struct aws_ticket *ticket, struct aws_credentials *credentials,
                           enum aws_failure failure, const char *why) {
    struct put *put = MR_CONTAINER(ticket, struct put, ticket);
    loop_timer_cancel(aws_world(put->aws)->loop, &put->timer);
    if (credentials != NULL) {
        if (mr_is_err(fly(put, credentials))) {
            tell(put, SINK_CANCELLED, false, NULL);
        }
        return;
    }
    tell_no_credentials(put, failure, why);
    tell(put, put->outcome, put->outcome != SINK_CANCELLED, NULL);
}

static void on_timer(struct loop_timer *timer) {
    struct put *put = MR_CONTAINER(timer, struct put, timer);
    aws_assume_cancel(put->aws, &put->ticket);
    tell_no_credentials(put, AWS_FAILURE_TROUBLE,
                        "no credentials of the role came within the destination's timeout");
    tell(put, put->outcome, true, NULL);
}

/* ---- answers ---- */

/* The same request once more, in a callback of the first. */
static void again(struct put *put) {
    if (mr_is_err(begin(put))) {
        tell(put, SINK_CANCELLED, false, NULL);
    }
}

/* Can what refused the call be mended by us? */
static bool mend(struct put *put, enum aws_error error, const struct http_result *http) {
    bool is_stale = error == AWS_ERROR_EXPIRED || error == AWS_ERROR_UNKNOWN_KEY;
    if (is_stale && !put->has_renewed) {
        put->has_renewed = true;
        aws_reject(put->aws, mr_buf_view(&stream_of(put->request)->role), put->credentials);
        return true;
    }
    if (error == AWS_ERROR_SIGNATURE && !put->has_corrected) {
        put->has_corrected = true;
        return aws_correct_clock(put->aws, http->fields);
    }
    return false;
}

static void on_error(struct put *put, const struct http_result *http) {
    struct stream *stream = stream_of(put->request);
    struct kinesis_said said;
    kinesis_error_read(&stream->tape, http->body,
                       mr_fields_find(http->fields, MR_STR("x-amzn-errortype")), &said);
    enum aws_error error = aws_error_of(mr_str_c(said.code));
    if (mend(put, error, http)) {
        again(put);
        return;
    }
    snprintf(put->detail, sizeof put->detail, "Kinesis answered %u %s: %s", http->status, said.code,
             said.message);
    struct sink_item item;
    bool has_items = kinesis_item_of(error, http->status, &item);
    if (has_items) {
        set_items(put, item);
    }
    tell(put, SINK_ANSWERED, has_items, http);
}

static void on_records(struct put *put, const struct http_result *http) {
    struct stream *stream = stream_of(put->request);
    struct kinesis_said said;
    size_t failed = 0;
    mr_err err = http->is_body_cut ? MR_ERR(MR_E_INVALID)
                                   : kinesis_answer_read(&stream->tape, http->body, put->items,
                                                         put->n, &failed, &said);
    if (mr_is_err(err)) {
        snprintf(put->detail, sizeof put->detail,
                 "Kinesis answered 200 with something that is no result of this request");
        tell(put, SINK_RESPONSE, false, http);
        return;
    }
    if (failed > 0) {
        snprintf(put->detail, sizeof put->detail,
                 "Kinesis refused %zu of %zu records, first %s: %s", failed, put->n_sent, said.code,
                 said.message);
    }
    tell(put, SINK_ANSWERED, true, http);
}

static void on_answer(void *ctx, const struct http_result *http) {
    struct put *put = ctx;
    put->request->call = NULL;
    put->detail[0] = '\0';
    if (http->failure != HTTP_FAIL_NONE) {
        snprintf(put->detail, sizeof put->detail, "%.*s", MR_FMT(http->detail));
        tell(put, sink_outcome_of(http), false, http);
    } else if (http->status == 200) {
        on_records(put, http);
    } else {
        on_error(put, http);
    }
}

/* ---- sending ---- */

static mr_err kinesis_send(const struct sink_env *env, struct sink_request *request) {
    (void)env;
    struct put *put = request->own;
    MR_ASSERT(put != NULL && put->state == STATE_IDLE);
    put->begun = loop_now(aws_world(put->aws)->loop);
    put->flown = (mr_mono){0};
    put->has_renewed = false;
    put->has_corrected = false;
    if (put->n_sent > 0) {
        return begin(put);
    }
    snprintf(put->detail, sizeof put->detail,
             "no record could be sent: each is larger than a stream takes");
    tell_later(put, SINK_ANSWERED);
    return MR_OK;
}

static void kinesis_cancel(struct sink_request *request) {
    struct put *put = request->own;
    if (put == NULL) {
        return;
    }
    switch (put->state) {
    case STATE_WAIT:
        aws_assume_cancel(put->aws, &put->ticket);
        loop_timer_cancel(aws_world(put->aws)->loop, &put->timer);
        tell_later(put, SINK_CANCELLED);
        break;
    case STATE_FLY:
        sink_call_cancel(request);
        break;
    case STATE_IDLE:
    case STATE_TELL:
        break;
    }
}

static void kinesis_recall(struct sink_request *request) {
    struct put *put = request->own;
    if (put != NULL && (put->state == STATE_WAIT || put->state == STATE_FLY)) {
        if (put->state == STATE_WAIT || !http_call_is_sent(request->call)) {
            kinesis_cancel(request);
        }
    }
}

/* ---- settings ---- */

static uint32_t kinesis_form(const struct model_destination *destination) {
    (void)destination;
    return 0; /* there is one */
}

static mr_str kinesis_method(uint32_t form) {
    (void)form;
    return MR_STR("POST");
}

static uint32_t kinesis_batch_max(const struct model_destination *destination) {
    uint32_t batch_max = destination->delivery.batch_max;
    return batch_max < KINESIS_RECORDS_MAX ? batch_max : KINESIS_RECORDS_MAX;
}

const struct sink_kind kinesis_kind = {
    .prepare = kinesis_prepare,
    .release = kinesis_release,
    .compose = kinesis_compose,
    .send = kinesis_send,
    .cancel = kinesis_cancel,
    .recall = kinesis_recall,
    .clear = kinesis_clear,
    .form = kinesis_form,
    .method = kinesis_method,
    .batch_max = kinesis_batch_max,
    .mixes_types = true,
};
