/* Runs a program over a value of a tape. See schema.h.
 *
 * check() goes through a node's operations; those that apply schemas call it again. The steps that
 * led there stand in a chain on the stack, which costs next to nothing and is only read when an
 * error is told: its two pointers are made of it. The first run stops at the first thing wrong and
 * tells nothing but a bound that was reached; where errors are asked for, a second run collects
 * them.
 *
 * Schemas under not, if, contains, anyOf and oneOf are asked quietly; what is told of them is the
 * keyword itself. Work is counted; once there is none left, or a pattern gave up, all that follows
 * is false and `is_limited` says why, so that a `not` cannot turn it into true. */
#include "schema/private.h"

#include "base/mem.h"
#include "json/pointer.h"
#include "schema/run.h"

#define STEPS_MIN       INT64_C(500000)
#define STEPS_PER_BYTE  8
#define APPLIED_MAX     512u /* schemas inside one another, on the stack */
#define UNIQUE_KEEP_MAX 4096u
#define TOO_MANY_STEPS  "validation takes too many steps (steps_max)"

static bool check_node(struct schema_run *r, const struct node *node, json_value v,
                       const struct step *up);

/* Whether v is valid for a node; the many that name a type and no more are answered at once. */
static inline bool check(struct schema_run *r, uint32_t index, json_value v,
                         const struct step *up) {
    const struct node *node = &r->schema->nodes.ptr[index];
    if (node->n == 0 && (node->types & KIND_BIT(json_peek_kind(v))) != 0 && !r->is_limited) {
        r->steps -= 1;
        return true;
    }
    return check_node(r, node, v, up);
}

/* All is false from here on; told once, where errors are told. */
static bool run_limited(struct schema_run *r, const char *rule, json_value v, const struct step *up,
                        const char *message) {
    if (!r->is_limited) {
        r->is_limited = true;
        r->collects = true; /* told at once: to run again would take as long */
        run_report(r, true, rule, v, up, "%s", message);
    }
    return false;
}

/* With errors not told: the question is only whether. */
static bool ask(struct schema_run *r, uint32_t node, json_value v, const struct step *up) {
    r->quiet++;
    bool good = check(r, node, v, up);
    r->quiet--;
    if (r->steps < 0) {
        return run_limited(r, "limit", v, up, TOO_MANY_STEPS);
    }
    return good && !r->is_limited;
}

/* The decoded string: a slice, or in the run's scratch. */
static bool decode(struct schema_run *r, json_value v, mr_str *ret_text) {
    if (json_peek_is_plain(v)) {
        *ret_text = json_peek_text(v);
        return true;
    }
    mr_buf_reset(&r->scratch);
    if (mr_is_err(json_string_append(v, &r->scratch))) {
        return run_limited(r, "limit", v, NULL, "there is no memory to decode a string");
    }
    *ret_text = mr_buf_view(&r->scratch);
    return true;
}

static bool check_pattern(struct schema_run *r, const struct op *op, json_value v,
                          const struct step *up) {
    mr_str text;
    if (!decode(r, v, &text)) {
        return false;
    }
    switch (pattern_match(r->schema->patterns.ptr[op->a], r->patterns, text, &r->steps)) {
    case PATTERN_YES:
        return true;
    case PATTERN_NO:
        return run_report(r, false, "pattern", v, up, "the string must match %.*s",
                          MR_FMT(r->schema->names.ptr[op->b]));
    case PATTERN_LIMIT:
        break;
    }
    return run_limited(r, "pattern", v, up,
                       "the pattern takes too long on this string (match limit)");
}

