/* The process: the real actors, put together as the server does, and the little glue between lanes
 * and ledger that the server's shards have too: events of committed slabs to lanes, bodies read
 * back for each request, outcomes into units. */
#include "world.h"

#include "base/mem.h"
#include "dispatch/token.h"
#include "journal/reader.h"

#include <string.h>

#define DIR_JOURNAL    "/store/journal"
#define DIR_CHECKPOINT "/store/checkpoints"
#define DIR_DEDUPE     "/store/ids"
#define DIR_ARCHIVE    "/store/archive"
#define CREDITS        400
#define STOP_TURNS     20000
#define STOP_WRITES    20

static struct lane_now now_of(const struct world *world) {
    return (struct lane_now){world->mono, world->wall};
}

static uint32_t index_of(const struct world *world, const struct lane *lane) {
    return (uint32_t)(lane - world->lanes);
}

static uint64_t token_of(const struct world *world, uint32_t d, uint32_t origin,
                         const uint64_t *positions, uint32_t n) {
    char text[TOKEN_SIZE];
    token_make(world->store_key, d + 1, origin, positions, n, text);
    return mr_str_hash(mr_str_of(text, TOKEN_SIZE - 1), 3) | 1;
}

/* --- what lanes ask ----------------------------------------------------------------------------
 */

/* Reads the request's events back and lets it leave; the lane is answered by the network later. */
static void on_send(void *ctx, struct lane *lane, struct lane_request *request) {
    struct world *world = ctx;
    uint32_t d = index_of(world, lane);
    uint32_t n = lane_request_count(request);
    struct sim_flight *flight = sinks_flight(world);
    MR_ASSERT(flight != NULL);
    *flight = (struct sim_flight){
        .used = true, .lane = lane, .request = request, .destination = d, .n = n};
    mr_str envelopes[LANE_BATCH_MAX];
    size_t offsets[LANE_BATCH_MAX];
    mr_buf scratch;
    mr_buf_init(&scratch, 4 << 20);
    bool ok = true;
    for (uint32_t i = 0; i < n && ok; i++) {
        struct journal_record found;
        struct record_event event;
        mr_err err = journal_read(world->journal, lane_request_positions(request)[i], 0,
                                  OS_READ_WAIT, &scratch, &found);
        ok = mr_is_ok(err);
        if (!ok && !disk_is_down(world->disk) && !mr_err_is(err, MR_E_IO)) {
            oracle_fail(world->oracle, "promise 1: a record that is owed cannot be read (%x)",
                        err.code);
        }
        if (ok && mr_is_err(record_event_decode(found.body, &event))) {
            oracle_fail(world->oracle, "promise 4: a record that is owed does not decode");
            ok = false;
        }
        if (ok) {
            offsets[i] = (size_t)(event.envelope.ptr - scratch.ptr);
            envelopes[i] = event.envelope;
        }
    }
    for (uint32_t i = 0; i < n && ok; i++) {
        envelopes[i].ptr = scratch.ptr + offsets[i];
    }
    memcpy(flight->positions, lane_request_positions(request), n * sizeof flight->positions[0]);
    uint64_t token = token_of(world, d, request->origin, lane_request_positions(request), n);
    if (ok && oracle_on_send(world->oracle, d, token, envelopes, n, flight->events)) {
        for (uint32_t i = 0; i < n; i++) {
            if (world->oracle->events[flight->events[i]].deliveries[d].known_run != 0) {
                world_hit(world, SIM_REPEATED);
            }
        }
        if (request->is_probe) {
            world_hit(world, SIM_PROBED);
        }
    } else {
        /* It could not be read: it was never sent, and is told so with the next answers. */
        world_hit(world, SIM_READ_FAILED);
        flight->arrived = true;
        flight->n = 0;
        flight->result = (struct lane_result){.kind = LANE_RESULT_CANCELLED, .retry_after_ms = -1};
        flight->answer_at_ns = world->mono.ns + MR_NS_PER_MS;
    }
    mr_buf_done(&scratch);
    world_trace(world, token ^ 4);
}

/* The flight of that lane with the position, and the event that it is. */
static const struct sim_flight *flight_of(const struct world *world, const struct lane *lane,
                                          uint64_t position, uint32_t *ret_event) {
    for (size_t f = 0; f < SIM_FLIGHTS_MAX; f++) {
        const struct sim_flight *flight = &world->flights[f];
        if (!flight->used || flight->lane != lane) {
            continue;
        }
        for (uint32_t i = 0; i < flight->n; i++) {
            if (flight->positions[i] == position) {
                *ret_event = flight->events[i];
                return flight;
            }
        }
    }
    return NULL;
}

