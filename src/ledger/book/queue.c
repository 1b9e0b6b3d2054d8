/* A set of deliveries as chunks of varints. See queue.h.
 *
 * A chunk's first entry has position and time in the chunk's head, and its key and size at `at`;
 * each further one is {distance of positions, zigzag of the distance of times, key, size}. Taking
 * the first moves `at` and the head on; taking another merges its distances into the next one's, in
 * place: two varints of a and b are never shorter than one of a + b. Adding in the middle (only a
 * redrive in another order does) decodes the chunk and writes it anew.
 *
 * Why not an array: a million pending deliveries would take 24 MB where these take 8; a tree would
 * be slower on the one path that matters, append here and take there. */
#include "ledger/book/queue.h"

#include "base/mem.h"
#include "base/num.h"

#define ENTRIES_MAX  256U
#define ENTRY_BYTES  30U /* the longest: 10 + 10 + 5 + 5 */
#define CAPACITY_MIN 48U

struct queue_chunk {
    uint64_t first_pos, last_pos;
    int64_t first_ms, last_ms;
    uint16_t n;
    uint16_t at;  /* of the first entry's key */
    uint16_t len; /* end of what is written */
    uint16_t capacity;
    uint8_t bytes[];
};
_Static_assert(ENTRIES_MAX *ENTRY_BYTES <= UINT16_MAX, "offsets in a chunk fit");

static uint64_t zigzag(int64_t n) {
    return (uint64_t)n << 1 ^ (uint64_t)(n >> 63);
}

static int64_t unzigzag(uint64_t n) {
    return (int64_t)(n >> 1 ^ (0U - (n & 1)));
}

/* A varint that this file wrote. */
static inline const uint8_t *get(const uint8_t *at, uint64_t *ret_n) {
    uint64_t n = *at & 0x7FU;
    unsigned shift = 7;
    while ((*at++ & 0x80U) != 0) {
        n |= (uint64_t)(*at & 0x7FU) << shift;
        shift += 7;
    }
    *ret_n = n;
    return at;
}

static const uint8_t *get_tail(const uint8_t *at, struct queue_entry *entry) {
    uint64_t key;
    uint64_t size;
    at = get(get(at, &key), &size);
    entry->key = (uint32_t)key;
    entry->size = (uint32_t)size;
    return at;
}

/* The next entry behind *entry. */
static const uint8_t *get_next(const uint8_t *at, struct queue_entry *entry) {
    uint64_t distance;
    uint64_t later;
    at = get(get(at, &distance), &later);
    entry->pos += distance;
    entry->accepted_ms = (int64_t)((uint64_t)entry->accepted_ms + (uint64_t)unzigzag(later));
    return get_tail(at, entry);
}

static size_t put_tail(uint8_t *at, const struct queue_entry *entry) {
    size_t n = mr_varint_put(at, entry->key);
    return n + mr_varint_put(at + n, entry->size);
}

static size_t put_next(uint8_t *at, uint64_t distance, int64_t later,
                       const struct queue_entry *entry) {
    size_t n = mr_varint_put(at, distance);
    n += mr_varint_put(at + n, zigzag(later));
    return n + put_tail(at + n, entry);
}

static int64_t difference(int64_t later, int64_t earlier) {
    return (int64_t)((uint64_t)later - (uint64_t)earlier);
}

void queue_done(struct queue *queue) {
    for (uint32_t i = 0; i < queue->n_chunks; i++) {
        mr_free(queue->chunks[queue->first + i]);
    }
    mr_free(queue->chunks);
    *queue = (struct queue){0};
}

static struct queue_chunk *chunk_of(const struct queue *queue, uint32_t i) {
    return queue->chunks[queue->first + i];
}

uint64_t queue_first(const struct queue *queue) {
    return queue->n_chunks == 0 ? UINT64_MAX : chunk_of(queue, 0)->first_pos;
}

