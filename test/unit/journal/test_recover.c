/* Recovery: damage and torn tails told apart, every byte flipped, crashes anywhere. */
#include "support_rig.h"

#include "base/mem.h"
#include "journal/segments.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define SMALL 32768U
#define BLOCK 4096U

/* The disk of `rig` as it is now, for another rig. */
static void rig_copy(struct rig *copy, const struct rig *rig) {
    rig_init(copy, 99);
    disk_free(copy->disk);
    copy->disk = disk_clone(rig->disk);
    copy->files = *disk_files(copy->disk);
    copy->options.segment_bytes = rig->options.segment_bytes;
    disk_restart(copy->disk);
}

struct list {
    struct journal_record at[64];
    size_t n;
};
static void list_records(struct rig *rig, struct list *list) {
    struct journal_iter iter;
    struct journal_item item;
    list->n = 0;
    journal_iter_init(&iter, rig->journal, JOURNAL_POS_NONE);
    for (;;) {
        assert_true(mr_is_ok(journal_iter_next(&iter, journal_durable(rig->journal), &item)));
        if (item.kind == JOURNAL_ITEM_END) {
            break;
        }
        if (item.kind == JOURNAL_ITEM_RECORD) {
            list->at[list->n++] = item.record;
        }
    }
    journal_iter_done(&iter);
}

/* Two runs with a few units each, stopped cleanly; opened read-only for the list. */
static void make_small(struct rig *rig, struct list *list) {
    rig_init(rig, 21);
    rig->options.segment_bytes = SMALL;
    for (uint8_t run = 0; run < 2; run++) {
        rig_open(rig);
        for (uint8_t i = 0; i < 4; i++) {
            assert_int_equal(rig_append(rig, i % 2 + 1U, 30U + i, (uint8_t)(run * 10 + i), NULL),
                             JOURNAL_RESULT_OK);
        }
        rig_stop(rig);
    }
    rig->options.read_only = true;
    assert_true(mr_is_ok(rig_try_open(rig)));
    list_records(rig, list);
    assert_int_equal(list->n, 12);
    assert_int_equal(rig->n_damage, 0);
    journal_close(rig->journal);
    rig->journal = NULL;
    rig->options.read_only = false;
}

static bool is_header_byte(uint64_t offset) {
    return offset < 128 || (offset >= 2048 && offset < 2048 + 128);
}

/* Flips one byte of the i-th segment and checks what is found. witness: the start of what lies at
 * or beyond D. */
static void flip_one(const struct rig *rig, const struct list *want, size_t i, uint64_t offset,
                     uint64_t first_pos, uint64_t witness) {
    struct rig copy;
    struct list got;
    rig_copy(&copy, rig);
    const char *path = rig_segment_path(&copy, i);
    uint8_t byte = (uint8_t)disk_peek(copy.disk, path).ptr[offset] ^ 0x10U;
    assert_true(disk_poke(copy.disk, path, offset, &byte, 1));
    rig_open(&copy);
    uint64_t pos = first_pos + offset - BLOCK;
    if (offset < BLOCK) {
        assert_int_equal(copy.n_damage, is_header_byte(offset) ? 1 : 0);
    } else if (pos >= witness) {
        assert_int_equal(copy.n_damage, 0);
    } else {
        assert_int_equal(copy.n_damage, 1);
        assert_true(copy.damage[0].pos <= pos && pos < copy.damage[0].end_pos);
        assert_int_equal(copy.damage[0].offset, BLOCK + copy.damage[0].pos - first_pos);
        assert_non_null(strstr(path, copy.damage[0].segment));
    }
    list_records(&copy, &got);
    size_t k = 0;
    for (size_t w = 0; w < want->n; w++) {
        bool hit = offset >= BLOCK && want->at[w].pos <= pos && pos < want->at[w].next_pos;
        if (!hit) {
            assert_true(k < got.n);
            assert_true(got.at[k].pos == want->at[w].pos);
            k++;
        }
    }
    assert_int_equal(k, got.n);
    rig_done(&copy);
}

