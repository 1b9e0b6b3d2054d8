/* Decimals compared exactly, however long, without arithmetic on them. See condition.h. */
#include "route/filter/condition.h"

#define EXPONENT_MAX INT64_C(100000000000000000)

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* The exponent behind `e`; saturates. */
static int64_t read_exponent(mr_str text) {
    bool is_negative = text.len > 0 && text.ptr[0] == '-';
    int64_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (is_digit(text.ptr[i]) && n < EXPONENT_MAX) {
            n = n * 10 + (text.ptr[i] - '0');
        }
    }
    n = n > EXPONENT_MAX ? EXPONENT_MAX : n;
    return is_negative ? -n : n;
}

struct decimal decimal_of(mr_str json_number) {
    mr_str text = json_number;
    struct decimal result = {.is_negative = text.len > 0 && text.ptr[0] == '-'};
    size_t at = result.is_negative ? 1 : 0;
    size_t end = at;
    while (end < text.len && (is_digit(text.ptr[end]) || text.ptr[end] == '.')) {
        end++;
    }
    int64_t exponent = end < text.len ? read_exponent(mr_str_slice(text, end + 1, text.len)) : 0;
    size_t point = mr_str_find_byte(mr_str_slice(text, 0, end), '.', at);
    point = point == SIZE_MAX ? end : point;
    while (at < end && (text.ptr[at] == '0' || text.ptr[at] == '.')) {
        at++;
    }
    while (end > at && (text.ptr[end - 1] == '0' || text.ptr[end - 1] == '.')) {
        end--;
    }
    if (at == end) {
        return (struct decimal){.digits = MR_STR("")};
    }
    /* Where the point stands relative to the first digit that counts. */
    int64_t before = at < point ? (int64_t)(point - at) : -(int64_t)(at - point - 1);
    result.digits = mr_str_slice(text, at, end);
    result.exponent = exponent + before;
    return result;
}

/* The next digit, the point skipped; '\0' behind the last. */
static char next_digit(mr_str digits, size_t *at) {
    if (*at < digits.len && digits.ptr[*at] == '.') {
        (*at)++;
    }
    return *at < digits.len ? digits.ptr[(*at)++] : '\0';
}

/* Compares the amounts of two that are not zero. */
static int compare_amounts(const struct decimal *a, const struct decimal *b) {
    if (a->exponent != b->exponent) {
        return a->exponent < b->exponent ? -1 : 1;
    }
    size_t at_a = 0;
    size_t at_b = 0;
    for (;;) {
        char digit_a = next_digit(a->digits, &at_a);
        char digit_b = next_digit(b->digits, &at_b);
        if (digit_a != digit_b) {
            return digit_a < digit_b ? -1 : 1; /* the end is below every digit */
        }
        if (digit_a == '\0') {
            return 0;
        }
    }
}

/* -1, 0, 1 */
static int sign_of(const struct decimal *number) {
    return number->digits.len == 0 ? 0 : number->is_negative ? -1 : 1;
}

int decimal_cmp(const struct decimal *a, const struct decimal *b) {
    int sign = sign_of(a);
    if (sign != sign_of(b)) {
        return sign < sign_of(b) ? -1 : 1;
    }
    return sign == 0 ? 0 : sign * compare_amounts(a, b);
}

mr_err decimal_append(const struct decimal *number, mr_buf *out) {
    if (number->digits.len == 0) {
        return mr_buf_byte(out, '0');
    }
    if (number->is_negative) {
        MR_TRY(mr_buf_byte(out, '-'));
    }
    int64_t n = 0;
    size_t at = 0;
    for (char digit; (digit = next_digit(number->digits, &at)) != '\0'; n++) {
        MR_TRY(mr_buf_byte(out, digit));
    }
    if (number->exponent == n) {
        return MR_OK;
    }
    MR_TRY(mr_buf_byte(out, 'e'));
    return mr_buf_i64(out, number->exponent - n);
}
