/* Reads a destination's URL.
 *
 * URLs are where attacks on the address guard begin: two readers that understand one text
 * differently. So the grammar here is narrower than RFC 3986 and there is one reader only; dialler,
 * TLS verification, Host header and signature all take their parts from the struct made here.
 *
 * The cursor moves over the text once: scheme, authority, path, query, fragment. Bytes are checked
 * first over the whole text, so that no later part sees white space, controls, non-ASCII, or a
 * backslash (which browsers read as a slash). A host whose last label is a number, in whatever
 * base, can only be an address (as the WHATWG URL standard also decides), so it must be a plain
 * dotted decimal one.
 *
 * Nothing is decoded and nothing normalised: the configured text is what is signed and sent. */
#include "net/url.h"

#include "base/num.h"

#include <string.h>

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* First of the bytes in set at or after from; the length where there is none. */
static size_t find_any(mr_str s, const char *set, size_t from) {
    size_t i = from;
    while (i < s.len && strchr(set, s.ptr[i]) == NULL) {
        i++;
    }
    return i;
}

static bool has_bad_byte(mr_str text) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= ' ' || c >= 0x7f || c == '\\') {
            return true;
        }
    }
    return false;
}

/* All digits, or 0x and hexadecimal digits (0x alone too). */
static bool label_is_number(mr_str label) {
    size_t i = 0;
    if (label.len >= 2 && label.ptr[0] == '0' && (label.ptr[1] | 0x20) == 'x') {
        for (i = 2; i < label.len && is_hex(label.ptr[i]); i++) {
        }
        return i == label.len;
    }
    while (i < label.len && is_digit(label.ptr[i])) {
        i++;
    }
    return i == label.len;
}

static enum net_url_problem check_name(mr_str host) {
    mr_str rest = host;
    mr_str label = MR_STR_NONE;
    while (mr_str_split(&rest, '.', &label)) {
        if (label.len == 0) {
            return NET_URL_HOST_DOT;
        }
        for (size_t i = 0; i < label.len; i++) {
            char c = label.ptr[i];
            bool is_inner = i > 0 && i + 1 < label.len;
            if (!is_alnum(c) && c != '_' && !(c == '-' && is_inner)) {
                return NET_URL_HOST_BYTE;
            }
        }
        if (label.len > 63) {
            return NET_URL_HOST_TOO_LONG;
        }
    }
    return label_is_number(label) ? NET_URL_HOST_NUMERIC : NET_URL_OK;
}

static enum net_url_problem read_host(mr_str host, struct net_url *url) {
    if (host.len == 0) {
        return NET_URL_NO_HOST;
    }
    if (mr_str_find_byte(host, '%', 0) != SIZE_MAX) {
        return NET_URL_HOST_PERCENT;
    }
    if (host.ptr[0] == '[') {
        url->host = mr_str_slice(host, 1, host.len - 1);
        if (host.ptr[host.len - 1] != ']' || mr_str_find_byte(url->host, ':', 0) == SIZE_MAX ||
            mr_is_err(os_addr_parse_ip(url->host, &url->addr))) {
            return NET_URL_HOST_IPV6;
        }
        url->host_kind = NET_HOST_LITERAL;
        return NET_URL_OK;
    }
    if (host.len > NET_HOST_BYTES_MAX) {
        return NET_URL_HOST_TOO_LONG;
    }
    url->host = host;
    if (mr_is_ok(os_addr_parse_ip(host, &url->addr))) {
        url->host_kind = NET_HOST_LITERAL;
        return NET_URL_OK;
    }
    url->host_kind = NET_HOST_NAME;
    return check_name(host);
}

static enum net_url_problem read_port(mr_str text, bool allow_http, struct net_url *url) {
    uint64_t port = url->is_https ? 443 : 80;
    if (!mr_str_is_absent(text) &&
        (text.len == 0 || text.ptr[0] == '0' || mr_is_err(mr_u64_parse(text, 1, 65535, &port)))) {
        return NET_URL_PORT;
    }
    if (port < 1024 && port != 443 && !(port == 80 && allow_http)) {
        return NET_URL_PORT_REFUSED;
    }
    url->port = (uint16_t)port;
    url->addr.port = url->port;
    return NET_URL_OK;
}

static enum net_url_problem read_authority(mr_str authority, bool allow_http, struct net_url *url) {
    if (mr_str_find_byte(authority, '@', 0) != SIZE_MAX) {
        return NET_URL_USERINFO;
    }
    size_t host_len = mr_str_find_byte(authority, ':', 0);
    if (authority.len > 0 && authority.ptr[0] == '[') {
        size_t close = mr_str_find_byte(authority, ']', 0);
        if (close == SIZE_MAX) {
            return NET_URL_HOST_IPV6;
        }
        host_len = close + 1;
        if (host_len < authority.len && authority.ptr[host_len] != ':') {
            return NET_URL_HOST_IPV6;
        }
    }
    mr_str host = mr_str_slice(authority, 0, host_len);
    mr_str port = host_len < authority.len ? mr_str_slice(authority, host_len + 1, authority.len)
                                           : MR_STR_NONE;
    enum net_url_problem problem = read_host(host, url);
    if (problem != NET_URL_OK) {
        return problem;
    }
    problem = read_port(port, allow_http, url);
    if (problem != NET_URL_OK) {
        return problem;
    }
    url->host_header = url->port == (url->is_https ? 443 : 80) ? host : authority;
    return NET_URL_OK;
}

