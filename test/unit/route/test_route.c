/* Matching events to rules: vectors, and random rules against a naive matcher. */
#include "base/mem.h"
#include "route/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define LATEST ROUTE_VERSION_LATEST
/* MR_STR for initialisers of static objects. */
#define LIT(text)                                                                                  \
    { "" text, sizeof(text) - 1 }

static const struct route_type started_latest[] = {{LIT("started"), LATEST}};
static const struct route_type started_v1[] = {{LIT("started"), 1}};
static const struct route_type started_v2[] = {{LIT("started"), 2}};
static const struct route_type any_latest[] = {{LIT("*"), LATEST}};
static const struct route_type both[] = {{LIT("started"), 1}, {LIT("*"), 2}};
static const struct route_type twice[] = {{LIT("started"), 1}, {LIT("started"), 2}};

static struct route_rule rule_of(uint32_t number, uint32_t destination,
                                 const struct route_type *types, size_t n_types) {
    return (struct route_rule){.number = number,
                               .account = 1,
                               .destination = destination,
                               .enabled = true,
                               .product_group = MR_STR("Connectivity"),
                               .types = types,
                               .n_types = n_types};
}

static const struct route_event started = {.account = 1,
                                           .version = 2,
                                           .type = LIT("started"),
                                           .product_group = LIT("Connectivity"),
                                           .id_hash = 10};

struct fixture {
    struct route_index *index;
    struct route_result result;
};

static void match(struct fixture *fixture, const struct route_rule *rules, size_t n,
                  const struct route_event *event) {
    route_result_init(&fixture->result);
    assert_true(mr_is_ok(route_index_new(rules, n, &fixture->index)));
    assert_true(mr_is_ok(route_match(fixture->index, event, &fixture->result)));
}

static void done(struct fixture *fixture) {
    route_result_done(&fixture->result);
    route_index_free(fixture->index);
}

static void no_rules_match_nothing(void **state) {
    (void)state;
    struct fixture fixture;
    match(&fixture, NULL, 0, &started);
    assert_int_equal(fixture.result.n_targets, 0);
    done(&fixture);
    route_index_free(NULL);
}

static void a_destination_appears_once_with_all_its_rules(void **state) {
    (void)state;
    const struct route_rule rules[] = {rule_of(9, 3, started_v1, 1), rule_of(2, 3, any_latest, 1),
                                       rule_of(5, 8, started_v2, 1), rule_of(4, 3, started_v2, 1)};
    struct fixture fixture;
    match(&fixture, rules, 4, &started);
    assert_int_equal(fixture.result.n_targets, 2);
    assert_int_equal(fixture.result.targets[0].destination, 3);
    assert_int_equal(fixture.result.targets[0].n_rules, 3);
    const uint32_t *numbers = fixture.result.rules + fixture.result.targets[0].rules_at;
    assert_int_equal(numbers[0], 2);
    assert_int_equal(numbers[1], 4);
    assert_int_equal(numbers[2], 9);
    assert_int_equal(fixture.result.targets[1].destination, 8);
    done(&fixture);
}

static void disabled_rules_other_accounts_and_types_do_not_match(void **state) {
    (void)state;
    struct route_rule rules[] = {rule_of(1, 1, started_v1, 1), rule_of(2, 2, started_v1, 1),
                                 rule_of(3, 3, any_latest, 1)};
    rules[0].enabled = false;
    rules[1].account = 2;
    rules[2].product_group = MR_STR("Voice");
    struct fixture fixture;
    match(&fixture, rules, 3, &started);
    assert_int_equal(fixture.result.n_targets, 0);
    done(&fixture);
    struct route_event other = started;
    other.type = MR_STR("starte");
    rules[0].enabled = true;
    match(&fixture, rules, 3, &other);
    assert_int_equal(fixture.result.n_targets, 0);
    done(&fixture);
}

static void a_type_named_like_a_group_is_not_that_group(void **state) {
    (void)state;
    static const struct route_type type[] = {{LIT("Connectivity"), LATEST}};
    const struct route_rule rules[] = {rule_of(1, 1, type, 1)};
    struct fixture fixture;
    match(&fixture, rules, 1, &started);
    assert_int_equal(fixture.result.n_targets, 0);
    done(&fixture);
}

static void a_star_takes_types_without_a_group_never(void **state) {
    (void)state;
    const struct route_rule rules[] = {rule_of(1, 1, any_latest, 1)};
    struct route_event event = started;
    event.product_group = MR_STR_NONE;
    struct fixture fixture;
    match(&fixture, rules, 1, &event);
    assert_int_equal(fixture.result.n_targets, 0);
    done(&fixture);
    struct route_rule bad = rule_of(1, 1, any_latest, 1);
    bad.product_group = MR_STR_NONE;
    struct route_index *index;
    assert_true(mr_err_is(route_index_new(&bad, 1, &index), MR_E_INVALID));
}