static void every_flipped_byte_is_found_and_isolated(void **state) {
    (void)state;
    struct rig rig;
    struct list want;
    make_small(&rig, &want);
    uint64_t middle = want.at[5].next_pos + 64; /* behind the witness of the first run */
    uint64_t last_end = want.at[11].next_pos;
    for (uint64_t offset = 0; offset < BLOCK; offset += offset < 160 || offset == 2040 ? 1 : 40) {
        flip_one(&rig, &want, 0, offset, 4096, last_end);
    }
    for (uint64_t pos = 4096; pos < middle; pos++) {
        flip_one(&rig, &want, 0, BLOCK + pos - 4096, 4096, last_end);
    }
    for (uint64_t pos = middle; pos < last_end + 64; pos++) {
        flip_one(&rig, &want, 1, BLOCK + pos - middle, middle, last_end);
    }
    rig_done(&rig);
}

static void a_lost_header_loses_one_segment_and_no_position_is_used_twice(void **state) {
    (void)state;
    for (size_t which = 0; which < 2; which++) {
        struct rig rig;
        struct list want;
        struct list got;
        uint64_t pos;
        make_small(&rig, &want);
        uint8_t zeros[BLOCK] = {0};
        assert_true(disk_poke(rig.disk, rig_segment_path(&rig, which), 0, zeros, sizeof zeros));
        rig_open(&rig);
        assert_true(rig.n_damage > 0 || which == 0);
        list_records(&rig, &got);
        assert_int_equal(got.n, 6);
        assert_true(got.at[0].pos == want.at[which == 0 ? 6 : 0].pos);
        assert_int_equal(rig_append(&rig, 1, 10, 1, &pos), JOURNAL_RESULT_OK);
        assert_true(pos > want.at[11].next_pos);
        rig_done(&rig);
    }
}

static void a_newer_format_is_left_untouched(void **state) {
    (void)state;
    struct rig rig;
    struct list want;
    make_small(&rig, &want);
    /* A header of version 2, its CRC right. */
    uint8_t header[128];
    const char *path = rig_segment_path(&rig, 1);
    memcpy(header, disk_peek(rig.disk, path).ptr, sizeof header);
    header[8] = 2;
    /* CRC32C bit by bit, over bytes 0–123. */
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < 124; i++) {
        crc ^= header[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82f63b78U : crc >> 1;
        }
    }
    crc = ~crc;
    memcpy(header + 124, &crc, 4);
    assert_true(disk_poke(rig.disk, path, 0, header, sizeof header));
    assert_int_equal(rig_try_open(&rig).code, JOURNAL_E_NEWER);
    rig_done(&rig);
}

static void a_segment_of_another_store_is_refused(void **state) {
    (void)state;
    struct rig rig;
    struct rig other;
    struct list want;
    make_small(&rig, &want);
    rig_init(&other, 500);
    other.options.segment_bytes = SMALL;
    rig_open(&other);
    assert_int_equal(rig_append(&other, 1, 10, 1, NULL), JOURNAL_RESULT_OK);
    mr_str foreign = disk_peek(other.disk, rig_segment_path(&other, 0));
    assert_true(disk_poke(rig.disk, rig_segment_path(&rig, 1), 0, foreign.ptr, BLOCK));
    assert_int_equal(rig_try_open(&rig).code, JOURNAL_E_FOREIGN);
    rig_done(&other);
    rig_done(&rig);
}

static void a_locked_store_is_busy(void **state) {
    (void)state;
    struct rig rig;
    struct journal *second;
    rig_init(&rig, 22);
    rig_open(&rig);
    assert_int_equal(journal_open(&rig.files, &rig.options, &second, NULL).code, MR_E_BUSY);
    rig_done(&rig);
}

static mr_err no_truncate(void *ctx, os_file file, uint64_t size) {
    (void)ctx;
    (void)file;
    (void)size;
    return MR_OK;
}

/* One durable unit (1), one outcome unit of three records (2) that is written and not synced. */
static void make_tail(struct rig *rig, struct rig_unit *outcome, bool truncates) {
    *outcome = (struct rig_unit){.is_done = false};
    rig_init(rig, 23);
    rig->options.segment_bytes = SMALL;
    if (!truncates) {
        rig->files.truncate = no_truncate;
    }
    rig_open(rig);
    assert_int_equal(rig_append(rig, 1, 700, 1, NULL), JOURNAL_RESULT_OK);
    rig_post(rig, outcome, JOURNAL_OUTCOME, 3, 700, 2);
    (void)rig_step(rig);
    assert_false(outcome->is_done);
}

