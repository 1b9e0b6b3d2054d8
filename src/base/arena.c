/* Memory of one request. See arena.h. Blocks double from 4 KiB to 256 KiB; a piece larger than the
 * next block gets a block of its own. */
#include "base/arena.h"

#include "base/mem.h"

#define ALIGN          16u
#define BLOCK_SIZE_MIN ((size_t)4096)
#define BLOCK_SIZE_MAX ((size_t)262144)

struct mr_arena_block {
    struct mr_arena_block *next;
    size_t size;
    size_t used;
    size_t pad_; /* keeps the data at 16 bytes */
    char data[];
};

void mr_arena_init(mr_arena *arena, size_t max) {
    *arena = (mr_arena){.max = max};
}

void mr_arena_init_private(mr_arena *arena, size_t max) {
    *arena = (mr_arena){.max = max, .is_private = true};
}

static void wipe(const mr_arena *arena, struct mr_arena_block *block) {
    if (arena->is_private) {
        mr_wipe(block->data, block->used);
    }
}

static void free_blocks(const mr_arena *arena, struct mr_arena_block *block) {
    while (block != NULL) {
        struct mr_arena_block *next = block->next;
        wipe(arena, block);
        mr_free(block);
        block = next;
    }
}

void mr_arena_done(mr_arena *arena) {
    free_blocks(arena, arena->head);
    *arena = (mr_arena){.max = arena->max, .is_private = arena->is_private};
}

void mr_arena_reset(mr_arena *arena) {
    if (arena->head != NULL) {
        free_blocks(arena, arena->head->next);
        wipe(arena, arena->head);
        arena->head->next = NULL;
        arena->head->used = 0;
        arena->used = 0;
    }
}

static struct mr_arena_block *add_block(mr_arena *arena, size_t size) {
    size_t block_size = arena->head == NULL ? BLOCK_SIZE_MIN : arena->head->size * 2;
    if (block_size > BLOCK_SIZE_MAX) {
        block_size = BLOCK_SIZE_MAX;
    }
    if (block_size < size) {
        block_size = size;
    }
    struct mr_arena_block *block = mr_alloc(sizeof *block + block_size);
    if (block == NULL) {
        return NULL;
    }
    *block = (struct mr_arena_block){.next = arena->head, .size = block_size};
    arena->head = block;
    return block;
}

void *mr_arena_alloc(mr_arena *arena, size_t size) {
    if (size > arena->max) {
        return NULL;
    }
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (size == 0) {
        size = ALIGN;
    }
    struct mr_arena_block *block = arena->head;
    if (block == NULL || size > block->size - block->used) {
        size_t lost = block == NULL ? 0 : block->size - block->used;
        if (size + lost > arena->max - arena->used) {
            return NULL;
        }
        block = add_block(arena, size);
        if (block == NULL) {
            return NULL;
        }
        arena->used += lost;
    } else if (size > arena->max - arena->used) {
        return NULL;
    }
    void *piece = block->data + block->used;
    block->used += size;
    arena->used += size;
    return piece;
}

void *mr_arena_calloc(mr_arena *arena, size_t n, size_t size) {
    size_t total;
    if (__builtin_mul_overflow(n, size, &total)) {
        return NULL;
    }
    void *piece = mr_arena_alloc(arena, total);
    if (piece != NULL) {
        memset(piece, 0, total);
    }
    return piece;
}

mr_str mr_arena_str(mr_arena *arena, mr_str s) {
    char *copy = mr_arena_alloc(arena, s.len + 1);
    if (copy == NULL) {
        return MR_STR_NONE;
    }
    if (s.len > 0) {
        memcpy(copy, s.ptr, s.len);
    }
    copy[s.len] = '\0';
    return (mr_str){copy, s.len};
}
