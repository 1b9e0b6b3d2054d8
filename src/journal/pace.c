/* Pacing of syncs. See pace.h. The rate is that of whole windows of 5 ms: a burst that ends is
 * forgotten with its window, and a quiet spell longer than that begins at rate nought. */
#include "journal/pace.h"

#define WINDOW_NS     5000000
#define WAIT_NS_MAX   500000
#define BUSY_RECORDS  4 /* during a sync */
#define GROUP_RECORDS 512
#define ENOUGH_BYTES  (512U * 1024)
#define SECOND_NS     INT64_C(1000000000)

void pace_on_records(struct pace *pace, uint64_t n, mr_mono now) {
    int64_t elapsed = mr_mono_diff_ns(now, pace->since);
    if (elapsed >= WINDOW_NS) {
        bool is_recent = elapsed < 4 * WINDOW_NS;
        pace->per_second =
            is_recent ? pace->n * (uint64_t)SECOND_NS / (uint64_t)elapsed : (uint64_t)0;
        pace->since = now;
        pace->n = 0;
    }
    pace->n += n;
}

void pace_on_sync(struct pace *pace, int64_t took_ns) {
    pace->sync_ns = pace->sync_ns == 0 ? took_ns : (pace->sync_ns * 7 + took_ns) / 8;
}

int64_t pace_wait_ns(const struct pace *pace, uint64_t queued_records, uint64_t queued_bytes) {
    int64_t during_sync = (int64_t)pace->per_second * (pace->sync_ns / 1000) / 1000000;
    if (during_sync < BUSY_RECORDS || queued_records >= GROUP_RECORDS ||
        queued_bytes >= ENOUGH_BYTES) {
        return 0;
    }
    uint64_t lacking = GROUP_RECORDS - queued_records;
    int64_t wait = (int64_t)(lacking * (uint64_t)SECOND_NS / pace->per_second);
    return wait < WAIT_NS_MAX ? wait : WAIT_NS_MAX;
}
