/* Stores of the data folder:
 *
 *   DIR/lock            held while the program runs
 *   DIR/control.db      control store (DIR.key beside the folder: master key)
 *   DIR/journal/        segments
 *   DIR/checkpoints/    the book, written down
 *   DIR/dedupe/         generations of remembered ids
 *   DIR/archive/        events that are still owed after their segment went
 *   DIR/spill/          long lists of waiting deliveries; made anew at each start */
#include "server/stores.h"

#include "api/ingest.h"
#include "base/mem.h"
#include "control/audit.h"
#include "ledger/recover.h"
#include "mail/mailer.h"
#include "net/judge.h"
#include "os/clock.h"
#include "os/process.h"
#include "server/aws.h"
#include "server/mail.h"

#include <errno.h>
#include <stdio.h>

_Static_assert((int)CONTROL_REASON_SIZE == (int)NET_REASON_SIZE, "reasons of one length");

#define PATH_SIZE       1024
#define SECRETS_MAX     ((size_t)64 << 20)
#define RECORD_SIZE_MAX 65536
#define DEDUPE_TICK_MS  200
#define RECOVERED_MAX   ((size_t)1 << 30)

static bool path_of(const struct program *program, const char *name, char out[static PATH_SIZE]) {
    int n = snprintf(out, PATH_SIZE, "%s/%s", program->data_dir, name);
    return n > 0 && n < PATH_SIZE;
}

/* ---- control store ---- */

static enum control_url_verdict judge_url(void *ctx, mr_str text,
                                          char reason[CONTROL_REASON_SIZE]) {
    struct program *program = ctx;
    struct net_url url;
    switch (net_judge_url(program->judge, program->config->allow_http, text, &url, reason)) {
    case NET_VERDICT_OK:
        break;
    case NET_VERDICT_MALFORMED:
        return CONTROL_URL_MALFORMED;
    case NET_VERDICT_REFUSED:
        return CONTROL_URL_REFUSED;
    }
    return CONTROL_URL_OK;
}

static int exit_of_control(mr_err err) {
    if (mr_err_is(err, CONTROL_E_NEWER) || mr_err_is(err, MR_E_BUSY)) {
        return PROGRAM_IN_USE;
    }
    return mr_err_is(err, CONTROL_E_NO_STORE) || mr_err_is(err, CONTROL_E_MASTER_KEY)
               ? PROGRAM_USAGE
               : PROGRAM_NO;
}

/* Out of ordinary memory. */
static mr_err take_metrics_token(struct program *program) {
    char *text = program->config->metrics_token;
    if (text[0] == '\0') {
        return MR_OK;
    }
    mr_err err = mr_secret_new(program->slab, mr_str_c(text), &program->metrics_token);
    crypto_wipe(text, strlen(text));
    return err;
}

static int open_control(struct program *program) {
    const struct config *config = program->config;
    if (mr_is_err(secret_slab_new(SECRETS_MAX, &program->slab)) ||
        mr_is_err(take_metrics_token(program)) ||
        mr_is_err(net_guard_new(program->allow, program->n_allow, &program->judge))) {
        program_problem(program, "could not start: out of memory");
        return PROGRAM_NO;
    }
    int code = mail_make(program);
    code = code == PROGRAM_OK ? aws_make(program) : code;
    if (code != PROGRAM_OK) {
        return code;
    }
    const struct control_options options = {
        .dir = program->data_dir,
        .master_key_file = config->master_key_file[0] != '\0' ? config->master_key_file : NULL,
        .credentials_dir = os_environment_get("CREDENTIALS_DIRECTORY"),
        .judge_url = judge_url,
        .judge_ctx = program,
        .event_type_prefix = mr_str_c(config->event_type_prefix),
        .account_events_per_second = (uint32_t)config->account_events_per_second,
        .session_idle_ms = (int64_t)config->session_idle_minutes * 60000,
        .session_max_days = (int64_t)config->session_max_days,
        .audit_retention_ms = (int64_t)config->audit_retention_days * 86400000,
        .mail_wanted = program->mailer != NULL ? mailer_wanted : NULL,
        .mail_ctx = program->mailer,
        .setup_file = program->setup_file,
        .log = &program->log,
        .metrics = &program->control_metrics,
        .slab = program->slab};
    struct refusal refusal = {0};
    mr_err err = control_open(&options, &program->control, &refusal);
    if (mr_is_err(err)) {
        program_problem(program, "%s",
                        refusal.message[0] != '\0' ? refusal.message
                                                   : "could not open the control store");
        return exit_of_control(err);
    }
    return PROGRAM_OK;
}

