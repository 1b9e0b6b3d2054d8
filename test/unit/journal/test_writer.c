/* The writer: answers, classes, duplicates, slabs, errors, space. */
#include "support_rig.h"

#include "base/list.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void an_answered_unit_is_read_back(void **state) {
    (void)state;
    struct rig rig;
    uint8_t tags[16];
    uint64_t pos;
    rig_init(&rig, 1);
    rig_open(&rig);
    assert_true(rig.recovery.created);
    assert_int_equal(rig_append(&rig, 3, 100, 5, &pos), JOURNAL_RESULT_OK);
    assert_true(pos < journal_durable(rig.journal));
    assert_int_equal(rig_tags(&rig, tags, 16), 3);
    assert_int_equal(tags[2], 5);
    assert_int_equal(writer_queue(rig.writer).bytes, 0);
    assert_int_equal(writer_queue(rig.writer).records, 0);
    rig_stop(&rig);
    rig_open(&rig);
    assert_int_equal(rig_tags(&rig, tags, 16), 3);
    assert_int_equal(rig.n_damage, 0);
    assert_int_equal(journal_epoch(rig.journal), 2);
    rig_done(&rig);
}

static void many_segments_are_walked_in_order(void **state) {
    (void)state;
    struct rig rig;
    static uint8_t tags[400];
    uint64_t pos[200];
    rig_init(&rig, 2);
    rig_open(&rig);
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(rig_append(&rig, 2, 900, (uint8_t)i, &pos[i]), JOURNAL_RESULT_OK);
        (void)journal_spare_step(rig.journal);
    }
    assert_int_equal(rig_tags(&rig, tags, 400), 400);
    for (unsigned i = 0; i < 400; i++) {
        assert_int_equal(tags[i], (uint8_t)(i / 2));
    }
    assert_true(journal_segments(rig.journal, NULL, 0) > 5);
    rig_stop(&rig);
    rig_open(&rig);
    assert_int_equal(rig_tags(&rig, tags, 400), 400);
    assert_int_equal(rig.recovery.damaged_ranges, 0);
    rig_done(&rig);
}

static void closed_segments_are_forgotten_once_each(void **state) {
    (void)state;
    struct rig rig;
    static uint8_t tags[400];
    uint64_t pos[200];
    rig_init(&rig, 31);
    rig_open(&rig);
    assert_int_equal(journal_remembered(rig.journal), 0);
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(rig_append(&rig, 2, 900, (uint8_t)i, &pos[i]), JOURNAL_RESULT_OK);
        (void)journal_spare_step(rig.journal);
    }
    size_t n_closed = journal_segments(rig.journal, NULL, 0) - 1;
    uint64_t first_end = journal_remembered(rig.journal);
    assert_true(first_end > 0);
    journal_forget(rig.journal, first_end - 1);
    assert_int_equal(disk_counts(rig.disk).forgotten, 0);
    journal_forget(rig.journal, first_end);
    assert_int_equal(disk_counts(rig.disk).forgotten, 1);
    assert_true(journal_remembered(rig.journal) > first_end);
    journal_forget(rig.journal, UINT64_MAX); /* never the open one */
    journal_forget(rig.journal, UINT64_MAX);
    assert_int_equal(disk_counts(rig.disk).forgotten, n_closed);
    assert_int_equal(journal_remembered(rig.journal), 0);
    assert_int_equal(rig_tags(&rig, tags, 400), 400);
    rig_done(&rig);
}

static void outcomes_wait_for_the_next_sync_or_20_ms(void **state) {
    (void)state;
    struct rig rig;
    struct rig_unit a = {0};
    struct rig_unit b = {0};
    rig_init(&rig, 3);
    rig_open(&rig);
    rig_post(&rig, &a, JOURNAL_OUTCOME, 1, 10, 1);
    mr_mono next = rig_step(&rig);
    assert_false(a.is_done);
    assert_int_equal(mr_mono_diff_ms(next, rig.now), 20);
    assert_int_equal(rig_append(&rig, 1, 10, 2, NULL), JOURNAL_RESULT_OK);
    assert_true(a.is_done);
    rig_post(&rig, &b, JOURNAL_OUTCOME, 1, 10, 3);
    next = rig_step(&rig);
    assert_false(b.is_done);
    rig.now = next;
    (void)rig_step(&rig);
    assert_true(b.is_done);
    assert_int_equal(b.unit.result, JOURNAL_RESULT_OK);
    rig_unit_done(&a);
    rig_unit_done(&b);
    rig_done(&rig);
}

