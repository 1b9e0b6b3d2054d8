/* The records of callbacks. See record.h; what all records have in common is told in record.c.
 *
 * CALLBACK, 40 bytes, then URL, reference and body to the end:
 *     0 version 1 method 2 content 3 zero 4 account u32 8 created_ms i64 16 id 16 B
 *    32 URL bytes u16 34 reference bytes u16 36 body bytes u32
 *
 * CALLBACK_OUTCOME, 56 bytes:
 *     0 version 1 kind 2 reason 3 attempt 4 status u16 6 zero u16 8 account u32 12 duration_ms u32
 *    16 pos u64 24 at_ms i64 32 due_ms i64 40 id 16 B */
#include "ledger/record.h"

#include "ledger/record_parts.h"

#define VERSION 1U

_Static_assert(RECORD_CALLBACK_URL_MAX <= UINT16_MAX && RECORD_CALLBACK_REFERENCE_MAX <= UINT16_MAX,
               "their lengths fit");
_Static_assert(RECORD_CALLBACK_TEXT_LEN == RECORD_LETTER_TEXT_LEN, "ids of one length");

void record_callback_id_format(const struct record_letter_id *id,
                               char out[static RECORD_CALLBACK_TEXT_LEN]) {
    record_ulid_format(id, "cb_", out);
}

mr_err record_callback_id_parse(mr_str text, struct record_letter_id *ret_id) {
    return record_ulid_parse(text, MR_STR("cb_"), ret_id);
}

static mr_err check_version(mr_str body, size_t head) {
    if (body.len >= 1 && (uint8_t)body.ptr[0] > VERSION) {
        return MR_ERR(LEDGER_E_NEWER);
    }
    return body.len >= head && (uint8_t)body.ptr[0] == VERSION ? MR_OK : MR_ERR(LEDGER_E_RECORD);
}

static bool is_within(const struct record_callback *callback) {
    return callback->url.len <= RECORD_CALLBACK_URL_MAX &&
           callback->reference.len <= RECORD_CALLBACK_REFERENCE_MAX &&
           callback->body.len <= RECORD_CALLBACK_BODY_MAX;
}

/* Another combination of method and content is no callback that could be sent. */
static bool is_valid(const struct record_callback *callback) {
    return callback->method <= RECORD_CALLBACK_GET && callback->content <= RECORD_CALLBACK_JSON &&
           (callback->method == RECORD_CALLBACK_POST ||
            callback->content == RECORD_CALLBACK_FORM) &&
           callback->url.len > 0 && callback->account < RECORD_CALLBACKS_OF;
}

static uint8_t *put_text(uint8_t *at, mr_str text) {
    if (text.len > 0) {
        memcpy(at, text.ptr, text.len);
    }
    return at + text.len;
}

mr_err record_callback_encode(const struct record_callback *callback, uint8_t *out, size_t size,
                              size_t *ret_len) {
    if (!is_within(callback) || record_callback_bytes(callback) > size) {
        return MR_ERR(MR_E_LIMIT);
    }
    if (!is_valid(callback)) {
        return MR_ERR(MR_E_INVALID);
    }
    memset(out, 0, RECORD_CALLBACK_HEAD_BYTES);
    out[0] = VERSION;
    out[1] = callback->method;
    out[2] = callback->content;
    mr_put_u32(out + 4, callback->account);
    mr_put_u64(out + 8, (uint64_t)callback->created_ms);
    memcpy(out + 16, callback->id.bytes, RECORD_LETTER_ID_BYTES);
    mr_put_u16(out + 32, (uint16_t)callback->url.len);
    mr_put_u16(out + 34, (uint16_t)callback->reference.len);
    mr_put_u32(out + 36, (uint32_t)callback->body.len);
    uint8_t *at = put_text(out + RECORD_CALLBACK_HEAD_BYTES, callback->url);
    at = put_text(at, callback->reference);
    (void)put_text(at, callback->body);
    *ret_len = record_callback_bytes(callback);
    return MR_OK;
}

