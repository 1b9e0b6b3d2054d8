/* The keeper over a real journal and writer on a simulated disk, stepped by hand: questions,
 * redrives, checkpoints, retention with the archive, recovery, and the recount's opinion of it. */
#include "ledger/keeper.h"

#include "../../sim/disk.h"
#include "base/mem.h"
#include "journal/reader.h"
#include "journal/writer.h"
#include "ledger/recount.h"
#include "ledger/recover.h"
#include "support_records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

struct rig {
    struct disk *disk;
    struct journal *journal;
    struct writer *writer;
    struct dedupe *dedupe;
    struct archive *archive;
    struct keeper *keeper;
    struct keeper_options options;
    struct book_options book_options;
    struct ledger_damage damage;
    struct ledger_recovered recovered;
    struct mailbox replies;
    struct chance chance;
    mr_mono now;
    mr_wall wall;
    bool is_done;
    uint32_t next_id;
    struct recount_finding findings[64];
    size_t n_findings;
};

static void post(void *ctx, struct journal_unit *unit) {
    struct rig *rig = ctx;
    writer_post(rig->writer, unit, NULL);
}

static void rig_open(struct rig *rig) {
    const struct os_files *files = disk_files(rig->disk);
    struct book *book;
    uint64_t pos;
    mr_err err = ledger_load(&rig->book_options, files, "/c", &book, &pos);
    assert_int_equal(err.code, 0);
    struct journal_options journal_options = {.dir = "/j",
                                              .segment_bytes = 65536,
                                              .replay_from = pos,
                                              .durable_hint = pos,
                                              .now = rig->wall,
                                              .random = chance_bytes,
                                              .random_ctx = &rig->chance,
                                              .on_damage = ledger_damage_add,
                                              .damage_ctx = &rig->damage};
    err = journal_open(files, &journal_options, &rig->journal, NULL);
    assert_int_equal(err.code, 0);
    struct dedupe_options dedupe_options = {
        .files = files, .dir = "/d", .store_id = journal_store_id(rig->journal), .window_ids = 320};
    assert_true(mr_is_ok(dedupe_open(&dedupe_options, rig->wall, &rig->dedupe)));
    struct archive_options archive_options = {.files = files,
                                              .dir = "/a",
                                              .store_id = journal_store_id(rig->journal),
                                              .file_bytes = 20000};
    assert_true(mr_is_ok(archive_open(&archive_options, &rig->archive)));
    err = ledger_recover(book, rig->journal, rig->dedupe, &rig->damage, NULL, &rig->recovered);
    assert_int_equal(err.code, 0);
    book_assert_valid(book);
    struct writer_options writer_options = {.journal = rig->journal,
                                            .hooks = {.ctx = rig->dedupe,
                                                      .admit = dedupe_admit,
                                                      .placed = dedupe_placed,
                                                      .undone = dedupe_undone,
                                                      .committed = dedupe_committed}};
    assert_true(mr_is_ok(writer_new(&writer_options, &rig->writer)));
    struct keeper_options *options = &rig->options;
    options->files = files;
    options->journal = rig->journal;
    options->dedupe = rig->dedupe;
    options->archive = rig->archive;
    options->checkpoint_dir = "/c";
    options->book = book;
    options->post = post;
    options->post_ctx = rig;
    options->random = chance_bytes;
    options->random_ctx = &rig->chance;
    assert_true(mr_is_ok(keeper_new(options, &rig->keeper)));
}

static void rig_init(struct rig *rig, uint64_t seed) {
    *rig = (struct rig){.disk = disk_new(seed),
                        .chance = {seed},
                        .now = {MR_NS_PER_S},
                        .wall = {MR_NS_PER_S * 1700000000}};
    mailbox_init(&rig->replies);
}

static void step(struct rig *rig) {
    rig->now = mr_mono_add_ms(rig->now, 5);
    rig->wall.ns += 5 * MR_NS_PER_MS;
    (void)keeper_step(rig->keeper, rig->now, rig->wall);
    (void)writer_step(rig->writer, rig->now, rig->wall);
    dedupe_tick(rig->dedupe, rig->wall, true);
    mailbox_run(mailbox_drain(&rig->replies));
}

static void steps(struct rig *rig, int n) {
    for (int i = 0; i < n; i++) {
        step(rig);
    }
}

static void pass_ms(struct rig *rig, int64_t ms) {
    rig->now = mr_mono_add_ms(rig->now, ms);
    rig->wall.ns += ms * MR_NS_PER_MS;
}

