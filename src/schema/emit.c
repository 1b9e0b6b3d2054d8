/* One subschema to its operations. The document was checked: values have the types that draft-07
 * asks for. Keywords that make sense only together (properties, patternProperties,
 * additionalProperties, required; items, additionalItems; if, then, else) become one operation. */
#include "schema/private.h"

#include "json/pointer.h"
#include "json/write.h"
#include "schema/keywords.h"

#define KINDS_NUMBER KIND_BIT(JSON_NUMBER)
#define KINDS_STRING KIND_BIT(JSON_STRING)
#define KINDS_ARRAY  KIND_BIT(JSON_ARRAY)
#define KINDS_OBJECT KIND_BIT(JSON_OBJECT)

/* The subschema at work. */
struct emit {
    struct compiler *c;
    struct schema *s;
    const struct job *job;
    json_value schema;
    bool did_members;
    bool did_items;
};

static mr_err add_op(struct emit *e, enum op_code code, uint32_t kinds, uint32_t a, uint32_t b) {
    struct op op = {(uint8_t)code, (uint8_t)kinds, a, b, NONE};
    VEC_PUSH(&e->s->ops, op);
    return MR_OK;
}

static mr_err child(struct emit *e, json_value schema, uint32_t *ret_node) {
    return schema_node_at(e->c, e->job->document, schema.node, ret_node);
}

static mr_err member_child(struct emit *e, const char *name, uint32_t *ret_node) {
    json_value value = json_find(e->schema, mr_str_c(name));
    *ret_node = NONE;
    return json_is_absent(value) ? MR_OK : child(e, value, ret_node);
}

static mr_err emit_child(struct emit *e, enum op_code code, uint32_t kinds, json_value schema) {
    uint32_t node;
    MR_TRY(child(e, schema, &node));
    return add_op(e, code, kinds, node, 0);
}

/* Counts beyond 32 bits: no instance is that large. */
static mr_err emit_count(struct emit *e, enum op_code code, uint32_t kinds, json_value value) {
    uint64_t n;
    if (mr_is_err(json_u64(value, 0, NONE, &n))) {
        n = NONE;
    }
    return add_op(e, code, kinds, (uint32_t)n, 0);
}

static mr_err emit_number(struct emit *e, enum op_code code, json_value value) {
    struct number number = number_of_text(json_peek_text(value));
    MR_TRY(add_op(e, code, KINDS_NUMBER, e->s->numbers.n, 0));
    VEC_PUSH(&e->s->numbers, number);
    return MR_OK;
}

static mr_err add_value(struct emit *e, json_value value) {
    int64_t steps = INT64_MAX;
    uint64_t hash = value_hash(value, &steps);
    if (steps < 0) {
        return MR_ERR(MR_E_NOMEM);
    }
    MR_TRY(
        schema_vec_reserve(&e->s->hashes.ptr, &e->s->hashes.cap, e->s->hashes.n, 1, sizeof hash));
    VEC_PUSH(&e->s->values, value);
    e->s->hashes.ptr[e->s->hashes.n++] = hash;
    return MR_OK;
}

static mr_err emit_enum(struct emit *e, json_value list) {
    MR_TRY(add_op(e, OP_ENUM, KINDS_ALL, e->s->values.n, (uint32_t)json_count(list)));
    for (json_iter it = json_iter_of(list); json_next(&it);) {
        MR_TRY(add_value(e, it.value));
    }
    return MR_OK;
}

static mr_err emit_const(struct emit *e, json_value value) {
    MR_TRY(add_op(e, OP_CONST, KINDS_ALL, e->s->values.n, 1));
    return add_value(e, value);
}

/* `at` is the string's place, for the refusal. */
static mr_err add_pattern(struct emit *e, mr_str text, json_value at, uint32_t *ret_pattern) {
    char message[200];
    struct pattern *pattern;
    mr_err err = pattern_new(text, &pattern, message, sizeof message);
    if (mr_err_is(err, MR_E_INVALID)) {
        return schema_refuse(e->c, e->job->document, at.node, "a regular expression: %s", message);
    }
    MR_TRY(err);
    err = schema_vec_reserve(&e->s->patterns.ptr, &e->s->patterns.cap, e->s->patterns.n, 1,
                             sizeof pattern);
    if (mr_is_err(err)) {
        pattern_free(pattern);
        return err;
    }
    *ret_pattern = e->s->patterns.n;
    e->s->patterns.ptr[e->s->patterns.n++] = pattern;
    return MR_OK;
}

