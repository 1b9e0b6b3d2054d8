/* `millrace check`: every checksum of journal, checkpoints, archive and remembered ids, SQLite's
 * check of control.db, the audit log's chain and that every head of it which the journal names is
 * a row of it, and the conservation law by counting all deliveries again. Nothing is changed; the
 * data folder's lock is held meanwhile, so that no server starts below.
 *
 * Exit codes: 0 sound, 1 findings, 2 cannot read, 4 in use or of a newer format. Findings are lines
 * of text, or with --json one object. */
#include "cli/cli.h"

#include "base/mem.h"
#include "control/audit/check.h"
#include "control/control.h"
#include "json/write.h"
#include "ledger/recount.h"
#include "ledger/recover.h"
#include "os/clock.h"
#include "os/files.h"

#include <errno.h>
#include <stdio.h>

#define PATH_SIZE       1024
#define FINDINGS_LISTED 1000U
#define OUTPUT_MAX      ((size_t)16 << 20)
#define PROGRESS_MS     2000

enum folder { FOLDER_JOURNAL = 0, FOLDER_CHECKPOINTS, FOLDER_ARCHIVE, FOLDER_DEDUPE, FOLDERS };

struct check {
    const char *data;
    bool as_json;
    char paths[FOLDERS][PATH_SIZE];
    bool is_there[FOLDERS];
    char control[PATH_SIZE];
    bool has_control;
    os_file lock;
    struct journal *journal;
    struct archive *archive;
    struct audit_check *audit; /* NULL: there is no control.db */
    uint64_t audit_rows, audit_heads;
    struct recount_result result;
    uint64_t findings;
    bool has_gap;
    mr_buf list; /* findings as JSON objects with commas */
    mr_mono told;
};

static void random_bytes(void *ctx, void *out, size_t n) {
    (void)ctx;
    os_random(out, n);
}

/* ---- findings ---- */

static const char *folder_of(enum recount_finding_kind kind) {
    switch (kind) {
    case RECOUNT_DAMAGE:
    case RECOUNT_RECORD:
    case RECOUNT_TOTALS:
        return "journal";
    case RECOUNT_CHECKPOINT:
        return "checkpoints";
    case RECOUNT_ARCHIVE:
        return "archive";
    case RECOUNT_DEDUPE:
        return "dedupe";
    case RECOUNT_LAW:
    case RECOUNT_MISSING:
        break;
    }
    return "";
}

static bool has_counts(const struct recount_finding *finding) {
    return finding->kind == RECOUNT_LAW || finding->kind == RECOUNT_TOTALS ||
           (finding->kind == RECOUNT_CHECKPOINT && finding->file[0] == '\0');
}

/* Damage that costs the whole file. */
static bool is_of_file(const struct recount_finding *finding) {
    return finding->kind == RECOUNT_DEDUPE ||
           (finding->kind == RECOUNT_CHECKPOINT && finding->file[0] != '\0');
}

static void print_finding(const struct recount_finding *finding) {
    printf("%s:", recount_finding_name(finding->kind));
    if (is_of_file(finding)) {
        printf(" %s/%s,", folder_of(finding->kind), finding->file);
    } else if (finding->file[0] != '\0') {
        printf(" %s/%s at byte %llu,", folder_of(finding->kind), finding->file,
               (unsigned long long)finding->offset);
    }
    if (finding->pos != 0) {
        printf(" position %llu,", (unsigned long long)finding->pos);
    }
    if (RECORD_IS_CALLBACKS(finding->destination)) {
        printf(" callbacks of account number %u,", finding->destination & ~RECORD_CALLBACKS_OF);
    } else if (finding->destination != 0) {
        printf(" destination number %u,", finding->destination);
    }
    printf(" %s", finding->what != NULL ? finding->what : "");
    if (has_counts(finding) && finding->found != finding->expected) {
        printf(" is %llu and should be %llu", (unsigned long long)finding->found,
               (unsigned long long)finding->expected);
    }
    printf("\n");
}

