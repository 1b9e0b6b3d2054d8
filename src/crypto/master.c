/* The master key's file.
 *
 * It is written with O_EXCL semantics and synced before it is used: a key that seals anything must
 * not be lost to a power cut. Where the write fails the file is taken away again, so that the next
 * try does not find half a key. The text form is hex, so that it survives editors, mail and secret
 * stores that append a newline. */
#include "crypto/master.h"

#include "base/mem.h"
#include "base/num.h"
#include "crypto/ids.h"
#include "crypto/seal.h"

#define HEX_LEN  (2 * SEAL_KEY_BYTES)
#define FILE_MAX 4096

/* a + b + c with a NUL. */
static mr_err join(mr_str a, const char *b, const char *c, char out[static MASTER_PATH_MAX]) {
    mr_str rest[3] = {a, mr_str_c(b), mr_str_c(c)};
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        if (rest[i].len >= MASTER_PATH_MAX - n) {
            return MR_ERR(MR_E_LIMIT);
        }
        memcpy(out + n, rest[i].ptr, rest[i].len);
        n += rest[i].len;
    }
    out[n] = '\0';
    return MR_OK;
}

/* The path without the slashes at its end; "/" stays. */
static mr_str without_slashes(const char *dir) {
    mr_str path = mr_str_c(dir);
    while (path.len > 1 && path.ptr[path.len - 1] == '/') {
        path.len--;
    }
    return path;
}

static bool file_is_there(const struct os_files *files, const char *path) {
    os_file file;
    if (mr_is_err(files->open(files->ctx, path, OS_OPEN_READ, &file))) {
        return false;
    }
    files->close(files->ctx, file);
    return true;
}

mr_err master_key_path(const struct os_files *files, const char *file, const char *credentials_dir,
                       const char *dir, char out[static MASTER_PATH_MAX]) {
    if (file != NULL) {
        return join(mr_str_c(file), "", "", out);
    }
    if (credentials_dir != NULL) {
        MR_TRY(join(without_slashes(credentials_dir), "/", MASTER_KEY_NAME, out));
        if (file_is_there(files, out)) {
            return MR_OK;
        }
    }
    return join(without_slashes(dir), ".key", "", out);
}

mr_err master_key_load(const struct os_files *files, struct secret_slab *slab, const char *path,
                       mr_secret *ret_key) {
    mr_str text = MR_STR_NONE;
    mr_err err = os_file_load(files, path, FILE_MAX, &text);
    if (mr_is_err(err)) {
        return mr_err_is(err, MR_E_LIMIT) ? MR_ERR(MR_E_INVALID) : err;
    }
    mr_str hex = text;
    if (hex.len == HEX_LEN + 1 && hex.ptr[HEX_LEN] == '\n') {
        hex.len--;
    }
    uint8_t key[SEAL_KEY_BYTES];
    err = hex.len == HEX_LEN ? mr_hex_decode(hex, key, sizeof key) : MR_ERR(MR_E_INVALID);
    if (mr_is_ok(err)) {
        err = mr_secret_new(slab, mr_str_of((const char *)key, sizeof key), ret_key);
    }
    crypto_wipe(key, sizeof key);
    union {
        const char *as_const;
        char *as_own;
    } memory = {.as_const = text.ptr}; /* our own memory, lent as const */
    crypto_wipe(memory.as_own, text.len);
    mr_free(memory.as_own);
    return err;
}

/* The directory that a path lies in. */
static mr_err dir_of(const char *path, char out[static MASTER_PATH_MAX]) {
    mr_str dir = mr_str_c(path);
    while (dir.len > 0 && dir.ptr[dir.len - 1] != '/') {
        dir.len--;
    }
    if (dir.len == 0) {
        dir = MR_STR(".");
    }
    return join(dir, "", "", out);
}

mr_err master_key_next_path(const char *path, char out[static MASTER_PATH_MAX]) {
    return join(mr_str_c(path), ".new", "", out);
}

mr_err master_key_move(const struct os_files *files, const char *from, const char *to) {
    char dir[MASTER_PATH_MAX];
    MR_TRY(dir_of(to, dir));
    MR_TRY(files->rename(files->ctx, from, to));
    return files->sync_dir(files->ctx, dir);
}

mr_err master_key_make(const struct os_files *files, struct secret_slab *slab, const char *path,
                       mr_secret *ret_key) {
    char dir[MASTER_PATH_MAX];
    MR_TRY(dir_of(path, dir));
    mr_secret key = MR_SECRET_NONE;
    MR_TRY(secret_random(slab, SEAL_KEY_BYTES, &key));
    os_file file;
    mr_err err =
        files->open(files->ctx, path, OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_EXCLUSIVE, &file);
    if (mr_is_err(err)) {
        mr_secret_unref(&key);
        return err;
    }
    char text[HEX_LEN + 1];
    mr_hex_encode(mr_secret_reveal(key).ptr, SEAL_KEY_BYTES, text);
    text[HEX_LEN] = '\n';
    struct iovec iov = {.iov_base = text, .iov_len = sizeof text};
    err = files->write(files->ctx, file, &iov, 1, 0);
    if (mr_is_ok(err)) {
        err = files->sync(files->ctx, file);
    }
    files->close(files->ctx, file);
    if (mr_is_ok(err)) {
        err = files->sync_dir(files->ctx, dir);
    }
    crypto_wipe(text, sizeof text);
    if (mr_is_err(err)) {
        mr_ignore(files->unlink(files->ctx, path), "the first error counts");
        mr_secret_unref(&key);
        return err;
    }
    *ret_key = key;
    return MR_OK;
}
