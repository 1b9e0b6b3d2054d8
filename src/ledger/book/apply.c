/* Folding one record into a book. What the rules are is told in book.c; here is one function per
 * type of record. Counters of a destination and the book's sums change together, in `count`. */
#include "ledger/book.h"

#include "base/mem.h"
#include "ledger/book/parts.h"

/* Adds to a destination's counters and to the sums. Unsigned wrap-around makes a difference of -1
 * work; the law is checked after the record. */
static void count(struct book *book, struct dest *dest, struct record_counters by) {
    book_counters_add(&dest->counters, &by);
    book_counters_add(&book->totals, &by);
}

static mr_err broken(struct book *book) {
    book->is_broken = true;
    return MR_ERR(MR_E_NOMEM);
}

/* --- EVENT --------------------------------------------------------------------------------------
 */

static void apply_skip(struct book *book, struct dest *dest, const struct record_event *event) {
    count(book, dest, (struct record_counters){.skipped = 1});
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
            return broken(book);
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
            return broken(book);
        }
        if (is_added) {
            count(book, dest, (struct record_counters){.created = 1, .pending = 1});
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
        count(book, dest, (struct record_counters){.failed_attempts = 1});
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
    count(book, dest, (struct record_counters){.delivered = n, .pending = 0 - n});
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

static mr_err reserve_taken(struct book *book, uint32_t n) {
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
    MR_TRY(reserve_taken(book, outcome->n_positions));
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
        return broken(book);
    }
    note_attempt(book, dest, &outcome);
    switch ((enum record_outcome_kind)outcome.kind) {
    case RECORD_DELIVERED:
        apply_delivered(book, dest, &outcome, positions);
        break;
    case RECORD_RETRY:
    case RECORD_SPLIT:
        if (mr_is_err(apply_open(book, dest, &outcome, positions))) {
            return broken(book);
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
        return broken(book);
    }
    if ((dead.flags & RECORD_DEAD_FAILED) != 0) {
        count(book, dest, (struct record_counters){.failed_attempts = 1});
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
        count(book, dest, (struct record_counters){.dead = 1, .pending = UINT64_MAX});
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
        return broken(book);
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
            return broken(book);
        }
        if (is_added) {
            count(book, dest, (struct record_counters){.created = 1, .pending = 1});
        }
        if (add.kind == RECORD_ADD_REDRIVE) {
            remove_letter(book, &item.letter);
        }
    }
    book_dest_check(dest);
    return MR_OK;
}

/* --- DISCARD, ERASED ----------------------------------------------------------------------------
 */

static bool type_is_listed(const struct record_discard *discard, mr_str type) {
    mr_str walk = discard->types;
    mr_str listed;
    while (record_types_next(&walk, &listed)) {
        if (mr_str_eq(listed, type)) {
            return true;
        }
    }
    return discard->n_types == 0;
}

static bool is_discarded(const struct book *book, const struct record_discard *discard,
                         const struct queue_entry *entry) {
    return entry->accepted_ms < discard->before_ms &&
           type_is_listed(discard, book->keys[entry->key].type);
}

/* Gathers what of a queue is to go into book->taken. */
static mr_err gather(struct book *book, const struct record_discard *discard,
                     const struct queue *queue, uint32_t *ret_n) {
    if (queue->n > UINT32_MAX) {
        return MR_ERR(MR_E_NOMEM);
    }
    MR_TRY(reserve_taken(book, (uint32_t)queue->n));
    struct queue_walk walk;
    struct queue_entry entry;
    uint32_t n = 0;
    queue_walk_init(&walk, queue, 0);
    while (queue_walk_next(&walk, &entry)) {
        if (is_discarded(book, discard, &entry)) {
            book->taken[n++] = entry;
        }
    }
    *ret_n = n;
    return MR_OK;
}

static mr_err discard_queue(struct book *book, const struct record_discard *discard,
                            struct queue *queue, uint64_t *n_discarded) {
    uint32_t n;
    MR_TRY(gather(book, discard, queue, &n));
    *n_discarded += n;
    if (n == queue->n) {
        queue_done(queue);
        return MR_OK;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct queue_entry entry;
        bool was_there = queue_take(queue, book->taken[i].pos, &entry);
        MR_ASSERT(was_there);
    }
    return MR_OK;
}