static mr_err emit_pattern(struct emit *e, json_value value) {
    mr_str text;
    uint32_t pattern;
    MR_TRY(schema_keep_string(e->c, value, &text));
    MR_TRY(add_pattern(e, text, value, &pattern));
    MR_TRY(add_op(e, OP_PATTERN, KINDS_STRING, pattern, e->s->names.n));
    VEC_PUSH(&e->s->names, text);
    return MR_OK;
}

/* Adds the pointer of a keyword that is ignored to the list. */
static mr_err add_ignored(struct emit *e, uint32_t at) {
    struct compiler *c = e->c;
    if (c->ignored == NULL || e->job->document != 0) {
        return MR_OK;
    }
    mr_buf pointer;
    mr_buf_init(&pointer, SCHEMA_DOCUMENT_BYTES_MAX * 2);
    mr_err err = schema_put_pointer(json_root(e->schema.tape), at, &pointer);
    err = mr_is_ok(err) && c->has_ignored ? mr_buf_byte(c->ignored, ',') : err;
    err = mr_is_ok(err) ? json_string_write(mr_buf_view(&pointer), JSON_UTF8, c->ignored) : err;
    c->has_ignored = true;
    mr_buf_done(&pointer);
    return err;
}

static mr_err emit_format(struct emit *e, json_value value) {
    mr_str name;
    MR_TRY(schema_keep_string(e->c, value, &name));
    uint32_t row = format_find(name);
    return row == NONE ? add_ignored(e, value.node) : add_op(e, OP_FORMAT, KINDS_STRING, row, 0);
}

static mr_err emit_list(struct emit *e, enum op_code code, json_value list) {
    uint32_t n = (uint32_t)json_count(list);
    MR_TRY(add_op(e, code, KINDS_ALL, e->s->lists.n, n));
    for (json_iter it = json_iter_of(list); json_next(&it);) {
        uint32_t node;
        MR_TRY(child(e, it.value, &node));
        VEC_PUSH(&e->s->lists, node);
    }
    return MR_OK;
}

static mr_err emit_items(struct emit *e) {
    json_value items = json_find(e->schema, MR_STR("items"));
    struct item_shape shape = {NONE, e->s->lists.n, 0, NONE, false};
    if (e->did_items || json_is_absent(items)) {
        return MR_OK; /* additionalItems alone says nothing */
    }
    e->did_items = true;
    if (json_kind_of(items) != JSON_ARRAY) {
        MR_TRY(child(e, items, &shape.each));
    } else {
        shape.is_tuple = true;
        shape.n = (uint32_t)json_count(items);
        for (json_iter it = json_iter_of(items); json_next(&it);) {
            uint32_t node;
            MR_TRY(child(e, it.value, &node));
            VEC_PUSH(&e->s->lists, node);
        }
        MR_TRY(member_child(e, "additionalItems", &shape.additional));
    }
    MR_TRY(add_op(e, OP_ITEMS, KINDS_ARRAY, e->s->item_shapes.n, 0));
    VEC_PUSH(&e->s->item_shapes, shape);
    return MR_OK;
}

/* The slot of a name, made where there is none. */
static struct member *member_slot(struct emit *e, const struct member_shape *shape, mr_str name) {
    uint32_t hash = json_name_hash(name);
    for (uint32_t at = hash & shape->mask;; at = (at + 1) & shape->mask) {
        struct member *member = &e->s->members.ptr[shape->first + at];
        if (mr_str_is_absent(member->name)) {
            *member = (struct member){name, hash, NONE, false};
            return member;
        }
        if (member->hash == hash && mr_str_eq(member->name, name)) {
            return member;
        }
    }
}

