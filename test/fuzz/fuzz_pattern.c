/* The pattern language on any bytes: the first line is a pattern, the rest the event's data. What
 * must hold besides not crashing:
 *   - a refusal tells where (a valid pointer) and what was expected;
 *   - a second evaluation comes to the same, and so does explaining it;
 *   - where a pattern matches, its key holds: some scalar on the key's path is one of its values.
 */
#include "base/mem.h"
#include "json/pointer.h"
#include "route/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good) {
    MR_ASSERT(good);
}

static const struct filter_attribute attributes[] = {{{"id", 2}, {"a", 1}, FILTER_STRING},
                                                     {{"n", 1}, {"300", 3}, FILTER_INTEGER},
                                                     {{"b", 1}, {"true", 4}, FILTER_BOOLEAN}};
#define N_ATTRIBUTES (sizeof attributes / sizeof attributes[0])

static bool is_among(const struct filter_key *key, mr_buf *text) {
    bool found = false;
    for (size_t i = 0; i < key->n_values; i++) {
        found = found || mr_str_eq(key->values[i], mr_buf_view(text));
    }
    mr_buf_reset(text);
    return found;
}

/* As the index looks it up: every scalar that the path reaches, through all arrays. */
static bool reaches(const struct filter_key *key, json_value value, mr_str path, mr_buf *text) {
    if (json_kind_of(value) == JSON_ARRAY) {
        bool found = false;
        for (json_iter it = json_iter_of(value); json_next(&it);) {
            found = found || reaches(key, it.value, path, text);
        }
        return found;
    }
    mr_str name;
    if (mr_str_split(&path, '\0', &name)) {
        return reaches(key, json_find(value, name), path, text);
    }
    return mr_is_ok(filter_value_text(value, text)) && is_among(key, text);
}

static bool key_holds(const struct filter_key *key, const struct filter_event *event) {
    mr_buf text;
    mr_buf_init(&text, (size_t)1 << 22);
    mr_str path = key->path;
    mr_str name;
    bool found = false;
    check(mr_str_split(&path, '\0', &name));
    if (mr_str_eq(name, MR_STR("data"))) {
        found = reaches(key, event->data, path, &text);
    }
    for (size_t i = 0; i < event->n_attributes; i++) {
        if (mr_str_eq(name, event->attributes[i].name)) {
            check(mr_is_ok(filter_attribute_text(&event->attributes[i], &text)));
            found = is_among(key, &text);
        }
    }
    mr_buf_done(&text);
    return found;
}

static void check_filter(const struct filter *filter, const struct filter_event *event) {
    struct filter_run *run;
    struct filter_key key;
    bool error;
    mr_buf out;
    mr_buf_init(&out, (size_t)1 << 22);
    check(mr_is_ok(filter_run_new(&run)));
    bool matches = filter_matches(filter, event, run, &error);
    check(!(matches && error));
    check(filter_matches(filter, event, run, NULL) == matches);
    check(mr_is_ok(filter_explain(filter, event, run, &out)));
    check(mr_str_starts(mr_buf_view(&out),
                        matches ? MR_STR("{\"value\":true") : MR_STR("{\"value\":false")));
    mr_buf_reset(&out);
    check(mr_is_ok(filter_why_not(filter, event, run, &out)));
    check(mr_str_is_utf8(mr_buf_view(&out)));
    check(mr_str_eq(mr_buf_view(&out), MR_STR("the event matches")) == matches);
    check(!matches || !filter_key_of(filter, &key) || key_holds(&key, event));
    check(filter_bytes(filter) > 0);
    mr_buf_done(&out);
    filter_run_free(run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mr_str text = {(const char *)data, size};
    size_t line = mr_str_find_byte(text, '\n', 0);
    line = line == SIZE_MAX ? size : line;
    struct filter *filter = NULL;
    struct filter_fault fault;
    mr_err err = filter_compile_pattern(mr_str_slice(text, 0, line), &filter, &fault);
    if (mr_is_err(err)) {
        check(mr_err_is(err, FILTER_E_REFUSED) && filter == NULL);
        check(json_pointer_is_valid(mr_str_c(fault.pointer)) && fault.expected[0] != '\0');
        return 0;
    }
    json_tape tape;
    json_tape_init(&tape, JSON_DEPTH_DEFAULT);
    struct filter_event event = {.attributes = attributes, .n_attributes = N_ATTRIBUTES};
    if (mr_is_ok(json_tape_read(&tape, mr_str_slice(text, line, size), NULL))) {
        event.data = json_root(&tape);
    }
    check_filter(filter, &event);
    json_tape_done(&tape);
    filter_free(filter);
    return 0;
}
