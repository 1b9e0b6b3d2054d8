/* Settings that are texts, judged. See values.h. Nothing here looks at files or the network:
 * whether a file is there is for `serve` to find, at the moment when it matters. */
#include "server/values.h"

#include "api/proxies.h"
#include "base/num.h"
#include "mail/message.h"
#include "model/arn.h"
#include "net/address.h"
#include "net/guard.h"
#include "net/url.h"
#include "os/socket.h"

#include <string.h>

#define PUBLIC_URL_MAX 400

static bool is_visible(mr_str text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || text.ptr[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}

static const char *wrong_address(mr_str text) {
    char copy[128];
    os_addr addr;
    return mr_str_to_c(text, copy, sizeof copy) && mr_is_ok(os_addr_parse(mr_str_c(copy), &addr))
               ? NULL
               : "must be an address and port such as 127.0.0.1:8080";
}

static const char *wrong_networks(mr_str text) {
    mr_str rest = text;
    mr_str part;
    size_t n = 0;
    while (rest.len > 0 && mr_str_split(&rest, ',', &part)) {
        struct net_cidr cidr;
        if (mr_is_err(net_cidr_parse(mr_str_trim(part), &cidr))) {
            return "must be CIDR blocks such as 10.0.0.0/8 (bits behind the prefix must be 0)";
        }
        n++;
    }
    _Static_assert(PROXIES_MAX == NET_GUARD_ALLOW_MAX, "one judge for both lists");
    return n <= NET_GUARD_ALLOW_MAX ? NULL : "must have at most 256 blocks";
}

/* A base URL, without query and fragment. */
static bool is_base_url(mr_str text) {
    size_t scheme = mr_str_starts(text, MR_STR("https://"))  ? 8
                    : mr_str_starts(text, MR_STR("http://")) ? 7
                                                             : 0;
    return scheme > 0 && text.len > scheme && text.ptr[scheme] != '/' &&
           text.len <= PUBLIC_URL_MAX && is_visible(text) &&
           mr_str_find_byte(text, '?', 0) == SIZE_MAX && mr_str_find_byte(text, '#', 0) == SIZE_MAX;
}

static const char *wrong_public_url(mr_str text) {
    return is_base_url(text) ? NULL
                             : "must be a URL that begins with https:// or http://, without query "
                               "and fragment, of at most 400 characters";
}

static const char *wrong_aliases(mr_str text) {
    mr_str rest = text;
    mr_str part;
    size_t n = 0;
    while (rest.len > 0 && mr_str_split(&rest, ',', &part)) {
        if (!is_base_url(mr_str_trim(part))) {
            return "must be base URLs such as https://events.example.com";
        }
        n++;
    }
    return n <= VALUES_ALIASES_MAX ? NULL : "must have at most 64 entries";
}

static mr_str value_proxy(mr_str text) {
    mr_str rest = mr_str_starts(text, MR_STR("http://")) ? mr_str_slice(text, 7, text.len) : text;
    return mr_str_ends(rest, MR_STR("/")) ? mr_str_slice(rest, 0, rest.len - 1) : rest;
}

/* host:port, the host a name or literal; brackets around IPv6. */
static bool is_host_and_port(mr_str place) {
    size_t colon = SIZE_MAX;
    for (size_t i = 0; i < place.len; i++) {
        colon = place.ptr[i] == ':' ? i : colon;
    }
    uint64_t port;
    return colon != SIZE_MAX && colon > 0 && colon <= 253 && is_visible(place) &&
           mr_str_find_byte(place, '/', 0) == SIZE_MAX &&
           mr_str_find_byte(place, '@', 0) == SIZE_MAX &&
           mr_is_ok(mr_u64_parse(mr_str_slice(place, colon + 1, place.len), 1, 65535, &port));
}

static const char *wrong_proxy(mr_str text) {
    return is_host_and_port(value_proxy(text)) ? NULL : "must be http://host:port";
}

static const char *wrong_prefix(mr_str text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || (c == '.' && i > 0 && i + 1 < text.len);
        if (!is_fine) {
            return "must be letters, digits, hyphens and dots between them";
        }
    }
    return text.len >= 1 && text.len <= 200 ? NULL : "must have 1 to 200 characters";
}

