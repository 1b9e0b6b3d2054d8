/* A document to a program. See schema.h.
 *
 *     text ─ read, checked, `$id`s registered (document.c) ─ each subschema to its operations
 *     (emit.c), references followed when they are met ─ circles refused ─ done
 *
 * Subschemas wait in a list of jobs, so that nothing here recurses but the walk over the document,
 * whose depth is limited. Every subschema of every document is compiled, reached or not: a wrong
 * reference in a definition that nobody uses is a mistake of the document.
 *
 * References that lead back to themselves at the same instance (`{"allOf":[{"$ref":"#"}]}`) have no
 * meaning and would never end: they are looked for, along the operations that stay at the same
 * instance, once all is compiled. */
#include "schema/private.h"

#include "base/mem.h"
#include "embed/meta.h"
#include "json/pointer.h"
#include "schema/keywords.h"

#define ARENA_MAX   ((size_t)16 << 20)
#define IGNORED_MAX ((size_t)1 << 20)

mr_err schema_vec_reserve(void *ptr_to_ptr, uint32_t *cap, uint32_t n, uint32_t more, size_t size) {
    if (*cap - n >= more) {
        return MR_OK;
    }
    uint32_t wanted = *cap < 8 ? 8 : *cap * 2;
    wanted = wanted - n < more ? n + more : wanted;
    void *old;
    memcpy(&old, ptr_to_ptr, sizeof old);
    void *grown = mr_realloc(old, (size_t)wanted * size);
    if (grown == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    memcpy(ptr_to_ptr, &grown, sizeof grown);
    *cap = wanted;
    return MR_OK;
}

/* By walking down to it. */
mr_err schema_put_pointer(json_value root, uint32_t target, mr_buf *out) {
    json_value at = root;
    while (at.node != target) {
        size_t index = 0;
        bool found = false;
        for (json_iter it = json_iter_of(at); !found && json_next(&it); index++) {
            bool is_name = it.is_object && it.name.node == target;
            found = is_name || (target >= it.value.node && target < it.at);
            if (!found) {
                continue;
            }
            if (it.is_object) {
                mr_buf name;
                mr_buf_init(&name, SCHEMA_DOCUMENT_BYTES_MAX);
                mr_err err = json_string_append(it.name, &name);
                err = mr_is_ok(err) ? json_pointer_push(out, mr_buf_view(&name)) : err;
                mr_buf_done(&name);
                MR_TRY(err);
            } else {
                MR_TRY(json_pointer_push_index(out, index));
            }
            at = it.value;
            if (is_name) {
                return MR_OK;
            }
        }
        MR_ASSERT(found);
    }
    return MR_OK;
}

/* As much of it as fits, whole tokens. */
static void set_pointer(struct schema_fault *fault, json_value root, uint32_t node) {
    mr_buf pointer;
    mr_buf_init(&pointer, sizeof fault->pointer - 1);
    mr_ignore(schema_put_pointer(root, node, &pointer), "a pointer that is cut is still one");
    memcpy(fault->pointer, mr_buf_view(&pointer).ptr, pointer.len);
    fault->pointer[pointer.len] = '\0';
    mr_buf_done(&pointer);
}

mr_err schema_refuse(struct compiler *c, uint32_t document, uint32_t at, const char *format, ...) {
    mr_buf text;
    mr_buf_init(&text, 2048);
    va_list args;
    va_start(args, format);
    mr_err err = mr_buf_vprintf(&text, format, args);
    va_end(args);
    mr_str whole = mr_buf_view(&text);
    whole.len = whole.len < sizeof c->fault->expected ? whole.len : sizeof c->fault->expected - 1;
    while (whole.len > 0 && whole.len < text.len && ((uint8_t)text.ptr[whole.len] & 0xC0) == 0x80) {
        whole.len--;
    }
    memcpy(c->fault->expected, whole.ptr, whole.len);
    c->fault->expected[whole.len] = '\0';
    mr_buf_done(&text);
    MR_TRY(err);
    if (document == NONE) {
        return MR_ERR(SCHEMA_E_REFUSED);
    }
    const json_tape *tape = &c->schema->documents.ptr[document]->tape;
    if (document == 0) {
        set_pointer(c->fault, json_root(tape), at);
        c->fault->offset = (int64_t)json_offset((json_value){tape, at});
    }
    return MR_ERR(SCHEMA_E_REFUSED);
}

mr_err schema_keep_string(struct compiler *c, json_value string, mr_str *ret_s) {
    return json_string(string, &c->schema->arena, ret_s);
}

mr_err schema_node_at(struct compiler *c, uint32_t document, uint32_t tape_node,
                      uint32_t *ret_node) {
    struct document *d = c->schema->documents.ptr[document];
    if (d->nodes[tape_node] == NONE) {
        struct node node = {.types = KINDS_ALL};
        struct job job = {document, tape_node, c->schema->nodes.n};
        VEC_PUSH(&c->schema->nodes, node);
        VEC_PUSH(&c->jobs, job);
        d->nodes[tape_node] = job.node;
    }
    *ret_node = d->nodes[tape_node];
    return MR_OK;
}

/* Every subschema of a document that its walk met. */
static mr_err add_jobs(struct compiler *c, uint32_t document) {
    struct document *d = c->schema->documents.ptr[document];
    for (uint32_t i = 0; i < d->tape.len; i++) {
        uint32_t node;
        if (d->bases[i] != NONE) {
            MR_TRY(schema_node_at(c, document, i, &node));
        }
    }
    return MR_OK;
}

/* --- references --- */

/* The document or subschema of that URI, or NULL. */
static const struct target *find_target(const struct compiler *c, mr_str uri) {
    for (uint32_t i = 0; i < c->targets.n; i++) {
        const struct target *t = &c->targets.ptr[i];
        if (mr_str_is_absent(t->name) && mr_str_eq(c->bases.ptr[t->base], uri)) {
            return t;
        }
    }
    return NULL;
}

/* The `#name` within it, or NULL: under the base that its own `$id` set. */
static const struct target *find_named(const struct compiler *c, const struct target *within,
                                       mr_str name) {
    uint32_t base = c->schema->documents.ptr[within->document]->bases[within->node];
    for (uint32_t i = 0; i < c->targets.n; i++) {
        const struct target *t = &c->targets.ptr[i];
        if (t->base == base && !mr_str_is_absent(t->name) && mr_str_eq(t->name, name)) {
            return t;
        }
    }
    return NULL;
}

/* The catalogue's path of a URI: as it is, or below one of the bases. Absent: not of the catalogue.
 */
static mr_str catalogue_path(const struct schema_library *library, mr_str uri) {
    for (size_t i = 0; i < library->n_bases; i++) {
        mr_str base = library->bases[i];
        while (base.len > 0 && base.ptr[base.len - 1] == '/') {
            base.len--;
        }
        if (mr_str_starts(uri, base) && uri.len > base.len && uri.ptr[base.len] == '/') {
            uri = mr_str_slice(uri, base.len, uri.len);
            break;
        }
    }
    return mr_str_starts(uri, MR_STR("/")) && !mr_str_starts(uri, MR_STR("//")) ? uri : MR_STR_NONE;
}

/* Brings the document of that URI in; *uri becomes the name it is known by. False in *ret_found:
 * there is none. */
static mr_err load(struct compiler *c, mr_str *uri, bool *ret_found) {
    mr_str text = MR_STR_NONE;
    uint32_t document;
    if (mr_str_eq(*uri, META_URI)) {
        text = mr_embedded_meta[0].bytes;
    } else if (c->library != NULL) {
        mr_str path = catalogue_path(c->library, *uri);
        if (mr_str_is_absent(path)) {
            *ret_found = false;
            return MR_OK;
        }
        *uri = path;
        *ret_found = find_target(c, path) != NULL;
        if (*ret_found) {
            return MR_OK;
        }
        text = c->library->find != NULL ? c->library->find(c->library->ctx, path) : MR_STR_NONE;
    }
    *ret_found = !mr_str_is_absent(text);
    if (!*ret_found) {
        return MR_OK;
    }
    MR_TRY(document_add(c, text, *uri, &document));
    return add_jobs(c, document);
}

/* Follows a JSON pointer below a target; a base met on the way is the base of what it leads to. */
static mr_err follow(struct compiler *c, const struct target *from, mr_str pointer, mr_buf *token,
                     uint32_t *ret_node) {
    const struct document *d = c->schema->documents.ptr[from->document];
    json_value at = {&d->tape, from->node};
    uint32_t base = d->bases[from->node];
    mr_err err = MR_OK;
    *ret_node = NONE;
    while (json_pointer_next(&pointer, token, &err)) {
        json_value next = JSON_NONE;
        if (json_kind_of(at) == JSON_OBJECT) {
            next = json_find(at, mr_buf_view(token));
        } else {
            mr_buf one;
            mr_buf_init(&one, URI_BYTES_MAX + 1);
            err = json_pointer_push(&one, mr_buf_view(token));
            if (mr_is_ok(err)) {
                mr_ignore(json_pointer_find(at, mr_buf_view(&one), &next), "absent then");
            }
            mr_buf_done(&one);
            MR_TRY(err);
        }
        if (json_is_absent(next)) {
            return MR_OK;
        }
        at = next;
        base = d->bases[at.node] != NONE ? d->bases[at.node] : base;
    }
    MR_TRY(err);
    if (d->bases[at.node] == NONE) {
        MR_TRY(document_check_below(c, from->document, at.node, base));
    }
    *ret_node = at.node;
    return MR_OK;
}

/* What the reference's fragment names at its document, which is there. */
static mr_err find_fragment(struct compiler *c, mr_str uri, mr_str fragment, mr_buf *decoded,
                            uint32_t *ret_document, uint32_t *ret_node) {
    bool good;
    mr_buf token;
    *ret_node = NONE;
    MR_TRY(uri_decode(fragment, decoded, &good));
    mr_str name = mr_buf_view(decoded);
    if (!good) {
        return MR_OK;
    }
    struct target target = *find_target(c, uri);
    if (name.len > 0 && name.ptr[0] != '/') {
        const struct target *named = find_named(c, &target, name);
        if (named != NULL) {
            *ret_document = named->document;
            *ret_node = named->node;
        }
        return MR_OK;
    }
    *ret_document = target.document;
    if (!json_pointer_is_valid(name)) {
        return MR_OK;
    }
    mr_buf_init(&token, URI_BYTES_MAX);
    mr_err err = follow(c, &target, name, &token, ret_node);
    mr_buf_done(&token);
    return err;
}

static mr_err find_in(struct compiler *c, mr_str base, mr_str text, mr_buf *uri, mr_buf *decoded,
                      bool *ret_found, uint32_t *ret_document, uint32_t *ret_node) {
    mr_str fragment;
    *ret_found = true;
    *ret_node = NONE;
    MR_TRY(uri_resolve(base, text, uri, &fragment));
    mr_str name = mr_buf_view(uri);
    if (find_target(c, name) == NULL) {
        MR_TRY(load(c, &name, ret_found));
    }
    return *ret_found ? find_fragment(c, name, fragment, decoded, ret_document, ret_node) : MR_OK;
}

mr_err reference_find(struct compiler *c, uint32_t document, uint32_t base, json_value ref,
                      uint32_t *ret_document, uint32_t *ret_tape_node) {
    mr_str text;
    mr_buf uri;
    mr_buf decoded;
    bool found;
    MR_TRY(schema_keep_string(c, ref, &text));
    mr_buf_init(&uri, 4 * URI_BYTES_MAX);
    mr_buf_init(&decoded, URI_BYTES_MAX);
    mr_err err =
        find_in(c, c->bases.ptr[base], text, &uri, &decoded, &found, ret_document, ret_tape_node);
    mr_buf_done(&uri);
    mr_buf_done(&decoded);
    if (mr_err_is(err, MR_E_LIMIT)) {
        return schema_refuse(c, document, ref.node, "a shorter reference (uri_bytes_max)");
    }
    if (mr_err_is(err, SCHEMA_E_REFUSED) && *ret_tape_node == NONE &&
        c->fault->pointer[0] == '\0') {
        set_pointer(c->fault, json_root(ref.tape), document == 0 ? ref.node : 0);
    }
    MR_TRY(err);
    if (!found) {
        return schema_refuse(
            c, document, ref.node,
            "a reference within the document, to a schema of the catalogue or to the "
            "draft-07 meta-schema; nothing is fetched");
    }
    return *ret_tape_node != NONE
               ? MR_OK
               : schema_refuse(c, document, ref.node, "a reference that leads somewhere");
}

/* --- circles --- */

/* Calls with each node that an operation applies to the same instance, until one says false. */
struct circle_search {
    struct schema *schema;
    uint8_t *state; /* by node: 0 new, 1 on the way, 2 done */
    uint32_t *path;
    uint32_t *place; /* by depth: next neighbour to look at */
    uint32_t depth;
};

/* The k-th node that operations of `node` apply to the same instance, or NONE. */
static uint32_t neighbour(const struct schema *s, uint32_t node, uint32_t k) {
    const struct node *n = &s->nodes.ptr[node];
    for (uint32_t i = n->first; i < n->first + n->n; i++) {
        const struct op *op = &s->ops.ptr[i];
        if (op->code == OP_REF || op->code == OP_NOT || op->code == OP_IF) {
            uint32_t next[] = {op->a, op->code == OP_IF ? op->b : NONE,
                               op->code == OP_IF ? op->c : NONE};
            for (uint32_t j = 0; j < 3; j++) {
                if (next[j] != NONE && k-- == 0) {
                    return next[j];
                }
            }
        } else if (op->code == OP_ALL_OF || op->code == OP_ANY_OF || op->code == OP_ONE_OF) {
            if (k < op->b) {
                return s->lists.ptr[op->a + k];
            }
            k -= op->b;
        } else if (op->code == OP_DEPENDENCIES) {
            for (uint32_t j = 0; j < op->b; j++) {
                uint32_t next = s->dependencies.ptr[op->a + j].node;
                if (next != NONE && k-- == 0) {
                    return next;
                }
            }
        }
    }
    return NONE;
}

/* Depth first from `start`. True: it comes back to a node on the way, *ret_node. */
static bool find_circle(struct circle_search *s, uint32_t start, uint32_t *ret_node) {
    s->path[0] = start;
    s->place[0] = 0;
    s->depth = 1;
    s->state[start] = 1;
    while (s->depth > 0) {
        uint32_t node = s->path[s->depth - 1];
        uint32_t next = neighbour(s->schema, node, s->place[s->depth - 1]++);
        if (next == NONE) {
            s->state[node] = 2;
            s->depth--;
        } else if (s->state[next] == 1) {
            *ret_node = next;
            return true;
        } else if (s->state[next] == 0) {
            s->state[next] = 1;
            s->path[s->depth] = next;
            s->place[s->depth++] = 0;
        }
    }
    return false;
}

static mr_err refuse_circle(struct compiler *c, uint32_t node) {
    for (uint32_t d = 0; d < c->schema->documents.n; d++) {
        const struct document *document = c->schema->documents.ptr[d];
        for (uint32_t i = 0; i < document->tape.len; i++) {
            if (document->nodes[i] == node) {
                return schema_refuse(c, d, i,
                                     "references that do not lead back here for the same value");
            }
        }
    }
    return MR_ERR(SCHEMA_E_REFUSED);
}

static mr_err check_circles(struct compiler *c) {
    uint32_t n = c->schema->nodes.n;
    MR_AUTO_FREE uint8_t *state = mr_calloc(n, 1);
    MR_AUTO_FREE uint32_t *path = mr_calloc(n, sizeof *path);
    MR_AUTO_FREE uint32_t *place = mr_calloc(n, sizeof *place);
    if (state == NULL || path == NULL || place == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    struct circle_search search = {c->schema, state, path, place, 0};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t node;
        if (state[i] == 0 && find_circle(&search, i, &node)) {
            return refuse_circle(c, node);
        }
    }
    return MR_OK;
}

/* --- all of it --- */

static mr_err compile(struct compiler *c, mr_str text) {
    uint32_t document;
    MR_TRY(document_add(c, text, MR_STR(""), &document));
    MR_TRY(schema_node_at(c, document, 0, &c->schema->root));
    MR_TRY(add_jobs(c, document));
    while (c->jobs.n > 0) {
        struct job job = c->jobs.ptr[--c->jobs.n];
        MR_TRY(emit_schema(c, &job));
    }
    return check_circles(c);
}

mr_err schema_compile(mr_str document, const struct schema_library *library,
                      struct schema **ret_schema, mr_buf *ret_ignored,
                      struct schema_fault *ret_fault) {
    struct compiler c = {.library = library, .fault = ret_fault, .ignored = ret_ignored};
    *ret_fault = (struct schema_fault){.offset = -1};
    c.schema = MR_NEW(struct schema);
    if (c.schema == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_arena_init(&c.schema->arena, ARENA_MAX);
    mr_buf_init(&c.scratch, 4 * URI_BYTES_MAX);
    mr_err err = ret_ignored != NULL ? mr_buf_byte(ret_ignored, '[') : MR_OK;
    err = mr_is_ok(err) ? compile(&c, document) : err;
    err = mr_is_ok(err) && ret_ignored != NULL ? mr_buf_byte(ret_ignored, ']') : err;
    mr_buf_done(&c.scratch);
    mr_free(c.bases.ptr);
    mr_free(c.targets.ptr);
    mr_free(c.jobs.ptr);
    for (uint32_t i = 0; i < c.schema->documents.n; i++) {
        mr_free(c.schema->documents.ptr[i]->nodes);
        mr_free(c.schema->documents.ptr[i]->bases);
        c.schema->documents.ptr[i]->nodes = NULL;
        c.schema->documents.ptr[i]->bases = NULL;
    }
    if (mr_is_err(err)) {
        schema_free(c.schema);
        return mr_err_is(err, SCHEMA_E_REFUSED) ? err : MR_ERR(MR_E_NOMEM);
    }
    *ret_schema = c.schema;
    return MR_OK;
}

void schema_free(struct schema *schema) {
    if (schema == NULL) {
        return;
    }
    for (uint32_t i = 0; i < schema->documents.n; i++) {
        json_tape_done(&schema->documents.ptr[i]->tape);
        mr_free((void *)(uintptr_t)schema->documents.ptr[i]->text.ptr);
        mr_free(schema->documents.ptr[i]);
    }
    for (uint32_t i = 0; i < schema->patterns.n; i++) {
        pattern_free(schema->patterns.ptr[i]);
    }
    mr_free(schema->documents.ptr);
    mr_free(schema->nodes.ptr);
    mr_free(schema->ops.ptr);
    mr_free(schema->members.ptr);
    mr_free(schema->member_shapes.ptr);
    mr_free(schema->item_shapes.ptr);
    mr_free(schema->dependencies.ptr);
    mr_free(schema->numbers.ptr);
    mr_free(schema->values.ptr);
    mr_free(schema->hashes.ptr);
    mr_free(schema->patterns.ptr);
    mr_free(schema->names.ptr);
    mr_free(schema->lists.ptr);
    mr_arena_done(&schema->arena);
    mr_free(schema);
}

size_t schema_bytes(const struct schema *s) {
    size_t bytes = sizeof *s + s->arena.used;
    for (uint32_t i = 0; i < s->documents.n; i++) {
        const struct document *d = s->documents.ptr[i];
        bytes += sizeof *d + d->text.len + d->tape.cap * sizeof(json_node);
    }
    for (uint32_t i = 0; i < s->patterns.n; i++) {
        bytes += pattern_bytes(s->patterns.ptr[i]);
    }
    bytes += s->nodes.cap * sizeof(struct node) + s->ops.cap * sizeof(struct op) +
             s->members.cap * sizeof(struct member) +
             s->member_shapes.cap * sizeof(struct member_shape) +
             s->item_shapes.cap * sizeof(struct item_shape) +
             s->dependencies.cap * sizeof(struct dependency) +
             s->numbers.cap * sizeof(struct number) + s->values.cap * sizeof(json_value);
    return bytes + s->hashes.cap * sizeof(uint64_t) + s->names.cap * sizeof(mr_str) +
           s->lists.cap * sizeof(uint32_t) + s->patterns.cap * sizeof(struct pattern *);
}
