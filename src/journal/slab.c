/* Slabs and their pool. See slab.h.
 *
 * A slab goes back to its pool from whatever thread dropped the last reference, so the way back is
 * a lock-free stack that only the pool's owner takes from, and takes whole: pushing needs one
 * exchange loop, taking all needs one exchange, and the ABA question does not arise. The owner then
 * keeps private lists. Slabs come in a few sizes, so that a small group, of which very many are
 * kept for those who render a little later, does not hold the memory of a large one. Of each size
 * as many are kept for re-use as make one of the largest; the rest, and what is larger (a unit
 * larger than a group), is freed. No memory is allocated per group once the pool is warm. */
#include "journal/slab.h"

#include "base/mem.h"

#define RECORDS_AT_FIRST 64U
#define SIZES            3 /* a sixteenth, a quarter, the whole of slab_bytes */

struct slab_pool {
    size_t slab_bytes;
    size_t bytes_max;
    _Atomic(struct slab *) returned; /* any thread pushes, the owner takes all */
    /* owner only */
    struct slab *ready[SIZES];
    size_t n_ready[SIZES];
    size_t bytes_out; /* of slabs that are not in `ready` */
};

void slab_ref(struct slab *slab) {
    uint32_t before = atomic_fetch_add_explicit(&slab->refs, 1, memory_order_relaxed);
    MR_ASSERT(before > 0);
}

void slab_unref(struct slab *slab) {
    if (slab == NULL) {
        return;
    }
    uint32_t before = atomic_fetch_sub_explicit(&slab->refs, 1, memory_order_acq_rel);
    MR_ASSERT(before > 0);
    if (before != 1) {
        return;
    }
    struct slab *head = atomic_load_explicit(&slab->pool->returned, memory_order_relaxed);
    do {
        slab->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&slab->pool->returned, &head, slab,
                                                    memory_order_release, memory_order_relaxed));
}

const struct slab_entry *slab_record_at(const struct slab *slab, uint64_t pos) {
    uint32_t low = 0;
    uint32_t high = slab->n_records;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (slab->records[middle].pos < pos) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool found = low < slab->n_records && slab->records[low].pos == pos;
    return found ? &slab->records[low] : NULL;
}

mr_err slab_pool_new(size_t slab_bytes, size_t bytes_max, struct slab_pool **ret_pool) {
    struct slab_pool *pool = MR_NEW(struct slab_pool);
    if (pool == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    pool->slab_bytes = slab_bytes;
    pool->bytes_max = bytes_max;
    *ret_pool = pool;
    return MR_OK;
}

static void slab_free(struct slab *slab) {
    mr_free(slab->memory);
    mr_free(slab->index);
    mr_free(slab);
}

static size_t size_bytes(const struct slab_pool *pool, size_t size) {
    return pool->slab_bytes >> (2 * (SIZES - 1 - size));
}

/* The smallest size that holds so many bytes; SIZES where none does. */
static size_t size_of(const struct slab_pool *pool, size_t bytes) {
    size_t size = 0;
    while (size < SIZES && size_bytes(pool, size) < bytes) {
        size++;
    }
    return size;
}

/* Takes back what others returned. */
static void pool_collect(struct slab_pool *pool) {
    struct slab *slab = atomic_exchange_explicit(&pool->returned, NULL, memory_order_acquire);
    while (slab != NULL) {
        struct slab *next = slab->next;
        MR_ASSERT(pool->bytes_out >= slab->capacity);
        pool->bytes_out -= slab->capacity;
        size_t size = size_of(pool, slab->capacity);
        if (size < SIZES &&
            (pool->n_ready[size] + 1) * size_bytes(pool, size) <= pool->slab_bytes) {
            slab->next = pool->ready[size];
            pool->ready[size] = slab;
            pool->n_ready[size]++;
        } else {
            slab_free(slab);
        }
        slab = next;
    }
}

void slab_pool_free(struct slab_pool *pool) {
    if (pool == NULL) {
        return;
    }
    pool_collect(pool);
    MR_ASSERT(pool->bytes_out == 0);
    for (size_t size = 0; size < SIZES; size++) {
        while (pool->ready[size] != NULL) {
            struct slab *slab = pool->ready[size];
            pool->ready[size] = slab->next;
            slab_free(slab);
        }
    }
    mr_free(pool);
}

static struct slab *slab_make(struct slab_pool *pool, size_t capacity) {
    struct slab *slab = MR_NEW(struct slab);
    if (slab == NULL) {
        return NULL;
    }
    slab->pool = pool;
    slab->capacity = capacity;
    slab->memory = mr_alloc(capacity);
    slab->index_capacity = RECORDS_AT_FIRST;
    slab->index = mr_calloc(RECORDS_AT_FIRST, sizeof *slab->index);
    if (slab->memory == NULL || slab->index == NULL) {
        slab_free(slab);
        return NULL;
    }
    return slab;
}

mr_err slab_pool_take(struct slab_pool *pool, size_t bytes, struct slab **ret_slab) {
    pool_collect(pool);
    size_t size = size_of(pool, bytes);
    size_t capacity = size < SIZES ? size_bytes(pool, size) : bytes;
    if (pool->bytes_out > 0 && pool->bytes_out + capacity > pool->bytes_max) {
        return MR_ERR(MR_E_AGAIN);
    }
    struct slab *slab = size < SIZES ? pool->ready[size] : NULL;
    if (slab != NULL) {
        pool->ready[size] = slab->next;
        pool->n_ready[size]--;
    } else {
        slab = slab_make(pool, capacity);
        if (slab == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
    }
    pool->bytes_out += capacity;
    slab->next = NULL;
    slab->bytes = slab->memory;
    slab->n_bytes = 0;
    slab->records = slab->index;
    slab->n_records = 0;
    slab->mask = 0;
    atomic_store_explicit(&slab->refs, 1, memory_order_relaxed);
    *ret_slab = slab;
    return MR_OK;
}

size_t slab_pool_out(const struct slab_pool *pool) {
    return pool->bytes_out;
}

size_t slab_pool_kept(const struct slab_pool *pool) {
    size_t bytes = 0;
    for (size_t size = 0; size < SIZES; size++) {
        bytes += pool->n_ready[size] * size_bytes(pool, size);
    }
    return bytes;
}

mr_err slab_reserve_records(struct slab *slab, uint32_t n) {
    if (n <= slab->index_capacity) {
        return MR_OK;
    }
    uint32_t capacity = slab->index_capacity;
    while (capacity < n) {
        capacity = capacity > UINT32_MAX / 2 ? UINT32_MAX : capacity * 2;
    }
    struct slab_entry *grown = mr_realloc(slab->index, (size_t)capacity * sizeof *grown);
    if (grown == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    slab->index = grown;
    slab->index_capacity = capacity;
    slab->records = grown;
    return MR_OK;
}
