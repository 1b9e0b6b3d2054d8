/* What AWS's services answer, read: XML of STS, JSON of credentials and of PutRecords; and what we
 * ask. Wrong answers first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "deliver/lane.h"
#include "sink/aws/endpoint.h"
#include "sink/aws/errors.h"
#include "sink/aws/sts.h"
#include "sink/aws/xml.h"
#include "sink/kinesis/answer.h"

static void assert_str(mr_str got, const char *want) {
    if (!mr_str_eq(got, mr_str_c(want))) {
        fail_msg("got \"%.*s\", want \"%s\"", MR_FMT(got), want);
    }
}

/* ---- XML ---- */

static mr_err read_one(const char *document, const char *path, mr_buf *out, bool *ret_is_found) {
    struct xml_want want = {path, out, false};
    mr_buf_reset(out);
    mr_err err = xml_read(mr_str_c(document), &want, 1);
    *ret_is_found = want.is_found;
    return err;
}

static void what_is_not_well_formed_is_refused(void **state) {
    (void)state;
    static const char *const documents[] = {
        "",
        "   ",
        "text",
        "<a>",
        "</a>",
        "<a></b>",
        "<a><b></a></b>",
        "<a/><b/>",
        "<a/>text",
        "x<a/>",
        "<a",
        "<a b></a>",
        "<a b=c></a>",
        "<a b='c></a>",
        "<a b='1'c='2'/>",
        "<a b='<'/>",
        "< a/>",
        "<1a/>",
        "<a:/>",
        "<a>&unknown;</a>",
        "<a>&lt</a>",
        "<a>&#0;</a>",
        "<a>&#xD800;</a>",
        "<a>&#x110000;</a>",
        "<a>&#99999999999;</a>",
        "<a>&#;</a>",
        "<a>&#x;</a>",
        "<a>&#1f;</a>",
        "<a>]]></a>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        "<a><!-- no --></a>",
        "<a><![CDATA[no]]></a>",
        "<a><?php ?></a>",
        "<?xml version='1.0'<a/>",
        "<a/><?xml version='1.0'?>",
        "<a>\xff</a>",
    };
    mr_buf out;
    mr_buf_init(&out, 100);
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
        bool is_found;
        mr_err err = read_one(documents[i], "a", &out, &is_found);
        if (!mr_err_is(err, MR_E_INVALID)) {
            fail_msg("%s: %u", documents[i], err.code);
        }
    }
    mr_buf_done(&out);
}

static void texts_are_found_by_their_path_and_decoded(void **state) {
    (void)state;
    static const struct {
        const char *document, *path, *text;
    } rows[] = {
        {"<a>x</a>", "a", "x"},
        {"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a> x </a>\n", "a", "x"},
        {"<a xmlns='urn:x' b = \"&gt;\"><b/><c>1</c></a>", "a/c", "1"},
        {"<n:a xmlns:n='urn:x'><n:c>1</n:c></n:a>", "a/c", "1"},
        {"<a><b><c>no</c></b><c>yes</c></a>", "a/c", "yes"},
        {"<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x42;&#x20AC;</a>", "a", "<>&\"'AB\xe2\x82\xac"},
        {"<a\n>\xc3\xbc</a\n>", "a", "\xc3\xbc"},
        {"<a><c/></a>", "a/c", ""},
    };
    mr_buf out;
    mr_buf_init(&out, 100);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool is_found;
        assert_true(mr_is_ok(read_one(rows[i].document, rows[i].path, &out, &is_found)));
        assert_true(is_found);
        assert_str(mr_buf_view(&out), rows[i].text);
    }
    bool is_found;
    assert_true(mr_is_ok(read_one("<a><b/></a>", "a/c", &out, &is_found)));
    assert_false(is_found);
    assert_true(
        mr_err_is(read_one("<a><c>1</c><c>2</c></a>", "a/c", &out, &is_found), MR_E_INVALID));
    assert_true(mr_err_is(read_one("<a><c>1<d/></c></a>", "a/c", &out, &is_found), MR_E_INVALID));
    mr_buf_done(&out);
}

