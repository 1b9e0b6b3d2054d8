/* The network and the five sinks. A request takes a while to arrive, its answer takes a while to
 * come back; a sink answers by its mood, which changes now and then. */
#include "world.h"

#include <string.h>

struct sim_flight *sinks_flight(struct world *world) {
    for (size_t i = 0; i < SIM_FLIGHTS_MAX; i++) {
        if (!world->flights[i].used) {
            return &world->flights[i];
        }
    }
    return NULL;
}

static struct lane_result status(uint16_t code) {
    return (struct lane_result){.kind = LANE_RESULT_STATUS, .status = code, .retry_after_ms = -1};
}

static struct lane_result failure(enum lane_result_kind kind) {
    return (struct lane_result){.kind = (uint8_t)kind, .retry_after_ms = -1};
}

static bool has_poison(const struct sim_flight *flight) {
    for (uint32_t i = 0; i < flight->n; i++) {
        if (flight->events[i] % 37 == 5) {
            return true;
        }
    }
    return false;
}

static struct lane_result answer_of(struct world *world, const struct sim_flight *flight) {
    static const uint16_t errors[] = {500, 503, 502, 404, 429};
    enum sim_mood mood = world->draining ? SIM_MOOD_GOOD : world->moods[flight->destination];
    switch (mood) {
    case SIM_MOOD_GOOD:
        return status(world_below(world, 2) == 0 ? 200 : 204);
    case SIM_MOOD_FLAKY:
        if (world_below(world, 3) == 0) {
            return world_below(world, 2) == 0
                       ? status(errors[world_below(world, 5)])
                       : failure((enum lane_result_kind)(LANE_RESULT_TIMEOUT +
                                                         world_below(world, LANE_RESULT_REQUEST)));
        }
        return status(200);
    case SIM_MOOD_DOWN:
        return world_below(world, 2) == 0 ? status(503) : failure(LANE_RESULT_TIMEOUT);
    case SIM_MOOD_THROTTLE:
        if (world_below(world, 2) == 0) {
            struct lane_result result = status(429);
            result.retry_after_ms = (int64_t)world_below(world, 3000);
            return result;
        }
        return status(200);
    case SIM_MOOD_POISON:
        return status(has_poison(flight) ? 400 : 200);
    case SIM_MOOD_PAIRS:
        return status(flight->n > 1 ? 413 : 200);
    case SIM_MOOD_ITEMS:
        return status(200); /* for the events: see judge_items */
    case SIM_MOODS:
        break;
    }
    return status(200);
}

/* What a stream says of each event: most are taken, and of requests now and then none is. */
static void judge_items(struct world *world, struct sim_flight *flight) {
    static const enum sim_branch branches[] = {SIM_ITEMS_TAKEN, SIM_ITEMS_FAILED,
                                               SIM_ITEMS_THROTTLED, SIM_ITEMS_REFUSED};
    uint64_t one_of = world_below(world, 12) == 0 ? 1 : 2 + world_below(world, 20);
    flight->by_item = true;
    for (uint32_t i = 0; i < flight->n; i++) {
        struct lane_item *item = &flight->items[i];
        *item = (struct lane_item){LANE_ITEM_OK, LANE_REASON_NONE};
        if (world_below(world, one_of) == 0) {
            uint64_t kind = world_below(world, 8);
            item->kind = kind < 4   ? LANE_ITEM_RETRY
                         : kind < 7 ? LANE_ITEM_THROTTLED
                                    : LANE_ITEM_PERMANENT;
            item->reason = kind < 4   ? LANE_REASON_INTERNAL
                           : kind < 7 ? LANE_REASON_THROTTLED
                                      : LANE_REASON_RECORD_TOO_LARGE;
        }
        world_hit(world, branches[item->kind]);
        if (item->kind == LANE_ITEM_OK) {
            oracle_on_received(world->oracle, flight->destination, &flight->events[i], 1);
        }
    }
}

/* The sink has the request. Of a failed connection it never sees anything; of a timeout it may. */
static void arrive(struct world *world, struct sim_flight *flight) {
    flight->arrived = true;
    flight->result = answer_of(world, flight);
    flight->answer_at_ns = world->mono.ns + (int64_t)world_below(world, 40) * (MR_NS_PER_MS / 4);
    bool by_item = !world->draining && world->moods[flight->destination] == SIM_MOOD_ITEMS;
    if (by_item) {
        judge_items(world, flight);
    }
    bool success =
        !by_item && flight->result.kind == LANE_RESULT_STATUS && flight->result.status < 300;
    if (success) {
        oracle_on_received(world->oracle, flight->destination, flight->events, flight->n);
        /* Sometimes the answer is lost on the way: for the process it is a timeout. */
        if (!world->draining && world_below(world, 60) == 0) {
            flight->result = failure(LANE_RESULT_RESET);
        }
    }
    if (by_item && world_below(world, 60) == 0) {
        flight->by_item = false; /* the same, and nobody learns which were taken */
        flight->result = failure(LANE_RESULT_RESET);
    }
    world_trace(world, (uint64_t)flight->result.status << 16 | flight->destination << 8 | 3);
}

void sinks_step(struct world *world) {
    for (size_t i = 0; i < SIM_FLIGHTS_MAX; i++) {
        struct sim_flight *flight = &world->flights[i];
        if (!flight->used) {
            continue;
        }
        if (!flight->arrived) {
            if (world_below(world, 2) == 0) {
                arrive(world, flight);
            }
        } else if (flight->answer_at_ns <= world->mono.ns) {
            if (flight->lane != NULL) {
                process_answer(world, flight);
            }
            flight->used = false;
        }
    }
    if (world_below(world, 200) == 0) {
        uint32_t d = (uint32_t)world_below(world, SIM_DESTINATIONS);
        world->moods[d] = (enum sim_mood)world_below(world, SIM_MOODS);
    }
}
