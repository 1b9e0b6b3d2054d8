/* The producer: hands units of one to a few events to the journal, some of them ids that it sent
 * before, and notes the answers. */
#include "world.h"

#include "base/mem.h"
#include "ledger/record.h"

#include <stdio.h>
#include <string.h>

static void free_ingest(struct sim_ingest *ingest) {
    for (uint32_t i = 0; i < ingest->n; i++) {
        mr_free(ingest->bodies[i]);
    }
    mr_free(ingest);
}

static void unlink_ingest(struct sim_ingest *ingest) {
    struct sim_ingest **at = &ingest->world->ingests;
    while (*at != ingest) {
        at = &(*at)->next;
    }
    *at = ingest->next;
}

/* The answer of the journal: what a client would now be told. */
static void on_done(struct mail *mail) {
    struct sim_ingest *ingest = (struct sim_ingest *)(void *)mail;
    struct world *world = ingest->world;
    enum journal_result result = ingest->unit.result;
    unlink_ingest(ingest);
    world_trace(world, (uint64_t)result << 8 | 1);
    /* An answer counts from the moment it was posted, also when the process died before this turn:
     * on another thread it could have been on its way to the client already. */
    switch (result) {
    case JOURNAL_RESULT_OK:
        if (ingest->expects_conflict) {
            oracle_fail(world->oracle, "promise 1: other content under a known id was taken");
        }
        for (uint32_t i = 0; i < ingest->n; i++) {
            bool duplicate = ingest->slots[i].verdict == JOURNAL_DUPLICATE;
            oracle_on_stored(world->oracle, ingest->events[i], ingest->slots[i].pos, duplicate,
                             ingest->known[i]);
            if (duplicate) {
                world_hit(world, SIM_DUPLICATE);
            }
        }
        if (world->was_full) {
            world->was_full = false;
            world_hit(world, SIM_FULL_OVER);
        }
        break;
    case JOURNAL_RESULT_CONFLICT:
        if (!ingest->expects_conflict) {
            oracle_fail(world->oracle, "promise 1: event %u was refused as a conflict",
                        ingest->events[0]);
        }
        world_hit(world, SIM_CONFLICT);
        break;
    case JOURNAL_RESULT_FULL:
        world->was_full = true;
        world_hit(world, SIM_FULL);
        break;
    case JOURNAL_RESULT_FAILED:
    case JOURNAL_RESULT_FENCED:
        world_hit(world, SIM_UNKNOWN);
        break;
    case JOURNAL_RESULT_NONE:
    case JOURNAL_RESULT_LIMIT:
        oracle_fail(world->oracle, "a unit was answered with %d", (int)result);
        break;
    }
    free_ingest(ingest);
}

static struct record_span span_of(mr_str envelope, mr_str before) {
    size_t at = mr_str_find(envelope, before) + before.len;
    size_t end = mr_str_find_byte(envelope, '"', at);
    return (struct record_span){(uint32_t)at, (uint32_t)(end - at)};
}