static mr_err discard_request(struct book *book, const struct record_discard *discard,
                              struct dest *dest, uint32_t i, uint64_t *n_discarded) {
    struct request *request = dest->requests[i];
    uint32_t n = 0;
    MR_TRY(reserve_taken(book, request->head.n));
    for (uint32_t j = 0; j < request->head.n; j++) {
        if (is_discarded(book, discard, &request->entries[j])) {
            book->taken[n++] = request->entries[j];
        }
    }
    *n_discarded += n;
    uint32_t origin = request->head.origin;
    for (uint32_t j = 0; j < n; j++) {
        struct queue_entry entry;
        bool was_there = book_take(dest, origin, book->taken[j].pos, &entry);
        MR_ASSERT(was_there);
    }
    return MR_OK;
}

static mr_err discard_matching(struct book *book, const struct record_discard *discard,
                               struct dest *dest, uint64_t *ret_n) {
    uint64_t n = 0;
    MR_TRY(discard_queue(book, discard, &dest->live, &n));
    for (uint32_t i = dest->n_others; i-- > 0;) {
        MR_TRY(discard_queue(book, discard, &dest->others[i].queue, &n));
        if (dest->others[i].queue.n == 0) {
            queue_done(&dest->others[i].queue);
            dest->n_others--;
            memmove(dest->others + i, dest->others + i + 1,
                    (dest->n_others - i) * sizeof *dest->others);
        }
    }
    for (uint32_t i = dest->n_requests; i-- > 0;) {
        MR_TRY(discard_request(book, discard, dest, i, &n));
    }
    *ret_n = n;
    return MR_OK;
}

static mr_err apply_discard(struct book *book, mr_str body) {
    struct record_discard discard;
    struct record_positions positions;
    MR_TRY(record_discard_decode(body, &discard, &positions));
    struct dest *dest = book_dest_ensure(book, discard.destination);
    if (dest == NULL) {
        return broken(book);
    }
    uint64_t n = 0;
    if (discard.n_positions > 0) {
        uint64_t pos;
        struct queue_entry entry;
        while (record_positions_next(&positions, &pos)) {
            n += book_take(dest, discard.origin, pos, &entry);
        }
        book->late += discard.n_positions - n;
    } else if (mr_is_err(discard_matching(book, &discard, dest, &n))) {
        return broken(book);
    }
    count(book, dest, (struct record_counters){.discarded = n, .pending = 0 - n});
    book_dest_check(dest);
    return MR_OK;
}

/* All deliveries of one event to one destination, of any origin. */
static uint64_t take_everywhere(struct dest *dest, uint64_t pos) {
    struct queue_entry entry;
    uint64_t n = book_take(dest, 0, pos, &entry);
    for (uint32_t i = dest->n_others; i-- > 0;) {
        n += book_take(dest, dest->others[i].origin, pos, &entry);
    }
    for (uint32_t i = dest->n_requests; i-- > 0;) {
        if (i < dest->n_requests) {
            n += book_take(dest, dest->requests[i]->head.origin, pos, &entry);
        }
    }
    return n;
}

