/* The recount against what others say of the same place in the journal: sets of TOTALS, and a
 * checkpoint's book.
 *
 * After a record that cannot be read our own numbers lack what it said, while those who wrote
 * TOTALS and checkpoints knew it. Then every comparison would differ for that one reason, which is
 * told already; so none is made until a full set of TOTALS gives a base to count from again. */
#include "ledger/recount/parts.h"

static void compare(struct recount *recount, enum recount_finding_kind kind, uint64_t pos,
                    uint32_t destination, const struct record_counters *theirs) {
    static const struct record_counters none;
    const struct record_counters *ours = &none;
    if (recount->tallies_size > 0) {
        struct tally *at = recount_tally_at(recount, destination);
        ours = at->is_used ? &at->counters : &none;
        at->is_seen = at->is_used;
    }
    const struct {
        const char *what;
        uint64_t ours, theirs;
    } numbers[] = {{"created", ours->created, theirs->created},
                   {"pending", ours->pending, theirs->pending},
                   {"delivered", ours->delivered, theirs->delivered},
                   {"dead", ours->dead, theirs->dead},
                   {"discarded", ours->discarded, theirs->discarded},
                   {"skipped", ours->skipped, theirs->skipped},
                   {"failed_attempts", ours->failed_attempts, theirs->failed_attempts}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (numbers[i].ours != numbers[i].theirs) {
            recount_found(recount, &(struct recount_finding){.kind = kind,
                                                             .pos = pos,
                                                             .destination = destination,
                                                             .what = numbers[i].what,
                                                             .found = numbers[i].theirs,
                                                             .expected = numbers[i].ours});
        }
    }
}

static void compare_begin(struct recount *recount) {
    for (size_t i = 0; i < recount->tallies_size; i++) {
        recount->tallies[i].is_seen = false;
    }
}

/* What we count and they do not name at all. */
static void compare_end(struct recount *recount, enum recount_finding_kind kind, uint64_t pos) {
    static const struct record_counters none;
    for (size_t i = 0; i < recount->tallies_size; i++) {
        struct tally *at = &recount->tallies[i];
        if (at->is_used && !at->is_seen && memcmp(&at->counters, &none, sizeof none) != 0) {
            compare(recount, kind, pos, at->destination, &none);
        }
    }
}

/* Reads a noted record again. */
static mr_err recount_read_noted(struct recount *recount, const struct noted *noted,
                                 struct record_totals *ret_totals, mr_str *ret_entries) {
    struct journal_record record;
    mr_buf_reset(&recount->scratch);
    MR_TRY(journal_read(recount->options->journal, noted->pos, 0, OS_READ_WAIT, &recount->scratch,
                        &record));
    return record_totals_decode(record.body, ret_totals, ret_entries);
}

bool recount_find_totals(const struct recount *recount, size_t at, size_t *ret_end) {
    size_t end = at;
    bool is_complete = false;
    while (end < recount->n_noted && recount->noted[end].as_of == recount->noted[at].as_of &&
           !is_complete) {
        is_complete = (recount->noted[end].flags & RECORD_TOTALS_LAST) != 0;
        end++;
    }
    *ret_end = end;
    return is_complete;
}

static mr_err compare_set(struct recount *recount, size_t from, size_t to) {
    compare_begin(recount);
    for (size_t i = from; i < to; i++) {
        struct record_totals totals;
        struct record_totals_entry entry;
        mr_str entries;
        MR_TRY(recount_read_noted(recount, &recount->noted[i], &totals, &entries));
        while (record_totals_next(&entries, &entry)) {
            compare(recount, RECOUNT_TOTALS, recount->noted[i].pos, entry.destination,
                    &entry.counters);
        }
    }
    compare_end(recount, RECOUNT_TOTALS, recount->noted[from].pos);
    recount->result.totals_compared++;
    return MR_OK;
}

struct book_comparison {
    struct recount *recount;
    uint32_t destination;
};

static void expect_open(const struct book_comparison *comparison, uint32_t origin, uint64_t pos) {
    struct recount *recount = comparison->recount;
    struct open key = {.pos = pos, .destination = comparison->destination, .origin = origin};
    if (recount->set_size == 0 || recount->set[recount_set_find(recount, &key)].pos == 0) {
        recount_found(recount,
                      &(struct recount_finding){.kind = RECOUNT_CHECKPOINT,
                                                .pos = pos,
                                                .destination = comparison->destination,
                                                .what = RECORD_IS_CALLBACKS(key.destination)
                                                            ? "a pending callback"
                                                            : "a pending delivery",
                                                .found = 1,
                                                .expected = 0});
    }
}

