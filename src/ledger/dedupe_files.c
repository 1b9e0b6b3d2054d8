/* Generations of ids: their life and their files. See dedupe.h and dedupe.c.
 *
 * A file, "gen-<first position, 16 hex digits>", is written once and never changed:
 *     0 "MRDEDUP1"  8 format u32 = 1  12 n u32  16 store id  32 first_pos u64  40 end_pos u64
 *    48 newest_ms i64  56 CRC-32C of the entries u32  60 CRC-32C of these 60 bytes u32
 *    64 n × {tag 16 bytes, position u64, digest u64}
 *
 * Written beside, synced, renamed, directory synced, by maintenance; the writer goes on with the
 * entries in memory until the file is there. What no file covers is found again at a start by
 * reading the journal from the floor on, which retention does not pass.
 *
 * Failure policy: a file that cannot be written is given up and tried again; its ids stay in
 * memory. A damaged file is removed at the start and its range of the journal read again. */
#include "ledger/dedupe.h"

#include "base/mem.h"
#include "base/num.h"
#include "crypto/crc32c.h"
#include "ledger/dedupe_parts.h"

#include <stdio.h>

#define MAGIC     "MRDEDUP1"
#define FORMAT    1U
#define PATH_SIZE 4200U
#define PREFIX    "gen-"
#define NAME_LEN  (sizeof PREFIX - 1 + 16)
#define FILES_MAX 4096U

/* --- generations --------------------------------------------------------------------------------
 */

void dedupe_update_floor(struct dedupe *dedupe) {
    uint64_t floor = 0;
    os_mutex_lock(&dedupe->mu);
    for (uint32_t g = 0; g < dedupe->n_generations; g++) {
        const struct generation *generation = dedupe->generations[g];
        if (!generation->is_stored && !generation->is_retired && generation->n > 0 &&
            (floor == 0 || generation->first_pos < floor)) {
            floor = generation->first_pos;
        }
    }
    if (floor == 0) {
        floor = dedupe->durable > dedupe->stored_end ? dedupe->durable : dedupe->stored_end;
    }
    atomic_store(&dedupe->floor, floor);
    os_mutex_unlock(&dedupe->mu);
}

