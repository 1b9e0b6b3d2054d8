/* What the receiver says of requests, and how its connections behave. */
#include "base/mem.h"
#include "cli/receiver.h"
#include "json/tape.h"
#include "os/clock.h"

#include <errno.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define TEXT_MAX    ((size_t)1 << 20)
#define PATIENCE_MS 10000

/* ---- the inspector ---- */

/* As MR_STR, for static tables. */
#define TEXT(lit)                                                                                  \
    { "" lit, sizeof(lit) - 1 }

static const mr_field signed_fields[] = {
    {TEXT("Kore-Signature"),
     TEXT("ebada5751c4fea18becf9eea29f239fd3a62805e817bdc730a0c9fa589201592")},
    {TEXT("Kore-Idempotency-Token"), TEXT("88bf54a9-f2fb-40b6-8faf-e6c5a3c348d2")},
};
/* KORE's published test event: the hash begins with the ebad of its page. */
#define SIGNED_BODY                                                                                \
    "[{\"data\":{\"test_id\":\"88bf54a9-f2fb-40b6-8faf-e6c5a3c348d2\"},\"id\":\"fff521c2-c7db-"    \
    "4b53-a5a0-c5d5d01f66ce\",\"time\":\"2024-09-25T19:09:48.5842087+00:00\",\"type\":\"com."      \
    "kore.eventstreams.test.event\",\"source\":\"kore-events\",\"dataschema\":\"/schemas/test/"    \
    "1\",\"specversion\":\"1.0\",\"datacontenttype\":\"application/json\"}]"

static struct inspector *new_inspector(mr_str secret, mr_str url, size_t ids_max) {
    const struct inspect_options options = {.secret = secret, .url = url, .ids_max = ids_max};
    struct inspector *inspector;
    assert_true(mr_is_ok(inspector_new(&options, &inspector)));
    return inspector;
}

static struct inspect_request request_of(mr_str body, const mr_field *fields, size_t n) {
    return (struct inspect_request){.method = MR_STR("POST"),
                                    .host = MR_STR("testendpoint.com"),
                                    .path = MR_STR("/hook"),
                                    .fields = {fields, n},
                                    .body = body,
                                    .now = mr_wall_of_ms(1700000000000),
                                    .status = 200};
}

/* True where the line about the request holds `expected`. */
static bool line_has(struct inspector *inspector, const struct inspect_request *request,
                     const char *expected) {
    mr_buf line;
    json_tape tape;
    mr_buf_init(&line, TEXT_MAX);
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    assert_true(mr_is_ok(inspector_take(inspector, request, &line)));
    assert_true(mr_str_ends(mr_buf_view(&line), MR_STR("}\n")));
    assert_true(mr_is_ok(json_tape_read(&tape, mr_buf_view(&line), NULL)));
    bool has = mr_str_find(mr_buf_view(&line), mr_str_c(expected)) != SIZE_MAX;
    json_tape_done(&tape);
    mr_buf_done(&line);
    return has;
}

static void signature_is_judged(void **state) {
    (void)state;
    struct inspector *inspector =
        new_inspector(MR_STR("f4d430d03cff6f03e1"), MR_STR("https://testendpoint.com?q#f"), 0);
    struct inspect_request request = request_of(MR_STR(SIGNED_BODY), signed_fields, 2);
    assert_true(line_has(inspector, &request, "\"signature\":\"right\""));
    request.body.len--;
    assert_true(line_has(inspector, &request, "\"signature\":\"wrong\""));
    mr_field fields[3] = {{MR_STR("kore-signature"), MR_STR("")}, signed_fields[0]};
    request = request_of(MR_STR(SIGNED_BODY), fields, 1);
    assert_true(line_has(inspector, &request, "\"signature\":\"empty\""));
    request.fields.len = 0;
    assert_true(line_has(inspector, &request, "\"signature\":\"wrong\""));
    request.fields.len = 2; /* one right, one empty */
    assert_true(line_has(inspector, &request, "\"signature\":\"wrong\""));
    struct inspect_summary summary;
    inspector_summary(inspector, &summary);
    assert_int_equal(summary.requests, 5);
    assert_int_equal(summary.bad_signatures, 4);
    inspector_free(inspector);
}

