/* Reading the catalogue.
 *
 * Every event accepted asks for its type and its schema version: types and schemas are found by a
 * hash of the name, a version by its number, since versions of a schema lie one after the other
 * without gaps. Nothing here changes anything but reference counts. */
#include "model/catalogue.h"

#include "base/mem.h"
#include "base/num.h"
#include "model/catalogue_parts.h"
#include "schema/schema.h"

/* ---- tables ---- */

static uint32_t hash_of(mr_str name) {
    return (uint32_t)mr_str_hash(name, CATALOGUE_SEED);
}

/* The first place at or behind the name's own that is free or of its hash, from place `at` on. */
static const struct catalogue_place *probe(const struct catalogue_table *table, uint32_t hash,
                                           uint32_t *at) {
    const struct catalogue_place *place = &table->places[*at & (table->n_places - 1)];
    while (place->item != 0 && place->hash != hash) {
        *at += 1;
        place = &table->places[*at & (table->n_places - 1)];
    }
    return place;
}

struct catalogue_line *catalogue_line_find(const struct catalogue *catalogue, mr_str name) {
    if (catalogue == NULL || catalogue->lines_by_name.n_places == 0) {
        return NULL;
    }
    uint32_t hash = hash_of(name);
    uint32_t at = hash;
    for (;; at++) {
        const struct catalogue_place *place = probe(&catalogue->lines_by_name, hash, &at);
        if (place->item == 0) {
            return NULL;
        }
        struct catalogue_line *line = &catalogue->lines[place->item - 1];
        if (mr_str_eq(line->name, name)) {
            return line;
        }
    }
}

const struct catalogue_type *catalogue_type_find(const struct catalogue *catalogue, mr_str name) {
    if (catalogue == NULL || catalogue->types_by_name.n_places == 0) {
        return NULL;
    }
    uint32_t hash = hash_of(name);
    uint32_t at = hash;
    for (;; at++) {
        const struct catalogue_place *place = probe(&catalogue->types_by_name, hash, &at);
        if (place->item == 0) {
            return NULL;
        }
        const struct catalogue_type *type = &catalogue->types[place->item - 1];
        if (mr_str_eq(type->name, name)) {
            return type;
        }
    }
}

/* ---- life ---- */

struct catalogue *catalogue_ref(struct catalogue *catalogue) {
    uint32_t old = atomic_fetch_add_explicit(&catalogue->refs, 1, memory_order_relaxed);
    MR_ASSERT(old > 0);
    return catalogue;
}

