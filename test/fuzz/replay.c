/* Runs a fuzz target over every file of the folders or files named on the command line, in order of
 * their names, and then over a few inputs that are derived from each: cut off at every 1/16 of the
 * length, and with one byte changed at as many places. A folder without files fails: a corpus that
 * was lost must not look like one that passed. */
#include "base/mem.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_BYTES_MAX (1u << 20)
#define PATH_BYTES_MAX  1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly size bytes, so that a sanitizer sees every read past the end. */
static void run_one(const uint8_t *data, size_t size) {
    uint8_t *copy = mr_alloc(size == 0 ? 1 : size);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    mr_free(copy);
}

static void run_variants(uint8_t *data, size_t size) {
    run_one(data, size);
    for (size_t i = 0; i < 16; i++) {
        size_t at = size * i / 16;
        run_one(data, at);
        if (at < size) {
            uint8_t kept = data[at];
            data[at] = (uint8_t)(kept ^ (1u << i % 8));
            run_one(data, size);
            data[at] = kept;
        }
    }
}

/* Returns the number of inputs run, or -1. */
static int run_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return -1;
    }
    uint8_t *data = mr_alloc(INPUT_BYTES_MAX);
    size_t size = data == NULL ? 0 : fread(data, 1, INPUT_BYTES_MAX, file);
    int result = data != NULL && ferror(file) == 0 ? 1 : -1;
    fclose(file);
    if (result == 1) {
        run_variants(data, size);
    }
    mr_free(data);
    return result;
}

static int is_no_dot_file(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static int run_folder(const char *folder) {
    struct dirent **entries;
    int n = scandir(folder, &entries, is_no_dot_file, alphasort);
    if (n < 0) {
        perror(folder);
        return -1;
    }
    int result = n > 0 ? 0 : -1;
    for (int i = 0; i < n; i++) {
        char path[PATH_BYTES_MAX];
        int len = snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (len < 0 || (size_t)len >= sizeof path || run_file(path) < 0) {
            result = -1;
        } else if (result >= 0) {
            result++;
        }
        free(entries[i]);
    }
    free(entries);
    return result;
}

int main(int argc, char **argv) {
    int inputs = 0;
    for (int i = 1; i < argc; i++) {
        struct stat info;
        int n = stat(argv[i], &info) != 0 ? -1
                : S_ISDIR(info.st_mode)   ? run_folder(argv[i])
                                          : run_file(argv[i]);
        if (n < 0) {
            fprintf(stderr, "could not replay %s\n", argv[i]);
            return 1;
        }
        inputs += n;
    }
    printf("replayed %d inputs and their variants\n", inputs);
    return inputs > 0 ? 0 : 1;
}
