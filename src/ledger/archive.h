/* The archive: copies of EVENT records whose segments retention removes while a delivery or a dead
 * letter still needs them. Bodies byte for byte, found by their position, bounded in bytes.
 *
 * Threads: archive_read by any; everything else by the keeper's thread. */
#ifndef MR_LEDGER_ARCHIVE_H
#define MR_LEDGER_ARCHIVE_H

#include "base/buf.h"
#include "base/log.h"
#include "os/files.h"

struct archive;

#define ARCHIVE_BYTES_MAX     (UINT64_C(5) * 1024 * 1024 * 1024)
#define ARCHIVE_FILE_BYTES    (UINT64_C(64) * 1024 * 1024)
#define ARCHIVE_SHARE_PERCENT 25U

struct archive_options {
    const struct os_files *files;
    const char *dir;         /* made when absent. Copied. */
    const uint8_t *store_id; /* 16 bytes. Copied. */
    uint64_t file_bytes;     /* 0: ARCHIVE_FILE_BYTES */
    const mr_log *log;
};

/* Reads the files' indexes (a torn end of the last one is cut off; damaged entries are logged and
 * left out). Blocks. MR_E_NOMEM, MR_E_IO, LEDGER_E_NEWER, LEDGER_E_FOREIGN. */
mr_err archive_open(const struct archive_options *options, struct archive **ret_archive);
void archive_close(struct archive *archive);

/* Appends a copy; harmless where the position is there already. Not durable before archive_sync.
 * MR_E_NO_SPACE, MR_E_IO: this file is given up, the next call begins another. MR_E_NOMEM. */
mr_err archive_put(struct archive *archive, uint64_t pos, mr_str body);
/* What was put is durable after this. On an error nothing put since the last sync counts as kept:
 * it must be put again. */
mr_err archive_sync(struct archive *archive);
/* Keeps the entries at those positions (ascending), forgets the rest; removes files that are empty
 * then and rewrites those less than half used. Errors leave what is kept readable. Blocks. */
mr_err archive_sweep(struct archive *archive, const uint64_t *live, size_t n);

/* Any thread: the body of an archived EVENT to the end of out. Checks its CRC. MR_E_NOT_FOUND,
 * LEDGER_E_CORRUPT, MR_E_LIMIT, MR_E_NOMEM, MR_E_IO. Blocks on the disk. */
mr_err archive_read(struct archive *archive, uint64_t pos, mr_buf *out);
bool archive_has(struct archive *archive, uint64_t pos);

/* Any thread. */
struct archive_stats {
    uint64_t entries, live_bytes, file_bytes;
    uint32_t files;
};
struct archive_stats archive_stats(struct archive *archive);

/* Reads every entry with its checksum: for `check`. Each damaged one is told; position 0: its head
 * is damaged, so that nobody knows which event it was. Keeper's thread or alone. */
mr_err archive_verify(struct archive *archive,
                      void (*on_damage)(void *ctx, uint64_t pos, const char *file, uint64_t offset),
                      void *ctx, uint64_t *ret_entries);

#endif
