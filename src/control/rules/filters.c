/* Filters of rules: judging them, and sharing compiled ones. See filters.h.
 *
 * A rule's object in the snapshot holds its compiled filter, so that a change of one rule compiles
 * one filter; the pool lets rules with the same text share it, also across accounts: what a filter
 * does depends on its text alone. The text is minified JSON, so spaces make no difference. */
#include "control/rules/filters.h"

#include "base/mem.h"
#include "control/body.h"
#include "json/write.h"

#define FILTER_BYTES_MAX ((size_t)256 << 10)
#define SLOTS_MIN        64
#define SEED             UINT64_C(0x66696c746572)

/* ---- the pool ---- */

void filter_pool_done(struct filter_pool *pool) {
    for (size_t i = 0; i < pool->n_slots; i++) {
        route_filter_unref(pool->slots[i]);
    }
    mr_free(pool->slots);
    *pool = (struct filter_pool){.n = 0};
}

/* Where the text stands, or belongs. The table has an empty slot. */
static struct route_filter **find_slot(struct route_filter **slots, size_t n_slots, mr_str json) {
    size_t at = mr_str_hash(json, SEED) & (n_slots - 1);
    while (slots[at] != NULL && !mr_str_eq(slots[at]->json, json)) {
        at = (at + 1) & (n_slots - 1);
    }
    return &slots[at];
}

/* Room for one more: drops what only the pool holds, and grows where that is not enough. */
static mr_err make_room(struct filter_pool *pool) {
    if (2 * (pool->n + 1) <= pool->n_slots) {
        return MR_OK;
    }
    size_t kept = 0;
    for (size_t i = 0; i < pool->n_slots; i++) {
        struct route_filter *filter = pool->slots[i];
        kept += filter != NULL && atomic_load_explicit(&filter->refs, memory_order_relaxed) > 1;
    }
    /* A quarter full, so that the next sweep is as far away as this one was long. */
    size_t n_slots = SLOTS_MIN;
    while (n_slots < 4 * (kept + 1)) {
        n_slots *= 2;
    }
    struct route_filter **slots = mr_calloc(n_slots, sizeof *slots);
    if (slots == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    size_t n = 0;
    for (size_t i = 0; i < pool->n_slots; i++) {
        struct route_filter *filter = pool->slots[i];
        if (filter == NULL) {
            continue;
        }
        /* Only this thread gives out what the pool alone holds: one reference stays one, and those
         * kept are no more than were counted. */
        if (atomic_load_explicit(&filter->refs, memory_order_acquire) > 1) {
            *find_slot(slots, n_slots, filter->json) = filter;
            n++;
        } else {
            route_filter_unref(filter);
        }
    }
    mr_free(pool->slots);
    *pool = (struct filter_pool){.slots = slots, .n_slots = n_slots, .n = n};
    return MR_OK;
}

mr_err filter_pool_take(struct filter_pool *pool, mr_str json, struct route_filter **ret_filter,
                        struct filter_fault *ret_fault) {
    MR_TRY(make_room(pool));
    struct route_filter **slot = find_slot(pool->slots, pool->n_slots, json);
    if (*slot == NULL) {
        MR_TRY(route_filter_new(json, slot, ret_fault));
        pool->n++;
    }
    *ret_filter = route_filter_ref(*slot);
    return MR_OK;
}

/* ---- judging ---- */

static mr_err refuse_fault(const struct filter_fault *fault, bool is_cesql,
                           struct refusal *ret_refusal) {
    if (is_cesql && fault->line > 0) {
        return refuse(ret_refusal, REFUSAL_RULE, "filter.cesql: line %u, column %u: expected %s.",
                      fault->line, fault->column, fault->expected);
    }
    if (is_cesql) {
        return refuse(ret_refusal, REFUSAL_RULE, "filter.cesql: expected %s.", fault->expected);
    }
    return refuse(ret_refusal, REFUSAL_RULE, "filter.pattern: at \"%s\": expected %s.",
                  fault->pointer, fault->expected);
}

static mr_err compile(struct filter_pool *pool, json_value value, bool is_cesql,
                      struct route_filter **ret_filter, struct refusal *ret_refusal) {
    mr_buf json;
    struct filter_fault fault = {.line = 0};
    mr_buf_init(&json, FILTER_BYTES_MAX);
    mr_err err = json_minify(value, JSON_UTF8, &json);
    if (mr_is_ok(err)) {
        err = filter_pool_take(pool, mr_buf_view(&json), ret_filter, &fault);
    }
    mr_buf_done(&json);
    if (mr_err_is(err, FILTER_E_REFUSED)) {
        return refuse_fault(&fault, is_cesql, ret_refusal);
    }
    if (mr_err_is(err, MR_E_LIMIT)) {
        return refuse(ret_refusal, REFUSAL_RULE, "filter: it is longer than %zu bytes.",
                      is_cesql ? FILTER_CESQL_BYTES_MAX : FILTER_PATTERN_BYTES_MAX);
    }
    return err;
}

mr_err filter_parse(struct filter_pool *pool, json_value value, struct route_filter **ret_filter,
                    struct refusal *ret_refusal) {
    static const struct body_place inside = {.path = "filter.", .wrong = REFUSAL_RULE};
    static const char *const members[] = {"pattern", "cesql"};
    *ret_filter = NULL;
    if (json_is_absent(value) || json_kind_of(value) == JSON_NULL) {
        return MR_OK;
    }
    if (json_kind_of(value) != JSON_OBJECT) {
        return refuse(ret_refusal, REFUSAL_RULE,
                      "filter must be {\"pattern\":{…}}, {\"cesql\":\"…\"} or null.");
    }
    MR_TRY(body_only(value, &inside, members, 2, ret_refusal));
    if (json_count(value) != 1) {
        return refuse(ret_refusal, REFUSAL_RULE,
                      "filter must have one of the members pattern and cesql.");
    }
    json_value pattern = json_find(value, MR_STR("pattern"));
    json_value cesql = json_find(value, MR_STR("cesql"));
    if (!json_is_absent(pattern) && json_kind_of(pattern) != JSON_OBJECT) {
        return refuse(ret_refusal, REFUSAL_RULE, "filter.pattern must be an object.");
    }
    if (!json_is_absent(cesql) && json_kind_of(cesql) != JSON_STRING) {
        return refuse(ret_refusal, REFUSAL_RULE, "filter.cesql must be a string.");
    }
    return compile(pool, value, json_is_absent(pattern), ret_filter, ret_refusal);
}
