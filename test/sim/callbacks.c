/* Callbacks: handed to the journal like events, sent by the real set of lanes, answered by hosts
 * with moods of their own. The oracle of callbacks knows what was handed in, what the hosts saw and
 * which outcomes are durable; it holds the store to the promises that architecture.md makes of
 * deliveries: acknowledged is sent or failed for cause, an attempt whose outcome was durable is not
 * made again, the bytes are those that were given, and at the end created = delivered + failed. */
#include "world.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define HOSTS      6
#define ACCOUNTS   3
#define FLYING_MAX 12

static size_t body_of(uint32_t i, char out[static 64]) {
    return (size_t)snprintf(out, 64, "n=%u&pad=%0*u", i, (int)(i % 37), i * 31u);
}

static struct sim_callbacks *of(struct world *world) {
    return &world->callbacks;
}

/* The callback of a body; every byte is compared. */
static struct sim_callback *find(struct world *world, mr_str body) {
    struct sim_callbacks *all = of(world);
    for (uint32_t i = 0; i < all->n; i++) {
        char want[64];
        if (mr_str_eq(body, mr_str_of(want, body_of(i, want)))) {
            return &all->items[i];
        }
    }
    oracle_fail(world->oracle, "promise 4: a callback at a host that nobody handed in");
    return NULL;
}

/* ---- handing in ---- */

static void on_done(struct mail *mail) {
    struct sim_hand_in *hand_in = (struct sim_hand_in *)(void *)mail;
    struct world *world = hand_in->world;
    struct sim_callback *callback = &of(world)->items[hand_in->i];
    of(world)->n_open--;
    callback->acknowledged = hand_in->unit.result == JOURNAL_RESULT_OK;
    callback->refused = hand_in->unit.result == JOURNAL_RESULT_FULL;
    mr_free(hand_in);
}

void sim_callbacks_hand_in(struct world *world) {
    struct sim_callbacks *all = of(world);
    if (all->n == SIM_CALLBACKS_MAX) {
        return;
    }
    uint32_t i = all->n++;
    struct sim_hand_in *hand_in = MR_NEW(struct sim_hand_in);
    MR_ASSERT(hand_in != NULL);
    struct sim_callback *callback = &all->items[i];
    *callback = (struct sim_callback){.host = (uint8_t)world_below(world, HOSTS),
                                      .account = (uint8_t)(1 + world_below(world, ACCOUNTS))};
    char url[32];
    char body[64];
    int url_len = snprintf(url, sizeof url, "https://h%u/", callback->host);
    struct record_callback record = {.account = callback->account,
                                     .created_ms = mr_wall_ms(world->wall),
                                     .url = mr_str_of(url, (size_t)url_len),
                                     .reference = MR_STR("sim"),
                                     .body = mr_str_of(body, body_of(i, body))};
    world_fill_random(world, record.id.bytes, sizeof record.id.bytes);
    size_t len;
    mr_err err = record_callback_encode(&record, hand_in->bytes, sizeof hand_in->bytes, &len);
    MR_ASSERT(mr_is_ok(err));
    hand_in->world = world;
    hand_in->i = i;
    hand_in->slot = journal_slot_of(RECORD_CALLBACK, 0, mr_str_of((char *)hand_in->bytes, len));
    journal_unit_init(&hand_in->unit, JOURNAL_INGEST, &hand_in->slot, 1, &world->box, on_done,
                      world);
    hand_in->unit.reader_mask = 1;
    all->n_open++;
    world_trace(world, i << 8 | 6);
    writer_post(world->writer, &hand_in->unit, NULL);
}

/* ---- what the set asks ---- */

static void on_send(void *ctx, struct callback *callback) {
    struct world *world = ctx;
    struct sim_callback *known = find(world, callback->body);
    for (size_t f = 0; f < SIM_CALLBACK_FLIGHTS && known != NULL; f++) {
        struct sim_callback_flight *flight = &of(world)->flights[f];
        if (flight->callback != NULL) {
            continue;
        }
        *flight = (struct sim_callback_flight){.callback = callback, .known = known};
        uint32_t i = (uint32_t)(known - of(world)->items);
        known->sent = true;
        if (known->over) {
            oracle_fail(world->oracle, "promise 3: callback %u goes again after its end", i);
        }
        if (known->known_run == world->oracle->run) {
            oracle_fail(world->oracle, "promise 3: callback %u goes again in the same run", i);
        }
        if (callback->attempts < known->attempts) {
            oracle_fail(world->oracle, "promise 3: attempt %u of callback %u is made again",
                        callback->attempts + 1u, i);
        }
        if (known->received > 0) {
            world_hit(world, SIM_CALLBACK_REPEATED);
        }
        return;
    }
    MR_ASSERT(known == NULL && "more flights than the set may have");
}