static void an_idle_journal_witnesses_its_end_within_a_second(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 4);
    rig_open(&rig);
    assert_int_equal(rig_append(&rig, 1, 10, 1, NULL), JOURNAL_RESULT_OK);
    uint64_t before = journal_durable(rig.journal);
    mr_mono next = rig_step(&rig);
    assert_int_equal(mr_mono_diff_ms(next, rig.now), 1000);
    rig.now = next;
    assert_true(rig_step(&rig).ns == MR_MONO_NEVER.ns);
    assert_int_equal(journal_durable(rig.journal), before + 64);
    disk_crash(rig.disk);
    rig_drop(&rig);
    rig_open(&rig);
    assert_int_equal(rig.recovery.durable_known, before);
    rig_done(&rig);
}

static void a_unit_out_of_bounds_is_answered_limit(void **state) {
    (void)state;
    struct rig rig;
    struct rig_unit empty = {0};
    rig_init(&rig, 5);
    rig_open(&rig);
    assert_int_equal(rig_append(&rig, 1, 70000, 1, NULL), JOURNAL_RESULT_LIMIT);
    rig_post(&rig, &empty, JOURNAL_INGEST, 0, 0, 0);
    (void)rig_step(&rig);
    assert_int_equal(empty.unit.result, JOURNAL_RESULT_LIMIT);
    uint64_t most = journal_capabilities(rig.journal).unit_bytes_max;
    assert_int_equal(rig_append(&rig, 1, (uint32_t)most - 16, 1, NULL), JOURNAL_RESULT_OK);
    assert_int_equal(rig_append(&rig, 1, (uint32_t)most - 15, 1, NULL), JOURNAL_RESULT_LIMIT);
    rig_done(&rig);
}

/* A toy of the ledger's table: duplicate by the flags byte, conflict by the length. */
struct toy {
    uint64_t pos[256];
    uint32_t len[256];
    unsigned n_undone;
    unsigned n_failed;
};

static bool toy_admit(void *ctx, struct journal_unit *unit) {
    struct toy *toy = ctx;
    for (uint32_t i = 0; i < unit->n_records; i++) {
        struct journal_slot *slot = &unit->records[i];
        if (toy->pos[slot->flags] != 0) {
            if (toy->len[slot->flags] != slot->len) {
                return false;
            }
            slot->verdict = JOURNAL_DUPLICATE;
            slot->pos = toy->pos[slot->flags];
        } else if (i > 0 && slot->flags == unit->records[0].flags) {
            slot->verdict = JOURNAL_DUPLICATE;
            slot->original_index = 0;
        }
    }
    return true;
}
static void toy_placed(void *ctx, const struct journal_unit *unit) {
    struct toy *toy = ctx;
    for (uint32_t i = 0; i < unit->n_records; i++) {
        if (unit->records[i].verdict == JOURNAL_KEEP) {
            toy->pos[unit->records[i].flags] = unit->records[i].pos;
            toy->len[unit->records[i].flags] = unit->records[i].len;
        }
    }
}
static void toy_undone(void *ctx, const struct journal_unit *unit) {
    struct toy *toy = ctx;
    toy->n_undone++;
    for (uint32_t i = 0; i < unit->n_records; i++) {
        if (unit->records[i].verdict == JOURNAL_KEEP) {
            toy->pos[unit->records[i].flags] = 0;
        }
    }
}
static void toy_failed(void *ctx, enum journal_state state) {
    struct toy *toy = ctx;
    toy->n_failed++;
    assert_true(state == JOURNAL_STATE_FAILED || state == JOURNAL_STATE_FENCED);
}
static void use_toy(struct rig *rig, struct toy *toy) {
    *toy = (struct toy){0};
    rig->writer_options.hooks = (struct writer_hooks){.ctx = toy,
                                                      .admit = toy_admit,
                                                      .placed = toy_placed,
                                                      .undone = toy_undone,
                                                      .failed = toy_failed};
}

