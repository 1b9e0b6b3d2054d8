/* One document: read, every subschema in it held against draft-07's rules (the keywords' table
 * below, which is the meta-schema in C), its `$id`s registered. Keywords beside a `$ref` are
 * checked too, but mean nothing: a `$id` there names nothing.
 *
 * A subschema is what stands where a keyword of draft-07 takes one. What looks like a schema
 * elsewhere (in `const`, below an unknown keyword) is data until a reference leads there. */
#include "schema/private.h"

#include "base/mem.h"
#include "json/pointer.h"
#include "schema/keywords.h"

static const struct keyword keywords[] = {
    {"$comment", SHAPE_STRING, KEY_NOTE},
    {"$id", SHAPE_URI_REFERENCE, KEY_NOTE},
    {"$ref", SHAPE_URI_REFERENCE, KEY_REF},
    {"$schema", SHAPE_DIALECT, KEY_NOTE},
    {"additionalItems", SHAPE_SCHEMA, KEY_ITEMS},
    {"additionalProperties", SHAPE_SCHEMA, KEY_MEMBERS},
    {"allOf", SHAPE_SCHEMA_LIST, KEY_ALL_OF},
    {"anyOf", SHAPE_SCHEMA_LIST, KEY_ANY_OF},
    {"const", SHAPE_ANY, KEY_CONST},
    {"contains", SHAPE_SCHEMA, KEY_CONTAINS},
    {"contentEncoding", SHAPE_STRING, KEY_NOTE},
    {"contentMediaType", SHAPE_STRING, KEY_NOTE},
    {"default", SHAPE_ANY, KEY_NOTE},
    {"definitions", SHAPE_SCHEMA_MAP, KEY_NOTE},
    {"dependencies", SHAPE_DEPENDENCIES, KEY_DEPENDENCIES},
    {"description", SHAPE_STRING, KEY_NOTE},
    {"else", SHAPE_SCHEMA, KEY_NOTE},
    {"enum", SHAPE_LIST, KEY_ENUM},
    {"examples", SHAPE_LIST, KEY_NOTE},
    {"exclusiveMaximum", SHAPE_NUMBER, KEY_EXCLUSIVE_MAXIMUM},
    {"exclusiveMinimum", SHAPE_NUMBER, KEY_EXCLUSIVE_MINIMUM},
    {"format", SHAPE_STRING, KEY_FORMAT},
    {"if", SHAPE_SCHEMA, KEY_IF},
    {"items", SHAPE_SCHEMA_OR_LIST, KEY_ITEMS},
    {"maxItems", SHAPE_COUNT, KEY_MAX_ITEMS},
    {"maxLength", SHAPE_COUNT, KEY_MAX_LENGTH},
    {"maxProperties", SHAPE_COUNT, KEY_MAX_PROPERTIES},
    {"maximum", SHAPE_NUMBER, KEY_MAXIMUM},
    {"minItems", SHAPE_COUNT, KEY_MIN_ITEMS},
    {"minLength", SHAPE_COUNT, KEY_MIN_LENGTH},
    {"minProperties", SHAPE_COUNT, KEY_MIN_PROPERTIES},
    {"minimum", SHAPE_NUMBER, KEY_MINIMUM},
    {"multipleOf", SHAPE_POSITIVE, KEY_MULTIPLE_OF},
    {"not", SHAPE_SCHEMA, KEY_NOT},
    {"oneOf", SHAPE_SCHEMA_LIST, KEY_ONE_OF},
    {"pattern", SHAPE_STRING, KEY_PATTERN},
    {"patternProperties", SHAPE_SCHEMA_MAP, KEY_MEMBERS},
    {"properties", SHAPE_SCHEMA_MAP, KEY_MEMBERS},
    {"propertyNames", SHAPE_SCHEMA, KEY_PROPERTY_NAMES},
    {"readOnly", SHAPE_BOOLEAN, KEY_NOTE},
    {"required", SHAPE_NAMES, KEY_MEMBERS},
    {"then", SHAPE_SCHEMA, KEY_NOTE},
    {"title", SHAPE_STRING, KEY_NOTE},
    {"type", SHAPE_TYPE, KEY_TYPE},
    {"uniqueItems", SHAPE_BOOLEAN, KEY_UNIQUE},
    {"writeOnly", SHAPE_BOOLEAN, KEY_NOTE},
};