static bool check_length(struct schema_run *r, const struct op *op, json_value v,
                         const struct step *up) {
    mr_str text = json_peek_text(v);
    bool is_max = op->code == OP_MAX_LENGTH;
    if (is_max && text.len <= op->a) {
        return true;
    }
    if (!decode(r, v, &text)) {
        return false;
    }
    r->steps -= (int64_t)(text.len / 16);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        n += ((uint8_t)text.ptr[i] & 0xC0) != 0x80;
    }
    if (is_max ? n <= op->a : n >= op->a) {
        return true;
    }
    return run_report(r, false, is_max ? "maxLength" : "minLength", v, up,
                      "the string has %zu characters, %s %u are allowed", n,
                      is_max ? "at most" : "at least", op->a);
}

static bool check_format(struct schema_run *r, const struct op *op, json_value v,
                         const struct step *up) {
    mr_str text;
    if (!decode(r, v, &text)) {
        return false;
    }
    r->steps -= (int64_t)(text.len / 16);
    if (format_check(op->a, text)) {
        return true;
    }
    return run_report(r, false, "format", v, up, "the string must be %s", format_what(op->a));
}

static bool check_number(struct schema_run *r, const struct op *op, json_value v,
                         const struct step *up) {
    static const struct {
        const char *rule;
        const char *what;
    } texts[] = {{"multipleOf", "a multiple of"},
                 {"maximum", "at most"},
                 {"exclusiveMaximum", "less than"},
                 {"minimum", "at least"},
                 {"exclusiveMinimum", "more than"}};
    const struct number *bound = &r->schema->numbers.ptr[op->a];
    struct number n = number_of_text(json_peek_text(v));
    bool good;
    r->steps -= n.digits / 16;
    if (op->code == OP_MULTIPLE_OF) {
        good = number_is_multiple(&n, bound);
    } else {
        int order = number_compare(&n, bound);
        good = op->code == OP_MAXIMUM             ? order <= 0
               : op->code == OP_EXCLUSIVE_MAXIMUM ? order < 0
               : op->code == OP_MINIMUM           ? order >= 0
                                                  : order > 0;
    }
    return good || run_report(r, false, texts[op->code - OP_MULTIPLE_OF].rule, v, up,
                              "the number must be %s %.*s", texts[op->code - OP_MULTIPLE_OF].what,
                              MR_FMT(bound->text));
}

static bool check_enum(struct schema_run *r, const struct op *op, json_value v,
                       const struct step *up) {
    uint64_t hash = value_hash(v, &r->steps);
    r->steps -= op->b / 8;
    for (uint32_t i = op->a; i < op->a + op->b; i++) {
        if (r->schema->hashes.ptr[i] == hash &&
            value_equal(r->schema->values.ptr[i], v, &r->steps)) {
            return true;
        }
    }
    return op->code == OP_CONST ? run_report(r, false, "const", v, up, "the value must be %s",
                                             run_value_text(r, r->schema->values.ptr[op->a]))
                                : run_report(r, false, "enum", v, up,
                                             "the value must be one of the %u listed", op->b);
}

/* --- arrays --- */

static bool check_item_count(struct schema_run *r, const struct op *op, json_value v,
                             const struct step *up) {
    bool is_max = op->code == OP_MAX_ITEMS || op->code == OP_MAX_PROPERTIES;
    size_t n = json_count(v);
    if (is_max ? n <= op->a : n >= op->a) {
        return true;
    }
    bool is_array = op->code == OP_MAX_ITEMS || op->code == OP_MIN_ITEMS;
    const char *rule = is_array ? (is_max ? "maxItems" : "minItems")
                                : (is_max ? "maxProperties" : "minProperties");
    return run_report(r, false, rule, v, up, "there are %zu %s, %s %u are allowed", n,
                      is_array ? "items" : "members", is_max ? "at most" : "at least", op->a);
}

