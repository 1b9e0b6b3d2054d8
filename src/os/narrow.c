/* See narrow.h. Descriptors, not paths, are walked, so that nobody can put a link in the way
 * between looking and changing. */
#include "os/narrow.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 8 /* data folders have two levels */
#define OTHERS    (S_IRWXG | S_IRWXO)

static void narrow_one(int fd, const struct stat *stat, size_t *narrowed) {
    mode_t mode = S_ISDIR(stat->st_mode) ? 0700 : 0600;
    if ((stat->st_mode & OTHERS) != 0 && fchmod(fd, mode) == 0) {
        (*narrowed)++;
    }
}

/* Takes fd. */
static void narrow_folder(int fd, int depth, size_t *narrowed) {
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        (void)close(fd);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct stat stat;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        /* Neither waits for a pipe's other end, nor follows a link. */
        int how = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
        int file = openat(dirfd(dir), entry->d_name, how);
        if (file < 0) {
            continue;
        }
        bool is_known = fstat(file, &stat) == 0;
        if (is_known && (S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode))) {
            narrow_one(file, &stat, narrowed);
        }
        if (is_known && S_ISDIR(stat.st_mode) && depth < DEPTH_MAX) {
            narrow_folder(file, depth + 1, narrowed);
        } else {
            (void)close(file);
        }
    }
    (void)closedir(dir);
}

mr_err os_narrow(const char *dir, size_t *ret_narrowed) {
    struct stat stat;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return MR_ERR(errno == ENOENT ? MR_E_NOT_FOUND : MR_E_IO);
    }
    size_t narrowed = 0;
    if (fstat(fd, &stat) == 0) {
        narrow_one(fd, &stat, &narrowed);
    }
    narrow_folder(fd, 0, &narrowed);
    *ret_narrowed = narrowed;
    return MR_OK;
}
