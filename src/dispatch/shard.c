/* The delivery side of a worker.
 *
 * Inputs of a turn (slabs, results, timers, snapshots) change lanes and mark them; at the end of
 * the turn every marked lane decides once, the attempts it asks for are run, and the outcomes of
 * the turn leave as one unit. A lane that waits for means shared with others (bytes, connections,
 * credits) is put aside and decides again when some come back, a few lanes for each attempt that
 * ends, oldest first, so that nobody starves and nobody storms.
 *
 * Numbers of destinations rise for ever. A number that this worker has never adopted belongs to a
 * destination that is newer than its snapshot: its lane waits, disabled, until the snapshot comes.
 * A number that is known and absent is deleted: what is owed to it is discarded at once. */
#include "dispatch/attempt.h"

#include "base/mem.h"
#include "crypto/ids.h"

#define ARENA_MAX        ((size_t)8 << 20) /* of a request being composed */
#define CREDITS          65536u
#define OPEN_MAX         65536u
#define STARVED_PER_END  8
#define DISCARD_PER_TURN 4096
#define SOON_MS          20

size_t shard_owner(uint32_t destination, size_t n_workers) {
    uint32_t virtual_shard = (destination * UINT32_C(2654435769)) >> 24;
    return virtual_shard % n_workers;
}
_Static_assert(SHARD_VIRTUAL == 256, "shard_owner takes eight bits");

struct lane_now shard_now(const struct shard *shard) {
    return (struct lane_now){loop_now(shard->options.loop), loop_wall(shard->options.loop)};
}

/* ---- marking ---- */

void shard_mark(struct shard_lane *owner) {
    struct shard *shard = owner->shard;
    mr_list_remove(&owner->dirty);
    mr_list_push_back(&shard->dirty, &owner->dirty);
}

static void set_timer(struct shard_lane *owner, mr_mono due) {
    if (due.ns == owner->timer_due.ns) {
        return;
    }
    owner->timer_due = due;
    if (due.ns == MR_MONO_NEVER.ns) {
        loop_timer_cancel(owner->shard->options.loop, &owner->timer);
    } else {
        loop_timer_set(owner->shard->options.loop, &owner->timer, due);
    }
}

void shard_mark_soon(struct shard_lane *owner) {
    mr_list_remove(&owner->dirty);
    owner->timer_due = MR_MONO_NEVER;
    set_timer(owner, mr_mono_add_ms(loop_now(owner->shard->options.loop), SOON_MS));
}

static void on_timer(struct loop_timer *timer) {
    struct shard_lane *owner = MR_CONTAINER(timer, struct shard_lane, timer);
    owner->timer_due = MR_MONO_NEVER;
    shard_mark(owner);
}

static void wake_starved(struct shard *shard) {
    for (int i = 0; i < STARVED_PER_END; i++) {
        mr_list *node = mr_list_pop_front(&shard->starved);
        if (node == NULL) {
            return;
        }
        mr_list_push_back(&shard->dirty, node);
    }
}

static void check_quiet(struct shard *shard) {
    if (shard->is_closing && shard->n_attempts == 0 && shard->outcomes.n_waiting == 0 &&
        mr_list_is_empty(&shard->dirty) && shard->on_quiet != NULL) {
        void (*on_quiet)(void *ctx) = shard->on_quiet;
        shard->on_quiet = NULL;
        on_quiet(shard->quiet_ctx);
    }
}

void shard_attempt_over(struct shard *shard) {
    wake_starved(shard);
}

static void on_durable(void *ctx) {
    wake_starved(ctx);
}

/* ---- hooks of the lanes ---- */

static struct shard_lane *owner_of(struct lane *lane) {
    return MR_CONTAINER(lane, struct shard_lane, lane);
}

static void on_send(void *ctx, struct lane *lane, struct lane_request *request) {
    attempt_begin(ctx, owner_of(lane), request);
}

static void random_bytes(void *ctx, void *bytes, size_t n) {
    (void)ctx;
    crypto_random(bytes, n);
}

