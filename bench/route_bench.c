/* How long matching takes: 100,000 rules of 1,000 accounts, of which few match an event.
 *
 *   route_bench [ROUNDS]     prints nanoseconds per event; exit 1 above 500 ns */
#include "base/mem.h"
#include "base/num.h"
#include "os/clock.h"
#include "route/route.h"

#include <stdio.h>

#define N_RULES    100000
#define N_ACCOUNTS 1000
#define N_TYPES    50
#define NS_MAX     500

struct rules {
    struct route_rule rules[N_RULES];
    struct route_type types[N_RULES];
    char names[N_TYPES][64];
    size_t name_len[N_TYPES];
};

static void fill(struct rules *all) {
    for (size_t i = 0; i < N_TYPES; i++) {
        int n = snprintf(all->names[i], sizeof all->names[i],
                         "com.kore.iot.supersim.connection.data-session.type-%zu", i);
        all->name_len[i] = (size_t)n;
    }
    for (uint32_t i = 0; i < N_RULES; i++) {
        size_t type = (i / N_ACCOUNTS) % N_TYPES;
        all->types[i] =
            (struct route_type){mr_str_of(all->names[type], all->name_len[type]), 1 + i % 2};
        all->rules[i] = (struct route_rule){.number = i + 1,
                                            .account = i % N_ACCOUNTS,
                                            .destination = i / 7,
                                            .enabled = true,
                                            .types = &all->types[i],
                                            .n_types = 1};
    }
}

static int64_t measure(const struct route_index *index, const struct rules *all, uint64_t rounds,
                       uint64_t *ret_targets) {
    struct route_result result;
    route_result_init(&result);
    uint64_t targets = 0;
    int64_t start = os_mono_now().ns;
    for (uint64_t i = 0; i < rounds; i++) {
        size_t type = i % N_TYPES;
        struct route_event event = {.account = (uint32_t)(i * 7919 % N_ACCOUNTS),
                                    .version = 2,
                                    .type = mr_str_of(all->names[type], all->name_len[type]),
                                    .product_group = MR_STR("Connectivity"),
                                    .id_hash = i};
        if (mr_is_err(route_match(index, &event, &result))) {
            break;
        }
        targets += result.n_targets;
    }
    int64_t ns = os_mono_now().ns - start;
    route_result_done(&result);
    *ret_targets = targets;
    return ns / (int64_t)rounds;
}

int main(int argc, char **argv) {
    uint64_t rounds = 5000000;
    if (argc > 1 && mr_is_err(mr_u64_parse(mr_str_c(argv[1]), 1, UINT32_MAX, &rounds))) {
        fprintf(stderr, "route_bench: ROUNDS is a number\n");
        return 2;
    }
    struct rules *all = MR_NEW(struct rules);
    if (all == NULL) {
        return 2;
    }
    fill(all);
    int64_t start = os_mono_now().ns;
    struct route_index *index;
    if (mr_is_err(route_index_new(all->rules, N_RULES, &index))) {
        return 2;
    }
    int64_t build_ns = os_mono_now().ns - start;
    uint64_t targets;
    int64_t ns = measure(index, all, rounds, &targets);
    printf("route: %d rules compiled in %lld ms, %zu KiB; %lld ns per event, %llu.%02llu targets\n",
           N_RULES, (long long)(build_ns / MR_NS_PER_MS), route_index_bytes(index) / 1024,
           (long long)ns, (unsigned long long)(targets / rounds),
           (unsigned long long)(targets * 100 / rounds % 100));
    route_index_free(index);
    mr_free(all);
    return ns > NS_MAX ? 1 : 0;
}