/* A comma before all but the first; false: no memory. */
static bool list_more(struct check *check) {
    return check->list.len == 0 || mr_is_ok(mr_buf_byte(&check->list, ','));
}

static void list_finding(struct check *check, const struct recount_finding *finding) {
    json_out out;
    if (!list_more(check)) {
        return;
    }
    json_out_init(&out, &check->list);
    json_out_object(&out);
    json_out_member_c(&out, "kind", recount_finding_name(finding->kind));
    if (finding->file[0] != '\0') {
        json_out_member_c(&out, "folder", folder_of(finding->kind));
        json_out_member_c(&out, "file", finding->file);
        if (!is_of_file(finding)) {
            json_out_member_u64(&out, "offset", finding->offset);
        }
    }
    if (finding->pos != 0) {
        json_out_member_u64(&out, "position", finding->pos);
    }
    if (RECORD_IS_CALLBACKS(finding->destination)) {
        json_out_member_u64(&out, "callbacks_of_account_number",
                            finding->destination & ~RECORD_CALLBACKS_OF);
    } else if (finding->destination != 0) {
        json_out_member_u64(&out, "destination_number", finding->destination);
    }
    json_out_member_c(&out, "what", finding->what);
    if (has_counts(finding)) {
        json_out_member_u64(&out, "found", finding->found);
        json_out_member_u64(&out, "expected", finding->expected);
    }
    json_out_end(&out);
    mr_ignore(json_out_finish(&out), "the list is bounded far below the buffer");
}

static void on_finding(void *ctx, const struct recount_finding *finding) {
    struct check *check = ctx;
    check->findings++;
    if (check->findings > FINDINGS_LISTED) {
        return;
    }
    if (check->as_json) {
        list_finding(check, finding);
    } else {
        print_finding(finding);
    }
}

static void tell_control(struct check *check, const char *kind, const char *what) {
    check->findings++;
    if (check->findings > FINDINGS_LISTED) {
        return;
    }
    if (!check->as_json) {
        printf("%s: control.db, %s\n", kind, what);
        return;
    }
    json_out out;
    if (!list_more(check)) {
        return;
    }
    json_out_init(&out, &check->list);
    json_out_object(&out);
    json_out_member_c(&out, "kind", kind);
    json_out_member_c(&out, "file", "control.db");
    json_out_member_c(&out, "what", what);
    json_out_end(&out);
    mr_ignore(json_out_finish(&out), "the list is bounded far below the buffer");
}

static void on_control_finding(void *ctx, const char *what) {
    tell_control(ctx, "control", what);
}

static void on_audit_finding(void *ctx, const char *what) {
    tell_control(ctx, "audit", what);
}

static void on_audit(void *ctx, uint64_t pos, const struct record_audit *head) {
    struct check *check = ctx;
    check->audit_heads++;
    if (check->audit != NULL) {
        audit_check_head(check->audit, pos, head);
    }
}

static void on_progress(void *ctx, uint64_t done, uint64_t total) {
    struct check *check = ctx;
    mr_mono now = os_mono_now();
    if (total == 0 || mr_mono_diff_ms(now, check->told) < PROGRESS_MS) {
        return;
    }
    check->told = now;
    fprintf(stderr, "millrace check: %llu of %llu MiB\n", (unsigned long long)(done >> 20),
            (unsigned long long)(total >> 20));
}

/* ---- opening ---- */

static bool is_folder(const char *path) {
    os_file file;
    if (mr_is_err(os_files_system.open(os_files_system.ctx, path, OS_OPEN_DIRECTORY, &file))) {
        return false;
    }
    os_files_system.close(os_files_system.ctx, file);
    return true;
}

