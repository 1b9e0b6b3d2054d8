/* Folding in the records that take deliveries out unsent: DISCARD and ERASED. */
#include "ledger/book/parts.h"

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
    MR_TRY(book_taken_reserve(book, (uint32_t)queue->n));
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
    MR_TRY(book_taken_reserve(book, request->head.n));
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

mr_err book_apply_discard(struct book *book, mr_str body) {
    struct record_discard discard;
    struct record_positions positions;
    MR_TRY(record_discard_decode(body, &discard, &positions));
    struct dest *dest = book_dest_ensure(book, discard.destination);
    if (dest == NULL) {
        return book_broken(book);
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
        return book_broken(book);
    }
    book_count(book, dest, (struct record_counters){.discarded = n, .pending = 0 - n});
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

mr_err book_apply_erased(struct book *book, mr_str body) {
    struct record_positions positions;
    MR_TRY(record_erased_decode(body, &positions));
    uint64_t pos;
    while (record_positions_next(&positions, &pos)) {
        for (uint32_t i = 0; i < book->n_dests; i++) {
            uint64_t n = take_everywhere(book->dests[i], pos);
            book_count(book, book->dests[i],
                       (struct record_counters){.discarded = n, .pending = 0 - n});
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