static enum net_url_problem read_scheme(mr_str text, bool allow_http, struct net_url *url,
                                        size_t *ret_at) {
    size_t colon = mr_str_find(text, MR_STR("://"));
    if (colon == SIZE_MAX || find_any(text, "/?#", 0) != colon + 1) {
        return NET_URL_NOT_ABSOLUTE;
    }
    mr_str scheme = mr_str_slice(text, 0, colon);
    *ret_at = colon + 3;
    url->is_https = mr_str_eq_nocase(scheme, MR_STR("https"));
    if (url->is_https) {
        return NET_URL_OK;
    }
    if (!mr_str_eq_nocase(scheme, MR_STR("http"))) {
        return NET_URL_SCHEME;
    }
    return allow_http ? NET_URL_OK : NET_URL_HTTP;
}

enum net_url_problem net_url_parse(mr_str text, bool allow_http, struct net_url *ret_url) {
    struct net_url url = {.text = text};
    if (text.len == 0) {
        return NET_URL_EMPTY;
    }
    if (text.len > NET_URL_BYTES_MAX) {
        return NET_URL_TOO_LONG;
    }
    if (has_bad_byte(text)) {
        return NET_URL_BAD_BYTE;
    }
    size_t at = 0;
    enum net_url_problem problem = read_scheme(text, allow_http, &url, &at);
    if (problem != NET_URL_OK) {
        return problem;
    }
    size_t authority_end = find_any(text, "/?#", at);
    problem = read_authority(mr_str_slice(text, at, authority_end), allow_http, &url);
    if (problem != NET_URL_OK) {
        return problem;
    }
    size_t path_end = find_any(text, "?#", authority_end);
    url.path = mr_str_slice(text, authority_end, path_end);
    url.signing = mr_str_slice(text, 0, path_end);
    size_t hash = find_any(text, "#", path_end);
    if (path_end < hash) {
        url.query = mr_str_slice(text, path_end + 1, hash);
    }
    if (hash < text.len) {
        url.fragment = mr_str_slice(text, hash + 1, text.len);
    }
    *ret_url = url;
    return NET_URL_OK;
}

const char *net_url_problem_text(enum net_url_problem problem) {
    static const char *const texts[NET_URL_PROBLEM_COUNT] = {
        [NET_URL_OK] = "",
        [NET_URL_EMPTY] = "the URL is empty",
        [NET_URL_TOO_LONG] = "the URL is longer than 2048 bytes",
        [NET_URL_BAD_BYTE] = "the URL holds white space, a control character, a backslash or a "
                             "character outside ASCII; write it percent-encoded",
        [NET_URL_NOT_ABSOLUTE] = "the URL must begin with https://",
        [NET_URL_SCHEME] = "the URL's scheme must be https",
        [NET_URL_HTTP] = "the URL must be https; plain http is allowed by the operator's setting "
                         "allow_http only",
        [NET_URL_USERINFO] = "the URL must not hold a user name or password; send them in a header",
        [NET_URL_NO_HOST] = "the URL has no host",
        [NET_URL_HOST_PERCENT] = "the URL's host must not hold %",
        [NET_URL_HOST_TOO_LONG] = "the URL's host is longer than 253 bytes, or one of its labels "
                                  "than 63",
        [NET_URL_HOST_DOT] = "the URL's host must not end with a dot or hold an empty label",
        [NET_URL_HOST_BYTE] = "the URL's host may hold letters, digits, hyphens inside a label and "
                              "underscores only; write international names in their xn-- form",
        [NET_URL_HOST_NUMERIC] = "an IPv4 address must be written as four decimal numbers without "
                                 "leading zeros",
        [NET_URL_HOST_IPV6] = "the bracketed host is not an IPv6 address",
        [NET_URL_PORT] = "the URL's port is not a number from 1 to 65535",
        [NET_URL_PORT_REFUSED] = "the URL's port must be 443 or at least 1024",
    };
    MR_ASSERT(problem < NET_URL_PROBLEM_COUNT);
    return texts[problem];
}

mr_err net_url_target(const struct net_url *url, mr_buf *out) {
    size_t before = out->len;
    mr_err err = mr_buf_str(out, url->path.len > 0 ? url->path : MR_STR("/"));
    if (mr_is_ok(err) && !mr_str_is_absent(url->query)) {
        err = mr_buf_byte(out, '?');
        if (mr_is_ok(err)) {
            err = mr_buf_str(out, url->query);
        }
    }
    if (mr_is_err(err)) {
        mr_buf_truncate(out, before);
    }
    return err;
}
