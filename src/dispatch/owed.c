/* What is owed, from the ledger to the lanes: at start from the recovered book, then from the slabs
 * of committed groups. A slab says what came (events and redrives) and what the keeper ended (dead
 * letters for want of space or because of damage). Outcomes of the lanes stand there too and are
 * passed over: the lane that made one knows it. */
#include "dispatch/shard_parts.h"

#include "base/mem.h"
#include "dispatch/callbacks/callbacks.h"

#include <stdlib.h>

/* ---- what becomes durable ---- */

static void add_delivery(struct shard *shard, uint32_t destination,
                         const struct backlog_entry *entry) {
    struct shard_lane *owner = shard_lane_of(shard, destination);
    /* A delivery that finds no memory would be forgotten until the next start: stop instead. */
    MR_ASSERT(owner != NULL);
    MR_ASSERT(mr_is_ok(lane_on_event(&owner->lane, entry)));
    if (owner->is_deleted) {
        shard_discard_all(owner);
    }
    shard_mark(owner);
}

static void take_event(struct shard *shard, uint64_t pos, mr_str body, int64_t now_ms) {
    struct record_event event;
    MR_ASSERT(mr_is_ok(record_event_decode(body, &event)));
    uint64_t type = 0;
    mr_str at = event.targets;
    struct record_target target;
    while (record_targets_next(&at, &target)) {
        if ((target.flags & RECORD_TARGET_SKIPPED) != 0 ||
            shard_owner(target.destination, shard->options.n_workers) != shard->options.index) {
            continue;
        }
        if (type == 0) {
            MR_ASSERT(mr_is_ok(type_table_number(
                shard->types, record_event_member(&event, RECORD_TYPE_ATTRIBUTE), &type)));
        }
        const struct backlog_entry entry = {
            .pos = pos,
            .key = lane_key_make(type, record_target_version(&event, &target)),
            .arrived_ms = now_ms,
            .size = (uint32_t)event.envelope.len};
        add_delivery(shard, target.destination, &entry);
    }
}

static void take_add(struct shard *shard, mr_str body, int64_t now_ms) {
    struct record_add add;
    const uint8_t *items;
    MR_ASSERT(mr_is_ok(record_add_decode(body, &add, &items)));
    if (shard_owner(add.destination, shard->options.n_workers) != shard->options.index) {
        return;
    }
    uint64_t type;
    MR_ASSERT(mr_is_ok(type_table_number(shard->types, add.type, &type)));
    for (uint32_t i = 0; i < add.n; i++) {
        struct record_add_item item = record_add_item_at(items, i);
        const struct backlog_entry entry = {.pos = item.pos,
                                            .key = lane_key_make(type, add.version),
                                            .arrived_ms = now_ms,
                                            .size = item.size,
                                            .origin = add.origin};
        add_delivery(shard, add.destination, &entry);
    }
}

