/* Patterns and events as JSON lines {"pattern": "…", "event": "…"} from standard input, both as
 * texts, so that numbers stay as they were written. For each line: "true", "false", "error"
 * (evaluating was given up), or "refused POINTER EXPECTED". What other people's matchers are
 * compared with. Events are as CloudEvents in JSON: attributes, and `data`. */
#include "route/filter.h"

#include <stdio.h>
#include <stdlib.h>

#define ATTRIBUTES_MAX 64

struct judge {
    struct filter_run *run;
    json_tape line;
    json_tape event;
    mr_arena arena;
};

static void check(mr_err err, const char *what) {
    if (mr_is_err(err)) {
        fprintf(stderr, "could not %s (%u)\n", what, err.code);
        abort();
    }
}

/* Attributes that are no scalar, or null, count as not sent. */
static size_t read_attributes(struct judge *judge, json_value event,
                              struct filter_attribute *attributes) {
    size_t n = 0;
    for (json_iter it = json_iter_of(event); json_next(&it) && n < ATTRIBUTES_MAX;) {
        struct filter_attribute *attribute = &attributes[n];
        enum json_kind kind = json_kind_of(it.value);
        check(json_string(it.name, &judge->arena, &attribute->name), "read a name");
        attribute->text = json_raw(it.value);
        if (mr_str_eq(attribute->name, MR_STR("data"))) {
            continue;
        }
        if (kind == JSON_STRING) {
            attribute->type = FILTER_STRING;
            check(json_string(it.value, &judge->arena, &attribute->text), "read a string");
        } else if (kind == JSON_NUMBER) {
            attribute->type = FILTER_INTEGER;
        } else if (kind == JSON_TRUE || kind == JSON_FALSE) {
            attribute->type = FILTER_BOOLEAN;
        } else {
            continue;
        }
        n++;
    }
    return n;
}

static void judge_line(struct judge *judge, mr_str line) {
    struct filter_attribute attributes[ATTRIBUTES_MAX];
    struct filter *filter;
    struct filter_fault fault;
    mr_str pattern;
    mr_str text;
    check(json_tape_read(&judge->line, line, NULL), "read a line");
    mr_arena_reset(&judge->arena);
    json_value root = json_root(&judge->line);
    check(json_string(json_find(root, MR_STR("pattern")), &judge->arena, &pattern), "read it");
    check(json_string(json_find(root, MR_STR("event")), &judge->arena, &text), "read it");
    check(json_tape_read(&judge->event, text, NULL), "read an event");
    json_value event = json_root(&judge->event);
    mr_err err = filter_compile_pattern(pattern, &filter, &fault);
    if (mr_err_is(err, FILTER_E_REFUSED)) {
        printf("refused %s %s\n", fault.pointer, fault.expected);
        return;
    }
    check(err, "compile a pattern");
    struct filter_event seen = {.attributes = attributes,
                                .n_attributes = read_attributes(judge, event, attributes),
                                .data = json_find(event, MR_STR("data"))};
    bool error;
    bool matches = filter_matches(filter, &seen, judge->run, &error);
    puts(error ? "error" : matches ? "true" : "false");
    filter_free(filter);
}

int main(void) {
    struct judge judge;
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    check(filter_run_new(&judge.run), "start");
    json_tape_init(&judge.line, JSON_DEPTH_MAX);
    json_tape_init(&judge.event, JSON_DEPTH_MAX);
    mr_arena_init(&judge.arena, (size_t)16 << 20);
    while ((len = getline(&line, &cap, stdin)) > 0) {
        judge_line(&judge, mr_str_of(line, (size_t)len));
    }
    free(line);
    filter_run_free(judge.run);
    json_tape_done(&judge.line);
    json_tape_done(&judge.event);
    mr_arena_done(&judge.arena);
    return 0;
}