/* The events at those positions, by what was sent. */
static uint32_t *events_at(struct world *world, const struct lane *lane,
                           const struct lane_record *record) {
    uint32_t *events = mr_calloc(record->n_positions, sizeof *events);
    MR_ASSERT(events != NULL);
    for (uint32_t i = 0; i < record->n_positions; i++) {
        const struct sim_flight *flight = flight_of(world, lane, record->positions[i], &events[i]);
        MR_ASSERT(flight != NULL && "an outcome of an event that does not fly");
    }
    return events;
}

void process_mark(struct world *world, const struct sim_mark *mark) {
    if (world->marks_open == NULL) {
        world->marks_open = MR_NEW(struct sim_marks);
        MR_ASSERT(world->marks_open != NULL);
    }
    MR_ASSERT(world->marks_open->n < SIM_MARKS_MAX);
    world->marks_open->items[world->marks_open->n++] = *mark;
}

static void on_record(void *ctx, struct lane *lane, const struct lane_record *record) {
    static const enum oracle_kind kinds[] = {[LANE_RECORD_DELIVERED] = ORACLE_DELIVERED,
                                             [LANE_RECORD_RETRY] = ORACLE_RETRY,
                                             [LANE_RECORD_SPLIT] = ORACLE_SPLIT,
                                             [LANE_RECORD_DEAD] = ORACLE_DEAD};
    static const enum sim_branch branches[] = {[LANE_RECORD_RETRY] = SIM_RETRIED,
                                               [LANE_RECORD_SPLIT] = SIM_SPLIT,
                                               [LANE_RECORD_DEAD] = SIM_DIED};
    struct world *world = ctx;
    MR_ASSERT(record->kind != LANE_RECORD_DISCARDED);
    uint32_t d = index_of(world, lane);
    struct sim_mark mark = {
        .kind = kinds[record->kind],
        .destination = d,
        .n = record->n_positions,
        .token = token_of(world, d, record->origin, record->positions, record->n_positions),
        .events = events_at(world, lane, record)};
    if (record->kind != LANE_RECORD_DELIVERED) {
        world_hit(world, branches[record->kind]);
    }
    if (record->reason == LANE_REASON_THROTTLED) {
        world_hit(world, SIM_THROTTLED);
    }
    process_mark(world, &mark);
    oracle_on_outcome(world->oracle, mark.kind, d, mark.events, mark.n, mark.token);
    outcome_add(&world->outcomes, d + 1, record, world_fill_random, world);
}

static void on_notice(void *ctx, struct lane *lane, const struct lane_notice *notice) {
    struct world *world = ctx;
    if (notice->kind == LANE_NOTICE_SINGLE) {
        int64_t now_ms = mr_wall_ms(world->wall);
        world_hit(world, SIM_SINGLE);
        if (world->marks_open == NULL) {
            world->marks_open = MR_NEW(struct sim_marks);
            MR_ASSERT(world->marks_open != NULL);
        }
        outcome_add_singles(&world->outcomes, lane->destination, now_ms, now_ms + LANE_SINGLE_MS);
    }
}

static uint32_t on_random(void *ctx) {
    return (uint32_t)(world_random(ctx) >> 16);
}

/* --- from the journal --------------------------------------------------------------------------
 */

static void add_delivery(struct world *world, uint32_t number, uint64_t type, uint16_t version,
                         uint64_t pos, uint32_t size, uint32_t origin) {
    MR_ASSERT(number >= 1 && number <= SIM_DESTINATIONS);
    struct backlog_entry entry = {.pos = pos,
                                  .key = lane_key_make(type, version),
                                  .arrived_ms = world->mono.ns / MR_NS_PER_MS,
                                  .size = size,
                                  .origin = origin};
    mr_err err = lane_on_event(&world->lanes[number - 1], &entry);
    MR_ASSERT(mr_is_ok(err));
}