static void rig_close(struct rig *rig, bool is_clean) {
    if (!is_clean) {
        disk_kill(rig->disk);
    }
    writer_finish(rig->writer, rig->now, rig->wall);
    mr_err err = keeper_finish(rig->keeper, rig->now, rig->wall);
    assert_true(mr_is_ok(err) == is_clean);
    mailbox_run(mailbox_drain(&rig->replies));
    keeper_free(rig->keeper);
    writer_free(rig->writer);
    dedupe_close(rig->dedupe);
    archive_close(rig->archive);
    journal_close(rig->journal);
    ledger_damage_done(&rig->damage);
    disk_restart(rig->disk);
}

static void on_unit(struct mail *mail) {
    struct journal_unit *unit = (struct journal_unit *)(void *)mail;
    *(bool *)unit->user = true;
}

static struct body body;

/* Appends one record and waits until it is durable; returns its position. */
static uint64_t append(struct rig *rig, enum journal_class klass, uint8_t type) {
    struct journal_unit unit;
    struct journal_slot slot = journal_slot_of(type, 0, body_view(&body));
    bool is_done = false;
    journal_unit_init(&unit, klass, &slot, 1, &rig->replies, on_unit, &is_done);
    writer_post(rig->writer, &unit, NULL);
    for (int i = 0; i < 100 && !is_done; i++) {
        step(rig);
    }
    assert_true(is_done);
    assert_int_equal(unit.result, JOURNAL_RESULT_OK);
    return slot.pos;
}

static uint64_t event(struct rig *rig, uint32_t destination) {
    char id[32];
    struct record_target target = {.destination = destination};
    (void)snprintf(id, sizeof id, "event-number-%u", rig->next_id++);
    make_event(&body, rig->next_id % 2 == 0 ? "t.a" : "t.b", id, mr_wall_ms(rig->wall), &target, 1);
    return append(rig, JOURNAL_INGEST, RECORD_EVENT);
}

static void delivered(struct rig *rig, uint32_t destination, uint64_t pos) {
    struct record_outcome outcome = {.kind = RECORD_DELIVERED,
                                     .destination = destination,
                                     .at_ms = mr_wall_ms(rig->wall),
                                     .n_positions = 1};
    make_outcome(&body, &outcome, &pos);
    (void)append(rig, JOURNAL_OUTCOME, RECORD_OUTCOME);
}

static void died(struct rig *rig, uint32_t destination, uint64_t pos) {
    uint8_t random[10];
    size_t len;
    chance_bytes(&rig->chance, random, sizeof random);
    struct record_dead dead = {.reason = RECORD_REASON_TIMEOUT,
                               .flags = RECORD_DEAD_FAILED,
                               .destination = destination,
                               .attempts = 4,
                               .n = 1};
    struct record_dead_item item = {.pos = pos,
                                    .id = record_letter_id_make(mr_wall_ms(rig->wall), random)};
    assert_true(mr_is_ok(record_dead_encode(&dead, &item, body.bytes, BODY_MAX, &len)));
    body.len = len;
    (void)append(rig, JOURNAL_OUTCOME, RECORD_DEAD);
}

static void on_answer(struct mail *mail) {
    struct keeper_query *query = (struct keeper_query *)(void *)mail;
    *(bool *)query->user = true;
}

static mr_err ask(struct rig *rig, struct keeper_query *query) {
    bool is_done = false;
    query->reply = &rig->replies;
    query->on_done = on_answer;
    query->user = &is_done;
    keeper_ask(rig->keeper, query, NULL);
    for (int i = 0; i < 2000 && !is_done; i++) {
        step(rig);
    }
    assert_true(is_done);
    return query->result;
}

static struct book_destination row_of(struct rig *rig, uint32_t destination) {
    struct book_destination row;
    struct keeper_query query = {
        .ask = KEEPER_ASK_DESTINATION, .destinations = &destination, .rows = &row, .n = 1};
    assert_true(mr_is_ok(ask(rig, &query)));
    return row;
}

static void on_finding(void *ctx, const struct recount_finding *finding) {
    struct rig *rig = ctx;
    if (rig->n_findings < 64) {
        rig->findings[rig->n_findings] = *finding;
    }
    rig->n_findings++;
}

/* Recounts the closed store. */
static struct recount_result recount(struct rig *rig) {
    const struct os_files *files = disk_files(rig->disk);
    struct journal_options options = {.dir = "/j",
                                      .segment_bytes = 65536,
                                      .read_only = true,
                                      .now = rig->wall,
                                      .random = chance_bytes,
                                      .random_ctx = &rig->chance};
    struct journal *journal;
    mr_err err = journal_open(files, &options, &journal, NULL);
    assert_int_equal(err.code, 0);
    struct archive *archive;
    struct archive_options archive_options = {
        .files = files, .dir = "/a", .store_id = journal_store_id(journal)};
    assert_true(mr_is_ok(archive_open(&archive_options, &archive)));
    rig->n_findings = 0;
    struct recount_options recount_options = {.journal = journal,
                                              .files = files,
                                              .checkpoint_dir = "/c",
                                              .archive = archive,
                                              .on_finding = on_finding,
                                              .ctx = rig};
    struct recount_result result;
    err = recount_run(&recount_options, &result);
    assert_int_equal(err.code, 0);
    archive_close(archive);
    journal_close(journal);
    return result;
}

