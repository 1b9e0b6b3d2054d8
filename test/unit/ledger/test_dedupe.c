/* The memory of ids: duplicates, conflicts, roll-back, generations, files, restarts. */
#include "ledger/dedupe.h"

#include "../../sim/disk.h"
#include "base/mem.h"
#include "ledger/record.h"
#include "support_records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const uint8_t store_id[16] = {4, 5, 6};

struct rig {
    struct disk *disk;
    struct dedupe *dedupe;
    struct dedupe_options options;
    mr_wall now;
    uint64_t pos;
};

static void rig_open(struct rig *rig) {
    mr_err err = dedupe_open(&rig->options, rig->now, &rig->dedupe);
    assert_int_equal(err.code, 0);
}

static void rig_init(struct rig *rig, uint32_t window_ids) {
    *rig = (struct rig){.disk = disk_new(1), .now = mr_wall_of_ms(1000000), .pos = 4096};
    rig->options = (struct dedupe_options){.files = disk_files(rig->disk),
                                           .dir = "/d",
                                           .store_id = store_id,
                                           .window_ids = window_ids,
                                           .window_ms = 160000};
    rig_open(rig);
}

static void rig_done(struct rig *rig) {
    dedupe_close(rig->dedupe);
    disk_free(rig->disk);
}

/* Events in a unit: id number and content number each. */
struct pair {
    uint32_t id, content;
};

#define UNIT_MAX 64

struct unit {
    struct journal_unit unit;
    struct journal_slot slots[UNIT_MAX];
    uint8_t bytes[UNIT_MAX][RECORD_EVENT_HEAD_BYTES];
};

static struct siphash_128 tag_of(uint32_t id) {
    return siphash_128((struct siphash_key){8, 9}, &id, sizeof id);
}

static void unit_make(struct unit *unit, const struct pair *pairs, uint32_t n, int64_t ms) {
    for (uint32_t i = 0; i < n; i++) {
        struct record_event_spec spec = {
            .tag = tag_of(pairs[i].id), .digest = pairs[i].content, .accepted_ms = ms};
        size_t len;
        assert_true(
            mr_is_ok(record_event_encode(&spec, unit->bytes[i], RECORD_EVENT_HEAD_BYTES, &len)));
        unit->slots[i] = journal_slot_of(RECORD_EVENT, 0, (mr_str){(char *)unit->bytes[i], len});
    }
    journal_unit_init(&unit->unit, JOURNAL_INGEST, unit->slots, n, NULL, NULL, NULL);
}

static bool admit(struct rig *rig, struct unit *unit) {
    return dedupe_admit(rig->dedupe, &unit->unit);
}

static void place(struct rig *rig, struct unit *unit) {
    for (uint32_t i = 0; i < unit->unit.n_records; i++) {
        if (unit->slots[i].verdict == JOURNAL_KEEP) {
            unit->slots[i].pos = rig->pos;
            rig->pos += 200;
        }
    }
    dedupe_placed(rig->dedupe, &unit->unit);
}

static bool store(struct rig *rig, const struct pair *pairs, uint32_t n, struct unit *unit) {
    unit_make(unit, pairs, n, mr_wall_ms(rig->now));
    if (!admit(rig, unit)) {
        return false;
    }
    place(rig, unit);
    dedupe_committed(rig->dedupe, rig->pos);
    return true;
}

static bool knows(struct rig *rig, uint32_t id, uint64_t *ret_pos) {
    struct dedupe_found found;
    mr_err err = dedupe_find(rig->dedupe, tag_of(id), &found);
    if (mr_is_ok(err) && ret_pos != NULL) {
        *ret_pos = found.pos;
    }
    assert_true(mr_is_ok(err) || mr_err_is(err, MR_E_NOT_FOUND));
    return mr_is_ok(err);
}

static void same_id_is_a_duplicate_with_the_originals_position(void **state) {
    (void)state;
    struct rig rig;
    struct unit unit;
    rig_init(&rig, 1000);
    assert_true(store(&rig, (struct pair[]){{1, 1}, {2, 2}}, 2, &unit));
    uint64_t pos = unit.slots[1].pos;
    assert_true(store(&rig, (struct pair[]){{3, 3}, {2, 2}}, 2, &unit));
    assert_int_equal(unit.slots[0].verdict, JOURNAL_KEEP);
    assert_int_equal(unit.slots[1].verdict, JOURNAL_DUPLICATE);
    assert_int_equal(unit.slots[1].pos, pos);
    assert_int_equal(unit.slots[1].original_index, JOURNAL_INDEX_NONE);
    rig_done(&rig);
}

