/* ARNs of streams and roles: what passes, what is refused and why. */
#include "model/arn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define STREAM "arn:aws:kinesis:eu-central-1:111122223333:stream/"
#define ROLE   "arn:aws:iam::111122223333:role/"
#define X16    "xxxxxxxxxxxxxxxx"
#define X64    X16 X16 X16 X16

static void assert_str(mr_str got, const char *want) {
    if (!mr_str_eq(got, mr_str_c(want))) {
        fail_msg("got \"%.*s\", want \"%s\"", MR_FMT(got), want);
    }
}

struct row {
    const char *text;
    enum arn_problem problem;
};

static void streams_are_judged_part_by_part(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"", ARN_SHAPE},
        {"events", ARN_SHAPE},
        {"arn:aws:kinesis:eu-central-1:111122223333", ARN_SHAPE},
        {"ARN:aws:kinesis:eu-central-1:111122223333:stream/events", ARN_SHAPE},
        {" " STREAM "events", ARN_SHAPE},
        {"arn:azure:kinesis:eu-central-1:111122223333:stream/events", ARN_PARTITION},
        {"arn::kinesis:eu-central-1:111122223333:stream/events", ARN_PARTITION},
        {"arn:aws:firehose:eu-central-1:111122223333:deliverystream/events", ARN_SERVICE},
        {ROLE "events", ARN_SERVICE},
        {"arn:aws:kinesis::111122223333:stream/events", ARN_REGION},
        {"arn:aws:kinesis:frankfurt:111122223333:stream/events", ARN_REGION},
        {"arn:aws:kinesis:eu--central-1:111122223333:stream/events", ARN_REGION},
        {"arn:aws:kinesis:EU-central-1:111122223333:stream/events", ARN_REGION},
        {"arn:aws:kinesis:eu-central-1.evil.example/a-1:111122223333:stream/events", ARN_REGION},
        {"arn:aws:kinesis:cn-north-1:111122223333:stream/events", ARN_REGION},
        {"arn:aws-cn:kinesis:eu-central-1:111122223333:stream/events", ARN_REGION},
        {"arn:aws:kinesis:us-gov-west-1:111122223333:stream/events", ARN_REGION},
        {"arn:aws-us-gov:kinesis:us-west-1:111122223333:stream/events", ARN_REGION},
        {"arn:aws:kinesis:eu-central-1:11112222333:stream/events", ARN_ACCOUNT},
        {"arn:aws:kinesis:eu-central-1:1111222233334:stream/events", ARN_ACCOUNT},
        {"arn:aws:kinesis:eu-central-1::stream/events", ARN_ACCOUNT},
        {"arn:aws:kinesis:eu-central-1:11112222333a:stream/events", ARN_ACCOUNT},
        {"arn:aws:kinesis:eu-central-1:111122223333:streams/events", ARN_RESOURCE},
        {STREAM, ARN_RESOURCE},
        {STREAM "a/b", ARN_RESOURCE},
        {STREAM "a b", ARN_RESOURCE},
        {STREAM "a:b", ARN_RESOURCE},
        {STREAM "a\xc3\xa9", ARN_RESOURCE},
        {STREAM X64 X64 "x", ARN_RESOURCE},
        {STREAM X64 X64, ARN_OK},
        {STREAM "Events_1.of-them", ARN_OK},
        {"arn:aws-cn:kinesis:cn-northwest-1:111122223333:stream/e", ARN_OK},
        {"arn:aws-us-gov:kinesis:us-gov-east-1:111122223333:stream/e", ARN_OK},
        {"arn:aws:kinesis:ap-southeast-4:111122223333:stream/e", ARN_OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct arn arn;
        enum arn_problem problem = arn_parse_stream(mr_str_c(rows[i].text), &arn);
        if (problem != rows[i].problem) {
            fail_msg("%s: %d, want %d", rows[i].text, (int)problem, (int)rows[i].problem);
        }
    }
}

