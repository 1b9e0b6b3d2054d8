/* Matching events to streaming rules.
 *
 * The index is a hash table from (account, kind, text) to a bucket: kind TYPE with an event type's
 * name, kind GROUP with a product group's name (the rules that say "*"). A bucket's entries stand
 * in one array in runs: first the rules without a filter, then those of each filter, in each run
 * sorted by (destination, rule number). An event looks at two buckets, so rules of other types or
 * accounts cost nothing, whatever their number:
 *
 *      (7, TYPE, "…data-session.ended") ──▶ no filter: [dst 3 rule 9 v1 1/1] [dst 8 …]
 *                                           filter a:  [dst 3 rule 12 v2 1/10]
 *                                           filter b:  [dst 4 rule 13 …] [dst 9 rule 4 …]
 *      (7, GROUP, "Connectivity")       ──▶ no filter: [dst 3 rule 2 latest 1/1] …
 *
 * Within a bucket filters are found by what they ask for (trie.h): of those with a key only the
 * ones whose value the event has, the others all; each that is found is evaluated once, however
 * many rules say the same, and all of an event's evaluations draw on one budget of steps.
 *
 * What matches is some runs, each sorted by destination. Merging them gives each destination once,
 * with its rules in order, without a table, in n log(runs). The table is open addressing at half
 * load with the hash kept beside, so a miss costs one or two cache lines.
 *
 * Versions: the newest that any rule asks for, "latest" being newer than all; never above the
 * event's own. Sampling: of the rules that match a destination, those that take this id count and
 * are named; none: the destination gets nothing. The id's hash is fixed for ever, so that a replay
 * samples the same events. */
#include "route/route.h"

#include "base/mem.h"

#define LATEST UINT16_MAX
/* Any constant will do; it may never change. */
#define SAMPLING_SEED UINT64_C(0x6d696c6c72616365)
#define TABLE_SEED    UINT64_C(0x726f757465)
#define GROUP_MIX     UINT64_C(0x9e3779b97f4a7c15)

enum key_kind {
    KEY_TYPE = 0,
    KEY_GROUP = 1,
};

/* One rule's line in one bucket. */
struct entry {
    uint32_t destination;
    uint32_t rule;
    uint32_t sampling; /* ≥ 1 */
    uint16_t version;  /* LATEST or 1… */
    uint16_t zero_;
};

struct bucket {
    uint64_t hash;
    uint32_t account;
    uint32_t text_at; /* into texts */
    uint32_t text_len;
    uint32_t kind;  /* enum key_kind */
    uint32_t first; /* into entries: those without a filter */
    uint32_t n;
    uint32_t root; /* of the bucket's filters; TRIE_NONE: it has none */
};

/* The entries of one bucket with one filter. */
struct run {
    struct route_filter *filter; /* a reference */
    uint32_t first;
    uint32_t n;
};

struct route_index {
    struct entry *entries;
    struct bucket *buckets;
    uint32_t *slots; /* bucket number + 1, or 0 */
    char *texts;
    struct run *runs;
    struct trie trie;
    size_t n_runs;
    size_t n_entries;
    size_t n_buckets;
    size_t n_slots; /* a power of two, or 0 */
    size_t n_texts;
};

/* While building: an entry with the key it belongs to. */
struct draft {
    uint64_t hash;
    mr_str text;
    uint32_t account;
    enum key_kind kind;
    struct entry entry;
    struct route_filter *filter; /* borrowed from the rule */
};

uint64_t route_id_hash(mr_str id) {
    return mr_str_hash(id, SAMPLING_SEED);
}

static uint64_t key_hash(uint32_t account, enum key_kind kind, mr_str text) {
    return mr_str_hash(text, TABLE_SEED + account + (kind == KEY_GROUP ? GROUP_MIX : 0));
}

/* Orders drafts by key, then filter (none first, else in any order), destination, rule, newest
 * version first. */
