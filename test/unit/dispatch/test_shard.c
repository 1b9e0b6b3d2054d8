/* A shard between a real journal, a real disk reader and a spill of which nothing is in the page
 * cache. The destination is disabled: nothing is sent, what is owed waits. */
#include "../ledger/support_records.h"

#include "base/mem.h"
#include "dispatch/shard_parts.h"
#include "os/clock.h"
#include "os/thread.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define assert_ok(err) assert_int_equal((err).code, 0)

#define DESTINATION 1
#define UNIT        500

/* The system's files, but a read that may not wait finds nothing, and one that may is counted and
 * can be held back. */
struct cold {
    struct os_files files;
    pthread_t loop_thread;
    os_mutex gate; /* held by the test: readers wait */
    _Atomic uint32_t reads;
    _Atomic bool loop_waited;
};

struct rig {
    char dir[64], journal_dir[96], spill_dir[96];
    struct cold cold;
    struct loop loop;
    struct journal *journal;
    struct writer *writer;
    struct payload_readers *readers;
    struct spill *spill;
    struct tail_hub *hub;
    struct tail *tail;
    struct net_guard *guard;
    struct net_names *names;
    struct http_client *client;
    struct snapshot *snapshot;
    struct shard *shard;
    mr_log log;
    mr_metrics metrics;
    bool is_done;
    bool is_quiet;
    uint64_t *positions;
    size_t n_positions;
};

static mr_err cold_read(void *ctx, os_file file, void *out, size_t size, uint64_t offset, int flags,
                        size_t *ret_n) {
    struct cold *cold = ctx;
    if ((flags & OS_READ_NOWAIT) != 0) {
        return MR_ERR(MR_E_AGAIN);
    }
    if (pthread_equal(pthread_self(), cold->loop_thread)) {
        atomic_store(&cold->loop_waited, true);
    }
    os_mutex_lock(&cold->gate);
    os_mutex_unlock(&cold->gate);
    atomic_fetch_add(&cold->reads, 1);
    return os_files_system.read(os_files_system.ctx, file, out, size, offset, flags, ret_n);
}

static void log_nothing(void *ctx, mr_str line) {
    (void)ctx;
    (void)line;
}

static mr_wall log_now(void *ctx) {
    (void)ctx;
    return os_wall_now();
}

static void give_random(void *ctx, void *out, size_t n) {
    (void)ctx;
    os_random(out, n);
}

static void on_status(void *ctx, uint32_t destination, enum model_destination_status status,
                      enum model_disabled_by by) {
    (void)ctx;
    (void)destination;
    (void)status;
    (void)by;
}

/* A snapshot with the destination in that state. */
static struct snapshot *snapshot_with(struct snapshot *base, enum model_destination_status status,
                                      uint64_t enabled_epoch) {
    struct snapshot_builder *builder = NULL;
    struct model_destination *made = model_destination_new(DESTINATION, MR_STR("dst_a"), 1);
    assert_non_null(made);
    made->status = status;
    made->enabled_epoch = enabled_epoch;
    assert_ok(snapshot_build(base, &builder));
    assert_ok(snapshot_put(builder, &made->object));
    return snapshot_finish(builder);
}

static void open_network(struct rig *rig) {
    assert_ok(loop_init(&rig->loop, &rig->metrics));
    assert_ok(net_guard_new(NULL, 0, &rig->guard));
    assert_ok(net_names_new(&rig->loop, NULL, &rig->names));
    const struct http_client_opts opts = {
        .loop = &rig->loop, .guard = rig->guard, .names = rig->names, .log = &rig->log};
    assert_ok(http_client_new(&opts, &rig->client));
    assert_ok(tail_hub_new(1, &rig->hub));
    assert_ok(tail_new(rig->hub, 0, &rig->loop, &rig->tail));
}

