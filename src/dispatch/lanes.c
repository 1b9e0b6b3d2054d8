/* The lanes of a shard: made when something is first owed to their destination, told of each new
 * snapshot, emptied where someone gives up what waits.
 *
 * Numbers of destinations rise for ever. A number that this worker has never adopted belongs to a
 * destination that is newer than its snapshot: its lane waits, disabled, until the snapshot comes.
 * A number that is known and absent is deleted: what is owed to it is discarded at once.
 *
 * A lane that disabled itself (410, days of failure) goes on when its destination was enabled
 * again. One snapshot may tell of the disabling and the enabling at once, so what counts is the
 * destination's enabled_epoch and not a change of status that a worker could have missed. */
#include "dispatch/attempt.h"

#include "base/mem.h"
#include "dispatch/callbacks/callbacks.h"

#define DISCARD_PER_TURN 4096

static struct lane_settings settings_of(const struct model_destination *destination) {
    struct lane_settings settings = {.enabled = false,
                                     .batch_max = 1,
                                     .batch_bytes_max = MODEL_BATCH_BYTES_MAX,
                                     .concurrency_max = 1};
    policy_init_kore(&settings.policy);
    if (destination == NULL) {
        return settings;
    }
    const struct model_delivery *delivery = &destination->delivery;
    settings.enabled = destination->status != MODEL_DISABLED;
    settings.mixes = sink_mixes_types(destination);
    settings.batch_max = sink_batch_max(destination);
    settings.batch_bytes_max = delivery->batch_bytes_max;
    settings.linger_ms = delivery->linger_ms;
    settings.rate_per_second = delivery->rate_per_second;
    settings.concurrency_max = delivery->concurrency_max;
    settings.form = sink_form_of(destination);
    settings.enabled_epoch = destination->enabled_epoch;
    if (delivery->retry.kind == MODEL_RETRY_STANDARD) {
        policy_init_standard(&settings.policy);
    } else if (delivery->retry.kind == MODEL_RETRY_DELAYS) {
        mr_ignore(policy_init_explicit(&settings.policy, delivery->retry.delays_ms,
                                       delivery->retry.n_delays),
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

struct shard_lane *shard_find_lane(const struct shard *shard, uint32_t number) {
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

/* ---- what leaves without an attempt ---- */

static void free_discards(struct shard_lane *owner) {
    while (owner->discards != NULL) {
        struct shard_discard *next = owner->discards->next;
        mr_free(owner->discards);
        owner->discards = next;
    }
}

static enum shard_leaving go_on_discarding(struct shard_lane *owner) {
    static const struct lane_discard_spec all = {.before = UINT64_MAX};
    while (owner->discards_all || owner->discards != NULL) {
        const struct shard_discard *asked = owner->discards;
        struct lane_discard_spec spec = all;
        if (!owner->discards_all) {
            spec = (struct lane_discard_spec){asked->before, asked->types, asked->n_types};
        }
        uint64_t discarded;
        bool more = false;
        mr_err err = lane_discard(&owner->lane, &spec, DISCARD_PER_TURN, shard_now(owner->shard),
                                  &discarded, &more);
        if (mr_is_err(err)) {
            return mr_err_is(err, MR_E_AGAIN) ? SHARD_LEAVING_NOTHING : SHARD_LEAVING_SOON;
        }
        if (more) {
            return SHARD_LEAVING_ON;
        }
        if (owner->discards_all) {
            owner->discards_all = false;
        } else {
            owner->discards = asked->next;
            mr_free((void *)(uintptr_t)asked);
        }
    }
    return SHARD_LEAVING_NOTHING;
}

void shard_discard_all(struct shard_lane *owner) {
    free_discards(owner);
    owner->discards_all = true;
    shard_mark(owner);
}

/* True: the list is done with. What cannot be read back for good stays in the lane, where it stands
 * behind the chunk that cannot be read. */
static bool settle(struct shard_lane *owner, const struct shard_settled *settled, mr_err *ret_err) {
    const struct lane_settled spec = {settled->origin, settled->n, settled->positions};
    *ret_err = lane_settle(&owner->lane, &spec, shard_now(owner->shard));
    return !mr_err_is(*ret_err, MR_E_AGAIN) && !mr_err_is(*ret_err, MR_E_NOMEM) &&
           !mr_err_is(*ret_err, MR_E_BUSY);
}

void shard_settle(struct shard_lane *owner, struct shard_settled *settled) {
    mr_err err;
    owner->shard->at_work = owner;
    if (settle(owner, settled, &err)) {
        mr_free(settled);
    } else {
        settled->next = owner->settled;
        owner->settled = settled;
    }
    owner->shard->at_work = NULL;
    shard_mark(owner);
}

enum shard_leaving shard_go_on_leaving(struct shard_lane *owner) {
    mr_err err;
    while (owner->settled != NULL && settle(owner, owner->settled, &err)) {
        struct shard_settled *next = owner->settled->next;
        mr_free(owner->settled);
        owner->settled = next;
    }
    if (owner->settled != NULL) {
        return mr_err_is(err, MR_E_AGAIN) ? SHARD_LEAVING_NOTHING : SHARD_LEAVING_SOON;
    }
    return go_on_discarding(owner);
}

/* ---- making ---- */

/* The lane of that number, made where there is none. NULL without memory. */
struct shard_lane *shard_lane_of(struct shard *shard, uint32_t number) {
    struct shard_lane *owner = shard_find_lane(shard, number);
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
    loop_timer_init(&owner->timer, shard_on_timer);
    mr_list_init(&owner->dirty);
    const struct model_destination *destination = snapshot_destination(shard->snapshot, number);
    set_destination(owner, destination);
    owner->is_deleted = destination == NULL && number <= shard->number_max;
    struct lane_settings settings = settings_of(destination);
    lane_init(&owner->lane, &shard->shared, number, &settings);
    shard->lanes[number] = owner;
    return owner;
}

void shard_free_lane(struct shard_lane *owner) {
    if (owner == NULL) {
        return;
    }
    loop_timer_cancel(owner->shard->options.loop, &owner->timer);
    mr_list_remove(&owner->dirty);
    lane_done(&owner->lane);
    set_destination(owner, NULL);
    free_discards(owner);
    while (owner->settled != NULL) {
        struct shard_settled *next = owner->settled->next;
        mr_free(owner->settled);
        owner->settled = next;
    }
    mr_free(owner);
}

/* ---- snapshots ---- */

uint32_t shard_highest_number(struct snapshot *snapshot) {
    uint32_t highest = 0;
    const struct model_object *object = snapshot_next(snapshot, MODEL_DESTINATION, 1);
    while (object != NULL) {
        highest = object->number;
        object = snapshot_next(snapshot, MODEL_DESTINATION, highest + 1);
    }
    return highest;
}

/* The live view learns of each change of status where it takes effect, whoever made it. */
static void publish_state(struct shard *shard, const struct snapshot *old, uint32_t number) {
    const struct model_destination *before = snapshot_destination(old, number);
    const struct model_destination *now = snapshot_destination(shard->snapshot, number);
    if (!tail_is_read(shard->options.tail) || before == NULL || now == NULL ||
        before->status == now->status ||
        shard_owner(number, shard->options.n_workers) != shard->options.index) {
        return;
    }
    mr_buf json;
    mr_buf_init(&json, 512);
    if (mr_is_ok(mr_buf_printf(&json, "{\"destination_id\":\"%s\",\"status\":\"%.*s\"}",
                               now->object.id, MR_FMT(model_status_name(now->status))))) {
        const struct tail_event event = {.name = "state",
                                         .account = now->account,
                                         .destinations = &number,
                                         .n_destinations = 1,
                                         .json = mr_buf_view(&json)};
        tail_publish(shard->options.tail, &event);
    }
    mr_buf_done(&json);
}

static void adopt_one(struct shard *shard, const struct snapshot *old, uint32_t number) {
    if (number > shard->number_max) {
        shard->number_max = number;
    }
    publish_state(shard, old, number);
    struct shard_lane *owner = shard_find_lane(shard, number);
    if (owner == NULL) {
        return;
    }
    const struct model_destination *destination = snapshot_destination(shard->snapshot, number);
    http_client_forget(shard->options.sink.client, number);
    set_destination(owner, destination);
    owner->is_deleted = destination == NULL;
    struct lane_settings settings = settings_of(destination);
    lane_on_settings(&owner->lane, &settings, shard_now(shard));
    if (owner->is_deleted) {
        shard_discard_all(owner);
    }
    shard_mark(owner);
}

/* A secret was activated or an account changed: what is rendered but not written yet is given back,
 * to be signed again. */
void shard_recall_unsent(struct shard *shard) {
    for (mr_list *at = shard->attempts_flying.next; at != &shard->attempts_flying; at = at->next) {
        struct attempt *attempt = MR_CONTAINER(at, struct attempt, node);
        if (!attempt->is_loading) {
            sink_recall(&attempt->sink);
        }
    }
    callbacks_recall_unsent(shard->callbacks);
}

void shard_adopt(struct shard *shard, struct snapshot *snapshot, const uint32_t *destinations,
                 size_t n, bool secrets_changed) {
    struct snapshot *old = shard->snapshot;
    shard->snapshot = snapshot_ref(snapshot);
    for (size_t i = 0; i < n; i++) {
        adopt_one(shard, old, destinations[i]);
    }
    if (secrets_changed) {
        shard_recall_unsent(shard);
    }
    snapshot_unref(old);
}

/* ---- discarding, statistics ---- */

uint64_t shard_discard(struct shard *shard, uint32_t destination, uint64_t before,
                       const mr_str *types, size_t n_types) {
    struct shard_lane *owner = shard_find_lane(shard, destination);
    struct shard_discard *asked =
        owner == NULL ? NULL : mr_alloc(sizeof *asked + n_types * sizeof(uint64_t));
    if (asked == NULL) {
        return 0;
    }
    /* All that is owed now; not what comes while discarding goes on over turns. */
    uint64_t durable = journal_durable(shard->options.journal);
    *asked =
        (struct shard_discard){.before = before < durable ? before : durable, .n_types = n_types};
    for (size_t i = 0; i < n_types; i++) {
        asked->types[i] = type_table_find(shard->types, types[i]);
    }
    uint64_t discarded = 0;
    bool more = false;
    const struct lane_discard_spec spec = {asked->before, asked->types, n_types};
    shard->at_work = owner;
    mr_err err =
        lane_discard(&owner->lane, &spec, DISCARD_PER_TURN, shard_now(shard), &discarded, &more);
    shard->at_work = NULL;
    if (more || mr_is_err(err)) {
        asked->next = owner->discards;
        owner->discards = asked;
    } else {
        mr_free(asked);
    }
    shard_mark(owner);
    return discarded;
}

bool shard_lane_stats(const struct shard *shard, uint32_t destination,
                      struct lane_stats *ret_stats) {
    const struct shard_lane *owner = shard_find_lane(shard, destination);
    if (owner == NULL) {
        return false;
    }
    lane_stats_get(&owner->lane, shard_now(shard), ret_stats);
    return true;
}
