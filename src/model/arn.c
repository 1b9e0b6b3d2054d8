/* Amazon Resource Names. See arn.h.
 *
 *   arn : partition : service : region : account : resource
 *
 * The resource is what is left, colons and all, and is judged by its kind. Nothing is normalised:
 * IAM compares these texts by bytes, so what the customer pasted is what is sent. */
#include "model/arn.h"

static const mr_str partition_names[] = {
    [ARN_AWS] = {"aws", 3}, [ARN_AWS_CN] = {"aws-cn", 6}, [ARN_AWS_US_GOV] = {"aws-us-gov", 10}};
#define N_PARTITIONS (sizeof partition_names / sizeof partition_names[0])

mr_str arn_partition_name(enum arn_partition partition) {
    return partition_names[partition];
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Letters, digits and the bytes of `more`. */
static bool is_made_of(mr_str text, const char *more) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!is_letter(c) && !is_digit(c) && (c == '\0' || strchr(more, c) == NULL)) {
            return false;
        }
    }
    return true;
}

bool arn_region_is_valid(mr_str region, enum arn_partition partition) {
    if (region.len < 6 || region.len > ARN_REGION_MAX || !is_letter(region.ptr[0]) ||
        !is_digit(region.ptr[region.len - 1])) {
        return false;
    }
    size_t hyphens = 0;
    for (size_t i = 0; i < region.len; i++) {
        char c = region.ptr[i];
        bool is_hyphen = c == '-' && region.ptr[i - 1] != '-';
        hyphens += is_hyphen ? 1 : 0;
        if (!is_hyphen && !(c >= 'a' && c <= 'z') && !is_digit(c)) {
            return false;
        }
    }
    bool is_cn = mr_str_starts(region, MR_STR("cn-"));
    bool is_gov = mr_str_starts(region, MR_STR("us-gov-"));
    return hyphens >= 2 && is_cn == (partition == ARN_AWS_CN) &&
           is_gov == (partition == ARN_AWS_US_GOV);
}

/* What both kinds share; *ret_service and *ret_resource are left for the caller to judge. */
static enum arn_problem parse(mr_str text, struct arn *ret_arn, mr_str *ret_service,
                              mr_str *ret_resource) {
    mr_str parts[5];
    mr_str rest = text;
    for (size_t i = 0; i < 5; i++) {
        if (!mr_str_split(&rest, ':', &parts[i])) {
            return ARN_SHAPE;
        }
    }
    if (!mr_str_eq(parts[0], MR_STR("arn")) || mr_str_is_absent(rest)) {
        return ARN_SHAPE;
    }
    size_t partition = 0;
    while (partition < N_PARTITIONS && !mr_str_eq(parts[1], partition_names[partition])) {
        partition++;
    }
    if (partition == N_PARTITIONS) {
        return ARN_PARTITION;
    }
    *ret_arn = (struct arn){
        .partition = (enum arn_partition)partition, .region = parts[3], .account = parts[4]};
    *ret_service = parts[2];
    *ret_resource = rest;
    return ARN_OK;
}

static bool is_account(mr_str account) {
    for (size_t i = 0; i < account.len; i++) {
        if (!is_digit(account.ptr[i])) {
            return false;
        }
    }
    return account.len == ARN_ACCOUNT_LEN;
}

enum arn_problem arn_parse_stream(mr_str text, struct arn *ret_arn) {
    struct arn arn;
    mr_str service;
    mr_str resource;
    enum arn_problem problem = parse(text, &arn, &service, &resource);
    if (problem != ARN_OK) {
        return problem;
    }
    if (!mr_str_eq(service, MR_STR("kinesis"))) {
        return ARN_SERVICE;
    }
    if (!arn_region_is_valid(arn.region, arn.partition)) {
        return ARN_REGION;
    }
    if (!is_account(arn.account)) {
        return ARN_ACCOUNT;
    }
    const mr_str prefix = MR_STR("stream/");
    arn.name = mr_str_slice(resource, prefix.len, resource.len);
    if (!mr_str_starts(resource, prefix) || arn.name.len < 1 || arn.name.len > ARN_STREAM_MAX ||
        !is_made_of(arn.name, "_.-")) {
        return ARN_RESOURCE;
    }
    *ret_arn = arn;
    return ARN_OK;
}

enum arn_problem arn_parse_role(mr_str text, struct arn *ret_arn) {
    struct arn arn;
    mr_str service;
    mr_str resource;
    enum arn_problem problem = parse(text, &arn, &service, &resource);
    if (problem != ARN_OK) {
        return problem;
    }
    if (!mr_str_eq(service, MR_STR("iam"))) {
        return ARN_SERVICE;
    }
    if (arn.region.len > 0) {
        return ARN_REGION;
    }
    if (!is_account(arn.account)) {
        return ARN_ACCOUNT;
    }
    const mr_str prefix = MR_STR("role/");
    if (!mr_str_starts(resource, prefix)) {
        return ARN_RESOURCE;
    }
    size_t name = prefix.len;
    for (size_t i = prefix.len; i < resource.len; i++) {
        unsigned char c = (unsigned char)resource.ptr[i];
        if (c <= ' ' || c >= 0x7f) {
            return ARN_RESOURCE;
        }
        name = c == '/' ? i + 1 : name;
    }
    arn.name = mr_str_slice(resource, name, resource.len);
    if (name - prefix.len > ARN_PATH_MAX - 1 || arn.name.len < 1 || arn.name.len > ARN_ROLE_MAX ||
        !is_made_of(arn.name, "+=,.@_-")) {
        return ARN_RESOURCE;
    }
    *ret_arn = arn;
    return ARN_OK;
}

const char *arn_stream_problem_text(enum arn_problem problem) {
    static const char *const texts[] = {
        [ARN_OK] = "",
        [ARN_SHAPE] =
            "must be an ARN such as arn:aws:kinesis:eu-central-1:111122223333:stream/events",
        [ARN_PARTITION] = "must be of the partition aws, aws-cn or aws-us-gov",
        [ARN_SERVICE] = "must be the ARN of a Kinesis data stream: arn:…:kinesis:…",
        [ARN_REGION] = "must name a region of its partition, such as eu-central-1",
        [ARN_ACCOUNT] = "must name an AWS account of twelve digits",
        [ARN_RESOURCE] = "must end in stream/ and a name of 1 to 128 letters, digits, _ . and -"};
    return texts[problem];
}

const char *arn_role_problem_text(enum arn_problem problem) {
    static const char *const texts[] = {
        [ARN_OK] = "",
        [ARN_SHAPE] = "must be an ARN such as arn:aws:iam::111122223333:role/millrace",
        [ARN_PARTITION] = "must be of the partition aws, aws-cn or aws-us-gov",
        [ARN_SERVICE] = "must be the ARN of an IAM role: arn:…:iam::…",
        [ARN_REGION] = "must not name a region: arn:aws:iam::111122223333:role/millrace",
        [ARN_ACCOUNT] = "must name an AWS account of twelve digits",
        [ARN_RESOURCE] = "must end in role/ and a name of 1 to 64 letters, digits and +=,.@_-"};
    return texts[problem];
}

bool arn_external_id_is_valid(mr_str text) {
    return text.len >= ARN_EXTERNAL_ID_MIN && text.len <= ARN_EXTERNAL_ID_MAX &&
           is_made_of(text, "+=,.@:/-_");
}
