/* The body of a checkpoint, read: strictly, every number ranged, every sum checked, though the
 * file's checksum has been found right before. See disk.c for the file around it. */
#include "ledger/book/body.h"

#include "base/mem.h"

/* A cursor over a file in memory; the first fault sticks. */
struct source {
    const uint8_t *at, *end;
    bool is_bad;
    bool no_memory;
};

static uint64_t take_number(struct source *source, uint64_t max) {
    uint64_t n = 0;
    if (mr_is_err(mr_varint_get(&source->at, source->end, &n)) || n > max) {
        source->is_bad = true;
        source->at = source->end;
        return 0;
    }
    return n;
}

static int64_t take_time(struct source *source) {
    uint64_t n = take_number(source, UINT64_MAX);
    return (int64_t)(n >> 1 ^ (0U - (n & 1)));
}

static uint32_t take_u32(struct source *source) {
    return (uint32_t)take_number(source, UINT32_MAX);
}

static bool is_over(const struct source *source) {
    return source->is_bad || source->no_memory;
}

static void load_keys(struct source *source, struct book *book) {
    uint32_t n = take_u32(source);
    for (uint32_t i = 0; i < n && !is_over(source); i++) {
        uint16_t version = (uint16_t)take_number(source, UINT16_MAX);
        size_t len = take_number(source, (uint64_t)(source->end - source->at));
        if (len > (size_t)(source->end - source->at)) {
            source->is_bad = true;
            return;
        }
        uint32_t key;
        mr_str type = {(const char *)source->at, len};
        if (mr_is_err(book_key_ensure(book, type, version, &key))) {
            source->no_memory = true;
            return;
        }
        source->is_bad = source->is_bad || key != i;
        source->at += len;
    }
}

static uint32_t take_key(struct source *source, const struct book *book) {
    uint32_t key = take_u32(source);
    source->is_bad = source->is_bad || key >= book->n_keys;
    return key;
}

static void load_queue(struct source *source, struct book *book, struct dest *dest) {
    uint32_t origin = take_u32(source);
    uint64_t n = take_number(source, UINT32_MAX);
    struct queue *queue = is_over(source) ? NULL : book_queue_ensure(dest, origin);
    if (queue == NULL || queue->n != 0) {
        source->no_memory = source->no_memory || (queue == NULL && !source->is_bad);
        source->is_bad = source->is_bad || queue != NULL;
        return;
    }
    struct queue_entry entry = {0};
    for (uint64_t i = 0; i < n && !is_over(source); i++) {
        uint64_t distance = take_number(source, UINT64_MAX - entry.pos);
        entry.pos += distance;
        entry.accepted_ms = (int64_t)((uint64_t)entry.accepted_ms + (uint64_t)take_time(source));
        entry.key = take_key(source, book);
        entry.size = take_u32(source);
        bool is_added = false;
        if (distance == 0 || is_over(source)) {
            source->is_bad = true;
        } else if (mr_is_err(queue_add(queue, &entry, &is_added))) {
            source->no_memory = true;
        }
    }
}

static void load_request(struct source *source, const struct book *book, struct dest *dest) {
    struct book_request head = {.destination = dest->number, .origin = take_u32(source)};
    head.form = take_u32(source);
    head.attempt = take_u32(source);
    head.last_status = (uint16_t)take_number(source, UINT16_MAX);
    head.last_reason = (uint8_t)take_number(source, RECORD_REASON_COUNT - 1);
    head.is_part = take_number(source, 1) != 0;
    head.due_ms = take_time(source);
    head.first_ms = take_time(source);
    head.n = (uint32_t)take_number(source, BOOK_REQUEST_SIZE_MAX);
    if (is_over(source) || head.n == 0) {
        source->is_bad = true;
        return;
    }
    struct request *request = book_request_new(head.n);
    if (request == NULL || mr_is_err(book_requests_reserve(dest, 1))) {
        mr_free(request);
        source->no_memory = true;
        return;
    }
    for (uint32_t i = 0; i < head.n; i++) {
        struct queue_entry entry = {.pos = take_number(source, UINT64_MAX)};
        entry.accepted_ms = take_time(source);
        entry.key = take_key(source, book);
        entry.size = take_u32(source);
        request->entries[i] = entry;
        request->positions[i] = entry.pos;
        head.bytes += entry.size;
    }
    head.key = request->entries[0].key;
    head.positions = request->positions;
    request->head = head;
    dest->requests[dest->n_requests] = request;
    dest->n_requests++;
}

