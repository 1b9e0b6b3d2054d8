/* Conditions on one scalar. See condition.h.
 *
 * A wildcard is matched greedily: behind each star the earliest place where the text up to the next
 * star fits is taken; a later place could not help, since what follows may start anywhere behind.
 * So the work is at most length × pattern; the caller counts it and says how much may be. */
#include "route/filter/condition.h"

/* Reads one element of a wildcard: true for a star; else *ret_c is the byte. Moves *at behind. */
static bool take_star(mr_str pattern, size_t *at, char *ret_c) {
    char c = pattern.ptr[(*at)++];
    if (c == '\\') {
        *ret_c = pattern.ptr[(*at)++];
        return false;
    }
    *ret_c = c;
    return c == '*';
}

static bool wildcard_matches(mr_str pattern, mr_str text, size_t work_max, size_t *work) {
    size_t at = 0;
    size_t next = 0;               /* of the pattern */
    size_t behind_star = SIZE_MAX; /* of the pattern, behind the last star */
    size_t tried = 0;              /* where the text behind that star was tried */
    size_t steps = *work;
    bool matches = true;
    while (matches && steps <= work_max && (at < text.len || next < pattern.len)) {
        steps++;
        size_t from = next;
        char c = '\0';
        bool is_star = next < pattern.len && take_star(pattern, &next, &c);
        if (is_star) {
            behind_star = next;
            tried = at;
            if (next == pattern.len) {
                break;
            }
        } else if (from < pattern.len && at < text.len && text.ptr[at] == c) {
            at++;
        } else if (behind_star != SIZE_MAX && tried < text.len) {
            at = ++tried;
            next = behind_star;
        } else {
            matches = false;
        }
    }
    *work = steps;
    return matches && steps <= work_max;
}

bool condition_wildcard_is_valid(mr_str text, const char **ret_expected) {
    bool was_star = false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '*' && was_star) {
            *ret_expected = "no two stars side by side";
            return false;
        }
        was_star = text.ptr[i] == '*';
        if (text.ptr[i] == '\\') {
            if (i + 1 == text.len || (text.ptr[i + 1] != '*' && text.ptr[i + 1] != '\\')) {
                *ret_expected = "\\* or \\\\ after a backslash";
                return false;
            }
            i++;
        }
    }
    return true;
}

static bool is_in_sorted(const mr_str *texts, uint32_t n, mr_str text) {
    uint32_t low = 0;
    while (low < n) {
        uint32_t middle = low + (n - low) / 2;
        int order = mr_str_cmp(texts[middle], text);
        if (order == 0) {
            return true;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            n = middle;
        }
    }
    return false;
}

static bool is_in_range(const struct condition *condition, const struct decimal *number) {
    if ((condition->flags & CONDITION_LOW) != 0) {
        int order = decimal_cmp(number, &condition->low);
        if (order < 0 || (order == 0 && (condition->flags & CONDITION_LOW_OPEN) != 0)) {
            return false;
        }
    }
    if ((condition->flags & CONDITION_HIGH) != 0) {
        int order = decimal_cmp(number, &condition->high);
        if (order > 0 || (order == 0 && (condition->flags & CONDITION_HIGH_OPEN) != 0)) {
            return false;
        }
    }
    return true;
}

static bool is_in_network(const struct condition *condition, mr_str text) {
    uint8_t address[16];
    if (!address_read(text, address)) {
        return false;
    }
    size_t whole = condition->prefix_bits / 8;
    uint8_t rest = condition->prefix_bits % 8;
    return memcmp(address, condition->address, whole) == 0 &&
           (rest == 0 || ((address[whole] ^ condition->address[whole]) >> (8 - rest)) == 0);
}

/* The last len bytes. */
static mr_str tail_of(mr_str text, size_t len) {
    return mr_str_slice(text, text.len - len, text.len);
}

static bool string_satisfies(const struct condition *condition, const mr_str *texts, mr_str text,
                             size_t work_max, size_t *work) {
    bool ignore_case = (condition->flags & CONDITION_IGNORE_CASE) != 0;
    mr_str wanted = condition->text;
    switch ((enum condition_kind)condition->kind) {
    case CONDITION_PREFIX:
    case CONDITION_SUFFIX:
        if (text.len < wanted.len) {
            return false;
        }
        text = condition->kind == CONDITION_PREFIX ? mr_str_slice(text, 0, wanted.len)
                                                   : tail_of(text, wanted.len);
        return ignore_case ? mr_str_eq_nocase(text, wanted) : mr_str_eq(text, wanted);
    case CONDITION_EXACT:
        return ignore_case ? mr_str_eq_nocase(text, wanted) : mr_str_eq(text, wanted);
    case CONDITION_WILDCARD:
        return wildcard_matches(wanted, text, work_max, work);
    case CONDITION_CIDR:
        return is_in_network(condition, text);
    case CONDITION_STRINGS:
        return is_in_sorted(texts + condition->texts_at, condition->n_texts, text);
    case CONDITION_RANGE:
    case CONDITION_EXISTS:
    case CONDITION_ABSENT:
        break;
    }
    return false;
}

/* The scalar is there. */
static bool satisfies(const struct condition *condition, const mr_str *texts,
                      const struct scalar *scalar, size_t work_max, size_t *work) {
    if (condition->kind == CONDITION_EXACT && condition->type != scalar->kind) {
        return false;
    }
    if (scalar->kind == JSON_STRING) {
        return string_satisfies(condition, texts, scalar->text, work_max, work);
    }
    if (scalar->kind == JSON_NUMBER) {
        *work += scalar->number.digits.len / 16;
        return condition->kind == CONDITION_RANGE ? is_in_range(condition, &scalar->number)
               : condition->kind == CONDITION_EXACT
                   ? decimal_cmp(&condition->low, &scalar->number) == 0
                   : false;
    }
    return condition->kind == CONDITION_EXACT;
}

bool condition_holds(const struct condition *condition, const mr_str *texts,
                     const struct scalar *scalar, size_t work_max, size_t *work) {
    if (scalar->kind == JSON_ABSENT || condition->kind == CONDITION_ABSENT) {
        return scalar->kind == JSON_ABSENT && condition->kind == CONDITION_ABSENT;
    }
    if (condition->kind == CONDITION_EXISTS) {
        return true;
    }
    bool is_met = satisfies(condition, texts, scalar, work_max, work);
    return is_met != ((condition->flags & CONDITION_NOT) != 0);
}
