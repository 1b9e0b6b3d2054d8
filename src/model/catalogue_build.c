/* Making a catalogue.
 *
 * Schema versions never change, so a new catalogue shares those that the one before has too:
 * publishing one version compiles one document, and computes one projection to each of its older
 * versions, however many schemas there are. Types are few words each and are copied anew.
 *
 * A name that is shipped wins over the operator's of the same name (a later version of the program
 * may ship what an operator named first; a changed event_type_prefix may meet one): the second one
 * added is told by MR_E_EXISTS, and the builder stays as it was. */
#include "model/catalogue.h"

#include "base/mem.h"
#include "event/shipped.h"
#include "model/catalogue_parts.h"
#include "schema/schema.h"

#include <stdio.h>

#define TYPES_TEXT_MAX ((size_t)128 << 20)
#define TEXT_MAX       ((size_t)1 << 20)
#define PLACES_MIN     64u

struct catalogue_builder {
    struct catalogue *next; /* not seen by anyone yet */
    struct catalogue *base; /* a reference, or NULL */
    size_t types_cap;
    size_t versions_cap;
    size_t lines_cap;
};

mr_err catalogue_build(struct catalogue *base, struct catalogue_builder **ret_builder) {
    struct catalogue_builder *builder = MR_NEW(struct catalogue_builder);
    struct catalogue *next = MR_NEW(struct catalogue);
    if (builder == NULL || next == NULL) {
        mr_free(builder);
        mr_free(next);
        return MR_ERR(MR_E_NOMEM);
    }
    atomic_init(&next->refs, 1);
    mr_arena_init(&next->arena, TYPES_TEXT_MAX);
    builder->next = next;
    builder->base = base == NULL ? NULL : catalogue_ref(base);
    *ret_builder = builder;
    return MR_OK;
}

static struct catalogue *builder_free(struct catalogue_builder *builder) {
    struct catalogue *next = builder->next;
    catalogue_unref(builder->base);
    mr_free(builder);
    return next;
}

void catalogue_abandon(struct catalogue_builder *builder) {
    if (builder != NULL) {
        catalogue_unref(builder_free(builder));
    }
}

/* ---- lists and tables ---- */

