/* Random lives of a lane against a model that knows only what went in and what came out. The seed
 * of a failing life is printed; MR_SEED sets the first one. */
#include "support_lane.h"

#include "base/mem.h"
#include "base/num.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define POSITIONS_MAX 6000
#define LIVES         24
#define STEPS         1500
#define FLYING_MAX    256

enum place {
    PLACE_NONE = 0,
    PLACE_OWED,
    PLACE_FLYING,
    PLACE_DELIVERED,
    PLACE_DEAD,
    PLACE_DISCARDED,
};

struct model {
    struct lane_shared shared;
    struct lane_settings settings;
    struct lane lane;
    struct lane_now now;
    uint64_t rng;
    uint64_t next; /* next position */
    uint64_t n_in;
    uint64_t n_out;
    uint32_t credits_max;
    size_t n_flying;
    struct lane_request *flying[FLYING_MAX];
    uint8_t place[POSITIONS_MAX];
    uint64_t key[POSITIONS_MAX];
    uint32_t origin[POSITIONS_MAX];
    uint64_t composition[POSITIONS_MAX]; /* hash of the request it must stay in; 0: free */
    uint32_t attempts[POSITIONS_MAX];
};

static uint64_t next_random(struct model *model) {
    model->rng ^= model->rng << 13;
    model->rng ^= model->rng >> 7;
    model->rng ^= model->rng << 17;
    return model->rng;
}

static uint64_t below(struct model *model, uint64_t n) {
    return next_random(model) % n;
}

static uint64_t hash_of(const uint64_t *positions, uint32_t n) {
    return mr_str_hash(mr_str_of((const char *)positions, n * sizeof(uint64_t)), 1) | 1;
}

static void on_send(void *ctx, struct lane *lane, struct lane_request *request) {
    struct model *model = ctx;
    const uint64_t *positions = lane_request_positions(request);
    uint32_t n = lane_request_count(request);
    MR_ASSERT(n >= 1 && n <= LANE_BATCH_MAX && model->n_flying < FLYING_MAX);
    uint64_t hash = hash_of(positions, n);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t pos = positions[i];
        MR_ASSERT(model->place[pos] == PLACE_OWED);
        MR_ASSERT(model->key[pos] == lane_request_key(request, i));
        MR_ASSERT(model->origin[pos] == request->origin);
        /* The token of a request that was answered stays: so must its composition. */
        MR_ASSERT(model->composition[pos] == 0 || model->composition[pos] == hash);
        model->place[pos] = PLACE_FLYING;
    }
    MR_ASSERT(lane_is_empty(lane) == false && !model->shared.closed);
    model->flying[model->n_flying++] = request;
}

static void free_composition(struct model *model, uint64_t hash) {
    for (uint64_t pos = 0; hash != 0 && pos < model->next; pos++) {
        if (model->composition[pos] == hash) {
            model->composition[pos] = 0;
        }
    }
}

static void on_record(void *ctx, struct lane *lane, const struct lane_record *record) {
    struct model *model = ctx;
    (void)lane;
    for (uint32_t i = 0; i < record->n_positions; i++) {
        uint64_t pos = record->positions[i];
        MR_ASSERT(model->place[pos] == PLACE_OWED || model->place[pos] == PLACE_FLYING);
        switch ((enum lane_record_kind)record->kind) {
        case LANE_RECORD_DELIVERED:
            MR_ASSERT(model->place[pos] == PLACE_FLYING);
            model->place[pos] = PLACE_DELIVERED;
            model->n_out++;
            break;
        case LANE_RECORD_DEAD:
            model->place[pos] = PLACE_DEAD;
            model->n_out++;
            free_composition(model, model->composition[pos]);
            break;
        case LANE_RECORD_DISCARDED:
            model->place[pos] = PLACE_DISCARDED;
            model->n_out++;
            free_composition(model, model->composition[pos]);
            break;
        case LANE_RECORD_RETRY:
            MR_ASSERT(record->attempt >= model->attempts[pos]);
            MR_ASSERT(record->due_ms >= record->now_ms);
            model->attempts[pos] = record->attempt;
            model->composition[pos] = hash_of(record->positions, record->n_positions);
            model->place[pos] = PLACE_OWED;
            break;
        case LANE_RECORD_SPLIT:
            MR_ASSERT(record->n_first >= 1 && record->n_first < record->n_positions);
            model->composition[pos] = 0;
            model->place[pos] = PLACE_OWED;
            break;
        }
    }
    model->shared.credits += record->from_attempt ? 1 : 0;
}

