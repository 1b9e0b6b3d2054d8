/* Test events. See test_event.h.
 *
 * The request goes over a connection of its own, so that name, address, connect and TLS are really
 * tried each time, through the same sink as deliveries, so that what works here works there. */
#include "dispatch/test_event.h"

#include "base/mem.h"
#include "crypto/ids.h"
#include "deliver/lane.h"
#include "dispatch/testing/report.h"
#include "event/envelope.h"
#include "json/write.h"
#include "os/thread.h"

#include <stdio.h>

#define ENTRIES          1024
#define BODY_MAX         ((size_t)1 << 20)
#define REPORT_MAX       ((size_t)4 << 20)
#define STEP_ASSUME_ROLE "assume_role"
#define MINUTE_NS        (INT64_C(60) * MR_NS_PER_S)

struct test_limits {
    struct os_mutex mu;
    /* guarded by mu */
    int64_t taken_ns[ENTRIES][TEST_EVENTS_PER_MINUTE]; /* a ring by destination; 0: never */
    uint8_t at[ENTRIES];
};

mr_err test_limits_new(struct test_limits **ret_limits) {
    struct test_limits *limits = MR_NEW(struct test_limits);
    if (limits == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    os_mutex_init(&limits->mu);
    *ret_limits = limits;
    return MR_OK;
}

void test_limits_free(struct test_limits *limits) {
    if (limits != NULL) {
        os_mutex_done(&limits->mu);
        mr_free(limits);
    }
}

bool test_limits_take(struct test_limits *limits, uint32_t destination, mr_mono now,
                      int64_t *ret_wait_ms) {
    size_t row = destination % ENTRIES;
    os_mutex_lock(&limits->mu);
    int64_t *oldest = &limits->taken_ns[row][limits->at[row]];
    bool allowed = *oldest == 0 || now.ns - *oldest >= MINUTE_NS;
    if (allowed) {
        *oldest = now.ns;
        limits->at[row] = (uint8_t)((limits->at[row] + 1) % TEST_EVENTS_PER_MINUTE);
    } else {
        *ret_wait_ms = (MINUTE_NS - (now.ns - *oldest)) / MR_NS_PER_MS + 1;
    }
    os_mutex_unlock(&limits->mu);
    return allowed;
}

struct test_run {
    struct sink_request sink; /* first */
    struct test_spec spec;
    struct sink_target *target;
    mr_secret secret;
    mr_arena arena;
    char token[CRYPTO_UUID_SIZE];
    char event_id[CRYPTO_UUID_SIZE];
    struct loop_task failed; /* where nothing could be sent: answers later all the same */
    const char *why;
};

static void free_run(struct test_run *run) {
    sink_clear(&run->sink);
    sink_target_unref(run->target);
    mr_secret_unref(&run->secret);
    mr_buf_done(&run->sink.body);
    mr_arena_done(&run->arena);
    mr_free(run);
}

/* ---- the event ---- */

static mr_err write_event(struct test_run *run, mr_buf *out) {
    const struct test_spec *spec = &run->spec;
    char test_id[CRYPTO_UUID_SIZE];
    char time[MR_TIME_TEXT_SIZE];
    crypto_uuid4_make(test_id);
    mr_time_format_kore(run->sink.now, time);
    if (spec->type == NULL) {
        return mr_buf_printf(out,
                             "{\"data\":{\"test_id\":\"%s\"},\"id\":\"%s\",\"time\":\"%s\","
                             "\"type\":\"" EVENT_TEST_TYPE "\",\"source\":\"kore-events\","
                             "\"dataschema\":\"/schemas/" EVENT_TEST_SCHEMA "/1\","
                             "\"specversion\":\"1.0\",\"datacontenttype\":\"application/json\"}",
                             test_id, run->event_id, time);
    }
    return mr_buf_printf(out,
                         "{\"data\":%.*s,\"id\":\"%s\",\"time\":\"%s\",\"type\":\"%.*s\","
                         "\"source\":\"kore-events\",\"dataschema\":\"%.*s/schemas/%.*s/%u\","
                         "\"specversion\":\"1.0\",\"datacontenttype\":\"application/json\"}",
                         MR_FMT(spec->type->example), run->event_id, time, MR_FMT(spec->type->name),
                         MR_FMT(spec->public_url), MR_FMT(spec->type->schema), spec->type->latest);
}

static mr_err compose(struct test_run *run) {
    mr_buf event;
    mr_buf_init(&event, BODY_MAX);
    mr_err err = write_event(run, &event);
    if (mr_is_ok(err)) {
        /* The sink's fields may point into the envelope: it must live as long as the request. */
        mr_str envelope = mr_arena_str(&run->arena, mr_buf_view(&event));
        size_t used;
        err = mr_str_is_absent(envelope)
                  ? MR_ERR(MR_E_NOMEM)
                  : sink_compose(&run->sink, &envelope, 1, BODY_MAX, &run->arena, &used);
    }
    mr_buf_done(&event);
    return err;
}

/* ---- the report ---- */

/* What to do about a failed step of a stream. */
static const char *stream_hint(const struct sink_result *result, const char *step) {
    enum lane_reason reason =
        result->n_items > 0 ? (enum lane_reason)result->items[0].reason : LANE_REASON_NONE;
    if (strcmp(step, STEP_ASSUME_ROLE) == 0) {
        return "check role_arn, and that the role's trust policy lets this server's AWS identity "
               "assume it with the external id of this destination";
    }
    if (reason == LANE_REASON_STREAM_MISSING) {
        return "check name, region and account in stream_arn, and that the stream is active";
    }
    if (reason == LANE_REASON_ACCESS_DENIED) {
        return "give the role a policy that allows kinesis:PutRecord and kinesis:PutRecords on "
               "this "
               "stream";
    }
    if (reason == LANE_REASON_KMS) {
        return "let the role use the stream's KMS key (kms:GenerateDataKey), and check that the "
               "key "
               "is enabled";
    }
    if (reason == LANE_REASON_CREDENTIALS) {
        return "test again in a minute; if it stays, check that the role was not deleted or "
               "changed";
    }
    if (reason == LANE_REASON_THROTTLED) {
        return "the stream is at its limit: give it more shards, or on-demand capacity";
    }
    if (reason == LANE_REASON_INTERNAL) {
        return "AWS failed: test again, and look at AWS's health dashboard";
    }
    if (reason == LANE_REASON_RECORD_TOO_LARGE) {
        return "test with an event of at most 1 MiB, its partition key included";
    }
    return result->status == 0 || result->outcome != SINK_ANSWERED
               ? "let this server reach the endpoint of Kinesis in the stream's region"
               : "check stream_arn; the log of the server has more";
}

static void write_stream_steps(json_out *o, const struct sink_result *result,
                               struct test_verdict *verdict) {
    for (size_t i = 0; i < result->n_steps; i++) {
        const struct sink_step *step = &result->steps[i];
        mr_str detail = mr_str_is_absent(step->detail) ? MR_STR("no answer") : step->detail;
        verdict->step = step->name;
        verdict->ok = step->is_ok;
        if (!step->is_ok) {
            snprintf(verdict->detail, sizeof verdict->detail, "%.*s. What to do: %s",
                     MR_FMT(detail), stream_hint(result, step->name));
        } else if (i + 1 == result->n_steps) {
            snprintf(
                verdict->detail, sizeof verdict->detail,
                "Connection established, test event sent. Check that the stream has shards for "
                "what will come, and keeps records as long as its readers need");
        } else {
            snprintf(verdict->detail, sizeof verdict->detail, "%.*s", MR_FMT(detail));
        }
        test_report_step(o, step->name, step->is_ok, step->duration_ns, mr_str_c(verdict->detail));
    }
}

static void write_exchange(const struct test_run *run, const struct http_result *http,
                           json_out *o) {
    json_out_member_object(o, "request");
    json_out_member_str(o, "method", sink_method(run->target, run->sink.form));
    json_out_member_str(o, "url", run->target->url.text);
    json_out_member_c(o, "kore-idempotency-token", run->token);
    test_report_bytes(o, "body", mr_buf_view(&run->sink.body));
    json_out_end(o);
    test_report_response(o, http);
    json_out_member_c(o, "event_id", run->event_id);
}

/* result: NULL where nothing could be sent. */
static void write_verdict(json_out *o, const struct test_run *run, const struct sink_result *result,
                          struct test_verdict *verdict) {
    bool is_stream = run->target->destination->kind == MODEL_KIND_KINESIS;
    json_out_array(o);
    if (result != NULL && result->n_steps > 0) {
        write_stream_steps(o, result, verdict);
    } else if (result != NULL && result->http != NULL) {
        test_report_http(o, result->http, "test event sent", verdict);
    } else {
        mr_str why = result != NULL ? result->detail : mr_str_c(run->why);
        snprintf(verdict->detail, sizeof verdict->detail, "%.*s", MR_FMT(why));
        verdict->step = is_stream ? STEP_ASSUME_ROLE : "address";
        test_report_step(o, verdict->step, false, 0, mr_str_c(verdict->detail));
    }
    json_out_end(o);
}

static void report(struct test_run *run, const struct sink_result *result) {
    struct test_verdict verdict = {.ok = false};
    mr_buf steps;
    mr_buf json;
    mr_buf summary;
    mr_buf_init(&steps, REPORT_MAX);
    mr_buf_init(&json, REPORT_MAX);
    mr_buf_init(&summary, REPORT_MAX);
    json_out o;
    json_out_init(&o, &steps);
    write_verdict(&o, run, result, &verdict);
    mr_ignore(json_out_finish(&o), "checked by the whole's finish");
    json_out_init(&o, &json);
    json_out_object(&o);
    json_out_member_bool(&o, "ok", verdict.ok);
    json_out_member_raw(&o, "steps", mr_buf_view(&steps));
    write_exchange(run, result != NULL ? result->http : NULL, &o);
    json_out_end(&o);
    mr_err err = json_out_finish(&o);
    char date[MR_TIME_TEXT_SIZE];
    mr_time_format_ms(loop_wall(run->spec.loop), date);
    json_out_init(&o, &summary);
    json_out_object(&o);
    json_out_member_bool(&o, "ok", verdict.ok);
    json_out_member_c(&o, "step", verdict.step);
    json_out_member_c(&o, "detail", verdict.detail);
    json_out_member_c(&o, "date", date);
    json_out_end(&o);
    if (mr_is_err(json_out_finish(&o)) || mr_is_err(err)) {
        mr_buf_reset(&json);
        mr_buf_reset(&summary);
    }
    run->spec.on_done(run->spec.ctx, verdict.ok, mr_buf_view(&json), mr_buf_view(&summary));
    mr_buf_done(&steps);
    mr_buf_done(&json);
    mr_buf_done(&summary);
    free_run(run);
}

static void on_sent(struct sink_request *sink, const struct sink_result *result) {
    report((struct test_run *)(void *)sink, result);
}

static void on_failed(struct loop_task *task) {
    report(MR_CONTAINER(task, struct test_run, failed), NULL);
}

mr_err test_event_start(const struct test_spec *spec) {
    struct test_run *run = MR_NEW(struct test_run);
    if (run == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    run->spec = *spec;
    run->secret = mr_secret_ref(spec->secret);
    mr_arena_init(&run->arena, BODY_MAX);
    mr_buf_init(&run->sink.body, BODY_MAX);
    loop_task_init(&run->failed, on_failed);
    crypto_uuid4_make(run->token);
    crypto_uuid4_make(run->event_id);
    run->sink.now = loop_wall(spec->loop);
    run->sink.form = sink_form_of(spec->destination);
    mr_err err = sink_target_new(spec->env, spec->destination, &run->target);
    if (mr_is_ok(err)) {
        run->sink.target = run->target;
        err = compose(run);
    }
    if (mr_is_err(err)) {
        free_run(run);
        return MR_ERR(MR_E_NOMEM);
    }
    run->sink.secret = &run->secret;
    run->sink.token = run->token;
    run->sink.timeout_ms = spec->destination->delivery.timeout_ms;
    run->sink.is_fresh = true;
    run->sink.on_done = on_sent;
    run->why = "could not be sent: too many requests wait for a connection";
    if (mr_is_err(sink_send(spec->env, &run->sink, &run->why))) {
        loop_defer(spec->loop, &run->failed);
    }
    return MR_OK;
}