static void a_query_is_shown_where_there_is_one(void **state) {
    (void)state;
    struct inspector *inspector = new_inspector(MR_STR_NONE, MR_STR_NONE, 0);
    struct inspect_request request = request_of(MR_STR("a=b"), signed_fields, 2);
    assert_true(line_has(inspector, &request, "\"path\":\"/hook\",\"token\":"));
    request.query = MR_STR("a=1&b=\"");
    assert_true(line_has(inspector, &request, "\"path\":\"/hook\",\"query\":\"a=1&b=\\\"\","));
    request.query = MR_STR("");
    assert_true(line_has(inspector, &request, "\"query\":\"\","));
    inspector_free(inspector);
}

static void without_a_secret_nothing_is_checked(void **state) {
    (void)state;
    struct inspector *inspector = new_inspector(MR_STR_NONE, MR_STR_NONE, 0);
    struct inspect_request request = request_of(MR_STR(SIGNED_BODY), signed_fields, 2);
    assert_true(line_has(inspector, &request, "\"signature\":\"unchecked\""));
    struct inspect_summary summary;
    inspector_summary(inspector, &summary);
    assert_int_equal(summary.bad_signatures, 0);
    inspector_free(inspector);
}

static void url_that_was_reached_is_verified_where_none_is_given(void **state) {
    (void)state;
    /* SHA-256 of "12345" "GET" "http://testendpoint.com/hook", from sha256sum. */
    const mr_field fields[] = {
        {MR_STR("kore-signature"),
         MR_STR("e7b5d7e0fdca3322f5d71b7e8547ae167c15484f95685981429c64b71af90b15")}};
    struct inspector *inspector = new_inspector(MR_STR("12345"), MR_STR_NONE, 0);
    struct inspect_request request = request_of(MR_STR(""), fields, 1);
    request.method = MR_STR("GET");
    assert_true(line_has(inspector, &request, "\"signature\":\"right\""));
    request.path = MR_STR("/other");
    assert_true(line_has(inspector, &request, "\"signature\":\"wrong\""));
    inspector_free(inspector);
}

static void token_must_be_one_uuid(void **state) {
    (void)state;
    static const char *const bad[] = {
        "", "88bf54a9-f2fb-40b6-8faf-e6c5a3c348d", "88bf54a9-f2fb-40b6-8faf-e6c5a3c348d2a",
        "88bf54a9f2fb-40b6-8faf-e6c5a3c348d2--", "88bf54a9-f2fb-40b6-8faf-e6c5a3c348dg"};
    struct inspector *inspector = new_inspector(MR_STR_NONE, MR_STR_NONE, 0);
    struct inspect_request request = request_of(MR_STR("[]"), signed_fields, 2);
    assert_true(line_has(inspector, &request, "\"token_ok\":true"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const mr_field field = {MR_STR("kore-idempotency-token"), mr_str_c(bad[i])};
        request = request_of(MR_STR("[]"), &field, 1);
        assert_true(line_has(inspector, &request, "\"token_ok\":false"));
    }
    const mr_field twice[] = {signed_fields[1], signed_fields[1]};
    request = request_of(MR_STR("[]"), twice, 2);
    assert_true(line_has(inspector, &request, "\"token_ok\":false"));
    struct inspect_summary summary;
    inspector_summary(inspector, &summary);
    assert_int_equal(summary.bad_tokens, sizeof bad / sizeof bad[0] + 1);
    inspector_free(inspector);
}

static void events_are_known_by_source_and_id(void **state) {
    (void)state;
    struct inspector *inspector = new_inspector(MR_STR_NONE, MR_STR_NONE, 0);
    struct inspect_request request =
        request_of(MR_STR("[{\"id\":\"a\",\"source\":\"s\"},{\"id\":\"a\",\"source\":\"t\"},"
                          "{\"id\":\"\\u0061\",\"source\":\"s\"},{\"id\":7}]"),
                   NULL, 0);
    assert_true(line_has(inspector, &request,
                         "\"events\":[\"a\",\"a\",\"a\",null],\"n\":4,"
                         "\"duplicates\":1"));
    const mr_field binary[] = {{MR_STR("ce-id"), MR_STR("a")}, {MR_STR("ce-source"), MR_STR("s")}};
    request = request_of(MR_STR("{\"id\":\"other\"}"), binary, 2);
    assert_true(line_has(inspector, &request, "\"events\":[\"a\"],\"n\":1,\"duplicates\":2"));
    request = request_of(MR_STR("{\"id\":\"b\",\"source\":\"s\"}"), NULL, 0);
    assert_true(line_has(inspector, &request, "\"events\":[\"b\"],\"n\":1,\"duplicates\":2"));
    request = request_of(MR_STR("not JSON"), NULL, 0);
    assert_true(line_has(inspector, &request, "\"events\":[],\"n\":0,\"duplicates\":2"));
    inspector_free(inspector);
}

static void many_ids_are_told_apart_up_to_the_bound(void **state) {
    (void)state;
    enum { IDS = 20000, BOUND = 15000 };
    struct inspector *inspector = new_inspector(MR_STR_NONE, MR_STR_NONE, BOUND);
    mr_buf line;
    mr_buf_init(&line, TEXT_MAX);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < IDS; i++) {
            char text[16];
            mr_buf id = {.ptr = text, .cap = sizeof text, .max = sizeof text};
            assert_true(mr_is_ok(mr_buf_u64(&id, (uint64_t)i)));
            const mr_field field = {MR_STR("ce-id"), mr_buf_view(&id)};
            struct inspect_request request = request_of(MR_STR(""), &field, 1);
            mr_buf_reset(&line);
            assert_true(mr_is_ok(inspector_take(inspector, &request, &line)));
        }
    }
    struct inspect_summary summary;
    inspector_summary(inspector, &summary);
    assert_true(summary.is_full);
    assert_int_equal(summary.events, 2 * IDS);
    assert_int_equal(summary.duplicates, BOUND);
    mr_buf_done(&line);
    inspector_free(inspector);
}

