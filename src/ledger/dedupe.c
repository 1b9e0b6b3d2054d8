/* The memory of ids. See dedupe.h; the files are in dedupe_files.c.
 *
 * Ids are numbered as they come; id number s is entry (s - first) of its generation. A generation
 * is open (being filled, in memory), sealed (full, in memory, waiting for maintenance to write it),
 * stored (in its file only), retired (forgotten, its slots in the index being cleared):
 *
 *     open ──full, or a 16th of the window old, all durable──▶ sealed ──written──▶ stored ──▶
 * retired
 *
 * The index is one table of 8-byte slots over all of them: 36 bits of the tag and 28 of the number.
 * A slot's home is those 36 bits scaled to the table, so that growing needs no tag and goes through
 * memory in order. A lookup touches one or two cache lines; only when 36 bits agree is the entry
 * itself looked at, in a file only for a duplicate or by a chance of one in thousands.
 *
 * Why not one table of whole entries: 4 million would be 128 MiB of memory; the index is 64 MiB at
 * the most, entries in memory 16 MiB. Why not filters per generation: sixteen cache misses.
 *
 * Growing moves the slots into a table of twice the size a few at a time, with each id that comes,
 * and clearing a retired generation is done in small parts too: the writer never stops for either.
 * Not on huge pages: the first ids that come after a growth fall anywhere in the new table, and
 * clearing 2 MiB for each of them held the writer for 140 ms; pages of 4 KiB spread that.
 *
 * Invariants: every entry of a generation that is not retired has its slot; no two entries that are
 * not retired have one tag; open entries are in order of position within what was placed by this
 * run, so that undone takes back the last ones. */
#include "ledger/dedupe.h"

#include "base/mem.h"
#include "ledger/dedupe_parts.h"

#define SLOTS_MIN      1024U
#define REF_BITS       28U
#define REF_MASK       ((UINT64_C(1) << REF_BITS) - 1)
#define CLEAR_PER_TICK 1024U
#define MOVE_PER_ID    64U
#define GONE           UINT64_C(1) /* a slot of a table that is being left: moved or removed */

/* --- entries ------------------------------------------------------------------------------------
 */

static struct generation *open_of(const struct dedupe *dedupe) {
    return dedupe->generations[dedupe->n_generations - 1];
}

static struct dedupe_entry *entry_in(const struct generation *generation, uint32_t i) {
    return &generation->blocks[i / DEDUPE_BLOCK][i % DEDUPE_BLOCK];
}

/* Entries [i, i + n) of a generation, from memory or its file. */
static mr_err read_entries(struct dedupe *dedupe, const struct generation *generation, uint32_t i,
                           uint32_t n, struct dedupe_entry *out) {
    if (generation->blocks != NULL) {
        for (uint32_t k = 0; k < n; k++) {
            out[k] = *entry_in(generation, i + k);
        }
        return MR_OK;
    }
    size_t got = 0;
    dedupe->file_reads++;
    MR_TRY(dedupe->options.files->read(
        dedupe->options.files->ctx, generation->file, out, n * sizeof *out,
        DEDUPE_HEAD_BYTES + (uint64_t)i * sizeof *out, OS_READ_WAIT, &got));
    return got == n * sizeof *out ? MR_OK : MR_ERR(MR_E_IO);
}

/* The generation and index that a slot refers to. */
static struct generation *generation_of(const struct dedupe *dedupe, uint64_t slot,
                                        uint32_t *ret_i) {
    uint64_t base = dedupe->generations[0]->first_number;
    uint64_t number = base + (((slot & REF_MASK) - base) & REF_MASK);
    uint32_t g = dedupe->n_generations;
    while (g > 0 && dedupe->generations[g - 1]->first_number > number) {
        g--;
    }
    MR_ASSERT(g > 0);
    struct generation *generation = dedupe->generations[g - 1];
    *ret_i = (uint32_t)(number - generation->first_number);
    MR_ASSERT(*ret_i < generation->n);
    return generation;
}

/* --- the index ----------------------------------------------------------------------------------
 */

static size_t home_in(const struct dedupe_table *table, uint64_t slot) {
    return (size_t)(((slot >> REF_BITS) * table->n) >> (64 - REF_BITS));
}

/* The bits that stand for a tag; one is always set, so that no slot in use is 0 or GONE. */
static uint64_t print_of(struct siphash_128 tag) {
    return (tag.lo & ~REF_MASK) | (REF_MASK + 1);
}