static void same_id_with_other_content_refuses_the_unit(void **state) {
    (void)state;
    struct rig rig;
    struct unit unit;
    rig_init(&rig, 1000);
    assert_true(store(&rig, (struct pair[]){{1, 1}}, 1, &unit));
    assert_false(store(&rig, (struct pair[]){{5, 5}, {6, 6}, {1, 9}}, 3, &unit));
    assert_int_equal(dedupe_conflict(rig.dedupe).slot, 2);
    assert_false(dedupe_conflict(rig.dedupe).out_of_memory);
    assert_false(knows(&rig, 5, NULL));
    assert_true(store(&rig, (struct pair[]){{5, 7}}, 1, &unit));
    rig_done(&rig);
}

static void duplicates_inside_a_unit_point_to_their_first(void **state) {
    (void)state;
    struct rig rig;
    struct unit unit;
    rig_init(&rig, 1000);
    assert_true(store(&rig, (struct pair[]){{1, 1}, {2, 2}, {1, 1}, {2, 2}, {1, 1}}, 5, &unit));
    assert_int_equal(unit.slots[2].original_index, 0);
    assert_int_equal(unit.slots[3].original_index, 1);
    assert_int_equal(unit.slots[4].original_index, 0);
    assert_int_equal(dedupe_stats(rig.dedupe).ids, 2);
    assert_false(store(&rig, (struct pair[]){{7, 1}, {7, 2}}, 2, &unit));
    assert_int_equal(dedupe_conflict(rig.dedupe).slot, 1);
    rig_done(&rig);
}

static void undone_units_are_forgotten(void **state) {
    (void)state;
    struct rig rig;
    struct unit a;
    struct unit b;
    struct unit again;
    rig_init(&rig, 1000);
    assert_true(store(&rig, (struct pair[]){{1, 1}}, 1, &a));
    unit_make(&a, (struct pair[]){{2, 2}, {3, 3}, {2, 2}}, 3, 0);
    assert_true(admit(&rig, &a));
    place(&rig, &a);
    unit_make(&b, (struct pair[]){{4, 4}, {3, 3}}, 2, 0);
    assert_true(admit(&rig, &b));
    assert_int_equal(b.slots[1].verdict, JOURNAL_DUPLICATE);
    place(&rig, &b);
    dedupe_undone(rig.dedupe, &b.unit);
    dedupe_undone(rig.dedupe, &a.unit);
    assert_true(knows(&rig, 1, NULL));
    for (uint32_t id = 2; id <= 4; id++) {
        assert_false(knows(&rig, id, NULL));
    }
    assert_true(store(&rig, (struct pair[]){{2, 99}, {4, 98}}, 2, &again));
    assert_int_equal(again.slots[0].verdict, JOURNAL_KEEP);
    rig_done(&rig);
}

static void fill(struct rig *rig, uint32_t from, uint32_t to) {
    for (uint32_t id = from; id < to; id++) {
        struct unit unit;
        assert_true(store(rig, &(struct pair){id, id}, 1, &unit));
    }
}

static void tick(struct rig *rig, int n) {
    for (int i = 0; i < n; i++) {
        dedupe_tick(rig->dedupe, rig->now, true);
        while (dedupe_store_step(rig->dedupe)) {
        }
    }
    dedupe_tick(rig->dedupe, rig->now, true);
}

static void the_window_ends_by_number(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 1600);
    for (uint32_t id = 0; id < 20000; id += 100) {
        fill(&rig, id, id + 100);
        tick(&rig, 2);
        for (uint32_t back = 1; back <= 1600 && back <= id + 100; back += 37) {
            assert_true(knows(&rig, id + 100 - back, NULL));
        }
    }
    assert_false(knows(&rig, 20000 - 1600 - 250, NULL));
    struct dedupe_stats stats = dedupe_stats(rig.dedupe);
    assert_true(stats.ids >= 1600 && stats.ids <= 1800);
    assert_true(stats.stored >= 15 && stats.file_reads > 0);
    rig_done(&rig);
}

static void the_window_ends_by_age_unless_the_clock_is_not_trusted(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 100000);
    fill(&rig, 0, 50);
    tick(&rig, 1);
    rig.now = mr_wall_of_ms(mr_wall_ms(rig.now) + 11000);
    tick(&rig, 1);
    fill(&rig, 50, 100);
    rig.now = mr_wall_of_ms(mr_wall_ms(rig.now) + 155000);
    dedupe_tick(rig.dedupe, rig.now, false);
    assert_true(knows(&rig, 10, NULL));
    tick(&rig, 3);
    assert_false(knows(&rig, 10, NULL));
    assert_true(knows(&rig, 60, NULL));
    rig.now = mr_wall_of_ms(mr_wall_ms(rig.now) + 200000);
    tick(&rig, 4);
    assert_false(knows(&rig, 60, NULL));
    assert_int_equal(dedupe_stats(rig.dedupe).ids, 0);
    rig_done(&rig);
}

