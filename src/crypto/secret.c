/* The slab of secrets.
 *
 * Pages come in chunks of 64 KiB, each locked (mlock) and left out of core dumps by
 * sodium_mlock. A chunk serves one size class (powers of two from 64 bytes), its free cells linked
 * through themselves; a value too large for a chunk's classes gets a chunk of its own, which is
 * given back when the value goes. Cells are handed out under a mutex: secrets are made and dropped
 * at configuration changes, not on an event's path; reading one takes no lock.
 *
 * Why not sodium_malloc: it spends four pages and two mprotect calls on each value; with ten
 * thousand destinations that is 160 MiB of address space and as many mappings.
 *
 * Locking is best effort: RLIMIT_MEMLOCK is often 8 MiB or less. A chunk that could not be locked
 * is used all the same, is still left out of dumps, and secret_slab_is_locked turns false.
 *
 * Invariant: a cell on a free list holds zeroes but for its link. */
#include "crypto/secret.h"

#include "base/mem.h"
#include "os/thread.h"

#include <openssl/crypto.h>
#include <sodium.h>
#include <stdatomic.h>

#define CHUNK_BYTES 65536u
#define PAGE_BYTES  4096u
#define CLASS_MIN   6u  /* 64 bytes */
#define CLASS_MAX   14u /* 16 KiB: four to a chunk */
#define CLASS_COUNT (CLASS_MAX - CLASS_MIN + 1u)
#define CLASS_LARGE UINT32_MAX

/* A cell in use; free cells are struct free_cell. */
struct secret_box {
    struct secret_slab *slab;
    _Atomic uint32_t refs;
    uint32_t len;
    uint32_t class; /* index of its free list, or CLASS_LARGE */
    uint32_t bytes; /* of the cell, header included */
    char value[];   /* len bytes and a NUL */
};

struct free_cell {
    struct free_cell *next;
};

struct chunk {
    struct chunk *next;
    void *at;
    size_t bytes;
};

struct secret_slab {
    os_mutex mu;
    size_t size_max;
    atomic_bool is_locked;
    /* guarded by mu */
    size_t size;
    size_t n_boxes;
    struct chunk *chunks;
    struct free_cell *free[CLASS_COUNT];
};

mr_err secret_slab_new(size_t size_max, struct secret_slab **ret_slab) {
    if (sodium_init() < 0) {
        return MR_ERR(MR_E_FAILED);
    }
    struct secret_slab *slab = MR_NEW(struct secret_slab);
    if (slab == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    os_mutex_init(&slab->mu);
    slab->size_max = size_max;
    atomic_init(&slab->is_locked, true);
    *ret_slab = slab;
    return MR_OK;
}

void secret_slab_free(struct secret_slab *slab) {
    if (slab == NULL) {
        return;
    }
    MR_ASSERT(slab->n_boxes == 0);
    struct chunk *chunk = slab->chunks;
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        sodium_munlock(chunk->at, chunk->bytes); /* wipes too */
        mr_free(chunk->at);
        mr_free(chunk);
        chunk = next;
    }
    os_mutex_done(&slab->mu);
    mr_free(slab);
}

bool secret_slab_is_locked(const struct secret_slab *slab) {
    return atomic_load_explicit(&slab->is_locked, memory_order_relaxed);
}

/* Locked, zeroed memory of whole pages. NULL past the bound or without memory. */
static void *chunk_add(struct secret_slab *slab, size_t bytes) {
    if (bytes > slab->size_max || slab->size > slab->size_max - bytes) {
        return NULL;
    }
    struct chunk *chunk = MR_NEW(struct chunk);
    void *at = mr_alloc_aligned(PAGE_BYTES, bytes);
    if (chunk == NULL || at == NULL) {
        mr_free(chunk);
        mr_free(at);
        return NULL;
    }
    memset(at, 0, bytes);
    if (sodium_mlock(at, bytes) != 0) {
        atomic_store_explicit(&slab->is_locked, false, memory_order_relaxed);
    }
    *chunk = (struct chunk){.next = slab->chunks, .at = at, .bytes = bytes};
    slab->chunks = chunk;
    slab->size += bytes;
    return at;
}

static void chunk_drop(struct secret_slab *slab, void *at) {
    for (struct chunk **link = &slab->chunks; *link != NULL; link = &(*link)->next) {
        struct chunk *chunk = *link;
        if (chunk->at == at) {
            *link = chunk->next;
            slab->size -= chunk->bytes;
            sodium_munlock(at, chunk->bytes);
            mr_free(at);
            mr_free(chunk);
            return;
        }
    }
    MR_ASSERT(false && "a chunk of this slab");
}

