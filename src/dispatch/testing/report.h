/* What tests of destinations and of callbacks tell, step by step, as JSON. */
#ifndef MR_DISPATCH_TESTING_REPORT_H
#define MR_DISPATCH_TESTING_REPORT_H

#include "http/client.h"
#include "json/write.h"

#define TEST_DETAIL_MAX 2048

/* What the last step says, and whether the whole went well. */
struct test_verdict {
    bool ok;
    const char *step; /* static */
    char detail[TEST_DETAIL_MAX];
};

/* One step. detail may be absent. */
void test_report_step(json_out *o, const char *name, bool ok, int64_t duration_ns, mr_str detail);
/* The steps of a HTTP call that apply. what: "test event sent", for people. Within its on_done. */
void test_report_http(json_out *o, const struct http_result *http, const char *what,
                      struct test_verdict *verdict);
/* Bytes of others as the member `name`; what is not UTF-8 as name_base64. */
void test_report_bytes(json_out *o, const char *name, mr_str bytes);
/* The member `response`: null where there is none. http may be NULL. */
void test_report_response(json_out *o, const struct http_result *http);

#endif
