/* The inside of the recount, shared by its chapters. Private to them. */
#ifndef MR_LEDGER_RECOUNT_PARTS_H
#define MR_LEDGER_RECOUNT_PARTS_H

#include "journal/reader.h"
#include "ledger/recount.h"

struct open {
    uint64_t pos; /* 0: free */
    uint32_t destination, origin;
};

struct tally {
    uint32_t destination;
    bool is_used;
    bool is_seen; /* by the comparison that is going on */
    struct record_counters counters;
};

/* A record of TOTALS: where it stands and what it speaks of. */
struct noted {
    uint64_t as_of, pos;
    uint8_t flags;
};

struct recount {
    const struct recount_options *options;
    struct recount_result result;
    struct open *set;
    size_t n_set, set_size;
    struct tally *tallies;
    size_t n_tallies, tallies_size;
    struct noted *noted; /* by position */
    size_t n_noted, noted_capacity, next_noted;
    const struct book *book; /* to compare; NULL: none or done */
    mr_buf scratch;
    uint64_t start, end;
    bool is_doubtful;     /* a record could not be read: see recount_doubt */
    uint64_t doubted_pos; /* the last such */
};

void recount_found(struct recount *recount, const struct recount_finding *finding);

/* ---- open deliveries and counters: tallies.c ---- */
/* The slot of a key, or the free one where it would go. */
size_t recount_set_find(const struct recount *recount, const struct open *key);
mr_err recount_set_add(struct recount *recount, struct open key, bool *ret_added);
/* Takes it out; false: it was not there. */
bool recount_set_take(struct recount *recount, struct open key);
/* The slot of a destination, or the free one where it would go; tallies_size > 0. */
struct tally *recount_tally_at(const struct recount *recount, uint32_t destination);
/* The counters of a destination, made when new. */
mr_err recount_tally(struct recount *recount, uint32_t destination,
                     struct record_counters **ret_counters);
/* Forgets all of both. */
void recount_forget(struct recount *recount);

/* ---- counting: count.c ---- */
/* LEDGER_E_RECORD, LEDGER_E_NEWER: not to be understood. MR_E_NOMEM. */
mr_err recount_count(struct recount *recount, const struct journal_record *record);

/* ---- comparing: compare.c ---- */
/* All records below `pos` are counted: compares with whatever speaks of this place. */
mr_err recount_compare_at(struct recount *recount, uint64_t pos);
/* What stood at `pos` cannot be read: from here on nothing can be compared, until a full set of
 * TOTALS says again what was owed. */
mr_err recount_doubt(struct recount *recount, uint64_t pos);
/* The records [at, *ret_end) are one set; false: it is not complete. */
bool recount_find_totals(const struct recount *recount, size_t at, size_t *ret_end);
/* Takes counters and open deliveries from a full set. */
mr_err recount_take_base(struct recount *recount, size_t from, size_t to);

#endif
