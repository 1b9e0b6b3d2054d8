/* Memory of one request or attempt: allocated piece by piece, freed at once, capped.
 * Pieces are aligned to 16 bytes. Not thread-safe. */
#ifndef MR_BASE_ARENA_H
#define MR_BASE_ARENA_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

struct mr_arena_block;

typedef struct mr_arena {
    struct mr_arena_block *head; /* newest block first */
    size_t used;                 /* bytes handed out and lost to block ends */
    size_t max;
    bool is_private;
} mr_arena;

void mr_arena_init(mr_arena *arena, size_t max);
/* For what may hold a secret: pieces are overwritten when they are given back. */
void mr_arena_init_private(mr_arena *arena, size_t max);
/* Frees all. */
void mr_arena_done(mr_arena *arena);
/* Makes it empty, keeps one block for re-use. */
void mr_arena_reset(mr_arena *arena);
/* NULL past the maximum or without memory. Uninitialised. */
void *mr_arena_alloc(mr_arena *arena, size_t size);
/* Zeroed array; NULL on overflow too. */
void *mr_arena_calloc(mr_arena *arena, size_t n, size_t size);
/* A copy with a NUL behind it; absent without memory. */
mr_str mr_arena_str(mr_arena *arena, mr_str s);

#endif
