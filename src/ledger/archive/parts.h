/* The inside of an archive, shared by the files that keep it and open it. Private to them. */
#ifndef MR_LEDGER_ARCHIVE_PARTS_H
#define MR_LEDGER_ARCHIVE_PARTS_H

#include "base/num.h"
#include "crypto/crc32c.h"
#include "ledger/archive.h"
#include "os/thread.h"

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

/* Bytes of an entry in its file. */
static inline uint64_t archive_entry_bytes(uint32_t len) {
    return ENTRY_HEAD + (((uint64_t)len + 7) & ~UINT64_C(7));
}

/* False: too long. */
bool archive_path(const struct archive *archive, uint64_t number, char out[static PATH_SIZE]);
/* Room for one entry more; keeper only. */
mr_err archive_entry_reserve(struct archive *archive);
/* Notes where a position is now; room was reserved. */
void archive_entry_set(struct archive *archive, const struct entry *entry);
/* Takes the handle over where it succeeds. */
mr_err archive_file_add(struct archive *archive, uint64_t number, os_file handle,
                        struct file **ret_file);

#endif
