/* PutRecords: {"StreamARN":"…","Records":[{"Data":"<base64>","PartitionKey":"…"},…]}. See body.h.
 *
 * The stored envelope is the record: an object, minified, as it was accepted. Its key decides the
 * shard, so the same event must always get the same one: its id, or what a JSON Pointer finds in it
 * (a string, or a number, true and false by their text; anything else counts as missing). A key of
 * more than 256 characters becomes its SHA-256 in hex. */
#include "sink/kinesis/body.h"

#include "base/num.h"
#include "deliver/lane.h"
#include "event/envelope.h"
#include "json/pointer.h"
#include "sink/kinesis.h"

#define RECORD_OVERHEAD 64 /* of JSON around data and key */

/* A key as JSON text's inside and the bytes it stands for. */
struct key {
    mr_str inner; /* escaped where it must be */
    size_t bytes; /* decoded */
};

static size_t characters(mr_str text) {
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        n += ((unsigned char)text.ptr[i] & 0xC0) != 0x80 ? 1 : 0;
    }
    return n;
}

/* The key of a decoded text whose escaped form is inner (absent: to be made). */
static mr_err finish_key(const struct kinesis_format *format, mr_str text, mr_str inner,
                         struct key *ret_key) {
    char hex[2 * CRYPTO_SHA256_BYTES];
    if (characters(text) > KINESIS_KEY_MAX) {
        uint8_t hash[CRYPTO_SHA256_BYTES];
        MR_TRY(crypto_sha256(format->hasher, &text, 1, hash));
        mr_hex_encode(hash, sizeof hash, hex);
        inner = mr_arena_str(format->arena, mr_str_of(hex, sizeof hex));
        *ret_key = (struct key){inner, sizeof hex};
        return mr_str_is_absent(inner) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    }
    *ret_key = (struct key){inner, text.len};
    return MR_OK;
}

static mr_err key_of_id(const struct kinesis_format *format, mr_str id, struct key *ret_key) {
    bool is_plain = id.len == 0 || memchr(id.ptr, '\\', id.len) == NULL;
    if (is_plain && id.len <= KINESIS_KEY_MAX) {
        *ret_key = (struct key){id, id.len};
        return MR_OK;
    }
    mr_str text;
    MR_TRY(event_text(id, format->arena, &text));
    return finish_key(format, text, id, ret_key);
}

/* MR_E_NOT_FOUND: nothing there that could be a key. */
static mr_err key_of_pointer(const struct kinesis_format *format, mr_str envelope,
                             struct key *ret_key) {
    json_value value;
    mr_str text;
    MR_TRY(json_tape_read(format->tape, envelope, NULL));
    mr_err err = json_pointer_find(json_root(format->tape), format->partition_key, &value);
    if (mr_is_err(err)) {
        return mr_err_is(err, MR_E_NOMEM) ? err : MR_ERR(MR_E_NOT_FOUND);
    }
    enum json_kind kind = json_kind_of(value);
    if (kind == JSON_NUMBER || kind == JSON_TRUE || kind == JSON_FALSE) {
        text = json_raw(value);
        return finish_key(format, text, text, ret_key);
    }
    if (kind != JSON_STRING || json_count(value) != 0 || json_raw(value).len <= 2) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    MR_TRY(json_string(value, format->arena, &text));
    mr_str raw = json_raw(value);
    return finish_key(format, text, mr_str_slice(raw, 1, raw.len - 1), ret_key);
}

static mr_err find_key(const struct kinesis_format *format, mr_str envelope, mr_str id,
                       struct key *ret_key) {
    if (format->partition_key.len > 0) {
        mr_err err = key_of_pointer(format, envelope, ret_key);
        if (mr_is_ok(err) || mr_err_is(err, MR_E_NOMEM)) {
            return err;
        }
    }
    return key_of_id(format, id, ret_key);
}

static mr_err put_record(mr_buf *out, bool is_first, mr_str envelope, const struct key *key) {
    MR_TRY(mr_buf_str(out, is_first ? MR_STR("{\"Data\":\"") : MR_STR(",{\"Data\":\"")));
    MR_TRY(mr_base64_encode(envelope, out));
    MR_TRY(mr_buf_str(out, MR_STR("\",\"PartitionKey\":\"")));
    MR_TRY(mr_buf_str(out, key->inner));
    return mr_buf_str(out, MR_STR("\"}"));
}

/* Room for all of it at once, so that the buffer does not grow step by step. */
static mr_err reserve(const mr_str *envelopes, size_t n, mr_buf *out) {
    size_t bytes = 256;
    for (size_t i = 0; i < n && bytes < KINESIS_REQUEST_BYTES_MAX * 3 / 2; i++) {
        bytes += envelopes[i].len / 3 * 4 + 4 + RECORD_OVERHEAD + 64;
    }
    return mr_buf_reserve(out, bytes, NULL);
}

mr_err kinesis_body(const struct kinesis_format *format, const mr_str *envelopes, size_t n,
                    size_t bytes_max, bool is_retry, mr_buf *out, struct sink_item *items,
                    size_t *ret_used, size_t *ret_sent) {
    size_t most = bytes_max < KINESIS_REQUEST_BYTES_MAX ? bytes_max : KINESIS_REQUEST_BYTES_MAX;
    size_t bytes = 0;
    size_t used = 0;
    size_t sent = 0;
    MR_TRY(reserve(envelopes, n, out));
    MR_TRY(mr_buf_printf(out, "{\"StreamARN\":\"%.*s\",\"Records\":[", MR_FMT(format->stream_arn)));
    for (; used < n; used++) {
        mr_str id;
        struct key key;
        MR_TRY(event_view_id(envelopes[used], &id));
        MR_TRY(find_key(format, envelopes[used], id, &key));
        size_t size = envelopes[used].len + key.bytes;
        if (size > KINESIS_RECORD_BYTES_MAX) {
            items[used] = (struct sink_item){SINK_ITEM_PERMANENT, LANE_REASON_RECORD_TOO_LARGE};
            continue;
        }
        if (sent == KINESIS_RECORDS_MAX || (sent > 0 && bytes + size > most)) {
            if (!is_retry) {
                break;
            }
            items[used] = (struct sink_item){SINK_ITEM_THROTTLED, LANE_REASON_THROTTLED};
            continue;
        }
        MR_TRY(put_record(out, sent == 0, envelopes[used], &key));
        items[used] = (struct sink_item){SINK_ITEM_OK, LANE_REASON_NONE};
        bytes += size;
        sent++;
    }
    MR_TRY(mr_buf_str(out, MR_STR("]}")));
    *ret_used = used;
    *ret_sent = sent;
    return MR_OK;
}
