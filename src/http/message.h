/* HTTP/1.1 messages (RFC 9112): heads of requests and responses, framing, and bodies decoded from
 * length, chunks or end of connection. Strict: what two readers could read differently is refused.
 * Pure: no system calls, no allocation; results are slices into the caller's bytes. Any thread. */
#ifndef MR_HTTP_MESSAGE_H
#define MR_HTTP_MESSAGE_H

#include "base/err.h"
#include "base/fields.h"
#include "base/str.h"

#define HTTP_HEAD_BYTES_MAX   ((size_t)16384) /* start line and fields with all line ends */
#define HTTP_FIELDS_MAX       100
#define HTTP_TARGET_BYTES_MAX ((size_t)8192)
#define HTTP_INTERIM_MAX      8 /* 1xx responses before the final one (the client counts) */

/* Refusals. http_err_status gives the status that a server answers with. */
enum http_err {
    HTTP_E_BAD = MR_ERR_CODE(MR_ROOM_HTTP, 1), /* malformed or ambiguous: 400 */
    HTTP_E_HEAD_TOO_LARGE,                     /* head or number of fields: 431 */
    HTTP_E_TARGET_TOO_LONG,                    /* request target: 414 */
    HTTP_E_VERSION,                            /* not HTTP/1.0 or 1.1: 505 */
    HTTP_E_CODING,                             /* a transfer coding but chunked: 501 */
};
int http_err_status(mr_err err);

enum http_method {
    HTTP_OTHER = 0, /* a valid token that is none of these */
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS,
};

enum http_framing {
    HTTP_FRAMING_NONE = 0, /* no body */
    HTTP_FRAMING_LENGTH,   /* content_length bytes (> 0) */
    HTTP_FRAMING_CHUNKED,
    HTTP_FRAMING_CLOSE, /* responses: until the connection ends */
};

/* A parsed head. Large (3.4 KiB): one per thread does. */
struct http_head {
    /* requests */
    enum http_method method;
    mr_str method_text;
    mr_str target; /* as it came */
    mr_str host;   /* of the Host field; absent only in HTTP/1.0. Where the target is in absolute
                      form, its authority (RFC 9112 §3.2.2) */
    mr_str path;   /* raw, begins with '/', or "*" (OPTIONS only); of an absolute form its path, "/"
                      where empty */
    mr_str query;  /* after the first '?'; absent without one */
    bool expects_continue;
    /* responses */
    int status; /* 100–599 */
    mr_str reason;
    /* both */
    int minor;       /* HTTP/1.minor: 0 or 1 */
    bool keep_alive; /* both sides may go on after this message */
    enum http_framing framing;
    uint64_t content_length; /* HTTP_FRAMING_LENGTH; also of a response to HEAD, else 0 */
    size_t n_fields;
    mr_field fields[HTTP_FIELDS_MAX];
    /* On refusal: why, a constant text without input in it. */
    const char *problem;
};
static inline mr_fields http_head_fields(const struct http_head *head) {
    return (mr_fields){head->fields, head->n_fields};
}

/* How far a head that is not whole yet was looked through. Zeroed for each new message. */
struct http_scan {
    size_t at;   /* start of the line being looked for */
    size_t seen; /* bytes of it without an end */
};

/* bytes: everything received of this message so far, the same bytes as before and more. MR_OK: head
 * is filled and *ret_used bytes are its own; MR_E_AGAIN: not whole yet; else a refusal (enum
 * http_err) with head->problem, given as early as it is certain. Fed whole or byte by byte the
 * outcome is the same. One empty line before a request is skipped (RFC 9112 §2.2). */
mr_err http_request_parse(struct http_scan *scan, mr_str bytes, struct http_head *head,
                          size_t *ret_used);
/* The same for a response. to_head: it answers a HEAD request. Interim responses (status < 200) are
 * given like any other, without body; 101 is refused. */
mr_err http_response_parse(struct http_scan *scan, mr_str bytes, bool to_head,
                           struct http_head *head, size_t *ret_used);

/* A body being decoded. */
struct http_body {
    enum http_framing framing;
    uint8_t state; /* of the chunk reader */
    bool is_done;
    uint8_t digits;      /* of the chunk size so far */
    uint64_t left;       /* bytes of the body (LENGTH) or of the chunk */
    uint32_t overhead;   /* bytes of extensions and trailers so far; bounded */
    const char *problem; /* on refusal */
};
void http_body_init(struct http_body *body, const struct http_head *head);
/* Takes decoded bytes off the front of *in. MR_OK: *ret_piece is a non-empty slice of the input, or
 * empty when the body is done (body->is_done may also turn true together with the last piece);
 * *in is what is left (of the next message once done). MR_E_AGAIN: *in is used up. HTTP_E_BAD: a
 * chunk that breaks the rules. A body framed by the connection's end is never done by itself. */
mr_err http_body_next(struct http_body *body, mr_str *in, mr_str *ret_piece);

/* True for a non-empty token (RFC 9110 §5.6.2): names of fields and methods. */
bool http_is_token(mr_str s);
/* True where s may stand as a field value: no control characters but tab, no space at the ends. */
bool http_is_field_value(mr_str s);
/* True where a comma-separated list holds the token, without case. */
bool http_list_has(mr_str list, mr_str token);
/* "OK", "Not Found", …; "" for an unknown status. */
const char *http_reason(int status);

#endif
