/* Compiles a projection. See schema.h and project.h.
 *
 * A place of `data` is described by several schemas at once: what `$ref` leads to, the branches of
 * allOf, anyOf and oneOf, if/then/else, and dependencies that are schemas, all speak of the same
 * value. So a place is a pair of sets, the schemas of the older document and those of the newer one
 * that may speak of it, closed over those keywords; `not` declares nothing. Members and items lead
 * from a pair to other pairs, and the pairs met are numbered (the subset construction of automata),
 * so that recursive schemas end in circles and what runs is a flat graph.
 *
 * A member is left out where the newer set declares it and the older does not:
 *   declared by the newer: named by `properties` with anything but `false`;
 *   declared by the older: named by `properties` (not `false`), by `required` or a list of
 *   `dependencies` (leaving it out would break the older contract), matched by
 *   `patternProperties`, or taken by an `additionalProperties` that is a schema with something in
 *   it: that is a map, whose names are free. `additionalProperties: true` declares nothing.
 * What neither declares is kept. A branch of anyOf declares as surely as one of allOf: which of
 * them applied to an instance is not asked, so that the cost per event stays a look-up per member.
 *
 * Members that are named nowhere go to one place, of every patternProperties and
 * additionalProperties together. `contains` speaks of every item.
 *
 * Building is bounded by BUILD_STEPS_MAX; documents within their size limit that need more are
 * refused with MR_E_LIMIT (a set of sets can grow without measure, in theory). */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "base/mem.h"
#include "schema/project.h"
#include "schema/versions.h"

#include <pcre2.h>
#include <stdlib.h>

#define BUILD_STEPS_MAX UINT64_C(8000000)
#define BUILD_BYTES_MAX ((size_t)256 << 20)
#define STATES_MAX      (1u << 20)
#define PATTERN_STEPS   200
#define MATCH_LIMIT     100000
#define OLDER           0
#define NEWER           1
#define NAMES_LIST      UINT32_MAX /* entry.schema: named by the older without a schema */

/* A growing set of schemas of one side. */
struct set {
    json_value *at;
    uint32_t n;
    uint32_t cap;
    uint32_t *marks; /* per node of the tape: the round in which it came into the set */
};

struct edge {
    mr_str name;
    uint32_t to;
};

/* A place while it is built. */
struct state {
    const json_value *schemas[2];
    uint32_t n[2];
    uint64_t hash;
    struct edge *members;
    uint32_t n_members;
    uint32_t rest;
    uint32_t *items;
    uint32_t n_items;
    uint32_t items_rest;
    uint32_t live; /* what it is numbered among those something is left out of; or PROJECT_KEEP */
};

/* A name that a schema of the place declares. */
struct entry {
    mr_str name;
    json_value value; /* its schema; absent for NAMES_LIST */
    uint32_t side;
    uint32_t schema; /* which of the set */
};

/* A schema of the place that speaks of names it does not list. */
struct open_end {
    uint32_t side;
    uint32_t schema;
    json_value additional; /* a schema with something in it, or absent */
    bool covered;          /* scratch: the name at hand is matched by a pattern of it */
};

struct pattern {
    pcre2_code *code; /* owned; NULL: takes every name */
    json_value value;
    uint32_t open;
};

struct build {
    struct version_doc docs[2];
    mr_arena arena;
    uint64_t steps;
    uint32_t round;
    struct set sets[2];
    struct state *states; /* owned */
    uint32_t n_states;
    uint32_t cap_states;
    uint32_t *table; /* owned: open addressing, state + 1 */
    uint32_t table_size;
    /* of the place at hand, in the arena */
    struct entry *entries;
    uint32_t n_entries;
    struct open_end *opens;
    uint32_t n_opens;
    struct pattern *patterns;
    uint32_t n_patterns;
    pcre2_match_data *match;
    pcre2_match_context *match_context;
};

static mr_err spend(struct build *b, uint64_t steps) {
    if (steps > b->steps) {
        b->steps = 0;
        return MR_ERR(MR_E_LIMIT);
    }
    b->steps -= steps;
    return MR_OK;
}

