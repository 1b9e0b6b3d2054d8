/* Sets of schemas, and the pairs of sets that are places. See project_build.c for the idea.
 *
 * A set is gathered in one growing list per side; a mark per node tells what is in it already. When
 * it is whole it is closed over the keywords that speak of the same value, sorted, and looked up in
 * a hash table of the pairs that were met. */
#include "schema/versions/project_build.h"

#include "base/mem.h"

#define STATES_MAX   (1u << 14)
#define SCHEMA_STEPS 16 /* what looking for a schema's branches weighs */

mr_err project_spend(struct project_build *b, uint64_t steps) {
    if (steps > b->steps) {
        b->steps = 0;
        return MR_ERR(MR_E_LIMIT);
    }
    b->steps -= steps;
    return MR_OK;
}

mr_err project_allocate(struct project_build *b, size_t n, size_t size, void **ret) {
    *ret = mr_arena_calloc(&b->arena, n == 0 ? 1 : n, size);
    return *ret == NULL ? MR_ERR(MR_E_NOMEM) : MR_OK;
}

void project_sort(void *at, size_t n, size_t size, int (*order)(const void *, const void *)) {
    char *base = at;
    char kept[64];
    MR_ASSERT(size <= sizeof kept);
    for (size_t heap = n / 2, end = n; end > 1;) {
        if (heap > 0) {
            heap--; /* the heap grows downwards until it is whole */
        } else {
            end--; /* then its largest goes to the end */
            memcpy(kept, base, size);
            memcpy(base, base + end * size, size);
            memcpy(base + end * size, kept, size);
        }
        size_t parent = heap;
        memcpy(kept, base + parent * size, size);
        for (size_t child = parent * 2 + 1; child < end; child = parent * 2 + 1) {
            if (child + 1 < end && order(base + child * size, base + (child + 1) * size) < 0) {
                child++;
            }
            if (order(kept, base + child * size) >= 0) {
                break;
            }
            memcpy(base + parent * size, base + child * size, size);
            parent = child;
        }
        memcpy(base + parent * size, kept, size);
    }
}

void project_set_begin(struct project_build *b) {
    b->round++;
    b->sets[OLDER].n = 0;
    b->sets[NEWER].n = 0;
}

mr_err project_set_add(struct project_build *b, uint32_t side, json_value schema) {
    struct set *set = &b->sets[side];
    MR_TRY(project_spend(b, 1));
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

static mr_err add_branches(struct project_build *b, uint32_t side, json_value branches) {
    if (json_kind_of(branches) == JSON_ARRAY || json_kind_of(branches) == JSON_OBJECT) {
        for (json_iter it = json_iter_of(branches); json_next(&it);) {
            MR_TRY(project_set_add(b, side,
                                   it.value)); /* lists of names are no schemas: passed over */
        }
    }
    return MR_OK;
}

static mr_err set_close(struct project_build *b, uint32_t side) {
    static const char *const branches[] = {"allOf", "anyOf", "oneOf", "dependencies"};
    static const char *const single[] = {"if", "then", "else"};
    for (uint32_t i = 0; i < b->sets[side].n; i++) {
        json_value schema = b->sets[side].at[i];
        MR_TRY(project_spend(b, SCHEMA_STEPS + json_count(schema)));
        for (size_t k = 0; k < sizeof branches / sizeof branches[0]; k++) {
            MR_TRY(add_branches(b, side, json_find(schema, mr_str_c(branches[k]))));
        }
        bool conditional = !json_is_absent(json_find(schema, MR_STR("if")));
        for (size_t k = 0; conditional && k < sizeof single / sizeof single[0]; k++) {
            MR_TRY(project_set_add(b, side, json_find(schema, mr_str_c(single[k]))));
        }
    }
    return project_spend(b, b->sets[side].n);
}

static int by_node(const void *a, const void *b) {
    uint32_t x = ((const json_value *)a)->node;
    uint32_t y = ((const json_value *)b)->node;
    return (x > y) - (x < y);
}

static bool same_state(const struct state *s, const struct project_build *b) {
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

static uint64_t sets_hash(const struct project_build *b) {
    uint64_t hash = 0;
    for (uint32_t side = OLDER; side <= NEWER; side++) {
        for (uint32_t i = 0; i < b->sets[side].n; i++) {
            uint32_t key[2] = {side, b->sets[side].at[i].node};
            hash = mr_str_hash((mr_str){(const char *)key, sizeof key}, hash);
        }
    }
    return hash;
}

static mr_err grow_states(struct project_build *b) {
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

static mr_err add_state(struct project_build *b, uint64_t hash, uint32_t slot) {
    struct state state = {.hash = hash, .live = PROJECT_KEEP};
    for (uint32_t side = OLDER; side <= NEWER; side++) {
        const struct set *set = &b->sets[side];
        void *copy;
        MR_TRY(project_allocate(b, set->n, sizeof(json_value), &copy));
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
mr_err project_set_end(struct project_build *b, uint32_t *ret_state) {
    for (uint32_t side = OLDER; side <= NEWER; side++) {
        MR_TRY(set_close(b, side));
        if (b->sets[side].n > 1) {
            project_sort(b->sets[side].at, b->sets[side].n, sizeof(json_value), by_node);
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