/* What the counters say must be what the lists hold. */
static bool dest_adds_up(const struct dest *dest) {
    const struct record_counters *c = &dest->counters;
    uint64_t pending = dest->live.n;
    for (uint32_t i = 0; i < dest->n_others; i++) {
        pending += dest->others[i].queue.n;
    }
    for (uint32_t i = 0; i < dest->n_requests; i++) {
        pending += dest->requests[i]->head.n;
    }
    return c->pending == pending &&
           c->created == c->pending + c->delivered + c->dead + c->discarded;
}

static void load_dest(struct source *source, struct book *book) {
    uint32_t number = take_u32(source);
    if (is_over(source) || book_dest_find(book, number) != NULL) {
        source->is_bad = true;
        return;
    }
    struct dest *dest = book_dest_ensure(book, number);
    if (dest == NULL) {
        source->no_memory = true;
        return;
    }
    dest->account = take_u32(source);
    uint64_t *const numbers[] = {&dest->counters.created,         &dest->counters.pending,
                                 &dest->counters.delivered,       &dest->counters.dead,
                                 &dest->counters.discarded,       &dest->counters.skipped,
                                 &dest->counters.failed_attempts, &dest->gap_events};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        *numbers[i] = take_number(source, UINT64_MAX);
    }
    uint32_t n_others = take_u32(source);
    uint32_t n_requests = take_u32(source);
    dest->singles_until_ms = take_time(source);
    dest->failing_since_ms = take_time(source);
    dest->last_delivered_ms = take_time(source);
    dest->gap_from_ms = take_time(source);
    dest->gap_to_ms = take_time(source);
    for (uint32_t i = 0; i <= n_others && !is_over(source); i++) {
        load_queue(source, book, dest);
    }
    for (uint32_t i = 0; i < n_requests && !is_over(source); i++) {
        load_request(source, book, dest);
    }
    source->is_bad = source->is_bad || (!source->no_memory && !dest_adds_up(dest));
    book_counters_add(&book->totals, &dest->counters);
}

static void load_letter(struct source *source, struct book *book) {
    struct book_letter letter = {0};
    if ((size_t)(source->end - source->at) < sizeof letter.id.bytes) {
        source->is_bad = true;
        return;
    }
    memcpy(letter.id.bytes, source->at, sizeof letter.id.bytes);
    source->at += sizeof letter.id.bytes;
    letter.pos = take_number(source, UINT64_MAX);
    letter.accepted_ms = take_time(source);
    letter.first_ms = take_time(source);
    letter.last_ms = take_time(source);
    letter.destination = take_u32(source);
    letter.account = take_u32(source);
    letter.origin = take_u32(source);
    uint64_t key = take_number(source, book->n_keys);
    letter.key = key == 0 ? BOOK_KEY_NONE : (uint32_t)(key - 1);
    letter.size = take_u32(source);
    letter.attempts = take_u32(source);
    letter.last_status = (uint16_t)take_number(source, UINT16_MAX);
    letter.reason = (uint8_t)take_number(source, RECORD_REASON_COUNT - 1);
    letter.has_payload = take_number(source, 1) != 0;
    struct dest *dest = book_dest_find(book, letter.destination);
    if (source->is_bad || dest == NULL || !letters_add(&book->letters, &letter)) {
        source->is_bad = true;
        return;
    }
    dest->dead_letters++;
}

static void load_audit(struct source *source, struct book *book) {
    struct record_audit audit = {.number = take_number(source, UINT64_MAX)};
    if (audit.number == 0 || is_over(source)) {
        return;
    }
    if ((size_t)(source->end - source->at) < sizeof audit.hash) {
        source->is_bad = true;
        return;
    }
    memcpy(audit.hash, source->at, sizeof audit.hash);
    source->at += sizeof audit.hash;
    book->audit = audit;
}

static void take_id(struct source *source, struct record_letter_id *id) {
    if (is_over(source) || (size_t)(source->end - source->at) < sizeof id->bytes) {
        source->is_bad = true;
        return;
    }
    memcpy(id->bytes, source->at, sizeof id->bytes);
    source->at += sizeof id->bytes;
}

static mr_str take_text(struct source *source, size_t max) {
    size_t len = take_number(source, max);
    if (len > (size_t)(source->end - source->at)) {
        source->is_bad = true;
        return MR_STR("");
    }
    mr_str text = {(const char *)source->at, len};
    source->at += len;
    return text;
}

static void load_callback_account(struct source *source, struct callbacks *callbacks) {
    uint32_t number = (uint32_t)take_number(source, RECORD_CALLBACKS_OF - 1);
    uint32_t n_before = callbacks->n_accounts;
    struct callback_account *account = book_callbacks_account(callbacks, number);
    if (account == NULL) {
        source->no_memory = true;
        return;
    }
    struct record_counters *c = &account->counters;
    uint64_t *const numbers[] = {&c->created, &c->pending, &c->delivered, &c->dead,
                                 &c->failed_attempts};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        *numbers[i] = take_number(source, UINT64_MAX);
    }
    source->is_bad = source->is_bad || callbacks->n_accounts == n_before ||
                     c->created != c->pending + c->delivered + c->dead;
    book_counters_add(&callbacks->totals, c);
}

