/* The keeper: the actor that follows the committed journal with a book of its own. It makes
 * checkpoints, spare segments, retention, the archive's copies, the expiry of dead letters, and
 * answers what is asked about counters and dead letters. A thread of low priority; it blocks on the
 * disk.
 *
 * Questions are messages: memory of the asker, posted to the keeper's mailbox, answered into the
 * asker's. Each is answered from a book that has first caught up with what was durable when it was
 * taken up. */
#ifndef MR_LEDGER_KEEPER_H
#define MR_LEDGER_KEEPER_H

#include "journal/journal.h"
#include "journal/unit.h"
#include "ledger/archive.h"
#include "ledger/book.h"
#include "ledger/dedupe.h"
#include "loop/mailbox.h"

struct keeper;

#define KEEPER_CHECKPOINT_BYTES   (UINT64_C(512) * 1024 * 1024)
#define KEEPER_CHECKPOINT_RECORDS UINT64_C(1000000)
#define KEEPER_RETENTION_MS       (INT64_C(7) * 24 * 3600 * 1000)
#define KEEPER_RETENTION_BYTES    (UINT64_C(20) * 1024 * 1024 * 1024)
#define KEEPER_LETTERS_MS         (INT64_C(30) * 24 * 3600 * 1000)
#define KEEPER_STEP_MS            (INT64_C(3600) * 1000) /* a wall-clock step that suspends ages */

/* Everything marked "outlives" must live until keeper_free. */
struct keeper_options {
    const struct os_files *files; /* outlives */
    struct journal *journal;      /* outlives */
    struct dedupe *dedupe;        /* outlives; NULL: none */
    struct archive *archive;      /* outlives; given by the composer, so that others read it too */
    const char *checkpoint_dir;   /* made when absent. Copied. */
    struct book *book;            /* recovered (ledger/recover.h); the keeper owns it from now on */
    /* Hands a unit to the writer (writer_post). The unit is answered into the keeper's mailbox. */
    void (*post)(void *ctx, struct journal_unit *unit);
    void *post_ctx;
    uint64_t reader_mask; /* workers that must see redrives, overflow and discards */
    void (*random)(void *ctx, void *out, size_t n);
    void *random_ctx;
    uint64_t checkpoint_bytes, checkpoint_records; /* 0: as above */
    int64_t retention_ms;                          /* 0: KEEPER_RETENTION_MS; < 0: no limit */
    uint64_t retention_bytes;                      /* 0: KEEPER_RETENTION_BYTES */
    int64_t letters_ms;                            /* 0: KEEPER_LETTERS_MS */
    uint64_t archive_bytes_max;                    /* 0: ARCHIVE_BYTES_MAX */
    uint32_t archive_share_percent;                /* 0: ARCHIVE_SHARE_PERCENT */
    const mr_log *log;
    mr_metrics *metrics; /* of the keeper's thread */
};

mr_err keeper_new(const struct keeper_options *options, struct keeper **ret_keeper);
void keeper_free(struct keeper *keeper);

/* Keeper's thread: drains the mailbox, follows the journal, answers, then does at most one longer
 * piece of upkeep. Returns when to step again at the latest; earlier when something is posted. */
mr_mono keeper_step(struct keeper *keeper, mr_mono now, mr_wall wall);
/* Keeper's thread, after the writer has finished: follows to the durable end, answers what is
 * waiting, and saves a checkpoint. */
mr_err keeper_finish(struct keeper *keeper, mr_mono now, mr_wall wall);
/* Production: lowers its priority, steps until keeper_request_stop, then finishes. arg: keeper. */
void keeper_thread_main(void *arg);
/* Any thread. Ask after writer_finish, so that the last checkpoint holds all. */
void keeper_request_stop(struct keeper *keeper);
struct mailbox *keeper_mailbox(struct keeper *keeper);

/* --- questions ----------------------------------------------------------------------------------
 */

