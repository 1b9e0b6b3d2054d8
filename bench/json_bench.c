/* What one connection event of about 1 KiB costs: read to a tape, minified, and the whole way from
 * an HTTP body to KORE's envelope. Prints nanoseconds per event, the best of several rounds, which
 * is the one that was disturbed least. */
#include "event/envelope.h"
#include "json/write.h"
#include "os/clock.h"

#include <stdio.h>

#define ROUNDS 15
#define TURNS  20000

static const char event_text_1k[] =
    "{\"specversion\":\"1.0\",\"id\":\"EZ00000000000000000000000000000003\",\"source\":\"kore-"
    "events\","
    "\"type\":\"com.kore.iot.supersim.connection.data-session.updated\",\"time\":"
    "\"2025-11-26T09:11:44Z\",\"datacontenttype\":\"application/json\",\"dataschema\":"
    "\"/schemas/SuperSim.ConnectionEvent/2\",\"data\":{\"event_sid\":"
    "\"EZ00000000000000000000000000000003\",\"event_type\":"
    "\"com.kore.iot.supersim.connection.data-session.updated\",\"account_sid\":"
    "\"AC0c1d2e3f405162738495a6b7c8d9eaf0\",\"sim_sid\":\"HS5f6071829304a5b6c7d8e9fa0b1c2d3e\","
    "\"sim_iccid\":\"89883070000044236204\",\"timestamp\":\"2025-11-26T09:11:44Z\",\"fleet_sid\":"
    "\"HF11223344556677889900aabbccddeeff\",\"sim_unique_name\":\"cold-chain-truck-17\","
    "\"network\":{\"mcc\":\"310\",\"mnc\":\"170\",\"sid\":\"HWb90542dc0d8b4276a694d0fe5c794168\","
    "\"friendly_name\":\"AT&T\",\"iso_country\":\"US\"},\"location\":{\"lac\":\"602\","
    "\"cell_id\":\"40026625\",\"lat\":26.2721,\"lon\":-81.809},\"rat_type\":\"4G LTE\",\"imsi\":"
    "\"732123206640719\",\"imei\":\"353785726123176\",\"apn\":\"super\",\"ip_address\":"
    "\"100.65.109.189\",\"data_session_sid\":\"PI9a8b7c6d5e4f30211203f4e5d6c7b8a9\","
    "\"data_upload\":10240,\"data_download\":40960,\"data_total\":51200}}";

struct bench {
    json_tape tape;
    struct event_parser parser;
    mr_buf out;
    mr_str body;
    struct event_place place;
};

static void check(mr_err err) {
    MR_ASSERT(mr_is_ok(err));
}

static void run_read(struct bench *b) {
    check(json_tape_read(&b->tape, b->body, NULL));
}

static void run_minify(struct bench *b) {
    mr_buf_reset(&b->out);
    check(json_minify(json_root(&b->tape), JSON_UTF8, &b->out));
}

static void run_escape(struct bench *b) {
    mr_buf_reset(&b->out);
    check(json_minify(json_root(&b->tape), JSON_ESCAPE_NON_ASCII, &b->out));
}

static void run_parse(struct bench *b, struct event_batch *batch) {
    mr_field field = {MR_STR("content-type"), MR_STR("application/cloudevents+json")};
    check(event_parse(&b->parser, (mr_fields){&field, 1}, b->body, batch));
    MR_ASSERT(batch->errors.found == 0 && batch->len == 1);
}

static void run_event(struct bench *b) {
    struct event_batch batch;
    run_parse(b, &batch);
}

static void run_envelope(struct bench *b) {
    struct event_batch batch;
    struct event_resolution resolution;
    struct event_layout layout;
    run_parse(b, &batch);
    bool good = event_resolve(&batch.ptr[0], 0, &b->place, &batch.errors, &resolution);
    MR_ASSERT(good);
    mr_buf_reset(&b->out);
    check(event_envelope_write(&batch.ptr[0], &resolution, &b->place, &b->out, &layout));
}

static void measure(const char *what, struct bench *b, void (*run)(struct bench *b)) {
    int64_t best = INT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        mr_mono from = os_mono_now();
        for (int i = 0; i < TURNS; i++) {
            run(b);
        }
        int64_t ns = mr_mono_diff_ns(os_mono_now(), from);
        best = ns < best ? ns : best;
    }
    printf("%-46s %6lld ns\n", what, (long long)(best / TURNS));
}

static bool find_type(const void *ctx, mr_str type, mr_str *ret_schema, uint32_t *ret_latest) {
    (void)ctx;
    (void)type;
    *ret_schema = MR_STR("SuperSim.ConnectionEvent");
    *ret_latest = 2;
    return true;
}

static enum event_schema_use use_schema(const void *ctx, mr_str schema, uint32_t version,
                                        mr_str type) {
    (void)ctx;
    (void)schema;
    (void)version;
    (void)type;
    return EVENT_SCHEMA_OF_TYPE;
}

int main(void) {
    const struct event_catalogue catalogue = {NULL, find_type, use_schema};
    struct bench b = {.body = {event_text_1k, sizeof event_text_1k - 1}};
    b.place = (struct event_place){.received = os_wall_now(),
                                   .public_url = MR_STR("https://events.example"),
                                   .catalogue = &catalogue};
    json_tape_init(&b.tape, JSON_DEPTH_DEFAULT);
    event_parser_init(&b.parser, &event_limits_default);
    mr_buf_init(&b.out, 1 << 20);
    printf("event of %zu bytes\n", b.body.len);
    measure("read to a tape", &b, run_read);
    measure("minify (already minified)", &b, run_minify);
    measure("minify with escape_non_ascii", &b, run_escape);
    measure("HTTP body to event", &b, run_event);
    measure("HTTP body to envelope, everything", &b, run_envelope);
    json_tape_done(&b.tape);
    event_parser_done(&b.parser);
    mr_buf_done(&b.out);
    return 0;
}