static mr_err fill_members(struct emit *e, struct member_shape *shape, json_value properties,
                           json_value required) {
    uint32_t wanted = (uint32_t)(json_count(properties) + json_count(required));
    uint32_t slots = 2;
    while (slots < 2 * wanted) {
        slots *= 2;
    }
    shape->first = e->s->members.n;
    shape->mask = slots - 1;
    MR_TRY(schema_vec_reserve(&e->s->members.ptr, &e->s->members.cap, e->s->members.n, slots,
                              sizeof(struct member)));
    memset(e->s->members.ptr + e->s->members.n, 0, slots * sizeof(struct member));
    e->s->members.n += slots;
    for (json_iter it = json_iter_of(properties); json_next(&it);) {
        mr_str name;
        uint32_t node;
        MR_TRY(schema_keep_string(e->c, it.name, &name));
        MR_TRY(child(e, it.value, &node));
        member_slot(e, shape, name)->node = node;
    }
    shape->first_required = e->s->lists.n;
    for (json_iter it = json_iter_of(required); json_next(&it); shape->n_required++) {
        mr_str name;
        MR_TRY(schema_keep_string(e->c, it.value, &name));
        struct member *member = member_slot(e, shape, name);
        member->is_required = true;
        VEC_PUSH(&e->s->lists, (uint32_t)(member - e->s->members.ptr));
    }
    return MR_OK;
}

static mr_err emit_members(struct emit *e) {
    if (e->did_members) {
        return MR_OK;
    }
    e->did_members = true;
    json_value patterns = json_find(e->schema, MR_STR("patternProperties"));
    struct member_shape shape = {.n_patterns = (uint32_t)json_count(patterns)};
    shape.first_pattern = e->s->lists.n;
    shape.first_name = e->s->names.n;
    for (json_iter it = json_iter_of(patterns); json_next(&it);) {
        mr_str text;
        uint32_t pattern;
        uint32_t node;
        MR_TRY(schema_keep_string(e->c, it.name, &text));
        MR_TRY(add_pattern(e, text, it.name, &pattern));
        MR_TRY(child(e, it.value, &node));
        VEC_PUSH(&e->s->lists, pattern);
        VEC_PUSH(&e->s->lists, node);
        VEC_PUSH(&e->s->names, text);
    }
    MR_TRY(member_child(e, "additionalProperties", &shape.additional));
    MR_TRY(fill_members(e, &shape, json_find(e->schema, MR_STR("properties")),
                        json_find(e->schema, MR_STR("required"))));
    MR_TRY(add_op(e, OP_OBJECT, KINDS_OBJECT, e->s->member_shapes.n, 0));
    VEC_PUSH(&e->s->member_shapes, shape);
    return MR_OK;
}

static mr_err emit_dependencies(struct emit *e, json_value map) {
    MR_TRY(
        add_op(e, OP_DEPENDENCIES, KINDS_OBJECT, e->s->dependencies.n, (uint32_t)json_count(map)));
    for (json_iter it = json_iter_of(map); json_next(&it);) {
        struct dependency d = {.node = NONE, .first = e->s->names.n};
        MR_TRY(schema_keep_string(e->c, it.name, &d.name));
        if (json_kind_of(it.value) != JSON_ARRAY) {
            MR_TRY(child(e, it.value, &d.node));
        }
        d.n = json_kind_of(it.value) == JSON_ARRAY ? (uint32_t)json_count(it.value) : 0;
        for (uint32_t i = 0; i < d.n; i++) {
            mr_str name;
            MR_TRY(schema_keep_string(e->c, json_item(it.value, i), &name));
            VEC_PUSH(&e->s->names, name);
        }
        VEC_PUSH(&e->s->dependencies, d);
    }
    return MR_OK;
}

static mr_err emit_if(struct emit *e, json_value condition) {
    struct op op = {OP_IF, KINDS_ALL, NONE, NONE, NONE};
    MR_TRY(child(e, condition, &op.a));
    MR_TRY(member_child(e, "then", &op.b));
    MR_TRY(member_child(e, "else", &op.c));
    VEC_PUSH(&e->s->ops, op);
    return MR_OK;
}

static void set_types(struct emit *e, json_value type) {
    uint8_t types = 0;
    if (json_kind_of(type) == JSON_STRING) {
        types = type_find(type);
    }
    if (json_kind_of(type) == JSON_ARRAY) {
        for (json_iter it = json_iter_of(type); json_next(&it);) {
            types |= type_find(it.value);
        }
    }
    e->s->nodes.ptr[e->job->node].types = types;
}

