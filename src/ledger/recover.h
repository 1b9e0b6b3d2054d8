/* Start-up: from the files of a store to a book that knows all that is durable, a filled memory of
 * ids, and the records that recovery itself must append. Used before the threads run. */
#ifndef MR_LEDGER_RECOVER_H
#define MR_LEDGER_RECOVER_H

#include "journal/journal.h"
#include "ledger/book.h"
#include "ledger/dedupe.h"

/* Where damage found by journal_open is gathered: give ledger_damage_add as on_damage with this as
 * its context. Zero it. */
struct ledger_damage {
    struct journal_damage *items; /* owned */
    size_t n, capacity;
    bool out_of_memory;
};
void ledger_damage_add(void *ctx, const struct journal_damage *damage);
void ledger_damage_done(struct ledger_damage *damage);

/* Before journal_open: loads the newest sound checkpoint, or makes an empty book where there is
 * none. ret_pos: for journal_options.replay_from and durable_hint. The store id is not known before
 * the journal is open: it is checked by ledger_recover. Errors as book_load. */
mr_err ledger_load(const struct book_options *options, const struct os_files *files,
                   const char *checkpoint_dir, struct book **ret_book, uint64_t *ret_pos);

struct ledger_recovered {
    uint64_t records;            /* folded in after the checkpoint */
    uint64_t events;             /* given to the memory of ids */
    uint64_t unreadable_records; /* of an unknown or newer form: reported */
};
/* After journal_open: folds in the journal from the book's position to its durable end, and gives
 * EVENT records from dedupe_replay_from on to the dedupe (NULL: none). Damage found is told to the
 * book. Blocks. LEDGER_E_GAP: the journal begins behind the book; LEDGER_E_FOREIGN: the checkpoint
 * is of another store. */
mr_err ledger_recover(struct book *book, struct journal *journal, struct dedupe *dedupe,
                      const struct ledger_damage *damage, const mr_log *log,
                      struct ledger_recovered *ret_recovered);
/* True where the journal still begins with the store's beginning. */
bool ledger_journal_is_whole(struct journal *journal);
/* The records that recovery calls for (dead letters of what cannot be read) as units to be handed
 * to the writer one after another before anything is served: fills body and returns its length;
 * apply is done by this call. MR_E_NOT_FOUND: no more. */
mr_err ledger_recover_next(struct book *book, int64_t wall_ms,
                           void (*random)(void *ctx, void *out, size_t n), void *random_ctx,
                           uint8_t *body, size_t size, size_t *ret_len);

#endif