/* Paths, and which of the folders are there. */
static int look(struct check *check) {
    static const char *const names[FOLDERS] = {"journal", "checkpoints", "archive", "dedupe"};
    for (size_t i = 0; i < FOLDERS; i++) {
        int n = snprintf(check->paths[i], PATH_SIZE, "%s/%s", check->data, names[i]);
        if (n < 0 || n >= PATH_SIZE) {
            cli_problem("the path of the data folder is too long");
            return CLI_USAGE;
        }
        check->is_there[i] = is_folder(check->paths[i]);
    }
    snprintf(check->control, sizeof check->control, "%s/control.db", check->data);
    os_file file;
    if (mr_is_ok(os_files_system.open(os_files_system.ctx, check->control, OS_OPEN_READ, &file))) {
        os_files_system.close(os_files_system.ctx, file);
        check->has_control = true;
    } else if (!check->is_there[FOLDER_JOURNAL]) {
        cli_problem("%s is no data folder, or cannot be read: it holds neither control.db nor "
                    "journal",
                    check->data);
        return CLI_USAGE;
    }
    return CLI_OK;
}

static int lock_folder(struct check *check) {
    char path[PATH_SIZE + 8];
    snprintf(path, sizeof path, "%s/lock", check->data);
    mr_err err = os_files_system.open(os_files_system.ctx, path, OS_OPEN_WRITE | OS_OPEN_CREATE,
                                      &check->lock);
    if (mr_is_err(err)) {
        check->lock = OS_FILE_NONE;
        cli_problem("could not open %s: %s", path, strerror(errno));
        return CLI_USAGE;
    }
    if (mr_is_err(os_files_system.lock(os_files_system.ctx, check->lock))) {
        cli_problem("the data folder %s is in use; stop the server first", check->data);
        return CLI_IN_USE;
    }
    return CLI_OK;
}

static int unreadable(const struct check *check, const char *what, mr_err err) {
    if (mr_err_is(err, JOURNAL_E_NEWER) || mr_err_is(err, LEDGER_E_NEWER) ||
        mr_err_is(err, CONTROL_E_NEWER)) {
        cli_problem("%s in %s was made by a newer Millrace: check it with that version", what,
                    check->data);
        return CLI_IN_USE;
    }
    if (mr_err_is(err, MR_E_BUSY)) {
        cli_problem("%s in %s is in use by another process", what, check->data);
        return CLI_IN_USE;
    }
    const char *why = mr_err_is(err, MR_E_NOMEM) ? "out of memory"
                      : mr_err_is(err, JOURNAL_E_FOREIGN) || mr_err_is(err, LEDGER_E_FOREIGN)
                          ? "it belongs to another store"
                          : strerror(errno);
    cli_problem("could not read %s in %s: %s", what, check->data, why);
    return CLI_USAGE;
}

/* The durable position that the newest sound checkpoint knew; 0: none. That a checkpoint is damaged
 * is for the recount to find. */
static uint64_t known_durable(const struct check *check) {
    const struct book_options options = {0};
    struct book *book = NULL;
    uint64_t pos = 0;
    if (check->is_there[FOLDER_CHECKPOINTS] &&
        mr_is_ok(ledger_load(&options, &os_files_system, check->paths[FOLDER_CHECKPOINTS], &book,
                             &pos))) {
        book_free(book);
    }
    return pos;
}

static int open_stores(struct check *check) {
    const struct journal_options options = {.dir = check->paths[FOLDER_JOURNAL],
                                            .durable_hint = known_durable(check),
                                            .now = os_wall_now(),
                                            .read_only = true,
                                            .random = random_bytes};
    mr_err err = journal_open(&os_files_system, &options, &check->journal, NULL);
    if (mr_is_err(err)) {
        return unreadable(check, "the journal", err);
    }
    if (!check->is_there[FOLDER_ARCHIVE]) {
        return CLI_OK;
    }
    const struct archive_options archive_options = {.files = &os_files_system,
                                                    .dir = check->paths[FOLDER_ARCHIVE],
                                                    .store_id = journal_store_id(check->journal)};
    err = archive_open(&archive_options, &check->archive);
    return mr_is_err(err) ? unreadable(check, "the archive", err) : CLI_OK;
}