static void on_notice(void *ctx, struct lane *lane, const struct lane_notice *notice) {
    (void)ctx;
    (void)lane;
    MR_ASSERT(notice->kind <= LANE_NOTICE_SINGLE_OVER);
}

static uint32_t on_random(void *ctx) {
    return (uint32_t)next_random(ctx);
}

static void check(struct model *model) {
    lane_assert_valid(&model->lane);
    uint64_t n[PLACE_DISCARDED + 1] = {0};
    for (uint64_t pos = 0; pos < model->next; pos++) {
        n[model->place[pos]]++;
    }
    MR_ASSERT(model->n_in - model->n_out == n[PLACE_OWED] + n[PLACE_FLYING]);
    MR_ASSERT(model->n_in - model->n_out == model->lane.backlog_count + model->lane.open_events);
    MR_ASSERT(model->shared.credits + model->n_flying == model->credits_max);
    MR_ASSERT(model->lane.flying == model->n_flying);
}

static void add_events(struct model *model) {
    uint64_t n = 1 + below(model, below(model, 4) == 0 ? 120 : 5);
    uint64_t keys = below(model, 20) == 0 ? 90 : 3;
    for (uint64_t i = 0; i < n && model->next < POSITIONS_MAX; i++) {
        uint64_t pos = model->next;
        struct backlog_entry entry = {.pos = pos,
                                      .key = below(model, keys) << 16,
                                      .origin = below(model, 10) == 0 ? 1 : 0,
                                      .arrived_ms = model->now.mono.ns / MR_NS_PER_MS,
                                      .size = (uint32_t)below(model, 3000)};
        bool fails = below(model, 30) == 0;
        mr_alloc_fail_at(fails ? 1 : 0);
        mr_err err = lane_on_event(&model->lane, &entry);
        mr_alloc_fail_at(0);
        if (mr_is_ok(err)) {
            model->key[pos] = entry.key;
            model->origin[pos] = entry.origin;
            model->place[pos] = PLACE_OWED;
            model->n_in++;
            model->next++;
        }
    }
}

static struct lane_result random_result(struct model *model, uint64_t mood,
                                        const struct lane_request *request) {
    static const uint16_t statuses[] = {500, 503, 429, 404, 400, 422, 413, 301, 100, 410};
    struct lane_result result = {.retry_after_ms = -1};
    uint64_t dice = below(model, 100);
    bool pair = mood == 3 && lane_request_count(request) > 1;
    bool poison = mood == 4 && lane_request_positions(request)[0] % 8 == 0;
    if (pair || poison) {
        result.status = 400;
    } else if (mood == 0 || mood >= 3 || (mood == 1 && dice < 60)) {
        result.status = 200;
    } else if (dice < 80) {
        result.status = statuses[below(model, below(model, 40) == 0 ? 10 : 9)];
        if (below(model, 4) == 0) {
            result.retry_after_ms = (int64_t)below(model, 5000);
        }
    } else {
        result.kind = (uint8_t)(1 + below(model, LANE_RESULT_CANCELLED));
    }
    return result;
}

/* Mood 0 takes everything; in others chance decides how often and how an event fails. */
static void random_items(struct model *model, uint64_t mood, struct lane_item *items, uint32_t n) {
    static const uint8_t reasons[] = {LANE_REASON_INTERNAL, LANE_REASON_KMS, LANE_REASON_NONE};
    uint64_t one_of = 1 + below(model, 20);
    uint64_t kinds = 1 + below(model, 3);
    for (uint32_t i = 0; i < n; i++) {
        bool failed = mood != 0 && below(model, one_of) == 0;
        items[i].kind = failed ? (uint8_t)(1 + below(model, kinds)) : LANE_ITEM_OK;
        items[i].reason = failed ? reasons[below(model, 3)] : LANE_REASON_NONE;
    }
}

