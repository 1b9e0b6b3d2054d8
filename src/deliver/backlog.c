/* The backlog of one FIFO.
 *
 * An entry is written as the difference from the one before it: position (zigzag, for a redrive may
 * go back), arrival in ms, size, and in a keyed backlog key and origin; all LEB128. A live event of
 * 1 KiB costs 5 bytes. The first entry is kept decoded in the struct and never written at all, so a
 * queue that holds one delivery at a time, as at low load, touches no chunk.
 *
 *   struct: head entry, decoded          first ──▶ [ … ] ──▶ (away) ──▶ (away) ──▶ [ … ] ◀── last
 *                                         ▲ read_at: the entry behind the head
 *
 * A new chunk is twice as large as the last one, up to 4 KiB. When a chunk fills, is not the
 * head's, and the memory of all backlogs is above its bound, its bytes go to the spill and a stub
 * of 24 bytes stays in the chain. A stub becomes a chunk again when the head reaches it.
 *
 * Failure policy: memory that is short fails a push and changes nothing; a spill that fails leaves
 * the chunk in memory; a chunk that cannot be read back blocks this FIFO and loses nothing, because
 * the journal holds all of it. */
#include "deliver/backlog.h"

#include "base/mem.h"
#include "base/num.h"

#include <string.h>

struct backlog_chunk {
    struct backlog_chunk *next;
    uint64_t ref;  /* where the bytes are while away */
    uint16_t size; /* allocated, header included */
    uint16_t len;
    bool away;
    uint8_t bytes[];
};
#define CHUNK_HEAD (offsetof(struct backlog_chunk, bytes))
#define STUB_SIZE  (sizeof(struct backlog_chunk))
/* Five varints at their longest. */
#define ENTRY_MAX (10 + 10 + 5 + 10 + 5)
_Static_assert(BACKLOG_CHUNK_MIN >= CHUNK_HEAD + ENTRY_MAX, "a chunk holds an entry");
_Static_assert(BACKLOG_CHUNK_MAX <= UINT16_MAX, "sizes fit");

/* Where a reader stands: the chunk, the next byte, and the entry before it. */
struct cursor {
    const uint8_t *bytes;
    size_t at;
    size_t len;
    struct backlog_entry entry;
};

static uint64_t zigzag(uint64_t from, uint64_t to) {
    int64_t delta = (int64_t)(to - from);
    return (uint64_t)delta << 1 ^ (delta < 0 ? UINT64_MAX : 0);
}

static uint64_t unzigzag(uint64_t from, uint64_t code) {
    return from + (code >> 1 ^ ((code & 1) != 0 ? UINT64_MAX : 0));
}

static size_t encode(const struct backlog *backlog, const struct backlog_entry *entry,
                     uint8_t out[static ENTRY_MAX]) {
    size_t n = mr_varint_put(out, zigzag(backlog->tail_pos, entry->pos));
    n += mr_varint_put(out + n, (uint64_t)(entry->arrived_ms - backlog->tail_arrived_ms));
    n += mr_varint_put(out + n, entry->size);
    if (backlog->keyed) {
        n += mr_varint_put(out + n, entry->key);
        n += mr_varint_put(out + n, entry->origin);
    }
    return n;
}

/* Our own memory, or bytes of ours that came back from the spill: what does not decode is a
 * mistake of this program. */
static uint64_t take_varint(struct cursor *cursor) {
    uint8_t byte = cursor->at < cursor->len ? cursor->bytes[cursor->at] : 0x80;
    if (__builtin_expect(byte < 0x80, 1)) {
        cursor->at++;
        return byte;
    }
    const uint8_t *at = cursor->bytes + cursor->at;
    uint64_t n = 0;
    bool ok = mr_is_ok(mr_varint_get(&at, cursor->bytes + cursor->len, &n));
    MR_ASSERT(ok);
    cursor->at = (size_t)(at - cursor->bytes);
    return n;
}

static void decode(const struct backlog *backlog, struct cursor *cursor) {
    cursor->entry.pos = unzigzag(cursor->entry.pos, take_varint(cursor));
    cursor->entry.arrived_ms += (int64_t)take_varint(cursor);
    cursor->entry.size = (uint32_t)take_varint(cursor);
    if (backlog->keyed) {
        cursor->entry.key = take_varint(cursor);
        cursor->entry.origin = (uint32_t)take_varint(cursor);
    }
}