static void on_record(void *ctx, const struct callback *callback,
                      const struct callback_record *record) {
    static const uint8_t kinds[] = {[CALLBACK_DELIVERED] = RECORD_CALLBACK_DELIVERED,
                                    [CALLBACK_RETRY] = RECORD_CALLBACK_RETRY,
                                    [CALLBACK_FAILED] = RECORD_CALLBACK_FAILED};
    static const enum sim_branch branches[] = {[CALLBACK_DELIVERED] = SIM_CALLBACK_DELIVERED,
                                               [CALLBACK_RETRY] = SIM_CALLBACK_RETRIED,
                                               [CALLBACK_FAILED] = SIM_CALLBACK_FAILED};
    struct world *world = ctx;
    struct sim_callback *known = find(world, callback->body);
    struct record_callback_outcome outcome = {.kind = kinds[record->kind],
                                              .reason = record->reason,
                                              .attempt = record->attempt,
                                              .status = record->status,
                                              .account = callback->account_number,
                                              .duration_ms = record->duration_ms,
                                              .pos = callback->pos,
                                              .at_ms = record->at_ms,
                                              .due_ms = record->due_ms};
    memcpy(outcome.id.bytes, callback->id, sizeof outcome.id.bytes);
    world_hit(world, branches[record->kind]);
    if (known == NULL) {
        return;
    }
    if (record->kind == CALLBACK_DELIVERED && known->received == 0) {
        oracle_fail(world->oracle, "callback %u is called delivered and never arrived",
                    (unsigned)(known - of(world)->items));
    }
    if (record->kind == CALLBACK_FAILED && record->attempt < RECORD_CALLBACK_ATTEMPTS_MAX &&
        !known->refused_by_host) {
        oracle_fail(world->oracle, "promise 1: callback %u fails after one attempt",
                    (unsigned)(known - of(world)->items));
    }
    known->ended |= record->kind != CALLBACK_RETRY;
    known->known_run = record->kind == CALLBACK_RETRY ? 0 : world->oracle->run;
    struct sim_mark mark = {
        .callback = known, .is_end = record->kind != CALLBACK_RETRY, .attempt = record->attempt};
    process_mark(world, &mark);
    outcome_add_callback(&world->outcomes, &outcome);
}

void sim_callbacks_mark_durable(const struct sim_mark *mark) {
    mark->callback->attempts = mark->attempt;
    mark->callback->over = mark->is_end;
}

/* ---- from the journal ---- */

static struct callback_spec spec_of(uint64_t pos, const struct record_callback *record) {
    return (struct callback_spec){.account = record->account,
                                  .pos = pos,
                                  .id = record->id.bytes,
                                  .key = record->url,
                                  .url = record->url,
                                  .body = record->body};
}

void sim_callbacks_slab(struct world *world, uint64_t pos, mr_str body) {
    struct record_callback record;
    mr_err err = record_callback_decode(body, &record);
    MR_ASSERT(mr_is_ok(err));
    struct callback_spec spec = spec_of(pos, &record);
    err = callback_add(&of(world)->set, &spec);
    MR_ASSERT(mr_is_ok(err));
}

static mr_err restore(void *ctx, const struct book_callback *callback) {
    struct world *world = ctx;
    struct callback_spec spec = spec_of(callback->pos, &callback->record);
    const struct sim_callback *known = find(world, callback->record.body);
    if (known != NULL && (known->over || callback->n_attempts < known->attempts)) {
        oracle_fail(world->oracle, "promise 1: a durable outcome of callback %u is gone",
                    (unsigned)(known - of(world)->items));
    }
    world_hit(world, callback->n_attempts == 0 ? SIM_BOOT_CALLBACKS : SIM_BOOT_CALLBACKS_TRIED);
    return callback_restore(&of(world)->set, &spec, callback->n_attempts, callback->due_ms,
                            (struct lane_now){world->mono, world->wall});
}

mr_err sim_callbacks_boot(struct world *world, const struct book *book) {
    const struct callback_hooks hooks = {world, on_send, on_record};
    callback_set_init(&of(world)->set, &hooks, &world->shared.credits, FLYING_MAX);
    of(world)->is_up = true;
    return book_each_open_callback(book, restore, world);
}

/* ---- hosts ---- */

static struct lane_result answer_of(struct world *world, struct sim_callback *known) {
    static const uint16_t others[] = {500, 404, 423, 302, 503, 408};
    struct lane_result result = {.status = 200, .retry_after_ms = -1};
    uint8_t mood = world->draining ? 0 : of(world)->moods[known->host];
    uint64_t dice = world_below(world, 12);
    if (mood == 0 || (mood == 1 && dice < 8)) {
        known->received++;
        if (!world->draining && dice == 0) { /* the answer is lost on its way */
            result = (struct lane_result){.kind = LANE_RESULT_RESET, .retry_after_ms = -1};
        }
    } else if (dice < 6) {
        result.status = others[dice];
        known->refused_by_host |= dice == 1 || dice == 3;
    } else {
        result.kind = (uint8_t)(LANE_RESULT_TIMEOUT + world_below(world, 8));
        result.status = 0;
        known->refused_by_host |= result.kind == LANE_RESULT_ADDRESS ||
                                  result.kind == LANE_RESULT_RESPONSE ||
                                  result.kind == LANE_RESULT_REQUEST;
    }
    return result;
}

