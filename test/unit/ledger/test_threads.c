/* Writer and keeper in their threads, with the system's files, asked from a third. */
#include "base/mem.h"
#include "journal/writer.h"
#include "ledger/keeper.h"
#include "ledger/recover.h"
#include "os/clock.h"
#include "os/thread.h"
#include "support_records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define EVENTS 3000U

struct rig {
    char dir[64];
    struct writer *writer;
    struct mailbox replies;
    bool is_done;
};

static void give_random(void *ctx, void *out, size_t n) {
    (void)ctx;
    os_random(out, n);
}

static void post(void *ctx, struct journal_unit *unit) {
    writer_post(((struct rig *)ctx)->writer, unit, NULL);
}

static void on_unit(struct mail *mail) {
    struct journal_unit *unit = (struct journal_unit *)(void *)mail;
    ((struct rig *)unit->user)->is_done = true;
}

static void on_answer(struct mail *mail) {
    struct keeper_query *query = (struct keeper_query *)(void *)mail;
    ((struct rig *)query->user)->is_done = true;
}

static void wait_done(struct rig *rig) {
    mr_mono limit = mr_mono_add_ms(os_mono_now(), 30000);
    while (!rig->is_done) {
        mailbox_run(mailbox_wait(&rig->replies, limit));
        assert_true(mr_mono_before(os_mono_now(), limit));
    }
    rig->is_done = false;
}

static void path_in(const struct rig *rig, const char *name, char out[static 96]) {
    (void)snprintf(out, 96, "%s/%s", rig->dir, name);
}

static struct body body;

static void send_event(struct rig *rig, uint32_t i) {
    struct journal_unit unit;
    struct record_target target = {.destination = 1 + i % 7};
    char id[32];
    (void)snprintf(id, sizeof id, "id-%u", i);
    make_event(&body, "t.a", id, mr_wall_ms(os_wall_now()), &target, 1);
    struct journal_slot slot = journal_slot_of(RECORD_EVENT, 0, body_view(&body));
    journal_unit_init(&unit, JOURNAL_INGEST, &slot, 1, &rig->replies, on_unit, rig);
    writer_post(rig->writer, &unit, NULL);
    wait_done(rig);
    assert_int_equal(unit.result, JOURNAL_RESULT_OK);
}

static void committed(void *ctx, uint64_t durable) {
    dedupe_committed(ctx, durable);
    dedupe_tick(ctx, os_wall_now(), true);
}

struct dir_list {
    const char *dir;
};

static void remove_one(void *arg, mr_str name) {
    const struct dir_list *list = arg;
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%.*s", list->dir, MR_FMT(name));
    assert_int_equal(remove(path), 0);
}

static void remove_dir(const char *dir) {
    struct dir_list list = {dir};
    mr_ignore(os_files_system.list(os_files_system.ctx, dir, remove_one, &list), "not there");
    (void)remove(dir);
}

static void questions_and_upkeep_run_beside_the_writer(void **state) {
    (void)state;
    struct rig rig = {.dir = "/tmp/millrace-keeper-XXXXXX"};
    char journal_dir[96];
    char checkpoint_dir[96];
    char dedupe_dir[96];
    char archive_dir[96];
    assert_non_null(mkdtemp(rig.dir));
    path_in(&rig, "j", journal_dir);
    path_in(&rig, "c", checkpoint_dir);
    path_in(&rig, "d", dedupe_dir);
    path_in(&rig, "a", archive_dir);
    mailbox_init(&rig.replies);
    struct book_options book_options = {0};
    struct book *book;
    uint64_t pos;
    const struct os_files *files = &os_files_system;
    assert_true(mr_is_ok(ledger_load(&book_options, files, checkpoint_dir, &book, &pos)));
    struct journal_options journal_options = {
        .dir = journal_dir, .segment_bytes = 131072, .now = os_wall_now(), .random = give_random};
    struct journal *journal;
    assert_true(mr_is_ok(journal_open(files, &journal_options, &journal, NULL)));
    struct dedupe *dedupe;
    struct dedupe_options dedupe_options = {.files = files,
                                            .dir = dedupe_dir,
                                            .store_id = journal_store_id(journal),
                                            .window_ids = 800};
    assert_true(mr_is_ok(dedupe_open(&dedupe_options, os_wall_now(), &dedupe)));
    struct archive *archive;
    struct archive_options archive_options = {
        .files = files, .dir = archive_dir, .store_id = journal_store_id(journal)};
    assert_true(mr_is_ok(archive_open(&archive_options, &archive)));
    struct writer_options writer_options = {.journal = journal,
                                            .hooks = {.ctx = dedupe,
                                                      .admit = dedupe_admit,
                                                      .placed = dedupe_placed,
                                                      .undone = dedupe_undone,
                                                      .committed = committed}};
    assert_true(mr_is_ok(writer_new(&writer_options, &rig.writer)));
    struct keeper *keeper;
    struct keeper_options options = {.files = files,
                                     .journal = journal,
                                     .dedupe = dedupe,
                                     .archive = archive,
                                     .checkpoint_dir = checkpoint_dir,
                                     .book = book,
                                     .post = post,
                                     .post_ctx = &rig,
                                     .random = give_random,
                                     .checkpoint_records = 500};
    assert_true(mr_is_ok(keeper_new(&options, &keeper)));
    struct os_thread writer_thread;
    struct os_thread keeper_thread;
    assert_true(
        mr_is_ok(os_thread_start(&writer_thread, "writer", writer_thread_main, rig.writer)));
    assert_true(mr_is_ok(os_thread_start(&keeper_thread, "keeper", keeper_thread_main, keeper)));
    for (uint32_t i = 0; i < EVENTS; i++) {
        send_event(&rig, i);
        if (i % 100 == 0) {
            struct keeper_query query = {.ask = KEEPER_ASK_TOTALS,
                                         .reply = &rig.replies,
                                         .on_done = on_answer,
                                         .user = &rig};
            keeper_ask(keeper, &query, NULL);
            wait_done(&rig);
            assert_true(mr_is_ok(query.result));
            assert_int_equal(query.totals.created, i + 1);
            (void)keeper_status(keeper);
            (void)dedupe_floor(dedupe);
        }
    }
    assert_true(keeper_status(keeper).checkpoints > 1);
    writer_request_stop(rig.writer);
    os_thread_join(&writer_thread);
    keeper_request_stop(keeper);
    os_thread_join(&keeper_thread);
    assert_int_equal(keeper_status(keeper).totals.pending, EVENTS);
    assert_true(dedupe_stats(dedupe).stored > 5);
    keeper_free(keeper);
    writer_free(rig.writer);
    dedupe_close(dedupe);
    archive_close(archive);
    journal_close(journal);
    remove_dir(journal_dir);
    remove_dir(checkpoint_dir);
    remove_dir(dedupe_dir);
    remove_dir(archive_dir);
    remove_dir(rig.dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_and_upkeep_run_beside_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