/* *last_pos: of the one before; *n_open counts. */
static void load_callback(struct source *source, struct callbacks *callbacks, uint64_t *last_pos,
                          uint64_t *n_open) {
    struct book_callback is = {.pos = 0};
    struct record_callback *record = &is.record;
    take_id(source, &record->id);
    is.pos = take_number(source, UINT64_MAX);
    record->account = (uint32_t)take_number(source, RECORD_CALLBACKS_OF - 1);
    record->method = (uint8_t)take_number(source, RECORD_CALLBACK_GET);
    record->content = (uint8_t)take_number(source, RECORD_CALLBACK_JSON);
    is.status = (uint8_t)take_number(source, BOOK_CALLBACK_STATUSES - 1);
    is.n_attempts = (uint8_t)take_number(source, RECORD_CALLBACK_ATTEMPTS_MAX);
    for (uint8_t i = 0; i < is.n_attempts; i++) {
        is.attempts[i].at_ms = take_time(source);
        is.attempts[i].duration_ms = take_u32(source);
        is.attempts[i].status = (uint16_t)take_number(source, UINT16_MAX);
        is.attempts[i].reason = (uint8_t)take_number(source, RECORD_REASON_COUNT - 1);
    }
    record->created_ms = take_time(source);
    is.due_ms = take_time(source);
    is.finished_ms = take_time(source);
    record->url = take_text(source, RECORD_CALLBACK_URL_MAX);
    record->reference = take_text(source, RECORD_CALLBACK_REFERENCE_MAX);
    record->body = take_text(source, RECORD_CALLBACK_BODY_MAX);
    uint32_t n_before = callbacks->n_accounts;
    if (is_over(source) || is.pos <= *last_pos ||
        book_callbacks_account(callbacks, record->account) == NULL ||
        callbacks->n_accounts != n_before) {
        source->is_bad = true;
        return;
    }
    struct callback *callback;
    mr_err err = book_callbacks_add(callbacks, &is, &callback);
    source->no_memory = mr_err_is(err, MR_E_NOMEM);
    source->is_bad = mr_err_is(err, MR_E_EXISTS);
    *last_pos = is.pos;
    *n_open += is.status == BOOK_CALLBACK_PENDING;
}

static void load_callbacks(struct source *source, struct callbacks *callbacks) {
    uint32_t n_accounts = take_u32(source);
    for (uint32_t i = 0; i < n_accounts && !is_over(source); i++) {
        load_callback_account(source, callbacks);
    }
    uint32_t n = take_u32(source);
    uint64_t last_pos = 0;
    uint64_t n_open = 0;
    for (uint32_t i = 0; i < n && !is_over(source); i++) {
        load_callback(source, callbacks, &last_pos, &n_open);
    }
    source->is_bad = source->is_bad || n_open != callbacks->totals.pending;
    for (uint64_t i = n_open; i < n && !is_over(source); i++) {
        struct record_letter_id id = {{0}};
        take_id(source, &id);
        struct callback *callback = book_callbacks_find(callbacks, &id);
        if (callback == NULL || callback->is.status == BOOK_CALLBACK_PENDING ||
            !mr_list_is_empty(&callback->over)) {
            source->is_bad = true;
            return;
        }
        book_callbacks_link_over(callbacks, callback);
    }
}

static mr_err load_parts(struct source *source, uint32_t format, struct book *book) {
    book->origin_max = take_u32(source);
    load_keys(source, book);
    uint32_t n_dests = take_u32(source);
    for (uint32_t i = 0; i < n_dests && !is_over(source); i++) {
        load_dest(source, book);
    }
    uint64_t n_letters = take_number(source, UINT32_MAX);
    for (uint64_t i = 0; i < n_letters && !is_over(source); i++) {
        if (mr_is_err(letters_reserve(&book->letters, 1))) {
            source->no_memory = true;
            break;
        }
        load_letter(source, book);
    }
    if (format >= 2 && !is_over(source)) {
        load_audit(source, book);
    }
    if (format >= 3 && !is_over(source)) {
        load_callbacks(source, &book->callbacks);
    }
    if (source->no_memory) {
        return MR_ERR(MR_E_NOMEM);
    }
    return source->is_bad || source->at != source->end ? MR_ERR(LEDGER_E_CORRUPT) : MR_OK;
}

mr_err book_body_load(const void *bytes, size_t n, uint32_t format, struct book *book) {
    struct source source = {.at = bytes, .end = (const uint8_t *)bytes + n};
    return load_parts(&source, format, book);
}
