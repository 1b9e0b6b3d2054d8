/* A lane with hooks that write down what it does, and a clock to be set. */
#ifndef TEST_SUPPORT_LANE_H
#define TEST_SUPPORT_LANE_H

#include "deliver/lane.h"

#define RIG_MAX 4096

struct rig_sent {
    struct lane_request *request;
    uint64_t key;
    uint32_t origin;
    uint32_t form;
    uint32_t n;
    uint32_t attempt; /* the one being made */
    bool is_retry, is_probe, is_part, is_early;
    uint64_t positions[LANE_BATCH_MAX];
};

struct rig_record {
    struct lane_record record;
    uint64_t positions[LANE_BATCH_MAX];
};

struct rig {
    struct lane_shared shared;
    struct lane_settings settings;
    struct lane lane;
    struct lane_now now;
    uint32_t random; /* what the hook gives; steps by random_step */
    uint32_t random_step;
    enum lane_wait wait;
    size_t n_sent, n_records, n_notices;
    struct rig_sent sent[RIG_MAX];
    struct rig_record records[RIG_MAX];
    struct lane_notice notices[RIG_MAX];
};

/* A rig with the default settings of a destination (batch_max 50, 1 MiB, linger 50 ms, 32 at once,
 * kore policy), enabled. Change rig->settings before, or rig_apply after. */
struct rig *rig_new(void);
void rig_free(struct rig *rig);
void rig_apply(struct rig *rig);
/* One event of 100 bytes. */
void rig_event(struct rig *rig, uint64_t pos, uint64_t key);
void rig_events(struct rig *rig, uint64_t first_pos, uint32_t n, uint64_t key);
void rig_pass(struct rig *rig, int64_t ms);
/* Decides and checks the invariants; returns how many requests left. */
size_t rig_decide(struct rig *rig);
void rig_status(struct rig *rig, struct lane_request *request, uint16_t status);
void rig_throttle(struct rig *rig, struct lane_request *request, uint16_t status,
                  int64_t retry_after_ms);
void rig_fail(struct rig *rig, struct lane_request *request, enum lane_result_kind kind);
struct rig_sent *rig_last(struct rig *rig);
struct rig_record *rig_last_record(struct rig *rig);
/* Notices of that kind so far. */
size_t rig_count_notices(const struct rig *rig, enum lane_notice_kind kind);
size_t rig_count_records(const struct rig *rig, enum lane_record_kind kind);

#endif