static void assert_sound(struct rig *rig) {
    struct recount_result result = recount(rig);
    for (size_t i = 0; i < rig->n_findings && i < 64; i++) {
        print_message("%s %s destination %u pos %llu: %llu, %llu\n",
                      recount_finding_name(rig->findings[i].kind), rig->findings[i].what,
                      rig->findings[i].destination, (unsigned long long)rig->findings[i].pos,
                      (unsigned long long)rig->findings[i].found,
                      (unsigned long long)rig->findings[i].expected);
    }
    assert_int_equal(result.findings, 0);
    assert_true(result.checkpoints_compared == 1);
}

/* --- tests
 * ---------------------------------------------------------------------------------------- */

static void questions_are_answered_at_the_durable_position(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 1);
    rig_open(&rig);
    uint64_t a = event(&rig, 5);
    uint64_t b = event(&rig, 5);
    (void)event(&rig, 5);
    assert_int_equal(row_of(&rig, 5).counters.pending, 3);
    delivered(&rig, 5, a);
    died(&rig, 5, b);
    struct book_destination row = row_of(&rig, 5);
    assert_int_equal(row.counters.pending, 1);
    assert_int_equal(row.counters.delivered, 1);
    assert_int_equal(row.counters.dead, 1);
    assert_int_equal(row.counters.failed_attempts, 1);
    assert_int_equal(row_of(&rig, 77).counters.created, 0);
    struct keeper_query query = {.ask = KEEPER_ASK_TOTALS};
    assert_true(mr_is_ok(ask(&rig, &query)));
    assert_int_equal(query.totals.created, 3);
    assert_int_equal(query.letters_kept, 1);
    struct book_letter letters[4];
    mr_str types[4];
    mr_buf text;
    mr_buf_init(&text, 1000);
    query = (struct keeper_query){.ask = KEEPER_ASK_LETTERS,
                                  .letters = letters,
                                  .n_max = 4,
                                  .type_text = &text,
                                  .types = types};
    assert_true(mr_is_ok(ask(&rig, &query)));
    assert_int_equal(query.n_letters, 1);
    assert_int_equal(letters[0].pos, b);
    assert_true(mr_str_eq(types[0], MR_STR("t.a")));
    query = (struct keeper_query){
        .ask = KEEPER_ASK_LETTER, .letter_id = letters[0].id, .letters = letters, .n_max = 1};
    assert_true(mr_is_ok(ask(&rig, &query)));
    query.letter_id.bytes[0] ^= 1;
    assert_true(mr_err_is(ask(&rig, &query), MR_E_NOT_FOUND));
    mr_buf_done(&text);
    assert_true(keeper_status(rig.keeper).totals.created == 3);
    rig_close(&rig, true);
    assert_sound(&rig);
    disk_free(rig.disk);
}

static void discard_before_gives_the_position(void **state) {
    (void)state;
    struct rig rig;
    uint32_t destination = 5;
    rig_init(&rig, 2);
    rig_open(&rig);
    (void)event(&rig, 5);
    pass_ms(&rig, 1000);
    int64_t before_ms = mr_wall_ms(rig.wall);
    uint64_t second = event(&rig, 5);
    struct keeper_query query = {.ask = KEEPER_ASK_DISCARD_BEFORE,
                                 .destinations = &destination,
                                 .n = 1,
                                 .filter = {.to_ms = before_ms}};
    assert_true(mr_is_ok(ask(&rig, &query)));
    assert_int_equal(query.position, second);
    query.filter.to_ms = INT64_MAX;
    assert_true(mr_is_ok(ask(&rig, &query)));
    assert_true(query.position > second);
    rig_close(&rig, true);
    disk_free(rig.disk);
}

