/* The independent recount: reads the whole journal (every checksum), counts deliveries again with
 * other means than the book's, from the beginning or from the oldest full TOTALS, and compares with
 * the TOTALS met on the way and with a checkpoint. For `millrace check`; nothing is changed. One
 * thread; blocks. */
#ifndef MR_LEDGER_RECOUNT_H
#define MR_LEDGER_RECOUNT_H

#include "journal/journal.h"
#include "ledger/archive.h"
#include "ledger/book.h"

enum recount_finding_kind {
    RECOUNT_DAMAGE = 0, /* a damaged range of the journal */
    RECOUNT_RECORD,     /* a record with a good checksum that cannot be read */
    RECOUNT_LAW,        /* created ≠ pending + delivered + dead + discarded */
    RECOUNT_TOTALS,     /* a TOTALS record says otherwise */
    RECOUNT_CHECKPOINT, /* the checkpoint says otherwise, or is damaged */
    RECOUNT_ARCHIVE,    /* a damaged entry */
    RECOUNT_DEDUPE,     /* a damaged file of remembered ids */
    RECOUNT_MISSING,    /* an event that is still owed is neither in journal nor archive */
};
const char *recount_finding_name(enum recount_finding_kind kind);
struct recount_finding {
    enum recount_finding_kind kind;
    uint64_t pos;         /* where; 0: no place */
    char file[64];        /* "" : none */
    uint64_t offset;      /* in the file */
    uint32_t destination; /* LAW, TOTALS, CHECKPOINT, MISSING; RECORD_CALLBACKS_OF | account: its
                             callbacks */
    const char *what;     /* "delivered", …; static text */
    uint64_t found, expected;
};
struct recount_options {
    struct journal *journal; /* opened read_only (or idle) */
    const struct os_files *files;
    const char *checkpoint_dir; /* NULL: no checkpoints to compare */
    const char *dedupe_dir;     /* NULL: none */
    const struct book *book;    /* NULL: none; else compared at its position in place of files */
    struct archive *archive;    /* NULL: none */
    void (*on_finding)(void *ctx, const struct recount_finding *finding);
    /* Each head of the audit log that the journal, or the checkpoint (pos: of its book), names. May
     * be NULL. */
    void (*on_audit)(void *ctx, uint64_t pos, const struct record_audit *audit);
    /* Now and then: bytes of positions done, and in all. May be NULL. */
    void (*on_progress)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
};
struct recount_result {
    uint64_t records, events, findings;
    uint64_t base_pos; /* 0: counted from the store's beginning */
    uint64_t destinations;
    uint64_t totals_compared, checkpoints_compared;
    uint64_t not_compared;            /* of both, because a record before them could not be read */
    struct record_counters totals;    /* of deliveries, at the end */
    struct record_counters callbacks; /* likewise; dead: those that failed */
};
/* Findings are no error. MR_E_IO, MR_E_NOMEM; LEDGER_E_GAP: the journal was trimmed and holds no
 * base to count from (checksums were verified all the same). */
mr_err recount_run(const struct recount_options *options, struct recount_result *ret_result);

#endif
