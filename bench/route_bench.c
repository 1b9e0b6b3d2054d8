/* How long matching takes where few of many rules match.
 *
 *   route_bench [ROUNDS]     prints a line per case; exit 1 where one misses its goal
 *
 *   by type          1,000 or 100,000 rules over 1,000 accounts and 50 types
 *   one type         100,000 rules of one account, each with a type of its own
 *   with a filter    1,000 or 100,000 rules of one account on one type, each with a filter of its
 *                    own; one matches
 *   one change       building the index of the last case again with one filter changed: what the
 *                    control thread does, beside ingest, at a change */
#include "base/mem.h"
#include "base/num.h"
#include "os/clock.h"
#include "route/route.h"

#include <stdio.h>

#define N_RULES    100000
#define N_ACCOUNTS 1000
#define N_TYPES    50
#define N_EVENTS   1024 /* looked up in turn, so that not all is in the first cache */

struct rules {
    struct route_rule rules[N_RULES];
    struct route_type types[N_RULES];
    char names[N_RULES][72];
    char texts[N_RULES][96];
    struct route_filter *filters[N_RULES];
};

struct events {
    struct route_event events[N_EVENTS];
    struct filter_event contents[N_EVENTS];
    json_tape tapes[N_EVENTS];
    char texts[N_EVENTS][1024];
};

static mr_str name_of(struct rules *all, size_t i) {
    int n = snprintf(all->names[i], sizeof all->names[i],
                     "com.kore.iot.supersim.connection.data-session.type-%zu", i);
    return mr_str_of(all->names[i], (size_t)n);
}

static struct route_rule rule_of(struct rules *all, uint32_t i, uint32_t account, mr_str type) {
    all->types[i] = (struct route_type){type, (uint16_t)(1 + i % 2)};
    return (struct route_rule){.number = i + 1,
                               .account = account,
                               .destination = i / 7,
                               .enabled = true,
                               .types = &all->types[i],
                               .n_types = 1};
}

static struct route_event event_of(uint32_t account, mr_str type, uint64_t i) {
    return (struct route_event){.account = account,
                                .version = 2,
                                .type = type,
                                .product_group = MR_STR("Connectivity"),
                                .id_hash = i};
}

/* n rules over accounts and types. */
static void fill_spread(struct rules *all, struct events *events, size_t n) {
    for (uint32_t i = 0; i < n; i++) {
        all->rules[i] = rule_of(all, i, i % N_ACCOUNTS, name_of(all, (i / N_ACCOUNTS) % N_TYPES));
    }
    for (uint32_t i = 0; i < N_EVENTS; i++) {
        size_t type = n <= N_ACCOUNTS ? 0 : i % N_TYPES;
        events->events[i] = event_of((uint32_t)(i * 7919ULL % N_ACCOUNTS), name_of(all, type), i);
    }
}

/* n rules of one account, each with its own type. */
static void fill_types(struct rules *all, struct events *events, size_t n) {
    for (uint32_t i = 0; i < n; i++) {
        all->rules[i] = rule_of(all, i, 1, name_of(all, i));
    }
    for (uint32_t i = 0; i < N_EVENTS; i++) {
        size_t rule = i * 7919ULL % n;
        events->events[i] = event_of(1, all->types[rule].type, i);
    }
}

static mr_err make_filter(struct rules *all, size_t i, size_t sim) {
    struct filter_fault fault;
    int n = snprintf(all->texts[i], sizeof all->texts[i],
                     "{\"pattern\":{\"data\":{\"sim_sid\":[\"HS%032zx\"]}}}", sim);
    return route_filter_new(mr_str_of(all->texts[i], (size_t)n), &all->filters[i], &fault);
}

static mr_err make_content(struct events *events, size_t i, size_t sim) {
    static const struct filter_attribute attributes[] = {
        {.name = {"specversion", 11}, .text = {"1.0", 3}},
        {.name = {"id", 2}, .text = {"EZ3e2a1a8cc5a9d4b0", 18}},
        {.name = {"type", 4}, .text = {"com.kore.iot.supersim", 21}}};
    int n = snprintf(events->texts[i], sizeof events->texts[i],
                     "{\"account_sid\":\"AC%032zx\",\"event_sid\":\"EV%032zx\","
                     "\"timestamp\":\"2024-09-25T19:09:48Z\",\"event_type\":\"DataSession\","
                     "\"network\":{\"sid\":\"HW%032zx\",\"friendly_name\":\"T-Mobile\","
                     "\"iso_country\":\"US\",\"mcc\":\"310\",\"mnc\":\"260\"},"
                     "\"imsi\":\"001010123456789\",\"sim_unique_name\":\"truck\","
                     "\"sim_sid\":\"HS%032zx\",\"apn\":\"super\",\"data_total\":1024}",
                     i, i, i, sim);
    json_tape_init(&events->tapes[i], JSON_DEPTH_DEFAULT);
    MR_TRY(json_tape_read(&events->tapes[i], mr_str_of(events->texts[i], (size_t)n), NULL));
    events->contents[i] = (struct filter_event){
        .attributes = attributes, .n_attributes = 3, .data = json_root(&events->tapes[i])};
    return MR_OK;
}