/* A zeroed cell of the class. NULL as chunk_add. */
static void *cell_take(struct secret_slab *slab, uint32_t class) {
    if (slab->free[class] == NULL) {
        size_t bytes = (size_t)1 << (class + CLASS_MIN);
        char *at = chunk_add(slab, CHUNK_BYTES);
        if (at == NULL) {
            return NULL;
        }
        for (size_t offset = CHUNK_BYTES; offset > 0; offset -= bytes) {
            struct free_cell *cell = (struct free_cell *)(void *)(at + offset - bytes);
            cell->next = slab->free[class];
            slab->free[class] = cell;
        }
    }
    struct free_cell *cell = slab->free[class];
    slab->free[class] = cell->next;
    cell->next = NULL;
    return cell;
}

static uint32_t class_for(size_t bytes) {
    for (uint32_t class = 0; class < CLASS_COUNT; class ++) {
        if (bytes <= (size_t)1 << (class + CLASS_MIN)) {
            return class;
        }
    }
    return CLASS_LARGE;
}

mr_err mr_secret_new(struct secret_slab *slab, mr_str value, mr_secret *ret_secret) {
    if (value.len > SECRET_BYTES_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    size_t bytes = sizeof(struct secret_box) + value.len + 1;
    uint32_t class = class_for(bytes);
    os_mutex_lock(&slab->mu);
    struct secret_box *box = NULL;
    if (class == CLASS_LARGE) {
        bytes = (bytes + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
        box = chunk_add(slab, bytes);
    } else {
        bytes = (size_t)1 << (class + CLASS_MIN);
        box = cell_take(slab, class);
    }
    if (box != NULL) {
        slab->n_boxes++;
    }
    os_mutex_unlock(&slab->mu);
    if (box == NULL) {
        return MR_ERR(MR_E_LIMIT);
    }
    box->slab = slab;
    atomic_init(&box->refs, 1);
    box->len = (uint32_t)value.len;
    box->class = class;
    box->bytes = (uint32_t)bytes;
    if (value.len > 0) {
        memcpy(box->value, value.ptr, value.len);
    }
    ret_secret->box = box;
    return MR_OK;
}

mr_secret mr_secret_ref(mr_secret secret) {
    if (secret.box != NULL) {
        uint32_t old = atomic_fetch_add_explicit(&secret.box->refs, 1, memory_order_relaxed);
        MR_ASSERT(old > 0);
    }
    return secret;
}

void mr_secret_unref(mr_secret *secret) {
    struct secret_box *box = secret->box;
    secret->box = NULL;
    if (box == NULL || atomic_fetch_sub_explicit(&box->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    struct secret_slab *slab = box->slab;
    uint32_t class = box->class;
    crypto_wipe(box, box->bytes);
    os_mutex_lock(&slab->mu);
    MR_ASSERT(slab->n_boxes > 0);
    slab->n_boxes--;
    if (class == CLASS_LARGE) {
        chunk_drop(slab, box);
    } else {
        struct free_cell *cell = (struct free_cell *)(void *)box;
        cell->next = slab->free[class];
        slab->free[class] = cell;
    }
    os_mutex_unlock(&slab->mu);
}

mr_str mr_secret_reveal(mr_secret secret) {
    return secret.box == NULL ? MR_STR_NONE : mr_str_of(secret.box->value, secret.box->len);
}

bool mr_secret_eq(mr_secret secret, mr_str other) {
    mr_str value = mr_secret_reveal(secret);
    return !mr_str_is_absent(value) && value.len == other.len &&
           crypto_equal(value.ptr, other.ptr, value.len);
}

mr_str mr_secret_text(mr_secret secret) {
    return secret.box == NULL ? MR_STR("none") : MR_STR("[redacted]");
}

bool crypto_equal(const void *a, const void *b, size_t n) {
    return n == 0 || sodium_memcmp(a, b, n) == 0;
}

void crypto_wipe(void *at, size_t n) {
    if (n > 0) {
        sodium_memzero(at, n);
    }
}

static void *clean_alloc(size_t size, const char *file, int line) {
    (void)file;
    (void)line;
    return mr_wiping_alloc(size);
}

static void *clean_realloc(void *ptr, size_t size, const char *file, int line) {
    (void)file;
    (void)line;
    return mr_wiping_realloc(ptr, size);
}

static void clean_free(void *ptr, const char *file, int line) {
    (void)file;
    (void)line;
    mr_wiping_free_small(ptr);
}

void crypto_clean_openssl(void) {
    int is_set = CRYPTO_set_mem_functions(clean_alloc, clean_realloc, clean_free);
    MR_ASSERT(is_set == 1);
}
