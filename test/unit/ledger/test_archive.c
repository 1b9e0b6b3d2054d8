/* The archive and the spill: what is put comes back, also after crashes; what is damaged is told.
 */
#include "ledger/archive.h"

#include "../../sim/disk.h"
#include "base/mem.h"
#include "ledger/record.h"
#include "ledger/spill.h"
#include "support_records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

static const uint8_t store_id[16] = {7};

struct rig {
    struct disk *disk;
    struct archive *archive;
    struct archive_options options;
};

static void rig_open(struct rig *rig) {
    mr_err err = archive_open(&rig->options, &rig->archive);
    assert_int_equal(err.code, 0);
}

static void rig_init(struct rig *rig) {
    *rig = (struct rig){.disk = disk_new(1)};
    rig->options = (struct archive_options){
        .files = disk_files(rig->disk), .dir = "/a", .store_id = store_id, .file_bytes = 4000};
    rig_open(rig);
}

static void rig_restart(struct rig *rig) {
    archive_close(rig->archive);
    disk_restart(rig->disk);
    rig_open(rig);
}

static void rig_done(struct rig *rig) {
    archive_close(rig->archive);
    disk_free(rig->disk);
}

static size_t body_of(uint64_t pos, char *out) {
    size_t n = 1 + pos * 7 % 300;
    for (size_t i = 0; i < n; i++) {
        out[i] = (char)(pos + i * 3);
    }
    return n;
}

static mr_err put(struct rig *rig, uint64_t pos) {
    char bytes[300];
    size_t n = body_of(pos, bytes);
    return archive_put(rig->archive, pos, (mr_str){bytes, n});
}

static mr_err check(struct rig *rig, uint64_t pos) {
    char bytes[300];
    size_t n = body_of(pos, bytes);
    mr_buf out;
    mr_buf_init(&out, 10000);
    mr_err err = archive_read(rig->archive, pos, &out);
    if (mr_is_ok(err)) {
        assert_true(mr_str_eq(mr_buf_view(&out), (mr_str){bytes, n}));
    }
    mr_buf_done(&out);
    return err;
}

static void what_is_put_comes_back_after_restart(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig);
    for (uint64_t pos = 8; pos < 2000; pos += 8) {
        assert_true(mr_is_ok(put(&rig, pos)));
        assert_true(mr_is_ok(put(&rig, pos)));
    }
    assert_true(mr_is_ok(archive_sync(rig.archive)));
    assert_int_equal(archive_stats(rig.archive).entries, 249);
    for (int i = 0; i < 2; i++) {
        for (uint64_t pos = 8; pos < 2000; pos += 8) {
            assert_true(mr_is_ok(check(&rig, pos)));
        }
        assert_true(mr_err_is(check(&rig, 9), MR_E_NOT_FOUND));
        assert_true(mr_err_is(check(&rig, 2000), MR_E_NOT_FOUND));
        disk_crash(rig.disk);
        rig_restart(&rig);
    }
    assert_true(mr_is_ok(put(&rig, 4)));
    assert_true(mr_is_ok(check(&rig, 4)));
    archive_close(rig.archive);
    rig.options.store_id = (const uint8_t[16]){1};
    struct archive *other;
    assert_true(mr_err_is(archive_open(&rig.options, &other), LEDGER_E_FOREIGN));
    disk_free(rig.disk);
}

static void a_crash_loses_only_what_was_not_synced(void **state) {
    (void)state;
    uint64_t seed = test_seed(5);
    for (uint64_t round = 0; round < 40; round++) {
        struct rig rig;
        struct chance chance = {seed + round};
        uint64_t synced = 0;
        rig_init(&rig);
        for (uint64_t pos = 8; pos < 1000; pos += 8) {
            if (mr_is_err(put(&rig, pos))) {
                break;
            }
            if (chance_below(&chance, 7) == 0 && mr_is_ok(archive_sync(rig.archive))) {
                synced = pos;
            }
            if (chance_below(&chance, 100) == 0) {
                break;
            }
        }
        disk_crash(rig.disk);
        rig_restart(&rig);
        for (uint64_t pos = 8; pos <= synced; pos += 8) {
            assert_true(mr_is_ok(check(&rig, pos)));
        }
        for (uint64_t pos = synced + 8; pos < 1000; pos += 8) {
            mr_err err = check(&rig, pos); /* there, or not, or torn: never wrong */
            assert_true(mr_is_ok(err) || mr_err_is(err, MR_E_NOT_FOUND) ||
                        mr_err_is(err, LEDGER_E_CORRUPT));
        }
        rig_done(&rig);
    }
}

