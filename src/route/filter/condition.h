/* Conditions that a pattern sets on one scalar: equal, prefix, range, … and the exact comparing of
 * decimals. Private to route/filter/. */
#ifndef MR_ROUTE_FILTER_CONDITION_H
#define MR_ROUTE_FILTER_CONDITION_H

#include "base/buf.h"
#include "json/tape.h"

/* --- decimals ----------------------------------------------------------------------------------
 * A JSON number by value: digits (a point among them is skipped) without zeros at either end,
 * times a power of ten. Zero has no digits. Exponents beyond ±10^17 count as that. */
struct decimal {
    mr_str digits;
    int64_t exponent; /* the value is 0.d1d2d3… · 10^exponent */
    bool is_negative;
};
struct decimal decimal_of(mr_str json_number);
/* <0, 0, >0. O(digits). */
int decimal_cmp(const struct decimal *a, const struct decimal *b);
/* Its canonical text: "0", "12", "-5e-1", "3e2": whole digits without zeros at the end, and a power
 * of ten where it is not 0. MR_E_NOMEM, MR_E_LIMIT. */
mr_err decimal_append(const struct decimal *number, mr_buf *out);

/* --- scalars -----------------------------------------------------------------------------------*/

struct scalar {
    enum json_kind kind;   /* ABSENT, NULL, FALSE, TRUE, NUMBER, STRING */
    mr_str text;           /* of a string decoded, of a number as it came */
    struct decimal number; /* of a number */
};

enum condition_kind {
    CONDITION_EXACT = 0, /* `type`; of a string `text`, of a number `low` */
    CONDITION_EXISTS,
    CONDITION_ABSENT,
    CONDITION_PREFIX,
    CONDITION_SUFFIX,
    CONDITION_WILDCARD,
    CONDITION_RANGE, /* low, high */
    CONDITION_CIDR,
    CONDITION_STRINGS, /* `texts`, sorted: one of them */
};
#define CONDITION_NOT         1u /* anything-but: holds for every scalar for which it does not */
#define CONDITION_IGNORE_CASE 2u
#define CONDITION_LOW         4u /* RANGE: there is a lower bound */
#define CONDITION_LOW_OPEN    8u
#define CONDITION_HIGH        16u
#define CONDITION_HIGH_OPEN   32u
#define CONDITION_MORE        64u /* with NOT: the next condition is of the same anything-but */

struct condition {
    uint8_t kind; /* enum condition_kind */
    uint8_t flags;
    uint8_t type;        /* EXACT: enum json_kind */
    uint8_t prefix_bits; /* CIDR, of 128 */
    uint8_t address[16]; /* CIDR: IPv6, or IPv4 mapped into it */
    uint32_t texts_at;   /* STRINGS: into the program's texts, sorted, each once */
    uint32_t n_texts;
    mr_str text;        /* string; number as written; wildcard as written, escapes checked */
    struct decimal low; /* RANGE; EXACT number; digits point into the program */
    struct decimal high;
};

/* Whether the scalar satisfies the condition, CONDITION_NOT minded; MORE is the caller's. `texts`
 * are the program's. *work is raised by the bytes looked at beyond a usual few; what would raise it
 * past work_max is given up, with *work past it: not satisfied. */
bool condition_holds(const struct condition *condition, const mr_str *texts,
                     const struct scalar *scalar, size_t work_max, size_t *work);
/* Checks a wildcard's escapes and stars; false with what was expected. */
bool condition_wildcard_is_valid(mr_str text, const char **ret_expected);
/* An address of either family, IPv4 mapped into IPv6; false: it is none. */
bool address_read(mr_str text, uint8_t address[static 16]);
/* Reads "a.b.c.d/n" or "x::y/n" (RFC 4291 text forms) into a CIDR condition; false: it is none. */
bool condition_read_cidr(mr_str text, struct condition *ret_condition);

#endif
