/* Error codes of AWS. See errors.h. */
#include "sink/aws/errors.h"

/* A code matches a row by its whole name, "Exception" at its end left out on both sides. */
static const struct {
    const char *name;
    enum aws_error error;
} rows[] = {
    {"ProvisionedThroughputExceeded", AWS_ERROR_THROTTLED},
    {"Throttling", AWS_ERROR_THROTTLED},
    {"Throttled", AWS_ERROR_THROTTLED},
    {"ThrottledRequest", AWS_ERROR_THROTTLED},
    {"RequestThrottled", AWS_ERROR_THROTTLED},
    {"LimitExceeded", AWS_ERROR_THROTTLED},
    {"RequestLimitExceeded", AWS_ERROR_THROTTLED},
    {"TooManyRequests", AWS_ERROR_THROTTLED},
    {"SlowDown", AWS_ERROR_THROTTLED},
    {"KMSThrottling", AWS_ERROR_THROTTLED},
    {"ResourceNotFound", AWS_ERROR_MISSING},
    {"AccessDenied", AWS_ERROR_DENIED},
    {"NotAuthorized", AWS_ERROR_DENIED},
    {"ExpiredToken", AWS_ERROR_EXPIRED},
    {"TokenRefreshRequired", AWS_ERROR_EXPIRED},
    {"UnrecognizedClient", AWS_ERROR_UNKNOWN_KEY},
    {"InvalidClientTokenId", AWS_ERROR_UNKNOWN_KEY},
    {"InvalidAccessKeyId", AWS_ERROR_UNKNOWN_KEY},
    {"MissingAuthenticationToken", AWS_ERROR_UNKNOWN_KEY},
    {"OptInRequired", AWS_ERROR_UNKNOWN_KEY},
    {"InvalidSignature", AWS_ERROR_SIGNATURE},
    {"SignatureDoesNotMatch", AWS_ERROR_SIGNATURE},
    {"IncompleteSignature", AWS_ERROR_SIGNATURE},
    {"RequestExpired", AWS_ERROR_SIGNATURE},
    {"RequestTimeTooSkewed", AWS_ERROR_SIGNATURE},
    {"InternalFailure", AWS_ERROR_INTERNAL},
    {"InternalServerError", AWS_ERROR_INTERNAL},
    {"InternalServer", AWS_ERROR_INTERNAL},
    {"InternalError", AWS_ERROR_INTERNAL},
    {"ServiceUnavailable", AWS_ERROR_INTERNAL},
    {"IDPCommunicationError", AWS_ERROR_INTERNAL},
    {"Validation", AWS_ERROR_BAD_REQUEST},
    {"ValidationError", AWS_ERROR_BAD_REQUEST},
    {"InvalidArgument", AWS_ERROR_BAD_REQUEST},
    {"Serialization", AWS_ERROR_BAD_REQUEST},
};

mr_str aws_error_code(mr_str text) {
    size_t hash = mr_str_find_byte(text, '#', 0);
    mr_str code = hash == SIZE_MAX ? text : mr_str_slice(text, hash + 1, text.len);
    return mr_str_slice(code, 0, mr_str_find_byte(code, ':', 0));
}

enum aws_error aws_error_of(mr_str text) {
    mr_str code = aws_error_code(text);
    const mr_str tail = MR_STR("Exception");
    mr_str name = mr_str_ends(code, tail) ? mr_str_slice(code, 0, code.len - tail.len) : code;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (mr_str_eq(name, mr_str_c(rows[i].name))) {
            return rows[i].error;
        }
    }
    return mr_str_starts(name, MR_STR("KMS")) ? AWS_ERROR_KMS : AWS_ERROR_UNKNOWN;
}

void aws_text_copy(mr_str text, char *out, size_t size) {
    size_t n = 0;
    for (size_t i = 0; i < text.len && n + 1 < size; i++) {
        char c = text.ptr[i];
        bool is_space = c == ' ' || c == '\t' || c == '\r' || c == '\n';
        if (is_space && (n == 0 || out[n - 1] == ' ')) {
            continue;
        }
        out[n++] = is_space ? ' ' : c > ' ' && c < 0x7f ? c : '?';
    }
    out[n] = '\0';
}
