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
#include "schema/versions/project_build.h"

#include "base/mem.h"

#define BUILD_STEPS_MAX UINT64_C(8000000)
#define BUILD_BYTES_MAX ((size_t)256 << 20)
#define PATTERN_STEPS   200
#define MATCH_LIMIT     100000
#define NAMES_LIST      UINT32_MAX /* entry.schema: named by the older without a schema */

/* --- members -----------------------------------------------------------------------------------
 */

static mr_err add_entry(struct project_build *b, json_value name, struct entry entry) {
    MR_TRY(json_string(name, &b->arena, &entry.name));
    b->entries[b->n_entries++] = entry;
    return MR_OK;
}

static mr_err add_list(struct project_build *b, json_value names) {
    if (json_kind_of(names) == JSON_ARRAY) {
        for (json_iter it = json_iter_of(names); json_next(&it);) {
            if (json_kind_of(it.value) == JSON_STRING) {
                MR_TRY(add_entry(b, it.value, (struct entry){.schema = NAMES_LIST}));
            }
        }
    }
    return MR_OK;
}

static mr_err compile_pattern(struct project_build *b, json_value name, json_value value) {
    mr_str text;
    int code;
    PCRE2_SIZE at;
    MR_TRY(project_spend(b, PATTERN_STEPS));
    MR_TRY(json_string(name, &b->arena, &text));
    struct pattern *p = &b->patterns[b->n_patterns++];
    *p = (struct pattern){.value = value, .open = b->n_opens};
    p->code = pcre2_compile((PCRE2_SPTR)text.ptr, text.len,
                            PCRE2_UTF | PCRE2_ALT_BSUX | PCRE2_DOLLAR_ENDONLY |
                                PCRE2_MATCH_UNSET_BACKREF | PCRE2_NEVER_BACKSLASH_C,
                            &code, &at, NULL);
    return MR_OK;
}