static void way_is_timed_from_real_times_only(void **state) {
    (void)state;
    struct inspector *inspector = new_inspector(MR_STR_NONE, MR_STR_NONE, 0);
    static const struct {
        const char *body;
        uint64_t timed;
    } rows[] = {
        /* now is 2023-11-14T22:13:20Z */
        {"[{\"id\":\"1\",\"time\":\"2023-11-14T22:13:19.990Z\"}]", 1},
        {"[{\"id\":\"2\",\"time\":\"2020-01-01T00:00:00Z\"}]", 1},
        {"[{\"id\":\"3\",\"time\":\"2023-11-14T22:13:21Z\"}]", 1},
        {"[{\"id\":\"4\",\"time\":\"2020-01-01T00:00:00Z\",\"published\":\"2023-11-14T20:13:20Z\"}"
         "]",
         2},
        {"[{\"id\":\"5\"}]", 2},
    };
    struct inspect_summary summary;
    mr_buf line;
    mr_buf_init(&line, TEXT_MAX);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct inspect_request request = request_of(mr_str_c(rows[i].body), NULL, 0);
        assert_true(mr_is_ok(inspector_take(inspector, &request, &line)));
        inspector_summary(inspector, &summary);
        assert_int_equal(summary.timed, rows[i].timed);
    }
    assert_int_equal(summary.p50_ms, 10);
    assert_in_range(summary.p99_ms, 7200000 - 7200000 / 64, 7200000);
    mr_buf_done(&line);
    inspector_free(inspector);
}

/* ---- connections ---- */

struct rig {
    struct loop loop;
    struct stream_shared streams;
    struct inspector *inspector;
    struct receiver *receiver;
    mr_buf lines;
    int n_lines;
    int fd;
    mr_buf in;
    mr_err ended; /* of os_recv: MR_OK while it goes on */
};

static void on_line(void *ctx, mr_str line) {
    struct rig *rig = ctx;
    rig->n_lines++;
    assert_true(mr_is_ok(mr_buf_str(&rig->lines, line)));
}

static struct rig *rig_new(enum receiver_manner manner, int status, int64_t delay_ms) {
    struct rig *rig = MR_NEW(struct rig);
    assert_non_null(rig);
    mr_buf_init(&rig->lines, TEXT_MAX);
    mr_buf_init(&rig->in, TEXT_MAX);
    assert_true(mr_is_ok(loop_init(&rig->loop, NULL)));
    assert_true(mr_is_ok(stream_shared_init(&rig->streams, &rig->loop, NULL)));
    rig->inspector = new_inspector(MR_STR_NONE, MR_STR_NONE, 0);
    struct receiver_options options = {.status = status,
                                       .delay_ms = delay_ms,
                                       .manner = manner,
                                       .inspector = rig->inspector,
                                       .on_line = on_line,
                                       .ctx = rig};
    assert_true(mr_is_ok(os_addr_parse(MR_STR("127.0.0.1:0"), &options.addr)));
    os_addr bound;
    assert_true(mr_is_ok(receiver_new(&rig->streams, &options, &rig->receiver, &bound)));
    assert_true(mr_is_ok(os_connect_start(&bound, &rig->fd)));
    return rig;
}

