/* The inside of the keeper, shared by its files. Private to them. */
#ifndef MR_LEDGER_KEEPER_PARTS_H
#define MR_LEDGER_KEEPER_PARTS_H

#include "journal/reader.h"
#include "ledger/keeper.h"
#include "os/thread.h"

#include <stdatomic.h>

/* Most dead letters or deliveries that one unit of the keeper's moves. */
#define KEEPER_BATCH     1024U
#define KEEPER_SLOTS_MAX 64U
/* After a failure of the disk. */
#define KEEPER_RETRY_MS 10000

enum job_kind {
    JOB_NONE = 0,
    JOB_EXPIRE,
    JOB_OVERFLOW,
    JOB_UNREADABLE,
    JOB_REDRIVE,
    JOB_TOTALS,
};

/* The one unit that the keeper has with the writer. A job may need several, one after another. */
struct job {
    struct journal_unit unit; /* first */
    struct keeper *keeper;
    enum job_kind kind;
    bool is_posted, is_done;
    struct journal_slot slots[KEEPER_SLOTS_MAX];
    uint32_t n_slots;
    mr_buf bytes;               /* the records of this unit */
    uint64_t count;             /* letters or deliveries in it */
    struct keeper_query *query; /* REDRIVE */
    /* TOTALS: records that are still to be posted */
    mr_buf pending; /* {length u32, body} one after another */
    size_t pending_at;
    uint64_t as_of;
    bool is_full;
};

struct keeper {
    struct keeper_options options;
    char *dir;
    struct mailbox mailbox;
    _Atomic bool stop, resume;
    /* keeper's thread only */
    struct book *book; /* NULL: to be loaded again */
    struct journal_iter iter;
    bool iter_open;
    struct keeper_query *queries, **queries_end;
    struct job job;
    uint64_t checkpoint_pos; /* of the newest; 0: none by this run */
    uint64_t floor;          /* of the older of the two kept */
    uint64_t records_since;  /* folded since the newest checkpoint */
    bool checkpoint_wanted;
    bool totals_wanted;         /* small ones, after a checkpoint */
    uint64_t totals_full_as_of; /* of the newest full set that is durable; 0: none by this run */
    mr_mono retry_at;           /* after a failure of the disk */
    mr_mono next_retention, next_expiry;
    mr_mono last_mono;
    mr_wall last_wall;
    bool has_last;
    bool finishing;  /* the writer is gone: nothing is posted */
    bool progressed; /* this step did something that may call for more */
    os_mutex mu;
    struct keeper_status status; /* guarded by mu */
};

/* --- keeper.c --- */
/* Puts a question behind those that wait. */
void keeper_queue(struct keeper *keeper, struct keeper_query *query);
void keeper_answer(struct keeper *keeper, struct keeper_query *query, mr_err result);
void keeper_alarm(struct keeper *keeper, const char *event, mr_err err, mr_mono now);
void keeper_calm(struct keeper *keeper);
/* --- job.c --- */
/* Adds a record to the job being made: reserves `size` bytes; MR_E_LIMIT, MR_E_NOMEM. */
mr_err job_begin_record(struct job *job, size_t size, uint8_t **ret_at);
void job_end_record(struct job *job, uint8_t type, size_t len);
void job_post(struct keeper *keeper, enum job_kind kind, enum journal_class klass, uint64_t mask);
/* Looks at the answer of a unit that came back. */
void job_finish(struct keeper *keeper, mr_mono now);
/* Makes and posts EXPIRE for those ids. */
mr_err job_expire(struct keeper *keeper, uint8_t cause, const struct record_letter_id *ids,
                  size_t n);
/* Begins a set of TOTALS. */
mr_err job_totals(struct keeper *keeper, bool is_full);
/* Posts the next unit of that set; false: there is none. */
bool job_totals_next(struct keeper *keeper);
/* The next batch of a redrive; answers the query when it is over. */
void job_redrive(struct keeper *keeper, struct keeper_query *query);
/* --- retention.c --- */
/* One piece of work towards removing the oldest segment, where it is to go. */
void keeper_retain(struct keeper *keeper, mr_mono now, mr_wall wall);
/* --- callbacks.c --- */
/* Answers CALLBACK and CALLBACKS. MR_E_NOT_FOUND, MR_E_LIMIT, MR_E_NOMEM. */
mr_err keeper_tell_callbacks(const struct keeper *keeper, struct keeper_query *query);
/* --- keeper.c --- */
mr_err keeper_checkpoint(struct keeper *keeper, mr_mono now, mr_wall wall);

#endif