static void redrive_makes_new_deliveries_once(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 3);
    rig_open(&rig);
    for (uint32_t i = 0; i < 60; i++) {
        uint32_t destination = 1 + i % 2;
        died(&rig, destination, event(&rig, destination));
    }
    uint32_t one = 1;
    struct keeper_query query = {
        .ask = KEEPER_ASK_REDRIVE, .filter = {.destination = &one}, .dry_run = true};
    assert_true(mr_is_ok(ask(&rig, &query)));
    assert_int_equal(query.redriven, 30);
    assert_int_equal(row_of(&rig, 1).counters.pending, 0);
    query.dry_run = false;
    assert_true(mr_is_ok(ask(&rig, &query)));
    assert_int_equal(query.redriven, 30);
    struct book_destination row = row_of(&rig, 1);
    assert_int_equal(row.counters.created, 60);
    assert_int_equal(row.counters.pending, 30);
    assert_int_equal(row.counters.dead, 30);
    assert_int_equal(row.dead_letters, 0);
    assert_true(mr_is_ok(ask(&rig, &query)));
    assert_int_equal(query.redriven, 0);
    struct book_letter letters[3];
    struct record_letter_id ids[4];
    query = (struct keeper_query){.ask = KEEPER_ASK_LETTERS, .letters = letters, .n_max = 3};
    assert_true(mr_is_ok(ask(&rig, &query)));
    assert_int_equal(query.n_total, 30);
    for (size_t i = 0; i < 3; i++) {
        ids[i] = letters[i].id;
    }
    ids[3] = letters[0].id;
    query = (struct keeper_query){.ask = KEEPER_ASK_REDRIVE, .letter_ids = ids, .n_ids = 4};
    assert_true(mr_is_ok(ask(&rig, &query)));
    assert_int_equal(query.redriven, 3);
    assert_int_equal(row_of(&rig, 2).counters.pending, 3);
    rig_close(&rig, true);
    assert_sound(&rig);
    disk_free(rig.disk);
}

static void letters_expire_after_their_time_but_not_when_the_clock_steps(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 4);
    rig.options.letters_ms = 100000;
    rig_open(&rig);
    for (uint32_t i = 0; i < 5; i++) {
        died(&rig, 1, event(&rig, 1));
    }
    rig.wall.ns += INT64_C(7200) * MR_NS_PER_S; /* steps; the monotonic clock does not */
    steps(&rig, 3);
    assert_true(keeper_status(rig.keeper).ages_suspended);
    pass_ms(&rig, 20000);
    steps(&rig, 10);
    assert_int_equal(row_of(&rig, 1).dead_letters, 5);
    keeper_resume_ages(rig.keeper);
    pass_ms(&rig, 20000);
    steps(&rig, 10);
    assert_int_equal(row_of(&rig, 1).dead_letters, 0);
    assert_int_equal(row_of(&rig, 1).counters.dead, 5);
    rig_close(&rig, true);
    assert_sound(&rig);
    disk_free(rig.disk);
}

static void too_many_letters_expire_early(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 5);
    rig.book_options.dead_letters_max = 10;
    rig_open(&rig);
    for (uint32_t i = 0; i < 25; i++) {
        died(&rig, 1 + (i % 5 == 0), event(&rig, 1 + (i % 5 == 0)));
    }
    pass_ms(&rig, 20000);
    steps(&rig, 10);
    assert_int_equal(row_of(&rig, 1).dead_letters + row_of(&rig, 2).dead_letters, 10);
    assert_int_equal(row_of(&rig, 2).dead_letters, 5);
    assert_int_equal(keeper_status(rig.keeper).expired_early, 15);
    rig_close(&rig, true);
    disk_free(rig.disk);
}

static uint64_t read_event(struct rig *rig, uint64_t pos) {
    mr_buf scratch;
    struct journal_record record;
    mr_buf_init(&scratch, 1000000);
    mr_err err = journal_read(rig->journal, pos, 0, OS_READ_WAIT, &scratch, &record);
    mr_str bytes = mr_is_ok(err) ? record.body : MR_STR_NONE;
    bool is_archived = mr_err_is(err, JOURNAL_E_TRIMMED);
    if (is_archived) {
        err = archive_read(rig->archive, pos, &scratch);
        bytes = mr_buf_view(&scratch);
    }
    struct record_event found;
    assert_int_equal(err.code, 0);
    assert_true(mr_is_ok(record_event_decode(bytes, &found)));
    mr_buf_done(&scratch);
    return is_archived;
}

static void unlink_name(void *arg, mr_str name) {
    const struct os_files *files = arg;
    char path[64];
    (void)snprintf(path, sizeof path, "/c/%.*s", MR_FMT(name));
    assert_true(mr_is_ok(files->unlink(files->ctx, path)));
}

/* A trimmed journal without any checkpoint: nobody knows what its beginning owed. */
static void assert_begins_late(struct rig *rig) {
    const struct os_files *files = disk_files(rig->disk);
    struct journal_options options = {.dir = "/j",
                                      .segment_bytes = 65536,
                                      .now = rig->wall,
                                      .random = chance_bytes,
                                      .random_ctx = &rig->chance};
    struct book *book;
    uint64_t pos;
    assert_true(mr_is_ok(files->list(files->ctx, "/c", unlink_name, (void *)(uintptr_t)files)));
    assert_true(mr_is_ok(ledger_load(&rig->book_options, files, "/c", &book, &pos)));
    assert_true(mr_is_ok(journal_open(files, &options, &rig->journal, NULL)));
    assert_true(mr_err_is(ledger_recover(book, rig->journal, NULL, NULL, NULL, &rig->recovered),
                          LEDGER_E_GAP));
    journal_close(rig->journal);
    book_free(book);
}

