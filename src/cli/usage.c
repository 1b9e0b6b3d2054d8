/* Lines of usage. See usage.h. */
#include "cli/usage.h"

static bool is_lower(mr_str word) {
    for (size_t i = 0; i < word.len; i++) {
        char c = word.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) {
            return false;
        }
    }
    return word.len > 0 && word.ptr[0] != '-';
}

static bool is_upper(mr_str word) {
    return word.len > 0 && word.ptr[0] >= 'A' && word.ptr[0] <= 'Z';
}

static bool is_bracket(char c) {
    return c == '[' || c == ']' || c == '(' || c == ')';
}

/* Without the brackets around it. */
static mr_str bare(mr_str word) {
    size_t from = 0;
    size_t to = word.len;
    while (from < to && is_bracket(word.ptr[from])) {
        from++;
    }
    while (to > from && is_bracket(word.ptr[to - 1])) {
        to--;
    }
    return mr_str_slice(word, from, to);
}

static int depth_change(mr_str word) {
    int change = 0;
    for (size_t i = 0; i < word.len; i++) {
        change += word.ptr[i] == '[' || word.ptr[i] == '(';
        change -= word.ptr[i] == ']' || word.ptr[i] == ')';
    }
    return change;
}

bool usage_form(mr_str *rest, mr_str *ret_form) {
    if (mr_str_is_absent(*rest)) {
        return false;
    }
    mr_str separator = MR_STR(" | ");
    int depth = 0;
    for (size_t i = 0; i < rest->len; i++) {
        depth += depth_change(mr_str_slice(*rest, i, i + 1));
        if (depth == 0 && mr_str_starts(mr_str_slice(*rest, i, rest->len), separator)) {
            *ret_form = mr_str_slice(*rest, 0, i);
            *rest = mr_str_slice(*rest, i + separator.len, rest->len);
            return true;
        }
    }
    *ret_form = *rest;
    *rest = MR_STR_NONE;
    return true;
}

/* What a reader of one form knows. */
struct reader {
    struct usage_word *out;
    size_t n;
    mr_str action; /* absent: none yet */
};

static struct usage_word *add(struct reader *reader, enum usage_kind kind, mr_str name) {
    if (reader->n == USAGE_WORDS_MAX) {
        return NULL;
    }
    struct usage_word *word = &reader->out[reader->n++];
    *word = (struct usage_word){.kind = kind, .name = name};
    return word;
}

/* One word between spaces, perhaps several behind `|`; next: the word behind it. */
static void take_word(struct reader *reader, mr_str word, mr_str next, bool is_first) {
    mr_str rest = word;
    mr_str part;
    bool is_closed = mr_str_ends(word, MR_STR("]")) || mr_str_ends(word, MR_STR(")"));
    while (mr_str_split(&rest, '|', &part)) {
        mr_str name = bare(part);
        if (!mr_str_starts(name, MR_STR("--"))) {
            if (is_first && is_lower(name) && add(reader, USAGE_ACTION, name) != NULL) {
                reader->action = name;
            }
            continue;
        }
        name = mr_str_slice(name, 2, name.len);
        struct usage_word *option = is_lower(name) ? add(reader, USAGE_OPTION, name) : NULL;
        if (option == NULL) {
            continue; /* --KEY of serve and config: the settings */
        }
        bool has_value = mr_str_is_absent(rest) && !is_closed && is_upper(next);
        option->value = has_value ? bare(next) : MR_STR_NONE;
        option->action = mr_str_eq(name, MR_STR("account")) ? MR_STR_NONE : reader->action;
    }
}

static void take_form(struct reader *reader, mr_str form, bool is_first_form) {
    mr_str rest = form;
    mr_str word = MR_STR_NONE;
    mr_str next;
    bool is_first = true;
    reader->action = MR_STR_NONE;
    if (is_first_form) {
        (void)mr_str_split(&rest, ' ', &word); /* the command's name */
    }
    if (!mr_str_split(&rest, ' ', &word)) {
        return;
    }
    while (!mr_str_is_absent(word)) {
        next = MR_STR_NONE;
        (void)mr_str_split(&rest, ' ', &next);
        take_word(reader, word, next, is_first);
        is_first = false;
        word = next;
    }
}

size_t usage_words(mr_str usage, struct usage_word out[static USAGE_WORDS_MAX]) {
    struct reader reader = {.out = out};
    mr_str rest = usage;
    mr_str form;
    bool is_first = true;
    while (usage_form(&rest, &form)) {
        take_form(&reader, form, is_first);
        is_first = false;
    }
    return reader.n;
}

bool usage_is_file(mr_str value) {
    return mr_str_eq(value, MR_STR("FILE"));
}

bool usage_is_dir(mr_str value) {
    return mr_str_eq(value, MR_STR("DIR"));
}
