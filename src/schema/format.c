/* The formats that are asserted, each by its RFC's grammar and the calendar. Nothing allocates but
 * `regex`, which compiles what it is given. */
#include "schema/private.h"

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool is_letter(char c) {
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}
static bool is_hex(char c) {
    return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}
static bool is_alnum(char c) {
    return is_digit(c) || is_letter(c);
}

/* --- time (RFC 3339 §5.6) --- */

/* n digits at *p as a number, *p behind them; -1 where they are none. */
static int take_number(const char **p, const char *end, int n) {
    int value = 0;
    if (end - *p < n) {
        return -1;
    }
    for (int i = 0; i < n; i++) {
        char c = *(*p)++;
        if (!is_digit(c)) {
            return -1;
        }
        value = value * 10 + (c - '0');
    }
    return value;
}

static bool take_char(const char **p, const char *end, char lower) {
    if (*p == end || (**p != lower && !(is_letter(lower) && (**p | 0x20) == lower))) {
        return false;
    }
    (*p)++;
    return true;
}

static bool take_date(const char **p, const char *end) {
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = take_number(p, end, 4);
    if (year < 0 || !take_char(p, end, '-')) {
        return false;
    }
    int month = take_number(p, end, 2);
    if (month < 1 || month > 12 || !take_char(p, end, '-')) {
        return false;
    }
    int day = take_number(p, end, 2);
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day >= 1 && day <= days[month - 1] + (month == 2 && is_leap);
}

/* Minutes east of UTC. */
static bool take_zone(const char **p, const char *end, int *ret_minutes) {
    if (take_char(p, end, 'z')) {
        *ret_minutes = 0;
        return true;
    }
    if (*p == end || (**p != '+' && **p != '-')) {
        return false;
    }
    int sign = *(*p)++ == '-' ? -1 : 1;
    int hours = take_number(p, end, 2);
    if (hours < 0 || hours > 23 || !take_char(p, end, ':')) {
        return false;
    }
    int minutes = take_number(p, end, 2);
    *ret_minutes = sign * (hours * 60 + minutes);
    return minutes >= 0 && minutes <= 59;
}

/* Second 60 only where UTC has it, at the end of a day. */
static bool take_time(const char **p, const char *end) {
    int zone;
    int hour = take_number(p, end, 2);
    if (hour < 0 || hour > 23 || !take_char(p, end, ':')) {
        return false;
    }
    int minute = take_number(p, end, 2);
    if (minute < 0 || minute > 59 || !take_char(p, end, ':')) {
        return false;
    }
    int second = take_number(p, end, 2);
    if (second < 0 || second > 60) {
        return false;
    }
    if (take_char(p, end, '.')) {
        const char *from = *p;
        while (*p < end && is_digit(**p)) {
            (*p)++;
        }
        if (*p == from) {
            return false;
        }
    }
    if (!take_zone(p, end, &zone)) {
        return false;
    }
    return second < 60 || (hour * 60 + minute - zone + 2 * 1440) % 1440 == 1439;
}

static bool is_date(mr_str text) {
    const char *p = text.ptr;
    return take_date(&p, text.ptr + text.len) && p == text.ptr + text.len;
}
static bool is_time(mr_str text) {
    const char *p = text.ptr;
    return take_time(&p, text.ptr + text.len) && p == text.ptr + text.len;
}
static bool is_date_time(mr_str text) {
    const char *p = text.ptr;
    const char *end = text.ptr + text.len;
    return take_date(&p, end) && take_char(&p, end, 't') && take_time(&p, end) && p == end;
}

/* --- hosts and addresses --- */

/* RFC 1123 §2.1: labels of letters, digits and inner hyphens. */
static bool is_hostname(mr_str text) {
    size_t label = 0;
    if (text.len == 0 || text.len > 253) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '.') {
            if (label == 0 || text.ptr[i - 1] == '-') {
                return false;
            }
            label = 0;
            continue;
        }
        if ((!is_alnum(c) && (c != '-' || label == 0)) || ++label > 63) {
            return false;
        }
    }
    return label > 0 && text.ptr[text.len - 1] != '-';
}

static bool is_ipv4(mr_str text) {
    int parts = 0;
    for (mr_str part; mr_str_split(&text, '.', &part); parts++) {
        int value = 0;
        if (part.len == 0 || part.len > 3 || (part.len > 1 && part.ptr[0] == '0')) {
            return false;
        }
        for (size_t i = 0; i < part.len; i++) {
            if (!is_digit(part.ptr[i])) {
                return false;
            }
            value = value * 10 + (part.ptr[i] - '0');
        }
        if (value > 255) {
            return false;
        }
    }
    return parts == 4;
}

