/* Reading records by position, many at once, walking, trimming. */
#include "support_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define N 40

struct fixture {
    struct rig rig;
    uint64_t pos[N];
    uint32_t len[N];
    mr_buf scratch;
};

static void fixture_init(struct fixture *f) {
    rig_init(&f->rig, 31);
    f->rig.options.segment_bytes = 32768;
    rig_open(&f->rig);
    for (unsigned i = 0; i < N; i++) {
        f->len[i] = i % 5 == 0 ? 0 : 100 + i * 150;
        assert_int_equal(rig_append(&f->rig, 1, f->len[i], (uint8_t)i, &f->pos[i]),
                         JOURNAL_RESULT_OK);
        (void)journal_spare_step(f->rig.journal);
    }
    mr_buf_init(&f->scratch, JOURNAL_MERGE_BYTES);
}

static void fixture_done(struct fixture *f) {
    mr_buf_done(&f->scratch);
    rig_done(&f->rig);
}

static void check_record(const struct fixture *f, unsigned i, const struct journal_record *record) {
    assert_true(record->pos == f->pos[i]);
    assert_int_equal(record->type, 1);
    assert_int_equal(record->flags, i);
    assert_true(record->is_last_of_unit);
    assert_int_equal(record->unit_index, 0);
    assert_int_equal(record->body.len, f->len[i]);
    for (size_t b = 0; b < record->body.len; b++) {
        assert_int_equal(record->body.ptr[b], (char)(i + b * 7));
    }
}

static void a_record_is_read_with_any_size_hint(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    for (unsigned i = 0; i < N; i++) {
        const uint32_t hints[] = {0, 1, f.len[i], f.len[i] + 1000, UINT32_MAX / 4};
        for (size_t h = 0; h < sizeof hints / sizeof hints[0]; h++) {
            struct journal_record record;
            mr_buf_reset(&f.scratch);
            assert_true(mr_is_ok(journal_read(f.rig.journal, f.pos[i], hints[h], OS_READ_NOWAIT,
                                              &f.scratch, &record)));
            check_record(&f, i, &record);
        }
    }
    fixture_done(&f);
}

static void every_error_of_reading_is_told_apart(void **state) {
    (void)state;
    struct fixture f;
    struct journal_record record;
    fixture_init(&f);
    struct journal *journal = f.rig.journal;
    mr_buf *scratch = &f.scratch;
    assert_int_equal(
        journal_read(journal, journal_durable(journal), 0, OS_READ_WAIT, scratch, &record).code,
        MR_E_NOT_FOUND);
    assert_int_equal(journal_read(journal, 8, 0, OS_READ_WAIT, scratch, &record).code,
                     JOURNAL_E_TRIMMED);
    assert_int_equal(journal_read(journal, f.pos[1] + 8, 0, OS_READ_WAIT, scratch, &record).code,
                     JOURNAL_E_CORRUPT);
    assert_int_equal(journal_read(journal, f.pos[1] + 1, 0, OS_READ_WAIT, scratch, &record).code,
                     JOURNAL_E_CORRUPT);
    /* A group header is no record. */
    assert_int_equal(journal_read(journal, f.pos[1] - 64, 0, OS_READ_WAIT, scratch, &record).code,
                     JOURNAL_E_CORRUPT);
    disk_fault_at(f.rig.disk, DISK_FAULT_READ_AGAIN, 1);
    assert_int_equal(journal_read(journal, f.pos[1], 0, OS_READ_NOWAIT, scratch, &record).code,
                     MR_E_AGAIN);
    disk_fault_at(f.rig.disk, DISK_FAULT_READ_IO, 1);
    assert_int_equal(journal_read(journal, f.pos[1], 0, OS_READ_WAIT, scratch, &record).code,
                     MR_E_IO);
    mr_buf small;
    mr_buf_init(&small, 64);
    assert_int_equal(journal_read(journal, f.pos[1], 0, OS_READ_WAIT, &small, &record).code,
                     MR_E_LIMIT);
    mr_buf_done(&small);
    char byte = '?';
    assert_true(
        disk_poke(f.rig.disk, rig_segment_path(&f.rig, 0), 4096 + f.pos[1] - 4096 + 20, &byte, 1));
    assert_int_equal(journal_read(journal, f.pos[1], 0, OS_READ_WAIT, scratch, &record).code,
                     JOURNAL_E_CORRUPT);
    fixture_done(&f);
}

struct many {
    struct fixture *f;
    const unsigned *order;
    size_t next;
    uint32_t expected; /* error of all */
};
static void on_each(void *ctx, size_t i, mr_err err, const struct journal_record *record) {
    struct many *many = ctx;
    assert_int_equal(i, many->next);
    many->next++;
    assert_int_equal(err.code, many->expected);
    if (mr_is_ok(err)) {
        check_record(many->f, many->order[i], record);
    }
}

static void many_are_read_with_few_reads(void **state) {
    (void)state;
    struct fixture f;
    struct journal_want wants[N];
    unsigned order[N];
    fixture_init(&f);
    for (int hinted = 0; hinted < 2; hinted++) {
        for (unsigned step = 1; step < 7; step++) {
            struct many many = {.f = &f, .order = order};
            size_t n = 0;
            for (unsigned i = 0; i < N; i += step) {
                wants[n] = (struct journal_want){f.pos[i], hinted == 1 ? f.len[i] : 0};
                order[n++] = i;
            }
            uint64_t before = disk_counts(f.rig.disk).reads;
            assert_true(mr_is_ok(journal_read_many(f.rig.journal, wants, n, OS_READ_WAIT,
                                                   &f.scratch, on_each, &many)));
            assert_int_equal(many.next, n);
            if (hinted == 1 && step == 1) {
                assert_true(disk_counts(f.rig.disk).reads - before <=
                            journal_segments(f.rig.journal, NULL, 0));
            }
        }
    }
    fixture_done(&f);
}

