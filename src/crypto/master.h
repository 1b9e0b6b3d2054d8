/* The master key's file: outside the data folder, so that a copy of the folder alone opens nothing.
 * 32 random bytes as 64 hex digits and a newline, mode 0600. Blocks; for start-up only. */
#ifndef MR_CRYPTO_MASTER_H
#define MR_CRYPTO_MASTER_H

#include "crypto/secret.h"
#include "os/files.h"

#define MASTER_KEY_NAME "millrace-master-key" /* of the file in a credentials directory */
#define MASTER_PATH_MAX 4096

/* Where the key lies, NUL-terminated: `file` where it is given; else MASTER_KEY_NAME in
 * credentials_dir where that is given and holds it; else `dir` (slashes at its end taken off) with
 * ".key" behind it. MR_E_LIMIT past MASTER_PATH_MAX. */
mr_err master_key_path(const struct os_files *files, const char *file, const char *credentials_dir,
                       const char *dir, char out[static MASTER_PATH_MAX]);
/* Where the next key of the one at path lies while it takes its place: path with ".new" behind it.
 * MR_E_LIMIT. */
mr_err master_key_next_path(const char *path, char out[static MASTER_PATH_MAX]);
/* Puts the key at from in the place of the one at to, synced. MR_E_IO, MR_E_NO_SPACE. */
mr_err master_key_move(const struct os_files *files, const char *from, const char *to);
/* Reads it into the slab. MR_E_NOT_FOUND, MR_E_IO (unreadable), MR_E_INVALID (another content),
 * MR_E_NOMEM, MR_E_LIMIT. */
mr_err master_key_load(const struct os_files *files, struct secret_slab *slab, const char *path,
                       mr_secret *ret_key);
/* Makes a new one where none is (MR_E_EXISTS); synced, with its directory. MR_E_NO_SPACE, MR_E_IO.
 */
mr_err master_key_make(const struct os_files *files, struct secret_slab *slab, const char *path,
                       mr_secret *ret_key);

#endif
