/* The independent recount. See recount.h.
 *
 * Two passes over the journal. The first checks every checksum, counts, and notes where the sets of
 * TOTALS stand. The second counts deliveries: from the store's beginning, or, where the beginning
 * was removed, from the oldest full set. Every open delivery is a key (position, destination,
 * origin) in one flat hash set, counters are in another; nothing of the book's queues, requests or
 * letters is used, so that a mistake there is not made twice. On the way, at the position that a
 * set or a checkpoint speaks of, both are compared.
 *
 * The rule that the first record which ends a delivery counts is the same as the book's: it belongs
 * to what the records mean. */
#include "ledger/recount.h"

#include "base/mem.h"
#include "journal/reader.h"
#include "ledger/recover.h"

#include <stdio.h>
#include <stdlib.h>

#define SCRATCH_MAX    (16U * 1024 * 1024 + 4096)
#define PROGRESS_EVERY 65536U

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
};

const char *recount_finding_name(enum recount_finding_kind kind) {
    static const char *const names[] = {"damage",     "record",  "law",    "totals",
                                        "checkpoint", "archive", "missing"};
    return (size_t)kind < sizeof names / sizeof names[0] ? names[kind] : "unknown";
}

static void found(struct recount *recount, const struct recount_finding *finding) {
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

/* --- the set of open deliveries
 * ------------------------------------------------------------------- */

static size_t set_home(const struct recount *recount, const struct open *key) {
    uint64_t bits = key->pos * UINT64_C(0x9E3779B97F4A7C15) ^
                    ((uint64_t)key->destination << 32 | key->origin) * UINT64_C(0xC2B2AE3D27D4EB4F);
    bits ^= bits >> 29;
    return (size_t)(bits * UINT64_C(0x165667B19E3779F9) >> 20) & (recount->set_size - 1);
}

static size_t set_find(const struct recount *recount, const struct open *key) {
    size_t at = set_home(recount, key);
    while (recount->set[at].pos != 0 &&
           (recount->set[at].pos != key->pos || recount->set[at].destination != key->destination ||
            recount->set[at].origin != key->origin)) {
        at = (at + 1) & (recount->set_size - 1);
    }
    return at;
}

static mr_err set_grow(struct recount *recount) {
    size_t old_size = recount->set_size;
    struct open *old = recount->set;
    size_t size = old_size == 0 ? 1024 : old_size * 2;
    struct open *set = mr_calloc(size, sizeof *set);
    if (set == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    recount->set = set;
    recount->set_size = size;
    for (size_t i = 0; i < old_size; i++) {
        if (old[i].pos != 0) {
            set[set_find(recount, &old[i])] = old[i];
        }
    }
    mr_free(old);
    return MR_OK;
}

static mr_err set_add(struct recount *recount, struct open key, bool *ret_added) {
    if (10 * (recount->n_set + 1) > 6 * recount->set_size) {
        MR_TRY(set_grow(recount));
    }
    size_t at = set_find(recount, &key);
    *ret_added = recount->set[at].pos == 0;
    recount->n_set += *ret_added;
    recount->set[at] = key;
    return MR_OK;
}

static void set_remove_at(struct recount *recount, size_t hole) {
    size_t mask = recount->set_size - 1;
    for (size_t at = (hole + 1) & mask; recount->set[at].pos != 0; at = (at + 1) & mask) {
        size_t home = set_home(recount, &recount->set[at]);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            recount->set[hole] = recount->set[at];
            hole = at;
        }
    }
    recount->set[hole].pos = 0;
    recount->n_set--;
}

static bool set_take(struct recount *recount, struct open key) {
    if (recount->n_set == 0) {
        return false;
    }
    size_t at = set_find(recount, &key);
    if (recount->set[at].pos == 0) {
        return false;
    }
    set_remove_at(recount, at);
    return true;
}

/* --- counters
 * ------------------------------------------------------------------------------------- */

static struct tally *tally_at(const struct recount *recount, uint32_t destination) {
    size_t mask = recount->tallies_size - 1;
    size_t at = (size_t)(destination * UINT64_C(0x9E3779B97F4A7C15) >> 32) & mask;
    while (recount->tallies[at].is_used && recount->tallies[at].destination != destination) {
        at = (at + 1) & mask;
    }
    return &recount->tallies[at];
}

static mr_err tallies_grow(struct recount *recount) {
    size_t old_size = recount->tallies_size;
    struct tally *old = recount->tallies;
    size_t size = old_size == 0 ? 64 : old_size * 2;
    struct tally *tallies = mr_calloc(size, sizeof *tallies);
    if (tallies == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    recount->tallies = tallies;
    recount->tallies_size = size;
    for (size_t i = 0; i < old_size; i++) {
        if (old[i].is_used) {
            *tally_at(recount, old[i].destination) = old[i];
        }
    }
    mr_free(old);
    return MR_OK;
}

/* The counters of a destination, made when new. */
static mr_err tally(struct recount *recount, uint32_t destination,
                    struct record_counters **ret_counters) {
    if (2 * (recount->n_tallies + 1) > recount->tallies_size) {
        MR_TRY(tallies_grow(recount));
    }
    struct tally *at = tally_at(recount, destination);
    if (!at->is_used) {
        *at = (struct tally){.destination = destination, .is_used = true};
        recount->n_tallies++;
    }
    *ret_counters = &at->counters;
    return MR_OK;
}

/* --- counting records
 * ----------------------------------------------------------------------------- */

static mr_err create(struct recount *recount, struct record_counters *counters, struct open key) {
    bool is_added;
    MR_TRY(set_add(recount, key, &is_added));
    counters->created += is_added;
    counters->pending += is_added;
    return MR_OK;
}

static mr_err count_event(struct recount *recount, uint64_t pos, mr_str body) {
    struct record_event event;
    struct record_target target;
    MR_TRY(record_event_decode(body, &event));
    mr_str walk = event.targets;
    recount->result.events++;
    while (record_targets_next(&walk, &target)) {
        struct record_counters *counters;
        MR_TRY(tally(recount, target.destination, &counters));
        if ((target.flags & RECORD_TARGET_SKIPPED) != 0) {
            counters->skipped++;
        } else {
            MR_TRY(create(recount, counters,
                          (struct open){.pos = pos, .destination = target.destination}));
        }
    }
    return MR_OK;
}

static uint64_t end_all(struct recount *recount, struct record_counters *counters,
                        uint32_t destination, uint32_t origin, struct record_positions positions) {
    uint64_t n = 0;
    uint64_t pos;
    while (record_positions_next(&positions, &pos)) {
        n += set_take(recount,
                      (struct open){.pos = pos, .destination = destination, .origin = origin});
    }
    counters->pending -= n;
    return n;
}

static mr_err count_outcome(struct recount *recount, mr_str body) {
    struct record_outcome outcome;
    struct record_positions positions;
    struct record_counters *counters;
    MR_TRY(record_outcome_decode(body, &outcome, &positions));
    MR_TRY(tally(recount, outcome.destination, &counters));
    counters->failed_attempts += (outcome.flags & RECORD_OUTCOME_FAILED) != 0;
    if (outcome.kind == RECORD_DELIVERED) {
        counters->delivered +=
            end_all(recount, counters, outcome.destination, outcome.origin, positions);
    }
    return MR_OK;
}

static mr_err count_dead(struct recount *recount, mr_str body) {
    struct record_dead dead;
    const uint8_t *items;
    struct record_counters *counters;
    MR_TRY(record_dead_decode(body, &dead, &items));
    MR_TRY(tally(recount, dead.destination, &counters));
    counters->failed_attempts += (dead.flags & RECORD_DEAD_FAILED) != 0;
    for (uint32_t i = 0; i < dead.n; i++) {
        struct open key = {.pos = record_dead_item_at(items, i).pos,
                           .destination = dead.destination,
                           .origin = dead.origin};
        bool was_open = set_take(recount, key);
        counters->dead += was_open;
        counters->pending -= was_open;
    }
    return MR_OK;
}

static mr_err count_add(struct recount *recount, mr_str body) {
    struct record_add add;
    const uint8_t *items;
    struct record_counters *counters;
    MR_TRY(record_add_decode(body, &add, &items));
    MR_TRY(tally(recount, add.destination, &counters));
    for (uint32_t i = 0; i < add.n; i++) {
        MR_TRY(create(recount, counters,
                      (struct open){.pos = record_add_item_at(items, i).pos,
                                    .destination = add.destination,
                                    .origin = add.origin}));
    }
    return MR_OK;
}

/* Whether the discard's conditions hold for an event: read again from journal or archive. */
static bool is_discarded(struct recount *recount, const struct record_discard *discard,
                         uint64_t pos) {
    if (discard->before_ms == INT64_MAX && discard->n_types == 0) {
        return true;
    }
    struct journal_record record;
    mr_buf_reset(&recount->scratch);
    mr_err err =
        journal_read(recount->options->journal, pos, 0, OS_READ_WAIT, &recount->scratch, &record);
    mr_str body = mr_is_ok(err) ? record.body : MR_STR_NONE;
    if (mr_is_err(err) && recount->options->archive != NULL) {
        mr_buf_reset(&recount->scratch);
        err = archive_read(recount->options->archive, pos, &recount->scratch);
        body = mr_buf_view(&recount->scratch);
    }
    struct record_event event;
    if (mr_is_err(err) || mr_is_err(record_event_decode(body, &event))) {
        return false; /* told as missing or damaged */
    }
    mr_str walk = discard->types;
    mr_str type;
    bool is_listed = discard->n_types == 0;
    while (!is_listed && record_types_next(&walk, &type)) {
        is_listed = mr_str_eq(type, record_event_member(&event, RECORD_TYPE_ATTRIBUTE));
    }
    return is_listed && event.accepted_ms < discard->before_ms;
}

/* The keys for which `choose` is true, gathered first because taking moves others. */
static mr_err gather(struct recount *recount, bool (*choose)(void *arg, const struct open *key),
                     void *arg, struct open **ret_keys, size_t *ret_n) {
    struct open *keys = mr_alloc((recount->n_set + 1) * sizeof *keys);
    size_t n = 0;
    if (keys == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    for (size_t i = 0; i < recount->set_size; i++) {
        if (recount->set[i].pos != 0 && choose(arg, &recount->set[i])) {
            keys[n++] = recount->set[i];
        }
    }
    *ret_keys = keys;
    *ret_n = n;
    return MR_OK;
}

struct discard_choice {
    struct recount *recount;
    const struct record_discard *discard;
};

static bool choose_discarded(void *arg, const struct open *key) {
    const struct discard_choice *choice = arg;
    return key->destination == choice->discard->destination &&
           is_discarded(choice->recount, choice->discard, key->pos);
}

static mr_err discard_keys(struct recount *recount, const struct open *keys, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct record_counters *counters;
        MR_TRY(tally(recount, keys[i].destination, &counters));
        bool was_open = set_take(recount, keys[i]);
        counters->discarded += was_open;
        counters->pending -= was_open;
    }
    return MR_OK;
}

static mr_err count_discard(struct recount *recount, mr_str body) {
    struct record_discard discard;
    struct record_positions positions;
    struct record_counters *counters;
    MR_TRY(record_discard_decode(body, &discard, &positions));
    MR_TRY(tally(recount, discard.destination, &counters));
    if (discard.n_positions > 0) {
        counters->discarded +=
            end_all(recount, counters, discard.destination, discard.origin, positions);
        return MR_OK;
    }
    struct discard_choice choice = {.recount = recount, .discard = &discard};
    struct open *keys MR_AUTO_FREE = NULL;
    size_t n;
    MR_TRY(gather(recount, choose_discarded, &choice, &keys, &n));
    return discard_keys(recount, keys, n);
}

static bool choose_erased(void *arg, const struct open *key) {
    const struct record_positions *erased = arg;
    struct record_positions walk = *erased;
    uint64_t pos;
    while (record_positions_next(&walk, &pos)) {
        if (pos == key->pos) {
            return true;
        }
    }
    return false;
}

static mr_err count_erased(struct recount *recount, mr_str body) {
    struct record_positions positions;
    MR_TRY(record_erased_decode(body, &positions));
    struct open *keys MR_AUTO_FREE = NULL;
    size_t n;
    MR_TRY(gather(recount, choose_erased, &positions, &keys, &n));
    return discard_keys(recount, keys, n);
}

static mr_err count_record(struct recount *recount, const struct journal_record *record) {
    switch ((enum record_type)record->type) {
    case RECORD_EVENT:
        return count_event(recount, record->pos, record->body);
    case RECORD_OUTCOME:
        return count_outcome(recount, record->body);
    case RECORD_DEAD:
        return count_dead(recount, record->body);
    case RECORD_ADD:
        return count_add(recount, record->body);
    case RECORD_DISCARD:
        return count_discard(recount, record->body);
    case RECORD_ERASED:
        return count_erased(recount, record->body);
    case RECORD_TOTALS:
    case RECORD_EXPIRE:
        return MR_OK;
    case RECORD_NONE:
        break;
    }
    return MR_ERR(LEDGER_E_RECORD);
}

/* --- comparing
 * ------------------------------------------------------------------------------------ */

static void compare(struct recount *recount, enum recount_finding_kind kind, uint64_t pos,
                    uint32_t destination, const struct record_counters *theirs) {
    static const struct record_counters none;
    const struct record_counters *ours = &none;
    if (recount->tallies_size > 0) {
        struct tally *at = tally_at(recount, destination);
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
            found(recount, &(struct recount_finding){.kind = kind,
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
static mr_err read_noted(struct recount *recount, const struct noted *noted,
                         struct record_totals *ret_totals, mr_str *ret_entries) {
    struct journal_record record;
    mr_buf_reset(&recount->scratch);
    MR_TRY(journal_read(recount->options->journal, noted->pos, 0, OS_READ_WAIT, &recount->scratch,
                        &record));
    return record_totals_decode(record.body, ret_totals, ret_entries);
}

/* The records [at, *ret_end) are one set; false: it is not complete. */
static bool find_set(const struct recount *recount, size_t at, size_t *ret_end) {
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
        MR_TRY(read_noted(recount, &recount->noted[i], &totals, &entries));
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
    if (recount->set_size == 0 || recount->set[set_find(recount, &key)].pos == 0) {
        found(recount, &(struct recount_finding){.kind = RECOUNT_CHECKPOINT,
                                                 .pos = pos,
                                                 .destination = comparison->destination,
                                                 .what = "a pending delivery",
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

static mr_err compare_book(struct recount *recount) {
    compare_begin(recount);
    MR_TRY(book_each_destination(recount->book, compare_destination, recount));
    compare_end(recount, RECOUNT_CHECKPOINT, book_position(recount->book));
    recount->result.checkpoints_compared++;
    recount->book = NULL;
    return MR_OK;
}

/* All records below `pos` are counted: compares with whatever speaks of this place. */
static mr_err compare_at(struct recount *recount, uint64_t pos) {
    while (recount->next_noted < recount->n_noted &&
           recount->noted[recount->next_noted].as_of <= pos) {
        size_t from = recount->next_noted;
        size_t to;
        bool is_complete = find_set(recount, from, &to);
        recount->next_noted = to;
        if (is_complete && recount->noted[from].as_of >= recount->result.base_pos) {
            MR_TRY(compare_set(recount, from, to));
        }
    }
    if (recount->book != NULL && book_position(recount->book) <= pos) {
        if (book_position(recount->book) >= recount->result.base_pos) {
            return compare_book(recount);
        }
        recount->book = NULL; /* before the base: cannot be compared */
    }
    return MR_OK;
}

/* --- passes
 * --------------------------------------------------------------------------------------- */

static void tell_damage(struct recount *recount, const struct journal_damage *damage) {
    struct recount_finding finding = {
        .kind = RECOUNT_DAMAGE, .pos = damage->pos, .offset = damage->offset, .what = "checksum"};
    _Static_assert(sizeof finding.file >= sizeof damage->segment, "the name fits");
    memcpy(finding.file, damage->segment, sizeof damage->segment);
    found(recount, &finding);
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

static mr_err first_record(struct recount *recount, const struct journal_record *record) {
    struct record_totals totals;
    mr_str entries;
    recount->result.records++;
    if (record->type != RECORD_TOTALS) {
        return MR_OK;
    }
    bool is_bad = mr_is_err(record_totals_decode(record->body, &totals, &entries));
    if (is_bad) {
        found(recount, &(struct recount_finding){
                           .kind = RECOUNT_RECORD, .pos = record->pos, .what = "totals"});
        return MR_OK;
    }
    return note(recount, record);
}

static mr_err second_record(struct recount *recount, const struct journal_record *record) {
    MR_TRY(compare_at(recount, record->pos));
    mr_err err = count_record(recount, record);
    if (mr_err_is(err, LEDGER_E_RECORD) || mr_err_is(err, LEDGER_E_NEWER)) {
        found(recount, &(struct recount_finding){.kind = RECOUNT_RECORD,
                                                 .pos = record->pos,
                                                 .what = record_type_name(record->type)});
        return MR_OK;
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

/* Takes counters and open deliveries from a full set. */
static mr_err take_base(struct recount *recount, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        struct record_totals totals;
        struct record_totals_entry entry;
        mr_str entries;
        MR_TRY(read_noted(recount, &recount->noted[i], &totals, &entries));
        while (record_totals_next(&entries, &entry)) {
            struct record_counters *counters;
            uint64_t pos;
            MR_TRY(tally(recount, entry.destination, &counters));
            *counters = entry.counters;
            while (record_positions_next(&entry.pending, &pos)) {
                bool is_added;
                struct open key = {
                    .pos = pos, .destination = entry.destination, .origin = entry.origin};
                MR_TRY(set_add(recount, key, &is_added));
            }
        }
    }
    return MR_OK;
}

static mr_err find_base(struct recount *recount) {
    if (ledger_journal_is_whole(recount->options->journal)) {
        return MR_OK;
    }
    for (size_t at = 0; at < recount->n_noted;) {
        size_t end;
        bool is_complete = find_set(recount, at, &end);
        if (is_complete && (recount->noted[at].flags & RECORD_TOTALS_FULL) != 0 &&
            recount->noted[at].as_of >= recount->start) {
            recount->result.base_pos = recount->noted[at].as_of;
            return take_base(recount, at, end);
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
        recount->result.destinations++;
        recount->result.totals.created += c->created;
        recount->result.totals.pending += c->pending;
        recount->result.totals.delivered += c->delivered;
        recount->result.totals.dead += c->dead;
        recount->result.totals.discarded += c->discarded;
        recount->result.totals.skipped += c->skipped;
        recount->result.totals.failed_attempts += c->failed_attempts;
        if (c->created != c->pending + c->delivered + c->dead + c->discarded) {
            found(recount, &(struct recount_finding){.kind = RECOUNT_LAW,
                                                     .destination = at->destination,
                                                     .what = "created",
                                                     .found = c->created,
                                                     .expected = c->pending + c->delivered +
                                                                 c->dead + c->discarded});
        }
    }
    if (recount->n_set != recount->result.totals.pending) {
        found(recount, &(struct recount_finding){.kind = RECOUNT_LAW,
                                                 .what = "pending",
                                                 .found = recount->result.totals.pending,
                                                 .expected = recount->n_set});
    }
}

static void check_present(struct recount *recount) {
    for (size_t i = 0; i < recount->set_size; i++) {
        const struct open *key = &recount->set[i];
        if (key->pos != 0 && key->pos < recount->start &&
            (recount->options->archive == NULL ||
             !archive_has(recount->options->archive, key->pos))) {
            found(recount, &(struct recount_finding){.kind = RECOUNT_MISSING,
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
    found(ctx, &finding);
}

static mr_err run(struct recount *recount) {
    const struct recount_options *options = recount->options;
    MR_TRY(walk(recount, 0, 0));
    if (options->archive != NULL) {
        uint64_t entries;
        MR_TRY(archive_verify(options->archive, on_archive_damage, recount, &entries));
    }
    MR_TRY(find_base(recount));
    MR_TRY(walk(recount, recount->result.base_pos, 1));
    MR_TRY(compare_at(recount, recount->end));
    check_law(recount);
    check_present(recount);
    return MR_OK;
}

/* The newest checkpoint on disk; a damaged one is a finding. */
static mr_err load_checkpoint(struct recount *recount, struct book **ret_book) {
    const struct recount_options *options = recount->options;
    struct book_options book_options = {0};
    struct book_loaded loaded = {0};
    mr_err err = book_load(&book_options, options->files, options->checkpoint_dir,
                           journal_store_id(options->journal), ret_book, &loaded);
    if (mr_err_is(err, MR_E_NOT_FOUND)) {
        return MR_OK;
    }
    bool is_refused = mr_err_is(err, LEDGER_E_CORRUPT) || mr_err_is(err, LEDGER_E_NEWER) ||
                      mr_err_is(err, LEDGER_E_FOREIGN);
    if (is_refused || loaded.damaged > 0) {
        found(recount, &(struct recount_finding){.kind = RECOUNT_CHECKPOINT, .what = "file"});
    }
    return is_refused ? MR_OK : err;
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
    if (mr_is_ok(err)) {
        err = run(&recount);
    }
    book_free(loaded);
    mr_buf_done(&recount.scratch);
    mr_free(recount.set);
    mr_free(recount.tallies);
    mr_free(recount.noted);
    *ret_result = recount.result;
    return err;
}
