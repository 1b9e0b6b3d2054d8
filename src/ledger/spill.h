/* Where the middle of long backlogs goes when memory is short: an append-only file of chunks of at
 * most 4 KiB, one spill per owner (a worker). Not needed after a restart (the book gives every
 * delivery back), so nothing is synced and the file begins empty. Bounded in bytes; space of
 * dropped chunks is used again. Owner's thread only; put blocks on the page cache, get on the disk
 * unless told not to wait. Fits deliver/backlog.h: struct backlog_spill. */
#ifndef MR_LEDGER_SPILL_H
#define MR_LEDGER_SPILL_H

#include "base/err.h"
#include "os/files.h"

struct spill;

#define SPILL_CHUNK_MAX 4096U
#define SPILL_BYTES_MAX (UINT64_C(4) * 1024 * 1024 * 1024)

/* Makes dir/name anew, empty. bytes_max 0: SPILL_BYTES_MAX. MR_E_IO, MR_E_NOMEM. */
mr_err spill_open(const struct os_files *files, const char *dir, const char *name,
                  uint64_t bytes_max, struct spill **ret_spill);
/* Removes the file. NULL is fine. */
void spill_close(struct spill *spill);
/* Keeps size bytes (1 … SPILL_CHUNK_MAX). MR_E_LIMIT: the bound is reached; MR_E_NO_SPACE, MR_E_IO:
 * nothing is kept. */
mr_err spill_put(struct spill *spill, const void *bytes, size_t size, uint64_t *ret_ref);
/* The bytes of that reference, with their checksum checked. flags as os_files.read: with
 * OS_READ_NOWAIT MR_E_AGAIN where they are not in memory. MR_E_IO, LEDGER_E_CORRUPT. */
mr_err spill_get(struct spill *spill, uint64_t ref, void *bytes, size_t size, int flags);
/* The same in two steps, for a thread that may wait: where the bytes lie (owner's thread), and the
 * reading of them (any thread while the spill is open). The chunk may be dropped and its place used
 * again meanwhile: LEDGER_E_CORRUPT then. */
struct spill_place {
    const struct os_files *files;
    os_file file;
    uint64_t offset, ref;
    uint32_t size;
};
struct spill_place spill_place_of(const struct spill *spill, uint64_t ref);
mr_err spill_read(const struct spill_place *place, void *bytes, int flags);
void spill_drop(struct spill *spill, uint64_t ref);
struct spill_stats {
    uint64_t chunks, file_bytes;
};
struct spill_stats spill_stats(const struct spill *spill);

#endif