/* Groups between colons; the last may be an IPv4 address. -1: none of it. */
static int count_groups(mr_str text, bool last_may_be_ipv4) {
    int n = 0;
    if (text.len == 0) {
        return 0;
    }
    for (mr_str part; mr_str_split(&text, ':', &part); n++) {
        if (last_may_be_ipv4 && mr_str_is_absent(text) &&
            mr_str_find_byte(part, '.', 0) != SIZE_MAX) {
            return is_ipv4(part) ? n + 2 : -1;
        }
        if (part.len == 0 || part.len > 4) {
            return -1;
        }
        for (size_t i = 0; i < part.len; i++) {
            if (!is_hex(part.ptr[i])) {
                return -1;
            }
        }
    }
    return n;
}

/* RFC 4291 §2.2. */
static bool is_ipv6(mr_str text) {
    size_t gap = mr_str_find(text, MR_STR("::"));
    if (text.len == 0 || text.len > 45) {
        return false;
    }
    if (gap == SIZE_MAX) {
        return count_groups(text, true) == 8;
    }
    int before = count_groups(mr_str_slice(text, 0, gap), false);
    int behind = count_groups(mr_str_slice(text, gap + 2, text.len), true);
    return before >= 0 && behind >= 0 && before + behind <= 7;
}

/* RFC 5321 §4.1.2: a dot-string or a quoted string, then a host name or an address literal. */
static bool is_local_part(mr_str text) {
    if (text.len == 0 || text.len > 64) {
        return false;
    }
    if (text.ptr[0] == '"') {
        for (size_t i = 1; i + 1 < text.len; i++) {
            char c = text.ptr[i];
            if (c == '\\') {
                i++;
                c = i + 1 < text.len ? text.ptr[i] : '\0';
            } else if (c == '"') {
                return false;
            }
            if (c < ' ' || c > '~') {
                return false;
            }
        }
        return text.len >= 2 && text.ptr[text.len - 1] == '"';
    }
    for (mr_str atom; mr_str_split(&text, '.', &atom);) {
        if (atom.len == 0) {
            return false;
        }
        for (size_t i = 0; i < atom.len; i++) {
            char c = atom.ptr[i];
            if (!is_alnum(c) && (c == '\0' || strchr("!#$%&'*+-/=?^_`{|}~", c) == NULL)) {
                return false;
            }
        }
    }
    return true;
}

static bool is_email(mr_str text) {
    size_t at = SIZE_MAX;
    for (size_t i = 0; i < text.len; i++) {
        at = text.ptr[i] == '@' ? i : at;
    }
    if (at == SIZE_MAX || !is_local_part(mr_str_slice(text, 0, at))) {
        return false;
    }
    mr_str domain = mr_str_slice(text, at + 1, text.len);
    if (mr_str_starts(domain, MR_STR("[")) && mr_str_ends(domain, MR_STR("]"))) {
        mr_str inner = mr_str_slice(domain, 1, domain.len - 1);
        return mr_str_starts(inner, MR_STR("IPv6:")) ? is_ipv6(mr_str_slice(inner, 5, inner.len))
                                                     : is_ipv4(inner);
    }
    return is_hostname(domain);
}

/* --- URIs (RFC 3986 appendix A) --- */

/* Every character unreserved, a sub-delimiter, one of `more`, or %XX. */
static bool is_uri_text(mr_str text, const char *more) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%') {
            if (i + 2 >= text.len || !is_hex(text.ptr[i + 1]) || !is_hex(text.ptr[i + 2])) {
                return false;
            }
            i += 2;
        } else if (!is_alnum(c) && (c == '\0' || (strchr("-._~!$&'()*+,;=", c) == NULL &&
                                                  strchr(more, c) == NULL))) {
            return false;
        }
    }
    return true;
}

static bool is_future_address(mr_str text) {
    size_t dot = mr_str_find_byte(text, '.', 0);
    if (dot == SIZE_MAX || dot < 2 || (text.ptr[0] | 0x20) != 'v' || dot + 1 == text.len) {
        return false;
    }
    for (size_t i = 1; i < dot; i++) {
        if (!is_hex(text.ptr[i])) {
            return false;
        }
    }
    mr_str rest = mr_str_slice(text, dot + 1, text.len);
    return mr_str_find_byte(rest, '%', 0) == SIZE_MAX && is_uri_text(rest, ":");
}

