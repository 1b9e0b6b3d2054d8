/* Folding one record into a book. What the rules are is told in book.c; here is one function per
 * type of record, but for those of discard.c. Counters of a destination and the book's sums change
 * together, in `book_count`. */
#include "ledger/book.h"

#include "base/mem.h"
#include "ledger/book/parts.h"

void book_count(struct book *book, struct dest *dest, struct record_counters by) {
    book_counters_add(&dest->counters, &by);
    book_counters_add(&book->totals, &by);
}

mr_err book_broken(struct book *book) {
    book->is_broken = true;
    return MR_ERR(MR_E_NOMEM);
}

/* --- EVENT --------------------------------------------------------------------------------------
 */

static void apply_skip(struct book *book, struct dest *dest, const struct record_event *event) {
    book_count(book, dest, (struct record_counters){.skipped = 1});
    if (dest->gap_events == 0) {
        dest->gap_from_ms = event->accepted_ms;
    }
    dest->gap_events++;
    dest->gap_to_ms = event->accepted_ms;
}

static mr_err apply_event(struct book *book, uint64_t pos, mr_str body) {
    struct record_event event;
    MR_TRY(record_event_decode(body, &event));
    mr_str type = record_event_member(&event, RECORD_TYPE_ATTRIBUTE);
    mr_str walk = event.targets;
    struct record_target target;
    while (record_targets_next(&walk, &target)) {
        struct dest *dest = book_dest_ensure(book, target.destination);
        if (dest == NULL) {
            return book_broken(book);
        }
        dest->account = event.account;
        if ((target.flags & RECORD_TARGET_SKIPPED) != 0) {
            apply_skip(book, dest, &event);
            continue;
        }
        struct queue_entry entry = {
            .pos = pos, .accepted_ms = event.accepted_ms, .size = (uint32_t)event.envelope.len};
        bool is_added;
        if (mr_is_err(
                book_key_ensure(book, type, record_target_version(&event, &target), &entry.key)) ||
            mr_is_err(queue_add(&dest->live, &entry, &is_added))) {
            return book_broken(book);
        }
        if (is_added) {
            book_count(book, dest, (struct record_counters){.created = 1, .pending = 1});
            dest->gap_events = 0;
            dest->gap_from_ms = 0;
            dest->gap_to_ms = 0;
        }
        book_dest_check(dest);
    }
    return MR_OK;
}

/* --- OUTCOME ------------------------------------------------------------------------------------
 */

static void note_attempt(struct book *book, struct dest *dest,
                         const struct record_outcome *outcome) {
    if ((outcome->flags & RECORD_OUTCOME_FAILED) != 0) {
        book_count(book, dest, (struct record_counters){.failed_attempts = 1});
        if (dest->failing_since_ms == 0) {
            dest->failing_since_ms = outcome->at_ms;
        }
    }
}

static void apply_delivered(struct book *book, struct dest *dest,
                            const struct record_outcome *outcome,
                            struct record_positions positions) {
    dest->failing_since_ms = 0;
    dest->last_delivered_ms = outcome->at_ms;
    uint32_t i = dest->n_requests == 0 ? 0 : book_request_find(dest, outcome->origin, positions);
    uint64_t n = 0;
    if (i < dest->n_requests) {
        n = dest->requests[i]->head.n;
        book_requests_drop(dest, i);
    } else {
        uint64_t pos;
        struct queue_entry entry;
        while (record_positions_next(&positions, &pos)) {
            n += book_take(dest, outcome->origin, pos, &entry);
        }
        book->late += outcome->n_positions - n;
    }
    book_count(book, dest, (struct record_counters){.delivered = n, .pending = 0 - n});
}

/* Makes a request of the n entries and puts it last. */
static mr_err open_request(struct dest *dest, const struct record_outcome *outcome,
                           const struct queue_entry *entries, uint32_t n) {
    struct request *request = book_request_new(n);
    if (request == NULL || mr_is_err(book_requests_reserve(dest, 1))) {
        mr_free(request);
        return MR_ERR(MR_E_NOMEM);
    }
    struct book_request *head = &request->head;
    head->destination = dest->number;
    head->origin = outcome->origin;
    head->n = n;
    for (uint32_t i = 0; i < n; i++) {
        request->entries[i] = entries[i];
        request->positions[i] = entries[i].pos;
        head->bytes += entries[i].size;
    }
    head->key = entries[0].key;
    dest->requests[dest->n_requests] = request;
    dest->n_requests++;
    return MR_OK;
}