void catalogue_version_unref(struct catalogue_version *version) {
    if (atomic_fetch_sub_explicit(&version->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (uint32_t i = 0; version->projections != NULL && i + 1 < version->shown.version; i++) {
        schema_projection_free(version->projections[i]);
    }
    mr_free(version->projections);
    schema_free(version->compiled);
    mr_arena_done(&version->arena);
    mr_free(version);
}

void catalogue_unref(struct catalogue *catalogue) {
    if (catalogue == NULL ||
        atomic_fetch_sub_explicit(&catalogue->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (size_t i = 0; i < catalogue->n_versions; i++) {
        catalogue_version_unref(catalogue->versions[i]);
    }
    mr_free(catalogue->versions);
    mr_free(catalogue->lines);
    mr_free(catalogue->types);
    mr_free(catalogue->types_by_name.places);
    mr_free(catalogue->lines_by_name.places);
    mr_arena_done(&catalogue->arena);
    mr_free(catalogue);
}

/* ---- look-ups ---- */

static const struct catalogue_version *version_find(const struct catalogue *catalogue, mr_str name,
                                                    uint32_t version) {
    const struct catalogue_line *line = catalogue_line_find(catalogue, name);
    return line == NULL || version == 0 || version > line->len
               ? NULL
               : catalogue->versions[line->first + version - 1];
}

const struct catalogue_schema *catalogue_schema_find(const struct catalogue *catalogue, mr_str name,
                                                     uint32_t version) {
    const struct catalogue_version *found = version_find(catalogue, name, version);
    return found == NULL ? NULL : &found->shown;
}

uint32_t catalogue_latest(const struct catalogue *catalogue, mr_str schema) {
    const struct catalogue_line *line = catalogue_line_find(catalogue, schema);
    return line == NULL ? 0 : line->len;
}

const struct schema_projection *catalogue_projection(const struct catalogue *catalogue,
                                                     mr_str schema, uint32_t from, uint32_t to) {
    const struct catalogue_version *version = version_find(catalogue, schema, from);
    return version == NULL || version->projections == NULL || to == 0 || to >= from
               ? NULL
               : version->projections[to - 1];
}

const struct catalogue_type *catalogue_type_at(const struct catalogue *catalogue, size_t index) {
    return index < catalogue_count_types(catalogue) ? &catalogue->types[index] : NULL;
}

const struct catalogue_schema *catalogue_schema_at(const struct catalogue *catalogue,
                                                   size_t index) {
    return catalogue != NULL && index < catalogue->n_versions ? &catalogue->versions[index]->shown
                                                              : NULL;
}

const struct catalogue_schema *catalogue_latest_at(const struct catalogue *catalogue,
                                                   size_t index) {
    if (index >= catalogue_count_schemas(catalogue)) {
        return NULL;
    }
    const struct catalogue_line *line = &catalogue->lines[index];
    return &catalogue->versions[line->first + line->len - 1]->shown;
}

size_t catalogue_count_types(const struct catalogue *catalogue) {
    return catalogue == NULL ? 0 : catalogue->n_types;
}

size_t catalogue_count_schemas(const struct catalogue *catalogue) {
    return catalogue == NULL ? 0 : catalogue->n_lines;
}

bool catalogue_has_product_group(const struct catalogue *catalogue, mr_str name) {
    for (size_t i = 0; i < catalogue_count_types(catalogue); i++) {
        mr_str group = catalogue->types[i].product_group;
        if (!mr_str_is_absent(group) && mr_str_eq(group, name)) {
            return true;
        }
    }
    return false;
}

mr_str catalogue_document_by_path(const struct catalogue *catalogue, mr_str path) {
    mr_str head = MR_STR("/schemas/");
    uint64_t number = 0;
    size_t slash = mr_str_find_byte(path, '/', head.len);
    if (!mr_str_starts(path, head) || slash == SIZE_MAX) {
        return MR_STR_NONE;
    }
    mr_str version = mr_str_slice(path, slash + 1, path.len);
    if (mr_str_starts(version, MR_STR("0")) ||
        mr_is_err(mr_u64_parse(version, 1, UINT32_MAX, &number))) {
        return MR_STR_NONE;
    }
    const struct catalogue_schema *schema =
        catalogue_schema_find(catalogue, mr_str_slice(path, head.len, slash), (uint32_t)number);
    return schema == NULL ? MR_STR_NONE : schema->document;
}

/* ---- what event/ asks ---- */

static bool find_type(const void *ctx, mr_str name, mr_str *ret_schema, uint32_t *ret_latest) {
    const struct catalogue_type *type = catalogue_type_find(ctx, name);
    if (type == NULL) {
        return false;
    }
    *ret_schema = type->schema;
    *ret_latest = type->latest;
    return true;
}

static enum event_schema_use schema_use(const void *ctx, mr_str schema, uint32_t version,
                                        mr_str name) {
    const struct catalogue *catalogue = ctx;
    const struct catalogue_line *line = catalogue_line_find(catalogue, schema);
    if (line == NULL || version == 0 || version > line->len) {
        return EVENT_SCHEMA_UNKNOWN;
    }
    const struct catalogue_type *own = catalogue_type_find(catalogue, name);
    if (own != NULL && mr_str_eq(own->schema, schema)) {
        return EVENT_SCHEMA_OF_TYPE;
    }
    return line->n_types > 0 ? EVENT_SCHEMA_OF_OTHER : EVENT_SCHEMA_FREE;
}

struct event_catalogue catalogue_for_events(const struct catalogue *catalogue) {
    return (struct event_catalogue){
        .ctx = catalogue,
        .type_find = find_type,
        .schema_use = schema_use,
    };
}