static void sweeping_keeps_what_is_needed_and_frees_the_rest(void **state) {
    (void)state;
    struct rig rig;
    uint64_t live[400];
    size_t n = 0;
    rig_init(&rig);
    for (uint64_t pos = 8; pos <= 3200; pos += 8) {
        assert_true(mr_is_ok(put(&rig, pos)));
        if (pos % 72 == 0) {
            live[n++] = pos;
        }
    }
    assert_true(mr_is_ok(archive_sync(rig.archive)));
    struct archive_stats before = archive_stats(rig.archive);
    assert_true(mr_is_ok(archive_sweep(rig.archive, live, n)));
    for (int i = 0; i < 2; i++) {
        struct archive_stats after = archive_stats(rig.archive);
        assert_int_equal(after.entries, n);
        assert_true(after.file_bytes * 3 < before.file_bytes);
        for (size_t k = 0; k < n; k++) {
            assert_true(mr_is_ok(check(&rig, live[k])));
        }
        assert_true(mr_err_is(check(&rig, 8), MR_E_NOT_FOUND));
        disk_crash(rig.disk);
        rig_restart(&rig);
        /* Entries swept out of a file that stays are known again; the next sweep knows better. */
        assert_true(mr_is_ok(archive_sweep(rig.archive, live, n)));
    }
    assert_true(mr_is_ok(archive_sweep(rig.archive, NULL, 0)));
    assert_true(mr_is_ok(archive_sweep(rig.archive, NULL, 0)));
    assert_int_equal(archive_stats(rig.archive).entries, 0);
    rig_done(&rig);
}

static void a_failed_write_or_sync_gives_the_file_up(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        static const enum disk_fault faults[] = {DISK_FAULT_SYNC_IO, DISK_FAULT_WRITE_IO,
                                                 DISK_FAULT_NO_SPACE};
        struct rig rig;
        rig_init(&rig);
        assert_true(mr_is_ok(put(&rig, 8)));
        assert_true(mr_is_ok(archive_sync(rig.archive)));
        assert_true(mr_is_ok(put(&rig, 16)));
        disk_fault_chance(rig.disk, faults[kind], 1);
        assert_true(mr_is_err(kind == 0 ? archive_sync(rig.archive) : put(&rig, 24)));
        disk_fault_chance(rig.disk, faults[kind], 0);
        assert_true(mr_is_ok(check(&rig, 8)));
        assert_true(mr_err_is(check(&rig, 16), MR_E_NOT_FOUND));
        assert_true(mr_is_ok(put(&rig, 16)));
        assert_true(mr_is_ok(archive_sync(rig.archive)));
        assert_true(mr_is_ok(check(&rig, 16)));
        disk_crash(rig.disk);
        rig_restart(&rig);
        assert_true(mr_is_ok(check(&rig, 16)));
        rig_done(&rig);
    }
}

static void note_damage(void *ctx, uint64_t pos, const char *file, uint64_t offset) {
    uint64_t *n = ctx;
    (void)pos;
    assert_true(offset > 0 && strlen(file) == 20);
    (*n)++;
}

