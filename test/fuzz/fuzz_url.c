/* The destination URL's reader, and blocks of addresses, on any bytes. What must hold besides not
 * crashing: every part lies in the text, in order; host and port are within bounds; the target
 * holds nothing that could end a request line; no numeric host but a literal address. */
#include "base/mem.h"
#include "net/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(mr_str text, mr_str part) {
    MR_ASSERT(part.ptr == NULL ||
              (part.ptr >= text.ptr && part.ptr + part.len <= text.ptr + text.len));
}

static void check_url(mr_str text, bool allow_http) {
    struct net_url url;
    enum net_url_problem problem = net_url_parse(text, allow_http, &url);
    MR_ASSERT((net_url_problem_text(problem)[0] == '\0') == (problem == NET_URL_OK));
    if (problem != NET_URL_OK) {
        return;
    }
    const mr_str parts[] = {url.signing, url.host,  url.host_header,
                            url.path,    url.query, url.fragment};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        check_inside(text, parts[i]);
    }
    MR_ASSERT(url.signing.ptr == text.ptr && mr_str_find_byte(url.signing, '?', 0) == SIZE_MAX);
    MR_ASSERT(mr_str_find_byte(url.signing, '#', 0) == SIZE_MAX);
    MR_ASSERT(url.is_https || allow_http);
    MR_ASSERT(url.host.len > 0 && url.host.len <= NET_HOST_BYTES_MAX);
    MR_ASSERT(url.port >= 1024 || url.port == 443 || (url.port == 80 && allow_http));
    MR_ASSERT(mr_str_find_byte(url.host_header, '@', 0) == SIZE_MAX);
    os_addr addr;
    bool is_literal = mr_is_ok(os_addr_parse_ip(url.host, &addr));
    MR_ASSERT(is_literal == (url.host_kind == NET_HOST_LITERAL));
    mr_buf target;
    mr_buf_init(&target, NET_URL_BYTES_MAX + 1);
    MR_ASSERT(mr_is_ok(net_url_target(&url, &target)) && target.len > 0);
    MR_ASSERT(target.ptr[0] == '/');
    for (size_t i = 0; i < target.len; i++) {
        MR_ASSERT(target.ptr[i] > ' ' && target.ptr[i] != 0x7f && target.ptr[i] != '#');
    }
    mr_buf_done(&target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mr_str text = mr_str_of(size > 0 ? (const char *)data : "", size);
    check_url(text, false);
    check_url(text, true);
    struct net_cidr cidr;
    if (mr_is_ok(net_cidr_parse(text, &cidr))) {
        os_addr first = {.family = cidr.family};
        memcpy(first.ip, cidr.ip, sizeof first.ip);
        MR_ASSERT(net_cidr_contains(&cidr, &first));
    }
    return 0;
}
