/* A call made of its spec: judged, its head written, its last use forgotten. */
#include "http/call.h"

#include "base/mem.h"

#include <string.h>

/* True where the part can stand in a head as it is. */
static bool is_clean(mr_str s) {
    return mr_str_find_byte(s, '\r', 0) == SIZE_MAX && mr_str_find_byte(s, '\n', 0) == SIZE_MAX &&
           mr_str_find_byte(s, '\0', 0) == SIZE_MAX;
}

bool http_spec_is_valid(const struct http_call_spec *spec) {
    if (spec->total_ms == 0 || spec->n_body > HTTP_CALL_IOV_MAX || spec->method.len == 0 ||
        (spec->url->is_https && spec->trust == NULL) || !http_is_token(spec->method)) {
        return false;
    }
    for (size_t i = 0; i < spec->target.len; i++) {
        unsigned char c = (unsigned char)spec->target.ptr[i];
        if (c <= ' ' || c >= 0x7f) {
            return false;
        }
    }
    for (size_t i = 0; i < spec->fields.len; i++) {
        const mr_field *field = &spec->fields.ptr[i];
        if (field->name.len == 0 || !is_clean(field->name) || !is_clean(field->value)) {
            return false;
        }
    }
    return true;
}

static char *put(char *at, mr_str s) {
    if (s.len > 0) {
        memcpy(at, s.ptr, s.len);
    }
    return at + s.len;
}

#define PUT(at, literal) put((at), MR_STR(literal))

static char *put_number(char *at, uint64_t n) {
    char digits[20];
    size_t len = 0;
    do {
        digits[len++] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    while (len > 0) {
        *at++ = digits[--len];
    }
    return at;
}

/* URL text and request head into one buffer. */
static mr_err write_text(struct http_call *call, const struct http_call_spec *spec,
                         size_t body_len) {
    const struct net_url *url = spec->url;
    size_t need = 2 * url->text.len + spec->method.len + spec->target.len + 128;
    for (size_t i = 0; i < spec->fields.len; i++) {
        need += spec->fields.ptr[i].name.len + spec->fields.ptr[i].value.len + 4;
    }
    need += url->host_header.len;
    char *start;
    MR_TRY(mr_buf_reserve(&call->text, need, &start));
    char *at = put(start, url->text);
    at = put(at, spec->method);
    *at++ = ' ';
    if (!mr_str_is_absent(spec->target)) {
        at = put(at, spec->target);
    } else {
        at = put(at, url->path.len > 0 ? url->path : MR_STR("/"));
        if (!mr_str_is_absent(url->query)) {
            *at++ = '?';
            at = put(at, url->query);
        }
    }
    at = PUT(at, " HTTP/1.1\r\nhost: ");
    at = put(at, url->host_header);
    at = PUT(at, "\r\n");
    for (size_t i = 0; i < spec->fields.len; i++) {
        at = put(at, spec->fields.ptr[i].name);
        at = PUT(at, ": ");
        at = put(at, spec->fields.ptr[i].value);
        at = PUT(at, "\r\n");
    }
    if (spec->has_body || spec->n_body > 0) {
        at = PUT(at, "content-length: ");
        at = put_number(at, body_len);
        at = PUT(at, "\r\n");
    }
    at = PUT(at, "\r\n");
    MR_ASSERT((size_t)(at - start) <= need);
    mr_buf_commit(&call->text, (size_t)(at - start));
    call->url_len = url->text.len;
    return MR_OK;
}

static mr_str rebase(mr_str part, const char *from, const char *to) {
    return part.ptr == NULL ? part : mr_str_of(to + (part.ptr - from), part.len);
}

static void copy_url(struct http_call *call, const struct net_url *url) {
    const char *from = url->text.ptr;
    const char *to = call->text.ptr;
    call->url = *url;
    call->url.text = rebase(url->text, from, to);
    call->url.signing = rebase(url->signing, from, to);
    call->url.host = rebase(url->host, from, to);
    call->url.host_header = rebase(url->host_header, from, to);
    call->url.path = rebase(url->path, from, to);
    call->url.query = rebase(url->query, from, to);
    call->url.fragment = rebase(url->fragment, from, to);
}

/* Everything of the last use that must not show in this one. Buffers are empty already. */
static void call_reset(struct http_call *call, const struct http_call_spec *spec) {
    struct http_client *client = call->client;
    call->on_done = spec->on_done;
    call->on_body_released = spec->on_body_released;
    call->ctx = spec->ctx;
    call->trust = spec->trust != NULL && spec->url->is_https ? net_trust_ref(spec->trust) : NULL;
    call->n_body = spec->n_body;
    call->total_ms = spec->total_ms;
    call->connect_ms = spec->connect_ms;
    call->read_ms = spec->read_ms;
    call->is_fresh = spec->is_fresh;
    call->is_operators = spec->is_operators;
    call->kept.max = spec->body_kept_max > 0 ? spec->body_kept_max : HTTP_CALL_BODY_KEPT_MAX;
    call->is_to_head = mr_str_eq(spec->method, MR_STR("HEAD"));
    call->started = loop_now(client->loop);
    call->step_started = call->started;
    call->has_begun = false;
    call->release_due = MR_MONO_NEVER;
    call->taken = 0;
    call->sends = 0;
    call->is_reused = false;
    call->is_body_gone = false;
    call->must_connect = spec->is_fresh;
    call->has_bytes = false;
    call->is_body_cut = false;
    call->keep_alive = false;
    call->n_interim = 0;
    call->status = 0;
    call->scan = (struct http_scan){0};
    call->body_read = 0;
    memset(call->steps, 0, sizeof call->steps);
    call->queue_ns = 0;
    call->n_addrs = 0;
    call->peer_addr = (os_addr){.family = OS_FAMILY_NONE};
    call->failure = HTTP_FAIL_NONE;
    call->step = HTTP_STEP_NAME;
    call->detail[0] = '\0';
}

/* Copies what the spec names; the call is on no list yet. */
mr_err http_call_fill(struct http_call *call, const struct http_call_spec *spec) {
    size_t body_len = 0;
    for (size_t i = 0; i < spec->n_body; i++) {
        body_len += spec->body[i].iov_len;
    }
    MR_TRY(write_text(call, spec, body_len));
    if (spec->n_body > HTTP_CALL_IOV_INLINE) {
        call->body = mr_calloc(spec->n_body, sizeof *call->body);
        if (call->body == NULL) {
            call->body = call->body_inline;
            return MR_ERR(MR_E_NOMEM);
        }
    }
    if (spec->n_body > 0) {
        memcpy(call->body, spec->body, spec->n_body * sizeof *call->body);
    }
    call->size = call->text.len - call->url_len + body_len;
    call_reset(call, spec);
    copy_url(call, spec->url);
    return MR_OK;
}