static bool check_unique(struct schema_run *r, json_value v, const struct step *up) {
    uint32_t n_slots = 4;
    uint32_t first;
    uint32_t second;
    while (n_slots < json_count(v) * 2) {
        n_slots *= 2;
    }
    r->steps -= n_slots / 8;
    if (r->n_slots < n_slots) {
        mr_free(r->slots);
        r->slots = mr_alloc(n_slots * sizeof *r->slots);
        r->n_slots = r->slots == NULL ? 0 : n_slots;
    }
    if (r->slots == NULL) {
        return run_limited(r, "limit", v, up, "there is no memory to compare the items");
    }
    if (!value_find_equal(v, r->slots, n_slots, &r->steps, &first, &second)) {
        return true;
    }
    return run_report(r, false, "uniqueItems", v, up, "the items %u and %u are equal", first,
                      second);
}

static bool check_items(struct schema_run *r, const struct op *op, json_value v,
                        const struct step *up) {
    const struct item_shape *shape = &r->schema->item_shapes.ptr[op->a];
    struct step step = {.up = up, .place = STEP_INDEX};
    bool good = true;
    for (json_iter it = json_iter_of(v); json_next(&it); step.index++) {
        uint32_t node = shape->each;
        step.keyword = "items";
        step.schema_place = STEP_NONE;
        if (shape->is_tuple) {
            bool is_inside = step.index < shape->n;
            node = is_inside ? r->schema->lists.ptr[shape->first + step.index] : shape->additional;
            step.keyword = is_inside ? "items" : "additionalItems";
            step.schema_place = is_inside ? STEP_INDEX : STEP_NONE;
            step.schema_index = step.index;
        }
        if (node != NONE && !check(r, node, it.value, &step)) {
            good = false;
            if (!run_goes_on(r)) {
                return false;
            }
        }
    }
    return good;
}

static bool check_contains(struct schema_run *r, const struct op *op, json_value v,
                           const struct step *up) {
    struct step step = {.up = up, .place = STEP_INDEX, .keyword = "contains"};
    for (json_iter it = json_iter_of(v); json_next(&it) && !r->is_limited; step.index++) {
        if (ask(r, op->a, it.value, &step)) {
            return true;
        }
    }
    return run_report(r, false, "contains", v, up, "no item is what the schema asks for");
}

/* --- objects --- */

static const struct member *find_member(const struct schema *s, const struct member_shape *shape,
                                        json_value name) {
    uint32_t hash = json_peek_name_hash(name);
    for (uint32_t at = hash & shape->mask;; at = (at + 1) & shape->mask) {
        const struct member *member = &s->members.ptr[shape->first + at];
        if (member->name.ptr == NULL) {
            return NULL;
        }
        if (member->hash == hash) {
            bool same = json_peek_is_plain(name) ? mr_str_eq(member->name, json_peek_text(name))
                                                 : json_string_eq(name, member->name);
            if (same) {
                return member;
            }
        }
    }
}

static bool has_member(struct schema_run *r, json_value v, mr_str name) {
    r->steps -= (int64_t)json_count(v);
    return !json_is_absent(json_find(v, name));
}

static bool report_missing(struct schema_run *r, const struct member_shape *shape, json_value v,
                           const struct step *up) {
    for (uint32_t i = 0; i < shape->n_required && run_goes_on(r) && r->steps >= 0; i++) {
        uint32_t slot = r->schema->lists.ptr[shape->first_required + i];
        const struct member *member = &r->schema->members.ptr[slot];
        if (!has_member(r, v, member->name)) {
            run_report(r, false, "required", v, up, "the member %s is required",
                       run_name_text(r, member->name));
        }
    }
    return false;
}