static void count_outcome(struct shard *shard, const struct lane_record *record) {
    static const enum mr_metric metrics[] = {[LANE_RECORD_DELIVERED] = MR_METRIC_ATTEMPTS_DELIVERED,
                                             [LANE_RECORD_RETRY] = MR_METRIC_ATTEMPTS_RETRY,
                                             [LANE_RECORD_SPLIT] = MR_METRIC_ATTEMPTS_SPLIT,
                                             [LANE_RECORD_DEAD] = MR_METRIC_ATTEMPTS_DEAD,
                                             [LANE_RECORD_DISCARDED] = MR_METRIC_ATTEMPTS_DEAD};
    if (record->from_attempt) {
        mr_metric_add(shard->options.metrics, metrics[record->kind], 1);
    }
}

static void publish_state(struct shard *shard, const struct shard_lane *owner, const char *status) {
    if (!tail_is_read(shard->options.tail) || owner->destination == NULL) {
        return;
    }
    mr_buf json;
    mr_buf_init(&json, 512);
    if (mr_is_ok(mr_buf_printf(&json, "{\"destination_id\":\"%s\",\"status\":\"%s\"}",
                               owner->destination->object.id, status))) {
        const struct tail_event event = {.name = "state",
                                         .account = owner->destination->account,
                                         .destinations = &owner->lane.destination,
                                         .n_destinations = 1,
                                         .json = mr_buf_view(&json)};
        tail_publish(shard->options.tail, &event);
    }
    mr_buf_done(&json);
}

/* `failed` outlives a restart and a failed test, while a lane that never failed by itself has no
 * recovery to tell: the first delivery ends it. */
static void end_failed(struct shard *shard, struct shard_lane *owner) {
    if (owner->destination != NULL && owner->destination->status == MODEL_FAILED &&
        owner->lane.health == LANE_ACTIVE && !owner->asked_active) {
        owner->asked_active = true;
        shard->options.on_status(shard->options.status_ctx, owner->lane.destination, MODEL_ACTIVE,
                                 MODEL_DISABLED_BY_NOBODY);
        publish_state(shard, owner, "active");
    }
}

static void on_record(void *ctx, struct lane *lane, const struct lane_record *record) {
    struct shard *shard = ctx;
    if (record->kind == LANE_RECORD_DELIVERED) {
        end_failed(shard, owner_of(lane));
    }
    shard->last_record = record->kind;
    outcome_add(&shard->outcomes, lane->destination, record, random_bytes, NULL);
    count_outcome(shard, record);
}

static void on_notice(void *ctx, struct lane *lane, const struct lane_notice *notice) {
    struct shard *shard = ctx;
    struct shard_lane *owner = owner_of(lane);
    const char *id = owner->destination != NULL ? owner->destination->object.id : "";
    const struct shard_options *o = &shard->options;
    switch ((enum lane_notice_kind)notice->kind) {
    case LANE_NOTICE_ACTIVE:
        mr_info(o->log, "destination_recovered", mr_kv_c("destination", id));
        mr_metric_add(o->metrics, MR_METRIC_DESTINATIONS_FAILED, -1);
        o->on_status(o->status_ctx, lane->destination, MODEL_ACTIVE, MODEL_DISABLED_BY_NOBODY);
        publish_state(shard, owner, "active");
        break;
    case LANE_NOTICE_FAILED:
        mr_warn(o->log, "destination_failing", mr_kv_c("destination", id));
        mr_metric_add(o->metrics, MR_METRIC_DESTINATIONS_FAILED, 1);
        o->on_status(o->status_ctx, lane->destination, MODEL_FAILED, MODEL_DISABLED_BY_NOBODY);
        publish_state(shard, owner, "failed");
        break;
    case LANE_NOTICE_DISABLE_GONE:
        mr_warn(o->log, "destination_disabled", mr_kv_c("destination", id), mr_kv_c("why", "410"));
        o->on_status(o->status_ctx, lane->destination, MODEL_DISABLED, MODEL_DISABLED_BY_GONE);
        publish_state(shard, owner, "disabled");
        break;
    case LANE_NOTICE_DISABLE_FAILING:
        mr_warn(o->log, "destination_disabled", mr_kv_c("destination", id),
                mr_kv_c("why", "five days of failure"));
        o->on_status(o->status_ctx, lane->destination, MODEL_DISABLED, MODEL_DISABLED_BY_FAILURE);
        publish_state(shard, owner, "disabled");
        break;
    case LANE_NOTICE_WARN:
        mr_warn(o->log, "destination_soon_disabled", mr_kv_c("destination", id),
                mr_kv_i64("percent", notice->percent));
        break;
    case LANE_NOTICE_SINGLE: {
        int64_t now_ms = mr_wall_ms(loop_wall(o->loop));
        mr_warn(o->log, "destination_refuses_batches", mr_kv_c("destination", id));
        outcome_add_singles(&shard->outcomes, lane->destination, now_ms, now_ms + LANE_SINGLE_MS);
        break;
    }
    case LANE_NOTICE_SINGLE_OVER:
        mr_info(o->log, "destination_batches_again", mr_kv_c("destination", id));
        break;
    }
}

