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
    char journal_dir[96], checkpoint_dir[96], dedupe_dir[96], archive_dir[96];
    struct journal *journal;
    struct dedupe *dedupe;
    struct archive *archive;
    struct writer *writer;
    struct keeper *keeper;
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

static void open_files(struct rig *rig) {
    assert_non_null(mkdtemp(rig->dir));
    path_in(rig, "j", rig->journal_dir);
    path_in(rig, "c", rig->checkpoint_dir);
    path_in(rig, "d", rig->dedupe_dir);
    path_in(rig, "a", rig->archive_dir);
    mailbox_init(&rig->replies);
    const struct os_files *files = &os_files_system;
    struct journal_options journal_options = {.dir = rig->journal_dir,
                                              .segment_bytes = 131072,
                                              .now = os_wall_now(),
                                              .random = give_random};
    assert_true(mr_is_ok(journal_open(files, &journal_options, &rig->journal, NULL)));
    struct dedupe_options dedupe_options = {.files = files,
                                            .dir = rig->dedupe_dir,
                                            .store_id = journal_store_id(rig->journal),
                                            .window_ids = 800};
    assert_true(mr_is_ok(dedupe_open(&dedupe_options, os_wall_now(), &rig->dedupe)));
    struct archive_options archive_options = {
        .files = files, .dir = rig->archive_dir, .store_id = journal_store_id(rig->journal)};
    assert_true(mr_is_ok(archive_open(&archive_options, &rig->archive)));
}

static void open_actors(struct rig *rig) {
    struct book_options book_options = {0};
    struct book *book;
    uint64_t pos;
    assert_true(
        mr_is_ok(ledger_load(&book_options, &os_files_system, rig->checkpoint_dir, &book, &pos)));
    struct writer_options writer_options = {.journal = rig->journal,
                                            .hooks = {.ctx = rig->dedupe,
                                                      .admit = dedupe_admit,
                                                      .placed = dedupe_placed,
                                                      .undone = dedupe_undone,
                                                      .committed = committed}};
    assert_true(mr_is_ok(writer_new(&writer_options, &rig->writer)));
    struct keeper_options options = {.files = &os_files_system,
                                     .journal = rig->journal,
                                     .dedupe = rig->dedupe,
                                     .archive = rig->archive,
                                     .checkpoint_dir = rig->checkpoint_dir,
                                     .book = book,
                                     .post = post,
                                     .post_ctx = rig,
                                     .random = give_random,
                                     .checkpoint_records = 500};
    assert_true(mr_is_ok(keeper_new(&options, &rig->keeper)));
}

static void close_all(struct rig *rig) {
    keeper_free(rig->keeper);
    writer_free(rig->writer);
    dedupe_close(rig->dedupe);
    archive_close(rig->archive);
    journal_close(rig->journal);
    remove_dir(rig->journal_dir);
    remove_dir(rig->checkpoint_dir);
    remove_dir(rig->dedupe_dir);
    remove_dir(rig->archive_dir);
    remove_dir(rig->dir);
}

static void ask_totals(struct rig *rig, uint64_t expected) {
    struct keeper_query query = {
        .ask = KEEPER_ASK_TOTALS, .reply = &rig->replies, .on_done = on_answer, .user = rig};
    keeper_ask(rig->keeper, &query, NULL);
    wait_done(rig);
    assert_true(mr_is_ok(query.result));
    assert_int_equal(query.totals.created, expected);
}

static void questions_and_upkeep_run_beside_the_writer(void **state) {
    (void)state;
    struct rig rig = {.dir = "/tmp/millrace-keeper-XXXXXX"};
    struct os_thread writer_thread;
    struct os_thread keeper_thread;
    open_files(&rig);
    open_actors(&rig);
    assert_true(
        mr_is_ok(os_thread_start(&writer_thread, "writer", writer_thread_main, rig.writer)));
    assert_true(
        mr_is_ok(os_thread_start(&keeper_thread, "keeper", keeper_thread_main, rig.keeper)));
    for (uint32_t i = 0; i < EVENTS; i++) {
        send_event(&rig, i);
        if (i % 100 == 0) {
            ask_totals(&rig, i + 1);
            (void)keeper_status(rig.keeper);
            (void)dedupe_floor(rig.dedupe);
        }
    }
    assert_true(keeper_status(rig.keeper).checkpoints > 1);
    writer_request_stop(rig.writer);
    os_thread_join(&writer_thread);
    keeper_request_stop(rig.keeper);
    os_thread_join(&keeper_thread);
    assert_int_equal(keeper_status(rig.keeper).totals.pending, EVENTS);
    assert_true(dedupe_stats(rig.dedupe).stored > 5);
    close_all(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_and_upkeep_run_beside_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
