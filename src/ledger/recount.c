/* The independent recount. See recount.h.
 *
 * Two passes over the journal. The first checks every checksum, counts, and notes where the sets of
 * TOTALS stand. The second counts deliveries: from the store's beginning, or, where the beginning
 * was removed, from the oldest full set (recount/count.c, recount/tallies.c). On the way, at the
 * position that a set or a checkpoint speaks of, both are compared (recount/compare.c). */
#include "ledger/recount.h"

#include "base/mem.h"
#include "journal/reader.h"
#include "ledger/dedupe.h"
#include "ledger/recount/parts.h"
#include "ledger/recover.h"

#include <stdio.h>
#include <stdlib.h>

#define SCRATCH_MAX    (16U * 1024 * 1024 + 4096)
#define PROGRESS_EVERY 65536U

const char *recount_finding_name(enum recount_finding_kind kind) {
    static const char *const names[] = {"damage",     "record",  "law",    "totals",
                                        "checkpoint", "archive", "dedupe", "missing"};
    return (size_t)kind < sizeof names / sizeof names[0] ? names[kind] : "unknown";
}

void recount_found(struct recount *recount, const struct recount_finding *finding) {
    recount->result.findings++;
    if (recount->options->on_finding != NULL) {
        recount->options->on_finding(recount->options->ctx, finding);
    }
}

static void progress(const struct recount *recount, uint64_t pass, uint64_t pos) {
    if (recount->options->on_progress != NULL) {
        uint64_t all = recount->end - recount->start;
        recount->options->on_progress(recount->options->ctx, pass * all + (pos - recount->start),
                                      2 * all);
    }
}

static void tell_damage(struct recount *recount, const struct journal_damage *damage) {
    struct recount_finding finding = {
        .kind = RECOUNT_DAMAGE, .pos = damage->pos, .offset = damage->offset, .what = "checksum"};
    _Static_assert(sizeof finding.file >= sizeof damage->segment, "the name fits");
    memcpy(finding.file, damage->segment, sizeof damage->segment);
    recount_found(recount, &finding);
}