/* Index of the first chunk whose last position is ≥ pos; n_chunks where there is none. */
static uint32_t find_chunk(const struct queue *queue, uint64_t pos) {
    uint32_t low = 0;
    uint32_t high = queue->n_chunks;
    if (high > 0 && chunk_of(queue, 0)->last_pos >= pos) {
        return 0; /* taken in order, mostly */
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (chunk_of(queue, middle)->last_pos < pos) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Room for one more pointer at index i (≤ n_chunks); the pointer is set by the caller. */
static mr_err open_gap(struct queue *queue, uint32_t i) {
    if (queue->first + queue->n_chunks == queue->capacity) {
        if (queue->first > queue->capacity / 2) {
            memmove(queue->chunks, queue->chunks + queue->first,
                    queue->n_chunks * sizeof *queue->chunks);
            queue->first = 0;
        } else {
            uint32_t capacity = queue->capacity == 0 ? 1 : queue->capacity * 2;
            struct queue_chunk **chunks =
                mr_realloc(queue->chunks, (size_t)capacity * sizeof *chunks);
            if (chunks == NULL) {
                return MR_ERR(MR_E_NOMEM);
            }
            queue->chunks = chunks;
            queue->capacity = capacity;
        }
    }
    struct queue_chunk **at = queue->chunks + queue->first + i;
    memmove(at + 1, at, (queue->n_chunks - i) * sizeof *at);
    queue->n_chunks++;
    return MR_OK;
}

static void drop_chunk(struct queue *queue, uint32_t i) {
    mr_free(chunk_of(queue, i));
    if (i == 0) {
        queue->first++;
    } else {
        struct queue_chunk **at = queue->chunks + queue->first + i;
        memmove(at, at + 1, (queue->n_chunks - i - 1) * sizeof *at);
    }
    queue->n_chunks--;
    if (queue->n_chunks == 0) {
        /* Keeps the small table: an empty queue is about to be used again. */
        queue->first = 0;
    }
}

static struct queue_chunk *chunk_new(const struct queue_entry *entry) {
    struct queue_chunk *chunk = mr_alloc(sizeof *chunk + CAPACITY_MIN);
    if (chunk != NULL) {
        *chunk = (struct queue_chunk){.first_pos = entry->pos,
                                      .last_pos = entry->pos,
                                      .first_ms = entry->accepted_ms,
                                      .last_ms = entry->accepted_ms,
                                      .n = 1,
                                      .capacity = CAPACITY_MIN};
        chunk->len = (uint16_t)put_tail(chunk->bytes, entry);
    }
    return chunk;
}

/* Appends to *ret_chunk, which has fewer than ENTRIES_MAX; may move it. */
static mr_err chunk_append(struct queue_chunk **ret_chunk, const struct queue_entry *entry) {
    struct queue_chunk *chunk = *ret_chunk;
    if (chunk->capacity < chunk->len + ENTRY_BYTES) {
        if (chunk->at >= 2 * ENTRY_BYTES && chunk->at >= chunk->len / 2) {
            memmove(chunk->bytes, chunk->bytes + chunk->at, (size_t)chunk->len - chunk->at);
            chunk->len = (uint16_t)(chunk->len - chunk->at);
            chunk->at = 0;
        } else {
            size_t capacity = chunk->capacity + chunk->capacity / 2 + ENTRY_BYTES;
            capacity = capacity > UINT16_MAX ? UINT16_MAX : capacity;
            chunk = mr_realloc(chunk, sizeof *chunk + capacity);
            if (chunk == NULL) {
                return MR_ERR(MR_E_NOMEM);
            }
            chunk->capacity = (uint16_t)capacity;
            *ret_chunk = chunk;
        }
    }
    chunk->len =
        (uint16_t)(chunk->len + put_next(chunk->bytes + chunk->len, entry->pos - chunk->last_pos,
                                         difference(entry->accepted_ms, chunk->last_ms), entry));
    chunk->last_pos = entry->pos;
    chunk->last_ms = entry->accepted_ms;
    chunk->n++;
    return MR_OK;
}

static mr_err append(struct queue *queue, const struct queue_entry *entry) {
    if (queue->n_chunks > 0) {
        struct queue_chunk **last = queue->chunks + queue->first + queue->n_chunks - 1;
        if ((*last)->n < ENTRIES_MAX && (*last)->capacity <= UINT16_MAX - 2 * ENTRY_BYTES) {
            return chunk_append(last, entry);
        }
    }
    struct queue_chunk *chunk = chunk_new(entry);
    if (chunk == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    uint32_t i = queue->n_chunks;
    mr_err err = open_gap(queue, i);
    if (mr_is_err(err)) {
        mr_free(chunk);
        return err;
    }
    queue->chunks[queue->first + i] = chunk;
    return MR_OK;
}

static void decode_chunk(const struct queue_chunk *chunk, struct queue_entry *out) {
    struct queue_entry entry = {.pos = chunk->first_pos, .accepted_ms = chunk->first_ms};
    const uint8_t *at = get_tail(chunk->bytes + chunk->at, &entry);
    out[0] = entry;
    for (uint32_t i = 1; i < chunk->n; i++) {
        at = get_next(at, &entry);
        out[i] = entry;
    }
}

static struct queue_chunk *encode_chunk(const struct queue_entry *entries, uint32_t n) {
    struct queue_chunk *chunk = chunk_new(&entries[0]);
    for (uint32_t i = 1; i < n && chunk != NULL; i++) {
        if (mr_is_err(chunk_append(&chunk, &entries[i]))) {
            mr_free(chunk);
            return NULL;
        }
    }
    return chunk;
}

/* Adds before the end of chunk i, whose last position is above the entry's. */
static mr_err insert(struct queue *queue, uint32_t i, const struct queue_entry *entry,
                     bool *ret_added) {
    struct queue_entry entries[ENTRIES_MAX + 1];
    struct queue_chunk *old = chunk_of(queue, i);
    decode_chunk(old, entries);
    uint32_t n = old->n;
    uint32_t at = 0;
    while (entries[at].pos < entry->pos) {
        at++;
    }
    if (entries[at].pos == entry->pos) {
        *ret_added = false;
        return MR_OK;
    }
    memmove(entries + at + 1, entries + at, (n - at) * sizeof *entries);
    entries[at] = *entry;
    n++;
    uint32_t n_left = n > ENTRIES_MAX ? n / 2 : n;
    struct queue_chunk *left = encode_chunk(entries, n_left);
    struct queue_chunk *right = n_left < n ? encode_chunk(entries + n_left, n - n_left) : NULL;
    if (left == NULL || (n_left < n && right == NULL) ||
        (right != NULL && mr_is_err(open_gap(queue, i + 1)))) {
        mr_free(left);
        mr_free(right);
        return MR_ERR(MR_E_NOMEM);
    }
    queue->chunks[queue->first + i] = left;
    if (right != NULL) {
        queue->chunks[queue->first + i + 1] = right;
    }
    mr_free(old);
    *ret_added = true;
    return MR_OK;
}

mr_err queue_add(struct queue *queue, const struct queue_entry *entry, bool *ret_added) {
    uint32_t i = find_chunk(queue, entry->pos);
    bool is_added = true;
    if (i == queue->n_chunks) {
        MR_TRY(append(queue, entry));
    } else {
        MR_TRY(insert(queue, i, entry, &is_added));
    }
    if (is_added) {
        queue->n++;
        queue->bytes += entry->size;
    }
    *ret_added = is_added;
    return MR_OK;
}

static void take_first(struct queue_chunk *chunk, const uint8_t *behind) {
    struct queue_entry next = {.pos = chunk->first_pos, .accepted_ms = chunk->first_ms};
    uint64_t distance;
    uint64_t later;
    const uint8_t *tail = get(get(behind, &distance), &later);
    next.pos += distance;
    chunk->first_pos = next.pos;
    chunk->first_ms = (int64_t)((uint64_t)next.accepted_ms + (uint64_t)unzigzag(later));
    chunk->at = (uint16_t)(tail - chunk->bytes);
    chunk->n--;
}

/* Takes the entry that is coded in [from, to), found behind `before`. */
static void take_later(struct queue_chunk *chunk, const uint8_t *from, const uint8_t *to,
                       const struct queue_entry *before, const struct queue_entry *taken) {
    uint8_t *gap = chunk->bytes + (from - chunk->bytes);
    const uint8_t *end = chunk->bytes + chunk->len;
    if (to == end) {
        chunk->len = (uint16_t)(from - chunk->bytes);
        chunk->last_pos = before->pos;
        chunk->last_ms = before->accepted_ms;
    } else {
        struct queue_entry next = *taken;
        const uint8_t *rest = get_next(to, &next);
        size_t n_rest = (size_t)(end - rest);
        gap += put_next(gap, next.pos - before->pos,
                        difference(next.accepted_ms, before->accepted_ms), &next);
        MR_ASSERT(gap <= rest);
        memmove(gap, rest, n_rest);
        chunk->len = (uint16_t)(gap + n_rest - chunk->bytes);
    }
    chunk->n--;
}

static bool chunk_take(struct queue_chunk *chunk, uint64_t pos, struct queue_entry *ret_entry) {
    struct queue_entry entry = {.pos = chunk->first_pos, .accepted_ms = chunk->first_ms};
    const uint8_t *at = get_tail(chunk->bytes + chunk->at, &entry);
    if (entry.pos == pos) {
        *ret_entry = entry;
        if (chunk->n == 1) {
            chunk->n = 0;
        } else {
            take_first(chunk, at);
        }
        return true;
    }
    const uint8_t *end = chunk->bytes + chunk->len;
    while (at < end && entry.pos < pos) {
        struct queue_entry before = entry;
        const uint8_t *from = at;
        at = get_next(at, &entry);
        if (entry.pos == pos) {
            *ret_entry = entry;
            take_later(chunk, from, at, &before, &entry);
            return true;
        }
    }
    return false;
}

bool queue_take(struct queue *queue, uint64_t pos, struct queue_entry *ret_entry) {
    uint32_t i = find_chunk(queue, pos);
    if (i == queue->n_chunks || chunk_of(queue, i)->first_pos > pos) {
        return false;
    }
    struct queue_chunk *chunk = chunk_of(queue, i);
    if (!chunk_take(chunk, pos, ret_entry)) {
        return false;
    }
    if (chunk->n == 0) {
        drop_chunk(queue, i);
    }
    queue->n--;
    queue->bytes -= ret_entry->size;
    return true;
}

void queue_walk_init(struct queue_walk *walk, const struct queue *queue, uint64_t from) {
    *walk = (struct queue_walk){.queue = queue, .chunk = find_chunk(queue, from), .from = from};
}

bool queue_walk_next(struct queue_walk *walk, struct queue_entry *ret_entry) {
    do {
        if (walk->left == 0) {
            if (walk->chunk >= walk->queue->n_chunks) {
                return false;
            }
            const struct queue_chunk *chunk = chunk_of(walk->queue, walk->chunk);
            walk->chunk++;
            walk->left = chunk->n - 1U;
            walk->last =
                (struct queue_entry){.pos = chunk->first_pos, .accepted_ms = chunk->first_ms};
            walk->at = get_tail(chunk->bytes + chunk->at, &walk->last);
        } else {
            walk->left--;
            walk->at = get_next(walk->at, &walk->last);
        }
    } while (walk->last.pos < walk->from);
    *ret_entry = walk->last;
    return true;
}

size_t queue_memory_bytes(const struct queue *queue) {
    size_t bytes = (size_t)queue->capacity * sizeof *queue->chunks;
    for (uint32_t i = 0; i < queue->n_chunks; i++) {
        /* 16: what an allocator adds. */
        bytes += sizeof(struct queue_chunk) + chunk_of(queue, i)->capacity + 16;
    }
    return bytes;
}

void queue_assert_valid(const struct queue *queue) {
    uint64_t n = 0;
    uint64_t bytes = 0;
    uint64_t last = 0;
    struct queue_walk walk;
    struct queue_entry entry;
    queue_walk_init(&walk, queue, 0);
    while (queue_walk_next(&walk, &entry)) {
        MR_ASSERT(entry.pos > last);
        last = entry.pos;
        n++;
        bytes += entry.size;
    }
    MR_ASSERT(n == queue->n && bytes == queue->bytes);
    for (uint32_t i = 0; i < queue->n_chunks; i++) {
        const struct queue_chunk *chunk = chunk_of(queue, i);
        MR_ASSERT(chunk->n > 0 && chunk->n <= ENTRIES_MAX && chunk->at <= chunk->len &&
                  chunk->len <= chunk->capacity && chunk->first_pos <= chunk->last_pos);
    }
}
