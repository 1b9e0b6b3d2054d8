/* What a call did, in words: names of steps and failures, and the text of each step for Test Event.
 * Made on demand within on_done, so that ordinary calls pay nothing for it. */
#include "http/call.h"

const char *http_step_name(enum http_step step) {
    switch (step) {
    case HTTP_STEP_NAME:
        return "name";
    case HTTP_STEP_ADDRESS:
        return "address";
    case HTTP_STEP_CONNECT:
        return "connect";
    case HTTP_STEP_TLS:
        return "tls";
    case HTTP_STEP_REQUEST:
        return "request";
    case HTTP_STEP_RESPONSE:
        return "response";
    case HTTP_STEP_COUNT:
        break;
    }
    return "";
}

const char *http_failure_name(enum http_failure failure) {
    switch (failure) {
    case HTTP_FAIL_NONE:
        return "";
    case HTTP_FAIL_NAME:
        return "name";
    case HTTP_FAIL_ADDRESS:
        return "address_refused";
    case HTTP_FAIL_CONNECT:
        return "connect";
    case HTTP_FAIL_TLS:
        return "tls";
    case HTTP_FAIL_REQUEST:
        return "request";
    case HTTP_FAIL_RESPONSE:
        return "response";
    case HTTP_FAIL_TIMEOUT:
        return "timeout";
    case HTTP_FAIL_CANCELLED:
        return "cancelled";
    }
    return "";
}

static mr_err list_addrs(const struct http_call *call, mr_buf *out) {
    for (size_t i = 0; i < call->n_addrs && i < HTTP_CALL_ADDRS_KEPT; i++) {
        char text[OS_ADDR_TEXT_SIZE];
        os_addr_format_ip(&call->addrs[i], text);
        MR_TRY(mr_buf_printf(out, "%s%s", i > 0 ? ", " : "", text));
    }
    return call->n_addrs > HTTP_CALL_ADDRS_KEPT ? mr_buf_str(out, MR_STR(", …")) : MR_OK;
}

mr_err http_result_step_text(const struct http_result *result, enum http_step step, mr_buf *out) {
    const struct http_call *call = result->call;
    char peer[OS_ADDR_TEXT_SIZE];
    MR_ASSERT(step < HTTP_STEP_COUNT);
    if (result->steps[step].state == HTTP_STEP_SKIPPED) {
        return MR_OK;
    }
    if (result->steps[step].state == HTTP_STEP_FAILED) {
        return mr_buf_str(out, result->detail);
    }
    switch (step) {
    case HTTP_STEP_NAME:
        MR_TRY(mr_buf_printf(out, "%.*s has %zu address%s: ", MR_FMT(call->url.host), call->n_addrs,
                             call->n_addrs == 1 ? "" : "es"));
        return list_addrs(call, out);
    case HTTP_STEP_ADDRESS:
        MR_TRY(list_addrs(call, out));
        return mr_buf_str(out, MR_STR(" may be reached"));
    case HTTP_STEP_CONNECT:
        os_addr_format(&call->peer_addr, peer);
        return mr_buf_printf(out, "connected to %s%s", peer,
                             call->client->proxy_guard != NULL ? " through the egress proxy" : "");
    case HTTP_STEP_TLS:
        return mr_buf_str(out, call->tls_text != NULL ? mr_str_c(call->tls_text->text)
                                                      : MR_STR("encrypted, certificate verified"));
    case HTTP_STEP_REQUEST:
        return mr_buf_printf(out, "%zu bytes sent", call->taken);
    case HTTP_STEP_RESPONSE:
        return mr_buf_printf(out, "%u %s", (unsigned)result->status, http_reason(result->status));
    case HTTP_STEP_COUNT:
        break;
    }
    return MR_OK;
}