static void duplicates_are_answered_with_their_original(void **state) {
    (void)state;
    struct rig rig;
    struct toy toy;
    struct rig_unit a = {0};
    struct rig_unit b = {0};
    uint64_t pos;
    uint8_t tags[8];
    rig_init(&rig, 6);
    use_toy(&rig, &toy);
    rig_open(&rig);
    rig_post(&rig, &a, JOURNAL_INGEST, 2, 10, 9); /* its second is a duplicate within the unit */
    rig_post(&rig, &b, JOURNAL_INGEST, 1, 10, 9); /* a duplicate within the group */
    (void)rig_step(&rig);
    assert_true(a.is_done && b.is_done);
    assert_int_equal(b.unit.result, JOURNAL_RESULT_OK);
    assert_true(a.slots[0].pos != 0);
    assert_true(a.slots[1].pos == a.slots[0].pos);
    assert_true(b.slots[0].pos == a.slots[0].pos);
    assert_int_equal(rig_append(&rig, 1, 10, 9, &pos), JOURNAL_RESULT_OK); /* of a durable one */
    assert_true(pos == a.slots[0].pos);
    assert_int_equal(rig_append(&rig, 1, 11, 9, &pos), JOURNAL_RESULT_CONFLICT);
    assert_int_equal(rig_tags(&rig, tags, 8), 1);
    assert_int_equal(writer_stats(rig.writer).duplicates, 3);
    assert_int_equal(writer_stats(rig.writer).conflicts, 1);
    rig_unit_done(&a);
    rig_unit_done(&b);
    rig_done(&rig);
}

static void a_failed_sync_is_sticky(void **state) {
    (void)state;
    struct rig rig;
    struct toy toy;
    struct rig_unit outcome = {0};
    rig_init(&rig, 7);
    use_toy(&rig, &toy);
    rig_open(&rig);
    rig_post(&rig, &outcome, JOURNAL_OUTCOME, 1, 10, 1);
    (void)rig_step(&rig);
    uint64_t durable = journal_durable(rig.journal);
    disk_fault_at(rig.disk, DISK_FAULT_SYNC_IO, 1);
    assert_int_equal(rig_append(&rig, 1, 10, 2, NULL), JOURNAL_RESULT_FAILED);
    assert_true(outcome.is_done);
    assert_int_equal(outcome.unit.result, JOURNAL_RESULT_FAILED);
    assert_int_equal(rig_append(&rig, 1, 10, 3, NULL), JOURNAL_RESULT_FAILED);
    assert_int_equal(journal_state(rig.journal), JOURNAL_STATE_FAILED);
    assert_int_equal(journal_durable(rig.journal), durable);
    assert_int_equal(toy.n_failed, 1);
    assert_false(journal_spare_step(rig.journal));
    rig_unit_done(&outcome);
    rig_done(&rig);
}

static void a_failed_write_is_sticky(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 8);
    rig_open(&rig);
    disk_fault_at(rig.disk, DISK_FAULT_WRITE_IO, 1);
    assert_int_equal(rig_append(&rig, 1, 1000, 2, NULL), JOURNAL_RESULT_FAILED);
    assert_int_equal(rig_append(&rig, 1, 10, 3, NULL), JOURNAL_RESULT_FAILED);
    rig_done(&rig);
}

static void a_short_write_seals_and_heals(void **state) {
    (void)state;
    struct rig rig;
    struct toy toy;
    struct rig_unit outcome = {0};
    uint8_t tags[8];
    rig_init(&rig, 9);
    use_toy(&rig, &toy);
    rig_open(&rig);
    assert_int_equal(rig_append(&rig, 1, 3000, 1, NULL), JOURNAL_RESULT_OK);
    rig_post(&rig, &outcome, JOURNAL_OUTCOME, 1, 10, 2);
    disk_fault_at(rig.disk, DISK_FAULT_SHORT_WRITE, 1);
    assert_int_equal(rig_append(&rig, 1, 3000, 3, NULL), JOURNAL_RESULT_FULL);
    assert_false(outcome.is_done);
    assert_int_equal(toy.n_undone, 2);
    assert_int_equal(toy.pos[3], 0);
    /* Events wait until a further segment could be made. */
    rig.now = mr_mono_add_ms(rig.now, 1000);
    assert_int_equal(rig_append(&rig, 1, 3000, 4, NULL), JOURNAL_RESULT_FULL);
    assert_int_equal(journal_state(rig.journal), JOURNAL_STATE_FULL);
    rig.now = mr_mono_add_ms(rig.now, 20);
    (void)rig_step(&rig);
    assert_true(outcome.is_done);
    assert_int_equal(outcome.unit.result, JOURNAL_RESULT_OK);
    while (journal_spare_step(rig.journal)) {
    }
    assert_int_equal(journal_state(rig.journal), JOURNAL_STATE_OK);
    assert_int_equal(rig_append(&rig, 1, 3000, 5, NULL), JOURNAL_RESULT_OK);
    assert_int_equal(rig_tags(&rig, tags, 8), 3);
    assert_int_equal(tags[0], 1);
    assert_int_equal(tags[1], 2);
    assert_int_equal(tags[2], 5);
    rig_unit_done(&outcome);
    disk_crash(rig.disk);
    rig_drop(&rig);
    rig_open(&rig);
    assert_int_equal(rig_tags(&rig, tags, 8), 3);
    assert_int_equal(rig.n_damage, 0);
    rig_done(&rig);
}