static void check_tail(struct rig *copy, bool whole) {
    uint8_t tags[8];
    for (int round = 0; round < 3; round++) {
        /* Also after further runs the voided tail is nothing: neither data nor damage. */
        rig_open(copy);
        assert_int_equal(copy->n_damage, 0);
        size_t kept = whole ? 4U : 1U;
        assert_int_equal(rig_tags(copy, tags, 8), kept + (size_t)round);
        assert_int_equal(copy->n_damage, 0);
        assert_int_equal(tags[kept - 1], whole ? 2 : 1);
        assert_int_equal(rig_append(copy, 1, 50, 3, NULL), JOURNAL_RESULT_OK);
        rig_stop(copy);
    }
}

static void a_torn_tail_is_cut_wherever_it_is_torn(void **state) {
    (void)state;
    struct rig rig;
    struct rig_unit outcome;
    static const uint8_t zeros[SMALL] = {0};
    for (int truncates = 0; truncates < 2; truncates++) {
        make_tail(&rig, &outcome, truncates == 1);
        uint64_t from = BLOCK + 64 + 720; /* header, frame and body of 700, on the grid */
        uint64_t to = from + 64 + UINT64_C(3) * 720;
        for (uint64_t cut = from; cut <= to + 8; cut += 8) {
            struct rig copy;
            rig_copy(&copy, &rig);
            copy.files.truncate = truncates == 1 ? copy.files.truncate : no_truncate;
            assert_true(disk_poke(copy.disk, rig_segment_path(&copy, 0), cut, zeros, SMALL - cut));
            check_tail(&copy, cut >= to);
            rig_done(&copy);
        }
        for (uint64_t sector = from / 512; sector <= to / 512; sector++) {
            struct rig copy;
            rig_copy(&copy, &rig);
            copy.files.truncate = truncates == 1 ? copy.files.truncate : no_truncate;
            uint64_t at = sector * 512 > from ? sector * 512 : from;
            uint64_t n = (sector + 1) * 512 - at;
            assert_true(disk_poke(copy.disk, rig_segment_path(&copy, 0), at, zeros, n));
            check_tail(&copy, at >= to);
            rig_done(&copy);
        }
        rig_done(&rig);
        rig_unit_done(&outcome);
    }
}

static void a_tail_in_the_page_cache_is_synced_before_it_is_served(void **state) {
    (void)state;
    struct rig rig;
    struct rig_unit outcome;
    uint8_t tags[8];
    make_tail(&rig, &outcome, true);
    disk_crash_odds(rig.disk, 0, 1000); /* what is not synced is gone */
    rig_drop(&rig);                     /* kill -9 */
    assert_true(mr_is_ok(rig_try_open(&rig)));
    assert_true(rig.recovery.tail_bytes > 2000);
    disk_crash(rig.disk);
    rig_drop(&rig);
    rig_open(&rig);
    assert_int_equal(rig_tags(&rig, tags, 8), 4);
    rig_done(&rig);
    rig_unit_done(&outcome);
}

static void a_tail_after_a_failed_sync_is_written_again(void **state) {
    (void)state;
    struct rig rig;
    struct rig_unit outcome;
    uint8_t tags[8];
    make_tail(&rig, &outcome, true);
    disk_crash_odds(rig.disk, 0, 1000);
    disk_fault_at(rig.disk, DISK_FAULT_SYNC_IO, 1);
    rig.now = mr_mono_add_ms(rig.now, 20);
    (void)rig_step(&rig);
    assert_int_equal(outcome.unit.result, JOURNAL_RESULT_FAILED);
    rig_drop(&rig); /* the pages read clean, and are not on the platter */
    assert_true(mr_is_ok(rig_try_open(&rig)));
    disk_crash(rig.disk);
    rig_drop(&rig);
    rig_open(&rig);
    assert_int_equal(rig_tags(&rig, tags, 8), 4);
    assert_int_equal(rig.n_damage, 0);
    rig_done(&rig);
    rig_unit_done(&outcome);
}

