/* The pattern language: the alternatives of one leaf, and the key that a leaf may give. See
 * pattern.h.
 *
 * Strings that stand as they are become one sorted set; every other alternative is a condition, or
 * for anything-but a chain of them that hold together. */
#include "route/filter/pattern.h"

#include "json/pointer.h"

/* A key with more values is no help to an index. */
#define KEY_VALUES_MAX 256u

/* --- texts -------------------------------------------------------------------------------------*/

static mr_err text_of(struct pattern *pattern, json_value string, mr_str *ret_text) {
    return json_string(string, &pattern->arena, ret_text);
}

static mr_err count_alternatives(struct pattern *pattern, size_t n) {
    pattern->n_alternatives += (uint32_t)n;
    return pattern->n_alternatives > PATTERN_ALTERNATIVES_MAX
               ? pattern_refuse_limit(pattern, "alternatives", PATTERN_ALTERNATIVES_MAX)
               : MR_OK;
}

/* Shell's sort: few texts, and no function of libc's that a pure room may not call. */
static void sort_texts(mr_str *texts, size_t n) {
    for (size_t gap = n / 2; gap > 0; gap /= 2) {
        for (size_t i = gap; i < n; i++) {
            mr_str text = texts[i];
            size_t at = i;
            for (; at >= gap && mr_str_cmp(texts[at - gap], text) > 0; at -= gap) {
                texts[at] = texts[at - gap];
            }
            texts[at] = text;
        }
    }
}

/* Adds one condition for the strings of the array; none for none. */
static mr_err add_strings(struct pattern *pattern, json_value array, uint8_t flags) {
    size_t n = 0;
    mr_str *texts = mr_arena_calloc(&pattern->arena, json_count(array), sizeof *texts);
    if (texts == NULL) {
        return MR_ERR(MR_E_NOMEM);
    }
    for (json_iter it = json_iter_of(array); json_next(&it);) {
        if (json_kind_of(it.value) == JSON_STRING) {
            MR_TRY(text_of(pattern, it.value, &texts[n++]));
        }
    }
    if (n == 0) {
        return MR_OK;
    }
    struct condition condition = {
        .kind = CONDITION_EXACT, .flags = flags, .type = JSON_STRING, .text = texts[0]};
    if (n > 1) {
        sort_texts(texts, n);
        condition = (struct condition){.kind = CONDITION_STRINGS,
                                       .flags = flags,
                                       .texts_at = program_texts(&pattern->program, texts, n),
                                       .n_texts = (uint32_t)n};
    }
    (void)program_condition(&pattern->program, &condition);
    return pattern->program.err;
}

/* null, a boolean or a number as it is. */
static mr_err add_scalar(struct pattern *pattern, json_value value, uint8_t flags) {
    struct condition condition = {
        .kind = CONDITION_EXACT, .flags = flags, .type = (uint8_t)json_kind_of(value)};
    if (condition.type == JSON_NUMBER) {
        condition.low = decimal_of(json_raw(value));
    }
    (void)program_condition(&pattern->program, &condition);
    return pattern->program.err;
}

/* --- operators: each is given what stands behind its name --------------------------------------*/

static mr_err add_text(struct pattern *pattern, enum condition_kind kind, uint8_t flags,
                       json_value value) {
    struct condition condition = {.kind = (uint8_t)kind, .flags = flags, .type = JSON_STRING};
    const char *expected = NULL;
    if (json_kind_of(value) != JSON_STRING) {
        return pattern_refuse(pattern, "a string");
    }
    MR_TRY(text_of(pattern, value, &condition.text));
    if (kind == CONDITION_WILDCARD) {
        if (!condition_wildcard_is_valid(condition.text, &expected)) {
            return pattern_refuse(pattern, "%s", expected);
        }
        size_t stars = 0;
        for (size_t i = 0; i < condition.text.len; i++) {
            stars += condition.text.ptr[i] == '*';
            i += condition.text.ptr[i] == '\\';
        }
        if (stars > PATTERN_STARS_MAX) {
            return pattern_refuse_limit(pattern, "stars", PATTERN_STARS_MAX);
        }
        if (++pattern->n_wildcards > PATTERN_WILDCARDS_MAX) {
            return pattern_refuse_limit(pattern, "wildcards", PATTERN_WILDCARDS_MAX);
        }
    }
    if ((flags & CONDITION_NOT) != 0 && condition.text.len == 0 && kind != CONDITION_EXACT) {
        return pattern_refuse(pattern, "a string that is not empty");
    }
    (void)program_condition(&pattern->program, &condition);
    return pattern->program.err;
}

static mr_err compile_ends(struct pattern *pattern, enum condition_kind kind, json_value value);

static mr_err compile_prefix(struct pattern *pattern, json_value value) {
    return compile_ends(pattern, CONDITION_PREFIX, value);
}

