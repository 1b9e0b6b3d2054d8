/* A book on disk: the checkpoint. See book.h.
 *
 * A checkpoint is one file, written whole each time: some 8 MB for a million pending deliveries, a
 * tenth of a second every 512 MiB of journal. A manifest over files per shard was weighed: under
 * load every shard changes between two checkpoints, so that it would write the same bytes with 256
 * syncs in place of one.
 *
 *   name    checkpoint-<position, 16 hex digits>
 *   0       "MRCHECK1", format u32 = 3, zero u32, store id 16 bytes, position u64, saved_ms u64,
 *           zero 12 bytes, CRC-32C of these 60 bytes u32
 *   64      the body: varints and texts, see book_body_save
 *   end-12  length of the body u64, CRC-32C of everything before u32
 *
 * The head has a checksum of its own so that a newer format is told from damage; its 64 bytes keep
 * this meaning in every format. Only keys in use are written, numbered anew, so that names that
 * producers once sent do not stay for ever. Format 1, which is read too, lacks the head of the
 * audit log at the body's end; formats 1 and 2 lack the callbacks behind that.
 *
 * Safety: written beside, synced, renamed, directory synced; then all but the two newest are
 * removed. Loading reads the whole file, checks its CRC first, and decodes strictly all the same.
 * Failure policy: an error abandons the new file; the old ones stand. */
#include "ledger/book.h"

#include "base/mem.h"
#include "crypto/crc32c.h"
#include "ledger/book/body.h"

#include <stdio.h>

#define MAGIC      "MRCHECK1"
#define FORMAT     3U
#define HEAD_BYTES 64U
#define END_BYTES  12U
#define PATH_SIZE  4200U
#define KEPT       2U
#define TEMPORARY  "checkpoint.new"
#define PREFIX     "checkpoint-"
#define NAME_LEN   (sizeof PREFIX - 1 + 16)

static mr_err save_file(struct book_sink *sink, const struct book *book, const uint8_t *store_id,
                        mr_wall now) {
    uint8_t *buffer MR_AUTO_FREE = mr_alloc(BOOK_SINK_BYTES);
    if (buffer == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    sink->buffer = buffer;
    uint8_t head[HEAD_BYTES] = MAGIC;
    mr_put_u32(head + 8, FORMAT);
    memcpy(head + 16, store_id, 16);
    mr_put_u64(head + 32, book->position);
    mr_put_u64(head + 40, (uint64_t)mr_wall_ms(now));
    mr_put_u32(head + 60, crc32c(0, head, 60));
    book_sink_put(sink, head, sizeof head);
    MR_TRY(book_body_save(sink, book));
    uint8_t end[END_BYTES];
    mr_put_u64(end, sink->offset + sink->len - HEAD_BYTES);
    book_sink_put(sink, end, 8);
    book_sink_flush(sink);
    mr_put_u32(end, sink->crc);
    book_sink_put(sink, end, 4);
    book_sink_flush(sink);
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
    struct book_sink sink = {.files = files};
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
    mr_err err = book_body_load(text.ptr + HEAD_BYTES, text.len - HEAD_BYTES - END_BYTES,
                                mr_get_u32(text.ptr + 8), book);
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
