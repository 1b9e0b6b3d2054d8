/* Rules with filters in the index: what is found there is what each filter says by itself, also
 * where values stand in arrays, names are many, numbers have several spellings. */
#include "base/mem.h"
#include "route/content.h"
#include "route/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define assert_ok(err) assert_int_equal((err).code, 0)
#define N_RULES        200

static const struct route_type types[] = {{{"t", 1}, 0}, {{"*", 1}, 0}};

static struct route_filter *filter_of(const char *json) {
    struct route_filter *filter = NULL;
    struct filter_fault fault = {.line = 0};
    mr_err err = route_filter_new(mr_str_c(json), &filter, &fault);
    if (mr_is_err(err)) {
        print_message("%s: %s %s\n", json, fault.pointer, fault.expected);
    }
    assert_ok(err);
    return filter;
}

static struct route_rule rule_of(uint32_t number, struct route_filter *filter) {
    return (struct route_rule){.number = number,
                               .account = 1,
                               .destination = number % 5,
                               .enabled = true,
                               .product_group = MR_STR("G"),
                               .types = types + number % 2,
                               .n_types = 1,
                               .filter = filter};
}

/* An event of type t and group G. */
struct probe {
    struct filter_attribute attributes[8];
    struct filter_event content;
    json_tape tape;
};

static void probe_init(struct probe *probe, const char *data, const char *subject,
                       const char *count) {
    *probe = (struct probe){.content = {.attributes = probe->attributes}};
    json_tape_init(&probe->tape, JSON_DEPTH_DEFAULT);
    if (data != NULL) {
        assert_ok(json_tape_read(&probe->tape, mr_str_c(data), NULL));
        probe->content.data = json_root(&probe->tape);
    }
    size_t n = 0;
    probe->attributes[n++] =
        (struct filter_attribute){MR_STR("specversion"), MR_STR("1.0"), FILTER_STRING};
    if (subject != NULL) {
        probe->attributes[n++] =
            (struct filter_attribute){MR_STR("subject"), mr_str_c(subject), FILTER_STRING};
    }
    if (count != NULL) {
        probe->attributes[n++] =
            (struct filter_attribute){MR_STR("count"), mr_str_c(count), FILTER_INTEGER};
    }
    probe->attributes[n++] =
        (struct filter_attribute){MR_STR("flag"), MR_STR("true"), FILTER_BOOLEAN};
    probe->content.n_attributes = n;
}

/* Matches, and compares with what each filter says alone. Returns the number of rules that match.
 */
static size_t check(const struct route_index *index, const struct route_rule *rules, size_t n,
                    const struct probe *probe, struct filter_run *run,
                    struct route_result *result) {
    const struct route_event event = {.account = 1,
                                      .type = MR_STR("t"),
                                      .product_group = MR_STR("G"),
                                      .content = &probe->content,
                                      .run = run};
    assert_ok(route_match(index, &event, result));
    size_t n_found = 0;
    for (size_t i = 0; i < n; i++) {
        bool is_wanted = rules[i].filter == NULL ||
                         filter_matches(rules[i].filter->filter, &probe->content, run, NULL);
        size_t times = 0;
        for (size_t t = 0; t < result->n_targets; t++) {
            const struct route_target *target = &result->targets[t];
            for (uint32_t r = 0; r < target->n_rules; r++) {
                if (result->rules[target->rules_at + r] == rules[i].number) {
                    assert_int_equal(target->destination, rules[i].destination);
                    times++;
                }
            }
        }
        if (times != (is_wanted ? 1 : 0)) {
            print_message("rule %u: found %zu times, wanted %d: %.*s\n", rules[i].number, times,
                          is_wanted, MR_FMT(rules[i].filter->json));
        }
        assert_int_equal(times, is_wanted ? 1 : 0);
        n_found += times;
    }
    for (size_t t = 1; t < result->n_targets; t++) {
        assert_true(result->targets[t - 1].destination < result->targets[t].destination);
    }
    return n_found;
}