static void roles_are_judged_part_by_part(void **state) {
    (void)state;
    static const struct row rows[] = {
        {"millrace", ARN_SHAPE},
        {"arn:aws:iam::111122223333", ARN_SHAPE},
        {"arn:aws-iso:iam::111122223333:role/millrace", ARN_PARTITION},
        {"arn:aws:sts::111122223333:assumed-role/millrace/me", ARN_SERVICE},
        {STREAM "events", ARN_SERVICE},
        {"arn:aws:iam:eu-central-1:111122223333:role/millrace", ARN_REGION},
        {"arn:aws:iam::aws:role/millrace", ARN_ACCOUNT},
        {"arn:aws:iam::111122223333:user/millrace", ARN_RESOURCE},
        {"arn:aws:iam::111122223333:root", ARN_RESOURCE},
        {ROLE, ARN_RESOURCE},
        {ROLE "path/", ARN_RESOURCE},
        {ROLE "pa th/millrace", ARN_RESOURCE},
        {ROLE "mill:race", ARN_RESOURCE},
        {ROLE X64 "x", ARN_RESOURCE},
        {ROLE "a/b/" X64, ARN_OK},
        {ROLE "mill+race=1,2.3@4_5-6", ARN_OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct arn arn;
        enum arn_problem problem = arn_parse_role(mr_str_c(rows[i].text), &arn);
        if (problem != rows[i].problem) {
            fail_msg("%s: %d, want %d", rows[i].text, (int)problem, (int)rows[i].problem);
        }
    }
}

static void parts_are_slices_of_the_text(void **state) {
    (void)state;
    struct arn arn;
    assert_int_equal(arn_parse_stream(MR_STR(STREAM "events"), &arn), ARN_OK);
    assert_int_equal(arn.partition, ARN_AWS);
    assert_str(arn.region, "eu-central-1");
    assert_str(arn.account, "111122223333");
    assert_str(arn.name, "events");
    assert_int_equal(
        arn_parse_role(MR_STR("arn:aws-cn:iam::444455556666:role/of/us/millrace"), &arn), ARN_OK);
    assert_str(arn_partition_name(arn.partition), "aws-cn");
    assert_str(arn.region, "");
    assert_str(arn.account, "444455556666");
    assert_str(arn.name, "millrace");
}

static void every_problem_has_a_text_of_its_own(void **state) {
    (void)state;
    assert_string_equal(arn_stream_problem_text(ARN_OK), "");
    assert_string_equal(arn_role_problem_text(ARN_OK), "");
    for (int i = ARN_OK + 1; i < ARN_PROBLEM_COUNT; i++) {
        assert_memory_equal(arn_stream_problem_text((enum arn_problem)i), "must ", 5);
        assert_memory_equal(arn_role_problem_text((enum arn_problem)i), "must ", 5);
    }
}

static void external_ids_are_what_sts_takes(void **state) {
    (void)state;
    static char longest[ARN_EXTERNAL_ID_MAX + 1];
    memset(longest, 'x', sizeof longest);
    assert_true(arn_external_id_is_valid(mr_str_of(longest, ARN_EXTERNAL_ID_MAX)));
    assert_false(arn_external_id_is_valid(mr_str_of(longest, sizeof longest)));
    assert_true(arn_external_id_is_valid(MR_STR("a1")));
    assert_true(arn_external_id_is_valid(MR_STR("+=,.@:/-_")));
    assert_false(arn_external_id_is_valid(MR_STR("")));
    assert_false(arn_external_id_is_valid(MR_STR("a")));
    assert_false(arn_external_id_is_valid(MR_STR("a b")));
    assert_false(arn_external_id_is_valid(MR_STR("a\0b")));
    assert_false(arn_external_id_is_valid(MR_STR("a&b")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_are_judged_part_by_part),
        cmocka_unit_test(roles_are_judged_part_by_part),
        cmocka_unit_test(parts_are_slices_of_the_text),
        cmocka_unit_test(every_problem_has_a_text_of_its_own),
        cmocka_unit_test(external_ids_are_what_sts_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