/* What ledger_recover does: EVENT records from there on. */
static void replay(struct rig *rig, uint32_t n, const uint64_t *positions) {
    for (uint32_t id = 0; id < n; id++) {
        struct unit unit;
        if (positions[id] >= dedupe_replay_from(rig->dedupe)) {
            unit_make(&unit, &(struct pair){id, id}, 1, mr_wall_ms(rig->now));
            assert_true(
                mr_is_ok(dedupe_replay(rig->dedupe, positions[id],
                                       (mr_str){(char *)unit.bytes[0], RECORD_EVENT_HEAD_BYTES})));
        }
    }
}

static void restarts_remember_files_and_replay_the_rest(void **state) {
    (void)state;
    struct rig rig;
    static uint64_t positions[1050];
    rig_init(&rig, 1600);
    for (uint32_t id = 0; id < 1050; id++) {
        struct unit unit;
        assert_true(store(&rig, &(struct pair){id, id}, 1, &unit));
        positions[id] = unit.slots[0].pos;
        tick(&rig, 1);
    }
    uint64_t floor = dedupe_floor(rig.dedupe);
    assert_true(floor == positions[1000]);
    dedupe_close(rig.dedupe);
    disk_crash(rig.disk);
    disk_restart(rig.disk);
    rig_open(&rig);
    assert_int_equal(dedupe_replay_from(rig.dedupe), positions[999]);
    assert_true(knows(&rig, 999, NULL));
    assert_false(knows(&rig, 1001, NULL));
    replay(&rig, 1050, positions);
    assert_int_equal(dedupe_stats(rig.dedupe).ids, 1050);
    for (uint32_t id = 0; id < 1050; id++) {
        uint64_t pos;
        assert_true(knows(&rig, id, &pos));
        assert_int_equal(pos, positions[id]);
    }
    rig_done(&rig);
}

struct names {
    char path[32][64];
    size_t n;
};

static void add_name(void *arg, mr_str name) {
    struct names *names = arg;
    (void)snprintf(names->path[names->n++], 64, "/d/%.*s", MR_FMT(name));
}

static void a_damaged_file_is_replayed(void **state) {
    (void)state;
    struct rig rig;
    static uint64_t positions[500];
    rig_init(&rig, 1600);
    for (uint32_t id = 0; id < 500; id++) {
        struct unit unit;
        assert_true(store(&rig, &(struct pair){id, id}, 1, &unit));
        positions[id] = unit.slots[0].pos;
        tick(&rig, 1);
    }
    dedupe_close(rig.dedupe);
    const struct os_files *files = disk_files(rig.disk);
    struct names names = {.n = 0};
    assert_true(mr_is_ok(files->list(files->ctx, "/d", add_name, &names)));
    assert_int_equal(names.n, 5);
    os_file file;
    struct iovec iov = {.iov_base = (void *)(uintptr_t) "x", .iov_len = 1};
    assert_true(mr_is_ok(files->open(files->ctx, names.path[2], OS_OPEN_WRITE, &file)));
    assert_true(mr_is_ok(files->write(files->ctx, file, &iov, 1, 1000)));
    files->close(files->ctx, file);
    rig_open(&rig);
    assert_int_equal(dedupe_stats(rig.dedupe).ids, 400);
    replay(&rig, 500, positions);
    assert_int_equal(dedupe_stats(rig.dedupe).ids, 500);
    for (uint32_t id = 0; id < 500; id++) {
        uint64_t pos;
        assert_true(knows(&rig, id, &pos));
        assert_int_equal(pos, positions[id]);
    }
    rig.options.store_id = (const uint8_t[16]){1};
    struct dedupe *other;
    assert_true(mr_err_is(dedupe_open(&rig.options, rig.now, &other), LEDGER_E_FOREIGN));
    rig_done(&rig);
}

static void files_that_cannot_be_written_leave_ids_in_memory(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 1600);
    disk_fault_chance(rig.disk, DISK_FAULT_SYNC_IO, 1);
    fill(&rig, 0, 350);
    tick(&rig, 5);
    assert_int_equal(dedupe_stats(rig.dedupe).stored, 0);
    assert_int_equal(dedupe_floor(rig.dedupe), 4096);
    assert_true(knows(&rig, 0, NULL));
    disk_fault_chance(rig.disk, DISK_FAULT_SYNC_IO, 0);
    tick(&rig, 5);
    assert_int_equal(dedupe_stats(rig.dedupe).stored, 3);
    assert_true(knows(&rig, 0, NULL) && knows(&rig, 349, NULL));
    assert_true(dedupe_floor(rig.dedupe) > 4096);
    rig_done(&rig);
}

