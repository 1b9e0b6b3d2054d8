/* Heads and bodies of HTTP/1.1: every refusal a row, each row fed whole, cut in two at every place
 * and byte by byte, with the same outcome. */
#include "base/buf.h"
#include "base/mem.h"
#include "http/chars.h"
#include "http/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

/* The outcome of a parse: MR_E_OK, MR_E_AGAIN or the refusal. */
struct outcome {
    uint32_t code;
    size_t used;
};

enum kind {
    KIND_REQUEST = 0,
    KIND_RESPONSE,
    KIND_RESPONSE_TO_HEAD,
};

/* Feeds text in steps: first `first` bytes, then `step` more each time. The bytes lie in a block of
 * exactly their size, so that a read beyond them is seen. */
static struct outcome feed(enum kind kind, mr_str text, size_t first, size_t step,
                           struct http_head *head, char **ret_block) {
    struct http_scan scan = {0};
    struct outcome outcome = {.code = MR_E_AGAIN};
    for (size_t n = first; outcome.code == MR_E_AGAIN; n += step) {
        n = n > text.len ? text.len : n;
        char *block = mr_alloc(n == 0 ? 1 : n);
        assert_non_null(block);
        memcpy(block, text.ptr, n);
        mr_str bytes = mr_str_of(block, n);
        mr_err err = kind == KIND_REQUEST
                         ? http_request_parse(&scan, bytes, head, &outcome.used)
                         : http_response_parse(&scan, bytes, kind == KIND_RESPONSE_TO_HEAD, head,
                                               &outcome.used);
        outcome.code = err.code;
        if (n == text.len || outcome.code != MR_E_AGAIN) {
            *ret_block = block;
            return outcome;
        }
        mr_free(block);
    }
    return outcome;
}

/* All ways to cut the text give what the whole gives. */
static void assert_outcome(enum kind kind, mr_str text, uint32_t code) {
    struct http_head *head = MR_NEW(struct http_head);
    assert_non_null(head);
    char *block = NULL;
    struct outcome whole = feed(kind, text, text.len, 1, head, &block);
    mr_free(block);
    if (whole.code != code) {
        print_error("got %x, expected %x for: %.*s\n", whole.code, code, MR_FMT(text));
    }
    assert_int_equal(whole.code, code);
    struct outcome bytewise = feed(kind, text, 0, 1, head, &block);
    mr_free(block);
    assert_int_equal(bytewise.code, code);
    bool is_refusal = code != MR_E_OK && code != MR_E_AGAIN;
    assert_true(is_refusal == (head->problem != NULL));
    for (size_t cut = 0; cut <= text.len && text.len < 500; cut++) {
        struct outcome split = feed(kind, text, cut, text.len, head, &block);
        mr_free(block);
        assert_int_equal(split.code, code);
        assert_true(code != MR_E_OK || split.used == whole.used);
    }
    mr_free(head);
}

#define OK    MR_E_OK
#define MORE  MR_E_AGAIN
#define H     "host: a\r\n"
#define POST  "POST / HTTP/1.1\r\n" H
#define CHUNK "transfer-encoding: chunked\r\n"