static void the_newest_version_asked_for_wins_and_never_goes_upward(void **state) {
    (void)state;
    static const struct {
        const struct route_type *types[2];
        size_t n_types[2];
        uint16_t event_version;
        uint16_t want;
    } rows[] = {
        {{started_v1, NULL}, {1, 0}, 2, 1},
        {{started_v1, started_v2}, {1, 1}, 3, 2},
        {{started_v2, NULL}, {1, 0}, 1, 1},
        {{started_v1, started_latest}, {1, 1}, 3, 3},
        {{started_v1, any_latest}, {1, 1}, 2, 2},
        {{both, NULL}, {2, 0}, 3, 2},
        {{twice, NULL}, {2, 0}, 3, 2},
        {{started_v1, NULL}, {1, 0}, LATEST, LATEST},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct route_rule rules[] = {rule_of(1, 7, rows[i].types[0], rows[i].n_types[0]),
                                           rule_of(2, 7, rows[i].types[1], rows[i].n_types[1])};
        struct route_event event = started;
        event.version = rows[i].event_version;
        struct fixture fixture;
        match(&fixture, rules, 2, &event);
        assert_int_equal(fixture.result.n_targets, 1);
        assert_int_equal(fixture.result.targets[0].version, rows[i].want);
        assert_int_equal(fixture.result.targets[0].n_rules, rows[i].types[1] == NULL ? 1 : 2);
        done(&fixture);
    }
}

static void any_sampling_that_takes_it_suffices(void **state) {
    (void)state;
    struct route_rule rules[] = {rule_of(1, 7, started_v1, 1), rule_of(2, 7, started_v1, 1)};
    rules[0].sampling = 3;
    rules[1].sampling = 5;
    static const uint32_t want[] = {2, 0, 0, 1, 0, 1, 1, 0, 0, 1, 1};
    for (uint64_t hash = 0; hash < sizeof want / sizeof want[0]; hash++) {
        struct route_event event = started;
        event.id_hash = hash;
        struct fixture fixture;
        match(&fixture, rules, 2, &event);
        assert_int_equal(fixture.result.n_rules, want[hash]);
        assert_int_equal(fixture.result.n_targets, want[hash] > 0 ? 1 : 0);
        done(&fixture);
    }
}

static void sampling_takes_about_one_in_n(void **state) {
    (void)state;
    uint32_t taken = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        char id[16];
        int n = snprintf(id, sizeof id, "id-%u", i);
        taken += route_id_hash(mr_str_of(id, (size_t)n)) % 10 == 0 ? 1 : 0;
    }
    assert_true(taken > 9500 && taken < 10500);
    /* It must never change: a replay samples as the first time. */
    assert_int_equal(route_id_hash(MR_STR("a")), route_id_hash(MR_STR("a")));
    assert_int_equal(route_id_hash(MR_STR("6f1e")), UINT64_C(0xcf7c91034a5ab296));
}

/* --- against a naive matcher --- */

#define N_RULES 300
#define N_TYPES 12

static uint64_t rng_state;
static uint64_t below(uint64_t n) {
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state % n;
}

static const mr_str type_names[N_TYPES] = {LIT("a"), LIT("b"), LIT("c"),  LIT("d"),
                                           LIT("e"), LIT("f"), LIT(""),   LIT("*"),
                                           LIT("*"), LIT("G"), LIT("aa"), LIT("H")};
static const mr_str group_names[3] = {LIT("G"), LIT("H"), LIT("")};

struct random_rules {
    struct route_rule rules[N_RULES];
    struct route_type types[N_RULES][6];
};

static void make_rules(struct random_rules *all) {
    for (uint32_t i = 0; i < N_RULES; i++) {
        size_t n = below(7);
        for (size_t t = 0; t < n; t++) {
            all->types[i][t] = (struct route_type){type_names[below(N_TYPES)], (uint16_t)below(4)};
        }
        all->rules[i] = (struct route_rule){.number = i + 1,
                                            .account = (uint32_t)below(3),
                                            .destination = (uint32_t)below(12),
                                            .sampling = (uint32_t)(below(2) * below(4)),
                                            .enabled = below(5) != 0,
                                            .product_group = group_names[below(3)],
                                            .types = all->types[i],
                                            .n_types = n};
    }
}

