/* The oracle's bookkeeping is per (event, destination), so each check is a look at one small
 * struct.
 *
 * Crashes make some things unknowable: an outcome that was handed in and not answered may have
 * survived. Then the oracle forgets what it demanded of that delivery (it may be repeated, it may
 * go under a new token) rather than guess; everything that was durable it keeps demanding. */
#include "oracle.h"

#include "base/num.h"
#include "deliver/lane.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void oracle_fail(struct oracle *oracle, const char *format, ...) {
    if (oracle->failed) {
        return;
    }
    oracle->failed = true;
    va_list args;
    va_start(args, format);
    vsnprintf(oracle->why, sizeof oracle->why, format, args);
    va_end(args);
}

size_t oracle_envelope(const struct oracle *oracle, uint32_t i,
                       char out[static ORACLE_ENVELOPE_MAX]) {
    const struct oracle_event *event = &oracle->events[i];
    int n = snprintf(out, ORACLE_ENVELOPE_MAX,
                     "{\"data\":{\"n\":%u,\"pad\":\"%0*u\"},\"id\":\"%u\",\"type\":\"t.%u\","
                     "\"source\":\"sim\",\"specversion\":\"1.0\"}",
                     i, (int)event->size, i * 7919u, i, event->type);
    return (size_t)n;
}

/* The event of an envelope: by its id, then every byte is compared. */
static bool find_event(struct oracle *oracle, mr_str envelope, uint32_t *ret_i) {
    size_t at = mr_str_find(envelope, MR_STR("\"id\":\""));
    uint64_t i = UINT64_MAX;
    if (at != SIZE_MAX) {
        mr_str rest = mr_str_slice(envelope, at + 6, envelope.len);
        size_t end = mr_str_find_byte(rest, '"', 0);
        if (mr_is_err(mr_u64_parse(mr_str_slice(rest, 0, end), 0, SIM_EVENTS_MAX - 1, &i))) {
            i = UINT64_MAX;
        }
    }
    if (i >= oracle->n_events) {
        oracle_fail(oracle, "promise 4: an event at the sink that nobody handed in");
        return false;
    }
    char want[ORACLE_ENVELOPE_MAX];
    size_t n = oracle_envelope(oracle, (uint32_t)i, want);
    if (!mr_str_eq(envelope, mr_str_of(want, n))) {
        oracle_fail(oracle, "promise 4: the bytes of event %u changed", (unsigned)i);
        return false;
    }
    *ret_i = (uint32_t)i;
    return true;
}

void oracle_on_stored(struct oracle *oracle, uint32_t i, uint64_t pos, bool duplicate,
                      bool was_known) {
    struct oracle_event *event = &oracle->events[i];
    if (was_known && !duplicate) {
        oracle_fail(oracle, "promise 1: event %u was acknowledged and is stored again", i);
    }
    if (event->acknowledged && event->pos != pos) {
        oracle_fail(oracle, "promise 1: event %u is answered with another place", i);
    }
    event->acknowledged = true;
    event->refused = false;
    event->pos = pos;
}

void oracle_on_refused(struct oracle *oracle, uint32_t i) {
    (void)oracle;
    (void)i;
}

bool oracle_on_send(struct oracle *oracle, uint32_t destination, uint64_t token,
                    const mr_str *envelopes, uint32_t n, uint32_t *ret_events) {
    for (uint32_t k = 0; k < n; k++) {
        uint32_t i;
        if (!find_event(oracle, envelopes[k], &i)) {
            return false;
        }
        struct oracle_event *event = &oracle->events[i];
        struct oracle_delivery *delivery = &event->deliveries[destination];
        if ((event->targets >> destination & 1) == 0) {
            oracle_fail(oracle, "event %u goes to destination %u, which is not owed it", i,
                        destination);
        }
        if (delivery->done) {
            oracle_fail(oracle,
                        "promise 3: event %u goes to %u again after its outcome was durable", i,
                        destination);
        }
        if (delivery->known_run == oracle->run) {
            oracle_fail(oracle, "promise 3: event %u goes to %u again in the same run", i,
                        destination);
        }
        if (delivery->bound != 0 && delivery->bound != token) {
            oracle_fail(oracle, "promise 4: event %u goes to %u under another token", i,
                        destination);
        }
        event->sent = true;
        ret_events[k] = i;
    }
    return !oracle->failed;
}

void oracle_on_received(struct oracle *oracle, uint32_t destination, const uint32_t *events,
                        uint32_t n) {
    for (uint32_t k = 0; k < n; k++) {
        oracle->events[events[k]].deliveries[destination].received++;
    }
}