static const char *const filters[] = {
    "{\"pattern\":{\"data\":{\"a\":[\"x\"]}}}",
    "{\"pattern\":{\"data\":{\"a\":[\"x\",\"y\"]}}}",
    "{\"pattern\":{\"data\":{\"a\":[\"\\u0078\"]}}}",
    "{\"pattern\":{\"data\":{\"a\":[\"q\\\"uote\"]}}}",
    "{\"pattern\":{\"data\":{\"a\":[1]}}}",
    "{\"pattern\":{\"data\":{\"a\":[100,null]}}}",
    "{\"pattern\":{\"data\":{\"a\":[0.5]}}}",
    "{\"pattern\":{\"data\":{\"a\":[9007199254740993]}}}",
    "{\"pattern\":{\"data\":{\"a\":[true,false]}}}",
    "{\"pattern\":{\"data\":{\"a\":[null]}}}",
    "{\"pattern\":{\"data\":{\"a\":[{\"prefix\":\"x\"}]}}}",
    "{\"pattern\":{\"data\":{\"a\":[{\"exists\":false}]}}}",
    "{\"pattern\":{\"data\":{\"a\":[{\"anything-but\":\"x\"}]}}}",
    "{\"pattern\":{\"data\":{\"a\":[\"x\",{\"prefix\":\"y\"}]}}}",
    "{\"pattern\":{\"data\":{\"b\":{\"c\":[\"x\"]}}}}",
    "{\"pattern\":{\"data\":{\"b\":{\"c\":[\"x\"],\"d\":[\"y\"]}}}}",
    "{\"pattern\":{\"data\":{\"b\":{\"d\":[\"y\"]}},\"subject\":[\"s\"]}}",
    "{\"pattern\":{\"$or\":[{\"subject\":[\"s\"]},{\"data\":{\"a\":[\"x\"]}}]}}",
    "{\"pattern\":{\"subject\":[\"s\"]}}",
    "{\"pattern\":{\"count\":[100]}}",
    "{\"pattern\":{\"flag\":[true]}}",
    "{\"pattern\":{\"data\":{\"k1\":[\"x\"]}}}",
    "{\"pattern\":{\"data\":{\"k2\":[\"x\"]}}}",
    "{\"pattern\":{\"data\":{\"k3\":[\"x\"]}}}",
    "{\"pattern\":{\"data\":{\"k4\":[\"x\"]}}}",
    "{\"cesql\":\"subject = 's'\"}",
    "{\"cesql\":\"count = 100\"}",
    "{\"cesql\":\"count = '100'\"}",
    "{\"cesql\":\"flag\"}",
    "{\"cesql\":\"flag = true\"}",
    "{\"cesql\":\"subject IN ('s', 't') AND count > 5\"}",
    "{\"cesql\":\"subject = 's' OR EXISTS count\"}",
    "{\"cesql\":\"NOT EXISTS subject\"}",
    "{\"cesql\":\"true\"}",
};
#define N_FILTERS (sizeof filters / sizeof filters[0])

static const struct {
    const char *data, *subject, *count;
} probes[] = {
    {NULL, NULL, NULL},
    {"{\"a\":\"x\"}", "s", "100"},
    {"{\"a\":\"\\u0078\"}", "t", "0"},
    {"{\"\\u0061\":\"y\",\"k1\":\"x\",\"k2\":\"y\",\"\\u006b4\":\"x\"}", NULL, "-100"},
    {"{\"a\":\"q\\\"uote\"}", "", NULL},
    {"{\"a\":1.0}", NULL, NULL},
    {"{\"a\":1e2}", NULL, NULL},
    {"{\"a\":50e-2}", NULL, NULL},
    {"{\"a\":9007199254740993}", NULL, NULL},
    {"{\"a\":9007199254740992}", NULL, NULL},
    {"{\"a\":true}", NULL, NULL},
    {"{\"a\":null}", NULL, NULL},
    {"{\"a\":[\"x\",[\"y\",[1,\"x\"]],{\"a\":\"z\"}]}", "s", NULL},
    {"{\"a\":[]}", NULL, NULL},
    {"{\"a\":{\"a\":\"x\"}}", NULL, NULL},
    {"{\"b\":[{\"c\":\"x\"},{\"d\":\"y\"}]}", "s", NULL},
    {"{\"b\":[{\"c\":\"x\",\"d\":[\"n\",\"y\"]},[{\"c\":\"x\"}]]}", "s", NULL},
    {"[{\"a\":\"x\"},{\"a\":\"y\"}]", NULL, NULL},
    {"\"x\"", NULL, NULL},
};