static void on_slab(struct mail *mail) {
    struct slab_mail *got = (struct slab_mail *)(void *)mail;
    struct world *world = got->ctx;
    struct slab *slab = got->slab;
    for (uint32_t i = 0; i < slab->n_records && world->is_up; i++) {
        const struct slab_entry *entry = &slab->records[i];
        if (entry->type == RECORD_CALLBACK) {
            sim_callbacks_slab(world, entry->pos, slab_body(slab, entry));
        }
        if (entry->type != RECORD_EVENT) {
            continue;
        }
        struct record_event event;
        mr_err err = record_event_decode(slab_body(slab, entry), &event);
        MR_ASSERT(mr_is_ok(err));
        uint64_t type;
        err = type_table_number(world->types, record_event_member(&event, RECORD_TYPE_ATTRIBUTE),
                                &type);
        MR_ASSERT(mr_is_ok(err));
        mr_str at = event.targets;
        struct record_target target;
        while (record_targets_next(&at, &target)) {
            add_delivery(world, target.destination, type, record_target_version(&event, &target),
                         entry->pos, (uint32_t)event.envelope.len, 0);
        }
    }
    slab_unref(slab);
}

/* --- outcomes become durable --------------------------------------------------------------------
 */

static void free_marks(struct sim_marks *marks) {
    for (size_t i = 0; marks != NULL && i < marks->n; i++) {
        mr_free(marks->items[i].events);
    }
    mr_free(marks);
}

void process_free_marks(struct world *world) {
    while (world->marks_first != NULL) {
        struct sim_marks *next = world->marks_first->next;
        free_marks(world->marks_first);
        world->marks_first = next;
    }
    free_marks(world->marks_open);
    world->marks_open = NULL;
    world->marks_last = NULL;
}

void process_on_durable(void *ctx) {
    struct world *world = ctx;
    struct sim_marks *marks = world->marks_first;
    MR_ASSERT(marks != NULL);
    world->marks_first = marks->next;
    if (world->marks_first == NULL) {
        world->marks_last = NULL;
    }
    /* The unit that was answered lies on top of the free ones, and begins with its journal unit.
     * Any answer but OK leaves open whether the outcome survives. */
    const struct journal_unit *unit = (const void *)world->outcomes.free;
    bool known = unit->result == JOURNAL_RESULT_OK;
    world->given_up += world->stopping && unit->result == JOURNAL_RESULT_FULL ? 1 : 0;
    for (size_t i = 0; i < marks->n && known; i++) {
        const struct sim_mark *mark = &marks->items[i];
        if (mark->callback != NULL) {
            sim_callbacks_mark_durable(mark);
            continue;
        }
        oracle_on_outcome_durable(world->oracle, mark->kind, mark->destination, mark->events,
                                  mark->n, mark->token);
    }
    free_marks(marks);
}

static void flush_outcomes(struct world *world) {
    size_t before = world->outcomes.n_waiting;
    outcome_flush(&world->outcomes);
    MR_ASSERT(world->outcomes.n_waiting <= before + 1);
    if (world->outcomes.n_waiting > before) {
        struct sim_marks *marks = world->marks_open;
        world->marks_open = NULL;
        MR_ASSERT(marks != NULL);
        marks->next = NULL;
        if (world->marks_last == NULL) {
            world->marks_first = marks;
        } else {
            world->marks_last->next = marks;
        }
        world->marks_last = marks;
    }
}

/* --- start ---------------------------------------------------------------------------------------
 */

static void init_lanes(struct world *world) {
    static const uint32_t delays[] = {20, 50, 100};
    world->shared = (struct lane_shared){.hooks = {world, on_send, on_record, on_notice, on_random},
                                         .credits = CREDITS};
    for (uint32_t d = 0; d < SIM_DESTINATIONS; d++) {
        struct lane_settings settings = {.enabled = true,
                                         .mixes = d >= 3,
                                         .batch_max = d == 0 ? 1 : 10 * d,
                                         .batch_bytes_max = 1 << 20,
                                         .linger_ms = 5,
                                         .concurrency_max = 8,
                                         .form = d};
        if (d % 2 == 0) {
            policy_init_kore(&settings.policy);
        } else {
            mr_err err = policy_init_explicit(&settings.policy, delays, 3);
            MR_ASSERT(mr_is_ok(err));
        }
        lane_init(&world->lanes[d], &world->shared, d + 1, &settings);
    }
}

struct restoring {
    struct world *world;
    const struct book *book;
};

