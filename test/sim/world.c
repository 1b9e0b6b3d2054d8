/* One seed: steps until there were enough of them and of crashes, then everything is let run out
 * and the oracle asks for what it was promised. */
#include "world.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define DRAIN_STEPS_MAX 60000
#define BOOTS_MAX       40 /* in a row */

const char *const sim_branch_names[SIM_BRANCHES] = {
    [SIM_BOOT_NEW] = "boot: empty store",
    [SIM_BOOT_CHECKPOINT] = "boot: checkpoint loaded",
    [SIM_BOOT_NO_CHECKPOINT] = "boot: no checkpoint",
    [SIM_BOOT_REPLAYED] = "boot: records replayed",
    [SIM_BOOT_TAIL] = "boot: tail rewritten",
    [SIM_BOOT_CUT] = "boot: torn tail cut",
    [SIM_BOOT_CRASHED] = "boot: crash or failure during recovery",
    [SIM_BOOT_WAITING] = "boot: waiting deliveries restored",
    [SIM_BOOT_OPEN] = "boot: open requests restored",
    [SIM_BOOT_PARTS] = "boot: parts of split requests restored",
    [SIM_BOOT_IDS] = "boot: ids replayed",
    [SIM_FAILED] = "journal failed",
    [SIM_FULL] = "unit refused for want of space",
    [SIM_FULL_OVER] = "unit taken after want of space",
    [SIM_CLEAN_STOP] = "clean stop",
    [SIM_UNKNOWN] = "unit with unknown end",
    [SIM_DUPLICATE] = "duplicate id",
    [SIM_CONFLICT] = "conflicting id",
    [SIM_RETRIED] = "request retried",
    [SIM_SPLIT] = "request split",
    [SIM_DIED] = "dead letter",
    [SIM_SINGLE] = "single mode",
    [SIM_PROBED] = "probe",
    [SIM_THROTTLED] = "throttled",
    [SIM_ITEMS_TAKEN] = "by item: taken",
    [SIM_ITEMS_FAILED] = "by item: failed",
    [SIM_ITEMS_THROTTLED] = "by item: throttled",
    [SIM_ITEMS_REFUSED] = "by item: refused for good",
    [SIM_BOOT_MIXED] = "start: open requests of several types",
    [SIM_REPEATED] = "delivery repeated after a crash",
    [SIM_READ_FAILED] = "read failed",
    [SIM_CALLBACK_DELIVERED] = "callback delivered",
    [SIM_CALLBACK_RETRIED] = "callback retried",
    [SIM_CALLBACK_FAILED] = "callback failed",
    [SIM_CALLBACK_REPEATED] = "callback repeated after a crash or a lost answer",
    [SIM_BOOT_CALLBACKS] = "boot: pending callbacks restored",
    [SIM_BOOT_CALLBACKS_TRIED] = "boot: callbacks with an attempt spent restored",
    [SIM_FLIPPED] = "bit flipped at rest, found",
};

