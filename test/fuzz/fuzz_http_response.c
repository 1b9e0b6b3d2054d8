/* The response parser on any bytes; the first byte says whether a HEAD request is answered. What
 * must hold besides not crashing:
 *   - fed whole or in pieces (their sizes taken from the input), the outcome is the same;
 *   - what is parsed lies inside the input and keeps the rules that the client relies on: a status
 *     in range, no body where there cannot be one, no control character, never two ways to frame;
 *   - the body gives the same bytes however it is cut, and never more than the input had. */
#include "base/buf.h"
#include "base/mem.h"
#include "http/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(mr_str s, mr_str all) {
    MR_ASSERT(s.len == 0 || (s.ptr >= all.ptr && s.ptr + s.len <= all.ptr + all.len));
}

static void check_head(const struct http_head *head, mr_str bytes, bool to_head) {
    MR_ASSERT(head->status >= 100 && head->status <= 599 && head->status != 101);
    check_inside(head->reason, bytes);
    mr_fields fields = http_head_fields(head);
    for (size_t i = 0; i < fields.len; i++) {
        check_inside(fields.ptr[i].name, bytes);
        check_inside(fields.ptr[i].value, bytes);
        MR_ASSERT(http_is_token(fields.ptr[i].name) && http_is_field_value(fields.ptr[i].value));
    }
    size_t n_length = mr_fields_count(fields, MR_STR("content-length"));
    size_t n_coding = mr_fields_count(fields, MR_STR("transfer-encoding"));
    MR_ASSERT(n_length + n_coding <= 1);
    bool is_bodyless = to_head || head->status < 200 || head->status == 204 || head->status == 304;
    MR_ASSERT(!is_bodyless || head->framing == HTTP_FRAMING_NONE);
    MR_ASSERT(head->framing != HTTP_FRAMING_CLOSE || !head->keep_alive);
}

/* Decodes in pieces of step bytes; returns the code and how many bytes were used. */
static uint32_t decode(const struct http_head *head, mr_str text, size_t step, mr_buf *out,
                       size_t *ret_used) {
    struct http_body body;
    http_body_init(&body, head);
    mr_buf_init(out, text.len + 1);
    uint32_t code = MR_E_AGAIN;
    size_t at = 0;
    while (at < text.len && !body.is_done && (code == MR_E_AGAIN || code == MR_E_OK)) {
        mr_str in = mr_str_slice(text, at, at + step);
        size_t before = in.len;
        do {
            mr_str piece = MR_STR("");
            code = http_body_next(&body, &in, &piece).code;
            if (code == MR_E_OK) {
                MR_ASSERT(mr_is_ok(mr_buf_str(out, piece)));
            }
        } while (code == MR_E_OK && !body.is_done);
        at += before - in.len;
    }
    *ret_used = at;
    return body.is_done ? MR_E_OK : code;
}

static void check_body(const struct http_head *head, mr_str text, size_t step) {
    mr_buf whole;
    mr_buf pieces;
    size_t used_whole;
    size_t used_pieces;
    uint32_t code = decode(head, text, text.len + 1, &whole, &used_whole);
    MR_ASSERT(decode(head, text, step, &pieces, &used_pieces) == code);
    if (code == MR_E_OK || code == MR_E_AGAIN) {
        MR_ASSERT(used_whole == used_pieces);
        MR_ASSERT(mr_str_eq(mr_buf_view(&whole), mr_buf_view(&pieces)));
    }
    mr_buf_done(&whole);
    mr_buf_done(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bool to_head = size > 0 && data[0] == 'h';
    if (size > 0) {
        data++;
        size--;
    }
    struct http_head *head = MR_NEW(struct http_head);
    MR_ASSERT(head != NULL);
    mr_str text = mr_str_of((const char *)data, size);
    size_t step = 1 + (size > 0 ? data[size - 1] % 32U : 0);
    struct http_scan scan = {0};
    size_t used_pieces = 0;
    uint32_t in_pieces = MR_E_AGAIN;
    for (size_t n = 0; in_pieces == MR_E_AGAIN && n < size;) {
        n = n + step > size ? size : n + step;
        in_pieces =
            http_response_parse(&scan, mr_str_slice(text, 0, n), to_head, head, &used_pieces).code;
    }
    scan = (struct http_scan){0};
    size_t used = 0;
    uint32_t code = http_response_parse(&scan, text, to_head, head, &used).code;
    MR_ASSERT(code == in_pieces);
    if (code == MR_E_OK) {
        MR_ASSERT(used == used_pieces && used <= size && used <= HTTP_HEAD_BYTES_MAX);
        check_head(head, text, to_head);
        check_body(head, mr_str_slice(text, used, size), step);
    } else {
        MR_ASSERT(code == MR_E_AGAIN || head->problem != NULL);
    }
    mr_free(head);
    return 0;
}
