/* Single keywords of two versions. See compare.h.
 *
 * The older side is a closure: schemas that all hold. A keyword of the newer is no narrowing where
 * any one of the older's implies it. Keywords that speak of a type which the older does not take
 * narrow nothing. */
#include "schema/versions/compare.h"

#define FRACTION  1u /* bit 0 stands for numbers that are no integers */
#define BIT(kind) (1u << (kind))
#define BOOLEANS  (BIT(JSON_TRUE) | BIT(JSON_FALSE))
#define NUMBERS   (BIT(JSON_NUMBER) | FRACTION)

static uint32_t type_bits(json_value name) {
    static const struct {
        const char *name;
        uint32_t bits;
    } types[] = {{"null", BIT(JSON_NULL)},     {"boolean", BOOLEANS},
                 {"number", NUMBERS},          {"integer", BIT(JSON_NUMBER)},
                 {"string", BIT(JSON_STRING)}, {"array", BIT(JSON_ARRAY)},
                 {"object", BIT(JSON_OBJECT)}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (json_string_eq(name, mr_str_c(types[i].name))) {
            return types[i].bits;
        }
    }
    return 0;
}

uint32_t compare_types(json_value schema) {
    json_value type = json_find(schema, MR_STR("type"));
    if (json_kind_of(type) == JSON_STRING) {
        return type_bits(type);
    }
    uint32_t bits = 0;
    for (json_iter it = json_iter_of(type); json_next(&it);) {
        bits |= type_bits(it.value);
    }
    return json_is_absent(type) ? COMPARE_TYPES_ALL : bits;
}

static uint32_t closure_types(const struct compare_closure *older) {
    uint32_t bits = COMPARE_TYPES_ALL;
    for (uint32_t i = 0; i < older->n; i++) {
        bits &= compare_types(older->at[i]);
    }
    return bits;
}

static bool contains_value(struct compare *c, json_value list, json_value value) {
    for (json_iter it = json_iter_of(list); json_next(&it) && compare_spend(c, 1);) {
        if (version_equal(it.value, value, &c->steps)) {
            return true;
        }
    }
    return false;
}

/* Whether the newer's enum or const takes the value. */
static bool takes(struct compare *c, json_value newer, json_value value) {
    json_value list = json_find(newer, MR_STR("enum"));
    json_value only = json_find(newer, MR_STR("const"));
    return (json_is_absent(list) || contains_value(c, list, value)) &&
           (json_is_absent(only) || version_equal(only, value, &c->steps));
}

static void compare_enum(struct compare *c, const struct compare_closure *older, json_value newer) {
    json_value list = json_find(newer, MR_STR("enum"));
    json_value only = json_find(newer, MR_STR("const"));
    const char *rule = json_is_absent(only) ? "enum" : "const";
    json_value at = json_is_absent(only) ? list : only;
    if (json_is_absent(at)) {
        return;
    }
    for (uint32_t i = 0; i < older->n; i++) {
        json_value values = json_find(older->at[i], MR_STR("enum"));
        json_value value = json_find(older->at[i], MR_STR("const"));
        if (json_is_absent(values) && json_is_absent(value)) {
            continue;
        }
        if (!json_is_absent(value)) {
            if (!takes(c, newer, value)) {
                compare_report(c, NEWER, at, rule, "the value %.*s is no longer allowed",
                               MR_FMT(json_raw(value)));
            }
            return;
        }
        for (json_iter it = json_iter_of(values); json_next(&it) && compare_spend(c, 1);) {
            if (!takes(c, newer, it.value)) {
                compare_report(c, NEWER, at, rule, "the value %.*s is no longer allowed",
                               MR_FMT(json_raw(it.value)));
            }
        }
        return;
    }
    compare_report(c, NEWER, at, rule, "only listed values are allowed now");
}

static void compare_type(struct compare *c, const struct compare_closure *older, json_value newer,
                         uint32_t taken) {
    uint32_t lost = taken & ~compare_types(newer);
    if (lost == 0) {
        return;
    }
    compare_report(c, NEWER, json_find(newer, MR_STR("type")), "type",
                   "no longer allowed:%s%s%s%s%s%s", (lost & BIT(JSON_NULL)) != 0 ? " null" : "",
                   (lost & BOOLEANS) != 0 ? " boolean" : "",
                   (lost & BIT(JSON_NUMBER)) != 0 ? " number"
                   : (lost & FRACTION) != 0       ? " numbers that are no integers"
                                                  : "",
                   (lost & BIT(JSON_STRING)) != 0 ? " string" : "",
                   (lost & BIT(JSON_ARRAY)) != 0 ? " array" : "",
                   (lost & BIT(JSON_OBJECT)) != 0 ? " object" : "");
    (void)older;
}