const struct keyword *keyword_find(json_value name) {
    size_t low = 0;
    size_t high = sizeof keywords / sizeof keywords[0];
    if (!json_string_is_plain(name)) {
        for (size_t i = 0; i < high; i++) {
            if (json_string_eq(name, mr_str_c(keywords[i].name))) {
                return &keywords[i];
            }
        }
        return NULL;
    }
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = mr_str_cmp(json_peek_text(name), mr_str_c(keywords[middle].name));
        if (order == 0) {
            return &keywords[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

static const char *const type_names[] = {"integer", "null",  "boolean", "number",
                                         "string",  "array", "object"};
static const uint8_t type_bits[] = {
    KIND_INTEGER,          KIND_BIT(JSON_NULL),   KIND_BIT(JSON_FALSE) | KIND_BIT(JSON_TRUE),
    KIND_BIT(JSON_NUMBER), KIND_BIT(JSON_STRING), KIND_BIT(JSON_ARRAY),
    KIND_BIT(JSON_OBJECT),
};

uint8_t type_find(json_value name) {
    for (size_t i = 0; i < sizeof type_bits; i++) {
        if (json_string_eq(name, mr_str_c(type_names[i]))) {
            return type_bits[i];
        }
    }
    return 0;
}

/* What is being walked. */
struct walk {
    struct compiler *c;
    struct document *document;
    uint32_t index; /* of the document */
};

static mr_err walk_schema(struct walk *w, json_value schema, uint32_t base);

static mr_err expect(struct walk *w, bool good, json_value at, const char *what) {
    return good ? MR_OK : schema_refuse(w->c, w->index, at.node, "%s", what);
}

static mr_err check_names(struct walk *w, json_value list, const char *what) {
    MR_TRY(expect(w, json_kind_of(list) == JSON_ARRAY, list, what));
    for (json_iter it = json_iter_of(list); json_next(&it);) {
        MR_TRY(expect(w, json_kind_of(it.value) == JSON_STRING, it.value, what));
    }
    size_t n_slots = 4;
    while (n_slots < json_count(list) * 2) {
        n_slots *= 2;
    }
    MR_AUTO_FREE struct unique_slot *slots = mr_calloc(n_slots, sizeof *slots);
    if (slots == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    int64_t steps = INT64_MAX / 2;
    uint32_t first;
    uint32_t second;
    if (!value_find_equal(list, slots, n_slots, &steps, &first, &second)) {
        return MR_OK;
    }
    return schema_refuse(w->c, w->index, json_item(list, second).node, "each string once");
}

static mr_err check_type(struct walk *w, json_value type) {
    static const char what[] =
        "null, boolean, object, array, number, string or integer, or an array of them";
    if (json_kind_of(type) == JSON_STRING) {
        return expect(w, type_find(type) != 0, type, what);
    }
    MR_TRY(check_names(w, type, what));
    MR_TRY(expect(w, json_count(type) > 0, type, "at least one type"));
    for (json_iter it = json_iter_of(type); json_next(&it);) {
        MR_TRY(expect(w, type_find(it.value) != 0, it.value, what));
    }
    return MR_OK;
}

static mr_err check_number(struct walk *w, json_value value, enum shape shape) {
    static const char a_count[] = "a whole number, 0 or more";
    if (json_kind_of(value) != JSON_NUMBER) {
        return schema_refuse(w->c, w->index, value.node, "%s",
                             shape == SHAPE_COUNT ? a_count : "a number");
    }
    struct number n = number_of_text(json_peek_text(value));
    if (shape == SHAPE_COUNT) {
        return expect(w, number_is_integer(&n) && !n.negative, value, a_count);
    }
    if (shape == SHAPE_NUMBER) {
        return MR_OK;
    }
    MR_TRY(expect(w, n.digits > 0 && !n.negative, value, "a number above 0"));
    if (n.digits > MULTIPLE_DIGITS_MAX) {
        return schema_refuse(w->c, w->index, value.node,
                             "at most %u significant digits (multiple_digits_max)",
                             MULTIPLE_DIGITS_MAX);
    }
    return MR_OK;
}

static mr_err check_reference(struct walk *w, json_value value) {
    mr_str text;
    MR_TRY(expect(w, json_kind_of(value) == JSON_STRING, value, "a URI reference"));
    MR_TRY(schema_keep_string(w->c, value, &text));
    if (text.len > URI_BYTES_MAX) {
        return schema_refuse(w->c, w->index, value.node,
                             "a URI reference of at most %u bytes (uri_bytes_max)", URI_BYTES_MAX);
    }
    return expect(w, format_is_uri_reference(text), value, "a URI reference");
}

static mr_err check_dialect(struct walk *w, json_value value) {
    bool good = json_string_eq(value, MR_STR("http://json-schema.org/draft-07/schema#")) ||
                json_string_eq(value, MR_STR("http://json-schema.org/draft-07/schema"));
    return expect(w, good, value, "\"http://json-schema.org/draft-07/schema#\", the one dialect");
}

static mr_err walk_list(struct walk *w, json_value list, uint32_t base) {
    MR_TRY(expect(w, json_kind_of(list) == JSON_ARRAY, list, "an array of schemas"));
    MR_TRY(expect(w, json_count(list) > 0, list, "at least one schema"));
    for (json_iter it = json_iter_of(list); json_next(&it);) {
        MR_TRY(walk_schema(w, it.value, base));
    }
    return MR_OK;
}

static mr_err walk_map(struct walk *w, json_value map, uint32_t base) {
    MR_TRY(expect(w, json_kind_of(map) == JSON_OBJECT, map, "an object of schemas"));
    for (json_iter it = json_iter_of(map); json_next(&it);) {
        MR_TRY(walk_schema(w, it.value, base));
    }
    return MR_OK;
}

static mr_err walk_dependencies(struct walk *w, json_value map, uint32_t base) {
    static const char what[] = "an object of schemas or arrays of member names";
    MR_TRY(expect(w, json_kind_of(map) == JSON_OBJECT, map, what));
    for (json_iter it = json_iter_of(map); json_next(&it);) {
        MR_TRY(json_kind_of(it.value) == JSON_ARRAY
                   ? check_names(w, it.value, "a schema or an array of member names")
                   : walk_schema(w, it.value, base));
    }
    return MR_OK;
}

static mr_err check_keyword(struct walk *w, const struct keyword *keyword, json_value value,
                            uint32_t base) {
    enum json_kind kind = json_kind_of(value);
    switch (keyword->shape) {
    case SHAPE_ANY:
        return MR_OK;
    case SHAPE_STRING:
        return expect(w, kind == JSON_STRING, value, "a string");
    case SHAPE_BOOLEAN:
        return expect(w, kind == JSON_TRUE || kind == JSON_FALSE, value, "true or false");
    case SHAPE_URI_REFERENCE:
        return check_reference(w, value);
    case SHAPE_DIALECT:
        return check_dialect(w, value);
    case SHAPE_NUMBER:
    case SHAPE_POSITIVE:
    case SHAPE_COUNT:
        return check_number(w, value, keyword->shape);
    case SHAPE_LIST:
        return expect(w, kind == JSON_ARRAY, value, "an array");
    case SHAPE_NAMES:
        return check_names(w, value, "an array of member names");
    case SHAPE_TYPE:
        return check_type(w, value);
    case SHAPE_SCHEMA:
        return walk_schema(w, value, base);
    case SHAPE_SCHEMA_LIST:
        return walk_list(w, value, base);
    case SHAPE_SCHEMA_OR_LIST:
        return kind == JSON_ARRAY ? walk_list(w, value, base) : walk_schema(w, value, base);
    case SHAPE_SCHEMA_MAP:
        return walk_map(w, value, base);
    case SHAPE_DEPENDENCIES:
        return walk_dependencies(w, value, base);
    }
    return MR_OK;
}

static mr_err add_base(struct compiler *c, mr_str uri, uint32_t *ret_base) {
    for (uint32_t i = 0; i < c->bases.n; i++) {
        if (mr_str_eq(c->bases.ptr[i], uri)) {
            *ret_base = i;
            return MR_OK;
        }
    }
    mr_str kept = mr_arena_str(&c->schema->arena, uri);
    if (mr_str_is_absent(kept)) {
        return MR_ERR(MR_E_NOMEM);
    }
    *ret_base = c->bases.n;
    VEC_PUSH(&c->bases, kept);
    return MR_OK;
}

static mr_err add_target(struct walk *w, uint32_t base, mr_str name, json_value at) {
    struct compiler *c = w->c;
    for (uint32_t i = 0; i < c->targets.n; i++) {
        const struct target *t = &c->targets.ptr[i];
        if (t->base == base && mr_str_eq(t->name, name) &&
            mr_str_is_absent(t->name) == mr_str_is_absent(name)) {
            return schema_refuse(c, w->index, at.node, "an identifier that no other schema has");
        }
    }
    struct target target = {base, name, w->index, at.node};
    VEC_PUSH(&c->targets, target);
    return MR_OK;
}

/* Registers what `$id` says, and gives the base for what stands inside. */
static mr_err take_id(struct walk *w, json_value schema, json_value id, uint32_t *base) {
    struct compiler *c = w->c;
    mr_str text;
    mr_str fragment;
    MR_TRY(check_reference(w, id));
    MR_TRY(schema_keep_string(c, id, &text));
    mr_buf_reset(&c->scratch);
    MR_TRY(uri_resolve(c->bases.ptr[*base], text, &c->scratch, &fragment));
    if (fragment.len > 0 && text.ptr[0] == '#') {
        return add_target(w, *base, fragment, schema);
    }
    uint32_t own;
    MR_TRY(add_base(c, mr_buf_view(&c->scratch), &own));
    if (own != *base) {
        MR_TRY(add_target(w, own, MR_STR_NONE, schema));
    }
    *base = own;
    return fragment.len > 0 ? add_target(w, own, fragment, schema) : MR_OK;
}

static mr_err walk_schema(struct walk *w, json_value schema, uint32_t base) {
    enum json_kind kind = json_kind_of(schema);
    if (kind == JSON_TRUE || kind == JSON_FALSE) {
        w->document->bases[schema.node] = base;
        return MR_OK;
    }
    MR_TRY(expect(w, kind == JSON_OBJECT, schema, "a schema: an object, true or false"));
    if (++w->c->schemas > SCHEMAS_MAX) {
        return schema_refuse(w->c, w->index, schema.node, "at most %u schemas (schemas_max)",
                             SCHEMAS_MAX);
    }
    json_value id = json_find(schema, MR_STR("$id"));
    if (!json_is_absent(id) && json_is_absent(json_find(schema, MR_STR("$ref")))) {
        MR_TRY(take_id(w, schema, id, &base));
    }
    w->document->bases[schema.node] = base;
    for (json_iter it = json_iter_of(schema); json_next(&it);) {
        const struct keyword *keyword = keyword_find(it.name);
        if (keyword != NULL) {
            MR_TRY(check_keyword(w, keyword, it.value, base));
        }
    }
    return MR_OK;
}

mr_err document_check_below(struct compiler *c, uint32_t document, uint32_t node, uint32_t base) {
    struct walk w = {c, c->schema->documents.ptr[document], document};
    return walk_schema(&w, (json_value){&w.document->tape, node}, base);
}

/* Text and tape; index NONE in every place. */
static mr_err read_document(struct compiler *c, uint32_t index, mr_str text) {
    struct document *document = c->schema->documents.ptr[index];
    json_error error = {.expected = NULL};
    char *copy = mr_strdup_n(text.ptr, text.len);
    if (copy == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    document->text = (mr_str){copy, text.len};
    mr_err err = json_tape_read(&document->tape, document->text, &error);
    if (mr_err_is(err, MR_E_NOMEM)) {
        return err;
    }
    if (mr_is_err(err)) {
        c->fault->pointer[0] = '\0';
        c->fault->offset = (int64_t)error.offset;
        if (mr_err_is(err, JSON_E_DEPTH)) {
            return schema_refuse(c, NONE, 0, "at most %u levels (document_depth_max)",
                                 DOCUMENT_DEPTH_MAX);
        }
        return schema_refuse(c, NONE, 0, "JSON: %s", error.expected);
    }
    document->nodes = mr_alloc(document->tape.len * sizeof(uint32_t));
    document->bases = mr_alloc(document->tape.len * sizeof(uint32_t));
    if (document->nodes == NULL || document->bases == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    memset(document->nodes, 0xFF, document->tape.len * sizeof(uint32_t));
    memset(document->bases, 0xFF, document->tape.len * sizeof(uint32_t));
    return MR_OK;
}

mr_err document_add(struct compiler *c, mr_str text, mr_str uri, uint32_t *ret_document) {
    if (c->schema->documents.n == DOCUMENTS_MAX) {
        return schema_refuse(c, NONE, 0, "at most %u documents (documents_max)", DOCUMENTS_MAX);
    }
    if (text.len > SCHEMA_DOCUMENT_BYTES_MAX) {
        return schema_refuse(c, NONE, 0, "at most %zu bytes (document_bytes_max)",
                             SCHEMA_DOCUMENT_BYTES_MAX);
    }
    struct document *document = MR_NEW(struct document);
    if (document == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    json_tape_init(&document->tape, DOCUMENT_DEPTH_MAX);
    uint32_t index = c->schema->documents.n;
    mr_err err = schema_vec_reserve(&c->schema->documents.ptr, &c->schema->documents.cap, index, 1,
                                    sizeof document);
    if (mr_is_err(err)) {
        mr_free(document);
        return err;
    }
    c->schema->documents.ptr[c->schema->documents.n++] = document;
    MR_TRY(read_document(c, index, text));
    struct walk w = {c, document, index};
    uint32_t base;
    MR_TRY(add_base(c, uri, &base));
    MR_TRY(add_target(&w, base, MR_STR_NONE, json_root(&document->tape)));
    *ret_document = index;
    return walk_schema(&w, json_root(&document->tape), base);
}