/* The record of event i; other: the same id with other content. */
static uint8_t *encode_event(struct world *world, uint32_t i, bool other, size_t *ret_len) {
    const struct oracle_event *event = &world->oracle->events[i];
    char text[ORACLE_ENVELOPE_MAX];
    size_t n = oracle_envelope(world->oracle, i, text);
    mr_str envelope = mr_str_of(text, n);
    struct record_target targets[SIM_DESTINATIONS];
    static const uint32_t rule = 77;
    const uint32_t *rules[SIM_DESTINATIONS];
    uint32_t n_targets = 0;
    for (uint32_t d = 0; d < SIM_DESTINATIONS; d++) {
        if ((event->targets >> d & 1) != 0) {
            rules[n_targets] = &rule;
            targets[n_targets++] = (struct record_target){.destination = d + 1, .n_rules = 1};
        }
    }
    char name[32];
    int name_len = snprintf(name, sizeof name, "%u|%u", event->account, i);
    static const struct siphash_key tag_key = {1, 2};
    struct record_event_spec spec = {
        .account = event->account,
        .accepted_ms = mr_wall_ms(world->wall),
        .tag = siphash_128(tag_key, name, (size_t)name_len),
        .digest = siphash_64(tag_key, text, n) + (other ? 1 : 0),
        .schema_version = 1,
        .envelope = envelope,
        .n_targets = n_targets,
        .targets = targets,
        .rules = rules,
    };
    spec.spans[RECORD_ID] = span_of(envelope, MR_STR("\"id\":\""));
    spec.spans[RECORD_TYPE_ATTRIBUTE] = span_of(envelope, MR_STR("\"type\":\""));
    spec.spans[RECORD_SOURCE] = span_of(envelope, MR_STR("\"source\":\""));
    size_t size = record_event_head_bytes(targets, n_targets) + n;
    uint8_t *body = mr_alloc(size);
    MR_ASSERT(body != NULL);
    mr_err err = record_event_encode(&spec, body, size, ret_len);
    MR_ASSERT(mr_is_ok(err));
    return body;
}

/* A new event, or UINT32_MAX where there have been enough. */
static uint32_t new_event(struct world *world) {
    struct oracle *oracle = world->oracle;
    if (oracle->n_events == SIM_EVENTS_MAX) {
        return UINT32_MAX;
    }
    uint32_t i = oracle->n_events++;
    oracle->events[i] = (struct oracle_event){
        .targets = (uint32_t)world_below(world, 1u << SIM_DESTINATIONS),
        .size = (uint32_t)(world_below(world, 10) == 0 ? world_below(world, 3000)
                                                       : world_below(world, 200)),
        .type = (uint8_t)world_below(world, 3),
        .account = (uint8_t)(1 + world_below(world, 2)),
    };
    return i;
}

static bool is_in(const struct sim_ingest *ingest, uint32_t event) {
    for (uint32_t i = 0; i < ingest->n; i++) {
        if (ingest->events[i] == event) {
            return true;
        }
    }
    return false;
}

void producer_hand_in(struct world *world) {
    struct sim_ingest *ingest = MR_NEW(struct sim_ingest);
    MR_ASSERT(ingest != NULL);
    ingest->world = world;
    uint64_t n = world_below(world, 4) == 0 ? 1 + world_below(world, 16) : 1;
    for (uint64_t i = 0; i < n; i++) {
        struct oracle *oracle = world->oracle;
        uint32_t event;
        if (oracle->n_events > 0 && world_below(world, 8) == 0) {
            event = (uint32_t)world_below(world, oracle->n_events);
        } else {
            event = new_event(world);
        }
        if (event == UINT32_MAX || is_in(ingest, event)) {
            continue;
        }
        /* Only of what is acknowledged is it certain that other content must be refused. */
        bool known = oracle->events[event].acknowledged;
        bool other = known && ingest->n == 0 && world_below(world, 6) == 0;
        size_t len;
        uint8_t *body = encode_event(world, event, other, &len);
        ingest->events[ingest->n] = event;
        ingest->known[ingest->n] = known;
        ingest->bodies[ingest->n] = body;
        ingest->slots[ingest->n] =
            journal_slot_of(RECORD_EVENT, 0, mr_str_of((const char *)body, len));
        ingest->n++;
        if (other) {
            ingest->expects_conflict = true;
        }
    }
    if (ingest->n == 0) {
        mr_free(ingest);
        return;
    }
    journal_unit_init(&ingest->unit, JOURNAL_INGEST, ingest->slots, ingest->n, &world->box, on_done,
                      ingest);
    ingest->unit.reader_mask = 1;
    ingest->next = world->ingests;
    world->ingests = ingest;
    world_trace(world, (uint64_t)ingest->n << 8 | 2);
    writer_post(world->writer, &ingest->unit, NULL);
}

void producer_forget(struct world *world) {
    MR_ASSERT(world->ingests == NULL);
}
