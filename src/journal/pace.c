/* Pacing of syncs. See pace.h. The rate is that of whole windows of 5 ms: a burst that ends is
 * forgotten with its window, and a quiet spell longer than that begins at rate nought.
 *
 * Why not from four records a sync on: at half load, where some seven come, half a millisecond of
 * waiting doubled the median answer and took the 99th percentile from 4 to 12 ms, because a thread
 * that sleeps once more must also be given a core once more. Where 16 calls come during a sync,
 * latency is that of a queue, and sharing shortens the queue. */
#include "journal/pace.h"

#define WINDOW_NS     5000000
#define WAIT_NS_MAX   500000
#define BUSY_UNITS    16
#define BUSY_RECORDS  100
#define GROUP_RECORDS 512
#define ENOUGH_BYTES  (512U * 1024)
#define SECOND_NS     INT64_C(1000000000)

void pace_on_arrivals(struct pace *pace, uint64_t units, uint64_t records, mr_mono now) {
    int64_t elapsed = mr_mono_diff_ns(now, pace->since);
    if (elapsed >= WINDOW_NS) {
        bool is_recent = elapsed < 4 * WINDOW_NS;
        pace->per_second =
            is_recent ? pace->n * (uint64_t)SECOND_NS / (uint64_t)elapsed : (uint64_t)0;
        pace->since = now;
        pace->n = 0;
    }
    pace->n += records;
    pace->units = units;
    pace->records = records;
}

int64_t pace_wait_ns(const struct pace *pace, uint64_t queued_records, uint64_t queued_bytes) {
    bool is_busy = pace->units >= BUSY_UNITS || pace->records >= BUSY_RECORDS;
    if (!is_busy || pace->per_second == 0 || queued_records >= GROUP_RECORDS ||
        queued_bytes >= ENOUGH_BYTES) {
        return 0;
    }
    uint64_t lacking = GROUP_RECORDS - queued_records;
    int64_t wait = (int64_t)(lacking * (uint64_t)SECOND_NS / pace->per_second);
    return wait < WAIT_NS_MAX ? wait : WAIT_NS_MAX;
}
