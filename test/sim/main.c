/* sim [--seed N] [--seeds N] [--steps N] [--crashes N] [--threads N] [--no-sync] [--verbose]
 *     [--no-coverage]
 *
 * Runs seeds from the first on. Exit 0 when every promise held in all of them, each kind of fault
 * struck and each branch of recovery was taken at least once, and seeds that were run twice left
 * equal traces; 1 otherwise. A seed alone runs with --seeds 1 --no-coverage. */
#include "world.h"

#include "base/num.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define THREADS_MAX 16
#define TWICE_EVERY 25

struct campaign {
    struct sim_options options;
    uint64_t n_seeds;
    uint64_t n_threads;
    bool no_coverage;
    _Atomic uint64_t next;
    pthread_mutex_t mu;
    /* guarded by mu */
    struct sim_result sum;
    uint64_t n_failed;
    uint64_t n_unequal;
    uint64_t crashes_least;
};

static const char *const fault_names[DISK_FAULT_COUNT] = {
    [DISK_FAULT_NO_SPACE] = "no space",
    [DISK_FAULT_SHORT_WRITE] = "short write",
    [DISK_FAULT_WRITE_IO] = "write error",
    [DISK_FAULT_SYNC_IO] = "sync error",
    [DISK_FAULT_READ_IO] = "read error",
    [DISK_FAULT_CRASH] = "power loss",
    [DISK_FAULT_KILL] = "kill",
};

static void add_result(struct campaign *campaign, uint64_t seed, const struct sim_result *result) {
    struct sim_result *sum = &campaign->sum;
    sum->steps += result->steps;
    sum->crashes += result->crashes;
    for (size_t i = 0; i < DISK_FAULT_COUNT; i++) {
        sum->faults[i] += result->faults[i];
    }
    for (size_t i = 0; i < SIM_BRANCHES; i++) {
        sum->branches[i] += result->branches[i];
    }
    if (result->crashes < campaign->crashes_least) {
        campaign->crashes_least = result->crashes;
    }
    if (result->failed) {
        campaign->n_failed++;
        if (campaign->n_failed <= 10) {
            fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, result->why);
        }
    }
}

static void *run_seeds(void *arg) {
    struct campaign *campaign = arg;
    for (;;) {
        uint64_t i = atomic_fetch_add(&campaign->next, 1);
        if (i >= campaign->n_seeds) {
            return NULL;
        }
        struct sim_options options = campaign->options;
        options.seed += i;
        struct sim_result result;
        sim_run(&options, &result);
        bool unequal = false;
        if (i % TWICE_EVERY == 0) {
            struct sim_result again;
            sim_run(&options, &again);
            unequal = again.trace != result.trace;
        }
        pthread_mutex_lock(&campaign->mu);
        add_result(campaign, options.seed, &result);
        if (unequal) {
            campaign->n_unequal++;
            fprintf(stderr, "seed %llu: two runs differ\n", (unsigned long long)options.seed);
        }
        pthread_mutex_unlock(&campaign->mu);
    }
}

/* Prints what was hit; returns how much was not. */
static uint64_t report(const struct campaign *campaign) {
    uint64_t missing = 0;
    const struct sim_result *sum = &campaign->sum;
    printf("%llu seeds, %llu steps, %llu crashes (at least %llu a seed)\n",
           (unsigned long long)campaign->n_seeds, (unsigned long long)sum->steps,
           (unsigned long long)sum->crashes, (unsigned long long)campaign->crashes_least);
    for (size_t i = 0; i < DISK_FAULT_COUNT; i++) {
        if (fault_names[i] != NULL) {
            printf("%10llu  fault: %s\n", (unsigned long long)sum->faults[i], fault_names[i]);
            missing += sum->faults[i] == 0 ? 1 : 0;
        }
    }
    for (size_t i = 0; i < SIM_BRANCHES; i++) {
        printf("%10llu  %s\n", (unsigned long long)sum->branches[i], sim_branch_names[i]);
        missing += sum->branches[i] == 0 ? 1 : 0;
    }
    return missing;
}

static bool take_number(const char *text, uint64_t *ret_n) {
    return text != NULL && mr_is_ok(mr_u64_parse(mr_str_c(text), 0, UINT32_MAX, ret_n));
}

static bool parse(struct campaign *campaign, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        uint64_t n = 0;
        bool ok = true;
        if (strcmp(argv[i], "--no-sync") == 0) {
            campaign->options.no_sync = true;
        } else if (strcmp(argv[i], "--verbose") == 0) {
            campaign->options.verbose = true;
        } else if (strcmp(argv[i], "--no-coverage") == 0) {
            campaign->no_coverage = true;
        } else if (i + 1 < argc && take_number(argv[i + 1], &n)) {
            const char *name = argv[i++];
            if (strcmp(name, "--seed") == 0) {
                campaign->options.seed = n;
            } else if (strcmp(name, "--seeds") == 0) {
                campaign->n_seeds = n;
            } else if (strcmp(name, "--steps") == 0) {
                campaign->options.steps = (uint32_t)n;
            } else if (strcmp(name, "--crashes") == 0) {
                campaign->options.crashes_min = (uint32_t)n;
            } else if (strcmp(name, "--threads") == 0) {
                campaign->n_threads = n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : n;
            } else {
                ok = false;
            }
        } else {
            ok = false;
        }
        if (!ok) {
            fprintf(stderr, "sim: unknown argument %s\n", argv[i]);
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv) {
    static struct campaign campaign = {.options = {.seed = 1, .steps = 5000, .crashes_min = 3},
                                       .n_seeds = 500,
                                       .n_threads = 2,
                                       .mu = PTHREAD_MUTEX_INITIALIZER,
                                       .crashes_least = UINT64_MAX};
    if (!parse(&campaign, argc, argv)) {
        return 2;
    }
    pthread_t threads[THREADS_MAX];
    for (uint64_t i = 0; i < campaign.n_threads; i++) {
        if (pthread_create(&threads[i], NULL, run_seeds, &campaign) != 0) {
            fprintf(stderr, "sim: could not start a thread\n");
            return 2;
        }
    }
    for (uint64_t i = 0; i < campaign.n_threads; i++) {
        pthread_join(threads[i], NULL);
    }
    uint64_t missing = report(&campaign);
    if (campaign.n_failed > 0) {
        printf("%llu seeds broke a promise\n", (unsigned long long)campaign.n_failed);
    }
    if (missing > 0 && !campaign.no_coverage) {
        printf("%llu kinds of fault or branches were never met\n", (unsigned long long)missing);
    }
    return campaign.n_failed > 0 || campaign.n_unequal > 0 || (missing > 0 && !campaign.no_coverage)
               ? 1
               : 0;
}