/* Whether a bound of the older implies the newer's. upper: a larger value allows more. */
static bool bound_implies(json_value older, bool older_open, json_value newer, bool newer_open,
                          bool upper) {
    if (json_kind_of(older) != JSON_NUMBER) {
        return false;
    }
    int order = version_number_cmp(older, newer);
    order = upper ? order : -order;
    return order < 0 || (order == 0 && (older_open || !newer_open));
}

static void compare_bound(struct compare *c, const struct compare_closure *older, json_value newer,
                          const char *keyword, bool exclusive, bool upper) {
    mr_str closed_name = upper ? MR_STR("maximum") : MR_STR("minimum");
    mr_str open_name = upper ? MR_STR("exclusiveMaximum") : MR_STR("exclusiveMinimum");
    json_value bound = json_find(newer, mr_str_c(keyword));
    if (json_kind_of(bound) != JSON_NUMBER) {
        return;
    }
    for (uint32_t i = 0; i < older->n; i++) {
        json_value schema = older->at[i];
        if (bound_implies(json_find(schema, closed_name), false, bound, exclusive, upper) ||
            bound_implies(json_find(schema, open_name), true, bound, exclusive, upper)) {
            return;
        }
    }
    compare_report(c, NEWER, bound, keyword, "the range of numbers is narrower: %s is %.*s now",
                   keyword, MR_FMT(json_raw(bound)));
}

static void compare_multiple(struct compare *c, const struct compare_closure *older,
                             json_value newer) {
    json_value divisor = json_find(newer, MR_STR("multipleOf"));
    if (json_kind_of(divisor) != JSON_NUMBER) {
        return;
    }
    for (uint32_t i = 0; i < older->n; i++) {
        json_value before = json_find(older->at[i], MR_STR("multipleOf"));
        if (json_kind_of(before) == JSON_NUMBER && version_number_divides(before, divisor)) {
            return;
        }
    }
    compare_report(c, NEWER, divisor, "multipleOf", "numbers must be multiples of %.*s now",
                   MR_FMT(json_raw(divisor)));
}

/* Counts: minLength and its like. */
static void compare_count(struct compare *c, const struct compare_closure *older, json_value newer,
                          const char *keyword, bool upper) {
    json_value count = json_find(newer, mr_str_c(keyword));
    uint64_t zero;
    if (json_kind_of(count) != JSON_NUMBER || (!upper && mr_is_ok(json_u64(count, 0, 0, &zero)))) {
        return;
    }
    for (uint32_t i = 0; i < older->n; i++) {
        if (bound_implies(json_find(older->at[i], mr_str_c(keyword)), false, count, false, upper)) {
            return;
        }
    }
    compare_report(c, NEWER, count, keyword, "%s is %.*s now, which allows less", keyword,
                   MR_FMT(json_raw(count)));
}

/* Keywords of which two different values cannot be compared. */
static void compare_opaque(struct compare *c, const struct compare_closure *older, json_value newer,
                           const char *keyword) {
    json_value value = json_find(newer, mr_str_c(keyword));
    bool had = false;
    if (json_kind_of(value) != JSON_STRING) {
        return;
    }
    for (uint32_t i = 0; i < older->n; i++) {
        json_value before = json_find(older->at[i], mr_str_c(keyword));
        had = had || !json_is_absent(before);
        if (json_strings_equal(before, value)) {
            return;
        }
    }
    compare_report(c, NEWER, value, keyword, had ? "the %s is another one" : "there is a %s now",
                   keyword);
}

static void compare_unique(struct compare *c, const struct compare_closure *older,
                           json_value newer) {
    json_value unique = json_find(newer, MR_STR("uniqueItems"));
    for (uint32_t i = 0; i < older->n; i++) {
        if (json_kind_of(json_find(older->at[i], MR_STR("uniqueItems"))) == JSON_TRUE) {
            return;
        }
    }
    if (json_kind_of(unique) == JSON_TRUE) {
        compare_report(c, NEWER, unique, "uniqueItems", "items must differ from one another now");
    }
}

void compare_values(struct compare *c, const struct compare_closure *older, json_value newer) {
    uint32_t taken = closure_types(older);
    compare_type(c, older, newer, taken);
    compare_enum(c, older, newer);
    if ((taken & NUMBERS) != 0) {
        compare_bound(c, older, newer, "minimum", false, false);
        compare_bound(c, older, newer, "exclusiveMinimum", true, false);
        compare_bound(c, older, newer, "maximum", false, true);
        compare_bound(c, older, newer, "exclusiveMaximum", true, true);
        compare_multiple(c, older, newer);
    }
    if ((taken & BIT(JSON_STRING)) != 0) {
        compare_count(c, older, newer, "minLength", false);
        compare_count(c, older, newer, "maxLength", true);
        compare_opaque(c, older, newer, "pattern");
        compare_opaque(c, older, newer, "format");
        compare_opaque(c, older, newer, "contentEncoding");
        compare_opaque(c, older, newer, "contentMediaType");
    }
    if ((taken & BIT(JSON_ARRAY)) != 0) {
        compare_count(c, older, newer, "minItems", false);
        compare_count(c, older, newer, "maxItems", true);
        compare_unique(c, older, newer);
    }
    if ((taken & BIT(JSON_OBJECT)) != 0) {
        compare_count(c, older, newer, "minProperties", false);
        compare_count(c, older, newer, "maxProperties", true);
    }
}