static const struct {
    const char *text;
    uint32_t code;
} requests[] = {
    {"GET / HTTP/1.1\r\nhost: a\r\n\r\n", OK},
    {"GET / HTTP/1.1\r\nhost: a\r\n", MORE},
    {"GET / HT", MORE},
    {"\r", MORE},
    {"\r\n", MORE},
    {"\r\nGET / HTTP/1.1\r\n" H "\r\n", OK},
    {"\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"\rGET / HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"\nGET / HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {" GET / HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"\x16\x03\x01\x02", HTTP_E_BAD}, /* a TLS client */
    /* line ends */
    {"GET / HTTP/1.1\nhost: a\r\n\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.1\r\nhost: a\n\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.1\r\nhost: a\r\n\n", HTTP_E_BAD},
    {"GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.1\r\nhost: a\r\nx: a\r\r\n\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.1\r\r\nhost: a\r\n\r\n", HTTP_E_BAD},
    /* request line */
    {"GET /\r\n\r\n", HTTP_E_BAD}, /* HTTP/0.9 */
    {"GET /\r\n", HTTP_E_BAD},
    {"GET  / HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"GET /  HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.1 \r\n" H "\r\n", HTTP_E_BAD},
    {"GET\t/ HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"G(T / HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"GET / http/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.10\r\n" H "\r\n", HTTP_E_BAD},
    {"GET / HTTP/11\r\n" H "\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.2\r\n" H "\r\n", HTTP_E_VERSION},
    {"GET / HTTP/2.0\r\n" H "\r\n", HTTP_E_VERSION},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP_E_VERSION},
    {"GET /a b HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"GET /\xc3\xa4 HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"GET /#f HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"GET /\x7f HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"GET a HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"GET * HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"OPTIONS * HTTP/1.1\r\n" H "\r\n", OK},
    {"GET http://b/x HTTP/1.1\r\n" H "\r\n", OK},
    {"GET HTTPS://b HTTP/1.1\r\n" H "\r\n", OK},
    {"GET ftp://b/ HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"GET http:///x HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"GET http://u@b/x HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"CONNECT a:443 HTTP/1.1\r\n" H "\r\n", HTTP_E_BAD},
    {"FROBNICATE / HTTP/1.1\r\n" H "\r\n", OK},
    /* fields */
    {"GET / HTTP/1.1\r\n" H "x:\r\n\r\n", OK},
    {"GET / HTTP/1.1\r\n" H "x: \xc3\xa4\t y\r\n\r\n", OK},
    {"GET / HTTP/1.1\r\nhost : a\r\n\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.1\r\n" H "x y: a\r\n\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.1\r\n" H ": a\r\n\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.1\r\n" H "x\r\n\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.1\r\n" H "x: a\r\n b\r\n\r\n", HTTP_E_BAD}, /* folded */
    {"GET / HTTP/1.1\r\n x: a\r\n" H "\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.1\r\n" H "x: \x01\r\n\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.1\r\n" H "x: \x7f\r\n\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.1\r\n" H "\xc3\xa4: a\r\n\r\n", HTTP_E_BAD},
    /* host */
    {"GET / HTTP/1.1\r\n\r\n", HTTP_E_BAD},
    {"GET http://b/ HTTP/1.1\r\n\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.0\r\n\r\n", OK},
    {"GET / HTTP/1.1\r\n" H H "\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.0\r\n" H H "\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.1\r\nhost:\r\n\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.1\r\nhost: a b\r\n\r\n", HTTP_E_BAD},
    {"GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n", OK},
    /* framing */
    {POST "content-length: 5\r\n\r\n", OK},
    {POST "content-length: 0\r\n\r\n", OK},
    {POST "content-length: 5\r\ncontent-length: 5\r\n\r\n", HTTP_E_BAD},
    {POST "content-length: 5\r\ncontent-length: 6\r\n\r\n", HTTP_E_BAD},
    {POST "content-length: 5, 5\r\n\r\n", HTTP_E_BAD},
    {POST "content-length: +5\r\n\r\n", HTTP_E_BAD},
    {POST "content-length: -5\r\n\r\n", HTTP_E_BAD},
    {POST "content-length: 0x5\r\n\r\n", HTTP_E_BAD},
    {POST "content-length: 5 5\r\n\r\n", HTTP_E_BAD},
    {POST "content-length:\r\n\r\n", HTTP_E_BAD},
    {POST "content-length: 99999999999999999999\r\n\r\n", HTTP_E_BAD},
    {POST "content-length: 18446744073709551617\r\n\r\n", HTTP_E_BAD},
    {POST CHUNK "\r\n", OK},
    {POST "Transfer-Encoding: CHUNKED\r\n\r\n", OK},
    {POST CHUNK "content-length: 5\r\n\r\n", HTTP_E_BAD},
    {POST "content-length: 5\r\n" CHUNK "\r\n", HTTP_E_BAD},
    {POST CHUNK "content-length: 0\r\n\r\n", HTTP_E_BAD},
    {POST CHUNK CHUNK "\r\n", HTTP_E_BAD},
    {POST "transfer-encoding: gzip, chunked\r\n\r\n", HTTP_E_CODING},
    {POST "transfer-encoding: chunked, identity\r\n\r\n", HTTP_E_CODING},
    {POST "transfer-encoding: identity\r\n\r\n", HTTP_E_CODING},
    {POST "transfer-encoding: xchunked\r\n\r\n", HTTP_E_CODING},
    {POST "transfer-encoding: \"chunked\"\r\n\r\n", HTTP_E_CODING},
    {POST "transfer-encoding:\x0b"
          "chunked\r\n\r\n",
     HTTP_E_BAD},
    {POST "transfer-encoding : chunked\r\n\r\n", HTTP_E_BAD},
    {"POST / HTTP/1.0\r\n" CHUNK "\r\n", HTTP_E_BAD},
};

static void request_heads_have_one_outcome_however_they_are_cut(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        assert_outcome(KIND_REQUEST, mr_str_c(requests[i].text), requests[i].code);
    }
}

static void a_nul_anywhere_in_the_head_is_refused(void **state) {
    (void)state;
    static const char head[] = "GET /a?b HTTP/1.1\r\nhost: a\r\nx-y: value\r\n\r\n";
    for (size_t i = 0; i < sizeof head - 5; i++) {
        char copy[sizeof head];
        memcpy(copy, head, sizeof head);
        copy[i] = '\0';
        assert_outcome(KIND_REQUEST, mr_str_of(copy, sizeof head - 1), HTTP_E_BAD);
    }
}

static const struct {
    const char *text;
    uint32_t code;
} responses[] = {
    {"HTTP/1.1 200 OK\r\n\r\n", OK},
    {"HTTP/1.1 200 \r\n\r\n", OK},
    {"HTTP/1.1 200\r\n\r\n", OK},
    {"HTTP/1.0 200 OK\r\n\r\n", OK},
    {"HTTP/1.1 100 Continue\r\n\r\n", OK},
    {"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", OK},
    {"HTTP/1.1 200 OK\r\n", MORE},
    {"\r\nHTTP/1.1 200 OK\r\n\r\n", HTTP_E_BAD},
    {"HTTP/1.1 101 Switching Protocols\r\n\r\n", HTTP_E_BAD},
    {"HTTP/1.1 099 X\r\n\r\n", HTTP_E_BAD},
    {"HTTP/1.1 600 X\r\n\r\n", HTTP_E_BAD},
    {"HTTP/1.1 20 OK\r\n\r\n", HTTP_E_BAD},
    {"HTTP/1.1 2000 OK\r\n\r\n", HTTP_E_BAD},
    {"HTTP/1.1  200 OK\r\n\r\n", HTTP_E_BAD},
    {"HTTP/1.1 200 O\x01K\r\n\r\n", HTTP_E_BAD},
    {"HTTP/2 200\r\n\r\n", HTTP_E_BAD},
    {"HTTP/2.0 200 OK\r\n\r\n", HTTP_E_VERSION},
    {"ICY 200 OK\r\n\r\n", HTTP_E_BAD},
    {"<html>", HTTP_E_BAD},
    {"HTTP/1.1 200 OK\nx: y\r\n\r\n", HTTP_E_BAD},
    {"HTTP/1.1 200 OK\r\nx: y\r\n z\r\n\r\n", HTTP_E_BAD},
    {"HTTP/1.1 200 OK\r\nx : y\r\n\r\n", HTTP_E_BAD},
    {"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\n", HTTP_E_BAD},
    {"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n" CHUNK "\r\n", HTTP_E_BAD},
    {"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", HTTP_E_CODING},
    {"HTTP/1.0 200 OK\r\n" CHUNK "\r\n", HTTP_E_BAD},
};

static void response_heads_have_one_outcome_however_they_are_cut(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof responses / sizeof responses[0]; i++) {
        assert_outcome(KIND_RESPONSE, mr_str_c(responses[i].text), responses[i].code);
    }
}