static void open_stores(struct rig *rig) {
    (void)snprintf(rig->dir, sizeof rig->dir, "/tmp/mr-shard-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    (void)snprintf(rig->journal_dir, sizeof rig->journal_dir, "%s/j", rig->dir);
    (void)snprintf(rig->spill_dir, sizeof rig->spill_dir, "%s/s", rig->dir);
    const struct journal_options journal = {.dir = rig->journal_dir,
                                            .segment_bytes = 8 << 20,
                                            .now = os_wall_now(),
                                            .random = give_random};
    assert_ok(journal_open(&os_files_system, &journal, &rig->journal, NULL));
    const struct writer_options writer = {.journal = rig->journal, .log = &rig->log};
    assert_ok(writer_new(&writer, &rig->writer));
    assert_ok(payload_readers_new(rig->journal, NULL, 1, &rig->readers));
    rig->cold.files = os_files_system;
    rig->cold.files.ctx = &rig->cold;
    rig->cold.files.read = cold_read;
    rig->cold.loop_thread = pthread_self();
    os_mutex_init(&rig->cold.gate);
    assert_ok(spill_open(&rig->cold.files, rig->spill_dir, "w", 0, &rig->spill));
}

static struct rig *rig_new(void) {
    struct rig *rig = MR_NEW(struct rig);
    assert_non_null(rig);
    rig->log = (mr_log){MR_LOG_ERROR, log_nothing, log_now, NULL};
    open_network(rig);
    open_stores(rig);
    rig->snapshot = snapshot_with(NULL, MODEL_DISABLED, 0);
    const struct shard_options options = {.n_workers = 1,
                                          .loop = &rig->loop,
                                          .writer = rig->writer,
                                          .journal = rig->journal,
                                          .readers = rig->readers,
                                          .sink = {.client = rig->client, .log = &rig->log},
                                          .tail = rig->tail,
                                          .backlog_bytes_max = 1,
                                          .spill = rig->spill,
                                          .slab_bytes_max = 1 << 20,
                                          .on_status = on_status,
                                          .log = &rig->log,
                                          .metrics = &rig->metrics};
    assert_ok(shard_new(&options, rig->snapshot, &rig->shard));
    writer_subscribe(rig->writer, 0, loop_mailbox(&rig->loop), shard_on_slab, rig->shard);
    return rig;
}

static void turn(struct rig *rig) {
    writer_step(rig->writer, os_mono_now(), os_wall_now());
    loop_turn(&rig->loop, 1);
}

static void remove_one(void *arg, mr_str name) {
    char path[200];
    (void)snprintf(path, sizeof path, "%s/%.*s", (const char *)arg, MR_FMT(name));
    (void)remove(path);
}

static void remove_dir(char *dir) {
    mr_ignore(os_files_system.list(os_files_system.ctx, dir, remove_one, dir), "not there");
    (void)remove(dir);
}

static void on_quiet(void *ctx) {
    ((struct rig *)ctx)->is_quiet = true;
}

static void await_quiet(struct rig *rig) {
    mr_mono limit = mr_mono_add_ms(os_mono_now(), 30000);
    while (!rig->is_quiet) {
        turn(rig);
        assert_true(mr_mono_before(os_mono_now(), limit));
    }
}

static void rig_free(struct rig *rig) {
    if (!rig->is_quiet) {
        shard_close(rig->shard, on_quiet, rig);
        await_quiet(rig);
    }
    assert_false(atomic_load(&rig->cold.loop_waited));
    writer_finish(rig->writer, os_mono_now(), os_wall_now());
    loop_turn(&rig->loop, 0);
    payload_readers_free(rig->readers);
    http_client_free(rig->client);
    shard_free(rig->shard);
    assert_int_equal(spill_stats(rig->spill).chunks, 0);
    spill_close(rig->spill);
    tail_free(rig->tail);
    tail_hub_free(rig->hub);
    net_names_free(rig->names);
    net_guard_free(rig->guard);
    writer_free(rig->writer);
    journal_close(rig->journal);
    snapshot_unref(rig->snapshot);
    loop_done(&rig->loop);
    os_mutex_done(&rig->cold.gate);
    remove_dir(rig->journal_dir);
    remove_dir(rig->spill_dir);
    (void)remove(rig->dir);
    mr_free(rig->positions);
    mr_free(rig);
}

static void on_unit(struct mail *mail) {
    ((struct rig *)((struct journal_unit *)(void *)mail)->user)->is_done = true;
}

/* Commits the records; the shard sees their slab. */
static void commit(struct rig *rig, enum journal_class klass, struct journal_slot *slots,
                   uint32_t n) {
    struct journal_unit unit;
    journal_unit_init(&unit, klass, slots, n, loop_mailbox(&rig->loop), on_unit, rig);
    unit.reader_mask = 1;
    rig->is_done = false;
    writer_post(rig->writer, &unit, NULL);
    while (!rig->is_done) {
        turn(rig);
    }
    assert_int_equal(unit.result, JOURNAL_RESULT_OK);
}

static struct body body;

/* n events for the destination. */
static void owe(struct rig *rig, size_t n) {
    static struct journal_slot slots[UNIT];
    const struct record_target target = {.destination = DESTINATION};
    make_event(&body, "t.a", "id", mr_wall_ms(os_wall_now()), &target, 1);
    rig->positions = mr_realloc(rig->positions, (rig->n_positions + n) * sizeof(uint64_t));
    assert_non_null(rig->positions);
    while (n > 0) {
        uint32_t k = n < UNIT ? (uint32_t)n : UNIT;
        for (uint32_t i = 0; i < k; i++) {
            slots[i] = journal_slot_of(RECORD_EVENT, 0, body_view(&body));
        }
        commit(rig, JOURNAL_INGEST, slots, k);
        for (uint32_t i = 0; i < k; i++) {
            rig->positions[rig->n_positions++] = slots[i].pos;
        }
        n -= k;
    }
}

/* A DEAD record of these events, as the keeper or a lane writes it. */
static void bury(struct rig *rig, enum journal_class klass, size_t from, uint32_t n) {
    static struct record_dead_item items[1024];
    const struct record_dead dead = {.reason = RECORD_REASON_OVERFLOW,
                                     .flags = RECORD_DEAD_NO_PAYLOAD,
                                     .destination = DESTINATION,
                                     .n = n};
    for (uint32_t i = 0; i < n; i++) {
        items[i] = (struct record_dead_item){.pos = rig->positions[from + n - 1 - i],
                                             .id = letter_id(1, from + i)};
    }
    assert_ok(record_dead_encode(&dead, items, body.bytes, sizeof body.bytes, &body.len));
    struct journal_slot slot = journal_slot_of(RECORD_DEAD, 0, body_view(&body));
    commit(rig, klass, &slot, 1);
}

static uint64_t backlog(const struct rig *rig) {
    struct lane_stats stats;
    assert_true(shard_lane_stats(rig->shard, DESTINATION, &stats));
    return stats.backlog;
}

static void await_backlog(struct rig *rig, uint64_t n) {
    mr_mono limit = mr_mono_add_ms(os_mono_now(), 30000);
    while (backlog(rig) != n) {
        turn(rig);
        assert_true(mr_mono_before(os_mono_now(), limit));
    }
}

static void what_the_keeper_gave_up_leaves_the_lane(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    owe(rig, 100);
    assert_int_equal(backlog(rig), 100);
    bury(rig, JOURNAL_CONTROL, 0, 40);
    await_backlog(rig, 60);
    bury(rig, JOURNAL_CONTROL, 70, 10);
    await_backlog(rig, 50);
    bury(rig, JOURNAL_CONTROL, 30, 20); /* ten are known already */
    await_backlog(rig, 40);
    assert_int_equal(rig->shard->outcomes.n_waiting, 0); /* it has nothing to say to it */
    assert_null(rig->shard->outcomes.open);
    rig_free(rig);
}

static void cold_chunks_are_read_by_the_disk_readers(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    owe(rig, 20000);
    assert_true(spill_stats(rig->spill).chunks >= 8);
    for (size_t from = 0; from < 6000; from += 1000) {
        bury(rig, JOURNAL_CONTROL, from, 1000);
    }
    await_backlog(rig, 14000);
    uint32_t reads = atomic_load(&rig->cold.reads);
    assert_true(reads >= 3);
    bury(rig, JOURNAL_CONTROL, 15000, 1000); /* in the middle: a pass over all chunks */
    await_backlog(rig, 13000);
    assert_int_equal(shard_discard(rig->shard, DESTINATION, rig->positions[8000], NULL, 0) > 0,
                     true);
    shard_discard(rig->shard, DESTINATION, UINT64_MAX, NULL,
                  0); /* asked before the first is over */
    await_backlog(rig, 0);
    assert_true(atomic_load(&rig->cold.reads) > reads);
    rig_free(rig);
}

static void while_a_chunk_is_read_the_loop_turns_and_the_lane_waits(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    owe(rig, 20000);
    os_mutex_lock(&rig->cold.gate);
    for (size_t from = 0; from < 6000; from += 1000) {
        bury(rig, JOURNAL_CONTROL, from, 1000);
    }
    uint64_t left = backlog(rig);
    assert_true(left > 14000);
    assert_int_equal(rig->shard->n_refilling, 1); /* one for all who wait for that chunk */
    /* Quiet only when nothing is with a reader: it would post to a worker that is gone. */
    shard_close(rig->shard, on_quiet, rig);
    for (int i = 0; i < 20; i++) {
        turn(rig);
    }
    assert_false(rig->is_quiet);
    assert_int_equal(backlog(rig), left);
    os_mutex_unlock(&rig->cold.gate);
    await_quiet(rig);
    assert_int_equal(backlog(rig), 14000);
    rig_free(rig);
}

static void a_chunk_that_nobody_wants_any_more_is_freed_when_it_comes(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    owe(rig, 20000);
    os_mutex_lock(&rig->cold.gate);
    for (size_t from = 0; from < 3000; from += 1000) {
        bury(rig, JOURNAL_CONTROL, from, 1000);
    }
    assert_int_equal(rig->shard->n_refilling, 1);
    struct shard_lane *owner = shard_find_lane(rig->shard, DESTINATION);
    lane_done(&owner->lane); /* drops every chunk */
    assert_int_equal(rig->shard->n_refills, 1);
    os_mutex_unlock(&rig->cold.gate);
    shard_close(rig->shard, on_quiet, rig);
    await_quiet(rig);
    assert_int_equal(rig->shard->n_refills, 0);
    rig_free(rig);
}

static void adopt(struct rig *rig, enum model_destination_status status, uint64_t epoch) {
    const uint32_t numbers[] = {DESTINATION};
    struct snapshot *next = snapshot_with(rig->snapshot, status, epoch);
    shard_adopt(rig->shard, next, numbers, 1, false);
    snapshot_unref(rig->snapshot);
    rig->snapshot = next;
}

/* 410, then disabled and enabled again before the worker saw either. */
static void an_enabling_counts_also_where_the_disabling_was_not_seen(void **state) {
    (void)state;
    struct rig *rig = rig_new();
    owe(rig, 1);
    struct shard_lane *owner = shard_find_lane(rig->shard, DESTINATION);
    rig->shard->shared.closed = true; /* nothing is to be sent here */
    adopt(rig, MODEL_ACTIVE, 1);
    assert_int_equal(owner->lane.health, LANE_ACTIVE);
    owner->lane.self_disabled = true; /* as after a 410 */
    owner->lane.disabled_epoch = owner->lane.settings.enabled_epoch;
    adopt(rig, MODEL_FAILED, 1); /* some other change */
    assert_int_equal(owner->lane.health, LANE_DISABLED);
    adopt(rig, MODEL_ACTIVE, 2);
    assert_int_equal(owner->lane.health, LANE_ACTIVE);
    rig_free(rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_keeper_gave_up_leaves_the_lane),
        cmocka_unit_test(cold_chunks_are_read_by_the_disk_readers),
        cmocka_unit_test(while_a_chunk_is_read_the_loop_turns_and_the_lane_waits),
        cmocka_unit_test(a_chunk_that_nobody_wants_any_more_is_freed_when_it_comes),
        cmocka_unit_test(an_enabling_counts_also_where_the_disabling_was_not_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
