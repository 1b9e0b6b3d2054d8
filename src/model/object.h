/* What the snapshot is made of: immutable objects, each with a reference count, a number that is
 * never used again, and an id. Shared by the snapshots that hold them; freed with the last one. */
#ifndef MR_MODEL_OBJECT_H
#define MR_MODEL_OBJECT_H

#include "base/str.h"

#include <stdatomic.h>

struct model_memory;

#define MODEL_ID_SIZE 48

enum model_kind {
    MODEL_ACCOUNT = 0,
    MODEL_CLIENT,
    MODEL_DESTINATION,
    MODEL_RULE,
    MODEL_USER,
    MODEL_SESSION,
    MODEL_CATALOGUE, /* in changes only, number 0: it is one whole */
    MODEL_KEYS,      /* likewise: the ring of token keys */
    MODEL_KIND_COUNT,
};

/* First member of every object. Its texts lie in memory of its own and live as long. */
struct model_object {
    _Atomic uint32_t refs;
    enum model_kind kind;
    uint32_t number;             /* from 1; per kind; never used again */
    char id[MODEL_ID_SIZE];      /* "dst_…", NUL-terminated */
    struct model_memory *memory; /* of everything it points to but secrets */
};

/* While an object is being made: memory that lives as long as it does, zeroed; NULL without memory.
 * Small exact pieces: ten thousand destinations must not cost a page each. */
void *model_alloc(struct model_object *object, size_t size);
/* A copy of text with a NUL; absent stays absent. False without memory. */
bool model_text(struct model_object *object, mr_str text, mr_str *ret_copy);

/* Another reference; any thread. */
void model_object_ref(struct model_object *object);
/* Lets go; the last frees it and its secrets. NULL is fine. Any thread. */
void model_object_unref(struct model_object *object);

#endif
