/* The tree of paths and values. See trie.h.
 *
 *      root ──"data"──▶ ● ──"sim_sid"──▶ ● ══"HS1"══▶ cells: run 7, run 9
 *        │                └─"network"──▶ ● ──"mcc"──▶ ● ══310══▶ cells: run 8
 *        ├──"subject"─▶ ● ══"a"══▶ cells: run 3
 *        └ cells: run 1, run 2 (without a key)
 *
 * All edges of all roots are one hash table from (parent, kind, text) to the child, open addressing
 * at half load. An event is walked along the tree: at an object, either the few names that the tree
 * has there are looked for among the members, or the members are looked up in the tree, whichever
 * is less; a scalar is looked up once among the values. So what an event costs depends on its own
 * size and on the filters found, not on the others.
 *
 * A value inside arrays counts for the path of the outermost one, at every level: patterns match
 * where any item does, and the machine has the last word. Then one leaf may be met many times: it
 * is marked, so that the runs behind it are listed once. */
#include "route/trie.h"

#include "base/mem.h"
#include "route/filter/condition.h"

#include <string.h>

#define SEED          UINT64_C(0x74726965)
#define PARENT_MIX    UINT64_C(0x9e3779b97f4a7c15)
#define FIND_MAX      4U /* names at a node up to which the event's object is searched by name */
#define TEXTS_MAX     ((size_t)1 << 30)
#define NUMBER_MAX    ((size_t)1 << 20)
#define ITEMS_MAX     ((size_t)UINT32_MAX / 2)
#define BITS_PER_WORD 64U

void trie_init(struct trie *trie) {
    *trie = (struct trie){.n_nodes = 1, .n_cells = 1};
    mr_arena_init(&trie->texts, TEXTS_MAX);
}

void trie_done(struct trie *trie) {
    mr_free(trie->nodes);
    mr_free(trie->cells);
    mr_free(trie->slots);
    mr_arena_done(&trie->texts);
}

size_t trie_bytes(const struct trie *trie) {
    return trie->cap_nodes * sizeof *trie->nodes + trie->cap_cells * sizeof *trie->cells +
           trie->n_slots * sizeof *trie->slots;
}

/* ---- building ---- */

static uint64_t node_hash(uint32_t parent, uint32_t kind, mr_str text) {
    return mr_str_hash(text, SEED + parent * PARENT_MIX + kind);
}

/* The node, or TRIE_NONE. */
static uint32_t find_node(const struct trie *trie, uint32_t parent, uint32_t kind, mr_str text) {
    if (trie->n_slots == 0) {
        return TRIE_NONE;
    }
    uint64_t hash = node_hash(parent, kind, text);
    for (size_t at = hash & (trie->n_slots - 1); trie->slots[at] != TRIE_NONE;
         at = (at + 1) & (trie->n_slots - 1)) {
        const struct trie_node *node = &trie->nodes[trie->slots[at]];
        if (node->hash == hash && node->parent == parent && node->kind == kind &&
            mr_str_eq(node->text, text)) {
            return trie->slots[at];
        }
    }
    return TRIE_NONE;
}

static void put_slot(uint32_t *slots, size_t n_slots, uint64_t hash, uint32_t number) {
    size_t at = hash & (n_slots - 1);
    while (slots[at] != TRIE_NONE) {
        at = (at + 1) & (n_slots - 1);
    }
    slots[at] = number;
}

