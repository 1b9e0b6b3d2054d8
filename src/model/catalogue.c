/* The catalogue: the shipped rows with their whole names worked out and their examples in the
 * installation's prefix, in one arena. Types are looked up by a hash of the name in a table of four
 * times as many places, since every event accepted asks for its type; schemas, which only answers
 * and checks of `dataschema` ask for, by walking the rows. Nothing changes while the program
 * runs. */
#include "model/catalogue.h"

#include "base/mem.h"
#include "event/shipped.h"

#define PLACES   32u
#define SEED     UINT64_C(0x6d696c6c72616365)
#define TEXT_MAX ((size_t)1 << 20)
_Static_assert(PLACES >= 4 * SHIPPED_TYPES_LEN, "most places stay free");

struct catalogue {
    mr_arena arena; /* of names and examples */
    struct catalogue_type types[SHIPPED_TYPES_LEN];
    struct catalogue_schema schemas[SHIPPED_SCHEMAS_LEN];
    uint8_t places[PLACES]; /* index of a type + 1; 0: free */
};

static uint32_t latest_of(mr_str schema) {
    uint32_t latest = 0;
    for (size_t i = 0; i < SHIPPED_SCHEMAS_LEN; i++) {
        const struct shipped_schema *row = shipped_schema_at(i);
        if (mr_str_eq(row->name, schema) && row->version > latest) {
            latest = row->version;
        }
    }
    return latest;
}

/* Moves what scratch holds into the arena and empties it. */
static mr_err keep(struct catalogue *catalogue, mr_err err, mr_buf *scratch, mr_str *ret_text) {
    if (mr_is_ok(err)) {
        *ret_text = mr_arena_str(&catalogue->arena, mr_buf_view(scratch));
        err = mr_str_is_absent(*ret_text) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    }
    mr_buf_reset(scratch);
    return err;
}

static mr_err type_init(struct catalogue *catalogue, size_t index, mr_str prefix, mr_buf *scratch) {
    const struct shipped_type *row = shipped_type_at(index);
    struct catalogue_type *type = &catalogue->types[index];
    *type = (struct catalogue_type){
        .product = row->product,
        .product_group = row->product_group,
        .description = row->description,
        .status = row->status,
        .schema = row->schema,
        .latest = latest_of(row->schema),
    };
    MR_TRY(keep(catalogue, shipped_type_name(row, prefix, scratch), scratch, &type->name));
    MR_TRY(
        keep(catalogue, shipped_example(row->example, prefix, scratch), scratch, &type->example));
    size_t at = (size_t)mr_str_hash(type->name, SEED) % PLACES;
    while (catalogue->places[at] != 0) {
        at = (at + 1) % PLACES;
    }
    catalogue->places[at] = (uint8_t)(index + 1);
    return MR_OK;
}

static mr_err schema_init(struct catalogue *catalogue, size_t index, mr_str prefix,
                          mr_buf *scratch) {
    const struct shipped_schema *row = shipped_schema_at(index);
    struct catalogue_schema *schema = &catalogue->schemas[index];
    *schema = (struct catalogue_schema){
        .name = row->name,
        .version = row->version,
        .document = row->document,
    };
    return keep(catalogue, shipped_example(row->example, prefix, scratch), scratch,
                &schema->example);
}

mr_err catalogue_new(mr_str prefix, struct catalogue **ret_catalogue) {
    struct catalogue *catalogue = MR_NEW(struct catalogue);
    if (catalogue == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_arena_init(&catalogue->arena, TEXT_MAX);
    mr_buf scratch;
    mr_buf_init(&scratch, TEXT_MAX);
    mr_err err = MR_OK;
    for (size_t i = 0; i < SHIPPED_TYPES_LEN && mr_is_ok(err); i++) {
        err = type_init(catalogue, i, prefix, &scratch);
    }
    for (size_t i = 0; i < SHIPPED_SCHEMAS_LEN && mr_is_ok(err); i++) {
        err = schema_init(catalogue, i, prefix, &scratch);
    }
    mr_buf_done(&scratch);
    if (mr_is_err(err)) {
        catalogue_free(catalogue);
        return err;
    }
    *ret_catalogue = catalogue;
    return MR_OK;
}

void catalogue_free(struct catalogue *catalogue) {
    if (catalogue != NULL) {
        mr_arena_done(&catalogue->arena);
        mr_free(catalogue);
    }
}

const struct catalogue_type *catalogue_type_find(const struct catalogue *catalogue, mr_str name) {
    size_t at = (size_t)mr_str_hash(name, SEED) % PLACES;
    while (catalogue->places[at] != 0) {
        const struct catalogue_type *type = &catalogue->types[catalogue->places[at] - 1];
        if (mr_str_eq(type->name, name)) {
            return type;
        }
        at = (at + 1) % PLACES;
    }
    return NULL;
}

const struct catalogue_schema *catalogue_schema_find(const struct catalogue *catalogue, mr_str name,
                                                     uint32_t version) {
    for (size_t i = 0; i < SHIPPED_SCHEMAS_LEN; i++) {
        const struct catalogue_schema *schema = &catalogue->schemas[i];
        if (schema->version == version && mr_str_eq(schema->name, name)) {
            return schema;
        }
    }
    return NULL;
}

const struct catalogue_type *catalogue_type_at(const struct catalogue *catalogue, size_t index) {
    return index < SHIPPED_TYPES_LEN ? &catalogue->types[index] : NULL;
}

const struct catalogue_schema *catalogue_schema_at(const struct catalogue *catalogue,
                                                   size_t index) {
    return index < SHIPPED_SCHEMAS_LEN ? &catalogue->schemas[index] : NULL;
}

bool catalogue_has_product_group(const struct catalogue *catalogue, mr_str name) {
    for (size_t i = 0; i < SHIPPED_TYPES_LEN; i++) {
        mr_str group = catalogue->types[i].product_group;
        if (!mr_str_is_absent(group) && mr_str_eq(group, name)) {
            return true;
        }
    }
    return false;
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
    if (catalogue_schema_find(catalogue, schema, version) == NULL) {
        return EVENT_SCHEMA_UNKNOWN;
    }
    const struct catalogue_type *own = catalogue_type_find(catalogue, name);
    if (own != NULL && mr_str_eq(own->schema, schema)) {
        return EVENT_SCHEMA_OF_TYPE;
    }
    for (size_t i = 0; i < SHIPPED_TYPES_LEN; i++) {
        if (mr_str_eq(catalogue->types[i].schema, schema)) {
            return EVENT_SCHEMA_OF_OTHER;
        }
    }
    return EVENT_SCHEMA_FREE;
}

struct event_catalogue catalogue_for_events(const struct catalogue *catalogue) {
    return (struct event_catalogue){
        .ctx = catalogue,
        .type_find = find_type,
        .schema_use = schema_use,
    };
}
