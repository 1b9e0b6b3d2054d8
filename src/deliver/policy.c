/* Retry policies. A policy is a table of waits; what differs between the kinds is only where the
 * table comes from and whether the waits are jittered. Jitter spreads the resends of many requests
 * that failed together; delays given by a destination are promises to it and are kept exactly.
 * All arithmetic is in integers: 2,592,000,000 ms × 120 fits 64 bits with room. */
#include "deliver/policy.h"

#include "base/str.h"

/* KORE: one attempt and up to three resends, 1, 2 and 4 s after each failure. */
static const uint32_t kore_delays_ms[] = {1000, 2000, 4000};
/* Standard Webhooks: ten attempts over 75 h 35 min 5 s. */
static const uint32_t standard_delays_ms[] = {
    5000,     300000,   1800000,  7200000, /* 5 s, 5 min, 30 min, 2 h */
    18000000, 36000000, 50400000,          /* 5 h, 10 h, 14 h */
    72000000, 86400000,                    /* 20 h, 24 h */
};
#define JITTER_PERCENT 20

static void fill(struct policy *policy, enum policy_kind kind, const uint32_t *delays_ms, size_t n,
                 uint8_t jitter_percent) {
    *policy = (struct policy){
        .kind = (uint8_t)kind, .n_delays = (uint8_t)n, .jitter_percent = jitter_percent};
    for (size_t i = 0; i < n; i++) {
        policy->delays_ms[i] = delays_ms[i];
    }
}

void policy_init_kore(struct policy *policy) {
    fill(policy, POLICY_KORE, kore_delays_ms, sizeof kore_delays_ms / sizeof kore_delays_ms[0],
         JITTER_PERCENT);
}

void policy_init_standard(struct policy *policy) {
    fill(policy, POLICY_STANDARD, standard_delays_ms,
         sizeof standard_delays_ms / sizeof standard_delays_ms[0], JITTER_PERCENT);
}

mr_err policy_init_explicit(struct policy *policy, const uint32_t *delays_ms, size_t n) {
    if (n > POLICY_DELAYS_MAX) {
        return MR_ERR(MR_E_LIMIT);
    }
    for (size_t i = 0; i < n; i++) {
        if (delays_ms[i] > POLICY_DELAY_MS_MAX) {
            return MR_ERR(MR_E_RANGE);
        }
    }
    fill(policy, POLICY_EXPLICIT, delays_ms, n, 0);
    return MR_OK;
}

uint32_t policy_attempts_max(const struct policy *policy) {
    return (uint32_t)policy->n_delays + 1;
}

uint32_t policy_delay_ms(const struct policy *policy, uint32_t failed, uint32_t random) {
    MR_ASSERT(failed >= 1 && failed <= policy->n_delays);
    uint64_t delay = policy->delays_ms[failed - 1];
    uint64_t spread = delay * policy->jitter_percent / 100;
    /* delay − spread … delay + spread, each millisecond as likely as the others. */
    uint64_t offset = (uint64_t)random % (2 * spread + 1);
    return (uint32_t)(delay - spread + offset);
}

uint32_t policy_delay_ms_max(const struct policy *policy, uint32_t failed) {
    uint64_t longest = 0;
    if (failed >= 1 && failed <= policy->n_delays) {
        longest = policy->delays_ms[failed - 1];
    } else {
        for (uint32_t i = 0; i < policy->n_delays; i++) {
            longest = policy->delays_ms[i] > longest ? policy->delays_ms[i] : longest;
        }
    }
    return (uint32_t)(longest + longest * policy->jitter_percent / 100);
}
