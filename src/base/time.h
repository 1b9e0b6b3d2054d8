/* Monotonic and wall time as different types, so that they cannot be mixed. Only os/ makes them
 * (os_mono_now, os_wall_now); one `now` per loop turn. All in nanoseconds. Formatting and parsing
 * of the forms that go over the wire. */
#ifndef MR_BASE_TIME_H
#define MR_BASE_TIME_H

#include "base/err.h"
#include "base/str.h"

/* Since an arbitrary start; never steps back. */
typedef struct mr_mono {
    int64_t ns;
} mr_mono;

/* Since 1970-01-01T00:00:00Z; may step. */
typedef struct mr_wall {
    int64_t ns;
} mr_wall;

#define MR_NS_PER_US INT64_C(1000)
#define MR_NS_PER_MS INT64_C(1000000)
#define MR_NS_PER_S  INT64_C(1000000000)
/* A deadline that never comes. */
#define MR_MONO_NEVER ((mr_mono){INT64_MAX})

static inline mr_mono mr_mono_add_ms(mr_mono t, int64_t ms) {
    return (mr_mono){t.ns + ms * MR_NS_PER_MS};
}
static inline int64_t mr_mono_diff_ns(mr_mono later, mr_mono earlier) {
    return later.ns - earlier.ns;
}
static inline int64_t mr_mono_diff_ms(mr_mono later, mr_mono earlier) {
    return (later.ns - earlier.ns) / MR_NS_PER_MS;
}
static inline bool mr_mono_before(mr_mono a, mr_mono b) {
    return a.ns < b.ns;
}
static inline mr_mono mr_mono_min(mr_mono a, mr_mono b) {
    return a.ns < b.ns ? a : b;
}
static inline int64_t mr_wall_ms(mr_wall t) {
    return t.ns / MR_NS_PER_MS;
}
static inline mr_wall mr_wall_of_ms(int64_t ms) {
    return (mr_wall){ms * MR_NS_PER_MS};
}

/* UTC calendar, proleptic Gregorian; years 0 to 9999. */
typedef struct mr_civil {
    int32_t year;
    int32_t month; /* 1–12 */
    int32_t day;   /* 1–31 */
    int32_t hour, minute, second;
    int32_t nanosecond;
    int32_t weekday; /* 0 = Sunday */
} mr_civil;

mr_civil mr_civil_of_wall(mr_wall t);
/* Inverse; the fields must be in range. */
mr_wall mr_wall_of_civil(const mr_civil *civil);

/* Forms of output; each writes a NUL and returns the length. */
#define MR_TIME_TEXT_SIZE 40
/* 2024-09-25T19:09:48.5842087+00:00, as KORE writes `time`: 7 digits, numeric offset. */
size_t mr_time_format_kore(mr_wall t, char out[static MR_TIME_TEXT_SIZE]);
/* 2024-09-25T19:09:48.584Z: Millrace's own resources. */
size_t mr_time_format_ms(mr_wall t, char out[static MR_TIME_TEXT_SIZE]);
/* 2024-09-25T19:09:48Z: the `date` header that KORE sends. */
size_t mr_time_format_s(mr_wall t, char out[static MR_TIME_TEXT_SIZE]);
/* Wed, 25 Sep 2024 19:09:48 GMT (RFC 9110 §5.6.7). */
size_t mr_time_format_http(mr_wall t, char out[static MR_TIME_TEXT_SIZE]);

/* RFC 3339 date-time, any number of fraction digits, `Z` or offset, leap second 60 accepted where
 * RFC 3339 does (23:59:60 UTC). MR_E_INVALID otherwise. */
mr_err mr_time_parse_rfc3339(mr_str text, mr_wall *ret_t);
/* IMF-fixdate, RFC 850 and asctime forms (RFC 9110 §5.6.7). MR_E_INVALID otherwise. */
mr_err mr_time_parse_http(mr_str text, mr_wall now, mr_wall *ret_t);

#endif
