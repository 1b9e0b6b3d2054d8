/* A book on disk: the checkpoint. See book.h.
 *
 * A checkpoint is one file, written whole each time: some 8 MB for a million pending deliveries, a
 * tenth of a second every 512 MiB of journal. A manifest over files per shard was weighed: under
 * load every shard changes between two checkpoints, so that it would write the same bytes with 256
 * syncs in place of one.
 *
 *   name    checkpoint-<position, 16 hex digits>
 *   0       "MRCHECK1", format u32 = 1, zero u32, store id 16 bytes, position u64, saved_ms u64,
 *           zero 12 bytes, CRC-32C of these 60 bytes u32
 *   64      the body: varints and texts, see save_body
 *   end-12  length of the body u64, CRC-32C of everything before u32
 *
 * The head has a checksum of its own so that a newer format is told from damage; its 64 bytes keep
 * this meaning in every format. Only keys in use are written, numbered anew, so that names that
 * producers once sent do not stay for ever.
 *
 * Safety: written beside, synced, renamed, directory synced; then all but the two newest are
 * removed. Loading reads the whole file, checks its CRC first, and decodes strictly all the same.
 * Failure policy: an error abandons the new file; the old ones stand. */
#include "ledger/book.h"

#include "base/mem.h"
#include "crypto/crc32c.h"
#include "ledger/book/parts.h"

#include <stdio.h>

#define MAGIC        "MRCHECK1"
#define FORMAT       1U
#define HEAD_BYTES   64U
#define END_BYTES    12U
#define BUFFER_BYTES (256U * 1024)
#define PATH_SIZE    4200U
#define KEPT         2U
#define TEMPORARY    "checkpoint.new"
#define PREFIX       "checkpoint-"
#define NAME_LEN     (sizeof PREFIX - 1 + 16)

/* --- writing ------------------------------------------------------------------------------------
 */

struct sink {
    const struct os_files *files;
    os_file file;
    uint8_t *buffer;
    size_t len;
    uint64_t offset; /* of the buffer's first byte */
    uint32_t crc;
    mr_err err; /* the first; then nothing is written any more */
};

static void flush(struct sink *sink) {
    if (mr_is_ok(sink->err) && sink->len > 0) {
        struct iovec iov = {.iov_base = sink->buffer, .iov_len = sink->len};
        sink->crc = crc32c(sink->crc, sink->buffer, sink->len);
        sink->err = sink->files->write(sink->files->ctx, sink->file, &iov, 1, sink->offset);
    }
    sink->offset += sink->len;
    sink->len = 0;
}

static void put_number(struct sink *sink, uint64_t n) {
    if (BUFFER_BYTES - sink->len < 10) {
        flush(sink);
    }
    sink->len += mr_varint_put(sink->buffer + sink->len, n);
}

static void put_time(struct sink *sink, int64_t ms) {
    put_number(sink, (uint64_t)ms << 1 ^ (uint64_t)(ms >> 63));
}

