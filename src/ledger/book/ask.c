/* Asking a book: destinations, what is owed, sums; and checking it whole. See book.h.
 * Nothing here changes a book. */
#include "ledger/book.h"

#include "ledger/book/parts.h"

uint32_t book_n_keys(const struct book *book) {
    return book->n_keys;
}

struct book_key book_key(const struct book *book, uint32_t key) {
    MR_ASSERT(key < book->n_keys);
    return (struct book_key){.type = book->keys[key].type, .version = book->keys[key].version};
}

const uint8_t *book_store_id(const struct book *book) {
    return book->has_store_id ? book->store_id : NULL;
}

uint32_t book_next_origin(const struct book *book) {
    return book->origin_max + 1;
}

void book_totals(const struct book *book, struct record_counters *ret_counters) {
    *ret_counters = book->totals;
}

/* --- destinations -------------------------------------------------------------------------------
 */

static struct book_destination describe(const struct dest *dest) {
    struct book_destination out = {
        .number = dest->number,
        .account = dest->account,
        .counters = dest->counters,
        .waiting = dest->live.n,
        .waiting_bytes = dest->live.bytes,
        .open_requests = dest->n_requests,
        .dead_letters = dest->dead_letters,
        .singles_until_ms = dest->singles_until_ms,
        .failing_since_ms = dest->failing_since_ms,
        .gap_from_ms = dest->gap_from_ms,
        .gap_to_ms = dest->gap_to_ms,
        .gap_events = dest->gap_events,
        .last_delivered_ms = dest->last_delivered_ms,
    };
    for (uint32_t i = 0; i < dest->n_others; i++) {
        out.waiting += dest->others[i].queue.n;
        out.waiting_bytes += dest->others[i].queue.bytes;
    }
    return out;
}

mr_err book_destination_get(const struct book *book, uint32_t number,
                            struct book_destination *ret_destination) {
    const struct dest *dest = book_dest_find(book, number);
    if (dest == NULL) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    *ret_destination = describe(dest);
    return MR_OK;
}

mr_err book_each_destination(const struct book *book,
                             mr_err (*each)(void *ctx, const struct book_destination *destination),
                             void *ctx) {
    for (uint32_t i = 0; i < book->n_dests; i++) {
        struct book_destination destination = describe(book->dests[i]);
        MR_TRY(each(ctx, &destination));
    }
    return MR_OK;
}

/* --- what is owed -------------------------------------------------------------------------------
 */

struct span {
    uint64_t from, to;
};

static mr_err each_in_queue(const struct queue *queue, uint32_t origin, struct span span,
                            mr_err (*each)(void *ctx, const struct book_waiting *waiting),
                            void *ctx) {
    struct queue_walk walk;
    struct queue_entry entry;
    queue_walk_init(&walk, queue, span.from);
    while (queue_walk_next(&walk, &entry) && entry.pos < span.to) {
        struct book_waiting waiting = {.pos = entry.pos,
                                       .accepted_ms = entry.accepted_ms,
                                       .size = entry.size,
                                       .key = entry.key,
                                       .origin = origin};
        MR_TRY(each(ctx, &waiting));
    }
    return MR_OK;
}

static mr_err each_waiting(const struct dest *dest, struct span span,
                           mr_err (*each)(void *ctx, const struct book_waiting *waiting),
                           void *ctx) {
    MR_TRY(each_in_queue(&dest->live, 0, span, each, ctx));
    for (uint32_t i = 0; i < dest->n_others; i++) {
        MR_TRY(each_in_queue(&dest->others[i].queue, dest->others[i].origin, span, each, ctx));
    }
    return MR_OK;
}

mr_err book_each_waiting(const struct book *book, uint32_t destination, uint64_t from, uint64_t to,
                         mr_err (*each)(void *ctx, const struct book_waiting *waiting), void *ctx) {
    const struct dest *dest = book_dest_find(book, destination);
    return dest == NULL ? MR_OK : each_waiting(dest, (struct span){from, to}, each, ctx);
}

mr_err book_each_request(const struct book *book, uint32_t destination,
                         mr_err (*each)(void *ctx, const struct book_request *request), void *ctx) {
    const struct dest *dest = book_dest_find(book, destination);
    for (uint32_t i = 0; dest != NULL && i < dest->n_requests; i++) {
        MR_TRY(each(ctx, &dest->requests[i]->head));
    }
    return MR_OK;
}