static struct backlog_chunk *chunk_new(struct backlog_memory *memory, size_t size) {
    struct backlog_chunk *chunk = mr_alloc(size);
    if (chunk != NULL) {
        *chunk = (struct backlog_chunk){.size = (uint16_t)size};
        memory->bytes += size;
    }
    return chunk;
}

static void chunk_free(struct backlog_memory *memory, struct backlog_chunk *chunk) {
    MR_ASSERT(memory->bytes >= chunk->size);
    memory->bytes -= chunk->size;
    if (chunk->away) {
        memory->spill.drop(memory->spill.ctx, chunk->ref);
        memory->chunks_spilled--;
    }
    mr_free(chunk);
}

static void init(struct backlog *backlog, uint64_t key, uint32_t origin, bool keyed) {
    *backlog = (struct backlog){
        .keyed = keyed, .ascending = true, .head_here = true, .key = key, .origin = origin};
}

void backlog_init(struct backlog *backlog, uint64_t key, uint32_t origin) {
    init(backlog, key, origin, false);
}

void backlog_init_mixed(struct backlog *backlog, uint32_t origin) {
    init(backlog, 0, origin, true);
    backlog->mixed = true;
}

void backlog_init_keyed(struct backlog *backlog) {
    init(backlog, 0, 0, true);
}

void backlog_clear(struct backlog *backlog, struct backlog_memory *memory) {
    for (struct backlog_chunk *chunk = backlog->first; chunk != NULL;) {
        struct backlog_chunk *next = chunk->next;
        chunk_free(memory, chunk);
        chunk = next;
    }
    bool mixed = backlog->mixed;
    init(backlog, backlog->key, backlog->origin, backlog->keyed);
    backlog->mixed = mixed;
}

/* Sends the last chunk's bytes away where memory is short; prev is the chunk before it. */
static void spill_last(struct backlog *backlog, struct backlog_memory *memory,
                       struct backlog_chunk *prev) {
    struct backlog_chunk *chunk = backlog->last;
    if (prev == NULL || memory->spill.put == NULL || memory->bytes_max == 0 ||
        memory->bytes <= memory->bytes_max) {
        return;
    }
    struct backlog_chunk *stub = chunk_new(memory, STUB_SIZE);
    if (stub == NULL) {
        return;
    }
    if (mr_is_err(memory->spill.put(memory->spill.ctx, chunk->bytes, chunk->len, &stub->ref))) {
        chunk_free(memory, stub);
        return;
    }
    stub->len = chunk->len;
    stub->away = true;
    memory->chunks_spilled++;
    prev->next = stub;
    backlog->last = stub;
    chunk_free(memory, chunk);
}

/* The chunk before the last one; NULL where the last is the first. Chains are long only when most
 * of it is away, and this runs once per 4 KiB. */
static struct backlog_chunk *before_last(const struct backlog *backlog) {
    struct backlog_chunk *prev = NULL;
    for (struct backlog_chunk *chunk = backlog->first; chunk != backlog->last;
         chunk = chunk->next) {
        prev = chunk;
    }
    return prev;
}

