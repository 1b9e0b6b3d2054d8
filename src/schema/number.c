/* Numbers by value, from their text, without loss and without work that grows with an exponent.
 * A number is its significant digits (which stay in the text) and the power of ten of the first:
 * two are compared by sign, power, then digit by digit; 1, 1.0 and 10e-1 have the same digits.
 *
 * multipleOf: a = A·10^p and b = B·10^q with integers A and B that do not end in 0. a is a multiple
 * of b where A·10^(p-q) is one of B. For p < q that cannot be, as 10 does not divide A. Else it is
 * the remainder of A, digit by digit, times 10^(p-q) by repeated squaring: B is below 10^18, so
 * that all of it fits 64 and 128 bits. */
#include "schema/private.h"

/* Far from overflow, far beyond the length of any text. */
#define EXPONENT_MAX INT64_C(1000000000000000000)

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static int64_t exponent_of(const char *p, const char *end) {
    bool negative = p < end && *p == '-';
    int64_t n = 0;
    if (p < end && (*p == '-' || *p == '+')) {
        p++;
    }
    for (; p < end && n < EXPONENT_MAX / 10; p++) {
        n = n * 10 + (*p - '0');
    }
    if (p < end) {
        n = EXPONENT_MAX;
    }
    return negative ? -n : n;
}

struct number number_of_text(mr_str text) {
    struct number number = {.text = text, .first = text.ptr};
    const char *p = text.ptr;
    const char *end = text.ptr + text.len;
    int64_t places = 0;   /* digits before the point, from the first significant one */
    uint32_t counted = 0; /* from the first significant digit */
    bool behind_point = false;
    if (p < end && *p == '-') {
        number.negative = true;
        p++;
    }
    for (; p < end && (is_digit(*p) || *p == '.'); p++) {
        if (*p == '.') {
            behind_point = true;
            continue;
        }
        if (counted == 0 && *p == '0') {
            places -= behind_point;
            continue;
        }
        if (counted == 0) {
            number.first = p;
        }
        counted++;
        places += !behind_point;
        if (*p != '0') {
            number.digits = counted;
        }
    }
    if (p < end) {
        places += exponent_of(p + 1, end);
    }
    number.exponent = number.digits == 0 ? 0 : places;
    number.negative = number.negative && number.digits > 0;
    return number;
}

/* The digit at *p, and *p behind it. */
static int take_digit(const char **p) {
    if (**p == '.') {
        (*p)++;
    }
    return *(*p)++ - '0';
}

static int compare_magnitudes(const struct number *a, const struct number *b) {
    if (a->digits == 0 || b->digits == 0) {
        return (a->digits > 0) - (b->digits > 0);
    }
    if (a->exponent != b->exponent) {
        return a->exponent < b->exponent ? -1 : 1;
    }
    const char *x = a->first;
    const char *y = b->first;
    uint32_t shared = a->digits < b->digits ? a->digits : b->digits;
    for (uint32_t i = 0; i < shared; i++) {
        int order = take_digit(&x) - take_digit(&y);
        if (order != 0) {
            return order;
        }
    }
    return (a->digits > b->digits) - (a->digits < b->digits);
}

int number_compare(const struct number *a, const struct number *b) {
    if (a->negative != b->negative) {
        return a->negative ? -1 : 1;
    }
    return a->negative ? compare_magnitudes(b, a) : compare_magnitudes(a, b);
}

__extension__ typedef unsigned __int128 wide;

static uint64_t multiply(uint64_t a, uint64_t b, uint64_t modulus) {
    return (uint64_t)((wide)a * b % modulus);
}

bool number_is_multiple(const struct number *n, const struct number *divisor) {
    MR_ASSERT(divisor->digits > 0 && divisor->digits <= MULTIPLE_DIGITS_MAX);
    if (n->digits == 0) {
        return true;
    }
    int64_t power = (n->exponent - n->digits) - (divisor->exponent - divisor->digits);
    if (power < 0) {
        return false;
    }
    uint64_t modulus = 0;
    const char *p = divisor->first;
    for (uint32_t i = 0; i < divisor->digits; i++) {
        modulus = modulus * 10 + (uint64_t)take_digit(&p);
    }
    uint64_t rest = 0;
    p = n->first;
    for (uint32_t i = 0; i < n->digits; i++) {
        rest = (rest * 10 + (uint64_t)take_digit(&p)) % modulus;
    }
    for (uint64_t factor = 10 % modulus; power > 0 && rest != 0; power >>= 1) {
        if (power & 1) {
            rest = multiply(rest, factor, modulus);
        }
        factor = multiply(factor, factor, modulus);
    }
    return rest == 0;
}

uint64_t number_hash(const struct number *n) {
    uint64_t h = ((uint64_t)n->exponent << 1 | n->negative) * UINT64_C(0x9E3779B97F4A7C15);
    const char *p = n->first;
    for (uint32_t i = 0; i < n->digits; i++) {
        h = (h ^ (uint64_t)take_digit(&p)) * UINT64_C(0xD6E8FEB86659FD93);
        h ^= h >> 32;
    }
    return h;
}