static void what_a_checkpoint_knew_durable_is_damage_when_it_is_gone(void **state) {
    (void)state;
    struct rig rig;
    struct rig_unit outcome;
    uint8_t tags[8];
    static const uint8_t zeros[512] = {0};
    make_tail(&rig, &outcome, true);
    rig.now = mr_mono_add_ms(rig.now, 20);
    (void)rig_step(&rig);
    uint64_t durable = journal_durable(rig.journal);
    rig_drop(&rig);
    /* The middle record of the unit is destroyed; without the hint that would be a torn tail. */
    assert_true(disk_poke(rig.disk, rig_segment_path(&rig, 0), BLOCK + 64 + 720 + 64 + 720 + 100,
                          zeros, 512));
    rig.options.durable_hint = durable;
    rig_open(&rig);
    assert_int_equal(rig.n_damage, 1);
    assert_int_equal(rig_tags(&rig, tags, 8), 3);
    assert_int_equal(tags[2], 2);
    uint64_t pos;
    assert_int_equal(rig_append(&rig, 1, 10, 1, &pos), JOURNAL_RESULT_OK);
    assert_true(pos > durable);
    rig_done(&rig);
    rig_unit_done(&outcome);
}

static void a_missing_segment_is_damage(void **state) {
    (void)state;
    struct rig rig;
    uint8_t tags[64];
    rig_init(&rig, 24);
    rig_open(&rig);
    for (uint8_t i = 0; i < 12; i++) {
        assert_int_equal(rig_append(&rig, 1, 20000, i, NULL), JOURNAL_RESULT_OK);
        (void)journal_spare_step(rig.journal);
    }
    rig_stop(&rig);
    assert_true(mr_is_ok(rig.files.unlink(rig.files.ctx, rig_segment_path(&rig, 1))));
    rig_open(&rig);
    assert_int_equal(rig.n_damage, 1);
    assert_int_equal(rig_tags(&rig, tags, 64), 9);
    assert_int_equal(tags[3], 6);
    rig_done(&rig);
}

static void a_ready_spare_survives_a_crash(void **state) {
    (void)state;
    struct rig rig;
    struct journal_status status;
    rig_init(&rig, 26);
    rig_open(&rig);
    disk_crash_odds(rig.disk, 0, 1000);
    disk_crash(rig.disk);
    rig_drop(&rig);
    assert_true(mr_is_ok(rig_try_open(&rig)));
    journal_status(rig.journal, &status);
    assert_int_equal(status.spares, 1); /* of two, one was opened */
    rig_done(&rig);
}

static void a_record_counts_at_its_own_place_only(void **state) {
    (void)state;
    struct rig rig;
    uint64_t first;
    uint64_t second;
    uint8_t tags[8];
    uint8_t frame[56];
    rig_init(&rig, 27);
    rig_open(&rig);
    assert_int_equal(rig_append(&rig, 1, 40, 1, &first), JOURNAL_RESULT_OK);
    assert_int_equal(rig_append(&rig, 1, 40, 2, &second), JOURNAL_RESULT_OK);
    assert_int_equal(rig_append(&rig, 1, 40, 3, NULL), JOURNAL_RESULT_OK);
    const char *path = rig_segment_path(&rig, 0);
    memcpy(frame, disk_peek(rig.disk, path).ptr + BLOCK + first - 4096, sizeof frame);
    assert_true(disk_poke(rig.disk, path, BLOCK + second - 4096, frame, sizeof frame));
    assert_int_equal(rig_tags(&rig, tags, 8), 2);
    assert_int_equal(tags[1], 3);
    assert_int_equal(rig.n_damage, 1);
    assert_true(rig.damage[0].pos == second);
    rig_done(&rig);
}