/* patternProperties for one member; *ret_any: one of them matched. */
static bool check_patterns(struct schema_run *r, const struct member_shape *shape, json_value name,
                           struct step *step, bool *ret_any) {
    bool good = true;
    *ret_any = false;
    for (uint32_t i = 0; i < shape->n_patterns; i++) {
        const uint32_t *pair = &r->schema->lists.ptr[shape->first_pattern + 2 * i];
        mr_str text;
        if (r->steps < 0) {
            return run_limited(r, "limit", json_peek_member(name), step, TOO_MANY_STEPS);
        }
        if (!decode(r, name, &text)) {
            return false;
        }
        r->steps -=
            (int64_t)(text.len / 16); /* decoded anew: checking a member takes the scratch */
        enum pattern_answer answer =
            pattern_match(r->schema->patterns.ptr[pair[0]], r->patterns, text, &r->steps);
        step->keyword = "patternProperties";
        step->schema_place = STEP_NAME;
        step->schema_name = &r->schema->names.ptr[shape->first_name + i];
        if (answer == PATTERN_LIMIT) {
            return run_limited(r, "patternProperties", json_peek_member(name), step,
                               "the pattern takes too long on this name (match limit)");
        }
        *ret_any = *ret_any || answer == PATTERN_YES;
        if (answer == PATTERN_YES && !check(r, pair[1], json_peek_member(name), step)) {
            good = false;
            if (!run_goes_on(r)) {
                return false;
            }
        }
    }
    return good;
}

static bool check_member(struct schema_run *r, const struct member_shape *shape, json_value name,
                         struct step *step, const struct member *member) {
    bool good = true;
    bool any = false;
    bool is_declared = member != NULL && member->node != NONE;
    step->member = name;
    if (is_declared) {
        step->keyword = "properties";
        step->schema_place = STEP_NAME;
        step->schema_name = &member->name;
        good = check(r, member->node, json_peek_member(name), step);
    }
    if (shape->n_patterns > 0 && (good || run_goes_on(r))) {
        good = check_patterns(r, shape, name, step, &any) && good;
    }
    if (!is_declared && !any && shape->additional != NONE) {
        step->keyword = "additionalProperties";
        step->schema_place = STEP_NONE;
        good = check(r, shape->additional, json_peek_member(name), step) && good;
    }
    return good;
}

static bool check_object(struct schema_run *r, const struct op *op, json_value v,
                         const struct step *up) {
    const struct member_shape *shape = &r->schema->member_shapes.ptr[op->a];
    struct step step = {.up = up, .place = STEP_MEMBER};
    uint32_t n_required = 0;
    bool good = true;
    json_value name = {v.tape, v.node + 1};
    for (size_t left = json_count(v); left > 0; left--) {
        const struct member *member = find_member(r->schema, shape, name);
        n_required += member != NULL && member->is_required;
        if (!check_member(r, shape, name, &step, member)) {
            good = false;
            if (!run_goes_on(r)) {
                return false;
            }
        }
        name.node = json_peek_next(json_peek_member(name));
    }
    if (n_required < shape->n_required) {
        return report_missing(r, shape, v, up);
    }
    return good;
}

static bool check_names(struct schema_run *r, const struct op *op, json_value v,
                        const struct step *up) {
    struct step step = {.up = up, .place = STEP_MEMBER, .keyword = "propertyNames"};
    bool good = true;
    for (json_iter it = json_iter_of(v); json_next(&it);) {
        step.member = it.name;
        if (!check(r, op->a, it.name, &step)) {
            good = false;
            if (!run_goes_on(r)) {
                return false;
            }
        }
    }
    return good;
}

static bool check_dependencies(struct schema_run *r, const struct op *op, json_value v,
                               const struct step *up) {
    bool good = true;
    for (uint32_t i = op->a; i < op->a + op->b && (good || run_goes_on(r)); i++) {
        const struct dependency *d = &r->schema->dependencies.ptr[i];
        struct step step = {.up = up,
                            .keyword = "dependencies",
                            .schema_place = STEP_NAME,
                            .schema_name = &d->name};
        if (r->steps < 0) {
            return run_limited(r, "limit", v, up, TOO_MANY_STEPS);
        }
        if (!has_member(r, v, d->name)) {
            continue;
        }
        if (d->node != NONE) {
            good = check(r, d->node, v, &step) && good;
        }
        for (uint32_t k = d->first; k < d->first + d->n && r->steps >= 0; k++) {
            if (!has_member(r, v, r->schema->names.ptr[k])) {
                good = run_report(r, false, "dependencies", v, up, "the member %s is required here",
                                  run_name_text(r, r->schema->names.ptr[k]));
            }
        }
    }
    return good;
}

