/* Answers of PutRecords. See answer.h.
 *
 *   {"FailedRecordCount":1,"Records":[{"SequenceNumber":"…","ShardId":"…"},
 *                                     {"ErrorCode":"…","ErrorMessage":"…"}]}
 *
 * Results belong to records by their place alone, so an answer that does not fit what was sent in
 * every respect says nothing about any of them: its outcome is unknown. */
#include "sink/kinesis/answer.h"

#include "deliver/lane.h"
#include "sink/kinesis.h"

static const struct sink_item accepted = {SINK_ITEM_OK, LANE_REASON_NONE};

static struct sink_item item_of_code(mr_str code) {
    struct sink_item item;
    return kinesis_item_of(aws_error_of(code), 0, &item)
               ? item
               : (struct sink_item){SINK_ITEM_RETRY, LANE_REASON_REJECTED};
}

static bool is_text(json_value value) {
    return json_kind_of(value) == JSON_STRING && json_raw(value).len > 2;
}

static bool is_nothing(json_value value) {
    return json_is_absent(value) || json_kind_of(value) == JSON_NULL;
}

/* The text as it stands, escapes and all: for people, and codes have none. */
static mr_str inside(json_value string) {
    mr_str raw = json_raw(string);
    return json_kind_of(string) == JSON_STRING ? mr_str_slice(raw, 1, raw.len - 1) : MR_STR_NONE;
}

/* False: not the result of a record. */
static bool read_result(json_value result, struct sink_item *ret_item, struct kinesis_said *said) {
    if (json_kind_of(result) != JSON_OBJECT) {
        return false;
    }
    json_value code = json_find(result, MR_STR("ErrorCode"));
    json_value sequence = json_find(result, MR_STR("SequenceNumber"));
    if (is_nothing(code)) {
        *ret_item = accepted;
        return is_text(sequence) && is_text(json_find(result, MR_STR("ShardId")));
    }
    if (!is_text(code) || !is_nothing(sequence)) {
        return false;
    }
    *ret_item = item_of_code(inside(code));
    if (said->code[0] == '\0') {
        aws_text_copy(inside(code), said->code, sizeof said->code);
        aws_text_copy(inside(json_find(result, MR_STR("ErrorMessage"))), said->message,
                      sizeof said->message);
    }
    return true;
}

static size_t count_sent(const struct sink_item *items, size_t n) {
    size_t sent = 0;
    for (size_t i = 0; i < n; i++) {
        sent += items[i].kind == SINK_ITEM_OK ? 1 : 0;
    }
    return sent;
}

mr_err kinesis_answer_read(json_tape *tape, mr_str body, struct sink_item *items, size_t n,
                           size_t *ret_failed, struct kinesis_said *ret_said) {
    mr_err err = json_tape_read(tape, body, NULL);
    if (mr_is_err(err)) {
        return mr_err_is(err, MR_E_NOMEM) ? err : MR_ERR(MR_E_INVALID);
    }
    json_value root = json_root(tape);
    json_value records = json_find(root, MR_STR("Records"));
    json_value count = json_find(root, MR_STR("FailedRecordCount"));
    size_t sent = count_sent(items, n);
    if (json_kind_of(root) != JSON_OBJECT || json_kind_of(records) != JSON_ARRAY ||
        json_count(records) != sent || sent > KINESIS_RECORDS_MAX) {
        return MR_ERR(MR_E_INVALID);
    }
    struct sink_item results[KINESIS_RECORDS_MAX];
    struct kinesis_said said = {{0}, {0}};
    size_t at = 0;
    size_t failed = 0;
    for (json_iter it = json_iter_of(records); json_next(&it); at++) {
        if (!read_result(it.value, &results[at], &said)) {
            return MR_ERR(MR_E_INVALID);
        }
        failed += results[at].kind != SINK_ITEM_OK ? 1 : 0;
    }
    uint64_t told = failed;
    if (!is_nothing(count) && mr_is_err(json_u64(count, 0, KINESIS_RECORDS_MAX, &told))) {
        return MR_ERR(MR_E_INVALID);
    }
    if (told != failed) {
        return MR_ERR(MR_E_INVALID);
    }
    at = 0;
    for (size_t i = 0; i < n; i++) {
        if (items[i].kind == SINK_ITEM_OK) {
            items[i] = results[at++];
        }
    }
    *ret_failed = failed;
    *ret_said = said;
    return MR_OK;
}

void kinesis_error_read(json_tape *tape, mr_str body, mr_str error_type,
                        struct kinesis_said *ret_said) {
    mr_str code = error_type;
    mr_str message = MR_STR_NONE;
    *ret_said = (struct kinesis_said){{0}, {0}};
    if (mr_is_ok(json_tape_read(tape, body, NULL))) {
        json_value root = json_root(tape);
        json_value type = json_find(root, MR_STR("__type"));
        json_value text = json_find(root, MR_STR("message"));
        code = is_text(type) ? inside(type) : code;
        message = inside(is_nothing(text) ? json_find(root, MR_STR("Message")) : text);
    }
    aws_text_copy(aws_error_code(code), ret_said->code, sizeof ret_said->code);
    aws_text_copy(message, ret_said->message, sizeof ret_said->message);
}

bool kinesis_item_of(enum aws_error error, uint16_t status, struct sink_item *ret_item) {
    static const struct sink_item rows[] = {
        [AWS_ERROR_UNKNOWN] = {SINK_ITEM_RETRY, LANE_REASON_REJECTED},
        [AWS_ERROR_THROTTLED] = {SINK_ITEM_THROTTLED, LANE_REASON_THROTTLED},
        [AWS_ERROR_MISSING] = {SINK_ITEM_RETRY, LANE_REASON_STREAM_MISSING},
        [AWS_ERROR_DENIED] = {SINK_ITEM_RETRY, LANE_REASON_ACCESS_DENIED},
        [AWS_ERROR_KMS] = {SINK_ITEM_RETRY, LANE_REASON_KMS},
        [AWS_ERROR_EXPIRED] = {SINK_ITEM_RETRY, LANE_REASON_CREDENTIALS},
        [AWS_ERROR_UNKNOWN_KEY] = {SINK_ITEM_RETRY, LANE_REASON_CREDENTIALS},
        [AWS_ERROR_SIGNATURE] = {SINK_ITEM_RETRY, LANE_REASON_CREDENTIALS},
        [AWS_ERROR_INTERNAL] = {SINK_ITEM_RETRY, LANE_REASON_INTERNAL},
        [AWS_ERROR_BAD_REQUEST] = {SINK_ITEM_RETRY, LANE_REASON_REJECTED},
    };
    if (error == AWS_ERROR_UNKNOWN || error == AWS_ERROR_BAD_REQUEST) {
        error = status == 429 ? AWS_ERROR_THROTTLED : status >= 500 ? AWS_ERROR_INTERNAL : error;
    }
    *ret_item = rows[error];
    return error != AWS_ERROR_UNKNOWN && error != AWS_ERROR_BAD_REQUEST;
}