static void retention_archives_what_is_still_owed(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 6);
    rig.options.retention_bytes = 4 * 65536;
    rig.options.checkpoint_records = 300;
    rig_open(&rig);
    uint64_t kept[40];
    size_t n_kept = 0;
    for (uint32_t i = 0; i < 2500; i++) {
        uint64_t pos = event(&rig, 1 + i % 3);
        if (i % 97 == 0 && n_kept < 30) {
            kept[n_kept++] = pos;
            if (i % 2 == 0) {
                died(&rig, 1 + i % 3, pos);
            }
        } else {
            delivered(&rig, 1 + i % 3, pos);
        }
        if (i % 50 == 0) {
            pass_ms(&rig, 6000);
        }
    }
    pass_ms(&rig, 6000);
    steps(&rig, 200);
    assert_true(journal_start(rig.journal) > kept[10]);
    struct journal_status status;
    journal_status(rig.journal, &status);
    assert_true(status.segments <= 6);
    uint64_t n_archived = 0;
    for (size_t i = 0; i < n_kept; i++) {
        n_archived += read_event(&rig, kept[i]);
    }
    assert_true(n_archived > 10);
    assert_int_equal(archive_stats(rig.archive).entries, n_archived);
    for (int round = 0; round < 2; round++) {
        struct book_destination rows[3];
        for (uint32_t d = 0; d < 3; d++) {
            rows[d] = row_of(&rig, 1 + d);
        }
        rig_close(&rig, round == 0);
        if (round == 0) {
            assert_sound(&rig);
        }
        rig_open(&rig);
        for (uint32_t d = 0; d < 3; d++) {
            struct book_destination row = row_of(&rig, 1 + d);
            assert_memory_equal(&row.counters, &rows[d].counters, sizeof row.counters);
        }
        for (size_t i = 0; i < n_kept; i++) {
            (void)read_event(&rig, kept[i]);
        }
    }
    struct recount_result result;
    rig_close(&rig, true);
    result = recount(&rig);
    assert_true(result.findings == 0 && result.base_pos > 0 && result.totals_compared > 3);
    assert_begins_late(&rig);
    disk_free(rig.disk);
}

static uint64_t callback(struct rig *rig, uint32_t i) {
    char text[2000];
    memset(text, 'a' + (int)(i % 26), sizeof text);
    struct record_callback record = {.account = 1 + i % 2,
                                     .created_ms = mr_wall_ms(rig->wall),
                                     .id = letter_id(1000, i),
                                     .url = MR_STR("https://a/"),
                                     .reference = MR_STR("r"),
                                     .body = mr_str_of(text, sizeof text)};
    assert_true(mr_is_ok(record_callback_encode(&record, body.bytes, BODY_MAX, &body.len)));
    return append(rig, JOURNAL_INGEST, RECORD_CALLBACK);
}

static void callback_over(struct rig *rig, uint32_t i, uint64_t pos) {
    struct record_callback_outcome outcome = {.kind = i % 3 == 0 ? RECORD_CALLBACK_FAILED
                                                                 : RECORD_CALLBACK_DELIVERED,
                                              .attempt = 1,
                                              .account = 1 + i % 2,
                                              .pos = pos,
                                              .at_ms = mr_wall_ms(rig->wall),
                                              .id = letter_id(1000, i)};
    assert_true(
        mr_is_ok(record_callback_outcome_encode(&outcome, body.bytes, BODY_MAX, &body.len)));
    (void)append(rig, JOURNAL_OUTCOME, RECORD_CALLBACK_OUTCOME);
}

static mr_err see_whole(void *ctx, const struct book_callback *found) {
    uint32_t *n = ctx;
    assert_int_equal(found->record.body.len, 2000);
    assert_int_equal(found->record.body.ptr[1999], 'a' + (int)(*n * 40 % 26));
    ++*n;
    return MR_OK;
}