static int lock_folder(struct program *program) {
    char path[PATH_SIZE];
    if (!path_of(program, "lock", path)) {
        program_problem(program, "the path of the data folder is too long");
        return PROGRAM_USAGE;
    }
    mr_err err = os_files_system.open(os_files_system.ctx, path, OS_OPEN_WRITE | OS_OPEN_CREATE,
                                      &program->lock);
    if (mr_is_err(err)) {
        program_problem(program,
                        "could not open the data folder %s: %s; make it with `millrace init --data "
                        "%s --owner EMAIL`",
                        program->data_dir, strerror(errno), program->data_dir);
        return PROGRAM_USAGE;
    }
    program->has_lock = true;
    if (mr_is_err(os_files_system.lock(os_files_system.ctx, program->lock))) {
        program_problem(program, "the data folder %s is in use by another millrace",
                        program->data_dir);
        return PROGRAM_IN_USE;
    }
    return PROGRAM_OK;
}

/* ---- journal and ledger ---- */

static void random_bytes(void *ctx, void *out, size_t n) {
    (void)ctx;
    os_random(out, n);
}

static int ledger_problem(struct program *program, const char *what, mr_err err) {
    if (mr_err_is(err, JOURNAL_E_NEWER) || mr_err_is(err, LEDGER_E_NEWER)) {
        program_problem(program, "%s in %s was made by a newer Millrace: start that version", what,
                        program->data_dir);
        return PROGRAM_IN_USE;
    }
    if (mr_err_is(err, MR_E_BUSY)) {
        program_problem(program, "%s in %s is in use by another process", what, program->data_dir);
        return PROGRAM_IN_USE;
    }
    program_problem(program,
                    "could not open %s in %s (error %u, %s); `millrace check --data %s` "
                    "tells more",
                    what, program->data_dir, err.code, strerror(errno), program->data_dir);
    return PROGRAM_NO;
}

