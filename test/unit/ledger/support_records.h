/* Records for tests, made from few words; and seeded chance. */
#ifndef MR_TEST_LEDGER_RECORDS_H
#define MR_TEST_LEDGER_RECORDS_H

#include "ledger/record.h"

#define BODY_MAX 65536U

struct body {
    uint8_t bytes[BODY_MAX];
    size_t len;
};
static inline mr_str body_view(const struct body *body) {
    return (mr_str){(const char *)body->bytes, body->len};
}

struct chance {
    uint64_t state;
};
uint64_t chance_next(struct chance *chance);
/* 0 … n − 1. */
uint32_t chance_below(struct chance *chance, uint32_t n);
/* For code that wants random bytes; ctx is a struct chance. */
void chance_bytes(void *ctx, void *out, size_t n);
/* MILLRACE_TEST_SEED, or the given one; printed. */
uint64_t test_seed(uint64_t otherwise);

/* An event of type `type` with the text `id`, owed to the targets, one rule (number 7) each. */
void make_event(struct body *body, const char *type, const char *id, int64_t accepted_ms,
                const struct record_target *targets, uint32_t n_targets);
void make_outcome(struct body *body, const struct record_outcome *outcome,
                  const uint64_t *positions);
struct record_letter_id letter_id(int64_t ms, uint64_t number);

#endif
