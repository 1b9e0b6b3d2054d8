/* The system's files, and two helpers over any table of files. See files.h.
 *
 * Why so plain: each operation is one system call, made again after EINTR where that is defined to
 * be safe. fdatasync is never made again: after an error the kernel may have dropped the dirty
 * pages and marked them clean, so a second call that succeeds proves nothing. What a failure means
 * is for the caller to decide.
 *
 * A write goes on after a short count only to learn the reason: POSIX gives the error with the next
 * call. Locks are of the open file description (F_OFD_SETLK), so that closing another descriptor of
 * the same file does not drop them, as classic record locks would. */
#include "os/files.h"

#include "base/buf.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PATH_BYTES_MAX 4096U
#define NAMES_MAX      1000000U

static mr_err err_of_errno(void) {
    switch (errno) {
    case ENOSPC:
    case EDQUOT:
        return MR_ERR(MR_E_NO_SPACE);
    case ENOENT:
        return MR_ERR(MR_E_NOT_FOUND);
    case EEXIST:
        return MR_ERR(MR_E_EXISTS);
    case EAGAIN:
        return MR_ERR(MR_E_AGAIN);
    case ENOMEM:
        return MR_ERR(MR_E_NOMEM);
    default:
        return MR_ERR(MR_E_IO);
    }
}

static mr_err err_of_result(int result) {
    return result == 0 ? MR_OK : err_of_errno();
}

static mr_err sys_open(void *ctx, const char *path, int flags, os_file *ret_file) {
    (void)ctx;
    int how = O_CLOEXEC | ((flags & OS_OPEN_WRITE) != 0 ? O_RDWR : O_RDONLY);
    how |= (flags & OS_OPEN_CREATE) != 0 ? O_CREAT : 0;
    how |= (flags & OS_OPEN_EXCLUSIVE) != 0 ? O_EXCL : 0;
    how |= (flags & OS_OPEN_DIRECTORY) != 0 ? O_DIRECTORY : 0;
    int fd;
    do {
        fd = open(path, how, 0600);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return err_of_errno();
    }
    ret_file->handle = fd;
    return MR_OK;
}

static void sys_close(void *ctx, os_file file) {
    (void)ctx;
    /* Not repeated after EINTR: on Linux the descriptor is gone in any case. Errors of delayed
     * writes do not matter here, because whoever needs the bytes has synced. */
    (void)close(file.handle);
}

/* The rest of iov behind the first `done` bytes, written piece by piece. */
static mr_err write_rest(int fd, const struct iovec *iov, int n_iov, size_t done, uint64_t offset) {
    for (int i = 0; i < n_iov; i++) {
        if (done >= iov[i].iov_len) {
            done -= iov[i].iov_len;
            offset += iov[i].iov_len;
            continue;
        }
        while (done < iov[i].iov_len) {
            ssize_t n = pwrite(fd, (const char *)iov[i].iov_base + done, iov[i].iov_len - done,
                               (off_t)(offset + done));
            if (n < 0 && errno == EINTR) {
                continue;
            }
            if (n <= 0) {
                return n < 0 ? err_of_errno() : MR_ERR(MR_E_NO_SPACE);
            }
            done += (size_t)n;
        }
        offset += iov[i].iov_len;
        done = 0;
    }
    return MR_OK;
}

static mr_err sys_write(void *ctx, os_file file, const struct iovec *iov, int n_iov,
                        uint64_t offset) {
    (void)ctx;
    size_t total = 0;
    for (int i = 0; i < n_iov; i++) {
        total += iov[i].iov_len;
    }
    ssize_t n;
    do {
        n = pwritev(file.handle, iov, n_iov, (off_t)offset);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return err_of_errno();
    }
    return (size_t)n == total ? MR_OK : write_rest(file.handle, iov, n_iov, (size_t)n, offset);
}