static mr_err note(struct recount *recount, const struct journal_record *record) {
    struct record_totals totals;
    mr_str entries;
    if (mr_is_err(record_totals_decode(record->body, &totals, &entries))) {
        return MR_OK; /* told by the second pass */
    }
    if (recount->n_noted == recount->noted_capacity) {
        size_t capacity = recount->noted_capacity * 2 + 64;
        struct noted *noted = mr_realloc(recount->noted, capacity * sizeof *noted);
        if (noted == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        recount->noted = noted;
        recount->noted_capacity = capacity;
    }
    recount->noted[recount->n_noted] =
        (struct noted){.as_of = totals.as_of, .pos = record->pos, .flags = totals.flags};
    recount->n_noted++;
    return MR_OK;
}

/* One that cannot be read is told by the second pass. */
static void tell_audit(struct recount *recount, const struct journal_record *record) {
    struct record_audit audit;
    if (recount->options->on_audit != NULL && mr_is_ok(record_audit_decode(record->body, &audit))) {
        recount->options->on_audit(recount->options->ctx, record->pos, &audit);
    }
}

static mr_err first_record(struct recount *recount, const struct journal_record *record) {
    struct record_totals totals;
    mr_str entries;
    recount->result.records++;
    if (record->type == RECORD_AUDIT) {
        tell_audit(recount, record);
    }
    if (record->type != RECORD_TOTALS) {
        return MR_OK;
    }
    bool is_bad = mr_is_err(record_totals_decode(record->body, &totals, &entries));
    if (is_bad) {
        recount_found(recount, &(struct recount_finding){
                                   .kind = RECOUNT_RECORD, .pos = record->pos, .what = "totals"});
        return MR_OK;
    }
    return note(recount, record);
}

static mr_err second_record(struct recount *recount, const struct journal_record *record) {
    MR_TRY(recount_compare_at(recount, record->pos));
    mr_err err = recount_count(recount, record);
    if (mr_err_is(err, LEDGER_E_RECORD) || mr_err_is(err, LEDGER_E_NEWER)) {
        recount_found(recount, &(struct recount_finding){.kind = RECOUNT_RECORD,
                                                         .pos = record->pos,
                                                         .what = record_type_name(record->type)});
        return recount_doubt(recount, record->pos);
    }
    return err;
}

static mr_err walk(struct recount *recount, uint64_t from, unsigned pass) {
    struct journal_iter iter;
    struct journal_item item;
    mr_err err;
    uint64_t n = 0;
    journal_iter_init(&iter, recount->options->journal, from);
    for (;;) {
        err = journal_iter_next(&iter, recount->end, &item);
        if (mr_is_err(err) || item.kind == JOURNAL_ITEM_END) {
            break;
        }
        if (item.kind == JOURNAL_ITEM_DAMAGE) {
            if (pass == 0) {
                tell_damage(recount, &item.damage);
            } else {
                err = recount_doubt(recount, item.damage.pos);
            }
            if (mr_is_err(err)) {
                break;
            }
            continue;
        }
        err =
            pass == 0 ? first_record(recount, &item.record) : second_record(recount, &item.record);
        if (mr_is_err(err)) {
            break;
        }
        if (++n % PROGRESS_EVERY == 0) {
            progress(recount, pass, item.record.pos);
        }
    }
    journal_iter_done(&iter);
    return err;
}

static mr_err find_base(struct recount *recount) {
    if (ledger_journal_is_whole(recount->options->journal)) {
        return MR_OK;
    }
    for (size_t at = 0; at < recount->n_noted;) {
        size_t end;
        bool is_complete = recount_find_totals(recount, at, &end);
        if (is_complete && (recount->noted[at].flags & RECORD_TOTALS_FULL) != 0 &&
            recount->noted[at].as_of >= recount->start) {
            recount->result.base_pos = recount->noted[at].as_of;
            return recount_take_base(recount, at, end);
        }
        at = end;
    }
    return MR_ERR(LEDGER_E_GAP);
}

/* --- the end
 * -------------------------------------------------------------------------------------- */

static void check_law(struct recount *recount) {
    for (size_t i = 0; i < recount->tallies_size; i++) {
        const struct tally *at = &recount->tallies[i];
        const struct record_counters *c = &at->counters;
        if (!at->is_used) {
            continue;
        }
        bool is_callbacks = RECORD_IS_CALLBACKS(at->destination);
        struct record_counters *sum =
            is_callbacks ? &recount->result.callbacks : &recount->result.totals;
        recount->result.destinations += !is_callbacks;
        sum->created += c->created;
        sum->pending += c->pending;
        sum->delivered += c->delivered;
        sum->dead += c->dead;
        sum->discarded += c->discarded;
        sum->skipped += c->skipped;
        sum->failed_attempts += c->failed_attempts;
        if (c->created != c->pending + c->delivered + c->dead + c->discarded) {
            recount_found(recount, &(struct recount_finding){.kind = RECOUNT_LAW,
                                                             .destination = at->destination,
                                                             .what = "created",
                                                             .found = c->created,
                                                             .expected = c->pending + c->delivered +
                                                                         c->dead + c->discarded});
        }
    }
    uint64_t pending = recount->result.totals.pending + recount->result.callbacks.pending;
    if (recount->n_set != pending) {
        recount_found(recount, &(struct recount_finding){.kind = RECOUNT_LAW,
                                                         .what = "pending",
                                                         .found = pending,
                                                         .expected = recount->n_set});
    }
}

/* Open callbacks lie in the checkpoints, whole: their records may be gone. */
static void check_present(struct recount *recount) {
    for (size_t i = 0; i < recount->set_size; i++) {
        const struct open *key = &recount->set[i];
        if (key->pos != 0 && key->pos < recount->start && !RECORD_IS_CALLBACKS(key->destination) &&
            (recount->options->archive == NULL ||
             !archive_has(recount->options->archive, key->pos))) {
            recount_found(recount, &(struct recount_finding){.kind = RECOUNT_MISSING,
                                                             .pos = key->pos,
                                                             .destination = key->destination,
                                                             .what = "event"});
        }
    }
}

static void on_archive_damage(void *ctx, uint64_t pos, const char *file, uint64_t offset) {
    struct recount_finding finding = {
        .kind = RECOUNT_ARCHIVE, .pos = pos, .offset = offset, .what = "checksum"};
    (void)snprintf(finding.file, sizeof finding.file, "%s", file);
    recount_found(ctx, &finding);
}

static void tell_file(struct recount *recount, enum recount_finding_kind kind, const char *file) {
    struct recount_finding finding = {.kind = kind, .what = "checksum"};
    (void)snprintf(finding.file, sizeof finding.file, "%s", file);
    recount_found(recount, &finding);
}

static void on_checkpoint_damage(void *ctx, const char *file) {
    tell_file(ctx, RECOUNT_CHECKPOINT, file);
}

static void on_dedupe_damage(void *ctx, const char *file) {
    tell_file(ctx, RECOUNT_DEDUPE, file);
}

/* Files that are good or bad as a whole. */
static mr_err check_files(struct recount *recount) {
    const struct recount_options *options = recount->options;
    const uint8_t *store_id = journal_store_id(options->journal);
    if (options->checkpoint_dir != NULL) {
        MR_TRY(book_verify(options->files, options->checkpoint_dir, store_id, on_checkpoint_damage,
                           recount));
    }
    return options->dedupe_dir == NULL ? MR_OK
                                       : dedupe_verify(options->files, options->dedupe_dir,
                                                       store_id, on_dedupe_damage, recount);
}

static mr_err run(struct recount *recount) {
    const struct recount_options *options = recount->options;
    MR_TRY(walk(recount, 0, 0));
    MR_TRY(check_files(recount));
    if (options->archive != NULL) {
        uint64_t entries;
        MR_TRY(archive_verify(options->archive, on_archive_damage, recount, &entries));
    }
    MR_TRY(find_base(recount));
    MR_TRY(walk(recount, recount->result.base_pos, 1));
    MR_TRY(recount_compare_at(recount, recount->end));
    check_law(recount);
    check_present(recount);
    return MR_OK;
}

/* The newest sound checkpoint on disk; what is damaged is told by check_files. */
static mr_err load_checkpoint(struct recount *recount, struct book **ret_book) {
    const struct recount_options *options = recount->options;
    struct book_options book_options = {0};
    struct book_loaded loaded = {0};
    mr_err err = book_load(&book_options, options->files, options->checkpoint_dir,
                           journal_store_id(options->journal), ret_book, &loaded);
    bool is_none = mr_err_is(err, MR_E_NOT_FOUND) || mr_err_is(err, LEDGER_E_CORRUPT);
    return is_none ? MR_OK : err;
}

mr_err recount_run(const struct recount_options *options, struct recount_result *ret_result) {
    struct recount recount = {.options = options,
                              .book = options->book,
                              .start = journal_start(options->journal),
                              .end = journal_durable(options->journal)};
    struct book *loaded = NULL;
    mr_buf_init(&recount.scratch, SCRATCH_MAX);
    mr_err err = MR_OK;
    if (recount.book == NULL && options->checkpoint_dir != NULL) {
        err = load_checkpoint(&recount, &loaded);
        recount.book = loaded;
    }
    if (recount.book != NULL && options->on_audit != NULL &&
        book_audit(recount.book)->number != 0) {
        options->on_audit(options->ctx, book_position(recount.book), book_audit(recount.book));
    }
    if (mr_is_ok(err)) {
        err = run(&recount);
    }
    book_free(loaded);
    mr_buf_done(&recount.scratch);
    recount_forget(&recount);
    mr_free(recount.noted);
    *ret_result = recount.result;
    return err;
}