static const char *wrong_level(mr_str text) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (mr_str_eq(text, mr_str_c(names[i]))) {
            return NULL;
        }
    }
    return "must be debug, info, warn or error";
}

static const char *wrong_token(mr_str text) {
    return text.len >= 16 && is_visible(text)
               ? NULL
               : "must have at least 16 characters, printable ASCII without spaces";
}

static const char *wrong_smtp_url(mr_str text) {
    size_t scheme = mr_str_starts(text, MR_STR("smtp://"))    ? 7
                    : mr_str_starts(text, MR_STR("smtps://")) ? 8
                                                              : 0;
    mr_str place = mr_str_slice(text, scheme, text.len);
    return scheme > 0 && is_host_and_port(place) && mr_str_find_byte(place, '?', 0) == SIZE_MAX &&
                   mr_str_find_byte(place, '#', 0) == SIZE_MAX &&
                   mr_str_find_byte(place, '%', 0) == SIZE_MAX
               ? NULL
               : "must be smtp://host:port or smtps://host:port";
}

static const char *wrong_smtp_from(mr_str text) {
    return mail_address_is_fit(text) ? NULL : "must be an e-mail address alone";
}

/* A service's URL: nothing behind host and port. */
static const char *wrong_endpoint(mr_str text) {
    struct net_url url;
    return net_url_parse(text, true, &url) == NET_URL_OK && url.path.len <= 1 &&
                   mr_str_is_absent(url.query) && mr_str_is_absent(url.fragment)
               ? NULL
               : "must be https://host or http://host, with :port where it has its own";
}

/* Only what a container's or an instance's own agent can have: loopback, link-local, and the two
 * addresses of fd00:ec2:: that AWS gives its agents. */
static const char *wrong_local_url(mr_str text) {
    static const char *const blocks[] = {"127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10",
                                         "fd00:ec2::/64"};
    struct net_url url;
    if (net_url_parse(text, true, &url) == NET_URL_OK && url.host_kind == NET_HOST_LITERAL) {
        for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
            struct net_cidr cidr;
            if (mr_is_ok(net_cidr_parse(mr_str_c(blocks[i]), &cidr)) &&
                net_cidr_contains(&cidr, &url.addr)) {
                return NULL;
            }
        }
    }
    return "must be a URL with a loopback or link-local address, such as "
           "http://169.254.170.2/v2/credentials/…";
}

static const char *wrong_region(mr_str text) {
    return arn_region_is_valid(text, ARN_AWS) || arn_region_is_valid(text, ARN_AWS_CN) ||
                   arn_region_is_valid(text, ARN_AWS_US_GOV)
               ? NULL
               : "must be a region of AWS such as eu-central-1";
}

static const char *wrong_access_key(mr_str text) {
    return text.len >= 16 && text.len <= 128 && is_visible(text) &&
                   mr_str_find_byte(text, '/', 0) == SIZE_MAX
               ? NULL
               : "must be an access key of AWS, 16 to 128 letters and digits";
}

static const struct {
    const char *key;
    bool may_be_empty;
    const char *(*wrong)(mr_str text);
} judges[] = {
    {"listen", false, wrong_address},
    {"metrics_listen", true, wrong_address},
    {"public_url", true, wrong_public_url},
    {"allow_networks", true, wrong_networks},
    {"egress_proxy", true, wrong_proxy},
    {"dataschema_aliases", true, wrong_aliases},
    {"log_level", false, wrong_level},
    {"event_type_prefix", false, wrong_prefix},
    {"metrics_token", true, wrong_token},
    {"smtp_url", true, wrong_smtp_url},
    {"smtp_from", true, wrong_smtp_from},
    {"kinesis_endpoint", true, wrong_endpoint},
    {"trusted_proxies", true, wrong_networks},
    {"sts_endpoint", true, wrong_endpoint},
    {"aws_container_credentials", true, wrong_local_url},
    {"aws_region", true, wrong_region},
    {"aws_access_key_id", true, wrong_access_key},
};

const char *value_wrong(const char *key, mr_str text) {
    for (size_t i = 0; i < sizeof judges / sizeof judges[0]; i++) {
        if (strcmp(judges[i].key, key) == 0) {
            return text.len == 0 && judges[i].may_be_empty ? NULL : judges[i].wrong(text);
        }
    }
    return NULL;
}
