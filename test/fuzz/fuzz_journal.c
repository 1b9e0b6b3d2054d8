/* Recovery from a damaged journal. The input is a list of changes (offset 2 bytes, value 1 byte)
 * that are made to a small journal of two runs, or, with 0xff in front, the whole data of its
 * newest segment. What must hold besides not crashing: opening succeeds or refuses; what is read
 * back is a record as it was written, in order; two openings in a row agree; new units are stored
 * behind. */
#include "../sim/disk.c"
#include "journal/reader.h"
#include "journal/writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEGMENT_BYTES 32768U
#define NEWEST        "/j/000000000002.seg"

struct bench {
    struct disk *disk;
    struct journal *journal;
    struct writer *writer;
    struct mailbox replies;
};

static void fixed_random(void *ctx, void *out, size_t n) {
    (void)ctx;
    memset(out, 0x5a, n);
}

static mr_err bench_open(struct bench *bench) {
    struct journal_options options = {
        .dir = "/j", .segment_bytes = SEGMENT_BYTES, .random = fixed_random, .now = {MR_NS_PER_S}};
    MR_TRY(journal_open(disk_files(bench->disk), &options, &bench->journal, NULL));
    struct writer_options writer_options = {.journal = bench->journal};
    MR_ASSERT(mr_is_ok(writer_new(&writer_options, &bench->writer)));
    mailbox_init(&bench->replies);
    return MR_OK;
}

static void bench_close(struct bench *bench) {
    writer_finish(bench->writer, (mr_mono){0}, (mr_wall){MR_NS_PER_S});
    writer_free(bench->writer);
    journal_close(bench->journal);
}

static void on_done(struct mail *mail) {
    (void)mail;
}

static void append(struct bench *bench, uint8_t tag) {
    char body[48];
    memset(body, tag, sizeof body);
    struct journal_slot slots[2] = {journal_slot_of(1, tag, mr_str_of(body, sizeof body)),
                                    journal_slot_of(2, tag, mr_str_of(body, 5))};
    struct journal_unit unit;
    journal_unit_init(&unit, JOURNAL_INGEST, slots, 2, &bench->replies, on_done, NULL);
    writer_post(bench->writer, &unit, NULL);
    (void)writer_step(bench->writer, (mr_mono){0}, (mr_wall){MR_NS_PER_S});
    MR_ASSERT(unit.result == JOURNAL_RESULT_OK);
    mailbox_run(mailbox_drain(&bench->replies));
}

static uint64_t walk(struct bench *bench) {
    struct journal_iter iter;
    struct journal_item item;
    uint64_t hash = 0;
    uint64_t at = 0;
    journal_iter_init(&iter, bench->journal, JOURNAL_POS_NONE);
    for (;;) {
        MR_ASSERT(mr_is_ok(journal_iter_next(&iter, journal_durable(bench->journal), &item)));
        if (item.kind == JOURNAL_ITEM_END) {
            break;
        }
        if (item.kind == JOURNAL_ITEM_RECORD) {
            MR_ASSERT(item.record.pos > at);
            at = item.record.pos;
            for (size_t i = 0; i < item.record.body.len; i++) {
                MR_ASSERT(item.record.body.ptr[i] == (char)item.record.flags);
            }
            hash = hash * 31 + item.record.pos + item.record.flags;
        }
    }
    journal_iter_done(&iter);
    return hash;
}

static void damage(struct disk *disk, const uint8_t *data, size_t size) {
    if (size > 0 && data[0] == 0xff) {
        size_t n = size - 1 < SEGMENT_BYTES - 4096 ? size - 1 : SEGMENT_BYTES - 4096;
        (void)disk_poke(disk, NEWEST, 4096, data + 1, n);
        return;
    }
    for (size_t i = 0; i + 3 <= size; i += 3) {
        size_t offset = (size_t)(data[i] << 8 | data[i + 1]) % (2U * SEGMENT_BYTES);
        const char *path = offset < SEGMENT_BYTES ? NEWEST : "/j/000000000001.seg";
        (void)disk_poke(disk, path, offset % SEGMENT_BYTES, &data[i + 2], 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bench bench = {.disk = disk_new(1)};
    for (uint8_t run = 0; run < 2; run++) {
        MR_ASSERT(mr_is_ok(bench_open(&bench)));
        for (uint8_t i = 1; i < 5; i++) {
            append(&bench, (uint8_t)(run * 16 + i));
        }
        bench_close(&bench);
    }
    damage(bench.disk, data, size);
    if (mr_is_ok(bench_open(&bench))) {
        uint64_t first = walk(&bench);
        bench_close(&bench);
        MR_ASSERT(mr_is_ok(bench_open(&bench)));
        MR_ASSERT(walk(&bench) == first);
        append(&bench, 0x77);
        MR_ASSERT(walk(&bench) != first);
        bench_close(&bench);
    }
    disk_free(bench.disk);
    return 0;
}