static void many_tell_each_its_error(void **state) {
    (void)state;
    struct fixture f;
    unsigned order[2] = {0, 0};
    fixture_init(&f);
    struct journal_want wants[2] = {{f.pos[1] + 8, 0}, {f.pos[2] + 8, 0}};
    struct many many = {.f = &f, .order = order, .expected = JOURNAL_E_CORRUPT};
    assert_true(mr_is_ok(
        journal_read_many(f.rig.journal, wants, 2, OS_READ_WAIT, &f.scratch, on_each, &many)));
    wants[0].pos = 8;
    wants[1].pos = 16;
    many = (struct many){.f = &f, .order = order, .expected = JOURNAL_E_TRIMMED};
    assert_true(mr_is_ok(
        journal_read_many(f.rig.journal, wants, 2, OS_READ_WAIT, &f.scratch, on_each, &many)));
    wants[0].pos = f.pos[1];
    wants[1].pos = f.pos[2];
    many = (struct many){.f = &f, .order = order, .expected = MR_E_AGAIN};
    disk_fault_chance(f.rig.disk, DISK_FAULT_READ_AGAIN, 1);
    assert_true(mr_is_ok(
        journal_read_many(f.rig.journal, wants, 2, OS_READ_NOWAIT, &f.scratch, on_each, &many)));
    assert_int_equal(many.next, 2);
    fixture_done(&f);
}

static void trimming_frees_whole_old_segments(void **state) {
    (void)state;
    struct fixture f;
    struct journal_record record;
    struct journal_segment_info info[32];
    fixture_init(&f);
    struct journal *journal = f.rig.journal;
    size_t n = journal_segments(journal, info, 32);
    assert_true(n >= 3 && n <= 32);
    assert_true(info[n - 1].is_open);
    for (size_t i = 0; i + 1 < n; i++) {
        assert_true(info[i].end_pos == info[i + 1].first_pos);
        assert_int_equal(info[i].newest_wall_ms, 1000 * 1000);
        assert_int_equal(info[i].bytes, 32768);
    }
    struct journal_iter iter;
    struct journal_item item;
    journal_iter_init(&iter, journal, JOURNAL_POS_NONE);
    assert_true(mr_is_ok(journal_iter_next(&iter, UINT64_MAX, &item)));
    assert_true(mr_is_ok(journal_trim(journal, info[1].first_pos - 8)));
    assert_int_equal(journal_segments(journal, NULL, 0), n);
    assert_true(mr_is_ok(journal_trim(journal, info[1].end_pos)));
    assert_int_equal(journal_segments(journal, NULL, 0), n - 2);
    assert_true(journal_start(journal) == info[2].first_pos);
    assert_int_equal(journal_read(journal, f.pos[0], 0, OS_READ_WAIT, &f.scratch, &record).code,
                     JOURNAL_E_TRIMMED);
    /* The walk keeps the segment it is in, then finds that the next is gone. */
    mr_err err = MR_OK;
    unsigned seen = 0;
    while (mr_is_ok(err)) {
        err = journal_iter_next(&iter, UINT64_MAX, &item);
        seen++;
    }
    assert_int_equal(err.code, JOURNAL_E_TRIMMED);
    assert_true(seen > 5);
    journal_iter_done(&iter);
    assert_true(mr_is_ok(journal_trim(journal, UINT64_MAX)));
    assert_int_equal(journal_segments(journal, info, 32), 1);
    assert_true(info[0].is_open);
    rig_stop(&f.rig);
    rig_open(&f.rig);
    assert_int_equal(f.rig.n_damage, 0);
    fixture_done(&f);
}

static void a_walk_follows_the_writer_over_segments(void **state) {
    (void)state;
    struct rig rig;
    struct journal_iter iter;
    struct journal_item item;
    rig_init(&rig, 32);
    rig_open(&rig);
    journal_iter_init(&iter, rig.journal, JOURNAL_POS_NONE);
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(rig_append(&rig, 1, 5000, (uint8_t)i, NULL), JOURNAL_RESULT_OK);
        (void)journal_spare_step(rig.journal);
        assert_true(mr_is_ok(journal_iter_next(&iter, journal_durable(rig.journal), &item)));
        assert_int_equal(item.kind, JOURNAL_ITEM_RECORD);
        assert_int_equal(item.record.flags, i);
        assert_int_equal(iter.wall_ms, 1000 * 1000);
        assert_true(mr_is_ok(journal_iter_next(&iter, journal_durable(rig.journal), &item)));
        assert_int_equal(item.kind, JOURNAL_ITEM_END);
        if (i == 30) {
            /* It goes on where another one stood. */
            uint64_t pos = iter.pos;
            journal_iter_done(&iter);
            journal_iter_init(&iter, rig.journal, pos);
        }
    }
    journal_iter_done(&iter);
    rig_done(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_read_with_any_size_hint),
        cmocka_unit_test(every_error_of_reading_is_told_apart),
        cmocka_unit_test(many_are_read_with_few_reads),
        cmocka_unit_test(many_tell_each_its_error),
        cmocka_unit_test(trimming_frees_whole_old_segments),
        cmocka_unit_test(a_walk_follows_the_writer_over_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
