/* See support_records.h. */
#include "support_records.h"

#include <stdio.h>
#include <stdlib.h>

uint64_t chance_next(struct chance *chance) {
    uint64_t z = (chance->state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

uint32_t chance_below(struct chance *chance, uint32_t n) {
    return (uint32_t)(chance_next(chance) % n);
}

void chance_bytes(void *ctx, void *out, size_t n) {
    uint8_t *at = out;
    for (size_t i = 0; i < n; i++) {
        at[i] = (uint8_t)chance_next(ctx);
    }
}

uint64_t test_seed(uint64_t otherwise) {
    uint64_t seed = otherwise;
    const char *text = getenv("MILLRACE_TEST_SEED");
    if (text != NULL && mr_is_err(mr_u64_parse(mr_str_c(text), 0, UINT64_MAX, &seed))) {
        seed = otherwise;
    }
    printf("seed %llu\n", (unsigned long long)seed);
    return seed;
}

static struct record_span span_of(mr_str envelope, mr_str part) {
    size_t at = mr_str_find(envelope, part);
    MR_ASSERT(at != SIZE_MAX);
    return (struct record_span){(uint32_t)at, (uint32_t)part.len};
}

void make_event(struct body *body, const char *type, const char *id, int64_t accepted_ms,
                const struct record_target *targets, uint32_t n_targets) {
    static const uint32_t rule[] = {7};
    const uint32_t *rules[256];
    struct record_target with_rules[256];
    char text[1024];
    MR_ASSERT(n_targets <= 256);
    for (uint32_t i = 0; i < n_targets; i++) {
        rules[i] = rule;
        with_rules[i] = targets[i];
        with_rules[i].n_rules = 1;
    }
    int n = snprintf(text, sizeof text,
                     "{\"data\":{\"n\":1},\"id\":\"%s\",\"time\":\"2024-09-25T19:09:48Z\","
                     "\"type\":\"%s\",\"source\":\"/s\",\"specversion\":\"1.0\"}",
                     id, type);
    mr_str envelope = {text, (size_t)n};
    struct siphash_key key = {1, 2};
    struct record_event_spec spec = {
        .account = 3,
        .accepted_ms = accepted_ms,
        .tag = siphash_128(key, id, strlen(id)),
        .digest = siphash_64(key, text, (size_t)n),
        .schema_version = 2,
        .envelope = envelope,
        .n_targets = n_targets,
        .targets = with_rules,
        .rules = rules,
    };
    spec.spans[RECORD_DATA] = span_of(envelope, MR_STR("{\"n\":1}"));
    spec.spans[RECORD_ID] = span_of(envelope, mr_str_c(id));
    spec.spans[RECORD_TYPE_ATTRIBUTE] = span_of(envelope, mr_str_c(type));
    spec.spans[RECORD_SOURCE] = span_of(envelope, MR_STR("/s"));
    MR_ASSERT(mr_is_ok(record_event_encode(&spec, body->bytes, BODY_MAX, &body->len)));
}

void make_outcome(struct body *body, const struct record_outcome *outcome,
                  const uint64_t *positions) {
    MR_ASSERT(
        mr_is_ok(record_outcome_encode(outcome, positions, body->bytes, BODY_MAX, &body->len)));
}

struct record_letter_id letter_id(int64_t ms, uint64_t number) {
    uint8_t random[10] = {0};
    for (size_t i = 0; i < 8; i++) {
        random[9 - i] = (uint8_t)(number >> (8 * i));
    }
    return record_letter_id_make(ms, random);
}
