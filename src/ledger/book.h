/* The book: the state that the records of a journal add up to: what is owed to each destination,
 * which requests are open, the dead letters, the counters. Folding the same records always gives
 * the same book; a checkpoint is a book written down. One thread at a time.
 *
 * Invariant, for each destination after each record:
 *     created = pending + delivered + dead + discarded
 *     pending = deliveries waiting (never attempted) + those in open requests */
#ifndef MR_LEDGER_BOOK_H
#define MR_LEDGER_BOOK_H

#include "base/log.h"
#include "ledger/record.h"
#include "os/files.h"

struct book;

#define BOOK_DEAD_LETTERS_MAX 500000U

struct book_options {
    uint32_t dead_letters_max; /* 0: BOOK_DEAD_LETTERS_MAX; beyond it book_dead_over names the
                                  oldest of those who hold most, to be expired */
    const mr_log *log;         /* records that cannot be read */
};

mr_err book_new(const struct book_options *options, struct book **ret_book);
/* NULL is fine. */
void book_free(struct book *book);

/* Folds one record in. Records come in order, each once. LEDGER_E_RECORD, LEDGER_E_NEWER: the body
 * cannot be read, nothing changed but the position. MR_E_NOMEM: the book is broken: free it and
 * load it again (every later call gives the same). */
mr_err book_apply(struct book *book, uint64_t pos, uint64_t next_pos, uint8_t type, mr_str body);
/* All below this is folded in; the place to go on reading. 0: nothing yet. */
uint64_t book_position(const struct book *book);
/* Reading came to `pos` (≥ book_position) without further records. */
void book_advance(struct book *book, uint64_t pos);
/* Recovery met damage: deliveries of events that stood in [pos, end_pos) cannot be made. Also
 * advances to end_pos where the book stands before it. MR_E_NOMEM as with apply. */
mr_err book_damage(struct book *book, uint64_t pos, uint64_t end_pos);
/* The DEAD records (reason unreadable) that the damage calls for, one at a time: a destination and
 * origin each, at most BOOK_UNREADABLE_MAX deliveries. They are to be appended; applying them
 * ends those deliveries, so ask again until MR_E_NOT_FOUND. Ids are made of wall_ms and random().
 */
#define BOOK_UNREADABLE_MAX 256U
mr_err book_unreadable_next(struct book *book, int64_t wall_ms,
                            void (*random)(void *ctx, void *out, size_t n), void *random_ctx,
                            uint8_t *out, size_t size, size_t *ret_len);

/* --- keys: (type, version) as small numbers ------------------------------------------------------
 */

struct book_key {
    mr_str type; /* as in envelopes; lives as long as the book */
    uint16_t version;
};
/* Keys are numbered 0 … n − 1 in the order met. */
uint32_t book_n_keys(const struct book *book);
struct book_key book_key(const struct book *book, uint32_t key);

/* --- what is owed: for handing over to lanes, for retention -------------------------------------
 */

/* A delivery never attempted. */
struct book_waiting {
    uint64_t pos;
    int64_t accepted_ms; /* wall */
    uint32_t size;       /* bytes of the envelope */
    uint32_t key;
    uint32_t origin;
};
/* A request that was attempted and is not over. */
struct book_request {
    uint32_t destination;
    uint32_t origin;
    uint32_t key; /* of its first position */
    uint32_t form;
    uint32_t attempt; /* spent */
    uint32_t n;
    uint32_t bytes; /* sum of the sizes */
    uint16_t last_status;
    uint8_t last_reason;
    bool is_part;
    int64_t due_ms, first_ms;  /* wall */
    const uint64_t *positions; /* n, in the order of the request */
};
/* The key of its i-th position; `request` is one that the book gave. */
uint32_t book_request_key(const struct book_request *request, uint32_t i);
struct book_destination {
    uint32_t number;
    uint32_t account; /* of its events */
    struct record_counters counters;
    uint64_t waiting; /* of pending: never attempted */
    uint64_t waiting_bytes;
    uint32_t open_requests;
    uint32_t dead_letters;          /* still in the list */
    int64_t singles_until_ms;       /* wall; 0: no */
    int64_t failing_since_ms;       /* first failure since the last success; 0: none */
    int64_t gap_from_ms, gap_to_ms; /* accepted times of the first and last event skipped … */
    uint64_t gap_events;            /* … since a delivery was last created */
    int64_t last_delivered_ms;
};
/* MR_E_NOT_FOUND: no record named it yet. */
mr_err book_destination_get(const struct book *book, uint32_t number,
                            struct book_destination *ret_destination);
