/* The simulated fleet keeps the rules of connection events. */
#include "base/mem.h"
#include "cli/fleet.h"
#include "json/write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

#define EVENTS   4000U
#define DEVICES  60U
#define TEXT_MAX ((size_t)64 << 20)

struct fixture {
    struct fleet *fleet;
    mr_buf text;
    json_tape tape;
    mr_arena arena;
};

static struct fleet *new_fleet(uint32_t devices, uint64_t seed, uint64_t salt) {
    const struct fleet_options options = {
        .devices = devices, .seed = seed, .id_salt = salt, .type_prefix = MR_STR("com.kore.iot")};
    struct fleet *fleet;
    assert_true(mr_is_ok(fleet_new(&options, &fleet)));
    return fleet;
}

static int setup(void **state) {
    struct fixture *f = MR_NEW(struct fixture);
    assert_non_null(f);
    f->fleet = new_fleet(DEVICES, 7, 0);
    mr_buf_init(&f->text, TEXT_MAX);
    json_tape_init(&f->tape, JSON_DEPTH_DEFAULT);
    mr_arena_init(&f->arena, TEXT_MAX);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    fleet_free(f->fleet);
    mr_buf_done(&f->text);
    json_tape_done(&f->tape);
    mr_arena_done(&f->arena);
    mr_free(f);
    return 0;
}

/* The next event, parsed. */
static json_value next(struct fixture *f, struct fleet_event *event) {
    mr_buf_reset(&f->text);
    mr_arena_reset(&f->arena);
    assert_true(mr_is_ok(fleet_next(f->fleet, MR_STR_NONE, &f->text, event)));
    assert_true(mr_is_ok(json_tape_read(&f->tape, mr_buf_view(&f->text), NULL)));
    return json_root(&f->tape);
}

static mr_str text_of(struct fixture *f, json_value object, const char *name) {
    mr_str text;
    assert_true(mr_is_ok(json_string(json_find(object, mr_str_c(name)), &f->arena, &text)));
    return text;
}

static uint64_t number_of(json_value object, const char *name) {
    uint64_t n;
    assert_true(mr_is_ok(json_u64(json_find(object, mr_str_c(name)), 0, UINT64_MAX, &n)));
    return n;
}

static void assert_same(struct fixture *f, json_value a, const char *name_a, json_value b,
                        const char *name_b) {
    assert_true(mr_str_eq(text_of(f, a, name_a), text_of(f, b, name_b)));
}

static void id_time_and_type_are_those_of_data(void **state) {
    struct fixture *f = *state;
    int64_t before_s = 0;
    mr_buf minified;
    mr_buf_init(&minified, TEXT_MAX);
    for (unsigned i = 0; i < EVENTS; i++) {
        struct fleet_event event;
        json_value envelope = next(f, &event);
        json_value data = json_find(envelope, MR_STR("data"));
        assert_same(f, envelope, "id", data, "event_sid");
        assert_same(f, envelope, "time", data, "timestamp");
        assert_same(f, envelope, "type", data, "event_type");
        assert_true(
            mr_str_ends(text_of(f, envelope, "type"), mr_str_c(fleet_kind_name(event.kind))));
        mr_buf_reset(&minified);
        assert_true(mr_is_ok(json_minify(envelope, JSON_UTF8, &minified)));
        assert_true(mr_str_eq(mr_buf_view(&minified), mr_buf_view(&f->text)));
        assert_true(event.time_s >= before_s);
        before_s = event.time_s;
    }
    mr_buf_done(&minified);
}

static int compare_ids(const void *a, const void *b) {
    return memcmp(a, b, 34);
}

static void ids_never_repeat(void **state) {
    struct fixture *f = *state;
    char(*ids)[34] = mr_calloc(EVENTS, sizeof *ids);
    assert_non_null(ids);
    for (unsigned i = 0; i < EVENTS; i++) {
        mr_str id = text_of(f, next(f, NULL), "id");
        assert_int_equal(id.len, 34);
        memcpy(ids[i], id.ptr, 34);
    }
    qsort(ids, EVENTS, sizeof *ids, compare_ids);
    for (unsigned i = 1; i < EVENTS; i++) {
        assert_int_not_equal(memcmp(ids[i - 1], ids[i], 34), 0);
    }
    mr_free(ids);
}

static void first_seven_events_of_one_device_are_of_seven_types(void **state) {
    (void)state;
    struct fleet *fleet = new_fleet(1, 1, 0);
    mr_buf text;
    mr_buf_init(&text, TEXT_MAX);
    unsigned seen = 0;
    for (int i = 0; i < FLEET_KINDS; i++) {
        struct fleet_event event;
        assert_true(mr_is_ok(fleet_next(fleet, MR_STR_NONE, &text, &event)));
        seen |= 1U << event.kind;
    }
    assert_int_equal(seen, (1U << FLEET_KINDS) - 1);
    mr_buf_done(&text);
    fleet_free(fleet);
}

/* What a device's session came to so far. */
struct tally {
    bool is_open;
    uint64_t upload, download;
    int64_t interval_s;
};

static void check_interval(struct fixture *f, json_value data, const struct fleet_event *event,
                           struct tally *tally) {
    mr_wall from, to;
    assert_true(
        mr_is_ok(mr_time_parse_rfc3339(text_of(f, data, "data_session_update_start_time"), &from)));
    assert_true(
        mr_is_ok(mr_time_parse_rfc3339(text_of(f, data, "data_session_update_end_time"), &to)));
    assert_int_equal(mr_wall_ms(from) / 1000, tally->interval_s);
    assert_int_equal(mr_wall_ms(to) / 1000, event->time_s);
    if (event->kind == FLEET_SESSION_UPDATED) {
        assert_int_equal(event->time_s - tally->interval_s, FLEET_UPDATE_S);
    } else {
        assert_true(event->time_s - tally->interval_s < FLEET_UPDATE_S);
    }
    tally->interval_s = event->time_s;
}

