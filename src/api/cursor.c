/* See cursor.h.
 *
 * The text is the hex of 30 bytes, little-endian:
 *
 *   0 form (1) │ 1 kind │ 2 a (8) │ 10 b (8) │ 18 page (4) │ 22 tag (8)
 *
 * The tag is SipHash-2-4, by the store's key, of a name of its own, the account and what stands
 * before it. It is there so that a cursor which was changed, or belongs to another list or account,
 * is refused and does not answer rows from somewhere. It guards no right: who forged one would see
 * rows of the account alone, which the call's own filter allows. */
#include "api/cursor.h"

#include "base/num.h"

#define FORM       1
#define TAG_AT     22
#define BYTES      30
#define TAG_DOMAIN "millrace-cursor"

_Static_assert(BYTES * 2 == API_CURSOR_LEN, "hex");

static uint64_t tag_of(struct siphash_key key, uint32_t account, const uint8_t *bytes) {
    uint8_t text[sizeof TAG_DOMAIN + 4 + TAG_AT];
    memcpy(text, TAG_DOMAIN, sizeof TAG_DOMAIN);
    mr_put_u32(text + sizeof TAG_DOMAIN, account);
    memcpy(text + sizeof TAG_DOMAIN + 4, bytes, TAG_AT);
    return siphash_64(key, text, sizeof text);
}

void api_cursor_encode(struct siphash_key key, enum api_cursor_kind kind, uint32_t account,
                       const struct api_cursor *cursor, char out[static API_CURSOR_LEN + 1]) {
    uint8_t bytes[BYTES];
    bytes[0] = FORM;
    bytes[1] = (uint8_t)kind;
    mr_put_u64(bytes + 2, cursor->a);
    mr_put_u64(bytes + 10, cursor->b);
    mr_put_u32(bytes + 18, cursor->page);
    mr_put_u64(bytes + TAG_AT, tag_of(key, account, bytes));
    mr_hex_encode(bytes, sizeof bytes, out);
    out[API_CURSOR_LEN] = '\0';
}

mr_err api_cursor_decode(struct siphash_key key, enum api_cursor_kind kind, uint32_t account,
                         mr_str text, struct api_cursor *ret_cursor) {
    uint8_t bytes[BYTES];
    if (text.len != API_CURSOR_LEN || mr_is_err(mr_hex_decode(text, bytes, sizeof bytes)) ||
        bytes[0] != FORM || bytes[1] != kind ||
        mr_get_u64(bytes + TAG_AT) != tag_of(key, account, bytes)) {
        return MR_ERR(MR_E_INVALID);
    }
    *ret_cursor = (struct api_cursor){
        .a = mr_get_u64(bytes + 2), .b = mr_get_u64(bytes + 10), .page = mr_get_u32(bytes + 18)};
    return MR_OK;
}

bool api_cursor_take(struct api_call *call, enum api_cursor_kind kind, mr_str size, mr_str number,
                     mr_str text, struct control_page *ret_page, struct api_cursor *ret_cursor,
                     bool *ret_has) {
    *ret_cursor = (struct api_cursor){.a = 0};
    *ret_has = !mr_str_is_absent(text);
    if (!api_page_take(call, size, number, ret_page)) {
        return false;
    }
    if (!*ret_has) {
        return true;
    }
    if (!mr_str_is_absent(number)) {
        api_refuse(call, 400, 20004, "give either cursor or page_number, not both");
        return false;
    }
    if (mr_is_err(api_cursor_decode(call->api->store_key, kind, call->account, text, ret_cursor))) {
        api_refuse(call, 400, 20001,
                   "unknown parameter: cursor: it is not one of this list's next_page_url");
        return false;
    }
    ret_page->number = ret_cursor->page;
    ret_page->by_cursor = true;
    return true;
}
