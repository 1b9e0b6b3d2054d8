/* CloudEvents SQL as JSON lines {"expression": "…", "event": {…}} from standard input, the event
 * its attributes. For each line {"value":…,"type":"…","errors":[{"kind","message"}],"matches":bool,
 * "key_holds":bool}, or {"refused":"line:column expected"}. What other people's implementations are
 * compared with. key_holds: the event has one of the values of the filter's key, or it has none. */
#include "json/write.h"
#include "route/filter.h"

#include <stdio.h>
#include <stdlib.h>

#define ATTRIBUTES_MAX 64
#define OUT_MAX        ((size_t)16 << 20)

struct lines {
    struct filter_run *run;
    json_tape tape;
    mr_arena arena;
    mr_buf out;
};

static void check(mr_err err, const char *what) {
    if (mr_is_err(err)) {
        fprintf(stderr, "could not %s (%u)\n", what, err.code);
        abort();
    }
}

static size_t read_attributes(struct lines *lines, json_value event,
                              struct filter_attribute *attributes) {
    size_t n = 0;
    for (json_iter it = json_iter_of(event); json_next(&it) && n < ATTRIBUTES_MAX; n++) {
        struct filter_attribute *attribute = &attributes[n];
        enum json_kind kind = json_kind_of(it.value);
        check(json_string(it.name, &lines->arena, &attribute->name), "read a name");
        attribute->type = kind == JSON_NUMBER ? FILTER_INTEGER : FILTER_BOOLEAN;
        attribute->text = json_raw(it.value);
        if (kind == JSON_STRING) {
            attribute->type = FILTER_STRING;
            check(json_string(it.value, &lines->arena, &attribute->text), "read a string");
        }
    }
    return n;
}

static bool key_holds(const struct filter *filter, const struct filter_event *event) {
    struct filter_key key;
    bool holds = !filter_key_of(filter, &key);
    for (size_t i = 0; i < event->n_attributes && !holds; i++) {
        mr_buf text;
        mr_buf_init(&text, OUT_MAX);
        check(filter_attribute_text(&event->attributes[i], &text), "spell an attribute");
        for (size_t k = 0; k < key.n_values; k++) {
            holds = holds || (mr_str_eq(event->attributes[i].name, key.path) &&
                              mr_str_eq(key.values[k], mr_buf_view(&text)));
        }
        mr_buf_done(&text);
    }
    return holds;
}

static void answer(struct lines *lines, mr_str expression, const struct filter_event *event) {
    struct filter *filter;
    struct filter_fault fault;
    mr_buf_reset(&lines->out);
    mr_err err = filter_compile_cesql(expression, &filter, &fault);
    if (mr_err_is(err, FILTER_E_REFUSED)) {
        char text[sizeof fault.expected + 32];
        snprintf(text, sizeof text, "%u:%u %s", fault.line, fault.column, fault.expected);
        check(mr_buf_printf(&lines->out, "{\"refused\":"), "write");
        check(json_string_write(mr_str_c(text), JSON_UTF8, &lines->out), "write");
        check(mr_buf_byte(&lines->out, '}'), "write");
        return;
    }
    check(err, "compile an expression");
    check(filter_explain(filter, event, lines->run, &lines->out), "explain");
    bool matches = filter_matches(filter, event, lines->run, NULL);
    mr_buf_truncate(&lines->out, lines->out.len - 1);
    check(mr_buf_printf(&lines->out, ",\"matches\":%s,\"key_holds\":%s}",
                        matches ? "true" : "false", key_holds(filter, event) ? "true" : "false"),
          "write");
    filter_free(filter);
}

static void read_line(struct lines *lines, mr_str line) {
    struct filter_attribute attributes[ATTRIBUTES_MAX];
    mr_str expression;
    check(json_tape_read(&lines->tape, line, NULL), "read a line");
    mr_arena_reset(&lines->arena);
    json_value root = json_root(&lines->tape);
    check(json_string(json_find(root, MR_STR("expression")), &lines->arena, &expression), "read");
    struct filter_event event = {.attributes = attributes};
    event.n_attributes = read_attributes(lines, json_find(root, MR_STR("event")), attributes);
    answer(lines, expression, &event);
    printf("%.*s\n", MR_FMT(mr_buf_view(&lines->out)));
}

int main(void) {
    struct lines lines;
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    check(filter_run_new(&lines.run), "start");
    json_tape_init(&lines.tape, JSON_DEPTH_MAX);
    mr_arena_init(&lines.arena, (size_t)16 << 20);
    mr_buf_init(&lines.out, OUT_MAX);
    while ((len = getline(&line, &cap, stdin)) > 0) {
        read_line(&lines, mr_str_of(line, (size_t)len));
    }
    free(line);
    filter_run_free(lines.run);
    json_tape_done(&lines.tape);
    mr_arena_done(&lines.arena);
    mr_buf_done(&lines.out);
    return 0;
}