static uint64_t slot_of(struct siphash_128 tag, uint64_t number) {
    return print_of(tag) | (number & REF_MASK);
}

static size_t slot_after(const struct dedupe_table *table, size_t i) {
    return i + 1 == table->n ? 0 : i + 1;
}

static void table_put(struct dedupe_table *table, uint64_t slot) {
    size_t i = home_in(table, slot);
    while (table->slots[i] != 0) {
        i = slot_after(table, i);
    }
    table->slots[i] = slot;
}

static void index_put(struct dedupe *dedupe, uint64_t slot) {
    table_put(&dedupe->table, slot);
    dedupe->n_used++;
}

/* Moves some slots of the table that is being left. */
static void migrate(struct dedupe *dedupe, size_t n) {
    struct dedupe_table *old = &dedupe->old;
    for (; n > 0 && dedupe->n_moved < old->n; n--, dedupe->n_moved++) {
        uint64_t slot = old->slots[dedupe->n_moved];
        if (slot > GONE) {
            table_put(&dedupe->table, slot);
            old->slots[dedupe->n_moved] = GONE;
        }
    }
    if (old->n > 0 && dedupe->n_moved == old->n) {
        mr_free(old->slots);
        *old = (struct dedupe_table){0};
    }
}

static size_t distance(const struct dedupe_table *table, size_t from, size_t to) {
    return to >= from ? to - from : to + table->n - from;
}

/* Where a slot stands; table->n where it does not. */
static size_t table_find(const struct dedupe_table *table, uint64_t slot) {
    if (table->n == 0) {
        return 0;
    }
    size_t i = home_in(table, slot);
    while (table->slots[i] != slot) {
        if (table->slots[i] == 0) {
            return table->n;
        }
        i = slot_after(table, i);
    }
    return i;
}

static void index_remove(struct dedupe *dedupe, uint64_t slot) {
    struct dedupe_table *table = &dedupe->table;
    size_t hole = table_find(table, slot);
    dedupe->n_used--;
    if (hole == table->n) {
        hole = table_find(&dedupe->old, slot);
        MR_ASSERT(hole < dedupe->old.n);
        dedupe->old.slots[hole] = GONE;
        return;
    }
    for (size_t i = slot_after(table, hole); table->slots[i] != 0; i = slot_after(table, i)) {
        size_t home = home_in(table, table->slots[i]);
        if (distance(table, home, i) >= distance(table, hole, i)) {
            table->slots[hole] = table->slots[i];
            hole = i;
        }
    }
    table->slots[hole] = 0;
}