static int open_ledger(struct program *program, struct ledger_damage *damage) {
    char journal_dir[PATH_SIZE];
    char checkpoint_dir[PATH_SIZE];
    char dedupe_dir[PATH_SIZE];
    char archive_dir[PATH_SIZE];
    if (!path_of(program, "journal", journal_dir) ||
        !path_of(program, "checkpoints", checkpoint_dir) ||
        !path_of(program, "dedupe", dedupe_dir) || !path_of(program, "archive", archive_dir)) {
        program_problem(program, "the path of the data folder is too long");
        return PROGRAM_USAGE;
    }
    const struct config *config = program->config;
    const struct book_options book_options = {.log = &program->log};
    uint64_t book_pos = 0;
    mr_err err =
        ledger_load(&book_options, &os_files_system, checkpoint_dir, &program->book, &book_pos);
    if (mr_is_err(err)) {
        return ledger_problem(program, "the checkpoint", err);
    }
    const struct journal_options journal_options = {.dir = journal_dir,
                                                    .segment_bytes = config->segment_bytes,
                                                    .replay_from = book_pos,
                                                    .durable_hint = book_pos,
                                                    .now = os_wall_now(),
                                                    .random = random_bytes,
                                                    .log = &program->log,
                                                    .metrics = &program->writer_metrics,
                                                    .on_damage = ledger_damage_add,
                                                    .damage_ctx = damage,
                                                    .on_spare_taken = spares_wanted,
                                                    .spare_ctx = &program->spares};
    spares_init(&program->spares);
    struct journal_recovery recovery;
    err = journal_open(&os_files_system, &journal_options, &program->journal, &recovery);
    if (mr_is_err(err)) {
        return ledger_problem(program, "the journal", err);
    }
    if (!recovery.created) {
        mr_info(&program->log, "journal_recovered", mr_kv_i64("records", (int64_t)recovery.records),
                mr_kv_i64("tail_bytes", (int64_t)recovery.tail_bytes),
                mr_kv_i64("cut_bytes", (int64_t)recovery.cut_bytes),
                mr_kv_i64("damaged", (int64_t)recovery.damaged_ranges));
    }
    const struct dedupe_options dedupe_options = {.files = &os_files_system,
                                                  .dir = dedupe_dir,
                                                  .store_id = journal_store_id(program->journal),
                                                  .window_ids =
                                                      (uint32_t)config->dedupe_entries_max,
                                                  .window_ms = (int64_t)config->dedupe_ms,
                                                  .log = &program->log};
    err = dedupe_open(&dedupe_options, os_wall_now(), &program->dedupe);
    if (mr_is_err(err)) {
        return ledger_problem(program, "the memory of ids", err);
    }
    const struct archive_options archive_options = {.files = &os_files_system,
                                                    .dir = archive_dir,
                                                    .store_id = journal_store_id(program->journal),
                                                    .log = &program->log};
    err = archive_open(&archive_options, &program->archive);
    return mr_is_err(err) ? ledger_problem(program, "the archive", err) : PROGRAM_OK;
}

static int replay(struct program *program, const struct ledger_damage *damage) {
    struct ledger_recovered recovered;
    mr_err err = ledger_recover(program->book, program->journal, program->dedupe, damage,
                                &program->log, &recovered);
    if (mr_is_err(err)) {
        return ledger_problem(program, "the journal", err);
    }
    mr_info(&program->log, "replayed", mr_kv_i64("records", (int64_t)recovered.records),
            mr_kv_i64("events", (int64_t)recovered.events));
    return PROGRAM_OK;
}

int stores_open(struct program *program) {
    int code = lock_folder(program);
    if (code == PROGRAM_OK) {
        code = open_control(program);
    }
    if (code != PROGRAM_OK) {
        return code;
    }
    struct ledger_damage damage = {0};
    code = open_ledger(program, &damage);
    if (code == PROGRAM_OK && damage.out_of_memory) {
        program_problem(program, "could not recover: out of memory");
        code = PROGRAM_NO;
    }
    if (code == PROGRAM_OK) {
        code = replay(program, &damage);
    }
    ledger_damage_done(&damage);
    return code;
}

/* ---- the writer ---- */

static bool on_admit(void *ctx, struct journal_unit *unit) {
    struct program *program = ctx;
    if (dedupe_admit(program->dedupe, unit)) {
        return true;
    }
    struct dedupe_conflict conflict = dedupe_conflict(program->dedupe);
    unit->records[conflict.slot].flags =
        conflict.out_of_memory ? INGEST_FLAG_NOMEM : INGEST_FLAG_CONFLICT;
    return false;
}

static void on_placed(void *ctx, const struct journal_unit *unit) {
    dedupe_placed(((struct program *)ctx)->dedupe, unit);
}

static void on_undone(void *ctx, const struct journal_unit *unit) {
    dedupe_undone(((struct program *)ctx)->dedupe, unit);
}

static void on_committed(void *ctx, uint64_t durable) {
    struct program *program = ctx;
    dedupe_committed(program->dedupe, durable);
    mr_mono now = os_mono_now();
    if (mr_mono_diff_ms(now, program->dedupe_ticked) >= DEDUPE_TICK_MS) {
        program->dedupe_ticked = now;
        /* After a step of the wall clock nothing ends by age until the operator says so. */
        bool ages = program->keeper == NULL || !keeper_status(program->keeper).ages_suspended;
        dedupe_tick(program->dedupe, os_wall_now(), ages);
    }
}