static mr_err add_chunk(struct backlog *backlog, struct backlog_memory *memory) {
    struct backlog_chunk *last = backlog->last;
    size_t size = BACKLOG_CHUNK_MIN;
    if (last != NULL) {
        size = last->away ? BACKLOG_CHUNK_MAX : (size_t)last->size * 2;
        size = size > BACKLOG_CHUNK_MAX ? BACKLOG_CHUNK_MAX : size;
    }
    struct backlog_chunk *chunk = chunk_new(memory, size);
    if (chunk == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    if (last == NULL) {
        backlog->first = chunk;
        backlog->read_at = 0;
    } else {
        if (memory->bytes_max != 0 && memory->bytes > memory->bytes_max) {
            spill_last(backlog, memory, before_last(backlog));
        }
        backlog->last->next = chunk;
    }
    backlog->last = chunk;
    return MR_OK;
}

mr_err backlog_push(struct backlog *backlog, struct backlog_memory *memory,
                    const struct backlog_entry *entry) {
    struct backlog_entry own = *entry;
    if (backlog->count == 0) {
        backlog->head_pos = own.pos;
        backlog->head_arrived_ms = own.arrived_ms;
        backlog->head_size = own.size;
        backlog->head_key = backlog->keyed ? own.key : backlog->key;
        backlog->head_origin = backlog->keyed ? own.origin : backlog->origin;
        backlog->head_here = true;
        backlog->ascending = true;
    } else {
        if (own.arrived_ms < backlog->tail_arrived_ms) {
            own.arrived_ms = backlog->tail_arrived_ms;
        }
        uint8_t code[ENTRY_MAX];
        size_t n = encode(backlog, &own, code);
        struct backlog_chunk *last = backlog->last;
        if (last == NULL || last->away || n > last->size - CHUNK_HEAD - last->len) {
            MR_TRY(add_chunk(backlog, memory));
            last = backlog->last;
        }
        memcpy(last->bytes + last->len, code, n);
        last->len = (uint16_t)(last->len + n);
        backlog->ascending = backlog->ascending && own.pos > backlog->tail_pos;
    }
    backlog->tail_pos = own.pos;
    backlog->tail_arrived_ms = own.arrived_ms;
    backlog->count++;
    backlog->bytes += own.size;
    return MR_OK;
}

/* Decodes the next entry into the head; the first chunk must be here. */
static void decode_head(struct backlog *backlog) {
    struct cursor cursor = {.bytes = backlog->first->bytes,
                            .at = backlog->read_at,
                            .len = backlog->first->len,
                            .entry = {.pos = backlog->head_pos,
                                      .arrived_ms = backlog->head_arrived_ms,
                                      .key = backlog->key,
                                      .origin = backlog->origin}};
    decode(backlog, &cursor);
    backlog->read_at = (uint16_t)cursor.at;
    backlog->head_pos = cursor.entry.pos;
    backlog->head_arrived_ms = cursor.entry.arrived_ms;
    backlog->head_size = cursor.entry.size;
    backlog->head_key = cursor.entry.key;
    backlog->head_origin = cursor.entry.origin;
    backlog->head_here = true;
}

/* Brings the first chunk back from the spill. */
static mr_err load_first(struct backlog *backlog, struct backlog_memory *memory) {
    struct backlog_chunk *stub = backlog->first;
    struct backlog_chunk *chunk = chunk_new(memory, CHUNK_HEAD + stub->len);
    if (chunk == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_err err = memory->spill.get(memory->spill.ctx, stub->ref, chunk->bytes, stub->len);
    if (mr_is_err(err)) {
        chunk_free(memory, chunk);
        return err;
    }
    chunk->len = stub->len;
    chunk->next = stub->next;
    backlog->first = chunk;
    if (backlog->last == stub) {
        backlog->last = chunk;
    }
    chunk_free(memory, stub);
    return MR_OK;
}

mr_err backlog_head(struct backlog *backlog, struct backlog_memory *memory,
                    struct backlog_entry *ret_entry) {
    if (backlog->count == 0) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    if (!backlog->head_here) {
        if (backlog->first->away) {
            MR_TRY(load_first(backlog, memory));
        }
        decode_head(backlog);
    }
    *ret_entry = (struct backlog_entry){.pos = backlog->head_pos,
                                        .key = backlog->head_key,
                                        .arrived_ms = backlog->head_arrived_ms,
                                        .size = backlog->head_size,
                                        .origin = backlog->head_origin};
    return MR_OK;
}

void backlog_pop(struct backlog *backlog, struct backlog_memory *memory) {
    MR_ASSERT(backlog->count > 0 && backlog->head_here);
    backlog->count--;
    backlog->bytes -= backlog->head_size;
    struct backlog_chunk *first = backlog->first;
    if (first != NULL && backlog->read_at == first->len && first->next != NULL) {
        backlog->first = first->next;
        backlog->read_at = 0;
        chunk_free(memory, first);
        first = backlog->first;
    }
    if (backlog->count > 0) {
        MR_ASSERT(first != NULL);
        if (first->away) {
            backlog->head_here = false;
        } else {
            decode_head(backlog);
        }
    } else if (first != NULL) {
        /* All was read: the one chunk left is kept for the next entries where it is small. */
        MR_ASSERT(first == backlog->last && backlog->read_at == first->len && !first->away);
        first->len = 0;
        backlog->read_at = 0;
        if (first->size > BACKLOG_CHUNK_MIN) {
            backlog_trim(backlog, memory);
        }
    }
}

void backlog_trim(struct backlog *backlog, struct backlog_memory *memory) {
    if (backlog->count == 0) {
        backlog_clear(backlog, memory);
    }
}

/* Gives the entry to keep() and copies it where wanted. */
static mr_err filter_one(struct backlog *kept, struct backlog_memory *memory,
                         const struct backlog_entry *entry,
                         bool (*keep)(void *arg, const struct backlog_entry *entry), void *arg) {
    return keep(arg, entry) ? backlog_push(kept, memory, entry) : MR_OK;
}

static mr_err filter_chunks(const struct backlog *backlog, struct backlog_memory *memory,
                            struct cursor *cursor, struct backlog *kept,
                            bool (*keep)(void *arg, const struct backlog_entry *entry), void *arg) {
    uint8_t *here = NULL;
    mr_err err = MR_OK;
    for (const struct backlog_chunk *chunk = backlog->first; chunk != NULL && mr_is_ok(err);
         chunk = chunk->next) {
        cursor->bytes = chunk->bytes;
        cursor->at = chunk == backlog->first ? backlog->read_at : 0;
        cursor->len = chunk->len;
        if (chunk->away) {
            here = here != NULL ? here : mr_alloc(BACKLOG_CHUNK_MAX);
            err = here == NULL ? MR_ERR(MR_E_NOMEM)
                               : memory->spill.get(memory->spill.ctx, chunk->ref, here, chunk->len);
            cursor->bytes = here;
        }
        while (mr_is_ok(err) && cursor->at < cursor->len) {
            decode(backlog, cursor);
            err = filter_one(kept, memory, &cursor->entry, keep, arg);
        }
    }
    mr_free(here);
    return err;
}

mr_err backlog_filter(struct backlog *backlog, struct backlog_memory *memory,
                      bool (*keep)(void *arg, const struct backlog_entry *entry), void *arg) {
    if (backlog->count == 0) {
        return MR_OK;
    }
    struct backlog kept;
    init(&kept, backlog->key, backlog->origin, backlog->keyed);
    kept.mixed = backlog->mixed;
    struct cursor cursor = {.entry = {.pos = backlog->head_pos,
                                      .arrived_ms = backlog->head_arrived_ms,
                                      .size = backlog->head_size,
                                      .key = backlog->head_key,
                                      .origin = backlog->head_origin}};
    mr_err err = MR_OK;
    if (backlog->head_here) {
        err = filter_one(&kept, memory, &cursor.entry, keep, arg);
    }
    cursor.entry.key = backlog->keyed ? cursor.entry.key : backlog->key;
    if (mr_is_ok(err)) {
        err = filter_chunks(backlog, memory, &cursor, &kept, keep, arg);
    }
    if (mr_is_err(err)) {
        backlog_clear(&kept, memory);
        return err;
    }
    backlog_clear(backlog, memory);
    *backlog = kept;
    return MR_OK;
}

void backlog_assert_valid(const struct backlog *backlog, const struct backlog_memory *memory) {
    size_t held = 0;
    size_t entries = backlog->count > 0 && backlog->head_here ? 1 : 0;
    bool all_here = true;
    uint64_t bytes = entries == 1 ? backlog->head_size : 0;
    struct cursor cursor = {
        .entry = {.pos = backlog->head_pos, .arrived_ms = backlog->head_arrived_ms}};
    const struct backlog_chunk *last = NULL;
    for (const struct backlog_chunk *chunk = backlog->first; chunk != NULL; chunk = chunk->next) {
        held += chunk->size;
        last = chunk;
        all_here = all_here && !chunk->away;
        cursor.bytes = chunk->bytes;
        cursor.at = chunk == backlog->first ? backlog->read_at : 0;
        cursor.len = chunk->len;
        while (all_here && cursor.at < cursor.len) {
            decode(backlog, &cursor);
            entries++;
            bytes += cursor.entry.size;
        }
    }
    MR_ASSERT(last == backlog->last);
    MR_ASSERT(memory->bytes >= held);
    if (all_here) {
        MR_ASSERT(entries == backlog->count);
        MR_ASSERT(bytes == backlog->bytes);
        MR_ASSERT(backlog->count == 0 || cursor.entry.pos == backlog->tail_pos);
    }
    MR_ASSERT(backlog->count > 0 || (backlog->bytes == 0 && backlog->head_here));
}