static struct http_head *parse(enum kind kind, const char *text) {
    struct http_head *head = MR_NEW(struct http_head);
    struct http_scan scan = {0};
    size_t used;
    mr_str bytes = mr_str_c(text);
    mr_err err =
        kind == KIND_REQUEST
            ? http_request_parse(&scan, bytes, head, &used)
            : http_response_parse(&scan, bytes, kind == KIND_RESPONSE_TO_HEAD, head, &used);
    assert_int_equal(err.code, 0);
    return head;
}

static void assert_text(mr_str got, const char *expected) {
    assert_true(mr_str_eq(got, mr_str_c(expected)));
}

static void a_request_head_is_taken_apart(void **state) {
    (void)state;
    struct http_head *head =
        parse(KIND_REQUEST, "POST /v1/e?x=1?y HTTP/1.1\r\nHost: h:1\r\nX-A:  one two \t\r\n"
                            "Expect: 100-Continue\r\nContent-Length: 007\r\n\r\nrest");
    assert_int_equal(head->method, HTTP_POST);
    assert_text(head->method_text, "POST");
    assert_text(head->target, "/v1/e?x=1?y");
    assert_text(head->path, "/v1/e");
    assert_text(head->query, "x=1?y");
    assert_text(head->host, "h:1");
    assert_text(mr_fields_find(http_head_fields(head), MR_STR("x-a")), "one two");
    assert_int_equal(head->n_fields, 4);
    assert_true(head->expects_continue && head->keep_alive);
    assert_int_equal(head->framing, HTTP_FRAMING_LENGTH);
    assert_int_equal(head->content_length, 7);
    mr_free(head);
    head = parse(KIND_REQUEST, "GET http://b:8?q HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_text(head->host, "b:8");
    assert_text(head->path, "/");
    assert_text(head->query, "q");
    assert_false(head->expects_continue);
    mr_free(head);
    head = parse(KIND_REQUEST, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_true(mr_str_is_absent(head->query));
    mr_free(head);
}

static void methods_are_told_apart(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum http_method method;
    } rows[] = {{"GET", HTTP_GET},         {"HEAD", HTTP_HEAD},   {"POST", HTTP_POST},
                {"PUT", HTTP_PUT},         {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE},
                {"OPTIONS", HTTP_OPTIONS}, {"get", HTTP_OTHER},   {"TRACE", HTTP_OTHER}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[80];
        snprintf(text, sizeof text, "%s / HTTP/1.1\r\nhost: a\r\n\r\n", rows[i].name);
        struct http_head *head = parse(KIND_REQUEST, text);
        assert_int_equal(head->method, rows[i].method);
        mr_free(head);
    }
}

static void keep_alive_follows_version_and_connection_field(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool keep_alive;
    } rows[] = {
        {"GET / HTTP/1.1\r\n" H "\r\n", true},
        {"GET / HTTP/1.1\r\n" H "connection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" H "connection: x, CLOSE\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" H "connection: x\r\nconnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\n" H "connection: closed\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n" H "\r\n", false},
        {"GET / HTTP/1.0\r\n" H "connection: keep-alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n" H "connection: keep-alive, close\r\n\r\n", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct http_head *head = parse(KIND_REQUEST, rows[i].text);
        assert_int_equal(head->keep_alive, rows[i].keep_alive);
        mr_free(head);
    }
}

static void a_response_is_framed_by_status_method_and_fields(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum kind kind;
        enum http_framing framing;
        bool keep_alive;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\n\r\n", KIND_RESPONSE, HTTP_FRAMING_CLOSE, false},
        {"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", KIND_RESPONSE, HTTP_FRAMING_NONE, true},
        {"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", KIND_RESPONSE, HTTP_FRAMING_LENGTH, true},
        {"HTTP/1.1 200 OK\r\n" CHUNK "\r\n", KIND_RESPONSE, HTTP_FRAMING_CHUNKED, true},
        {"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", KIND_RESPONSE_TO_HEAD, HTTP_FRAMING_NONE,
         true},
        {"HTTP/1.1 200 OK\r\n" CHUNK "\r\n", KIND_RESPONSE_TO_HEAD, HTTP_FRAMING_NONE, true},
        {"HTTP/1.1 204 No\r\n\r\n", KIND_RESPONSE, HTTP_FRAMING_NONE, true},
        {"HTTP/1.1 204 No\r\ncontent-length: 9\r\n\r\n", KIND_RESPONSE, HTTP_FRAMING_NONE, false},
        {"HTTP/1.1 304 No\r\ncontent-length: 9\r\n\r\n", KIND_RESPONSE, HTTP_FRAMING_NONE, true},
        {"HTTP/1.1 103 Early\r\n\r\n", KIND_RESPONSE, HTTP_FRAMING_NONE, true},
        {"HTTP/1.0 200 OK\r\ncontent-length: 9\r\n\r\n", KIND_RESPONSE, HTTP_FRAMING_LENGTH, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct http_head *head = parse(rows[i].kind, rows[i].text);
        assert_int_equal(head->framing, rows[i].framing);
        assert_int_equal(head->keep_alive, rows[i].keep_alive);
        mr_free(head);
    }
}

/* A request head of exactly size bytes with n fields besides Host. */
static void make_head(mr_buf *out, size_t size, size_t n) {
    mr_buf_init(out, 1 << 20);
    assert_true(mr_is_ok(mr_buf_str(out, MR_STR("GET / HTTP/1.1\r\nhost: a\r\n"))));
    for (size_t i = 0; i < n; i++) {
        assert_true(mr_is_ok(mr_buf_str(out, MR_STR("x: y\r\n"))));
    }
    if (size > 0) {
        assert_true(mr_is_ok(mr_buf_str(out, MR_STR("z: "))));
        while (out->len < size - 4) {
            assert_true(mr_is_ok(mr_buf_byte(out, 'z')));
        }
        assert_true(mr_is_ok(mr_buf_str(out, MR_STR("\r\n"))));
    }
    assert_true(mr_is_ok(mr_buf_str(out, MR_STR("\r\n"))));
}

static void head_size_and_field_count_are_bounded_exactly(void **state) {
    (void)state;
    static const struct {
        size_t size, n;
        uint32_t code;
    } rows[] = {
        {HTTP_HEAD_BYTES_MAX, 0, OK},
        {HTTP_HEAD_BYTES_MAX + 1, 0, HTTP_E_HEAD_TOO_LARGE},
        {20000, 0, HTTP_E_HEAD_TOO_LARGE},
        {0, HTTP_FIELDS_MAX - 1, OK},
        {0, HTTP_FIELDS_MAX, HTTP_E_HEAD_TOO_LARGE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mr_buf head;
        make_head(&head, rows[i].size, rows[i].n);
        assert_outcome(KIND_REQUEST, mr_buf_view(&head), rows[i].code);
        mr_buf_done(&head);
    }
}

static void a_target_over_8_KiB_is_too_long(void **state) {
    (void)state;
    for (size_t extra = 0; extra < 2; extra++) {
        mr_buf text;
        mr_buf_init(&text, 1 << 16);
        assert_true(mr_is_ok(mr_buf_str(&text, MR_STR("GET /"))));
        for (size_t i = 1; i < HTTP_TARGET_BYTES_MAX + extra; i++) {
            assert_true(mr_is_ok(mr_buf_byte(&text, 'a')));
        }
        assert_true(mr_is_ok(mr_buf_str(&text, MR_STR(" HTTP/1.1\r\n" H "\r\n"))));
        assert_outcome(KIND_REQUEST, mr_buf_view(&text), extra == 0 ? OK : HTTP_E_TARGET_TOO_LONG);
        mr_buf_done(&text);
    }
}

/* Bodies */

/* Decodes in pieces of step bytes. Returns the code; out gets the body, *ret_rest what is left. */
static uint32_t decode(enum http_framing framing, uint64_t length, mr_str text, size_t step,
                       mr_buf *out, size_t *ret_rest) {
    struct http_head *head = MR_NEW(struct http_head);
    head->framing = framing;
    head->content_length = length;
    struct http_body body;
    http_body_init(&body, head);
    mr_free(head);
    mr_buf_init(out, 1 << 20);
    uint32_t code = MR_E_AGAIN;
    size_t at = 0;
    while (at < text.len && !body.is_done) {
        mr_str in = mr_str_slice(text, at, at + step);
        at += in.len;
        do {
            mr_str piece = MR_STR("");
            code = http_body_next(&body, &in, &piece).code;
            if (code == MR_E_OK) {
                assert_true(mr_is_ok(mr_buf_str(out, piece)));
            } else if (code != MR_E_AGAIN) {
                assert_non_null(body.problem);
                return code;
            }
        } while (code == MR_E_OK && !body.is_done);
        at -= in.len;
    }
    *ret_rest = text.len - at;
    return body.is_done ? MR_E_OK : MR_E_AGAIN;
}

static const struct {
    const char *text;
    uint32_t code;
    const char *body;
    const char *rest;
} chunked[] = {
    {"5\r\nhello\r\n0\r\n\r\n", OK, "hello", ""},
    {"5\r\nhello\r\n0\r\n\r\nGET", OK, "hello", "GET"},
    {"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", OK, "abcde", ""},
    {"0\r\n\r\n", OK, "", ""},
    {"000a\r\n0123456789\r\n0\r\n\r\n", OK, "0123456789", ""},
    {"A\r\n0123456789\r\n0\r\n\r\n", OK, "0123456789", ""},
    {"1;a\r\nx\r\n0;b=c\r\n\r\n", OK, "x", ""},
    {"1;a=\"q;\\\"\r\"\r\nx\r\n0\r\n\r\n", HTTP_E_BAD, NULL, NULL},
    {"1;a=\"q; \\\"\";b\r\nx\r\n0\r\n\r\n", OK, "x", ""},
    {"1\r\nx\r\n0\r\nt: v\r\nu:\r\n\r\n", OK, "x", ""},
    {"5\r\nhel", MORE, "hel", ""},
    {"5\r\nhello\r\n0\r\n", MORE, "hello", ""},
    {"\r\nx", HTTP_E_BAD, NULL, NULL},
    {"g\r\n", HTTP_E_BAD, NULL, NULL},
    {" 1\r\nx\r\n", HTTP_E_BAD, NULL, NULL},
    {"1 \r\nx\r\n", HTTP_E_BAD, NULL, NULL},
    {"1\t;a\r\nx\r\n", HTTP_E_BAD, NULL, NULL},
    {"0x1\r\nx\r\n", HTTP_E_BAD, NULL, NULL},
    {"+1\r\nx\r\n", HTTP_E_BAD, NULL, NULL},
    {"-1\r\nx\r\n", HTTP_E_BAD, NULL, NULL},
    {"1\nx\r\n", HTTP_E_BAD, NULL, NULL},
    {"1\rx\r\n", HTTP_E_BAD, NULL, NULL},
    {"1\r\nxy\r\n", HTTP_E_BAD, NULL, NULL},
    {"1\r\nx\n0\r\n", HTTP_E_BAD, NULL, NULL},
    {"1\r\nx\rz", HTTP_E_BAD, NULL, NULL},
    {"1\r\nx0\r\n\r\n", HTTP_E_BAD, NULL, NULL},
    {"1;\r\nx\r\n", HTTP_E_BAD, NULL, NULL},
    {"1;a=\r\nx\r\n", HTTP_E_BAD, NULL, NULL},
    {"1;a b\r\nx\r\n", HTTP_E_BAD, NULL, NULL},
    {"1;a=\"b\nc\"\r\nx\r\n", HTTP_E_BAD, NULL, NULL},
    {"1;a\nx\r\n", HTTP_E_BAD, NULL, NULL},
    {"10000000000000000\r\n", HTTP_E_BAD, NULL, NULL}, /* 17 digits: 2^64 */
    {"00000000000000001\r\n", HTTP_E_BAD, NULL, NULL}, /* overlong */
    {"ffffffffffffffff\r\n", HTTP_E_BAD, NULL, NULL},
    {"8000000000000000\r\n", HTTP_E_BAD, NULL, NULL},
    {"7fffffffffffffff\r\nx", MORE, "x", ""},
    {"0\r\n x\r\n\r\n", HTTP_E_BAD, NULL, NULL},
    {"0\r\nt v\r\n\r\n", HTTP_E_BAD, NULL, NULL},
    {"0\r\nt: \x01\r\n\r\n", HTTP_E_BAD, NULL, NULL},
    {"0\r\nt: v\n\r\n", HTTP_E_BAD, NULL, NULL},
    {"0\r\n\n", HTTP_E_BAD, NULL, NULL},
    {"0\r\n\rx", HTTP_E_BAD, NULL, NULL},
};

static void chunks_have_one_outcome_however_they_are_cut(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof chunked / sizeof chunked[0]; i++) {
        mr_str text = mr_str_c(chunked[i].text);
        for (size_t step = 1; step <= text.len; step++) {
            mr_buf out;
            size_t rest = 0;
            uint32_t code = decode(HTTP_FRAMING_CHUNKED, 0, text, step, &out, &rest);
            if (code != chunked[i].code) {
                print_error("row %zu step %zu: %s\n", i, step, chunked[i].text);
            }
            assert_int_equal(code, chunked[i].code);
            if (chunked[i].body != NULL) {
                assert_text(mr_buf_view(&out), chunked[i].body);
                assert_int_equal(rest, strlen(chunked[i].rest));
            }
            mr_buf_done(&out);
        }
    }
}

static void extensions_and_trailers_are_bounded_in_all(void **state) {
    (void)state;
    mr_buf text;
    mr_buf_init(&text, 1 << 20);
    for (int i = 0; i < 900; i++) {
        assert_true(mr_is_ok(mr_buf_str(&text, MR_STR("1;extension\r\nx\r\n"))));
    }
    mr_buf out;
    size_t rest;
    assert_int_equal(decode(HTTP_FRAMING_CHUNKED, 0, mr_buf_view(&text), 1000, &out, &rest),
                     HTTP_E_BAD);
    mr_buf_done(&out);
    mr_buf_reset(&text);
    assert_true(mr_is_ok(mr_buf_str(&text, MR_STR("0\r\n"))));
    for (int i = 0; i < 900; i++) {
        assert_true(mr_is_ok(mr_buf_str(&text, MR_STR("trailer: v\r\n"))));
    }
    assert_int_equal(decode(HTTP_FRAMING_CHUNKED, 0, mr_buf_view(&text), 1000, &out, &rest),
                     HTTP_E_BAD);
    mr_buf_done(&out);
    mr_buf_done(&text);
}

static void a_length_takes_exactly_its_bytes(void **state) {
    (void)state;
    for (size_t step = 1; step < 12; step++) {
        mr_buf out;
        size_t rest;
        assert_int_equal(decode(HTTP_FRAMING_LENGTH, 5, MR_STR("helloGET /"), step, &out, &rest),
                         OK);
        assert_text(mr_buf_view(&out), "hello");
        assert_int_equal(rest, 5);
        mr_buf_done(&out);
        assert_int_equal(decode(HTTP_FRAMING_CLOSE, 0, MR_STR("hello"), step, &out, &rest), MORE);
        assert_text(mr_buf_view(&out), "hello");
        mr_buf_done(&out);
    }
}

static void the_table_of_bytes_is_that_of_the_grammar(void **state) {
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool token = alnum || (c != 0 && c < 128 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
        bool field = c == '\t' || (c >= 0x20 && c != 0x7f);
        bool target = c > 0x20 && c < 0x7f && c != '#';
        bool host = alnum || (c != 0 && c < 128 && strchr(".-_~%!$&'()*+,;=:[]", c) != NULL);
        assert_int_equal(http_char_is((char)c, HTTP_CHAR_TOKEN), token);
        assert_int_equal(http_char_is((char)c, HTTP_CHAR_FIELD), field);
        assert_int_equal(http_char_is((char)c, HTTP_CHAR_TARGET), target);
        assert_int_equal(http_char_is((char)c, HTTP_CHAR_HOST), host);
    }
}

static void each_refusal_has_its_status(void **state) {
    (void)state;
    assert_int_equal(http_err_status(MR_ERR(HTTP_E_BAD)), 400);
    assert_int_equal(http_err_status(MR_ERR(HTTP_E_TARGET_TOO_LONG)), 414);
    assert_int_equal(http_err_status(MR_ERR(HTTP_E_HEAD_TOO_LARGE)), 431);
    assert_int_equal(http_err_status(MR_ERR(HTTP_E_CODING)), 501);
    assert_int_equal(http_err_status(MR_ERR(HTTP_E_VERSION)), 505);
    assert_int_equal(http_err_status(MR_ERR(MR_E_NOMEM)), 500);
}

static void field_values_and_tokens_are_judged(void **state) {
    (void)state;
    assert_true(http_is_field_value(MR_STR("")));
    assert_true(http_is_field_value(MR_STR("a b\tc")));
    assert_false(http_is_field_value(MR_STR(" a")));
    assert_false(http_is_field_value(MR_STR("a\t")));
    assert_false(http_is_field_value(MR_STR("a\r\nb: c")));
    assert_false(http_is_token(MR_STR("")));
    assert_true(http_is_token(MR_STR("x-y")));
    assert_false(http_is_token(MR_STR("x y")));
    assert_true(http_list_has(MR_STR("a , CLOSE,b"), MR_STR("close")));
    assert_false(http_list_has(MR_STR("aclose"), MR_STR("close")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_heads_have_one_outcome_however_they_are_cut),
        cmocka_unit_test(a_nul_anywhere_in_the_head_is_refused),
        cmocka_unit_test(response_heads_have_one_outcome_however_they_are_cut),
        cmocka_unit_test(a_request_head_is_taken_apart),
        cmocka_unit_test(methods_are_told_apart),
        cmocka_unit_test(keep_alive_follows_version_and_connection_field),
        cmocka_unit_test(a_response_is_framed_by_status_method_and_fields),
        cmocka_unit_test(head_size_and_field_count_are_bounded_exactly),
        cmocka_unit_test(a_target_over_8_KiB_is_too_long),
        cmocka_unit_test(chunks_have_one_outcome_however_they_are_cut),
        cmocka_unit_test(extensions_and_trailers_are_bounded_in_all),
        cmocka_unit_test(a_length_takes_exactly_its_bytes),
        cmocka_unit_test(the_table_of_bytes_is_that_of_the_grammar),
        cmocka_unit_test(each_refusal_has_its_status),
        cmocka_unit_test(field_values_and_tokens_are_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