/* n rules of one account on one type, each with its own filter. */
static mr_err fill_filters(struct rules *all, struct events *events, struct filter_run *run,
                           size_t n) {
    for (uint32_t i = 0; i < n; i++) {
        MR_TRY(make_filter(all, i, i));
        all->rules[i] = rule_of(all, i, 1, name_of(all, 0));
        all->rules[i].filter = all->filters[i];
    }
    for (uint32_t i = 0; i < N_EVENTS; i++) {
        MR_TRY(make_content(events, i, i * 7919ULL % n));
        events->events[i] = event_of(1, name_of(all, 0), i);
        events->events[i].content = &events->contents[i];
        events->events[i].run = run;
    }
    return MR_OK;
}

static void drop_filters(struct rules *all, struct events *events) {
    for (size_t i = 0; i < N_RULES; i++) {
        route_filter_unref(all->filters[i]);
        all->filters[i] = NULL;
    }
    for (size_t i = 0; i < N_EVENTS; i++) {
        json_tape_done(&events->tapes[i]);
    }
}

/* Nanoseconds per event; -1 without memory. */
static int64_t measure(const struct route_index *index, const struct events *events,
                       uint64_t rounds, double *ret_targets) {
    struct route_result result;
    route_result_init(&result);
    uint64_t targets = 0;
    int64_t start = os_mono_now().ns;
    bool ok = true;
    for (uint64_t i = 0; i < rounds && ok; i++) {
        ok = mr_is_ok(route_match(index, &events->events[i % N_EVENTS], &result));
        targets += result.n_targets;
    }
    int64_t ns = os_mono_now().ns - start;
    route_result_done(&result);
    *ret_targets = (double)targets / (double)rounds;
    return ok ? ns / (int64_t)rounds : -1;
}

/* Builds, measures, prints. True: within the goal. */
static bool run_case(const char *name, const struct rules *all, size_t n,
                     const struct events *events, uint64_t rounds, int64_t goal_ns) {
    struct route_index *index;
    int64_t start = os_mono_now().ns;
    if (mr_is_err(route_index_new(all->rules, n, &index))) {
        return false;
    }
    int64_t build_ns = os_mono_now().ns - start;
    double targets = 0;
    int64_t ns = measure(index, events, rounds, &targets);
    printf("route: %-13s %6zu rules: %4lld ns per event (goal %lld), %.2f targets; "
           "built in %lld.%lld ms, %zu KiB\n",
           name, n, (long long)ns, (long long)goal_ns, targets,
           (long long)(build_ns / MR_NS_PER_MS), (long long)(build_ns / 100000 % 10),
           route_index_bytes(index) / 1024);
    route_index_free(index);
    return ns >= 0 && ns <= goal_ns && targets > 0;
}

/* One filter changed: compiled, and the index built anew of the others as they are. */
static bool run_change(struct rules *all, size_t n) {
    struct route_index *index;
    int64_t start = os_mono_now().ns;
    route_filter_unref(all->filters[n / 2]);
    all->filters[n / 2] = NULL;
    if (mr_is_err(make_filter(all, n / 2, 2 * n))) {
        return false;
    }
    all->rules[n / 2].filter = all->filters[n / 2];
    if (mr_is_err(route_index_new(all->rules, n, &index))) {
        return false;
    }
    int64_t ns = os_mono_now().ns - start;
    printf("route: one change    %6zu rules: %lld.%lld ms of the control thread\n", n,
           (long long)(ns / MR_NS_PER_MS), (long long)(ns / 100000 % 10));
    route_index_free(index);
    return true;
}

int main(int argc, char **argv) {
    uint64_t rounds = 2000000;
    if (argc > 1 && mr_is_err(mr_u64_parse(mr_str_c(argv[1]), 1, UINT32_MAX, &rounds))) {
        fprintf(stderr, "route_bench: ROUNDS is a number\n");
        return 2;
    }
    struct rules *all = MR_NEW(struct rules);
    struct events *events = MR_NEW(struct events);
    struct filter_run *run = NULL;
    if (all == NULL || events == NULL || mr_is_err(filter_run_new(&run))) {
        return 2;
    }
    bool ok = true;
    fill_spread(all, events, 1000);
    ok = run_case("by type", all, 1000, events, rounds, 300) && ok;
    fill_spread(all, events, N_RULES);
    ok = run_case("by type", all, N_RULES, events, rounds, 500) && ok;
    fill_types(all, events, N_RULES);
    ok = run_case("own types", all, N_RULES, events, rounds, 500) && ok;
    const size_t sizes[] = {1000, N_RULES};
    for (size_t i = 0; i < 2; i++) {
        if (mr_is_err(fill_filters(all, events, run, sizes[i]))) {
            return 2;
        }
        ok = run_case("with a filter", all, sizes[i], events, rounds, 1000) && ok;
        ok = run_change(all, sizes[i]) && ok;
        drop_filters(all, events);
    }
    filter_run_free(run);
    mr_free(events);
    mr_free(all);
    return ok ? 0 : 1;
}
