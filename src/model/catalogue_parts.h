/* Private to model/: how a catalogue lies in memory; catalogue.c reads it, catalogue_build.c makes
 * it. */
#ifndef MR_MODEL_CATALOGUE_PARTS_H
#define MR_MODEL_CATALOGUE_PARTS_H

#include "model/catalogue.h"

#include <stdatomic.h>

#define CATALOGUE_SEED UINT64_C(0x6d696c6c72616365)

/* One version of a schema, shared by catalogues. */
struct catalogue_version {
    struct catalogue_schema shown; /* first member */
    _Atomic uint32_t refs;
    mr_arena arena;      /* of its texts */
    const mr_str *bases; /* for references in the document */
    size_t n_bases;
    struct schema *compiled; /* owned */
    /* version - 1 of them, owned: [n] leads to version n + 1; NULL where nothing is left out. */
    struct schema_projection **projections;
};

/* A schema: its versions lie one after the other. */
struct catalogue_line {
    mr_str name; /* of its first version */
    uint32_t first;
    uint32_t len;
    uint32_t n_types; /* that name it */
};

/* Names by hash: a quarter of the places at most is taken, the next free one is probed. */
struct catalogue_place {
    uint32_t hash;
    uint32_t item; /* index + 1; 0: free */
};
struct catalogue_table {
    struct catalogue_place *places; /* owned; NULL: empty */
    uint32_t n_places;              /* a power of two, or 0 */
    uint32_t n_items;
};

struct catalogue {
    _Atomic uint32_t refs;
    mr_arena arena; /* texts of types */
    struct catalogue_type *types;
    struct catalogue_version **versions; /* a reference each */
    struct catalogue_line *lines;
    size_t n_types;
    size_t n_versions;
    size_t n_lines;
    struct catalogue_table types_by_name;
    struct catalogue_table lines_by_name;
};

/* NULL where there is none. */
struct catalogue_line *catalogue_line_find(const struct catalogue *catalogue, mr_str name);
/* The last reference frees it. */
void catalogue_version_unref(struct catalogue_version *version);

#endif
