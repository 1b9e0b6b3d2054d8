/* The delivery side of a worker.
 *
 * Inputs of a turn (slabs, results, timers, snapshots) change lanes and mark them; at the end of
 * the turn every marked lane decides once, the attempts it asks for are run, and the outcomes of
 * the turn leave as one unit. A lane that waits for means shared with others (bytes, connections,
 * credits) is put aside and decides again when some come back, a few lanes for each attempt that
 * ends, oldest first, so that nobody starves and nobody storms.
 *
 * The other chapters: lanes.c (made, told, emptied), owed.c (from the ledger), hooks.c (what lanes
 * say), refill.c (long backlogs), attempt.c, outcome.c, payload.c. */
#include "dispatch/attempt.h"

#include "base/mem.h"
#include "crypto/ids.h"
#include "dispatch/callbacks/callbacks.h"

#define ARENA_MAX       ((size_t)32 << 20) /* of a request being composed */
#define CREDITS         65536u
#define OPEN_MAX        65536u
#define STARVED_PER_END 8
#define SOON_MS         20

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

void shard_on_timer(struct loop_timer *timer) {
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
    if (shard->on_quiet != NULL && shard->n_attempts == 0 && shard->n_refilling == 0 &&
        callbacks_flying(shard->callbacks) == 0 && shard->outcomes.n_waiting == 0 &&
        mr_list_is_empty(&shard->dirty)) {
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

static void decide(struct shard_lane *owner) {
    struct shard *shard = owner->shard;
    enum lane_wait wait = LANE_WAIT_NOTHING;
    mr_mono deadline = MR_MONO_NEVER;
    shard->at_work = owner;
    enum shard_leaving leaving = shard_go_on_leaving(owner);
    if (owner->settled == NULL) { /* else it would attempt what is no longer owed */
        wait = lane_decide(&owner->lane, shard_now(shard));
        deadline = lane_deadline(&owner->lane);
    }
    shard->at_work = NULL;
    if (leaving == SHARD_LEAVING_SOON) {
        deadline = mr_mono_min(deadline, mr_mono_add_ms(loop_now(shard->options.loop), SOON_MS));
    }
    set_timer(owner, deadline);
    if (leaving == SHARD_LEAVING_ON || wait == LANE_WAIT_TURN) {
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
    callbacks_turn(shard->callbacks);
    outcome_flush(&shard->outcomes);
    check_quiet(shard);
}

static void on_again(struct loop_task *task) {
    (void)task; /* the turn that it causes is what is wanted */
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
    payload_projector_init(&shard->projector);
    mr_err err = type_table_new(&shard->types);
    if (mr_is_ok(err)) {
        err = callbacks_new(shard, &shard->callbacks);
    }
    if (mr_is_err(err)) {
        type_table_free(shard->types);
        mr_free(shard);
        return err;
    }
    mr_list *lists[] = {&shard->dirty,        &shard->later,           &shard->starved,
                        &shard->attempts_new, &shard->attempts_flying, &shard->attempts_free,
                        &shard->refills};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        mr_list_init(lists[i]);
    }
    crypto_random(&shard->random_state, sizeof shard->random_state);
    shard->shared = (struct lane_shared){
        .hooks = {.ctx = shard,
                  .send = shard_on_send,
                  .record = shard_on_record,
                  .notice = shard_on_notice,
                  .random = shard_random},
        .backlog = {.bytes_max = options->backlog_bytes_max, .spill = shard_spill(shard)},
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
    shard->number_max = shard_highest_number(snapshot);
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
        shard_free_lane(shard->lanes[i]);
    }
    mr_free(shard->lanes);
    callbacks_free(shard->callbacks);
    shard_refills_done(shard);
    attempts_done(shard);
    outcome_done(&shard->outcomes);
    slab_cache_done(&shard->slabs);
    mr_buf_done(&shard->scratch);
    mr_arena_done(&shard->arena);
    payload_projector_done(&shard->projector);
    type_table_free(shard->types);
    snapshot_unref(shard->snapshot);
    mr_free(shard);
}

void shard_stop(struct shard *shard) {
    shard->shared.closed = true;
    callbacks_close(shard->callbacks);
    shard_recall_unsent(shard);
}

void shard_close(struct shard *shard, void (*on_quiet)(void *ctx), void *ctx) {
    shard_stop(shard);
    shard->on_quiet = on_quiet;
    shard->quiet_ctx = ctx;
    loop_defer(shard->options.loop, &shard->again);
}

void shard_fail(struct shard *shard) {
    shard->shared.closed = true;
    callbacks_close(shard->callbacks);
}