static uint64_t key_of(const struct restoring *restoring, uint32_t key) {
    struct book_key found = book_key(restoring->book, key);
    uint64_t type;
    mr_err err = type_table_number(restoring->world->types, found.type, &type);
    MR_ASSERT(mr_is_ok(err));
    return lane_key_make(type, found.version);
}

static mr_err restore_request(void *ctx, const struct book_request *request) {
    struct restoring *restoring = ctx;
    struct world *world = restoring->world;
    struct lane_open_request open = {.positions = request->positions,
                                     .n_positions = request->n,
                                     .origin = request->origin,
                                     .key = key_of(restoring, request->key),
                                     .form = request->form,
                                     .bytes = request->bytes,
                                     .attempt = (uint16_t)request->attempt,
                                     .is_part = request->is_part,
                                     .due_ms = request->due_ms,
                                     .first_attempt_ms = request->first_ms};
    uint64_t keys[LANE_BATCH_MAX];
    if (world->lanes[request->destination - 1].settings.mixes) {
        for (uint32_t i = 0; i < request->n; i++) {
            keys[i] = key_of(restoring, book_request_key(request, i));
            if (keys[i] != keys[0]) {
                world_hit(world, SIM_BOOT_MIXED);
            }
        }
    }
    world_hit(world, SIM_BOOT_OPEN);
    if (request->is_part) {
        world_hit(world, SIM_BOOT_PARTS);
    }
    open.keys = world->lanes[request->destination - 1].settings.mixes ? keys : NULL;
    return lane_restore_request(&world->lanes[request->destination - 1], now_of(world), &open);
}

struct restoring_waiting {
    struct restoring *restoring;
    uint32_t number;
};

static mr_err restore_waiting(void *ctx, const struct book_waiting *waiting) {
    struct restoring_waiting *at = ctx;
    struct world *world = at->restoring->world;
    uint64_t key = key_of(at->restoring, waiting->key);
    add_delivery(world, at->number, lane_key_type(key), (uint16_t)key, waiting->pos, waiting->size,
                 waiting->origin);
    world_hit(world, SIM_BOOT_WAITING);
    return MR_OK;
}

static mr_err restore_destination(void *ctx, const struct book_destination *destination) {
    struct restoring *restoring = ctx;
    struct world *world = restoring->world;
    struct lane *lane = &world->lanes[destination->number - 1];
    lane_restore_failing(lane, now_of(world), destination->failing_since_ms);
    lane_restore_single(lane, now_of(world), destination->singles_until_ms);
    MR_TRY(book_each_request(restoring->book, destination->number, restore_request, restoring));
    struct restoring_waiting waiting = {restoring, destination->number};
    return book_each_waiting(restoring->book, destination->number, 0, UINT64_MAX, restore_waiting,
                             &waiting);
}

static mr_err open_ledger(struct world *world, struct book *book, struct ledger_damage *damage) {
    struct dedupe_options ids = {.files = &world->files,
                                 .dir = DIR_DEDUPE,
                                 .store_id = journal_store_id(world->journal),
                                 .window_ids = 100000,
                                 .log = &world->log};
    MR_TRY(dedupe_open(&ids, world->wall, &world->dedupe));
    struct ledger_recovered recovered;
    MR_TRY(ledger_recover(book, world->journal, world->dedupe, damage, &world->log, &recovered));
    if (recovered.records > 0) {
        world_hit(world, SIM_BOOT_REPLAYED);
    }
    if (recovered.events > 0) {
        world_hit(world, SIM_BOOT_IDS);
    }
    if (recovered.unreadable_records > 0 || damage->n > 0) {
        oracle_fail(world->oracle, "promise 1: recovery found damage where nothing was damaged");
    }
    struct archive_options archive = {.files = &world->files,
                                      .dir = DIR_ARCHIVE,
                                      .store_id = journal_store_id(world->journal),
                                      .log = &world->log};
    MR_TRY(archive_open(&archive, &world->archive));
    world->store_key = siphash_key_of(journal_store_id(world->journal));
    return MR_OK;
}

static mr_err start_actors(struct world *world, struct book **book) {
    struct writer_options writer = {.journal = world->journal,
                                    .hooks = {world->dedupe, dedupe_admit, dedupe_placed,
                                              dedupe_undone, dedupe_committed, NULL},
                                    .log = &world->log};
    MR_TRY(writer_new(&writer, &world->writer));
    mailbox_init(&world->box);
    writer_subscribe(world->writer, 0, &world->box, on_slab, world);
    MR_TRY(type_table_new(&world->types));
    init_lanes(world);
    outcome_init(&world->outcomes, world->writer, &world->box, &world->shared, NULL);
    world->outcomes.on_durable = process_on_durable;
    world->outcomes.ctx = world;
    struct restoring restoring = {world, *book};
    MR_TRY(book_each_destination(*book, restore_destination, &restoring));
    return sim_callbacks_boot(world, *book);
}

