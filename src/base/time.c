/* Calendar and the text forms of time. See time.h.
 *
 * Days are counted from civil dates with Howard Hinnant's era arithmetic: years start in March, so
 * that the leap day is the last of its year, and an era of 400 years always has 146,097 days. No
 * system call, no time zone table, no locale: the same bytes on every machine.
 *
 * mr_wall spans the years 1677 to 2262; text outside of it is MR_E_INVALID, never a wrapped number.
 * A leap second (23:59:60 UTC) is read as the second after 23:59:59, which is the same instant as
 * the following midnight on a clock without leap seconds. */
#include "base/time.h"

#define SECONDS_PER_DAY INT64_C(86400)
#define DAYS_PER_ERA    INT64_C(146097)

static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const day_names_long[7] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                              "Thursday", "Friday", "Saturday"};

static bool is_leap(int32_t year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int32_t days_in_month(int32_t year, int32_t month) {
    static const int32_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days since 1970-01-01. */
static int64_t days_of_civil(int64_t year, int32_t month, int32_t day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_PER_ERA + day_of_era - 719468;
}

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

mr_civil mr_civil_of_wall(mr_wall t) {
    int64_t seconds = floor_div(t.ns, MR_NS_PER_S);
    int64_t days = floor_div(seconds, SECONDS_PER_DAY);
    int64_t in_day = seconds - days * SECONDS_PER_DAY;
    int64_t shifted = days + 719468;
    int64_t era = floor_div(shifted, DAYS_PER_ERA);
    int64_t doe = shifted - era * DAYS_PER_ERA;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    mr_civil civil = {
        .month = (int32_t)(mp < 10 ? mp + 3 : mp - 9),
        .day = (int32_t)(doy - (153 * mp + 2) / 5 + 1),
        .hour = (int32_t)(in_day / 3600),
        .minute = (int32_t)(in_day / 60 % 60),
        .second = (int32_t)(in_day % 60),
        .nanosecond = (int32_t)(t.ns - seconds * MR_NS_PER_S),
        .weekday = (int32_t)((days % 7 + 11) % 7),
    };
    civil.year = (int32_t)(yoe + era * 400 + (civil.month <= 2));
    return civil;
}

/* False where the instant lies outside mr_wall. */
static bool wall_of_civil(const mr_civil *civil, mr_wall *ret_t) {
    int64_t days = days_of_civil(civil->year, civil->month, civil->day);
    int64_t seconds = days * SECONDS_PER_DAY + civil->hour * INT64_C(3600) +
                      civil->minute * INT64_C(60) + civil->second;
    int64_t ns;
    if (__builtin_mul_overflow(seconds, MR_NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, (int64_t)civil->nanosecond, &ns)) {
        return false;
    }
    ret_t->ns = ns;
    return true;
}

mr_wall mr_wall_of_civil(const mr_civil *civil) {
    MR_ASSERT(civil->month >= 1 && civil->month <= 12);
    MR_ASSERT(civil->day >= 1 && civil->day <= days_in_month(civil->year, civil->month));
    mr_wall t;
    bool fits = wall_of_civil(civil, &t);
    MR_ASSERT(fits);
    return t;
}

/* Writes n as exactly `digits` digits; returns what follows. */
static char *put_digits(char *at, int32_t n, size_t digits) {
    for (size_t i = digits; i-- > 0;) {
        at[i] = (char)('0' + n % 10);
        n /= 10;
    }
    return at + digits;
}

static char *put_text(char *at, const char *text, size_t len) {
    memcpy(at, text, len);
    return at + len;
}

/* 2024-09-25T19:09:48 */
static char *put_date_time(char *at, const mr_civil *civil) {
    at = put_digits(at, civil->year, 4);
    *at++ = '-';
    at = put_digits(at, civil->month, 2);
    *at++ = '-';
    at = put_digits(at, civil->day, 2);
    *at++ = 'T';
    at = put_digits(at, civil->hour, 2);
    *at++ = ':';
    at = put_digits(at, civil->minute, 2);
    *at++ = ':';
    return put_digits(at, civil->second, 2);
}

static size_t finish(const char *out, char *at) {
    *at = '\0';
    return (size_t)(at - out);
}

size_t mr_time_format_kore(mr_wall t, char out[static MR_TIME_TEXT_SIZE]) {
    mr_civil civil = mr_civil_of_wall(t);
    char *at = put_date_time(out, &civil);
    *at++ = '.';
    at = put_digits(at, civil.nanosecond / 100, 7);
    return finish(out, put_text(at, "+00:00", 6));
}

size_t mr_time_format_ms(mr_wall t, char out[static MR_TIME_TEXT_SIZE]) {
    mr_civil civil = mr_civil_of_wall(t);
    char *at = put_date_time(out, &civil);
    *at++ = '.';
    at = put_digits(at, civil.nanosecond / 1000000, 3);
    return finish(out, put_text(at, "Z", 1));
}

size_t mr_time_format_s(mr_wall t, char out[static MR_TIME_TEXT_SIZE]) {
    mr_civil civil = mr_civil_of_wall(t);
    return finish(out, put_text(put_date_time(out, &civil), "Z", 1));
}

size_t mr_time_format_http(mr_wall t, char out[static MR_TIME_TEXT_SIZE]) {
    mr_civil civil = mr_civil_of_wall(t);
    char *at = put_text(out, day_names[civil.weekday], 3);
    at = put_text(at, ", ", 2);
    at = put_digits(at, civil.day, 2);
    *at++ = ' ';
    at = put_text(at, month_names[civil.month - 1], 3);
    *at++ = ' ';
    at = put_digits(at, civil.year, 4);
    *at++ = ' ';
    at = put_digits(at, civil.hour, 2);
    *at++ = ':';
    at = put_digits(at, civil.minute, 2);
    *at++ = ':';
    at = put_digits(at, civil.second, 2);
    return finish(out, put_text(at, " GMT", 4));
}

/* A reading position; every take_ function moves it only on success. */
struct cursor {
    const char *at;
    const char *end;
};

/* An absent text reads as an empty one. */
static struct cursor cursor_of(mr_str text) {
    mr_str s = mr_str_is_absent(text) ? MR_STR("") : text;
    return (struct cursor){s.ptr, s.ptr + s.len};
}

static bool take_text(struct cursor *c, const char *text, size_t len) {
    if ((size_t)(c->end - c->at) < len || memcmp(c->at, text, len) != 0) {
        return false;
    }
    c->at += len;
    return true;
}

static bool take_byte(struct cursor *c, char byte) {
    return take_text(c, &byte, 1);
}

/* Exactly `digits` digits with a value in [min, max]. */
static bool take_digits(struct cursor *c, size_t digits, int32_t min, int32_t max, int32_t *ret_n) {
    int32_t n = 0;
    if ((size_t)(c->end - c->at) < digits) {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        if (c->at[i] < '0' || c->at[i] > '9') {
            return false;
        }
        n = n * 10 + (c->at[i] - '0');
    }
    if (n < min || n > max) {
        return false;
    }
    c->at += digits;
    *ret_n = n;
    return true;
}

/* hh:mm:ss, seconds up to 60. */
static bool take_clock(struct cursor *c, mr_civil *civil) {
    return take_digits(c, 2, 0, 23, &civil->hour) && take_byte(c, ':') &&
           take_digits(c, 2, 0, 59, &civil->minute) && take_byte(c, ':') &&
           take_digits(c, 2, 0, 60, &civil->second);
}

/* One or more digits after the dot; those past the ninth only have to be digits. */
static bool take_fraction(struct cursor *c, int32_t *ret_nanosecond) {
    int32_t scale = 100000000;
    int32_t nanosecond = 0;
    const char *from = c->at;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        nanosecond += (*c->at - '0') * scale;
        scale /= 10;
    }
    *ret_nanosecond = nanosecond;
    return c->at > from;
}

static bool take_offset(struct cursor *c, int64_t *ret_seconds) {
    if (take_byte(c, 'Z') || take_byte(c, 'z')) {
        *ret_seconds = 0;
        return true;
    }
    bool west = c->at < c->end && *c->at == '-';
    int32_t hour;
    int32_t minute;
    if (!(take_byte(c, '-') || take_byte(c, '+')) || !take_digits(c, 2, 0, 23, &hour) ||
        !take_byte(c, ':') || !take_digits(c, 2, 0, 59, &minute)) {
        return false;
    }
    int64_t seconds = hour * INT64_C(3600) + minute * INT64_C(60);
    *ret_seconds = west ? -seconds : seconds;
    return true;
}

mr_err mr_time_parse_rfc3339(mr_str text, mr_wall *ret_t) {
    struct cursor c = cursor_of(text);
    mr_civil civil = {0};
    int64_t offset;
    if (text.len == 0 || !take_digits(&c, 4, 0, 9999, &civil.year) || !take_byte(&c, '-') ||
        !take_digits(&c, 2, 1, 12, &civil.month) || !take_byte(&c, '-') ||
        !take_digits(&c, 2, 1, days_in_month(civil.year, civil.month), &civil.day) ||
        !(take_byte(&c, 'T') || take_byte(&c, 't')) || !take_clock(&c, &civil) ||
        (take_byte(&c, '.') && !take_fraction(&c, &civil.nanosecond)) ||
        !take_offset(&c, &offset) || c.at != c.end) {
        return MR_ERR(MR_E_INVALID);
    }
    if (civil.second == 60) {
        int64_t utc = civil.hour * INT64_C(60) + civil.minute - offset / 60;
        if ((utc % 1440 + 1440) % 1440 != 1439) {
            return MR_ERR(MR_E_INVALID);
        }
    }
    mr_wall t;
    if (!wall_of_civil(&civil, &t) || __builtin_sub_overflow(t.ns, offset * MR_NS_PER_S, &t.ns)) {
        return MR_ERR(MR_E_INVALID);
    }
    *ret_t = t;
    return MR_OK;
}

static bool take_month(struct cursor *c, int32_t *ret_month) {
    for (int32_t i = 0; i < 12; i++) {
        if (take_text(c, month_names[i], 3)) {
            *ret_month = i + 1;
            return true;
        }
    }
    return false;
}

static bool take_day_name(struct cursor *c, int32_t *ret_weekday) {
    for (int32_t i = 0; i < 7; i++) {
        /* The long name first: the short one is its beginning. */
        if (take_text(c, day_names_long[i], strlen(day_names_long[i])) ||
            take_text(c, day_names[i], 3)) {
            *ret_weekday = i;
            return true;
        }
    }
    return false;
}

/* ` 25 Sep 2024 19:09:48 GMT` */
static bool take_imf_rest(struct cursor *c, mr_civil *civil) {
    return take_byte(c, ' ') && take_digits(c, 2, 1, 31, &civil->day) && take_byte(c, ' ') &&
           take_month(c, &civil->month) && take_byte(c, ' ') &&
           take_digits(c, 4, 0, 9999, &civil->year) && take_byte(c, ' ') && take_clock(c, civil) &&
           take_text(c, " GMT", 4);
}

/* ` 25-Sep-24 19:09:48 GMT`: a year that appears more than 50 years ahead is in the past. */
static bool take_rfc850_rest(struct cursor *c, mr_wall now, mr_civil *civil) {
    int32_t year;
    if (!take_byte(c, ' ') || !take_digits(c, 2, 1, 31, &civil->day) || !take_byte(c, '-') ||
        !take_month(c, &civil->month) || !take_byte(c, '-') || !take_digits(c, 2, 0, 99, &year) ||
        !take_byte(c, ' ') || !take_clock(c, civil) || !take_text(c, " GMT", 4)) {
        return false;
    }
    int32_t this_year = mr_civil_of_wall(now).year;
    civil->year = this_year - this_year % 100 + year;
    if (civil->year > this_year + 50) {
        civil->year -= 100;
    }
    return true;
}

/* ` Sep  5 19:09:48 2024` */
static bool take_asctime_rest(struct cursor *c, mr_civil *civil) {
    return take_byte(c, ' ') && take_month(c, &civil->month) && take_byte(c, ' ') &&
           (take_byte(c, ' ') ? take_digits(c, 1, 1, 9, &civil->day)
                              : take_digits(c, 2, 1, 31, &civil->day)) &&
           take_byte(c, ' ') && take_clock(c, civil) && take_byte(c, ' ') &&
           take_digits(c, 4, 0, 9999, &civil->year);
}

mr_err mr_time_parse_http(mr_str text, mr_wall now, mr_wall *ret_t) {
    struct cursor c = cursor_of(text);
    mr_civil civil = {0};
    if (text.len == 0 || !take_day_name(&c, &civil.weekday)) {
        return MR_ERR(MR_E_INVALID);
    }
    size_t name_len = (size_t)(c.at - text.ptr);
    bool good = !take_byte(&c, ',') ? name_len == 3 && take_asctime_rest(&c, &civil)
                : name_len == 3     ? take_imf_rest(&c, &civil)
                                    : take_rfc850_rest(&c, now, &civil);
    mr_wall t;
    if (!good || c.at != c.end || civil.day > days_in_month(civil.year, civil.month) ||
        !wall_of_civil(&civil, &t)) {
        return MR_ERR(MR_E_INVALID);
    }
    *ret_t = t;
    return MR_OK;
}
