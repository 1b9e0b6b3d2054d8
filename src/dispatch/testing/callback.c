/* Tests of callbacks. See callback.h. */
#include "dispatch/testing/callback.h"

#include "base/mem.h"
#include "crypto/ids.h"
#include "dispatch/testing/report.h"

#include <stdio.h>

#define REPORT_MAX ((size_t)4 << 20)

struct callback_test {
    struct sink_callback sink;
    struct callback_test_spec spec;
    mr_secret secret;
    char token[CRYPTO_UUID_SIZE];
    struct loop_task failed; /* where nothing could be sent: answers later all the same */
    const char *why;
};

static void write_steps(json_out *o, const struct callback_test *test,
                        const struct http_result *http, struct test_verdict *verdict) {
    json_out_array(o);
    if (http != NULL) {
        test_report_http(o, http, "callback sent", verdict);
    } else {
        snprintf(verdict->detail, sizeof verdict->detail, "%s", test->why);
        test_report_step(o, "address", false, 0, mr_str_c(verdict->detail));
    }
    json_out_end(o);
}

static void write_request(json_out *o, const struct callback_test *test) {
    json_out_member_object(o, "request");
    json_out_member_c(o, "method", test->spec.is_get ? "GET" : "POST");
    json_out_member_str(o, "url", test->spec.url);
    json_out_member_c(o, "kore-idempotency-token", test->token);
    test_report_bytes(o, test->spec.is_get ? "query" : "body", test->spec.body);
    json_out_end(o);
}

/* http: NULL where nothing could be sent. */
static void report(struct callback_test *test, const struct http_result *http) {
    struct test_verdict verdict = {.ok = false};
    mr_buf steps;
    mr_buf json;
    mr_buf_init(&steps, REPORT_MAX);
    mr_buf_init(&json, REPORT_MAX);
    json_out o;
    json_out_init(&o, &steps);
    write_steps(&o, test, http, &verdict);
    mr_err err = json_out_finish(&o);
    json_out_init(&o, &json);
    json_out_object(&o);
    json_out_member_bool(&o, "ok", verdict.ok);
    json_out_member_raw(&o, "steps", mr_buf_view(&steps));
    write_request(&o, test);
    test_report_response(&o, http);
    json_out_end(&o);
    if (mr_is_err(json_out_finish(&o)) || mr_is_err(err)) {
        mr_buf_reset(&json);
    }
    test->spec.on_done(test->spec.ctx, mr_buf_view(&json));
    mr_buf_done(&steps);
    mr_buf_done(&json);
    mr_secret_unref(&test->secret);
    mr_free(test);
}

static void on_done(struct sink_callback *sink, const struct http_result *http) {
    report(MR_CONTAINER(sink, struct callback_test, sink), http);
}

static void on_failed(struct loop_task *task) {
    report(MR_CONTAINER(task, struct callback_test, failed), NULL);
}

mr_err callback_test_start(const struct callback_test_spec *spec) {
    struct callback_test *test = MR_NEW(struct callback_test);
    if (test == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    test->spec = *spec;
    test->secret = mr_secret_ref(spec->secret);
    loop_task_init(&test->failed, on_failed);
    crypto_uuid4_make(test->token);
    test->sink = (struct sink_callback){.url = spec->url,
                                        .is_get = spec->is_get,
                                        .is_json = spec->is_json,
                                        .body = spec->body,
                                        .secret = &test->secret,
                                        .token = test->token,
                                        .now = loop_wall(spec->loop),
                                        .pool_key = spec->pool_key,
                                        .is_fresh = true,
                                        .on_done = on_done};
    test->why = "could not be sent: too many requests wait for a connection";
    if (mr_is_err(sink_callback_send(spec->env, &test->sink, &test->why))) {
        loop_defer(spec->loop, &test->failed);
    }
    return MR_OK;
}