mr_err record_callback_decode(mr_str body, struct record_callback *ret_callback) {
    MR_TRY(check_version(body, RECORD_CALLBACK_HEAD_BYTES));
    const char *at = body.ptr;
    const char *text = at + RECORD_CALLBACK_HEAD_BYTES;
    struct record_callback callback = {
        .method = (uint8_t)at[1],
        .content = (uint8_t)at[2],
        .account = mr_get_u32(at + 4),
        .created_ms = (int64_t)mr_get_u64(at + 8),
        .url = {text, mr_get_u16(at + 32)},
        .reference = {NULL, mr_get_u16(at + 34)},
        .body = {NULL, mr_get_u32(at + 36)},
    };
    memcpy(callback.id.bytes, at + 16, RECORD_LETTER_ID_BYTES);
    if (at[3] != 0 || !is_within(&callback) || record_callback_bytes(&callback) != body.len ||
        !is_valid(&callback)) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    callback.reference.ptr = callback.url.ptr + callback.url.len;
    callback.body.ptr = callback.reference.ptr + callback.reference.len;
    *ret_callback = callback;
    return MR_OK;
}

/* --- CALLBACK_OUTCOME --------------------------------------------------------------------------
 */

static bool outcome_is_valid(const struct record_callback_outcome *o) {
    bool is_last = o->attempt == RECORD_CALLBACK_ATTEMPTS_MAX;
    return o->kind >= RECORD_CALLBACK_DELIVERED && o->kind <= RECORD_CALLBACK_FAILED &&
           o->reason < RECORD_REASON_COUNT && o->attempt >= 1 &&
           o->attempt <= RECORD_CALLBACK_ATTEMPTS_MAX && o->pos != 0 &&
           o->account < RECORD_CALLBACKS_OF &&
           (o->kind == RECORD_CALLBACK_RETRY ? !is_last : o->due_ms == 0);
}

mr_err record_callback_outcome_encode(const struct record_callback_outcome *outcome, uint8_t *out,
                                      size_t size, size_t *ret_len) {
    if (!outcome_is_valid(outcome)) {
        return MR_ERR(MR_E_INVALID);
    }
    if (size < RECORD_CALLBACK_OUTCOME_BYTES) {
        return MR_ERR(MR_E_LIMIT);
    }
    memset(out, 0, RECORD_CALLBACK_OUTCOME_BYTES);
    out[0] = VERSION;
    out[1] = outcome->kind;
    out[2] = outcome->reason;
    out[3] = outcome->attempt;
    mr_put_u16(out + 4, outcome->status);
    mr_put_u32(out + 8, outcome->account);
    mr_put_u32(out + 12, outcome->duration_ms);
    mr_put_u64(out + 16, outcome->pos);
    mr_put_u64(out + 24, (uint64_t)outcome->at_ms);
    mr_put_u64(out + 32, (uint64_t)outcome->due_ms);
    memcpy(out + 40, outcome->id.bytes, RECORD_LETTER_ID_BYTES);
    *ret_len = RECORD_CALLBACK_OUTCOME_BYTES;
    return MR_OK;
}

mr_err record_callback_outcome_decode(mr_str body, struct record_callback_outcome *ret_outcome) {
    MR_TRY(check_version(body, RECORD_CALLBACK_OUTCOME_BYTES));
    const char *at = body.ptr;
    struct record_callback_outcome outcome = {
        .kind = (uint8_t)at[1],
        .reason = (uint8_t)at[2],
        .attempt = (uint8_t)at[3],
        .status = mr_get_u16(at + 4),
        .account = mr_get_u32(at + 8),
        .duration_ms = mr_get_u32(at + 12),
        .pos = mr_get_u64(at + 16),
        .at_ms = (int64_t)mr_get_u64(at + 24),
        .due_ms = (int64_t)mr_get_u64(at + 32),
    };
    memcpy(outcome.id.bytes, at + 40, RECORD_LETTER_ID_BYTES);
    if (body.len != RECORD_CALLBACK_OUTCOME_BYTES || mr_get_u16(at + 6) != 0 ||
        !outcome_is_valid(&outcome)) {
        return MR_ERR(LEDGER_E_RECORD);
    }
    *ret_outcome = outcome;
    return MR_OK;
}
