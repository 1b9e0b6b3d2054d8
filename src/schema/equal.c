/* Whether two values are the same in JSON Schema's eyes: numbers by value, strings by what they
 * decode to, objects whatever the order of their members. And which of many items are, by their
 * hashes: equal hashes are compared, so that a forged collision costs steps and nothing else. */
#include "schema/private.h"

#define MIX_A UINT64_C(0x9E3779B97F4A7C15)
#define MIX_B UINT64_C(0xD6E8FEB86659FD93)

static uint64_t mix(uint64_t h) {
    h = (h ^ h >> 31) * MIX_B;
    return h ^ h >> 29;
}

static uint64_t string_hash(json_value string) {
    mr_str text = json_peek_text(string);
    if (json_peek_is_plain(string)) {
        return mr_str_hash(text, MIX_A);
    }
    mr_buf decoded;
    mr_buf_init(&decoded, text.len + 1);
    /* Without memory all written with escapes fall together: slower, not wrong. */
    uint64_t h = mr_is_ok(json_string_append(string, &decoded))
                     ? mr_str_hash(mr_buf_view(&decoded), MIX_A)
                     : 0;
    mr_buf_done(&decoded);
    return h;
}

uint64_t value_hash(json_value value, int64_t *steps) {
    enum json_kind kind = json_kind_of(value);
    uint64_t h = (uint64_t)kind * MIX_A;
    *steps -= 1;
    switch (kind) {
    case JSON_ABSENT:
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE:
        return mix(h);
    case JSON_NUMBER: {
        struct number n = number_of_text(json_peek_text(value));
        *steps -= n.digits / 16;
        return mix(h ^ number_hash(&n));
    }
    case JSON_STRING:
        *steps -= (int64_t)(json_peek_text(value).len / 16);
        return mix(h ^ string_hash(value));
    case JSON_ARRAY:
        for (json_iter it = json_iter_of(value); json_next(&it);) {
            h = mix(h * MIX_A + value_hash(it.value, steps));
        }
        return h;
    case JSON_OBJECT:
        for (json_iter it = json_iter_of(value); json_next(&it);) {
            h += mix(json_peek_name_hash(it.name) * MIX_A ^ value_hash(it.value, steps));
        }
        return mix(h);
    }
    return 0;
}

static bool numbers_equal(json_value a, json_value b, int64_t *steps) {
    struct number x = number_of_text(json_peek_text(a));
    struct number y = number_of_text(json_peek_text(b));
    *steps -= x.digits / 16;
    return number_compare(&x, &y) == 0;
}

static bool arrays_equal(json_value a, json_value b, int64_t *steps) {
    json_iter x = json_iter_of(a);
    json_iter y = json_iter_of(b);
    while (json_next(&x) && json_next(&y)) {
        if (!value_equal(x.value, y.value, steps)) {
            return false;
        }
    }
    return true;
}

static bool names_equal(json_value a, json_value b) {
    return json_peek_name_hash(a) == json_peek_name_hash(b) && json_strings_equal(a, b);
}

/* The member of the same name: mostly the next one, else wherever it is. */
static json_value find_member(json_value object, json_iter *next, json_value name, int64_t *steps) {
    if (json_next(next) && names_equal(next->name, name)) {
        return next->value;
    }
    *next = json_iter_of(object);
    while (json_next(next)) {
        *steps -= 1;
        if (names_equal(next->name, name)) {
            return next->value;
        }
    }
    return JSON_NONE;
}

static bool objects_equal(json_value a, json_value b, int64_t *steps) {
    json_iter next = json_iter_of(b);
    for (json_iter it = json_iter_of(a); json_next(&it) && *steps >= 0;) {
        json_value other = find_member(b, &next, it.name, steps);
        if (json_is_absent(other) || !value_equal(it.value, other, steps)) {
            return false;
        }
    }
    return true;
}

bool value_equal(json_value a, json_value b, int64_t *steps) {
    enum json_kind kind = json_kind_of(a);
    *steps -= 1;
    if (kind != json_kind_of(b) || json_count(a) != json_count(b) || *steps < 0) {
        return false;
    }
    switch (kind) {
    case JSON_ABSENT:
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE:
        return true;
    case JSON_NUMBER:
        return numbers_equal(a, b, steps);
    case JSON_STRING:
        *steps -= (int64_t)(json_peek_text(a).len / 16);
        return json_strings_equal(a, b);
    case JSON_ARRAY:
        return arrays_equal(a, b, steps);
    case JSON_OBJECT:
        return objects_equal(a, b, steps);
    }
    return false;
}

bool value_find_equal(json_value array, struct unique_slot *slots, size_t n_slots, int64_t *steps,
                      uint32_t *ret_first, uint32_t *ret_second) {
    uint32_t index = 0;
    memset(slots, 0, n_slots * sizeof *slots);
    for (json_iter it = json_iter_of(array); json_next(&it) && *steps >= 0; index++) {
        uint64_t hash = value_hash(it.value, steps);
        size_t at = (size_t)hash & (n_slots - 1);
        for (; !json_is_absent(slots[at].value); at = (at + 1) & (n_slots - 1)) {
            *steps -= 1;
            if (*steps < 0) {
                return false;
            }
            if (slots[at].hash == hash && value_equal(slots[at].value, it.value, steps)) {
                *ret_first = slots[at].index;
                *ret_second = index;
                return true;
            }
        }
        slots[at] = (struct unique_slot){hash, it.value, index};
    }
    return false;
}
