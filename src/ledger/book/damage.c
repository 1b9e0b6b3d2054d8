/* Damage that recovery told of: which pending deliveries lie in it. */
#include "ledger/book/parts.h"

#include "base/mem.h"

mr_err book_damage(struct book *book, uint64_t pos, uint64_t end_pos) {
    if (book->is_broken) {
        return MR_ERR(MR_E_NOMEM);
    }
    if (book->n_damage == book->damage_capacity) {
        uint32_t capacity = book->damage_capacity * 2 + 8;
        struct damage_range *damage = mr_realloc(book->damage, capacity * sizeof *damage);
        if (damage == NULL) {
            return book_broken(book);
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
    uint8_t bits[10];
    random(random_ctx, bits, sizeof bits);
    struct record_letter_id id = record_letter_id_make(wall_ms, bits);
    for (uint32_t i = 0; i < dead.n; i++) {
        items[i] = (struct record_dead_item){.pos = positions[i], .id = id};
        id = record_letter_id_next(&id);
    }
    return record_dead_encode(&dead, items, out, size, ret_len);
}