static mr_err compile_suffix(struct pattern *pattern, json_value value) {
    return compile_ends(pattern, CONDITION_SUFFIX, value);
}

static mr_err compile_ignore_case(struct pattern *pattern, json_value value) {
    return add_text(pattern, CONDITION_EXACT, CONDITION_IGNORE_CASE, value);
}

static mr_err compile_wildcard(struct pattern *pattern, json_value value) {
    return add_text(pattern, CONDITION_WILDCARD, 0, value);
}

static mr_err compile_exists(struct pattern *pattern, json_value value) {
    enum json_kind kind = json_kind_of(value);
    if (kind != JSON_TRUE && kind != JSON_FALSE) {
        return pattern_refuse(pattern, "true or false");
    }
    struct condition condition = {.kind = kind == JSON_TRUE ? CONDITION_EXISTS : CONDITION_ABSENT};
    (void)program_condition(&pattern->program, &condition);
    return pattern->program.err;
}

static mr_err compile_cidr(struct pattern *pattern, json_value value) {
    mr_str text = MR_STR_NONE;
    struct condition condition;
    if (json_kind_of(value) == JSON_STRING) {
        MR_TRY(text_of(pattern, value, &text));
    }
    if (!condition_read_cidr(text, &condition)) {
        return pattern_refuse(pattern, "a network such as \"10.0.0.0/24\" or \"2001:db8::/32\"");
    }
    (void)program_condition(&pattern->program, &condition);
    return pattern->program.err;
}

/* One bound: the operator and the number behind it. */
static mr_err read_bound(struct pattern *pattern, json_value array, size_t at,
                         struct condition *condition) {
    static const struct {
        mr_str name;
        uint8_t flags;
    } operators[] = {{{"=", 1}, CONDITION_LOW | CONDITION_HIGH},
                     {{">", 1}, CONDITION_LOW | CONDITION_LOW_OPEN},
                     {{">=", 2}, CONDITION_LOW},
                     {{"<", 1}, CONDITION_HIGH | CONDITION_HIGH_OPEN},
                     {{"<=", 2}, CONDITION_HIGH}};
    uint8_t flags = 0;
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        if (json_string_eq(json_item(array, at), operators[i].name)) {
            flags = operators[i].flags;
        }
    }
    bool is_second = at > 0;
    if (flags == 0 || (is_second && (flags & CONDITION_LOW) != 0)) {
        MR_TRY(json_pointer_push_index(&pattern->pointer, at));
        return pattern_refuse(pattern, is_second ? "< or <=" : "=, <, <=, > or >=");
    }
    json_value number = json_item(array, at + 1);
    if (json_kind_of(number) != JSON_NUMBER) {
        MR_TRY(json_pointer_push_index(&pattern->pointer, at + 1));
        return pattern_refuse(pattern, "a number");
    }
    condition->flags |= flags;
    if ((flags & CONDITION_LOW) != 0) {
        condition->low = decimal_of(json_raw(number));
    }
    if ((flags & CONDITION_HIGH) != 0) {
        condition->high = decimal_of(json_raw(number));
    }
    return MR_OK;
}

static mr_err compile_numeric(struct pattern *pattern, json_value value) {
    struct condition condition = {.kind = CONDITION_RANGE};
    size_t n = json_count(value);
    if (json_kind_of(value) != JSON_ARRAY || (n != 2 && n != 4)) {
        return pattern_refuse(pattern, "[operator, number], or [\">\", number, \"<\", number]");
    }
    MR_TRY(read_bound(pattern, value, 0, &condition));
    if (n == 4) {
        if ((condition.flags & CONDITION_HIGH) != 0) {
            return pattern_refuse(pattern, "> or >= first where there are two bounds");
        }
        MR_TRY(read_bound(pattern, value, 2, &condition));
        if (decimal_cmp(&condition.low, &condition.high) >= 0) {
            return pattern_refuse(pattern, "a lower bound that is below the upper one");
        }
    }
    (void)program_condition(&pattern->program, &condition);
    return pattern->program.err;
}

/* The one member of an operator's object. */
static mr_err only_member(struct pattern *pattern, json_value object, json_iter *ret_member) {
    if (json_count(object) != 1) {
        return pattern_refuse(pattern, "an object with one operator");
    }
    *ret_member = json_iter_of(object);
    MR_ASSERT(json_next(ret_member));
    return MR_OK;
}