/* True where the rule takes the event; *version becomes the newest asked, UINT32_MAX = latest. */
static bool naive(const struct route_rule *rule, const struct route_event *event,
                  uint32_t *version) {
    bool found = false;
    for (size_t t = 0; t < rule->n_types; t++) {
        const struct route_type *line = &rule->types[t];
        bool any = mr_str_eq(line->type, MR_STR("*"));
        bool hit = any ? !mr_str_is_absent(event->product_group) &&
                             mr_str_eq(rule->product_group, event->product_group)
                       : mr_str_eq(line->type, event->type);
        if (hit) {
            uint32_t asked = line->version == LATEST ? UINT32_MAX : line->version;
            *version = asked > *version ? asked : *version;
            found = true;
        }
    }
    return found && rule->enabled && rule->account == event->account &&
           event->id_hash % (rule->sampling == 0 ? 1 : rule->sampling) == 0;
}

static void compare(const struct random_rules *all, const struct route_event *event,
                    const struct route_result *result) {
    size_t targets = 0;
    for (uint32_t destination = 0; destination < 12; destination++) {
        uint32_t numbers[N_RULES];
        uint32_t n = 0;
        uint32_t version = 0;
        for (uint32_t i = 0; i < N_RULES; i++) {
            uint32_t asked = 0;
            if (all->rules[i].destination == destination && naive(&all->rules[i], event, &asked)) {
                numbers[n++] = all->rules[i].number;
                version = asked > version ? asked : version;
            }
        }
        if (n == 0) {
            continue;
        }
        assert_true(targets < result->n_targets);
        const struct route_target *target = &result->targets[targets++];
        assert_int_equal(target->destination, destination);
        assert_int_equal(target->n_rules, n);
        assert_memory_equal(result->rules + target->rules_at, numbers, n * sizeof numbers[0]);
        assert_int_equal(target->version, version > event->version ? event->version : version);
    }
    assert_int_equal(targets, result->n_targets);
}

static void agrees_with_a_naive_matcher(void **state) {
    (void)state;
    rng_state = 88172645463325252ULL;
    struct random_rules *all = mr_alloc(sizeof *all);
    struct route_result result;
    route_result_init(&result);
    for (int round = 0; round < 40; round++) {
        make_rules(all);
        struct route_index *index;
        assert_true(mr_is_ok(route_index_new(all->rules, N_RULES, &index)));
        for (int i = 0; i < 60; i++) {
            struct route_event event = {.account = (uint32_t)below(3),
                                        .version = (uint16_t)below(4),
                                        .type = type_names[below(N_TYPES)],
                                        .product_group =
                                            below(4) == 0 ? MR_STR_NONE : group_names[below(3)],
                                        .id_hash = below(100)};
            assert_true(mr_is_ok(route_match(index, &event, &result)));
            compare(all, &event, &result);
        }
        assert_true(route_index_bytes(index) > 0);
        route_index_free(index);
    }
    route_result_done(&result);
    mr_free(all);
}

static void without_memory_it_says_so(void **state) {
    (void)state;
    const struct route_rule rules[] = {rule_of(1, 1, started_v1, 1), rule_of(2, 2, any_latest, 1)};
    struct route_index *index = NULL;
    for (uint64_t fail = 1; fail <= 6; fail++) {
        mr_alloc_fail_at(fail);
        mr_err err = route_index_new(rules, 2, &index);
        mr_alloc_fail_at(0);
        assert_true(mr_err_is(err, MR_E_NOMEM));
    }
    assert_true(mr_is_ok(route_index_new(rules, 2, &index)));
    struct route_result result;
    route_result_init(&result);
    for (uint64_t fail = 1; fail <= 2; fail++) {
        mr_alloc_fail_at(1);
        mr_err err = route_match(index, &started, &result);
        mr_alloc_fail_at(0);
        assert_true(mr_err_is(err, MR_E_NOMEM));
        route_result_done(&result);
    }
    assert_true(mr_is_ok(route_match(index, &started, &result)));
    assert_int_equal(result.n_targets, 2);
    route_result_done(&result);
    route_index_free(index);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_rules_match_nothing),
        cmocka_unit_test(a_destination_appears_once_with_all_its_rules),
        cmocka_unit_test(disabled_rules_other_accounts_and_types_do_not_match),
        cmocka_unit_test(a_type_named_like_a_group_is_not_that_group),
        cmocka_unit_test(a_star_takes_types_without_a_group_never),
        cmocka_unit_test(the_newest_version_asked_for_wins_and_never_goes_upward),
        cmocka_unit_test(any_sampling_that_takes_it_suffices),
        cmocka_unit_test(sampling_takes_about_one_in_n),
        cmocka_unit_test(agrees_with_a_naive_matcher),
        cmocka_unit_test(without_memory_it_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