static int recount(struct check *check) {
    const struct recount_options options = {
        .journal = check->journal,
        .files = &os_files_system,
        .checkpoint_dir =
            check->is_there[FOLDER_CHECKPOINTS] ? check->paths[FOLDER_CHECKPOINTS] : NULL,
        .archive = check->archive,
        .dedupe_dir = check->is_there[FOLDER_DEDUPE] ? check->paths[FOLDER_DEDUPE] : NULL,
        .on_finding = on_finding,
        .on_audit = on_audit,
        .on_progress = on_progress,
        .ctx = check};
    mr_err err = recount_run(&options, &check->result);
    check->has_gap = mr_err_is(err, LEDGER_E_GAP);
    if (mr_is_err(err) && !check->has_gap) {
        return unreadable(check, "the journal", err);
    }
    return CLI_OK;
}

static int check_control(struct check *check) {
    mr_err err = control_check(check->control, on_control_finding, check);
    if (mr_is_err(err)) {
        return unreadable(check, "control.db", err);
    }
    if (check->findings > 0) {
        return CLI_OK; /* what SQLite cannot read tells nothing of the chain */
    }
    err = audit_check_open(check->control, &check->audit);
    if (mr_is_ok(err)) {
        err = audit_check_chain(check->audit, on_audit_finding, check, &check->audit_rows);
    }
    return mr_is_err(err) ? unreadable(check, "the audit log", err) : CLI_OK;
}

/* After the recount, which names the heads. */
static void check_heads(struct check *check) {
    if (check->audit != NULL) {
        audit_check_heads(check->audit, on_audit_finding, check);
    } else if (check->audit_heads > 0 && !check->has_control) {
        on_audit_finding(check, "which holds the audit log that the journal names, is missing");
    }
}

/* ---- output ---- */

static void print_result(const struct check *check) {
    const struct recount_result *result = &check->result;
    if (check->findings > FINDINGS_LISTED) {
        printf("… and %llu more\n", (unsigned long long)(check->findings - FINDINGS_LISTED));
    }
    if (check->has_gap) {
        printf("the beginning of the journal was removed and it holds no totals to count from: "
               "checksums were verified, deliveries were not counted\n");
    }
    if (result->not_compared > 0) {
        printf(
            "a record cannot be read: %llu totals or checkpoints after it speak of more than can "
            "be counted, and were not compared\n",
            (unsigned long long)result->not_compared);
    }
    const struct record_counters *totals = &result->totals;
    printf("%llu records, %llu events, %llu destinations; deliveries: %llu created, %llu pending, "
           "%llu delivered, %llu dead, %llu discarded; compared with %llu totals and %llu "
           "checkpoints\n",
           (unsigned long long)result->records, (unsigned long long)result->events,
           (unsigned long long)result->destinations, (unsigned long long)totals->created,
           (unsigned long long)totals->pending, (unsigned long long)totals->delivered,
           (unsigned long long)totals->dead, (unsigned long long)totals->discarded,
           (unsigned long long)result->totals_compared,
           (unsigned long long)result->checkpoints_compared);
    const struct record_counters *callbacks = &result->callbacks;
    printf("callbacks: %llu created, %llu pending, %llu delivered, %llu failed\n",
           (unsigned long long)callbacks->created, (unsigned long long)callbacks->pending,
           (unsigned long long)callbacks->delivered, (unsigned long long)callbacks->dead);
    printf("%llu rows of the audit log, compared with %llu heads in the journal\n",
           (unsigned long long)check->audit_rows, (unsigned long long)check->audit_heads);
    printf("%s\n", check->findings == 0 && !check->has_gap ? "sound" : "not sound");
}