static mr_err compare_waiting(void *ctx, const struct book_waiting *waiting) {
    expect_open(ctx, waiting->origin, waiting->pos);
    return MR_OK;
}

static mr_err compare_request(void *ctx, const struct book_request *request) {
    for (uint32_t i = 0; i < request->n; i++) {
        expect_open(ctx, request->origin, request->positions[i]);
    }
    return MR_OK;
}

static mr_err compare_destination(void *ctx, const struct book_destination *destination) {
    struct book_comparison comparison = {.recount = ctx, .destination = destination->number};
    const struct book *book = comparison.recount->book;
    compare(ctx, RECOUNT_CHECKPOINT, book_position(book), destination->number,
            &destination->counters);
    MR_TRY(
        book_each_waiting(book, destination->number, 0, UINT64_MAX, compare_waiting, &comparison));
    return book_each_request(book, destination->number, compare_request, &comparison);
}

static mr_err compare_open_callback(void *ctx, const struct book_callback *callback) {
    struct book_comparison comparison = {
        .recount = ctx, .destination = RECORD_CALLBACKS_OF | callback->record.account};
    expect_open(&comparison, 0, callback->pos);
    return MR_OK;
}

static mr_err compare_callbacks(void *ctx, uint32_t account,
                                const struct record_counters *counters) {
    struct recount *recount = ctx;
    compare(recount, RECOUNT_CHECKPOINT, book_position(recount->book),
            RECORD_CALLBACKS_OF | account, counters);
    return MR_OK;
}

static mr_err compare_book(struct recount *recount) {
    compare_begin(recount);
    MR_TRY(book_each_destination(recount->book, compare_destination, recount));
    MR_TRY(book_each_callback_account(recount->book, compare_callbacks, recount));
    MR_TRY(book_each_open_callback(recount->book, compare_open_callback, recount));
    compare_end(recount, RECOUNT_CHECKPOINT, book_position(recount->book));
    recount->result.checkpoints_compared++;
    recount->book = NULL;
    return MR_OK;
}

mr_err recount_take_base(struct recount *recount, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        struct record_totals totals;
        struct record_totals_entry entry;
        mr_str entries;
        MR_TRY(recount_read_noted(recount, &recount->noted[i], &totals, &entries));
        while (record_totals_next(&entries, &entry)) {
            struct record_counters *counters;
            uint64_t pos;
            MR_TRY(recount_tally(recount, entry.destination, &counters));
            *counters = entry.counters;
            while (record_positions_next(&entry.pending, &pos)) {
                bool is_added;
                struct open key = {
                    .pos = pos, .destination = entry.destination, .origin = entry.origin};
                MR_TRY(recount_set_add(recount, key, &is_added));
            }
        }
    }
    return MR_OK;
}

static mr_err compare_noted(struct recount *recount, size_t from, size_t to) {
    bool is_full = (recount->noted[from].flags & RECORD_TOTALS_FULL) != 0;
    if (!recount->is_doubtful) {
        return compare_set(recount, from, to);
    }
    recount->result.not_compared++;
    if (!is_full || recount->noted[from].as_of < recount->doubted_pos) {
        return MR_OK;
    }
    recount_forget(recount);
    recount->is_doubtful = false;
    return recount_take_base(recount, from, to);
}

mr_err recount_compare_at(struct recount *recount, uint64_t pos) {
    while (recount->next_noted < recount->n_noted &&
           recount->noted[recount->next_noted].as_of <= pos) {
        size_t from = recount->next_noted;
        size_t to;
        bool is_complete = recount_find_totals(recount, from, &to);
        recount->next_noted = to;
        if (is_complete && recount->noted[from].as_of >= recount->result.base_pos) {
            MR_TRY(compare_noted(recount, from, to));
        }
    }
    if (recount->book == NULL || book_position(recount->book) > pos) {
        return MR_OK;
    }
    bool is_comparable = book_position(recount->book) >= recount->result.base_pos;
    if (is_comparable && !recount->is_doubtful) {
        return compare_book(recount);
    }
    recount->result.not_compared += is_comparable;
    recount->book = NULL;
    return MR_OK;
}

mr_err recount_doubt(struct recount *recount, uint64_t pos) {
    MR_TRY(recount_compare_at(recount, pos));
    recount->is_doubtful = true;
    recount->doubted_pos = pos;
    return MR_OK;
}