static void put_bytes(struct sink *sink, const void *bytes, size_t n) {
    const uint8_t *at = bytes;
    while (n > 0) {
        if (sink->len == BUFFER_BYTES) {
            flush(sink);
        }
        size_t part = BUFFER_BYTES - sink->len < n ? BUFFER_BYTES - sink->len : n;
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

static void save_queue(struct sink *sink, const uint32_t *renumbered, uint32_t origin,
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

static void save_request(struct sink *sink, const uint32_t *renumbered,
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

static void save_dest(struct sink *sink, const uint32_t *renumbered, const struct dest *dest) {
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

static void save_letter(struct sink *sink, const uint32_t *renumbered,
                        const struct book_letter *letter) {
    put_bytes(sink, letter->id.bytes, sizeof letter->id.bytes);
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

static void save_body(struct sink *sink, const struct book *book, const uint32_t *renumbered,
                      uint32_t n_keys) {
    put_number(sink, book->origin_max);
    put_number(sink, n_keys);
    for (uint32_t i = 0; i < book->n_keys; i++) {
        if (renumbered[i] != BOOK_KEY_NONE) {
            put_number(sink, book->keys[i].version);
            put_number(sink, book->keys[i].type.len);
            put_bytes(sink, book->keys[i].type.ptr, book->keys[i].type.len);
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
}

static mr_err save_file(struct sink *sink, const struct book *book, const uint8_t *store_id,
                        mr_wall now) {
    uint32_t *renumbered = mr_calloc(book->n_keys + (size_t)1, sizeof *renumbered);
    sink->buffer = mr_alloc(BUFFER_BYTES);
    if (renumbered == NULL || sink->buffer == NULL) {
        mr_free(renumbered);
        mr_free(sink->buffer);
        return MR_ERR(MR_E_NOMEM);
    }
    uint8_t head[HEAD_BYTES] = MAGIC;
    mr_put_u32(head + 8, FORMAT);
    memcpy(head + 16, store_id, 16);
    mr_put_u64(head + 32, book->position);
    mr_put_u64(head + 40, (uint64_t)mr_wall_ms(now));
    mr_put_u32(head + 60, crc32c(0, head, 60));
    put_bytes(sink, head, sizeof head);
    save_body(sink, book, renumbered, renumber_keys(book, renumbered));
    uint8_t end[END_BYTES];
    mr_put_u64(end, sink->offset + sink->len - HEAD_BYTES);
    put_bytes(sink, end, 8);
    flush(sink);
    mr_put_u32(end, sink->crc);
    put_bytes(sink, end, 4);
    flush(sink);
    mr_free(renumbered);
    mr_free(sink->buffer);
    MR_TRY(sink->err);
    return sink->files->sync(sink->files->ctx, sink->file);
}

/* --- names --------------------------------------------------------------------------------------
 */

/* The newest positions of which there are files, newest first. */
struct newest {
    uint64_t pos[16];
    size_t n; /* all, also those beyond 16 */
    const struct os_files *files;
    const char *dir;
    uint64_t remove_below; /* files of lower positions are removed; 0: none */
};

static bool path_of(char out[static PATH_SIZE], const char *dir, uint64_t pos) {
    int n = snprintf(out, PATH_SIZE, "%s/" PREFIX "%016llx", dir, (unsigned long long)pos);
    return n > 0 && (size_t)n < PATH_SIZE;
}

static void on_name(void *arg, mr_str name) {
    struct newest *newest = arg;
    uint8_t bytes[8];
    if (name.len != NAME_LEN || !mr_str_starts(name, MR_STR(PREFIX)) ||
        mr_is_err(mr_hex_decode(mr_str_slice(name, sizeof PREFIX - 1, name.len), bytes, 8))) {
        return;
    }
    uint64_t pos = 0;
    for (size_t i = 0; i < 8; i++) {
        pos = pos << 8 | bytes[i];
    }
    char path[PATH_SIZE];
    if (pos < newest->remove_below) {
        if (path_of(path, newest->dir, pos)) {
            mr_ignore(newest->files->unlink(newest->files->ctx, path),
                      "an old checkpoint too many does no harm; the next save tries again");
        }
        return;
    }
    size_t at = newest->n < 16 ? newest->n : 15;
    if (newest->n >= 16 && pos <= newest->pos[15]) {
        newest->n++;
        return;
    }
    while (at > 0 && newest->pos[at - 1] < pos) {
        newest->pos[at] = newest->pos[at - 1];
        at--;
    }
    newest->pos[at] = pos;
    newest->n++;
}

static mr_err list_newest(const struct os_files *files, const char *dir, struct newest *newest) {
    *newest = (struct newest){.files = files, .dir = dir};
    mr_err err = files->list(files->ctx, dir, on_name, newest);
    return mr_err_is(err, MR_E_NOT_FOUND) ? MR_OK : err;
}

mr_err book_saved_floor(const struct os_files *files, const char *dir, uint64_t *ret_pos) {
    struct newest newest;
    MR_TRY(list_newest(files, dir, &newest));
    *ret_pos = newest.n >= KEPT ? newest.pos[KEPT - 1] : 0;
    return MR_OK;
}

mr_err book_save(const struct book *book, const struct os_files *files, const char *dir,
                 const uint8_t store_id[static 16], mr_wall now) {
    char temporary[PATH_SIZE];
    char path[PATH_SIZE];
    if (book->is_broken ||
        (size_t)snprintf(temporary, sizeof temporary, "%s/" TEMPORARY, dir) >= sizeof temporary ||
        !path_of(path, dir, book->position)) {
        return MR_ERR(book->is_broken ? MR_E_NOMEM : MR_E_IO);
    }
    mr_err err = files->mkdir(files->ctx, dir);
    if (mr_is_err(err) && !mr_err_is(err, MR_E_EXISTS)) {
        return err;
    }
    struct sink sink = {.files = files};
    mr_ignore(files->unlink(files->ctx, temporary), "left by a crash, or not there");
    MR_TRY(files->open(files->ctx, temporary, OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_EXCLUSIVE,
                       &sink.file));
    err = save_file(&sink, book, store_id, now);
    files->close(files->ctx, sink.file);
    if (mr_is_ok(err)) {
        err = files->rename(files->ctx, temporary, path);
    }
    if (mr_is_err(err)) {
        mr_ignore(files->unlink(files->ctx, temporary), "the error before it is what counts");
        return err;
    }
    MR_TRY(files->sync_dir(files->ctx, dir));
    struct newest newest;
    MR_TRY(list_newest(files, dir, &newest));
    if (newest.n > KEPT) {
        newest.remove_below = newest.pos[KEPT - 1];
        mr_ignore(files->list(files->ctx, dir, on_name, &newest),
                  "an old checkpoint too many does no harm");
    }
    return MR_OK;
}

/* --- reading ------------------------------------------------------------------------------------
 */

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

static mr_err load_body(struct source *source, struct book *book) {
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
    if (source->no_memory) {
        return MR_ERR(MR_E_NOMEM);
    }
    return source->is_bad || source->at != source->end ? MR_ERR(LEDGER_E_CORRUPT) : MR_OK;
}

/* Checks head, length and checksum. */
static mr_err check_file(mr_str text, const uint8_t *store_id) {
    if (text.len < HEAD_BYTES || memcmp(text.ptr, MAGIC, 8) != 0 ||
        mr_get_u32(text.ptr + 60) != crc32c(0, text.ptr, 60)) {
        return MR_ERR(LEDGER_E_CORRUPT);
    }
    if (mr_get_u32(text.ptr + 8) > FORMAT) {
        return MR_ERR(LEDGER_E_NEWER);
    }
    if (store_id != NULL && memcmp(text.ptr + 16, store_id, 16) != 0) {
        return MR_ERR(LEDGER_E_FOREIGN);
    }
    if (text.len < HEAD_BYTES + END_BYTES ||
        mr_get_u64(text.ptr + text.len - END_BYTES) != text.len - HEAD_BYTES - END_BYTES ||
        mr_get_u32(text.ptr + text.len - 4) != crc32c(0, text.ptr, text.len - 4)) {
        return MR_ERR(LEDGER_E_CORRUPT);
    }
    return MR_OK;
}

mr_err book_verify(const struct os_files *files, const char *dir, const uint8_t *store_id,
                   void (*on_damage)(void *ctx, const char *file), void *ctx) {
    struct newest newest;
    MR_TRY(list_newest(files, dir, &newest));
    for (size_t i = 0; i < newest.n && i < 16; i++) {
        char path[PATH_SIZE];
        mr_str text;
        if (!path_of(path, dir, newest.pos[i])) {
            return MR_ERR(MR_E_IO);
        }
        MR_TRY(os_file_load(files, path, SIZE_MAX / 2, &text));
        mr_err err = check_file(text, store_id);
        mr_free((void *)(uintptr_t)text.ptr);
        if (mr_err_is(err, LEDGER_E_CORRUPT)) {
            on_damage(ctx, strrchr(path, '/') + 1);
        } else {
            MR_TRY(err);
        }
    }
    return MR_OK;
}

static mr_err decode_file(const struct book_options *options, mr_str text, const uint8_t *store_id,
                          struct book **ret_book, struct book_loaded *ret_loaded) {
    MR_TRY(check_file(text, store_id));
    struct book *book;
    MR_TRY(book_new(options, &book));
    struct source source = {.at = (const uint8_t *)text.ptr + HEAD_BYTES,
                            .end = (const uint8_t *)text.ptr + text.len - END_BYTES};
    mr_err err = load_body(&source, book);
    if (mr_is_err(err)) {
        book_free(book);
        return err;
    }
    book->position = mr_get_u64(text.ptr + 32);
    memcpy(book->store_id, text.ptr + 16, 16);
    book->has_store_id = true;
    ret_loaded->pos = book->position;
    ret_loaded->saved_ms = (int64_t)mr_get_u64(text.ptr + 40);
    *ret_book = book;
    return MR_OK;
}

mr_err book_load(const struct book_options *options, const struct os_files *files, const char *dir,
                 const uint8_t *store_id, struct book **ret_book, struct book_loaded *ret_loaded) {
    struct newest newest;
    MR_TRY(list_newest(files, dir, &newest));
    if (newest.n == 0) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    struct book_loaded loaded = {0};
    for (size_t i = 0; i < newest.n && i < 16; i++) {
        char path[PATH_SIZE];
        mr_str text;
        if (!path_of(path, dir, newest.pos[i])) {
            return MR_ERR(MR_E_IO);
        }
        MR_TRY(os_file_load(files, path, SIZE_MAX / 2, &text));
        mr_err err = decode_file(options, text, store_id, ret_book, &loaded);
        mr_free((void *)(uintptr_t)text.ptr);
        if (mr_is_ok(err)) {
            *ret_loaded = loaded;
            return MR_OK;
        }
        if (!mr_err_is(err, LEDGER_E_CORRUPT)) {
            return err;
        }
        loaded.damaged++;
        mr_error(options->log, "checkpoint_damaged", mr_kv_c("file", path));
    }
    return MR_ERR(LEDGER_E_CORRUPT);
}