static void pending_callbacks_outlive_their_segments(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 16);
    rig.options.retention_bytes = 4 * 65536;
    rig.options.checkpoint_records = 100;
    rig_open(&rig);
    uint64_t first = 0;
    for (uint32_t i = 0; i < 600; i++) {
        uint64_t pos = callback(&rig, i);
        first = first == 0 ? pos : first;
        if (i % 40 != 0) {
            callback_over(&rig, i, pos);
        }
        if (i % 50 == 0) {
            pass_ms(&rig, 6000);
        }
    }
    pass_ms(&rig, 6000);
    steps(&rig, 200);
    assert_true(journal_start(rig.journal) > first);
    mr_buf text;
    mr_buf_init(&text, 1 << 20);
    struct book_callback rows[4];
    uint8_t status = BOOK_CALLBACK_PENDING;
    struct keeper_query query = {.ask = KEEPER_ASK_CALLBACKS,
                                 .callback_filter = {.account = 1, .status = &status},
                                 .callbacks = rows,
                                 .n_max = 4,
                                 .type_text = &text};
    assert_true(mr_is_ok(ask(&rig, &query)));
    assert_int_equal(query.n_total, 15);
    assert_int_equal(query.n_letters, 4);
    assert_true(mr_str_eq(rows[0].record.url, MR_STR("https://a/")));
    assert_true(mr_str_eq(rows[3].record.reference, MR_STR("r")));
    mr_buf_reset(&text);
    query = (struct keeper_query){.ask = KEEPER_ASK_CALLBACK,
                                  .callback_filter = {.account = 2},
                                  .letter_id = letter_id(1000, 0),
                                  .callbacks = rows,
                                  .n_max = 1,
                                  .type_text = &text};
    assert_true(mr_err_is(ask(&rig, &query), MR_E_NOT_FOUND)); /* it is account 1's */
    query.callback_filter.account = 1;
    assert_true(mr_is_ok(ask(&rig, &query)));
    mr_buf_done(&text);
    rig_close(&rig, false); /* killed: checkpoint and journal bring all back */
    rig_open(&rig);
    uint32_t n = 0;
    assert_true(mr_is_ok(book_each_open_callback(rig.options.book, see_whole, &n)));
    assert_int_equal(n, 15);
    rig_close(&rig, true);
    assert_sound(&rig);
    struct recount_result result = recount(&rig);
    assert_true(result.base_pos > 0);
    assert_true(result.totals_compared >= 1);
    assert_int_equal(result.callbacks.created, 600);
    assert_int_equal(result.callbacks.pending, 15);
    assert_int_equal(result.callbacks.delivered + result.callbacks.dead, 585);
    assert_int_equal(result.totals.created, 0);
    disk_free(rig.disk);
}

static void a_full_archive_takes_from_who_holds_most(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 7);
    rig.options.retention_bytes = 3 * 65536;
    rig.options.checkpoint_records = 300;
    rig.options.archive_bytes_max = 40000;
    rig_open(&rig);
    for (uint32_t i = 0; i < 3000; i++) {
        uint32_t destination = i % 40 == 0 ? 2 : 1; /* 1 is down and hoards */
        uint64_t pos = event(&rig, destination);
        if (destination == 1 && i % 3 == 0) {
            died(&rig, destination, pos);
        }
        if (i % 50 == 0) {
            pass_ms(&rig, 6000);
        }
    }
    pass_ms(&rig, 6000);
    for (int i = 0; i < 20; i++) {
        pass_ms(&rig, 6000);
        steps(&rig, 20);
    }
    struct keeper_status status = keeper_status(rig.keeper);
    assert_true(status.expired_early > 100);
    assert_true(status.overflowed > 100);
    struct archive_stats archived = archive_stats(rig.archive);
    assert_true(archived.live_bytes < 40000 * 3);
    struct book_destination two = row_of(&rig, 2);
    assert_int_equal(two.counters.dead, 0);
    assert_int_equal(two.counters.pending, 75);
    struct book_letter letters[1];
    struct book_letter_filter filter = {.reason = RECORD_REASON_OVERFLOW};
    struct keeper_query query = {
        .ask = KEEPER_ASK_LETTERS, .filter = filter, .letters = letters, .n_max = 1};
    assert_true(mr_is_ok(ask(&rig, &query)));
    assert_int_equal(query.n_total, status.overflowed);
    assert_false(letters[0].has_payload);
    rig_close(&rig, true);
    assert_sound(&rig);
    disk_free(rig.disk);
}

/* Kills and crashes at random moments: what the keeper says before is what it says after, but for
 * what was not durable; the recount agrees each time. */
static void crashes_lose_nothing_that_was_counted(void **state) {
    (void)state;
    uint64_t seed = test_seed(1000);
    for (uint64_t round = 0; round < 8; round++) {
        struct rig rig;
        rig_init(&rig, seed + round);
        rig.options.retention_bytes = 3 * 65536;
        rig.options.checkpoint_records = 200;
        uint64_t open[64];
        size_t n_open = 0;
        uint64_t created = 0;
        for (int life = 0; life < 5; life++) {
            rig_open(&rig);
            assert_int_equal(row_of(&rig, 1).counters.created, created);
            assert_int_equal(row_of(&rig, 1).counters.pending, n_open);
            uint32_t n = 100 + chance_below(&rig.chance, 500);
            for (uint32_t i = 0; i < n; i++) {
                if (n_open < 64) {
                    open[n_open++] = event(&rig, 1);
                    created++;
                }
                if (n_open > 40 || chance_below(&rig.chance, 2) == 0) {
                    size_t k = chance_below(&rig.chance, (uint32_t)n_open);
                    uint64_t pos = open[k];
                    open[k] = open[--n_open];
                    if (chance_below(&rig.chance, 4) == 0) {
                        died(&rig, 1, pos);
                    } else {
                        delivered(&rig, 1, pos);
                    }
                }
                if (i % 20 == 0) {
                    pass_ms(&rig, 6000);
                }
            }
            if (chance_below(&rig.chance, 2) == 0) {
                disk_crash(rig.disk);
            }
            rig_close(&rig, false);
            struct recount_result result = recount(&rig);
            assert_int_equal(result.findings, 0);
        }
        rig_open(&rig);
        rig_close(&rig, true);
        assert_sound(&rig);
        disk_free(rig.disk);
    }
}