static int by_position(const void *a, const void *b) {
    const uint64_t *x = a;
    const uint64_t *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* The keeper gave deliveries up: they leave the lane, which has nothing to say to it. */
static void take_dead(struct shard *shard, mr_str body) {
    struct record_dead dead;
    const uint8_t *items;
    MR_ASSERT(mr_is_ok(record_dead_decode(body, &dead, &items)));
    struct shard_lane *owner = shard_find_lane(shard, dead.destination);
    if (owner == NULL) {
        return;
    }
    struct shard_settled *settled = mr_alloc(sizeof *settled + dead.n * sizeof(uint64_t));
    MR_ASSERT(settled != NULL);
    *settled = (struct shard_settled){.origin = dead.origin, .n = dead.n};
    for (uint32_t i = 0; i < dead.n; i++) {
        settled->positions[i] = record_dead_item_at(items, i).pos;
    }
    qsort(settled->positions, settled->n, sizeof(uint64_t), by_position);
    shard_settle(owner, settled);
}

void shard_on_slab(struct mail *mail) {
    struct slab_mail *got = (struct slab_mail *)(void *)mail;
    struct shard *shard = got->ctx;
    struct slab *slab = got->slab;
    int64_t now_ms = loop_now(shard->options.loop).ns / MR_NS_PER_MS;
    for (uint32_t i = 0; i < slab->n_records; i++) {
        const struct slab_entry *entry = &slab->records[i];
        if (entry->type == RECORD_EVENT) {
            take_event(shard, entry->pos, slab_body(slab, entry), now_ms);
        } else if (entry->type == RECORD_ADD) {
            take_add(shard, slab_body(slab, entry), now_ms);
        } else if (entry->type == RECORD_DEAD && entry->klass == JOURNAL_CONTROL) {
            take_dead(shard, slab_body(slab, entry));
        } else if (entry->type == RECORD_CALLBACK) {
            callbacks_take(shard->callbacks, entry->pos, slab_body(slab, entry));
        }
    }
    slab_cache_put(&shard->slabs, slab, now_ms);
}

/* ---- start ---- */

struct restore {
    struct shard *shard;
    const struct book *book;
    struct lane_now now;
    struct shard_lane *owner;
};

static mr_err key_of(const struct restore *restore, uint32_t key, uint64_t *ret_key) {
    uint64_t type = 0;
    uint16_t version = 0;
    if (key != BOOK_KEY_NONE) {
        struct book_key named = book_key(restore->book, key);
        MR_TRY(type_table_number(restore->shard->types, named.type, &type));
        version = named.version;
    }
    *ret_key = lane_key_make(type, version);
    return MR_OK;
}

static mr_err restore_waiting(void *ctx, const struct book_waiting *waiting) {
    struct restore *restore = ctx;
    struct backlog_entry entry = {.pos = waiting->pos,
                                  .arrived_ms = restore->now.mono.ns / MR_NS_PER_MS,
                                  .size = waiting->size,
                                  .origin = waiting->origin};
    MR_TRY(key_of(restore, waiting->key, &entry.key));
    return lane_on_event(&restore->owner->lane, &entry);
}

static mr_err restore_request(void *ctx, const struct book_request *request) {
    struct restore *restore = ctx;
    struct lane_open_request open = {.positions = request->positions,
                                     .n_positions = request->n,
                                     .origin = request->origin,
                                     .form = request->form,
                                     .bytes = request->bytes,
                                     .attempt = (uint16_t)request->attempt,
                                     .is_part = request->is_part,
                                     .due_ms = request->due_ms,
                                     .first_attempt_ms = request->first_ms};
    MR_TRY(key_of(restore, request->key, &open.key));
    uint64_t keys[LANE_BATCH_MAX];
    if (restore->owner->lane.settings.mixes && request->n <= LANE_BATCH_MAX) {
        for (uint32_t i = 0; i < request->n; i++) {
            MR_TRY(key_of(restore, book_request_key(request, i), &keys[i]));
        }
        open.keys = keys;
    }
    return lane_restore_request(&restore->owner->lane, restore->now, &open);
}

static mr_err restore_destination(void *ctx, const struct book_destination *row) {
    struct restore *restore = ctx;
    struct shard *shard = restore->shard;
    if (shard_owner(row->number, shard->options.n_workers) != shard->options.index ||
        row->counters.pending == 0) {
        return MR_OK;
    }
    /* What the journal names and the store lacks was deleted, however high its number. */
    if (snapshot_destination(shard->snapshot, row->number) == NULL &&
        row->number > shard->number_max) {
        shard->number_max = row->number;
    }
    restore->owner = shard_lane_of(shard, row->number);
    if (restore->owner == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    MR_TRY(book_each_request(restore->book, row->number, restore_request, restore));
    MR_TRY(book_each_waiting(restore->book, row->number, 0, UINT64_MAX, restore_waiting, restore));
    lane_restore_failing(&restore->owner->lane, restore->now, row->failing_since_ms);
    lane_restore_single(&restore->owner->lane, restore->now, row->singles_until_ms);
    if (restore->owner->is_deleted) {
        shard_discard_all(restore->owner);
    }
    shard_mark(restore->owner);
    return MR_OK;
}

mr_err shard_restore(struct shard *shard, const struct book *book, mr_mono now, mr_wall wall) {
    struct restore restore = {.shard = shard, .book = book, .now = {now, wall}};
    MR_TRY(book_each_destination(book, restore_destination, &restore));
    MR_TRY(callbacks_restore(shard->callbacks, book, restore.now));
    /* Without it the first turn would wait for an input, and what is owed with it. */
    loop_defer(shard->options.loop, &shard->again);
    return MR_OK;
}