static void damage_costs_one_event_and_is_told(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig);
    for (uint64_t pos = 8; pos < 160; pos += 8) {
        assert_true(mr_is_ok(put(&rig, pos)));
    }
    assert_true(mr_is_ok(archive_sync(rig.archive)));
    const struct os_files *files = rig.options.files;
    for (uint64_t at = 32; at < 2000; at += 61) {
        os_file file;
        uint8_t byte;
        size_t got;
        assert_true(
            mr_is_ok(files->open(files->ctx, "/a/arc-0000000000000001", OS_OPEN_WRITE, &file)));
        assert_true(mr_is_ok(files->read(files->ctx, file, &byte, 1, at, OS_READ_WAIT, &got)));
        for (int i = 0; i < 2; i++) {
            byte ^= 0x40;
            struct iovec iov = {.iov_base = &byte, .iov_len = 1};
            assert_true(mr_is_ok(files->write(files->ctx, file, &iov, 1, at)));
            rig_restart(&rig);
            uint64_t n_damaged = 0;
            uint64_t n_bad = 0;
            uint64_t entries;
            assert_true(mr_is_ok(archive_verify(rig.archive, note_damage, &n_damaged, &entries)));
            for (uint64_t pos = 8; pos < 160; pos += 8) {
                n_bad += mr_is_err(check(&rig, pos));
            }
            assert_true(n_bad <= (i == 0 ? 1U : 0U));
            /* A damaged head takes its entry out of the index, a damaged body leaves it there. */
            assert_true(n_damaged == n_bad && (entries == 19 || (i == 0 && entries == 18)));
            assert_true(
                mr_is_ok(files->open(files->ctx, "/a/arc-0000000000000001", OS_OPEN_WRITE, &file)));
        }
        files->close(files->ctx, file);
    }
    rig_done(&rig);
}

static void spill_gives_back_what_was_put(void **state) {
    (void)state;
    struct disk *disk = disk_new(2);
    struct spill *spill;
    uint64_t refs[200];
    uint8_t out[SPILL_CHUNK_MAX];
    uint8_t in[SPILL_CHUNK_MAX];
    struct chance chance = {test_seed(4)};
    assert_true(mr_is_ok(spill_open(disk_files(disk), "/s", "spill-0", 100 * 4200, &spill)));
    size_t n = 0;
    mr_err err = MR_OK;
    while (mr_is_ok(err)) {
        memset(in, (int)n, sizeof in);
        err = spill_put(spill, in, 1 + n * 13, &refs[n]);
        n += mr_is_ok(err);
    }
    assert_true(mr_err_is(err, MR_E_LIMIT));
    assert_true(n >= 100);
    for (int i = 0; i < 1000; i++) {
        size_t k = chance_below(&chance, (uint32_t)n);
        memset(in, (int)k, sizeof in);
        assert_true(mr_is_ok(spill_get(spill, refs[k], out, 1 + k * 13, OS_READ_WAIT)));
        assert_memory_equal(in, out, 1 + k * 13);
        spill_drop(spill, refs[k]);
        assert_int_equal(spill_stats(spill).chunks, n - 1);
        assert_true(mr_is_ok(spill_put(spill, in, 1 + k * 13, &refs[k])));
    }
    uint64_t ref = refs[0];
    disk_fault_chance(disk, DISK_FAULT_NO_SPACE, 1);
    spill_drop(spill, ref);
    assert_true(mr_is_err(spill_put(spill, in, 100, &refs[0])));
    disk_fault_chance(disk, DISK_FAULT_NO_SPACE, 0);
    disk_fault_chance(disk, DISK_FAULT_READ_AGAIN, 1);
    assert_true(mr_err_is(spill_get(spill, refs[1], out, 14, OS_READ_NOWAIT), MR_E_AGAIN));
    spill_close(spill);
    assert_true(mr_str_is_absent(disk_peek(disk, "/s/spill-0")));
    disk_free(disk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_comes_back_after_restart),
        cmocka_unit_test(a_crash_loses_only_what_was_not_synced),
        cmocka_unit_test(sweeping_keeps_what_is_needed_and_frees_the_rest),
        cmocka_unit_test(a_failed_write_or_sync_gives_the_file_up),
        cmocka_unit_test(damage_costs_one_event_and_is_told),
        cmocka_unit_test(spill_gives_back_what_was_put),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