static void depth_length_and_texts_are_bounded(void **state) {
    (void)state;
    mr_buf document;
    mr_buf out;
    mr_buf_init(&document, XML_BYTES_MAX + 100);
    mr_buf_init(&out, 8);
    for (int i = 0; i <= XML_DEPTH_MAX; i++) {
        assert_true(mr_is_ok(mr_buf_str(&document, MR_STR("<a>"))));
    }
    assert_true(mr_err_is(xml_read(mr_buf_view(&document), NULL, 0), MR_E_LIMIT));
    mr_buf_reset(&document);
    assert_true(mr_is_ok(mr_buf_str(&document, MR_STR("<a>"))));
    while (document.len <= XML_BYTES_MAX) {
        assert_true(mr_is_ok(mr_buf_byte(&document, ' ')));
    }
    assert_true(mr_err_is(xml_read(mr_buf_view(&document), NULL, 0), MR_E_LIMIT));
    bool is_found;
    assert_true(mr_err_is(read_one("<a>123456789</a>", "a", &out, &is_found), MR_E_LIMIT));
    mr_buf_done(&document);
    mr_buf_done(&out);
}

/* ---- STS ---- */

#define ANSWER(key, secret, token, end)                                                            \
    "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>"   \
    "<AssumedRoleUser><Arn>x</Arn></AssumedRoleUser><Credentials>" key secret token end            \
    "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
#define KEY    "<AccessKeyId>ASIA1</AccessKeyId>"
#define SECRET "<SecretAccessKey>s/+=</SecretAccessKey>"
#define TOKEN  "<SessionToken>t/+==</SessionToken>"
#define END    "<Expiration>2026-01-01T00:00:00Z</Expiration>"

static void credentials_of_sts_are_read_whole_or_not_at_all(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",
        "<AssumeRoleResponse/>",
        ANSWER("", SECRET, TOKEN, END),
        ANSWER(KEY, "", TOKEN, END),
        ANSWER(KEY, SECRET, "", END),
        ANSWER(KEY, SECRET, TOKEN, ""),
        ANSWER(KEY, SECRET, TOKEN, "<Expiration>tomorrow</Expiration>"),
        ANSWER("<AccessKeyId></AccessKeyId>", SECRET, TOKEN, END),
        ANSWER("<AccessKeyId>A B</AccessKeyId>", SECRET, TOKEN, END),
        ANSWER("<AccessKeyId>A&#10;x: y</AccessKeyId>", SECRET, TOKEN, END),
        ANSWER("<AccessKeyId>A/x</AccessKeyId>", SECRET, TOKEN, END),
        ANSWER(KEY, SECRET, "<SessionToken>t&#13;&#10;x: y</SessionToken>", END),
        ANSWER(KEY KEY, SECRET, TOKEN, END),
        ANSWER(KEY, SECRET, TOKEN, END) "<x/>",
    };
    struct secret_slab *slab;
    struct aws_credentials *credentials = NULL;
    assert_true(mr_is_ok(secret_slab_new(1 << 20, &slab)));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        mr_err err = sts_assume_role_read(slab, mr_str_c(wrong[i]), &credentials);
        if (!mr_err_is(err, MR_E_INVALID)) {
            fail_msg("%s: %u", wrong[i], err.code);
        }
    }
    assert_true(mr_is_ok(
        sts_assume_role_read(slab, MR_STR(ANSWER(KEY, SECRET, TOKEN, END)), &credentials)));
    assert_string_equal(credentials->access_key, "ASIA1");
    assert_str(mr_secret_reveal(credentials->secret_key), "s/+=");
    assert_str(mr_secret_reveal(credentials->session_token), "t/+==");
    assert_int_equal(credentials->expires_ms, INT64_C(1767225600000));
    aws_credentials_unref(credentials);
    for (uint64_t i = 1; i < 100; i++) {
        mr_alloc_fail_at(i);
        mr_err err =
            sts_assume_role_read(slab, MR_STR(ANSWER(KEY, SECRET, TOKEN, END)), &credentials);
        mr_alloc_fail_at(0);
        if (mr_is_ok(err)) {
            aws_credentials_unref(credentials);
            break;
        }
        assert_true(mr_err_is(err, MR_E_NOMEM));
    }
    secret_slab_free(slab);
}

static void the_form_for_sts_is_encoded(void **state) {
    (void)state;
    mr_buf out;
    mr_buf_init(&out, 4096);
    assert_true(mr_is_ok(sts_assume_role_write(MR_STR("arn:aws:iam::111122223333:role/a+b"),
                                               MR_STR("x=,&/ y"), &out)));
    assert_str(mr_buf_view(&out),
               "Action=AssumeRole&Version=2011-06-15&DurationSeconds=3600&RoleSessionName=millrace"
               "&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fa%2Bb&ExternalId=x%3D%2C%26%2F"
               "%20y");
    mr_buf_done(&out);
}

