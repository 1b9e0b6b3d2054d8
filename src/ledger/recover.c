/* Start-up. See recover.h.
 *
 * One pass over the journal from the lower of two places: where the checkpoint ends, and where the
 * files of ids end. Each record goes to whom it concerns. Damage that journal_open found is told to
 * the book before its dead letters are asked for; damage met only now (in segments older than where
 * journal_open looked) likewise. */
#include "ledger/recover.h"

#include "base/mem.h"
#include "journal/format.h"
#include "journal/reader.h"
#include "ledger/book/parts.h"

void ledger_damage_add(void *ctx, const struct journal_damage *damage) {
    struct ledger_damage *all = ctx;
    if (all->n == all->capacity) {
        size_t capacity = all->capacity * 2 + 8;
        struct journal_damage *items = mr_realloc(all->items, capacity * sizeof *items);
        if (items == NULL) {
            all->out_of_memory = true;
            return;
        }
        all->items = items;
        all->capacity = capacity;
    }
    all->items[all->n] = *damage;
    all->n++;
}

void ledger_damage_done(struct ledger_damage *damage) {
    mr_free(damage->items);
    *damage = (struct ledger_damage){0};
}

mr_err ledger_load(const struct book_options *options, const struct os_files *files,
                   const char *checkpoint_dir, struct book **ret_book, uint64_t *ret_pos) {
    struct book_loaded loaded;
    mr_err err = book_load(options, files, checkpoint_dir, NULL, ret_book, &loaded);
    if (mr_err_is(err, MR_E_NOT_FOUND)) {
        MR_TRY(book_new(options, ret_book));
        *ret_pos = 0;
        return MR_OK;
    }
    MR_TRY(err);
    *ret_pos = loaded.pos;
    return MR_OK;
}

static mr_err fold_record(struct book *book, struct dedupe *dedupe,
                          const struct journal_record *record, struct ledger_recovered *recovered) {
    if (dedupe != NULL && record->type == RECORD_EVENT &&
        record->pos >= dedupe_replay_from(dedupe)) {
        mr_err err = dedupe_replay(dedupe, record->pos, record->body);
        if (mr_is_err(err) && !mr_err_is(err, LEDGER_E_RECORD) && !mr_err_is(err, LEDGER_E_NEWER)) {
            return err;
        }
        recovered->events += mr_is_ok(err);
    }
    if (record->pos < book_position(book)) {
        return MR_OK;
    }
    mr_err err = book_apply(book, record->pos, record->next_pos, record->type, record->body);
    if (mr_err_is(err, LEDGER_E_RECORD) || mr_err_is(err, LEDGER_E_NEWER)) {
        recovered->unreadable_records++;
        return MR_OK;
    }
    MR_TRY(err);
    recovered->records++;
    return MR_OK;
}

static mr_err fold_all(struct book *book, struct journal *journal, struct dedupe *dedupe,
                       uint64_t from, struct ledger_recovered *recovered) {
    struct journal_iter iter;
    uint64_t end = journal_durable(journal);
    mr_err err = MR_OK;
    journal_iter_init(&iter, journal, from);
    for (;;) {
        struct journal_item item;
        err = journal_iter_next(&iter, end, &item);
        if (mr_is_err(err) || item.kind == JOURNAL_ITEM_END) {
            break;
        }
        err = item.kind == JOURNAL_ITEM_RECORD
                  ? fold_record(book, dedupe, &item.record, recovered)
                  : book_damage(book, item.damage.pos, item.damage.end_pos);
        if (mr_is_err(err)) {
            break;
        }
    }
    journal_iter_done(&iter);
    MR_TRY(err);
    book_advance(book, end);
    return MR_OK;
}

bool ledger_journal_is_whole(struct journal *journal) {
    return journal_start(journal) <= FORMAT_FIRST_POS;
}

mr_err ledger_recover(struct book *book, struct journal *journal, struct dedupe *dedupe,
                      const struct ledger_damage *damage, const mr_log *log,
                      struct ledger_recovered *ret_recovered) {
    const uint8_t *store_id = book_store_id(book);
    if (store_id != NULL && memcmp(store_id, journal_store_id(journal), 16) != 0) {
        return MR_ERR(LEDGER_E_FOREIGN);
    }
    uint64_t start = journal_start(journal);
    uint64_t from = book_position(book);
    if (start > from && !ledger_journal_is_whole(journal)) {
        mr_error(log, "journal_begins_late", mr_kv_i64("start", (int64_t)start),
                 mr_kv_i64("needed", (int64_t)from));
        return MR_ERR(LEDGER_E_GAP);
    }
    if (damage != NULL && damage->out_of_memory) {
        return MR_ERR(MR_E_NOMEM);
    }
    for (size_t i = 0; damage != NULL && i < damage->n; i++) {
        MR_TRY(book_damage(book, damage->items[i].pos, damage->items[i].end_pos));
    }
    if (dedupe != NULL && dedupe_replay_from(dedupe) < from) {
        from = dedupe_replay_from(dedupe);
    }
    struct ledger_recovered recovered = {0};
    MR_TRY(fold_all(book, journal, dedupe, from < start ? start : from, &recovered));
    mr_info(log, "ledger_recovered", mr_kv_i64("records", (int64_t)recovered.records),
            mr_kv_i64("events", (int64_t)recovered.events),
            mr_kv_i64("pos", (int64_t)book_position(book)));
    *ret_recovered = recovered;
    return MR_OK;
}

mr_err ledger_recover_next(struct book *book, int64_t wall_ms,
                           void (*random)(void *ctx, void *out, size_t n), void *random_ctx,
                           uint8_t *body, size_t size, size_t *ret_len) {
    size_t len;
    MR_TRY(book_unreadable_next(book, wall_ms, random, random_ctx, body, size, &len));
    mr_err err = book_fold(book, 0, RECORD_DEAD, (mr_str){(const char *)body, len});
    MR_ASSERT(mr_is_ok(err) || mr_err_is(err, MR_E_NOMEM));
    MR_TRY(err);
    *ret_len = len;
    return MR_OK;
}
