/* What lanes ask of the shard: a request to be sent, an outcome to be journaled, a change of health
 * to be told to the store, to people and to the live view. */
#include "dispatch/attempt.h"

#include "crypto/ids.h"

static struct shard_lane *owner_of(struct lane *lane) {
    return MR_CONTAINER(lane, struct shard_lane, lane);
}

void shard_on_send(void *ctx, struct lane *lane, struct lane_request *request) {
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

/* `failed` outlives a restart and a failed test, while a lane that never failed by itself has no
 * recovery to tell: the first delivery ends it. */
static void end_failed(struct shard *shard, struct shard_lane *owner) {
    if (owner->destination != NULL && owner->destination->status == MODEL_FAILED &&
        owner->lane.health == LANE_ACTIVE && !owner->asked_active) {
        owner->asked_active = true;
        shard->options.on_status(shard->options.status_ctx, owner->lane.destination, MODEL_ACTIVE,
                                 MODEL_DISABLED_BY_NOBODY);
    }
}

void shard_on_record(void *ctx, struct lane *lane, const struct lane_record *record) {
    struct shard *shard = ctx;
    if (record->kind == LANE_RECORD_DELIVERED) {
        end_failed(shard, owner_of(lane));
    }
    shard->last_record = record->kind;
    outcome_add(&shard->outcomes, lane->destination, record, random_bytes, NULL);
    count_outcome(shard, record);
}

void shard_on_notice(void *ctx, struct lane *lane, const struct lane_notice *notice) {
    struct shard *shard = ctx;
    struct shard_lane *owner = owner_of(lane);
    const char *id = owner->destination != NULL ? owner->destination->object.id : "";
    const struct shard_options *o = &shard->options;
    switch ((enum lane_notice_kind)notice->kind) {
    case LANE_NOTICE_ACTIVE:
        mr_info(o->log, "destination_recovered", mr_kv_c("destination", id));
        mr_metric_add(o->metrics, MR_METRIC_DESTINATIONS_FAILED, -1);
        o->on_status(o->status_ctx, lane->destination, MODEL_ACTIVE, MODEL_DISABLED_BY_NOBODY);
        break;
    case LANE_NOTICE_FAILED:
        mr_warn(o->log, "destination_failing", mr_kv_c("destination", id));
        mr_metric_add(o->metrics, MR_METRIC_DESTINATIONS_FAILED, 1);
        o->on_status(o->status_ctx, lane->destination, MODEL_FAILED, MODEL_DISABLED_BY_NOBODY);
        break;
    case LANE_NOTICE_DISABLE_GONE:
        mr_warn(o->log, "destination_disabled", mr_kv_c("destination", id), mr_kv_c("why", "410"));
        o->on_status(o->status_ctx, lane->destination, MODEL_DISABLED, MODEL_DISABLED_BY_GONE);
        break;
    case LANE_NOTICE_DISABLE_FAILING:
        mr_warn(o->log, "destination_disabled", mr_kv_c("destination", id),
                mr_kv_c("why", "five days of failure"));
        o->on_status(o->status_ctx, lane->destination, MODEL_DISABLED, MODEL_DISABLED_BY_FAILURE);
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
uint32_t shard_random(void *ctx) {
    struct shard *shard = ctx;
    uint64_t z = (shard->random_state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}
