/* Opening an archive: the index is built by walking the heads of each file's entries. */
#include "ledger/archive.h"

#include "base/mem.h"
#include "ledger/archive/parts.h"
#include "ledger/record.h"

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
        MR_TRY(archive_entry_reserve(archive));
        struct entry entry = {.pos = mr_get_u64(head), .offset = offset, .file = file, .len = len};
        offset += archive_entry_bytes(len);
        file->size = offset;
        archive_entry_set(archive, &entry);
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
    if (!archive_path(archive, number, path)) {
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
        err = archive_file_add(archive, number, scan.file, &file);
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