/* --- the same ----------------------------------------------------------------------------------
 */

static bool is_annotation(json_value name) {
    static const char *const names[] = {"$schema",     "$id",        "$comment", "title",
                                        "description", "default",    "examples", "readOnly",
                                        "writeOnly",   "definitions"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (json_string_eq(name, mr_str_c(names[i]))) {
            return true;
        }
    }
    return false;
}

static size_t count_keywords(json_value schema) {
    size_t n = 0;
    for (json_iter it = json_iter_of(schema); json_next(&it);) {
        n += is_annotation(it.name) ? 0 : 1;
    }
    return n;
}

static json_value find_same_name(json_value object, json_value name) {
    for (json_iter it = json_iter_of(object); it.is_object && json_next(&it);) {
        if (json_strings_equal(it.name, name)) {
            return it.value;
        }
    }
    return JSON_NONE;
}

static json_value sole_item(json_value list) {
    return json_kind_of(list) == JSON_ARRAY && json_count(list) == 1 ? json_item(list, 0) : list;
}

static bool same_set(struct compare *c, json_value a, json_value b) {
    if (json_kind_of(a) != json_kind_of(b)) {
        return version_equal(sole_item(a), sole_item(b), &c->steps); /* "string", ["string"] */
    }
    if (json_kind_of(a) != JSON_ARRAY || json_count(a) != json_count(b)) {
        return version_equal(a, b, &c->steps);
    }
    for (json_iter it = json_iter_of(a); json_next(&it);) {
        if (!contains_value(c, b, it.value)) {
            return false;
        }
    }
    return true;
}

static bool same_schema(struct compare *c, json_value older, json_value newer);

static bool same_each(struct compare *c, json_value a, json_value b) {
    if (json_kind_of(a) != json_kind_of(b) || json_count(a) != json_count(b)) {
        return false;
    }
    json_iter other = json_iter_of(b);
    for (json_iter it = json_iter_of(a); json_next(&it) && compare_spend(c, 1);) {
        json_value value = it.is_object        ? find_same_name(b, it.name)
                           : json_next(&other) ? other.value
                                               : JSON_NONE;
        if (json_is_absent(value) || !same_schema(c, it.value, value)) {
            return false;
        }
    }
    return true;
}

static bool is_one_of(json_value name, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (json_string_eq(name, mr_str_c(names[i]))) {
            return true;
        }
    }
    return false;
}

static bool same_keyword(struct compare *c, json_value name, json_value a, json_value b) {
    static const char *const sets[] = {"enum", "required", "type"};
    static const char *const many[] = {
        "properties", "patternProperties", "dependencies", "allOf", "anyOf", "oneOf"};
    static const char *const one[] = {"additionalProperties",
                                      "additionalItems",
                                      "items",
                                      "contains",
                                      "propertyNames",
                                      "not",
                                      "if",
                                      "then",
                                      "else"};
    if (is_one_of(name, sets, 3)) {
        return same_set(c, a, b);
    }
    if (is_one_of(name, many, 6)) {
        return same_each(c, a, b);
    }
    if (is_one_of(name, one, 9)) {
        return json_kind_of(a) == JSON_ARRAY ? same_each(c, a, b) : same_schema(c, a, b);
    }
    return version_equal(a, b, &c->steps);
}

/* As deep as documents are nested, and once per pair of nodes: circles are taken to be the same. */
static bool same_schema(struct compare *c, json_value older, json_value newer) {
    json_value a = compare_follow(c, OLDER, older);
    json_value b = compare_follow(c, NEWER, newer);
    if (json_is_absent(a) || json_is_absent(b)) {
        return version_equal(older, newer, &c->steps);
    }
    if (json_kind_of(a) != JSON_OBJECT || json_kind_of(b) != JSON_OBJECT) {
        return version_equal(a, b, &c->steps);
    }
    if (!compare_spend(c, 1) || !compare_meet(c, &c->same, a, b)) {
        return true;
    }
    if (c->same.len > 1000 || count_keywords(a) != count_keywords(b)) {
        return false;
    }
    for (json_iter it = json_iter_of(a); json_next(&it);) {
        if (!is_annotation(it.name) &&
            !same_keyword(c, it.name, it.value, find_same_name(b, it.name))) {
            return false;
        }
    }
    return true;
}

bool compare_same(struct compare *c, json_value older, json_value newer) {
    if (c->same.len > 0) {
        memset(c->same.keys, 0, c->same.cap * sizeof *c->same.keys);
        c->same.len = 0;
    }
    return same_schema(c, older, newer);
}
