/* What a record of 1 KiB costs on its way into a PutRecords call of 500, without sockets: the body
 * (base64, keys), its signature (SHA-256 of all of it), the answer read. Prints nanoseconds of CPU
 * per record, the best of several rounds. */
#include "base/mem.h"
#include "json/write.h"
#include "os/clock.h"
#include "sink/aws/sigv4.h"
#include "sink/kinesis/answer.h"
#include "sink/kinesis/body.h"

#include <stdio.h>

#define RECORDS  500
#define ROUNDS   15
#define TURNS    40
#define BODY_MAX ((size_t)8 << 20)

struct bench {
    mr_str envelopes[RECORDS];
    struct crypto_hasher *hasher;
    json_tape tape;
    mr_arena arena;
    mr_buf body;
    mr_buf answer;
    struct sink_item items[RECORDS];
    struct sigv4_key key;
    const char *pointer;
};

static void check(mr_err err) {
    MR_ASSERT(mr_is_ok(err));
}

static void make(struct bench *bench) {
    mr_buf_init(&bench->body, BODY_MAX);
    mr_buf_init(&bench->answer, BODY_MAX);
    mr_arena_init(&bench->arena, BODY_MAX);
    json_tape_init(&bench->tape, JSON_DEPTH_MAX);
    check(crypto_hasher_new(&bench->hasher));
    for (size_t i = 0; i < RECORDS; i++) {
        mr_buf text;
        mr_buf_init(&text, 2048);
        check(mr_buf_printf(&text, "{\"data\":{\"sim_sid\":\"HS%030zu\",\"text\":\"", i));
        while (text.len < 790) {
            check(mr_buf_byte(&text, (char)('a' + (text.len * 7 + i) % 26)));
        }
        check(mr_buf_printf(
            &text,
            "\"},\"id\":\"EZ%032zu\",\"time\":\"2026-01-01T00:00:00.0000000+00:00\","
            "\"type\":\"com.kore.iot.supersim.connection\",\"source\":\"kore-events\","
            "\"dataschema\":\"/schemas/SuperSim.ConnectionEvent/2\","
            "\"specversion\":\"1.0\",\"datacontenttype\":\"application/json\"}",
            i));
        bench->envelopes[i] = mr_buf_view(&text); /* stays */
    }
    check(mr_buf_str(&bench->answer, MR_STR("{\"FailedRecordCount\":0,\"Records\":[")));
    for (size_t i = 0; i < RECORDS; i++) {
        check(
            mr_buf_printf(&bench->answer,
                          "%s{\"SequenceNumber\":"
                          "\"49543463076548007577105092703039560359975228518395%06zu\",\"ShardId\":"
                          "\"shardId-000000000000\"}",
                          i > 0 ? "," : "", i));
    }
    check(mr_buf_str(&bench->answer, MR_STR("]}")));
}

static void compose(struct bench *bench) {
    const struct kinesis_format format = {
        .stream_arn = MR_STR("arn:aws:kinesis:eu-central-1:111122223333:stream/events"),
        .partition_key = mr_str_c(bench->pointer),
        .hasher = bench->hasher,
        .tape = &bench->tape,
        .arena = &bench->arena};
    size_t used;
    size_t sent;
    mr_buf_reset(&bench->body);
    mr_arena_reset(&bench->arena);
    check(kinesis_body(&format, bench->envelopes, RECORDS, SIZE_MAX, false, &bench->body,
                       bench->items, &used, &sent));
    MR_ASSERT(sent == RECORDS);
}

static void sign(struct bench *bench) {
    const mr_field fields[] = {{MR_STR("host"), MR_STR("kinesis.eu-central-1.amazonaws.com")},
                               {MR_STR("content-type"), MR_STR("application/x-amz-json-1.1")},
                               {MR_STR("x-amz-target"), MR_STR("Kinesis_20131202.PutRecords")}};
    const struct sigv4_signer signer = {.access_key = MR_STR("ASIA0123456789ABCDEF"),
                                        .secret_key = MR_STR("secret"),
                                        .session_token = MR_STR("token"),
                                        .region = MR_STR("eu-central-1"),
                                        .service = MR_STR("kinesis")};
    const struct sigv4_request request = {.method = MR_STR("POST"),
                                          .path = MR_STR("/"),
                                          .fields = {fields, 3},
                                          .body = mr_buf_view(&bench->body)};
    struct sigv4_result result;
    sigv4_result_init(&result);
    check(sigv4_sign(bench->hasher, &bench->key, &signer, &request, os_wall_now(), &result));
    sigv4_result_done(&result);
}

static void read_answer(struct bench *bench) {
    size_t failed;
    struct kinesis_said said;
    check(kinesis_answer_read(&bench->tape, mr_buf_view(&bench->answer), bench->items, RECORDS,
                              &failed, &said));
    MR_ASSERT(failed == 0);
}

static void all(struct bench *bench) {
    compose(bench);
    sign(bench);
    read_answer(bench);
}

static void time_it(struct bench *bench, const char *name, void (*run)(struct bench *bench)) {
    int64_t best = INT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = os_mono_now().ns;
        for (int i = 0; i < TURNS; i++) {
            run(bench);
        }
        int64_t spent = (os_mono_now().ns - start) / TURNS;
        best = spent < best ? spent : best;
    }
    printf("%-28s %8.1f ns per record\n", name, (double)best / RECORDS);
}

int main(void) {
    struct bench *bench = MR_NEW(struct bench);
    make(bench);
    printf("%d records of %zu bytes a request\n", RECORDS, bench->envelopes[0].len);
    time_it(bench, "body, keys by id", compose);
    time_it(bench, "signature", sign);
    time_it(bench, "answer", read_answer);
    time_it(bench, "all three", all);
    bench->pointer = "/data/sim_sid";
    time_it(bench, "body, keys by pointer", compose);
    return 0;
}
