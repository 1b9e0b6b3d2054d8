/* Reports of tests. See report.h. */
#include "dispatch/testing/report.h"

#include "base/num.h"

#include <stdio.h>

#define REPORT_MAX ((size_t)4 << 20)

void test_report_step(json_out *o, const char *name, bool ok, int64_t duration_ns, mr_str detail) {
    json_out_object(o);
    json_out_member_c(o, "step", name);
    json_out_member_bool(o, "ok", ok);
    json_out_member_i64(o, "duration_ms", duration_ns / MR_NS_PER_MS);
    json_out_member_str(o, "detail", mr_str_is_absent(detail) ? MR_STR("") : detail);
    json_out_end(o);
}

static void judge_answer(const struct http_result *http, const char *what,
                         struct test_verdict *verdict) {
    if (http->status >= 200 && http->status < 300) {
        verdict->ok = true;
        snprintf(verdict->detail, sizeof verdict->detail, "Connection established, %s (status %u)",
                 what, http->status);
        return;
    }
    const char *hint = http->status >= 300 && http->status < 400
                           ? "redirects are not followed: configure the final URL"
                       : http->status == 401 || http->status == 403
                           ? "let these requests in, or check how their signature is handled"
                       : http->status == 404 || http->status == 405
                           ? "check path and method of the URL"
                           : "see the log of the receiver";
    snprintf(verdict->detail, sizeof verdict->detail,
             "The receiver answered %u; any 2xx counts as received. What to do: %s", http->status,
             hint);
}

void test_report_http(json_out *o, const struct http_result *http, const char *what,
                      struct test_verdict *verdict) {
    mr_buf text;
    mr_buf_init(&text, TEST_DETAIL_MAX);
    for (size_t i = 0; i < HTTP_STEP_COUNT; i++) {
        const struct http_step_report *step = &http->steps[i];
        if (step->state == HTTP_STEP_SKIPPED) {
            continue;
        }
        bool ok = step->state == HTTP_STEP_OK;
        mr_buf_reset(&text);
        mr_ignore(http_result_step_text(http, (enum http_step)i, &text), "a detail may be short");
        verdict->step = http_step_name((enum http_step)i);
        if (!ok) {
            MR_ASSERT(mr_str_to_c(mr_str_slice(mr_buf_view(&text), 0, TEST_DETAIL_MAX - 1),
                                  verdict->detail, sizeof verdict->detail));
        } else if (i == HTTP_STEP_RESPONSE && http->failure == HTTP_FAIL_NONE) {
            judge_answer(http, what, verdict);
            ok = verdict->ok;
            mr_buf_reset(&text);
            mr_ignore(mr_buf_str(&text, mr_str_c(verdict->detail)), "a detail may be short");
        }
        test_report_step(o, verdict->step, ok, step->duration_ns, mr_buf_view(&text));
    }
    mr_buf_done(&text);
}

/* Bytes of others as JSON text: what is not UTF-8 is shown as base64. */
void test_report_bytes(json_out *o, const char *name, mr_str bytes) {
    if (mr_str_is_utf8(bytes)) {
        json_out_member_str(o, name, mr_str_is_absent(bytes) ? MR_STR("") : bytes);
        return;
    }
    mr_buf text;
    mr_buf_init(&text, REPORT_MAX);
    mr_ignore(mr_base64_encode(bytes, &text), "shown short without memory");
    char base64_name[40];
    snprintf(base64_name, sizeof base64_name, "%s_base64", name);
    json_out_member_str(o, base64_name, mr_buf_view(&text));
    mr_buf_done(&text);
}

void test_report_response(json_out *o, const struct http_result *http) {
    if (http == NULL || http->status == 0) {
        json_out_member_null(o, "response");
        return;
    }
    json_out_member_object(o, "response");
    json_out_member_u64(o, "status", http->status);
    json_out_member_array(o, "headers"); /* a list: names may repeat */
    for (size_t i = 0; i < http->fields.len; i++) {
        const mr_field *field = &http->fields.ptr[i];
        if (mr_str_is_utf8(field->name) && mr_str_is_utf8(field->value)) {
            json_out_object(o);
            json_out_member_str(o, "name", field->name);
            json_out_member_str(o, "value", field->value);
            json_out_end(o);
        }
    }
    json_out_end(o);
    test_report_bytes(o, "body", http->body);
    json_out_end(o);
}