/* --- combinations --- */

static bool check_all(struct schema_run *r, const struct op *op, json_value v,
                      const struct step *up) {
    struct step step = {.up = up, .keyword = "allOf", .schema_place = STEP_INDEX};
    bool good = true;
    for (uint32_t i = 0; i < op->b; i++) {
        step.schema_index = i;
        if (!check(r, r->schema->lists.ptr[op->a + i], v, &step)) {
            good = false;
            if (!run_goes_on(r)) {
                return false;
            }
        }
    }
    return good;
}

/* How many of the schemas hold, up to `enough`. */
static uint32_t count_good(struct schema_run *r, const struct op *op, json_value v,
                           const struct step *up, uint32_t enough) {
    struct step step = {
        .up = up, .keyword = op->code == OP_ANY_OF ? "anyOf" : "oneOf", .schema_place = STEP_INDEX};
    uint32_t n = 0;
    for (uint32_t i = 0; i < op->b && n < enough && !r->is_limited; i++) {
        step.schema_index = i;
        n += ask(r, r->schema->lists.ptr[op->a + i], v, &step);
    }
    return n;
}

static bool check_any(struct schema_run *r, const struct op *op, json_value v,
                      const struct step *up) {
    return count_good(r, op, v, up, 1) == 1 ||
           run_report(r, false, "anyOf", v, up, "the value is valid for none of the %u schemas",
                      op->b);
}

static bool check_one(struct schema_run *r, const struct op *op, json_value v,
                      const struct step *up) {
    uint32_t n = count_good(r, op, v, up, 2);
    return n == 1 || run_report(r, false, "oneOf", v, up,
                                "the value is valid for %s of the %u schemas, exactly one is asked "
                                "for",
                                n == 0 ? "none" : "more than one", op->b);
}

static bool check_not(struct schema_run *r, const struct op *op, json_value v,
                      const struct step *up) {
    struct step step = {.up = up, .keyword = "not"};
    if (!ask(r, op->a, v, &step)) {
        return !r->is_limited;
    }
    return run_report(r, false, "not", v, up, "the value is what the schema under not forbids");
}

static bool check_if(struct schema_run *r, const struct op *op, json_value v,
                     const struct step *up) {
    struct step step = {.up = up, .keyword = "if"};
    bool holds = ask(r, op->a, v, &step);
    uint32_t node = holds ? op->b : op->c;
    step.keyword = holds ? "then" : "else";
    if (r->is_limited) {
        return false;
    }
    return node == NONE || check(r, node, v, &step);
}

static bool check_reference(struct schema_run *r, const struct op *op, json_value v,
                            const struct step *up) {
    struct step step = {.up = up, .keyword = "$ref"};
    return check(r, op->a, v, &step);
}