static void answer_one(struct model *model, uint64_t mood) {
    if (model->n_flying == 0) {
        return;
    }
    size_t at = below(model, model->n_flying);
    struct lane_request *request = model->flying[at];
    model->flying[at] = model->flying[--model->n_flying];
    struct lane_result result = random_result(model, mood, request);
    if (result.kind == LANE_RESULT_CANCELLED) {
        for (uint32_t i = 0; i < lane_request_count(request); i++) {
            model->place[lane_request_positions(request)[i]] = PLACE_OWED;
        }
    }
    bool fails = below(model, 10) == 0;
    bool by_item = result.kind == LANE_RESULT_STATUS && below(model, 2) == 0;
    struct lane_item items[LANE_BATCH_MAX];
    random_items(model, mood, items, lane_request_count(request));
    mr_alloc_fail_at(fails ? 1 + below(model, 2) : 0);
    if (by_item) {
        lane_on_items(&model->lane, request, model->now, &result, items,
                      lane_request_count(request));
    } else {
        lane_on_result(&model->lane, request, model->now, &result);
    }
    mr_alloc_fail_at(0);
}

/* Something about a request that flies: body sent, less composed, an event unreadable. */
static void touch_one(struct model *model) {
    if (model->n_flying == 0) {
        return;
    }
    size_t at = below(model, model->n_flying);
    struct lane_request *request = model->flying[at];
    uint32_t n = lane_on_begin(&model->lane, request, model->now);
    if (n == 0) {
        model->flying[at] = model->flying[--model->n_flying];
        return;
    }
    switch (below(model, 3)) {
    case 0:
        lane_on_body_sent(&model->lane, request);
        break;
    case 1: {
        uint32_t used = request->is_retry ? n : 1 + (uint32_t)below(model, n);
        uint64_t tail[LANE_BATCH_MAX];
        memcpy(tail, lane_request_positions(request), n * sizeof tail[0]);
        if (mr_is_ok(lane_on_composed(&model->lane, request, used,
                                      10 + (uint32_t)below(model, 5000), model->now))) {
            for (uint32_t i = used; i < n; i++) {
                if (model->place[tail[i]] == PLACE_FLYING) {
                    model->place[tail[i]] = PLACE_OWED;
                }
            }
        }
        break;
    }
    default:
        if (below(model, 20) == 0 &&
            lane_on_unreadable(&model->lane, request, (uint32_t)below(model, n), model->now) == 0) {
            model->flying[at] = model->flying[--model->n_flying];
        }
        break;
    }
}

static void change_settings(struct model *model) {
    struct lane_settings *settings = &model->settings;
    settings->enabled = below(model, 4) != 0;
    settings->enabled_epoch++;
    settings->batch_max = 1 + (uint32_t)below(model, 60);
    settings->batch_bytes_max = 500 + (uint32_t)below(model, 100000);
    settings->linger_ms = (uint32_t)below(model, 200);
    settings->rate_per_second = below(model, 3) == 0 ? 1 + (uint32_t)below(model, 200) : 0;
    settings->concurrency_max = 1 + (uint32_t)below(model, 40);
    settings->form = (uint32_t)below(model, 9);
    static const uint32_t delays[] = {0, 5, 100000};
    switch (below(model, 3)) {
    case 0:
        policy_init_kore(&settings->policy);
        break;
    case 1:
        policy_init_standard(&settings->policy);
        break;
    default:
        mr_ignore(policy_init_explicit(&settings->policy, delays, below(model, 4)), "in range");
        break;
    }
    lane_on_settings(&model->lane, settings, model->now);
}