static int compare_drafts(const struct draft *a, const struct draft *b) {
    if (a->hash != b->hash) {
        return a->hash < b->hash ? -1 : 1;
    }
    if (a->account != b->account) {
        return a->account < b->account ? -1 : 1;
    }
    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }
    int order = mr_str_cmp(a->text, b->text);
    if (order != 0) {
        return order;
    }
    if (a->filter != b->filter) {
        return (uintptr_t)a->filter < (uintptr_t)b->filter ? -1 : 1;
    }
    if (a->entry.destination != b->entry.destination) {
        return a->entry.destination < b->entry.destination ? -1 : 1;
    }
    if (a->entry.rule != b->entry.rule) {
        return a->entry.rule < b->entry.rule ? -1 : 1;
    }
    return a->entry.version > b->entry.version ? -1 : a->entry.version < b->entry.version;
}

/* Merge sort, bottom up, with as much room again in scratch; returns where the sorted ones stand.
 * Our own, because qsort is no function of a pure room. */
static struct draft *sort_drafts(struct draft *drafts, struct draft *scratch, size_t n) {
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t at = 0; at < n; at += 2 * width) {
            size_t left = at;
            size_t middle = at + width < n ? at + width : n;
            size_t end = at + 2 * width < n ? at + 2 * width : n;
            size_t right = middle;
            for (size_t to = at; to < end; to++) {
                bool take_left =
                    right == end ||
                    (left < middle && compare_drafts(&drafts[left], &drafts[right]) <= 0);
                scratch[to] = take_left ? drafts[left++] : drafts[right++];
            }
        }
        struct draft *sorted = scratch;
        scratch = drafts;
        drafts = sorted;
    }
    return drafts;
}

static bool same_key(const struct draft *a, const struct draft *b) {
    return a->hash == b->hash && a->account == b->account && a->kind == b->kind &&
           mr_str_eq(a->text, b->text);
}

static bool same_line(const struct draft *a, const struct draft *b) {
    return same_key(a, b) && a->entry.destination == b->entry.destination &&
           a->entry.rule == b->entry.rule;
}

/* Fills drafts with the lines of the enabled rules; returns their number. */
static mr_err draft_rules(const struct route_rule *rules, size_t n_rules, struct draft *drafts,
                          size_t *ret_n) {
    size_t n = 0;
    for (size_t i = 0; i < n_rules; i++) {
        const struct route_rule *rule = &rules[i];
        for (size_t t = 0; rule->enabled && t < rule->n_types; t++) {
            const struct route_type *line = &rule->types[t];
            bool any = mr_str_eq(line->type, MR_STR("*"));
            if (any && mr_str_is_absent(rule->product_group)) {
                return MR_ERR(MR_E_INVALID);
            }
            struct draft *draft = &drafts[n++];
            draft->kind = any ? KEY_GROUP : KEY_TYPE;
            draft->text = any ? rule->product_group : line->type;
            draft->account = rule->account;
            draft->hash = key_hash(rule->account, draft->kind, draft->text);
            draft->entry = (struct entry){
                .destination = rule->destination,
                .rule = rule->number,
                .sampling = rule->sampling == 0 ? 1 : rule->sampling,
                .version = line->version == ROUTE_VERSION_LATEST ? LATEST : line->version};
            draft->filter = rule->filter;
        }
    }
    *ret_n = n;
    return MR_OK;
}

/* Drops later lines of a rule for the same key (the newest version stands first). */
static size_t drop_repeated(struct draft *drafts, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || !same_line(&drafts[kept - 1], &drafts[i])) {
            drafts[kept++] = drafts[i];
        }
    }
    return kept;
}

/* Does a run begin at drafts[i]? */
static bool begins_run(const struct draft *drafts, size_t i) {
    return drafts[i].filter != NULL && (i == 0 || !same_key(&drafts[i - 1], &drafts[i]) ||
                                        drafts[i - 1].filter != drafts[i].filter);
}

static void count_keys(struct route_index *index, const struct draft *drafts, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || !same_key(&drafts[i - 1], &drafts[i])) {
            index->n_buckets++;
            index->n_texts += drafts[i].text.len;
        }
        index->n_runs += begins_run(drafts, i) ? 1 : 0;
    }
}

static void insert_slot(struct route_index *index, uint32_t number) {
    size_t at = index->buckets[number].hash & (index->n_slots - 1);
    while (index->slots[at] != 0) {
        at = (at + 1) & (index->n_slots - 1);
    }
    index->slots[at] = number + 1;
}

