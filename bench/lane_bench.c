/* What a lane costs: events one at a time, each sent and answered alone, and in batches of 50.
 *
 *   lane_bench [ROUNDS]     prints nanoseconds per event */
#include "base/mem.h"
#include "base/num.h"
#include "deliver/lane.h"
#include "os/clock.h"

#include <stdio.h>

#define FLYING_MAX 64

struct rig {
    struct lane_shared shared;
    struct lane lane;
    struct lane_request *flying[FLYING_MAX];
    size_t n_flying;
    uint64_t delivered;
};

static void on_send(void *ctx, struct lane *lane, struct lane_request *request) {
    struct rig *rig = ctx;
    (void)lane;
    rig->flying[rig->n_flying++] = request;
}

static void on_record(void *ctx, struct lane *lane, const struct lane_record *record) {
    struct rig *rig = ctx;
    (void)lane;
    rig->delivered += record->n_positions;
    rig->shared.credits++;
}

static void on_notice(void *ctx, struct lane *lane, const struct lane_notice *notice) {
    (void)ctx;
    (void)lane;
    (void)notice;
}

static uint32_t on_random(void *ctx) {
    (void)ctx;
    return 4;
}

/* Events arrive `together` at a time; each turn decides once and answers all. */
static int64_t measure(uint64_t rounds, uint64_t together) {
    static struct rig rig;
    rig = (struct rig){0};
    rig.shared.hooks = (struct lane_hooks){&rig, on_send, on_record, on_notice, on_random};
    rig.shared.credits = 1000;
    struct lane_settings settings = {.enabled = true,
                                     .batch_max = 50,
                                     .batch_bytes_max = 1 << 20,
                                     .linger_ms = 50,
                                     .concurrency_max = 32};
    policy_init_kore(&settings.policy);
    lane_init(&rig.lane, &rig.shared, 1, &settings);
    struct lane_now now = {os_mono_now(), {1}};
    static const struct lane_result ok = {.status = 200, .retry_after_ms = -1};
    int64_t start = os_mono_now().ns;
    for (uint64_t i = 0; i < rounds;) {
        for (uint64_t k = 0; k < together && i < rounds; k++, i++) {
            struct backlog_entry entry = {.pos = i * 1100, .key = 1 << 16, .size = 1024};
            mr_ignore(lane_on_event(&rig.lane, &entry), "memory does not fail here");
        }
        lane_decide(&rig.lane, now);
        while (rig.n_flying > 0) {
            lane_on_result(&rig.lane, rig.flying[--rig.n_flying], now, &ok);
        }
        now.mono.ns += MR_NS_PER_US;
    }
    int64_t ns = os_mono_now().ns - start;
    lane_done(&rig.lane);
    return ns / (int64_t)(rig.delivered > 0 ? rig.delivered : 1);
}

int main(int argc, char **argv) {
    uint64_t rounds = 5000000;
    if (argc > 1 && mr_is_err(mr_u64_parse(mr_str_c(argv[1]), 1, UINT32_MAX, &rounds))) {
        fprintf(stderr, "lane_bench: ROUNDS is a number\n");
        return 2;
    }
    printf("lane: %lld ns per event single, ", (long long)measure(rounds, 1));
    printf("%lld ns in batches of 50\n", (long long)measure(rounds, 50));
    return 0;
}