static void a_full_disk_stops_events_but_not_outcomes(void **state) {
    (void)state;
    struct rig rig;
    uint64_t n_events = 0;
    rig_init(&rig, 10);
    rig_open(&rig);
    disk_set_capacity(rig.disk, disk_used_bytes(rig.disk) + 2 * 65536 + 100);
    enum journal_result result = JOURNAL_RESULT_OK;
    while (result == JOURNAL_RESULT_OK) {
        result = rig_append(&rig, 1, 20000, 1, NULL);
        (void)journal_spare_step(rig.journal);
        n_events++;
        assert_true(n_events < 1000);
    }
    assert_int_equal(result, JOURNAL_RESULT_FULL);
    assert_int_equal(journal_state(rig.journal), JOURNAL_STATE_FULL);
    unsigned n_outcomes = 0;
    struct rig_unit outcome = {0};
    for (;;) {
        rig_post(&rig, &outcome, JOURNAL_OUTCOME, 1, 20000, 2);
        (void)rig_step(&rig);
        rig.now = mr_mono_add_ms(rig.now, 20);
        (void)rig_step(&rig);
        if (!outcome.is_done) {
            break;
        }
        assert_int_equal(outcome.unit.result, JOURNAL_RESULT_OK);
        rig_unit_done(&outcome);
        n_outcomes++;
        assert_true(n_outcomes < 1000);
    }
    assert_true(n_outcomes >= 3); /* a spare and more */
    /* Space comes back: the outcome that waited is stored, then events are taken again. */
    disk_set_capacity(rig.disk, UINT64_MAX);
    while (journal_spare_step(rig.journal)) {
    }
    rig.now = mr_mono_add_ms(rig.now, 1000);
    (void)rig_step(&rig);
    rig.now = mr_mono_add_ms(rig.now, 20);
    (void)rig_step(&rig);
    assert_true(outcome.is_done);
    assert_int_equal(outcome.unit.result, JOURNAL_RESULT_OK);
    rig_unit_done(&outcome);
    assert_int_equal(rig_append(&rig, 1, 20000, 1, NULL), JOURNAL_RESULT_OK);
    assert_int_equal(journal_state(rig.journal), JOURNAL_STATE_OK);
    rig_done(&rig);
}

static void a_failed_spare_is_counted_and_tried_again(void **state) {
    (void)state;
    struct rig rig;
    struct journal_status status;
    rig_init(&rig, 11);
    assert_true(mr_is_ok(rig_try_open(&rig)));
    disk_fault_at(rig.disk, DISK_FAULT_SYNC_IO, 1);
    assert_false(journal_spare_step(rig.journal));
    journal_status(rig.journal, &status);
    assert_int_equal(status.spare_failures, 1);
    assert_int_equal(status.state, JOURNAL_STATE_OK);
    while (journal_spare_step(rig.journal)) {
    }
    journal_status(rig.journal, &status);
    assert_int_equal(status.spares, JOURNAL_SPARES + 1);
    rig_done(&rig);
}

