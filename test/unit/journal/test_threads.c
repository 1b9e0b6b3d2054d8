/* The journal in its production threads, on real files: producers, writer, maintenance, a reader
 * that follows. Meant for the thread sanitizer, and true without it. */
#include "journal/reader.h"
#include "journal/writer.h"

#include "base/list.h"
#include "os/clock.h"
#include "os/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PRODUCERS 2U
#define UNITS     300U
#define BODY      600U

struct shared {
    struct journal *journal;
    struct writer *writer;
    _Atomic unsigned n_done;
    _Atomic unsigned n_slab_records;
    _Atomic bool stop;
    unsigned n_followed;
};

struct producer {
    struct shared *shared;
    struct mailbox box;
    unsigned bit;
    unsigned n_done;
    bool owned; /* one unit at a time is out */
};

static void on_done(struct mail *mail) {
    struct journal_unit *unit = MR_CONTAINER(mail, struct journal_unit, mail);
    struct producer *producer = unit->user;
    MR_ASSERT(unit->result == JOURNAL_RESULT_OK);
    producer->n_done++;
    producer->owned = true;
}

static void on_slab(struct mail *mail) {
    struct slab_mail *own = MR_CONTAINER(mail, struct slab_mail, mail);
    struct producer *producer = own->ctx;
    const struct slab *slab = own->slab;
    for (uint32_t i = 0; i < slab->n_records; i++) {
        const struct slab_entry *entry = &slab->records[i];
        MR_ASSERT(slab_record_at(slab, entry->pos) == entry);
        MR_ASSERT(slab_body(slab, entry).ptr[BODY - 1] == (char)entry->flags);
    }
    atomic_fetch_add(&producer->shared->n_slab_records, slab->n_records);
    slab_unref(own->slab);
}

static void produce(void *arg) {
    struct producer *producer = arg;
    char body[BODY];
    struct journal_slot slot;
    struct journal_unit unit;
    for (unsigned i = 0; i < UNITS; i++) {
        memset(body, (int)(i & 0x7f), sizeof body);
        slot = journal_slot_of(1, (uint8_t)(i & 0x7f), mr_str_of(body, sizeof body));
        journal_unit_init(&unit, i % 3 == 0 ? JOURNAL_OUTCOME : JOURNAL_INGEST, &slot, 1,
                          &producer->box, on_done, producer);
        unit.reader_mask = UINT64_C(1) << producer->bit;
        producer->owned = false;
        writer_post(producer->shared->writer, &unit, NULL);
        while (!producer->owned) {
            mailbox_run(mailbox_wait(&producer->box, MR_MONO_NEVER));
        }
    }
    atomic_fetch_add(&producer->shared->n_done, producer->n_done);
}

static void maintain(void *arg) {
    struct shared *shared = arg;
    while (!atomic_load(&shared->stop)) {
        if (!journal_spare_step(shared->journal)) {
            os_pause_ms(1);
        }
        struct journal_status status;
        journal_status(shared->journal, &status);
        MR_ASSERT(status.state == JOURNAL_STATE_OK);
    }
}

static void follow(void *arg) {
    struct shared *shared = arg;
    struct journal_iter iter;
    struct journal_item item;
    journal_iter_init(&iter, shared->journal, JOURNAL_POS_NONE);
    while (shared->n_followed < PRODUCERS * UNITS) {
        MR_ASSERT(mr_is_ok(journal_iter_next(&iter, journal_durable(shared->journal), &item)));
        MR_ASSERT(item.kind != JOURNAL_ITEM_DAMAGE);
        if (item.kind == JOURNAL_ITEM_END) {
            os_pause_ms(1);
            continue;
        }
        MR_ASSERT(item.record.body.ptr[0] == (char)item.record.flags);
        shared->n_followed++;
    }
    journal_iter_done(&iter);
}

static void give_random(void *ctx, void *out, size_t n) {
    (void)ctx;
    os_random(out, n);
}

static void remove_one(void *arg, mr_str name) {
    char text[64];
    char path[256];
    if (mr_str_to_c(name, text, sizeof text)) {
        (void)snprintf(path, sizeof path, "%s/%s", (const char *)arg, text);
        remove(path);
    }
}

static void all_threads_at_once_lose_nothing(void **state) {
    (void)state;
    char folder[] = "/tmp/mr-journal-XXXXXX";
    assert_non_null(mkdtemp(folder));
    struct journal_options options = {
        .dir = folder, .segment_bytes = 65536, .random = give_random, .now = os_wall_now()};
    struct shared shared = {.stop = false};
    assert_true(mr_is_ok(journal_open(&os_files_system, &options, &shared.journal, NULL)));
    struct writer_options writer_options = {.journal = shared.journal};
    assert_true(mr_is_ok(writer_new(&writer_options, &shared.writer)));
    struct producer producers[PRODUCERS];
    os_thread threads[PRODUCERS + 3];
    for (unsigned i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){.shared = &shared, .bit = i};
        mailbox_init(&producers[i].box);
        writer_subscribe(shared.writer, i, &producers[i].box, on_slab, &producers[i]);
    }
    assert_true(mr_is_ok(
        os_thread_start(&threads[PRODUCERS], "writer", writer_thread_main, shared.writer)));
    assert_true(mr_is_ok(os_thread_start(&threads[PRODUCERS + 1], "keeper", maintain, &shared)));
    assert_true(mr_is_ok(os_thread_start(&threads[PRODUCERS + 2], "reader", follow, &shared)));
    for (unsigned i = 0; i < PRODUCERS; i++) {
        assert_true(mr_is_ok(os_thread_start(&threads[i], "producer", produce, &producers[i])));
    }
    for (unsigned i = 0; i < PRODUCERS; i++) {
        os_thread_join(&threads[i]);
    }
    os_thread_join(&threads[PRODUCERS + 2]);
    writer_request_stop(shared.writer);
    os_thread_join(&threads[PRODUCERS]);
    atomic_store(&shared.stop, true);
    os_thread_join(&threads[PRODUCERS + 1]);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        mailbox_run(mailbox_drain(&producers[i].box));
    }
    assert_int_equal(shared.n_done, PRODUCERS * UNITS);
    assert_int_equal(shared.n_followed, PRODUCERS * UNITS);
    assert_true(shared.n_slab_records >= PRODUCERS * UNITS);
    writer_free(shared.writer);
    journal_close(shared.journal);
    assert_true(mr_is_ok(os_files_system.list(NULL, folder, remove_one, folder)));
    assert_int_equal(remove(folder), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_threads_at_once_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