static void discard_some(struct model *model) {
    uint64_t type = below(model, 3);
    struct lane_discard_spec spec = {.before = below(model, 3) == 0 ? UINT64_MAX
                                                                    : below(model, model->next + 1),
                                     .types = &type,
                                     .n_types = below(model, 2)};
    uint64_t n;
    bool more;
    mr_ignore(lane_discard(&model->lane, &spec, 1 + below(model, 100), model->now, &n, &more),
              "memory does not fail here");
}

static void decide(struct model *model) {
    mr_alloc_fail_at(below(model, 20) == 0 ? 1 + below(model, 3) : 0);
    enum lane_wait wait = lane_decide(&model->lane, model->now);
    mr_alloc_fail_at(0);
    (void)wait;
}

static void pass(struct model *model, int64_t ms) {
    model->now.mono = mr_mono_add_ms(model->now.mono, ms);
    model->now.wall.ns += ms * MR_NS_PER_MS;
}

/* Everything is accepted from now on: the lane must run empty by its own deadlines. */
static void drain(struct model *model) {
    model->settings.enabled = true;
    model->settings.enabled_epoch++;
    model->settings.rate_per_second = 0;
    lane_on_settings(&model->lane, &model->settings, model->now);
    for (uint32_t i = 0; !lane_is_empty(&model->lane); i++) {
        MR_ASSERT(i < 100000);
        enum lane_wait wait = lane_decide(&model->lane, model->now);
        while (model->n_flying > 0) {
            answer_one(model, 0);
        }
        mr_mono deadline = lane_deadline(&model->lane);
        if (wait == LANE_WAIT_NOTHING && deadline.ns > model->now.mono.ns &&
            deadline.ns != INT64_MAX) {
            pass(model, mr_mono_diff_ms(deadline, model->now.mono) + 1);
        }
        check(model);
    }
}

static void live(uint64_t seed) {
    struct model *model = MR_NEW(struct model);
    MR_ASSERT(model != NULL);
    model->rng = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    model->credits_max = 20 + (uint32_t)below(model, 100);
    model->shared.credits = model->credits_max;
    model->shared.hooks = (struct lane_hooks){model, on_send, on_record, on_notice, on_random};
    model->shared.bytes_max = below(model, 2) == 0 ? 50000 : 0;
    model->shared.flying_max = below(model, 2) == 0 ? 8 : 0;
    model->shared.open_max = below(model, 2) == 0 ? 20 : 0;
    model->settings.mixes = below(model, 2) == 0;
    model->now = (struct lane_now){{MR_NS_PER_S}, mr_wall_of_ms(INT64_C(1700000000000))};
    lane_init(&model->lane, &model->shared, 1, &model->settings);
    change_settings(model);
    uint64_t mood = 0;
    for (uint32_t step = 0; step < STEPS; step++) {
        if (step % 100 == 0) {
            mood = below(model, 5);
        }
        switch (below(model, 16)) {
        case 0:
        case 1:
        case 2:
            add_events(model);
            break;
        case 3:
            if (below(model, 10) == 0) {
                change_settings(model);
            }
            break;
        case 4:
            if (below(model, 30) == 0) {
                discard_some(model);
            }
            break;
        case 5:
            pass(model, (int64_t)below(model, below(model, 20) == 0 ? 4000000 : 300));
            break;
        case 6:
            touch_one(model);
            break;
        case 7:
        case 8:
        case 9:
        case 10:
            decide(model);
            break;
        default:
            answer_one(model, mood);
            break;
        }
        check(model);
    }
    drain(model);
    MR_ASSERT(model->n_in == model->n_out);
    lane_done(&model->lane);
    MR_ASSERT(model->shared.memory_bytes == 0 && model->shared.backlog.bytes == 0);
    mr_free(model);
}

static void every_delivery_ends_in_exactly_one_place(void **state) {
    (void)state;
    uint64_t first = 1;
    const char *text = getenv("MR_SEED");
    if (text != NULL) {
        assert_true(mr_is_ok(mr_u64_parse(mr_str_c(text), 0, UINT64_MAX / 2, &first)));
    }
    for (uint64_t seed = first; seed < first + LIVES; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        live(seed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_delivery_ends_in_exactly_one_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
