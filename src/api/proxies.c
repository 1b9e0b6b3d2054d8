/* X-Forwarded-For, read from its right end: each proxy appends the address that it was called from,
 * so of `a, b, c` the peer wrote c, and what stands left of an address that is not a trusted
 * proxy's may be anybody's invention. It is a list that may be spread over several fields (RFC
 * 9110, 5.3). The field has no standard; RFC 7239 tells its history. */
#include "api/proxies.h"

#define FORWARDED_FOR "x-forwarded-for"

static bool is_trusted(const struct proxies *proxies, const os_addr *addr) {
    for (size_t i = 0; i < proxies->n; i++) {
        if (net_cidr_contains(&proxies->ptr[i], addr)) {
            return true;
        }
    }
    return false;
}

/* A socket that serves both families shows IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2). */
static os_addr unmapped(const os_addr *addr) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    os_addr out = *addr;
    if (addr->family == OS_FAMILY_V6 && memcmp(addr->ip, mapped, sizeof mapped) == 0) {
        out = (os_addr){.family = OS_FAMILY_V4, .port = addr->port};
        memcpy(out.ip, addr->ip + sizeof mapped, 4);
    }
    return out;
}

static bool is_loopback(const os_addr *addr) {
    static const uint8_t v6[16] = {[15] = 1};
    return addr->family == OS_FAMILY_V4
               ? addr->ip[0] == 127
               : addr->family == OS_FAMILY_V6 && memcmp(addr->ip, v6, sizeof v6) == 0;
}

static bool read_element(mr_str text, os_addr *ret_addr) {
    os_addr addr;
    if (mr_is_err(os_addr_parse_ip(text, &addr)) && mr_is_err(os_addr_parse(text, &addr))) {
        size_t last = text.len - (text.len > 0);
        if (text.len < 2 || text.ptr[0] != '[' || text.ptr[last] != ']' ||
            mr_is_err(os_addr_parse_ip(mr_str_slice(text, 1, last), &addr)) ||
            addr.family != OS_FAMILY_V6) {
            return false;
        }
    }
    addr.port = 0;
    *ret_addr = unmapped(&addr);
    return true;
}

/* Takes the last element off *list; false where *list is absent. */
static bool take_last(mr_str *list, mr_str *ret_element) {
    if (mr_str_is_absent(*list)) {
        return false;
    }
    size_t start = list->len;
    while (start > 0 && list->ptr[start - 1] != ',') {
        start--;
    }
    *ret_element = mr_str_trim(mr_str_slice(*list, start, list->len));
    *list = start > 0 ? mr_str_slice(*list, 0, start - 1) : MR_STR_NONE;
    return true;
}

/* Walks towards the client. False: not to its end, *client is the last that was understood. */
static bool walk(const struct proxies *proxies, mr_fields fields, os_addr *client) {
    size_t n_hops = 0;
    for (size_t i = fields.len; i > 0; i--) {
        mr_str list = fields.ptr[i - 1].value;
        mr_str element;
        if (!mr_str_eq_nocase(fields.ptr[i - 1].name, MR_STR(FORWARDED_FOR))) {
            continue;
        }
        while (take_last(&list, &element)) {
            os_addr addr;
            if (n_hops++ == PROXIES_HOPS_MAX || !read_element(element, &addr)) {
                return false;
            }
            *client = addr;
            if (!is_trusted(proxies, &addr)) {
                return true;
            }
        }
    }
    return true;
}

struct proxies_origin proxies_origin_of(const struct proxies *proxies,
                                        const struct http_exchange *ex) {
    os_addr peer = unmapped(&ex->peer);
    os_addr client = peer;
    bool is_understood = is_trusted(proxies, &peer)
                             ? walk(proxies, ex->fields, &client)
                             : mr_fields_count(ex->fields, MR_STR(FORWARDED_FOR)) == 0;
    /* Its newer form is not read, but whoever sends it is a proxy. */
    is_understood = is_understood && mr_fields_count(ex->fields, MR_STR("forwarded")) == 0;
    return (struct proxies_origin){
        .client = client, .is_local = is_understood && is_loopback(&peer) && is_loopback(&client)};
}
