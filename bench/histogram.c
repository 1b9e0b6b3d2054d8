/* Buckets 0 … 63 hold the values 0 … 63; above, a value with its highest bit at b lies in row
 * b − 5, at the step that its next six bits name. What is too large counts in the last bucket. */
#include "histogram.h"

#include <string.h>

void histogram_reset(struct histogram *h) {
    memset(h, 0, sizeof *h);
}

void histogram_record(struct histogram *h, uint64_t value) {
    unsigned power = value < HISTOGRAM_STEPS ? 0 : 58 - (unsigned)__builtin_clzll(value);
    uint64_t step = power == 0 ? value : (value >> (power - 1)) - HISTOGRAM_STEPS;
    uint64_t index = power * (uint64_t)HISTOGRAM_STEPS + step;
    uint64_t last = HISTOGRAM_POWERS * HISTOGRAM_STEPS - 1;
    h->bucket[index < last ? index : last]++;
    h->count++;
    h->max = value > h->max ? value : h->max;
}

uint64_t histogram_at(const struct histogram *h, unsigned per_mille) {
    uint64_t wanted = (h->count * per_mille + 999) / 1000;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_POWERS * HISTOGRAM_STEPS; i++) {
        seen += h->bucket[i];
        if (seen >= wanted && seen > 0) {
            unsigned power = i / HISTOGRAM_STEPS;
            uint64_t step = i % HISTOGRAM_STEPS;
            return power == 0 ? step : (step + HISTOGRAM_STEPS) << (power - 1);
        }
    }
    return 0;
}