static mr_err allocate(struct build *b, size_t n, size_t size, void **ret) {
    *ret = mr_arena_calloc(&b->arena, n == 0 ? 1 : n, size);
    return *ret == NULL ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

/* --- sets of schemas ---------------------------------------------------------------------------
 */

static void set_begin(struct build *b) {
    b->round++;
    b->sets[OLDER].n = 0;
    b->sets[NEWER].n = 0;
}

static mr_err set_add(struct build *b, uint32_t side, json_value schema) {
    struct set *set = &b->sets[side];
    MR_TRY(spend(b, 1));
    MR_TRY(version_follow(&b->docs[side], schema, &schema));
    if (json_kind_of(schema) != JSON_OBJECT || json_count(schema) == 0 ||
        set->marks[schema.node] == b->round) {
        return MR_OK;
    }
    if (set->n == set->cap) {
        uint32_t cap = set->cap == 0 ? 16 : set->cap * 2;
        json_value *at = mr_realloc(set->at, cap * sizeof *at);
        if (at == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        set->at = at;
        set->cap = cap;
    }
    set->marks[schema.node] = b->round;
    set->at[set->n++] = schema;
    return MR_OK;
}

static mr_err add_branches(struct build *b, uint32_t side, json_value branches) {
    if (json_kind_of(branches) == JSON_ARRAY || json_kind_of(branches) == JSON_OBJECT) {
        for (json_iter it = json_iter_of(branches); json_next(&it);) {
            MR_TRY(set_add(b, side, it.value)); /* lists of names are no schemas: passed over */
        }
    }
    return MR_OK;
}

static mr_err set_close(struct build *b, uint32_t side) {
    static const char *const branches[] = {"allOf", "anyOf", "oneOf", "dependencies"};
    static const char *const single[] = {"if", "then", "else"};
    for (uint32_t i = 0; i < b->sets[side].n; i++) {
        json_value schema = b->sets[side].at[i];
        for (size_t k = 0; k < sizeof branches / sizeof branches[0]; k++) {
            MR_TRY(add_branches(b, side, json_find(schema, mr_str_c(branches[k]))));
        }
        bool conditional = !json_is_absent(json_find(schema, MR_STR("if")));
        for (size_t k = 0; conditional && k < sizeof single / sizeof single[0]; k++) {
            MR_TRY(set_add(b, side, json_find(schema, mr_str_c(single[k]))));
        }
    }
    return spend(b, b->sets[side].n);
}

static int by_node(const void *a, const void *b) {
    uint32_t x = ((const json_value *)a)->node;
    uint32_t y = ((const json_value *)b)->node;
    return (x > y) - (x < y);
}

static bool same_state(const struct state *s, const struct build *b) {
    for (uint32_t side = OLDER; side <= NEWER; side++) {
        const struct set *set = &b->sets[side];
        if (s->n[side] != set->n) {
            return false;
        }
        for (uint32_t i = 0; i < set->n; i++) {
            if (s->schemas[side][i].node != set->at[i].node) {
                return false;
            }
        }
    }
    return true;
}

static uint64_t sets_hash(const struct build *b) {
    uint64_t hash = 0;
    for (uint32_t side = OLDER; side <= NEWER; side++) {
        for (uint32_t i = 0; i < b->sets[side].n; i++) {
            uint32_t key[2] = {side, b->sets[side].at[i].node};
            hash = mr_str_hash((mr_str){(const char *)key, sizeof key}, hash);
        }
    }
    return hash;
}

static mr_err grow_states(struct build *b) {
    uint32_t cap = b->cap_states == 0 ? 64 : b->cap_states * 2;
    if (cap > STATES_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    struct state *states = mr_realloc(b->states, cap * sizeof *states);
    if (states == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    b->states = states;
    uint32_t *table = mr_calloc((size_t)cap * 2, sizeof *table);
    if (table == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    mr_free(b->table);
    b->table = table;
    b->cap_states = cap;
    b->table_size = cap * 2;
    for (uint32_t i = 0; i < b->n_states; i++) {
        uint32_t at = (uint32_t)states[i].hash & (b->table_size - 1);
        while (table[at] != 0) {
            at = (at + 1) & (b->table_size - 1);
        }
        table[at] = i + 1;
    }
    return MR_OK;
}

static mr_err add_state(struct build *b, uint64_t hash, uint32_t slot) {
    struct state state = {.hash = hash, .live = PROJECT_KEEP};
    for (uint32_t side = OLDER; side <= NEWER; side++) {
        const struct set *set = &b->sets[side];
        void *copy;
        MR_TRY(allocate(b, set->n, sizeof(json_value), &copy));
        if (set->n > 0) {
            memcpy(copy, set->at, set->n * sizeof(json_value));
        }
        state.schemas[side] = copy;
        state.n[side] = set->n;
    }
    b->states[b->n_states] = state;
    b->table[slot] = ++b->n_states;
    return MR_OK;
}

/* The number of the place that the sets describe; PROJECT_KEEP where the newer declares nothing. */
static mr_err set_end(struct build *b, uint32_t *ret_state) {
    for (uint32_t side = OLDER; side <= NEWER; side++) {
        MR_TRY(set_close(b, side));
        if (b->sets[side].n > 1) {
            qsort(b->sets[side].at, b->sets[side].n, sizeof(json_value), by_node);
        }
    }
    if (b->sets[NEWER].n == 0) {
        *ret_state = PROJECT_KEEP;
        return MR_OK;
    }
    if (b->n_states == b->cap_states) {
        MR_TRY(grow_states(b));
    }
    uint64_t hash = sets_hash(b);
    uint32_t slot = (uint32_t)hash & (b->table_size - 1);
    while (b->table[slot] != 0) {
        *ret_state = b->table[slot] - 1;
        if (b->states[*ret_state].hash == hash && same_state(&b->states[*ret_state], b)) {
            return MR_OK;
        }
        slot = (slot + 1) & (b->table_size - 1);
    }
    *ret_state = b->n_states;
    return add_state(b, hash, slot);
}

/* --- members -----------------------------------------------------------------------------------
 */

static mr_err add_entry(struct build *b, json_value name, struct entry entry) {
    MR_TRY(json_string(name, &b->arena, &entry.name));
    b->entries[b->n_entries++] = entry;
    return MR_OK;
}

static mr_err add_list(struct build *b, json_value names) {
    if (json_kind_of(names) == JSON_ARRAY) {
        for (json_iter it = json_iter_of(names); json_next(&it);) {
            if (json_kind_of(it.value) == JSON_STRING) {
                MR_TRY(add_entry(b, it.value, (struct entry){.schema = NAMES_LIST}));
            }
        }
    }
    return MR_OK;
}

static mr_err compile_pattern(struct build *b, json_value name, json_value value) {
    mr_str text;
    int code;
    PCRE2_SIZE at;
    MR_TRY(spend(b, PATTERN_STEPS));
    MR_TRY(json_string(name, &b->arena, &text));
    struct pattern *p = &b->patterns[b->n_patterns++];
    *p = (struct pattern){.value = value, .open = b->n_opens};
    p->code = pcre2_compile((PCRE2_SPTR)text.ptr, text.len,
                            PCRE2_UTF | PCRE2_ALT_BSUX | PCRE2_DOLLAR_ENDONLY |
                                PCRE2_MATCH_UNSET_BACKREF | PCRE2_NEVER_BACKSLASH_C,
                            &code, &at, NULL);
    return MR_OK;
}

static mr_err gather_open(struct build *b, uint32_t side, uint32_t index, json_value schema) {
    json_value patterns = json_find(schema, MR_STR("patternProperties"));
    json_value additional = json_find(schema, MR_STR("additionalProperties"));
    if (json_kind_of(additional) != JSON_OBJECT || json_count(additional) == 0) {
        additional = JSON_NONE;
    }
    if (json_kind_of(patterns) != JSON_OBJECT && json_is_absent(additional)) {
        return MR_OK;
    }
    for (json_iter it = json_iter_of(patterns); it.is_object && json_next(&it);) {
        MR_TRY(compile_pattern(b, it.name, it.value));
    }
    b->opens[b->n_opens++] =
        (struct open_end){.side = side, .schema = index, .additional = additional};
    return MR_OK;
}

static mr_err gather_schema(struct build *b, uint32_t side, uint32_t index, json_value schema) {
    json_value properties = json_find(schema, MR_STR("properties"));
    if (json_kind_of(properties) == JSON_OBJECT) {
        for (json_iter it = json_iter_of(properties); json_next(&it);) {
            struct entry entry = {.value = it.value, .side = side, .schema = index};
            MR_TRY(add_entry(b, it.name, entry));
        }
    }
    if (side == OLDER) {
        json_value dependencies = json_find(schema, MR_STR("dependencies"));
        MR_TRY(add_list(b, json_find(schema, MR_STR("required"))));
        for (json_iter it = json_iter_of(dependencies); it.is_object && json_next(&it);) {
            MR_TRY(add_list(b, it.value));
        }
    }
    return gather_open(b, side, index, schema);
}

/* How much the lists of a place may hold at most. */
static void count_schema(json_value schema, size_t *entries, size_t *patterns) {
    json_value dependencies = json_find(schema, MR_STR("dependencies"));
    *entries += json_count(json_find(schema, MR_STR("properties"))) +
                json_count(json_find(schema, MR_STR("required")));
    for (json_iter it = json_iter_of(dependencies); it.is_object && json_next(&it);) {
        *entries += json_count(it.value);
    }
    *patterns += json_count(json_find(schema, MR_STR("patternProperties")));
}

static mr_err gather(struct build *b, const struct state *s) {
    size_t entries = 0;
    size_t patterns = 0;
    void *memory;
    for (uint32_t side = OLDER; side <= NEWER; side++) {
        for (uint32_t i = 0; i < s->n[side]; i++) {
            count_schema(s->schemas[side][i], &entries, &patterns);
        }
    }
    MR_TRY(spend(b, entries + s->n[OLDER] + s->n[NEWER]));
    MR_TRY(allocate(b, entries, sizeof *b->entries, &memory));
    b->entries = memory;
    MR_TRY(allocate(b, patterns, sizeof *b->patterns, &memory));
    b->patterns = memory;
    MR_TRY(allocate(b, (size_t)s->n[OLDER] + s->n[NEWER], sizeof *b->opens, &memory));
    b->opens = memory;
    for (uint32_t side = OLDER; side <= NEWER; side++) {
        for (uint32_t i = 0; i < s->n[side]; i++) {
            MR_TRY(gather_schema(b, side, i, s->schemas[side][i]));
        }
    }
    return MR_OK;
}

static bool pattern_takes(const struct build *b, const struct pattern *p, mr_str name) {
    if (p->code == NULL) {
        return true;
    }
    int found =
        pcre2_match(p->code, (PCRE2_SPTR)name.ptr, name.len, 0, 0, b->match, b->match_context);
    return found != PCRE2_ERROR_NOMATCH; /* one that backtracks too long takes the name: kept */
}

static bool lists(const struct entry *group, uint32_t n, const struct open_end *open) {
    for (uint32_t i = 0; i < n; i++) {
        if (group[i].side == open->side && group[i].schema == open->schema) {
            return true;
        }
    }
    return false;
}

/* Adds what the open ends of the place say about a name; tells whether the older declares it. */
static mr_err add_open_ends(struct build *b, const struct entry *group, uint32_t n,
                            bool *declared_older) {
    MR_TRY(spend(b, (uint64_t)b->n_opens * (n + 1)));
    for (uint32_t i = 0; i < b->n_opens; i++) {
        b->opens[i].covered = lists(group, n, &b->opens[i]);
    }
    for (uint32_t i = 0; i < b->n_patterns; i++) {
        const struct pattern *p = &b->patterns[i];
        MR_TRY(spend(b, PATTERN_STEPS));
        if (pattern_takes(b, p, group[0].name)) {
            struct open_end *open = &b->opens[p->open];
            open->covered = true;
            *declared_older |= open->side == OLDER && json_kind_of(p->value) != JSON_FALSE;
            MR_TRY(set_add(b, open->side, p->value));
        }
    }
    for (uint32_t i = 0; i < b->n_opens; i++) {
        const struct open_end *open = &b->opens[i];
        if (!open->covered && !json_is_absent(open->additional)) {
            *declared_older |= open->side == OLDER;
            MR_TRY(set_add(b, open->side, open->additional));
        }
    }
    return MR_OK;
}

/* The fate of one name; group: everything that is said about it by name. */
static mr_err decide_name(struct build *b, const struct entry *group, uint32_t n,
                          uint32_t *ret_to) {
    bool declared[2] = {false, false};
    set_begin(b);
    for (uint32_t i = 0; i < n; i++) {
        declared[group[i].side] |=
            group[i].schema == NAMES_LIST || json_kind_of(group[i].value) != JSON_FALSE;
        MR_TRY(set_add(b, group[i].side, group[i].value));
    }
    MR_TRY(add_open_ends(b, group, n, &declared[OLDER]));
    if (declared[NEWER] && !declared[OLDER]) {
        *ret_to = PROJECT_LEAVE_OUT;
        return MR_OK;
    }
    return set_end(b, ret_to);
}

static int by_name(const void *a, const void *b) {
    return mr_str_cmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static mr_err build_members(struct build *b, uint32_t state) {
    void *memory;
    if (b->n_entries > 1) {
        qsort(b->entries, b->n_entries, sizeof *b->entries, by_name);
    }
    MR_TRY(allocate(b, b->n_entries, sizeof(struct edge), &memory));
    struct edge *edges = memory;
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n_entries;) {
        uint32_t end = i + 1;
        while (end < b->n_entries && mr_str_eq(b->entries[i].name, b->entries[end].name)) {
            end++;
        }
        edges[n].name = b->entries[i].name;
        MR_TRY(decide_name(b, &b->entries[i], end - i, &edges[n].to));
        n++;
        i = end;
    }
    b->states[state].members = edges;
    b->states[state].n_members = n;
    set_begin(b);
    for (uint32_t i = 0; i < b->n_patterns; i++) {
        MR_TRY(set_add(b, b->opens[b->patterns[i].open].side, b->patterns[i].value));
    }
    for (uint32_t i = 0; i < b->n_opens; i++) {
        MR_TRY(set_add(b, b->opens[i].side, b->opens[i].additional));
    }
    uint32_t rest;
    MR_TRY(set_end(b, &rest));
    b->states[state].rest = rest;
    return MR_OK;
}

/* --- items -------------------------------------------------------------------------------------
 */

/* What a schema says about the item at index. */
static mr_err add_item(struct build *b, uint32_t side, json_value schema, uint32_t index) {
    json_value items = json_find(schema, MR_STR("items"));
    if (json_kind_of(items) == JSON_ARRAY) {
        MR_TRY(spend(b, index < json_count(items) ? index : 0));
        items = index < json_count(items) ? json_item(items, index)
                                          : json_find(schema, MR_STR("additionalItems"));
    }
    MR_TRY(set_add(b, side, items));
    return set_add(b, side, json_find(schema, MR_STR("contains")));
}

static mr_err item_place(struct build *b, uint32_t state, uint32_t index, uint32_t *ret_to) {
    set_begin(b);
    for (uint32_t side = OLDER; side <= NEWER; side++) {
        for (uint32_t i = 0; i < b->states[state].n[side]; i++) {
            MR_TRY(add_item(b, side, b->states[state].schemas[side][i], index));
        }
    }
    return set_end(b, ret_to);
}

static mr_err build_items(struct build *b, uint32_t state) {
    size_t n = 0;
    void *memory;
    for (uint32_t side = OLDER; side <= NEWER; side++) {
        for (uint32_t i = 0; i < b->states[state].n[side]; i++) {
            json_value items = json_find(b->states[state].schemas[side][i], MR_STR("items"));
            size_t count = json_kind_of(items) == JSON_ARRAY ? json_count(items) : 0;
            n = count > n ? count : n;
        }
    }
    MR_TRY(allocate(b, n, sizeof(uint32_t), &memory));
    uint32_t *items = memory;
    for (uint32_t i = 0; i < n; i++) {
        MR_TRY(item_place(b, state, i, &items[i]));
    }
    uint32_t rest;
    MR_TRY(item_place(b, state, UINT32_MAX, &rest));
    b->states[state].items = items;
    b->states[state].n_items = (uint32_t)n;
    b->states[state].items_rest = rest;
    return MR_OK;
}

static void forget_patterns(struct build *b) {
    for (uint32_t i = 0; i < b->n_patterns; i++) {
        pcre2_code_free(b->patterns[i].code);
    }
    b->n_patterns = 0;
    b->n_entries = 0;
    b->n_opens = 0;
}

static mr_err build_state(struct build *b, uint32_t state) {
    struct state copy = b->states[state]; /* the array moves while it grows */
    mr_err err = gather(b, &copy);
    if (mr_is_ok(err)) {
        err = build_members(b, state);
    }
    forget_patterns(b);
    return mr_is_ok(err) ? build_items(b, state) : err;
}

/* --- what is left of it ------------------------------------------------------------------------
 */

static bool touches(const struct build *b, uint32_t to) {
    return to == PROJECT_LEAVE_OUT || (to != PROJECT_KEEP && b->states[to].live != PROJECT_KEEP);
}

static bool state_touches(const struct build *b, const struct state *s) {
    bool found = touches(b, s->rest) || touches(b, s->items_rest);
    for (uint32_t i = 0; i < s->n_members && !found; i++) {
        found = touches(b, s->members[i].to);
    }
    for (uint32_t i = 0; i < s->n_items && !found; i++) {
        found = touches(b, s->items[i]);
    }
    return found;
}

/* Marks the places in or below which something is left out. */
static mr_err mark_live(struct build *b) {
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = b->n_states; i-- > 0;) {
            struct state *s = &b->states[i];
            MR_TRY(spend(b, 1 + s->n_members / 8 + s->n_items / 8));
            if (s->live == PROJECT_KEEP && state_touches(b, s)) {
                s->live = 0;
                changed = true;
            }
        }
    }
    return MR_OK;
}

static uint32_t final(const struct build *b, uint32_t to) {
    return to == PROJECT_KEEP || to == PROJECT_LEAVE_OUT ? to : b->states[to].live;
}

/* Members that share the fate of those not listed need no slot. */
static uint32_t listed(const struct build *b, const struct state *s, size_t *ret_bytes) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_members; i++) {
        if (final(b, s->members[i].to) != final(b, s->rest)) {
            n++;
            *ret_bytes += s->members[i].name.len;
        }
    }
    return n;
}

static uint32_t slots_for(uint32_t n) {
    uint32_t slots = n == 0 ? 0 : 2;
    while (slots < n * 2) {
        slots *= 2;
    }
    return slots;
}

/* Where the next parts of the projection go. */
struct fill {
    uint32_t members;
    uint32_t items;
    size_t names;
};

static void fill_place(const struct build *b, const struct state *s, struct schema_projection *p,
                       struct fill *at) {
    size_t bytes = 0;
    uint32_t slots = slots_for(listed(b, s, &bytes));
    struct project_place place = {.members = at->members,
                                  .mask = slots - 1,
                                  .rest = final(b, s->rest),
                                  .items = at->items,
                                  .n_items = s->n_items,
                                  .items_rest = final(b, s->items_rest)};
    for (uint32_t i = 0; i < s->n_members; i++) {
        mr_str name = s->members[i].name;
        if (final(b, s->members[i].to) == place.rest) {
            continue;
        }
        if (name.len > 0) {
            memcpy(p->names + at->names, name.ptr, name.len);
        }
        struct project_member m = {.name = {p->names + at->names, name.len},
                                   .hash = project_hash(name),
                                   .place = final(b, s->members[i].to)};
        at->names += name.len;
        place.lengths |= project_length_bit(name);
        uint32_t slot = (uint32_t)m.hash;
        while (!mr_str_is_absent(p->members[place.members + (slot & place.mask)].name)) {
            slot++;
        }
        p->members[place.members + (slot & place.mask)] = m;
    }
    for (uint32_t i = 0; i < s->n_items; i++) {
        p->items[at->items++] = final(b, s->items[i]);
    }
    at->members += slots;
    p->places[s->live] = place;
}

static mr_err emit(struct build *b, struct schema_projection *p) {
    uint32_t places = 0;
    uint32_t members = 0;
    size_t items = 0;
    size_t names = 1;
    for (uint32_t i = 0; i < b->n_states; i++) {
        struct state *s = &b->states[i];
        s->live = s->live == PROJECT_KEEP ? PROJECT_KEEP : places++;
    }
    for (uint32_t i = 0; i < b->n_states; i++) {
        const struct state *s = &b->states[i];
        if (s->live != PROJECT_KEEP) {
            members += slots_for(listed(b, s, &names));
            items += s->n_items;
        }
    }
    p->places = mr_calloc(places, sizeof *p->places);
    p->members = mr_calloc((size_t)members + 1, sizeof *p->members);
    p->items = mr_calloc(items + 1, sizeof *p->items);
    p->names = mr_alloc(names);
    if (p->places == NULL || p->members == NULL || p->items == NULL || p->names == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    struct fill at = {.names = 0};
    for (uint32_t i = 0; i < b->n_states; i++) {
        if (b->states[i].live != PROJECT_KEEP) {
            fill_place(b, &b->states[i], p, &at);
        }
    }
    return MR_OK;
}

static mr_err build_init(struct build *b, mr_str older, mr_str newer) {
    mr_arena_init(&b->arena, BUILD_BYTES_MAX);
    mr_err err = version_doc_init(&b->docs[OLDER], older);
    mr_err other = version_doc_init(&b->docs[NEWER], newer);
    MR_TRY(err);
    MR_TRY(other);
    for (uint32_t side = OLDER; side <= NEWER; side++) {
        b->sets[side].marks = mr_calloc(b->docs[side].tape.len, sizeof(uint32_t));
        if (b->sets[side].marks == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
    }
    b->match = pcre2_match_data_create(1, NULL);
    b->match_context = pcre2_match_context_create(NULL);
    if (b->match == NULL || b->match_context == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    pcre2_set_match_limit(b->match_context, MATCH_LIMIT);
    return MR_OK;
}

static void build_done(struct build *b) {
    for (uint32_t side = OLDER; side <= NEWER; side++) {
        version_doc_done(&b->docs[side]);
        mr_free(b->sets[side].at);
        mr_free(b->sets[side].marks);
    }
    mr_free(b->states);
    mr_free(b->table);
    mr_arena_done(&b->arena);
    pcre2_match_data_free(b->match);
    pcre2_match_context_free(b->match_context);
}

/* *ret_root: the place of `data` itself. */
static mr_err build_all(struct build *b, uint32_t *ret_root) {
    set_begin(b);
    MR_TRY(set_add(b, OLDER, b->docs[OLDER].root));
    MR_TRY(set_add(b, NEWER, b->docs[NEWER].root));
    MR_TRY(set_end(b, ret_root));
    for (uint32_t i = 0; i < b->n_states; i++) {
        MR_TRY(build_state(b, i));
    }
    return mark_live(b);
}

mr_err schema_projection_new(mr_str older, mr_str newer,
                             struct schema_projection **ret_projection) {
    struct build b = {.steps = BUILD_STEPS_MAX};
    struct schema_projection *p = NULL;
    uint32_t root;
    mr_err err = build_init(&b, older, newer);
    if (mr_is_ok(err)) {
        err = build_all(&b, &root);
    }
    if (mr_is_ok(err) && root != PROJECT_KEEP && b.states[root].live != PROJECT_KEEP) {
        p = MR_NEW(struct schema_projection);
        err = p == NULL ? MR_ERR(MR_E_NOMEM) : emit(&b, p);
    }
    build_done(&b);
    if (mr_is_err(err)) {
        schema_projection_free(p);
        return err;
    }
    *ret_projection = p;
    return MR_OK;
}
