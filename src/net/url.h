/* The URL of a destination: the one place where its text is read. What passes here has one meaning
 * for every reader: no userinfo, no odd spellings of addresses, no escapes in the host.
 * RFC 3986, narrowed; pure, any thread, no allocation. */
#ifndef MR_NET_URL_H
#define MR_NET_URL_H

#include "base/buf.h"
#include "base/str.h"
#include "net/address.h"

#define NET_URL_BYTES_MAX  2048
#define NET_HOST_BYTES_MAX 253

/* Why a URL is refused. */
enum net_url_problem {
    NET_URL_OK = 0,
    NET_URL_EMPTY,
    NET_URL_TOO_LONG,
    NET_URL_BAD_BYTE,     /* white space, control, non-ASCII, or a backslash */
    NET_URL_NOT_ABSOLUTE, /* no scheme:// in front */
    NET_URL_SCHEME,       /* neither https nor http */
    NET_URL_HTTP,         /* http without allow_http */
    NET_URL_USERINFO,     /* name:password@ */
    NET_URL_NO_HOST,
    NET_URL_HOST_PERCENT,  /* % in the host: an escape or a zone id */
    NET_URL_HOST_TOO_LONG, /* over 253 bytes, or a label over 63 */
    NET_URL_HOST_DOT,      /* a trailing dot or an empty label */
    NET_URL_HOST_BYTE,     /* not a letter, digit, hyphen or underscore; hyphen at a label's end */
    NET_URL_HOST_NUMERIC, /* a number that is not four plain decimal numbers: 127.1, 0x7f.1, 017… */
    NET_URL_HOST_IPV6,    /* bad bracketed address */
    NET_URL_PORT,         /* not a number from 1 to 65535 */
    NET_URL_PORT_REFUSED, /* below 1024 and neither 443 nor (with allow_http) 80 */
    NET_URL_PROBLEM_COUNT,
};

enum net_host_kind {
    NET_HOST_NAME = 0,
    NET_HOST_LITERAL, /* url.addr holds it; no name server is ever asked */
};

/* All slices lie in text, which the caller keeps as long as this. */
struct net_url {
    mr_str text;        /* as configured, unchanged */
    mr_str signing;     /* text up to the first ? or #: what KORE's signature covers */
    mr_str host;        /* without brackets; the case as configured */
    mr_str host_header; /* host, or [host], with :port where it is not the scheme's own */
    mr_str path;        /* with its first slash; empty where the text has none */
    mr_str query;       /* without ?; absent where there is none. Sent, not signed */
    mr_str fragment;    /* without #; absent where there is none. Never sent */
    enum net_host_kind host_kind;
    os_addr addr; /* of a literal, with the port; OS_FAMILY_NONE for a name */
    uint16_t port;
    bool is_https;
};

/* Reads text. NET_URL_OK fills *ret_url; otherwise it is left alone. */
enum net_url_problem net_url_parse(mr_str text, bool allow_http, struct net_url *ret_url);
/* What is wrong and what to do, a sentence without its full stop; "" for NET_URL_OK. Static. */
const char *net_url_problem_text(enum net_url_problem problem);

/* Appends the request target: path ("/" where empty) and "?query". MR_E_LIMIT, MR_E_NOMEM as
 * mr_buf_append. */
mr_err net_url_target(const struct net_url *url, mr_buf *out);

#endif