static void a_crash_after_trimming_leaves_no_gap(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 48; seed++) {
        struct rig rig;
        struct journal_segment_info info[8];
        rig_init(&rig, 100 + seed);
        rig_open(&rig);
        for (uint8_t i = 0; i < 14; i++) {
            assert_int_equal(rig_append(&rig, 1, 20000, i, NULL), JOURNAL_RESULT_OK);
            (void)journal_spare_step(rig.journal);
        }
        size_t n = journal_segments(rig.journal, info, 8);
        assert_true(n >= 4 && n <= 8);
        if (seed % 2 == 0) {
            disk_fault_at(rig.disk, DISK_FAULT_SYNC_IO, 1);
            assert_true(mr_is_err(journal_trim(rig.journal, info[n - 1].first_pos)));
        }
        disk_fault_at(rig.disk, DISK_FAULT_CRASH, 1 + seed / 2 % 6);
        mr_ignore(journal_trim(rig.journal, info[n - 1].first_pos), "the crash strikes it");
        if (!disk_is_down(rig.disk)) {
            disk_crash(rig.disk);
        }
        rig_drop(&rig);
        rig_open(&rig);
        assert_int_equal(rig.n_damage, 0);
        rig_done(&rig);
    }
}

/* The header of a segment may be on the platter although its opening failed, and the removal of the
 * file may be undone by the power loss: that must not make void what was acknowledged since. */
static void a_segment_that_could_not_be_opened_takes_nothing_with_it(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 64; seed++) {
        struct rig rig;
        uint8_t tags[8];
        rig_init(&rig, 200 + seed);
        rig_open(&rig);
        assert_int_equal(rig_append(&rig, 1, 40000, 1, NULL), JOURNAL_RESULT_OK);
        disk_fault_at(rig.disk, DISK_FAULT_SHORT_WRITE, 1);
        assert_int_equal(rig_append(&rig, 1, 40000, 2, NULL), JOURNAL_RESULT_FULL);
        rig.now = mr_mono_add_ms(rig.now, 1000);
        assert_int_equal(rig_append(&rig, 1, 100, 3, NULL), JOURNAL_RESULT_OK);
        disk_crash_odds(rig.disk, 900, 50);
        disk_crash(rig.disk);
        rig_drop(&rig);
        rig_open(&rig);
        assert_int_equal(rig.n_damage, 0);
        assert_int_equal(rig_tags(&rig, tags, 8), 2);
        assert_int_equal(tags[1], 3);
        rig_done(&rig);
    }
}

/* The same over a restart: the opening failed for good, so that the process ended. Spares need not
 * be ready in the order of their numbers; here the one that is left has the lower number. */
static void an_opening_that_failed_before_a_restart_takes_nothing_with_it(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 64; seed++) {
        struct rig rig;
        uint8_t tags[8];
        rig_init(&rig, 300 + seed);
        rig_open(&rig);
        assert_int_equal(rig_append(&rig, 1, 40000, 1, NULL), JOURNAL_RESULT_OK);
        struct spare *spares = rig.journal->spares;
        struct spare first = spares[0];
        spares[0] = spares[1];
        spares[1] = first;
        disk_fault_at(rig.disk, DISK_FAULT_SYNC_IO, 1);
        assert_int_equal(rig_append(&rig, 1, 40000, 2, NULL), JOURNAL_RESULT_FAILED);
        rig_drop(&rig);
        /* Before maintenance makes a spare, which syncs the directory. */
        assert_true(mr_is_ok(rig_try_open(&rig)));
        rig.writer_options.journal = rig.journal;
        assert_true(mr_is_ok(writer_new(&rig.writer_options, &rig.writer)));
        assert_int_equal(rig_append(&rig, 1, 100, 3, NULL), JOURNAL_RESULT_OK);
        disk_crash(rig.disk);
        rig_drop(&rig);
        rig_open(&rig);
        assert_int_equal(rig.n_damage, 0);
        assert_int_equal(rig_tags(&rig, tags, 8), 2);
        assert_int_equal(tags[1], 3);
        rig_done(&rig);
    }
}

static void restarts_do_not_pile_up_files(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 25);
    for (int i = 0; i < 20; i++) {
        rig_open(&rig);
        rig_stop(&rig);
    }
    assert_true(disk_used_bytes(rig.disk) <= UINT64_C(4) * 65536);
    rig_open(&rig);
    assert_int_equal(journal_epoch(rig.journal), 21);
    rig_done(&rig);
}

