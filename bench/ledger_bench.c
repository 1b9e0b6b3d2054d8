/* What the ledger costs: folding events and outcomes into a book, looking ids up and remembering
 * them, saving and loading a million pending deliveries. Prints one line each. */
#include "base/mem.h"
#include "crypto/siphash.h"
#include "ledger/book.h"
#include "ledger/dedupe.h"
#include "os/clock.h"

#include <stdio.h>
#include <string.h>

#define EVENTS       1000000U
#define DESTINATIONS 10000U

struct bytes {
    uint8_t at[2048];
    size_t len;
};

static void must(mr_err err) {
    if (mr_is_err(err)) {
        fprintf(stderr, "error %x\n", err.code);
        MR_ASSERT(false);
    }
}

static void report(const char *what, mr_mono from, uint64_t n) {
    int64_t ns = mr_mono_diff_ns(os_mono_now(), from);
    printf("%-44s %8.1f ns  (%lld ms in all)\n", what, (double)ns / (double)n,
           (long long)(ns / MR_NS_PER_MS));
}

static void make_event(struct bytes *out, uint32_t i) {
    char text[1200];
    uint32_t rule = 1;
    const uint32_t *rules[] = {&rule};
    int n = snprintf(text, sizeof text,
                     "{\"data\":\"%0900d\",\"id\":\"%08u\",\"type\":"
                     "\"com.kore.iot.supersim.connection.data-session.updated\"}",
                     1, i);
    struct record_target target = {.destination = i % DESTINATIONS, .n_rules = 1};
    struct siphash_key key = {1, 2};
    struct record_event_spec spec = {.account = 1,
                                     .accepted_ms = 1700000000000 + i / 50,
                                     .tag = siphash_128(key, &i, sizeof i),
                                     .digest = i,
                                     .schema_version = 2,
                                     .envelope = {text, (size_t)n},
                                     .n_targets = 1,
                                     .targets = &target,
                                     .rules = rules};
    size_t at = mr_str_find(spec.envelope, MR_STR("com.kore"));
    spec.spans[RECORD_TYPE_ATTRIBUTE] =
        (struct record_span){(uint32_t)at, (uint32_t)n - 2 - (uint32_t)at};
    must(record_event_encode(&spec, out->at, sizeof out->at, &out->len));
}

static uint64_t pos_of(uint32_t i) {
    return 4096 + (uint64_t)i * 1144;
}

static void bench_book(void) {
    struct book_options options = {0};
    struct book *book;
    struct book *loaded;
    struct book_loaded how;
    const uint8_t store_id[16] = {1};
    static struct bytes events[1024];
    must(book_new(&options, &book));
    int64_t ns = 0;
    for (uint32_t i = 0; i < EVENTS; i += 1024) {
        for (uint32_t k = 0; k < 1024; k++) {
            make_event(&events[k], i + k);
        }
        mr_mono from = os_mono_now();
        for (uint32_t k = 0; k < 1024; k++) {
            must(book_apply(book, pos_of(i + k), pos_of(i + k + 1), RECORD_EVENT,
                            (mr_str){(char *)events[k].at, events[k].len}));
        }
        ns += mr_mono_diff_ns(os_mono_now(), from);
    }
    printf("%-44s %8.1f ns\n", "fold an event", (double)ns / EVENTS);
    printf("%-44s %8.1f MiB\n", "memory, a million pending of 10,000",
           (double)book_memory_bytes(book) / 1048576);
    mr_mono from = os_mono_now();
    must(book_save(book, &os_files_system, "/tmp/millrace-ledger-bench", store_id, os_wall_now()));
    report("save it, per delivery", from, EVENTS);
    from = os_mono_now();
    must(book_load(&options, &os_files_system, "/tmp/millrace-ledger-bench", store_id, &loaded,
                   &how));
    report("load it, per delivery", from, EVENTS);
    book_free(loaded);
    from = os_mono_now();
    uint64_t pos = pos_of(EVENTS + 2000);
    for (uint32_t i = 0; i < EVENTS; i++) {
        uint8_t out[128];
        size_t len;
        uint64_t positions[1] = {pos_of(i)};
        struct record_outcome outcome = {
            .kind = RECORD_DELIVERED, .destination = i % DESTINATIONS, .n_positions = 1};
        must(record_outcome_encode(&outcome, positions, out, sizeof out, &len));
        must(book_apply(book, pos + i * 8, pos + i * 8 + 8, RECORD_OUTCOME,
                        (mr_str){(char *)out, len}));
    }
    report("fold a delivered outcome (encoding too)", from, EVENTS);
    book_free(book);
    char path[128];
    (void)snprintf(path, sizeof path, "/tmp/millrace-ledger-bench/checkpoint-%016llx",
                   (unsigned long long)how.pos);
    must(os_files_system.unlink(os_files_system.ctx, path));
}

static void bench_dedupe(uint32_t n) {
    const uint8_t store_id[16] = {1};
    struct dedupe_options options = {
        .files = &os_files_system, .dir = "/tmp/millrace-ledger-bench", .store_id = store_id};
    struct dedupe *dedupe;
    static struct bytes events[1024];
    struct journal_slot slots[1];
    struct journal_unit unit;
    must(dedupe_open(&options, os_wall_now(), &dedupe));
    int64_t insert_ns = 0;
    int64_t worst_ns = 0;
    for (uint32_t i = 0; i < n; i += 1024) {
        for (uint32_t k = 0; k < 1024; k++) {
            make_event(&events[k], i + k);
        }
        mr_mono from = os_mono_now();
        for (uint32_t k = 0; k < 1024; k++) {
            slots[0] =
                journal_slot_of(RECORD_EVENT, 0, (mr_str){(char *)events[k].at, events[k].len});
            journal_unit_init(&unit, JOURNAL_INGEST, slots, 1, NULL, NULL, NULL);
            MR_ASSERT(dedupe_admit(dedupe, &unit));
            slots[0].pos = pos_of(i + k);
            dedupe_placed(dedupe, &unit);
        }
        dedupe_committed(dedupe, pos_of(i + 1024));
        int64_t ns = mr_mono_diff_ns(os_mono_now(), from);
        insert_ns += ns;
        worst_ns = ns > worst_ns ? ns : worst_ns;
    }
    printf("%-44s %8.1f ns  (%u ids, worst 1,024 took %lld us)\n",
           "look a new id up and remember it", (double)insert_ns / n, n,
           (long long)(worst_ns / 1000));
    struct siphash_key key = {1, 2};
    mr_mono from = os_mono_now();
    uint64_t hits = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t id = (uint32_t)((uint64_t)i * 2654435761U % n);
        struct dedupe_found found;
        hits += mr_is_ok(dedupe_find(dedupe, siphash_128(key, &id, sizeof id), &found));
    }
    MR_ASSERT(hits == n);
    report("look a known id up, in memory (with its hash)", from, n);
    from = os_mono_now();
    hits = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t id = i + 0x80000000U;
        struct dedupe_found found;
        hits += mr_is_ok(dedupe_find(dedupe, siphash_128(key, &id, sizeof id), &found));
    }
    MR_ASSERT(hits == 0);
    report("look an unknown id up (with its hash)", from, n);
    printf("%-44s %8.1f MiB\n", "memory, nothing stored yet",
           (double)dedupe_stats(dedupe).memory_bytes / 1048576);
    dedupe_close(dedupe);
}

int main(void) {
    bench_book();
    bench_dedupe(102400);
    bench_dedupe(1024000);
    bench_dedupe(3072000);
    return 0;
}