static void refusals_of_sts_are_read_for_people(void **state) {
    (void)state;
    struct sts_problem problem;
    sts_problem_read(
        MR_STR("<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
               "<Message>\n User: x\n\n is \xc3\xbc\x1b not\t allowed </Message></Error>"
               "</ErrorResponse>"),
        &problem);
    assert_string_equal(problem.code, "AccessDenied");
    assert_string_equal(problem.message, "User: x is ??? not allowed");
    sts_problem_read(MR_STR("<html>"), &problem);
    assert_string_equal(problem.code, "");
}

/* ---- credentials as JSON ---- */

static void credentials_as_json_are_read_whole_or_not_at_all(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",
        "null",
        "[]",
        "{}",
        "{\"Code\":\"Failed\",\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":\"t\","
        "\"Expiration\":\"2026-01-01T00:00:00Z\"}",
        "{\"AccessKeyId\":1,\"SecretAccessKey\":\"s\",\"Token\":\"t\","
        "\"Expiration\":\"2026-01-01T00:00:00Z\"}",
        "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"\",\"Token\":\"t\","
        "\"Expiration\":\"2026-01-01T00:00:00Z\"}",
        "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":\"t\",\"Expiration\":\"soon\"}",
        "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":\"a\\u0000b\","
        "\"Expiration\":\"2026-01-01T00:00:00Z\"}",
    };
    struct secret_slab *slab;
    struct aws_credentials *credentials = NULL;
    assert_true(mr_is_ok(secret_slab_new(1 << 20, &slab)));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_true(
            mr_err_is(aws_credentials_read(slab, mr_str_c(wrong[i]), &credentials), MR_E_INVALID));
    }
    assert_true(mr_is_ok(aws_credentials_read(
        slab,
        MR_STR("{\"Code\":\"Success\",\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\\/\","
               "\"Token\":\"t\",\"Expiration\":\"2026-01-01T00:00:00Z\"}"),
        &credentials)));
    assert_str(mr_secret_reveal(credentials->secret_key), "s/");
    aws_credentials_unref(credentials);
    secret_slab_free(slab);
}

/* ---- PutRecords ---- */

static void results_are_put_to_the_records_that_were_sent(void **state) {
    (void)state;
    struct sink_item items[4] = {{SINK_ITEM_OK, 0},
                                 {SINK_ITEM_PERMANENT, LANE_REASON_RECORD_TOO_LARGE},
                                 {SINK_ITEM_OK, 0},
                                 {SINK_ITEM_OK, 0}};
    json_tape tape;
    size_t failed = 0;
    struct kinesis_said said;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    assert_true(mr_is_ok(kinesis_answer_read(
        &tape,
        MR_STR("{\"FailedRecordCount\":1,\"EncryptionType\":\"KMS\",\"Records\":["
               "{\"SequenceNumber\":\"1\",\"ShardId\":\"s\",\"ErrorCode\":null},"
               "{\"ErrorCode\":\"InternalFailure\",\"ErrorMessage\":\"x\"},"
               "{\"SequenceNumber\":\"2\",\"ShardId\":\"s\"}]}"),
        items, 4, &failed, &said)));
    static const struct sink_item want[4] = {{SINK_ITEM_OK, 0},
                                             {SINK_ITEM_PERMANENT, LANE_REASON_RECORD_TOO_LARGE},
                                             {SINK_ITEM_RETRY, LANE_REASON_INTERNAL},
                                             {SINK_ITEM_OK, 0}};
    assert_memory_equal(items, want, sizeof want);
    assert_int_equal(failed, 1);
    assert_string_equal(said.code, "InternalFailure");
    assert_string_equal(said.message, "x");
    json_tape_done(&tape);
}

