/* Answers of PutRecords on any bytes. What must hold besides not crashing: an answer that is
 * refused changes no item; one that is taken decides every sent record and leaves the others; what
 * it says to people is printable. */
#include "base/mem.h"
#include "deliver/lane.h"
#include "sink/kinesis/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define N 6

static void check_said(const struct kinesis_said *said) {
    for (const char *c = said->code; *c != '\0'; c++) {
        MR_ASSERT(*c >= ' ' && *c < 0x7f);
    }
    for (const char *c = said->message; *c != '\0'; c++) {
        MR_ASSERT(*c >= ' ' && *c < 0x7f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* The first byte says how many were sent and which could not be. */
    size_t sent = size > 0 ? data[0] % N + 1u : 1u;
    mr_str text = mr_str_of(size > 1 ? (const char *)data + 1 : "", size > 1 ? size - 1 : 0);
    struct sink_item items[N];
    struct sink_item before[N];
    for (size_t i = 0; i < N; i++) {
        items[i] = i < sent ? (struct sink_item){SINK_ITEM_OK, LANE_REASON_NONE}
                            : (struct sink_item){SINK_ITEM_PERMANENT, LANE_REASON_RECORD_TOO_LARGE};
    }
    memcpy(before, items, sizeof items);
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    size_t failed = 0;
    struct kinesis_said said;
    if (mr_is_err(kinesis_answer_read(&tape, text, items, N, &failed, &said))) {
        MR_ASSERT(memcmp(before, items, sizeof items) == 0);
    } else {
        size_t n = 0;
        for (size_t i = 0; i < N; i++) {
            n += i < sent && items[i].kind != SINK_ITEM_OK ? 1 : 0;
            MR_ASSERT(i < sent || memcmp(&before[i], &items[i], sizeof items[i]) == 0);
            MR_ASSERT((items[i].kind == SINK_ITEM_OK) == (items[i].reason == LANE_REASON_NONE));
        }
        MR_ASSERT(n == failed);
        check_said(&said);
    }
    kinesis_error_read(&tape, text, MR_STR_NONE, &said);
    check_said(&said);
    json_tape_done(&tape);
    return 0;
}