static void post_unit(void *ctx, struct journal_unit *unit) {
    struct world *world = ctx;
    writer_post(world->writer, unit, NULL);
}

static mr_err start_keeper(struct world *world, struct book **book) {
    struct keeper_options keeper = {.files = &world->files,
                                    .journal = world->journal,
                                    .dedupe = world->dedupe,
                                    .archive = world->archive,
                                    .checkpoint_dir = DIR_CHECKPOINT,
                                    .book = *book,
                                    .post = post_unit,
                                    .post_ctx = world,
                                    .reader_mask = 1,
                                    .random = world_fill_random,
                                    .random_ctx = world,
                                    .checkpoint_records = 300,
                                    .log = &world->log};
    MR_TRY(keeper_new(&keeper, &world->keeper));
    *book = NULL;
    return MR_OK;
}

static void note_recovery(struct world *world, const struct journal_recovery *found, uint64_t pos) {
    world_hit(world, found->created ? SIM_BOOT_NEW
                     : pos > 0      ? SIM_BOOT_CHECKPOINT
                                    : SIM_BOOT_NO_CHECKPOINT);
    if (found->tail_bytes > 0) {
        world_hit(world, SIM_BOOT_TAIL);
    }
    if (found->cut_bytes > 0) {
        world_hit(world, SIM_BOOT_CUT);
    }
}

static mr_err boot(struct world *world, struct book **book, struct ledger_damage *damage) {
    struct book_options options = {.log = &world->log};
    uint64_t pos = 0;
    mr_ignore(world->files.mkdir(world->files.ctx, "/store"), "it may be there");
    MR_TRY(ledger_load(&options, &world->files, DIR_CHECKPOINT, book, &pos));
    struct journal_options journal = {.dir = DIR_JOURNAL,
                                      .segment_bytes = 64 * 1024,
                                      .replay_from = pos,
                                      .durable_hint = pos,
                                      .now = world->wall,
                                      .random = world_fill_random,
                                      .random_ctx = world,
                                      .log = &world->log,
                                      .on_damage = ledger_damage_add,
                                      .damage_ctx = damage};
    struct journal_recovery found;
    MR_TRY(journal_open(&world->files, &journal, &world->journal, &found));
    note_recovery(world, &found, pos);
    MR_TRY(open_ledger(world, *book, damage));
    audit_boot(world, *book);
    MR_TRY(start_actors(world, book));
    return start_keeper(world, book);
}

bool process_boot(struct world *world) {
    struct book *book = NULL;
    struct ledger_damage damage = {0};
    world->boots++;
    mr_err err = boot(world, &book, &damage);
    ledger_damage_done(&damage);
    book_free(book);
    world->is_up = mr_is_ok(err) && !disk_is_down(world->disk);
    world_trace(world, (uint64_t)err.code << 8 | 5);
    if (!world->is_up) {
        world_hit(world, SIM_BOOT_CRASHED);
        if (!disk_is_down(world->disk) && !mr_err_is(err, MR_E_IO) &&
            !mr_err_is(err, MR_E_NO_SPACE)) {
            oracle_fail(world->oracle, "the store does not open any more: error %x", err.code);
        }
        process_end(world);
    }
    return world->is_up;
}

/* --- running ------------------------------------------------------------------------------------
 */

void process_answer(struct world *world, struct sim_flight *flight) {
    const struct lane_result *result = &flight->result;
    if (flight->by_item) {
        for (uint32_t i = 0; i < flight->n; i++) {
            oracle_on_item(world->oracle, flight->destination, flight->events[i],
                           flight->items[i].kind);
        }
        lane_on_items(flight->lane, flight->request, now_of(world), result, flight->items,
                      flight->n);
        return;
    }
    bool success = result->kind == LANE_RESULT_STATUS && result->status < 300;
    bool throttled = result->kind == LANE_RESULT_STATUS && result->retry_after_ms >= 0;
    oracle_on_answer(world->oracle, flight->destination, flight->events, flight->n, success,
                     !throttled);
    lane_on_result(flight->lane, flight->request, now_of(world), result);
}