static mr_err emit_keyword(struct emit *e, enum key key, json_value value) {
    switch (key) {
    case KEY_NOTE:
    case KEY_REF:
        return MR_OK;
    case KEY_TYPE:
        set_types(e, value);
        return MR_OK;
    case KEY_ENUM:
        return emit_enum(e, value);
    case KEY_CONST:
        return emit_const(e, value);
    case KEY_MULTIPLE_OF:
        return emit_number(e, OP_MULTIPLE_OF, value);
    case KEY_MAXIMUM:
        return emit_number(e, OP_MAXIMUM, value);
    case KEY_EXCLUSIVE_MAXIMUM:
        return emit_number(e, OP_EXCLUSIVE_MAXIMUM, value);
    case KEY_MINIMUM:
        return emit_number(e, OP_MINIMUM, value);
    case KEY_EXCLUSIVE_MINIMUM:
        return emit_number(e, OP_EXCLUSIVE_MINIMUM, value);
    case KEY_MAX_LENGTH:
        return emit_count(e, OP_MAX_LENGTH, KINDS_STRING, value);
    case KEY_MIN_LENGTH:
        return emit_count(e, OP_MIN_LENGTH, KINDS_STRING, value);
    case KEY_PATTERN:
        return emit_pattern(e, value);
    case KEY_FORMAT:
        return emit_format(e, value);
    case KEY_MAX_ITEMS:
        return emit_count(e, OP_MAX_ITEMS, KINDS_ARRAY, value);
    case KEY_MIN_ITEMS:
        return emit_count(e, OP_MIN_ITEMS, KINDS_ARRAY, value);
    case KEY_UNIQUE:
        return json_kind_of(value) == JSON_TRUE ? add_op(e, OP_UNIQUE, KINDS_ARRAY, 0, 0) : MR_OK;
    case KEY_ITEMS:
        return emit_items(e);
    case KEY_CONTAINS:
        return emit_child(e, OP_CONTAINS, KINDS_ARRAY, value);
    case KEY_MAX_PROPERTIES:
        return emit_count(e, OP_MAX_PROPERTIES, KINDS_OBJECT, value);
    case KEY_MIN_PROPERTIES:
        return emit_count(e, OP_MIN_PROPERTIES, KINDS_OBJECT, value);
    case KEY_MEMBERS:
        return emit_members(e);
    case KEY_PROPERTY_NAMES:
        return emit_child(e, OP_PROPERTY_NAMES, KINDS_OBJECT, value);
    case KEY_DEPENDENCIES:
        return emit_dependencies(e, value);
    case KEY_ALL_OF:
        return emit_list(e, OP_ALL_OF, value);
    case KEY_ANY_OF:
        return emit_list(e, OP_ANY_OF, value);
    case KEY_ONE_OF:
        return emit_list(e, OP_ONE_OF, value);
    case KEY_NOT:
        return emit_child(e, OP_NOT, KINDS_ALL, value);
    case KEY_IF:
        return emit_if(e, value);
    }
    return MR_OK;
}

static mr_err emit_reference(struct emit *e, json_value ref) {
    uint32_t document;
    uint32_t tape_node;
    uint32_t node;
    uint32_t base = e->c->schema->documents.ptr[e->job->document]->bases[e->schema.node];
    MR_TRY(reference_find(e->c, e->job->document, base, ref, &document, &tape_node));
    MR_TRY(schema_node_at(e->c, document, tape_node, &node));
    return add_op(e, OP_REF, KINDS_ALL, node, 0);
}

static mr_err emit_object(struct emit *e) {
    json_value ref = json_find(e->schema, MR_STR("$ref"));
    if (!json_is_absent(ref)) {
        return emit_reference(e, ref);
    }
    for (json_iter it = json_iter_of(e->schema); json_next(&it);) {
        const struct keyword *keyword = keyword_find(it.name);
        MR_TRY(keyword == NULL ? add_ignored(e, it.name.node)
                               : emit_keyword(e, keyword->key, it.value));
    }
    return MR_OK;
}

mr_err emit_schema(struct compiler *c, const struct job *job) {
    const struct document *document = c->schema->documents.ptr[job->document];
    struct emit e = {c, c->schema, job, {&document->tape, job->tape_node}, false, false};
    uint32_t first = c->schema->ops.n;
    enum json_kind kind = json_kind_of(e.schema);
    if (kind == JSON_FALSE) {
        MR_TRY(add_op(&e, OP_FALSE, KINDS_ALL, 0, 0));
    } else if (kind == JSON_OBJECT) {
        MR_TRY(emit_object(&e));
    }
    c->schema->nodes.ptr[job->node].first = first;
    c->schema->nodes.ptr[job->node].n = c->schema->ops.n - first;
    return MR_OK;
}
