/* The body of a checkpoint, written: varints and texts, in the order of `book_body_save`. See
 * disk.c for the file around it. */
#include "ledger/book/body.h"

#include "base/mem.h"
#include "crypto/crc32c.h"

void book_sink_flush(struct book_sink *sink) {
    if (mr_is_ok(sink->err) && sink->len > 0) {
        struct iovec iov = {.iov_base = sink->buffer, .iov_len = sink->len};
        sink->crc = crc32c(sink->crc, sink->buffer, sink->len);
        sink->err = sink->files->write(sink->files->ctx, sink->file, &iov, 1, sink->offset);
    }
    sink->offset += sink->len;
    sink->len = 0;
}

static void put_number(struct book_sink *sink, uint64_t n) {
    if (BOOK_SINK_BYTES - sink->len < 10) {
        book_sink_flush(sink);
    }
    sink->len += mr_varint_put(sink->buffer + sink->len, n);
}

static void put_time(struct book_sink *sink, int64_t ms) {
    put_number(sink, (uint64_t)ms << 1 ^ (uint64_t)(ms >> 63));
}

void book_sink_put(struct book_sink *sink, const void *bytes, size_t n) {
    const uint8_t *at = bytes;
    while (n > 0) {
        if (sink->len == BOOK_SINK_BYTES) {
            book_sink_flush(sink);
        }
        size_t part = BOOK_SINK_BYTES - sink->len < n ? BOOK_SINK_BYTES - sink->len : n;
        memcpy(sink->buffer + sink->len, at, part);
        sink->len += part;
        at += part;
        n -= part;
    }
}

/* New numbers of the keys in use; BOOK_KEY_NONE for others. */
static void note_key(uint32_t *renumbered, uint32_t key) {
    if (key != BOOK_KEY_NONE) {
        renumbered[key] = 0;
    }
}

static void note_queue(uint32_t *renumbered, const struct queue *queue) {
    struct queue_walk walk;
    struct queue_entry entry;
    queue_walk_init(&walk, queue, 0);
    while (queue_walk_next(&walk, &entry)) {
        renumbered[entry.key] = 0;
    }
}

static uint32_t renumber_keys(const struct book *book, uint32_t *renumbered) {
    memset(renumbered, 0xFF, book->n_keys * sizeof *renumbered);
    for (uint32_t i = 0; i < book->n_dests; i++) {
        const struct dest *dest = book->dests[i];
        note_queue(renumbered, &dest->live);
        for (uint32_t j = 0; j < dest->n_others; j++) {
            note_queue(renumbered, &dest->others[j].queue);
        }
        for (uint32_t j = 0; j < dest->n_requests; j++) {
            for (uint32_t k = 0; k < dest->requests[j]->head.n; k++) {
                note_key(renumbered, dest->requests[j]->entries[k].key);
            }
        }
    }
    for (size_t i = book->letters.first; i < book->letters.n; i++) {
        if (book->letters.items[i].is_live) {
            note_key(renumbered, book->letters.items[i].letter.key);
        }
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < book->n_keys; i++) {
        if (renumbered[i] == 0) {
            renumbered[i] = n++;
        }
    }
    return n;
}

static void save_queue(struct book_sink *sink, const uint32_t *renumbered, uint32_t origin,
                       const struct queue *queue) {
    struct queue_walk walk;
    struct queue_entry entry;
    uint64_t last_pos = 0;
    uint64_t last_ms = 0;
    put_number(sink, origin);
    put_number(sink, queue->n);
    queue_walk_init(&walk, queue, 0);
    while (queue_walk_next(&walk, &entry)) {
        put_number(sink, entry.pos - last_pos);
        put_time(sink, (int64_t)((uint64_t)entry.accepted_ms - last_ms));
        put_number(sink, renumbered[entry.key]);
        put_number(sink, entry.size);
        last_pos = entry.pos;
        last_ms = (uint64_t)entry.accepted_ms;
    }
}

static void save_request(struct book_sink *sink, const uint32_t *renumbered,
                         const struct request *request) {
    const struct book_request *head = &request->head;
    put_number(sink, head->origin);
    put_number(sink, head->form);
    put_number(sink, head->attempt);
    put_number(sink, head->last_status);
    put_number(sink, head->last_reason);
    put_number(sink, head->is_part);
    put_time(sink, head->due_ms);
    put_time(sink, head->first_ms);
    put_number(sink, head->n);
    for (uint32_t i = 0; i < head->n; i++) {
        const struct queue_entry *entry = &request->entries[i];
        put_number(sink, entry->pos);
        put_time(sink, entry->accepted_ms);
        put_number(sink, renumbered[entry->key]);
        put_number(sink, entry->size);
    }
}