static mr_err gather_open(struct project_build *b, uint32_t side, uint32_t index,
                          json_value schema) {
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

static mr_err gather_schema(struct project_build *b, uint32_t side, uint32_t index,
                            json_value schema) {
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

static mr_err gather(struct project_build *b, const struct state *s) {
    size_t entries = 0;
    size_t patterns = 0;
    void *memory;
    for (uint32_t side = OLDER; side <= NEWER; side++) {
        for (uint32_t i = 0; i < s->n[side]; i++) {
            count_schema(s->schemas[side][i], &entries, &patterns);
        }
    }
    MR_TRY(project_spend(b, entries + s->n[OLDER] + s->n[NEWER]));
    MR_TRY(project_allocate(b, entries, sizeof *b->entries, &memory));
    b->entries = memory;
    MR_TRY(project_allocate(b, patterns, sizeof *b->patterns, &memory));
    b->patterns = memory;
    MR_TRY(project_allocate(b, (size_t)s->n[OLDER] + s->n[NEWER], sizeof *b->opens, &memory));
    b->opens = memory;
    for (uint32_t side = OLDER; side <= NEWER; side++) {
        for (uint32_t i = 0; i < s->n[side]; i++) {
            MR_TRY(gather_schema(b, side, i, s->schemas[side][i]));
        }
    }
    return MR_OK;
}

static bool pattern_takes(const struct project_build *b, const struct pattern *p, mr_str name) {
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
static mr_err add_open_ends(struct project_build *b, const struct entry *group, uint32_t n,
                            bool *declared_older) {
    MR_TRY(project_spend(b, (uint64_t)b->n_opens * (n + 1)));
    for (uint32_t i = 0; i < b->n_opens; i++) {
        b->opens[i].covered = lists(group, n, &b->opens[i]);
    }
    for (uint32_t i = 0; i < b->n_patterns; i++) {
        const struct pattern *p = &b->patterns[i];
        MR_TRY(project_spend(b, PATTERN_STEPS));
        if (pattern_takes(b, p, group[0].name)) {
            struct open_end *open = &b->opens[p->open];
            open->covered = true;
            *declared_older |= open->side == OLDER && json_kind_of(p->value) != JSON_FALSE;
            MR_TRY(project_set_add(b, open->side, p->value));
        }
    }
    for (uint32_t i = 0; i < b->n_opens; i++) {
        const struct open_end *open = &b->opens[i];
        if (!open->covered && !json_is_absent(open->additional)) {
            *declared_older |= open->side == OLDER;
            MR_TRY(project_set_add(b, open->side, open->additional));
        }
    }
    return MR_OK;
}

/* The fate of one name; group: everything that is said about it by name. */
static mr_err decide_name(struct project_build *b, const struct entry *group, uint32_t n,
                          uint32_t *ret_to) {
    bool declared[2] = {false, false};
    project_set_begin(b);
    for (uint32_t i = 0; i < n; i++) {
        declared[group[i].side] |=
            group[i].schema == NAMES_LIST || json_kind_of(group[i].value) != JSON_FALSE;
        MR_TRY(project_set_add(b, group[i].side, group[i].value));
    }
    MR_TRY(add_open_ends(b, group, n, &declared[OLDER]));
    if (declared[NEWER] && !declared[OLDER]) {
        *ret_to = PROJECT_LEAVE_OUT;
        return MR_OK;
    }
    return project_set_end(b, ret_to);
}

static int by_name(const void *a, const void *b) {
    return mr_str_cmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static mr_err build_members(struct project_build *b, uint32_t state) {
    void *memory;
    if (b->n_entries > 1) {
        project_sort(b->entries, b->n_entries, sizeof *b->entries, by_name);
    }
    MR_TRY(project_allocate(b, b->n_entries, sizeof(struct edge), &memory));
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
    project_set_begin(b);
    for (uint32_t i = 0; i < b->n_patterns; i++) {
        MR_TRY(project_set_add(b, b->opens[b->patterns[i].open].side, b->patterns[i].value));
    }
    for (uint32_t i = 0; i < b->n_opens; i++) {
        MR_TRY(project_set_add(b, b->opens[i].side, b->opens[i].additional));
    }
    uint32_t rest;
    MR_TRY(project_set_end(b, &rest));
    b->states[state].rest = rest;
    return MR_OK;
}

/* --- items -------------------------------------------------------------------------------------
 */

/* What a schema says about the item at index. */
static mr_err add_item(struct project_build *b, uint32_t side, json_value schema, uint32_t index) {
    json_value items = json_find(schema, MR_STR("items"));
    if (json_kind_of(items) == JSON_ARRAY) {
        MR_TRY(project_spend(b, index < json_count(items) ? index : 0));
        items = index < json_count(items) ? json_item(items, index)
                                          : json_find(schema, MR_STR("additionalItems"));
    }
    MR_TRY(project_set_add(b, side, items));
    return project_set_add(b, side, json_find(schema, MR_STR("contains")));
}

static mr_err item_place(struct project_build *b, uint32_t state, uint32_t index,
                         uint32_t *ret_to) {
    project_set_begin(b);
    for (uint32_t side = OLDER; side <= NEWER; side++) {
        for (uint32_t i = 0; i < b->states[state].n[side]; i++) {
            MR_TRY(add_item(b, side, b->states[state].schemas[side][i], index));
        }
    }
    return project_set_end(b, ret_to);
}

static mr_err build_items(struct project_build *b, uint32_t state) {
    size_t n = 0;
    void *memory;
    for (uint32_t side = OLDER; side <= NEWER; side++) {
        for (uint32_t i = 0; i < b->states[state].n[side]; i++) {
            json_value items = json_find(b->states[state].schemas[side][i], MR_STR("items"));
            size_t count = json_kind_of(items) == JSON_ARRAY ? json_count(items) : 0;
            n = count > n ? count : n;
        }
    }
    MR_TRY(project_allocate(b, n, sizeof(uint32_t), &memory));
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

static void forget_patterns(struct project_build *b) {
    for (uint32_t i = 0; i < b->n_patterns; i++) {
        pcre2_code_free(b->patterns[i].code);
    }
    b->n_patterns = 0;
    b->n_entries = 0;
    b->n_opens = 0;
}

static mr_err build_state(struct project_build *b, uint32_t state) {
    struct state copy = b->states[state]; /* the array moves while it grows */
    mr_err err = gather(b, &copy);
    if (mr_is_ok(err)) {
        err = build_members(b, state);
    }
    forget_patterns(b);
    return mr_is_ok(err) ? build_items(b, state) : err;
}

/* --- the whole ----------------------------------------------------------------------------------
 */

static mr_err build_init(struct project_build *b, mr_str older, mr_str newer) {
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

static void build_done(struct project_build *b) {
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
static mr_err build_all(struct project_build *b, uint32_t *ret_root) {
    project_set_begin(b);
    MR_TRY(project_set_add(b, OLDER, b->docs[OLDER].root));
    MR_TRY(project_set_add(b, NEWER, b->docs[NEWER].root));
    MR_TRY(project_set_end(b, ret_root));
    for (uint32_t i = 0; i < b->n_states; i++) {
        MR_TRY(build_state(b, i));
    }
    return project_mark_live(b);
}

mr_err schema_projection_new(mr_str older, mr_str newer,
                             struct schema_projection **ret_projection) {
    struct project_build b = {.steps = BUILD_STEPS_MAX};
    struct schema_projection *p = NULL;
    uint32_t root;
    mr_err err = build_init(&b, older, newer);
    if (mr_is_ok(err)) {
        err = build_all(&b, &root);
    }
    if (mr_is_ok(err) && root != PROJECT_KEEP && b.states[root].live != PROJECT_KEEP) {
        p = MR_NEW(struct schema_projection);
        err = p == NULL ? MR_ERR(MR_E_NOMEM) : project_emit(&b, p);
    }
    build_done(&b);
    if (mr_is_err(err)) {
        schema_projection_free(p);
        return err;
    }
    *ret_projection = p;
    return MR_OK;
}