static void failing_files_raise_the_alarm_and_heal(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 8);
    rig.options.checkpoint_records = 10;
    rig_open(&rig);
    for (uint32_t i = 0; i < 9; i++) {
        (void)event(&rig, 1);
    }
    struct keeper_query query = {.ask = KEEPER_ASK_CHECKPOINT};
    disk_fault_chance(rig.disk, DISK_FAULT_SYNC_IO, 1);
    /* Only the keeper steps: the journal must not meet the fault. */
    bool is_done = false;
    query.reply = &rig.replies;
    query.on_done = on_answer;
    query.user = &is_done;
    keeper_ask(rig.keeper, &query, NULL);
    (void)keeper_step(rig.keeper, rig.now, rig.wall);
    mailbox_run(mailbox_drain(&rig.replies));
    disk_fault_chance(rig.disk, DISK_FAULT_SYNC_IO, 0);
    assert_true(is_done);
    assert_true(mr_is_err(query.result));
    assert_true(keeper_status(rig.keeper).alarm);
    assert_true(mr_is_ok(ask(&rig, &query)));
    assert_false(keeper_status(rig.keeper).alarm);
    assert_int_equal(keeper_status(rig.keeper).checkpoints, 1);
    rig_close(&rig, true);
    assert_sound(&rig);
    disk_free(rig.disk);
}

static void flip_at(struct rig *rig, const char *path, uint64_t offset) {
    const struct os_files *files = disk_files(rig->disk);
    os_file file;
    uint8_t byte;
    size_t got;
    assert_true(mr_is_ok(files->open(files->ctx, path, OS_OPEN_WRITE, &file)));
    assert_true(mr_is_ok(files->read(files->ctx, file, &byte, 1, offset, OS_READ_WAIT, &got)));
    byte ^= 0x20;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    assert_true(mr_is_ok(files->write(files->ctx, file, &iov, 1, offset)));
    files->close(files->ctx, file);
}

struct search {
    struct rig *rig;
    const char *needle;
    char path[64];
    uint64_t offset;
};

static void search_file(void *arg, const char *path, uint64_t size) {
    struct search *search = arg;
    (void)size;
    mr_str bytes = disk_peek(search->rig->disk, path);
    size_t at = mr_str_find(bytes, mr_str_c(search->needle));
    if (at != SIZE_MAX && strncmp(path, "/j/", 3) == 0) {
        (void)snprintf(search->path, sizeof search->path, "%s", path);
        search->offset = at;
    }
}

static void a_damaged_event_becomes_a_dead_letter_and_a_finding(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 9);
    rig_open(&rig);
    for (uint32_t i = 0; i < 20; i++) {
        (void)event(&rig, 1);
    }
    struct keeper_query query = {.ask = KEEPER_ASK_CHECKPOINT};
    assert_true(mr_is_ok(ask(&rig, &query)));
    for (uint32_t i = 0; i < 10; i++) {
        (void)event(&rig, 1);
    }
    rig_close(&rig, false);
    struct search search = {.rig = &rig, .needle = "event-number-7\""};
    disk_each(rig.disk, search_file, &search);
    flip_at(&rig, search.path, search.offset);
    rig_open(&rig);
    for (int i = 0; i < 30; i++) {
        pass_ms(&rig, 1000);
        step(&rig);
    }
    struct book_destination row = row_of(&rig, 1);
    assert_int_equal(row.counters.created, 30);
    assert_int_equal(row.counters.pending, 29);
    assert_int_equal(row.counters.dead, 1);
    struct book_letter letter;
    struct book_letter_filter filter = {.reason = RECORD_REASON_UNREADABLE};
    query = (struct keeper_query){
        .ask = KEEPER_ASK_LETTERS, .filter = filter, .letters = &letter, .n_max = 1};
    assert_true(mr_is_ok(ask(&rig, &query)));
    assert_int_equal(query.n_total, 1);
    rig_close(&rig, true);
    (void)recount(&rig);
    assert_true(rig.n_findings > 0);
    assert_int_equal(rig.findings[0].kind, RECOUNT_DAMAGE);
    assert_string_equal(recount_finding_name(rig.findings[0].kind), "damage");
    disk_free(rig.disk);
}