/* Sums over all. */
void book_totals(const struct book *book, struct record_counters *ret_counters);
/* Calls each for all destinations met, in the order met; stops at the first error, returned. */
mr_err book_each_destination(const struct book *book,
                             mr_err (*each)(void *ctx, const struct book_destination *destination),
                             void *ctx);
/* The waiting deliveries of a destination with from ≤ position < to: by origin in order met, within
 * an origin by position. Must not change the book. Stops at the first error, returned. */
mr_err book_each_waiting(const struct book *book, uint32_t destination, uint64_t from, uint64_t to,
                         mr_err (*each)(void *ctx, const struct book_waiting *waiting), void *ctx);
/* The open requests of a destination, oldest first. */
mr_err book_each_request(const struct book *book, uint32_t destination,
                         mr_err (*each)(void *ctx, const struct book_request *request), void *ctx);
/* All that still needs the event records before `pos`: waiting, in open requests, dead letters with
 * content. Each with its size; positions may repeat. */
enum book_need { BOOK_NEED_PENDING = 0, BOOK_NEED_LETTER };
mr_err book_each_needed(const struct book *book, uint64_t pos,
                        mr_err (*each)(void *ctx, uint32_t destination, uint32_t origin,
                                       uint64_t event_pos, uint32_t size, enum book_need need),
                        void *ctx);
/* No pending delivery is of an event before this position. O(destinations + open requests). */
uint64_t book_pending_from(const struct book *book);
/* A number for a new redrive or replay job: above all met. */
uint32_t book_next_origin(const struct book *book);

/* --- dead letters -------------------------------------------------------------------------------
 */

struct book_letter {
    struct record_letter_id id;
    uint64_t pos;
    int64_t accepted_ms; /* of the event; 0: unknown */
    int64_t first_ms, last_ms;
    uint32_t destination;
    uint32_t account;
    uint32_t origin;
    uint32_t key; /* BOOK_KEY_NONE: unknown */
    uint32_t size;
    uint32_t attempts;
    uint16_t last_status;
    uint8_t reason;
    bool has_payload;
};
#define BOOK_KEY_NONE UINT32_MAX
/* Zero members do not restrict (reason: RECORD_REASON_NONE; to_ms: INT64_MAX or 0). */
struct book_letter_filter {
    const uint32_t *account;     /* NULL: any */
    const uint32_t *destination; /* NULL: any */
    uint8_t reason;
    mr_str type;            /* absent: any */
    int64_t from_ms, to_ms; /* created in [from, to) */
};
mr_err book_letter_find(const struct book *book, const struct record_letter_id *id,
                        struct book_letter *ret_letter);
/* Those that match, newest first, which is by falling id: the first n_max behind the letter of
 * `behind` (NULL: from the newest), which need not be there any more, and behind `skip` more.
 * *ret_total: all that match; *ret_more: some follow behind the last one given. MR_E_NOMEM. */
struct book_letter_page {
    const struct record_letter_id *behind;
    uint64_t skip;
};
mr_err book_letters_list(const struct book *book, const struct book_letter_filter *filter,
                         struct book_letter_page page, struct book_letter *out, size_t n_max,
                         size_t *ret_n, uint64_t *ret_total, bool *ret_more);
/* Those that match and have their content, oldest first: up to n_max into out (may be NULL where
 * n_max is 0); returns how many there are in all. */
uint64_t book_letters_ready(const struct book *book, const struct book_letter_filter *filter,
                            struct book_letter *out, size_t n_max);
/* Oldest first, those created before that time: ids to expire. */
size_t book_letters_older(const struct book *book, int64_t created_before_ms,
                          struct record_letter_id *out, size_t n_max);
/* The oldest letters of that destination (UINT32_MAX: any), oldest first. */
size_t book_letters_oldest(const struct book *book, uint32_t destination,
                           struct record_letter_id *out, size_t n_max);
/* Likewise, but only those whose content is kept and stands before `pos`. */
size_t book_letters_holding(const struct book *book, uint32_t destination, uint64_t pos,
                            struct record_letter_id *out, size_t n_max);
/* Letters in the list. */
uint64_t book_n_letters(const struct book *book);
/* How many letters are over the bound (0: none), and who holds most. */
uint64_t book_letters_over(const struct book *book, uint32_t *ret_destination);

/* --- callbacks ----------------------------------------------------------------------------------
 */

/* Open callbacks lie in the book whole, so that retention need not know of them; of those that are
 * over the newest are kept, without their bodies: so many of an account, so many in all, and none
 * longer than that after it was over (seen when another one ends). */
#define BOOK_CALLBACKS_KEPT_ACCOUNT 1000U
#define BOOK_CALLBACKS_KEPT         20000U
#define BOOK_CALLBACKS_KEPT_MS      (INT64_C(7) * 24 * 3600 * 1000)