/* Room for one more in the table. */
static mr_err grow_slots(struct trie *trie) {
    if (2 * (trie->n_nodes + 1) <= trie->n_slots) {
        return MR_OK;
    }
    size_t wanted = trie->n_slots == 0 ? 16 : 2 * trie->n_slots;
    uint32_t *slots = mr_calloc(wanted, sizeof *slots);
    if (slots == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    for (size_t i = 1; i < trie->n_nodes; i++) {
        if (trie->nodes[i].kind != TRIE_ROOT) {
            put_slot(slots, wanted, trie->nodes[i].hash, (uint32_t)i);
        }
    }
    mr_free(trie->slots);
    trie->slots = slots;
    trie->n_slots = wanted;
    return MR_OK;
}

/* Room for item n of an array that has `cap`. */
static mr_err grow(void **array, size_t *cap, size_t n, size_t size) {
    if (n < *cap) {
        return MR_OK;
    }
    if (n >= ITEMS_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    size_t wanted = *cap == 0 ? 16 : 2 * *cap;
    wanted = wanted <= n ? n + 1 : wanted;
    void *larger = mr_realloc(*array, wanted * size);
    if (larger == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    *array = larger;
    *cap = wanted;
    return MR_OK;
}

static mr_err add_node(struct trie *trie, struct trie_node node, uint32_t *ret_number) {
    void *nodes = trie->nodes;
    mr_err err = grow(&nodes, &trie->cap_nodes, trie->n_nodes, sizeof *trie->nodes);
    trie->nodes = nodes;
    MR_TRY(err);
    MR_TRY(grow_slots(trie));
    uint32_t number = (uint32_t)trie->n_nodes++;
    trie->nodes[number] = node;
    if (node.kind != TRIE_ROOT) {
        put_slot(trie->slots, trie->n_slots, node.hash, number);
    }
    *ret_number = number;
    return MR_OK;
}

mr_err trie_root(struct trie *trie, uint32_t *ret_root) {
    return add_node(trie, (struct trie_node){.kind = TRIE_ROOT}, ret_root);
}

/* The child, made where it is missing. */
static mr_err take_node(struct trie *trie, uint32_t parent, uint32_t kind, mr_str text,
                        uint32_t *ret_number) {
    *ret_number = find_node(trie, parent, kind, text);
    if (*ret_number != TRIE_NONE) {
        return MR_OK;
    }
    uint32_t number;
    MR_TRY(add_node(
        trie,
        (struct trie_node){
            .hash = node_hash(parent, kind, text), .text = text, .parent = parent, .kind = kind},
        &number));
    struct trie_node *above = &trie->nodes[parent];
    if (kind == TRIE_NAME) {
        trie->nodes[number].next_name = above->first_name;
        above->first_name = number;
        above->n_names++;
    } else {
        above->n_values++;
    }
    *ret_number = number;
    return MR_OK;
}

/* Once, also where a filter spells a value twice. */
static mr_err add_cell(struct trie *trie, uint32_t node, uint32_t run) {
    uint32_t first = trie->nodes[node].first_cell;
    if (first != TRIE_NONE && trie->cells[first].run == run) {
        return MR_OK;
    }
    void *cells = trie->cells;
    mr_err err = grow(&cells, &trie->cap_cells, trie->n_cells, sizeof *trie->cells);
    trie->cells = cells;
    MR_TRY(err);
    trie->cells[trie->n_cells] = (struct trie_cell){run, first};
    trie->nodes[node].first_cell = (uint32_t)trie->n_cells++;
    return MR_OK;
}

static bool is_number(mr_str text) {
    return text.len > 0 && (text.ptr[0] == '-' || (text.ptr[0] >= '0' && text.ptr[0] <= '9'));
}

/* A key's value as kind and text: without the quote, numbers in one spelling. */
static mr_err read_value(struct trie *trie, mr_str value, uint32_t *ret_kind, mr_str *ret_text) {
    if (mr_str_starts(value, MR_STR("\""))) {
        *ret_kind = TRIE_STRING;
        *ret_text = mr_str_slice(value, 1, value.len);
        return MR_OK;
    }
    *ret_kind = TRIE_LITERAL;
    *ret_text = value;
    if (!is_number(value)) {
        return MR_OK;
    }
    mr_buf text;
    mr_buf_init(&text, NUMBER_MAX);
    struct decimal number = decimal_of(value);
    mr_err err = decimal_append(&number, &text);
    if (mr_is_ok(err) && !mr_str_eq(mr_buf_view(&text), value)) {
        *ret_text = mr_arena_str(&trie->texts, mr_buf_view(&text));
        err = mr_str_is_absent(*ret_text) ? MR_ERR(MR_E_NOMEM) : MR_OK;
    }
    mr_buf_done(&text);
    return err;
}

mr_err trie_add(struct trie *trie, uint32_t root, const struct filter *filter, uint32_t run) {
    struct filter_key key;
    if (!filter_key_of(filter, &key)) {
        return add_cell(trie, root, run);
    }
    uint32_t node = root;
    size_t at = 0;
    do {
        size_t end = mr_str_find_byte(key.path, '\0', at);
        end = end < key.path.len ? end : key.path.len;
        MR_TRY(take_node(trie, node, TRIE_NAME, mr_str_slice(key.path, at, end), &node));
        at = end + 1;
    } while (at <= key.path.len);
    for (size_t i = 0; i < key.n_values; i++) {
        uint32_t kind;
        uint32_t leaf;
        mr_str text;
        MR_TRY(read_value(trie, key.values[i], &kind, &text));
        MR_TRY(take_node(trie, node, kind, text, &leaf));
        MR_TRY(add_cell(trie, leaf, run));
    }
    return MR_OK;
}

/* ---- looking up ---- */

void trie_search_init(struct trie_search *search) {
    *search = (struct trie_search){.n_runs = 0};
    mr_buf_init(&search->scratch, NUMBER_MAX);
}

void trie_search_done(struct trie_search *search) {
    mr_free(search->runs);
    mr_free(search->seen);
    mr_buf_done(&search->scratch);
}

static mr_err list_cells(const struct trie *trie, uint32_t cell, struct trie_search *search) {
    for (; cell != TRIE_NONE; cell = trie->cells[cell].next) {
        void *runs = search->runs;
        mr_err err = grow(&runs, &search->cap_runs, search->n_runs, sizeof *search->runs);
        search->runs = runs;
        MR_TRY(err);
        search->runs[search->n_runs++] = trie->cells[cell].run;
    }
    return MR_OK;
}

/* From here on leaves are marked. */
static mr_err meet_array(const struct trie *trie, struct trie_search *search) {
    if (search->has_arrays) {
        return MR_OK;
    }
    size_t words = trie->n_nodes / BITS_PER_WORD + 1;
    if (words > search->n_seen) {
        uint64_t *seen = mr_realloc(search->seen, words * sizeof *seen);
        if (seen == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        search->seen = seen;
        search->n_seen = words;
    }
    memset(search->seen, 0, words * sizeof *search->seen);
    search->has_arrays = true;
    return MR_OK;
}

static mr_err list_leaf(const struct trie *trie, uint32_t node, uint32_t kind, mr_str text,
                        struct trie_search *search) {
    uint32_t leaf = find_node(trie, node, kind, text);
    if (leaf == TRIE_NONE) {
        return MR_OK;
    }
    if (search->has_arrays) {
        uint64_t bit = UINT64_C(1) << (leaf % BITS_PER_WORD);
        if ((search->seen[leaf / BITS_PER_WORD] & bit) != 0) {
            return MR_OK;
        }
        search->seen[leaf / BITS_PER_WORD] |= bit;
    }
    return list_cells(trie, trie->nodes[leaf].first_cell, search);
}

static mr_err list_number(const struct trie *trie, uint32_t node, mr_str text,
                          struct trie_search *search) {
    struct decimal number = decimal_of(text);
    mr_buf_reset(&search->scratch);
    MR_TRY(decimal_append(&number, &search->scratch));
    return list_leaf(trie, node, TRIE_LITERAL, mr_buf_view(&search->scratch), search);
}

/* A string's text: in place, or decoded into scratch. */
static mr_err read_string(json_value string, struct trie_search *search, mr_str *ret_text) {
    if (json_string_is_plain(string)) {
        mr_str raw = json_raw(string);
        *ret_text = mr_str_slice(raw, 1, raw.len - 1);
        return MR_OK;
    }
    mr_buf_reset(&search->scratch);
    MR_TRY(json_string_append(string, &search->scratch));
    *ret_text = mr_buf_view(&search->scratch);
    return MR_OK;
}

static mr_err walk(const struct trie *trie, uint32_t node, json_value value,
                   struct trie_search *search);

static mr_err walk_object(const struct trie *trie, uint32_t node, json_value object,
                          struct trie_search *search) {
    uint32_t n_names = trie->nodes[node].n_names;
    if (n_names <= FIND_MAX) {
        for (uint32_t child = trie->nodes[node].first_name; child != TRIE_NONE;
             child = trie->nodes[child].next_name) {
            MR_TRY(walk(trie, child, json_find(object, trie->nodes[child].text), search));
        }
        return MR_OK;
    }
    for (json_iter it = json_iter_of(object); json_next(&it);) {
        mr_str name;
        MR_TRY(read_string(it.name, search, &name));
        uint32_t child = find_node(trie, node, TRIE_NAME, name);
        if (child != TRIE_NONE) {
            MR_TRY(walk(trie, child, it.value, search));
        }
    }
    return MR_OK;
}

static mr_err walk_array(const struct trie *trie, uint32_t node, json_value array,
                         struct trie_search *search) {
    MR_TRY(meet_array(trie, search));
    for (json_iter it = json_iter_of(array); json_next(&it);) {
        MR_TRY(walk(trie, node, it.value, search));
    }
    return MR_OK;
}

/* Recursion goes as deep as the tape is nested, which the event's limits bound. */
static mr_err walk(const struct trie *trie, uint32_t node, json_value value,
                   struct trie_search *search) {
    enum json_kind kind = json_kind_of(value);
    mr_str text;
    switch (kind) {
    case JSON_ABSENT:
        return MR_OK;
    case JSON_OBJECT:
        return walk_object(trie, node, value, search);
    case JSON_ARRAY:
        return walk_array(trie, node, value, search);
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE:
    case JSON_NUMBER:
    case JSON_STRING:
        break;
    }
    if (trie->nodes[node].n_values == 0) {
        return MR_OK;
    }
    if (kind == JSON_STRING) {
        MR_TRY(read_string(value, search, &text));
        return list_leaf(trie, node, TRIE_STRING, text, search);
    }
    text = json_raw(value);
    return kind == JSON_NUMBER ? list_number(trie, node, text, search)
                               : list_leaf(trie, node, TRIE_LITERAL, text, search);
}

static mr_err walk_attribute(const struct trie *trie, uint32_t node,
                             const struct filter_attribute *attribute, struct trie_search *search) {
    switch (attribute->type) {
    case FILTER_STRING:
        return list_leaf(trie, node, TRIE_STRING, attribute->text, search);
    case FILTER_INTEGER:
        return list_number(trie, node, attribute->text, search);
    case FILTER_BOOLEAN:
        return list_leaf(trie, node, TRIE_LITERAL, attribute->text, search);
    }
    return MR_OK;
}

/* Doubles stand beside one another; each stays once. A filter that asks for several values is
 * found once for each that the event has. */
static void drop_doubles(struct trie_search *search) {
    size_t kept = 0;
    for (size_t i = 0; i < search->n_runs; i++) {
        if (kept == 0 || search->runs[kept - 1] != search->runs[i]) {
            search->runs[kept++] = search->runs[i];
        }
    }
    search->n_runs = kept;
}

/* Heap sort: in place, and no case is worse. */
static void sort_runs(uint32_t *runs, size_t n) {
    for (size_t built = n / 2, end = n; end > 1;) {
        uint32_t moved;
        if (built > 0) {
            moved = runs[--built];
        } else {
            moved = runs[--end];
            runs[end] = runs[0];
        }
        size_t at = built;
        for (size_t child = 2 * at + 1; child < end; child = 2 * at + 1) {
            child += child + 1 < end && runs[child + 1] > runs[child] ? 1 : 0;
            if (runs[child] <= moved) {
                break;
            }
            runs[at] = runs[child];
            at = child;
        }
        runs[at] = moved;
    }
}

static mr_err walk_named(const struct trie *trie, uint32_t node, const struct filter_event *event,
                         struct trie_search *search) {
    mr_str name = trie->nodes[node].text;
    if (mr_str_eq(name, MR_STR("data"))) {
        return walk(trie, node, event->data, search);
    }
    for (size_t i = 0; i < event->n_attributes; i++) {
        if (mr_str_eq(event->attributes[i].name, name)) {
            return walk_attribute(trie, node, &event->attributes[i], search);
        }
    }
    return MR_OK;
}

/* As walk_object, of the event itself. */
static mr_err walk_event(const struct trie *trie, uint32_t root, const struct filter_event *event,
                         struct trie_search *search) {
    if (trie->nodes[root].n_names <= FIND_MAX) {
        for (uint32_t child = trie->nodes[root].first_name; child != TRIE_NONE;
             child = trie->nodes[child].next_name) {
            MR_TRY(walk_named(trie, child, event, search));
        }
        return MR_OK;
    }
    for (size_t i = 0; i < event->n_attributes; i++) {
        uint32_t node = find_node(trie, root, TRIE_NAME, event->attributes[i].name);
        if (node != TRIE_NONE) {
            MR_TRY(walk_attribute(trie, node, &event->attributes[i], search));
        }
    }
    uint32_t node = find_node(trie, root, TRIE_NAME, MR_STR("data"));
    return node == TRIE_NONE ? MR_OK : walk(trie, node, event->data, search);
}

mr_err trie_find(const struct trie *trie, uint32_t root, const struct filter_event *event,
                 struct trie_search *search) {
    search->n_runs = 0;
    search->has_arrays = false;
    MR_TRY(list_cells(trie, trie->nodes[root].first_cell, search));
    MR_TRY(walk_event(trie, root, event, search));
    if (search->has_arrays) {
        sort_runs(search->runs, search->n_runs);
        drop_doubles(search);
    }
    return MR_OK;
}