static void opening_fails_cleanly_at_every_fault(void **state) {
    (void)state;
    for (int fault = DISK_FAULT_NONE + 1; fault < DISK_FAULT_COUNT; fault++) {
        for (uint64_t n = 1; n < 60; n++) {
            struct rig rig;
            struct list want;
            make_small(&rig, &want);
            disk_fault_at(rig.disk, (enum disk_fault)fault, n);
            mr_err err = rig_try_open(&rig);
            if (mr_is_err(err)) {
                rig.journal = NULL;
                disk_restart(rig.disk);
                rig_open(&rig);
            }
            struct list got;
            if (!disk_is_down(rig.disk)) {
                disk_fault_at(rig.disk, (enum disk_fault)fault, 0);
                list_records(&rig, &got);
                assert_int_equal(got.n, want.n);
                assert_int_equal(rig.n_damage, 0);
            }
            rig_done(&rig);
        }
    }
}

static void opening_survives_every_failed_allocation(void **state) {
    (void)state;
    struct rig rig;
    struct list want;
    make_small(&rig, &want);
    for (uint64_t n = 1; n < 12; n++) {
        struct rig copy;
        rig_copy(&copy, &rig);
        mr_alloc_fail_at(n);
        /* Allocations of the simulated disk assert; the journal's own come first in journal_open.
         */
        mr_err err = n <= 2 ? rig_try_open(&copy) : MR_OK;
        mr_alloc_fail_at(0);
        if (n <= 2) {
            assert_int_equal(err.code, MR_E_NOMEM);
            copy.journal = NULL;
        }
        rig_done(&copy);
    }
    rig_done(&rig);
}

/* --- crashes anywhere ------------------------------------------------------------------------- */

#define UNITS 400

struct told {
    enum journal_result result;
    bool answered;
};

/* Tag n occurs n % 3 + 1 times in a whole unit. */
static void check_oracle(struct rig *rig, const struct told *told, unsigned n_told) {
    static unsigned found[UNITS];
    struct journal_iter iter;
    struct journal_item item;
    memset(found, 0, sizeof found);
    journal_iter_init(&iter, rig->journal, JOURNAL_POS_NONE);
    for (;;) {
        assert_true(mr_is_ok(journal_iter_next(&iter, journal_durable(rig->journal), &item)));
        if (item.kind == JOURNAL_ITEM_END) {
            break;
        }
        assert_int_equal(item.kind, JOURNAL_ITEM_RECORD);
        uint16_t n;
        memcpy(&n, item.record.body.ptr, 2);
        assert_true(n < n_told);
        found[n]++;
    }
    journal_iter_done(&iter);
    for (unsigned n = 0; n < n_told; n++) {
        assert_true(found[n] == 0 || found[n] == n % 3 + 1);
        if (told[n].answered && told[n].result == JOURNAL_RESULT_OK) {
            assert_int_equal(found[n], n % 3 + 1);
        }
        if (told[n].answered && told[n].result == JOURNAL_RESULT_FULL) {
            assert_int_equal(found[n], 0);
        }
    }
}

static struct rig_unit units[UNITS];

static void fill(unsigned n) {
    for (uint32_t i = 0; i < units[n].unit.n_records; i++) {
        char *body;
        memcpy(&body, &units[n].slots[i].body, sizeof body);
        uint16_t number = (uint16_t)n;
        memcpy(body, &number, 2);
    }
}

static void note_answers(struct told *told, unsigned from, unsigned to) {
    for (unsigned n = from; n < to; n++) {
        if (units[n].is_done) {
            told[n] = (struct told){units[n].unit.result, true};
        }
    }
}