enum book_callback_status {
    BOOK_CALLBACK_PENDING = 0,
    BOOK_CALLBACK_DELIVERED,
    BOOK_CALLBACK_FAILED,
};
#define BOOK_CALLBACK_STATUSES 3U
struct book_callback_attempt {
    int64_t at_ms; /* wall */
    uint32_t duration_ms;
    uint16_t status; /* 0: no answer */
    uint8_t reason;
};
struct book_callback {
    struct record_callback record; /* body empty once it is over; texts live as long as it is kept,
                                      and no record is applied */
    uint64_t pos;
    uint8_t status; /* enum book_callback_status */
    uint8_t n_attempts;
    struct book_callback_attempt attempts[RECORD_CALLBACK_ATTEMPTS_MAX];
    int64_t due_ms;      /* wall; of the next attempt where one failed and it is pending; else 0 */
    int64_t finished_ms; /* 0: it is not over */
};
/* Zero members do not restrict. */
struct book_callback_filter {
    uint32_t account;
    const uint8_t *status; /* NULL: any */
    mr_str reference;      /* absent: any */
    int64_t from_ms, to_ms;
};
/* MR_E_NOT_FOUND. */
mr_err book_callback_find(const struct book *book, const struct record_letter_id *id,
                          struct book_callback *ret_callback);
/* As book_letters_list: newest first. */
void book_callbacks_list(const struct book *book, const struct book_callback_filter *filter,
                         uint64_t skip, struct book_callback *out, size_t n_max, size_t *ret_n,
                         uint64_t *ret_total);
/* The pending ones, oldest first. Stops at the first error, returned. */
mr_err book_each_open_callback(const struct book *book,
                               mr_err (*each)(void *ctx, const struct book_callback *callback),
                               void *ctx);
/* Accounts that ever had one, with their counters: dead are those that failed. In the order of
 * their numbers. */
mr_err book_each_callback_account(const struct book *book,
                                  mr_err (*each)(void *ctx, uint32_t account,
                                                 const struct record_counters *counters),
                                  void *ctx);
void book_callback_totals(const struct book *book, struct record_counters *ret_counters);

/* --- on disk ------------------------------------------------------------------------------------
 */

/* Writes a checkpoint into dir: beside, synced, renamed, directory synced; then removes all but the
 * two newest. Blocks. MR_E_IO, MR_E_NO_SPACE: the old ones stay as they are. MR_E_NOMEM. */
mr_err book_save(const struct book *book, const struct os_files *files, const char *dir,
                 const uint8_t store_id[static 16], mr_wall now);
/* Loads the newest checkpoint that is whole; a damaged one is logged and the older one taken.
 * MR_E_NOT_FOUND: there is none at all (a new store: make an empty book); LEDGER_E_CORRUPT: there
 * are some, none whole; LEDGER_E_NEWER: the newest was made by a newer Millrace; LEDGER_E_FOREIGN;
 * MR_E_NOMEM; MR_E_IO. store_id: 16 bytes, or NULL: not checked now (book_store_id gives it). */
struct book_loaded {
    uint64_t pos;     /* book_position of what was loaded */
    uint32_t damaged; /* checkpoints passed over */
    int64_t saved_ms; /* wall */
};
mr_err book_load(const struct book_options *options, const struct os_files *files, const char *dir,
                 const uint8_t *store_id, struct book **ret_book, struct book_loaded *ret_loaded);
/* Checks every checkpoint's checksums (sixteen at most; two are kept), for `check`: each damaged
 * one is told by the name of its file. MR_E_IO, MR_E_NOMEM, LEDGER_E_NEWER, LEDGER_E_FOREIGN.
 * Blocks. */
mr_err book_verify(const struct os_files *files, const char *dir, const uint8_t *store_id,
                   void (*on_damage)(void *ctx, const char *file), void *ctx);
/* Of the checkpoint that the book was loaded from: 16 bytes; NULL: it was not loaded. */
const uint8_t *book_store_id(const struct book *book);
/* Reading must be possible from here after a crash: position of the older of the checkpoints kept;
 * 0 where there are none. */
mr_err book_saved_floor(const struct os_files *files, const char *dir, uint64_t *ret_pos);

/* True where both say the same; else false and, in `why`, the first difference. For tests and for
 * `check`. */
bool book_equal(const struct book *a, const struct book *b, mr_buf *why);
/* Recounts everything and asserts the invariants. O(all). */
void book_assert_valid(const struct book *book);
/* The newest head of the audit log; number 0: none. */
const struct record_audit *book_audit(const struct book *book);
/* Deliveries that records named after they were over. */
uint64_t book_late(const struct book *book);
uint64_t book_memory_bytes(const struct book *book);

#endif
