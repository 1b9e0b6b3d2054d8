/* STS. See sts.h. */
#include "sink/aws/sts.h"

#include "sink/aws/errors.h"
#include "sink/aws/xml.h"

#define CREDENTIALS "AssumeRoleResponse/AssumeRoleResult/Credentials/"
#define TEXT_MAX    8192

/* As application/x-www-form-urlencoded writes it, a space as %20. */
static mr_err put_encoded(mr_buf *out, mr_str text) {
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        const char code[3] = {'%', digits[c >> 4], digits[c & 15]};
        MR_TRY(is_plain ? mr_buf_byte(out, (char)c) : mr_buf_append(out, code, sizeof code));
    }
    return MR_OK;
}

mr_err sts_assume_role_write(mr_str role_arn, mr_str external_id, mr_buf *out) {
    MR_TRY(mr_buf_printf(out,
                         "Action=AssumeRole&Version=2011-06-15&DurationSeconds=%d"
                         "&RoleSessionName=" STS_SESSION_NAME "&RoleArn=",
                         STS_DURATION_S));
    MR_TRY(put_encoded(out, role_arn));
    if (external_id.len == 0) {
        return MR_OK;
    }
    MR_TRY(mr_buf_str(out, MR_STR("&ExternalId=")));
    return put_encoded(out, external_id);
}

mr_err sts_assume_role_read(struct secret_slab *slab, mr_str xml,
                            struct aws_credentials **ret_credentials) {
    mr_buf texts[4];
    static const char *const paths[4] = {CREDENTIALS "AccessKeyId", CREDENTIALS "SecretAccessKey",
                                         CREDENTIALS "SessionToken", CREDENTIALS "Expiration"};
    struct xml_want wants[4];
    for (size_t i = 0; i < 4; i++) {
        mr_buf_init(&texts[i], TEXT_MAX);
        wants[i] = (struct xml_want){paths[i], &texts[i], false};
    }
    mr_err err = xml_read(xml, wants, 4);
    mr_wall expires = {0};
    if (mr_is_ok(err)) {
        bool has_all = wants[0].is_found && wants[1].is_found && wants[2].is_found &&
                       wants[3].is_found &&
                       mr_is_ok(mr_time_parse_rfc3339(mr_buf_view(&texts[3]), &expires));
        err = has_all ? aws_credentials_new(slab, mr_buf_view(&texts[0]), mr_buf_view(&texts[1]),
                                            mr_buf_view(&texts[2]), mr_wall_ms(expires),
                                            ret_credentials)
                      : MR_ERR(MR_E_INVALID);
    }
    for (size_t i = 0; i < 4; i++) {
        crypto_wipe(texts[i].ptr, texts[i].cap);
        mr_buf_done(&texts[i]);
    }
    return err;
}

void sts_problem_read(mr_str xml, struct sts_problem *ret_problem) {
    mr_buf code;
    mr_buf message;
    mr_buf_init(&code, TEXT_MAX);
    mr_buf_init(&message, TEXT_MAX);
    struct xml_want wants[2] = {{"ErrorResponse/Error/Code", &code, false},
                                {"ErrorResponse/Error/Message", &message, false}};
    *ret_problem = (struct sts_problem){{0}, {0}};
    if (mr_is_ok(xml_read(xml, wants, 2))) {
        aws_text_copy(mr_buf_view(&code), ret_problem->code, sizeof ret_problem->code);
        aws_text_copy(mr_buf_view(&message), ret_problem->message, sizeof ret_problem->message);
    }
    mr_buf_done(&code);
    mr_buf_done(&message);
}