static void on_failed(void *ctx, enum journal_state state) {
    (void)state;
    program_on_journal_failed(ctx);
}

static mr_mono writer_clock(void *ctx) {
    (void)ctx;
    return os_mono_now();
}

/* One record that recovery appends, and the wait for its commit. */
struct recovery_unit {
    struct journal_unit unit; /* first */
    bool is_done;
};

static void on_recovery_unit(struct mail *mail) {
    ((struct recovery_unit *)(void *)mail)->is_done = true;
}

/* Gathers the records that recovery calls for, before lanes are filled: what they end is not owed
 * any more. Each stands in program->recovered behind its length of four bytes. */
static int gather_recovered(struct program *program) {
    mr_buf_init(&program->recovered, RECOVERED_MAX);
    for (;;) {
        char *at;
        mr_err err = mr_buf_reserve(&program->recovered, RECORD_SIZE_MAX + 4, &at);
        if (mr_is_err(err)) {
            program_problem(program, "could not recover: out of memory");
            return PROGRAM_NO;
        }
        size_t len;
        err = ledger_recover_next(program->book, mr_wall_ms(os_wall_now()), random_bytes, NULL,
                                  (uint8_t *)at + 4, RECORD_SIZE_MAX, &len);
        if (mr_err_is(err, MR_E_NOT_FOUND)) {
            return PROGRAM_OK;
        }
        if (mr_is_err(err)) {
            return ledger_problem(program, "the journal", err);
        }
        mr_put_u32(at, (uint32_t)len);
        mr_buf_commit(&program->recovered, len + 4);
    }
}

/* Appends them, each durable before the next. */
static int append_recovered(struct program *program) {
    struct mailbox mailbox;
    mailbox_init(&mailbox);
    mr_str rest = mr_buf_view(&program->recovered);
    int code = PROGRAM_OK;
    while (rest.len > 0 && code == PROGRAM_OK) {
        uint32_t len = mr_get_u32(rest.ptr);
        struct journal_slot slot = journal_slot_of(RECORD_DEAD, 0, mr_str_slice(rest, 4, 4 + len));
        rest = mr_str_slice(rest, 4 + len, rest.len);
        struct recovery_unit unit = {.is_done = false};
        journal_unit_init(&unit.unit, JOURNAL_CONTROL, &slot, 1, &mailbox, on_recovery_unit, NULL);
        writer_post(program->writer, &unit.unit, NULL);
        while (!unit.is_done) {
            mailbox_run(mailbox_wait(&mailbox, MR_MONO_NEVER));
        }
        mr_metric_add(&program->own_metrics, MR_METRIC_UNREADABLE, 1);
        if (unit.unit.result != JOURNAL_RESULT_OK) {
            program_problem(program, "could not write what recovery found into the journal");
            code = PROGRAM_FAILED;
        }
    }
    mr_buf_done(&program->recovered);
    return code;
}

int stores_recover(struct program *program) {
    const struct writer_options options = {.journal = program->journal,
                                           .hooks = {.ctx = program,
                                                     .admit = on_admit,
                                                     .placed = on_placed,
                                                     .undone = on_undone,
                                                     .committed = on_committed,
                                                     .failed = on_failed},
                                           .slab_bytes_max = program->config->slab_cache_bytes,
                                           .clock = writer_clock,
                                           .log = &program->log,
                                           .metrics = &program->writer_metrics};
    mr_err err = writer_new(&options, &program->writer);
    if (mr_is_err(err)) {
        program_problem(program, "could not start the journal's writer: %s", strerror(errno));
        return PROGRAM_NO;
    }
    return gather_recovered(program);
}

/* ---- the audit log's head ---- */

static void audit_post(void *ctx, struct journal_unit *unit) {
    struct program *program = ctx;
    writer_post(program->writer, unit, &program->control_metrics);
}