enum keeper_ask {
    KEEPER_ASK_DESTINATION = 0, /* destinations[0 … n): `found` and `rows` are filled */
    KEEPER_ASK_TOTALS,          /* totals, letters, checkpoint */
    KEEPER_ASK_LETTERS,         /* list by filter, behind letter_id (is_behind), skip, n_max */
    KEEPER_ASK_LETTER,          /* letter_id → letters[0] */
    KEEPER_ASK_REDRIVE,        /* the letters of letter_ids, or where n_ids is 0 of filter: journals
                                  ADD records; redriven is how many (dry_run: would be) */
    KEEPER_ASK_DISCARD_BEFORE, /* destinations[0], filter.to_ms: position below which what waits
                                  was accepted before that time → position */
    KEEPER_ASK_CHECKPOINT,     /* make one now */
    KEEPER_ASK_CALLBACK,       /* letter_id → callbacks[0] of callback_filter.account */
    KEEPER_ASK_CALLBACKS,      /* list by callback_filter, skip, n_max */
};

/* Memory of the asker; belongs to the keeper between keeper_ask and on_done. */
struct keeper_query {
    struct mail mail; /* first */
    enum keeper_ask ask;
    struct mailbox *reply;
    void (*on_done)(struct mail *mail); /* in the thread of `reply` */
    void *user;
    /* given; all memory behind pointers is the asker's and stays valid until on_done */
    const uint32_t *destinations;
    struct book_destination *rows; /* n; a destination never met gets zeros */
    size_t n;
    struct book_letter_filter filter;
    struct record_letter_id letter_id;
    const struct record_letter_id *letter_ids;
    size_t n_ids;
    uint64_t skip;
    bool is_behind; /* LETTERS: those behind letter_id, which need not be there any more */
    struct book_letter *letters; /* n_max */
    size_t n_max;
    mr_buf *type_text; /* LETTERS, LETTER: the letters' types go here, one after another, … */
    mr_str *types;     /* … and views into it here (n_max; set last; absent: unknown). NULL: no */
    struct book_callback_filter callback_filter;
    struct book_callback *callbacks; /* n_max; their URLs and references are views into type_text,
                                        which must be empty; bodies are not given */
    bool dry_run;
    /* out */
    /* MR_E_NOT_FOUND; MR_E_NOMEM; MR_E_AGAIN: the book is being loaded again, or the journal takes
     * no records now; MR_E_CLOSED: stopping; MR_E_LIMIT: type_text */
    mr_err result;
    size_t n_letters; /* or callbacks */
    uint64_t n_total;
    bool has_more; /* LETTERS: some follow behind the last one given */
    uint64_t redriven;
    uint64_t position;
    uint64_t as_of; /* the book's position when it answered */
    struct record_counters totals;
    uint64_t letters_kept;
    /* the keeper's */
    struct keeper *keeper;
    struct keeper_query *next;
    uint64_t done;   /* letter_ids looked at, or letters redriven, so far */
    uint64_t wanted; /* letters that matched at the beginning */
    uint32_t origin;
};

/* Any thread. Fill ask, reply, on_done and what is given; the rest zero. */
void keeper_ask(struct keeper *keeper, struct keeper_query *query, mr_metrics *mine);

/* Any thread (relaxed reads): for metrics and readiness. */
struct keeper_status {
    struct record_counters totals;
    uint64_t position;    /* followed up to here */
    uint64_t checkpoints; /* made since the start */
    uint64_t checkpoint_pos;
    uint64_t letters;
    uint64_t expired_early; /* dead letters expired for want of space, since the start */
    uint64_t overflowed;    /* pending deliveries that became dead letters so, since the start */
    bool ages_suspended;    /* the wall clock stepped */
    bool alarm; /* a checkpoint or archive file could not be written; cleared by success */
};
struct keeper_status keeper_status(const struct keeper *keeper);
/* Any thread: the operator has set the clock right: age rules work again. */
void keeper_resume_ages(struct keeper *keeper);

#endif