static mr_err push_generation(struct dedupe *dedupe, struct generation *generation) {
    if (dedupe->n_generations == dedupe->generations_capacity) {
        uint32_t capacity = dedupe->generations_capacity * 2 + 32;
        struct generation **table = mr_alloc((size_t)capacity * sizeof(struct generation *));
        if (table == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        os_mutex_lock(&dedupe->mu);
        if (dedupe->n_generations > 0) {
            memcpy(table, dedupe->generations, dedupe->n_generations * sizeof(struct generation *));
        }
        mr_free(dedupe->generations);
        dedupe->generations = table;
        dedupe->generations_capacity = capacity;
        os_mutex_unlock(&dedupe->mu);
    }
    os_mutex_lock(&dedupe->mu);
    dedupe->generations[dedupe->n_generations] = generation;
    dedupe->n_generations++;
    os_mutex_unlock(&dedupe->mu);
    return MR_OK;
}

mr_err dedupe_begin_generation(struct dedupe *dedupe) {
    struct generation *next = MR_NEW(struct generation);
    if (next == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    next->file = OS_FILE_NONE;
    struct generation *open = NULL;
    if (dedupe->n_generations > 0) {
        open = dedupe->generations[dedupe->n_generations - 1];
        MR_ASSERT(open->n > 0);
        next->first_number = open->first_number + open->n;
    }
    mr_err err = push_generation(dedupe, next);
    if (mr_is_err(err)) {
        mr_free(next);
        return err;
    }
    if (open != NULL) {
        os_mutex_lock(&dedupe->mu);
        open->is_sealed = true;
        os_mutex_unlock(&dedupe->mu);
    }
    return MR_OK;
}

static void free_blocks(struct generation *generation) {
    for (uint32_t i = 0; i < generation->n_blocks; i++) {
        mr_free(generation->blocks[i]);
    }
    mr_free(generation->blocks);
    generation->blocks = NULL;
    generation->n_blocks = 0;
    generation->blocks_capacity = 0;
}

static bool path_of(const char *dir, uint64_t pos, char out[static PATH_SIZE]) {
    int n = snprintf(out, PATH_SIZE, "%s/" PREFIX "%016llx", dir, (unsigned long long)pos);
    return n > 0 && (size_t)n < PATH_SIZE;
}

static void generation_free(struct dedupe *dedupe, struct generation *generation) {
    if (generation->is_stored) {
        dedupe->options.files->close(dedupe->options.files->ctx, generation->file);
    }
    free_blocks(generation);
    mr_free(generation);
}

void dedupe_drop_oldest(struct dedupe *dedupe) {
    struct generation *oldest = dedupe->generations[0];
    char path[PATH_SIZE];
    if (oldest->is_stored && path_of(dedupe->dir, oldest->first_pos, path)) {
        mr_ignore(dedupe->options.files->unlink(dedupe->options.files->ctx, path),
                  "what is too old in a file is retired again after a start");
    }
    os_mutex_lock(&dedupe->mu);
    dedupe->n_generations--;
    memmove(dedupe->generations, dedupe->generations + 1,
            dedupe->n_generations * sizeof(struct generation *));
    os_mutex_unlock(&dedupe->mu);
    generation_free(dedupe, oldest);
    dedupe_update_floor(dedupe);
}

bool dedupe_retire(struct dedupe *dedupe, struct generation *generation) {
    os_mutex_lock(&dedupe->mu);
    generation->is_retired = !generation->is_busy;
    os_mutex_unlock(&dedupe->mu);
    return generation->is_retired;
}

void dedupe_free_stored(struct dedupe *dedupe) {
    for (uint32_t g = 0; g < dedupe->n_generations; g++) {
        struct generation *generation = dedupe->generations[g];
        if (generation->blocks == NULL || generation->n == 0) {
            continue;
        }
        os_mutex_lock(&dedupe->mu);
        bool is_stored = generation->is_stored;
        os_mutex_unlock(&dedupe->mu);
        if (is_stored) {
            free_blocks(generation);
            dedupe_update_floor(dedupe);
        }
    }
}

/* --- writing ------------------------------------------------------------------------------------
 */

static mr_err write_entries(struct dedupe *dedupe, const struct generation *generation,
                            os_file file) {
    const struct os_files *files = dedupe->options.files;
    uint8_t head[DEDUPE_HEAD_BYTES] = MAGIC;
    uint32_t crc = 0;
    uint64_t offset = DEDUPE_HEAD_BYTES;
    for (uint32_t i = 0; i < generation->n; i += DEDUPE_BLOCK) {
        uint32_t n = generation->n - i < DEDUPE_BLOCK ? generation->n - i : DEDUPE_BLOCK;
        struct iovec iov = {.iov_base = generation->blocks[i / DEDUPE_BLOCK],
                            .iov_len = n * sizeof(struct dedupe_entry)};
        crc = crc32c(crc, iov.iov_base, iov.iov_len);
        MR_TRY(files->write(files->ctx, file, &iov, 1, offset));
        offset += iov.iov_len;
    }
    mr_put_u32(head + 8, FORMAT);
    mr_put_u32(head + 12, generation->n);
    memcpy(head + 16, dedupe->store_id, 16);
    mr_put_u64(head + 32, generation->first_pos);
    mr_put_u64(head + 40, generation->end_pos);
    mr_put_u64(head + 48, (uint64_t)generation->newest_ms);
    mr_put_u32(head + 56, crc);
    mr_put_u32(head + 60, crc32c(0, head, 60));
    struct iovec iov = {.iov_base = head, .iov_len = sizeof head};
    MR_TRY(files->write(files->ctx, file, &iov, 1, 0));
    return files->sync(files->ctx, file);
}

static mr_err store(struct dedupe *dedupe, const struct generation *generation, os_file *ret_file) {
    const struct os_files *files = dedupe->options.files;
    char path[PATH_SIZE];
    char temporary[PATH_SIZE];
    int n = snprintf(temporary, sizeof temporary, "%s/new", dedupe->dir);
    if (n < 0 || (size_t)n >= sizeof temporary ||
        !path_of(dedupe->dir, generation->first_pos, path)) {
        return MR_ERR(MR_E_IO);
    }
    mr_ignore(files->unlink(files->ctx, temporary), "left by a crash, or not there");
    os_file file;
    MR_TRY(files->open(files->ctx, temporary, OS_OPEN_WRITE | OS_OPEN_CREATE | OS_OPEN_EXCLUSIVE,
                       &file));
    mr_err err = write_entries(dedupe, generation, file);
    if (mr_is_ok(err)) {
        err = files->rename(files->ctx, temporary, path);
    }
    if (mr_is_ok(err)) {
        err = files->sync_dir(files->ctx, dedupe->dir);
    }
    if (mr_is_err(err)) {
        files->close(files->ctx, file);
        return err;
    }
    *ret_file = file;
    return MR_OK;
}

bool dedupe_store_step(struct dedupe *dedupe) {
    struct generation *next = NULL;
    bool is_more = false;
    os_mutex_lock(&dedupe->mu);
    for (uint32_t g = 0; g < dedupe->n_generations; g++) {
        struct generation *generation = dedupe->generations[g];
        if (generation->is_sealed && !generation->is_stored && !generation->is_retired) {
            is_more = next != NULL;
            next = next == NULL ? generation : next;
        }
    }
    if (next != NULL) {
        next->is_busy = true;
    }
    os_mutex_unlock(&dedupe->mu);
    if (next == NULL) {
        return false;
    }
    os_file file = OS_FILE_NONE;
    mr_err err = store(dedupe, next, &file);
    os_mutex_lock(&dedupe->mu);
    next->is_busy = false;
    if (mr_is_ok(err)) {
        next->file = file;
        next->is_stored = true;
    }
    os_mutex_unlock(&dedupe->mu);
    if (mr_is_err(err)) {
        mr_warn(dedupe->options.log, "ids_not_stored", mr_kv_i64("error", err.code));
        return false;
    }
    return is_more;
}

uint64_t dedupe_floor(const struct dedupe *dedupe) {
    return atomic_load(&dedupe->floor);
}

/* --- opening ------------------------------------------------------------------------------------
 */

struct found_files {
    uint64_t pos[FILES_MAX];
    size_t n;
};

static void on_name(void *arg, mr_str name) {
    struct found_files *found = arg;
    uint8_t bytes[8];
    if (name.len != NAME_LEN || !mr_str_starts(name, MR_STR(PREFIX)) || found->n == FILES_MAX ||
        mr_is_err(mr_hex_decode(mr_str_slice(name, sizeof PREFIX - 1, name.len), bytes, 8))) {
        return;
    }
    uint64_t pos = 0;
    for (size_t i = 0; i < 8; i++) {
        pos = pos << 8 | bytes[i];
    }
    found->pos[found->n++] = pos; /* names come in order */
}

/* LEDGER_E_CORRUPT, LEDGER_E_NEWER, LEDGER_E_FOREIGN. */
static mr_err check_file(const uint8_t *store_id, mr_str text, uint64_t first_pos) {
    const char *at = text.ptr;
    if (text.len < DEDUPE_HEAD_BYTES || memcmp(at, MAGIC, 8) != 0 ||
        mr_get_u32(at + 60) != crc32c(0, at, 60)) {
        return MR_ERR(LEDGER_E_CORRUPT);
    }
    if (mr_get_u32(at + 8) > FORMAT) {
        return MR_ERR(LEDGER_E_NEWER);
    }
    if (memcmp(at + 16, store_id, 16) != 0) {
        return MR_ERR(LEDGER_E_FOREIGN);
    }
    size_t n = mr_get_u32(at + 12);
    if (n == 0 || text.len != DEDUPE_HEAD_BYTES + n * sizeof(struct dedupe_entry) ||
        mr_get_u64(at + 32) != first_pos || mr_get_u64(at + 40) <= first_pos ||
        mr_get_u32(at + 56) != crc32c(0, at + DEDUPE_HEAD_BYTES, text.len - DEDUPE_HEAD_BYTES)) {
        return MR_ERR(LEDGER_E_CORRUPT);
    }
    return MR_OK;
}

/* Fills the open generation from a file's text and makes it a stored one. */
static mr_err adopt(struct dedupe *dedupe, mr_str text, os_file file) {
    struct generation *generation = dedupe->generations[dedupe->n_generations - 1];
    uint32_t n = mr_get_u32(text.ptr + 12);
    MR_TRY(dedupe_index_reserve(dedupe, n));
    generation->n = n;
    mr_err err = dedupe_begin_generation(dedupe);
    if (mr_is_err(err)) {
        generation->n = 0;
        return err;
    }
    generation->first_pos = mr_get_u64(text.ptr + 32);
    generation->end_pos = mr_get_u64(text.ptr + 40);
    generation->newest_ms = (int64_t)mr_get_u64(text.ptr + 48);
    generation->first_ms = generation->newest_ms;
    generation->is_stored = true;
    generation->file = file;
    for (uint32_t i = 0; i < n; i++) {
        const char *at = text.ptr + DEDUPE_HEAD_BYTES + (size_t)i * sizeof(struct dedupe_entry);
        struct siphash_128 tag = {.lo = mr_get_u64(at), .hi = mr_get_u64(at + 8)};
        dedupe_index_add(dedupe, tag, generation->first_number + i);
    }
    dedupe->n_ids += n;
    if (generation->end_pos > dedupe->stored_end) {
        dedupe->stored_end = generation->end_pos;
    }
    return MR_OK;
}

static mr_err load_file(struct dedupe *dedupe, uint64_t first_pos) {
    const struct os_files *files = dedupe->options.files;
    char path[PATH_SIZE];
    if (!path_of(dedupe->dir, first_pos, path)) {
        return MR_ERR(MR_E_IO);
    }
    os_file file;
    MR_TRY(files->open(files->ctx, path, OS_OPEN_READ, &file));
    mr_str text;
    mr_err err = os_file_load(files, path, SIZE_MAX / 2, &text);
    if (mr_is_ok(err)) {
        err = check_file(dedupe->store_id, text, first_pos);
        if (mr_is_ok(err)) {
            err = adopt(dedupe, text, file);
        }
        mr_free((void *)(uintptr_t)text.ptr);
    }
    if (mr_is_err(err)) {
        files->close(files->ctx, file);
    }
    if (mr_err_is(err, LEDGER_E_CORRUPT)) {
        mr_error(dedupe->options.log, "ids_damaged", mr_kv_c("file", path));
        mr_ignore(files->unlink(files->ctx, path), "it is found damaged again next time");
        if (first_pos < dedupe->replay_from) {
            dedupe->replay_from = first_pos;
        }
        return MR_OK;
    }
    return err;
}

static mr_err load_files(struct dedupe *dedupe) {
    const struct os_files *files = dedupe->options.files;
    mr_err err = files->mkdir(files->ctx, dedupe->dir);
    if (mr_is_err(err) && !mr_err_is(err, MR_E_EXISTS)) {
        return err;
    }
    struct found_files *found MR_AUTO_FREE = mr_calloc(1, sizeof *found);
    if (found == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    MR_TRY(files->list(files->ctx, dedupe->dir, on_name, found));
    dedupe->replay_from = UINT64_MAX;
    for (size_t i = 0; i < found->n; i++) {
        MR_TRY(load_file(dedupe, found->pos[i]));
    }
    /* A place where reading can begin: the last record that the files hold. */
    uint64_t last = dedupe->stored_end == 0 ? 0 : dedupe->stored_end - 1;
    if (dedupe->replay_from > last) {
        dedupe->replay_from = last;
    }
    return MR_OK;
}

mr_err dedupe_verify(const struct os_files *files, const char *dir, const uint8_t *store_id,
                     void (*on_damage)(void *ctx, const char *file), void *ctx) {
    struct found_files *found MR_AUTO_FREE = mr_calloc(1, sizeof *found);
    if (found == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    MR_TRY(files->list(files->ctx, dir, on_name, found));
    for (size_t i = 0; i < found->n; i++) {
        char path[PATH_SIZE];
        mr_str text;
        if (!path_of(dir, found->pos[i], path)) {
            return MR_ERR(MR_E_IO);
        }
        MR_TRY(os_file_load(files, path, SIZE_MAX / 2, &text));
        mr_err err = check_file(store_id, text, found->pos[i]);
        mr_free((void *)(uintptr_t)text.ptr);
        if (mr_err_is(err, LEDGER_E_CORRUPT)) {
            on_damage(ctx, strrchr(path, '/') + 1);
        } else {
            MR_TRY(err);
        }
    }
    return MR_OK;
}

mr_err dedupe_open(const struct dedupe_options *options, mr_wall now, struct dedupe **ret_dedupe) {
    struct dedupe *dedupe = MR_NEW(struct dedupe);
    if (dedupe == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    os_mutex_init(&dedupe->mu);
    dedupe->options = *options;
    if (options->window_ids == 0) {
        dedupe->options.window_ids = DEDUPE_WINDOW_IDS;
    }
    if (options->window_ms == 0) {
        dedupe->options.window_ms = DEDUPE_WINDOW_MS;
    }
    dedupe->generation_ids =
        (dedupe->options.window_ids + DEDUPE_GENERATIONS - 1) / DEDUPE_GENERATIONS;
    dedupe->now_ms = mr_wall_ms(now);
    memcpy(dedupe->store_id, options->store_id, sizeof dedupe->store_id);
    dedupe->dir = mr_strdup_n(options->dir, strlen(options->dir));
    mr_err err = dedupe->dir == NULL ? MR_ERR(MR_E_NOMEM) : dedupe_begin_generation(dedupe);
    if (mr_is_ok(err)) {
        err = load_files(dedupe);
    }
    if (mr_is_err(err)) {
        dedupe_close(dedupe);
        return err;
    }
    dedupe_update_floor(dedupe);
    *ret_dedupe = dedupe;
    return MR_OK;
}

void dedupe_close(struct dedupe *dedupe) {
    if (dedupe == NULL) {
        return;
    }
    for (uint32_t g = 0; g < dedupe->n_generations; g++) {
        generation_free(dedupe, dedupe->generations[g]);
    }
    mr_free(dedupe->generations);
    mr_free(dedupe->table.slots);
    mr_free(dedupe->old.slots);
    mr_free(dedupe->scratch);
    mr_free(dedupe->dir);
    os_mutex_done(&dedupe->mu);
    mr_free(dedupe);
}

uint64_t dedupe_replay_from(const struct dedupe *dedupe) {
    return dedupe->replay_from;
}