/* The writer runs, the book is not the keeper's yet. */
static int keep_audit(struct program *program) {
    const struct audit_journal journal = {.post = audit_post, .ctx = program};
    mr_err err = audit_journal_to(program->control, &journal, book_audit(program->book));
    if (mr_is_err(err)) {
        program_problem(program, "could not read the audit log in %s: error %u", program->data_dir,
                        err.code);
        return PROGRAM_NO;
    }
    return PROGRAM_OK;
}

/* ---- the keeper ---- */

static void keeper_post(void *ctx, struct journal_unit *unit) {
    struct program *program = ctx;
    writer_post(program->writer, unit, &program->keeper_metrics);
}

int stores_keep(struct program *program) {
    const struct config *config = program->config;
    char checkpoint_dir[PATH_SIZE];
    MR_ASSERT(path_of(program, "checkpoints", checkpoint_dir));
    mr_err err =
        os_thread_start(&program->writer_thread, "mr-writer", writer_thread_main, program->writer);
    program->writer_started = mr_is_ok(err);
    if (mr_is_err(err)) {
        program_problem(program, "could not start the journal's writer: %s", strerror(errno));
        return PROGRAM_NO;
    }
    err = spares_start(&program->spares, program->journal);
    if (mr_is_err(err)) {
        program_problem(program, "could not start the maker of segments: %s", strerror(errno));
        return PROGRAM_NO;
    }
    int code = append_recovered(program);
    code = code == PROGRAM_OK ? keep_audit(program) : code;
    if (code != PROGRAM_OK) {
        return code;
    }
    const struct keeper_options options = {.files = &os_files_system,
                                           .journal = program->journal,
                                           .dedupe = program->dedupe,
                                           .archive = program->archive,
                                           .checkpoint_dir = checkpoint_dir,
                                           .book = program->book,
                                           .post = keeper_post,
                                           .post_ctx = program,
                                           .reader_mask = (UINT64_C(1) << program->n_workers) - 1,
                                           .random = random_bytes,
                                           .checkpoint_bytes = config->checkpoint_bytes,
                                           .checkpoint_records = config->checkpoint_records,
                                           .retention_ms = (int64_t)config->retention_ms,
                                           .retention_bytes = config->retention_bytes,
                                           .letters_ms = (int64_t)config->dead_letter_ms,
                                           .archive_bytes_max = config->archive_bytes_max,
                                           .log = &program->log,
                                           .metrics = &program->keeper_metrics};
    err = keeper_new(&options, &program->keeper);
    if (mr_is_ok(err)) {
        program->book = NULL;
        err = os_thread_start(&program->keeper_thread, "mr-keeper", keeper_thread_main,
                              program->keeper);
        program->keeper_started = mr_is_ok(err);
    }
    if (mr_is_err(err)) {
        program_problem(program, "could not start the keeper: %s", strerror(errno));
        return PROGRAM_NO;
    }
    for (size_t i = 0; i < program->n_workers; i++) {
        program->workers[i].api.keeper = program->keeper;
    }
    return PROGRAM_OK;
}

void stores_finish_writer(struct program *program) {
    if (program->writer_started) {
        writer_request_stop(program->writer);
        os_thread_join(&program->writer_thread);
        program->writer_started = false;
    }
    if (program->keeper_started) {
        keeper_request_stop(program->keeper);
        os_thread_join(&program->keeper_thread);
        program->keeper_started = false;
    }
    spares_stop(&program->spares);
}

void stores_close(struct program *program) {
    keeper_free(program->keeper);
    writer_free(program->writer);
    book_free(program->book);
    dedupe_close(program->dedupe);
    archive_close(program->archive);
    journal_close(program->journal);
    control_close(program->control);
    net_guard_free(program->judge);
    aws_unmake(program);
    mr_secret_unref(&program->metrics_token);
    secret_slab_free(program->slab);
    if (program->has_lock) {
        os_files_system.close(os_files_system.ctx, program->lock);
    }
}