static mr_err apply_erased(struct book *book, mr_str body) {
    struct record_positions positions;
    MR_TRY(record_erased_decode(body, &positions));
    uint64_t pos;
    while (record_positions_next(&positions, &pos)) {
        for (uint32_t i = 0; i < book->n_dests; i++) {
            uint64_t n = take_everywhere(book->dests[i], pos);
            count(book, book->dests[i], (struct record_counters){.discarded = n, .pending = 0 - n});
            book_dest_check(book->dests[i]);
        }
        for (size_t i = book->letters.first; i < book->letters.n; i++) {
            struct letter *item = &book->letters.items[i];
            if (item->is_live && item->letter.pos == pos) {
                item->letter.has_payload = false;
            }
        }
    }
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
        err = apply_discard(book, body);
        break;
    case RECORD_ERASED:
        err = apply_erased(book, body);
        break;
    case RECORD_TOTALS:
        err = MR_OK; /* says what the book knows */
        break;
    case RECORD_EXPIRE:
        err = apply_expire(book, body);
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

mr_err book_damage(struct book *book, uint64_t pos, uint64_t end_pos) {
    if (book->is_broken) {
        return MR_ERR(MR_E_NOMEM);
    }
    if (book->n_damage == book->damage_capacity) {
        uint32_t capacity = book->damage_capacity * 2 + 8;
        struct damage_range *damage = mr_realloc(book->damage, capacity * sizeof *damage);
        if (damage == NULL) {
            return broken(book);
        }
        book->damage = damage;
        book->damage_capacity = capacity;
    }
    book->damage[book->n_damage] = (struct damage_range){.pos = pos, .end_pos = end_pos};
    book->n_damage++;
    book->damage_dest = 0;
    return MR_OK;
}

/* Positions of pending deliveries of one origin that lie in damage, up to BOOK_UNREADABLE_MAX. */
static uint32_t damaged_in_queue(const struct book *book, const struct queue *queue,
                                 uint64_t *out) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < book->n_damage; i++) {
        struct queue_walk walk;
        struct queue_entry entry;
        queue_walk_init(&walk, queue, book->damage[i].pos);
        while (n < BOOK_UNREADABLE_MAX && queue_walk_next(&walk, &entry) &&
               entry.pos < book->damage[i].end_pos) {
            out[n++] = entry.pos;
        }
    }
    return n;
}

static bool is_damaged(const struct book *book, uint64_t pos) {
    for (uint32_t i = 0; i < book->n_damage; i++) {
        if (pos >= book->damage[i].pos && pos < book->damage[i].end_pos) {
            return true;
        }
    }
    return false;
}

static uint32_t damaged_in_dest(const struct book *book, const struct dest *dest,
                                uint32_t *ret_origin, uint32_t *ret_attempts, uint64_t *out) {
    *ret_origin = 0;
    *ret_attempts = 0;
    uint32_t n = damaged_in_queue(book, &dest->live, out);
    for (uint32_t i = 0; n == 0 && i < dest->n_others; i++) {
        *ret_origin = dest->others[i].origin;
        n = damaged_in_queue(book, &dest->others[i].queue, out);
    }
    for (uint32_t i = 0; n == 0 && i < dest->n_requests; i++) {
        const struct book_request *head = &dest->requests[i]->head;
        *ret_origin = head->origin;
        *ret_attempts = head->attempt;
        for (uint32_t j = 0; j < head->n && n < BOOK_UNREADABLE_MAX; j++) {
            if (is_damaged(book, head->positions[j])) {
                out[n++] = head->positions[j];
            }
        }
    }
    return n;
}

mr_err book_unreadable_next(struct book *book, int64_t wall_ms,
                            void (*random)(void *ctx, void *out, size_t n), void *random_ctx,
                            uint8_t *out, size_t size, size_t *ret_len) {
    uint64_t positions[BOOK_UNREADABLE_MAX];
    struct record_dead dead = {.reason = RECORD_REASON_UNREADABLE, .flags = RECORD_DEAD_NO_PAYLOAD};
    if (book->n_damage == 0) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    while (dead.n == 0) {
        if (book->damage_dest == book->n_dests) {
            return MR_ERR(MR_E_NOT_FOUND);
        }
        const struct dest *dest = book->dests[book->damage_dest];
        dead.n = damaged_in_dest(book, dest, &dead.origin, &dead.attempts, positions);
        dead.destination = dest->number;
        book->damage_dest += dead.n == 0;
    }
    struct record_dead_item items[BOOK_UNREADABLE_MAX];
    for (uint32_t i = 0; i < dead.n; i++) {
        uint8_t bits[10];
        random(random_ctx, bits, sizeof bits);
        items[i] = (struct record_dead_item){.pos = positions[i],
                                             .id = record_letter_id_make(wall_ms, bits)};
    }
    return record_dead_encode(&dead, items, out, size, ret_len);
}