static void rig_free(struct rig *rig) {
    os_close(rig->fd);
    receiver_free(rig->receiver);
    inspector_free(rig->inspector);
    stream_shared_done(&rig->streams);
    loop_done(&rig->loop);
    mr_buf_done(&rig->lines);
    mr_buf_done(&rig->in);
    mr_free(rig);
}

static void turn(struct rig *rig) {
    loop_turn(&rig->loop, 5);
    char *at;
    size_t n = 0;
    assert_true(mr_is_ok(mr_buf_reserve(&rig->in, 4096, &at)));
    mr_err err = mr_is_ok(rig->ended) ? os_recv(rig->fd, at, 4096, &n) : rig->ended;
    if (mr_is_ok(err)) {
        mr_buf_commit(&rig->in, n);
    } else if (!mr_err_is(err, MR_E_AGAIN)) {
        rig->ended = err;
    }
}

static void send_text(struct rig *rig, mr_str text) {
    mr_mono end = mr_mono_add_ms(os_mono_now(), PATIENCE_MS);
    while (text.len > 0) {
        struct iovec iov = {(void *)(uintptr_t)text.ptr, text.len};
        size_t n = 0;
        if (mr_is_ok(os_send(rig->fd, &iov, 1, &n))) {
            text = mr_str_slice(text, n, text.len);
        }
        turn(rig);
        assert_true(mr_mono_before(os_mono_now(), end));
    }
}

static size_t answers(const struct rig *rig) {
    mr_str rest = mr_buf_view(&rig->in);
    size_t n = 0;
    for (size_t at; (at = mr_str_find(rest, MR_STR("\r\n\r\n"))) != SIZE_MAX; n++) {
        rest = mr_str_slice(rest, at + 4, rest.len);
    }
    return n;
}

static void wait_for(struct rig *rig, size_t n_answers, int n_lines, bool until_end) {
    mr_mono end = mr_mono_add_ms(os_mono_now(), PATIENCE_MS);
    while (answers(rig) < n_answers || rig->n_lines < n_lines ||
           (until_end && mr_is_ok(rig->ended))) {
        turn(rig);
        assert_true(mr_mono_before(os_mono_now(), end));
    }
}

#define REQUEST "POST /a?q HTTP/1.1\r\nhost: h\r\ncontent-length: 12\r\n\r\n[{\"id\":\"x\"}]"

static void requests_are_answered_in_order_with_the_status(void **state) {
    (void)state;
    struct rig *rig = rig_new(RECEIVER_ANSWERS, 418, 0);
    send_text(rig, MR_STR(REQUEST REQUEST "GET /b HTTP/1.1\r\nhost: h\r\n\r\n"));
    wait_for(rig, 3, 3, false);
    assert_true(mr_str_starts(mr_buf_view(&rig->in), MR_STR("HTTP/1.1 418 ")));
    assert_true(mr_str_find(mr_buf_view(&rig->lines), MR_STR("\"path\":\"/a\"")) <
                mr_str_find(mr_buf_view(&rig->lines), MR_STR("\"path\":\"/b\"")));
    assert_true(mr_is_ok(rig->ended));
    rig_free(rig);
}

static void bytes_one_by_one_and_chunks_are_one_request(void **state) {
    (void)state;
    struct rig *rig = rig_new(RECEIVER_ANSWERS, 204, 0);
    static const char text[] = "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
                               "5\r\n[{\"id\r\n7\r\n\":\"y\"}]\r\n0\r\n\r\n";
    for (size_t i = 0; i < sizeof text - 1; i++) {
        send_text(rig, mr_str_of(text + i, 1));
    }
    wait_for(rig, 1, 1, false);
    assert_true(mr_str_find(mr_buf_view(&rig->lines), MR_STR("\"events\":[\"y\"]")) != SIZE_MAX);
    assert_true(mr_str_find(mr_buf_view(&rig->in), MR_STR("content-length")) == SIZE_MAX);
    rig_free(rig);
}

