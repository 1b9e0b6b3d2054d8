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

#include "base/mem.h"
#include "base/num.h"
#include "crypto/crc32c.h"
#include "ledger/record.h"
#include "os/thread.h"

#include <stdio.h>

#define MAGIC      "MRARCHV1"
#define FORMAT     1U
#define FILE_HEAD  32U
#define ENTRY_HEAD 24U
#define WINDOW     (256U * 1024)
#define PATH_SIZE  4200U
#define PREFIX     "arc-"
#define NAME_LEN   (sizeof PREFIX - 1 + 16)
#define BODY_MAX   (16U * 1024 * 1024)
#define FILES_MAX  65536U

struct file {
    uint64_t number;
    os_file file;
    uint64_t size; /* end of the last entry */
    uint64_t live_bytes;
    uint32_t n_live;
    uint32_t n_readers;
    uint64_t damaged_at; /* the first damaged head that was passed over; 0: none */
    bool is_gone;        /* unlinked: close when the last reader leaves */
};

struct entry {
    uint64_t pos;
    uint64_t offset; /* of its head */
    struct file *file;
    uint32_t len; /* of the body */
};

struct archive {
    struct archive_options options;
    char *dir;
    uint8_t store_id[16];
    os_mutex mu;
    /* guarded by mu; changed by the keeper alone */
    struct entry *entries; /* by position */
    size_t n, capacity;
    struct file **files; /* owned, by number */
    size_t n_files, files_capacity;
    /* keeper only */
    struct file *current; /* NULL: the next put begins one */
    uint64_t next_number;
    uint64_t *unsynced; /* positions put since the last sync */
    size_t n_unsynced, unsynced_capacity;
};

static uint64_t entry_bytes(uint32_t len) {
    return ENTRY_HEAD + (((uint64_t)len + 7) & ~UINT64_C(7));
}

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

static bool path_of(const struct archive *archive, uint64_t number, char out[static PATH_SIZE]) {
    int n =
        snprintf(out, PATH_SIZE, "%s/" PREFIX "%016llx", archive->dir, (unsigned long long)number);
    return n > 0 && (size_t)n < PATH_SIZE;
}

/* --- the index ----------------------------------------------------------------------------------
 */

static mr_err reserve_entry(struct archive *archive) {
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
    entry->file->live_bytes -= entry_bytes(entry->len);
}