static mr_err compile_ends(struct pattern *pattern, enum condition_kind kind, json_value value) {
    json_iter member;
    if (json_kind_of(value) != JSON_OBJECT) {
        return json_kind_of(value) == JSON_STRING
                   ? add_text(pattern, kind, 0, value)
                   : pattern_refuse(pattern, "a string, or {\"equals-ignore-case\": string}");
    }
    MR_TRY(only_member(pattern, value, &member));
    if (!json_string_eq(member.name, MR_STR("equals-ignore-case"))) {
        return pattern_refuse(pattern, "a string, or {\"equals-ignore-case\": string}");
    }
    MR_TRY(json_pointer_push(&pattern->pointer, MR_STR("equals-ignore-case")));
    return add_text(pattern, kind, CONDITION_IGNORE_CASE, member.value);
}

/* --- anything-but: a chain of conditions, none of which may hold -------------------------------
 */

/* Marks the conditions from `first` on, all but the last, as going on in the next. */
static void chain_conditions(struct pattern *pattern, uint32_t first) {
    struct condition *conditions = (struct condition *)(void *)pattern->program.conditions.ptr;
    size_t n = pattern->program.conditions.len / sizeof *conditions;
    for (size_t i = first; i + 1 < n; i++) {
        conditions[i].flags |= CONDITION_MORE;
    }
}

/* Strings and numbers, not mixed. */
static mr_err compile_but_values(struct pattern *pattern, json_value array) {
    size_t n_strings = 0;
    size_t n = json_count(array);
    for (json_iter it = json_iter_of(array); json_next(&it);) {
        enum json_kind kind = json_kind_of(it.value);
        n_strings += kind == JSON_STRING;
        if (kind == JSON_NUMBER) {
            MR_TRY(add_scalar(pattern, it.value, CONDITION_NOT));
        } else if (kind != JSON_STRING) {
            return pattern_refuse(pattern, "strings only, or numbers only");
        }
    }
    if (n == 0 || (n_strings != 0 && n_strings != n)) {
        return pattern_refuse(pattern, "strings only, or numbers only");
    }
    MR_TRY(count_alternatives(pattern, n));
    return add_strings(pattern, array, CONDITION_NOT);
}

/* A string, or an array of strings, behind an operator. */
static mr_err compile_but_texts(struct pattern *pattern, enum condition_kind kind, uint8_t flags,
                                json_value value) {
    if (json_kind_of(value) != JSON_ARRAY) {
        return add_text(pattern, kind, flags, value);
    }
    if (json_count(value) == 0) {
        return pattern_refuse(pattern, "at least one string");
    }
    MR_TRY(count_alternatives(pattern, json_count(value)));
    size_t pointer_len = pattern->pointer.len;
    size_t i = 0;
    for (json_iter it = json_iter_of(value); json_next(&it); i++) {
        MR_TRY(json_pointer_push_index(&pattern->pointer, i));
        MR_TRY(add_text(pattern, kind, flags, it.value));
        mr_buf_truncate(&pattern->pointer, pointer_len);
    }
    return MR_OK;
}

static mr_err compile_but_operator(struct pattern *pattern, json_value object) {
    static const struct {
        mr_str name;
        enum condition_kind kind;
        uint8_t flags;
    } operators[] = {
        {{"prefix", 6}, CONDITION_PREFIX, CONDITION_NOT},
        {{"suffix", 6}, CONDITION_SUFFIX, CONDITION_NOT},
        {{"wildcard", 8}, CONDITION_WILDCARD, CONDITION_NOT},
        {{"equals-ignore-case", 18}, CONDITION_EXACT, CONDITION_NOT | CONDITION_IGNORE_CASE}};
    json_iter member;
    MR_TRY(only_member(pattern, object, &member));
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        if (json_string_eq(member.name, operators[i].name)) {
            MR_TRY(json_pointer_push(&pattern->pointer, operators[i].name));
            return compile_but_texts(pattern, operators[i].kind, operators[i].flags, member.value);
        }
    }
    return pattern_refuse(pattern, "prefix, suffix, wildcard or equals-ignore-case");
}

static mr_err compile_anything_but(struct pattern *pattern, json_value value) {
    uint32_t first = (uint32_t)(pattern->program.conditions.len / sizeof(struct condition));
    enum json_kind kind = json_kind_of(value);
    mr_err err;
    if (kind == JSON_ARRAY) {
        err = compile_but_values(pattern, value);
    } else if (kind == JSON_OBJECT) {
        err = compile_but_operator(pattern, value);
    } else if (kind == JSON_NUMBER) {
        err = add_scalar(pattern, value, CONDITION_NOT);
    } else if (kind == JSON_STRING) {
        err = add_text(pattern, CONDITION_EXACT, CONDITION_NOT, value);
    } else {
        err = pattern_refuse(pattern, "a string, a number, an array of them, or an operator");
    }
    MR_TRY(err);
    chain_conditions(pattern, first);
    return MR_OK;
}

/* --- the leaf ----------------------------------------------------------------------------------*/