static void a_taken_segment_name_fences(void **state) {
    (void)state;
    struct rig rig;
    struct toy toy;
    rig_init(&rig, 12);
    use_toy(&rig, &toy);
    rig_open(&rig);
    const struct os_files *files = disk_files(rig.disk);
    os_file file;
    assert_true(mr_is_ok(
        files->open(files->ctx, "/j/000000000004.seg", OS_OPEN_WRITE | OS_OPEN_CREATE, &file)));
    enum journal_result result = JOURNAL_RESULT_OK;
    for (int i = 0; i < 20 && result == JOURNAL_RESULT_OK; i++) {
        result = rig_append(&rig, 1, 20000, (uint8_t)(i + 1), NULL);
        (void)journal_spare_step(rig.journal);
    }
    assert_int_equal(result, JOURNAL_RESULT_FENCED);
    assert_int_equal(journal_state(rig.journal), JOURNAL_STATE_FENCED);
    assert_int_equal(toy.n_failed, 1);
    rig_done(&rig);
}

/* --- slabs ------------------------------------------------------------------------------------ */

struct seen {
    struct slab *slab[8];
    unsigned n;
};
static void keep_slab(struct mail *mail) {
    struct slab_mail *own = MR_CONTAINER(mail, struct slab_mail, mail);
    struct seen *seen = own->ctx;
    seen->slab[seen->n++] = own->slab;
}

static void subscribers_get_the_slabs_of_their_bit(void **state) {
    (void)state;
    struct rig rig;
    struct seen seen[2] = {0};
    struct rig_unit a = {.unit = {.reader_mask = 1U << 3}};
    struct rig_unit b = {.unit = {.reader_mask = 1U << 5 | 1U << 3}};
    struct rig_unit c = {0};
    rig_init(&rig, 13);
    rig_open(&rig);
    writer_subscribe(rig.writer, 3, &rig.replies, keep_slab, &seen[0]);
    writer_subscribe(rig.writer, 5, &rig.replies, keep_slab, &seen[1]);
    rig_post(&rig, &a, JOURNAL_INGEST, 2, 50, 1);
    (void)rig_step(&rig);
    rig_post(&rig, &b, JOURNAL_OUTCOME, 1, 60, 2);
    (void)rig_step(&rig);
    assert_int_equal(seen[1].n, 0); /* not durable yet */
    rig_post(&rig, &c, JOURNAL_INGEST, 1, 60, 3);
    (void)rig_step(&rig);
    assert_int_equal(seen[0].n, 2);
    assert_int_equal(seen[1].n, 1);
    const struct slab *slab = seen[0].slab[0];
    assert_int_equal(slab->n_records, 2);
    assert_true(slab->records[1].is_last_of_unit);
    const struct slab_entry *entry = slab_record_at(slab, a.slots[1].pos);
    assert_non_null(entry);
    assert_int_equal(entry->type, 2);
    assert_int_equal(entry->klass, JOURNAL_INGEST);
    mr_str body = slab_body(slab, entry);
    assert_int_equal(body.len, 50);
    assert_memory_equal(body.ptr, a.slots[1].body, 50);
    assert_null(slab_record_at(slab, a.slots[1].pos + 8));
    assert_null(slab_record_at(slab, 0));
    slab_unref(seen[0].slab[0]);
    slab_unref(seen[0].slab[1]);
    slab_unref(seen[1].slab[0]);
    rig_unit_done(&a);
    rig_unit_done(&b);
    rig_unit_done(&c);
    rig_done(&rig);
}

static void slabs_that_are_not_given_back_stop_the_writer(void **state) {
    (void)state;
    struct rig rig;
    struct seen seen = {0};
    struct rig_unit units[4] = {0};
    rig_init(&rig, 14);
    rig.writer_options.slab_bytes_max = 60000;
    rig.writer_options.group_bytes_max = 25000;
    rig_open(&rig);
    writer_subscribe(rig.writer, 0, &rig.replies, keep_slab, &seen);
    for (int i = 0; i < 4; i++) {
        units[i].unit.reader_mask = 1;
        rig_post(&rig, &units[i], JOURNAL_INGEST, 1, 20000, 1);
    }
    mr_mono next = rig_step(&rig);
    assert_int_equal(mr_mono_diff_ms(next, rig.now), 1);
    assert_true(units[1].is_done);
    assert_false(units[2].is_done);
    slab_unref(seen.slab[0]);
    slab_unref(seen.slab[1]);
    rig.now = next;
    (void)rig_step(&rig);
    assert_true(units[3].is_done);
    slab_unref(seen.slab[2]);
    slab_unref(seen.slab[3]);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(units[i].unit.result, JOURNAL_RESULT_OK);
        rig_unit_done(&units[i]);
    }
    rig_done(&rig);
}