static void an_answer_that_does_not_fit_changes_nothing(void **state) {
    (void)state;
#define R "{\"SequenceNumber\":\"1\",\"ShardId\":\"s\"}"
    static const char *const wrong[] = {
        "",
        "x",
        "[]",
        "{}",
        "{\"Records\":\"\"}",
        "{\"Records\":[]}",
        "{\"Records\":[" R "]}",
        "{\"Records\":[" R "," R "," R "]}",
        "{\"FailedRecordCount\":1,\"Records\":[" R "," R "]}",
        "{\"FailedRecordCount\":-1,\"Records\":[" R "," R "]}",
        "{\"FailedRecordCount\":\"0\",\"Records\":[" R "," R "]}",
        "{\"FailedRecordCount\":0,\"Records\":[" R ",{\"ErrorCode\":\"X\"}]}",
        "{\"Records\":[" R ",{\"ErrorCode\":7}]}",
        "{\"Records\":[" R ",{\"ErrorCode\":\"\"}]}",
        "{\"Records\":[" R ",{\"SequenceNumber\":\"1\"}]}",
        "{\"Records\":[" R ",{\"ShardId\":\"s\"}]}",
        "{\"Records\":[" R ",{\"SequenceNumber\":1,\"ShardId\":\"s\"}]}",
        "{\"Records\":[" R ",[]]}",
        "{\"Records\":[" R "," R "],\"Records\":[]}",
    };
#undef R
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct sink_item items[2] = {{SINK_ITEM_OK, 0}, {SINK_ITEM_OK, 0}};
        static const struct sink_item same[2] = {{SINK_ITEM_OK, 0}, {SINK_ITEM_OK, 0}};
        size_t failed;
        struct kinesis_said said;
        mr_err err = kinesis_answer_read(&tape, mr_str_c(wrong[i]), items, 2, &failed, &said);
        if (!mr_err_is(err, MR_E_INVALID) || memcmp(items, same, sizeof same) != 0) {
            fail_msg("%s", wrong[i]);
        }
    }
    json_tape_done(&tape);
}

static void codes_are_known_with_and_without_their_dress(void **state) {
    (void)state;
    static const struct {
        const char *code;
        enum aws_error error;
    } rows[] = {
        {"ExpiredTokenException", AWS_ERROR_EXPIRED},
        {"ExpiredToken", AWS_ERROR_EXPIRED},
        {"com.amazonaws.kinesis.v20131202#ResourceNotFoundException", AWS_ERROR_MISSING},
        {"AccessDeniedException:http://internal.amazon.com/", AWS_ERROR_DENIED},
        {"KMSOptInRequired", AWS_ERROR_KMS},
        {"KMSThrottlingException", AWS_ERROR_THROTTLED},
        {"InternalFailureException", AWS_ERROR_INTERNAL},
        {"ExpiredIteratorException", AWS_ERROR_UNKNOWN},
        {"", AWS_ERROR_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(aws_error_of(mr_str_c(rows[i].code)), rows[i].error);
    }
}

/* ---- endpoints ---- */

static void endpoints_follow_partition_and_region_unless_named(void **state) {
    (void)state;
    static const struct {
        const char *service, *region, *override, *host;
        enum arn_partition partition;
    } rows[] = {
        {"kinesis", "eu-central-1", NULL, "kinesis.eu-central-1.amazonaws.com", ARN_AWS},
        {"sts", "cn-north-1", NULL, "sts.cn-north-1.amazonaws.com.cn", ARN_AWS_CN},
        {"kinesis", "us-gov-west-1", NULL, "kinesis.us-gov-west-1.amazonaws.com", ARN_AWS_US_GOV},
        {"kinesis", "eu-central-1", "http://127.0.0.1:4567", "127.0.0.1:4567", ARN_AWS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct aws_endpoint endpoint;
        assert_true(mr_is_ok(aws_endpoint_init(&endpoint, mr_str_c(rows[i].service),
                                               mr_str_c(rows[i].region), rows[i].partition,
                                               mr_str_c(rows[i].override))));
        assert_str(endpoint.url.host_header, rows[i].host);
        assert_int_equal(endpoint.is_operators, rows[i].override != NULL);
        assert_int_equal(endpoint.url.is_https, rows[i].override == NULL);
    }
    struct aws_endpoint endpoint;
    assert_true(mr_err_is(aws_endpoint_init(&endpoint, MR_STR("sts"), MR_STR("eu-central-1"),
                                            ARN_AWS, MR_STR("ftp://x")),
                          MR_E_INVALID));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_well_formed_is_refused),
        cmocka_unit_test(texts_are_found_by_their_path_and_decoded),
        cmocka_unit_test(depth_length_and_texts_are_bounded),
        cmocka_unit_test(credentials_of_sts_are_read_whole_or_not_at_all),
        cmocka_unit_test(the_form_for_sts_is_encoded),
        cmocka_unit_test(refusals_of_sts_are_read_for_people),
        cmocka_unit_test(credentials_as_json_are_read_whole_or_not_at_all),
        cmocka_unit_test(results_are_put_to_the_records_that_were_sent),
        cmocka_unit_test(an_answer_that_does_not_fit_changes_nothing),
        cmocka_unit_test(codes_are_known_with_and_without_their_dress),
        cmocka_unit_test(endpoints_follow_partition_and_region_unless_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