void oracle_on_answer(struct oracle *oracle, uint32_t destination, const uint32_t *events,
                      uint32_t n, bool success, bool counts) {
    for (uint32_t k = 0; k < n; k++) {
        struct oracle_delivery *delivery = &oracle->events[events[k]].deliveries[destination];
        if (success) {
            delivery->known_run = oracle->run;
        } else if (counts) {
            delivery->failures++;
        }
    }
}

void oracle_on_item(struct oracle *oracle, uint32_t destination, uint32_t event, uint8_t kind) {
    struct oracle_delivery *delivery = &oracle->events[event].deliveries[destination];
    switch ((enum lane_item_kind)kind) {
    case LANE_ITEM_OK:
        delivery->known_run = oracle->run;
        break;
    case LANE_ITEM_RETRY:
        delivery->failures++;
        break;
    case LANE_ITEM_THROTTLED:
        break;
    case LANE_ITEM_PERMANENT:
        delivery->refused = true;
        break;
    }
}

void oracle_on_outcome(struct oracle *oracle, enum oracle_kind kind, uint32_t destination,
                       const uint32_t *events, uint32_t n, uint64_t token) {
    for (uint32_t k = 0; k < n; k++) {
        struct oracle_delivery *delivery = &oracle->events[events[k]].deliveries[destination];
        delivery->unsettled++;
        if (delivery->done) {
            oracle_fail(oracle, "promise 2: event %u for %u ends twice", events[k], destination);
        }
        switch (kind) {
        case ORACLE_DELIVERED:
            if (delivery->received == 0) {
                oracle_fail(oracle, "event %u is called delivered to %u and never arrived",
                            events[k], destination);
            }
            break;
        case ORACLE_RETRY:
            delivery->bound = token;
            break;
        case ORACLE_SPLIT:
            delivery->bound = 0;
            break;
        case ORACLE_DEAD:
            if (delivery->failures < oracle->attempts_max && !delivery->refused) {
                oracle_fail(oracle, "promise 1: event %u dies for %u after %u failed attempts",
                            events[k], destination, delivery->failures);
            }
            break;
        }
    }
}

void oracle_on_outcome_durable(struct oracle *oracle, enum oracle_kind kind, uint32_t destination,
                               const uint32_t *events, uint32_t n, uint64_t token) {
    for (uint32_t k = 0; k < n; k++) {
        struct oracle_delivery *delivery = &oracle->events[events[k]].deliveries[destination];
        delivery->unsettled--;
        switch (kind) {
        case ORACLE_DELIVERED:
            delivery->done = true;
            break;
        case ORACLE_RETRY:
            delivery->bound_durable = token;
            break;
        case ORACLE_SPLIT:
            delivery->bound_durable = 0;
            break;
        case ORACLE_DEAD:
            delivery->done = true;
            delivery->dead = true;
            break;
        }
    }
}

void oracle_on_death(struct oracle *oracle) {
    oracle->run++;
    for (uint32_t i = 0; i < oracle->n_events; i++) {
        for (uint32_t d = 0; d < SIM_DESTINATIONS; d++) {
            struct oracle_delivery *delivery = &oracle->events[i].deliveries[d];
            if (delivery->unsettled > 0) {
                delivery->bound_durable = 0;
            }
            delivery->bound = delivery->bound_durable;
            delivery->unsettled = 0;
        }
    }
}

void oracle_finish(struct oracle *oracle, const struct oracle_counters counters[SIM_DESTINATIONS]) {
    for (uint32_t d = 0; d < SIM_DESTINATIONS; d++) {
        uint64_t owed = 0;
        uint64_t over = 0;
        for (uint32_t i = 0; i < oracle->n_events; i++) {
            const struct oracle_event *event = &oracle->events[i];
            const struct oracle_delivery *delivery = &event->deliveries[d];
            if ((event->targets >> d & 1) == 0 || !(event->acknowledged || event->sent)) {
                continue;
            }
            owed++;
            if (delivery->received > 0 || delivery->refused ||
                delivery->failures >= oracle->attempts_max) {
                over++;
            } else {
                oracle_fail(oracle, "promise 1: event %u, %s, never reached destination %u", i,
                            event->acknowledged ? "acknowledged" : "sent before", d);
            }
        }
        const struct oracle_counters *c = &counters[d];
        if (c->created != c->pending + c->delivered + c->dead + c->discarded) {
            oracle_fail(oracle, "promise 2: the counters of destination %u do not add up", d);
        }
        if (c->created != owed || c->pending != 0 || over != owed) {
            oracle_fail(oracle,
                        "promise 2: destination %u: %llu owed, %llu created, %llu still pending", d,
                        (unsigned long long)owed, (unsigned long long)c->created,
                        (unsigned long long)c->pending);
        }
    }
}