static bool is_authority(mr_str text) {
    size_t at = mr_str_find_byte(text, '@', 0);
    if (at != SIZE_MAX) {
        if (!is_uri_text(mr_str_slice(text, 0, at), ":")) {
            return false;
        }
        text = mr_str_slice(text, at + 1, text.len);
    }
    size_t host_end = mr_str_find_byte(text, ':', 0);
    if (mr_str_starts(text, MR_STR("["))) {
        size_t close = mr_str_find_byte(text, ']', 0);
        mr_str inner = close == SIZE_MAX ? MR_STR("") : mr_str_slice(text, 1, close);
        if (!is_ipv6(inner) && !is_future_address(inner)) {
            return false;
        }
        host_end = close + 1;
        if (host_end < text.len && text.ptr[host_end] != ':') {
            return false;
        }
    } else if (!is_uri_text(mr_str_slice(text, 0, host_end), "")) {
        return false;
    }
    for (size_t i = host_end == SIZE_MAX ? text.len : host_end + 1; i < text.len; i++) {
        if (!is_digit(text.ptr[i])) {
            return false;
        }
    }
    return true;
}

/* Length of "scheme:" in front, or 0. */
static size_t scheme_len(mr_str text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == ':') {
            return i > 0 ? i + 1 : 0;
        }
        if (!is_letter(c) && (i == 0 || (!is_digit(c) && c != '+' && c != '-' && c != '.'))) {
            return 0;
        }
    }
    return 0;
}

static bool is_uri_tail(mr_str text, bool has_scheme) {
    size_t hash = mr_str_find_byte(text, '#', 0);
    if (hash != SIZE_MAX && !is_uri_text(mr_str_slice(text, hash + 1, text.len), ":@/?")) {
        return false;
    }
    text = mr_str_slice(text, 0, hash);
    size_t question = mr_str_find_byte(text, '?', 0);
    if (question != SIZE_MAX && !is_uri_text(mr_str_slice(text, question + 1, text.len), ":@/?")) {
        return false;
    }
    text = mr_str_slice(text, 0, question);
    if (mr_str_starts(text, MR_STR("//"))) {
        size_t slash = mr_str_find_byte(text, '/', 2);
        if (!is_authority(mr_str_slice(text, 2, slash))) {
            return false;
        }
        text = mr_str_slice(text, slash, text.len);
    } else if (!has_scheme) {
        /* A colon in the first segment would read as a scheme. */
        size_t colon = mr_str_find_byte(text, ':', 0);
        if (colon != SIZE_MAX && colon < mr_str_find_byte(text, '/', 0)) {
            return false;
        }
    }
    return is_uri_text(text, ":@/");
}

static bool is_uri(mr_str text) {
    size_t scheme = scheme_len(text);
    return scheme > 0 && is_uri_tail(mr_str_slice(text, scheme, text.len), true);
}

bool format_is_uri_reference(mr_str text) {
    size_t scheme = scheme_len(text);
    return is_uri_tail(mr_str_slice(text, scheme, text.len), scheme > 0);
}

/* --- the rest --- */

static bool is_pointer(mr_str text) {
    if (text.len > 0 && text.ptr[0] != '/') {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '~' &&
            (i + 1 == text.len || (text.ptr[i + 1] != '0' && text.ptr[i + 1] != '1'))) {
            return false;
        }
    }
    return true;
}

static bool is_uuid(mr_str text) {
    if (text.len != 36) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        bool is_hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        if (is_hyphen ? text.ptr[i] != '-' : !is_hex(text.ptr[i])) {
            return false;
        }
    }
    return true;
}

static bool is_regex(mr_str text) {
    char message[200];
    struct pattern *pattern;
    if (mr_is_err(pattern_new(text, &pattern, message, sizeof message))) {
        return false;
    }
    pattern_free(pattern);
    return true;
}

static const struct format {
    const char *name;
    bool (*check)(mr_str text);
    const char *what;
} formats[] = {
    {"date-time", is_date_time, "a date and time with an offset, as RFC 3339 writes it"},
    {"date", is_date, "a date, as RFC 3339 writes it"},
    {"time", is_time, "a time with an offset, as RFC 3339 writes it"},
    {"email", is_email, "an e-mail address"},
    {"hostname", is_hostname, "a host name"},
    {"ipv4", is_ipv4, "an IPv4 address"},
    {"ipv6", is_ipv6, "an IPv6 address"},
    {"uri", is_uri, "a URI with its scheme"},
    {"uri-reference", format_is_uri_reference, "a URI reference"},
    {"json-pointer", is_pointer, "a JSON pointer"},
    {"regex", is_regex, "a regular expression"},
    {"uuid", is_uuid, "a UUID"},
};

uint32_t format_find(mr_str name) {
    for (uint32_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (mr_str_eq(name, mr_str_c(formats[i].name))) {
            return i;
        }
    }
    return NONE;
}

bool format_check(uint32_t row, mr_str text) {
    return formats[row].check(text);
}

const char *format_what(uint32_t row) {
    return formats[row].what;
}