uint32_t book_request_key(const struct book_request *request, uint32_t i) {
    const struct request *own =
        (const struct request *)(const void *)((const char *)request -
                                               offsetof(struct request, head));
    MR_ASSERT(i < request->n);
    return own->entries[i].key;
}

struct needed {
    mr_err (*each)(void *ctx, uint32_t destination, uint32_t origin, uint64_t event_pos,
                   uint32_t size, enum book_need need);
    void *ctx;
    uint32_t destination;
};

static mr_err need_waiting(void *ctx, const struct book_waiting *waiting) {
    const struct needed *needed = ctx;
    return needed->each(needed->ctx, needed->destination, waiting->origin, waiting->pos,
                        waiting->size, BOOK_NEED_PENDING);
}

mr_err book_each_needed(const struct book *book, uint64_t pos,
                        mr_err (*each)(void *ctx, uint32_t destination, uint32_t origin,
                                       uint64_t event_pos, uint32_t size, enum book_need need),
                        void *ctx) {
    for (uint32_t i = 0; i < book->n_dests; i++) {
        const struct dest *dest = book->dests[i];
        struct needed needed = {.each = each, .ctx = ctx, .destination = dest->number};
        MR_TRY(each_waiting(dest, (struct span){0, pos}, need_waiting, &needed));
        for (uint32_t j = 0; j < dest->n_requests; j++) {
            const struct request *request = dest->requests[j];
            for (uint32_t k = 0; k < request->head.n; k++) {
                if (request->positions[k] < pos) {
                    MR_TRY(each(ctx, dest->number, request->head.origin, request->positions[k],
                                request->entries[k].size, BOOK_NEED_PENDING));
                }
            }
        }
    }
    for (size_t i = book->letters.first; i < book->letters.n; i++) {
        const struct letter *item = &book->letters.items[i];
        if (item->is_live && item->letter.has_payload && item->letter.pos < pos) {
            MR_TRY(each(ctx, item->letter.destination, item->letter.origin, item->letter.pos,
                        item->letter.size, BOOK_NEED_LETTER));
        }
    }
    return MR_OK;
}