mr_err dedupe_index_reserve(struct dedupe *dedupe, uint64_t n) {
    uint64_t need = dedupe->n_used + n;
    migrate(dedupe, MOVE_PER_ID * n);
    if (need * 10 <= (uint64_t)dedupe->table.n * 7) {
        return MR_OK;
    }
    size_t n_slots = dedupe->table.n == 0 ? SLOTS_MIN : dedupe->table.n;
    while (need * 10 > (uint64_t)n_slots * 7) {
        n_slots *= 2;
    }
    uint64_t *slots = mr_calloc(n_slots, sizeof *slots);
    if (slots == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    migrate(dedupe, dedupe->old.n); /* of an earlier growth: done long ago, but for huge units */
    dedupe->old = dedupe->table;
    dedupe->table = (struct dedupe_table){.slots = slots, .n = n_slots};
    dedupe->n_moved = 0;
    return MR_OK;
}

void dedupe_index_add(struct dedupe *dedupe, struct siphash_128 tag, uint64_t number) {
    index_put(dedupe, slot_of(tag, number));
}

/* Looks in one table. */
static mr_err find_in(struct dedupe *dedupe, const struct dedupe_table *table,
                      struct siphash_128 tag, struct dedupe_found *ret_found) {
    if (table->n == 0) {
        return MR_ERR(MR_E_NOT_FOUND);
    }
    uint64_t print = print_of(tag);
    for (size_t i = home_in(table, print); table->slots[i] != 0; i = slot_after(table, i)) {
        if ((table->slots[i] & ~REF_MASK) != print) {
            continue;
        }
        uint32_t at;
        const struct generation *generation = generation_of(dedupe, table->slots[i], &at);
        struct dedupe_entry entry;
        if (generation->is_retired) {
            continue;
        }
        MR_TRY(read_entries(dedupe, generation, at, 1, &entry));
        if (entry.tag.lo == tag.lo && entry.tag.hi == tag.hi) {
            *ret_found = (struct dedupe_found){.pos = entry.pos, .digest = entry.digest};
            return MR_OK;
        }
    }
    return MR_ERR(MR_E_NOT_FOUND);
}

mr_err dedupe_find(struct dedupe *dedupe, struct siphash_128 tag, struct dedupe_found *ret_found) {
    mr_err err = find_in(dedupe, &dedupe->table, tag, ret_found);
    return mr_err_is(err, MR_E_NOT_FOUND) ? find_in(dedupe, &dedupe->old, tag, ret_found) : err;
}

/* --- adding -------------------------------------------------------------------------------------
 */

static mr_err reserve_entries(struct generation *generation, uint64_t n) {
    uint64_t blocks = (generation->n + n + DEDUPE_BLOCK - 1) / DEDUPE_BLOCK;
    if (blocks > UINT32_MAX / DEDUPE_BLOCK) {
        return MR_ERR(MR_E_NOMEM);
    }
    if (blocks > generation->blocks_capacity) {
        uint32_t capacity = (uint32_t)blocks + generation->blocks_capacity;
        struct dedupe_entry **table =
            mr_realloc(generation->blocks, (size_t)capacity * sizeof(struct dedupe_entry *));
        if (table == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        generation->blocks = table;
        generation->blocks_capacity = capacity;
    }
    while (generation->n_blocks < blocks) {
        struct dedupe_entry *block = mr_alloc(DEDUPE_BLOCK * sizeof *block);
        if (block == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        generation->blocks[generation->n_blocks] = block;
        generation->n_blocks++;
    }
    return MR_OK;
}

static void add_entry(struct dedupe *dedupe, const struct dedupe_entry *entry, int64_t ms) {
    struct generation *open = open_of(dedupe);
    if (open->n == 0) {
        open->first_pos = entry->pos;
        open->first_ms = ms;
        open->newest_ms = ms;
    }
    *entry_in(open, open->n) = *entry;
    index_put(dedupe, slot_of(entry->tag, open->first_number + open->n));
    open->n++;
    open->first_pos = entry->pos < open->first_pos ? entry->pos : open->first_pos;
    open->end_pos = entry->pos >= open->end_pos ? entry->pos + 1 : open->end_pos;
    open->newest_ms = ms > open->newest_ms ? ms : open->newest_ms;
    dedupe->n_ids++;
    if (open->n == 1) {
        dedupe_update_floor(dedupe);
    }
}

static mr_err reserve(struct dedupe *dedupe, uint64_t n) {
    MR_TRY(dedupe_index_reserve(dedupe, n));
    return reserve_entries(open_of(dedupe), n);
}

mr_err dedupe_replay(struct dedupe *dedupe, uint64_t pos, mr_str body) {
    struct record_event event;
    MR_TRY(record_event_decode(body, &event));
    for (uint32_t g = 0; g + 1 < dedupe->n_generations; g++) {
        const struct generation *generation = dedupe->generations[g];
        if (pos >= generation->first_pos && pos < generation->end_pos) {
            return MR_OK;
        }
    }
    struct dedupe_found found;
    mr_err err = dedupe_find(dedupe, event.tag, &found);
    if (!mr_err_is(err, MR_E_NOT_FOUND)) {
        return err;
    }
    MR_TRY(reserve(dedupe, 1));
    struct dedupe_entry entry = {.tag = event.tag, .pos = pos, .digest = event.digest};
    add_entry(dedupe, &entry, event.accepted_ms);
    dedupe->durable = pos + 1 > dedupe->durable ? pos + 1 : dedupe->durable;
    /* Recovery may bring many generations' worth. */
    return open_of(dedupe)->n >= dedupe->generation_ids ? dedupe_begin_generation(dedupe) : MR_OK;
}

/* --- the writer's hooks
 * --------------------------------------------------------------------------- */

static struct dedupe_entry entry_of(const struct journal_slot *slot) {
    struct dedupe_entry entry = {.pos = slot->pos};
    bool is_event = record_event_tag((mr_str){slot->body, slot->len}, &entry.tag, &entry.digest);
    MR_ASSERT(is_event);
    return entry;
}

/* Where among the earlier slots of the unit the tag stands; JOURNAL_INDEX_NONE: it was not there
 * and is now noted. */
static uint32_t note_in_unit(struct dedupe *dedupe, const struct journal_unit *unit, uint32_t i,
                             struct siphash_128 tag) {
    uint32_t mask = dedupe->n_scratch - 1;
    uint32_t at = (uint32_t)tag.lo & mask;
    while (dedupe->scratch[at] != 0) {
        uint32_t other = dedupe->scratch[at] - 1;
        struct dedupe_entry entry = entry_of(&unit->records[other]);
        if (entry.tag.lo == tag.lo && entry.tag.hi == tag.hi) {
            return other;
        }
        at = (at + 1) & mask;
    }
    dedupe->scratch[at] = i + 1;
    return JOURNAL_INDEX_NONE;
}

static mr_err prepare_scratch(struct dedupe *dedupe, uint32_t n) {
    uint32_t need = 16;
    while (need < 2 * n) {
        need *= 2;
    }
    if (need > dedupe->scratch_capacity) {
        uint32_t *scratch = mr_realloc(dedupe->scratch, need * sizeof *scratch);
        if (scratch == NULL) {
            return MR_ERR(MR_E_NOMEM);
        }
        dedupe->scratch = scratch;
        dedupe->scratch_capacity = need;
    }
    dedupe->n_scratch = need;
    memset(dedupe->scratch, 0, need * sizeof *dedupe->scratch);
    return MR_OK;
}

/* Judges one EVENT slot. MR_E_EXISTS: the id has other content. */
static mr_err judge(struct dedupe *dedupe, struct journal_unit *unit, uint32_t i) {
    struct journal_slot *slot = &unit->records[i];
    struct dedupe_entry entry = entry_of(slot);
    struct dedupe_found found;
    mr_err err = dedupe_find(dedupe, entry.tag, &found);
    if (mr_is_ok(err)) {
        slot->verdict = JOURNAL_DUPLICATE;
        slot->pos = found.pos;
        return found.digest == entry.digest ? MR_OK : MR_ERR(MR_E_EXISTS);
    }
    if (!mr_err_is(err, MR_E_NOT_FOUND)) {
        return err;
    }
    uint32_t other =
        unit->n_records > 1 ? note_in_unit(dedupe, unit, i, entry.tag) : JOURNAL_INDEX_NONE;
    if (other == JOURNAL_INDEX_NONE) {
        return MR_OK;
    }
    slot->verdict = JOURNAL_DUPLICATE;
    slot->original_index = other;
    return entry_of(&unit->records[other]).digest == entry.digest ? MR_OK : MR_ERR(MR_E_EXISTS);
}

/* Starts fetching the slots of all of them: each is a cache miss, and they can wait together. */
static void prefetch(const struct dedupe *dedupe, const struct journal_unit *unit) {
    for (uint32_t i = 0; i < unit->n_records; i++) {
        if (unit->records[i].type == RECORD_EVENT && dedupe->table.n > 0) {
            struct dedupe_entry entry = entry_of(&unit->records[i]);
            __builtin_prefetch(&dedupe->table.slots[home_in(&dedupe->table, print_of(entry.tag))]);
        }
    }
}

bool dedupe_admit(void *ctx, struct journal_unit *unit) {
    struct dedupe *dedupe = ctx;
    mr_err err = reserve(dedupe, unit->n_records);
    if (mr_is_ok(err) && unit->n_records > 1) {
        err = prepare_scratch(dedupe, unit->n_records);
        prefetch(dedupe, unit);
    }
    for (uint32_t i = 0; i < unit->n_records && mr_is_ok(err); i++) {
        if (unit->records[i].type == RECORD_EVENT) {
            err = judge(dedupe, unit, i);
            dedupe->conflict = (struct dedupe_conflict){.slot = i};
        }
    }
    dedupe->conflict.out_of_memory = mr_is_err(err) && !mr_err_is(err, MR_E_EXISTS);
    return mr_is_ok(err);
}

struct dedupe_conflict dedupe_conflict(const struct dedupe *dedupe) {
    return dedupe->conflict;
}

static bool is_kept(const struct journal_unit *unit, uint32_t i) {
    return unit->klass == JOURNAL_INGEST && unit->records[i].type == RECORD_EVENT &&
           unit->records[i].verdict == JOURNAL_KEEP;
}

void dedupe_placed(void *ctx, const struct journal_unit *unit) {
    struct dedupe *dedupe = ctx;
    for (uint32_t i = 0; i < unit->n_records; i++) {
        if (is_kept(unit, i)) {
            struct dedupe_entry entry = entry_of(&unit->records[i]);
            add_entry(dedupe, &entry, dedupe->now_ms);
        }
    }
}

void dedupe_undone(void *ctx, const struct journal_unit *unit) {
    struct dedupe *dedupe = ctx;
    for (uint32_t i = unit->n_records; i-- > 0;) {
        if (!is_kept(unit, i)) {
            continue;
        }
        struct dedupe_entry entry = entry_of(&unit->records[i]);
        struct generation *open = open_of(dedupe);
        MR_ASSERT(open->n > 0); /* only what is durable is sealed */
        const struct dedupe_entry *last = entry_in(open, open->n - 1);
        MR_ASSERT(last->tag.lo == entry.tag.lo && last->tag.hi == entry.tag.hi);
        index_remove(dedupe, slot_of(entry.tag, open->first_number + open->n - 1));
        open->n--;
        dedupe->n_ids--;
    }
    struct generation *open = open_of(dedupe);
    open->end_pos = open->n == 0 ? 0 : entry_in(open, open->n - 1)->pos + 1;
}

void dedupe_committed(void *ctx, uint64_t durable) {
    struct dedupe *dedupe = ctx;
    dedupe->durable = durable;
    const struct generation *open = open_of(dedupe);
    if (open->n >= dedupe->generation_ids && open->end_pos <= durable) {
        mr_ignore(dedupe_begin_generation(dedupe), "without memory it grows, and is tried again");
    } else if (open->n == 0) {
        dedupe_update_floor(dedupe);
    }
}

/* --- time ---------------------------------------------------------------------------------------
 */

/* Clears some slots of the retired generation; it goes when all are. */
static void clear_some(struct dedupe *dedupe) {
    struct generation *oldest = dedupe->generations[0];
    struct dedupe_entry entries[64];
    uint32_t budget = CLEAR_PER_TICK;
    while (oldest->n_cleared < oldest->n && budget > 0) {
        uint32_t n = oldest->n - oldest->n_cleared;
        n = n > 64 ? 64 : n;
        n = n > budget ? budget : n;
        if (mr_is_err(read_entries(dedupe, oldest, oldest->n_cleared, n, entries))) {
            return; /* its slots stay a while: they lead to what is retired */
        }
        for (uint32_t i = 0; i < n; i++) {
            index_remove(dedupe,
                         slot_of(entries[i].tag, oldest->first_number + oldest->n_cleared + i));
        }
        oldest->n_cleared += n;
        budget -= n;
    }
    if (oldest->n_cleared == oldest->n) {
        dedupe_drop_oldest(dedupe);
    }
}

void dedupe_tick(struct dedupe *dedupe, mr_wall now, bool age_rules) {
    dedupe->now_ms = mr_wall_ms(now);
    struct generation *open = open_of(dedupe);
    if (age_rules && open->n > 0 && open->end_pos <= dedupe->durable &&
        dedupe->now_ms - open->first_ms >= dedupe->options.window_ms / DEDUPE_GENERATIONS) {
        mr_ignore(dedupe_begin_generation(dedupe), "without memory it is tried again");
    }
    dedupe_free_stored(dedupe);
    struct generation *oldest = dedupe->generations[0];
    if (dedupe->n_generations > 1 && !oldest->is_retired) {
        bool is_surplus = dedupe->n_ids - oldest->n >= dedupe->options.window_ids;
        bool is_old = age_rules && dedupe->now_ms - oldest->newest_ms > dedupe->options.window_ms;
        if ((is_surplus || is_old) && dedupe_retire(dedupe, oldest)) {
            dedupe->n_ids -= oldest->n;
        }
    }
    if (oldest->is_retired) {
        clear_some(dedupe);
    }
}

struct dedupe_stats dedupe_stats(const struct dedupe *dedupe) {
    struct dedupe_stats stats = {.ids = dedupe->n_ids,
                                 .generations = dedupe->n_generations,
                                 .file_reads = dedupe->file_reads,
                                 .memory_bytes =
                                     (dedupe->table.n + dedupe->old.n) * sizeof(uint64_t)};
    for (uint32_t g = 0; g < dedupe->n_generations; g++) {
        const struct generation *generation = dedupe->generations[g];
        stats.stored += generation->blocks == NULL && generation->n > 0;
        stats.memory_bytes +=
            (uint64_t)generation->n_blocks * DEDUPE_BLOCK * sizeof(struct dedupe_entry);
    }
    return stats;
}