static void without_memory_units_are_refused_and_nothing_is_lost(void **state) {
    (void)state;
    char dir[] = "/tmp/millrace-dedupe-XXXXXX";
    assert_non_null(mkdtemp(dir));
    uint64_t n_refused = 0;
    struct rig rig = {.now = mr_wall_of_ms(1), .pos = 8};
    rig.options = (struct dedupe_options){
        .files = &os_files_system, .dir = dir, .store_id = store_id, .window_ids = 100000};
    for (uint64_t fail_at = 1; fail_at < 40; fail_at++) {
        mr_alloc_fail_at(fail_at);
        mr_err err = dedupe_open(&rig.options, rig.now, &rig.dedupe);
        if (mr_is_err(err)) {
            mr_alloc_fail_at(0);
            assert_true(mr_err_is(err, MR_E_NOMEM));
            continue;
        }
        for (uint32_t id = 0; id < 20000; id++) {
            struct unit unit;
            if (!store(&rig, &(struct pair){id, id}, 1, &unit)) {
                assert_true(dedupe_conflict(rig.dedupe).out_of_memory);
                n_refused++;
                assert_true(store(&rig, &(struct pair){id, id}, 1, &unit));
            }
        }
        mr_alloc_fail_at(0);
        assert_int_equal(dedupe_stats(rig.dedupe).ids, 20000);
        assert_true(knows(&rig, 0, NULL) && knows(&rig, 19999, NULL));
        dedupe_close(rig.dedupe);
    }
    assert_true(n_refused > 5);
    assert_int_equal(remove(dir), 0);
}

/* Random ids against a table; restarts and crashes in between. */
static void random_use_agrees_with_a_table(void **state) {
    (void)state;
    uint64_t seed = test_seed(3);
    for (uint64_t round = 0; round < 6; round++) {
        struct chance chance = {seed + round};
        struct rig rig;
        static uint64_t known[3000];
        memset(known, 0, sizeof known);
        rig_init(&rig, 100000);
        for (int i = 0; i < 6000; i++) {
            struct pair pairs[8];
            struct unit unit;
            uint32_t n = 1 + chance_below(&chance, 8);
            for (uint32_t k = 0; k < n; k++) {
                pairs[k].id = chance_below(&chance, 3000);
                pairs[k].content = pairs[k].id;
            }
            unit_make(&unit, pairs, n, 0);
            assert_true(admit(&rig, &unit));
            for (uint32_t k = 0; k < n; k++) {
                bool is_first = known[pairs[k].id] == 0;
                for (uint32_t j = 0; j < k; j++) {
                    is_first = is_first && pairs[j].id != pairs[k].id;
                }
                assert_int_equal(unit.slots[k].verdict,
                                 is_first ? JOURNAL_KEEP : JOURNAL_DUPLICATE);
                if (known[pairs[k].id] != 0) {
                    assert_int_equal(unit.slots[k].pos, known[pairs[k].id]);
                }
            }
            place(&rig, &unit);
            if (chance_below(&chance, 5) == 0) {
                dedupe_undone(rig.dedupe, &unit.unit);
                continue;
            }
            for (uint32_t k = 0; k < n; k++) {
                if (unit.slots[k].verdict == JOURNAL_KEEP) {
                    known[pairs[k].id] = unit.slots[k].pos;
                }
            }
            dedupe_committed(rig.dedupe, rig.pos);
        }
        rig_done(&rig);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_id_is_a_duplicate_with_the_originals_position),
        cmocka_unit_test(same_id_with_other_content_refuses_the_unit),
        cmocka_unit_test(duplicates_inside_a_unit_point_to_their_first),
        cmocka_unit_test(undone_units_are_forgotten),
        cmocka_unit_test(the_window_ends_by_number),
        cmocka_unit_test(the_window_ends_by_age_unless_the_clock_is_not_trusted),
        cmocka_unit_test(restarts_remember_files_and_replay_the_rest),
        cmocka_unit_test(a_damaged_file_is_replayed),
        cmocka_unit_test(files_that_cannot_be_written_leave_ids_in_memory),
        cmocka_unit_test(without_memory_units_are_refused_and_nothing_is_lost),
        cmocka_unit_test(random_use_agrees_with_a_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
