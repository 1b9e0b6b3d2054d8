/* Copies of event records that outlive their segments. See archive.h.
 *
 * Files "arc-<number, 16 hex digits>", appended to by the run that made them and by no other:
 *     0 "MRARCHV1"  8 format u32 = 1  12 zero u32  16 store id
 *    32 entries: {position u64, length u32, CRC-32C of the body u32, CRC-32C of these 16 bytes u32,
 *       zero u32}, body, zeros to the next multiple of 8
 *
 * The index is an array in memory ordered by position (retention copies in that order), rebuilt at
 * a start by walking the entries' heads. An entry's head has a checksum of its own, so that a
 * damaged body costs one event, and after a damaged head the walk finds the next on the grid of 8.
 *
 * What was put is unsynced until archive_sync; when a write or the sync fails, the file is closed
 * and what was not synced is forgotten, for nobody knows what became of it. A file is given up when
 * nothing in it is needed, and rewritten when less than half of it is. Readers hold a file by a
 * count, so that it can go while they read.
 *
 * Locks: mu guards index, files' counts and the list of files. The keeper alone changes them. */
#include "ledger/archive.h"
#include "ledger/archive.h"

#include "base/mem.h"
#include "ledger/archive/parts.h"
#include "ledger/record.h"

#include <stdio.h>