static void counters_of_sessions_add_up(void **state) {
    struct fixture *f = *state;
    struct tally tallies[DEVICES] = {0};
    unsigned ended = 0;
    for (unsigned i = 0; i < EVENTS; i++) {
        struct fleet_event event;
        json_value data = json_find(next(f, &event), MR_STR("data"));
        struct tally *tally = &tallies[event.device];
        if (event.kind == FLEET_SESSION_STARTED) {
            assert_false(tally->is_open);
            *tally = (struct tally){.is_open = true, .interval_s = event.time_s};
        }
        if (event.kind != FLEET_SESSION_UPDATED && event.kind != FLEET_SESSION_ENDED) {
            assert_true(json_is_absent(json_find(data, MR_STR("data_total"))));
            continue;
        }
        assert_true(tally->is_open);
        check_interval(f, data, &event, tally);
        uint64_t upload = number_of(data, "data_upload");
        uint64_t download = number_of(data, "data_download");
        tally->upload += upload;
        tally->download += download;
        assert_int_equal(number_of(data, "data_total"), upload + download);
        assert_int_equal(number_of(data, "data_session_data_upload"), tally->upload);
        assert_int_equal(number_of(data, "data_session_data_download"), tally->download);
        assert_int_equal(number_of(data, "data_session_data_total"),
                         tally->upload + tally->download);
        tally->is_open = event.kind == FLEET_SESSION_UPDATED;
        ended += tally->is_open ? 0 : 1;
    }
    assert_true(ended > 10);
}

static void some_names_are_awkward(void **state) {
    struct fixture *f = *state;
    unsigned quotes = 0;
    unsigned controls = 0;
    unsigned astral = 0;
    unsigned none = 0;
    for (unsigned i = 0; i < EVENTS; i++) {
        json_value name =
            json_find(json_find(next(f, NULL), MR_STR("data")), MR_STR("sim_unique_name"));
        if (json_kind_of(name) == JSON_NULL) {
            none++;
            continue;
        }
        mr_str text;
        assert_true(mr_is_ok(json_string(name, &f->arena, &text)));
        assert_true(mr_str_is_utf8(text));
        for (size_t at = 0; at < text.len; at++) {
            unsigned char c = (unsigned char)text.ptr[at];
            quotes += c == '"' ? 1 : 0;
            controls += c < 0x20 ? 1 : 0;
            astral += c >= 0xf0 ? 1 : 0;
        }
    }
    assert_true(quotes > 0 && controls > 0 && astral > 0 && none > 0);
}

/* Appends the first n events of a fleet. */
static void make(uint64_t seed, uint64_t salt, unsigned n, mr_buf *out) {
    struct fleet *fleet = new_fleet(DEVICES, seed, salt);
    for (unsigned i = 0; i < n; i++) {
        assert_true(mr_is_ok(fleet_next(fleet, MR_STR_NONE, out, NULL)));
    }
    fleet_free(fleet);
}

static void same_seed_gives_the_same_bytes(void **state) {
    (void)state;
    mr_buf texts[4];
    for (int i = 0; i < 4; i++) {
        mr_buf_init(&texts[i], TEXT_MAX);
    }
    make(5, 0, 500, &texts[0]);
    make(5, 0, 500, &texts[1]);
    make(6, 0, 500, &texts[2]);
    make(5, 1, 500, &texts[3]);
    assert_true(mr_str_eq(mr_buf_view(&texts[0]), mr_buf_view(&texts[1])));
    assert_false(mr_str_eq(mr_buf_view(&texts[0]), mr_buf_view(&texts[2])));
    assert_false(mr_str_eq(mr_buf_view(&texts[0]), mr_buf_view(&texts[3])));
    for (int i = 0; i < 4; i++) {
        mr_buf_done(&texts[i]);
    }
}

static void published_is_an_extension_attribute(void **state) {
    struct fixture *f = *state;
    mr_buf_reset(&f->text);
    assert_true(mr_is_ok(fleet_next(f->fleet, MR_STR("2026-01-01T00:00:00.000Z"), &f->text, NULL)));
    assert_true(mr_is_ok(json_tape_read(&f->tape, mr_buf_view(&f->text), NULL)));
    assert_true(mr_str_eq(text_of(f, json_root(&f->tape), "published"),
                          MR_STR("2026-01-01T00:00:00.000Z")));
}

static void event_that_does_not_fit_leaves_the_buffer_as_it_was(void **state) {
    struct fixture *f = *state;
    mr_buf small;
    mr_buf_init(&small, 300);
    assert_true(mr_is_ok(mr_buf_str(&small, MR_STR("before"))));
    assert_true(mr_err_is(fleet_next(f->fleet, MR_STR_NONE, &small, NULL), MR_E_LIMIT));
    assert_true(mr_str_eq(mr_buf_view(&small), MR_STR("before")));
    mr_buf_done(&small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(id_time_and_type_are_those_of_data, setup, teardown),
        cmocka_unit_test_setup_teardown(ids_never_repeat, setup, teardown),
        cmocka_unit_test(first_seven_events_of_one_device_are_of_seven_types),
        cmocka_unit_test_setup_teardown(counters_of_sessions_add_up, setup, teardown),
        cmocka_unit_test_setup_teardown(some_names_are_awkward, setup, teardown),
        cmocka_unit_test(same_seed_gives_the_same_bytes),
        cmocka_unit_test_setup_teardown(published_is_an_extension_attribute, setup, teardown),
        cmocka_unit_test_setup_teardown(event_that_does_not_fit_leaves_the_buffer_as_it_was, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
