/* Where the middle of long backlogs goes. See spill.h.
 *
 * The file is an array of slots of 4 KiB + 16 bytes of head {CRC-32C u32, length u32, reference
 * u64}; a reference is (generation of the slot << 32 | slot number + 1), so that a stale one is
 * told from the slot's present owner. Freed slots are used again first, lowest memory first by a
 * stack. A fixed slot wastes little, for full chunks are what is spilled. Errors keep nothing: the
 * chunk then stays in memory. */
#include "ledger/spill.h"

#include "base/mem.h"
#include "base/num.h"
#include "crypto/crc32c.h"
#include "ledger/record.h"

#include <stdio.h>

#define HEAD       16U
#define SLOT_BYTES (HEAD + SPILL_CHUNK_MAX)
#define PATH_SIZE  4200U

struct slot {
    uint32_t generation;
    uint32_t len; /* 0: free */
};

struct spill {
    const struct os_files *files;
    char *path;
    os_file file;
    struct slot *slots; /* owned */
    uint32_t *free;     /* owned; a stack of free slots, room for every slot */
    uint32_t n_slots, capacity, n_free, n_max;
};

mr_err spill_open(const struct os_files *files, const char *dir, const char *name,
                  uint64_t bytes_max, struct spill **ret_spill) {
    char path[PATH_SIZE];
    int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof path) {
        return MR_ERR(MR_E_IO);
    }
    struct spill *spill = MR_NEW(struct spill);
    char *copy = mr_strdup_n(path, (size_t)n);
    if (spill == NULL || copy == NULL) {
        mr_free(spill);
        mr_free(copy);
        return MR_ERR(MR_E_NOMEM);
    }
    uint64_t n_max = (bytes_max == 0 ? SPILL_BYTES_MAX : bytes_max) / SLOT_BYTES;
    *spill = (struct spill){.files = files,
                            .path = copy,
                            .n_max = n_max > UINT32_MAX - 1 ? UINT32_MAX - 1 : (uint32_t)n_max};
    mr_err err = files->mkdir(files->ctx, dir);
    if (mr_is_ok(err) || mr_err_is(err, MR_E_EXISTS)) {
        mr_ignore(files->unlink(files->ctx, path), "of an earlier run, or not there");
        err = files->open(files->ctx, path, OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_EXCLUSIVE,
                          &spill->file);
    }
    if (mr_is_err(err)) {
        mr_free(copy);
        mr_free(spill);
        return err;
    }
    *ret_spill = spill;
    return MR_OK;
}

void spill_close(struct spill *spill) {
    if (spill == NULL) {
        return;
    }
    spill->files->close(spill->files->ctx, spill->file);
    mr_ignore(spill->files->unlink(spill->files->ctx, spill->path), "the next run removes it");
    mr_free(spill->path);
    mr_free(spill->slots);
    mr_free(spill->free);
    mr_free(spill);
}

static mr_err grow(struct spill *spill) {
    uint32_t capacity = spill->capacity * 2 + 64;
    struct slot *slots = mr_realloc(spill->slots, capacity * sizeof *slots);
    if (slots == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    spill->slots = slots;
    uint32_t *list = mr_realloc(spill->free, capacity * sizeof *list);
    if (list == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    spill->free = list;
    spill->capacity = capacity;
    return MR_OK;
}

mr_err spill_put(struct spill *spill, const void *bytes, size_t size, uint64_t *ret_ref) {
    MR_ASSERT(size > 0 && size <= SPILL_CHUNK_MAX);
    bool is_new = spill->n_free == 0;
    if (is_new && spill->n_slots >= spill->n_max) {
        return MR_ERR(MR_E_LIMIT);
    }
    if (is_new && spill->n_slots == spill->capacity) {
        MR_TRY(grow(spill));
    }
    uint32_t number = is_new ? spill->n_slots : spill->free[spill->n_free - 1];
    uint32_t generation = is_new ? 1 : spill->slots[number].generation + 1;
    uint64_t ref = (uint64_t)generation << 32 | (number + UINT64_C(1));
    uint8_t head[HEAD];
    mr_put_u32(head, crc32c(0, bytes, size));
    mr_put_u32(head + 4, (uint32_t)size);
    mr_put_u64(head + 8, ref);
    struct iovec iov[] = {{.iov_base = head, .iov_len = sizeof head},
                          {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size}};
    MR_TRY(
        spill->files->write(spill->files->ctx, spill->file, iov, 2, (uint64_t)number * SLOT_BYTES));
    if (is_new) {
        spill->n_slots++;
    } else {
        spill->n_free--;
    }
    spill->slots[number] = (struct slot){.generation = generation, .len = (uint32_t)size};
    *ret_ref = ref;
    return MR_OK;
}

static uint32_t slot_of(const struct spill *spill, uint64_t ref) {
    uint64_t number = (ref & UINT32_MAX) - 1;
    MR_ASSERT(number < spill->n_slots && spill->slots[number].len > 0 &&
              spill->slots[number].generation == ref >> 32);
    return (uint32_t)number;
}

struct spill_place spill_place_of(const struct spill *spill, uint64_t ref) {
    uint32_t number = slot_of(spill, ref);
    return (struct spill_place){.files = spill->files,
                                .file = spill->file,
                                .offset = (uint64_t)number * SLOT_BYTES,
                                .ref = ref,
                                .size = spill->slots[number].len};
}

mr_err spill_read(const struct spill_place *place, void *bytes, int flags) {
    uint8_t slot[SLOT_BYTES];
    size_t size = place->size;
    size_t got;
    MR_TRY(place->files->read(place->files->ctx, place->file, slot, HEAD + size, place->offset,
                              flags, &got));
    if (got < HEAD + size && (flags & OS_READ_NOWAIT) != 0) {
        return MR_ERR(MR_E_AGAIN);
    }
    if (got < HEAD + size || mr_get_u64(slot + 8) != place->ref || mr_get_u32(slot + 4) != size ||
        mr_get_u32(slot) != crc32c(0, slot + HEAD, size)) {
        return MR_ERR(LEDGER_E_CORRUPT);
    }
    memcpy(bytes, slot + HEAD, size);
    return MR_OK;
}

mr_err spill_get(struct spill *spill, uint64_t ref, void *bytes, size_t size, int flags) {
    struct spill_place place = spill_place_of(spill, ref);
    MR_ASSERT(size == place.size);
    return spill_read(&place, bytes, flags);
}

void spill_drop(struct spill *spill, uint64_t ref) {
    uint32_t number = slot_of(spill, ref);
    spill->slots[number].len = 0;
    spill->free[spill->n_free] = number;
    spill->n_free++;
}

struct spill_stats spill_stats(const struct spill *spill) {
    return (struct spill_stats){.chunks = spill->n_slots - spill->n_free,
                                .file_bytes = (uint64_t)spill->n_slots * SLOT_BYTES};
}