/* What an attempt says of an open request. */
static void set_request(struct request *request, const struct record_outcome *outcome) {
    struct book_request *head = &request->head;
    head->form = outcome->form;
    head->attempt = outcome->attempt;
    head->due_ms = outcome->due_ms;
    head->first_ms = outcome->first_ms;
    head->last_status = outcome->last_status;
    head->last_reason = outcome->reason;
    head->is_part = (outcome->flags & RECORD_OUTCOME_PART) != 0;
}

mr_err book_taken_reserve(struct book *book, uint32_t n) {
    if (n > book->taken_capacity) {
        struct queue_entry *taken = mr_realloc(book->taken, (size_t)n * sizeof *taken);
        if (taken == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        book->taken = taken;
        book->taken_capacity = n;
    }
    return MR_OK;
}

/* Takes the positions out into book->taken; *ret_first: how many of the first `split_at` were
 * there. */
static mr_err take_all(struct book *book, struct dest *dest, const struct record_outcome *outcome,
                       struct record_positions positions, uint32_t *ret_n, uint32_t *ret_first) {
    MR_TRY(book_taken_reserve(book, outcome->n_positions));
    uint64_t pos;
    uint32_t n = 0;
    uint32_t n_first = 0;
    for (uint32_t i = 0; record_positions_next(&positions, &pos); i++) {
        if (book_take(dest, outcome->origin, pos, &book->taken[n])) {
            n++;
            n_first += i < outcome->split_at;
        }
    }
    book->late += outcome->n_positions - n;
    *ret_n = n;
    *ret_first = n_first;
    return MR_OK;
}

/* RETRY and SPLIT: the composition, or its two parts, are open requests now. */
static mr_err apply_open(struct book *book, struct dest *dest, const struct record_outcome *outcome,
                         struct record_positions positions) {
    if (outcome->kind == RECORD_RETRY) {
        uint32_t i = book_request_find(dest, outcome->origin, positions);
        if (i < dest->n_requests) {
            set_request(dest->requests[i], outcome);
            return MR_OK;
        }
    }
    uint32_t n;
    uint32_t n_first;
    MR_TRY(take_all(book, dest, outcome, positions, &n, &n_first));
    if (n_first > 0) {
        MR_TRY(open_request(dest, outcome, book->taken, n_first));
        set_request(dest->requests[dest->n_requests - 1], outcome);
    }
    if (n > n_first) {
        MR_TRY(open_request(dest, outcome, book->taken + n_first, n - n_first));
        set_request(dest->requests[dest->n_requests - 1], outcome);
    }
    return MR_OK;
}

static mr_err apply_outcome(struct book *book, mr_str body) {
    struct record_outcome outcome;
    struct record_positions positions;
    MR_TRY(record_outcome_decode(body, &outcome, &positions));
    struct dest *dest = book_dest_ensure(book, outcome.destination);
    if (dest == NULL) {
        return book_broken(book);
    }
    note_attempt(book, dest, &outcome);
    switch ((enum record_outcome_kind)outcome.kind) {
    case RECORD_DELIVERED:
        apply_delivered(book, dest, &outcome, positions);
        break;
    case RECORD_RETRY:
    case RECORD_SPLIT:
        if (mr_is_err(apply_open(book, dest, &outcome, positions))) {
            return book_broken(book);
        }
        break;
    case RECORD_SINGLES:
        dest->singles_until_ms = outcome.due_ms;
        break;
    }
    book_dest_check(dest);
    return MR_OK;
}

/* --- DEAD, EXPIRE -------------------------------------------------------------------------------
 */

static mr_err apply_dead(struct book *book, mr_str body) {
    struct record_dead dead;
    const uint8_t *items;
    MR_TRY(record_dead_decode(body, &dead, &items));
    struct dest *dest = book_dest_ensure(book, dead.destination);
    if (dest == NULL || mr_is_err(letters_reserve(&book->letters, dead.n))) {
        return book_broken(book);
    }
    if ((dead.flags & RECORD_DEAD_FAILED) != 0) {
        book_count(book, dest, (struct record_counters){.failed_attempts = 1});
        if (dest->failing_since_ms == 0) {
            dest->failing_since_ms = dead.last_ms;
        }
    }
    for (uint32_t i = 0; i < dead.n; i++) {
        struct record_dead_item item = record_dead_item_at(items, i);
        struct queue_entry entry;
        if (!book_take(dest, dead.origin, item.pos, &entry)) {
            book->late++;
            continue;
        }
        book_count(book, dest, (struct record_counters){.dead = 1, .pending = UINT64_MAX});
        struct book_letter letter = {
            .id = item.id,
            .pos = item.pos,
            .accepted_ms = entry.accepted_ms,
            .first_ms = dead.first_ms,
            .last_ms = dead.last_ms,
            .destination = dead.destination,
            .account = dest->account,
            .origin = dead.origin,
            .key = entry.key,
            .size = entry.size,
            .attempts = dead.attempts,
            .last_status = dead.last_status,
            .reason = dead.reason,
            .has_payload = (dead.flags & RECORD_DEAD_NO_PAYLOAD) == 0,
        };
        dest->dead_letters += letters_add(&book->letters, &letter);
    }
    book_dest_check(dest);
    return MR_OK;
}

static void remove_letter(struct book *book, const struct record_letter_id *id) {
    struct book_letter letter;
    if (letters_remove(&book->letters, id, &letter)) {
        struct dest *dest = book_dest_find(book, letter.destination);
        MR_ASSERT(dest != NULL && dest->dead_letters > 0);
        dest->dead_letters--;
    }
}

static mr_err apply_expire(struct book *book, mr_str body) {
    uint8_t cause;
    uint32_t n;
    const uint8_t *ids;
    MR_TRY(record_expire_decode(body, &cause, &n, &ids));
    for (uint32_t i = 0; i < n; i++) {
        struct record_letter_id id = record_expire_id_at(ids, i);
        remove_letter(book, &id);
    }
    return MR_OK;
}

/* --- ADD ----------------------------------------------------------------------------------------
 */

static mr_err apply_add(struct book *book, mr_str body) {
    struct record_add add;
    const uint8_t *items;
    MR_TRY(record_add_decode(body, &add, &items));
    struct dest *dest = book_dest_ensure(book, add.destination);
    uint32_t key;
    if (dest == NULL || mr_is_err(book_key_ensure(book, add.type, add.version, &key))) {
        return book_broken(book);
    }
    dest->account = add.account;
    book->origin_max = add.origin > book->origin_max ? add.origin : book->origin_max;
    for (uint32_t i = 0; i < add.n; i++) {
        struct record_add_item item = record_add_item_at(items, i);
        struct queue_entry entry = {
            .pos = item.pos, .accepted_ms = item.accepted_ms, .key = key, .size = item.size};
        struct queue *queue = book_queue_ensure(dest, add.origin);
        bool is_added;
        if (queue == NULL || mr_is_err(queue_add(queue, &entry, &is_added))) {
            return book_broken(book);
        }
        if (is_added) {
            book_count(book, dest, (struct record_counters){.created = 1, .pending = 1});
        }
        if (add.kind == RECORD_ADD_REDRIVE) {
            remove_letter(book, &item.letter);
        }
    }
    book_dest_check(dest);
    return MR_OK;
}

/* ------------------------------------------------------------------------------------------------
 */

mr_err book_fold(struct book *book, uint64_t pos, uint8_t type, mr_str body) {
    if (book->is_broken) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_err err = MR_ERR(LEDGER_E_RECORD);
    switch ((enum record_type)type) {
    case RECORD_EVENT:
        err = apply_event(book, pos, body);
        break;
    case RECORD_OUTCOME:
        err = apply_outcome(book, body);
        break;
    case RECORD_DEAD:
        err = apply_dead(book, body);
        break;
    case RECORD_ADD:
        err = apply_add(book, body);
        break;
    case RECORD_DISCARD:
        err = book_apply_discard(book, body);
        break;
    case RECORD_ERASED:
        err = book_apply_erased(book, body);
        break;
    case RECORD_TOTALS:
        err = MR_OK; /* says what the book knows */
        break;
    case RECORD_EXPIRE:
        err = apply_expire(book, body);
        break;
    case RECORD_AUDIT:
        err = record_audit_decode(body, &book->audit); /* the last one counts */
        break;
    case RECORD_CALLBACK:
        err = book_apply_callback(book, pos, body);
        break;
    case RECORD_CALLBACK_OUTCOME:
        err = book_apply_callback_outcome(book, body);
        break;
    case RECORD_NONE:
        break;
    }
    if (mr_is_err(err) && !book->is_broken) {
        mr_error(book->options.log, "record_unreadable", mr_kv_c("type", record_type_name(type)),
                 mr_kv_i64("pos", (int64_t)pos));
    }
    return err;
}

mr_err book_apply(struct book *book, uint64_t pos, uint64_t next_pos, uint8_t type, mr_str body) {
    MR_ASSERT(pos >= book->position && next_pos > pos);
    mr_err err = book_fold(book, pos, type, body);
    if (!book->is_broken) {
        book->position = next_pos;
    }
    return err;
}

uint64_t book_position(const struct book *book) {
    return book->position;
}

void book_advance(struct book *book, uint64_t pos) {
    if (pos > book->position) {
        book->position = pos;
    }
}