/* Room for one item more. */
static mr_err grow(void **list, size_t len, size_t *cap, size_t size) {
    if (len < *cap) {
        return MR_OK;
    }
    size_t larger = *cap == 0 ? 16 : *cap * 2;
    void *moved = mr_realloc(*list, larger * size);
    if (moved == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    *list = moved;
    *cap = larger;
    return MR_OK;
}

static void place_put(struct catalogue_place *places, uint32_t n_places,
                      struct catalogue_place put) {
    uint32_t at = put.hash;
    while (places[at & (n_places - 1)].item != 0) {
        at++;
    }
    places[at & (n_places - 1)] = put;
}

/* Adds the item of that index, which the table does not have. */
static mr_err table_add(struct catalogue_table *table, mr_str name, size_t index) {
    if ((table->n_items + 1) * 4 > table->n_places) {
        uint32_t n_places = table->n_places == 0 ? PLACES_MIN : table->n_places * 2;
        struct catalogue_place *places = mr_calloc(n_places, sizeof *places);
        if (places == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        for (uint32_t i = 0; i < table->n_places; i++) {
            if (table->places[i].item != 0) {
                place_put(places, n_places, table->places[i]);
            }
        }
        mr_free(table->places);
        table->places = places;
        table->n_places = n_places;
    }
    place_put(table->places, table->n_places,
              (struct catalogue_place){.hash = (uint32_t)mr_str_hash(name, CATALOGUE_SEED),
                                       .item = (uint32_t)index + 1});
    table->n_items++;
    return MR_OK;
}

static bool copy_text(mr_arena *arena, mr_str text, mr_str *ret_copy) {
    *ret_copy = mr_str_is_absent(text) ? MR_STR_NONE : mr_arena_str(arena, text);
    return mr_str_is_absent(text) == mr_str_is_absent(*ret_copy);
}

/* ---- schema versions ---- */

/* A copy of n texts in the arena; NULL without memory. */
static mr_str *copy_texts(mr_arena *arena, const mr_str *texts, size_t n) {
    mr_str *copies = mr_arena_calloc(arena, n + 1, sizeof *copies);
    for (size_t i = 0; copies != NULL && i < n; i++) {
        copies = copy_text(arena, texts[i], &copies[i]) ? copies : NULL;
    }
    return copies;
}

static bool copy_spec(struct catalogue_version *version, const struct catalogue_schema_spec *spec) {
    struct catalogue_schema *shown = &version->shown;
    mr_arena *arena = &version->arena;
    shown->examples = copy_texts(arena, spec->examples, spec->n_examples);
    version->bases = copy_texts(arena, spec->bases, spec->n_bases);
    mr_str breaking = mr_str_is_absent(spec->breaking) ? MR_STR("[]") : spec->breaking;
    if (shown->examples == NULL || version->bases == NULL ||
        !copy_text(arena, spec->name, &shown->name) ||
        !copy_text(arena, spec->document, &shown->document) ||
        !copy_text(arena, breaking, &shown->breaking)) {
        return false;
    }
    version->n_bases = spec->n_bases;
    shown->version = spec->version;
    shown->is_shipped = spec->is_shipped;
    shown->n_examples = spec->n_examples;
    shown->example = shown->examples[0];
    shown->published_ms = spec->published_ms;
    return true;
}

static mr_err version_make(const struct catalogue_schema_spec *spec,
                           struct catalogue_version **ret_version) {
    struct catalogue_version *version = MR_NEW(struct catalogue_version);
    if (version == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    atomic_init(&version->refs, 1);
    mr_arena_init(&version->arena, CATALOGUE_BYTES_SUM);
    if (!copy_spec(version, spec)) {
        catalogue_version_unref(version);
        return MR_ERR(MR_E_NOMEM);
    }
    *ret_version = version;
    return MR_OK;
}

/* The line that a version belongs to. For version 1 a new one at the end of the list, which counts
 * when the version is added. */
static mr_err line_take(struct catalogue_builder *builder, mr_str name, uint32_t version,
                        struct catalogue_line **ret_line) {
    struct catalogue *next = builder->next;
    struct catalogue_line *line = catalogue_line_find(next, name);
    if (version > 1) {
        bool follows =
            line != NULL && line->first + line->len == next->n_versions && line->len + 1 == version;
        *ret_line = line;
        return follows ? MR_OK : MR_ERR(MR_E_EXISTS);
    }
    if (line != NULL) {
        return MR_ERR(MR_E_EXISTS);
    }
    MR_TRY(grow((void **)&next->lines, next->n_lines, &builder->lines_cap, sizeof *next->lines));
    next->lines[next->n_lines] = (struct catalogue_line){.first = (uint32_t)next->n_versions};
    *ret_line = &next->lines[next->n_lines];
    return MR_OK;
}

/* Takes the reference of version, also after an error. */
static mr_err add_version(struct catalogue_builder *builder, struct catalogue_version *version) {
    struct catalogue *next = builder->next;
    struct catalogue_line *line = NULL;
    mr_str name = version->shown.name;
    mr_err err = line_take(builder, name, version->shown.version, &line);
    if (mr_is_ok(err)) {
        err = grow((void **)&next->versions, next->n_versions, &builder->versions_cap,
                   sizeof(struct catalogue_version *));
    }
    if (mr_is_ok(err) && version->shown.version == 1) {
        err = table_add(&next->lines_by_name, name, next->n_lines);
    }
    if (mr_is_err(err)) {
        catalogue_version_unref(version);
        return err;
    }
    if (version->shown.version == 1) {
        line->name = name;
        next->n_lines++;
    }
    next->versions[next->n_versions++] = version;
    line->len++;
    return MR_OK;
}

mr_err catalogue_share_schema(struct catalogue_builder *builder, mr_str name, uint32_t version) {
    const struct catalogue_line *line = catalogue_line_find(builder->base, name);
    if (line == NULL || version == 0 || version > line->len) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    struct catalogue_version *old = builder->base->versions[line->first + version - 1];
    atomic_fetch_add_explicit(&old->refs, 1, memory_order_relaxed);
    return add_version(builder, old);
}

mr_err catalogue_add_schema(struct catalogue_builder *builder,
                            const struct catalogue_schema_spec *spec) {
    struct catalogue_version *version = NULL;
    MR_ASSERT(spec->version > 0 && spec->n_examples > 0);
    MR_TRY(version_make(spec, &version));
    return add_version(builder, version);
}

/* ---- compiling ---- */

static mr_str find_document(const void *ctx, mr_str path) {
    return catalogue_document_by_path(ctx, path);
}

/* The reason in fault where the document is refused. */
static mr_err compile(const struct catalogue *catalogue, struct catalogue_version *version) {
    const struct schema_library library = {.ctx = catalogue,
                                           .find = find_document,
                                           .bases = version->bases,
                                           .n_bases = version->n_bases};
    struct schema_fault fault = {{0}, {0}, -1};
    mr_buf ignored;
    mr_buf_init(&ignored, CATALOGUE_LIST_BYTES_MAX);
    mr_err err =
        schema_compile(version->shown.document, &library, &version->compiled, &ignored, &fault);
    bool ok = true;
    version->shown.ignored = MR_STR("[]");
    if (mr_is_ok(err)) {
        ok = copy_text(&version->arena, mr_buf_view(&ignored), &version->shown.ignored);
        version->shown.compiled = version->compiled;
    } else if (mr_err_is(err, SCHEMA_E_REFUSED)) {
        char text[sizeof fault.pointer + sizeof fault.expected + 16];
        int n = snprintf(text, sizeof text, "%s: expected %s", fault.pointer, fault.expected);
        ok = copy_text(&version->arena, mr_str_of(text, (size_t)n), &version->shown.fault);
        err = MR_OK;
    }
    mr_buf_done(&ignored);
    return ok ? err : MR_ERR(MR_E_NOMEM);
}

/* To each older version of the same schema, which lie before it. */
static mr_err project(struct catalogue_version **versions, struct catalogue_version *version) {
    uint32_t n = version->shown.version - 1;
    if (n == 0) {
        return MR_OK;
    }
    version->projections = mr_calloc(n, sizeof *version->projections);
    if (version->projections == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    for (uint32_t i = 0; i < n; i++) {
        MR_TRY(schema_projection_new(versions[i]->shown.document, version->shown.document,
                                     &version->projections[i]));
    }
    return MR_OK;
}

/* Whether a version was compiled for an earlier catalogue, or tried. */
static bool is_done(const struct catalogue_version *version) {
    return version->compiled != NULL || !mr_str_is_absent(version->shown.fault);
}

mr_err catalogue_finish(struct catalogue_builder *builder, struct catalogue **ret_catalogue) {
    struct catalogue *next = builder_free(builder);
    mr_err err = MR_OK;
    for (size_t i = 0; i < next->n_versions && mr_is_ok(err); i++) {
        struct catalogue_version *version = next->versions[i];
        if (!is_done(version)) {
            err = compile(next, version);
            if (mr_is_ok(err)) {
                err = project(&next->versions[i + 1 - version->shown.version], version);
            }
        }
    }
    if (mr_is_err(err)) {
        catalogue_unref(next);
        return err;
    }
    *ret_catalogue = next;
    return MR_OK;
}

/* ---- types ---- */

mr_err catalogue_add_type(struct catalogue_builder *builder, const struct catalogue_type *spec) {
    struct catalogue *next = builder->next;
    struct catalogue_line *line = catalogue_line_find(next, spec->schema);
    if (line == NULL) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    if (catalogue_type_find(next, spec->name) != NULL) {
        return MR_ERR(MR_E_EXISTS);
    }
    MR_TRY(grow((void **)&next->types, next->n_types, &builder->types_cap, sizeof *next->types));
    struct catalogue_type type = *spec;
    type.schema = line->name;
    type.latest = line->len;
    bool ok = copy_text(&next->arena, spec->name, &type.name) &&
              copy_text(&next->arena, spec->shipped_name, &type.shipped_name) &&
              copy_text(&next->arena, spec->product, &type.product) &&
              copy_text(&next->arena, spec->product_group, &type.product_group) &&
              copy_text(&next->arena, spec->description, &type.description) &&
              copy_text(&next->arena, spec->status, &type.status) &&
              copy_text(&next->arena, spec->example, &type.example);
    if (!ok) {
        return MR_ERR(MR_E_NOMEM);
    }
    if (mr_str_is_absent(type.example)) {
        type.example = next->versions[line->first + line->len - 1]->shown.example;
    }
    MR_TRY(table_add(&next->types_by_name, type.name, next->n_types));
    next->types[next->n_types++] = type;
    line->n_types++;
    return MR_OK;
}

/* ---- what is shipped ---- */

static mr_err add_shipped_schema(struct catalogue_builder *builder,
                                 const struct shipped_schema *row, mr_str prefix, mr_buf *scratch) {
    mr_buf_reset(scratch);
    MR_TRY(shipped_example(row->example, prefix, scratch));
    const mr_str example = mr_buf_view(scratch);
    const struct catalogue_schema_spec spec = {.name = row->name,
                                               .version = row->version,
                                               .is_shipped = true,
                                               .document = row->document,
                                               .examples = &example,
                                               .n_examples = 1};
    mr_err err = catalogue_share_schema(builder, row->name, row->version);
    return mr_err_is(err, MR_E_NOT_FOUND) ? catalogue_add_schema(builder, &spec) : err;
}

static mr_err add_shipped_type(struct catalogue_builder *builder, const struct shipped_type *row,
                               mr_str prefix, const struct catalogue_change *change,
                               mr_buf *scratch) {
    mr_buf_reset(scratch);
    MR_TRY(shipped_type_name(row, prefix, scratch));
    size_t name_len = scratch->len;
    MR_TRY(shipped_example(row->example, prefix, scratch));
    struct catalogue_type type = {
        .name = mr_str_slice(mr_buf_view(scratch), 0, name_len),
        .shipped_name = row->name,
        .product = row->product,
        .product_group = row->product_group,
        .description = row->description,
        .status = row->status,
        .schema = row->schema,
        .example = mr_str_slice(mr_buf_view(scratch), name_len, scratch->len),
        .row_version = 1,
    };
    if (change != NULL) {
        type.description = change->description;
        type.status = change->status;
        type.row_version = change->row_version;
        type.updated_ms = change->updated_ms;
    }
    return catalogue_add_type(builder, &type);
}

static const struct catalogue_change *change_of(const struct shipped_type *row,
                                                const struct catalogue_change *changes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (mr_str_eq(changes[i].shipped_name, row->name)) {
            return &changes[i];
        }
    }
    return NULL;
}

mr_err catalogue_add_shipped(struct catalogue_builder *builder, mr_str prefix,
                             const struct catalogue_change *changes, size_t n_changes) {
    mr_buf scratch;
    mr_buf_init(&scratch, TEXT_MAX);
    mr_err err = MR_OK;
    for (size_t i = 0; i < SHIPPED_SCHEMAS_LEN && mr_is_ok(err); i++) {
        err = add_shipped_schema(builder, shipped_schema_at(i), prefix, &scratch);
    }
    for (size_t i = 0; i < SHIPPED_TYPES_LEN && mr_is_ok(err); i++) {
        const struct shipped_type *row = shipped_type_at(i);
        err = add_shipped_type(builder, row, prefix, change_of(row, changes, n_changes), &scratch);
    }
    mr_buf_done(&scratch);
    return err;
}

mr_err catalogue_new(mr_str prefix, struct catalogue **ret_catalogue) {
    struct catalogue_builder *builder = NULL;
    MR_TRY(catalogue_build(NULL, &builder));
    mr_err err = catalogue_add_shipped(builder, prefix, NULL, 0);
    if (mr_is_err(err)) {
        catalogue_abandon(builder);
        return err;
    }
    return catalogue_finish(builder, ret_catalogue);
}