static mr_err sys_read(void *ctx, os_file file, void *out, size_t size, uint64_t offset, int flags,
                       size_t *ret_n) {
    (void)ctx;
    size_t done = 0;
    int how = (flags & OS_READ_NOWAIT) != 0 ? RWF_NOWAIT : 0;
    while (done < size) {
        struct iovec part = {.iov_base = (char *)out + done, .iov_len = size - done};
        ssize_t n = preadv2(file.handle, &part, 1, (off_t)(offset + done), how);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && how != 0 && (errno == EOPNOTSUPP || errno == EINVAL)) {
            /* A file system that cannot say: as if it were not in memory. */
            errno = EAGAIN;
        }
        if (n < 0 && errno == EAGAIN && done > 0) {
            break;
        }
        if (n < 0) {
            return err_of_errno();
        }
        if (n == 0) {
            break;
        }
        done += (size_t)n;
    }
    *ret_n = done;
    return MR_OK;
}

static mr_err sys_sync(void *ctx, os_file file) {
    (void)ctx;
    return err_of_result(fdatasync(file.handle));
}

static mr_err sys_truncate(void *ctx, os_file file, uint64_t size) {
    (void)ctx;
    int result;
    do {
        result = ftruncate(file.handle, (off_t)size);
    } while (result != 0 && errno == EINTR);
    return err_of_result(result);
}

static mr_err sys_size(void *ctx, os_file file, uint64_t *ret_size) {
    (void)ctx;
    struct stat st;
    if (fstat(file.handle, &st) != 0) {
        return err_of_errno();
    }
    *ret_size = (uint64_t)st.st_size;
    return MR_OK;
}

static mr_err sys_rename(void *ctx, const char *from, const char *to) {
    (void)ctx;
    return err_of_result(rename(from, to));
}

static mr_err sys_link(void *ctx, const char *from, const char *to) {
    (void)ctx;
    return err_of_result(link(from, to));
}

static mr_err sys_unlink(void *ctx, const char *path) {
    (void)ctx;
    return err_of_result(unlink(path));
}

static mr_err sys_mkdir(void *ctx, const char *path) {
    (void)ctx;
    return err_of_result(mkdir(path, 0700));
}

static mr_err sys_sync_dir(void *ctx, const char *path) {
    os_file dir = OS_FILE_NONE;
    MR_TRY(sys_open(ctx, path, OS_OPEN_READ | OS_OPEN_DIRECTORY, &dir));
    mr_err err = err_of_result(fsync(dir.handle));
    int saved = errno;
    sys_close(ctx, dir);
    errno = saved;
    return err;
}

static int by_name(const void *a, const void *b) {
    const char *left;
    const char *right;
    memcpy(&left, a, sizeof left);
    memcpy(&right, b, sizeof right);
    return strcmp(left, right);
}

struct names {
    char **at;
    size_t n;
    size_t cap;
};

static void names_done(struct names *names) {
    for (size_t i = 0; i < names->n; i++) {
        mr_free(names->at[i]);
    }
    mr_free(names->at);
}

static mr_err names_add(struct names *names, const char *name) {
    if (names->n == NAMES_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    if (names->n == names->cap) {
        size_t cap = names->cap == 0 ? 64 : names->cap * 2;
        char **grown = mr_realloc(names->at, cap * sizeof *grown);
        if (grown == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        names->at = grown;
        names->cap = cap;
    }
    names->at[names->n] = mr_strdup_n(name, strlen(name));
    if (names->at[names->n] == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    names->n++;
    return MR_OK;
}

static mr_err names_read(struct names *names, const char *path) {
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return err_of_errno();
    }
    mr_err err = MR_OK;
    while (mr_is_ok(err)) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            err = errno != 0 ? err_of_errno() : MR_OK;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            err = names_add(names, entry->d_name);
        }
    }
    closedir(dir);
    return err;
}

static mr_err sys_list(void *ctx, const char *path, void (*each)(void *arg, mr_str name),
                       void *arg) {
    (void)ctx;
    struct names names = {0};
    mr_err err = names_read(&names, path);
    if (mr_is_ok(err)) {
        if (names.n > 1) {
            qsort(names.at, names.n, sizeof *names.at, by_name);
        }
        for (size_t i = 0; i < names.n; i++) {
            each(arg, mr_str_c(names.at[i]));
        }
    }
    names_done(&names);
    return err;
}

