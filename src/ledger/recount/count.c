/* What each type of record does to the recount. The rule that the first record which ends a
 * delivery counts is the same as the book's: it belongs to what the records mean. */
#include "ledger/recount/parts.h"

#include "base/mem.h"

static mr_err create(struct recount *recount, struct record_counters *counters, struct open key) {
    bool is_added;
    MR_TRY(recount_set_add(recount, key, &is_added));
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
        MR_TRY(recount_tally(recount, target.destination, &counters));
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
        n += recount_set_take(
            recount, (struct open){.pos = pos, .destination = destination, .origin = origin});
    }
    counters->pending -= n;
    return n;
}

static mr_err count_outcome(struct recount *recount, mr_str body) {
    struct record_outcome outcome;
    struct record_positions positions;
    struct record_counters *counters;
    MR_TRY(record_outcome_decode(body, &outcome, &positions));
    MR_TRY(recount_tally(recount, outcome.destination, &counters));
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
    MR_TRY(recount_tally(recount, dead.destination, &counters));
    counters->failed_attempts += (dead.flags & RECORD_DEAD_FAILED) != 0;
    for (uint32_t i = 0; i < dead.n; i++) {
        struct open key = {.pos = record_dead_item_at(items, i).pos,
                           .destination = dead.destination,
                           .origin = dead.origin};
        bool was_open = recount_set_take(recount, key);
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
    MR_TRY(recount_tally(recount, add.destination, &counters));
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
        MR_TRY(recount_tally(recount, keys[i].destination, &counters));
        bool was_open = recount_set_take(recount, keys[i]);
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
    MR_TRY(recount_tally(recount, discard.destination, &counters));
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

static mr_err count_callback(struct recount *recount, uint64_t pos, mr_str body) {
    struct record_callback callback;
    struct record_counters *counters;
    MR_TRY(record_callback_decode(body, &callback));
    uint32_t number = RECORD_CALLBACKS_OF | callback.account;
    MR_TRY(recount_tally(recount, number, &counters));
    return create(recount, counters, (struct open){.pos = pos, .destination = number});
}

static mr_err count_callback_outcome(struct recount *recount, mr_str body) {
    struct record_callback_outcome outcome;
    struct record_counters *counters;
    MR_TRY(record_callback_outcome_decode(body, &outcome));
    uint32_t number = RECORD_CALLBACKS_OF | outcome.account;
    MR_TRY(recount_tally(recount, number, &counters));
    counters->failed_attempts += outcome.kind != RECORD_CALLBACK_DELIVERED;
    if (outcome.kind != RECORD_CALLBACK_RETRY) {
        bool was_open =
            recount_set_take(recount, (struct open){.pos = outcome.pos, .destination = number});
        bool is_delivered = outcome.kind == RECORD_CALLBACK_DELIVERED;
        counters->pending -= was_open;
        counters->delivered += was_open && is_delivered;
        counters->dead += was_open && !is_delivered;
    }
    return MR_OK;
}

mr_err recount_count(struct recount *recount, const struct journal_record *record) {
    struct record_audit audit;
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
    case RECORD_AUDIT:
        return record_audit_decode(record->body, &audit); /* counts nothing */
    case RECORD_CALLBACK:
        return count_callback(recount, record->pos, record->body);
    case RECORD_CALLBACK_OUTCOME:
        return count_callback_outcome(recount, record->body);
    case RECORD_NONE:
        break;
    }
    return MR_ERR(LEDGER_E_RECORD);
}
