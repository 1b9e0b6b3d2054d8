/* Folding records into a book. See book.h; asking is in book_ask.c, saving in book_disk.c.
 *
 * A delivery is in exactly one place: the queue of its (destination, origin), or an open request,
 * or it is over and only counted. A record moves deliveries between places, and every such step
 * changes the counters with it, so the law is checked after each record at no cost.
 *
 * A record that names a delivery which is over already (a request was in flight when its deliveries
 * were discarded, or two records crossed) finds nothing to move for it: the first record counts.
 * The recount has the same rule.
 *
 * Failure policy: a body that cannot be read changes nothing and is told to the caller. Without
 * memory in the middle of a record the book would be neither before nor after it: it is marked
 * broken, refuses everything, and its owner loads another one. */
#include "ledger/book.h"

#include "base/mem.h"
#include "ledger/book/parts.h"

#define SLOTS_MIN 64U

mr_err book_new(const struct book_options *options, struct book **ret_book) {
    struct book *book = MR_NEW(struct book);
    if (book == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    book->options = *options;
    if (book->options.dead_letters_max == 0) {
        book->options.dead_letters_max = BOOK_DEAD_LETTERS_MAX;
    }
    mr_arena_init(&book->key_texts, BOOK_KEYS_BYTES_MAX);
    *ret_book = book;
    return MR_OK;
}

static void dest_free(struct dest *dest) {
    queue_done(&dest->live);
    for (uint32_t i = 0; i < dest->n_others; i++) {
        queue_done(&dest->others[i].queue);
    }
    mr_free(dest->others);
    for (uint32_t i = 0; i < dest->n_requests; i++) {
        mr_free(dest->requests[i]);
    }
    mr_free(dest->requests);
    mr_free(dest);
}

void book_free(struct book *book) {
    if (book == NULL) {
        return;
    }
    for (uint32_t i = 0; i < book->n_dests; i++) {
        dest_free(book->dests[i]);
    }
    mr_free(book->dests);
    mr_free(book->dest_slots);
    mr_arena_done(&book->key_texts);
    mr_free(book->keys);
    mr_free(book->key_slots);
    letters_done(&book->letters);
    book_callbacks_done(&book->callbacks);
    mr_free(book->damage);
    mr_free(book->taken);
    mr_free(book);
}

void book_counters_add(struct record_counters *sum, const struct record_counters *more) {
    sum->created += more->created;
    sum->pending += more->pending;
    sum->delivered += more->delivered;
    sum->dead += more->dead;
    sum->discarded += more->discarded;
    sum->skipped += more->skipped;
    sum->failed_attempts += more->failed_attempts;
}

/* --- tables -------------------------------------------------------------------------------------
 */

static uint32_t dest_home(uint32_t number, uint32_t n_slots) {
    return (uint32_t)((uint64_t)number * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (n_slots - 1);
}

static uint32_t dest_slot(const struct book *book, uint32_t number) {
    uint32_t slot = dest_home(number, book->n_dest_slots);
    while (book->dest_slots[slot] != 0 &&
           book->dests[book->dest_slots[slot] - 1]->number != number) {
        slot = (slot + 1) & (book->n_dest_slots - 1);
    }
    return slot;
}

struct dest *book_dest_find(const struct book *book, uint32_t number) {
    if (book->n_dests == 0) {
        return NULL;
    }
    uint32_t index = book->dest_slots[dest_slot(book, number)];
    return index == 0 ? NULL : book->dests[index - 1];
}

/* Room for one more destination in both tables. */
static bool dests_reserve(struct book *book) {
    if (book->n_dests == book->dests_capacity) {
        uint32_t capacity = book->dests_capacity == 0 ? 16 : book->dests_capacity * 2;
        struct dest **dests = mr_realloc(book->dests, (size_t)capacity * sizeof(struct dest *));
        if (dests == NULL) {
            return false;
        }
        book->dests = dests;
        book->dests_capacity = capacity;
    }
    if (2 * (book->n_dests + 1) <= book->n_dest_slots) {
        return true;
    }
    uint32_t n_slots = book->n_dest_slots == 0 ? SLOTS_MIN : book->n_dest_slots * 2;
    uint32_t *slots = mr_calloc(n_slots, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    mr_free(book->dest_slots);
    book->dest_slots = slots;
    book->n_dest_slots = n_slots;
    for (uint32_t i = 0; i < book->n_dests; i++) {
        slots[dest_slot(book, book->dests[i]->number)] = i + 1;
    }
    return true;
}

struct dest *book_dest_ensure(struct book *book, uint32_t number) {
    struct dest *dest = book_dest_find(book, number);
    if (dest != NULL) {
        return dest;
    }
    if (!dests_reserve(book)) {
        return NULL;
    }
    dest = MR_NEW(struct dest);
    if (dest != NULL) {
        dest->number = number;
        book->dests[book->n_dests] = dest;
        book->n_dests++;
        book->dest_slots[dest_slot(book, number)] = book->n_dests;
    }
    return dest;
}

static bool key_is(const struct key *key, mr_str type, uint16_t version) {
    return key->version == version && mr_str_eq(key->type, type);
}

static uint32_t key_slot(const struct book *book, mr_str type, uint16_t version) {
    uint32_t slot = (uint32_t)mr_str_hash(type, version) & (book->n_key_slots - 1);
    while (book->key_slots[slot] != 0 &&
           !key_is(&book->keys[book->key_slots[slot] - 1], type, version)) {
        slot = (slot + 1) & (book->n_key_slots - 1);
    }
    return slot;
}

static bool keys_reserve(struct book *book) {
    if (book->n_keys == book->keys_capacity) {
        uint32_t capacity = book->keys_capacity == 0 ? 16 : book->keys_capacity * 2;
        struct key *keys = mr_realloc(book->keys, (size_t)capacity * sizeof *keys);
        if (keys == NULL) {
            return false;
        }
        book->keys = keys;
        book->keys_capacity = capacity;
    }
    if (2 * (book->n_keys + 1) <= book->n_key_slots) {
        return true;
    }
    uint32_t n_slots = book->n_key_slots == 0 ? SLOTS_MIN : book->n_key_slots * 2;
    uint32_t *slots = mr_calloc(n_slots, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    mr_free(book->key_slots);
    book->key_slots = slots;
    book->n_key_slots = n_slots;
    for (uint32_t i = 0; i < book->n_keys; i++) {
        slots[key_slot(book, book->keys[i].type, book->keys[i].version)] = i + 1;
    }
    return true;
}

mr_err book_key_ensure(struct book *book, mr_str type, uint16_t version, uint32_t *ret_key) {
    if (type.ptr == NULL) {
        type = MR_STR("");
    }
    if (book->n_keys > 0) {
        if (key_is(&book->keys[book->last_key], type, version)) {
            *ret_key = book->last_key;
            return MR_OK;
        }
        uint32_t index = book->key_slots[key_slot(book, type, version)];
        if (index != 0) {
            book->last_key = index - 1;
            *ret_key = index - 1;
            return MR_OK;
        }
    }
    if (!keys_reserve(book)) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_str text = mr_arena_str(&book->key_texts, type);
    if (mr_str_is_absent(text)) {
        return MR_ERR(MR_E_NOMEM);
    }
    uint32_t key = book->n_keys;
    book->keys[key] = (struct key){.type = text, .version = version};
    book->n_keys++;
    book->key_slots[key_slot(book, text, version)] = key + 1;
    book->last_key = key;
    *ret_key = key;
    return MR_OK;
}

struct queue *book_queue_ensure(struct dest *dest, uint32_t origin) {
    if (origin == 0) {
        return &dest->live;
    }
    for (uint32_t i = 0; i < dest->n_others; i++) {
        if (dest->others[i].origin == origin) {
            return &dest->others[i].queue;
        }
    }
    struct dest_queue *others =
        mr_realloc(dest->others, (dest->n_others + (size_t)1) * sizeof *others);
    if (others == NULL) {
        return NULL;
    }
    dest->others = others;
    others[dest->n_others] = (struct dest_queue){.origin = origin};
    return &others[dest->n_others++].queue;
}

struct request *book_request_new(uint32_t n) {
    _Static_assert(sizeof(struct request) % 8 == 0 && sizeof(struct queue_entry) % 8 == 0,
                   "what follows is aligned");
    struct request *request =
        mr_calloc(1, sizeof *request + (size_t)n * (sizeof(struct queue_entry) + sizeof(uint64_t)));
    if (request != NULL) {
        request->entries = (struct queue_entry *)(void *)(request + 1);
        request->positions = (uint64_t *)(void *)(request->entries + n);
        request->head.positions = request->positions;
    }
    return request;
}

mr_err book_requests_reserve(struct dest *dest, uint32_t n) {
    if (dest->n_requests + n > dest->requests_capacity) {
        uint32_t capacity = dest->requests_capacity * 2 + n;
        struct request **requests =
            mr_realloc(dest->requests, (size_t)capacity * sizeof(struct request *));
        if (requests == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        dest->requests = requests;
        dest->requests_capacity = capacity;
    }
    return MR_OK;
}

void book_requests_drop(struct dest *dest, uint32_t i) {
    mr_free(dest->requests[i]);
    memmove(dest->requests + i, dest->requests + i + 1,
            (dest->n_requests - i - 1) * sizeof(struct request *));
    dest->n_requests--;
    if (dest->n_requests == 0) {
        mr_free(dest->requests);
        dest->requests = NULL;
        dest->requests_capacity = 0;
    }
}

uint32_t book_request_find(const struct dest *dest, uint32_t origin,
                           struct record_positions positions) {
    struct record_positions first = positions;
    uint64_t pos = 0;
    (void)record_positions_next(&first, &pos);
    for (uint32_t i = 0; i < dest->n_requests; i++) {
        const struct book_request *head = &dest->requests[i]->head;
        if (head->origin != origin || head->n != positions.n || head->positions[0] != pos) {
            continue;
        }
        struct record_positions walk = positions;
        uint32_t same = 0;
        while (record_positions_next(&walk, &pos) && head->positions[same] == pos) {
            same++;
        }
        if (same == head->n) {
            return i;
        }
    }
    return dest->n_requests;
}

/* --- taking deliveries out of where they are
 * ------------------------------------------------------ */

static void take_at(struct request *request, uint32_t j) {
    uint32_t behind = request->head.n - j - 1;
    request->head.bytes -= request->entries[j].size;
    memmove(request->positions + j, request->positions + j + 1,
            behind * sizeof *request->positions);
    memmove(request->entries + j, request->entries + j + 1, behind * sizeof *request->entries);
    request->head.n--;
}

static bool take_from_requests(struct dest *dest, uint32_t origin, uint64_t pos,
                               struct queue_entry *ret_entry) {
    for (uint32_t i = 0; i < dest->n_requests; i++) {
        struct request *request = dest->requests[i];
        for (uint32_t j = 0; request->head.origin == origin && j < request->head.n; j++) {
            if (request->positions[j] == pos) {
                *ret_entry = request->entries[j];
                take_at(request, j);
                if (request->head.n == 0) {
                    book_requests_drop(dest, i);
                } else {
                    request->head.key = request->entries[0].key;
                }
                return true;
            }
        }
    }
    return false;
}

bool book_take(struct dest *dest, uint32_t origin, uint64_t pos, struct queue_entry *ret_entry) {
    if (origin == 0) {
        return queue_take(&dest->live, pos, ret_entry) ||
               take_from_requests(dest, origin, pos, ret_entry);
    }
    for (uint32_t i = 0; i < dest->n_others; i++) {
        if (dest->others[i].origin == origin) {
            struct queue *queue = &dest->others[i].queue;
            if (!queue_take(queue, pos, ret_entry)) {
                break;
            }
            if (queue->n == 0) {
                /* A job's queue does not come again: keep the table short. */
                queue_done(queue);
                dest->n_others--;
                memmove(dest->others + i, dest->others + i + 1,
                        (dest->n_others - i) * sizeof *dest->others);
            }
            return true;
        }
    }
    return take_from_requests(dest, origin, pos, ret_entry);
}