void process_turn(struct world *world) {
    mailbox_run(mailbox_drain(&world->box));
    for (uint32_t d = 0; d < SIM_DESTINATIONS; d++) {
        lane_decide(&world->lanes[d], now_of(world));
        lane_assert_valid(&world->lanes[d]);
    }
    sim_callbacks_turn(world);
    flush_outcomes(world);
    audit_step(world);
}

static bool has_flights(const struct world *world) {
    for (size_t i = 0; i < SIM_FLIGHTS_MAX; i++) {
        if (world->flights[i].used && world->flights[i].lane != NULL) {
            return true;
        }
    }
    return sim_callbacks_fly(world);
}

void process_stop(struct world *world) {
    world->shared.closed = true;
    world->callbacks.set.closed = true;
    for (uint32_t i = 0; i < STOP_TURNS && has_flights(world); i++) {
        world->mono = mr_mono_add_ms(world->mono, 5);
        world->wall.ns += 5 * MR_NS_PER_MS;
        sinks_step(world);
        sim_callbacks_net(world);
        process_turn(world);
    }
    MR_ASSERT(!has_flights(world));
    flush_outcomes(world);
    world->stopping = true;
    world->given_up = 0;
    /* As the writer's thread does: a while for what there was no room for at first. Spares are made
     * beside it. */
    for (uint32_t i = 0; i < STOP_WRITES && world->outcomes.n_waiting > 0; i++) {
        writer_step(world->writer, world->mono, world->wall);
        mailbox_run(mailbox_drain(&world->box));
        (void)journal_spare_step(world->journal);
        world->mono = mr_mono_add_ms(world->mono, 20);
        world->wall.ns += 20 * MR_NS_PER_MS;
    }
    writer_finish(world->writer, world->mono, world->wall);
    mailbox_run(mailbox_drain(&world->box));
    world->stopping = false;
    if (world->given_up > 0 && !disk_is_bounded(world->disk)) {
        oracle_fail(world->oracle, "promise 3: a clean stop forgets outcomes there is room for");
    }
    mr_ignore(keeper_finish(world->keeper, world->mono, world->wall),
              "a checkpoint that fails leaves the older ones");
    world_hit(world, SIM_CLEAN_STOP);
    process_end(world);
}

void process_end(struct world *world) {
    world->is_up = false;
    for (size_t i = 0; i < SIM_FLIGHTS_MAX; i++) {
        struct sim_flight *flight = &world->flights[i];
        if (flight->used && flight->lane != NULL) {
            static const struct lane_result cancelled = {.kind = LANE_RESULT_CANCELLED};
            lane_on_result(flight->lane, flight->request, now_of(world), &cancelled);
            flight->lane = NULL;
            flight->request = NULL;
            /* What had left may still arrive. */
            flight->used = flight->n > 0 && !flight->arrived && world_below(world, 2) == 0;
        }
    }
    sim_callbacks_end(world);
    if (world->writer != NULL) {
        outcome_flush(&world->outcomes);
        if (world->outcomes.n_waiting > 0 && world->marks_open != NULL) {
            world->marks_open->next = NULL;
            if (world->marks_last == NULL) {
                world->marks_first = world->marks_open;
            } else {
                world->marks_last->next = world->marks_open;
            }
            world->marks_last = world->marks_open;
            world->marks_open = NULL;
        }
        writer_finish(world->writer, world->mono, world->wall);
        mailbox_run(mailbox_drain(&world->box));
        outcome_done(&world->outcomes);
        for (uint32_t d = 0; d < SIM_DESTINATIONS; d++) {
            if (world->lanes[d].shared != NULL) {
                lane_done(&world->lanes[d]);
            }
        }
    }
    producer_forget(world);
    sim_callbacks_gone(world);
    audit_end(world);
    process_free_marks(world);
    oracle_on_death(world->oracle);
    keeper_free(world->keeper);
    writer_free(world->writer);
    archive_close(world->archive);
    dedupe_close(world->dedupe);
    type_table_free(world->types);
    journal_close(world->journal);
    world->keeper = NULL;
    world->writer = NULL;
    world->archive = NULL;
    world->dedupe = NULL;
    world->types = NULL;
    world->journal = NULL;
    memset(world->lanes, 0, sizeof world->lanes);
}