/* One life of the process: some work with faults, then a crash, a kill or a clean stop. */
static void live(struct rig *rig, struct told *told, unsigned *n_told, unsigned chance) {
    unsigned first = *n_told;
    for (unsigned turn = 0; turn < 25 && *n_told + 4 < UNITS && !disk_is_down(rig->disk); turn++) {
        for (unsigned k = 0; k < turn % 4; k++) {
            unsigned n = (*n_told)++;
            units[n] = (struct rig_unit){.is_done = false};
            enum journal_class klass = (n * 7 + chance) % 3 == 0 ? JOURNAL_OUTCOME : JOURNAL_INGEST;
            rig_post(rig, &units[n], klass, n % 3 + 1, 40 + (n * 131 + chance * 17) % 2900, 0);
            fill(n);
        }
        (void)rig_step(rig);
        (void)journal_spare_step(rig->journal);
        rig->now = mr_mono_add_ms(rig->now, (int64_t)(turn * 13 % 60) * (turn % 5 == 0 ? 30 : 1));
    }
    note_answers(told, first, *n_told);
    bool clean = chance % 4 == 0 && !disk_is_down(rig->disk);
    if (clean) {
        rig_stop(rig); /* may still be struck */
        note_answers(told, first, *n_told);
        if (disk_is_down(rig->disk)) {
            disk_restart(rig->disk);
        }
    } else {
        if (chance % 4 != 1 && !disk_is_down(rig->disk)) {
            disk_crash(rig->disk);
        }
        rig_drop(rig);
    }
    for (unsigned n = first; n < *n_told; n++) {
        rig_unit_done(&units[n]);
    }
}

static void run_seed(uint64_t seed, uint64_t *ret_trace) {
    struct rig rig;
    struct told told[UNITS] = {0};
    unsigned n_told = 0;
    rig_init(&rig, seed);
    rig.options.segment_bytes = SMALL;
    for (unsigned life = 0; life < 8; life++) {
        rig_open(&rig);
        assert_int_equal(rig.n_damage, 0);
        check_oracle(&rig, told, n_told);
        for (int f = DISK_FAULT_NO_SPACE; f <= DISK_FAULT_SYNC_IO; f++) {
            disk_fault_chance(rig.disk, (enum disk_fault)f, (seed + life) % 3 == 0 ? 40 : 0);
        }
        if ((seed + life) % 2 == 0) {
            enum disk_fault how = life % 3 == 0 ? DISK_FAULT_KILL : DISK_FAULT_CRASH;
            disk_fault_at(rig.disk, how, 5 + (seed * 31 + life * 17) % 150);
        }
        live(&rig, told, &n_told, (unsigned)(seed + life));
        for (int f = 0; f < DISK_FAULT_COUNT; f++) {
            disk_fault_chance(rig.disk, (enum disk_fault)f, 0);
            disk_fault_at(rig.disk, (enum disk_fault)f, 0);
        }
    }
    rig_open(&rig);
    assert_int_equal(rig.n_damage, 0);
    check_oracle(&rig, told, n_told);
    *ret_trace = disk_trace(rig.disk);
    rig_done(&rig);
}

static void nothing_acknowledged_is_lost_in_any_crash(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        uint64_t trace = 0;
        uint64_t again = 0;
        printf("seed %llu\r", (unsigned long long)seed);
        run_seed(seed, &trace);
        if (seed % 50 == 0) {
            run_seed(seed, &again);
            assert_true(trace == again);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_byte_is_found_and_isolated),
        cmocka_unit_test(a_lost_header_loses_one_segment_and_no_position_is_used_twice),
        cmocka_unit_test(a_newer_format_is_left_untouched),
        cmocka_unit_test(a_segment_of_another_store_is_refused),
        cmocka_unit_test(a_locked_store_is_busy),
        cmocka_unit_test(a_torn_tail_is_cut_wherever_it_is_torn),
        cmocka_unit_test(a_tail_in_the_page_cache_is_synced_before_it_is_served),
        cmocka_unit_test(a_tail_after_a_failed_sync_is_written_again),
        cmocka_unit_test(what_a_checkpoint_knew_durable_is_damage_when_it_is_gone),
        cmocka_unit_test(a_missing_segment_is_damage),
        cmocka_unit_test(a_ready_spare_survives_a_crash),
        cmocka_unit_test(a_record_counts_at_its_own_place_only),
        cmocka_unit_test(a_crash_after_trimming_leaves_no_gap),
        cmocka_unit_test(a_segment_that_could_not_be_opened_takes_nothing_with_it),
        cmocka_unit_test(an_opening_that_failed_before_a_restart_takes_nothing_with_it),
        cmocka_unit_test(restarts_do_not_pile_up_files),
        cmocka_unit_test(opening_fails_cleanly_at_every_fault),
        cmocka_unit_test(opening_survives_every_failed_allocation),
        cmocka_unit_test(nothing_acknowledged_is_lost_in_any_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
