/* Settings of AWS Kinesis destinations.
 *
 * Nothing in them is a secret: an external id is no password. It is a name that the owner of the
 * role and the account here have agreed on, so that this service, which may assume the roles of
 * many customers, cannot be talked by one of them into using the role of another ("confused
 * deputy"). That holds only while no two accounts use the same one, which destinations/claims.c
 * keeps. Source: AWS, "Access to AWS accounts owned by third parties"; Kinesis, "PutRecords". */
#include "control/settings/parts.h"

#include "crypto/ids.h"
#include "json/pointer.h"
#include "model/arn.h"

#define RANDOM_BYTES 40 /* 80 hexadecimal digits */
#define KEY_BY_ID    "id"

static const struct shape_member members[] = {
    {"stream_arn", SHAPE_TEXT, SHAPE_NEEDED, 1, MODEL_ARN_BYTES_MAX,
     .what = "arn:aws:kinesis:REGION:ACCOUNT:stream/NAME"},
    {"role_arn", SHAPE_TEXT, SHAPE_NEEDED, 1, MODEL_ARN_BYTES_MAX,
     .what = "Role that may write to it: arn:aws:iam::ACCOUNT:role/NAME"},
    {"external_id", SHAPE_TEXT, 0, ARN_EXTERNAL_ID_MIN, ARN_EXTERNAL_ID_MAX,
     .what = "What the role's trust policy asks for; a random one where it is absent"},
    {"partition_key", SHAPE_TEXT, 0, 1, MODEL_POINTER_BYTES_MAX,
     .what = "id, or a JSON Pointer into the event"},
    SETTINGS_DELIVERY(MODEL_STREAM_BATCH_MAX, MODEL_STREAM_BYTES_MAX),
};
const struct shape settings_kinesis_shape = {"KinesisSettings", members,
                                             sizeof members / sizeof members[0]};

static mr_err parse_arns(json_value settings, mr_arena *arena, struct model_kinesis *out,
                         struct refusal *ret_refusal) {
    struct arn stream;
    struct arn role;
    MR_TRY(shape_text(settings, "stream_arn", arena, &out->stream_arn));
    MR_TRY(shape_text(settings, "role_arn", arena, &out->role_arn));
    enum arn_problem problem = arn_parse_stream(out->stream_arn, &stream);
    if (problem != ARN_OK) {
        return refuse(ret_refusal, REFUSAL_MALFORMED, "settings.stream_arn %s.",
                      arn_stream_problem_text(problem));
    }
    problem = arn_parse_role(out->role_arn, &role);
    if (problem != ARN_OK) {
        return refuse(ret_refusal, REFUSAL_MALFORMED, "settings.role_arn %s.",
                      arn_role_problem_text(problem));
    }
    if (stream.partition != role.partition) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "settings.role_arn is of partition %.*s and settings.stream_arn of %.*s: a "
                      "role reaches streams of its own partition only.",
                      MR_FMT(arn_partition_name(role.partition)),
                      MR_FMT(arn_partition_name(stream.partition)));
    }
    return MR_OK;
}

static mr_err parse_external_id(json_value settings, mr_arena *arena, struct model_kinesis *out,
                                struct refusal *ret_refusal) {
    MR_TRY(shape_text(settings, "external_id", arena, &out->external_id));
    if (mr_str_is_absent(out->external_id)) {
        uint8_t bytes[RANDOM_BYTES];
        char text[2 * RANDOM_BYTES];
        crypto_random(bytes, sizeof bytes);
        mr_hex_encode(bytes, sizeof bytes, text);
        out->external_id = mr_arena_str(arena, mr_str_of(text, sizeof text));
        return mr_str_is_absent(out->external_id) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    }
    if (!arn_external_id_is_valid(out->external_id)) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "settings.external_id must be %d to %d letters, digits and signs of "
                      "+=,.@:/-_.",
                      ARN_EXTERNAL_ID_MIN, ARN_EXTERNAL_ID_MAX);
    }
    return MR_OK;
}

static mr_err parse_partition_key(json_value settings, mr_arena *arena, struct model_kinesis *out,
                                  struct refusal *ret_refusal) {
    mr_str key = MR_STR(KEY_BY_ID);
    MR_TRY(shape_text(settings, "partition_key", arena, &key));
    if (mr_str_eq(key, MR_STR(KEY_BY_ID))) {
        return MR_OK; /* absent in the model */
    }
    if (!json_pointer_is_valid(key)) {
        return refuse(ret_refusal, REFUSAL_MALFORMED,
                      "settings.partition_key must be \"" KEY_BY_ID "\" or a JSON Pointer into the "
                      "event, such as /data/iccid.");
    }
    out->partition_key = key;
    return MR_OK;
}

mr_err settings_parse_kinesis(json_value settings, mr_arena *arena, struct model_settings *out,
                              struct refusal *ret_refusal) {
    struct model_settings parsed;
    model_settings_init(&parsed, MODEL_KIND_KINESIS);
    MR_TRY(parse_arns(settings, arena, &parsed.kinesis, ret_refusal));
    MR_TRY(parse_external_id(settings, arena, &parsed.kinesis, ret_refusal));
    MR_TRY(parse_partition_key(settings, arena, &parsed.kinesis, ret_refusal));
    MR_TRY(settings_parse_delivery(settings, &parsed.delivery, ret_refusal));
    *out = parsed;
    return MR_OK;
}

void settings_write_kinesis(const struct model_settings *settings, json_out *out) {
    const struct model_kinesis *kinesis = &settings->kinesis;
    json_out_member_str(out, "stream_arn", kinesis->stream_arn);
    json_out_member_str(out, "role_arn", kinesis->role_arn);
    json_out_member_str(out, "external_id", kinesis->external_id);
    json_out_member_str(out, "partition_key",
                        mr_str_is_absent(kinesis->partition_key) ? MR_STR(KEY_BY_ID)
                                                                 : kinesis->partition_key);
    settings_write_delivery(&settings->delivery, out);
}