static void an_index_finds_what_each_filter_matches(void **state) {
    (void)state;
    struct route_rule rules[N_FILTERS + 2];
    struct route_result result;
    struct filter_run *run;
    struct route_index *index;
    size_t total = 0;
    assert_ok(filter_run_new(&run));
    route_result_init(&result);
    for (size_t i = 0; i < N_FILTERS; i++) {
        rules[i] = rule_of((uint32_t)i + 1, filter_of(filters[i]));
    }
    rules[N_FILTERS] = rule_of(N_FILTERS + 1, NULL);
    rules[N_FILTERS + 1] = rule_of(N_FILTERS + 2, NULL);
    /* All at once: the event is looked up in the tree; and one by one: the other way round. */
    assert_ok(route_index_new(rules, N_FILTERS + 2, &index));
    assert_true(route_index_has_filters(index));
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++) {
        struct probe probe;
        probe_init(&probe, probes[i].data, probes[i].subject, probes[i].count);
        total += check(index, rules, N_FILTERS + 2, &probe, run, &result);
        for (size_t k = 0; k < N_FILTERS; k++) {
            struct route_index *alone;
            assert_ok(route_index_new(&rules[k], 1, &alone));
            check(alone, &rules[k], 1, &probe, run, &result);
            route_index_free(alone);
        }
        json_tape_done(&probe.tape);
    }
    assert_true(total > 100);
    route_index_free(index);
    for (size_t i = 0; i < N_FILTERS; i++) {
        assert_int_equal(atomic_load(&rules[i].filter->refs), 1);
        route_filter_unref(rules[i].filter);
    }
    route_result_done(&result);
    filter_run_free(run);
}

static void a_filter_that_rules_share_is_evaluated_once(void **state) {
    (void)state;
    struct route_filter *failing = filter_of("{\"cesql\":\"INT(subject) = 1\"}");
    struct route_rule rules[] = {rule_of(2, failing), rule_of(4, failing), rule_of(6, failing)};
    struct route_result result;
    struct filter_run *run;
    struct route_index *index;
    struct probe probe;
    assert_ok(filter_run_new(&run));
    route_result_init(&result);
    probe_init(&probe, NULL, "no number", NULL);
    assert_ok(route_index_new(rules, 3, &index));
    assert_int_equal(check(index, rules, 3, &probe, run, &result), 0);
    assert_int_equal(result.n_filter_errors, 1);
    /* The index keeps it beyond the rules. */
    route_filter_unref(failing);
    probe.attributes[1].text = MR_STR("1");
    const struct route_event event = {
        .account = 1, .type = MR_STR("t"), .content = &probe.content, .run = run};
    assert_ok(route_match(index, &event, &result));
    assert_int_equal(result.n_rules, 3);
    assert_int_equal(result.n_filter_errors, 0);
    json_tape_done(&probe.tape);
    route_index_free(index);
    route_result_done(&result);
    filter_run_free(run);
}

