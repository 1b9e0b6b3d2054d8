/* Error answers. See errors.h. */
#include "api/errors.h"

#include "json/write.h"

#include <stdio.h>

uint32_t api_error_code_of(enum auth_errors family, int status) {
    if (family == AUTH_ERRORS_CLIENTS) {
        uint32_t code = 40000u + (uint32_t)status;
        if (refusal_info((int)code) != NULL) {
            return code;
        }
    }
    if (status == 403) {
        return family == AUTH_ERRORS_SECRETS ? 30010 : 20006;
    }
    if (status == 405) {
        return 20004;
    }
    uint32_t code = 20000u + (uint32_t)status;
    return refusal_info((int)code) != NULL ? code : status >= 500 ? 20500 : 20400;
}

uint32_t api_error_code_in(enum auth_errors family, uint32_t code) {
    const struct refusal_info *info = refusal_info((int)code);
    bool is_plain = info != NULL && code == api_error_code_of(AUTH_ERRORS_PLAIN, info->status);
    return is_plain ? api_error_code_of(family, info->status) : code;
}

mr_err api_error_write(mr_str base_url, int status, uint32_t code, mr_str message, mr_str members,
                       mr_buf *out) {
    char url[512];
    snprintf(url, sizeof url, "%.*s/errors/%u", MR_FMT(mr_str_slice(base_url, 0, 400)), code);
    json_out o;
    json_out_init(&o, out);
    json_out_object(&o);
    json_out_member_i64(&o, "status", status);
    json_out_member_str(&o, "message", message);
    json_out_member_u64(&o, "code", code);
    json_out_member_c(&o, "info", url);
    json_out_member_c(&o, "more_info", url);
    json_out_end(&o);
    MR_TRY(json_out_finish(&o));
    if (members.len > 0) {
        out->len--;
        MR_TRY(mr_buf_byte(out, ','));
        MR_TRY(mr_buf_str(out, members));
        MR_TRY(mr_buf_byte(out, '}'));
    }
    return MR_OK;
}