/* Room is there. A position that is there already moves to the new place. */
static void set_entry(struct archive *archive, const struct entry *entry) {
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
    entry->file->live_bytes += entry_bytes(entry->len);
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

static mr_err add_file(struct archive *archive, uint64_t number, os_file handle,
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
    if (!path_of(archive, file->number, path)) {
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
    if (!path_of(archive, archive->next_number, path)) {
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
        err = add_file(archive, number, handle, &file);
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
    MR_TRY(reserve_entry(archive));
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
    file->size += entry_bytes(entry.len);
    os_mutex_unlock(&archive->mu);
    archive->unsynced[archive->n_unsynced] = pos;
    archive->n_unsynced++;
    set_entry(archive, &entry);
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

/* --- opening ------------------------------------------------------------------------------------
 */

/* A window over a file being walked. */
struct scan {
    const struct os_files *files;
    os_file file;
    uint8_t *bytes; /* WINDOW */
    uint64_t at;    /* of its first byte */
    size_t len;
};

/* The head at that offset; NULL at the end of the file. */
static mr_err scan_head(struct scan *scan, uint64_t offset, const uint8_t **ret_head) {
    if (offset < scan->at || offset + ENTRY_HEAD > scan->at + scan->len) {
        MR_TRY(scan->files->read(scan->files->ctx, scan->file, scan->bytes, WINDOW, offset,
                                 OS_READ_WAIT, &scan->len));
        scan->at = offset;
    }
    *ret_head = scan->len < ENTRY_HEAD ? NULL : scan->bytes + (offset - scan->at);
    return MR_OK;
}

static mr_err index_file(struct archive *archive, struct scan *scan, struct file *file,
                         uint64_t size) {
    uint64_t offset = FILE_HEAD;
    uint64_t passed = 0;
    while (offset + ENTRY_HEAD <= size) {
        const uint8_t *head;
        MR_TRY(scan_head(scan, offset, &head));
        if (head == NULL) {
            break;
        }
        uint32_t len = mr_get_u32(head + 8);
        if (mr_get_u32(head + 16) != crc32c(0, head, 16) || len == 0 || len > BODY_MAX ||
            offset + ENTRY_HEAD + len > size) {
            passed = passed == 0 ? offset : passed;
            offset += 8; /* a torn end, or damage: the next head lies on the grid */
            continue;
        }
        /* A good entry behind it: that was no torn end. */
        file->damaged_at = file->damaged_at == 0 ? passed : file->damaged_at;
        passed = 0;
        MR_TRY(reserve_entry(archive));
        struct entry entry = {.pos = mr_get_u64(head), .offset = offset, .file = file, .len = len};
        offset += entry_bytes(len);
        file->size = offset;
        set_entry(archive, &entry);
    }
    return MR_OK;
}

static mr_err check_head(const struct archive *archive, const uint8_t *head) {
    if (memcmp(head, MAGIC, 8) != 0) {
        return MR_ERR(LEDGER_E_CORRUPT);
    }
    if (mr_get_u32(head + 8) > FORMAT) {
        return MR_ERR(LEDGER_E_NEWER);
    }
    return memcmp(head + 16, archive->store_id, 16) == 0 ? MR_OK : MR_ERR(LEDGER_E_FOREIGN);
}

static mr_err open_file(struct archive *archive, uint64_t number, uint8_t *window) {
    const struct os_files *files = archive->options.files;
    char path[PATH_SIZE];
    if (!path_of(archive, number, path)) {
        return MR_ERR(MR_E_IO);
    }
    struct scan scan = {.files = files, .bytes = window};
    uint64_t size = 0;
    MR_TRY(files->open(files->ctx, path, OS_OPEN_READ, &scan.file));
    mr_err err = files->size(files->ctx, scan.file, &size);
    const uint8_t *head = NULL;
    if (mr_is_ok(err)) {
        err = scan_head(&scan, 0, &head);
    }
    if (mr_is_ok(err)) {
        /* A file shorter than its head was never synced: it is empty, and swept away. */
        err = head == NULL || scan.len < FILE_HEAD ? MR_OK : check_head(archive, head);
    }
    if (mr_err_is(err, LEDGER_E_CORRUPT)) {
        mr_error(archive->options.log, "archive_damaged", mr_kv_c("file", path));
        err = MR_OK;
    }
    struct file *file = NULL;
    if (mr_is_ok(err)) {
        err = add_file(archive, number, scan.file, &file);
    }
    if (mr_is_err(err)) {
        files->close(files->ctx, scan.file);
        return err;
    }
    return index_file(archive, &scan, file, size);
}

struct numbers {
    uint64_t *at;
    size_t n;
};

static void on_name(void *arg, mr_str name) {
    struct numbers *numbers = arg;
    uint8_t bytes[8];
    if (name.len != NAME_LEN || !mr_str_starts(name, MR_STR(PREFIX)) || numbers->n == FILES_MAX ||
        mr_is_err(mr_hex_decode(mr_str_slice(name, sizeof PREFIX - 1, name.len), bytes, 8))) {
        return;
    }
    uint64_t number = 0;
    for (size_t i = 0; i < 8; i++) {
        number = number << 8 | bytes[i];
    }
    numbers->at[numbers->n++] = number;
}

static mr_err open_files(struct archive *archive) {
    const struct os_files *files = archive->options.files;
    mr_err err = files->mkdir(files->ctx, archive->dir);
    if (mr_is_err(err) && !mr_err_is(err, MR_E_EXISTS)) {
        return err;
    }
    uint8_t *window MR_AUTO_FREE = mr_alloc(WINDOW);
    uint64_t *at MR_AUTO_FREE = mr_alloc(FILES_MAX * sizeof *at);
    if (window == NULL || at == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    struct numbers numbers = {.at = at};
    MR_TRY(files->list(files->ctx, archive->dir, on_name, &numbers));
    for (size_t i = 0; i < numbers.n; i++) {
        MR_TRY(open_file(archive, numbers.at[i], window));
    }
    return MR_OK;
}

mr_err archive_open(const struct archive_options *options, struct archive **ret_archive) {
    struct archive *archive = MR_NEW(struct archive);
    if (archive == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    os_mutex_init(&archive->mu);
    archive->options = *options;
    if (options->file_bytes == 0) {
        archive->options.file_bytes = ARCHIVE_FILE_BYTES;
    }
    archive->next_number = 1;
    memcpy(archive->store_id, options->store_id, sizeof archive->store_id);
    archive->dir = mr_strdup_n(options->dir, strlen(options->dir));
    mr_err err = archive->dir == NULL ? MR_ERR(MR_E_NOMEM) : open_files(archive);
    if (mr_is_err(err)) {
        archive_close(archive);
        return err;
    }
    *ret_archive = archive;
    return MR_OK;
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