/* splitmix64: for jitter only. */
static uint32_t next_random(void *ctx) {
    struct shard *shard = ctx;
    uint64_t z = (shard->random_state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

/* ---- lanes ---- */

static struct lane_settings settings_of(const struct model_destination *destination) {
    struct lane_settings settings = {.enabled = false,
                                     .batch_max = 1,
                                     .batch_bytes_max = MODEL_BATCH_BYTES_MAX,
                                     .concurrency_max = 1};
    policy_init_kore(&settings.policy);
    if (destination == NULL) {
        return settings;
    }
    const struct model_webhook *webhook = &destination->webhook;
    settings.enabled =
        destination->status != MODEL_DISABLED && destination->kind == MODEL_KIND_WEBHOOK;
    settings.batch_max = sink_batch_max(destination);
    settings.batch_bytes_max = webhook->batch_bytes_max;
    settings.linger_ms = webhook->linger_ms;
    settings.rate_per_second = webhook->rate_per_second;
    settings.concurrency_max = webhook->concurrency_max;
    settings.form = sink_form_of(destination);
    if (webhook->retry.kind == MODEL_RETRY_STANDARD) {
        policy_init_standard(&settings.policy);
    } else if (webhook->retry.kind == MODEL_RETRY_DELAYS) {
        mr_ignore(policy_init_explicit(&settings.policy, webhook->retry.delays_ms,
                                       webhook->retry.n_delays),
                  "the store has checked number and range");
    }
    return settings;
}

static mr_err grow_lanes(struct shard *shard, uint32_t number) {
    if (number < shard->n_lanes) {
        return MR_OK;
    }
    size_t n = shard->n_lanes == 0 ? 64 : shard->n_lanes;
    while (n <= number) {
        n *= 2;
    }
    struct shard_lane **lanes = mr_realloc(shard->lanes, n * sizeof(struct shard_lane *));
    if (lanes == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    for (size_t i = shard->n_lanes; i < n; i++) {
        lanes[i] = NULL;
    }
    shard->lanes = lanes;
    shard->n_lanes = n;
    return MR_OK;
}

static struct shard_lane *find_lane(const struct shard *shard, uint32_t number) {
    return number < shard->n_lanes ? shard->lanes[number] : NULL;
}

static void set_destination(struct shard_lane *owner, const struct model_destination *found) {
    struct model_destination *destination = NULL;
    if (found != NULL) {
        /* The snapshot's object, kept by a reference of its own. */
        destination = (struct model_destination *)(uintptr_t)found;
        model_object_ref(&destination->object);
    }
    if (owner->destination != NULL) {
        model_object_unref(&owner->destination->object);
    }
    owner->destination = destination;
    owner->asked_active = false;
    sink_target_unref(owner->target);
    owner->target = NULL;
}

static void begin_discard_all(struct shard_lane *owner) {
    mr_free(owner->discard_types);
    owner->discard_types = NULL;
    owner->n_discard_types = 0;
    owner->discard_before = UINT64_MAX;
    owner->has_discard = true;
    shard_mark(owner);
}

/* The lane of that number, made where there is none. NULL without memory. */
static struct shard_lane *lane_of(struct shard *shard, uint32_t number) {
    struct shard_lane *owner = find_lane(shard, number);
    if (owner != NULL) {
        return owner;
    }
    if (mr_is_err(grow_lanes(shard, number))) {
        return NULL;
    }
    owner = MR_NEW(struct shard_lane);
    if (owner == NULL) {
        return NULL;
    }
    owner->shard = shard;
    owner->timer_due = MR_MONO_NEVER;
    loop_timer_init(&owner->timer, on_timer);
    mr_list_init(&owner->dirty);
    const struct model_destination *destination = snapshot_destination(shard->snapshot, number);
    set_destination(owner, destination);
    owner->is_deleted = destination == NULL && number <= shard->number_max;
    struct lane_settings settings = settings_of(destination);
    lane_init(&owner->lane, &shard->shared, number, &settings);
    shard->lanes[number] = owner;
    return owner;
}

static void free_lane(struct shard_lane *owner) {
    if (owner == NULL) {
        return;
    }
    loop_timer_cancel(owner->shard->options.loop, &owner->timer);
    mr_list_remove(&owner->dirty);
    lane_done(&owner->lane);
    set_destination(owner, NULL);
    mr_free(owner->discard_types);
    mr_free(owner);
}

/* ---- what becomes durable ---- */

static void add_delivery(struct shard *shard, uint32_t destination,
                         const struct backlog_entry *entry) {
    struct shard_lane *owner = lane_of(shard, destination);
    /* A delivery that finds no memory would be forgotten until the next start: stop instead. */
    MR_ASSERT(owner != NULL);
    MR_ASSERT(mr_is_ok(lane_on_event(&owner->lane, entry)));
    if (owner->is_deleted) {
        begin_discard_all(owner);
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
        }
    }
    slab_cache_put(&shard->slabs, slab, now_ms);
}

/* ---- the end of a turn ---- */

static void go_on_discarding(struct shard_lane *owner, size_t entries_max) {
    struct shard *shard = owner->shard;
    const struct lane_discard_spec spec = {.before = owner->discard_before,
                                           .types = owner->discard_types,
                                           .n_types = owner->n_discard_types};
    uint64_t discarded;
    bool more = false;
    mr_err err =
        lane_discard(&owner->lane, &spec, entries_max, shard_now(shard), &discarded, &more);
    owner->has_discard = more || mr_is_err(err);
}

static void decide(struct shard_lane *owner) {
    struct shard *shard = owner->shard;
    if (owner->has_discard) {
        go_on_discarding(owner, DISCARD_PER_TURN);
    }
    enum lane_wait wait = lane_decide(&owner->lane, shard_now(shard));
    set_timer(owner, lane_deadline(&owner->lane));
    if (owner->has_discard || wait == LANE_WAIT_TURN) {
        mr_list_push_back(&shard->later, &owner->dirty);
    } else if (wait == LANE_WAIT_SHARED) {
        mr_list_push_back(&shard->starved, &owner->dirty);
    }
}

static void run_attempts(struct shard *shard) {
    mr_list *node;
    while ((node = mr_list_pop_front(&shard->attempts_new)) != NULL) {
        attempt_run(MR_CONTAINER(node, struct attempt, node));
    }
}

static void on_turn_end(struct loop_hook *hook) {
    struct shard *shard = MR_CONTAINER(hook, struct shard, hook);
    mr_list *node;
    run_attempts(shard); /* those whose payload was loaded */
    while ((node = mr_list_pop_front(&shard->dirty)) != NULL) {
        decide(MR_CONTAINER(node, struct shard_lane, dirty));
        run_attempts(shard);
    }
    if (!mr_list_is_empty(&shard->later)) {
        while ((node = mr_list_pop_front(&shard->later)) != NULL) {
            mr_list_push_back(&shard->dirty, node);
        }
        loop_defer(shard->options.loop, &shard->again);
    }
    outcome_flush(&shard->outcomes);
    check_quiet(shard);
}

static void on_again(struct loop_task *task) {
    (void)task; /* the turn that it causes is what is wanted */
}

/* ---- snapshots ---- */

static uint32_t highest_number(struct snapshot *snapshot) {
    uint32_t highest = 0;
    const struct model_object *object = snapshot_next(snapshot, MODEL_DESTINATION, 1);
    while (object != NULL) {
        highest = object->number;
        object = snapshot_next(snapshot, MODEL_DESTINATION, highest + 1);
    }
    return highest;
}

static void adopt_one(struct shard *shard, uint32_t number) {
    if (number > shard->number_max) {
        shard->number_max = number;
    }
    struct shard_lane *owner = find_lane(shard, number);
    if (owner == NULL) {
        return;
    }
    const struct model_destination *destination = snapshot_destination(shard->snapshot, number);
    bool was_disabled = owner->destination != NULL && owner->destination->status == MODEL_DISABLED;
    if (was_disabled && destination != NULL && destination->status != MODEL_DISABLED) {
        owner->enabled_epoch++;
    }
    http_client_forget(shard->options.sink.client, number);
    set_destination(owner, destination);
    owner->is_deleted = destination == NULL;
    struct lane_settings settings = settings_of(destination);
    settings.enabled_epoch = owner->enabled_epoch;
    lane_on_settings(&owner->lane, &settings, shard_now(shard));
    if (owner->is_deleted) {
        begin_discard_all(owner);
    }
    shard_mark(owner);
}

/* A secret was activated or an account changed: what is rendered but not written yet is given back,
 * to be signed again. */
static void recall_unsent(struct shard *shard) {
    for (mr_list *at = shard->attempts_flying.next; at != &shard->attempts_flying; at = at->next) {
        struct attempt *attempt = MR_CONTAINER(at, struct attempt, node);
        if (!attempt->is_loading) {
            sink_recall(&attempt->sink);
        }
    }
}

void shard_adopt(struct shard *shard, struct snapshot *snapshot, const uint32_t *destinations,
                 size_t n, bool secrets_changed) {
    struct snapshot *old = shard->snapshot;
    shard->snapshot = snapshot_ref(snapshot);
    for (size_t i = 0; i < n; i++) {
        adopt_one(shard, destinations[i]);
    }
    if (secrets_changed) {
        recall_unsent(shard);
    }
    snapshot_unref(old);
}

/* ---- discarding, statistics ---- */

uint64_t shard_discard(struct shard *shard, uint32_t destination, uint64_t before,
                       const mr_str *types, size_t n_types) {
    struct shard_lane *owner = find_lane(shard, destination);
    if (owner == NULL) {
        return 0;
    }
    uint64_t *numbers = NULL;
    if (n_types > 0) {
        numbers = mr_calloc(n_types, sizeof *numbers);
        if (numbers == NULL) {
            return 0;
        }
        for (size_t i = 0; i < n_types; i++) {
            numbers[i] = type_table_find(shard->types, types[i]);
        }
    }
    if (owner->has_discard) {
        go_on_discarding(owner, SIZE_MAX); /* what was asked before is not forgotten for this */
    }
    /* All that is owed now; not what comes while discarding goes on over turns. */
    uint64_t durable = journal_durable(shard->options.journal);
    before = before < durable ? before : durable;
    mr_free(owner->discard_types);
    owner->discard_types = numbers;
    owner->n_discard_types = n_types;
    owner->discard_before = before;
    uint64_t discarded = 0;
    bool more = false;
    const struct lane_discard_spec spec = {before, numbers, n_types};
    mr_err err =
        lane_discard(&owner->lane, &spec, DISCARD_PER_TURN, shard_now(shard), &discarded, &more);
    owner->has_discard = more || mr_is_err(err);
    shard_mark(owner);
    return discarded;
}

bool shard_lane_stats(const struct shard *shard, uint32_t destination,
                      struct lane_stats *ret_stats) {
    const struct shard_lane *owner = find_lane(shard, destination);
    if (owner == NULL) {
        return false;
    }
    lane_stats_get(&owner->lane, shard_now(shard), ret_stats);
    return true;
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
    restore->owner = lane_of(shard, row->number);
    if (restore->owner == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    MR_TRY(book_each_request(restore->book, row->number, restore_request, restore));
    MR_TRY(book_each_waiting(restore->book, row->number, 0, UINT64_MAX, restore_waiting, restore));
    lane_restore_failing(&restore->owner->lane, restore->now, row->failing_since_ms);
    lane_restore_single(&restore->owner->lane, restore->now, row->singles_until_ms);
    if (restore->owner->is_deleted) {
        begin_discard_all(restore->owner);
    }
    shard_mark(restore->owner);
    return MR_OK;
}

mr_err shard_restore(struct shard *shard, const struct book *book, mr_mono now, mr_wall wall) {
    struct restore restore = {.shard = shard, .book = book, .now = {now, wall}};
    MR_TRY(book_each_destination(book, restore_destination, &restore));
    /* Without it the first turn would wait for an input, and what is owed with it. */
    loop_defer(shard->options.loop, &shard->again);
    return MR_OK;
}

/* ---- long backlogs ---- */

static mr_err spill_chunk(void *ctx, const void *bytes, size_t size, uint64_t *ret_ref) {
    return spill_put(ctx, bytes, size, ret_ref);
}

/* A chunk is 4 KiB that was written not long ago: nearly always in the page cache. One that is not
 * is read at once; that is one short read for some 1,600 deliveries. */
static mr_err unspill_chunk(void *ctx, uint64_t ref, void *bytes, size_t size) {
    mr_err err = spill_get(ctx, ref, bytes, size, OS_READ_NOWAIT);
    return mr_err_is(err, MR_E_AGAIN) ? spill_get(ctx, ref, bytes, size, OS_READ_WAIT) : err;
}

static void drop_chunk(void *ctx, uint64_t ref) {
    spill_drop(ctx, ref);
}

static struct backlog_spill spill_of(struct spill *spill) {
    return spill == NULL ? (struct backlog_spill){.ctx = NULL}
                         : (struct backlog_spill){spill, spill_chunk, unspill_chunk, drop_chunk};
}

/* ---- life ---- */

mr_err shard_new(const struct shard_options *options, struct snapshot *snapshot,
                 struct shard **ret_shard) {
    struct shard *shard = MR_NEW(struct shard);
    if (shard == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    shard->options = *options;
    shard->slabs.bytes_max = options->slab_bytes_max;
    mr_buf_init(&shard->scratch, PAYLOAD_SCRATCH_MAX);
    mr_arena_init(&shard->arena, ARENA_MAX);
    mr_err err = type_table_new(&shard->types);
    if (mr_is_err(err)) {
        mr_free(shard);
        return err;
    }
    mr_list *lists[] = {&shard->dirty,        &shard->later,           &shard->starved,
                        &shard->attempts_new, &shard->attempts_flying, &shard->attempts_free};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        mr_list_init(lists[i]);
    }
    crypto_random(&shard->random_state, sizeof shard->random_state);
    shard->shared = (struct lane_shared){
        .hooks = {.ctx = shard,
                  .send = on_send,
                  .record = on_record,
                  .notice = on_notice,
                  .random = next_random},
        .backlog = {.bytes_max = options->backlog_bytes_max, .spill = spill_of(options->spill)},
        .credits = CREDITS,
        .bytes_max = options->bytes_in_flight_max,
        .flying_max = options->requests_in_flight_max,
        .open_max = OPEN_MAX,
    };
    outcome_init(&shard->outcomes, options->writer, loop_mailbox(options->loop), &shard->shared,
                 options->metrics);
    shard->outcomes.on_durable = on_durable;
    shard->outcomes.ctx = shard;
    shard->snapshot = snapshot_ref(snapshot);
    shard->number_max = highest_number(snapshot);
    loop_task_init(&shard->again, on_again);
    loop_on_turn_end(options->loop, &shard->hook, on_turn_end);
    *ret_shard = shard;
    return MR_OK;
}

void shard_free(struct shard *shard) {
    if (shard == NULL) {
        return;
    }
    MR_ASSERT(shard->n_attempts == 0);
    loop_hook_remove(&shard->hook);
    loop_task_cancel(&shard->again);
    for (size_t i = 0; i < shard->n_lanes; i++) {
        free_lane(shard->lanes[i]);
    }
    mr_free(shard->lanes);
    attempts_done(shard);
    outcome_done(&shard->outcomes);
    slab_cache_done(&shard->slabs);
    mr_buf_done(&shard->scratch);
    mr_arena_done(&shard->arena);
    type_table_free(shard->types);
    snapshot_unref(shard->snapshot);
    mr_free(shard);
}

void shard_close(struct shard *shard, void (*on_quiet)(void *ctx), void *ctx) {
    shard->shared.closed = true;
    shard->is_closing = true;
    shard->on_quiet = on_quiet;
    shard->quiet_ctx = ctx;
    recall_unsent(shard);
    loop_defer(shard->options.loop, &shard->again);
}

void shard_fail(struct shard *shard) {
    shard->shared.closed = true;
}
