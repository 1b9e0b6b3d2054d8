/* Retry policies: how many attempts a request has and how long it waits after each failure.
 * KORE's own (one attempt, three resends at 1, 2 and 4 s, ± 20 %), the ten attempts that Standard
 * Webhooks suggests (± 20 %), or delays given by the destination (kept exactly). Integers only. */
#ifndef MR_DELIVER_POLICY_H
#define MR_DELIVER_POLICY_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Most delays of an explicit policy, and the longest of them: 30 days. */
#define POLICY_DELAYS_MAX   16
#define POLICY_DELAY_MS_MAX UINT32_C(2592000000)

enum policy_kind {
    POLICY_KORE = 0,
    POLICY_STANDARD = 1,
    POLICY_EXPLICIT = 2,
};

/* A value; copied freely. delays_ms[i] is the wait after failure i + 1; there are n_delays + 1
 * attempts. */
struct policy {
    uint8_t kind; /* enum policy_kind */
    uint8_t n_delays;
    uint8_t jitter_percent; /* the wait lies within ± this of the delay */
    uint8_t zero_;
    uint32_t delays_ms[POLICY_DELAYS_MAX];
};

void policy_init_kore(struct policy *policy);
void policy_init_standard(struct policy *policy);
/* n = 0 means one attempt and no resend. MR_E_LIMIT for more than POLICY_DELAYS_MAX delays,
 * MR_E_RANGE for one above POLICY_DELAY_MS_MAX. */
mr_err policy_init_explicit(struct policy *policy, const uint32_t *delays_ms, size_t n);

/* Attempts a request may spend, the first one included: 1 to POLICY_DELAYS_MAX + 1. */
uint32_t policy_attempts_max(const struct policy *policy);
/* The wait after `failed` spent attempts (1 ≤ failed < attempts_max), jittered by a random number
 * of 32 bits. */
uint32_t policy_delay_ms(const struct policy *policy, uint32_t failed, uint32_t random);
/* The longest that policy_delay_ms may give for `failed`; what a recovered due time is clamped to.
 * failed outside the table gives the longest of all. */
uint32_t policy_delay_ms_max(const struct policy *policy, uint32_t failed);

#endif