static uint64_t lower(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

uint64_t book_pending_from(const struct book *book) {
    uint64_t from = book->position;
    for (uint32_t i = 0; i < book->n_dests; i++) {
        const struct dest *dest = book->dests[i];
        from = lower(from, queue_first(&dest->live));
        for (uint32_t j = 0; j < dest->n_others; j++) {
            from = lower(from, queue_first(&dest->others[j].queue));
        }
        for (uint32_t j = 0; j < dest->n_requests; j++) {
            for (uint32_t k = 0; k < dest->requests[j]->head.n; k++) {
                from = lower(from, dest->requests[j]->positions[k]);
            }
        }
    }
    return from;
}

/* --- checks -------------------------------------------------------------------------------------
 */

static void assert_dest(const struct dest *dest) {
    book_dest_check(dest);
    uint64_t pending = dest->live.n;
    queue_assert_valid(&dest->live);
    for (uint32_t i = 0; i < dest->n_others; i++) {
        queue_assert_valid(&dest->others[i].queue);
        pending += dest->others[i].queue.n;
    }
    for (uint32_t i = 0; i < dest->n_requests; i++) {
        const struct request *request = dest->requests[i];
        MR_ASSERT(request->head.n > 0);
        uint64_t bytes = 0;
        for (uint32_t j = 0; j < request->head.n; j++) {
            MR_ASSERT(request->positions[j] == request->entries[j].pos);
            bytes += request->entries[j].size;
        }
        MR_ASSERT(bytes == request->head.bytes);
        pending += request->head.n;
    }
    MR_ASSERT(pending == dest->counters.pending);
}

void book_assert_valid(const struct book *book) {
    struct record_counters sums = {0};
    uint64_t n_letters = 0;
    for (uint32_t i = 0; i < book->n_dests; i++) {
        assert_dest(book->dests[i]);
        book_counters_add(&sums, &book->dests[i]->counters);
        n_letters += book->dests[i]->dead_letters;
    }
    MR_ASSERT(memcmp(&sums, &book->totals, sizeof sums) == 0);
    MR_ASSERT(n_letters == book->letters.n_live);
    book_callbacks_assert_valid(&book->callbacks);
}

const struct record_audit *book_audit(const struct book *book) {
    return &book->audit;
}

uint64_t book_late(const struct book *book) {
    return book->late;
}

uint64_t book_memory_bytes(const struct book *book) {
    uint64_t bytes = sizeof *book + (uint64_t)book->dests_capacity * sizeof(struct dest *) +
                     (uint64_t)book->n_dests * sizeof(struct dest) +
                     ((uint64_t)book->n_dest_slots + book->n_key_slots) * sizeof(uint32_t) +
                     (uint64_t)book->keys_capacity * sizeof(struct key) + book->key_texts.used +
                     letters_memory_bytes(&book->letters) +
                     book_callbacks_memory_bytes(&book->callbacks) +
                     (uint64_t)book->taken_capacity * sizeof(struct queue_entry);
    for (uint32_t i = 0; i < book->n_dests; i++) {
        const struct dest *dest = book->dests[i];
        bytes += queue_memory_bytes(&dest->live);
        for (uint32_t j = 0; j < dest->n_others; j++) {
            bytes += sizeof dest->others[j] + queue_memory_bytes(&dest->others[j].queue);
        }
        for (uint32_t j = 0; j < dest->n_requests; j++) {
            bytes += sizeof(struct request) +
                     dest->requests[j]->head.n * (sizeof(struct queue_entry) + sizeof(uint64_t));
        }
    }
    return bytes;
}

/* --- comparing ----------------------------------------------------------------------------------
 */

static bool differ(mr_buf *why, const char *what, uint32_t destination, uint64_t a, uint64_t b) {
    if (why != NULL) {
        mr_ignore(mr_buf_printf(why, "destination %u: %s: %llu, %llu", destination, what,
                                (unsigned long long)a, (unsigned long long)b),
                  "a text cut off still says that there is a difference");
    }
    return false;
}

static bool same_key(const struct book *a, uint32_t key_a, const struct book *b, uint32_t key_b) {
    if (key_a == BOOK_KEY_NONE || key_b == BOOK_KEY_NONE) {
        return key_a == key_b;
    }
    return a->keys[key_a].version == b->keys[key_b].version &&
           mr_str_eq(a->keys[key_a].type, b->keys[key_b].type);
}

static bool same_entry(const struct book *a, const struct queue_entry *x, const struct book *b,
                       const struct queue_entry *y) {
    return x->pos == y->pos && x->accepted_ms == y->accepted_ms && x->size == y->size &&
           same_key(a, x->key, b, y->key);
}

static bool same_queue(const struct book *a, const struct queue *x, const struct book *b,
                       const struct queue *y) {
    struct queue_walk walk_x;
    struct queue_walk walk_y;
    struct queue_entry entry_x;
    struct queue_entry entry_y;
    queue_walk_init(&walk_x, x, 0);
    queue_walk_init(&walk_y, y, 0);
    while (queue_walk_next(&walk_x, &entry_x)) {
        if (!queue_walk_next(&walk_y, &entry_y) || !same_entry(a, &entry_x, b, &entry_y)) {
            return false;
        }
    }
    return x->n == y->n;
}

static bool same_request(const struct book *a, const struct request *x, const struct book *b,
                         const struct request *y) {
    const struct book_request *p = &x->head;
    const struct book_request *q = &y->head;
    if (p->origin != q->origin || p->n != q->n || p->form != q->form || p->attempt != q->attempt ||
        p->bytes != q->bytes || p->last_status != q->last_status ||
        p->last_reason != q->last_reason || p->is_part != q->is_part || p->due_ms != q->due_ms ||
        p->first_ms != q->first_ms || !same_key(a, p->key, b, q->key)) {
        return false;
    }
    for (uint32_t i = 0; i < p->n; i++) {
        if (!same_entry(a, &x->entries[i], b, &y->entries[i])) {
            return false;
        }
    }
    return true;
}

static bool same_dest(const struct book *a, const struct dest *x, const struct book *b,
                      const struct dest *y, mr_buf *why) {
    const struct record_counters *p = &x->counters;
    const struct record_counters *q = &y->counters;
    const struct {
        const char *what;
        uint64_t a, b;
    } numbers[] = {
        {"created", p->created, q->created},
        {"pending", p->pending, q->pending},
        {"delivered", p->delivered, q->delivered},
        {"dead", p->dead, q->dead},
        {"discarded", p->discarded, q->discarded},
        {"skipped", p->skipped, q->skipped},
        {"failed_attempts", p->failed_attempts, q->failed_attempts},
        {"account", x->account, y->account},
        {"open requests", x->n_requests, y->n_requests},
        {"origins", x->n_others, y->n_others},
        {"dead letters kept", x->dead_letters, y->dead_letters},
        {"singles until", (uint64_t)x->singles_until_ms, (uint64_t)y->singles_until_ms},
        {"failing since", (uint64_t)x->failing_since_ms, (uint64_t)y->failing_since_ms},
        {"last delivered", (uint64_t)x->last_delivered_ms, (uint64_t)y->last_delivered_ms},
        {"gap", x->gap_events, y->gap_events},
        {"gap from", (uint64_t)x->gap_from_ms, (uint64_t)y->gap_from_ms},
        {"gap to", (uint64_t)x->gap_to_ms, (uint64_t)y->gap_to_ms},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (numbers[i].a != numbers[i].b) {
            return differ(why, numbers[i].what, x->number, numbers[i].a, numbers[i].b);
        }
    }
    if (!same_queue(a, &x->live, b, &y->live)) {
        return differ(why, "waiting", x->number, x->live.n, y->live.n);
    }
    for (uint32_t i = 0; i < x->n_others; i++) {
        if (x->others[i].origin != y->others[i].origin ||
            !same_queue(a, &x->others[i].queue, b, &y->others[i].queue)) {
            return differ(why, "waiting of origin", x->number, x->others[i].origin,
                          y->others[i].origin);
        }
    }
    for (uint32_t i = 0; i < x->n_requests; i++) {
        if (!same_request(a, x->requests[i], b, y->requests[i])) {
            return differ(why, "open request", x->number, i, i);
        }
    }
    return true;
}

static bool same_letter(const struct book *a, const struct book_letter *x, const struct book *b,
                        const struct book_letter *y) {
    return memcmp(x->id.bytes, y->id.bytes, sizeof x->id.bytes) == 0 && x->pos == y->pos &&
           x->accepted_ms == y->accepted_ms && x->first_ms == y->first_ms &&
           x->last_ms == y->last_ms && x->destination == y->destination &&
           x->account == y->account && x->origin == y->origin && x->size == y->size &&
           x->attempts == y->attempts && x->last_status == y->last_status &&
           x->reason == y->reason && x->has_payload == y->has_payload &&
           same_key(a, x->key, b, y->key);
}

bool book_equal(const struct book *a, const struct book *b, mr_buf *why) {
    if (a->position != b->position) {
        return differ(why, "position", 0, a->position, b->position);
    }
    if (a->n_dests != b->n_dests || a->origin_max != b->origin_max) {
        return differ(why, "destinations", 0, a->n_dests, b->n_dests);
    }
    for (uint32_t i = 0; i < a->n_dests; i++) {
        const struct dest *other = book_dest_find(b, a->dests[i]->number);
        if (other == NULL || other != b->dests[i]) {
            return differ(why, "order met", a->dests[i]->number, i, 0);
        }
        if (!same_dest(a, a->dests[i], b, other, why)) {
            return false;
        }
    }
    if (a->audit.number != b->audit.number ||
        memcmp(a->audit.hash, b->audit.hash, sizeof a->audit.hash) != 0) {
        return differ(why, "head of the audit log", 0, a->audit.number, b->audit.number);
    }
    if (!book_callbacks_equal(&a->callbacks, &b->callbacks)) {
        return differ(why, "callbacks", 0, a->callbacks.n_all, b->callbacks.n_all);
    }
    if (a->letters.n_live != b->letters.n_live) {
        return differ(why, "dead letters", 0, a->letters.n_live, b->letters.n_live);
    }
    size_t j = 0;
    for (size_t i = 0; i < a->letters.n; i++) {
        if (!a->letters.items[i].is_live) {
            continue;
        }
        while (!b->letters.items[j].is_live) {
            j++;
        }
        if (!same_letter(a, &a->letters.items[i].letter, b, &b->letters.items[j].letter)) {
            return differ(why, "dead letter", a->letters.items[i].letter.destination, i, j);
        }
        j++;
    }
    return true;
}