void sim_callbacks_net(struct world *world) {
    struct sim_callbacks *all = of(world);
    for (size_t f = 0; f < SIM_CALLBACK_FLIGHTS; f++) {
        struct sim_callback_flight *flight = &all->flights[f];
        if (flight->callback == NULL || world_below(world, 2) == 0) {
            continue;
        }
        if (!flight->has_arrived) {
            flight->has_arrived = true;
            flight->result = answer_of(world, flight->known);
            world_trace(world, (uint64_t)flight->result.status << 8 | 7);
            continue;
        }
        struct callback *callback = flight->callback;
        flight->callback = NULL;
        callback_on_result(&all->set, callback, (struct lane_now){world->mono, world->wall},
                           &flight->result);
    }
    if (world_below(world, 100) == 0) {
        all->moods[world_below(world, HOSTS)] = (uint8_t)world_below(world, 3);
    }
}

bool sim_callbacks_fly(const struct world *world) {
    return world->callbacks.is_up && world->callbacks.set.flying > 0;
}

bool sim_callbacks_quiet(const struct world *world) {
    return world->callbacks.n_open == 0 && world->callbacks.set.n == 0;
}

void sim_callbacks_turn(struct world *world) {
    callback_decide(&of(world)->set, (struct lane_now){world->mono, world->wall});
    callback_assert_valid(&of(world)->set);
}

/* The process is going: nobody learns what became of what flies; it may still arrive. */
void sim_callbacks_end(struct world *world) {
    static const struct lane_result cancelled = {.kind = LANE_RESULT_CANCELLED};
    struct sim_callbacks *all = of(world);
    if (!all->is_up) {
        return;
    }
    for (size_t f = 0; f < SIM_CALLBACK_FLIGHTS; f++) {
        struct sim_callback_flight *flight = &all->flights[f];
        if (flight->callback != NULL) {
            flight->known->received += !flight->has_arrived && world_below(world, 2) == 0;
            callback_on_result(&all->set, flight->callback,
                               (struct lane_now){world->mono, world->wall}, &cancelled);
            flight->callback = NULL;
        }
    }
}

void sim_callbacks_gone(struct world *world) {
    struct sim_callbacks *all = of(world);
    if (all->is_up) {
        callback_set_done(&all->set);
    }
    all->is_up = false;
    memset(&all->set, 0, sizeof all->set);
    /* An outcome that was not answered may be durable or not. */
    for (uint32_t i = 0; i < all->n; i++) {
        all->items[i].known_run = 0;
    }
}

/* ---- the end ---- */

static mr_err compare(void *ctx, uint32_t account, const struct record_counters *counters) {
    struct world *world = ctx;
    uint64_t stored = 0;
    for (uint32_t i = 0; i < of(world)->n; i++) {
        const struct sim_callback *callback = &of(world)->items[i];
        if (callback->account == account && (callback->acknowledged || callback->sent)) {
            stored++;
            if (callback->refused) {
                oracle_fail(world->oracle, "promise 1: callback %u was refused and sent", i);
            }
        }
    }
    if (counters->created != stored || counters->pending != 0 ||
        counters->created != counters->delivered + counters->dead) {
        oracle_fail(world->oracle,
                    "promise 2: callbacks of account %u: %llu stored, %llu created, %llu pending, "
                    "%llu delivered, %llu failed",
                    account, (unsigned long long)stored, (unsigned long long)counters->created,
                    (unsigned long long)counters->pending, (unsigned long long)counters->delivered,
                    (unsigned long long)counters->dead);
    }
    of(world)->accounts_seen |= 1u << account;
    return MR_OK;
}

void sim_callbacks_finish(struct world *world, const struct book *book) {
    of(world)->accounts_seen = 0;
    mr_ignore(book_each_callback_account(book, compare, world), "compare gives no error");
    for (uint32_t i = 0; i < of(world)->n; i++) {
        const struct sim_callback *callback = &of(world)->items[i];
        bool is_owed = callback->acknowledged || callback->sent;
        if (is_owed && (of(world)->accounts_seen >> callback->account & 1) == 0) {
            oracle_fail(world->oracle, "promise 1: callback %u of an account that nobody knows", i);
        }
        /* Its last outcome may have become durable unseen; the counters say that it is over. */
        if (is_owed && !callback->ended) {
            oracle_fail(world->oracle, "promise 1: callback %u, %s, never ended", i,
                        callback->acknowledged ? "acknowledged" : "sent before");
        }
    }
}
