/* A histogram of nanoseconds with a bounded relative error: 64 steps for each power of two, so a
 * value is told within 1.6 %. Fixed size; recording is a few instructions and never fails. */
#ifndef MR_BENCH_HISTOGRAM_H
#define MR_BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_STEPS = 64,
    HISTOGRAM_POWERS = 40,
};

struct histogram {
    uint64_t count;
    uint64_t max;
    uint64_t bucket[HISTOGRAM_POWERS * HISTOGRAM_STEPS];
};

void histogram_reset(struct histogram *h);
void histogram_record(struct histogram *h, uint64_t value);
/* The value below or at which per_mille of 1,000 lie (999 = p99.9); 0 of an empty histogram. */
uint64_t histogram_at(const struct histogram *h, unsigned per_mille);

#endif