static void filters_of_other_values_are_not_evaluated(void **state) {
    (void)state;
    /* Each would fail, were it evaluated: its cast does. */
    struct route_rule rules[N_RULES];
    struct route_result result;
    struct filter_run *run;
    struct route_index *index;
    struct probe probe;
    for (uint32_t i = 0; i < N_RULES; i++) {
        char json[96];
        snprintf(json, sizeof json, "{\"cesql\":\"subject = 's%u' AND INT(subject) = 1\"}", i);
        rules[i] = rule_of(2 * i + 2, filter_of(json));
    }
    assert_ok(filter_run_new(&run));
    route_result_init(&result);
    probe_init(&probe, NULL, "s7", NULL);
    assert_ok(route_index_new(rules, N_RULES, &index));
    const struct route_event event = {
        .account = 1, .type = MR_STR("t"), .content = &probe.content, .run = run};
    assert_ok(route_match(index, &event, &result));
    assert_int_equal(result.n_filter_errors, 1);
    json_tape_done(&probe.tape);
    route_index_free(index);
    for (size_t i = 0; i < N_RULES; i++) {
        route_filter_unref(rules[i].filter);
    }
    route_result_done(&result);
    filter_run_free(run);
}

/* Each takes more than a 200th of what an event has. */
static void all_filters_of_an_event_share_one_budget(void **state) {
    (void)state;
    static char subject[2000];
    struct route_rule rules[N_RULES];
    struct route_result result;
    struct filter_run *run;
    struct route_index *index;
    struct probe probe;
    char wanted[64];
    memset(subject, 'a', sizeof subject - 1);
    memset(wanted, 'a', sizeof wanted);
    for (uint32_t i = 0; i < N_RULES; i++) {
        char json[160];
        snprintf(json, sizeof json, "{\"cesql\":\"subject LIKE '%%%.*sb%u%%'\"}", 60, wanted, i);
        rules[i] = rule_of(2 * i + 2, filter_of(json));
    }
    assert_ok(filter_run_new(&run));
    route_result_init(&result);
    probe_init(&probe, NULL, subject, NULL);
    assert_ok(route_index_new(rules, N_RULES, &index));
    const struct route_event event = {
        .account = 1, .type = MR_STR("t"), .content = &probe.content, .run = run};
    assert_ok(route_match(index, &event, &result));
    assert_int_equal(result.n_targets, 0);
    assert_int_equal(result.n_steps, ROUTE_STEPS_MAX);
    assert_in_range(result.n_filter_errors, 1, N_RULES - 1);
    /* The next event has the whole again. */
    probe.attributes[1].text = MR_STR("a");
    assert_ok(route_match(index, &event, &result));
    assert_int_equal(result.n_filter_errors, 0);
    json_tape_done(&probe.tape);
    route_index_free(index);
    for (size_t i = 0; i < N_RULES; i++) {
        route_filter_unref(rules[i].filter);
    }
    route_result_done(&result);
    filter_run_free(run);
}

static void without_memory_it_says_so_and_leaks_nothing(void **state) {
    (void)state;
    struct route_filter *filter = filter_of("{\"pattern\":{\"data\":{\"a\":[\"x\",\"y\",7]}}}");
    struct route_rule rules[] = {rule_of(2, filter), rule_of(4, NULL)};
    struct route_index *index = NULL;
    struct filter_run *run;
    struct probe probe;
    assert_ok(filter_run_new(&run));
    probe_init(&probe, "{\"a\":[\"x\",\"y\",70e-1,\"\\u0078\"]}", NULL, NULL);
    uint64_t n = 1;
    for (;; n++) {
        mr_alloc_fail_at(n);
        mr_err err = route_index_new(rules, 2, &index);
        mr_alloc_fail_at(0);
        if (mr_is_ok(err)) {
            break;
        }
        assert_int_equal(err.code, MR_E_NOMEM);
    }
    assert_true(n > 8);
    const struct route_event event = {
        .account = 1, .type = MR_STR("t"), .content = &probe.content, .run = run};
    for (n = 1;; n++) {
        struct route_result result;
        route_result_init(&result);
        mr_alloc_fail_at(n);
        mr_err err = route_match(index, &event, &result);
        mr_alloc_fail_at(0);
        size_t n_rules = result.n_rules;
        route_result_done(&result);
        if (mr_is_ok(err)) {
            assert_int_equal(n_rules, 2);
            break;
        }
        assert_int_equal(err.code, MR_E_NOMEM);
    }
    assert_true(n > 4);
    json_tape_done(&probe.tape);
    route_index_free(index);
    route_filter_unref(filter);
    filter_run_free(run);
}