static mr_err alloc_index(struct route_index *index) {
    if (index->n_entries > UINT32_MAX / 4 || index->n_texts > UINT32_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    index->n_slots = 4;
    while (index->n_slots < 2 * index->n_buckets) {
        index->n_slots *= 2;
    }
    index->entries = mr_calloc(index->n_entries, sizeof *index->entries);
    index->buckets = mr_calloc(index->n_buckets, sizeof *index->buckets);
    index->slots = mr_calloc(index->n_slots, sizeof *index->slots);
    index->texts = mr_calloc(index->n_texts + 1, 1);
    index->runs = mr_calloc(index->n_runs + 1, sizeof *index->runs);
    return index->entries == NULL || index->buckets == NULL || index->slots == NULL ||
                   index->texts == NULL || index->runs == NULL
               ? MR_ERR(MR_E_NOMEM)
               : MR_OK;
}

static void begin_bucket(struct route_index *index, uint32_t number, const struct draft *draft,
                         uint32_t first, uint32_t *text_at) {
    index->buckets[number] = (struct bucket){.hash = draft->hash,
                                             .account = draft->account,
                                             .text_at = *text_at,
                                             .text_len = (uint32_t)draft->text.len,
                                             .kind = draft->kind,
                                             .first = first};
    if (draft->text.len > 0) {
        memcpy(index->texts + *text_at, draft->text.ptr, draft->text.len);
    }
    *text_at += (uint32_t)draft->text.len;
    insert_slot(index, number);
}

static mr_err begin_run(struct route_index *index, struct bucket *bucket, uint32_t number,
                        const struct draft *draft, uint32_t first) {
    if (bucket->root == TRIE_NONE) {
        MR_TRY(trie_root(&index->trie, &bucket->root));
    }
    index->runs[number] = (struct run){.filter = route_filter_ref(draft->filter), .first = first};
    return trie_add(&index->trie, bucket->root, draft->filter->filter, number);
}

static mr_err fill_index(struct route_index *index, const struct draft *drafts, size_t n) {
    index->n_entries = n;
    count_keys(index, drafts, n);
    if (n == 0) {
        return MR_OK;
    }
    MR_TRY(alloc_index(index));
    uint32_t n_buckets = 0;
    uint32_t n_runs = 0;
    uint32_t text_at = 0;
    for (size_t i = 0; i < n; i++) {
        const struct draft *draft = &drafts[i];
        index->entries[i] = draft->entry;
        if (i == 0 || !same_key(&drafts[i - 1], draft)) {
            begin_bucket(index, n_buckets++, draft, (uint32_t)i, &text_at);
        }
        struct bucket *bucket = &index->buckets[n_buckets - 1];
        if (draft->filter == NULL) {
            bucket->n++;
            continue;
        }
        if (begins_run(drafts, i)) {
            MR_TRY(begin_run(index, bucket, n_runs++, draft, (uint32_t)i));
        }
        index->runs[n_runs - 1].n++;
    }
    MR_ASSERT(n_buckets == index->n_buckets && n_runs == index->n_runs);
    return MR_OK;
}

mr_err route_index_new(const struct route_rule *rules, size_t n_rules,
                       struct route_index **ret_index) {
    size_t n_lines = 0;
    for (size_t i = 0; i < n_rules; i++) {
        n_lines += rules[i].n_types;
    }
    struct route_index *index = MR_NEW(struct route_index);
    struct draft *drafts = mr_calloc(2 * n_lines + 1, sizeof *drafts);
    mr_err err = index == NULL || drafts == NULL ? MR_ERR(MR_E_NOMEM) : MR_OK;
    size_t n = 0;
    if (index != NULL) {
        trie_init(&index->trie);
    }
    if (mr_is_ok(err)) {
        err = draft_rules(rules, n_rules, drafts, &n);
    }
    if (mr_is_ok(err)) {
        struct draft *sorted = sort_drafts(drafts, drafts + n_lines, n);
        n = drop_repeated(sorted, n);
        err = fill_index(index, sorted, n);
    }
    mr_free(drafts);
    if (mr_is_err(err)) {
        route_index_free(index);
        return err;
    }
    *ret_index = index;
    return MR_OK;
}

void route_index_free(struct route_index *index) {
    if (index == NULL) {
        return;
    }
    for (size_t i = 0; index->runs != NULL && i < index->n_runs; i++) {
        route_filter_unref(index->runs[i].filter);
    }
    trie_done(&index->trie);
    mr_free(index->runs);
    mr_free(index->entries);
    mr_free(index->buckets);
    mr_free(index->slots);
    mr_free(index->texts);
    mr_free(index);
}

size_t route_index_bytes(const struct route_index *index) {
    return sizeof *index + index->n_entries * sizeof *index->entries +
           index->n_buckets * sizeof *index->buckets + index->n_slots * sizeof *index->slots +
           index->n_texts + index->n_runs * sizeof *index->runs + trie_bytes(&index->trie);
}

bool route_index_has_filters(const struct route_index *index) {
    return index->n_runs > 0;
}

const struct route_filter *route_index_filter(const struct route_index *index) {
    return index->n_runs > 0 ? index->runs[0].filter : NULL;
}

/* The bucket of a key, or NULL. */
static const struct bucket *find_bucket(const struct route_index *index, uint32_t account,
                                        enum key_kind kind, mr_str text) {
    if (index->n_slots == 0) {
        return NULL;
    }
    uint64_t hash = key_hash(account, kind, text);
    size_t at = hash & (index->n_slots - 1);
    /* The table is at most half full: an empty slot ends the search. */
    for (; index->slots[at] != 0; at = (at + 1) & (index->n_slots - 1)) {
        const struct bucket *bucket = &index->buckets[index->slots[at] - 1];
        if (bucket->hash == hash && bucket->account == account && bucket->kind == kind &&
            mr_str_eq(mr_str_of(index->texts + bucket->text_at, bucket->text_len), text)) {
            return bucket;
        }
    }
    return NULL;
}

void route_result_init(struct route_result *result) {
    *result = (struct route_result){0};
    trie_search_init(&result->search);
}

void route_result_done(struct route_result *result) {
    mr_free(result->targets);
    mr_free(result->rules);
    mr_free(result->slices);
    mr_free(result->order);
    trie_search_done(&result->search);
    route_result_init(result);
}

static mr_err grow(void **array, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) {
        return MR_OK;
    }
    size_t wanted = *cap * 2 < need ? need : *cap * 2;
    wanted = wanted < 8 ? 8 : wanted;
    void *larger = mr_realloc(*array, wanted * size);
    if (larger == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    *array = larger;
    *cap = wanted;
    return MR_OK;
}

static mr_err grow_u32(uint32_t **array, size_t *cap, size_t need) {
    void *grown = *array;
    mr_err err = grow(&grown, cap, need, sizeof **array);
    *array = grown;
    return err;
}

/* Room for the worst case, so that merging cannot fail halfway. */
static mr_err reserve(struct route_result *result) {
    void *targets = result->targets;
    mr_err err = grow(&targets, &result->cap_targets, result->n_entries, sizeof *result->targets);
    result->targets = targets;
    MR_TRY(err);
    MR_TRY(grow_u32(&result->rules, &result->cap_rules, result->n_entries));
    return grow_u32(&result->order, &result->cap_order, 2 * result->n_entries);
}

static mr_err add_slice(struct route_result *result, uint32_t first, uint32_t n) {
    if (n == 0) {
        return MR_OK;
    }
    void *slices = result->slices;
    mr_err err = grow(&slices, &result->cap_slices, result->n_slices + 1, sizeof *result->slices);
    result->slices = slices;
    MR_TRY(err);
    result->slices[result->n_slices++] = (struct route_slice){first, n};
    result->n_entries += n;
    return MR_OK;
}

/* Adds what matches of a bucket. */
static mr_err add_bucket(const struct route_index *index, const struct bucket *bucket,
                         const struct route_event *event, struct route_result *result) {
    if (bucket == NULL) {
        return MR_OK;
    }
    MR_TRY(add_slice(result, bucket->first, bucket->n));
    if (bucket->root == TRIE_NONE) {
        return MR_OK;
    }
    MR_ASSERT(event->content != NULL && event->run != NULL);
    MR_TRY(trie_find(&index->trie, bucket->root, event->content, &result->search));
    for (size_t i = 0; i < result->search.n_runs; i++) {
        const struct run *run = &index->runs[result->search.runs[i]];
        uint32_t steps_left = ROUTE_STEPS_MAX - result->n_steps;
        bool failed = false;
        if (steps_left == 0) {
            result->n_filter_errors += (uint32_t)(result->search.n_runs - i);
            break;
        }
        if (filter_matches_within(run->filter->filter, event->content, event->run, &steps_left,
                                  &failed)) {
            MR_TRY(add_slice(result, run->first, run->n));
        }
        result->n_steps = ROUTE_STEPS_MAX - steps_left;
        result->n_filter_errors += failed ? 1 : 0;
    }
    return MR_OK;
}

/* Adds one matching line; lines come sorted by (destination, rule). */
static void add_line(struct route_result *result, const struct entry *entry) {
    struct route_target *target =
        result->n_targets == 0 ? NULL : &result->targets[result->n_targets - 1];
    if (target == NULL || target->destination != entry->destination) {
        target = &result->targets[result->n_targets++];
        *target = (struct route_target){.destination = entry->destination,
                                        .rules_at = (uint32_t)result->n_rules};
    }
    if (entry->version > target->version) {
        target->version = entry->version;
    }
    /* A rule that names the type and "*" stands in both buckets. */
    if (target->n_rules == 0 || result->rules[result->n_rules - 1] != entry->rule) {
        result->rules[result->n_rules++] = entry->rule;
        target->n_rules++;
    }
}

static bool is_before(const struct entry *a, const struct entry *b) {
    return a->destination != b->destination ? a->destination < b->destination : a->rule < b->rule;
}

/* Merges two slices of `from` that stand one behind the other into the same place of `to`. */
static struct route_slice merge_two(const struct route_index *index, const uint32_t *from,
                                    uint32_t *to, struct route_slice a, struct route_slice b) {
    uint32_t left = a.first;
    uint32_t right = b.first;
    for (uint32_t at = a.first; at < b.first + b.n; at++) {
        bool take_right = right < b.first + b.n &&
                          (left == b.first ||
                           is_before(&index->entries[from[right]], &index->entries[from[left]]));
        to[at] = take_right ? from[right++] : from[left++];
    }
    return (struct route_slice){a.first, a.n + b.n};
}

/* The entries of all slices in order of destination and rule. */
static const uint32_t *merge(const struct route_index *index, struct route_result *result) {
    uint32_t *from = result->order;
    uint32_t *to = result->order + result->n_entries;
    uint32_t n = 0;
    for (size_t i = 0; i < result->n_slices; i++) {
        struct route_slice slice = result->slices[i];
        result->slices[i].first = n;
        for (uint32_t k = 0; k < slice.n; k++) {
            from[n++] = slice.first + k;
        }
    }
    /* Neighbours in pairs, until one is left. */
    for (size_t n_left = result->n_slices; n_left > 1;) {
        size_t kept = 0;
        for (size_t i = 0; i < n_left; i += 2) {
            struct route_slice end = {n, 0};
            struct route_slice next = i + 1 < n_left ? result->slices[i + 1] : end;
            result->slices[kept++] = merge_two(index, from, to, result->slices[i], next);
        }
        n_left = kept;
        uint32_t *merged = to;
        to = from;
        from = merged;
    }
    return from;
}

mr_err route_match(const struct route_index *index, const struct route_event *event,
                   struct route_result *result) {
    result->n_targets = 0;
    result->n_rules = 0;
    result->n_filter_errors = 0;
    result->n_steps = 0;
    result->n_slices = 0;
    result->n_entries = 0;
    MR_TRY(add_bucket(index, find_bucket(index, event->account, KEY_TYPE, event->type), event,
                      result));
    if (!mr_str_is_absent(event->product_group)) {
        MR_TRY(add_bucket(index,
                          find_bucket(index, event->account, KEY_GROUP, event->product_group),
                          event, result));
    }
    if (result->n_entries == 0) {
        return MR_OK;
    }
    MR_TRY(reserve(result));
    const uint32_t *order = merge(index, result);
    for (size_t i = 0; i < result->n_entries; i++) {
        const struct entry *entry = &index->entries[order[i]];
        if (entry->sampling == 1 || event->id_hash % entry->sampling == 0) {
            add_line(result, entry);
        }
    }
    for (size_t i = 0; i < result->n_targets; i++) {
        struct route_target *target = &result->targets[i];
        target->version = target->version > event->version ? event->version : target->version;
    }
    return MR_OK;
}