static void save_dest(struct book_sink *sink, const uint32_t *renumbered, const struct dest *dest) {
    const struct record_counters *c = &dest->counters;
    const uint64_t numbers[] = {dest->number,     dest->account,  c->created,
                                c->pending,       c->delivered,   c->dead,
                                c->discarded,     c->skipped,     c->failed_attempts,
                                dest->gap_events, dest->n_others, dest->n_requests};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        put_number(sink, numbers[i]);
    }
    put_time(sink, dest->singles_until_ms);
    put_time(sink, dest->failing_since_ms);
    put_time(sink, dest->last_delivered_ms);
    put_time(sink, dest->gap_from_ms);
    put_time(sink, dest->gap_to_ms);
    save_queue(sink, renumbered, 0, &dest->live);
    for (uint32_t i = 0; i < dest->n_others; i++) {
        save_queue(sink, renumbered, dest->others[i].origin, &dest->others[i].queue);
    }
    for (uint32_t i = 0; i < dest->n_requests; i++) {
        save_request(sink, renumbered, dest->requests[i]);
    }
}

static void save_letter(struct book_sink *sink, const uint32_t *renumbered,
                        const struct book_letter *letter) {
    book_sink_put(sink, letter->id.bytes, sizeof letter->id.bytes);
    put_number(sink, letter->pos);
    put_time(sink, letter->accepted_ms);
    put_time(sink, letter->first_ms);
    put_time(sink, letter->last_ms);
    const uint64_t numbers[] = {
        letter->destination,
        letter->account,
        letter->origin,
        letter->key == BOOK_KEY_NONE ? 0 : renumbered[letter->key] + UINT64_C(1),
        letter->size,
        letter->attempts,
        letter->last_status,
        letter->reason,
        letter->has_payload};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        put_number(sink, numbers[i]);
    }
}

static void put_text(struct book_sink *sink, mr_str text) {
    put_number(sink, text.len);
    book_sink_put(sink, text.ptr, text.len);
}

static void save_callback(struct book_sink *sink, const struct book_callback *is) {
    const struct record_callback *record = &is->record;
    const uint64_t numbers[] = {is->pos,         record->account, record->method,
                                record->content, is->status,      is->n_attempts};
    book_sink_put(sink, record->id.bytes, sizeof record->id.bytes);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        put_number(sink, numbers[i]);
    }
    for (uint8_t i = 0; i < is->n_attempts; i++) {
        put_time(sink, is->attempts[i].at_ms);
        put_number(sink, is->attempts[i].duration_ms);
        put_number(sink, is->attempts[i].status);
        put_number(sink, is->attempts[i].reason);
    }
    put_time(sink, record->created_ms);
    put_time(sink, is->due_ms);
    put_time(sink, is->finished_ms);
    put_text(sink, record->url);
    put_text(sink, record->reference);
    put_text(sink, record->body);
}

/* Accounts; all callbacks by position; then the ids of those that are over, in the order in which
 * they ended. */
static void save_callbacks(struct book_sink *sink, const struct callbacks *callbacks) {
    put_number(sink, callbacks->n_accounts);
    for (uint32_t i = 0; i < callbacks->n_accounts; i++) {
        const struct callback_account *account = callbacks->accounts[i];
        const struct record_counters *c = &account->counters;
        const uint64_t numbers[] = {account->number, c->created, c->pending,
                                    c->delivered,    c->dead,    c->failed_attempts};
        for (size_t j = 0; j < sizeof numbers / sizeof numbers[0]; j++) {
            put_number(sink, numbers[j]);
        }
    }
    put_number(sink, callbacks->n_all);
    if (callbacks->n_all == 0) {
        return;
    }
    for (mr_list *at = callbacks->all.next; at != &callbacks->all; at = at->next) {
        save_callback(sink, &MR_CONTAINER(at, struct callback, all)->is);
    }
    for (mr_list *at = callbacks->over.next; at != &callbacks->over; at = at->next) {
        const struct record_callback *record = &MR_CONTAINER(at, struct callback, over)->is.record;
        book_sink_put(sink, record->id.bytes, sizeof record->id.bytes);
    }
}

static void save_parts(struct book_sink *sink, const struct book *book, const uint32_t *renumbered,
                       uint32_t n_keys) {
    put_number(sink, book->origin_max);
    put_number(sink, n_keys);
    for (uint32_t i = 0; i < book->n_keys; i++) {
        if (renumbered[i] != BOOK_KEY_NONE) {
            put_number(sink, book->keys[i].version);
            put_number(sink, book->keys[i].type.len);
            book_sink_put(sink, book->keys[i].type.ptr, book->keys[i].type.len);
        }
    }
    put_number(sink, book->n_dests);
    for (uint32_t i = 0; i < book->n_dests; i++) {
        save_dest(sink, renumbered, book->dests[i]);
    }
    put_number(sink, book->letters.n_live);
    for (size_t i = book->letters.first; i < book->letters.n; i++) {
        if (book->letters.items[i].is_live) {
            save_letter(sink, renumbered, &book->letters.items[i].letter);
        }
    }
    put_number(sink, book->audit.number);
    if (book->audit.number != 0) {
        book_sink_put(sink, book->audit.hash, sizeof book->audit.hash);
    }
    save_callbacks(sink, &book->callbacks);
}

mr_err book_body_save(struct book_sink *sink, const struct book *book) {
    uint32_t *renumbered MR_AUTO_FREE = mr_calloc(book->n_keys + (size_t)1, sizeof *renumbered);
    if (renumbered == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    save_parts(sink, book, renumbered, renumber_keys(book, renumbered));
    return MR_OK;
}