static void other_forms_are_no_filter(void **state) {
    (void)state;
    static const char *const forms[] = {"",
                                        "{",
                                        "7",
                                        "{}",
                                        "{\"pattern\":[]}",
                                        "{\"cesql\":1}",
                                        "{\"cesql\":\"true\",\"pattern\":{}}",
                                        "{\"sql\":\"true\"}"};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct route_filter *filter;
        struct filter_fault fault;
        assert_int_equal(route_filter_new(mr_str_c(forms[i]), &filter, &fault).code,
                         FILTER_E_REFUSED);
    }
    route_filter_unref(NULL);
}

/* ---- content ---- */

static const char *attribute(const struct route_content *content, const char *name) {
    static char text[256];
    for (size_t i = 0; i < content->event.n_attributes; i++) {
        const struct filter_attribute *found = &content->event.attributes[i];
        if (mr_str_eq(found->name, mr_str_c(name))) {
            snprintf(text, sizeof text, "%.*s/%d", MR_FMT(found->text), (int)found->type);
            return text;
        }
    }
    return "";
}

static void content_is_the_event_complete(void **state) {
    (void)state;
    static const struct event_attribute extensions[] = {
        {{"n", 1}, {"7", 1}, {"7", 1}},
        {{"b", 1}, {"false", 5}, {"false", 5}},
        {{"s", 1}, {"7", 1}, {"\"7\"", 3}},
    };
    struct event event = {.id = MR_STR("i"),
                          .source = MR_STR("/s"),
                          .type = MR_STR("t"),
                          .data_kind = EVENT_DATA_JSON,
                          .data = MR_STR("\"text\""),
                          .extensions = extensions,
                          .extensions_len = 3};
    struct event_resolution resolution = {
        .form = EVENT_SCHEMA_OWN, .schema = MR_STR("S"), .version = 2};
    const struct event_place place = {.public_url = MR_STR("https://e.example")};
    struct route_content content;
    route_content_init(&content);
    assert_ok(route_content_fill(&content, &event, &resolution, &place));
    assert_string_equal(attribute(&content, "specversion"), "1.0/0");
    assert_string_equal(attribute(&content, "time"), "1970-01-01T00:00:00.0000000+00:00/0");
    assert_string_equal(attribute(&content, "datacontenttype"), "application/json/0");
    assert_string_equal(attribute(&content, "dataschema"), "https://e.example/schemas/S/2/0");
    assert_string_equal(attribute(&content, "subject"), "");
    assert_string_equal(attribute(&content, "n"), "7/1");
    assert_string_equal(attribute(&content, "b"), "false/2");
    assert_string_equal(attribute(&content, "s"), "7/0");
    assert_true(json_string_eq(content.event.data, MR_STR("text")));
    event.data_kind = EVENT_DATA_BASE64;
    event.time = MR_STR("2024-01-01T00:00:00Z");
    event.dataschema = MR_STR("urn:x");
    event.datacontenttype = MR_STR("image/png");
    resolution = (struct event_resolution){.form = EVENT_SCHEMA_FOREIGN};
    assert_ok(route_content_fill(&content, &event, &resolution, &place));
    assert_string_equal(attribute(&content, "time"), "2024-01-01T00:00:00Z/0");
    assert_string_equal(attribute(&content, "dataschema"), "urn:x/0");
    assert_string_equal(attribute(&content, "datacontenttype"), "image/png/0");
    assert_true(json_is_absent(content.event.data));
    route_content_done(&content);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_finds_what_each_filter_matches),
        cmocka_unit_test(a_filter_that_rules_share_is_evaluated_once),
        cmocka_unit_test(filters_of_other_values_are_not_evaluated),
        cmocka_unit_test(all_filters_of_an_event_share_one_budget),
        cmocka_unit_test(without_memory_it_says_so_and_leaks_nothing),
        cmocka_unit_test(other_forms_are_no_filter),
        cmocka_unit_test(content_is_the_event_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