static int print_json(const struct check *check) {
    const struct recount_result *result = &check->result;
    mr_buf text;
    json_out out;
    mr_buf_init(&text, OUTPUT_MAX * 2);
    json_out_init(&out, &text);
    json_out_object(&out);
    json_out_member_bool(&out, "sound", check->findings == 0 && !check->has_gap);
    json_out_member_bool(&out, "counted", !check->has_gap);
    json_out_member_u64(&out, "n_findings", check->findings);
    json_out_name(&out, MR_STR("findings"));
    json_out_array(&out);
    if (check->list.len > 0) {
        json_out_raw(&out, mr_buf_view(&check->list));
    }
    json_out_end(&out);
    json_out_member_u64(&out, "records", result->records);
    json_out_member_u64(&out, "events", result->events);
    json_out_member_u64(&out, "destinations", result->destinations);
    json_out_member_u64(&out, "totals_compared", result->totals_compared);
    json_out_member_u64(&out, "checkpoints_compared", result->checkpoints_compared);
    json_out_member_u64(&out, "not_compared", result->not_compared);
    json_out_member_u64(&out, "audit_rows", check->audit_rows);
    json_out_member_u64(&out, "audit_heads_compared", check->audit_heads);
    json_out_member_object(&out, "deliveries");
    json_out_member_u64(&out, "created", result->totals.created);
    json_out_member_u64(&out, "pending", result->totals.pending);
    json_out_member_u64(&out, "delivered", result->totals.delivered);
    json_out_member_u64(&out, "dead", result->totals.dead);
    json_out_member_u64(&out, "discarded", result->totals.discarded);
    json_out_member_u64(&out, "skipped", result->totals.skipped);
    json_out_member_u64(&out, "failed_attempts", result->totals.failed_attempts);
    json_out_end(&out);
    json_out_member_object(&out, "callbacks");
    json_out_member_u64(&out, "created", result->callbacks.created);
    json_out_member_u64(&out, "pending", result->callbacks.pending);
    json_out_member_u64(&out, "delivered", result->callbacks.delivered);
    json_out_member_u64(&out, "failed", result->callbacks.dead);
    json_out_member_u64(&out, "failed_attempts", result->callbacks.failed_attempts);
    json_out_end(&out);
    json_out_end(&out);
    bool ok = mr_is_ok(json_out_finish(&out)) && mr_is_ok(mr_buf_byte(&text, '\n'));
    if (ok) {
        cli_print(mr_buf_view(&text));
    } else {
        cli_problem("could not print the result: out of memory");
    }
    mr_buf_done(&text);
    return ok ? CLI_OK : CLI_USAGE;
}

static int run(struct check *check) {
    int code = look(check);
    code = code == CLI_OK ? lock_folder(check) : code;
    if (code == CLI_OK && check->has_control) {
        code = check_control(check);
    }
    if (code == CLI_OK && check->is_there[FOLDER_JOURNAL]) {
        code = open_stores(check);
        code = code == CLI_OK ? recount(check) : code;
        check_heads(check);
    }
    if (code != CLI_OK) {
        return code;
    }
    if (check->as_json) {
        code = print_json(check);
    } else {
        print_result(check);
    }
    return code == CLI_OK && (check->has_gap || check->findings > 0) ? CLI_NO : code;
}

int cli_check(int argc, char **argv) {
    struct cli_option options[] = {{.name = "data"}, {.name = "json", .is_flag = true}};
    const char *args[1];
    size_t n;
    if (!cli_options(argc, argv, options, 2, args, 0, &n, "check")) {
        return CLI_USAGE;
    }
    if (options[0].value == NULL) {
        return cli_usage_error("check", "--data is needed");
    }
    struct check *check = MR_NEW(struct check);
    if (check == NULL) {
        cli_problem("could not check: out of memory");
        return CLI_USAGE;
    }
    check->data = options[0].value;
    check->as_json = options[1].is_given;
    check->lock = OS_FILE_NONE;
    check->told = os_mono_now();
    mr_buf_init(&check->list, OUTPUT_MAX);
    int code = run(check);
    audit_check_close(check->audit);
    archive_close(check->archive);
    journal_close(check->journal);
    if (check->lock.handle >= 0) {
        os_files_system.close(os_files_system.ctx, check->lock);
    }
    mr_buf_done(&check->list);
    mr_free(check);
    return code;
}