/* Index of the first entry at or after pos. */
static size_t find(const struct archive *archive, uint64_t pos) {
    size_t low = 0;
    size_t high = archive->n;
    if (high > 0 && archive->entries[high - 1].pos < pos) {
        return high;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (archive->entries[middle].pos < pos) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool archive_path(const struct archive *archive, uint64_t number, char out[static PATH_SIZE]) {
    int n =
        snprintf(out, PATH_SIZE, "%s/" PREFIX "%016llx", archive->dir, (unsigned long long)number);
    return n > 0 && (size_t)n < PATH_SIZE;
}

/* --- the index ----------------------------------------------------------------------------------
 */

mr_err archive_entry_reserve(struct archive *archive) {
    if (archive->n < archive->capacity) {
        return MR_OK;
    }
    size_t capacity = archive->capacity * 2 + 64;
    struct entry *entries = mr_alloc(capacity * sizeof *entries);
    if (entries == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    os_mutex_lock(&archive->mu);
    if (archive->n > 0) {
        memcpy(entries, archive->entries, archive->n * sizeof *entries);
    }
    mr_free(archive->entries);
    archive->entries = entries;
    archive->capacity = capacity;
    os_mutex_unlock(&archive->mu);
    return MR_OK;
}

static void unlink_from_file(struct entry *entry) {
    entry->file->n_live--;
    entry->file->live_bytes -= archive_entry_bytes(entry->len);
}

/* Room is there. A position that is there already moves to the new place. */
void archive_entry_set(struct archive *archive, const struct entry *entry) {
    os_mutex_lock(&archive->mu);
    size_t i = find(archive, entry->pos);
    if (i < archive->n && archive->entries[i].pos == entry->pos) {
        unlink_from_file(&archive->entries[i]);
    } else {
        memmove(archive->entries + i + 1, archive->entries + i,
                (archive->n - i) * sizeof *archive->entries);
        archive->n++;
    }
    archive->entries[i] = *entry;
    entry->file->n_live++;
    entry->file->live_bytes += archive_entry_bytes(entry->len);
    os_mutex_unlock(&archive->mu);
}

static void forget(struct archive *archive, uint64_t pos) {
    os_mutex_lock(&archive->mu);
    size_t i = find(archive, pos);
    if (i < archive->n && archive->entries[i].pos == pos) {
        unlink_from_file(&archive->entries[i]);
        archive->n--;
        memmove(archive->entries + i, archive->entries + i + 1,
                (archive->n - i) * sizeof *archive->entries);
    }
    os_mutex_unlock(&archive->mu);
}

/* --- files --------------------------------------------------------------------------------------
 */

mr_err archive_file_add(struct archive *archive, uint64_t number, os_file handle,
                        struct file **ret_file) {
    struct file *file = MR_NEW(struct file);
    if (file == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    *file = (struct file){.number = number, .file = handle, .size = FILE_HEAD};
    if (archive->n_files == archive->files_capacity) {
        size_t capacity = archive->files_capacity * 2 + 8;
        struct file **files = mr_alloc(capacity * sizeof(struct file *));
        if (files == NULL) {
            mr_free(file);
            return MR_ERR(MR_E_NOMEM);
        }
        os_mutex_lock(&archive->mu);
        if (archive->n_files > 0) {
            memcpy(files, archive->files, archive->n_files * sizeof(struct file *));
        }
        mr_free(archive->files);
        archive->files = files;
        archive->files_capacity = capacity;
        os_mutex_unlock(&archive->mu);
    }
    os_mutex_lock(&archive->mu);
    archive->files[archive->n_files] = file;
    archive->n_files++;
    os_mutex_unlock(&archive->mu);
    if (number >= archive->next_number) {
        archive->next_number = number + 1;
    }
    *ret_file = file;
    return MR_OK;
}

static void file_free(struct archive *archive, struct file *file) {
    archive->options.files->close(archive->options.files->ctx, file->file);
    mr_free(file);
}

/* Removes the i-th file, in which nothing is live. */
static mr_err remove_file(struct archive *archive, size_t i) {
    const struct os_files *files = archive->options.files;
    struct file *file = archive->files[i];
    char path[PATH_SIZE];
    MR_ASSERT(file->n_live == 0 && file != archive->current);
    if (!archive_path(archive, file->number, path)) {
        return MR_ERR(MR_E_IO);
    }
    mr_err err = files->unlink(files->ctx, path);
    if (mr_is_err(err) && !mr_err_is(err, MR_E_NOT_FOUND)) {
        return err;
    }
    os_mutex_lock(&archive->mu);
    archive->n_files--;
    memmove(archive->files + i, archive->files + i + 1,
            (archive->n_files - i) * sizeof(struct file *));
    file->is_gone = true;
    bool is_free = file->n_readers == 0;
    os_mutex_unlock(&archive->mu);
    if (is_free) {
        file_free(archive, file);
    }
    return MR_OK;
}

static mr_err begin_file(struct archive *archive) {
    const struct os_files *files = archive->options.files;
    char path[PATH_SIZE];
    if (!archive_path(archive, archive->next_number, path)) {
        return MR_ERR(MR_E_IO);
    }
    uint64_t number = archive->next_number;
    archive->next_number++;
    os_file handle;
    MR_TRY(
        files->open(files->ctx, path, OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_EXCLUSIVE, &handle));
    uint8_t head[FILE_HEAD] = MAGIC;
    mr_put_u32(head + 8, FORMAT);
    memcpy(head + 16, archive->store_id, 16);
    struct iovec iov = {.iov_base = head, .iov_len = sizeof head};
    mr_err err = files->write(files->ctx, handle, &iov, 1, 0);
    if (mr_is_ok(err)) {
        err = files->sync_dir(files->ctx, archive->dir);
    }
    struct file *file = NULL;
    if (mr_is_ok(err)) {
        err = archive_file_add(archive, number, handle, &file);
    }
    if (mr_is_err(err)) {
        files->close(files->ctx, handle);
        mr_ignore(files->unlink(files->ctx, path), "an empty file is removed by the next sweep");
        return err;
    }
    archive->current = file;
    return MR_OK;
}

/* The current file cannot be trusted beyond its last sync. */
static void give_up_current(struct archive *archive, mr_err err) {
    mr_warn(archive->options.log, "archive_file_given_up", mr_kv_i64("error", err.code));
    for (size_t i = 0; i < archive->n_unsynced; i++) {
        forget(archive, archive->unsynced[i]);
    }
    archive->n_unsynced = 0;
    archive->current = NULL;
}

/* --- appending ----------------------------------------------------------------------------------
 */

static mr_err reserve_unsynced(struct archive *archive) {
    if (archive->n_unsynced == archive->unsynced_capacity) {
        size_t capacity = archive->unsynced_capacity * 2 + 64;
        uint64_t *unsynced = mr_realloc(archive->unsynced, capacity * sizeof *unsynced);
        if (unsynced == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        archive->unsynced = unsynced;
        archive->unsynced_capacity = capacity;
    }
    return MR_OK;
}

static mr_err append(struct archive *archive, uint64_t pos, mr_str body) {
    uint64_t max = archive->options.file_bytes;
    MR_TRY(archive_entry_reserve(archive));
    MR_TRY(reserve_unsynced(archive));
    if (archive->current != NULL && archive->current->size >= max) {
        MR_TRY(archive_sync(archive));
        archive->current = NULL;
    }
    if (archive->current == NULL) {
        MR_TRY(begin_file(archive));
    }
    struct file *file = archive->current;
    static const uint8_t zeros[8];
    uint8_t head[ENTRY_HEAD] = {0};
    mr_put_u64(head, pos);
    mr_put_u32(head + 8, (uint32_t)body.len);
    mr_put_u32(head + 12, crc32c(0, body.ptr, body.len));
    mr_put_u32(head + 16, crc32c(0, head, 16));
    struct iovec iov[] = {
        {.iov_base = head, .iov_len = sizeof head},
        {.iov_base = (void *)(uintptr_t)body.ptr, .iov_len = body.len},
        {.iov_base = (void *)(uintptr_t)zeros, .iov_len = -body.len & 7},
    };
    const struct os_files *files = archive->options.files;
    mr_err err = files->write(files->ctx, file->file, iov, 3, file->size);
    if (mr_is_err(err)) {
        give_up_current(archive, err);
        return err;
    }
    struct entry entry = {
        .pos = pos, .offset = file->size, .file = file, .len = (uint32_t)body.len};
    os_mutex_lock(&archive->mu);
    file->size += archive_entry_bytes(entry.len);
    os_mutex_unlock(&archive->mu);
    archive->unsynced[archive->n_unsynced] = pos;
    archive->n_unsynced++;
    archive_entry_set(archive, &entry);
    return MR_OK;
}

mr_err archive_put(struct archive *archive, uint64_t pos, mr_str body) {
    if (body.len > BODY_MAX || body.len == 0) {
        return MR_ERR(MR_E_LIMIT);
    }
    return archive_has(archive, pos) ? MR_OK : append(archive, pos, body);
}

mr_err archive_sync(struct archive *archive) {
    if (archive->n_unsynced == 0) {
        return MR_OK;
    }
    mr_err err = archive->options.files->sync(archive->options.files->ctx, archive->current->file);
    if (mr_is_err(err)) {
        give_up_current(archive, err);
        return err;
    }
    archive->n_unsynced = 0;
    return MR_OK;
}

/* --- sweeping -----------------------------------------------------------------------------------
 */

static void keep_only(struct archive *archive, const uint64_t *live, size_t n) {
    os_mutex_lock(&archive->mu);
    size_t kept = 0;
    size_t j = 0;
    for (size_t i = 0; i < archive->n; i++) {
        while (j < n && live[j] < archive->entries[i].pos) {
            j++;
        }
        if (j < n && live[j] == archive->entries[i].pos) {
            archive->entries[kept++] = archive->entries[i];
        } else {
            unlink_from_file(&archive->entries[i]);
        }
    }
    archive->n = kept;
    os_mutex_unlock(&archive->mu);
}

/* Copies what is live in a file into the current one. A damaged entry is left out. */
static mr_err move_out(struct archive *archive, const struct file *file) {
    mr_buf body;
    mr_buf_init(&body, BODY_MAX);
    mr_err err = MR_OK;
    for (size_t i = 0; i < archive->n && mr_is_ok(err); i++) {
        if (archive->entries[i].file != file) {
            continue;
        }
        uint64_t pos = archive->entries[i].pos;
        mr_buf_reset(&body);
        err = archive_read(archive, pos, &body);
        if (mr_is_ok(err)) {
            err = append(archive, pos, mr_buf_view(&body));
        } else if (mr_err_is(err, LEDGER_E_CORRUPT)) {
            mr_error(archive->options.log, "archive_damaged", mr_kv_i64("pos", (int64_t)pos));
            forget(archive, pos);
            i--;
            err = MR_OK;
        }
    }
    mr_buf_done(&body);
    return mr_is_ok(err) ? archive_sync(archive) : err;
}

mr_err archive_sweep(struct archive *archive, const uint64_t *live, size_t n) {
    keep_only(archive, live, n);
    for (size_t i = archive->n_files; i-- > 0;) {
        struct file *file = archive->files[i];
        if (file == archive->current) {
            continue;
        }
        if (file->n_live > 0 && file->live_bytes * 2 < file->size) {
            MR_TRY(move_out(archive, file));
        }
        if (file->n_live == 0) {
            MR_TRY(remove_file(archive, i));
        }
    }
    return MR_OK;
}

/* --- reading ------------------------------------------------------------------------------------
 */

static bool hold(struct archive *archive, uint64_t pos, struct entry *ret_entry) {
    os_mutex_lock(&archive->mu);
    size_t i = find(archive, pos);
    bool is_there = i < archive->n && archive->entries[i].pos == pos;
    if (is_there) {
        *ret_entry = archive->entries[i];
        ret_entry->file->n_readers++;
    }
    os_mutex_unlock(&archive->mu);
    return is_there;
}

static void release(struct archive *archive, struct file *file) {
    os_mutex_lock(&archive->mu);
    file->n_readers--;
    bool is_free = file->is_gone && file->n_readers == 0;
    os_mutex_unlock(&archive->mu);
    if (is_free) {
        file_free(archive, file);
    }
}

static mr_err read_entry(const struct archive *archive, const struct entry *entry, mr_buf *out) {
    size_t all = ENTRY_HEAD + (size_t)entry->len;
    char *at;
    size_t got;
    MR_TRY(mr_buf_reserve(out, all, &at));
    const struct os_files *files = archive->options.files;
    MR_TRY(files->read(files->ctx, entry->file->file, at, all, entry->offset, OS_READ_WAIT, &got));
    if (got != all || mr_get_u32(at + 16) != crc32c(0, at, 16) || mr_get_u64(at) != entry->pos ||
        mr_get_u32(at + 8) != entry->len ||
        mr_get_u32(at + 12) != crc32c(0, at + ENTRY_HEAD, entry->len)) {
        return MR_ERR(LEDGER_E_CORRUPT);
    }
    memmove(at, at + ENTRY_HEAD, entry->len);
    mr_buf_commit(out, entry->len);
    return MR_OK;
}

mr_err archive_read(struct archive *archive, uint64_t pos, mr_buf *out) {
    struct entry entry;
    if (!hold(archive, pos, &entry)) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    mr_err err = read_entry(archive, &entry, out);
    release(archive, entry.file);
    return err;
}

bool archive_has(struct archive *archive, uint64_t pos) {
    os_mutex_lock(&archive->mu);
    size_t i = find(archive, pos);
    bool is_there = i < archive->n && archive->entries[i].pos == pos;
    os_mutex_unlock(&archive->mu);
    return is_there;
}

struct archive_stats archive_stats(struct archive *archive) {
    os_mutex_lock(&archive->mu);
    struct archive_stats stats = {.entries = archive->n, .files = (uint32_t)archive->n_files};
    for (size_t i = 0; i < archive->n_files; i++) {
        stats.live_bytes += archive->files[i]->live_bytes;
        stats.file_bytes += archive->files[i]->size;
    }
    os_mutex_unlock(&archive->mu);
    return stats;
}

static void tell_damage(const struct file *file, uint64_t pos, uint64_t offset,
                        void (*on_damage)(void *ctx, uint64_t pos, const char *file,
                                          uint64_t offset),
                        void *ctx) {
    char name[NAME_LEN + 1];
    (void)snprintf(name, sizeof name, PREFIX "%016llx", (unsigned long long)file->number);
    on_damage(ctx, pos, name, offset);
}

mr_err archive_verify(struct archive *archive,
                      void (*on_damage)(void *ctx, uint64_t pos, const char *file, uint64_t offset),
                      void *ctx, uint64_t *ret_entries) {
    mr_buf body;
    mr_buf_init(&body, BODY_MAX + ENTRY_HEAD);
    mr_err err = MR_OK;
    size_t i = 0;
    for (size_t f = 0; f < archive->n_files; f++) {
        if (archive->files[f]->damaged_at != 0) {
            tell_damage(archive->files[f], 0, archive->files[f]->damaged_at, on_damage, ctx);
        }
    }
    for (; i < archive->n && mr_is_ok(err); i++) {
        const struct entry *entry = &archive->entries[i];
        mr_buf_reset(&body);
        err = read_entry(archive, entry, &body);
        if (mr_err_is(err, LEDGER_E_CORRUPT)) {
            tell_damage(entry->file, entry->pos, entry->offset, on_damage, ctx);
            err = MR_OK;
        }
    }
    mr_buf_done(&body);
    *ret_entries = i;
    return err;
}

void archive_close(struct archive *archive) {
    if (archive == NULL) {
        return;
    }
    for (size_t i = 0; i < archive->n_files; i++) {
        file_free(archive, archive->files[i]);
    }
    mr_free(archive->files);
    mr_free(archive->entries);
    mr_free(archive->unsynced);
    mr_free(archive->dir);
    os_mutex_done(&archive->mu);
    mr_free(archive);
}
