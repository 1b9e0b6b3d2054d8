/* Files behind a table of functions, so that the simulator can put a disk of its own in their
 * place. Calls block: they are made by threads made for it (journal writer, maintenance, disk
 * readers), never by a worker's loop, except os_files.read with MR_READ_NOWAIT.
 *
 * Errors: MR_E_NO_SPACE for ENOSPC, EDQUOT and a short write; MR_E_NOT_FOUND for ENOENT;
 * MR_E_EXISTS for EEXIST; MR_E_AGAIN for EAGAIN; MR_E_IO for the rest (errno stays set). */
#ifndef MR_OS_FILES_H
#define MR_OS_FILES_H

#include "base/err.h"
#include "base/str.h"

#include <sys/types.h>
#include <sys/uio.h>

/* An open file: a descriptor in production, a handle of the simulator's. */
typedef struct os_file {
    int handle;
} os_file;
#define OS_FILE_NONE ((os_file){-1})

enum os_open_flags {
    OS_OPEN_READ = 0,
    OS_OPEN_WRITE = 1 << 0,     /* read and write */
    OS_OPEN_CREATE = 1 << 1,    /* with mode 0600 */
    OS_OPEN_EXCLUSIVE = 1 << 2, /* fails with MR_E_EXISTS where it is there */
    OS_OPEN_DIRECTORY = 1 << 3, /* for dirsync */
};

enum os_read_flags {
    OS_READ_WAIT = 0,
    OS_READ_NOWAIT = 1, /* preadv2(RWF_NOWAIT): MR_E_AGAIN where the bytes are not in memory */
};

struct os_space {
    uint64_t free_bytes; /* for an unprivileged writer */
    uint64_t total_bytes;
};

struct os_files {
    void *ctx;
    mr_err (*open)(void *ctx, const char *path, int flags, os_file *ret_file);
    void (*close)(void *ctx, os_file file);
    /* Writes all or fails (a short write is an error, its bytes may be there). */
    mr_err (*write)(void *ctx, os_file file, const struct iovec *iov, int n_iov, uint64_t offset);
    /* *ret_n < size at the end of the file only (or a part in memory with NOWAIT). */
    mr_err (*read)(void *ctx, os_file file, void *out, size_t size, uint64_t offset, int flags,
                   size_t *ret_n);
    /* fdatasync. */
    mr_err (*sync)(void *ctx, os_file file);
    mr_err (*truncate)(void *ctx, os_file file, uint64_t size);
    mr_err (*size)(void *ctx, os_file file, uint64_t *ret_size);
    mr_err (*rename)(void *ctx, const char *from, const char *to);
    mr_err (*link)(void *ctx, const char *from, const char *to);
    mr_err (*unlink)(void *ctx, const char *path);
    mr_err (*mkdir)(void *ctx, const char *path);
    /* fsync of the directory. */
    mr_err (*sync_dir)(void *ctx, const char *path);
    /* Calls each(arg, name) for the entries but . and .., in byte order of the names. */
    mr_err (*list)(void *ctx, const char *path, void (*each)(void *arg, mr_str name), void *arg);
    /* An exclusive lock that lives as long as the file is open; MR_E_BUSY where another holds it.
     */
    mr_err (*lock)(void *ctx, os_file file);
    mr_err (*space)(void *ctx, const char *path, struct os_space *ret_space);
    /* A hint: what is synced of the file is not wanted in memory any more. May be NULL. */
    void (*forget)(void *ctx, os_file file);
};

/* The system's files. */
extern const struct os_files os_files_system;

/* Reads a whole file of at most size_max bytes into memory of mr_alloc (*ret_text.ptr is to be
 * freed with mr_free). MR_E_LIMIT where it is larger. */
mr_err os_file_load(const struct os_files *files, const char *path, size_t size_max,
                    mr_str *ret_text);
/* Writes path anew: a file beside it, synced, renamed, directory synced; mode 0600. */
mr_err os_file_replace(const struct os_files *files, const char *dir, const char *name,
                       mr_str text);

#endif