static mr_err compile_operator(struct pattern *pattern, json_value object, bool *may_be_absent) {
    static const struct {
        mr_str name;
        mr_err (*compile)(struct pattern *pattern, json_value value);
    } operators[] = {{{"prefix", 6}, compile_prefix},
                     {{"suffix", 6}, compile_suffix},
                     {{"equals-ignore-case", 18}, compile_ignore_case},
                     {{"anything-but", 12}, compile_anything_but},
                     {{"numeric", 7}, compile_numeric},
                     {{"exists", 6}, compile_exists},
                     {{"cidr", 4}, compile_cidr},
                     {{"wildcard", 8}, compile_wildcard}};
    json_iter member;
    MR_TRY(only_member(pattern, object, &member));
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++) {
        if (json_string_eq(member.name, operators[i].name)) {
            *may_be_absent |=
                operators[i].compile == compile_exists && json_kind_of(member.value) == JSON_FALSE;
            MR_TRY(json_pointer_push(&pattern->pointer, operators[i].name));
            return operators[i].compile(pattern, member.value);
        }
    }
    return pattern_refuse(pattern, "prefix, suffix, equals-ignore-case, anything-but, numeric, "
                                   "exists, cidr or wildcard");
}

mr_err pattern_leaf(struct pattern *pattern, json_value alternatives, struct leaf *ret_leaf) {
    size_t n = json_count(alternatives);
    size_t size = sizeof(struct condition);
    struct leaf leaf = {.first = (uint32_t)(pattern->program.conditions.len / size)};
    if (n == 0) {
        return pattern_refuse(pattern, "at least one alternative");
    }
    MR_TRY(count_alternatives(pattern, n));
    MR_TRY(add_strings(pattern, alternatives, 0));
    size_t pointer_len = pattern->pointer.len;
    size_t i = 0;
    for (json_iter it = json_iter_of(alternatives); json_next(&it); i++) {
        enum json_kind kind = json_kind_of(it.value);
        MR_TRY(json_pointer_push_index(&pattern->pointer, i));
        if (kind == JSON_ARRAY) {
            return pattern_refuse(pattern, "a string, number, true, false, null or an operator");
        }
        if (kind == JSON_OBJECT) {
            MR_TRY(compile_operator(pattern, it.value, &leaf.may_be_absent));
        } else if (kind != JSON_STRING) {
            MR_TRY(add_scalar(pattern, it.value, 0));
        }
        mr_buf_truncate(&pattern->pointer, pointer_len);
    }
    leaf.n = (uint32_t)(pattern->program.conditions.len / size) - leaf.first;
    leaf.is_absent = leaf.may_be_absent && n == 1;
    *ret_leaf = leaf;
    return MR_OK;
}

/* --- the key -----------------------------------------------------------------------------------*/

/* How well a path tells events apart: its kind first, then how few values. Higher is better. */
static uint32_t rank_of(mr_str path, size_t n_values) {
    static const mr_str common[] = {{"type", 4},
                                    {"source", 6},
                                    {"specversion", 11},
                                    {"dataschema", 10},
                                    {"datacontenttype", 15}};
    uint32_t rank = 2 * KEY_VALUES_MAX - (uint32_t)n_values;
    for (size_t i = 0; i < sizeof common / sizeof common[0]; i++) {
        if (mr_str_eq(path, common[i])) {
            rank -= KEY_VALUES_MAX;
        }
    }
    return rank;
}

mr_err pattern_offer_key(struct pattern *pattern, json_value alternatives) {
    size_t n = json_count(alternatives);
    mr_str path = mr_buf_view(&pattern->path);
    uint32_t rank = n > KEY_VALUES_MAX ? 0 : rank_of(path, n);
    for (json_iter it = json_iter_of(alternatives); json_next(&it);) {
        rank = json_kind_of(it.value) == JSON_OBJECT ? 0 : rank;
    }
    if (rank <= pattern->key_rank) {
        return MR_OK;
    }
    mr_str *values = mr_arena_calloc(&pattern->arena, n, sizeof *values);
    size_t i = 0;
    for (json_iter it = json_iter_of(alternatives); values != NULL && json_next(&it); i++) {
        mr_buf_reset(&pattern->scratch);
        MR_TRY(filter_value_text(it.value, &pattern->scratch));
        values[i] = mr_arena_str(&pattern->arena, mr_buf_view(&pattern->scratch));
        if (mr_str_is_absent(values[i])) {
            return MR_ERR(MR_E_NOMEM);
        }
    }
    path = mr_arena_str(&pattern->arena, path);
    if (values == NULL || mr_str_is_absent(path)) {
        return MR_ERR(MR_E_NOMEM);
    }
    pattern->key = (struct filter_key){path, values, n};
    pattern->key_rank = rank;
    return MR_OK;
}