static void answer_waits_for_the_delay(void **state) {
    (void)state;
    struct rig *rig = rig_new(RECEIVER_ANSWERS, 200, 60);
    mr_mono from = os_mono_now();
    send_text(rig, MR_STR(REQUEST));
    wait_for(rig, 1, 1, false);
    assert_true(mr_mono_diff_ms(os_mono_now(), from) >= 60);
    rig_free(rig);
}

static void answer_comes_though_the_sender_ended_its_side(void **state) {
    (void)state;
    struct rig *rig = rig_new(RECEIVER_ANSWERS, 200, 30);
    send_text(rig, MR_STR(REQUEST));
    os_shutdown_write(rig->fd);
    wait_for(rig, 1, 1, true);
    rig_free(rig);
}

static void reset_comes_after_the_whole_request(void **state) {
    (void)state;
    struct rig *rig = rig_new(RECEIVER_RESETS, 200, 0);
    send_text(rig, MR_STR(REQUEST));
    wait_for(rig, 0, 1, true);
    assert_true(mr_err_is(rig->ended, MR_E_IO));
    assert_int_equal(answers(rig), 0);
    assert_true(mr_str_find(mr_buf_view(&rig->lines),
                            MR_STR("\"status\":null,\"misbehaviour\":\"reset\"")) != SIZE_MAX);
    rig_free(rig);
}

static void close_comes_after_the_whole_request(void **state) {
    (void)state;
    struct rig *rig = rig_new(RECEIVER_CLOSES, 200, 0);
    send_text(rig, MR_STR(REQUEST));
    wait_for(rig, 0, 1, true);
    assert_true(mr_err_is(rig->ended, MR_E_CLOSED));
    assert_int_equal(answers(rig), 0);
    rig_free(rig);
}

static void hanging_receiver_reads_one_request_and_says_nothing(void **state) {
    (void)state;
    struct rig *rig = rig_new(RECEIVER_HANGS, 200, 0);
    send_text(rig, MR_STR(REQUEST REQUEST));
    wait_for(rig, 0, 1, false);
    for (int i = 0; i < 10; i++) {
        turn(rig);
    }
    assert_int_equal(rig->n_lines, 1);
    assert_int_equal(rig->in.len, 0);
    assert_true(mr_is_ok(rig->ended));
    rig_free(rig);
}

static void malformed_requests_are_refused_and_not_reported(void **state) {
    (void)state;
    static const struct {
        const char *text, *answer;
    } rows[] = {
        {"nonsense\r\n\r\n", "HTTP/1.1 400 "},
        {"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 67108865\r\n\r\n", "HTTP/1.1 413 "},
        {"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 400 "},
        {"POST / HTTP/3.0\r\nhost: h\r\n\r\n", "HTTP/1.1 505 "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig *rig = rig_new(RECEIVER_ANSWERS, 200, 0);
        send_text(rig, mr_str_c(rows[i].text));
        wait_for(rig, 1, 0, true);
        assert_true(mr_str_starts(mr_buf_view(&rig->in), mr_str_c(rows[i].answer)));
        assert_int_equal(rig->n_lines, 0);
        rig_free(rig);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signature_is_judged),
        cmocka_unit_test(a_query_is_shown_where_there_is_one),
        cmocka_unit_test(without_a_secret_nothing_is_checked),
        cmocka_unit_test(url_that_was_reached_is_verified_where_none_is_given),
        cmocka_unit_test(token_must_be_one_uuid),
        cmocka_unit_test(events_are_known_by_source_and_id),
        cmocka_unit_test(many_ids_are_told_apart_up_to_the_bound),
        cmocka_unit_test(way_is_timed_from_real_times_only),
        cmocka_unit_test(requests_are_answered_in_order_with_the_status),
        cmocka_unit_test(bytes_one_by_one_and_chunks_are_one_request),
        cmocka_unit_test(answer_waits_for_the_delay),
        cmocka_unit_test(answer_comes_though_the_sender_ended_its_side),
        cmocka_unit_test(reset_comes_after_the_whole_request),
        cmocka_unit_test(close_comes_after_the_whole_request),
        cmocka_unit_test(hanging_receiver_reads_one_request_and_says_nothing),
        cmocka_unit_test(malformed_requests_are_refused_and_not_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