static mr_err sys_lock(void *ctx, os_file file) {
    (void)ctx;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(file.handle, F_OFD_SETLK, &lock) == 0) {
        return MR_OK;
    }
    return errno == EAGAIN || errno == EACCES ? MR_ERR(MR_E_BUSY) : err_of_errno();
}

static mr_err sys_space(void *ctx, const char *path, struct os_space *ret_space) {
    (void)ctx;
    struct statvfs fs;
    if (statvfs(path, &fs) != 0) {
        return err_of_errno();
    }
    ret_space->free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    ret_space->total_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
    return MR_OK;
}

static void sys_forget(void *ctx, os_file file) {
    (void)ctx;
    (void)posix_fadvise(file.handle, 0, 0, POSIX_FADV_DONTNEED);
}

const struct os_files os_files_system = {
    .open = sys_open,
    .close = sys_close,
    .write = sys_write,
    .read = sys_read,
    .sync = sys_sync,
    .truncate = sys_truncate,
    .size = sys_size,
    .rename = sys_rename,
    .link = sys_link,
    .unlink = sys_unlink,
    .mkdir = sys_mkdir,
    .sync_dir = sys_sync_dir,
    .list = sys_list,
    .lock = sys_lock,
    .space = sys_space,
    .forget = sys_forget,
};

static mr_err load_open(const struct os_files *files, os_file file, size_t size_max,
                        mr_str *ret_text) {
    uint64_t size;
    MR_TRY(files->size(files->ctx, file, &size));
    if (size > size_max) {
        return MR_ERR(MR_E_LIMIT);
    }
    char *text = mr_alloc((size_t)size + 1);
    if (text == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    size_t n;
    mr_err err = files->read(files->ctx, file, text, (size_t)size, 0, OS_READ_WAIT, &n);
    if (mr_is_err(err)) {
        mr_free(text);
        return err;
    }
    text[n] = '\0';
    *ret_text = (mr_str){text, n};
    return MR_OK;
}

mr_err os_file_load(const struct os_files *files, const char *path, size_t size_max,
                    mr_str *ret_text) {
    os_file file;
    MR_TRY(files->open(files->ctx, path, OS_OPEN_READ, &file));
    mr_err err = load_open(files, file, size_max, ret_text);
    files->close(files->ctx, file);
    return err;
}

static mr_err write_beside(const struct os_files *files, const char *path, mr_str text) {
    os_file file;
    MR_TRY(
        files->open(files->ctx, path, OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_EXCLUSIVE, &file));
    mr_err err = MR_OK;
    if (text.len > 0) {
        char *bytes;
        memcpy(&bytes, &text.ptr, sizeof bytes); /* iovec lacks the const that a write keeps */
        struct iovec iov = {.iov_base = bytes, .iov_len = text.len};
        err = files->write(files->ctx, file, &iov, 1, 0);
    }
    if (mr_is_ok(err)) {
        err = files->sync(files->ctx, file);
    }
    files->close(files->ctx, file);
    return err;
}

mr_err os_file_replace(const struct os_files *files, const char *dir, const char *name,
                       mr_str text) {
    mr_buf paths;
    mr_buf_init(&paths, 2 * PATH_BYTES_MAX);
    mr_err err = mr_buf_printf(&paths, "%s/%s", dir, name);
    size_t beside_at = paths.len + 1;
    if (mr_is_ok(err)) {
        err = mr_buf_byte(&paths, '\0');
    }
    if (mr_is_ok(err)) {
        err = mr_buf_printf(&paths, "%s/%s.new", dir, name);
    }
    if (mr_is_ok(err)) {
        err = mr_buf_byte(&paths, '\0');
    }
    if (mr_is_ok(err)) {
        const char *path = paths.ptr;
        const char *beside = paths.ptr + beside_at;
        mr_ignore(files->unlink(files->ctx, beside), "left by a crash, or absent");
        err = write_beside(files, beside, text);
        if (mr_is_ok(err)) {
            err = files->rename(files->ctx, beside, path);
        }
        if (mr_is_err(err)) {
            mr_ignore(files->unlink(files->ctx, beside), "the old file stays; the next try cleans");
        } else {
            err = files->sync_dir(files->ctx, dir);
        }
    }
    mr_buf_done(&paths);
    return err;
}