/* A check must be able to fail: a checkpoint that says otherwise is found out. */
static void the_recount_finds_a_wrong_book(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 10);
    rig_open(&rig);
    uint64_t pos = event(&rig, 1);
    (void)event(&rig, 1);
    step(&rig);
    struct book_options options = {0};
    struct book *wrong;
    assert_true(mr_is_ok(book_new(&options, &wrong)));
    struct record_target target = {.destination = 1};
    make_event(&body, "t.a", "other", 5, &target, 1);
    assert_true(mr_is_ok(book_apply(wrong, pos + 8, pos + 16, RECORD_EVENT, body_view(&body))));
    book_advance(wrong, journal_durable(rig.journal));
    struct recount_options recount_options = {
        .journal = rig.journal, .book = wrong, .on_finding = on_finding, .ctx = &rig};
    struct recount_result result;
    assert_true(mr_is_ok(recount_run(&recount_options, &result)));
    assert_int_equal(result.findings, 3); /* created, pending, a delivery that is not owed */
    assert_int_equal(rig.findings[0].kind, RECOUNT_CHECKPOINT);
    book_free(wrong);
    /* And a TOTALS record that lies. */
    struct record_totals totals = {.as_of = journal_durable(rig.journal), .journal_start = 1};
    struct record_totals_builder builder;
    struct record_counters counters = {.created = 7, .delivered = 7};
    assert_true(mr_is_ok(record_totals_begin(&builder, &totals, body.bytes, BODY_MAX)));
    assert_true(mr_is_ok(record_totals_add(&builder, 1, 0, &counters, NULL, 0)));
    body.len = record_totals_end(&builder, true);
    (void)append(&rig, JOURNAL_CONTROL, RECORD_TOTALS);
    rig.n_findings = 0;
    recount_options.book = NULL;
    assert_true(mr_is_ok(recount_run(&recount_options, &result)));
    assert_int_equal(result.findings, 3); /* created, pending, delivered */
    assert_int_equal(rig.findings[0].kind, RECOUNT_TOTALS);
    rig_close(&rig, true);
    disk_free(rig.disk);
}

struct heads {
    size_t n;
    uint64_t numbers[8];
};

static void on_audit(void *ctx, uint64_t pos, const struct record_audit *audit) {
    struct heads *heads = ctx;
    assert_true(pos > 0 && heads->n < 8);
    heads->numbers[heads->n++] = audit->number;
}

static void the_recount_tells_every_head_of_the_audit_log(void **state) {
    (void)state;
    struct rig rig;
    rig_init(&rig, 12);
    rig_open(&rig);
    for (uint64_t number = 3; number < 6; number++) {
        const struct record_audit audit = {.number = number};
        assert_true(mr_is_ok(record_audit_encode(&audit, body.bytes, BODY_MAX, &body.len)));
        (void)append(&rig, JOURNAL_CONTROL, RECORD_AUDIT);
    }
    struct book_options book_options = {0};
    struct book *book;
    assert_true(mr_is_ok(book_new(&book_options, &book)));
    assert_true(mr_is_ok(book_apply(book, 1, 2, RECORD_AUDIT, body_view(&body))));
    book_advance(book, journal_durable(rig.journal));
    struct heads heads = {0};
    struct recount_options options = {
        .journal = rig.journal, .book = book, .on_audit = on_audit, .ctx = &heads};
    struct recount_result result;
    assert_true(mr_is_ok(recount_run(&options, &result)));
    assert_int_equal(result.findings, 0);
    assert_int_equal(heads.n, 4); /* the checkpoint's too: what retention took is in it */
    assert_int_equal(heads.numbers[0], 5);
    assert_int_equal(heads.numbers[1], 3);
    assert_int_equal(heads.numbers[3], 5);
    book_free(book);
    rig_close(&rig, true);
    disk_free(rig.disk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_are_answered_at_the_durable_position),
        cmocka_unit_test(discard_before_gives_the_position),
        cmocka_unit_test(redrive_makes_new_deliveries_once),
        cmocka_unit_test(letters_expire_after_their_time_but_not_when_the_clock_steps),
        cmocka_unit_test(too_many_letters_expire_early),
        cmocka_unit_test(retention_archives_what_is_still_owed),
        cmocka_unit_test(pending_callbacks_outlive_their_segments),
        cmocka_unit_test(a_full_archive_takes_from_who_holds_most),
        cmocka_unit_test(crashes_lose_nothing_that_was_counted),
        cmocka_unit_test(failing_files_raise_the_alarm_and_heal),
        cmocka_unit_test(a_damaged_event_becomes_a_dead_letter_and_a_finding),
        cmocka_unit_test(the_recount_finds_a_wrong_book),
        cmocka_unit_test(the_recount_tells_every_head_of_the_audit_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