uint64_t world_random(struct world *world) {
    uint64_t z = (world->rng += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t world_below(struct world *world, uint64_t n) {
    return world_random(world) % n;
}

void world_fill_random(void *ctx, void *out, size_t n) {
    uint8_t *bytes = out;
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (uint8_t)world_random(ctx);
    }
}

void world_trace(struct world *world, uint64_t what) {
    uint64_t *trace = &world->result->trace;
    *trace = (*trace ^ what) * UINT64_C(0x100000001b3);
    *trace ^= *trace >> 29;
}

void world_hit(struct world *world, enum sim_branch branch) {
    world->result->branches[branch]++;
}

static mr_err no_sync(void *ctx, os_file file) {
    (void)ctx;
    (void)file;
    return MR_OK;
}

static void write_log(void *ctx, mr_str line) {
    (void)ctx;
    fwrite(line.ptr, 1, line.len, stderr);
}

static mr_wall log_now(void *ctx) {
    return ((struct world *)ctx)->wall;
}

static void pass(struct world *world, int64_t us) {
    world->mono.ns += us * MR_NS_PER_US;
    world->wall.ns += us * MR_NS_PER_US;
}

/* Arms one fault of the disk, or a condition of it. */
static void arm_fault(struct world *world) {
    uint64_t dice = world_below(world, 100);
    uint64_t soon = 1 + world_below(world, 40);
    if (world_below(world, 2) == 0) {
        disk_set_capacity(world->disk, UINT64_MAX);
    }
    /* Losses are worst when power goes soon after an error, before anything was cleaned up. */
    if (dice >= 50 && world_below(world, 2) == 0) {
        disk_fault_at(world->disk, DISK_FAULT_CRASH, 5 + world_below(world, 60));
    }
    if (dice < 30) {
        disk_fault_at(world->disk, DISK_FAULT_CRASH, soon);
    } else if (dice < 50) {
        disk_fault_at(world->disk, DISK_FAULT_KILL, soon);
    } else if (dice < 58) {
        disk_fault_at(world->disk, DISK_FAULT_SYNC_IO, 1 + world_below(world, 5));
    } else if (dice < 64) {
        disk_fault_at(world->disk, DISK_FAULT_WRITE_IO, 1 + world_below(world, 10));
    } else if (dice < 72) {
        disk_fault_at(world->disk, DISK_FAULT_SHORT_WRITE, 1 + world_below(world, 10));
    } else if (dice < 80) {
        disk_fault_at(world->disk, DISK_FAULT_NO_SPACE, 1 + world_below(world, 10));
    } else if (dice < 86) {
        disk_fault_at(world->disk, DISK_FAULT_READ_IO, 1 + world_below(world, 10));
    } else if (dice < 93) {
        disk_set_capacity(world->disk,
                          disk_used_bytes(world->disk) + world_below(world, 100 * 1024));
    } else {
        disk_set_capacity(world->disk, UINT64_MAX);
    }
}

static bool must_exit(struct world *world) {
    if (disk_is_down(world->disk)) {
        return true;
    }
    enum journal_state state = journal_state(world->journal);
    if (state == JOURNAL_STATE_FAILED || state == JOURNAL_STATE_FENCED) {
        world_hit(world, SIM_FAILED);
        return true;
    }
    return false;
}

/* The process died or was ended: starts it again, through as many failing starts as chance wants.
 */
static void restart(struct world *world) {
    for (uint32_t i = 0; !world->is_up && !world->oracle->failed; i++) {
        if (i == BOOTS_MAX) {
            oracle_fail(world->oracle, "the store does not start any more");
            return;
        }
        if (!disk_is_down(world->disk)) {
            disk_kill(world->disk);
        }
        disk_restart(world->disk);
        world->result->crashes++;
        pass(world, 1000 + (int64_t)world_below(world, 3000000));
        if (world_below(world, 8) == 0) {
            flips_try(world);
        }
        if (i >= 4 || world->draining) {
            disk_set_capacity(world->disk, UINT64_MAX);
        } else if (world_below(world, 4) == 0) {
            arm_fault(world);
        }
        process_boot(world);
    }
}

static void step(struct world *world) {
    uint64_t dice = world_below(world, 1000);
    if (dice < 110 && !world->draining) {
        producer_hand_in(world);
    } else if (dice < 120 && !world->draining) {
        sim_callbacks_hand_in(world);
    } else if (dice < 400) {
        writer_step(world->writer, world->mono, world->wall);
    } else if (dice < 600) {
        process_turn(world);
    } else if (dice < 800) {
        sinks_step(world);
        sim_callbacks_net(world);
    } else if (dice < 850) {
        keeper_step(world->keeper, world->mono, world->wall);
    } else if (dice < 870) {
        journal_spare_step(world->journal);
    } else if (dice < 880) {
        dedupe_tick(world->dedupe, world->wall, true);
        dedupe_store_step(world->dedupe);
    } else if (dice < 985) {
        pass(world, (int64_t)world_below(world, 8000));
    } else if (dice < 992) {
        pass(world, (int64_t)world_below(world, 3000000));
    } else if (dice < 998) {
        if (!world->draining) {
            arm_fault(world);
        }
    } else if (world_below(world, 4) == 0 && !world->draining) {
        process_stop(world);
    }
}

/* True where nothing is under way or owed any more. */
static bool is_quiet(const struct world *world) {
    if (!world->is_up || world->ingests != NULL || world->outcomes.n_waiting > 0) {
        return false;
    }
    for (uint32_t d = 0; d < SIM_DESTINATIONS; d++) {
        if (!lane_is_empty(&world->lanes[d])) {
            return false;
        }
    }
    return sim_callbacks_quiet(world);
}

/* The counters as a book says that is read from the disk after a clean stop. */
static void finish(struct world *world) {
    process_stop(world);
    restart(world);
    if (world->oracle->failed) {
        return;
    }
    process_stop(world);
    struct book_options options = {.log = &world->log};
    struct book *book = NULL;
    uint64_t pos;
    if (mr_is_err(ledger_load(&options, &world->files, "/store/checkpoints", &book, &pos))) {
        oracle_fail(world->oracle, "the last checkpoint does not load");
        return;
    }
    book_assert_valid(book);
    struct oracle_counters counters[SIM_DESTINATIONS] = {0};
    for (uint32_t d = 0; d < SIM_DESTINATIONS; d++) {
        struct book_destination found;
        if (mr_is_ok(book_destination_get(book, d + 1, &found))) {
            counters[d] = (struct oracle_counters){
                .created = found.counters.created,
                .pending = found.counters.pending,
                .delivered = found.counters.delivered,
                .dead = found.counters.dead,
                .discarded = found.counters.discarded,
            };
        }
    }
    sim_callbacks_finish(world, book);
    book_free(book);
    oracle_finish(world->oracle, counters);
}

static void drain(struct world *world) {
    world->draining = true;
    disk_set_capacity(world->disk, UINT64_MAX);
    for (int fault = 0; fault < DISK_FAULT_COUNT; fault++) {
        disk_fault_at(world->disk, (enum disk_fault)fault, 0);
        disk_fault_chance(world->disk, (enum disk_fault)fault, 0);
    }
    for (uint32_t i = 0; !is_quiet(world) && !world->oracle->failed; i++) {
        if (i == DRAIN_STEPS_MAX) {
            oracle_fail(world->oracle, "promise 1: what is owed does not run out");
            return;
        }
        if (!world->is_up) {
            restart(world);
        } else {
            step(world);
            if (world->is_up && must_exit(world)) {
                process_end(world);
            }
        }
        if (i % 50 == 49) {
            pass(world, 500000);
        }
    }
    if (!world->oracle->failed) {
        finish(world);
    }
}

static void live(struct world *world) {
    process_boot(world);
    struct sim_result *result = world->result;
    while ((result->steps < world->options.steps || result->crashes < world->options.crashes_min) &&
           !world->oracle->failed) {
        result->steps++;
        if (!world->is_up) {
            restart(world);
            continue;
        }
        step(world);
        if (world->is_up && must_exit(world)) {
            process_end(world);
        }
    }
    drain(world);
    if (world->is_up) {
        process_end(world);
    }
}

void sim_run(const struct sim_options *options, struct sim_result *ret_result) {
    memset(ret_result, 0, sizeof *ret_result);
    struct world *world = MR_NEW(struct world);
    MR_ASSERT(world != NULL);
    world->options = *options;
    world->result = ret_result;
    world->rng = options->seed * UINT64_C(0xd1342543de82ef95) + 1;
    world->oracle = MR_NEW(struct oracle);
    world->flights = mr_calloc(SIM_FLIGHTS_MAX, sizeof *world->flights);
    world->disk = disk_new(options->seed);
    MR_ASSERT(world->oracle != NULL && world->flights != NULL && world->disk != NULL);
    world->oracle->run = 1;
    world->oracle->attempts_max = 4;
    world->files = *disk_files(world->disk);
    if (options->no_sync) {
        world->files.sync = no_sync;
    }
    world->mono = (mr_mono){MR_NS_PER_S};
    world->wall = mr_wall_of_ms(INT64_C(1750000000000));
    world->log =
        (mr_log){options->verbose ? MR_LOG_DEBUG : MR_LOG_ERROR + 1, write_log, log_now, world};
    live(world);
    struct disk_counts counts = disk_counts(world->disk);
    memcpy(ret_result->faults, counts.faults, sizeof ret_result->faults);
    world_trace(world, disk_trace(world->disk));
    ret_result->failed = world->oracle->failed;
    memcpy(ret_result->why, world->oracle->why, sizeof ret_result->why);
    disk_free(world->disk);
    mr_free(world->flights);
    mr_free(world->oracle);
    mr_free(world);
}