static bool check_op(struct schema_run *r, const struct op *op, json_value v,
                     const struct step *up) {
    switch ((enum op_code)op->code) {
    case OP_FALSE:
        return run_report(r, false, "false", v, up, "no value is allowed here");
    case OP_REF:
        return check_reference(r, op, v, up);
    case OP_ENUM:
    case OP_CONST:
        return check_enum(r, op, v, up);
    case OP_MULTIPLE_OF:
    case OP_MAXIMUM:
    case OP_EXCLUSIVE_MAXIMUM:
    case OP_MINIMUM:
    case OP_EXCLUSIVE_MINIMUM:
        return check_number(r, op, v, up);
    case OP_MAX_LENGTH:
    case OP_MIN_LENGTH:
        return check_length(r, op, v, up);
    case OP_PATTERN:
        return check_pattern(r, op, v, up);
    case OP_FORMAT:
        return check_format(r, op, v, up);
    case OP_MAX_ITEMS:
    case OP_MIN_ITEMS:
    case OP_MAX_PROPERTIES:
    case OP_MIN_PROPERTIES:
        return check_item_count(r, op, v, up);
    case OP_UNIQUE:
        return check_unique(r, v, up);
    case OP_ITEMS:
        return check_items(r, op, v, up);
    case OP_CONTAINS:
        return check_contains(r, op, v, up);
    case OP_OBJECT:
        return check_object(r, op, v, up);
    case OP_PROPERTY_NAMES:
        return check_names(r, op, v, up);
    case OP_DEPENDENCIES:
        return check_dependencies(r, op, v, up);
    case OP_ALL_OF:
        return check_all(r, op, v, up);
    case OP_ANY_OF:
        return check_any(r, op, v, up);
    case OP_ONE_OF:
        return check_one(r, op, v, up);
    case OP_NOT:
        return check_not(r, op, v, up);
    case OP_IF:
        return check_if(r, op, v, up);
    }
    return false;
}

static bool has_type(const struct node *node, enum json_kind kind, json_value v) {
    if ((node->types & KIND_BIT(kind)) != 0) {
        return true;
    }
    if (kind != JSON_NUMBER || (node->types & KIND_INTEGER) == 0) {
        return false;
    }
    return number_text_is_integer(json_peek_text(v));
}

static bool check_node(struct schema_run *r, const struct node *node, json_value v,
                       const struct step *up) {
    enum json_kind kind = json_peek_kind(v);
    r->steps -= 1;
    if (__builtin_expect(r->steps < 0 || r->depth == APPLIED_MAX || r->is_limited, 0)) {
        return run_limited(r, "limit", v, up,
                           r->steps < 0 ? TOO_MANY_STEPS
                                        : "too many schemas inside one another (applied_max)");
    }
    bool good = has_type(node, kind, v) || run_report_type(r, node->types, v, up);
    const struct op *op = &r->schema->ops.ptr[node->first];
    r->depth++;
    for (const struct op *end = op + node->n; op < end && (good || run_goes_on(r)); op++) {
        if ((op->kinds & KIND_BIT(kind)) != 0 && !check_op(r, op, v, up)) {
            good = false;
        }
    }
    r->depth--;
    return good;
}

static bool run_once(struct schema_run *r, json_value instance, bool collect) {
    const int64_t steps = STEPS_MIN + STEPS_PER_BYTE * (int64_t)json_peek_text(instance).len;
    r->steps = steps;
    r->depth = 0;
    r->quiet = 0;
    r->is_limited = false;
    r->collects = collect;
    r->n_errors = 0;
    bool good = check(r, r->schema->root, instance, NULL) && !r->is_limited;
    r->n_steps += (uint64_t)(steps - r->steps);
    if (r->steps < 0 && !r->is_limited) {
        return run_limited(r, "limit", instance, NULL, TOO_MANY_STEPS);
    }
    return good;
}

uint64_t schema_run_steps(const struct schema_run *run) {
    return run->n_steps;
}

bool schema_validate(const struct schema *schema, json_value instance, struct schema_run *run,
                     const struct schema_error **ret_errors, size_t *ret_n) {
    MR_ASSERT(!json_is_absent(instance));
    run->schema = schema;
    run->n_steps = 0;
    run_start_errors(run);
    bool good = run_once(run, instance, false);
    if (!good && ret_errors != NULL) {
        if (!run->is_limited) {
            (void)run_once(run, instance, true);
        }
        *ret_errors = run->errors;
        *ret_n = run->n_errors;
    }
    if (run->n_slots > UNIQUE_KEEP_MAX) {
        mr_free(run->slots);
        run->slots = NULL;
        run->n_slots = 0;
    }
    return good;
}