static void without_memory_events_are_refused_and_outcomes_wait(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 15);
    rig_open(&rig);
    struct rig_unit event = {0};
    struct rig_unit outcome = {0};
    rig_post(&rig, &event, JOURNAL_INGEST, 1, 100, 1);
    rig_post(&rig, &outcome, JOURNAL_OUTCOME, 1, 100, 1);
    mr_alloc_fail_at(1);
    (void)rig_step(&rig);
    mr_alloc_fail_at(0);
    assert_int_equal(event.unit.result, JOURNAL_RESULT_FULL);
    assert_false(outcome.is_done);
    rig.now = mr_mono_add_ms(rig.now, 1000);
    (void)rig_step(&rig);
    rig.now = mr_mono_add_ms(rig.now, 20);
    (void)rig_step(&rig);
    assert_int_equal(outcome.unit.result, JOURNAL_RESULT_OK);
    rig_unit_done(&event);
    rig_unit_done(&outcome);
    rig_done(&rig);
}

/* The writer waits a second after want of space; a stop does not. */
static void a_stop_tries_once_more_to_store_outcomes(void **state) {
    (void)state;
    struct rig rig;
    struct rig_unit outcome = {0};
    uint8_t tags[4];
    rig_init(&rig, 16);
    rig_open(&rig);
    rig_post(&rig, &outcome, JOURNAL_OUTCOME, 1, 100, 7);
    disk_fault_at(rig.disk, DISK_FAULT_SHORT_WRITE, 1);
    (void)rig_step(&rig);
    assert_false(outcome.is_done);
    disk_fault_at(rig.disk, DISK_FAULT_NO_SPACE, 1);
    rig_stop(&rig);
    assert_true(outcome.is_done);
    assert_int_equal(outcome.unit.result, JOURNAL_RESULT_OK);
    rig_unit_done(&outcome);
    rig_open(&rig);
    assert_int_equal(rig_tags(&rig, tags, 4), 1);
    assert_int_equal(tags[0], 7);
    rig_done(&rig);
}

/* Where the disk stays full the stop ends all the same. */
static void a_stop_on_a_full_disk_gives_outcomes_back(void **state) {
    (void)state;
    struct rig rig;
    struct rig_unit outcome = {0};
    rig_init(&rig, 17);
    rig_open(&rig);
    rig_post(&rig, &outcome, JOURNAL_OUTCOME, 1, 100, 7);
    disk_fault_chance(rig.disk, DISK_FAULT_NO_SPACE, 1);
    (void)rig_step(&rig);
    assert_false(outcome.is_done);
    rig_stop(&rig);
    assert_true(outcome.is_done);
    assert_int_equal(outcome.unit.result, JOURNAL_RESULT_FULL);
    rig_unit_done(&outcome);
    rig_done(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answered_unit_is_read_back),
        cmocka_unit_test(many_segments_are_walked_in_order),
        cmocka_unit_test(closed_segments_are_forgotten_once_each),
        cmocka_unit_test(outcomes_wait_for_the_next_sync_or_20_ms),
        cmocka_unit_test(an_idle_journal_witnesses_its_end_within_a_second),
        cmocka_unit_test(a_unit_out_of_bounds_is_answered_limit),
        cmocka_unit_test(duplicates_are_answered_with_their_original),
        cmocka_unit_test(a_failed_sync_is_sticky),
        cmocka_unit_test(a_failed_write_is_sticky),
        cmocka_unit_test(a_short_write_seals_and_heals),
        cmocka_unit_test(a_full_disk_stops_events_but_not_outcomes),
        cmocka_unit_test(a_failed_spare_is_counted_and_tried_again),
        cmocka_unit_test(a_taken_segment_name_fences),
        cmocka_unit_test(subscribers_get_the_slabs_of_their_bit),
        cmocka_unit_test(slabs_that_are_not_given_back_stop_the_writer),
        cmocka_unit_test(without_memory_events_are_refused_and_outcomes_wait),
        cmocka_unit_test(a_stop_tries_once_more_to_store_outcomes),
        cmocka_unit_test(a_stop_on_a_full_disk_gives_outcomes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
